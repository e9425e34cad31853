"""From paths that a person named to the files there are: nothing is skipped in silence.

Links below a folder are not followed, so that a walk ends and stays in its folder; a path that
was named is taken as it is.
"""

import os
import stat
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from pickleseal.storage import TEMPORARY_PREFIX, TEMPORARY_SUFFIX


class Found(NamedTuple):
    """A file to look at, or the reason why there is none to look at under this path.

    `named`: a person named the path itself, and not a folder above it.
    """

    path: str
    named: bool
    skipped: str | None = None


def files_below(paths: Iterable[str]) -> Iterator[Found]:
    """Give each path that is no folder as it is, and all that lies below those that are one."""
    for path in paths:
        if os.path.isdir(path):
            yield from _below(path)
        else:
            yield Found(path, named=True)


def _below(folder: str) -> Iterator[Found]:
    waiting = [folder]
    while waiting:
        place = waiting.pop()
        try:
            with os.scandir(place) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            yield Found(place, named=False, skipped=f"it cannot be read: {error.strerror}")
            continue
        waiting += [e.path for e in reversed(found) if e.is_dir(follow_symlinks=False)]
        yield from (_judged(e) for e in found if not e.is_dir(follow_symlinks=False))


def _judged(entry: "os.DirEntry[str]") -> Found:
    try:
        mode = entry.stat(follow_symlinks=False).st_mode
    except OSError as error:
        return Found(entry.path, named=False, skipped=f"it cannot be read: {error.strerror}")
    if stat.S_ISLNK(mode):
        return Found(entry.path, named=False, skipped="it is a link: name it, to follow it")
    if not stat.S_ISREG(mode):
        return Found(entry.path, named=False, skipped="it is no regular file")
    if entry.name.startswith(TEMPORARY_PREFIX) and entry.name.endswith(TEMPORARY_SUFFIX):
        return Found(entry.path, named=False, skipped="it is left from a dump that was cut off")
    return Found(entry.path, named=False)
