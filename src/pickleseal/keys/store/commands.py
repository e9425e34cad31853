"""Running a program that prints a secret, such as a password manager.

No shell, no input, an absolute path that nobody else can change, limits of size and time. It runs
in the folder of its program: nothing is looked up in the caller's. The output goes into a type
whose `repr` does not show it.
"""

import errno
import os
import shlex
import signal
import stat
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, TypeVar

from pickleseal.errors import KEY_PREFIX, KeyringError, shown
from pickleseal.keys.store.permissions import checked_program

if TYPE_CHECKING:
    import subprocess

TIME_LIMIT = 60
"""Seconds that a program may take. It may have to ask a person."""
MAX_OUTPUT = 2048
_MAX_MESSAGE = 300

_Secret = TypeVar("_Secret")


def secret_from(
    argv: Sequence[str], into: Callable[[str], _Secret], *, quote: bool = True
) -> _Secret:
    """Run a program; return the line that it prints, wrapped by `into`.

    `argv`: its absolute path and its arguments. `quote`: quote its standard error in messages,
    unless a key line is in it. Raise KeyringError if it cannot be run, fails, prints nothing, too
    much or several lines, or takes longer than a minute; KeyPermissionError if others can change
    it.
    """
    program = checked_command(argv)
    try:
        outcome = _run(argv, program, into, quote=quote)
    except (OSError, UnicodeEncodeError) as error:
        raise _cannot_run(argv, error) from None
    if isinstance(outcome, str):
        raise KeyringError(f"the command {shown(argv[0])} {outcome}")
    return outcome


def split_command(text: str, name: str) -> list[str]:
    """Split a command as a shell does, and replace `~/` at the beginning of its words.

    `name`: where it is from, for errors. Raise KeyringError for an unclosed quote.
    """
    try:
        words = shlex.split(text)
    except ValueError:
        raise KeyringError(f"{name} has an unclosed quote") from None
    return [os.path.expanduser(word) if word.startswith("~/") else word for word in words]


def checked_command(argv: Sequence[str]) -> Path:
    """Return the resolved program of a command.

    Raise KeyringError if it cannot be run, KeyPermissionError if others can change it.
    """
    if not argv or not os.path.isabs(argv[0]):
        raise KeyringError("a command that prints a secret must begin with an absolute path")
    if any("\0" in part for part in argv):
        raise _cannot_run(argv, "it contains a null character")
    try:
        program = checked_program(argv)
        if not stat.S_ISREG(os.stat(program).st_mode):
            raise _cannot_run(argv, "it is not a file")
        if not os.access(program, os.X_OK):
            raise _cannot_run(argv, os.strerror(errno.EACCES))
    except (OSError, UnicodeEncodeError) as error:
        raise _cannot_run(argv, error) from None
    return program


def _cannot_run(argv: Sequence[str], reason: str | OSError | UnicodeEncodeError) -> KeyringError:
    if isinstance(reason, UnicodeEncodeError):
        reason = "an argument is not valid text"
    said = reason if isinstance(reason, str) else reason.strerror
    return KeyringError(f"the command {shown(argv[0])} cannot be run: {said}")


class _Output(threading.Thread):
    """Reads a pipe up to a limit; with `drain` the rest is read and dropped."""

    def __init__(self, pipe: IO[bytes] | None, limit: int, *, drain: bool) -> None:
        super().__init__(daemon=True)
        self._pipe = pipe
        self._limit = limit
        self._drain = drain
        self.kept = b""
        self.start()

    def run(self) -> None:
        # Only this thread closes its pipe: a child of the program may hold it open for long.
        if self._pipe is not None:
            with self._pipe as pipe, suppress(OSError):
                self.kept = pipe.read(self._limit)
                while self._drain and pipe.read(self._limit):
                    pass


def _run(
    argv: Sequence[str], program: Path, into: Callable[[str], _Secret], *, quote: bool
) -> _Secret | str:
    # Nothing raises while the secret is in a variable: a text says what went wrong.
    import subprocess  # noqa: PLC0415 - few keys come from a command

    process = subprocess.Popen(  # noqa: S603 - the user's own command, without a shell
        argv,
        executable=program,  # the file that was checked, wherever a link leads by now
        cwd=program.parent,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        answer = _Output(process.stdout, MAX_OUTPUT + 1, drain=False)
        complaint = _Output(process.stderr, _MAX_MESSAGE, drain=True)
        answer.join(TIME_LIMIT)
        # A program that printed too much is not waited for: it may go on printing.
        if not answer.is_alive() and len(answer.kept) <= MAX_OUTPUT:
            process.wait(TIME_LIMIT)
    except subprocess.TimeoutExpired:
        pass  # it closed its output and is still running
    finally:
        ended = process.returncode is not None
        if not ended:
            _kill(process)
    if len(answer.kept) > MAX_OUTPUT:
        return "printed too much"
    if not ended:
        return f"gave no answer in {TIME_LIMIT} s"
    if process.returncode:
        complaint.join(1)  # no longer: a child of it may hold this pipe open
        reason = f": {_reason(complaint)}" if quote else ""
        return f"failed (exit code {process.returncode}){reason}"
    try:
        text = answer.kept.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        return "printed something that is not UTF-8"
    if not text.strip():
        return "printed nothing"
    if "\n" in text or "\r" in text:
        return "printed more than one line"
    return into(text)


def _reason(complaint: _Output) -> str:
    text = complaint.kept.decode("utf-8", "replace").strip()
    # A script that prints what it does (sh -x) prints the key too.
    return "its message contains a key line" if KEY_PREFIX in text else shown(text)


def _kill(process: "subprocess.Popen[bytes]") -> None:
    """Kill a program and its children."""
    with suppress(OSError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    process.wait()
