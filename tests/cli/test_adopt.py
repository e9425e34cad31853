"""`pickleseal adopt`: what is sealed, what is refused, and what is left where it was."""

import gzip
import hashlib
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
import time
import tracemalloc
import zipfile
from datetime import timedelta
from pathlib import Path
from typing import Any

import cloudpickle
import joblib
import numpy as np
import pytest
from armed import made
from command import as_json, run
from watching import Mark, nothing_unpickled

from pickleseal import (
    Keyring,
    KeyringError,
    SealError,
    TargetError,
    open_keyring,
    signed_dump,
    signed_load,
    verify,
)
from pickleseal.envelope.layout import MAGIC
from pickleseal.files.atomic import TEMPORARY_PREFIX, write_whole
from pickleseal.migration.adopt import (
    Adopted,
    Outcome,
    Place,
    Surveyed,
    adopt_all,
    context_of,
    read_digests,
    survey,
    told_apart,
)
from pickleseal.scanner.grade import Grade

COMPRESSIONS = ("zlib", "gzip", "bz2", "lzma", "xz", "lz4")
IN_PLACE = Place()


def joblib_bytes(obj: object, compress: Any = 0) -> bytes:
    file = io.BytesIO()
    joblib.dump(obj, file, compress=compress)
    return file.getvalue()


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def is_sealed(path: Path) -> bool:
    return path.read_bytes().startswith(MAGIC)


