"""`pickleseal extract`: the plain files in envelopes, for tools that know nothing of seals."""

import os
import sys
from collections import Counter

import click

from pickleseal.cli.options import PathType, common, not_empty
from pickleseal.cli.output import (
    CHECK_FAILED,
    COULD_NOT_RUN,
    FINE,
    INTERRUPTED,
    Line,
    counted,
    describe,
    guarded,
    left_out_lines,
    print_json,
    print_lines,
)
from pickleseal.cli.progress import tracked
from pickleseal.errors import shown
from pickleseal.files.walk import LeftOut, files_below
from pickleseal.keys.keyring import Keyring
from pickleseal.keys.store.lookup import find_keyring
from pickleseal.migration.extract import (
    Extracted,
    Outcome,
    extract_all,
    extract_file,
)

_TROUBLE = {
    Outcome.SKIPPED: ("-", "yellow"),
    Outcome.REFUSED: ("✗", "bold red"),
    Outcome.FAILED: ("✗", "bold red"),
}


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option(
    "--to",
    "folder",
    metavar="DIR",
    type=PathType(file_okay=False),
    callback=not_empty,
    help="Write the plain files here, in folders as the envelopes lie in.",
)
@click.option(
    "--output",
    metavar="FILE",
    type=PathType(),
    callback=not_empty,
    help="Write the plain file of the one PATH here; '-' is stdout, if that is no terminal.",
)
@click.option(
    "--context",
    metavar="TEXT",
    help="What the files must be sealed for: a name, or a beginning, as in 'fraud/*'; '*' is"
    " anything. Default: nothing.",
)
@common
@guarded
def extract(
    paths: tuple[str, ...],
    *,
    folder: str | None,
    output: str | None,
    context: str | None,
    keyring: str | None,
    as_json: bool,
) -> int:
    """Write the plain pickles or joblib files that are in envelopes.

    Each seal is checked first, and nothing is unpickled. A plain file has no seal: use it at once,
    and leave it where nobody else can write. No file is overwritten.

    The exit code is 0 where all is extracted, 1 where a file was refused, 2 where one could not be
    read or written.

    \b
    Examples:
      pickleseal extract model.pkl --context fraud/v3 --output plain.pkl
      pickleseal extract models/ --context '*' --to plain/
    """
    if (folder is None) == (output is None):
        raise click.UsageError("give --to DIR, or --output FILE for one PATH")
    ring = find_keyring(keyring, to_open=True)
    if output is not None:
        if len(paths) > 1 or os.path.isdir(paths[0]):
            raise click.UsageError("--output takes one file: for folders, give --to DIR")
        return _extract_one(paths[0], output, ring, context, as_json=as_json)
    return _extract_all(paths, folder or "", ring, context, as_json=as_json)


def _extract_one(
    path: str, output: str, ring: Keyring, context: str | None, *, as_json: bool
) -> int:
    if output == "-" and as_json:
        raise click.UsageError("--json and --output - would both be printed")
    if output == "-" and sys.stdout.isatty():
        raise click.UsageError(
            "a plain file is not for a terminal: redirect it, as in --output - > plain.pkl"
        )
    plain = extract_file(path, keyring=ring, context=context)
    if output == "-":
        sys.stdout.flush()
        sys.stdout.buffer.write(plain.data)
        sys.stdout.buffer.flush()
        return FINE
    plain.write_new(output)
    if as_json:
        print_json({"files": [_plain(Extracted(path, Outcome.EXTRACTED, output))]})
    else:
        click.echo(f"wrote {shown(output)}: it has no seal", err=True)
    return FINE


def _extract_all(
    paths: tuple[str, ...], folder: str, ring: Keyring, context: str | None, *, as_json: bool
) -> int:
    done: list[Extracted] = []
    stopped = False
    left_out = LeftOut()
    try:
        work = extract_all(paths, folder, keyring=ring, context=context, left_out=left_out)
        done.extend(tracked(work, "Extracting", lambda: sum(1 for _ in files_below(paths))))
    except KeyboardInterrupt:
        stopped = True
    if as_json:
        files = [_plain(one) for one in done]
        print_json({"interrupted": stopped, "left_out": left_out.to_dict(), "files": files})
    else:
        _show(done)
        print_lines(left_out_lines(left_out), stderr=True)
    if stopped:
        return INTERRUPTED
    outcomes = {one.outcome for one in done}
    if Outcome.FAILED in outcomes or not outcomes:
        return COULD_NOT_RUN
    return CHECK_FAILED if Outcome.REFUSED in outcomes else FINE


def _show(done: list[Extracted]) -> None:
    lines: list[Line] = []
    for one in done:
        if one.outcome not in _TROUBLE:
            continue
        mark, style = _TROUBLE[one.outcome]
        reason = describe(one.error)["message"] if one.error else shown(one.reason)
        lines.append([(f"{mark} {one.outcome.value}", style), (f"  {shown(one.path)}", "bold")])
        lines.append([(f"  {reason.removeprefix(f'{shown(one.path)}: ')}", "")])
    print_lines(lines)
    counts = Counter(one.outcome for one in done)
    parts = [f"{counts[kind]:,} {kind.value}" for kind in Outcome if counts[kind]]
    click.echo(f"{counted(len(done), 'file')}: {', '.join(parts) or 'nothing here'}", err=True)


def _plain(one: Extracted) -> dict[str, object]:
    fields: dict[str, object] = {
        "path": one.path,
        "outcome": one.outcome.value,
        "target": one.target,
        "reason": None if one.error else one.reason or None,
        "error": describe(one.error) if one.error else None,
    }
    return {name: value for name, value in fields.items() if value is not None}
