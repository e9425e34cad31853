"""Compression of a segment: cut into chunks, each a zstd frame of its own.

docs/reference/format.md, "Codec", is the rule. Pure: nothing here knows a thread or a file. A
segment is only ever expanded after the envelope tag has vouched for each of its bytes, and to
exactly the size that its head names.
"""

import struct
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from pickleseal.errors import MalformedError, shown

if TYPE_CHECKING:
    from types import ModuleType

CHUNK_SIZE = 4 << 20
"""The size of a chunk in bytes; the last one of a segment may be smaller."""
DEFAULT_LEVEL = 3

_LEVELS = range(1, 23)
# A frame that zstd's own tools skip, so that a segment is a file that they can read.
_SKIPPED = struct.Struct("<II")
_SKIPPED_MAGIC = 0x184D2A50
_SIZE = 4
_FRAME_MAGIC = b"\x28\xb5\x2f\xfd"
_CONTENT_SIZES = (0, 2, 4, 8)
"""The size in bytes of a frame's content size, by the two highest bits of its descriptor."""
_LARGEST_BLOCK = 128 << 10
_RLE, _RESERVED = 1, 3
_OTHERS = ("zlib", "gzip", "gz", "bz2", "lzma", "xz", "lz4")


def level_of(compress: Any) -> int | None:  # noqa: ANN401 - what a caller may write
    """Return the level of a `compress=` argument, or None for no compression.

    The forms are joblib's, for zstd alone: None, False or 0 for none; True or "zstd" for level 3; a
    number from 1 to 22; ("zstd", level). Raise ValueError for anything else.
    """
    if compress is None:
        return None
    method, level = "zstd", compress
    if isinstance(compress, str):
        method, level = compress, DEFAULT_LEVEL
    elif isinstance(compress, tuple) and len(compress) == 2:
        method, level = compress
    if method in _OTHERS:
        raise ValueError(
            f"compress={shown(repr(compress))}: pickleseal compresses with zstd, which is faster"
            f" and packs tighter than {method}: write compress='zstd' or a level, such as"
            " compress=3"
        )
    if level is True:
        return DEFAULT_LEVEL
    if method != "zstd" or not isinstance(level, int) or (level and level not in _LEVELS):
        raise ValueError(
            f"compress={shown(repr(compress))}: give 'zstd', a level from 1 to {_LEVELS[-1]}, or"
            " None"
        )
    return level or None


def chunks(raw: memoryview) -> list[memoryview]:
    """Split a segment into the chunks that become frames."""
    return [raw[start : start + CHUNK_SIZE] for start in range(0, len(raw), CHUNK_SIZE)]


def compress(chunk: memoryview, level: int) -> bytes:
    """Compress a chunk into a frame."""
    frame: bytes = _zstd().compress(chunk, level)
    return frame


def join(frames: Sequence[bytes]) -> bytes:
    """Return the stored segment: a table of the frames' sizes, then the frames."""
    if not frames:
        return b""
    sizes = struct.pack(f"<{len(frames)}I", *map(len, frames))
    return b"".join((_SKIPPED.pack(_SKIPPED_MAGIC, len(sizes)), sizes, *frames))


def split(stored: memoryview, raw_size: int) -> Iterator[tuple[memoryview, int]]:
    """Yield each frame of a segment that expands to `raw_size` bytes, with the size of its chunk.

    Raise MalformedError if the table (8.2) or the form of a frame (8.3) does not fit. No memory is
    taken for what a frame holds.
    """
    count = -(-raw_size // CHUNK_SIZE)
    start = _SKIPPED.size + _SIZE * count if count else 0
    if len(stored) < start:
        raise MalformedError("a compressed segment is shorter than its table")
    if not count:
        if len(stored):
            raise MalformedError("an empty segment has bytes")
        return
    if _SKIPPED.unpack_from(stored) != (_SKIPPED_MAGIC, _SIZE * count):
        raise MalformedError("a compressed segment does not begin with its table")
    sizes = struct.unpack_from(f"<{count}I", stored, _SKIPPED.size)
    if start + sum(sizes) != len(stored):
        raise MalformedError("the frames of a compressed segment do not add up to its size")
    left = raw_size
    for size in sizes:
        frame, length = stored[start : start + size], min(left, CHUNK_SIZE)
        _check_form(frame, length)
        yield frame, length
        start += size
        left -= CHUNK_SIZE


def _check_form(frame: memoryview, size: int) -> None:
    """Raise MalformedError unless a frame's header and blocks have the form for a chunk.

    `size` is that of the chunk, in bytes. Decoders differ in what they take (windows, old formats,
    large blocks), so the form is checked here and not by the one that is installed.
    """
    if frame[: len(_FRAME_MAGIC)] != _FRAME_MAGIC or len(frame) <= len(_FRAME_MAGIC) + 1:
        raise MalformedError("a chunk of a compressed segment is no zstd frame")
    descriptor, window = frame[4], frame[5]
    if descriptor & 0b11111:
        raise MalformedError("a zstd frame has a checksum, a dictionary or a reserved bit")
    single = descriptor >> 5 & 1
    position = 5 if single else 6
    length = _CONTENT_SIZES[descriptor >> 6] or single
    stated = int.from_bytes(frame[position : position + length], "little")
    stated += 256 if length == 2 else 0
    if length and stated != size:
        raise MalformedError("a zstd frame states another size than its chunk has")
    base = 1 << 10 + (window >> 3)
    largest = size if single else base + base // 8 * (window & 7)
    if largest > CHUNK_SIZE:
        raise MalformedError("a zstd frame asks for a window over 4 MiB")
    position += length
    last = 0
    while not last:
        header = int.from_bytes(frame[position : position + 3], "little")
        last, kind, block = header & 1, header >> 1 & 3, header >> 3
        if kind == _RESERVED or block > min(largest, _LARGEST_BLOCK):
            raise MalformedError("a zstd frame has a block that the format does not know")
        position += 3 + (1 if kind == _RLE else block)
        if position > len(frame):
            raise MalformedError("a zstd frame is truncated")
    if position < len(frame):
        raise MalformedError("bytes follow the last block of a zstd frame")


def expand(frame: memoryview, target: memoryview) -> None:
    """Expand a frame of `split` into `target`, or raise MalformedError if it does not fit (8.4)."""
    zstd = _zstd()
    try:
        data = zstd.ZstdDecompressor().decompress(frame, max_length=len(target) + 1)
    except zstd.ZstdError:
        raise MalformedError("a compressed segment cannot be expanded") from None
    if len(data) != len(target):
        raise MalformedError("a compressed segment does not hold what its head says")
    target[:] = data


def _zstd() -> "ModuleType":
    if sys.version_info >= (3, 14):
        from compression import zstd  # noqa: PLC0415 - few files are compressed
    else:
        from backports import zstd  # noqa: PLC0415 - as above
    module: ModuleType = zstd
    return module
