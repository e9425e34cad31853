"""Systems that have fewer calls than this one: our fallbacks do the same."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.sweep,
    pytest.mark.skipif(sys.platform != "linux", reason="the calls are taken away from Linux"),
]
HERE = Path(__file__).parent


@pytest.mark.parametrize("kind", ["linux", "macos", "windows"])
def test_all_works_without_the_calls_that_a_system_lacks(kind: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, HERE / "bare_system.py", kind, HERE / "bare_life.py", tmp_path],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONWARNINGS": "error::ResourceWarning"},
    )
    assert (done.stdout, done.returncode) == ("lived\n", 0), done.stdout + done.stderr
