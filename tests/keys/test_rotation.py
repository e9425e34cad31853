"""A new primary: at once, from a time on, after a revocation, and on several machines."""

import json
import os
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from command import call
from local_kms import LocalKms
from rings import NOW, PASS, primary_of, revoke

from pickleseal import KeyringError, Suite, open_keyring, signed_dumps, signed_loads
from pickleseal.keys.key import Form, KeyLine, outline
from pickleseal.keys.passphrase import Passphrase
from pickleseal.keys.roster import Entry, Roster, State
from pickleseal.keys.store import changes, lookup
from pickleseal.keys.store.changes import Storage
from pickleseal.keys.store.directory import INDEX, RingFiles, key_path, read_line, read_roster
from pickleseal.keys.store.lines import Opener

if os.name == "posix":
    from terminals import at_terminal

posix = pytest.mark.skipif(os.name != "posix", reason="it needs a POSIX terminal")

FAR = 4_000_000_000
OLD, NEW, OTHER = "0" * 32, "1" * 32, "2" * 32


def roster_of(*entries: Entry, primary: str | None = OLD) -> Roster:
    return Roster(1, primary, {entry.id: entry for entry in entries})


def entry(key_id: str, **fields: object) -> Entry:
    return Entry(key_id, Suite.BLAKE3, State.ACTIVE)._replace(**fields)  # type: ignore[arg-type]


def sealed_by(data: bytes) -> str:
    return data[16:32].hex()


# --- the rule -------------------------------------------------------------------------------------


def test_a_new_key_replaces_the_primary_from_its_time_on() -> None:
    before = roster_of(entry(OLD)).rotate(entry(NEW, sign_from=100))
    assert before.primary == OLD
    assert before.at(99) == before
    after = before.at(100)
    assert (after.primary, after.entries[OLD].state) == (NEW, State.RETIRED)
    assert after.entries[NEW].sign_from is None
    assert after.epoch == before.epoch, "nobody changed the ring"
    assert after.at(1_000) == after
    assert Roster.decode(before.encode().encode()) == before


def test_a_key_replaces_no_other_primary_than_its_predecessor() -> None:
    ring = roster_of(entry(OLD), entry(NEW, replaces=OTHER), entry("3" * 32, replaces="3" * 32))
    assert ring.at(NOW) == ring


def test_keys_that_replace_each_other_have_an_end() -> None:
    ring = roster_of(entry(OLD, replaces=NEW), entry(NEW, replaces=OLD))
    assert ring.at(NOW).primary == NEW
    chain = roster_of(entry(OLD), entry(NEW, replaces=OLD), entry(OTHER, replaces=NEW)).at(NOW)
    assert chain.primary == OTHER
    assert {chain.entries[OLD].state, chain.entries[NEW].state} == {State.RETIRED}


def test_the_newest_of_two_successors_seals() -> None:
    ring = roster_of(
        entry(OLD), entry(NEW, replaces=OLD, sign_from=5), entry(OTHER, replaces=OLD, sign_from=9)
    )
    assert ring.at(10).primary == OTHER
    assert ring.at(6).primary == NEW


@pytest.mark.parametrize("state", [State.RETIRED, State.REVOKED])
def test_a_successor_that_is_not_active_never_seals(state: State) -> None:
    ring = roster_of(entry(OLD), entry(NEW, replaces=OLD, sign_from=5, state=state))
    assert ring.at(NOW).primary == OLD
    assert ring.successor() is None


def test_a_primary_that_was_chosen_again_stays() -> None:
    ring = roster_of(entry(OLD)).rotate(entry(NEW))
    assert ring.primary == NEW
    assert ring.make_primary(OLD).at(NOW).primary == OLD


def test_a_second_rotation_puts_the_first_ones_key_aside() -> None:
    ring = roster_of(entry(OLD)).rotate(entry(NEW, sign_from=100)).rotate(entry(OTHER))
    assert ring.at(NOW).primary == OTHER
    assert ring.entries[NEW].sign_from is None


def test_a_revoked_primary_is_replaced_by_its_successor_in_time() -> None:
    ring = roster_of(entry(OLD)).rotate(entry(NEW, sign_from=100))
    ring = ring.revoke(OLD, reason="stolen", now=50)
    assert ring.at(60).primary is None
    assert ring.at(100).primary == NEW
    with pytest.raises(KeyringError):
        ring.rotate(entry(OTHER, sign_from=100))


