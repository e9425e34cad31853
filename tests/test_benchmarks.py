"""The benchmark runs and gives what it promises. How fast anything is, is no matter of a test."""

import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks/results.json"
WAYS = {
    "pickle", "pickleseal", "pickleseal-sha256", "pickleseal-zstd", "pickleseal-zstd-1", "hmac",
    "modelstamp", "securepickle", "joblib", "joblib-3", "cloudpickle", "skops",
}  # fmt: skip

pytestmark = [
    pytest.mark.skipif(not (ROOT / "benchmarks").is_dir(), reason="the benchmarks are not here"),
    pytest.mark.sweep,
    pytest.mark.timeout(600),
]


def run(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments],
        cwd=ROOT,
        env={
            key: value
            for key, value in os.environ.items()
            if key != "PYTHONOPTIMIZE" and not key.startswith("COVERAGE_")
        },
        capture_output=True,
        encoding="utf-8",
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder that a quick run with a few small objects wrote."""
    folder = tmp_path_factory.mktemp("benchmark")
    names = ("settings", "iris-file", "array", "memory", "start", "audit", "stores")
    only = [word for name in names for word in ("--only", name)]
    shown = run("--quick", *only, "--output", str(folder))
    assert "iris KNN" in shown
    return folder


def rows_of(data: dict[str, Any]) -> list[dict[str, Any]]:
    return [row for case in data["cases"] for row in case["rows"]]


def check_shape(data: dict[str, Any]) -> None:
    for case in data["cases"]:
        assert [row["way"] for row in case["rows"]] == [way["name"] for way in data["ways"]]
        assert {row["way"] for row in case["rows"]} == WAYS
    for row in rows_of(data):
        if row["status"] != "measured":
            assert row["reason"], row
            continue
        assert row["rounds"] >= 1
        assert row["size"] > 0
        for timing in row["parts"].values():
            assert len(timing["samples"]) == row["rounds"]
            assert 0 < timing["minimum"] <= timing["median"]
            assert 0 < timing["ratio_quartiles"][0] <= timing["ratio_quartiles"][1]
    for row in data["memory"]:
        assert row["reason"] or (row["dump"] > 0 and row["load"] > 0), row
        assert not (row["reason"] and row["way"].startswith("pickleseal")), row
    for row in data.get("audits", []):
        assert row["reason"] or row["timing"]["median"] > 0, row
    for row in data.get("stores", []):
        assert row["reason"] or (row["requests"] and row["timing"]["median"] > 0), row
    for row in data["start"]:
        assert row["reason"] or row["timing"]["median"] > 0, row


def test_a_quick_run_measures_each_way_or_says_why_not(written: Path) -> None:
    data = json.loads((written / "results.json").read_text(encoding="utf-8"))
    assert data["quick"] is True
    assert [case["name"] for case in data["cases"]] == ["settings", "iris-file", "array"]
    check_shape(data)
    audits = {(row["tree"], row["tool"]): row["reason"] for row in data["audits"]}
    for tree in ("small", "large", "plain"):
        assert audits[tree, "pickleseal audit"] is None
    ours = [row for row in rows_of(data) if row["way"] in ("pickle", "pickleseal", "hmac")]
    assert {row["status"] for row in ours} == {"measured"}
    assert {row["status"] for row in rows_of(data)} <= {"measured", "skipped", "left out"}


def test_a_run_names_neither_the_host_nor_a_path(written: Path) -> None:
    for file in written.iterdir():
        text = file.read_text(encoding="utf-8")
        for private in (os.uname().nodename, str(ROOT), str(written), str(Path.home())):
            assert len(private) < 4 or private not in text, (file.name, private)


def test_a_run_draws_a_picture_and_writes_two_pages(written: Path) -> None:
    picture = ET.parse(written / "speed.svg").getroot()
    assert picture.tag == "{http://www.w3.org/2000/svg}svg"
    for name in ("speed.md", "figures.md"):
        page = (written / name).read_text(encoding="utf-8")
        assert "| iris KNN, as a file: dump |" in page
        assert "hand-rolled HMAC" in page


@pytest.mark.skipif(not RESULTS.exists(), reason="the benchmark has not been run")
def test_the_pages_and_the_picture_show_the_results_that_are_kept(tmp_path: Path) -> None:
    check_shape(json.loads(RESULTS.read_text(encoding="utf-8")))
    run("--plot-only", "--output", str(tmp_path))
    drawn = (tmp_path / "speed.svg").read_text(encoding="utf-8")
    assert drawn == (ROOT / "docs/pictures/speed.svg").read_text(encoding="utf-8")
    for name in ("speed.md", "figures.md"):
        written = (tmp_path / name).read_text(encoding="utf-8").strip()
        assert written in (ROOT / "docs/explanation" / name).read_text(encoding="utf-8")


def test_an_object_that_there_is_not_is_refused() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--only", "nothing"],
        cwd=ROOT,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 2
    assert "there is no nothing" in done.stderr
