"""Objects that repeat: the members of an ensemble differ in numbers and array bytes alone.

One of them is walked with its numbers unknown. If nothing was noted, every object with the same
opcodes, other than numbers and bytes, does the same and is passed over. The values that it stores
are not kept: a stream that reads one is walked again without passing over anything.
"""

import re
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from pickleseal.scanner.machine.faults import Fault, Skipped
from pickleseal.scanner.machine.stack import NO_FRAME, Walk
from pickleseal.scanner.machine.stackwork import WORKERS, build
from pickleseal.scanner.machine.values import (
    BUFFER,
    BYTES,
    NOTHING,
    NUMBER,
    OBJECTS,
    Count,
    Dict,
    Dtype,
    List,
    Result,
    Set,
    keep,
)

_NUMBERS = {
    b"K": (1, b".", Count(0xFF)), b"M": (2, b"..", Count(0xFFFF)), b"G": (8, b".{8}", NUMBER),
    b"J": (4, b"...[\0-\x7f]", Count(0x7FFFFFFF)),
}  # fmt: skip
"""The size of an argument that is a number, what it may be, and what represents it."""
_GETS = {b"h": 1, b"j": 4}
_BYTES = {b"C": (1, BYTES), b"B": (4, BYTES), b"\x8e": (8, BYTES), b"\x96": (8, BUFFER)}
"""Opcodes by the size of their argument, or of its length."""
_NEEDS = {
    **dict.fromkeys((b"N", b"\x88", b"\x89", b")", b"}"), (0, 1)),
    **dict.fromkeys((b"R", b"\x81", b"\x93", b"\x86"), (2, 1)),
    b"\x85": (1, 1), b"\x87": (3, 1), b"\x94": (1, 1), b"b": (2, 1),
}  # fmt: skip
"""How many values an opcode pops and pushes."""
_ALIKE = 8
_LONGEST = 500
"""The most opcodes of an object."""
_TRIES = 100
"""How many more attempts may fail than succeed before no more are made."""
_KEPT = 256
"""The most beginnings of objects that are kept."""


_MUTABLE: dict[type, Sequence[str]] = {
    kind: [name for name in kind.__slots__ if name != "kept"]
    for kind in (Result, List, Set, Dict, Dtype)
}
"""Values that may change, and their fields; those that are read are kept anyway."""


class Template(NamedTuple):
    """An object: its bytes between byte strings, and its steps.

    `parts` are expressions, each with the size of the length of the byte string that follows it, 0
    at the end. `stored` counts the memo entries that it stores, `reads` are those that it reads.
    `end` is where the object that it was made from ends.
    """

    parts: tuple[tuple[re.Pattern[bytes], int], ...]
    steps: tuple[object, ...]
    stored: int
    reads: tuple[int, ...]
    end: int

    def match(self, data: bytes, at: int, end: int) -> int:
        """Return the end of an object that repeats it, or -1."""
        for part, width in self.parts:
            found = part.match(data, at, end)
            if found is None:
                return -1
            at = found.end() + width
            if width:
                at += int.from_bytes(data[at - width : at], "little")
                if at > end:
                    return -1
        return at


class _Learnt(NamedTuple):
    """The result of walking an object, in a protocol.

    `read` has each value that it read from the memo and may change, with its contents.
    """

    template: Template
    made: Result
    protocol: int
    read: list[tuple[object, object]]

    def holds(self, walk: Walk, data: bytes, at: int, end: int) -> bool:
        """Return whether the object at an offset repeats it and reads the same values."""
        return (
            self.protocol == walk.protocol
            and self.template.match(data, at, end) >= 0
            and all(_contents(value) == contents for value, contents in self.read)
        )


