"""`pickleseal verify FOLDER`: all that should be sealed there is, or is told."""

import gzip
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from command import as_json, run
from watching import Mark

from pickleseal import ContextError, Keyring, open_keyring, signed_dump, verify
from pickleseal.auditing.verify import verify_all
from pickleseal.keys.store.changes import rotate
from pickleseal.migration.batch import Batch, Outcome


@pytest.fixture
def models(tmp_path: Path, ring: Keyring) -> Path:
    folder = tmp_path / "models"
    (folder / "deep").mkdir(parents=True)
    signed_dump(1, folder / "one.pkl", keyring=ring, context="m")
    signed_dump(2, folder / "deep" / "two.pkl", keyring=ring, context="m")
    (folder / "README.md").write_text("Two models.\n")
    np.save(folder / "numbers.npy", np.arange(3))
    return folder


def outcomes(folder: Path, ring: Keyring, context: str | None = None) -> dict[str, Outcome]:
    found = verify_all(Batch([str(folder)]), keyring=ring, context=context)
    return {os.path.basename(one.path): one.outcome for one in found}


def test_a_folder_is_in_order_where_all_that_should_be_sealed_is(
    models: Path, ring: Keyring
) -> None:
    assert outcomes(models, ring) == {
        "one.pkl": Outcome.WHOLE,
        "two.pkl": Outcome.WHOLE,
        "README.md": Outcome.NO_PICKLE,
        "numbers.npy": Outcome.NO_PICKLE,
    }


def test_a_pickle_without_a_seal_is_refused_whatever_its_name(models: Path, ring: Keyring) -> None:
    mark = models.parent / "mark"
    armed = pickle.dumps(Mark(mark))
    (models / "bare.pkl").write_bytes(pickle.dumps(1))
    (models / "deep" / "notes.txt").write_bytes(armed)
    (models / "packed").write_bytes(gzip.compress(armed))
    (models / "pointer.pkl").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    found = outcomes(models, ring)
    refused = {name for name, outcome in found.items() if outcome is Outcome.REFUSED}
    assert refused == {"bare.pkl", "notes.txt", "packed", "pointer.pkl"}
    assert not mark.exists()


def test_what_was_changed_or_is_for_something_else_is_refused(models: Path, ring: Keyring) -> None:
    data = bytearray((models / "one.pkl").read_bytes())
    data[-40] ^= 1
    (models / "one.pkl").write_bytes(data)
    signed_dump(3, models / "other.pkl", keyring=ring, context="n")
    assert outcomes(models, ring)["one.pkl"] is Outcome.REFUSED
    assert outcomes(models, ring)["other.pkl"] is Outcome.WHOLE
    assert outcomes(models, ring, context="m")["other.pkl"] is Outcome.REFUSED


def test_the_beginning_of_a_context_is_enough_for_many_files(models: Path, ring: Keyring) -> None:
    signed_dump(3, models / "fraud.pkl", keyring=ring, context="fraud/v3")
    signed_dump(4, models / "none.pkl", keyring=ring)
    whole = {
        wanted: {name for name, one in outcomes(models, ring, wanted).items() if one == "whole"}
        for wanted in ("fraud/*", "fraud/v*", "fraud/", "*")
    }
    assert whole == {
        "fraud/*": {"fraud.pkl"},
        "fraud/v*": {"fraud.pkl"},
        "fraud/": set(),
        "*": {"one.pkl", "two.pkl", "fraud.pkl", "none.pkl"},
    }


def test_a_quiet_run_names_only_what_is_not_whole(tmp_path: Path, ring_directory: Path) -> None:
    (tmp_path / "models").mkdir()
    signed_dump(1, tmp_path / "models" / "sealed.pkl", keyring=ring_directory)
    command = ("verify", tmp_path / "models", "--keyring", ring_directory)
    done = run(*command, "--quiet")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    (tmp_path / "models" / "bare.pkl").write_bytes(pickle.dumps(1))
    done = run(*command, "--quiet")
    assert done.returncode == 1
    assert "bare.pkl" in done.stdout
    assert "sealed.pkl" not in done.stdout
    assert "sealed.pkl" in run(*command).stdout


def test_a_load_takes_no_beginning_of_a_context(models: Path, ring: Keyring) -> None:
    with pytest.raises(ContextError):
        verify(models / "one.pkl", keyring=ring, context="m*")


def test_a_backup_of_adopt_and_a_link_are_told_and_fail_nothing(
    tmp_path: Path, ring_directory: Path
) -> None:
    folder = tmp_path / "old"
    folder.mkdir()
    (folder / "model.pkl").write_bytes(pickle.dumps([1]))
    assert run("adopt", folder, "--yes", "--keyring", ring_directory).returncode == 0
    (folder / "link.pkl").symlink_to("model.pkl")
    ring = open_keyring(ring_directory)
    assert outcomes(folder, ring) == {
        "model.pkl": Outcome.WHOLE,
        "model.pkl.unsealed": Outcome.SKIPPED,
        "link.pkl": Outcome.SKIPPED,
    }
    done = run("verify", folder, "--keyring", ring_directory)
    assert done.returncode == 0
    assert "model.pkl.unsealed" in done.stdout


