"""Keys that are held elsewhere: what a key line's `ext` refers to, and how its key is reached.

A provider is a room here with two functions. `connect(place, key_id)` gives a `Holder`, which
makes and checks tags; `plain_line(place, key_id)` gives the secret itself, or refuses.
docs/reference/keys.md, "Held elsewhere", is the rule.
"""

from collections.abc import Callable
from typing import NamedTuple

from pickleseal.errors import BadSealError, KeyringError, shown
from pickleseal.keys.key import (
    MAX_LINE,
    Form,
    Holder,
    Key,
    KeyLine,
    Outline,
    decode,
    encode,
    id_statement,
    line_of,
)
from pickleseal.keys.mac import KEY_ID_SIZE, TAG_SIZE
from pickleseal.keys.store.providers import aws_kms, command, os_keyring
from pickleseal.keys.suite import Suite


class _Provider(NamedTuple):
    connect: Callable[[str, str], Holder]
    plain_line: Callable[[str, str], KeyLine]


_PROVIDERS = {
    room.NAME: _Provider(room.connect, room.plain_line) for room in (command, os_keyring, aws_kms)
}


class Reference(NamedTuple):
    """Where a key is held: the provider, its own name for the place, the tag that begins its id."""

    provider: str
    place: str
    id_mac: bytes


def reference_line(suite: Suite, reference: Reference) -> KeyLine:
    """Write the line of a key that is held elsewhere. There is no secret in it."""
    fields = (
        reference.provider,
        encode(reference.place.encode()),
        encode(reference.id_mac),
    )
    text = line_of(suite, Form.EXTERNAL, fields, reference.id_mac[:KEY_ID_SIZE].hex())
    if len(text) > MAX_LINE:
        raise KeyringError(
            f"what {reference.provider} needs to reach the key is too long for a key line: it may"
            " have about 1400 characters"
        )
    return KeyLine(text)


def reference_of(found: Outline) -> Reference:
    """Read where the key of a line is held. Raises KeyringError for a line that is damaged."""
    provider = found.fields[0]
    if provider not in _PROVIDERS:
        raise KeyringError(
            f"key {found.id} is held by '{shown(provider)}', which this pickleseal does not know"
        )
    place, id_mac = decode(found.fields[1]), decode(found.fields[2])
    try:
        text = None if place is None else place.decode()
    except UnicodeDecodeError:
        text = None
    if not text or id_mac is None or len(id_mac) != TAG_SIZE:
        raise KeyringError(f"the line of key {found.id} is damaged: copy it anew, whole")
    if id_mac[:KEY_ID_SIZE].hex() != found.id:
        raise KeyringError(f"the line of key {found.id} names two ids: copy it anew, whole")
    return Reference(provider, text, id_mac)


def connect(found: Outline) -> Holder:
    """Reach the key of a line, and let it prove that it is the one that the line names.

    Raises KeyringError where it cannot be reached, or is another one.
    """
    reference = reference_of(found)
    holder = _PROVIDERS[reference.provider].connect(reference.place, found.id)
    try:
        holder.check(id_statement(found.suite), reference.id_mac)
    except BadSealError:
        raise KeyringError(
            f"{shown(reference.provider)} holds another key than {found.id} at"
            f" '{shown(reference.place)}'"
        ) from None
    return holder


def plain_line(found: Outline) -> KeyLine:
    """Fetch the secret of a line from where it is held, or raise KeyringError if it stays there."""
    reference = reference_of(found)
    line = _PROVIDERS[reference.provider].plain_line(reference.place, found.id)
    if Key.parse(line).id != found.id:
        raise KeyringError(f"{shown(reference.provider)} holds another key than {found.id}")
    return line


def runs_a_command(found: Outline) -> bool:
    """Tell whether the key of a line is had by running a command that the line names."""
    return reference_of(found).provider == command.NAME
