"""Boxes for keys behind passphrases: at the cost of new ones, each takes half a second."""

from collections.abc import Iterator
from contextlib import contextmanager

from pickleseal.keys.backup import seal_backup
from pickleseal.keys.passphrase import lock, wrap


@contextmanager
def cheap_boxes() -> Iterator[None]:
    """Encrypt at the lowest cost that is read."""
    defaults = [function.__kwdefaults__ or {} for function in (lock, wrap, seal_backup)]
    before = [options["log2_n"] for options in defaults]
    try:
        for options in defaults:
            options["log2_n"] = 14
        yield
    finally:
        for options, cost in zip(defaults, before, strict=True):
            options["log2_n"] = cost
