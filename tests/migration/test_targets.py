"""Where adopt puts envelopes and backups, and what it never overwrites."""

import hashlib
import os
import pickle
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from command import as_json, run
from old_files import IN_PLACE, READY, adopted, everything_below, is_sealed, old_models, told
from watching import Mark

from pickleseal import Keyring, TargetError, open_keyring, signed_dump, signed_load, verify
from pickleseal.files.atomic import write_whole
from pickleseal.migration.adopt import adopt_all, survey
from pickleseal.migration.batch import Batch, Outcome
from pickleseal.migration.targets import Targets
from pickleseal.scanner.grade import Grade


@pytest.fixture
def models(tmp_path: Path, ring_directory: Path, mark: Path) -> Path:
    return old_models(tmp_path, ring_directory, mark)


# --- another folder --------------------------------------------------------------------------


def test_another_folder_mirrors_the_tree_and_the_files_stay_as_they_are(
    models: Path, ring_directory: Path, tmp_path: Path
) -> None:
    before = everything_below(models)
    to = tmp_path / "new" / "sealed"
    command = (
        *("adopt", models, models / "link.pkl", "--yes", "--to", to),
        *("--keyring", ring_directory),
    )
    assert run(*command).returncode == 1
    assert everything_below(models) == before
    assert everything_below(to).keys() == READY
    for name in READY:
        verify(to / name, keyring=ring_directory)
    done = as_json(run(*command, "--json"))
    again = {one["outcome"] for one in done["files"] if "target" in one}
    assert again == {"already sealed"}


def test_nothing_in_the_other_folder_is_overwritten(
    models: Path, ring_directory: Path, tmp_path: Path
) -> None:
    to = tmp_path / "to"
    to.mkdir()
    signed_dump("another", to / "0.pkl", keyring=ring_directory)
    (to / "1.pkl").write_text("mine")
    (to / "2.pkl").symlink_to("nowhere")
    signed_dump([3, {"a": 1.5}], to / "3.pkl", 3, keyring=ring_directory, context="for another")
    before = everything_below(to)
    names = [models / f"{number}.pkl" for number in range(4)]
    done = adopted(names, ring_directory, Targets(str(to)))
    assert {one.outcome for one in done.values()} == {Outcome.FAILED}
    assert everything_below(to) == before
    assert (to / "2.pkl").is_symlink()


def test_an_empty_name_of_another_folder_is_not_the_current_one(
    models: Path, ring_directory: Path, tmp_path: Path
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    for command in (("adopt", "--yes"), ("extract",)):
        for option in ("--to", "--output") if command == ("extract",) else ("--to",):
            done = run(
                *(*command, models / "sealed.pkl", option, "", "--keyring", ring_directory),
                cwd=here,
            )
            assert done.returncode == 2
            assert "is a variable not set?" in done.stderr
    assert not list(here.iterdir())


def test_an_empty_name_of_a_file_is_not_passed_over(models: Path, ring_directory: Path) -> None:
    audit = ("--baseline", "--inventory", "--since", "--html")
    commands = [("audit", option) for option in audit] + [("reseal", "--only-digests")]
    for command, option in commands:
        done = run(command, models, option, "", "--keyring", ring_directory)
        assert done.returncode == 2
        assert "is a variable not set?" in done.stderr


def test_files_of_the_same_name_do_not_overwrite_each_other(
    ring_directory: Path, tmp_path: Path
) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "m.pkl").write_bytes(pickle.dumps(folder))
    to = tmp_path / "to"
    keyring = open_keyring(ring_directory)
    found = survey(Batch([str(tmp_path / "a"), str(tmp_path / "b")]), keyring=keyring)
    done = list(adopt_all(found, keyring=keyring, targets=Targets(str(to))))
    assert [one.outcome for one in done] == [Outcome.ADOPTED, Outcome.FAILED]
    assert signed_load(to / "m.pkl", keyring=ring_directory) == "a"


def test_a_link_in_the_other_folder_that_leads_out_of_it_is_not_followed(
    models: Path, ring_directory: Path, tmp_path: Path
) -> None:
    to, outside = tmp_path / "to", tmp_path / "outside"
    to.mkdir()
    outside.mkdir()
    (to / "deep").symlink_to(outside)
    done = run("adopt", models, "--yes", "--json", "--to", to, "--keyring", ring_directory)
    assert done.returncode == 2
    outcomes = {
        str(Path(one["path"]).relative_to(models)): one["outcome"] for one in as_json(done)["files"]
    }
    assert outcomes["deep/zlib.joblib"] == outcomes["deep/er/table.pkl.gz"] == "failed"
    assert outcomes["0.pkl"] == "adopted"
    assert not list(outside.iterdir())


