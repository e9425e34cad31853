"""The finding for a path: what the file is, and whether the keyring accepts it.

An envelope is checked by the same rules, in the same order, as by a load (docs/reference/format.md,
"Reading"). Other files are examined by content. Nothing is unpickled.
"""

import errno
import os
import shlex
import time
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import NamedTuple, TypeVar

from pickleseal.auditing.findings import Finding, Level, Mark, Verdict
from pickleseal.envelope import layout, reader
from pickleseal.envelope.digests import of_file
from pickleseal.envelope.metadata import Metadata
from pickleseal.envelope.seal import AuthenticHead
from pickleseal.envelope.source import Source, envelope_at
from pickleseal.errors import (
    BadSealError,
    ContextError,
    ExpiredError,
    MalformedError,
    NotSealedError,
    RevokedKeyError,
    RollbackError,
    SealError,
    UnknownKeyError,
)
from pickleseal.files.globs import Globs
from pickleseal.files.magic import EMPTY, EXCLUDE, INCOMPLETE, beginning_of
from pickleseal.files.objects import Opened, StoredObject, open_file
from pickleseal.files.places import Version, exists, steady
from pickleseal.files.regular import HoleError
from pickleseal.files.walk import BACKUP_SUFFIX, Found, Skip
from pickleseal.keys.keyring import Keyring, option_of, way_to_bring
from pickleseal.keys.roster import State, fits
from pickleseal.migration.targets import is_of_program, is_sealed_original, sealed_place
from pickleseal.persistence import inspection
from pickleseal.persistence import pins as pin_rules
from pickleseal.persistence.inspection import Inspection
from pickleseal.persistence.inventory import CONTENT
from pickleseal.persistence.load import LoadPolicy
from pickleseal.persistence.pin_file import PinFile
from pickleseal.persistence.policy import time_text
from pickleseal.scanner.containers.views import Bytes, Memory, Pool
from pickleseal.scanner.grade import UNKNOWN_KIND, Contents, Grade, judgement

_Result = TypeVar("_Result")


class AuditOptions(NamedTuple):
    """The options of an audit.

    `ring` is None if there is no key. `contexts` are pairs of globs for paths and the context, or
    a prefix and `*`, that such files must be sealed for; the first match counts. `imports`: follow
    the pickles of sealed files too. `digests`: hash unsealed artifacts. `pins` maps each context to
    what loads remember of it, in `pin_file`. `known`: modules whose names count as known.
    `find_ring` looks the ring up again. `deep`: search all of a file for pickles at any offset.
    `pool` is the step budget of all files. `rules` is a digest of what sealed files are judged by.
    `since` has the marks of objects that are not read if the store lists them as before.
    """

    ring: Keyring | None
    contexts: tuple[tuple[Globs, str], ...] = ()
    imports: bool = False
    digests: bool = False
    pins: Mapping[str, pin_rules.Pin] = MappingProxyType({})
    pin_file: PinFile | None = None
    known: tuple[str, ...] = ()
    find_ring: Callable[[], Keyring | None] = lambda: None
    deep: bool = False
    pool: Pool | None = None
    rules: str = ""
    since: Mapping[str, Mark] = MappingProxyType({})

    def policy_for(self, path: str, metadata: Metadata) -> LoadPolicy:
        """Return the policy of a load of the envelope at `path`, as far as an audit knows it."""
        sealed = metadata.context
        wanted = next((wanted for globs, wanted in self.contexts if globs.fit(path)), None)
        expected = sealed if wanted is None or fits(wanted, sealed) else wanted
        return LoadPolicy(
            context=expected, pin_file=self.pin_file, pin=lambda: self.pins.get(sealed or "")
        )


def examine(found: Found, options: AuditOptions) -> Finding:
    """Return the finding for one path. A defect of the file never raises."""
    if found.skip is None:
        return not_read(found, options) or _examined(found, options)
    if found.skip is Skip.UNREADABLE:
        return _unreadable(found.path, found.reason or "")
    verdict, level, advice = _SKIPS[found.skip]
    skipped = Finding(found.path, verdict, level, found.reason or "", advice)
    if found.skip is Skip.LEFTOVER:
        # The name proves nothing: anyone can give a pickle this name.
        inside = _examined(found, options)
        return inside if inside.verdict is Verdict.UNSEALED else skipped
    return skipped


