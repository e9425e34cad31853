"""Read an envelope from bytes, a regular file, or any stream."""

import io
import os
import stat
import threading
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from typing import Any, NamedTuple, Protocol, cast

from pickleseal.envelope import hashing, layout
from pickleseal.errors import MalformedError, SealError
from pickleseal.files import threads
from pickleseal.files.handles import (
    Path,
    Readable,
    Stamp,
    check_binary,
    close_read,
    open_as_text,
    read_at,
    real_file,
    stamp_of,
)
from pickleseal.files.memory import fresh, own
from pickleseal.files.objects import Opened, StoredObject, open_file
from pickleseal.files.places import (
    Named,
    Options,
    Place,
    Remote,
    Version,
    place_of,
    without_credentials,
)
from pickleseal.files.regular import WHOLE_SIZE, open_regular
from pickleseal.keys.suite import Suite

_LEAST_ASKED = 1 << 18
_MOST_ASKED = (32 << 20) - (1 << 16)
"""How much a file object is asked for at once, in bytes: the most while it gives all that it is
asked for, since a handle of an object store makes a request of each. For 32 MiB, malloc would map
and clear memory each time."""
_ROOM_SIZE = 31 * hashing.LEAF_SIZE
_PARALLEL = hasattr(os, "preadv")


class Body(NamedTuple):
    """A body in memory: its segments, the padding after each, and the leaf digests."""

    segments: list[memoryview]
    paddings: list[memoryview]
    leaves: list[bytes]


class Digests(NamedTuple):
    """A body that was read and not kept: its leaf digests, and whether all padding is zero."""

    leaves: list[bytes]
    padded: bool


class Source(Protocol):
    """The input of one envelope, read once and in order."""

    name: str | None
    """The name for messages, such as a path."""
    size: int | None
    """The size of the input in bytes, if it is known."""
    exact: bool
    """Whether the envelope must take all of the input."""
    stamp: Stamp | Version | None
    """Identifies the file or object that was opened, to notice a replacement."""

    def pull(self, size: int) -> bytes:
        """Return the next bytes, fewer than `size` only at the end of the input."""

    def skip(self, size: int) -> None:
        """Skip the next bytes."""

    def body(self, suite: Suite, lengths: Sequence[int]) -> Body:
        """Read the body, of segments of these lengths."""

    def digests(self, suite: Suite, lengths: Sequence[int]) -> Digests:
        """Hash the body, of segments of these lengths, without keeping it."""


@contextmanager
def open_source(file: Path | Readable | Named, options: Options = None) -> Iterator[Source]:
    """Open the `file` argument of a load: a path or URL, a binary file object, any with `read`.

    A path must lead to a regular file, and is opened once. A file object is read from its
    position and left right after the envelope; a real file is read as fast as its path.
    """
    place = place_of(file, options)
    if place is not None:
        with open_place(place) as (source, _):
            yield source
        return
    check_binary(file, "rb")
    real = real_file(file)
    if real is not None and not real.readable():
        raise io.UnsupportedOperation("the file is not open for reading: open it with 'rb'")
    if real is not None and _PARALLEL:
        start = real.tell()
        size = os.fstat(real.fileno()).st_size
        held = file_source(real.fileno(), start, size, _name_of(file), exact=False)
        yield held
        real.seek(start + held.position)
        return
    yield StreamSource(file)


@contextmanager
def open_place(
    place: Place, *, follow: bool = True, folder: int | None = None, seen: Version | None = None
) -> Iterator[tuple["Source", int]]:
    """Open a place as exactly one envelope (1.1); yield its permission bits, too.

    `follow`, `folder`, `seen`: as for `open_file`. An object has the bits of a new file.
    """
    if isinstance(place, Remote):
        with StoredObject(place, seen) as opened:
            yield ObjectSource(opened, 0, exact=True), 0o666
        return
    descriptor, status = open_regular(place, follow=follow, folder=folder)
    try:
        source = file_source(descriptor, 0, status.st_size, place, exact=True)
        source.stamp = stamp_of(status)
        yield source, stat.S_IMODE(status.st_mode) & 0o777
    finally:
        close_read(descriptor)


