"""The life of keys in a ring's directory: made, rotated, retired, revoked, protected, handed over.

Each change is one step under the ring's lock: the key files first, then keyring.json, which
makes it count. A process that dies in between leaves the ring as it was.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from pickleseal.errors import KeyringError, shown
from pickleseal.keys.key import (
    Form,
    Key,
    KeyLine,
    Outline,
    id_mac,
    outline,
)
from pickleseal.keys.passphrase import (
    SALT_SIZE,
    Passphrase,
    salt_of,
    unwrap,
    wrap,
)
from pickleseal.keys.roster import (
    Entry,
    Roster,
    State,
    new_entry,
)
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
from pickleseal.keys.store.permissions import quoted
from pickleseal.keys.store.providers import (
    Reference,
    aws_kms,
    command,
    os_keyring,
    reference_line,
)
from pickleseal.keys.suite import Suite


class Limits(NamedTuple):
    """What a key may be used for: until when it seals (Unix seconds), for which contexts."""

    sign_until: int | None = None
    contexts: tuple[str, ...] | None = None


class Storage(NamedTuple):
    """How a new secret is kept: plain in its file, behind a passphrase, or in the OS keyring."""

    passphrase: Passphrase | None = None
    os_service: str | None = None


class Made(NamedTuple):
    """A key that came into a ring: its entry, its file, and whether it is the primary."""

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
    """Make a new key in a keyring, and the keyring where there is none.

    The first key of a ring is its primary. `note` is free text for people, `now` the time in Unix
    seconds. `only_first`: refuse a ring that has a primary. Raises KeyringError, or OSError where a
    file cannot be written.
    """
    with changing(directory, create=True, files=files) as change:
        if only_first:
            check_no_primary(directory, change.roster)
        line = KeyLine.generate(suite)
        entry = new_entry(outline(line).id, suite, created=now, note=note, **limits._asdict())
        return _enter(change, directory, line, storage, change.roster.add(entry))


def check_no_primary(directory: Path, roster: Roster) -> None:
    """Raise KeyringError if a ring has a key that seals: one who makes a key may not know."""
    if roster.primary is not None:
        option = f"--keyring {quoted(directory)}"
        raise KeyringError(
            f"{shown(str(directory))} has a key that seals, {roster.primary}: no other one was"
            f" made. To put a new one in its place, run `pickleseal keys rotate {option}`. To add"
            f" one that only opens, run `pickleseal keygen --add {option}`"
        )


def rotate(
    directory: Path,
    *,
    suite: Suite | None = None,
    note: str = "",
    now: int,
    sign_until: int | None = None,
    storage: Storage = PLAIN,
    files: RingFiles | None = None,
) -> Made:
    """Make a new key the primary, and retire the one before it.

    The new key stands for the same contexts, and is of the same suite unless `suite` is given. In
    a ring whose primary was revoked it follows that one.
    """
    with changing(directory, files=files) as change:
        old = change.roster.predecessor()
        line = KeyLine.generate(suite or (old.suite if old else Suite.BLAKE3))
        found = outline(line)
        entry = new_entry(
            found.id,
            found.suite,
            created=now,
            note=note,
            sign_until=sign_until,
            contexts=old.contexts if old else None,
        )
        return _enter(change, directory, line, storage, change.roster.rotate(entry))


class Imported(NamedTuple):
    """What came of an import: the keys that came in, and the ids of those that were there."""

    made: list[Made]
    known: list[str]


def import_keys(
    directory: Path,
    lines: Sequence[KeyLine],
    *,
    note: str = "",
    now: int,
    make_primary: bool = False,
    retired: bool = False,
    limits: Limits = UNLIMITED,
) -> Imported:
    """Take key lines into a ring, all or none, and make the ring where there is none.

    The first one seals if `make_primary`, or if the ring has no primary; `retired` lets
    them open only. A key that the ring has already stays as it is. Raises KeyringError for a line
    that is none, and for a key that is revoked here.
    """
    opener = Opener()
    for line in lines:
        opener.key(line)  # raises for what is no whole key line
    with changing(directory, create=True) as change:
        roster = change.roster
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
            roster = roster.add(entry, make_primary=make_primary and not fresh)
            fresh[found.id] = line
        paths = [change.add_key(line) for line in fresh.values()]
        if paths:
            change.save(roster)
    made = [
        Made(roster.entries[path.stem], directory / path.name, path.stem == roster.primary)
        for path in paths
    ]
    return Imported(made, known)


def command_line(argv: Sequence[str]) -> KeyLine:
    """Make the line of a key that a command prints; it is run once, to learn the id."""
    place = command.place_of(argv)
    key = command.connect(place, "")
    return reference_line(key.suite, Reference(command.NAME, place, id_mac(key.suite, key)))


def kms_line(arn: str, suite: Suite) -> KeyLine:
    """Make the line of an HMAC key in AWS KMS; GenerateMac is called once, to learn the id."""
    return reference_line(
        suite, Reference(aws_kms.NAME, arn, id_mac(suite, aws_kms.connect(arn, "")))
    )


def change_roster(directory: Path, rule: Callable[[Roster], Roster]) -> Roster:
    """Apply one of `Roster`'s changes to a ring, and give the new roster."""
    with changing(directory) as change:
        change.save(rule(change.roster))
        return change.roster


