"""A forked interpreter is as a new one: what it is given, what it returns, and how it is ended."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fork_server import Forked, can_run

from pickleseal import signed_dump

pytestmark = pytest.mark.skipif(
    not can_run(os.environ), reason="no descriptors can be sent to another process"
)

STATE = """
import json, locale, os, signal, sys, threading, time, warnings
print(json.dumps({
    "arguments": sys.argv,
    "path": sys.path,
    "cwd": os.getcwd(),
    "env": dict(os.environ),
    "umask": os.umask(0),
    "leads its session": os.getsid(0) == os.getpid() == os.getpgid(0),
    "zone": time.tzname,
    "locale": locale.setlocale(locale.LC_ALL),
    "signals": {n: str(signal.getsignal(n)) for n in sorted(signal.valid_signals())},
    "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
    "descriptors": sorted(os.listdir("/dev/fd")),
    "streams": [
        (s.name, s.encoding, s.errors, s.line_buffering, s.seekable(), os.fstat(s.fileno()).st_mode)
        for s in (sys.stdin, sys.stdout, sys.stderr)
    ],
    "threads": [t.name for t in threading.enumerate()],
    "main": [sys.modules["__main__"].__dict__ is globals(), __name__],
    "filters": [str(f) for f in warnings.filters],
    "flags": str(sys.flags),
    "read": sys.stdin.read(),
}))
print("to the other", file=sys.stderr)
sys.exit(7)
"""


def new(arguments: list[str], *, env: dict[str, str], cwd: Path, stdin: str = "") -> Any:
    done = subprocess.run(
        [sys.executable, *arguments],
        input=stdin.encode(),
        env=env,
        cwd=cwd,
        capture_output=True,
        check=False,
        start_new_session=True,
    )
    return done.returncode, done.stdout, done.stderr


def forked(arguments: list[str], *, env: dict[str, str], cwd: Path, stdin: str = "") -> Any:
    return Forked(arguments, env=env, cwd=str(cwd)).communicate(stdin.encode())


@pytest.mark.parametrize("more", [{}, {"PYTHONUTF8": "1", "PYTHONWARNINGS": "error"}])
def test_the_state_is_that_of_a_new_interpreter(more: dict[str, str], tmp_path: Path) -> None:
    env = {**os.environ, "TZ": "Asia/Tokyo", "ONLY_HERE": "\udce9 \n", **more}
    assert can_run(env)
    told = []
    before = os.umask(0o027)
    try:
        for start in (new, forked):
            code, out, err = start(
                ["-c", STATE, "a", "b c"], env=env, cwd=tmp_path, stdin="é\n" * 99999
            )
            assert (code, err) == (7, b"to the other\n")
            told.append(json.loads(out))
    finally:
        os.umask(before)
    assert told[1] == told[0]


@pytest.mark.parametrize(
    "program",
    [
        "import sys; sys.exit('told')",
        "import sys; sys.exit()",
        "1 / 0",
        "import os; print('lost?'); os.kill(os.getpid(), 9)",
        "import signal; signal.raise_signal(signal.SIGINT)",
        "import os, sys; print('kept'); sys.stdout.flush(); os._exit(3)",
        "import atexit; atexit.register(print, 'at exit'); print(1)",
        "import threading, time; threading.Timer(0.1, print, ['late']).start()",
        "import os; os.close(1); print(1)",
        "import sys; sys.stdout.write('x' * 300000); sys.stderr.write('y' * 300000)",
    ],
)
def test_the_end_is_that_of_a_new_interpreter(program: str, tmp_path: Path) -> None:
    env = dict(os.environ)
    (code, out, err), (forked_code, forked_out, forked_err) = (
        start(["-c", program], env=env, cwd=tmp_path) for start in (new, forked)
    )
    assert (forked_code, forked_out) == (code, out)
    assert forked_err.splitlines()[-1:] == err.splitlines()[-1:]  # a traceback has more frames


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_signal_ends_the_fork_alone(number: signal.Signals, tmp_path: Path) -> None:
    program = "import sys, time; print(flush=True); time.sleep(60)"
    ended, other = (Forked(["-c", program], env=dict(os.environ), cwd=str(tmp_path)) for _ in "ab")
    for one in (ended, other):
        assert os.read(one.stdout, 1) == b"\n"
    os.kill(ended.pid, number)
    assert ended.communicate()[0] == -number
    os.kill(other.pid, 0)
    os.kill(other.pid, signal.SIGKILL)
    assert other.communicate()[0] == -signal.SIGKILL


def test_commands_say_the_same(ring_directory: Path, tmp_path: Path) -> None:
    signed_dump([1], tmp_path / "it", keyring=ring_directory)
    (tmp_path / "bare.pkl").write_bytes(b"\x80\x04N.")
    env = {**os.environ, "PICKLESEAL_KEYRING": str(ring_directory)}
    codes = set()
    for line in (
        *("", "--version", "--help", "keys list --json", "keys export", "inspect it --json"),
        *("verify it bare.pkl", "verify it nothing", "adopt . --dry-run", "find-loads . --json"),
    ):
        words = ["-m", "pickleseal", *line.split()]
        real, fork = (start(words, env=env, cwd=tmp_path) for start in (new, forked))
        assert fork == real
        codes.add(real[0])
    assert codes == {0, 1, 2}


@pytest.mark.parametrize(
    ("name", "text"),
    [("PYTHONPATH", "."), ("PYTHONOPTIMIZE", "2"), ("LC_ALL", "POSIX"), ("LD_PRELOAD", "x.so")],
)
def test_what_interpreters_read_at_their_start_is_left_to_a_new_one(name: str, text: str) -> None:
    assert not can_run({**os.environ, name: text})
    assert can_run({**os.environ, "PICKLESEAL_KEYRING": text})
