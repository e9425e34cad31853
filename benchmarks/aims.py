"""What pickleseal aims at, and whether a run reached it."""

from dataclasses import dataclass

from benchmarks.audits import HASHER
from benchmarks.children import HELP
from benchmarks.report import TIMES
from benchmarks.results import Goal, Results
from benchmarks.stores import BY_URL, LARGE
from benchmarks.ways import BASELINE

MIB = 1 << 20


@dataclass(frozen=True)
class Aim:
    """One way is to take at most so many times what another takes."""

    what: str
    case: str
    part: str
    """dump, load, dumps, loads, both; or size."""
    way: str
    against: str
    at_most: float

    def got(self, results: Results) -> float | None:
        """Return the ratio: the median over the rounds; of sizes, the ratio itself."""
        if self.part == "size":
            own = results.size(self.case, self.way)
            other = results.size(self.case, self.against)
            return own / other if own and other else None
        mine = results.timing(self.case, self.part, self.way)
        theirs = results.timing(self.case, self.part, self.against)
        if mine is None or theirs is None:
            return None
        if self.against == BASELINE:
            return mine.ratio
        # A slow way may have taken part in fewer rounds.
        pairs = zip(mine.samples, theirs.samples, strict=False)
        ratios = sorted(own / other for own, other in pairs)
        return ratios[len(ratios) // 2]


_ONE = "array of 1 GiB"
_FOREST = "random forest of 100 MB"
_TUPLES = "dict of 600 000 tuples"
AIMS = (
    Aim(f"{_ONE}: load, beside pickle", "array-large", "load", "pickleseal", BASELINE, 0.8),
    Aim(f"{_ONE}: load, beside joblib", "array-large", "load", "pickleseal", "joblib", 0.9),
    Aim(
        f"{_ONE}: load with SHA-256, beside pickle",
        "array-large", "load", "pickleseal-sha256", BASELINE, 1.2,
    ),
    Aim(f"{_ONE}: dump, beside pickle", "array-large", "dump", "pickleseal", BASELINE, 1.1),
    Aim(f"{_FOREST}: load, beside pickle", "forest-large", "load", "pickleseal", BASELINE, 1.1),
    Aim(f"{_FOREST}: load, beside joblib", "forest-large", "load", "pickleseal", "joblib", 1.0),
    Aim(f"{_FOREST}: dump, beside pickle", "forest-large", "dump", "pickleseal", BASELINE, 1.1),
    Aim(f"{_TUPLES}: load, beside pickle", "tuples", "load", "pickleseal", BASELINE, 1.1),
    Aim(f"{_TUPLES}: dump, beside pickle", "tuples", "dump", "pickleseal", BASELINE, 1.1),
    Aim("iris KNN: dumps, beside pickle", "iris", "dumps", "pickleseal", BASELINE, 2.2),
    Aim("iris KNN: loads, beside pickle", "iris", "loads", "pickleseal", BASELINE, 2.2),
    Aim(
        "dict of 1 kB: dumps and loads, beside pickle",
        "settings", "both", "pickleseal", BASELINE, 5.0,
    ),
    Aim(
        "random forest of 17 MB: dump with compress=1, beside joblib's compress=3",
        "forest", "dump", "pickleseal-zstd-1", "joblib-3", 0.25,
    ),
    Aim("the same: size of the file", "forest", "size", "pickleseal-zstd-1", "joblib-3", 1.0),
)  # fmt: skip
START_MS = {"import pickleseal": 60, HELP: 150}
MEMORY_MIB = 64
AUDIT = {"small": 0.6, "large": 0.2}
STORE_TIMES = 1.5
STORE_REQUESTS = 10


def goals(results: Results) -> list[Goal]:
    """Hold a full run against the aims. A quick run, of small objects, says nothing of them."""
    if results.quick:
        return []
    found = [Goal(aim.what, aim.at_most, TIMES, aim.got(results)) for aim in AIMS]
    memory = {row.way: row for row in results.memory}
    for part in ("load", "dump"):
        own, base = (getattr(memory.get(name), part, None) for name in ("pickleseal", BASELINE))
        more = None if own is None or base is None else (own - base) / MIB
        found.append(
            Goal(f"{_ONE}: peak memory of a {part}, beyond pickle's", MEMORY_MIB, "MiB", more)
        )
    for tree, aim in AUDIT.items():
        row = next(
            (r for r in results.audits if (r.tree, r.tool) == (tree, "pickleseal audit")), None
        )
        if row is not None:
            got = row.timing and row.timing.ratio
            found.append(Goal(f"audit of {row.title}, beside {HASHER}", aim, TIMES, got))
    for stored in results.stores:
        if stored.timing is not None and (stored.objects, stored.act) == (LARGE, BY_URL):
            what = f"{LARGE} in S3: load by URL"
            beside = f"{what}, beside one GET"
            found += [
                Goal(beside, STORE_TIMES, TIMES, stored.timing.ratio),
                Goal(what, STORE_REQUESTS, "requests", stored.requests),
            ]
    for row in results.start:
        if row.name in START_MS:
            took = row.timing and row.timing.median * 1000
            found.append(Goal(f"whole process: {row.name}", START_MS[row.name], "ms", took))
    return found
