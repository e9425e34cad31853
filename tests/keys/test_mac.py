"""Tags and what they are made over."""

import hashlib
import hmac
import json
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pickleseal import BadSealError, Suite
from pickleseal.keys.mac import ENVELOPE, HEADER, KEY_ID, Mac, statement

CASES = [
    case
    for group in json.loads(
        (Path(__file__).parents[1] / "data" / "wycheproof_hmac_sha256.json").read_text("utf-8")
    )["testGroups"]
    for case in group["tests"]
]

SECRET = bytes(range(32))


# --- statements ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("label", "text"),
    [
        (HEADER, "pickleseal/v1/header"),
        (ENVELOPE, "pickleseal/v1/envelope"),
        (KEY_ID, "pickleseal/v1/key-id"),
    ],
)
@pytest.mark.parametrize(("suite", "number"), [(Suite.SHA256, 1), (Suite.BLAKE3, 2)])
def test_a_statement_is_96_bytes_laid_out_field_by_field(
    label: bytes, text: str, suite: Suite, number: int
) -> None:
    key_id, digest = bytes(range(16)), bytes(range(100, 132))
    length = 0x0102030405060708
    expected = (
        text.encode().ljust(32, b"\0")
        + struct.pack("<H", number)
        + bytes(6)
        + key_id
        + bytes([8, 7, 6, 5, 4, 3, 2, 1])
        + digest
    )
    assert len(expected) == 96
    assert statement(label, suite, key_id, length, digest) == expected


@given(
    st.lists(
        st.tuples(
            st.sampled_from([HEADER, ENVELOPE, KEY_ID]),
            st.sampled_from(Suite),
            st.binary(min_size=16, max_size=16),
            st.integers(0, (1 << 64) - 1),
            st.binary(min_size=32, max_size=32),
        ),
        min_size=2,
        max_size=2,
        unique=True,
    )
)
def test_two_claims_are_never_one_statement(
    claims: list[tuple[bytes, Suite, bytes, int, bytes]],
) -> None:
    one, two = (statement(*claim) for claim in claims)
    assert one != two
    assert len(one) == len(two) == 96


# --- tags ------------------------------------------------------------------------------------


def test_the_cases_are_all_there_genuine_ones_and_changed_ones() -> None:
    assert len(CASES) == 81
    assert {case["result"] for case in CASES} == {"valid", "invalid"}


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case["tcId"]))
def test_each_case_of_wycheproof_is_judged_as_it_should_be(case: dict[str, Any]) -> None:
    mac = Mac(bytes.fromhex(case["key"]))
    message, tag = bytes.fromhex(case["msg"]), bytes.fromhex(case["tag"])
    if case["result"] == "valid":
        assert mac.mac(message) == tag
        mac.check(message, tag)
    else:
        assert mac.mac(message) != tag
        with pytest.raises(BadSealError):
            mac.check(message, tag)


def test_a_tag_is_the_hmac_of_the_standard_library() -> None:
    made = statement(ENVELOPE, Suite.BLAKE3, bytes(16), 7, bytes(32))
    assert Mac(SECRET).mac(made) == hmac.digest(SECRET, made, hashlib.sha256)


def test_one_mac_makes_and_checks_many_tags_and_each_stands_for_itself() -> None:
    mac = Mac(SECRET)
    made = [statement(HEADER, Suite.SHA256, bytes(16), n, bytes(32)) for n in range(20)]
    tags = [mac.mac(one) for one in made]
    assert len(set(tags)) == len(tags)
    for number, one in enumerate(made):
        mac.check(one, tags[number])
        with pytest.raises(BadSealError):
            mac.check(one, tags[number - 1])
    assert [mac.mac(one) for one in made] == tags


def test_a_tag_with_one_bit_flipped_is_refused() -> None:
    mac = Mac(SECRET)
    tag = mac.mac(b"statement")
    for bit in range(256):
        flipped = bytearray(tag)
        flipped[bit // 8] ^= 1 << bit % 8
        try:
            mac.check(b"statement", bytes(flipped))
        except BadSealError:
            continue
        pytest.fail(f"bit {bit} flipped was not noticed")


@pytest.mark.parametrize("size", [*range(32), 33, 64])
def test_a_tag_of_another_size_is_refused(size: int) -> None:
    mac = Mac(SECRET)
    tag = mac.mac(b"statement")
    with pytest.raises(BadSealError):
        mac.check(b"statement", (tag + tag)[:size])


def test_a_tag_of_another_secret_is_refused() -> None:
    with pytest.raises(BadSealError):
        Mac(SECRET).check(b"statement", Mac(SECRET[::-1]).mac(b"statement"))


def test_a_refused_tag_tells_neither_the_tag_nor_what_it_should_be() -> None:
    mac = Mac(SECRET)
    right, wrong = mac.mac(b"statement"), bytes(32)
    with pytest.raises(BadSealError) as caught:
        mac.check(b"statement", wrong)
    shown = str(caught.value)
    assert right.hex() not in shown
    assert wrong.hex() not in shown
    assert caught.value.__cause__ is None


def test_what_cannot_be_a_tag_is_an_error_and_no_verdict() -> None:
    with pytest.raises(TypeError):
        Mac(bytes(32)).check(bytes(96), "text")  # type: ignore[arg-type]
