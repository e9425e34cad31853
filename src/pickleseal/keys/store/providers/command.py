"""A key that a command prints: `pass show`, `op read`, `vault kv get`, a script of your own."""

import json
from collections.abc import Sequence

from pickleseal.errors import KeyringError
from pickleseal.files.strict_json import parse_json
from pickleseal.keys.key import Key, KeyLine
from pickleseal.keys.store.commands import secret_from

NAME = "command"


def place_of(argv: Sequence[str]) -> str:
    """Write a command and its arguments as the place of a key."""
    return json.dumps(list(argv), separators=(",", ":"))  # in ASCII: names may be no Unicode


def argv_of(place: str) -> list[str]:
    """Read a command and its arguments. Raises KeyringError for a place that is none."""
    try:
        argv = parse_json(place)
    except ValueError:
        argv = None
    if not isinstance(argv, list) or not argv or not all(isinstance(part, str) for part in argv):
        raise KeyringError("the key line names a command that is no list of texts")
    return argv


def connect(place: str, key_id: str) -> Key:
    """Give the key that the command prints."""
    try:
        return Key.parse(plain_line(place, key_id))
    except KeyringError as error:
        raise type(error)(f"a key from a command: {error}") from None


def plain_line(place: str, key_id: str) -> KeyLine:  # noqa: ARG001 - the provider's interface
    """Run the command and give the line that it prints."""
    return secret_from(argv_of(place), KeyLine)
