"""The environment variables: their names and values.

See "Variables" in docs/reference/keys.md. A variable with an invalid value is an error: there is no
fallback.
"""

import os

from pickleseal.errors import KeyringError, beginning, check_path, shown
from pickleseal.files.places import without_credentials
from pickleseal.keys.roster import Pin

KEYRING = "PICKLESEAL_KEYRING"
KEYS = "PICKLESEAL_KEY"
MIN_EPOCH = "PICKLESEAL_MIN_EPOCH"
GROUP_READ = "PICKLESEAL_GROUP_READ"
PINS = "PICKLESEAL_PINS"
PASSPHRASE = "PICKLESEAL_PASSPHRASE"  # noqa: S105 - the name of a variable
PASSPHRASE_COMMAND = "PICKLESEAL_PASSPHRASE_COMMAND"  # noqa: S105 - as above
NEW_PASSPHRASE = "PICKLESEAL_NEW_PASSPHRASE"  # noqa: S105 - as above


def keyring() -> str | None:
    """Return the absolute path in PICKLESEAL_KEYRING."""
    return _absolute(KEYRING)


def pins() -> str | None:
    """Return the absolute path in PICKLESEAL_PINS."""
    return _absolute(PINS)


def min_epoch() -> Pin | None:
    """Return the change that a ring must have made, from PICKLESEAL_MIN_EPOCH."""
    text = os.environ.get(MIN_EPOCH)
    if text is None:
        return None
    pin = Pin.parse(text)
    if pin is None:
        raise KeyringError(
            f"{MIN_EPOCH} must be a whole number, or an epoch as `pickleseal keys list` shows it,"
            " but is"
            f" '{shown(text)}'"
        )
    return pin


def group_read() -> bool:
    """Return whether PICKLESEAL_GROUP_READ is 1: a key file's group may read it."""
    text = os.environ.get(GROUP_READ)
    if text not in (None, "1"):
        raise KeyringError(f"{GROUP_READ} must be 1 or not set, but is '{shown(text)}'")
    return text is not None


def _absolute(variable: str) -> str | None:
    path = os.environ.get(variable)
    if path == "":
        raise KeyringError(f"{variable} is empty: unset it, or set it to a path")
    if path is None:
        return None
    with beginning(variable):
        check_path(path)
    if not os.path.isabs(path):
        named = shown(without_credentials(path))
        raise KeyringError(f"{variable} must be an absolute path, but is '{named}'")
    return path
