"""`pickleseal extract`: plain files out of envelopes, whole, and nothing that no seal covers."""

import hashlib
import io
import os
import pickle
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from command import as_json, run
from watching import Mark, armed

from pickleseal import Key, Keyring, adopt_bytes, signed_dump
from pickleseal.files.atomic import TEMPORARY_PREFIX
from pickleseal.files.walk import files_below
from pickleseal.keys.store.changes import create_key
from pickleseal.migration.batch import found_envelope


def joblib_bytes(obj: object, compress: Any) -> bytes:
    file = io.BytesIO()
    joblib.dump(obj, file, compress=compress)
    return file.getvalue()


def outcomes(done: subprocess.CompletedProcess[str], below: Path) -> dict[str, str]:
    return {
        str(Path(one["path"]).relative_to(below)): one["outcome"] for one in as_json(done)["files"]
    }


@pytest.fixture
def adopted(mark: Path) -> dict[str, bytes]:
    """Return files as they were before they were adopted."""
    return {
        "plain.pkl": pickle.dumps([1, 2], 0),
        "deep/armed.pkl": armed(mark),
        "deep/er/raw.joblib": joblib_bytes([np.arange(1000), Mark(mark)], 0),
        "deep/er/xz.joblib": joblib_bytes(np.arange(1000), ("xz", 3)),
    }


@pytest.fixture
def sealed(tmp_path: Path, ring_directory: Path, adopted: dict[str, bytes]) -> Path:
    """Return a folder of envelopes, all for m/1, and of other files."""
    folder = tmp_path / "sealed"
    for name, raw in adopted.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(adopt_bytes(raw, keyring=ring_directory, context="m/1"))
    array = np.arange(200_000)
    signed_dump(array, folder / "dumped.pkl", keyring=ring_directory, context="m/1")
    (folder / "notes.txt").write_text("nothing to see")
    (folder / "link.pkl").symlink_to("plain.pkl")
    return folder


# --- folders ---------------------------------------------------------------------------------


def test_a_folder_comes_out_mirrored_and_byte_for_byte_as_it_went_in(
    sealed: Path, ring_directory: Path, adopted: dict[str, bytes], tmp_path: Path, mark: Path
) -> None:
    to = tmp_path / "new" / "plain"
    code = (
        "import sys\n"
        "sys.addaudithook(lambda event, _: event != 'pickle.find_class' or sys.exit(9))\n"
        "from pickleseal.cli import main\n"
        "main()\n"
    )
    command = ["extract", sealed, "--to", to, "--context", "m/1", "--keyring", ring_directory]
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, command)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not mark.exists()
    for name, raw in adopted.items():
        assert (to / name).read_bytes() == raw
    assert np.array_equal(pickle.loads((to / "dumped.pkl").read_bytes()), np.arange(200_000))
    files = {str(path.relative_to(to)) for path in to.rglob("*") if path.is_file()}
    assert files == {*adopted, "dumped.pkl"}


def test_what_is_adopted_and_extracted_is_what_it_was(
    ring_directory: Path, adopted: dict[str, bytes], tmp_path: Path, mark: Path
) -> None:
    folder, to = tmp_path / "models", tmp_path / "plain"
    for name, raw in adopted.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(raw)
    accepted = [part for name in adopted for part in ("--accept", folder / name)]
    done = run(*("adopt", folder, "--yes", "--no-backup", "--keyring", ring_directory), *accepted)
    assert done.returncode == 0
    assert run("extract", folder, "--to", to, "--keyring", ring_directory).returncode == 0
    assert {name: (to / name).read_bytes() for name in adopted} == adopted
    assert not mark.exists()


def test_each_file_is_told_of(sealed: Path, ring_directory: Path, tmp_path: Path) -> None:
    command = ("extract", sealed, "--to", tmp_path / "to", "--keyring", ring_directory, "--json")
    done = run(*command, "--context", "m/1")
    found = outcomes(done, sealed)
    assert found["plain.pkl"] == found["deep/er/xz.joblib"] == "extracted"
    assert found["notes.txt"] == "not sealed"
    assert found["link.pkl"] == "skipped"
    assert {one["target"] for one in as_json(done)["files"] if "target" in one} == {
        str(path) for path in (tmp_path / "to").rglob("*") if path.is_file()
    }


