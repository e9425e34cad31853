"""`pickleseal audit`, as a process: what it prints and writes, its exit codes, its settings."""

import json
import os
import pickle
import re
import subprocess
import sys
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from command import as_json, run, unmeasured
from mixed import mixed
from watching import Mark

from pickleseal import Key, Keyring, Suite, open_keyring, signed_dump
from pickleseal.auditing.findings import Finding, Level, Verdict
from pickleseal.auditing.formats.plain import JsonDocument, to_line
from pickleseal.auditing.report import Report
from pickleseal.cli.reports import Reports
from pickleseal.keys.store import changes
from pickleseal.keys.store.changes import create_key
from pickleseal.persistence.inventory_file import read_inventory


@pytest.fixture
def ring(tmp_path: Path) -> Path:
    folder = tmp_path / "ring"
    create_key(folder, suite=Suite.BLAKE3, now=1_700_000_000)
    return folder


@pytest.fixture
def models(tmp_path: Path, ring: Path) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    for number in range(3):
        signed_dump(number, folder / f"{number}.pkl", keyring=ring, context=f"m/{number}")
    return folder


def arm(models: Path) -> Path:
    path = models / "armed.pkl"
    path.write_bytes(pickle.dumps(Mark(models.parent / "mark")))
    return path


# --- exit codes ------------------------------------------------------------------------------


def test_the_exit_code_follows_the_gravest_finding(models: Path, ring: Path) -> None:
    audit = ("audit", models, "--keyring", ring)
    assert run(*audit, "--fail-on", "note").returncode == 0
    (models / "link").symlink_to("0.pkl")
    assert [run(*audit, "--fail-on", x).returncode for x in ("note", "warning")] == [1, 0]
    (models / "data").write_bytes(pickle.dumps([1]))
    assert [run(*audit, "--fail-on", x).returncode for x in ("warning", "error")] == [1, 0]
    arm(models)
    assert [run(*audit, "--fail-on", x).returncode for x in ("error", "never")] == [1, 0]
    assert run(*audit).returncode == 1
    assert not (models.parent / "mark").exists()


def test_what_cannot_run_exits_with_2_and_says_why(models: Path, ring: Path) -> None:
    (models / "empty").mkdir()
    cases: list[tuple[object, ...]] = [
        (models / "gone", "--keyring", ring),
        (models / "empty", "--keyring", ring),
        (models, "--keyring", models),
        (models, "--keyring", ring, "--format", "xml"),
        (models, "--keyring", ring, "--output", "json"),
        (models, "--keyring", ring, "--output", "text=x"),
        (models, "--keyring", ring, "--baseline", models / "gone"),
        (models, "--keyring", ring, "--baseline-sha256", "0" * 64),
        (models, "--keyring", ring, "--baseline-context", "lists"),
        (models, "--keyring", ring, "--inventory-context", "lists"),
        (models, "--keyring", ring, "--inventory", models / "no" / "folder"),
        (models, "--keyring", ring, "--html", models),
        ("--keyring", ring),
    ]
    for arguments in cases:
        done = run("audit", *arguments, cwd=models)
        assert done.returncode == 2, arguments
        assert done.stderr
    error = as_json(run("audit", models / "gone", "--format", "json"))["error"]
    assert error["kind"] == "FileNotFoundError"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_file_that_cannot_be_read_outweighs_one_that_failed(models: Path, ring: Path) -> None:
    pipe = models.parent / "pipe"
    os.mkfifo(pipe)
    arm(models)
    assert run("audit", pipe, models, "--keyring", ring).returncode == 2
    assert run("audit", pipe, models, "--keyring", ring, "--fail-on", "error").returncode == 1


def test_without_a_key_unsealed_files_are_found_all_the_same(models: Path) -> None:
    armed = arm(models)
    done = run("audit", armed, "--format", "json")
    assert done.returncode == 1
    (finding,) = as_json(done)["findings"]
    assert finding["verdict"] == "unsealed"
    assert finding["contents"]["grade"] == "reaches beyond"


# --- what is printed and written -------------------------------------------------------------


