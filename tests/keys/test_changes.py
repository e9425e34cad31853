"""The life of keys in a directory: made, rotated, retired, revoked, protected, handed over."""

import errno
import functools
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

from pickleseal import (
    ContextError,
    Key,
    Keyring,
    KeyringError,
    RevokedKeyError,
    Suite,
    UnknownKeyError,
    WrongPassphraseError,
    open_keyring,
    signed_dumps,
    signed_loads,
)
from pickleseal.keys.key import Form, KeyLine, outline
from pickleseal.keys.passphrase import Passphrase, wrap
from pickleseal.keys.roster import Roster, State
from pickleseal.keys.store import changes, passphrases
from pickleseal.keys.store.changes import (
    Limits,
    Storage,
    change_roster,
    create_key,
    import_keys,
)
from pickleseal.keys.store.directory import (
    INDEX,
    RingFiles,
    changing,
    key_path,
    read_line,
    read_roster,
)
from pickleseal.keys.store.lines import Opener

NOW = 1_800_000_000
PASS = "correct horse battery"


@pytest.fixture(autouse=True)
def _cheap_boxes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make boxes at the lowest cost that is read."""
    monkeypatch.setattr(changes, "wrap", functools.partial(wrap, log2_n=14))


def primary_of(folder: Path) -> str:
    found = read_roster(folder).primary
    assert found is not None
    return found


def rotate(folder: Path, **options: object) -> str:
    return changes.rotate(folder, now=NOW, **options).entry.id  # type: ignore[arg-type]


def revoke(folder: Path, key_id: str, reason: str = "") -> None:
    change_roster(folder, lambda r: r.revoke(key_id, reason=reason, now=NOW))


# --- states ----------------------------------------------------------------------------------


def test_after_a_rotation_old_files_open_and_new_ones_carry_the_new_key(
    ring_directory: Path,
) -> None:
    old = primary_of(ring_directory)
    before = signed_dumps("before", keyring=ring_directory)
    new = rotate(ring_directory)
    after = signed_dumps("after", keyring=ring_directory)
    assert (before[16:32].hex(), after[16:32].hex()) == (old, new)
    assert signed_loads(before, keyring=ring_directory) == "before"
    assert signed_loads(after, keyring=ring_directory) == "after"
    assert read_roster(ring_directory).entries[old].state is State.RETIRED


def test_a_revoked_key_is_told_apart_from_an_unknown_one_and_the_way_on_is_named(
    ring_directory: Path,
) -> None:
    old = primary_of(ring_directory)
    data = signed_dumps(1, keyring=ring_directory)
    rotate(ring_directory)
    revoke(ring_directory, old, "laptop stolen")
    with pytest.raises(RevokedKeyError) as caught:
        signed_loads(data, keyring=ring_directory)
    for word in (old, "laptop stolen", "reseal"):
        assert word in str(caught.value)
    with pytest.raises(UnknownKeyError):
        signed_loads(signed_dumps(1, keyring=Keyring(Key.generate())), keyring=ring_directory)


def test_a_rotation_after_a_revocation_follows_the_key_that_was_primary(tmp_path: Path) -> None:
    """The way after a theft: what limits and protects the key must not get lost on it."""
    folder = tmp_path / "r"
    create_key(folder, suite=Suite.SHA256, now=0, limits=Limits(contexts=("fraud/*",)))
    old = primary_of(folder)
    changes.protect(RingFiles(folder), [old], Opener(), lambda: Storage(Passphrase(PASS)))
    other = create_key(folder, now=1).entry.id
    revoke(folder, old)
    revoke(folder, other)
    storage = changes.like_primary(RingFiles(folder), Opener(lambda: PASS))
    made = changes.rotate(folder, now=NOW, storage=storage)
    assert (made.entry.suite, made.entry.contexts) == (Suite.SHA256, ("fraud/*",))
    assert outline(read_line(folder, made.entry.id)).form is Form.SCRYPT
    assert read_roster(folder).last_primary is None


def test_a_rotation_keeps_suite_and_contexts(tmp_path: Path) -> None:
    create_key(tmp_path / "r", suite=Suite.SHA256, now=0, limits=Limits(contexts=("fraud/*",)))
    made = changes.rotate(tmp_path / "r", now=NOW, note="winter", sign_until=NOW + 9)
    assert made.entry.suite is Suite.SHA256
    assert made.entry.contexts == ("fraud/*",)
    assert (made.entry.note, made.entry.sign_until, made.entry.created) == ("winter", NOW + 9, NOW)
    assert changes.rotate(tmp_path / "r", now=NOW, suite=Suite.BLAKE3).entry.suite is Suite.BLAKE3


def test_a_key_seals_until_its_day_and_opens_after_it(ring_directory: Path) -> None:
    key_id = primary_of(ring_directory)
    data = signed_dumps(1, keyring=ring_directory)
    soon, past = int(time.time()) + 1000, int(time.time()) - 1
    change_roster(ring_directory, lambda r: r.limit(key_id, sign_until=soon, contexts=None))
    assert signed_dumps(1, keyring=ring_directory)
    change_roster(ring_directory, lambda r: r.limit(key_id, sign_until=past, contexts=None))
    with pytest.raises(KeyringError):
        signed_dumps(1, keyring=ring_directory)
    assert signed_loads(data, keyring=ring_directory) == 1


def test_a_bound_key_neither_seals_nor_opens_for_another_context(ring_directory: Path) -> None:
    key_id = primary_of(ring_directory)
    loose = signed_dumps(1, keyring=ring_directory)
    other = signed_dumps(1, keyring=ring_directory, context="spam")
    right = signed_dumps(1, keyring=ring_directory, context="fraud/v3")
    change_roster(ring_directory, lambda r: r.limit(key_id, sign_until=None, contexts=("fraud/*",)))
    assert signed_loads(right, keyring=ring_directory, context="fraud/v3") == 1
    for data, context in ((loose, None), (other, "spam")):
        with pytest.raises(ContextError):
            signed_loads(data, keyring=ring_directory, context=context)
    for context in (None, "spam", "fraud"):
        with pytest.raises(KeyringError):
            signed_dumps(1, keyring=ring_directory, context=context)
    assert signed_dumps(1, keyring=ring_directory, context="fraud/v4")


def test_a_ring_whose_primary_was_revoked_seals_nothing_until_it_is_rotated(
    ring_directory: Path,
) -> None:
    revoke(ring_directory, primary_of(ring_directory))
    with pytest.raises(KeyringError):
        signed_dumps(1, keyring=ring_directory)
    rotate(ring_directory)
    assert signed_dumps(1, keyring=ring_directory)


def test_an_older_keyring_json_put_back_is_refused_below_min_epoch(
    ring_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = primary_of(ring_directory)
    data = signed_dumps(1, keyring=ring_directory)
    rotate(ring_directory)
    backup = (ring_directory / INDEX).read_bytes()
    revoke(ring_directory, old)
    epoch = read_roster(ring_directory).epoch
    (ring_directory / INDEX).write_bytes(backup)
    assert signed_loads(data, keyring=ring_directory) == 1, "without min_epoch nothing tells"
    for least, good in ((epoch, False), (epoch - 1, True), (0, True)):
        if good:
            assert open_keyring(ring_directory, min_epoch=least)
        else:
            with pytest.raises(KeyringError):
                open_keyring(ring_directory, min_epoch=least)
    monkeypatch.setenv("PICKLESEAL_MIN_EPOCH", str(epoch))
    for use in (
        lambda: signed_loads(data, keyring=ring_directory),
        lambda: open_keyring(ring_directory),
        lambda: rotate(ring_directory),
        lambda: create_key(ring_directory, now=0),
    ):
        with pytest.raises(KeyringError):
            use()
    assert (ring_directory / INDEX).read_bytes() == backup


@pytest.mark.parametrize("value", ["", "x", "-1", "1.5", "٣", "9" * 40, " 1"])
def test_a_min_epoch_that_is_no_number_is_an_error_and_not_zero(
    value: str, ring_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PICKLESEAL_MIN_EPOCH", value)
    with pytest.raises(KeyringError):
        open_keyring(ring_directory)


# --- passphrases -----------------------------------------------------------------------------


@pytest.fixture
def protected(ring_directory: Path) -> Path:
    """Give a ring of two keys behind one passphrase."""
    rotate(ring_directory)
    ids = list(read_roster(ring_directory).entries)
    assert (
        changes.protect(RingFiles(ring_directory), ids, Opener(), lambda: Storage(Passphrase(PASS)))
        == ids
    )
    return ring_directory


def forms(folder: Path) -> set[Form]:
    return {outline(read_line(folder, i)).form for i in read_roster(folder).entries}


def test_protected_keys_open_with_the_passphrase_which_is_asked_for_once(protected: Path) -> None:
    assert forms(protected) == {Form.SCRYPT}
    asked: list[int] = []

    def ask() -> str:
        asked.append(1)
        return PASS

    ring = open_keyring(protected, passphrase=ask)
    assert not asked, "nothing is asked for before a key is used"
    for _ in range(3):
        assert signed_loads(signed_dumps(1, keyring=ring), keyring=ring) == 1
    for key_id in ring.entries:
        key = ring.key(key_id)
        assert key is not None
        key.mac(b"x" * 96)
    assert len(asked) == 1


def test_a_wrong_passphrase_opens_nothing(protected: Path) -> None:
    ring = open_keyring(protected, passphrase=lambda: "wrong")
    with pytest.raises(WrongPassphraseError):
        signed_dumps(1, keyring=ring)


def test_the_passphrase_comes_from_the_environment_or_a_command(
    protected: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PICKLESEAL_PASSPHRASE", PASS)
    data = signed_dumps(1, keyring=open_keyring(protected))
    monkeypatch.delenv("PICKLESEAL_PASSPHRASE")
    script = tmp_path / "ask me"
    script.write_text(f"#!/bin/sh\nprintf '%s\\n' '{PASS}'\n")
    script.chmod(0o700)
    monkeypatch.setenv("PICKLESEAL_PASSPHRASE_COMMAND", f"'{script}'")
    assert signed_loads(data, keyring=open_keyring(protected)) == 1
    for command in ("relative", "'", str(tmp_path / "none")):
        monkeypatch.setenv("PICKLESEAL_PASSPHRASE_COMMAND", command)
        with pytest.raises(KeyringError):
            signed_loads(data, keyring=open_keyring(protected))


def test_without_a_terminal_or_a_variable_the_error_says_what_to_set(protected: Path) -> None:
    code = (
        "import sys, pickleseal\n"
        "try: pickleseal.signed_dumps(1, keyring=sys.argv[1])\n"
        "except pickleseal.KeyringError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(protected)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "PICKLESEAL_PASSPHRASE" in done.stdout


def test_a_server_asks_no_more_after_a_rotation(
    protected: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PICKLESEAL_PASSPHRASE", PASS)
    data = signed_dumps(1, keyring=protected)
    rotate(protected)
    monkeypatch.delenv("PICKLESEAL_PASSPHRASE")
    monkeypatch.setattr(passphrases, "_is_terminal", lambda: False)
    assert signed_loads(data, keyring=protected) == 1


def test_a_rotation_keeps_the_new_key_as_the_old_one_was(protected: Path) -> None:
    storage = changes.like_primary(RingFiles(protected), Opener(lambda: PASS))
    made = changes.rotate(protected, now=NOW, storage=storage)
    assert forms(protected) == {Form.SCRYPT}
    ring = open_keyring(protected, passphrase=lambda: PASS)
    assert signed_dumps(1, keyring=ring)[16:32].hex() == made.entry.id
    with pytest.raises(WrongPassphraseError):
        changes.like_primary(RingFiles(protected), Opener(lambda: "wrong"))


def test_one_passphrase_takes_the_place_of_another(protected: Path) -> None:
    ids = list(read_roster(protected).entries)
    changes.protect(
        RingFiles(protected), ids, Opener(lambda: PASS), lambda: Storage(Passphrase("another one"))
    )
    for text, good in ((PASS, False), ("another one", True)):
        ring = open_keyring(protected, passphrase=lambda text=text: text)  # type: ignore[misc]
        if good:
            assert signed_dumps(1, keyring=ring)
        else:
            with pytest.raises(WrongPassphraseError):
                signed_dumps(1, keyring=ring)


def test_protection_is_taken_off_again_and_a_wrong_passphrase_changes_nothing(
    protected: Path,
) -> None:
    before = {path: path.read_bytes() for path in protected.iterdir()}
    ids = list(read_roster(protected).entries)
    with pytest.raises(WrongPassphraseError):
        changes.protect(RingFiles(protected), ids, Opener(lambda: "wrong"), None)
    assert {path: path.read_bytes() for path in protected.iterdir()} == before
    assert changes.protect(RingFiles(protected), ids, Opener(lambda: PASS), None) == ids
    assert forms(protected) == {Form.PLAIN}
    assert changes.protect(RingFiles(protected), ids, Opener(), None) == []
    assert signed_dumps(1, keyring=open_keyring(protected))


def test_a_new_passphrase_comes_from_its_variable_and_is_not_too_short(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PICKLESEAL_NEW_PASSPHRASE", PASS)
    monkeypatch.setenv("PICKLESEAL_PASSPHRASE", "the old one")
    assert passphrases.new_passphrase().same_as(Passphrase(PASS))
    monkeypatch.delenv("PICKLESEAL_NEW_PASSPHRASE")
    assert passphrases.new_passphrase().same_as(Passphrase("the old one"))
    monkeypatch.setenv("PICKLESEAL_NEW_PASSPHRASE", "short")
    with pytest.raises(KeyringError):
        passphrases.new_passphrase()


# --- handing over ----------------------------------------------------------------------------


def test_what_is_exported_is_imported_elsewhere(ring_directory: Path, tmp_path: Path) -> None:
    data = signed_dumps("first", keyring=ring_directory)
    rotate(ring_directory)
    ids = list(read_roster(ring_directory).entries)
    lines = changes.export_lines(RingFiles(ring_directory), ids, Opener(), plain=False)
    made = import_keys(tmp_path / "other", lines, now=NOW, note="from the laptop").made
    assert [one.entry.id for one in made] == ids
    assert [one.is_primary for one in made] == [True, False]
    assert signed_loads(data, keyring=tmp_path / "other") == "first"
    again = import_keys(tmp_path / "other", [*lines, KeyLine.generate()], now=NOW)
    assert (again.known, len(again.made)) == (ids, 1), "what is there stays as it is"
    revoke(tmp_path / "other", ids[0])
    with pytest.raises(KeyringError):
        import_keys(tmp_path / "other", [*lines, KeyLine.generate()], now=NOW)
    assert len(read_roster(tmp_path / "other").entries) == 3


def test_an_import_of_several_lines_takes_all_or_none(tmp_path: Path) -> None:
    folder = tmp_path / "ring"
    good, other = KeyLine.generate(), KeyLine.generate()
    cut = KeyLine(other.reveal()[:-1])
    with pytest.raises(KeyringError):
        import_keys(folder, [good, cut], now=NOW)
    assert not folder.exists()
    made = import_keys(folder, [good, other, good], now=NOW, retired=True).made
    assert {one.entry.state for one in made} == {State.RETIRED}
    assert read_roster(folder).primary is None


def test_an_imported_key_is_primary_where_that_is_asked_for(ring_directory: Path) -> None:
    old = primary_of(ring_directory)
    (one,) = import_keys(ring_directory, [KeyLine.generate()], now=NOW).made
    (two,) = import_keys(ring_directory, [KeyLine.generate()], now=NOW, make_primary=True).made
    assert (one.is_primary, two.is_primary) == (False, True)
    assert primary_of(ring_directory) == two.entry.id
    assert read_roster(ring_directory).entries[old].state is State.ACTIVE


def test_a_protected_key_is_handed_over_as_it_is_or_plain(protected: Path) -> None:
    key_id = primary_of(protected)
    (kept,) = changes.export_lines(RingFiles(protected), [key_id], Opener(), plain=False)
    assert outline(kept).form is Form.SCRYPT
    (plain,) = changes.export_lines(
        RingFiles(protected), [key_id], Opener(lambda: PASS), plain=True
    )
    assert Key.parse(plain).id == key_id


def test_a_revoked_key_is_handed_to_nobody(ring_directory: Path) -> None:
    key_id = primary_of(ring_directory)
    revoke(ring_directory, key_id)
    with pytest.raises(KeyringError):
        changes.export_lines(RingFiles(ring_directory), [key_id], Opener(), plain=True)


def test_lines_in_the_variable_rotate_without_a_gap(
    ring_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Old lines first, then new and old, then new alone: what any of them sealed is open."""
    (old,) = changes.export_lines(
        RingFiles(ring_directory), [primary_of(ring_directory)], Opener(), plain=True
    )
    monkeypatch.setenv("PICKLESEAL_KEY", old.reveal())
    first = signed_dumps("first")
    rotate(ring_directory)
    (new,) = changes.export_lines(
        RingFiles(ring_directory), [primary_of(ring_directory)], Opener(), plain=True
    )
    monkeypatch.setenv("PICKLESEAL_KEY", f"{new.reveal()}\n{old.reveal()}\n")
    second = signed_dumps("second")
    assert second[16:32].hex() == outline(new).id
    assert (signed_loads(first), signed_loads(second)) == ("first", "second")
    monkeypatch.setenv("PICKLESEAL_KEY", new.reveal())
    assert signed_loads(second) == "second"
    with pytest.raises(UnknownKeyError):
        signed_loads(first)


