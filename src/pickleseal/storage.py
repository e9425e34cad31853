"""Reading and writing artifacts: the only file I/O on them.

A source gives the head's bytes and then the body, into fresh memory of this process that
nobody else can write to, hashed leaf by leaf as it arrives. A target takes an envelope
front to back. Nothing here knows a key or judges a byte.
"""

import io
import mmap
import os
import secrets
import stat
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, BinaryIO, NamedTuple, Protocol, cast

from pickleseal import envelope, tree
from pickleseal.errors import MalformedError, NotSealedError, PolicyError, TargetError, shown
from pickleseal.suite import Suite

TEMPORARY_PREFIX = ".pickleseal-"
TEMPORARY_SUFFIX = ".tmp"
"""What a file that a killed process left half-written is named like, in the target's folder."""

_WHOLE_SIZE = 1 << 18
"""A file up to this size is read in one go."""
_THREADED_LEAVES = 8
"""A body of fewer leaves is hashed in the calling thread: handing over would cost more."""
_MAX_THREADS = 16
_MAX_VECTORS = 1024
_HUGE_SIZE = 4 << 20
_PARALLEL_READ = hasattr(os, "preadv")
_PARALLEL_WRITE = hasattr(os, "pwritev")


class Readable(Protocol):
    """The least that a file object to load from must have; `readinto` is used where it is there."""

    def read(self, size: int, /) -> bytes:
        """Give up to `size` bytes, none at the end."""


class Writable(Protocol):
    """The least that a file object to dump to must have."""

    def write(self, data: bytes, /) -> object:
        """Take all of `data`."""


Path = str | os.PathLike[str]
Finish = Callable[[list[bytes]], bytes]


class Body(NamedTuple):
    """A body in memory: its segments, the padding behind each, the digests of its leaves."""

    segments: list[memoryview]
    paddings: list[memoryview]
    leaves: list[bytes]


class Source(Protocol):
    """Where one envelope is read from, once and in order."""

    name: str | None
    """What a person calls it, such as a path."""
    size: int | None
    """How many bytes there are, where that is known."""
    exact: bool
    """Whether the envelope must take all of them."""

    def pull(self, size: int) -> bytes:
        """Give the next bytes, fewer than `size` only where the input ends."""

    def body(self, suite: Suite, lengths: Sequence[int]) -> Body:
        """Give the segments of these lengths, which come next."""


# --- sources ---------------------------------------------------------------------------------


@contextmanager
def open_source(file: Path | Readable) -> Iterator[Source]:
    """Open what a load was given: a path, a binary file object, any object with `read`.

    A path must lead to a regular file, and is opened once. A file object is read from
    where it stands and left right after its envelope; where it is a real file it is read
    as fast as its path.
    """
    if isinstance(file, str | os.PathLike):
        path = os.fspath(file)
        if not isinstance(path, str):
            raise TypeError("a path must be a str or os.PathLike[str], not of bytes")
        with _open_regular(path) as descriptor:
            yield _file_source(descriptor, 0, path, exact=True)
        return
    real = _real_file(file)
    if real is not None and _PARALLEL_READ:
        start = real.tell()
        source = _file_source(real.fileno(), start, _name_of(file), exact=False)
        yield source
        real.seek(start + source.position)
        return
    yield StreamSource(file)


class MemorySource:
    """Bytes that nobody can change: the stream stays where it is, buffers are copied out."""

    def __init__(self, data: bytes, name: str | None = None, *, exact: bool = True) -> None:
        self.name = name
        self.size: int | None = len(data)
        self.exact = exact
        self.position = 0
        self._data = data

    def pull(self, size: int) -> bytes:
        """Give the next bytes, fewer than `size` only where the input ends."""
        data = self._data[self.position : self.position + size]
        self.position += len(data)
        return data

    def body(self, suite: Suite, lengths: Sequence[int]) -> Body:
        """Give the segments of these lengths, which come next."""
        view = memoryview(self._data)
        start = self.position
        segments: list[memoryview] = []
        paddings: list[memoryview] = []
        for length in lengths:
            end = self.position + length
            segment = view[self.position : end]
            segments.append(_own(segment) if segments else segment)
            self.position = end + envelope.padding(length)
            paddings.append(view[end : self.position])
        leaves = tree.split([view[start : self.position]])
        return Body(
            segments, paddings, _each(leaves, lambda _, leaf: tree.leaf_digest(suite, leaf))
        )


