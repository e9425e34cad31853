"""Every error and warning of pickleseal, and how text from outside is shown in one.

A key line ends up where it does not belong: in the wrong variable, in the place of a path. So the
text of every error, and all that is shown, passes through `masked`.
"""

import re
from pickle import UnpicklingError

__all__ = [
    "AdoptionError",
    "BadSealError",
    "BareLoadError",
    "BareLoadWarning",
    "ContextError",
    "ExpiredError",
    "KeyPermissionError",
    "KeyringError",
    "MainModuleWarning",
    "MalformedError",
    "MetadataError",
    "NoKeyError",
    "NotSealedError",
    "NothingToReadError",
    "PicklesealError",
    "PinsError",
    "PolicyError",
    "RevokedKeyError",
    "RollbackError",
    "SealError",
    "TargetError",
    "UnknownKeyError",
    "VersionMismatchError",
    "VersionMismatchWarning",
    "WrongPassphraseError",
]


KEY_PREFIX = "pickleseal-key-1"
"""What every key line begins with."""
_HIDDEN = "[hidden]"
_DOT = r"\s*(?:\.|%2e)\s*"
# A whole line, whose id may be shown; or a prefix with a suite or a long field behind it. Of the
# second kind nothing is known, such as where it ends: all the rest of the text is hidden.
_KEY_LINE = re.compile(
    rf"""
    (?-i:{KEY_PREFIX})\.
    (?:(?P<suite>[0-9]{{1,3}})\.[\w-]{{43}}
      |(?P<wrapped>(?-i:[0-9]{{1,3}}-(?:scrypt|ext)))\.[\w.-]+?)
    \.(?P<id>(?-i:[0-9a-f]{{32}}))(?![\w%+=-]|\.\w)
    |(?P<start>pickleseal(?:-|%2d)key(?:-|%2d)1)
    {_DOT}(?:[0-9]{{1,3}}(?:(?:-|%2d)\w+)?(?:{_DOT}(?!\[hidden\])|\Z)|[\w%+=-]{{16}}).*
    """,
    re.ASCII | re.IGNORECASE | re.DOTALL | re.VERBOSE,
)


def masked(text: str) -> str:
    """Return `text` with the secrets of key lines hidden.

    A whole line keeps its prefix, suite and id. Of one that is cut, upper-cased or written in
    another way, only the prefix is kept, and nothing that follows it.
    """
    return _KEY_LINE.sub(_mask, text) if "seal" in text.lower() else text


def _mask(found: re.Match[str]) -> str:
    if found["start"] is not None:
        return f"{KEY_PREFIX}.{_HIDDEN}"
    return f"{KEY_PREFIX}.{found['suite'] or found['wrapped']}.{_HIDDEN}.{found['id']}"


def holds_key_line(text: str) -> bool:
    """Return whether a key line, or a part of one with its prefix, stands in `text`."""
    return masked(text) != text


def without_secrets(value: object) -> object:
    """Return a JSON value with the secrets of key lines hidden in all of its texts."""
    if isinstance(value, str):
        return masked(value)
    if isinstance(value, dict):
        return {without_secrets(name): without_secrets(field) for name, field in value.items()}
    if isinstance(value, list | tuple):
        return [without_secrets(item) for item in value]
    return value


def shown(text: str) -> str:
    """Return `text` without secrets, and with all that a terminal could act on escaped."""
    text = masked(text)
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text
    )


class PicklesealError(Exception):
    """The base of every error that pickleseal raises of its own. None shows a secret."""

    def __init__(self, *args: object) -> None:
        super().__init__(*(masked(arg) if isinstance(arg, str) else arg for arg in args))


class SealError(PicklesealError, UnpicklingError):
    """An input was refused; nothing of it was unpickled.

    It is a `pickle.UnpicklingError`, so that a cache which takes one for a miss
    takes a bad seal for a miss.
    """

    source: str | None = None
    """What was being read, such as a path; set where it is known."""

    def __str__(self) -> str:
        message = super().__str__()
        return message if self.source is None else f"{shown(self.source)}: {message}"


class AdoptionError(SealError):
    """What is to be adopted is not exactly one pickle or joblib file."""


class BareLoadError(SealError):
    """An unpickling that did not come through a seal was stopped, at a name that it asked for."""


class NotSealedError(SealError):
    """The input is no pickleseal envelope."""


class NothingToReadError(NotSealedError, EOFError):
    """The input is empty, or the stream was already at its end."""


class MalformedError(SealError):
    """The input begins as an envelope and does not follow the format, or is cut off."""


class UnknownKeyError(SealError):
    """The envelope names a key that the keyring does not list."""


class RevokedKeyError(SealError):
    """The envelope names a key that the keyring lists as revoked."""


class BadSealError(SealError):
    """A tag does not hold: the bytes are not those that were sealed."""


class ContextError(SealError):
    """The envelope is sealed for another context than the caller's."""


class RollbackError(SealError):
    """The envelope is genuine, but older than the caller accepts."""


class ExpiredError(SealError):
    """The envelope is genuine, but its time is over, or its age is not known."""


class PolicyError(SealError):
    """The envelope is genuine, but something in it is not allowed here."""


class VersionMismatchError(PolicyError):
    """A package differs from the version it was sealed with, and that was to be an error."""


class MetadataError(PicklesealError, ValueError):
    """What the caller wants in an envelope's metadata cannot stand there."""


class TargetError(PicklesealError, OSError):
    """The path to write to is not one that pickleseal writes to."""


class PinsError(PicklesealError):
    """The file that remembers what was loaded cannot be used."""


class KeyringError(PicklesealError):
    """A key or a keyring cannot be used."""


def check_path(path: str) -> None:
    """Raise KeyringError if a key line stands where a path belongs."""
    if holds_key_line(path):
        raise KeyringError(
            "this is a key line, not a path: put it in PICKLESEAL_KEY. If others can see where it"
            " was typed or kept, take the key for leaked"
        )


class NoKeyError(KeyringError):
    """No keyring was given and none is set up."""


class WrongPassphraseError(KeyringError):
    """The passphrase is not the one that a key is behind."""


class KeyPermissionError(KeyringError):
    """A key file or keyring lies open to others, so it cannot be relied on."""


class VersionMismatchWarning(UserWarning):
    """A package differs from the version that an object was sealed with."""


class MainModuleWarning(UserWarning):
    """What is sealed loads only where `__main__` defines what this `__main__` does."""


class BareLoadWarning(UserWarning):
    """Something is unpickled that did not come through a seal."""
