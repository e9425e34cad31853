"""What joblib compresses, unpacked: one stream, of which nothing is left over.

docs/reference/format.md, "Payload", is the rule. Pure: bytes in, bytes out, a bounded piece at a
time. A load unpacks only what an envelope tag has vouched for, and to exactly the size that its
head names.
"""

import zlib
from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol

from pickleseal.errors import MalformedError, PicklesealError

PIECE = 1 << 20
"""The most that is unpacked at a time, in bytes."""
_FED = 1 << 16
_LONGEST_START = 8

_MEMORY = 1 << 30  # what a decoder of xz or lzma may take, in bytes: xz -9 takes 65 MiB


class _Decoder(Protocol):
    """A decoder of one stream, as bz2, lzma and lz4 have them."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes | None: ...
    def decompress(self, data: bytes | memoryview, max_length: int) -> bytes: ...


class _Inflate:
    """A decoder of zlib and gzip, with the ways of the others."""

    def __init__(self, bits: int) -> None:
        self._inner = zlib.decompressobj(bits)

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, data: bytes | memoryview, max_length: int) -> bytes:
        tail = self._inner.unconsumed_tail
        return self._inner.decompress(b"".join((tail, data)) if tail else data, max_length)


class _Method(NamedTuple):
    """A way of compression: how it begins, and what decodes it."""

    name: str
    start: bytes
    decoder: Callable[[], _Decoder]


def _bz2() -> _Decoder:
    import bz2  # noqa: PLC0415 - few files are compressed, and each program imports this room

    return bz2.BZ2Decompressor()


def _lzma() -> _Decoder:
    import lzma  # noqa: PLC0415 - as above

    return lzma.LZMADecompressor(lzma.FORMAT_ALONE, _MEMORY)


def _xz() -> _Decoder:
    import lzma  # noqa: PLC0415 - as above

    return lzma.LZMADecompressor(lzma.FORMAT_XZ, _MEMORY)


def _lz4() -> _Decoder:
    try:
        import lz4.frame  # noqa: PLC0415 - few have it, and few files need it
    except ImportError:
        raise PicklesealError(
            "it is compressed with lz4, and that is not there to unpack it: install"
            " pickleseal[audit]"
        ) from None
    decoder: _Decoder = lz4.frame.LZ4FrameDecompressor()
    return decoder


_METHODS = (
    _Method("zlib", b"\x78", lambda: _Inflate(zlib.MAX_WBITS)),
    _Method("gzip", b"\x1f\x8b", lambda: _Inflate(zlib.MAX_WBITS | 16)),
    _Method("bz2", b"BZ", _bz2),
    _Method("lzma", b"\x5d\x00", _lzma),
    _Method("xz", b"\xfd7zXZ", _xz),
    _Method("lz4", b"\x04\x22\x4d\x18", _lz4),
)
"""As joblib tells them: by their first bytes, and no two begin alike."""


def method_of(start: bytes) -> str | None:
    """Give the name of the compression that bytes begin with, None for none."""
    method = _method(start)
    return None if method is None else method.name


def pieces(read: Callable[[int, int], bytes | memoryview], size: int) -> Iterator[memoryview]:
    """Give what a stream holds, a piece of at most 1 MiB at a time; uncompressed data in pieces.

    `read` gives bytes of the stream at an offset, and `size` is how many there are. Raises
    MalformedError for a stream that is damaged, is cut off, or is followed by anything.
    """
    method = _method(bytes(read(0, _LONGEST_START)))
    if method is None:
        yield from (memoryview(read(at, PIECE)) for at in range(0, size, PIECE))
        return
    decoder = method.decoder()
    position = 0
    fed: memoryview | bytes = b""
    while not decoder.eof:
        try:
            piece = decoder.decompress(fed, PIECE)
        except (MemoryError, PicklesealError):
            raise
        except Exception:  # noqa: BLE001 - each decoder has errors of its own
            raise MalformedError(f"its {method.name} stream is damaged") from None
        fed = b""
        if piece:
            yield memoryview(piece)
        elif not decoder.eof:
            fed = read(position, _FED)
            if not fed:
                raise MalformedError(f"its {method.name} stream is cut off")
            position += len(fed)
    spare = size - position + len(decoder.unused_data or b"")
    if spare:
        raise MalformedError(f"{spare} bytes follow its {method.name} stream")


def expand(data: memoryview, raw_size: int) -> memoryview:
    """Give what a stream holds, if that is exactly `raw_size` bytes; uncompressed data as they are.

    Never takes more than a piece beyond `raw_size` bytes. Raises MalformedError.
    """
    if _method(bytes(data[:_LONGEST_START])) is None:
        if len(data) != raw_size:
            raise _other_size(raw_size)
        return data
    whole = memoryview(bytearray(raw_size))
    done = 0
    for piece in pieces(lambda at, length: data[at : at + length], len(data)):
        if len(piece) > raw_size - done:
            raise _other_size(raw_size)
        whole[done : done + len(piece)] = piece
        done += len(piece)
    if done != raw_size:
        raise _other_size(raw_size)
    return whole


def _method(start: bytes) -> _Method | None:
    return next((method for method in _METHODS if start.startswith(method.start)), None)


def _other_size(size: int) -> MalformedError:
    return MalformedError(f"what it holds is not the {size} bytes that its head says")