def protect(
    files: RingFiles,
    key_ids: Iterable[str],
    opener: Opener,
    choose: Callable[[], Storage] | None,
) -> list[str]:
    """Keep keys of a ring in another way. Gives the ids of those changed.

    `choose` says in which, and is asked when all keys are at hand; None: plainly in their files.
    A key that is plain already stays as it is where plain is asked for. Each key file is
    replaced as a whole, by one that was seen to open. Raises KeyringError for a key that
    cannot leave where it is held, and where all was done but a secret stays in the OS keyring.
    """
    ids = [key_id for key_id in key_ids if _must_change(files, key_id, plain=choose is None)]
    # Asked for before the lock is taken: others need not wait for a person's answer.
    known: list[Passphrase] = []
    plain = {}
    for key_id in ids:
        line = files.line(key_id)
        if outline(line).form is Form.SCRYPT:
            known.append(opener.passphrase(line, known))
        plain[key_id] = (line, opener.plain(line, known))
    storage = PLAIN if choose is None or not ids else choose()
    left = []
    with changing(files.folder, files=files) as change:
        if change.files is not files:
            raise KeyringError("the keyring was changed meanwhile: nothing was done, try again")
        salt = os.urandom(SALT_SIZE)
        for old, secret in plain.values():
            kept = _kept(secret, storage, salt)
            try:
                change.replace_key(kept)
            except BaseException:
                with suppress(KeyringError):
                    # Only if the file did not come to refer to what would be forgotten.
                    if read_line(change.folder, outline(old).id).reveal() == old.reveal():
                        _forget(kept, old)
                raise
            try:
                _forget(old, kept)
            except KeyringError as error:
                left.append(f"{outline(old).id} ({error})")
    if left:
        raise KeyringError(
            f"{len(ids)} keys were changed, but the secrets of these stay in the keyring of this"
            f" system, from where you may delete them: {', '.join(left)}"
        )
    return ids


def _must_change(files: RingFiles, key_id: str, *, plain: bool) -> bool:
    """Tell whether a key is kept otherwise than it is to be; raise where that would not do."""
    found = outline(files.line(key_id))
    if found.form is Form.PLAIN and plain:
        return False
    if found.form is Form.EXTERNAL and providers.runs_a_command(found):
        raise KeyringError(
            f"key {key_id} is held by a command, and a copy of it here would be another place to"
            " lose it from: leave it out, or take it in from its line with pickleseal keys import"
        )
    path = key_path(files.folder, key_id)
    if not is_alone(path):
        raise KeyringError(
            f"the key file {shown(str(path))} is a link, or has a second name: what that leads to"
            " would keep the secret as it is. Put the file itself there first"
        )
    return True


def export_lines(
    files: RingFiles, key_ids: Iterable[str], opener: Opener, *, plain: bool
) -> list[KeyLine]:
    """Give the lines of keys, as they are kept or, with `plain`, with the secret in them."""
    lines = []
    for key_id in key_ids:
        if files.roster.entries[key_id].state is State.REVOKED:
            raise KeyringError(f"key {key_id} is revoked: it is not handed to anybody")
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
    """Give the way in which a ring's primary is kept, for the key that follows it.

    A passphrase is asked for. Raises KeyringError where the primary is held by something that
    pickleseal cannot put a new key into.
    """
    old = files.roster.predecessor()
    if old is None:
        return PLAIN
    files.key(old.id, opener)  # raises for a damaged file
    line = files.line(old.id)
    found = outline(line)
    if found.form is Form.PLAIN:
        return PLAIN
    if found.form is Form.SCRYPT:
        return Storage(passphrase=opener.passphrase(line))
    service = _in_os_keyring(line)
    if service is None:
        raise KeyringError(
            f"key {old.id} is held by {providers.reference_of(found).provider}: make the new key"
            " there, take it in with pickleseal keys import --primary, and retire the old one"
        )
    return Storage(os_service=service)


def _enter(
    change: Change, directory: Path, line: KeyLine, storage: Storage, roster: Roster
) -> Made:
    """Write the file of a new key, and then the roster that lists it."""
    kept = _kept(line, storage, b"" if storage.passphrase is None else _ring_salt(change))
    try:
        path = change.add_key(kept)
        change.save(roster)
    except BaseException:
        if not change.is_listed(outline(line).id):
            with suppress(KeyringError):
                _forget(kept, line)
        raise
    entry = roster.entries[path.stem]
    return Made(entry, directory / path.name, roster.primary == entry.id)


def _kept(plain: KeyLine, storage: Storage, salt: bytes) -> KeyLine:
    """Give the line that stands in a key's file for a way of keeping it, and read it back."""
    if storage.passphrase is not None:
        wrapped = wrap(plain, storage.passphrase, salt=salt)
        Key.parse(unwrap(wrapped, storage.passphrase))
        return wrapped
    if storage.os_service is not None:
        key = Key.parse(plain)
        os_keyring.store(storage.os_service, key.id, plain)
        return reference_line(
            key.suite, Reference(os_keyring.NAME, storage.os_service, id_mac(key.suite, key))
        )
    return plain


def _forget(old: KeyLine, new: KeyLine) -> None:
    """Take a secret out of the OS keyring that is kept elsewhere now."""
    before = _in_os_keyring(old)
    if before is not None and before != _in_os_keyring(new):
        os_keyring.forget(before, outline(old).id)


def _in_os_keyring(line: KeyLine) -> str | None:
    found = outline(line)
    if found.form is not Form.EXTERNAL:
        return None
    reference = providers.reference_of(found)
    return reference.place if reference.provider == os_keyring.NAME else None


def _ring_salt(change: Change) -> bytes:
    """Give the salt that the ring's other keys behind passphrases have, or a new one.

    With one salt, one derivation opens all that one passphrase protects.
    """
    for key_id in () if change.files is None else change.files.roster.entries:
        with suppress(KeyringError):
            return salt_of(change.files.line(key_id))
    return os.urandom(SALT_SIZE)
