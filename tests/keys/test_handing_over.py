"""Keys exported from one ring and imported into another."""

import errno
import os
import time
from pathlib import Path
from typing import Any

import pytest
from rings import NOW, PASS, primary_of, revoke, rotate

from pickleseal import (
    ContextError,
    Key,
    KeyringError,
    RevokedKeyError,
    UnknownKeyError,
    signed_dumps,
    signed_loads,
)
from pickleseal.cli import cli
from pickleseal.keys.bundle import entry_text
from pickleseal.keys.key import Form, KeyLine, outline
from pickleseal.keys.roster import Entry, State
from pickleseal.keys.store import changes
from pickleseal.keys.store.changes import Limits, change_roster, import_keys
from pickleseal.keys.store.directory import INDEX, RingFiles, read_roster
from pickleseal.keys.store.lines import Opener


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


def exported(folder: Path) -> tuple[list[KeyLine], dict[str, Entry]]:
    entries = dict(read_roster(folder).entries)
    usable = [key_id for key_id, entry in entries.items() if entry.state is not State.REVOKED]
    return changes.export_lines(RingFiles(folder), usable, Opener(), plain=False), entries


def limit(folder: Path, key_id: str, **limits: Any) -> None:
    full = {"sign_until": None, "contexts": None, **limits}
    change_roster(folder, lambda r: r.limit(key_id, **full))


def test_an_imported_key_may_do_what_it_may_where_it_comes_from(
    ring_directory: Path, tmp_path: Path
) -> None:
    old = primary_of(ring_directory)
    limit(ring_directory, old, contexts=("fraud/*",), sign_until=NOW * 2)
    rotate(ring_directory)
    lines, entries = exported(ring_directory)
    other = tmp_path / "other"
    import_keys(other, lines, entries=entries, now=NOW + 5)
    there = {one.id: one._replace(imported=None) for one in read_roster(other).entries.values()}
    assert there == entries
    with pytest.raises(KeyringError, match="bound"):
        signed_dumps(1, keyring=other)


def test_what_is_given_replaces_what_came_with_a_key(ring_directory: Path, tmp_path: Path) -> None:
    limit(ring_directory, primary_of(ring_directory), contexts=("fraud/*",), sign_until=NOW * 2)
    lines, entries = exported(ring_directory)
    other = tmp_path / "other"
    (made,) = import_keys(
        other,
        lines,
        entries=entries,
        now=NOW,
        note="theirs",
        retired=True,
        limits=Limits(contexts=("spam",)),
    ).made
    assert (made.entry.state, made.entry.note) == (State.RETIRED, "theirs")
    assert (made.entry.contexts, made.entry.sign_until) == (("spam",), NOW * 2)


def test_only_the_first_key_of_an_import_becomes_primary(
    ring_directory: Path, tmp_path: Path
) -> None:
    first, second = KeyLine.generate(), KeyLine.generate()
    import_keys(ring_directory, [first], now=NOW)
    before = primary_of(ring_directory)
    import_keys(ring_directory, [first, second], now=NOW, make_primary=True)
    assert primary_of(ring_directory) == before, "the first was known, and the second not meant"
    retired = {outline(second).id: Entry(outline(second).id, outline(second).suite, State.RETIRED)}
    (made,) = import_keys(
        tmp_path / "new", [second], entries=retired, now=NOW, make_primary=True
    ).made
    assert (made.is_primary, made.entry.state) == (False, State.RETIRED)


def test_a_revocation_reaches_other_rings_with_and_without_the_key(
    ring_directory: Path, tmp_path: Path
) -> None:
    data = signed_dumps(1, keyring=ring_directory)
    old = primary_of(ring_directory)
    (line,) = exported(ring_directory)[0]
    other = tmp_path / "other"
    import_keys(other, [line], now=NOW, note="from afar")
    without = tmp_path / "without"
    changes.create_key(without, now=NOW)
    change_roster(ring_directory, lambda r: r.revoke(old, reason="stolen", now=NOW, leaked=NOW - 9))
    tombstone = read_roster(ring_directory).entries[old]
    for folder in (other, without):
        done = import_keys(folder, [], entries={old: tombstone}, now=NOW + 5)
        assert [entry.id for entry in done.revoked] == [old]
        found = read_roster(folder).entries[old]
        assert (found.reason, found.revoked, found.leaked) == ("stolen", NOW, NOW - 9)
        with pytest.raises(RevokedKeyError, match="stolen"):
            signed_loads(data, keyring=folder)
        with pytest.raises(KeyringError):
            import_keys(folder, [line], now=NOW)
        before = (folder / INDEX).read_bytes()
        again = import_keys(folder, [], entries={old: tombstone}, now=NOW + 9)
        assert again.revoked == []
        assert (folder / INDEX).read_bytes() == before
    assert read_roster(other).primary is None
    assert read_roster(other).entries[old].note == "from afar"


