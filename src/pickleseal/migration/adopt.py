"""Sealing files that exist already, many at a time: looked at first, and then sealed as they are.

Nothing is unpickled. To adopt is to say "I made this", so a person sees what each file would
import before anything is done, and what reaches beyond data is named one by one.
"""

import hashlib
import os
import re
import stat
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from enum import StrEnum
from typing import NamedTuple

from pickleseal.envelope import layout, reader
from pickleseal.envelope.seal import SealedHead
from pickleseal.envelope.source import envelope_at, open_source
from pickleseal.envelope.target import write_envelope
from pickleseal.errors import (
    AdoptionError,
    NotSealedError,
    PicklesealError,
    SealError,
    TargetError,
    shown,
)
from pickleseal.files.atomic import write_whole
from pickleseal.files.globs import Globs
from pickleseal.files.handles import Stamp, stamp_of
from pickleseal.files.regular import RegularFile
from pickleseal.files.walk import (
    BACKUP_SUFFIX,
    Found,
    LeftOut,
    Skip,
    files_below,
)
from pickleseal.keys.context import normalize_context
from pickleseal.keys.keyring import Keyring
from pickleseal.migration.adoption import (
    Judgement,
    follow,
    judge,
    seal_adopted,
)
from pickleseal.migration.extract import make_folder_of
from pickleseal.persistence import policy
from pickleseal.persistence.inventory import CONTENT
from pickleseal.scanner.containers.contents import look
from pickleseal.scanner.containers.views import Memory
from pickleseal.scanner.grade import Contents, Grade
from pickleseal.scanner.grades import grade

_LINE = re.compile(r"\\?([0-9a-fA-F]{64}) [ *].+")
_SMALL = 1 << 20
_LEFT_ALONE = frozenset((Skip.LINK, Skip.SPECIAL, Skip.LEFTOVER, Skip.EXCLUDED))
_PLACEHOLDER = re.compile(r"\{(name|path)\}")
_PACKED = frozenset((".gz", ".bz2", ".xz", ".lzma", ".lz4", ".zst", ".z"))
NO_GLOBS = Globs()


class Outcome(StrEnum):
    """What came of one file."""

    READY = "ready"
    """It can be adopted."""
    ADOPTED = "adopted"
    ALREADY = "already sealed"
    NO_PICKLE = "no pickle found"
    """It lies below a folder that was named, and no pickle was found in it."""
    SKIPPED = "skipped"
    """It is not to be adopted: a link, a backup, named twice, not in the list of digests."""
    REFUSED = "refused"
    """It is not one pickle or joblib file, or it reaches beyond data, or may. It is as it was."""
    FAILED = "failed"
    """It could not be read or written, or was changed meanwhile. It is as it was."""


class Surveyed(NamedTuple):
    """What a look at one file came upon; `root` is the path that was named, it or a folder above.

    `contents` tells what it would import, and `judgement` what it is; `sha256` names what was seen,
    in hexadecimal digits, and `real` is where that lay.
    """

    path: str
    root: str
    outcome: Outcome
    reason: str = ""
    contents: Contents | None = None
    sha256: str | None = None
    judgement: Judgement | None = None
    real: str = ""


class Adopted(NamedTuple):
    """What came of adopting one file: where its envelope is, and where the file as it was."""

    path: str
    outcome: Outcome
    target: str | None = None
    backup: str | None = None
    reason: str = ""


class Place(NamedTuple):
    """Where envelopes go: in the files' own places, or into a folder that mirrors theirs.

    `backup`: keep a file as it was beside its envelope, named as it and `.unsealed`.
    """

    folder: str | None = None
    backup: bool = True

    def target(self, found: Surveyed) -> str:
        """Give the path of a file's envelope."""
        if self.folder is None:
            return found.path
        if found.path == found.root:
            return os.path.join(self.folder, os.path.basename(found.path))
        return os.path.join(self.folder, os.path.relpath(found.path, found.root))


def read_digests(text: str) -> frozenset[str]:
    """Give the digests in a list as sha256sum writes it. Raises ValueError for another line."""
    digests = set()
    # A file's name may have any other character that ends a line.
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        match = _LINE.fullmatch(line.removesuffix("\r"))
        if match is None:
            raise ValueError(f"line {number} is none of sha256sum's: 64 hexadecimal digits, a name")
        digests.add(match[1].lower())
    return frozenset(digests)


