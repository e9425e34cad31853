"""What is fuzzed: each parser of bytes from outside, with bytes to begin with.

A target fails for any exception but the package's own. None of them unpickles.
"""

import gzip
import io
import json
import pickle
import zipfile
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from lab.home import ARRAY, CONTEXT, NEW_OBJECT, OLD_OBJECT, PASS, PRIMARY, RETIRED, SPARE
from pickleseal import (
    Key,
    Keyring,
    PicklesealError,
    Suite,
    inspect,
    signed_dumps,
    signed_loads,
    verify,
)
from pickleseal.envelope import hashing, layout, reader
from pickleseal.envelope.metadata import Metadata
from pickleseal.envelope.source import memory_source
from pickleseal.keys import mac
from pickleseal.keys.key import KeyLine, outline
from pickleseal.keys.passphrase import Passphrase, wrap
from pickleseal.keys.roster import Roster, new_entry
from pickleseal.persistence import pins
from pickleseal.persistence.inventory import Inventory, Item
from pickleseal.scanner.containers.contents import look
from pickleseal.scanner.containers.views import Memory
from pickleseal.scanner.grades import recognized

RINGS = {
    Suite.BLAKE3: Keyring(Key.parse(PRIMARY)),
    Suite.SHA256: Keyring(Key.parse(RETIRED)),
}
MOST = 1 << 22
"""Bytes that an envelope may expand to."""


class Target(NamedTuple):
    """A function that takes any bytes, and the bytes to begin with."""

    check: Callable[[bytes], None]
    seeds: tuple[bytes, ...]


def _envelope(data: bytes) -> None:
    ring = RINGS[Suite.BLAKE3]
    for read in (
        lambda: signed_loads(data, keyring=ring, max_bytes=MOST),
        lambda: verify(io.BytesIO(data), keyring=ring, max_bytes=MOST),
        lambda: inspect(io.BytesIO(data), keyring=ring),
    ):
        try:
            read()
        except PicklesealError:
            continue


def tagged(data: bytes) -> bytes:
    """Return bytes with the tags, the key and the total size that they should have.

    A mutation is then refused for what it is, and not for its tag.
    """
    if len(data) < layout.FIXED_SIZE + 2 * layout.TAG_SIZE:
        return data
    raw = bytearray(data)
    suite = Suite.SHA256 if raw[10] == Suite.SHA256 else Suite.BLAKE3
    key = Key.parse(RETIRED if suite is Suite.SHA256 else PRIMARY)
    raw[: len(layout.MAGIC)] = layout.MAGIC
    raw[16:32] = key.raw_id
    try:
        fixed = layout.parse_fixed(bytes(raw[: layout.FIXED_SIZE]))
    except PicklesealError:
        return bytes(raw)
    size, end = fixed.head_size, fixed.head_size + layout.TAG_SIZE
    head = bytes(raw[:size])
    digest = hashing.head_digest(suite, head)
    raw[size:end] = key.mac(mac.statement(mac.HEADER, suite, key.raw_id, size, digest))
    if fixed.total_size != len(raw):
        return bytes(raw)
    body = memoryview(raw)[end : -layout.TAG_SIZE]
    leaves = hashing.leaf_digests(suite, [body], len(body)) if len(body) else []
    table = head[fixed.table_start : fixed.table_start + 16 * fixed.segments]
    content = hashing.content_digest(suite, fixed.body_size, fixed.codec, table, leaves)
    whole = hashing.envelope_digest(suite, digest, content)
    tag = key.mac(mac.statement(mac.ENVELOPE, suite, key.raw_id, len(raw) - layout.TAG_SIZE, whole))
    body.release()
    raw[-layout.TAG_SIZE :] = tag
    return bytes(raw)


def is_sealed(data: bytes) -> bool:
    """Return whether the tags of bytes hold under one of the keys, and its segments expand."""
    ring = RINGS[Suite.SHA256 if data[10:11] == b"\x01" else Suite.BLAKE3]
    try:
        payload = reader.read(
            memory_source(data), lambda _: ring, check=lambda _: None, max_bytes=MOST
        )
        reader.segments(payload)
    except PicklesealError:
        return False
    return True


def _tagged_envelope(data: bytes) -> None:
    is_sealed(tagged(data))


def _metadata(data: bytes) -> None:
    try:
        found = Metadata.decode(data)
    except PicklesealError:
        return
    assert found.encode() == data, "metadata have two spellings"


