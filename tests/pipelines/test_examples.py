"""The examples in the docstrings of the adapters run."""

import doctest
import importlib
from pathlib import Path

import pytest


@pytest.mark.once
@pytest.mark.parametrize("name", ["airflow", "dagster", "kedro", "mlflow", "prefect"])
def test_the_examples_of_an_adapter_run(
    name: str, keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip(name, exc_type=ImportError)
    monkeypatch.chdir(tmp_path)
    outcome = doctest.testmod(importlib.import_module(f"pickleseal.integrations.{name}"))
    assert outcome.attempted
    assert not outcome.failed