def test_the_other_folder_may_be_a_link_and_have_links_within_it(
    models: Path, ring_directory: Path, tmp_path: Path
) -> None:
    to = tmp_path / "to"
    (tmp_path / "real" / "elsewhere").mkdir(parents=True)
    to.symlink_to("real")
    (to / "deep").symlink_to("elsewhere")
    done = run("adopt", models / "deep", models, "--yes", "--to", to, "--keyring", ring_directory)
    assert done.returncode == 1
    adopted([models], ring_directory, Targets(str(to)))
    assert is_sealed(tmp_path / "real" / "elsewhere" / "zlib.joblib")


# --- what changes meanwhile ------------------------------------------------------------------


def test_a_file_that_was_exchanged_since_it_was_looked_at_is_left_alone(
    models: Path, ring_directory: Path, mark: Path
) -> None:
    armed = pickle.dumps(Mark(mark))
    paths = [models / f"{number}.pkl" for number in range(4)]
    outside = models.parent / "outside.pkl"
    outside.write_bytes(paths[2].read_bytes())
    found = list(survey(Batch([str(models)]), keyring=open_keyring(ring_directory)))
    paths[0].write_bytes(armed)
    paths[1].unlink()
    paths[2].unlink()
    paths[2].symlink_to(outside)
    ready = [one for one in found if Path(one.path) in paths]
    done = list(adopt_all(ready, keyring=open_keyring(ring_directory), targets=IN_PLACE))
    assert told(done, models) == {
        "0.pkl": "failed",
        "1.pkl": "failed",
        "2.pkl": "failed",
        "3.pkl": "adopted",
    }
    assert paths[0].read_bytes() == armed
    assert not is_sealed(outside)
    assert [path.name for path in models.rglob("*.unsealed")] == ["3.pkl.unsealed"]


def test_a_folder_that_was_exchanged_for_a_link_is_left_alone(
    models: Path, ring_directory: Path, tmp_path: Path
) -> None:
    keyring = open_keyring(ring_directory)
    found = [
        one for one in survey(Batch([str(models)]), keyring=keyring) if one.outcome is Outcome.READY
    ]
    (models / "deep").rename(tmp_path / "outside")
    (models / "deep").symlink_to(tmp_path / "outside")
    done = told(list(adopt_all(found, keyring=keyring, targets=IN_PLACE)), models)
    assert done["deep/zlib.joblib"] == done["deep/er/table.pkl.gz"] == "failed"
    assert done["0.pkl"] == "adopted"
    assert not any(is_sealed(path) for path in (tmp_path / "outside").glob("*.joblib"))


@pytest.mark.skipif(not hasattr(os, "pwrite"), reason="POSIX only")
def test_what_is_graded_is_what_is_hashed(tmp_path: Path, ring: Keyring) -> None:
    """Another process changes the file all the time; a survey sees one of its contents whole."""
    path = tmp_path / "m.pkl"
    begin, end = b"(" + b"K\1" * 100_000, b"l."
    forms = {b"X\x09\0\0\0all well!": Grade.DATA, b"cposix\nsystem\n": Grade.BEYOND}
    grades = {
        hashlib.sha256(begin + part + end).hexdigest(): grade for part, grade in forms.items()
    }
    path.write_bytes(begin + next(iter(forms)) + end)
    code = (
        "import itertools, os, sys\n"
        "file = os.open(sys.argv[1], os.O_WRONLY)\n"
        "for part in itertools.cycle([bytes.fromhex(part) for part in sys.argv[3:]]):\n"
        "    os.pwrite(file, part, int(sys.argv[2]))\n"
    )
    parts = [part.hex() for part in forms]
    with subprocess.Popen([sys.executable, "-c", code, path, str(len(begin)), *parts]) as other:
        found = [one for _ in range(10) for one in survey(Batch([str(path)]), keyring=ring)]
        other.kill()
    for one in found:
        assert one.detail is not None
        assert one.detail.contents is not None
        assert one.detail.sha256 is not None
        assert one.detail.contents.grade is grades[one.detail.sha256]