@pytest.mark.parametrize(
    "fields", [{"sign_from": 5}, {"replaces": "x"}, {"replaces": 5}, {"sign_from": -1}]
)
def test_a_damaged_succession_is_refused(fields: dict[str, object]) -> None:
    index = json.loads(roster_of(entry(OLD)).encode())
    index["keys"][OLD].update(fields)
    with pytest.raises(ValueError, match="invalid"):
        Roster.decode(json.dumps(index).encode())


# --- in a directory -------------------------------------------------------------------------------


def test_a_new_key_opens_at_once_and_seals_later(ring_directory: Path) -> None:
    old = primary_of(ring_directory)
    new = changes.rotate(ring_directory, now=NOW, sign_from=FAR)
    assert not new.is_primary
    data = signed_dumps(1, keyring=ring_directory)
    assert sealed_by(data) == old
    key = open_keyring(ring_directory).key(new.entry.id)
    assert key is not None


def test_a_ring_that_was_read_before_follows_the_time(
    ring_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that loads and saves by path needs no restart."""
    old = primary_of(ring_directory)
    now = time.time()
    clock = [now]
    monkeypatch.setattr(time, "time", lambda: clock[0])
    new = changes.rotate(ring_directory, now=int(now), sign_from=int(now) + 100).entry.id
    first = signed_dumps("first", keyring=ring_directory)
    kept = lookup.find_keyring(ring_directory)
    assert lookup.find_keyring(ring_directory) is kept
    clock[0] = now + 101
    second = signed_dumps("second", keyring=ring_directory)
    assert (sealed_by(first), sealed_by(second)) == (old, new)
    assert signed_loads(first, keyring=ring_directory) == "first"
    # The next change writes down what time has changed.
    changes.change_roster(ring_directory, lambda r: r.annotate(new, "new"))
    index = json.loads((ring_directory / INDEX).read_text())
    assert index["primary"] == new
    assert index["keys"][old]["state"] == "retired"


def test_rotate_says_what_other_machines_need(ring_directory: Path) -> None:
    done = call("keys", "rotate", "--from", "2096-10-02", "--keyring", ring_directory)
    assert done.returncode == 0, done.stderr
    (new,) = set(read_roster(ring_directory).entries) - {primary_of(ring_directory)}
    assert (
        f"pickleseal keys export {new} -o {new[:8]}.txt --keyring {ring_directory}" in done.stdout
    )
    assert f"pickleseal keys import {new[:8]}.txt" in done.stdout
    assert "2096-10-02" in done.stdout
    assert "2096-10-02" in call("keys", "list", "--keyring", ring_directory).stdout


def test_a_rotation_that_waits_is_not_made_twice(ring_directory: Path) -> None:
    option = ("--keyring", ring_directory)
    assert call("keys", "rotate", "--from", "2096-10-02", *option).returncode == 0
    entries = read_roster(ring_directory).entries
    again = call("keys", "rotate", *option)
    assert again.returncode == 2
    assert "pickleseal keys primary" in again.stderr
    assert read_roster(ring_directory).entries == entries
    assert call("keys", "rotate", "--yes", *option).returncode == 0


@pytest.mark.parametrize(
    ("option", "form"), [("--plain", Form.PLAIN), ("--passphrase", Form.SCRYPT)]
)
def test_the_storage_of_a_new_key_can_be_chosen(
    option: str, form: Form, protected: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither needs the old passphrase."""
    monkeypatch.setenv("PICKLESEAL_NEW_PASSPHRASE", "another one")
    assert call("keys", "rotate", option, "--keyring", protected).returncode == 0
    assert outline(read_line(protected, primary_of(protected))).form is form
    both = call("keys", "rotate", "--plain", "--passphrase", "--keyring", protected)
    assert both.returncode == 2


# --- on several machines --------------------------------------------------------------------------


@pytest.fixture
def machines(ring_directory: Path, tmp_path: Path) -> list[Path]:
    """Return the keyrings of three machines that share a key, which the first one made."""
    others = [tmp_path / "second", tmp_path / "third"]
    for other in others:
        hand_over(primary_of(ring_directory), ring_directory, other)
    return [ring_directory, *others]


def hand_over(key_id: str, here: Path, there: Path) -> subprocess.CompletedProcess[str]:
    lines = call("keys", "export", key_id, "--keyring", here)
    done = call("keys", "import", "-", "--keyring", there, stdin=lines.stdout)
    assert done.returncode == 0, done.stderr
    return done


def check_no_gap(machines: list[Path]) -> set[str]:
    """Check that each machine opens what each seals; return the ids of the keys that sealed."""
    sealed = [signed_dumps(1, keyring=machine) for machine in machines]
    assert [signed_loads(data, keyring=one) for data in sealed for one in machines] == [1] * 9
    return {sealed_by(data) for data in sealed}


def test_three_machines_rotate_without_a_gap_in_three_commands(
    machines: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, old = machines[0], primary_of(machines[0])
    clock = [time.time()]
    monkeypatch.setattr(time, "time", lambda: clock[0])
    assert check_no_gap(machines) == {old}
    start = datetime.fromtimestamp(clock[0] + 100, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    done = call("keys", "rotate", "--from", start, "--json", "--keyring", first)
    new = json.loads(done.stdout)["id"]
    assert check_no_gap(machines) == {old}
    for machine in machines[1:]:
        told = hand_over(new, first, machine)
        assert "seals from" in told.stdout
        assert check_no_gap(machines) == {old}
    clock[0] += 101
    assert check_no_gap(machines) == {new}
    states = [read_roster(machine).entries[old].state for machine in machines]
    assert states == [State.RETIRED] * 3


def test_a_machine_that_imports_the_new_key_late_follows_at_once(machines: list[Path]) -> None:
    first, second = machines[:2]
    old = primary_of(first)
    assert call("keys", "rotate", "--keyring", first).returncode == 0
    told = hand_over(primary_of(first), first, second)
    assert f"{old}, retired" in told.stdout
    assert primary_of(second) == primary_of(first)
    assert check_no_gap([first, second, second]) == {primary_of(first)}


def test_another_machine_makes_no_third_key(machines: list[Path], tmp_path: Path) -> None:
    first, second = machines[:2]
    assert call("keys", "rotate", "--keyring", first).returncode == 0
    before = read_roster(second)
    refused = call("keys", "rotate", "--keyring", second)
    assert refused.returncode == 2
    assert "was imported" in refused.stderr
    assert read_roster(second) == before
    hand_over(primary_of(first), first, second)
    assert primary_of(second) == primary_of(first)
    assert call("keys", "rotate", "--yes", "--keyring", second).returncode == 0


def test_an_imported_key_takes_no_others_place(machines: list[Path], tmp_path: Path) -> None:
    """A machine with a primary of its own goes on sealing with that."""
    first, own = machines[0], tmp_path / "own"
    changes.create_key(own, now=NOW)
    mine = primary_of(own)
    hand_over(primary_of(first), first, own)
    assert call("keys", "rotate", "--keyring", first).returncode == 0
    hand_over(primary_of(first), first, own)
    assert primary_of(own) == mine


def test_a_new_key_that_is_imported_as_retired_never_seals(
    machines: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = machines[:2]
    old = primary_of(first)
    assert call("keys", "rotate", "--keyring", first).returncode == 0
    lines = call("keys", "export", "--keyring", first).stdout
    done = call("keys", "import", "-", "--retired", "--keyring", second, stdin=lines)
    assert done.returncode == 0, done.stderr
    assert primary_of(second) == old


# --- after a revocation ---------------------------------------------------------------------------


def lose_file(folder: Path) -> None:
    key_path(folder, primary_of(folder)).unlink()


def damage_file(folder: Path) -> None:
    key_path(folder, primary_of(folder)).write_text("not a key line\n")


def forget_passphrase(folder: Path) -> None:
    storage = Storage(Passphrase("nobody knows"))
    changes.protect(RingFiles(folder), [primary_of(folder)], Opener(), lambda: storage)


@pytest.mark.parametrize("lose", [lose_file, damage_file, forget_passphrase])
@pytest.mark.parametrize("command", [("keys", "rotate"), ("keygen",)])
def test_a_new_key_never_needs_the_revoked_one(
    lose: Callable[[Path], None],
    command: tuple[str, ...],
    ring_directory: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    old = primary_of(ring_directory)
    lose(ring_directory)
    revoked = call("keys", "revoke", old, "--reason", "lost", "--keyring", ring_directory)
    assert revoked.returncode == 0, revoked.stderr
    if lose is forget_passphrase and command[0] == "keys":
        refused = call(*command, "--keyring", ring_directory)
        assert "PICKLESEAL_NEW_PASSPHRASE" in refused.stderr
        monkeypatch.setenv("PICKLESEAL_NEW_PASSPHRASE", PASS)
        monkeypatch.setenv("PICKLESEAL_PASSPHRASE", PASS)
    done = call(*command, "--keyring", ring_directory)
    assert done.returncode == 0, done.stderr
    assert signed_loads(signed_dumps(1, keyring=ring_directory), keyring=ring_directory) == 1


@posix
def test_a_new_key_is_not_put_behind_a_passphrase_that_became_known(protected: Path) -> None:
    revoke(protected, primary_of(protected), "the passphrase became known")
    env = {"PICKLESEAL_PASSPHRASE": PASS}
    done = at_terminal("keys", "rotate", "--keyring", protected, answers=["a new one"] * 2, env=env)
    assert done.code == 0, done.stderr
    assert "New passphrase" in done.screen
    ring = open_keyring(protected, passphrase=lambda: "a new one")
    assert signed_dumps(1, keyring=ring)


def test_a_new_key_needs_no_kms_that_holds_a_revoked_one(
    kms_ring: Path, as_root: LocalKms, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = primary_of(kms_ring)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    refused = call("keys", "rotate", "--keyring", kms_ring)
    assert refused.returncode == 2
    assert "--plain" in refused.stderr
    revoked = call("keys", "revoke", old, "--reason", "deleted in KMS", "--keyring", kms_ring)
    assert revoked.returncode == 0, revoked.stderr
    done = call("keys", "rotate", "--keyring", kms_ring)
    assert done.returncode == 0, done.stderr
    assert "kept    in its file" in done.stdout
    assert signed_loads(signed_dumps(1, keyring=kms_ring), keyring=kms_ring) == 1
    assert not as_root.calls


@posix
def test_a_new_key_needs_no_command_that_printed_a_revoked_one(
    tmp_path: Path, script: Callable[[str], Path]
) -> None:
    ring = tmp_path / "ring"
    program = script(f"echo {KeyLine.generate().reveal()}")
    done = call("keys", "import", "--command", f"'{program}'", "--keyring", ring)
    assert done.returncode == 0, done.stderr
    old = primary_of(ring)
    program.unlink()
    assert call("keys", "revoke", old, "--reason", "lost", "--keyring", ring).returncode == 0
    assert call("keys", "rotate", "--keyring", ring).returncode == 0
    assert signed_dumps(1, keyring=ring)


# --- a shortened id -------------------------------------------------------------------------------


def test_a_shortened_id_is_revoked_only_with_yes(ring_directory: Path) -> None:
    key_id = primary_of(ring_directory)
    command = ("keys", "revoke", key_id[:8], "--reason", "lost", "--keyring", ring_directory)
    done = call(*command)
    assert done.returncode == 2
    assert key_id in done.stderr
    assert "--yes" in done.stderr
    assert primary_of(ring_directory) == key_id
    assert call(*command, "--yes").returncode == 0
    assert read_roster(ring_directory).entries[key_id].state is State.REVOKED


@posix
@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("yes", 0), ("", 2), ("n", 2)])
def test_a_shortened_id_is_confirmed_on_a_terminal(
    answer: str, code: int, ring_directory: Path
) -> None:
    key_id = primary_of(ring_directory)
    command = ("keys", "revoke", key_id[:8], "--reason", "lost", "--keyring", ring_directory)
    done = at_terminal(*command, answers=[answer], stdin="y\n")
    assert done.code == code
    assert key_id in done.screen
    revoked = read_roster(ring_directory).entries[key_id].state is State.REVOKED
    assert revoked is (code == 0)
