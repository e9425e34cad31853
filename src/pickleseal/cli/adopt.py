"""`pickleseal adopt`: seal pickles and joblib files that exist already, as they are."""

import os
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence

import click

from pickleseal.cli.options import PathType, common, not_empty
from pickleseal.cli.output import (
    CHECK_FAILED,
    COULD_NOT_RUN,
    FINE,
    INTERRUPTED,
    CouldNotRun,
    Line,
    counted,
    guarded,
    left_out_lines,
    print_json,
    print_lines,
)
from pickleseal.cli.progress import tracked
from pickleseal.errors import shown
from pickleseal.files.globs import Globs
from pickleseal.files.walk import LeftOut
from pickleseal.keys.context import normalize_context
from pickleseal.keys.store.lookup import find_keyring
from pickleseal.migration.adopt import (
    Adopted,
    Outcome,
    Place,
    Surveyed,
    adopt_all,
    context_of,
    files_to_adopt,
    has_placeholder,
    read_digests,
    survey,
    told_apart,
    unhindered,
)
from pickleseal.scanner.grade import Grade

_GRADES = {
    Grade.DATA: ("data only", "green"),
    Grade.UNKNOWN: ("unknown names", "yellow"),
    Grade.CANNOT_TELL: ("cannot be told", "bold yellow"),
    Grade.BEYOND: ("reaches beyond data", "bold red"),
}
_NAMES_SHOWN = 8
_LINES_SHOWN = 40
_FILES_SHOWN = 3
_TROUBLE = {
    Outcome.SKIPPED: ("-", "yellow"),
    Outcome.REFUSED: ("✗", "bold red"),
    Outcome.FAILED: ("✗", "bold red"),
}


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option(
    "--context",
    metavar="TEXT",
    help="What to seal the files for; {name} in it stands for each file's name without its ending,"
    " as fraud in fraud.pkl and fraud.pkl.gz, and {path} for its folders below PATH as well, as"
    " v1/fraud. Default: nothing.",
)
@click.option(
    "--to",
    "folder",
    metavar="DIR",
    type=PathType(file_okay=False),
    callback=not_empty,
    help="Write the envelopes here, in folders as the files lie in. Default: in their places.",
)
@click.option("--no-backup", is_flag=True, help="Keep no NAME.unsealed beside each envelope.")
@click.option(
    "--accept",
    multiple=True,
    metavar="FILE",
    type=PathType(exists=True, dir_okay=False),
    help="Adopt this file though it reaches beyond data, or that cannot be told. Repeatable.",
)
@click.option(
    "--digests",
    metavar="FILE",
    type=PathType(dir_okay=False),
    help="Adopt only files whose SHA-256 stands in this list, as sha256sum writes it.",
)
@click.option(
    "--exclude", multiple=True, metavar="GLOB", help="Leave files and folders like this alone."
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
    exclude: tuple[str, ...],
    yes: bool,
    dry_run: bool,
    keyring: str | None,
    as_json: bool,
) -> int:
    """Seal pickles and joblib files that exist already, as they are.

    To seal a file is to say that you made it: adopt nothing that somebody sent you. Nothing is
    unpickled. Each file is looked at first, and what it would import is shown; then you are asked.
    What reaches beyond data, or may, is refused unless you name it with --accept. Folders of
    version control, environments and caches are left alone. An envelope takes its
    file's place as a whole or not at all, and the file stays beside it as NAME.unsealed. Stop it
    at any time: begun again, it goes on.

    The exit code is 0 where all is sealed, 1 where a file was refused, 2 where one could not be
    read or written, or nobody said yes.

    \b
    Examples:
      pickleseal adopt --context fraud/v3 model.pkl
      pickleseal adopt models/ --context 'models/{path}' --dry-run
      pickleseal adopt models/ --to sealed/
      pickleseal adopt models/ --digests known.sha256 --yes
    """
    own_contexts = _checked(context)
    ring = find_keyring(keyring)
    ring.sealing_entry(now=time.time())
    place = Place(folder, not no_backup)
    listed = None if digests is None else _read_list(digests)
    found: list[Surveyed] = []
    done: list[Adopted] = []
    stopped = False
    excluded = Globs.of(exclude, os.getcwd())
    left_out = LeftOut()
    try:
        looks = survey(
            paths,
            keyring=ring,
            context=context,
            accepted=accept,
            digests=listed,
            exclude=excluded,
            left_out=left_out,
        )
        total = lambda: sum(1 for _ in files_to_adopt(paths, excluded))  # noqa: E731 - asked once
        found.extend(tracked(looks, "Looking", total))
        _check_accepted(accept, found)
        found = told_apart(found, context)
        found = list(unhindered(found, keyring=ring, place=place, context=context))
        if not as_json:
            each = dry_run or (own_contexts and not yes)
            told = context if own_contexts else None
            print_lines(_survey_lines(found, told, each=each), stderr=not dry_run)
        ready = [one for one in found if one.outcome is Outcome.READY]
        if ready and not dry_run:
            _ask(len(ready), len(found), context, yes=yes, as_json=as_json)
            work = adopt_all(ready, keyring=ring, place=place, context=context)
            done.extend(tracked(work, "Sealing", lambda: len(ready)))
    except KeyboardInterrupt:
        stopped = True
    if as_json:
        print_json(
            {
                "primary": ring.primary,
                "dry_run": dry_run,
                "interrupted": stopped,
                "left_out": left_out.to_dict(),
                "files": _plain(found, done, context),
            }
        )
    else:
        print_lines(_trouble_lines(done))
        _summarize(found, done, dry_run=dry_run)
        print_lines(left_out_lines(left_out), stderr=True)
    if stopped:
        click.echo("stopped: begin it again, and it goes on", err=True)
        return INTERRUPTED
    outcomes = {one.outcome for one in found} | {one.outcome for one in done}
    if Outcome.FAILED in outcomes or not found:
        return COULD_NOT_RUN
    return CHECK_FAILED if Outcome.REFUSED in outcomes else FINE


