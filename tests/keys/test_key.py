"""Keys and their text."""

import base64
import errno
import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pickleseal import BadSealError, Key, Keyring, KeyringError, Suite, signed_dump
from pickleseal.keys.key import MAX_LINE, Form, KeyLine, encode, id_mac, outline
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


def line_of_secret(secret: bytes) -> KeyLine:
    """Return a line whose id is that of its secret."""
    key_id = id_mac(Suite.BLAKE3, Mac(secret))[:16].hex()
    return KeyLine.of(Suite.BLAKE3, secret, key_id)


@pytest.mark.parametrize("size", [0, 1, 16, 31, 33, 64])
def test_a_secret_of_another_size_is_refused_though_its_id_is_right(size: int) -> None:
    with pytest.raises(KeyringError):
        Key.parse(line_of_secret(bytes(range(size))))
    assert Key.parse(line_of_secret(SECRET))


@pytest.mark.parametrize("byte", [b"\0", b"\xff", b"a"])
def test_a_secret_of_equal_bytes_is_refused_though_its_id_is_right(byte: bytes) -> None:
    with pytest.raises(KeyringError):
        Key.parse(line_of_secret(byte * 32))


def test_a_field_of_another_form_is_not_taken_for_the_secret() -> None:
    key = Key.parse(line_of_secret(SECRET))
    line = f"pickleseal-key-1.2-ext.{encode(SECRET)}.{encode(b'x')}.{encode(bytes(32))}.{key.id}"
    assert outline(KeyLine(line)).form is Form.EXTERNAL
    with pytest.raises(KeyringError):
        Key.parse(KeyLine(line))


def test_a_line_is_of_ascii_and_of_a_bounded_size() -> None:
    def line(provider: str, size: int) -> KeyLine:
        tag, key_id = encode(bytes(32)), "0" * 32
        return KeyLine(f"pickleseal-key-1.2-ext.{provider}.{'a' * size}.{tag}.{key_id}")

    fixed = len(line("x", 0).reveal())
    assert outline(line("x", MAX_LINE - fixed)).form is Form.EXTERNAL
    for wrong in (line("x", MAX_LINE - fixed + 1), line("\xe4", 4)):
        with pytest.raises(KeyringError):
            outline(wrong)


class Unreachable:
    """The holder of a key that is known, and out of reach by the time it is to seal."""

    reachable = True
    check = Mac(SECRET).check

    def mac(self, statement: bytes) -> bytes:
        if not self.reachable:
            raise TimeoutError(errno.ETIMEDOUT, "Connection timed out")
        return Mac(SECRET).mac(statement)


def test_a_key_out_of_reach_is_no_error_of_the_file(tmp_path: Path) -> None:
    holder = Unreachable()
    ring = Keyring(Key(Suite.BLAKE3, holder))
    holder.reachable = False
    with pytest.raises(KeyringError, match=f"key {KNOWN[Suite.BLAKE3]} .*timed out"):
        signed_dump([1], tmp_path / "it.pkl", keyring=ring)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suite", ["9", "0", "", "2-", "2-other", "9-scrypt", "x"])
def test_a_line_of_an_unknown_suite_or_form_is_told(suite: str) -> None:
    known = KeyLine.generate().reveal()
    for text in (f"pickleseal-key-1.{suite}.{known.partition('.2.')[2]}", "pickleseal-key-1"):
        with pytest.raises(KeyringError, match="does not know"):
            outline(KeyLine(text))


def test_a_key_and_its_line_leave_the_process_in_no_pickle() -> None:
    line = KeyLine(f"pickleseal-key-1.2.{encode(SECRET)}.{KNOWN[Suite.BLAKE3]}")
    key = Key.parse(line)
    for thing in (line, key):
        with pytest.raises(TypeError, match="cannot be pickled"):
            pickle.dumps(thing)
    with pytest.raises(AttributeError, match="cannot be changed"):
        key.id = "other"
    with pytest.raises(AttributeError, match="cannot be changed"):
        del key.id


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.EIO, "Input/output error"), "used: Input/output error$"),
        (OSError("no route"), "used: no route$"),
    ],
)
def test_a_holder_that_fails_is_told_by_its_reason(error: OSError, said: str) -> None:
    class Failing:
        def mac(self, statement: bytes) -> bytes:
            raise error

        def check(self, statement: bytes, tag: bytes) -> None:
            raise error

    with pytest.raises(KeyringError, match=said):
        Key.held(Suite.BLAKE3, "1" * 32, Failing()).mac(bytes(96))
