"""What adopt, extract, reseal and verify share: one loop over files, and one report."""

import errno
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from command import as_json, run

from pickleseal import PicklesealError, signed_dump
from pickleseal.cli import cli
from pickleseal.keys.store import changes
from pickleseal.migration import batch
from pickleseal.migration.batch import Batch, Candidate, Outcome, Result

SHORT_OF_MEMORY = """
import resource, sys
import numpy
import pickleseal.cli.adopt, pickleseal.cli.extract, pickleseal.cli.reseal, pickleseal.cli.verify
from pickleseal.cli import main

pages = int(open("/proc/self/statm").read().split()[0])
limit = pages * resource.getpagesize() + (40 << 20)
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
main()
"""
LARGE = 100 << 20


def files_of(command: str, folder: Path, ring: Path) -> Path:
    """Make a large and a small file, as a command takes them."""
    folder.mkdir()
    for name, size in (("large.pkl", LARGE), ("small.pkl", 10)):
        if command == "adopt":
            (folder / name).write_bytes(pickle.dumps(b"x" * size))
        else:
            signed_dump(b"x" * size, folder / name, keyring=ring, durable=False)
    changes.rotate(ring, now=1_800_000_000)
    return folder


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS is Linux's")
@pytest.mark.parametrize(
    ("command", "options", "done"),
    [
        ("adopt", ["--yes", "--no-backup"], "adopted"),
        ("extract", ["--to", "plain"], "extracted"),
        ("reseal", [], "resealed"),
    ],
)
def test_a_lack_of_memory_is_no_verdict_and_the_rest_goes_on(
    command: str, options: list[str], done: str, ring_directory: Path, tmp_path: Path
) -> None:
    folder = files_of(command, tmp_path / "models", ring_directory)
    before = (folder / "large.pkl").read_bytes()
    arguments = [command, str(folder), *options, "--json", "--keyring", str(ring_directory)]
    short = subprocess.run(
        [sys.executable, "-c", SHORT_OF_MEMORY, *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert short.returncode == 2, short.stderr
    assert not short.stderr
    large, small = json.loads(short.stdout)["files"]
    assert large["error"]["kind"] == "MemoryError"
    assert "memory" in large["reason"]
    assert (large["outcome"], small["outcome"]) == ("failed", done)
    assert (folder / "large.pkl").read_bytes() == before


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS is Linux's")
def test_verify_takes_no_memory_for_a_large_file(ring_directory: Path, tmp_path: Path) -> None:
    folder = files_of("verify", tmp_path / "models", ring_directory)
    command = ["verify", str(folder), "--keyring", str(ring_directory)]
    short = subprocess.run(
        [sys.executable, "-c", SHORT_OF_MEMORY, *command],
        capture_output=True,
        text=True,
        check=False,
    )
    assert short.returncode == 0, short.stderr
    assert "2 whole" in short.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS is Linux's")
def test_one_file_too_large_for_memory_is_an_error_without_a_traceback(
    ring_directory: Path, tmp_path: Path
) -> None:
    folder = files_of("extract", tmp_path / "models", ring_directory)
    command = ["extract", str(folder / "large.pkl"), "--output", "plain.pkl"]
    short = subprocess.run(
        [sys.executable, "-c", SHORT_OF_MEMORY, *command, "--keyring", str(ring_directory)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert short.returncode == 2
    assert "not enough memory" in short.stderr
    assert "Traceback" not in short.stderr
    assert not (tmp_path / "plain.pkl").exists()


# --- the loop --------------------------------------------------------------------------------


def whole(candidate: Candidate) -> Result[None]:
    return candidate.result(Outcome.WHOLE)


def outcomes(batch: Batch, act: Any = whole) -> list[tuple[str, str]]:
    return [(os.path.basename(one.path), one.outcome.value) for one in batch.each(act)]


def test_a_file_is_acted_on_once_whatever_the_paths_to_it(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    folder.mkdir()
    (folder / "f").touch()
    (tmp_path / "link").symlink_to(folder / "f")
    paths = [str(tmp_path / "link"), str(folder), str(folder / "f"), f"{folder}/../a/f"]
    assert outcomes(Batch(paths)) == [
        ("link", "whole"),
        ("f", "skipped"),
        ("f", "skipped"),
        ("f", "skipped"),
    ]


def test_a_file_that_is_named_besides_its_folder_counts_as_named_in_either_order(
    tmp_path: Path,
) -> None:
    (tmp_path / "f").touch()
    for paths in ([tmp_path, tmp_path / "f"], [tmp_path / "f", tmp_path]):
        seen: list[bool] = []

        def act(candidate: Candidate, seen: list[bool] = seen) -> Result[None]:
            seen.append(candidate.named)
            return whole(candidate)

        list(Batch(map(str, paths)).each(act))
        assert seen == [True]


@pytest.mark.parametrize("order", [1, -1])
def test_verify_refuses_a_named_file_without_a_seal_in_either_order(
    ring_directory: Path, tmp_path: Path, order: int
) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    signed_dump(1, folder / "one.pkl", keyring=ring_directory)
    (folder / "notes.txt").write_text("x")
    paths = [folder, folder / "notes.txt"][::order]
    assert run("verify", folder, "--keyring", ring_directory).returncode == 0
    assert run("verify", *paths, "--keyring", ring_directory).returncode == 1


def test_what_fails_in_one_file_is_told_and_keeps_no_memory(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    (tmp_path / "b").touch()
    errors = iter([MemoryError(), ZeroDivisionError("no")])

    def act(candidate: Candidate) -> Result[None]:
        raise next(errors)

    first, second = Batch([str(tmp_path)]).each(act)
    assert (first.outcome, second.outcome) == (Outcome.FAILED, Outcome.FAILED)
    assert first.reason == "not enough memory"
    assert "bug in pickleseal" in second.reason
    for one in (first, second):
        assert one.error is not None
        assert one.error.__traceback__ is None
        assert one.error.__context__ is None


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (MemoryError("not enough memory for a segment"), "not enough memory for a segment"),
        (OSError(errno.EIO, "it broke"), "it broke"),
        (OSError("it broke"), "it broke"),
        (OSError(errno.EIO, "it broke", "a"), "it broke"),
        (OSError(errno.EIO, "it broke", b"other"), "other: it broke"),
        (PicklesealError("it cannot be"), "it cannot be"),
    ],
    ids=repr,
)
def test_the_reason_of_a_failure_is_what_its_error_says(
    error: Exception, reason: str, tmp_path: Path
) -> None:
    (tmp_path / "a").touch()

    def act(_: Candidate) -> Result[None]:
        raise error

    (found,) = Batch([str(tmp_path)]).each(act)
    assert (found.outcome, found.reason) == (Outcome.FAILED, reason)


def test_an_excluded_path_is_skipped_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    (tmp_path / "b").touch()
    batch = Batch([str(tmp_path)], exclusion=lambda p: "not mine" if p.endswith("a") else None)
    first, second = batch.each(whole)
    assert (first.outcome, first.reason) == (Outcome.SKIPPED, "not mine")
    assert second.outcome is Outcome.WHOLE


# --- the report ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "options"), [("extract", ["--to", "out"]), ("reseal", []), ("verify", [])]
)
def test_json_gives_a_reason_and_the_error_of_what_is_refused(
    command: str, options: list[str], ring_directory: Path, tmp_path: Path
) -> None:
    path = tmp_path / "cut.pkl"
    signed_dump(1, path, keyring=ring_directory)
    path.write_bytes(path.read_bytes()[:-1])
    done = run(command, path, *options, "--json", "--keyring", ring_directory, cwd=tmp_path)
    assert done.returncode == 1
    (one,) = as_json(done)["files"]
    assert one["error"]["kind"] == "MalformedError"
    assert one["error"]["message"] == f"{path}: {one['reason']}"


def test_a_second_path_to_a_file_is_counted_as_skipped(
    ring_directory: Path, tmp_path: Path
) -> None:
    path = tmp_path / "one.pkl"
    path.write_bytes(pickle.dumps(1))
    done = run("adopt", path, path, "--yes", "--json", "--keyring", ring_directory)
    assert done.returncode == 0
    assert [one["outcome"] for one in as_json(done)["files"]] == ["adopted", "skipped"]


def test_files_refused_for_one_reason_are_listed_below_it(
    ring_directory: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    for number in range(50):
        signed_dump(number, folder / f"{number:02}.pkl", keyring=ring_directory, durable=False)
    other = tmp_path / "other"
    changes.create_key(other, now=0)
    done = run("verify", folder, "--keyring", other)
    assert done.returncode == 1
    assert done.stdout.count("✗") == 1
    assert "50 files" in done.stdout
    assert done.stdout.count(".pkl") == 50


def test_what_is_wrong_with_a_file_is_said_once(ring_directory: Path, tmp_path: Path) -> None:
    path = tmp_path / "plain.pkl"
    path.write_bytes(pickle.dumps(1))
    done = run("verify", path, "--keyring", ring_directory)
    assert (done.returncode, done.stdout.count("not sealed")) == (1, 1)


@pytest.mark.parametrize("command", ["adopt", "extract", "reseal"])
def test_a_key_that_the_ring_gets_meanwhile_is_known(
    command: str, ring_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rotation and a dump beside a long run made an honest file one of an unknown key."""
    models = tmp_path / "models"
    models.mkdir()
    for name in ("a.pkl", "b.pkl"):
        signed_dump(name, models / name, keyring=ring_directory)
    real, seen = batch.attempt, []

    def attempt(candidate: Candidate, *arguments: Any, **options: Any) -> Result[Any]:
        seen.append(candidate.path)
        if len(seen) == 2:
            changes.rotate(ring_directory, now=1_800_000_000)
            signed_dump("b.pkl", models / "b.pkl", keyring=ring_directory)
        return real(candidate, *arguments, **options)

    monkeypatch.setattr(batch, "attempt", attempt)
    options = ["--to", str(tmp_path / "out")] if command == "extract" else []
    code = cli.main(
        [command, str(models), "--keyring", str(ring_directory), *options], standalone_mode=False
    )
    assert (code, len(seen)) == (0, 2)


@pytest.mark.once
@pytest.mark.parametrize("command", ["adopt", "extract --to plain", "reseal", "verify", "audit"])
def test_an_empty_folder_is_said_to_be_one(
    command: str, ring_directory: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    act, *options = command.split()
    done = run(act, "empty", *options, "--keyring", ring_directory, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"nothing to {act}: no file in empty")


@pytest.mark.once
def test_verify_exits_with_2_if_one_file_is_refused_and_another_cannot_be_read(
    ring_directory: Path, tmp_path: Path
) -> None:
    (tmp_path / "plain.pkl").write_bytes(pickle.dumps(1))
    done = run("verify", "plain.pkl", "gone.pkl", "--keyring", ring_directory, cwd=tmp_path)
    assert done.returncode == 2
    assert run("verify", "plain.pkl", "--keyring", ring_directory, cwd=tmp_path).returncode == 1


@pytest.mark.once
def test_extract_exits_with_0_if_what_is_not_sealed_is_left_out(
    ring_directory: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "plain.pkl").write_bytes(pickle.dumps(1))
    signed_dump(1, folder / "sealed.pkl", keyring=ring_directory)
    done = run("extract", "models", "--to", "out", "--keyring", ring_directory, cwd=tmp_path)
    assert done.returncode == 0
    assert os.listdir(tmp_path / "out") == ["sealed.pkl"]


@pytest.mark.once
def test_a_list_that_cannot_be_used_is_no_verdict_on_a_file(
    ring_directory: Path, tmp_path: Path
) -> None:
    (tmp_path / "a.list").write_text("no inventory")
    for command in (("reseal", "--only-digests"), ("audit", "--baseline")):
        done = run(*command, "a.list", ".", "--keyring", ring_directory, cwd=tmp_path)
        assert done.returncode == 2
        assert "a.list: not sealed" in done.stderr
