"""Compressed layers around a pickle."""

import bz2
import gzip
import io
import lzma
import pickle
import struct
import sys
import zlib
from collections.abc import Callable
from contextlib import suppress
from random import Random
from typing import Any

import numpy as np
import pytest

from pickleseal import Key, Keyring, Suite, signed_dumps
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
    DAMAGE,
    PACKERS,
    PLAIN,
    Memory,
    alone,
    ended,
    headed,
    listed,
    lz4_frame,
    names,
    packers,
    seen,
    zipped,
)

# --- compressed layers -----------------------------------------------------------------------


@packers
def test_a_compressed_pickle_is_seen(packer: str) -> None:
    contents = seen(PACKERS[packer](PLAIN))
    assert contents.kind == f"{packer} > pickle, protocol 4"
    assert (contents.grade, contents.reasons) == (Grade.DATA, ())


NOT_CHECKED = "a sealed file inside a container: its seal was not checked"
SEALED = signed_dumps([1], keyring=Keyring(Key.generate(Suite.BLAKE3)))


@packers
@pytest.mark.parametrize("name", ["it.pkl.gz", "it"])
def test_a_compressed_sealed_file_is_told_as_what_it_is(packer: str, name: str) -> None:
    for data in (SEALED, SEALED * 2):
        contents = look(Memory(PACKERS[packer](data)), name=name)
        assert contents is not None
        assert contents.kind == f"{packer} > sealed file"
        assert (contents.grade, contents.pickles) == (Grade.UNKNOWN, 0)
        assert contents.reasons == (NOT_CHECKED,)


def test_a_sealed_file_in_an_archive_takes_nothing_back_of_what_lies_beside_it() -> None:
    for beside, grade in ((PLAIN, Grade.UNKNOWN), (ARMED_4, Grade.BEYOND)):
        contents = seen(zipped({"sealed.pkl": SEALED, "plain.pkl": beside}))
        assert contents.grade is grade
        assert f"sealed.pkl: {NOT_CHECKED}" in contents.reasons
    assert look(Memory(SEALED[:8] + PLAIN), name="it") is None


@packers
def test_a_compressed_text_is_none_unless_it_is_named_like_a_pickle(packer: str) -> None:
    data = PACKERS[packer](b"some text\n" * 9000)
    assert look(Memory(data), name="text.gz") is None
    assert seen(data, "text.pkl.gz").grade is Grade.CANNOT_TELL


@packers
def test_what_follows_a_layer_cannot_be_told(packer: str) -> None:
    packed = PACKERS[packer](PLAIN)
    assert seen(packed + bytes(20)).grade is Grade.DATA
    assert seen(packed + b"\x01spare").grade is Grade.CANNOT_TELL
    assert seen(packed + b"\x01" + ARMED_4).grade is Grade.BEYOND


@packers
def test_layers_are_followed_and_a_depth_that_is_too_great_is_said(packer: str) -> None:
    data = ARMED_4
    for depth in range(1, views.MAX_DEPTH + 2):
        data = PACKERS[packer](data)
        contents = seen(data)
        if depth <= views.MAX_DEPTH:
            assert contents.grade is Grade.BEYOND
            assert contents.kind.count(packer) == depth
    assert contents.grade >= Grade.CANNOT_TELL
    assert contents.reasons


@packers
def test_a_layer_that_is_cut_off_is_looked_at_as_far_as_it_goes(packer: str) -> None:
    noise = np.random.default_rng(0).bytes(400_000)
    data = PACKERS[packer](ARMED_4[:-1] + b"0" + pickle.dumps(noise, 4))
    contents = seen(data[: len(data) - 300_000])
    assert "os.mkdir" in names(contents)
    assert contents.grade is Grade.BEYOND


@packers
def test_a_wrong_checksum_hides_nothing(packer: str) -> None:
    data = bytearray(PACKERS[packer](ARMED_4))
    for at in range(len(data) - 12, len(data)):
        data[at] ^= 0x55
    contents = look(Memory(bytes(data)), name="model.pkl")
    assert contents is not None
    if packer in ("zlib", "gzip", "zstd"):  # the others' last bytes are not all a checksum
        assert "os.mkdir" in names(contents)


@pytest.mark.parametrize("packer", ["gzip", "bz2", "xz", "zstd", "lz4"])
def test_streams_one_behind_the_other_are_one(packer: str) -> None:
    pack = PACKERS[packer]
    contents = seen(pack(PLAIN[:99]) + pack(PLAIN[99:]) + pack(ARMED))
    assert contents.pickles == 2
    assert "os.mkdir" in names(contents)


@pytest.mark.parametrize("packer", ["gzip", "xz", "lzma"])
@pytest.mark.parametrize("cut", [0, 3, 99])
def test_a_stream_behind_zeros_is_not_followed_and_cannot_be_told(packer: str, cut: int) -> None:
    pack = PACKERS[packer]
    for zeros in (18, 36, 18 * 5_000):
        contents = seen(pack(PLAIN[:cut]) + bytes(zeros) + pack(PLAIN[cut:]))
        assert contents.grade is Grade.CANNOT_TELL
        assert any(layers.NOT_FOLLOWED in reason for reason in contents.reasons)
    for end in (b"", b"text"):
        assert look(Memory(pack(b"text\n") + bytes(18_000) + end)) is None


