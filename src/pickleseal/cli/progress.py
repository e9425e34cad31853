"""A bar for long work, on a terminal only."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from pickleseal.cli.output import console

_Item = TypeVar("_Item")

_PATIENCE = 0.5
"""Seconds of work without a bar, which would only flash up for less."""


def tracked(items: Iterable[_Item], title: str, total: Callable[[], int]) -> Iterator[_Item]:
    """Give items, and show how far it has come of the number that `total` counts."""
    # Without rich, which takes as long to import as a thousand files to verify.
    if sys.stderr is None or not sys.stderr.isatty():
        yield from items
        return
    terminal = console(stderr=True)
    if not terminal.is_terminal:  # TERM may say that this one cannot draw
        yield from items
        return
    from rich.progress import track  # noqa: PLC0415 - only where one is shown

    # A passphrase is asked for while the first is worked on, and a bar would hide the question.
    work = iter(items)
    begun = None
    for done, item in enumerate(work, 1):
        yield item
        begun = begun or time.monotonic()
        if time.monotonic() - begun >= _PATIENCE:
            yield from track(work, title, total(), done, console=terminal, transient=True)
