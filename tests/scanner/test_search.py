"""Pickles at any offset of a file, in base64, and packed behind others."""

import base64
import dbm.dumb
import gzip
import json
import os
import pickle
import shelve
import sqlite3
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import armed
import numpy as np
import pytest

from pickleseal.scanner.containers import contents as containers
from pickleseal.scanner.containers import views
from pickleseal.scanner.containers.contents import look
from pickleseal.scanner.containers.views import Memory, Pool
from pickleseal.scanner.grade import Contents, Grade

ARMED = armed.whole(armed.call(armed.look("os", "mkdir"), armed.text("mark")))
FRAMED = pickle.dumps({"f": np.frombuffer}, 4)
DATA = pickle.dumps(np.arange(9.0), 4)


def seen(data: bytes, *, deep: bool = False) -> Contents:
    contents = look(Memory(memoryview(data)), name="it", deep=deep)
    assert contents is not None
    return contents


def names(contents: Contents) -> set[str]:
    return {f"{name.module}.{name.name}" for name in contents.names}


PLACES: dict[str, Callable[[bytes], bytes]] = {
    "behind four bytes": lambda data: struct.pack("<I", 1_800_000_000) + data,
    "behind the head of a picture": lambda data: b"GIF89a" + bytes(31) + data,
    "across the border of two pieces": lambda data: b"\xff" * ((1 << 20) - 20) + data,
    "between others": lambda data: b"\xff" * 5000 + data + b"\xff" * 5000 + data + b"\xff",
    "in base64": lambda data: json.dumps({"value": base64.b64encode(data).decode()}).encode(),
    "in base64 for paths": lambda data: b'"' + base64.urlsafe_b64encode(data) + b'"',
    "in base64 with line ends": lambda data: b"\n\n" + base64.encodebytes(data),
    "in base64 of zlib": lambda data: b"x" + b'"' + base64.b64encode(zlib.compress(data)) + b'"',
    "in base64 of the fastest zlib": lambda data: b'"' + base64.b64encode(zlib.compress(data, 1)),
    "in base64 of gzip": lambda data: b'"' + base64.b64encode(gzip.compress(data)) + b'"',
    "packed behind a time": lambda data: pickle.dumps(1.8e9) + zlib.compress(data),
    "packed with gzip behind a time": lambda data: pickle.dumps(1.8e9, 2) + gzip.compress(data),
}


def test_names_of_a_hidden_pickle_that_are_left_out_are_counted() -> None:
    looks = [armed.look("os", name) for name in ("mkdir", "remove", "rename", "rmdir", "stat")]
    contents = seen(PLACES["behind four bytes"](armed.whole(b"0".join(looks))))
    told = "imports os.mkdir, os.remove, os.rename and 2 more"
    assert any(told in reason for reason in contents.reasons)


@pytest.mark.parametrize("place", PLACES)
def test_a_pickle_is_found_wherever_it_stands(place: str) -> None:
    contents = seen(PLACES[place](ARMED))
    assert contents.grade is Grade.BEYOND
    assert "os.mkdir" in names(contents)


@pytest.mark.parametrize("place", [place for place in PLACES if "packed" not in place])
def test_a_file_around_a_pickle_of_data_cannot_be_told(place: str) -> None:
    contents = seen(PLACES[place](DATA))
    assert contents.grade is Grade.CANNOT_TELL
    assert "numpy.dtype" in names(contents)
    assert any("at byte" in reason for reason in contents.reasons)


def test_the_offset_is_told() -> None:
    contents = seen(b"\xff" * 1234 + ARMED)
    assert any("byte 1234 " in reason for reason in contents.reasons)


def test_a_row_of_a_database_and_every_record_of_a_shelf_are_found(tmp_path: Path) -> None:
    base = sqlite3.connect(tmp_path / "cache.db")
    base.execute("create table Cache(key, value blob)")
    base.execute("insert into Cache values('k', ?)", (ARMED,))
    base.commit()
    base.close()
    assert seen((tmp_path / "cache.db").read_bytes()).grade is Grade.BEYOND
    store: Any = dbm.dumb.open(str(tmp_path / "shelf"), "c")  # noqa: SIM115 - the shelf closes it
    with shelve.Shelf[Any](store) as shelf:
        shelf["a"], shelf["b"] = 1, [2.5, "x"]
    contents = seen((tmp_path / "shelf.dat").read_bytes())
    assert (contents.grade, contents.pickles) == (Grade.DATA, 2)


