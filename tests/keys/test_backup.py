"""Backups of whole rings: what they keep, and what a restore leaves alone."""

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from rings import NOW, PASS, primary_of, revoke, rotate, secrets_of

from pickleseal import (
    KeyringError,
    RevokedKeyError,
    WrongPassphraseError,
    open_keyring,
    signed_dumps,
    signed_loads,
)
from pickleseal.keys import backup as texts
from pickleseal.keys.backup import Backup, open_backup, seal_backup
from pickleseal.keys.key import KeyLine, outline
from pickleseal.keys.passphrase import Passphrase, lock
from pickleseal.keys.store import passphrases
from pickleseal.keys.store.backup import ask_and_open, backup_of, restore
from pickleseal.keys.store.changes import change_roster, create_key
from pickleseal.keys.store.directory import INDEX, Change, RingFiles, read_roster

SALT = b"s" * 16
OPENS = Passphrase(PASS)


def backed_up(folder: Path) -> Backup:
    made = backup_of(RingFiles(folder), OPENS, salt=SALT, now=NOW)
    text = seal_backup(made, OPENS, salt=SALT)
    assert not [secret for secret in secrets_of(folder) if secret in text]
    return open_backup(f"{text}", OPENS)


def content_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def lived_in(ring_directory: Path) -> Path:
    """A ring with a key of each state, limits, and a revoked key that it never had."""
    rotate(ring_directory)
    second = primary_of(ring_directory)
    create_key(ring_directory, now=NOW, note="third")
    change_roster(
        ring_directory,
        lambda r: r.limit(second, sign_until=NOW * 2, contexts=("fraud/*",)),
    )
    revoke(ring_directory, next(i for i, e in entries_of(ring_directory) if e == "retired"))
    revoke(ring_directory, "9" * 32, "in a log")
    return ring_directory


def entries_of(folder: Path) -> list[tuple[str, str]]:
    return [(i, e.state.value) for i, e in read_roster(folder).entries.items()]


def test_a_restored_ring_is_the_ring(lived_in: Path, tmp_path: Path) -> None:
    data = signed_dumps(1, context="fraud/v1", keyring=lived_in)
    made = backed_up(lived_in)
    new = tmp_path / "deep" / "new"
    done = restore(new, made)
    assert done.is_whole
    assert len(done.written) == 3, "that of the revoked key too, for a readmission"
    assert content_of(new) == content_of(lived_in)
    assert read_roster(new) == read_roster(lived_in)
    assert signed_loads(data, context="fraud/v1", keyring=new) == 1
    if hasattr(os, "geteuid"):
        assert {path.stat().st_mode & 0o077 for path in (new, *new.glob("*.key"))} == {0}


def test_a_program_that_runs_notices_a_restored_ring(lived_in: Path) -> None:
    made = backed_up(lived_in)
    data = signed_dumps(1, context="fraud/v1", keyring=lived_in)
    change_roster(lived_in, lambda r: r.revoke(r.primary or "", reason="x", now=NOW))
    with pytest.raises(RevokedKeyError):
        signed_loads(data, context="fraud/v1", keyring=lived_in)
    shutil.rmtree(lived_in)
    restore(lived_in, made)
    assert signed_loads(data, context="fraud/v1", keyring=lived_in) == 1


def test_lost_files_come_back_and_nothing_else_is_written(lived_in: Path) -> None:
    made = backed_up(lived_in)
    key_id = primary_of(lived_in)
    change_roster(lived_in, lambda r: r.annotate(key_id, "newer than the backup"))
    whole = content_of(lived_in)
    assert restore(lived_in, made) == ([], False, [])
    assert content_of(lived_in) == whole
    (lived_in / f"{key_id}.key").unlink()
    assert restore(lived_in, made) == ([key_id], False, [])
    assert content_of(lived_in) == whole, "and keyring.json is not the one of the backup"
    (lived_in / f"{key_id}.key").write_text("damaged")
    assert restore(lived_in, made) == ([], False, [])
    assert (lived_in / f"{key_id}.key").read_text() == "damaged"


