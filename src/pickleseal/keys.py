"""A key: its suite, its id, and the one line of text that it is kept as.

docs/reference/keys.md, "Key line", is the rule. The secret is in a line of text on its way in
or out and in a `Mac`, nowhere else: a `Key` cannot be shown, copied or pickled into bytes.
"""

import base64
import os
from typing import NoReturn, Self

from pickleseal.errors import KeyringError
from pickleseal.mac import KEY_ID, KEY_ID_SIZE, SECRET_SIZE, TAG_SIZE, Mac, statement
from pickleseal.suite import Suite

PREFIX = "pickleseal-key-1"

_MAX_LINE = 256
_FIELDS = 4


class KeyLine:
    """One line of text with a secret in it. Showing it does not show the secret."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return "<KeyLine: secret>"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a key line is not pickled: it holds a secret")

    def reveal(self) -> str:
        """Give the text, secret and all, for the one who writes it to its file."""
        return self._text

    @classmethod
    def generate(cls, suite: Suite = Suite.BLAKE3) -> Self:
        """Make a line for a new random key of a suite, from the system's own generator."""
        return cls(_format(suite, os.urandom(SECRET_SIZE)))


class Key:
    """A secret that seals and opens envelopes. Whoever holds it can do both.

    Make one with `Key.generate` or `Key.parse`; a keyring's directory is the usual place
    to keep one (`pickleseal keygen`). `id` is 32 hexadecimal digits, derived from the secret and
    the suite, and no secret itself.
    """

    __slots__ = ("_mac", "id", "raw_id", "suite")

    id: str
    raw_id: bytes
    suite: Suite

    def __init__(self, suite: Suite, mac: Mac) -> None:
        self._mac = mac
        self.suite = suite
        self.raw_id = _derive_id(suite, mac)
        self.id = self.raw_id.hex()

    @classmethod
    def generate(cls, suite: Suite = Suite.BLAKE3) -> Self:
        """Make a new random key that lives in this process only.

        `suite`: the algorithms of its envelopes; default Suite.BLAKE3.
        """
        return cls(suite, Mac(os.urandom(SECRET_SIZE)))

    @classmethod
    def parse(cls, line: KeyLine) -> Self:
        """Read a key line; what is wrong with it is raised as KeyringError, without the secret."""
        outcome = _read(line)
        if isinstance(outcome, str):
            raise KeyringError(outcome)
        key = cls(outcome[0], outcome[1])
        if key.id != outcome[2]:
            raise KeyringError(
                f"this key line names the id {outcome[2]} and its secret makes another: it was"
                " changed or cut when it was copied; copy it anew, whole"
            )
        return key

    def mac(self, statement: bytes) -> bytes:
        """Give the tag (32 bytes) of a statement of 96 bytes."""
        return self._mac.mac(statement)

    def check(self, statement: bytes, tag: bytes) -> None:
        """Return if `tag` is that of the statement; else raise BadSealError."""
        self._mac.check(statement, tag)

    def __repr__(self) -> str:
        return f"<Key {self.id}, suite {self.suite.value}>"

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a Key is not pickled: it holds a secret")


def _derive_id(suite: Suite, mac: Mac) -> bytes:
    return mac.mac(statement(KEY_ID, suite, bytes(KEY_ID_SIZE), 0, bytes(TAG_SIZE)))[:KEY_ID_SIZE]


def _format(suite: Suite, secret: bytes) -> str:
    key_id = _derive_id(suite, Mac(secret)).hex()
    return f"{PREFIX}.{suite.value}.{_encode(secret)}.{key_id}"


def _encode(secret: bytes) -> str:
    return base64.urlsafe_b64encode(secret).rstrip(b"=").decode("ascii")


def _read(line: KeyLine) -> tuple[Suite, Mac, str] | str:
    """Give suite, keyed MAC and the id as written, or what is wrong.

    It returns and never raises: a traceback that prints local variables must not find
    the secret in one.
    """
    text = line.reveal().removesuffix("\n")
    if len(text) > _MAX_LINE or not text.isascii():
        return "this is no key line: it is too long, or not plain ASCII"
    fields = text.split(".")
    if fields[0] != PREFIX:
        return f"this is no key line: one begins with {PREFIX}."
    if len(fields) != _FIELDS:
        return f"this key line has {len(fields)} fields instead of {_FIELDS}: copy it anew, whole"
    suite = next((suite for suite in Suite if str(suite.value) == fields[1]), None)
    if suite is None:
        return "this key line is of a suite or kind that this pickleseal does not know"
    try:
        secret = base64.urlsafe_b64decode(fields[2] + "=")
    except ValueError:
        secret = b""
    # Python's decoder skips what it does not know: only the one spelling is taken.
    if len(secret) != SECRET_SIZE or _encode(secret) != fields[2]:
        return "this key line holds no secret of 32 bytes in base64url: copy it anew, whole"
    if len(set(secret)) == 1:
        return "this key line holds no random secret: make a key with pickleseal keygen"
    return suite, Mac(secret), fields[3]
