"""What is found of each file before it is adopted or extracted, and why one is left alone."""

import gzip
import hashlib
import os
import pickle
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import fsspec
import pytest
from envelopes import hand_sealed
from fsspec.implementations.memory import MemoryFileSystem

from pickleseal import (
    Keyring,
    PicklesealError,
    PolicyError,
    TargetError,
    extract,
    signed_dump,
    signed_dumps,
)
from pickleseal.envelope.metadata import Metadata
from pickleseal.files.globs import Globs
from pickleseal.files.handles import stamp_of
from pickleseal.files.places import Remote, name_of, place_of
from pickleseal.migration import adopt
from pickleseal.migration.adopt import (
    Preview,
    adopt_all,
    adoption_batch,
    survey,
    with_free_places,
    with_own_contexts,
)
from pickleseal.migration.batch import Batch, Candidate, Outcome, Result, found_file, seen_of
from pickleseal.migration.contexts import has_placeholder
from pickleseal.migration.extract import extract_all
from pickleseal.migration.targets import Targets, backed_up, make_folder_of
from pickleseal.scanner.containers.contents import look
from pickleseal.scanner.containers.views import Memory
from pickleseal.scanner.grade import Grade

BEYOND = b"cposix\nsystem\n(S'true'\ntR."
SIZES = {"small": 0, "large": 2 << 20}
sizes = pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)


@pytest.fixture(autouse=True)
def _little_memory(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "size" in request.fixturenames:
        monkeypatch.setattr(adopt, "_IN_MEMORY", 1 << 20)


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


@pytest.mark.parametrize("listed", [False, True])
def test_a_file_that_fits_into_memory_is_looked_at_once(
    ring: Keyring, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, listed: bool
) -> None:
    path = tmp_path / "it.pkl"
    path.write_bytes(pickle.dumps(bytes(20 << 20)))
    looks: list[object] = []

    def counted(*arguments: object, **options: object) -> object:
        looks.append(arguments)
        return look(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(adopt, "look", counted)
    digests = frozenset({sha256_of(path)}) if listed else None
    assert surveyed(path, ring, digests=digests).outcome is Outcome.READY
    assert len(looks) == 1


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
        ("shelf.bin", "shelf.bin.dir", False),
        ("f/1/output.pkl", "f/func_code.py", True),
        ("c/e6/a9/1f.val", "c/cache.db", True),
        ("c/e6/a9/1f.val", "c/e6/cache.db", False),
        ("c/5f.djcache", "c/other.py", True),
        ("f/1/output.pkl", "f/1/func_code.py", False),
        ("f/1/other.pkl", "f/func_code.py", False),
    ],
)
def test_what_another_program_keeps_is_left_alone(
    written: str, beside: str, *, left: bool, ring: Keyring, tmp_path: Path
) -> None:
    for name in (written, beside):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
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


