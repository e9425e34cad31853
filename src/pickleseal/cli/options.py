"""The options that commands share."""

import os
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

import click

from pickleseal.errors import KeyringError, check_path, shown
from pickleseal.files.places import is_url, without_credentials
from pickleseal.keys.suite import Suite

_DAY = 86_400

SUITES = {"blake3": Suite.BLAKE3, "sha256": Suite.SHA256}

_Function = TypeVar("_Function", bound=Callable[..., Any])


def last_day(text: str) -> int:
    """Return the Unix time at which a last day, `YYYY-MM-DD`, ends in UTC."""
    try:
        day = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise click.BadParameter(f"'{text}' is not a day: write it as 2027-01-31") from None
    return int(day.timestamp()) + _DAY


def moment(text: str) -> int:
    """Return the Unix time of `YYYY-MM-DD`, or of `YYYY-MM-DDTHH:MM[:SS]`, in UTC."""
    try:
        time = datetime.fromisoformat(text.removesuffix("Z"))
    except ValueError:
        raise click.BadParameter(
            f"'{text}' is not a time: write it as 2027-01-31 or 2027-01-31T14:30"
        ) from None
    if time.tzinfo is None:
        time = time.replace(tzinfo=UTC)
    return int(time.timestamp())


ANY_PATH = click.Path(readable=False)
"""A path or a URL that a shell completes as a path; what is wrong with it, the command says."""


class PathType(click.Path):
    """A path or a URL; a key line is refused, and an empty text, as of an unset variable.

    `local`: a URL is refused, too.
    """

    def __init__(self, *, local: bool = False, **options: Any) -> None:  # noqa: ANN401 - as below
        super().__init__(**options)
        self._local = local

    def convert(
        self,
        value: Any,  # noqa: ANN401 - click's own
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> Any:  # noqa: ANN401 - click's own
        """Return the path as click does."""
        if value == "":
            self.fail("it is empty: is a variable not set?", param, ctx)
        try:
            check_path(os.fspath(value))
        except KeyringError as error:
            self.fail(str(error), param, ctx)
        if is_url(os.fspath(value)):
            if self._local:
                named = shown(without_credentials(os.fspath(value)))
                self.fail(f"it must be on this machine, but {named} is a URL", param, ctx)
            return value  # whether something is there is the store's to tell
        return super().convert(value, param, ctx)


FILE = PathType(readable=False)
"""The path or URL of a file; whether it can be read or written, the command says."""


with_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")


using = click.option(
    "--keyring",
    metavar="DIR",
    type=PathType(file_okay=False),
    help="The keyring's directory. Default: the one that is set up.",
)


def common(command: _Function) -> _Function:
    """Add --keyring and --json to a command."""
    return using(with_json(command))


until = click.option(
    "--sign-until",
    type=last_day,
    metavar="DAY",
    help="The last day on which the key seals (UTC), such as 2027-01-31. Later it only opens.",
)


def limits(command: _Function) -> _Function:
    """Add --context and --sign-until to a command."""
    with_context = click.option(
        "--context",
        "contexts",
        multiple=True,
        metavar="TEXT",
        help="Bind the key to a context, or to all that match, as 'fraud/*'. Repeatable.",
    )
    return with_context(until(command))


agreed = click.option("--yes", is_flag=True, help="Do it without a question.")
note = click.option("--note", default="", metavar="TEXT", help="A note for yourself.")
