"""Permission checks on files and folders, made before a byte is read.

They are those of OpenSSH's StrictModes, on POSIX systems, for each link on the way too; on Windows
nothing is checked (see SECURITY.md). Files of pins are checked too.
"""

import errno
import os
import re
import shlex
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from pickleseal.errors import KeyPermissionError, NotSealedError, shown
from pickleseal.files.handles import close_read
from pickleseal.files.regular import RegularFile
from pickleseal.keys.store.access import CHANGE, READ, is_unmapped, others

CHECKED = hasattr(os, "geteuid")
"""Whether this system has owners and modes to check."""

_FLAGS = (
    os.O_RDONLY
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
)
_MOST_LINKS = 40  # as many as the system follows
_FIRST_LINE = 256  # as much as Linux reads of it
_INTERPRETER = re.compile(
    r"(?:[a-z]*sh|env|java|(?:python|pypy|perl|ruby|node|nodejs|deno|bun|php|lua|tclsh|Rscript)[\d.]*)",
    re.ASCII,
)
"""Programs that run the first file that they are given, whatever its mode and first line."""
_ELSEWHERE = "keep it in a folder of your own"
_KUBERNETES = (
    "(If others may have read a key, make a new one. In Kubernetes set defaultMode: 0400, or, for"
    " a container that is not root, fsGroup, defaultMode: 0440 and PICKLESEAL_GROUP_READ=1)"
)


class Fault(NamedTuple):
    """What is wrong with a keyring: where, what, and the command that fixes it."""

    place: Path | str
    problem: str
    fix: str
    hint: str = ""

    def error(self) -> KeyPermissionError:
        """Return the error of this fault."""
        hint = f" {self.hint}" if self.hint else ""
        return KeyPermissionError(
            f"{shown(str(self.place))} {self.problem}. Fix it with: {shown(self.fix)}{hint}"
        )


def read_guarded(
    path: Path, *, limit: int, secret: bool, group_read: bool = False, sticky: bool = False
) -> bytes:
    """Return up to `limit` bytes of a file that nobody else can change or, if secret, read.

    Each folder and link on the way to it, and the file that it leads to, are checked before the
    first byte is read. `group_read`: its group may read a secret. `sticky`: it may be in a sticky
    folder, such as /tmp. Raise KeyPermissionError, or OSError if the file cannot be opened.
    """
    with _opened(path, secret=secret, group_read=group_read, sticky=sticky) as descriptor:
        data = b""
        while chunk := os.read(descriptor, limit - len(data)):
            data += chunk
        return data


def guarded_lines(path: Path) -> Iterator[bytes]:
    """Yield the lines of a file that nobody else can change; raise as `read_guarded` does."""
    with (
        _opened(path, secret=False) as descriptor,
        open(descriptor, "rb", closefd=False) as file,
    ):
        yield from file


@contextmanager
def _opened(
    path: Path, *, secret: bool, group_read: bool = False, sticky: bool = False
) -> Iterator[int]:
    """Yield the descriptor of a file that is checked as `read_guarded` says."""
    real = checked_way(path, sticky=sticky)

    def check(status: os.stat_result, place: Path | int) -> None:
        _raise_first(irregular_faults(status, path))
        _raise_first(file_faults(status, real, place, secret=secret, group_read=group_read))

    # Checked before it is opened, too: opening a device or a FIFO can have effects.
    check(os.lstat(real), real)
    descriptor = os.open(real, _FLAGS)
    try:
        check(os.fstat(descriptor), descriptor)
        yield descriptor
    finally:
        close_read(descriptor)


def checked_way(path: Path, *, sticky: bool = False) -> Path:
    """Return where a path leads; raise KeyPermissionError if others can make it lead elsewhere."""
    way = _follow(path)
    _raise_first(_way_faults(way, None if sticky else way.real.parent))
    return way.real


def check_folders(folder: Path, *, above: bool = False) -> None:
    """Raise KeyPermissionError if others can replace entries of `folder`, or lead it elsewhere."""
    _raise_first(folder_faults(folder, above=above))


