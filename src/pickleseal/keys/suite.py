"""Suites: which hash algorithm the envelopes of a key use."""

from enum import IntEnum


class Suite(IntEnum):
    """A fixed set of algorithms. It belongs to the key: a file cannot choose it.

    Notes
    -----
    See "Terms" in docs/reference/format.md.

    Examples
    --------
    >>> from pickleseal import Suite
    >>> Suite.BLAKE3.value
    2
    """

    SHA256 = 1
    """HMAC-SHA-256 over SHA-256 leaves: FIPS algorithms only."""
    BLAKE3 = 2
    """HMAC-SHA-256 over BLAKE3 leaves, several times faster; the default of `keygen`."""
