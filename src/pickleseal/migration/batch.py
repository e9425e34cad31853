"""Run one action on every file at or below some paths, and record what came of each.

adopt, extract, reseal and verify share this loop. They agree on which files are left alone, on
when two paths are the same file, and on which errors are a verdict on a file.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from enum import StrEnum
from typing import Any, Generic, NamedTuple, TypeVar

from pickleseal.envelope.source import Source, open_place
from pickleseal.errors import NotSealedError, PicklesealError, SealError, WrongPassphraseError
from pickleseal.files.objects import Opened, open_file
from pickleseal.files.places import (
    Place,
    Remote,
    Version,
    inside,
    name_of,
    past_caches,
    places_of,
    resolved,
    steady,
)
from pickleseal.files.walk import Found, LeftOut, Skip, files_below

_T = TypeVar("_T")

_LEFT_ALONE = frozenset((Skip.LINK, Skip.SPECIAL, Skip.LEFTOVER, Skip.EXCLUDED))


class Outcome(StrEnum):
    """What came of one file. Summaries list outcomes in this order."""

    READY = "ready"
    """It can be adopted."""
    ADOPTED = "adopted"
    EXTRACTED = "extracted"
    RESEALED = "resealed"
    """Sealed by the primary key now; in a dry run, it would be."""
    WHOLE = "whole"
    """Its seal holds over every byte."""
    ALREADY_SEALED = "already sealed"
    ALREADY_THERE = "already there"
    """Its plain file exists and holds the same bytes, as after an interrupted run."""
    ALREADY = "already"
    """The primary key sealed its head before; its body was not checked."""
    NOT_SEALED = "not sealed"
    """Found below a folder, and no envelope."""
    NO_PICKLE = "no pickle found"
    """Found below a folder, and without a pickle."""
    SKIPPED = "skipped"
    """Left alone on purpose: a link, a backup, an excluded file, a second path to a file."""
    REFUSED = "refused"
    """Its content or its seal failed a check. The file is unchanged."""
    FAILED = "failed"
    """It could not be read, written or held in memory, or it changed. Nothing is known of it."""


class Result(NamedTuple, Generic[_T]):
    """What came of one file.

    `reason` says why it was left alone, refused or failed, and `error` is the exception behind it.
    `detail` is what the action has to say.
    """

    path: str
    outcome: Outcome
    reason: str = ""
    error: Exception | None = None
    detail: _T | None = None


class Candidate(NamedTuple):
    """A file to act on: `root` is the path the user named, `real` the file's resolved path.

    `named`: the user named the file itself, perhaps besides a folder above it.
    """

    found: Found
    root: str
    real: str
    named: bool

    @property
    def path(self) -> str:
        """The path as the user spelled it, or below what the user spelled."""
        return self.found.path

    @property
    def inside(self) -> str:
        """The path below `root`; the file's name where `root` is the file."""
        if self.found.remote is not None:
            return inside(self.path, self.root)
        if self.found.named:
            return os.path.basename(self.path)
        return os.path.relpath(self.path, self.root)

    def anew(self) -> "Candidate":
        """Return this candidate with what a store says of it now, to look again."""
        seen = None if self.found.remote is None else self.found.remote.version()
        return self._replace(found=self.found._replace(seen=seen))

    def result(self, outcome: Outcome, reason: str = "", *, detail: _T | None = None) -> Result[_T]:
        """Return a result for this file."""
        return Result(self.path, outcome, reason, detail=detail)


