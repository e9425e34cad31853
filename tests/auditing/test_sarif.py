"""SARIF: valid by the official schema, whatever the names are, and within what GitHub takes."""

import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit

import jsonschema  # type: ignore[import-untyped,unused-ignore]
import pytest
from reports import sarif

from pickleseal.auditing.findings import Change, Finding, Level, Verdict
from pickleseal.auditing.formats import sarif as sarif_room
from pickleseal.auditing.formats.sarif import MAX_NAMES, MAX_RESULTS
from pickleseal.auditing.report import Report, Ring
from pickleseal.envelope.metadata import Metadata
from pickleseal.persistence.inspection import Inspection, Status
from pickleseal.scanner.grade import Contents, Grade, GradedName

# From the repository of the standard: tests/data/README.md says which version.
SCHEMA = json.loads(
    (Path(__file__).parents[1] / "data/sarif-2.1.0.json").read_text(encoding="utf-8")
)
VALIDATOR = jsonschema.Draft4Validator(
    SCHEMA, format_checker=jsonschema.Draft4Validator.FORMAT_CHECKER
)

HOSTILE = [
    "a\nb.pkl",
    "\x1b[2J\x1b[31m.pkl",
    "quote\"'`.pkl",
    os.fsdecode(b"latin-\xe9\xff.pkl"),
    "per%20cent%.pkl",
    "[see](https:elsewhere.invalid).pkl",
    "{0}.pkl",
    "ünïcödé \u202egnp.pkl",
    "c:drive.pkl",
    "query?#fragment.pkl",
    "back\\slash.pkl",
    "-rf.pkl",
    " .pkl ",
]
POSIX = pytest.mark.skipif(os.name != "posix", reason="no such names elsewhere")


def finding(
    path: str = "models/a.pkl",
    verdict: Verdict = Verdict.UNSEALED,
    level: Level = Level.WARNING,
    **more: Any,
) -> Finding:
    return Finding(path, verdict, level, **more)


def report(*findings: Finding) -> Report:
    ring = Ring("team", "0123", 3)
    return Report(findings, ("models",), 1_790_000_000, 1.25, "9.9", ring)


def run_of(*findings: Finding) -> dict[str, Any]:
    """Return the one run of a report, validated against the schema."""
    document = json.loads(sarif(report(*findings)))
    VALIDATOR.validate(document)
    (run,) = document["runs"]
    assert isinstance(run, dict)
    return run


def result_of(one: Finding) -> dict[str, Any]:
    (result,) = run_of(one)["results"]
    assert isinstance(result, dict)
    return result


def uri_of(result: dict[str, Any]) -> str:
    uri = result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    assert isinstance(uri, str)
    return uri


def contents(grade: Grade, *names: GradedName) -> Contents:
    return Contents("pickle, protocol 4", grade, names=names, reasons=("it says so",))


def inspection(context: str | None) -> Inspection:
    metadata = Metadata("pickle", context=context)
    return Inspection(
        Status.HEADER, None, "a.pkl", "ab" * 16, 2, 640, "stored", (64,), metadata, None
    )


def test_the_schema_refuses_what_is_no_sarif() -> None:
    document = json.loads(sarif(report(finding())))
    document["runs"][0]["results"][0]["level"] = "grave"
    assert not VALIDATOR.is_valid(document)
    document = json.loads(sarif(report(finding())))
    document["runs"][0]["invocations"][0]["startTimeUtc"] = "yesterday"
    assert not VALIDATOR.is_valid(document)


def test_an_audit_that_found_nothing_is_a_run_without_results() -> None:
    run = run_of()
    assert run["results"] == []
    assert run["invocations"][0]["toolExecutionNotifications"] == []


@pytest.mark.parametrize("change", [None, *Change])
@pytest.mark.parametrize("verdict", Verdict)
def test_each_verdict_and_change_has_a_rule(verdict: Verdict, change: Change | None) -> None:
    run = run_of(finding(verdict=verdict, change=change, moved_from="models/b.pkl"))
    (result,) = run["results"]
    rules = run["tool"]["driver"]["rules"]
    assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
    assert result["message"]["text"]


def test_a_verdict_that_is_no_fault_takes_the_rule_of_its_change() -> None:
    older = finding(verdict=Verdict.SEALED, level=Level.ERROR, change=Change.OLDER)
    assert result_of(older)["ruleId"] == "pickleseal/older"
    revoked = older._replace(verdict=Verdict.REVOKED)
    assert result_of(revoked)["ruleId"] == "pickleseal/revoked-key"


def test_unsealed_files_that_reach_beyond_data_have_a_graver_rule_of_their_own() -> None:
    run = run_of(
        finding(contents=contents(Grade.DATA)),
        finding(contents=contents(Grade.BEYOND), level=Level.ERROR),
        finding(contents=contents(Grade.CANNOT_TELL)),
    )
    ids = [result["ruleId"] for result in run["results"]]
    assert sorted(ids) == [
        "pickleseal/unsealed",
        "pickleseal/unsealed-beyond",
        "pickleseal/unsealed-cannot-be-told",
    ]
    severity = {
        rule["id"]: float(rule["properties"]["security-severity"])
        for rule in run["tool"]["driver"]["rules"]
    }
    assert severity["pickleseal/unsealed-beyond"] > 9.0 > severity["pickleseal/unsealed"]


