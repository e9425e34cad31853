"""A report as SARIF 2.1.0, which GitHub code scanning and other viewers read.

What GitHub takes and shows is in "SARIF support for code scanning",
https://docs.github.com/code-security/code-scanning.
"""

import hashlib
import json
import os
import pathlib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple
from urllib.parse import quote

from pickleseal.auditing.findings import Change, Finding, Level, Verdict
from pickleseal.auditing.report import Report
from pickleseal.errors import masked, shown
from pickleseal.files.places import is_url
from pickleseal.files.spool import Spool
from pickleseal.scanner.grade import Contents, Grade

MAX_RESULTS = 25_000
"""The most findings in a run: GitHub refuses one with more."""
MAX_NAMES = 20
"""The most names listed for an artifact; GitHub refuses a file of over 10 MB, compressed."""
MAX_TEXT = 1_000
"""The most characters of an untrusted text, for the same reason."""

_SCHEMA = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)
_ROOT = "%SRCROOT%"

_Json = dict[str, Any]


class _Rule(NamedTuple):
    """A kind of finding: id, title, meaning, advice and severity.

    `severity` is GitHub's `security-severity`: over 9.0 critical, from 7.0 high, from 4.0 medium.
    Above 7.0 a rule is an error, from 4.0 on a warning.
    """

    id: str
    title: str
    meaning: str
    advice: str
    severity: float


_SIGN_AGAIN = (
    "If it is yours, seal it with `pickleseal adopt FILE`, or load it where you trust it and save"
    " it with `pickleseal.signed_dump`."
)
_PUT_BACK = "Restore an intact copy, and find out who changed this one. Do not load it."

