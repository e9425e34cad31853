"""The one way to replace a file: atomically, durably, keeping its mode and owner."""

import errno
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext, suppress

from pickleseal.errors import TargetError, check_path, shown
from pickleseal.files.exchange import exchange
from pickleseal.files.handles import Stamp, close_read, stamp_of
from pickleseal.files.places import Place, Remote, Version, changed_meanwhile

TEMPORARY_PREFIX = ".pickleseal-"
TEMPORARY_SUFFIX = ".tmp"
"""Prefix and suffix of the temporary file that a killed process may leave beside its target."""

_EFFECTIVE = os.access in os.supports_effective_ids
_KEEP = getattr(os, "O_PATH", os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))  # reads nothing
_MOST_LINKS = 40  # as many as the system follows


def write_whole(path: Place, data: bytes, *, mode: int = 0o666, exclusive: bool = False) -> None:
    """Write a file or an object atomically and durably; a new file gets `mode`, less the umask.

    Raise PermissionError for a file that this user may not write to. With `exclusive`, raise
    TargetError if anything is at `path`, a link too.
    """
    write_pieces(path, [data], mode=mode, exclusive=exclusive)


def write_pieces(
    path: Place, pieces: Iterable[bytes], *, mode: int = 0o666, exclusive: bool = False
) -> None:
    """Do what `write_whole` does, with data in pieces. A store gets them joined."""
    if isinstance(path, Remote):
        path.write(b"".join(pieces), exclusive=exclusive)
        return
    check_path(path)
    with replacing(path, durable=True, seen=None, mode=mode, exclusive=exclusive) as descriptor:
        for piece in pieces:
            write_all(descriptor, piece)


