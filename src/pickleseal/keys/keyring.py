"""A keyring: which key seals, which keys open, and which do neither.

Pure rules; `keys.store` reads rings from directories.
"""

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import NoReturn, Self

from pickleseal.errors import (
    ContextError,
    KeyringError,
    MalformedError,
    RevokedKeyError,
    UnknownKeyError,
    counted,
    shown,
)
from pickleseal.keys.key import Key, Outline
from pickleseal.keys.roster import Entry, Roster, State
from pickleseal.keys.suite import Suite

EVERY_KEY = "--all"
"""In place of a key's id, where several files are to be opened."""

_ID = re.compile(r"[0-9a-fA-F]{32}", re.ASCII)


class Keyring:
    """The keys of one user or service: the primary seals, the others open.

    `open_keyring` reads a ring from its directory. `Keyring(primary, *others)` makes one in memory,
    with all its keys active.

    Parameters
    ----------
    primary : Key
        The key that seals.
    *others : Key
        Further keys, which open.

    Raises
    ------
    KeyringError
        If a key is given twice.

    Notes
    -----
    A ring cannot be changed or pickled. See "States" in docs/reference/keys.md.

    Examples
    --------
    >>> from pickleseal import Key, Keyring, signed_dumps, signed_loads
    >>> old, new = Key.generate(), Key.generate()
    >>> data = signed_dumps("model", keyring=Keyring(old))
    >>> signed_loads(data, keyring=Keyring(new, old))
    'model'
    """

    __slots__ = ("_keys", "_option", "directory", "name", "outlines", "roster")

    name: str
    """Its name in messages."""
    directory: str | None
    """The absolute path of its directory, if it has one."""
    roster: Roster
    """The ring without its secrets."""
    outlines: Mapping[str, Outline]
    """What the key lines of a ring in a directory say beside their secrets, by id."""
    _keys: Mapping[bytes, Key]
    _option: str
    """The command-line option that names it, if one is needed."""

    def __new__(cls, primary: Key, *others: Key) -> Self:  # noqa: D102 - told in the class's
        keys = (primary, *others)
        for key in keys:
            if not isinstance(key, Key):
                raise TypeError(f"a Keyring is made of Key objects, not {type(key).__name__}")
        entries = {key.id: Entry(key.id, key.suite, State.ACTIVE) for key in keys}
        if len(entries) != len(keys):
            raise KeyringError("a keyring lists each key once, but one is given twice")
        return cls.of(Roster(0, primary.id, entries), keys, name="the keyring in memory")

    @classmethod
    def of(
        cls,
        roster: Roster,
        keys: Iterable[Key],
        *,
        name: str,
        directory: str | None = None,
        option: str = "",
        outlines: Mapping[str, Outline] = MappingProxyType({}),
    ) -> Self:
        """Return the ring of a roster and its keys, all but the revoked ones."""
        by_id = {key.raw_id: key for key in keys}
        usable = {e.id for e in roster.entries.values() if e.state is not State.REVOKED}
        if usable != {key.id for key in by_id.values()}:
            raise KeyringError(f"{name} does not hold exactly the keys that it lists")
        if roster.primary is not None and roster.entries[roster.primary].state is not State.ACTIVE:
            raise KeyringError(f"the primary of {name} is not one of its active keys")
        ring, put = object.__new__(cls), object.__setattr__
        put(ring, "roster", roster._replace(entries=MappingProxyType(dict(roster.entries))))
        put(ring, "_keys", by_id)
        put(ring, "name", name)
        put(ring, "directory", directory)
        put(ring, "_option", option)
        put(ring, "outlines", outlines)
        return ring

    @property
    def entries(self) -> Mapping[str, Entry]:
        """The entries of all keys, by id."""
        return self.roster.entries

    @property
    def primary(self) -> str | None:
        """The id of the key that seals, or None."""
        return self.roster.primary

    @property
    def epoch(self) -> int:
        """The number of changes of the ring; 0 for one in memory."""
        return self.roster.epoch

    def key(self, key_id: str) -> Key | None:
        """Return the key with an id, or None.

        Parameters
        ----------
        key_id : str
            The whole id, 32 hexadecimal digits.

        Returns
        -------
        Key or None
            None if the ring does not have the key, or lists it as revoked.

        Raises
        ------
        KeyringError
            If `key_id` is not an id.
        """
        if not isinstance(key_id, str) or not _ID.fullmatch(key_id):
            what = f"'{shown(key_id)}'" if isinstance(key_id, str) else type(key_id).__name__
            raise KeyringError(f"a key's id has 32 hexadecimal digits, but this is {what}")
        return self._keys.get(bytes.fromhex(key_id))

    def sealing_key(self, *, context: str | None, now: float) -> Key:
        """Return the key that seals a context at a time in Unix seconds: the primary.

        Raise KeyringError if the ring has no primary, or if the primary is bound to other contexts
        or no longer seals.
        """
        entry = self.sealing_entry(now=now)
        if not entry.covers(context):
            raise KeyringError(
                f"key {entry.id}, the primary of {self.name}, is bound to the contexts"
                f" {_listed(entry)}, and cannot seal for {_named(context)}: name one of them"
                " with context= of signed_dump or --context of a command, or use another keyring"
            )
        return self._keys[bytes.fromhex(entry.id)]

    def sealing_entry(self, *, now: float) -> Entry:
        """Return the entry of the key that seals at a time in Unix seconds.

        Raise KeyringError if the ring has no primary, or if the primary no longer seals.
        """
        if self.primary is None:
            raise KeyringError(f"{self.name} has no key to seal with: {self._way_to_seal()}")
        entry = self.entries[self.primary]
        if entry.sign_until is not None and now >= entry.sign_until:
            raise KeyringError(
                f"key {entry.id}, the primary of {self.name}, no longer seals:"
                f" {self._way_to_seal()}"
            )
        return entry

    def _way_to_seal(self) -> str:
        old = self.roster.predecessor()
        if old is not None and old.imported is not None:
            return (
                "bring the new key: run `pickleseal keys export -o new.txt` where it was made, and"
                f" `pickleseal keys import new.txt{self._option}` here"
            )
        way = "keys rotate" if self.entries else "keygen"
        return f"make one with `pickleseal {way}{self._option}`"

    def opening_key(self, key_id: bytes, suite: Suite) -> Key:
        """Return the key that an envelope's head names by id (16 bytes) and suite.

        No other key is ever tried. Raise UnknownKeyError, RevokedKeyError, or MalformedError if the
        key has another suite.
        """
        entry = self.entries.get(key_id.hex())
        if entry is None:
            raise UnknownKeyError(
                f"sealed by key {key_id.hex()}, which {self.name} does not have. If the file is"
                f" yours, {way_to_bring(key_id.hex(), option_of(self))}. If it is not, do not"
                " load it"
            )
        key = self._keys.get(key_id)
        if entry.state is State.REVOKED or key is None:
            raise RevokedKeyError(
                f"{self.revocation_of(entry.id)}. Make the object again and seal it. If an"
                " inventory from before lists the file, you can instead readmit it with"
                " `pickleseal reseal --only-digests INVENTORY FILE`"
            )
        if key.suite is not suite:
            raise MalformedError(
                f"it names suite {suite.value}, but key {entry.id} has suite {key.suite.value}"
            )
        return key

    def revocation_of(self, key_id: str) -> str:
        """Return why no file of a revoked key counts, without what to do about it."""
        reason = self.entries[key_id].reason
        because = f" ({shown(reason)})" if reason else ""
        return (
            f"sealed by key {key_id}, which {self.name} lists as revoked{because}: whoever has"
            " that key may have made this file"
        )

    def reopening(self, keys: Iterable[Key]) -> Self:
        """Return this ring with the revoked keys of `keys` retired instead.

        Only for files whose digests are known from elsewhere: the thief of a key can seal others.
        """
        again = {key.id: key for key in keys if self.entries[key.id].state is State.REVOKED}
        entries = dict(self.entries)
        for key_id in again:
            entries[key_id] = entries[key_id]._replace(state=State.RETIRED)
        roster = self.roster._replace(entries=entries)
        return self.of(
            roster,
            [*self._keys.values(), *again.values()],
            name=self.name,
            directory=self.directory,
            option=self._option,
        )

    def check_binding(self, key: Key, context: str | None) -> None:
        """Raise ContextError if a key of this ring is bound to other contexts."""
        entry = self.entries[key.id]
        if not entry.covers(context):
            raise ContextError(
                f"sealed for {_named(context)} by key {key.id}, which {self.name} binds to the"
                f" contexts {_listed(entry)}"
            )

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError("a Keyring cannot be changed: make another one")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError("a Keyring cannot be changed: make another one")

    def __repr__(self) -> str:
        keys = counted(len(self.entries), "key")
        return f"<Keyring: {self.name}, {keys}, primary {self.primary}>"

    def _repr_html_(self) -> str:
        """Return an HTML table for notebooks: its keys without their secrets, the primary first."""
        from pickleseal import notebook  # noqa: PLC0415 - for notebooks alone

        edges = {State.ACTIVE: notebook.GOOD, State.RETIRED: notebook.WARN}
        rows = (
            (
                edges.get(entry.state, notebook.BAD),
                (
                    entry.id,
                    f"{entry.state.value}, primary"
                    if entry.id == self.primary
                    else entry.state.value,
                    "" if entry.suite is None else entry.suite.name,
                    "any" if entry.contexts is None else ", ".join(entry.contexts),
                    "; ".join(filter(None, (entry.note, entry.reason))),
                ),
            )
            for entry in sorted(self.entries.values(), key=lambda e: e.id != self.primary)
        )
        title = notebook.paragraph(self.name, counted(len(self.entries), "key"))
        table = notebook.listing(("key", "state", "suite", "contexts", "note"), rows)
        return f"<div>{title}{table}</div>"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        instead = (
            "the path of a keyring's directory"
            if self.directory is None
            else f"its path, keyring={self.directory!r},"
        )
        raise TypeError(
            "a Keyring cannot be pickled or sent to another process, since it holds secrets. Pass"
            f" {instead} instead: the other process then opens it itself"
        )


