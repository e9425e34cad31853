"""Taking files out of their envelopes again, a folder at a time: no one is held here."""

import os
import time
from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum
from typing import NamedTuple

from pickleseal.envelope.seal import AuthenticHead
from pickleseal.errors import (
    NotSealedError,
    PicklesealError,
    SealError,
    TargetError,
)
from pickleseal.files.atomic import write_whole
from pickleseal.files.regular import RegularFile
from pickleseal.files.walk import (
    Found,
    LeftOut,
    Skip,
    files_below,
)
from pickleseal.keys.context import normalize_context
from pickleseal.keys.keyring import Keyring
from pickleseal.keys.roster import fits
from pickleseal.migration.adoption import extract_from
from pickleseal.migration.batch import open_found
from pickleseal.persistence import policy

_LEFT_ALONE = frozenset((Skip.LINK, Skip.SPECIAL, Skip.LEFTOVER))


class Outcome(StrEnum):
    """What came of one file."""

    EXTRACTED = "extracted"
    ALREADY = "already there"
    """Its plain file is there, and holds just this: of a run that was cut off, or of before."""
    NOT_SEALED = "not sealed"
    """It lies below a folder that was named, and is no envelope."""
    SKIPPED = "skipped"
    """It is no file to look at: a link, or named twice."""
    REFUSED = "refused"
    """Its seal does not hold, or it holds no pickle."""
    FAILED = "failed"
    """It could not be read or written."""


class Extracted(NamedTuple):
    """What came of one file: where the plain one is, and why there is none."""

    path: str
    outcome: Outcome
    target: str | None = None
    reason: str = ""
    error: Exception | None = None


def extract_all(
    paths: Iterable[str],
    folder: str,
    *,
    keyring: Keyring,
    context: str | None = None,
    left_out: LeftOut | None = None,
) -> Iterator[Extracted]:
    """Write what is in each envelope at or below some paths into a folder that mirrors theirs.

    Nothing is unpickled, and no file is overwritten. `context`: what all of them must be sealed
    for, a name, or a beginning and `*`; "*" is anything at all. Default: nothing. `left_out` takes
    in the folders that are passed over.
    """
    seen: set[str] = set()
    for root in paths:
        for found in files_below([root], left_out=left_out):
            real = found.real or os.path.realpath(found.path)
            if real in seen:
                yield Extracted(found.path, Outcome.SKIPPED, reason="it was looked at already")
                continue
            seen.add(real)
            yield _extracted(found, root, folder, keyring, context)


class Plain(NamedTuple):
    """What is in an envelope, as a plain file, and the mode that the envelope's own file has."""

    data: bytes
    mode: int

    def write_new(self, path: str) -> None:
        """Write it where there is no file, with that mode; TargetError where there is one."""
        # At once with that mode: what was private stays private.
        write_whole(path, self.data, mode=self.mode, exclusive=True)


def make_folder_of(target: str, *, below: str) -> None:
    """Make the folder that a target lies in, at or below another one.

    Raises TargetError, and makes nothing, where a link leads out of that one.
    """
    place = os.path.dirname(target) or os.curdir
    real = os.path.realpath(below)
    if not os.path.join(os.path.realpath(place), "").startswith(os.path.join(real, "")):
        raise TargetError(f"{target} would lie outside of {below}: a link leads there")
    os.makedirs(place, exist_ok=True)


def extract_file(path: str, *, keyring: Keyring, context: str | None = None) -> Plain:
    """Give what is in the envelope at a path; the context is as for `extract_all`."""
    return _plain(Found(path), keyring, context)


def _plain(found: Found, keyring: Keyring, context: str | None) -> Plain:
    with open_found(found) as (source, mode):
        return Plain(extract_from(source, keyring=keyring, check=_check(context)), mode)


def _check(context: str | None) -> Callable[[AuthenticHead], None]:
    wanted = None if context is None else normalize_context(context)

    def check(head: AuthenticHead) -> None:
        sealed = head.metadata.context
        anything = wanted is not None and wanted.endswith("*") and fits(wanted, sealed)
        policy.check_head(
            head.metadata, now=time.time(), context=sealed if anything or wanted == "*" else wanted
        )

    return check


def _extracted(
    found: Found, root: str, folder: str, keyring: Keyring, context: str | None
) -> Extracted:
    skip = found.reason_to_skip()
    if skip is not None:
        outcome = Outcome.SKIPPED if found.skip in _LEFT_ALONE else Outcome.FAILED
        return Extracted(found.path, outcome, reason=skip)
    inside = os.path.basename(root) if found.named else os.path.relpath(found.path, root)
    target = os.path.join(folder, inside)
    try:
        plain = _plain(found, keyring, context)
        make_folder_of(target, below=folder)
        if _holds(target, plain.data):
            return Extracted(found.path, Outcome.ALREADY, target)
        plain.write_new(target)
    except (PicklesealError, OSError, MemoryError) as error:
        outcome = Outcome.REFUSED if isinstance(error, SealError) else Outcome.FAILED
        if isinstance(error, NotSealedError) and not found.named:
            outcome = Outcome.NOT_SEALED
        return Extracted(found.path, outcome, reason=str(error), error=error)
    return Extracted(found.path, Outcome.EXTRACTED, target)


def _holds(path: str, data: bytes) -> bool:
    try:
        with RegularFile(path, follow=False) as file:
            return file.size == len(data) and file.whole() == data
    except (NotSealedError, OSError):
        return False