@contextmanager
def appending(path: str) -> Iterator[Callable[[bytes], None]]:
    """Empty a file as `write_whole` would, and yield a function that appends to it at once.

    What was appended stays, whatever ends the process; it has reached the disk at the end.
    """
    write_whole(path, b"")
    flags = os.O_WRONLY | os.O_APPEND | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
    descriptor = os.open(os.path.realpath(path), flags)
    try:
        yield lambda data: write_all(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_private(
    path: str, text: Callable[[], str], *, mode: int = 0o600, exclusive: bool = False
) -> None:
    """Write a file with `mode` from its first byte, whatever was at `path`, durably.

    A link is replaced, not followed. With `exclusive`, raise TargetError if anything is at
    `path`. `text` is called where it is written, so that no variable holds a secret.
    """
    real = _place_of(path, follow=False)
    with (
        _placed(real, path, durable=True, mode=mode, exclusive=exclusive) as descriptor,
        open(descriptor, "wb", closefd=False) as file,
    ):
        file.write(text().encode())


def make_folder(path: str, *, mode: int) -> None:
    """Make a folder durably, or raise FileExistsError."""
    with _synced(os.path.dirname(os.path.abspath(path)), path):
        os.mkdir(path, mode)


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of `data` at the position of a descriptor."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


@contextmanager
def replacing(
    path: str,
    *,
    durable: bool,
    seen: Stamp | None,
    mode: int = 0o666,
    exclusive: bool = False,
) -> Iterator[int]:
    """Yield the descriptor of a new file that takes the place of `path` if no error is raised.

    A link is followed: its target is replaced. The new file keeps the mode, and where possible
    the owner, of the file that it replaces; without one it gets `mode`, less the umask. With
    `exclusive`, raise TargetError if anything is at `path`, now or when the file is complete.
    """
    if not path:
        raise TargetError("the path of the file is empty")
    # A replaced link would break DVC, git-annex and Kubernetes mounts.
    real = _place_of(path, follow=not exclusive)
    replaced = None if exclusive else _replaceable(real, path, seen)
    with _placed(
        real, path, durable=durable, mode=mode, exclusive=exclusive, replaced=replaced, seen=seen
    ) as descriptor:
        yield descriptor


@contextmanager
def held(place: Place, seen: Stamp | Version | None) -> Iterator[None]:
    """Keep an open file until it is replaced, lest a newer file get its inode, and so its stamp.

    Entered while the file is open. Raise TargetError if the path leads to another file by then.
    A store gives no version twice, nor Windows a file's number, where an open file cannot be
    replaced.
    """
    if isinstance(place, Remote) or os.name == "nt":
        yield
        return
    descriptor = os.open(place, _KEEP)
    try:
        if stamp_of(os.fstat(descriptor)) != seen:
            raise changed_meanwhile(place)
        yield
    finally:
        close_read(descriptor)


def _replaceable(real: str, path: str, seen: Stamp | None) -> os.stat_result | None:
    """Return the status of the file to replace, or None if there is none."""
    try:
        status = os.stat(real)
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(status.st_mode):
        raise TargetError(
            f"{shown(path)} is not a regular file, and only a regular file can be replaced. To"
            " write to a pipe or device, open it and pass the file object"
        )
    if seen is not None and stamp_of(status) != seen:
        raise changed_meanwhile(path)
    if seen is None and not is_writable(real):
        code = errno.EROFS if _is_read_only(real) else errno.EACCES
        raise OSError(code, os.strerror(code), path)
    return status


def is_writable(path: str) -> bool:
    """Return whether this user may write to a file or folder."""
    return os.access(path, os.W_OK, effective_ids=_EFFECTIVE)


def _is_read_only(path: str) -> bool:
    """Return whether a file is on a file system that is mounted read-only."""
    return hasattr(os, "statvfs") and bool(os.statvfs(path).f_flag & os.ST_RDONLY)


@contextmanager
def _placed(
    real: str,
    path: str,
    *,
    durable: bool,
    mode: int,
    exclusive: bool,
    replaced: os.stat_result | None = None,
    seen: Stamp | None = None,
) -> Iterator[int]:
    """Yield the descriptor of a temporary file beside `real`, then rename it to `real`.

    `path` is the name of `real` in errors.
    """
    if exclusive and os.path.lexists(real):
        raise _there(path)
    folder = os.path.dirname(real)
    temporary = os.path.join(folder, f"{TEMPORARY_PREFIX}{os.urandom(8).hex()}{TEMPORARY_SUFFIX}")
    with _synced(folder, path) if durable else nullcontext():
        descriptor = -1
        deletable: tuple[Stamp, ...] = ()
        # Before the file exists: a signal may arrive right after it was created.
        try:
            try:
                # The replacement of a private file is private from its first byte.
                descriptor = _create(temporary, mode if replaced is None else 0o600)
                yield descriptor
                if replaced is not None and hasattr(os, "fchmod"):
                    _be_like(descriptor, replaced)
                if durable:
                    os.fsync(descriptor)
                if seen is not None:
                    deletable = (stamp_of(os.fstat(descriptor)), seen)
            finally:
                if descriptor >= 0:
                    os.close(descriptor)
            if exclusive:
                _put_new(temporary, real, path)
            elif seen is not None:
                with held(temporary, deletable[0]):
                    _put_for(seen, deletable[0], temporary, real, path)
            else:
                os.replace(temporary, real)
        except BaseException as error:
            with suppress(OSError):
                # Once files were exchanged, a newer one may be there, which is left there.
                if not deletable or stamp_of(os.lstat(temporary)) in deletable:
                    os.unlink(temporary)
            if isinstance(error, OSError) and error.errno and error.filename in (None, temporary):
                raise OSError(error.errno, error.strerror, path) from None
            raise


def _create(path: str, mode: int) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0)
    return os.open(path, flags | getattr(os, "O_BINARY", 0), mode)