def has_placeholder(context: str | None) -> bool:
    """Tell whether each file is sealed for something of its own. Raises ValueError for another {}.

    `{name}` stands for a file's name without its ending, `{path}` for its folders below the path
    that was named as well.
    """
    if context is None:
        return False
    rest = _PLACEHOLDER.sub("", context)
    if "{" in rest or "}" in rest:
        raise ValueError(
            "a context has no { or } but those of {name}, a file's name without its ending, and of"
            " {path}, which has the file's folders below PATH before it"
        )
    return rest != context


def context_of(path: str, root: str, context: str | None) -> str | None:
    """Give what a file is sealed for, its own name or path in the place of each placeholder.

    `root` is the path that was named: the file's own, or that of a folder above it.
    """
    return None if context is None else _filled(path, root, context)


def told_apart(found: Iterable[Surveyed], context: str | None) -> list[Surveyed]:
    """Give what a survey came upon, but refuse files that would be sealed for the same name.

    A load could not tell one of them from the other. Where there is no placeholder in the context,
    somebody wants them to be sealed for the same.
    """
    listed = list(found)
    if context is None or not has_placeholder(context):
        return listed
    taken = (Outcome.READY, Outcome.ALREADY)
    names = {
        one.path: _filled(one.path, one.root, context) for one in listed if one.outcome in taken
    }
    counts = Counter(names.values())
    return [
        one._replace(outcome=Outcome.REFUSED, reason=_same(names[one.path], context))
        if one.outcome is Outcome.READY and counts[names[one.path]] > 1
        else one
        for one in listed
    ]


def unhindered(
    found: Iterable[Surveyed], *, keyring: Keyring, place: Place, context: str | None = None
) -> Iterator[Surveyed]:
    """Give what a survey came upon, but fail those files whose place is taken by another file."""
    for one in found:
        try:
            if one.outcome is Outcome.READY:
                _check_place(one, keyring, place, context)
        except (PicklesealError, OSError, MemoryError) as error:
            yield one._replace(outcome=Outcome.FAILED, reason=_reason(error))
        else:
            yield one


def files_to_adopt(
    paths: Iterable[str], exclude: Globs = NO_GLOBS, left_out: LeftOut | None = None
) -> Iterator[Found]:
    """Yield the files at or below some paths, without those that other programs make and read."""
    return files_below(
        paths, excluded=lambda path: exclude.fit(path) or _is_anothers(path), left_out=left_out
    )


def survey(
    paths: Iterable[str],
    *,
    keyring: Keyring,
    context: str | None = None,
    accepted: Iterable[str] = (),
    digests: frozenset[str] | None = None,
    exclude: Globs = NO_GLOBS,
    left_out: LeftOut | None = None,
) -> Iterator[Surveyed]:
    """Look at each file at or below some paths, and tell whether it can be adopted.

    `keyring`, `context`: what a file that is sealed already must be sealed by and for. `accepted`:
    the paths of files that may reach beyond data, or of which that cannot be told. `digests`: the
    SHA-256 of the files that may be adopted at all; None: all may. `exclude`: files and folders
    that are left alone. `left_out` takes in the folders that are passed over.
    """
    accepted_paths = frozenset(map(os.path.realpath, accepted))
    wants = _Wants(keyring, context, accepted_paths, digests, exclude)
    seen: set[str] = set()
    for root in paths:
        for found in files_to_adopt([root], exclude, left_out):
            real = found.real or os.path.realpath(found.path)
            if real in seen:
                yield Surveyed(found.path, root, Outcome.SKIPPED, "it was looked at already")
                continue
            seen.add(real)
            yield _surveyed(found, root, wants)._replace(real=real)


def adopt_all(
    surveyed: Iterable[Surveyed],
    *,
    keyring: Keyring,
    place: Place,
    context: str | None = None,
) -> Iterator[Adopted]:
    """Seal the files that a survey found ready, exactly as it saw them; tell of each.

    Each is read anew, and sealed from the memory that was held against what was surveyed. What was
    done stays done if this is stopped; begun again, it goes on from there. Raises KeyringError at
    once where the ring has no key to seal with.
    """
    keyring.sealing_entry(now=time.time())
    for found in surveyed:
        if found.outcome is not Outcome.READY:
            yield Adopted(found.path, found.outcome, reason=found.reason)
            continue
        try:
            yield _adopted(found, keyring, place, context_of(found.path, found.root, context))
        except (PicklesealError, OSError, MemoryError) as error:
            yield Adopted(found.path, Outcome.FAILED, reason=_reason(error))


