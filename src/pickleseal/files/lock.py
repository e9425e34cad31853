"""A lock between processes, released when its process ends."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock on a file. The file is created, and is not removed."""
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    while True:
        descriptor = os.open(path, flags, 0o600)
        try:
            _wait_for(descriptor)
            if _is_at(descriptor, path):
                try:
                    yield
                finally:
                    _let_go(descriptor)
                return
            # The file was removed meanwhile: others may hold a lock on a new one.
        finally:
            with suppress(OSError):  # nothing was written to it
                os.close(descriptor)


def _wait_for(descriptor: int) -> None:
    try:
        import fcntl  # noqa: PLC0415 - POSIX only
    except ImportError:
        import msvcrt  # noqa: PLC0415 - Windows only

        msvcrt.locking(descriptor, msvcrt.LK_LOCK, 1)  # type: ignore[attr-defined,unused-ignore]
    else:
        fcntl.flock(descriptor, fcntl.LOCK_EX)


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
