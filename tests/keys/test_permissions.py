"""Who else can reach a key: what is refused before a byte is read."""

import codecs
import errno
import os
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rings import as_root, key_file, posix

from pickleseal import (
    KeyPermissionError,
    KeyringError,
    Suite,
    open_keyring,
    signed_dumps,
    signed_loads,
)
from pickleseal.keys.store import access, permissions
from pickleseal.keys.store.changes import create_key, rotate
from pickleseal.keys.store.directory import INDEX
from pickleseal.keys.store.doctor import examine

pytestmark = posix


@pytest.mark.parametrize("mode", [0o604, 0o602, 0o606, 0o666, 0o777, 0o644])
def test_a_key_file_open_to_others_is_refused(mode: int, ring_directory: Path) -> None:
    key_file(ring_directory).chmod(mode)
    with pytest.raises(KeyPermissionError):
        open_keyring(ring_directory)


def test_a_key_file_that_a_shared_group_can_read_needs_the_option(ring_directory: Path) -> None:
    file = key_file(ring_directory)
    file.chmod(0o440)
    if os.geteuid() == 0:
        os.chown(file, 0, 12345)
    elif access.is_nobody_else(file.stat().st_gid, os.geteuid()):
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


def test_groups_are_looked_up_only_where_they_could_have_access(
    ring_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To list all users takes longer than all the rest, and a directory service is asked."""
    import pwd

    asked: list[list[object]] = []

    def everybody() -> list[object]:
        asked.append([])
        return asked[-1]

    monkeypatch.setattr(pwd, "getpwall", everybody)
    ring_directory.chmod(0o755)
    assert open_keyring(ring_directory)
    assert not asked


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


# --- access control lists ---------------------------------------------------------------------

OWNER, USER, OWNING_GROUP, GROUP, MASK, OTHERS = access.Kind
NOBODY = 0xFFFFFFFF
STRANGER = 12345


def acl(*entries: tuple[int, int, int]) -> bytes:
    """Return an access control list as Linux keeps it, in a file's extended attribute."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


def put_list(path: Path, *named: tuple[int, int, int], mask: int, group: int = 0) -> None:
    """Set an access control list on a file, with some entries for users and groups."""
    users = [entry for entry in named if entry[0] == USER]
    groups = [entry for entry in named if entry[0] == GROUP]
    usual = ((OWNER, 6 | path.is_dir(), NOBODY), *users, (OWNING_GROUP, group, NOBODY), *groups)
    data = acl(*usual, (MASK, mask, NOBODY), (OTHERS, 0, NOBODY))
    try:
        os.setxattr(path, "system.posix_acl_access", data)
    except OSError as error:
        if error.errno != errno.ENOTSUP:
            raise
        pytest.skip(f"no access control lists on this file system: {error.strerror}")


with_lists = pytest.mark.skipif(
    not hasattr(os, "setxattr"), reason="access control lists are read on Linux alone"
)


@with_lists
@pytest.mark.parametrize("group_read", [False, True])
@pytest.mark.parametrize("what", ["key", "index", "folder", "parent"])
@pytest.mark.parametrize("kind", [USER, GROUP])
def test_an_access_control_list_for_others_is_refused(
    kind: int,
    what: str,
    group_read: bool,  # noqa: FBT001 - the option of open_keyring
    ring_directory: Path,
) -> None:
    """The option for the owning group is not one for those whom a list names."""
    places = {
        "key": (key_file(ring_directory), 4, 0),
        "index": (ring_directory / INDEX, 6, 4),
        "folder": (ring_directory, 7, 5),
        "parent": (ring_directory.parent, 7, 5),
    }
    place, too_much, fine = places[what]
    put_list(place, (kind, too_much, STRANGER), mask=7)
    with pytest.raises(KeyPermissionError, match="access control list") as caught:
        open_keyring(ring_directory, group_read=group_read)
    assert f"with id {STRANGER}" in str(caught.value)
    # Its mask takes away what an entry gives: what chmod changes is the mask.
    put_list(place, (kind, too_much, STRANGER), mask=fine)
    assert open_keyring(ring_directory)
    put_list(place, (kind, fine, STRANGER), mask=7)
    assert open_keyring(ring_directory)


@with_lists
def test_the_proposed_chmod_takes_away_what_a_list_gives(ring_directory: Path) -> None:
    for place, mode in ((key_file(ring_directory), 0o600), (ring_directory, 0o700)):
        put_list(place, (USER, 7, STRANGER), mask=7)
        with pytest.raises(KeyPermissionError, match=f"chmod {'600' if mode == 0o600 else 'go-w'}"):
            open_keyring(ring_directory)
        place.chmod(mode)
        assert open_keyring(ring_directory)


@with_lists
def test_an_entry_of_a_list_for_root_and_for_oneself_gives_nobody_else_access(
    ring_directory: Path,
) -> None:
    """As systemd's LoadCredential= gives a service's user access to a file of root's."""
    for uid in (0, os.geteuid()):
        put_list(key_file(ring_directory), (USER, 4, uid), mask=4)
        assert key_file(ring_directory).stat().st_mode & 0o070 == 0o040
        assert open_keyring(ring_directory)


@with_lists
@as_root
def test_the_owning_group_of_a_list_is_shared_as_one_without(ring_directory: Path) -> None:
    file = key_file(ring_directory)
    os.chown(file, 0, STRANGER)
    put_list(file, (USER, 4, 0), mask=4, group=4)
    with pytest.raises(KeyPermissionError, match="its group can read"):
        open_keyring(ring_directory)
    assert open_keyring(ring_directory, group_read=True)


def test_a_damaged_access_control_list_is_told_from_a_whole_one() -> None:
    minimal = [
        (OWNER, 6, NOBODY),
        (OWNING_GROUP, 0, NOBODY),
        (MASK, 4, NOBODY),
        (OTHERS, 0, NOBODY),
    ]
    whole = acl(*minimal)
    assert access.parse_list(whole) == minimal
    for damaged in (
        b"",
        whole[:-1],
        whole[:-8],
        whole + b"\0",
        whole + whole[4:12],
        b"\3" + whole[1:],
        acl(*minimal, (64, 4, 1)),
        acl(*minimal, (USER, 8, 1)),
        acl(*minimal[:2], minimal[3]),
    ):
        assert access.parse_list(damaged) is None


# --- links ------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["ring", "key", "index"])
@pytest.mark.parametrize("hops", [1, 2])
def test_a_link_that_others_can_replace_is_refused(
    what: str, hops: int, ring_directory: Path, tmp_path: Path
) -> None:
    """Whoever can replace it decides which key seals and which files are loaded."""
    place = tmp_path / "open"
    place.mkdir()
    wanted = {"ring": ring_directory, "key": key_file(ring_directory)}
    target = wanted.get(what, ring_directory / INDEX)
    target = target.rename(tmp_path / "elsewhere")
    way = place / "way"
    way.symlink_to(Path("..") / target.name)
    named = (
        ring_directory.parent / "named"
        if what == "ring"
        else wanted.get(what, ring_directory / INDEX)
    )
    named.symlink_to(way)
    ring = named if what == "ring" else ring_directory
    if hops == 1 and what == "ring":
        ring = way
    assert open_keyring(ring)
    assert examine(ring, now=0) == []
    place.chmod(0o777)
    with pytest.raises(KeyPermissionError, match="open"):
        open_keyring(ring)
    if what != "key":
        with pytest.raises(KeyPermissionError, match="open"):
            create_key(ring, now=0)
    assert examine(ring, now=0)[0].place == str(place)


@as_root
def test_a_link_in_a_sticky_folder_must_be_ones_own(ring_directory: Path, tmp_path: Path) -> None:
    (tmp_path / "sticky").mkdir()
    (tmp_path / "sticky").chmod(0o1777)
    link = tmp_path / "sticky" / "link"
    link.symlink_to(ring_directory)
    assert open_keyring(link)
    os.chown(link, STRANGER, -1, follow_symlinks=False)
    with pytest.raises(KeyPermissionError, match="belongs to the user with id"):
        open_keyring(link)


def test_links_that_lead_in_a_circle_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with pytest.raises(KeyringError, match="cannot be read"):
        open_keyring(tmp_path / "a")


@given(st.lists(st.sampled_from(["a", "b", "..", ".", "", "l", "m", "none"]), max_size=8))
def test_a_path_is_followed_as_the_system_does(names: list[str]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "a" / "b").mkdir(parents=True)
        (folder / "b").mkdir()
        (folder / "a" / "l").symlink_to("../b")
        (folder / "a" / "b" / "l").symlink_to(folder / "a" / "m")
        (folder / "a" / "m").symlink_to("l/../a/./b//")
        path = f"{name}/{'/'.join(names)}"
        followed = permissions._follow(path).real
        if os.path.exists(path):
            assert os.path.samefile(followed, path)
            assert str(followed) == os.path.realpath(path)
        else:
            assert not os.path.exists(followed)


def test_nothing_is_made_below_a_folder_that_others_can_change(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    with pytest.raises(KeyPermissionError):
        create_key(tmp_path / "open" / "a" / "b", now=0)
    assert list((tmp_path / "open").iterdir()) == []


@pytest.mark.parametrize("mode", [0o777, 0o707, 0o1777])
def test_a_folder_that_others_can_write_is_refused(mode: int, ring_directory: Path) -> None:
    """A sticky folder such as /tmp itself too: others can put files there."""
    ring_directory.chmod(mode)
    with pytest.raises(KeyPermissionError):
        open_keyring(ring_directory)
    with pytest.raises(KeyPermissionError):
        create_key(ring_directory, suite=Suite.BLAKE3, note="", now=0)


def test_a_folder_above_that_others_can_write_is_refused_unless_sticky(
    ring_directory: Path,
) -> None:
    parent = ring_directory.parent
    parent.chmod(0o777)
    with pytest.raises(KeyPermissionError):
        open_keyring(ring_directory)
    parent.chmod(0o1777)
    assert open_keyring(ring_directory)


def test_an_index_that_others_can_write_is_refused(ring_directory: Path) -> None:
    (ring_directory / INDEX).chmod(0o646)
    with pytest.raises(KeyPermissionError):
        open_keyring(ring_directory)
    (ring_directory / INDEX).chmod(0o644)
    assert open_keyring(ring_directory)


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


def mounted(ring: Path, mount: Path, *, mode: int, group: int) -> Path:
    """Lay out a ring as Kubernetes mounts a secret; return the folder of its files."""
    version = mount / "..2026_11_24"
    version.mkdir(parents=True)
    for file in (ring / INDEX, key_file(ring)):
        (version / file.name).write_bytes(file.read_bytes())
        (version / file.name).chmod(mode)
        (mount / file.name).symlink_to(Path("..data") / file.name)
    (mount / "..data").symlink_to(version.name)
    if os.geteuid() == 0:
        for place in (mount, version, *version.iterdir()):
            os.chown(place, 0, group)
    version.chmod(0o2755)
    mount.chmod(0o3777)
    return version


def test_a_secret_that_kubernetes_mounts_is_read_and_the_doctor_agrees(
    ring_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = mounted(ring_directory, tmp_path / "root", mode=0o400, group=0)
    assert len(open_keyring(tmp_path / "root").entries) == 1
    assert examine(tmp_path / "root", now=0) == []
    with pytest.raises(KeyPermissionError, match="others can replace"):
        rotate(tmp_path / "root", now=0)  # others could put files beside the links
    key_file(version).chmod(0o644)
    with pytest.raises(KeyPermissionError):
        open_keyring(tmp_path / "root")
    assert len(examine(tmp_path / "root", now=0)) == 1
    # fsGroup, for a container that is not root
    mounted(ring_directory, tmp_path / "fs", mode=0o440, group=STRANGER)
    if os.geteuid() == 0:
        with pytest.raises(KeyPermissionError):
            open_keyring(tmp_path / "fs")
        assert len(examine(tmp_path / "fs", now=0)) == 1
    monkeypatch.setenv("PICKLESEAL_GROUP_READ", "1")
    assert len(open_keyring(tmp_path / "fs").entries) == 1
    assert examine(tmp_path / "fs", now=0) == []


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
    codecs.lookup("ascii")  # a user without rights may not read the modules of this Python
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
        found = permissions.file_faults(file.stat(), file, file, secret=False, group_read=False)
        faults.append(len(list(found)))
    assert faults == [0, 1]


@as_root
@pytest.mark.parametrize(("owner", "faults"), [(0, 0), (12345, 0), (23456, 1)])
def test_a_sticky_folder_above_must_be_ones_own_or_that_of_root(
    owner: int, faults: int, as_somebody: Path
) -> None:
    """The owner of a sticky folder may rename what lies in it, and others may only add to it."""
    os.seteuid(0)
    (as_somebody / "sticky" / "ring").mkdir(parents=True)
    (as_somebody / "sticky").chmod(0o1777)
    os.chown(as_somebody / "sticky", owner, 12345)
    os.seteuid(12345)
    assert len(list(permissions.folder_faults(as_somebody / "sticky" / "ring"))) == faults


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


# --- groups and owners ------------------------------------------------------------------------


@as_root
@pytest.mark.parametrize("members", [[], ["root"], ["other"]])
@pytest.mark.parametrize("primary", [False, True])
@pytest.mark.parametrize("name", ["staff", "stuff"])
def test_debians_group_for_usr_local_counts_only_with_a_member(
    name: str,
    members: list[str],
    primary: bool,  # noqa: FBT001 - a column of the table
    ring_directory: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import grp
    import pwd

    os.chown(ring_directory, 0, 50)
    ring_directory.chmod(0o2775)
    everybody = [
        pwd.struct_passwd(("root", "x", 0, 0, "", "/", "/bin/sh")),
        pwd.struct_passwd(("other", "x", 12345, 50 if primary else 12345, "", "/", "/bin/sh")),
    ]
    monkeypatch.setattr(grp, "getgrgid", lambda gid: grp.struct_group((name, "x", gid, members)))
    monkeypatch.setattr(pwd, "getpwall", lambda: everybody)
    if name == "staff" and "other" not in members and not primary:
        assert open_keyring(ring_directory)
    else:
        with pytest.raises(KeyPermissionError, match="its group can replace"):
            open_keyring(ring_directory)


UNMAPPED = """
import os, sys
from pathlib import Path
from pickleseal import KeyPermissionError, open_keyring
from pickleseal.keys.store import access

folder = Path(sys.argv[1])
assert access.is_unmapped(os.stat(folder).st_uid)
assert not access.is_unmapped(0)
assert open_keyring(folder / "mine" / "ring")
for other in ("theirs", "open"):
    try:
        open_keyring(folder / other / "ring")
    except KeyPermissionError as error:
        print(error)
"""


@as_root
@pytest.mark.skipif(shutil.which("unshare") is None, reason="no user namespaces")
def test_an_owner_whom_the_user_namespace_does_not_know_may_own_folders(tmp_path: Path) -> None:
    """In Apptainer, Flatpak and `unshare` root's folders show the owner of nobody's."""
    for name in ("mine", "theirs", "open"):
        create_key(tmp_path / name / "ring", now=0)
    (key,) = (tmp_path / "theirs").rglob("*.key")
    for place in (tmp_path, tmp_path / "mine", tmp_path / "open", key):
        os.chown(place, STRANGER, STRANGER)
        place.chmod(0o755)
    (tmp_path / "open").chmod(0o777)
    command: list[str | Path] = [
        "unshare",
        "--user",
        "--map-root-user",
        sys.executable,
        "-c",
        UNMAPPED,
        tmp_path,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "unshare failed" in done.stderr:
        pytest.skip(done.stderr)
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert "belongs to the user with id 65534" in first, "a key file is never one's own"
    assert "others can replace" in second


OURS, THEIRS = 1, 2
LISTED = (OWNER, 6, NOBODY), (OWNING_GROUP, 6, NOBODY), (MASK, 6, NOBODY), (OTHERS, 0, NOBODY)


@pytest.mark.skipif(not hasattr(os, "getxattr"), reason="lists are read on Linux alone")
@pytest.mark.parametrize(
    ("data", "group", "told"),
    [
        (acl(*LISTED), OURS, []),
        (acl(*LISTED), THEIRS, ["its group"]),
        (acl(*LISTED, (GROUP, 6, OURS)), OURS, []),
        (acl(*LISTED, (GROUP, 6, THEIRS)), OURS, [f"the group with id {THEIRS}"]),
        (acl(*LISTED, (USER, 6, STRANGER)), OURS, [f"the user with id {STRANGER}"]),
        (acl(*LISTED)[:-1], OURS, ["whoever is named in its damaged access control list"]),
    ],
)
def test_each_entry_of_a_list_counts_by_whom_it_names(
    data: bytes, group: int, told: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the file system of the tests has lists, the tests above try real ones."""
    monkeypatch.setattr(access, "is_nobody_else", lambda gid, _: gid == OURS)
    monkeypatch.setattr(os, "getxattr", lambda *_: data)
    path = tmp_path / "it"
    path.touch()
    path.chmod(0o660)
    status = list(path.stat())
    status[5] = group
    found = [other.name for other in access.others(os.stat_result(status), path, 0o6)]
    assert [name.split(",")[0] for name in found] == told


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no FIFOs")
def test_what_is_no_regular_file_is_not_even_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Opening a device can have effects: a tape is rewound."""
    os.mkfifo(tmp_path / "it", 0o600)
    tmp_path.chmod(0o700)
    with monkeypatch.context() as patched:
        patched.setattr(os, "open", lambda *_, **__: pytest.fail("it was opened"))
        with pytest.raises(KeyPermissionError, match="not a regular file"):
            permissions.read_guarded(tmp_path / "it", secret=False, group_read=True, limit=10)


def test_no_more_is_read_than_the_limit(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    (tmp_path / "it").write_bytes(b"0123456789")
    (tmp_path / "it").chmod(0o600)
    for limit in (1, 9, 10, 11):
        data = permissions.read_guarded(tmp_path / "it", secret=False, group_read=True, limit=limit)
        assert data == b"0123456789"[:limit]


def test_links_are_followed_as_far_as_the_system_follows_them(tmp_path: Path) -> None:
    (tmp_path / "0").mkdir()
    for number in range(41):
        (tmp_path / f"{number + 1}").symlink_to(f"{number}")
    assert permissions.checked_way(tmp_path / "40") == tmp_path / "0"
    with pytest.raises(OSError, match="symbolic links"):
        permissions.checked_way(tmp_path / "41")


def test_a_file_in_the_place_of_a_folder_is_no_folder_to_mend(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "file").chmod(0o602)
    (fault,) = permissions.folder_faults(tmp_path / "file" / "below")
    assert fault.problem == "is not a folder, and others can change it"


@pytest.mark.parametrize("name", ["it's\x1b", "back\\slash\a", "caf\u00e9\x1b"])
def test_a_quoted_path_acts_on_no_terminal_and_is_the_path_still(name: str) -> None:
    text = permissions.quoted(Path(name))
    assert text.isprintable()
    done = subprocess.run(["bash", "-c", f"printf %s {text}"], capture_output=True, check=True)
    assert os.fsdecode(done.stdout) == name
