"""A lock between processes: who holds it is said, and nobody waits for ever."""

import errno
import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pickleseal.files import lock
from pickleseal.files.lock import locked

HOLDER = """
import sys
from pathlib import Path
from pickleseal.files.lock import locked
with locked(Path(sys.argv[1])):
    print(flush=True)
    sys.stdin.read()
"""

signed = pytest.mark.skipif(os.name == "nt", reason="a locked byte cannot be read there")


@pytest.fixture
def holder(tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    """Yield a process that holds the lock until its input ends."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, tmp_path / "lock"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin
        assert process.stdout
        process.stdout.readline()
        yield process
        process.stdin.close()


@signed
def test_who_waits_for_long_is_told_once_which_process_holds_the_lock(
    holder: "subprocess.Popen[str]", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "_SOON", -1)
    pauses = iter(range(3))

    def sleep(_: float) -> None:
        if next(pauses, None) is None:
            assert holder.stdin
            holder.stdin.close()
            holder.wait()

    monkeypatch.setattr(time, "sleep", sleep)
    told: list[str] = []
    with locked(tmp_path / "lock", told.append):
        assert told == [
            f"waiting for the lock {tmp_path / 'lock'}, which process {holder.pid} holds"
        ]


def test_of_a_short_wait_for_a_lock_nothing_is_said(
    holder: "subprocess.Popen[str]", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sleep(_: float) -> None:
        assert holder.stdin
        holder.stdin.close()
        holder.wait()

    monkeypatch.setattr(lock, "_SOON", float("inf"))
    monkeypatch.setattr(time, "sleep", sleep)
    with locked(tmp_path / "lock", lambda _: pytest.fail("it was said")):
        pass


@signed
def test_a_lock_that_is_held_for_too_long_is_an_error_that_names_its_holder(
    holder: "subprocess.Popen[str]", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "PATIENCE", 0.05)
    with (
        pytest.raises(TimeoutError, match=f"process {holder.pid} has held this lock"),
        locked(tmp_path / "lock"),
    ):
        pass


def test_a_lock_that_nobody_signed_is_held_by_another_process(
    holder: "subprocess.Popen[str]", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one of an earlier version; a lock that is free needs no signature."""
    (tmp_path / "lock").write_text("")
    monkeypatch.setattr(lock, "PATIENCE", 0.05)
    with pytest.raises(TimeoutError, match="another process"), locked(tmp_path / "lock"):
        pass
    assert holder.stdin
    holder.stdin.close()
    holder.wait()
    (tmp_path / "lock").write_text("12345678\nnonsense")
    with locked(tmp_path / "lock"):
        assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"
    assert (tmp_path / "lock").read_text() == ""


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
