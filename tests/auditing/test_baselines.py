"""Baselines: what changed since a list was made, and what is the same under another key."""

import hashlib
import json
import os
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from watching import nothing_unpickled

from pickleseal import (
    BadSealError,
    Change,
    ContextError,
    Finding,
    Key,
    Keyring,
    Level,
    PolicyError,
    RevokedKeyError,
    SealError,
    Verdict,
    audit,
    open_keyring,
    reseal,
    signed_dump,
)
from pickleseal.auditing.baselines import items_of
from pickleseal.envelope import seal
from pickleseal.envelope.metadata import Metadata
from pickleseal.envelope.target import join_envelope
from pickleseal.files.atomic import write_whole
from pickleseal.keys.roster import Roster
from pickleseal.keys.store import changes
from pickleseal.persistence.inventory import Inventory
from pickleseal.persistence.inventory_file import read_inventory, write_inventory


def put(path: Path, ring: Keyring, text: str, **fields: Any) -> None:
    """Seal a pickle of a text, with a serial or a time of its own."""
    key = ring.sealing_key(context=None, now=0)
    stream = memoryview(b"\x80\x04\x8c" + bytes([len(text)]) + text.encode() + b".")
    metadata = Metadata("pickle", **{"created": 1000, **fields})
    head = seal.seal_head(key, metadata, [len(stream)])
    write_whole(str(path), join_envelope(head.data, [stream], head.finish, key.suite))


