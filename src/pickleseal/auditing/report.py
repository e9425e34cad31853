"""The report of an audit: its findings, what was audited, when, and with which keyring."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from pickleseal.auditing.findings import Finding, Level, Verdict
from pickleseal.errors import counted
from pickleseal.files.walk import LeftOut
from pickleseal.persistence.policy import time_text

if TYPE_CHECKING:
    import pandas as pd


MAX_LISTED = 12
"""How many files of a group the terminal and the page list before they count the rest."""
_LEAST: Mapping[str, float] = {
    "error": Level.ERROR,
    "unknown": Level.WARNING,
    "warning": Level.WARNING,
    "note": Level.NOTE,
    "never": math.inf,
}
FAIL_ON = tuple(_LEAST)
"""The levels that an audit may fail on, most severe first."""


def fails(finding: Finding, fail_on: str) -> bool:
    """Return whether a finding is as grave as `fail_on`, which is one of FAIL_ON.

    "unknown" is "warning" without the unsealed files that are data only.
    """
    return finding.level >= _LEAST[fail_on] and not (fail_on == "unknown" and finding.is_data)


class Ring(NamedTuple):
    """The keyring that seals were checked against: its name, its primary key's id, its epoch."""

    name: str
    primary: str | None
    epoch: int


@dataclass
class Workers:
    """How much of a report rests on what workers read, without the keyring.

    Attributes
    ----------
    backend : str
        The backend of joblib.
    read : int
        Files that workers hashed or graded.
    again : int
        How many of these were read again where the keyring is.
    differing : int
        How many of these had not changed, and were read differently by a worker.
    """

    backend: str
    read: int = 0
    again: int = 0
    differing: int = 0

    @property
    def sentence(self) -> str:
        """How many files workers read, as a sentence without a full stop."""
        text = f"workers without a key ({self.backend}) read {self.read:,} of the files"
        if self.again:
            text += f"; {self.again:,} of these were read again here, {self.differing:,} differed"
        return text

    def to_dict(self) -> dict[str, Any]:
        """Return the counts as a plain dict, ready for JSON."""
        return asdict(self)


class Counts:
    """The numbers of a report, which grow as findings come."""

    def __init__(self, findings: Iterable[Finding] = ()) -> None:
        self.verdicts: Counter[Verdict] = Counter()
        self.levels: Counter[Level] = Counter()
        self.gravest: dict[Verdict, Level] = {}
        self.excluded: int = 0
        self.sealed: int = 0
        self.partly: int = 0
        """How many files without a pickle were not searched to their end."""
        self.oldest: int | None = None
        """When the first of the objects that were not read was read, in Unix seconds."""
        for finding in findings:
            self.add(finding)

    def add(self, finding: Finding) -> None:
        """Count one more finding."""
        verdict, level = finding.verdict, finding.level
        self.verdicts[verdict] += 1
        self.levels[level] += 1
        self.gravest[verdict] = max(level, self.gravest.get(verdict, Level.NONE))
        self.excluded += verdict is Verdict.SKIPPED and not level
        self.sealed += bool(finding.envelopes)
        self.partly += verdict is Verdict.NO_PICKLE and not level and bool(finding.reason)
        if verdict is Verdict.NOT_READ and finding.mark is not None:
            read = finding.mark.read
            self.oldest = read if self.oldest is None else min(read, self.oldest)


