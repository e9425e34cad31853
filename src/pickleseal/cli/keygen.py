"""`pickleseal keygen`: make a key."""

import time

import click

from pickleseal.cli.options import common
from pickleseal.cli.output import FINE, guarded, print_json, print_rows
from pickleseal.keystore.directory import create_key
from pickleseal.keystore.sources import keyring_directory
from pickleseal.suite import Suite

_SUITES = {"blake3": Suite.BLAKE3, "sha256": Suite.SHA256}


@click.command()
@click.option(
    "--suite",
    type=click.Choice(list(_SUITES)),
    default="blake3",
    show_default=True,
    help="The hash under the HMAC-SHA-256: blake3 is several times faster, sha256 is for those"
    " who may use FIPS algorithms only.",
)
@click.option("--note", default="", metavar="TEXT", help="A note to yourself, shown by keys list.")
@common
@guarded
def keygen(suite: str, note: str, *, keyring: str | None, as_json: bool) -> int:
    """Make a key, and the keyring where there is none.

    The first key of a ring is its primary: it seals. A further key opens what it sealed
    elsewhere, and leaves the primary as it is. The key is never printed; whoever has its
    file can seal in your name.

    \b
    Examples:
      pickleseal keygen
      pickleseal keygen --keyring keys --note "my laptop"
    """
    directory = keyring_directory(keyring)
    created = create_key(directory, suite=_SUITES[suite], note=note, now=int(time.time()))
    if as_json:
        print_json(
            {
                "id": created.entry.id,
                "suite": created.entry.suite.value,
                "primary": created.is_primary,
                "path": str(created.path),
                "keyring": str(directory),
            }
        )
        return FINE
    role = "primary: it seals and opens" if created.is_primary else "active: it opens, no more"
    at = "" if keyring is None else f" --keyring {directory}"
    print_rows(
        [
            ("key", created.entry.id),
            ("role", role),
            ("file", str(created.path)),
            ("keep", "a backup of the folder: without the key, what it sealed stays closed"),
            ("next", f"pickleseal demo{at}"),
        ],
        styles={"key": "green"},
    )
    return FINE
