"""Seal pickles and joblib files that exist already, as they are: one, or a folder of them.

Nothing is unpickled. To adopt a file is to say "I made this", so a survey first tells a person what
each file would import, and what reaches beyond data must be accepted by its name.
"""

import hashlib
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, nullcontext
from datetime import datetime, timedelta
from typing import Any, NamedTuple, TypeVar

from pickleseal.envelope import layout, reader, seal
from pickleseal.envelope import metadata as md
from pickleseal.envelope.seal import SealedHead
from pickleseal.envelope.source import envelope_at, frozen, open_place
from pickleseal.envelope.target import join_envelope, write_envelope
from pickleseal.errors import AdoptionError, NotSealedError, SealError, TargetError, shown
from pickleseal.files.atomic import held
from pickleseal.files.globs import Globs
from pickleseal.files.magic import EXCLUDE, INCOMPLETE, LOAD_AND_DUMP, beginning_of
from pickleseal.files.objects import Opened, open_file
from pickleseal.files.places import Place, exists, name_of, resolved
from pickleseal.files.walk import Skip
from pickleseal.keys.context import context_to_seal
from pickleseal.keys.keyring import EVERY_KEY, Keyring
from pickleseal.keys.store.lookup import Ring, find_keyring
from pickleseal.migration.artifact import Artifact, follow, read_artifact
from pickleseal.migration.batch import (
    Batch,
    Candidate,
    Outcome,
    Result,
    attempt,
    failure,
    found_file,
    seen_of,
)
from pickleseal.migration.contexts import context_of, has_placeholder, shared
from pickleseal.migration.targets import (
    Targets,
    backed_up,
    changed,
    check_backup,
    is_backup,
    is_envelope,
    is_of_program,
    make_folder_of,
    permissions_of,
    target_in,
)
from pickleseal.persistence import dump, policy
from pickleseal.persistence.inventory import CONTENT
from pickleseal.scanner.containers.contents import SEARCHED, look
from pickleseal.scanner.containers.views import Bytes, Memory
from pickleseal.scanner.grade import UNKNOWN_KIND, Contents, Grade, judgement
from pickleseal.scanner.grades import grade

_T = TypeVar("_T")

_LINE = re.compile(r"\\?([0-9a-fA-F]{64}) [ *].+")
_IN_MEMORY = SEARCHED
"""The largest file that is looked at in memory alone: a look reads as much of a larger one."""
_ACCEPT = "if you made it and know why, name it with --accept"
NO_GLOBS = Globs()


def adopt_bytes(
    raw: bytes | bytearray | memoryview,
    *,
    keyring: Ring = None,
    context: str | None = None,
    serial: int | None = None,
    expires: datetime | timedelta | None = None,
    info: Mapping[str, Any] | None = None,
) -> bytes:
    """Seal bytes that are a pickle or joblib file already, as they are, without unpickling them.

    Parameters
    ----------
    raw : bytes-like
        Exactly one pickle, or one file as joblib writes it (compressed, or with arrays in
        between). Compressed data may unpack to 4 GiB, or to 200 times their size if that is more.
    keyring : Keyring, str or os.PathLike, optional
        A ring, or the path of its directory. Default: as for `signed_dump`.
    context : str, optional
        What the envelope is for; a load must name the same. Default: nothing.
    serial : int, optional
        A number that grows from one version of an object to the next. Default: none.
    expires : datetime or timedelta, optional
        When the envelope expires, or how long from now. Default: never.
    info : mapping, optional
        Facts of your own for the sealed header, as for `signed_dump`. Default: none.

    Returns
    -------
    bytes
        The envelope. Its metadata say `source: adopted`.

    Raises
    ------
    AdoptionError
        If `raw` is anything but exactly one pickle or joblib file.
    KeyringError
        If there is no key to seal with.
    MetadataError
        If the context, serial, expiry or info cannot be sealed.

    Notes
    -----
    To seal is to say "I made this". Never adopt what somebody sent: a service that does so turns a
    stranger's pickle into one that every holder of the key will load. What the pickle would do is
    not judged here. The names that it refers to are recorded, and a load looks up no others.

    Examples
    --------
    >>> import pickle
    >>> from pickleseal import Key, Keyring, adopt_bytes, signed_loads
    >>> ring = Keyring(Key.generate())
    >>> envelope = adopt_bytes(pickle.dumps([1, 2]), keyring=ring)
    >>> signed_loads(envelope, keyring=ring)
    [1, 2]
    """
    data = memoryview(frozen(raw))
    head = _sealed_head(
        data,
        read_artifact(data),
        keyring=keyring,
        context=context,
        serial=dump.serial_of(serial),
        expires=expires,
        info=info,
    )
    return join_envelope(head.data, [data], head.finish, head.key.suite)