def test_each_rule_has_what_github_asks_for() -> None:
    rules = run_of()["tool"]["driver"]["rules"]
    assert len({rule["id"] for rule in rules}) == len({rule["name"] for rule in rules})
    assert len({rule["id"] for rule in rules}) == len(rules)
    for rule in rules:
        assert rule["id"].startswith("pickleseal/")
        assert 0 < len(rule["name"]) <= 255
        assert 0 < len(rule["shortDescription"]["text"]) <= 1024
        assert 0 < len(rule["fullDescription"]["text"]) <= 1024
        assert rule["help"]["text"]
        assert rule["help"]["markdown"]
        assert "`" not in rule["help"]["text"]
        assert rule["defaultConfiguration"]["level"] in ("note", "warning", "error")
        assert rule["properties"]["tags"] == ["security"]
        assert 0.0 < float(rule["properties"]["security-severity"]) <= 10.0


def test_rules_do_not_depend_on_what_was_found() -> None:
    assert run_of()["tool"] == run_of(finding(), finding(verdict=Verdict.MISSING))["tool"]


def test_what_is_not_worth_a_note_is_no_result() -> None:
    run = run_of(
        finding("a", Verdict.SEALED, Level.NONE),
        finding("b", Verdict.SEALED_RETIRED, Level.NOTE),
        finding("c", Verdict.NO_PICKLE, Level.NONE),
        finding("d", Verdict.BAD_BODY, Level.ERROR),
    )
    levels = [(uri_of(result), result["level"]) for result in run["results"]]
    assert levels == [("b", "note"), ("d", "error")]
    assert [artifact["location"]["uri"] for artifact in run["artifacts"]] == ["b", "d"]


def test_a_message_gives_the_reason_and_the_advice() -> None:
    text = result_of(finding(reason="nobody vouches for it", advice="seal it"))["message"]["text"]
    assert text == "Nobody vouches for it. Seal it."
    pickle = Contents("pickle, protocol 4", Grade.DATA, 1, ())
    graded = finding(reason="pickle, protocol 4: data", contents=pickle)
    assert result_of(graded)["message"]["text"] == "Unsealed pickle, protocol 4: data."


@POSIX
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_a_uri_that_gives_every_byte_of_it_back(name: str) -> None:
    result = result_of(finding(f"models/{name}", reason=f"{name} is odd", advice=name))
    location = result["locations"][0]["physicalLocation"]["artifactLocation"]
    assert location["uriBaseId"] == "%SRCROOT%"
    assert location["uri"].isascii()
    assert urlsplit(location["uri"])[:2] == ("", "")
    assert urlsplit(location["uri"]).path == location["uri"]
    assert unquote_to_bytes(location["uri"]) == os.fsencode(f"models/{name}")


@POSIX
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_acts_in_no_text(name: str) -> None:
    names = [GradedName(name, name, Grade.BEYOND)]
    hostile = finding(
        name,
        Verdict.UNREADABLE,
        reason=f"{name} is odd",
        advice=name,
        contents=Contents(name, Grade.BEYOND, names=tuple(names), reasons=(name,)),
        envelopes=(inspection(name.encode("utf-8", "replace").decode()),),
        moved_from=name,
    )
    written = sarif(report(hostile))
    assert written.isascii()
    (result,) = run_of(hostile)["results"]
    for text in texts(result):
        assert text.isprintable()
    message = result["message"]["text"]
    assert "](" not in message
    assert "{0}" not in message.replace("{{", "").replace("}}", "")


def texts(value: object) -> list[str]:
    if isinstance(value, dict):
        return [text for part in value.values() for text in texts(part)]
    if isinstance(value, list):
        return [text for part in value for text in texts(part)]
    return [value] if isinstance(value, str) else []


@POSIX
def test_an_absolute_path_is_a_file_uri_without_a_base() -> None:
    result = result_of(finding("/srv/models/a b.pkl"))
    location = result["locations"][0]["physicalLocation"]["artifactLocation"]
    assert location["uri"] == "file:///srv/models/a%20b.pkl"
    assert "uriBaseId" not in location


@POSIX
def test_a_path_is_the_same_however_it_was_named() -> None:
    assert uri_of(result_of(finding("./models//a.pkl"))) == "models/a.pkl"


def test_the_base_of_relative_paths_names_no_folder_of_this_machine() -> None:
    assert "uri" not in run_of(finding())["originalUriBaseIds"]["%SRCROOT%"]


def test_fingerprints_stay_the_same_until_path_verdict_or_content_change() -> None:
    def marks(one: Finding) -> dict[str, str]:
        found = result_of(one)["partialFingerprints"]
        assert isinstance(found, dict)
        return found

    first = finding(digest="sha256:" + "0" * 64, reason="once")
    key = "pathAndVerdict/v1"
    assert marks(first) == marks(first._replace(reason="later", size=7))
    assert marks(first)[key] != marks(first._replace(path="models/b.pkl"))[key]
    assert marks(first)[key] != marks(first._replace(verdict=Verdict.REVOKED))[key]
    swapped = marks(first._replace(digest="sha256:" + "1" * 64))
    assert marks(first)[key] == swapped[key]
    assert marks(first) != swapped


