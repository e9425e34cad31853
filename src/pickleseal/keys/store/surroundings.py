"""Where a keyring lies: in a git repository, or on a disk that other machines share."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from pickleseal.errors import shown
from pickleseal.keys.store.permissions import quoted

_REMOTE = re.compile(
    r"nfs4?|cifs|smb3|smbfs|ceph|glusterfs|lustre|afs"
    r"|fuse\.(?:ceph|davfs|gcsfuse|glusterfs|juicefs|rclone|s3fs|sshfs).*"
)
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
    kind = shared_kind(folder, _mounts())
    if kind is not None:
        yield (
            f"lies on a disk that other machines share ({shown(kind)})",
            "move the keyring elsewhere, and set PICKLESEAL_KEYRING to its new path",
        )
    yield from _under_git(folder)


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
    return kind if _REMOTE.fullmatch(kind) else None


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
