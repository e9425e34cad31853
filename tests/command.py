"""The command as a process."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any


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
