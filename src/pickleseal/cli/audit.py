"""`pickleseal audit`: check every file below a path."""

import os
import sys
import time
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import TypedDict, Unpack

import click

from pickleseal.auditing.audit import Audit
from pickleseal.auditing.audit import audit as audit_paths
from pickleseal.auditing.findings import Finding, Verdict
from pickleseal.auditing.judge import AuditOptions, examine
from pickleseal.auditing.report import FAIL_ON, MAX_LISTED, Report, fails
from pickleseal.cli.findings import summary
from pickleseal.cli.options import ANY_PATH, FILE, PathType, using
from pickleseal.cli.output import (
    CHECK_FAILED,
    COULD_NOT_RUN,
    FINE,
    CouldNotRun,
    guarded,
    left_out_lines,
    print_lines,
)
from pickleseal.cli.progress import tracked
from pickleseal.cli.readers import readers, reading
from pickleseal.cli.reports import FORMATS, Listing, Reports
from pickleseal.cli.settings import Settings, read_settings
from pickleseal.errors import SealError, check_path, counted, shown
from pickleseal.files.places import is_url, places_of, resolved, without_credentials
from pickleseal.files.walk import Found
from pickleseal.keys.context import normalize_context
from pickleseal.keys.keyring import Keyring
from pickleseal.keys.store.lookup import find_keyring
from pickleseal.persistence.inventory import CONTENT, first_line
from pickleseal.persistence.inventory_file import write_text


class _Asked(TypedDict):
    """The options that are arguments of the library's `audit`, by their names."""

    context: str | Mapping[str, str] | None
    include: tuple[str, ...]
    exclude: tuple[str, ...]
    imports: bool
    known: tuple[str, ...]
    deep: bool
    baseline: str | None
    baseline_context: str | None
    baseline_sha256: str | None
    pins: str | None
    since: str | None


def _output(text: str) -> tuple[str, str]:
    """Return the format and the file of `FORMAT=FILE`."""
    kind, equals, file = text.partition("=")
    if kind not in FORMATS or not equals or not file:
        raise click.BadParameter(
            f"'{text}' is not FORMAT=FILE, such as sarif=audit.sarif. The formats are"
            f" {', '.join(FORMATS)}; --html FILE writes HTML"
        )
    return kind, file


