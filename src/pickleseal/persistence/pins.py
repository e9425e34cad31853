"""Pins: the newest serial that was loaded for each context, and its content.

The rule is docs/reference/inventory.md, "Pins". Pure: texts and metadata in; pins or an error out.
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

    `digest` is that of its content, `metadata` the SHA-256 of its metadata (64 hexadecimal digits).
    """

    serial: int
    digest: str
    metadata: str

    @classmethod
    def of(cls, metadata: Metadata, digest: str) -> Self | None:
        """Return the pin of a verified artifact, or None if it has no context or no serial."""
        if metadata.context is None or metadata.serial is None:
            return None
        return cls(metadata.serial, digest, metadata_digest(metadata))


def check_head(metadata: Metadata, pin: Pin, path: str | None) -> None:
    """Raise RollbackError if an authentic head has a lower serial than the pin, or none.

    `path`: the file of pins, for the message.
    """
    if metadata.serial is None:
        raise RollbackError(
            f"it has no serial, but serial {pin.serial} of this context was loaded before."
            f" {_way_out(metadata.context, path)}"
        )
    if metadata.serial < pin.serial:
        raise RollbackError(
            f"its serial is {metadata.serial}, but serial {pin.serial} of this context was loaded"
            f" before: an older file was put in its place. {_way_out(metadata.context, path)}"
        )


def check_whole(found: Pin, pin: Pin | None, context: str | None, path: str | None) -> None:
    """Raise RollbackError if a verified artifact has the pin's serial and another content.

    `context` and `path`, the file of pins, are for the message. A resealed artifact is the same:
    it has the same content digest or, under a key of another suite, whose digests differ, the same
    metadata.
    """
    if pin is None or found.serial != pin.serial:
        return
    if found.digest == pin.digest:
        return
    if not digests.comparable(found.digest, pin.digest) and found.metadata == pin.metadata:
        return
    raise RollbackError(
        f"its serial {found.serial} was loaded before with other content: one of the two files is"
        f" wrong. {_way_out(context, path)}"
    )


def _way_out(context: str | None, path: str | None) -> str:
    """Return the sentence with the command that removes a pin, quoted for a shell."""
    where = shlex.quote(path) if path and path.isprintable() else "FILE"
    what = "CONTEXT"
    if context is not None and context.isprintable() and not context.startswith("-"):
        what = shlex.quote(context)
    return f"If this is intended, remove the pin: pickleseal pins forget {what} --pins {where}"


def is_newer(found: Pin, pin: Pin | None) -> bool:
    """Return whether an artifact replaces a pin."""
    return pin is None or (found.serial >= pin.serial and found != pin)


def encode(pins: Mapping[str, Pin]) -> bytes:
    """Return the text of a file of pins."""
    listed = {context: pin._asdict() for context, pin in sorted(pins.items())}
    return (json.dumps({"format": FORMAT, "pins": listed}, indent=1) + "\n").encode("ascii")


def decode(text: bytes) -> dict[str, Pin]:
    """Parse the text of a file of pins. Raise PinsError if it is not one."""
    try:
        value = parse_json(text.decode("ascii"))
    except ValueError:
        raise PinsError("it is not a file of pins: it is not JSON") from None
    if not isinstance(value, dict) or value.get("format") != FORMAT or len(value) != 2:
        raise PinsError(f"it is not a file of pins: it does not say {FORMAT}")
    listed = value.get("pins")
    if not isinstance(listed, dict):
        raise PinsError("it is not a file of pins: it has none")
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
    raise PinsError(f"it is not a file of pins: the pin of '{shown(context)}' is invalid")
