"""`python -m benchmarks.bounds`: the memory that an audit of many files or objects takes.

Each form of report is made by a process of its own. Its peak is told beyond that of an audit of one
file, for each thousand files. With `--bucket` they are objects in moto's S3 server, in a process of
its own on loopback, and what the server was asked for is told, too.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sklearn.datasets import load_iris
from sklearn.neighbors import KNeighborsClassifier

from pickleseal import signed_dumps
from pickleseal.keys.store.changes import create_key

ROOT = Path(__file__).parent.parent
_PER_FOLDER = 1000
_UNSEALED = 10
"""One file in so many is not sealed, and is in all forms of report."""
_FORMS = {
    "text": [],
    "jsonl": ["--output", "jsonl={}"],
    "json": ["--output", "json={}"],
    "sarif": ["--output", "sarif={}"],
    "html": ["--html", "{}"],
    "inventory": ["--inventory", "{}"],
}
_AUDIT = (
    "import sys; from benchmarks.children import peak_memory; from pickleseal.cli import cli\n"
    "try: cli(sys.argv[1:])\n"
    "finally: print(peak_memory(), file=sys.stderr)"
)
_SERVE = """
import sys, threading
sys.path.insert(0, sys.argv[1])
from local_s3 import BUCKET, local_s3
with local_s3() as server:
    from moto.s3.models import s3_backends
    (account,) = s3_backends
    store = s3_backends[account]["aws"]
    sealed, unsealed = (open(path, "rb").read() for path in sys.argv[2:4])
    for number in range(int(sys.argv[4])):
        data = sealed if number % int(sys.argv[5]) else unsealed
        store.put_object(BUCKET, f"{number // 1000:03}/{number}.pkl", data)
    print(server.url, flush=True)
    threading.Event().wait()
"""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bounds", description=__doc__)
    parser.add_argument("--files", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--bucket", action="store_true", help="objects in an S3 server, not files")
    parser.add_argument("--form", choices=_FORMS, action="append", help="repeatable; default: all")
    chosen = parser.parse_args()
    print(f"{'files':>8}  {'form':10} {'MB':>6} {'kB a file':>10} {'seconds':>8}  asked")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        create_key(folder / "ring", now=int(time.time()))
        model = KNeighborsClassifier(n_neighbors=3).fit(*load_iris(return_X_y=True))
        (folder / "1.pkl").write_bytes(signed_dumps(model, keyring=folder / "ring"))
        (folder / "0.pkl").write_bytes(_pickled(model))
        for count in chosen.files:
            with _places(folder, count, bucket=chosen.bucket) as (place, variables):
                for form in chosen.form or _FORMS:
                    _measure(folder, place, variables, count, form)


def _measure(folder: Path, place: str, variables: dict[str, str], count: int, form: str) -> None:
    url = variables.get("AWS_ENDPOINT_URL")
    one = str(folder / "1.pkl") if url is None else f"{place}/000/1.pkl"
    least, _ = _audited(folder, one, form, variables)
    _requests(url)
    most, took = _audited(folder, place, form, variables)
    asked = _requests(url)
    told = f"{len(asked):,} requests, {sum(asked) / 1e6:,.0f} MB" if asked else ""
    extra = most - least
    print(
        f"{count:8,}  {form:10} {extra / 1e6:6.0f} {extra / count / 1e3:10.2f} {took:8.1f}  {told}",
        flush=True,
    )


def _audited(folder: Path, place: str, form: str, variables: dict[str, str]) -> tuple[int, float]:
    """Return the peak memory of an audit in bytes, and how long it took."""
    options = ["--no-settings", "--fail-on", "never"]
    options += [option.format(folder / f"report.{form}") for option in _FORMS[form]]
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", _AUDIT, "audit", place, "--keyring", str(folder / "ring"), *options],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, **variables},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return int(done.stderr.split()[-1]), time.perf_counter() - start


@contextmanager
def _places(folder: Path, count: int, *, bucket: bool) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield a path or a URL with so many files, and the variables that lead to the store."""
    if not bucket:
        tree = folder / str(count)
        files = [(folder / f"{number}.pkl").read_bytes() for number in range(2)]
        for number in range(count):
            inside = tree / f"{number // _PER_FOLDER:03}"
            inside.mkdir(parents=True, exist_ok=True)
            (inside / f"{number}.pkl").write_bytes(files[number % _UNSEALED > 0])
        yield str(tree), {}
        return
    command = [sys.executable, "-c", _SERVE, str(ROOT / "tests")]
    command += [str(folder / "1.pkl"), str(folder / "0.pkl"), str(count), str(_UNSEALED)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            url = server.stdout.readline().strip()
            yield (
                "s3://models",
                {
                    "AWS_ENDPOINT_URL": url,
                    "AWS_ACCESS_KEY_ID": "any",
                    "AWS_SECRET_ACCESS_KEY": "any",
                },
            )
        finally:
            server.terminate()


def _requests(url: str | None) -> list[int]:
    """Return how many bytes answered each request since the last question."""
    if url is None:
        return []
    with urllib.request.urlopen(f"{url}/_requests") as answer:
        sizes: list[int] = json.load(answer)
        return sizes


def _pickled(model: object) -> bytes:
    import pickle

    return pickle.dumps(model)


if __name__ == "__main__":
    main()
