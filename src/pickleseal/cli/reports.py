"""The reports of `pickleseal audit`, which are made while its findings come."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import Self

from pickleseal.auditing.baselines import items_of
from pickleseal.auditing.findings import Finding, Level, Verdict
from pickleseal.auditing.formats.plain import JsonDocument, to_line
from pickleseal.auditing.report import MAX_RESULTS, Gravest, Report
from pickleseal.cli.findings import Groups, findings_text
from pickleseal.cli.output import CouldNotRun, print_lines, print_product
from pickleseal.errors import shown
from pickleseal.files.atomic import appending, write_pieces
from pickleseal.files.places import places_of, without_credentials
from pickleseal.persistence.inventory import Item

FORMATS = ("json", "jsonl", "sarif")
_HTML = "html"


class Reports:
    """What is printed of an audit, in one form, and what is written to files.

    Of lines of JSON each is written when it is added. Everything else is written at the end, and
    keeps no more findings until then than it shows.
    """

    def __init__(
        self, kind: str, outputs: tuple[tuple[str, str], ...], page: str | None, *, most: int | None
    ) -> None:
        self._kind = kind
        self._files = [*outputs, *([] if page is None else [(_HTML, page)])]
        kinds = {kind, *(name for name, _ in self._files)}
        self._groups = Groups(most=most) if kind == "text" else None
        self._document = JsonDocument() if "json" in kinds else None
        self._gravest = Gravest(MAX_RESULTS) if kinds & {"sarif", _HTML} else None
        self._lines: list[Callable[[str], None]] = [print_product] if kind == "jsonl" else []
        self._open = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._document is not None:
            self._document.close()
        self._open.__exit__(kind, error, trace)

    def open(self) -> None:
        """Open the files of lines."""
        for name, file in self._files:
            if name == "jsonl":
                self._lines.append(self._open.enter_context(_lines_to(file)))

    def add(self, finding: Finding) -> None:
        """Add the next finding."""
        for form in (self._groups, self._document, self._gravest):
            if form is not None:
                form.add(finding)
        if self._lines:
            line = to_line(finding)
            for write in self._lines:
                write(line)

    def print(self, report: Report) -> None:
        """Print what is to be printed. `report` has the numbers of all that was added."""
        if self._groups is not None:
            print_lines(findings_text(self._groups, report.counts))
        elif self._kind != "jsonl":
            for piece in self._pieces(self._kind, report):
                print_product(piece)

    def write(self, report: Report) -> None:
        """Write the remaining files, and print the names of all."""
        self._open.close()
        for name, file in self._files:
            if name != "jsonl":
                with _naming(file):
                    pieces = (piece.encode() for piece in self._pieces(name, report))
                    write_pieces(places_of([file])[0], pieces)
            print_lines([[(f"wrote {shown(without_credentials(file))}", "dim")]], stderr=True)

    def _pieces(self, kind: str, report: Report) -> Iterator[str]:
        if kind == "json" and self._document is not None:
            yield from self._document.pieces(report)
        elif self._gravest is not None:
            report = report._replace(findings=self._gravest.findings())
            if kind == _HTML:
                from pickleseal.auditing.formats.html import html  # noqa: PLC0415 - only if wanted

                yield html(report)
            else:
                from pickleseal.auditing.formats.sarif import sarif  # noqa: PLC0415 - as above

                yield sarif(report)


@contextmanager
def _lines_to(path: str) -> Iterator[Callable[[str], None]]:
    """Yield a function that writes a line to a file at once; to a store, all at the end."""
    (place,) = places_of([path])
    waiting: list[bytes] = []
    with ExitStack() as stack:
        append: Callable[[bytes], None] = waiting.append
        if isinstance(place, str):
            with _naming(path):
                append = stack.enter_context(appending(place))

        def write(line: str) -> None:
            with _naming(path):
                append(line.encode())

        yield write
        if not isinstance(place, str):
            with _naming(path):
                write_pieces(place, waiting)


@contextmanager
def _naming(path: str) -> Iterator[None]:
    """Name the file in what is raised where it cannot be written."""
    try:
        yield
    except OSError as error:
        named = without_credentials(path)
        raise CouldNotRun(f"{named} cannot be written: {error.strerror or error}") from None


class Listing:
    """What goes into the inventory of an audit, and how much cannot be listed."""

    def __init__(self) -> None:
        self.items: list[Item] = []
        self.unread = self.left_out = self.errors = 0

    def add(self, finding: Finding) -> None:
        """List a finding, or count it."""
        items = items_of(finding)
        self.items += items
        if finding.level > Level.NOTE and finding.verdict is not Verdict.MISSING:
            self.unread += finding.verdict is Verdict.UNREADABLE
            self.left_out += not items
            self.errors += finding.level is Level.ERROR and bool(items)
