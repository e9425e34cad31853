"""The report as one self-contained HTML page.

Every text of a finding is untrusted. All output goes through `visible` and Jinja's escaping, which
no template can forget.
"""

import base64
import hashlib
import heapq
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from pickleseal.auditing.findings import Finding, Level, Verdict
from pickleseal.auditing.notebook import title
from pickleseal.auditing.report import MAX_LISTED, Report
from pickleseal.notebook import cut, visible
from pickleseal.persistence.inspection import Inspection, Status
from pickleseal.persistence.policy import time_text
from pickleseal.scanner.grade import Contents, Grade

MAX_ROWS = 10_000
"""The most findings on a page, the gravest of all."""


class HtmlDocument:
    """One page that loads nothing and runs no text of a finding, with the gravest of them."""

    def __init__(self) -> None:
        self._added = 0
        self._kept: list[tuple[Level, int, Finding]] = []

    def add(self, finding: Finding) -> None:
        """Add the next finding; of equally grave ones the first are kept."""
        self._added += 1
        entry = (finding.level, -self._added, finding)
        if len(self._kept) < MAX_ROWS:
            heapq.heappush(self._kept, entry)
        else:
            heapq.heappushpop(self._kept, entry)

    def pieces(self, report: Report) -> Iterator[bytes]:
        """Yield the page, whose findings are those that were kept, in the order they came in."""
        ordered = sorted(self._kept, key=lambda entry: -entry[1])
        yield _html(report, tuple(finding for _, _, finding in ordered)).encode()

    def close(self) -> None:
        """Do nothing: there is no file."""


def _html(report: Report, findings: tuple[Finding, ...]) -> str:
    from jinja2 import (  # noqa: PLC0415 - for this form alone
        Environment,
        PackageLoader,
        StrictUndefined,
    )

    environment = Environment(
        loader=PackageLoader("pickleseal.auditing.formats", "."),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "source_hash": _source_hash,
        "moment": time_text,
        "breaking": _breaking,
        "pieces": _pieces,
    }
    page = _Page(findings)
    return environment.get_template("report.html.jinja").render(
        report=report,
        page=page,
        title=title(report.roots),
        bar=_bar(report.levels),
        groups=_groups(findings),
        left_out=sum(report.levels.values()) - len(findings),
        verdicts=list(Verdict),
        listed=MAX_LISTED,
    )


# --- texts ---------------------------------------------------------------------------------------


def _finalize(value: object) -> object:
    # Markup comes from the template itself or has been escaped already.
    if isinstance(value, str) and not hasattr(value, "__html__"):
        return visible(value)
    return value


def _breaking(path: str) -> str:
    """Return a path as markup whose lines may break after each slash."""
    from markupsafe import Markup, escape  # noqa: PLC0415 - comes with Jinja

    return escape(visible(path)).replace("/", Markup("/<wbr>"))


