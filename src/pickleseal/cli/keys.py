"""`pickleseal keys`: manage the keys of a ring. No command here prints a secret."""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import click

from pickleseal.cli.completion import key_ids
from pickleseal.cli.keygen import day, end_of, limits_of, named, plain, storage_of, ways_to_seal
from pickleseal.cli.lazy import LazyGroup
from pickleseal.cli.options import SUITES, agreed, common, moment, note, until
from pickleseal.cli.output import (
    FINE,
    Line,
    Row,
    answer,
    confirm,
    guarded,
    print_json,
    print_lines,
    wants_json,
)
from pickleseal.errors import KeyringError, holds_key_line, shown
from pickleseal.keys.key import KeyLine, outline
from pickleseal.keys.keyring import Keyring
from pickleseal.keys.roster import Entry, Roster, State
from pickleseal.keys.store.changes import Made, change_roster, kept_as, like_primary
from pickleseal.keys.store.changes import rotate as rotate_key
from pickleseal.keys.store.directory import RingFiles, read_line, read_roster
from pickleseal.keys.store.lines import Opener
from pickleseal.keys.store.lookup import find_keyring, keyring_directory
from pickleseal.persistence.policy import time_text

_ID = re.compile("[0-9a-fA-F]{32}")
_STYLES = {State.ACTIVE: "green", State.RETIRED: "yellow", State.REVOKED: "red"}


@click.group(
    cls=LazyGroup,
    elsewhere={
        "protect": ("custody", "Encrypt keys with a passphrase: all of them, or the named ones."),
        "unprotect": ("custody", "Store keys unencrypted in their files again."),
        "export": ("custody", "Export keys, one line each: the primary, or the named ones."),
        "import": ("custody", "Import keys into a keyring, all or none."),
        "backup": ("backup", "Write a whole keyring to a new FILE, encrypted with a passphrase."),
        "restore": ("backup", "Restore a keyring from a FILE that `keys backup` wrote."),
        "doctor": ("doctor", "Check a keyring."),
    },
)
def keys() -> None:
    """List, rotate, revoke, protect and share keys.

    The primary key seals files. Active and retired keys open files; revoked keys do neither. A
    KEY_ID may be shortened as long as it names one key.
    """


@keys.command(name="list")
@common
@guarded
def list_keys(*, keyring: str | None) -> int:
    """List the keys of a keyring, the primary first.

    \b
    Examples:
      pickleseal keys list
      pickleseal keys list --keyring keys --json
    """
    ring = find_keyring(keyring)
    entries = sorted(ring.entries.values(), key=lambda e: (e.id != ring.primary, e.created or 0))
    if wants_json():
        print_json(
            {
                "keyring": ring.directory or ring.name,
                "epoch": ring.epoch,
                "pin": ring.roster.pin,
                "primary": ring.primary,
                "keys": [_plain(ring, entry) for entry in entries],
            }
        )
        return FINE
    lines: list[Line] = [[(f"{shown(ring.name)}, epoch {ring.roster.pin}", "italic")]]
    lines.append([(f"{'key':<32}  {'state':<15}  {'suite':<6}  created", "bold")])
    for entry in entries:
        state = (f"{_state(ring, entry):<15}", _STYLES[entry.state])
        suite = "" if entry.suite is None else entry.suite.name
        rest = f"  {suite:<6}  {day(entry.created)}"
        lines.append([(f"{entry.id}  ", ""), state, (rest.rstrip(), "")])
        lines += [[(f"  {shown(remark)}", "dim")] for remark in _remarks(entry)]
    print_lines(lines)
    return FINE


@keys.command()
@click.argument("key_id", required=False, shell_complete=key_ids)
@common
@guarded
def show(key_id: str | None, *, keyring: str | None) -> int:
    """Show one key: the one whose id begins with KEY_ID, or the primary.

    \b
    Examples:
      pickleseal keys show
      pickleseal keys show 2c0abba4
    """
    ring = find_keyring(keyring)
    wanted = ring.primary if key_id is None else key_id
    if wanted is None:
        raise KeyringError(f"{ring.name} has no primary: name a key, see `pickleseal keys list`")
    entry = ring.roster.find(wanted)
    rows = [
        ("key", entry.id),
        ("state", _state(ring, entry)),
        ("suite", f"{entry.suite.value} ({entry.suite.name})" if entry.suite else ""),
        ("created", day(entry.created)),
        ("seals from", "" if entry.sign_from is None else time_text(entry.sign_from)),
        ("seals until", end_of(entry.sign_until) if entry.sign_until is not None else ""),
        ("contexts", ", ".join(entry.contexts or ())),
        ("revoked", day(entry.revoked) if entry.revoked is not None else ""),
        ("reason", entry.reason),
        ("leaked", "" if entry.leaked is None else time_text(entry.leaked)),
        ("kept", _kept(ring, entry) or ""),
        ("note", entry.note),
        ("in", ring.name),
    ]
    return answer(
        {"keyring": ring.directory or ring.name, **_plain(ring, entry)},
        (row for row in rows if row[1]),
        styles={"state": _STYLES[entry.state]},
    )


