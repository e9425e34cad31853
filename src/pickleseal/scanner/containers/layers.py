"""Compressed layers, expanded from front to back in bounded memory.

Data in front of damage is returned too, since a reader would get it.
"""

import struct
import sys
import zlib
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import NamedTuple, Protocol

from pickleseal.scanner.containers.views import (
    CHUNK,
    Bounds,
    View,
    behind_padding,
)
from pickleseal.scanner.grade import TRUNCATED

_MEMORY = 256 << 20  # memory limit of an xz or lzma decoder, in bytes: xz -9 takes 65 MiB
_KEPT = 8 << 20  # how much data behind the current offset is kept: a zip is read from its end
_FIRST = 4096  # most layers are examined only at their start
_CALL = 1024  # minimum cost of a decoder call, in bytes
_STEPS = (CHUNK, 256, 1)

DAMAGED = "it is damaged"
TOO_LARGE = "it takes too much memory to unpack"
NOT_FOLLOWED = "a form that is not followed"
"""Why a layer ends early. Readers may continue where it is TOO_LARGE or NOT_FOLLOWED here."""
UNCLEAR = (TOO_LARGE, NOT_FOLLOWED)


class _Decoder(Protocol):
    """A decoder of one stream, with the interface of bz2, lzma, zstd and lz4."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes | None: ...
    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class Stream(NamedTuple):
    """One compressed stream: its decoder, the offset of its data, and its trailer.

    `trailer` is the size of the unchecked bytes behind the data.
    """

    decoder: _Decoder
    start: int
    trailer: int = 0


class Layer(NamedTuple):
    """A compression format: its name, and a function that begins a stream at an offset, or None.

    `many`: streams may follow one another. `begin` raises ImportError if a package is missing.
    """

    name: str
    begin: Callable[[View, int], Stream | None]
    many: bool = True


class Expanded:
    """The contents of a compressed layer. Going back expands it again, which is counted.

    `behind` is the offset at which its streams end in the outer view, or None if not yet known.
    """

    def __init__(self, view: View, start: int, layer: Layer, bounds: Bounds) -> None:
        self.fault = ""
        self.behind: int | None = None
        self._view = view
        self._start = start
        self._layer = layer
        self._bounds = bounds
        self._head = b""
        self._rewind()

    def read(self, offset: int, size: int, /) -> bytes:
        """Return `size` bytes at an offset, fewer only at the end."""
        if offset + size <= len(self._head):
            return self._head[offset : offset + size]
        if offset < self._end - len(self._kept):
            self._rewind()
        while self._end < offset + size and self._advance():
            pass
        first = self._end - len(self._kept)
        with memoryview(self._kept) as kept:
            return bytes(kept[max(offset - first, 0) : max(offset + size - first, 0)])

    def reach(self, offset: int, /) -> int:
        """Return the offset, or the end of the bytes if that comes first."""
        while self._end < offset and self._advance():
            pass
        return min(offset, self._end)

    def _rewind(self) -> None:
        self._kept = bytearray()
        self._end = 0
        self._pieces = self._expand()

    def _advance(self) -> bool:
        """Read the next piece; return False at the end."""
        piece = next(self._pieces, b"")
        if not piece:
            return False
        if len(self._kept) >= 2 * _KEPT:
            del self._kept[:-_KEPT]
        self._kept += piece
        self._end += len(piece)
        if len(self._head) < CHUNK and len(self._head) < self._end == len(self._kept):
            self._head = bytes(self._kept[:CHUNK])
        return True

    def _expand(self) -> Iterator[bytes]:
        done = 0
        for step in _STEPS:
            # A failed call discards what it had decoded. So everything is decoded again, in smaller
            # steps from the failed one on: the smallest loses one byte at most.
            position = 0
            try:
                for piece in self._decode(done, step):
                    position += len(piece)
                    if position > done:
                        yield piece
            except _Broken as broken:
                self.fault = broken.fault
                done = max(done, position)
            else:
                return

    def _decode(self, done: int, step: int) -> Iterator[bytes]:
        """Yield the decompressed data from `done` on, in steps of a size, or raise _Broken."""
        position = 0
        stream = self._begin(self._start)
        if stream is None:
            self.fault = DAMAGED
        while stream is not None:
            decoder, at, trailer = stream
            while not decoder.eof:
                data = b""
                if decoder.needs_input:
                    data = self._view.read(at, CHUNK)
                    at += len(data)
                    if not data:
                        self.fault = TRUNCATED
                        return
                room = min(CHUNK, max(done - position, 0)) or (
                    step if position else min(step, _FIRST)
                )
                cost = self._bounds.allow(max(room, _CALL))
                if not cost:
                    return
                try:
                    piece = decoder.decompress(data, room)
                except MemoryError:
                    raise
                except Exception as error:  # noqa: BLE001 - each decoder has its own
                    told = str(error).lower()
                    beyond_dictionary = self._layer.begin is _lzma and position > _MEMORY
                    if beyond_dictionary or "memory" in told:
                        raise _Broken(TOO_LARGE) from None
                    raise _Broken(NOT_FOLLOWED if "dictionary" in told else DAMAGED) from None
                self._bounds.give_back(cost - max(len(piece), _CALL))
                position += len(piece)
                if piece:
                    yield piece
                elif not (data or decoder.eof or decoder.needs_input):
                    raise _Broken(DAMAGED)
            if not self._bounds.member():
                return
            self.behind = at - len(decoder.unused_data or b"") + trailer
            stream = self._begin(self.behind) if self._layer.many else None

    def _begin(self, offset: int) -> Stream | None:
        """Begin a stream, or raise _Broken if readers may find one where none is followed."""
        stream = self._layer.begin(self._view, offset)
        if stream is not None:
            return stream
        behind = behind_padding(self._view, offset, b"\0")
        # Readers pass over zeros in front of a stream, and those of lzma may begin with up to four.
        if self._view.read(behind, 5).startswith(_OTHERS) or (
            behind > offset and any(self._layer.begin(self._view, behind - n) for n in range(5))
        ):
            raise _Broken(NOT_FOLLOWED)
        return None


class _Broken(Exception):  # noqa: N818 - a signal inside this room
    """A decoder cannot continue."""

    def __init__(self, fault: str) -> None:
        super().__init__(fault)
        self.fault = fault


def layers_of(start: bytes) -> Iterator[Layer]:
    """Return the layers that may begin with these bytes."""
    layer = _BEGINNINGS.get(start[:4]) or _BEGINNINGS.get(start[:3])
    if layer is None and (_is_skippable(start) or start.startswith(_OTHERS)):
        layer = ZSTD
    if layer is not None:
        yield layer
    if start.startswith(b"ZF"):
        yield OLD_JOBLIB
    if len(start) >= 2 and start[0] & 0x8F == 8 and int.from_bytes(start[:2], "big") % 31 == 0:
        yield ZLIB
    if _is_alone(start) or start.startswith(_NO_STREAM):
        yield LZMA


def _is_alone(start: bytes) -> bool:
    """Recognize the old lzma format as liblzma does: a round dictionary size, a sane length.

    joblib goes by two bytes, which count too. The first byte behind the header is always zero.
    """
    if len(start) < _HEAD or start[0] >= 225 or start[_HEAD - 1]:
        return False
    dictionary, length = struct.unpack_from("<IQ", start, 1)
    top = dictionary.bit_length() - 1
    rounded = dictionary in (1 << max(top, 0), 3 << max(top - 1, 0), 0xFFFFFFFF)
    sane = length == 0xFFFFFFFFFFFFFFFF or length < 1 << 38
    return start.startswith(b"\x5d\0") or (rounded and sane)


def _is_skippable(start: bytes) -> bool:
    """Return whether bytes begin a skippable frame of zstd or lz4."""
    return start[1:4] == b"\x2a\x4d\x18" and start[0] >> 4 == 5


_HEAD = 14
_NO_STREAM = bytes(18)  # liblzma takes them for an empty stream of lzma


class _Inflate:
    """A decoder of raw deflate with the interface of the others.

    Checksums are ignored: a reader sees them only after it has used the data.
    """

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(-zlib.MAX_WBITS)
        self.needs_input = True

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        piece = self._inner.decompress(self._inner.unconsumed_tail + data, max_length)
        self.needs_input = len(piece) < max_length and not self._inner.unconsumed_tail
        return piece


def _deflate(_: View, offset: int) -> Stream:
    return Stream(_Inflate(), offset)


def _zlib(_: View, offset: int) -> Stream:
    return Stream(_Inflate(), offset + 2, trailer=4)


def _old_joblib(view: View, offset: int) -> Stream | None:
    """Skip the size in front of the files of joblib before 0.10: 19 characters, maybe a space."""
    start = view.read(offset, 22)
    try:
        int(start[2:21], 16)
    except ValueError:
        return None
    return Stream(_Inflate(), offset + (24 if start[21:] == b" " else 23), trailer=4)


def _gzip(view: View, offset: int) -> Stream | None:
    start = view.read(offset, 10)
    if len(start) < 10 or start[:3] != b"\x1f\x8b\x08":
        return None
    flags = start[3]
    offset += 10
    if flags & 4:
        offset += 2 + int.from_bytes(view.read(offset, 2), "little")
    for bit in (8, 16):
        if flags & bit:
            offset = _behind_zero(view, offset)
    if flags & 2:
        offset += 2
    return Stream(_Inflate(), offset, trailer=8)


def _behind_zero(view: View, offset: int) -> int:
    while (text := view.read(offset, CHUNK)) and b"\0" not in text:
        offset += len(text)
    return offset + text.find(b"\0") + 1


def _lzma(view: View, offset: int) -> Stream | None:
    """Begin a stream of xz or lzma: Python's reader accepts them in any sequence."""
    start = view.read(offset, _HEAD)
    lzma = import_module("lzma")
    if start.startswith(b"\xfd7zXZ\0"):
        return Stream(lzma.LZMADecompressor(lzma.FORMAT_XZ, _MEMORY), offset)
    if not _is_alone(start):
        return None
    decoder = lzma.LZMADecompressor(lzma.FORMAT_ALONE)
    # A dictionary that is too large is needed only by data as long.
    dictionary = min(int.from_bytes(start[1:5], "little"), _MEMORY)
    try:
        decoder.decompress(start[:1] + dictionary.to_bytes(4, "little") + start[5 : _HEAD - 1])
    except lzma.LZMAError:
        return None
    return Stream(decoder, offset + _HEAD - 1)