def option_of(ring: Keyring | None) -> str | None:
    """Return the option that names a ring in commands; None for one that is in memory."""
    if ring is None:
        return ""
    return None if ring.directory is None else ring._option  # noqa: SLF001 - for messages alone


def way_to_open(key_id: str, option: str) -> str:
    """Return in sentences what leads to a ring that opens files; for the arguments see below."""
    if key_id != EVERY_KEY:
        return f"To open the file, {way_to_bring(key_id, option)}"
    return (
        "To open files that were sealed on another machine, run `pickleseal keys export --all -o"
        f" keys.txt` there and `pickleseal keys import keys.txt{option}` here. If you have not"
        f" sealed anything yet, make a key with `pickleseal keygen{option}`"
    )


def way_to_bring(key_id: str, option: str | None) -> str:
    """Return in words how to bring the key that sealed a file.

    `key_id`: its id. `option`: the option that names the ring here, None for one in
    memory.
    """
    here = (
        "add the line in it to PICKLESEAL_KEY here, or name a keyring that has the key"
        if option is None
        else f"`pickleseal keys import key.txt{option}` here"
    )
    return (
        "bring the key that sealed it, since a new one cannot open it: run"
        f" `pickleseal keys export {key_id} -o key.txt` where that key is, and {here}"
    )


def _listed(entry: Entry) -> str:
    return ", ".join(f"'{shown(context)}'" for context in entry.contexts or ())


def _named(context: str | None) -> str:
    return "no context" if context is None else f"the context '{shown(context)}'"
