"""Leaves and digests, held against the hashes themselves."""

import hashlib
import itertools
import struct
from collections.abc import Callable

import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from pickleseal import Suite
from pickleseal.envelope import hashing

MIB = 1 << 20
TABLE = struct.pack("<QQ", 5, 5)


def sha256_of(purpose: str, data: bytes) -> bytes:
    return hashlib.sha256(purpose.encode().ljust(64, b"\0") + data).digest()


def blake3_of(purpose: str, data: bytes) -> bytes:
    return blake3(data, derive_key_context=purpose).digest()


Hash = Callable[[str, bytes], bytes]
both_suites = pytest.mark.parametrize(
    ("suite", "by_hand"), [(Suite.SHA256, sha256_of), (Suite.BLAKE3, blake3_of)]
)


def body_of(size: int) -> bytes:
    """Return bytes in which no two leaves are alike."""
    return hashlib.shake_128(b"body").digest(size)


LONG = body_of(3 * MIB + 17)


def leaves_of(pieces: list[bytes]) -> list[bytes]:
    return [b"".join(leaf) for leaf in hashing.split([memoryview(piece) for piece in pieces])]


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """Cut data at some places; the same place twice makes an empty piece."""
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(edges)]


# --- leaves ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "sizes"),
    [
        (0, []),
        (1, [1]),
        (MIB - 1, [MIB - 1]),
        (MIB, [MIB]),
        (MIB + 1, [MIB, 1]),
        (2 * MIB, [MIB, MIB]),
        (3 * MIB + 17, [MIB, MIB, MIB, 17]),
    ],
)
def test_a_body_is_cut_into_leaves_of_1_mib_and_a_rest(size: int, sizes: list[int]) -> None:
    leaves = leaves_of([LONG[:size]])
    assert [len(leaf) for leaf in leaves] == sizes
    assert b"".join(leaves) == LONG[:size]


@pytest.mark.parametrize("pieces", [[], [b""], [b"", b"", b""]])
def test_an_empty_body_has_no_leaf_however_it_is_made_up(pieces: list[bytes]) -> None:
    assert leaves_of(pieces) == []


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.integers(0, len(LONG))
        | st.sampled_from([0, 1, MIB - 1, MIB, MIB + 1, 2 * MIB, len(LONG) - 1, len(LONG)]),
        max_size=12,
    )
)
def test_the_leaves_are_the_same_however_the_body_is_cut_into_pieces(places: list[int]) -> None:
    assert leaves_of(cut(LONG, places)) == leaves_of([LONG])


@pytest.mark.parametrize("size", [0, 1, MIB - 1, MIB, MIB + 1])
@pytest.mark.parametrize(
    "places", [[1], [0, 0], [MIB - 1], [MIB], [MIB, MIB], [1, 2, 3], [MIB - 1, MIB]]
)
def test_cuts_around_the_end_of_a_leaf_change_nothing(size: int, places: list[int]) -> None:
    data = LONG[:size]
    assert leaves_of(cut(data, places)) == leaves_of([data])


def test_leaves_are_views_and_no_piece_of_one_is_empty() -> None:
    pieces = [bytearray(LONG[: MIB - 1]), bytearray(), bytearray(LONG[:3])]
    leaves = list(hashing.split([memoryview(piece) for piece in pieces]))
    assert [[len(part) for part in leaf] for leaf in leaves] == [[MIB - 1, 1], [2]]
    assert [[part.obj is pieces[0] for part in leaf] for leaf in leaves] == [[True, False], [False]]
    pieces[2][0] ^= 0xFF
    assert leaves[0][1][0] == LONG[0] ^ 0xFF


# --- digests ---------------------------------------------------------------------------------


@both_suites
@pytest.mark.parametrize("size", [0, 1, 64, MIB - 1, MIB])
def test_a_leaf_digest_is_the_hash_of_its_bytes(suite: Suite, by_hand: Hash, size: int) -> None:
    data = LONG[:size]
    expected = by_hand("pickleseal/v1/leaf", data)
    assert hashing.leaf_digest(suite, [memoryview(data)]) == expected
    assert len(expected) == 32


