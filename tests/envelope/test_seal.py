"""Sealing and unsealing: exact bytes, each refusal, and which comes first."""

import hashlib
import hmac
import struct
from collections.abc import Sequence
from typing import NamedTuple

import pytest

from pickleseal import (
    BadSealError,
    Key,
    Keyring,
    MalformedError,
    MetadataError,
    RevokedKeyError,
    Suite,
    UnknownKeyError,
)
from pickleseal.envelope import hashing, seal, source
from pickleseal.envelope import layout as envelope
from pickleseal.envelope.metadata import External, Metadata
from pickleseal.keys import mac
from pickleseal.keys.mac import Mac
from pickleseal.keys.roster import Entry, Roster, State

PLAIN = Metadata(content="pickle")
SECRET = bytes(range(32))
BODY = (b"stream", b"x" * 70, b"")


class Whole(NamedTuple):
    """An envelope in its parts."""

    fixed: envelope.Fixed
    head: bytes
    leaves: list[bytes]
    tag: bytes
    segments: list[memoryview]
    paddings: list[memoryview]


def sealed(key: Key, segments: Sequence[bytes] = BODY, metadata: Metadata = PLAIN) -> Whole:
    begun = seal.seal_head(key, metadata, [len(segment) for segment in segments])
    views = [memoryview(segment) for segment in segments]
    paddings = [memoryview(bytes(envelope.padding(len(segment)))) for segment in segments]
    leaves = leaves_of(key.suite, views, paddings)
    return Whole(begun.head.fixed, begun.data, leaves, begun.finish(leaves), views, paddings)


def leaves_of(
    suite: Suite, segments: Sequence[memoryview], paddings: Sequence[memoryview]
) -> list[bytes]:
    pieces = list(source._interleaved(segments, paddings))
    return hashing.leaf_digests(suite, pieces, sum(map(len, pieces)))


def opened(whole: Whole, ring: Keyring) -> seal.Verified:
    head = seal.open_head(whole.fixed, whole.head, ring)
    return seal.accept(head, whole.leaves, whole.tag, whole.segments, whole.paddings)


def tagged(key: Key, head: bytes) -> bytes:
    """Put a genuine header tag behind any head, as a foreign writer with the key could."""
    digest = hashing.head_digest(key.suite, head)
    claim = mac.statement(mac.HEADER, key.suite, key.raw_id, len(head), digest)
    return head + key.mac(claim)


def raw_head(key: Key, metadata: bytes, lengths: Sequence[int] = (5,)) -> Whole:
    """Return a head with any metadata under a valid tag, without a body."""
    head = envelope.pack_head(key.suite, key.raw_id, metadata, lengths)
    return Whole(head.fixed, tagged(key, envelope.head_bytes(head)), [], b"", [], [])


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def revoked(key: Key, *, suite: Suite | None = None) -> Keyring:
    entry = Entry(key.id, suite or key.suite, State.REVOKED)
    return Keyring.of(Roster(1, None, {key.id: entry}), [], name="a ring")


@pytest.fixture(params=list(Suite))
def key(request: pytest.FixtureRequest) -> Key:
    return Key(request.param, Mac(SECRET))


@pytest.fixture
def keys(key: Key) -> Keyring:
    return Keyring(key)


# --- exact bytes -----------------------------------------------------------------------------


