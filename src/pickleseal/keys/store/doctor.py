"""Find what is wrong with a keyring, or will be soon, each with the command that fixes it.

Nothing is opened that a load would refuse, no passphrase is asked for, and nothing is changed.
"""

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path

from pickleseal.errors import KeyPermissionError, KeyringError, shown
from pickleseal.files.atomic import TEMPORARY_SUFFIX
from pickleseal.files.handles import is_shortage
from pickleseal.keys.key import MAX_LINE, Form, KeyLine, outline
from pickleseal.keys.roster import Entry, Roster, State
from pickleseal.keys.store import commands, permissions, providers, surroundings, variables
from pickleseal.keys.store.directory import (
    INDEX,
    RingFiles,
    key_path,
    no_ring,
    restoration,
    revocation,
    rotation,
)
from pickleseal.keys.store.lines import Opener
from pickleseal.keys.store.own import option_for
from pickleseal.keys.store.permissions import Fault, quoted, removal

DAY = 86_400
MAX_AGE = 365
"""Days after which a primary key should be rotated."""
SOON = 30
"""Days before the end of a primary key's sealing time at which it is reported."""

_KEY_FILE = re.compile(r"([0-9a-f]{32})\.key", re.ASCII)
_ASIDE = ".unlisted"
_LIKE_A_KEY_FILE = re.compile(
    rf"\.key(?![a-z])(?!.*{re.escape(_ASIDE)}$)", re.ASCII | re.IGNORECASE
)
_NEWEST_INDEX = f"restore the newest backup of {INDEX}"


def examine(folder: Path, *, now: int, max_age: int = MAX_AGE) -> list[Fault]:
    """Return everything that is wrong with the keyring in a directory, the gravest first.

    `now`: the time in Unix seconds. `max_age`: the highest age of a primary in days. Raise
    KeyringError if there is no keyring, OSError if the directory cannot be listed.
    """
    real = Path(os.path.realpath(folder))
    names = _names(real)
    if INDEX not in names and not any(_KEY_FILE.fullmatch(name) for name in names):
        raise no_ring(folder)
    to_it = permissions.folder_faults(folder, above=True)  # links on the way, too
    return _merged(chain(to_it, _all(real, names, now, max_age)))


def _names(folder: Path) -> list[str]:
    try:
        names = sorted(os.listdir(folder))
        os.stat(os.path.join(folder, "."))  # raises if the entries cannot be looked at
    except FileNotFoundError:
        return []
    return names


def _merged(faults: Iterable[Fault]) -> list[Fault]:
    """Merge the faults of one place that one command fixes."""
    problems: dict[tuple[str, str], list[str]] = {}
    for place, problem, fix, _ in faults:
        known = problems.setdefault((str(place), fix), [])
        if problem not in known:
            known.append(problem)
    return [Fault(place, "; ".join(told), fix) for (place, fix), told in problems.items()]


def _all(folder: Path, names: Sequence[str], now: int, max_age: int) -> Iterator[Fault]:
    yield from _open_to_others(folder, names)
    files = _files(folder)
    if isinstance(files, Fault):
        yield files
        yield from _left_over(folder, names)
    else:
        roster = files.roster
        yield from _epoch_faults(folder, roster)
        for entry in roster.entries.values():
            yield from _key_faults(files, entry)
        yield from _in_history(folder, roster)
        yield from _strays(folder, names, roster)
        yield from _left_over(folder, names)
        yield from _primary_faults(folder, roster, now, max_age)
    like_keys = [folder / name for name in names if _LIKE_A_KEY_FILE.search(name)]
    plain = any(_may_be_plain(path, files) for path in like_keys)
    yield from surroundings.faults(folder, plain=plain)
    yield from _variables()


def _open_to_others(folder: Path, names: Sequence[str]) -> Iterator[Fault]:
    """Yield every folder, link and file that others can reach, not only the first."""
    if INDEX not in names:
        yield from permissions.folder_faults(folder)
    for name in names:
        secret = _KEY_FILE.fullmatch(name) is not None
        if secret or name == INDEX:
            faults = permissions.path_faults(folder / name, secret=secret, group_read=_group_read())
            with suppress(OSError):  # a broken link, or one that leads where you may not look
                yield from faults


def _group_read() -> bool:
    with suppress(KeyringError):  # reported with the variables
        return variables.group_read()
    return False


