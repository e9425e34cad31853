"""What CPython's own unpicklers look up: run as a child process by walking.py.

`names` reads a JSON list of streams in hexadecimal from stdin, has each reader go through each of
them, and prints as JSON what each looked up, and where it ended if it did. Nothing runs: whatever
is imported is a stand-in. `run FILE` unpickles a file in earnest, and prints each name as it is
looked up, one JSON list a line.
"""

import builtins
import io
import itertools
import json
import pickle
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any, Self

Look = tuple[str, str]
"""A module and a name, as they are imported."""

_LOOKS: list[Look] = []
_IMPORTS: list[str] = []
_WANTED: list[str] = []


class _StandInType(type):
    """Lets a stand-in be used as a class, function or container of any kind."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return cls

    def __setitem__(cls, key: object, value: object) -> None:
        """Accept an item."""


def _take(*_: object, **__: object) -> None:
    """Accept any arguments."""


class StandIn(metaclass=_StandInType):
    """Whatever a name would have stood for."""

    append = extend = add = update = staticmethod(_take)
    __setstate__ = staticmethod(_take)

    def __new__(cls, *_: object, **__: object) -> Self:
        return object.__new__(cls)

    def __call__(self, *_: object, **__: object) -> "StandIn":
        return StandIn()

    def __setitem__(self, key: object, value: object) -> None:
        """Accept an item."""

    def __iter__(self) -> Iterator[object]:
        return iter(())


class Dtype:
    """Stands for numpy.dtype, whose objects are not called and take no items."""

    def __init__(self, kind: object = None, *_: object, **__: object) -> None:
        self.kind = kind

    def __setstate__(self, state: object) -> None:
        if not isinstance(state, tuple) or not 5 <= len(state) <= 9:
            raise TypeError


def _set_array_state(state: object = None, *_: object, **__: object) -> None:
    """Set a state as arrays do, which take objects from lists alone."""
    items = state if isinstance(state, tuple) else ()
    for at, item in enumerate(items):
        objects = isinstance(item, Dtype) and str(item.kind).lstrip("<>=|").startswith("O")
        if objects and 1 <= at <= len(items) - 3 and not isinstance(items[at + 2], list):
            raise TypeError


class Array(StandIn):
    """Stands for what numpy._reconstruct gives."""

    __setstate__ = staticmethod(_set_array_state)


_LIKE = {"dtype": Dtype, "_reconstruct": Array}


class StandInModule(ModuleType):
    """Whatever is imported: each of its names is a stand-in, and noted."""

    def __getattribute__(self, name: str) -> Any:
        if name.startswith("__") and not _WANTED:
            return super().__getattribute__(name)
        if _WANTED:
            whole = _WANTED.pop()
            path = name + whole[len(name) :] if whole.startswith(name + ".") else name
            _LOOKS.append((_IMPORTS[-1], path))
            if _IMPORTS[-1].startswith("numpy"):
                return _LIKE.get(path, StandIn)
        return StandIn


def _import(name: str, *_: object, **__: object) -> ModuleType:
    _IMPORTS.append(name)
    module = sys.modules[name] = StandInModule("stand_in")
    return module


def _note(event: str, args: tuple[Any, ...]) -> None:
    if event == "pickle.find_class":
        _WANTED[:] = [args[1]]


class _Options:
    """What a caller may pass, so that a reader goes on where it would have stopped."""

    @staticmethod
    def persistent_load(_: object) -> StandIn:
        return StandIn()


class COptions(_Options, pickle.Unpickler):
    """The unpickler in C, with a persistent_load."""


class PythonOptions(_Options, pickle._Unpickler):
    """The unpickler in Python, with a persistent_load."""


def _buffers() -> Iterator[bytearray]:
    return (bytearray(2) for _ in itertools.count())


READERS: dict[str, Callable[[io.BytesIO], object]] = {
    "memory": lambda file: pickle.loads(file.read()),
    "file": pickle.load,
    "peeking": lambda file: pickle.Unpickler(io.BufferedReader(file)).load(),
    "latin-1": lambda file: COptions(file, encoding="latin-1", buffers=_buffers()).load(),
    "bytes": lambda file: COptions(file, encoding="bytes", buffers=_buffers()).load(),
    "python": lambda file: pickle._Unpickler(file).load(),
    "python, latin-1": lambda file: PythonOptions(
        file, encoding="latin-1", buffers=_buffers()
    ).load(),
}


def names(stream: bytes, reader: Callable[[io.BytesIO], object]) -> tuple[list[Look], int | None]:
    """Return what a reader looks up in a stream, and the offset where it ended, if it did."""
    _LOOKS.clear()
    _IMPORTS.clear()
    _WANTED.clear()
    modules, importer = dict(sys.modules), builtins.__import__
    file = io.BytesIO(stream)
    ended = None
    builtins.__import__ = _import
    try:
        reader(file)
        ended = file.tell()
    except Exception:  # noqa: BLE001 - however it breaks, what it looked up before counts
        ended = None
    finally:
        builtins.__import__ = importer
        for name in _IMPORTS:
            if name in modules:
                sys.modules[name] = modules[name]
            else:
                sys.modules.pop(name, None)
    return list(_LOOKS), ended


def _all_names() -> None:
    limit_memory()
    for encoding in ("ascii", "latin-1", "utf-8", "raw-unicode-escape"):
        b"".decode(encoding)  # so that no codec is imported while imports are stand-ins
    streams = [bytes.fromhex(text) for text in json.load(sys.stdin)]
    sys.addaudithook(_note)
    results = [{title: names(s, reader) for title, reader in READERS.items()} for s in streams]
    json.dump(results, sys.stdout)


def _run(path: str) -> None:
    def note(event: str, args: tuple[Any, ...]) -> None:
        if event == "pickle.find_class":
            print(json.dumps(args), flush=True)  # noqa: T201 - it is asked for

    with open(path, "rb") as file:
        sys.addaudithook(note)
        pickle.load(file)


def limit_memory(most: int = 1 << 30) -> None:
    """Have a stream that asks for very much memory fail, where the system can do that."""
    try:
        import resource
    except ImportError:
        return
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


if __name__ == "__main__":
    if sys.argv[1] == "names":
        _all_names()
    else:
        _run(sys.argv[2])
