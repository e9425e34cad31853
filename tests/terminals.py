"""The command with a terminal of its own, on which questions are answered."""

import os
import select
import signal
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from fork_server import Forked

_PROGRAM = """
import fcntl, os, runpy, sys, termios
terminal = os.open(sys.argv.pop(1), os.O_RDWR)
fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
os.close(terminal)
runpy.run_module("pickleseal", run_name="__main__", alter_sys=True)
"""


class Session(NamedTuple):
    code: int
    screen: str
    """What the terminal showed."""
    stdout: str
    stderr: str


def at_terminal(
    *arguments: object,
    answers: Sequence[str | bytes] = (),
    env: dict[str, str] | None = None,
    stdin: str = "",
) -> Session:
    """Run the command; each answer is typed after a question. Its stdin is a pipe with `stdin`."""
    ours, theirs = os.openpty()
    process = Forked(
        ["-c", _PROGRAM, os.ttyname(theirs), *map(str, arguments)],
        env={**os.environ, "COLUMNS": "120", **(env or {})},
        cwd=os.getcwd(),
    )
    screen = b""
    with ThreadPoolExecutor(1) as pool:
        ended = pool.submit(process.communicate, stdin.encode())
        try:
            for answer in answers:
                question = b""
                while not question.rstrip(b" ").endswith((b":", b"]")):
                    assert select.select([ours], [], [], 60)[0], f"no question after {screen!r}"
                    question += os.read(ours, 1000)
                screen += question
                os.write(ours, (answer.encode() if isinstance(answer, str) else answer) + b"\n")
            code, stdout, stderr = ended.result(timeout=60)
            while select.select([ours], [], [], 0)[0]:
                screen += os.read(ours, 1000)
        finally:
            if not ended.done():
                os.kill(process.pid, signal.SIGKILL)
            os.close(theirs)
            os.close(ours)
    assert b"Traceback" not in stderr, stderr
    return Session(code, screen.decode(), stdout.decode(), stderr.decode())
