"""What may be sealed again after a revocation: exactly what an inventory lists."""

import hashlib
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
from envelopes import hand_sealed
from resealing import outcomes, sealed_by, sealed_models
from rings import NOW, primary_of, revoke, rotate
from watching import armed, nothing_unpickled

from pickleseal import (
    BadSealError,
    Key,
    Keyring,
    NotSealedError,
    PolicyError,
    RevokedKeyError,
    SealError,
    Suite,
    adopt_bytes,
    audit,
    open_keyring,
    reseal,
    signed_dump,
    signed_dumps,
    signed_load,
    verify,
)
from pickleseal.auditing.baselines import items_of
from pickleseal.envelope import seal
from pickleseal.envelope.source import open_source
from pickleseal.envelope.target import join_envelope
from pickleseal.keys.store import changes
from pickleseal.keys.store.changes import change_roster, create_key
from pickleseal.keys.store.lookup import revoked_keys
from pickleseal.migration.batch import Batch, Outcome, Result
from pickleseal.migration.reseal import Resealed, readmission, reseal_all
from pickleseal.persistence.inventory import Inventory, Item, metadata_digest
from pickleseal.persistence.inventory_file import read_inventory, write_inventory


@pytest.fixture
def models(ring_directory: Path, tmp_path: Path) -> Path:
    return sealed_models(tmp_path, ring_directory)


def items_below(folder: Path, ring: Keyring) -> tuple[Item, ...]:
    found = audit(folder, keyring=ring)
    return tuple(item for finding in found for item in items_of(finding))


@pytest.fixture
def listed(models: Path, ring_directory: Path, tmp_path: Path) -> Path:
    """Return an inventory of the models, sealed by another key of the ring."""
    ring = open_keyring(ring_directory)
    items = items_below(models, ring)
    assert len(items) == 3
    other = create_key(ring_directory, now=NOW).entry.id
    old = primary_of(ring_directory)
    change_roster(ring_directory, lambda r: r.make_primary(other))
    path = tmp_path / "models.inventory"
    write_inventory(Inventory(NOW, items), str(path), keyring=open_keyring(ring_directory))
    change_roster(ring_directory, lambda r: r.make_primary(old))
    return path


def readmit(
    ring_directory: Path, inventory: Path, paths: list[Path], *, sha256: str | None = None
) -> list[Result[Resealed]]:
    ring = open_keyring(ring_directory)
    admitted = readmission(ring, inventory, sha256=sha256)
    return list(reseal_all(Batch(map(str, paths)), keyring=ring, readmitted=admitted))


def test_an_inventory_is_read_back_and_never_unpickled(
    listed: Path, ring_directory: Path, models: Path
) -> None:
    found = read_inventory(listed, keyring=open_keyring(ring_directory)).inventory
    assert found.created == NOW
    by_path = {item.path: item for item in found.items}
    facts = verify(models / "deep/array.pkl", keyring=ring_directory)
    assert facts.metadata is not None
    path, digest = str(models / "deep/array.pkl"), facts.digest or ""
    created = facts.metadata.created
    expected = Item(path, digest, metadata_digest(facts.metadata), "fraud/v1", None, created)
    assert by_path[path] == expected
    with pytest.raises(PolicyError), nothing_unpickled():
        signed_load(listed, keyring=ring_directory)
    with pytest.raises(PolicyError):
        read_inventory(models / "list.pkl", keyring=open_keyring(ring_directory))


def test_after_a_revocation_exactly_what_an_inventory_lists_is_readmitted(
    models: Path, listed: Path, ring_directory: Path, tmp_path: Path
) -> None:
    old = primary_of(ring_directory)
    thief = Keyring(revoked_key_of(ring_directory, old))
    new = rotate(ring_directory)
    revoke(ring_directory, old)
    # What the thief makes: another object, a listed one for another place, one that says more.
    genuine = models / "deep/array.pkl"
    facts = verify(genuine, keyring=thief).metadata
    assert facts is not None
    (models / "same.pkl").write_bytes(hand_sealed(thief, facts, b"N."))
    (models / "evil.pkl").write_bytes(adopt_bytes(armed(tmp_path / "evil"), keyring=thief))
    (models / "list.pkl").write_bytes(signed_dumps([1, 2, 3], keyring=thief))
    relabel(genuine, models / "swap.pkl", thief, context="spam/v1")
    relabel(genuine, models / "later.pkl", thief, serial=2**53 - 1)
    relabel(models / "deep/er/old.pkl", models / "text.pkl", thief, content="inventory")
    with nothing_unpickled():
        done = readmit(ring_directory, listed, [models])
    refused = [result for result in done if result.outcome is Outcome.REFUSED]
    assert all("made or changed after the list" in result.reason for result in refused)
    assert {
        name: what for name, what in outcomes(done, models).items() if what != "not sealed"
    } == {
        "list.pkl": "refused",
        "evil.pkl": "refused",
        "swap.pkl": "refused",
        "later.pkl": "refused",
        "same.pkl": "refused",
        "text.pkl": "skipped",
        "deep/array.pkl": "resealed",
        "deep/er/old.pkl": "resealed",
    }
    assert sealed_by(genuine) == new
    assert sealed_by(models / "evil.pkl") == old
    with pytest.raises(RevokedKeyError):
        signed_load(models / "list.pkl", keyring=ring_directory)


