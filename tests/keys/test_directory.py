"""Where keys are kept: directories, permissions, and which one is used."""

import json
import os
import shutil
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pickleseal import (
    Key,
    KeyPermissionError,
    Keyring,
    KeyringError,
    NoKeyError,
    RevokedKeyError,
    Suite,
    UnknownKeyError,
    open_keyring,
    signed_dumps,
    signed_loads,
)
from pickleseal.keys.key import KeyLine
from pickleseal.keys.roster import State
from pickleseal.keys.store import permissions
from pickleseal.keys.store.changes import Made, command_line, create_key
from pickleseal.keys.store.directory import INDEX
from pickleseal.keys.store.lookup import find_keyring, keyring_directory

posix = pytest.mark.skipif(not permissions.CHECKED, reason="this system has no modes")
as_root = pytest.mark.skipif(
    not permissions.CHECKED or os.geteuid() != 0, reason="only root can give files away"
)


def key_file(folder: Path) -> Path:
    (file,) = folder.glob("*.key")
    return file


def key_of(made: Made) -> Key:
    return Key.parse(KeyLine(made.path.read_text()))


def index_of(folder: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((folder / INDEX).read_text())
    return loaded


def change_index(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    index = index_of(folder)
    change(index)
    (folder / INDEX).write_text(json.dumps(index))


# --- a directory -----------------------------------------------------------------------------


def test_a_new_ring_has_one_primary_key_and_files_for_nobody_else(tmp_path: Path) -> None:
    created = create_key(tmp_path / "a" / "ring", suite=Suite.SHA256, note="mine", now=1234)
    folder = tmp_path / "a" / "ring"
    ring = open_keyring(folder)
    assert created.is_primary
    assert ring.primary == created.entry.id
    entry = ring.entries[created.entry.id]
    assert (entry.state, entry.suite, entry.created, entry.note) == (
        State.ACTIVE,
        Suite.SHA256,
        1234,
        "mine",
    )
    assert created.path == folder / f"{entry.id}.key"
    if permissions.CHECKED:
        assert folder.stat().st_mode & 0o777 == 0o700
        assert created.path.stat().st_mode & 0o777 == 0o600
        assert (folder / INDEX).stat().st_mode & 0o777 == 0o600


def test_a_further_key_opens_and_leaves_the_primary_alone(ring_directory: Path) -> None:
    first = open_keyring(ring_directory).primary
    second = create_key(ring_directory, suite=Suite.BLAKE3, note="", now=1)
    assert not second.is_primary
    ring = open_keyring(ring_directory)
    assert ring.primary == first
    data = signed_dumps(1, keyring=Keyring(key_of(second)))
    assert signed_loads(data, keyring=ring) == 1


def test_git_is_told_to_leave_the_keys_alone(ring_directory: Path) -> None:
    subprocess.run(["git", "init", "-q", ring_directory], check=True)
    done = subprocess.run(
        ["git", "-C", ring_directory, "status", "--porcelain", "-uall"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["??", ".gitignore"]


def test_a_stray_key_file_is_nothing(ring_directory: Path) -> None:
    line = KeyLine.generate()
    stray = Key.parse(line)
    path = ring_directory / f"{stray.id}.key"
    path.write_text(line.reveal())
    path.chmod(0o600)
    data = signed_dumps(1, keyring=Keyring(stray))
    with pytest.raises(UnknownKeyError):
        signed_loads(data, keyring=ring_directory)


def test_a_revoked_key_stays_revoked_though_its_file_is_there(ring_directory: Path) -> None:
    other = create_key(ring_directory, suite=Suite.BLAKE3, note="", now=1)
    data = signed_dumps(1, keyring=Keyring(key_of(other)))
    assert signed_loads(data, keyring=ring_directory) == 1
    change_index(ring_directory, lambda i: i["keys"][other.entry.id].update(state="revoked"))
    assert other.path.exists()
    with pytest.raises(RevokedKeyError):
        signed_loads(data, keyring=ring_directory)
    other.path.unlink()
    with pytest.raises(RevokedKeyError):
        signed_loads(data, keyring=ring_directory)


BROKEN: dict[str, Callable[[dict[str, Any]], object]] = {
    "another format": lambda i: i.update(format="pickleseal-keyring-2"),
    "a field too many": lambda i: i.update(trusted=True),
    "a field missing": lambda i: i.pop("epoch"),
    "an epoch that is no number": lambda i: i.update(epoch="1"),
    "an epoch that is true": lambda i: i.update(epoch=True),
    "an unknown primary": lambda i: i.update(primary="0" * 32),
    "a primary that is no text": lambda i: i.update(primary=["x"]),
    "a retired primary": lambda i: i["keys"][i["primary"]].update(state="retired"),
    "a state of its own": lambda i: i["keys"][i["primary"]].update(state="trusted"),
    "another suite": lambda i: i["keys"][i["primary"]].update(suite=1),
    "an unknown suite": lambda i: i["keys"][i["primary"]].update(suite=3),
    "a key id that is a path": lambda i: i["keys"].update({"../x": {}}),
    "an entry that is no table": lambda i: i["keys"].update({"0" * 32: 7}),
    "an entry with a secret": lambda i: i["keys"][i["primary"]].update(key="x"),
    "keys that are a list": lambda i: i.update(keys=[]),
    "a state that is a list": lambda i: i["keys"][i["primary"]].update(state=["active"]),
    "a state that is a table": lambda i: i["keys"][i["primary"]].update(state={}),
    "a last primary beside a primary": lambda i: i.update(last_primary=i["primary"]),
    "an unknown last primary": lambda i: i.update(primary=None, last_primary="0" * 32),
    "a last primary that is active": lambda i: i.update(primary=None, last_primary=i["primary"]),
    "a listed key without a file": lambda i: i["keys"].update(
        {"0" * 32: {"suite": 2, "state": "active"}}
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_damaged_index_is_refused(name: str, ring_directory: Path) -> None:
    change_index(ring_directory, BROKEN[name])
    with pytest.raises(KeyringError):
        open_keyring(ring_directory)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", "\ufeff{}", "{'a': 1}", "[" * 100_000, '"\ud800"', "1" * 5000]
)
def test_an_index_that_is_no_table_is_refused(text: str, ring_directory: Path) -> None:
    (ring_directory / INDEX).write_text(text, encoding="utf-8", errors="surrogatepass")
    with pytest.raises(KeyringError):
        open_keyring(ring_directory)


@pytest.mark.parametrize("name", ['"state"', '"keys"', '"epoch"', '"primary"'])
def test_an_index_that_names_something_twice_is_refused(name: str, ring_directory: Path) -> None:
    text = (ring_directory / INDEX).read_text()
    start = text.index(name)
    value = json.JSONDecoder().raw_decode(text, text.index(":", start) + 2)[1]
    (ring_directory / INDEX).write_text(f"{text[:value]},\n{text[start:value]}{text[value:]}")
    json.loads((ring_directory / INDEX).read_text())  # which takes the last one
    with pytest.raises(KeyringError):
        open_keyring(ring_directory)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-8-sig"])
def test_an_index_in_another_encoding_is_refused(encoding: str, ring_directory: Path) -> None:
    text = (ring_directory / INDEX).read_text()
    (ring_directory / INDEX).write_bytes(text.encode(encoding))
    with pytest.raises(KeyringError):
        open_keyring(ring_directory)


def test_a_key_file_under_the_name_of_another_is_refused(ring_directory: Path) -> None:
    line = KeyLine.generate()
    key_file(ring_directory).write_text(line.reveal())
    with pytest.raises(KeyringError):
        open_keyring(ring_directory)


def test_keys_made_at_once_are_all_kept(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib, pickleseal as ps\n"
        "from pickleseal.keys.store.changes import create_key\n"
        "for n in range(5):"
        " create_key(pathlib.Path(sys.argv[1]), suite=ps.Suite.BLAKE3, note='', now=n)\n"
    )
    folder = tmp_path / "ring"
    children = [subprocess.Popen([sys.executable, "-c", code, str(folder)]) for _ in range(4)]
    assert [child.wait() for child in children] == [0] * 4
    ring = open_keyring(folder)
    assert len(ring.entries) == 20
    assert index_of(folder)["epoch"] == 20
    assert len(list(folder.glob("*.key"))) == 20
    assert not list(folder.glob("*.tmp"))


# --- permissions -----------------------------------------------------------------------------


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


# --- which ring is used ----------------------------------------------------------------------


@pytest.fixture
def rings(tmp_path: Path) -> list[Path]:
    folders = [tmp_path / name for name in ("given", "variable", "own/pickleseal/keyring")]
    for folder in folders:
        create_key(folder, suite=Suite.BLAKE3, note="", now=0)
    return folders


def test_the_argument_comes_first_then_the_variables_then_the_users_own(
    rings: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [open_keyring(folder).primary for folder in rings]
    line = KeyLine.generate().reveal()
    with pytest.raises(NoKeyError):
        find_keyring()
    if sys.platform == "linux":
        monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "own"))
        assert find_keyring().primary == ids[2]
    monkeypatch.setenv("PICKLESEAL_KEY", line)
    assert find_keyring().primary == line[-32:]
    monkeypatch.setenv("PICKLESEAL_KEYRING", str(rings[1]))
    assert find_keyring().primary == ids[1]
    assert find_keyring(rings[0]).primary == ids[0]
    assert find_keyring(str(rings[0])).primary == ids[0]
    ring = Keyring(Key.generate())
    assert find_keyring(ring) is ring


@pytest.mark.parametrize(
    ("directory", "error"),
    [
        ("", KeyringError),
        ("pickleseal-key-1.2", KeyringError),
        (None, TypeError),
        (b"ring", TypeError),
    ],
)
def test_what_names_no_folder_is_told_and_is_not_the_current_folder(
    directory: Any, error: type[Exception], ring_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ring_directory)
    with pytest.raises(error, match=r"empty|key line|takes the path of a directory, not"):
        open_keyring(directory)


def test_a_missing_key_file_is_told_with_the_ring_to_mend(ring_directory: Path) -> None:
    (file,) = ring_directory.glob("*.key")
    file.unlink()
    mend = f"not copied .* If it is lost: .* --reason lost --keyring {ring_directory}"
    with pytest.raises(KeyringError, match=mend):
        open_keyring(ring_directory)


@posix
def test_a_tilde_in_an_argument_is_the_home_directory(
    ring_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(ring_directory.parent))
    assert find_keyring(f"~/{ring_directory.name}").primary is not None
    assert keyring_directory("~/new") == ring_directory.parent / "new"


def test_a_tilde_that_stands_for_no_home_is_not_a_folder_here(
    ring_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (ring_directory.parent / "~nobody-is-called-this").symlink_to(ring_directory)
    monkeypatch.chdir(ring_directory.parent)
    with pytest.raises(KeyringError):
        open_keyring("~nobody-is-called-this")


NOBODY = ["unshare", "--user", "--map-user=54321", "--map-group=54321"]
"""Runs a program as a user whose id has no name, as some clusters start containers."""


def has_nobody() -> bool:
    if shutil.which("unshare") is None:
        return False
    return subprocess.run([*NOBODY, "true"], capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not has_nobody(), reason="there is no user without a name here")
def test_a_user_without_name_and_home_is_told_what_to_set(tmp_path: Path) -> None:
    code = (
        "import pickleseal\n"
        "for call in (lambda: pickleseal.signed_dumps(1), lambda: pickleseal.signed_load('a')):\n"
        "    try: call()\n"
        "    except pickleseal.KeyringError as error: print(error)\n"
        "(finding,) = pickleseal.audit('a')\n"
        "print(finding.verdict, pickleseal.inspect('a').status)\n"
    )
    (tmp_path / "a").write_bytes(signed_dumps(1, keyring=Keyring(Key.generate())))

    def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*NOBODY, sys.executable, *arguments],
            capture_output=True,
            text=True,
            check=False,
            env={"PATH": os.environ["PATH"], **variables},
            cwd=tmp_path,
        )

    done = run("-c", code)
    assert done.returncode == 0, done.stderr
    dumped, loaded, judged = done.stdout.splitlines()
    assert judged == "unknown key unverified"
    for told in (dumped, loaded):
        assert "PICKLESEAL_KEYRING" in told
        assert "PICKLESEAL_KEY " in told
    for command in (["keygen"], ["keys", "list"], ["verify", "a"], ["keys", "doctor"]):
        done = run("-m", "pickleseal", *command)
        assert done.returncode == 2
        assert "PICKLESEAL_KEYRING" in done.stderr
        assert "Traceback" not in done.stderr
    assert run("-m", "pickleseal", "audit", "a").returncode == 1
    assert "unverified" in run("-m", "pickleseal", "inspect", "a").stdout.lower()
    line = KeyLine.generate().reveal()
    done = run("-c", "import pickleseal; pickleseal.signed_dumps(1)", PICKLESEAL_KEY=line)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_key_lines_in_the_environment_seal_with_the_first_and_open_with_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lines = [KeyLine.generate(suite) for suite in (Suite.BLAKE3, Suite.SHA256, Suite.BLAKE3)]
    keys = [Key.parse(line) for line in lines]
    texts = [line.reveal() for line in lines]
    monkeypatch.setenv("PICKLESEAL_KEY", f"  {texts[0]}\n\n{texts[1]} {texts[2]}\t{texts[0]}\n")
    assert signed_dumps(1)[16:32] == keys[0].raw_id
    for key in keys:
        assert signed_loads(signed_dumps("x", keyring=Keyring(key))) == "x"
    monkeypatch.setenv("PICKLESEAL_KEY", texts[1])
    with pytest.raises(UnknownKeyError):
        signed_loads(signed_dumps("x", keyring=Keyring(keys[0])))


@pytest.mark.parametrize(
    "value",
    ["", "  \n", "nonsense", KeyLine.generate().reveal()[:-1]],
    ids=["empty", "blank", "nonsense", "cut"],
)
def test_key_lines_that_are_none_are_refused_and_nothing_else_is_tried(
    value: str, rings: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "own"))
    monkeypatch.setenv("PICKLESEAL_KEY", value)
    with pytest.raises(KeyringError):
        find_keyring()


@pytest.mark.parametrize("value", ["", "keys", "./keys", "../keys", "~/keys"])
def test_the_variable_takes_an_absolute_path_alone(
    value: str, rings: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PICKLESEAL_KEYRING", value)
    monkeypatch.setenv("PICKLESEAL_KEY", KeyLine.generate().reveal())
    for find in (find_keyring, keyring_directory):
        with pytest.raises(KeyringError, match="absolute path" if value else "set and empty"):
            find()


def test_a_ring_that_is_missing_is_refused_and_nothing_else_is_tried(
    rings: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PICKLESEAL_KEYRING", str(tmp_path / "nothing"))
    monkeypatch.setenv("PICKLESEAL_KEY", KeyLine.generate().reveal())
    with pytest.raises(KeyringError):
        find_keyring()


def test_an_open_ring_is_kept_and_read_again_when_it_changes(
    ring_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PICKLESEAL_KEYRING", str(ring_directory))
    ring = find_keyring()
    assert find_keyring() is ring
    assert find_keyring(ring_directory) is ring
    other = create_key(ring_directory, suite=Suite.BLAKE3, note="", now=0)
    assert other.entry.id in find_keyring().entries


def test_a_line_in_the_variable_that_names_a_command_is_refused_and_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "fetch"
    mark = tmp_path / "mark"
    script.write_text(f"#!/bin/sh\ntouch '{mark}'\necho {KeyLine.generate().reveal()}\n")
    script.chmod(0o700)
    line = command_line([str(script)])
    mark.unlink()
    monkeypatch.setenv("PICKLESEAL_KEY", line.reveal())
    with pytest.raises(KeyringError):
        signed_dumps(1)
    assert not mark.exists()


def test_a_running_server_takes_notice_of_a_revocation(ring_directory: Path) -> None:
    other = create_key(ring_directory, suite=Suite.BLAKE3, note="", now=1)
    data = signed_dumps("sealed", keyring=Keyring(key_of(other)))
    outcomes: list[object] = []
    ready, revoked = threading.Event(), threading.Event()

    def serve() -> None:
        outcomes.append(signed_loads(data, keyring=ring_directory))
        ready.set()
        revoked.wait()
        try:
            outcomes.append(signed_loads(data, keyring=ring_directory))
        except RevokedKeyError:
            outcomes.append("refused")

    server = threading.Thread(target=serve)
    server.start()
    ready.wait()
    change_index(ring_directory, lambda i: i["keys"][other.entry.id].update(state="revoked"))
    revoked.set()
    server.join()
    assert outcomes == ["sealed", "refused"]


def test_a_relative_path_means_the_ring_of_the_folder_one_is_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sealed = []
    for name in ("one", "two"):
        create_key(tmp_path / name / "ring", suite=Suite.BLAKE3, note="", now=0)
        monkeypatch.chdir(tmp_path / name)
        sealed.append(signed_dumps(name, keyring="ring"))
    with pytest.raises(UnknownKeyError):
        signed_loads(sealed[0], keyring="ring")
    assert signed_loads(sealed[1], keyring="ring") == "two"
    monkeypatch.chdir(tmp_path / "one")
    assert signed_loads(sealed[0], keyring="ring") == "one"
