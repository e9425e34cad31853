"""Seal files again under the ring's primary key, from the bytes that were verified.

After a rotation this moves files to the new key. After a revocation it readmits the files that an
inventory lists, content and metadata alike: a thief of the revoked key can seal those too, and
gains nothing by it, and can readmit nothing else.
"""

import itertools
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import NamedTuple

from pickleseal.envelope import reader, seal
from pickleseal.envelope.digests import comparable
from pickleseal.envelope.metadata import Metadata
from pickleseal.envelope.source import envelopes_in
from pickleseal.envelope.target import write_envelope
from pickleseal.errors import MalformedError, PolicyError, RevokedKeyError
from pickleseal.files.atomic import held
from pickleseal.files.handles import Path
from pickleseal.files.places import (
    Named,
    Options,
    name_of,
    past_caches,
    places_of,
    resolved,
    steady,
    without_credentials,
)
from pickleseal.files.walk import Found
from pickleseal.keys.context import normalize_context
from pickleseal.keys.keyring import EVERY_KEY, Keyring
from pickleseal.keys.roster import Entry
from pickleseal.keys.store.lookup import Ring, find_keyring, revoked_keys
from pickleseal.migration.batch import Batch, Candidate, Outcome, Result, found_envelope, found_file
from pickleseal.persistence import policy
from pickleseal.persistence.inventory import CONTENT, metadata_digest
from pickleseal.persistence.inventory_file import Read, read_inventory


class Resealed(NamedTuple):
    """The key that had sealed a file, and the digest of its content."""

    old_key: str
    digest: str | None = None


class Readmission(NamedTuple):
    """A ring whose revoked keys open again, for exactly the files that an inventory lists.

    `vouching` is the key that sealed the inventory; None where the user gave its SHA-256. `listed`
    is the inventory.
    """

    ring: Keyring
    listed: Read
    known: frozenset[tuple[str, str]]
    vouching: Entry | None

    def check(self, digest: str, metadata: Metadata, key_id: str) -> None:
        """Raise PolicyError unless the inventory lists a file as it is, and may vouch for it."""
        leaked, made = self.ring.entries[key_id].leaked, self.listed.inventory.created
        if leaked is not None and made >= leaked:
            raise PolicyError(
                f"others may have had key {key_id} since {policy.time_text(leaked)}, and the"
                f" inventory was made {policy.time_text(made)}: it may list files that they made."
                " Use an older one"
            )
        facts = metadata_digest(metadata)
        if (digest, facts) not in self.known:
            reason = (
                "it lists digests of another suite for this file, which cannot be compared"
                if any(facts == one and not comparable(digest, by) for by, one in self.known)
                else "it was made or changed after the list"
            )
            raise PolicyError(
                f"sealed by key {key_id}, and the inventory does not list it as it is: {reason}"
            )
        if self.vouching is not None and not self.vouching.covers(metadata.context):
            raise PolicyError(
                f"key {self.vouching.id}, which sealed the inventory, is bound to other contexts"
                " than this file's: give the SHA-256 of the inventory with --sha256"
            )


def readmission(
    ring: Keyring,
    inventory: str | os.PathLike[str],
    *,
    sha256: str | None,
    made_before: int | None = None,
) -> Readmission:
    """Read the inventory of what may be readmitted to a ring that comes from a directory.

    A thief of a key can seal inventories too. So a key that is not revoked must have sealed it, and
    it then vouches for the contexts of that key; or its file must have the given SHA-256. It must
    be older than `made_before` (Unix seconds), and for the files of a key older than its leak.
    Raises a SealError for an inventory that fails this, KeyringError for keys that cannot be read.
    """
    again = ring.reopening(revoked_keys(ring))
    with reader.naming(without_credentials(os.fspath(inventory))):
        try:
            by = ring if sha256 is None else again  # its digest vouches for it, whoever sealed it
            listed = read_inventory(inventory, keyring=by, sha256=sha256)
        except RevokedKeyError:
            if sha256 is not None:
                raise
            raise RevokedKeyError(
                "a revoked key sealed the inventory, and anyone who has that key can make one: give"
                " its SHA-256 with --sha256, as you noted it down when you made it"
            ) from None
        made = listed.inventory.created
        if made_before is not None and made >= made_before:
            raise PolicyError(
                f"the inventory was made {policy.time_text(made)}, not before"
                f" {policy.time_text(made_before)}"
            )
    vouching = ring.entries[listed.key_id] if sha256 is None else None
    return Readmission(again, listed, listed.inventory.known(), vouching)