@pytest.fixture
def models(tmp_path: Path, ring: Keyring, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    folder = Path("models")
    folder.mkdir()
    for name in ("same", "changed", "gone", "mover", "context"):
        put(folder / name, ring, name, context=f"m/{name}")
    put(folder / "serial", ring, "serial", serial=7)
    put(folder / "time", ring, "time", created=2000)
    (folder / "plain").write_bytes(b"\x80\x04K\x01.")
    return folder


def take_list(ring: Keyring, *roots: Path, **options: Any) -> Path:
    items = tuple(i for f in audit(roots, keyring=ring, digests=True) for i in items_of(f))
    write_inventory(Inventory(3000, items), "the.list", keyring=ring, **options)
    return Path("the.list")


def changes_of(ring: Keyring, *roots: Path) -> dict[str, Finding]:
    with nothing_unpickled():
        result = audit(roots, keyring=ring, baseline="the.list").report()
    assert len({f.path for f in result.findings}) == len(result.findings)
    assert result.baseline == "the.list"
    assert result.baseline_created == 3000
    return {os.path.basename(f.path): f for f in result.findings}


def test_a_tree_that_did_not_change_has_no_change(models: Path, ring: Keyring) -> None:
    take_list(ring, models)
    assert {f.change for f in changes_of(ring, models).values()} == {None}
    assert {f.change for f in changes_of(ring, Path("./models//")).values()} == {None}


def test_each_change_is_told(models: Path, ring: Keyring) -> None:
    take_list(ring, models)
    put(models / "changed", ring, "other", context="m/changed", created=1001)
    (models / "gone").unlink()
    (models / "mover").rename(models / "moved")
    put(models / "context", ring, "context", context="m/other", created=1001)
    put(models / "serial", ring, "an older one", serial=6, created=5000)
    put(models / "time", ring, "an older one", created=1999)
    put(models / "new", ring, "new")
    (models / "plain").write_bytes(b"\x80\x04K\x02.")
    result = changes_of(ring, models)
    assert {name: (f.change, f.level) for name, f in result.items()} == {
        "same": (None, Level.NONE),
        "changed": (Change.CHANGED, Level.NOTE),
        "gone": (Change.MISSING, Level.WARNING),
        "moved": (Change.MOVED, Level.WARNING),
        "context": (Change.CHANGED, Level.WARNING),
        "serial": (Change.OLDER, Level.ERROR),
        "time": (Change.OLDER, Level.ERROR),
        "new": (Change.NEW, Level.NOTE),
        "plain": (Change.CHANGED, Level.WARNING),
    }
    assert all(
        "new list with --inventory" in result[name].advice
        for name in ("changed", "gone", "moved", "context", "new")
    )
    assert result["gone"].verdict is Verdict.MISSING
    assert result["moved"].moved_from == os.path.join("models", "mover")


def test_how_paths_are_typed_makes_no_difference(models: Path, ring: Keyring) -> None:
    take_list(ring, models)
    (models / "gone").unlink()
    for root in (models.resolve(), Path("./models/../models"), Path()):
        found = {f.path: f.change for f in audit(root, keyring=ring, baseline="the.list")}
        assert Counter(change for change in found.values() if change) == {Change.MISSING: 1}


def test_a_list_of_something_else_is_no_baseline(
    models: Path, ring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_list(ring, models)
    folder = models.resolve()
    Path("elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")  # its lines name what would lie in here
    with pytest.raises(PolicyError):
        audit(folder, keyring=ring, baseline="../the.list")


def test_a_baseline_is_for_what_was_said_and_may_be_held_to_its_digest(
    models: Path, ring: Keyring
) -> None:
    listed = take_list(ring, models, context="lists")
    with pytest.raises(ContextError):
        audit(models, keyring=ring, baseline=listed)
    sha256 = hashlib.sha256(listed.read_bytes()).hexdigest()
    for digest in (None, sha256):
        options: Any = {"baseline_context": "lists", "baseline_sha256": digest}
        assert not [f for f in audit(models, keyring=ring, baseline=listed, **options) if f.change]
    take_list(ring, models / "same", context="lists")  # as genuine, and another one
    with pytest.raises(BadSealError):
        audit(
            models,
            keyring=ring,
            baseline=listed,
            baseline_context="lists",
            baseline_sha256=sha256,
        )


def test_a_higher_serial_is_no_older_file_whatever_its_time(models: Path, ring: Keyring) -> None:
    take_list(ring, models)
    put(models / "serial", ring, "newer", serial=8, created=1)
    assert changes_of(ring, models)["serial"].change is Change.CHANGED


def test_a_copy_is_new_and_not_moved(models: Path, ring: Keyring) -> None:
    take_list(ring, models)
    (models / "a copy").write_bytes((models / "same").read_bytes())
    assert changes_of(ring, models)["a copy"].change is Change.NEW


def test_a_file_that_was_sealed_anew_is_the_same(tmp_path: Path, ring_directory: Path) -> None:
    path = tmp_path / "it"
    signed_dump([1], path, keyring=ring_directory, context="a")
    ring = open_keyring(ring_directory)
    items = tuple(i for f in audit(path, keyring=ring) for i in items_of(f))
    write_inventory(Inventory(3000, items), str(tmp_path / "list"), keyring=ring)
    changes.rotate(ring_directory, now=1_800_000_000)
    assert reseal(path, keyring=ring_directory)
    (finding,) = audit(path, keyring=ring_directory, baseline=tmp_path / "list")
    assert finding.verdict is Verdict.SEALED
    assert finding.change is None


def test_a_file_that_was_sealed_anew_under_another_suite_is_told_as_that(
    tmp_path: Path, ring: Keyring, sha_ring: Keyring
) -> None:
    """Its content may have changed: digests of two suites cannot be compared."""
    both = Keyring(*(key for one in (ring, sha_ring) for key in one._keys.values()))
    for name in ("resealed", "changed", "context"):
        put(tmp_path / name, ring, name, context=f"m/{name}")
    items = tuple(i for f in audit(tmp_path, keyring=both) for i in items_of(f))
    write_inventory(Inventory(3000, items), str(tmp_path / "list"), keyring=ring)
    put(tmp_path / "resealed", sha_ring, "resealed", context="m/resealed")
    put(tmp_path / "changed", sha_ring, "other", context="m/changed", created=3000)
    put(tmp_path / "context", sha_ring, "context", context="m/other")
    told = {
        Path(finding.path).name: (finding.change, finding.level, "another suite" in finding.reason)
        for finding in audit(tmp_path, keyring=both, baseline=tmp_path / "list")
    }
    assert told["resealed"] == (Change.CHANGED, Level.NOTE, True)
    assert told["changed"] == (Change.CHANGED, Level.NOTE, False)
    assert told["context"] == (Change.CHANGED, Level.WARNING, False)


def test_what_lies_elsewhere_is_not_missed(models: Path, ring: Keyring) -> None:
    (models / "sub").mkdir()
    put(models / "sub" / "it", ring, "it")
    take_list(ring, models)
    (models / "sub" / "it").unlink()
    (models / "gone").unlink()
    inner = changes_of(ring, models / "sub")
    assert {name: f.change for name, f in inner.items()} == {"it": Change.MISSING}
    assert changes_of(ring, Path())["gone"].change is Change.MISSING


def test_what_is_there_and_refused_or_closed_is_not_missing(models: Path, ring: Keyring) -> None:
    take_list(ring, models)
    data = bytearray((models / "same").read_bytes())
    data[-1] ^= 1
    (models / "same").write_bytes(data)
    assert changes_of(ring, models)["same"].verdict is Verdict.BAD_BODY


def test_what_has_taken_a_files_place_and_is_no_artifact_is_a_change(
    models: Path, ring: Keyring
) -> None:
    take_list(ring, models)
    (models / "same").write_text("all is well\n")
    (models / "time").unlink()
    (models / "time").symlink_to("serial")
    (models / "changed").unlink()
    os.mkfifo(models / "changed")
    (models / "context").write_bytes(Path("the.list").read_bytes())
    result = changes_of(ring, models)
    for name in ("same", "time", "changed", "context"):
        assert (result[name].change, result[name].level) == (Change.CHANGED, Level.WARNING)
    excluded = audit(models, keyring=ring, baseline="the.list", exclude=["same"])
    assert {os.path.basename(f.path): f.change for f in excluded}["same"] is None


def test_several_objects_in_a_file_are_listed_in_their_order(models: Path, ring: Keyring) -> None:
    with open(models / "stream", "wb") as file:
        for number in range(3):
            signed_dump(number, file, keyring=ring)
    listed = read_inventory(take_list(ring, models), keyring=ring).inventory
    assert sum(os.path.basename(item.path) == "stream" for item in listed.items) == 3
    assert changes_of(ring, models)["stream"].change is None
    whole = (models / "stream").read_bytes()
    third = len(whole) // 3
    (models / "stream").write_bytes(whole[third:] + whole[:third])
    assert changes_of(ring, models)["stream"].change is Change.CHANGED


def test_a_list_is_not_listed_and_what_is_unsealed_is_never_readmitted(
    models: Path, ring: Keyring
) -> None:
    take_list(ring, models).rename(models / "a.list")
    listed = read_inventory(take_list(ring, models), keyring=ring).inventory
    names = {os.path.basename(item.path) for item in listed.items}
    assert "a.list" not in names
    assert "plain" in names
    assert len(listed.known()) == len(listed.items) - 1
    assert changes_of(ring, models)["a.list"].change is None


def test_a_list_by_somebody_else_or_one_that_was_changed_is_no_baseline(
    models: Path, ring: Keyring
) -> None:
    listed = take_list(ring, models)
    data = bytearray(listed.read_bytes())
    data[-50] ^= 1
    listed.write_bytes(data)
    with pytest.raises(SealError):
        audit(models, keyring=ring, baseline=listed)
    take_list(Keyring(Key.generate()), models)
    with pytest.raises(SealError):
        audit(models, keyring=ring, baseline=listed)


def test_a_list_that_a_revoked_key_sealed_is_a_baseline_by_its_sha256_alone(
    models: Path, ring_directory: Path
) -> None:
    listed = take_list(open_keyring(ring_directory), models)
    stolen = open_keyring(ring_directory).primary
    assert stolen is not None
    change = partial(Roster.revoke, key_id=stolen, reason="lost", now=1)
    changes.change_roster(ring_directory, change)
    with pytest.raises(RevokedKeyError, match="make a new inventory") as refused:
        audit(models, keyring=ring_directory, baseline=listed)
    assert refused.value.source == str(listed)
    sha256 = hashlib.sha256(listed.read_bytes()).hexdigest()
    report = audit(models, keyring=ring_directory, baseline=listed, baseline_sha256=sha256)
    assert not [finding for finding in report if finding.change]
    with pytest.raises(BadSealError):
        audit(models, keyring=ring_directory, baseline=listed, baseline_sha256="0" * 64)


@pytest.mark.parametrize(
    "line",
    [
        {"path": "a", "digest": "sha256:" + "0" * 64, "metadata": "0" * 64},
        {"path": "a", "digest": "sha256:" + "0" * 64, "serial": 1},
        {"path": "a", "digest": "sha256:" + "0" * 63},
        {"path": "a", "digest": "ps2:" + "0" * 64},
        {"path": "a", "digest": "ps2:" + "0" * 64, "metadata": "0" * 64, "serial": True},
        {"path": "a", "digest": "ps2:" + "0" * 64, "metadata": "0" * 64, "created": "1"},
        {"path": "a", "digest": "ps2:" + "0" * 64, "metadata": "0" * 64, "other": 1},
    ],
)
def test_a_line_that_names_no_artifact_is_refused(line: dict[str, object]) -> None:
    first = {"format": "pickleseal-inventory-1", "created": 1}
    text = "".join(json.dumps(one) + "\n" for one in (first, line))
    with pytest.raises(SealError):
        Inventory.decode(text.encode())


def test_paths_that_are_no_text_survive_a_list(models: Path, ring: Keyring) -> None:
    name = os.fsdecode(b"models/\xff\n\x1b")
    put(Path(name), ring, "x")
    listed = read_inventory(take_list(ring, models), keyring=ring).inventory
    assert name in {item.path for item in listed.items}
    assert changes_of(ring, models)[os.path.basename(name)].change is None
