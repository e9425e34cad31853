"""Changes of the keys in a ring's directory: create, rotate, import, export, protect.

Each change is made under the ring's lock: first the key files, then keyring.json, which puts it
into effect. A process that is killed in between leaves the ring as it was.
"""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from pickleseal.errors import KeyringError, shown
from pickleseal.keys.bundle import Bundle
from pickleseal.keys.key import Form, Key, KeyLine, Outline, outline
from pickleseal.keys.passphrase import SALT_SIZE, Passphrase, derivation_of, unwrap, wrap
from pickleseal.keys.roster import Entry, Roster, State, new_entry
from pickleseal.keys.store import providers
from pickleseal.keys.store.directory import (
    Change,
    RingFiles,
    changing,
    is_alone,
    key_path,
    read_line,
)
from pickleseal.keys.store.lines import Opener
from pickleseal.keys.store.own import option_for
from pickleseal.keys.store.passphrases import new_passphrase
from pickleseal.keys.store.providers import aws_kms, command, os_keyring, reference_line
from pickleseal.keys.suite import Suite


class Limits(NamedTuple):
    """Limits of a key: until when it seals (Unix seconds), and its contexts."""

    sign_until: int | None = None
    contexts: tuple[str, ...] | None = None


class Storage(NamedTuple):
    """How a secret is stored: plain in its file, encrypted, or in the OS keyring."""

    passphrase: Passphrase | None = None
    os_service: str | None = None


class Made(NamedTuple):
    """A key that was added to a ring: its entry, its file, and whether it is the primary."""

    entry: Entry
    path: Path
    is_primary: bool


UNLIMITED = Limits()
PLAIN = Storage()


def create_key(
    directory: Path,
    *,
    suite: Suite = Suite.BLAKE3,
    note: str = "",
    now: int,
    limits: Limits = UNLIMITED,
    storage: Storage = PLAIN,
    only_first: bool = False,
    files: RingFiles | None = None,
) -> Made:
    """Make a new key in a ring, and the ring if there is none.

    The first key of a ring is its primary. `now`: the time in Unix seconds. `only_first`: refuse a
    ring that has a primary. Raise KeyringError, or OSError if a file cannot be written.
    """
    line = KeyLine.generate(suite)
    # Before a folder is made: this refuses invalid limits.
    entry = new_entry(outline(line).id, suite, created=now, note=note, **limits._asdict())
    with changing(directory, create=True, files=files) as change:
        if only_first:
            check_no_primary(directory, change.roster)
        return _enter(change, directory, line, storage, change.roster.add(entry))


def check_no_primary(directory: Path, roster: Roster) -> None:
    """Raise KeyringError if a ring has a primary, which whoever makes a key may not know."""
    if roster.primary is not None:
        here = option_for(directory)
        raise KeyringError(
            f"{shown(str(directory))} already has a primary key, {roster.primary}, so no key"
            f" was made. To replace it, run `pickleseal keys rotate{here}`. To add one that only"
            f" opens, run `pickleseal keygen --add{here}`"
        )


def rotate(
    directory: Path,
    *,
    suite: Suite | None = None,
    note: str = "",
    now: int,
    sign_until: int | None = None,
    sign_from: int | None = None,
    storage: Storage = PLAIN,
    files: RingFiles | None = None,
) -> Made:
    """Make a new key the primary, and retire the old one: now, or from `sign_from` on.

    The new key has the contexts of the old one, or of the revoked one if there is no primary, and
    its suite unless `suite` is given.
    """
    with changing(directory, files=files) as change:
        old = change.roster.predecessor()
        line = KeyLine.generate(suite or (old and old.suite) or Suite.BLAKE3)
        found = outline(line)
        entry = new_entry(
            found.id,
            found.suite,
            created=now,
            note=note,
            sign_until=sign_until,
            sign_from=sign_from,
            contexts=old.contexts if old else None,
        )
        return _enter(change, directory, line, storage, change.roster.rotate(entry))


class Imported(NamedTuple):
    """What an import did: keys added, ids of keys that stay as they were, keys revoked.

    `roster` is the ring's after it.
    """

    made: list[Made]
    known: list[str]
    revoked: list[Entry]
    roster: Roster


