"""Keys and their text."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pickleseal import (
    BadSealError,
    Key,
    KeyringError,
    Suite,
)
from pickleseal.keys.key import KeyLine
from pickleseal.keys.mac import Mac

SECRET = bytes(range(32))
KNOWN = {
    Suite.SHA256: "45b1aed04de7a4004e730722f7ed75e2",
    Suite.BLAKE3: "2c0abba4d7207b23347f7eeb6b697b9d",
}


@pytest.mark.parametrize("suite", list(Suite))
def test_an_id_follows_from_the_secret_and_the_suite(suite: Suite) -> None:
    assert Key(suite, Mac(SECRET)).id == KNOWN[suite]


@pytest.mark.parametrize("suite", list(Suite))
def test_a_line_holds_prefix_suite_secret_and_id(suite: Suite) -> None:
    text = base64.urlsafe_b64encode(SECRET).decode().rstrip("=")
    key = Key.parse(KeyLine(f"pickleseal-key-1.{suite.value}.{text}.{KNOWN[suite]}\n"))
    assert (key.suite, key.id, key.raw_id.hex()) == (suite, KNOWN[suite], KNOWN[suite])


@pytest.mark.parametrize("suite", list(Suite))
def test_a_generated_line_reads_back(suite: Suite) -> None:
    line = KeyLine.generate(suite)
    key = Key.parse(line)
    assert key.suite is suite
    assert line.reveal().endswith(key.id)
    assert Key.parse(KeyLine.generate(suite)).id != key.id


def test_a_key_checks_what_it_made_and_nothing_else() -> None:
    key, other = Key.generate(), Key.generate()
    tag = key.mac(b"statement")
    key.check(b"statement", tag)
    for statement, wrong in [(b"statemenu", tag), (b"statement", tag[:-1]), (b"statement", b"")]:
        with pytest.raises(BadSealError):
            key.check(statement, wrong)
    with pytest.raises(BadSealError):
        other.check(b"statement", tag)


@given(st.text(max_size=300))
def test_no_text_but_a_key_line_is_one(text: str) -> None:
    with pytest.raises(KeyringError):
        Key.parse(KeyLine(text))


@given(st.integers(0, 130), st.characters(codec="ascii"))
def test_a_line_with_one_character_changed_is_refused(place: int, character: str) -> None:
    line = KeyLine.generate().reveal()
    changed = line[:place] + character + line[place + 1 :]
    if changed not in (line, line + "\n"):
        with pytest.raises(KeyringError):
            Key.parse(KeyLine(changed))