def test_a_list_of_another_suite_readmits_nothing_and_says_why(
    models: Path, listed: Path, ring_directory: Path
) -> None:
    new = rotate(ring_directory, suite=Suite.SHA256)
    moved = list(reseal_all(Batch([str(models)]), keyring=open_keyring(ring_directory)))
    assert Outcome.RESEALED in {result.outcome for result in moved}
    thief = Keyring(revoked_key_of(ring_directory, new))
    (models / "evil.pkl").write_bytes(adopt_bytes(pickle.dumps(1), keyring=thief))
    rotate(ring_directory)
    revoke(ring_directory, new)
    done = readmit(ring_directory, listed, [models])
    (evil,) = [result.reason for result in done if Path(result.path).name == "evil.pkl"]
    assert "made or changed after the list" in evil
    said = [result.reason for result in done if Path(result.path).name == "array.pkl"]
    assert len(said) == 1
    assert "digests of another suite" in str(said[0])
    assert sealed_by(models / "deep/array.pkl") == new


def revoked_key_of(folder: Path, key_id: str) -> Key:
    found = open_keyring(folder).key(key_id)
    assert found is not None
    return found


def relabel(source: Path, target: Path, ring: Keyring, **changes: Any) -> None:
    """Seal the content of a file with other metadata, as the holder of a key can."""
    from pickleseal.envelope import reader

    with open_source(source) as opened:
        payload = reader.read(opened, lambda _: ring, check=lambda _: None)
    key = ring.sealing_key(context=None, now=0)
    metadata = payload.head.metadata._replace(**changes)
    head = seal.seal_head(key, metadata, payload.head.lengths)
    segments = payload.stored
    target.write_bytes(join_envelope(head.data, segments, head.finish, key.suite))


def test_without_an_inventory_nothing_of_a_revoked_key_is_sealed_anew(
    models: Path, ring_directory: Path
) -> None:
    old = primary_of(ring_directory)
    rotate(ring_directory)
    revoke(ring_directory, old)
    done = list(reseal_all(Batch([str(models)]), keyring=open_keyring(ring_directory)))
    assert {one.outcome for one in done} == {Outcome.REFUSED, Outcome.NOT_SEALED}
    assert all(isinstance(e.error, RevokedKeyError) for e in done if e.outcome is Outcome.REFUSED)


def test_a_list_that_a_revoked_key_sealed_needs_its_own_sha256(
    models: Path, ring_directory: Path, tmp_path: Path
) -> None:
    """Row 38: a thief of the key can seal lists too."""
    ring = open_keyring(ring_directory)
    items = items_below(models, ring)
    path = tmp_path / "list"
    sha256 = write_inventory(Inventory(NOW, items), str(path), keyring=ring)
    assert sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    old = primary_of(ring_directory)
    thief = Keyring(revoked_key_of(ring_directory, old))
    rotate(ring_directory)
    revoke(ring_directory, old)
    with pytest.raises(RevokedKeyError):
        readmit(ring_directory, path, [models])
    genuine = path.read_bytes()
    write_inventory(Inventory(NOW, items[:1]), str(path), keyring=thief)
    with pytest.raises(BadSealError):
        readmit(ring_directory, path, [models], sha256=sha256)
    path.write_bytes(genuine)
    done = readmit(ring_directory, path, [models], sha256=sha256.upper())
    assert sum(one.outcome is Outcome.RESEALED for one in done) == 3


def test_a_plain_text_is_no_list_though_its_sha256_is_given(
    models: Path, ring_directory: Path, tmp_path: Path
) -> None:
    path = tmp_path / "list"
    path.write_bytes(Inventory(NOW, ()).encode())
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(NotSealedError):
        readmit(ring_directory, path, [models], sha256=sha256)


def test_a_revoked_key_whose_file_is_gone_readmits_nothing(
    models: Path, listed: Path, ring_directory: Path
) -> None:
    old = primary_of(ring_directory)
    rotate(ring_directory)
    revoke(ring_directory, old)
    assert [key.id for key in revoked_keys(open_keyring(ring_directory))] == [old]
    (ring_directory / f"{old}.key").unlink()
    assert revoked_keys(open_keyring(ring_directory)) == []
    done = readmit(ring_directory, listed, [models / "list.pkl"])
    assert isinstance(done[0].error, RevokedKeyError)


