"""Sealing anew under the primary key, and what may be readmitted after a revocation."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from resealing import outcomes, sealed_by, sealed_models
from rings import NOW, primary_of, rotate
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
    TargetError,
    UnknownKeyError,
    WrongPassphraseError,
    audit,
    open_keyring,
    reseal,
    signed_dump,
    signed_dumps,
    signed_load,
    verify,
)
from pickleseal.envelope import metadata as md
from pickleseal.envelope import seal
from pickleseal.envelope.target import join_envelope
from pickleseal.files.atomic import TEMPORARY_PREFIX, TEMPORARY_SUFFIX
from pickleseal.keys.passphrase import Passphrase
from pickleseal.keys.store import changes
from pickleseal.keys.store.changes import change_roster
from pickleseal.keys.store.directory import RingFiles, read_roster
from pickleseal.keys.store.lines import Opener
from pickleseal.keys.suite import Suite
from pickleseal.migration.batch import Batch, Outcome
from pickleseal.migration.reseal import reseal_all


@pytest.fixture
def models(ring_directory: Path, tmp_path: Path) -> Path:
    return sealed_models(tmp_path, ring_directory)


def test_files_move_to_the_new_key_and_say_of_themselves_what_they_said(
    models: Path, ring_directory: Path, tmp_path: Path
) -> None:
    files = [models / "list.pkl", models / "deep/array.pkl", models / "deep/er/old.pkl"]
    before = [verify(path, keyring=ring_directory) for path in files]
    new = rotate(ring_directory)
    with nothing_unpickled():
        done = list(reseal_all(Batch([str(models)]), keyring=open_keyring(ring_directory)))
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
    again = list(reseal_all(Batch([str(models)]), keyring=open_keyring(ring_directory)))
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
    with pytest.raises(MalformedError, match=r"list\.pkl: it holds several sealed objects"):
        reseal(path, keyring=ring_directory)
    done = list(reseal_all(Batch([str(models)]), keyring=open_keyring(ring_directory)))
    assert outcomes(done, models)["list.pkl"] == "refused"
    assert outcomes(done, models)["deep/array.pkl"] == "resealed"
    assert path.read_bytes() == before
    path.write_bytes(before + b"more")
    with pytest.raises(MalformedError, match="several sealed objects"):
        reseal(path, keyring=ring_directory)
    path.write_bytes(before[:-1])
    with pytest.raises(MalformedError, match="several sealed objects"):
        reseal(path, keyring=ring_directory)


def test_an_envelope_with_something_behind_it_is_not_said_to_be_two(
    models: Path, ring_directory: Path
) -> None:
    path = models / "list.pkl"
    path.write_bytes(path.read_bytes() + b"more")
    rotate(ring_directory)
    with pytest.raises(MalformedError) as caught:
        reseal(path, keyring=ring_directory)
    assert "several" not in str(caught.value)


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
    done = list(
        reseal_all(Batch([str(models)]), keyring=open_keyring(ring_directory), context="fraud/v1")
    )
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
    done = list(reseal_all(Batch([str(models)]), keyring=open_keyring(ring_directory)))
    assert {name for name, what in outcomes(done, models).items() if what == "failed"} == {
        "list.pkl",
        "deep/er/old.pkl",
    }
    assert sealed_by(models / "deep/array.pkl") == new
    change_roster(ring_directory, lambda r: r.limit(new, sign_until=NOW - 10**9, contexts=None))
    with pytest.raises(KeyringError):
        list(reseal_all(Batch([str(models)]), keyring=open_keyring(ring_directory)))
    assert sealed_by(models / "list.pkl") == old


def test_a_dry_run_verifies_all_and_writes_nothing(models: Path, ring_directory: Path) -> None:
    rotate(ring_directory)
    broken = models / "deep/er/broken.pkl"
    good = (models / "list.pkl").read_bytes()
    broken.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    before = {path: path.stat().st_mtime_ns for path in models.rglob("*")}
    done = list(
        reseal_all(Batch([str(models)]), keyring=open_keyring(ring_directory), dry_run=True)
    )
    assert outcomes(done, models)["deep/er/broken.pkl"] == "refused"
    assert outcomes(done, models)["list.pkl"] == "resealed"
    assert {path: path.stat().st_mtime_ns for path in models.rglob("*")} == before


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="POSIX only")
def test_links_leftovers_and_pipes_are_skipped_with_a_reason(
    models: Path, ring_directory: Path, tmp_path: Path
) -> None:
    rotate(ring_directory)
    (models / "loop").symlink_to(models, target_is_directory=True)
    (models / "link.pkl").symlink_to(models / "list.pkl")
    os.mkfifo(models / "fifo")
    (models / f"{TEMPORARY_PREFIX}1{TEMPORARY_SUFFIX}").touch()
    ring = open_keyring(ring_directory)
    done = list(
        reseal_all(Batch([str(models), str(tmp_path / "none"), str(models / "fifo")]), keyring=ring)
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


def test_a_file_written_twice_within_a_tick_of_the_clock_is_left_as_it_is_now(
    models: Path, ring_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second writer's file may get the number of the file that was read, as on ext4."""
    path = models / "list.pkl"
    rotate(ring_directory)
    before = path.stat()
    newer = path.read_bytes()[:-1] + b"!"
    real = seal.seal_head

    def interfere(*arguments: Any) -> seal.SealedHead:
        for data in (b"in between", newer):
            beside = path.with_name("beside")
            beside.write_bytes(data)
            os.utime(beside, ns=(before.st_atime_ns, before.st_mtime_ns))
            beside.replace(path)
        return real(*arguments)

    monkeypatch.setattr(seal, "seal_head", interfere)
    with pytest.raises(TargetError, match="another program changed"):
        reseal(path, keyring=ring_directory)
    assert path.read_bytes() == newer