def test_both_tags_worked_out_with_the_standard_library() -> None:
    """A whole envelope of suite 1, without a line of pickleseal's own."""

    def tag(label: str, key_id: bytes, length: int, digest: bytes) -> bytes:
        claim = label.encode().ljust(32, b"\0") + struct.pack("<H6x", 1)
        claim += key_id + struct.pack("<Q", length) + digest
        return hmac.digest(SECRET, claim, "sha256")

    def digest(purpose: str, data: bytes) -> bytes:
        name = f"pickleseal/v1/{purpose}".encode()
        return hashlib.sha256(name.ljust(64, b"\0") + data).digest()

    key_id = tag("pickleseal/v1/key-id", bytes(16), 0, bytes(32))[:16]
    metadata = b'{"content":"pickle"}'
    table = struct.pack("<QQQQ", 6, 6, 70, 70)
    body = b"stream".ljust(64, b"\0") + (b"x" * 70).ljust(128, b"\0")
    head_size = 160  # 64, 20 + 12, 32, and 32 zeros
    total = head_size + 32 + len(body) + 32
    head = b"\xa6PSEAL\r\n" + struct.pack("<HHI", 1, 1, 0) + key_id
    head += struct.pack("<IIQH14x", len(metadata), 2, total, 0)
    head = (head + metadata.ljust(32, b"\0") + table).ljust(head_size, b"\0")
    header_tag = tag("pickleseal/v1/header", key_id, head_size, digest("head", head))
    content = digest(
        "root", struct.pack("<QQQ", len(body), 1, 0) + digest("table", table) + digest("leaf", body)
    )
    whole = digest("body", digest("head", head) + content)
    envelope_tag = tag("pickleseal/v1/envelope", key_id, total - 32, whole)

    made = sealed(Key(Suite.SHA256, Mac(SECRET)), [b"stream", b"x" * 70])
    assert made.head == head + header_tag
    assert made.tag == envelope_tag
    payload = opened(made, Keyring(Key(Suite.SHA256, Mac(SECRET))))
    assert payload.content_digest == content
    assert payload.digest == "ps1:" + content.hex()


def test_the_header_tag_is_over_exactly_this_statement(key: Key) -> None:
    begun = seal.seal_head(key, PLAIN, [5])
    head = begun.data[: begun.head.fixed.head_size]
    claim = struct.pack(
        "<32sHHI16sQ32s",
        b"pickleseal/v1/header",
        key.suite.value,
        0,
        0,
        key.raw_id,
        len(head),
        hashing.head_digest(key.suite, head),
    )
    assert begun.data == head + key.mac(claim)
    assert head == envelope.head_bytes(begun.head)


def test_the_envelope_tag_is_over_exactly_this_statement(key: Key) -> None:
    begun = seal.seal_head(key, PLAIN, [5])
    leaves = [bytes([7]) * 32]
    content = hashing.content_digest(key.suite, 64, 0, struct.pack("<QQ", 5, 5), leaves)
    head = hashing.head_digest(key.suite, begun.data[: begun.head.fixed.head_size])
    claim = struct.pack(
        "<32sHHI16sQ32s",
        b"pickleseal/v1/envelope",
        key.suite.value,
        0,
        0,
        key.raw_id,
        begun.head.fixed.total_size - 32,
        hashing.envelope_digest(key.suite, head, content),
    )
    assert begun.finish(leaves) == key.mac(claim)


def test_what_was_sealed_is_what_is_opened(key: Key, keys: Keyring) -> None:
    metadata = Metadata(content="pickle", context="c", serial=3, info={"a": [1, 2.5]})
    whole = sealed(key, metadata=metadata)
    payload = opened(whole, keys)
    assert payload.stored[0] == BODY[0]
    assert [bytes(buffer) for buffer in payload.stored[1:]] == list(BODY[1:])
    assert payload.head.metadata == metadata
    assert payload.head.key is key
    assert payload.head.lengths == (6, 70, 0)
    assert payload.head.fixed == whole.fixed
    assert payload.digest == f"ps{key.suite.value}:{payload.content_digest.hex()}"
    # It vouches for this memory, and not for a copy of it.
    assert payload.stored[0] is whole.segments[0]
    assert all(a is b for a, b in zip(payload.stored[1:], whole.segments[1:], strict=True))


def test_the_content_is_named_alike_under_any_key_and_metadata(key: Key) -> None:
    other = Key.generate(key.suite)
    one = opened(sealed(key), Keyring(key))
    two = opened(sealed(other, metadata=PLAIN._replace(context="c")), Keyring(other))
    assert one.digest == two.digest
    assert one.head.digest != two.head.digest


