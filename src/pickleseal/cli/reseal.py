"""`pickleseal reseal`: seal again, under the primary key, what the ring sealed before."""

import click

from pickleseal.cli.batch import Run, fields_of, summary_of, trouble_lines
from pickleseal.cli.options import ANY_PATH, FILE, common, moment
from pickleseal.cli.output import CouldNotRun, Line, guarded
from pickleseal.errors import SealError, shown
from pickleseal.files.places import without_credentials
from pickleseal.keys.keyring import EVERY_KEY
from pickleseal.keys.store.lookup import find_keyring
from pickleseal.migration.batch import Batch, Outcome
from pickleseal.migration.reseal import readmission, reseal_all
from pickleseal.persistence.policy import time_text


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH...", type=ANY_PATH)
@click.option(
    "--context", metavar="TEXT", help="Reseal only files that are sealed for this context."
)
@click.option(
    "--only-digests",
    "inventory",
    metavar="FILE",
    type=FILE,
    help="Reseal only what this inventory lists, files of revoked keys too.",
)
@click.option(
    "--sha256",
    metavar="HEX",
    help="The SHA-256 of the inventory's file, as you noted it down where no thief could change it."
    " It is needed if the key that sealed the inventory is revoked now.",
)
@click.option(
    "--made-before",
    type=moment,
    metavar="TIME",
    help="The inventory must be older (UTC), such as 2027-01-31 or 2027-01-31T14:30. It must always"
    " be older than the leak that `keys revoke --since` stated.",
)
@click.option("--dry-run", is_flag=True, help="Verify everything and write nothing.")
@common
@guarded
def reseal(
    paths: tuple[str, ...],
    *,
    context: str | None,
    inventory: str | None,
    sha256: str | None,
    made_before: int | None,
    dry_run: bool,
    keyring: str | None,
) -> int:
    """Seal files again under the primary key.

    Each file is verified under the key that sealed it, and nothing is unpickled. Its metadata stay
    as they are, and it is replaced atomically. Folders are searched, except those of version
    control, environments and caches; unsealed files there are left alone. You can stop at any
    time, and run it again to go on.

    The exit code is 0 if all is sealed by the primary key, 1 if a file was refused, 2 if one could
    not be read or written, or there is none.

    \b
    Examples:
      pickleseal reseal models/
      pickleseal reseal --dry-run models/ other.pkl
      pickleseal reseal --only-digests before.inventory models/
    """
    if sha256 is not None and inventory is None:
        raise click.UsageError("--sha256 goes with --only-digests")
    if made_before is not None and inventory is None:
        raise click.UsageError("--made-before goes with --only-digests")
    ring = find_keyring(keyring, to_open=EVERY_KEY)
    facts: dict[str, object] = {"primary": ring.primary, "dry_run": dry_run}
    told: list[Line] = []
    readmitted = None
    if inventory is not None:
        try:
            readmitted = readmission(ring, inventory, sha256=sha256, made_before=made_before)
        except SealError as error:
            raise CouldNotRun(str(error)) from None  # it is no verdict on a file
        listed = readmitted.listed
        made, key = listed.inventory.created, ring.entries[listed.key_id]
        facts["inventory"] = {"created": made, "key": key.id, "state": key.state.value}
        sealed = f"made {time_text(made)}, sealed by key {key.id} ({key.state.value})"
        told.append([(f"{shown(without_credentials(inventory))}: {sealed}", "dim")])
    run = Run(Batch(paths), "reseal")
    done = run.collect(
        reseal_all(
            run.batch, keyring=keyring, context=context, readmitted=readmitted, dry_run=dry_run
        ),
        "Resealing",
    )
    resealed = "would be resealed" if dry_run else "resealed"
    words = {Outcome.ALREADY: "sealed by the primary already", Outcome.RESEALED: resealed}
    lines: list[Line] = [
        [(f"✓ {resealed}", "green"), (f"  {shown(one.path)}", "bold")]
        for one in done
        if one.outcome is Outcome.RESEALED
    ]
    return run.finish(
        done,
        files=(fields_of(one, **(one.detail._asdict() if one.detail else {})) for one in done),
        facts=facts,
        lines=[*lines, *trouble_lines(done)],
        summary=[*told, summary_of(done, words)],
    )
