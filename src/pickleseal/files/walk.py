"""The files below named paths. Nothing is skipped silently.

Links below a folder are not followed, so that a walk ends and stays in its folder; a named path is
taken as it is. Folders of other programs are left out, and their files counted.
"""

import os
import stat
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple, Self

from pickleseal.errors import check_path
from pickleseal.files.atomic import TEMPORARY_PREFIX, TEMPORARY_SUFFIX
from pickleseal.files.handles import close_read
from pickleseal.files.places import MISREAD, Place, Remote, Version, inside, name_of

BACKUP_SUFFIX = ".unsealed"
"""Suffix of the copy of a file from before it was adopted."""
_FOREIGN_NAMES = frozenset((
    ".git", ".hg", ".svn", ".bzr", ".venv", "venv", "site-packages", "dist-packages",
    "__pypackages__", "node_modules", ".tox", ".nox", ".eggs", ".ipynb_checkpoints", "__pycache__",
    ".mypy_cache", ".pytest_cache", ".ruff_cache",
))  # fmt: skip
_FOREIGN_MARKS = frozenset(("pyvenv.cfg", "conda-meta"))
"""Entries at the top of an environment, whatever its folder is called."""


class Skip(StrEnum):
    """Why a path is skipped."""

    LINK = "it is a link: name it to follow it"
    SPECIAL = "it is not a regular file"
    LEFTOVER = "it was left by an interrupted dump"
    MOVED = "it was replaced by a link meanwhile"
    UNREADABLE = "it cannot be read"
    EXCLUDED = "it is excluded"


@dataclass
class LeftOut:
    """The folders of other programs that a walk left out, and how many files are in each."""

    folders: dict[str, int] = field(default_factory=dict)
    _seen: set[str] = field(default_factory=set, repr=False)

    @property
    def files(self) -> int:
        """The number of files in all of them."""
        return sum(self.folders.values())

    def add(self, path: str, real: str) -> None:
        """Count the files below a folder, once for each folder, without opening them."""
        if real not in self._seen:
            self._seen.add(real)
            self.folders[path] = _count_files(real)

    def to_dict(self) -> dict[str, Any]:
        """Return the counts as plain dicts, ready for JSON."""
        return {"files": self.files, "folders": dict(self.folders)}