def import_keys(
    directory: Path,
    lines: Sequence[KeyLine],
    *,
    entries: Mapping[str, Entry] = MappingProxyType({}),
    note: str = "",
    now: int,
    make_primary: bool = False,
    retired: bool = False,
    limits: Limits = UNLIMITED,
    from_ring: bool = True,
) -> Imported:
    """Add keys to a ring, all or none, and make the ring if there is none.

    A key gets the entry that comes with it in `entries`; what is given here replaces parts of it.
    The first one becomes the primary with `make_primary`, or if the ring has none, and one that
    replaced the primary elsewhere does so here; `retired` keys open only. A key that the ring
    already has stays as it is, unless its entry says that it is revoked. `from_ring`: they come
    from another ring, where they may be rotated. Raise KeyringError for an invalid line, and for a
    key that is revoked here.
    """
    opener = Opener()
    for line in lines:
        opener.key(line)  # raises for an invalid line
    with changing(directory, create=bool(lines)) as change:
        roster = change.roster
        revoked = _newly_revoked(roster, entries)
        for tombstone in revoked:
            roster = roster.refuse(tombstone)
        fresh: dict[str, KeyLine] = {}
        known: list[str] = []
        for line in lines:
            found = outline(line)
            there = roster.entries.get(found.id)
            if there is not None and there.state is not State.REVOKED:
                if found.id not in fresh:
                    known.append(found.id)
                continue
            entry = new_entry(
                found.id,
                found.suite,
                created=now,
                note=note,
                state=State.RETIRED if retired else State.ACTIVE,
                **limits._asdict(),
            )
            if found.id in entries:
                entry = _merged(entries[found.id], entry)
            entry = entry._replace(imported=now if from_ring else None)
            roster = roster.add(entry, make_primary=make_primary and line is lines[0])
            fresh[found.id] = line
        paths = [change.add_key(line) for line in fresh.values()]
        if roster != change.roster:
            change.save(roster)
    roster = roster.at(now)
    made = [
        Made(roster.entries[path.stem], directory / path.name, path.stem == roster.primary)
        for path in paths
    ]
    return Imported(made, known, revoked, roster)


def _merged(brought: Entry, given: Entry) -> Entry:
    """Return the entry that came with a key, with what was given for it here."""
    retired = given.state is State.RETIRED
    return brought._replace(
        state=State.RETIRED if retired else brought.state,
        sign_from=None if retired else brought.sign_from,
        note=given.note or brought.note,
        sign_until=brought.sign_until if given.sign_until is None else given.sign_until,
        contexts=brought.contexts if given.contexts is None else given.contexts,
    )


def _newly_revoked(roster: Roster, entries: Mapping[str, Entry]) -> list[Entry]:
    """Return the tombstones that a ring lacks, or that state an earlier leak than its own."""
    found = []
    for brought in entries.values():
        if brought.state is not State.REVOKED:
            continue
        here = roster.entries.get(brought.id, brought)
        merged = brought
        if here.state is State.REVOKED and here is not brought:
            leaks = [one.leaked for one in (here, brought) if one.leaked is not None]
            merged = here._replace(leaked=min(leaks, default=None))
        elif here is not brought:
            merged = here._replace(
                state=State.REVOKED,
                revoked=brought.revoked,
                reason=brought.reason,
                leaked=brought.leaked,
            )
        if merged != roster.entries.get(brought.id):
            found.append(merged)
    return found


def command_bundle(argv: Sequence[str]) -> Bundle:
    """Return the key that a command prints, by reference. It is run once, to learn the id."""
    place = command.place_of(argv)
    printed = command.read(place)
    key = Key.parse(printed.lines[0])
    return printed._replace(lines=(reference_line(key.suite, command.NAME, place, key),))


def kms_line(arn: str, suite: Suite) -> KeyLine:
    """Return the line of an HMAC key in AWS KMS, after one call of GenerateMac for its id."""
    return reference_line(suite, aws_kms.NAME, arn, aws_kms.connect(arn, ""))


