"""The models of readers held against the readers themselves, on real files and changed ones.

READERS_PYTHON names another interpreter, with other versions of joblib and NumPy, to read with.
"""

import io
import json
import os
import pickle
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from reading_truth import today
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import LabelEncoder, OneHotEncoder, StandardScaler

from pickleseal.errors import shown
from pickleseal.scanner.containers.contents import look
from pickleseal.scanner.containers.views import Memory
from pickleseal.scanner.grade import Contents, Grade

PYTHON = os.environ.get("READERS_PYTHON", sys.executable)
TRUTH = Path(__file__).parents[1] / "reading_truth.py"
Looks = dict[str, list[tuple[str, str]]]

FRAME = pd.DataFrame({"age": [1.0, 2.0, 3.0] * 9, "city": ["a", "b", "c"] * 9})
LABELS = ["yes", "no", "no"] * 9
BOTH = make_column_transformer((OneHotEncoder(), ["city"]), (StandardScaler(), ["age"]))
OBJECTS: list[Any] = [
    {"name": "churn", "model": RandomForestClassifier(2).fit(FRAME[["age"]], LABELS)},
    make_pipeline(BOTH, RandomForestClassifier(2)).fit(FRAME, LABELS),
    LabelEncoder().fit(LABELS),
    FRAME,
    np.array(["a", None, np.array([1, "x"], dtype=object)], dtype=object),
    [np.arange(300.0), np.zeros(3, [("a", "i4"), ("b", "U3")]), "text", {1: (2.5, b"b")}],
]


def files() -> list[bytes]:
    """Return files as joblib, pickle and NumPy write them."""
    written = []
    for thing in OBJECTS:
        for way in ({}, {"protocol": 2}, {"protocol": 5}, {"compress": 1}):
            file = io.BytesIO()
            joblib.dump(thing, file, **way)
            written.append(file.getvalue())
        written += [pickle.dumps(thing, protocol) for protocol in (2, 5)]
        file = io.BytesIO()
        np.save(file, np.array([thing, 1], dtype=object), allow_pickle=True)
        written.append(file.getvalue())
    return written


def looked_up(files: list[bytes]) -> Iterator[Looks | None]:
    """Return what each reader looks up in each file; None if it crashed the interpreter."""
    left = list(files)
    while left:
        done = subprocess.run(
            [PYTHON, str(TRUTH)],
            input="".join(f"{data.hex()}\n" for data in left),
            capture_output=True,
            text=True,
            check=False,
        )
        answers = [json.loads(line) for line in done.stdout.splitlines()]
        yield from ({k: [(m, n) for m, n in v] for k, v in one.items()} for one in answers)
        left = left[len(answers) :]
        if left:
            assert done.returncode < 0, done.stderr[-2000:]
            left = left[1:]
            yield None


def told(contents: Contents) -> set[tuple[str, str]]:
    return {(name.module, name.name) for name in contents.names}


def hold_against_readers(files: list[bytes]) -> int:
    """Check that each name that a reader looks up is told; return how many files have a grade.

    Where it says that it cannot tell, it may miss names, and where a file reaches beyond data
    that is all that it need say.
    """
    graded = 0
    for data, looks in zip(files, looked_up(files), strict=True):
        contents = look(Memory(memoryview(data)), name="x.joblib")
        if contents is not None and contents.grade >= Grade.CANNOT_TELL:
            continue
        graded += 1
        assert looks is not None, data.hex()
        have = set() if contents is None else told(contents)
        reasons = " ".join(contents.reasons) if contents else ""
        for reader, names in looks.items():
            for module, name in names:
                missed = not {(module, name), today(module, name)} & have
                assert not (missed and shown(f"{module}.{name}") not in reasons), (
                    reader, module, name, data.hex(),
                )  # fmt: skip
    return graded


def changed(chance: Random, data: bytes) -> bytes:
    """Return a file with some changes at random, most of them where its opcodes are."""
    result = bytearray(data)
    for _ in range(chance.choice([1, 1, 2, 3])):
        at, way = chance.randrange(len(result)), chance.randrange(5)
        if way == 0:
            result[at] = chance.randrange(256)
        elif way == 1:
            del result[at : at + chance.randrange(1, 6)]
        elif way == 2:
            result[at] = chance.choice(b"(.0125RbceoixX}])tuhqN\x93\x94\x8c\x80")
        elif way == 3:
            start = chance.randrange(len(result))
            result[at:at] = result[start : start + chance.randrange(12)]
        elif texts := list(re.finditer(rb"[a-z_.]{4,}", bytes(result))):
            first, second = chance.choice(texts), chance.choice(texts)
            result[first.start() : first.end()] = second[0]
    return bytes(result)


def test_readers_look_up_in_ordinary_files_just_what_is_told() -> None:
    written = files()
    for data, looks in zip(written, looked_up(written), strict=True):
        contents = look(Memory(memoryview(data)), name="x.joblib")
        assert contents is not None
        assert contents.grade is Grade.DATA
        assert looks is not None
        names = {today(*pair) for pairs in looks.values() for pair in pairs}
        ghosts = names - told(contents)
        assert all(f"{m}.{n}" in " ".join(contents.reasons) for m, n in ghosts)
        assert told(contents) <= names


@pytest.mark.parametrize("seed", range(2))
def test_readers_look_up_in_changed_files_no_name_that_is_not_told(seed: int) -> None:
    chance, written = Random(seed), files()
    assert hold_against_readers([changed(chance, chance.choice(written)) for _ in range(300)]) > 9


@pytest.mark.sweep
@pytest.mark.parametrize("seed", range(100, 110))
def test_readers_look_up_in_many_changed_files_no_name_that_is_not_told(seed: int) -> None:
    chance, written = Random(seed), files()
    hold_against_readers([changed(chance, chance.choice(written)) for _ in range(5000)])