def _source_hash(source: str) -> str:
    digest = hashlib.sha256(source.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"


class _Piece(NamedTuple):
    """A piece of advice: words or a command.

    `plain`: the command can be pasted in a shell as it is, so it has no placeholder such as FILE.
    """

    text: str
    command: bool
    plain: bool


def _pieces(text: str) -> list[_Piece]:
    """Return advice in pieces. A command is in backticks, or else the end of the text."""
    start = text.find("pickleseal ")
    quoted = start > 0 and text[start - 1] == "`"
    parts = text.split("`") if quoted else [text[:start], text[start:]] if start >= 0 else [text]
    return [_piece(part, command=number % 2 == 1) for number, part in enumerate(parts) if part]


def _piece(text: str, *, command: bool) -> _Piece:
    try:
        words = shlex.split(text)
        filled_in = not any(word.isalpha() and word.isupper() for word in words)
        plain = command and filled_in and shlex.join(words) == text
    except ValueError:  # a quote that is not closed
        plain = False
    return _Piece(text, command, plain)


# --- the bar and the groups of findings --------------------------------------------------------


class _Part(NamedTuple):
    """A part of the bar, in thousandths of its width."""

    level: Level
    start: float
    width: float


def _bar(levels: Mapping[Level, int]) -> list[_Part]:
    """Return the parts of the bar, each wide enough to be visible."""
    widths = {level: max(count, sum(levels.values()) / 125) for level, count in levels.items()}
    present = [level for level, count in levels.items() if count]
    whole = sum(widths[level] for level in present)
    parts: list[_Part] = []
    start = 0.0
    for level in present:
        width = 1000 * widths[level] / whole
        parts.append(_Part(level, round(start, 1), round(width, 1)))
        start += width
    return parts


def _groups(findings: Iterable[Finding]) -> dict[Level, list[list[int]]]:
    """Return the rows of findings above level NONE, most severe first, with equal ones grouped."""
    rows: dict[tuple[Level, str, str, str], list[int]] = {}
    for row, finding in enumerate(findings):
        if finding.level:
            case = (finding.level, finding.kind, finding.reason, finding.general_advice)
            rows.setdefault(case, []).append(row)
    groups: dict[Level, list[list[int]]] = {}
    for case in sorted(rows, key=lambda case: -case[0]):
        groups.setdefault(case[0], []).append(rows[case])
    return groups


# --- the details of each file --------------------------------------------------------------------


class _Fact(NamedTuple):
    """A line of a file's details. `list` is the number of a shared list of names on the page.

    `code`: it is a name or a digest. `claim`: it is not verified.
    """

    name: str
    text: str
    list: int = 0
    code: bool = False
    claim: bool = False


class _NameList(NamedTuple):
    """Names that several files share."""

    number: int
    names: tuple[str, ...]
    text: str
    files: int


class _Page:
    """The details of all files, cut so that a page of thousands stays fast."""

    def __init__(self, findings: tuple[Finding, ...]) -> None:
        self.findings = findings
        uses = Counter(names for f in findings for names in _name_lists(f))
        self._text = max(200, min(4_000, 1_500_000 // (len(findings) or 1)))
        self._names = max(8, min(400, 40_000 // (len(uses) or 1)))
        shared = [names for names, count in uses.items() if count > 1 and len(names) > _SHORT]
        self.lists = {
            names: _NameList(number, names, self._joined(names), uses[names])
            for number, names in enumerate(shared, 1)
        }

    def facts(self, finding: Finding) -> Iterator[_Fact]:
        """Yield the lines of a file's details, in reading order."""
        known = {
            "change": finding.change,
            "moved from": finding.moved_from,
            "size": None if finding.size is None else f"{finding.size:,} bytes",
            "digest": None if finding.envelopes else finding.digest,
        }
        if finding.envelopes:
            del known["size"]
        for name, text in known.items():
            if text:
                yield _Fact(name, cut(text, self._text), code=name == "digest")
        if finding.contents is not None:
            yield from self._contents(finding.contents)
        for number, envelope in enumerate(finding.envelopes[:_ENVELOPES], 1):
            if len(finding.envelopes) > 1:
                yield _Fact("object", f"{number} of {len(finding.envelopes):,}")
            yield from self._envelope(envelope, finding.reason)

    def _contents(self, contents: Contents) -> Iterator[_Fact]:
        yield _Fact("holds", cut(contents.kind, self._text))
        pickles = "" if contents.pickles == 1 else f", {contents.pickles:,} pickles"
        yield _Fact("grade", contents.grade.label + pickles)
        if contents.reasons:
            yield _Fact(
                "because" if contents.grade else "remark",
                cut("; ".join(contents.reasons), self._text),
            )
        for grade, names in _by_grade(contents):
            yield self._named(_IMPORTS[grade], names, claim=False)

    def _envelope(self, envelope: Inspection, reason: str) -> Iterator[_Fact]:
        claim = envelope.status is Status.UNVERIFIED
        left_out = {"file", "imports", "problem" if envelope.problem == reason else ""}
        for name, text in envelope.rows():
            if name not in left_out:
                yield _Fact(
                    name,
                    cut(text, self._text),
                    code=name == "digest",
                    claim=claim and name != "status",
                )
        imports = _imports(envelope)
        if imports:
            yield self._named("imports", imports, claim=claim)
        elif envelope.metadata is not None and envelope.metadata.imports_omitted:
            count = envelope.metadata.imports_omitted
            yield _Fact("imports", f"{count:,} names, too many to list", claim=claim)

    def _named(self, name: str, names: tuple[str, ...], *, claim: bool) -> _Fact:
        if names in self.lists:
            return _Fact(name, f"{len(names):,} names", self.lists[names].number, claim=claim)
        return _Fact(name, self._joined(names), code=True, claim=claim)

    def _joined(self, names: tuple[str, ...]) -> str:
        spare = len(names) - self._names
        text = cut(", ".join(names[: self._names]), self._names * 100)
        return f"{text} and {spare:,} more" if spare > 0 else text


_SHORT = 4
_IMPORTS = {
    Grade.DATA: "imports for data",
    Grade.UNKNOWN: "imports unknown",
    Grade.CANNOT_TELL: "imports, cannot be told",
    Grade.BEYOND: "imports beyond",
}
_ENVELOPES = 20


def _name_lists(finding: Finding) -> Iterator[tuple[str, ...]]:
    if finding.contents is not None:
        yield from (names for _, names in _by_grade(finding.contents))
    yield from (_imports(envelope) for envelope in finding.envelopes[:_ENVELOPES])


def _by_grade(contents: Contents) -> Iterator[tuple[Grade, tuple[str, ...]]]:
    for grade in sorted(Grade, reverse=True):
        names = tuple(f"{n.module}.{n.name}" for n in contents.names if n.grade is grade)
        if names:
            yield grade, names


def _imports(envelope: Inspection) -> tuple[str, ...]:
    if envelope.metadata is None:
        return ()
    return tuple(f"{module}.{name}" for module, name in envelope.metadata.imports or ())