def test_a_lost_keyring_json_comes_back_beside_its_key_files(lived_in: Path) -> None:
    made = backed_up(lived_in)
    whole = content_of(lived_in)
    (lived_in / INDEX).unlink()
    assert restore(lived_in, made) == ([], True, [])
    assert content_of(lived_in) == whole


def test_a_damaged_keyring_json_names_the_commands_that_restore_it(
    lived_in: Path, tmp_path: Path
) -> None:
    made = backed_up(lived_in)
    whole = content_of(lived_in)
    (lived_in / INDEX).write_text("{")
    with pytest.raises(KeyringError, match="damaged") as caught:
        restore(lived_in, made)
    way = re.search("`(.*) && pickleseal keys restore --keyring .* FILE`", str(caught.value))
    assert way is not None
    subprocess.run(shlex.split(way[1]), check=True)
    restore(lived_in, made)
    assert content_of(lived_in) == {**whole, f"{INDEX}.damaged": b"{"}


def test_another_ring_is_never_overwritten(lived_in: Path, tmp_path: Path) -> None:
    made = backed_up(lived_in)
    older, forked, other = (tmp_path / name for name in ("older", "forked", "other"))
    shutil.copytree(lived_in, forked)
    change_roster(forked, lambda r: r.annotate("9" * 32, "here"))
    shutil.copytree(lived_in, older)
    change_roster(lived_in, lambda r: r.annotate("9" * 32, "there"))
    newer = backed_up(lived_in)
    create_key(other, now=NOW)
    for folder, taken, words in (
        (older, newer, "older state"),
        (forked, newer, "changed separately"),
        (other, made, "another keyring"),
    ):
        before = content_of(folder)
        with pytest.raises(KeyringError, match=words):
            restore(folder, taken)
        assert content_of(folder) == before