def test_of_two_times_of_a_leak_the_earlier_one_stays(ring_directory: Path) -> None:
    old = primary_of(ring_directory)
    change_roster(ring_directory, lambda r: r.revoke(old, reason="a", now=NOW, leaked=NOW - 5))
    here = read_roster(ring_directory).entries[old]
    for brought, expected in ((NOW - 3, NOW - 5), (None, NOW - 5), (NOW - 7, NOW - 7)):
        entries = {old: here._replace(reason="b", leaked=brought)}
        import_keys(ring_directory, [], entries=entries, now=NOW)
        found = read_roster(ring_directory).entries[old]
        assert (found.leaked, found.reason) == (expected, "a")


def test_revocations_alone_make_no_ring(tmp_path: Path) -> None:
    tombstone = Entry("1" * 32, None, State.REVOKED)
    with pytest.raises(KeyringError, match="no keyring"):
        import_keys(tmp_path / "none", [], entries={"1" * 32: tombstone}, now=NOW)
    assert list(tmp_path.iterdir()) == []


def test_keys_in_the_variable_keep_their_limits_and_revocations(
    ring_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = primary_of(ring_directory)
    before = signed_dumps(1, context="fraud/v1", keyring=ring_directory)
    new = rotate(ring_directory)
    limit(ring_directory, old, contexts=("fraud/*",))
    lines, entries = exported(ring_directory)
    lines.sort(key=lambda line: outline(line).id != old)
    texts = [f"{entry_text(entries[outline(line).id])} {line.reveal()}" for line in lines]
    monkeypatch.setenv("PICKLESEAL_KEY", " ".join(texts))
    assert signed_dumps(1)[16:32].hex() == new, "the old one is retired, though it comes first"
    assert signed_loads(before, context="fraud/v1") == 1
    with pytest.raises(ContextError):
        signed_loads(before)
    monkeypatch.setenv("PICKLESEAL_KEY", texts[0])
    with pytest.raises(KeyringError, match="no key to seal with"):
        signed_dumps(1)
    later = entries[new]._replace(sign_from=int(time.time()) + 1000, replaces=old)
    active = entries[old]._replace(state=State.ACTIVE, contexts=None)
    waiting = f"{entry_text(later)} {lines[1].reveal()} {entry_text(active)} {lines[0].reveal()}"
    monkeypatch.setenv("PICKLESEAL_KEY", waiting)
    assert signed_dumps(1)[16:32].hex() == old, "the new one comes first, and seals later"
    now = time.time()
    with monkeypatch.context() as afterwards:
        afterwards.setattr(time, "time", lambda: now + 2000)
        assert signed_dumps(1)[16:32].hex() == new, "its time has come, and nothing else changed"
    dead = entries[old]._replace(state=State.REVOKED, reason="stolen")
    monkeypatch.setenv("PICKLESEAL_KEY", f"{texts[1]} {lines[0].reveal()} {entry_text(dead)}")
    with pytest.raises(RevokedKeyError, match="stolen"):
        signed_loads(before, context="fraud/v1")


@pytest.mark.parametrize("act", ["import", "rotate"])
def test_a_change_that_is_done_needs_to_read_nothing_more(
    act: str, ring_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that fails by then must not make it a failed one."""
    line = tmp_path / "line.txt"
    line.write_text(KeyLine.generate().reveal())
    index, real, replace = ring_directory / INDEX, os.open, os.replace
    done: list[str] = []

    def failing(path: Any, *arguments: Any, **options: Any) -> int:
        if done and str(path).startswith(str(ring_directory)) and not arguments[0] & os.O_DIRECTORY:
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)
        return real(path, *arguments, **options)

    def replaced(temporary: Any, path: Any) -> None:
        replace(temporary, path)
        if path == str(index):
            done.append(path)

    monkeypatch.setattr(os, "open", failing)
    monkeypatch.setattr(os, "replace", replaced)
    given = [str(line)] if act == "import" else []
    arguments = ["keys", act, *given, "--keyring", str(ring_directory)]
    assert cli.main(arguments, standalone_mode=False) == 0
    assert done