def test_a_key_that_is_bound_to_contexts_vouches_for_those_alone(
    models: Path, ring_directory: Path, tmp_path: Path
) -> None:
    ring = open_keyring(ring_directory)
    items = items_below(models, ring)
    old = primary_of(ring_directory)
    bound = create_key(ring_directory, now=NOW, limits=changes.Limits(contexts=("fraud/*",)))
    change_roster(ring_directory, lambda r: r.make_primary(bound.entry.id))
    path = str(tmp_path / "list")
    sha256 = write_inventory(
        Inventory(NOW, items), path, keyring=open_keyring(ring_directory), context="fraud/list"
    )
    new = create_key(ring_directory, now=NOW).entry.id
    change_roster(ring_directory, lambda r: r.make_primary(new))
    revoke(ring_directory, old)
    done = outcomes(readmit(ring_directory, Path(path), [models]), models)
    assert done["deep/array.pkl"] == "resealed", "its context is fraud/v1"
    assert (done["list.pkl"], done["deep/er/old.pkl"]) == ("refused", "refused")
    again = readmit(ring_directory, Path(path), [models], sha256=sha256)
    assert outcomes(again, models)["list.pkl"] == "resealed", "the operator's own word"


def test_a_huge_file_is_no_inventory(ring_directory: Path, tmp_path: Path) -> None:
    path = tmp_path / "list"
    write_inventory(Inventory(NOW, ()), str(path), keyring=open_keyring(ring_directory))
    os.truncate(path, 1 << 40)
    for sha256 in (None, "0" * 64):
        with pytest.raises(SealError):
            readmit(ring_directory, path, [tmp_path], sha256=sha256)


def test_with_a_list_files_of_good_keys_that_it_lacks_are_left_too(
    models: Path, listed: Path, ring_directory: Path
) -> None:
    rotate(ring_directory)
    signed_dump("new", models / "new.pkl", keyring=ring_directory)
    rotate(ring_directory)
    found = outcomes(readmit(ring_directory, listed, [models]), models)
    assert found["new.pkl"] == "refused"
    assert found["list.pkl"] == "resealed"


def test_an_inventory_found_on_the_way_is_left_as_it_is(
    models: Path, listed: Path, ring_directory: Path
) -> None:
    """A user may have noted down its SHA-256."""
    inside = models / "list.inventory"
    inside.write_bytes(listed.read_bytes())
    rotate(ring_directory)
    rotate(ring_directory)
    done = list(reseal_all(Batch([str(models)]), keyring=open_keyring(ring_directory)))
    assert outcomes(done, models)["list.inventory"] == "skipped"
    assert inside.read_bytes() == listed.read_bytes()
    assert reseal(inside, keyring=ring_directory), "if it is named it is sealed anew"


def test_a_list_from_after_the_leak_readmits_nothing_of_that_key(
    models: Path, listed: Path, ring_directory: Path
) -> None:
    """It may list what the thief made, though a key that is not revoked sealed it."""
    old = primary_of(ring_directory)
    rotate(ring_directory)
    signed_dump("good", models / "good.pkl", keyring=ring_directory)
    rotate(ring_directory)

    def leak(since: int | None) -> None:
        change_roster(
            ring_directory, lambda r: r.revoke(old, reason="stolen", now=NOW * 2, leaked=since)
        )

    leak(NOW)
    found = outcomes(readmit(ring_directory, listed, [models]), models)
    assert {found[name] for name in ("list.pkl", "deep/array.pkl", "deep/er/old.pkl")} == {
        "refused"
    }
    (one,) = readmit(ring_directory, listed, [models / "list.pkl"])
    assert isinstance(one.error, PolicyError)
    sha256 = hashlib.sha256(listed.read_bytes()).hexdigest()
    (one,) = readmit(ring_directory, listed, [models / "list.pkl"], sha256=sha256)
    assert isinstance(one.error, PolicyError), "its SHA-256 does not make it older"
    leak(NOW + 1)
    found = outcomes(readmit(ring_directory, listed, [models]), models)
    assert found["list.pkl"] == found["deep/array.pkl"] == "resealed"


def test_a_list_must_be_older_than_was_asked_for(listed: Path, ring_directory: Path) -> None:
    ring = open_keyring(ring_directory)
    sha256 = hashlib.sha256(listed.read_bytes()).hexdigest()
    for given in (None, sha256):
        assert readmission(ring, listed, sha256=given, made_before=NOW + 1)
        with pytest.raises(PolicyError) as caught:
            readmission(ring, listed, sha256=given, made_before=NOW)
        assert caught.value.source == str(listed)
