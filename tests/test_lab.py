"""The fault lab in small, so that it cannot rot: `make lab` runs all of it."""

import math
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click
import pytest
from lab import crowd, fuzz, limits, lives, report, shim, sweep, targets
from lab.acts import ACTS
from lab.field import Field
from lab.turns import Server

from pickleseal.cli import cli
from pickleseal.cli.keys import keys
from pickleseal.cli.pins import pins

pytestmark = [
    pytest.mark.sweep,
    pytest.mark.timeout(600),  # some hundred processes on a busy machine
]


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder in memory, if possible; the lab sets a passphrase, which is unset afterwards."""
    monkeypatch.setenv("PICKLESEAL_PASSPHRASE", "")
    with tempfile.TemporaryDirectory(dir=report.memory_folder()) as folder:
        yield Path(folder)


def test_every_command_that_writes_is_broken() -> None:
    """A new command belongs on the list of acts, or here if it only reads."""
    reads = {"keys show", "inspect", "find-loads", "demo", "completion", "pins list"}
    there = set()
    for prefix, group in (("", cli), ("keys ", keys), ("pins ", pins)):
        there |= {prefix + name for name in group.list_commands(click.Context(group))}
    assert there - reads - {"keys", "pins"} <= set(ACTS)


@pytest.mark.skipif(sys.platform != "linux", reason="turns are waited for by pidfd_open")
def test_every_act_passes_its_judge_where_nothing_is_broken(place: Path) -> None:
    field = Field(place, None)
    with field.server:
        for name in ACTS:
            field.calls(name)  # which fails for one that is not done


@pytest.mark.skipif(bool(shim.missing()), reason=shim.missing() or "-")
def test_a_seeded_sample_of_kills_failures_and_signals_is_harmless(place: Path) -> None:
    library = shim.build(place)
    acts = ("dump", "load with pins", "reseal", "keys rotate", "keys protect")
    swept = sweep.sweep(place / "sweep", library, acts, seed=1, most=40)
    assert not swept.complaints
    assert sum(swept.tried.values()) == 40
    assert {sort for _, sort in swept.tried} == set(sweep.SORTS)


@pytest.mark.skipif(bool(shim.missing()), reason=shim.missing() or "-")
def test_the_judge_sees_a_fault(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An act that is not done although it exits with 0 must be complained of."""
    monkeypatch.setitem(ACTS, "keys list", ACTS["keys list"]._replace(reads=False))
    library = shim.build(place)
    swept = sweep.sweep(place / "sweep", library, ["keys list"], seed=1, most=8)
    assert swept.complaints


def test_a_crowd_of_threads_raises_no_alarm(place: Path) -> None:
    with ThreadPoolExecutor(len(crowd.ROLES)) as workers:
        part = crowd.crowd(place, workers, seed=1, seconds=2)
    assert not part.complaints
    assert {"dumps", "loads with pins", "audits", "reseals of a folder"} <= {
        w for w, _ in part.rows
    }


@pytest.mark.skipif(sys.platform != "linux", reason="address spaces are measured in /proc")
def test_full_disks_and_little_memory_are_no_verdict(place: Path) -> None:
    part = limits.limits(place, ["dump", "keys rotate"], seed=1, until=math.inf, most=16)
    assert not part.complaints
    assert sum(int(runs) for _, runs, *_ in part.rows) == 16


def test_seeded_mutations_raise_nothing_but_the_packages_own_errors() -> None:
    for name, target in targets.make().items():
        for data in target.seeds:
            target.check(data)
        count, complaints = fuzz.mutate(
            target.check, target.seeds, seed=1, until=math.inf, most=100
        )
        assert (name, count, complaints) == (name, 100, [])


def test_the_fuzzer_sees_what_escapes_and_reaches_behind_the_tags() -> None:
    def check(data: bytes) -> None:
        assert data.startswith(b"good"), "it is not"

    count, complaints = fuzz.mutate(check, (b"good",), seed=1, until=math.inf, most=50)
    assert count == 50
    assert complaints
    for sealed in targets.make()["envelope with recomputed tags"].seeds:
        assert targets.tagged(sealed) == sealed
        spoiled = sealed[:16] + bytes(16) + sealed[32:-1] + b"x"
        assert not targets.is_sealed(spoiled)
        assert targets.is_sealed(targets.tagged(spoiled))


@pytest.mark.skipif(bool(shim.missing()), reason=shim.missing() or "-")
@pytest.mark.parametrize("life", [lives.RingLife, lives.FolderLife])
def test_a_life_with_crashes_loses_nothing(life: type[lives.Life], place: Path) -> None:
    counts: Counter[str] = Counter()
    with Server(shim.build(place), place) as server:
        complaints = lives.live(
            life, server, place, number=1, examples=6, may_crash=True, counts=counts
        )
    assert not complaints
    assert counts["steps"]