def _checked(context: str | None) -> bool:
    """Tell whether each file is sealed for something of its own, if it can be sealed for it."""
    try:
        own_contexts = has_placeholder(context)
    except ValueError as error:
        raise click.UsageError(f"--context: {error}") from None
    if context is not None:
        normalize_context(context)
    return own_contexts


def _check_accepted(accept: Iterable[str], found: Iterable[Surveyed]) -> None:
    """Return if each file that is accepted was looked at: else a typing error has no effect."""
    seen = {one.real for one in found}
    for path in accept:
        if os.path.realpath(path) not in seen:
            raise CouldNotRun(f"--accept {path}: it is none of the files that were looked at")


def _read_list(path: str) -> frozenset[str]:
    with open(path, encoding="utf-8", errors="replace") as file:
        try:
            return read_digests(file.read())
        except ValueError as error:
            raise CouldNotRun(f"{path}: {error}") from None


def _ask(count: int, seen: int, context: str | None, *, yes: bool, as_json: bool) -> None:
    """Return if a person says yes."""
    if yes:
        return
    what = f"{count:,} of {counted(seen, 'file')}" + (f" for '{shown(context)}'" if context else "")
    if as_json or not (sys.stdin and sys.stdin.isatty() and sys.stderr.isatty()):
        raise CouldNotRun(f"nobody is here to ask: to seal {what} as your own, give --yes")
    if not click.confirm(
        f"Did you make all that is to be sealed? Seal {what}?", default=False, err=True
    ):
        raise CouldNotRun("nothing was sealed")


def _survey_lines(found: Sequence[Surveyed], context: str | None, *, each: bool) -> list[Line]:
    """Tell what is left alone and why, and what is ready to be adopted: by grade, with its names.

    `each`: tell each file that is ready, too. `context`: tell what each is to be sealed for.
    """

    def of_file(one: Surveyed) -> Line:
        wanted = context_of(one.path, one.root, context)
        return [(f"  {shown(one.path)}", ""), (f"  for '{shown(wanted)}'" if wanted else "", "dim")]

    lines = _trouble_lines(found)
    for grade, (label, style) in _GRADES.items():
        of_grade = [
            one
            for one in found
            if one.outcome is Outcome.READY and one.contents and one.contents.grade is grade
        ]
        if of_grade:
            lines.append([(f"{label}  ", style), (counted(len(of_grade), "file"), "bold")])
        if grade >= Grade.CANNOT_TELL:  # each of them was accepted by its name
            for one in of_grade:
                lines.append(of_file(one))
                lines += [[(f"    {text}", "dim")] for text in _why(one)]
            continue
        if each:
            lines += map(of_file, of_grade)
        if grade is Grade.UNKNOWN:
            lines += _by_name(of_grade)
    return lines


def _trouble_lines(found: Iterable[Surveyed | Adopted]) -> list[Line]:
    """Tell what is not adopted, together where the reason is the same."""
    groups: dict[tuple[Outcome, str], list[Surveyed | Adopted]] = {}
    for one in found:
        if one.outcome in _TROUBLE:
            groups.setdefault((one.outcome, one.reason), []).append(one)
    lines: list[Line] = []
    for (outcome, reason), ones in groups.items():
        mark, style = _TROUBLE[outcome]
        what = shown(ones[0].path) if len(ones) == 1 else counted(len(ones), "file")
        lines.append([(f"{mark} {outcome.value}", style), (f"  {what}", "bold")])
        lines.append([(f"  {shown(reason)}", "")])
        shown_ones = ones[:_FILES_SHOWN] if outcome is Outcome.SKIPPED else ones[:_LINES_SHOWN]
        for one in shown_ones:
            if len(ones) > 1:
                lines.append([(f"    {shown(one.path)}", "")])
            if isinstance(one, Surveyed) and outcome is Outcome.REFUSED:
                lines += [[(f"      {text}", "dim")] for text in _why(one)]
        more = len(ones) - len(shown_ones)
        if more:
            lines.append([(f"    and {more:,} more: see --dry-run --json", "dim")])
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


def _summarize(found: Sequence[Surveyed], done: Sequence[Adopted], *, dry_run: bool) -> None:
    ready = sum(one.outcome is Outcome.READY for one in found)
    counts = Counter([one.outcome for one in found] + [one.outcome for one in done])
    counts[Outcome.READY] = ready - len(done)
    words = {Outcome.READY: "would be adopted" if dry_run else "not adopted"}
    parts = [f"{counts[kind]:,} {words.get(kind, kind.value)}" for kind in Outcome if counts[kind]]
    click.echo(f"{counted(len(found), 'file')}: {', '.join(parts) or 'nothing here'}", err=True)
    if any(one.backup for one in done):
        click.echo("the files as they were lie beside theirs as NAME.unsealed", err=True)


def _plain(
    found: Sequence[Surveyed], done: Sequence[Adopted], context: str | None
) -> list[dict[str, object]]:
    acts = {one.path: one for one in done}
    listed = []
    for one in found:
        act = acts.get(one.path)
        fields: dict[str, object] = {
            "path": one.path,
            "outcome": (act or one).outcome.value,
            "reason": (act or one).reason,
            "context": context_of(one.path, one.root, context)
            if one.outcome is Outcome.READY
            else None,
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
