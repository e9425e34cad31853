"""inspect and verify: the metadata of an envelope, and how much of it is authentic."""

import functools
import time
from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from typing import Any, NamedTuple

from pickleseal.envelope import layout, reader, seal
from pickleseal.envelope.metadata import External, Metadata
from pickleseal.envelope.source import Source, open_envelopes
from pickleseal.errors import KeyringError, SealError, counted, shown
from pickleseal.files.handles import Path, Readable
from pickleseal.files.places import Named, Options, steady
from pickleseal.keys.context import normalize_context
from pickleseal.keys.store.lookup import Ring, find_keyring
from pickleseal.persistence import policy

File = Path | Readable | Named

MOST_REFUSED = 100
"""How many refused envelopes of a file are read: those behind them change no verdict."""
MOST_LISTED = 1000
"""How many envelopes of a file a JSON document lists."""
REST_NOT_READ = f"nothing after the first {MOST_REFUSED} refused objects was read"


class Status(StrEnum):
    """How much of an envelope is authentic.

    Notes
    -----
    The statuses are in the order of what is proved, from nothing to everything.

    Examples
    --------
    >>> from pickleseal import Status
    >>> [status.value for status in Status]
    ['unverified', 'header', 'whole']
    """

    UNVERIFIED = "unverified"
    """Nothing is: all that is shown is what the file claims."""
    HEADER = "header"
    """The header tag holds: size and metadata were sealed. The body was not checked, or fails."""
    WHOLE = "whole"
    """The envelope tag holds: every byte is as it was sealed."""


class Inspection(NamedTuple):
    """The metadata of an envelope, and how much of it is authentic.

    Attributes
    ----------
    status : Status
        How much is authentic.
    problem : str or None
        Why it is not more.
    file : str or None
        The name of the file.
    key_id : str
        32 hexadecimal digits.
    suite : int
        1 for SHA-256, 2 for BLAKE3.
    size : int
        Of the whole envelope, in bytes.
    codec : str
        "stored" or "zstd".
    segments : tuple of int
        The sizes of the pickle and its buffers before compression, in bytes.
    metadata : Metadata or None
        None if not even a claim could be read. Times are in Unix seconds.
    digest : str or None
        Of the content, if the envelope is whole.
    others : tuple of Inspection
        Those of the envelopes after the first, if a path has several. `status` and `problem` are
        then those of the least authentic one; all else is of the first.

    See Also
    --------
    inspect : Make one of a file.

    Notes
    -----
    Nothing was unpickled to make it.

    Examples
    --------
    >>> import io
    >>> from pickleseal import Key, Keyring, inspect, signed_dumps
    >>> ring = Keyring(Key.generate())
    >>> facts = inspect(io.BytesIO(signed_dumps(1, keyring=ring)), keyring=ring)
    >>> facts.metadata.class_name
    'builtins.int'
    """

    status: Status
    problem: str | None
    file: str | None
    key_id: str
    suite: int
    size: int
    codec: str
    segments: tuple[int, ...]
    metadata: Metadata | None
    digest: str | None
    others: tuple["Inspection", ...] = ()

    @property
    def level(self) -> str | None:
        """The level of the format's reference that was reached: "verifier", or None.

        A load does more: it is a loader, which may refuse what a verifier accepts.
        """
        return "verifier" if self.status is Status.WHOLE else None

    def to_dict(self) -> dict[str, Any]:
        """Return all fields that are known as dicts and lists, ready for JSON.

        Of more than 1,000 envelopes only the first are listed; `others_left_out` counts the rest.
        """
        metadata = {} if self.metadata is None else _plain(self.metadata)
        fields = {
            "status": self.status.value,
            "level": self.level,
            "problem": self.problem,
            "file": self.file,
            "key_id": self.key_id,
            "suite": self.suite,
            "size": self.size,
            "codec": self.codec,
            "segments": list(self.segments),
            "digest": self.digest,
            "metadata": metadata,
            "others": [other.to_dict() for other in self.others[: MOST_LISTED - 1]] or None,
            "others_left_out": max(len(self.others) + 1 - MOST_LISTED, 0) or None,
        }
        return {name: value for name, value in fields.items() if value is not None}

    def rows(self) -> list[tuple[str, str]]:
        """Return the rows of a table for people: names and printable texts."""
        metadata = self.metadata
        unread = self.status is Status.HEADER and not self.problem
        rows = [("status", _STATUS_TEXT[self.status] + "; the body was not checked" * unread)]
        if self.problem:
            rows.append(("problem", shown(self.problem)))
        if self.file:
            rows.append(("file", shown(self.file)))
        if self.others:
            rows.append(("objects", f"{self.objects_text()}; what follows is about the first"))
        by = "claims to be by" if self.status is Status.UNVERIFIED else "sealed by"
        rows.append((by, f"key {self.key_id}, suite {self.suite}"))
        if metadata is not None:
            rows += _metadata_rows(metadata)
        what = "pickle" if metadata is not None and metadata.content == "pickle" else "content"
        rows.append(("size", _size_text(self.size, self.codec, self.segments, what)))
        if self.digest:
            rows.append(("digest", self.digest))
        return rows

    def objects_text(self) -> str:
        """Return the sentence on a file with several envelopes."""
        return f"{len(self.others) + 1} objects in sequence: a load by path refuses it"

    def _repr_html_(self) -> str:
        """Return an HTML table for notebooks, with every text escaped."""
        from pickleseal import notebook  # noqa: PLC0415 - for notebooks alone

        edge = {Status.WHOLE: notebook.GOOD, Status.HEADER: notebook.WARN}
        return notebook.facts(
            "pickleseal envelope", self.rows(), edge=edge.get(self.status, notebook.BAD)
        )