def test_the_optional_fields_of_a_gzip_are_passed_over() -> None:
    inner = gzip.compress(PLAIN)
    head = b"\x1f\x8b\x08" + bytes([2 | 4 | 8 | 16]) + inner[4:10]
    data = head + b"\x03\0abc" + b"a name" * 40_000 + b"\0" + b"a comment\0" + b"\0\0" + inner[10:]
    assert seen(data).kind == "gzip > pickle, protocol 4"


def lzip(data: bytes) -> bytes:
    coder = {"id": lzma.FILTER_LZMA1, "dict_size": 1 << 16}
    packer = lzma.LZMACompressor(lzma.FORMAT_RAW, filters=[coder])
    packed = packer.compress(data) + packer.flush()
    sizes = struct.pack("<IQQ", zlib.crc32(data), len(data), len(packed) + 26)
    return b"LZIP\x01\x10" + packed + sizes


AUTO: dict[str, Callable[[bytes], bytes]] = {"xz": lzma.compress, "lzma": alone}


@pytest.mark.parametrize("first", AUTO)
@pytest.mark.parametrize("second", AUTO)
def test_what_lzma_opens_may_change_from_stream_to_stream(first: str, second: str) -> None:
    for cut in (0, 4, len(ARMED)):
        data = AUTO[first](ARMED[:cut]) + AUTO[second](ARMED[cut:]) + AUTO[first](PLAIN)
        contents = seen(data)
        assert contents.pickles == 2
        assert {"os.mkdir", "numpy.ndarray"} <= names(contents)


@pytest.mark.parametrize("data", [ARMED, PLAIN, b""])
@pytest.mark.parametrize("first", [lzma.compress(b""), lzma.compress(PLAIN), b""])
def test_lzip_is_not_followed_and_cannot_be_told(data: bytes, first: bytes) -> None:
    contents = seen(first + lzip(data))
    assert contents.grade is Grade.CANNOT_TELL
    assert any(layers.NOT_FOLLOWED in reason for reason in contents.reasons)


def test_a_text_about_lzip_is_no_finding() -> None:
    assert look(Memory(b"LZIP is a format.\n")) is None


@pytest.mark.parametrize("zeros", [18, 36, 18_000, 400_014])
@pytest.mark.parametrize("properties", [{}, {"lc": 0, "lp": 0, "pb": 0, "dict_size": 1 << 16}])
def test_zeros_that_lzma_takes_for_streams_cannot_be_told(
    zeros: int, properties: dict[str, int]
) -> None:
    coder = {"id": lzma.FILTER_LZMA1, **(properties or {"preset": 6})}
    packed = lzma.compress(ARMED, lzma.FORMAT_ALONE, filters=[coder])
    for first in (b"", lzma.compress(b""), lzma.compress(ARMED[:0])):
        data = first + bytes(zeros) + packed
        assert lzma.decompress(data) == ARMED
        assert seen(data).grade is Grade.CANNOT_TELL


@pytest.mark.parametrize("packer", ["gzip", "bz2", "xz", "lzma", "zstd", "lz4"])
def test_streams_that_hold_nothing_hide_none_behind_them(packer: str) -> None:
    pack = PACKERS[packer]
    assert "os.mkdir" in names(seen(pack(b"") * 3 + pack(ARMED)))


@pytest.mark.parametrize("packer", ["zstd", "lz4"])
def test_frames_that_readers_pass_over_hide_none_behind_them(packer: str) -> None:
    pack = PACKERS[packer]
    spare = b"\x5a\x2a\x4d\x18" + struct.pack("<I", 5) + b"spare"
    contents = seen(pack(b"") + spare + pack(ARMED[:4]) + spare * 2 + pack(ARMED[4:]))
    assert contents.kind == f"{packer} > pickle, protocol 0"
    assert "os.mkdir" in names(contents)
    assert seen(spare * 2 + pack(ARMED)).grade >= Grade.CANNOT_TELL


def zstd_of_2016(data: bytes) -> bytes:
    """Pack as zstd 0.7 did, which some builds of libzstd open."""
    size = len(data).to_bytes(3, "big")
    block = bytes([0x40 | size[0]]) + size[1:] + data
    return b"\x27\xb5\x2f\xfd\x20" + bytes([len(data)]) + block + b"\xc0\0\0"


def test_zstd_that_only_some_readers_open_cannot_be_told() -> None:
    trained = zstd.train_dict([ARMED + b"%d" % number for number in range(2000)], 2000)
    old = zstd_of_2016(ARMED)
    member = bytearray(headed(b"m", old) + ended(listed(b"m", old, 0), 31 + len(old), 1))
    member[8] = member[31 + len(old) + 10] = 93
    packed = zstd.compress(ARMED, zstd_dict=trained)
    for data in (old, zstd.compress(b"") + old, packed, bytes(member)):
        contents = seen(data)
        assert contents.grade is Grade.CANNOT_TELL
        assert any(layers.NOT_FOLLOWED in reason for reason in contents.reasons)


