"""The checks of an authentic envelope against what its reader expects. Pure."""

import operator
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import NamedTuple

from pickleseal.envelope import digests
from pickleseal.envelope.metadata import Metadata
from pickleseal.errors import (
    ContextError,
    ExpiredError,
    PolicyError,
    RollbackError,
    first_few,
    shown,
)
from pickleseal.keys.context import normalize_context
from pickleseal.keys.roster import fits
from pickleseal.pickling.names import Allowed, today_of


def check_context(sealed: str | None, expected: str | None) -> None:
    """Raise ContextError unless an envelope has the context that the caller named, or both none."""
    if sealed == expected:
        return
    if expected is None:
        raise ContextError(
            f"sealed for the context '{shown(sealed or '')}', but the load names none. If it is"
            " the right file, name its context: context= of signed_load, or --context of a command"
        )
    if sealed is None:
        raise ContextError(
            f"sealed without a context, but the load expects '{shown(expected)}': it is the wrong"
            " file, or the call should name no context"
        )
    raise ContextError(
        f"sealed for the context '{shown(sealed)}', but the load expects '{shown(expected)}': it is"
        " the wrong file, or the wrong context in the call"
    )


def expected_context(wanted: str, sealed: str | None) -> str | None:
    """Return the context to expect of an envelope where a user named one for many files.

    `wanted` is a context, or a beginning such as `fraud/*`; `*` is anything, also none.
    """
    return sealed if wanted == "*" or fits(wanted, sealed) else wanted


def check_head(metadata: Metadata, *, context: str | None, now: float) -> None:
    """Check what every reader asks of a head: context and expiry. `now` is in Unix seconds."""
    check_context(metadata.context, None if context is None else normalize_context(context))
    check_expiry(metadata, now)


def check_expiry(metadata: Metadata, now: float) -> None:
    """Raise ExpiredError if `now` (Unix seconds) is at or past `expires`."""
    if metadata.expires is not None and now >= metadata.expires:
        raise ExpiredError(f"it expired at {time_text(metadata.expires)}")


def time_text(seconds: int, form: str = "%Y-%m-%d %H:%M:%S UTC") -> str:
    """Return a time in Unix seconds as people read it."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime(form)
    except (ValueError, OverflowError, OSError):
        return f"{seconds} seconds after 1970"


def check_age(metadata: Metadata, max_age: float | None, now: float) -> None:
    """Raise ExpiredError if a file was sealed over `max_age` seconds before `now`, or after it.

    A clock may be a minute behind the one that sealed the file, as in Fernet.
    """
    if max_age is None:
        return
    if metadata.created is None:
        raise ExpiredError("it does not say when it was sealed, but the load sets max_age")
    age = now - metadata.created
    if age < -_MAX_CLOCK_SKEW:
        raise ExpiredError(
            f"it says that it was sealed at {time_text(metadata.created)}, {-age:.0f} seconds from"
            " now, so its age is unknown, but the load sets max_age. Correct the clock, or seal"
            " the object again if the clock is right"
        )
    if age > max_age:
        raise ExpiredError(f"it was sealed {age:.0f} seconds ago, but max_age is {max_age:.0f}")


_MAX_CLOCK_SKEW = 60


def check_serial(metadata: Metadata, min_serial: int | None) -> None:
    """Raise RollbackError if an envelope's serial is below `min_serial`, or it has none."""
    if min_serial is None:
        return
    if metadata.serial is None:
        raise RollbackError(f"it has no serial, but the load requires {min_serial} or more")
    if metadata.serial < min_serial:
        raise RollbackError(
            f"its serial is {metadata.serial}, but the load requires {min_serial} or more: an"
            " older file was put in its place"
        )


def check_digest(digest: str, expected: str | None) -> None:
    """Raise PolicyError if a content digest is not the expected one."""
    if expected is not None and digest != expected:
        raise PolicyError(f"its content is {digest}, but the load expects {shown(expected)}")


def check_expected(expected: object) -> None:
    """Raise TypeError or ValueError if an argument is not a content digest."""
    if not isinstance(expected, str):
        raise TypeError(f"expect must be a str, not {type(expected).__name__}")
    if not digests.is_of_content(expected):
        raise ValueError("expect takes ps1: or ps2: and 64 hexadecimal digits")


def check_number(name: str, value: object) -> None:
    """Raise TypeError if an argument of a load is no whole number: a bool is none."""
    if not isinstance(value, bool):
        with suppress(TypeError):
            operator.index(value)  # type: ignore[arg-type]  # NumPy integers, too
            return
    raise TypeError(f"{name} must be an int, not {type(value).__name__}")


def check_imports(metadata: Metadata, allowed: Allowed | None) -> None:
    """Raise PolicyError if a recorded name is allowed under no protocol.

    Whether a name of Python 2 stands for one of Python 3 depends on the protocol of the stream,
    which the head does not say. The unpickler checks each name again when it looks it up.
    """
    if allowed is None:
        return
    others = [
        pair
        for pair in metadata.imports or ()
        if not (allowed.has(*pair) or allowed.has(*today_of(*pair)))
    ]
    if others:
        told = first_few((f"{module}.{name}" for module, name in others), _MOST_TOLD)
        raise PolicyError(f"it refers to {told}, which allow does not list")


_MOST_TOLD = 5


class Drift(NamedTuple):
    """A package whose version here (None: not installed) differs from the sealed one."""

    package: str
    sealed: str
    here: str | None

    def __str__(self) -> str:
        here = f"{self.here} here" if self.here else "not installed here"
        return f"{shown(self.package)} {shown(self.sealed)} then, {here}"


def drifts(sealed: Mapping[str, str], here: Mapping[str, str | None]) -> list[Drift]:
    """Return the packages that differ between two tables of versions.

    Python is compared by major and minor version, other packages by the whole text. `here` has a
    value for each name in `sealed`.
    """
    return [
        Drift(package, version, here[package])
        for package, version in sealed.items()
        if _comparable(package, version) != _comparable(package, here[package])
    ]


def _comparable(package: str, version: str | None) -> str | None:
    if package != "python" or version is None:
        return version
    return ".".join(version.split(".")[:2])
