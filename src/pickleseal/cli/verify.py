"""`pickleseal verify`: check the seals of files."""

from collections import Counter
from collections.abc import Iterator, Sequence

import click

from pickleseal.auditing.engines import chosen
from pickleseal.auditing.verify import verify_all
from pickleseal.cli.batch import Run, fields_of, trouble_lines
from pickleseal.cli.options import ANY_PATH, common
from pickleseal.cli.output import Line, guarded, is_quiet, kind_of
from pickleseal.cli.readers import readers, reading
from pickleseal.errors import SealError, shown
from pickleseal.migration.batch import Batch, Outcome, Result
from pickleseal.persistence.inspection import Inspection

_VERDICTS = {Outcome.FAILED: "unreadable"}
_CHECKED = (Outcome.WHOLE, Outcome.REFUSED, Outcome.FAILED)


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH...", type=ANY_PATH)
@click.option(
    "--context",
    metavar="TEXT",
    help="The context that the files must be sealed for, or its beginning, as in 'fraud/*'."
    " Default: any.",
)
@reading
@common
@guarded
def verify(
    paths: tuple[str, ...],
    *,
    context: str | None,
    jobs: int | None,
    backend: str | None,
    scheduler: str | None,
    recheck: float | None,
    keyring: str | None,
) -> int:
    """Check the seals of files.

    Every byte is checked, and nothing is unpickled. Folders are searched, except those of version
    control, environments and caches: an unsealed pickle there is refused, and other files need no
    seal. Do not load a refused file in any other way.

    The exit code is 0 if all seals hold, 1 if a file is refused, 2 if one cannot be read (also if
    another is refused), there is no key, or nothing to check.

    \b
    Examples:
      pickleseal verify model.pkl
      pickleseal verify --context fraud/v3 models/*.pkl && ./deploy
      pickleseal verify models/
    """
    run = Run(Batch(paths), "verify")
    with readers(jobs, backend, scheduler, recheck) as who:
        engine, workers = chosen(*who)
        work = verify_all(run.batch, keyring=keyring, context=context, engine=engine)
        done = run.collect(work, "Verifying")
    read = [] if workers is None else [[(shown(workers.sentence), "dim")]]
    return run.finish(
        done,
        facts={"workers": None if workers is None else workers.to_dict()},
        files=(_fields(one) for one in done if one.outcome is not Outcome.NO_PICKLE),
        lines=[*([] if is_quiet() else _whole_lines(done)), *trouble_lines(done, word=_word)],
        summary=[_summary(done), *read],
        lacking=None if any(one.outcome in _CHECKED for one in done) else " has or needs a seal",
        stopped="not every file was checked",
    )


def _word(one: Result[Inspection]) -> str:
    if isinstance(one.error, SealError):
        return kind_of(one.error)
    return _VERDICTS.get(one.outcome, one.outcome.value)


def _fields(one: Result[Inspection]) -> dict[str, object]:
    facts = {} if one.detail is None else one.detail.to_dict()
    fields = fields_of(one)
    outcome = fields.pop("outcome")
    return {"path": one.path, "verdict": _VERDICTS.get(one.outcome, outcome), **facts, **fields}


def _whole_lines(done: Sequence[Result[Inspection]]) -> Iterator[Line]:
    for one in done:
        if one.detail is not None:
            yield [("✓ whole", "green"), (f"  {shown(one.path)}", "bold")]
            yield [(f"  {_facts(one.detail)}", "dim")]
            yield from [[(f"  {shown(one.reason)}", "yellow")]] if one.reason else []


def _summary(done: Sequence[Result[Inspection]]) -> Line:
    counts = Counter(one.outcome for one in done)
    checked = sum(counts[kind] for kind in _CHECKED)
    parts = [f"{counts[Outcome.WHOLE]:,} whole", f"{counts[Outcome.REFUSED]:,} refused"]
    parts += [f"{counts[Outcome.FAILED]:,} unreadable"] if counts[Outcome.FAILED] else []
    rest = [
        f"{counts[kind]:,} {word}"
        for kind, word in ((Outcome.SKIPPED, "skipped"), (Outcome.NO_PICKLE, "without a pickle"))
        if counts[kind]
    ]
    besides = f"; {', '.join(rest)}" if rest else ""
    return [(f"{checked:,} checked: {', '.join(parts)}{besides}", "")]


def _facts(found: Inspection) -> str:
    facts = [f"key {found.key_id}"]
    metadata = found.metadata
    if metadata is not None:
        facts += [f"context {metadata.context}"] if metadata.context else []
        facts += [metadata.class_name] if metadata.class_name else []
    facts += [found.objects_text()] if found.others else []
    return shown(", ".join(facts))
