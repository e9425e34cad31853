"""A walk that follows a pickle as CPython's unpicklers do, without running anything.

The reference is Modules/_pickle.c, and Lib/pickle.py where that continues; callers may also pass
`encoding`, `buffers` or `persistent_load`. The walk stops exactly where all of them have stopped,
so its names are all that any of them would look up.
"""

import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

from pickleseal.scanner.grade import TRUNCATED
from pickleseal.scanner.machine.arguments import READERS, unknown
from pickleseal.scanner.machine.cursor import Cursor, EndOfInput
from pickleseal.scanner.machine.faults import Fault
from pickleseal.scanner.machine.literals import utf8
from pickleseal.scanner.machine.record import MAX_BEYOND, MAX_NAMES, Record
from pickleseal.scanner.machine.repeats import Repeats, Template
from pickleseal.scanner.machine.specials import special
from pickleseal.scanner.machine.stack import (
    MAX_HELD,
    MAX_OPCODES,
    NO_FRAME,
    Step,
    Walk,
)
from pickleseal.scanner.machine.stackwork import WORKERS
from pickleseal.scanner.machine.values import (
    BYTES,
    NOTHING,
    NUMBER,
    Use,
)
from pickleseal.scanner.machine.wrapped import build_with_array

__all__ = ["MAX_BEYOND", "MAX_HELD", "MAX_NAMES", "MAX_OPCODES", "Name", "Trace", "Use", "trace"]

_SHORT = frozenset(b"C\x8c")
"""Opcodes of bytes and texts with one byte for their size."""
_WIDTHS = [{"M": 2, "J": 4, "j": 4, "r": 4, "G": 8}.get(chr(code), 0) for code in range(256)]
"""Sizes of the arguments of opcodes that the loop handles itself, in bytes."""
_INT4 = struct.Struct("<i")
_UINT4 = struct.Struct("<I")


class Name(NamedTuple):
    """A name that is looked up, as the unpickler imports it."""

    module: str
    name: str
    uses: Use


class Trace(NamedTuple):
    """What unpickling a stream would do.

    `names` are without repeats, in order of first appearance. `beyond` has a clause for each
    construction that no data needs. `fault` is why the walk ended before STOP, and `limited`
    whether that was a bound of the walk itself. `protocol` is the highest that the stream declares.
    `wrapped_arrays` counts joblib's arrays, and `given` values
    that only the reader's caller can supply: persistent objects, buffers. `coded`: it may look up
    names other than those it spells, by extension codes, which each process assigns, or because it
    declares several protocols. `of_arrays`: pickle.load reads the array bytes of a file that
    joblib.load reads to its end.
    """

    names: tuple[Name, ...]
    beyond: tuple[str, ...]
    fault: str | None
    limited: bool
    opcodes: int
    protocol: int
    wrapped_arrays: int
    given: int
    coded: bool
    of_arrays: bool = False

    @property
    def ended(self) -> bool:
        """Whether STOP was reached."""
        return self.fault is None


def trace(
    cursor: Cursor,
    *,
    joblib: bool = False,
    bare: bool = False,
    most: int | None = None,
    templates: dict[bytes, Template] | None = None,
) -> Trace:
    """Follow one pickle from the cursor on; the cursor is then right behind its STOP.

    `joblib`: read as `joblib.load` does, which takes an array's bytes out of the stream. `bare`:
    read as `pickle.load` does that is given a file and nothing else. `most`: how many opcodes to
    follow, if fewer than MAX_OPCODES. `templates`, with `joblib`: pass over objects that
    repeat others, and raise Skipped if the stream then reads what they stored.
    """
    record = Record(special, joblib=joblib, bare=bare, most=most)
    walk = Walk(cursor, record)
    if templates is not None:
        walk.pass_over = Repeats(templates).pass_over
    fault, limited = None, False
    try:
        _run(walk, _WORKING_JOBLIB if joblib else _WORKING)
    except Fault as found:
        fault, limited = f"at byte {cursor.position}: {found}", found.limited
    except EndOfInput:
        fault = f"at byte {cursor.position}: {TRUNCATED}"
    names = tuple(Name(g.module, g.name, Use(g.uses)) for g in record.names.values())
    return Trace(
        names,
        tuple(record.beyond),
        fault,
        limited,
        record.opcodes + walk.opcodes,
        record.protocol,
        record.arrays,
        record.given,
        record.coded,
    )


