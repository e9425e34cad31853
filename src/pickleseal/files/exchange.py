"""Exchange two files at once, where the system can: Linux."""

import errno
import os
import sys
from functools import cache
from typing import Any

_AT_CWD = -100  # AT_FDCWD
_EXCHANGE = 2  # RENAME_EXCHANGE
_CANNOT = frozenset({errno.ENOSYS, errno.EINVAL, errno.ENOTSUP})


@cache
def _renameat2() -> Any:  # noqa: ANN401 - ctypes' own
    """Return the system's call, or None in an old C library."""
    import ctypes  # noqa: PLC0415 - only where a file that was seen is replaced

    return getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)


def exchange(one: str, other: str) -> bool:
    """Exchange two files of one file system; return False where that cannot be done.

    Raise OSError if either is missing, or its folder cannot be changed.
    """
    if sys.platform != "linux":
        return False
    call = _renameat2()
    if call is None:
        return False
    if not call(_AT_CWD, os.fsencode(one), _AT_CWD, os.fsencode(other), _EXCHANGE):
        return True
    from ctypes import get_errno  # noqa: PLC0415 - as above

    code = get_errno()
    if code in _CANNOT:
        return False
    raise OSError(code, os.strerror(code), one)
