"""A keyring's directory: `keyring.json`, which lists the keys, and a file for each key.

See "Keyring directory" in docs/reference/keys.md. Changes are made under a lock, and take effect
when keyring.json is replaced; a key file that it does not list is ignored.
"""

import os
import shlex
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pickleseal.errors import KeyringError, PicklesealError, beginning, check_path, shown
from pickleseal.files.atomic import make_folder, write_private
from pickleseal.files.handles import Stamp, stamp_of
from pickleseal.files.lock import locked
from pickleseal.files.places import is_url, without_credentials
from pickleseal.keys.key import MAX_LINE, Key, KeyLine, outline
from pickleseal.keys.keyring import Keyring, way_to_open
from pickleseal.keys.roster import Pin, Roster, State
from pickleseal.keys.store import permissions, variables
from pickleseal.keys.store.lines import Ask, Opener
from pickleseal.keys.store.own import option_for

INDEX = "keyring.json"
KEY_SUFFIX = ".key"
LOCK = "keyring.lock"

_MAX_INDEX = 1 << 20
_GITIGNORE = "# Keys are secrets: keep them out of git.\n*\n!.gitignore\n!README.md\n"


def open_keyring(
    directory: str | os.PathLike[str],
    *,
    group_read: bool | None = None,
    min_epoch: int | str | None = None,
    passphrase: Ask | None = None,
) -> Keyring:
    """Read the keyring in a directory, after checking that nobody else can change it.

    Parameters
    ----------
    directory : str or os.PathLike
        Its path. `~` is the home directory.
    group_read : bool, optional
        Whether to accept key files that their group may read (mode 0640 or 0440), as a Kubernetes
        secret with fsGroup has them. Default: whether PICKLESEAL_GROUP_READ is 1.
    min_epoch : int or str, optional
        Refuse a keyring.json with fewer changes than this, such as one restored from a backup. A
        text such as "6.9c1d0fe2a4b35577", as `pickleseal keys list` shows it, also refuses a copy
        that was changed by itself. Default: PICKLESEAL_MIN_EPOCH, or 0.
    passphrase : callable, optional
        A function that returns the passphrase of encrypted keys, called when such a key is first
        used. Default: the environment, or a question on the terminal.

    Returns
    -------
    Keyring
        The keys that keyring.json lists.

    Raises
    ------
    KeyringError
        If there is no keyring, or if it is damaged or too old.
    KeyPermissionError
        If others can read or change its files.

    Notes
    -----
    See "Keyring directory" and "Permissions" in docs/reference/keys.md. A `Keyring` object does not
    follow later changes; a path given as `keyring=` does.

    Examples
    --------
    >>> import subprocess, sys, tempfile
    >>> from pickleseal import open_keyring
    >>> folder = tempfile.mkdtemp()
    >>> command = [sys.executable, "-m", "pickleseal", "keygen", "--keyring", folder]
    >>> _ = subprocess.run(command, capture_output=True, check=True)
    >>> len(open_keyring(folder).entries)
    1
    """
    if passphrase is not None and not callable(passphrase):
        raise TypeError("passphrase= takes a function that returns it, not the passphrase itself")
    folder = Path(checked_path(directory, "open_keyring takes the path of a directory"))
    files = RingFiles(folder, group_read=group_read, min_epoch=min_epoch)
    return read_keyring(files, Opener(passphrase))


def checked_path(
    given: str | os.PathLike[str],
    takes: str,
    *,
    what: str = "the keyring",
    error: type[PicklesealError] = KeyringError,
) -> str:
    """Return the local path of `what` that a caller gave, or raise `error`.

    `takes` begins the message of a TypeError.
    """
    path = os.fspath(given) if isinstance(given, os.PathLike) else given
    if not isinstance(path, str):
        raise TypeError(f"{takes}, not {type(given).__name__}")
    if not path:
        raise error(f"the path of {what} is empty: is a variable not set?")
    check_path(path)
    if is_url(path):
        named = shown(without_credentials(path))
        raise error(f"{what} must be on this machine, but {named} is a URL")
    expanded = os.path.expanduser(path)
    if expanded.startswith("~"):
        # It would be a folder with that name in the current directory.
        raise error(
            f"no home directory is known for {shown(path)}: name {what} by an absolute path"
        )
    return expanded


