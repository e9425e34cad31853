"""`pickleseal find-loads`, as a process: what it looks at and tells, and its exit codes."""

import json
import os
from pathlib import Path

import pytest
from command import as_json, run

TRAIN = """\
import pickle

with open("m.pkl", "wb") as file:
    pickle.dump(model, file)
"""
SERVE = """\
from joblib import load

model = load(
    path, mmap_mode="r"
)
"""
NOTEBOOK = {
    "cells": [
        {"cell_type": "markdown", "source": "# A model"},
        {"cell_type": "code", "source": ["%matplotlib inline\n", "import pandas as pd\n"]},
        {"cell_type": "code", "source": ["frame = pd.read_pickle('x.pkl')"]},
    ]
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "tree"
    (folder / "sub").mkdir(parents=True)
    (folder / "train.py").write_text(TRAIN)
    (folder / "sub" / "serve.py").write_text(SERVE)
    (folder / "sub" / "look.ipynb").write_text(json.dumps(NOTEBOOK))
    (folder / "clean.py").write_text("import pickleseal\n")
    (folder / "notes.txt").write_text(TRAIN)
    return folder


def test_each_call_has_its_place_its_text_and_what_should_stand_there(tree: Path) -> None:
    done = run("find-loads", "tree", cwd=tree.parent)
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    for place, kind, code in (
        (os.path.join("tree", "train.py:4:5"), "dump", "pickle.dump(model, file)"),
        (os.path.join("tree", "sub", "serve.py:3:9"), "load", "load("),
        (os.path.join("tree", "sub", "look.ipynb:cell 3:1:9"), "load", "pd.read_pickle('x.pkl')"),
    ):
        assert f"{place}  {kind}  {code}" in lines
    for line in ("signed_dump(model, file)", "signed_load(path)", "signed_load('x.pkl')"):
        assert f"    → pickleseal.{line}" in lines


def test_json_tells_all_of_it(tree: Path) -> None:
    done = run("find-loads", "--json", "tree", cwd=tree.parent)
    assert done.returncode == 1
    told = as_json(done)
    assert told.keys() == {"sites", "faults", "links", "left_out", "files"}
    assert (told["files"], told["faults"], told["links"]) == (4, [], [])
    assert told["left_out"] == {"files": 0, "folders": {}}
    by_name = {os.path.basename(site["path"]): site for site in told["sites"]}
    assert by_name.keys() == {"train.py", "serve.py", "look.ipynb"}
    remarks = by_name["serve.py"].pop("remarks")
    assert len(remarks) == 1
    assert by_name["serve.py"] == {
        "path": os.path.join("tree", "sub", "serve.py"),
        "line": 3,
        "column": 9,
        "cell": None,
        "kind": "load",
        "function": "joblib.load",
        "code": 'load(\n    path, mmap_mode="r"\n)',
        "instead": "pickleseal.signed_load(path)",
        "guess": False,
    }
    assert by_name["look.ipynb"]["cell"] == 3


def test_loads_only_leaves_the_dumps_out(tree: Path) -> None:
    told = as_json(run("find-loads", "--json", "--loads-only", tree))
    assert {site["kind"] for site in told["sites"]} == {"load"}
    assert run("find-loads", "--loads-only", tree / "train.py").returncode == 0
    assert run("find-loads", tree / "train.py").returncode == 1


def test_nothing_found_exits_with_0(tree: Path) -> None:
    done = run("find-loads", tree / "clean.py")
    assert (done.returncode, done.stdout) == (0, "")


def test_what_cannot_be_read_exits_with_2_and_the_others_go_on(tree: Path) -> None:
    (tree / "old.py").write_text("print 'x'\n")
    (tree / "broken.ipynb").write_text("{}")
    (tree / "bomb.py").write_bytes(b"(" * 100_000)
    (tree / "null.py").write_bytes(b"a\0")
    gone = tree / "gone.py"
    done = run("find-loads", "--json", tree, gone)
    assert done.returncode == 2
    told = as_json(done)
    assert {os.path.basename(fault["path"]) for fault in told["faults"]} == {
        "old.py",
        "broken.ipynb",
        "bomb.py",
        "null.py",
        "gone.py",
    }
    assert all(fault["reason"] for fault in told["faults"])
    assert len(told["sites"]) == 3
    human = run("find-loads", tree, gone)
    assert human.returncode == 2
    assert "old.py" in human.stderr
    assert "train.py:4:5" in human.stdout


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes with names")
def test_a_pipe_is_told_and_not_waited_for(tree: Path) -> None:
    os.mkfifo(tree / "pipe.py")
    for path in (tree, tree / "pipe.py"):
        done = run("find-loads", "--json", path)
        assert done.returncode == 2
        (fault,) = as_json(done)["faults"]
        assert fault["path"] == str(tree / "pipe.py")


@pytest.mark.parametrize("folder", [".venv", "site-packages", "node_modules", ".git"])
def test_foreign_folders_are_left_out_and_counted_unless_named(tree: Path, folder: str) -> None:
    (tree / folder / "inner").mkdir(parents=True)
    (tree / folder / "inner" / "theirs.py").write_text(TRAIN)
    told = as_json(run("find-loads", "--json", tree))
    assert told["left_out"] == {"files": 1, "folders": {str(tree / folder): 1}}
    assert len(told["sites"]) == 3
    assert "left out 1 file in" in run("find-loads", tree).stderr
    assert len(as_json(run("find-loads", "--json", tree / folder))["sites"]) == 1


def test_links_below_a_folder_are_not_followed_and_counted(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "away").mkdir()
    (tmp_path / "away" / "other.py").write_text(TRAIN)
    (tree / "link").symlink_to(tmp_path / "away")
    (tree / "link.py").symlink_to(tmp_path / "away" / "other.py")
    (tree / "link.txt").symlink_to(tree / "notes.txt")
    told = as_json(run("find-loads", "--json", tree))
    assert len(told["sites"]) == 3
    assert set(told["links"]) == {str(tree / "link"), str(tree / "link.py")}
    assert len(as_json(run("find-loads", "--json", tree / "link.py"))["sites"]) == 1


def test_a_path_that_is_named_is_source_whatever_its_name(tree: Path) -> None:
    done = run("find-loads", "--json", tree / "notes.txt", tree, tree / "train.py")
    names = [os.path.basename(site["path"]) for site in as_json(done)["sites"]]
    assert sorted(names) == ["look.ipynb", "notes.txt", "serve.py", "train.py"]


def test_where_there_is_no_source_it_could_not_run(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text(TRAIN)
    done = run("find-loads", "--json", tmp_path)
    assert done.returncode == 2
    assert as_json(done).keys() == {"error"}
    assert run("find-loads").returncode == 2


def test_nothing_in_source_acts_on_a_terminal(tmp_path: Path) -> None:
    path = tmp_path / "a\x1b[31m.py"
    path.write_text("import pickle\npickle.load('\x1b]0;title\x07' '\x1b[2J', x\x20=\n 3)\n")
    (tmp_path / "b\x1b[31m.py").write_text("def (\x1b[31m")
    done = run("find-loads", tmp_path)
    assert done.returncode == 2
    assert "\x1b" not in done.stdout + done.stderr
    assert "\x07" not in done.stdout
    assert "\\x1b]0;title" in done.stdout


def test_what_is_read_is_not_run(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    (tmp_path / "a.py").write_text(f"import pickle\nopen({str(mark)!r}, 'w')\npickle.load(f)\n")
    assert run("find-loads", tmp_path).returncode == 1
    assert not mark.exists()
