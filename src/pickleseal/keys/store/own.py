"""The user's own keyring, and when a command need not name a keyring."""

import os
from pathlib import Path

from pickleseal.errors import NoKeyError
from pickleseal.keys.store import variables
from pickleseal.keys.store.permissions import quoted

_PARTS = ("pickleseal", "keyring")


def user_directory() -> str:
    """Return the path of the user's own keyring, whether it exists or not.

    Raise NoKeyError for a user without a home directory, as in some containers.
    """
    import platformdirs  # noqa: PLC0415 - only where nothing else names a ring

    try:
        folder = platformdirs.user_data_dir(_PARTS[0], appauthor=False)
    except (RuntimeError, KeyError):
        folder = ""
    # Old versions of platformdirs return a path that begins with `~`.
    if not os.path.isabs(folder):
        raise NoKeyError(
            "this user has no home directory, and so no keyring of its own: set"
            f" {variables.KEYRING} to a keyring's directory, or {variables.KEYS} to key lines"
        )
    return os.path.join(folder, _PARTS[1])


def option_for(directory: Path) -> str:
    """Return the option that names a keyring in a command, with a blank before it.

    It is empty for the user's own keyring. A keyring that a variable names is named here as well:
    whoever reads a message in a log may not have the variable.
    """
    return "" if _is_own(directory) else f" --keyring {quoted(directory)}"


def _is_own(directory: Path) -> bool:
    """Return whether commands use a keyring without being told."""
    if variables.KEYRING in os.environ or variables.KEYS in os.environ:
        return False
    if Path(os.path.abspath(directory)).parts[-2:] != _PARTS:  # platformdirs need not be imported
        return False
    try:
        return os.path.realpath(user_directory()) == os.path.realpath(directory)
    except NoKeyError:
        return False