class RingFiles:
    """The files of a ring as one command sees them: `keyring.json` and each key file, read once.

    Raise KeyringError if there is no ring, or if it is damaged or too old. `to_open`: the id of the
    key that is to open a file, or EVERY_KEY; the error then says how to bring it.
    """

    def __init__(
        self,
        folder: Path,
        *,
        group_read: bool | None = None,
        min_epoch: int | str | None = None,
        to_open: str | None = None,
    ) -> None:
        self.folder = folder
        self.name = f"the keyring {shown(str(folder))}"
        self._group_read = group_read
        self._lines: dict[str, KeyLine] = {}
        # Taken before a file is read: a file that is replaced meanwhile then has another stamp.
        self._stamps = {folder / INDEX: file_stamp(folder / INDEX)}
        self.roster = read_roster(folder, to_open=to_open)
        check_epoch(self.roster, self.name, min_epoch)

    @property
    def stamp(self) -> Stamp | None:
        """The stamp of the keyring.json that was read."""
        return self._stamps[self.folder / INDEX]

    def is_unchanged(self) -> bool:
        """Return whether all files that were read are still as they were."""
        return all(file_stamp(path) == stamp for path, stamp in self._stamps.items())

    def line(self, key_id: str) -> KeyLine:
        """Return the line in the file of a key, after checking who else can reach it."""
        if key_id not in self._lines:
            path = key_path(self.folder, key_id)
            self._stamps[path] = file_stamp(path)
            self._lines[key_id] = read_line(self.folder, key_id, group_read=self._group_read)
        return self._lines[key_id]

    def key(self, key_id: str, opener: Opener) -> Key:
        """Return a key, or raise KeyringError if its file is missing, damaged or another key's."""
        line = self.line(key_id)
        name = _name(self.folder, key_id)
        with beginning(f"the key file {name}"):
            key = opener.key(line, if_lost=self._if_passphrase_lost(key_id))
        if key.id != key_id:
            raise KeyringError(
                f"the key file {name} holds another key, {key.id}: rename each file to the id of"
                " its own key"
            )
        return key

    def _if_passphrase_lost(self, key_id: str) -> str:
        if key_id != self.roster.primary:
            return ". If it is lost, so is the key: restore a backup"
        return (
            ". If it is lost, so is the key: restore a backup, or make a new key with"
            f" `{rotation(self.folder)} --passphrase`"
        )


def file_stamp(path: Path) -> Stamp | None:
    """Return what changes when a file is replaced; None for a file that cannot be looked at."""
    try:
        return stamp_of(os.stat(path))
    except OSError:
        return None


def read_keyring(files: RingFiles, opener: Opener) -> Keyring:
    """Read a keyring with an opener that may have opened keys of it before."""
    keys = []
    outlines = {}
    for entry in files.roster.entries.values():
        if entry.state is not State.REVOKED:
            key = files.key(entry.id, opener)
            if key.suite is not entry.suite:
                raise KeyringError(f"{files.name} lists key {key.id} with the wrong suite")
            keys.append(key)
            outlines[key.id] = outline(files.line(entry.id))
    return Keyring.of(
        files.roster,
        keys,
        name=files.name,
        directory=os.path.abspath(files.folder),
        option=option_for(files.folder),
        outlines=outlines,
    )


def check_epoch(roster: Roster, name: str, min_epoch: int | str | None) -> None:
    """Raise KeyringError if a ring did not make the change that is required."""
    pin = variables.min_epoch() if min_epoch is None else Pin.parse(str(min_epoch))
    if pin is None and min_epoch is not None:
        raise KeyringError(
            f"min_epoch takes a whole number, or an epoch as `pickleseal keys list` shows it, not"
            f" '{shown(str(min_epoch))}'"
        )
    fault = None if pin is None else pin.fault(roster)
    if fault is not None:
        raise KeyringError(
            f"{name} {fault}. Restore the newest keyring.json, or correct the epoch if it belongs"
            " to another keyring"
        )


def _check_new() -> None:
    """Raise KeyringError if no load would use a new ring."""
    pin = variables.min_epoch()
    if pin is not None and pin.fault(Roster(1, None, {})) is not None:
        raise KeyringError(
            f"{variables.MIN_EPOCH} requires an epoch that a new keyring does not have, so no"
            f" load would use it. Unset {variables.MIN_EPOCH} to make a keyring"
        )