def test_what_is_refused_is_not_written_and_the_rest_is(
    sealed: Path, ring_directory: Path, tmp_path: Path
) -> None:
    changed = bytearray((sealed / "plain.pkl").read_bytes())
    changed[-40] ^= 1
    (sealed / "plain.pkl").write_bytes(changed)
    signed_dump(1, sealed / "stranger.pkl", keyring=Keyring(Key.generate()), context="m/1")
    signed_dump(1, sealed / "other.pkl", keyring=ring_directory, context="m/2")
    to = tmp_path / "to"
    command = ("extract", sealed, "--to", to, "--keyring", ring_directory, "--json")
    done = run(*command, "--context", "m/1")
    assert done.returncode == 1
    found = outcomes(done, sealed)
    refused = {"plain.pkl", "stranger.pkl", "other.pkl"}
    assert {name for name, outcome in found.items() if outcome == "refused"} == refused
    assert not [name for name in refused if (to / name).exists()]
    assert (to / "deep" / "armed.pkl").exists()


def test_nothing_is_overwritten(
    sealed: Path, ring_directory: Path, adopted: dict[str, bytes], tmp_path: Path
) -> None:
    to = tmp_path / "to"
    to.mkdir()
    (to / "plain.pkl").write_text("mine")
    (to / "dumped.pkl").symlink_to("nowhere")
    command = ("extract", sealed, "--to", to, "--context", "m/1", "--keyring", ring_directory)
    assert run(*command).returncode == 2
    assert (to / "plain.pkl").read_text() == "mine"
    assert (to / "dumped.pkl").is_symlink()
    assert not (to / "nowhere").exists()
    assert (to / "deep/armed.pkl").read_bytes() == adopted["deep/armed.pkl"]


def test_a_link_in_the_folder_that_leads_out_of_it_is_not_followed(
    sealed: Path, ring_directory: Path, tmp_path: Path
) -> None:
    to, outside = tmp_path / "to", tmp_path / "outside"
    to.mkdir()
    outside.mkdir()
    (to / "deep").symlink_to(outside)
    command = ("extract", sealed, "--to", to, "--keyring", ring_directory, "--json")
    done = run(*command, "--context", "m/1")
    assert done.returncode == 2
    found = outcomes(done, sealed)
    assert found["deep/armed.pkl"] == found["deep/er/raw.joblib"] == "failed"
    assert found["plain.pkl"] == "extracted"
    assert not list(outside.iterdir())


@pytest.mark.parametrize(
    ("context", "names"),
    [
        (None, {"none.pkl"}),
        ("m/1", {"one.pkl"}),
        ("m/*", {"one.pkl", "two.pkl"}),
        ("*", {"none.pkl", "one.pkl", "two.pkl"}),
        ("m/3", set()),
    ],
)
def test_a_context_says_which_files_come_out(
    ring_directory: Path, tmp_path: Path, context: str | None, names: set[str]
) -> None:
    folder, to = tmp_path / "sealed", tmp_path / "to"
    folder.mkdir()
    for name, sealed_for in (("none", None), ("one", "m/1"), ("two", "m/2")):
        signed_dump(name, folder / f"{name}.pkl", keyring=ring_directory, context=sealed_for)
    more = () if context is None else ("--context", context)
    done = run("extract", folder, "--to", to, "--keyring", ring_directory, *more)
    assert done.returncode == (0 if len(names) == 3 else 1)
    assert {path.name for path in to.glob("*")} == names


def test_begun_again_it_goes_on(
    sealed: Path, ring_directory: Path, adopted: dict[str, bytes], tmp_path: Path
) -> None:
    to = tmp_path / "to"
    command = ("extract", sealed, sealed / "deep", "--to", to, "--keyring", ring_directory)
    command_for = (*command, "--context", "m/1", "--json")
    assert run(*command_for).returncode == 0
    (to / "plain.pkl").unlink()
    again = run(*command_for)
    assert again.returncode == 0
    assert outcomes(again, sealed)["plain.pkl"] == "extracted"
    assert outcomes(again, sealed)["dumped.pkl"] == "already there"
    assert {name: (to / name).read_bytes() for name in adopted} == adopted


