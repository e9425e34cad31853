"""Where an envelope is written to: bytes, a path, or any stream."""

import errno
import io
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from typing import Any

from pickleseal import envelope, tree
from pickleseal.errors import TargetError, check_path, shown
from pickleseal.storage import threads
from pickleseal.storage.files import (
    Path,
    Stamp,
    Writable,
    check_binary,
    real_file,
    stamp_of,
    text_path,
    write_at,
)
from pickleseal.suite import Suite

TEMPORARY_PREFIX = ".pickleseal-"
TEMPORARY_SUFFIX = ".tmp"
"""What a file that a killed process left half-written is named like, in the target's folder."""

_PARALLEL = hasattr(os, "pwritev")
_EFFECTIVE = os.access in os.supports_effective_ids
_MOST_LINKS = 40  # as many as the system follows

_ZEROS = memoryview(bytes(envelope.ALIGNMENT))

Finish = Callable[[list[bytes]], bytes]


def join(head: bytes, segments: Sequence[memoryview], finish: Finish, suite: Suite) -> bytes:
    """Give an envelope as bytes."""
    pieces = list(_padded(segments))
    size = sum(map(len, pieces))
    if len(segments) == 1:
        return b"".join([head, *pieces, finish(threads.leaf_digests(suite, pieces, size))])
    # A copy of the buffers is hashed, and given: another thread may change them meanwhile.
    data = b"".join([head, *pieces, bytes(envelope.TAG_SIZE)])
    body = memoryview(data)[len(head) : len(head) + size]
    tag = finish(threads.leaf_digests(suite, [body], size))
    # A BytesIO copies neither the bytes that it alone holds, nor those that it gives at the end.
    # It has no view on it when the hash fails: see _Sink in pickling.
    file = io.BytesIO(data)
    del body, data
    file.seek(-envelope.TAG_SIZE, io.SEEK_END)
    file.write(tag)
    return file.getvalue()


def write(
    file: Path | Writable,
    head: bytes,
    segments: Sequence[memoryview],
    finish: Finish,
    suite: Suite,
    *,
    durable: bool,
    seen: Stamp | None = None,
    mode: int = 0o666,
    exclusive: bool = False,
) -> None:
    """Write an envelope to a path, atomically, or to any object with `write`.

    `head`: the bytes it begins with. `segments`: the body, not yet padded. `finish` makes
    the tag that closes it from the leaf digests. `durable`: wait until a path's file and
    name are on disk. `seen`: replace a path only if it leads to the file that had this
    stamp, unchanged; TargetError if not. Without it a file that this user may not write to
    is not replaced: PermissionError. `mode`: that of a new file, less the umask.
    `exclusive`: replace nothing; TargetError where a path has anything, a link too. On any error
    a path is as it was, and a stream has no valid end.
    """
    if isinstance(file, str | os.PathLike):
        path = text_path(file)
        with _replacing(
            path, durable=durable, seen=seen, mode=mode, exclusive=exclusive
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
    for chunk in _chunks(head, segments, finish, suite):
        _put_all(file, put, chunk)


def write_whole(path: str, data: bytes, *, mode: int = 0o666, exclusive: bool = False) -> None:
    """Write a whole file, atomically and durably; a new one has a mode, less the umask.

    A file that this user may not write to is not replaced: PermissionError.
    `exclusive`: replace nothing; TargetError where a path has anything, a link too.
    """
    check_path(path)
    with _replacing(path, durable=True, seen=None, mode=mode, exclusive=exclusive) as descriptor:
        _write_all(descriptor, data)


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
    for segment in segments:
        yield segment
        yield _ZEROS[: envelope.padding(len(segment))]


def _write_file(
    descriptor: int,
    start: int,
    head: bytes,
    segments: Sequence[memoryview],
    finish: Finish,
    suite: Suite,
) -> int:
    """Write an envelope at an offset of a regular file; give the offset right after it.

    Of each leaf one copy is hashed and written, as in `_chunks`.
    """
    body = start + len(head)
    size = sum(len(piece) for piece in _padded(segments))
    if size < threads.MIN_LEAVES * tree.LEAF_SIZE or not _PARALLEL:
        os.lseek(descriptor, start, os.SEEK_SET)
        if size <= tree.LEAF_SIZE:  # one call to the system
            _write_all(descriptor, join(head, segments, finish, suite))
        else:
            for chunk in _chunks(head, segments, finish, suite):
                _write_all(descriptor, chunk)
        return body + size + envelope.TAG_SIZE

    def write_leaf(number: int, leaf: list[memoryview]) -> bytes:
        data = memoryview(b"".join(leaf))
        write_at(descriptor, [data], body + number * tree.LEAF_SIZE)
        return tree.leaf_digest(suite, [data])

    write_at(descriptor, [memoryview(head)], start)
    tag = finish(threads.each(tree.split(_padded(segments)), write_leaf))
    write_at(descriptor, [memoryview(tag)], body + size)
    return body + size + len(tag)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _put_all(file: Any, put: Callable[[Any], Any], data: bytes) -> None:  # noqa: ANN401
    count = put(data)
    # Only an unbuffered file may take less than it was given. Those of tempfile hand on what
    # the file in them says, and of any other object the answer may mean anything.
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
    """Tell whether writes go where they are told: in append mode they all go to the end."""
    try:
        import fcntl  # noqa: PLC0415 - POSIX only
    except ImportError:
        return False
    return not fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_APPEND


@contextmanager
def _replacing(
    path: str,
    *,
    durable: bool,
    seen: Stamp | None,
    mode: int = 0o666,
    exclusive: bool = False,
) -> Iterator[int]:
    """Give a new file to write to, which takes the place of `path` if all goes well.

    A link stays a link: what it leads to is replaced. The file keeps the mode, and as far as
    may be the owner, of the one it replaces; a new one has what the umask gives.
    `exclusive`: what is there already, or is by then, stays, and TargetError is raised.
    """
    if not path:
        raise TargetError("the path of the file is empty")
    # A replaced link would break DVC, git-annex and Kubernetes mounts.
    real = _place_of(path, follow=not exclusive)
    if exclusive and os.path.lexists(real):
        raise _there(path)
    replaced = None
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
        if seen is not None and stamp_of(status) != seen:
            raise _changed(path)
        if seen is None and not os.access(real, os.W_OK, effective_ids=_EFFECTIVE):
            raise OSError(errno.EACCES, os.strerror(errno.EACCES), path)
        replaced = status
    folder = os.path.dirname(real)
    temporary = os.path.join(folder, f"{TEMPORARY_PREFIX}{os.urandom(8).hex()}{TEMPORARY_SUFFIX}")
    with _synced(folder) if durable else nullcontext():
        descriptor = -1
        # From before the file is there: an interrupt may come at any point.
        try:
            try:
                # What takes a private file's place is private from its first byte.
                descriptor = _create(temporary, path, mode if replaced is None else 0o600)
                yield descriptor
                if replaced is not None and hasattr(os, "fchmod"):
                    _be_like(descriptor, replaced)
                if durable:
                    os.fsync(descriptor)
            finally:
                if descriptor >= 0:
                    os.close(descriptor)
            _check_unchanged(real, path, seen)
            if exclusive:
                _put_new(temporary, real, path)
            else:
                os.replace(temporary, real)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary)
            raise


