"""An envelope that was read and hashed where no key is: all that its tags are checked over."""

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import NamedTuple

from pickleseal.envelope import hashing, layout
from pickleseal.envelope.source import Body, Digests, Source
from pickleseal.errors import MalformedError, SealError
from pickleseal.files.handles import Stamp
from pickleseal.files.places import Version
from pickleseal.keys.suite import Suite


class Share(NamedTuple):
    """Which of so many equal shares of a body's leaves is hashed, from 0."""

    number: int = 0
    total: int = 1

    def of(self, size: int) -> tuple[int, int]:
        """Return where the share of a body of `size` bytes begins and ends."""
        leaves = -(-size // hashing.LEAF_SIZE)
        first, last = (leaves * one // self.total for one in (self.number, self.number + 1))
        return first * hashing.LEAF_SIZE, min(last * hashing.LEAF_SIZE, size)


class Record(NamedTuple):
    """The head and the last tag of an envelope as they were read, and the digests of its body.

    `room`: the bytes from its first one to the end of the file. `size`: those that its head claims,
    None if it is no head. `fault`: why its body could not be read. Nothing in it is known to be
    genuine, and the digests are those of who made it.
    """

    room: int
    head: bytes
    size: int | None = None
    leaves: tuple[bytes, ...] = ()
    padded: bool = True
    tag: bytes = b""
    fault: Exception | None = None


def record(source: Source, room: int, share: Share = Share()) -> Record:  # noqa: B008 - immutable
    """Read and hash an envelope, or a share of it. Raise OSError if its head cannot be read."""
    head = source.pull(layout.FIXED_SIZE)
    try:
        fixed = layout.parse_fixed(head)
    except SealError:
        return Record(room, head)
    head += source.pull(fixed.head_size + layout.TAG_SIZE - layout.FIXED_SIZE)
    made = Record(room, head, fixed.total_size)
    if fixed.total_size > room:
        return made
    try:
        lengths = layout.parse_head(fixed, head[: fixed.head_size]).lengths
        size = sum(length + layout.padding(length) for length in lengths)
        start, end = share.of(size)
        source.skip(start)
        leaves, padded = source.digests(fixed.suite, list(_within(lengths, start, end)))
        tag = source.pull(layout.TAG_SIZE) if end == size else b""
        return made._replace(leaves=tuple(leaves), padded=padded, tag=tag)
    except (MalformedError, OSError, MemoryError) as error:
        error.__traceback__ = error.__context__ = None
        return made._replace(fault=error)


def _within(lengths: Sequence[int], start: int, end: int) -> Iterator[int]:
    """Yield what each segment has between two offsets of the body.

    No padding is cut: leaves and segments begin at multiples of 64.
    """
    offset = 0
    for length in lengths:
        inside = min(offset + length, end) - max(offset, start)
        if inside > 0:
            yield inside
        offset += length + layout.padding(length)


def joined(shares: Sequence[Record]) -> Record | None:
    """Return the record of an envelope from those of all its shares, or None if they differ."""
    heads = {one[:3] for one in shares}
    if len(heads) > 1 or any(one.fault for one in shares):
        return None
    leaves = tuple(chain.from_iterable(one.leaves for one in shares))
    return shares[-1]._replace(leaves=leaves, padded=all(one.padded for one in shares))


class RecordedSource:
    """A record, read as the envelope was."""

    exact = False
    stamp: Stamp | Version | None = None

    def __init__(self, record: Record, name: str) -> None:
        self.name: str | None = name
        self.size: int | None = record.room
        self._record = record
        self._data = record.head

    def pull(self, size: int) -> bytes:
        """Return the next bytes of the head, or of the tag behind the body."""
        data, self._data = self._data[:size], self._data[size:]
        return data

    def skip(self, size: int) -> None:
        """Skip the next bytes."""
        self.pull(size)

    def body(self, suite: Suite, lengths: Sequence[int]) -> Body:
        """Raise TypeError: the body was not kept."""
        raise TypeError(f"a record has no body of suite {suite:d} and {len(lengths)} segments")

    def digests(
        self,
        suite: Suite,  # noqa: ARG002 - both are from the head, as those of the record were
        lengths: Sequence[int],  # noqa: ARG002
    ) -> Digests:
        """Return the digests of the body as they were recorded."""
        if self._record.fault is not None:
            raise self._record.fault
        self._data = self._record.tag
        return Digests(list(self._record.leaves), self._record.padded)
