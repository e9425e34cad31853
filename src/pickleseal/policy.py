"""What a reader asks of a genuine envelope before it is unpickled. Pure judgements."""

from collections.abc import Mapping
from typing import NamedTuple

from pickleseal.errors import ContextError, ExpiredError, PolicyError, shown
from pickleseal.metadata import Metadata


def check_context(sealed: str | None, expected: str | None) -> None:
    """Return if an envelope's context is the one the caller named, both None included."""
    if sealed == expected:
        return
    if expected is None:
        raise ContextError(
            f"sealed for the context '{shown(sealed or '')}', and the load names none. If that"
            " is what should stand here, pass it as context="
        )
    if sealed is None:
        raise ContextError(f"sealed without a context, and the load asks for '{shown(expected)}'")
    raise ContextError(
        f"sealed for the context '{shown(sealed)}', and the load asks for"
        f" '{shown(expected)}': this is another file in its place"
    )


def check_expiry(metadata: Metadata, now: float) -> None:
    """Return if the envelope's time, if it has one, is not over at `now` (Unix seconds)."""
    if metadata.expires is not None and now >= metadata.expires:
        raise ExpiredError("its time is over: it was sealed to expire before now")


def check_size(size: int, max_bytes: int | None) -> None:
    """Return if an envelope, or what it expands to, of `size` bytes is within a bound, if any."""
    if max_bytes is not None and size > max_bytes:
        raise PolicyError(f"it takes {size} bytes, over max_bytes={max_bytes}")


class Drift(NamedTuple):
    """A package whose version here (None: not installed) is not the one sealed with."""

    package: str
    sealed: str
    here: str | None

    def __str__(self) -> str:
        here = f"is {self.here}" if self.here else "is not installed"
        return f"{shown(self.package)} was {shown(self.sealed)} and here {here}"


def drifts(sealed: Mapping[str, str], here: Mapping[str, str | None]) -> list[Drift]:
    """List the packages that differ between two tables of versions.

    Python is compared by major and minor version, all else by the whole text. `here` has a
    value for each name in `sealed`.
    """
    if sealed == here:
        return []
    return [
        Drift(package, version, here[package])
        for package, version in sealed.items()
        if _comparable(package, version) != _comparable(package, here[package])
    ]


def _comparable(package: str, version: str | None) -> str | None:
    if package != "python" or version is None:
        return version
    return ".".join(version.split(".")[:2])