def not_read(found: Found, options: AuditOptions) -> Finding | None:
    """Return the finding for an object that is listed as when it was whole, or None."""
    mark = options.since.get(found.path)
    if mark is None or found.seen is None or found.seen != Version(found.seen.size, mark.etag):
        return None
    reason = f"not read again: listed as when it was sealed and whole, at {time_text(mark.read)}"
    return Finding(
        found.path, Verdict.NOT_READ, Level.NONE, reason, size=found.seen.size, mark=mark
    )


def _examined(found: Found, options: AuditOptions) -> Finding:
    def sealed(file: Opened) -> Finding:
        envelopes = Envelopes(file.path, file.size, partial(envelope_at, file))
        finding = judge_sealed(envelopes, options)
        mark = _mark(finding, file, options.rules)
        return finding if mark is None else finding._replace(mark=mark)

    return opened(found, sealed, options)


def _mark(finding: Finding, file: Opened, rules: str) -> Mark | None:
    """Return the mark of an object that stays whole as long as its bytes are the same."""
    expires = any(one.metadata and one.metadata.expires for one in finding.envelopes)
    if finding.level or expires or not isinstance(file, StoredObject):
        return None
    etag = file.identity()
    return None if etag is None else Mark(etag, int(time.time()), rules)


def opened(
    found: Found,
    sealed: Callable[[Opened], _Result],
    options: AuditOptions,
    other: Callable[[Opened], _Result] | None = None,
) -> Finding | _Result:
    """Return what `sealed` does for a file that begins as an envelope, else its finding.

    `other` takes the place of an examination of any other file.
    """
    folder = None if found.folder is None else found.folder.descriptor

    def look(attempt: int) -> Finding | _Result:
        # A list of a store may be older than what replaced an object.
        seen = found.remote.version() if attempt and found.remote else found.seen
        with open_file(
            found.place, follow=found.named, folder=folder, seen=seen, identify=bool(options.rules)
        ) as file:
            start = file.read(0, len(layout.MAGIC))
            if start and layout.MAGIC.startswith(start):
                return sealed(file)
            return examine_unsealed(file, options) if other is None else other(file)

    return or_unreadable(found.path, lambda: steady(look))


def or_unreadable(path: str, look: Callable[[], _Result]) -> Finding | _Result:
    """Return what `look` does, or the finding for a file that cannot be read."""
    try:
        return look()
    except NotSealedError:  # a named pipe or device, or one that replaced a file
        return Finding(path, Verdict.UNREADABLE, Level.WARNING, Skip.SPECIAL.value)
    except OSError as error:
        return _unreadable(path, f"{Skip.UNREADABLE.value}: {error.strerror or error}")
    except MemoryError:
        return _unreadable(path, "not enough memory to examine it")


def grade_of(level: Level, contents: Contents) -> Level:
    """Return the level of unsealed contents, at least `level`."""
    return Level.ERROR if contents.grade >= Grade.BEYOND else level


_SKIPS = {
    Skip.LINK: (Verdict.SKIPPED, Level.NOTE, ""),
    Skip.SPECIAL: (Verdict.UNREADABLE, Level.NOTE, ""),
    Skip.LEFTOVER: (Verdict.LEFTOVER, Level.NOTE, "delete it if no dump is running"),
    Skip.MOVED: (Verdict.UNREADABLE, Level.WARNING, "audit again, and check who changes links"),
    Skip.EXCLUDED: (Verdict.SKIPPED, Level.NONE, ""),
}

_DENIED = (os.strerror(errno.EACCES), os.strerror(errno.EPERM))


def _unreadable(path: str, reason: str) -> Finding:
    """Return the finding for a path that cannot be read, with advice if it is not permitted."""
    advice = "audit as a user who may read it" if reason.endswith(_DENIED) else ""
    return Finding(path, Verdict.UNREADABLE, Level.WARNING, reason, advice)


def _as_argument(path: str) -> str:
    """Return a path quoted for a shell, so that no name acts as a command when it is pasted."""
    if not path.isprintable():
        return "FILE"
    return f"-- {shlex.quote(path)}" if path.startswith("-") else shlex.quote(path)


# --- sealed ----------------------------------------------------------------------------------


class Envelopes(NamedTuple):
    """A file that begins as an envelope: its path, its size, and the envelope at an offset."""

    path: str
    size: int
    at: Callable[[int], Source]