def test_what_people_read_adds_up_and_can_be_pasted(tmp_path: Path) -> None:
    models, ring = mixed(tmp_path)
    done = run("audit", models, "--keyring", ring)
    found = re.search(
        r"(\d+) of \d+ files need attention: (\d+) errors, (\d+) warnings; \d+ notes", done.stderr
    )
    assert found is not None, done.stderr
    assert int(found[1]) == int(found[2]) + int(found[3])
    for line in (f"keys import key.txt --keyring {ring}", "adopt FILE", "truncated: only 1 byte\n"):
        assert line in done.stdout
    done = run("verify", models, "--keyring", ring)
    found = re.search(r"(\d+) checked: (\d+) whole, (\d+) refused; \d+ skipped, \d+", done.stderr)
    assert found is not None, done.stderr
    assert int(found[1]) == int(found[2]) + int(found[3])
    shown = run("inspect", models / "changed" / "at -40", "--keyring", ring).stdout
    assert "not checked" not in shown
    header = run("inspect", "--header-only", models / "sealed" / "large", "--keyring", ring).stdout
    assert "not checked" in header


def test_people_see_findings_by_severity_and_a_summary(models: Path, ring: Path) -> None:
    arm(models)
    for number in range(30):
        (models / f"plain{number}").write_bytes(pickle.dumps([1]))
    done = run("audit", models, "--keyring", ring)
    text = done.stdout
    assert text.index("ERROR 1") < text.index("armed.pkl") < text.index("WARNING 30")
    assert "pathlib" in text
    assert text.count("pickleseal adopt") == 1  # what to do stands there once for all of a kind
    assert text.count("plain") == 12
    assert "and 18 more: --all" in text
    assert "31 of 34 files need attention" in done.stderr
    assert "\x1b" not in done.stdout + done.stderr
    text = run("audit", models, "--keyring", ring, "--all").stdout
    assert all(f"plain{number}" in text for number in range(30))
    assert "--all" not in text


def test_terminal_page_and_json_count_the_same_files(
    models: Path, ring: Path, tmp_path: Path
) -> None:
    arm(models)
    (models / "kept.txt").write_text("excluded")
    page = tmp_path / "page.html"
    done = run("audit", models, "--keyring", ring, "--exclude", "*.txt", "--json", "--html", page)
    report = as_json(done)
    counts = (report["need_attention"], report["files"], report["verdicts"]["skipped"])
    assert counts == (1, len(report["findings"]) - 1, 1)
    headline = f"1 of {report['files']} files (1 left out) needs attention"
    assert headline in done.stderr
    assert headline in page.read_text()


def test_json_is_the_same_as_format_json(models: Path, ring: Path) -> None:
    short, long = (
        as_json(run("audit", models, "--keyring", ring, *form))
        for form in (["--json"], ["--format", "json"])
    )
    assert short["findings"] == long["findings"]
    assert run("audit", models, "--json", "--format", "sarif").returncode == 2


def test_nothing_that_stands_in_a_file_or_name_acts_on_a_terminal(models: Path, ring: Path) -> None:
    name = os.fsdecode(b"\x1b[31mred\n0 errors \xff\xe2\x80\xae.pkl")
    (models / name).write_bytes(b"cos\x1b[1m\nsys\xe2\x80\xaetem\n.")
    signed_dump(1, models / "a", keyring=Keyring(Key.generate()), info={"x": "\u202e"})
    for form in ("text", "json", "jsonl", "sarif"):
        done = run("audit", models, "--keyring", ring, "--format", form)
        assert done.returncode == 1
        for text in ("\x1b", "\u202e", "\n0 errors", "\udcff"):
            assert text not in done.stdout + done.stderr, form


def test_several_outputs_are_written_in_one_run(models: Path, ring: Path, tmp_path: Path) -> None:
    arm(models)
    paths = {kind: tmp_path / f"it.{kind}" for kind in ("json", "jsonl", "sarif", "html")}
    outputs = [f"--output={kind}={path}" for kind, path in paths.items() if kind != "html"]
    done = run(
        "audit", models, "--keyring", ring, *outputs, "--html", paths["html"], "--format", "jsonl"
    )
    assert done.returncode == 1
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    whole = json.loads(paths["json"].read_text())
    assert whole["findings"] == lines
    assert paths["jsonl"].read_text() == done.stdout
    assert whole["levels"] == {"error": 1, "warning": 0, "note": 0, "none": 3}
    assert whole["ring"]["primary"] == open_keyring(ring).primary
    assert json.loads(paths["sarif"].read_text())["version"] == "2.1.0"
    assert "armed.pkl" in paths["html"].read_text()
    armed = next(one for one in lines if one["path"].endswith("armed.pkl"))
    named = {(name, grade) for _module, name, grade in armed["contents"]["names"]}
    assert ("Path.touch", "reaches beyond") in named  # of pathlib, or of pathlib._local in 3.13


