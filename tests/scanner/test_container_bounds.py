"""Damaged and hostile containers: nothing raises, and every bound holds."""

import bz2
import gzip
import lzma
import os
import pickle
import struct
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import numpy as np
import pytest

from pickleseal.scanner.containers import layers, views
from pickleseal.scanner.containers.contents import look
from pickleseal.scanner.grade import Grade

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd
from packing import (
    ARMED,
    ARMED_4,
    MODEL,
    ODD,
    PACKERS,
    PLAIN,
    Memory,
    bounded,
    dumped,
    ended,
    headed,
    listed,
    packers,
    saved,
    seen,
    tarred,
    zipped,
)

# --- damage ----------------------------------------------------------------------------------


def test_damage_of_any_kind_raises_nothing() -> None:
    random = Random(0)
    samples = [
        PLAIN,
        dumped(MODEL),
        saved(ODD),
        tarred({"a.pkl": PLAIN, "b" * 150: ARMED}),
        *(zipped({"a.pkl": PLAIN, "b": saved(ODD)}, method) for method in (0, 8, 12, 14)),
        *(PACKERS[packer](PLAIN) for packer in PACKERS if packer != "lz4"),
    ]
    seen_anyway = 0
    for sample in samples * 20:
        data = bytearray(sample)
        for _ in range(random.choice((1, 3, 20))):
            at = random.randrange(len(data))
            data[at : at + random.randrange(3)] = random.randbytes(random.randrange(1, 4))
        seen_anyway += look(Memory(bytes(data)), name="x.pkl") is not None
    assert seen_anyway > len(samples)


# --- bounds ----------------------------------------------------------------------------------


def chunks_of_zeros(count: int) -> Iterator[bytes]:
    yield b"\x80\x04\x8e" + (1 << 50).to_bytes(8, "little")
    for _ in range(count):
        yield bytes(1 << 20)


def bomb(packer: str, mebibytes: int) -> bytes:
    """Pack a pickle that begins with so many zeros, without holding them."""
    chunks = chunks_of_zeros(mebibytes)
    compressor: Any
    if packer == "lz4":
        frame = pytest.importorskip("lz4.frame")
        compressor = frame.LZ4FrameCompressor(block_size=frame.BLOCKSIZE_MAX4MB)
        packed = [compressor.begin(), *map(compressor.compress, chunks)]
    else:
        makers: dict[str, Callable[[], Any]] = {
            "zlib": zlib.compressobj,
            "gzip": lambda: zlib.compressobj(wbits=31),
            "bz2": bz2.BZ2Compressor,
            "lzma": lambda: lzma.LZMACompressor(lzma.FORMAT_ALONE, preset=0),
            "xz": lambda: lzma.LZMACompressor(preset=0),
            "zstd": zstd.ZstdCompressor,
        }
        compressor = makers[packer]()
        packed = [compressor.compress(chunk) for chunk in chunks]
    return b"".join([*packed, compressor.flush()])


@packers
def test_a_bomb_is_left_at_a_bound_that_is_said(
    packer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bounded(monkeypatch, 3 << 20)
    contents = seen(bomb(packer, 8))
    assert contents.grade is Grade.CANNOT_TELL
    assert any("steps" in reason for reason in contents.reasons)


@pytest.mark.sweep
@packers
def test_a_large_bomb_is_left_at_the_bound(packer: str) -> None:
    contents = seen(bomb(packer, 2100))
    assert contents.grade is Grade.CANNOT_TELL
    assert any("steps" in reason for reason in contents.reasons)


def test_what_was_found_before_a_bound_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    bounded(monkeypatch, 1 << 20)
    data = zipped({"a": ARMED_4, "b": b"\x80\x04\x8e" + b"\0\0\0\1\0\0\0\0" + bytes(9 << 20)}, 8)
    contents = seen(data)
    assert contents.grade is Grade.BEYOND
    assert any("steps" in reason for reason in contents.reasons)


def test_the_layers_of_a_file_share_one_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    bounded(monkeypatch, 1 << 20)
    member = pickle.dumps([bytes(100) for _ in range(4000)], 4)
    data = zipped({f"{i}.pkl": member for i in range(20)}, zipfile.ZIP_DEFLATED)
    assert seen(data).grade is Grade.CANNOT_TELL


def test_damage_that_many_members_share_costs_no_more_than_the_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls = 0

    class Counting(layers._Inflate):
        def decompress(self, data: bytes, max_length: int) -> bytes:
            nonlocal calls
            calls += 1
            return super().decompress(data, max_length)

    monkeypatch.setattr(layers, "_Inflate", Counting)
    bounded(monkeypatch, 4 << 20)
    packer = zlib.compressobj(9, wbits=-15)
    packed = packer.compress(b"B" + struct.pack("<I", 70_000) + b"x" * 60_000)
    packed += packer.flush(zlib.Z_FULL_FLUSH) + b"\x07" + b"\xff" * 70_000
    body = bytearray(headed(b"00000", packed))
    body[8] = 8
    entries = bytearray()
    for number in range(500):
        entry = bytearray(listed(b"%05d" % number, packed, 0))
        entry[10] = 8
        entries += entry
    memory = Memory(bytes(body) + ended(bytes(entries), len(body), 500))
    contents = look(memory)
    assert contents is not None
    assert contents.grade is Grade.CANNOT_TELL
    assert any("steps" in reason for reason in contents.reasons)
    assert calls <= (4 << 20) // 1024
    assert memory.total < 6 << 20


def test_members_that_overlap_cost_no_more_than_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    bounded(monkeypatch, 4 << 20)
    data = zipped({"x": pickle.dumps([str(i) for i in range(20_000)], 4)})
    start = data.rfind(b"PK\x01\x02")
    end = data.rfind(b"PK\x05\x06")
    entry = data[start:end]
    many = b"".join(entry[:-1] + bytes([i]) for i in range(65, 115))
    tail = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 50, 50, len(many), start, 0)
    memory = Memory(data[:start] + many + tail)
    contents = look(memory)
    assert contents is not None
    assert any("steps" in reason for reason in contents.reasons)
    assert memory.total < 6 << 20