def inspect(
    file: File,
    *,
    keyring: Ring = None,
    header_only: bool = False,
    storage_options: Options = None,
) -> Inspection:
    """Read the metadata of an envelope and how much of it is authentic; unpickle nothing.

    Parameters
    ----------
    file : str, os.PathLike or binary file object
        A path or URL, of which all envelopes are read; or a file object, as for `signed_load`.
    keyring : Keyring, str or os.PathLike, optional
        A keyring or the path of its directory. Default: as for `signed_load`. Without the key the
        result shows what the file claims, as unverified.
    header_only : bool, default False
        Do not read the body, for huge files.
    storage_options : mapping, optional
        As in `signed_load`.

    Returns
    -------
    Inspection
        A seal that does not hold is its `problem`, and no error.

    Raises
    ------
    NotSealedError, MalformedError
        If the file is not an envelope.
    OSError
        If the file cannot be read.

    See Also
    --------
    verify : Raise an error if the seal does not hold.

    Notes
    -----
    The tags are those of the format's reference, "Tags".

    Examples
    --------
    >>> import io
    >>> from pickleseal import Key, Keyring, inspect, signed_dumps
    >>> ring = Keyring(Key.generate())
    >>> facts = inspect(
    ...     io.BytesIO(signed_dumps([1], keyring=ring, info={"auc": 0.9})), keyring=ring
    ... )
    >>> facts.status.value, facts.metadata.info
    ('whole', {'auc': 0.9})
    """
    found = inspect_with_error(
        file, keyring=keyring, header_only=header_only, storage_options=storage_options
    )
    return found[0]


def inspect_with_error(
    file: File, *, keyring: Ring, header_only: bool, storage_options: Options = None
) -> tuple[Inspection, SealError | KeyringError | None]:
    """Do what `inspect` does; return the error behind its `problem`, too."""
    ring = functools.cache(lambda key_id: find_keyring(keyring, to_open=key_id))

    def look(source: Source) -> _Answer:
        claimed = reader.read_head(source)
        try:
            head = claimed.authenticate(ring(claimed.fixed.key_id.hex()))
        except (SealError, KeyringError) as error:
            return claims(claimed, source.name, str(error)), error
        if header_only:
            return of_head(head, source.name, None), None
        try:
            payload = reader.read_body(source, head)
        except SealError as error:
            return of_head(head, source.name, str(error)), error
        return of_whole(payload.head, source.name, payload.digest), None

    def read(_: int) -> _Answer:
        with open_envelopes(file, storage_options) as sources:
            return _all_of(sources, look)

    return steady(read)


