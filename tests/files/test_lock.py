"""The lock between processes, where its file fails."""

import errno
import fcntl
import os
from pathlib import Path

import pytest

from pickleseal.files.lock import locked


def test_a_lock_that_fails_to_be_released_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it was held for is done by then, and a command must not say that it failed."""
    flock, close = fcntl.flock, os.close
    failed = []

    def failing_flock(descriptor: int, how: int) -> None:
        flock(descriptor, how)
        if how == fcntl.LOCK_UN:
            failed.append("flock")
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    def failing_close(descriptor: int) -> None:
        close(descriptor)
        failed.append("close")
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(fcntl, "flock", failing_flock)
    monkeypatch.setattr(os, "close", failing_close)
    with locked(tmp_path / "lock"):
        pass
    monkeypatch.undo()
    assert failed == ["flock", "close"]
    with locked(tmp_path / "lock"):  # it is free
        pass
