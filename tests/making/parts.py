"""Keys, envelopes with right tags and any fault, and the pieces of both."""

import hashlib
import pickle
import struct
from typing import NamedTuple

from pickleseal.envelope import hashing, layout, reader, seal
from pickleseal.envelope.metadata import External, Metadata
from pickleseal.envelope.seal import Verified
from pickleseal.envelope.source import MemorySource
from pickleseal.envelope.target import join_envelope
from pickleseal.keys import mac
from pickleseal.keys.key import Key
from pickleseal.keys.keyring import Keyring
from pickleseal.keys.mac import Mac
from pickleseal.keys.roster import Entry, Roster, State
from pickleseal.keys.suite import Suite

NOW = 2_000_000_000
"""The time of the reader, in Unix seconds."""

SECRET = bytes(range(32))
REVOKED_SECRET = bytes(range(255, 223, -1))
SHA = Key(Suite.SHA256, Mac(SECRET))
BLAKE = Key(Suite.BLAKE3, Mac(SECRET))
BOUND_SECRET = bytes(range(128, 160))
REVOKED = Key(Suite.BLAKE3, Mac(REVOKED_SECRET))
BOUND = Key(Suite.BLAKE3, Mac(BOUND_SECRET))
CONTEXTS = ("fraud/*", "prices")
"""What the ring binds the bound key to."""
STRANGER = Key(Suite.BLAKE3, Mac(b"a secret that no reader has: 32."))

BUFFERS = (b"first", b"second buffer")
"""What the caller gives as external buffers."""

RING = Keyring.of(
    Roster(
        3,
        BLAKE.id,
        {
            BLAKE.id: Entry(BLAKE.id, Suite.BLAKE3, State.ACTIVE),
            SHA.id: Entry(SHA.id, Suite.SHA256, State.RETIRED),
            BOUND.id: Entry(BOUND.id, Suite.BLAKE3, State.RETIRED, contexts=CONTEXTS),
            REVOKED.id: Entry(REVOKED.id, Suite.BLAKE3, State.REVOKED),
        },
    ),
    [BLAKE, SHA, BOUND],
    name="the ring of the vectors",
)

ONE = pickle.dumps(1, 5)
PLAIN = Metadata(content="pickle")


class Vector(NamedTuple):
    """One file: its name, what it is refused as or "ok", the bytes, and what a caller asks for."""

    name: str
    expect: str
    data: bytes
    comment: str
    options: tuple[tuple[str, str], ...] = ()


def named(context: str) -> tuple[tuple[str, str], ...]:
    """Return the option of a caller who names a context."""
    return (("context", context),)


def opened(data: bytes) -> Verified:
    """Return an envelope of the ring's, checked as far as its seal goes."""
    return reader.read(MemorySource(data), lambda _: RING, check=lambda _: None)


def sealed(metadata: Metadata, segments: list[bytes], key: Key = BLAKE) -> bytes:
    head = seal.seal_head(key, metadata, [len(segment) for segment in segments])
    return join_envelope(head.data, [memoryview(s) for s in segments], head.finish, key.suite)


def tag_anew(data: bytes | bytearray, key: Key = BLAKE) -> bytes:
    """Put right tags on an envelope that breaks some other rule."""
    m, n = struct.unpack_from("<II", data, 32)
    fixed = layout.Fixed(key.suite, key.raw_id, m, n, 0, 0, *layout._offsets(m, n))
    h, t = fixed.head_size, fixed.table_start
    head = bytes(data[:h])
    body = bytes(data[h + 32 : -32])
    head_digest = hashing.head_digest(key.suite, head)
    header = mac.statement(mac.HEADER, key.suite, key.raw_id, h, head_digest)
    leaves = [hashing.leaf_digest(key.suite, leaf) for leaf in hashing.split([memoryview(body)])]
    codec = int.from_bytes(data[48:50], "little")
    content = hashing.content_digest(key.suite, len(body), codec, head[t : t + 16 * n], leaves)
    digest = hashing.envelope_digest(key.suite, head_digest, content)
    size = len(data) - 32
    whole = mac.statement(mac.ENVELOPE, key.suite, key.raw_id, size, digest)
    return head + key.mac(header) + body + key.mac(whole)


def tagged_rows(lengths: list[int], body: bytes) -> bytes:
    """Seal a body under a segment table of a foreign writer's."""
    head = layout.pack_head(BLAKE.suite, BLAKE.raw_id, PLAIN.encode(), lengths)
    padded = body + bytes(layout.padding(len(body)))
    return tag_anew(layout.head_bytes(head) + bytes(32) + padded + bytes(32))


def with_metadata(metadata: bytes) -> bytes:
    """Seal metadata in a spelling of a foreign writer's."""
    head = layout.pack_head(BLAKE.suite, BLAKE.raw_id, metadata, [len(ONE)])
    body = ONE.ljust(64, b"\0")
    return tag_anew(layout.head_bytes(head) + bytes(32) + body + bytes(32))


def patched(offset: int, new: bytes, data: bytes | None = None) -> bytes:
    data = sealed(PLAIN, [ONE]) if data is None else data
    return data[:offset] + new + data[offset + len(new) :]


def buffers(count: int, size: int = 0) -> bytes:
    """Return a stream of at least `size` bytes: a list of that many out-of-band buffers."""
    made = b"(" + b"\x97" * count + b"l."
    return b"\x80\x05" + b"N0" * ((size - len(made) - 2) // 2) + made


def bound(count: int, size: int, *given: bytes) -> External:
    """Return `external` as worked out from the specification, its digest over `given`."""
    pieces = (struct.pack("<Q", len(b)) + hashlib.sha256(b).digest() for b in given)
    return External(count, size, hashlib.sha256(b"".join(pieces)).hexdigest())


def tag_anew_fixed(data: bytes) -> bytes:
    """Tag the 288 bytes of the least envelope anew, whatever its fields say of themselves."""
    digest = hashing.head_digest(BLAKE.suite, data[:160])
    tag = BLAKE.mac(mac.statement(mac.HEADER, BLAKE.suite, BLAKE.raw_id, 160, digest))
    return data[:160] + tag + data[192:]


def compressed(
    segments: list[bytes], raw: list[int], metadata: Metadata = PLAIN, key: Key = BLAKE
) -> bytes:
    head = seal.seal_head(key, metadata, [len(segment) for segment in segments], raw)
    return join_envelope(head.data, [memoryview(s) for s in segments], head.finish, key.suite)
