"""The one way to replace a file: atomically, durably, keeping its mode and owner."""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress

from pickleseal.errors import TargetError, check_path, shown
from pickleseal.files.handles import Stamp, stamp_of

TEMPORARY_PREFIX = ".pickleseal-"


TEMPORARY_SUFFIX = ".tmp"
"""What a file that a killed process left half-written is named like, in the target's folder."""


_EFFECTIVE = os.access in os.supports_effective_ids


_MOST_LINKS = 40  # as many as the system follows


def write_whole(path: str, data: bytes, *, mode: int = 0o666, exclusive: bool = False) -> None:
    """Write a whole file, atomically and durably; a new one has a mode, less the umask.

    A file that this user may not write to is not replaced: PermissionError.
    `exclusive`: replace nothing; TargetError where a path has anything, a link too.
    """
    check_path(path)
    with replacing(path, durable=True, seen=None, mode=mode, exclusive=exclusive) as descriptor:
        write_all(descriptor, data)


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