def test_no_report_or_list_takes_the_place_of_a_model(
    models: Path, ring: Path, tmp_path: Path
) -> None:
    model, plain, listed = models / "0.pkl", models / "plain", tmp_path / "the.list"
    plain.write_bytes(pickle.dumps([1]))
    assert run("audit", model, "--keyring", ring, "--inventory", listed).returncode == 0
    before = [path.read_bytes() for path in (model, plain, listed)]
    for outputs in (
        ("--html", model),
        ("--html", plain),
        ("--html", listed),
        ("--output", f"json={model}"),
        ("--inventory", model),
        ("--inventory", plain),
        ("--html", tmp_path / "a", "--output", f"json={tmp_path / 'a'}"),
        ("--html", tmp_path / "no" / "folder" / "x"),
        ("--html", tmp_path),
        ("--output", "json=-"),
    ):
        done = run("audit", models, "--keyring", ring, *outputs, cwd=tmp_path)
        assert done.returncode == 2, outputs
        assert "sealed" not in done.stdout  # said before the work
    assert [path.read_bytes() for path in (model, plain, listed)] == before
    for target, said in ((model, "a sealed file"), (plain, "a pickle"), (listed, "a sealed list")):
        assert said in run("audit", models, "--keyring", ring, "--html", target).stderr
    again = ("--html", tmp_path / "a", "--inventory", listed)
    for _ in range(2):  # an old report or list may be replaced
        assert run("audit", model, "--keyring", ring, *again).returncode == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux only")
def test_output_that_cannot_be_written_is_no_success(models: Path, ring: Path) -> None:
    command = [sys.executable, "-m", "pickleseal", "audit", str(models), "--keyring", str(ring)]
    for form in ("text", "json", "jsonl", "sarif"):
        with open("/dev/full", "wb") as full:
            done = subprocess.run(
                [*command, "--format", form], stdout=full, stderr=subprocess.PIPE, check=False
            )
        assert done.returncode == 2
        assert b"Errno" not in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="no limit on the size of a file")
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_output_of_which_the_end_cannot_be_written_is_no_success(
    models: Path, ring: Path, tmp_path: Path, unbuffered: str
) -> None:
    limited = (
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (999, 999));"
        "from pickleseal.cli import main; main()"
    )
    command = [sys.executable, "-c", limited, "audit", str(models), "--keyring", str(ring)]
    with (tmp_path / "out").open("wb") as out:
        done = subprocess.run(
            [*command, "--format", "sarif"],
            stdout=out,
            env=unmeasured() | {"PYTHONUNBUFFERED": unbuffered},
            check=False,
        )
    assert done.returncode == 2


