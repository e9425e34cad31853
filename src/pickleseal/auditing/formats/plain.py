"""A report as JSON: one document, or a line for each finding."""

import json
import tempfile
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from pickleseal.auditing.findings import Finding
from pickleseal.auditing.report import Report
from pickleseal.errors import without_secrets

_IN_MEMORY = 1 << 20
_PIECE = 1 << 20


def to_line(finding: Finding) -> str:
    """Return a finding as one line of JSON, in ASCII, so that it cannot control a terminal."""
    return json.dumps(without_secrets(finding.to_dict())) + "\n"


class JsonDocument:
    """One JSON document, in ASCII. Its findings wait in a temporary file for their numbers."""

    def __init__(self) -> None:
        self._spool = tempfile.SpooledTemporaryFile(  # noqa: SIM115 - see close
            _IN_MEMORY, "w+", encoding="ascii"
        )
        self._before = "\n"

    def add(self, finding: Finding) -> None:
        """Add the next finding."""
        text = json.dumps(without_secrets(finding.to_dict()), indent=2)
        with _naming_folder():
            self._spool.write(self._before + textwrap.indent(text, "    "))
        self._before = ",\n"

    def pieces(self, report: Report) -> Iterator[str]:
        """Yield the document, whose findings are those that were added."""
        heading = json.dumps(without_secrets(report.heading()), indent=2)
        yield heading.removesuffix("\n}") + ',\n  "findings": ['
        with _naming_folder():
            self._spool.seek(0)
        while piece := self._spool.read(_PIECE):
            yield piece
        yield ("]" if self._before == "\n" else "\n  ]") + "\n}\n"

    def close(self) -> None:
        """Delete the temporary file."""
        with suppress(OSError):  # what could not be written is not needed any more
            self._spool.close()


@contextmanager
def _naming_folder() -> Iterator[None]:
    """Name the folder of temporary files in an error of the system."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, tempfile.gettempdir()) from None
