"""Pins: for each context, the newest serial that was loaded, and what it was loaded with.

docs/reference/pins.md is the rule. Pure: texts and metadata in, judgements out.
"""

import json
import shlex
from collections.abc import Mapping
from typing import Any, NamedTuple, Self

from pickleseal.envelope import digests
from pickleseal.envelope.metadata import MAX_INTEGER, Metadata
from pickleseal.errors import PinsError, RollbackError, shown
from pickleseal.files.strict_json import parse_json
from pickleseal.persistence.inventory import metadata_digest

FORMAT = "pickleseal-pins-1"


class Pin(NamedTuple):
    """The newest artifact of a context that was loaded.

    `digest` names its content, `metadata` is the SHA-256 of its metadata (64 hexadecimal digits).
    """

    serial: int
    digest: str
    metadata: str

    @classmethod
    def of(cls, metadata: Metadata, digest: str) -> Self | None:
        """Give the pin of an artifact that is whole; None for one without context or serial."""
        if metadata.context is None or metadata.serial is None:
            return None
        return cls(metadata.serial, digest, metadata_digest(metadata))


def check_head(metadata: Metadata, pin: Pin | None, path: str | None) -> None:
    """Return if a genuine head is not of an artifact that is older than the pin, if any.

    `path`: of the file of pins, to be named.
    """
    if pin is None:
        return
    if metadata.serial is None:
        raise RollbackError(
            f"it has no serial, and serial {pin.serial} of this context was loaded before."
            f" {_way_out(metadata.context, path)}"
        )
    if metadata.serial < pin.serial:
        raise RollbackError(
            f"its serial is {metadata.serial}, and serial {pin.serial} of this context was loaded"
            f" before: an older one was put in its place. {_way_out(metadata.context, path)}"
        )


def check_whole(found: Pin | None, pin: Pin | None, context: str | None, path: str | None) -> None:
    """Return if a whole artifact is not another one of the pin's serial.

    `context` and `path`, of the file of pins, are named where it is.

    One that was sealed anew is the same: its content is, or, under a key of another suite, where
    the same content has another name, its metadata are. Those alone do not tell another content.
    """
    if found is None or pin is None or found.serial != pin.serial:
        return
    if found.digest == pin.digest:
        return
    if found.digest[:3] != pin.digest[:3] and found.metadata == pin.metadata:
        return
    raise RollbackError(
        f"its serial {found.serial} was loaded before, with another content: one of the two is not"
        f" what it should be. {_way_out(context, path)}"
    )


def _way_out(context: str | None, path: str | None) -> str:
    """Give the command for a pin that is no longer right, as a shell takes it."""
    where = shlex.quote(path) if path and path.isprintable() else "FILE"
    named = context is not None and context.isprintable() and not context.startswith("-")
    what = shlex.quote(context) if context and named else "CONTEXT"
    return f"If that is right, make it forget: pickleseal pins forget {what} --pins {where}"


def is_newer(found: Pin, pin: Pin | None) -> bool:
    """Tell whether an artifact takes the place of a pin."""
    return pin is None or (found.serial >= pin.serial and found != pin)


def encode(pins: Mapping[str, Pin]) -> bytes:
    """Write the text of a file of pins."""
    listed = {context: pin._asdict() for context, pin in sorted(pins.items())}
    return (json.dumps({"format": FORMAT, "pins": listed}, indent=1) + "\n").encode("ascii")


def decode(text: bytes) -> dict[str, Pin]:
    """Read the text of a file of pins. Raises PinsError for what is none."""
    try:
        value = parse_json(text.decode("ascii"))
    except ValueError:
        raise PinsError("it is no file of pins: it is no JSON") from None
    if not isinstance(value, dict) or value.get("format") != FORMAT or len(value) != 2:
        raise PinsError(f"it is no file of pins: it does not say {FORMAT}")
    listed = value.get("pins")
    if not isinstance(listed, dict):
        raise PinsError("it is no file of pins: it has none")
    return {context: _pin(context, fields) for context, fields in listed.items()}


def _pin(context: str, fields: Any) -> Pin:  # noqa: ANN401 - any JSON
    if isinstance(fields, dict) and fields.keys() == set(Pin._fields):
        serial, digest, metadata = (fields[name] for name in Pin._fields)
        if (
            type(serial) is int
            and 0 <= serial <= MAX_INTEGER
            and digests.is_of_content(digest)
            and digests.is_sha256(metadata)
        ):
            return Pin(serial, digest, metadata)
    raise PinsError(f"it is no file of pins: that of '{shown(context)}' cannot be read")
