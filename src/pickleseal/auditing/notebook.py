"""Findings as a small table for a notebook, and how texts from outside are shown in HTML."""

import re
from collections.abc import Sequence

from pickleseal.auditing.findings import Finding, Level
from pickleseal.errors import shown
from pickleseal.persistence.policy import time_text


def notebook(
    headline: str, findings: Sequence[Finding], roots: Sequence[str], started: int, left_out: int
) -> str:
    """Return findings above level NONE as a small HTML table, most severe first.

    `left_out` is the number of files in folders that were left out.
    """
    from html import escape  # noqa: PLC0415 - for notebooks alone

    def text(value: str) -> str:
        return escape(cut(visible(value), _NOTEBOOK_TEXT))

    worth = sorted((f for f in findings if f.level), key=lambda f: -f.level)
    rows = "".join(
        f"<tr><td style='{_CELL};border-left:4px solid {_COLOURS[f.level]}'>{f.level.label}</td>"
        f"<td style='{_CELL}'>{text(f.verdict)}</td>"
        f"<td style='{_PATH_CELL}'>{text(f.path)}</td>"
        f"<td style='{_CELL}'>{text('; '.join(filter(None, (f.reason, f.advice))))}</td></tr>"
        for f in worth[:_NOTEBOOK_ROWS]
    )
    head = "".join(
        f"<th scope='col' style='{_CELL}'>{name}</th>"
        for name in ("level", "verdict", "path", "reason and advice")
    )
    table = (
        f"<table style='border-collapse:collapse'><thead><tr>{head}</tr></thead>"
        f"<tbody>{rows}</tbody></table>"
        if worth
        else ""
    )
    spare = len(worth) - _NOTEBOOK_ROWS
    more = f"<p>and {spare:,} more findings</p>" if spare > 0 else ""
    if left_out:
        more += f"<p>{left_out:,} in folders of other programs left out</p>"
    where = text(title(roots))
    return (
        f"<div><p><strong>{escape(headline)}.</strong> "
        f"{where}, {time_text(started)}</p>{table}{more}</div>"
    )


_NOTEBOOK_ROWS = 200
_NOTEBOOK_TEXT = 400
_CELL = "text-align:left;vertical-align:top;padding:2px 10px"
_PATH_CELL = f"{_CELL};font-family:monospace;min-width:16em;overflow-wrap:anywhere"
_COLOURS = {
    Level.NONE: "#888888",
    Level.NOTE: "#4a86d8",
    Level.WARNING: "#d08a00",
    Level.ERROR: "#d9453c",
}


# Printable by Unicode's categories, and yet nothing is seen of them: fillers, joiners, selectors.
_UNSEEN = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0"
    "\U000e0100-\U000e01ef]"
)


def visible(text: str) -> str:
    """Return `text` with control, bidirectional and invisible characters escaped."""
    return _UNSEEN.sub(lambda m: m[0].encode("unicode_escape").decode("ascii"), shown(text))


def cut(text: str, most: int) -> str:
    """Return the beginning of a text, and how much is left out."""
    spare = len(text) - most
    return text if spare <= 0 else f"{text[:most]}… and {spare:,} more characters"


def title(roots: Sequence[str]) -> str:
    """Return the first few of the audited paths."""
    shown_roots = ", ".join(roots[:3])
    return f"{shown_roots} and {len(roots) - 3:,} more" if len(roots) > 3 else shown_roots
