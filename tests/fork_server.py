"""Interpreters that are forks of one that has imported the command: ten times faster to start.

Each worker of the tests starts one such process. It has a single thread and only imports, so that
its forks are what new interpreters are once they have imported the same, but for what `costs` does.
"""

import atexit
import contextlib
import functools
import gc
import importlib
import json
import os
import runpy
import select
import selectors
import socket
import subprocess
import sys
import time
import types
from collections.abc import Mapping, Sequence
from typing import Any

_START = dict(os.environ)
_READ_AT_START = ("PYTHON", "LC_", "LANG", "LD_", "DYLD_")
_HARMLESS = {"PYTHONUTF8", "PYTHONWARNINGS"}
"""Of those, a change that needs another server, and not a new interpreter for each command."""
_COMMANDS = (
    *("adopt", "audit", "backup", "custody", "doctor", "extract", "find_loads", "inspect"),
    *("keygen", "keys", "pins", "reseal", "verify"),
)
_IMPORTED_LATE = (
    *("cryptography.hazmat.primitives.hmac", "cryptography.hazmat.primitives.ciphers.aead"),
    *("cryptography.hazmat.primitives.kdf.scrypt", "rich.console", "secrets", "tomllib"),
)


def can_run(env: Mapping[str, str]) -> bool:
    """Return whether a fork is as an interpreter that is started with these variables."""
    changed = _read_at_start(env).items() ^ _read_at_start(_START).items()
    return hasattr(socket, "send_fds") and {name for name, _ in changed} <= _HARMLESS


def _read_at_start(env: Mapping[str, str]) -> dict[str, str]:
    return {
        name: text
        for name, text in env.items()
        if name.startswith(_READ_AT_START) and name != "PYTHON_KEYRING_BACKEND"
    }


class Forked:
    """Python with the arguments `-m MODULE …` or `-c CODE …`, in a session of its own, on pipes."""

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: str,
        together: bool = False,
    ) -> None:
        """Start it; `together`: what goes to stderr goes to stdout."""
        umask = os.umask(0)
        os.umask(umask)
        call = {"arguments": arguments, "env": {**env}, "cwd": cwd, "umask": umask}
        stdin, self.stdin = os.pipe()
        self.stdout, stdout = os.pipe()
        self.stderr, stderr = os.pipe()
        if together:
            os.dup2(stdout, stderr)
        ours, theirs = socket.socketpair()
        control, server = _server(frozenset(_read_at_start(env).items()))
        with contextlib.suppress(BrokenPipeError):
            socket.send_fds(control, [b"!"], [theirs.fileno(), stdin, stdout, stderr])
        theirs.close()
        for descriptor in (stdin, stdout, stderr):
            os.close(descriptor)
        with ours:
            self._talk = ours.makefile("rw")
        with contextlib.suppress(BrokenPipeError):
            self._talk.write(json.dumps(call) + "\n")
            self._talk.flush()
        answer = self._talk.readline()
        if not answer:
            raise RuntimeError(f"the server ended: {server.communicate()[1].decode()}")
        self.pid = int(answer)

    def communicate(self, stdin: bytes = b"") -> tuple[int, bytes, bytes]:
        """Write all of `stdin`; return the exit code and what came out of both streams."""
        said = {self.stdout: b"", self.stderr: b""}
        with selectors.DefaultSelector() as streams:
            streams.register(self.stdin, selectors.EVENT_WRITE)
            streams.register(self.stdout, selectors.EVENT_READ)
            streams.register(self.stderr, selectors.EVENT_READ)
            while streams.get_map():
                for key, _ in streams.select():
                    if key.fd == self.stdin:
                        data, stdin = stdin[: select.PIPE_BUF], stdin[select.PIPE_BUF :]
                        with contextlib.suppress(BrokenPipeError):
                            os.write(key.fd, data)
                    else:
                        data = os.read(key.fd, 1 << 16)
                        said[key.fd] += data
                    if not data:
                        streams.unregister(key.fd)
                        os.close(key.fd)
        with self._talk:
            code = int(self._talk.readline())
        return code, said[self.stdout], said[self.stderr]


@functools.cache
def _server(
    read_at_start: frozenset[tuple[str, str]],
) -> tuple[socket.socket, subprocess.Popen[bytes]]:
    ours, theirs = socket.socketpair()
    measured = [name for name in _START if name.startswith("COVERAGE_")]
    kept = {name: _START[name] for name in _START.keys() - measured - _HARMLESS}
    process = subprocess.Popen(
        [sys.executable, __file__, str(theirs.fileno()), *(["coverage"] if measured else [])],
        env=kept | dict(read_at_start),
        pass_fds=[theirs.fileno()],
        # Pipes, as the streams of the commands are: Python's streams remember what they were.
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    theirs.close()

    def end() -> None:
        ours.close()
        process.communicate()

    atexit.register(end)
    return ours, process


def _serve(listener: socket.socket) -> dict[str, Any]:
    """Fork for each call, until there is no client; return in the forks alone."""
    while True:
        byte, descriptors, _, _ = socket.recv_fds(listener, 1, 4)
        if not byte:
            os._exit(0)
        if os.fork() == 0:
            listener.close()
            return _watched(*descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


def _watched(end: int, stdin: int, stdout: int, stderr: int) -> dict[str, Any]:
    """Fork once more: wait and tell the exit code in one process, return the call in the other."""
    with socket.socket(fileno=end) as talk, talk.makefile("rw") as lines:
        call: dict[str, Any] = json.loads(lines.readline())
        pid = os.fork()
        if pid:
            for descriptor in (stdin, stdout, stderr):
                os.close(descriptor)
            print(pid, file=lines, flush=True)
            _, status = os.waitpid(pid, 0)
            print(os.waitstatus_to_exitcode(status), file=lines, flush=True)
            os._exit(0)
    os.setsid()
    for number, descriptor in enumerate((stdin, stdout, stderr)):
        os.dup2(descriptor, number)
        os.close(descriptor)
    return call


def _leave(codes: list[int]) -> None:
    """Exit without the interpreter's last cleaning, which takes longer than most commands."""
    for code in codes:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)


def _run(call: dict[str, Any], codes: list[int]) -> None:
    """Run a program as an interpreter does that was started for it."""
    os.environ.clear()
    os.environ.update(call["env"])
    os.umask(call["umask"])
    os.chdir(call["cwd"])
    time.tzset()
    option, program, *arguments = call["arguments"]
    sys.path.insert(0, call["cwd"] if option == "-m" else "")
    sys.argv = [option, *arguments]
    if "coverage" in sys.modules and any(name.startswith("COVERAGE_") for name in os.environ):
        sys.modules["coverage"].process_startup()
    try:
        if option == "-m":
            runpy.run_module(program, run_name="__main__", alter_sys=True)
        else:
            sys.modules["__main__"] = main = types.ModuleType("__main__")
            exec(program, vars(main))
    except SystemExit as ended:
        codes += [ended.code] if isinstance(ended.code, int) else []
        raise


def _main(control: int, *imported: str) -> None:
    codes: list[int] = []
    atexit.register(_leave, codes)  # the first, so the last that is called
    from costs import cheap_boxes, no_syncs

    del sys.path[0]  # the folder of the tests
    for name in (*imported, *_IMPORTED_LATE, *(f"pickleseal.cli.{name}" for name in _COMMANDS)):
        importlib.import_module(name)
    with cheap_boxes(), no_syncs():
        gc.collect()
        gc.freeze()
        _run(_serve(socket.socket(fileno=control)), codes)


if __name__ == "__main__":
    _main(int(sys.argv[1]), *sys.argv[2:])