def _create(temporary: str, path: str, mode: int) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0)
    try:
        return os.open(temporary, flags | getattr(os, "O_BINARY", 0), mode)
    except OSError as error:
        # With the name that the caller gave, not one that nobody ever wrote.
        raise OSError(error.errno, error.strerror, path) from None


def _place_of(path: str, *, follow: bool) -> str:
    """Give where a path leads, or raise what `open` does where no file can be written.

    `follow`: a link at its end is followed. Without it the link itself is the place.
    """
    place = path
    for _ in range(_MOST_LINKS):
        bare = place.rstrip(os.sep)
        # Not abspath: behind a link to a folder, ".." leads out of the folder that it leads to.
        folder, name = os.path.split(bare)
        try:
            # realpath passes over a folder that is not there, and over a file in its place.
            os.stat(os.path.join(folder, os.curdir))
        except OSError as error:
            raise OSError(error.errno, error.strerror, path) from None
        if bare != place and not os.path.isdir(place):
            raise OSError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        place = os.path.join(os.path.realpath(folder), name)
        if not (follow and os.path.islink(place)):
            return place
        place = os.path.join(os.path.dirname(place), os.readlink(place))
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)


def _put_new(temporary: str, real: str, path: str) -> None:
    """Give a file the name it is to have, if nothing has it by now."""
    try:
        os.link(temporary, real)
    except FileExistsError:
        raise _there(path) from None
    except OSError:  # no second names in this file system, or not for this user
        if os.path.lexists(real):
            raise _there(path) from None
        os.replace(temporary, real)
        return
    with suppress(OSError):  # the file is there by now
        os.unlink(temporary)


def _there(path: str) -> TargetError:
    return TargetError(f"{shown(path)} is there already, and is not overwritten")


def _check_unchanged(real: str, path: str, seen: Stamp | None) -> None:
    if seen is not None and stamp_of(os.stat(real)) != seen:
        raise _changed(path)


def _changed(path: str) -> TargetError:
    return TargetError(
        f"{shown(path)} was changed by somebody else meanwhile, and was left as it is now"
    )


def _be_like(descriptor: int, replaced: os.stat_result) -> None:
    """Give a new file the owner, as far as this user may, and the mode of the one it replaces."""
    status = os.fstat(descriptor)
    mode = stat.S_IMODE(replaced.st_mode) & 0o777
    if (status.st_uid, status.st_gid) != (replaced.st_uid, replaced.st_gid):
        for owner in (replaced.st_uid, -1):
            with suppress(OSError):
                os.fchown(descriptor, owner, replaced.st_gid)
                break
        if os.fstat(descriptor).st_gid != replaced.st_gid:
            mode &= ~stat.S_IRWXG  # what that group might do is not for another one
    os.fchmod(descriptor, mode)


@contextmanager
def _synced(folder: str) -> Iterator[None]:
    """Wait at the end until the names in a folder are on disk, if all went well."""
    if not hasattr(os, "O_DIRECTORY"):
        yield
        return
    try:
        # Now: once the file has its name, it is too late for an error. Who may not read the folder
        # cannot wait for it, and must not believe that he did.
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        reason = f"{error.strerror}; the folder must be readable, unless durable=False"
        raise OSError(error.errno, reason, folder) from None
    try:
        yield
        try:
            os.fsync(descriptor)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # this file system has none
                raise
    finally:
        os.close(descriptor)
