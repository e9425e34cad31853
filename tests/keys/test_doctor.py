"""`keys doctor`: who can reach a ring, its primary, and what the doctor never does."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from doctoring import NOW, look, mend, new_key, start
from rings import as_root, change_index, key_file, posix, primary_of

from pickleseal import KeyringError, open_keyring
from pickleseal.keys.key import KeyLine
from pickleseal.keys.roster import Roster
from pickleseal.keys.store import access, permissions
from pickleseal.keys.store.changes import Limits, change_roster, import_keys, rotate
from pickleseal.keys.store.directory import INDEX
from pickleseal.keys.store.doctor import DAY, MAX_AGE


@pytest.fixture
def ring(tmp_path: Path) -> Path:
    """Return a new ring, with nothing wrong."""
    folder = tmp_path / "a ring"
    new_key(folder)
    return folder


def test_with_a_new_ring_all_is_well(ring: Path) -> None:
    assert look(ring).code == 0
    human = start("--keyring", ring)
    assert human.returncode == 0
    assert human.stdout == f"✓ no problems found in {ring}\n"
    assert not human.stderr
    done = start("--keyring", ring, "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout) == {
        "keyring": str(ring),
        "permissions_checked": permissions.CHECKED,
        "findings": [],
    }


def test_a_ring_can_be_named_in_each_usual_way(ring: Path, tmp_path: Path) -> None:
    key_file(ring).with_suffix(".tmp").touch()
    env = {"PICKLESEAL_KEYRING": str(ring)}
    (tmp_path / "link").symlink_to(ring)
    seen = [
        start("--keyring", ring, "--json"),
        start("--keyring", ring.name, "--json", cwd=tmp_path),
        start("--keyring", tmp_path / "link", "--json"),
        start("--json", env=env),
    ]
    assert [done.returncode for done in seen] == [1] * 4
    findings = [json.loads(done.stdout)["findings"] for done in seen]
    assert findings == [findings[0]] * 4


# --- who can reach it ----------------------------------------------------------------------------


def to_a_group(path: Path) -> None:
    path.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(path, 0, 12345)
    elif access.is_nobody_else(path.stat().st_gid, os.geteuid()):
        pytest.skip("this user's files belong to a group of nobody else")


def key_elsewhere(folder: Path) -> None:
    elsewhere = folder.parent / "elsewhere"
    elsewhere.mkdir()
    file = key_file(folder)
    file.rename(elsewhere / "secret")
    file.symlink_to(elsewhere / "secret")
    elsewhere.chmod(0o777)


OPEN: dict[str, tuple[Callable[[Path], object], Callable[[Path], Path], str]] = {
    "a key that all can read": (lambda f: key_file(f).chmod(0o604), key_file, "read"),
    "a key that all can write": (lambda f: key_file(f).chmod(0o602), key_file, "change"),
    "a key that a group can read": (lambda f: to_a_group(key_file(f)), key_file, "read"),
    "an index that all can write": (
        lambda f: (f / INDEX).chmod(0o646),
        lambda f: f / INDEX,
        "change",
    ),
    "a folder that all can write": (lambda f: f.chmod(0o777), lambda f: f, "replace"),
    "a sticky folder that all can write": (lambda f: f.chmod(0o1777), lambda f: f, "replace"),
    "a folder above that all can write": (
        lambda f: f.parent.chmod(0o777),
        lambda f: f.parent,
        "replace",
    ),
    "a folder that a link leads to": (
        key_elsewhere,
        lambda f: f.parent / "elsewhere",
        "replace",
    ),
}


@posix
@pytest.mark.parametrize("name", OPEN)
def test_what_lies_open_to_others_is_found_and_mended(name: str, ring: Path) -> None:
    spoil, place_of, word = OPEN[name]
    spoil(ring)
    with pytest.raises(KeyringError):
        open_keyring(ring)
    finding, *others = look(ring).findings
    assert finding.place == str(place_of(ring))
    assert word in finding.problem
    assert all("not read" in other.problem for other in others)
    mend(finding)
    assert look(ring).code == 0
    assert open_keyring(ring)


@as_root
@pytest.mark.parametrize("what", ["key", "index", "folder", "parent"])
def test_what_belongs_to_another_user_is_found_and_mended(what: str, ring: Path) -> None:
    place = {"key": key_file(ring), "index": ring / INDEX, "folder": ring, "parent": ring.parent}
    os.chown(place[what], 12345, -1)
    (finding,) = (f for f in look(ring).findings if "12345" in f.problem)
    assert finding.place == str(place[what])
    if what in ("folder", "parent"):
        # Nobody should take a folder away from its owner to make a planted ring trusted.
        assert "of your own" in finding.fix
        os.chown(place[what], 0, -1)
    else:
        mend(finding)
    assert look(ring).code == 0


@posix
def test_all_that_lies_open_is_told_at_once_and_each_thing_once(ring: Path) -> None:
    for _ in range(3):
        new_key(ring)
    files = list(ring.glob("*.key"))
    for path in (*files, ring, ring.parent):
        path.chmod(0o777)
    (ring / INDEX).chmod(0o666)
    findings = look(ring).findings
    told = [f.place for f in findings if "not read" not in f.problem]
    assert sorted(told) == sorted(map(str, [*files, ring, ring.parent, ring / INDEX]))
    for finding in findings:
        mend(finding)  # the last of them is to look again, and by then all is well
    assert look(ring).code == 0


@posix
def test_files_that_others_can_read_do_not_hide_what_else_is_wrong(ring: Path) -> None:
    key_file(ring).chmod(0o644)
    new_key(ring).path.unlink()
    (ring / "left.tmp").touch()
    problems = [finding.problem for finding in look(ring).findings]
    assert len(problems) == 3
    assert [word in p for word, p in zip(("read", "missing", "left"), problems, strict=True)]


@posix
def test_files_that_a_group_may_read_by_agreement_are_well(ring: Path) -> None:
    to_a_group(key_file(ring))
    assert look(ring).code == 1
    assert look(ring, env={"PICKLESEAL_GROUP_READ": "1"}).code == 0


@posix
@pytest.mark.parametrize("listed", ["listed", ""])
@pytest.mark.parametrize(
    "kind", ["pipe", "folder", "link to a device", "link to a pipe", "link to a folder"]
)
def test_what_is_no_file_is_found_without_waiting_and_removed(
    kind: str, listed: str, ring: Path, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()
    path = key_file(ring) if listed else ring / f"{'0' * 32}.key"
    path.unlink(missing_ok=True)
    ways: dict[str, Callable[[], object]] = {
        "pipe": lambda: os.mkfifo(path),
        "folder": path.mkdir,
        "link to a device": lambda: path.symlink_to("/dev/zero"),
        "link to a pipe": lambda: path.symlink_to(tmp_path / "fifo"),
        "link to a folder": lambda: path.symlink_to(tmp_path / "folder"),
    }
    ways[kind]()
    (finding,) = look(ring).findings
    assert finding.place == str(path)
    assert "not a regular file" in finding.problem
    mend(finding)
    # What the link led to is nothing of the ring's.
    assert Path("/dev/zero").exists()
    assert (tmp_path / "fifo").exists()
    assert (tmp_path / "folder").exists()
    assert ["missing" in f.problem for f in look(ring).findings] == [True] * bool(listed)


def test_a_file_that_may_be_the_only_copy_of_a_key_is_laid_aside_and_not_removed(
    ring: Path,
) -> None:
    """As when an old keyring.json was put back: the newest key is not listed there."""
    old = (ring / INDEX).read_bytes()
    newest = new_key(ring).path
    text = newest.read_text()
    new_index = (ring / INDEX).read_bytes()
    (ring / INDEX).write_bytes(old)
    (finding,) = look(ring).findings
    mend(finding)
    assert look(ring).code == 0
    aside = newest.with_name(f"{newest.name}.unlisted")
    assert aside.read_text() == text
    (ring / INDEX).write_bytes(new_index)
    aside.rename(newest)
    assert look(ring).code == 0


def test_a_key_file_under_a_name_of_its_own_gets_that_of_its_key(ring: Path) -> None:
    file = key_file(ring)
    file.rename(ring / "mine.key")
    missing, misnamed = sorted(look(ring).findings, key=lambda f: "mine" in str(f.place))
    assert "missing" in missing.problem
    mend(misnamed)
    assert look(ring).code == 0
    assert open_keyring(ring)


def test_a_ring_that_is_meant_to_open_alone_is_well(tmp_path: Path) -> None:
    import_keys(tmp_path / "ring", [KeyLine.generate()], now=NOW, retired=True)
    assert look(tmp_path / "ring").code == 0


@posix
def test_an_index_that_is_a_pipe_or_a_socket_is_found(ring: Path, tmp_path: Path) -> None:
    path = ring / INDEX
    text = path.read_text()
    for make in (os.mkfifo, bound):
        path.unlink()
        make(path)
        first, second = look(ring).findings
        assert "not a regular file" in first.problem
        assert "not read" in second.problem
        mend(first)
        assert ["is missing" in f.problem for f in look(ring).findings] == [True]
        path.write_text(text)
    assert look(ring).code == 0


def bound(path: Path) -> None:
    """Make a socket, by a relative path: its name may not be long."""
    before = Path.cwd()
    os.chdir(path.parent)
    try:
        with socket.socket(socket.AF_UNIX) as endpoint:
            endpoint.bind(path.name)
    finally:
        os.chdir(before)


# --- its primary ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("age", "max_age", "code"),
    [(364, MAX_AGE, 0), (366, MAX_AGE, 1), (366, 400, 0), (31, 30, 1), (-5, 1, 0)],
)
def test_an_old_primary_is_found_and_followed_by_a_new_one(
    age: int, max_age: int, code: int, tmp_path: Path
) -> None:
    ring = tmp_path / "ring"
    old = new_key(ring, created=NOW - age * DAY - 60)
    outcome = look(ring, max_age=max_age)
    assert outcome.code == code
    for finding in outcome.findings:
        assert finding.place == f"key {old.entry.id}"
        assert f"{age} days" in finding.problem
        mend(finding)
    assert look(ring, max_age=max_age).code == 0


def test_an_old_key_that_is_not_the_primary_is_well(tmp_path: Path) -> None:
    new_key(tmp_path / "ring", created=1000)
    rotate(tmp_path / "ring", now=NOW)
    assert look(tmp_path / "ring").code == 0


@pytest.mark.parametrize(
    ("left", "words"),
    [
        (40 * DAY, None),
        (29 * DAY + 3600, "sealing in 29 days"),
        (DAY + 3600, "sealing in 1 day"),
        (3600, "sealing in less than a day"),
        (-1, "no longer seals"),
    ],
)
def test_a_primary_whose_time_is_over_soon_or_already_is_found(
    left: int, words: str | None, tmp_path: Path
) -> None:
    ring = tmp_path / "ring"
    new_key(ring, created=NOW - 10 * DAY, limits=Limits(sign_until=int(time.time()) + left))
    findings = look(ring).findings
    assert len(findings) == (words is not None)
    for finding in findings:
        assert words
        assert words in finding.problem
        mend(finding)
    assert look(ring).code == 0


def test_what_one_command_mends_is_one_finding(tmp_path: Path) -> None:
    ring = tmp_path / "ring"
    new_key(ring, created=NOW - 400 * DAY, limits=Limits(sign_until=int(time.time()) + 3600))
    (finding,) = look(ring).findings
    assert "400 days" in finding.problem
    assert "less than a day" in finding.problem


def test_a_ring_without_a_primary_is_found_and_gets_one(ring: Path) -> None:
    def revoke(roster: Roster) -> Roster:
        return roster.revoke(roster.primary or "", reason="x", now=NOW)

    change_roster(ring, revoke)
    (finding,) = look(ring).findings
    assert "no primary" in finding.problem
    mend(finding)
    assert look(ring).code == 0
    assert open_keyring(ring).primary


def test_times_far_from_now_are_no_trouble(ring: Path) -> None:
    change_index(ring, lambda i: i["keys"][i["primary"]].update(sign_until=10**15))
    assert look(ring).code == 0
    change_index(ring, lambda i: i["keys"][i["primary"]].update(created=10**15, sign_until=0))
    assert [("no longer seals" in f.problem) for f in look(ring).findings] == [True]


# --- what it never does --------------------------------------------------------------------------


def test_keys_behind_a_passphrase_are_looked_at_without_it(ring: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pickleseal", "keys", "protect", "--keyring", ring],
        env={**os.environ, "PICKLESEAL_NEW_PASSPHRASE": "a long one, of words"},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0
    text = key_file(ring).read_text()
    assert look(ring).code == 0
    key_file(ring).write_text(text[:60] + text[61:])
    assert ["damaged" in f.problem for f in look(ring).findings] == [True]


def test_a_key_that_a_command_prints_is_looked_at_without_the_command(
    ring: Path, tmp_path: Path
) -> None:
    program = tmp_path / "give"
    program.write_text(
        f"#!/bin/sh\necho x >> '{tmp_path}/runs'\necho {KeyLine.generate().reveal()}"
    )
    program.chmod(0o700)
    arguments = ["keys", "import", "--command", str(program), "--keyring", str(ring)]
    subprocess.run(
        [sys.executable, "-m", "pickleseal", *arguments], check=True, capture_output=True
    )
    runs = (tmp_path / "runs").read_text()
    assert look(ring).code == 0
    assert (tmp_path / "runs").read_text() == runs


def test_where_there_is_no_ring_it_could_not_run_and_says_how_to_make_one(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    for name in ("nothing", "empty", "open", "a b"):
        done = start("--keyring", tmp_path / name)
        assert done.returncode == 2
        assert not done.stdout
        assert "no keyring" in done.stderr
        assert "pickleseal keygen --keyring" in done.stderr
        told = json.loads(start("--keyring", tmp_path / name, "--json").stdout)
        assert told["error"]["kind"] == "KeyringError"
    assert start(env={"XDG_DATA_HOME": str(tmp_path), "HOME": str(tmp_path)}).returncode == 2
    assert start(env={"PICKLESEAL_KEYRING": "not/absolute"}).returncode == 2
    (tmp_path / "file").touch()
    assert start("--keyring", tmp_path / "file").returncode == 2
    assert start(env={"PICKLESEAL_KEYRING": str(tmp_path / "file")}).returncode == 2
    assert not list(tmp_path.rglob("*.key"))


@pytest.mark.parametrize("value", ["0", "-1", "x"])
def test_an_age_that_is_none_could_not_run(value: str, ring: Path) -> None:
    assert start("--keyring", ring, "--max-age", value).returncode == 2


def test_colour_is_for_those_who_want_it_and_a_mend_is_one_line(ring: Path) -> None:
    path = ring / f"{'long name ' * 20}.key"
    path.touch()
    human = start("--keyring", ring, env={"FORCE_COLOR": "1"})
    assert "\x1b[3" in human.stdout
    human = start("--keyring", ring, env={"FORCE_COLOR": "1", "NO_COLOR": "1"})
    assert "\x1b[3" not in human.stdout
    human = start("--keyring", ring)
    lines = human.stdout.splitlines()
    assert f"  fix: mv -n '{path.resolve()}' '{path.resolve()}.unlisted'" in lines
    assert not [line for line in lines if line != line.rstrip()]
    assert human.stderr == "1 finding\n"


def test_a_key_that_waits_to_seal_answers_the_age_of_the_primary(tmp_path: Path) -> None:
    ring = tmp_path / "ring"
    new_key(ring, created=NOW - 400 * 86_400)
    assert look(ring).code == 1
    rotate(ring, now=NOW, sign_from=NOW + 86_400)
    assert look(ring).code == 0
    old = primary_of(ring)
    change_roster(ring, lambda r: r.limit(old, sign_until=1, contexts=None))
    (finding,) = look(ring).findings
    mend(finding)
    assert primary_of(ring) != old
    assert look(ring).code == 0
