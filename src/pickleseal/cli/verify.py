"""`pickleseal verify`: do the seals of these files hold?"""

from collections.abc import Iterator
from typing import NamedTuple

import click

from pickleseal.cli.options import common
from pickleseal.cli.output import (
    CHECK_FAILED,
    COULD_NOT_RUN,
    FINE,
    CouldNotRun,
    Line,
    check_no_folder,
    describe,
    guarded,
    kind_of,
    print_json,
    print_lines,
)
from pickleseal.errors import SealError, shown
from pickleseal.inspection import Inspection
from pickleseal.inspection import verify as verify_file
from pickleseal.keyring import Keyring
from pickleseal.keystore.sources import find_keyring


class _Outcome(NamedTuple):
    path: str
    found: Inspection | None
    error: Exception | None

    @property
    def code(self) -> int:
        if self.error is None:
            return FINE
        return CHECK_FAILED if isinstance(self.error, SealError) else COULD_NOT_RUN


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

    Every byte is held against the keyring, and nothing is unpickled.
    The exit code is 0 where all hold, 1 where one is refused, 2 where one cannot be read or
    there is no key. A file that is refused must not be loaded by any other way.

    \b
    Examples:
      pickleseal verify model.pkl
      pickleseal verify --context fraud/v3 models/*.pkl && ./deploy
    """
    ring = find_keyring(keyring)
    outcomes = [_verify(path, ring, context) for path in paths]
    if as_json:
        print_json({"files": [_plain(outcome) for outcome in outcomes]})
    else:
        _show(outcomes)
    return max(outcome.code for outcome in outcomes)


def _verify(path: str, ring: Keyring, context: str | None) -> _Outcome:
    try:
        check_no_folder(path)
        return _Outcome(path, verify_file(path, keyring=ring, context=context), None)
    except (SealError, OSError, CouldNotRun) as error:
        return _Outcome(path, None, error)


def _plain(outcome: _Outcome) -> dict[str, object]:
    if outcome.found is not None:
        return {"path": outcome.path, "verdict": "whole", **outcome.found.to_dict()}
    verdict = "refused" if outcome.code == CHECK_FAILED else "unreadable"
    error = describe(outcome.error) if outcome.error else {}
    return {"path": outcome.path, "verdict": verdict, "error": error}


def _show(outcomes: list[_Outcome]) -> None:
    print_lines(line for outcome in outcomes for line in _lines(outcome))
    whole = sum(outcome.code == FINE for outcome in outcomes)
    refused = sum(outcome.code == CHECK_FAILED for outcome in outcomes)
    unreadable = len(outcomes) - whole - refused
    summary = f"{len(outcomes)} checked: {whole} whole, {refused} refused"
    click.echo(summary + (f", {unreadable} unreadable" if unreadable else ""), err=True)


def _lines(outcome: _Outcome) -> Iterator[Line]:
    path = (f"  {shown(outcome.path)}", "bold")
    if outcome.found is not None:
        yield [("✓ whole", "green"), path]
        yield [(f"  {_facts(outcome.found)}", "dim")]
    elif outcome.error is not None:
        kind = kind_of(outcome.error) if outcome.code == CHECK_FAILED else "unreadable"
        yield [(f"✗ {kind}", "bold red"), path]
        yield [(f"  {_reason(outcome.error)}", "")]


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
