"""A probe of each class and function: does it run, import, open or evaluate what it is given?

Every call is made in a process of its own, under an audit hook. The arguments carry a mark. An
event of Python that shows the mark tells that an argument was acted upon; it is stopped there.
"""

from __future__ import annotations

import contextlib
import inspect
import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from good_names.recording import BUILT, CALLED, MADE

MARK = "zzprobe"
_TEXTS = (
    MARK + " + 1", MARK, MARK + ".pkl", "sqlite:///" + MARK, "http://" + MARK + "/", MARK + ":x",
    "y ~ " + MARK, b"c" + MARK.encode() + b"\nx\n.",
)  # fmt: skip
_EVENTS = (
    "compile", "exec", "import", "open", "pickle.find_class", "marshal.loads", "subprocess.Popen",
    "os.", "socket.", "ctypes.dlopen", "sqlite3.connect", "shutil.", "glob.glob", "urllib.Request",
    "tempfile.", "ftplib.", "smtplib.", "http.client",
)  # fmt: skip
_SECONDS = 3


class Stopped(BaseException):
    """An event was stopped before anything came of it."""


class Finder:
    """Raises the event of an import for those that importlib makes without one."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> None:
        """Find nothing."""
        sys.audit("import", name)


class Everything(dict):  # type: ignore[type-arg]
    """A state that has each key that it is asked for, and a marked text there."""

    def __init__(self, text: Any) -> None:
        super().__init__(
            {"name": text, "formula": text, "expr": text, "path": text, "args": (text,)}
        )
        self._text = text

    def __contains__(self, key: object) -> bool:
        return True

    def __missing__(self, key: object) -> Any:
        return self._text

    def get(self, key: object, default: Any = None) -> Any:
        return self._text

    def pop(self, key: object, *default: Any) -> Any:
        return self._text

    def __delitem__(self, key: object) -> None:
        pass


def acted(value: Any) -> set[str]:
    """Return the uses in which a class or function acts upon its arguments."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.close(reader)
            _probe(value, writer)
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as said:
        uses = set(said.read())
    os.waitpid(child, 0)
    return uses


def _probe(value: Any, writer: int) -> None:
    """Write the letter of each use in which an event shows the mark."""
    said: set[str] = set()
    now = [""]
    write = os.write

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if now[0] and event.startswith(_EVENTS) and MARK in repr(arguments):
            if now[0] not in said:
                said.add(now[0])
                write(writer, now[0].encode())
            raise Stopped(event)

    silent = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(silent, stream)
    sys.addaudithook(hook)
    sys.meta_path.insert(0, Finder)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(_SECONDS)
    for how, call in _calls(value):
        if how in said:
            continue
        with warnings.catch_warnings(), contextlib.suppress(BaseException):
            warnings.simplefilter("ignore")
            now[0] = how
            call()
        now[0] = ""


def _calls(value: Any) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Yield calls of each kind that an unpickler makes, the likeliest first."""
    arguments = list(_arguments(value))
    if isinstance(value, type):
        for text in _TEXTS:
            for state in (Everything(text), text, (text, text)):
                yield BUILT, partial(_built, value, state)
        for given, named in arguments:
            yield MADE, partial(value.__new__, value, *given, **named)
    for given, named in arguments:
        yield CALLED, partial(value, *given, **named)


def _arguments(value: Any) -> Iterator[tuple[tuple[Any, ...], dict[str, Any]]]:
    names: list[str] = []
    needed = 1
    try:
        parameters = list(inspect.signature(value).parameters.values())
    except (TypeError, ValueError):
        pass
    else:
        named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
        names = [p.name for p in named][:12]
        needed = sum(p.default is p.empty for p in named)
    for text in _TEXTS:
        for count in sorted({1, 2, 3, needed}):
            yield (text,) * count, {}
        yield ([text],), {}
        yield ({text: text},), {}
        if not isinstance(text, bytes):
            for name in names:
                yield (), {name: text}


def _built(cls: type, state: Any) -> None:
    """Make an object in the plainest way, and set its state as an unpickler does."""
    made: Any = cls.__new__(cls)  # type: ignore[call-overload]
    setter = getattr(made, "__setstate__", None)
    if setter is not None:
        setter(state)
    elif isinstance(state, dict):
        for name in list(state):
            setattr(made, name, state[name])
