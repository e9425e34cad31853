"""Write and read sealed inventories."""

import hashlib
import time
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import NamedTuple

from pickleseal.envelope import digests, layout, reader, seal
from pickleseal.envelope.metadata import Metadata
from pickleseal.envelope.source import MemorySource, Source, open_source
from pickleseal.envelope.target import chunks
from pickleseal.errors import BadSealError, PolicyError, shown
from pickleseal.files.atomic import write_pieces
from pickleseal.files.handles import Path
from pickleseal.files.places import Options, Place
from pickleseal.keys.context import context_to_seal
from pickleseal.keys.keyring import Keyring
from pickleseal.keys.roster import State
from pickleseal.keys.store.lookup import revoked_keys
from pickleseal.persistence import policy
from pickleseal.persistence.dump import now
from pickleseal.persistence.inventory import CONTENT, Inventory

MAX_SIZE = 1 << 30
"""The largest inventory that is read, in bytes."""


def write_inventory(
    inventory: Inventory, path: Place, *, keyring: Keyring, context: str | None = None
) -> str:
    """Seal an inventory under the primary key of a ring, and write it to a path atomically.

    Return the SHA-256 of the file, in hexadecimal digits.
    """
    text = inventory.encode()
    return write_text([text], len(text), path, keyring=keyring, context=context)


def write_text(
    pieces: Iterable[bytes], size: int, path: Place, *, keyring: Keyring, context: str | None
) -> str:
    """Do what `write_inventory` does, with the text of an inventory in pieces, `size` in bytes."""
    sealed_for = context_to_seal(context)
    key = keyring.sealing_key(context=sealed_for, now=time.time())
    head = seal.seal_head(key, Metadata(content=CONTENT, context=sealed_for, created=now()), [size])
    digest = hashlib.sha256()

    def hashed() -> Iterator[bytes]:
        body = chain(pieces, [bytes(layout.padding(size))])
        for chunk in chunks(head.data, map(memoryview, body), head.finish, key.suite):
            digest.update(chunk)
            yield chunk

    write_pieces(path, hashed())
    return digest.hexdigest()


class Read(NamedTuple):
    """An inventory with the id of the key that sealed it, and its context."""

    inventory: Inventory
    key_id: str
    context: str | None


def read_inventory(
    path: Path, *, keyring: Keyring, sha256: str | None = None, options: Options = None
) -> Read:
    """Read a sealed inventory.

    `sha256`: the SHA-256 that its file must have (64 hexadecimal digits), kept where a thief of
    keys cannot change it: a key that is revoked may then have sealed it. Raise a SealError if the
    file is another one, is not sealed, or is no inventory. `options`: as for `open_source`.
    """

    def ring(key_id: str) -> Keyring:
        entry = keyring.entries.get(key_id)
        if sha256 is None or entry is None or entry.state is not State.REVOKED:
            return keyring
        return keyring.reopening(revoked_keys(keyring))

    with open_source(path, options) as opened, reader.naming(opened.name):
        payload = reader.read(
            opened if sha256 is None else _with_sha256(opened, sha256),
            ring,
            check=lambda head: policy.check_head(
                head.metadata, now=time.time(), context=head.metadata.context
            ),
            max_bytes=MAX_SIZE,
        )
        if payload.head.metadata.content != CONTENT:
            raise PolicyError(
                "it is sealed, but it is not an inventory: make one with audit --inventory"
            )
        inventory = Inventory.decode(bytes(reader.segments(payload)[0]))
    return Read(inventory, payload.head.key.id, payload.head.metadata.context)


def _with_sha256(source: Source, sha256: str) -> MemorySource:
    """Read a whole envelope. Raise BadSealError if it does not have the given SHA-256."""
    wanted = sha256.strip().lower()
    if not digests.is_sha256(wanted):
        raise BadSealError(f"a SHA-256 has 64 hexadecimal digits, not '{shown(sha256)}'")
    start = source.pull(layout.FIXED_SIZE)
    total = layout.parse_fixed(start).total_size
    reader.check_size(total, MAX_SIZE)
    data = start + source.pull(total - len(start) + 1)  # one more, to notice bytes after the end
    if hashlib.sha256(data).hexdigest() != wanted:
        raise BadSealError("its SHA-256 is not the one that was given: it is another file")
    return MemorySource(data, source.name)
