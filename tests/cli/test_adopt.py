"""`pickleseal adopt`: what is sealed, what is refused, and what a person sees."""

import gzip
import io
import json
import os
import pickle
import re
import select
import signal
import stat
import subprocess
import sys
import tracemalloc
import zipfile
from importlib import import_module
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from armed import made
from command import as_json, run
from old_files import (
    COMPRESSIONS,
    READY,
    REFUSED,
    NoPlace,
    adopted,
    everything_below,
    is_sealed,
    many,
    old_models,
    sha256,
)
from watching import nothing_unpickled

from pickleseal import (
    Keyring,
    KeyringError,
    audit,
    open_keyring,
    signed_dump,
    signed_load,
    verify,
)
from pickleseal.envelope.layout import MAGIC
from pickleseal.files.atomic import TEMPORARY_PREFIX
from pickleseal.files.magic import INCOMPLETE
from pickleseal.migration.adopt import (
    survey,
)
from pickleseal.migration.batch import Batch, Outcome
from pickleseal.migration.targets import Targets
from pickleseal.scanner.grade import Grade


@pytest.fixture
def models(tmp_path: Path, ring_directory: Path, mark: Path) -> Path:
    return old_models(tmp_path, ring_directory, mark)


# --- a folder as they are --------------------------------------------------------------------


def test_a_mixed_folder_is_sealed_as_it_is_and_nothing_is_unpickled(
    models: Path, ring_directory: Path, mark: Path
) -> None:
    signed_dump("sealed", models / "sealed.pkl", keyring=ring_directory, context="m/1")
    before = everything_below(models)
    done = run("adopt", models, "--yes", "--json", "--context", "m/1", "--keyring", ring_directory)
    assert done.returncode == 1, "some were refused"
    outcomes = {
        str(Path(one["path"]).relative_to(models)): one["outcome"] for one in as_json(done)["files"]
    }
    assert {name for name, outcome in outcomes.items() if outcome == "adopted"} == READY
    assert {name for name, outcome in outcomes.items() if outcome == "refused"} == REFUSED
    assert outcomes["sealed.pkl"] == "already sealed"
    assert outcomes["link.pkl"] == "skipped"
    assert outcomes["notes.txt"] == outcomes["empty"] == "no pickle found"
    assert not mark.exists()
    after = everything_below(models)
    for name, data in before.items():
        if name in READY:
            assert after.pop(f"{name}.unsealed") == data
            assert after[name].startswith(MAGIC)
        else:
            assert after[name] == data
    assert after.keys() == before.keys(), "nothing else was left"
    for protocol in range(6):
        loaded = signed_load(models / f"{protocol}.pkl", keyring=ring_directory, context="m/1")
        assert loaded == [protocol, {"a": 1.5}]
    for method in (*COMPRESSIONS, "plain"):
        path = models / "deep" / f"{method}.joblib"
        loaded = signed_load(path, keyring=ring_directory, context="m/1")
        assert np.array_equal(loaded, np.arange(50))
    table = signed_load(models / "deep/er/table.pkl.gz", keyring=ring_directory, context="m/1")
    assert list(table["a"]) == [1, 2]


