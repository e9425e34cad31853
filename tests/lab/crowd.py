"""Processes and threads beside each other: dumps, loads with pins, rotations, audits, reseals.

All of them are honest, so every load must be right, and nothing may raise an alarm.
"""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import numpy as np

from lab.report import Bench, Part, pool
from pickleseal import audit, signed_dump, signed_load
from pickleseal.auditing.findings import Level
from pickleseal.keys.store.changes import create_key, rotate
from pickleseal.migration.batch import Batch, Outcome
from pickleseal.migration.reseal import reseal_all

FILES = 6
THREADS = 2
_SIZES = (10, 30_000, 1_200_000)  # one segment, several, so many leaves that threads share them
_PAUSE = 0.2
"""Seconds between two audits and reseals, on average; ten times as many between rotations."""

Step = Callable[[Path, int, random.Random], str]
"""One thing that a thread does: its folder, its number, its random numbers; what to count."""


def value_of(serial: int) -> dict[str, Any]:
    """Return the object with a serial, of which a part alone would be noticed."""
    return {"serial": serial, "array": np.full(_SIZES[serial % len(_SIZES)], float(serial))}


def build(folder: Path) -> None:
    """Make the ring and the first of each file."""
    create_key(folder / "ring", now=int(time.time()))
    (folder / "models").mkdir()
    for number in range(FILES):
        _save(folder, number, 1)


def _save(folder: Path, number: int, serial: int) -> None:
    path, context = folder / f"models/{number}.pkl", f"crowd/{number}"
    signed_dump(value_of(serial), path, keyring=folder / "ring", context=context, serial=serial)


def _dumping() -> Step:
    serials = Counter[int]()

    def step(folder: Path, writer: int, chance: random.Random) -> str:
        # Each file has one writer, so its serials rise.
        number = chance.choice(range(writer % FILES, FILES, DUMPERS * THREADS))
        serials[number] += 1
        _save(folder, number, serials[number] + 1)
        return "dumps"

    return step


def _load(folder: Path, _: int, chance: random.Random) -> str:
    number = chance.randrange(FILES)
    got = signed_load(
        folder / f"models/{number}.pkl",
        keyring=folder / "ring",
        context=f"crowd/{number}",
        pins=folder / "pins.json",
    )
    assert np.array_equal(got["array"], value_of(got["serial"])["array"]), "an object is torn"
    return "loads with pins"


def _rotate(folder: Path, _: int, chance: random.Random) -> str:
    time.sleep(chance.uniform(0, 20 * _PAUSE))
    rotate(folder / "ring", now=int(time.time()))
    return "rotations"


def _audit(folder: Path, _: int, chance: random.Random) -> str:
    time.sleep(chance.uniform(0, 2 * _PAUSE))
    found = list(audit(folder / "models", keyring=folder / "ring"))
    alarms = [str(one) for one in found if one.level >= Level.WARNING]
    assert not alarms, f"an alarm: {alarms}"
    assert len(found) >= FILES, "an audit misses a file"
    return "audits"


def _reseal(folder: Path, _: int, chance: random.Random) -> str:
    time.sleep(chance.uniform(0, 2 * _PAUSE))
    batch = Batch([str(folder / "models")])
    for one in reseal_all(batch, keyring=folder / "ring"):
        # A dump beside it may replace a file first: the file is then left as it is.
        fine = one.outcome is not Outcome.FAILED or "another program changed" in one.reason
        assert fine, f"a failure: {one}"
        assert one.outcome is not Outcome.REFUSED, f"an alarm: {one}"
    return "reseals of a folder"


DUMPERS = 2
ROLES: tuple[Callable[[], Step], ...] = (
    *(_dumping,) * DUMPERS,
    *(lambda: _load,) * 2,
    lambda: _rotate,
    lambda: _audit,
    lambda: _reseal,
)
"""What each process does."""


def work(folder: Path, process: int, *, seed: int, until: float) -> tuple[Counter[str], list[str]]:
    """Do what a process of this number does in some threads, up to a time."""
    role = ROLES[process]
    counts: list[Counter[str]] = [Counter() for _ in range(THREADS)]
    complaints: list[str] = []

    def loop(thread: int) -> None:
        number = process * THREADS + thread
        step, chance = role(), random.Random(f"{seed} {number}")
        while time.monotonic() < until:
            try:
                counts[thread][step(folder, number, chance)] += 1
            except Exception as error:  # noqa: BLE001 - whatever escapes is a complaint
                complaints.append(f"{role}, thread {number}: {error!r}")

    threads = [threading.Thread(target=loop, args=(number,)) for number in range(THREADS)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    return sum(counts, Counter()), complaints


def run(bench: Bench) -> Part:
    """Run all processes at once."""
    with pool(len(ROLES)) as processes:
        return crowd(bench.folder, processes, seed=bench.seed, seconds=bench.seconds)


def crowd(folder: Path, workers: Executor, *, seed: int, seconds: float) -> Part:
    """Run a worker for each role at once for some seconds."""
    build(folder)
    until = time.monotonic() + seconds
    jobs = [
        workers.submit(work, folder, number, seed=seed, until=until) for number in range(len(ROLES))
    ]
    counts: Counter[str] = Counter()
    complaints = []
    for job in jobs:
        counted, said = job.result()
        counts += counted
        complaints += said
    return Part(
        "Processes and threads at once",
        f"{len(ROLES)} processes of {THREADS} threads work on one folder, one ring and one file of"
        " pins. Every load must be right, and nothing may raise an alarm.",
        ("what", "how often"),
        [(what, f"{count:,}") for what, count in sorted(counts.items())],
        complaints,
    )