@pytest.mark.skipif(sys.platform == "win32", reason="no limit on the size of a file")
def test_a_temporary_file_that_gets_too_large_is_named_by_its_folder(tmp_path: Path) -> None:
    script = (
        "import resource, signal, tempfile; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "from pickleseal.auditing.findings import Finding, Level, Verdict;"
        "from pickleseal.auditing.formats.plain import JsonDocument;"
        "document = JsonDocument(); finding = Finding('a', Verdict.SEALED, Level.NONE);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (999, 999))\n"
        "try:\n"
        "    while True: document.add(finding)\n"
        "except OSError as error: document.close(); print(error.filename)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=unmeasured() | {"TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == (f"{tmp_path}\n", "")


def test_a_baseline_that_is_none_could_not_be_compared_with(models: Path, ring: Path) -> None:
    (models.parent / "text").write_text("no list")
    for baseline in (models.parent / "text", models / "0.pkl", models / "gone"):
        done = run("audit", models, "--keyring", ring, "--baseline", baseline)
        assert done.returncode == 2


def test_a_line_is_in_its_file_as_soon_as_its_finding_is_there(tmp_path: Path) -> None:
    target = tmp_path / "lines"
    finding = Finding("a.pkl", Verdict.SEALED, Level.NONE)
    with (
        suppress(KeyboardInterrupt),
        Reports("text", (("jsonl", str(target)),), None, most=None) as reports,
    ):
        reports.open()
        reports.add(finding)
        assert json.loads(target.read_text()) == finding.to_dict()
        raise KeyboardInterrupt
    assert target.read_text() == to_line(finding)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_the_json_document_is_that_of_the_report(count: int) -> None:
    findings = tuple(
        Finding(f"{n}\n\N{SNOWMAN}.pkl", Verdict.SEALED, Level.NONE) for n in range(count)
    )
    report = Report(findings, ("models",), 0, 0.0, "1")
    with closing(JsonDocument()) as document:
        for finding in findings:
            document.add(finding)
        text = b"".join(document.pieces(report._replace(findings=(), counted=report.counts)))
    assert text.decode() == json.dumps(report.to_dict(), indent=2) + "\n"


def test_a_report_that_cannot_be_written_leaves_the_old_one(models: Path, ring: Path) -> None:
    target = models.parent / "report.json"
    target.write_text("the old one")
    run("audit", models, "--keyring", models, "--output", f"json={target}")
    assert target.read_text() == "the old one"


def test_each_file_has_its_advice_and_what_says_more_stands_there_alone(
    models: Path, ring: Path
) -> None:
    for name in ("a.pkl", "b.pkl"):
        (models / name).write_bytes(pickle.dumps([1]))
    (models / "many.pkl").write_bytes(pickle.dumps([1]) * 2)
    text = run("audit", models, "--keyring", ring).stdout
    assert "imports only" not in text  # what they are stands behind each of them
    assert text.index("b.pkl") < text.index("→ if the file is yours, seal it: pickleseal adopt")
    many = text[text.index("unsealed, data only  1 file") :]
    assert many.index("many.pkl") < many.index("→ if the file is yours, load it where you trust it")


def test_a_file_that_is_not_searched_to_its_end_is_told(tmp_path: Path) -> None:
    with (tmp_path / "large.bin").open("wb") as file:
        file.truncate(65 << 20)
    (tmp_path / "note.txt").write_text("some words")
    told = "searched only the first 64 MiB of 1 file: --deep searches all"
    done = run("audit", tmp_path)
    assert "no pickle found in 2 files" in done.stderr
    assert told in done.stderr
    assert told not in run("audit", tmp_path, "--deep").stderr


def test_what_is_of_no_kind_is_not_called_unknown(tmp_path: Path) -> None:
    (tmp_path / "text.pkl").write_text("some words")
    files = ("--output", f"sarif={tmp_path / 'it.sarif'}", "--html", tmp_path / "it.html")
    assert "text.pkl  named like a pickle, but is text" in run("audit", tmp_path, *files).stdout
    (result,) = json.loads((tmp_path / "it.sarif").read_text())["runs"][0]["results"]
    assert result["message"]["text"].startswith("Unsealed: cannot tell what it does: named like")
    assert "10 bytes" in (tmp_path / "it.html").read_text()


def test_a_terminal_wraps_advice_behind_its_mark(models: Path, ring: Path) -> None:
    arm(models)
    terminal = {"FORCE_COLOR": "1", "COLUMNS": "40"}
    told = run("audit", ".", "--keyring", ring, cwd=models, env=terminal).stdout
    lines = re.sub(r"\x1b\[[\d;]*m", "", told).splitlines()
    advice = next(n for n, line in enumerate(lines) if line.startswith("    → "))
    assert all(len(line) <= 40 for line in lines)
    assert re.match(r" {6}\S", lines[advice + 1])


# --- lists -----------------------------------------------------------------------------------


def test_what_a_list_says_of_itself_is_what_it_holds(
    models: Path, ring: Path, tmp_path: Path
) -> None:
    arm(models)
    signed_dump(1, models / "strange.pkl", keyring=Keyring(Key.generate()))
    (models / "text").write_text("no artifact")
    done = run("audit", models, "--keyring", ring, "--inventory", tmp_path / "the.list")
    said = " ".join(done.stderr.split())
    assert "the.list, 1 of them an error; left out 1 file that cannot be listed" in said


def test_a_list_is_written_and_compared_with(models: Path, ring: Path, tmp_path: Path) -> None:
    listed = tmp_path / "the.list"
    done = run("audit", models, "--keyring", ring, "--inventory", listed)
    assert done.returncode == 0
    import hashlib

    assert hashlib.sha256(listed.read_bytes()).hexdigest() in done.stderr
    assert len(read_inventory(listed, keyring=open_keyring(ring)).inventory.items) == 3
    assert run("audit", models, "--keyring", ring, "--baseline", listed).returncode == 0
    (models / "0.pkl").unlink()
    done = run("audit", models, "--keyring", ring, "--baseline", listed, "--format", "json")
    assert done.returncode == 1
    found = {Path(f["path"]).name: f for f in as_json(done)["findings"]}
    assert found["0.pkl"]["verdict"] == found["0.pkl"]["change"] == "missing"


def test_a_baseline_for_another_context_is_told_with_the_option_that_names_it(
    models: Path, ring: Path, tmp_path: Path
) -> None:
    listed = tmp_path / "the.list"
    audit = ("audit", models, "--keyring", ring)
    written = ("--inventory", listed, "--inventory-context", "lists")
    assert run(*audit, *written).returncode == 0
    for more in ((), ("--baseline-context", "others")):
        done = run(*audit, "--baseline", listed, *more)
        assert done.returncode == 2
        assert "'lists'" in done.stderr
        assert "--baseline-context" in done.stderr
        assert "--context" not in done.stderr
    done = run(*audit, "--baseline", listed, "--baseline-context", "lists")
    assert done.returncode == 0


def test_a_list_in_whose_place_another_comes_is_told_of(
    models: Path, ring: Path, tmp_path: Path
) -> None:
    listed = tmp_path / "the.list"
    command = ("audit", models, "--keyring", ring, "--inventory", listed)
    listed.write_text("no list")
    for older in (False, True):
        done = run(*command)
        assert done.returncode == 0
        assert ("older list" in done.stderr) is older


def test_a_good_list_does_not_give_way_to_a_slip_of_the_hand(
    models: Path, ring: Path, tmp_path: Path
) -> None:
    target = tmp_path / "list"
    command = ("--inventory", target, "--keyring", ring)
    assert run("audit", models, models / "0.pkl", *command).returncode == 0
    before = target.read_bytes()
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "it.txt").write_text("text")
    for path in (tmp_path / "modles", tmp_path / "empty", tmp_path / "text"):
        assert run("audit", path, *command).returncode == 2
    assert target.read_bytes() == before