@click.command()
@click.argument("paths", nargs=-1, metavar="[PATH]...", type=ANY_PATH)
@click.option(
    "--context",
    metavar="TEXT",
    help="The context that sealed files must have, or its beginning, as in 'fraud/*'.",
)
@click.option(
    "--include",
    multiple=True,
    metavar="GLOB",
    help="Check only files that match, such as '*.pkl'; with a /, from the current folder.",
)
@click.option(
    "--exclude", multiple=True, metavar="GLOB", help="Leave out files and folders that match."
)
@click.option(
    "--deep",
    is_flag=True,
    help="Search all of large files for pickles, not their first 64 MiB.",
)
@click.option("--imports", is_flag=True, help="Show what sealed pickles would import, too.")
@click.option(
    "--known",
    multiple=True,
    metavar="MODULE",
    help="Count names in this module of yours, and below it, as known.",
)
@click.option(
    "--format",
    "kind",
    type=click.Choice(["text", *FORMATS]),
    default="text",
    help="What to print. Default: text.",
)
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.option(
    "--all", "every", is_flag=True, help=f"List all files of each group, not {MAX_LISTED} at most."
)
@click.option(
    "--output",
    "outputs",
    multiple=True,
    type=_output,
    metavar="FORMAT=FILE",
    help="Write json, jsonl or sarif to a file, too. Repeatable.",
)
@click.option(
    "--html",
    "page",
    metavar="FILE",
    type=FILE,
    help="Write a web page that needs no network.",
)
@click.option("--inventory", metavar="FILE", type=FILE, help="Write a sealed list of the files.")
@click.option(
    "--inventory-context", metavar="TEXT", help="The context to seal the list for. Default: none."
)
@click.option(
    "--baseline",
    metavar="FILE",
    type=FILE,
    help="Report what changed since this list was written.",
)
@click.option("--baseline-context", metavar="TEXT", help="The context of that list. Default: none.")
@click.option(
    "--baseline-sha256",
    metavar="HEX",
    help="The SHA-256 of that list's file, so that no older list can replace it.",
)
@click.option(
    "--since",
    type=FILE,
    metavar="FILE",
    help="Do not read objects of a store again that this report, in jsonl, found sealed and whole,"
    " and that the store lists unchanged.",
)
@click.option(
    "--pins",
    metavar="FILE",
    type=PathType(dir_okay=False),
    help="The file of pins, to report older files. Default: PICKLESEAL_PINS.",
)
@reading
@click.option(
    "--no-settings", is_flag=True, help="Do not read pyproject.toml: for folders of others."
)
@click.option(
    "--fail-on",
    type=click.Choice(FAIL_ON),
    help="Exit with 1 for findings of this level or above; unknown is warning without unsealed"
    " files that are data only. Default: warning.",
)
@using
@guarded
def audit(
    *,
    paths: tuple[str, ...],
    kind: str,
    every: bool,
    outputs: tuple[tuple[str, str], ...],
    page: str | None,
    inventory: str | None,
    inventory_context: str | None,
    jobs: int | None,
    backend: str | None,
    scheduler: str | None,
    recheck: float | None,
    no_settings: bool,
    fail_on: str | None,
    keyring: str | None,
    **asked: Unpack[_Asked],
) -> int:
    """Check every file under PATH.

    Who sealed it, with which of your keys, whether it is intact, and what an unsealed file would
    import. Nothing is unpickled. Without a PATH, those in pyproject.toml, [tool.pickleseal.audit],
    are checked. Files of version control, environments and caches are only counted.

    The exit code is 0 if nothing found is as severe as --fail-on, 1 if something is, 2 if that is a
    file that can't be read (a warning), there is nothing to audit or it could not run.

    \b
    Examples:
      pickleseal audit models/
      pickleseal audit models/ --html report.html
      pickleseal audit models/ --inventory models.inventory
      pickleseal audit models/ --baseline models.inventory --format sarif
    """
    if click.get_current_context().params["as_json"]:
        if kind not in ("text", "json"):
            raise click.UsageError(f"--json and --format {kind} exclude each other")
        kind = "json"
    settings = Settings() if no_settings else read_settings()
    roots = paths or settings.paths
    if not roots:
        raise click.UsageError(
            "name a PATH, or set paths under [tool.pickleseal.audit] in pyproject.toml"
        )
    asked["include"] += settings.include
    asked["exclude"] += settings.exclude
    asked["known"] += settings.known
    asked["imports"] |= settings.imports
    if asked["context"] is None:
        asked["context"] = settings.context
    if asked["baseline"] is None:
        asked["baseline"] = settings.baseline
    baseline, since = asked["baseline"], asked["since"]
    if baseline is None and (asked["baseline_context"], asked["baseline_sha256"]) != (None, None):
        raise click.UsageError("--baseline-context and --baseline-sha256 go with --baseline")
    if inventory is None and inventory_context is not None:
        raise click.UsageError("--inventory-context goes with --inventory")
    if since is not None and (inventory is not None or baseline is not None):
        raise click.UsageError(
            "--since goes without --inventory and --baseline: what is not read cannot be listed or"
            " compared"
        )
    files = [file for _, file in outputs] + ([] if page is None else [page])
    _check_outputs(files, inventory, roots if since is None else (*roots, since))
    list_ring = _ring_for_list(keyring, inventory_context) if inventory else None
    listing = None if list_ring is None else Listing()
    if listing is not None:
        click.get_current_context().call_on_close(listing.text.close)
    failing = unread = False
    with (
        readers(jobs, backend, scheduler, recheck) as who,
        Reports(kind, outputs, page, most=None if every else MAX_LISTED) as reports,
    ):
        try:
            audited = audit_paths(
                roots,
                keyring=keyring,
                digests=inventory is not None,
                marks="jsonl" in (kind, *(name for name, _ in outputs)),
                **asked,
                **who._asdict(),
            )
        except SealError as error:
            raise CouldNotRun(f"the baseline cannot be used: {error}") from None
        reports.open()
        for finding in _followed(audited, kind):
            if fails(finding, fail_on or settings.fail_on):
                failing = True
                unread |= finding.verdict is Verdict.UNREADABLE
            reports.add(finding)
            if listing is not None:
                listing.add(finding)
        report = audited.report()._replace(settings=settings.file)
        reports.print(report)
        _print_summary(report, settings)
        reports.write(report)
    if listing is not None and list_ring is not None and inventory is not None:
        _write_list(listing, report.started, inventory, list_ring, inventory_context)
    if unread or not _looked_at(report):
        return COULD_NOT_RUN
    return CHECK_FAILED if failing else FINE


def _followed(audited: Audit, kind: str) -> Iterator[Finding]:
    """Yield the findings of an audit, with its progress unless lines are printed on a terminal."""
    if kind == "jsonl" and sys.stdout is not None and sys.stdout.isatty():
        return audited.stream()
    return tracked(audited.stream(), "Auditing", lambda: sum(1 for _ in audited.files()))


