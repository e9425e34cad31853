"""Compressed layers, expanded from front to back in bounded memory.

What a reader would have been handed before it comes upon damage is handed out here too.
"""

import struct
import sys
import zlib
from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol

from pickleseal.auditing.views import CHUNK, Bounds, View

_MEMORY = 256 << 20  # what a decoder of xz or lzma may take, in bytes: xz -9 takes 65 MiB
_KEPT = 8 << 20  # what has been passed and is kept: a zip is read from its end
_FIRST = 4096  # of most layers no more than their beginning is looked at


class _Decoder(Protocol):
    """A decoder of one stream, as bz2, lzma, zstd and lz4 have them."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes | None: ...
    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class Stream(NamedTuple):
    """One compressed stream: its decoder, where its data begins, and what follows them.

    `trailer` is what lies behind the data and is not checked, in bytes; `errors` are what the
    decoder raises for what it cannot decode.
    """

    decoder: _Decoder
    start: int
    trailer: int = 0
    errors: tuple[type[Exception], ...] = (zlib.error,)


class Layer(NamedTuple):
    """A way of compression: its name, and what begins a stream at an offset (None: none does).

    `many`: streams may follow one another. `begin` raises ImportError where a package is missing.
    """

    name: str
    begin: Callable[[View, int], Stream | None]
    many: bool = True


class Expanded:
    """What a compressed layer holds. Going back costs expanding it anew, and is counted."""

    def __init__(self, view: View, start: int, layer: Layer, bounds: Bounds) -> None:
        self.fault = ""
        self._view = view
        self._start = start
        self._layer = layer
        self._bounds = bounds
        self._head = b""
        self._rewind()

    def read(self, offset: int, size: int, /) -> bytes:
        """Give the bytes at an offset, fewer than `size` only where they end."""
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
        """Give the offset, or where the bytes end if that comes first."""
        while self._end < offset and self._advance():
            pass
        return min(offset, self._end)

    def _rewind(self) -> None:
        self._kept = bytearray()
        self._end = 0
        self._pieces = self._expand()

    def _advance(self) -> bool:
        """Take in the next piece; false at the end."""
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
        try:
            for piece in self._decode(lambda at: CHUNK if at else _FIRST):
                yield piece
                done += len(piece)
        except _Damaged:
            # The call that failed swallowed what it had decoded. Byte by byte that is one at most.
            yield from self._again(done)

    def _again(self, done: int) -> Iterator[bytes]:
        """Decode up to `done` as before, then give what comes byte by byte up to the damage."""
        passed = 0
        pieces = self._decode(lambda at: min(CHUNK, done - at) if at < done else 1)
        found = bytearray()
        try:
            for piece in pieces:
                if passed >= done:
                    found += piece
                passed += len(piece)
                if len(found) >= CHUNK:
                    break
        except _Damaged:
            pass
        self.fault = "it is damaged, or takes too much memory"
        if found:
            yield bytes(found)

    def _decode(self, step: Callable[[int], int]) -> Iterator[bytes]:
        """Give what the streams hold, `step(position)` bytes at a time, or raise _Damaged."""
        position = 0
        stream = self._layer.begin(self._view, self._start)
        if stream is None:
            self.fault = "it is damaged"
        while stream is not None and self._bounds.member():
            decoder, at, trailer, errors = stream
            while not decoder.eof:
                data = b""
                if decoder.needs_input:
                    data = self._view.read(at, CHUNK)
                    at += len(data)
                    if not data:
                        self.fault = "it is cut off"
                        return
                room = self._bounds.allow(step(position))
                if not room:
                    return
                try:
                    piece = decoder.decompress(data, room)
                except errors:
                    raise _Damaged from None
                self._bounds.give_back(room - len(piece))
                position += len(piece)
                if piece:
                    yield piece
                elif not (data or decoder.eof or decoder.needs_input):
                    raise _Damaged
            if not self._layer.many:
                return
            stream = self._layer.begin(self._view, at - len(decoder.unused_data or b"") + trailer)


class _Damaged(Exception):  # noqa: N818 - a signal inside this room
    """A decoder cannot go on."""


def layers_of(start: bytes) -> Iterator[Layer]:
    """Give the layers that what begins so may be, by its first bytes."""
    layer = _BEGINNINGS.get(start[:4]) or _BEGINNINGS.get(start[:3])
    if layer is not None:
        yield layer
    if len(start) >= 2 and start[0] & 0x8F == 8 and int.from_bytes(start[:2], "big") % 31 == 0:
        yield ZLIB
    if start.startswith(b"\x5d\0") or _is_alone(start):
        yield LZMA


def _is_alone(start: bytes) -> bool:
    """Tell the old lzma format as liblzma does: a round size of its dictionary, a sane length."""
    if len(start) < 13 or start[0] >= 225 or (start[1] and start[1] != 0xFF):
        return False
    dictionary, length = struct.unpack_from("<IQ", start, 1)
    top = dictionary.bit_length() - 1
    rounded = dictionary in (1 << max(top, 0), 3 << max(top - 1, 0), 0xFFFFFFFF)
    return rounded and (length == 0xFFFFFFFFFFFFFFFF or length < 1 << 38)


class _Inflate:
    """A decoder of raw deflate, with the ways of the others.

    Without the sums around it, which only tell a reader too late.
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
    return Stream(_Inflate(), offset + 2)


