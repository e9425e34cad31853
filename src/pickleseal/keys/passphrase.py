"""Key lines encrypted with a passphrase: Scrypt derives the key, AES-256-GCM encrypts the secret.

See "Behind a passphrase" in docs/reference/keys.md. The line without its box is the associated
data, so that suite, id and cost cannot be exchanged.
"""

import os
import unicodedata
from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn, Self

from pickleseal.errors import KeyringError, WrongPassphraseError
from pickleseal.keys.key import Form, Key, KeyLine, Outline, decode, encode, line_of, outline

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

LOG2_N = 17
"""The cost of new boxes, as log2 of Scrypt's N: 128 MiB and some tenths of a second."""
SALT_SIZE = 16

_LOG2_N_READ = range(14, 21)
_R = 8
_P = 1
_NONCE_SIZE = 12
_LOCKED_FIELDS = 3
_BOX_SIZE = _NONCE_SIZE + 32 + 16


class Passphrase:
    """A passphrase in Unicode's form NFC, without a final newline. Its `repr` does not show it.

    `is_text` is False for anything but a str, `is_unicode` for bytes that are not UTF-8: an error
    here would show it in a traceback. `source` begins messages about it.
    """

    __slots__ = ("_boxes", "_text", "is_text", "is_unicode", "source")

    def __init__(self, text: str, *, source: str = "the passphrase") -> None:
        self.source = source
        self.is_text = isinstance(text, str)
        self._boxes: dict[tuple[bytes, int], AESGCM] = {}
        if not self.is_text:
            text = ""
        self.is_unicode = not any("\ud800" <= character <= "\udfff" for character in text)
        self._text = unicodedata.normalize("NFC", text.removesuffix("\n").removesuffix("\r"))

    @classmethod
    def of_bytes(cls, data: bytes, source: str) -> Self:
        """Return the passphrase in UTF-8 bytes."""
        return cls(data.decode("utf-8", "surrogateescape"), source=source)

    def __len__(self) -> int:
        return len(self._text)

    @property
    def is_one_line(self) -> bool:
        """Whether it is one line with something in it."""
        return bool(self._text.strip()) and not {"\n", "\r"} & set(self._text)

    def same_as(self, other: "Passphrase") -> bool:
        """Return whether two passphrases are equal."""
        return self._text == other._text  # noqa: SLF001 - the same class

    def __repr__(self) -> str:
        return "<Passphrase: secret>"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a passphrase cannot be pickled: it is a secret")

    def box(self, salt: bytes, log2_n: int) -> "AESGCM | None":
        """Return the cipher of this passphrase and a salt, or None if there is too little memory.

        Keys of one ring share a salt if possible: one derivation then opens them all.
        """
        # Imported here: few rings have a passphrase.
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415
        from cryptography.hazmat.primitives.kdf.scrypt import Scrypt  # noqa: PLC0415

        if (salt, log2_n) not in self._boxes:
            try:
                scrypt = Scrypt(salt=salt, length=32, n=1 << log2_n, r=_R, p=_P)
                self._boxes[salt, log2_n] = AESGCM(
                    scrypt.derive(self._text.encode("utf-8", "surrogatepass"))
                )
            except MemoryError:
                return None
        return self._boxes[salt, log2_n]


def wrap(line: KeyLine, passphrase: Passphrase, *, salt: bytes, log2_n: int = LOG2_N) -> KeyLine:
    """Encrypt a plain key line with a passphrase.

    `salt`: 16 random bytes; keys that are encrypted together with one passphrase may share it.
    `log2_n`: the cost, log2 of Scrypt's N.
    """
    key = Key.parse(line)
    box = _box(passphrase, salt, log2_n)
    nonce = os.urandom(_NONCE_SIZE)
    outer = (encode(salt), str(log2_n))
    data = line_of(key.suite, Form.SCRYPT, (*outer, ""), key.id).encode("ascii")
    sealed = nonce + box.encrypt(nonce, decode(line.reveal().split(".")[2]) or b"", data)
    return KeyLine(line_of(key.suite, Form.SCRYPT, (*outer, encode(sealed)), key.id))


def unwrap(line: KeyLine, passphrase: Passphrase) -> KeyLine:
    """Decrypt a line with a passphrase.

    Raise WrongPassphraseError, or KeyringError for a line that is damaged or whose cost is out of
    bounds; the cost is checked before anything is allocated.
    """
    found = outline(line)
    salt, log2_n, sealed = _fields(found)
    box = _box(passphrase, salt, log2_n)
    plain = _open(box, sealed, found)
    if plain is None:
        raise WrongPassphraseError(f"{passphrase.source} does not open key {found.id}")
    return plain


