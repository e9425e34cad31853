"""The walk over a pickle's opcodes, held against CPython's own pickletools."""

import pickle
import pickletools
import tracemalloc
from typing import Any

import numpy as np
import pytest

from pickleseal import MalformedError
from pickleseal.pickling import opcodes

OBJECTS: list[Any] = [
    None,
    [True, False, 0, 1, -1, 255, 256, 65_536, 1 << 31, 1 << 70, -(1 << 3000)],
    [1.5, 2j, "", "text", "t\u00e9xt\n", "long" * 100, "very long" * 20_000],
    [b"", b"bytes", b"many" * 100, b"very many" * 20_000, bytearray(b"array")],
    [(), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), {}, {1: 2}, set(), {1}, frozenset([1])],
    [[number] for number in range(1000)],
    [ValueError("a"), len, type, ..., "ab".upper],
    np.arange(10.0),
]


def own(stream: bytes) -> list[tuple[int, int]]:
    return [(code, start) for code, start, _ in opcodes.walk(memoryview(stream))]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("obj", OBJECTS, ids=range(len(OBJECTS)))
def test_the_walk_finds_the_opcodes_that_pickletools_finds(obj: Any, protocol: int) -> None:
    stream = pickle.dumps(obj, protocol)
    theirs = [(ord(code.code), start) for code, _, start in pickletools.genops(stream)]
    assert own(stream) == theirs


def test_the_walk_knows_each_opcode() -> None:
    for opcode in pickletools.opcodes:
        code = opcode.code.encode("latin-1")
        first = next(opcodes.walk(memoryview(code + bytes(8) + b"\n\n")))
        assert first.code == code[0]


def test_a_byte_that_is_no_opcode_is_malformed() -> None:
    known = {ord(opcode.code) for opcode in pickletools.opcodes}
    for code in set(range(256)) - known:
        with pytest.raises(MalformedError):
            own(b"N" + bytes([code]))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_stream_cut_inside_an_opcode_is_malformed(protocol: int) -> None:
    stream = pickle.dumps(["text", b"bytes", 1 << 70, 2.5, len], protocol)
    whole = set(range(len(stream))) & {start for _, start in own(stream)}
    for size in range(1, len(stream)):
        if size in whole:
            assert own(stream[:size])
        else:
            with pytest.raises(MalformedError):
                own(stream[:size])


def test_a_length_past_the_end_is_malformed_and_takes_no_memory() -> None:
    for start in (b"X\xff\xff\xff\xff", b"\x8d" + b"\xff" * 8, b"\x96" + b"\xff" * 8, b"C\xff"):
        with pytest.raises(MalformedError):
            own(start + b"short")


@pytest.mark.parametrize("protocol", range(4))
def test_names_of_an_old_stream_are_found_as_it_spells_them(protocol: int) -> None:
    names = opcodes.global_names(memoryview(pickle.dumps([range, len], protocol)))
    module = "__builtin__" if protocol < 3 else "builtins"
    assert names == {(module, "xrange" if protocol < 3 else "range"), (module, "len")}


def test_the_names_of_instances_of_the_oldest_protocol_are_found() -> None:
    names = opcodes.global_names(memoryview(b"(i__main__\nPoint\n."))
    assert names == {("__main__", "Point")}


def test_a_name_of_protocol_4_is_malformed_in_a_stream_of_an_older_one() -> None:
    stream = pickle.dumps(range, 4).replace(b"\x80\x04", b"\x80\x02")
    with pytest.raises(MalformedError):
        opcodes.global_names(memoryview(stream))


def parts_of(obj: Any) -> tuple[memoryview, list[memoryview]]:
    buffers: list[pickle.PickleBuffer] = []
    stream = pickle.dumps(obj, 5, buffer_callback=buffers.append)
    return memoryview(stream), [buffer.raw() for buffer in buffers]


def test_buffers_put_back_make_a_plain_pickle() -> None:
    frozen = np.arange(50.0)
    frozen.flags.writeable = False
    obj: list[Any] = [
        np.arange(10.0),
        frozen,
        {"a": np.zeros(0)},
        "text" * 30_000,
        np.ones((3, 4)).T,
    ]
    stream, buffers = parts_of(obj)
    plain = opcodes.put_back(stream, buffers)
    own(plain)
    loaded = pickle.loads(plain)
    for number in (0, 1, 4):
        np.testing.assert_array_equal(loaded[number], obj[number])
        assert loaded[number].flags.writeable == obj[number].flags.writeable
    assert loaded[2]["a"].shape == (0,)
    assert loaded[3] == obj[3]


def test_putting_buffers_back_takes_little_more_memory_than_the_result() -> None:
    stream, buffers = parts_of([[(number,) for number in range(100_000)], np.zeros(9)])
    tracemalloc.start()
    try:
        plain = opcodes.put_back(stream, buffers)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2 * len(plain)


def test_the_protocol_of_a_stream_stands_at_its_beginning() -> None:
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        announced = protocol if protocol > 1 else 0
        assert opcodes.protocol_of(pickle.dumps([1], protocol)) == announced
    for start in (b"", b"\x80", b"N\x80\x04"):
        assert opcodes.protocol_of(start) == 0


def test_a_stream_without_buffers_is_returned_as_it_is() -> None:
    stream = pickle.dumps(OBJECTS, 5)
    assert opcodes.put_back(memoryview(stream), []) == stream


def test_buffers_that_do_not_fit_the_stream_are_malformed() -> None:
    stream, buffers = parts_of([np.arange(10.0), np.arange(5.0)])
    for wrong in (buffers[:1], [*buffers, memoryview(b"")]):
        with pytest.raises(MalformedError):
            opcodes.put_back(stream, wrong)
