"""The survey before files are adopted: what each is found to be, and why one is left alone."""

import hashlib
import os
import pickle
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from pickleseal import Keyring, signed_dump
from pickleseal.files.globs import Globs
from pickleseal.migration.adopt import (
    Preview,
    adopt_all,
    adoption_batch,
    survey,
    with_free_places,
    with_own_contexts,
)
from pickleseal.migration.batch import Batch, Candidate, Outcome, Result, seen_of
from pickleseal.migration.contexts import has_placeholder
from pickleseal.migration.targets import Targets
from pickleseal.scanner.grade import Grade

BEYOND = b"cposix\nsystem\n(S'true'\ntR."
SIZES = {"small": 0, "large": 2 << 20}
sizes = pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)


def surveyed(path: Path, ring: Keyring, **options: object) -> Result[Preview]:
    (found,) = survey(Batch([str(path)]), keyring=ring, **options)  # type: ignore[arg-type]
    return found


def sha256_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@sizes
def test_what_is_no_pickle_is_refused_where_it_is_named(
    size: int, ring: Keyring, tmp_path: Path
) -> None:
    path = tmp_path / "film.bin"
    path.write_bytes(b"\xffno pickle" + bytes(size))
    assert surveyed(path, ring).outcome is Outcome.REFUSED
    assert surveyed(tmp_path, ring).outcome is Outcome.NO_PICKLE


@sizes
def test_a_file_that_a_list_lacks_is_told_where_it_is_a_pickle_or_named(
    size: int, ring: Keyring, tmp_path: Path
) -> None:
    path = tmp_path / "it"
    none: frozenset[str] = frozenset()
    for data, below in ((b"\xffno pickle", Outcome.NO_PICKLE), (b"", Outcome.SKIPPED)):
        path.write_bytes(data + bytes(size) if data else pickle.dumps(["text", bytes(size)]))
        named = surveyed(path, ring, digests=none)
        assert (named.outcome, named.reason) == (Outcome.REFUSED, "its SHA-256 is not in the list")
        assert surveyed(tmp_path, ring, digests=none).outcome is below


def test_a_file_that_a_list_has_is_adopted_though_it_may_be_a_text(
    ring: Keyring, tmp_path: Path
) -> None:
    path = tmp_path / "it"
    path.write_bytes(b"N.")
    assert surveyed(tmp_path, ring).outcome is Outcome.NO_PICKLE
    found = surveyed(tmp_path, ring, digests=frozenset({sha256_of(path)}))
    assert found.outcome is Outcome.READY
    assert found.detail is not None
    assert found.detail.contents is not None
    assert found.detail.contents.grade is Grade.DATA


@sizes
def test_what_no_load_would_take_is_refused_for_that_first(
    size: int, ring: Keyring, tmp_path: Path
) -> None:
    path = tmp_path / "it.pkl"
    path.write_bytes(b"\x80\x04C\x01x0B" + size.to_bytes(4, "little") + bytes(size) + b"0" + BEYOND)
    assert "posix.system" in surveyed(path, ring).reason
    path.write_bytes(path.read_bytes() + b"\xff")
    assert "1 byte follows its end" in surveyed(path, ring).reason


def test_a_file_that_is_refused_takes_no_context_from_another(
    ring: Keyring, tmp_path: Path
) -> None:
    (tmp_path / "model.pkl").write_bytes(pickle.dumps([1]))
    (tmp_path / "model.joblib").write_bytes(BEYOND)
    found = survey(Batch([str(tmp_path)]), keyring=ring, context="{name}")
    outcomes = {
        os.path.basename(one.path): one.outcome for one in with_own_contexts(found, "{name}")
    }
    assert outcomes == {"model.pkl": Outcome.READY, "model.joblib": Outcome.REFUSED}


@pytest.mark.parametrize("context", [None, "shared"])
def test_files_may_share_a_context_that_names_none_of_them(
    context: str | None, ring: Keyring, tmp_path: Path
) -> None:
    for name in ("a.pkl", "b.pkl"):
        (tmp_path / name).write_bytes(pickle.dumps(name))
    found = survey(Batch([str(tmp_path)]), keyring=ring, context=context)
    assert [one.outcome for one in with_own_contexts(found, context)] == [Outcome.READY] * 2


@pytest.mark.parametrize("brace", ["{", "}", "{other}", "{name"])
def test_a_brace_of_no_placeholder_is_an_error(brace: str) -> None:
    with pytest.raises(ValueError, match="only for"):
        has_placeholder(f"models/{brace}")


def test_a_sealed_file_that_a_load_refuses_is_refused(ring: Keyring, tmp_path: Path) -> None:
    path = tmp_path / "it.pkl"
    signed_dump(bytes(1000), path, keyring=ring)
    assert surveyed(path, ring).outcome is Outcome.ALREADY_SEALED
    data = bytearray(path.read_bytes())
    data[-100] ^= 1
    path.write_bytes(data)
    assert surveyed(path, ring).outcome is Outcome.REFUSED


