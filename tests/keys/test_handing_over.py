"""Keys exported from one ring and imported into another."""

from pathlib import Path

import pytest
from rings import NOW, PASS, primary_of, revoke, rotate

from pickleseal import (
    Key,
    KeyringError,
    UnknownKeyError,
    signed_dumps,
    signed_loads,
)
from pickleseal.keys.key import Form, KeyLine, outline
from pickleseal.keys.roster import State
from pickleseal.keys.store import changes
from pickleseal.keys.store.changes import (
    import_keys,
)
from pickleseal.keys.store.directory import (
    RingFiles,
    read_roster,
)
from pickleseal.keys.store.lines import Opener

pytestmark = pytest.mark.usefixtures("cheap_boxes")


def test_what_is_exported_is_imported_elsewhere(ring_directory: Path, tmp_path: Path) -> None:
    data = signed_dumps("first", keyring=ring_directory)
    rotate(ring_directory)
    ids = list(read_roster(ring_directory).entries)
    lines = changes.export_lines(RingFiles(ring_directory), ids, Opener(), plain=False)
    made = import_keys(tmp_path / "other", lines, now=NOW, note="from the laptop").made
    assert [one.entry.id for one in made] == ids
    assert [one.is_primary for one in made] == [True, False]
    assert signed_loads(data, keyring=tmp_path / "other") == "first"
    again = import_keys(tmp_path / "other", [*lines, KeyLine.generate()], now=NOW)
    assert (again.known, len(again.made)) == (ids, 1), "what is there stays as it is"
    revoke(tmp_path / "other", ids[0])
    with pytest.raises(KeyringError):
        import_keys(tmp_path / "other", [*lines, KeyLine.generate()], now=NOW)
    assert len(read_roster(tmp_path / "other").entries) == 3


def test_an_import_of_several_lines_takes_all_or_none(tmp_path: Path) -> None:
    folder = tmp_path / "ring"
    good, other = KeyLine.generate(), KeyLine.generate()
    cut = KeyLine(other.reveal()[:-1])
    with pytest.raises(KeyringError):
        import_keys(folder, [good, cut], now=NOW)
    assert not folder.exists()
    made = import_keys(folder, [good, other, good], now=NOW, retired=True).made
    assert {one.entry.state for one in made} == {State.RETIRED}
    assert read_roster(folder).primary is None


def test_an_imported_key_is_primary_where_that_is_asked_for(ring_directory: Path) -> None:
    old = primary_of(ring_directory)
    (one,) = import_keys(ring_directory, [KeyLine.generate()], now=NOW).made
    (two,) = import_keys(ring_directory, [KeyLine.generate()], now=NOW, make_primary=True).made
    assert (one.is_primary, two.is_primary) == (False, True)
    assert primary_of(ring_directory) == two.entry.id
    assert read_roster(ring_directory).entries[old].state is State.ACTIVE


def test_a_protected_key_is_handed_over_as_it_is_or_plain(protected: Path) -> None:
    key_id = primary_of(protected)
    (kept,) = changes.export_lines(RingFiles(protected), [key_id], Opener(), plain=False)
    assert outline(kept).form is Form.SCRYPT
    (plain,) = changes.export_lines(
        RingFiles(protected), [key_id], Opener(lambda: PASS), plain=True
    )
    assert Key.parse(plain).id == key_id


def test_a_revoked_key_is_handed_to_nobody(ring_directory: Path) -> None:
    key_id = primary_of(ring_directory)
    revoke(ring_directory, key_id)
    with pytest.raises(KeyringError):
        changes.export_lines(RingFiles(ring_directory), [key_id], Opener(), plain=True)


def test_lines_in_the_variable_rotate_without_a_gap(
    ring_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Old lines first, then new and old, then new alone: what any of them sealed is open."""
    (old,) = changes.export_lines(
        RingFiles(ring_directory), [primary_of(ring_directory)], Opener(), plain=True
    )
    monkeypatch.setenv("PICKLESEAL_KEY", old.reveal())
    first = signed_dumps("first")
    rotate(ring_directory)
    (new,) = changes.export_lines(
        RingFiles(ring_directory), [primary_of(ring_directory)], Opener(), plain=True
    )
    monkeypatch.setenv("PICKLESEAL_KEY", f"{new.reveal()}\n{old.reveal()}\n")
    second = signed_dumps("second")
    assert second[16:32].hex() == outline(new).id
    assert (signed_loads(first), signed_loads(second)) == ("first", "second")
    monkeypatch.setenv("PICKLESEAL_KEY", new.reveal())
    assert signed_loads(second) == "second"
    with pytest.raises(UnknownKeyError):
        signed_loads(first)


def test_a_protected_line_in_the_variable_opens_with_the_passphrase(
    protected: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (line,) = changes.export_lines(
        RingFiles(protected), [primary_of(protected)], Opener(), plain=False
    )
    monkeypatch.setenv("PICKLESEAL_KEY", line.reveal())
    monkeypatch.setenv("PICKLESEAL_PASSPHRASE", PASS)
    assert signed_loads(signed_dumps(1)) == 1