def _files(folder: Path) -> RingFiles | Fault:
    """Read keyring.json, or return why it could not be read."""
    path = folder / INDEX
    if _is_missing(path):
        return Fault(path, "is missing: no load works", _NEWEST_INDEX)
    try:
        return RingFiles(folder, group_read=_group_read(), min_epoch=0)
    except KeyPermissionError:
        problem = "was not read because of the problem above: fix that, and check again"
        return Fault(path, problem, f"pickleseal keys doctor{option_for(folder)}")
    except KeyringError as error:
        _check_means(error)
        if not os.access(path, os.R_OK):
            return _unreadable(path)
        reason = str(error).removeprefix(f"{shown(str(path))} ")
        mend = restoration(folder)
        return Fault(path, reason.removesuffix(f": {mend}"), mend)


def _check_means(error: KeyringError) -> None:
    """Raise an error that is for want of descriptors or memory: it tells nothing about a file."""
    if is_shortage(error.__context__):
        raise error


def _unreadable(path: Path) -> Fault:
    """Return the fault of a file that this user may not read or look at."""
    try:
        owner = os.stat(path).st_uid
    except OSError:
        problem = "is a link into a folder that you cannot search"
        return Fault(path, problem, "replace the link with a file of your own")
    mine = not permissions.CHECKED or owner == os.geteuid()
    mend = "chmod u+r" if mine else f"chown {os.geteuid()}"
    return Fault(path, "cannot be read by you", f"{mend} {quoted(path)}")


def _is_missing(path: Path) -> bool:
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def _epoch_faults(folder: Path, roster: Roster) -> Iterator[Fault]:
    name = variables.MIN_EPOCH
    try:
        pin = variables.min_epoch()
    except KeyringError as error:
        yield Fault(name, str(error).removeprefix(f"{name} "), f"export {name}={roster.pin}")
        return
    fault = None if pin is None else pin.fault(roster)
    if fault is not None:
        yield Fault(folder / INDEX, f"{fault} ({name})", _NEWEST_INDEX)


def _key_faults(files: RingFiles, entry: Entry) -> Iterator[Fault]:
    folder = files.folder
    path = key_path(folder, entry.id)
    if entry.state is State.REVOKED:
        return
    # A revocation is for ever, so it comes after what should be tried first.
    give_up = (
        "restore it from a backup; a revocation is final, so only if there is none:"
        f" {revocation(folder, entry.id, 'lost')}"
    )
    if _is_missing(path):
        yield Fault(path, f"is missing, but {INDEX} lists it: no load works", give_up)
        return
    try:
        key = files.key(entry.id, Opener())
    except KeyPermissionError:
        return  # reported with all the others
    except KeyringError as error:
        _check_means(error)
        if not os.access(path, os.R_OK):
            yield _unreadable(path)
            return
        reason = str(error).removeprefix(f"the key file {shown(str(path))}")
        problem = f"is damaged{reason}" if reason.startswith(":") else reason.strip()
        other = _other_id(files, entry.id)
        misnamed = other in files.roster.entries and not os.path.lexists(key_path(folder, other))
        right = f"mv -n {quoted(path)} {quoted(key_path(folder, other))}"
        yield Fault(path, problem, right if misnamed else give_up)
        return
    if key.suite is not entry.suite:
        yield Fault(path, f"has another suite than {INDEX} says", _NEWEST_INDEX)
    found = outline(files.line(entry.id))
    argv = providers.command_of(found) if found.form is Form.EXTERNAL else None
    if argv is not None:
        yield from _command_faults(argv, str(path))
    command = os.environ.get(variables.PASSPHRASE_COMMAND)
    if found.form is Form.SCRYPT and command is not None:
        try:
            argv = commands.split_command(command, "the command")
        except KeyringError as error:
            yield Fault(variables.PASSPHRASE_COMMAND, str(error), "close the quote")
        else:
            yield from _command_faults(argv, variables.PASSPHRASE_COMMAND)


def _command_faults(argv: Sequence[str], place: str) -> Iterator[Fault]:
    """Yield why a command that prints a secret is not run, or all that others can change of it."""
    try:
        commands.checked_command(argv)
    except KeyPermissionError:
        yield from permissions.program_faults(argv)
    except KeyringError as error:
        yield Fault(place, str(error), "correct the command, or install the program")


def _other_id(files: RingFiles, key_id: str) -> str:
    """Return the id in the line of a key file, or "" for an invalid line."""
    with suppress(KeyringError):
        return outline(files.line(key_id)).id
    return ""


def _in_history(folder: Path, roster: Roster) -> Iterator[Fault]:
    committed = surroundings.committed(folder)
    if committed is None:
        yield Fault(
            folder,
            "is in a git repository, and git cannot tell whether a commit contains the keys",
            f"git -C {quoted(folder)} status",
        )
        return
    for entry in roster.entries.values():
        path = key_path(folder, entry.id)
        if entry.state is State.REVOKED or path.name not in committed:
            continue
        fix = revocation(folder, entry.id, "in git")
        if entry.id == roster.primary:
            fix = f"{rotation(folder)} && {fix}"
        yield Fault(
            path,
            "was committed to git: whoever has the repository has this key, also after the file is"
            " removed. Once it is revoked, the files that it sealed are refused",
            fix,
        )