class MemorySource:
    """Immutable bytes: the first segment is a view of them, the others are copies."""

    def __init__(self, data: bytes, name: str | None = None, *, exact: bool = True) -> None:
        self.name = name
        self.size: int | None = len(data)
        self.exact = exact
        self.stamp: Stamp | Version | None = None
        self.position = 0
        self._data = data

    def pull(self, size: int) -> bytes:
        """Return the next bytes, fewer than `size` only at the end of the input."""
        data = self._data[self.position : self.position + size]
        self.position += len(data)
        return data

    def skip(self, size: int) -> None:
        """Skip the next bytes."""
        self.position += size

    def body(self, suite: Suite, lengths: Sequence[int]) -> Body:
        """Read the body, of segments of these lengths."""
        view = memoryview(self._data)
        start = self.position
        segments: list[memoryview] = []
        paddings: list[memoryview] = []
        for length in lengths:
            end = self.position + length
            segment = view[self.position : end]
            segments.append(own(segment) if segments else segment)
            self.position = end + layout.padding(length)
            paddings.append(view[end : self.position])
        body = view[start : self.position]
        return Body(segments, paddings, hashing.leaf_digests(suite, [body], len(body)))

    def digests(self, suite: Suite, lengths: Sequence[int]) -> Digests:
        """Hash the body, of segments of these lengths, without keeping it."""
        gaps = _Gaps(lengths)
        body = memoryview(self._data)[self.position : self.position + gaps.size]
        self.position += gaps.size
        return Digests(hashing.leaf_digests(suite, [body], gaps.size), gaps.zero_in(body, 0))


def memory_source(data: bytes | bytearray | memoryview) -> MemorySource:
    """Return a source over bytes-like data, copied first unless it is immutable."""
    return MemorySource(frozen(data))


def frozen(data: bytes | bytearray | memoryview) -> bytes:
    """Return bytes-like data as bytes, copied unless it is immutable."""
    if type(data) is bytes:
        return data
    try:
        view = memoryview(data)
    except TypeError:
        raise TypeError(
            f"a bytes-like object is required, not {type(data).__name__} (a path or file is for"
            " the calls without s)"
        ) from None
    return bytes(view)


class FileSource:
    """A regular file, read at offsets: its position is neither used nor moved."""

    def __init__(
        self, descriptor: int, start: int, size: int, name: str | None, *, exact: bool
    ) -> None:
        self.name = name
        self.size: int | None = size
        self.exact = exact
        self.stamp: Stamp | Version | None = None
        self.position = 0
        self._descriptor = descriptor
        self._start = start

    def pull(self, size: int) -> bytes:
        """Return the next bytes, fewer than `size` only at the end of the input."""
        data = bytearray()
        while len(data) < size:
            chunk = os.pread(
                self._descriptor, size - len(data), self._start + self.position + len(data)
            )
            if not chunk:
                break
            data += chunk
        self.position += len(data)
        return bytes(data)

    def skip(self, size: int) -> None:
        """Skip the next bytes."""
        self.position += size

    def body(self, suite: Suite, lengths: Sequence[int]) -> Body:
        """Read the body, of segments of these lengths."""
        segments, paddings = _allocate(lengths)
        start = self._start + self.position

        def read(number: int, leaf: list[memoryview]) -> bytes:
            if not read_at(self._descriptor, leaf, start + number * hashing.LEAF_SIZE):
                raise _cut_off()
            return hashing.leaf_digest(suite, leaf)

        leaves = threads.each(hashing.split(_interleaved(segments, paddings)), read)
        self.position += sum(map(len, segments)) + sum(map(len, paddings))
        return Body(segments, paddings, leaves)

    def digests(self, suite: Suite, lengths: Sequence[int]) -> Digests:
        """Hash the body, of segments of these lengths, without keeping it."""
        gaps = _Gaps(lengths)
        start = self._start + self.position
        room = threading.local()

        def read(_: int, offset: int) -> tuple[bytes, bool]:
            if not hasattr(room, "leaf"):
                room.leaf = memoryview(bytearray(min(gaps.size, hashing.LEAF_SIZE)))
            leaf = room.leaf[: gaps.size - offset]
            if not read_at(self._descriptor, [leaf], start + offset):
                raise _cut_off()
            return hashing.leaf_digest(suite, [leaf]), gaps.zero_in(leaf, offset)

        read_leaves = threads.each(range(0, gaps.size, hashing.LEAF_SIZE), read)
        self.position += gaps.size
        return Digests([digest for digest, _ in read_leaves], all(zero for _, zero in read_leaves))


