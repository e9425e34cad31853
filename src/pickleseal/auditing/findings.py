"""The finding of an audit for one path: a verdict, its level, and what to do."""

import shlex
from enum import IntEnum, StrEnum
from typing import Any, NamedTuple

from pickleseal.errors import holds_key_line, masked
from pickleseal.persistence.inspection import MOST_LISTED, Inspection
from pickleseal.scanner.grade import Contents, Grade, GradedName


class Level(IntEnum):
    """How severe a finding is; a larger number is more severe."""

    NONE = 0
    """Nothing to do."""
    NOTE = 1
    """Worth knowing."""
    WARNING = 2
    """Unsealed, or needs a decision."""
    ERROR = 3
    """Every load refuses it, or it imports more than data classes."""

    @property
    def label(self) -> str:
        """The name in lower case, as SARIF writes it."""
        return self.name.lower()


class Verdict(StrEnum):
    """What an audit found at a path. Each file has exactly one."""

    SEALED = "sealed"
    """Intact, sealed by the keyring's primary key."""
    SEALED_ACTIVE = "sealed, other key"
    """Intact, sealed by another active key."""
    SEALED_RETIRED = "sealed, retired key"
    """Intact, sealed by a retired key."""
    REVOKED = "revoked key"
    UNKNOWN_KEY = "unknown key"
    BAD_HEAD = "bad seal, head"
    """The head was changed after sealing, or made without the key."""
    BAD_BODY = "bad seal, body"
    """The head is genuine, the body was changed."""
    MALFORMED = "malformed"
    """It begins like an envelope but breaks the format or is truncated."""
    WRONG_CONTEXT = "wrong context"
    EXPIRED = "expired"
    ROLLED_BACK = "rolled back"
    """Below a pin: a newer file of its context was loaded before."""
    UNSEALED = "unsealed"
    """An unsealed pickle, joblib file or object array, in any container or compression."""
    BACKUP = "backup"
    """The original of an adopted file, with the very bytes that were sealed."""
    LEFTOVER = "leftover"
    """A temporary file of an interrupted dump."""
    UNREADABLE = "unreadable"
    """It could not be read: no permission, not a regular file, gone meanwhile."""
    SKIPPED = "skipped"
    """Not examined on purpose: a link, or excluded."""
    MISSING = "missing"
    """Listed in the baseline, but not there."""
    NOT_READ = "not read"
    """Not read in this audit: the store lists it as when an earlier one found it whole."""
    NO_PICKLE = "no pickle found"
    """Read, and no pickle was found in any form that is searched for."""


class Change(StrEnum):
    """How a file differs from the baseline."""

    NEW = "new"
    CHANGED = "changed"
    OLDER = "replaced by an older one"
    MOVED = "moved"
    MISSING = "missing"


class Mark(NamedTuple):
    """By what a later audit tells that a sealed object of a store has not changed.

    Attributes
    ----------
    etag : str
        The store's tag of the object, which is a digest of the bytes that were read.
    read : int
        When they were, in Unix seconds.
    rules : str
        What they were judged by: a digest of the keyring's entries and the audit's options.
    """

    etag: str
    read: int
    rules: str


