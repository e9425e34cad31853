"""Every error and warning of pickleseal, and how text from outside is shown in one."""

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


def shown(text: str) -> str:
    """Give `text` with all that a terminal could act on written as an escape."""
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text
    )


class PicklesealError(Exception):
    """The base of every error that pickleseal raises of its own."""


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