# GitHub shows the severity of a rule and not of a result, so each grade of unsealed files has a
# rule of its own.
_BEYOND = _Rule(
    "pickleseal/unsealed-beyond",
    "Unsealed pickle that reaches beyond data",
    "This file is not sealed, and unpickling it would look up names that run, import, write or"
    " open.",
    "Do not load it unless you know who made it and why it needs these names.",
    9.3,
)
_UNKNOWN = _Rule(
    "pickleseal/unsealed-unknown",
    "Unsealed pickle with unknown names",
    "This file is not sealed, and unpickling it would look up names that are not on the list of"
    " data and model classes.",
    "Check whose code the names are. If they are yours, list their module with `--known MODULE`."
    f" {_SIGN_AGAIN}",
    6.9,
)
_CANNOT_TELL = _Rule(
    "pickleseal/unsealed-cannot-be-told",
    "Unsealed pickle that cannot be fully followed",
    "This file is not sealed, and not every byte of it is accounted for: a reader may do more with"
    " it than the audit followed.",
    "Do not load it unless you know who made it and why it has this form.",
    7.0,
)
_SEALED = _Rule(
    "pickleseal/sealed",
    "Sealed file with a remark",
    "The seal is valid; the message says what else is worth knowing.",
    "Read the message. The file can be loaded.",
    1.0,
)
_VERDICTS = {
    Verdict.SEALED: _SEALED,
    Verdict.SEALED_ACTIVE: _SEALED,
    Verdict.SEALED_RETIRED: _Rule(
        "pickleseal/retired-key",
        "Sealed by a retired key",
        "The seal is valid. Its key is retired: it opens files and no longer seals them.",
        "Reseal it with the primary key: `pickleseal reseal FILE`.",
        1.0,
    ),
    Verdict.REVOKED: _Rule(
        "pickleseal/revoked-key",
        "Sealed by a revoked key",
        "Anyone who has the leaked key could have made this file. Loads refuse it.",
        "Make the object again and seal it. If an inventory from before lists the file, you can"
        " instead readmit it: `pickleseal reseal --only-digests INVENTORY FILE`.",
        8.1,
    ),
    Verdict.UNKNOWN_KEY: _Rule(
        "pickleseal/unknown-key",
        "Sealed by an unknown key",
        "The keyring does not have the key that this file names. Anyone can make such a file.",
        "If the file is yours, bring its key: `pickleseal keys export KEY_ID -o key.txt` where it"
        " is, and `pickleseal keys import key.txt` here. If it is not, do not load it.",
        8.1,
    ),
    Verdict.BAD_HEAD: _Rule(
        "pickleseal/bad-head",
        "Changed after sealing, or made without the key",
        "The tag of the head does not match. Nothing that the file says about itself is verified.",
        _PUT_BACK,
        9.1,
    ),
    Verdict.BAD_BODY: _Rule(
        "pickleseal/bad-body",
        "Body changed after sealing",
        "The head is genuine; the body was changed.",
        _PUT_BACK,
        9.1,
    ),
    Verdict.MALFORMED: _Rule(
        "pickleseal/malformed",
        "Damaged envelope",
        "It begins like a sealed file but breaks the format or is truncated.",
        "Restore an intact copy.",
        7.1,
    ),
    Verdict.WRONG_CONTEXT: _Rule(
        "pickleseal/wrong-context",
        "Sealed for another context",
        "The file is genuine but was sealed for another purpose.",
        "Check what it was sealed for with `pickleseal inspect FILE`, and put the right file here.",
        8.1,
    ),
    Verdict.EXPIRED: _Rule(
        "pickleseal/expired",
        "Expired sealed file",
        "The file is genuine but expired. Loads refuse it.",
        "Recreate or delete it.",
        4.0,
    ),
    Verdict.ROLLED_BACK: _Rule(
        "pickleseal/rolled-back",
        "Older than what was loaded before",
        "The file is genuine, but a newer one of its context was loaded before.",
        "Restore the newest file. If you want this one: `pickleseal pins forget CONTEXT`.",
        8.1,
    ),
    Verdict.UNSEALED: _Rule(
        "pickleseal/unsealed",
        "Unsealed pickle, data only",
        "This file is not sealed. It imports only known data and model classes, or names in modules"
        " listed as known. Anyone who can write to it can replace it with a pickle that runs code.",
        _SIGN_AGAIN,
        5.5,
    ),
    Verdict.BACKUP: _Rule(
        "pickleseal/backup",
        "Backup of an adopted file",
        "This file has the bytes that were sealed, and no seal itself.",
        "Delete it once the sealed file loads where you need it.",
        1.0,
    ),
    Verdict.LEFTOVER: _Rule(
        "pickleseal/leftover",
        "Temporary file of an interrupted dump",
        "Loads refuse it.",
        "Delete it if no dump is running.",
        1.0,
    ),
    Verdict.UNREADABLE: _Rule(
        "pickleseal/unreadable",
        "Could not be read",
        "The audit could not read this path.",
        "Run the audit as a user with permission to read it.",
        4.0,
    ),
    Verdict.SKIPPED: _Rule(
        "pickleseal/skipped",
        "Not examined on purpose",
        "The audit does not follow links, and leaves out excluded paths.",
        "To audit the target of a link, name the target.",
        1.0,
    ),
    Verdict.MISSING: _Rule(
        "pickleseal/missing",
        "Listed in the baseline but missing",
        "The baseline lists a file at this path, but there is none.",
        "Restore it, or make a new list with `pickleseal audit --inventory`.",
        4.0,
    ),
    Verdict.NOT_READ: _Rule(
        "pickleseal/not-read",
        "Not read in this audit",
        "The store lists the object as when an earlier audit found it sealed and whole.",
        "To have it read, audit without `--since`.",
        1.0,
    ),
    Verdict.NO_PICKLE: _Rule(
        "pickleseal/no-pickle-found",
        "No pickle found",
        "No pickle was found in this file, in any form that the audit searches for.",
        "Read the message.",
        1.0,
    ),
}
_CHANGES = {
    Change.OLDER: _Rule(
        "pickleseal/older",
        "Replaced by an older one",
        "The file is genuine but older than the one that the baseline lists.",
        "Restore the newer file, and find out who replaced it.",
        8.1,
    ),
    Change.CHANGED: _Rule(
        "pickleseal/changed",
        "Changed since the baseline",
        "The file is genuine but not the one that the baseline lists.",
        "If you expected that, make a new list with `pickleseal audit --inventory`.",
        3.0,
    ),
    Change.NEW: _Rule(
        "pickleseal/new",
        "Not in the baseline",
        "The file is genuine, but the baseline lists no file at this path.",
        "If you expected that, make a new list with `pickleseal audit --inventory`.",
        2.0,
    ),
    Change.MOVED: _Rule(
        "pickleseal/moved",
        "Listed elsewhere in the baseline",
        "The file is genuine, but the baseline lists it at another path.",
        "If you expected that, make a new list with `pickleseal audit --inventory`.",
        2.0,
    ),
}
_RULES = tuple(
    dict.fromkeys((_BEYOND, _CANNOT_TELL, _UNKNOWN, *_VERDICTS.values(), *_CHANGES.values()))
)
_INDEX = {rule.id: index for index, rule in enumerate(_RULES)}
_GRADES = {Grade.UNKNOWN: _UNKNOWN, Grade.CANNOT_TELL: _CANNOT_TELL, Grade.BEYOND: _BEYOND}
_GENUINE = {Verdict.SEALED, Verdict.SEALED_ACTIVE, Verdict.SEALED_RETIRED, Verdict.NO_PICKLE}


