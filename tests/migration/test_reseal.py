"""Sealing anew under the primary key, and what may be readmitted after a revocation."""

import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from watching import armed, nothing_unpickled

from pickleseal import (
    BadSealError,
    ContextError,
    ExpiredError,
    Key,
    Keyring,
    KeyringError,
    MalformedError,
    NotSealedError,
    PolicyError,
    RevokedKeyError,
    SealError,
    TargetError,
    UnknownKeyError,
    WrongPassphraseError,
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
from pickleseal.envelope import metadata as md
from pickleseal.envelope import seal
from pickleseal.envelope.source import open_source
from pickleseal.envelope.target import join_envelope
from pickleseal.files.atomic import TEMPORARY_PREFIX, TEMPORARY_SUFFIX
from pickleseal.keys.passphrase import Passphrase
from pickleseal.keys.store import changes
from pickleseal.keys.store.changes import change_roster, create_key
from pickleseal.keys.store.directory import read_roster, revoked_keys
from pickleseal.keys.store.lines import Opener
from pickleseal.keys.suite import Suite
from pickleseal.migration.reseal import (
    Outcome,
    Resealed,
    readmission,
    reseal_all,
)
from pickleseal.persistence.inventory import Inventory, Item, metadata_digest
from pickleseal.persistence.inventory_file import read_inventory, write_inventory

NOW = 1_800_000_000


def rotate(folder: Path, **options: Any) -> str:
    return changes.rotate(folder, now=NOW, **options).entry.id


def primary_of(folder: Path) -> str:
    found = read_roster(folder).primary
    assert found is not None
    return found


def revoke(folder: Path, key_id: str) -> None:
    change_roster(folder, lambda r: r.revoke(key_id, reason="stolen", now=NOW))


def sealed_by(path: Path) -> str:
    return path.read_bytes()[16:32].hex()


def outcomes(found: list[Resealed], below: Path) -> dict[str, str]:
    return {str(Path(one.path).relative_to(below)): one.outcome.value for one in found}


@pytest.fixture
def models(ring_directory: Path, tmp_path: Path) -> Path:
    """Give a folder of sealed files of several kinds, and some that are none."""
    import numpy as np

    folder = tmp_path / "models"
    (folder / "deep" / "er").mkdir(parents=True)
    signed_dump([1, 2], folder / "list.pkl", info={"a": 0.1}, keyring=ring_directory)
    array = np.arange(300_000.0)
    signed_dump(array, folder / "deep/array.pkl", context="fraud/v1", keyring=ring_directory)
    old = adopt_bytes(armed(tmp_path / "mark"), keyring=ring_directory)
    (folder / "deep/er/old.pkl").write_bytes(old)
    (folder / "notes.txt").write_text("hello")
    (folder / "empty").touch()
    return folder


def test_files_move_to_the_new_key_and_say_of_themselves_what_they_said(
    models: Path, ring_directory: Path, tmp_path: Path
) -> None:
    files = [models / "list.pkl", models / "deep/array.pkl", models / "deep/er/old.pkl"]
    before = [verify(path, keyring=ring_directory) for path in files]
    new = rotate(ring_directory)
    with nothing_unpickled():
        done = list(reseal_all([str(models)], keyring=open_keyring(ring_directory)))
    assert outcomes(done, models) == {
        "list.pkl": "resealed",
        "deep/array.pkl": "resealed",
        "deep/er/old.pkl": "resealed",
        "notes.txt": "not sealed",
        "empty": "not sealed",
    }
    assert not (tmp_path / "mark").exists()
    for path, facts in zip(files, before, strict=True):
        after = verify(path, keyring=ring_directory)
        assert after.key_id == new
        assert (after.metadata, after.digest) == (facts.metadata, facts.digest)
    assert signed_load(files[0], keyring=ring_directory) == [1, 2]
    assert list(signed_load(files[1], keyring=ring_directory, context="fraud/v1")[:3]) == [0, 1, 2]
    again = list(reseal_all([str(models)], keyring=open_keyring(ring_directory)))
    assert {one.outcome for one in again} == {Outcome.ALREADY, Outcome.NOT_SEALED}


def test_the_suite_may_change_with_the_key(models: Path, ring_directory: Path) -> None:
    rotate(ring_directory, suite=Suite.SHA256)
    assert reseal(models / "deep" / "array.pkl", keyring=ring_directory) is not None
    facts = verify(models / "deep" / "array.pkl", keyring=ring_directory)
    assert (facts.suite, (facts.digest or "")[:4]) == (1, "ps1:")
    assert len(signed_load(facts.file or "", keyring=ring_directory, context="fraud/v1")) == 300_000


def test_external_buffers_stay_bound(ring_directory: Path, tmp_path: Path) -> None:
    import numpy as np

    buffers: list[Any] = []
    array = np.arange(100_000)
    path = tmp_path / "it.pkl"
    signed_dump(array, path, 5, buffer_callback=buffers.append, keyring=ring_directory)
    rotate(ring_directory)
    reseal(path, keyring=ring_directory)
    loaded = signed_load(path, buffers=buffers, keyring=ring_directory)
    assert (loaded == array).all()
    with pytest.raises(PolicyError):
        signed_load(path, buffers=[np.arange(100_000)[::-1].copy()], keyring=ring_directory)


def test_one_file_tells_which_key_had_sealed_it(models: Path, ring_directory: Path) -> None:
    old = primary_of(ring_directory)
    rotate(ring_directory)
    assert reseal(models / "list.pkl", keyring=ring_directory) == old
    assert reseal(models / "list.pkl", keyring=ring_directory) is None


def test_whatever_does_not_verify_stays_as_it_is(
    models: Path, ring_directory: Path, tmp_path: Path
) -> None:
    path = models / "list.pkl"
    data = path.read_bytes()
    stranger = signed_dumps(1, keyring=Keyring(Key.generate()))
    plain = armed(tmp_path / "mark")
    cases = {
        data[:-1] + bytes([data[-1] ^ 1]): BadSealError,
        data[:70] + bytes([data[70] ^ 1]) + data[71:]: BadSealError,
        data + b"\0": MalformedError,
        data[:-1]: MalformedError,
        stranger: UnknownKeyError,
        plain: NotSealedError,
    }
    rotate(ring_directory)
    for changed, error in cases.items():
        path.write_bytes(changed)
        with pytest.raises(error), nothing_unpickled():
            reseal(path, keyring=ring_directory)
        assert path.read_bytes() == changed
    assert sorted(os.listdir(models)) == ["deep", "empty", "list.pkl", "notes.txt"]


def test_a_file_that_is_read_only_is_sealed_anew_all_the_same(
    models: Path, ring_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = rotate(ring_directory)
    path = models / "list.pkl"
    path.chmod(0o444)
    monkeypatch.setattr(os, "access", lambda *_, **__: False)
    with pytest.raises(PermissionError):
        signed_dump(1, path, keyring=ring_directory)
    reseal(path, keyring=ring_directory)
    assert sealed_by(path) == new


def test_a_file_of_several_objects_is_refused_and_told_what_to_do(
    models: Path, ring_directory: Path
) -> None:
    path = models / "list.pkl"
    with path.open("ab") as file:
        signed_dump(3, file, keyring=ring_directory)
    before = path.read_bytes()
    rotate(ring_directory)
    with pytest.raises(MalformedError, match=r"list\.pkl: it has several sealed objects, one "):
        reseal(path, keyring=ring_directory)
    done = list(reseal_all([str(models)], keyring=open_keyring(ring_directory)))
    assert outcomes(done, models)["list.pkl"] == "refused"
    assert outcomes(done, models)["deep/array.pkl"] == "resealed"
    assert path.read_bytes() == before
    path.write_bytes(before + b"more")
    with pytest.raises(MalformedError, match="several sealed objects"):
        reseal(path, keyring=ring_directory)
    path.write_bytes(before[:-1])
    with pytest.raises(MalformedError, match="several sealed objects"):
        reseal(path, keyring=ring_directory)


def test_an_envelope_whose_time_is_over_is_not_sealed_anew(
    ring_directory: Path, tmp_path: Path
) -> None:
    key = open_keyring(ring_directory).sealing_key(context=None, now=0)
    metadata = md.Metadata(content="pickle", expires=int(time.time()) - 1)
    head = seal.seal_head(key, metadata, [2])
    data = join_envelope(head.data, [memoryview(b"N.")], head.finish, key.suite)
    (tmp_path / "it").write_bytes(data)
    rotate(ring_directory)
    with pytest.raises(ExpiredError):
        reseal(tmp_path / "it", keyring=ring_directory)


def test_a_context_that_is_asked_for_is_enforced(models: Path, ring_directory: Path) -> None:
    rotate(ring_directory)
    with pytest.raises(ContextError):
        reseal(models / "deep/array.pkl", keyring=ring_directory, context="spam")
    done = list(reseal_all([str(models)], keyring=open_keyring(ring_directory), context="fraud/v1"))
    assert outcomes(done, models) == {
        "list.pkl": "skipped",
        "deep/array.pkl": "resealed",
        "deep/er/old.pkl": "skipped",
        "notes.txt": "not sealed",
        "empty": "not sealed",
    }


def test_a_ring_that_may_not_seal_reseals_nothing(models: Path, ring_directory: Path) -> None:
    old = primary_of(ring_directory)
    new = rotate(ring_directory)
    change_roster(ring_directory, lambda r: r.limit(new, sign_until=None, contexts=("fraud/*",)))
    done = list(reseal_all([str(models)], keyring=open_keyring(ring_directory)))
    assert {name for name, what in outcomes(done, models).items() if what == "failed"} == {
        "list.pkl",
        "deep/er/old.pkl",
    }
    assert sealed_by(models / "deep/array.pkl") == new
    change_roster(ring_directory, lambda r: r.limit(new, sign_until=NOW - 10**9, contexts=None))
    with pytest.raises(KeyringError):
        list(reseal_all([str(models)], keyring=open_keyring(ring_directory)))
    assert sealed_by(models / "list.pkl") == old


def test_a_dry_run_verifies_all_and_writes_nothing(models: Path, ring_directory: Path) -> None:
    rotate(ring_directory)
    broken = models / "deep/er/broken.pkl"
    good = (models / "list.pkl").read_bytes()
    broken.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    before = {path: path.stat().st_mtime_ns for path in models.rglob("*")}
    done = list(reseal_all([str(models)], keyring=open_keyring(ring_directory), dry_run=True))
    assert outcomes(done, models)["deep/er/broken.pkl"] == "refused"
    assert outcomes(done, models)["list.pkl"] == "resealed"
    assert {path: path.stat().st_mtime_ns for path in models.rglob("*")} == before


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="POSIX only")
def test_what_is_no_file_to_look_at_is_told_with_its_reason(
    models: Path, ring_directory: Path, tmp_path: Path
) -> None:
    rotate(ring_directory)
    (models / "loop").symlink_to(models, target_is_directory=True)
    (models / "link.pkl").symlink_to(models / "list.pkl")
    os.mkfifo(models / "fifo")
    (models / f"{TEMPORARY_PREFIX}1{TEMPORARY_SUFFIX}").touch()
    ring = open_keyring(ring_directory)
    done = list(
        reseal_all([str(models), str(tmp_path / "none"), str(models / "fifo")], keyring=ring)
    )
    by_name = {Path(one.path).name: one for one in done}
    for name in ("loop", "link.pkl", ".pickleseal-1.tmp"):
        assert by_name[name].outcome is Outcome.SKIPPED
        assert by_name[name].reason
    assert by_name["none"].outcome is Outcome.FAILED
    assert by_name["fifo"].outcome is Outcome.REFUSED, "it was named"
    assert len(done) == len(list(models.rglob("*"))) - 2 + 2, "a reason for each, and no loop"


def test_a_link_that_is_named_stays_a_link(models: Path, ring_directory: Path) -> None:
    new = rotate(ring_directory)
    link = models / "link.pkl"
    link.symlink_to(models / "list.pkl")
    reseal(link, keyring=ring_directory)
    assert link.is_symlink()
    assert sealed_by(models / "list.pkl") == new


@pytest.mark.skipif(not hasattr(os, "fchmod"), reason="POSIX only")
def test_mode_and_owner_stay(models: Path, ring_directory: Path) -> None:
    rotate(ring_directory)
    path = models / "list.pkl"
    path.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(path, 12345, 12346)
    before = path.stat()
    reseal(path, keyring=ring_directory)
    after = path.stat()
    assert (after.st_mode, after.st_uid, after.st_gid) == (
        before.st_mode,
        before.st_uid,
        before.st_gid,
    )
    assert after.st_ino != before.st_ino


def test_a_file_that_somebody_wrote_meanwhile_is_left_as_it_is_now(
    models: Path, ring_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A newer model must not be lost to the older one that was read before it."""
    path = models / "list.pkl"
    rotate(ring_directory)
    real = seal.seal_head

    def interfere(*arguments: Any) -> seal.SealedHead:
        if path.read_bytes() != newer:
            path.unlink()
            path.write_bytes(newer)
        return real(*arguments)

    newer = signed_dumps("newer", keyring=ring_directory)
    monkeypatch.setattr(seal, "seal_head", interfere)
    with pytest.raises(TargetError):
        reseal(path, keyring=ring_directory)
    assert path.read_bytes() == newer
    assert not list(models.glob(".pickleseal-*"))


def test_writers_and_a_resealer_at_once_lose_nothing_that_was_written_last(
    ring_directory: Path, tmp_path: Path
) -> None:
    path = tmp_path / "model.pkl"
    signed_dump(0, path, keyring=ring_directory)
    old_ring = open_keyring(ring_directory)
    rotate(ring_directory)
    stop = threading.Event()
    errors: list[Exception] = []

    def work() -> None:
        while not stop.is_set():
            try:
                reseal(path, keyring=ring_directory)
            except TargetError:
                continue
            except Exception as error:  # noqa: BLE001 - told below
                errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    for number in range(100):
        signed_dump(number, path, keyring=old_ring)
        assert signed_load(path, keyring=ring_directory) in (number, number - 1)
    stop.set()
    thread.join()
    assert not errors


def test_a_kill_in_the_middle_leaves_each_file_whole_and_the_rest_is_done_later(
    ring_directory: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(200):
        signed_dump([number] * 100, folder / f"{number}.pkl", keyring=ring_directory, durable=False)
    new = rotate(ring_directory)
    code = (
        "import sys\n"
        "from pickleseal import open_keyring\n"
        "from pickleseal.migration.reseal import reseal_all\n"
        "for one in reseal_all([sys.argv[1]], keyring=open_keyring(sys.argv[2])):\n"
        "    print(one.path, flush=True)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(folder), str(ring_directory)],
        stdout=subprocess.PIPE,
        text=True,
    ) as worker:
        assert worker.stdout is not None
        for _ in range(20):
            worker.stdout.readline()
        worker.send_signal(signal.SIGKILL)
    ring = open_keyring(ring_directory)
    keys = {sealed_by(path) for path in folder.glob("*.pkl")}
    assert len(keys) == 2, "it was stopped in the middle"
    for path in folder.glob("*.pkl"):
        verify(path, keyring=ring)
    done = list(reseal_all([str(folder)], keyring=ring))
    assert {one.outcome for one in done} <= {Outcome.RESEALED, Outcome.ALREADY, Outcome.SKIPPED}
    assert sum(one.outcome is Outcome.ALREADY for one in done) >= 20
    assert {sealed_by(path) for path in folder.glob("*.pkl")} == {new}


# --- inventories -----------------------------------------------------------------------------


def items_below(folder: Path, ring: Keyring) -> tuple[Item, ...]:
    found = audit(folder, keyring=ring)
    return tuple(item for finding in found for item in items_of(finding))


@pytest.fixture
def listed(models: Path, ring_directory: Path, tmp_path: Path) -> Path:
    """Give an inventory of the models, sealed by a key of its own which is in the ring too."""
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
) -> list[Resealed]:
    ring = open_keyring(ring_directory)
    admitted = readmission(ring, inventory, sha256=sha256)
    return list(reseal_all(map(str, paths), keyring=ring, readmitted=admitted))


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
    (models / "evil.pkl").write_bytes(adopt_bytes(armed(tmp_path / "evil"), keyring=thief))
    (models / "list.pkl").write_bytes(signed_dumps([1, 2, 3], keyring=thief))
    relabel(genuine, models / "swap.pkl", thief, context="spam/v1")
    relabel(genuine, models / "later.pkl", thief, serial=2**53 - 1)
    relabel(models / "deep/er/old.pkl", models / "text.pkl", thief, content="inventory")
    with nothing_unpickled():
        done = readmit(ring_directory, listed, [models])
    assert {
        name: what for name, what in outcomes(done, models).items() if what != "not sealed"
    } == {
        "list.pkl": "refused",
        "evil.pkl": "refused",
        "swap.pkl": "refused",
        "later.pkl": "refused",
        "text.pkl": "skipped",
        "deep/array.pkl": "resealed",
        "deep/er/old.pkl": "resealed",
    }
    assert sealed_by(genuine) == new
    assert sealed_by(models / "evil.pkl") == old
    with pytest.raises(RevokedKeyError):
        signed_load(models / "list.pkl", keyring=ring_directory)


def revoked_key_of(folder: Path, key_id: str) -> Key:
    found = open_keyring(folder).key(key_id)
    assert found is not None
    return found


def relabel(source: Path, target: Path, ring: Keyring, **changes: Any) -> None:
    """Seal the content of a file under other metadata, as the holder of its key can."""
    from pickleseal.envelope import reader

    with open_source(source) as opened:
        payload = reader.read(opened, lambda: ring, check=lambda _: None)
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
    done = list(reseal_all([str(models)], keyring=open_keyring(ring_directory)))
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


def test_a_subfolder_that_became_a_link_is_not_followed(
    models: Path, ring_directory: Path, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    signed_dump(1, elsewhere / "a.pkl", keyring=ring_directory)
    signed_dump(1, models / "deep" / "a.pkl", keyring=ring_directory)
    before = (elsewhere / "a.pkl").read_bytes()
    rotate(ring_directory)
    work = reseal_all([str(models)], keyring=open_keyring(ring_directory))
    done = [next(work)]  # the walk has seen the subfolder by now
    (models / "deep").rename(tmp_path / "was deep")
    (models / "deep").symlink_to(elsewhere, target_is_directory=True)
    done += work
    assert (elsewhere / "a.pkl").read_bytes() == before
    assert {Path(d.path).name: d.outcome for d in done}["deep"] is Outcome.SKIPPED


def test_a_wrong_passphrase_ends_the_work_at_once(models: Path, ring_directory: Path) -> None:
    ids = list(read_roster(ring_directory).entries)
    passphrase = Passphrase("correct horse battery")
    changes.protect(ring_directory, ids, Opener(), lambda: changes.Storage(passphrase))
    changes.rotate(ring_directory, now=NOW)
    asked: list[int] = []

    def ask() -> str:
        asked.append(1)
        return "wrong"

    ring = open_keyring(ring_directory, passphrase=ask)
    for work in (reseal_all([str(models)], keyring=ring), audit(models, keyring=ring)):
        asked.clear()
        with pytest.raises(WrongPassphraseError):
            list(work)
        assert len(asked) == 1


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
    """Its SHA-256 was noted down."""
    inside = models / "list.inventory"
    inside.write_bytes(listed.read_bytes())
    rotate(ring_directory)
    rotate(ring_directory)
    done = list(reseal_all([str(models)], keyring=open_keyring(ring_directory)))
    assert outcomes(done, models)["list.inventory"] == "skipped"
    assert inside.read_bytes() == listed.read_bytes()
    assert reseal(inside, keyring=ring_directory), "if it is named it is sealed anew"


ITEM = {"path": "a", "digest": "ps2:" + "0" * 64, "metadata": "0" * 64}


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\n",
        b"{}",
        b"{}\n",
        b"[]\n",
        b'{"format": "pickleseal-inventory-2", "created": 1}\n',
        b'{"format": "pickleseal-inventory-1"}\n',
        b'{"format": "pickleseal-inventory-1", "created": "x"}\n',
        b'{"format": "pickleseal-inventory-1", "created": 1, "x": 1}\n',
        b'{"format": "pickleseal-inventory-1", "created": 1}',
        b'{"format": "pickleseal-inventory-1", "created": 1}\n\n',
        b'{"format": "pickleseal-inventory-1", "created": 1}\n{"path": "a"}\n',
        b'{"format": "pickleseal-inventory-1", "created": 1}\n' + b"[" * 100_000 + b"\n",
        b'{"format": "pickleseal-inventory-1", "created": ' + b"1" * 5000 + b"}\n",
        b"\xff\n",
    ],
)
def test_a_text_that_is_no_inventory_is_refused(text: bytes) -> None:
    with pytest.raises(MalformedError):
        Inventory.decode(text)


@pytest.mark.parametrize(
    "changed",
    [
        {"digest": "ps3:" + "0" * 64},
        {"digest": "0" * 64},
        {"metadata": "0" * 63},
        {"metadata": None},
        {"path": 1},
        {"context": 1},
        {"serial": "1"},
    ],
)
def test_a_line_that_names_no_artifact_is_refused(changed: dict[str, object]) -> None:
    import json

    head = b'{"format": "pickleseal-inventory-1", "created": 1}\n'
    assert Inventory.decode(head + json.dumps(ITEM).encode() + b"\n").items
    with pytest.raises(MalformedError):
        Inventory.decode(head + json.dumps({**ITEM, **changed}).encode() + b"\n")


def test_an_odd_path_is_listed_as_it_is() -> None:
    item = Item("a\nb\udcff\x1b[2J", "ps1:" + "f" * 64, "e" * 64, "caf\u00e9")
    found = Inventory(0, (item,))
    text = found.encode()
    assert text.isascii()
    assert text.count(b"\n") == 2
    assert Inventory.decode(text) == found