@keys.command()
@click.option("--suite", type=click.Choice(list(SUITES)), help="Default: as the old primary.")
@click.option(
    "--from",
    "sign_from",
    type=moment,
    metavar="TIME",
    help="The new key seals from this time on (UTC), such as 2027-01-31. Until then the old one"
    " does, so that every other machine can import the new one before.",
)
@until
@click.option("--plain", "in_plain", is_flag=True, help="Store it unencrypted in its file.")
@click.option(
    "--passphrase", is_flag=True, help="Encrypt it with a new passphrase, which is asked for."
)
@click.option("--os-keyring", is_flag=True, help="Store it in the keyring of your system.")
@note
@agreed
@common
@guarded
def rotate(
    suite: str | None,
    note: str,
    *,
    sign_from: int | None,
    sign_until: int | None,
    in_plain: bool,
    passphrase: bool,
    os_keyring: bool,
    yes: bool,
    keyring: str | None,
) -> int:
    """Make a new primary key, and retire the old one.

    Files that the old key sealed still open; new files are sealed with the new key. The new key is
    stored in the same way as the old one, unless you choose another one, and is bound to the same
    contexts. Machines that share the keyring need the new key before it seals: choose a time with
    --from, and import it there before.

    \b
    Examples:
      pickleseal keys rotate
      pickleseal keys rotate --from 2027-01-31
      pickleseal keys rotate --note "winter" --sign-until 2027-06-30
    """
    directory = keyring_directory(keyring)
    files = RingFiles(directory)
    option = named(keyring, directory)
    doubt = _doubt(files.roster, option)
    if doubt is not None:
        confirm(doubt, "Make another new key anyway?", yes=yes)
    if [in_plain, passphrase, os_keyring].count(True) > 1:
        raise click.UsageError("choose one of --plain, --passphrase and --os-keyring")
    chosen = in_plain or passphrase or os_keyring
    made = rotate_key(
        directory,
        suite=None if suite is None else SUITES[suite],
        note=note,
        now=int(time.time()),
        sign_from=sign_from,
        sign_until=sign_until,
        storage=storage_of(passphrase=passphrase, os_keyring=os_keyring)
        if chosen
        else like_primary(files, Opener()),
        files=files,
    )
    rows = _rotation(made, files.roster, option)
    return answer({**plain(made), "keyring": str(directory)}, rows, styles={"key": "green"})


def _doubt(roster: Roster, option: str) -> str | None:
    """Return why a new key may not be what is wanted, or None."""
    later, old = roster.successor(), roster.predecessor()
    if roster.primary is not None and later is not None:
        return (
            f"key {later.id} seals from {time_text(later.sign_from or 0)} on: to seal with it now,"
            f" run `pickleseal keys primary {later.id}{option}`"
        )
    if old is not None and old.imported is not None:
        return (
            f"the primary, {old.id}, was imported. If it was rotated where it came from, a new key"
            " here would be a third one: run `pickleseal keys export -o new.txt` there, and"
            f" `pickleseal keys import new.txt{option}` here"
        )
    return None


