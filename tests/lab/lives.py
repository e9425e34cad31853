"""A ring's life and a folder's life, as hypothesis state machines, with crashes in between.

Each step is a command or a call in a process of its own, which may be killed at one of its calls.
"""

import json
import os
import shutil
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import ClassVar

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from lab import shim
from lab.report import Bench, Part
from lab.turns import KILL, NO_FAULT, Fault, Server, Turn
from pickleseal import (
    RevokedKeyError,
    RollbackError,
    audit,
    open_keyring,
    signed_dumps,
    signed_load,
    signed_loads,
)
from pickleseal.auditing.findings import Level
from pickleseal.keys.roster import Roster, State
from pickleseal.keys.store.directory import read_roster

STEPS = 25
"""Steps of a life."""
_CALLS = 150
crashes = st.none() | st.integers(0, _CALLS)
"""At which of its calls a step is killed, if it makes so many."""
numbers = st.integers(0, 7)
NAMES = ("a.pkl", "b.pkl", "c.pkl")
names = st.sampled_from(NAMES)


class Life(RuleBasedStateMachine):
    """A folder with a ring, in which each step may crash."""

    server: ClassVar[Server]
    folder: ClassVar[Path]
    counts: ClassVar[Counter[str]]
    may_crash: ClassVar[bool]

    def __init__(self) -> None:
        """Make an empty folder."""
        super().__init__()
        self.counts["lives"] += 1
        self.home = self.folder / str(self.counts["lives"])
        self.home.mkdir(mode=0o700)
        self.ring = self.home / "ring"

    def teardown(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.home)

    @initialize()
    def begin(self) -> None:
        assert self.step(None, "keygen").code == 0

    def step(self, crash: int | None, *act: str) -> Turn:
        """Do something, killed at a call if it makes so many."""
        fault = NO_FAULT if crash is None or not self.may_crash else Fault("x", KILL, 0, crash)
        turn = self.server.turn(list(act), self.home, fault)
        assert turn.code in (0, 2, -9), f"{act}: {turn}"
        assert "Traceback" not in turn.err, f"{act}: {turn}"
        self.counts["steps"] += 1
        self.counts["crashes"] += turn.code == -9
        return turn


