"""From paths that a person named to the files there are: nothing is skipped in silence.

Links below a folder are not followed, so that a walk ends and stays in its folder; a path that
was named is taken as it is.
"""

import os
import stat
from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum
from typing import NamedTuple

from pickleseal.storage import TEMPORARY_PREFIX, TEMPORARY_SUFFIX


class Skip(StrEnum):
    """Why there is nothing to look at under a path."""

    LINK = "it is a link: name it, to follow it"
    SPECIAL = "it is no regular file"
    LEFTOVER = "it is left from a dump that was cut off"
    MOVED = "it was exchanged for a link meanwhile"
    UNREADABLE = "it cannot be read"
    EXCLUDED = "it is excluded"


class Found(NamedTuple):
    """A file to look at, or the reason why there is none to look at under this path.

    `real` is where a file below a folder must still lie; None: a person named the path itself.
    `detail` is the system's word on what cannot be read.
    """

    path: str
    real: str | None = None
    skip: Skip | None = None
    detail: str = ""

    @property
    def named(self) -> bool:
        """Tell whether a person named the path itself, and not a folder above it."""
        return self.real is None

    @property
    def reason(self) -> str | None:
        """Say why there is no file to look at, or None."""
        if self.skip is None:
            return None
        return f"{self.skip.value}: {self.detail}" if self.detail else self.skip.value

    def reason_to_skip(self) -> str | None:
        """Say why there is no file to look at, now that it is about to be written to, or None."""
        if self.skip is None and self.real is not None and os.path.realpath(self.path) != self.real:
            return Skip.MOVED.value
        return self.reason


def files_below(
    paths: Iterable[str], *, excluded: Callable[[str], bool] | None = None
) -> Iterator[Found]:
    """Give each path that is no folder as it is, and all that lies below those that are one.

    `excluded` tells of a path below a folder that nobody wants to look at it; of a folder, at
    anything in it.
    """
    for path in paths:
        if os.path.isdir(path):
            yield from _below(path, excluded)
        else:
            yield Found(path)


def _below(folder: str, excluded: Callable[[str], bool] | None) -> Iterator[Found]:
    waiting = [(folder, os.path.realpath(folder))]
    while waiting:
        place, real = waiting.pop()
        if os.path.realpath(place) != real:
            yield Found(place, real, Skip.MOVED)
            continue
        try:
            with os.scandir(place) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            yield Found(place, real, Skip.UNREADABLE, error.strerror or "")
            continue
        folders = []
        for entry in found:
            entry_real = os.path.join(real, entry.name)
            if excluded is not None and excluded(entry.path):
                yield Found(entry.path, entry_real, Skip.EXCLUDED)
            elif entry.is_dir(follow_symlinks=False):
                folders.append((entry.path, entry_real))
            else:
                yield Found(entry.path, entry_real, *_fault(entry))
        waiting += reversed(folders)


def _fault(entry: "os.DirEntry[str]") -> tuple[Skip | None, str]:
    try:
        mode = entry.stat(follow_symlinks=False).st_mode
    except OSError as error:
        return Skip.UNREADABLE, error.strerror or ""
    if stat.S_ISLNK(mode):
        return Skip.LINK, ""
    if not stat.S_ISREG(mode):
        return Skip.SPECIAL, ""
    if entry.name.startswith(TEMPORARY_PREFIX) and entry.name.endswith(TEMPORARY_SUFFIX):
        return Skip.LEFTOVER, ""
    return None, ""
