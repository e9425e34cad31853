"""A keyring's directory: its index and its key files."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rings import NOW, change_index, index_of, key_file, key_of, primary_of

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
from pickleseal.keys.store import changes, directory, permissions
from pickleseal.keys.store.changes import create_key
from pickleseal.keys.store.directory import INDEX, changing, read_roster


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
    with pytest.raises(KeyringError, match="holds another key"):
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


def test_the_epoch_that_is_required_stops_a_new_ring_and_no_other_change(
    ring_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = changes.create_key(ring_directory, now=NOW)
    assert made.entry.id in read_roster(ring_directory).entries
    monkeypatch.setenv("PICKLESEAL_MIN_EPOCH", str(read_roster(ring_directory).pin))
    changes.create_key(ring_directory, now=NOW)
    with pytest.raises(KeyringError):
        changes.create_key(tmp_path / "new", now=NOW)
    assert not (tmp_path / "new").exists()
    with changing(tmp_path / "restored", create=True, restoring=True):
        pass
    with pytest.raises(KeyringError, match="no keyring"):
        changes.rotate(tmp_path / "none", now=NOW)


def test_no_ring_is_made_beside_the_key_files_of_another(ring_directory: Path) -> None:
    (ring_directory / INDEX).unlink()
    with pytest.raises(KeyringError, match="there are key files"):
        changes.create_key(ring_directory, now=NOW)
    assert not (ring_directory / INDEX).exists()


def test_a_folder_without_a_ring_is_not_rotated(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir(mode=0o700)
    with pytest.raises(KeyringError):
        changes.rotate(tmp_path / "empty", now=NOW)
    assert not list((tmp_path / "empty").glob("*.key"))


def test_a_gitignore_that_a_new_ring_finds_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "ring").mkdir(mode=0o700)
    (tmp_path / "ring" / ".gitignore").write_text("mine")
    changes.create_key(tmp_path / "ring", now=NOW)
    assert (tmp_path / "ring" / ".gitignore").read_text() == "mine"


def test_a_key_of_the_ring_is_not_added_again(ring_directory: Path) -> None:
    (file,) = ring_directory.glob("*.key")
    with pytest.raises(KeyringError), changing(ring_directory) as change:
        change.add_key(KeyLine(file.read_text().strip()))
    assert open_keyring(ring_directory).primary == file.stem


def test_an_error_without_a_number_is_passed_on(
    ring_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object, **__: object) -> None:
        raise OSError("no number")

    monkeypatch.setattr(directory, "write_private", failing)
    with pytest.raises(OSError, match="no number"):
        changes.create_key(ring_directory, now=NOW)


def test_an_index_is_written_up_to_the_size_that_is_read(
    ring_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    after = read_roster(ring_directory).annotate(primary_of(ring_directory), "a note")
    for size, fits in ((len(after.encode()) - 1, False), (len(after.encode()), True)):
        monkeypatch.setattr(directory, "_MAX_INDEX", size)
        with changing(ring_directory) as change:
            if fits:
                change.save(after)
            else:
                with pytest.raises(KeyringError, match="too many"):
                    change.save(after)
    assert read_roster(ring_directory) == after


def test_a_roster_that_would_be_read_as_another_is_not_written(ring_directory: Path) -> None:
    roster, key_id = read_roster(ring_directory), primary_of(ring_directory)
    entry = roster.entries[key_id]._replace(contexts=["a"])  # type: ignore[arg-type]
    with changing(ring_directory) as change, pytest.raises(KeyringError, match="be written"):
        change.save(roster._replace(entries={key_id: entry}))
    assert read_roster(ring_directory) == roster


def test_an_index_that_another_program_changed_is_not_replaced(ring_directory: Path) -> None:
    """As one could that removed the lock of a change which takes long."""
    with changing(ring_directory) as change:
        change_index(ring_directory, lambda i: i.update(epoch=9))
        with pytest.raises(KeyringError, match="another program"):
            change.save(change.roster.annotate(primary_of(ring_directory), "mine"))
    assert read_roster(ring_directory).epoch == 9


def test_a_key_is_listed_where_keyring_json_lists_it_or_cannot_be_read(
    ring_directory: Path,
) -> None:
    key_id = primary_of(ring_directory)
    with changing(ring_directory) as change:
        assert change.is_listed(key_id)
        assert not change.is_listed("1" * 32)
        (ring_directory / INDEX).rename(ring_directory / "elsewhere")
        assert not change.is_listed(key_id)
        (ring_directory / INDEX).write_text("damaged")
        assert change.is_listed("1" * 32)
        (ring_directory / "elsewhere").rename(ring_directory / INDEX)