def read_line(folder: Path, key_id: str, *, group_read: bool | None = None) -> KeyLine:
    """Return the line in the file of a key, after checking its permissions."""
    may_group = variables.group_read() if group_read is None else group_read
    try:
        return _read_line(key_path(folder, key_id), group_read=may_group)
    except FileNotFoundError:
        raise KeyringError(
            f"the key file {_name(folder, key_id)} is missing, and keyring.json lists it: copy it"
            " from the original keyring, or restore a backup with"
            f" `pickleseal keys restore{option_for(folder)} FILE`. If there is no backup either,"
            f" give the key up with `{revocation(folder, key_id, 'lost')}`. That is final: its"
            " files are refused then, even if a backup turns up"
        ) from None
    except OSError as error:
        raise KeyringError(
            f"the key file {_name(folder, key_id)} cannot be read: {error.strerror}"
        ) from None


def rotation(folder: Path) -> str:
    """Return the command that rotates the keys of a ring."""
    return f"pickleseal keys rotate{option_for(folder)}"


def revocation(folder: Path, key_id: str, why: str) -> str:
    """Return the command that revokes a key of a ring."""
    return f"pickleseal keys revoke {key_id} --reason {shlex.quote(why)}{option_for(folder)}"


def key_path(folder: Path, key_id: str) -> Path:
    """Return the path of the file of a key."""
    return folder / f"{key_id}{KEY_SUFFIX}"


def is_alone(path: Path) -> bool:
    """Return whether a path is a regular file with one name: replacing it leaves no copy."""
    status = os.lstat(path)
    return stat.S_ISREG(status.st_mode) and status.st_nlink == 1


def read_roster(folder: Path, *, to_open: str | None = None) -> Roster:
    """Return the roster in a keyring.json as it is now; raise KeyringError if it is damaged."""
    path = folder / INDEX
    try:
        data = permissions.read_guarded(path, secret=False, limit=_MAX_INDEX)
    except FileNotFoundError:
        if has_key_files(folder):
            raise _lost_index(folder) from None
        raise no_ring(folder, to_open=to_open) from None
    except NotADirectoryError:
        raise KeyringError(
            f"{shown(str(folder))} is not a directory: name the directory that contains {INDEX}"
        ) from None
    except OSError as error:
        raise KeyringError(f"{shown(str(path))} cannot be read: {error.strerror}") from None
    try:
        return Roster.decode(data).at(time.time())
    except ValueError as error:
        raise KeyringError(
            f"{shown(str(path))} is damaged ({error}): {restoration(folder)}"
        ) from None


def restoration(folder: Path) -> str:
    """Return in words how to replace a damaged keyring.json."""
    index = folder / INDEX
    away = permissions.quoted(index.with_name(f"{INDEX}.damaged"))
    return (
        f"restore the newest backup with `mv -n {permissions.quoted(index)} {away} && pickleseal"
        f" keys restore{option_for(folder)} FILE`"
    )


def no_ring(folder: Path, *, to_open: str | None = None) -> KeyringError:
    """Return the error for a directory without a keyring."""
    here = option_for(folder)
    way = (
        f"If it is in another directory, name that one. {way_to_open(to_open, here)}"
        if to_open is not None
        else f"Make one with `pickleseal keygen{here}`, or import existing keys with"
        f" `pickleseal keys import key.txt{here}`"
    )
    return KeyringError(f"there is no keyring in {shown(str(folder))}. {way}")


def has_key_files(folder: Path) -> bool:
    """Return whether there are key files in a directory; without keyring.json they are unusable."""
    with suppress(OSError):
        return any(name.endswith(KEY_SUFFIX) for name in os.listdir(folder))
    return False


def _lost_index(folder: Path) -> KeyringError:
    here = option_for(folder)
    return KeyringError(
        f"{shown(str(folder / INDEX))} is missing, but there are key files: restore the newest"
        f" backup with `pickleseal keys restore{here} FILE`. If there is none,"
        " move the key files elsewhere, make a new key with"
        f" `pickleseal keygen{here}`, and import each one that was not revoked with"
        f" `pickleseal keys import --retired{here} FILE`"
    )


