"""The two suites: which hash a key's envelopes are hashed with."""

from enum import IntEnum


class Suite(IntEnum):
    """A fixed set of algorithms. It belongs to the key: no file can choose it."""

    SHA256 = 1
    """HMAC-SHA-256 over SHA-256 leaves, for those who may use FIPS algorithms only."""
    BLAKE3 = 2
    """HMAC-SHA-256 over BLAKE3 leaves, several times faster; what `keygen` makes."""
