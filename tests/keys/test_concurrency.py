"""Changes of a ring at once, killed at random, and on a full disk."""

import errno
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from rings import PASS, primary_of, revoke, rotate

from pickleseal import Keyring, KeyringError, open_keyring, signed_dumps, signed_loads
from pickleseal.keys.key import KeyLine, outline
from pickleseal.keys.passphrase import Passphrase
from pickleseal.keys.roster import Roster, State
from pickleseal.keys.store import changes
from pickleseal.keys.store.changes import Storage, change_roster, create_key, import_keys
from pickleseal.keys.store.directory import INDEX, RingFiles, changing, key_path, read_roster
from pickleseal.keys.store.lines import Opener

WORK = """
import sys
from pathlib import Path
from pickleseal.keys.store import changes
from pickleseal.keys.store.lines import Opener
from pickleseal.keys.store.changes import change_roster, create_key, rotate

folder, kind, rounds = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
for number in range(rounds):
    if kind == "rotate":
        made = rotate(folder, now=number, note=f"{kind} {number}")
    elif kind == "create":
        made = create_key(folder, now=number, note=f"{kind} {number}")
    else:
        made = create_key(folder, now=number)
        change_roster(folder, lambda r: r.annotate(made.entry.id, f"noted {number}"))
    print(made.entry.id, flush=True)
"""


def start(folder: Path, kind: str, rounds: int) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", WORK, str(folder), kind, str(rounds)],
        stdout=subprocess.PIPE,
        text=True,
    )


def whole(folder: Path) -> Keyring:
    """Open a ring, seal and load with it, and see that each listed key has its file."""
    ring = open_keyring(folder)
    assert signed_loads(signed_dumps(1, keyring=ring), keyring=ring) == 1
    return ring


def test_writers_at_once_lose_nothing(ring_directory: Path) -> None:
    workers = [start(ring_directory, kind, 4) for kind in ("rotate", "create", "note", "rotate")]
    made = [line for worker in workers for line in worker.communicate()[0].split()]
    assert [worker.returncode for worker in workers] == [0] * 4
    ring = whole(ring_directory)
    assert set(ring.entries) >= set(made)
    assert len(ring.entries) == 17
    assert ring.epoch == 1 + 16 + 4
    active = [e for e in ring.entries.values() if e.state is State.RETIRED]
    assert len(active) == 8, "each rotation retired one key, and none was retired twice"
    assert {path.stem for path in ring_directory.glob("*.key")} == set(ring.entries)


def test_a_kill_at_any_point_leaves_the_ring_whole_and_loses_no_key(ring_directory: Path) -> None:
    chance = random.Random(7)
    told: set[str] = set()
    for turn in range(12):
        with start(ring_directory, ("rotate", "create")[turn % 2], 1000) as worker:
            assert worker.stdout is not None
            told.add(worker.stdout.readline().strip())  # it is at work now
            time.sleep(chance.random() * 0.02)
            worker.send_signal(signal.SIGKILL)
            told |= {line for line in worker.stdout.read().split() if len(line) == 32}
        ring = whole(ring_directory)
        assert told <= set(ring.entries), "a key that was told of is there"
    # What is left over is no key of the ring, and is in nobody's way.
    rotate(ring_directory)
    whole(ring_directory)


@pytest.mark.sweep
def test_a_kill_at_each_of_many_points_leaves_the_ring_whole(ring_directory: Path) -> None:
    for _ in range(10):
        test_a_kill_at_any_point_leaves_the_ring_whole_and_loses_no_key(ring_directory)


