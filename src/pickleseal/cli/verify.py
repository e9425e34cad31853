"""`pickleseal verify`: check the seals of files."""

from collections import Counter
from collections.abc import Iterator

import click

from pickleseal.auditing.verify import Checked, Outcome, verify_all
from pickleseal.cli.options import common
from pickleseal.cli.output import (
    CHECK_FAILED,
    COULD_NOT_RUN,
    FINE,
    INTERRUPTED,
    Line,
    describe,
    guarded,
    kind_of,
    left_out_lines,
    print_json,
    print_lines,
)
from pickleseal.cli.progress import tracked
from pickleseal.errors import SealError, shown
from pickleseal.files.walk import LeftOut, files_below
from pickleseal.keys.store.lookup import find_keyring
from pickleseal.persistence.inspection import Inspection


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option(
    "--context", metavar="TEXT", help="What the files must be sealed for. Default: anything."
)
@common
@guarded
def verify(
    paths: tuple[str, ...], context: str | None, *, keyring: str | None, as_json: bool
) -> int:
    """Check that the seals of files hold.

    Every byte is held against the keyring, and nothing is unpickled. Folders are gone through, but
    those of version control, environments and caches: a pickle there that is not sealed is refused,
    and other files need no seal.
    The exit code is 0 where all hold, 1 where one is refused, 2 where one cannot be read, there is
    no key, or nothing to check. A file that is refused must not be loaded by any other way.

    \b
    Examples:
      pickleseal verify model.pkl
      pickleseal verify --context fraud/v3 models/*.pkl && ./deploy
      pickleseal verify models/
    """
    ring = find_keyring(keyring, to_open=True)
    left_out = LeftOut()
    done: list[Checked] = []
    stopped = False
    work = verify_all(paths, keyring=ring, context=context, left_out=left_out)
    try:
        done.extend(tracked(work, "Verifying", lambda: sum(1 for _ in files_below(paths))))
    except KeyboardInterrupt:
        stopped = True
    if as_json:
        files = [_plain(one) for one in done if one.outcome is not Outcome.NO_ARTIFACT]
        print_json({"interrupted": stopped, "left_out": left_out.to_dict(), "files": files})
    else:
        print_lines(line for one in done for line in _lines(one))
        print_lines([_summary(paths, done)], stderr=True)
        print_lines(left_out_lines(left_out), stderr=True)
    if stopped:
        return INTERRUPTED
    outcomes = {one.outcome for one in done}
    if Outcome.UNREADABLE in outcomes or not outcomes & {Outcome.WHOLE, Outcome.REFUSED}:
        return COULD_NOT_RUN
    return CHECK_FAILED if Outcome.REFUSED in outcomes else FINE


def _plain(one: Checked) -> dict[str, object]:
    facts = {} if one.found is None else one.found.to_dict()
    fields = {
        "path": one.path,
        "verdict": one.outcome.value,
        **facts,
        "reason": one.reason or None,
        "error": None if one.error is None else describe(one.error),
    }
    return {name: value for name, value in fields.items() if value is not None}


def _lines(one: Checked) -> Iterator[Line]:
    path = (f"  {shown(one.path)}", "bold")
    if one.found is not None:
        yield [("✓ whole", "green"), path]
        yield [(f"  {_facts(one.found)}", "dim")]
    elif one.outcome is Outcome.SKIPPED:
        yield [("- skipped", "yellow"), path]
        yield [(f"  {shown(one.reason)}", "")]
    elif one.outcome is not Outcome.NO_ARTIFACT:
        kind = kind_of(one.error) if isinstance(one.error, SealError) else one.outcome.value
        yield [(f"✗ {kind}", "bold red"), path]
        yield [(f"  {_reason(one.error) if one.error else shown(one.reason)}", "")]


def _summary(paths: tuple[str, ...], done: list[Checked]) -> Line:
    counts = Counter(one.outcome for one in done)
    checked = sum(counts[kind] for kind in (Outcome.WHOLE, Outcome.REFUSED, Outcome.UNREADABLE))
    if not checked:
        where = ", ".join(map(shown, paths))
        return [
            ("nothing to verify: ", "bold red"),
            (f"no file in {where} has or needs a seal", ""),
        ]
    parts = [f"{counts[Outcome.WHOLE]:,} whole", f"{counts[Outcome.REFUSED]:,} refused"]
    more = (Outcome.UNREADABLE, Outcome.SKIPPED, Outcome.NO_ARTIFACT)
    parts += [f"{counts[kind]:,} {_WORDS.get(kind, kind.value)}" for kind in more if counts[kind]]
    return [(f"{checked:,} checked: {', '.join(parts)}", "")]


_WORDS = {Outcome.NO_ARTIFACT: "without a pickle"}


def _facts(found: Inspection) -> str:
    facts = [f"key {found.key_id}"]
    metadata = found.metadata
    if metadata is not None:
        facts += [f"context {metadata.context}"] if metadata.context else []
        facts += [metadata.class_name] if metadata.class_name else []
    facts += [found.objects_text()] if found.others else []
    return shown(", ".join(facts))


def _reason(error: Exception) -> str:
    """Give what is wrong without the path, which stands in the line above."""
    if isinstance(error, SealError):
        return shown(str(error.args[0]))
    return shown(getattr(error, "strerror", None) or str(error))