def test_no_name_of_any_armed_pickle_is_looked_up(tmp_path: Path, ring_directory: Path) -> None:
    marks, folder = tmp_path / "marks", tmp_path / "models"
    marks.mkdir()
    folder.mkdir()
    for number, one in enumerate(made(str(marks))):
        (folder / f"{number}.pkl").write_bytes(one.data)
    code = (
        "import sys\n"
        "sys.addaudithook(lambda event, _: event != 'pickle.find_class' or sys.exit(9))\n"
        "from pickleseal.cli import main\n"
        "main()\n"
    )
    command = ["adopt", str(folder), "--yes", "--json", "--keyring", str(ring_directory)]
    done = subprocess.run(
        [sys.executable, "-c", code, *command], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stderr
    assert not list(marks.iterdir())
    of_grade = {one.get("grade") for one in json.loads(done.stdout)["files"] if "target" in one}
    assert "reaches beyond data" not in of_grade


def test_adopting_again_finds_all_sealed_and_adopts_no_backup(
    models: Path, ring_directory: Path
) -> None:
    command = ("adopt", models / "deep", "--yes", "--keyring", ring_directory)
    assert run(*command).returncode == 0
    before = everything_below(models)
    again = run(*command, "--json")
    assert again.returncode == 0
    assert {one["outcome"] for one in as_json(again)["files"]} == {"already sealed", "skipped"}
    assert everything_below(models) == before


def test_a_backup_that_is_named_is_not_adopted_either(models: Path, ring_directory: Path) -> None:
    def command() -> list[Any]:
        return ["adopt", *(models / "deep").glob("*.*"), "--yes", "--keyring", ring_directory]

    assert run(*command()).returncode == 0
    before = everything_below(models)
    again = run(*command(), "--json")
    assert again.returncode == 0
    assert {one["outcome"] for one in as_json(again)["files"]} == {"already sealed", "skipped"}
    assert everything_below(models) == before


def test_without_backups_there_are_none(models: Path, ring_directory: Path) -> None:
    done = run("adopt", models / "0.pkl", "--yes", "--no-backup", "--keyring", ring_directory)
    assert done.returncode == 0
    assert is_sealed(models / "0.pkl")
    assert not (models / "0.pkl.unsealed").exists()


def test_modes_stay_as_they_are(tmp_path: Path, ring_directory: Path) -> None:
    for mode in (0o600, 0o640, 0o444):
        path = tmp_path / f"{mode}.pkl"
        path.write_bytes(pickle.dumps(mode))
        path.chmod(mode)
        adopted([path], ring_directory, Targets(str(tmp_path / "to")))
        adopted([path], ring_directory)
        for made_of_it in (path, tmp_path / "to" / path.name, Path(f"{path}.unsealed")):
            assert stat.S_IMODE(made_of_it.stat().st_mode) == mode


def test_a_link_that_is_named_stays_one_and_what_it_leads_to_is_sealed(
    models: Path, ring_directory: Path
) -> None:
    assert adopted([models / "link.pkl"], ring_directory)["link.pkl"].outcome is Outcome.ADOPTED
    assert (models / "link.pkl").is_symlink()
    assert is_sealed(models / "0.pkl")
    assert pickle.loads((models / "0.pkl.unsealed").read_bytes()) == [0, {"a": 1.5}]


def test_what_is_named_twice_is_adopted_once(models: Path, ring_directory: Path) -> None:
    paths = (models / "deep", models / "deep" / "er", models / "deep" / "zlib.joblib")
    done = run("adopt", *paths, "--yes", "--keyring", ring_directory)
    assert done.returncode == 0
    assert not list(models.rglob("*.unsealed.unsealed"))


def test_a_dry_run_writes_nothing_and_tells_the_same(models: Path, ring_directory: Path) -> None:
    before = everything_below(models)
    done = run("adopt", models, "--dry-run", "--json", "--keyring", ring_directory)
    assert done.returncode == 1
    ready = {
        str(Path(one["path"]).relative_to(models))
        for one in as_json(done)["files"]
        if one["outcome"] == "ready"
    }
    assert ready == READY
    assert everything_below(models) == before


# --- what is refused, and what a person says -------------------------------------------------


def test_what_reaches_beyond_data_is_adopted_only_if_it_is_accepted(
    models: Path, ring_directory: Path, mark: Path
) -> None:
    armed = models / "armed.pkl"
    command = ("adopt", armed, "--yes", "--keyring", ring_directory)
    done = run(*command)
    assert done.returncode == 1
    assert "pathlib" in done.stderr, "it says what the file would call"
    assert run(*command, "--accept", models).returncode == 2
    assert run(*command, "--accept", models / "0.pkl").returncode == 2
    assert not is_sealed(armed)
    assert run(*command, "--accept", armed).returncode == 0
    assert is_sealed(armed)
    assert not mark.exists()


@pytest.mark.parametrize("more", [("--yes",), ("--dry-run",)])
def test_accepting_a_file_that_was_not_scanned_is_an_error(
    models: Path, ring_directory: Path, more: tuple[str, ...]
) -> None:
    before = everything_below(models)
    done = run(
        *("adopt", models / "deep", "--accept", models / "armed.pkl", *more),
        *("--keyring", ring_directory),
    )
    assert done.returncode == 2
    assert "armed.pkl" in done.stderr
    assert everything_below(models) == before


def test_an_accepted_file_may_be_named_by_another_path(models: Path, ring_directory: Path) -> None:
    (models / "other.pkl").symlink_to("armed.pkl")
    command = ("adopt", models / "armed.pkl", "--yes", "--keyring", ring_directory)
    assert run(*command, "--accept", models / "other.pkl").returncode == 0


def test_a_file_that_cannot_be_scanned_whole_is_not_followed_again(
    tmp_path: Path, ring: Keyring
) -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("inner.pkl", pickle.dumps(list(range(99)))[:-5])
    path = tmp_path / "m.pkl"
    path.write_bytes(pickle.dumps(archive.getvalue()))
    (found,) = survey(Batch([str(path)]), keyring=ring)
    assert found.outcome is Outcome.REFUSED
    assert found.detail is not None
    assert found.detail.contents is not None
    assert found.detail.contents.grade is Grade.CANNOT_TELL
    assert found.detail.artifact is None


def test_what_cannot_be_told_is_adopted_only_if_it_is_accepted(
    tmp_path: Path, ring_directory: Path
) -> None:
    file = NoPlace()
    joblib.dump(np.frombuffer(b"0" + b"N." * 99, dtype="u1"), file)
    path = tmp_path / "m.joblib"
    path.write_bytes(bytes(file.data))
    command = ("adopt", path, "--yes", "--keyring", ring_directory)
    refused = run(*command)
    assert refused.returncode == 1
    assert "cannot tell what it does" in refused.stdout + refused.stderr
    assert run(*command, "--accept", path).returncode == 0


@pytest.mark.parametrize("compress", [0, 3])
def test_what_no_accept_can_seal_is_not_offered_it(
    tmp_path: Path, ring_directory: Path, compress: int
) -> None:
    path = tmp_path / "cut.joblib"
    joblib.dump(list(range(9999)), path, compress=compress)
    path.write_bytes(path.read_bytes()[:999])
    command = ("adopt", path, "--yes", "--keyring", ring_directory)
    refused = run(*command)
    assert refused.returncode == 1
    assert "--accept" not in refused.stdout + refused.stderr
    assert INCOMPLETE in refused.stderr
    assert INCOMPLETE in run("audit", path).stdout
    assert run(*command, "--accept", path).returncode == 1


def test_a_text_or_an_archive_named_like_a_pickle_is_not_offered_accept(
    tmp_path: Path, ring_directory: Path
) -> None:
    (tmp_path / "notes.pkl").write_text("two lines,\nand no pickle\n", encoding="utf-8")
    with zipfile.ZipFile(tmp_path / "packed.pkl", "w") as file:
        file.writestr("inner.pkl", pickle.dumps(list(range(99)))[:-5])
    for name in ("notes.pkl", "packed.pkl"):
        command = ("adopt", tmp_path / name, "--yes", "--keyring", ring_directory)
        refused = run(*command)
        assert refused.returncode == 1
        assert "--accept" not in refused.stdout + refused.stderr
        assert run(*command, "--accept", tmp_path / name).returncode == 1


def test_a_whole_pickle_with_a_truncated_one_inside_is_not_called_incomplete(
    tmp_path: Path, ring_directory: Path
) -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("inner.pkl", pickle.dumps(list(range(99)))[:-5])
    path = tmp_path / "m.pkl"
    path.write_bytes(pickle.dumps(archive.getvalue()))
    refused = run("adopt", path, "--yes", "--keyring", ring_directory)
    assert refused.returncode == 1
    assert INCOMPLETE not in refused.stdout + refused.stderr


def test_names_that_are_not_known_are_shown_escaped_and_once(
    tmp_path: Path, ring_directory: Path
) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    for number in range(30):
        (folder / f"{number}.pkl").write_bytes(b"\x80\x04\x8c\x04mine\x8c\x08A\x1b[31mB\n\x93.")
    done = run("adopt", folder, "--dry-run", "--keyring", ring_directory)
    assert done.returncode == 0
    assert "\x1b" not in done.stdout + done.stderr
    assert (done.stdout + done.stderr).count("mine") == 1


def test_every_package_of_unknown_names_is_shown_before_the_question(
    tmp_path: Path, ring_directory: Path
) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    figure = b"".join(b"cbulky\nA%d\n0" % number for number in range(60))
    (folder / "a.pkl").write_bytes(figure + b"N.")
    for name in "bcdef":
        (folder / f"{name}.pkl").write_bytes(b"c__main__\nratio\n.")
    asked = run("adopt", folder, "--keyring", ring_directory).stderr
    assert "bulky: 60 names  in 1 file: " in asked
    assert "bulky.A1" in asked
    assert "and 52 more: see --dry-run --json" in asked
    assert "__main__.ratio  in 5 files: " in asked
    for name in "bcd":
        assert str(folder / f"{name}.pkl") in asked
    assert "d.pkl and 2 more" in asked


def test_the_names_of_a_refused_file_are_told_once(models: Path, ring_directory: Path) -> None:
    done = run("adopt", models / "lambda.pkl", "--dry-run", "--keyring", ring_directory)
    told = done.stdout + done.stderr
    (found,) = survey(Batch([str(models / "lambda.pkl")]), keyring=open_keyring(ring_directory))
    assert found.detail is not None
    assert found.detail.contents is not None
    names = [str(name) for name in found.detail.contents.names if name.grade is not Grade.DATA]
    assert len(names) > 3
    listed = re.findall(r"[\w.]+", told)
    assert [listed.count(name) for name in names] == [1] * len(names)


def test_without_a_terminal_nothing_is_sealed_without_yes(
    models: Path, ring_directory: Path
) -> None:
    before = everything_below(models)
    for more in ((), ("--json",)):
        done = run("adopt", models / "0.pkl", "--keyring", ring_directory, *more)
        assert done.returncode == 2
        assert "--yes" in done.stdout + done.stderr
    assert everything_below(models) == before


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX only")
@pytest.mark.parametrize(("answer", "code"), [(b"y\n", 0), (b"n\n", 2), (b"\n", 2), (b"\x03", 130)])
def test_on_a_terminal_a_person_is_asked(
    models: Path, ring_directory: Path, answer: bytes, code: int
) -> None:
    import pty

    command = ["adopt", str(models / "1.pkl"), "--keyring", str(ring_directory)]
    pid, terminal = pty.fork()
    if not pid:
        os.execv(sys.executable, [sys.executable, "-m", "pickleseal", *command])
    seen, answered = b"", False
    tries = 0
    while tries < 30:
        if not select.select([terminal], [], [], 2)[0]:
            tries += 1
            if answered and answer == b"\x03":  # one may come just as Python can take none
                os.write(terminal, answer)
            continue
        try:
            chunk = os.read(terminal, 1 << 16)
        except OSError:
            break
        seen += chunk
        if not answered and b"[y/N]" in seen:
            os.write(terminal, answer)
            answered = True
        if not chunk:
            break
    else:
        os.kill(pid, signal.SIGKILL)
    status = os.waitpid(pid, 0)[1]
    os.close(terminal)  # only now: a process that still ends would be hung up on
    assert os.waitstatus_to_exitcode(status) == code
    assert answered
    assert is_sealed(models / "1.pkl") is (code == 0)


def test_what_was_named_and_is_no_artifact_or_is_not_there_fails(
    models: Path, ring_directory: Path
) -> None:
    for name, code in (("notes.txt", 1), ("empty", 1), ("gone.pkl", 2)):
        done = run("adopt", models / name, "--yes", "--json", "--keyring", ring_directory)
        assert done.returncode == code, name
        assert as_json(done)["files"][0]["reason"]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read all")
def test_what_cannot_be_read_or_written_is_told(models: Path, ring_directory: Path) -> None:
    (models / "0.pkl").chmod(0)
    (models / "deep").chmod(0o500)
    done = run("adopt", models, "--yes", "--json", "--keyring", ring_directory)
    (models / "deep").chmod(0o700)
    assert done.returncode == 2
    outcomes = {
        str(Path(one["path"]).relative_to(models)): one["outcome"] for one in as_json(done)["files"]
    }
    assert outcomes["0.pkl"] == outcomes["deep/zlib.joblib"] == "failed"
    assert outcomes["1.pkl"] == "adopted"


def test_a_ring_that_cannot_seal_is_told_before_any_file_is_looked_at(
    models: Path, tmp_path: Path
) -> None:
    done = run("adopt", models, "--yes", "--json", "--keyring", tmp_path / "nowhere")
    assert done.returncode == 2
    assert as_json(done)["error"]["kind"] == KeyringError.__name__


@pytest.mark.skipif(not hasattr(os, "pread"), reason="POSIX only")
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize("named", ["models", "models/holes.pkl"])
def test_a_huge_file_that_is_not_adopted_is_never_read_whole(
    pack: Any, named: str, tmp_path: Path, ring: Keyring
) -> None:
    (tmp_path / "models").mkdir()
    path = tmp_path / "models" / "holes.pkl"
    path.write_bytes(pack(pickle.dumps(list(range(5000)))))
    os.truncate(path, 1 << 27)
    tracemalloc.start()
    try:
        (found,) = survey(Batch([str(tmp_path / named)]), keyring=ring)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found.outcome is Outcome.REFUSED
    assert peak < 32 << 20


# --- stopped in the middle -------------------------------------------------------------------


WORKER = (
    "import sys\n"
    "from pickleseal import open_keyring\n"
    "from pickleseal.migration.adopt import adopt_all, survey\n"
    "from pickleseal.migration.batch import Batch, Outcome\n"
    "from pickleseal.migration.targets import Targets\n"
    "ring = open_keyring(sys.argv[2])\n"
    "looks = survey(Batch([sys.argv[1]]), keyring=ring)\n"
    "found = [one for one in looks if one.outcome is Outcome.READY]\n"
    "for one in adopt_all(found, keyring=ring, targets=Targets()):\n"
    "    print(one.path, flush=True)\n"
)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX only")
def test_a_killed_run_leaves_each_file_whole_and_can_go_on(
    ring_directory: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "many"
    before = many(folder, 200)
    with subprocess.Popen(
        [sys.executable, "-c", WORKER, str(folder), str(ring_directory)],
        stdout=subprocess.PIPE,
        text=True,
    ) as worker:
        assert worker.stdout is not None
        for _ in range(20):
            worker.stdout.readline()
        worker.send_signal(signal.SIGKILL)
    sealed = [name for name in before if is_sealed(folder / name)]
    assert 20 <= len(sealed) < 200, "it was stopped in the middle"
    for name, data in before.items():
        if name in sealed:
            verify(folder / name, keyring=ring_directory)
            assert (folder / f"{name}.unsealed").read_bytes() == data
        else:
            assert (folder / name).read_bytes() == data
    done = run("adopt", folder, "--yes", "--json", "--keyring", ring_directory)
    assert done.returncode == 0
    after = everything_below(folder)
    for name, data in before.items():
        assert after[name].startswith(MAGIC)
        assert after[f"{name}.unsealed"] == data
    rest = after.keys() - before.keys() - {f"{name}.unsealed" for name in before}
    assert all(name.startswith(TEMPORARY_PREFIX) for name in rest)
    assert len(rest) <= 1


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX only")
def test_an_interrupt_keeps_what_was_done_and_says_how_far_it_came(
    ring_directory: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "many"
    before = many(folder, 300)
    command = [sys.executable, "-m", "pickleseal", "adopt", str(folder), "--yes", "--json"]
    with subprocess.Popen(
        [*command, "--keyring", str(ring_directory)], stdout=subprocess.PIPE, text=True
    ) as worker:
        while not (folder / "010.pkl.unsealed").exists():
            assert worker.poll() is None
        worker.send_signal(signal.SIGINT)
        assert worker.stdout is not None
        report = json.loads(worker.stdout.read())
    assert worker.returncode == 130
    assert report["interrupted"] is True
    done = {one["path"] for one in report["files"] if one["outcome"] == "adopted"}
    assert 10 <= len(done) < 300
    for name, data in before.items():
        if str(folder / name) in done:
            assert is_sealed(folder / name)
        assert is_sealed(folder / name) or (folder / name).read_bytes() == data


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX only")
def test_a_stopped_scan_says_that_nothing_was_changed(ring_directory: Path, tmp_path: Path) -> None:
    folder = tmp_path / "many"
    before = many(folder, 10)
    command = (
        "import pickleseal.migration.adopt as adopt, os, signal, sys\n"
        "from pickleseal.cli import main\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "look = adopt.look\n"
        "def stopped(data, name=''):\n"
        "    if name.endswith('005.pkl'):\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "    return look(data, name=name)\n"
        "adopt.look = stopped\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", command, "adopt", folder, "--yes", "--keyring", ring_directory],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 130, done.stderr
    assert "stopped: nothing was changed" in done.stderr
    assert "go on" not in done.stderr
    assert "adopted" not in done.stdout + done.stderr
    assert everything_below(folder) == before


# --- what is said ----------------------------------------------------------------------------


def test_skipped_files_take_a_few_lines_for_each_reason(
    ring_directory: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "many"
    many(folder, 100)
    known = tmp_path / "known"
    known.write_text(f"{sha256(folder / '007.pkl')}  7\n")
    done = run("adopt", folder, "--yes", "--digests", known, "--keyring", ring_directory)
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) < 5
    assert re.search(r"99 .*100|100 .*99", done.stdout + done.stderr, re.DOTALL)


def test_a_survey_reads_names_and_unpickles_nothing(
    models: Path, mark: Path, ring: Keyring
) -> None:
    with nothing_unpickled():
        found = {
            os.path.basename(one.path): one for one in survey(Batch([str(models)]), keyring=ring)
        }
    armed, plain = found["armed.pkl"].detail, found["0.pkl"].detail
    assert armed is not None
    assert armed.contents is not None
    assert "Path.touch" in {name.name for name in armed.contents.names}
    assert plain is not None
    assert plain.sha256 == sha256(models / "0.pkl")
    assert not mark.exists()


def test_files_of_other_programs_are_left_alone(tmp_path: Path, ring_directory: Path) -> None:
    folder = tmp_path / "work"
    kept = folder / "cache/joblib/mine/f"
    for below in (folder / ".venv/lib", folder / ".git", kept / "0f", folder / "data"):
        below.mkdir(parents=True)
    (kept / "func_code.py").write_text("def f(): ...")
    plain = pickle.dumps([1, 2, 3])
    others = [".venv/lib/a.pkl", ".git/b.pkl", "cache/joblib/mine/f/0f/output.pkl", "shelf.dat"]
    for name in (*others, "data/output.pkl", "data/other.dat", "data/left.pkl"):
        (folder / name).write_bytes(plain)
    (folder / "shelf.dir").write_text("'a', (0, 5)\n")
    done = run(
        *("adopt", folder, "--yes", "--json", "--exclude", "left*"), *("--keyring", ring_directory)
    )
    assert done.returncode == 0
    reasons = {os.path.basename(one["path"]): one.get("reason") for one in as_json(done)["files"]}
    assert reasons["left.pkl"] == "it is excluded"
    assert "another program" in reasons["shelf.dat"]
    assert as_json(done)["left_out"]["files"] == 2
    for name in (*others, "data/left.pkl"):
        assert (folder / name).read_bytes() == plain
    assert is_sealed(folder / "data/output.pkl")
    assert is_sealed(folder / "data/other.dat")


@pytest.mark.once
def test_adopt_gives_the_reasons_of_the_audit(tmp_path: Path, ring_directory: Path) -> None:
    frame = pd.DataFrame({"a": [1, 2]})
    for ending in ("tar", "tar.gz", "zip"):
        frame.to_pickle(tmp_path / f"frame.pkl.{ending}")
    plain = pickle.dumps(frame)
    zstd = import_module("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")
    (tmp_path / "frame.pkl.zst").write_bytes(zstd.compress(plain))
    (tmp_path / "twice.pkl.gz").write_bytes(gzip.compress(gzip.compress(plain)))
    (tmp_path / "cut.pkl").write_bytes(plain[:-20])
    (tmp_path / "behind.pkl").write_bytes(plain + b"junk")
    (tmp_path / "lfs.pkl").write_text("version https://git-lfs.github.com/spec/v1\n")
    done = run("adopt", tmp_path, "--dry-run", "--json", "--keyring", ring_directory)
    refused = {one["path"]: one for one in as_json(done)["files"] if one["outcome"] == "refused"}
    findings = [one for one in audit(tmp_path) if one.path in refused]
    assert len(findings) == len(refused) == 8
    for finding in findings:
        assert finding.contents is not None
        reason = refused[finding.path]["reason"]
        if finding.contents.grade is Grade.CANNOT_TELL:
            assert reason.startswith(finding.reason.removeprefix(f"{finding.contents.kind}: "))
        else:
            assert reason.startswith(f"{finding.contents.kind}: ")
            assert "signed_dump" in finding.advice
    assert refused[str(tmp_path / "lfs.pkl")]["reason"].endswith("git lfs pull")
    assert refused[str(tmp_path / "cut.pkl")]["reason"].endswith(INCOMPLETE)