def test_the_fingerprint_that_the_upload_action_makes_is_left_to_it() -> None:
    assert "primaryLocationLineHash" not in result_of(finding())["partialFingerprints"]


def test_artifacts_have_their_size_and_hash_where_known() -> None:
    run = run_of(
        finding("a", size=7, digest="sha256:" + "ab" * 32),
        finding("b", digest="ps2:" + "cd" * 32),
        finding("c"),
    )
    first, second, third = run["artifacts"]
    assert first["length"] == 7
    assert first["hashes"] == {"sha-256": "ab" * 32}
    assert second["hashes"] == {"ps2": "cd" * 32}
    assert "hashes" not in third
    assert "length" not in third


def test_each_result_points_to_its_artifact() -> None:
    run = run_of(
        finding("a", level=Level.NOTE),
        finding("b", level=Level.ERROR),
        finding("a", Verdict.MISSING, level=Level.ERROR),
    )
    assert len(run["artifacts"]) == 2
    for result in run["results"]:
        location = dict(result["locations"][0]["physicalLocation"]["artifactLocation"])
        assert run["artifacts"][location.pop("index")]["location"] == location


def test_a_result_tells_what_is_known_of_contents_and_envelope() -> None:
    names = [GradedName("os", f"name{n}", Grade.BEYOND) for n in range(MAX_NAMES + 5)]
    told = result_of(
        finding(
            contents=contents(Grade.BEYOND, *names),
            envelopes=(inspection("fraud/v3"),),
            change=Change.MOVED,
            moved_from="old/a.pkl",
        )
    )["properties"]
    assert told["verdict"] == "unsealed"
    assert told["grade"] == "reaches beyond"
    assert told["names"][0] == "os.name0"
    assert len(told["names"]) == MAX_NAMES
    assert told["namesInAll"] == MAX_NAMES + 5
    assert told["keyId"] == "ab" * 16
    assert told["vouchedFor"] == "header"
    assert told["context"] == "fraud/v3"
    assert told["change"] == "moved"
    assert told["movedFrom"] == "old/a.pkl"


def test_a_long_text_from_outside_does_not_make_a_long_document() -> None:
    names = [GradedName("m" * 100_000, "n" * 100_000, Grade.BEYOND)]
    long = finding(reason="r" * 100_000, contents=contents(Grade.BEYOND, *names))
    assert len(sarif(report(long))) - len(sarif(report(finding()))) < 10_000


def test_a_run_with_unreadable_files_succeeded_and_says_which_they_are() -> None:
    run = run_of(finding("models/locked.pkl", Verdict.UNREADABLE, reason="no permission"))
    (invocation,) = run["invocations"]
    assert invocation["executionSuccessful"] is True
    assert invocation["startTimeUtc"] == "2026-09-21T14:13:20.000Z"
    assert invocation["endTimeUtc"] == "2026-09-21T14:13:21.250Z"
    (notification,) = invocation["toolExecutionNotifications"]
    assert notification["level"] == "warning"
    assert notification["message"]["text"] == "No permission."
    location = notification["locations"][0]["physicalLocation"]["artifactLocation"]
    assert location["uri"] == "models/locked.pkl"


def test_more_findings_than_github_takes_in_a_run_are_told_in_several(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert MAX_RESULTS <= 25_000
    monkeypatch.setattr(sarif_room, "MAX_RESULTS", 40)
    fine = [finding(f"fine-{n}.pkl", Verdict.SEALED, Level.NONE) for n in range(9)]
    notes = [finding(f"{n}.pkl", Verdict.LEFTOVER, Level.NOTE) for n in range(40)]
    locked = [finding(f"locked-{n}.pkl", Verdict.UNREADABLE) for n in range(41)]
    grave = finding("grave.pkl", Verdict.BAD_BODY, Level.ERROR)
    document = json.loads(sarif(report(*fine, *notes, *locked, grave)))
    VALIDATOR.validate(document)
    runs = document["runs"]
    assert [run["automationDetails"]["id"] for run in runs] == [
        "pickleseal/part-1/",
        "pickleseal/part-2/",
        "pickleseal/part-3/",
    ]
    paths = [
        run["artifacts"][place["index"]]["location"]["uri"]
        for run in runs
        for result in run["results"]
        for place in [result["locations"][0]["physicalLocation"]["artifactLocation"]]
    ]
    assert paths == [one.path for one in (*notes, *locked, grave)]
    assert [len(run["artifacts"]) for run in runs] == [40, 40, 2]
    told = [len(run["invocations"][0]["toolExecutionNotifications"]) for run in runs]
    assert told == [0, 40, 1]


def test_as_many_findings_as_github_takes_are_one_run_of_no_part(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sarif_room, "MAX_RESULTS", 40)
    run = run_of(*(finding(f"{n}.pkl") for n in range(40)))
    assert len(run["results"]) == 40
    assert "automationDetails" not in run
