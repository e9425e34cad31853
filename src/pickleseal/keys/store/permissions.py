"""Who else can reach a key: the checks on files and folders, made before a byte is read.

They are those that OpenSSH's StrictModes makes, and they hold on POSIX systems. Windows has
no modes; there nothing is checked (SECURITY.md says so). Files of pins are held to them, too.
"""

import os
import shlex
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

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
_ELSEWHERE = "keep it in a folder of your own"
_KUBERNETES = (
    "(If others may have read a key, make a new one. In Kubernetes set defaultMode: 0400, or, for"
    " a container that is not root, fsGroup, defaultMode: 0440 and PICKLESEAL_GROUP_READ=1)"
)


class Fault(NamedTuple):
    """What lets others reach a key: the place, what is wrong, and the command that mends it."""

    path: Path
    problem: str
    fix: str
    hint: str = ""

    def error(self) -> KeyPermissionError:
        """Give the refusal."""
        hint = f" {self.hint}" if self.hint else ""
        return KeyPermissionError(
            f"{shown(str(self.path))} {self.problem}. Mend it with: {shown(self.fix)}{hint}"
        )


def read_guarded(path: Path, *, secret: bool, group_read: bool, limit: int) -> bytes:
    """Read a file of a keyring, if nobody else can change it or, for a secret one, read it.

    `path` may be a link; what it leads to is checked, with each folder above it. Every check
    is made before the first byte is read. At most `limit` bytes are read. Raises
    KeyPermissionError, or OSError where the file cannot be opened.
    """
    real = Path(os.path.realpath(path))
    check_folders(real.parent)

    def check(status: os.stat_result) -> None:
        _raise_first(irregular_faults(status, path))
        _raise_first(file_faults(status, real, secret=secret, group_read=group_read))

    # Looked at before it is opened: opening a device or a FIFO can have effects of its own.
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
    """Return if nobody else can rename or replace what lies in `folder`, a resolved path."""
    _raise_first(folder_faults(folder, above=above))


def checked_program(path: Path) -> Path:
    """Give the file that a program's absolute path leads to, if nobody else can change it."""
    real = Path(os.path.realpath(path))
    check_folders(real.parent)
    _raise_first(file_faults(os.stat(real), real, secret=False, group_read=True))
    return real


def folder_faults(folder: Path, *, above: bool = False) -> Iterator[Fault]:
    """Give what lets others rename or replace what lies in `folder`, a resolved path.

    The folder and each one above it must belong to this user or root and be writable by
    nobody else. One above it may be a sticky folder of root's, such as /tmp; the folder
    itself may not, unless it stands above what is meant (`above`).
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
            yield Fault(place, "is no folder, and others can change it", _ELSEWHERE)
            continue
        yield Fault(
            place,
            f"has mode {stat.S_IMODE(status.st_mode):04o}: others can replace what lies in or"
            " below it",
            # What belongs to another user, such as root's /tmp, is not ours to mend.
            f"chmod go-w {quoted(place)}" if status.st_uid == os.geteuid() else _ELSEWHERE,
            "(or keep it elsewhere)" if status.st_mode & stat.S_ISVTX else "",
        )


def irregular_faults(status: os.stat_result, path: Path) -> Iterator[Fault]:
    """Tell if what a ring has at a path leads to no regular file; `status` is that of its target.

    It is mended where the ring has it: what a link leads to, such as a device, is not its own.
    """
    if not stat.S_ISREG(status.st_mode):
        problem = "is not a regular file, and a keyring holds nothing else"
        yield Fault(path, problem, removal(path))


def file_faults(
    status: os.stat_result, path: Path, *, secret: bool, group_read: bool
) -> Iterator[Fault]:
    """Give what lets others change a file with this status, or, if it is secret, read it."""
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
            f"has mode {mode:04o}: {who} can {can} it, so it cannot be relied on",
            f"chmod {'600' if secret else 'go-w'} {quoted(path)}",
            _KUBERNETES if secret else "",
        )


def removal(path: Path) -> str:
    """Give the command that removes a file, link or empty folder of a ring, and no more."""
    is_folder = path.is_dir() and not path.is_symlink()
    return f"{'rmdir' if is_folder else 'rm'} {quoted(path)}"


def quoted(path: Path) -> str:
    """Give a path as it is typed in a shell, also one with characters that act on a terminal.

    Such a path is written as $'...', which bash, zsh and ksh read.
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
            f"belongs to the user with id {status.st_uid}, who can change what lies there",
            mend,
            "(if it is yours: what another user put there is not to be trusted)",
        )


def _writable_by_others(status: os.stat_result, path: Path) -> bool:
    if status.st_mode & stat.S_IWOTH:
        return True
    return bool(status.st_mode & stat.S_IWGRP) and not _private_group(status, path)


def _private_group(status: os.stat_result, path: Path) -> bool:
    """Tell whether a file's group is its owner's own: of the same name, with nobody else in it.

    Where each user has such a group, a umask of 002 is usual and group bits open nothing. Root's
    is none for others: in some containers every user is in it. With an access control list the
    group bits stand for whom it names, and nobody knows who that is.
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
    """Tell whether a file has an access control list (Linux; elsewhere modes tell)."""
    if not hasattr(os, "getxattr"):
        return False
    try:
        os.getxattr(path, "system.posix_acl_access")
    except OSError:
        return False
    return True