class Repeats:
    """The objects of one walk; walks share `templates`."""

    def __init__(self, templates: dict[bytes, Template]) -> None:
        self._templates = templates
        self._starts: set[bytes] = set()
        self._tries = _TRIES
        self._learnt: _Learnt | None = None

    def pass_over(self, walk: Walk) -> None:
        """Pass over the objects that follow a BUILD, where they repeat one."""
        cursor, memo = walk.cursor, walk.memo
        record = walk.record
        if self._tries <= 0 or not memo.regular or memo.changed or record.wrappers or record.late:
            return
        data, at = cursor.data, cursor.at
        end = len(data)
        if walk.frame_end != NO_FRAME:
            end = min(end, at + walk.frame_end - cursor.position)
        learnt = self._learnt
        self._tries -= learnt is not None
        if learnt is None or not learnt.holds(walk, data, at, end):
            template = self._find(data, at, end, len(memo.dense))
            if template is None:
                return
            learnt = self._learnt = self._learn(walk, template)
        template, made = learnt.template, learnt.made
        while (at := template.match(data, cursor.at, end)) >= 0:
            cursor.at = at
            memo.dense.extend([NOTHING] * template.stored)
            walk.stack.append(Result(made.of, made.done, plain=made.plain))
            walk.record.opcodes += len(template.steps)
            self._tries += 1

    def _find(self, data: bytes, at: int, end: int, known: int) -> Template | None:
        """Return the template of the object at an offset, if its beginning was met before."""
        start = data[at : at + _ALIKE]
        template = self._templates.get(start)
        if template is not None and max(template.reads, default=0) < known:
            self._tries -= 1
            behind = template.match(data, at, end)
            if behind >= 0:
                return template._replace(end=behind)
        if start not in self._starts:
            if len(self._starts) < _KEPT:
                self._starts.add(start)
            return None
        self._starts.remove(start)
        self._tries -= 1
        template = self._read(data, at, end, known)
        if template is not None and len(self._templates) < _KEPT:
            self._templates[start] = template
        return template

    def _learn(self, walk: Walk, template: Template) -> _Learnt:
        """Walk an object with unknown numbers; raise Skipped if anything is noted or changed."""
        stack, memo, noted = walk.stack, walk.memo, len(walk.record.beyond)
        stored = len(memo.dense)
        values = [value for value in map(memo.get, template.reads) if type(value) in _MUTABLE]
        keep(values)
        read = [(value, _contents(value)) for value in values]
        try:
            for step in template.steps:
                if callable(step):
                    step(walk)
                else:
                    stack.append(step)
        except Fault:
            raise Skipped from None
        made = stack[-1]
        if len(walk.record.beyond) != noted or type(made) is not Result or walk.record.wrappers:
            raise Skipped  # an array follows the state of a wrapper
        if walk.record.late:
            raise Skipped  # an object that it reads may hold others from here on
        if any(_contents(value) != contents for value, contents in read):
            raise Skipped  # what sets the state of an earlier object does so only once
        memo.dense[stored:] = [NOTHING] * template.stored
        memo.skipped = True
        walk.cursor.at = template.end
        walk.record.opcodes += len(template.steps)
        return _Learnt(template, made, walk.protocol, read)

    def _read(self, data: bytes, at: int, end: int, known: int) -> Template | None:
        """Return the template of the object at an offset, or None if it is not so simple.

        A simple object pops nothing below its own values, changes no list, and reads no memo entry
        that it stores.
        """
        parts: list[tuple[re.Pattern[bytes], int]] = []
        steps: list[object] = []
        depths = [0]
        literal = b""
        stored = 0
        reads: set[int] = set()
        while at < end and len(steps) < _LONGEST:
            code, at = data[at : at + 1], at + 1
            literal += re.escape(code)
            takes, gives = _NEEDS.get(code, (0, 1))
            if code in _NUMBERS:
                form, value = _number(code, data[at : at + _NUMBERS[code][0]])
                literal += form
                at += _NUMBERS[code][0]
                steps.append(value)
            elif code in _GETS:
                argument = data[at : at + _GETS[code]]
                literal += re.escape(argument)
                at += _GETS[code]
                index = int.from_bytes(argument, "little")
                if index >= known:
                    return None
                reads.add(index)
                steps.append(partial(_get, index))
            elif code in _BYTES:
                width, value = _BYTES[code]
                parts.append((re.compile(literal, re.DOTALL), width))
                literal = b""
                at += width + int.from_bytes(data[at : at + width], "little")
                steps.append(value)
            elif code == b"(":
                depths.append(0)
                steps.append(_mark)
                continue
            elif code in (b"t", b"u"):
                if len(depths) == 1:
                    return None
                depths.pop()
                takes, gives = (0, 1) if code == b"t" else (1, 1)
                steps.append(WORKERS[code.decode("latin-1")])
            elif code == b"\x94":
                steps.append(_memoize)
                stored += 1
            elif code in _NEEDS:
                steps.append(_build if code == b"b" else WORKERS[code.decode("latin-1")])
            else:
                return None
            if depths[-1] < takes:
                return None
            depths[-1] += gives - takes
            if code == b"b" and depths == [1]:
                parts.append((re.compile(literal, re.DOTALL), 0))
                made = Template(tuple(parts), tuple(steps), stored, tuple(reads), at)
                return made if at <= end else None
        return None


def _number(code: bytes, argument: bytes) -> tuple[bytes, object]:
    """Return an expression for a number and those that may stand in its place, and a value."""
    if code == b"J" and argument[3:] > b"\x7f":
        # No shape is negative, so such a number must be the same in each.
        return re.escape(argument), int.from_bytes(argument, "little", signed=True)
    return _NUMBERS[code][1:]


def _contents(value: object) -> object:
    """Return the fields of a mutable value, to compare them later."""
    fields = [getattr(value, name) for name in _MUTABLE[type(value)]]
    return [dict(field) if type(field) is dict else field for field in fields]


def _get(index: int, walk: Walk) -> None:
    walk.stack.append(walk.memo.get(index))


def _build(walk: Walk) -> None:
    """Set a state; raise Skipped if a number in it matters."""
    target, state = walk.stack[-2:]
    sizes = type(state) is tuple and any(
        item is OBJECTS or (type(item) is Dtype and item.has_object is not False) for item in state
    )
    if sizes or type(target) is Dtype:
        raise Skipped
    build(walk)


def _mark(walk: Walk) -> None:
    walk.marks.append(len(walk.stack))


def _memoize(walk: Walk) -> None:
    walk.memo.dense.append(walk.stack[-1])