class _Judged(NamedTuple):
    """The verdict on one envelope, and the offset of the next."""

    verdict: Verdict
    reason: str
    facts: Inspection | None
    end: int
    contents: Contents | None = None
    stray: bool = False
    """Not an envelope, but bytes behind one."""


def judge_sealed(file: Envelopes, options: AuditOptions) -> Finding:
    """Return the finding for a file that begins as an envelope."""
    judged = [_judge(file, 0, options)]
    refused = 0
    while judged[-1].end < file.size and judged[-1].facts is not None:
        refused += _SEALED[judged[-1].verdict][0] is Level.ERROR
        if refused == inspection.MOST_REFUSED:
            break
        judged.append(_judge(file, judged[-1].end, options))
    if len(judged) == 1:
        return _told(file, judged[0], options.ring)
    worst = max(judged, key=lambda one: _SEALED[one.verdict][0])
    reason, count = worst.reason, sum(not one.stray for one in judged)
    if not reason:
        reason = f"{count} objects in sequence: a load by path refuses it"
    elif count > 1 and not worst.stray:
        reason = f"object {judged.index(worst) + 1} of {count}: {reason}"
    if refused == inspection.MOST_REFUSED:
        reason = f"{reason}; {inspection.REST_NOT_READ}"
    looked_into = (one.contents for one in judged if one.contents)
    contents = max(looked_into, default=None, key=lambda contents: contents.grade)
    finding = _told(file, worst._replace(reason=reason, contents=contents), options.ring)
    envelopes = tuple(one.facts for one in judged if one.facts is not None)
    level = max(finding.level, Level.NOTE)
    return finding._replace(envelopes=envelopes, digest=None, level=level)


def _told(file: Envelopes, judged: _Judged, ring: Keyring | None) -> Finding:
    level, advice = _SEALED[judged.verdict]
    facts, contents = judged.facts, judged.contents
    if contents is not None and contents.grade >= Grade.BEYOND:
        level = max(level, Level.NOTE)
    if advice:
        way = "" if facts is None else way_to_bring(facts.key_id, option_of(ring))
        advice = advice.format(path=_as_argument(file.path), way=way)
    return Finding(
        file.path,
        judged.verdict,
        level,
        judged.reason,
        advice,
        file.size,
        () if facts is None else (facts,),
        contents,
        None if facts is None else facts.digest,
    )


def _judge(file: Envelopes, offset: int, options: AuditOptions) -> _Judged:
    """Judge the envelope that begins at an offset, as a load would."""
    try:
        source = file.at(offset)
        claimed = reader.read_head(source)
    except NotSealedError:
        reason = layout.left_over(file.size - offset)
        return _Judged(Verdict.MALFORMED, reason, None, file.size, stray=True)
    except MalformedError as error:
        return _Judged(Verdict.MALFORMED, str(error), None, file.size)
    key_id, end = claimed.fixed.key_id.hex(), offset + claimed.fixed.total_size

    def refused(verdict: Verdict, reason: str) -> _Judged:
        return _Judged(verdict, reason, inspection.claims(claimed, file.path, reason), end)

    if options.ring is None:
        reason = f"sealed by key {key_id}, but there is no keyring to check it with"
        return refused(Verdict.UNKNOWN_KEY, reason)
    ring = options.ring
    try:
        try:
            head = claimed.authenticate(ring)
        except UnknownKeyError:
            # The ring may have got the key since the audit began, as a load would see.
            ring = options.find_ring() or ring
            head = claimed.authenticate(ring)
    except UnknownKeyError:
        reason = f"sealed by key {key_id}, which {ring.name} does not have"
        return refused(Verdict.UNKNOWN_KEY, reason)
    except RevokedKeyError:
        return refused(Verdict.REVOKED, ring.revocation_of(key_id))
    except SealError as error:
        return refused(_verdict_of(error, Verdict.BAD_HEAD), str(error))
    judged = _judge_opened(file, source, head, options, end)
    if judged.verdict is not Verdict.SEALED:
        return judged
    return judged._replace(verdict=_by_which_key(ring, head.key.id))