class RingLife(Life):
    """Keys are made, rotated, retired, revoked and made primary; files are sealed and opened."""

    def __init__(self) -> None:
        super().__init__()
        self.sealed: list[tuple[str, bytes]] = []

    def change(self, crash: int | None, number: int, *act: str) -> None:
        """Change the ring, wholly or not at all."""
        before = read_roster(self.ring)
        ids = sorted(before.entries)
        chosen = ids[number % len(ids)]
        turn = self.step(crash, *(part.format(chosen) for part in act))
        after = read_roster(self.ring)
        if turn.code == 2:
            assert after == before, f"{act} failed, and changed the ring"
            return
        if after == before:
            assert turn.code == -9, f"{act} did nothing"
            return
        assert after.epoch == before.epoch + 1, f"{act} is done in part"
        self.check(act[1] if act[0] == "keys" else act[0], chosen, before, after)

    def check(self, act: str, chosen: str, before: Roster, after: Roster) -> None:
        """Assert that a change is whole, and changed nothing else."""
        new = set(after.entries) - set(before.entries)
        assert set(before.entries) <= set(after.entries), "a key was lost"
        assert len(new) == (act in ("rotate", "keygen"))
        was = {key_id: entry.state for key_id, entry in before.entries.items()}
        now = {key_id: entry.state for key_id, entry in after.entries.items()}
        if act == "rotate":
            was |= dict.fromkeys([before.primary] if before.primary else [], State.RETIRED)
            assert after.primary in new
        elif act == "keygen":
            assert after.primary == before.primary
        elif act == "primary":
            was[chosen] = State.ACTIVE
            assert after.primary == chosen
        else:
            was[chosen] = {"retire": State.RETIRED, "revoke": State.REVOKED}.get(act, was[chosen])
            assert after.primary == (
                None if act == "revoke" and chosen == before.primary else before.primary
            )
        assert now == was | dict.fromkeys(new, State.ACTIVE)

    @rule(crash=crashes)
    def rotate(self, crash: int | None) -> None:
        self.change(crash, 0, "keys", "rotate")

    @rule(crash=crashes)
    def add(self, crash: int | None) -> None:
        if read_roster(self.ring).primary is not None:
            self.change(crash, 0, "keygen", "--add")

    @rule(crash=crashes, number=numbers, act=st.sampled_from(["retire", "primary"]))
    def retire_or_make_primary(self, crash: int | None, number: int, act: str) -> None:
        entries = read_roster(self.ring).entries
        before = entries[sorted(entries)[number % len(entries)]]
        done = {"retire": State.RETIRED, "primary": State.ACTIVE}[act]
        if before.state is not done:  # else it is done already
            self.change(crash, number, "keys", act, "{}")

    @rule(crash=crashes, number=numbers)
    def revoke(self, crash: int | None, number: int) -> None:
        self.change(crash, number, "keys", "revoke", "{}", "--reason", "lost")

    @rule(crash=crashes, number=numbers)
    def note(self, crash: int | None, number: int) -> None:
        self.change(crash, number, "keys", "note", "{}", f"noted {self.counts['steps']}")

    @rule()
    def seal(self) -> None:
        ring = open_keyring(self.ring)
        if ring.primary is not None:
            self.sealed.append((ring.primary, signed_dumps(len(self.sealed), keyring=ring)))

    @invariant()
    def every_file_opens_unless_its_key_is_revoked(self) -> None:
        if not (self.ring / "keyring.json").exists():
            return  # before the first step
        ring = open_keyring(self.ring)
        for number, (key_id, data) in enumerate(self.sealed):
            if ring.entries[key_id].state is State.REVOKED:
                try:
                    signed_loads(data, keyring=ring)
                except RevokedKeyError:
                    continue
                raise AssertionError("a file of a revoked key was loaded")
            assert signed_loads(data, keyring=ring) == number


class FolderLife(Life):
    """Files are dumped, loaded with pins, resealed and put back; keys are rotated."""

    def __init__(self) -> None:
        super().__init__()
        (self.home / "models").mkdir()
        self.serials: dict[str, int] = {}
        self.pinned: dict[str, int] = {}
        self.kept: dict[str, tuple[int, bytes]] = {}

    def path(self, name: str) -> Path:
        """Return the path of a model."""
        return self.home / "models" / name

    def load(self, name: str) -> int:
        """Load a model without pins; return its serial."""
        got = signed_load(self.path(name), keyring=self.ring, context=name)
        assert got["text"] == "x" * 5000 + str(got["serial"]), "an object is torn"
        return int(got["serial"])

    @rule(crash=crashes, name=names)
    def dump(self, crash: int | None, name: str) -> None:
        before = self.serials.get(name)
        after = self.counts["steps"] + 1
        turn = self.step(crash, "dump", f"models/{name}", name, str(after))
        if turn.code == -9 and before is None and not self.path(name).exists():
            return
        self.serials[name] = self.load(name)
        assert self.serials[name] == after or (turn.code == -9 and self.serials[name] == before)

    @rule(crash=crashes, name=names)
    def load_with_pins(self, crash: int | None, name: str) -> None:
        if name in self.serials:
            turn = self.step(crash, "load", f"models/{name}", name)
            assert turn.code != 2, f"an alarm: {turn}"
            if turn.code == 0:
                self.pinned[name] = self.serials[name]
            else:  # it may have been pinned before the crash
                path = self.home / "pins.json"
                told = json.loads(path.read_text())["pins"] if path.exists() else {}
                if name in told:
                    assert told[name]["serial"] in (self.pinned.get(name), self.serials[name])
                    self.pinned[name] = told[name]["serial"]

    @rule(name=names)
    def keep(self, name: str) -> None:
        if name in self.serials:
            self.kept[name] = self.serials[name], self.path(name).read_bytes()

    @rule(name=names)
    def put_back(self, name: str) -> None:
        """An older file must be refused if, and only if, a newer one was loaded."""
        if name not in self.kept:
            return
        serial, data = self.kept[name]
        now = self.path(name).read_bytes()
        self.path(name).write_bytes(data)
        try:
            signed_load(
                self.path(name), keyring=self.ring, context=name, pins=self.home / "pins.json"
            )
        except RollbackError:
            assert serial < self.pinned[name], "a file that is not older was refused"
        else:
            assert serial >= self.pinned.get(name, 0), "an older file was loaded"
            self.pinned[name] = serial
        self.path(name).write_bytes(now)

    @rule(crash=crashes)
    def rotate(self, crash: int | None) -> None:
        self.step(crash, "keys", "rotate")

    @rule(crash=crashes)
    def reseal(self, crash: int | None) -> None:
        if self.serials:  # else there is nothing to reseal
            turn = self.step(crash, "reseal", str(self.home / "models"))
            assert turn.code != 2, f"a failure: {turn}"

    @rule(crash=crashes)
    def take_stock(self, crash: int | None) -> None:
        if self.serials:
            where = str(self.home / "all.inventory")
            self.step(crash, "audit", str(self.home / "models"), "--inventory", where)

    @invariant()
    def every_file_is_whole_and_no_audit_alarms(self) -> None:
        for name, serial in self.serials.items():
            assert self.load(name) == serial, "a file is not what was dumped last"
        if self.serials:
            for one in audit(self.home / "models", keyring=self.ring):
                assert one.level < Level.WARNING, f"an alarm: {one}"


