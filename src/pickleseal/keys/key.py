"""A key: its suite, its id, and the one line of text that it is kept as.

docs/reference/keys.md, "Key line", is the rule. The secret is in a line of text on its way in
or out and in a `Mac`, nowhere else: a `Key` cannot be shown, copied or pickled into bytes.
"""

import base64
import os
import re
from enum import StrEnum
from typing import NamedTuple, NoReturn, Protocol, Self

from pickleseal.errors import KEY_PREFIX, KeyringError
from pickleseal.keys.mac import (
    KEY_ID,
    KEY_ID_SIZE,
    SECRET_SIZE,
    TAG_SIZE,
    Mac,
    statement,
)
from pickleseal.keys.suite import Suite

MAX_LINE = 2048

_QUOTES = ('"', "'", "`")
_QUOTED = (
    "this key line stands in quotation marks: give the line alone, without them (an env"
    " file of Docker takes them as a part of the value)"
)
_SHELL_WORDS = ("export", "set", "setx", "declare")
_ID = re.compile(r"[0-9a-f]{32}", re.ASCII)


class Form(StrEnum):
    """What stands in a key line: the secret, the secret behind a passphrase, or where it is."""

    PLAIN = "plain"
    SCRYPT = "scrypt"
    EXTERNAL = "ext"


_FIELDS = {Form.PLAIN: 4, Form.SCRYPT: 6, Form.EXTERNAL: 6}


class Holder(Protocol):
    """What makes and checks the tags of one key: a `Mac`, or one who keeps the key elsewhere."""

    def mac(self, statement: bytes, /) -> bytes:
        """Give the tag (32 bytes) of a statement of 96 bytes."""

    def check(self, statement: bytes, tag: bytes, /) -> None:
        """Return if `tag` is that of the statement; else raise BadSealError."""


class KeyLine:
    """One line of text with a secret in it. Showing it does not show the secret.

    One final line feed is dropped.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text.removesuffix("\n")

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

    @classmethod
    def of(cls, suite: Suite, secret: bytes, key_id: str) -> Self:
        """Make the plain line of a secret; that the id is its own shows when it is read."""
        return cls(f"{KEY_PREFIX}.{suite.value}.{encode(secret)}.{key_id}")


class Key:
    """A secret that seals and opens envelopes. Whoever holds it can do both.

    Make one with `Key.generate` or `Key.parse`; a keyring's directory is the usual place
    to keep one (`pickleseal keygen`). `id` is 32 hexadecimal digits, derived from the secret and
    the suite, and no secret itself.
    """

    __slots__ = ("_holder", "id", "raw_id", "suite")

    id: str
    raw_id: bytes
    suite: Suite
    _holder: Holder

    def __init__(self, suite: Suite, holder: Holder) -> None:
        self._set(suite, id_mac(suite, holder)[:KEY_ID_SIZE], holder)

    @classmethod
    def held(cls, suite: Suite, key_id: str, holder: Holder) -> Self:
        """Make a key whose holder is asked at its first use, and must then prove the id."""
        key = cls.__new__(cls)
        key._set(suite, bytes.fromhex(key_id), holder)  # noqa: SLF001 - its own
        return key

    def _set(self, suite: Suite, raw_id: bytes, holder: Holder) -> None:
        put = object.__setattr__
        put(self, "_holder", holder)
        put(self, "suite", suite)
        put(self, "raw_id", raw_id)
        put(self, "id", raw_id.hex())

    @classmethod
    def generate(cls, suite: Suite = Suite.BLAKE3) -> Self:
        """Make a new random key that lives in this process only.

        `suite`: the algorithms of its envelopes; default Suite.BLAKE3.
        """
        return cls(suite, Mac(os.urandom(SECRET_SIZE)))

    @classmethod
    def parse(cls, line: KeyLine) -> Self:
        """Read a plain key line; what is wrong is raised as KeyringError, without the secret."""
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
        return self._holder.mac(statement)

    def check(self, statement: bytes, tag: bytes) -> None:
        """Return if `tag` is that of the statement; else raise BadSealError."""
        self._holder.check(statement, tag)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError("a Key does not change")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError("a Key does not change")

    def __repr__(self) -> str:
        return f"<Key {self.id}, suite {self.suite.value}>"

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a Key is not pickled: it holds a secret")


class Outline(NamedTuple):
    """What a key line says beside its secret. `fields` is empty for a plain line."""

    suite: Suite
    form: Form
    fields: tuple[str, ...]
    id: str


def outline(line: KeyLine) -> Outline:
    """Tell what a key line is, without opening it. Raises KeyringError for what is none."""
    found = _outline(line)
    if isinstance(found, str):
        raise KeyringError(found)
    return found


def id_statement(suite: Suite) -> bytes:
    """Give the statement whose tag a key's id is taken from."""
    return statement(KEY_ID, suite, bytes(KEY_ID_SIZE), 0, bytes(TAG_SIZE))


