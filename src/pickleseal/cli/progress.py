"""A bar for long work, on a terminal only."""

import sys
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import TypeVar

from pickleseal.cli.output import console

_Item = TypeVar("_Item")


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
    first = list(islice(work, 1))
    yield from first
    yield from track(work, title, total(), len(first), console=terminal, transient=True)