@pytest.mark.parametrize(
    ("data", "advice"),
    [
        (gzip.compress(b"a text", mtime=0), "name it with --accept"),
        (b"\x80\x04\x95", "leave it out with --exclude"),
        (gzip.compress(pickle.dumps([1]), mtime=0)[:-9], "get a whole copy"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (
            b"SQLite format 3\0" + bytes(99) + pickle.dumps(Fraction(1)),
            "leave it out with --exclude",
        ),
    ],
)
def test_what_cannot_be_told_has_advice_that_fits(
    data: bytes, advice: str, ring: Keyring, tmp_path: Path
) -> None:
    (tmp_path / "it.pkl").write_bytes(data)
    found = surveyed(tmp_path / "it.pkl", ring)
    assert found.outcome is Outcome.REFUSED
    assert found.reason.endswith(advice)


def test_a_name_that_no_context_can_hold_is_told_with_a_way_out(
    ring: Keyring, tmp_path: Path
) -> None:
    path = tmp_path / "new\nline.pkl"
    path.write_bytes(pickle.dumps([1]))
    found = surveyed(path, ring, context="models/{name}")
    assert found.outcome is Outcome.FAILED
    assert "rename it" in found.reason
    assert surveyed(path, ring, context="models/line").outcome is Outcome.READY


def test_what_the_audit_says_of_a_file_is_what_a_survey_says(ring: Keyring, tmp_path: Path) -> None:
    path = tmp_path / "it.pkl"
    path.write_bytes(gzip.compress(pickle.dumps(Fraction(1, 2))))
    found = surveyed(path, ring)
    assert found.outcome is Outcome.READY
    assert found.detail is not None
    assert found.detail.contents == look(Memory(memoryview(path.read_bytes())), name=str(path))


def test_an_envelope_whose_time_is_over_is_refused(ring: Keyring, tmp_path: Path) -> None:
    path = tmp_path / "it.pkl"
    path.write_bytes(hand_sealed(ring, Metadata("pickle", expires=1), b"N."))
    found = surveyed(path, ring)
    assert found.outcome is Outcome.REFUSED
    assert "a load refuses it" in found.reason


def test_an_inventory_needs_no_context_of_its_own(ring: Keyring, tmp_path: Path) -> None:
    path = tmp_path / "models.inventory"
    path.write_bytes(hand_sealed(ring, Metadata("inventory"), b"{}"))
    assert surveyed(path, ring, context="models").outcome is Outcome.ALREADY_SEALED


@pytest.mark.parametrize(
    ("original", "backup"),
    [("sealed", True), ("the same", True), ("another", False), (None, False)],
)
def test_a_backup_is_one_while_its_original_is_sealed_or_the_same(
    original: str | None, *, backup: bool, ring: Keyring, tmp_path: Path
) -> None:
    raw = pickle.dumps(["text"])
    path = tmp_path / "it.pkl"
    (tmp_path / "it.pkl.unsealed").write_bytes(raw)
    if original is not None:
        contents = {"sealed": signed_dumps(1, keyring=ring), "the same": raw}
        path.write_bytes(contents.get(original, b"another"))
    (found,) = survey(Batch([f"{path}.unsealed"]), keyring=ring)
    assert found.outcome is (Outcome.SKIPPED if backup else Outcome.READY)


def test_a_backup_whose_original_cannot_be_sealed_goes_again(ring: Keyring, tmp_path: Path) -> None:
    path = tmp_path / "it.pkl"
    path.write_bytes(b"raw")
    status = stamp_of(path.stat())

    def fail() -> None:
        with backed_up(str(path), memoryview(b"raw"), status) as backup:
            assert Path(name_of(backup)).read_bytes() == b"raw"
            raise ZeroDivisionError

    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            fail()
        assert os.listdir(tmp_path) == ["it.pkl"]
    (tmp_path / "it.pkl.unsealed").write_bytes(b"raw")
    with pytest.raises(ZeroDivisionError):
        fail()
    assert (tmp_path / "it.pkl.unsealed").exists(), "it was there before"


def test_a_file_that_changed_before_its_backup_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "it.pkl"
    path.write_bytes(b"raw")
    seen = stamp_of(path.stat())
    path.write_bytes(b"newer")
    with (
        pytest.raises(TargetError, match="changed after it was scanned"),
        backed_up(str(path), memoryview(b"raw"), seen),
    ):
        pytest.fail("it was backed up")
    assert os.listdir(tmp_path) == ["it.pkl"]


def test_a_file_that_comes_in_the_place_of_a_backup_is_not_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "it.pkl"
    path.write_bytes(b"raw")
    link = os.link

    def link_late(one: str, other: str) -> None:
        Path(other).write_bytes(b"theirs")
        link(one, other)

    monkeypatch.setattr(os, "link", link_late)
    with (
        pytest.raises(TargetError, match="is another file"),
        backed_up(str(path), memoryview(b"raw"), stamp_of(path.stat())),
    ):
        pytest.fail("it was backed up")
    assert (tmp_path / "it.pkl.unsealed").read_bytes() == b"theirs"


def test_a_link_leads_no_new_folder_out_of_the_other_one(tmp_path: Path) -> None:
    below = tmp_path / "below"
    below.mkdir()
    (below / "link").symlink_to(tmp_path)
    for inside in ("link/new/it.pkl", "../new/it.pkl"):
        with pytest.raises(TargetError, match="outside"):
            make_folder_of(str(below / inside), below=str(below))
    assert not (tmp_path / "new").exists()
    make_folder_of(str(below / "new" / "it.pkl"), below=str(below))
    assert (below / "new").is_dir()


# --- extract ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("context", "names"),
    [
        (None, ["none"]),
        ("m/1", ["one"]),
        ("m/*", ["one", "two"]),
        ("*", ["none", "one", "two"]),
    ],
)
def test_a_context_says_which_envelopes_come_out(
    context: str | None, names: list[str], ring: Keyring, tmp_path: Path
) -> None:
    folder, to = tmp_path / "sealed", tmp_path / "to"
    folder.mkdir()
    for name, sealed_for in (("none", None), ("one", "m/1"), ("two", "m/2")):
        signed_dump(name, folder / name, keyring=ring, context=sealed_for)
    over = Metadata("pickle", context=context if context == "m/1" else None, expires=1)
    (folder / "over").write_bytes(hand_sealed(ring, over, b"N."))
    found = extract_all(Batch([str(folder)]), str(to), keyring=ring, context=context)
    done = {os.path.basename(one.path): one.outcome for one in found}
    assert sorted(name for name in done if done[name] is Outcome.EXTRACTED) == names
    assert set(done.values()) == {Outcome.EXTRACTED, Outcome.REFUSED}
    assert sorted(os.listdir(to)) == names


