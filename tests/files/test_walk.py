"""Walking through folders: what is passed over, by one rule for every command, and counted."""

import errno
import json
import os
import pickle
import sys
from pathlib import Path
from typing import Any

import pytest
from command import as_json, run

import pickleseal
from pickleseal.errors import KeyringError
from pickleseal.files.atomic import TEMPORARY_PREFIX, TEMPORARY_SUFFIX
from pickleseal.files.walk import (
    Folder,
    Found,
    LeftOut,
    Skip,
    files_below,
    is_unchanged,
    opened_again,
)
from pickleseal.keys.key import KeyLine


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project whose own file is one of six; the others lie where other programs keep theirs."""
    project = tmp_path / "project"
    (project / "models").mkdir(parents=True)
    (project / "models" / "mine.pkl").write_bytes(pickle.dumps(1))
    environment = project / "runtime"  # by no name that tells
    (environment / "lib" / "site-packages").mkdir(parents=True)
    (environment / "pyvenv.cfg").write_text("home = /usr/bin\n")
    (environment / "lib" / "site-packages" / "theirs.pkl").write_bytes(pickle.dumps(2))
    (project / "conda" / "conda-meta").mkdir(parents=True)
    (project / "conda" / "theirs.pkl").write_bytes(pickle.dumps(3))
    for name in (".git", "node_modules"):
        (project / name).mkdir()
        (project / name / "theirs.pkl").write_bytes(pickle.dumps(4))
    return project


def test_folders_of_other_programs_are_left_out_and_their_files_counted(project: Path) -> None:
    told = json.loads(run("audit", project, "--format", "json").stdout)
    assert [one["path"] for one in told["findings"]] == [str(project / "models" / "mine.pkl")]
    assert told["left_out"] == {
        "files": 5,
        "folders": {
            str(project / ".git"): 1,
            str(project / "conda"): 1,
            str(project / "node_modules"): 1,
            str(project / "runtime"): 2,
        },
    }
    (said,) = [line for line in run("audit", project).stderr.splitlines() if "left out" in line]
    assert "5 files" in said
    sarif = json.loads(run("audit", project, "--format", "sarif").stdout)
    assert sarif["runs"][0]["properties"] == {"filesLeftOut": 5}
    page = project / "report.html"
    run("audit", project, "--html", page)
    assert "5 files in 4 folders of other programs" in page.read_text()


@pytest.mark.parametrize("named", ["runtime", "runtime/lib", "runtime/lib/site-packages"])
def test_what_lies_in_a_folder_of_others_is_audited_where_that_is_named(
    project: Path, named: str
) -> None:
    told = json.loads(run("audit", project / named, "--format", "json").stdout)
    names = {os.path.basename(one["path"]) for one in told["findings"]}
    assert "theirs.pkl" in names
    assert told["left_out"] == {"files": 0, "folders": {}}


def test_files_that_are_left_out_are_not_opened(project: Path) -> None:
    opened: list[str] = []
    watching = True

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if watching and event == "open" and "theirs" in str(arguments[0]):
            opened.append(str(arguments[0]))

    sys.addaudithook(hook)
    report = pickleseal.audit(project).report()
    watching = False
    assert report.left_out.files == 5
    assert not opened


def test_an_audit_of_nothing_but_what_is_left_out_could_not_run(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "a.pkl").write_bytes(pickle.dumps(1))
    done = run("audit", tmp_path)
    assert done.returncode == 2
    assert "left out 1 file" in done.stderr


def test_a_listed_file_in_a_folder_that_is_left_out_is_not_missing_and_not_in_order(
    project: Path, ring_directory: Path
) -> None:
    ring = ("--keyring", ring_directory)
    inner = project / "runtime"
    assert run("audit", inner, "--inventory", "the.list", *ring, cwd=project).returncode == 1
    done = run("audit", project, "--baseline", "the.list", "--format", "json", *ring, cwd=project)
    found = {os.path.basename(one["path"]): one for one in json.loads(done.stdout)["findings"]}
    assert found["theirs.pkl"]["verdict"] == "skipped"
    assert found["theirs.pkl"]["level"] == "warning"


@pytest.mark.parametrize(
    "command",
    [
        ("adopt", "--dry-run"),
        ("extract", "--to", "plain"),
        ("reseal", "--dry-run"),
        ("verify",),
        ("find-loads",),
    ],
    ids=lambda command: command[0],
)
def test_every_command_that_walks_leaves_out_the_same(
    project: Path, ring_directory: Path, command: tuple[str, ...]
) -> None:
    (project / "models" / "mine.py").write_text("import pickle\npickle.loads(b'N.')\n")
    ring = () if command[0] == "find-loads" else ("--keyring", ring_directory)
    name, *options = command
    done = run(name, project, *options, *ring, cwd=project)
    assert "left out 5 files" in done.stderr
    told = as_json(run(name, project, *options, *ring, "--json", cwd=project))
    assert told["left_out"]["files"] == 5
    assert "theirs" not in done.stdout


def test_a_notebook_and_a_shell_show_the_count(project: Path) -> None:
    report = pickleseal.audit(project).report()
    assert "5 in folders of other programs left out" in report._repr_html_()
    assert "5 left out" in repr(report)


def test_a_folder_that_is_named_twice_is_counted_once(project: Path) -> None:
    report = pickleseal.audit([project, project / "models" / os.pardir]).report()
    assert report.left_out.files == 5


def test_what_is_adopted_in_a_folder_of_others_was_named(
    project: Path, ring_directory: Path
) -> None:
    packages = project / "runtime" / "lib" / "site-packages"
    told = as_json(run("adopt", packages, "--dry-run", "--json", "--keyring", ring_directory))
    assert [one["outcome"] for one in told["files"]] == ["ready"]


@pytest.mark.parametrize(
    "named", ["runtime", "runtime/lib", ".git", "node_modules", "conda", "node_modules/.git"]
)
def test_a_folder_of_others_that_is_named_is_walked_with_all_in_it(
    named: str, project: Path
) -> None:
    inside = project / named / "node_modules"
    inside.mkdir(parents=True)
    (inside / "it.pkl").write_bytes(b"x")
    left_out = LeftOut()
    found = [one.path for one in files_below([str(project / named)], left_out=left_out)]
    assert str(inside / "it.pkl") in found
    assert left_out.files == 0


def test_what_is_excluded_is_told_and_not_entered(project: Path) -> None:
    found = files_below([str(project)], excluded=lambda path: path.endswith("models"))
    assert [(one.path, one.skip) for one in found] == [(str(project / "models"), Skip.EXCLUDED)]


def test_a_key_line_is_no_path_to_walk() -> None:
    with pytest.raises(KeyringError, match="key line"):
        list(files_below([KeyLine.generate().reveal()]))


def test_only_a_name_of_ours_is_a_leftover(tmp_path: Path) -> None:
    ours = f"{TEMPORARY_PREFIX}0{TEMPORARY_SUFFIX}"
    for name in (ours, f"{TEMPORARY_PREFIX}0.pkl", f"0{TEMPORARY_SUFFIX}"):
        (tmp_path / name).write_bytes(b"x")
    skipped = {os.path.basename(one.path): one.skip for one in files_below([str(tmp_path)])}
    assert skipped.pop(ours) is Skip.LEFTOVER
    assert list(skipped.values()) == [None, None]


def test_a_listed_file_is_unchanged_until_something_of_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "it.pkl"
    path.write_bytes(b"x")
    (found,) = files_below([str(tmp_path)])
    assert is_unchanged(found)
    assert not is_unchanged(Found(str(path))), "nothing is known of it"
    path.write_bytes(b"xy")
    assert not is_unchanged(found)
    path.unlink()
    assert not is_unchanged(found)


@pytest.mark.skipif(os.open not in os.supports_dir_fd, reason="folders have no descriptors here")
def test_files_of_a_walk_are_read_later_where_they_were_seen(tmp_path: Path) -> None:
    folder, other = tmp_path / "tree" / "a", tmp_path / "other"
    for one in (folder, other):
        one.mkdir(parents=True)
        (one / "f").write_bytes(b"x")
    listed = list(files_below([str(tmp_path / "tree")]))
    (again,) = opened_again(listed)
    assert again.skip is None
    folder.rename(tmp_path / "away")
    folder.symlink_to(other)
    (again,) = opened_again(listed)
    assert again.skip is Skip.MOVED
    folder.unlink()
    (again,) = opened_again(listed)
    assert (again.skip, again.detail) == (Skip.UNREADABLE, os.strerror(errno.ENOENT))


def test_a_temporary_file_that_is_gone_by_now_is_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / f"{TEMPORARY_PREFIX}0{TEMPORARY_SUFFIX}"
    for path in (temporary, tmp_path / "a.pkl"):
        path.write_bytes(b"x")
    real = Folder.entries

    def entries(folder: Folder) -> "list[os.DirEntry[str]]":
        listed = real(folder)
        temporary.unlink()
        return listed

    monkeypatch.setattr(Folder, "entries", entries)
    assert [found.path for found in files_below([str(tmp_path)])] == [str(tmp_path / "a.pkl")]


def test_a_folder_that_cannot_be_looked_at_is_not_taken_for_a_file(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was opened as a file, was none, and `reseal` called that nothing to do."""
    real = os.stat
    left = [1]

    def stat(path: Any, **options: Any) -> os.stat_result:
        if path == str(project) and left[0]:
            left[0] -= 1
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)
        return real(path, **options)

    monkeypatch.setattr(os, "stat", stat)
    (found,) = files_below([str(project)])
    assert (found.path, found.skip) == (str(project), Skip.UNREADABLE)
    assert os.strerror(errno.EIO) in str(found.reason)
    assert len(list(files_below([str(project)]))) == 1