@pytest.mark.parametrize(
    ("written", "beside", "left"),
    [
        ("shelf.dat", "shelf.dir", True),
        ("shelf.dat", "other.dir", False),
        ("shelf.bin", "shelf.dir", False),
        ("f/1/output.pkl", "f/func_code.py", True),
        ("f/1/output.pkl", "f/1/func_code.py", False),
        ("f/1/other.pkl", "f/func_code.py", False),
    ],
)
def test_what_another_program_keeps_is_left_alone(
    written: str, beside: str, *, left: bool, ring: Keyring, tmp_path: Path
) -> None:
    (tmp_path / "f" / "1").mkdir(parents=True)
    (tmp_path / beside).write_text("of that program")
    (tmp_path / written).write_bytes(pickle.dumps([1, "text"]))
    found = survey(adoption_batch([str(tmp_path)], Globs.of(["*.dir", "*.py"])), keyring=ring)
    (outcome,) = (one.outcome for one in found if one.path == str(tmp_path / written))
    assert outcome is (Outcome.SKIPPED if left else Outcome.READY)


def test_what_a_survey_refused_stays_as_it_is(ring: Keyring, tmp_path: Path) -> None:
    path = tmp_path / "it.pkl"
    path.write_bytes(BEYOND)
    (tmp_path / "it.pkl.unsealed").write_bytes(b"another file")
    for targets in (Targets(), Targets(backup=False)):
        found = survey(Batch([str(path)]), keyring=ring)
        free = with_free_places(found, keyring=ring, targets=targets)
        (done,) = adopt_all(free, keyring=ring, targets=targets)
        assert done.outcome is Outcome.REFUSED
        assert path.read_bytes() == BEYOND


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no FIFOs")
def test_a_pipe_in_the_place_of_a_surveyed_file_is_a_change(ring: Keyring, tmp_path: Path) -> None:
    path = tmp_path / "it.pkl"
    path.write_bytes(pickle.dumps([1]))
    found = [surveyed(path, ring)]
    path.unlink()
    os.mkfifo(path)
    (done,) = adopt_all(found, keyring=ring, targets=Targets())
    assert (done.outcome, done.reason) == (
        Outcome.FAILED,
        "it changed after it was scanned: run adopt again",
    )


@pytest.mark.parametrize("backup", [True, False])
def test_a_place_that_another_file_has_is_told_before_the_question(
    backup: bool,  # noqa: FBT001 - a parameter of the test
    ring: Keyring,
    tmp_path: Path,
) -> None:
    path = tmp_path / "it.pkl"
    path.write_bytes(pickle.dumps([1]))
    (tmp_path / "it.pkl.unsealed").write_bytes(b"another file")
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "it.pkl").write_bytes(b"another file")
    for folder in (None, str(tmp_path / "taken")):
        (found,) = with_free_places(
            [surveyed(path, ring)], keyring=ring, targets=Targets(folder, backup=backup)
        )
        taken = backup or folder is not None
        assert found.outcome is (Outcome.FAILED if taken else Outcome.READY)


# --- stores ----------------------------------------------------------------------------------


@pytest.fixture
def memory() -> Iterator[MemoryFileSystem]:
    """The store of fsspec in memory, empty before and after."""
    store = fsspec.filesystem("memory")
    store.store.clear()
    yield store
    store.store.clear()


def test_an_object_is_acted_on_once_whatever_names_it(memory: MemoryFileSystem) -> None:
    memory.pipe_file("/models/it.pkl", pickle.dumps(1))
    paths = ["memory://models", "memory://models/it.pkl"]
    named: dict[str, bool] = {}

    def act(candidate: Candidate) -> Result[None]:
        named[os.path.basename(candidate.path)] = candidate.named
        return candidate.result(Outcome.WHOLE)

    outcomes = [one.outcome for one in Batch(paths).each(act)]
    assert outcomes == [Outcome.WHOLE, Outcome.SKIPPED]
    assert named == {"it.pkl": True}


def test_the_version_of_an_object_is_the_one_that_was_listed(
    memory: MemoryFileSystem, tmp_path: Path
) -> None:
    memory.pipe_file("/models/it.pkl", b"1")
    (tmp_path / "it.pkl").write_bytes(b"1")
    listed, local = Batch(["memory://models", str(tmp_path)]).candidates()
    assert isinstance(listed, Candidate)
    assert isinstance(local, Candidate)
    before = seen_of(listed.found)
    assert before is not None
    assert before == listed.found.seen
    memory.pipe_file("/models/it.pkl", b"newer")
    assert seen_of(listed.found) == before
    now = seen_of(listed.anew().found)
    assert now is not None
    assert now.size == 5
    assert seen_of(local.found) is None
