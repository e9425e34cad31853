"""Verifying files, a folder at a time: each seal is checked, and what has none is told.

Below a folder all that holds a pickle is expected to be sealed, by the judgement of an audit.
"""

import os
from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import NamedTuple

from pickleseal.auditing.findings import Level
from pickleseal.auditing.judge import Wants, examine_unsealed
from pickleseal.envelope.source import envelopes_in
from pickleseal.errors import NotSealedError, SealError
from pickleseal.files.regular import RegularFile
from pickleseal.files.walk import (
    BACKUP_SUFFIX,
    Found,
    LeftOut,
    Skip,
    files_below,
)
from pickleseal.keys.keyring import Keyring
from pickleseal.persistence.inspection import Inspection, verify_opened

_LEFT_ALONE = frozenset((Skip.LINK, Skip.SPECIAL, Skip.LEFTOVER))


class Outcome(StrEnum):
    """What came of one file."""

    WHOLE = "whole"
    """Its seal holds over every byte."""
    REFUSED = "refused"
    """Its seal does not hold, or it has none and should have one."""
    UNREADABLE = "unreadable"
    """It could not be read, so nothing was found out."""
    SKIPPED = "skipped"
    """A link, a leftover of a dump, a backup that adopt keeps: not looked at, on purpose."""
    NO_ARTIFACT = "no artifact"
    """It lies below a folder that was named, and is no pickle in any dress."""


class Checked(NamedTuple):
    """What came of the file at a path: its facts where it is whole, else why it is not."""

    path: str
    outcome: Outcome
    found: Inspection | None = None
    reason: str = ""
    error: Exception | None = None


def verify_all(
    paths: Iterable[str],
    *,
    keyring: Keyring,
    context: str | None = None,
    left_out: LeftOut | None = None,
) -> Iterator[Checked]:
    """Check the seals of all files at or below some paths, one after the other.

    What is wrong with a file never raises. Raises KeyringError where a key cannot be used.

    Parameters
    ----------
    paths
        Files and folders. A file that is named must be sealed, whatever it is.
    keyring
        The ring whose keys must have sealed them.
    context
        What all of them must be sealed for. Default: anything.
    left_out
        Takes in the folders that are passed over.
    """
    for found in files_below(paths, left_out=left_out):
        reason = found.reason_to_skip()
        if reason is not None:
            outcome = Outcome.SKIPPED if found.skip in _LEFT_ALONE else Outcome.UNREADABLE
            yield Checked(found.path, outcome, reason=reason)
        elif not found.named and _is_backup(found.path):
            reason = "it is what a file was before it was adopted"
            yield Checked(found.path, Outcome.SKIPPED, reason=reason)
        else:
            yield _checked(found, keyring, context)


def _is_backup(path: str) -> bool:
    return path.endswith(BACKUP_SUFFIX) and os.path.exists(path.removesuffix(BACKUP_SUFFIX))


def _checked(found: Found, keyring: Keyring, context: str | None) -> Checked:
    folder = None if found.folder is None else found.folder.descriptor
    try:
        with RegularFile(found.path, follow=found.named, folder=folder) as file:
            try:
                whole = verify_opened(envelopes_in(file), keyring=keyring, context=context)
            except NotSealedError:
                if not found.named and not _should_be_sealed(file):
                    return Checked(found.path, Outcome.NO_ARTIFACT)
                raise
    except SealError as error:
        return Checked(found.path, Outcome.REFUSED, error=error)
    except (OSError, MemoryError) as error:
        return Checked(found.path, Outcome.UNREADABLE, error=error)
    return Checked(found.path, Outcome.WHOLE, whole)


def _should_be_sealed(file: RegularFile) -> bool:
    """Return whether an audit would have something to say of a file that is not sealed."""
    return examine_unsealed(file, Wants(None)).level > Level.NONE