def test_metadata_that_cannot_be_written_are_refused_before_anything_is_sealed(key: Key) -> None:
    with pytest.raises(MetadataError):
        seal.seal_head(key, Metadata(content="pickle", context="a\nb"), [5])


# --- heads that are refused ------------------------------------------------------------------


def test_every_flipped_bit_of_a_head_is_refused(key: Key, keys: Keyring) -> None:
    whole = sealed(key)
    for bit in range(8 * len(whole.head)):
        with pytest.raises(BadSealError):
            seal.open_head(whole.fixed, flipped(whole.head, bit), keys)


def test_a_head_cut_off_or_with_something_behind_it_is_refused(key: Key, keys: Keyring) -> None:
    whole = sealed(key)
    for data in [*(whole.head[:size] for size in range(len(whole.head))), whole.head + b"\0"]:
        with pytest.raises(BadSealError):
            seal.open_head(whole.fixed, data, keys)


def test_an_envelope_tag_is_no_header_tag_and_the_other_way_round(key: Key, keys: Keyring) -> None:
    whole = sealed(key)
    head, header_tag = whole.head[:-32], whole.head[-32:]
    with pytest.raises(BadSealError):
        seal.open_head(whole.fixed, head + whole.tag, keys)
    with pytest.raises(BadSealError):
        opened(whole._replace(tag=header_tag), keys)


def test_the_header_tag_of_another_key_is_refused(key: Key, keys: Keyring) -> None:
    """One that the ring holds, too: only the key that the head names is ever tried."""
    other = Key.generate(key.suite)
    whole = sealed(key)
    head = whole.head[:-32]
    digest = hashing.head_digest(key.suite, head)
    for named in (key, other):
        claim = mac.statement(mac.HEADER, key.suite, named.raw_id, len(head), digest)
        with pytest.raises(BadSealError):
            seal.open_head(whole.fixed, head + other.mac(claim), Keyring(key, other))


def test_a_key_the_ring_does_not_have_is_unknown(key: Key) -> None:
    whole = sealed(key)
    with pytest.raises(UnknownKeyError):
        seal.open_head(whole.fixed, whole.head, Keyring(Key.generate(key.suite)))


def test_a_revoked_key_opens_nothing(key: Key) -> None:
    whole = sealed(key)
    with pytest.raises(RevokedKeyError):
        seal.open_head(whole.fixed, whole.head, revoked(key))


def test_a_head_that_names_another_suite_than_its_keys_is_refused(key: Key, keys: Keyring) -> None:
    other = next(suite for suite in Suite if suite is not key.suite)
    head = envelope.pack_head(other, key.raw_id, PLAIN.encode(), [5])
    data = tagged(key, envelope.head_bytes(head))
    with pytest.raises(MalformedError):
        seal.open_head(head.fixed, data, keys)


@pytest.mark.parametrize(
    "metadata",
    [
        b"{}",
        b"[]",
        b"\xff\xff",
        b'{"content": "pickle"}',
        b'{"content":"else"}',
        b'{"content":"pickle","unknown":1}',
        b'{"content":"pickle","content":"pickle"}',
    ],
)
def test_a_genuine_head_with_metadata_that_break_the_format_is_refused(
    metadata: bytes, key: Key, keys: Keyring
) -> None:
    whole = raw_head(key, metadata)
    with pytest.raises(MalformedError):
        seal.open_head(whole.fixed, whole.head, keys)


def test_a_genuine_head_whose_layout_breaks_the_format_is_refused(key: Key, keys: Keyring) -> None:
    head = envelope.pack_head(key.suite, key.raw_id, PLAIN.encode(), [5])
    good = envelope.head_bytes(head)
    row = head.fixed.table_start
    breaks = [
        (row - 1, b"\1"),  # the padding of the metadata
        (head.fixed.head_size - 1, b"\1"),  # that of the table
        (row, struct.pack("<QQ", 5, 6)),
        (row, struct.pack("<QQ", 65, 65)),
    ]
    assert not any(good[row - 1 : row] + good[-1:])
    for where, what in breaks:
        bad = good[:where] + what + good[where + len(what) :]
        with pytest.raises(MalformedError):
            seal.open_head(head.fixed, tagged(key, bad), keys)


