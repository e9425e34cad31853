"""Contexts, the names that seals are bound to, in normal form."""

import re
import unicodedata

from pickleseal.errors import MetadataError, holds_key_line

MAX_CONTEXT_SIZE = 255
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
"""Control characters and lone surrogates, which no text of an envelope holds."""


def normalize_context(context: str) -> str:
    """Return a context in Unicode's form NFC, as it is sealed and compared.

    Raise TypeError for anything but text, MetadataError if it is empty, longer than 255 bytes of
    UTF-8, or contains control characters or a key line.
    """
    if not isinstance(context, str):
        raise TypeError(f"context must be a str, not {type(context).__name__}")
    normal = context if context.isascii() else unicodedata.normalize("NFC", context)
    fault = context_fault(normal)
    if fault:
        raise MetadataError(fault)
    if holds_key_line(normal):
        raise MetadataError("a context cannot contain a key line: contexts are not secret")
    return normal


def context_to_seal(context: str | None) -> str | None:
    """Return the context of a new seal in normal form, or None.

    Raise MetadataError as `normalize_context` does, and for a character that this Python's Unicode
    does not assign: only of assigned ones is it sure that the normal form never changes.
    """
    if context is None:
        return None
    normal = normalize_context(context)
    if normal.isascii():
        return normal
    unknown = next((c for c in normal if unicodedata.category(c) == "Cn"), None)
    if unknown is not None:
        raise MetadataError(
            f"Unicode {unicodedata.unidata_version}, which this Python follows, does not assign the"
            f" character U+{ord(unknown):04X} of the context: leave it out, or seal with a newer"
            " Python"
        )
    return normal


def context_fault(value: object) -> str | None:
    """Return what is wrong with a context, as a sentence, or None."""
    if not isinstance(value, str) or CONTROL.search(value):
        return "a context is text without control characters"
    if not value or len(value.encode()) > MAX_CONTEXT_SIZE:
        return f"a context must be 1 to {MAX_CONTEXT_SIZE} bytes of UTF-8"
    if not value.isascii() and not unicodedata.is_normalized("NFC", value):
        return "a context is in Unicode's normal form NFC"
    return None
