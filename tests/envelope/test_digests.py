"""Digests as text: which texts are one, and of what."""

import pytest

from pickleseal.envelope import digests

HEX = "0123456789abcdef" * 4


def test_the_text_of_a_digest_is_recognised_for_what_it_is_of() -> None:
    content, file = digests.of_content(2, bytes.fromhex(HEX)), digests.of_file(HEX)
    assert (content, file) == (f"ps2:{HEX}", f"sha256:{HEX}")
    assert digests.is_of_content(content)
    assert digests.is_of_file(file)
    assert digests.is_sha256(HEX)
    assert not digests.is_of_content(file)
    assert not digests.is_of_file(content)
    assert not digests.is_sha256(content)


@pytest.mark.parametrize(
    "text",
    [
        f"ps3:{HEX}",
        f"ps1:{HEX.upper()}",
        f"ps1:{HEX}\n",
        f"ps1:{HEX[1:]}",
        f"sha256:{HEX}0",
        f"{HEX}\n",
        "\u0660" * 64,
        None,
        5,
        HEX.encode(),
    ],
)
def test_no_other_value_is_the_text_of_a_digest(text: object) -> None:
    assert not digests.is_of_content(text)
    assert not digests.is_of_file(text)
    assert not digests.is_sha256(text)