def id_mac(suite: Suite, holder: Holder) -> bytes:
    """Give the tag (32 bytes) that begins with a key's id."""
    return holder.mac(id_statement(suite))


def line_of(suite: Suite, form: Form, fields: tuple[str, ...], key_id: str) -> str:
    """Write a line that is not plain: its fields between the suite's and the id."""
    return ".".join((KEY_PREFIX, f"{suite.value}-{form.value}", *fields, key_id))


def encode(data: bytes) -> str:
    """Give bytes as a field of a key line: base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def decode(field: str) -> bytes | None:
    """Give the bytes of a field, or None: only the one spelling of them is taken."""
    try:
        data = base64.urlsafe_b64decode(field + "=" * (-len(field) % 4))
    except ValueError:
        return None
    # Python's decoder skips what it does not know: several texts would stand for one key.
    return data if encode(data) == field else None


def _format(suite: Suite, secret: bytes) -> str:
    key_id = id_mac(suite, Mac(secret))[:KEY_ID_SIZE].hex()
    return f"{KEY_PREFIX}.{suite.value}.{encode(secret)}.{key_id}"


def _outline(line: KeyLine) -> Outline | str:
    """Give what a line says of itself, or what is wrong. As `_read`, it never raises."""
    text = line.reveal()
    if len(text) > MAX_LINE or not text.isascii():
        return "this is no key line: it is too long, or not plain ASCII"
    fields = text.split(".")
    if fields[0] != KEY_PREFIX:
        return _in_front(text.partition(KEY_PREFIX)[0]) if KEY_PREFIX in text else _no_line(text)
    number, _, form_name = (fields[1] if len(fields) > 1 else "").partition("-")
    suite = next((suite for suite in Suite if str(suite.value) == number), None)
    forms = {f.value: f for f in (Form.SCRYPT, Form.EXTERNAL)}
    plain = len(fields) > 1 and fields[1] == number
    form = Form.PLAIN if plain else forms.get(form_name)
    if suite is None or form is None:
        return "this key line is of a suite or kind that this pickleseal does not know"
    if len(fields) != _FIELDS[form]:
        return (
            f"this key line has {len(fields)} fields instead of {_FIELDS[form]}: copy it anew,"
            " whole"
        )
    if fields[-1].endswith(_QUOTES):
        return _QUOTED
    if not _ID.fullmatch(fields[-1]):
        return "this key line does not end with an id of 32 hexadecimal digits: copy it anew, whole"
    # The secret of a plain line stays in the line.
    return Outline(suite, form, () if form is Form.PLAIN else tuple(fields[2:-1]), fields[-1])


def _in_front(text: str) -> str:
    """Return what is wrong with a line that has `text` in front of its prefix."""
    name = text.rstrip("".join(_QUOTES))
    if name.endswith("="):
        return (
            "the name of a variable stands in front of this key line: give the line alone, from"
            f" {KEY_PREFIX} to the end of its id"
        )
    return _no_line(text) if name else _QUOTED


def _no_line(text: str) -> str:
    if text in _SHELL_WORDS:
        return (
            f"the word {text} stands in front of the key line: give the line alone, as it is"
            " without the shell's command"
        )
    return f"this is no key line: one begins with {KEY_PREFIX}."


def _read(line: KeyLine) -> tuple[Suite, Mac, str] | str:
    """Give suite, keyed MAC and the id as written, or what is wrong.

    It returns and never raises: a traceback that prints local variables must not find
    the secret in one.
    """
    found = _outline(line)
    if isinstance(found, str):
        return found
    if found.form is not Form.PLAIN:
        return "this key line does not hold the secret itself, and only one that does will do here"
    secret = decode(line.reveal().split(".")[2]) or b""
    if len(secret) != SECRET_SIZE:
        return "this key line holds no secret of 32 bytes in base64url: copy it anew, whole"
    if len(set(secret)) == 1:
        return "this key line holds no random secret: make a key with pickleseal keygen"
    return found.suite, Mac(secret), found.id