def _sealed_head(
    raw: memoryview,
    artifact: Artifact,
    *,
    keyring: Ring,
    context: str | None,
    serial: int | None = None,
    expires: datetime | timedelta | None = None,
    info: Mapping[str, Any] | None = None,
) -> SealedHead:
    """Seal the head for an artifact; nobody may change its bytes meanwhile."""
    sealed_for = context_to_seal(context)
    key = find_keyring(keyring).sealing_key(context=sealed_for, now=time.time())
    imports = None if artifact.names is None else dump.imports_of(artifact.names)
    metadata = md.Metadata(
        content=artifact.content,
        source="adopted",
        context=sealed_for,
        created=dump.now(),
        expires=dump.expiry(expires, time.time()),
        serial=serial,
        imports=imports and imports.names,
        imports_omitted=imports and imports.omitted,
        raw_size=artifact.raw_size,
        info=info,
    )
    return seal.seal_head(key, metadata, [len(raw)])


# --- the survey ------------------------------------------------------------------------------


class Preview(NamedTuple):
    """What a survey saw: a file, what it would import, the SHA-256 of its bytes in hexadecimal.

    `sealed_for`: the context of all files, perhaps with placeholders. `envelope`: the metadata of
    a file that is sealed already.
    """

    candidate: Candidate
    sealed_for: str | None
    contents: Contents | None = None
    sha256: str | None = None
    artifact: Artifact | None = None
    envelope: md.Metadata | None = None

    @property
    def context(self) -> str | None:
        """What the file is or would be sealed for, with its name in place of each placeholder."""
        if self.envelope is not None:
            return self.envelope.context
        wanted = self.sealed_for
        return None if wanted is None else context_of(self.candidate.inside, wanted)


class Adopted(NamedTuple):
    """Where the envelope of an adopted file is, and where the file itself was kept."""

    target: str
    backup: str | None = None


class _Rules(NamedTuple):
    """What a file must meet to be adopted; `accepted` are real paths, of any grade."""

    ring: Ring
    context: str | None
    accepted: frozenset[str]
    digests: frozenset[str] | None


def read_digests(text: str) -> frozenset[str]:
    """Return the digests in a list as sha256sum writes it. Raises ValueError for another line."""
    digests = set()
    # A file's name may have any other character that ends a line.
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        match = _LINE.fullmatch(line.removesuffix("\r"))
        if match is None:
            raise ValueError(
                f"line {number} is not as sha256sum writes it: 64 hexadecimal digits and a name"
            )
        digests.add(match[1].lower())
    return frozenset(digests)


def adoption_batch(paths: Iterable[str], exclude: Globs = NO_GLOBS) -> Batch:
    """Return the batch of some paths, without files that other programs write and read."""

    def exclusion(path: str) -> str | None:
        if exclude.fit(path):
            return Skip.EXCLUDED.value
        return "another program writes and reads it" if is_of_program(path) else None

    return Batch(paths, exclusion=exclusion)


