"""`pickleseal inspect`: show who sealed a file, when and for what."""

import click

from pickleseal.cli.options import ANY_PATH, common
from pickleseal.cli.output import (
    CHECK_FAILED,
    COULD_NOT_RUN,
    FINE,
    check_no_folder,
    guarded,
    print_json,
    print_rows,
    wants_json,
)
from pickleseal.errors import KeyringError
from pickleseal.persistence.inspection import Status, inspect_with_error

_STYLES = {
    Status.UNVERIFIED: "bold red",
    Status.HEADER: "bold yellow",
    Status.WHOLE: "bold green",
}


@click.command()
@click.argument("paths", type=ANY_PATH, nargs=-1, required=True, metavar="PATH")
@click.option("--header-only", is_flag=True, help="Don't read the body, for huge files.")
@common
@guarded
def inspect(paths: tuple[str, ...], *, header_only: bool, keyring: str | None) -> int:
    """Show who sealed a file, when and for what.

    Nothing is unpickled. Versions, names and sizes are shown too.
    The status says how much of it is verified: "whole" is every byte; "header" is what the file
    says about itself, but not its body; "unverified" is nothing, for example without the key.

    The exit code is 0 if everything asked for is verified, 1 if it is not, and 2 if it can't be
    checked: there is no key, or the keyring can't be used.

    \b
    Examples:
      pickleseal inspect model.pkl
      pickleseal inspect --header-only --json huge.pkl
    """
    if len(paths) > 1:
        raise click.UsageError("inspect takes one file at a time; pickleseal verify takes many")
    (path,) = paths
    check_no_folder(path)
    found, error = inspect_with_error(path, keyring=keyring, header_only=header_only)
    if wants_json():
        print_json(found.to_dict())
    else:
        print_rows(found.rows(), styles={"status": _STYLES[found.status], "problem": "red"})
    if isinstance(error, KeyringError):
        return COULD_NOT_RUN
    asked = Status.HEADER if header_only else Status.WHOLE
    return FINE if found.status is asked else CHECK_FAILED
