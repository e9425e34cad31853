"""The walk that follows CPython's unpicklers, held against them."""

import collections
import datetime as dt
import io
import json
import pickle
import random
import subprocess
import sys
import tempfile
import tracemalloc
import zoneinfo
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from pickleseal.scanner.machine import (
    memo,
    record,
    stack,
)
from pickleseal.scanner.machine import (
    trace as machine,
)
from pickleseal.scanner.machine.cursor import LINE_KEPT, Cursor, EndOfInput
from pickleseal.scanner.machine.trace import Trace, Use, trace

TRUTH = Path(__file__).parents[1].joinpath("unpickling_truth.py")
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
    """Give what each of CPython's readers looks up in each stream, and where it ends."""
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
    """Hold the walk against each reader; give how many streams some reader ended.

    Where a bound of the walk's own was hit, it says so, and that is all it says. Few streams do.
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
    assert limited <= len(streams) // 500
    return loaded


# -- streams that pickletools and the documentation tell otherwise of than the unpicklers do

OS = ("os", "system")
QUIRKS: dict[str, tuple[bytes, set[tuple[str, str]]]] = {
    "a hexadecimal INT": (b"I0x10\n0cos\nsystem\n.", {OS}),
    "an octal INT": (b"I010\n0cos\nsystem\n.", {OS}),
    "an INT that ends at a zero byte": (b"I\0text\n0cos\nsystem\n.", {OS}),
    "a bool spelled as INT": (b"I01\n0I00\n0cos\nsystem\n.", {OS}),
    "a hexadecimal LONG": (b"L0x10L\n0cos\nsystem\n.", {OS}),
    "a LONG without its L": (b"L5\n0cos\nsystem\n.", {OS}),
    "a FLOAT with an underscore": (b"F1_0\n0cos\nsystem\n.", {OS}),
    "a STRING that is not ASCII": (b"S'\xe9'\n0cos\nsystem\n.", {OS}),
    "a STRING with escapes": (b"S'o\\x73'\nS\"sys\\164em\"\n\x93.", {OS}),
    "a UNICODE with escapes": (b"V\\u006fs\nVsystem\n\x93.", {OS}),
    "a BINSTRING that is not ASCII": (b"U\1\xe90cos\nsystem\n.", {OS}),
    "names by way of the memo": (b"Vos\nq\5Vsystem\np300\n0h\5g300\n\x93.", {OS}),
    "PUT mixed with MEMOIZE": (b"Vos\nq\5\x940Vsystem\n\x940h\1h\2\x93.", {OS}),
    "MEMOIZE onto an entry of PUT": (
        b"Nq\1Vos\n\x94Vsystem\n\x94h\1h\1\x93.",
        {("system", "system")},
    ),
    "a memo index with blanks": (b"Vos\np 1 \nVsystem\ng1\0x\n0\x93.", {OS}),
    "a memo index of 500": (b"Vos\nr\xf4\1\0\0Vsystem\nj\xf4\1\0\0" + b"0\x93.", {OS}),
    "a frame that is too long": (b"\x80\4\x95\xff\0\0\0\0\0\0\0cos\nsystem\n.", {OS}),
    "an INST without a mark": (b"ios\nsystem\n.", {OS}),
    "a GLOBAL at the end of the input": (b"cos\nsystemX", {OS}),
    "a module at the end of the input": (b"cosX", {("os", "")}),
    "a persistent id": (b"Ptext\n0cos\nsystem\n.", {OS}),
    "a persistent id from the stack": (b"NQ0cos\nsystem\n.", {OS}),
    "a buffer out of band": (b"\x97\x980cos\nsystem\n.", {OS}),
    "arguments in a list": (b"cos\nsystem\n]R0cos\ngetpid\n.", {OS, ("os", "getpid")}),
    "a mark below": (b"N(cos\nsystem\n10cos\ngetpid\n.", {OS, ("os", "getpid")}),
    "POP of a mark": (b"(0cos\nsystem\n.", {OS}),
    "an OBJ": (b"(cos\nsystem\nNo.", {OS}),
    "no STOP": (b"cos\nsystem\n", {OS}),
    "an old name in protocol 2": (b"\x80\2c__builtin__\neval\n.", {("builtins", "eval")}),
    "an old module in protocol 2": (b"\x80\2ccommands\nx\n.", {("subprocess", "x")}),
    "an old name in protocol 3": (b"\x80\3c__builtin__\neval\n.", {("__builtin__", "eval")}),
    "a protocol that changes": (
        b"\x80\4\x80\1c__builtin__\neval\n\x80\3c__builtin__\neval\n.",
        {("builtins", "eval"), ("__builtin__", "eval")},
    ),
    "a dotted name": (b"\x80\4\x8c\2os\x8c\tpath.join\x93.", {("os", "path.join")}),
    "a name that is not ASCII": ("c\u00e9\n\u00e8\n.".encode(), {("\u00e9", "\u00e8")}),
    "a number of very many digits": (b"I" + b"1" * 5000 + b"\n0cos\nsystem\n.", {OS}),
    "a LONG of very many digits": (b"L-" + b"1" * 5000 + b"L\n0cos\nsystem\n.", {OS}),
    "a memo index of many digits": (b"Np" + b"1" * 30 + b"\n0cos\nsystem\n.", {OS}),
    "a carriage return": (b"cos\r\nsystem\r\n.", {("os\r", "system\r")}),
}


@pytest.mark.parametrize("quirk", QUIRKS)
def test_a_quirk_hides_no_name(quirk: str) -> None:
    stream, wanted = QUIRKS[quirk]
    assert names(stream) == wanted


def test_memo_indices_of_very_many_digits_are_told_apart() -> None:
    one, two = b"1" * 5000 + b"\n", b"2" * 5000 + b"\n"
    assert names(b"Vos\np" + one + b"Vx\np" + two + b"g" + one + b"Vsystem\n\x93.") == {OS}


REFUSED_SINCE = {
    "a hexadecimal INT": (3, 14),
    "a hexadecimal LONG": (3, 14),
    "a frame that is too long": (3, 15),
}
"""From which Python on the unpicklers refuse a quirk. The walk goes by those that do not."""


def test_what_the_quirks_look_up_is_what_the_unpicklers_do() -> None:
    streams = [stream for stream, _ in QUIRKS.values()]
    hold_against_truth(streams)
    for (quirk, (_, wanted)), readers in zip(QUIRKS.items(), truth(streams), strict=True):
        looks = {(module, name) for found, _ in readers.values() for module, name in found}
        refused = sys.version_info >= REFUSED_SINCE.get(quirk, (4,))
        assert looks == (set() if refused else wanted), quirk


STOPS = {
    "no bytes": b"",
    "no opcode": b"N\xff.",
    "a zero byte": b"\0",
    "an empty stack": b".",
    "a mark on top": b"N(.",
    "a protocol of the future": b"\x80\6N.",
    "a missing mark": b"Nt.",
    "a tuple across a mark": b"N(\x85.",
    "a memo entry that is missing": b"h\7.",
    "a negative memo index": b"Np-1\n.",
    "a text that is no UTF-8": b"\x8c\1\xff.",
    "a text that is cut off": b"\x8c\5abc",
    "a string without quotes": b"Stext\n.",
    "a string that breaks off in an escape": b"S'\\x1'\n.",
    "a number that is none": b"Itext\n.",
    "a float that is none": b"Ftext\n.",
    "a line without an end": b"Vtext",
    "a call of data": b"N)R.",
    "a name that is a number": b"K\1K\1\x93.",
    "items for None": b"NNa.",
    "a huge size": b"\x8e" + b"\xff" * 8,
    "an extension code of zero": b"\x82\0.",
    "a persistent id that is not ASCII": b"P\xe9\n.",
    "a readable text": b"Dear reader, this is no pickle.\n",
}


@pytest.mark.parametrize("stop", STOPS)
def test_the_walk_stops_where_each_unpickler_stops(stop: str) -> None:
    found, _ = walk(STOPS[stop])
    assert found.fault is not None
    assert not found.ended
    assert not found.limited
    (readers,) = truth([STOPS[stop]])
    assert {ended for _, ended in readers.values()} == {None}


def test_frames_that_do_not_fit_are_told_of_because_readers_differ() -> None:
    # From a file, what is left of the frame is dropped, and another name is read.
    stream = b"\x80\4\x95\2\0\0\0\0\0\0\0\x8c\3sys\x8c\3bin\x93."
    assert any(clause.startswith(MISFIT) for clause in walk(stream)[0].beyond)
    hold_against_truth([stream])
    for obj in (["text"] * 3, list(range(50_000)), [b"b" * 70_000, "t" * 70_000, "more"]):
        assert walk(pickle.dumps(obj, 4))[0].beyond == ()


# -- at random

PARTS = [
    b"N", b"]", b"}", b")", b"K\1", b"I01\n", b"I0x1f\n", b"I010\n", b"L12L\n", b"F1.5\n",
    b"S'os'\n", b'S"o\\x73"\n', b"S'\xe9'\n", b"Vsystem\n", b"V\\u006fs\n", b"\x8c\2os",
    b"\x8c\6system", b"X\2\0\0\0os", b"\x8d\2\0\0\0\0\0\0\0os", b"U\2os", b"T\2\0\0\0os",
    b"U\1\xe9", b"C\1a", b"B\2\0\0\0ab", b"\x8e\1\0\0\0\0\0\0\0a", b"G01234567", b"J\1\0\0\0",
    b"M\1\0", b"\x8a\1a", b"\x8b\1\0\0\0a", b"(", b"(", b"(", b"t", b"l", b"d", b"\x85", b"\x86",
    b"\x87", b"q\0", b"q\1", b"q\5", b"h\0", b"h\1", b"h\5", b"p0\n", b"p3\n", b"p3\0x\n",
    b"g0\n", b"g 1 \n", b"r\2\0\0\0", b"r\xff\1\0\0", b"j\2\0\0\0", b"j\xff\1\0\0", b"\x94",
    b"\x94", b"0", b"1", b"2", b"cos\nsystem\n", b"c__builtin__\neval\n", b"cos\npath.join\n",
    b"c\n\n", b"cos\n", b"i__builtin__\nlist\n", b"ios\nx\n", b"o", b"R", b"R", b"\x81", b"\x92",
    b"b", b"b", b"a", b"e", b"s", b"u", b"\x90", b"\x91", b"\x8f", b"\x93", b"\x93", b"\x80\2",
    b"\x80\3", b"\x80\4", b"\x80\0", b"P1\n", b"Q", b"\x97", b"\x98", b"\x96\1\0\0\0\0\0\0\0a",
    b"\x82\1", b"\x88", b"\x89", b"I\0abc\n", b"\x8c\2os\x8c\3abc\x93", b"Vos\nVabc\n\x93",
    b"ccopy_reg\n_reconstructor\n(c__builtin__\nobject\ncos\nx\nNtR", b"c__builtin__\ngetattr\n",
]  # fmt: skip

OBJECTS: list[Any] = [
    [1, "a", b"b", None, True, 1 << 100, 2.5, 1 + 2j, slice(1, 2)],
    {"a": {1, 2}, "b": frozenset([3]), "c": bytearray(b"abc")},
    [dt.datetime(2020, 1, 1, tzinfo=dt.UTC), collections.OrderedDict(a=1)],
    [len, print, Path("a"), ["x"] * 3, "\u00e9\n\\" * 20],
    np.arange(5.0),
    np.array(["a", "bb"]),
    LogisticRegression().fit([[1.0], [2.0]], [0, 1]),
]


def made_up(chance: random.Random) -> bytes:
    """Give a stream of opcodes at random."""
    parts = [bytes([0x80, chance.randrange(6)])] if chance.random() < 0.6 else []
    for _ in range(chance.randrange(1, 30)):
        draw = chance.random()
        if draw < 0.02:
            parts.append(b"\x95" + chance.randrange(20).to_bytes(8, "little"))
        elif draw < 0.025:
            parts.append(chance.randbytes(1))
        elif draw < 0.03:
            parts.append(b"\x95" + (1 << chance.randrange(64)).to_bytes(8, "little"))
        elif draw < 0.05:
            parts.append(b".")
        else:
            parts.append(chance.choice(PARTS))
    stream = b"".join(parts)
    draw = chance.random()
    return stream + b"." if draw < 0.8 else stream[: chance.randrange(len(stream)) + 1]


def changed(chance: random.Random, stream: bytes) -> bytes:
    """Give a pickle with some changes at random."""
    data = bytearray(stream)
    for _ in range(chance.choice([0, 1, 1, 2, 3])):
        at, way = chance.randrange(len(data)), chance.randrange(5)
        if way == 0:
            data[at] = chance.randrange(256)
        elif way == 1 and len(data) > 10:
            del data[at : at + chance.randrange(1, 6)]
        elif way == 2:
            data[at:at] = chance.choice(PARTS)
        elif way == 3:
            data[at] = chance.choice(b"(.0125RbceoixX}])tu")
        else:
            start = chance.randrange(len(data))
            data[at:at] = data[start : start + chance.randrange(12)]
    return bytes(data)


def ordinary() -> list[bytes]:
    return [pickle.dumps(obj, protocol) for obj in OBJECTS for protocol in range(6)]


@pytest.mark.parametrize("seed", range(2))
def test_made_up_streams_look_up_no_name_that_the_walk_misses(seed: int) -> None:
    chance = random.Random(seed)
    assert hold_against_truth([made_up(chance) for _ in range(2000)]) > 50


@pytest.mark.parametrize("seed", range(2))
def test_changed_pickles_look_up_no_name_that_the_walk_misses(seed: int) -> None:
    chance = random.Random(seed)
    pickles = ordinary()
    streams = [changed(chance, chance.choice(pickles)) for _ in range(1000)]
    assert hold_against_truth([*pickles, *streams]) > 300


@pytest.mark.sweep
@pytest.mark.parametrize("seed", range(100, 110))
def test_many_streams_look_up_no_name_that_the_walk_misses(seed: int) -> None:
    chance = random.Random(seed)
    pickles = ordinary()
    hold_against_truth([made_up(chance) for _ in range(20_000)])
    hold_against_truth([changed(chance, chance.choice(pickles)) for _ in range(10_000)])


def test_the_walk_does_not_depend_on_how_the_input_comes() -> None:
    chance = random.Random(7)
    for stream in [*ordinary(), *(made_up(chance) for _ in range(300))]:
        file = io.BytesIO(stream)
        slow = Cursor(lambda _, file=file: file.read(1))  # type: ignore[misc]
        assert (trace(slow), slow.position) == walk(stream)


def test_broken_pickles_act_before_they_break(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    stream = b"cos\nmkdir\n(V" + str(mark).encode() + b"\ntRI0x\n."
    (tmp_path / "file").write_bytes(stream)
    done = subprocess.run(
        [sys.executable, "-I", str(TRUTH), "run", str(tmp_path / "file")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert mark.is_dir()
    assert [json.loads(line) for line in done.stdout.splitlines()] == [["os", "mkdir"]]
    found, _ = walk(stream)
    assert found.fault is not None
    assert uses(stream) == {"mkdir": Use.LOOKED_UP | Use.CALLED}


# -- what is done with a name

LOOKED_UP, CALLED, MADE, BUILT = Use.LOOKED_UP, Use.CALLED, Use.MADE, Use.BUILT


@pytest.mark.parametrize(
    ("stream", "wanted"),
    [
        (b"cm\nf\n.", {"f": LOOKED_UP}),
        (b"cm\nf\n)R.", {"f": LOOKED_UP | CALLED}),
        (b"(cm\nf\no.", {"f": LOOKED_UP | CALLED}),
        (b"(im\nf\n.", {"f": LOOKED_UP | CALLED}),
        (b"cm\nf\n)\x81.", {"f": LOOKED_UP | MADE}),
        (b"cm\nf\n)}\x92.", {"f": LOOKED_UP | MADE}),
        (b"cm\nf\n)R}b.", {"f": LOOKED_UP | CALLED | BUILT}),
        (b"cm\nf\n)\x81}b.", {"f": LOOKED_UP | MADE | BUILT}),
        (
            b"ccopyreg\n__newobj__\ncm\nf\n\x85R}b.",
            {"__newobj__": LOOKED_UP | CALLED, "f": LOOKED_UP | MADE | BUILT},
        ),
        (
            b"ccopy_reg\n_reconstructor\n(cm\nf\nc__builtin__\nobject\nNtR.",
            {"_reconstructor": LOOKED_UP | CALLED, "f": LOOKED_UP | MADE, "object": LOOKED_UP},
        ),
        (b"cm\nmap\ncm\nf\n]\x86R.", {"map": LOOKED_UP | CALLED, "f": LOOKED_UP}),
        (b"cm\nf\nq\0)R0h\0)\x81.", {"f": LOOKED_UP | CALLED | MADE}),
    ],
)
def test_each_use_of_a_name_is_told(stream: bytes, wanted: dict[str, Use]) -> None:
    assert uses(stream) == wanted
    assert walk(stream)[0].beyond == ()


def test_names_come_in_order_and_once() -> None:
    found, _ = walk(b"cb\nx\nca\ny\ncb\nx\n\x87.")
    assert [(name.module, name.name) for name in found.names] == [("b", "x"), ("a", "y")]


BEYOND = {
    "an extension code": b"\x82\7.",
    "a large extension code": b"\x84\7\0\0\1.",
    "an extension that is registered": b"ccopyreg\nadd_extension\n(Vos\nVsystem\nK\7tR.",
    "a name that a call gave": b"ccodecs\ndecode\n(Vbf\nVrot13\ntRVsystem\n\x93.",
    "a name that the encoding spells": b"S'\xe9'\nVsystem\n\x93.",
    "a name that the caller gives": b"P1\nVsystem\n\x93.",
    "a name that is very long": b"X\0\4\0\0" + b"m" * 1024 + b"Vx\n\x93.",
    "a call of what a call gave": b"cm\nf\n)R)R.",
    "an object of what a call gave": b"cm\nf\n)R)\x81.",
    "an object of what a call gave, by copyreg": b"ccopyreg\n__newobj__\ncm\nf\n)R\x85R.",
    "a call of what was made": b"(cm\nf\n)\x81o.",
    "a call of what the caller gives": b"P1\n)R.",
    "the state of a class": b"cm\nf\n}b.",
    "the state of a computed class": b"\x82\7}b.",
    "an attribute that is the class": b"cm\nf\n)R}V__class__\nNsb.",
    "a slot that is the class": b"cm\nf\n)R(N}V__class__\nNstb.",
    "an attribute among many": b"cm\nf\n)R(" + b"".join(b"Vk%d\nN" % n for n in range(40))
    + b"V__reduce__\nNdb.",
    "an attribute whose name is computed": b"cm\nf\n)R}cm\ng\n)RNsb.",
    "slots that are computed": b"cm\nf\n)R(Nccollections\nOrderedDict\n)Rtb.",
    "an item for a class": b"cm\nf\nNa.",
    "items for a class": b"cm\nf\n(Ne.",
    "a key for a module": b"cm\nf\nNNs.",
    "members for a class": b"cm\nf\n(N\x90.",
    "a dunder attribute": b"cbuiltins\ngetattr\n(cm\nf\nV__globals__\ntR.",
    "an attribute that is computed": b"cbuiltins\ngetattr\n(cm\nf\ncm\ng\n)RtR.",
    "an attribute from who knows where": b"cbuiltins\ngetattr\n]R.",
    "a ufunc that is computed": b"cnumpy.core\n_ufunc_reconstruct\n(Vnumpy\ncm\ng\n)RtR.",
    "a state that is a dict of another call": b"cm\nf\n)Rccollections\nOrderedDict\n)Rb.",
    "attributes in a dict of another call": b"cm\nf\n)R(ccollections\nCounter\n)RNtb.",
    "a state that is set once more": b"cm\nf\n)\x81q\0}b0h\0}b.",
    "a state that changes when it is set": b"cm\nf\n)R}q\0b0h\0Va\nNs.",
    "items behind a state": b"cm\nf\n)\x81}bNa.",
    "members behind a state": b"cm\nf\n)\x81}b(N\x90.",
    "keys behind a state": b"cm\nf\n)\x81}bVa\nNs.",
    "items of what has keys": b"cm\nf\n)\x81Vappend\nNs(Ne.",
    "a key that is looked for": b"cm\nf\n)\x81V__array_interface__\nNs.",
    "a key among many that is looked for": b"cm\nf\n)\x81(Va\nNV__class__\nNu.",
    "a key that is computed and an attribute": b"csklearn.utils._bunch\nBunch\n)\x81cm\nf\n)RNs.",
    "an attribute by copyreg": b"ccopyreg\n_reconstructor\n(cm\nf\nc__builtin__\ndict\n"
    b"}V__class__\nNstR.",
    "an attribute by Cython": b"cm\n__pyx_unpickle_f\n(cm\nf\nK\1(N}V__class__\nNsttR.",
    "a state behind that of Cython": b"cm\n__pyx_unpickle_f\n(cm\nf\nK\1)tR}b.",
    "an attribute that pyarrow looks for": b"cm\nf\n)R}V__arrow_array__\nNsb.",
    "a generator by another function": b"cnumpy.random._pickle\n__generator_ctor\n"
    b"(Vx\ncm\nf\ntR.",
    "a generator by an object": b"cnumpy.random._pickle\n__generator_ctor\n"
    b"(Vx\ncm\nf\n)\x81tR.",
    "a generator of another class": b"cnumpy.random._pickle\n__randomstate_ctor\n(cm\nf\ntR.",
    "bits of another class": b"cnumpy.random._pickle\n__bit_generator_ctor\n(cm\nf\ntR.",
    "bits of an object": b"cnumpy.random._pickle\n__bit_generator_ctor\n(cm\nf\n)RtR.",
    "a helper that makes what is computed": b"cm\nnewObj\n(cm\nf\n)RtR.",
    "an array that another function makes": b"cdill._dill\n_create_array\n(cm\nf\n)NNtR.",
    "a wrapper for a helper": b"cm\nnewObj\n(cjoblib.numpy_pickle\nNumpyArrayWrapper\ntR.",
    "a wrapper for a function": b"cm\nf\n(NN(cjoblib.numpy_pickle\nNumpyArrayWrapper\nttR.",
    "an import that is computed": b"cimportlib\nimport_module\ncm\ng\n)R\x85R.",
}  # fmt: skip


@pytest.mark.parametrize("construction", BEYOND)
def test_what_no_data_needs_is_told(construction: str) -> None:
    found, _ = walk(BEYOND[construction])
    assert found.beyond
    assert found.ended, found


@pytest.mark.parametrize("stream", ordinary())
def test_nothing_of_ordinary_pickles_is_beyond(stream: bytes) -> None:
    found, position = walk(stream)
    assert found.beyond == ()
    assert found.ended
    assert position == len(stream)
    assert found.protocol == (stream[1] if stream[0] == 0x80 else 0)


def test_what_picklers_write_for_objects_is_not_beyond() -> None:
    for stream in [
        b"cm\nf\n)\x81(NNe}b.",
        b"cm\nf\n)\x81(Va\nNu}b.",
        b"cm\nf\n)\x81(cm\ng\n)RNu}b.",
        b"cm\nf\n)\x81}V__networkx_cache__\nNsb.",
        b"cm\nf\n)\x81}V__version__\nNsb.",
        b"cm\nf\n)\x81cm\ng\n)Rb.",
        b"cm\n__pyx_unpickle_f\n(cm\nf\nK\1NtR}b.",
        b"cnumpy.random._pickle\n__bit_generator_ctor\n(VPCG64\ntR.",
        (
            b"cnumpy.random._pickle\n__generator_ctor\n(VPCG64\n"
            b"cnumpy.random._pickle\n__bit_generator_ctor\ntR."
        ),
        b"cnumpy.random._pickle\n__randomstate_ctor\n(VMT19937\ntR.",
    ]:
        found, _ = walk(stream)
        assert found.beyond == ()
        assert found.ended


@pytest.mark.parametrize("protocol", range(6))
def test_a_time_zone_is_not_beyond(protocol: int) -> None:
    obj = dt.datetime(2020, 1, 1, tzinfo=zoneinfo.ZoneInfo("UTC"))
    assert walk(pickle.dumps(obj, protocol))[0].beyond == ()
    other = b"cbuiltins\ngetattr\n(czoneinfo\nZoneInfo\nVfrom_file\ntR)R."
    assert walk(other)[0].beyond


@pytest.mark.parametrize("size", [0, 1, 2, 3, 5])
def test_an_attribute_is_found_however_far_back_its_name_lies(
    size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stack, "RECENT", size)
    many = b"(" + b"N" * 100_000 + b"t"
    for name in (b"__class__", b"__array_interface__"):
        assert walk(b"cm\nf\n)\x81}V" + name + b"\n" + many + b"sb.")[0].beyond
    found, _ = walk(b"cm\nf\n)\x81}Vplain\n" + many + b"sb.")
    assert found.beyond == ()
    assert found.ended


@pytest.mark.parametrize("protocol", range(2, 6))
def test_bound_methods_and_ufuncs_are_not_beyond(protocol: int) -> None:
    stream = pickle.dumps([[1].append, np.add, np.vectorize(len)], protocol)
    found, _ = walk(stream)
    assert found.beyond == ()
    assert found.ended


def test_what_an_importing_helper_would_import_is_a_name() -> None:
    for helper, wanted in [
        (b"cnumpy.core\n_ufunc_reconstruct\n(Vscipy\nVexpit\ntR.", ("scipy", "expit")),
        (b"cnumpy._core\n_ufunc_reconstruct\n(Vnumpy\nVadd\ntR.", ("numpy", "add")),
        (b"cimportlib\nimport_module\n(Vos.path\ntR.", ("os.path", "")),
        (b"c__builtin__\n__import__\n(Vos\nNNtR.", ("os", "")),
        (b"ccloudpickle.cloudpickle\nsubimport\n(Vos.path\ntR.", ("os.path", "")),
        (b"ccloudpickle.cloudpickle\n_builtin_type\n(VCodeType\ntR.", ("types", "CodeType")),
        (b"cdill._dill\n_import_module\n(Vos.system\ntR.", ("os", "system")),
        (b"cpkgutil\nresolve_name\n(Vos:system\ntR.", ("os", "system")),
        (b"ca.uarray\nunpickle_function\n(Vos\nVsystem\nNtR.", ("os", "system")),
        (b"ccopyreg\nadd_extension\n(Vos\nVsystem\nK\1tR.", ("os", "system")),
    ]:  # fmt: skip
        assert wanted in names(helper)


# -- joblib

ARRAYS: dict[str, Any] = {
    "floats": np.arange(12.0).reshape(3, 4),
    "columns first": np.asfortranarray(np.arange(12.0).reshape(3, 4)),
    "one number": np.array(5),
    "none": np.zeros((0, 3)),
    "bools": np.array([True, False]),
    "complex": np.arange(3) * 1j,
    "big-endian": np.arange(5, dtype=">i4"),
    "text": np.array(["a", "bcd"]),
    "bytes": np.array([b"a", b"bcd"]),
    "dates": np.array(["2020-01-01"], dtype="M8[ns]"),
    "durations": np.array([5], dtype="m8[s]"),
    "records": np.zeros(3, dtype=[("a", "f4"), ("b", "i8", (2, 3)), ("c", "U7")]),
    "aligned records": np.zeros(3, dtype=np.dtype([("a", "i1"), ("b", "f8")], align=True)),
    "objects": np.array([{"a": [1]}, Path("x")], dtype=object),
    "records of objects": np.array([(1, "x")], dtype=[("a", "i4"), ("b", "O")]),
    "a matrix": np.matrix([[1.0]]),
    "large": np.zeros((100, 300)),
    "nested": {"a": np.arange(3), "b": [np.arange(4), "text", np.array(["x"], dtype=object)]},
    "the same twice": [np.arange(3)] * 2,
    "a model": LogisticRegression().fit([[1.0], [2.0]], [0, 1]),
}


def dumped(obj: Any, protocol: int) -> bytes:
    file = io.BytesIO()
    joblib.dump(obj, file, protocol=protocol)
    return file.getvalue()


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("array", ARRAYS)
def test_the_arrays_of_joblib_are_passed_over(array: str, protocol: int) -> None:
    stream = dumped(ARRAYS[array], protocol)
    found, position = walk(stream + b"more", joblib=True)
    assert found.ended, found
    assert found.beyond == ()
    assert position == len(stream)
    assert found.wrapped_arrays >= 1
    file = io.BytesIO(stream)
    joblib.load(file)
    assert file.tell() == position


def test_an_array_without_alignment_is_passed_over() -> None:
    class NoPlace(io.RawIOBase):
        """A file that does not know where it is: joblib then leaves the alignment out."""

        def __init__(self) -> None:
            self.data = bytearray()

        def writable(self) -> bool:
            return True

        def write(self, data: Any) -> int:
            self.data += data
            return len(data)

        def tell(self) -> int:
            raise io.UnsupportedOperation

    file = NoPlace()
    joblib.dump([np.arange(7), "end"], file)
    found, position = walk(bytes(file.data), joblib=True)
    assert found.ended
    assert position == len(file.data)


def test_names_inside_and_behind_arrays_are_found() -> None:
    stream = dumped([np.array([Path("x")], dtype=object), np.arange(3), dt.date], 4)
    have = {name.name for name in walk(stream, joblib=True)[0].names}
    assert have >= {"NumpyArrayWrapper", "date", "dtype", "ndarray"}
    assert any("Path" in name for name in have)


WRAPPER = (
    b"cjoblib.numpy_pickle\nNumpyArrayWrapper\n)\x81}(Vsubclass\ncnumpy\nndarray\nVshape\n%b"
    b"Vorder\nVC\nVdtype\n%bVallow_mmap\nI00\nub"
)
DOUBLES = b"cnumpy\ndtype\n(Vf8\nI00\nI01\ntR(K\3V<\nNNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb"
OBJECTS_OF = DOUBLES.replace(b"Vf8", b"VO8").replace(b"K\0tb", b"K\x3ftb")


def test_a_wrapper_that_is_spelled_as_joblib_does_is_followed() -> None:
    stream = WRAPPER % (b"K\2\x85", DOUBLES) + bytes(16) + b"cos\nsystem\n\x86."
    found, position = walk(stream, joblib=True)
    assert position == len(stream)
    assert ("os", "system") in {(name.module, name.name) for name in found.names}
    called = WRAPPER % (b"K\2\x85", OBJECTS_OF) + b"cos\nsystem\n.(Vx\ntR."
    (system,) = [n for n in walk(called, joblib=True)[0].names if n.name == "system"]
    assert Use.CALLED in system.uses
    nested = WRAPPER % (b"K\2\x85", OBJECTS_OF) + b"cos\nsystem\n." + b"cos\ngetpid\n\x86."
    have = [name.name for name in walk(nested, joblib=True)[0].names]
    assert have[-2:] == ["system", "getpid"]


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        (b"K\2\x85", b"N"),
        (b"N", DOUBLES),
        (b"Vx\n\x85", DOUBLES),
        (b"J\xff\xff\xff\xff\x85", DOUBLES),
        (b"(" + b"J\xff\xff\xff\x7f" * 3 + b"t", DOUBLES),
        (b"cm\nf\n)R", DOUBLES),
        (b"K\2\x85", b"cnumpy\ndtype\n(Vf8\ntR(K\3V<\nNNNK\0K\0K\1tb"),
        (b"K\2\x85", b"cnumpy\ndtype\n(VS0\ntR(K\3V|\nNNNK\0K\1K\0tb"),
        (b"K\2\x85", b"cnumpy\ndtype\n(VS3\ntRNb"),
        (b"K\2\x85", b"cnumpy\ndtype\n(Vfloat64\ntR"),
        (b"K\2\x85", b"cnumpy\ndtype\n(Vf8\nI00\nI01\ntR"),
        (b"K\2\x85", DOUBLES + b"(K\3V<\nNNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb"),
        (b"K\2\x85", DOUBLES.replace(b"K\0tb", b"K\x3ftb")),
        (b"K\2\x85", DOUBLES.replace(b"V<", b"V=")),
    ],
)
def test_an_array_whose_size_cannot_be_told_is_a_fault(shape: bytes, dtype: bytes) -> None:
    found, _ = walk(WRAPPER % (shape, dtype) + bytes(64) + b".", joblib=True)
    assert not found.ended
    assert found.fault is not None


DTYPES: list[Any] = [
    "f8", ">i2", "?", "O", "S3", "U3", "V5", "M8[ns]", "m8", "c16", "S0",
    [("a", "i4"), ("b", "O")], [("a", "U3"), ("b", "f8", (2, 3))], [("a", [("b", "O")])],
    np.dtype([("a", "i1"), ("b", "f8")], align=True), np.dtype("f8", metadata={"a": 1}),
    [(("title", "a"), "i4")], (np.record, [("a", "i4")]),
]  # fmt: skip

OTHERWISE = {
    "a class that joblib does not keep": (b"cnumpy\nndarray\n", b"cnumpy\nrecarray\n"),
    "no class": (b"Vsubclass\ncnumpy\nndarray\n", b""),
    "an order that is none": (b"VC\n", b"VA\n"),
    "a number for a flag": (b"I00\nub", b"K\0ub"),
    "another alignment": (b"00\nub", b"00\nVnumpy_array_alignment_bytes\nK\x08ub"),
    "a key that is computed": (b"00\nub", b"00\ncm\nf\n)RNub"),
    "arguments": (b")\x81", b"N\x85\x81"),
    "a call": (b")\x81", b")R"),
}


@pytest.mark.parametrize("way", OTHERWISE)
def test_a_wrapper_that_is_spelled_otherwise_cannot_be_told(way: str) -> None:
    stream = WRAPPER % (b"K\2\x85", DOUBLES)
    found, _ = walk(stream.replace(*OTHERWISE[way]) + bytes(64) + b".", joblib=True)
    assert found.limited
    assert not found.wrapped_arrays


@pytest.mark.parametrize("padding", [b"\0", b"\x11" + b"\xff" * 17, b"\3\xff\xff\0"])
def test_padding_that_joblib_does_not_write_cannot_be_told(padding: bytes) -> None:
    aligned = WRAPPER.replace(b"I00\nub", b"I00\nVnumpy_array_alignment_bytes\nK\x10ub")
    stream = aligned % (b"K\2\x85", DOUBLES)
    assert walk(stream + b"\3\xff\xff\xff" + bytes(16) + b".", joblib=True)[0].ended
    assert walk(stream + padding + bytes(16) + b".", joblib=True)[0].limited


def _dtype(code: bytes, state: bytes) -> bytes:
    return b"cnumpy\ndtype\n(V" + code + b"\nI00\nI01\ntR(K\3V|\n" + state + b"tb"


_NONE = b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xff"
_RECONSTRUCTED = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\0tVb\ntR"
_OBJECT = _dtype(b"O8", _NONE + b"K\x3f")
_FIELD = b"N(Va\nt}Va\n(%bK%bts"
_RECORD = _dtype(b"V8", _FIELD % (_OBJECT, b"\0") + b"K\x08K\1K\x1b")


def _array(shape: bytes, items: bytes) -> bytes:
    return _RECONSTRUCTED + b"(K\1" + shape + _RECORD + b"I00\n(" + items + b"ltb"


def _scalar(array: bytes) -> bytes:
    return b"cnumpy.core.multiarray\nscalar\n(" + _RECORD + array + b"tR"


WILD = {
    "objects that are said to be none": _dtype(b"O8", _NONE + b"K\0"),
    "numbers that are said to be objects": _dtype(b"f8", _NONE + b"K\x3f"),
    "a field that hides its objects": _dtype(b"V8", _FIELD % (_OBJECT, b"\0") + b"K\x08K\1K\x10"),
    "a field outside of its record": _dtype(b"V8", _FIELD % (_OBJECT, b"\1") + b"K\x08K\1K\x1b"),
    "another size": _dtype(b"S3", b"NNNK\4K\1K\0"),
    "an array that is longer than its list": _RECONSTRUCTED
    + b"(K\1K\2\x85" + _OBJECT + b"I00\n(NltbN",
    "a scalar of an array without items": _scalar(_array(b"K\0\x85", b"")),
    "a scalar of two items": _scalar(_array(b"K\2\x85", b"K\0\x85K\0\x85")),
    "a scalar of an array without a state": _scalar(_RECONSTRUCTED),
    "a scalar of nothing": _scalar(b""),
}  # fmt: skip


@pytest.mark.parametrize(("count", "fits"), [(b"K\1", True), (b"K\2", False)])
def test_the_list_of_an_array_counts_though_its_dtype_stands_too_far_back(
    monkeypatch: pytest.MonkeyPatch, count: bytes, *, fits: bool
) -> None:
    monkeypatch.setattr(memo, "MAX_TEXT", 0)
    far = 10 * stack.RECENT
    start = b"\x80\4" + b"Vtext\n\x940" * far + _OBJECT + b"\x940" + b"K\1\x940" * far
    array = _RECONSTRUCTED + b"(K\1" + count + b"\x85j" + far.to_bytes(4, "little")
    found, _ = walk(start + array + b"I00\n(Nltb.")
    assert found.ended
    assert (found.beyond == ()) is fits


def test_a_record_as_the_state_of_what_acts_on_keys_reaches_beyond() -> None:
    # A record has fields as a dict has keys, and its list may hold the text that statsmodels seeks.
    record = _scalar(_array(b")", b"Vrestore_model_spec\n\x85"))
    model = b"cstatsmodels.base.data\nModelData\n)\x81"
    assert walk(model + record + b"b.")[0].beyond != ()
    assert walk(model + record + b"}\x86b.")[0].beyond != ()
    assert walk(model + b"}Vframe\n" + record + b"sb.")[0].beyond == ()
    assert walk(b"csklearn.base\nBaseEstimator\n)\x81" + record + b"b.")[0].beyond == ()


def test_a_scalar_of_one_record_of_objects_is_data() -> None:
    assert walk(_scalar(_array(b")", b"K\0\x85")) + b".")[0].beyond == ()


@pytest.mark.parametrize("way", WILD)
def test_what_numpy_would_follow_blindly_reaches_beyond(way: str) -> None:
    assert walk(WILD[way] + b".")[0].beyond != ()


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("kind", DTYPES, ids=str)
def test_what_numpy_writes_of_a_dtype_does_not(kind: Any, protocol: int) -> None:
    for thing in (np.dtype(kind), np.zeros((2, 3), kind), np.zeros(0, kind), np.zeros(1, kind)[0]):
        found, _ = walk(pickle.dumps(thing, protocol))
        assert found.ended
        assert found.beyond == ()


def test_an_array_that_is_cut_off_is_a_fault() -> None:
    stream = WRAPPER % (b"K\2\x85", DOUBLES) + bytes(15)
    assert not walk(stream, joblib=True)[0].ended


def test_a_wrapper_inside_a_frame_is_a_fault() -> None:
    inside = WRAPPER % (b"K\2\x85", DOUBLES) + b"0N."
    stream = b"\x80\4\x95" + len(inside).to_bytes(8, "little") + inside + bytes(16)
    assert walk(stream, joblib=True)[0].fault is not None


def test_a_companion_file_and_a_changed_wrapper_are_told() -> None:
    companion = b"cjoblib.numpy_pickle\nNDArrayWrapper\n)\x81}Vfilename\nVx.npy\nsb."
    assert walk(companion, joblib=True)[0].beyond
    changed_read = WRAPPER.replace(b"00\nub", b"00\nVread\ncm\nf\nub") % (b"K\2\x85", DOUBLES)
    assert walk(changed_read + bytes(16) + b".", joblib=True)[0].beyond


def test_plain_reading_stops_at_the_bytes_of_an_array() -> None:
    assert not walk(dumped(np.full(100, 255, dtype="u1"), 4))[0].ended


# -- bounds


def test_bounds_are_told_apart_from_breaks(monkeypatch: pytest.MonkeyPatch) -> None:
    for bound, stream in [
        ("MAX_OPCODES", b"N0" * 50_000 + b"N."),
        ("MAX_HELD", b"(" + b"N" * 100_000 + b"l."),
        ("MAX_HELD", b"(" * 100_000 + b"N."),
        ("MAX_HELD", b"N" + b"\x94" * 100_000 + b"."),
        ("MAX_NAMES", b"".join(b"cm\nn%d\n0" % n for n in range(2000)) + b"N."),
    ]:
        assert not walk(stream)[0].limited
        with monkeypatch.context() as patch:
            patch.setattr(record if bound == "MAX_NAMES" else stack, bound, 1000)
            found, _ = walk(stream)
            assert found.limited
            assert not found.ended


def test_far_memo_entries_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = b"Nr\xff\xff\xff\x7fr\xff\xff\xff\xffr\0\0\0\x01j\xff\xff\xff\x7f."
    assert walk(bomb)[0].ended
    monkeypatch.setattr(stack, "MAX_HELD", 10_000)
    far = b"".join(b"r" + (1000 * n).to_bytes(4, "little") for n in range(1, 30_000))
    assert walk(b"N" + far + b".")[0].limited


def test_literals_of_long_ago_are_let_go_of_and_not_mistaken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stack, "RECENT", 10)
    monkeypatch.setattr(memo, "MAX_TEXT", 100)
    texts = b"".join(b"\x8c\6%06d\x940" % n for n in range(50_000))
    near = b"\x8c\2os\x940" + texts + b"h\0\x8c\6system\x93."
    assert names(near) == {("os", "system")}  # it came within the bound
    far = b"\x8c\2os\x940" + texts + b"j\x30\x75\0\0\x8c\6system\x93."
    found, _ = walk(far)
    assert found.limited
    assert not found.ended
    assert not found.names
    found, _ = walk(b"\x8c\2os\x8c\6system" + b"N" * 50 + b"N0" * 50_000 + b"0" * 50 + b"\x93.")
    assert found.limited
    assert not found.names


def test_the_largest_of_everything_comes_to_an_end() -> None:
    for stream in [
        b"N" + b"2\x85" * 100_000 + b".",
        b"}\x8c\1a" * 50_000 + b"N" + b"s" * 50_000 + b".",
        b"\x80\4" + b"\x95\2\0\0\0\0\0\0\0N0" * 10_000 + b"N.",
        b"(" + b"".join(b"\x84" + n.to_bytes(4, "little") for n in range(1, 10_000)) + b"l.",
        b"V" + b"a" * 5_000_000 + b"\n.",
        b"I" + b"1" * 100_000 + b"\n.",
    ]:
        found, position = walk(stream)
        assert found.ended
        assert position == len(stream)
        assert len(found.beyond) <= machine.MAX_BEYOND + 1


@pytest.mark.parametrize(
    "item",
    [
        b"}(" + b"".join(b"\x8c\2%02x(" % n + b"\x8c\2ab" * 16 + b"t" for n in range(32)) + b"u",
        b"(" + b"".join(b"(" + b"\x8c\2ab" * 16 + b"t" for n in range(16)) + b"t",
        b"(" + b"J\1\2\3\4" * 400 + b"t",
    ],
)
@pytest.mark.parametrize("put", [b"", b"\x94"])
def test_what_containers_hold_takes_little_memory(item: bytes, put: bytes) -> None:
    stream = b"\x80\4" + (item + put) * 60 + b"."
    tracemalloc.start()
    try:
        assert walk(stream)[0].ended
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_objects_deep_in_the_stack_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stack, "RECENT", 10)
    for item in (b"}", b"cm\nf\n)\x81"):
        stream = b"(" + item * 100_000 + b"t."
        assert walk(stream)[0].ended
        with monkeypatch.context() as patch:
            patch.setattr(stack, "MAX_BURIED", 1000)
            assert walk(stream)[0].limited


def test_items_for_what_stands_too_far_back_are_not_passed_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stack, "RECENT", 10)
    later = b"N\x940" * 100_000 + b"h\0V__class__\nNs."
    assert walk(b"}\x94" + later)[0].limited
    assert walk(b"cm\nf\n)\x81\x94" + later)[0].beyond


def test_a_name_of_a_line_without_bound_is_limited() -> None:
    found, position = walk(b"c" + b"m" * (LINE_KEPT + 1) + b"\nx\n.")
    assert found.limited
    assert position == LINE_KEPT + 3


def test_opcodes_and_protocol_are_counted() -> None:
    found, _ = walk(b"\x80\2\x80\4\x80\3N\x85.rest")
    assert (found.opcodes, found.protocol) == (6, 4)
    long = pickle.dumps(list(range(100_000)), 2)
    assert walk(long)[0].opcodes > 100_000


# -- the cursor


def sources(data: bytes) -> Iterator[Cursor]:
    """Give cursors on the same bytes: read whole, byte by byte, with a seek, from a real file."""
    yield Cursor(io.BytesIO(data).read)
    slow = io.BytesIO(data)
    yield Cursor(lambda _: slow.read(1))
    seekable = io.BytesIO(data)

    def seek(size: int) -> int:
        start = seekable.tell()
        return seekable.seek(min(start + size, len(data))) - start

    yield Cursor(seekable.read, seek)
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.seek(0)
        yield Cursor(file.read)


def test_a_cursor_gives_the_bytes_in_order_however_they_are_asked_for() -> None:
    chance = random.Random(3)
    data = bytes(chance.choice(b"ab\n") for _ in range(1000)) + b"x" * 150_000 + b"\nend"
    for cursor in sources(data):
        at = 0
        while at < len(data) - 4:
            assert cursor.position == at
            way, size = chance.randrange(4), chance.choice([0, 1, 5, 300, 70_000])
            if way == 0:
                size = min(size, 1 << 16)
                assert cursor.peek(size) == data[at : at + size]
            elif way == 1 and at + size <= len(data):
                assert cursor.take(size) == data[at : at + size]
                at += size
            elif way == 2 and at + size <= len(data):
                cursor.skip(size)
                at += size
            elif way == 3 and (end := data.find(b"\n", at)) >= 0:
                assert cursor.line() == data[at:end][: LINE_KEPT + 1]
                at = end + 1


def test_a_cursor_tells_when_the_input_ends() -> None:
    for cursor in sources(b"abc"):
        assert cursor.take(2) == b"ab"
        assert cursor.peek(5) == b"c"
        with pytest.raises(EndOfInput):
            cursor.take(2)
        with pytest.raises(EndOfInput):
            cursor.line()
        assert cursor.take(1) == b"c"
        with pytest.raises(EndOfInput):
            cursor.skip(1)


def test_a_cursor_that_can_skip_does_not_read_what_it_passes_over() -> None:
    asked = 0
    file = io.BytesIO(b"a" + bytes(10_000_000) + b"z")

    def read(size: int) -> bytes:
        nonlocal asked
        asked += size
        return file.read(size)

    def skip(size: int) -> int:
        return file.seek(size, io.SEEK_CUR) and size

    cursor = Cursor(read, skip)
    assert cursor.take(1) == b"a"
    cursor.skip(10_000_000)
    assert cursor.take(1) == b"z"
    assert asked < 1_000_000
