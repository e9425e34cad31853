"""A report as JSON: one document, or a line for each finding."""

import json
import textwrap
from collections.abc import Iterator

from pickleseal.auditing.findings import Finding
from pickleseal.auditing.report import Report
from pickleseal.errors import without_secrets
from pickleseal.files.spool import Spool


def to_line(finding: Finding) -> str:
    """Return a finding as one line of JSON, in ASCII, so that it cannot control a terminal."""
    return json.dumps(without_secrets(finding.to_dict())) + "\n"


class JsonDocument:
    """One JSON document, in ASCII. Its findings wait in a temporary file for their numbers."""

    def __init__(self) -> None:
        self._findings = Spool()

    def add(self, finding: Finding) -> None:
        """Add the next finding."""
        text = json.dumps(without_secrets(finding.to_dict()), indent=2)
        before = ",\n" if self._findings.size else "\n"
        self._findings.write((before + textwrap.indent(text, "    ")).encode())

    def pieces(self, report: Report) -> Iterator[bytes]:
        """Yield the document, whose findings are those that were added."""
        heading = json.dumps(without_secrets(report.heading()), indent=2)
        yield (heading.removesuffix("\n}") + ',\n  "findings": [').encode()
        yield from self._findings.pieces()
        yield b"\n  ]\n}\n" if self._findings.size else b"]\n}\n"

    def close(self) -> None:
        """Delete the temporary file."""
        self._findings.close()
