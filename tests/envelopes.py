"""Envelopes as no dump of ours would write them, and what is in one."""

from pickleseal import Keyring
from pickleseal.envelope import reader, seal
from pickleseal.envelope.metadata import Metadata
from pickleseal.envelope.source import memory_source
from pickleseal.envelope.target import join_envelope


def payload_of(data: bytes, ring: Keyring) -> seal.Verified:
    """Return the verified payload of an envelope."""
    return reader.read(memory_source(data), lambda _: ring, check=lambda _: None)


def hand_sealed(ring: Keyring, metadata: Metadata, *segments: bytes | memoryview) -> bytes:
    """Seal segments as they are, as a foreign writer with the key could."""
    key = ring.sealing_key(context=None, now=0)
    views = [memoryview(segment) for segment in segments]
    head = seal.seal_head(key, metadata, [len(view) for view in views])
    return join_envelope(head.data, views, head.finish, key.suite)
