"""The walk over a stream's opcodes, and CPython's unpicklers to compare it with."""

import collections
import datetime as dt
import io
import json
import pickle
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression

from pickleseal.scanner.machine.cursor import Cursor
from pickleseal.scanner.machine.trace import Trace, Use, trace

TRUTH = Path(__file__).with_name("unpickling_truth.py")
MISFIT = "its opcodes cross frame boundaries"
COMPUTED = ("it looks up a name", "it looks up extension code", MISFIT)


def walk(stream: bytes, *, joblib: bool = False) -> tuple[Trace, int]:
    cursor = Cursor(io.BytesIO(stream).read)
    found = trace(cursor, joblib=joblib)
    return found, cursor.position


def names(stream: bytes) -> set[tuple[str, str]]:
    return {(name.module, name.name) for name in walk(stream)[0].names}


def uses(stream: bytes) -> dict[str, Use]:
    return {name.name: name.uses for name in walk(stream)[0].names}


def truth(streams: Iterable[bytes]) -> list[dict[str, tuple[list[list[str]], int | None]]]:
    """Return what each of CPython's readers looks up in each stream, and where it ends."""
    done = subprocess.run(
        [sys.executable, "-I", "-X", "int_max_str_digits=0", str(TRUTH), "names"],
        input=json.dumps([stream.hex() for stream in streams]),
        capture_output=True,
        text=True,
        check=True,
    )
    result: list[dict[str, tuple[list[list[str]], int | None]]] = json.loads(done.stdout)
    return result


def hold_against_truth(streams: list[bytes]) -> int:
    """Compare the walk with each reader; return how many streams some reader ended.

    Where a bound of the walk's own was hit, or NumPy would not write an array so, it says so, and
    that is all it says. Few streams do.
    """
    loaded = limited = 0
    for stream, readers in zip(streams, truth(streams), strict=True):
        found, position = walk(stream)
        if found.limited:
            limited += 1
            continue
        have = {(name.module, name.name) for name in found.names}
        told = any(clause.startswith(COMPUTED) for clause in found.beyond)
        misfit = any(clause.startswith(MISFIT) for clause in found.beyond)
        for reader, (looks, ended) in readers.items():
            assert told or {(module, name) for module, name in looks} <= have, (stream, reader)
            if ended is None or misfit:
                continue
            assert found.ended, (stream, reader, found)
            # The one reads the whole input first, the other looks ahead.
            assert reader in ("memory", "peeking") or ended == position, (stream, reader)
        loaded += any(ended is not None for _, ended in readers.values())
    assert limited <= len(streams) // 50
    return loaded


OBJECTS: list[Any] = [
    [1, "a", b"b", None, True, 1 << 100, 2.5, 1 + 2j, slice(1, 2)],
    {"a": {1, 2}, "b": frozenset([3]), "c": bytearray(b"abc")},
    [dt.datetime(2020, 1, 1, tzinfo=dt.UTC), collections.OrderedDict(a=1)],
    [len, print, Path("a"), ["x"] * 3, "\u00e9\n\\" * 20],
    np.arange(5.0),
    np.array(["a", "bb"]),
    LogisticRegression().fit([[1.0], [2.0]], [0, 1]),
]


def ordinary() -> list[bytes]:
    return [pickle.dumps(obj, protocol) for obj in OBJECTS for protocol in range(6)]