def lock(
    head: str,
    content: Callable[[], str],
    passphrase: Passphrase,
    *,
    salt: bytes,
    log2_n: int = LOG2_N,
) -> str:
    """Encrypt a text with a passphrase: return `head`, salt, cost and box, with dots between.

    `content` is called where it is encrypted, so that no variable holds a secret.
    """
    box = _box(passphrase, salt, log2_n)
    nonce = os.urandom(_NONCE_SIZE)
    start = f"{head}.{encode(salt)}.{log2_n}."
    sealed = box.encrypt(nonce, content().encode(), start.encode("ascii"))
    return start + encode(nonce + sealed)


def unlock(head: str, text: str, passphrase: Passphrase) -> KeyLine:
    """Decrypt a text of `lock`; raise WrongPassphraseError, or KeyringError if it is none."""
    start, *fields = text.split(".")
    if start != head:
        raise KeyringError(f"it does not begin with {head}, as a backup does")
    salt = decode(fields[0]) if len(fields) == _LOCKED_FIELDS else None
    sealed = decode(fields[-1]) if fields else None
    if salt is None or len(salt) != SALT_SIZE or sealed is None or len(sealed) <= _NONCE_SIZE:
        raise KeyringError("it is damaged, or cut off")
    log2_n = _cost(fields[1])
    if log2_n is None:
        raise KeyringError(
            "its Scrypt cost is out of bounds: it is damaged, or was made to exhaust the memory"
        )
    opened = _decrypt(
        _box(passphrase, salt, log2_n), sealed, ".".join((head, *fields[:2], "")).encode("ascii")
    )
    if opened is None:
        raise WrongPassphraseError(f"{passphrase.source} does not open it, or it is damaged")
    return opened


def _decrypt(box: "AESGCM", sealed: bytes, data: bytes) -> KeyLine | None:
    # It never raises, as `_open` does not.
    from cryptography.exceptions import InvalidTag  # noqa: PLC0415 - as in `Passphrase.box`

    try:
        return KeyLine(box.decrypt(sealed[:_NONCE_SIZE], sealed[_NONCE_SIZE:], data).decode())
    except (InvalidTag, UnicodeDecodeError):
        return None


def derivation_of(line: KeyLine) -> tuple[bytes, int]:
    """Return salt and cost of a line: lines with the same ones share a derivation.

    Raise KeyringError for a malformed line.
    """
    return _fields(outline(line))[:2]


def _fields(found: Outline) -> tuple[bytes, int, bytes]:
    if found.form is not Form.SCRYPT:
        raise KeyringError(f"the line of key {found.id} is not encrypted with a passphrase")
    salt, sealed = decode(found.fields[0]), decode(found.fields[2])
    log2_n = _cost(found.fields[1])
    if log2_n is None:
        raise KeyringError(
            f"the Scrypt cost in the line of key {found.id} is not from {_LOG2_N_READ[0]} to"
            f" {_LOG2_N_READ[-1]}: the line is damaged, or was made to exhaust the memory"
        )
    if salt is None or len(salt) != SALT_SIZE or sealed is None or len(sealed) != _BOX_SIZE:
        raise KeyringError(f"the line of key {found.id} is damaged: copy all of it again")
    return salt, log2_n, sealed


def _cost(field: str) -> int | None:
    return {str(cost): cost for cost in _LOG2_N_READ}.get(field)


def _open(box: "AESGCM", sealed: bytes, found: Outline) -> KeyLine | None:
    # It never raises, so that no frame of a traceback holds the secret.
    from cryptography.exceptions import InvalidTag  # noqa: PLC0415 - as in `Passphrase.box`

    data = line_of(found.suite, Form.SCRYPT, (*found.fields[:2], ""), found.id).encode("ascii")
    try:
        secret = box.decrypt(sealed[:_NONCE_SIZE], sealed[_NONCE_SIZE:], data)
    except InvalidTag:
        return None
    return KeyLine.of(found.suite, secret, found.id)


def _box(passphrase: Passphrase, salt: bytes, log2_n: int) -> "AESGCM":
    box = passphrase.box(salt, log2_n)
    if box is None:
        raise KeyringError(
            f"Scrypt needs {1 << log2_n - 10} MiB of memory for this key, more than there is"
        )
    return box
