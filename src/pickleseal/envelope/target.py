"""Write an envelope: to bytes, a path, or any stream."""

import io
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from pickleseal.envelope import hashing, layout
from pickleseal.files import threads
from pickleseal.files.atomic import replacing, write_all
from pickleseal.files.handles import Path, Stamp, Writable, check_binary, real_file, write_at
from pickleseal.files.places import Named, Options, Place, Remote, Version, place_of
from pickleseal.keys.suite import Suite

_PARALLEL = hasattr(os, "pwritev")

_ZEROS = memoryview(bytes(layout.ALIGNMENT))

Finish = Callable[[list[bytes]], bytes]


def join_envelope(
    head: bytes, segments: Sequence[memoryview], finish: Finish, suite: Suite
) -> bytes:
    """Return an envelope as bytes."""
    pieces = list(_padded(segments))
    size = sum(map(len, pieces))
    if len(segments) == 1:
        return b"".join([head, *pieces, finish(hashing.leaf_digests(suite, pieces, size))])
    # Hash the copy, not the buffers: another thread may change them meanwhile.
    data = b"".join([head, *pieces, bytes(layout.TAG_SIZE)])
    body = memoryview(data)[len(head) : len(head) + size]
    tag = finish(hashing.leaf_digests(suite, [body], size))
    # BytesIO copies neither the bytes that it alone refers to, nor the value it returns.
    # No view of it is left if hashing fails: see _Sink in pickling.
    file = io.BytesIO(data)
    del body, data
    file.seek(-layout.TAG_SIZE, io.SEEK_END)
    file.write(tag)
    return file.getvalue()


def write_envelope(
    file: Path | Writable | Named | Remote,
    head: bytes,
    segments: Sequence[memoryview],
    finish: Finish,
    suite: Suite,
    *,
    durable: bool,
    seen: Stamp | Version | None = None,
    mode: int = 0o666,
    exclusive: bool = False,
    options: Options = None,
) -> None:
    """Write an envelope to a path or URL, atomically, or to any object with `write`.

    `head` is its first bytes, `segments` the body without padding; `finish` returns the
    envelope tag for the leaf digests. `durable`: wait until a path's file and name are on disk.
    `seen`: replace a path only if it still leads to the unchanged file with this stamp, else
    raise TargetError; without it, raise PermissionError for a file that this user may not write.
    `mode`: of a new file, before the umask. `exclusive`: raise TargetError if the path exists,
    even as a link. After an error a path is as it was, and a stream has no valid end.
    """
    place: Place | None = file if isinstance(file, Remote) else place_of(file, options)
    if isinstance(place, Remote):
        data = join_envelope(head, segments, finish, suite)
        place.write(data, exclusive=exclusive, seen=seen if isinstance(seen, Version) else None)
        return
    if place is not None:
        with replacing(
            place,
            durable=durable,
            seen=None if isinstance(seen, Version) else seen,
            mode=mode,
            exclusive=exclusive,
        ) as descriptor:
            _write_file(descriptor, 0, head, segments, finish, suite)
        return
    check_binary(file, "wb")
    real = real_file(file)
    if real is not None and not real.writable():
        raise io.UnsupportedOperation("the file is not open for writing: open it with 'wb'")
    if real is not None and _writes_anywhere(real.fileno()):
        real.flush()
        real.seek(_write_file(real.fileno(), real.tell(), head, segments, finish, suite))
        return
    put = getattr(file, "write", None)
    if put is None:
        raise TypeError(
            f"file must be a path or a binary file object with write, not {type(file).__name__}"
        )
    for chunk in chunks(head, _padded(segments), finish, suite):
        _put_all(file, put, chunk)


def chunks(
    head: bytes, body: Iterable[memoryview], finish: Finish, suite: Suite
) -> Iterator[bytes]:
    """Yield an envelope from front to back, a leaf at a time. `body`: with its padding.

    The bytes that are hashed are those that are written: a copy, since another thread may change
    the buffer, and the file object may keep what it is given.
    """
    yield head
    leaves = []
    for leaf in hashing.split(body):
        data = b"".join(leaf)
        leaves.append(hashing.leaf_digest(suite, [memoryview(data)]))
        yield data
    yield finish(leaves)


def _padded(segments: Sequence[memoryview]) -> Iterator[memoryview]:
    for segment in segments:
        yield segment
        yield _ZEROS[: layout.padding(len(segment))]


def _write_file(
    descriptor: int,
    start: int,
    head: bytes,
    segments: Sequence[memoryview],
    finish: Finish,
    suite: Suite,
) -> int:
    """Write an envelope at an offset of a regular file; return the offset after it.

    Each leaf is copied once, hashed and written, as in `chunks`.
    """
    body = start + len(head)
    size = sum(len(piece) for piece in _padded(segments))
    if size < threads.MIN_ITEMS * hashing.LEAF_SIZE or not _PARALLEL:
        os.lseek(descriptor, start, os.SEEK_SET)
        if size <= hashing.LEAF_SIZE:  # one system call
            write_all(descriptor, join_envelope(head, segments, finish, suite))
        else:
            for chunk in chunks(head, _padded(segments), finish, suite):
                write_all(descriptor, chunk)
        return body + size + layout.TAG_SIZE

    def write_leaf(number: int, leaf: list[memoryview]) -> bytes:
        data = memoryview(b"".join(leaf))
        write_at(descriptor, [data], body + number * hashing.LEAF_SIZE)
        return hashing.leaf_digest(suite, [data])

    write_at(descriptor, [memoryview(head)], start)
    tag = finish(threads.each(hashing.split(_padded(segments)), write_leaf))
    write_at(descriptor, [memoryview(tag)], body + size)
    return body + size + len(tag)


def _put_all(file: Any, put: Callable[[Any], Any], data: bytes) -> None:  # noqa: ANN401
    count = put(data)
    # Only an unbuffered file may write less than it was given. Those of tempfile return the count
    # of the file they wrap; the return value of any other object may mean anything.
    if not isinstance(file, io.RawIOBase) and type(file).__module__ != "tempfile":
        return
    view = memoryview(data)
    while True:
        if count is None:
            raise BlockingIOError("the stream does not wait for its reader: make it blocking")
        view = view[count:]
        if not view:
            return
        count = put(view)


def _writes_anywhere(descriptor: int) -> bool:
    """Return whether a descriptor can be written at an offset: in append mode it cannot."""
    try:
        import fcntl  # noqa: PLC0415 - POSIX only
    except ImportError:
        return False
    return not fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_APPEND
