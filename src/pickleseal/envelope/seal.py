"""Seal an envelope and check its tags: the only maker of `Verified`.

Pure: bytes, keys and digests in; bytes or an error out. The checks follow
docs/reference/format.md, "Reading".
"""

from collections.abc import Sequence
from typing import NamedTuple, NewType

from pickleseal.envelope import digests, hashing, layout
from pickleseal.envelope.metadata import Metadata, decode_shared
from pickleseal.errors import BadSealError, MalformedError
from pickleseal.keys import mac
from pickleseal.keys.key import Key
from pickleseal.keys.keyring import Keyring


class AuthenticHead(NamedTuple):
    """A head whose tag holds: a holder of `key` sealed its sizes and metadata.

    The body may still be forged, so a head can refuse an envelope and never accept one.
    """

    key: Key
    fixed: layout.Fixed
    metadata: Metadata
    table: bytes
    lengths: tuple[int, ...]
    raw: tuple[int, ...]
    digest: bytes

    @property
    def packed(self) -> tuple[int, ...] | None:
        """The raw lengths of the segments; None if they are not compressed."""
        return None if self.fixed.codec == layout.STORED else self.raw


class Payload(NamedTuple):
    """The content of an envelope: its head, and its segments as they are stored.

    The first segment is the pickle stream, the others are its out-of-band buffers.
    """

    head: AuthenticHead
    stored: list[memoryview]
    content_digest: bytes

    @property
    def digest(self) -> str:
        """The content's digest as text."""
        return digests.of_content(self.head.key.suite, self.content_digest)


Verified = NewType("Verified", Payload)
"""A payload whose envelope tag holds. The unpickler takes no other type."""


class SealedHead(NamedTuple):
    """The head of an envelope being written; `finish` makes the tag that closes it."""

    key: Key
    head: layout.Head
    digest: bytes
    data: bytes
    """The first bytes of the envelope, with the header tag."""

    def finish(self, leaves: Sequence[bytes]) -> bytes:
        """Return the envelope tag (32 bytes) for the leaf digests of the body, in order."""
        head = self.head
        _, statement = _closing(self.key, head.fixed, head.table, self.digest, leaves)
        return self.key.mac(statement)


def seal_head(
    key: Key, metadata: Metadata, lengths: Sequence[int], raw: Sequence[int] | None = None
) -> SealedHead:
    """Return the sealed head of an envelope for segments of the given lengths in bytes.

    `raw`: their lengths before compression, or None if they are stored as they are. Raise
    MetadataError if the metadata do not fit the format.
    """
    head = layout.pack_head(key.suite, key.raw_id, metadata.encode(), lengths, raw)
    data = layout.head_bytes(head)
    digest = hashing.head_digest(key.suite, data)
    return SealedHead(key, head, digest, data + key.mac(_header_statement(key, data, digest)))


def open_head(fixed: layout.Fixed, data: bytes, keyring: Keyring) -> AuthenticHead:
    """Check a header tag under the one key that the head names (steps 4 to 6).

    `data` is the head with its tag, `fixed.head_size + 32` bytes. Raise UnknownKeyError,
    RevokedKeyError, BadSealError, MalformedError if an authentic head breaks the format, or
    ContextError if the ring binds the key to other contexts.
    """
    key = keyring.opening_key(fixed.key_id, fixed.suite)  # 4.2, 4.3, 4.4
    size = fixed.head_size
    head, tag = data[:size], data[size:]
    digest = hashing.head_digest(key.suite, head)
    try:
        key.check(_header_statement(key, head, digest), tag)  # 5.1
    except BadSealError:
        raise BadSealError(
            "the seal does not hold: the head of the file is not what was sealed. It was changed,"
            " or made by somebody without the key"
        ) from None
    parsed = layout.parse_head(fixed, head)
    metadata = decode_shared(parsed.metadata)
    if metadata.external is not None and fixed.segments != 1:  # 5.12
        raise MalformedError("an envelope with external buffers has one segment")
    keyring.check_binding(key, metadata.context)  # 6.1
    return AuthenticHead(key, fixed, metadata, parsed.table, parsed.lengths, parsed.raw, digest)


def accept(
    head: AuthenticHead,
    leaves: Sequence[bytes],
    tag: bytes,
    segments: Sequence[memoryview],
    paddings: Sequence[memoryview],
) -> Verified:
    """Check the envelope tag over a body in memory (step 7), and return it as verified.

    `leaves` are the digests of the leaves as they were read into `segments` and `paddings`, memory
    that nothing else may write to. The errors are those of `check_body`.
    """
    padded = not any(map(any, paddings))
    content = check_body(head, leaves, tag, padded=padded)
    return Verified(Payload(head, list(segments), content))


def check_body(head: AuthenticHead, leaves: Sequence[bytes], tag: bytes, *, padded: bool) -> bytes:
    """Check the envelope tag over a body (step 7); return its content digest (32 bytes).

    `leaves` are the digests of the body's leaves, `padded` whether all padding is zero. The result
    says nothing of bytes that are read again later. Raise BadSealError, or MalformedError if the
    padding is not zero.
    """
    content, statement = _closing(head.key, head.fixed, head.table, head.digest, leaves)
    try:  # 7.2
        head.key.check(statement, tag)
    except BadSealError:
        raise BadSealError(
            "the seal does not hold: the head is genuine, but the body was changed after it was"
            " sealed, or is damaged"
        ) from None
    if not padded:  # 7.3
        raise MalformedError("the padding of a segment is not zero")
    return content


def _header_statement(key: Key, head: bytes, digest: bytes) -> bytes:
    return mac.statement(mac.HEADER, key.suite, key.raw_id, len(head), digest)


def _closing(
    key: Key, fixed: layout.Fixed, table: bytes, head_digest: bytes, leaves: Sequence[bytes]
) -> tuple[bytes, bytes]:
    """Return the content digest of a body, and the statement that the envelope tag is made of."""
    content = hashing.content_digest(key.suite, fixed.body_size, fixed.codec, table, leaves)
    size = fixed.total_size - layout.TAG_SIZE
    digest = hashing.envelope_digest(key.suite, head_digest, content)
    return content, mac.statement(mac.ENVELOPE, key.suite, key.raw_id, size, digest)
