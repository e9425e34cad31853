"""Keys that a command prints: `pass show`, `op read`, `vault kv get`, a script."""

import json
from collections.abc import Sequence

from pickleseal.errors import KeyringError, beginning
from pickleseal.files.strict_json import parse_json
from pickleseal.keys.bundle import Bundle, read_bundle
from pickleseal.keys.key import Key, KeyLine
from pickleseal.keys.store.commands import secret_from

NAME = "command"


def place_of(argv: Sequence[str]) -> str:
    """Return the place of a key for a command and its arguments."""
    return json.dumps(
        list(argv), separators=(",", ":")
    )  # in ASCII: file names may not be valid Unicode


def argv_of(place: str) -> list[str]:
    """Return the command and its arguments, or raise KeyringError."""
    try:
        argv = parse_json(place)
    except ValueError:
        argv = None
    if not isinstance(argv, list) or not argv or not all(isinstance(part, str) for part in argv):
        raise KeyringError("the command in the key line is not a list of strings")
    return argv


def connect(place: str, key_id: str) -> Key:  # noqa: ARG001 - the provider's interface
    """Return the key that the command prints."""
    return Key.parse(read(place).lines[0])


def plain_line(place: str, key_id: str) -> KeyLine:  # noqa: ARG001 - as above
    """Return the line that the command prints."""
    return read(place).lines[0]


def read(place: str) -> Bundle:
    """Return the one key that the command prints: its line, or what `keys export` wrote."""
    argv = argv_of(place)
    with beginning("a key from a command"):
        printed = read_bundle(secret_from(argv, _words))
        count = len([Key.parse(line) for line in printed.lines])
        if count != 1:
            raise KeyringError(f"it printed {count} keys that are not revoked, not one")
    return printed


def _words(text: str) -> list[KeyLine]:
    return [KeyLine(word) for word in text.split()]