def test_zstd_behind_a_frame_that_is_passed_over_needs_no_lz4(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in ("lz4", "lz4.frame"):
        monkeypatch.setitem(sys.modules, module, None)
    contents = seen(b"\x50\x2a\x4d\x18\0\0\0\0" + zstd.compress(PLAIN))
    assert (contents.grade, contents.reasons) == (Grade.DATA, ())


@pytest.mark.parametrize("dictionary", [1, 3, 1 << 12, 1 << 29, 3 << 30, 0xFFFFFFFF])
def test_a_dictionary_of_any_size_is_decoded_with(dictionary: int) -> None:
    data = bytearray(alone(ARMED))
    data[1:5] = struct.pack("<I", dictionary)
    assert lzma.decompress(bytes(data)) == ARMED
    assert "os.mkdir" in names(seen(bytes(data)))


@pytest.mark.parametrize("dress", ["bare", "zip"])
def test_what_takes_too_much_memory_is_unreadable_and_not_damaged(
    dress: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layers, "_MEMORY", 1 << 20)
    data = lzma.compress(ARMED)
    contents = seen(zipped({"a": data}) if dress == "zip" else data)
    assert contents.grade is Grade.CANNOT_TELL
    assert any(layers.TOO_LARGE in reason for reason in contents.reasons)


def test_a_dictionary_that_is_too_large_and_needed_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    noise = np.random.default_rng(0).bytes(300_000)
    data = pickle.dumps(noise + noise, 4)
    packed = lzma.compress(
        data, lzma.FORMAT_ALONE, filters=[{"id": lzma.FILTER_LZMA1, "dict_size": 1 << 20}]
    )
    monkeypatch.setattr(layers, "_MEMORY", 1 << 16)
    contents = seen(packed)
    assert contents.grade is Grade.CANNOT_TELL
    assert any(layers.TOO_LARGE in reason for reason in contents.reasons)


def test_lz4_that_is_not_installed_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    data = lz4_frame(PLAIN)
    for module in ("lz4", "lz4.frame"):
        monkeypatch.setitem(sys.modules, module, None)
    contents = seen(data)
    assert contents.grade is Grade.CANNOT_TELL
    assert any("pickleseal[audit]" in reason for reason in contents.reasons)


def expanded(packer: str, data: bytes) -> layers.Expanded:
    (layer,) = layers.layers_of(data[:64])
    assert layer.name == packer
    return layers.Expanded(views.Whole(Memory(data)), 0, layer, views.Bounds(len(data)))


@packers
def test_a_layer_can_be_read_at_any_offset(packer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers, "_KEPT", views.LONGEST + views.CHUNK)
    random = Random(1)
    data = b"".join(bytes([i]) * 999 + random.randbytes(9) for i in range(250)) * 20
    view = expanded(packer, PACKERS[packer](data))
    for _ in range(30):
        offset = random.randrange(len(data))
        size = random.choice((1, 500, views.LONGEST))
        assert view.read(offset, size) == data[offset : offset + size]
    assert view.reach(views.FAR) == len(data)
    assert view.reach(7) == 7
    assert view.read(len(data), 9) == b""


@pytest.mark.parametrize("packer", ["gzip", "bz2", "xz", "zstd"])
def test_what_a_reader_is_handed_before_damage_is_handed_out(packer: str) -> None:
    text = "".join(f"{Random(i).random()}\n" for i in range(8_000)).encode()
    packed = PACKERS[packer](text)
    opener: Any = {"gzip": gzip.open, "bz2": bz2.open, "xz": lzma.open, "zstd": zstd.open}[packer]
    for share in (0.3, 0.8, 0.999):
        data = bytearray(packed)
        at = int(len(data) * share)
        data[at : at + 8] = b"\xff" * 8
        handed = bytearray()
        with opener(io.BytesIO(bytes(data))) as file, suppress(*DAMAGE):
            while piece := file.read1(100):
                handed += piece
        view = expanded(packer, bytes(data))
        size = view.reach(views.FAR)
        assert size >= len(handed) - 1  # the byte that the damage was told with
        assert handed.startswith(view.read(0, min(size, len(handed))))


def test_damage_is_come_upon_in_few_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    data = bytearray(gzip.compress(b"".join(b"%d\n" % i for i in range(100_000))))
    data[150_000:150_020] = b"\xff" * 20
    view = expanded("gzip", bytes(data))
    calls = 0
    decode = layers._Inflate.decompress

    def counting(self: Any, data: bytes, max_length: int) -> bytes:
        nonlocal calls
        calls += 1
        return decode(self, data, max_length)

    monkeypatch.setattr(layers._Inflate, "decompress", counting)
    view.reach(views.FAR)
    assert calls < 2_000
