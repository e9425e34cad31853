"""Results for people: tables on the terminal, and the measured part of a page."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.audits import HASHER, TOOLS
from benchmarks.results import AuditRow, CaseResult, Goal, MemoryRow, Results, Row, StoreRow, Timing
from benchmarks.ways import BASELINE, BY_NAME

BEGIN = "<!-- Written by make bench, from benchmarks/results.json. -->"
END = "<!-- Up to here. -->"

_PAGE_WAYS = (
    "pickleseal", "pickleseal-sha256", "hmac", "modelstamp", "securepickle", "joblib",
    "cloudpickle", "skops",
)  # fmt: skip
_SHORT_WAYS = ("pickleseal", "hmac", "joblib", "skops")
_PACKED_WAYS = ("joblib-3", "pickleseal-zstd-1", "pickleseal-zstd")
_MIB = 1 << 20
TIMES = "\N{MULTIPLICATION SIGN}"
TO = "\N{EN DASH}"
_NONE = TO
_NARROW = 130
_SMALL = "iris KNN"


def seconds(value: float) -> str:
    """Return a time with three digits that count."""
    for unit, scale in (("s", 1), ("ms", 1e3)):
        if value * scale >= 1:
            return f"{value * scale:.3g} {unit}" if value * scale < 1000 else f"{value:.0f} s"
    return f"{value * 1e6:.3g} µs"


def size(value: float) -> str:
    """Return a size in bytes with three digits that count."""
    for unit in ("B", "kB", "MB"):
        if value < 999.5:
            return f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:.3g} GB"


def times(value: float) -> str:
    """Return a ratio."""
    return f"{value:.2f}" if value < 9.95 else f"{value:.0f}"


def goal_text(goal: Goal, value: float | None) -> str:
    """Return a value in the unit of a goal."""
    if value is None:
        return "not measured"
    text = times(value) if goal.unit == TIMES else f"{value:.0f}"
    return f"{text} {goal.unit}"


def verdict(goal: Goal) -> str:
    """Say whether a goal was reached."""
    return {True: "reached", False: "not reached", None: "not measured"}[goal.reached]


def show(results: Results, console: Console) -> None:
    """Print everything."""
    for case in results.cases:
        console.print(_case_table(case, narrow=console.width < _NARROW))
        _say_unmeasured(case, console)
    if results.memory:
        console.print(_memory_table(results))
    if results.start:
        console.print(_start_table(results))
    if results.audits:
        console.print(_audit_table(results))
    if results.stores:
        console.print(_store_table(results))
    if results.goals:
        console.print(_goal_table(results.goals))
    console.print(f"[dim]{_machine(results)} {results.seconds:.0f} s in all.[/dim]")


def _case_table(case: CaseResult, *, narrow: bool) -> Table:
    parts = ("dumps", "loads") if case.in_memory else ("dump", "load")
    table = _table(f"{case.title} ({size(case.size)} as a pickle)")
    table.add_column("way", no_wrap=True)
    for part in parts:
        table.add_column(part, justify="right", no_wrap=True)
        if not narrow:
            table.add_column("fastest", justify="right", no_wrap=True, style="dim")
        table.add_column(f"{TIMES} pickle", justify="right", no_wrap=True, style="bold")
        if not narrow:
            table.add_column("spread", justify="right", no_wrap=True, style="dim")
    if case.in_memory:
        table.add_column(f"both {TIMES} pickle", justify="right", no_wrap=True, style="bold")
    table.add_column("size", justify="right", no_wrap=True)
    table.add_column("rounds", justify="right", style="dim")
    for row in case.rows:
        if row.status != "measured" or row.size is None:
            continue
        cells = []
        for part in parts:
            timing = row.parts[part]
            low, high = timing.ratio_quartiles
            whole = [
                seconds(timing.median),
                seconds(timing.minimum),
                times(timing.ratio),
                f"{times(low)}{TO}{times(high)}",
            ]
            cells += whole[::2] if narrow else whole
        if case.in_memory:
            cells.append(times(row.parts["both"].ratio))
        ours = "green" if row.way.startswith("pickleseal") else ""
        table.add_row(BY_NAME[row.way].label, *cells, size(row.size), str(row.rounds), style=ours)
    return table


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)


def _say_unmeasured(case: CaseResult, console: Console) -> None:
    for reason, rows in _unmeasured(case.rows).items():
        console.print(f"  [dim]not measured: {_labels(rows)}: {reason}[/dim]", highlight=False)


def _labels(ways: Iterable[str]) -> str:
    return "; ".join(BY_NAME[way].label for way in ways)  # names have commas


def _unmeasured(rows: Iterable[Row]) -> dict[str, list[str]]:
    reasons: dict[str, list[str]] = {}
    for row in rows:
        if row.status != "measured":
            reasons.setdefault(row.reason or row.status, []).append(row.way)
    return reasons


def _memory_table(results: Results) -> Table:
    title = f"peak memory of a process, array of {results.memory_size // _MIB} MiB"
    table = _table(title)
    for name in ("way", "dump", "beyond pickle", "load", "beyond pickle"):
        table.add_column(name, justify="left" if name == "way" else "right", no_wrap=True)
    for row in results.memory:
        label = BY_NAME[row.way].label
        if row.dump is None or row.load is None:
            table.add_row(label, f"not measured: {row.reason}")
            continue
        table.add_row(label, *_memory_cells(row, results.memory))
    return table


def _memory_cells(row: MemoryRow, rows: Iterable[MemoryRow]) -> list[str]:
    base = next(found for found in rows if found.way == BASELINE)
    cells = []
    for own, other in ((row.dump, base.dump), (row.load, base.load)):
        if own is None:
            return [_NONE] * 4
        beyond = _NONE if other is None or row is base else f"{round((own - other) / _MIB):+d} MiB"
        cells += [f"{own / _MIB:.0f} MiB", beyond]
    return cells


def _start_table(results: Results) -> Table:
    table = _table("whole processes")
    for name in ("what", "median", "fastest", "spread"):
        table.add_column(name, justify="left" if name == "what" else "right", no_wrap=True)
    for row in results.start:
        table.add_row(row.name, *_start_cells(row.timing, row.reason))
    return table


def _start_cells(timing: Timing | None, reason: str | None) -> list[str]:
    if timing is None:
        return [reason or "not measured", "", ""]
    low, high = timing.quartiles
    return [seconds(timing.median), seconds(timing.minimum), f"{seconds(low)}{TO}{seconds(high)}"]


def _audit_table(results: Results) -> Table:
    table = _table("audits, as whole processes")
    for name in ("files", "tool", "median", "fastest", f"{TIMES} {HASHER}", "spread"):
        table.add_column(
            name, justify="left" if name in ("files", "tool") else "right", no_wrap=True
        )
    for row in results.audits:
        table.add_row(row.title, row.tool, *_audit_cells(row))
    return table


def _audit_cells(row: AuditRow) -> list[str]:
    if row.timing is None:
        return [row.reason or "not measured", "", "", ""]
    low, high = row.timing.ratio_quartiles
    return [
        seconds(row.timing.median),
        seconds(row.timing.minimum),
        times(row.timing.ratio),
        f"{times(low)}{TO}{times(high)}",
    ]


_STORE_HEAD = ["requests", "received", "median", f"{TIMES} one GET", "middle half"]


def _store_table(results: Results) -> Table:
    table = _table("objects in an S3 server on loopback")
    for name in ("objects", "act", *_STORE_HEAD):
        left = name in ("objects", "act")
        table.add_column(name, justify="left" if left else "right", no_wrap=True)
    for row in results.stores:
        table.add_row(row.objects, row.act, *_store_cells(row))
    return table


def _store_cells(row: StoreRow) -> list[str]:
    if row.timing is None:
        return [row.reason or "not measured", "", "", "", ""]
    low, high = row.timing.ratio_quartiles
    return [
        f"{row.requests:,}".replace(",", " "),
        size(row.size),
        seconds(row.timing.median),
        times(row.timing.ratio),
        f"{times(low)}{TO}{times(high)}",
    ]


def _goal_table(goals: Iterable[Goal]) -> Table:
    table = _table("aims")
    for name in ("what", "at most", "got", ""):
        table.add_column(name, justify="right" if name in ("at most", "got") else "left")
    for goal in goals:
        style = {True: "green", False: "red", None: "yellow"}[goal.reached]
        mark = {True: "✓", False: "✗", None: "?"}[goal.reached]
        table.add_row(
            goal.what,
            goal_text(goal, goal.at_most),
            goal_text(goal, goal.got),
            f"[{style}]{mark} {verdict(goal)}[/{style}]",
        )
    return table


def _machine(results: Results) -> str:
    facts = results.machine
    with_features = f" ({', '.join(facts['features'])})" if facts["features"] else ""
    packages = ", ".join(f"{name} {found}" for name, found in facts["packages"].items())
    memory = f", {facts['memory_gib']} GiB of memory" if facts["memory_gib"] else ""
    disk = f", files on {facts['file_system']}" if facts["file_system"] else ""
    return (
        f"{facts['cpu']}{with_features}, {facts['cores']} cores{memory}, {facts['system']}{disk};"
        f" {facts['python']}, {facts['openssl']}, {packages}."
    )


_EXPLAINED = (
    "Each figure is a ratio to pickle's time: 1 is as fast as pickle, 2 takes twice as long."
    " The first column is pickle's own time."
)


def summary(results: Results) -> str:
    """Return the times beside a few tools as Markdown."""
    return f"{_EXPLAINED}\n\n{_page_table(results, _SHORT_WAYS)}\n"


def page(results: Results) -> str:
    """Return all that was measured as Markdown."""
    parts = [
        f"The machine: {_machine(results)}",
        _EXPLAINED,
        _page_table(results, _PAGE_WAYS),
        "The tools, as they were used:",
        "\n".join(_tool(way) for way in results.ways),
        *_page_packed(results),
        *_page_memory(results),
        *_page_start(results),
        *_page_audits(results),
        *_page_stores(results),
        *_page_goals(results),
        *_page_unmeasured(results),
    ]
    return "\n\n".join(parts) + "\n"


def _tool(way: dict[str, Any]) -> str:
    version = f" {way['version']}" if way["version"] else ""
    return f"- **{way['label']}**{version}: {way['note']}."


def _markdown(head: list[str], rows: Iterable[list[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _page_table(results: Results, chosen: Iterable[str]) -> str:
    ways = [name for name in chosen if any(r.way == name for c in results.cases for r in c.rows)]
    rows = []
    for case in results.cases:
        for part in ("dumps", "loads", "both") if case.in_memory else ("dump", "load"):
            base = results.timing(case.name, part, BASELINE)
            if base is None:
                continue
            cells = [f"{case.title}: {'dumps and loads' if part == 'both' else part}"]
            cells.append(seconds(base.median))
            for name in ways:
                timing = results.timing(case.name, part, name)
                text = _NONE if timing is None else times(timing.ratio)
                cells.append(f"**{text}**" if name == "pickleseal" else text)
            rows.append(cells)
    return _markdown(["", "pickle", *(BY_NAME[name].label for name in ways)], rows)


def _page_packed(results: Results) -> list[str]:
    rows = []
    for case in results.cases:
        theirs = {part: results.timing(case.name, part, "joblib-3") for part in ("dump", "load")}
        if theirs["dump"] is None:
            continue
        for name in _PACKED_WAYS:
            mine = {part: results.timing(case.name, part, name) for part in ("dump", "load")}
            packed = results.size(case.name, name)
            if mine["dump"] is None or mine["load"] is None or packed is None:
                continue
            rows.append(
                [
                    f"{case.title}: {BY_NAME[name].label}",
                    seconds(mine["dump"].median),
                    seconds(mine["load"].median),
                    size(packed),
                    f"{100 * packed / case.size:.0f} %",
                ]
            )
    head = ["", "dump", "load", "size", "of a pickle"]
    return ["Compressed files:", _markdown(head, rows)] if rows else []


def _page_memory(results: Results) -> list[str]:
    if not results.memory:
        return []
    rows = [
        [BY_NAME[row.way].label, *_memory_cells(row, results.memory)]
        for row in results.memory
        if row.dump is not None
    ]
    head = ["", "dump", "beyond pickle", "load", "beyond pickle"]
    title = f"Peak memory of a process with one array of {results.memory_size // _MIB} MiB:"
    return [title, _markdown(head, rows)]


def _page_start(results: Results) -> list[str]:
    rows = [
        [f"`{row.name}`", *_start_cells(row.timing, row.reason)]
        for row in results.start
        if row.timing
    ]
    head = ["", "median", "fastest", "middle half"]
    title = "Whole processes, Python's own start included:"
    return [title, _markdown(head, rows)] if rows else []


def _page_audits(results: Results) -> list[str]:
    rows = [
        [row.title, f"`{row.tool}`: {TOOLS[row.tool]}", *_audit_cells(row)]
        for row in results.audits
        if row.timing
    ]
    head = ["", "tool", "median", "fastest", f"{TIMES} {HASHER}", "middle half"]
    title = f"Audits, as whole processes, each beside {HASHER} over the same files:"
    return [title, _markdown(head, rows)] if rows else []


def _page_stores(results: Results) -> list[str]:
    rows = [[row.objects, row.act, *_store_cells(row)] for row in results.stores if row.timing]
    title = (
        "Objects in moto's S3 server on loopback, changed to serve ranges from memory; each beside"
        " one GET for each object:"
    )
    return [title, _markdown(["", "act", *_STORE_HEAD], rows)] if rows else []


def _page_goals(results: Results) -> list[str]:
    rows = [
        [goal.what, goal_text(goal, goal.at_most), goal_text(goal, goal.got), verdict(goal)]
        for goal in results.goals
    ]
    if not rows:
        return []
    parts = ["What was aimed at:", _markdown(["", "at most", "got", ""], rows)]
    if any(goal.what.startswith(_SMALL) and goal.reached is False for goal in results.goals):
        parts.append(
            f"That {_SMALL} does not reach its aim is due to the fixed cost: the head of a small"
            " object takes as long as that of a large one."
        )
    return parts


def _page_unmeasured(results: Results) -> list[str]:
    cases: dict[tuple[str, str], list[str]] = {}
    for case in results.cases:
        for reason, ways in _unmeasured(case.rows).items():
            cases.setdefault((_labels(ways), reason), []).append(case.title)
    lines = [
        f"- {shown}: {reason} ({'; '.join(where)})." for (shown, reason), where in cases.items()
    ]
    lines += [
        f"- peak memory: {BY_NAME[r.way].label}: {r.reason}." for r in results.memory if r.reason
    ]
    lines += [f"- audit of {r.title}: {r.tool}: {r.reason}." for r in results.audits if r.reason]
    lines += [f"- {r.objects}: {r.act}: {r.reason}." for r in results.stores if r.reason]
    for start in results.start:
        if start.reason:
            lines.append(f"- start: {start.name}: {start.reason}.")
    return ["Not measured, and why:", "\n".join(lines)] if lines else []


def write_pages(results: Results, folder: Path) -> None:
    """Write the summary into speed.md, and everything into figures.md."""
    _write_page(summary(results), folder / "speed.md")
    _write_page(page(results), folder / "figures.md")


def _write_page(measured: str, path: Path) -> None:
    """Put what was measured between the two marks of a page, or into a new one."""
    text = path.read_text(encoding="utf-8") if path.exists() else f"{BEGIN}\n{END}\n"
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{before}{BEGIN}\n\n{measured}\n{END}{after}", encoding="utf-8")
