"""The commands that messages name are run as they stand: each leads on, none needs an edit."""

import ast
import hashlib
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from command import call
from rings import NOW, PASS, primary_of, revoke

import pickleseal
from pickleseal import open_keyring, signed_dump, signed_dumps, signed_load
from pickleseal.keys.passphrase import Passphrase
from pickleseal.keys.store import changes
from pickleseal.keys.store.changes import Storage, change_roster
from pickleseal.keys.store.directory import INDEX, RingFiles, key_path, read_roster
from pickleseal.keys.store.lines import Opener

SOURCE = Path(pickleseal.__file__).parent


def hints(text: str) -> list[str]:
    """Return the commands in a message: those between backticks, and those alone in a row."""
    rows = re.findall(r"^(?:\w+)? {2,}(pickleseal .+)$", text, re.MULTILINE)
    return [*re.findall(r"`(pickleseal [^`]+)`", text), *rows]


def paste(hint: str) -> None:
    name, *arguments = shlex.split(hint)
    assert name == "pickleseal"
    done = call(*arguments)
    assert done.returncode == 0, f"{hint}\n{done.stderr}"


def error_of(act: Callable[[], object]) -> str:
    with pytest.raises(pickleseal.PicklesealError) as caught:
        act()
    return str(caught.value)


def told_by(*arguments: object) -> str:
    done = call(*arguments)
    return done.stdout + done.stderr


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


@pytest.fixture
def ring(tmp_path: Path) -> Path:
    """Return a ring whose path must be quoted."""
    folder = tmp_path / "it's my $ring"
    changes.create_key(folder, now=NOW)
    return folder


def option(ring: Path) -> tuple[str, str]:
    return ("--keyring", str(ring))


def test_no_key_yet() -> None:
    (make,) = hints(error_of(lambda: signed_dumps(1)))
    paste(make)
    assert signed_dumps(1)


