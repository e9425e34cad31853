"""A report as JSON: one document, or a line for each finding."""

import json

from pickleseal.auditing.report import Report
from pickleseal.errors import without_secrets


def to_json(report: Report) -> str:
    """Return one JSON document, in ASCII, so that it cannot control a terminal."""
    return json.dumps(without_secrets(report.to_dict()), indent=2) + "\n"


def to_jsonl(report: Report) -> str:
    """Return one line of JSON for each finding, in ASCII."""
    return "".join(
        json.dumps(without_secrets(finding.to_dict())) + "\n" for finding in report.findings
    )
