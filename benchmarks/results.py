"""What a run gives, and results.json, which keeps it."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

FORMAT = 1


@dataclass
class Timing:
    """What one part, such as the dump, took with one way; in seconds."""

    median: float
    minimum: float
    quartiles: tuple[float, float]
    ratio: float
    """The median of the ratios to pickle's time in the same round."""
    ratio_quartiles: tuple[float, float]
    ratio_of_minima: float
    samples: list[float]


@dataclass
class Row:
    """What came of one way with one object."""

    way: str
    status: str
    """measured, skipped (not here, or it cannot), failed, or left out."""
    reason: str | None = None
    """Why it was not measured."""
    size: int | None = None
    rounds: int = 0
    number: int = 1
    """How often it saves and loads within a sample."""
    parts: dict[str, Timing] = field(default_factory=dict)


@dataclass
class CaseResult:
    """All ways with one object."""

    name: str
    title: str
    in_memory: bool
    durable: bool
    size: int
    """In bytes, as a pickle."""
    rows: list[Row]


@dataclass
class MemoryRow:
    """The peak memory of a process that dumped, and of one that loaded; in bytes."""

    way: str
    dump: int | None = None
    load: int | None = None
    reason: str | None = None


@dataclass
class StartRow:
    """How long a whole process took that starts, imports or prints its help, and ends."""

    name: str
    command: str
    timing: Timing | None = None
    reason: str | None = None


@dataclass
class AuditRow:
    """How long one tool took over one tree, as a whole process. The ratios are to sha256sum."""

    tree: str
    title: str
    tool: str
    timing: Timing | None = None
    reason: str | None = None


@dataclass
class StoreRow:
    """What one act asked an object store for. The ratios are to one GET for each object."""

    objects: str
    act: str
    requests: int = 0
    size: int = 0
    """Of all answers, in bytes."""
    timing: Timing | None = None
    reason: str | None = None


@dataclass
class Goal:
    """What was hoped for, and what came of it."""

    what: str
    at_most: float
    unit: str
    got: float | None = None

    @property
    def reached(self) -> bool | None:
        """Return whether it came true; None where it was not measured."""
        return None if self.got is None else self.got <= self.at_most


@dataclass
class Results:
    """All that a run gave."""

    quick: bool
    seconds: float
    machine: dict[str, Any]
    ways: list[dict[str, Any]]
    cases: list[CaseResult] = field(default_factory=list)
    memory_size: int = 0
    memory: list[MemoryRow] = field(default_factory=list)
    start: list[StartRow] = field(default_factory=list)
    audits: list[AuditRow] = field(default_factory=list)
    stores: list[StoreRow] = field(default_factory=list)
    goals: list[Goal] = field(default_factory=list)

    def timing(self, case: str, part: str, way: str) -> Timing | None:
        """Return one timing, None where it was not measured."""
        for row in self.rows(case):
            if row.way == way:
                return row.parts.get(part)
        return None

    def size(self, case: str, way: str) -> int | None:
        """Return the size of what a way wrote."""
        return next((row.size for row in self.rows(case) if row.way == way), None)

    def rows(self, case: str) -> list[Row]:
        """Return the rows of one object."""
        return next((found.rows for found in self.cases if found.name == case), [])


def save(results: Results, path: Path) -> None:
    """Write results as JSON, a row on a line."""
    data = {"format": FORMAT, **asdict(results)}
    for goal, row in zip(results.goals, data["goals"], strict=True):
        row["reached"] = goal.reached
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(_lines(_rounded(data), 0)) + "\n", encoding="utf-8")


def load(path: Path) -> Results:
    """Read what `save` wrote."""
    data = json.loads(path.read_text(encoding="utf-8"))
    if data.pop("format") != FORMAT:
        raise ValueError(f"{path.name} is of another format: measure again")
    for case in data["cases"]:
        case["rows"] = [
            Row(**{**row, "parts": {part: _timing(t) for part, t in row["parts"].items()}})
            for row in case["rows"]
        ]
    data["cases"] = [CaseResult(**case) for case in data["cases"]]
    data["memory"] = [MemoryRow(**row) for row in data["memory"]]
    data["start"] = [
        StartRow(**{**row, "timing": row["timing"] and _timing(row["timing"])})
        for row in data["start"]
    ]
    data["audits"] = [
        AuditRow(**{**row, "timing": row["timing"] and _timing(row["timing"])})
        for row in data.get("audits", [])
    ]
    data["stores"] = [
        StoreRow(**{**row, "timing": row["timing"] and _timing(row["timing"])})
        for row in data.get("stores", [])
    ]
    data["goals"] = [
        Goal(**{name: value for name, value in row.items() if name != "reached"})
        for row in data["goals"]
    ]
    return Results(**data)


def _timing(data: dict[str, Any]) -> Timing:
    return Timing(
        **{
            **data,
            "quartiles": tuple(data["quartiles"]),
            "ratio_quartiles": tuple(data["ratio_quartiles"]),
        }
    )


def _rounded(data: Any) -> Any:
    if isinstance(data, float):
        return float(f"{data:.4g}")
    if isinstance(data, dict):
        return {name: _rounded(value) for name, value in data.items()}
    if isinstance(data, list | tuple):
        return [_rounded(value) for value in data]
    return data


def _lines(data: Any, depth: int) -> Iterator[str]:
    """Return JSON in which what holds no further dict is on one line."""
    values = list(data.values()) if isinstance(data, dict) else data
    if not (isinstance(values, list) and any(isinstance(value, dict | list) for value in values)):
        yield json.dumps(data, ensure_ascii=False)
        return
    if not any("{" in json.dumps(value) for value in values):
        yield json.dumps(data, ensure_ascii=False)
        return
    pairs = data.items() if isinstance(data, dict) else ((None, value) for value in data)
    yield "{" if isinstance(data, dict) else "["
    for number, (name, value) in enumerate(pairs):
        yield ("," if number else "") + "\n" + " " * (depth + 1)
        if name is not None:
            yield json.dumps(name) + ": "
        yield from _lines(value, depth + 1)
    yield "\n" + " " * depth + ("}" if isinstance(data, dict) else "]")
