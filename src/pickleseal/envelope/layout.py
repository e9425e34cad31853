"""The byte layout of an envelope: the only module that knows the offset of a field.

Nothing here is authentic yet. The rule is docs/reference/format.md, "Layout".
"""

import struct
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from pickleseal.errors import MalformedError, NothingToReadError, NotSealedError, counted
from pickleseal.files.magic import EMPTY, beginning_of
from pickleseal.keys.suite import Suite

MAGIC = b"\xa6PSEAL\r\n"
VERSION = 1
STORED = 0
"""The codec of segments that are not compressed."""
ZSTD = 1
"""The codec of segments that are compressed, each by itself."""

ALIGNMENT = 64
FIXED_SIZE = 64
TAG_SIZE = 32
MAX_METADATA = 1 << 16
MAX_SEGMENTS = 1 << 16
MAX_TOTAL = 1 << 44

_FIXED = struct.Struct("<8sHHI16sIIQH14s")
_ROW = struct.Struct("<QQ")
_RESERVED = bytes(14)
_SUITES = {suite.value: suite for suite in Suite}


def padding(size: int) -> int:
    """Return the number of zeros (0 to 63) that follow a segment of `size` bytes."""
    return -size % ALIGNMENT


def _offsets(metadata_size: int, segments: int) -> tuple[int, int]:
    """Return the offsets of the segment table and of the header tag."""
    table_start = (FIXED_SIZE + metadata_size + 15) & -16
    return table_start, ((table_start + _ROW.size * segments + TAG_SIZE + 63) & -64) - TAG_SIZE


def _padded_size(lengths: Iterable[int]) -> int:
    return sum([size + (-size & 63) for size in lengths])


class Fixed(NamedTuple):
    """The first 64 bytes of an envelope, in range but not authentic, and the offsets they imply."""

    suite: Suite
    key_id: bytes
    metadata_size: int
    segments: int
    total_size: int
    codec: int
    table_start: int
    """The offset of the segment table."""
    head_size: int
    """The offset of the header tag, which covers all bytes before it."""

    @property
    def body_size(self) -> int:
        """The size of all segments with their padding, in bytes."""
        return self.total_size - self.head_size - 2 * TAG_SIZE

    def pack(self) -> bytes:
        """Return the 64 bytes."""
        return _FIXED.pack(
            MAGIC,
            VERSION,
            self.suite,
            0,
            self.key_id,
            self.metadata_size,
            self.segments,
            self.total_size,
            self.codec,
            _RESERVED,
        )


class Head(NamedTuple):
    """The fields before the header tag, not yet authentic.

    `lengths` are the stored sizes of the segments, `raw` their sizes without the codec, in bytes.
    """

    fixed: Fixed
    metadata: bytes
    table: bytes
    lengths: tuple[int, ...]
    raw: tuple[int, ...]


def _not_sealed(start: bytes) -> NotSealedError:
    found = beginning_of(start)
    if found is None:
        return NotSealedError(
            "not sealed: it does not begin like a sealed file. Nothing was unpickled. See what is"
            " in it with: pickleseal audit FILE"
        )
    advice = f" {found.advice[0].upper()}{found.advice[1:]}" if found.advice else ""
    return NotSealedError(f"not sealed: {found.clause}. Nothing was unpickled.{advice}")


def left_over(count: int) -> str:
    """Return the message for bytes after the end of an envelope."""
    return f"{count} unexpected {'byte' if count == 1 else 'bytes'} after the sealed data"


