"""The command, as a process and in this one."""

import contextlib
import io
import json
import os
import subprocess
import sys
import unittest.mock
from pathlib import Path
from typing import Any

import click
import fork_server

from pickleseal.cli import cli
from pickleseal.cli.output import show_click_error


def python(
    *arguments: object,
    env: dict[str, str] | None = None,
    cwd: Path | None = None,
    stdin: str = "",
) -> subprocess.CompletedProcess[str]:
    """Run Python with `-m` or `-c` and without a terminal: as a fork where that is the same."""
    words = [*map(str, arguments)]
    env = {**os.environ, **(env or {})}
    if not fork_server.can_run(env):
        return subprocess.run(
            [sys.executable, *words],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            env=env,
            cwd=cwd,
            start_new_session=True,
        )
    forked = fork_server.Forked(words, env=env, cwd=str(cwd or Path.cwd()))
    code, *outputs = forked.communicate(stdin.encode())
    stdout, stderr = (io.TextIOWrapper(io.BytesIO(output)).read() for output in outputs)
    return subprocess.CompletedProcess(words, code, stdout, stderr)


def run(
    *arguments: object, env: dict[str, str] | None = None, **options: Any
) -> subprocess.CompletedProcess[str]:
    """Run the command without a terminal."""
    done = python("-m", "pickleseal", *arguments, env={"COLUMNS": "120", **(env or {})}, **options)
    assert "Traceback" not in done.stderr, done.stderr
    return done


def unmeasured() -> dict[str, str]:
    """Return the environment for a process that coverage is not to follow."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}


def as_json(done: subprocess.CompletedProcess[str]) -> Any:
    assert done.stdout.isascii()
    return json.loads(done.stdout)


def call(*arguments: object, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run the command in this process, without a terminal: many times faster than `run`."""
    out, err = io.StringIO(), io.StringIO()
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        unittest.mock.patch("sys.stdin", io.StringIO(stdin)),
    ):
        try:
            code = cli.main([*map(str, arguments)], standalone_mode=False)
        except click.ClickException as error:
            show_click_error(error, as_json="--json" in arguments)
            code = 2
    return subprocess.CompletedProcess(
        [*map(str, arguments)], code or 0, out.getvalue(), err.getvalue()
    )


def done_json(*arguments: object, code: int = 0, **options: Any) -> Any:
    done = run(*arguments, "--json", **options)
    assert done.returncode == code, done.stdout + done.stderr
    return as_json(done)