def _judge_opened(
    file: Envelopes, source: Source, head: AuthenticHead, options: AuditOptions, end: int
) -> _Judged:
    """Judge an envelope whose head is authentic; SEALED if a load would refuse nothing."""
    metadata = head.metadata
    policy = options.policy_for(file.path, metadata)
    # A load reports the first refusal. The body is still read, for the facts.
    refusal: SealError | None = None
    try:
        policy.check_head(metadata, time.time())
    except SealError as error:
        refusal = error
    payload = None
    try:
        if options.imports:
            payload = reader.read_body(source, head)
            digest = payload.digest
        else:
            digest = reader.check_body(source, head)
    except SealError as error:
        refusal = refusal or error
        facts = inspection.of_head(head, file.path, str(error))
        return _Judged(_verdict_of(refusal, Verdict.BAD_BODY), str(refusal), facts, end)
    facts = inspection.of_whole(head, file.path, digest)
    contents = None
    try:
        if refusal is None:
            policy.check_content(metadata, digest)
    except SealError as error:
        refusal = error
    try:
        if payload is not None:
            contents = _look(Memory(reader.segments(payload)[0]), options)
    except SealError as error:
        refusal = refusal or error
    if refusal is not None:
        verdict = _verdict_of(refusal, Verdict.BAD_BODY)
        return _Judged(verdict, str(refusal), facts, end, contents)
    reason = "an inventory: loads refuse it" * (metadata.content == CONTENT)
    return _Judged(Verdict.SEALED, reason, facts, end, contents)


def _by_which_key(ring: Keyring, key_id: str) -> Verdict:
    if key_id == ring.primary:
        return Verdict.SEALED
    if ring.entries[key_id].state is State.ACTIVE:
        return Verdict.SEALED_ACTIVE
    return Verdict.SEALED_RETIRED


def _verdict_of(error: SealError, bad_seal: Verdict) -> Verdict:
    return bad_seal if type(error) is BadSealError else _ERRORS.get(type(error), Verdict.MALFORMED)


_ERRORS: dict[type[SealError], Verdict] = {
    ContextError: Verdict.WRONG_CONTEXT,
    ExpiredError: Verdict.EXPIRED,
    RollbackError: Verdict.ROLLED_BACK,
}

_SEALED: dict[Verdict, tuple[Level, str]] = {
    Verdict.SEALED: (Level.NONE, ""),
    Verdict.SEALED_ACTIVE: (Level.NONE, ""),
    Verdict.SEALED_RETIRED: (Level.NOTE, "reseal with the primary key: pickleseal reseal {path}"),
    Verdict.EXPIRED: (Level.WARNING, "recreate or delete it: loads refuse it"),
    Verdict.ROLLED_BACK: (
        Level.ERROR,
        "restore the newest file; if you want this one: pickleseal pins forget",
    ),
    Verdict.WRONG_CONTEXT: (
        Level.ERROR,
        "check what it was sealed for, and put the right file here: pickleseal inspect {path}",
    ),
    Verdict.UNKNOWN_KEY: (
        Level.ERROR,
        "if the file is yours, {way}; if it is not, do not load it",
    ),
    Verdict.REVOKED: (
        Level.ERROR,
        (
            "make the object again and seal it. If an inventory from before lists the file, you can"
            " instead readmit it: pickleseal reseal --only-digests INVENTORY {path}"
        ),
    ),
    Verdict.MALFORMED: (Level.ERROR, "restore an intact copy: this one is damaged"),
    Verdict.BAD_BODY: (Level.ERROR, "restore an intact copy, and find out who changed this one"),
    Verdict.BAD_HEAD: (Level.ERROR, "restore an intact copy, and find out who changed this one"),
}
"""Level and advice for each verdict on an envelope."""


# --- unsealed --------------------------------------------------------------------------------