def folder_faults(folder: Path, *, above: bool = False) -> Iterator[Fault]:
    """Yield what lets others rename or replace entries of `folder`, or lead it elsewhere.

    The folder and each one on the way to it must belong to this user or root, and be writable by
    nobody else. Those on the way may be sticky, such as /tmp; `folder` itself may only with
    `above`, for a parent of the folder that is checked.
    """
    way = _follow(f"{folder}/{os.curdir}")
    yield from _way_faults(way, None if above else way.real)


def path_faults(path: Path, *, secret: bool, group_read: bool) -> Iterator[Fault]:
    """Yield every reason for which `read_guarded` refuses a file that is there."""
    way = _follow(path)
    yield from _way_faults(way, way.real.parent)
    status = os.lstat(way.real)
    if stat.S_ISREG(status.st_mode):
        yield from file_faults(status, way.real, way.real, secret=secret, group_read=group_read)
    else:
        yield from irregular_faults(status, path)


def program_faults(argv: Sequence[str]) -> Iterator[Fault]:
    """Yield what lets others change what a command runs.

    That is the program, a script among its arguments, and the interpreters in their first lines.
    """
    for path in _code_of(argv):
        way = _follow(path)
        yield from _way_faults(way, None)
        with suppress(FileNotFoundError):
            status = os.lstat(way.real)
            yield from file_faults(status, way.real, way.real, secret=False, ours=False)


def checked_program(argv: Sequence[str]) -> Path:
    """Return a command's program, resolved; raise KeyPermissionError if others can change it."""
    _raise_first(program_faults(argv))
    return _follow(Path(argv[0])).real


def _code_of(argv: Sequence[str]) -> Iterator[Path]:
    program, *arguments = map(Path, argv)
    yield from _with_interpreter(program)
    is_interpreter = _INTERPRETER.fullmatch(program.name) is not None
    for argument in arguments:
        if not argument.is_absolute() or not argument.is_file():
            continue
        if is_interpreter or os.access(argument, os.X_OK) or _first_line(argument):
            yield from _with_interpreter(argument)
            is_interpreter = False  # it is what is run; what follows are its own arguments


def _with_interpreter(path: Path) -> Iterator[Path]:
    yield path
    words = _first_line(path).split()
    if words:
        # A relative one is looked up in the folder of the program, in which a command runs.
        yield _follow(path).real.parent / words[0]


def _first_line(path: Path) -> str:
    """Return the command in the first line of a script, or "" for another file."""
    try:
        script = RegularFile(str(path), follow=True)
    except (OSError, NotSealedError):
        return ""
    with script:
        line = script.read(0, _FIRST_LINE).partition(b"\n")[0]
    return os.fsdecode(line[2:]).strip() if line.startswith(b"#!") else ""


class _Way(NamedTuple):
    """Where a path leads, the folders that it is looked up in, and the links on it."""

    real: Path
    folders: dict[str, os.stat_result]
    links: list[tuple[str, str, os.stat_result]]
    """Folder, path and status of each link."""


def _follow(path: Path | str) -> _Way:
    """Follow a path as the system does, as far as it exists."""
    way = _Way(Path(os.path.realpath(path)), {}, [])
    if not CHECKED:
        return way
    folder = os.sep
    start = path if os.path.isabs(path) else os.path.join(os.getcwd(), path)
    names = os.fspath(start).split(os.sep)[::-1]
    while names:
        name = names.pop()
        if not name:
            continue
        if folder not in way.folders:
            way.folders[folder] = os.stat(folder)
        if name in (os.curdir, os.pardir):
            folder = folder if name == os.curdir else os.path.dirname(folder)
            continue
        place = os.path.join(folder, name)
        try:
            status = os.lstat(place)
        except (FileNotFoundError, NotADirectoryError):
            return way._replace(real=Path(place, *names[::-1]))
        if not stat.S_ISLNK(status.st_mode):
            folder = place
            continue
        way.links.append((folder, place, status))
        if len(way.links) > _MOST_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
        target = os.readlink(place)
        names += target.split(os.sep)[::-1]
        if os.path.isabs(target):
            folder = os.sep
    return way._replace(real=Path(folder))