@pytest.mark.parametrize("here", ["none", "no such folder", "another ring", "the variable"])
def test_a_load_without_the_key_says_how_to_bring_it(
    here: str, ring: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the key that sealed the file is brought, not all of the other ring."""
    changes.rotate(ring, now=NOW)
    data = signed_dumps("mine", keyring=ring)
    place: Path | None = tmp_path / "over there"
    if here == "another ring":
        changes.create_key(tmp_path / "over there", now=NOW)
    elif here == "none":
        place = None
    elif here == "the variable":
        monkeypatch.setenv("PICKLESEAL_KEYRING", str(place))
        place = None
    export, import_ = hints(error_of(lambda: signed_load_bytes(data, place)))
    with monkeypatch.context() as there:
        there.setenv("PICKLESEAL_KEYRING", str(ring))
        paste(export)
    paste(import_)
    assert signed_load_bytes(data, place) == "mine"
    used = read_roster(lookup_directory(place))
    assert set(used.entries) & set(read_roster(ring).entries) == {primary_of(ring)}


def signed_load_bytes(data: bytes, ring: Path | None) -> object:
    return pickleseal.signed_loads(data, keyring=ring)


def lookup_directory(ring: Path | None) -> Path:
    from pickleseal.keys.store.lookup import keyring_directory

    return keyring_directory(ring)


@pytest.mark.parametrize("command", ["verify", "reseal", "extract", "audit"])
def test_a_command_without_a_keyring_leads_to_the_keys_or_to_a_first_one(
    command: str, ring: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    signed_dump("mine", "PATH", keyring=ring)
    more = {"extract": ["--to", "out"], "audit": ["--baseline", "PATH"]}.get(command, [])
    text = told_by(command, "PATH", *more)
    assert "set PICKLESEAL_KEYRING" in text
    export, import_, make = hints(text)
    with monkeypatch.context() as there:
        there.setenv("PICKLESEAL_KEYRING", str(ring))
        paste(export)
    paste(import_)
    assert signed_load("PATH") == "mine"
    paste(f"{make} --add")


def test_the_users_own_keyring_needs_no_option(tmp_path: Path) -> None:
    own = tmp_path / "data" / "pickleseal" / "keyring"
    assert "--keyring" not in error_of(lambda: signed_load_bytes(b"", own))
    assert call("keygen").returncode == 0
    revoke(own, primary_of(own))
    (rotate,) = hints(error_of(lambda: signed_dumps(1)))
    assert rotate == "pickleseal keys rotate"
    assert hints(error_of(lambda: signed_dumps(1, keyring=own))) == [rotate]
    fixes = told_by("keys", "doctor")
    assert "pickleseal keys rotate" in fixes
    assert "--keyring" not in fixes
    paste(rotate)
    assert signed_dumps(1)


@pytest.mark.parametrize("variable", ["PICKLESEAL_KEYRING", "PICKLESEAL_KEY"])
def test_the_users_own_keyring_is_named_where_a_variable_leads_elsewhere(
    variable: str, ring: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "data" / "pickleseal" / "keyring"
    changes.create_key(own, now=NOW)
    monkeypatch.setenv(variable, str(ring))
    revoke(own, primary_of(own))
    (rotate,) = hints(error_of(lambda: signed_dumps(1, keyring=own)))
    paste(rotate)
    assert signed_dumps(1, keyring=own)


def test_a_ring_that_has_a_primary(ring: Path) -> None:
    found = hints(told_by("keygen", *option(ring)))
    assert len(found) == 2
    for hint in found:
        paste(hint)
    assert len(read_roster(ring).entries) == 3


def test_a_rotation_names_what_others_need_and_what_is_left(
    ring: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    signed_dump(1, "PATH", keyring=ring)
    monkeypatch.setenv("PICKLESEAL_NEW_PASSPHRASE", PASS)
    backup, export, import_, reseal = hints(told_by("keys", "rotate", *option(ring)))
    paste(backup)
    paste(export)
    with monkeypatch.context() as there:
        there.setenv("PICKLESEAL_KEYRING", str(tmp_path / "other"))
        paste(import_)
    paste(reseal)
    assert signed_load("PATH", keyring=tmp_path / "other") == 1


def test_a_rotation_that_waits(ring: Path) -> None:
    assert call("keys", "rotate", "--from", "2096-10-02", *option(ring)).returncode == 0
    old = primary_of(ring)
    (seal_now,) = hints(told_by("keys", "rotate", *option(ring)))
    paste(seal_now)
    assert primary_of(ring) != old


def test_a_key_that_was_added(ring: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PICKLESEAL_NEW_PASSPHRASE", PASS)
    backup, make_primary = hints(told_by("keygen", "--add", *option(ring)))
    paste(backup)
    paste(make_primary)


def test_a_revoked_primary(ring: Path) -> None:
    old = primary_of(ring)
    text = told_by("keys", "revoke", old, "--reason", "stolen", *option(ring))
    paste(hints(text)[-1])
    assert signed_dumps(1, keyring=ring)


def test_a_ring_that_seals_nothing(ring: Path) -> None:
    revoke(ring, primary_of(ring))
    (rotate,) = hints(error_of(lambda: signed_dumps(1, keyring=ring)))
    paste(rotate)
    key_id = primary_of(ring)
    change_roster(ring, lambda r: r.limit(key_id, sign_until=1, contexts=None))
    (rotate,) = hints(error_of(lambda: signed_dumps(1, keyring=ring)))
    paste(rotate)
    assert signed_dumps(1, keyring=ring)


@pytest.fixture
def backup(ring: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a backup in FILE."""
    monkeypatch.setenv("PICKLESEAL_NEW_PASSPHRASE", PASS)
    monkeypatch.setenv("PICKLESEAL_PASSPHRASE", PASS)
    assert call("keys", "backup", "FILE", *option(ring)).returncode == 0
    return Path("FILE")


@pytest.mark.usefixtures("backup")
@pytest.mark.parametrize("lost", ["a key file", "the index"])
def test_a_file_that_is_restored_from_a_backup(lost: str, ring: Path) -> None:
    data = signed_dumps("old", keyring=ring)
    (key_path(ring, primary_of(ring)) if lost == "a key file" else ring / INDEX).unlink()
    restore = hints(error_of(lambda: open_keyring(ring)))[0]
    paste(restore)
    assert pickleseal.signed_loads(data, keyring=ring) == "old"


@pytest.mark.parametrize("brought_by", ["the import", "a seal"])
def test_a_machine_whose_imported_key_is_revoked(
    brought_by: str, ring: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is led to the new key of the machine that makes them, and not to a third one."""
    other, old = tmp_path / "other", primary_of(ring)
    assert call("keys", "export", "-o", "old.txt", *option(ring)).returncode == 0
    assert call("keys", "import", "old.txt", *option(other)).returncode == 0
    text = told_by("keys", "revoke", old, "--reason", "stolen", *option(ring))
    export, import_, rotate = hints(text)
    paste(export)
    paste(rotate)
    told = told_by(*shlex.split(import_)[1:], *option(other))
    if brought_by == "a seal":
        told = error_of(lambda: signed_dumps(1, keyring=other))
    *_, export, import_ = hints(told)
    with monkeypatch.context() as there:
        there.setenv("PICKLESEAL_KEYRING", str(ring))
        paste(export)
    told = told_by(*shlex.split(import_)[1:])
    assert primary_of(other) == primary_of(ring)
    assert "retired" not in told, "the old key is revoked here"


def test_a_key_file_that_is_lost(ring: Path) -> None:
    key_path(ring, primary_of(ring)).unlink()
    _, revoke_it = hints(error_of(lambda: open_keyring(ring)))
    paste(revoke_it)
    (rotate,) = hints(error_of(lambda: signed_dumps(1, keyring=ring)))
    paste(rotate)
    assert signed_dumps(1, keyring=ring)


def test_a_passphrase_that_is_lost(ring: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changes.protect(
        RingFiles(ring), [primary_of(ring)], Opener(), lambda: Storage(Passphrase("a lost one"))
    )
    wrong = open_keyring(ring, passphrase=lambda: "a wrong one")
    (rotate,) = hints(error_of(lambda: signed_dumps(1, keyring=wrong)))
    monkeypatch.setenv("PICKLESEAL_NEW_PASSPHRASE", PASS)
    paste(rotate)
    monkeypatch.setenv("PICKLESEAL_PASSPHRASE", PASS)
    assert signed_dumps(1, keyring=ring)


def test_an_index_that_is_lost(ring: Path, tmp_path: Path) -> None:
    old = primary_of(ring)
    data = signed_dumps("old", keyring=ring)
    (ring / INDEX).unlink()
    _, make, bring = hints(error_of(lambda: open_keyring(ring)))
    key_path(ring, old).rename("FILE")
    paste(make)
    paste(bring)
    assert pickleseal.signed_loads(data, keyring=ring) == "old"


def test_a_file_of_a_revoked_key(ring: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PICKLESEAL_KEYRING", str(ring))
    signed_dump(1, "FILE")
    old = primary_of(ring)
    assert call("audit", "FILE", "--inventory", "INVENTORY").returncode == 0
    listed = hashlib.sha256(Path("INVENTORY").read_bytes()).hexdigest()
    revoke(ring, old)
    changes.rotate(ring, now=NOW)
    (readmit,) = hints(error_of(lambda: signed_load("FILE")))
    paste(f"{readmit} --sha256 {listed}")
    assert signed_load("FILE") == 1


def test_a_primary_cannot_be_retired(ring: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PICKLESEAL_KEYRING", str(ring))
    (rotate,) = hints(told_by("keys", "retire", primary_of(ring)))
    paste(rotate)


def test_a_key_that_is_not_there(ring: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PICKLESEAL_KEYRING", str(ring))
    (listing,) = hints(told_by("keys", "show", "f" * 32))
    paste(listing)


def messages(path: Path) -> list[str]:
    """Return the strings of a module that are no docstrings, with {} for each expression."""
    tree = ast.parse(path.read_text())
    skipped = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            skipped |= {id(part) for part in node.values}
            parts = [part.value if isinstance(part, ast.Constant) else "{}" for part in node.values]
            found.append("".join(map(str, parts)))
        elif isinstance(node, ast.Constant) and id(node) not in skipped:
            found.append(str(node.value))
    return found


@pytest.mark.once
def test_commands_in_messages_stand_alone_or_between_backticks() -> None:
    """So that a person sees where a command ends, and this file can run it."""
    command = re.compile(r"pickleseal (?:keys|keygen)\b")
    wrong = [
        f"{path.relative_to(SOURCE)}: {text}"
        for path in sorted(SOURCE.rglob("*.py"))
        for text in messages(path)
        if command.search(re.sub("`[^`]*`", "", text)) and not command.match(text)
    ]
    assert not wrong