class Report(NamedTuple):
    """The result of an audit. It shows itself as a table in a notebook.

    Attributes
    ----------
    findings : tuple of Finding
        All findings, in the order of the walk.
    roots : tuple of str
        Paths that were audited.
    started : int
        Start, in Unix seconds.
    seconds : float
        Duration, in seconds.
    version : str
        Version of pickleseal.
    ring : Ring or None
        Keyring that seals were checked against, with `name`, `primary` and `epoch`. None if there
        was none.
    baseline : str or None
        Path of the inventory it was compared with.
    baseline_created : int or None
        When that inventory was made, in Unix seconds.
    settings : str or None
        Path of the settings file that applied.
    left_out : LeftOut
        Folders of other programs that were passed over, such as virtual environments. `files` is
        the number of files in them, `folders` maps each folder's path to its number.
    known : tuple of str
        Modules whose names count as known.
    workers : Workers or None
        How much rests on what workers read without the keyring; None if nothing does.
    since : str or None
        Path of the report of an earlier audit, by which unchanged objects were not read.
    counted : Counts or None
        The numbers of all findings, where `findings` are not all of them.
    """

    findings: tuple[Finding, ...]
    roots: tuple[str, ...]
    started: int
    seconds: float
    version: str
    ring: Ring | None = None
    baseline: str | None = None
    baseline_created: int | None = None
    settings: str | None = None
    left_out: LeftOut = LeftOut()
    known: tuple[str, ...] = ()
    workers: Workers | None = None
    since: str | None = None
    counted: Counts | None = None

    @property
    def counts(self) -> Counts:
        """The numbers of all findings."""
        return self.counted or Counts(self.findings)

    @property
    def verdicts(self) -> Mapping[Verdict, int]:
        """Number of findings for each verdict, most frequent first."""
        return dict(self.counts.verdicts.most_common())

    @property
    def levels(self) -> Mapping[Level, int]:
        """Number of findings for each of the four levels, most severe first."""
        counts = self.counts.levels
        return {level: counts[level] for level in sorted(Level, reverse=True)}

    @property
    def level(self) -> Level:
        """The most severe level of all findings."""
        return max(self.counts.levels, default=Level.NONE)

    @property
    def excluded(self) -> int:
        """Number of findings for files that were excluded and not examined."""
        return self.counts.excluded

    @property
    def not_read(self) -> int:
        """Number of findings for objects that were not read, as the store lists them as before."""
        return self.counts.verdicts[Verdict.NOT_READ]

    @property
    def files(self) -> int:
        """Number of files that were examined."""
        return self.counts.levels.total() - self.excluded - self.not_read

    @property
    def apart(self) -> str:
        """How many files are not among those that were examined, in parentheses; or ""."""
        counts = {"left out": self.excluded, "not read": self.not_read}
        told = [f"{count:,} {what}" for what, count in counts.items() if count]
        return f" ({', '.join(told)})" if told else ""

    @property
    def need_attention(self) -> int:
        """Number of errors and warnings."""
        return self.levels[Level.ERROR] + self.levels[Level.WARNING]

    @property
    def headline(self) -> str:
        """How many of the examined files need attention, as a sentence without a full stop."""
        files = self.files
        of = counted(files, "file") + self.apart
        if not files and not self.not_read:
            return f"No files to audit{of.partition('files')[2]}"
        count = self.need_attention
        need = "need" if count > 1 else "needs"
        return f"{f'{count:,}' if count else 'None'} of {of} {need} attention"

    @property
    def about_not_read(self) -> str:
        """What is known of the objects that were not read, without a full stop; "" if all were."""
        if self.counts.oldest is None:
            return ""
        return (
            f"{self.not_read:,} not read: the store lists them as when they were sealed and whole,"
            f" the first at {time_text(self.counts.oldest)}"
        )

    def failing(self, fail_on: str) -> tuple[Finding, ...]:
        """Return the findings that are as grave as `fail_on`, which is one of FAIL_ON.

        "unknown" is "warning" without the unsealed files that are data only.
        """
        return tuple(finding for finding in self.findings if fails(finding, fail_on))

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain dicts and lists, ready for JSON."""
        return {
            **self.heading(),
            "findings": [finding.to_dict() for finding in self.findings],
        }

    def heading(self) -> dict[str, Any]:
        """Return everything but the findings, with their counts, as plain dicts and lists."""
        return {
            "pickleseal": self.version,
            "roots": list(self.roots),
            "started": self.started,
            "seconds": round(self.seconds, 3),
            "ring": None if self.ring is None else self.ring._asdict(),
            "baseline": self.baseline,
            "baseline_created": self.baseline_created,
            "settings": self.settings,
            "left_out": self.left_out.to_dict(),
            "known": list(self.known),
            "workers": None if self.workers is None else self.workers.to_dict(),
            "since": self.since,
            "not_read": self.not_read,
            "oldest": self.counts.oldest,
            "files": self.files,
            "need_attention": self.need_attention,
            "levels": {level.label: count for level, count in self.levels.items()},
            "verdicts": {verdict.value: count for verdict, count in self.verdicts.items()},
        }

    def __repr__(self) -> str:
        graver = ((count, level) for level, count in self.levels.items() if level)
        levels = ", ".join(counted(count, level.label) for count, level in graver)
        fine = f"{self.levels[Level.NONE]} with nothing to do"
        left_out = f", {self.left_out.files:,} left out" if self.left_out.files else ""
        return f"<Report of {', '.join(self.roots)}: {levels}, {fine}{left_out}>"

    def _repr_html_(self) -> str:
        """Return HTML for a notebook: all findings above level NONE, most severe first."""
        from pickleseal.auditing.notebook import notebook  # noqa: PLC0415 - for notebooks alone

        return notebook(self.headline, self.findings, self.roots, self.started, self.left_out.files)

    def to_pandas(self) -> "pd.DataFrame":
        """Return a pandas DataFrame with a row for each finding; needs pandas."""
        import pandas as pd  # noqa: PLC0415 - for those who have it

        frame = pd.DataFrame([_row(finding) for finding in self.findings], columns=_COLUMNS)
        labels = [level.label for level in Level]
        frame["level"] = pd.Categorical(frame["level"], categories=labels, ordered=True)
        return frame.astype(dict.fromkeys(("size", "created", "serial"), "Int64"))


_COLUMNS = [
    "path", "verdict", "level", "reason", "advice", "size", "key", "context", "class", "created",
    "serial", "digest", "kind", "grade", "names", "change", "moved_from",
]  # fmt: skip


def _row(finding: Finding) -> list[Any]:
    envelope = finding.envelope
    metadata = None if envelope is None else envelope.metadata
    contents = finding.contents
    return [
        finding.path,
        finding.verdict.value,
        finding.level.label,
        finding.reason,
        finding.advice,
        finding.size,
        None if envelope is None else envelope.key_id,
        None if metadata is None else metadata.context,
        None if metadata is None else metadata.class_name,
        None if metadata is None else metadata.created,
        None if metadata is None else metadata.serial,
        finding.digest,
        None if contents is None else contents.kind,
        None if contents is None else contents.grade.label,
        None if contents is None else ", ".join(f"{n.module}.{n.name}" for n in contents.names),
        None if finding.change is None else finding.change.value,
        finding.moved_from,
    ]
