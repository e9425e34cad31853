"""From paths that a person named to the files there are: nothing is skipped in silence.

Links below a folder are not followed, so that a walk ends and stays in its folder; a path that
was named is taken as it is.
"""

import os
import stat
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import NamedTuple, Self

from pickleseal.storage import TEMPORARY_PREFIX, TEMPORARY_SUFFIX, Source
from pickleseal.storage.source import open_path

BACKUP_SUFFIX = ".unsealed"
"""What a file is called by, after its name, that stands as it was before it was adopted."""
NOT_YOURS = frozenset((
    ".git", ".hg", ".svn", ".venv", "venv", "site-packages", "dist-packages", "node_modules",
    ".tox", ".nox", ".ipynb_checkpoints", "__pycache__", ".mypy_cache", ".pytest_cache",
))  # fmt: skip
"""Folders whose files other programs make and read: version control, environments, packages."""


class Skip(StrEnum):
    """Why there is nothing to look at under a path."""

    LINK = "it is a link: name it, to follow it"
    SPECIAL = "it is no regular file"
    LEFTOVER = "it is left from a dump that was cut off"
    MOVED = "it was exchanged for a link meanwhile"
    UNREADABLE = "it cannot be read"
    EXCLUDED = "it is excluded"


def is_not_yours(path: str) -> bool:
    """Tell whether a path is a folder whose files other programs make and read."""
    return os.path.basename(path) in NOT_YOURS and os.path.isdir(path)


class Folder:
    """A folder that is walked through: open as long as what lies in it is being given.

    What is opened by its descriptor is what was seen in it, whatever becomes of the path meanwhile.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.descriptor: int | None = None
        if os.open in os.supports_dir_fd and os.scandir in os.supports_fd:
            self.descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        descriptor, self.descriptor = self.descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def entries(self) -> "list[os.DirEntry[str]]":
        """Give what lies in it, sorted by name."""
        with os.scandir(self.path if self.descriptor is None else self.descriptor) as entries:
            return sorted(entries, key=lambda entry: entry.name)


class Found(NamedTuple):
    """A file to look at, or the reason why there is none to look at under this path.

    `real` is where a file below a folder must still lie; None: a person named the path itself.
    `detail` is the system's word on what cannot be read. `folder` is what the file was seen in.
    """

    path: str
    real: str | None = None
    skip: Skip | None = None
    detail: str = ""
    folder: Folder | None = None

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

    @contextmanager
    def opened(self) -> Iterator[tuple[Source, int]]:
        """Open it as one envelope, of which nothing may be left over; give its mode, too.

        Below a folder it is what was seen there: a link that came in its place is not followed.
        """
        folder = None if self.folder is None else self.folder.descriptor
        with open_path(self.path, follow=self.named, folder=folder) as (source, status):
            yield source, stat.S_IMODE(status.st_mode) & 0o777


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


def _below(root: str, excluded: Callable[[str], bool] | None) -> Iterator[Found]:
    waiting = [(root, os.path.realpath(root))]
    while waiting:
        place, real = waiting.pop()
        try:
            with Folder(place) as folder:
                if os.path.realpath(place) != real:
                    yield Found(place, real, Skip.MOVED)
                    continue
                inner = yield from _within(folder, real, folder.entries(), excluded)
        except OSError as error:
            yield Found(place, real, Skip.UNREADABLE, error.strerror or "")
            continue
        waiting += reversed(inner)


def _within(
    folder: Folder,
    real: str,
    entries: "list[os.DirEntry[str]]",
    excluded: Callable[[str], bool] | None,
) -> Generator[Found, None, list[tuple[str, str]]]:
    """Give what lies in a folder; and at the end the folders in it, and where they must lie."""
    inner = []
    for entry in entries:
        path, entry_real = os.path.join(folder.path, entry.name), os.path.join(real, entry.name)
        if excluded is not None and excluded(path):
            yield Found(path, entry_real, Skip.EXCLUDED)
        elif entry.is_dir(follow_symlinks=False):
            inner.append((path, entry_real))
        else:
            yield Found(path, entry_real, *_fault(entry), folder)
    return inner


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
