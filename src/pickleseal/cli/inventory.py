"""`pickleseal inventory`: a sealed list of what lies here."""

import time

import click

from pickleseal.cli.options import common
from pickleseal.cli.output import (
    CHECK_FAILED,
    FINE,
    console,
    describe,
    guarded,
    print_json,
    print_rows,
)
from pickleseal.cli.progress import tracked
from pickleseal.errors import SealError, shown
from pickleseal.inventory import Inventory
from pickleseal.keystore.sources import find_keyring
from pickleseal.metadata import normalize_context
from pickleseal.stocktaking import Taken, take, write_inventory


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option("--output", required=True, metavar="FILE", help="Where to write the list.")
@click.option("--context", metavar="TEXT", help="What to seal the list for. Default: nothing.")
@common
@guarded
def inventory(
    paths: tuple[str, ...], *, output: str, context: str | None, keyring: str | None, as_json: bool
) -> int:
    """Write a sealed list of the sealed files here.

    Every file is verified, and nothing is unpickled; those whose seal holds are listed, each by the
    digests of its content and of what it says of itself. Keep the list, and its SHA-256, where the
    key is not: should the key leak, `pickleseal reseal --only-digests` readmits what it lists.

    The exit code is 0 where all seals hold, 1 where one does not, 2 where a file cannot be read.

    \b
    Examples:
      pickleseal inventory models/ --output models.inventory
    """
    ring = find_keyring(keyring)
    sealed_for = None if context is None else normalize_context(context)
    ring.sealing_key(context=sealed_for, now=time.time())  # before an hour's work, not after it
    taken = list(tracked(take(paths, keyring=ring), paths, "Taking stock"))
    unread = [one for one in taken if one.error and not isinstance(one.error, SealError)]
    items = tuple(one.item for one in taken if one.item is not None)
    troubles = [one for one in taken if one.error is not None]
    if unread or not items:
        # A good list of yesterday's must not give way to one that a slip of the hand made.
        _show_troubles(troubles, as_json=as_json)
        what = f"{len(unread)} could not be read" if unread else "there is nothing to list"
        raise click.ClickException(f"{what}: no list was written")
    listed = Inventory(int(time.time()), items)
    sha256 = write_inventory(listed, output, keyring=ring, context=context)
    left = len(taken) - len(items) - len(troubles)
    if as_json:
        print_json(
            {
                "path": output,
                "sha256": sha256,
                "listed": len(items),
                "left_out": [
                    {"path": one.path, "reason": shown(one.reason or "")}
                    for one in taken
                    if one.item is None
                ],
            }
        )
    else:
        _show_troubles(troubles, as_json=False)
        print_rows(
            [
                ("list", output),
                ("sha256", sha256),
                ("files", f"{len(items)} listed, {left} left out, {len(troubles)} refused"),
                ("keep", "the list and its SHA-256 apart from the key"),
            ]
        )
    return CHECK_FAILED if troubles else FINE


def _show_troubles(troubles: list[Taken], *, as_json: bool) -> None:
    from rich.text import Text  # noqa: PLC0415 - only where something is shown

    for one in [] if as_json else troubles:
        reason = describe(one.error)["message"] if one.error else ""
        reason = reason.removeprefix(f"{shown(one.path)}: ")
        line = Text.assemble(("✗ ", "bold red"), (shown(one.path), "bold"), f": {reason}")
        console().print(line, soft_wrap=True)