def _run(walk: Walk, working: Sequence[Step | None]) -> object:  # noqa: PLR0915 - one loop, and a call would cost as much as an opcode
    """Run up to STOP and return the unpickled value; raise Fault or EndOfInput."""
    # An audit spends its time in this loop. It handles the most frequent opcodes itself, and the
    # rest by two tables of functions. Moving an iterator costs half as much as counting an index.
    cursor, stack, marks, memo = walk.cursor, walk.stack, walk.marks, walk.memo
    int4, uint4 = _INT4.unpack_from, _UINT4.unpack_from
    dense = memo.dense
    while True:
        data = _window(walk)
        start, size, number = cursor.at, len(data), walk.opcodes
        codes: Any = iter(data)
        left, go_to = codes.__length_hint__, codes.__setstate__
        try:
            for number, code in enumerate(codes, walk.opcodes + 1):  # noqa: B007
                if code == 0x68:  # BINGET
                    index = next(codes)
                    value = dense[index] if index < len(dense) else NOTHING
                    stack.append(memo.get(index) if value is NOTHING else value)
                elif code == 0x94:  # MEMOIZE
                    if len(stack) <= marks[-1]:
                        walk.underflow()
                    if memo.regular:
                        dense.append(stack[-1])
                    else:
                        memo.memoize(stack[-1])
                elif code == 0x4B:  # BININT1
                    stack.append(next(codes))
                elif (work := working[code]) is not None:
                    work(walk)
                elif code == 0x28:  # MARK
                    marks.append(len(stack))
                elif code == 0x71:  # BINPUT
                    index = next(codes)
                    if index == len(dense) and memo.regular and len(stack) > marks[-1]:
                        dense.append(stack[-1])
                    else:
                        walk.put(index)
                elif (
                    code in _SHORT
                    and (at := size - left()) < size
                    and (end := at + 1 + data[at]) <= size
                ):
                    go_to(end)
                    if code == 0x8C:  # SHORT_BINUNICODE
                        stack.append(utf8(data[at + 1 : end]))
                    else:  # SHORT_BINBYTES
                        stack.append(BYTES)
                elif (width := _WIDTHS[code]) and (end := (at := size - left()) + width) <= size:
                    go_to(end)
                    if code == 0x4D:  # BININT2
                        stack.append(data[at] | data[at + 1] << 8)
                    elif code == 0x47:  # BINFLOAT
                        stack.append(NUMBER)
                    elif code == 0x4A:  # BININT
                        stack.append(int4(data, at)[0])
                    elif code == 0x6A:  # LONG_BINGET
                        (index,) = uint4(data, at)
                        value = dense[index] if index < len(dense) else NOTHING
                        stack.append(memo.get(index) if value is NOTHING else value)
                    else:  # LONG_BINPUT
                        (index,) = uint4(data, at)
                        if index == len(dense) and memo.regular and len(stack) > marks[-1]:
                            dense.append(stack[-1])
                        else:
                            walk.put(index)
                elif code == 0x2E:  # STOP
                    value = walk.pop()
                    cursor.at = start + size - left()
                    if walk.frame_end not in (NO_FRAME, cursor.position):
                        walk.note_misfit()
                    return value
                else:
                    cursor.at = start + size - left()
                    _READING[code](walk)
                    at = cursor.at - start
                    if cursor.data is not walk.held or walk.moved or at > size:
                        break
                    go_to(at)
            else:
                cursor.at = start + size
        except StopIteration:
            # The last byte is an opcode whose argument is not buffered.
            number -= 1
            cursor.at = start + size - 1
            if cursor.position + 1 == walk.frame_end:
                walk.note_misfit()
            elif cursor.fill(2) < 2:
                raise EndOfInput from None
        except EndOfInput:
            if cursor.position + len(cursor.data) - cursor.at > walk.frame_end:
                walk.note_misfit()
            raise
        except Fault:
            if cursor.data is walk.held:
                cursor.at = max(cursor.at, start + size - left())
            if cursor.position > walk.frame_end:
                walk.note_misfit()
            raise
        finally:
            walk.opcodes = number


def _window(walk: Walk) -> bytes:
    """Return the buffered bytes from the cursor on, up to the end of a frame."""
    cursor = walk.cursor
    walk.check_bounds()
    if cursor.position > walk.frame_end:
        walk.note_misfit()
    if cursor.position == walk.frame_end:
        walk.frame_end = NO_FRAME
    if not cursor.fill(1):
        raise EndOfInput
    walk.moved = False
    walk.held = cursor.data
    return cursor.data[cursor.at : cursor.at + walk.frame_end - cursor.position]


def _run_nested(walk: Walk) -> object:
    return _run(walk, _WORKING)


_WORKING = [WORKERS.get(chr(code)) for code in range(256)]
_WORKING_JOBLIB = [None if code == ord("b") else _WORKING[code] for code in range(256)]
"""Setting a state makes joblib read further in the stream."""
_READING = [READERS.get(chr(code), unknown) for code in range(256)]
_READING[ord("b")] = build_with_array(_run_nested)
