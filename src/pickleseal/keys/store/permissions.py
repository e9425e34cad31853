"""Permission checks on files and folders, made before a byte is read.

They are those of OpenSSH's StrictModes, on POSIX systems; on Windows nothing is checked (see
SECURITY.md). Files of pins are checked too.
"""

import os
import shlex
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from pickleseal.errors import KeyPermissionError, shown

CHECKED = hasattr(os, "geteuid")
"""Whether this system has owners and modes to check."""

_FLAGS = (
    os.O_RDONLY
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
)
_ELSEWHERE = "keep it in a folder of your own"
_KUBERNETES = (
    "(If others may have read a key, make a new one. In Kubernetes set defaultMode: 0400, or, for"
    " a container that is not root, fsGroup, defaultMode: 0440 and PICKLESEAL_GROUP_READ=1)"
)


class Fault(NamedTuple):
    """A permission that lets others reach a key, and the command that fixes it."""

    path: Path
    problem: str
    fix: str
    hint: str = ""

    def error(self) -> KeyPermissionError:
        """Return the error of this fault."""
        hint = f" {self.hint}" if self.hint else ""
        return KeyPermissionError(
            f"{shown(str(self.path))} {self.problem}. Fix it with: {shown(self.fix)}{hint}"
        )


def read_guarded(path: Path, *, secret: bool, group_read: bool, limit: int) -> bytes:
    """Return up to `limit` bytes of a file that nobody else can change or, if secret, read.

    Links are resolved first; the target and each folder above it are checked before the first byte
    is read. Raise KeyPermissionError, or OSError if the file cannot be opened.
    """
    real = Path(os.path.realpath(path))
    check_folders(real.parent)

    def check(status: os.stat_result) -> None:
        _raise_first(irregular_faults(status, path))
        _raise_first(file_faults(status, real, secret=secret, group_read=group_read))

    # Checked before it is opened, too: opening a device or a FIFO can have effects.
    check(os.lstat(real))
    descriptor = os.open(real, _FLAGS)
    try:
        check(os.fstat(descriptor))
        data = b""
        while len(data) < limit and (chunk := os.read(descriptor, limit - len(data))):
            data += chunk
        return data
    finally:
        os.close(descriptor)


def check_folders(folder: Path, *, above: bool = False) -> None:
    """Raise KeyPermissionError if others can replace entries of `folder`, a resolved path."""
    _raise_first(folder_faults(folder, above=above))


def checked_program(path: Path) -> Path:
    """Return the resolved path of a program that nobody else can change."""
    real = Path(os.path.realpath(path))
    check_folders(real.parent)
    _raise_first(file_faults(os.stat(real), real, secret=False, group_read=True))
    return real


def folder_faults(folder: Path, *, above: bool = False) -> Iterator[Fault]:
    """Yield what lets others rename or replace entries of `folder`, a resolved path.

    The folder and each one above it must belong to this user or root, and be writable by nobody
    else. Those above may be sticky folders of root, such as /tmp; `folder` itself may only with
    `above`, for a parent of the folder that is checked.
    """
    if not CHECKED:
        return
    for place in (folder, *folder.parents):
        status = os.stat(place)
        yield from _owner_faults(status, place, mend=_ELSEWHERE)
        may_be_sticky = above or place != folder
        sticky = may_be_sticky and status.st_mode & stat.S_ISVTX and status.st_uid == 0
        if sticky or not _writable_by_others(status, place):
            continue
        if not stat.S_ISDIR(status.st_mode):
            yield Fault(place, "is not a folder, and others can change it", _ELSEWHERE)
            continue
        yield Fault(
            place,
            f"has mode {stat.S_IMODE(status.st_mode):04o}: others can replace what is in or"
            " below it",
            # The folder of another user, such as /tmp, is not this user's to fix.
            f"chmod go-w {quoted(place)}" if status.st_uid == os.geteuid() else _ELSEWHERE,
            "(or keep it elsewhere)" if status.st_mode & stat.S_ISVTX else "",
        )


