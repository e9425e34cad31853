"""A key line behind a passphrase: Scrypt makes a key of the passphrase, AES-256-GCM the box.

docs/reference/keys.md, "Behind a passphrase", is the rule. The line without its box is the
box's associated data, so that suite, id and cost cannot be exchanged.
"""

import os
import unicodedata
from typing import TYPE_CHECKING, NoReturn

from pickleseal.errors import KeyringError, WrongPassphraseError
from pickleseal.keys.key import (
    Form,
    Key,
    KeyLine,
    Outline,
    decode,
    encode,
    line_of,
    outline,
)

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

LOG2_N = 17
"""The cost of a new box: 2^17 rounds take 128 MiB and some tenths of a second."""
SALT_SIZE = 16

_LOG2_N_READ = range(14, 21)
_R = 8
_P = 1
_NONCE_SIZE = 12
_BOX_SIZE = _NONCE_SIZE + 32 + 16


class Passphrase:
    """A passphrase, in Unicode's form NFC and without a final newline. It is never shown.

    One of anything but text is told by `is_text`: an error here would show it in a traceback.
    """

    __slots__ = ("_boxes", "_text", "is_text")

    def __init__(self, text: str) -> None:
        self.is_text = isinstance(text, str)
        self._boxes: dict[tuple[bytes, int], AESGCM] = {}
        if not self.is_text:
            text = ""
        self._text = unicodedata.normalize("NFC", text.removesuffix("\n").removesuffix("\r"))

    def __len__(self) -> int:
        return len(self._text)

    def same_as(self, other: "Passphrase") -> bool:
        """Tell whether two passphrases are the same, as when one was asked for twice."""
        return self._text == other._text  # noqa: SLF001 - its own kind

    def __repr__(self) -> str:
        return "<Passphrase: secret>"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a passphrase is not pickled: it is a secret")

    def box(self, salt: bytes, log2_n: int) -> "AESGCM | None":
        """Give the cipher that this passphrase makes with a salt, or None for want of memory.

        Keys of one ring share a salt where they can: one derivation then opens them all.
        """
        # Few rings are behind a passphrase, and each import would wait for these two.
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
    """Put a plain key line behind a passphrase.

    `salt`: 16 random bytes; keys that are wrapped at one time under one passphrase may share
    it. `log2_n`: the cost, the binary logarithm of Scrypt's N; default 17.
    """
    key = Key.parse(line)
    box = passphrase.box(salt, log2_n)
    if box is None:
        raise _no_memory(log2_n)
    nonce = os.urandom(_NONCE_SIZE)
    outer = (encode(salt), str(log2_n))
    data = line_of(key.suite, Form.SCRYPT, (*outer, ""), key.id).encode("ascii")
    sealed = nonce + box.encrypt(nonce, decode(line.reveal().split(".")[2]) or b"", data)
    return KeyLine(line_of(key.suite, Form.SCRYPT, (*outer, encode(sealed)), key.id))


def unwrap(line: KeyLine, passphrase: Passphrase) -> KeyLine:
    """Give the plain line that stands behind a passphrase.

    Raises WrongPassphraseError, and KeyringError for a line that is damaged or asks for a
    cost out of bounds; that is refused before anything is allocated.
    """
    found = outline(line)
    salt, log2_n, sealed = _fields(found)
    box = passphrase.box(salt, log2_n)
    if box is None:
        raise _no_memory(log2_n)
    plain = _open(box, sealed, found)
    if plain is None:
        raise WrongPassphraseError(f"the passphrase is not that of key {found.id}")
    return plain


def salt_of(line: KeyLine) -> bytes:
    """Give the salt of a line behind a passphrase."""
    return derivation_of(line)[0]


def derivation_of(line: KeyLine) -> tuple[bytes, int]:
    """Give the salt and cost of a line: where both are the same, one derivation does for two."""
    return _fields(outline(line))[:2]


def check_form(found: Outline) -> None:
    """Return if the fields of a line behind a passphrase are as they must be."""
    _fields(found)


def _fields(found: Outline) -> tuple[bytes, int, bytes]:
    if found.form is not Form.SCRYPT:
        raise KeyringError(f"the line of key {found.id} is not behind a passphrase")
    salt, sealed = decode(found.fields[0]), decode(found.fields[2])
    log2_n = {str(cost): cost for cost in _LOG2_N_READ}.get(found.fields[1])
    if log2_n is None:
        raise KeyringError(
            f"the line of key {found.id} asks for a cost that is not from"
            f" {_LOG2_N_READ[0]} to {_LOG2_N_READ[-1]}: it is damaged, or a trap"
        )
    if salt is None or len(salt) != SALT_SIZE or sealed is None or len(sealed) != _BOX_SIZE:
        raise KeyringError(f"the line of key {found.id} is damaged: copy it anew, whole")
    return salt, log2_n, sealed


def _open(box: "AESGCM", sealed: bytes, found: Outline) -> KeyLine | None:
    # It returns and never raises, so that no frame of a traceback holds the secret.
    from cryptography.exceptions import InvalidTag  # noqa: PLC0415 - as in `Passphrase.box`

    data = line_of(found.suite, Form.SCRYPT, (*found.fields[:2], ""), found.id).encode("ascii")
    try:
        secret = box.decrypt(sealed[:_NONCE_SIZE], sealed[_NONCE_SIZE:], data)
    except InvalidTag:
        return None
    return KeyLine.of(found.suite, secret, found.id)


def _no_memory(log2_n: int) -> KeyringError:
    return KeyringError(
        f"Scrypt needs {1 << log2_n - 10} MiB of memory to open a key, and there is not as much"
    )
