"""What one stream may cost, and the cursor that reads it."""

import io
import pickle
import random
import tempfile
import tracemalloc
from collections.abc import Iterator

import numpy as np
import pytest
from walking import names, walk

from pickleseal.scanner.machine import memo, record, stack
from pickleseal.scanner.machine import trace as machine
from pickleseal.scanner.machine.cursor import LINE_KEPT, Cursor, EndOfInput

# -- bounds


def test_bounds_are_told_apart_from_breaks(monkeypatch: pytest.MonkeyPatch) -> None:
    for bound, stream in [
        ("MAX_OPCODES", b"N0" * 50_000 + b"N."),
        ("MAX_HELD", b"(" + b"N" * 100_000 + b"l."),
        ("MAX_HELD", b"(" * 100_000 + b"N."),
        ("MAX_HELD", b"N" + b"\x94" * 100_000 + b"."),
        ("MAX_NAMES", b"".join(b"cm\nn%d\n0" % n for n in range(2000)) + b"N."),
        ("MAX_FIELDS", pickle.dumps([np.dtype([(f"f{n}", "u1")] * (n > 0)) for n in range(1100)])),
    ]:
        assert not walk(stream)[0].limited
        with monkeypatch.context() as patch:
            patch.setattr(record if bound in ("MAX_NAMES", "MAX_FIELDS") else stack, bound, 1000)
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
    stream = b"\x80\4" + (item + put) * 30 + b"."
    tracemalloc.start()
    try:
        assert walk(stream)[0].ended
        assert tracemalloc.get_traced_memory()[1] < 500_000
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
    """Yield cursors on the same bytes: read whole, byte by byte, with a seek, from a real file."""
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