class StreamSource:
    """Any object with `readinto` or `read`, read from front to back."""

    def __init__(
        self,
        file: Any,  # noqa: ANN401 - any object
        size: int | None = None,
        *,
        name: str | None = None,
        exact: bool = False,
    ) -> None:
        self.name = name or _name_of(file)
        self.size = size
        self.exact = exact
        self.stamp: Stamp | Version | None = None
        self.position = 0
        readinto = getattr(file, "readinto", None)
        read = getattr(file, "read", None)
        if readinto is None and read is None:
            raise TypeError(
                "file must be a path or a binary file object with read or readinto, not"
                f" {type(file).__name__}"
                + (": for bytes there is signed_loads, or io.BytesIO" * _is_bytes(file))
            )
        self._readinto: Any = readinto
        self._read = read
        self._answered = False
        self._room = memoryview(bytearray())
        self._most = _LEAST_ASKED
        self._ahead = memoryview(b"")
        self._left = 0

    def pull(self, size: int) -> bytes:
        """Return the next bytes, fewer than `size` only at the end of the input."""
        data = bytearray(size)
        return bytes(data[: self._fill(memoryview(data))])

    def skip(self, size: int) -> None:
        """Skip the next bytes."""
        for start in range(0, size, hashing.LEAF_SIZE):
            self.pull(min(size - start, hashing.LEAF_SIZE))

    def body(self, suite: Suite, lengths: Sequence[int]) -> Body:
        """Read the body, of segments of these lengths."""
        segments, paddings = _allocate(lengths)
        size = sum(map(len, segments)) + sum(map(len, paddings))
        self._left = size + layout.TAG_SIZE
        for piece in _interleaved(segments, paddings):
            if self._fill(piece) < len(piece):
                raise _cut_off()
        leaves = hashing.leaf_digests(suite, list(_interleaved(segments, paddings)), size)
        return Body(segments, paddings, leaves)

    def digests(self, suite: Suite, lengths: Sequence[int]) -> Digests:
        """Hash the body, of segments of these lengths, without keeping it."""
        gaps = _Gaps(lengths)
        room = memoryview(bytearray(min(gaps.size, _ROOM_SIZE)))
        leaves = []
        padded = True
        self._left = gaps.size + layout.TAG_SIZE
        for offset in range(0, gaps.size, _ROOM_SIZE):
            data = room[: gaps.size - offset]
            if self._fill(data) < len(data):
                raise _cut_off()
            leaves += hashing.leaf_digests(suite, [data], len(data))
            padded = padded and gaps.zero_in(data, offset)
        return Digests(leaves, padded)

    def _fill(self, target: memoryview) -> int:
        done = 0
        while done < len(target):
            ahead = self._left if self._left <= self._most else _LEAST_ASKED
            if not self._ahead and len(target) - done < ahead:
                # What follows is read with a small piece, and the tag with the last one.
                data = memoryview(bytearray(ahead))
                self._ahead = data[: self._some(data)]
            count = min(len(self._ahead), len(target) - done)
            if count:
                target[done : done + count] = self._ahead[:count]
                self._ahead = self._ahead[count:]
            else:
                count = self._some(target[done:])
            if count == 0:
                break
            done += count
        self.position += done
        return done

    def _some(self, target: memoryview) -> int:
        """Read once, into a buffer that the file object may keep; return a copy of the data."""
        target = target[: self._most]
        data = self._read_into(len(target)) if self._readinto else None
        if data is None:
            data = cast("Callable[[int], Any]", self._read)(len(target))
            if data is None:
                raise _not_blocking()
            if isinstance(data, str):
                raise open_as_text("rb")
            if len(data) > len(target):
                raise ValueError("read gave more than it was asked for")
        target[: len(data)] = data
        self._left -= len(data)
        if len(data) < len(target):
            self._most = _LEAST_ASKED
        elif len(data) == self._most:
            self._most = _MOST_ASKED
        return len(data)

    def _read_into(self, size: int) -> memoryview | None:
        """Return what `readinto` reads, or None if the file object only claims to have it."""
        if len(self._room) < size:
            self._room = memoryview(bytearray(size))
        lent = self._room[:size]
        try:
            count = self._readinto(lent)
        except (io.UnsupportedOperation, NotImplementedError, TypeError):
            if self._read is None or self._answered:
                raise
            self._readinto = None
            return None
        finally:
            with suppress(BufferError):  # the file object keeps the buffer; the data is copied out
                lent.release()
        self._answered = True
        # None: a non-blocking stream has no data yet.
        if count is None:
            raise _not_blocking()
        if count < 0:
            raise ValueError(f"readinto gave {count}, which is no number of bytes")
        if count > size:
            raise ValueError("readinto gave more than it was asked for")
        return self._room[:count]


