"""Which keyring a call uses, and a cache of open rings.

See "Where keys come from" in docs/reference/keys.md: the argument, the environment, the user's own
directory; never the current directory or that of a pickle.
"""

import hashlib
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from pickleseal.errors import KeyringError, NoKeyError, beginning, shown
from pickleseal.files.handles import stamp_of
from pickleseal.keys.bundle import read_bundle
from pickleseal.keys.key import Key, KeyLine
from pickleseal.keys.keyring import Keyring, way_to_open
from pickleseal.keys.roster import Entry, Roster, State
from pickleseal.keys.store import variables
from pickleseal.keys.store.directory import (
    INDEX,
    RingFiles,
    checked_path,
    has_key_files,
    key_path,
    read_keyring,
)
from pickleseal.keys.store.lines import Opener, check_foreign
from pickleseal.keys.store.own import user_directory

Ring = Keyring | str | os.PathLike[str] | None
"""A `keyring=` argument."""
_Stamp = tuple[object, ...]


class _Open(NamedTuple):
    """An open ring, the stamp of its source, and the opener of its keys."""

    stamp: _Stamp
    ring: Keyring
    opener: Opener
    until: float = math.inf
    """When another key becomes the primary, in Unix seconds."""


# The only global state of this package. Opening the ring would take a third of a small load, and a
# passphrase would be asked for again and again.
_open_rings: dict[str, _Open] = {}


def find_keyring(given: Ring = None, *, to_open: str | None = None) -> Keyring:
    """Return the keyring to use: the given one, or the first that is set up.

    `given`: a Keyring, or the path of a keyring's directory (`~` is the home directory). Without
    it, in this order: the absolute path in PICKLESEAL_KEYRING, the key lines in PICKLESEAL_KEY (the
    first seals, the others open), the user's own directory. `to_open`: the id of
    the key that is to open a file, or EVERY_KEY: a new key would be useless. Raise NoKeyError if
    there is none, KeyringError if it cannot be used.
    """
    if given is not None:
        if isinstance(given, Keyring):
            return given
        return _kept_directory(_checked_path(given), to_open=to_open)
    directory = variables.keyring()
    if directory is not None:
        return _kept_directory(directory, to_open=to_open)
    if variables.KEYS in os.environ:
        return _kept_lines(KeyLine(os.environ[variables.KEYS]))
    own = user_directory()
    try:
        os.lstat(os.path.join(own, INDEX))
    except (FileNotFoundError, NotADirectoryError):
        is_set_up = has_key_files(Path(own))
    except OSError as error:
        raise KeyringError(
            f"your own keyring in {shown(own)} cannot be read: {error.strerror}"
        ) from None
    else:
        is_set_up = True
    if is_set_up:
        return _kept_directory(own, to_open=to_open)
    if to_open is not None:
        raise NoKeyError(
            f"there is no keyring. If you have one, set {variables.KEYRING} to its directory."
            f" {way_to_open(to_open, '')}"
        )
    raise NoKeyError(
        "there is no key yet. Make one with `pickleseal keygen`, or name a keyring's directory"
        f" with keyring= or {variables.KEYRING}"
    )


def revoked_keys(ring: Keyring) -> list[Key]:
    """Return the revoked keys of a ring whose files still exist, to compare with known digests.

    Raise KeyringError for a ring without a directory.
    """
    if ring.directory is None:
        raise KeyringError("revoked keys are only in a keyring's directory: name it with --keyring")
    files = RingFiles(Path(ring.directory), min_epoch=0)  # the ring was checked when it was opened
    kept = next((one for one in _open_rings.values() if one.ring is ring), None)
    opener = (
        Opener() if kept is None else kept.opener
    )  # which a passphrase was given to, or will be
    return [
        files.key(entry.id, opener)
        for entry in ring.entries.values()
        if entry.state is State.REVOKED and os.path.lexists(key_path(files.folder, entry.id))
    ]


def keyring_directory(given: str | os.PathLike[str] | None = None) -> Path:
    """Return the directory to change: the given one, the variable's, or the user's own.

    Raise KeyringError if loads use the lines in PICKLESEAL_KEY: another ring would be changed.
    """
    if given is not None:
        return Path(_checked_path(given))
    directory = variables.keyring()
    if directory is None and variables.KEYS in os.environ:
        raise KeyringError(
            f"this command cannot change the keys in {variables.KEYS}: name a keyring's directory"
            f" with --keyring, or unset {variables.KEYS}"
        )
    return Path(directory or user_directory())


def _checked_path(given: str | os.PathLike[str]) -> str:
    if isinstance(given, Key):
        raise TypeError("keyring= takes a Keyring or a directory's path; wrap it: Keyring(key)")
    return checked_path(given, "keyring= takes a Keyring or a path")


def _kept_directory(directory: str, *, to_open: str | None) -> Keyring:
    try:
        status = os.stat(f"{directory}/{INDEX}")
    except OSError:
        # Raises the error for it.
        return read_keyring(RingFiles(Path(directory), to_open=to_open), Opener())
    settings = (variables.group_read(), variables.min_epoch())
    stamp = (*stamp_of(status), status.st_ctime_ns, *settings)
    # A relative path that leads elsewhere by now has another stamp, too.
    return _kept(directory, stamp, lambda opener: read_keyring(RingFiles(Path(directory)), opener))


def _kept_lines(lines: KeyLine) -> Keyring:
    stamp = (hashlib.sha256(lines.reveal().encode("utf-8", "surrogateescape")).digest(),)
    return _kept(variables.KEYS, stamp, lambda opener: _parse_lines(lines, opener))


def _kept(source: str, stamp: _Stamp, read: Callable[[Opener], Keyring]) -> Keyring:
    """Return the open ring of a source; read it if its stamp is new, or another key is to seal."""
    kept, now = _open_rings.get(source), time.time()
    if kept is not None and kept.stamp == stamp and now < kept.until:
        return kept.ring
    # The same opener: it has the passphrases that were given before.
    opener = Opener() if kept is None else kept.opener
    ring = read(opener)
    waiting = [e.sign_from for e in ring.entries.values() if e.sign_from and e.sign_from > now]
    _open_rings[source] = _Open(stamp, ring, opener, min(waiting, default=math.inf))
    return ring


def _parse_lines(lines: KeyLine, opener: Opener) -> Keyring:
    pin = variables.min_epoch()
    if pin is not None and pin.epoch:
        raise KeyringError(
            f"{variables.MIN_EPOCH} is for a keyring's directory, but the keys in"
            f" {variables.KEYS} have no epoch: unset one of the two"
        )
    with beginning(variables.KEYS):
        given = read_bundle(KeyLine(text) for text in lines.reveal().split())
        check_foreign(given.lines)
        keys = {key.id: key for key in map(opener.key, given.lines)}
    if not keys:
        raise KeyringError(
            f"{variables.KEYS} is set, but contains no key line: unset it, or put a key line in it"
        )
    alone = {key.id: Entry(key.id, key.suite, State.ACTIVE) for key in keys.values()}
    entries = {**alone, **given.entries}
    # The order decides, and not which key replaces which: whoever set the variable chose it.
    able = (e for e in map(entries.__getitem__, keys) if (e.sign_from or 0) <= time.time())
    primary = next((e.id for e in able if e.state is State.ACTIVE), None)
    name = f"the keyring in {variables.KEYS}"
    return Keyring.of(Roster(0, primary, entries), keys.values(), name=name)
