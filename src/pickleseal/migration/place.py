"""Where new files go, and where the old ones stay: mirrored folders and NAME.unsealed backups."""

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

from pickleseal.envelope import layout
from pickleseal.errors import NotSealedError, TargetError
from pickleseal.files.atomic import write_whole
from pickleseal.files.handles import Stamp, stamp_of
from pickleseal.files.regular import RegularFile
from pickleseal.files.walk import BACKUP_SUFFIX


class Place(NamedTuple):
    """Where envelopes go: into `folder`, which mirrors the files' own, or to the files' own paths.

    `backup`: a file that an envelope replaces stays beside it as NAME.unsealed.
    """

    folder: str | None = None
    backup: bool = True


def make_folder_of(target: str, *, below: str) -> None:
    """Create the folder that `target` is in, at or below another folder.

    Raises TargetError, and creates nothing, where a link leads out of that folder.
    """
    place = os.path.dirname(target) or os.curdir
    real = os.path.realpath(below)
    if not os.path.join(os.path.realpath(place), "").startswith(os.path.join(real, "")):
        raise TargetError(f"{target} would be outside of {below}: a link leads there")
    os.makedirs(place, exist_ok=True)


def is_envelope(file: RegularFile) -> bool:
    """Return whether a file begins as an envelope does."""
    return file.read(0, len(layout.MAGIC)) == layout.MAGIC


def is_backup(file: RegularFile) -> bool:
    """Return whether adopt kept a file: its original is sealed, or still holds the same bytes."""
    if not file.path.endswith(BACKUP_SUFFIX):
        return False
    try:
        with RegularFile(file.path.removesuffix(BACKUP_SUFFIX), follow=True) as other:
            return is_envelope(other) or other.sha256() == file.sha256()
    except (NotSealedError, OSError):
        return False


def check_backup(real: str, sha256: str) -> str:
    """Return the path for the backup of a file with this SHA-256.

    Raises TargetError if another file has that path.
    """
    backup = real + BACKUP_SUFFIX
    # The same bytes may be there from an interrupted run.
    if os.path.lexists(backup) and _sha256_of(backup) != sha256:
        raise _in_the_way(backup)
    return backup


@contextmanager
def backed_up(real: str, raw: memoryview, stamp: Stamp) -> Iterator[str]:
    """Keep a file under its backup path while it is replaced, and yield that path.

    If the replacement fails, a new backup is removed again. Raises TargetError where another file
    has the path, or where the file no longer has this stamp.
    """
    backup = check_backup(real, hashlib.sha256(raw).hexdigest())
    new = not os.path.lexists(backup)
    if new:
        _keep(backup, real, raw, stamp)
    try:
        yield backup
    except BaseException:
        if new:
            with suppress(OSError):
                if stamp_of(os.stat(real)) == stamp:
                    os.unlink(backup)
        raise


def permissions_of(path: str) -> int:
    """Return the permission bits of a file."""
    return stat.S_IMODE(os.stat(path).st_mode) & 0o777


def changed() -> TargetError:
    """Return the error for a file that is not the one that was looked at."""
    return TargetError("it changed after it was looked at; run adopt again")


def _keep(backup: str, real: str, raw: memoryview, stamp: Stamp) -> None:
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


def _sha256_of(path: str) -> str | None:
    try:
        with RegularFile(path, follow=False) as file:
            return file.sha256()
    except NotSealedError:
        return None


def _in_the_way(backup: str) -> TargetError:
    name = os.path.basename(backup)
    return TargetError(f"{name} is there already, and is another file: move it away")