class FileSource:
    """A regular file, read at offsets of our own: its position does not matter or move."""

    def __init__(
        self, descriptor: int, start: int, size: int, name: str | None, *, exact: bool
    ) -> None:
        self.name = name
        self.size: int | None = size
        self.exact = exact
        self.position = 0
        self._descriptor = descriptor
        self._start = start

    def pull(self, size: int) -> bytes:
        """Give the next bytes, fewer than `size` only where the input ends."""
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

    def body(self, suite: Suite, lengths: Sequence[int]) -> Body:
        """Give the segments of these lengths, which come next."""
        segments, paddings = _allocate(lengths)
        start = self._start + self.position

        def read(number: int, leaf: list[memoryview]) -> bytes:
            _read_at(self._descriptor, leaf, start + number * tree.LEAF_SIZE)
            return tree.leaf_digest(suite, leaf)

        leaves = _each(tree.split(_interleaved(segments, paddings)), read)
        self.position += sum(map(len, segments)) + sum(map(len, paddings))
        return Body(segments, paddings, leaves)


class StreamSource:
    """Any object with `readinto` or `read`: taken front to back, exactly one envelope."""

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
        self.position = 0
        readinto = getattr(file, "readinto", None)
        read = getattr(file, "read", None)
        if readinto is None and read is None:
            raise TypeError(
                "file must be a path or a binary file object with read or readinto, not"
                f" {type(file).__name__}"
            )
        self._readinto = readinto
        self._read = read

    def pull(self, size: int) -> bytes:
        """Give the next bytes, fewer than `size` only where the input ends."""
        data = bytearray(size)
        return bytes(data[: self._fill(memoryview(data))])

    def body(self, suite: Suite, lengths: Sequence[int]) -> Body:
        """Give the segments of these lengths, which come next."""
        segments, paddings = _allocate(lengths)
        leaves = []
        for leaf in tree.split(_interleaved(segments, paddings)):
            for piece in leaf:
                if self._fill(piece) < len(piece):
                    raise _cut_off()
            leaves.append(tree.leaf_digest(suite, leaf))
        return Body(segments, paddings, leaves)

    def _fill(self, target: memoryview) -> int:
        done = 0
        while done < len(target):
            count = self._some(target[done : done + tree.LEAF_SIZE])
            if count == 0:
                break
            done += count
        self.position += done
        return done

    def _some(self, target: memoryview) -> int:
        if self._readinto is not None:
            # None: a stream that does not wait has nothing yet.
            count = self._readinto(target)
            if count is None:
                raise BlockingIOError("the stream does not wait for its data: make it blocking")
            if not 0 <= count <= len(target):
                raise ValueError("readinto gave more than it was asked for")
            return int(count)
        data = cast("Callable[[int], Any]", self._read)(len(target))
        if data is None:
            raise BlockingIOError("the stream does not wait for its data: make it blocking")
        if isinstance(data, str):
            raise TypeError("the file is open as text: open it in binary mode, such as 'rb'")
        if len(data) > len(target):
            raise ValueError("read gave more than it was asked for")
        target[: len(data)] = data
        return len(data)


def _file_source(
    descriptor: int, start: int, name: str | None, *, exact: bool
) -> "MemorySource | FileSource | StreamSource":
    left = max(os.fstat(descriptor).st_size - start, 0)
    if not _PARALLEL_READ:
        return StreamSource(io.FileIO(descriptor, closefd=False), left, name=name, exact=exact)
    source = FileSource(descriptor, start, left, name, exact=exact)
    if left > _WHOLE_SIZE:
        return source
    return MemorySource(source.pull(left), name, exact=exact)


