"""What the tests of keys need beside the rings of the suite."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from local_kms import LocalKms, become
from rings import PASS, rotate

from pickleseal import Suite
from pickleseal.keys.key import KeyLine
from pickleseal.keys.passphrase import Passphrase
from pickleseal.keys.store import changes
from pickleseal.keys.store.changes import Storage
from pickleseal.keys.store.directory import RingFiles, read_roster
from pickleseal.keys.store.lines import Opener


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


@pytest.fixture
def line() -> KeyLine:
    return KeyLine.generate()


@pytest.fixture
def script(tmp_path: Path) -> Callable[[str], Path]:
    """Return a function that writes a program only its owner can change."""

    def write(text: str) -> Path:
        path = tmp_path / "fetch key"
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o700)
        return path

    return write


@pytest.fixture(scope="module")
def kms(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalKms]:
    pytest.importorskip("moto")
    pytest.importorskip("botocore")
    server = LocalKms(tmp_path_factory.mktemp("kms"))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def arn(kms: LocalKms) -> str:
    return kms.key()


@pytest.fixture
def as_root(kms: LocalKms, monkeypatch: pytest.MonkeyPatch) -> LocalKms:
    become(kms.environment(), monkeypatch)
    kms.calls.clear()
    return kms


@pytest.fixture
def kms_ring(as_root: LocalKms, arn: str, tmp_path: Path) -> Path:
    folder = tmp_path / "ring"
    changes.import_keys(folder, [changes.kms_line(arn, Suite.BLAKE3)], now=0, from_ring=False)
    as_root.calls.clear()
    return folder


@pytest.fixture(autouse=True)
def _nothing_around(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the CI or the git hook that runs the tests."""
    for name in list(os.environ):
        if name == "CI" or name.startswith("GIT_"):
            monkeypatch.delenv(name)
