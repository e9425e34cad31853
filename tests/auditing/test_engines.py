"""Whoever examines the files, the report is the same."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from command import as_json, run
from mixed import mixed

from pickleseal import PicklesealError, Verdict, audit
from pickleseal.auditing import readings
from pickleseal.auditing.findings import Finding
from pickleseal.version import __version__

_COPYING = """
import json, sys
from pickleseal.auditing import engines, readings
from pickleseal.files import forks
engines._MANY_FILES, readings._BATCH_FILES, readings._WINDOW = 1, 3, 7
forks.processors = lambda: 3
made, each = [], forks.each
def counted(items, work, *, copies):
    made.append(copies)
    return each(items, work, copies=copies)
forks.each = counted
"""
_AUDIT = f"""{_COPYING}
from pickleseal import audit
report = audit(sys.argv[1], keyring=sys.argv[2], backend="fork", **json.loads(sys.argv[3])).report()
print(json.dumps({{"copies": made, "findings": [one.to_dict() for one in report.findings]}}))
"""
_LISTINGS = f"""{_COPYING}
from pickleseal import audit
listings = []
sys.addaudithook(lambda event, _: event == "os.scandir" and listings.append(event))
for backend in ("fork", None):
    listings.clear()
    audit(sys.argv[1], keyring=sys.argv[2], backend=backend).report()
    print(len(listings))
"""
_VERIFY = f"""{_COPYING}
from pickleseal.cli import cli
code = cli.main(standalone_mode=False)
assert set(made) == {{3}}
sys.exit(code)
"""

OPTIONS: list[dict[str, Any]] = [
    {},
    {"imports": True, "digests": True, "known": ["mine"], "deep": True},
    {"context": "kept/*", "exclude": ["run*"]},
]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return mixed(tmp_path_factory.mktemp("mixed"))


def listed(findings: Iterator[Finding]) -> list[dict[str, Any]]:
    return [one.to_dict() for one in findings]


@pytest.fixture
def _small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readings, "_BATCH_FILES", 3)
    monkeypatch.setattr(readings, "_WINDOW", 7)


def test_the_folder_has_every_verdict_that_needs_no_list(tree: tuple[Path, Path]) -> None:
    models, ring = tree
    found = {
        one.verdict
        for context in (None, "kept/*")
        for one in audit(models, keyring=ring, context=context)
    }
    assert found >= set(Verdict) - {Verdict.MISSING, Verdict.ROLLED_BACK, Verdict.NOT_READ}


@pytest.mark.skipif(sys.platform != "linux", reason="copies are made on Linux")
@pytest.mark.parametrize("options", OPTIONS)
def test_copies_of_the_process_find_what_it_finds(
    tree: tuple[Path, Path], options: dict[str, Any]
) -> None:
    models, ring = tree
    arguments = [str(models), str(ring), json.dumps(options)]
    done = subprocess.run(
        [sys.executable, "-c", _AUDIT, *arguments], capture_output=True, text=True, check=False
    )
    assert not done.stderr
    answer = json.loads(done.stdout)
    assert set(answer["copies"]) == {3}
    assert len(answer["copies"]) > 1  # windows
    assert answer["findings"] == listed(audit(models, keyring=ring, **options))


@pytest.mark.skipif(sys.platform != "linux", reason="copies are made on Linux")
@pytest.mark.parametrize("options", [[], ["--context", "kept/*"]])
def test_copies_of_the_process_verify_as_it_does(
    tree: tuple[Path, Path], options: list[str]
) -> None:
    models, ring = tree
    # One of them is named besides its folder.
    command = ["verify", *map(str, (models, models / "unsealed" / "notes.txt")), *options]
    command += ["--keyring", str(ring), "--json"]
    alone = run(*command)
    done = subprocess.run(
        [sys.executable, "-c", _VERIFY, *command], capture_output=True, text=True, check=False
    )
    assert not done.stderr
    assert (done.returncode, json.loads(done.stdout)) == (alone.returncode, as_json(alone))


@pytest.mark.usefixtures("_small_batches")
def test_workers_without_a_key_read_what_verify_judges(tree: tuple[Path, Path]) -> None:
    models, ring = tree
    command = ["verify", models, "--keyring", ring, "--json"]
    alone, done = run(*command), run(*command, "--backend", "threading", "--jobs", "2")
    told = as_json(done)
    workers = told.pop("workers")
    assert workers["read"] > 30
    assert (done.returncode, {**told, "workers": None}) == (alone.returncode, as_json(alone))


@pytest.mark.skipif(sys.platform != "linux", reason="copies are made on Linux")
def test_copies_list_no_folder_again(tree: tuple[Path, Path]) -> None:
    command = [sys.executable, "-c", _LISTINGS, *map(str, tree)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    with_copies, alone = map(int, done.stdout.split())
    assert with_copies == alone > 0


@pytest.mark.skipif(sys.platform != "linux", reason="copies are made on Linux")
def test_no_copies_read_one_archive(tree: tuple[Path, Path], tmp_path: Path) -> None:
    models, ring = tree
    url = f"zip://::{shutil.make_archive(str(tmp_path / 'models'), 'zip', models)}"
    done = subprocess.run(
        [sys.executable, "-c", _AUDIT, url, str(ring), "{}"],
        capture_output=True,
        text=True,
        check=True,
    )
    answer = json.loads(done.stdout)
    assert answer["copies"] == []
    assert answer["findings"] == listed(audit(url, keyring=ring))


@pytest.mark.usefixtures("_small_batches")
@pytest.mark.parametrize("options", OPTIONS)
def test_workers_without_a_key_read_what_the_client_judges(
    tree: tuple[Path, Path], options: dict[str, Any]
) -> None:
    models, ring = tree
    audited = audit(models, keyring=ring, backend="threading", n_jobs=2, **options)
    findings = listed(audited)
    assert findings == listed(audit(models, keyring=ring, **options))
    workers = audited.report().workers
    assert workers is not None
    assert workers.read > 30


@pytest.mark.usefixtures("_small_batches")
@pytest.mark.parametrize(
    "answer",
    [
        ("0.1", [], 0),
        readings.Answer(__version__, [], -1),
        readings.Answer(__version__, [], "z"),  # type: ignore[arg-type]
    ],
)
def test_an_answer_that_is_none_ends_the_audit_with_a_word(
    tree: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, answer: object
) -> None:
    monkeypatch.setattr("pickleseal.auditing.workers.read", lambda *_: answer)
    folder, ring = tree
    with pytest.raises(PicklesealError, match="did not answer as pickleseal does"):
        audit(folder, keyring=ring, n_jobs=2, backend="threading").report()


def test_what_is_read_again_is_the_same(tree: tuple[Path, Path]) -> None:
    models, ring = tree
    audited = audit(models, keyring=ring, backend="threading", n_jobs=2, recheck=1.0)
    assert listed(audited) == listed(audit(models, keyring=ring))
    workers = audited.report().workers
    assert workers is not None
    assert workers.again == workers.read
    assert workers.differing == 0


def test_an_audit_of_few_files_loads_nothing_for_many(tree: tuple[Path, Path]) -> None:
    models, ring = tree
    script = (
        "import sys; before = set(sys.modules); from pickleseal import audit\n"
        "audit(sys.argv[1], keyring=sys.argv[2], backend='fork').report()\n"
        "print({'joblib', 'multiprocessing'} & (sys.modules.keys() - before))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(models / "run1"), str(ring)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "set()\n"


# --- an interrupt ----------------------------------------------------------------------------


def statuses(session: int) -> Iterator[dict[str, str]]:
    """Yield what Linux says of each process of a session that has not ended."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if os.getsid(int(folder.name)) != session:
                continue
            lines = (folder / "status").read_text().splitlines()
        except OSError:  # it has ended
            continue
        fields = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
        if fields["State"][0] not in "ZX":
            yield {**fields, "words": (folder / "cmdline").read_text()}


