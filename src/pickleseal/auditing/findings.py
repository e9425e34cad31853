"""What an audit says of one path: a verdict, how grave it is, and what to do next."""

from enum import IntEnum, StrEnum
from typing import Any, NamedTuple

from pickleseal.persistence.inspection import Inspection
from pickleseal.scanner.grade import Contents, Grade


class Level(IntEnum):
    """How grave a finding is; a larger number is graver."""

    NONE = 0
    """Nothing to do."""
    NOTE = 1
    """Worth knowing."""
    WARNING = 2
    """Nobody vouches for it."""
    ERROR = 3
    """It is refused by every load, or reaches beyond data."""

    @property
    def label(self) -> str:
        """Give its name as people and SARIF write it."""
        return self.name.lower()


class Verdict(StrEnum):
    """What lies at a path. Each file has exactly one."""

    SEALED = "sealed"
    """Whole, by the ring's primary key."""
    SEALED_ACTIVE = "sealed, other key"
    """Whole, by another active key."""
    SEALED_RETIRED = "sealed, retired key"
    """Whole, by a retired key."""
    REVOKED = "revoked key"
    UNKNOWN_KEY = "unknown key"
    BAD_HEAD = "bad seal, head"
    """The head was changed after sealing, or made without the key."""
    BAD_BODY = "bad seal, body"
    """The head is genuine, the body is not what was sealed."""
    MALFORMED = "malformed"
    """It begins as an envelope and does not follow the format, or is cut off."""
    WRONG_CONTEXT = "wrong context"
    EXPIRED = "expired"
    ROLLED_BACK = "rolled back"
    """A newer one of its context was loaded before: it lies below a pin."""
    UNSEALED = "unsealed"
    """A pickle, joblib or array file or a container of some, that nobody vouches for."""
    LEFTOVER = "leftover"
    """Left from a dump that was cut off."""
    UNREADABLE = "unreadable"
    """It could not be looked at: no permission, no regular file, gone meanwhile."""
    SKIPPED = "skipped"
    """A link, or excluded: not looked at, on purpose."""
    MISSING = "missing"
    """The baseline lists it, and it is not there."""
    NO_PICKLE = "no pickle found"
    """Read, and no pickle was found in any form that is looked for."""


class Change(StrEnum):
    """How a file differs from what a baseline says of its path."""

    NEW = "new"
    CHANGED = "changed"
    OLDER = "replaced by an older one"
    MOVED = "moved"
    MISSING = "missing"


class Finding(NamedTuple):
    """What an audit says of one path.

    `reason` says what is wrong and `advice` what to do next, each a sentence or empty. `envelopes`
    tells what each envelope of the file says of itself and how much of that is vouched for.
    `contents` is what an unsealed file holds (of a sealed one: where that was asked for). `digest`
    names the content: `ps<suite>:…` of an envelope, `sha256:…` of another artifact where a list was
    asked for. `size` is in bytes. `change` and `moved_from` are told where there is a baseline.
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

    @property
    def kind(self) -> str:
        """Its verdict, with the grade of what is unsealed and with what changed."""
        parts: list[str] = [self.verdict]
        if self.verdict is Verdict.UNSEALED and self.contents is not None:
            parts.append(self.contents.grade.label)
        if self.change is not None and self.verdict is not Verdict.MISSING:
            parts.append(self.change)
        return ", ".join(parts)

    @property
    def is_data(self) -> bool:
        """Whether all that is wrong with it is that nobody vouches for data."""
        grade = None if self.contents is None else self.contents.grade
        unsealed = self.verdict is Verdict.UNSEALED and grade is Grade.DATA
        return unsealed and self.change in (None, Change.NEW)

    @property
    def envelope(self) -> Inspection | None:
        """The first envelope of the file, if it has one."""
        return self.envelopes[0] if self.envelopes else None

    def to_dict(self) -> dict[str, Any]:
        """Give all that is known as plain dicts and lists, ready for JSON."""
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
            "envelopes": [envelope.to_dict() for envelope in self.envelopes],
            "contents": None if self.contents is None else _plain(self.contents),
        }
        return {name: value for name, value in fields.items() if value not in (None, "", [])}


def _plain(contents: Contents) -> dict[str, Any]:
    return {
        "kind": contents.kind,
        "grade": contents.grade.label,
        "pickles": contents.pickles,
        "names": [[n.module, n.name, n.grade.label] for n in contents.names],
        "reasons": list(contents.reasons),
        **({"known": known} if (known := [str(n) for n in contents.names if n.known]) else {}),
    }
