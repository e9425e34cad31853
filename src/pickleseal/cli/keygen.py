"""`pickleseal keygen`: make a key."""

import os
import time
from pathlib import Path

import click

from pickleseal.cli.options import (
    SUITES,
    changing,
    limits,
    note,
)
from pickleseal.cli.output import (
    FINE,
    guarded,
    print_json,
    print_rows,
)
from pickleseal.errors import KeyringError
from pickleseal.keys.roster import Entry
from pickleseal.keys.store.changes import (
    PLAIN,
    Limits,
    Made,
    Storage,
    check_no_primary,
    create_key,
)
from pickleseal.keys.store.directory import INDEX, RingFiles
from pickleseal.keys.store.lookup import keyring_directory
from pickleseal.keys.store.passphrases import new_passphrase
from pickleseal.keys.store.permissions import quoted
from pickleseal.persistence.policy import time_text


@click.command()
@click.option(
    "--suite",
    type=click.Choice(list(SUITES)),
    default="blake3",
    show_default=True,
    help="The hash under the HMAC-SHA-256: blake3 is several times faster, sha256 is for those"
    " who may use FIPS algorithms only.",
)
@click.option(
    "--add", is_flag=True, help="Make a further key in a ring that has one. It does not seal yet."
)
@click.option("--passphrase", is_flag=True, help="Keep it behind a passphrase, which is asked for.")
@click.option("--os-keyring", is_flag=True, help="Keep it in the keyring of your system.")
@limits
@note
@changing
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
    as_json: bool,
) -> int:
    """Make a key, and the keyring where there is none.

    The first key of a ring is its primary: it seals. Where there is one, no other is made: to
    change keys, see `keys rotate`. With --add a further key is made, which leaves the primary as
    it is. The key is never printed; whoever has its file can seal in your name.

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
    role = "primary: it seals and opens" if made.is_primary else "active: it opens, no more"
    then = "demo" if made.is_primary else f"keys primary {made.entry.id[:8]}, to let it seal"
    if as_json:
        print_json({**plain(made), "keyring": str(directory)})
        return FINE
    print_rows(
        [
            ("key", made.entry.id),
            ("role", role),
            ("file", str(made.path)),
            ("keep", _backup_of(os_keyring=os_keyring)),
            *[("limits", limit) for limit in limits_of(made.entry)],
            ("next", f"pickleseal {then}{named(keyring, directory)}"),
        ],
        styles={"key": "green"},
    )
    return FINE


def storage_of(*, passphrase: bool, os_keyring: bool) -> Storage:
    """Give the way of keeping a key that was asked for."""
    if passphrase and os_keyring:
        raise KeyringError("a key is kept behind a passphrase or in the system's keyring, not both")
    if passphrase:
        return Storage(passphrase=new_passphrase())
    if os_keyring:
        from pickleseal.keys.store.providers.os_keyring import SERVICE  # noqa: PLC0415 - rare

        return Storage(os_service=SERVICE)
    return PLAIN


def _backup_of(*, os_keyring: bool) -> str:
    lost = "without the key, what it sealed stays closed"
    if not os_keyring:
        return f"a backup of the folder: {lost}"
    from pickleseal.keys.store.providers.os_keyring import store_name  # noqa: PLC0415 - rare

    return f"a backup of your system's keyring ({store_name()}): {lost}"


def limits_of(entry: Entry) -> list[str]:
    """Give the limits of a key in words."""
    limits = []
    if entry.contexts is not None:
        limits.append(f"for {', '.join(entry.contexts)} alone")
    if entry.sign_until is not None:
        over = " (over)" if entry.sign_until <= time.time() else ""
        limits.append(f"seals until {day(entry.sign_until)}{over}")
    return limits


def day(seconds: int | None) -> str:
    """Give the day, in UTC, of a time that a ring names."""
    if seconds is None:
        return "unknown"
    return time_text(seconds, "%Y-%m-%d")


def plain(made: Made) -> dict[str, object]:
    """Give a new key as it stands in JSON."""
    return {
        "id": made.entry.id,
        "suite": made.entry.suite.value,
        "primary": made.is_primary,
        "path": str(made.path),
    }


def named(keyring: str | None, directory: Path) -> str:
    """Give the option that names a ring again, if one was named."""
    return "" if keyring is None else f" --keyring {quoted(directory)}"