def _key_line(data: bytes) -> None:
    line = KeyLine(data.decode("latin-1"))
    for read in (outline, Key.parse):
        try:
            read(line)
        except PicklesealError:
            continue


def _index(data: bytes) -> None:
    try:
        found = Roster.decode(data)
    except ValueError:  # read_roster makes it a KeyringError
        return
    assert Roster.decode(found.encode().encode()) == found, "a keyring.json is not written as read"


def _pins(data: bytes) -> None:
    try:
        found = pins.decode(data)
    except PicklesealError:
        return
    assert pins.decode(pins.encode(found)) == found, "pins are not written as read"


def _inventory(data: bytes) -> None:
    try:
        found = Inventory.decode(data)
    except PicklesealError:
        return
    assert Inventory.decode(found.encode()) == found, "an inventory is not written as read"


def _scanner(data: bytes) -> None:
    for name in ("", "model.pkl"):
        contents = look(Memory(memoryview(data)), name=name)
        if contents is not None:
            recognized(contents, ())


def _roster() -> Roster:
    roster = Roster.empty()
    for number, line in enumerate((RETIRED, PRIMARY, SPARE)):
        suite = outline(line).suite
        note = "a note" * number
        roster = roster.add(new_entry(outline(line).id, suite, created=number, note=note))
    return roster.retire(outline(PRIMARY).id).revoke(outline(SPARE).id, reason="lost", now=9)


def _envelopes() -> tuple[bytes, ...]:
    blake, sha = RINGS[Suite.BLAKE3], RINGS[Suite.SHA256]
    return (
        signed_dumps(OLD_OBJECT, keyring=blake),
        signed_dumps(np.arange(20.0), keyring=blake, context=CONTEXT, serial=3),
        signed_dumps(NEW_OBJECT, keyring=blake, compress="zstd", info={"a": [1, 2.5, "x"]}),
        signed_dumps([OLD_OBJECT, np.arange(5)], keyring=sha),
    )


def _heads(envelopes: tuple[bytes, ...]) -> tuple[bytes, ...]:
    found = []
    for data in envelopes:
        fixed = layout.parse_fixed(data[: layout.FIXED_SIZE])
        found.append(layout.parse_head(fixed, data[: fixed.head_size]).metadata)
    return tuple(found)


def _unsealed() -> tuple[bytes, ...]:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("data.pkl", pickle.dumps(OLD_OBJECT))
    array = io.BytesIO()
    np.save(array, np.array([1, "a"], dtype=object), allow_pickle=True)
    objects = (OLD_OBJECT, ARRAY[:5], {1: (2.5, b"x", "y"), None: {True}}, io.BytesIO, ValueError)
    plain = [pickle.dumps(one, protocol) for one in objects for protocol in (0, 2, 4, 5)]
    return (*plain, gzip.compress(plain[2], mtime=0), packed.getvalue(), array.getvalue())


def _listed() -> tuple[bytes, ...]:
    digest = f"ps2:{'0' * 64}"
    items = (Item("a", digest, "0" * 64, "c", 1, 2), Item("b", f"sha256:{'1' * 64}"))
    return Inventory(1, items).encode(), Inventory(1, ()).encode()


def make() -> dict[str, Target]:
    """Return the targets by name."""
    envelopes = _envelopes()
    pinned = {"format": pins.FORMAT, "pins": {"c": [1]}}
    boxed = wrap(PRIMARY, Passphrase(PASS), salt=bytes(16), log2_n=14).reveal().encode()
    lines = (PRIMARY.reveal().encode(), RETIRED.reveal().encode(), boxed)
    return {
        "envelope": Target(_envelope, envelopes),
        "envelope with recomputed tags": Target(_tagged_envelope, envelopes),
        "metadata": Target(_metadata, _heads(envelopes)),
        "key line": Target(_key_line, lines),
        "keyring.json": Target(_index, (_roster().encode().encode(),)),
        "pins": Target(_pins, (json.dumps(pinned).encode(), _real_pins())),
        "inventory": Target(_inventory, _listed()),
        "scanner": Target(_scanner, _unsealed()),
    }


def _real_pins() -> bytes:
    return pins.encode({CONTEXT: pins.Pin(2, f"ps2:{'0' * 64}", "0" * 64)})
