"""A DAG of Airflow, and attacks between its tasks; run as a script, it tells what came of each."""

import datetime as dt
import json
import os
import sqlite3
import sys
from pathlib import Path
from typing import Any

from airflow.sdk import dag, task

ATTACKS = {
    "none": None,
    "other task": "SELECT value FROM xcom WHERE task_id = 'other' AND run_id = :run",
    "other run": "SELECT value FROM xcom WHERE task_id = 'fit' AND run_id <> :run",
    "changed": "SELECT replace(value, 'pickleseal\": \"', 'pickleseal\": \"AAAA') FROM xcom"
    " WHERE task_id = 'fit' AND run_id = :run",
    "no place": "SELECT json_object('pickleseal', 'AA==', 'place', json_array('train'))",
    "unsealed": "SELECT json_object('neighbors', 1)",
    "other place": "SELECT replace(value, 'other', 'fit') FROM xcom"
    " WHERE task_id = 'other' AND run_id = :run",
}


@dag(schedule=None, start_date=dt.datetime(2026, 1, 1, tzinfo=dt.UTC), catchup=False)
def train() -> None:
    @task
    def fit() -> Any:
        return {"neighbors": 3, "labels": {"a", "b"}}

    @task
    def other() -> Any:
        return {"neighbors": 1, "labels": set()}

    @task
    def attack(before: Any, ti: Any = None) -> None:
        query = ATTACKS[os.environ["ATTACK"]]
        if query is None:
            return
        with sqlite3.connect(os.environ["AIRFLOW_HOME"] + "/airflow.db") as database:
            (value,) = database.execute(query, {"run": ti.run_id}).fetchone()
            database.execute(
                "UPDATE xcom SET value = ? WHERE task_id = 'fit' AND run_id = ?",
                (value, ti.run_id),
            )

    @task
    def score(weight: int, model: dict[str, Any]) -> tuple[int, int]:
        return weight, model["neighbors"]

    @task
    def tell(scores: Any, ti: Any = None) -> None:
        found = [*scores], ti.xcom_pull(task_ids="score", map_indexes=[1]), ti.xcom_pull("fit")
        Path(os.environ["TOLD"]).write_text(repr(found), encoding="utf-8")

    model, second = fit(), other()
    done = attack([model, second])
    scores = score.partial(model=model).expand(weight=[1, 2])
    done >> scores
    tell(scores)


found = train()

if __name__ == "__main__":
    for name in ATTACKS:
        day = dt.datetime(2026, 1, 1, tzinfo=dt.UTC) + dt.timedelta(days=[*ATTACKS].index(name))
        os.environ["ATTACK"] = name
        told = Path(os.environ["TOLD"])
        told.unlink(missing_ok=True)
        run = found.test(logical_date=day)
        states = {f"{ti.task_id}{ti.map_index}": str(ti.state) for ti in run.get_task_instances()}
        said = told.read_text(encoding="utf-8") if told.exists() else None
        line = {"attack": name, "states": states, "told": said}
        sys.stderr.write(f"\nOUTCOME {json.dumps(line)}\n")