def reseal(
    file: Path | Named,
    *,
    keyring: Ring = None,
    context: str | None = None,
    storage_options: Options = None,
) -> str | None:
    """Seal a file again under the primary key, without unpickling it.

    Context, times and all other metadata stay as they are.

    Parameters
    ----------
    file : str or os.PathLike
        The path or URL of a file that a key of the ring sealed.
    keyring : Keyring, str or os.PathLike, optional
        A ring, or the path of its directory. Default: as for `signed_load`.
    context : str, optional
        What the file must have been sealed for. Default: anything.
    storage_options : mapping, optional
        As in `signed_load`.

    Returns
    -------
    str or None
        The id of the key that had sealed the file; None where that is the primary key, and
        nothing was done.

    Raises
    ------
    SealError
        If `verify` would refuse the file.
    KeyringError
        If the ring cannot seal it.
    TargetError
        If somebody changed the file meanwhile.
    OSError
        If it cannot be read or written.

    Notes
    -----
    The bytes that were verified are written from the same memory, and replace the file atomically.
    On any error the file is as it was. A file of several objects is refused. The digest of the
    content stays the same, unless the new key is of another suite.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from pickleseal import Key, Keyring, reseal, signed_dump, signed_load
    >>> old, new = Key.generate(), Key.generate()
    >>> path = Path(tempfile.mkdtemp()) / "model.pkl"
    >>> signed_dump([1, 2], path, keyring=Keyring(old))
    >>> ring = Keyring(new, old)
    >>> reseal(path, keyring=ring) == old.id
    True
    >>> signed_load(path, keyring=Keyring(new))
    [1, 2]
    """
    find_keyring(keyring, to_open=EVERY_KEY)  # raises without a ring, whatever the file is
    place = past_caches(*places_of([file], storage_options))
    path = name_of(place)
    candidate = Candidate(Found.at(place), path, resolved(path), named=True)
    done = steady(
        lambda _: _reseal(candidate, keyring, context=context, readmitted=None, dry_run=False)
    )
    return None if done.outcome is Outcome.ALREADY or done.detail is None else done.detail.old_key


def reseal_all(
    batch: Batch,
    *,
    keyring: Ring,
    context: str | None = None,
    readmitted: Readmission | None = None,
    dry_run: bool = False,
) -> Iterator[Result[Resealed]]:
    """Seal all sealed files again, one after the other.

    What was done stays done if this is stopped; run again, it goes on from there. Raises
    KeyringError at once if the ring has no key to seal with.

    Parameters
    ----------
    batch
        The files. What is not sealed below a folder is left alone.
    keyring
        The ring whose primary key seals, looked up for each file.
    context
        Below folders, only files that are sealed for this; a named file must be. Default: all.
    readmitted
        Only the files that its inventory lists, those of revoked keys too. Default: no list.
    dry_run
        Verify everything and write nothing.
    """
    find_keyring(keyring, to_open=EVERY_KEY).sealing_entry(now=time.time())
    wanted = None if context is None else normalize_context(context)
    return batch.each(
        lambda candidate: _reseal(
            candidate, keyring, context=wanted, readmitted=readmitted, dry_run=dry_run
        )
    )


def _reseal(
    candidate: Candidate,
    keyring: Ring,
    *,
    context: str | None,
    readmitted: Readmission | None,
    dry_run: bool,
) -> Result[Resealed]:
    named = candidate.named
    with ExitStack() as until_replaced:
        with found_envelope(candidate.found) as (source, _), reader.naming(source.name):
            try:
                claimed = reader.read_head(source)
            except MalformedError:
                _check_single(candidate.found)
                raise
            # Only now: the ring may have got the key that sealed the file since the batch began.
            ring = find_keyring(keyring, to_open=EVERY_KEY)
            head = claimed.authenticate(ring if readmitted is None else readmitted.ring)
            metadata = head.metadata
            if metadata.content == CONTENT and not named:
                reason = "it is an inventory, whose SHA-256 would change: name it to reseal it"
                return candidate.result(Outcome.SKIPPED, reason)
            if context is not None and not named and metadata.context != context:
                return candidate.result(Outcome.SKIPPED, "it is sealed for another context")
            policy.check_head(
                head.metadata,
                now=time.time(),
                context=metadata.context if context is None else context,
            )
            if head.key.id == ring.primary:
                return candidate.result(Outcome.ALREADY, detail=Resealed(head.key.id))
            key = ring.sealing_key(context=metadata.context, now=time.time())
            payload = reader.read_body(source, head)
            if readmitted is not None:
                readmitted.check(payload.digest, metadata, head.key.id)
            until_replaced.enter_context(held(candidate.found.place, source.stamp))
        if not dry_run:
            new = seal.seal_head(key, metadata, head.lengths, head.packed)
            write_envelope(
                candidate.found.place,
                new.data,
                payload.stored,
                new.finish,
                key.suite,
                durable=True,
                seen=source.stamp,
            )
    return candidate.result(Outcome.RESEALED, detail=Resealed(head.key.id, payload.digest))


def _check_single(found: Found) -> None:
    """Raise MalformedError if a file holds several envelopes."""
    with found_file(found) as file:
        if len(list(itertools.islice(envelopes_in(file), 2))) > 1:
            raise MalformedError(
                "it holds several sealed objects, and reseal takes files with one: load them from"
                " the open file, and dump them into a new one"
            )
