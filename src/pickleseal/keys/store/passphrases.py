"""Sources of passphrases: the caller, the environment, a command, the terminal."""

import os
import sys
from collections.abc import Callable, Iterator

from pickleseal.errors import KeyringError, shown
from pickleseal.keys.passphrase import Passphrase
from pickleseal.keys.store import terminal, variables
from pickleseal.keys.store.commands import secret_from, split_command

MIN_LENGTH = 8
MAX_LENGTH = 500
"""In UTF-8 it is less than a command may print, and less than a terminal takes in a line."""

_TRIES = 3


def candidates(ask: Callable[[], str] | None, *, what: str) -> Iterator[Passphrase]:
    """Yield the passphrases to try on `what`, such as "key 2c0a...".

    `ask`: the caller's own source. Without it: PICKLESEAL_PASSPHRASE, the command in
    PICKLESEAL_PASSPHRASE_COMMAND, or up to three answers from the terminal. Raise KeyringError if
    there is no source.
    """
    if ask is not None:
        passphrase = Passphrase(ask(), source="the passphrase from passphrase=")
        if not passphrase.is_text:
            raise TypeError("passphrase= takes a function that returns a str")
        yield _checked(passphrase)
    elif (given := _given()) is not None:
        yield given
    elif terminal.is_there():
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

    It comes from PICKLESEAL_NEW_PASSPHRASE, or is asked for twice; never from the sources of the
    current passphrase, which others may know. Raise KeyringError if it is not a good one, or if
    there is no source.
    """
    given = _in_variable(variables.NEW_PASSPHRASE)
    if given is not None:
        fault = _fault(given)
        if fault:
            raise KeyringError(f"{given.source} {fault}")
        return given
    if not terminal.is_there():
        raise KeyringError(
            "a new passphrase is needed, and there is no terminal to ask for it: set"
            f" {variables.NEW_PASSPHRASE}"
        )
    for _ in range(_TRIES):
        first = _asked("New passphrase: ")
        fault = _fault(first)
        if fault:
            print(f"The new passphrase {fault}.", file=sys.stderr)  # noqa: T201 - the dialogue
        elif first.same_as(_asked("Repeat the new passphrase: ")):
            return first
        else:
            print("They differ.", file=sys.stderr)  # noqa: T201 - as above
    raise KeyringError("no new passphrase was chosen")


def _given() -> Passphrase | None:
    given = _in_variable(variables.PASSPHRASE)
    command = os.environ.get(variables.PASSPHRASE_COMMAND)
    if given is not None or command is None:
        return given
    argv = split_command(command, variables.PASSPHRASE_COMMAND)
    # Its standard error might contain the passphrase, which cannot be recognized.
    return secret_from(
        argv,
        lambda text: Passphrase(
            text, source=f"what the command in {variables.PASSPHRASE_COMMAND} printed"
        ),
        quote=False,
    )


def _in_variable(name: str) -> Passphrase | None:
    if name not in os.environ:
        return None
    # As bytes: the same ones that a command prints, whatever the locale.
    return _checked(Passphrase.of_bytes(os.fsencode(os.environ[name]), f"the passphrase in {name}"))


def _asked(question: str) -> Passphrase:
    return _checked(Passphrase.of_bytes(terminal.ask_secret(question), "the passphrase"))


def _checked(passphrase: Passphrase) -> Passphrase:
    if not passphrase.is_unicode:
        raise KeyringError(f"{passphrase.source} is not valid UTF-8: write it in UTF-8")
    return passphrase


def _fault(passphrase: Passphrase) -> str | None:
    """Return why a passphrase cannot be chosen: each source must be able to hold it."""
    if not MIN_LENGTH <= len(passphrase) <= MAX_LENGTH:
        return f"must have {MIN_LENGTH} to {MAX_LENGTH} characters"
    if not passphrase.is_one_line:
        return "must be one line that is not blank"
    return None