def test_external_buffers_go_with_one_segment(key: Key, keys: Keyring) -> None:
    metadata = PLAIN._replace(external=External(2, 10, "0" * 64))
    one = sealed(key, [b"stream"], metadata)
    assert opened(one, keys).head.metadata.external == metadata.external
    two = sealed(key, [b"stream", b""], metadata)
    with pytest.raises(MalformedError):
        seal.open_head(two.fixed, two.head, keys)


# --- which refusal comes first ---------------------------------------------------------------


def test_an_unknown_key_comes_before_the_header_tag(key: Key) -> None:
    whole = sealed(key)
    with pytest.raises(UnknownKeyError):
        seal.open_head(whole.fixed, whole.head[:-32] + bytes(32), Keyring(Key.generate(key.suite)))


def test_a_revoked_key_comes_before_the_suite_and_the_header_tag(key: Key) -> None:
    whole = sealed(key)
    other = next(suite for suite in Suite if suite is not key.suite)
    for ring in (revoked(key), revoked(key, suite=other)):
        with pytest.raises(RevokedKeyError):
            seal.open_head(whole.fixed, whole.head[:-32] + bytes(32), ring)


def test_the_suite_comes_before_the_header_tag(key: Key, keys: Keyring) -> None:
    other = next(suite for suite in Suite if suite is not key.suite)
    head = envelope.pack_head(other, key.raw_id, PLAIN.encode(), [5])
    with pytest.raises(MalformedError):
        seal.open_head(head.fixed, envelope.head_bytes(head) + bytes(32), keys)


