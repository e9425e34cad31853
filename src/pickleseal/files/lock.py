"""A lock between processes, released when its process ends."""

import errno
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pickleseal.files.handles import close_read

PATIENCE = 60.0
"""Seconds after which a process gives up waiting for a lock."""
_SOON = 1.0
_PAUSE = 0.01
_MAX_NUMBER = 20


@contextmanager
def locked(path: Path, say: Callable[[str], None] = lambda _: None) -> Iterator[None]:
    """Hold the lock on a file. The file is created, and is not removed.

    `say`: called with a sentence if another process holds it for over a second. Raise OSError if
    it does so for over a minute.
    """
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    since = time.monotonic()
    while True:
        descriptor = os.open(path, flags, 0o600)
        try:
            _wait_for(descriptor, path, since, say)
            if _is_at(descriptor, path):
                _sign(descriptor, b"%d\n" % os.getpid())
                try:
                    yield
                finally:
                    _sign(descriptor, b"")
                    _let_go(descriptor)
                return
            # The file was removed meanwhile: others may hold a lock on a new one.
        finally:
            close_read(descriptor)


def _wait_for(descriptor: int, path: Path, since: float, say: Callable[[str], None]) -> None:
    said = False
    while not _try(descriptor):
        waited = time.monotonic() - since
        if waited > PATIENCE:
            raise OSError(
                errno.ETIMEDOUT,
                f"{_holder(descriptor)} has held this lock for over a minute: wait until it is"
                " done, or end it, and try again",
                str(path),
            )
        if waited > _SOON and not said:
            said = True
            say(f"waiting for the lock {path}, which {_holder(descriptor)} holds")
        time.sleep(_PAUSE)


def _try(descriptor: int) -> bool:
    """Return whether the lock is held now."""
    try:
        import fcntl  # noqa: PLC0415 - POSIX only
    except ModuleNotFoundError:
        import msvcrt  # noqa: PLC0415 - Windows only

        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
        except OSError:
            return False
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _sign(descriptor: int, text: bytes) -> None:
    """Write who holds the lock, for those that wait."""
    with suppress(ImportError, OSError):  # a full disk keeps nobody from the lock
        import fcntl  # noqa: F401, PLC0415 - POSIX only: on Windows a locked byte cannot be read

        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, text, 0)


def _holder(descriptor: int) -> str:
    # On Windows there is no pread, and a locked byte cannot be read.
    with suppress(OSError, ValueError, AttributeError):
        return f"process {int(os.pread(descriptor, _MAX_NUMBER, 0))}"
    return "another process"


def _let_go(descriptor: int) -> None:
    """Release the lock. Closing is not enough: a forked child may hold the file open.

    What the lock was held for is done, so an error here is none of it.
    """
    with suppress(ImportError, OSError):
        import fcntl  # noqa: PLC0415 - POSIX only

        fcntl.flock(descriptor, fcntl.LOCK_UN)


def _is_at(descriptor: int, path: Path) -> bool:
    """Return whether a path still leads to the open file."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.lstat(path))
    except FileNotFoundError:
        return False