def _place_of(path: str, *, follow: bool) -> str:
    """Return the path of the file that `open(path, "w")` would write, or raise its OSError.

    `follow`: follow a link at the end of `path`; otherwise return the path of the link.
    """
    place = path
    for _ in range(_MOST_LINKS):
        bare = place.rstrip(os.sep)
        # Not abspath: behind a link to a folder, ".." leads out of the folder that it leads to.
        folder, name = os.path.split(bare)
        try:
            # realpath passes over a folder that is not there, and over a file in its place.
            os.stat(os.path.join(folder, os.curdir))
            real = os.path.realpath(folder)  # raises in a working directory that was deleted
        except OSError as error:
            raise OSError(error.errno, error.strerror, path) from None
        if bare != place and not os.path.isdir(place):
            raise OSError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        place = os.path.join(real, name)
        if not (follow and os.path.islink(place)):
            return place
        linked = os.path.join(os.path.dirname(place), os.readlink(place))
        if os.path.exists(place) and not os.path.lexists(linked):
            raise TargetError(
                f"{shown(path)} leads to an open file without a name, which cannot be replaced:"
                " pass the file object"
            )
        place = linked
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)


def _put_new(temporary: str, real: str, path: str) -> None:
    """Rename `temporary` to `real`, or raise TargetError if anything is there."""
    try:
        os.link(temporary, real)
    except FileExistsError:
        raise _there(path) from None
    except OSError:  # this file system has no hard links, or this user may not make one
        if os.path.lexists(real):
            raise _there(path) from None
        os.replace(temporary, real)
        return
    with suppress(OSError):  # the file is in place
        os.unlink(temporary)


def _there(path: str) -> TargetError:
    return TargetError(f"{shown(path)} already exists, and is not overwritten")


def _put_for(seen: Stamp, ours: Stamp, temporary: str, real: str, path: str) -> None:
    """Rename `temporary` to `real` if the file with the stamp `seen` is there, else raise.

    A newer file, or a link, that comes between the check and the rename is not lost where files
    can be exchanged: it is found in the place of `temporary`, and put back. Raise TargetError then.
    """
    if stamp_of(os.lstat(real)) != seen:
        raise changed_meanwhile(path)
    if not exchange(temporary, real):
        os.replace(temporary, real)
        return
    displaced = stamp_of(os.lstat(temporary))
    if displaced == seen:
        with suppress(OSError):  # the new file is in place
            os.unlink(temporary)
        return
    # Each exchange must take out what the one before it put in, or a still newer file has come.
    expected, put = ours, displaced
    while exchange(temporary, real):
        displaced = stamp_of(os.lstat(temporary))
        if displaced == expected:
            os.unlink(temporary)
            raise changed_meanwhile(path)
        expected, put = put, displaced


def _be_like(descriptor: int, replaced: os.stat_result) -> None:
    """Copy the mode and, as far as this user may, the owner of the replaced file."""
    status = os.fstat(descriptor)
    mode = stat.S_IMODE(replaced.st_mode) & 0o777
    if (status.st_uid, status.st_gid) != (replaced.st_uid, replaced.st_gid):
        for owner in (replaced.st_uid, -1):
            with suppress(OSError):
                os.fchown(descriptor, owner, replaced.st_gid)
                break
        if os.fstat(descriptor).st_gid != replaced.st_gid:
            mode &= ~stat.S_IRWXG  # the bits were meant for another group
    os.fchmod(descriptor, mode)


@contextmanager
def _synced(folder: str, path: str) -> Iterator[None]:
    """Sync a folder after the body, which gives `path` its name there."""
    if not hasattr(os, "O_DIRECTORY"):
        yield
        return
    try:
        # Opened first: after the rename it is too late for an error.
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except PermissionError as error:
        reason = f"{error.strerror}; the folder must be readable, unless durable=False"
        raise OSError(error.errno, reason, folder) from None
    try:
        yield
        try:
            os.fsync(descriptor)
        except OSError as error:
            # Some file systems cannot sync a folder, and have no need to.
            if error.errno not in (errno.EINVAL, errno.ENOTSUP):
                reason = (
                    f"{error.strerror}; the change is in place, but may not survive a power cut"
                )
                raise OSError(error.errno, reason, path) from None
    finally:
        close_read(descriptor)