@pytest.mark.parametrize("change", ["rotate", "create", "protect", "revoke", "import", "first"])
def test_an_error_at_each_step_of_a_change_leaves_the_ring_as_it_was(
    change: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a full disk: each write, sync and rename fails in its turn."""
    folder = tmp_path / "ring"
    if change != "first":
        create_key(folder, now=0)
    line = KeyLine.generate()
    actions: dict[str, Callable[[], object]] = {
        "rotate": lambda: rotate(folder),
        "create": lambda: create_key(folder, now=0),
        "first": lambda: create_key(folder, now=0),
        "import": lambda: import_keys(folder, [line, KeyLine.generate()], now=0),
        "revoke": lambda: revoke(folder, primary_of(folder)),
        "protect": lambda: changes.protect(
            RingFiles(folder), [primary_of(folder)], Opener(), lambda: Storage(Passphrase(PASS))
        ),
    }

    def seen() -> dict[str, bytes]:
        ignored = {"keyring.lock", ".gitignore"}
        paths = folder.iterdir() if folder.exists() else iter(())
        return {path.name: path.read_bytes() for path in paths if path.name not in ignored}

    before = seen()
    for failing in range(1000):
        breaker = Breaker(failing)
        with monkeypatch.context() as patched:
            for name in ("open", "fsync", "replace", "fdopen", "mkdir"):
                patched.setattr(os, name, breaker.guard(getattr(os, name)))
            with suppress(OSError, KeyringError):
                actions[change]()
        after = seen()
        if not breaker.broke:
            break
        assert not [name for name in after if name.endswith(".tmp")]
        if INDEX in after:
            # Whole in any case: as it was or, if only the last sync failed, as it should be.
            assert all(
                key_path(folder, i).exists()
                for i, e in read_roster(folder).entries.items()
                if e.state is not State.REVOKED
            )
        # If the change had taken effect when the error came, undo it, and go on.
        for name in after.keys() - before.keys():
            (folder / name).unlink()
        for name, data in before.items():
            (folder / name).write_bytes(data)
    assert failing > 4, "there were steps to fail at"


class Breaker:
    """Lets one call fail, the one with a number, as on a full disk."""

    def __init__(self, failing: int) -> None:
        self.left = failing
        self.broke = False

    def guard(self, real: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object, **options: object) -> object:
            self.left -= 1
            if self.left == -1:
                self.broke = True
                raise OSError(errno.ENOSPC, "No space left on device")
            return real(*arguments, **options)

        return call


@pytest.mark.skipif(not hasattr(os, "fork"), reason="POSIX only")
def test_no_room_for_a_file_leaves_the_ring_as_it_was(ring_directory: Path) -> None:
    """A real limit of the system's, in a process of its own: no file may grow past 100 bytes."""
    code = (
        "import resource, signal, sys, pathlib\n"
        "from pickleseal.keys.store import changes\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"
        "try: changes.rotate(pathlib.Path(sys.argv[1]), now=0)\n"
        "except OSError as error: print('refused')\n"
    )
    before = {path.name: path.read_bytes() for path in ring_directory.iterdir()}
    done = subprocess.run(
        [sys.executable, "-c", code, str(ring_directory)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == "refused", done.stderr
    assert {path.name: path.read_bytes() for path in ring_directory.iterdir()} == before


def test_a_key_file_left_over_from_a_crash_is_written_anew_and_never_lost(
    ring_directory: Path, tmp_path: Path
) -> None:
    """The file of a key that keyring.json does not list may be the only copy of it."""
    line = KeyLine.generate()
    stray = key_path(ring_directory, outline(line).id)
    stray.write_text(line.reveal() + "\n")
    stray.chmod(0o600)
    index = ring_directory / INDEX
    index.chmod(0o666)  # refused: nothing is changed
    with pytest.raises(KeyringError):
        import_keys(ring_directory, [line], now=0)
    assert stray.read_text() == line.reveal() + "\n"
    index.chmod(0o600)
    import_keys(ring_directory, [line], now=0)
    assert outline(line).id in read_roster(ring_directory).entries


def test_a_change_is_refused_when_the_ring_changed_though_the_lock_was_held(
    ring_directory: Path,
) -> None:
    """Somebody removed keyring.lock while it was held: a revocation must not be undone."""
    old = primary_of(ring_directory)

    def late() -> None:
        with changing(ring_directory) as change:
            (ring_directory / "keyring.lock").unlink()
            revoke(ring_directory, old)
            change.save(change.roster.annotate(old, "as it was before"))

    with pytest.raises(KeyringError):
        late()
    assert read_roster(ring_directory).entries[old].state is State.REVOKED


def test_a_command_says_for_whom_it_waits(ring_directory: Path) -> None:
    ours = [sys.executable, "-m", "pickleseal", "keygen", "--add"]
    command = [*ours, "--keyring", str(ring_directory)]
    with changing(ring_directory):
        waiting = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert waiting.stderr
        told = waiting.stderr.readline()
    waiting.communicate()
    assert told.startswith("waiting for the lock ")
    assert f"process {os.getpid()} " in told
    assert waiting.returncode == 0
    assert len(read_roster(ring_directory).entries) == 2


def test_who_waited_for_a_lock_that_was_removed_takes_the_new_one(ring_directory: Path) -> None:
    with changing(ring_directory):
        waiting = start(ring_directory, "create", 1)
        time.sleep(0.5)
        (ring_directory / "keyring.lock").unlink()
        with changing(ring_directory) as change:
            change.save(change.roster.annotate(primary_of(ring_directory), "by the second"))
    assert len(waiting.communicate()[0].split()) == 1
    assert waiting.returncode == 0
    found = read_roster(ring_directory)
    assert len(found.entries) == 2
    assert found.entries[primary_of(ring_directory)].note == "by the second"


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="there are no links")
def test_a_ring_that_lost_its_list_is_not_made_anew_over_its_keys(ring_directory: Path) -> None:
    before = sorted(os.listdir(ring_directory))
    index = (ring_directory / INDEX).read_bytes()
    (ring_directory / INDEX).unlink()
    for use in (
        lambda: create_key(ring_directory, now=0),
        lambda: rotate(ring_directory),
        lambda: open_keyring(ring_directory),
    ):
        with pytest.raises(KeyringError, match="backup"):
            use()
    (ring_directory / INDEX).write_bytes(index)
    (ring_directory / INDEX).chmod(0o600)
    assert sorted(os.listdir(ring_directory)) == before
    assert open_keyring(ring_directory)


def test_a_damaged_primary_is_not_rotated_away(ring_directory: Path) -> None:
    """Whose key it was nobody could tell any more."""
    file = key_path(ring_directory, primary_of(ring_directory))
    file.write_text(KeyLine.generate().reveal())
    with pytest.raises(KeyringError, match=file.name):
        changes.like_primary(RingFiles(ring_directory), Opener())


def test_a_lock_that_is_a_link_is_not_followed(ring_directory: Path, tmp_path: Path) -> None:
    (ring_directory / "keyring.lock").unlink()
    (ring_directory / "keyring.lock").symlink_to(tmp_path / "made")
    with pytest.raises(OSError, match=r"keyring\.lock"):
        rotate(ring_directory)
    assert not (tmp_path / "made").exists()


def test_a_limit_before_all_time_is_refused(ring_directory: Path) -> None:
    key_id = primary_of(ring_directory)
    with pytest.raises(KeyringError):
        change_roster(ring_directory, lambda r: r.limit(key_id, sign_until=-1, contexts=None))

    def broken(roster: Roster) -> Roster:
        found = roster.entries[key_id]._replace(sign_until=-1)
        return roster._replace(entries={key_id: found})

    with pytest.raises(ValueError, match=key_id):
        change_roster(ring_directory, broken)
    assert read_roster(ring_directory).entries[key_id].sign_until is None


def test_a_key_is_not_handed_out_of_a_ring_that_is_too_old(
    ring_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PICKLESEAL_MIN_EPOCH", "99")
    with pytest.raises(KeyringError):
        changes.export_lines(
            RingFiles(ring_directory), [primary_of(ring_directory)], Opener(), plain=True
        )


def test_a_note_that_has_no_room_changes_nothing(ring_directory: Path) -> None:
    key_id = primary_of(ring_directory)
    before = (ring_directory / INDEX).read_bytes()
    with pytest.raises(KeyringError):
        change_roster(ring_directory, lambda r: r.annotate(key_id, "x" * 2000))

    def crowd(roster: Roster) -> Roster:
        entry = roster.entries[key_id]._replace(note="x" * 1000)
        ids = [f"{number:032x}" for number in range(2000)]
        entries = {**roster.entries, **{i: entry._replace(id=i) for i in ids}}
        return roster._replace(entries=entries).annotate(key_id, "a note")

    with pytest.raises(KeyringError):
        change_roster(ring_directory, crowd)
    assert (ring_directory / INDEX).read_bytes() == before
    assert json.loads(before)["epoch"] == 1