def _filled(path: str, root: str, context: str) -> str:
    name = _stem(path)
    inside = "" if path == root else os.path.dirname(os.path.relpath(path, root))
    parts = {"name": name, "path": "/".join([*filter(None, inside.split(os.sep)), name])}
    return normalize_context(_PLACEHOLDER.sub(lambda match: parts[match[1]], context))


def _stem(path: str) -> str:
    """Give a file's name without its ending; without both where the last is of a compression."""
    stem, ending = os.path.splitext(os.path.basename(path))
    return os.path.splitext(stem)[0] if ending in _PACKED else stem


def _same(name: str, context: str) -> str:
    way = "" if "{path}" in context else ", or, where their folders differ, write {path} in it"
    return f"another file would be sealed for '{shown(name)}' too: give each its own context{way}"


class _Wants(NamedTuple):
    """What is held against files: `accepted` are the real paths of those of any grade."""

    ring: Keyring
    context: str | None
    accepted: frozenset[str]
    digests: frozenset[str] | None
    exclude: Globs


def _surveyed(found: Found, root: str, wants: _Wants) -> Surveyed:
    skip = found.reason_to_skip()
    if skip is not None:
        outcome = Outcome.SKIPPED if found.skip in _LEFT_ALONE else Outcome.FAILED
        if found.skip is Skip.EXCLUDED and not wants.exclude.fit(found.path):
            skip = "another program makes and reads it: such files are left alone"
        return Surveyed(found.path, root, outcome, skip)
    try:
        folder = None if found.folder is None else found.folder.descriptor
        with RegularFile(found.path, follow=found.named, folder=folder) as file:
            return _looked_at(file, found, root, wants)
    except (PicklesealError, OSError, MemoryError) as error:
        return Surveyed(found.path, root, Outcome.FAILED, _reason(error))
    except Exception as error:  # noqa: BLE001 - one file's trouble must not end a whole survey
        reason = f"pickleseal itself failed at it, please report this: {error!r}"
        return Surveyed(found.path, root, Outcome.FAILED, reason)


def _looked_at(file: RegularFile, found: Found, root: str, wants: _Wants) -> Surveyed:
    path = found.path
    if _is_envelope(file):
        reason = _fault_of_sealed(file, root, wants)
        return Surveyed(path, root, Outcome.REFUSED if reason else Outcome.ALREADY, reason)
    if _is_backup(file):
        return Surveyed(path, root, Outcome.SKIPPED, "it is what a file was before it was adopted")
    if file.size > _SMALL:
        early = _told_in_pieces(file, found, root, wants)
        if early is not None:
            return early
    raw = file.whole()
    sha256 = hashlib.sha256(raw).hexdigest()
    # From the memory that was hashed: nobody can show one file, and have another one sealed.
    contents = look(Memory(raw), name=path)
    if wants.digests is not None and sha256 not in wants.digests:
        return _unlisted(found, root, contents)
    if contents is None and not found.named and wants.digests is None:
        return Surveyed(path, root, Outcome.NO_PICKLE)
    accepted = os.path.realpath(path) in wants.accepted
    if contents is not None and contents.grade is Grade.CANNOT_TELL and not accepted:
        # What was too much to look at is not unpacked once more.
        reason = _objection(contents, accepted=False)
        return Surveyed(path, root, Outcome.REFUSED, reason, contents, sha256)
    try:
        judgement = judge(raw)
    except AdoptionError as error:
        return Surveyed(path, root, Outcome.REFUSED, _reason(error), contents, sha256)
    # Few bytes may be a text as well as a pickle; whoever names them says which.
    contents = contents or _contents_of(judgement)
    reason = _objection(contents, accepted=accepted)
    # What no context can hold is told before the question.
    context_of(path, root, wants.context)
    outcome = Outcome.REFUSED if reason else Outcome.READY
    return Surveyed(path, root, outcome, reason, contents, sha256, judgement)


