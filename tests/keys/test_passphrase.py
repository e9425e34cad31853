"""Key lines behind a passphrase."""

import os
import pickle
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from pickleseal import Key, KeyringError, Suite, WrongPassphraseError
from pickleseal.keys.key import KeyLine, decode, encode
from pickleseal.keys.passphrase import Passphrase, lock, unlock, unwrap, wrap

LOW = 14
"""The lowest cost that is read: the tests have no time for a higher one."""
SALT = bytes(range(16))
SECRET = bytes(range(32))
IDS = {
    Suite.SHA256: "45b1aed04de7a4004e730722f7ed75e2",
    Suite.BLAKE3: "2c0abba4d7207b23347f7eeb6b697b9d",
}


def plain(suite: Suite = Suite.BLAKE3) -> KeyLine:
    return KeyLine.of(suite, SECRET, IDS[suite])


@pytest.fixture(scope="module")
def wrapped() -> KeyLine:
    return wrap(plain(), Passphrase("correct horse"), salt=SALT, log2_n=LOW)


@pytest.mark.parametrize("suite", list(Suite))
def test_what_was_wrapped_is_unwrapped(suite: Suite) -> None:
    line = wrap(plain(suite), Passphrase("correct horse"), salt=SALT, log2_n=LOW)
    assert line.reveal().startswith(f"pickleseal-key-1.{suite.value}-scrypt.")
    assert encode(SECRET) not in line.reveal()
    assert unwrap(line, Passphrase("correct horse")).reveal() == plain(suite).reveal()


def test_a_line_is_made_as_the_reference_says(wrapped: KeyLine) -> None:
    """By hand, from the text of docs/reference/keys.md."""
    prefix, suite, salt, cost, box, key_id = wrapped.reveal().split(".")
    assert (prefix, suite, cost, key_id) == (
        "pickleseal-key-1",
        "2-scrypt",
        "14",
        IDS[Suite.BLAKE3],
    )
    key = Scrypt(salt=decode(salt) or b"", length=32, n=2**14, r=8, p=1).derive(b"correct horse")
    data = decode(box) or b""
    header = f"{prefix}.{suite}.{salt}.{cost}..{key_id}".encode()
    assert AESGCM(key).decrypt(data[:12], data[12:], header) == SECRET


def test_another_passphrase_does_not_open_it(wrapped: KeyLine) -> None:
    for text in ("", "Correct horse", "correct horse ", "correct  horse", "x"):
        with pytest.raises(WrongPassphraseError):
            unwrap(wrapped, Passphrase(text))


def test_a_passphrase_is_the_same_however_it_is_spelled_and_ended(wrapped: KeyLine) -> None:
    for text in ("correct horse\n", "correct horse\r\n"):
        assert unwrap(wrapped, Passphrase(text)).reveal() == plain().reveal()
    accented = wrap(plain(), Passphrase("caf\u00e9 au lait"), salt=SALT, log2_n=LOW)
    assert unwrap(accented, Passphrase("cafe\u0301 au lait")).reveal() == plain().reveal()


def test_two_boxes_of_one_key_differ_though_they_share_a_salt() -> None:
    passphrase = Passphrase("correct horse")
    one, two = (wrap(plain(), passphrase, salt=SALT, log2_n=LOW) for _ in range(2))
    assert one.reveal() != two.reveal()


def test_a_line_with_any_field_changed_is_refused(wrapped: KeyLine) -> None:
    fields = wrapped.reveal().split(".")
    other = wrap(plain(Suite.SHA256), Passphrase("correct horse"), salt=SALT, log2_n=LOW)
    changes = {
        "another suite": (1, "1-scrypt"),
        "another salt": (2, encode(bytes(16))),
        "a short salt": (2, encode(bytes(15))),
        "another cost": (3, "15"),
        "a cost with a zero": (3, "014"),
        "a cost that is none": (3, "x"),
        "another's box": (4, other.reveal().split(".")[4]),
        "a short box": (4, fields[4][:-2]),
        "a box with a foreign character": (4, "*" + fields[4]),
        "another id": (5, "0" * 32),
        "an id in capitals": (5, fields[5].upper()),
    }
    for place, text in changes.values():
        changed = [*fields[:place], text, *fields[place + 1 :]]
        with pytest.raises(KeyringError):
            unwrap(KeyLine(".".join(changed)), Passphrase("correct horse"))
    for extra in (wrapped.reveal() + ".", wrapped.reveal().replace("-scrypt", "-scrypt2")):
        with pytest.raises(KeyringError):
            unwrap(KeyLine(extra), Passphrase("correct horse"))


@pytest.mark.parametrize("cost", [0, 1, 13, 21, 30, 63, 10**20])
def test_a_cost_out_of_bounds_is_refused_before_anything_is_allocated(
    cost: int, wrapped: KeyLine
) -> None:
    fields = wrapped.reveal().split(".")
    line = KeyLine(".".join([*fields[:3], str(cost), *fields[4:]]))
    tracemalloc.start()
    try:
        with pytest.raises(KeyringError):
            unwrap(line, Passphrase("correct horse"))
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_a_line_of_another_kind_is_not_unwrapped() -> None:
    with pytest.raises(KeyringError):
        unwrap(plain(), Passphrase("correct horse"))


