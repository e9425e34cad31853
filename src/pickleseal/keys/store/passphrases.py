"""Sources of passphrases: the caller, the environment, a command, the terminal."""

import getpass
import os
import sys
from collections.abc import Callable, Iterator

from pickleseal.errors import KeyringError, shown
from pickleseal.keys.passphrase import Passphrase
from pickleseal.keys.store import variables
from pickleseal.keys.store.commands import secret_from, split_command

MIN_LENGTH = 8

_TRIES = 3


def candidates(ask: Callable[[], str] | None, *, what: str) -> Iterator[Passphrase]:
    """Yield the passphrases to try on `what`, such as "key 2c0a...".

    `ask`: the caller's own source. Without it: PICKLESEAL_PASSPHRASE, the command in
    PICKLESEAL_PASSPHRASE_COMMAND, or up to three answers from the terminal. Raise KeyringError if
    there is no source.
    """
    if ask is not None:
        passphrase = Passphrase(ask())
        if not passphrase.is_text:
            raise TypeError("passphrase= takes a function that returns a str")
        yield passphrase
    elif (given := _given()) is not None:
        yield given
    elif _is_terminal():
        for attempt in range(_TRIES):
            again = "" if attempt == 0 else "Wrong passphrase. "
            yield _asked(f"{again}Passphrase of {shown(what)}: ")
    else:
        raise KeyringError(
            f"{what} needs a passphrase, and there is no terminal to ask for it: set"
            f" {variables.PASSPHRASE}, or {variables.PASSPHRASE_COMMAND} to a command that prints"
            " it (in a notebook: open_keyring(..., passphrase=getpass.getpass))"
        )


def new_passphrase() -> Passphrase:
    """Return a passphrase for keys that are to be encrypted.

    It comes from PICKLESEAL_NEW_PASSPHRASE, else from the sources of the current passphrase, else
    it is asked for twice. Raise KeyringError if it is too short, or if there is no source.
    """
    text = os.environ.get(variables.NEW_PASSPHRASE)
    if text is not None:
        return _long_enough(Passphrase(text))
    given = _given()
    if given is not None:
        return _long_enough(given)
    if not _is_terminal():
        raise KeyringError(
            f"there is no terminal to ask for a passphrase: set {variables.NEW_PASSPHRASE}, or"
            f" {variables.PASSPHRASE_COMMAND} to a command that prints it"
        )
    for _ in range(_TRIES):
        first = _asked("New passphrase: ")
        if len(first) < MIN_LENGTH:
            print(f"At least {MIN_LENGTH} characters, please.", file=sys.stderr)  # noqa: T201
        elif first.same_as(_asked("Repeat it: ")):
            return first
        else:
            print("They differ.", file=sys.stderr)  # noqa: T201 - beside the question
    raise KeyringError("no passphrase was chosen")


def _given() -> Passphrase | None:
    text = os.environ.get(variables.PASSPHRASE)
    if text is not None:
        return Passphrase(text)
    command = os.environ.get(variables.PASSPHRASE_COMMAND)
    if command is None:
        return None
    argv = split_command(command, variables.PASSPHRASE_COMMAND)
    # Its standard error might contain the passphrase, which cannot be recognized.
    return secret_from(argv, Passphrase, quote=False)


def _asked(question: str) -> Passphrase:
    try:
        return Passphrase(getpass.getpass(question))
    except EOFError:
        raise KeyringError("no passphrase was given") from None


def _is_terminal() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()


def _long_enough(passphrase: Passphrase) -> Passphrase:
    if len(passphrase) < MIN_LENGTH:
        raise KeyringError(f"a passphrase must have at least {MIN_LENGTH} characters")
    return passphrase