def everything_below(folder: Path) -> dict[str, bytes]:
    """Give each file below a folder and what is in it."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }


def told(done: list[Surveyed] | list[Adopted], below: Path) -> dict[str, str]:
    return {str(Path(one.path).relative_to(below)): one.outcome.value for one in done}


def adopted(
    paths: list[Path], ring: Path, place: Place = IN_PLACE, **options: Any
) -> dict[str, Adopted]:
    """Survey and adopt, and give what came of each file that was ready."""
    keyring = open_keyring(ring)
    found = list(survey(map(str, paths), keyring=keyring, **options))
    ready = [one for one in found if one.outcome is Outcome.READY]
    done = adopt_all(ready, keyring=keyring, place=place)
    return {os.path.basename(one.path): one for one in done}


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    """Give the path of a file that is there once something was unpickled."""
    return tmp_path / "mark"


@pytest.fixture
def models(tmp_path: Path, ring_directory: Path, mark: Path) -> Path:
    """Give a folder of old files as they lie in a project: of all kinds, and some armed ones."""
    import pandas as pd

    folder = tmp_path / "models"
    (folder / "deep" / "er").mkdir(parents=True)
    for protocol in range(6):
        (folder / f"{protocol}.pkl").write_bytes(pickle.dumps([protocol, {"a": 1.5}], protocol))
    (folder / "deep" / "plain.joblib").write_bytes(joblib_bytes(np.arange(50)))
    for method in COMPRESSIONS:
        data = joblib_bytes(np.arange(50), (method, 3))
        (folder / "deep" / f"{method}.joblib").write_bytes(data)
    pd.DataFrame({"a": [1, 2]}).to_pickle(folder / "deep/er/table.pkl.gz")
    signed_dump("sealed", folder / "sealed.pkl", keyring=ring_directory)
    (folder / "notes.txt").write_text("nothing to see")
    (folder / "empty").touch()
    (folder / "several.pkl").write_bytes(pickle.dumps(1) * 3)
    (folder / "twice.joblib").write_bytes(gzip.compress(joblib_bytes(np.arange(9), 3)))
    with zipfile.ZipFile(folder / "torch.pt", "w") as archive:
        archive.writestr("data.pkl", pickle.dumps([1]))
    (folder / "broken.pkl").write_bytes(pickle.dumps(list(range(99)))[:-5])
    (folder / "armed.pkl").write_bytes(pickle.dumps(Mark(mark)))
    (folder / "lambda.pkl").write_bytes(cloudpickle.dumps(lambda: None))
    (folder / "link.pkl").symlink_to("0.pkl")
    return folder


READY = {
    *(f"{protocol}.pkl" for protocol in range(6)),
    *(f"deep/{method}.joblib" for method in (*COMPRESSIONS, "plain")),
    "deep/er/table.pkl.gz",
}
REFUSED = {"several.pkl", "twice.joblib", "torch.pt", "broken.pkl", "armed.pkl", "lambda.pkl"}


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
        adopted([path], ring_directory, Place(str(tmp_path / "to")))
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


def test_what_reaches_beyond_data_is_adopted_only_where_that_very_file_is_accepted(
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
def test_a_file_that_is_accepted_and_was_not_looked_at_is_told_before_anything_is_done(
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


def test_what_could_not_be_looked_at_whole_is_not_judged_any_more(
    tmp_path: Path, ring: Keyring
) -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("inner.pkl", pickle.dumps(list(range(99)))[:-5])
    path = tmp_path / "m.pkl"
    path.write_bytes(pickle.dumps(archive.getvalue()))
    (found,) = survey([str(path)], keyring=ring)
    assert found.contents is not None
    assert found.contents.grade is Grade.CANNOT_TELL
    assert found.outcome is Outcome.REFUSED
    assert found.judgement is None


class _NoPlace(io.RawIOBase):
    """A file that does not know where it is, for which joblib writes no padding."""

    def __init__(self) -> None:
        self.data = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.data += data
        return len(data)

    def tell(self) -> int:
        raise io.UnsupportedOperation


def test_what_cannot_be_told_is_adopted_only_if_it_is_accepted(
    tmp_path: Path, ring_directory: Path
) -> None:
    file = _NoPlace()
    joblib.dump(np.frombuffer(b"0" + b"N." * 99, dtype="u1"), file)
    path = tmp_path / "m.joblib"
    path.write_bytes(bytes(file.data))
    command = ("adopt", path, "--yes", "--keyring", ring_directory)
    refused = run(*command)
    assert refused.returncode == 1
    assert "cannot be told" in refused.stdout + refused.stderr
    assert run(*command, "--accept", path).returncode == 0


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


def test_where_nobody_can_be_asked_nothing_is_sealed_without_yes(
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
    os.truncate(path, 1 << 36)
    tracemalloc.start()
    try:
        (found,) = survey([str(tmp_path / named)], keyring=ring)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found.outcome is Outcome.REFUSED
    assert peak < 64 << 20


# --- lists of digests ------------------------------------------------------------------------


def test_of_a_list_of_digests_only_what_stands_in_it_is_adopted_whatever_its_name(
    models: Path, ring_directory: Path, tmp_path: Path
) -> None:
    known = tmp_path / "known.sha256"
    (models / "renamed.dat").write_bytes((models / "3.pkl").read_bytes())
    known.write_text(
        f"{sha256(models / '2.pkl')}  elsewhere/old.pkl\n"
        f"{sha256(models / '3.pkl').upper()} *3.pkl\n\n"
        f"{sha256(models / 'notes.txt')}  notes.txt\r\n"
    )
    command = ("adopt", models, "--yes", "--json", "--keyring", ring_directory)
    done = run(*command, "--digests", known)
    assert done.returncode == 1, "what is listed and no pickle is refused aloud"
    files = {
        str(Path(one["path"]).relative_to(models)): one["outcome"] for one in as_json(done)["files"]
    }
    assert {name for name, one in files.items() if one == "adopted"} == {
        "2.pkl",
        "3.pkl",
        "renamed.dat",
    }
    assert files["notes.txt"] == "refused"
    assert files["0.pkl"] == files["armed.pkl"] == "skipped"
    assert files["empty"] == "no pickle found"


def test_a_listed_digest_does_not_let_in_what_reaches_beyond_data(
    models: Path, ring_directory: Path
) -> None:
    armed = models / "armed.pkl"
    (found,) = survey(
        [str(armed)],
        keyring=open_keyring(ring_directory),
        digests=frozenset([sha256(armed)]),
    )
    assert found.outcome is Outcome.REFUSED


@pytest.mark.parametrize(
    "line",
    ["0" * 63 + "  a", "0" * 64, "g" * 64 + "  a", "# a", "SHA256 (a) = " + "0" * 64, "0" * 65],
)
def test_a_line_that_is_none_of_sha256sums_is_told_with_its_number(line: str) -> None:
    good = "0" * 64 + "  a\x0bb\u2028c.pkl\n"
    assert read_digests(good + "\\" + "1" * 64 + " *a\\nb\n") == {"0" * 64, "1" * 64}
    with pytest.raises(ValueError, match="2"):
        read_digests(good + line + "\n")


def test_a_list_that_is_none_exits_with_2(
    models: Path, ring_directory: Path, tmp_path: Path
) -> None:
    known = tmp_path / "known.sha256"
    known.write_text("nothing\n")
    for path in (known, tmp_path / "gone"):
        done = run("adopt", models, "--yes", "--digests", path, "--keyring", ring_directory)
        assert done.returncode == 2
    assert not list(models.rglob("*.unsealed"))


# --- what files are sealed for ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "context"),
    [
        ("a/fraud.pkl", "m/fraud"),
        ("a.b/fraud.v1.pkl", "m/fraud.v1"),
        ("fraud.pkl.gz", "m/fraud"),
        ("fraud.v1.joblib.z", "m/fraud.v1"),
        ("fraud.gz", "m/fraud"),
        ("fraud", "m/fraud"),
        (".pkl", "m/.pkl"),
    ],
)
def test_a_name_in_a_context_is_that_of_the_file_without_its_ending(
    path: str, context: str
) -> None:
    assert context_of(path, path, "m/{name}") == context


@pytest.mark.parametrize(
    ("path", "root", "context"),
    [
        ("lay/v1/model.pkl.gz", "lay", "m/v1/model"),
        ("lay/v1/model.pkl", "lay/", "m/v1/model"),
        ("/a/lay/model.pkl", "/a/lay", "m/model"),
        ("lay/v1/model.pkl", "lay/v1/model.pkl", "m/model"),
        ("./{name}/b.pkl", ".", "m/{name}/b"),
    ],
)
def test_a_path_in_a_context_begins_below_what_was_named(
    path: str, root: str, context: str
) -> None:
    assert context_of(path, root, "m/{path}") == context


@pytest.mark.parametrize("context", ["m/{Name}", "m/{name", "name}", "{{name}}", "{name}{}", "{"])
def test_another_brace_in_a_context_is_refused_before_anything_is_sealed(
    models: Path, ring_directory: Path, context: str
) -> None:
    command = ("adopt", models, "--yes", "--context", context, "--keyring", ring_directory)
    done = run(*command)
    assert done.returncode == 2
    assert "{name}" in done.stderr
    assert "{path}" in done.stderr
    assert not list(models.rglob("*.unsealed"))


@pytest.fixture
def versions(tmp_path: Path) -> Path:
    """Give a folder of two files of the same name."""
    folder = tmp_path / "lay"
    for version in ("v1", "v2"):
        (folder / version).mkdir(parents=True)
        (folder / version / "model.pkl").write_bytes(pickle.dumps(version))
    return folder


def test_files_of_the_same_name_are_told_apart_by_their_paths(
    versions: Path, ring_directory: Path
) -> None:
    command = ("adopt", versions, "--yes", "--keyring", ring_directory, "--context")
    refused = run(*command, "m/{name}")
    assert refused.returncode == 1
    assert "{path}" in refused.stdout + refused.stderr
    assert run(*command, "m/{path}").returncode == 0
    for version in ("v1", "v2"):
        path = versions / version / "model.pkl"
        loaded = signed_load(path, keyring=ring_directory, context=f"m/{version}/model")
        assert loaded == version
    assert run(*command, "m/{path}").returncode == 0, "begun again, it goes on"


def test_a_context_that_has_the_path_already_is_not_told_to_take_it(
    versions: Path, ring_directory: Path
) -> None:
    (versions / "v1" / "model.joblib").write_bytes(pickle.dumps(1))
    found = survey([str(versions)], keyring=open_keyring(ring_directory), context="{path}")
    reasons = [one.reason for one in told_apart(found, "{path}") if one.reason]
    assert len(reasons) == 2
    assert not [reason for reason in reasons if "{path}" in reason]


def test_what_each_file_would_be_sealed_for_is_shown_before_it_is(
    versions: Path, ring_directory: Path
) -> None:
    command = ("adopt", versions, "--dry-run", "--keyring", ring_directory, "--context")
    assert re.findall("for '(.*)'", run(*command, "m/{path}").stdout) == [
        "m/v1/model",
        "m/v2/model",
    ]
    assert "for '" not in run(*command, "m/model").stdout
    asked = run("adopt", versions, "--context", "m/{path}", "--keyring", ring_directory)
    assert "for 'm/v1/model'" in asked.stderr, "a person sees it before saying yes"
    listed = as_json(run(*command, "m/{path}", "--json"))["files"]
    assert [one["context"] for one in listed] == ["m/v1/model", "m/v2/model"]


def test_files_that_would_be_sealed_for_the_same_name_are_all_refused(
    ring_directory: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "models"
    (folder / "s").mkdir(parents=True)
    names = ("fraud.v1.pkl", "fraud.v2.pkl", "fraud.pkl", "s/fraud.pkl", "churn.pkl", "churn.txt")
    for name in names:
        (folder / name).write_bytes(pickle.dumps(name))
    (folder / "churn.txt").write_text("nothing to see")
    command = ("adopt", folder, "--yes", "--json", "--keyring", ring_directory)
    done = run(*command, "--context", "m/{name}")
    assert done.returncode == 1
    files = {
        str(Path(one["path"]).relative_to(folder)): one["outcome"] for one in as_json(done)["files"]
    }
    assert files == {
        "fraud.v1.pkl": "adopted",
        "fraud.v2.pkl": "adopted",
        "fraud.pkl": "refused",
        "s/fraud.pkl": "refused",
        "churn.pkl": "adopted",
        "churn.txt": "no pickle found",
    }
    loaded = signed_load(folder / "fraud.v2.pkl", keyring=ring_directory, context="m/fraud.v2")
    assert loaded == "fraud.v2.pkl"
    assert run(*command, "--context", "m/fraud").returncode == 1, "others are for another name"
    assert is_sealed(folder / "s" / "fraud.pkl"), "where all are for one, somebody says so"


def test_a_name_that_an_envelope_was_sealed_for_is_not_given_to_another_file(
    ring_directory: Path, tmp_path: Path
) -> None:
    path, other = tmp_path / "m" / "fraud.pkl", tmp_path / "m" / "fraud.joblib"
    path.parent.mkdir()
    signed_dump(1, path, keyring=ring_directory, context="fraud")
    other.write_bytes(pickle.dumps(2))
    found = survey([str(path.parent)], keyring=open_keyring(ring_directory), context="{name}")
    outcomes = told(told_apart(found, "{name}"), path.parent)
    assert outcomes == {"fraud.pkl": "already sealed", "fraud.joblib": "refused"}


def test_a_name_that_no_context_can_hold_is_told_in_the_survey(
    tmp_path: Path, ring: Keyring
) -> None:
    path = tmp_path / "a\nb.pkl"
    path.write_bytes(pickle.dumps(1))
    (found,) = survey([str(path)], keyring=ring, context="{name}")
    assert found.outcome is Outcome.FAILED


@pytest.mark.parametrize("context", ["other", None])
def test_what_is_sealed_for_something_else_is_refused(
    ring_directory: Path, tmp_path: Path, context: str | None
) -> None:
    path = tmp_path / "m.pkl"
    signed_dump(1, path, keyring=ring_directory, context="m")
    keyring = open_keyring(ring_directory)
    (found,) = survey([str(path)], keyring=keyring, context=context)
    assert found.outcome is Outcome.REFUSED
    assert "for 'm'" in found.reason
    assert "extract it to another folder" in found.reason
    (found,) = survey([str(path)], keyring=keyring, context="m")
    assert found.outcome is Outcome.ALREADY


def test_what_is_sealed_and_no_load_takes_is_refused_and_not_called_sealed(
    ring_directory: Path, tmp_path: Path
) -> None:
    longer, over = tmp_path / "longer.pkl", tmp_path / "over.pkl"
    signed_dump(1, longer, keyring=ring_directory)
    with longer.open("ab") as file:
        file.write(b"behind the envelope")
    signed_dump(1, over, keyring=ring_directory, expires=timedelta(seconds=1))
    while time.time() < os.stat(over).st_mtime + 1.1:
        pass
    for path in (longer, over):
        with pytest.raises(SealError):
            signed_load(path, keyring=ring_directory)
        done = run("adopt", path, "--yes", "--json", "--keyring", ring_directory)
        assert done.returncode == 1
        (one,) = as_json(done)["files"]
        assert one["outcome"] == "refused"


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
    done = adopted(names, ring_directory, Place(str(to)))
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


def test_two_folders_whose_files_have_the_same_names_do_not_overwrite_each_other(
    ring_directory: Path, tmp_path: Path
) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "m.pkl").write_bytes(pickle.dumps(folder))
    to = tmp_path / "to"
    keyring = open_keyring(ring_directory)
    found = survey([str(tmp_path / "a"), str(tmp_path / "b")], keyring=keyring)
    done = list(adopt_all(found, keyring=keyring, place=Place(str(to))))
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
    adopted([models], ring_directory, Place(str(to)))
    assert is_sealed(tmp_path / "real" / "elsewhere" / "zlib.joblib")


# --- what changes meanwhile ------------------------------------------------------------------


def test_a_file_that_was_exchanged_since_it_was_looked_at_is_left_alone(
    models: Path, ring_directory: Path, mark: Path
) -> None:
    armed = pickle.dumps(Mark(mark))
    paths = [models / f"{number}.pkl" for number in range(4)]
    outside = models.parent / "outside.pkl"
    outside.write_bytes(paths[2].read_bytes())
    found = list(survey([str(models)], keyring=open_keyring(ring_directory)))
    paths[0].write_bytes(armed)
    paths[1].unlink()
    paths[2].unlink()
    paths[2].symlink_to(outside)
    ready = [one for one in found if Path(one.path) in paths]
    done = list(adopt_all(ready, keyring=open_keyring(ring_directory), place=IN_PLACE))
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
    found = [one for one in survey([str(models)], keyring=keyring) if one.outcome is Outcome.READY]
    (models / "deep").rename(tmp_path / "outside")
    (models / "deep").symlink_to(tmp_path / "outside")
    done = told(list(adopt_all(found, keyring=keyring, place=IN_PLACE)), models)
    assert done["deep/zlib.joblib"] == done["deep/er/table.pkl.gz"] == "failed"
    assert done["0.pkl"] == "adopted"
    assert not any(is_sealed(path) for path in (tmp_path / "outside").glob("*.joblib"))


@pytest.mark.skipif(not hasattr(os, "pwrite"), reason="POSIX only")
def test_what_is_graded_is_what_is_hashed(tmp_path: Path, ring: Keyring) -> None:
    """Somebody changes a file again and again: each survey is of one of its forms, whole."""
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
        found = [one for _ in range(10) for one in survey([str(path)], keyring=ring)]
        other.kill()
    for one in found:
        assert one.contents is not None
        assert one.sha256 is not None
        assert one.contents.grade is grades[one.sha256]


@pytest.mark.parametrize("links", ["links", "no links"])
@pytest.mark.parametrize("found", ["a file", "a link"])
def test_what_appears_at_the_last_moment_is_not_overwritten(
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


def test_a_dry_run_tells_what_is_in_the_way_as_the_run_does(
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
        assert "is there already" in failed["reason"]
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


# --- stopped in the middle -------------------------------------------------------------------


def many(folder: Path, count: int) -> dict[str, bytes]:
    folder.mkdir()
    for number in range(count):
        (folder / f"{number:03}.pkl").write_bytes(pickle.dumps([number] * 100))
    return everything_below(folder)


WORKER = (
    "import sys\n"
    "from pickleseal import open_keyring\n"
    "from pickleseal.migration.adopt import Outcome, Place, adopt_all, survey\n"
    "ring = open_keyring(sys.argv[2])\n"
    "looks = survey([sys.argv[1]], keyring=ring)\n"
    "found = [one for one in looks if one.outcome is Outcome.READY]\n"
    "for one in adopt_all(found, keyring=ring, place=Place()):\n"
    "    print(one.path, flush=True)\n"
)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX only")
def test_a_kill_in_the_middle_leaves_each_file_whole_and_the_rest_is_done_later(
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


# --- what is said ----------------------------------------------------------------------------


def test_what_is_left_alone_takes_one_line_for_each_reason(
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
        found = {os.path.basename(one.path): one for one in survey([str(models)], keyring=ring)}
    contents = found["armed.pkl"].contents
    assert contents is not None
    assert "Path.touch" in {name.name for name in contents.names}
    assert found["0.pkl"].sha256 == sha256(models / "0.pkl")
    assert not mark.exists()


def test_what_other_programs_read_is_left_alone(tmp_path: Path, ring_directory: Path) -> None:
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