def _may_be_plain(path: Path, files: RingFiles | Fault) -> bool:
    """Return whether a key file may contain a secret that is not encrypted."""
    listed = _KEY_FILE.fullmatch(path.name)
    if listed and isinstance(files, RingFiles):
        with suppress(KeyringError):
            return outline(files.line(listed[1])).form is Form.PLAIN
    with suppress(KeyringError, OSError):
        data = permissions.read_guarded(path, secret=False, limit=MAX_LINE + 2)
        return outline(KeyLine(data.decode("latin-1"))).form is Form.PLAIN
    return True


def _strays(folder: Path, names: Sequence[str], roster: Roster) -> Iterator[Fault]:
    for name in names:
        found = _KEY_FILE.fullmatch(name)
        if found is not None and found[1] not in roster.entries:
            yield Fault(
                folder / name,
                f"is not listed in {INDEX}, so it is ignored: an interrupted change left it, or"
                " somebody put it there",
                _aside(folder / name),
            )


def _left_over(folder: Path, names: Sequence[str]) -> Iterator[Fault]:
    for name in names:
        path = folder / name
        if name.endswith(TEMPORARY_SUFFIX):
            problem = "was left by an interrupted change, and may contain a key"
            yield Fault(path, problem, removal(path))
        elif _LIKE_A_KEY_FILE.search(name) and not _KEY_FILE.fullmatch(name):
            problem = "is not named like a key file, so it is ignored; it may contain a key"
            yield Fault(path, problem, _right_name(path))


def _right_name(path: Path) -> str:
    """Return the command that renames a file to its key's id, if that name is free."""
    with suppress(KeyringError, OSError):
        data = permissions.read_guarded(path, secret=True, group_read=True, limit=MAX_LINE + 2)
        proper = key_path(path.parent, outline(KeyLine(data.decode("latin-1"))).id)
        if not os.path.lexists(proper):
            return f"mv -n {quoted(path)} {quoted(proper)}"
    return _aside(path)


def _aside(path: Path) -> str:
    """Return the command that renames a file, which may be the only copy of a key."""
    if not path.is_file():
        return removal(path)
    return f"mv -n {quoted(path)} {quoted(path.with_name(path.name + _ASIDE))}"


def _primary_faults(folder: Path, roster: Roster, now: int, max_age: int) -> Iterator[Fault]:
    rotate = rotation(folder)
    if roster.primary is None:
        states = {entry.state for entry in roster.entries.values()}
        # A ring of retired keys only is meant to open and never to seal.
        if roster.last_primary is not None or states != {State.RETIRED}:
            yield Fault(folder, "has no primary key: nothing can be sealed", rotate)
        return
    entry = roster.entries[roster.primary]
    later = roster.successor()
    if later is not None:
        rotate = f"pickleseal keys primary {later.id}{option_for(folder)}"
    place = f"key {entry.id}"
    if entry.sign_until is not None and entry.sign_until <= now:
        problem = "is the primary, and no longer seals: nothing can be sealed"
        yield Fault(place, problem, rotate)
    elif entry.sign_until is not None and entry.sign_until - now < SOON * DAY:
        left = _days((entry.sign_until - now) // DAY)
        yield Fault(place, f"is the primary, and stops sealing in {left}", rotate)
    # A key that is to replace it is an answer to its age.
    if later is None and entry.created is not None and now - entry.created > max_age * DAY:
        age = _days((now - entry.created) // DAY)
        yield Fault(place, f"is the primary, and is {age} old: rotate it", rotate)


def _days(number: int) -> str:
    if number == 0:
        return "less than a day"
    return f"{number} day{'s' * (number > 1)}"


def _variables() -> Iterator[Fault]:
    """Yield invalid variables and, outside CI, secrets in the environment."""
    try:
        variables.group_read()
    except KeyringError as error:
        name = variables.GROUP_READ
        yield Fault(name, str(error).removeprefix(f"{name} "), f"unset {name}")
    if os.environ.get("CI"):
        return
    for name, what in (
        (variables.KEYS, "keys"),
        (variables.PASSPHRASE, "a passphrase"),
        (variables.NEW_PASSPHRASE, "a passphrase"),
    ):
        if os.environ.get(name):
            yield Fault(
                name,
                f"holds {what} in the environment, which every program started from here can read",
                f"unset {name}",
            )
