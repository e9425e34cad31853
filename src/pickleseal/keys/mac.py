"""HMAC-SHA-256: the only module that holds a secret, or makes and checks tags.

A tag is computed over a statement of 96 bytes, never over data, so that hashing needs no key. The
statement is `stmt` in docs/reference/format.md, "Tags".
"""

import struct

from pickleseal.errors import BadSealError
from pickleseal.keys.suite import Suite

SECRET_SIZE = 32
TAG_SIZE = 32
KEY_ID_SIZE = 16

HEADER = b"pickleseal/v1/header"
ENVELOPE = b"pickleseal/v1/envelope"
KEY_ID = b"pickleseal/v1/key-id"

_STATEMENT = struct.Struct("<32sH6x16sQ32s")


def statement(label: bytes, suite: Suite, key_id: bytes, length: int, digest: bytes) -> bytes:
    """Return the 96 bytes that a tag is computed over.

    `label` is one of this module's constants; `suite` and `key_id` (16 bytes) name the key,
    `length` in bytes and `digest` (32 bytes) the data.
    """
    return _STATEMENT.pack(label, suite, key_id, length, digest)


class Mac:
    """A keyed HMAC-SHA-256 state, without the bytes of the secret."""

    __slots__ = ("_keyed",)

    def __init__(self, secret: bytes) -> None:
        # Imported here: it would be a third of the time of `import pickleseal`.
        from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415
        from cryptography.hazmat.primitives.hmac import HMAC  # noqa: PLC0415

        # HMAC takes keys of any length, even empty ones. `keys.key` checks the length, where an
        # error can be raised without the secret in a frame.
        self._keyed = HMAC(secret, SHA256())

    def mac(self, statement: bytes) -> bytes:
        """Return the tag (32 bytes) of a statement."""
        keyed = self._keyed.copy()
        keyed.update(statement)
        return keyed.finalize()

    def check(self, statement: bytes, tag: bytes) -> None:
        """Raise BadSealError if `tag` is not that of the statement; compared in constant time."""
        keyed = self._keyed.copy()
        keyed.update(statement)
        try:
            keyed.verify(tag)
        except Exception as error:
            from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - as above

            if not isinstance(error, InvalidSignature):
                raise
            raise BadSealError("the tag does not match") from None
