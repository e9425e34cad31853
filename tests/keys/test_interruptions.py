"""A ring's directory when system calls fail, and when a change is killed between two steps."""

import errno
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from pickleseal import open_keyring, signed_dumps, signed_loads
from pickleseal.files.atomic import TEMPORARY_PREFIX
from pickleseal.keys.key import KeyLine
from pickleseal.keys.roster import Roster
from pickleseal.keys.store.changes import change_roster, create_key, import_keys, rotate
from pickleseal.keys.store.directory import INDEX, changing


def fail_fsync_of_folders(monkeypatch: pytest.MonkeyPatch, error: int, *, after: int = 0) -> None:
    real = os.fsync
    left = [after]

    def fsync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            left[0] -= 1
            if left[0] < 0:
                raise OSError(error, os.strerror(error))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)


@pytest.mark.parametrize("error", [errno.EINVAL, errno.ENOTSUP])
def test_a_ring_is_made_where_folders_cannot_be_synced(
    error: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_fsync_of_folders(monkeypatch, error)
    create_key(tmp_path / "a" / "ring", now=0)
    rotate(tmp_path / "a" / "ring", now=0)
    ring = open_keyring(tmp_path / "a" / "ring")
    assert signed_loads(signed_dumps(1, keyring=ring), keyring=ring) == 1


def test_a_change_that_took_effect_is_told_as_one_though_the_disk_failed(
    ring_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_fsync_of_folders(monkeypatch, errno.EIO)
    with pytest.raises(OSError, match="in place, but may not survive a power cut") as failed:
        change_roster(ring_directory, lambda r: r.annotate(str(r.primary), "noted"))
    assert failed.value.filename == str(ring_directory / INDEX)
    monkeypatch.undo()
    ring = open_keyring(ring_directory)
    assert ring.entries[str(ring.primary)].note == "noted"


def test_a_key_file_that_is_taken_back_is_not_called_in_place(
    ring_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = sorted(os.listdir(ring_directory))
    fail_fsync_of_folders(monkeypatch, errno.EIO)
    with pytest.raises(OSError, match=os.strerror(errno.EIO)) as failed:
        rotate(ring_directory, now=0)
    assert "in place" not in str(failed.value)
    assert str(failed.value.filename).endswith(".key")
    assert sorted(os.listdir(ring_directory)) == before


def test_the_new_folders_above_a_ring_are_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = set()
    real = os.fsync

    def fsync(descriptor: int) -> None:
        synced.add(os.fstat(descriptor).st_ino)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    create_key(tmp_path / "a" / "b" / "ring", now=0)
    folders = (tmp_path, tmp_path / "a", tmp_path / "a" / "b", tmp_path / "a" / "b" / "ring")
    assert {folder.stat().st_ino for folder in folders} <= synced


def test_a_change_of_a_ring_leaves_its_gitignore_alone(ring_directory: Path) -> None:
    path = ring_directory / ".gitignore"
    path.write_text("# mine\n")
    change_roster(ring_directory, lambda r: r.annotate(str(r.primary), "again"))
    assert path.read_text() == "# mine\n"
    path.unlink()
    change_roster(ring_directory, lambda r: r.annotate(str(r.primary), "and again"))
    assert not path.exists()


def test_a_signal_right_after_a_file_was_created_leaves_the_ring_as_it_was(
    ring_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.open

    def interrupted(path: str, flags: int, mode: int = 0o777) -> int:
        descriptor = real(path, flags, mode)
        if flags & os.O_EXCL:
            os.close(descriptor)
            raise KeyboardInterrupt
        return descriptor

    before = sorted(os.listdir(ring_directory))
    monkeypatch.setattr(os, "open", interrupted)
    with pytest.raises(KeyboardInterrupt):
        rotate(ring_directory, now=0)
    assert sorted(os.listdir(ring_directory)) == before


# Each turn is killed at the next of the counted calls, before it or right after it, until one
# turn gets through. The turns are forks of one process.
KILLED = """
import os, shutil, signal, sys
from pathlib import Path
from pickleseal.keys.store.changes import create_key, rotate

start, turns, kind, number = sys.argv[1], Path(sys.argv[2]), sys.argv[3], 0
create_key(turns / "warm", now=0)
while True:
    folder = turns / str(number)
    if os.path.exists(start):
        shutil.copytree(start, folder)
    child = os.fork()
    if not child:
        left = number

        def counted(real):
            def call(*arguments, **options):
                global left
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                result = real(*arguments, **options)
                if left == 1:
                    os.kill(os.getpid(), signal.SIGKILL)
                left -= 2
                return result
            return call

        for name in ("open", "close", "mkdir", "fsync", "link", "replace", "unlink"):
            setattr(os, name, counted(getattr(os, name)))
        rotate(folder, now=0) if kind == "rotate" else create_key(folder, now=0)
        os._exit(0)
    if os.waitpid(child, 0)[1] == 0:
        break
    number += 1
print(number)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="POSIX only")
@pytest.mark.parametrize("kind", ["rotate", "first"])
def test_a_kill_between_any_two_steps_loses_nothing(kind: str, tmp_path: Path) -> None:
    start, turns = tmp_path / "start", tmp_path / "turns"
    turns.mkdir()
    if kind == "rotate":
        create_key(start, now=0)
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(start), str(turns), kind],
        capture_output=True,
        text=True,
        check=True,
    )
    count = int(done.stdout)
    assert count > 30, "there were steps to be killed at"
    shutil.rmtree(turns / "warm")
    for number in range(count):
        folder = turns / str(number)
        names = set(os.listdir(folder)) if folder.exists() else set()
        if names - {"keyring.lock"} and any(n.endswith(".key") or n == INDEX for n in names):
            assert (folder / ".gitignore").stat().st_size, number
        assert all(
            name in {INDEX, "keyring.lock", ".gitignore"}
            or name.endswith(".key")
            or name.startswith(TEMPORARY_PREFIX)
            for name in names
        )
        old = set()
        if INDEX in names:
            before = open_keyring(folder)
            old = set(before.entries)
            assert all((folder / f"{key_id}.key").stat().st_size for key_id in old)
        create_key(folder, now=1)  # a second run finishes
        ring = open_keyring(folder)
        assert old < set(ring.entries)
        assert signed_loads(signed_dumps(1, keyring=ring), keyring=ring) == 1


def test_a_ring_on_a_disk_without_hard_links_takes_keys(
    ring_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def link(*_: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", link)
    import_keys(ring_directory, [KeyLine.generate()], now=0)
    with changing(ring_directory) as change:
        assert isinstance(change.roster, Roster)
    assert len(open_keyring(ring_directory).entries) == 2


def test_a_ring_below_a_file_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(NotADirectoryError) as failed:
        create_key(tmp_path / "file" / "ring", now=0)
    assert str(tmp_path / "file") in str(failed.value)
    assert (tmp_path / "file").read_text() == "mine"
