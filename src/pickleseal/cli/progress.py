"""A progress bar for long work, on a terminal only."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from pickleseal.cli.output import console

_Item = TypeVar("_Item")

_PATIENCE = 0.5
"""Seconds before the bar appears, so that it does not flash for short work."""

_PERIOD = 0.1
"""Seconds between two drawings of it."""


def tracked(items: Iterable[_Item], title: str, total: Callable[[], int]) -> Iterator[_Item]:
    """Yield the items and show progress towards the number that `total` returns."""
    # Importing rich takes as long as verifying a thousand files.
    if sys.stderr is None or not sys.stderr.isatty():
        yield from items
        return
    terminal = console(stderr=True)
    if not terminal.is_terminal:  # TERM may name a terminal that cannot draw
        yield from items
        return
    from rich.progress import (  # noqa: PLC0415 - only when it is shown
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    # A passphrase may be asked for during the first item, and a bar would hide the prompt.
    work = iter(items)
    begun = None
    done = 0
    for item in work:
        yield item
        done += 1
        begun = begun or time.monotonic()
        if time.monotonic() - begun >= _PATIENCE:
            break
    else:
        return
    # No thread draws it: a process that has one cannot be copied.
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}", markup=False),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=terminal, transient=True, auto_refresh=False) as bar:
        task = bar.add_task(title, total=total(), completed=done, rate="")
        drawn = time.monotonic()
        for item in work:
            yield item
            bar.advance(task)
            if time.monotonic() - drawn >= _PERIOD:
                speed = bar.tasks[task].speed
                rate = "" if speed is None else f"{speed:,.{0 if speed >= 10 else 1}f}/s"
                bar.update(task, rate=rate, refresh=True)
                drawn = time.monotonic()
