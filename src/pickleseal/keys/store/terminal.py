"""Questions on the terminal of the person who runs this process, also where stdin is a pipe."""

import getpass
import locale
import os
import sys

from pickleseal.errors import KeyringError

_TERMINAL = "/dev/tty"


def is_there() -> bool:
    """Return whether there is a terminal to ask on."""
    process = sys.modules.get("multiprocessing.process")
    if process is not None and process.parent_process() is not None:
        return False  # the workers of a pool would all ask at once
    if sys.stdin is not None and sys.stdin.isatty():
        return True
    try:
        os.close(os.open(_TERMINAL, os.O_RDWR | getattr(os, "O_NOCTTY", 0)))
    except OSError:
        return False
    return True


def ask_secret(question: str) -> bytes:
    """Return the bytes of a line that is typed without an echo."""
    answer = _typed(question)
    if isinstance(answer, str):
        raise KeyringError(answer)
    return answer


def ask(question: str) -> str:
    """Return a line that is typed."""
    try:
        with open(_TERMINAL, "r+b", buffering=0) as terminal:
            terminal.write(question.encode())
            answer = terminal.readline()
    except OSError:  # Windows
        print(question, end="", file=sys.stderr, flush=True)  # noqa: T201 - the question
        return sys.stdin.readline().strip()
    return answer.decode("utf-8", "replace").strip()


def _typed(question: str) -> bytes | str:
    # It never raises, so that no frame of a traceback holds the secret. getpass decodes in the
    # encoding of the locale, which may not be that of the terminal.
    try:
        text = getpass.getpass(question)
        if os.name != "posix":
            return text.encode("utf-8", "surrogatepass")
        return text.encode(locale.getpreferredencoding(do_setlocale=False), "surrogateescape")
    except EOFError:
        return "no passphrase was given"
    except UnicodeError:
        return "the encoding of this terminal cannot hold what was typed: use UTF-8"
