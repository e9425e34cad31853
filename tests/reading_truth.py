"""What the readers that people use look up in a file: run as a child process by test_readers.py.

It reads lines of JSON from stdin: a file's bytes in hexadecimal. For each it prints a line of JSON:
for each reader the names that it looked up, as it spells them. With the argument `torch` it prints
files that torch.save writes, in hexadecimal. Only names on the list of good names
are really imported; the others stop a reader. What runs, writes or reaches a network stops it too.
"""

import io
import json
import pickle
import signal
import sys
import tarfile
import warnings
import zipfile
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from itertools import count
from typing import Any

import joblib
import numpy as np
import pandas as pd
from unpickling_truth import limit_memory

from pickleseal.scanner.names import is_listed

torch = import_module("torch") if find_spec("torch") else None  # an interpreter of its own has it

_LOOKS: list[tuple[str, str]] = []
_SECONDS = 20  # of a reader's own time, for a file that would keep it for ever
_STOPPED = ("socket", "subprocess", "os.exec", "os.posix_spawn", "os.system", "os.fork", "shutil")


class Stopped(BaseException):
    """A reader did what no file may make it do here."""


def _stop(*_: object) -> None:
    raise Stopped


def _watch(event: str, args: tuple[Any, ...]) -> None:
    if event == "pickle.find_class":
        module, name = str(args[0]), str(args[1])
        _LOOKS.append((module, name))
        if not is_listed(*today(module, name)):
            raise Stopped
    elif event.startswith(_STOPPED) or (event == "open" and "w" in str(args[1])):
        raise Stopped


def today(module: str, name: str) -> tuple[str, str]:
    """Return a name as Python 3 spells it."""
    return NAME_MAPPING.get((module, name)) or (IMPORT_MAPPING.get(module, module), name)


def _repeatedly(read: Callable[[io.BytesIO], object]) -> Callable[[io.BytesIO], object]:
    def loop(file: io.BytesIO) -> object:
        for _ in count():
            start = file.tell()
            read(file)
            if file.tell() == start:
                break
        return None

    return loop


def _numpy(file: io.BytesIO) -> object:
    return np.load(file, allow_pickle=True)


def _tar_members(file: io.BytesIO) -> Iterator[bytes]:
    with tarfile.open(fileobj=file) as archive:
        for member in archive:
            inner = archive.extractfile(member) if member.isreg() else None
            if inner is not None:
                yield inner.read(_MOST)


def _zip_members(file: io.BytesIO) -> Iterator[bytes]:
    with zipfile.ZipFile(file) as archive:
        for member in archive.infolist():
            with suppress(Exception), archive.open(member) as inner:
                yield inner.read(_MOST)


def _each(members: Callable[[io.BytesIO], Iterator[bytes]]) -> Callable[[io.BytesIO], object]:
    """Return a reader that has the members of an archive read by those of single files."""

    def read(file: io.BytesIO) -> object:
        for data in members(file):
            for reader in SINGLE.values():
                with suppress(Exception, Stopped):
                    reader(io.BytesIO(data))
        return None

    return read


def _torch(file: io.BytesIO) -> object:
    return torch.load(file, map_location="cpu", weights_only=False)  # type: ignore[union-attr]


def _torch_files() -> Iterator[str]:
    """Yield what torch.save writes in its two formats, in hexadecimal."""
    from torch import arange, nn, save  # type: ignore[import-not-found,unused-ignore]

    table = arange(12.0).reshape(3, 4)
    for thing in (
        table,
        {"epoch": 3, "weights": {"a": table, "b": table.T[1:]}, "best": 0.5},
        nn.Sequential(nn.Linear(3, 2), nn.ReLU()).state_dict(),
        [nn.Parameter(table), arange(5), table.half()],
    ):
        for new in (True, False):
            file = io.BytesIO()
            save(thing, file, _use_new_zipfile_serialization=new)
            yield file.getvalue().hex()


_MOST = 1 << 22
SINGLE: dict[str, Callable[[io.BytesIO], object]] = {
    "pickle.load": _repeatedly(pickle.load),
    "joblib.load": joblib.load,
    "numpy.load": _repeatedly(_numpy),
    "pandas.read_pickle": partial(pd.read_pickle, compression=None),
}
READERS: dict[str, Callable[[io.BytesIO], object]] = {
    **SINGLE,
    **{
        f"pandas.read_pickle, {packed}": partial(pd.read_pickle, compression=packed)
        for packed in ("gzip", "bz2", "xz", "zip", "tar")
    },
    "tarfile": _each(_tar_members),
    "zipfile": _each(_zip_members),
    **({} if torch is None else {"torch.load": _torch}),
}


def looks(data: bytes) -> dict[str, list[tuple[str, str]]]:
    """Return what each reader looks up in a file."""
    result = {}
    for title, reader in READERS.items():
        _LOOKS.clear()
        signal.setitimer(signal.ITIMER_VIRTUAL, _SECONDS)
        with suppress(Exception, Stopped):  # what it looked up before counts
            reader(io.BytesIO(data))
        result[title] = sorted(set(_LOOKS))
    return result


def _lines() -> Iterator[str]:
    limit_memory(1 << (30 if torch is None else 33))
    signal.signal(signal.SIGVTALRM, _stop)
    warnings.simplefilter("ignore")
    is_listed("builtins", "list")  # which reads the list
    _numpy(io.BytesIO(pickle.dumps(1)))
    sys.addaudithook(_watch)
    for line in sys.stdin:
        yield json.dumps(looks(bytes.fromhex(line.strip())))


if __name__ == "__main__":
    for answer in _torch_files() if sys.argv[1:] == ["torch"] else _lines():
        print(answer, flush=True)  # noqa: T201 - it is asked for
