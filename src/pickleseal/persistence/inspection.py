"""inspect and verify: what an envelope says of itself, and how much of that is vouched for."""

import functools
import time
from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from typing import Any, NamedTuple

from pickleseal.envelope import layout, reader, seal
from pickleseal.envelope.metadata import External, Metadata
from pickleseal.envelope.source import Source, open_envelopes
from pickleseal.errors import (
    KeyringError,
    SealError,
    shown,
)
from pickleseal.files.handles import Path, Readable
from pickleseal.keys.context import normalize_context
from pickleseal.keys.store.lookup import Ring, find_keyring
from pickleseal.persistence import policy

File = Path | Readable


class Status(StrEnum):
    """How much of an envelope is vouched for."""

    UNVERIFIED = "unverified"
    """Nothing: all that is shown is what the file claims."""
    HEADER = "header"
    """The header tag holds: what the file says of itself was sealed; its body is open."""
    WHOLE = "whole"
    """The envelope tag holds: every byte is as it was sealed."""


class Inspection(NamedTuple):
    """What an envelope says of itself. Nothing of it was unpickled.

    `status` tells how much of the rest is vouched for, and `problem` why it is not more.
    `metadata` is None where not even a claim could be read; `digest` names the content of a
    whole envelope. `size` is that of the whole envelope, `segments` are those of the pickle and its
    buffers before they were compressed; `codec` is "stored" or "zstd". Sizes are in bytes, times
    in Unix seconds.

    Where a path has several envelopes, one behind the other, `others` are those after the first.
    `status` and `problem` are then those of the one that is the least vouched for, and all else is
    of the first.
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

    def to_dict(self) -> dict[str, Any]:
        """Give all of it as plain dicts and lists, ready for JSON, without what is not known."""
        metadata = {} if self.metadata is None else _plain(self.metadata)
        fields = {
            "status": self.status.value,
            "problem": self.problem,
            "file": self.file,
            "key_id": self.key_id,
            "suite": self.suite,
            "size": self.size,
            "codec": self.codec,
            "segments": list(self.segments),
            "digest": self.digest,
            "metadata": metadata,
            "others": [other.to_dict() for other in self.others] or None,
        }
        return {name: value for name, value in fields.items() if value is not None}

    def rows(self) -> list[tuple[str, str]]:
        """Give what a person wants to see, as names and printable texts, in reading order."""
        metadata = self.metadata
        rows = [("status", _STATUS_TEXT[self.status])]
        if self.problem:
            rows.append(("problem", shown(self.problem)))
        if self.file:
            rows.append(("file", shown(self.file)))
        if self.others:
            rows.append(("objects", f"{self.objects_text()}; all below is of the first"))
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
        """Say how many sealed objects the file has, where it has several."""
        return f"{len(self.others) + 1} objects, one behind the other: a load by path refuses it"

    def _repr_html_(self) -> str:
        """Show it in a notebook: a table in which every text is escaped."""
        from html import escape  # noqa: PLC0415 - for notebooks alone

        colour = _STATUS_COLOUR[self.status]
        cells = "".join(
            "<tr><th style='text-align:left;vertical-align:top;padding-right:1em'>"
            f"{escape(name)}</th><td style='text-align:left"
            f"{f';color:{colour};font-weight:bold' if name == 'status' else ''}'>"
            f"{escape(text)}</td></tr>"
            for name, text in self.rows()
        )
        return f"<table><caption>pickleseal envelope</caption><tbody>{cells}</tbody></table>"


def inspect(file: File, *, keyring: Ring = None, header_only: bool = False) -> Inspection:
    """Tell what an envelope says of itself and how much of that is vouched for; unpickle nothing.

    file: a path, of which all envelopes are looked at; or a binary file object, as for
        `signed_load`.
    keyring: a Keyring or the path of a keyring's directory. Default: as for `signed_load`.
        Without the key it still tells what the file claims, marked as unverified.
    header_only: read the head and not the body, for huge files. Default False.

    Returns an Inspection. Raises NotSealedError or MalformedError for what is no envelope, OSError
    where the file cannot be read; a seal that does not hold is told, not raised (`verify` raises).
    """
    return told(file, keyring=keyring, header_only=header_only)[0]


def told(
    file: File, *, keyring: Ring, header_only: bool
) -> tuple[Inspection, SealError | KeyringError | None]:
    """Do as `inspect` does, and give the error that its `problem` is the text of, too."""
    ring = functools.cache(lambda: find_keyring(keyring, to_open=True))

    def look(source: Source) -> _Told:
        claimed = reader.read_head(source)
        try:
            head = claimed.authenticate(ring())
        except (SealError, KeyringError) as error:
            return claims(claimed, source.name, str(error)), error
        if header_only:
            return of_head(head, source.name, None), None
        try:
            payload = reader.read_body(source, head)
        except SealError as error:
            return of_head(head, source.name, str(error)), error
        return of_whole(payload.head, source.name, payload.digest), None

    with open_envelopes(file) as sources:
        return _all_of(sources, look)


def verify(
    file: File,
    *,
    keyring: Ring = None,
    context: str | None = None,
    max_bytes: int | None = None,
) -> Inspection:
    """Return the facts of an envelope whose seal holds over every byte, or raise; unpickle nothing.

    file: a path, whose envelopes must all hold if it has several, though a load of the path would
        refuse it (the Inspection tells); or a binary file object, as for `signed_load`.
    keyring, max_bytes: as for `signed_load`.
    context: what the file must have been sealed for. Default: any; the Inspection tells.

    Returns an Inspection of status WHOLE. Raises a SealError for all that is refused, KeyringError
    where there is no key, OSError where the file cannot be read.
    """
    with open_envelopes(file) as sources:
        return verify_opened(sources, keyring=keyring, context=context, max_bytes=max_bytes)


def verify_opened(
    sources: Iterator[Source],
    *,
    keyring: Ring,
    context: str | None = None,
    max_bytes: int | None = None,
) -> Inspection:
    """Do as `verify` does, with the envelopes of a file that is open."""
    ring = functools.cache(lambda: find_keyring(keyring, to_open=True))

    def check(head: seal.AuthenticHead) -> None:
        policy.check_head(
            head.metadata,
            now=time.time(),
            context=head.metadata.context if context is None else normalize_context(context),
        )

    def look(source: Source) -> _Told:
        payload = reader.read(source, ring, check=check, max_bytes=max_bytes)
        return of_whole(payload.head, source.name, payload.digest), None

    return _all_of(sources, look)[0]


_Told = tuple[Inspection, SealError | KeyringError | None]


def _all_of(sources: Iterator[Source], look: Callable[[Source], _Told]) -> _Told:
    """Look at each envelope of a path, or at the next one of a file object; return one answer."""
    answers: list[_Told] = []
    for source in sources:
        try:
            with reader.naming(source.name):
                answers.append(look(source))
        except SealError as error:
            if answers:
                error.args = (f"object {len(answers) + 1}: {error.args[0]}",)
            raise
    if len(answers) == 1:
        return answers[0]
    first, *others = [found for found, _ in answers]
    number, (worst, why) = min(
        enumerate(answers, 1), key=lambda answer: _ORDER.index(answer[1][0].status)
    )
    problem = worst.problem and f"object {number} of {len(answers)}: {worst.problem}"
    joined = first._replace(status=worst.status, problem=problem, others=tuple(others))
    return joined, why


_ORDER = tuple(Status)  # what is vouched for the least comes first


def claims(head: reader.ClaimedHead, name: str | None, problem: str) -> Inspection:
    """Return what a head claims that is not authentic, and why it is not."""
    segments, metadata = head.unverified()
    fixed = head.fixed
    return Inspection(
        status=Status.UNVERIFIED,
        problem=problem,
        file=name,
        key_id=fixed.key_id.hex(),
        suite=fixed.suite.value,
        size=fixed.total_size,
        codec=_CODECS[fixed.codec],
        segments=segments,
        metadata=metadata,
        digest=None,
    )


def of_head(head: seal.AuthenticHead, name: str | None, problem: str | None) -> Inspection:
    """Tell what a genuine head says of its envelope, and why its body is not vouched for."""
    return _inspection(Status.HEADER, head, name, problem, None)


def of_whole(head: seal.AuthenticHead, name: str | None, digest: str) -> Inspection:
    """Tell what an envelope says of itself whose envelope tag holds; `digest` names its content."""
    return _inspection(Status.WHOLE, head, name, None, digest)


def _inspection(
    status: Status,
    head: seal.AuthenticHead,
    name: str | None,
    problem: str | None,
    digest: str | None,
) -> Inspection:
    return Inspection(
        status=status,
        problem=problem,
        file=name,
        key_id=head.key.id,
        suite=int(head.key.suite),
        size=head.fixed.total_size,
        codec=_CODECS[head.fixed.codec],
        segments=head.raw,
        metadata=head.metadata.copy(),
        digest=digest,
    )


_CODECS = {layout.STORED: "stored", layout.ZSTD: "zstd"}
_STATUS_TEXT = {
    Status.UNVERIFIED: "UNVERIFIED: all below is only what the file claims",
    Status.HEADER: "header verified: the facts below were sealed; the body was not checked",
    Status.WHOLE: "whole: every byte is as it was sealed",
}
_STATUS_COLOUR = {
    Status.UNVERIFIED: "#c62828",
    Status.HEADER: "#a15c00",
    Status.WHOLE: "#2e7d32",
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
    over = ", which is over: a load refuses it" if time.time() >= seconds else ""
    return policy.time_text(seconds) + over


def _count_text(count: int) -> str:
    return f"{count:,} buffer{'' if count == 1 else 's'}"


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
    return external and f"{_count_text(external.buffers)}, {external.size:,} bytes, kept elsewhere"


def _size_text(size: int, codec: str, segments: tuple[int, ...], what: str) -> str:
    if not segments:
        return f"{size:,} bytes"
    packed = "" if codec == "stored" else f", by {codec} from {sum(segments):,}"
    return f"{size:,} bytes{packed}: {what} {segments[0]:,}" + (
        f", {_count_text(len(segments) - 1)} {sum(segments[1:]):,}" if segments[1:] else ""
    )
