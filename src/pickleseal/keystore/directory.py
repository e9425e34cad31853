"""A keyring's directory: `keyring.json`, which lists the keys, and one file for each key.

docs/reference/keys.md, "Keyring directory", is the rule. Changes are made under a lock and
take effect when keyring.json is replaced; a key file that it does not list is nothing.
"""

import json
import os
import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from pickleseal.errors import KeyringError, shown
from pickleseal.keyring import Entry, Keyring, State
from pickleseal.keys import Key, KeyLine
from pickleseal.keystore import permissions
from pickleseal.suite import Suite

INDEX = "keyring.json"
FORMAT = "pickleseal-keyring-1"

_LOCK = "keyring.lock"
_ID = re.compile(r"[0-9a-f]{32}", re.ASCII)
_MAX_INDEX = 1 << 20
_MAX_KEY_FILE = 1 << 10
_GITIGNORE = "# Keys are secrets: nothing here is for git.\n*\n!.gitignore\n!README.md\n"


class Created(NamedTuple):
    """A key that was made: its entry, its file, and whether it is the ring's primary."""

    entry: Entry
    path: Path
    is_primary: bool


def open_keyring(directory: str | os.PathLike[str], *, group_read: bool = False) -> Keyring:
    """Read the keyring in a directory, after checking that nobody else can change it.

    `directory`: its path. `group_read`: take key files that their group may read (mode
    0640 or 0440), as a Kubernetes secret with fsGroup has them; default False.
    Returns a Keyring of the keys that its keyring.json lists. Raises KeyringError where there
    is no keyring or it is damaged, KeyPermissionError where others can reach it.
    """
    folder = Path(directory)
    name = f"the keyring {shown(str(folder))}"
    index = _read_index(folder)
    entries = []
    for key_id, fields in index["keys"].items():
        state = State(fields["state"])
        key = None
        if state is not State.REVOKED:
            key = _read_key(folder, key_id, group_read=group_read)
            if key.suite.value != fields["suite"]:
                raise KeyringError(f"{name} lists key {key_id} under another suite than its own")
        entries.append(
            Entry(
                key_id,
                Suite(fields["suite"]),
                state,
                key,
                fields.get("created"),
                fields.get("note", ""),
            )
        )
    return Keyring.of(entries, primary=index["primary"], name=name)


