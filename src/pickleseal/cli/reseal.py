"""`pickleseal reseal`: seal anew, under the primary key, what the ring sealed before."""

from collections import Counter

import click

from pickleseal.cli.options import common
from pickleseal.cli.output import (
    CHECK_FAILED,
    COULD_NOT_RUN,
    FINE,
    INTERRUPTED,
    Line,
    describe,
    guarded,
    left_out_lines,
    print_json,
    print_lines,
)
from pickleseal.cli.progress import tracked
from pickleseal.errors import shown
from pickleseal.files.walk import LeftOut, files_below
from pickleseal.keys.store.lookup import find_keyring
from pickleseal.migration.reseal import (
    Outcome,
    Resealed,
    readmission,
    reseal_all,
)

_STYLES = {
    Outcome.RESEALED: ("✓", "green"),
    Outcome.SKIPPED: ("-", "yellow"),
    Outcome.REFUSED: ("✗", "bold red"),
    Outcome.FAILED: ("✗", "bold red"),
}


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option("--context", metavar="TEXT", help="Take files that are sealed for this alone.")
@click.option(
    "--only-digests",
    "inventory",
    metavar="FILE",
    help="Take only what this inventory lists, files of revoked keys too.",
)
@click.option(
    "--sha256",
    metavar="HEX",
    help="The SHA-256 of the inventory's file, noted down where no thief could change it. It"
    " is needed where a key sealed the inventory that is revoked now.",
)
@click.option("--dry-run", is_flag=True, help="Verify all and write nothing.")
@common
@guarded
def reseal(
    paths: tuple[str, ...],
    *,
    context: str | None,
    inventory: str | None,
    sha256: str | None,
    dry_run: bool,
    keyring: str | None,
    as_json: bool,
) -> int:
    """Seal files anew under the primary key.

    Each file is verified under the key that sealed it, and nothing is unpickled. What it says of
    itself stays as it is, and its new form takes its place as a whole or not at all. Folders are
    gone through, but those of version control, environments and caches; what is not sealed there is
    left alone. Stop it at any time: begun again, it goes on.

    The exit code is 0 where all is sealed by the primary, 1 where a file was refused, 2 where one
    could not be read or written.

    \b
    Examples:
      pickleseal reseal models/
      pickleseal reseal --dry-run models/ other.pkl
      pickleseal reseal --only-digests before.inventory models/
    """
    if sha256 is not None and inventory is None:
        raise click.UsageError("--sha256 goes with --only-digests")
    ring = find_keyring(keyring, to_open=True)
    readmitted = None if inventory is None else readmission(ring, inventory, sha256=sha256)
    done: list[Resealed] = []
    stopped = False
    left_out = LeftOut()
    work = reseal_all(
        paths,
        keyring=ring,
        context=context,
        readmitted=readmitted,
        dry_run=dry_run,
        left_out=left_out,
    )
    try:
        done.extend(tracked(work, "Sealing anew", lambda: sum(1 for _ in files_below(paths))))
    except KeyboardInterrupt:
        stopped = True
    if as_json:
        print_json(
            {
                "primary": ring.primary,
                "dry_run": dry_run,
                "interrupted": stopped,
                "left_out": left_out.to_dict(),
                "files": [_plain(one) for one in done],
            }
        )
    else:
        _show(done, dry_run=dry_run)
        print_lines(left_out_lines(left_out), stderr=True)
    if stopped:
        click.echo("stopped: begin it again, and it goes on", err=True)
        return INTERRUPTED
    outcomes = {one.outcome for one in done}
    if Outcome.FAILED in outcomes:
        return COULD_NOT_RUN
    return CHECK_FAILED if Outcome.REFUSED in outcomes else FINE


def _show(done: list[Resealed], *, dry_run: bool) -> None:
    words = {Outcome.ALREADY: "sealed by the primary already"}
    if dry_run:
        words[Outcome.RESEALED] = "would be resealed"
    lines: list[Line] = []
    for one in done:
        if one.outcome not in _STYLES:
            continue
        mark, style = _STYLES[one.outcome]
        word = words.get(one.outcome, one.outcome.value)
        lines.append([(f"{mark} {word}", style), (f"  {shown(one.path)}", "bold")])
        if one.reason is not None:
            reason = describe(one.error)["message"] if one.error else one.reason
            reason = reason.removeprefix(f"{shown(one.path)}: ")
            lines.append([(f"  {shown(reason)}", "")])
    print_lines(lines)
    counts = Counter(one.outcome for one in done)
    parts = [f"{counts[kind]} {words.get(kind, kind.value)}" for kind in Outcome if counts[kind]]
    files = "1 file" if len(done) == 1 else f"{len(done)} files"
    click.echo(f"{files}: {', '.join(parts) or 'nothing to do'}", err=True)


def _plain(one: Resealed) -> dict[str, object]:
    fields: dict[str, object] = {
        "path": one.path,
        "outcome": one.outcome.value,
        "old_key": one.old_key,
        "digest": one.digest,
        "reason": None if one.error else one.reason,
        "error": describe(one.error) if one.error else None,
    }
    return {name: value for name, value in fields.items() if value is not None}
