"""The text by which keys travel from one ring to others: see "Export" in docs/reference/keys.md.

Each key has its entry in front of its key line, so that it keeps its limits and state; a revoked
key has its entry alone.
"""

import json
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from pickleseal.errors import KeyringError, shown
from pickleseal.files.strict_json import parse_json
from pickleseal.keys.key import KeyLine, decode, encode, outline
from pickleseal.keys.roster import Entry, State, fields_of, parse_entry

_PREFIX = "pickleseal-entry-"
_VERSION = f"{_PREFIX}1"


class Bundle(NamedTuple):
    """Key lines in their order, and entries by id: of these keys, and of revoked ones."""

    lines: tuple[KeyLine, ...]
    entries: Mapping[str, Entry] = MappingProxyType({})


def entry_text(entry: Entry) -> str:
    """Return an entry as text without white space."""
    fields = json.dumps(fields_of(entry), separators=(",", ":"), sort_keys=True)
    return ".".join((_VERSION, encode(fields.encode()), entry.id))


def read_bundle(parts: Iterable[KeyLine]) -> Bundle:
    """Return what the words of an export are.

    A key whose entry is revoked has no line in the result. Raise KeyringError for a damaged line or
    entry, an entry without its line, and different entries of one key.
    """
    lines: list[KeyLine] = []
    entries: dict[str, Entry] = {}
    for part in parts:
        if not part.reveal().startswith(_PREFIX):
            lines.append(part)
            continue
        entry = _read_entry(part)
        known = entries.setdefault(entry.id, entry)
        if entry.state is State.REVOKED:
            entries[entry.id] = entry
        elif known != entry and known.state is not State.REVOKED:
            raise KeyringError(f"there are two entries of key {entry.id}: leave one out")
    outlines = {found.id: found for found in map(outline, lines)}
    for entry in entries.values():
        if entry.state is State.REVOKED:
            continue
        if entry.id not in outlines:
            raise KeyringError(f"the key line of key {entry.id} is missing: copy all lines again")
        if entry.suite is not outlines[entry.id].suite:
            raise _damaged(entry.id)
    revoked = {entry.id for entry in entries.values() if entry.state is State.REVOKED}
    return Bundle(tuple(line for line in lines if outline(line).id not in revoked), entries)


def _read_entry(part: KeyLine) -> Entry:
    text = part.reveal()
    version, _, rest = text.partition(".")
    fields, _, key_id = rest.partition(".")
    if version != _VERSION:
        raise KeyringError(
            f"this version of pickleseal does not know {shown(version)}: use a newer one"
        )
    try:
        return parse_entry(key_id, parse_json((decode(fields) or b"").decode()))
    except ValueError:
        raise _damaged(key_id) from None


def _damaged(key_id: str) -> KeyringError:
    return KeyringError(f"the entry of key {shown(key_id)} is damaged: copy all lines again")