def _look(data: Bytes, options: AuditOptions, name: str = "") -> Contents | None:
    # Imported only where they are needed.
    from pickleseal.scanner.containers.contents import look  # noqa: PLC0415
    from pickleseal.scanner.grades import recognized  # noqa: PLC0415

    try:
        contents = look(data, name=name, deep=options.deep, pool=options.pool)
        return None if contents is None else recognized(contents, options.known)
    except (OSError, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001 - one file's trouble must not end a whole audit
        reason = f"pickleseal failed on this file, please report it: {error!r}"
        return Contents("not known", Grade.CANNOT_TELL, 0, (), (reason,))


def _without_pickle(file: Opened, options: AuditOptions) -> Finding:
    from pickleseal.scanner.containers.contents import (  # noqa: PLC0415 - as above
        SEARCHED,
        is_named_like_pickle,
        unopened,
    )

    start = file.read(0, layout.FIXED_SIZE)
    level, reason, advice = Level.NONE, "", ""
    if not start and is_named_like_pickle(file.path):
        level, reason, advice = Level.NOTE, f"named like a pickle, but {EMPTY.clause}", EMPTY.advice
    elif (closed := unopened(start)) is not None:
        level, reason, advice = Level.NOTE, f"{closed}, which is not opened", _UNPACK
    elif file.size > SEARCHED and not options.deep:
        reason = f"only its first {SEARCHED >> 20} MiB were searched: --deep searches all"
    return Finding(file.path, Verdict.NO_PICKLE, level, reason, advice, size=file.size)


def examine_unsealed(file: Opened, options: AuditOptions) -> Finding:
    """Return the finding for a file that is not an envelope."""
    if is_sealed_original(file, options.ring):
        return Finding(file.path, Verdict.BACKUP, Level.NOTE, *_BACKUP, size=file.size)
    contents = _look(file, options, file.path)
    if contents is None:
        return _without_pickle(file, options)
    told_kind = "" if contents.kind == UNKNOWN_KIND else f"{contents.kind}: "
    told = contents.reasons[0] if _holds_sealed(contents) else judgement(contents)
    digest, left_out = None, ""
    if options.digests:
        try:
            digest = of_file(file.sha256())
        except HoleError as error:
            left_out = f"; not in the list: {error.strerror}"
    return Finding(
        file.path,
        Verdict.UNSEALED,
        grade_of(Level.WARNING, contents),
        f"{told_kind}{told}{left_out}",
        _advice_on(contents, file),
        size=file.size,
        contents=contents,
        digest=digest,
    )


def _holds_sealed(contents: Contents) -> bool:
    """Return whether the only reason for UNKNOWN is a sealed file inside."""
    unknown = any(name.grade is Grade.UNKNOWN for name in contents.names)
    return contents.grade is Grade.UNKNOWN and not unknown


def _advice_on(contents: Contents, file: Opened) -> str:
    path = file.path
    if not contents.pickles:
        found = beginning_of(file.read(0, layout.FIXED_SIZE))
        if found is not None and found.stands_in:
            return found.advice
    if contents.truncated:
        return INCOMPLETE
    if contents.grade < Grade.BEYOND:
        if path.endswith(BACKUP_SUFFIX) and exists(sealed_place(file)):
            return _OTHER_BACKUP
        if is_of_program(path):
            return _OF_PROGRAM
        if contents.kind == UNKNOWN_KIND:
            return f"{EXCLUDE}; if it is, {_UNSEALED[Grade.CANNOT_TELL]}"
        if contents.kind.startswith("at byte "):
            return _KEPT_INSIDE
    if contents.grade in _UNSEALED:
        return _UNSEALED[contents.grade]
    if _holds_sealed(contents):
        return _UNPACK_IT
    is_one = not contents.wrapping and contents.pickles == 1
    seal_it = _SEAL_IT.format(path=_as_argument(path)) if is_one else _DUMP_IT
    return seal_it if contents.grade is Grade.DATA else f"{_KNOWN}; {seal_it}"


_BACKUP = (
    "the original of an adopted file, with the bytes that were sealed",
    "delete it once the sealed file loads where you need it",
)
_OTHER_BACKUP = (
    "it has the name of a backup that adopt keeps, but cannot be shown to be what was sealed:"
    " delete it if you do not need it"
)
_SEAL_IT = "if the file is yours, seal it: pickleseal adopt {path}"
_DUMP_IT = (
    "if the file is yours, load it where you trust it and save it with pickleseal.signed_dump"
)
_KNOWN = "look at the names: modules of your own can be listed with --known"
_ADAPTER = "have it seal them with an adapter of pickleseal.integrations"
_OF_PROGRAM = f"another program, such as a cache, writes and reads such files: {_ADAPTER}"
_KEPT_INSIDE = (
    f"if a program of yours keeps pickles in it, such as a cache, {_ADAPTER}; if not, do not load"
    " them"
)
_UNPACK = "unpack it and audit its contents"
_UNPACK_IT = "unpack it and audit its contents; signed_dump compresses with compress="
_UNSEALED = {
    Grade.CANNOT_TELL: "do not load it unless you know who made it and why it has this form",
    Grade.BEYOND: "do not load it unless you know who made it and why it needs these",
}
