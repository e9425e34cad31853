"""Decompressing what joblib compressed: one whole stream, in pieces of bounded size.

docs/reference/payload.md, "joblib", is the rule. A load decompresses only verified bytes, and to
exactly the size that the head names.
"""

import zlib
from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol

from pickleseal.errors import MalformedError, PicklesealError

PIECE = 1 << 20
"""The largest piece that is decompressed at a time, in bytes."""
_FED = 1 << 16
_LONGEST_START = 8

_MEMORY = 1 << 30  # the limit for a decoder of xz or lzma, in bytes: xz -9 takes 65 MiB


class _Decoder(Protocol):
    """A decoder of one stream, with the interface of bz2, lzma and lz4."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes | None: ...
    def decompress(self, data: bytes | memoryview, max_length: int) -> bytes: ...


class _Inflate:
    """A decoder of zlib and gzip, with the interface of the others."""

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
    """A method of compression: the first bytes of its streams, and its decoder."""

    name: str
    start: bytes
    decoder: Callable[[], _Decoder]


def _bz2() -> _Decoder:
    import bz2  # noqa: PLC0415 - few files are compressed, and each program imports this module

    return bz2.BZ2Decompressor()


def _lzma() -> _Decoder:
    import lzma  # noqa: PLC0415 - as above

    return lzma.LZMADecompressor(lzma.FORMAT_AUTO, _MEMORY)


def _lz4() -> _Decoder:
    try:
        import lz4.frame  # noqa: PLC0415 - few have it, and few files need it
    except ImportError:
        raise PicklesealError(
            "it is compressed with lz4, which is not installed: install pickleseal[audit]"
        ) from None
    decoder: _Decoder = lz4.frame.LZ4FrameDecompressor()
    return decoder


_METHODS = (
    _Method("zlib", b"\x78", lambda: _Inflate(zlib.MAX_WBITS)),
    _Method("gzip", b"\x1f\x8b", lambda: _Inflate(zlib.MAX_WBITS | 16)),
    _Method("bz2", b"BZ", _bz2),
    _Method("lzma", b"\x5d\x00", _lzma),
    _Method("xz", b"\xfd7zXZ", _lzma),
    _Method("lz4", b"\x04\x22\x4d\x18", _lz4),
)
"""As joblib tells them apart, by their first bytes."""


def method_of(start: bytes) -> str | None:
    """Return the name of the compression that bytes begin with, or None."""
    method = _method(start)
    return None if method is None else method.name


def pieces(read: Callable[[int, int], bytes | memoryview], size: int) -> Iterator[memoryview]:
    """Yield the content of a stream in pieces of at most 1 MiB; data not compressed as they are.

    `read` takes an offset and a length, and `size` is the length of the whole. Raises
    MalformedError if the stream is damaged or cut off, or if anything follows it.
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
        except MemoryError:
            raise
        except Exception:  # noqa: BLE001 - each decoder has errors of its own
            raise MalformedError(f"its {method.name} stream is damaged") from None
        fed = b""
        if piece:
            yield memoryview(piece)
        elif not decoder.eof:
            fed = read(position, _FED)
            if not fed:
                raise MalformedError(f"its {method.name} stream is truncated")
            position += len(fed)
    spare = size - position + len(decoder.unused_data or b"")
    if spare:
        raise MalformedError(f"{spare} bytes follow its {method.name} stream")


def expand(data: memoryview, raw_size: int) -> memoryview:
    """Return the content of a stream, exactly `raw_size` bytes (8.6); plain data as they are.

    Memory grows with the content, so that a wrong `raw_size` is refused as such on any machine.
    Raises MalformedError for content of another size, and as `pieces` does.
    """
    if _method(bytes(data[:_LONGEST_START])) is None:
        if len(data) != raw_size:
            raise _other_size(raw_size)
        return data
    whole = bytearray()
    for piece in pieces(lambda at, length: data[at : at + length], len(data)):
        if len(piece) > raw_size - len(whole):
            raise _other_size(raw_size)
        whole += piece
    if len(whole) != raw_size:
        raise _other_size(raw_size)
    return memoryview(whole)


def _method(start: bytes) -> _Method | None:
    return next((method for method in _METHODS if start.startswith(method.start)), None)


def _other_size(size: int) -> MalformedError:
    return MalformedError(f"its content is not the {size} bytes that its head says")
