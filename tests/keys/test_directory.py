"""A keyring's directory: its index and its key files."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rings import change_index, index_of, key_file, key_of

from pickleseal import (
    Key,
    Keyring,
    KeyringError,
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
from pickleseal.keys.store.changes import create_key
from pickleseal.keys.store.directory import INDEX


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


def test_a_passphrase_itself_is_no_function_that_returns_one(ring_directory: Path) -> None:
    with pytest.raises(TypeError):
        open_keyring(ring_directory, passphrase="secret")  # type: ignore[arg-type]
