"""The text of an audit for people: findings by severity, what to do next, and the counts."""

from collections.abc import Iterable, Iterator

from pickleseal.auditing.findings import Finding, Level, Verdict
from pickleseal.auditing.report import Counts, Report
from pickleseal.cli.output import Line
from pickleseal.errors import counted, shown
from pickleseal.scanner.grade import UNKNOWN_KIND, Grade

_MARKS = {
    Level.ERROR: ("✗", "bold red"),
    Level.WARNING: ("!", "bold yellow"),
    Level.NOTE: ("·", "cyan"),
}
_NAMES_SHOWN = 8


class _Group:
    """Findings of one kind with the same advice: how many, and those that are listed."""

    def __init__(self, first: Finding) -> None:
        self.first = first
        self.count = 0
        self.listed: list[Finding] = []
        self.alike = True
        """Whether they have one reason. Files with contents of their own each have a detail."""

    def add(self, finding: Finding, most: int | None) -> None:
        self.count += 1
        self.alike &= finding.contents is None and finding.reason == self.first.reason
        if most is None or self.count <= most:
            self.listed.append(finding)


class Groups:
    """Findings above level NONE, in groups of which the first are kept and the rest counted.

    `most` is how many files of a group are listed; None lists all.
    """

    def __init__(self, findings: Iterable[Finding] = (), *, most: int | None) -> None:
        self._most = most
        self._groups: dict[tuple[Level, str, str], _Group] = {}
        for finding in findings:
            self.add(finding)

    def add(self, finding: Finding) -> None:
        """Put a finding into its group."""
        if finding.level:
            key = (finding.level, finding.kind, finding.general_advice)
            self._groups.setdefault(key, _Group(finding)).add(finding, self._most)

    def of(self, level: Level) -> list[_Group]:
        """Return the groups of a level, most severe grade first."""
        groups = [group for (other, _, _), group in self._groups.items() if other is level]
        return sorted(groups, key=lambda group: -_weight(group.first))


def findings_text(groups: Groups, counts: Counts) -> Iterator[Line]:
    """Yield the lines of all findings above level NONE, most severe first, and the counts."""
    for level in (Level.ERROR, Level.WARNING, Level.NOTE):
        if not counts.levels[level]:
            continue
        style = _MARKS[level][1]
        yield [(f"{level.label.upper()} ", style), (f"{counts.levels[level]:,}", "bold")]
        for group in groups.of(level):
            yield from _lines(group)
        yield []
    yield from _verdicts(counts)


def summary(report: Report) -> Line:
    """Return the report's headline with its counts, in one line."""
    levels = report.levels
    took = (f" ({report.seconds:.2f} s)", "dim")
    notes = f"; {counted(levels[Level.NOTE], 'note')}" if levels[Level.NOTE] else ""
    if report.need_attention:
        parts = ", ".join(
            counted(levels[level], level.label)
            for level in (Level.ERROR, Level.WARNING)
            if levels[level]
        )
        style = "bold red" if levels[Level.ERROR] else "bold yellow"
        return [(report.headline, style), (f": {parts}{notes}", ""), took]
    total = counted(report.files, "file") + report.apart
    sealed = report.counts.sealed
    if not sealed and not report.not_read:
        return [("no pickle found", "bold yellow"), (f" in {total}{notes}", ""), took]
    return [
        (f"{sealed:,} sealed", "bold green"),
        (f" of {total}: nothing needs attention{notes}", ""),
        took,
    ]


def _weight(finding: Finding) -> int:
    return -1 if finding.contents is None else finding.contents.grade


def _lines(group: _Group) -> Iterator[Line]:
    first = group.first
    mark, style = _MARKS[first.level]
    yield []
    yield [(f"  {first.kind}", style), (f"  {counted(group.count, 'file')}", "dim")]
    told = group.count > 1 and group.alike
    if told and first.reason:
        yield [(f"    {shown(first.reason)}", "")]
    for finding in group.listed:
        line = [(f"  {mark} ", style), (shown(finding.path), "bold")]
        detail = _detail(finding, told=told)
        if not detail:
            yield line
        elif finding.level < Level.ERROR:
            yield [*line, (f"  {shown(detail)}", "")]
        else:
            yield line
            yield [(f"      {shown(detail)}", "")]
    if group.count > len(group.listed):
        yield [(f"    and {group.count - len(group.listed):,} more: --all", "dim")]
    advice = first.advice if group.count == 1 else first.general_advice
    if advice:
        yield [(f"    → {advice}", "dim")]


def _detail(finding: Finding, *, told: bool) -> str:
    """Return what distinguishes one file from the rest of its group."""
    contents = finding.contents
    if contents is None:
        return "" if told else finding.reason
    if finding.verdict is Verdict.UNSEALED and finding.change is not None:
        return finding.reason  # it has the kind and the names, and what changed
    parts = [] if contents.kind == UNKNOWN_KIND else [contents.kind]
    if finding.verdict is not Verdict.UNSEALED:
        parts = [*filter(None, [finding.reason]), contents.kind]
    listed = [n for n in contents.names if not n.known]
    gravest = max((n.grade for n in listed), default=Grade.DATA)
    worst = [n for n in listed if n.grade is gravest is not Grade.DATA]
    if worst:
        names = ", ".join(map(str, worst[:_NAMES_SHOWN]))
        more = f" and {len(worst) - _NAMES_SHOWN:,} more" if len(worst) > _NAMES_SHOWN else ""
        parts.append(f"names {names}{more}")
    # What is said of data only is no ground for its grade.
    return "; ".join([*parts, *(contents.reasons if contents.grade else ())])


def _verdicts(counts: Counts) -> Iterator[Line]:
    width = max((len(f"{count:,}") for count in counts.verdicts.values()), default=1)
    for verdict, count in counts.verdicts.most_common():
        level = counts.gravest[verdict]
        style = _MARKS[level][1] if level else ("green" if "sealed" in verdict else "dim")
        yield [(f"  {count:>{width},}  ", "bold"), (verdict.value, style)]
