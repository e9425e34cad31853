"""`pickleseal adopt`: seal pickles and joblib files that exist already, as they are."""

import sys
import time
from collections.abc import Iterable, Iterator, Sequence

import click

from pickleseal.cli.batch import Run, fields_of, summary_of, trouble_lines
from pickleseal.cli.options import ANY_PATH, PathType, common
from pickleseal.cli.output import CouldNotRun, Line, guarded, print_lines, wants_json
from pickleseal.errors import counted, first_few, shown
from pickleseal.files.globs import Globs
from pickleseal.files.places import places_of, resolved, without_credentials
from pickleseal.keys.context import normalize_context
from pickleseal.keys.store.lookup import find_keyring
from pickleseal.migration.adopt import (
    Adopted,
    Preview,
    adopt_all,
    adoption_batch,
    read_digests,
    survey,
    with_free_places,
    with_own_contexts,
)
from pickleseal.migration.batch import Outcome, Result
from pickleseal.migration.contexts import has_placeholder
from pickleseal.migration.targets import Targets
from pickleseal.scanner.grade import NAMES_TOLD, Grade, judgement

_GRADES = {
    Grade.DATA: ("data only", "green"),
    Grade.UNKNOWN: ("unknown names", "yellow"),
    Grade.CANNOT_TELL: ("cannot be told", "bold yellow"),
    Grade.BEYOND: ("reaches beyond data", "bold red"),
}
_NAMES_SHOWN = 8
_FILES_SHOWN = 3
_LINES_SHOWN = 40


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH...", type=ANY_PATH)
@click.option(
    "--context",
    metavar="TEXT",
    help="The context to seal the files for. {name} is each file's name without its ending, such as"
    " fraud, and {path} has its folders below PATH, too, such as v1/fraud. Default: none.",
)
@click.option(
    "--to",
    "folder",
    metavar="DIR",
    type=PathType(file_okay=False),
    help="Write the sealed files into this folder. Default: replace the files.",
)
@click.option("--no-backup", is_flag=True, help="Do not keep the replaced files as NAME.unsealed.")
@click.option(
    "--accept",
    multiple=True,
    metavar="FILE",
    type=PathType(exists=True, dir_okay=False),
    help="Adopt this file although it reaches beyond data, or may. Repeatable.",
)
@click.option(
    "--digests",
    metavar="FILE",
    type=PathType(dir_okay=False, local=True),
    help="Adopt only files whose SHA-256 is in this list, as sha256sum writes it.",
)
@click.option(
    "--exclude",
    multiple=True,
    metavar="GLOB",
    help="Leave out files and folders that match. Repeatable.",
)
@click.option(
    "--yes", is_flag=True, help="Do not ask whether you made all of these files: you did."
)
@click.option("--dry-run", is_flag=True, help="Scan the files, and write nothing.")
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
) -> int:
    """Seal existing pickle and joblib files without unpickling them.

    Sealing a file says that you made it: never adopt what somebody sent you. Nothing is unpickled.
    You see what the files would import, and are asked. A file that reaches beyond data, or may, is
    refused unless you name it with --accept. Version control, environments and caches are left
    out. Each file is replaced atomically, and the original kept as NAME.unsealed. You can stop at
    any time, and run it again to go on.

    The exit code is 0 if all is sealed, 1 if a file was refused, 2 if one could not be read or
    written, there is none, or nobody said yes.

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
    targets = Targets(None if folder is None else places_of([folder])[0], not no_backup)
    listed = None if digests is None else _read_list(digests)
    run = Run(adoption_batch(paths, Globs.of(exclude)), "adopt")
    looks = survey(run.batch, keyring=keyring, context=context, accepted=accept, digests=listed)
    found = run.collect(looks, "Scanning")
    done: list[Result[Adopted]] = []
    scanning = run.interrupted
    if not scanning:
        _check_accepted(accept, found)
        found = with_own_contexts(found, context)
        found = list(with_free_places(found, keyring=ring, targets=targets))
        if not wants_json():
            each = dry_run or (own_contexts and not yes)
            print_lines(_survey_lines(found, each=each, own=own_contexts), stderr=not dry_run)
        ready = [one for one in found if one.outcome is Outcome.READY]
        if ready and not dry_run:
            _ask(len(ready), len(found), context, yes=yes)
            work = adopt_all(ready, keyring=ring, targets=targets)
            done = run.collect(work, "Sealing", lambda: len(ready))
    acts = {one.path: one for one in done}
    pairs = [(one, acts.get(one.path) if one.outcome is Outcome.READY else None) for one in found]
    last = [act or one for one, act in pairs]
    summary = [summary_of(last, {Outcome.READY: "would be adopted" if dry_run else "not adopted"})]
    if scanning:
        summary = []
    several = sum(one.outcome is Outcome.READY for one in found) > 1
    if dry_run and several and context is not None and not own_contexts:
        advice = f"all for '{shown(context)}': a context with {{path}} gives each file its own"
        summary.append([(advice, "")])
    if any(one.detail and one.detail.backup for one in done):
        summary.append(
            [("originals kept as NAME.unsealed: delete them once the sealed files load", "")]
        )
    return run.finish(
        last,
        files=(_fields(one, act) for one, act in pairs),
        facts={"primary": ring.primary, "dry_run": dry_run},
        lines=trouble_lines(done, most=_LINES_SHOWN),
        summary=summary,
        stopped="nothing was changed" if scanning or dry_run else "run it again to go on",
    )


def _checked(context: str | None) -> bool:
    """Return whether a context has a placeholder. Raises UsageError for one that is invalid."""
    try:
        own_contexts = has_placeholder(context)
    except ValueError as error:
        raise click.UsageError(f"--context: {error}") from None
    if context is not None:
        normalize_context(context)
    return own_contexts


def _check_accepted(accept: Sequence[str], found: Iterable[Result[Preview]]) -> None:
    """Raise CouldNotRun if an accepted file was not scanned: its path may be mistyped."""
    if not accept:
        return
    looked_at = (one for one in found if one.detail or one.outcome is not Outcome.SKIPPED)
    seen = {resolved(one.path) for one in looked_at}
    for path in accept:
        if resolved(path) not in seen:
            named = without_credentials(path)
            raise CouldNotRun(f"--accept {named}: it is not among the files that were scanned")


def _read_list(path: str) -> frozenset[str]:
    with open(path, encoding="utf-8", errors="replace") as file:
        try:
            return read_digests(file.read())
        except ValueError as error:
            raise CouldNotRun(f"{path}: {error}") from None


def _ask(count: int, seen: int, context: str | None, *, yes: bool) -> None:
    """Raise CouldNotRun unless a person says yes."""
    if yes:
        return
    what = f"{count:,} of {counted(seen, 'file')}" + (f" for '{shown(context)}'" if context else "")
    if wants_json() or not (sys.stdin and sys.stdin.isatty() and sys.stderr.isatty()):
        raise CouldNotRun(f"there is no terminal to ask on: to seal {what} as your own, add --yes")
    if not click.confirm(f"Did you make all of these files? Seal {what}?", default=False, err=True):
        raise CouldNotRun("nothing was sealed")


def _survey_lines(found: Sequence[Result[Preview]], *, each: bool, own: bool) -> Iterator[Line]:
    """Yield what is left alone and why, and what can be adopted: by grade, with its names.

    `each`: list each file that can be adopted, too. `own`: say what each is to be sealed for.
    """

    def of_file(one: Preview) -> Line:
        wanted = one.context if own else None
        path = shown(one.candidate.path)
        return [(f"  {path}", ""), (f"  for '{shown(wanted)}'" if wanted else "", "dim")]

    yield from trouble_lines(found, details=_details, most=_LINES_SHOWN)
    yield from _sealed_lines(found)
    ready = [one.detail for one in found if one.outcome is Outcome.READY and one.detail]
    for grade, (label, style) in _GRADES.items():
        of_grade = [one for one in ready if one.contents and one.contents.grade is grade]
        if of_grade:
            yield [(f"{label}  ", style), (counted(len(of_grade), "file"), "bold")]
        if grade >= Grade.CANNOT_TELL:  # each of them was accepted by its name
            for one in of_grade:
                yield of_file(one)
                yield from ([(f"    {shown(text)}", "dim")] for text in _why(one))
            continue
        if each:
            yield from map(of_file, of_grade)
        if grade is Grade.UNKNOWN:
            yield from _by_package(of_grade)


def _sealed_lines(found: Sequence[Result[Preview]]) -> Iterator[Line]:
    """Yield the files that are sealed for another context, and stay as they are."""
    others = [one for one in found if one.outcome is Outcome.ALREADY_SEALED and one.reason]
    if others:
        yield [("left as they are  ", "green"), (counted(len(others), "file"), "bold")]
    for one in others[:_LINES_SHOWN]:
        yield [(f"  {shown(one.path)}", ""), (f"  {shown(one.reason)}", "dim")]
    if len(others) > _LINES_SHOWN:
        yield [(f"  and {len(others) - _LINES_SHOWN:,} more: see --json", "dim")]


def _by_package(found: Sequence[Preview]) -> Iterator[Line]:
    """Yield the unknown names of each package and its files, the commonest package first.

    No package is left out: the user is about to be asked for consent to all of them.
    """
    packages: dict[str, tuple[dict[str, None], dict[str, None]]] = {}
    for one in found:
        for name in _names(one):
            names, files = packages.setdefault(name.partition(".")[0], ({}, {}))
            names[name] = files[one.candidate.path] = None
    for package, (names, files) in sorted(packages.items(), key=lambda item: -len(item[1][1])):
        what = package if len(names) > 1 else next(iter(names))
        total = f": {len(names):,} names" if len(names) > 1 else ""
        where = f"  in {counted(len(files), 'file')}: {first_few(files, _FILES_SHOWN)}"
        yield [(f"  {shown(what)}{total}", ""), (where, "dim")]
        if len(names) > 1:
            rest = ": see --dry-run --json"
            yield [(f"    {first_few(names, _NAMES_SHOWN, rest)}", "dim")]


def _names(one: Preview) -> list[str]:
    names = one.contents.names if one.contents else ()
    return [str(n) for n in names if n.grade is not Grade.DATA]


def _details(one: Result[Preview]) -> list[str]:
    if one.detail is None or one.detail.contents is None or one.outcome is not Outcome.REFUSED:
        return []
    told = NAMES_TOLD if judgement(one.detail.contents) in one.reason else 0
    return [text for text in _why(one.detail, told) if text not in one.reason]


def _why(one: Preview, told: int = 0) -> list[str]:
    """Return the names and reasons that a grade rests on, without the names told already."""
    texts = [first_few(names, _NAMES_SHOWN)] if (names := _names(one)[told:]) else []
    return [*texts, *(one.contents.reasons[:2] if one.contents else ())]


def _fields(found: Result[Preview], act: Result[Adopted] | None) -> dict[str, object]:
    preview = found.detail
    if preview is None:
        return fields_of(found)
    adopted = act.detail if act else None
    fields = fields_of(
        act or found,
        context=preview.context if preview.envelope or found.outcome is Outcome.READY else None,
        sha256=preview.sha256,
        target=adopted and adopted.target,
        backup=adopted and adopted.backup,
    )
    contents = preview.contents
    if contents is not None:
        fields["kind"] = contents.kind
        fields["grade"] = contents.grade.label
        fields["names"] = [[n.module, n.name, n.grade.label] for n in contents.names]
    return fields
