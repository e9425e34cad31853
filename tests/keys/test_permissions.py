"""Who else can reach a key: what is refused before a byte is read."""

import os
import shutil
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pickleseal import (
    KeyPermissionError,
    KeyringError,
    Suite,
    open_keyring,
    signed_dumps,
    signed_loads,
)
from pickleseal.keys.store import permissions
from pickleseal.keys.store.changes import create_key
from pickleseal.keys.store.directory import INDEX

posix = pytest.mark.skipif(not permissions.CHECKED, reason="this system has no modes")


as_root = pytest.mark.skipif(
    not permissions.CHECKED or os.geteuid() != 0, reason="only root can give files away"
)


def key_file(folder: Path) -> Path:
    (file,) = folder.glob("*.key")
    return file


@posix
@pytest.mark.parametrize("mode", [0o604, 0o602, 0o606, 0o666, 0o777, 0o644])
def test_a_key_file_open_to_others_is_refused(mode: int, ring_directory: Path) -> None:
    key_file(ring_directory).chmod(mode)
    with pytest.raises(KeyPermissionError):
        open_keyring(ring_directory)


@posix
def test_a_key_file_that_a_shared_group_can_read_needs_the_option(ring_directory: Path) -> None:
    file = key_file(ring_directory)
    file.chmod(0o440)
    if os.geteuid() == 0:
        os.chown(file, 0, 12345)
    elif permissions._private_group(file.stat(), file):
        pytest.skip("this user's files belong to a group of nobody else")
    with pytest.raises(KeyPermissionError):
        open_keyring(ring_directory)
    assert len(open_keyring(ring_directory, group_read=True).entries) == 1
    file.chmod(0o460)
    with pytest.raises(KeyPermissionError):
        open_keyring(ring_directory, group_read=True)


