"""Where a keyring lies: under git, in a folder that is copied elsewhere, on a shared disk."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from pickleseal.errors import shown
from pickleseal.keys.store.permissions import quoted

_SYNCED = (
    "box sync",
    "cloudstorage",
    "dropbox",
    "google drive",
    "googledrive",
    "icloud drive",
    "iclouddrive",
    "mega",
    "megasync",
    "mobile documents",
    "my drive",
    "nextcloud",
    "onedrive",
    "owncloud",
    "pcloud",
    "pclouddrive",
    "proton drive",
    "seafile",
    "syncthing",
    "tresorit",
    "yandex.disk",
)
"""How folders that a program copies to other machines are called, in lower case."""
_SYNCED_BEGINNINGS = ("dropbox (", "googledrive-", "onedrive -", "onedrive-")
_MARKS = (
    ".dropbox.cache",
    ".nextcloudsync.log",
    ".owncloudsync.log",
    ".stfolder",
    ".sync/ID",
    ".tmp.drivedownload",
)
"""What such programs leave in the uppermost of their folders."""
_REMOTE = ("nfs", "nfs4", "cifs", "smb3", "smbfs", "ceph", "glusterfs", "lustre", "afs")
_REMOTE_BEGINNINGS = (
    "fuse.ceph",
    "fuse.davfs",
    "fuse.gcsfuse",
    "fuse.glusterfs",
    "fuse.juicefs",
    "fuse.rclone",
    "fuse.s3fs",
    "fuse.sshfs",
)
_MOVE = "move the keyring elsewhere, and name its new place with PICKLESEAL_KEYRING"
_KEY_FILES = ":(glob)*.key*"
_TIME_LIMIT = 20
# These, if a hook of git's set them, would lead to another repository than the folder's own.
_GIT_PLACES = (
    "GIT_COMMON_DIR",
    "GIT_DIR",
    "GIT_INDEX_FILE",
    "GIT_NAMESPACE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
    "GIT_WORK_TREE",
)
# A repository's own settings must not start programs or reach for the network here. What stands
# in the environment beats them.
_HARMLESS = ("core.fsmonitor=false", "log.showSignature=false", "protocol.allow=never")
_OFFLINE = {"GIT_ALLOW_PROTOCOL": "", "GIT_NO_LAZY_FETCH": "1", "GIT_OPTIONAL_LOCKS": "0"}


def faults(folder: Path) -> Iterator[tuple[str, str]]:
    """Give what is wrong with the place of a keyring, a resolved path, and how to mend it."""
    synced = synced_folder(folder)
    if synced is not None:
        yield f"lies in {shown(str(synced))}, which is copied to other machines", _MOVE
    kind = shared_kind(folder, _mounts())
    if kind is not None:
        yield f"lies on a disk that other machines share ({shown(kind)})", _MOVE
    yield from _under_git(folder)


def synced_folder(folder: Path) -> Path | None:
    """Give the folder above, or this one, that a program copies to other machines; or None."""
    for place in (folder, *folder.parents):
        name = place.name.lower()
        if name in _SYNCED or name.startswith(_SYNCED_BEGINNINGS):
            return place
        # A .dropbox is a file in that program's folder, and its settings in one's home.
        if (place / ".dropbox").is_file() or any(os.path.lexists(place / m) for m in _MARKS):
            return place
    return None


def shared_kind(folder: Path, mounts: str) -> str | None:
    """Give the kind of file system below a folder if it is one of other machines, or None.

    `mounts`: a table as /proc/self/mounts is. Of several mounts above the folder the nearest
    counts, and of two in one place the later.
    """
    best, kind = "", ""
    for line in mounts.split("\n"):
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        point = re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), fields[1])
        if len(point) >= len(best) and folder.is_relative_to(point):
            best, kind = point, fields[2]
    return kind if kind in _REMOTE or kind.startswith(_REMOTE_BEGINNINGS) else None


def _mounts() -> str:
    """Give the table of mounts, which Linux alone has."""
    try:
        table = Path("/proc/self/mounts")
        return table.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return ""


def committed(folder: Path) -> set[str] | None:
    """Give the names of the key files that any commit has of the repository a folder is in.

    None where git cannot tell.
    """
    if not _has_repository(folder):
        return set()
    every = ("--all", "--reflog", "--format=", "--name-only", "-z")
    done = _git(folder, "log", *every, "--", ":(top,glob)**/*.key*")
    if done is None or (done.returncode and "does not have any commits" not in done.stderr):
        return None
    return {path.rpartition("/")[2].strip("\n") for path in done.stdout.split("\0")}


def _under_git(folder: Path) -> Iterator[tuple[str, str]]:
    if not _has_repository(folder):
        return
    tracked = _git(folder, "ls-files", "-z", "--", _KEY_FILES)
    if tracked is None or tracked.returncode:
        said = "it cannot be run" if tracked is None else tracked.stderr.strip().split("\n")[0]
        yield (
            f"lies in a git repository, and git cannot tell whether it has the keys: {said}",
            f"git -C {quoted(folder)} status",
        )
        return
    names = [name for name in tracked.stdout.split("\0") if name]
    if names:
        many = f"{len(names)} of its key files are" if len(names) > 1 else "a key file of it is"
        yield (
            f"{many} tracked by git ({shown(names[0])}): the next commit hands over what is there",
            f"git -C {quoted(folder)} rm -q --cached -f -- '{_KEY_FILES}'",
        )
    ignored = _git(folder, "check-ignore", "-q", f"{'0' * 32}.key")
    if ignored is not None and ignored.returncode == 1:
        yield (
            "lies in a git repository that does not ignore key files: the next git add takes them",
            f"printf '\\n*\\n' >> {quoted(folder / '.gitignore')}",
        )


def _has_repository(folder: Path) -> bool:
    return any(os.path.lexists(place / ".git") for place in (folder, *folder.parents))


def _git(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str] | None":
    """Run git in a folder; None where there is no git, or no answer in time."""
    settings = [part for setting in _HARMLESS for part in ("-c", setting)]
    program = shutil.which("git")
    if program is None:
        return None
    try:
        return subprocess.run(  # noqa: S603 - no shell, nothing of a stranger's in it
            [program, *settings, "-C", str(folder), *arguments],
            env=_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=_TIME_LIMIT,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return None


def _environment() -> dict[str, str]:
    """Give the environment for git: no other repository's places, and no secret of ours."""
    kept = {
        name: text
        for name, text in os.environ.items()
        if name not in _GIT_PLACES and not name.startswith("PICKLESEAL_")
    }
    return {**kept, **_OFFLINE, "LC_ALL": "C"}
