"""Backing up a whole ring, and restoring it: key files, keyring.json, and nothing by halves."""

import os
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from pickleseal.errors import KeyringError, WrongPassphraseError, shown
from pickleseal.keys.backup import FORMAT, Backup, open_backup
from pickleseal.keys.key import KeyLine
from pickleseal.keys.passphrase import Passphrase, wrap
from pickleseal.keys.roster import State
from pickleseal.keys.store import passphrases
from pickleseal.keys.store.changes import os_entries
from pickleseal.keys.store.directory import RingFiles, changing, check_epoch, key_path
from pickleseal.keys.store.lines import Opener
from pickleseal.keys.store.permissions import quoted


def backup_of(files: RingFiles, passphrase: Passphrase, *, salt: bytes, now: int) -> Backup:
    """Return a backup of a ring, which is to be sealed with a passphrase and a salt of 16 bytes.

    A key in the OS keyring is taken from there, and encrypted with the same passphrase. Raise
    KeyringError if a key that is not revoked cannot be read.
    """
    opener = Opener()
    lines: dict[str, KeyLine] = {}
    for entry in files.roster.entries.values():
        # The file of a revoked key is of use for readmission alone, and may be gone.
        with suppress(*([KeyringError] if entry.state is State.REVOKED else [])):
            files.key(entry.id, opener)  # raises for a damaged file
            line = files.line(entry.id)
            if os_entries(files, [entry.id]):
                line = wrap(opener.plain(line), passphrase, salt=salt)
            lines[entry.id] = line
    return Backup(now, files.roster, lines)


def ask_and_open(text: str, *, file: str) -> Backup:
    """Return the backup in a text after asking for its passphrase; KeyringError if it is none."""
    name = shown(file)
    wrong = ""
    if not text.startswith(f"{FORMAT}."):  # before a person is asked
        raise KeyringError(f"{name} is not a backup of a keyring: it does not begin with {FORMAT}")
    for passphrase in passphrases.candidates(None, what=f"the backup {name}"):
        try:
            return open_backup(text, passphrase)
        except WrongPassphraseError as error:
            wrong = f": {error}"
        except KeyringError as error:
            raise KeyringError(f"{name}: {error}") from None
    raise WrongPassphraseError(f"{name} cannot be opened{wrong}")


class Restored(NamedTuple):
    """What a restore wrote: the ids of the keys, and whether keyring.json is from the backup.

    `revoked`: keys in the backup that it left alone, since they are revoked here.
    """

    written: list[str]
    is_whole: bool
    revoked: list[str]


def restore(directory: Path, backup: Backup) -> Restored:
    """Restore a ring where there is none, or the missing key files of one that is not older.

    Nothing that is there is overwritten. Raise KeyringError for a ring that did not come from the
    one in the backup by further changes.
    """
    check_epoch(backup.roster, "the keyring in the backup", None)
    with changing(directory, create=True, restoring=True) as change:
        is_whole = not change.roster.entries
        if not is_whole and not change.roster.came_from(backup.roster):
            raise _other_ring(directory, older=backup.roster.came_from(change.roster))
        written, revoked = [], []
        for key_id, line in backup.lines.items():
            listed = change.roster.entries.get(key_id)
            is_missing = not os.path.lexists(key_path(change.folder, key_id))
            if listed is not None and listed.state is State.REVOKED:
                if is_missing or backup.roster.entries[key_id].state is not State.REVOKED:
                    revoked.append(key_id)
            elif is_missing:
                change.replace_key(line)
                written.append(key_id)
        if is_whole:
            change.save(backup.roster)
    return Restored(written, is_whole, revoked)


def _other_ring(directory: Path, *, older: bool) -> KeyringError:
    what = (
        "an older state of the keyring"
        if older
        else "another keyring, or a copy that was changed separately"
    )
    return KeyringError(
        f"{shown(str(directory))} holds {what}, and is not overwritten: restore the backup"
        " elsewhere"
        " with --keyring, or move this one away first:"
        f" mv -n {quoted(directory)} {quoted(directory.with_name(directory.name + '.old'))}"
    )
