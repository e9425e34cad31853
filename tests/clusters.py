"""Real clusters on loopback, whose workers have no keyring and no way to one."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def bare(home: Path) -> dict[str, str]:
    """Return the environment of a worker: another home, and nothing that names a key."""
    home.mkdir(exist_ok=True)
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "LANG", "TMPDIR")}
    return {**kept, "HOME": str(home), "XDG_DATA_HOME": str(home / "data")}


class Dask:
    """A scheduler and its workers, each a process of two threads."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = folder / "scheduler.json"
        self._processes: list[subprocess.Popen[bytes]] = []
        self._start("scheduler", "--port", "0", "--no-dashboard", "--host", "127.0.0.1")

    @property
    def address(self) -> str:
        """The address of the scheduler."""
        import json

        while True:  # the timeout of a test ends this
            try:
                return str(json.loads(self._file.read_text(encoding="utf-8"))["address"])
            except (FileNotFoundError, ValueError):
                time.sleep(0.02)

    def worker(self, *more: str) -> subprocess.Popen[bytes]:
        """Start a worker. With one thread in all, joblib would do all work in the client."""
        return self._start("worker", "--nthreads", "2", "--no-dashboard", "--no-nanny", *more)

    def end(self) -> None:
        """End all processes."""
        for process in reversed(self._processes):
            process.kill()
            process.wait()

    def _start(self, what: str, *options: str) -> subprocess.Popen[bytes]:
        files = ["--scheduler-file", str(self._file)]
        process = subprocess.Popen(
            [sys.executable, "-m", f"distributed.cli.dask_{what}", *files, *options],
            env=bare(self._folder / "home"),
            cwd=self._folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._processes.append(process)
        return process


@contextmanager
def dask(folder: Path) -> Iterator[Dask]:
    """Start a cluster of Dask's without workers, and end it."""
    cluster = Dask(folder)
    try:
        yield cluster
    finally:
        cluster.end()
