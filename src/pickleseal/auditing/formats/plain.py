"""A report as JSON: one document, or a line for each finding."""

import json
import textwrap
from collections.abc import Iterable, Iterator

from pickleseal.auditing.findings import Finding
from pickleseal.auditing.report import Report
from pickleseal.errors import without_secrets
from pickleseal.files.spool import Spool


def to_line(finding: Finding) -> str:
    """Return a finding as one line of JSON, in ASCII, so that it cannot control a terminal."""
    return json.dumps(without_secrets(finding.to_dict())) + "\n"


def document(heading: object, name: str, entries: Iterable[str]) -> Iterator[str]:
    """Yield one JSON document, in ASCII: a dict, with one list more, whose entries are `entry`s."""
    yield json.dumps(without_secrets(heading), indent=2).removesuffix("\n}") + f',\n  "{name}": ['
    end = "]\n}\n"
    for text in entries:
        yield text
        end = "\n  ]\n}\n"
    yield end


def entry(value: object, *, first: bool) -> str:
    """Return an entry of the list of `document`."""
    text = json.dumps(without_secrets(value), indent=2)
    return ("\n" if first else ",\n") + textwrap.indent(text, "    ")


class JsonDocument:
    """A report as one JSON document. Its findings wait in a temporary file for their numbers."""

    def __init__(self) -> None:
        self._findings = Spool()

    def add(self, finding: Finding) -> None:
        """Add the next finding."""
        text = entry(finding.to_dict(), first=not self._findings.size)
        self._findings.write(text.encode())

    def pieces(self, report: Report) -> Iterator[bytes]:
        """Yield the document, whose findings are those that were added."""
        findings = map(bytes.decode, self._findings.pieces())
        yield from map(str.encode, document(report.heading(), "findings", findings))

    def close(self) -> None:
        """Delete the temporary file."""
        self._findings.close()
