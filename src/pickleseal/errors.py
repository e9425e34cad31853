"""Every error and warning of pickleseal, and how messages show text from outside.

Users put key lines in the wrong variable, or where a path belongs. So the text of every error, and
everything that is displayed, passes through `masked`.
"""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pickle import UnpicklingError

KEY_PREFIX = "pickleseal-key-1"
"""Prefix of every key line."""
_HIDDEN = "[hidden]"
_DOT = r"\s*(?:\.|%2e)\s*"
# Between the letters of a prefix that was wrapped or copied from a page: blanks, zero-width
# characters, quotation marks. In place of its hyphens and dots also dashes, underscores, escapes.
_NOISE = r"\W{0,8}"
_MARK = r"(?:\W|_|%(?:25)*2[de]|=2[de]|&\#?\w{1,8};){1,12}"
_LOOSE_REST = _MARK.join(_NOISE.join(word) for word in KEY_PREFIX.split("-"))[1:]
# A whole line, whose id may be shown; or a prefix followed by a suite or a long field. Nobody knows
# where the second kind ends, so all the rest of the text is hidden. A set of the first characters
# comes first, because re skips all others fast then. The last three are the prefix in base64, as
# in the manifest of a Kubernetes secret, at each offset within a group of its characters.
_KEY_LINE = re.compile(
    rf"""
    [pPcBw](?i:
      (?-i:(?<=p){KEY_PREFIX[1:]})\.
      (?:(?P<suite>[0-9]{{1,3}})\.(?a:[\w-]){{43}}
        |(?P<wrapped>(?-i:[0-9]{{1,3}}-(?:scrypt|ext)))\.(?a:[\w.-])+?)
      \.(?P<id>(?-i:[0-9a-f]{{32}}))(?![\w%+=-]|\.\w)
      |(?P<part>
        (?<=p)ickleseal(?:-|%2d)key(?:-|%2d)1{_DOT}
        (?:[0-9]{{1,3}}(?:(?:-|%2d)\w+)?(?:{_DOT}(?!\[hidden\])|\Z)|[\w%+=-]{{16}})
        |(?<=p){_LOOSE_REST}{_MARK}[12](?:{_NOISE}(?:scrypt|ext))?
          (?!\W{{1,3}}hidden\]){_MARK}\w(?:\W{{0,3}}\w){{11}}
        |(?-i:(?<=c)Glja2xlc2VhbC1rZXktM|(?<=B)pY2tsZXNlYWwta2V5LT|(?<=w)aWNrbGVzZWFsLWtleS0x)
      ).*
    )
    """,
    re.DOTALL | re.VERBOSE,
)


def masked(text: str) -> str:
    """Return `text` with the secrets of key lines hidden.

    A whole line keeps its prefix, suite and id. If it is truncated, upper-cased or altered in
    another way, only the prefix is kept and all text after it is hidden.
    """
    return _KEY_LINE.sub(_mask, text)


def _mask(found: re.Match[str]) -> str:
    if found["part"] is not None:
        return f"{KEY_PREFIX}.{_HIDDEN}"
    return f"{KEY_PREFIX}.{found['suite'] or found['wrapped']}.{_HIDDEN}.{found['id']}"


def holds_key_line(text: str) -> bool:
    """Return whether `text` contains a key line, or part of one with its prefix."""
    return masked(text) != text


def holds_part(text: str) -> bool:
    """Return whether `text` contains a part of a key line that may go on elsewhere."""
    return any(found["part"] is not None for found in _KEY_LINE.finditer(text))


def without_secrets(value: object) -> object:
    """Return a JSON value with the secrets of key lines hidden in all its strings."""
    if isinstance(value, str):
        return masked(value)
    if isinstance(value, dict):
        return {without_secrets(name): without_secrets(field) for name, field in value.items()}
    if isinstance(value, list | tuple):
        return [without_secrets(item) for item in value]
    return value


