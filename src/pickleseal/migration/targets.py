"""Where new files go, and where the old ones stay: mirrored folders and NAME.unsealed backups."""

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

from pickleseal.envelope import layout, reader
from pickleseal.envelope.source import envelope_at
from pickleseal.errors import NotSealedError, PicklesealError, TargetError
from pickleseal.files.atomic import write_whole
from pickleseal.files.handles import Stamp, is_shortage, stamp_of
from pickleseal.files.objects import Opened, StoredObject, open_file
from pickleseal.files.places import Place, Remote, Version, exists, name_of
from pickleseal.files.regular import HoleError
from pickleseal.files.walk import BACKUP_SUFFIX
from pickleseal.keys.keyring import Keyring


class Targets(NamedTuple):
    """Where envelopes go: into `folder`, which mirrors the files' own, or to the files' own places.

    `backup`: a file that an envelope replaces stays beside it as NAME.unsealed.
    """

    folder: Place | None = None
    backup: bool = True


def target_in(folder: Place, inside: str) -> Place:
    """Return the place for a file in a folder, or below a prefix; `inside` is its path there."""
    return folder.below(inside) if isinstance(folder, Remote) else os.path.join(folder, inside)


def make_folder_of(target: Place, *, below: Place) -> None:
    """Create the folder that `target` lies in, at or below another folder; a store needs none.

    Raises TargetError, and creates nothing, where a link, or the name of an object, leads out of
    that folder.
    """
    if isinstance(target, Remote) or isinstance(below, Remote):
        return
    place = os.path.dirname(target)
    real = os.path.realpath(below)
    if not os.path.join(os.path.realpath(place), "").startswith(os.path.join(real, "")):
        raise TargetError(f"{target} would be outside {below}, because of a link or its name")
    os.makedirs(place, exist_ok=True)


def is_envelope(file: Opened) -> bool:
    """Return whether a file begins as an envelope does."""
    return file.read(0, len(layout.MAGIC)) == layout.MAGIC


def is_backup(file: Opened) -> bool:
    """Return whether adopt kept a file: its original is sealed, or still holds the same bytes.

    Raise OSError if the original cannot be read.
    """
    if not file.path.endswith(BACKUP_SUFFIX):
        return False
    try:
        with open_file(sealed_place(file), follow=True) as other:
            return is_envelope(other) or other.sha256() == file.sha256()
    except (NotSealedError, FileNotFoundError, NotADirectoryError, HoleError):
        return False


def is_sealed_original(file: Opened, keyring: Keyring | None) -> bool:
    """Return whether a file is a backup with the very bytes that its sealed form was sealed over.

    The tags of the file beside it prove that; its body is not read. Raise an error that is for want
    of descriptors or memory.
    """
    if keyring is None or not file.path.endswith(BACKUP_SUFFIX):
        return False
    try:
        with open_file(sealed_place(file), follow=True) as other:
            source = envelope_at(other, 0)
            head = reader.read_head(source).authenticate(keyring)
            if head.metadata.source != "adopted":
                return False  # whoever has something sealed chooses its bytes
            reader.check_original(source, head, file)
    except (PicklesealError, OSError) as error:
        if is_shortage(error) or is_shortage(error.__context__):
            raise
        return False
    return True


def sealed_place(backup: Opened) -> Place:
    """Return the place of the file that a backup was made of."""
    if isinstance(backup, StoredObject):
        return backup.place.without(BACKUP_SUFFIX)
    return backup.path.removesuffix(BACKUP_SUFFIX)


def is_of_program(path: str) -> bool:
    """Return whether another program wrote the file at a path, and would miss it."""
    folder, name = os.path.split(path)
    if name.endswith(".dat"):
        return os.path.exists(f"{path.removesuffix('.dat')}.dir")  # a shelf of Python's own
    if name.endswith(".val"):
        return os.path.exists(os.path.join(folder, "../../cache.db"))  # a large value of diskcache
    if name.endswith(".djcache"):
        return True  # an entry of Django's cache
    # A result that joblib.Memory keeps.
    return name == "output.pkl" and os.path.exists(os.path.join(folder, "../func_code.py"))


def check_backup(real: Place, sha256: str) -> tuple[Place, bool]:
    """Return the place for the backup of a file with this SHA-256, and whether it is free.

    Raises TargetError if another file has that place.
    """
    backup: Place = real.beside(BACKUP_SUFFIX) if isinstance(real, Remote) else real + BACKUP_SUFFIX
    free = not exists(backup)
    # The same bytes may lie there from an interrupted run.
    if not free and _sha256_of(backup) != sha256:
        raise _in_the_way(backup)
    return backup, free


@contextmanager
def backed_up(real: Place, raw: memoryview, stamp: Stamp | Version | None) -> Iterator[Place]:
    """Keep a file at its backup's place while it is replaced, and yield that place.

    If the replacement fails, a new backup is removed again. Raises TargetError where another file
    has the path, or where the file no longer has this stamp.
    """
    backup, new = check_backup(real, hashlib.sha256(raw).hexdigest())
    if isinstance(backup, Remote):
        if new:
            backup.write(bytes(raw), exclusive=True)
    elif new and isinstance(real, str):
        _keep(backup, real, raw, stamp)
    try:
        yield backup
    except BaseException:
        if new:
            with suppress(OSError):
                _drop(backup, real, stamp)
        raise


def _drop(backup: Place, real: Place, stamp: Stamp | Version | None) -> None:
    """Delete a new backup, if the file that it was made of is still in its place."""
    if isinstance(backup, Remote) or isinstance(real, Remote):
        if isinstance(backup, Remote) and isinstance(real, Remote) and real.version() == stamp:
            backup.remove()
    elif stamp_of(os.stat(real)) == stamp:
        os.unlink(backup)


def permissions_of(path: Place) -> int:
    """Return the permission bits of a file; an object has those of a new file."""
    if isinstance(path, Remote):
        return 0o666
    return stat.S_IMODE(os.stat(path).st_mode) & 0o777


def changed() -> TargetError:
    """Return the error for a file that is not the one that was looked at."""
    return TargetError("it changed after it was scanned: run adopt again")


def _keep(backup: str, real: str, raw: memoryview, stamp: Stamp | Version | None) -> None:
    try:
        os.link(real, backup)
    except FileExistsError:
        raise _in_the_way(backup) from None
    except OSError:  # the file system has no hard links, or not for this user
        write_whole(backup, bytes(raw), mode=permissions_of(real), exclusive=True)
        return
    if stamp_of(os.lstat(backup)) != stamp:
        os.unlink(backup)
        raise changed()


def _sha256_of(place: Place) -> str | None:
    try:
        with open_file(place, follow=False) as file:
            return file.sha256()
    except NotSealedError:
        return None


def _in_the_way(backup: Place) -> TargetError:
    name = os.path.basename(name_of(backup))
    return TargetError(f"{name} already exists, and is another file: move it away")