def test_a_zip_whose_members_overlap_is_not_looked_at_for_long() -> None:
    data = zipped({"x": pickle.dumps([str(i) for i in range(3000)], 4)}, zipfile.ZIP_DEFLATED)
    start, end = data.rfind(b"PK\x01\x02"), data.rfind(b"PK\x05\x06")
    entries = bytearray()
    for number in range(30_000):
        entry = bytearray(data[start:end] + b"%05d" % number)
        entry[28:30] = (len(b"x") and 1).to_bytes(2, "little")
        entry[32:34] = (5).to_bytes(2, "little")  # as a comment, so that entries differ
        entry[12:16] = number.to_bytes(4, "little")
        entries += entry
    tail = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 30_000, 30_000, len(entries), start, 0)
    entries[46:47] = b"x"
    contents = look(Memory(data[:start] + bytes(entries) + tail))
    assert contents is not None
    assert contents.pickles < 300


def test_more_members_than_the_bound_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views, "MAX_MEMBERS", 20)
    for data in (
        zipped({f"{i}": b"text" for i in range(30)}),
        tarred({f"{i}": b"text" for i in range(30)}),
        pickle.dumps([1, 2], 4) * 30,
        b"".join(gzip.compress(b"") for _ in range(30)),
    ):
        assert seen(data).grade is Grade.CANNOT_TELL


def test_more_opcodes_than_the_bound_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    bounded(monkeypatch, 1000 * 32)
    assert seen(pickle.dumps(list(range(300)), 4) * 9).grade is Grade.CANNOT_TELL


def test_more_names_than_the_bound_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views, "MAX_NAMES", 50)
    alike = zipped({f"{i}": PLAIN for i in range(40)})
    assert seen(alike).grade is Grade.DATA
    unlike = zipped({f"{i}": b"cnumpy\nname_%d\n)R." % i for i in range(70)})
    contents = seen(unlike)
    assert len(contents.names) < 60
    assert any("50" in reason for reason in contents.reasons)


def test_reasons_of_a_file_are_not_without_end() -> None:
    contents = seen(zipped({f"{i}.pkl": b"\x01\xff" * 9 for i in range(300)}))
    assert contents.grade is Grade.CANNOT_TELL
    assert len(contents.reasons) < 100


def test_a_file_is_read_in_small_pieces_and_its_arrays_are_passed_over() -> None:
    memory = Memory(pickle.dumps([np.zeros(4_000_000), "x"], 4))
    contents = look(memory)
    assert contents is not None
    assert contents.grade is Grade.DATA
    assert memory.most <= views.LONGEST
    assert memory.total < 1 << 20


def test_the_pieces_of_a_layer_are_small_too() -> None:
    data = gzip.compress(pickle.dumps([os.urandom(3_000_000), "x"], 4), 1)
    memory = Memory(data)
    contents = look(memory)
    assert contents is not None
    assert contents.grade is Grade.DATA
    assert memory.most <= views.LONGEST


def test_a_file_that_shrinks_meanwhile_is_unreadable() -> None:
    memory = Memory(PLAIN[:500])
    memory.size = len(PLAIN)
    contents = look(memory)
    assert contents is not None
    assert contents.grade is Grade.CANNOT_TELL
