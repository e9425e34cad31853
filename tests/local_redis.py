"""A Redis server on this machine, as a process of its own."""

import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_START_LIMIT = 60


@contextmanager
def local_redis(folder: Path) -> Iterator[str]:
    """Yield the URL of an empty server that keeps nothing on disk."""
    with restartable_redis(folder, "--save", "") as (url, _):
        yield url


@contextmanager
def restartable_redis(folder: Path, *options: str) -> Iterator[tuple[str, Callable[[], None]]]:
    """Yield the URL of an empty server, and what kills it and starts it with what it kept."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("redis-server is not installed (Debian: apt install redis-server)")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    call = [program, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), *options]
    servers: list[subprocess.Popen[bytes]] = []

    def start() -> None:
        servers.append(subprocess.Popen(call, stdout=subprocess.DEVNULL))
        until = time.monotonic() + _START_LIMIT
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                assert time.monotonic() < until, "Redis did not start"
                time.sleep(0.05)

    def restart() -> None:
        servers[-1].kill()
        servers[-1].wait()
        start()

    start()
    try:
        yield f"redis://127.0.0.1:{port}", restart
    finally:
        servers[-1].terminate()
        servers[-1].wait()