def change_roster(directory: Path, rule: Callable[[Roster], Roster]) -> Roster:
    """Apply one of the changes of `Roster` to a ring; return the new roster."""
    with changing(directory) as change:
        change.save(rule(change.roster))
        return change.roster


def protect(
    files: RingFiles,
    key_ids: Iterable[str],
    opener: Opener,
    choose: Callable[[], Storage] | None,
) -> list[str]:
    """Store keys of a ring in another way; return the ids of the changed ones.

    A key that is behind the chosen passphrase already is left as it is. `choose` returns the way,
    and is called once all secrets are known; None: plain in their files. Each key file is replaced
    by one that was checked to open. An entry in the OS keyring is left there: a copy of this ring
    may refer to it. Raise KeyringError for a key that cannot leave its provider.
    """
    ids = [key_id for key_id in key_ids if _must_change(files, key_id, plain=choose is None)]
    # Before the lock is taken: others need not wait for a person's answer.
    known: list[Passphrase] = []
    plain = {}
    behind: dict[str, Passphrase] = {}
    for key_id in ids:
        files.key(key_id, opener)  # raises for a damaged file
        line = files.line(key_id)
        if outline(line).form is Form.SCRYPT:
            behind[key_id] = opener.passphrase(line, known)
            known.append(behind[key_id])
        plain[key_id] = (line, opener.plain(line, known))
    storage = PLAIN if choose is None or not ids else choose()
    new = storage.passphrase
    for key_id, current in behind.items():
        if new is not None and current.same_as(new):
            del plain[key_id]
    with changing(files.folder, files=files) as change:
        if change.files is not files:
            raise KeyringError(
                "another program changed the keyring meanwhile: nothing was done; try again"
            )
        salt = os.urandom(SALT_SIZE)
        for line, secret in plain.values():
            kept = _kept(secret, storage, salt)
            try:
                change.replace_key(kept.line)
            except BaseException:
                with suppress(KeyringError):
                    # Not if the new file, which refers to the secret, is in place.
                    if read_line(change.folder, outline(line).id).reveal() == line.reveal():
                        kept.undo()
                raise
    return list(plain)


def os_entries(files: RingFiles, key_ids: Iterable[str]) -> dict[str, str]:
    """Return the services under which the OS keyring holds keys of a ring, by their ids."""
    found = {key_id: _in_os_keyring(files.line(key_id)) for key_id in key_ids}
    return {key_id: service for key_id, service in found.items() if service is not None}


def _must_change(files: RingFiles, key_id: str, *, plain: bool) -> bool:
    """Return whether a key must be stored again; raise KeyringError if it cannot be."""
    found = outline(files.line(key_id))
    if found.form is Form.PLAIN and plain:
        return False
    if found.form is Form.EXTERNAL and providers.runs_a_command(found):
        raise KeyringError(
            f"key {key_id} is held by a command, and cannot be copied into a file: leave it out, or"
            " import its plain line with `pickleseal keys import -`"
        )
    path = key_path(files.folder, key_id)
    if not is_alone(path):
        raise KeyringError(
            f"the key file {shown(str(path))} is a link, or has a second hard link, so the secret"
            " would stay there unchanged: replace it with a plain copy first"
        )
    return True


def export_lines(
    files: RingFiles, key_ids: Iterable[str], opener: Opener, *, plain: bool
) -> list[KeyLine]:
    """Return the lines of keys as they are stored or, with `plain`, with the secret."""
    lines = []
    for key_id in key_ids:
        if files.roster.entries[key_id].state is State.REVOKED:
            raise KeyringError(f"key {key_id} is revoked, so it is not exported")
        files.key(key_id, opener)  # raises for a damaged line, which is not exported
        line = files.line(key_id)
        lines.append(opener.plain(line) if plain else line)
    return lines


def kept_as(found: Outline) -> str:
    """Return in words how the key of a line is kept."""
    if found.form is Form.PLAIN:
        return "in its file"
    if found.form is Form.SCRYPT:
        return "behind a passphrase"
    reference = providers.reference_of(found)
    return f"{reference.provider}: {shown(reference.place)}"