class Finding(NamedTuple):
    """The result of an audit for one path.

    Attributes
    ----------
    path : str
        The path.
    verdict : Verdict
        What is there.
    level : Level
        How severe it is.
    reason : str
        What is wrong: a sentence, or empty.
    advice : str
        What to do about it: a sentence, or empty.
    size : int or None
        Size in bytes.
    envelopes : tuple of Inspection
        Each sealed object in the file: what it says about itself, and how much of it is verified.
    contents : Contents or None
        What an unsealed file contains; with ``imports=True`` also for a sealed one.
    digest : str or None
        Digest of the content: ``ps<suite>:…`` for a sealed file, ``sha256:…`` for an unsealed
        artifact if digests were asked for.
    change : Change or None
        Difference from the baseline, if there is one.
    moved_from : str or None
        Path under which the baseline lists a file that moved.
    mark : Mark or None
        Of a sealed object in a store, by what a later audit tells that it has not changed.
    """

    path: str
    verdict: Verdict
    level: Level
    reason: str = ""
    advice: str = ""
    size: int | None = None
    envelopes: tuple[Inspection, ...] = ()
    contents: Contents | None = None
    digest: str | None = None
    change: Change | None = None
    moved_from: str | None = None
    mark: Mark | None = None

    @property
    def kind(self) -> str:
        """The verdict, with the grade of an unsealed file and its change."""
        parts: list[str] = [self.verdict]
        if self.verdict is Verdict.UNSEALED and self.contents is not None:
            parts.append(self.contents.grade.label)
        if self.change is not None and self.verdict is not Verdict.MISSING:
            parts.append(self.change)
        return ", ".join(parts)

    @property
    def general_advice(self) -> str:
        """The advice with FILE for the path, so that it fits all files of a kind."""
        path = f" {shlex.quote(self.path)}"
        if not self.advice.endswith(path):
            return self.advice
        return f"{self.advice.removesuffix(path).removesuffix(' --')} FILE"

    @property
    def is_data(self) -> bool:
        """Whether it is merely unsealed data, new or as in the baseline."""
        grade = None if self.contents is None else self.contents.grade
        unsealed = self.verdict is Verdict.UNSEALED and grade is Grade.DATA
        return unsealed and self.change in (None, Change.NEW)

    @property
    def envelope(self) -> Inspection | None:
        """The first envelope in the file, or None."""
        return self.envelopes[0] if self.envelopes else None

    def _repr_html_(self) -> str:
        """Return an HTML table for notebooks, with every text escaped."""
        from pickleseal import notebook  # noqa: PLC0415 - for notebooks alone

        rows = [
            ("path", self.path),
            ("level", self.level.label),
            ("reason", self.reason),
            ("what to do", self.advice),
        ]
        if self.contents is not None:
            rows.append(("holds", self.contents.kind))
            rows.append(("names", ", ".join(f"{n.module}.{n.name}" for n in self.contents.names)))
        if self.envelope is not None:
            rows += [row for row in self.envelope.rows() if row[0] not in ("file", "problem")]
        return notebook.facts(
            self.kind, (row for row in rows if row[1]), edge=notebook.EDGES[self.level]
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the finding as plain dicts and lists, ready for JSON.

        Of more than 1,000 envelopes only the first are listed; `envelopes_left_out` counts the
        rest.
        """
        fields: dict[str, Any] = {
            "path": self.path,
            "verdict": self.verdict.value,
            "level": self.level.label,
            "reason": self.reason,
            "advice": self.advice,
            "size": self.size,
            "digest": self.digest,
            "change": self.change,
            "moved_from": self.moved_from,
            "envelopes": [envelope.to_dict() for envelope in self.envelopes[:MOST_LISTED]],
            "envelopes_left_out": max(len(self.envelopes) - MOST_LISTED, 0) or None,
            "contents": None if self.contents is None else _plain(self.contents),
            "mark": None if self.mark is None else self.mark._asdict(),
        }
        return {name: value for name, value in fields.items() if value not in (None, "", [])}


def _plain(contents: Contents) -> dict[str, Any]:
    return {
        "kind": contents.kind,
        "grade": contents.grade.label,
        "pickles": contents.pickles,
        "names": [[*_parts_of(n), n.grade.label] for n in contents.names],
        "reasons": list(contents.reasons),
        **({"known": known} if (known := [str(n) for n in contents.names if n.known]) else {}),
    }


def _parts_of(name: GradedName) -> tuple[str, str]:
    """Return the module and the name in it; a key line that is split between them is hidden."""
    whole = f"{name.module}.{name.name}"
    return (masked(whole), "") if holds_key_line(whole) else (name.module, name.name)
