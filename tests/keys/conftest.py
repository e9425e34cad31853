"""What the tests of keys need beside the rings of the suite."""

import functools
from pathlib import Path

import pytest
from rings import PASS, rotate

from pickleseal.keys.passphrase import Passphrase, wrap
from pickleseal.keys.store import changes
from pickleseal.keys.store.changes import Storage
from pickleseal.keys.store.directory import RingFiles, read_roster
from pickleseal.keys.store.lines import Opener


@pytest.fixture
def cheap_boxes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make boxes at the lowest cost that is read."""
    monkeypatch.setattr(changes, "wrap", functools.partial(wrap, log2_n=14))


@pytest.fixture
def protected(ring_directory: Path) -> Path:
    """Return a ring of two keys with one passphrase."""
    rotate(ring_directory)
    ids = list(read_roster(ring_directory).entries)
    assert (
        changes.protect(RingFiles(ring_directory), ids, Opener(), lambda: Storage(Passphrase(PASS)))
        == ids
    )
    return ring_directory
