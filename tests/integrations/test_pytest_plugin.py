"""The pytest plugin: the audit as tests, in real runs of pytest, and nothing where it is not asked.

Each run is a process that loads no plugin of its own accord, so it does not matter how pickleseal
is installed here.
"""

import importlib.metadata
import os
import pickle
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from pickleseal import open_keyring, signed_dump

PLUGIN = "pickleseal.integrations.pytest_plugin"
with_and_without_xdist = pytest.mark.parametrize(
    "workers", ["0", pytest.param("2", marks=pytest.mark.sweep)]
)
USAGE_ERROR = pytest.ExitCode.USAGE_ERROR


class Ran(NamedTuple):
    code: int
    text: str
    outcomes: dict[str, str]
    """The outcome of each test, by its class and name."""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a project with one test and a folder of models, none in it."""
    place = tmp_path / "project"
    (place / "models").mkdir(parents=True)
    (place / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n", encoding="utf-8")
    (place / "test_own.py").write_text("def test_own(): pass\n", encoding="utf-8")
    return place


@pytest.fixture
def run(project: Path) -> Callable[..., Ran]:
    def run_pytest(*arguments: str, **variables: str) -> Ran:
        junit = project / "junit.xml"
        junit.unlink(missing_ok=True)
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-p", PLUGIN, f"--junitxml={junit}", *arguments],
            cwd=project,
            env={
                **{k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")},
                "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
                "PYTHONOPTIMIZE": "",  # the projects assert
                **variables,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            timeout=120,
            check=False,
        )
        outcomes = {}
        if junit.exists():
            for case in ET.parse(junit).iter("testcase"):
                failed = any(child.tag in ("failure", "error") for child in case)
                name = f"{case.get('classname')}::{case.get('name')}"
                outcomes[name] = "failed" if failed else "passed"
        return Ran(done.returncode, done.stdout, outcomes)

    return run_pytest


def configure(project: Path, *lines: str) -> None:
    text = "\n".join(("[pytest]", "filterwarnings = error", *lines, ""))
    (project / "pytest.ini").write_text(text, encoding="utf-8")


def unsealed(project: Path, name: str = "a.pkl") -> None:
    (project / "models" / name).write_bytes(pickle.dumps([1, 2]))


def sealed(project: Path, ring: Path, name: str = "good.pkl") -> Path:
    path = project / "models" / name
    signed_dump([1, 2], path, keyring=open_keyring(ring))
    return path


OWN = {"test_own::test_own": "passed"}


def test_nothing_is_audited_unless_it_is_asked_for(project: Path, run: Callable[..., Ran]) -> None:
    unsealed(project)
    ran = run("--strict-markers")
    assert ran.outcomes == OWN
    assert ran.code == pytest.ExitCode.OK
    assert "pickleseal: " not in ran.text


def test_the_plugin_brings_in_nothing_beyond_the_package_itself() -> None:
    code = (
        "import sys, pytest, pickleseal; before = set(sys.modules)\n"
        f"import {PLUGIN}\n"
        "print(sorted(set(sys.modules) - before))"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, encoding="utf-8", check=True
    )
    assert done.stdout.strip() == str(["pickleseal.integrations", PLUGIN])


def test_an_unsealed_file_fails_with_its_verdict_and_no_traceback(
    project: Path, run: Callable[..., Ran]
) -> None:
    unsealed(project)
    ran = run("--pickleseal-audit", "models")
    name = f"pickleseal::models{os.sep}a.pkl"
    assert ran.outcomes == {**OWN, name: "failed", "pickleseal::summary": "passed"}
    assert ran.code == pytest.ExitCode.TESTS_FAILED
    assert f"FAILED {name} - unsealed: " in ran.text
    assert "what to do: " in ran.text
    assert "Traceback" not in ran.text
    assert "pytest_plugin.py" not in ran.text
    assert "collected 3 items" in ran.text


def test_files_whose_seals_hold_pass_as_one(
    project: Path, ring_directory: Path, run: Callable[..., Ran]
) -> None:
    sealed(project, ring_directory, "one.pkl")
    sealed(project, ring_directory, "two.pkl")
    configure(project, f"pickleseal_keyring = {ring_directory}")
    ran = run("--pickleseal-audit", "models")
    assert ran.outcomes == {**OWN, "pickleseal::summary": "passed"}
    assert ran.code == pytest.ExitCode.OK
    assert "audited models: 2 sealed" in ran.text


def test_a_file_that_was_changed_after_sealing_fails(
    project: Path, ring_directory: Path, run: Callable[..., Ran]
) -> None:
    path = sealed(project, ring_directory)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    ran = run("--pickleseal-audit", "models", PICKLESEAL_KEYRING=str(ring_directory))
    assert ran.outcomes[f"pickleseal::models{os.sep}good.pkl"] == "failed"


def test_the_settings_name_paths_and_the_keyring_relative_to_the_project(
    project: Path, ring_directory: Path, run: Callable[..., Ran]
) -> None:
    sealed(project, ring_directory)
    (project / "deeper").mkdir()
    ring = os.path.relpath(ring_directory, project)
    configure(project, "pickleseal_audit = models test_own.py", f"pickleseal_keyring = {ring}")
    ran = run("--rootdir", str(project), "deeper", "test_own.py")
    assert ran.outcomes == {**OWN, "pickleseal::summary": "passed"}
    assert "1 sealed" in ran.text


def test_the_option_may_be_repeated_and_stands_in_place_of_the_setting(
    project: Path, run: Callable[..., Ran]
) -> None:
    for name in "abc":
        unsealed(project, f"{name}.pkl")
    configure(project, f"pickleseal_audit = models{os.sep}c.pkl")
    options = [f"--pickleseal-audit=models{os.sep}{name}.pkl" for name in "ab"]
    ran = run(*options)
    failed = {name for name, outcome in ran.outcomes.items() if outcome == "failed"}
    assert failed == {f"pickleseal::models{os.sep}{name}.pkl" for name in "ab"}


@pytest.mark.parametrize(
    ("fail_on", "outcome"),
    [("error", "passed"), ("unknown", "passed"), ("warning", "failed"), ("note", "failed")],
)
def test_a_finding_fails_from_the_level_that_is_set(
    project: Path, run: Callable[..., Ran], fail_on: str, outcome: str
) -> None:
    unsealed(project)
    configure(project, f"pickleseal_fail_on = {fail_on}")
    ran = run("--pickleseal-audit", "models")
    assert ran.outcomes[f"pickleseal::models{os.sep}a.pkl"] == outcome


def test_a_folder_in_which_there_is_no_file_fails(project: Path, run: Callable[..., Ran]) -> None:
    ran = run("--pickleseal-audit", "models")
    assert ran.outcomes == {**OWN, "pickleseal::summary": "failed"}


@with_and_without_xdist
@pytest.mark.parametrize(
    ("setting", "path"),
    [
        ("", "nowhere"),
        ("pickleseal_keyring = nowhere", "models"),
        ("pickleseal_fail_on = never", "models"),
    ],
)
def test_an_audit_that_cannot_run_is_an_error_of_usage_in_one_line(
    project: Path, run: Callable[..., Ran], setting: str, path: str, workers: str
) -> None:
    unsealed(project)
    configure(project, setting)
    ran = run("-p", "xdist.plugin", "-n", workers, "--pickleseal-audit", path)
    assert ran.code == USAGE_ERROR
    assert "ERROR: pickleseal" in ran.text
    assert "Traceback" not in ran.text


def test_the_marker_picks_the_audit_alone_or_leaves_it_out(
    project: Path, run: Callable[..., Ran]
) -> None:
    unsealed(project)
    options = ("--strict-markers", "--pickleseal-audit", "models")
    assert "test_own::test_own" not in run(*options, "-m", "pickleseal").outcomes
    assert run(*options, "-m", "not pickleseal").outcomes == OWN


@pytest.mark.sweep
def test_workers_of_xdist_share_one_audit(project: Path, run: Callable[..., Ran]) -> None:
    for number in range(9):
        unsealed(project, f"{number}.pkl")
    alone = run("--pickleseal-audit", "models")
    shared = run("-p", "xdist.plugin", "-n", "3", "--pickleseal-audit", "models")
    assert shared.outcomes == alone.outcomes
    assert shared.code == alone.code
    assert shared.text.count("audited models") == 1


@pytest.mark.skipif(os.name != "posix", reason="no such names elsewhere")
@with_and_without_xdist
def test_a_hostile_name_forges_no_line(
    project: Path, run: Callable[..., Ran], workers: str
) -> None:
    unsealed(project, "a\n1 passed\x1b[2J.pkl")
    (project / "models" / os.fsdecode(b"\xff.pkl")).write_bytes(pickle.dumps([1]))
    ran = run("-p", "xdist.plugin", "-n", workers, "--pickleseal-audit", "models")
    assert list(ran.outcomes.values()).count("failed") == 2
    assert "\x1b[2J" not in ran.text
    assert not any(line.startswith("1 passed") for line in ran.text.splitlines())


def test_pytest_finds_the_plugin_where_pickleseal_is_installed() -> None:
    (entry,) = importlib.metadata.entry_points(group="pytest11", name="pickleseal")
    assert entry.value == PLUGIN