@pytest.mark.skipif(os.open not in os.supports_dir_fd, reason="folders have no descriptors here")
def test_a_deep_tree_is_walked_without_a_look_at_each_folder_above(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that calls realpath for each takes the cube of the depth."""
    depth = 300
    place = tmp_path
    for _ in range(depth):
        place /= "d"
        place.mkdir()
        (place / "f").write_bytes(b"x")
    looks = []
    real = os.lstat

    def lstat(*arguments: Any, **options: Any) -> os.stat_result:
        looks.append(arguments)
        return real(*arguments, **options)

    monkeypatch.setattr(os, "lstat", lstat)
    found = list(files_below([str(tmp_path)]))
    assert len(found) == depth
    assert not any(one.reason_to_skip() for one in found)
    assert len(looks) < 5 * depth


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="there are no links")
@pytest.mark.parametrize("what", ["file", "folder", "folder above"])
def test_what_was_exchanged_for_a_link_is_not_followed(what: str, tmp_path: Path) -> None:
    tree, other = tmp_path / "tree", tmp_path / "other"
    for folder in (tree / "a" / "b", other / "b"):
        folder.mkdir(parents=True)
        (folder / "f").write_bytes(b"x")
    (found,) = files_below([str(tree)])
    assert found.reason_to_skip() is None
    place, target = {
        "file": (tree / "a" / "b" / "f", other / "b" / "f"),
        "folder": (tree / "a" / "b", other / "b"),
        "folder above": (tree / "a", other),
    }[what]
    place.rename(tmp_path / "away")
    place.symlink_to(target)
    assert found.reason_to_skip() == Skip.MOVED.value


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="there are no links")
def test_a_folder_that_is_exchanged_while_the_walk_runs_is_not_entered(tmp_path: Path) -> None:
    tree, other = tmp_path / "tree", tmp_path / "other"
    for folder in (tree / "a", other):
        folder.mkdir(parents=True)
        (folder / "f").write_bytes(b"x")
    (tree / "first").write_bytes(b"x")
    walk = files_below([str(tree)])
    assert next(walk).path == str(tree / "first")
    (tree / "a").rename(tmp_path / "away")
    (tree / "a").symlink_to(other)
    assert [(found.path, found.skip) for found in walk] == [(str(tree / "a"), Skip.MOVED)]


def test_a_folder_that_is_gone_when_it_is_looked_into_is_told_with_the_reason(
    tmp_path: Path,
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "first").write_bytes(b"x")
    walk = files_below([str(tmp_path)])
    assert next(walk).path == str(tmp_path / "first")
    (tmp_path / "a").rmdir()
    (found,) = walk
    assert (found.skip, found.detail) == (Skip.UNREADABLE, os.strerror(errno.ENOENT))


def test_a_folder_that_is_exchanged_while_it_is_opened_again_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "a.pkl").touch()
    listed = list(files_below([str(folder)]))
    resolve = os.path.realpath

    def exchange(path: str) -> str:
        folder.rename(tmp_path / "another")
        folder.mkdir()
        return resolve(path)

    with monkeypatch.context() as patched:
        patched.setattr(os.path, "realpath", exchange)
        (again,) = opened_again(listed)
    assert again.skip is Skip.MOVED


def test_a_file_that_vanishes_behind_a_walk_is_told_with_the_systems_reason(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).touch()
    walk = files_below([str(tmp_path)])
    next(walk)
    (tmp_path / "b").unlink()
    assert [(one.skip, one.detail) for one in walk] == [
        (Skip.UNREADABLE, os.strerror(errno.ENOENT))
    ]