@contextmanager
def _open_regular(path: str) -> Iterator[int]:
    # Looked at first: opening a device can do something, and a FIFO would wait.
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise _not_regular()
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
    descriptor = os.open(path, flags | getattr(os, "O_BINARY", 0))
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise _not_regular()
        yield descriptor
    finally:
        os.close(descriptor)


def _not_regular() -> NotSealedError:
    return NotSealedError(
        "not sealed: this path is no regular file (a folder, a pipe or a device). To read one"
        " envelope from a pipe, open it and pass the file object"
    )


def _cut_off() -> MalformedError:
    return MalformedError("cut off: the input ends before the envelope does")


def _real_file(file: Any) -> BinaryIO | None:  # noqa: ANN401 - any object
    """Give a file object back if it is a regular file and nothing lies between, else None."""
    kinds = (io.BufferedReader, io.BufferedRandom, io.BufferedWriter)
    raw = file.raw if type(file) in kinds else file
    if type(raw) is not io.FileIO or not stat.S_ISREG(os.fstat(raw.fileno()).st_mode):
        return None
    return cast("BinaryIO", file)


def _name_of(file: Any) -> str | None:  # noqa: ANN401 - any object
    name = getattr(file, "name", None)
    return name if isinstance(name, str) else None


# --- memory ----------------------------------------------------------------------------------


def _allocate(lengths: Sequence[int]) -> tuple[list[memoryview], list[memoryview]]:
    """Give fresh private memory for segments of these lengths, and for the padding of each."""
    segments = [_fresh(length) for length in lengths]
    paddings = [memoryview(bytearray(envelope.padding(length))) for length in lengths]
    return segments, paddings