def _told_in_pieces(file: RegularFile, found: Found, root: str, wants: _Wants) -> Surveyed | None:
    """Tell what comes of a large file that is not adopted; None for one that may be.

    Not all of a film is in memory then, nor of a pickle with a hole of a terabyte behind it.
    """
    if wants.digests is not None:
        listed = file.sha256() in wants.digests
        return None if listed else _unlisted(found, root, look(file, name=found.path))
    contents = look(file, name=found.path)
    if contents is None and not found.named:
        return Surveyed(found.path, root, Outcome.NO_PICKLE)
    accepted = os.path.realpath(found.path) in wants.accepted
    if contents is not None and contents.grade is Grade.CANNOT_TELL and not accepted:
        reason = _objection(contents, accepted=False)
        return Surveyed(found.path, root, Outcome.REFUSED, reason, contents)
    try:
        follow(file)
    except AdoptionError as error:
        return Surveyed(found.path, root, Outcome.REFUSED, _reason(error), contents)
    return None


def _unlisted(found: Found, root: str, contents: Contents | None) -> Surveyed:
    if contents is None and not found.named:
        return Surveyed(found.path, root, Outcome.NO_PICKLE)
    outcome = Outcome.REFUSED if found.named else Outcome.SKIPPED
    return Surveyed(found.path, root, outcome, "its SHA-256 is not in the list", contents)


def _contents_of(found: Judgement) -> Contents:
    worst, names, reasons = grade([found.walk])
    return Contents(found.content, worst, 1, names, reasons)


def _objection(contents: Contents, *, accepted: bool) -> str:
    """Say why what is one pickle is not adopted all the same, or nothing."""
    if accepted or contents.grade < Grade.CANNOT_TELL:
        return ""
    what = "it reaches beyond data"
    if contents.grade is Grade.CANNOT_TELL:
        what = "what it does cannot be told"
    return f"{what}: if you know why, and made it, name it with --accept"


def _is_envelope(file: RegularFile) -> bool:
    return file.read(0, len(layout.MAGIC)) == layout.MAGIC


def _fault_of_sealed(file: RegularFile, root: str, wants: _Wants) -> str:
    """Say why an envelope that is there already is not what adopting would make, or nothing."""
    source = envelope_at(file, 0)
    source.exact = True  # as for a load: nothing may follow it
    try:
        head = reader.read_head(source).authenticate(wants.ring)
        policy.check_expiry(head.metadata, time.time())
        reader.check_body(source, head)
    except SealError as error:
        return f"it is sealed already, and no load takes it: {_reason(error)}"
    sealed = head.metadata
    wanted = context_of(file.path, root, wants.context)
    if sealed.content == CONTENT or sealed.context == wanted:
        return ""
    told = f"'{shown(sealed.context)}'" if sealed.context else "nothing in particular"
    return (
        f"it is sealed already, for {told}: to change that, extract it to another folder, and adopt"
        " it there"
    )


def _is_anothers(path: str) -> bool:
    """Return whether another program makes and reads the file at a path, and would miss it."""
    stem, dot, ending = path.rpartition(".")
    if dot and ending == "dat" and os.path.exists(f"{stem}.dir"):
        return True  # a shelf of Python's own
    folder, name = os.path.split(path)
    # A result that joblib.Memory keeps.
    return name == "output.pkl" and os.path.exists(os.path.join(folder, os.pardir, "func_code.py"))


def _is_backup(file: RegularFile) -> bool:
    """Tell whether a file is what another one was: that one is sealed, or was about to be."""
    if not file.path.endswith(BACKUP_SUFFIX):
        return False
    try:
        with RegularFile(file.path.removesuffix(BACKUP_SUFFIX), follow=True) as other:
            return _is_envelope(other) or other.sha256() == file.sha256()
    except (NotSealedError, OSError):
        return False


