"""Copies of a ring that were changed alone, and rings that were never told apart before."""

import json
import shutil
from pathlib import Path

import pytest
from rings import NOW, primary_of, revoke, rotate

from pickleseal import KeyringError, RevokedKeyError, open_keyring, signed_dumps, signed_loads
from pickleseal.keys.roster import MAX_CHANGES, Pin, Roster
from pickleseal.keys.store.changes import change_roster
from pickleseal.keys.store.directory import INDEX, read_roster


def annotate(folder: Path, note: str) -> Roster:
    key_id = next(iter(read_roster(folder).entries))
    return change_roster(folder, lambda r: r.annotate(key_id, note))


def copied(folder: Path) -> Path:
    return Path(shutil.copytree(folder, folder.with_name("copy")))


def test_a_copy_with_as_many_changes_does_not_pass_for_the_pinned_ring(
    ring_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its epoch is higher, and it lists the stolen key as good."""
    old = primary_of(ring_directory)
    data = signed_dumps(1, keyring=ring_directory)
    copy = copied(ring_directory)
    revoke(ring_directory, old)
    for note in ("a", "b"):
        annotate(copy, note)
    monkeypatch.setenv("PICKLESEAL_MIN_EPOCH", "2")
    assert signed_loads(data, keyring=copy) == 1, "a number alone cannot tell them apart"
    pin = read_roster(ring_directory).pin
    monkeypatch.setenv("PICKLESEAL_MIN_EPOCH", pin)
    with pytest.raises(KeyringError, match="changed separately"):
        signed_loads(data, keyring=copy)
    with pytest.raises(RevokedKeyError):
        signed_loads(data, keyring=ring_directory)
    rotate(ring_directory)
    assert open_keyring(ring_directory, min_epoch=pin), "more changes of the same line"
    monkeypatch.delenv("PICKLESEAL_MIN_EPOCH")
    with pytest.raises(KeyringError, match="changed separately"):
        open_keyring(copy, min_epoch=pin)


def test_the_same_change_in_two_copies_is_no_fork(ring_directory: Path) -> None:
    copy = copied(ring_directory)
    one, two = annotate(ring_directory, "same"), annotate(copy, "same")
    assert one.pin == two.pin
    assert annotate(ring_directory, "one").pin != annotate(copy, "two").pin
    # What was written alike again afterwards is another line all the same.
    assert annotate(ring_directory, "end").pin != annotate(copy, "end").pin


def test_a_ring_knows_what_it_came_from(ring_directory: Path) -> None:
    first = read_roster(ring_directory)
    copy = copied(ring_directory)
    second = annotate(ring_directory, "one")
    other = annotate(annotate_twice(copy), "three")
    assert second.came_from(first)
    assert second.came_from(second)
    assert not first.came_from(second)
    assert not other.came_from(second)
    assert other.came_from(first)


def annotate_twice(folder: Path) -> Path:
    for note in ("x", "y"):
        annotate(folder, note)
    return folder


def test_a_ring_from_before_changes_had_ids_is_read_and_goes_on(ring_directory: Path) -> None:
    index = json.loads((ring_directory / INDEX).read_text())
    del index["changes"]
    (ring_directory / INDEX).write_text(json.dumps(index))
    old = read_roster(ring_directory)
    assert old.pin == "1"
    assert signed_loads(signed_dumps(1, keyring=ring_directory), keyring=ring_directory) == 1
    copy = copied(ring_directory)
    new = annotate(ring_directory, "one")
    assert (new.epoch, len(new.changes)) == (2, 1)
    assert open_keyring(ring_directory, min_epoch=new.pin)
    assert open_keyring(ring_directory, min_epoch=1)
    assert not new.came_from(old), "it is not known"
    for note in ("a", "b"):
        annotate(copy, note)
    with pytest.raises(KeyringError, match="changed separately"):
        open_keyring(copy, min_epoch=new.pin)


def test_the_ids_of_the_newest_changes_are_kept() -> None:
    roster = Roster.empty().revoke("1" * 32, reason="lost", now=NOW)
    pins = []
    for number in range(MAX_CHANGES + 5):
        roster = roster.annotate("1" * 32, str(number))
        pins.append(Pin.parse(roster.pin))
    assert len(roster.changes) == MAX_CHANGES
    assert Roster.decode(roster.encode().encode()) == roster
    assert all(pin is not None and pin.fault(roster) is None for pin in pins)
    assert Pin(roster.epoch - MAX_CHANGES + 1, "0" * 16).fault(roster)
    assert Pin(roster.epoch - MAX_CHANGES, "0" * 16).fault(roster) is None, "no longer known"


@pytest.mark.parametrize(
    "changes",
    [None, [], "", "x", "0" * 15, "A" * 16, f"{'0' * 16}  {'0' * 16}", " ".join(["0" * 16] * 2)],
)
def test_changes_that_no_version_writes_are_refused(changes: object, ring_directory: Path) -> None:
    index = json.loads((ring_directory / INDEX).read_text())
    index["changes"] = changes
    (ring_directory / INDEX).write_text(json.dumps(index))
    with pytest.raises(KeyringError, match="its changes"):
        open_keyring(ring_directory)


@pytest.mark.parametrize("pin", ["2.", ".1", "2.xyz", f"2.{'0' * 15}", f"2.{'A' * 16}", "x", True])
def test_a_min_epoch_that_names_no_change_is_refused(pin: str, ring_directory: Path) -> None:
    with pytest.raises(KeyringError, match="min_epoch"):
        open_keyring(ring_directory, min_epoch=pin)
