"""`pickleseal adopt`: seal pickles and joblib files that exist already, as they are."""

import sys
import time
from collections import Counter
from collections.abc import Sequence

import click

from pickleseal.adopting import (
    Adopted,
    Outcome,
    Place,
    Surveyed,
    adopt_all,
    read_digests,
    survey,
)
from pickleseal.auditing.findings import Grade
from pickleseal.cli.options import common
from pickleseal.cli.output import (
    CHECK_FAILED,
    COULD_NOT_RUN,
    FINE,
    INTERRUPTED,
    CouldNotRun,
    Line,
    counted,
    guarded,
    print_json,
    print_lines,
)
from pickleseal.cli.progress import tracked
from pickleseal.errors import shown
from pickleseal.keystore.sources import find_keyring
from pickleseal.metadata import normalize_context
from pickleseal.walk import files_below

_GRADES = {
    Grade.DATA: ("data only", "green"),
    Grade.UNKNOWN: ("unknown names", "yellow"),
    Grade.BEYOND: ("reaches beyond data", "bold red"),
}
_NAMES_SHOWN = 8
_LINES_SHOWN = 40
_TROUBLE = (Outcome.REFUSED, Outcome.FAILED)


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option("--context", metavar="TEXT", help="What to seal the files for. Default: nothing.")
@click.option(
    "--to",
    "folder",
    metavar="DIR",
    type=click.Path(file_okay=False),
    help="Write the envelopes here, in folders as the files lie in. Default: in their places.",
)
@click.option("--no-backup", is_flag=True, help="Keep no NAME.unsealed beside each envelope.")
@click.option(
    "--accept",
    multiple=True,
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False),
    help="Adopt this file though it reaches beyond data. May be given several times.",
)
@click.option(
    "--digests",
    metavar="FILE",
    type=click.Path(dir_okay=False),
    help="Adopt only files whose SHA-256 stands in this list, as sha256sum writes it.",
)
@click.option("--yes", is_flag=True, help="Do not ask: you made all of these files.")
@click.option("--dry-run", is_flag=True, help="Look at the files, and write nothing.")
@common
@guarded
def adopt(
    paths: tuple[str, ...],
    *,
    context: str | None,
    folder: str | None,
    no_backup: bool,
    accept: tuple[str, ...],
    digests: str | None,
    yes: bool,
    dry_run: bool,
    keyring: str | None,
    as_json: bool,
) -> int:
    """Seal pickles and joblib files that exist already, as they are.

    To seal a file is to say that you made it: adopt nothing that somebody sent you. Nothing is
    unpickled. Each file is looked at first, and what it would import is shown; then you are asked.
    What reaches beyond data is refused unless you name it with --accept. An envelope takes its
    file's place as a whole or not at all, and the file stays beside it as NAME.unsealed. Stop it
    at any time: begun again, it goes on.

    The exit code is 0 where all is sealed, 1 where a file was refused, 2 where one could not be
    read or written, or nobody said yes.

    \b
    Examples:
      pickleseal adopt --context fraud/v3 model.pkl
      pickleseal adopt models/ --to sealed/
      pickleseal adopt models/ --digests known.sha256 --yes
    """
    ring = find_keyring(keyring)
    ring.sealing_key(
        context=None if context is None else normalize_context(context), now=time.time()
    )
    listed = None if digests is None else _read_list(digests)
    found: list[Surveyed] = []
    done: list[Adopted] = []
    stopped = False
    try:
        looks = survey(paths, accepted=accept, digests=listed)
        found.extend(tracked(looks, "Looking", lambda: sum(1 for _ in files_below(paths))))
        if not as_json:
            print_lines(_survey_lines(found), stderr=not dry_run)
        ready = [one for one in found if one.outcome is Outcome.READY]
        if ready and not dry_run:
            _ask(len(ready), context, yes=yes, as_json=as_json)
            work = adopt_all(
                ready, keyring=ring, place=Place(folder, not no_backup), context=context
            )
            done.extend(tracked(work, "Sealing", lambda: len(ready)))
    except KeyboardInterrupt:
        stopped = True
    if as_json:
        print_json(
            {
                "primary": ring.primary,
                "dry_run": dry_run,
                "interrupted": stopped,
                "files": _plain(found, done),
            }
        )
    else:
        _show(found, done, dry_run=dry_run)
    if stopped:
        click.echo("stopped: begin it again, and it goes on", err=True)
        return INTERRUPTED
    outcomes = {one.outcome for one in found} | {one.outcome for one in done}
    if Outcome.FAILED in outcomes or not found:
        return COULD_NOT_RUN
    return CHECK_FAILED if Outcome.REFUSED in outcomes else FINE


def _read_list(path: str) -> frozenset[str]:
    with open(path, encoding="utf-8", errors="replace") as file:
        try:
            return read_digests(file.read())
        except ValueError as error:
            raise CouldNotRun(f"{path}: {error}") from None