def _fresh(length: int) -> memoryview:
    """Give zeroed memory that is this process's alone, aligned to a page, of exactly this length.

    Each has a mapping of its own: what is handed out for a buffer must not span, or keep
    alive, the memory of another. A mapping takes room as it is filled, so that an honest
    size on a short stream costs nothing. MAP_PRIVATE: a default anonymous mapping is shared
    with forked children, who could change what the parent loaded.
    """
    if not length:
        return memoryview(bytearray())
    try:
        if hasattr(mmap, "MAP_PRIVATE"):
            memory = mmap.mmap(-1, length, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        else:
            memory = mmap.mmap(-1, length)
    except (OSError, OverflowError, MemoryError):
        raise PolicyError(f"there is no memory for a segment of {length} bytes") from None
    if length >= _HUGE_SIZE and hasattr(mmap, "MADV_HUGEPAGE"):
        with suppress(OSError):
            memory.madvise(mmap.MADV_HUGEPAGE)
    return memoryview(memory)


def _own(data: memoryview) -> memoryview:
    memory = _fresh(len(data))
    memory[:] = data
    return memory


def _interleaved(
    segments: Sequence[memoryview], paddings: Sequence[memoryview]
) -> Iterator[memoryview]:
    for segment, zeros in zip(segments, paddings, strict=True):
        yield segment
        yield zeros


def _read_at(descriptor: int, pieces: list[memoryview], offset: int) -> None:
    for batch in _vectors(pieces):
        left = batch
        while left:
            count = os.preadv(descriptor, left, offset)
            if not count:
                raise _cut_off()
            offset += count
            left = _rest(left, count)


def _write_at(descriptor: int, pieces: list[memoryview], offset: int) -> None:
    for batch in _vectors(pieces):
        left = batch
        while left:
            count = os.pwritev(descriptor, left, offset)
            offset += count
            left = _rest(left, count)


def _vectors(pieces: list[memoryview]) -> Iterator[list[memoryview]]:
    for start in range(0, len(pieces), _MAX_VECTORS):
        yield pieces[start : start + _MAX_VECTORS]


def _rest(pieces: list[memoryview], done: int) -> list[memoryview]:
    """Give what is left of pieces after their first `done` bytes."""
    for number, piece in enumerate(pieces):
        if done < len(piece):
            return [piece[done:], *pieces[number + 1 :]]
        done -= len(piece)
    return []


# --- threads ---------------------------------------------------------------------------------


def _each(
    leaves: Iterable[list[memoryview]], work: Callable[[int, list[memoryview]], bytes]
) -> list[bytes]:
    """Do `work` on each numbered leaf, in threads where there are many; give the digests in order.

    The threads live for this call only, so that nothing is there to be lost in a fork. Each
    takes the next leaf when it is done with one: reading, writing and hashing release the GIL.
    """
    numbered = enumerate(leaves)
    first = [item for _, item in zip(range(_THREADED_LEAVES), numbered, strict=False)]
    if len(first) < _THREADED_LEAVES:
        return [work(number, leaf) for number, leaf in first]

    digests: dict[int, bytes] = {}
    failures: list[BaseException] = []
    lock = threading.Lock()
    waiting = iter(first)

    def take() -> tuple[int, list[memoryview]] | None:
        with lock:
            return None if failures else next(waiting, None) or next(numbered, None)

    def run() -> None:
        try:
            while (item := take()) is not None:
                digests[item[0]] = work(*item)
        except BaseException as error:  # noqa: BLE001 - raised again by the caller's thread
            failures.append(error)

    threads = [threading.Thread(target=run, daemon=True) for _ in range(_thread_count() - 1)]
    try:
        with suppress(RuntimeError):  # no more threads to be had: fewer will do
            for thread in threads:
                thread.start()
        run()
    except BaseException as error:  # noqa: BLE001 - an interrupt; raised again below
        failures.append(error)
    while any(thread.is_alive() for thread in threads):
        # No thread may outlive the call: it would go on with a descriptor that is closed.
        try:
            for thread in threads:
                if thread.is_alive():
                    thread.join()
        except BaseException as error:  # noqa: BLE001 - as above
            failures.append(error)
    if failures:
        try:
            raise failures[0]
        finally:
            failures.clear()  # or the error and this frame would hold each other
    return [digests[number] for number in range(len(digests))]


def _thread_count() -> int:
    if hasattr(os, "sched_getaffinity"):
        available = len(os.sched_getaffinity(0))
    else:
        available = os.cpu_count() or 1
    return min(available, _MAX_THREADS)


# --- targets ---------------------------------------------------------------------------------


def join(head: bytes, segments: Sequence[memoryview], finish: Finish, suite: Suite) -> bytes:
    """Give an envelope as bytes."""
    pieces = list(_padded(segments))
    leaves = _each(tree.split(pieces), lambda _, leaf: tree.leaf_digest(suite, leaf))
    return b"".join([head, *pieces, finish(leaves)])


def write(
    file: Path | Writable,
    head: bytes,
    segments: Sequence[memoryview],
    finish: Finish,
    suite: Suite,
    *,
    durable: bool,
) -> None:
    """Write an envelope to a path, atomically, or to any object with `write`.

    `head`: the bytes it begins with. `segments`: the body, not yet padded. `finish` makes
    the tag that closes it from the leaf digests. `durable`: wait until a path's file and
    name are on disk. On any error a path is as it was, and a stream has no valid end.
    """
    if isinstance(file, str | os.PathLike):
        path = os.fspath(file)
        if not isinstance(path, str):
            raise TypeError("a path must be a str or os.PathLike[str], not of bytes")
        with _replacing(path, durable=durable) as descriptor:
            _write_file(descriptor, 0, head, segments, finish, suite)
        return
    real = _real_file(file)
    if real is not None and _writes_anywhere(real.fileno()):
        real.flush()
        real.seek(_write_file(real.fileno(), real.tell(), head, segments, finish, suite))
        return
    put = getattr(file, "write", None)
    if put is None:
        raise TypeError(
            f"file must be a path or a binary file object with write, not {type(file).__name__}"
        )
    for chunk in _chunks(head, segments, finish, suite):
        _put_all(file, put, chunk)


def _chunks(
    head: bytes, segments: Sequence[memoryview], finish: Finish, suite: Suite
) -> Iterator[bytes]:
    """Give an envelope front to back, a leaf at a time.

    One copy of each leaf is hashed and written, so that a buffer that another thread changes
    meanwhile cannot make the two differ, and a writer may keep what it is given.
    """
    yield head
    leaves = []
    for leaf in tree.split(_padded(segments)):
        data = b"".join(leaf)
        leaves.append(tree.leaf_digest(suite, [memoryview(data)]))
        yield data
    yield finish(leaves)


def _padded(segments: Sequence[memoryview]) -> Iterator[memoryview]:
    zeros = memoryview(bytes(envelope.ALIGNMENT))
    for segment in segments:
        yield segment
        yield zeros[: envelope.padding(len(segment))]


def _write_file(
    descriptor: int,
    start: int,
    head: bytes,
    segments: Sequence[memoryview],
    finish: Finish,
    suite: Suite,
) -> int:
    """Write an envelope at an offset of a regular file; give the offset right after it."""
    body = start + len(head)
    size = sum(len(piece) for piece in _padded(segments))
    if size < _THREADED_LEAVES * tree.LEAF_SIZE or not _PARALLEL_WRITE:
        os.lseek(descriptor, start, os.SEEK_SET)
        for chunk in _chunks(head, segments, finish, suite):
            _write_all(descriptor, chunk)
        return body + size + envelope.TAG_SIZE

    def write_leaf(number: int, leaf: list[memoryview]) -> bytes:
        _write_at(descriptor, leaf, body + number * tree.LEAF_SIZE)
        return tree.leaf_digest(suite, leaf)

    _write_at(descriptor, [memoryview(head)], start)
    tag = finish(_each(tree.split(_padded(segments)), write_leaf))
    _write_at(descriptor, [memoryview(tag)], body + size)
    return body + size + len(tag)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _put_all(file: Any, put: Callable[[Any], Any], data: bytes) -> None:  # noqa: ANN401
    count = put(data)
    if not isinstance(file, io.RawIOBase):
        return
    # Only an unbuffered file may take less than it was given.
    view = memoryview(data)
    while True:
        if count is None:
            raise BlockingIOError("the stream does not wait for its reader: make it blocking")
        view = view[count:]
        if not view:
            return
        count = put(view)


def _writes_anywhere(descriptor: int) -> bool:
    """Tell whether writes go where they are told: in append mode they all go to the end."""
    try:
        import fcntl  # noqa: PLC0415 - POSIX only
    except ImportError:
        return False
    return not fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_APPEND


@contextmanager
def _replacing(path: str, *, durable: bool) -> Iterator[int]:
    """Give a new file to write to, which takes the place of `path` if all goes well.

    A link stays a link: what it leads to is replaced. The file keeps the mode of the one it
    replaces; a new one has what the umask gives.
    """
    # A replaced link would break DVC, git-annex and Kubernetes mounts.
    real = os.path.realpath(path)
    mode = None
    try:
        status = os.stat(real)
    except FileNotFoundError:
        pass
    else:
        if not stat.S_ISREG(status.st_mode):
            raise TargetError(
                f"{shown(path)} is no regular file, and only one can be replaced as a whole. To"
                " write to a pipe or device, open it and pass the file object"
            )
        mode = stat.S_IMODE(status.st_mode) & 0o777
    folder = os.path.dirname(real)
    temporary = os.path.join(folder, f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}{TEMPORARY_SUFFIX}")
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0)
    descriptor = os.open(temporary, flags | getattr(os, "O_BINARY", 0), 0o666)
    try:
        try:
            yield descriptor
            if mode is not None and hasattr(os, "fchmod"):
                os.fchmod(descriptor, mode)
            if durable:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(temporary, real)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise
    if durable and hasattr(os, "O_DIRECTORY"):
        _sync_folder(folder)


def _sync_folder(folder: str) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
