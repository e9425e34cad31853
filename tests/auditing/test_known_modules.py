"""Modules that a team says it knows: what rests on that, and what an audit fails on."""

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from armed import build, fields, look, make, number, text, whole
from command import as_json, run
from reports import sarif

from pickleseal import audit
from pickleseal.auditing.findings import Change, Finding, Level, Verdict
from pickleseal.auditing.report import FAIL_ON, Report
from pickleseal.scanner.grade import Contents, Grade

OWN = whole(build(make(look("mycompany.models", "Model")), fields(weight=number(1))))
OTHER = whole(build(make(look("elsewhere", "Model")), fields(weight=number(1))))
ARMED = whole(look("mycompany.models", "os"))
PRETENDER = whole(make(look("mycompany_models", "Model")))


@pytest.fixture(autouse=True)
def no_keyring(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def found(data: bytes, *known: str) -> Finding:
    Path("model.pkl").write_bytes(data)
    (finding,) = audit("model.pkl", known=known).report().findings
    return finding


def grade_of(finding: Finding) -> Grade:
    assert finding.contents is not None
    return finding.contents.grade


@pytest.mark.parametrize("known", ["mycompany.models", "mycompany"])
def test_names_of_a_known_module_count_as_data(known: str) -> None:
    assert grade_of(found(OWN)) == Grade.UNKNOWN
    finding = found(OWN, "another", known)
    assert grade_of(finding) == Grade.DATA
    assert finding.level == Level.WARNING  # nobody vouches for it, all the same


@pytest.mark.parametrize(
    ("data", "grade"), [(OTHER, Grade.UNKNOWN), (PRETENDER, Grade.UNKNOWN), (ARMED, Grade.BEYOND)]
)
def test_all_else_keeps_its_grade(data: bytes, grade: Grade) -> None:
    assert grade_of(found(data, "mycompany")) == grade


def test_a_finding_says_what_rests_on_known_modules() -> None:
    both = OWN[:-1] + b"0" + OTHER[2:]
    for data, told in ((OWN, True), (both, True), (OTHER, False)):
        finding = found(data, "mycompany")
        said = finding.to_dict()["contents"]
        assert said.get("known") == (["mycompany.models.Model"] if told else None)
        assert any("mycompany.models.Model" in reason for reason in said.get("reasons", ())) == told
    assert "elsewhere.Model" in found(both, "mycompany").reason
    assert grade_of(found(both, "mycompany")) == Grade.UNKNOWN


def test_a_report_names_the_modules_that_were_known() -> None:
    Path("model.pkl").write_bytes(OWN)
    report = audit("model.pkl", known=["mycompany"]).report()
    assert report.known == ("mycompany",)
    assert report.to_dict()["known"] == ["mycompany"]
    (result,) = json.loads(sarif(report))["runs"][0]["results"]
    assert result["properties"]["known"] == ["mycompany.models.Model"]


@pytest.mark.parametrize("known", ["os", "pickle.x", "builtins", "", "a b", "a.", "*", "a/b"])
def test_what_can_be_no_known_module_is_refused(known: str) -> None:
    with pytest.raises(ValueError, match="known takes modules"):
        found(OWN, known)


def test_one_text_is_no_list_of_known_modules() -> None:
    with pytest.raises(TypeError):
        audit(".", known="mycompany")


# -- what an audit fails on


def finding(verdict: Verdict, level: Level, grade: Grade | None = None, **more: Any) -> Finding:
    contents = None if grade is None else Contents("pickle, protocol 4", grade)
    return Finding("a", verdict, level, contents=contents, **more)


SORTED = [
    finding(Verdict.UNSEALED, Level.ERROR, Grade.BEYOND),
    finding(Verdict.BAD_BODY, Level.ERROR),
    finding(Verdict.UNSEALED, Level.WARNING, Grade.UNKNOWN),
    finding(Verdict.UNSEALED, Level.WARNING, Grade.DATA, change=Change.CHANGED),
    finding(Verdict.EXPIRED, Level.WARNING),
    finding(Verdict.UNSEALED, Level.WARNING, Grade.DATA),
    finding(Verdict.UNSEALED, Level.WARNING, Grade.DATA, change=Change.NEW),
    finding(Verdict.SEALED_RETIRED, Level.NOTE),
    finding(Verdict.SEALED, Level.NONE),
]


@pytest.mark.parametrize(("fail_on", "count"), [*zip(FAIL_ON, [2, 5, 7, 8, 0], strict=True)])
def test_each_border_lets_through_what_is_less_grave(fail_on: str, count: int) -> None:
    report = Report(tuple(SORTED), ("a",), 0, 0.0, "9.9")
    assert report.failing(fail_on) == tuple(SORTED[:count])


def test_unknown_names_and_data_are_told_apart_by_the_exit_code_and_in_groups() -> None:
    Path("data.pkl").write_bytes(pickle.dumps([1]))
    assert run("audit", ".", "--fail-on", "unknown").returncode == 0
    Path("own.pkl").write_bytes(OWN)
    done = run("audit", ".", "--fail-on", "unknown")
    assert done.returncode == 1
    data, unknown = (done.stdout.index(f"unsealed, {g.label}") for g in (Grade.DATA, Grade.UNKNOWN))
    advice = done.stdout[unknown:data], done.stdout[data:]
    assert ["--known" in part for part in advice] == [True, False]
    known = run("audit", ".", "--fail-on", "unknown", "--known", "mycompany.models")
    assert known.returncode == 0
    assert run("audit", ".", "--known", "os").returncode == 2


def test_known_modules_of_the_settings_and_of_the_command_are_put_together() -> None:
    Path("own.pkl").write_bytes(OWN)
    Path("other.pkl").write_bytes(OTHER)
    Path("pyproject.toml").write_text('[tool.pickleseal.audit]\nknown = ["mycompany"]\n')
    arguments = ("audit", "own.pkl", "other.pkl", "--known", "elsewhere", "--format", "json")
    done = as_json(run(*arguments))
    assert done["known"] == ["elsewhere", "mycompany"]
    assert {f["contents"]["grade"] for f in done["findings"]} == {Grade.DATA.label}


def test_the_page_says_in_which_group_a_file_is_and_what_its_grade_rests_on() -> None:
    for name, data in (("own.pkl", OWN), ("other.pkl", OTHER)):
        Path(name).write_bytes(data)
    assert run("audit", "own.pkl", "other.pkl", "--html", "a.html", "--known", "mycompany").stdout
    page = Path("a.html").read_text()
    assert "Unsealed, data only" in page
    assert "Unsealed, unknown names" in page
    assert "in modules listed as known: mycompany.models.Model" in page


def test_the_rules_of_code_scanning_differ() -> None:
    reports = [Report((one,), ("a",), 0, 0.0, "9.9") for one in (SORTED[2], SORTED[5])]
    runs = [json.loads(sarif(report))["runs"][0] for report in reports]
    rules = [r["tool"]["driver"]["rules"][r["results"][0]["ruleIndex"]] for r in runs]
    assert rules[0]["id"] != rules[1]["id"]
    assert rules[0]["help"]["text"] != rules[1]["help"]["text"]


def test_a_state_that_has_statsmodels_evaluate_a_formula_is_beyond() -> None:
    where = look("statsmodels.base.data", "PandasData")
    for key in ("restore_design_info", "restore_model_spec"):
        state = fields(**{key: number(1), "formula": text("open('mark', 'w')")})
        assert grade_of(found(whole(build(make(where), state)))) == Grade.BEYOND
    assert grade_of(found(whole(build(make(where), fields(formula=text("y ~ x")))))) != Grade.BEYOND


@pytest.mark.parametrize(
    "options",
    [
        {"known": [1]},
        {"include": [b"*.pkl"]},
        {"exclude": "*.pkl"},
        {"context": {1: "fraud"}},
        {"context": {"*": 1}},
        {"context": 5},
        {"context": ["fraud"]},
    ],
)
def test_an_option_of_the_wrong_type_is_refused_by_its_name(options: dict[str, Any]) -> None:
    (option,) = options
    with pytest.raises(TypeError, match=option):
        audit(".", **options)