def verify(
    file: File,
    *,
    keyring: Ring = None,
    context: str | None = None,
    max_bytes: int | None = None,
    storage_options: Options = None,
) -> Inspection:
    """Check that the seal of an envelope holds over every byte, without unpickling.

    It does what the format's reference calls the level of a verifier. A load is a loader: it also
    looks into the segments, and may refuse what is sealed, but is no pickle that it takes.

    Parameters
    ----------
    file : str, os.PathLike or binary file object
        A path or URL, whose envelopes must all hold if it has several (`others` of the result; a
        load of such a path is refused); or a file object, as for `signed_load`.
    keyring : Keyring, str or os.PathLike, optional
        As in `signed_load`.
    context : str, optional
        What the file must have been sealed for. Default: any; the result shows it.
    max_bytes : int, optional
        As in `signed_load`.
    storage_options : mapping, optional
        As in `signed_load`.

    Returns
    -------
    Inspection
        Its status is WHOLE.

    Raises
    ------
    SealError
        If the file is refused; its subclasses in `pickleseal.errors` say why.
    KeyringError
        If there is no key.
    OSError
        If the file cannot be read.

    See Also
    --------
    inspect : Report a seal that does not hold instead of raising.

    Notes
    -----
    The checks are in the order of the format's reference, "Reading", up to step 7.

    Examples
    --------
    >>> import io
    >>> from pickleseal import Key, Keyring, signed_dumps, verify
    >>> ring = Keyring(Key.generate())
    >>> verify(io.BytesIO(signed_dumps([1], keyring=ring)), keyring=ring).status.value
    'whole'
    """

    def read(_: int) -> Inspection:
        with open_envelopes(file, storage_options) as sources:
            return verify_opened(
                sources,
                keyring=keyring,
                expected=lambda sealed: sealed if context is None else normalize_context(context),
                max_bytes=max_bytes,
            )

    return steady(read)


def verify_opened(
    sources: Iterator[Source],
    *,
    keyring: Ring,
    expected: Callable[[str | None], str | None],
    max_bytes: int | None = None,
) -> Inspection:
    """Do what `verify` does, with the envelopes of an open file.

    `expected` gives the context that an envelope must have, and gets the one that it has.
    """
    ring = functools.cache(lambda key_id: find_keyring(keyring, to_open=key_id))

    def check(head: seal.AuthenticHead) -> None:
        sealed = head.metadata
        policy.check_head(sealed, now=time.time(), context=expected(sealed.context))

    def look(source: Source) -> _Answer:
        payload = reader.read(source, ring, check=check, max_bytes=max_bytes)
        return of_whole(payload.head, source.name, payload.digest), None

    return _all_of(sources, look)[0]


_Answer = tuple[Inspection, SealError | KeyringError | None]


def _all_of(sources: Iterator[Source], look: Callable[[Source], _Answer]) -> _Answer:
    """Return one answer for all envelopes of a path, or for the next one of a file object."""
    answers: list[_Answer] = []
    refused = 0
    for source in sources:
        try:
            with reader.naming(source.name):
                answers.append(look(source))
        except SealError as error:
            if answers:
                error.args = (f"object {len(answers) + 1}: {error.args[0]}",)
            raise
        refused += answers[-1][1] is not None
        if refused == MOST_REFUSED:
            break
    if len(answers) == 1:
        return answers[0]
    first, *others = [found for found, _ in answers]
    number, (worst, why) = min(
        enumerate(answers, 1), key=lambda answer: _ORDER.index(answer[1][0].status)
    )
    problem = worst.problem and f"object {number} of {len(answers)}: {worst.problem}"
    if refused == MOST_REFUSED:  # and so there is a problem
        problem = f"{problem}; {REST_NOT_READ}"
    joined = first._replace(status=worst.status, problem=problem, others=tuple(others))
    return joined, why


_ORDER = tuple(Status)  # the least authentic comes first


def claims(head: reader.ClaimedHead, name: str | None, problem: str) -> Inspection:
    """Return what a head claims that is not authentic, and why it is not."""
    return _facts(Status.UNVERIFIED, problem, name, head.fixed, *head.unverified())


