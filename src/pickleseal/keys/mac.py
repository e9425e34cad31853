"""HMAC-SHA-256: the only place that holds a key's secret and makes or checks a tag.

A tag is made over a statement of 96 bytes, never over data itself, so that hashing needs no
key. The statement is the format's `stmt` (docs/reference/format.md, "Tags").
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
    """Give the 96 bytes that a tag is made over.

    `label` says what is claimed (one of this module's constants), `suite` and `key_id`
    (16 bytes) under which key, `length` in bytes and `digest` (32 bytes) of what.
    """
    return _STATEMENT.pack(label, suite, key_id, length, digest)


class Mac:
    """A keyed HMAC-SHA-256. It keeps the keyed state and not the secret's bytes."""

    __slots__ = ("_keyed",)

    def __init__(self, secret: bytes) -> None:
        # A third of the time of `import pickleseal`, were it not left to the first key.
        from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415
        from cryptography.hazmat.primitives.hmac import HMAC  # noqa: PLC0415

        # HMAC itself takes any length, an empty one too. The caller (keys) has checked
        # it, where a refusal can be raised without the secret in a frame.
        self._keyed = HMAC(secret, SHA256())

    def mac(self, statement: bytes) -> bytes:
        """Give the tag (32 bytes) of a statement."""
        keyed = self._keyed.copy()
        keyed.update(statement)
        return keyed.finalize()

    def check(self, statement: bytes, tag: bytes) -> None:
        """Return if `tag` is that of the statement, in constant time; else BadSealError."""
        keyed = self._keyed.copy()
        keyed.update(statement)
        try:
            keyed.verify(tag)
        except Exception as error:
            from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - as above

            if not isinstance(error, InvalidSignature):
                raise
            raise BadSealError("the tag does not hold") from None
