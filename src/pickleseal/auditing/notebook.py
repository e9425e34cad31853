"""A report as a small table for a notebook."""

from collections.abc import Sequence

from pickleseal.auditing.findings import Finding
from pickleseal.notebook import EDGES, listing, paragraph
from pickleseal.persistence.policy import time_text

_ROWS = 200


def notebook(
    headline: str, findings: Sequence[Finding], roots: Sequence[str], started: int, left_out: int
) -> str:
    """Return findings above level NONE as a small HTML table, most severe first.

    `left_out` is the number of files in folders that were left out.
    """
    worth = sorted((f for f in findings if f.level), key=lambda f: -f.level)
    table = listing(
        ("level", "verdict", "path", "reason and advice"),
        (
            (
                EDGES[f.level],
                (f.level.label, f.verdict, f.path, "; ".join(filter(None, (f.reason, f.advice)))),
            )
            for f in worth[:_ROWS]
        ),
    )
    spare = len(worth) - _ROWS
    more = paragraph("", f"and {spare:,} more findings") if spare > 0 else ""
    if left_out:
        more += paragraph("", f"{left_out:,} in folders of other programs left out")
    where = f"{title(roots)}, {time_text(started)}"
    return f"<div>{paragraph(f'{headline}.', where)}{table}{more}</div>"


def title(roots: Sequence[str]) -> str:
    """Return the first few of the audited paths."""
    shown_roots = ", ".join(roots[:3])
    return f"{shown_roots} and {len(roots) - 3:,} more" if len(roots) > 3 else shown_roots