def parse_fixed(start: bytes) -> Fixed:
    """Parse the first 64 bytes (steps 2 and 3 of format.md, "Reading").

    `start` has 64 bytes, or fewer if the input ends there. Raise NotSealedError if it does not
    begin as an envelope, MalformedError if a field is out of range for this version.
    """
    if len(start) < FIXED_SIZE:
        if not start:
            raise NothingToReadError(  # 2.1
                f"not sealed: there is nothing to read (0 bytes). If it is a file, {EMPTY.advice}"
            )
        if start[: len(MAGIC)] != MAGIC[: len(start)]:  # 2.2
            raise _not_sealed(start)
        # 2.3
        raise MalformedError(f"truncated: only {counted(len(start), 'byte')}")
    magic, version, suite, flags, key_id, metadata_size, segments, total, codec, reserved = (
        _FIXED.unpack_from(start)
    )
    if magic != MAGIC:  # 2.2
        raise _not_sealed(start)
    if version != VERSION:  # 2.4
        raise MalformedError(
            f"envelope version {version}, and this pickleseal reads version {VERSION}"
        )
    if suite not in _SUITES:  # 2.5
        raise MalformedError(f"suite {suite} is not one of this version's")
    if flags or reserved != _RESERVED:  # 2.6, 2.7
        raise MalformedError("a flag or reserved byte is set, and this version has none")
    if codec not in (STORED, ZSTD):  # 2.8
        raise MalformedError(f"codec {codec} is not one of this version's")
    if not 2 <= metadata_size <= MAX_METADATA:  # 2.9
        raise MalformedError(f"a metadata size of {metadata_size} is out of range")
    if not 1 <= segments <= MAX_SEGMENTS:  # 2.10
        raise MalformedError(f"a count of {segments} segments is out of range")
    if total > MAX_TOTAL:  # 2.11
        raise MalformedError(f"a total size of {total} is out of range")
    offsets = _offsets(metadata_size, segments)
    fixed = Fixed(_SUITES[suite], key_id, metadata_size, segments, total, codec, *offsets)
    body = fixed.body_size
    if body < 0 or body % ALIGNMENT:  # 3.1, 3.2
        raise MalformedError(f"a total size of {total} does not fit the head's own size")
    return fixed


def parse_head(fixed: Fixed, head: bytes) -> Head:
    """Parse the `fixed.head_size` bytes before the header tag, and check that the sizes add up."""
    metadata_end = FIXED_SIZE + fixed.metadata_size
    table_start = fixed.table_start
    table_end = table_start + _ROW.size * fixed.segments
    table = head[table_start:table_end]
    if any(head[metadata_end:table_start]) or any(head[table_end:]):  # 5.2, 5.3
        raise MalformedError("the padding of the head is not zero")
    sizes = struct.unpack(f"<{2 * fixed.segments}Q", table)
    lengths, raw = sizes[::2], sizes[1::2]
    if fixed.codec == STORED and lengths != raw:  # 5.4
        raise MalformedError("a stored segment has two sizes")
    if sum(raw) > MAX_TOTAL:  # 5.5
        raise MalformedError("the segments are larger than an envelope may hold")
    if _padded_size(lengths) != fixed.body_size:  # 5.6
        raise MalformedError("the segment sizes do not add up to the total size")
    return Head(fixed, head[FIXED_SIZE:metadata_end], table, lengths, raw)


def pack_head(
    suite: Suite,
    key_id: bytes,
    metadata: bytes,
    lengths: Sequence[int],
    raw: Sequence[int] | None = None,
) -> Head:
    """Return the head for segments of the given lengths in bytes; `head_bytes` packs it.

    `raw`: their lengths before compression, or None if they are stored as they are.
    """
    codec, raw = (STORED, lengths) if raw is None else (ZSTD, raw)
    table = b"".join(map(_ROW.pack, lengths, raw))
    offsets = _offsets(len(metadata), len(lengths))
    total = offsets[1] + 2 * TAG_SIZE + _padded_size(lengths)
    if total > MAX_TOTAL or sum(raw) > MAX_TOTAL:
        raise OverflowError(f"an envelope holds {MAX_TOTAL} bytes at most")
    fixed = Fixed(suite, key_id, len(metadata), len(lengths), total, codec, *offsets)
    return Head(fixed, metadata, table, tuple(lengths), tuple(raw))


def head_bytes(head: Head) -> bytes:
    """Return the bytes of a head, up to its tag."""
    fixed = head.fixed
    start = (fixed.pack() + head.metadata).ljust(fixed.table_start, b"\0") + head.table
    return start.ljust(fixed.head_size, b"\0")