class SarifDocument:
    """One SARIF 2.1.0 document, in ASCII: findings from notes up, in runs of at most MAX_RESULTS.

    Paths named relative to the current folder stay relative; others are `file:` URIs. What the
    findings add to a run waits in temporary files for the heading of the run.
    """

    def __init__(self) -> None:
        self._lists = {name: Spool() for name in ("notifications", "artifacts", "results")}
        self._starts = [dict.fromkeys(self._lists, 0)]
        self._places: dict[str, int] = {}
        self._results = 0

    def add(self, finding: Finding) -> None:
        """Add the next finding."""
        if finding.level < Level.NOTE:
            return
        if self._results == MAX_RESULTS:
            self._starts.append(self._sizes())
            self._places, self._results = {}, 0
        self._results += 1
        if finding.path not in self._places:
            self._places[finding.path] = len(self._places)
            self._write("artifacts", _artifact(finding))
        self._write("results", _result(finding, self._places[finding.path]))
        if finding.verdict is Verdict.UNREADABLE:
            self._write("notifications", _unreadable(finding))

    def pieces(self, report: Report) -> Iterator[bytes]:
        """Yield the document, whose findings are those that were added."""
        yield f'{{"$schema": "{_SCHEMA}", "version": "2.1.0", "runs": ['.encode()
        ends = [*self._starts[1:], self._sizes()]
        for number, (start, end) in enumerate(zip(self._starts, ends, strict=True), 1):
            yield b", " if number > 1 else b""
            heading = _heading(report, number if len(ends) > 1 else None)
            invocation = json.dumps(_invocation(report)).removesuffix("}")
            for text, name in (
                (
                    f'{{"invocations": [{invocation}, "toolExecutionNotifications": [',
                    "notifications",
                ),
                (']}], "artifacts": [', "artifacts"),
                ('], "results": [', "results"),
            ):
                yield text.encode()
                yield from self._lists[name].pieces(start[name], end[name])
            yield f"], {json.dumps(heading).removeprefix('{')}".encode()
        yield b"]}\n"

    def close(self) -> None:
        """Delete the temporary files."""
        for spool in self._lists.values():
            spool.close()

    def _write(self, name: str, entry: _Json) -> None:
        spool = self._lists[name]
        first = spool.size == self._starts[-1][name]
        spool.write(("" if first else ", ").encode() + json.dumps(entry).encode())

    def _sizes(self) -> dict[str, int]:
        return {name: spool.size for name, spool in self._lists.items()}


def _heading(report: Report, part: int | None) -> _Json:
    """Return what is said of a run besides its findings. `part`: its number among several."""
    return {
        # GitHub takes several runs of one tool if their categories differ.
        **({} if part is None else {"automationDetails": {"id": f"pickleseal/part-{part}/"}}),
        "tool": {"driver": _driver(report.version)},
        "originalUriBaseIds": {
            _ROOT: {"description": {"text": "The folder in which the audit ran."}}
        },
        "columnKind": "unicodeCodePoints",
        "properties": {
            "filesLeftOut": report.left_out.files,
            **({} if report.since is None else {"filesNotRead": report.not_read}),
            **({} if report.workers is None else {"workers": report.workers.to_dict()}),
        },
    }


def _driver(version: str) -> _Json:
    return {
        "name": "pickleseal",
        "version": version,
        "rules": [_descriptor(rule) for rule in _RULES],
        "notifications": [
            {
                "id": _VERDICTS[Verdict.UNREADABLE].id,
                "shortDescription": {"text": _VERDICTS[Verdict.UNREADABLE].title},
            }
        ],
    }


def _descriptor(rule: _Rule) -> _Json:
    high, medium = rule.severity > 7.0, rule.severity >= 4.0
    level = Level.ERROR if high else Level.WARNING if medium else Level.NOTE
    return {
        "id": rule.id,
        "name": rule.id.rpartition("/")[2].title().replace("-", ""),
        "shortDescription": {"text": rule.title},
        "fullDescription": {"text": rule.meaning},
        "help": {
            "text": f"{rule.meaning} {rule.advice}".replace("`", ""),
            "markdown": f"{rule.meaning}\n\n**What to do:** {rule.advice}",
        },
        "defaultConfiguration": {"level": level.label},
        "properties": {
            "tags": ["security"],
            "precision": "very-high",
            "security-severity": str(rule.severity),
        },
    }


def _invocation(report: Report) -> _Json:
    return {
        # An unreadable file is a finding, not a failure: GitHub drops all results of a failed run.
        "executionSuccessful": True,
        "startTimeUtc": _time(report.started),
        "endTimeUtc": _time(report.started + report.seconds),
    }