def test_a_backup_below_the_pinned_epoch_is_not_restored(
    lived_in: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = backed_up(lived_in)
    monkeypatch.setenv("PICKLESEAL_MIN_EPOCH", str(made.roster.epoch + 1))
    with pytest.raises(KeyringError, match="epoch"):
        restore(tmp_path / "new", made)
    assert not (tmp_path / "new").exists()
    monkeypatch.setenv("PICKLESEAL_MIN_EPOCH", made.roster.pin)
    assert restore(tmp_path / "new", made).is_whole


def test_a_restore_that_is_stopped_is_done_again(
    lived_in: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = backed_up(lived_in)
    new = tmp_path / "new"

    def full(change: Change, roster: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Change, "save", full)
        with pytest.raises(OSError, match="No space"):
            restore(new, made)
    with pytest.raises(KeyringError, match="is missing"):
        open_keyring(new)
    assert restore(new, made).is_whole
    assert content_of(new) == content_of(lived_in)


def test_a_key_behind_a_passphrase_stays_behind_it(protected: Path, tmp_path: Path) -> None:
    made = backup_of(RingFiles(protected), Passphrase("another one"), salt=SALT, now=NOW)
    restore(tmp_path / "new", made)
    assert content_of(tmp_path / "new") == content_of(protected)


def test_a_ring_without_one_of_its_key_files_is_not_backed_up(lived_in: Path) -> None:
    (lived_in / f"{primary_of(lived_in)}.key").unlink()
    with pytest.raises(KeyringError, match="missing"):
        backup_of(RingFiles(lived_in), OPENS, salt=SALT, now=NOW)


def test_a_revoked_key_whose_file_is_gone_is_no_obstacle(lived_in: Path, tmp_path: Path) -> None:
    gone = next(i for i, s in entries_of(lived_in) if s == "revoked" and i != "9" * 32)
    (lived_in / f"{gone}.key").unlink()
    assert len(restore(tmp_path / "new", backed_up(lived_in)).written) == 2
    assert open_keyring(tmp_path / "new").entries[gone].state.value == "revoked"


def test_a_text_that_was_changed_is_no_backup(ring_directory: Path) -> None:
    text = seal_backup(
        backup_of(RingFiles(ring_directory), OPENS, salt=SALT, now=NOW),
        OPENS,
        salt=SALT,
    )
    with pytest.raises(WrongPassphraseError):
        open_backup(text, Passphrase("another one"))
    for at in range(0, len(text), 17):
        other = "A" if text[at] != "A" else "B"
        for changed in (text[:at], text[:at] + other + text[at + 1 :]):
            with pytest.raises(KeyringError):
                open_backup(changed, OPENS)
    for bad in ("", "hello", "pickleseal-backup-1", text + ".x", text.replace(".14.", ".30.")):
        with pytest.raises(KeyringError):
            open_backup(bad, OPENS)


@pytest.mark.parametrize(
    "content",
    [
        "{}",
        "[]",
        "x",
        '{"created": 1, "keyring": "{}", "lines": {}}',
        '{"created": "x", "keyring": "", "lines": {}}',
    ],
)
def test_what_is_locked_and_no_backup_is_refused(content: str) -> None:
    text = lock(texts.FORMAT, lambda: content, OPENS, salt=SALT)
    with pytest.raises(KeyringError):
        open_backup(text, OPENS)


def test_a_key_under_the_id_of_another_is_refused(ring_directory: Path) -> None:
    made = backup_of(RingFiles(ring_directory), OPENS, salt=SALT, now=NOW)
    for lines in (
        {primary_of(ring_directory): KeyLine.generate()},
        {"1" * 32: next(iter(made.lines.values()))},
    ):
        text = seal_backup(made._replace(lines=lines), OPENS, salt=SALT)
        with pytest.raises(KeyringError):
            open_backup(text, OPENS)


def test_a_key_that_the_backed_up_keyring_does_not_list_is_refused(ring_directory: Path) -> None:
    made = backup_of(RingFiles(ring_directory), OPENS, salt=SALT, now=NOW)
    line = KeyLine.generate()
    more = {**made.lines, outline(line).id: line}
    with pytest.raises(KeyringError):
        open_backup(seal_backup(made._replace(lines=more), OPENS, salt=SALT), OPENS)


def test_a_restore_brings_back_no_key_that_was_revoked_meanwhile(lived_in: Path) -> None:
    made = backed_up(lived_in)
    key_id = primary_of(lived_in)
    revoke(lived_in, key_id)
    assert restore(lived_in, made).revoked == [key_id], "also while its file is there"
    (lived_in / f"{key_id}.key").unlink(missing_ok=True)
    done = restore(lived_in, made)
    assert (done.written, done.revoked) == ([], [key_id])
    assert not (lived_in / f"{key_id}.key").exists()


def test_a_text_that_is_no_backup_is_refused_before_anybody_is_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def asked(*_: object, **__: object) -> list[Passphrase]:
        raise AssertionError

    monkeypatch.setattr(passphrases, "candidates", asked)
    with pytest.raises(KeyringError):
        ask_and_open("hello", file="it")


def test_why_a_backup_was_not_opened_is_told(
    ring_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = backup_of(RingFiles(ring_directory), OPENS, salt=SALT, now=NOW)
    text = seal_backup(made, OPENS, salt=SALT)
    monkeypatch.setenv("PICKLESEAL_PASSPHRASE", PASS)
    assert ask_and_open(text, file="it").lines.keys() == made.lines.keys()
    with pytest.raises(KeyringError) as refused:
        ask_and_open(lock(texts.FORMAT, lambda: "{}", OPENS, salt=SALT), file="it")
    assert not isinstance(refused.value, WrongPassphraseError)
    monkeypatch.setenv("PICKLESEAL_PASSPHRASE", "another one")
    with pytest.raises(WrongPassphraseError, match="it cannot be opened"):
        ask_and_open(text, file="it")
