"""Consecutive pickles, and the rule by which bytes count as a pickle.

A pickle has no magic number: many texts begin like one. So bytes count as a pickle by the result
of following them, never by their first byte alone.
"""

import re
import sys
from collections.abc import Iterator
from itertools import count
from typing import NamedTuple

from pickleseal.scanner.containers import arrays
from pickleseal.scanner.containers.views import (
    LONGEST,
    Bounds,
    View,
    behind_padding,
)
from pickleseal.scanner.machine.cursor import Cursor
from pickleseal.scanner.machine.faults import Skipped
from pickleseal.scanner.machine.trace import (
    Name,
    Trace,
    Use,
    trace,
)

_OPCODES = frozenset(b"()0123.BCFGIJKLMNPQRSTUVX]abcdeghijlopqrstu}") | frozenset(range(0x80, 0x99))
_TORCH_MAGIC = (b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", b"L119547037146038801333356L\n.")
_TORCH_PICKLES = 5
_PLAIN_READINGS = 20
_START = 2048
_LONG_PATH = re.compile(rb"c[\w.-]+\n\w+(?:\.\w+){20}")
"""A path on which a walk reaches a bound at once, as it does on the long first line of a text."""
_WRAPPER = "NumpyArrayWrapper"
_AT_WORK = Use.CALLED | Use.MADE | Use.BUILT
_LOOKS_UP = "it looks up "
"""How a trace reports mere names. A text can contain any of them without using them."""


class Pickle(NamedTuple):
    """A pickle: the trace of each of its readers, and its start and end.

    `explains_rest`: the bytes behind it belong to it, or it broke and they may.
    """

    readings: tuple[Trace, ...]
    start: int
    end: int
    explains_rest: bool


def could_begin(start: bytes) -> bool:
    """Return whether the first byte is an opcode."""
    return bool(start) and start[0] in _OPCODES


def pickles(view: View, start: int, bounds: Bounds, *, likely: bool) -> Iterator[Pickle]:
    """Follow consecutive pickles from `start` on.

    `likely`: other evidence suggests a pickle, so less is needed. Bytes that end like a pickle
    count as one if any behind them do.
    """
    begin = start
    of_torch = sure = False
    held: list[Pickle] = []
    for number in count(1):
        if not bounds.member():
            return
        readings, end = _readings(view, begin, bounds)
        first = readings[0]
        behind = behind_padding(view, end) if first.ended else end
        more = first.ended and bool(view.read(behind, 1))
        convinces = _convinces(first, view.read(begin, _START), more=more, likely=likely)
        convinces = convinces or (sure and bool(first.names))
        if number == 1:
            of_torch = _is_of_torch(view.read(start, min(end - start, 64)))
        # Behind its five pickles, torch's old format holds the bytes of tensors.
        of_tensors = of_torch and number >= _TORCH_PICKLES
        held.append(Pickle(readings, begin, end, of_tensors or not first.ended))
        if convinces:
            yield from held
            held.clear()
            likely = sure = True
        if not more:
            return
        begin = behind


def _is_of_torch(first: bytes) -> bool:
    """Return whether the first pickle is the magic number of torch's old format."""
    return len(first) < 40 and first.endswith(_TORCH_MAGIC)


def _readings(view: View, offset: int, bounds: Bounds) -> tuple[tuple[Trace, ...], int]:
    """Follow a pickle as joblib and, if that differs, as pickle reads it; return its end too.

    Array bytes of joblib are opcodes to pickle. It is no fault if pickle stops at them. If they
    end a pickle, a reader that loads one after another continues inside.
    """
    cursor = _cursor(view, offset)
    try:
        first = trace(cursor, joblib=True, most=bounds.opcodes, templates=bounds.templates)
    except Skipped:
        cursor = _cursor(view, offset)
        first = trace(cursor, joblib=True, most=bounds.opcodes)
    bounds.walked(first.opcodes)
    if not (first.wrapped_arrays or any(name.name.endswith(_WRAPPER) for name in first.names)):
        return (first,), offset + cursor.position
    end = offset + cursor.position
    readings, at = [first], offset
    while len(readings) <= _PLAIN_READINGS and (at < end or at == offset):
        if view.read(at, len(arrays.MAGIC)) == arrays.MAGIC:
            told = first._replace(fault="numpy.load would find an array in its arrays")
            readings.append(told._replace(limited=True))
            break
        plain = _cursor(view, at)
        found = trace(plain, bare=True, most=bounds.opcodes)
        bounds.walked(found.opcodes)
        at += plain.position
        readings.append(_forgiven(found, of_arrays=first.ended))
        if not found.ended:
            break
    else:
        if at != end:
            clause = "pickle.load would find other pickles in and behind its arrays"
            readings[-1] = readings[-1]._replace(fault=clause, limited=True)
    return tuple(readings), end if first.ended else max(end, at)


def without_faults(found: Pickle) -> Pickle:
    """Return a pickle as if its walks had ended where they met a fault."""
    return found._replace(readings=tuple(map(_forgiven, found.readings)))


def _forgiven(reading: Trace, *, of_arrays: bool = False) -> Trace:
    """Return a walk whose fault is none, as where a reader stops at the bytes of an array."""
    if not reading.limited:
        reading = reading._replace(fault=None)
    return reading._replace(of_arrays=of_arrays)


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
    """Return whether a walk's findings show that the bytes are a pickle.

    A sorted word list can yield a name for every two lines, and prose a number or two. But no text
    names something importable and uses it, or ends in STOP, or keeps a walk going to its bound.
    """
    others = found.opcodes - len(found.names)
    begins = start[:1] == b"\x80"
    announced = begins or found.protocol > 1
    if found.ended and (likely or announced or (not more and found.opcodes > 2)):
        return True
    # Picklers declare neither 0 nor 1, nor any later in the stream.
    as_picklers_do = begins and start[1:] > b"\1"
    if (likely or as_picklers_do) and others > 3:
        return True
    if announced and others > 6:
        return True
    acts = any(not clause.startswith(_LOOKS_UP) for clause in found.beyond)
    acts = acts and (begins or not found.given)  # any line behind "P" is a persistent id
    # In a list of checksums, any two lines behind "c" are a name, and letters behind it use it.
    if acts and others > (2 if not found.names or names_paths(found) else len(found.names) + 3):
        return True
    if found.limited and (others > 2 or _LONG_PATH.search(start)):
        return True
    # A list of files can look like dotted names.
    if (begins or (likely and not any("." in n.name for n in found.names))) and names_paths(found):
        return True
    return any(_is_plausible(name, found) for name in found.names)


def names_paths(found: Trace) -> bool:
    """Return whether a walk found names, and all of them are possible in Python."""
    return bool(found.names) and all(_is_path(n.module) and _is_path(n.name) for n in found.names)


def uses_names(view: View, bounds: Bounds) -> bool:
    """Return whether a walk from here finds a name that is used, not by a mere letter behind it."""
    found = trace(_cursor(view, 0), most=bounds.opcodes)
    bounds.walked(found.opcodes)
    others = found.opcodes - len(found.names)
    used = any(name.uses & _AT_WORK for name in found.names)
    return names_paths(found) and others > 2 and not found.given and used


def _is_plausible(name: Name, found: Trace) -> bool:
    """Return whether a text could not contain this name, or this use of it, by chance.

    A module may have any name that a file can have, but any two lines behind "(i" are a call.
    """
    others = found.opcodes - len(found.names)
    at_work = bool(name.uses & _AT_WORK)
    if not (_is_path(name.module) and _is_path(name.name)):
        return at_work and others > len(found.names) + 3
    of_python = name.module.partition(".")[0] in sys.stdlib_module_names
    return at_work or (of_python and (others > 1 or found.limited))


def _is_path(text: str) -> bool:
    """Return whether a text is a dotted name or looks like one, such as "x86_64-linux"."""
    return all(part.replace("-", "_").isidentifier() for part in text.split("."))