def of_head(head: seal.AuthenticHead, name: str | None, problem: str | None) -> Inspection:
    """Return the facts of an authentic head, and why its body is not authentic."""
    return _facts(Status.HEADER, problem, name, head.fixed, head.raw, head.metadata.copy())


def _facts(
    status: Status,
    problem: str | None,
    name: str | None,
    fixed: layout.Fixed,
    segments: tuple[int, ...],
    metadata: Metadata | None,
    digest: str | None = None,
) -> Inspection:
    return Inspection(
        status=status,
        problem=problem,
        file=name,
        key_id=fixed.key_id.hex(),
        suite=fixed.suite.value,
        size=fixed.total_size,
        codec=_CODECS[fixed.codec],
        segments=segments,
        metadata=metadata,
        digest=digest,
    )


def of_whole(head: seal.AuthenticHead, name: str | None, digest: str) -> Inspection:
    """Return the facts of an envelope whose envelope tag holds."""
    return _facts(Status.WHOLE, None, name, head.fixed, head.raw, head.metadata.copy(), digest)


_CODECS = {layout.STORED: "stored", layout.ZSTD: "zstd"}
_STATUS_TEXT = {
    Status.UNVERIFIED: "UNVERIFIED: all of this is only what the file claims",
    Status.HEADER: "header verified: the facts below were sealed",
    Status.WHOLE: "whole: every byte is as it was sealed; it was not unpickled",
}


def _plain(metadata: Metadata) -> dict[str, Any]:
    fields = {k: v for k, v in metadata._asdict().items() if v is not None}
    if metadata.external is not None:
        fields["external"] = metadata.external._asdict()
    if metadata.imports is not None:
        fields["imports"] = [list(pair) for pair in metadata.imports]
    return fields


def _metadata_rows(metadata: Metadata) -> list[tuple[str, str]]:
    rows = [
        ("class", metadata.class_name),
        ("context", metadata.context),
        ("created", None if metadata.created is None else policy.time_text(metadata.created)),
        ("expires", _expiry_text(metadata.expires)),
        ("serial", None if metadata.serial is None else str(metadata.serial)),
        ("content", _content_text(metadata)),
        ("versions", _pairs_text(metadata.versions)),
        ("imports", _imports_text(metadata)),
        ("external", _external_text(metadata.external)),
        ("info", _pairs_text(metadata.info)),
    ]
    return [(name, shown(text)) for name, text in rows if text]


def _content_text(metadata: Metadata) -> str:
    text = metadata.content
    if metadata.raw_size is not None:
        text += f", {metadata.raw_size:,} bytes unpacked"
    return text + (", adopted" if metadata.source == "adopted" else "")


def _expiry_text(seconds: int | None) -> str | None:
    if seconds is None:
        return None
    over = ", which has passed: a load refuses it" if time.time() >= seconds else ""
    return policy.time_text(seconds) + over


def _pairs_text(pairs: Mapping[str, Any] | None) -> str | None:
    return ", ".join(f"{name} {value}" for name, value in pairs.items()) if pairs else None


def _imports_text(metadata: Metadata) -> str | None:
    if metadata.imports is not None:
        names = ", ".join(f"{module}.{name}" for module, name in metadata.imports)
        return f"{names} (and what these import or unpickle themselves)" if names else "none"
    if metadata.imports_omitted is not None:
        return f"{metadata.imports_omitted}, too many to list"
    return "not recorded"


def _external_text(external: External | None) -> str | None:
    if external is None:
        return None
    return f"{counted(external.buffers, 'buffer')}, {external.size:,} bytes, kept elsewhere"


def _size_text(size: int, codec: str, segments: tuple[int, ...], what: str) -> str:
    if not segments:
        return f"{size:,} bytes"
    packed = "" if codec == "stored" else f", by {codec} from {sum(segments):,}"
    return f"{size:,} bytes{packed}: {what} {segments[0]:,}" + (
        f", {counted(len(segments) - 1, 'buffer')} {sum(segments[1:]):,}" if segments[1:] else ""
    )