def survey(
    batch: Batch,
    *,
    keyring: Ring,
    context: str | None = None,
    accepted: Iterable[str] = (),
    digests: frozenset[str] | None = None,
) -> Iterator[Result[Preview]]:
    """Look at each file, and yield whether it can be adopted.

    Parameters
    ----------
    batch
        The files; see `adoption_batch`.
    keyring, context
        What must open a file that is sealed already, and what files are to be sealed for. A file
        that is sealed for another context is refused only if both it and the context were named.
    accepted
        The paths of files that may reach beyond data, or of which that cannot be told.
    digests
        The SHA-256 of the files that may be adopted at all. Default: all may.
    """
    rules = _Rules(keyring, context, frozenset(map(resolved, accepted)), digests)
    return batch.each(lambda candidate: _surveyed(candidate, rules))


def with_own_contexts(
    found: Iterable[Result[Preview]], context: str | None
) -> list[Result[Preview]]:
    """Return the results of a survey, but refuse files that would be sealed for one context.

    A load could not tell one of them from the other. A context without a placeholder is the user's
    own choice for all of them.
    """
    listed = list(found)
    if context is None or not has_placeholder(context):
        return listed
    own = {
        one.path: one.detail.context or ""
        for one in listed
        if one.detail is not None and one.outcome in (Outcome.READY, Outcome.ALREADY_SEALED)
    }
    ambiguous = shared(own.values())
    return [
        one._replace(outcome=Outcome.REFUSED, reason=_ambiguous(own[one.path], context))
        if one.outcome is Outcome.READY and own[one.path] in ambiguous
        else one
        for one in listed
    ]


def with_free_places(
    found: Iterable[Result[Preview]],
    *,
    keyring: Keyring,
    targets: Targets,
) -> Iterator[Result[Preview]]:
    """Yield the results of a survey, but fail files whose place another file has."""
    return (_with_free_place(one, keyring, targets) for one in found)


def adopt_all(
    surveyed: Iterable[Result[Preview]],
    *,
    keyring: Keyring,
    targets: Targets,
) -> Iterator[Result[Adopted]]:
    """Seal the files that a survey found ready, exactly as it saw them.

    Each is read again, and sealed from the memory that was compared with what the survey saw. What
    was done stays done if this is stopped; run again, it goes on from there. Raises KeyringError
    at once if the ring has no key to seal with.
    """
    keyring.sealing_entry(now=time.time())
    return (_sealed(found, keyring, targets) for found in surveyed)


def _surveyed(candidate: Candidate, rules: _Rules) -> Result[Preview]:
    seen = Preview(candidate, rules.context)
    with found_file(candidate.found) as file:
        if is_envelope(file):
            return _already_sealed(file, seen, rules)
        if is_backup(file):
            reason = "it has the name of a backup that adopt keeps: to seal it, rename it"
            return candidate.result(Outcome.SKIPPED, reason)
        if file.size > _IN_MEMORY:
            # A film, or a pickle with a hole of a terabyte behind it, is never whole in memory.
            sha256 = None if rules.digests is None else file.sha256()
            early = _looked_at(file, seen._replace(sha256=sha256), rules, follow)
            if isinstance(early, Result):
                return early
        raw = file.whole()
    # Graded from the memory that was hashed: a file that changes cannot show one content and
    # have another one sealed.
    seen = seen._replace(sha256=hashlib.sha256(raw).hexdigest())
    told = _looked_at(Memory(raw), seen, rules, lambda _: read_artifact(raw))
    if isinstance(told, Result):
        return told
    seen, artifact = told
    # A few bytes may be a text as well as a pickle; naming the file says which.
    seen = seen._replace(artifact=artifact, contents=seen.contents or _contents_of(artifact))
    reason = _objection(seen, rules)
    _ = seen.context  # a name that no context can hold fails now, before the question
    return candidate.result(Outcome.REFUSED if reason else Outcome.READY, reason, detail=seen)


