"""`pickleseal keys backup` and `restore`: a whole ring in one file, behind a passphrase."""

import os
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import click

from pickleseal.cli.keygen import named
from pickleseal.cli.options import PathType, common
from pickleseal.cli.output import Row, answer, guarded
from pickleseal.errors import TargetError, counted, shown
from pickleseal.files.atomic import write_private
from pickleseal.keys.backup import seal_backup
from pickleseal.keys.key import Form, outline
from pickleseal.keys.passphrase import SALT_SIZE
from pickleseal.keys.roster import Roster, State
from pickleseal.keys.store.backup import Restored, ask_and_open, backup_of
from pickleseal.keys.store.backup import restore as restore_ring
from pickleseal.keys.store.changes import kept_as
from pickleseal.keys.store.directory import RingFiles
from pickleseal.keys.store.lookup import keyring_directory
from pickleseal.keys.store.passphrases import new_passphrase
from pickleseal.keys.store.permissions import quoted
from pickleseal.persistence.policy import time_text

_MAX_SIZE = 1 << 23


@click.command()
@click.argument("file", type=PathType(dir_okay=False, local=True))
@common
@guarded
def backup(file: str, *, keyring: str | None) -> int:
    """Write a whole keyring to a new FILE, encrypted with a passphrase.

    It has all keys with their states, limits and notes, and all revocations. Keys in the keyring of
    your system are in it too; of a key in AWS KMS or from a command it has only the reference. The
    passphrase of the backup is read from PICKLESEAL_NEW_PASSPHRASE, or else asked for twice. Keys
    that are behind a passphrase stay behind that one, so keep both.

    \b
    Examples:
      pickleseal keys backup /media/stick/keys.backup
    """
    if os.path.lexists(file):
        raise TargetError(f"{shown(file)} already exists, and is not overwritten")
    directory = keyring_directory(keyring)
    files = RingFiles(directory)
    passphrase, salt = new_passphrase(), os.urandom(SALT_SIZE)
    made = backup_of(files, passphrase, salt=salt, now=int(time.time()))
    write_private(file, lambda: seal_backup(made, passphrase, salt=salt) + "\n", exclusive=True)
    found = {key_id: outline(line) for key_id, line in made.lines.items()}
    elsewhere = {i: kept_as(one) for i, one in found.items() if one.form is Form.EXTERNAL}
    return answer(
        {
            "path": file,
            "keyring": str(directory),
            "epoch": made.roster.epoch,
            "keys": list(made.lines),
            "elsewhere": elsewhere,
        },
        [
            ("backup", file),
            ("ring", _summary(made.roster)),
            *(("without", f"the secret of {i}, held by {place}") for i, place in elsewhere.items()),
            ("keep", "the file and its passphrase in two places, neither on this machine alone"),
            ("later", f"pickleseal keys restore {quoted(Path(file))}{named(keyring, directory)}"),
        ],
        styles={"backup": "green"},
    )


@click.command()
@click.argument("file", type=PathType(dir_okay=False, local=True))
@common
@guarded
def restore(file: str, *, keyring: str | None) -> int:
    """Restore a keyring from a FILE that `keys backup` wrote.

    If there is no keyring, the whole one is written, as it was. If the one that is there came from
    the one in the backup, its missing key files are written, but not those of keys that are revoked
    there: a revocation is final. Nothing is ever overwritten, and any other keyring is left alone.
    The passphrase of the backup is read from PICKLESEAL_PASSPHRASE or from the output of the
    command in PICKLESEAL_PASSPHRASE_COMMAND, or else asked for.

    \b
    Examples:
      pickleseal keys restore /media/stick/keys.backup
      pickleseal keys restore keys.backup --keyring restored
    """
    directory = keyring_directory(keyring)
    with open(file, encoding="latin-1") as stream:
        found = ask_and_open(stream.read(_MAX_SIZE).strip(), file=file)
    done = restore_ring(directory, found)
    rows: list[Row] = [("ring", str(directory)), ("backup", f"made {time_text(found.created)}")]
    if done.is_whole:
        rows.append(("", _summary(found.roster)))
        rows.append(("lacks", "revocations made since: bring them with `pickleseal keys import`"))
    else:
        none = "none restored" if done.revoked else "none was missing: nothing was written"
        rows.append(("files", ", ".join(done.written) or none))
        rows += _left_revoked(done, found.roster, file)
    rows.append(("next", f"pickleseal keys doctor{named(keyring, directory)}"))
    return answer(
        {
            "keyring": str(directory),
            "created": found.created,
            "epoch": found.roster.epoch,
            "whole": done.is_whole,
            "files": done.written,
            "revoked": done.revoked,
        },
        rows,
        styles={"ring": "green", "revoked": "red"},
    )


def _left_revoked(done: Restored, before: Roster, file: str) -> Iterator[Row]:
    """Yield rows on keys that stay revoked, and on the way to their files if there is one."""
    for key_id in done.revoked:
        yield "revoked", f"{key_id}: not restored, since its revocation here is final"
    if any(before.entries[key_id].state is not State.REVOKED for key_id in done.revoked):
        yield (
            "",
            "if nobody else can have the key, open its files with a keyring restored elsewhere",
        )
        yield "", f"pickleseal keys restore {quoted(Path(file))} --keyring NEW_FOLDER"


def _summary(roster: Roster) -> str:
    states = Counter(entry.state.value for entry in roster.entries.values())
    parts = ", ".join(f"{count} {state}" for state, count in states.items())
    return f"{counted(len(roster.entries), 'key')} ({parts}), epoch {roster.pin}"
