"""`pickleseal keys doctor`: check a keyring."""

import time
from collections.abc import Iterator
from pathlib import Path

import click

from pickleseal.cli.options import common
from pickleseal.cli.output import (
    CHECK_FAILED,
    FINE,
    Line,
    guarded,
    print_json,
    print_lines,
    wants_json,
)
from pickleseal.errors import counted, shown
from pickleseal.keys.store import permissions, variables
from pickleseal.keys.store.doctor import MAX_AGE, examine
from pickleseal.keys.store.lookup import keyring_directory
from pickleseal.keys.store.own import user_directory


@click.command()
@click.option(
    "--max-age",
    type=click.IntRange(min=1),
    default=MAX_AGE,
    show_default=True,
    metavar="DAYS",
    help="The highest age of the primary key.",
)
@common
@guarded
def doctor(max_age: int, *, keyring: str | None) -> int:
    """Check a keyring.

    Checked are who else can reach the keys, missing, damaged and stray files, keys in git or on
    a shared disk, the age of the primary key, and secrets in the environment. Nothing is
    changed, and no passphrase is asked for.

    The exit code is 0 where all is well, 1 where something is wrong, 2 where there is no
    keyring.

    \b
    Examples:
      pickleseal keys doctor
      pickleseal keys doctor --keyring keys --max-age 90
    """
    # Unlike the commands that change a ring, it reports PICKLESEAL_KEY.
    if keyring is None:
        directory = Path(variables.keyring() or user_directory())
    else:
        directory = keyring_directory(keyring)
    found = examine(directory, now=int(time.time()), max_age=max_age)
    code = CHECK_FAILED if found else FINE
    if wants_json():
        # Not escaped for a terminal: a program may run a fix as it is.
        print_json(
            {
                "keyring": str(directory),
                "permissions_checked": permissions.CHECKED,
                "findings": [
                    {"place": one.place, "problem": one.problem, "fix": one.fix} for one in found
                ],
            }
        )
        return code
    print_lines(line for finding in found for line in _lines(finding))
    if not permissions.CHECKED:
        click.echo("permissions were not checked: this system has no modes", err=True)
    if found:
        click.echo(counted(len(found), "finding"), err=True)
    else:
        print_lines([[(f"✓ no problems found in {shown(str(directory))}", "green")]])
    return code


def _lines(finding: permissions.Fault) -> Iterator[Line]:
    yield [("✗ ", "bold red"), (shown(str(finding.place)), "bold")]
    yield [(f"  {shown(finding.problem)}", "")]
    yield [("  fix: ", "dim"), (shown(finding.fix), "cyan")]