@as_root
def test_the_variable_lets_a_shared_group_read_as_the_option_does(
    ring_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a container of Kubernetes that is not root has it: fsGroup and mode 0440."""
    file = key_file(ring_directory)
    os.chown(file, 0, 12345)
    file.chmod(0o440)
    with pytest.raises(KeyPermissionError):
        signed_dumps(1, keyring=ring_directory)
    monkeypatch.setenv("PICKLESEAL_GROUP_READ", "1")
    assert signed_loads(signed_dumps(1, keyring=ring_directory), keyring=ring_directory) == 1
    with pytest.raises(KeyPermissionError):
        open_keyring(ring_directory, group_read=False)
    monkeypatch.setenv("PICKLESEAL_GROUP_READ", "yes")
    with pytest.raises(KeyringError):
        signed_dumps(1, keyring=ring_directory)
    monkeypatch.delenv("PICKLESEAL_GROUP_READ")
    with pytest.raises(KeyPermissionError):
        signed_dumps(1, keyring=ring_directory)


@as_root
def test_a_group_of_the_owner_alone_is_nobody_else(ring_directory: Path) -> None:
    key_file(ring_directory).chmod(0o660)  # root:root, with nobody else in the group
    ring_directory.chmod(0o770)
    assert len(open_keyring(ring_directory).entries) == 1


@as_root
@pytest.mark.parametrize("what", ["key", "index", "folder", "parent"])
def test_what_belongs_to_another_user_is_refused(what: str, ring_directory: Path) -> None:
    place = {
        "key": key_file(ring_directory),
        "index": ring_directory / INDEX,
        "folder": ring_directory,
        "parent": ring_directory.parent,
    }[what]
    os.chown(place, 12345, -1)
    with pytest.raises(KeyPermissionError):
        open_keyring(ring_directory)
    os.chown(place, 0, -1)
    assert open_keyring(ring_directory)


@as_root
def test_a_group_that_others_have_as_their_own_is_not_private(
    ring_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A user whose primary group it is stands in no list of the group's members."""
    import pwd

    key_file(ring_directory).chmod(0o660)
    everybody = pwd.getpwall()
    other = pwd.struct_passwd(("other", "x", 12345, 0, "", "/", "/bin/sh"))
    monkeypatch.setattr(pwd, "getpwall", lambda: [*everybody, other])
    with pytest.raises(KeyPermissionError):
        open_keyring(ring_directory)


@as_root
def test_group_bits_of_an_access_control_list_are_not_those_of_a_private_group(
    ring_directory: Path,
) -> None:
    file = key_file(ring_directory)
    # user::rw-, user:12345:r--, group::---, mask::r--, other::---, as the kernel keeps them
    entries = [(1, 6, -1), (2, 4, 12345), (4, 0, -1), (16, 4, -1), (32, 0, -1)]
    packed = struct.pack("<I", 2) + b"".join(
        struct.pack("<HHI", tag, bits, name & 0xFFFFFFFF) for tag, bits, name in entries
    )
    try:
        os.setxattr(file, "system.posix_acl_access", packed)
    except OSError as error:
        pytest.skip(f"no access control lists on this file system: {error.strerror}")
    assert file.stat().st_mode & 0o070 == 0o040
    with pytest.raises(KeyPermissionError):
        open_keyring(ring_directory)


@posix
def test_nothing_is_made_below_a_folder_that_others_can_change(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    with pytest.raises(KeyPermissionError):
        create_key(tmp_path / "open" / "a" / "b", now=0)
    assert list((tmp_path / "open").iterdir()) == []


@posix
@pytest.mark.parametrize("mode", [0o777, 0o707, 0o1777])
def test_a_folder_that_others_can_write_is_refused(mode: int, ring_directory: Path) -> None:
    """A sticky folder such as /tmp itself too: others can put files there."""
    ring_directory.chmod(mode)
    with pytest.raises(KeyPermissionError):
        open_keyring(ring_directory)
    with pytest.raises(KeyPermissionError):
        create_key(ring_directory, suite=Suite.BLAKE3, note="", now=0)


@posix
def test_a_folder_above_that_others_can_write_is_refused_unless_sticky_and_roots(
    ring_directory: Path,
) -> None:
    parent = ring_directory.parent
    parent.chmod(0o777)
    with pytest.raises(KeyPermissionError):
        open_keyring(ring_directory)
    parent.chmod(0o1777)
    if os.geteuid() == 0:
        assert open_keyring(ring_directory)
    else:
        with pytest.raises(KeyPermissionError):
            open_keyring(ring_directory)


@posix
def test_an_index_that_others_can_write_is_refused(ring_directory: Path) -> None:
    (ring_directory / INDEX).chmod(0o646)
    with pytest.raises(KeyPermissionError):
        open_keyring(ring_directory)
    (ring_directory / INDEX).chmod(0o644)
    assert open_keyring(ring_directory)


@posix
def test_a_key_path_that_is_no_regular_file_is_refused_without_waiting(
    ring_directory: Path, tmp_path: Path
) -> None:
    file = key_file(ring_directory)
    os.mkfifo(tmp_path / "fifo", 0o600)

    def fifo() -> None:
        os.mkfifo(file, 0o600)

    for make in (
        fifo,
        file.mkdir,
        lambda: file.symlink_to("/dev/zero"),
        lambda: file.symlink_to(tmp_path / "fifo"),
        lambda: file.symlink_to(tmp_path),
    ):
        if file.is_dir() and not file.is_symlink():
            file.rmdir()
        else:
            file.unlink()
        make()
        with pytest.raises(KeyringError):
            open_keyring(ring_directory)


@posix
def test_links_as_kubernetes_lays_them_are_followed(ring_directory: Path, tmp_path: Path) -> None:
    mount = tmp_path / "mount"
    version = mount / "..2026_11_24"
    version.mkdir(parents=True)
    for file in ring_directory.iterdir():
        (version / file.name).write_bytes(file.read_bytes())
        (version / file.name).chmod(0o400)
        (mount / file.name).symlink_to(Path("..data") / file.name)
    (mount / "..data").symlink_to(version.name)
    assert len(open_keyring(mount).entries) == 1
    key_file(version).chmod(0o644)
    with pytest.raises(KeyPermissionError):
        open_keyring(mount)


@as_root
@pytest.mark.parametrize("what", ["folder", "parent"])
def test_a_folder_that_a_shared_group_can_write_is_refused(what: str, ring_directory: Path) -> None:
    place = ring_directory if what == "folder" else ring_directory.parent
    os.chown(place, -1, 12345)
    place.chmod(0o770)
    with pytest.raises(KeyPermissionError):
        open_keyring(ring_directory)
    with pytest.raises(KeyPermissionError):
        create_key(ring_directory, now=0)
    place.chmod(0o750)
    assert open_keyring(ring_directory)


@as_root
@pytest.mark.parametrize("what", ["key", "folder"])
@pytest.mark.parametrize(
    ("name", "members", "primary", "private"),
    [
        ("root", [], 0, True),
        ("root", ["root"], 0, True),
        ("root", ["root", "other"], 0, False),
        ("staff", [], 0, False),
        ("root", [], 100, False),  # it has the owner's name, and is not the owner's own
    ],
)
def test_only_a_group_of_the_owner_alone_is_private(
    what: str,
    name: str,
    members: list[str],
    primary: int,
    private: bool,  # noqa: FBT001 - a column of the table
    ring_directory: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import grp
    import pwd

    place = key_file(ring_directory) if what == "key" else ring_directory
    place.chmod(0o660 if what == "key" else 0o770)
    owner = pwd.struct_passwd(("root", "x", 0, primary, "", "/", "/bin/sh"))
    monkeypatch.setattr(grp, "getgrgid", lambda gid: grp.struct_group((name, "x", gid, members)))
    monkeypatch.setattr(pwd, "getpwuid", lambda _: owner)
    monkeypatch.setattr(pwd, "getpwall", lambda: [owner])
    if private:
        assert open_keyring(ring_directory)
    else:
        with pytest.raises(KeyPermissionError):
            open_keyring(ring_directory)


@pytest.fixture
def as_somebody() -> Iterator[Path]:
    """Yield a folder of root's that all can look into, with the effective user another one."""
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    folder.chmod(0o755)
    try:
        os.seteuid(12345)
        yield folder
    finally:
        os.seteuid(0)
        shutil.rmtree(folder)


@as_root
def test_the_group_of_root_is_private_to_root_alone(as_somebody: Path) -> None:
    """In some containers every user is in that group."""
    os.seteuid(0)
    file = as_somebody / "index"
    file.touch()
    file.chmod(0o660)
    faults = []
    for user in (0, 12345):
        os.seteuid(user)
        found = permissions.file_faults(file.stat(), file, secret=False, group_read=False)
        faults.append(len(list(found)))
    assert faults == [0, 1]


@as_root
@pytest.mark.parametrize(("owner", "faults"), [(0, 0), (12345, 1)])
def test_a_sticky_folder_above_must_be_that_of_root(
    owner: int, faults: int, as_somebody: Path
) -> None:
    """The owner of a sticky folder may rename what lies in it, and others may add to it."""
    os.seteuid(0)
    (as_somebody / "sticky" / "ring").mkdir(parents=True)
    (as_somebody / "sticky").chmod(0o1777)
    os.chown(as_somebody / "sticky", owner, 12345)
    os.seteuid(12345)
    assert len(list(permissions.folder_faults(as_somebody / "sticky" / "ring"))) == faults


@posix
def test_a_file_that_is_exchanged_before_it_is_opened_is_checked_again(
    ring_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, real = key_file(ring_directory), os.open

    def exchanged(path: str, flags: int, *rest: int, **options: int) -> int:
        if os.fspath(path) == str(file):
            file.chmod(0o666)
        return real(path, flags, *rest, **options)

    monkeypatch.setattr(os, "open", exchanged)
    with pytest.raises(KeyPermissionError):
        open_keyring(ring_directory)
