"""The walk over opcodes, compared with CPython's unpicklers."""

import io
import json
import pickle
import random
import subprocess
import sys
from pathlib import Path

import pytest
from walking import MISFIT, TRUTH, hold_against_truth, names, ordinary, truth, uses, walk

from pickleseal.scanner.machine.cursor import Cursor
from pickleseal.scanner.machine.trace import Use, trace

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


def made_up(chance: random.Random) -> bytes:
    """Return a random stream of opcodes."""
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
    """Return a pickle with some random changes."""
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
