"""Digests as text.

`ps1:` or `ps2:`, for the suite, and 64 hexadecimal digits name the content of an envelope;
`sha256:` and 64 digits a file that is not sealed.
"""

import re
from typing import TypeGuard

_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
_OF_CONTENT = re.compile(r"ps[12]:[0-9a-f]{64}", re.ASCII)
_OF_FILE = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)


def of_content(suite: int, digest: bytes) -> str:
    """Return the text of a content digest (32 bytes)."""
    return f"ps{suite:d}:{digest.hex()}"


def of_file(sha256: str) -> str:
    """Return the text of the SHA-256 of a file (64 hexadecimal digits)."""
    return f"sha256:{sha256}"


def comparable(one: str, other: str) -> bool:
    """Return whether two digests are of one suite, so that equal contents have equal digests."""
    return one.partition(":")[0] == other.partition(":")[0]


def is_of_content(value: object) -> TypeGuard[str]:
    """Return whether a value is the text of a content digest."""
    return isinstance(value, str) and _OF_CONTENT.fullmatch(value) is not None


def is_of_file(value: object) -> TypeGuard[str]:
    """Return whether a value is the text of a file's digest."""
    return isinstance(value, str) and _OF_FILE.fullmatch(value) is not None


def is_sha256(value: object) -> TypeGuard[str]:
    """Return whether a value is 64 hexadecimal digits."""
    return isinstance(value, str) and _SHA256.fullmatch(value) is not None
