"""The report of an earlier audit, by which unchanged objects of a store are not read again.

Who can change it can hide any object, so nobody else may be able to. What it is worth is in
docs/adr/0031-unchanged-objects-are-not-read.md.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pickleseal.auditing.findings import Mark
from pickleseal.auditing.judge import AuditOptions
from pickleseal.errors import KeyPermissionError, PicklesealError, shown
from pickleseal.files.places import is_url, without_credentials
from pickleseal.files.strict_json import parse_json
from pickleseal.keys.store.permissions import guarded_lines
from pickleseal.version import __version__


def rules_of(options: AuditOptions) -> str:
    """Return a digest of what an audit judges sealed files by, beside their bytes and the time."""
    ring = options.ring
    known = [
        __version__,
        None if ring is None else ring.primary,
        [] if ring is None else sorted((e.id, e.state, e.contexts) for e in ring.entries.values()),
        options.contexts,
        sorted(options.pins.items()),
        [options.imports, options.deep, options.known],
    ]
    return hashlib.sha256(json.dumps(known).encode()).hexdigest()[:16]


def read_since(path: str, rules: str) -> dict[str, Mark]:
    """Return the marks of a report in JSON Lines that were made under the same rules, by path.

    The report may be cut off. Raise PicklesealError if it cannot be used, FileNotFoundError without
    one.
    """
    if is_url(path):
        raise _unusable(
            without_credentials(path),
            "it must be on this machine, where nobody else can change it",
        )
    try:
        lines = list(_marks(Path(os.path.abspath(path))))
    except FileNotFoundError:
        raise
    except (KeyPermissionError, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        raise _unusable(path, reason or str(error)) from None
    if lines and all(place is None for place, _ in lines):
        raise _unusable(path, "it is no report in JSON Lines: make one with --output jsonl=FILE")
    return {
        place: mark
        for place, mark in lines
        if place is not None and mark is not None and mark.rules == rules
    }


def _marks(path: Path) -> Iterator[tuple[str | None, Mark | None]]:
    """Yield the path and the mark of each line; None where there is none."""
    for line in guarded_lines(path):
        try:
            finding = parse_json(line.decode("ascii"))
        except ValueError:
            finding = None
        if not isinstance(finding, dict) or not isinstance(finding.get("path"), str):
            yield None, None
            continue
        fields = finding.get("mark")
        yield finding["path"], _mark(fields) if isinstance(fields, dict) else None


def _mark(fields: dict[str, Any]) -> Mark | None:
    mark = Mark(*(fields.get(name) for name in Mark._fields))  # type: ignore[arg-type]
    texts = isinstance(mark.etag, str) and isinstance(mark.rules, str)
    return mark if texts and type(mark.read) is int else None


def _unusable(path: str, reason: str) -> PicklesealError:
    return PicklesealError(f"the report {shown(path)} cannot be used: {reason}")
