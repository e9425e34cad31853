"""A report as JSON: one document, or a line for each finding."""

import json

from pickleseal.auditing.report import Report


def to_json(report: Report) -> str:
    """Give one JSON document, in ASCII: nothing in it can act on a terminal."""
    return json.dumps(report.to_dict(), indent=2) + "\n"


def to_jsonl(report: Report) -> str:
    """Give a line of JSON for each finding, in ASCII."""
    return "".join(json.dumps(finding.to_dict()) + "\n" for finding in report.findings)