def like_primary(files: RingFiles, opener: Opener) -> Storage:
    """Return how to store the key that replaces a ring's primary: as that one is stored.

    Asks for the passphrase. A revoked key is never used: its successor gets a new passphrase. Raise
    KeyringError if the primary is held by a provider in which pickleseal cannot store a new key.
    """
    old = files.roster.predecessor()
    if old is None:
        return PLAIN
    if old.state is State.REVOKED:
        return _like_revoked(files, old.id)
    files.key(old.id, opener)  # raises for a damaged file
    line = files.line(old.id)
    found = outline(line)
    if found.form is Form.PLAIN:
        return PLAIN
    if found.form is Form.SCRYPT:
        return Storage(passphrase=opener.passphrase(line))
    service = _in_os_keyring(line)
    if service is None:
        provider = providers.reference_of(found).provider
        what = {"command": "COMMAND", "aws-kms": "ARN"}.get(provider, "")
        here = option_for(files.folder)
        raise KeyringError(
            f"key {old.id} is held by {provider}, where pickleseal cannot make a key: make it there"
            f" and use `pickleseal keys import --primary --{provider} {what}{here}`, or"
            f" make one in a file with `pickleseal keys rotate --plain{here}`"
        )
    return Storage(os_service=service)


def _like_revoked(files: RingFiles, key_id: str) -> Storage:
    """Return how a revoked key was stored, or another key of the ring if its file is lost."""
    for one in (key_id, *files.roster.entries):
        with suppress(KeyringError):
            line = files.line(one)
            service = _in_os_keyring(line)
            break
    else:
        return PLAIN
    if outline(line).form is Form.SCRYPT:
        # Its own passphrase may be why it was revoked.
        return Storage(passphrase=new_passphrase())
    return Storage(os_service=service)


def _enter(
    change: Change, directory: Path, line: KeyLine, storage: Storage, roster: Roster
) -> Made:
    """Write the file of a new key, then the roster that lists it."""
    kept = _kept(line, storage, b"" if storage.passphrase is None else _ring_salt(change))
    try:
        path = change.add_key(kept.line)
        change.save(roster)
    except BaseException:
        if not change.is_listed(outline(line).id):
            with suppress(KeyringError):
                kept.undo()
        raise
    entry = roster.entries[path.stem]
    return Made(entry, directory / path.name, roster.primary == entry.id)


class _Kept(NamedTuple):
    """The line for a key's file, and the service of an OS keyring's entry that was made for it."""

    line: KeyLine
    made_in: str | None = None

    def undo(self) -> None:
        """Delete the new entry; one that was there before may belong to a copy of the ring."""
        if self.made_in is not None:
            os_keyring.forget(self.made_in, outline(self.line).id)


def _kept(plain: KeyLine, storage: Storage, salt: bytes) -> _Kept:
    """Return the line for a key's file, after checking that it opens."""
    if storage.passphrase is not None:
        wrapped = wrap(plain, storage.passphrase, salt=salt)
        Key.parse(unwrap(wrapped, storage.passphrase))
        return _Kept(wrapped)
    if storage.os_service is not None:
        key = Key.parse(plain)
        is_new = os_keyring.store(storage.os_service, key.id, plain)
        line = reference_line(key.suite, os_keyring.NAME, storage.os_service, key)
        return _Kept(line, storage.os_service if is_new else None)
    return _Kept(plain)


def _in_os_keyring(line: KeyLine) -> str | None:
    found = outline(line)
    if found.form is not Form.EXTERNAL:
        return None
    reference = providers.reference_of(found)
    return reference.place if reference.provider == os_keyring.NAME else None


def _ring_salt(change: Change) -> bytes:
    """Return the salt of the ring's other encrypted keys, or a new one.

    With one salt, one derivation opens all keys of one passphrase.
    """
    if change.files is not None:
        for key_id in change.files.roster.entries:
            with suppress(KeyringError):
                return derivation_of(change.files.line(key_id))[0]
    return os.urandom(SALT_SIZE)
