"""A bar for long work, on a terminal only."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

from pickleseal.cli.output import console
from pickleseal.walk import files_below

_Item = TypeVar("_Item")


def tracked(items: Iterable[_Item], paths: Iterable[str], title: str) -> Iterator[_Item]:
    """Give items, one for each file at or below some paths, and show how far it has come."""
    terminal = console(stderr=True)
    if not terminal.is_terminal:
        yield from items
        return
    from rich.progress import track  # noqa: PLC0415 - only where one is shown

    # A passphrase is asked for while the first is worked on, and a bar would hide the question.
    work = iter(items)
    first = list(islice(work, 1))
    yield from first
    total = sum(1 for _ in files_below(paths))
    yield from track(work, title, total, len(first), console=terminal, transient=True)
