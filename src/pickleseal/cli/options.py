"""The options that every command takes."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

_Function = TypeVar("_Function", bound=Callable[..., Any])


def common(command: _Function) -> _Function:
    """Give a command --keyring and --json."""
    with_json = click.option(
        "--json", "as_json", is_flag=True, help="Print one JSON document, errors too."
    )
    with_keyring = click.option(
        "--keyring",
        metavar="DIR",
        type=click.Path(file_okay=False),
        help="The keyring's directory. Default: what PICKLESEAL_KEYRING or PICKLESEAL_KEY name,"
        " else your own.",
    )
    return with_keyring(with_json(command))
