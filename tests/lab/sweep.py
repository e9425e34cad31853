"""Kills, failed calls and signals at counted calls of each act."""

import errno
import math
import operator
import random
import signal
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from lab import shim
from lab.acts import ACTS
from lab.field import Field, Point
from lab.report import Bench, Part, pool
from lab.turns import FAIL, KILL, SHORT, SIGNAL, TORN, Fault

ANY = (errno.EIO,)
ACCESS = (errno.EIO, errno.EACCES)
SPACE = (errno.EIO, errno.ENOSPC)
ERRORS = {
    "open": (errno.EIO, errno.EACCES, errno.EMFILE, errno.EINTR),
    "create": (errno.EIO, errno.EACCES, errno.ENOSPC, errno.EMFILE, errno.EROFS, errno.EINTR),
    "read": (errno.EIO, errno.EINTR),
    "write": (errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EINTR),
    "sync": SPACE,
    "rename": (errno.EIO, errno.ENOSPC, errno.EACCES, errno.EROFS),
    "link": (errno.EIO, errno.ENOSPC, errno.EPERM),
    "unlink": ACCESS,
    "mkdir": (errno.EIO, errno.ENOSPC, errno.EACCES, errno.EROFS),
    "truncate": SPACE,
    "close": ANY,
    "lock": (errno.EIO, errno.ENOLCK, errno.EINTR),
    "status": ACCESS,
    "chmod": (errno.EIO, errno.EPERM),
    "list": ACCESS,
}
"""What each kind of call fails with on a real system."""
CHANGING = ("create", "write", "sync", "rename", "link", "mkdir", "truncate")


class Swept(NamedTuple):
    """What came of some acts: their calls, their points, how many were tried, the complaints."""

    calls: dict[str, int]
    points: Counter[str]
    tried: Counter[tuple[str, str]]
    complaints: list[str]


SORTS = ("kills", "failed calls", "short calls", "signals")


def sort_of(fault: Fault) -> str:
    """Return the sort of a fault, for the table."""
    return SORTS[{KILL: 0, TORN: 0, FAIL: 1, SHORT: 2, SIGNAL: 3}[fault.action]]


def faults_at(call: int, kind: str) -> Iterator[Fault]:
    """Return what can happen at a call."""
    yield Fault("SIGKILL", KILL, 0, call)
    for number in (signal.SIGINT, signal.SIGTERM):
        yield Fault(number.name, SIGNAL, number, call)
    if kind in ("read", "write"):
        yield Fault("half of it", SHORT, 0, call)
    if kind == "write":
        yield Fault("half of it and SIGKILL", TORN, 0, call)
    for error in ERRORS[kind]:
        yield Fault(errno.errorcode[error], FAIL, error, call)
    if kind in CHANGING:
        for error in SPACE:
            name = f"{errno.errorcode[error]} from there on"
            yield Fault(name, FAIL, error, call, CHANGING)


def points_of(calls: dict[str, list[str]]) -> list[Point]:
    """Return every fault at every call of some acts."""
    return [
        Point(name, kind, fault)
        for name, kinds in calls.items()
        for call, kind in enumerate(kinds)
        for fault in faults_at(call, kind)
    ]


def in_order(points: list[Point], seed: int) -> list[Point]:
    """Return points in an order that a seed gives, each act and each sort of fault in turn."""
    shuffled = random.Random(seed).sample(points, len(points))
    ranks: Counter[tuple[str, str]] = Counter()
    ranked = []
    for point in shuffled:
        group = point.act, sort_of(point.fault)
        ranked.append((ranks[group], point))
        ranks[group] += 1
    return [point for _, point in sorted(ranked, key=operator.itemgetter(0))]


def sweep(
    folder: Path,
    library: Path,
    acts: Iterable[str],
    *,
    seed: int,
    share: tuple[int, int] = (0, 1),
    until: float = math.inf,
    most: int | None = None,
) -> Swept:
    """Try the points of some acts in the order that a seed gives, up to a time or a number.

    `share`: which worker this is, and of how many; each takes its part of the points.
    """
    folder.mkdir(mode=0o700)
    field = Field(folder, library)
    tried: Counter[tuple[str, str]] = Counter()
    complaints = []
    with field.server:
        calls = {name: field.calls(name) for name in acts}
        points = in_order(points_of(calls), seed)
        for point in points[share[0] :: share[1]][:most]:
            if time.monotonic() > until:
                break
            tried[point.act, sort_of(point.fault)] += 1
            complaints += field.complaints(point)
    counts = {name: len(kinds) for name, kinds in calls.items()}
    return Swept(counts, Counter(point.act for point in points), tried, complaints)


def run(bench: Bench) -> Part:
    """Sweep all acts on all workers."""
    did = (
        "Each call to libc that reaches the act's folder is counted, and one of them fails, is cut"
        " short, kills the process or sends it a signal. Targets must be whole, old or new; no key"
        " and no file may be lost; leftovers must have their own name and be found by"
        " `keys doctor` or `audit`; the exit code must be true; a second run must finish."
    )
    lacking = shim.missing()
    if lacking:
        return Part("Kills, failed calls and signals", did, (), [], [], skipped=lacking)
    library = shim.build(bench.folder)
    until = time.monotonic() + bench.seconds
    with pool(bench.workers) as workers:
        jobs = [
            workers.submit(
                sweep,
                bench.folder / f"sweep-{number}",
                library,
                list(ACTS),
                seed=bench.seed,
                share=(number, bench.workers),
                until=until,
            )
            for number in range(bench.workers)
        ]
        found = [job.result() for job in jobs]
    tried = sum((one.tried for one in found), Counter[tuple[str, str]]())
    rows = [
        (
            name,
            *(f"{count:,}" for count in (found[0].calls[name], found[0].points[name])),
            *(f"{tried[name, sort]:,}" for sort in SORTS),
        )
        for name in ACTS
    ]
    totals = (sum(tried[name, sort] for name in ACTS) for sort in SORTS)
    counts = (sum(found[0].calls.values()), sum(found[0].points.values()), *totals)
    rows.append(("**all**", *(f"**{count:,}**" for count in counts)))
    complaints = [one for part in found for one in part.complaints]
    header = ("act", "calls", "points", *SORTS)
    return Part("Kills, failed calls and signals", did, header, rows, complaints)
