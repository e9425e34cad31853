"""Who else can reach a key: the checks on files and folders, made before a byte is read.

They are those that OpenSSH's StrictModes makes, and they hold on POSIX systems. Windows has
no modes; there nothing is checked (SECURITY.md says so).
"""

import os
import stat
from pathlib import Path

from pickleseal.errors import KeyPermissionError, shown

CHECKED = hasattr(os, "geteuid")
"""Whether this system has owners and modes that can be checked."""

_FLAGS = (
    os.O_RDONLY
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
)


def read_guarded(path: Path, *, secret: bool, group_read: bool, limit: int) -> bytes:
    """Read a file of a keyring, if nobody else can change it or, for a secret one, read it.

    `path` may be a link; what it leads to is checked, with each folder above it. Every check
    is made before the first byte is read. At most `limit` bytes are read. Raises
    KeyPermissionError, or OSError where the file cannot be opened.
    """
    real = Path(os.path.realpath(path))
    check_folders(real.parent)
    # Looked at before it is opened: opening a device or a FIFO can have effects of its own.
    _check_regular(os.lstat(real), real)
    descriptor = os.open(real, _FLAGS)
    try:
        status = os.fstat(descriptor)
        _check_regular(status, real)
        _check_file(status, real, secret=secret, group_read=group_read)
        data = b""
        while len(data) < limit and (chunk := os.read(descriptor, limit - len(data))):
            data += chunk
        return data
    finally:
        os.close(descriptor)


def check_folders(folder: Path) -> None:
    """Return if nobody else can rename or replace what lies in `folder`, a resolved path.

    The folder and each one above it must belong to this user or root and be writable by
    nobody else. One above it may be a sticky folder of root's, such as /tmp; the folder
    itself may not.
    """
    if not CHECKED:
        return
    for place in (folder, *folder.parents):
        status = os.stat(place)
        _check_owner(status, place)
        sticky = place != folder and status.st_mode & stat.S_ISVTX and status.st_uid == 0
        if sticky or not _writable_by_others(status):
            continue
        raise KeyPermissionError(
            f"{shown(str(place))} has mode {stat.S_IMODE(status.st_mode):04o}: others can"
            f" replace the keys in or below it. Mend it with: chmod go-w {shown(str(place))}"
            + (" (or keep the keyring elsewhere)" if status.st_mode & stat.S_ISVTX else "")
        )


def _check_regular(status: os.stat_result, path: Path) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise KeyPermissionError(
            f"{shown(str(path))} is not a regular file, and a keyring holds nothing else:"
            " remove it and make a key with pickleseal keygen"
        )


def _check_file(status: os.stat_result, path: Path, *, secret: bool, group_read: bool) -> None:
    if not CHECKED:
        return
    _check_owner(status, path)
    mode = stat.S_IMODE(status.st_mode)
    open_to_others = mode & stat.S_IWOTH or (mode & stat.S_IWGRP and not _private_group(status))
    if secret:
        group = mode & stat.S_IRGRP and not group_read and not _private_group(status)
        open_to_others = open_to_others or mode & stat.S_IROTH or group
    if open_to_others:
        raise KeyPermissionError(
            f"{shown(str(path))} has mode {mode:04o}: others can"
            f" {'read or change' if secret else 'change'} it, so it cannot be relied on. Mend it"
            f" with: chmod {'600' if secret else 'go-w'} {shown(str(path))} (and if others may"
            " have read a key, make a new one). In Kubernetes set defaultMode: 0400, or, for a"
            " container that is not root, fsGroup, defaultMode: 0440 and"
            " open_keyring(..., group_read=True)"
        )


def _check_owner(status: os.stat_result, path: Path) -> None:
    if status.st_uid not in (0, os.geteuid()):
        raise KeyPermissionError(
            f"{shown(str(path))} belongs to the user with id {status.st_uid}, who can change the"
            f" keys there. Mend it with: chown {os.geteuid()} {shown(str(path))}"
        )


def _writable_by_others(status: os.stat_result) -> bool:
    if status.st_mode & stat.S_IWOTH:
        return True
    return bool(status.st_mode & stat.S_IWGRP) and not _private_group(status)


def _private_group(status: os.stat_result) -> bool:
    """Tell whether a file's group is its owner's own: of the same name, with nobody else in it.

    Where each user has such a group, a umask of 002 is usual and group bits open nothing.
    """
    import grp  # noqa: PLC0415 - there are none on Windows
    import pwd  # noqa: PLC0415

    try:
        owner = pwd.getpwuid(status.st_uid)
        group = grp.getgrgid(status.st_gid)
    except KeyError:
        return False
    return (
        owner.pw_gid == status.st_gid
        and group.gr_name == owner.pw_name
        and not set(group.gr_mem) - {owner.pw_name}
    )