def test_the_header_tag_comes_before_the_layout_and_the_metadata(
    key: Key, keys: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_json = raw_head(key, b"no JSON")
    layout = raw_head(key, PLAIN.encode())
    layout = layout._replace(head=flipped(layout.head, 8 * (layout.fixed.head_size - 1)))

    def never(*arguments: object) -> None:
        raise AssertionError("nobody vouches for these bytes")

    monkeypatch.setattr(envelope, "parse_head", never)
    monkeypatch.setattr(Metadata, "decode", never)
    for whole in (no_json, layout):
        with pytest.raises(BadSealError):
            seal.open_head(whole.fixed, whole.head[:-32] + bytes(32), keys)


def test_the_envelope_tag_comes_before_the_padding_of_a_segment(key: Key, keys: Keyring) -> None:
    whole = sealed(key)
    dirty = [memoryview(b"\1" * len(zeros)) for zeros in whole.paddings]
    leaves = leaves_of(key.suite, whole.segments, dirty)
    with pytest.raises(BadSealError):
        opened(whole._replace(paddings=dirty, leaves=leaves), keys)


# --- bodies that are refused -----------------------------------------------------------------


def test_every_flipped_bit_of_an_envelope_tag_is_refused(key: Key, keys: Keyring) -> None:
    whole = sealed(key)
    for bit in range(256):
        with pytest.raises(BadSealError):
            opened(whole._replace(tag=flipped(whole.tag, bit)), keys)
    for size in range(32):
        with pytest.raises(BadSealError):
            opened(whole._replace(tag=whole.tag[:size]), keys)


def test_a_genuine_head_with_another_genuine_body_of_the_same_sizes_is_refused(
    key: Key, keys: Keyring
) -> None:
    one = sealed(key, [b"first", b"a" * 70], PLAIN._replace(context="one"))
    two = sealed(key, [b"other", b"b" * 70], PLAIN._replace(context="two"))
    assert (one.fixed, len(one.head)) == (two.fixed, len(two.head))
    for tag in (one.tag, two.tag):
        with pytest.raises(BadSealError):
            opened(two._replace(head=one.head, tag=tag), keys)
        with pytest.raises(BadSealError):
            opened(one._replace(head=two.head, tag=tag), keys)


def test_the_same_body_under_a_head_with_other_metadata_is_refused(key: Key, keys: Keyring) -> None:
    one, two = (sealed(key, metadata=PLAIN._replace(serial=serial)) for serial in (1, 2))
    assert one.leaves == two.leaves
    with pytest.raises(BadSealError):
        opened(one._replace(head=two.head), keys)


def test_bodies_under_one_head_are_told_apart_by_the_envelope_tag_alone(
    key: Key, keys: Keyring
) -> None:
    one, two = sealed(key, [b"first"]), sealed(key, [b"other"])
    assert one.head == two.head
    for whole, tag in ((one, two.tag), (two, one.tag)):
        opened(whole, keys)
        with pytest.raises(BadSealError):
            opened(whole._replace(tag=tag), keys)


def test_leaves_changed_left_out_added_or_in_another_order_are_refused(
    key: Key, keys: Keyring
) -> None:
    whole = sealed(key, [b"a" * (1 << 20), b"b" * (1 << 20), b"c"])
    first, second, third = whole.leaves
    for leaves in (
        [second, first, third],
        [first, second],
        [first, second, third, third],
        [first, second, first],
        [first + second, third],
        [],
    ):
        with pytest.raises(BadSealError):
            opened(whole._replace(leaves=leaves), keys)
    opened(whole, keys)


@pytest.mark.parametrize("lengths", [(6, 70, 1), (7, 70, 0), (6, 0, 70)])
def test_a_body_cut_into_segments_in_another_way_is_refused(
    lengths: tuple[int, ...], key: Key, keys: Keyring
) -> None:
    """Two tables for the very same bytes of a body make two contents."""
    whole = sealed(key)
    head = seal.open_head(whole.fixed, whole.head, keys)
    table = b"".join(struct.pack("<QQ", size, size) for size in lengths)
    other = head._replace(table=table, lengths=lengths)
    with pytest.raises(BadSealError):
        seal.accept(other, whole.leaves, whole.tag, whole.segments, whole.paddings)


def test_padding_of_a_segment_that_was_sealed_and_is_not_zero_is_refused(
    key: Key, keys: Keyring
) -> None:
    begun = seal.seal_head(key, PLAIN, [len(segment) for segment in BODY])
    segments = [memoryview(segment) for segment in BODY]
    for number, size in ((0, 58), (1, 58)):
        for position in (0, size - 1):
            paddings = [bytearray(envelope.padding(len(segment))) for segment in BODY]
            assert len(paddings[number]) == size
            paddings[number][position] = 1
            views = [memoryview(zeros) for zeros in paddings]
            leaves = leaves_of(key.suite, segments, views)
            tag = begun.finish(leaves)
            head = seal.open_head(begun.head.fixed, begun.data, keys)
            with pytest.raises(MalformedError):
                seal.accept(head, leaves, tag, segments, views)


def test_an_envelope_of_empty_segments_has_no_leaf_and_a_seal_all_the_same(
    key: Key, keys: Keyring
) -> None:
    whole = sealed(key, [b"", b""])
    assert whole.leaves == []
    assert bytes(opened(whole, keys).stored[0]) == b""
    with pytest.raises(BadSealError):
        opened(whole._replace(tag=bytes(32)), keys)


def test_a_verified_payload_is_made_by_accept_alone(key: Key, keys: Keyring) -> None:
    """The type is a promise to the type checker; no other function of the room gives one."""
    whole = sealed(key)
    makers = {
        name
        for name, thing in vars(seal).items()
        if callable(thing)
        and "Verified" in str(getattr(thing, "__annotations__", {}).get("return"))
    }
    assert makers == {"accept"}
    head = seal.open_head(whole.fixed, whole.head, keys)
    assert not isinstance(head, seal.Payload)
    assert isinstance(opened(whole, keys), seal.Payload)
