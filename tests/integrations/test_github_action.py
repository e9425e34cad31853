"""The GitHub action and the workflows: the action's steps are run as GitHub runs them."""

import hashlib
import json
import os
import pickle
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml  # type: ignore[import-untyped,unused-ignore]

from pickleseal import Key, Keyring, signed_dump
from pickleseal.keys.key import KeyLine

ROOT = Path(__file__).parents[2]
ACTION = ROOT / "action.yml"
WORKFLOWS = sorted(ROOT.glob(".github/workflows/*.yml"))

pytestmark = [
    pytest.mark.sweep,
    pytest.mark.skipif(not ACTION.exists(), reason="the action is not here"),
    pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash"),
]


class Step(NamedTuple):
    code: int
    log: str
    outputs: dict[str, str]


class Runner:
    """A checkout on a runner, in which a step of the action can be run."""

    def __init__(self, folder: Path) -> None:
        self.checkout = folder / "checkout"
        self.temporary = folder / "temp"
        self.checkout.mkdir()
        self.temporary.mkdir()
        self.job: dict[str, str] = {}
        """Variables of the job."""
        self.action = yaml.safe_load(ACTION.read_text(encoding="utf-8"))

    def has_installed(self) -> None:
        """Set the environment of this test to the one that the action made."""
        (self.temporary / "pickleseal").mkdir()
        (self.temporary / "pickleseal" / "bin").symlink_to(Path(sys.executable).parent)

    def run(self, name: str, **given: str) -> Step:
        """Run the step of a name with inputs."""
        (step,) = (one for one in self.action["runs"]["steps"] if one["name"] == name)
        inputs = {key: one.get("default", "") for key, one in self.action["inputs"].items()}
        inputs |= {key.replace("_", "-"): text for key, text in given.items()}
        values = {f"inputs.{key}": text for key, text in inputs.items()}
        values["github.action_path"] = str(ROOT)
        told = self.temporary / "outputs"
        told.write_text("")
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", step["run"]],
            cwd=self.checkout,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(self.temporary),
                "GITHUB_OUTPUT": str(told),
                "RUNNER_TEMP": str(self.temporary),
                "CI": "true",
                **self.job,
                **{
                    key: re.sub(r"\$\{\{ (\S+) \}\}", lambda found: values[found[1]], text)
                    for key, text in step["env"].items()
                },
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            timeout=600,
            check=False,
        )
        return Step(done.returncode, done.stdout, dict(_outputs(told.read_text())))


def _outputs(text: str) -> list[tuple[str, str]]:
    found = re.findall(r"^([\w-]+)(?:=(.*)|<<(\S+)\n(.*)\n\3)$", text, re.MULTILINE)
    return [(name, short or long) for name, short, _, long in found]


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    made = Runner(tmp_path)
    made.has_installed()
    return made


@pytest.fixture
def secret() -> str:
    """Return a key line, as the secret of a repository."""
    return KeyLine.generate().reveal()


def unsealed(runner: Runner, name: str = "plain.pkl") -> None:
    (runner.checkout / name).write_bytes(pickle.dumps([1]))


def sealed(runner: Runner, secret: str) -> Keyring:
    ring = Keyring(Key.parse(KeyLine(secret)))
    signed_dump([1], runner.checkout / "sealed.pkl", keyring=ring, context="ci/a")
    return ring


def test_an_unsealed_pickle_fails_the_step_and_is_in_the_sarif_file(runner: Runner) -> None:
    unsealed(runner)
    step = runner.run("Audit")
    assert step.code == 1
    assert step.outputs == {"exit-code": "1", "sarif": "pickleseal.sarif"}
    told = json.loads((runner.checkout / "pickleseal.sarif").read_text())
    assert len(told["runs"][0]["results"]) == 1


def test_fail_on_lets_the_step_pass(runner: Runner) -> None:
    unsealed(runner)
    step = runner.run("Audit", fail_on="never")
    assert (step.code, step.outputs["exit-code"]) == (0, "0")


def test_a_sealed_file_passes_with_the_key(runner: Runner, secret: str) -> None:
    sealed(runner, secret)
    step = runner.run("Audit", key=secret)
    assert step.code == 0, step.log
    assert "::warning" not in step.log
    assert secret not in step.log


@pytest.mark.parametrize(("empty", "job"), [("", {"PICKLESEAL_KEY": ""}), (" \n", {})])
def test_a_secret_that_is_not_set_is_no_key_and_is_named(
    runner: Runner, secret: str, empty: str, job: dict[str, str]
) -> None:
    runner.job = job
    (runner.checkout / "notes.txt").write_text("no pickle")
    assert runner.run("Audit", key=empty).code == 0
    sealed(runner, secret)
    step = runner.run("Audit", key=empty)
    assert step.code == 1
    (line,) = (one for one in step.log.splitlines() if one.startswith("::warning"))
    assert "key" in line
    assert step.outputs["sarif"] == "pickleseal.sarif"


