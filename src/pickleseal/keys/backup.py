"""A backup: a whole ring in one line of text, behind a passphrase.

See "Backup" in docs/reference/keys.md.
"""

import json
from collections.abc import Mapping
from typing import NamedTuple

from pickleseal.errors import KeyringError
from pickleseal.files.strict_json import parse_json
from pickleseal.keys.key import KeyLine, outline
from pickleseal.keys.passphrase import LOG2_N, Passphrase, lock, unlock
from pickleseal.keys.roster import Roster

FORMAT = "pickleseal-backup-1"


class Backup(NamedTuple):
    """A ring at one time (Unix seconds): its roster, and the lines of its keys by id."""

    created: int
    roster: Roster
    lines: Mapping[str, KeyLine]


def seal_backup(
    backup: Backup, passphrase: Passphrase, *, salt: bytes, log2_n: int = LOG2_N
) -> str:
    """Return the text of a backup. `salt`: 16 random bytes."""

    def content() -> str:
        return json.dumps(
            {
                "created": backup.created,
                "keyring": backup.roster.encode(),
                "lines": {key_id: line.reveal() for key_id, line in backup.lines.items()},
            }
        )

    return lock(FORMAT, content, passphrase, salt=salt, log2_n=log2_n)


def open_backup(text: str, passphrase: Passphrase) -> Backup:
    """Return the backup in a text; raise WrongPassphraseError, or KeyringError if it is none."""
    backup = _parse(unlock(FORMAT, text, passphrase))
    if backup is None:
        raise KeyringError("it is a backup that this version of pickleseal cannot read")
    for key_id, line in backup.lines.items():
        if outline(line).id != key_id or key_id not in backup.roster.entries:
            raise KeyringError(f"it has no key {key_id} as its keyring lists it")
    return backup


def _parse(content: KeyLine) -> Backup | None:
    # It never raises, so that no frame of a traceback holds a secret.
    try:
        fields = parse_json(content.reveal())
        created, keyring, lines = fields["created"], fields["keyring"], fields["lines"]
        return Backup(
            created + 0,
            Roster.decode(keyring.encode()),
            {key_id: KeyLine(line) for key_id, line in lines.items()},
        )
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
