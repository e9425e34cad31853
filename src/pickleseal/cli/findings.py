"""The text of an audit for people: findings by severity, what to do next, and the counts."""

import shlex
from collections.abc import Iterable, Iterator

from pickleseal.auditing.findings import Finding, Level, Verdict
from pickleseal.auditing.report import Report
from pickleseal.cli.output import Line, counted
from pickleseal.errors import shown
from pickleseal.scanner.grade import Grade

_MARKS = {
    Level.ERROR: ("✗", "bold red"),
    Level.WARNING: ("!", "bold yellow"),
    Level.NOTE: ("·", "cyan"),
}
_NAMES_SHOWN = 8


def findings_text(report: Report, *, most: int | None) -> Iterator[Line]:
    """Yield the lines of all findings above level NONE, most severe first, and the counts.

    `most` is how many files of a group are listed; None lists all. The rest is counted.
    """
    for level in (Level.ERROR, Level.WARNING, Level.NOTE):
        found = [finding for finding in report.findings if finding.level is level]
        if not found:
            continue
        style = _MARKS[level][1]
        yield [(f"{level.label.upper()} ", style), (f"{len(found):,}", "bold")]
        for group in _groups(found):
            yield from _group(group, most)
        yield []
    yield from _counts(report)


def summary(report: Report) -> Line:
    """Return the report's headline with its counts, in one line."""
    levels = report.levels
    took = (f" ({report.seconds:.2f} s)", "dim")
    if report.need_attention:
        parts = ", ".join(
            counted(levels[level], level.label)
            for level in (Level.ERROR, Level.WARNING, Level.NOTE)
            if levels[level]
        )
        style = "bold red" if levels[Level.ERROR] else "bold yellow"
        return [(report.headline, style), (f": {parts}", ""), took]
    total = _files(len(report.findings) - report.excluded)
    if report.excluded:
        total += f" ({report.excluded:,} left out)"
    sealed = sum(len(finding.envelopes) > 0 for finding in report.findings)
    if not sealed:
        return [("nothing found", "bold yellow"), (f" in {total}", ""), took]
    notes = f", {counted(levels[Level.NOTE], 'note')}" if levels[Level.NOTE] else ""
    return [
        (f"{sealed:,} sealed", "bold green"),
        (f" of {total}: nothing needs attention{notes}", ""),
        took,
    ]


def _groups(findings: Iterable[Finding]) -> list[list[Finding]]:
    """Return findings grouped by kind and advice, most severe grade first."""
    groups: dict[tuple[str, str], list[Finding]] = {}
    for finding in findings:
        groups.setdefault((finding.kind, _general(finding)), []).append(finding)
    return sorted(groups.values(), key=lambda group: -_weight(group[0]))


def _weight(finding: Finding) -> int:
    return -1 if finding.contents is None else finding.contents.grade


def _group(group: list[Finding], most: int | None) -> Iterator[Line]:
    first = group[0]
    mark, style = _MARKS[first.level]
    yield []
    yield [(f"  {first.kind}", style), (f"  {_files(len(group))}", "dim")]
    # Files with contents of their own each have a line of detail, which replaces the common reason.
    told = len(group) > 1 and all(f.contents is None and f.reason == first.reason for f in group)
    if told and first.reason:
        yield [(f"    {shown(first.reason)}", "")]
    for finding in group[:most]:
        line = [(f"  {mark} ", style), (shown(finding.path), "bold")]
        detail = _detail(finding, told=told)
        if not detail:
            yield line
        elif finding.level < Level.ERROR:
            yield [*line, (f"  {shown(detail)}", "")]
        else:
            yield line
            yield [(f"      {shown(detail)}", "")]
    if most is not None and len(group) > most:
        yield [(f"    and {len(group) - most:,} more: --all", "dim")]
    advice = first.advice if len(group) == 1 else _general(first)
    if advice:
        yield [(f"    → {advice}", "dim")]


def _general(finding: Finding) -> str:
    """Return a finding's advice without the path, so that it fits its whole group."""
    return finding.advice.removesuffix(f" {shlex.quote(finding.path)}").removesuffix(" --")


def _detail(finding: Finding, *, told: bool) -> str:
    """Return what distinguishes one file from the rest of its group."""
    contents = finding.contents
    if contents is None:
        return "" if told else finding.reason
    if finding.verdict is Verdict.UNSEALED and finding.change is not None:
        return finding.reason  # it has the kind and the names, and what changed
    parts = [contents.kind]
    if finding.verdict is not Verdict.UNSEALED:
        parts = [*filter(None, [finding.reason]), contents.kind]
    listed = [n for n in contents.names if not n.known]
    gravest = max((n.grade for n in listed), default=Grade.DATA)
    worst = [n for n in listed if n.grade is gravest is not Grade.DATA]
    if worst:
        names = ", ".join(map(str, worst[:_NAMES_SHOWN]))
        more = f" and {len(worst) - _NAMES_SHOWN:,} more" if len(worst) > _NAMES_SHOWN else ""
        parts.append(f"names {names}{more}")
    return "; ".join([*parts, *contents.reasons])


def _counts(report: Report) -> Iterator[Line]:
    width = max((len(f"{count:,}") for count in report.verdicts.values()), default=1)
    for verdict, count in report.verdicts.items():
        level = max(f.level for f in report.findings if f.verdict is verdict)
        style = _MARKS[level][1] if level else ("green" if "sealed" in verdict else "dim")
        yield [(f"  {count:>{width},}  ", "bold"), (verdict.value, style)]


def _files(count: int) -> str:
    return counted(count, "file")