def test_an_inventory_is_no_pickle_to_extract(ring: Keyring) -> None:
    with pytest.raises(PolicyError, match="its content is inventory"):
        extract(hand_sealed(ring, Metadata("inventory"), b"N."), keyring=ring)


def test_only_the_same_bytes_are_there_already(ring: Keyring, tmp_path: Path) -> None:
    path, to = tmp_path / "it.pkl", tmp_path / "to"
    signed_dump(1, path, keyring=ring)
    plain = extract(path.read_bytes(), keyring=ring)
    to.mkdir()
    other = plain[:-1] + b"?"
    for data, outcome in ((plain, Outcome.ALREADY_THERE), (other, Outcome.FAILED)):
        (to / "it.pkl").write_bytes(data)
        (found,) = extract_all(Batch([str(path)]), str(to), keyring=ring)
        assert found.outcome is outcome
        assert (to / "it.pkl").read_bytes() == data


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no FIFOs")
def test_a_pipe_is_refused_where_it_is_named_and_a_change_below_a_folder(
    ring: Keyring, tmp_path: Path
) -> None:
    path = tmp_path / "it.pkl"
    os.mkfifo(path)
    assert surveyed(path, ring).outcome is Outcome.REFUSED
    path.unlink()
    path.write_bytes(b"N.")
    (found,) = Batch([str(tmp_path)]).found()
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(PicklesealError, match="no longer a regular file"):
        found_file(found)


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


@pytest.mark.parametrize("replaced", [False, True])
def test_the_backup_of_an_object_goes_again_unless_it_is_the_last_one(
    replaced: bool,  # noqa: FBT001 - a parameter of the test
    memory: MemoryFileSystem,
) -> None:
    memory.pipe_file("/it.pkl", b"raw")
    place = place_of("memory://it.pkl")
    assert isinstance(place, Remote)
    version = place.version()

    def fail() -> None:
        with backed_up(place, memoryview(b"raw"), version):
            if replaced:
                memory.pipe_file("/it.pkl", b"newer")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert memory.exists("/it.pkl.unsealed") is replaced
