"""Running `pickleseal keys doctor` on a ring, and the commands that it proposes."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pytest
from command import run

from pickleseal import Suite
from pickleseal.errors import shown
from pickleseal.keys.store.changes import UNLIMITED, Limits, Made, create_key
from pickleseal.keys.store.doctor import MAX_AGE, examine
from pickleseal.keys.store.permissions import Fault

NOW = int(time.time())


class Outcome(NamedTuple):
    code: int
    findings: list[Fault]
    text: str


def new_key(folder: Path, *, created: int = NOW, limits: Limits = UNLIMITED) -> Made:
    return create_key(folder, suite=Suite.BLAKE3, note="", now=created, limits=limits)


def start(
    *arguments: object, env: dict[str, str] | None = None, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the command without a terminal."""
    return run("keys", "doctor", *arguments, env={"COLUMNS": "80", **(env or {})}, cwd=cwd)


def state_of(place: Path) -> dict[str, tuple[object, ...]]:
    """Return everything that the doctor must not change."""
    state: dict[str, tuple[object, ...]] = {}
    for path in (place, *place.rglob("*")):
        status = os.lstat(path)
        state[str(path)] = (status.st_mode, status.st_uid, status.st_size, status.st_mtime_ns)
    return state


def secrets_in(place: Path) -> list[str]:
    """Return what must not be shown: the long fields of key lines, without the ids."""
    lines = [path.read_text() for path in place.rglob("*.key*") if path.is_file()]
    return [field for line in lines for field in line.split(".")[2:-1] if len(field) > 20]


def look(folder: Path, *, max_age: int = MAX_AGE, env: dict[str, str] | None = None) -> Outcome:
    """Examine a ring, also with the command; nothing may change, and no secret be shown."""
    before = state_of(folder.parent)
    with pytest.MonkeyPatch.context() as patch:
        for name, text in (env or {}).items():
            patch.setenv(name, text)
        findings = examine(folder, now=int(time.time()), max_age=max_age)
    if not findings:
        assert state_of(folder.parent) == before
        return Outcome(0, [], "")
    done = start("--keyring", folder, "--max-age", max_age, env=env)
    assert done.returncode == 1
    assert done.stdout.count("  fix: ") == len(findings)
    for finding in findings:
        assert shown(str(finding.place)) in done.stdout
        assert shown(finding.fix) in done.stdout
    assert state_of(folder.parent) == before
    for secret in secrets_in(folder.parent):
        assert secret not in done.stdout + done.stderr + str(findings)
    return Outcome(1, findings, done.stdout + done.stderr)


def mend(finding: Fault) -> None:
    """Run the fix of a finding as a user would who copies it."""
    shell = "bash" if "$'" in finding.fix else "sh"
    ours = str(Path(sys.executable).parent)
    env = {**os.environ, "PATH": ours + os.pathsep + os.environ["PATH"]}
    done = subprocess.run(
        [shell, "-c", finding.fix],
        stdin=subprocess.DEVNULL,
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr


def git(folder: Path, *arguments: str) -> None:
    author = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *author, "-C", folder, *arguments], check=True, capture_output=True)