def _check_outputs(files: list[str], inventory: str | None, roots: tuple[str, ...]) -> None:
    """Raise CouldNotRun before the work begins if a target cannot be written or is an artifact."""
    targets = [*files, *([inventory] if inventory else [])]
    for number, target in enumerate(targets):
        check_path(target)
        if target == "-":
            raise CouldNotRun("to print a report, use --format")
        local, named = not is_url(target), without_credentials(target)
        folder = os.path.dirname(target) or os.curdir
        if local and (os.path.isdir(target) or not os.path.isdir(folder)):
            raise CouldNotRun(
                f"{named} cannot be written: it is a folder, or its folder does not exist"
            )
        if resolved(target) in map(resolved, (*targets[:number], *roots)):
            raise CouldNotRun(f"{named} is named twice: it would be overwritten")
        finding = _there(target)
        if finding is None:
            continue
        is_old_list = target == inventory and _is_list(finding)
        if finding.verdict is not Verdict.NO_PICKLE and not is_old_list:
            raise CouldNotRun(
                f"{named} is not overwritten: {_what(finding)}. Name another file for the report"
            )


def _is_list(finding: Finding) -> bool:
    metadata = finding.envelope.metadata if finding.envelope else None
    return metadata is not None and metadata.content == CONTENT


def _what(finding: Finding) -> str:
    """Describe a file that a report must not overwrite."""
    if finding.verdict is Verdict.UNREADABLE:
        return "it cannot be read"
    if finding.verdict is Verdict.UNSEALED:
        return "it holds a pickle or an array"
    kind = "list" if _is_list(finding) else "file"
    return f"it is a sealed {kind}"


def _there(path: str) -> Finding | None:
    """Return what is at a path or a URL, or None."""
    (place,) = places_of([path])
    there = os.path.exists(place) if isinstance(place, str) else place.exists()
    return examine(Found.at(place), AuditOptions(None)) if there else None


def _looked_at(report: Report) -> bool:
    return any(verdict is not Verdict.SKIPPED for verdict in report.verdicts)


def _print_summary(report: Report, settings: Settings) -> None:
    if settings.file is not None:
        print_lines([[(f"settings from {shown(settings.file)}", "dim")]], stderr=True)
    if _looked_at(report):
        print_lines([summary(report)], stderr=True)
    else:
        where = ", ".join(shown(root) for root in report.roots)
        left_out = f", {report.counts.levels.total():,} left out" if report.verdicts else ""
        text = f"no file in {where}{left_out}"
        print_lines([[("nothing to audit: ", "bold red"), (text, "")]], stderr=True)
    if report.workers is not None:
        print_lines([[(shown(report.workers.sentence), "dim")]], stderr=True)
    if report.counts.partly:
        text = f"searched only the first 64 MiB of {counted(report.counts.partly, 'file')}"
        print_lines([[(f"{text}: --deep searches all", "dim")]], stderr=True)
    if report.not_read:
        print_lines([[(report.about_not_read, "dim")]], stderr=True)
    print_lines(left_out_lines(report.left_out), stderr=True)


def _ring_for_list(keyring: str | None, context: str | None) -> Keyring:
    """Return the keyring that seals the inventory; fail early if it cannot."""
    ring = find_keyring(keyring)
    ring.sealing_key(
        context=None if context is None else normalize_context(context), now=time.time()
    )
    return ring


def _write_list(
    listing: Listing, started: int, path: str, ring: Keyring, context: str | None
) -> None:
    """Write a list of artifacts; a good one of yesterday's does not give way to a slip's."""
    errors, left_out = listing.errors, listing.left_out
    if listing.unread or not listing.listed:
        what = (
            f"{listing.unread} could not be read"
            if listing.unread
            else "there is no pickle to list"
        )
        raise CouldNotRun(f"{what}: no list was written")
    first = first_line(started)
    before = _there(path)
    older = before is not None and _is_list(before)
    sha256 = write_text(
        chain([first], listing.text.pieces()),
        len(first) + listing.text.size,
        places_of([path])[0],
        keyring=ring,
        context=context,
    )
    but = f", {errors:,} of them {'an error' if errors == 1 else 'errors'}" if errors else ""
    if left_out:
        but += f"; left out {counted(left_out, 'file')} that cannot be listed"
    where = shown(without_credentials(path))
    print_lines(
        [
            [(f"listed {counted(listing.listed, 'object')} in {where}{but}", "bold")],
            *([[("it replaced an older list", "yellow")]] if older else []),
            [(f"SHA-256 {sha256}", "")],
            [("keep the list and its SHA-256 apart from the key", "dim")],
        ],
        stderr=True,
    )
