"""The content of a keyring.json, and the changes to it.

See "States" and "Keyring directory" in docs/reference/keys.md. Each change returns a new roster
whose epoch is one higher, or raises KeyringError.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any, NamedTuple, Self

from pickleseal.errors import KeyringError, MetadataError, holds_key_line, masked, shown
from pickleseal.files.strict_json import parse_json
from pickleseal.keys.context import normalize_context
from pickleseal.keys.suite import Suite

FORMAT = "pickleseal-keyring-1"
MAX_TEXT = 1000
MAX_CHANGES = 1000
"""The number of changes whose ids are kept."""

_ID = re.compile(r"[0-9a-f]{32}", re.ASCII)
_CHANGE = re.compile(r"[0-9a-f]{16}", re.ASCII)
_PIN = re.compile(rf"([0-9]{{1,18}})(?:\.({_CHANGE.pattern}))?", re.ASCII)
_WILDCARD = "*"
_TIMES = ("created", "sign_until", "revoked", "leaked", "sign_from", "imported")


class State(StrEnum):
    """What a key may do."""

    ACTIVE = "active"
    """Opens, and seals if it is the primary."""
    RETIRED = "retired"
    """Opens only."""
    REVOKED = "revoked"
    """Neither. The entry is kept for ever, so that restoring the key file changes nothing."""


class Entry(NamedTuple):
    """One key of a ring, without its secret.

    `id` is 32 hexadecimal digits; `created`, `sign_until`, `revoked` and `leaked` are Unix seconds;
    `contexts` are names, or prefixes of names followed by `*`. `leaked` is since when others may
    have had a revoked key, as its owner stated. None means unknown, no limit, or not revoked; only
    the suite of a revoked key may be unknown.

    `replaces` is the id of the primary that a rotation replaced by this key; from `sign_from` on it
    does, if that is set. `imported` is when it came from another ring. All times are Unix seconds.
    """

    id: str
    suite: Suite | None
    state: State
    created: int | None = None
    note: str = ""
    sign_until: int | None = None
    contexts: tuple[str, ...] | None = None
    revoked: int | None = None
    reason: str = ""
    leaked: int | None = None
    sign_from: int | None = None
    replaces: str | None = None
    imported: int | None = None

    def covers(self, context: str | None) -> bool:
        """Return whether this key may seal and open for a context."""
        return self.contexts is None or any(fits(pattern, context) for pattern in self.contexts)


def fits(pattern: str, context: str | None) -> bool:
    """Return whether a context equals a pattern, or has the prefix before its final `*`."""
    if context is None:
        return False
    if pattern.endswith(_WILDCARD):
        return context.startswith(pattern[:-1])
    return context == pattern


class Roster(NamedTuple):
    """The keys of a ring without their secrets: entries by id, and the id of the primary."""

    epoch: int
    primary: str | None
    entries: Mapping[str, Entry]
    last_primary: str | None = None
    """The revoked key that was primary, if there is no primary now."""
    changes: tuple[str, ...] = ()
    """The ids of the newest changes, the last one that of `epoch`. Each follows from the content
    and from the id before, so two copies of a ring share them until one is changed alone."""

    @classmethod
    def empty(cls) -> Self:
        """Return the roster of a ring without keys."""
        return cls(0, None, {})

    def find(self, beginning: str) -> Entry:
        """Return the one entry whose id has a prefix; raise KeyringError for none or several."""
        if holds_key_line(beginning):
            raise KeyringError(
                f"this is a key line, not a key's id: {masked(beginning)}. Use the id, the last"
                " field of the line. If others can see what was typed, revoke the key"
            )
        wanted = beginning.lower()
        found = [e for e in self.entries.values() if wanted and e.id.startswith(wanted)]
        if not found:
            raise KeyringError(
                f"no key of this keyring has an id that begins with '{shown(beginning)}': see"
                " `pickleseal keys list`"
            )
        if len(found) > 1:
            ids = ", ".join(entry.id for entry in found)
            raise KeyringError(f"several keys begin with '{shown(beginning)}': {ids}")
        return found[0]

    def add(self, entry: Entry, *, make_primary: bool = False) -> Self:
        """Add a key. It becomes the primary if asked for, or if there is none.

        A key that is to seal later does not: see `at`.
        """
        if entry.id in self.entries:
            known = self.entries[entry.id].state.value
            raise KeyringError(f"key {entry.id} is already in this keyring: it is {known}")
        primary = self.primary
        is_first = primary is None and entry.sign_from is None
        if entry.state is State.ACTIVE and (make_primary or is_first):
            primary, entry = entry.id, entry._replace(sign_from=None)
        return self._changed({**self.entries, entry.id: entry}, primary)

    def retire(self, key_id: str) -> Self:
        """Retire a key: it opens and no longer seals."""
        entry = self._living(key_id)
        if key_id == self.primary:
            raise KeyringError(
                f"key {key_id} is the primary: run `pickleseal keys rotate`, which makes a new"
                " key and retires this one, or make another key the primary first"
            )
        return self._put(entry._replace(state=State.RETIRED, sign_from=None))

    def at(self, now: float) -> Self:
        """Return this roster as it is at a time, in Unix seconds.

        A key that replaces the primary is the primary from its `sign_from` on, and retires the one
        that it replaces. So a rotation takes effect on every machine that has imported the new key,
        and at one time. The epoch stays, since nobody changed the ring.
        """
        old = self.primary or self.last_primary
        ready = [
            entry
            for entry in self.entries.values()
            if entry.state is State.ACTIVE
            and entry.replaces not in (None, entry.id)
            and (old is None or entry.replaces == old)
            and (entry.sign_from or 0) <= now
        ]
        if not ready:
            return self
        new = max(ready, key=lambda entry: (entry.sign_from or 0, entry.id))
        entries = {**self.entries, new.id: new._replace(sign_from=None)}
        if self.primary is not None:
            entries[self.primary] = entries[self.primary]._replace(state=State.RETIRED)
        return self._replace(entries=entries, primary=new.id, last_primary=None).at(now)

    def successor(self) -> Entry | None:
        """Return the key that is to replace the primary later, if there is one."""
        waiting = [
            entry
            for entry in self.entries.values()
            if entry.state is State.ACTIVE
            and entry.sign_from is not None
            and entry.replaces == (self.primary or self.last_primary)
        ]
        return min(waiting, key=lambda entry: entry.sign_from or 0, default=None)

    def rotate(self, entry: Entry) -> Self:
        """Make a new key the primary, and retire the old one: now, or from `sign_from` on."""
        old = self.predecessor()
        if entry.sign_from is not None and self.primary is None:
            raise KeyringError("no key would seal until then: rotate now, without --from")
        if old is not None:
            entry = entry._replace(replaces=old.id)
        entries = {one.id: _without_successor(one, old) for one in self.entries.values()}
        if entry.sign_from is not None:
            return self._replace(entries=entries).add(entry)
        if self.primary is not None:
            entries[self.primary] = entries[self.primary]._replace(state=State.RETIRED)
        return self._replace(entries=entries).add(entry, make_primary=True)

    def revoke(self, key_id: str, *, reason: str, now: int, leaked: int | None = None) -> Self:
        """Revoke a key for good, which the ring need not have. It may have no primary then.

        `leaked`: since when others may have had it; of a revoked key this can be stated again.
        """
        if leaked is not None and leaked > now:
            raise KeyringError("the time of the leak is in the future")
        entry = self.entries.get(key_id)
        if entry is None:
            entry = Entry(key_id, None, State.REVOKED)
        elif entry.state is State.REVOKED and leaked is None:
            raise KeyringError(f"key {key_id} is already revoked")
        return self.refuse(
            entry._replace(
                state=State.REVOKED,
                reason=_text(reason),
                revoked=now if entry.revoked is None else entry.revoked,
                leaked=leaked,
            )
        )

    def refuse(self, tombstone: Entry) -> Self:
        """Put the entry of a revoked key in the place of the one that is there, if any."""
        entries = {**self.entries, tombstone.id: tombstone}
        if tombstone.id == self.primary:
            return self._changed(entries, None, last_primary=tombstone.id)
        return self._changed(entries, self.primary)

    def predecessor(self) -> Entry | None:
        """Return the key that a new primary replaces: the primary, or the last one."""
        return self.entries.get(self.primary or self.last_primary or "")

    def make_primary(self, key_id: str) -> Self:
        """Make a key the primary; a retired one becomes active."""
        entry = self._living(key_id)._replace(state=State.ACTIVE, sign_from=None)
        entries = {one.id: _without_successor(one, entry) for one in self.entries.values()}
        return self._changed({**entries, key_id: entry}, key_id)

    def annotate(self, key_id: str, note: str) -> Self:
        """Change the note of a key."""
        return self._put(self.entries[key_id]._replace(note=_text(note)))

    def limit(
        self, key_id: str, *, sign_until: int | None, contexts: tuple[str, ...] | None
    ) -> Self:
        """Change until when a key seals, and the contexts it is bound to."""
        if sign_until is not None and sign_until < 0:
            raise KeyringError("the end of a key's sealing time cannot be before 1970")
        entry = self._living(key_id)
        return self._put(entry._replace(sign_until=sign_until, contexts=normal_patterns(contexts)))

    def encode(self) -> str:
        """Return the text of keyring.json."""
        index = {
            "format": FORMAT,
            "epoch": self.epoch,
            "primary": self.primary,
            "keys": {entry.id: fields_of(entry) for entry in self.entries.values()},
        }
        if self.changes:
            index["changes"] = " ".join(self.changes)
        if self.last_primary is not None:
            index["last_primary"] = self.last_primary
        return json.dumps(index, indent=2, sort_keys=True) + "\n"

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Parse a keyring.json; raise ValueError for anything that `encode` does not write."""
        try:
            index = parse_json(data.decode())
        except ValueError:
            raise ValueError("it is not JSON, or repeats a name") from None
        fault = _fault(index)
        if fault:
            raise ValueError(fault)
        entries = {key_id: _entry(key_id, fields) for key_id, fields in index["keys"].items()}
        changes = tuple(index.get("changes", "").split())
        return cls(index["epoch"], index["primary"], entries, index.get("last_primary"), changes)

    @property
    def pin(self) -> str:
        """The epoch and, if it is known, the id of its change."""
        return f"{self.epoch}.{self.changes[-1]}" if self.changes else str(self.epoch)

    def change(self, epoch: int) -> str | None:
        """Return the id of the change that led to an epoch, or None if it is not kept."""
        kept = range(self.epoch - len(self.changes) + 1, self.epoch + 1)
        return self.changes[epoch - kept.start] if epoch in kept else None

    def came_from(self, other: "Roster") -> bool:
        """Return whether this ring is known to be another one after no or more changes."""
        known = other.change(other.epoch)
        return self == other or (known is not None and known == self.change(other.epoch))

    def _living(self, key_id: str) -> Entry:
        entry = self.entries[key_id]
        if entry.state is State.REVOKED:
            raise KeyringError(f"key {key_id} is revoked for good: make a new key")
        return entry

    def _put(self, entry: Entry) -> Self:
        return self._changed({**self.entries, entry.id: entry}, self.primary)

    def _changed(
        self,
        entries: Mapping[str, Entry],
        primary: str | None,
        *,
        last_primary: str | None = None,
    ) -> Self:
        after = self._replace(
            epoch=self.epoch + 1,
            primary=primary,
            entries=entries,
            last_primary=last_primary or self.last_primary if primary is None else None,
            changes=self.changes[-1:],
        )
        change = hashlib.sha256(after.encode().encode()).hexdigest()[:16]
        return after._replace(changes=(*self.changes, change)[-MAX_CHANGES:])


