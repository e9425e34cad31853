"""Keys that are held elsewhere, to which a key line of the form `ext` refers.

A provider is a module with two functions: `connect(place, key_id)` returns a `Holder`, which makes
and checks tags; `plain_line(place, key_id)` returns the line with the secret, or raises
KeyringError. See "Held elsewhere" in docs/reference/keys.md.
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
    id_mac,
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
    """Where a key is held: the provider, its name for the place, and the tag of the id."""

    provider: str
    place: str
    id_mac: bytes


def reference_line(suite: Suite, provider: str, place: str, holder: Holder) -> KeyLine:
    """Return the line of a key that is held elsewhere. It contains no secret."""
    proof = id_mac(suite, holder)
    fields = (provider, encode(place.encode()), encode(proof))
    text = line_of(suite, Form.EXTERNAL, fields, proof[:KEY_ID_SIZE].hex())
    if len(text) > MAX_LINE:
        raise KeyringError(
            f"the reference for {provider} is too long for a key line: the limit is about 1400"
            " characters"
        )
    return KeyLine(text)


def reference_of(found: Outline) -> Reference:
    """Return the reference in a line, or raise KeyringError for a damaged line."""
    provider = found.fields[0]
    if provider not in _PROVIDERS:
        raise KeyringError(
            f"key {found.id} is held by '{shown(provider)}', which this version of pickleseal does"
            " not know"
        )
    place, proof = decode(found.fields[1]), decode(found.fields[2])
    try:
        text = None if place is None else place.decode()
    except UnicodeDecodeError:
        text = None
    if not text or proof is None or len(proof) != TAG_SIZE:
        raise KeyringError(f"the line of key {found.id} is damaged: copy all of it again")
    if proof[:KEY_ID_SIZE].hex() != found.id:
        raise KeyringError(f"the line of key {found.id} names two ids: copy all of it again")
    return Reference(provider, text, proof)


def connect(found: Outline) -> Holder:
    """Return the holder of a line's key, after checking its id.

    Raise KeyringError if it cannot be reached, or if it is another key.
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
    """Return the line with the secret, or raise KeyringError if the provider keeps it."""
    reference = reference_of(found)
    line = _PROVIDERS[reference.provider].plain_line(reference.place, found.id)
    if Key.parse(line).id != found.id:
        raise KeyringError(f"{shown(reference.provider)} holds another key than {found.id}")
    return line


def runs_a_command(found: Outline) -> bool:
    """Return whether a line names a command to run."""
    return reference_of(found).provider == command.NAME


def command_of(found: Outline) -> list[str] | None:
    """Return the command that a line names, or None; raise KeyringError for a damaged line."""
    reference = reference_of(found)
    return command.argv_of(reference.place) if reference.provider == command.NAME else None
