"""Which keyring a call uses: the order of the sources, and the rings kept open.

docs/reference/keys.md, "Where keys come from", is the rule: the argument, the environment,
the user's own directory; never the current directory, never what lies beside a pickle.
"""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from pickleseal.errors import KeyringError, NoKeyError, shown
from pickleseal.keyring import Keyring
from pickleseal.keys import PREFIX, Key, KeyLine
from pickleseal.keystore.directory import INDEX, open_keyring

KEYRING_VARIABLE = "PICKLESEAL_KEYRING"
KEYS_VARIABLE = "PICKLESEAL_KEY"

_Stamp = tuple[int, ...] | bytes

# The one state that this package keeps: rings opened before, each with what tells whether it
# changed. Opening one anew for each small load would cost a third of that load.
_open_rings: dict[str, tuple[_Stamp, Keyring]] = {}


def find_keyring(given: Keyring | str | os.PathLike[str] | None = None) -> Keyring:
    """Give the keyring to use: the one given, or the first that is set up.

    `given`: a Keyring, or the path of a keyring's directory (`~` is your home). Without it,
    in this order: the directory that PICKLESEAL_KEYRING names (an absolute path), the key
    lines in PICKLESEAL_KEY (the first seals, the others open), the user's own directory.
    Raises NoKeyError where there is none, KeyringError where there is one that cannot be used.
    """
    if given is not None:
        if isinstance(given, Keyring):
            return given
        return _kept_directory(_checked_path(given))
    directory = os.environ.get(KEYRING_VARIABLE)
    if directory is not None:
        return _kept_directory(_from_variable(directory))
    lines = _variable_lines()
    if lines is not None:
        return _kept_lines(lines)
    own = user_directory()
    if os.path.lexists(os.path.join(own, INDEX)):
        return _kept_directory(own)
    raise NoKeyError(
        "there is no key yet. Make one with: pickleseal keygen (or name a keyring's directory"
        f" with keyring= or {KEYRING_VARIABLE})"
    )


def keyring_directory(given: str | os.PathLike[str] | None = None) -> Path:
    """Give the directory that a new key goes to: the one given, the variable's, the user's own.

    A relative path is taken from the current directory here, since a person named it.
    """
    if given is not None:
        return Path(_checked_path(given))
    directory = os.environ.get(KEYRING_VARIABLE)
    return Path(_from_variable(directory) if directory is not None else user_directory())


def user_directory() -> str:
    """Give the path of the user's own keyring, whether there is one or not."""
    import platformdirs  # noqa: PLC0415 - only where nothing else names a ring

    return os.path.join(platformdirs.user_data_dir("pickleseal", appauthor=False), "keyring")


def _checked_path(given: str | os.PathLike[str]) -> str:
    if isinstance(given, Key):
        raise TypeError("keyring= takes a Keyring or a directory's path; wrap it: Keyring(key)")
    path = os.fspath(given)
    if not isinstance(path, str):
        raise TypeError(f"keyring= takes a Keyring or a path, not {type(given).__name__}")
    if path.startswith(PREFIX):
        raise KeyringError("keyring= takes the path of a directory, and this is a key line")
    return os.path.expanduser(path)


def _variable_lines() -> KeyLine | None:
    return KeyLine(os.environ[KEYS_VARIABLE]) if KEYS_VARIABLE in os.environ else None


def _from_variable(directory: str) -> str:
    if not os.path.isabs(directory):
        raise KeyringError(
            f"{KEYRING_VARIABLE} must be an absolute path, and it is '{shown(directory)}'"
        )
    return directory


def _kept_directory(directory: str) -> Keyring:
    def stamp() -> _Stamp:
        status = os.stat(os.path.join(directory, INDEX))
        return (status.st_ino, status.st_mtime_ns, status.st_size, status.st_dev)

    try:
        before = stamp()
    except OSError:
        return open_keyring(directory)  # which says what is wrong
    return _kept(os.path.abspath(directory), before, lambda: open_keyring(directory))


def _kept_lines(lines: KeyLine) -> Keyring:
    stamp = hashlib.sha256(lines.reveal().encode("utf-8", "surrogateescape")).digest()
    return _kept(KEYS_VARIABLE, stamp, lambda: _parse_lines(lines))


def _kept(name: str, stamp: _Stamp, read: Callable[[], Keyring]) -> Keyring:
    kept = _open_rings.get(name)
    if kept is not None and kept[0] == stamp:
        return kept[1]
    ring = read()
    _open_rings[name] = (stamp, ring)
    return ring


def _parse_lines(lines: KeyLine) -> Keyring:
    parts = [KeyLine(text) for text in lines.reveal().split()]
    if not parts:
        raise KeyringError(f"{KEYS_VARIABLE} is set and holds no key line: unset it, or fill it")
    try:
        keys = [Key.parse(part) for part in parts]
    except KeyringError as error:
        raise KeyringError(f"{KEYS_VARIABLE}: {error}") from None
    ring = Keyring(*{key.id: key for key in keys}.values())
    ring.name = f"the keyring in {KEYS_VARIABLE}"
    return ring
