"""What the readers that people use look up in a file: run as a child process by test_readers.py.

It reads lines of JSON from stdin: a file's bytes in hexadecimal. For each it prints a line of JSON:
for each reader the names that it looked up, as it spells them. Only names on the list of good names
are really imported; the others stop a reader. What runs, writes or reaches a network stops it too.
"""

import io
import json
import pickle
import sys
import warnings
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count
from typing import Any

import joblib
import numpy as np
import pandas as pd
from unpickling_truth import limit_memory

from pickleseal.scanner.names import is_listed

_LOOKS: list[tuple[str, str]] = []
_STOPPED = ("socket", "subprocess", "os.exec", "os.posix_spawn", "os.system", "os.fork", "shutil")


class Stopped(BaseException):
    """A reader did what no file may make it do here."""


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


READERS: dict[str, Callable[[io.BytesIO], object]] = {
    "pickle.load": _repeatedly(pickle.load),
    "joblib.load": joblib.load,
    "numpy.load": _repeatedly(_numpy),
    "pandas.read_pickle": lambda file: pd.read_pickle(file, compression=None),
}


def looks(data: bytes) -> dict[str, list[tuple[str, str]]]:
    """Return what each reader looks up in a file."""
    result = {}
    for title, reader in READERS.items():
        _LOOKS.clear()
        with suppress(Exception, Stopped):  # what it looked up before counts
            reader(io.BytesIO(data))
        result[title] = sorted(set(_LOOKS))
    return result


def _lines() -> Iterator[str]:
    limit_memory()
    warnings.simplefilter("ignore")
    is_listed("builtins", "list")  # which reads the list
    _numpy(io.BytesIO(pickle.dumps(1)))
    sys.addaudithook(_watch)
    for line in sys.stdin:
        yield json.dumps(looks(bytes.fromhex(line.strip())))


if __name__ == "__main__":
    for answer in _lines():
        print(answer, flush=True)  # noqa: T201 - it is asked for