def _framed(magic: bytes, make: Callable[[], _Decoder]) -> Callable[[View, int], Stream | None]:
    """Return how a stream of a format begins. Its decoder passes over skippable frames."""

    def begin(view: View, offset: int) -> Stream | None:
        start = view.read(offset, 4)
        known = start.startswith(magic) or _is_skippable(start)
        return Stream(make(), offset) if known else None

    return begin


def _zstd() -> _Decoder:
    module = "compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd"
    return import_module(module).ZstdDecompressor()  # type: ignore[no-any-return]


# Few files are compressed, so the modules are imported late.
DEFLATE = Layer("deflate", _deflate, many=False)
ZLIB = Layer("zlib", _zlib, many=False)
LZMA = Layer("lzma", _lzma)
BZIP2 = Layer("bz2", _framed(b"BZh", lambda: import_module("bz2").BZ2Decompressor()))
XZ = Layer("xz", _lzma)
_ZSTD = b"\x28\xb5\x2f\xfd"
ZSTD = Layer("zstd", _framed(_ZSTD, _zstd))
_LZ4 = b"\x04\x22\x4d\x18"
LZ4 = Layer("lz4", _framed(_LZ4, lambda: import_module("lz4.frame").LZ4FrameDecompressor()))

_BEGINNINGS = {
    b"\x1f\x8b\x08": Layer("gzip", _gzip),
    b"BZh": BZIP2,
    b"\xfd7zX": XZ,
    b"LZIP": XZ,
    _ZSTD: ZSTD,
    _LZ4: LZ4,
}
"""Layers by their unique first bytes."""
_OTHERS = (b"LZIP\0", b"LZIP\1", _LZ4, *(bytes([first]) + _ZSTD[1:] for first in range(0x1E, 0x28)))
"""First bytes that readers open too: lzip, lz4 behind a skippable frame, zstd before 0.8."""
OLD_JOBLIB = Layer("joblib before 0.10", _old_joblib, many=False)
ZIPPED = {8: DEFLATE, 12: BZIP2, 93: ZSTD, 95: XZ}
"""Layers by their zip compression method."""
