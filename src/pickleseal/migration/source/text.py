"""Python source as text: decoded, parsed, and cut out by line and column."""

import ast
import tokenize
import warnings

MOST_BYTES = 100_000_000
"""The size of the largest file that is read, in bytes: a notebook full of pictures."""

MOST_SOURCE = 3_000_000
"""The largest source that is parsed, in characters: a tree takes many times the memory."""

REFUSALS = (SyntaxError, ValueError, RecursionError, MemoryError)
"""The errors of `decoded` and `parsed` for what is no Python, or cannot be parsed here."""


def decoded(data: bytes) -> str:
    """Return the text of a Python file in its declared encoding, or raise one of REFUSALS."""
    first = (line + b"\n" for line in data.split(b"\n", 2)[:2])
    try:
        encoding, _ = tokenize.detect_encoding(first.__next__)
        return data.decode(encoding)
    except LookupError as error:
        raise ValueError(str(error)) from None


def parsed(source: str) -> ast.Module:
    """Return the syntax tree of source, or raise one of REFUSALS."""
    if len(source) > MOST_SOURCE:
        raise ValueError(f"it has more than {MOST_SOURCE:,} characters")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated syntax is not what is looked for
        return ast.parse(source)


def reason(error: Exception) -> str:
    """Return the reason for one of REFUSALS in words."""
    if isinstance(error, SyntaxError):
        where = f"line {error.lineno}: " if error.lineno else ""
        return f"this Python cannot parse it: {where}{error.msg}"
    if isinstance(error, RecursionError | MemoryError):
        return "it is nested too deeply, or too large"
    return str(error)


def lines_of(source: str) -> list[str]:
    """Return the lines of source as Python counts them: a form feed ends none."""
    return source.replace("\r\n", "\n").replace("\r", "\n").split("\n")


class Text:
    """Source by its lines, from which nodes are cut out."""

    def __init__(self, source: str) -> None:
        self._lines = [line.encode() for line in lines_of(source)]

    def column(self, line: int, offset: int) -> int:
        """Return the column, from 1 and in characters, at an offset in bytes."""
        return len(self._lines[line - 1][:offset].decode(errors="replace")) + 1

    def at(self, node: ast.expr) -> str:
        """Return the text of a node. ast.get_source_segment splits the whole source each time."""
        first, last = node.lineno - 1, node.end_lineno or node.lineno
        written = self._lines[first:last]
        written[-1] = written[-1][: node.end_col_offset]
        written[0] = written[0][node.col_offset :]
        return b"\n".join(written).decode(errors="replace")