def has_workers(session: int, backend: str) -> bool:
    """Return whether a worker is there that Ctrl-C interrupts, or would; all that are forked."""
    name = "popen_loky" if backend == "loky" else "pickleseal"
    able = [
        one
        for one in statuses(session)
        if name in one["words"] and int(one["SigCgt"], 16) & 1 << signal.SIGINT - 1
    ]
    return len(able) >= (1 if backend == "loky" else 3)


@pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc")
@pytest.mark.parametrize(
    ("command", "backend", "moment"),
    [
        ("audit", "loky", "start"),
        ("audit", "loky", "work"),
        ("verify", "loky", "start"),
        ("verify", "multiprocessing", "start"),
    ],
)
def test_an_interrupt_ends_workers_and_they_say_nothing(
    command: str, backend: str, moment: str, ring_directory: Path, tmp_path: Path
) -> None:
    models, reports = tmp_path / "models", tmp_path / "reports"
    models.mkdir()
    reports.mkdir()
    for number in range(12):  # each is a task of its own
        with (models / f"{number}.bin").open("wb") as file:
            file.truncate(17 << 20)
    words = [command, str(models), "--keyring", str(ring_directory)]
    words += ["--backend", backend, "--jobs", "2"]
    if command == "audit":
        words += ["--format", "jsonl", "--html", str(reports / "page")]
    with subprocess.Popen(
        [sys.executable, "-m", "pickleseal", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # a group that a terminal's Ctrl-C would reach as a whole
    ) as worker:
        try:
            while not has_workers(worker.pid, backend):
                assert worker.poll() is None
            if moment == "work":
                assert worker.stdout is not None
                worker.stdout.readline()
            os.killpg(worker.pid, signal.SIGINT)
            output, complaint = worker.communicate(timeout=60)
        except BaseException:
            os.killpg(worker.pid, signal.SIGKILL)
            raise
    assert worker.returncode == 130, complaint
    assert [line for line in complaint.splitlines() if line][-1].startswith("stopped")
    # loky's tracker is a process of its own, and may say what it cleans up.
    said = [line for line in (output + complaint).splitlines() if "resource_tracker" not in line]
    bad = [line for line in said if re.search("Traceback|Error|Warning", line)]
    assert not bad, said
    assert not list(reports.iterdir())
    while any(statuses(worker.pid)):
        pass  # the test's time is limited
