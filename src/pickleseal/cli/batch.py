"""What the commands that act on many files share: the run, its lines, its JSON, its exit code."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import click

from pickleseal.cli.output import (
    CHECK_FAILED,
    COULD_NOT_RUN,
    FINE,
    INTERRUPTED,
    Line,
    describe,
    left_out_lines,
    print_lines,
    print_product,
    wants_json,
)
from pickleseal.cli.progress import tracked
from pickleseal.errors import counted, shown
from pickleseal.migration.batch import Batch, Outcome, Result

_T = TypeVar("_T")

_NO_WORDS: Mapping[Outcome, str] = {}
_TROUBLE = {
    Outcome.SKIPPED: ("-", "yellow"),
    Outcome.REFUSED: ("✗", "bold red"),
    Outcome.FAILED: ("✗", "bold red"),
}
_SKIPPED_SHOWN = 3


class Run:
    """One run of a command over a batch. Ctrl-C ends it, and what was done is still reported."""

    def __init__(self, batch: Batch, act: str) -> None:
        self.batch = batch
        self.act = act
        self.interrupted = False

    def collect(
        self,
        results: Iterable[_T],
        title: str,
        total: Callable[[], int] | None = None,
    ) -> list[_T]:
        """Return the results that come before an interrupt; show a progress bar meanwhile."""
        collected: list[_T] = []
        try:
            collected.extend(tracked(results, title, total or self.batch.count))
        except KeyboardInterrupt:
            self.interrupted = True
        return collected

    def finish(
        self,
        results: Sequence[Result[Any]],
        *,
        files: Iterable[dict[str, object]],
        facts: Mapping[str, object] | None = None,
        lines: Iterable[Line] = (),
        summary: Iterable[Line],
        lacking: str | None = None,
        stopped: str = "run it again to go on",
    ) -> int:
        """Report the results, and return the exit code.

        `files` and `facts` are for the JSON document, `lines` and `summary` for a person. It is an
        error if there was nothing to act on: no file at all, or none that is as `lacking` says.
        `stopped` is what an interrupt means.
        """
        idle = lacking is not None or not results
        if wants_json():
            from pickleseal.auditing.formats.plain import (  # noqa: PLC0415 - only if wanted
                document,
                entry,
            )

            heading = {
                **(facts or {}),
                "interrupted": self.interrupted,
                "left_out": self.batch.left_out.to_dict(),
            }
            entries = (entry(one, first=not number) for number, one in enumerate(files))
            for piece in document(heading, "files", entries):
                print_product(piece)
        else:
            print_lines(lines)
            # An interrupt before the first result does not mean that there is nothing to do.
            told = ([] if self.interrupted else [self._nothing(lacking)]) if idle else summary
            print_lines([*told, *left_out_lines(self.batch.left_out)], stderr=True)
        if self.interrupted:
            click.echo(f"stopped: {stopped}", err=True)
            return INTERRUPTED
        outcomes = {one.outcome for one in results}
        if Outcome.FAILED in outcomes or idle:
            return COULD_NOT_RUN
        return CHECK_FAILED if Outcome.REFUSED in outcomes else FINE

    def _nothing(self, lacking: str | None) -> Line:
        where = ", ".join(map(shown, self.batch.paths))
        text = f"no file in {where}{lacking or ''}"
        return [(f"nothing to {self.act}: ", "bold red"), (text, "")]


def fields_of(result: Result[Any], **more: object) -> dict[str, object]:
    """Return a result as JSON has it; fields that are None or empty are left out."""
    fields: dict[str, object] = {
        "path": result.path,
        "outcome": result.outcome.value,
        **more,
        "reason": result.reason,
        "error": None if result.error is None else describe(result.error),
    }
    return {name: value for name, value in fields.items() if value not in (None, "")}


def trouble_lines(
    results: Iterable[Result[_T]],
    *,
    word: Callable[[Result[_T]], str] = lambda one: one.outcome.value,
    details: Callable[[Result[_T]], Iterable[str]] = lambda _: (),
    most: int | None = None,
) -> Iterator[Line]:
    """Yield lines for what was skipped, refused or failed, together where the reason is the same.

    `details` gives more lines for a file. `most`: how many reasons are listed, and how many files
    for each; of skipped files it is always a few.
    """
    groups: dict[tuple[Outcome, str, str], list[Result[_T]]] = {}
    for one in results:
        if one.outcome in _TROUBLE:
            groups.setdefault((one.outcome, word(one), one.reason), []).append(one)
    for (outcome, text, reason), ones in list(groups.items())[:most]:
        mark, style = _TROUBLE[outcome]
        what = shown(ones[0].path) if len(ones) == 1 else counted(len(ones), "file")
        yield [(f"{mark} {text}", style), (f"  {what}", "bold")]
        yield [(f"  {shown(reason.removeprefix(text + ': '))}", "")]  # the first line says it
        listed = ones[: _SKIPPED_SHOWN if outcome is Outcome.SKIPPED else most]
        for one in listed:
            if len(ones) > 1:
                yield [(f"    {shown(one.path)}", "")]
            yield from ([(f"      {shown(detail)}", "dim")] for detail in details(one))
        if len(ones) > len(listed):
            yield [(f"    and {len(ones) - len(listed):,} more: see --json", "dim")]
    more = 0 if most is None else sum(len(ones) for ones in list(groups.values())[most:])
    if more:
        yield [(f"and {counted(more, 'more file')} for other reasons: see --json", "dim")]


def summary_of(
    results: Sequence[Result[Any]],
    words: Mapping[Outcome, str] = _NO_WORDS,
) -> Line:
    """Return the line that counts the results by their outcome."""
    counts = Counter(one.outcome for one in results)
    parts = [f"{counts[kind]:,} {words.get(kind, kind.value)}" for kind in Outcome if counts[kind]]
    return [(f"{counted(len(results), 'file')}: {', '.join(parts)}", "")]
