"""Airflow: a real DAG with its database, in which values are changed and moved between tasks."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("airflow.sdk")

pytestmark = [pytest.mark.once, pytest.mark.timeout(600)]


def outcomes(folder: Path, **variables: str) -> tuple[dict[str, dict[str, Any]], str]:
    """Run the DAG once for each attack; return what came of them, and all that was logged."""
    (folder / "dags").mkdir()
    script = shutil.copy(Path(__file__).with_name("train_dag.py"), folder / "dags")
    environment = os.environ | {
        "AIRFLOW_HOME": str(folder),
        "AIRFLOW__CORE__DAGS_FOLDER": str(folder / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__XCOM_BACKEND": "pickleseal.integrations.airflow.SealedXCom",
        "TOLD": str(folder / "told"),
        **variables,
    }
    for arguments in (["-m", "airflow", "db", "migrate"], [script]):
        done = subprocess.run(
            [sys.executable, *arguments],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
    found = [json.loads(line[8:]) for line in done.stderr.splitlines() if line[:8] == "OUTCOME "]
    return {one["attack"]: one for one in found}, done.stdout + done.stderr


def test_a_dag_runs_and_no_value_can_be_moved_or_changed(keys: Path, tmp_path: Path) -> None:
    found, logged = outcomes(tmp_path)
    honest = found.pop("none")
    assert set(honest["states"].values()) == {"success"}
    scores, second, model = eval(honest["told"])
    assert (scores, second) == ([(1, 3), (2, 3)], [(2, 3)])
    assert model == {"neighbors": 3, "labels": {"a", "b"}}
    for outcome in found.values():
        assert outcome["told"] is None, outcome
        assert outcome["states"]["attack-1"] == "success", outcome
        assert outcome["states"]["score0"] == "failed", outcome
    assert len(found) == 6
    for reason in ("was moved to", "is not sealed", "is damaged", "is refused"):
        assert reason in logged