def test_only_the_secret_itself_is_read_as_a_key(wrapped: KeyLine) -> None:
    with pytest.raises(KeyringError):
        Key.parse(wrapped)


@pytest.mark.parametrize("place", [2, 4])
@pytest.mark.parametrize("change", ["shorter", "longer", "foreign"])
def test_a_damaged_line_is_not_told_as_a_wrong_passphrase(
    place: int, change: str, wrapped: KeyLine
) -> None:
    fields = wrapped.reveal().split(".")
    data = decode(fields[place]) or b""
    fields[place] = {
        "shorter": encode(data[:-1]),
        "longer": encode(data + b"x"),
        "foreign": f"*{fields[place]}",
    }[change]
    with pytest.raises(KeyringError) as caught:
        unwrap(KeyLine(".".join(fields)), Passphrase("correct horse"))
    assert caught.type is KeyringError


def test_new_boxes_take_the_full_cost(ring_directory: Path) -> None:
    """In a new interpreter: everywhere else, the tests lower it."""
    env = {
        **os.environ,
        "PICKLESEAL_KEYRING": str(ring_directory),
        "PICKLESEAL_PASSPHRASE": "correct horse",
        "PICKLESEAL_NEW_PASSPHRASE": "correct horse",
    }
    for command in (["protect"], ["backup", str(ring_directory / "backup")]):
        words = [sys.executable, "-m", "pickleseal", "keys", *command]
        subprocess.run(words, env=env, check=True, capture_output=True)
    (file,) = ring_directory.glob("*.key")
    assert file.read_text().split(".")[3] == "17"
    assert (ring_directory / "backup").read_text().split(".")[2] == "17"


LITTLE_MEMORY = """
import resource, sys
from pickleseal import KeyringError
from pickleseal.keys.key import KeyLine
from pickleseal.keys.passphrase import Passphrase, lock, unlock, unwrap, wrap

line = wrap(KeyLine.generate(), Passphrase("x"), salt=bytes(16), log2_n=14)
fields = line.reveal().split(".")
dear = KeyLine(".".join([*fields[:3], "20", *fields[4:]]))
resource.setrlimit(resource.RLIMIT_AS, (700 << 20, 700 << 20))
for act in (
    lambda: unwrap(dear, Passphrase("x")),
    lambda: wrap(KeyLine.generate(), Passphrase("x"), salt=bytes(16), log2_n=20),
):
    try:
        act()
    except KeyringError as error:
        print(type(error).__name__, "1024 MiB" in str(error))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not hold the limit")
def test_too_little_memory_for_a_passphrase_is_told_as_that() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LITTLE_MEMORY], capture_output=True, text=True, check=True
    )
    assert done.stdout.split("\n") == ["KeyringError True"] * 2 + [""]


HEAD = "head"


@pytest.fixture(scope="module")
def locked() -> str:
    return lock(HEAD, lambda: "content", Passphrase("correct horse"), salt=SALT, log2_n=LOW)


def test_a_locked_text_is_unlocked_by_its_passphrase_alone(locked: str) -> None:
    assert unlock(HEAD, locked, Passphrase("correct horse")).reveal() == "content"
    for text, passphrase in (
        (locked, "wrong"),
        (f"{locked[:-4]}AAAA", "correct horse"),
        (locked.replace(encode(SALT), encode(SALT[::-1])), "correct horse"),
    ):
        with pytest.raises(WrongPassphraseError, match="does not open it"):
            unlock(HEAD, text, Passphrase(passphrase))


@pytest.mark.parametrize(
    ("number", "field", "told"),
    [
        (0, "other", "does not begin with head"),
        (1, "*", "damaged, or cut off"),
        (1, encode(SALT[:-1]), "damaged, or cut off"),
        (1, f"{encode(SALT)}.1", "damaged, or cut off"),
        (2, "40", "cost is out of bounds"),
        (2, "014", "cost is out of bounds"),
        (3, "*", "damaged, or cut off"),
        (3, encode(bytes(12)), "damaged, or cut off"),
        (3, "", "damaged, or cut off"),
    ],
)
def test_a_damaged_locked_text_is_told_as_that(
    number: int, field: str, told: str, locked: str
) -> None:
    fields = locked.split(".")
    fields[number] = field
    with pytest.raises(KeyringError, match=told) as caught:
        unlock(HEAD, ".".join(fields), Passphrase("correct horse"))
    assert not isinstance(caught.value, WrongPassphraseError)


def test_a_passphrase_is_one_line_with_something_in_it() -> None:
    for text, is_one in (
        ("a b", True),
        ("", False),
        ("  ", False),
        ("a\nb", False),
        ("a\rb", False),
    ):
        assert Passphrase(text).is_one_line is is_one
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(Passphrase("a"))