def _old_joblib(view: View, offset: int) -> Stream:
    """Pass over the size that joblib before 0.10 wrote in front: 19 digits, and maybe a space."""
    space = view.read(offset + 21, 1) == b" "
    return Stream(_Inflate(), offset + (22 if space else 21) + 2)


def _gzip(view: View, offset: int) -> Stream | None:
    while (start := view.read(offset, 10)) and not start[0]:  # zeros may lie between members
        chunk = view.read(offset, CHUNK)
        offset += len(chunk) - len(chunk.lstrip(b"\0"))
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


def _bzip2(view: View, offset: int) -> Stream | None:
    if view.read(offset, 3) != b"BZh":
        return None
    import bz2  # noqa: PLC0415 - few files are compressed

    return Stream(bz2.BZ2Decompressor(), offset, errors=(OSError, ValueError))


def _xz(view: View, offset: int) -> Stream | None:
    while (start := view.read(offset, 6)) and not start[0]:
        chunk = view.read(offset, CHUNK)
        offset += len(chunk) - len(chunk.lstrip(b"\0"))
    if start != b"\xfd7zXZ\0":
        return None
    import lzma  # noqa: PLC0415 - as above

    decoder = lzma.LZMADecompressor(lzma.FORMAT_XZ, _MEMORY)
    return Stream(decoder, offset, errors=(lzma.LZMAError,))


def _lzma(_: View, offset: int) -> Stream:
    import lzma  # noqa: PLC0415 - as above

    decoder = lzma.LZMADecompressor(lzma.FORMAT_ALONE, _MEMORY)
    return Stream(decoder, offset, errors=(lzma.LZMAError,))


def _zip_lzma(view: View, offset: int) -> Stream | None:
    import lzma  # noqa: PLC0415 - as above

    start = view.read(offset, 9)
    if len(start) < 9 or start[2:4] != b"\x05\0" or start[4] >= 225:
        return None
    properties, dictionary = struct.unpack_from("<BI", start, 4)
    lc, lp, pb = properties % 9, properties // 9 % 5, properties // 45
    if dictionary > _MEMORY or lc + lp > 4:
        return None
    coder = {"id": lzma.FILTER_LZMA1, "dict_size": dictionary, "lc": lc, "lp": lp, "pb": pb}
    decoder = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=[coder])
    return Stream(decoder, offset + 9, errors=(lzma.LZMAError, ValueError))


def _zstd(view: View, offset: int) -> Stream | None:
    start = view.read(offset, 4)
    if start != b"\x28\xb5\x2f\xfd" and (start[1:] != b"\x2a\x4d\x18" or start[0] >> 4 != 5):
        return None
    if sys.version_info >= (3, 14):
        from compression import zstd  # noqa: PLC0415 - as above
    else:
        from backports import zstd  # noqa: PLC0415 - as above
    return Stream(zstd.ZstdDecompressor(), offset, errors=(zstd.ZstdError,))


def _lz4(view: View, offset: int) -> Stream | None:
    if view.read(offset, 4) != b"\x04\x22\x4d\x18":
        return None
    import lz4.frame  # noqa: PLC0415 - few have it, and few files need it

    return Stream(lz4.frame.LZ4FrameDecompressor(), offset, errors=(RuntimeError, ValueError))


DEFLATE = Layer("deflate", _deflate, many=False)
ZLIB = Layer("zlib", _zlib, many=False)
LZMA = Layer("lzma", _lzma, many=False)
BZIP2 = Layer("bz2", _bzip2)
XZ = Layer("xz", _xz)
ZSTD = Layer("zstd", _zstd)
LZ4 = Layer("lz4", _lz4)

_BEGINNINGS = {
    b"\x1f\x8b\x08": Layer("gzip", _gzip),
    b"BZh": BZIP2,
    b"\xfd7zX": XZ,
    b"\x28\xb5\x2f\xfd": ZSTD,
    **{bytes([0x50 + low, 0x2A, 0x4D, 0x18]): ZSTD for low in range(16)},
    b"\x04\x22\x4d\x18": LZ4,
    b"ZF0x": Layer("joblib before 0.10", _old_joblib, many=False),
}
"""Layers by the first bytes that are theirs alone."""
ZIPPED = {
    8: DEFLATE,
    12: BZIP2,
    14: Layer("lzma", _zip_lzma, many=False),
    93: ZSTD,
    95: XZ,
}
"""Layers by the number that a zip gives them."""