@both_suites
@settings(max_examples=25, deadline=None)
@given(places=st.lists(st.integers(0, 1000), max_size=5))
def test_a_leaf_digest_does_not_depend_on_how_the_leaf_is_cut(
    suite: Suite, by_hand: Hash, places: list[int]
) -> None:
    pieces = [memoryview(piece) for piece in cut(LONG[:1000], places)]
    assert hashing.leaf_digest(suite, pieces) == by_hand("pickleseal/v1/leaf", LONG[:1000])


@both_suites
@pytest.mark.parametrize("count", [0, 1, 2, 7])
def test_a_content_digest_worked_out_by_hand(suite: Suite, by_hand: Hash, count: int) -> None:
    leaves = [by_hand("pickleseal/v1/leaf", bytes([number])) for number in range(count)]
    table = struct.pack("<QQQQ", 5, 5, 1 << 40, 1 << 40)
    expected = by_hand(
        "pickleseal/v1/root",
        struct.pack("<QQQ", 1 << 40, count, 9)
        + by_hand("pickleseal/v1/table", table)
        + b"".join(leaves),
    )
    assert hashing.content_digest(suite, 1 << 40, 9, table, leaves) == expected


@both_suites
def test_head_and_envelope_digests_worked_out_by_hand(suite: Suite, by_hand: Hash) -> None:
    head = by_hand("pickleseal/v1/head", b"a head")
    assert hashing.head_digest(suite, b"a head") == head
    content = bytes(range(32))
    assert hashing.envelope_digest(suite, head, content) == by_hand(
        "pickleseal/v1/body", head + content
    )


@pytest.mark.parametrize("suite", list(Suite))
def test_a_content_digest_changes_with_each_thing_that_goes_into_it(suite: Suite) -> None:
    one, two, three = (bytes([number]) * 32 for number in (1, 2, 3))
    digests = [
        hashing.content_digest(suite, 128, 0, TABLE, [one, two]),
        hashing.content_digest(suite, 192, 0, TABLE, [one, two]),
        hashing.content_digest(suite, 128, 1, TABLE, [one, two]),
        hashing.content_digest(suite, 128, 0, struct.pack("<QQ", 6, 6), [one, two]),
        hashing.content_digest(suite, 128, 0, TABLE * 2, [one, two]),
        hashing.content_digest(suite, 128, 0, b"", [one, two]),
        hashing.content_digest(suite, 128, 0, TABLE, [two, one]),
        hashing.content_digest(suite, 128, 0, TABLE, [one, three]),
        hashing.content_digest(suite, 128, 0, TABLE, [one, two, three]),
        hashing.content_digest(suite, 128, 0, TABLE, [one, two, two]),
        hashing.content_digest(suite, 128, 0, TABLE, [one]),
        hashing.content_digest(suite, 128, 0, TABLE, []),
        hashing.content_digest(suite, 128, 0, TABLE, [one + two]),  # the count is hashed too
    ]
    assert len(set(digests)) == len(digests)


@pytest.mark.parametrize("suite", list(Suite))
def test_the_same_bytes_for_two_purposes_have_two_digests(suite: Suite) -> None:
    half = bytes(32)
    digests = {
        hashing.leaf_digest(suite, [memoryview(half + half)]),
        hashing.head_digest(suite, half + half),
        hashing.envelope_digest(suite, half, half),
    }
    assert len(digests) == 3


def test_the_two_suites_share_no_digest() -> None:
    for one, two in zip(
        *(
            (
                hashing.leaf_digest(suite, [memoryview(b"data")]),
                hashing.head_digest(suite, b"data"),
                hashing.content_digest(suite, 0, 0, TABLE, []),
                hashing.envelope_digest(suite, bytes(32), bytes(32)),
            )
            for suite in (Suite.SHA256, Suite.BLAKE3)
        ),
        strict=True,
    ):
        assert one != two


@pytest.mark.parametrize("suite", list(Suite))
def test_a_digest_leaves_nothing_behind_for_the_next(suite: Suite) -> None:
    first = hashing.leaf_digest(suite, [memoryview(b"data")])
    hashing.leaf_digest(suite, [memoryview(b"other")])
    assert hashing.leaf_digest(suite, [memoryview(b"data")]) == first