def irregular_faults(status: os.stat_result, path: Path) -> Iterator[Fault]:
    """Yield a fault if a path in a ring leads to anything but a regular file.

    `status` is that of the target; the fix removes the ring's own entry, not the target of a link.
    """
    if not stat.S_ISREG(status.st_mode):
        problem = "is not a regular file, and a keyring holds nothing else"
        yield Fault(path, problem, removal(path))


def file_faults(
    status: os.stat_result, path: Path, *, secret: bool, group_read: bool
) -> Iterator[Fault]:
    """Yield what lets others change a file with this status or, if it is secret, read it."""
    if not CHECKED:
        return
    yield from _owner_faults(status, path, mend=f"chown {os.geteuid()} {quoted(path)}")
    mode = stat.S_IMODE(status.st_mode)
    shared = mode & stat.S_IRWXG and not _private_group(status, path)
    open_to_others = mode & stat.S_IWOTH or (mode & stat.S_IWGRP and shared)
    if secret:
        group = mode & stat.S_IRGRP and not group_read and shared
        open_to_others = open_to_others or mode & stat.S_IROTH or group
    if open_to_others:
        who = "others" if mode & stat.S_IRWXO else "its group"
        changes = mode & (stat.S_IWOTH | stat.S_IWGRP)
        can = "read or change" if secret and changes else "change" if changes else "read"
        yield Fault(
            path,
            f"has mode {mode:04o}: {who} can {can} it",
            f"chmod {'600' if secret else 'go-w'} {quoted(path)}",
            _KUBERNETES if secret else "",
        )


def removal(path: Path) -> str:
    """Return the command that removes a file, link or empty folder of a ring."""
    is_folder = path.is_dir() and not path.is_symlink()
    return f"{'rmdir' if is_folder else 'rm'} {quoted(path)}"


def quoted(path: Path) -> str:
    """Return a path quoted for a shell.

    A path with characters that act on a terminal becomes $'...', which bash, zsh and ksh read.
    """
    if str(path).isprintable():
        return shlex.quote(str(path))
    text = "".join(
        chr(byte) if 0x20 <= byte < 0x7F and byte not in b"\\'" else f"\\x{byte:02x}"
        for byte in os.fsencode(path)
    )
    return f"$'{text}'"


def _raise_first(faults: Iterator[Fault]) -> None:
    for fault in faults:
        raise fault.error()


def _owner_faults(status: os.stat_result, path: Path, *, mend: str) -> Iterator[Fault]:
    if status.st_uid not in (0, os.geteuid()):
        yield Fault(
            path,
            f"belongs to the user with id {status.st_uid}, who can change it",
            mend,
            "(if it is yours: what another user put there is not to be trusted)",
        )


def _writable_by_others(status: os.stat_result, path: Path) -> bool:
    if status.st_mode & stat.S_IWOTH:
        return True
    return bool(status.st_mode & stat.S_IWGRP) and not _private_group(status, path)


def _private_group(status: os.stat_result, path: Path) -> bool:
    """Return whether a file's group is private to its owner: same name, no other member.

    Where each user has such a group, a umask of 002 is usual and group bits give nobody access. The
    group of root is not private to other users: in some containers every user is in it. With an
    access control list the group bits apply to the users that the list names.
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
        and (status.st_gid != 0 or os.geteuid() == 0)
        and not any(
            user.pw_gid == status.st_gid and user.pw_uid != status.st_uid for user in pwd.getpwall()
        )
        and not _has_list(path)
    )


def _has_list(path: Path) -> bool:
    """Return whether a file has an access control list (Linux only)."""
    if not hasattr(os, "getxattr"):
        return False
    try:
        os.getxattr(path, "system.posix_acl_access")
    except OSError:
        return False
    return True
