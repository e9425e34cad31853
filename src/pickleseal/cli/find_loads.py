"""`pickleseal find-loads`: list the lines of source that load or save plain pickles."""

import os
from collections.abc import Iterator
from typing import NamedTuple

import click

from pickleseal.cli.options import PathType, with_json
from pickleseal.cli.output import (
    CHECK_FAILED,
    COULD_NOT_RUN,
    FINE,
    CouldNotRun,
    Line,
    guarded,
    left_out_lines,
    print_json,
    print_lines,
    wants_json,
)
from pickleseal.cli.progress import tracked
from pickleseal.errors import PicklesealError, counted, masked, shown
from pickleseal.files.walk import Found, LeftOut, Skip, files_below
from pickleseal.migration.batch import found_file
from pickleseal.migration.source.functions import Kind
from pickleseal.migration.source.notebooks import in_notebook
from pickleseal.migration.source.sites import Reading, Site, in_module
from pickleseal.migration.source.text import MOST_BYTES

_NOTEBOOK = ".ipynb"
_SOURCES = (".py", _NOTEBOOK)


class _Looked(NamedTuple):
    """What was read at a path; `is_link`: a link, which was not followed."""

    path: str
    reading: Reading = Reading()
    is_link: bool = False


@click.command("find-loads")
@click.argument(
    "paths", nargs=-1, required=True, metavar="PATH...", type=PathType(readable=False, local=True)
)
@click.option("--loads-only", is_flag=True, help="Do not list the places that save pickles.")
@with_json
@guarded
def find_loads(paths: tuple[str, ...], *, loads_only: bool) -> int:
    """List the lines of Python source that load or save plain pickles.

    For each call it shows the line that should replace it. Nothing is run: the functions of pickle,
    joblib, pandas, cloudpickle, dill, torch, numpy and shelve are found by their imports, and so is
    joblib.Memory, which unpickles its cache. Below folders, *.py and *.ipynb are read, but not in
    version control, environments and installed packages.

    The exit code is 0 if nothing is found, 1 if something is, 2 if a file cannot be read or is no
    Python, or there is none.

    \b
    Examples:
      pickleseal find-loads src/ notebooks/
      pickleseal find-loads --loads-only --json train.py
    """
    left_out = LeftOut()
    work = _look(paths, left_out)
    looked = list(tracked(work, "Reading", lambda: sum(1 for _ in _sources(paths))))
    if loads_only:
        looked = [_loads_of(one) for one in looked]
    read = [one for one in looked if not one.is_link]
    if not read:
        raise CouldNotRun("there is no Python source to read")
    if wants_json():
        print_json({**_plain(looked), "left_out": left_out.to_dict()})
    else:
        print_lines(line for one in read for line in _lines(one))
        print_lines((line for one in read for line in _faults(one)), stderr=True)
        print_lines(_summary(looked), stderr=True)
        print_lines(left_out_lines(left_out), stderr=True)
    if any(one.reading.faults for one in read):
        return COULD_NOT_RUN
    return CHECK_FAILED if any(one.reading.sites for one in read) else FINE


def _sources(paths: tuple[str, ...], left_out: LeftOut | None = None) -> Iterator[Found]:
    """Yield each file that may be source once, and each path that may hide more."""
    seen = set()
    for found in files_below(paths, left_out=left_out):
        if not (found.named or found.path.endswith(_SOURCES) or _hides_some(found)):
            continue
        place = os.path.abspath(found.path)
        if place not in seen:
            seen.add(place)
            yield found


def _hides_some(found: Found) -> bool:
    """Return whether there may be source below a path that is not entered."""
    if found.skip is Skip.LINK:
        return os.path.isdir(found.path)
    return found.skip in (Skip.MOVED, Skip.UNREADABLE)


def _look(paths: tuple[str, ...], left_out: LeftOut) -> Iterator[_Looked]:
    for found in _sources(paths, left_out):
        if found.skip is Skip.LINK:
            yield _Looked(found.path, is_link=True)
        elif found.reason is not None:
            yield _Looked(found.path, Reading(faults=(found.reason,)))
        else:
            yield _Looked(found.path, _read(found))


def _read(found: Found) -> Reading:
    try:
        with found_file(found) as file:
            if file.size > MOST_BYTES:
                return Reading(faults=(f"it has more than {MOST_BYTES:,} bytes",))
            data = bytes(file.whole())
    except PicklesealError:
        return Reading(faults=(Skip.SPECIAL.value,))
    except OSError as error:
        return Reading(faults=(error.strerror or str(error),))
    except MemoryError:
        return Reading(faults=("not enough memory",))
    if found.path.endswith(_NOTEBOOK):
        return in_notebook(data)
    return in_module(data)


def _loads_of(looked: _Looked) -> _Looked:
    sites = tuple(site for site in looked.reading.sites if site.kind is Kind.LOAD)
    return looked._replace(reading=looked.reading._replace(sites=sites))


def _plain(looked: list[_Looked]) -> dict[str, object]:
    read = [one for one in looked if not one.is_link]
    return {
        "sites": [
            {"path": one.path, **site._asdict()} for one in read for site in one.reading.sites
        ],
        "faults": [
            {"path": one.path, "reason": fault} for one in read for fault in one.reading.faults
        ],
        "links": [one.path for one in looked if one.is_link],
        "files": len(read),
    }


def _lines(looked: _Looked) -> Iterator[Line]:
    for site in looked.reading.sites:
        first, *more = _shown_lines(site.code)
        style = "bold yellow" if site.kind is Kind.LOAD else "cyan"
        place = (_place(looked.path, site), "bold")
        yield [place, (f"  {site.kind.value}", style), (f"  {first}", "")]
        yield from ([(f"      {line}", "")] for line in more)
        if site.instead is not None:
            first, *more = _shown_lines(site.instead)
            yield [("    → ", "dim"), (first, "green")]
            yield from ([(f"      {line}", "green")] for line in more)
        yield from ([(f"      {shown(remark)}", "dim")] for remark in site.remarks)


def _place(path: str, site: Site) -> str:
    cell = "" if site.cell is None else f"cell {site.cell}:"
    return f"{shown(path)}:{cell}{site.line}:{site.column}"


def _shown_lines(code: str) -> list[str]:
    # Masked as a whole: a key line may go on in the next line.
    return [shown(line.strip()) for line in masked(code).split("\n")]


def _faults(looked: _Looked) -> Iterator[Line]:
    for fault in looked.reading.faults:
        yield [("✗ ", "bold red"), (shown(looked.path), "bold"), (f"  {shown(fault)}", "")]


def _summary(looked: list[_Looked]) -> Iterator[Line]:
    read = [one for one in looked if not one.is_link]
    kinds = [site.kind for one in read for site in one.reading.sites]
    loads, dumps = kinds.count(Kind.LOAD), kinds.count(Kind.DUMP)
    text = f"{counted(loads, 'load')} and {counted(dumps, 'dump')} in {counted(len(read), 'file')}"
    notes = (
        (sum(bool(one.reading.faults) for one in read), "file", "not read in full"),
        (sum(one.is_link for one in looked), "link", "not followed"),
    )
    more = "".join(f", {counted(count, noun)} {what}" for count, noun, what in notes if count)
    yield [(text, "bold yellow" if kinds else "bold green"), (more, "")]
    if kinds:
        hint = (
            "→ new lines need `import pickleseal`; `pickleseal adopt` seals old files; give both"
            " the same context"
        )
        yield [(hint, "dim")]