def test_a_key_of_the_job_is_used_where_the_input_is_empty(runner: Runner, secret: str) -> None:
    sealed(runner, secret)
    runner.job = {"PICKLESEAL_KEY": secret}
    step = runner.run("Audit")
    assert step.code == 0
    assert "::warning" not in step.log


def test_a_key_that_is_none_could_not_run(runner: Runner) -> None:
    unsealed(runner)
    step = runner.run("Audit", key="swordfish")
    assert step.code == 2
    assert step.outputs == {"exit-code": "2"}
    assert "swordfish" not in step.log


def test_paths_context_and_options_reach_the_audit(runner: Runner, secret: str) -> None:
    for name in ("a b", "--fail-on=never"):
        (runner.checkout / name).mkdir()
        unsealed(runner, f"{name}/x.pkl")
    unsealed(runner, "left_out.pkl")
    sealed(runner, secret)
    step = runner.run("Audit", key=secret, paths="a b\r\n--fail-on=never\n\nsealed.pkl")
    assert step.code == 1
    assert "left_out" not in step.log
    options = "--exclude=*.pkl\n--include=sealed*"
    assert runner.run("Audit", key=secret, options="--exclude=*left_out*").code == 1
    assert runner.run("Audit", options=options, paths="a b").code == 2
    only = {"key": secret, "paths": "sealed.pkl"}
    assert runner.run("Audit", **only, context="ci/*").code == 0
    assert runner.run("Audit", **only, context="other").code == 1


def test_a_baseline_reports_what_changed(runner: Runner, secret: str) -> None:
    ring = sealed(runner, secret)
    listed = runner.temporary / "list"
    assert runner.run("Audit", key=secret, options=f"--inventory={listed}").code == 0
    against = {"key": secret, "baseline": str(listed), "fail_on": "note"}
    sha256 = hashlib.sha256(listed.read_bytes()).hexdigest()
    assert runner.run("Audit", **against, baseline_sha256=sha256).code == 0
    assert runner.run("Audit", **against, baseline_sha256="0" * 64).code == 2
    signed_dump([2], runner.checkout / "new.pkl", keyring=ring)
    assert runner.run("Audit", **against).code == 1


def test_the_name_of_a_file_is_no_command_of_the_workflow(runner: Runner) -> None:
    unsealed(runner, "::add-mask::x")
    log = runner.run("Audit", paths="::add-mask::x").log
    stopped = log.partition("::stop-commands::")[2]
    token, _, printed = stopped.partition("\n")
    within, end, after = printed.partition(f"\n::{token}::\n")
    assert "add-mask" in within
    assert end
    assert "add-mask" not in after


@pytest.mark.sweep
def test_the_action_installs_itself(tmp_path: Path) -> None:
    runner = Runner(tmp_path)
    # What lies in a checkout is not imported.
    for name in ("pip", "venv", "pickleseal"):
        (runner.checkout / f"{name}.py").write_text("raise SystemExit(9)")
    step = runner.run("Install pickleseal", python=sys.executable)
    assert step.code == 0, step.log
    (runner.checkout / "notes.txt").write_text("no pickle")
    assert runner.run("Audit").code == 0


def test_a_python_that_is_too_old_or_missing_is_named(runner: Runner, tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    for python in (str(old), "python-of-nowhere"):
        step = runner.run("Install pickleseal", python=python)
        assert step.code == 2
        assert f"::error title=pickleseal::'{python}'" in step.log


def steps(document: dict[str, Any]) -> list[dict[str, Any]]:
    if "runs" in document:
        return list(document["runs"]["steps"])
    return [step for job in document["jobs"].values() for step in job["steps"]]


@pytest.mark.parametrize("path", [ACTION, *WORKFLOWS], ids=lambda path: str(path.name))
def test_actions_are_pinned_and_scripts_get_texts_as_variables(path: Path) -> None:
    for step in steps(yaml.safe_load(path.read_text(encoding="utf-8"))):
        assert "${{" not in step.get("run", "")
        used = step.get("uses", "./")
        assert used == "./" or re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", used), used


@pytest.mark.sweep
def test_github_accepts_the_workflows_and_the_action() -> None:
    tool = Path(sys.executable).parent / "check-jsonschema"
    if not tool.exists():
        pytest.skip("check-jsonschema is not installed")
    for schema, paths in (("github-workflows", WORKFLOWS), ("github-actions", [ACTION])):
        subprocess.run([tool, "--builtin-schema", f"vendor.{schema}", *paths], check=True)
