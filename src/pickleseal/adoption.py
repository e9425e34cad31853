"""Pickles that exist already: into an envelope as they are, and out of one as they were."""

import time
from collections.abc import Mapping
from typing import Any

from pickleseal import metadata as md
from pickleseal import opcodes, opening, persist, seal, storage
from pickleseal.errors import PolicyError, shown
from pickleseal.keystore.sources import find_keyring


def adopt_bytes(
    raw: bytes | bytearray | memoryview,
    *,
    keyring: persist.Ring = None,
    context: str | None = None,
    info: Mapping[str, Any] | None = None,
) -> bytes:
    """Seal bytes that are a pickle already, as they are: they are not unpickled and not checked.

    To seal is to say "I made this". Never adopt what somebody sent: a service that does so
    turns a stranger's pickle into one that every holder of the key will load.

    raw: the pickle, any bytes-like object.
    keyring, context, info: as for `signed_dump`.

    Returns the envelope, its metadata marked `source: adopted`. Raises KeyringError where
    there is no key to seal with, MetadataError for a context or info that cannot be sealed.
    """
    sealed_for = None if context is None else md.normalize_context(context)
    key = find_keyring(keyring).sealing_key(context=sealed_for, now=time.time())
    stream = memoryview(persist.frozen(raw))
    metadata = md.Metadata(
        content="pickle",
        source="adopted",
        context=sealed_for,
        created=persist.now(),
        info=info,
    )
    head = seal.seal_head(key, metadata, [len(stream)])
    return storage.join(head.data, [stream], head.finish, key.suite)


def extract(
    envelope: bytes | bytearray | memoryview,
    *,
    keyring: persist.Ring = None,
    context: str | None = None,
) -> bytes:
    """Give the plain pickle in an envelope whose seal holds, for `pickle.loads`; unpickle nothing.

    envelope: any bytes-like object that is one envelope.
    keyring, context: as for `signed_load`; the context is enforced.

    Returns a pickle with each buffer in its place in the stream. Raises a SealError for an
    envelope that `signed_load` would refuse, PolicyError for one whose buffers its maker
    kept elsewhere.
    """
    payload = opening.read(
        persist.memory_source(envelope),
        lambda: find_keyring(keyring),
        check=lambda head: opening.check_head(head, context=context),
    )
    metadata = payload.head.metadata
    if metadata.content != "pickle":
        raise PolicyError(f"its content is {shown(metadata.content)}, and not one pickle")
    if metadata.external is not None:
        raise PolicyError(
            f"{metadata.external.buffers} of its buffers lie outside of it, and a plain pickle"
            " has no place for them"
        )
    stream, *buffers = opening.segments(payload)
    return opcodes.put_back(stream, buffers)
