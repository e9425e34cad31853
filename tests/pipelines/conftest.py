"""What the tests of pipelines share: a keyring that is set up, and a pickle that leaves a mark."""

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pickleseal import Suite
from pickleseal.keys.store.changes import create_key


@pytest.fixture
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of the keyring that calls use."""
    folder = tmp_path / "keys"
    create_key(folder, suite=Suite.BLAKE3, note="", now=0)
    monkeypatch.setenv("PICKLESEAL_KEYRING", str(folder))
    return folder


class _Armed:
    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.mkdir, (str(self._mark),)


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    """Return the folder that `planted` makes when it is unpickled."""
    return tmp_path / "mark"


@pytest.fixture
def planted(mark: Path) -> bytes:
    """Return an unsealed pickle that acts when it is unpickled."""
    return pickle.dumps(_Armed(mark))