def test_a_protected_line_in_the_variable_opens_with_the_passphrase(
    protected: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (line,) = changes.export_lines(
        RingFiles(protected), [primary_of(protected)], Opener(), plain=False
    )
    monkeypatch.setenv("PICKLESEAL_KEY", line.reveal())
    monkeypatch.setenv("PICKLESEAL_PASSPHRASE", PASS)
    assert signed_loads(signed_dumps(1)) == 1


# --- two at once, a crash, a full disk -------------------------------------------------------

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


def test_a_key_that_a_command_holds_is_not_copied_here(tmp_path: Path) -> None:
    script = tmp_path / "fetch"
    script.write_text(f"#!/bin/sh\necho {KeyLine.generate().reveal()}\n")
    script.chmod(0o700)
    folder = tmp_path / "ring"
    import_keys(folder, [changes.command_line([str(script)])], now=0)
    for choose in (None, lambda: Storage(Passphrase(PASS))):
        with pytest.raises(KeyringError):
            changes.protect(RingFiles(folder), [primary_of(folder)], Opener(), choose)
    assert forms(folder) == {Form.EXTERNAL}


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


@pytest.mark.parametrize("kind", ["a link", "a second name"])
def test_a_key_that_would_stay_plain_elsewhere_is_not_called_protected(
    kind: str, ring_directory: Path, tmp_path: Path
) -> None:
    key_id = primary_of(ring_directory)
    file, other = key_path(ring_directory, key_id), tmp_path / "other"
    if kind == "a link":
        file.rename(other)
        file.symlink_to(other)
    else:
        other.hardlink_to(file)
    with pytest.raises(KeyringError):
        changes.protect(
            RingFiles(ring_directory), [key_id], Opener(), lambda: Storage(Passphrase(PASS))
        )
    assert Key.parse(KeyLine(other.read_text())).id == key_id
    assert open_keyring(ring_directory)


def test_a_key_that_is_kept_otherwise_meanwhile_is_left_as_it_is_now(
    ring_directory: Path,
) -> None:
    """Or the secret that the file of the key came to refer to could be forgotten."""
    key_id = primary_of(ring_directory)

    def choose() -> Storage:
        changes.protect(
            RingFiles(ring_directory),
            [key_id],
            Opener(),
            lambda: Storage(Passphrase("by another process")),
        )
        return Storage(Passphrase(PASS))

    with pytest.raises(KeyringError):
        changes.protect(RingFiles(ring_directory), [key_id], Opener(), choose)
    ring = open_keyring(ring_directory, passphrase=lambda: "by another process")
    assert signed_dumps(1, keyring=ring)


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
        for number in range(2000):
            found = roster.entries[key_id]._replace(id=f"{number:032x}", note="x" * 1000)
            roster = roster.add(found)
        return roster

    with pytest.raises(KeyringError):
        change_roster(ring_directory, crowd)
    assert (ring_directory / INDEX).read_bytes() == before
    assert json.loads(before)["epoch"] == 1
