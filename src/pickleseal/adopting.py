"""Sealing files that exist already, many at a time: looked at first, and then sealed as they are.

Nothing is unpickled. To adopt is to say "I made this", so a person sees what each file would
import before anything is done, and what reaches beyond data is named one by one.
"""

import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import NamedTuple

from pickleseal import envelope, opening, storage
from pickleseal.adoption import judge, seal_adopted
from pickleseal.auditing.containers import look
from pickleseal.auditing.findings import Contents, Grade
from pickleseal.errors import AdoptionError, NotSealedError, PicklesealError, SealError, TargetError
from pickleseal.keyring import Keyring
from pickleseal.walk import Found, files_below

BACKUP_SUFFIX = ".unsealed"
_LINE = re.compile(r"\\?([0-9a-fA-F]{64})(?: [ *].*)?")


class Outcome(StrEnum):
    """What came of one file."""

    READY = "ready"
    """It can be adopted."""
    ADOPTED = "adopted"
    ALREADY = "already sealed"
    NO_ARTIFACT = "no artifact"
    """It lies below a folder that was named, and is no pickle in any dress."""
    SKIPPED = "skipped"
    """It is not to be looked at: a link, a backup, not in the list of digests."""
    REFUSED = "refused"
    """It is not one pickle or joblib file, or reaches beyond data. It is as it was."""
    FAILED = "failed"
    """It could not be read or written, or was changed meanwhile. It is as it was."""


class Surveyed(NamedTuple):
    """What a look at one file came upon; `root` is the path that was named, it or a folder above.

    `contents` tells what it would import; `sha256` names what was seen, in hexadecimal digits.
    """

    path: str
    root: str
    outcome: Outcome
    reason: str = ""
    contents: Contents | None = None
    sha256: str | None = None


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
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            raise ValueError(f"line {number} is none of sha256sum's: 64 hexadecimal digits, a name")
        digests.add(match[1].lower())
    return frozenset(digests)


def survey(
    paths: Iterable[str],
    *,
    accepted: Iterable[str] = (),
    digests: frozenset[str] | None = None,
) -> Iterator[Surveyed]:
    """Look at each file at or below some paths, and tell whether it can be adopted.

    `accepted`: the paths of files that may reach beyond data. `digests`: the SHA-256 of the files
    that may be adopted at all; None: all may.
    """
    beyond = {os.path.realpath(path) for path in accepted}
    for root in paths:
        for found in files_below([root]):
            yield _surveyed(found, root, beyond, digests)


def adopt_all(
    surveyed: Iterable[Surveyed],
    *,
    keyring: Keyring,
    place: Place,
    context: str | None = None,
) -> Iterator[Adopted]:
    """Seal the files that a survey found ready, exactly as it saw them; tell of each.

    Each is read anew, and sealed from the memory that was held against what was surveyed. What was
    done stays done if this is stopped; begun again, it goes on from there.
    """
    for found in surveyed:
        if found.outcome is not Outcome.READY:
            yield Adopted(found.path, found.outcome, reason=found.reason)
            continue
        try:
            yield _adopted(found, keyring, place, context)
        except AdoptionError as error:
            yield Adopted(found.path, Outcome.REFUSED, reason=_reason(error))
        except (PicklesealError, OSError, MemoryError) as error:
            yield Adopted(found.path, Outcome.FAILED, reason=_reason(error))


def _surveyed(
    found: Found, root: str, beyond: set[str], digests: frozenset[str] | None
) -> Surveyed:
    skip = found.reason_to_skip()
    if skip is not None:
        return Surveyed(found.path, root, Outcome.SKIPPED, skip)
    try:
        folder = None if found.folder is None else found.folder.descriptor
        with storage.RegularFile(found.path, follow=found.named, folder=folder) as file:
            return _judged(file, found, root, beyond, digests)
    except AdoptionError as error:
        return Surveyed(found.path, root, Outcome.REFUSED, _reason(error))
    except (PicklesealError, OSError, MemoryError) as error:
        return Surveyed(found.path, root, Outcome.FAILED, _reason(error))