def _without_successor(entry: Entry, old: Entry | None) -> Entry:
    """Return an entry that does not replace another one any more."""
    if old is None or entry.replaces != old.id:
        return entry
    return entry._replace(replaces=None, sign_from=None)


class Pin(NamedTuple):
    """A change that a ring must have made: its epoch, and its id if that is known."""

    epoch: int
    change: str | None = None

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Return the pin in a text such as "6" or "6.9c1d0fe2a4b35577", or None."""
        found = _PIN.fullmatch(text)
        return None if found is None else cls(int(found[1]), found[2])

    def fault(self, roster: Roster) -> str | None:
        """Return what is wrong with a ring that did not make the change, or None."""
        if roster.epoch < self.epoch:
            return (
                f"has epoch {roster.epoch}, but at least {self.epoch} is required: an older"
                " keyring.json was restored, which may list a revoked key as good"
            )
        made = roster.change(self.epoch)
        is_forgotten = made is None and len(roster.changes) == MAX_CHANGES
        if self.change in (None, made) or is_forgotten:
            return None
        return (
            f"lacks the required change {self.epoch}.{self.change}: it is a copy that was changed"
            " separately, and may list as good a key that the original has revoked"
        )


def new_entry(
    key_id: str,
    suite: Suite,
    *,
    created: int,
    note: str = "",
    state: State = State.ACTIVE,
    sign_until: int | None = None,
    contexts: Iterable[str] | None = None,
    sign_from: int | None = None,
) -> Entry:
    """Return the entry of a new key, or raise KeyringError for invalid limits or texts."""
    if sign_until is not None and sign_until <= max(created, sign_from or 0):
        raise KeyringError("a new key must stop sealing in the future, and after it starts")
    return Entry(
        key_id,
        suite,
        state,
        created,
        _text(note),
        sign_until,
        normal_patterns(contexts),
        sign_from=sign_from if sign_from is not None and sign_from > created else None,
    )


def normal_patterns(contexts: Iterable[str] | None) -> tuple[str, ...] | None:
    """Return the contexts of a key in normal form: each a name, or a prefix and `*`."""
    if contexts is None:
        return None
    patterns = []
    for context in contexts:
        if _WILDCARD in context[:-1]:
            raise KeyringError(
                f"'{shown(context)}': a * may only be the last character, and matches any ending"
            )
        try:
            patterns.append(normalize_context(context))
        except MetadataError as error:
            raise KeyringError(str(error)) from None
    if not patterns:
        raise KeyringError("a key that is bound to contexts needs at least one")
    return tuple(dict.fromkeys(patterns))


def _text(text: str) -> str:
    if holds_key_line(text):
        raise KeyringError("a note or reason cannot contain a key line: keyring.json is not secret")
    if len(text) > MAX_TEXT or not text.isprintable():
        raise KeyringError(
            f"a note or reason is one line of at most {MAX_TEXT} printable characters"
        )
    return text


def fields_of(entry: Entry) -> dict[str, object]:
    """Return an entry as keyring.json has it; what is unknown or not set is left out."""
    fields = {**entry._asdict(), "id": None, "reason": entry.reason or None}
    return {name: value for name, value in fields.items() if value is not None}


def parse_entry(key_id: str, fields: object) -> Entry:
    """Return an entry from elsewhere; raise ValueError for one that `fields_of` does not return."""
    if not _ID.fullmatch(key_id) or not isinstance(fields, dict) or not _holds(fields):
        raise ValueError("the entry is invalid")
    entry = _entry(key_id, fields)
    try:
        return entry._replace(note=_text(entry.note), reason=_text(entry.reason))
    except KeyringError as error:
        raise ValueError(str(error)) from None


def _entry(key_id: str, fields: Mapping[str, Any]) -> Entry:
    entry = Entry(**{"suite": None, **fields, "id": key_id, "state": State(fields["state"])})
    return entry._replace(
        suite=None if entry.suite is None else Suite(entry.suite),
        contexts=None if entry.contexts is None else tuple(entry.contexts),
    )


def _fault(index: object) -> str | None:
    """Return what is wrong with the content of a keyring.json, or None."""
    if not isinstance(index, dict) or index.get("format") != FORMAT:
        return f"its format is not {FORMAT}"
    optional = {"last_primary", "changes"}
    if index.keys() - optional != {"format", "epoch", "primary", "keys"}:
        return "a field is missing or unknown"
    if not _is_count(index["epoch"]):
        return "its epoch is not a whole number"
    if "changes" in index and not _are_changes(index["changes"], index["epoch"]):
        return "its changes are not ids, or more than its epoch"
    keys = index["keys"]
    if not isinstance(keys, dict):
        return "its keys are not an object"
    for key_id, fields in keys.items():
        if not _ID.fullmatch(key_id):
            return "a key id is not 32 hexadecimal digits"
        if not isinstance(fields, dict) or not _holds(fields):
            return f"the entry of key {key_id} is invalid"
    primary = index["primary"]
    if primary is not None and (
        not isinstance(primary, str)
        or primary not in keys
        or keys[primary]["state"] != State.ACTIVE.value
    ):
        return "its primary is not one of its active keys"
    last = index.get("last_primary")
    if "last_primary" in index and (
        primary is not None
        or not isinstance(last, str)
        or last not in keys
        or keys[last]["state"] != State.REVOKED.value
    ):
        return "its last primary is not one of its revoked keys"
    return None


def _holds(fields: Mapping[str, Any]) -> bool:
    is_revoked = fields.get("state") == State.REVOKED.value
    suite = fields.get("suite", 1 if is_revoked else None)
    return (
        {"state"} <= fields.keys() <= set(Entry._fields) - {"id"}
        and _is_count(suite)
        and suite in {suite.value for suite in Suite}
        and isinstance(fields["state"], str)
        and fields["state"] in {state.value for state in State}
        and (is_revoked or "leaked" not in fields)
        and all(_is_count(fields.get(name, 0)) for name in _TIMES)
        and all(isinstance(fields.get(name, ""), str) for name in ("note", "reason", "replaces"))
        and ("replaces" in fields or "sign_from" not in fields)
        and _ID.fullmatch(fields.get("replaces", "0" * 32)) is not None
        and _are_contexts(fields.get("contexts", ["any"]))
    )


def _are_changes(value: object, epoch: int) -> bool:
    if not isinstance(value, str):
        return False
    changes = value.split(" ")
    count = len(changes)
    return count <= min(epoch, MAX_CHANGES) and all(map(_CHANGE.fullmatch, changes))


def _are_contexts(value: object) -> bool:
    if not isinstance(value, list) or not all(isinstance(part, str) for part in value):
        return False
    try:
        return normal_patterns(value) == tuple(value)
    except KeyringError:
        return False


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
