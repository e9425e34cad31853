"""A key in the keyring of the operating system or desktop, through the package `keyring`.

The place is the name of a service there, the user name is the key's id, the password is the
plain key line. Which store that is (macOS Keychain, Windows Credential Locker, Secret
Service, KWallet) and how well it keeps a secret is the business of that package.
"""

from typing import TYPE_CHECKING

from pickleseal.errors import KEY_PREFIX, KeyringError, shown
from pickleseal.keys.key import Key, KeyLine

if TYPE_CHECKING:
    from types import ModuleType

NAME = "os-keyring"
SERVICE = "pickleseal"


def connect(place: str, key_id: str) -> Key:
    """Give the key that the store has under a service's name and the key's id."""
    line = plain_line(place, key_id)
    try:
        return Key.parse(line)
    except KeyringError as error:
        raise KeyringError(
            f"the entry {key_id} under '{shown(place)}' in the keyring of this system: {error}"
        ) from None


def plain_line(place: str, key_id: str) -> KeyLine:
    """Give the line that the store has under a service's name and the key's id."""
    line = _read(place, key_id)
    if isinstance(line, str):
        raise KeyringError(line)
    return line


def store(place: str, key_id: str, line: KeyLine) -> None:
    """Put a plain key line into the store, and see that it can be read again."""
    fault = _write(place, key_id, line)
    if fault is None and connect(place, key_id).id != key_id:
        fault = "the keyring of this system gave another key back than was put into it"
    if fault is not None:
        raise KeyringError(fault)


def forget(place: str, key_id: str) -> None:
    """Take a key line out of the store."""
    try:
        _package().delete_password(place, key_id)
    except KeyringError:
        raise
    except Exception as error:  # noqa: BLE001 - each backend has errors of its own
        raise KeyringError(_complaint(error)) from None


def store_name() -> str:
    """Give what the store calls itself."""
    return _backend(_package())


def _read(place: str, key_id: str) -> KeyLine | str:
    # It returns what is wrong, so that no frame of a traceback holds the secret.
    package = _package()
    try:
        text = package.get_password(place, key_id)
    except Exception as error:  # noqa: BLE001 - as above
        return _complaint(error)
    if text is None:
        return (
            f"the keyring of this system ({_backend(package)}) has no key {key_id} under"
            f" '{shown(place)}'"
        )
    return KeyLine(text)


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
            "the keyring of this system is reached through the package keyring: pip install"
            " 'pickleseal[os-keyring]'"
        ) from None
    package: ModuleType = keyring
    return package


def _backend(package: "ModuleType") -> str:
    return shown(str(package.get_keyring().name))


def _complaint(error: Exception) -> str:
    text = str(error)
    # A backend that starts a program may name its arguments, and the key is one of them.
    reason = "its message has a key line in it" if KEY_PREFIX in text else shown(text)
    return f"the keyring of this system: {type(error).__name__}: {reason}"
