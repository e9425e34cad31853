"""A keyring: which keys may seal, which may open, and which may do neither.

Pure rules; where a ring is kept is the business of `keystore`.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import NamedTuple, NoReturn, Self

from pickleseal.errors import KeyringError, MalformedError, RevokedKeyError, UnknownKeyError
from pickleseal.keys import Key
from pickleseal.suite import Suite


class State(StrEnum):
    """What a key of a ring may do."""

    ACTIVE = "active"
    """It opens, and seals if it is the primary."""
    RETIRED = "retired"
    """It opens what it sealed before."""
    REVOKED = "revoked"
    """It does neither. The entry stays for good, so that a key file put back changes nothing."""


class Entry(NamedTuple):
    """One key of a ring: its id (32 hexadecimal digits), its state, and what is known of it.

    `key` is None for a revoked key, `created` (Unix seconds) where the ring does not say.
    """

    id: str
    suite: Suite
    state: State
    key: Key | None
    created: int | None = None
    note: str = ""


class Keyring:
    """The keys of one user or service: one primary that seals, and those that open.

    `Keyring(primary, *others)` makes one in memory, all its keys active; `open_keyring`
    reads one from its directory. A ring does not change; it is never pickled.
    """

    __slots__ = ("_by_id", "entries", "name", "primary")

    entries: Mapping[str, Entry]
    name: str
    primary: str | None

    def __init__(self, primary: Key, *others: Key) -> None:
        for key in (primary, *others):
            if not isinstance(key, Key):
                raise TypeError(f"a Keyring is made of Key objects, not {type(key).__name__}")
        self._set(
            [Entry(key.id, key.suite, State.ACTIVE, key) for key in (primary, *others)],
            primary.id,
            "the keyring in memory",
        )

    @classmethod
    def of(cls, entries: Iterable[Entry], *, primary: str | None, name: str) -> Self:
        """Make a ring of entries; `primary` is the id of an active one, `name` is for messages."""
        ring = cls.__new__(cls)
        ring._set(list(entries), primary, name)  # noqa: SLF001 - its own
        return ring

    def _set(self, entries: list[Entry], primary: str | None, name: str) -> None:
        self.entries = {entry.id: entry for entry in entries}
        if len(self.entries) != len(entries):
            raise KeyringError(f"{name} lists a key twice")
        if primary is not None:
            found = self.entries.get(primary)
            if found is None or found.state is not State.ACTIVE:
                raise KeyringError(f"the primary of {name} is not one of its active keys")
        self.primary = primary
        self.name = name
        self._by_id = {bytes.fromhex(entry.id): entry for entry in entries}

    def sealing_key(self) -> Key:
        """Give the primary key, or raise KeyringError where the ring has none."""
        entry = None if self.primary is None else self.entries[self.primary]
        if entry is None or entry.key is None:
            raise KeyringError(
                f"{self.name} has no key to seal with: make one with pickleseal keygen"
            )
        return entry.key

    def opening_key(self, key_id: bytes, suite: Suite) -> Key:
        """Give the one key that an envelope's head names by id and suite.

        No other key is ever tried. Raises UnknownKeyError, RevokedKeyError, or
        MalformedError where the key is one of another suite.
        """
        entry = self._by_id.get(key_id)
        if entry is None:
            raise UnknownKeyError(
                f"sealed by key {key_id.hex()}, which {self.name} does not have. If it is yours,"
                " point keyring= or PICKLESEAL_KEYRING to the ring that has it; if not, do"
                " not load the file"
            )
        if entry.state is State.REVOKED or entry.key is None:
            raise RevokedKeyError(
                f"sealed by key {key_id.hex()}, which {self.name} lists as revoked: whoever"
                " has that key may have made this file"
            )
        if entry.suite is not suite:
            raise MalformedError(
                f"it names suite {suite.value}, and key {entry.id} is of suite {entry.suite.value}"
            )
        return entry.key

    def __repr__(self) -> str:
        return f"<Keyring: {self.name}, {len(self.entries)} keys, primary {self.primary}>"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a Keyring is not pickled: it holds secrets")
