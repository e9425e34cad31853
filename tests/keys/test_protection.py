"""Keys behind a passphrase: how they are put there, opened and taken out."""

import subprocess
import sys
from pathlib import Path

import pytest
from rings import NOW, PASS, command_line, primary_of, rotate

from pickleseal import (
    Key,
    KeyringError,
    WrongPassphraseError,
    open_keyring,
    signed_dumps,
    signed_loads,
)
from pickleseal.keys.key import Form, KeyLine, outline
from pickleseal.keys.passphrase import Passphrase
from pickleseal.keys.store import changes, terminal
from pickleseal.keys.store.changes import Storage, change_roster, import_keys
from pickleseal.keys.store.directory import RingFiles, key_path, read_line, read_roster
from pickleseal.keys.store.lines import Opener

# --- passphrases ---------------------------------------------------------------------------------


def forms(folder: Path) -> set[Form]:
    return {outline(read_line(folder, i)).form for i in read_roster(folder).entries}


def test_protected_keys_open_with_the_passphrase_which_is_asked_for_once(protected: Path) -> None:
    assert forms(protected) == {Form.SCRYPT}
    asked: list[int] = []

    def ask() -> str:
        asked.append(1)
        return PASS

    ring = open_keyring(protected, passphrase=ask)
    assert not asked, "nothing is asked for before a key is used"
    for _ in range(3):
        assert signed_loads(signed_dumps(1, keyring=ring), keyring=ring) == 1
    for key_id in ring.entries:
        key = ring.key(key_id)
        assert key is not None
        key.mac(b"x" * 96)
    assert len(asked) == 1


def test_a_wrong_passphrase_opens_nothing(protected: Path) -> None:
    ring = open_keyring(protected, passphrase=lambda: "wrong")
    with pytest.raises(WrongPassphraseError):
        signed_dumps(1, keyring=ring)