class Change:
    """A ring's directory while this process holds its lock."""

    def __init__(self, folder: Path, files: RingFiles | None) -> None:
        self.folder = folder
        self.files = files
        self.roster = Roster.empty() if files is None else files.roster
        self._stamp = None if files is None else files.stamp
        self._added: list[Path] = []

    def add_key(self, line: KeyLine) -> Path:
        """Write the file of a new key durably; the key exists once the roster lists it.

        A file with this key that the roster does not list is left from an interrupted change,
        and is replaced.
        """
        path = key_path(self.folder, outline(line).id)
        if path.stem in self.roster.entries:
            raise KeyringError(f"key {path.stem} is in this keyring already")
        if self._stamp is None:
            # Key files without a keyring.json are what is left of a ring that lost it.
            self.save(self.roster)
        is_new = not os.path.lexists(path)
        if is_new:
            self._added.append(path)
        try:
            write_private(str(path), lambda: line.reveal() + "\n", exclusive=is_new)
        except OSError as error:
            if error.errno is None:
                raise
            # Without "the change is in place": `undo` removes the file.
            raise OSError(error.errno, os.strerror(error.errno), str(path)) from None
        return path

    def replace_key(self, line: KeyLine) -> None:
        """Replace the file of a key with another line of the same key."""
        path = key_path(self.folder, outline(line).id)
        write_private(str(path), lambda: line.reveal() + "\n")

    def save(self, roster: Roster) -> None:
        """Replace keyring.json.

        Raise KeyringError for a roster that could not be read again, or if keyring.json changed
        meanwhile although the lock is held: somebody may have removed the lock.
        """
        text = roster.encode()
        if len(text) > _MAX_INDEX:
            raise KeyringError("there are too many keys and notes for a keyring.json")
        if Roster.decode(text.encode()) != roster:
            raise KeyringError("this change cannot be written to a keyring.json")
        path = self.folder / INDEX
        if file_stamp(path) != self._stamp:
            raise KeyringError(
                "another program changed the keyring meanwhile: nothing was done; try again"
            )
        write_private(str(path), lambda: text)
        self.roster, self._stamp = roster, file_stamp(path)

    def undo(self) -> None:
        """Remove the files of new keys that keyring.json does not list."""
        for path in self._added:
            with suppress(OSError):
                if not self.is_listed(path.stem):
                    path.unlink(missing_ok=True)

    def is_listed(self, key_id: str) -> bool:
        """Return whether keyring.json on the disk lists a key or cannot be read."""
        if not os.path.lexists(self.folder / INDEX):
            return False
        try:
            return key_id in read_roster(self.folder).entries
        except KeyringError:
            return True


@contextmanager
def changing(
    directory: Path,
    *,
    create: bool = False,
    restoring: bool = False,
    files: RingFiles | None = None,
) -> Iterator[Change]:
    """Yield a ring to change, which no other process changes meanwhile.

    `create`: make the directory and an empty ring where there is none. `restoring`: also where
    there are key files without one. `files`: what was read before; it is read again only if it has
    changed since. Raise KeyringError and KeyPermissionError as `open_keyring` does.
    """
    if create and not restoring and not os.path.lexists(directory / INDEX):
        _check_new()
    if create:
        _make_folders(directory)
    elif not directory.is_dir():
        read_roster(directory)  # raises
    permissions.check_folders(directory)
    folder = Path(os.path.realpath(directory))
    with locked(folder / LOCK, _say):
        is_new = create and not os.path.lexists(folder / INDEX)
        if is_new and not restoring and has_key_files(folder):
            raise _lost_index(folder)
        if is_new:
            files = None
        elif files is None or not files.is_unchanged():
            files = RingFiles(folder)
        if is_new and not os.path.lexists(folder / ".gitignore"):
            write_private(str(folder / ".gitignore"), lambda: _GITIGNORE, mode=0o644)
        change = Change(folder, files)
        try:
            yield change
        except BaseException:
            change.undo()
            raise


def _say(text: str) -> None:
    if sys.stderr is not None:
        print(shown(text), file=sys.stderr)  # noqa: T201 - a person waits


def _make_folders(directory: Path) -> None:
    # No folder is made below one that others can change.
    there = next(place for place in (directory, *directory.absolute().parents) if place.exists())
    permissions.check_folders(there, above=there != directory)
    # Not mkdir(parents=True): the upper folders would get the mode of the umask.
    for folder in (*reversed(directory.parents), directory):
        if not folder.exists():
            with suppress(FileExistsError):
                make_folder(str(folder), mode=0o700)


def _read_line(path: Path, *, group_read: bool) -> KeyLine:
    # Only the read raises here, so that no frame of a traceback holds the secret.
    return KeyLine(
        permissions.read_guarded(
            path, secret=True, group_read=group_read, limit=MAX_LINE + 2
        ).decode("latin-1")
    )


def _name(folder: Path, key_id: str) -> str:
    return shown(str(key_path(folder, key_id)))
