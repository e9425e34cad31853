"""Where a keyring is: in a git repository, or on a disk that other machines share."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from pickleseal.errors import shown
from pickleseal.files.atomic import TEMPORARY_PREFIX, TEMPORARY_SUFFIX
from pickleseal.files.handles import is_shortage
from pickleseal.keys.store.permissions import Fault, quoted

_REMOTE = re.compile(
    r"nfs4?|cifs|smb3|smbfs|ceph|glusterfs|lustre|afs"
    r"|fuse\.(?:ceph|davfs|gcsfuse|glusterfs|juicefs|rclone|s3fs|sshfs).*"
)
_KEY_FILES = (":(glob)*.key*", f":(glob){TEMPORARY_PREFIX}*{TEMPORARY_SUFFIX}")
"""Key files, their copies, and what a killed change left of one."""
_PLAIN = r"pickleseal-key-1\.[0-9]+\."
"""The beginning of a line with a secret, which is neither encrypted nor held elsewhere."""
# The attributes of a repository must not start programs, either.
_AS_THEY_ARE = ("--text", "--no-textconv")
_TIME_LIMIT = 20
# A hook of git sets these; they would lead to another repository than that of the folder.
_GIT_PLACES = (
    "GIT_COMMON_DIR",
    "GIT_DIR",
    "GIT_INDEX_FILE",
    "GIT_NAMESPACE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
    "GIT_WORK_TREE",
)
# The settings of a repository must not start programs or use the network. The environment has
# precedence over them.
_HARMLESS = ("core.fsmonitor=false", "log.showSignature=false", "protocol.allow=never")
_OFFLINE = {"GIT_ALLOW_PROTOCOL": "", "GIT_NO_LAZY_FETCH": "1", "GIT_OPTIONAL_LOCKS": "0"}


def faults(folder: Path, *, plain: bool) -> Iterator[Fault]:
    """Yield what is wrong with the place of a keyring, a resolved path, and how to fix it.

    `plain`: whether there are secrets in its key files.
    """
    kind = shared_kind(folder, _mounts())
    if kind is not None:
        yield Fault(
            folder,
            f"is on a disk that other machines share ({shown(kind)})",
            "move the keyring elsewhere, and set PICKLESEAL_KEYRING to its new path",
        )
    yield from _under_git(folder, plain=plain)


def shared_kind(folder: Path, mounts: str) -> str | None:
    """Return the type of a folder's file system if other machines share it, else None.

    `mounts`: the text of /proc/self/mounts. The nearest mount above the folder counts; of two at
    one place the later.
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
    """Return the table of mounts, or "" on other systems than Linux."""
    try:
        table = Path("/proc/self/mounts")
        return table.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return ""


def committed(folder: Path) -> set[str] | None:
    """Return the names of key files with secrets in any commit of a folder's repository.

    None if git cannot tell.
    """
    if not _has_repository(folder):
        return set()
    every = ("--all", "--reflog", "--format=", "--name-only", "-z")
    secrets = (*_AS_THEY_ARE, "--no-ext-diff", "-G", _PLAIN)
    done = _git(folder, "log", *every, *secrets, "--", ":(top,glob)**/*.key*")
    if done is None or (done.returncode and "does not have any commits" not in done.stderr):
        return None
    return {path.rpartition("/")[2].strip("\n") for path in done.stdout.split("\0")}


def _under_git(folder: Path, *, plain: bool) -> Iterator[Fault]:
    if not _has_repository(folder):
        return
    found = ("--cached", "-l", "-z", *_AS_THEY_ARE, "-E", _PLAIN)
    tracked = _git(folder, "grep", *found, "--", *_KEY_FILES)
    if tracked is None or tracked.returncode > 1:
        said = "it cannot be run" if tracked is None else tracked.stderr.strip().split("\n")[0]
        yield Fault(
            folder,
            f"is in a git repository, and git cannot tell whether it contains the keys: {said}",
            f"git -C {quoted(folder)} status",
        )
        return
    names = [name for name in tracked.stdout.split("\0") if name]
    if names:
        many = f"{len(names)} of its key files are" if len(names) > 1 else "one of its key files is"
        patterns = " ".join(f"'{pattern}'" for pattern in _KEY_FILES)
        yield Fault(
            folder,
            f"{many} tracked by git ({shown(names[0])}): the next commit will include them",
            f"git -C {quoted(folder)} rm -q --cached -f --ignore-unmatch -- {patterns}",
        )
    if not plain:
        return
    ignored = _git(folder, "check-ignore", "-q", f"{'0' * 32}.key")
    if ignored is not None and ignored.returncode == 1:
        yield Fault(
            folder,
            "is in a git repository that does not ignore key files: the next git add includes them",
            f"printf '\\n*\\n' >> {quoted(folder / '.gitignore')}",
        )


def _has_repository(folder: Path) -> bool:
    return any(os.path.lexists(place / ".git") for place in (folder, *folder.parents))


def _git(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str] | None":
    """Run git in a folder; return None if there is no git, or no answer in time."""
    settings = [part for setting in _HARMLESS for part in ("-c", setting)]
    program = shutil.which("git")
    if program is None:
        return None
    try:
        return subprocess.run(  # noqa: S603 - no shell, no text from outside
            [program, *settings, "-C", str(folder), *arguments],
            env=_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=_TIME_LIMIT,
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as error:
        if is_shortage(error):
            raise
        return None


def _environment() -> dict[str, str]:
    """Return the environment for git, without other repositories and our secrets."""
    kept = {
        name: text
        for name, text in os.environ.items()
        if name not in _GIT_PLACES and not name.startswith("PICKLESEAL_")
    }
    return {**kept, **_OFFLINE, "LC_ALL": "C"}
