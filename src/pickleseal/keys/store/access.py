"""Who has access to a file beside its owner and root: others, groups, access control lists.

POSIX access control lists are read on Linux. Those of macOS, NFSv4 and Windows are not.
"""

import errno
import os
import struct
import sys
from collections.abc import Iterator
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple

READ = 0o4
CHANGE = 0o2

_LIST = "system.posix_acl_access"
_VERSION = struct.Struct("<I")
_ENTRY = struct.Struct("<HHI")
_NO_LIST = {errno.ENODATA, errno.ENOTSUP, errno.ENOSYS} if hasattr(os, "getxattr") else set()
_STAFF = (50, "staff")
_MACOS_ADMIN = (80, "admin")


class Other(NamedTuple):
    """Somebody else who has access, in words, and the bits of READ and CHANGE."""

    name: str
    bits: int
    is_owning_group: bool = False


def others(status: os.stat_result, place: Path | int, wanted: int) -> Iterator[Other]:
    """Yield who has access to the file at a path or descriptor beside its owner, root and me.

    A group does not count if the system lists nobody else in it. `wanted`: the bits that matter;
    nothing is looked up for others.
    """
    mode = status.st_mode
    if mode & wanted:
        yield Other("others", mode & wanted)
    # With an access control list these bits are its mask, the most that any of its entries grants.
    most = mode >> 3 & wanted
    if not most:
        return
    data = _list_of(place)
    if data is None:
        if not is_nobody_else(status.st_gid, status.st_uid):
            yield Other("its group", most, is_owning_group=True)
        return
    entries = parse_list(data)
    if entries is None:
        yield Other("whoever is named in its damaged access control list", most)
        return
    for kind, bits, name in entries:
        granted = bits & most
        if not granted:
            continue
        if kind is Kind.USER and name not in (0, os.geteuid(), status.st_uid):
            yield Other(f"the user with id {name}, by an access control list,", granted)
        elif kind is Kind.GROUP and not is_nobody_else(name, status.st_uid):
            yield Other(f"the group with id {name}, by an access control list,", granted)
        elif kind is Kind.OWNING_GROUP and not is_nobody_else(status.st_gid, status.st_uid):
            yield Other("its group", granted, is_owning_group=True)


class Kind(IntEnum):
    """What an entry of an access control list is about."""

    OWNER = 0x01
    USER = 0x02
    OWNING_GROUP = 0x04
    GROUP = 0x08
    MASK = 0x10
    OTHERS = 0x20


def parse_list(data: bytes) -> list[tuple[Kind, int, int]] | None:
    """Return the entries of an access control list as Linux keeps them: kind, bits, id.

    None if it is damaged.
    """
    if len(data) % _ENTRY.size != _VERSION.size or _VERSION.unpack_from(data)[0] != 2:
        return None
    entries = []
    for kind, bits, name in _ENTRY.iter_unpack(data[_VERSION.size :]):
        if kind not in Kind.__members__.values() or bits > 0o7:
            return None
        entries.append((Kind(kind), bits, name))
    kinds = [kind for kind, _, _ in entries]
    single = (Kind.OWNER, Kind.OWNING_GROUP, Kind.MASK, Kind.OTHERS)
    return entries if all(kinds.count(kind) == 1 for kind in single) else None


def _list_of(place: Path | int) -> bytes | None:
    """Return a file's access control list, or None if it has none; b"" if it cannot be read."""
    if not hasattr(os, "getxattr"):
        return None
    try:
        return os.getxattr(place, _LIST)
    except OSError as error:
        return None if error.errno in _NO_LIST else b""


def is_nobody_else(gid: int, owner: int) -> bool:
    """Return whether a group gives nobody access but a file's owner, root and this user.

    That holds for the private group of the owner, which has the owner's name, and for Debian's
    staff, to which its /usr/local belongs, if the system lists no other member. (Members from a
    directory service may not be listed, so it does not hold for every group without a member.)
    The group of root is not private to other users: in some containers every user is in it.
    """
    import grp  # noqa: PLC0415 - there are none on Windows
    import pwd  # noqa: PLC0415

    try:
        group = grp.getgrgid(gid)
    except KeyError:
        return False
    kind = (gid, group.gr_name)
    if sys.platform == "darwin" and kind == _MACOS_ADMIN:
        return True  # its members may become root
    ours = {owner, 0, os.geteuid()}
    names = set()
    private = False
    for uid in ours:
        try:
            user = pwd.getpwuid(uid)
        except KeyError:
            continue
        names.add(user.pw_name)
        if uid == owner:
            private = (user.pw_gid, user.pw_name) == kind and (gid != 0 or os.geteuid() == 0)
    return (
        (private or kind == _STAFF)
        and names.issuperset(group.gr_mem)
        and not any(user.pw_gid == gid and user.pw_uid not in ours for user in pwd.getpwall())
    )


def is_unmapped(uid: int) -> bool:
    """Return whether an owner is one of the users whom this user namespace does not know.

    Apptainer, Flatpak and `unshare` run programs in a namespace with few users; the files of all
    others, those of root too, show the same owner there.
    """
    try:
        overflow = int(Path("/proc/sys/kernel/overflowuid").read_text(encoding="ascii"))
        table = Path("/proc/self/uid_map").read_text(encoding="ascii")
        ranges = [tuple(map(int, line.split())) for line in table.splitlines()]
    except (OSError, ValueError):
        return False
    return uid == overflow and not any(start <= uid < start + size for start, _, size in ranges)
