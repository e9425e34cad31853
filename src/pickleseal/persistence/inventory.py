"""An inventory: a sealed list of artifacts with the digests of their content and metadata.

The rule is docs/reference/inventory.md. It is text, and is never unpickled.
"""

import hashlib
import json
from typing import Any, NamedTuple, Self

from pickleseal.envelope import digests
from pickleseal.envelope.metadata import Metadata
from pickleseal.errors import MalformedError
from pickleseal.files.strict_json import parse_json

FORMAT = "pickleseal-inventory-1"
CONTENT = "inventory"


class Item(NamedTuple):
    """One artifact of an inventory.

    `digest` is that of its content, `metadata` the SHA-256 of its metadata as the envelope has them
    (64 hexadecimal digits). Context, serial and time are repeated here for comparisons. An unsealed
    artifact has the SHA-256 of its file as its digest, and no metadata.
    """

    path: str
    digest: str
    metadata: str | None = None
    context: str | None = None
    serial: int | None = None
    created: int | None = None

    @classmethod
    def of(cls, path: str, digest: str, metadata: Metadata) -> Self:
        """Return the item of a verified artifact."""
        return cls(
            path,
            digest,
            metadata_digest(metadata),
            metadata.context,
            metadata.serial,
            metadata.created,
        )

    def line(self) -> bytes:
        """Return the line of the text of an inventory that describes the artifact."""
        return _line({name: value for name, value in self._asdict().items() if value is not None})


class Inventory(NamedTuple):
    """The artifacts at some paths at one time; `created` is in Unix seconds."""

    created: int
    items: tuple[Item, ...]

    def encode(self) -> bytes:
        """Return the text: a line of JSON for the inventory, and one for each item."""
        return b"".join([first_line(self.created), *(item.line() for item in self.items)])

    @classmethod
    def decode(cls, text: bytes) -> Self:
        """Parse the text of an inventory. Raise MalformedError if it is not one."""
        *lines, rest = text.split(b"\n")
        if rest:
            raise MalformedError("it is not an inventory: its last line is truncated")
        parsed = (_parse(number, line) for number, line in enumerate(lines, 1))
        first = next(parsed, {})
        if first.keys() != {"format", "created"} or first["format"] != FORMAT:
            raise MalformedError(f"it is not an inventory: it does not begin with {FORMAT}")
        if type(first["created"]) is not int:
            raise MalformedError("it is not an inventory: its time is not a number")
        return cls(first["created"], tuple(_item(n, line) for n, line in enumerate(parsed, 2)))

    def known(self) -> frozenset[tuple[str, str]]:
        """Return the content and metadata digests of all sealed items."""
        return frozenset((item.digest, item.metadata) for item in self.items if item.metadata)


def first_line(created: int) -> bytes:
    """Return the first line of the text of an inventory."""
    return _line({"format": FORMAT, "created": created})


def metadata_digest(metadata: Metadata) -> str:
    """Return the SHA-256 of metadata in canonical form, in hexadecimal digits."""
    return hashlib.sha256(metadata.encode()).hexdigest()


def _line(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields).encode("ascii") + b"\n"


def _parse(number: int, line: bytes) -> dict[str, Any]:
    try:
        value = parse_json(line.decode("ascii"))
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise MalformedError(f"it is not an inventory: line {number} is not a JSON object")
    return value


def _item(number: int, line: dict[str, Any]) -> Item:
    item = Item(*(line.get(name) for name in Item._fields))  # type: ignore[arg-type]
    if (
        not line.keys() <= set(Item._fields)
        or not isinstance(item.path, str)
        or not (_is_sealed(item) or _is_unsealed(item))
    ):
        raise MalformedError(f"it is not an inventory: line {number} names no artifact")
    return item


def _is_sealed(item: Item) -> bool:
    return (
        digests.is_of_content(item.digest)
        and digests.is_sha256(item.metadata)
        and isinstance(item.context, str | None)
        and all(count is None or type(count) is int for count in (item.serial, item.created))
    )


def _is_unsealed(item: Item) -> bool:
    return digests.is_of_file(item.digest) and item[2:] == (None,) * 4
