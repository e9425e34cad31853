"""The environment variables: their names, and what may stand in them.

docs/reference/keys.md, "Variables", is the rule. A variable that is set and cannot be read is
an error: nothing is guessed, and nothing falls back.
"""

import os

from pickleseal.errors import KeyringError, check_path, shown

KEYRING = "PICKLESEAL_KEYRING"
KEYS = "PICKLESEAL_KEY"
MIN_EPOCH = "PICKLESEAL_MIN_EPOCH"
GROUP_READ = "PICKLESEAL_GROUP_READ"
PINS = "PICKLESEAL_PINS"
PASSPHRASE = "PICKLESEAL_PASSPHRASE"  # noqa: S105 - the name of a variable
PASSPHRASE_COMMAND = "PICKLESEAL_PASSPHRASE_COMMAND"  # noqa: S105 - as above
NEW_PASSPHRASE = "PICKLESEAL_NEW_PASSPHRASE"  # noqa: S105 - as above

_MAX_DIGITS = 18


def keyring() -> str | None:
    """Give the directory that PICKLESEAL_KEYRING names, an absolute path."""
    return _absolute(KEYRING)


def pins() -> str | None:
    """Give the file of pins that PICKLESEAL_PINS names, an absolute path."""
    return _absolute(PINS)


def min_epoch() -> int | None:
    """Give the epoch that a keyring must have reached, from PICKLESEAL_MIN_EPOCH."""
    text = os.environ.get(MIN_EPOCH)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS):
        raise KeyringError(f"{MIN_EPOCH} must be a whole number, and it is '{shown(text)}'")
    return int(text)


def group_read() -> bool:
    """Tell whether PICKLESEAL_GROUP_READ is 1: a key file's group may read it."""
    text = os.environ.get(GROUP_READ)
    if text not in (None, "1"):
        raise KeyringError(f"{GROUP_READ} must be 1 or not set, and it is '{shown(text)}'")
    return text is not None


def _absolute(variable: str) -> str | None:
    path = os.environ.get(variable)
    if path == "":
        raise KeyringError(f"{variable} is set and empty: unset it, or fill it")
    if path is None:
        return None
    try:
        check_path(path)
    except KeyringError as error:
        raise KeyringError(f"{variable}: {error}") from None
    if not os.path.isabs(path):
        raise KeyringError(f"{variable} must be an absolute path, and it is '{shown(path)}'")
    return path
