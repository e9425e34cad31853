"""What tests do at a lower cost than users."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pickleseal.keys.backup import seal_backup
from pickleseal.keys.passphrase import lock, wrap

if TYPE_CHECKING:
    from _typeshed import FileDescriptorLike


@contextmanager
def cheap_boxes() -> Iterator[None]:
    """Encrypt keys at the lowest cost that is read: at that of new boxes, each takes 0.5 s."""
    defaults = [function.__kwdefaults__ or {} for function in (lock, wrap, seal_backup)]
    before = [options["log2_n"] for options in defaults]
    try:
        for options in defaults:
            options["log2_n"] = 14
        yield
    finally:
        for options, cost in zip(defaults, before, strict=True):
            options["log2_n"] = cost


@contextmanager
def no_syncs() -> Iterator[None]:
    """Wait for no disk: each time takes some milliseconds, and no test cuts the power."""

    def fsync(fd: "FileDescriptorLike") -> None:
        os.fstat(fd if isinstance(fd, int) else fd.fileno())

    before = os.fsync
    os.fsync = fsync
    try:
        yield
    finally:
        os.fsync = before
