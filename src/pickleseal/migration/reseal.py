"""Sealing anew what a ring sealed before: under its primary key, from the bytes that were verified.

After a rotation this moves files to the new key. After a revocation it readmits files, those
alone that an inventory lists, content and metadata alike: a thief of the key can seal what is
listed, and gains nothing by it, and can seal nothing else.
"""

import itertools
import os
import time
from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import NamedTuple

from pickleseal.envelope import reader, seal
from pickleseal.envelope.metadata import Metadata
from pickleseal.envelope.source import envelopes_in
from pickleseal.envelope.target import write_envelope
from pickleseal.errors import (
    MalformedError,
    NotSealedError,
    PicklesealError,
    PolicyError,
    RevokedKeyError,
    SealError,
    WrongPassphraseError,
)
from pickleseal.files.handles import Path, text_path
from pickleseal.files.regular import RegularFile
from pickleseal.files.walk import Found, LeftOut, files_below
from pickleseal.keys.context import normalize_context
from pickleseal.keys.keyring import Keyring
from pickleseal.keys.roster import Entry
from pickleseal.keys.store.directory import revoked_keys
from pickleseal.keys.store.lookup import find_keyring
from pickleseal.migration.batch import open_found
from pickleseal.persistence import policy
from pickleseal.persistence.inventory import CONTENT, metadata_digest
from pickleseal.persistence.inventory_file import read_inventory


class Outcome(StrEnum):
    """What came of one file."""

    RESEALED = "resealed"
    """It was whole, and is sealed by the primary now (in a dry run: would be)."""
    ALREADY = "already"
    """The primary sealed its head before; its body was not looked at."""
    NOT_SEALED = "not sealed"
    """It lies below a folder that was named, and is no envelope."""
    SKIPPED = "skipped"
    """It is no file to look at: a link, a folder that cannot be read."""
    REFUSED = "refused"
    """Its seal does not hold, or it is not to be sealed anew. It is as it was."""
    FAILED = "failed"
    """It could not be read, sealed or written. It is as it was."""


class Resealed(NamedTuple):
    """What came of the file at a path: the key that had sealed it, and why it was left alone."""

    path: str
    outcome: Outcome
    old_key: str | None = None
    digest: str | None = None
    reason: str | None = None
    error: Exception | None = None


class Readmission(NamedTuple):
    """A ring whose revoked keys open again, for exactly the files that an inventory lists."""

    ring: Keyring
    known: frozenset[tuple[str, str]]
    vouching: Entry | None

    def check(self, digest: str, metadata: Metadata, key_id: str) -> None:
        """Return if a file is listed as it is, by one who may speak for it; else PolicyError."""
        if (digest, metadata_digest(metadata)) not in self.known:
            raise PolicyError(
                f"sealed by key {key_id}, and the inventory does not list it as it is: it was not"
                " there when the list was made, or is not what it was"
            )
        if self.vouching is not None and not self.vouching.covers(metadata.context):
            raise PolicyError(
                f"the inventory was sealed by key {self.vouching.id}, which is bound to other"
                " contexts than this file's, and so cannot vouch for it: give the list's --sha256"
            )


def readmission(
    ring: Keyring, inventory: str | os.PathLike[str], *, sha256: str | None
) -> Readmission:
    """Read the list of what may be readmitted to a ring that comes from a directory.

    The list must be sealed by a key that is not revoked, and then vouches for the contexts that
    this key may stand for; or its file must have the given SHA-256. A thief of a key can seal lists
    too. Raises a SealError for a list that will not do, KeyringError for keys that cannot be read.
    """
    again = ring.reopening(revoked_keys(ring))
    if sha256 is not None:
        listed = read_inventory(inventory, keyring=again, sha256=sha256)
        return Readmission(again, listed.inventory.known(), None)
    try:
        listed = read_inventory(inventory, keyring=ring)
    except RevokedKeyError as error:
        refusal = RevokedKeyError(
            "the inventory itself is sealed by a key that is revoked, and whoever has that key can"
            " make inventories too: give the SHA-256 of its file with --sha256, as you noted it"
            " down when it was made"
        )
        refusal.source = error.source
        raise refusal from None
    return Readmission(again, listed.inventory.known(), ring.entries[listed.key_id])