def _adopted(found: Surveyed, keyring: Keyring, place: Place, context: str | None) -> Adopted:
    named = found.path == found.root
    with RegularFile(found.path, follow=named) as file:
        raw = file.whole()
        stamp = file.stamp
    same = hashlib.sha256(raw).hexdigest() == found.sha256
    if found.judgement is None or not same or os.path.realpath(found.path) != found.real:
        raise _changed()
    head = seal_adopted(raw, found.judgement, keyring=keyring, context=context)
    if place.folder is None:
        backup = found.real + BACKUP_SUFFIX if place.backup else None
        _replace(found.real, head, raw, stamp, backup)
        return Adopted(found.path, Outcome.ADOPTED, found.path, backup)
    target = place.target(found)
    make_folder_of(target, below=place.folder)
    if os.path.lexists(target):
        return _there(found, target, keyring, context)
    # At once with the mode of its file: what was private stays private.
    mode = _mode(found.real)
    write_envelope(
        target,
        head.data,
        [raw],
        head.finish,
        head.key.suite,
        durable=True,
        mode=mode,
        exclusive=True,
    )
    return Adopted(found.path, Outcome.ADOPTED, target)


def _replace(
    real: str, head: SealedHead, raw: memoryview, stamp: Stamp, backup: str | None
) -> None:
    """Put an envelope in the place of a file, which stays under a second name if there is one."""
    new = backup is not None and _keep(backup, real, raw, stamp)
    try:
        write_envelope(
            real, head.data, [raw], head.finish, head.key.suite, durable=True, seen=stamp
        )
    except BaseException:
        if backup is not None and new:
            _drop(backup, real, stamp)
        raise


def _keep(backup: str, real: str, raw: memoryview, stamp: Stamp) -> bool:
    """Give a file a second name; tell whether it has not had it yet, from a run that was cut off.

    Raises TargetError where another file has that name.
    """
    if os.path.lexists(backup):
        _check_backup(backup, hashlib.sha256(raw).hexdigest())
        return False
    try:
        os.link(real, backup)
    except FileExistsError:
        raise _in_the_way(backup) from None
    except OSError:  # no second names in this file system, or not for this user
        write_whole(backup, bytes(raw), mode=_mode(real), exclusive=True)
        return True
    if stamp_of(os.lstat(backup)) != stamp:
        os.unlink(backup)
        raise _changed()
    return True


def _drop(backup: str, real: str, stamp: Stamp) -> None:
    """Take a second name away again, if the file still has its first."""
    with suppress(OSError):
        if stamp_of(os.stat(real)) == stamp:
            os.unlink(backup)


def _check_place(found: Surveyed, keyring: Keyring, place: Place, context: str | None) -> None:
    """Return if nothing else lies where a file's envelope or the file itself is to go."""
    if place.folder is not None:
        target = place.target(found)
        if os.path.lexists(target):
            _there(found, target, keyring, context_of(found.path, found.root, context))
    elif place.backup and os.path.lexists(found.real + BACKUP_SUFFIX):
        _check_backup(found.real + BACKUP_SUFFIX, found.sha256)


def _check_backup(backup: str, sha256: str | None) -> None:
    """Return if what has the second name of a file is that file, from a run that was cut off."""
    if not _holds(backup, sha256):
        raise _in_the_way(backup)


def _holds(path: str, sha256: str | None) -> bool:
    try:
        with RegularFile(path, follow=False) as file:
            return file.sha256() == sha256
    except NotSealedError:
        return False


def _changed() -> TargetError:
    return TargetError("it was changed since it was looked at, and was left as it is now")


def _in_the_way(backup: str) -> TargetError:
    name = os.path.basename(backup)
    return TargetError(f"{name} is there already, and is another file: move it away")


def _mode(path: str) -> int:
    return stat.S_IMODE(os.stat(path).st_mode) & 0o777


def _there(found: Surveyed, target: str, keyring: Keyring, context: str | None) -> Adopted:
    """Tell what came of a file whose target exists: it may be from a run that was cut off."""
    try:
        with open_source(target) as source:
            payload = reader.read(
                source,
                lambda: keyring,
                check=lambda head: policy.check_head(
                    head.metadata, now=time.time(), context=context
                ),
            )
            same = hashlib.sha256(reader.segments(payload)[0]).hexdigest() == found.sha256
    except SealError:
        same = False
    if not same:
        raise TargetError(f"{target} is there already, and is something else")
    return Adopted(found.path, Outcome.ALREADY, target)


def _reason(error: BaseException) -> str:
    if isinstance(error, OSError) and not isinstance(error, PicklesealError):
        return error.strerror or str(error)
    return str(error.args[0]) if error.args else type(error).__name__