def _rotation(made: Made, before: Roster, option: str) -> Iterator[Row]:
    """Yield rows on a new key, and on what is left to do here and on other machines."""
    entry, old = made.entry, before.primary
    yield "key", entry.id
    if made.is_primary:
        yield "role", "primary: seals and opens"
        at = "can open new files once they have the new key"
        if old is not None:
            yield "before", f"{old}, retired: opens only"
    else:
        start = time_text(entry.sign_from or 0)
        yield "role", f"opens, and seals from {start} on"
        at = f"need the new key before {start}"
        yield "before", f"{old}, seals until then"
    with suppress(KeyringError):  # the rotation is done, whether its file can be read again or not
        yield "kept", kept_as(outline(read_line(made.path.parent, entry.id)))
    yield "file", str(made.path)
    yield "keep", f"a new backup: `pickleseal keys backup FILE{option}`"
    yield from _way_to_others(f"machines that share this keyring {at}", entry.id, option)
    if made.is_primary:
        everything_revoked = {one.state for one in before.entries.values()} == {State.REVOKED}
        only = " --only-digests INVENTORY" if everything_revoked else ""
        moved = "what an inventory from before the leak lists" if only else "old files"
        yield "next", f"seal {moved} with the new key:"
        yield "", f"pickleseal reseal{option}{only} PATH"


@keys.command()
@click.argument("key_id", shell_complete=key_ids)
@common
@guarded
def retire(key_id: str, *, keyring: str | None) -> int:
    """Stop sealing with a key; keep opening its files.

    To retire the primary, use `keys rotate`, which replaces it.

    \b
    Examples:
      pickleseal keys retire 2c0abba4
    """
    return _change(keyring, key_id, Roster.retire)


@keys.command()
@click.argument("key_id", required=False, shell_complete=key_ids)
@click.option(
    "--id",
    "whole_id",
    metavar="ID",
    help="The whole id of a key, also of one that this keyring does not have.",
)
@click.option("--reason", required=True, metavar="TEXT", help="Why. Errors show it.")
@click.option(
    "--since",
    type=moment,
    metavar="TIME",
    help="Since when others may have had it (UTC), such as 2027-01-31 or 2027-01-31T14:30. Later"
    " inventories readmit none of its files. Can be corrected by revoking it again.",
)
@agreed
@common
@guarded
def revoke(
    key_id: str | None,
    *,
    whole_id: str | None,
    reason: str,
    since: int | None,
    yes: bool,
    keyring: str | None,
) -> int:
    """Revoke a key for good: it neither seals nor opens.

    Do this if somebody may have a copy of it. Files that it sealed are refused from now on: make
    them again from trusted sources, or readmit those that an inventory from before lists, with
    `pickleseal reseal --only-digests`. This can't be undone, also not with a backup: if a key file
    is only lost, look for one first, and run `keys restore`. KEY_ID may also be the whole key line.
    A shortened one has to be confirmed.

    \b
    Examples:
      pickleseal keys revoke 2c0abba4 --reason "laptop stolen"
      pickleseal keys revoke 2c0abba4 --reason "laptop stolen" --since 2027-01-31
      pickleseal keys revoke --id 2c0abba4d7207b23347f7eeb6b697b9d --reason "in a log"
    """
    if (key_id is None) == (whole_id is None):
        raise click.UsageError("name one key, by KEY_ID or --id")
    if whole_id is not None and not _ID.fullmatch(whole_id):
        raise click.UsageError("--id takes a whole id, 32 hexadecimal digits")
    if not reason.strip():
        raise click.UsageError("give a reason: errors show it")
    now = int(time.time())
    if key_id is not None and holds_key_line(key_id):
        key_id = outline(KeyLine(key_id.split()[-1])).id
    if key_id is not None and not _ID.fullmatch(key_id):
        entry = read_roster(keyring_directory(keyring)).find(key_id)
        what = ", ".join([f"created {day(entry.created)}", *_remarks(entry)])
        doubt = f"'{key_id}' is a shortened id, of key {entry.id} ({what})"
        confirm(doubt, "Revoke this key for good?", yes=yes)
        key_id = entry.id
    return _change(
        keyring,
        key_id,
        lambda r, i: r.revoke(i, reason=reason, now=now, leaked=since),
        whole_id=None if whole_id is None else whole_id.lower(),
        travels=True,
    )


@keys.command()
@click.argument("key_id", shell_complete=key_ids)
@common
@guarded
def primary(key_id: str, *, keyring: str | None) -> int:
    """Make a key the primary, which seals. A retired key becomes active.

    The old primary stays active: it opens files.

    \b
    Examples:
      pickleseal keys primary 2c0abba4
    """
    return _change(keyring, key_id, Roster.make_primary)


@keys.command(name="note")
@click.argument("key_id", shell_complete=key_ids)
@click.argument("text")
@common
@guarded
def annotate(key_id: str, text: str, *, keyring: str | None) -> int:
    """Change the note of a key.

    \b
    Examples:
      pickleseal keys note 2c0abba4 "the laptop's"
    """
    return _change(keyring, key_id, lambda r, i: r.annotate(i, text))


