"""A key: its suite, its id, and the line of text that stores it.

See "Key line" in docs/reference/keys.md. The secret is only in a `KeyLine` and in a `Mac`: a `Key`
cannot be printed, copied or pickled into bytes.
"""

import base64
import os
import re
from enum import StrEnum
from typing import NamedTuple, NoReturn, Protocol, Self

from pickleseal.errors import KEY_PREFIX, KeyringError
from pickleseal.keys.mac import KEY_ID, KEY_ID_SIZE, SECRET_SIZE, TAG_SIZE, Mac, statement
from pickleseal.keys.suite import Suite

MAX_LINE = 2048

_QUOTES = ('"', "'", "`")
_QUOTED = (
    "this key line is in quotation marks: give the line without them (in an env file of"
    " Docker they are part of the value)"
)
_SHELL_WORDS = ("export", "set", "setx", "declare")
_BASE64 = "cGlja2xlc2VhbC1rZXktM"
"""The beginning of a key line in base64."""
_FIELD = re.compile(r"[A-Za-z0-9_-]*", re.ASCII)
_ID = re.compile(r"[0-9a-f]{32}", re.ASCII)


class Form(StrEnum):
    """The form of a key line: the secret, the encrypted secret, or a reference to it."""

    PLAIN = "plain"
    SCRYPT = "scrypt"
    EXTERNAL = "ext"


_FIELDS = {Form.PLAIN: 4, Form.SCRYPT: 6, Form.EXTERNAL: 6}


class Holder(Protocol):
    """Makes and checks the tags of one key: a `Mac`, or a provider that holds the key."""

    def mac(self, statement: bytes, /) -> bytes:
        """Return the tag (32 bytes) of a statement of 96 bytes."""

    def check(self, statement: bytes, tag: bytes, /) -> None:
        """Raise BadSealError if `tag` is not that of the statement."""


class KeyLine:
    """One line of text with a secret, which its `repr` does not show.

    One final line feed is dropped.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text.removesuffix("\n")

    def __repr__(self) -> str:
        return "<KeyLine: secret>"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a key line cannot be pickled: it holds a secret")

    def reveal(self) -> str:
        """Return the text with the secret, to be written to a file."""
        return self._text

    @classmethod
    def generate(cls, suite: Suite = Suite.BLAKE3) -> Self:
        """Return the line of a new random key, from the system's random generator."""
        secret = os.urandom(SECRET_SIZE)
        return cls.of(suite, secret, id_mac(suite, Mac(secret))[:KEY_ID_SIZE].hex())

    @classmethod
    def of(cls, suite: Suite, secret: bytes, key_id: str) -> Self:
        """Return the plain line of a secret. The id is checked when the line is read."""
        return cls(f"{KEY_PREFIX}.{suite.value}.{encode(secret)}.{key_id}")


class Key:
    """A secret that seals and opens envelopes. Whoever has it can do both.

    Keys usually live in a keyring's directory: see `pickleseal keygen` and `open_keyring`.
    `Key.generate` makes one for this process only.

    Notes
    -----
    A key cannot be changed, printed or pickled. See "Key line" in docs/reference/keys.md.

    Examples
    --------
    >>> from pickleseal import Key, Keyring, signed_dumps, signed_loads
    >>> ring = Keyring(Key.generate())
    >>> signed_loads(signed_dumps([1, 2], keyring=ring), keyring=ring)
    [1, 2]
    """

    __slots__ = ("_holder", "id", "raw_id", "suite")

    id: str
    """32 hexadecimal digits, derived from the secret and the suite; not secret."""
    raw_id: bytes
    """The id as 16 bytes."""
    suite: Suite
    """The algorithms of its envelopes."""
    _holder: Holder

    def __init__(self, suite: Suite, holder: Holder) -> None:
        self._set(suite, id_mac(suite, holder)[:KEY_ID_SIZE], holder)

    @classmethod
    def held(cls, suite: Suite, key_id: str, holder: Holder) -> Self:
        """Return a key whose holder is fetched at its first use, and must then prove the id."""
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
        """Return a new random key for this process only.

        Parameters
        ----------
        suite : Suite, default Suite.BLAKE3
            The algorithms of its envelopes.

        Returns
        -------
        Key
            The new key.

        Examples
        --------
        >>> from pickleseal import Key, Suite
        >>> len(Key.generate(Suite.SHA256).id)
        32
        """
        return cls(suite, Mac(os.urandom(SECRET_SIZE)))

    @classmethod
    def parse(cls, line: KeyLine) -> Self:
        """Return the key of a plain line, or raise KeyringError, without the secret in it."""
        outcome = _read(line)
        if isinstance(outcome, str):
            raise KeyringError(outcome)
        key = cls(outcome[0], outcome[1])
        if key.id != outcome[2]:
            raise KeyringError(
                f"this key line names the id {outcome[2]}, but its secret has another one: the line"
                " was changed or cut off when it was copied. Copy all of it again"
            )
        return key

    def mac(self, statement: bytes) -> bytes:
        """Return the tag (32 bytes) of a statement of 96 bytes."""
        try:
            return self._holder.mac(statement)
        except OSError as error:  # or a dump would blame it on its file
            reason = error.strerror or error
            raise KeyringError(f"key {self.id} cannot be used: {reason}") from error

    def check(self, statement: bytes, tag: bytes) -> None:
        """Raise BadSealError if `tag` is not that of the statement."""
        self._holder.check(statement, tag)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError("a Key cannot be changed")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError("a Key cannot be changed")

    def __repr__(self) -> str:
        return f"<Key {self.id}, suite {self.suite.value}>"

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a Key cannot be pickled: it holds a secret")


