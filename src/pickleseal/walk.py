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

    `real` is where a file below a folder must still lie; None: a person named the path itself.
    """

    path: str
    real: str | None = None
    skipped: str | None = None

    @property
    def named(self) -> bool:
        """Tell whether a person named the path itself, and not a folder above it."""
        return self.real is None

    def reason_to_skip(self) -> str | None:
        """Say why there is no file to look at, now that it is about to be looked at, or None."""
        if (
            self.skipped is None
            and self.real is not None
            and os.path.realpath(self.path) != self.real
        ):
            return _MOVED
        return self.skipped


_MOVED = "it was exchanged for a link meanwhile"


def files_below(paths: Iterable[str]) -> Iterator[Found]:
    """Give each path that is no folder as it is, and all that lies below those that are one."""
    for path in paths:
        if os.path.isdir(path):
            yield from _below(path)
        else:
            yield Found(path)


def _below(folder: str) -> Iterator[Found]:
    waiting = [(folder, os.path.realpath(folder))]
    while waiting:
        place, real = waiting.pop()
        if os.path.realpath(place) != real:
            yield Found(place, real, _MOVED)
            continue
        try:
            with os.scandir(place) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            yield Found(place, real, f"it cannot be read: {error.strerror}")
            continue
        folders = [e for e in found if e.is_dir(follow_symlinks=False)]
        waiting += [(e.path, os.path.join(real, e.name)) for e in reversed(folders)]
        for entry in found:
            if not entry.is_dir(follow_symlinks=False):
                yield Found(entry.path, os.path.join(real, entry.name), _fault(entry))


def _fault(entry: "os.DirEntry[str]") -> str | None:
    try:
        mode = entry.stat(follow_symlinks=False).st_mode
    except OSError as error:
        return f"it cannot be read: {error.strerror}"
    if stat.S_ISLNK(mode):
        return "it is a link: name it, to follow it"
    if not stat.S_ISREG(mode):
        return "it is no regular file"
    if entry.name.startswith(TEMPORARY_PREFIX) and entry.name.endswith(TEMPORARY_SUFFIX):
        return "it is left from a dump that was cut off"
    return None