@keys.command()
@click.argument("key_id", shell_complete=key_ids)
@until
@click.option("--sign-for-ever", is_flag=True, help="It seals without such a limit.")
@click.option(
    "--context",
    "contexts",
    multiple=True,
    metavar="TEXT",
    help="Bind it to this context, or to all that match, as 'fraud/*'. Repeatable.",
)
@click.option("--any-context", is_flag=True, help="Bind it to no context.")
@common
@guarded
def limit(
    key_id: str,
    *,
    sign_until: int | None,
    sign_for_ever: bool,
    contexts: tuple[str, ...],
    any_context: bool,
    keyring: str | None,
) -> int:
    """Change until when a key seals, and the contexts it is bound to.

    \b
    Examples:
      pickleseal keys limit 2c0abba4 --sign-until 2027-01-31
      pickleseal keys limit 2c0abba4 --context fraud/v3 --context "spam/*"
    """
    if (sign_until is not None and sign_for_ever) or (contexts and any_context):
        raise click.UsageError("a limit cannot be set and removed at once")
    if not (sign_until is not None or sign_for_ever or contexts or any_context):
        raise click.UsageError("name a limit to change")

    def rule(roster: Roster, found: str) -> Roster:
        old = roster.entries[found]
        return roster.limit(
            found,
            sign_until=sign_until if sign_until is not None or sign_for_ever else old.sign_until,
            contexts=(contexts or None) if contexts or any_context else old.contexts,
        )

    return _change(keyring, key_id, rule)


def _change(
    keyring: str | None,
    key_id: str | None,
    rule: Callable[[Roster, str], Roster],
    *,
    whole_id: str | None = None,
    travels: bool = False,
) -> int:
    """Apply a change of `Roster` to the key that an id names, or has, and show it.

    `travels`: other rings need it too.
    """
    directory = keyring_directory(keyring)

    def found(roster: Roster) -> str:
        return whole_id or roster.find(key_id or "").id

    roster = change_roster(directory, lambda before: rule(before, found(before)))
    option = named(keyring, directory)
    entry = roster.entries[found(roster)]
    is_primary = roster.primary == entry.id
    rows = [("key", entry.id), ("state", f"{entry.state.value}{', primary' * is_primary}")]
    rows += [("", remark) for remark in _remarks(entry)]
    if travels:
        rows.append(("final", "no backup brings it back: the files that it sealed are refused"))
        need = "keyrings that have this key need its revocation"
        rows += _way_to_others(need, entry.id, option)
    over = is_primary and entry.sign_until is not None and entry.sign_until <= time.time()
    if roster.primary is None or over:
        rows += ways_to_seal(roster, option)
    return answer(
        {"epoch": roster.epoch, "primary": is_primary, **entry._asdict()},
        rows,
        styles={"state": _STYLES[entry.state]},
    )


def _way_to_others(need: str, key_id: str, option: str) -> list[Row]:
    """Return rows on what other keyrings need, with the commands that bring it to them."""
    file = f"{key_id[:8]}.txt"
    return [
        ("others", f"{need}: run the first line here, the second there"),
        ("", f"pickleseal keys export {key_id} -o {file}{option}"),
        ("", f"pickleseal keys import {file}"),
    ]


def _state(ring: Keyring, entry: Entry) -> str:
    return f"{entry.state.value}, primary" if entry.id == ring.primary else entry.state.value


def _remarks(entry: Entry) -> list[str]:
    """Return remarks on a key: its note, limits, and reason of revocation."""
    remarks = []
    if entry.note:
        remarks.append(entry.note)
    remarks += limits_of(entry)
    if entry.reason:
        remarks.append(f"revoked {day(entry.revoked)}: {entry.reason}")
    if entry.leaked is not None:
        remarks.append(f"others may have had it since {time_text(entry.leaked)}")
    return remarks


def _kept(ring: Keyring, entry: Entry) -> str | None:
    """Return how a key of a ring in a directory is stored."""
    found = ring.outlines.get(entry.id)
    return None if found is None else kept_as(found)


def _plain(ring: Keyring, entry: Entry) -> dict[str, object]:
    return {
        **entry._asdict(),
        "primary": entry.id == ring.primary,
        "kept": _kept(ring, entry),
    }