@pytest.mark.parametrize("links", ["links", "no links"])
@pytest.mark.parametrize("found", ["a file", "a link"])
def test_a_file_that_appears_at_the_last_moment_is_not_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, found: str, links: str
) -> None:
    path = tmp_path / "m.pkl"
    fsync, link = os.fsync, os.link

    def another_comes(descriptor: int) -> None:
        fsync(descriptor)
        if found == "a file":
            path.write_text("mine")
        else:
            path.symlink_to(tmp_path / "nowhere")

    def no_link(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "fsync", another_comes)
    monkeypatch.setattr(os, "link", link if links == "links" else no_link)
    with pytest.raises(TargetError):
        write_whole(str(path), b"new", exclusive=True)
    assert [one.name for one in tmp_path.iterdir()] == ["m.pkl"]
    assert path.is_symlink() if found == "a link" else path.read_text() == "mine"


# --- backups ---------------------------------------------------------------------------------


def test_another_backup_is_never_overwritten(models: Path, ring_directory: Path) -> None:
    (models / "0.pkl.unsealed").write_text("mine")
    (models / "1.pkl.unsealed").mkdir()
    (models / "2.pkl.unsealed").symlink_to("nowhere")
    before = everything_below(models)
    done = adopted([models / f"{number}.pkl" for number in range(3)], ring_directory)
    assert {one.outcome for one in done.values()} == {Outcome.FAILED}
    assert everything_below(models) == before


def test_a_dry_run_reports_taken_places_as_the_run_does(
    models: Path, ring_directory: Path, tmp_path: Path
) -> None:
    (models / "0.pkl.unsealed").write_text("mine")
    to = tmp_path / "to"
    to.mkdir()
    (to / "0.pkl").write_text("mine")
    names = (models / "0.pkl", models / "1.pkl")
    for place in ((), ("--to", to)):
        command = ("adopt", *names, *place, "--json", "--keyring", ring_directory)
        dry, real = run(*command, "--dry-run"), run(*command, "--yes")
        assert dry.returncode == real.returncode == 2
        (would_fail, ready), (failed, adopted) = as_json(dry)["files"], as_json(real)["files"]
        assert would_fail["outcome"] == failed["outcome"] == "failed"
        assert would_fail["reason"] == failed["reason"]
        assert "already exists" in failed["reason"]
        assert (ready["outcome"], adopted["outcome"]) == ("ready", "adopted")
        (models / "1.pkl").write_bytes((models / "1.pkl.unsealed").read_bytes())
    done = run("adopt", models / "0.pkl", "--no-backup", "--dry-run", "--keyring", ring_directory)
    assert done.returncode == 0


def test_a_run_that_was_cut_off_between_backup_and_seal_goes_on(
    models: Path, ring_directory: Path
) -> None:
    os.link(models / "0.pkl", models / "0.pkl.unsealed")
    (models / "1.pkl.unsealed").write_bytes((models / "1.pkl").read_bytes())
    before = {name: (models / name).read_bytes() for name in ("0.pkl", "1.pkl")}
    done = run("adopt", models, "--yes", "--keyring", ring_directory)
    assert done.returncode == 1
    for name, data in before.items():
        assert is_sealed(models / name)
        assert (models / f"{name}.unsealed").read_bytes() == data
    assert not list(models.rglob("*.unsealed.unsealed"))


def test_where_files_can_have_no_second_name_a_copy_is_kept(
    models: Path, ring_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def link(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    raw = (models / "0.pkl").read_bytes()
    (models / "0.pkl").chmod(0o600)
    adopted([models / "0.pkl"], ring_directory)
    kept = models / "0.pkl.unsealed"
    assert kept.read_bytes() == raw
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX only")
def test_a_disk_that_is_full_leaves_each_file_as_it_was(
    ring_directory: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "large.pkl").write_bytes(pickle.dumps(b"x" * 3_000_000))
    (folder / "small.pkl").write_bytes(pickle.dumps(1))
    kept = folder / "kept.pkl"
    kept.write_bytes(pickle.dumps(b"y" * 3_000_000))
    (folder / "kept.pkl.unsealed").write_bytes(kept.read_bytes())
    before = everything_below(folder)
    code = (
        "import resource, signal\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))\n"
        "from pickleseal.cli import main\n"
        "main()\n"
    )
    command = ["adopt", str(folder), "--yes", "--keyring", str(ring_directory)]
    for more in ([], ["--to", str(tmp_path / "to")]):
        done = subprocess.run(
            [sys.executable, "-c", code, *command, *more],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 2, done.stderr
        assert "large.pkl" in done.stdout
    assert everything_below(folder)["large.pkl"] == before["large.pkl"]
    assert is_sealed(folder / "small.pkl")
    assert sorted(path.name for path in folder.iterdir()) == [
        "kept.pkl",
        "kept.pkl.unsealed",
        "large.pkl",
        "small.pkl",
        "small.pkl.unsealed",
    ]
    assert [path.name for path in (tmp_path / "to").iterdir()] == []