def create_key(directory: Path, *, suite: Suite, note: str, now: int) -> Created:
    """Make a new key in a keyring, and the keyring where there is none.

    The first key of a ring is its primary. `note` is free text for people, `now` the time in Unix
    seconds. Raises KeyringError, or OSError where a file cannot be written.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder = Path(os.path.realpath(directory))
    permissions.check_folders(folder)
    with _locked(folder):
        if (folder / INDEX).exists():
            index = _read_index(folder)
        else:
            index = {"format": FORMAT, "epoch": 0, "primary": None, "keys": {}}
        with suppress(FileExistsError):
            _create(folder / ".gitignore", lambda: _GITIGNORE, mode=0o644)
        line = KeyLine.generate(suite)
        key = Key.parse(line)
        path = folder / f"{key.id}.key"
        _create(path, lambda: line.reveal() + "\n", mode=0o600)
        entry = Entry(key.id, suite, State.ACTIVE, key, now, note)
        index["keys"][key.id] = {
            "suite": suite.value,
            "state": State.ACTIVE.value,
            "created": now,
            "note": note,
        }
        if index["primary"] is None:
            index["primary"] = key.id
        index["epoch"] += 1
        _write_index(folder, index)
    return Created(entry, directory / path.name, index["primary"] == key.id)


def _read_key(folder: Path, key_id: str, *, group_read: bool) -> Key:
    path = folder / f"{key_id}.key"
    try:
        line = _read_line(path, group_read=group_read)
    except FileNotFoundError:
        raise KeyringError(
            f"the key file {shown(str(path))} is missing, and keyring.json lists it: put it back"
            " from a backup"
        ) from None
    except OSError as error:
        raise KeyringError(f"the key file {shown(str(path))} cannot be read: {error}") from None
    try:
        key = Key.parse(line)
    except KeyringError as error:
        raise KeyringError(f"the key file {shown(str(path))}: {error}") from None
    if key.id != key_id:
        raise KeyringError(
            f"the key file {shown(str(path))} holds another key, {key.id}: give each file the"
            " name of its own key's id"
        )
    return key


def _read_line(path: Path, *, group_read: bool) -> KeyLine:
    # Nothing but the guarded read raises here: the secret is in no frame that a traceback shows.
    return KeyLine(
        permissions.read_guarded(
            path, secret=True, group_read=group_read, limit=_MAX_KEY_FILE
        ).decode("latin-1")
    )


def _read_index(folder: Path) -> dict[str, Any]:
    path = folder / INDEX
    try:
        data = permissions.read_guarded(path, secret=False, group_read=True, limit=_MAX_INDEX)
    except FileNotFoundError:
        raise KeyringError(
            f"there is no keyring in {shown(str(folder))}: make one with"
            f" pickleseal keygen --keyring {shown(str(folder))}"
        ) from None
    except OSError as error:
        raise KeyringError(f"{shown(str(path))} cannot be read: {error}") from None
    try:
        index = json.loads(data)
        fault = _index_fault(index)
    except (ValueError, RecursionError):
        fault = "it is not JSON"
    if fault:
        raise KeyringError(f"{shown(str(path))} is damaged ({fault}): put it back from a backup")
    checked: dict[str, Any] = index
    return checked


def _index_fault(index: object) -> str | None:
    """Say what in a keyring.json is not as this version writes it, or None."""
    if not isinstance(index, dict) or index.get("format") != FORMAT:
        return f"its format is not {FORMAT}"
    if index.keys() != {"format", "epoch", "primary", "keys"}:
        return "a field is missing, or there is one too many"
    if not _is_count(index["epoch"]):
        return "its epoch is no whole number"
    keys = index["keys"]
    if not isinstance(keys, dict):
        return "its keys are no table"
    for key_id, fields in keys.items():
        if not _ID.fullmatch(key_id):
            return "a key id is not 32 hexadecimal digits"
        if not isinstance(fields, dict) or not _entry_holds(fields):
            return f"the entry of key {key_id} is not as it should be"
    primary = index["primary"]
    if primary is not None and (
        not isinstance(primary, str)
        or primary not in keys
        or keys[primary]["state"] != State.ACTIVE.value
    ):
        return "its primary is not one of its active keys"
    return None


def _entry_holds(fields: Mapping[str, Any]) -> bool:
    return (
        fields.keys() >= {"suite", "state"}
        and fields.keys() <= {"suite", "state", "created", "note"}
        and _is_count(fields["suite"])
        and fields["suite"] in {suite.value for suite in Suite}
        and fields["state"] in {state.value for state in State}
        and _is_count(fields.get("created", 0))
        and isinstance(fields.get("note", ""), str)
    )


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _create(path: Path, text: Callable[[], str], *, mode: int) -> None:
    """Write a new file; one that exists is left as it is (FileExistsError).

    The text is called for where it is written, so that a secret stands in no variable.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(text().encode())
        file.flush()
        os.fsync(descriptor)


def _write_index(folder: Path, index: Mapping[str, Any]) -> None:
    temporary = folder / f".{INDEX}.{secrets.token_hex(8)}.tmp"
    text = json.dumps(index, indent=2, sort_keys=True) + "\n"
    try:
        _create(temporary, lambda: text, mode=0o600)
        temporary.replace(folder / INDEX)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep other writers of this ring waiting; a lock dies with its process."""
    descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            import fcntl  # noqa: PLC0415 - POSIX only
        except ImportError:
            import msvcrt  # noqa: PLC0415 - Windows only

            msvcrt.locking(descriptor, msvcrt.LK_LOCK, 1)  # type: ignore[attr-defined,unused-ignore]
        else:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
