"""The text of Python source: how a file's bytes are read as it, and what is written where."""

import ast
import tokenize
import warnings

MOST_BYTES = 100_000_000
"""The size of the largest file that is worth a look: a notebook full of pictures."""

MOST_SOURCE = 3_000_000
"""The most characters of source that are parsed: a tree takes many times the memory."""

REFUSALS = (SyntaxError, ValueError, RecursionError, MemoryError)
"""What `decoded` and `parsed` raise for what is no Python, or cannot be parsed here."""


def decoded(data: bytes) -> str:
    """Give the text of a Python file in the encoding that it names, or raise one of REFUSALS."""
    first = (line + b"\n" for line in data.split(b"\n", 2)[:2])
    try:
        encoding, _ = tokenize.detect_encoding(first.__next__)
        return data.decode(encoding)
    except LookupError as error:
        raise ValueError(str(error)) from None


def parsed(source: str) -> ast.Module:
    """Give the tree of source, or raise one of REFUSALS."""
    if len(source) > MOST_SOURCE:
        raise ValueError(f"it has more than {MOST_SOURCE:,} characters")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # those on old spellings are not what is asked for
        return ast.parse(source)


def reason(error: Exception) -> str:
    """Tell in words why one of REFUSALS was raised."""
    if isinstance(error, SyntaxError):
        where = f"line {error.lineno}: " if error.lineno else ""
        return f"this Python cannot parse it: {where}{error.msg}"
    if isinstance(error, RecursionError | MemoryError):
        return "it is nested too deeply, or too large"
    return str(error)


def lines_of(source: str) -> list[str]:
    """Give the lines of source as Python counts them: form feeds and the like end none."""
    return source.replace("\r\n", "\n").replace("\r", "\n").split("\n")


class Text:
    """Source, by its lines, and what of it is written at a node."""

    def __init__(self, source: str) -> None:
        self._lines = [line.encode() for line in lines_of(source)]

    def column(self, line: int, offset: int) -> int:
        """Give the column, from 1, that lies so many bytes behind the beginning of a line."""
        return len(self._lines[line - 1][:offset].decode(errors="replace")) + 1

    def at(self, node: ast.expr) -> str:
        """Give what is written there; ast.get_source_segment splits the whole source each time."""
        first, last = node.lineno - 1, node.end_lineno or node.lineno
        written = self._lines[first:last]
        written[-1] = written[-1][: node.end_col_offset]
        written[0] = written[0][node.col_offset :]
        return b"\n".join(written).decode(errors="replace")