def _judged(
    file: storage.RegularFile,
    found: Found,
    root: str,
    beyond: set[str],
    digests: frozenset[str] | None,
) -> Surveyed:
    path = found.path
    if _is_envelope(file):
        return Surveyed(path, root, Outcome.ALREADY)
    if not found.named and _is_backup(path):
        return Surveyed(path, root, Outcome.SKIPPED, "it is what a file was before it was adopted")
    contents = look(file, name=path)
    if contents is None and not found.named:
        return Surveyed(path, root, Outcome.NO_ARTIFACT)
    raw = file.whole()
    sha256 = hashlib.sha256(raw).hexdigest()
    if digests is not None and sha256 not in digests:
        return Surveyed(path, root, Outcome.SKIPPED, "its SHA-256 is not in the list", contents)
    try:
        judge(raw)
        reason = _objection(contents, accepted=os.path.realpath(path) in beyond)
    except AdoptionError as error:
        reason = _reason(error)
    outcome = Outcome.REFUSED if reason else Outcome.READY
    return Surveyed(path, root, outcome, reason, contents, sha256)


def _objection(contents: Contents | None, *, accepted: bool) -> str:
    """Say why what is one pickle is not adopted all the same, or nothing."""
    if contents is None:
        return "it is not told from a file that is no pickle"
    if contents.grade is Grade.UNREADABLE:
        return "it cannot be followed to its end"
    if contents.grade is Grade.BEYOND and not accepted:
        return "it reaches beyond data: if you know why, and made it, name it with --accept"
    return ""


def _is_envelope(file: storage.RegularFile) -> bool:
    return file.read(0, len(envelope.MAGIC)) == envelope.MAGIC


def _is_backup(path: str) -> bool:
    """Tell whether a file is what another one was before it was adopted."""
    if not path.endswith(BACKUP_SUFFIX):
        return False
    try:
        with storage.RegularFile(path.removesuffix(BACKUP_SUFFIX), follow=True) as file:
            return _is_envelope(file)
    except (NotSealedError, OSError):
        return False


def _adopted(found: Surveyed, keyring: Keyring, place: Place, context: str | None) -> Adopted:
    with storage.RegularFile(found.path, follow=True) as file:
        raw = file.whole()
        stamp = file.stamp
    if hashlib.sha256(raw).hexdigest() != found.sha256:
        raise TargetError("it was changed since it was looked at, and was left as it is now")
    head = seal_adopted(raw, judge(raw), keyring=keyring, context=context)
    target = place.target(found)
    backup = None
    if place.folder is None:
        backup = _keep(found.path) if place.backup else None
    else:
        os.makedirs(os.path.dirname(target) or os.curdir, exist_ok=True)
        if os.path.lexists(target):
            return _there(found, target, raw, keyring)
    seen = stamp if place.folder is None else None
    storage.write(target, head.data, [raw], head.finish, head.key.suite, durable=True, seen=seen)
    return Adopted(found.path, Outcome.ADOPTED, target, backup)


def _keep(path: str) -> str:
    """Give a file a second name, under which it stays when its place is taken."""
    real = os.path.realpath(path)
    backup = real + BACKUP_SUFFIX
    try:
        os.link(real, backup)
    except FileExistsError:
        if not os.path.samefile(real, backup):  # left from a run that was cut off, if it is
            raise TargetError(
                f"{os.path.basename(backup)} is there already, and is another file: move it away"
            ) from None
    except OSError:  # this file system has no second names
        with storage.RegularFile(real, follow=False) as file:
            storage.write_whole(backup, bytes(file.whole()))
    return backup


def _there(found: Surveyed, target: str, raw: memoryview, keyring: Keyring) -> Adopted:
    """Tell what came of a file whose target exists: it may be from a run that was cut off."""
    try:
        with storage.open_source(target) as source:
            payload = opening.read(source, lambda: keyring, check=lambda _: None)
            same = opening.segments(payload)[0] == raw
    except SealError:
        same = False
    if not same:
        raise TargetError(f"{target} is there already, and holds something else")
    return Adopted(found.path, Outcome.ALREADY, target)


def _reason(error: BaseException) -> str:
    if isinstance(error, OSError) and not isinstance(error, PicklesealError):
        return error.strerror or str(error)
    return str(error.args[0]) if error.args else type(error).__name__