def _way_faults(way: _Way, strict: Path | None) -> Iterator[Fault]:
    """Yield what lets others lead a path elsewhere; the folder `strict` may not be sticky."""
    writable = set()
    for name, status in way.folders.items():
        place = Path(name)
        yield from _owner_faults(status, place, mend=_ELSEWHERE, ours=False)
        who = next(others(status, place, CHANGE), None)
        if who is None:
            continue
        writable.add(name)
        sticky = status.st_mode & stat.S_ISVTX
        if sticky and place != strict:
            continue
        if not stat.S_ISDIR(status.st_mode):
            yield Fault(place, "is not a folder, and others can change it", _ELSEWHERE)
            continue
        yield Fault(
            place,
            f"has mode {stat.S_IMODE(status.st_mode):04o}: {who.name} can replace what is in or"
            " below it",
            # The folder of another user, such as /tmp, is not this user's to fix.
            f"chmod go-w {quoted(place)}" if status.st_uid == os.geteuid() else _ELSEWHERE,
            "(or keep it elsewhere)" if sticky else "",
        )
    for folder, name, status in way.links:
        # In a sticky folder everybody can replace what is theirs, and nothing else.
        if folder in writable:
            yield from _owner_faults(status, Path(name), mend=removal(Path(name)))


def irregular_faults(status: os.stat_result, path: Path) -> Iterator[Fault]:
    """Yield a fault if a path in a ring leads to anything but a regular file.

    `status` is that of the target; the fix removes the ring's own entry, not the target of a link.
    """
    if not stat.S_ISREG(status.st_mode):
        problem = "is not a regular file, as all files of a keyring must be"
        yield Fault(path, problem, removal(path))


def file_faults(
    status: os.stat_result,
    path: Path,
    place: Path | int,
    *,
    secret: bool,
    group_read: bool = False,
    ours: bool = True,
) -> Iterator[Fault]:
    """Yield what lets others change a file with this status or, if it is secret, read it.

    `place`: its path or descriptor, to read its access control list from. `ours`: its owner must
    be known.
    """
    if not CHECKED:
        return
    yield from _owner_faults(status, path, mend=f"chown {os.geteuid()} {quoted(path)}", ours=ours)
    for other in others(status, place, READ | CHANGE if secret else CHANGE):
        bits = other.bits & CHANGE if group_read and other.is_owning_group else other.bits
        if bits:
            can = " or ".join(
                word for bit, word in ((READ, "read"), (CHANGE, "change")) if bits & bit
            )
            yield Fault(
                path,
                f"has mode {stat.S_IMODE(status.st_mode):04o}: {other.name} can {can} it",
                f"chmod {'600' if secret else 'go-w'} {quoted(path)}",
                _KUBERNETES if secret else "",
            )
            return


def removal(path: Path) -> str:
    """Return the command that removes a file, link or empty folder of a ring."""
    is_folder = path.is_dir() and not path.is_symlink()
    return f"{'rmdir' if is_folder else 'rm'} {quoted(path)}"


def quoted(path: Path) -> str:
    """Return a path quoted for a shell.

    A path with characters that act on a terminal becomes $'...', which bash, zsh and ksh read.
    """
    if str(path).isprintable():
        return shlex.quote(str(path))
    text = "".join(
        chr(byte) if 0x20 <= byte < 0x7F and byte not in b"\\'" else f"\\x{byte:02x}"
        for byte in os.fsencode(path)
    )
    return f"$'{text}'"


def _raise_first(faults: Iterator[Fault]) -> None:
    for fault in faults:
        raise fault.error()


def _owner_faults(
    status: os.stat_result, path: Path, *, mend: str, ours: bool = True
) -> Iterator[Fault]:
    if status.st_uid in (0, os.geteuid()) or (not ours and is_unmapped(status.st_uid)):
        return
    yield Fault(
        path,
        f"belongs to the user with id {status.st_uid}, who can change it",
        mend,
        "(only if you made it: do not trust what another user put there)",
    )
