"""A Python as on a system without some calls: `python bare_system.py KIND FILE.py ARGUMENTS`.

What Windows and macOS do not have is taken away before pickleseal is imported, and Windows' own
module for locks stands on flock. So our fallbacks run here, though not the systems themselves.
"""

import errno
import fcntl
import mmap
import os
import runpy
import sys
from types import ModuleType

_LINUX = (
    *("SEEK_DATA", "SEEK_HOLE", "getxattr", "memfd_create", "sched_getaffinity", "copy_file_range"),
    "posix_fallocate",
)
_POSIX = (
    *("preadv", "pwritev", "pread", "pwrite", "fchmod", "fchown", "geteuid", "getuid", "killpg"),
    *("statvfs", "ST_RDONLY", "fork", "mkfifo", "sysconf"),
    *("O_DIRECTORY", "O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_NOCTTY"),
)
_MMAP = ("MAP_PRIVATE", "MAP_ANONYMOUS", "MADV_HUGEPAGE")


def _msvcrt() -> ModuleType:
    made = ModuleType("msvcrt")

    def locking(descriptor: int, mode: int, _: int) -> None:
        try:
            fcntl.flock(descriptor, mode)
        except BlockingIOError:
            raise OSError(errno.EACCES, "Permission denied") from None

    vars(made).update(locking=locking, LK_NBLCK=fcntl.LOCK_EX | fcntl.LOCK_NB)
    return made


def take_away(kind: str) -> None:
    """Remove what a system of this kind does not have: "windows" or "macos"."""
    names: tuple[str, ...] = _LINUX if kind != "linux" else ()
    if kind == "windows":
        names += _POSIX
        sys.modules["msvcrt"] = _msvcrt()
        for module in ("fcntl", "pwd", "grp"):
            sys.modules[module] = None  # type: ignore[assignment]
        for supported in (os.supports_dir_fd, os.supports_fd, os.supports_effective_ids):
            supported.clear()
    for name in names:
        if hasattr(os, name):
            delattr(os, name)
    for name in {"windows": _MMAP, "macos": _MMAP[2:]}.get(kind, ()):
        if hasattr(mmap, name):
            delattr(mmap, name)


if __name__ == "__main__":
    import shutil
    import subprocess
    import tempfile  # noqa: F401 - the standard library itself keeps what it took at import

    import joblib  # psutil, which it takes where it is, asks what system this is

    assert shutil
    assert subprocess
    assert joblib
    take_away(sys.argv[1])
    sys.argv = sys.argv[2:]
    sys.path[0] = os.path.dirname(sys.argv[0])
    runpy.run_path(sys.argv[0], run_name="__main__")