def _looked_at(
    data: Bytes, seen: Preview, rules: _Rules, read: Callable[[Bytes], _T]
) -> Result[Preview] | tuple[Preview, _T]:
    """Return the result of a file that is not adopted, or what was seen and read of another."""
    candidate = seen.candidate
    listed = rules.digests is None or seen.sha256 in rules.digests
    seen = seen._replace(contents=look(data, name=candidate.path))
    if seen.contents is None and not candidate.named and (rules.digests is None or not listed):
        return candidate.result(Outcome.NO_PICKLE)
    if not listed:
        outcome = Outcome.REFUSED if candidate.named else Outcome.SKIPPED
        return candidate.result(outcome, "its SHA-256 is not in the list", detail=seen)
    if seen.contents is not None and seen.contents.grade is Grade.CANNOT_TELL:
        # What was too much to look at is not unpacked once more.
        reason = _objection(seen, rules, bytes(data.read(0, layout.FIXED_SIZE)))
        if reason:
            return candidate.result(Outcome.REFUSED, reason, detail=seen)
    try:
        return seen, read(data)
    except AdoptionError as error:
        found = seen.contents
        wrapped = found and found.wrapping and AdoptionError(f"{found.kind}: {LOAD_AND_DUMP}")
        return failure(candidate.path, Outcome.REFUSED, wrapped or error, detail=seen)


def _contents_of(artifact: Artifact) -> Contents:
    worst, names, reasons = grade([artifact.walk])
    return Contents(artifact.content, worst, 1, names, reasons)


def _objection(seen: Preview, rules: _Rules, start: bytes = b"") -> str:
    """Return why an artifact is not adopted all the same, in the audit's words; or an empty text.

    `start`: the first bytes of the file.
    """
    contents = seen.contents
    if contents is None or contents.grade < Grade.CANNOT_TELL:
        return ""
    if seen.candidate.real in rules.accepted:
        return ""
    found = beginning_of(start) if not contents.pickles else None
    advice = INCOMPLETE if contents.truncated else _ACCEPT
    if contents.wrapping is not None:
        advice = LOAD_AND_DUMP
    elif contents.kind == UNKNOWN_KIND or contents.kind.startswith("at byte "):
        advice = EXCLUDE
    if found is not None and found.stands_in:
        advice = found.advice
    return f"{judgement(contents)}; {advice}"


def _already_sealed(file: Opened, seen: Preview, rules: _Rules) -> Result[Preview]:
    """Return the result of an envelope, with a reason if it has another context than is wanted."""
    candidate, wanted = seen.candidate, seen.context
    source = envelope_at(file, 0)
    source.exact = True  # as for a load: nothing may follow it
    try:
        head = reader.read_head(source).authenticate(find_keyring(rules.ring, to_open=EVERY_KEY))
        policy.check_expiry(head.metadata, time.time())
        reader.check_body(source, head)
    except SealError as error:
        reason = f"it is sealed already, but a load refuses it: {error.args[0]}"
        return candidate.result(Outcome.REFUSED, reason, detail=seen)
    sealed = head.metadata
    seen = seen._replace(envelope=sealed)
    if sealed.content == CONTENT or sealed.context == wanted:
        return candidate.result(Outcome.ALREADY_SEALED, detail=seen)
    told = f"for '{shown(sealed.context)}'" if sealed.context else "without a context"
    reason = f"it is sealed already, {told}"
    # A placeholder is for many files: only one context for this very file is a demand on it.
    if not candidate.named or rules.context is None or has_placeholder(rules.context):
        return candidate.result(Outcome.ALREADY_SEALED, reason, detail=seen)
    reason += ": to change that, extract it to another folder, and adopt it there"
    return candidate.result(Outcome.REFUSED, reason, detail=seen)