class Outline(NamedTuple):
    """The parts of a key line that are not secret. `fields` is empty for a plain line."""

    suite: Suite
    form: Form
    fields: tuple[str, ...]
    id: str


def outline(line: KeyLine) -> Outline:
    """Return the parts of a key line that are not secret, or raise KeyringError."""
    found = _outline(line)
    if isinstance(found, str):
        raise KeyringError(found)
    return found


def id_statement(suite: Suite) -> bytes:
    """Return the statement whose tag begins with a key's id."""
    return statement(KEY_ID, suite, bytes(KEY_ID_SIZE), 0, bytes(TAG_SIZE))


def id_mac(suite: Suite, holder: Holder) -> bytes:
    """Return the tag (32 bytes) that begins with a key's id."""
    return holder.mac(id_statement(suite))


def line_of(suite: Suite, form: Form, fields: tuple[str, ...], key_id: str) -> str:
    """Return the text of a line that is not plain, its fields between suite and id."""
    return ".".join((KEY_PREFIX, f"{suite.value}-{form.value}", *fields, key_id))


def encode(data: bytes) -> str:
    """Return bytes as a field of a key line: base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def decode(field: str) -> bytes | None:
    """Return the bytes of a field, or None for any spelling but that of `encode`."""
    # Python's decoder skips foreign characters, or warns of some: several texts would give one key.
    if not _FIELD.fullmatch(field):
        return None
    try:
        data = base64.urlsafe_b64decode(field + "=" * (-len(field) % 4))
    except ValueError:
        return None
    return data if encode(data) == field else None


def _outline(line: KeyLine) -> Outline | str:
    """Return the outline of a line, or what is wrong. Like `_read`, it never raises."""
    text = line.reveal()
    if len(text) > MAX_LINE or not text.isascii():
        return "this is not a key line: it is too long, or not plain ASCII"
    fields = text.split(".")
    if fields[0] != KEY_PREFIX:
        return _in_front(text.partition(KEY_PREFIX)[0]) if KEY_PREFIX in text else _no_line(text)
    number, _, form_name = (fields[1] if len(fields) > 1 else "").partition("-")
    suite = next((suite for suite in Suite if str(suite.value) == number), None)
    forms = {f.value: f for f in (Form.SCRYPT, Form.EXTERNAL)}
    plain = len(fields) > 1 and fields[1] == number
    form = Form.PLAIN if plain else forms.get(form_name)
    if suite is None or form is None:
        return "this key line has a suite or form that this version of pickleseal does not know"
    if len(fields) != _FIELDS[form]:
        return (
            f"this key line has {len(fields)} fields instead of {_FIELDS[form]}: copy all of it"
            " again"
        )
    if fields[-1].endswith(_QUOTES):
        return _QUOTED
    if not _ID.fullmatch(fields[-1]):
        return (
            "this key line does not end with an id of 32 hexadecimal digits: copy all of it again"
        )
    # The secret of a plain line stays in the line.
    return Outline(suite, form, () if form is Form.PLAIN else tuple(fields[2:-1]), fields[-1])


def _in_front(text: str) -> str:
    """Return what is wrong with a line that has `text` in front of its prefix."""
    name = text.rstrip("".join(_QUOTES))
    if name.endswith("="):
        return (
            "a variable's name is in front of this key line: give the line alone, from"
            f" {KEY_PREFIX} to the end of its id"
        )
    return _no_line(text) if name else _QUOTED


def _no_line(text: str) -> str:
    if text.startswith(_BASE64):
        return (
            "this key line is in base64, as in a manifest of Kubernetes: decode it first, with"
            " base64 -d"
        )
    if text in _SHELL_WORDS:
        return (
            f"the word {text} is in front of the key line: give the line alone, without the"
            " shell's command"
        )
    return f"this is not a key line: a key line begins with {KEY_PREFIX}."


def _read(line: KeyLine) -> tuple[Suite, Mac, str] | str:
    """Return suite, keyed MAC and the id as written, or what is wrong.

    It never raises: a traceback with local variables must not show the secret.
    """
    found = _outline(line)
    if isinstance(found, str):
        return found
    if found.form is not Form.PLAIN:
        return "this key line does not hold the secret itself, which is needed here"
    secret = decode(line.reveal().split(".")[2]) or b""
    if len(secret) != SECRET_SIZE:
        return "this key line holds no secret of 32 bytes in base64url: copy all of it again"
    if len(set(secret)) == 1:
        return "the secret of this key line is not random: make a key with `pickleseal keygen`"
    return found.suite, Mac(secret), found.id
