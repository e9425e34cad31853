"""Pickles at any offset: in a cache entry, a database page, or base64 text.

An offset counts only if following it finds names that Python can have. docs/reference/audit.md
lists the blind spots.
"""

import binascii
import re
from collections.abc import Callable, Iterator
from operator import itemgetter
from typing import NamedTuple, TypeAlias

from pickleseal.scanner.containers import layers, streams
from pickleseal.scanner.containers.views import (
    LONGEST,
    Bounds,
    Memory,
    Part,
    View,
    Whole,
)

PACKED = frozenset({"zlib", "gzip"})
"""Compression that caches use for pickles."""
_FIRST = rb"()\]}NcCXKMJGILFSUTVBiP\x80\x82-\x84\x88-\x8f\x95-\x97"
"""Opcodes that can run on an empty stack."""
_PICKLE = re.compile(rb"\x80[\2-\5][" + _FIRST + rb"]")
_NAME = re.compile(
    rb"\(?c[A-Za-z_][\w.]{0,59}\n[A-Za-z_][\w.]{0,59}\n"
    rb"(?=[()\]}N0-2\x80-\x99]|p[0-9]|q[^a-z]|r..\0|S['\"]|[IFL][-0-9]|V|[XTJ]..\0|[UKM][\0-\x1f])",
    re.DOTALL,
)
"""A name in a pickle of protocol 0 or 1, with an opcode behind it: a list of words has none.

It is no longer than a line of base64.
"""
_RUN = rb"[A-Za-z0-9+/_\r\n-]{13,}"
_STARTS = (rb"gA[I-X]", rb"H4sI", rb"e(?:J[w-z]|N[o-r]|A[E-H]|F[4-7])")
"""The first characters of a protocol, gzip and zlib in base64."""
# One expression for all of them is ten times slower than one for each.
_BASE64 = tuple(re.compile(start + _RUN) for start in _STARTS)
_NEAR = 4096
"""How near behind a name it must be used, in bytes, and how much further a chunk is read."""
_LETTERS = re.compile(_RUN)
_URL_SAFE = bytes.maketrans(b"-_", b"+/")


class Hidden(NamedTuple):
    """Found pickles: their offset, their container, and the end of the bytes that hold them."""

    offset: int
    end: int
    kinds: tuple[str, ...]
    pickles: tuple[streams.Pickle, ...]


_Follow: TypeAlias = Callable[[View, int, int, Bounds], Hidden | None]


def search(
    view: Whole, limit: int, covered: list[tuple[int, int]], bounds: Bounds
) -> Iterator[Hidden]:
    """Search the first `limit` bytes for pickles, except in `covered` ranges."""
    offset = 0
    for start, end in [*sorted(covered), (limit, limit)]:
        yield from _search(view, offset, min(start, limit), bounds)
        offset = max(offset, end)


def _search(view: Whole, start: int, end: int, bounds: Bounds) -> Iterator[Hidden]:
    while (start := view.next_data(start)) < end and (
        chunk := view.read(start, min(LONGEST, end - start))
    ):
        last = start + len(chunk) >= end or len(chunk) < LONGEST
        limit = len(chunk) if last else len(chunk) - _NEAR
        behind = 0
        for at, follow in _places(chunk):
            if at < behind or at >= limit:
                continue
            near = Whole(Memory(memoryview(chunk)[at : at + _NEAR]))
            named = follow is not _from_name or streams.uses_names(near, bounds)
            found = follow(view, start + at, end, bounds) if named else None
            if found is not None:
                yield found
                behind = found.end - start
            if bounds.hit:
                return
        start += max(limit, behind)


def _places(chunk: bytes) -> list[tuple[int, _Follow]]:
    """Return where pickles may begin, and how to follow each."""
    places: list[tuple[int, _Follow]] = []
    for pattern, follow in _PATTERNS:
        places += [(match.start(), follow) for match in pattern.finditer(chunk)]
    places.sort(key=itemgetter(0))
    return places


def _whole(view: View, offset: int, end: int, bounds: Bounds) -> Hidden | None:
    found = _pickles(Part(view, offset, end - offset, bounds), bounds)
    return Hidden(offset, offset + found[-1].end, (), found) if found else None


def _from_name(view: View, offset: int, end: int, bounds: Bounds) -> Hidden | None:
    """Return the rest of a pickle from a name on."""
    found = _whole(view, offset, end, bounds)
    # A fault says nothing here, since the part before the name is missing.
    return found and found._replace(pickles=tuple(map(streams.without_faults, found.pickles)))


def _pickles(view: View, bounds: Bounds) -> tuple[streams.Pickle, ...]:
    """Return the pickles that bytes begin with, if they name something."""
    found = tuple(streams.pickles(view, 0, bounds, likely=False))
    named = any(streams.names_paths(reading) for one in found for reading in one.readings)
    return found if named else ()


def _decoded(view: View, offset: int, end: int, bounds: Bounds) -> Hidden | None:
    """Return the pickles in a text of base64, which may be packed with zlib or gzip."""
    text = _LETTERS.match(view.read(offset, min(LONGEST, end - offset)))
    if text is None:
        return None
    letters = text[0].translate(_URL_SAFE, b"\r\n")
    size = bounds.allow(len(letters) // 4 * 4)
    data = Memory(memoryview(binascii.a2b_base64(letters[:size])))
    kinds: tuple[str, ...] = ("base64",)
    inner: View = Whole(data)
    for layer in layers.layers_of(data.read(0, 16)):
        if layer.name in PACKED:
            inner = layers.Expanded(inner, 0, layer, bounds)
            kinds = ("base64", layer.name)
            break
    found = _pickles(inner, bounds)
    return Hidden(offset, offset + len(text[0]), kinds, found) if found else None


_PATTERNS = ((_PICKLE, _whole), (_NAME, _from_name), *((packed, _decoded) for packed in _BASE64))
