"""The options that commands share."""

import os
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

import click

from pickleseal.errors import KeyringError, check_path
from pickleseal.keys.suite import Suite

SUITES = {"blake3": Suite.BLAKE3, "sha256": Suite.SHA256}

_Function = TypeVar("_Function", bound=Callable[..., Any])


# The base class is generic in new versions of click alone.
class Day(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """A day, `YYYY-MM-DD`: the Unix seconds at which it begins in UTC."""

    name = "day"

    def convert(
        self,
        value: Any,  # noqa: ANN401 - click's own
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> int:
        """Give the Unix seconds of a day."""
        if isinstance(value, int):
            return value
        try:
            day = datetime.strptime(value, "%Y-%m-%d").replace(tzinfo=UTC)
        except ValueError:
            self.fail(f"'{value}' is no day: write it as 2027-01-31", param, ctx)
        return int(day.timestamp())


class PathType(click.Path):
    """A path, which is no key line."""

    def convert(
        self,
        value: Any,  # noqa: ANN401 - click's own
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> Any:  # noqa: ANN401 - click's own
        """Return the path as click does."""
        try:
            check_path(os.fspath(value))
        except KeyringError as error:
            self.fail(str(error), param, ctx)
        return super().convert(value, param, ctx)


def not_empty(
    ctx: click.Context,  # noqa: ARG001 - click's own
    param: click.Parameter,  # noqa: ARG001 - click's own
    value: str | None,
) -> str | None:
    """Give the path that an option has, and refuse one that a variable left empty."""
    if value == "":
        raise click.BadParameter("it is empty: is a variable not set?")
    return value


_with_json = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document, errors too."
)


def _with_keyring(command: _Function, *, default: str) -> _Function:
    return click.option(
        "--keyring",
        metavar="DIR",
        type=PathType(file_okay=False),
        help=f"The keyring's directory. Default: {default}, else your own.",
    )(command)


def using(command: _Function) -> _Function:
    """Give a command that uses a ring --keyring."""
    return _with_keyring(command, default="what PICKLESEAL_KEYRING or PICKLESEAL_KEY name")


def common(command: _Function) -> _Function:
    """Give a command that uses a ring --keyring and --json."""
    return using(_with_json(command))


def changing(command: _Function) -> _Function:
    """Give a command that needs a ring's directory --keyring and --json."""
    return _with_keyring(_with_json(command), default="the one that PICKLESEAL_KEYRING names")


def limits(command: _Function) -> _Function:
    """Give a command --context and --sign-until."""
    with_until = click.option(
        "--sign-until",
        type=Day(),
        metavar="DAY",
        help="Let it seal until this day, such as 2027-01-31 (UTC), and only open after it.",
    )
    with_context = click.option(
        "--context",
        "contexts",
        multiple=True,
        metavar="TEXT",
        help="Bind it to a context, or to all that begin with TEXT, as in 'fraud/*'. It then"
        " stands for nothing else. May be given several times.",
    )
    return with_context(with_until(command))


note = click.option("--note", default="", metavar="TEXT", help="A note to yourself.")
