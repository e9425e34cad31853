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

from pickleseal.cli import cli
from pickleseal.cli.output import show_click_error


def run(
    *arguments: object,
    env: dict[str, str] | None = None,
    cwd: Path | None = None,
    stdin: str = "",
) -> subprocess.CompletedProcess[str]:
    """Run the command without a terminal."""
    done = subprocess.run(
        [sys.executable, "-m", "pickleseal", *map(str, arguments)],
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COLUMNS": "120", **(env or {})},
        cwd=cwd,
        start_new_session=True,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


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