def live(
    life: type[Life],
    server: Server,
    folder: Path,
    *,
    number: int,
    examples: int,
    may_crash: bool,
    counts: Counter[str],
) -> list[str]:
    """Run a number of lives of a kind; return the complaint, or None."""
    fields = {"server": server, "folder": folder, "counts": counts, "may_crash": may_crash}
    machine = seed(number)(type(life.__name__, (life,), fields))
    try:
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=examples,
                stateful_step_count=STEPS,
                deadline=None,
                database=None,
                suppress_health_check=list(HealthCheck),
                phases=(Phase.generate, Phase.shrink),
                print_blob=False,
            ),
        )
    except Exception:  # noqa: BLE001 - whatever escapes is a complaint
        return [f"{life.__name__}, seed {number}:\n{traceback.format_exc()}"]
    return []


def run(bench: Bench) -> Part:
    """Run lives of both kinds in turn, up to a time."""
    lacking = shim.missing()
    library = None if lacking else shim.build(bench.folder)
    until = time.monotonic() + bench.seconds
    counts = {life: Counter[str]() for life in (RingLife, FolderLife)}
    complaints: list[str] = []
    os.environ.pop("PICKLESEAL_PASSPHRASE", None)
    with Server(library, bench.folder) as server:
        number = bench.seed
        while time.monotonic() < until and not complaints:
            for life, counted in counts.items():
                place = bench.folder / f"{life.__name__}-{number}"
                place.mkdir(mode=0o700)
                complaints += live(
                    life,
                    server,
                    place,
                    number=number,
                    examples=10,
                    may_crash=library is not None,
                    counts=counted,
                )
            number += 1
    note = f" Without crashes here: {lacking}." if lacking else ""
    kinds = {RingLife: "a ring's life", FolderLife: "a folder's life"}
    return Part(
        "Lives with crashes",
        "State machines (hypothesis) draw the steps of a ring's life and of a folder's, and the"
        " call at which a step is killed. After each step the ring and every file must be as"
        " before or as after it, files must open unless their key is revoked, an older file must"
        f" be refused if and only if a newer one was loaded, and no audit may alarm.{note}",
        ("life", "lives", "steps", "crashes"),
        [
            (kinds[life], *(f"{counted[what]:,}" for what in ("lives", "steps", "crashes")))
            for life, counted in counts.items()
        ],
        complaints,
    )
