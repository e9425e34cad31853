"""An inventory: a sealed list of artifacts, each by the digests of its content and metadata.

docs/reference/inventory.md is the rule. It is text, never a pickle, and is never unpickled.
"""

import hashlib
import json
import re
from typing import Any, NamedTuple, Self

from pickleseal.errors import MalformedError
from pickleseal.metadata import Metadata
from pickleseal.roster import without_repeats

FORMAT = "pickleseal-inventory-1"
CONTENT = "inventory"

_DIGEST = re.compile(r"ps[12]:[0-9a-f]{64}", re.ASCII)
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)


class Item(NamedTuple):
    """One artifact of a list.

    `digest` names its content, `metadata` is the SHA-256 of its metadata as they stand in the
    envelope (64 hexadecimal digits), which hold its context. `path` and `context` are for people.
    """

    path: str
    digest: str
    metadata: str
    context: str | None

    @classmethod
    def of(cls, path: str, digest: str, metadata: Metadata) -> Self:
        """Make the item of an artifact whose seal holds."""
        return cls(path, digest, metadata_digest(metadata), metadata.context)


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
        """Give the digests of content and of metadata of all that is listed."""
        return frozenset((item.digest, item.metadata) for item in self.items)


def metadata_digest(metadata: Metadata) -> str:
    """Give the SHA-256 of metadata in their canonical form, in hexadecimal digits."""
    return hashlib.sha256(metadata.encode()).hexdigest()


def _parse(number: int, line: bytes) -> dict[str, Any]:
    try:
        value = json.loads(line.decode("ascii"), object_pairs_hook=without_repeats)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise MalformedError(f"it is no inventory: line {number} is no JSON object")
    return value


def _item(number: int, line: dict[str, Any]) -> Item:
    path, digest, metadata = (line.get(name) for name in ("path", "digest", "metadata"))
    context = line.get("context")
    if (
        not isinstance(path, str)
        or not isinstance(digest, str)
        or not _DIGEST.fullmatch(digest)
        or not isinstance(metadata, str)
        or not _SHA256.fullmatch(metadata)
        or not isinstance(context, str | None)
        or not line.keys() <= set(Item._fields)
    ):
        raise MalformedError(f"it is no inventory: line {number} names no artifact")
    return Item(path, digest, metadata, context)
