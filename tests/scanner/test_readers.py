"""The models of readers held against the readers themselves, on real files and changed ones.

READERS_PYTHON names another interpreter, with other versions of joblib and NumPy, to read with, and
READERS_TORCH one that has torch too, as `make sweep` makes it.
"""

import datetime as dt
import io
import json
import os
import pickle
import re
import subprocess
import sys
import tarfile
import zipfile
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
TORCH = os.environ.get("READERS_TORCH", "")
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


def tar(members: dict[str, bytes], form: int = tarfile.PAX_FORMAT, mode: str = "w") -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode, format=form) as archive:  # type: ignore[call-overload]
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return file.getvalue()


def archived() -> list[bytes]:
    """Return archives and packed files as tarfile, zipfile, NumPy and pandas write them."""
    simple = [pickle.dumps({"a": dt.date(2024, 5, 6)}), pickle.dumps(LabelEncoder().fit(LABELS))]
    file = io.BytesIO()
    joblib.dump(OBJECTS[-1], file)
    members = {"a.pkl": simple[0], "deep/b.pkl": simple[1], "c.joblib": file.getvalue()}
    named = {f"{'long/' * 30}{name}": data for name, data in members.items()}
    written = [
        tar(members, form)
        for form in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)
    ]
    written += [tar(named, form) for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)]
    written += [
        tar({"a.pkl": one}, mode=f"w:{way}") for one in simple for way in ("gz", "bz2", "xz")
    ]
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        for some in (members, dict([next(iter(members.items()))])):
            file = io.BytesIO()
            with zipfile.ZipFile(file, "w", method) as archive:
                for name, data in some.items():
                    archive.writestr(name, data)
            written.append(file.getvalue())
    file = io.BytesIO()
    np.savez(file, x=np.arange(9), y=np.array([dt.date(2024, 5, 6), "x"], dtype=object))
    written.append(file.getvalue())
    for packed in ("gzip", "bz2", "xz", "zip", "tar"):
        file = io.BytesIO()
        FRAME.to_pickle(file, compression=packed)
        written.append(file.getvalue())
    return written


def looked_up(files: list[bytes], python: str = PYTHON) -> Iterator[Looks | None]:
    """Return what each reader looks up in each file; None if it crashed the interpreter."""
    left = list(files)
    while left:
        done = subprocess.run(
            [python, str(TRUTH)],
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


def hold_against_readers(files: list[bytes], python: str = PYTHON) -> int:
    """Check that each name that a reader looks up is told; return how many files have a grade.

    Where it says that it cannot tell, it may miss names, and where a file reaches beyond data
    that is all that it need say.
    """
    graded = 0
    for data, looks in zip(files, looked_up(files, python), strict=True):
        contents = look(Memory(memoryview(data)), name="x.joblib")
        if contents is not None and contents.grade >= Grade.CANNOT_TELL:
            continue
        graded += 1
        if looks is None:  # it crashed: Arrow trusts the offsets that it is given
            assert b"pyarrow" in data, data.hex()
            continue
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


def changed_archive(chance: Random, data: bytes) -> bytes:
    """Return an archive with changes where it describes its members; most keep tar's checksums."""
    result = bytearray(data)
    telling = [at for at, byte in enumerate(result) if byte]
    for _ in range(chance.choice([1, 1, 2, 4])):
        at, other = (min(chance.choice(telling), len(result) - 1) for _ in range(2))
        way = chance.randrange(6)
        if way == 0:
            result[at] = chance.choice(b"\0 01267xgLKSD/.\x80\xff")
        elif way == 1:
            result[at] ^= 1 << chance.randrange(8)
        elif way == 2:
            result[at : at + 12] = result[other : other + 12]
        elif way == 3:
            at, other = at // 512 * 512, other // 512 * 512
            result[at:at] = result[other : other + 512 * chance.randrange(1, 4)]
        elif way == 4 and len(result) > 600:
            del result[at : at + chance.choice([1, 2, 512])]
        else:
            result[at:at] = result[other : other + chance.randrange(60)]
    if chance.randrange(4):
        for at in range(0, len(result) - 511, 512):
            if result[at + 257 : at + 262] == b"ustar":
                result[at + 148 : at + 156] = b" " * 8
                result[at + 148 : at + 156] = b"%06o\0 " % sum(result[at : at + 512])
    return bytes(result)


def test_readers_look_up_in_ordinary_files_just_what_is_told() -> None:
    written = files() + archived()
    for data, looks in zip(written, looked_up(written), strict=True):
        contents = look(Memory(memoryview(data)), name="x.joblib")
        assert contents is not None
        assert contents.grade is Grade.DATA
        assert looks is not None
        names = {today(*pair) for pairs in looks.values() for pair in pairs}
        ghosts = names - told(contents)
        assert all(f"{m}.{n}" in " ".join(contents.reasons) for m, n in ghosts)
        assert told(contents) <= names


def test_readers_look_up_in_changed_files_no_name_that_is_not_told() -> None:
    chance, written = Random(0), files()
    assert hold_against_readers([changed(chance, chance.choice(written)) for _ in range(100)]) > 3


@pytest.mark.sweep
@pytest.mark.parametrize("seed", range(100, 102))
def test_readers_look_up_in_many_changed_files_no_name_that_is_not_told(seed: int) -> None:
    chance, written = Random(seed), files()
    hold_against_readers([changed(chance, chance.choice(written)) for _ in range(5000)])


@pytest.mark.sweep
def test_readers_look_up_in_changed_archives_no_name_that_is_not_told() -> None:
    chance, written = Random(3), archived()
    changes = [changed_archive(chance, chance.choice(written)) for _ in range(150)]
    assert hold_against_readers(changes) > 9


@pytest.mark.sweep
@pytest.mark.parametrize("seed", range(200, 202))
def test_readers_look_up_in_many_changed_archives_no_name_that_is_not_told(seed: int) -> None:
    chance, written = Random(seed), archived()
    hold_against_readers([changed_archive(chance, chance.choice(written)) for _ in range(2000)])


def of_torch() -> list[bytes]:
    done = subprocess.run([TORCH, str(TRUTH), "torch"], capture_output=True, check=True, text=True)
    return [bytes.fromhex(line) for line in done.stdout.split()]


@pytest.mark.sweep
@pytest.mark.skipif(not TORCH, reason="READERS_TORCH names no interpreter that has torch")
def test_torch_looks_up_no_name_that_is_not_told() -> None:
    chance, written = Random(300), of_torch()
    for data, looks in zip(written, looked_up(written, TORCH), strict=True):
        contents = look(Memory(memoryview(data)), name="x.pt")
        assert contents is not None
        assert contents.grade is Grade.DATA
        assert looks is not None
        assert looks["torch.load"]
    hold_against_readers(written, TORCH)
    ways = (changed, changed_archive)
    changes = [chance.choice(ways)(chance, chance.choice(written)) for _ in range(1000)]
    hold_against_readers(changes, TORCH)