def test_a_file_that_is_named_must_be_sealed(models: Path, ring: Keyring) -> None:
    for path in (models / "README.md", models / "numbers.npy"):
        (one,) = verify_all(Batch([str(path)]), keyring=ring)
        assert one.outcome is Outcome.REFUSED


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read all")
def test_a_folder_that_cannot_be_read_is_no_verdict(models: Path, ring: Keyring) -> None:
    (models / "deep").chmod(0)
    try:
        assert outcomes(models, ring)["deep"] is Outcome.FAILED
    finally:
        (models / "deep").chmod(0o700)


def test_a_folder_that_comes_to_be_a_link_is_not_followed(
    models: Path, ring: Keyring, tmp_path: Path
) -> None:
    work = verify_all(Batch([str(models)]), keyring=ring)
    first = next(work)
    assert first.outcome is Outcome.NO_PICKLE
    (models / "deep").rename(tmp_path / "away")
    (models / "deep").symlink_to(tmp_path / "away")
    found = {os.path.basename(one.path): one.outcome for one in work}
    assert found["deep"] is Outcome.FAILED


def test_a_key_that_the_ring_gets_meanwhile_is_known(models: Path, ring_directory: Path) -> None:
    """A rotation and a dump beside a long run made an honest file one of an unknown key."""
    for path in (models / "one.pkl", models / "deep" / "two.pkl"):
        signed_dump(1, path, keyring=ring_directory)
    work = verify_all(Batch([str(models)]), keyring=ring_directory)
    found = {os.path.basename(next(work).path)}
    rotate(ring_directory, now=1_800_000_000)
    signed_dump(2, models / "deep" / "two.pkl", keyring=ring_directory)
    found |= {os.path.basename(one.path) for one in work if one.outcome is Outcome.WHOLE}
    assert "two.pkl" in found


def test_the_exit_codes_and_the_document(tmp_path: Path, ring_directory: Path) -> None:
    folder = tmp_path / "models"
    (folder / "empty").mkdir(parents=True)
    (folder / "venv").mkdir()
    (folder / "venv" / "theirs.pkl").write_bytes(pickle.dumps(1))
    ring = ("--keyring", ring_directory)
    assert run("verify", folder, *ring).returncode == 2  # there is nothing to check
    signed_dump([1], folder / "one.pkl", keyring=open_keyring(ring_directory))
    (folder / "notes.txt").write_text("x")
    good = run("verify", folder, "--json", *ring)
    assert good.returncode == 0
    told = as_json(good)
    assert [(one["path"], one["verdict"]) for one in told["files"]] == [
        (str(folder / "one.pkl"), "whole")
    ]
    assert told["left_out"] == {"files": 1, "folders": {str(folder / "venv"): 1}}
    (folder / "two.pkl").write_bytes(pickle.dumps(2))
    bad = run("verify", folder, *ring)
    assert bad.returncode == 1
    assert "two.pkl" in bad.stdout
    assert run("verify", folder, folder / "gone", *ring).returncode == 2


def test_what_is_left_out_is_counted_for_library_callers(models: Path, ring: Keyring) -> None:
    (models / ".git").mkdir()
    (models / ".git" / "a").write_bytes(b"")
    batch = Batch([str(models)])
    list(verify_all(batch, keyring=ring))
    assert batch.left_out.files == 1


def test_a_pickle_with_the_name_of_a_backup_that_is_none_is_refused(
    models: Path, ring: Keyring
) -> None:
    (models / "numbers.npy.unsealed").write_bytes(pickle.dumps(1))
    (models / "one.pkl.unsealed").write_bytes(pickle.dumps(1))
    found = outcomes(models, ring)
    assert found["numbers.npy.unsealed"] is Outcome.REFUSED
    assert found["one.pkl.unsealed"] is Outcome.REFUSED, "one.pkl was sealed over other bytes"


def test_an_archive_that_is_not_opened_is_mentioned_and_not_refused(
    models: Path, ring: Keyring
) -> None:
    (models / "all.7z").write_bytes(b"7z\xbc\xaf\x27\x1c" + bytes(40))
    (models / "empty.pkl").touch()
    found = {
        os.path.basename(one.path): one for one in verify_all(Batch([str(models)]), keyring=ring)
    }
    assert found["all.7z"].outcome is Outcome.SKIPPED
    assert "7z" in found["all.7z"].reason
    assert found["empty.pkl"].outcome is Outcome.REFUSED
