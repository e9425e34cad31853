"""`pickleseal pins`: list and forget the serials that loads remember."""

import click

from pickleseal.cli.lazy import LazyGroup
from pickleseal.cli.options import PathType, with_json
from pickleseal.cli.output import (
    CHECK_FAILED,
    FINE,
    CouldNotRun,
    answer,
    guarded,
    print_json,
    wants_json,
)
from pickleseal.errors import counted, shown
from pickleseal.keys.context import normalize_context
from pickleseal.persistence.pin_file import PinFile, find_pins

_with_file = click.option(
    "--pins",
    "file",
    metavar="FILE",
    type=PathType(dir_okay=False),
    help="The file of pins. Default: the path in PICKLESEAL_PINS.",
)


def _file(given: str | None) -> PinFile:
    found = find_pins(given)
    if found is None:
        raise CouldNotRun("no file of pins is set: name it with --pins or PICKLESEAL_PINS")
    found.check_exists()
    return found


@click.group(cls=LazyGroup, elsewhere={})
def pins() -> None:
    """List and forget the newest serials that were loaded.

    With pins= or PICKLESEAL_PINS, a load remembers the highest serial of each context and its
    content, and refuses older files.
    """


@pins.command("list")
@_with_file
@with_json
@guarded
def list_pins(*, file: str | None) -> int:
    """List each context with its serial and content.

    \b
    Example:
      pickleseal pins list --pins /var/lib/fraud/pins.json
    """
    found = _file(file)
    held = found.read()
    answer(
        {"file": str(found.path), "pins": {name: pin._asdict() for name, pin in held.items()}},
        ((shown(name), f"serial {pin.serial}  {pin.digest}") for name, pin in held.items()),
    )
    if not wants_json():
        click.echo(f"{counted(len(held), 'pin')} in {shown(str(found.path))}", err=True)
    return FINE


@pins.command()
@click.argument("contexts", nargs=-1, metavar="[CONTEXT]...")
@click.option("--all", "everything", is_flag=True, help="Forget the pins of all contexts.")
@_with_file
@with_json
@guarded
def forget(contexts: tuple[str, ...], *, everything: bool, file: str | None) -> int:
    """Forget the pins of contexts, so that lower serials load again.

    Use it after a file was sealed with too high a serial, or to go back to an older version on
    purpose. The exit code is 1 if a context has no pin.

    \b
    Example:
      pickleseal pins forget fraud/v3 --pins /var/lib/fraud/pins.json
    """
    if everything == bool(contexts):
        raise click.UsageError("name contexts, or give --all")
    found = _file(file)
    held = found.read()  # before a lock is made next to what may not be a file of pins
    wanted = list(held) if everything else [normalize_context(c) for c in contexts]
    gone = found.forget(wanted)
    missing = [context for context in wanted if context not in gone]
    if wants_json():
        print_json({"file": str(found.path), "forgotten": gone, "not_there": missing})
    else:
        for context in gone:
            click.echo(f"forgot {shown(context)}")
        for context in missing:
            click.echo(f"no pin for {shown(context)}", err=True)
    return CHECK_FAILED if missing else FINE
