"""Keys in the keyring of the operating system or desktop, through the package `keyring`.

The place is the name of a service, the user name is the key's id, the password is the plain key
line. The package chooses the store: macOS Keychain, Windows Credential Locker, Secret Service,
KWallet.
"""

from typing import TYPE_CHECKING

from pickleseal.errors import KEY_PREFIX, KeyringError, beginning, shown
from pickleseal.keys.key import Key, KeyLine

if TYPE_CHECKING:
    from types import ModuleType

NAME = "os-keyring"
SERVICE = "pickleseal"


def connect(place: str, key_id: str) -> Key:
    """Return the key that is stored under a service's name and the key's id."""
    line = plain_line(place, key_id)
    with beginning(f"the entry {key_id} under '{shown(place)}' in the keyring of this system"):
        return Key.parse(line)


def plain_line(place: str, key_id: str) -> KeyLine:
    """Return the line that is stored under a service's name and the key's id."""
    line = _read(place, key_id)
    if line is None:
        name = shown(str(_package().get_keyring().name))
        raise KeyringError(
            f"the keyring of this system ({name}) has no key {key_id} under '{shown(place)}'"
        )
    if isinstance(line, str):
        raise KeyringError(line)
    return line


def store(place: str, key_id: str, line: KeyLine) -> bool:
    """Store a plain key line, and check that it can be read again.

    Return whether there was no entry before.
    """
    before = _read(place, key_id)
    fault = before if isinstance(before, str) else _write(place, key_id, line)
    if fault is None and connect(place, key_id).id != key_id:
        fault = "the keyring of this system returned another key than was stored"
    if fault is not None:
        raise KeyringError(fault)
    return before is None


def forget(place: str, key_id: str) -> None:
    """Delete a key line from the store."""
    package = _package()
    try:
        package.delete_password(place, key_id)
    except Exception as error:  # noqa: BLE001 - each backend has errors of its own
        raise KeyringError(_complaint(error)) from None


def _read(place: str, key_id: str) -> KeyLine | str | None:
    """Return the line of an entry, what is wrong, or None if there is no entry."""
    # It never raises, so that no frame of a traceback holds the secret.
    package = _package()
    try:
        text = package.get_password(place, key_id)
    except Exception as error:  # noqa: BLE001 - as above
        return _complaint(error)
    return None if text is None else KeyLine(text)


def _write(place: str, key_id: str, line: KeyLine) -> str | None:
    package = _package()
    try:
        package.set_password(place, key_id, line.reveal())
    except Exception as error:  # noqa: BLE001 - as above
        return _complaint(error)
    return None


def _package() -> "ModuleType":
    try:
        import keyring  # noqa: PLC0415 - an extra, and slow to import
    except ImportError:
        raise KeyringError(
            "the keyring of this system needs the package keyring: pip install"
            " 'pickleseal[os-keyring]'"
        ) from None
    package: ModuleType = keyring
    return package


def _complaint(error: Exception) -> str:
    text = str(error)
    # A backend that starts a program may quote its arguments, and the key is one of them.
    reason = "its message contains a key line" if KEY_PREFIX in text else shown(text)
    return f"the keyring of this system: {type(error).__name__}: {reason}"
