"""What loads and audits ask an S3 server for, and how long they take beside plain reads by s3fs.

The server is moto's, in a process of its own on loopback, with ranges from memory.
"""

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.measure import Turn, take_turns, timings
from benchmarks.results import StoreRow
from benchmarks.ways import BASELINE

ROOT = Path(__file__).parent.parent
_ONE_GET = "s3fs: each object with one GET"
_MEGABYTES = 200
LARGE = f"1 sealed array of {_MEGABYTES} MB"
BY_URL = "signed_load of a URL"


def measure(*, quick: bool, say: Callable[[str], None]) -> list[StoreRow]:
    """Fill a bucket, count the requests of each act, and time it."""
    try:
        import s3fs
    except ImportError:
        return [StoreRow("S3", _ONE_GET, reason="s3fs is not installed")]
    count, megabytes = (40, 20) if quick else (1000, _MEGABYTES)
    with _server() as url:
        say("stores: filling the bucket")
        store = s3fs.S3FileSystem(endpoint_url=url, key="any", secret="any")
        try:
            trees = _trees(store, url, count, megabytes)
            return [
                row
                for title, acts in trees.items()
                for row in _rows(title, acts, url, say, quick=quick)
            ]
        finally:
            s3fs.S3FileSystem.clear_instance_cache()


def _rows(
    title: str,
    acts: dict[str, Callable[[], Any]],
    url: str,
    say: Callable[[str], None],
    *,
    quick: bool,
) -> Iterator[StoreRow]:
    turns: dict[str, Turn] = {}
    first: dict[str, float] = {}
    rows = {}
    for name, act in acts.items():
        say(f"stores: {title}: {name}")
        _requests(url)
        act()
        made = _requests(url)
        rows[name] = StoreRow(title, name, len(made), sum(made))
        key = BASELINE if name == _ONE_GET else name
        turns[key] = _turn(act)
        first[key] = turns[key]()["act"]
    rounds = take_turns(turns, first, 1 if quick else 20, 1 if quick else 5)
    for name, row in rows.items():
        row.timing = timings(rounds, BASELINE if name == _ONE_GET else name)["act"]
        yield row


def _trees(
    store: Any, url: str, count: int, megabytes: int
) -> dict[str, dict[str, Callable[[], Any]]]:
    import numpy as np
    from sklearn.datasets import load_iris
    from sklearn.neighbors import KNeighborsClassifier

    from pickleseal import Key, Keyring, audit, signed_dumps, signed_load

    ring = Keyring(Key.generate())
    options = {"endpoint_url": url, "key": "any", "secret": "any"}
    model = KNeighborsClassifier(n_neighbors=3).fit(*load_iris(return_X_y=True))
    large, small = "models/large/array.pkl", [f"models/small/{n:04}.pkl" for n in range(count)]
    store.pipe_file(large, signed_dumps(np.arange(megabytes * 125_000.0), keyring=ring))
    for path in small:
        store.pipe_file(path, signed_dumps(model, keyring=ring))
    size = store.info(large)["size"]

    def load(**reading: Any) -> None:
        with store.open(large, "rb", **reading) as file:
            signed_load(file, keyring=ring)

    def audited(prefix: str) -> None:
        report = audit(f"s3://models/{prefix}", keyring=ring, storage_options=options).report()
        assert {finding.verdict for finding in report.findings} == {"sealed"}

    def loaded(path: str) -> None:
        signed_load(f"s3://{path}", keyring=ring, storage_options=options)

    return {
        f"1 sealed array of {megabytes} MB": {
            _ONE_GET: lambda: store.cat_file(large, start=0, end=size),
            BY_URL: lambda: loaded(large),
            "signed_load of a handle without read-ahead": lambda: load(cache_type="none"),
            "signed_load of s3fs's handle as it is": load,
            "audit": lambda: audited("large"),
        },
        f"{count:,} sealed models".replace(",", " "): {
            _ONE_GET: lambda: [store.cat_file(path, start=0, end=1 << 20) for path in small],
            "signed_load of each URL": lambda: [loaded(path) for path in small],
            "audit": lambda: audited("small"),
        },
    }


@contextmanager
def _server() -> Iterator[str]:
    command = [sys.executable, str(ROOT / "tests/local_s3.py"), "--unchanging"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            yield server.stdout.readline().strip()
        finally:
            server.terminate()


def _requests(url: str) -> list[int]:
    """Return how many bytes answered each request since the last question."""
    with urllib.request.urlopen(f"{url}/_requests") as answer:
        sizes: list[int] = json.load(answer)
        return sizes


def _turn(act: Callable[[], Any]) -> Turn:
    def turn() -> dict[str, float]:
        start = time.perf_counter()
        act()
        return {"act": time.perf_counter() - start}

    return turn
