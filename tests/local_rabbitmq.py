"""A RabbitMQ server on this machine, as a process of its own that can be killed and started."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

_PROGRAM = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
_START_LIMIT = 120


@contextmanager
def local_rabbitmq(folder: Path) -> Iterator[tuple[str, Callable[[], None]]]:
    """Yield the URL of a server, and what kills it and starts it again with what it kept."""
    if not _PROGRAM.exists():
        pytest.skip("RabbitMQ is not installed (Debian: apt install rabbitmq-server)")
    with ExitStack() as stack:
        free = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(3)]
        port, internal, names = (server.getsockname()[1] for server in free)
    folder.mkdir()
    environment = {
        **os.environ,
        "HOME": str(folder),  # of Erlang's cookie
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "ERL_EPMD_PORT": str(names),
        "ERL_EPMD_RELAXED_COMMAND_CHECK": "1",  # it can be ended though it knows a node
        "RABBITMQ_CONFIG_FILE": str(folder / "none"),
        "RABBITMQ_DIST_PORT": str(internal),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
        "RABBITMQ_NODENAME": "tests@localhost",
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODE_PORT": str(port),
        "RABBITMQ_PID_FILE": str(folder / "pid"),
    }

    servers: list[subprocess.Popen[bytes]] = []

    def start() -> None:
        servers.append(
            subprocess.Popen(
                [_PROGRAM], env=environment, stdout=subprocess.DEVNULL, start_new_session=True
            )
        )
        until = time.monotonic() + _START_LIMIT
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                assert time.monotonic() < until, "RabbitMQ did not start"
                time.sleep(0.1)

    def kill() -> None:
        os.killpg(servers[-1].pid, signal.SIGKILL)
        servers[-1].wait()

    def restart() -> None:
        kill()
        start()

    try:
        start()
        yield f"amqp://guest:guest@127.0.0.1:{port}//", restart
    finally:
        kill()
        subprocess.run(["epmd", "-kill"], env=environment, stdout=subprocess.DEVNULL, check=False)