def _ask(count: int, context: str | None, *, yes: bool, as_json: bool) -> None:
    """Return if a person says yes."""
    if yes:
        return
    what = f"{counted(count, 'file')}" + (f" for '{shown(context)}'" if context else "")
    if as_json or not (sys.stdin and sys.stdin.isatty() and sys.stderr.isatty()):
        raise CouldNotRun(f"nobody is here to ask: to seal {what} as your own, give --yes")
    if not click.confirm(f"Did you make all of them? Seal {what}?", default=False, err=True):
        raise CouldNotRun("nothing was sealed")


def _survey_lines(found: Sequence[Surveyed]) -> list[Line]:
    """Tell what is ready to be adopted: by grade, with the names that are not known."""
    lines: list[Line] = []
    for grade, (label, style) in _GRADES.items():
        of_grade = [
            one
            for one in found
            if one.outcome is Outcome.READY and one.contents and one.contents.grade is grade
        ]
        if of_grade:
            lines.append([(f"{label}  ", style), (counted(len(of_grade), "file"), "bold")])
        if grade is Grade.UNKNOWN:
            lines += _by_name(of_grade)
        elif grade is Grade.BEYOND:  # each of them was accepted by its name
            for one in of_grade:
                lines.append([(f"  {shown(one.path)}", "")])
                lines += [[(f"    {text}", "dim")] for text in _why(one)]
    return lines


def _by_name(found: Sequence[Surveyed]) -> list[Line]:
    """Tell each name that is not known once, however many files there are."""
    files: dict[str, list[str]] = {}
    for one in found:
        for name in _names(one):
            files.setdefault(name, []).append(one.path)
    lines: list[Line] = [
        [(f"  {name}", ""), (f"  in {counted(len(paths), 'file')}: {shown(paths[0])}", "dim")]
        for name, paths in sorted(files.items(), key=lambda item: -len(item[1]))
    ]
    more = len(lines) - _LINES_SHOWN
    told: list[Line] = [[(f"  and {more:,} more names: see --dry-run --json", "")]]
    return lines if more <= 0 else lines[:_LINES_SHOWN] + told


def _names(one: Surveyed) -> list[str]:
    names = one.contents.names if one.contents else ()
    return [shown(f"{n.module}.{n.name}") for n in names if n.grade is not Grade.DATA]


def _why(one: Surveyed) -> list[str]:
    """Give the names and reasons that a grade rests on, as briefly as it may be."""
    names = _names(one)
    more = [f"and {len(names) - _NAMES_SHOWN} more"] if len(names) > _NAMES_SHOWN else []
    reasons = one.contents.reasons[:2] if one.contents else ()
    texts = [", ".join([*names[:_NAMES_SHOWN], *more])] if names else []
    return [*texts, *map(shown, reasons)]


def _show(found: Sequence[Surveyed], done: Sequence[Adopted], *, dry_run: bool) -> None:
    lines = _skipped_lines(found)
    both: list[Surveyed | Adopted] = [*found, *done]
    for one in both:
        if one.outcome not in _TROUBLE:
            continue
        lines.append([(f"✗ {one.outcome.value}", "bold red"), (f"  {shown(one.path)}", "bold")])
        lines.append([(f"  {shown(one.reason)}", "")])
        if isinstance(one, Surveyed):
            lines += [[(f"    {text}", "dim")] for text in _why(one)]
    print_lines(lines)
    ready = sum(one.outcome is Outcome.READY for one in found)
    counts = Counter(one.outcome for one in both)
    counts[Outcome.READY] = ready - len(done)
    words = {Outcome.READY: "would be adopted" if dry_run else "not adopted"}
    parts = [f"{counts[kind]:,} {words.get(kind, kind.value)}" for kind in Outcome if counts[kind]]
    click.echo(f"{counted(len(found), 'file')}: {', '.join(parts) or 'nothing here'}", err=True)
    if any(one.backup for one in done):
        click.echo("the files as they were lie beside theirs as NAME.unsealed", err=True)


def _skipped_lines(found: Sequence[Surveyed]) -> list[Line]:
    """Tell what was left alone, in one line for each reason."""
    reasons: dict[str, list[str]] = {}
    for one in found:
        if one.outcome is Outcome.SKIPPED:
            reasons.setdefault(one.reason, []).append(one.path)
    lines: list[Line] = []
    for reason, paths in reasons.items():
        what = shown(paths[0]) if len(paths) == 1 else counted(len(paths), "file")
        lines.append([("- skipped", "yellow"), (f"  {what}", "bold"), (f": {shown(reason)}", "")])
    return lines


def _plain(found: Sequence[Surveyed], done: Sequence[Adopted]) -> list[dict[str, object]]:
    acts = {one.path: one for one in done}
    listed = []
    for one in found:
        act = acts.get(one.path)
        fields: dict[str, object] = {
            "path": one.path,
            "outcome": (act or one).outcome.value,
            "reason": (act or one).reason,
            "sha256": one.sha256,
            "target": act and act.target,
            "backup": act and act.backup,
        }
        if one.contents is not None:
            fields["kind"] = one.contents.kind
            fields["grade"] = one.contents.grade.label
            fields["names"] = [[n.module, n.name, n.grade.label] for n in one.contents.names]
        listed.append({name: value for name, value in fields.items() if value not in (None, "")})
    return listed
