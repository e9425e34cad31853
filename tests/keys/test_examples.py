"""The examples in the docstrings of keys run."""

import doctest
import importlib

import pytest


@pytest.mark.parametrize("module", ["key", "keyring", "suite", "store.directory"])
def test_the_examples_of_a_module_run(module: str) -> None:
    outcome = doctest.testmod(importlib.import_module(f"pickleseal.keys.{module}"))
    assert outcome.attempted
    assert not outcome.failed
