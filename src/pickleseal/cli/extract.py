"""`pickleseal extract`: write the plain files in envelopes, for tools that know no seals."""

import os
import sys

import click

from pickleseal.cli.batch import Run, fields_of, summary_of, trouble_lines
from pickleseal.cli.options import ANY_PATH, PathType, common
from pickleseal.cli.output import FINE, guarded, wants_json
from pickleseal.errors import shown
from pickleseal.files.places import name_of, places_of
from pickleseal.keys.keyring import EVERY_KEY
from pickleseal.keys.store.lookup import find_keyring
from pickleseal.migration.batch import Batch, Outcome, Result
from pickleseal.migration.extract import extract_all, extract_file


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH...", type=ANY_PATH)
@click.option(
    "--to",
    "folder",
    metavar="DIR",
    type=PathType(file_okay=False),
    help="Write the plain files into this folder.",
)
@click.option(
    "--output",
    metavar="FILE",
    type=PathType(),
    help="Write the plain file of the one PATH here; '-' is stdout, unless that is a terminal.",
)
@click.option(
    "--context",
    metavar="TEXT",
    help="The context that the files must be sealed for: a name, or a beginning such as 'fraud/*';"
    " '*' is anything. Default: none.",
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
) -> int:
    """Write plain pickle or joblib files from sealed ones.

    Each seal is checked first, and nothing is unpickled. A plain file has no seal: use it at once,
    and keep it where nobody else can write. No file is overwritten. You can stop at any time, and
    run it again to go on.

    The exit code is 0 if every sealed file is extracted, however many others there are, 1 if one
    was refused, 2 if one could not be read or written, or there is no file.

    \b
    Examples:
      pickleseal extract model.pkl --context fraud/v3 --output plain.pkl
      pickleseal extract models/ --context '*' --to plain/
    """
    if (folder is None) == (output is None):
        raise click.UsageError("give --to DIR, or --output FILE for one PATH")
    find_keyring(keyring, to_open=EVERY_KEY)  # raises if there is none
    if output is not None:
        if len(paths) > 1 or os.path.isdir(paths[0]):
            raise click.UsageError("--output takes one file: for folders, give --to DIR")
        return _extract_one(paths[0], output, keyring, context)
    run = Run(Batch(paths), "extract")
    done = run.collect(
        extract_all(run.batch, places_of([folder])[0], keyring=keyring, context=context),
        "Extracting",
    )
    return run.finish(
        done,
        files=(fields_of(one, target=one.detail) for one in done),
        lines=trouble_lines(done),
        summary=[summary_of(done)],
    )


def _extract_one(path: str, output: str, keyring: str | None, context: str | None) -> int:
    if output == "-" and wants_json():
        raise click.UsageError("--json and --output - would both be printed")
    if output == "-" and sys.stdout.isatty():
        raise click.UsageError(
            "a plain file is not for a terminal: redirect it, as in --output - > plain.pkl"
        )
    plain = extract_file(path, keyring=keyring, context=context)
    if output == "-":
        sys.stdout.flush()
        sys.stdout.buffer.write(plain.data)
        sys.stdout.buffer.flush()
        return FINE
    (place,) = places_of([output])
    plain.write_new(place)
    written = name_of(place)
    batch = Batch((path,))
    done = Result(batch.paths[0], Outcome.EXTRACTED, detail=written)
    return Run(batch, "extract").finish(
        [done],
        files=[fields_of(done, target=written)],
        summary=[[(f"wrote {shown(written)}: it has no seal", "")]],
    )
