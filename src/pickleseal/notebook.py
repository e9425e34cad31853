"""Small HTML tables, as notebooks show them. Texts are escaped, and colours mark edges only.

A text keeps the colour of its notebook, so that it can be read on light and dark ground alike.
"""

import re
from collections.abc import Iterable, Sequence
from html import escape

from pickleseal.errors import shown

GOOD, WARN, BAD = "#3d9950", "#d08a00", "#d9453c"
EDGES = ("#888888", "#4a86d8", WARN, BAD)
"""The colours of the levels of an audit, none, note, warning and error."""

_MOST = 400
_CELL = "text-align:left;vertical-align:top;padding:2px 10px"
_PATH = f"{_CELL};font-family:monospace;min-width:16em;overflow-wrap:anywhere"
_NAME = f"{_CELL};white-space:nowrap"
_TABLE = "border-collapse:collapse;margin:0"
_MONOSPACE = frozenset({"path", "key", "digest"})


def facts(title: str, rows: Iterable[tuple[str, str]], *, edge: str) -> str:
    """Return a table with a row for each name and text, and a coloured edge."""
    lines = "".join(
        f"<tr><th scope='row' style='{_NAME};border-left:4px solid {edge}'>{escape(name)}</th>"
        f"<td style='{_style(name)}'>{_text(text)}</td></tr>"
        for name, text in rows
    )
    return f"<div>{paragraph(title)}{_table(lines)}</div>"


def paragraph(strong: str, text: str = "") -> str:
    """Return a line, whose beginning is strong."""
    begin = f"<strong>{_text(strong)}</strong> " if strong else ""
    return f"<p style='margin:0 0 4px'>{begin}{_text(text)}</p>"


def listing(names: Sequence[str], rows: Iterable[tuple[str, Sequence[str]]]) -> str:
    """Return a table with named columns, whose rows have edges of a colour; "" without rows."""
    lines = "".join(
        "<tr>"
        + "".join(
            f"<td style='{_style(name)}{_edge(edge) if number == 0 else ''}'>{_text(text)}</td>"
            for number, (name, text) in enumerate(zip(names, texts, strict=True))
        )
        + "</tr>"
        for edge, texts in rows
    )
    head = "".join(f"<th scope='col' style='{_NAME}'>{escape(name)}</th>" for name in names)
    return _table(lines, f"<thead><tr>{head}</tr></thead>") if lines else ""


def _table(lines: str, head: str = "") -> str:
    return f"<table style='{_TABLE}'>{head}<tbody>{lines}</tbody></table>"


def _style(name: str) -> str:
    return _PATH if name in _MONOSPACE else _CELL


def _edge(colour: str) -> str:
    return f";border-left:4px solid {colour}"


def _text(value: str) -> str:
    return escape(cut(visible(value), _MOST))


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
