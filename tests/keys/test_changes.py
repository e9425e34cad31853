"""The life of keys: rotated, retired, revoked, limited."""

import time
from pathlib import Path

import pytest
from rings import NOW, PASS, primary_of, revoke, rotate

from pickleseal import (
    ContextError,
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
from pickleseal.keys.key import Form, KeyLine, outline
from pickleseal.keys.passphrase import Passphrase
from pickleseal.keys.roster import State, new_entry
from pickleseal.keys.store import changes
from pickleseal.keys.store.changes import Limits, Storage, change_roster, create_key
from pickleseal.keys.store.directory import INDEX, RingFiles, read_line, read_roster
from pickleseal.keys.store.lines import Opener


def test_after_a_rotation_old_files_open_and_new_ones_carry_the_new_key(
    ring_directory: Path,
) -> None:
    old = primary_of(ring_directory)
    before = signed_dumps("before", keyring=ring_directory)
    new = rotate(ring_directory)
    after = signed_dumps("after", keyring=ring_directory)
    assert (before[16:32].hex(), after[16:32].hex()) == (old, new)
    assert signed_loads(before, keyring=ring_directory) == "before"
    assert signed_loads(after, keyring=ring_directory) == "after"
    assert read_roster(ring_directory).entries[old].state is State.RETIRED


def test_a_revoked_key_is_told_apart_from_an_unknown_one_and_the_way_on_is_named(
    ring_directory: Path,
) -> None:
    old = primary_of(ring_directory)
    data = signed_dumps(1, keyring=ring_directory)
    rotate(ring_directory)
    revoke(ring_directory, old, "laptop stolen")
    with pytest.raises(RevokedKeyError) as caught:
        signed_loads(data, keyring=ring_directory)
    for word in (old, "laptop stolen", "reseal"):
        assert word in str(caught.value)
    with pytest.raises(UnknownKeyError):
        signed_loads(signed_dumps(1, keyring=Keyring(Key.generate())), keyring=ring_directory)


def test_a_rotation_after_a_revocation_follows_the_key_that_was_primary(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The way after a theft: what limits and protects the key must not get lost on it."""
    folder = tmp_path / "r"
    create_key(folder, suite=Suite.SHA256, now=0, limits=Limits(contexts=("fraud/*",)))
    old = primary_of(folder)
    changes.protect(RingFiles(folder), [old], Opener(), lambda: Storage(Passphrase(PASS)))
    other = create_key(folder, now=1).entry.id
    revoke(folder, old)
    revoke(folder, other)
    monkeypatch.setenv("PICKLESEAL_NEW_PASSPHRASE", "another one")
    storage = changes.like_primary(RingFiles(folder), Opener(lambda: PASS))
    made = changes.rotate(folder, now=NOW, storage=storage)
    assert (made.entry.suite, made.entry.contexts) == (Suite.SHA256, ("fraud/*",))
    assert outline(read_line(folder, made.entry.id)).form is Form.SCRYPT
    assert read_roster(folder).last_primary is None


def test_a_rotation_keeps_suite_and_contexts(tmp_path: Path) -> None:
    create_key(tmp_path / "r", suite=Suite.SHA256, now=0, limits=Limits(contexts=("fraud/*",)))
    made = changes.rotate(tmp_path / "r", now=NOW, note="winter", sign_until=NOW + 9)
    assert made.entry.suite is Suite.SHA256
    assert made.entry.contexts == ("fraud/*",)
    assert (made.entry.note, made.entry.sign_until, made.entry.created) == ("winter", NOW + 9, NOW)
    assert changes.rotate(tmp_path / "r", now=NOW, suite=Suite.BLAKE3).entry.suite is Suite.BLAKE3


def test_a_key_seals_until_its_day_and_opens_after_it(ring_directory: Path) -> None:
    key_id = primary_of(ring_directory)
    data = signed_dumps(1, keyring=ring_directory)
    soon, past = int(time.time()) + 1000, int(time.time()) - 1
    change_roster(ring_directory, lambda r: r.limit(key_id, sign_until=soon, contexts=None))
    assert signed_dumps(1, keyring=ring_directory)
    change_roster(ring_directory, lambda r: r.limit(key_id, sign_until=past, contexts=None))
    with pytest.raises(KeyringError):
        signed_dumps(1, keyring=ring_directory)
    assert signed_loads(data, keyring=ring_directory) == 1


def test_a_bound_key_neither_seals_nor_opens_for_another_context(ring_directory: Path) -> None:
    key_id = primary_of(ring_directory)
    loose = signed_dumps(1, keyring=ring_directory)
    other = signed_dumps(1, keyring=ring_directory, context="spam")
    right = signed_dumps(1, keyring=ring_directory, context="fraud/v3")
    change_roster(ring_directory, lambda r: r.limit(key_id, sign_until=None, contexts=("fraud/*",)))
    assert signed_loads(right, keyring=ring_directory, context="fraud/v3") == 1
    for data, context in ((loose, None), (other, "spam")):
        with pytest.raises(ContextError):
            signed_loads(data, keyring=ring_directory, context=context)
    for context in (None, "spam", "fraud"):
        with pytest.raises(KeyringError):
            signed_dumps(1, keyring=ring_directory, context=context)
    assert signed_dumps(1, keyring=ring_directory, context="fraud/v4")


def test_a_ring_whose_primary_was_revoked_seals_nothing_until_it_is_rotated(
    ring_directory: Path,
) -> None:
    revoke(ring_directory, primary_of(ring_directory))
    with pytest.raises(KeyringError):
        signed_dumps(1, keyring=ring_directory)
    rotate(ring_directory)
    assert signed_dumps(1, keyring=ring_directory)


def test_an_older_keyring_json_put_back_is_refused_below_min_epoch(
    ring_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = primary_of(ring_directory)
    data = signed_dumps(1, keyring=ring_directory)
    rotate(ring_directory)
    backup = (ring_directory / INDEX).read_bytes()
    revoke(ring_directory, old)
    epoch = read_roster(ring_directory).epoch
    (ring_directory / INDEX).write_bytes(backup)
    assert signed_loads(data, keyring=ring_directory) == 1, "without min_epoch nothing tells"
    for least, good in ((epoch, False), (epoch - 1, True), (0, True)):
        if good:
            assert open_keyring(ring_directory, min_epoch=least)
        else:
            with pytest.raises(KeyringError):
                open_keyring(ring_directory, min_epoch=least)
    monkeypatch.setenv("PICKLESEAL_MIN_EPOCH", str(epoch))
    for use in (
        lambda: signed_loads(data, keyring=ring_directory),
        lambda: open_keyring(ring_directory),
        lambda: rotate(ring_directory),
        lambda: create_key(ring_directory, now=0),
    ):
        with pytest.raises(KeyringError):
            use()
    assert (ring_directory / INDEX).read_bytes() == backup


def test_a_min_epoch_of_another_ring_is_told_as_one(
    tmp_path: Path, ring_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PICKLESEAL_MIN_EPOCH", "7")
    with pytest.raises(KeyringError, match="correct the epoch"):
        open_keyring(ring_directory)
    with pytest.raises(KeyringError, match="Unset PICKLESEAL_MIN_EPOCH to make"):
        create_key(tmp_path / "new", now=NOW)
    assert not (tmp_path / "new").exists()
    monkeypatch.setenv("PICKLESEAL_MIN_EPOCH", "1")
    create_key(tmp_path / "new", now=NOW)
    assert open_keyring(tmp_path / "new")


def test_a_min_epoch_is_refused_beside_keys_that_have_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PICKLESEAL_KEY", KeyLine.generate().reveal())
    monkeypatch.setenv("PICKLESEAL_MIN_EPOCH", "7")
    with pytest.raises(KeyringError, match="in PICKLESEAL_KEY have no epoch"):
        signed_dumps(1)
    monkeypatch.setenv("PICKLESEAL_MIN_EPOCH", "0")
    assert signed_loads(signed_dumps(1)) == 1


@pytest.mark.parametrize("value", ["", "x", "-1", "1.5", "٣", "9" * 40, " 1"])
def test_a_min_epoch_that_is_no_number_is_an_error_and_not_zero(
    value: str, ring_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PICKLESEAL_MIN_EPOCH", value)
    with pytest.raises(KeyringError):
        open_keyring(ring_directory)


def test_a_ring_that_never_had_a_primary_is_rotated_with_the_suite_of_new_keys(
    ring_directory: Path,
) -> None:
    first = primary_of(ring_directory)
    change_roster(ring_directory, lambda r: r._replace(primary=None).retire(first))
    rotate(ring_directory)
    assert read_roster(ring_directory).entries[primary_of(ring_directory)].suite is Suite.BLAKE3


def test_a_first_key_is_made_once(ring_directory: Path) -> None:
    with pytest.raises(KeyringError):
        create_key(ring_directory, now=NOW, only_first=True)
    assert len(list(ring_directory.glob("*.key"))) == 1


def test_nobody_chooses_a_passphrase_for_no_key(ring_directory: Path) -> None:
    def choose() -> Storage:
        raise AssertionError

    assert changes.protect(RingFiles(ring_directory), [], Opener(), choose) == []


def test_a_note_that_came_with_a_key_stays_unless_another_is_given() -> None:
    brought = new_entry("1" * 32, Suite.BLAKE3, created=NOW, note="theirs")
    for note, kept in (("", "theirs"), ("mine", "mine")):
        assert changes._merged(brought, brought._replace(note=note)).note == kept