def shown(text: str) -> str:
    """Return `text` without secrets and with control characters escaped."""
    text = masked(text)
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text
    )


def first_few(texts: Iterable[str], most: int, rest: str = "") -> str:
    """Return the first texts as `shown`, and how many more there are; `rest` says where."""
    every = list(texts)
    more = f" and {len(every) - most:,} more{rest}" if len(every) > most else ""
    return ", ".join(map(shown, every[:most])) + more


def counted(count: int, noun: str) -> str:
    """Return a count with its noun."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


class PicklesealError(Exception):
    """Base class of all errors that pickleseal raises. No message shows a secret."""

    def __init__(self, *args: object) -> None:
        super().__init__(*(masked(arg) if isinstance(arg, str) else arg for arg in args))


class SealError(PicklesealError, UnpicklingError):
    """An input was refused, and nothing in it was unpickled.

    It is a `pickle.UnpicklingError`, so caches that treat broken entries as misses treat refused
    ones that way too.

    Attributes
    ----------
    source : str or None
        What was being read, such as a path, if it is known.
    """

    source: str | None = None

    def __str__(self) -> str:
        message = super().__str__()
        return message if self.source is None else f"{shown(self.source)}: {message}"


class AdoptionError(SealError):
    """A file to adopt is not exactly one pickle or joblib file."""


class BareLoadError(SealError):
    """A watch stopped an unsealed pickle at a name that it asked for."""


class NotSealedError(SealError):
    """The input is not a sealed file."""


class NothingToReadError(NotSealedError, EOFError):
    """The input is empty, or the file object is at its end."""


class MalformedError(SealError):
    """The input begins like a sealed file but breaks the format, or is truncated."""


class UnknownKeyError(SealError):
    """The file was sealed by a key that is not in the keyring."""


class RevokedKeyError(SealError):
    """The file was sealed by a key that the keyring lists as revoked."""


class BadSealError(SealError):
    """A tag does not match: the bytes are not those that were sealed."""


class ContextError(SealError):
    """The file is genuine, but sealed for another context than the caller's."""


class RollbackError(SealError):
    """The file is genuine, but older than the caller accepts."""


class ExpiredError(SealError):
    """The file is genuine, but it has expired, is older than `max_age`, or has no known age."""


class PolicyError(SealError):
    """The file is genuine, but the caller does not allow something in it."""


class VersionMismatchError(PolicyError):
    """A package has another version than when the file was sealed (``on_mismatch="raise"``)."""


class MetadataError(PicklesealError, ValueError):
    """A context, `info` or other metadata is not valid."""


class TargetError(PicklesealError, OSError):
    """The target path cannot be written to."""


class PinsError(PicklesealError):
    """The file of pins cannot be used."""


class KeyringError(PicklesealError):
    """A key or a keyring cannot be used."""


@contextmanager
def beginning(what: str) -> Iterator[None]:
    """Begin the message of each KeyringError that is raised with `what` and a colon."""
    try:
        yield
    except KeyringError as error:
        raise type(error)(f"{what}: {error}") from None


def check_path(path: str) -> None:
    """Raise KeyringError if `path` is a key line."""
    if holds_key_line(path):
        raise KeyringError(
            "this is a key line, not a path: put it in PICKLESEAL_KEY. If others could see it where"
            " it was, treat the key as leaked"
        )


class NoKeyError(KeyringError):
    """There is no keyring: none was named, and none is set up."""


class WrongPassphraseError(KeyringError):
    """The passphrase does not open the key."""


class KeyPermissionError(KeyringError):
    """Other users can read or change a key file or keyring."""


class VersionMismatchWarning(UserWarning):
    """A package has another version than when the object was sealed."""


class MainModuleWarning(UserWarning):
    """The sealed object loads only where `__main__` defines the same names."""


class BareLoadWarning(UserWarning):
    """An unsealed pickle was loaded; `watch("warn")` gives it."""
