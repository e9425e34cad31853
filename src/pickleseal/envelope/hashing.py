"""Hashing: the leaves of a body, the digest over them, and the digests that tags are made of.

No key is needed here. docs/reference/format.md, "Hashing", is the rule for every function.
"""

import hashlib
import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol, Self

from blake3 import blake3

from pickleseal.files import threads
from pickleseal.keys.suite import Suite

LEAF_SIZE = 1 << 20

_ROOT = struct.Struct("<QQQ")


class _Hash(Protocol):
    def copy(self) -> Self: ...
    def update(self, data: memoryview | bytes, /) -> object: ...
    def digest(self) -> bytes: ...


def _domains(suite: Suite) -> dict[str, _Hash]:
    """Return the hash objects of a suite, one for each purpose, before any data."""
    domains: dict[str, _Hash] = {}
    for purpose in ("leaf", "root", "table", "head", "body"):
        name = f"pickleseal/v1/{purpose}"
        if suite is Suite.SHA256:
            domains[purpose] = hashlib.sha256(name.encode("ascii").ljust(64, b"\0"))
        else:
            domains[purpose] = blake3(derive_key_context=name)
    return domains


# Keyed by the suite's number: hashing an enum member takes longer than the rest.
_DOMAINS: tuple[dict[str, _Hash], ...] = ({}, _domains(Suite.SHA256), _domains(Suite.BLAKE3))


def _hash(suite: Suite, purpose: str, data: memoryview | bytes) -> bytes:
    state = _DOMAINS[suite][purpose].copy()
    state.update(data)
    return state.digest()


def split(pieces: Iterable[memoryview]) -> Iterator[list[memoryview]]:
    """Cut the body that `pieces` make up, one behind the other, into leaves of 1 MiB.

    Each leaf is a list of views into the pieces, the last one 1 byte to 1 MiB long; an
    empty body has none. Nothing is copied.
    """
    leaf: list[memoryview] = []
    room = LEAF_SIZE
    for piece in pieces:
        start = 0
        while start < len(piece):
            part = piece[start : start + room]
            leaf.append(part)
            start += len(part)
            room -= len(part)
            if not room:
                yield leaf
                leaf, room = [], LEAF_SIZE
    if leaf:
        yield leaf


def leaf_digest(suite: Suite, pieces: Iterable[memoryview]) -> bytes:
    """Return the digest (32 bytes) of one leaf."""
    state = _DOMAINS[suite]["leaf"].copy()
    for piece in pieces:
        state.update(piece)
    return state.digest()


def content_digest(
    suite: Suite, body_size: int, codec: int, table: bytes, leaves: Sequence[bytes]
) -> bytes:
    """Return the content digest (32 bytes): over the leaves, their count and the segment table.

    `body_size` is in bytes, `table` the segment table as it is in the head. Neither the
    key nor the metadata go into it.
    """
    head = _ROOT.pack(body_size, len(leaves), codec)
    return _hash(suite, "root", b"".join((head, _hash(suite, "table", table), *leaves)))


def head_digest(suite: Suite, head: bytes) -> bytes:
    """Return the digest (32 bytes) of a head: all bytes before the header tag."""
    return _hash(suite, "head", head)


def envelope_digest(suite: Suite, head_digest: bytes, content_digest: bytes) -> bytes:
    """Return the digest (32 bytes) of an envelope, from those of its head and content."""
    return _hash(suite, "body", head_digest + content_digest)


def leaf_digests(suite: Suite, pieces: Sequence[memoryview], size: int) -> list[bytes]:
    """Return the leaf digests of a body of `size` bytes that is in memory."""
    if 0 < size <= LEAF_SIZE:
        return [leaf_digest(suite, pieces)]
    return threads.each(split(pieces), lambda _, leaf: leaf_digest(suite, leaf))
