"""`python -m benchmarks.growth`: how an audit grows, and what a second process saves.

Each command runs in turn with the others. Processor time is that of all its processes.
"""

import argparse
import os
import pickle
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from sklearn.datasets import load_iris
from sklearn.neighbors import KNeighborsClassifier

from pickleseal import signed_dumps
from pickleseal.keys.store.changes import create_key

_WAYS = {"one process": ["--jobs", "1"], "two": ["--jobs", "2"]}
_PER_FOLDER = 1000


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__)
    parser.add_argument("--files", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    print(f"{'files':>8}  {'kind':9} {'way':12} {'seconds':>8} {'processor':>10} {'µs a file':>10}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        create_key(folder / "ring", now=int(time.time()))
        for count in chosen.files:
            for kind in ("sealed", "unsealed"):
                tree = folder / f"{kind}-{count}"
                _make(tree, folder / "ring", count, sealed=kind == "sealed")
                for way, took, used in _measured(tree, folder / "ring", chosen.rounds):
                    each = used / count * 1e6
                    print(f"{count:8,}  {kind:9} {way:12} {took:8.2f} {used:10.2f} {each:10.0f}")


def _make(tree: Path, ring: Path, count: int, *, sealed: bool) -> None:
    model = KNeighborsClassifier(n_neighbors=3).fit(*load_iris(return_X_y=True))
    for number in range(count):
        folder = tree / f"{number // _PER_FOLDER:03}"
        folder.mkdir(parents=True, exist_ok=True)
        data = (
            signed_dumps(model, keyring=ring, context=f"model/{number}")
            if sealed
            else pickle.dumps(model)
        )
        (folder / f"{number}.pkl").write_bytes(data)


def _measured(tree: Path, ring: Path, rounds: int) -> list[tuple[str, float, float]]:
    """Return the median seconds and processor seconds of each way, warm."""
    took: dict[str, list[tuple[float, float]]] = {way: [] for way in _WAYS}
    for turn in range(rounds + 1):
        for way, options in _WAYS.items():
            before, start = _used(), time.perf_counter()
            command = ["audit", str(tree), "--keyring", str(ring), "--fail-on", "never", *options]
            done = subprocess.run(
                [sys.executable, "-m", "pickleseal", *command, "--no-settings"],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"},
                check=False,
            )
            assert done.returncode == 0
            if turn:  # the first reads from the disk
                took[way].append((time.perf_counter() - start, _used() - before))
    return [
        (way, *(median(column) for column in zip(*one, strict=True))) for way, one in took.items()
    ]


def _used() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