def test_the_passphrase_comes_from_the_environment_or_a_command(
    protected: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PICKLESEAL_PASSPHRASE", PASS)
    data = signed_dumps(1, keyring=open_keyring(protected))
    monkeypatch.delenv("PICKLESEAL_PASSPHRASE")
    script = tmp_path / "ask me"
    script.write_text(f"#!/bin/sh\nprintf '%s\\n' '{PASS}'\n")
    script.chmod(0o700)
    monkeypatch.setenv("PICKLESEAL_PASSPHRASE_COMMAND", f"'{script}'")
    assert signed_loads(data, keyring=open_keyring(protected)) == 1
    for command in ("relative", "'", str(tmp_path / "none")):
        monkeypatch.setenv("PICKLESEAL_PASSPHRASE_COMMAND", command)
        with pytest.raises(KeyringError):
            signed_loads(data, keyring=open_keyring(protected))


def test_without_a_terminal_or_a_variable_the_error_says_what_to_set(protected: Path) -> None:
    code = (
        "import sys, pickleseal\n"
        "try: pickleseal.signed_dumps(1, keyring=sys.argv[1])\n"
        "except pickleseal.KeyringError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(protected)],
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "PICKLESEAL_PASSPHRASE" in done.stdout


def test_a_server_asks_no_more_after_a_rotation(
    protected: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PICKLESEAL_PASSPHRASE", PASS)
    data = signed_dumps(1, keyring=protected)
    rotate(protected)
    monkeypatch.delenv("PICKLESEAL_PASSPHRASE")
    monkeypatch.setattr(terminal, "is_there", lambda: False)
    assert signed_loads(data, keyring=protected) == 1


def test_a_rotation_keeps_the_new_key_as_the_old_one_was(protected: Path) -> None:
    storage = changes.like_primary(RingFiles(protected), Opener(lambda: PASS))
    made = changes.rotate(protected, now=NOW, storage=storage)
    assert forms(protected) == {Form.SCRYPT}
    ring = open_keyring(protected, passphrase=lambda: PASS)
    assert signed_dumps(1, keyring=ring)[16:32].hex() == made.entry.id
    with pytest.raises(WrongPassphraseError):
        changes.like_primary(RingFiles(protected), Opener(lambda: "wrong"))


def test_one_passphrase_takes_the_place_of_another(protected: Path) -> None:
    ids = list(read_roster(protected).entries)
    changes.protect(
        RingFiles(protected), ids, Opener(lambda: PASS), lambda: Storage(Passphrase("another one"))
    )
    for text, good in ((PASS, False), ("another one", True)):
        ring = open_keyring(protected, passphrase=lambda text=text: text)  # type: ignore[misc]
        if good:
            assert signed_dumps(1, keyring=ring)
        else:
            with pytest.raises(WrongPassphraseError):
                signed_dumps(1, keyring=ring)


def test_protection_is_taken_off_again_and_a_wrong_passphrase_changes_nothing(
    protected: Path,
) -> None:
    before = {path: path.read_bytes() for path in protected.iterdir()}
    ids = list(read_roster(protected).entries)
    with pytest.raises(WrongPassphraseError):
        changes.protect(RingFiles(protected), ids, Opener(lambda: "wrong"), None)
    assert {path: path.read_bytes() for path in protected.iterdir()} == before
    assert changes.protect(RingFiles(protected), ids, Opener(lambda: PASS), None) == ids
    assert forms(protected) == {Form.PLAIN}
    assert changes.protect(RingFiles(protected), ids, Opener(), None) == []
    assert signed_dumps(1, keyring=open_keyring(protected))


# --- two at once, a crash, a full disk -----------------------------------------------------------


def test_a_key_that_a_command_holds_is_not_copied_here(tmp_path: Path) -> None:
    script = tmp_path / "fetch"
    script.write_text(f"#!/bin/sh\necho {KeyLine.generate().reveal()}\n")
    script.chmod(0o700)
    folder = tmp_path / "ring"
    import_keys(folder, [command_line([str(script)])], now=0)
    for choose in (None, lambda: Storage(Passphrase(PASS))):
        with pytest.raises(KeyringError):
            changes.protect(RingFiles(folder), [primary_of(folder)], Opener(), choose)
    assert forms(folder) == {Form.EXTERNAL}


@pytest.mark.parametrize("kind", ["a link", "a second hard link"])
def test_a_key_that_would_stay_plain_elsewhere_is_not_called_protected(
    kind: str, ring_directory: Path, tmp_path: Path
) -> None:
    key_id = primary_of(ring_directory)
    file, other = key_path(ring_directory, key_id), tmp_path / "other"
    if kind == "a link":
        file.rename(other)
        file.symlink_to(other)
    else:
        other.hardlink_to(file)
    with pytest.raises(KeyringError):
        changes.protect(
            RingFiles(ring_directory), [key_id], Opener(), lambda: Storage(Passphrase(PASS))
        )
    assert Key.parse(KeyLine(other.read_text())).id == key_id
    assert open_keyring(ring_directory)


def test_a_key_that_is_kept_otherwise_meanwhile_is_left_as_it_is_now(
    ring_directory: Path,
) -> None:
    """Or the secret that the file of the key came to refer to could be forgotten."""
    key_id = primary_of(ring_directory)

    def choose() -> Storage:
        changes.protect(
            RingFiles(ring_directory),
            [key_id],
            Opener(),
            lambda: Storage(Passphrase("by another process")),
        )
        return Storage(Passphrase(PASS))

    with pytest.raises(KeyringError):
        changes.protect(RingFiles(ring_directory), [key_id], Opener(), choose)
    ring = open_keyring(ring_directory, passphrase=lambda: "by another process")
    assert signed_dumps(1, keyring=ring)


def test_nothing_is_protected_in_a_ring_that_was_changed_meanwhile(ring_directory: Path) -> None:
    key_id = primary_of(ring_directory)

    def choose() -> Storage:
        change_roster(ring_directory, lambda r: r.annotate(key_id, "meanwhile"))
        return Storage(Passphrase(PASS))

    with pytest.raises(KeyringError):
        changes.protect(RingFiles(ring_directory), [key_id], Opener(), choose)
    assert forms(ring_directory) == {Form.PLAIN}