def test_what_is_refused_is_not_listed_and_the_code_says_so(
    models: Path, ring: Path, tmp_path: Path
) -> None:
    data = bytearray((models / "0.pkl").read_bytes())
    data[-1] ^= 1
    (models / "0.pkl").write_bytes(data)
    listed = tmp_path / "list"
    assert run("audit", models, "--keyring", ring, "--inventory", listed).returncode == 1
    items = read_inventory(listed, keyring=open_keyring(ring)).inventory.items
    assert {Path(item.path).name for item in items} == {"1.pkl", "2.pkl"}


def test_a_list_needs_a_key_that_may_seal_it_before_the_work(
    models: Path, ring: Path, tmp_path: Path
) -> None:
    key = open_keyring(ring).primary or ""
    changes.change_roster(ring, lambda r: r.limit(key, sign_until=None, contexts=("m/*",)))
    command = ("audit", models, "--keyring", ring, "--inventory", tmp_path / "list")
    assert run(*command).returncode == 2
    assert run(*command, "--inventory-context", "m/list").returncode == 0


# --- settings --------------------------------------------------------------------------------


def settle(folder: Path, text: str) -> None:
    (folder / "pyproject.toml").write_text(f"[tool.pickleseal.audit]\n{text}\n")


def test_settings_of_a_project_are_read_where_one_stands_and_nowhere_above(
    models: Path, ring: Path, tmp_path: Path
) -> None:
    settle(
        tmp_path,
        'paths = ["models"]\nexclude = ["data*"]\nfail-on = "error"\n'
        'context = { "*/1.pkl" = "other" }',
    )
    (models / "data.pkl").write_bytes(pickle.dumps([1]))
    assert run("audit", "--keyring", ring, cwd=models).returncode == 2
    done = run("audit", "--keyring", ring, "--format", "json", cwd=tmp_path)
    assert done.returncode == 1
    assert as_json(done)["settings"].endswith("pyproject.toml")
    found = {os.path.basename(f["path"]): f["verdict"] for f in as_json(done)["findings"]}
    assert found == {
        "0.pkl": "sealed",
        "1.pkl": "wrong context",
        "2.pkl": "sealed",
        "data.pkl": "skipped",
    }
    assert "pyproject.toml" in done.stderr
    over = run("audit", "--keyring", ring, "--context", "m/*", cwd=tmp_path)
    assert over.returncode == 0  # what is said on the command line counts
    without = run("audit", "models", "--keyring", ring, "--no-settings", cwd=tmp_path)
    assert without.returncode == 1  # data.pkl is not left out then


