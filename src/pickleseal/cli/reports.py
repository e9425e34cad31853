"""The reports of `pickleseal audit`, which are made while its findings come."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import Protocol, Self

from pickleseal.auditing.baselines import items_of
from pickleseal.auditing.findings import Finding, Level, Verdict
from pickleseal.auditing.formats.plain import JsonDocument, to_line
from pickleseal.auditing.report import Report
from pickleseal.cli.findings import Groups, findings_text
from pickleseal.cli.output import CouldNotRun, print_lines, print_product
from pickleseal.errors import shown
from pickleseal.files.atomic import appending, write_pieces
from pickleseal.files.places import places_of, without_credentials
from pickleseal.files.spool import Spool

FORMATS = ("json", "jsonl", "sarif")
_HTML = "html"


class _Document(Protocol):
    """A report that is written at the end, with the findings that were added."""

    def add(self, finding: Finding, /) -> None: ...
    def pieces(self, report: Report, /) -> Iterator[bytes]: ...
    def close(self) -> None: ...


class Reports:
    """What is printed of an audit, in one form, and what is written to files.

    Of lines of JSON each is written when it is added. Everything else is written at the end, and
    waits for it in temporary files, or keeps no more findings than it shows.
    """

    def __init__(
        self, kind: str, outputs: tuple[tuple[str, str], ...], page: str | None, *, most: int | None
    ) -> None:
        self._kind = kind
        self._files = [*outputs, *([] if page is None else [(_HTML, page)])]
        kinds = {kind, *(name for name, _ in self._files)}
        self._groups = Groups(most=most) if kind == "text" else None
        self._documents = {name: _document(name) for name in kinds - {"text", "jsonl"}}
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
        for document in self._documents.values():
            document.close()
        self._open.__exit__(kind, error, trace)

    def open(self) -> None:
        """Open the files of lines."""
        for name, file in self._files:
            if name == "jsonl":
                self._lines.append(self._open.enter_context(_lines_to(file)))

    def add(self, finding: Finding) -> None:
        """Add the next finding."""
        if self._groups is not None:
            self._groups.add(finding)
        for document in self._documents.values():
            document.add(finding)
        if self._lines:
            line = to_line(finding)
            for write in self._lines:
                write(line)

    def print(self, report: Report) -> None:
        """Print what is to be printed. `report` has the numbers of all that was added."""
        if self._groups is not None:
            print_lines(findings_text(self._groups, report.counts))
        elif self._kind in self._documents:
            for piece in self._documents[self._kind].pieces(report):
                print_product(piece.decode())

    def write(self, report: Report) -> None:
        """Write the remaining files, and print the names of all."""
        self._open.close()
        for name, file in self._files:
            if name in self._documents:
                with _naming(file):
                    write_pieces(places_of([file])[0], self._documents[name].pieces(report))
            print_lines([[(f"wrote {shown(without_credentials(file))}", "dim")]], stderr=True)


def _document(kind: str) -> _Document:
    if kind == "json":
        return JsonDocument()
    if kind == "sarif":
        from pickleseal.auditing.formats.sarif import SarifDocument  # noqa: PLC0415 - only if wanted

        return SarifDocument()
    from pickleseal.auditing.formats.html import HtmlDocument  # noqa: PLC0415 - as above

    return HtmlDocument()


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
    """The text of the inventory of an audit, and how much is and cannot be listed."""

    def __init__(self) -> None:
        self.text = Spool()
        self.listed = self.unread = self.left_out = self.errors = 0

    def add(self, finding: Finding) -> None:
        """List a finding, or count it."""
        items = items_of(finding)
        for item in items:
            self.text.write(item.line())
        self.listed += len(items)
        if finding.level > Level.NOTE and finding.verdict is not Verdict.MISSING:
            self.unread += finding.verdict is Verdict.UNREADABLE
            self.left_out += not items
            self.errors += finding.level is Level.ERROR and bool(items)