def _time(seconds: float) -> str:
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _unreadable(finding: Finding) -> _Json:
    return {
        "descriptor": {"id": _VERDICTS[finding.verdict].id},
        "level": finding.level.label,
        "message": {"text": _message(finding)},
        "locations": [{"physicalLocation": {"artifactLocation": _location(finding.path)}}],
    }


def _artifact(finding: Finding) -> _Json:
    fields: _Json = {"location": _location(finding.path)}
    if finding.size is not None:
        fields["length"] = finding.size
    if finding.digest is not None:
        name, _, value = finding.digest.partition(":")
        fields["hashes"] = {"sha-256" if name == "sha256" else name: value}
    return fields


def _location(path: str) -> _Json:
    """Return the location of a path. Every byte of its name is kept, percent-encoded if needed.

    The exception is the secret of a key line in it.
    """
    if is_url(path):
        scheme, rest = masked(path).split("://", 1)
        return {"uri": f"{scheme}://{quote(os.fsencode(rest))}"}
    path = masked(os.path.normpath(path))
    if os.path.isabs(path):
        return {"uri": pathlib.Path(path).as_uri()}
    return {"uri": quote(os.fsencode(path.replace(os.sep, "/"))), "uriBaseId": _ROOT}


def _result(finding: Finding, index: int) -> _Json:
    rule = _rule(finding)
    location = _location(finding.path)
    return {
        "ruleId": rule.id,
        "ruleIndex": _INDEX[rule.id],
        "level": finding.level.label,
        "message": {"text": _message(finding)},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {**location, "index": index},
                    # GitHub shows no result without a line; one of a whole file is the first.
                    "region": {"startLine": 1, "startColumn": 1, "endLine": 1, "endColumn": 1},
                }
            }
        ],
        "partialFingerprints": _fingerprints(finding, location["uri"]),
        "properties": _properties(finding),
    }


def _rule(finding: Finding) -> _Rule:
    if finding.verdict in _GENUINE and finding.change in _CHANGES:
        return _CHANGES[finding.change]
    grade = Grade.DATA if finding.contents is None else finding.contents.grade
    if finding.verdict is Verdict.UNSEALED and grade in _GRADES:
        return _GRADES[grade]
    return _VERDICTS[finding.verdict]


def _message(finding: Finding) -> str:
    """Return reason and advice as text in which no name can become a link or a placeholder.

    Viewers show the first sentence as the title, turn `[text](target)` into a link, and fill in
    placeholders in braces.
    """
    reason = finding.reason or _rule(finding).title
    if finding.verdict is Verdict.UNSEALED and finding.contents is not None:
        named = reason.startswith(finding.contents.kind)
        reason = f"unsealed {reason}" if named else f"unsealed: {reason}"
    parts = (reason, finding.advice)
    text = " ".join(
        f"{part[0].upper()}{part[1:].rstrip('.')}." for part in map(_shown, parts) if part
    )
    return text.replace("](", "] (").replace("{", "{{").replace("}", "}}")


def _fingerprints(finding: Finding, uri: str) -> dict[str, str]:
    """Return fingerprints that identify a result across runs, by place, verdict and content.

    `primaryLocationLineHash`, which GitHub uses, is left to its upload action: that warns about any
    that it did not compute.
    """
    place = hashlib.sha256(f"{uri}\n{finding.verdict.value}".encode()).hexdigest()
    content = {} if finding.digest is None else {"content/v1": finding.digest}
    return {"pathAndVerdict/v1": place, **content}


def _properties(finding: Finding) -> _Json:
    fields: _Json = {"verdict": finding.verdict.value}
    if finding.contents is not None:
        fields |= _of_contents(finding.contents)
    if finding.envelope is not None:
        fields["keyId"] = finding.envelope.key_id
        fields["vouchedFor"] = finding.envelope.status.value
        metadata = finding.envelope.metadata
        if metadata is not None and metadata.context is not None:
            fields["context"] = _shown(metadata.context)
    if finding.change is not None:
        fields["change"] = finding.change.value
    if finding.moved_from is not None:
        fields["movedFrom"] = _shown(finding.moved_from)
    return fields


def _of_contents(contents: Contents) -> _Json:
    names = contents.names[:MAX_NAMES]
    return {
        "kind": _shown(contents.kind),
        "grade": contents.grade.label,
        "names": [_shown(f"{n.module}.{n.name}") for n in names],
        "known": [_shown(str(name)) for name in contents.names if name.known][:MAX_NAMES],
        "namesInAll": len(contents.names),
        "reasons": [_shown(reason) for reason in contents.reasons[:MAX_NAMES]],
    }


def _shown(text: str) -> str:
    return shown(text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}...")