class Maker:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("mark",)


@pytest.mark.parametrize("protocol", [0, 1])
@pytest.mark.parametrize("value", [Maker(), {"a": [1.5, Maker()], "b": Maker()}])
def test_an_old_pickle_is_found_at_its_first_name(value: object, protocol: int) -> None:
    """PyTables keeps attributes in protocol 0."""
    data = pickle.dumps(value, protocol)
    contents = seen(b"\x89HDF" + bytes(999) + data + bytes(99))
    assert contents.grade is Grade.BEYOND
    offset = 1003 + data.index(b"c")
    (reason,) = contents.reasons
    assert reason.endswith(f"a pickle at byte {offset} imports posix.mkdir")


@pytest.mark.parametrize("distance", [20, 200, 3000, 5000])
def test_an_old_pickle_is_found_across_the_border_of_two_pieces(distance: int) -> None:
    old = b"cos\nmkdir\n(S'" + b"x" * 3500 + b"'\ntR."
    assert "os.mkdir" in names(seen(b"\xff" * ((1 << 20) - distance) + old + b"\xff" * 9000))


def test_lists_of_words_and_text_of_base64_are_no_old_pickles() -> None:
    words = b"abacus\nacorn\ncat\ncow\n(t\ncoral\ntRout\ncub\nRabbit\nRat\n"
    lines = b"A" * 63 + b"\n" + b"c" + b"x" * 63 + b"\n" + b"y" * 64 + b"\n" + b"tR" * 32
    short = b"Drop\nLockf\nNamespace\nParameter\nRescale\n", b"Python\nPerl\nPascal\nada\n"
    for text in (words, lines, *short, b"cat\ncow\n" * 50_000, bytes(99) + b"cat\ndog\n" * 50_000):
        assert look(Memory(memoryview(b"\xff" + text)), name="it") is None


def test_what_a_pickle_keeps_as_bytes_is_not_searched() -> None:
    contents = seen(pickle.dumps({"payload": ARMED}, 4))
    assert (contents.grade, contents.names) == (Grade.DATA, ())


@pytest.mark.parametrize("seed", range(5))
def test_nothing_is_found_in_noise(seed: int) -> None:
    noise = Random(seed).randbytes(2_000_000)
    assert look(Memory(memoryview(b"\xff" + noise)), name="it") is None
    assert look(Memory(memoryview(b"\xff" + base64.b64encode(noise))), name="it") is None


def test_no_more_than_the_bound_is_searched_unless_all_of_it_is_wanted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(containers, "SEARCHED", 1 << 20)
    data = b"\xff" * (2 << 20) + ARMED
    assert look(Memory(memoryview(data)), name="it") is None
    assert seen(data, deep=True).grade is Grade.BEYOND


@pytest.mark.parametrize(
    "hostile",
    [
        *(b"\x80\x04]", b"\x80\x02c", b"\x80\x04\x95", b'"eJxx\n12345678901234'),
        *(b"ca\nb\n", b"ca\nb\n)R", b"(ca\nb\nt"),
    ],
)
def test_a_file_of_mere_beginnings_is_left_at_a_bound(
    hostile: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views, "BASE", 4 << 20)
    monkeypatch.setattr(views, "PER_BYTE", 32)
    monkeypatch.setattr(views, "SEARCH_OPCODES", 10_000)
    contents = look(Memory(memoryview(b"\xff" + hostile * 100_000)), name="it")
    assert contents is None or contents.grade is Grade.CANNOT_TELL


def test_the_files_of_a_run_share_what_they_cost() -> None:
    data = zlib.compress(b"\x80\x04\x8e" + (1 << 50).to_bytes(8, "little") + bytes(40 << 20), 9)
    pool = Pool(100 << 20)
    looked = [look(Memory(memoryview(data)), name="it", pool=pool) for _ in range(4)]
    over = [one is not None and "the run" in " ".join(one.reasons) for one in looked]
    assert over == sorted(over)
    assert not over[0]
    assert over[-1]
    small = look(Memory(memoryview(DATA)), name="it", pool=pool)
    assert small is not None
    assert small.grade is Grade.DATA