class Batch:
    """The files at or below the paths that a user named.

    Parameters
    ----------
    paths
        Files and folders, and URLs of objects and prefixes in stores.
    exclusion
        Returns the reason to leave a path below a folder alone, or None. A folder is left alone
        as a whole. Default: nothing is.
    """

    def __init__(
        self,
        paths: Iterable[str],
        *,
        exclusion: Callable[[str], str | None] = lambda _: None,
    ) -> None:
        self._places = tuple(map(past_caches, places_of(paths)))
        self.paths = tuple(map(name_of, self._places))
        self.left_out = LeftOut()
        self._exclusion = exclusion

    def found(self) -> Iterator[Found]:
        """Yield the files, and the reasons to skip some, from a walk that opens none."""
        return (found for root in self._places for found in self._below(root))

    def count(self) -> int:
        """Return the number of files."""
        return sum(1 for _ in self.found())

    def _below(self, root: Place, left_out: LeftOut | None = None) -> Iterator[Found]:
        excluded = lambda path: self._exclusion(path) is not None  # noqa: E731 - a callback
        return files_below([root], excluded=excluded, left_out=left_out)

    def candidates(self) -> Iterator[Candidate | Result[Any]]:
        """Yield each file once to act on, and the result of each path that is left alone."""
        named = {
            resolved(name_of(place))
            for place in self._places
            if isinstance(place, Remote) or not os.path.isdir(place)
        }
        seen: set[tuple[str, str | None]] = set()
        for root in self._places:
            for found in self._below(root, self.left_out):
                real = found.real or resolved(found.path)
                place = (real, found.remote and found.remote.path)
                reason = found.reason_to_skip()
                if found.skip is Skip.EXCLUDED:
                    reason = self._exclusion(found.path) or reason
                if reason is not None:
                    skipped = found.skip in _LEFT_ALONE
                    outcome = Outcome.SKIPPED if skipped else Outcome.FAILED
                    yield Result(found.path, outcome, reason)
                elif place in seen:
                    yield Result(found.path, Outcome.SKIPPED, "named twice: see the other path")
                else:
                    seen.add(place)
                    yield Candidate(found, name_of(root), real, real in named)

    def each(self, act: Callable[[Candidate], Result[_T]]) -> Iterator[Result[_T]]:
        """Call `act` for each file once, and yield a result for each path.

        What was done stays done if the iteration is stopped. A wrong passphrase is raised, since it
        would be wrong for the next file, too.
        """
        for one in self.candidates():
            yield attempt(one, act) if isinstance(one, Candidate) else one


def attempt(
    candidate: Candidate,
    act: Callable[[Candidate], Result[_T]],
    *,
    detail: _T | None = None,
    fatal: type[Exception] = WrongPassphraseError,
) -> Result[_T]:
    """Return what `act` returns, or what its error means for the file, with this detail."""
    try:
        return steady(lambda number: act(candidate.anew() if number else candidate))
    except fatal:
        raise
    except SealError as error:
        foreign = isinstance(error, NotSealedError) and not candidate.named
        outcome = Outcome.NOT_SEALED if foreign else Outcome.REFUSED
        return failure(candidate.path, outcome, error, detail=detail)
    except Exception as error:  # noqa: BLE001 - one file's trouble must not end the whole batch
        return failure(candidate.path, Outcome.FAILED, error, detail=detail)


def failure(
    path: str, outcome: Outcome, error: Exception, *, detail: _T | None = None
) -> Result[_T]:
    """Return the result of an action that raised an error."""
    # A traceback keeps the frames alive, and with them the file's bytes, for the whole batch.
    error.__traceback__ = error.__context__ = error.__cause__ = None
    return Result(path, outcome, _reason(error, path), error, detail)


def _reason(error: Exception, path: str) -> str:
    """Return the message of an error without `path`, which is shown beside it."""
    if isinstance(error, SealError):
        return str(error.args[0]) if error.args else type(error).__name__
    if isinstance(error, PicklesealError):
        return str(error)
    if isinstance(error, MemoryError):
        return str(error) or "not enough memory"
    if not isinstance(error, OSError):
        return f"a bug in pickleseal, please report it: {error!r}"
    reason = error.strerror or str(error)
    other = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else path
    # What was opened below a folder's descriptor is named without the folder.
    return reason if other in (path, os.path.basename(path)) else f"{other}: {reason}"


def found_file(found: Found) -> Opened:
    """Open a file or an object that a walk found.

    Below a folder it is the file that the walk saw: a link that has replaced it is not followed.
    Raises NotSealedError for a named path that is no regular file.
    """
    folder = None if found.folder is None else found.folder.descriptor
    try:
        return open_file(found.place, follow=found.named, folder=folder, seen=found.seen)
    except NotSealedError:
        if found.named:
            raise
        raise PicklesealError("it is no longer a regular file") from None


def found_envelope(found: Found) -> AbstractContextManager[tuple[Source, int]]:
    """Open a file that a walk found as one envelope; yield its source and its permission bits."""
    folder = None if found.folder is None else found.folder.descriptor
    return open_place(found.place, follow=found.named, folder=folder, seen=seen_of(found))


def seen_of(found: Found) -> Version | None:
    """Return the version of an object that an act is to read and replace; None for a file."""
    if found.remote is None or found.seen is not None:
        return found.seen
    return found.remote.version()