class ObjectSource:
    """An object in a store, read in large ranges."""

    def __init__(self, opened: StoredObject, start: int, *, exact: bool) -> None:
        self.name: str | None = opened.path
        self.size: int | None = max(opened.size - start, 0)
        self.exact = exact
        self.stamp: Stamp | Version | None = opened.stamp
        self.position = 0
        self._opened = opened
        self._start = start

    def pull(self, size: int) -> bytes:
        """Return the next bytes, fewer than `size` only at the end of the input."""
        data = self._opened.read(self._start + self.position, size)
        self.position += len(data)
        return data

    def skip(self, size: int) -> None:
        """Skip the next bytes."""
        self.position += size

    def body(self, suite: Suite, lengths: Sequence[int]) -> Body:
        """Read the body, of segments of these lengths."""
        segments, paddings = _allocate(lengths)
        split = hashing.split(_interleaved(segments, paddings))
        leaves: list[bytes] = []
        for data in self._ranges(sum(map(len, segments)) + sum(map(len, paddings))):

            def take(number: int, leaf: list[memoryview], data: memoryview = data) -> bytes:
                start = number * hashing.LEAF_SIZE
                for piece in leaf:
                    piece[:] = data[start : start + len(piece)]
                    start += len(piece)
                return hashing.leaf_digest(suite, leaf)

            leaves += threads.each(islice(split, -(-len(data) // hashing.LEAF_SIZE)), take)
        return Body(segments, paddings, leaves)

    def digests(self, suite: Suite, lengths: Sequence[int]) -> Digests:
        """Hash the body, of segments of these lengths, without keeping it."""
        gaps = _Gaps(lengths)
        leaves: list[bytes] = []
        padded = True
        offset = 0
        for data in self._ranges(gaps.size):
            leaves += hashing.leaf_digests(suite, [data], len(data))
            padded = padded and gaps.zero_in(data, offset)
            offset += len(data)
        return Digests(leaves, padded)

    def _ranges(self, size: int) -> Iterator[memoryview]:
        """Yield the next bytes, in pieces of whole leaves but for the last."""
        start = self._start + self.position
        if start + size > self._opened.size:
            raise _cut_off()
        self.position += size
        return self._opened.ranges(start, size)


class _Gaps:
    """The offsets of the padding in a body."""

    def __init__(self, lengths: Sequence[int]) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        self.size = 0
        for length in lengths:
            self._starts.append(self.size + length)
            self.size += length + layout.padding(length)
            self._ends.append(self.size)

    def zero_in(self, leaf: memoryview, offset: int) -> bool:
        """Return whether all padding is zero in the leaf at an offset."""
        for number in range(bisect_right(self._ends, offset), len(self._ends)):
            start = self._starts[number] - offset
            if start >= len(leaf):
                break
            if any(leaf[max(start, 0) : self._ends[number] - offset]):
                return False
        return True


def file_source(
    descriptor: int, start: int, size: int, name: str | None, *, exact: bool
) -> MemorySource | FileSource | StreamSource:
    """Return a source for the envelope at an offset of a regular file; small files are read whole.

    `size` is that of the whole file, in bytes.
    """
    left = max(size - start, 0)
    if not _PARALLEL:
        os.lseek(descriptor, start, os.SEEK_SET)
        return StreamSource(io.FileIO(descriptor, closefd=False), left, name=name, exact=exact)
    source = FileSource(descriptor, start, left, name, exact=exact)
    if left > WHOLE_SIZE:
        return source
    return MemorySource(source.pull(left), name, exact=exact)


def _is_bytes(file: object) -> bool:
    return isinstance(file, bytes | bytearray | memoryview)


def _not_blocking() -> BlockingIOError:
    return BlockingIOError("the stream does not wait for its data: make it blocking")


def _cut_off() -> MalformedError:
    # 7.1
    return MalformedError("truncated: it ends before the sealed data do")


def _name_of(file: Any) -> str | None:  # noqa: ANN401 - any object
    name = getattr(file, "name", None)
    return without_credentials(name) if isinstance(name, str) else None


def _allocate(lengths: Sequence[int]) -> tuple[list[memoryview], list[memoryview]]:
    """Return fresh private memory for segments of these lengths, and for their padding."""
    segments = [fresh(length) for length in lengths]
    paddings = [memoryview(bytearray(layout.padding(length))) for length in lengths]
    return segments, paddings


def _interleaved(
    segments: Sequence[memoryview], paddings: Sequence[memoryview]
) -> Iterator[memoryview]:
    """Yield each segment and its padding, in the order of the body."""
    for segment, zeros in zip(segments, paddings, strict=True):
        yield segment
        yield zeros


def envelope_at(file: Opened, offset: int, *, exact: bool = False) -> Source:
    """Return a source for the envelope at an offset (bytes) of an open file or object.

    `exact`: nothing may follow it.
    """
    if isinstance(file, StoredObject):
        return ObjectSource(file, offset, exact=exact)
    if offset == 0 and file.size <= WHOLE_SIZE:
        return MemorySource(file.read(0, file.size), file.path, exact=exact)
    return file_source(file.descriptor, offset, file.size, file.path, exact=exact)


def envelopes_in(file: Opened) -> Iterator[Source]:
    """Yield the envelopes of a file or object, at least one; nothing may follow the last."""
    offset = 0
    while (end := _next_envelope(file, offset)) is not None:
        yield envelope_at(file, offset)
        offset = end
    yield envelope_at(file, offset, exact=True)


def _next_envelope(file: Opened, offset: int) -> int | None:
    try:
        fixed = layout.parse_fixed(file.read(offset, layout.FIXED_SIZE))
    except SealError:
        return None
    end = offset + fixed.total_size
    return end if file.read(end, len(layout.MAGIC)) == layout.MAGIC else None


@contextmanager
def open_envelopes(
    file: Path | Readable | Named, options: Options = None
) -> Iterator[Iterator[Source]]:
    """Open like `open_source`; yield all envelopes of a place, or the next one of a file object."""
    place = place_of(file, options)
    if place is not None:
        with open_file(place, follow=True) as opened:
            yield envelopes_in(opened)
    else:
        with open_source(cast("Readable", file)) as source:
            yield iter((source,))
