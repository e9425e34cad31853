"""What an audit prints for people: findings by severity, what to do next, and the counts."""

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
    """Give the lines of all findings that are worth knowing, the gravest first, and the counts.

    `most`: so many files of a kind are listed, None for all; the rest is counted.
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
    """Give the one line that says it all."""
    left_out = sum(f.verdict is Verdict.SKIPPED and not f.level for f in report.findings)
    looked_at = len(report.findings) - left_out
    total = _files(looked_at) + (f" ({left_out:,} left out)" if left_out else "")
    levels = report.levels
    grave = levels[Level.ERROR] + levels[Level.WARNING]
    took = (f" ({report.seconds:.2f} s)", "dim")
    if grave:
        parts = ", ".join(
            counted(levels[level], level.label)
            for level in (Level.ERROR, Level.WARNING, Level.NOTE)
            if levels[level]
        )
        style = "bold red" if levels[Level.ERROR] else "bold yellow"
        need = "needs" if grave == 1 else "need"
        return [(f"{grave:,} of {total} {need} attention", style), (f": {parts}", ""), took]
    sealed = sum(len(finding.envelopes) > 0 for finding in report.findings)
    if not sealed:
        return [("nothing found", "bold yellow"), (f" in {total}", ""), took]
    notes = f", {counted(levels[Level.NOTE], 'note')}" if levels[Level.NOTE] else ""
    return [
        (f"{sealed:,} sealed", "bold green"),
        (f" of {total}: nothing to mend{notes}", ""),
        took,
    ]


def _groups(findings: Iterable[Finding]) -> list[list[Finding]]:
    """Put together what is of one kind, with one advice, the gravest kinds first."""
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
    # What each file has to tell of itself says more than what all of them have in common.
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
        yield [(f"    and {len(group) - most:,} more: --html FILE shows all", "dim")]
    advice = first.advice if len(group) == 1 else _general(first)
    if advice:
        yield [(f"    → {advice}", "dim")]


def _general(finding: Finding) -> str:
    """Give the advice on one file as that on all of its kind."""
    return finding.advice.removesuffix(f" {shlex.quote(finding.path)}").removesuffix(" --")


def _detail(finding: Finding, *, told: bool) -> str:
    """Say of one file what its group does not."""
    contents = finding.contents
    if contents is None:
        return "" if told else finding.reason
    parts = [contents.kind]
    if finding.verdict is not Verdict.UNSEALED or finding.change is not None:
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