def _count_files(folder: str) -> int:
    count = 0
    waiting = [folder]
    while waiting:
        # A folder that cannot be listed adds nothing, as in a walk.
        with suppress(OSError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                else:
                    count += 1
    return count


def _lies_in_foreign(root: str) -> bool:
    """Return whether a folder belongs to another program, or is inside such a folder."""
    place = Path(os.path.realpath(root))
    return any(
        one.name in _FOREIGN_NAMES or any(os.path.lexists(one / mark) for mark in _FOREIGN_MARKS)
        for one in (place, *place.parents)
    )


class Folder:
    """An open folder of a walk; `real` is its resolved path, at which it was seen.

    A file that is opened relative to its descriptor is the file that was seen in it, even if the
    path leads elsewhere by then.
    """

    def __init__(self, path: str, real: str) -> None:
        self.path = path
        self.real = real
        self.descriptor: int | None = None
        self._status: os.stat_result | None = None
        if os.open in os.supports_dir_fd and os.scandir in os.supports_fd:
            self.descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            self._status = os.fstat(self.descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        descriptor, self.descriptor = self.descriptor, None
        if descriptor is not None:
            close_read(descriptor)

    def __getstate__(self) -> dict[str, object]:
        """Return what another process opens it again with."""
        return {"path": self.path, "real": self.real, "descriptor": None, "_status": None}

    def is_at(self, seen: os.stat_result | None) -> bool:
        """Return whether this is the folder that was seen, or the one at its path if None was."""
        if self._status is None:
            return os.path.realpath(self.path) == self.real
        try:
            return os.path.samestat(self._status, os.stat(self.path) if seen is None else seen)
        except OSError:
            return False

    def entries(self) -> "list[os.DirEntry[str]]":
        """Return its entries, sorted by name."""
        with os.scandir(self.path if self.descriptor is None else self.descriptor) as entries:
            return sorted(entries, key=lambda entry: entry.name)


class Found(NamedTuple):
    """A file of a walk, or the reason why the path is skipped.

    `real` is the resolved path at which a file below a folder must still be; None for a path that
    was named itself. `detail` is the system's error text. `folder` is the folder that holds it.
    `remote` is the object in a store, and `seen` what the store listed of it; `status` is what the
    folder listed of a file.
    """

    path: str
    real: str | None = None
    skip: Skip | None = None
    detail: str = ""
    folder: Folder | None = None
    remote: Remote | None = None
    seen: Version | None = None
    status: os.stat_result | None = None

    @classmethod
    def at(cls, place: Place) -> Self:
        """Return the file or object at a place that was named itself."""
        return cls(name_of(place), remote=place if isinstance(place, Remote) else None)

    @property
    def place(self) -> Place:
        """Where it is."""
        return self.path if self.remote is None else self.remote

    @property
    def size(self) -> int:
        """Its size in bytes as it was listed, 0 if it was not."""
        if self.status is not None:
            return self.status.st_size
        return 0 if self.seen is None else self.seen.size

    @property
    def named(self) -> bool:
        """Whether the path was named itself, and not a folder above it."""
        return self.real is None

    @property
    def reason(self) -> str | None:
        """Why the path is skipped, or None."""
        if self.skip is None:
            return None
        return f"{self.skip.value}: {self.detail}" if self.detail else self.skip.value

    def reason_to_skip(self) -> str | None:
        """Return why the path is skipped, or None; also if it leads elsewhere by now."""
        # Not realpath, which looks at each folder above: deep trees would take the cube.
        folder = self.folder if self.skip is None else None
        if folder is not None and (os.path.islink(self.path) or not folder.is_at(None)):
            return Skip.MOVED.value
        return self.reason


_Exclusion = Callable[[str], bool]


def files_below(
    paths: Iterable[Place],
    *,
    excluded: _Exclusion = lambda _: False,
    left_out: LeftOut | None = None,
) -> Iterator[Found]:
    """Yield each named file, and all files below each named folder.

    Folders of version control, environments, installed packages and caches are left out, unless a
    named path is one or is inside one.

    Parameters
    ----------
    paths : iterable of str or Remote
        The named paths, and places in stores.
    excluded : callable, optional
        Whether to exclude a path below a folder; for a folder, everything in it.
    left_out : LeftOut, optional
        Collects the folders that are left out.
    """
    for path in paths:
        if isinstance(path, Remote):
            yield from _objects_below(path, excluded, left_out)
            continue
        check_path(path)
        try:
            is_folder = stat.S_ISDIR(os.stat(path).st_mode)
        except (FileNotFoundError, NotADirectoryError, ValueError):
            is_folder = False  # opening it says so
        except OSError as error:
            yield Found(path, None, Skip.UNREADABLE, error.strerror or "")
            continue
        if is_folder:
            yield from _walk(path, excluded, left_out)
        else:
            yield Found(path)


def _objects_below(root: Remote, excluded: _Exclusion, left_out: LeftOut | None) -> Iterator[Found]:
    """Yield the objects at and below a place in a store, as a walk does the files of a folder."""
    everything = any(part in _FOREIGN_NAMES for part in root.url.split("/"))
    passed: set[str] = set()
    empty = True
    try:
        for place, seen in root.objects():
            empty = False
            if place == root:
                yield Found(root.url, remote=root, seen=seen)
                continue
            parts = inside(place.url, root.url).split("/")
            for depth, part in enumerate(parts[:-1], 1):
                folder = root.below("/".join(parts[:depth])).url
                if part in _FOREIGN_NAMES and not everything:
                    if left_out is not None:
                        left_out.folders[folder] = left_out.folders.get(folder, 0) + 1
                    break
                if excluded(folder):
                    if folder not in passed:
                        passed.add(folder)
                        yield Found(folder, folder, Skip.EXCLUDED)
                    break
            else:
                skip, detail = (Skip.EXCLUDED, "") if excluded(place.url) else (None, "")
                if skip is None and place.is_misread:
                    skip, detail = Skip.UNREADABLE, MISREAD
                yield Found(place.url, place.url, skip, detail, remote=place, seen=seen)
        if empty:
            root.check_exists()
    except OSError as error:
        yield Found(root.url, None, Skip.UNREADABLE, error.strerror or str(error))


def opened_again(files: Iterable[Found]) -> Iterator[Found]:
    """Yield files that a walk found before, with their folders open again.

    A folder whose path leads elsewhere by now is not opened, as in the walk.
    """
    for folder, group in groupby(files, key=lambda found: found.folder):
        inside = iter(group)  # those that are left
        if folder is None:
            yield from inside
            continue
        fault, detail = Skip.MOVED, ""
        try:
            with Folder(folder.real, folder.real) as opened:
                if os.path.realpath(folder.real) == folder.real and opened.is_at(None):
                    yield from (found._replace(folder=opened) for found in inside)
        except OSError as error:
            fault, detail = Skip.UNREADABLE, error.strerror or ""
        for found in inside:
            reads = found.skip in (None, Skip.LEFTOVER)
            yield found._replace(skip=fault, detail=detail) if reads else found


_Inner = tuple[str, str, os.stat_result | None]
"""A folder to look into: its path, its resolved path, and its status when it was seen."""


def _walk(root: str, excluded: _Exclusion, left_out: LeftOut | None) -> Iterator[Found]:
    """Yield everything below a folder."""
    everything = _lies_in_foreign(root)
    waiting: list[_Inner] = [(root, os.path.realpath(root), None)]
    while waiting:
        place, real, seen = waiting.pop()
        try:
            foreign = not everything and os.path.basename(place) in _FOREIGN_NAMES
            if not foreign:
                with Folder(place, real) as folder:
                    if not folder.is_at(seen):
                        yield Found(place, real, Skip.MOVED)
                        continue
                    entries = folder.entries()
                    foreign = not everything and any(e.name in _FOREIGN_MARKS for e in entries)
                    if not foreign:
                        inner = yield from _within(folder, entries, excluded)
                        waiting += reversed(inner)
        except OSError as error:
            yield Found(place, real, Skip.UNREADABLE, error.strerror or "")
            continue
        if foreign and left_out is not None:
            left_out.add(place, real)


def _within(
    folder: Folder, entries: "list[os.DirEntry[str]]", excluded: _Exclusion
) -> Generator[Found, None, list[_Inner]]:
    """Yield the files in a folder; return the folders in it."""
    inner: list[_Inner] = []
    for entry in entries:
        path, real = os.path.join(folder.path, entry.name), os.path.join(folder.real, entry.name)
        if excluded(path):
            yield Found(path, real, Skip.EXCLUDED)
        elif entry.is_dir(follow_symlinks=False):
            inner.append((path, real, _status(entry)))
        elif not _is_finished_temporary(entry):
            yield Found(path, real, *_fault(entry), folder, status=_status(entry))
    return inner


def is_unchanged(found: Found) -> bool:
    """Return whether a file is as it was listed, as far as that can be told without reading it."""
    try:
        if found.remote is not None:
            return found.remote.version() == found.seen
        return found.status is not None and _marks(os.lstat(found.path)) == _marks(found.status)
    except OSError:
        return False


def _marks(status: os.stat_result) -> tuple[int, ...]:
    # The last of them is when anything of the file changed, which nobody can set.
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _status(entry: "os.DirEntry[str]") -> os.stat_result | None:
    try:
        return entry.stat(follow_symlinks=False)
    except OSError:  # opening it will tell
        return None


def _is_temporary(name: str) -> bool:
    return name.startswith(TEMPORARY_PREFIX) and name.endswith(TEMPORARY_SUFFIX)


def _is_finished_temporary(entry: "os.DirEntry[str]") -> bool:
    """Return whether an entry was the temporary file of a dump that is done by now."""
    if _is_temporary(entry.name):
        try:
            entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            return True
        except OSError:
            pass
    return False


def _fault(entry: "os.DirEntry[str]") -> tuple[Skip | None, str]:
    try:
        mode = entry.stat(follow_symlinks=False).st_mode
    except OSError as error:
        return Skip.UNREADABLE, error.strerror or ""
    if stat.S_ISLNK(mode):
        return Skip.LINK, ""
    if not stat.S_ISREG(mode):
        return Skip.SPECIAL, ""
    if _is_temporary(entry.name):
        return Skip.LEFTOVER, ""
    return None, ""
