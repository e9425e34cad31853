"""Read the cells of a Jupyter notebook as one module, without the lines for IPython."""

import json
import re
from bisect import bisect_right
from typing import Any

from pickleseal.migration.source.sites import Reading, sites_in
from pickleseal.migration.source.text import REFUSALS, lines_of, parsed, reason


def in_notebook(data: bytes) -> Reading:
    """Return the call sites in the code cells of a Jupyter notebook, given its bytes.

    Cells see the imports of the cells before them. Lines for IPython, such as `%matplotlib
    inline`, are ignored. A cell that cannot be parsed is a fault, and the others are read. A
    notebook in another language has no call sites.
    """
    try:
        cells = _code_cells(json.loads(data))
    except (ValueError, RecursionError) as error:
        return Reading(faults=(f"it is not a notebook: {reason(error)}",))
    except (KeyError, IndexError, TypeError, AttributeError):
        return Reading(faults=("it is not a notebook: it has no list of cells",))
    starts: list[int] = []
    numbers: list[int] = []
    lines: list[str] = []
    faults: list[str] = []
    for number, written in cells:
        try:
            code = _without_magics(written)
        except REFUSALS as error:
            faults.append(f"cell {number}: {reason(error)}")
            continue
        starts.append(len(lines))
        numbers.append(number)
        lines += lines_of(code)
    try:
        found = sites_in("\n".join(lines))
    except REFUSALS as error:
        return Reading(faults=(*faults, reason(error)))
    sites = []
    for site in found:
        place = bisect_right(starts, site.line - 1) - 1
        sites.append(site._replace(line=site.line - starts[place], cell=numbers[place]))
    return Reading(tuple(sites), tuple(faults))


def _code_cells(notebook: Any) -> list[tuple[int, str]]:  # noqa: ANN401 - what a file holds
    """Return the number and the code of each Python cell.

    Raises KeyError, IndexError, TypeError or AttributeError if the value is no notebook.
    """
    about = notebook.get("metadata", {}) if isinstance(notebook, dict) else {}
    language = about.get("language_info", {}).get("name", "python")
    if language != "python":
        return []
    # Before version 4 of the format, cells lay in sheets.
    cells = notebook["cells"] if "cells" in notebook else notebook["worksheets"][0]["cells"]
    found = []
    for number, cell in enumerate(cells, 1):
        if cell["cell_type"] == "code":
            written = cell["source"] if "source" in cell else cell["input"]
            found.append((number, "".join(written)))
    return found


_CELL_MAGIC = re.compile(r"\s*%%(\w*)")
_AROUND_PYTHON = frozenset(("time", "timeit", "capture", "prun"))
# `%time x = f()` and `x = %time f()` are Python but for the magic.
_TIMED = re.compile(r"^(\s*)%time(?:it)?\s(?:\s*-\w+(?:\s+\d+)?\s)*")
_TIMED_VALUE = re.compile(r"(?<==)\s*%time(?:it)?\s")
_FOREIGN = re.compile(r"^(\s*)(?:[!%?]|[\w., ]+=\s*[!%]|.*\?\s*$)")


def _without_magics(written: str) -> str:
    """Return a cell's code with its lines for IPython replaced, or raise SyntaxError.

    Lines and columns keep their numbers.
    """
    try:
        parsed(written)
    except SyntaxError:
        code = _plain(written)
        parsed(code)
        return code
    return written


def _plain(written: str) -> str:
    lines = lines_of(written)
    first = next((number for number, line in enumerate(lines) if line.strip()), 0)
    magic = _CELL_MAGIC.match(lines[first])
    if magic:
        if magic[1] not in _AROUND_PYTHON:
            return "\n" * (len(lines) - 1)
        lines[first] = ""
    goes_on = False
    for number, line in enumerate(lines):
        if goes_on:
            lines[number] = ""
        else:
            lines[number] = _plain_line(line)
        goes_on = line.endswith("\\") and lines[number] != line
    return "\n".join(lines)


def _plain_line(line: str) -> str:
    timed = _TIMED.match(line)
    if timed:
        return f"{timed[1]}pass;".ljust(timed.end()) + line[timed.end() :]
    line = _TIMED_VALUE.sub(lambda found: " " * len(found[0]), line)
    foreign = _FOREIGN.match(line)
    return f"{foreign[1]}pass" if foreign else line