def reseal(
    file: Path,
    *,
    keyring: Keyring | str | os.PathLike[str] | None = None,
    context: str | None = None,
) -> str | None:
    """Seal a file anew under the primary key, unpickling nothing, if a key of the ring sealed it.

    The bytes are verified and written from the same memory, and take the file's place
    atomically. Context, times and all else that the file says of itself stay as they are.

    file: a path (str or os.PathLike).
    keyring: a Keyring or the path of a keyring's directory. Default: as for `signed_load`.
    context: what the file must have been sealed for. Default: any.

    Returns the id of the key that had sealed it, or None where that was the primary already and
    nothing was done. Raises a SealError for all that `verify` refuses, KeyringError where the ring
    cannot seal it, TargetError where somebody changed it meanwhile, OSError where it cannot be
    read or written. On any error the file is as it was.
    """
    ring = find_keyring(keyring, to_open=True)
    done = _reseal(
        Found(text_path(file)),
        ring,
        context=context,
        readmitted=None,
        durable=True,
        dry_run=False,
    )
    return None if done.outcome is Outcome.ALREADY else done.old_key


def reseal_all(
    paths: Iterable[str],
    *,
    keyring: Keyring,
    context: str | None = None,
    readmitted: Readmission | None = None,
    durable: bool = True,
    dry_run: bool = False,
    left_out: LeftOut | None = None,
) -> Iterator[Resealed]:
    """Seal anew all sealed files at or below some paths, one after the other; tell of each.

    `readmitted`: take only the files that its list names, those of revoked keys too. `dry_run`:
    verify all and write nothing. `left_out` takes in the folders that are passed over. What was
    done stays done if this is stopped; begun again, it goes on from there. Raises KeyringError at
    once where the ring has no key to seal with.
    """
    keyring.sealing_entry(now=time.time())
    for found in files_below(paths, left_out=left_out):
        reason = found.reason_to_skip()
        if reason is not None:
            yield Resealed(found.path, Outcome.SKIPPED, reason=reason)
            continue
        try:
            yield _reseal(
                found,
                keyring,
                context=context,
                readmitted=readmitted,
                durable=durable,
                dry_run=dry_run,
            )
        except WrongPassphraseError:
            raise  # it fits the next file no better
        except (PicklesealError, OSError) as error:
            outcome = Outcome.REFUSED if isinstance(error, SealError) else Outcome.FAILED
            if isinstance(error, NotSealedError) and not found.named:
                outcome = Outcome.NOT_SEALED
            yield Resealed(found.path, outcome, reason=str(error), error=error)


def _reseal(
    found: Found,
    ring: Keyring,
    *,
    context: str | None,
    readmitted: Readmission | None,
    durable: bool,
    dry_run: bool,
) -> Resealed:
    opening_ring = ring if readmitted is None else readmitted.ring
    path, named = found.path, found.named
    with open_found(found) as (source, _), reader.naming(source.name):
        try:
            claimed = reader.read_head(source)
        except MalformedError:
            _check_single(found)
            raise
        head = claimed.authenticate(opening_ring)
        metadata = head.metadata
        if metadata.content == CONTENT and not named:
            reason = "it is an inventory, and sealed anew it would have another SHA-256: name it"
            return Resealed(path, Outcome.SKIPPED, reason=reason)
        if context is not None and not named and metadata.context != normalize_context(context):
            return Resealed(path, Outcome.SKIPPED, reason="it is sealed for something else")
        policy.check_head(
            head.metadata, now=time.time(), context=metadata.context if context is None else context
        )
        if head.key.id == ring.primary:
            return Resealed(path, Outcome.ALREADY, head.key.id)
        key = ring.sealing_key(context=metadata.context, now=time.time())
        payload = reader.read_body(source, head)
        if readmitted is not None:
            readmitted.check(payload.digest, metadata, head.key.id)
    if not dry_run:
        new = seal.seal_head(key, metadata, head.lengths, head.packed)
        write_envelope(
            path,
            new.data,
            payload.stored,
            new.finish,
            key.suite,
            durable=durable,
            seen=source.stamp,
        )
    return Resealed(path, Outcome.RESEALED, head.key.id, payload.digest)


def _check_single(found: Found) -> None:
    """Return unless a file has several envelopes, one behind the other; then it is refused."""
    folder = None if found.folder is None else found.folder.descriptor
    with RegularFile(found.path, follow=found.named, folder=folder) as file:
        if len(list(itertools.islice(envelopes_in(file), 2))) > 1:
            raise MalformedError(
                "it has several sealed objects, one behind the other, and only a file of one is"
                " sealed anew: load them from an open file, and dump them into a new one"
            )
