"""Pickles that stand one behind the other, and what makes bytes count as one.

Nothing marks a pickle: many a text begins as one could. So bytes count as a pickle by what
following them comes upon, and never by a first byte alone.
"""

import sys
from collections.abc import Iterator
from itertools import count
from typing import NamedTuple

from pickleseal.auditing.cursor import Cursor
from pickleseal.auditing.machine import Name, Trace, Use, trace
from pickleseal.auditing.views import LONGEST, Bounds, View

_OPCODES = frozenset(b"()0123.BCFGIJKLMNPQRSTUVX]abcdeghijlopqrstu}") | frozenset(range(0x80, 0x99))
_TORCH_MAGIC = (b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", b"L119547037146038801333356L\n.")
_TORCH_PICKLES = 5
LINE_ENDS = (b"", b"\n", b"\r\n")
"""What may follow the last pickle and is nothing: an editor puts a line's end there."""
_WRAPPER = "NumpyArrayWrapper"
_AT_WORK = Use.CALLED | Use.MADE | Use.BUILT


class Pickle(NamedTuple):
    """A pickle: how each of its readers reads it, and where it ends.

    `explains_rest`: what follows it belongs to it, or cannot be told apart from it as it broke.
    """

    readings: tuple[Trace, ...]
    end: int
    explains_rest: bool


def could_begin(start: bytes) -> bool:
    """Tell whether the first byte is an opcode."""
    return bool(start) and start[0] in _OPCODES


def pickles(view: View, start: int, bounds: Bounds, *, likely: bool) -> Iterator[Pickle]:
    """Follow the pickles that stand one behind the other from `start` on.

    `likely`: something else says that there should be one, so that less of it convinces.
    """
    end = start
    of_torch = False
    for number in count(1):
        if not bounds.member():
            return
        readings, behind = _readings(view, end, bounds)
        first = readings[0]
        more = first.ended and view.read(behind, 3) not in LINE_ENDS
        if not _convinces(first, view.read(end, 2), more=more, likely=likely):
            return
        if number == 1:
            of_torch = _is_of_torch(view.read(start, min(behind - start, 64)))
        end = behind
        of_tensors = of_torch and number == _TORCH_PICKLES
        yield Pickle(readings, end, of_tensors or not first.ended)
        if of_tensors or not more:
            return


def _is_of_torch(first: bytes) -> bool:
    """Tell whether the first pickle is the number that torch's old format begins with."""
    return len(first) < 40 and first.endswith(_TORCH_MAGIC)


def _readings(view: View, offset: int, bounds: Bounds) -> tuple[tuple[Trace, ...], int]:
    """Follow a pickle as joblib reads it and, where that differs, as pickle does; and its end.

    What joblib takes for the bytes of an array are opcodes for pickle. That pickle breaks at them
    is no fault, but what it comes upon before it does counts.
    """
    cursor = _cursor(view, offset)
    first = trace(cursor, joblib=True)
    bounds.walked(first.opcodes)
    if not (first.wrapped_arrays or any(name.name.endswith(_WRAPPER) for name in first.names)):
        return (first,), offset + cursor.position
    plain = _cursor(view, offset)
    second = trace(plain)
    bounds.walked(second.opcodes)
    end = (cursor if first.ended else plain).position
    if not second.limited:
        second = second._replace(fault=None, ended=True)
    return (first, second), offset + end


def _cursor(view: View, offset: int) -> Cursor:
    at = offset

    def read(size: int) -> bytes:
        nonlocal at
        data = view.read(at, min(size, LONGEST))
        at += len(data)
        return data

    def skip(size: int) -> int:
        nonlocal at
        passed = view.reach(at + size) - at
        at += max(passed, 0)
        return passed

    return Cursor(read, skip)


def _convinces(found: Trace, start: bytes, *, more: bool, likely: bool) -> bool:
    """Tell whether what a walk came upon shows that bytes are a pickle.

    A word list that is sorted can name a thing for each two of its lines, and prose can set a
    number or two. No text names what can be imported and makes use of it, or ends in STOP.
    """
    others = found.opcodes - len(found.names)
    announced = start[:1] == b"\x80"
    if found.ended and (likely or announced or (not more and found.opcodes > 2)):
        return True
    if announced and others > (3 if start[1:] > b"\1" else 6):  # no pickler announces 0 and 1
        return True
    if likely and others > 3:
        return True
    return any(_is_plausible(name, others) for name in found.names)


def _is_plausible(name: Name, others: int) -> bool:
    parts = (*name.module.split("."), *name.name.split("."))
    if not all(part.isidentifier() for part in parts):
        return False
    return bool(name.uses & _AT_WORK) or (parts[0] in sys.stdlib_module_names and others > 1)
