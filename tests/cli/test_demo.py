"""The demo keeps what it promises, in real processes."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator


# `make demo` runs it in CI; here its figures are held against what it promises.
@pytest.mark.sweep
@pytest.mark.timeout(600)
def test_the_demo_goes_as_promised(ring_directory: Path) -> None:
    command = [sys.executable, "-m", "pickleseal", "demo", "--keyring", str(ring_directory)]
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=True)
    outcome = json.loads(done.stdout)
    schema = Path(__file__).parents[2] / "docs" / "reference" / "schemas" / "demo.json"
    Draft202012Validator(json.loads(schema.read_text())).validate(outcome)
    assert outcome["ok"] is True
    assert outcome["accuracy"]["before"] == outcome["accuracy"]["after"]
    assert [refusal["error"] for refusal in outcome["refusals"]] == [
        "BadSealError",
        "NotSealedError",
        "UnknownKeyError",
        "ContextError",
        "RollbackError",
    ]
    assert outcome["adopted"] is True
    assert outcome["names_looked_up"] == 0
    assert outcome["mark_after_refusals"] is False
    assert outcome["mark_after_plain_pickle"] is True
    assert len(set(outcome["verdicts"].values())) == 5
    assert outcome["verdicts"]["cancer.pkl"] == "replaced by an older one"


@pytest.mark.sweep
def test_the_demo_fits_a_narrow_terminal(ring_directory: Path) -> None:
    command = [sys.executable, "-m", "pickleseal", "demo", "--keyring", str(ring_directory)]
    terminal = {**os.environ, "COLUMNS": "60", "FORCE_COLOR": "1", "NO_COLOR": "1"}
    shown = subprocess.run(command, capture_output=True, text=True, check=True, env=terminal)
    text = re.sub("\x1b[^m]*m", "", shown.stdout)
    for refusal in ("BadSealError", "NotSealedError", "UnknownKeyError", "RollbackError"):
        assert refusal in text
    # What does not fit is folded to where it begins.
    for line in text.rpartition("All as promised")[0].splitlines():
        assert not line or line.startswith(" "), line
