"""`pickleseal keygen`: make a key."""

import os
import time
from pathlib import Path

import click

from pickleseal.cli.options import SUITES, common, limits, note
from pickleseal.cli.output import Row, answer, guarded
from pickleseal.errors import KeyringError
from pickleseal.keys.roster import Entry, Roster
from pickleseal.keys.store.changes import PLAIN, Limits, Made, Storage, check_no_primary, create_key
from pickleseal.keys.store.directory import INDEX, RingFiles
from pickleseal.keys.store.lookup import keyring_directory
from pickleseal.keys.store.own import option_for
from pickleseal.keys.store.passphrases import new_passphrase
from pickleseal.persistence.policy import time_text

_DAY = 86_400


@click.command()
@click.option(
    "--suite",
    type=click.Choice(list(SUITES)),
    default="blake3",
    show_default=True,
    help="The hash under the HMAC-SHA-256: blake3 is several times faster, sha256 uses FIPS"
    " algorithms only.",
)
@click.option(
    "--add", is_flag=True, help="Make a further key in a keyring that has one. It only opens."
)
@click.option(
    "--passphrase", is_flag=True, help="Encrypt it with a passphrase, which is asked for."
)
@click.option("--os-keyring", is_flag=True, help="Store it in the keyring of your system.")
@limits
@note
@common
@guarded
def keygen(
    suite: str,
    note: str,
    *,
    add: bool,
    passphrase: bool,
    os_keyring: bool,
    contexts: tuple[str, ...],
    sign_until: int | None,
    keyring: str | None,
) -> int:
    """Make a key, and a keyring if there is none.

    The first key of a keyring is its primary: it seals. If there is a primary, no key is made: see
    `keys rotate`. With --add a further key is made, and the primary stays as it is. The key is
    never printed; whoever has its file can seal in your name.

    \b
    Examples:
      pickleseal keygen
      pickleseal keygen --passphrase
      pickleseal keygen --keyring keys --note "my laptop"
    """
    directory = keyring_directory(keyring)
    files = RingFiles(directory) if os.path.lexists(directory / INDEX) else None
    if files is not None and not add:
        check_no_primary(directory, files.roster)  # before a passphrase is asked for
    made = create_key(
        directory,
        suite=SUITES[suite],
        note=note,
        now=int(time.time()),
        limits=Limits(sign_until, contexts or None),
        storage=storage_of(passphrase=passphrase, os_keyring=os_keyring),
        only_first=not add,
        files=files,
    )
    role = "primary: seals and opens" if made.is_primary else "active: opens only"
    then = "demo" if made.is_primary else f"keys primary {made.entry.id}"
    return answer(
        {**plain(made), "keyring": str(directory)},
        [
            ("key", made.entry.id),
            ("role", role),
            ("file", str(made.path)),
            ("keep", f"a backup: `pickleseal keys backup FILE{named(keyring, directory)}`"),
            ("", "without the key, its files cannot be opened"),
            *[("limits", limit) for limit in limits_of(made.entry)],
            ("next", f"pickleseal {then}{named(keyring, directory)}"),
        ],
        styles={"key": "green"},
    )


def storage_of(*, passphrase: bool, os_keyring: bool) -> Storage:
    """Return how a new key is to be stored."""
    if passphrase and os_keyring:
        raise KeyringError(
            "a key is encrypted with a passphrase or stored in the system's keyring, not both"
        )
    if passphrase:
        return Storage(passphrase=new_passphrase())
    if os_keyring:
        from pickleseal.keys.store.providers.os_keyring import SERVICE  # noqa: PLC0415 - rare

        return Storage(os_service=SERVICE)
    return PLAIN


def limits_of(entry: Entry) -> list[str]:
    """Return the limits of a key in words."""
    limits = []
    if entry.sign_from is not None:
        limits.append(f"seals from {time_text(entry.sign_from)} on")
    if entry.contexts is not None:
        limits.append(f"only for {', '.join(entry.contexts)}")
    if entry.sign_until is not None:
        over = " (over)" if entry.sign_until <= time.time() else ""
        limits.append(f"seals until {end_of(entry.sign_until)}{over}")
    return limits


def end_of(sign_until: int) -> str:
    """Return in words until when a key seals."""
    if sign_until % _DAY:
        return time_text(sign_until)
    return f"the end of {day(sign_until - 1)} (UTC)"


def ways_to_seal(roster: Roster, option: str) -> list[Row]:
    """Return rows on how a ring comes to seal again."""
    old = roster.predecessor()
    if old is None or old.imported is None:
        return [
            ("then", "nothing seals until there is a new key"),
            ("next", f"pickleseal keys rotate{option}"),
        ]
    ways = "run the first line where it was made, the second here"
    return [
        ("then", f"nothing seals here until you bring the new key: {ways}"),
        ("", "pickleseal keys export -o new.txt"),
        ("next", f"pickleseal keys import new.txt{option}"),
    ]


def day(seconds: int | None) -> str:
    """Return the day in UTC of a time in Unix seconds."""
    if seconds is None:
        return "unknown"
    return time_text(seconds, "%Y-%m-%d")


def plain(made: Made) -> dict[str, object]:
    """Return a new key for JSON."""
    return {
        "id": made.entry.id,
        "suite": made.entry.suite and made.entry.suite.value,
        "primary": made.is_primary,
        "path": str(made.path),
    }


def named(keyring: str | None, directory: Path) -> str:
    """Return the option that names the ring, if it was given and is needed."""
    return "" if keyring is None else option_for(directory)