@pytest.mark.parametrize(
    "text",
    [
        'keyring = "ring"',
        'paths = "models"',
        'fail-on = "sometimes"',
        "context = 1",
        "imports = 1",
        "baseline = []",
        "exclude = [1]",
        "[broken",
        "a = " + "[" * 5000,
    ],
)
def test_settings_that_mean_nothing_are_refused(
    models: Path, ring: Path, tmp_path: Path, text: str
) -> None:
    settle(tmp_path, text)
    done = run("audit", models, "--keyring", ring, cwd=tmp_path)
    assert done.returncode == 2
    assert "pyproject.toml" in done.stderr


def test_a_table_of_another_kind_holds_no_settings(models: Path, ring: Path) -> None:
    for text in ("tool = 1", "[tool]\npickleseal = 3", "[tool.pickleseal]\nother = 1"):
        (models.parent / "pyproject.toml").write_text(text)
        assert run("audit", models, "--keyring", ring, cwd=models.parent).returncode == 0


def test_a_project_that_leaves_everything_out_does_not_pass(
    models: Path, ring: Path, tmp_path: Path
) -> None:
    for text in ('exclude = ["*"]', 'include = ["nothing"]'):
        settle(tmp_path, text)
        done = run("audit", "models", "--keyring", ring, cwd=tmp_path)
        assert done.returncode == 2
        assert "left out" in done.stderr


def test_a_project_without_settings_is_audited_as_asked(
    models: Path, ring: Path, tmp_path: Path
) -> None:
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    assert run("audit", models, "--keyring", ring, cwd=tmp_path).returncode == 0
    done = run("audit", "--keyring", ring, cwd=tmp_path)
    assert done.returncode == 2


def test_no_load_reads_settings(models: Path, ring: Path, tmp_path: Path) -> None:
    settle(tmp_path, "[broken")
    assert run("verify", models / "0.pkl", "--keyring", ring, cwd=tmp_path).returncode == 0


# --- on a terminal ---------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX only")
@pytest.mark.parametrize("no_color", [False, True])
def test_on_a_terminal_it_is_coloured_unless_nobody_wants_that(
    models: Path,
    ring: Path,
    no_color: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    import pty

    arm(models)
    environment: dict[str, Any] = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100"}
    if no_color:
        environment["NO_COLOR"] = "1"
    leader, follower = pty.openpty()
    command = [sys.executable, "-m", "pickleseal", "audit", str(models), "--keyring", str(ring)]
    process = subprocess.Popen(command, stdout=follower, stderr=follower, env=environment)
    os.close(follower)
    seen = b""
    while True:
        try:
            chunk = os.read(leader, 1 << 16)
        except OSError:
            break
        if not chunk:
            break
        seen += chunk
    os.close(leader)
    assert process.wait() == 1
    assert b"armed.pkl" in seen
    assert (b"\x1b[1;31m" in seen) is not no_color


@pytest.mark.once
def test_pins_that_are_not_there_are_an_error_if_they_are_named(models: Path, ring: Path) -> None:
    audited = ("audit", models, "--keyring", ring)
    done = run(*audited, "--pins", models / "typo.json")
    assert done.returncode == 2
    assert "no such file" in done.stderr
    assert run(*audited, env={"PICKLESEAL_PINS": str(models / "to-come.json")}).returncode == 0