def _ambiguous(name: str, context: str) -> str:
    way = "" if "{path}" in context else ", or write {path} in it if their folders differ"
    each = "adopt each one separately with its own --context"
    return f"another file would be sealed for '{shown(name)}' as well: {each}{way}"


# --- the sealing -----------------------------------------------------------------------------


def _with_free_place(found: Result[Preview], keyring: Keyring, targets: Targets) -> Result[Preview]:
    preview = found.detail
    if found.outcome is not Outcome.READY or preview is None:
        return found

    def act(_: Candidate) -> Result[Preview]:
        _check_place(preview, keyring, targets)
        return found

    return attempt(preview.candidate, act, detail=preview)


def _sealed(found: Result[Preview], keyring: Keyring, targets: Targets) -> Result[Adopted]:
    preview = found.detail
    if found.outcome is not Outcome.READY or preview is None:
        return Result(found.path, found.outcome, found.reason, found.error)

    def act(candidate: Candidate) -> Result[Adopted]:
        with ExitStack() as until_replaced:
            return _adopted(preview._replace(candidate=candidate), keyring, targets, until_replaced)

    return attempt(preview.candidate, act)


def _adopted(
    found: Preview,
    keyring: Keyring,
    targets: Targets,
    until_replaced: ExitStack,
) -> Result[Adopted]:
    candidate = found.candidate
    place = candidate.found.place
    try:
        with open_file(place, follow=candidate.found.named, seen=seen_of(candidate.found)) as file:
            raw, stamp = file.whole(), file.stamp
            until_replaced.enter_context(held(place, stamp))
    except NotSealedError:  # no regular file any more
        raise changed() from None
    same = hashlib.sha256(raw).hexdigest() == found.sha256
    if found.artifact is None or not same or resolved(candidate.path) != candidate.real:
        raise changed()
    head = _sealed_head(raw, found.artifact, keyring=keyring, context=found.context)

    def write(path: Place, **options: Any) -> None:  # noqa: ANN401 - those of write_envelope
        write_envelope(path, head.data, [raw], head.finish, head.key.suite, durable=True, **options)

    real: Place = candidate.real if isinstance(place, str) else place
    if targets.folder is not None:
        target = target_in(targets.folder, candidate.inside)
        adopted = Adopted(name_of(target))
        make_folder_of(target, below=targets.folder)
        if exists(target):
            _check_target(target, found, keyring)
            return candidate.result(Outcome.ALREADY_SEALED, detail=adopted)
        # Private from its first byte if the file was.
        write(target, mode=permissions_of(real), exclusive=True)
        return candidate.result(Outcome.ADOPTED, detail=adopted)
    with backed_up(real, raw, stamp) if targets.backup else nullcontext() as backup:
        write(real, seen=stamp)
    adopted = Adopted(candidate.path, None if backup is None else name_of(backup))
    return candidate.result(Outcome.ADOPTED, detail=adopted)


def _check_place(found: Preview, keyring: Keyring, targets: Targets) -> None:
    """Raise TargetError if another file lies where the envelope or the backup is to go."""
    candidate = found.candidate
    if targets.folder is not None:
        target = target_in(targets.folder, candidate.inside)
        if exists(target):
            _check_target(target, found, keyring)
    elif targets.backup and found.sha256 is not None:
        place = candidate.found.place
        check_backup(candidate.real if isinstance(place, str) else place, found.sha256)


def _check_target(target: Place, found: Preview, keyring: Keyring) -> None:
    """Raise TargetError unless an interrupted run already wrote this very envelope."""
    try:
        with open_place(target) as (source, _):
            payload = reader.read(
                source,
                lambda _: keyring,
                check=lambda head: policy.check_head(
                    head.metadata, now=time.time(), context=found.context
                ),
            )
            same = hashlib.sha256(reader.segments(payload)[0]).hexdigest() == found.sha256
    except SealError:
        same = False
    if not same:
        raise TargetError(
            f"{name_of(target)} already exists, and is not the sealed form of this file"
        )