def test_a_writer_beside_a_resealer_has_the_last_word(ring_directory: Path, tmp_path: Path) -> None:
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
    try:
        for number in range(100):
            signed_dump(number, path, keyring=old_ring)
            assert signed_load(path, keyring=ring_directory) in range(number + 1)
    finally:
        stop.set()
        thread.join()
    assert not errors
    assert signed_load(path, keyring=ring_directory) == 99
    assert {*os.listdir(tmp_path)} == {ring_directory.name, "model.pkl"}


def test_a_killed_run_leaves_each_file_whole_and_can_go_on(
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
        "from pickleseal.migration.batch import Batch\n"
        "from pickleseal.migration.reseal import reseal_all\n"
        "for one in reseal_all(Batch([sys.argv[1]]), keyring=open_keyring(sys.argv[2])):\n"
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
    done = list(reseal_all(Batch([str(folder)]), keyring=ring))
    assert {one.outcome for one in done} <= {Outcome.RESEALED, Outcome.ALREADY, Outcome.SKIPPED}
    assert sum(one.outcome is Outcome.ALREADY for one in done) >= 20
    assert {sealed_by(path) for path in folder.glob("*.pkl")} == {new}


def test_a_subfolder_that_became_a_link_is_not_followed(
    models: Path, ring_directory: Path, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    signed_dump(1, elsewhere / "a.pkl", keyring=ring_directory)
    signed_dump(1, models / "deep" / "a.pkl", keyring=ring_directory)
    before = (elsewhere / "a.pkl").read_bytes()
    rotate(ring_directory)
    work = reseal_all(Batch([str(models)]), keyring=open_keyring(ring_directory))
    done = [next(work)]  # the walk has seen the subfolder by now
    (models / "deep").rename(tmp_path / "was deep")
    (models / "deep").symlink_to(elsewhere, target_is_directory=True)
    done += work
    assert (elsewhere / "a.pkl").read_bytes() == before
    assert {Path(d.path).name: d.outcome for d in done}["deep"] is Outcome.FAILED


def test_a_wrong_passphrase_ends_the_work_at_once(models: Path, ring_directory: Path) -> None:
    ids = list(read_roster(ring_directory).entries)
    passphrase = Passphrase("correct horse battery")
    changes.protect(RingFiles(ring_directory), ids, Opener(), lambda: changes.Storage(passphrase))
    changes.rotate(ring_directory, now=NOW)
    asked: list[int] = []

    def ask() -> str:
        asked.append(1)
        return "wrong"

    ring = open_keyring(ring_directory, passphrase=ask)
    for work in (reseal_all(Batch([str(models)]), keyring=ring), audit(models, keyring=ring)):
        asked.clear()
        with pytest.raises(WrongPassphraseError):
            list(work)
        assert len(asked) == 1
