"""The command with a terminal of its own, on which questions are answered."""

import fcntl
import os
import select
import subprocess
import sys
import termios
from collections.abc import Sequence
from typing import NamedTuple


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
    process = subprocess.Popen(
        [sys.executable, "-m", "pickleseal", *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "COLUMNS": "120", **(env or {})},
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(theirs, termios.TIOCSCTTY, 0),  # noqa: PLW1509 - no threads
    )
    assert process.stdin is not None
    process.stdin.write(stdin.encode())
    process.stdin.close()
    process.stdin = None
    screen = b""
    try:
        for answer in answers:
            question = b""
            while not question.rstrip(b" ").endswith((b":", b"]")):
                assert select.select([ours], [], [], 60)[0], f"no question after {screen!r}"
                question += os.read(ours, 1000)
            screen += question
            os.write(ours, (answer.encode() if isinstance(answer, str) else answer) + b"\n")
        stdout, stderr = process.communicate(timeout=60)
        while select.select([ours], [], [], 0)[0]:
            screen += os.read(ours, 1000)
    finally:
        process.kill()
        os.close(theirs)
        os.close(ours)
    assert b"Traceback" not in stderr, stderr
    return Session(process.returncode, screen.decode(), stdout.decode(), stderr.decode())