def test_modes_stay_as_they_are(sealed: Path, ring_directory: Path, tmp_path: Path) -> None:
    (sealed / "plain.pkl").chmod(0o600)
    command = ("extract", sealed / "plain.pkl", "--context", "m/1", "--keyring", ring_directory)
    assert run(*command, "--output", tmp_path / "out").returncode == 0
    assert run(*command, "--to", tmp_path / "to").returncode == 0
    for path in (tmp_path / "out", tmp_path / "to" / "plain.pkl"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_what_came_in_the_place_of_a_file_since_it_was_seen_is_not_opened(
    sealed: Path, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"of somebody else")
    for found in files_below([str(sealed)]):
        path = Path(found.path)
        if found.reason or path.parent != sealed:
            continue
        before, mode = path.read_bytes(), stat.S_IMODE(path.stat().st_mode)
        with found_envelope(found) as (source, seen_mode):
            path.rename(tmp_path / path.name)
            path.symlink_to(secret)
            assert source.pull(len(before) + 1) == before
            assert seen_mode == mode
        with pytest.raises(OSError, match="link"), found_envelope(found):
            pass
        path.unlink()


def test_a_folder_that_was_exchanged_since_it_was_seen_is_not_left(
    sealed: Path, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "armed.pkl").write_bytes(b"of somebody else")
    for found in files_below([str(sealed)]):
        if found.path == str(sealed / "deep" / "armed.pkl"):
            before = Path(found.path).read_bytes()
            (sealed / "deep").rename(tmp_path / "was deep")
            (sealed / "deep").symlink_to(elsewhere)
            with found_envelope(found) as (source, _):
                assert source.pull(len(before)) == before
            break


# --- one file --------------------------------------------------------------------------------


def test_one_file_comes_out_where_it_is_told_to(
    sealed: Path, ring_directory: Path, adopted: dict[str, bytes], tmp_path: Path
) -> None:
    name = "deep/er/xz.joblib"
    command = ("extract", sealed / name, "--context", "m/1", "--keyring", ring_directory)
    out = tmp_path / "out.joblib"
    done = run(*command, "--output", out, "--json")
    assert done.returncode == 0
    assert as_json(done)["files"][0]["target"] == str(out)
    assert out.read_bytes() == adopted[name]
    before = out.stat()
    assert run(*command, "--output", out).returncode == 2, "it is there already"
    assert out.stat().st_mtime_ns == before.st_mtime_ns
    whole = subprocess.run(
        [sys.executable, "-m", "pickleseal", *map(str, command), "--output", "-"],
        capture_output=True,
        check=True,
    )
    assert whole.stdout == adopted[name]


def test_nothing_of_a_refused_file_is_put_out(
    sealed: Path, ring_directory: Path, tmp_path: Path
) -> None:
    path = sealed / "dumped.pkl"
    path.write_bytes(path.read_bytes()[:-1] + b"\0\0")
    for output in (tmp_path / "out", "-"):
        done = run(
            *("extract", path, "--output", output, "--context", "m/1"),
            *("--keyring", ring_directory),
        )
        assert done.returncode == 1
        assert not done.stdout
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_stream_that_takes_nothing_exits_with_2(sealed: Path, ring_directory: Path) -> None:
    command = (
        *("extract", sealed / "dumped.pkl", "--output", "-", "--context", "m/1"),
        *("--keyring", ring_directory),
    )
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "pickleseal", *map(str, command)],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX only")
def test_a_terminal_gets_no_plain_file(sealed: Path, ring_directory: Path) -> None:
    command = (
        *("extract", sealed / "plain.pkl", "--output", "-", "--context", "m/1"),
        *("--keyring", ring_directory),
    )
    ours, theirs = os.openpty()
    done = subprocess.run(
        [sys.executable, "-m", "pickleseal", *map(str, command)],
        stdout=theirs,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.write(theirs, b"the end")
    assert os.read(ours, 4096) == b"the end"
    os.close(theirs)
    os.close(ours)
    assert done.returncode == 2
    assert "redirect it" in done.stderr


# --- what cannot run -------------------------------------------------------------------------


def test_contradicting_options_are_usage_errors(sealed: Path, ring_directory: Path) -> None:
    one, two = sealed / "plain.pkl", sealed / "dumped.pkl"
    for arguments in (
        (one,),
        (one, "--to", sealed, "--output", "x"),
        (one, two, "--output", "x"),
        (one, "--output", "-", "--json"),
        ("--to", sealed),
    ):
        done = run("extract", *arguments, "--keyring", ring_directory, cwd=sealed)
        assert done.returncode == 2, arguments
    assert not (sealed / "x").exists()


def test_what_is_not_sealed_or_not_there_fails_where_it_was_named(
    sealed: Path, ring_directory: Path, tmp_path: Path
) -> None:
    for name, code in (("notes.txt", 1), ("gone.pkl", 2)):
        command = ("extract", sealed / name, "--keyring", ring_directory)
        assert run(*command, "--to", tmp_path / "to").returncode == code
        assert run(*command, "--output", tmp_path / "out").returncode == code
    (tmp_path / "empty").mkdir()
    command = ("extract", tmp_path / "empty", "--keyring", ring_directory)
    assert run(*command, "--to", tmp_path / "to").returncode == 2


def test_without_a_keyring_nothing_comes_out(sealed: Path, tmp_path: Path) -> None:
    for folder in (tmp_path / "nowhere", sealed):
        done = run(
            *("extract", sealed, "--to", tmp_path / "to", "--context", "*"),
            *("--keyring", folder, "--json"),
        )
        assert done.returncode == 2
        assert as_json(done)["error"]
    other = tmp_path / "other"
    create_key(other, now=0)
    command = ("extract", sealed, "--to", tmp_path / "to", "--context", "*", "--keyring", other)
    assert run(*command).returncode == 1
    assert not (tmp_path / "to").exists()


# --- half-written ----------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX only")
def test_a_disk_that_is_full_leaves_nothing_half_written(
    sealed: Path, ring_directory: Path, tmp_path: Path
) -> None:
    code = (
        "import resource, signal\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))\n"
        "from pickleseal.cli import main\n"
        "main()\n"
    )
    to = tmp_path / "to"
    command = ["extract", sealed, "--to", to, "--context", "m/1", "--keyring", ring_directory]
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, command)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "dumped.pkl" in done.stdout
    assert {path.name for path in to.glob("*")} == {"plain.pkl", "deep"}


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX only")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_what_a_stopped_run_wrote_is_whole(
    ring_directory: Path, tmp_path: Path, number: signal.Signals
) -> None:
    folder, to = tmp_path / "sealed", tmp_path / "to"
    folder.mkdir()
    for count in range(1000):
        path = folder / f"{count:03}.pkl"
        signed_dump([count] * 100, path, keyring=ring_directory, durable=False)
    command = ["extract", str(folder), "--to", str(to), "--keyring", str(ring_directory)]
    with subprocess.Popen(
        [sys.executable, "-m", "pickleseal", *command], stdout=subprocess.DEVNULL
    ) as worker:
        while not (to / "010.pkl").exists():
            assert worker.poll() is None
            time.sleep(0.001)
        worker.send_signal(number)
    assert worker.returncode == {signal.SIGINT: 130, signal.SIGTERM: 143}.get(number, -number)
    files = sorted(path.name for path in to.iterdir())
    whole = [name for name in files if not name.startswith(TEMPORARY_PREFIX)]
    assert 10 <= len(whole) < 1000
    assert len(files) - len(whole) <= (number is signal.SIGKILL)
    for name in whole:
        assert pickle.loads((to / name).read_bytes()) == [int(name[:3])] * 100


def test_the_envelopes_stay_as_they_are(sealed: Path, ring_directory: Path, tmp_path: Path) -> None:
    def digests() -> dict[Path, str]:
        files = [path for path in sealed.rglob("*") if path.is_file()]
        return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    before = digests()
    command = ("extract", sealed, "--to", tmp_path / "to", "--keyring", ring_directory)
    assert run(*command, "--context", "*").returncode == 0
    assert run(*command, "--context", "*", "--to", os.fspath(sealed)).returncode == 2
    assert digests() == before
