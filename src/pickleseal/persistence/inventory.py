"""An inventory: a sealed list of artifacts, each by the digests of its content and metadata.

docs/reference/inventory.md is the rule. It is text, never a pickle, and is never unpickled.
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
    """One artifact of a list.

    `digest` names its content, `metadata` is the SHA-256 of its metadata as they stand in the
    envelope (64 hexadecimal digits), which hold its context, serial and time. Those stand here too,
    to be compared. An unsealed artifact has the SHA-256 of its file as its digest, and no metadata.
    """

    path: str
    digest: str
    metadata: str | None = None
    context: str | None = None
    serial: int | None = None
    created: int | None = None

    @classmethod
    def of(cls, path: str, digest: str, metadata: Metadata) -> Self:
        """Make the item of an artifact whose seal holds."""
        return cls(
            path,
            digest,
            metadata_digest(metadata),
            metadata.context,
            metadata.serial,
            metadata.created,
        )


class Inventory(NamedTuple):
    """What lay where, when: `created` is in Unix seconds."""

    created: int
    items: tuple[Item, ...]

    def encode(self) -> bytes:
        """Write the text of an inventory: a line of JSON for itself, and one for each item."""
        lines: list[dict[str, Any]] = [{"format": FORMAT, "created": self.created}]
        lines += [{k: v for k, v in item._asdict().items() if v is not None} for item in self.items]
        return "".join(json.dumps(line) + "\n" for line in lines).encode("ascii")

    @classmethod
    def decode(cls, text: bytes) -> Self:
        """Read the text of an inventory. Raises MalformedError for what is none."""
        lines = text.split(b"\n")
        if lines.pop() != b"":
            raise MalformedError("it is no inventory: its last line is cut off")
        first, *rest = (_parse(number, line) for number, line in enumerate(lines or [b""], 1))
        if first.keys() != {"format", "created"} or first["format"] != FORMAT:
            raise MalformedError(f"it is no inventory: it does not begin with {FORMAT}")
        if type(first["created"]) is not int:
            raise MalformedError("it is no inventory: its time is no number")
        return cls(first["created"], tuple(_item(n, line) for n, line in enumerate(rest, 2)))

    def known(self) -> frozenset[tuple[str, str]]:
        """Give the digests of content and of metadata of all that is listed as sealed."""
        return frozenset((item.digest, item.metadata) for item in self.items if item.metadata)


def metadata_digest(metadata: Metadata) -> str:
    """Give the SHA-256 of metadata in their canonical form, in hexadecimal digits."""
    return hashlib.sha256(metadata.encode()).hexdigest()


def _parse(number: int, line: bytes) -> dict[str, Any]:
    try:
        value = parse_json(line.decode("ascii"))
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise MalformedError(f"it is no inventory: line {number} is no JSON object")
    return value


def _item(number: int, line: dict[str, Any]) -> Item:
    item = Item(*(line.get(name) for name in Item._fields))  # type: ignore[arg-type]
    if (
        not line.keys() <= set(Item._fields)
        or not isinstance(item.path, str)
        or not (_is_sealed(item) or _is_unsealed(item))
    ):
        raise MalformedError(f"it is no inventory: line {number} names no artifact")
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
