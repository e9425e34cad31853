"""What a file holds, in every dress that pickles are found in, and within bounds."""

import bz2
import gzip
import io
import lzma
import os
import pickle
import struct
import sys
import sysconfig
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import joblib
import joblib.numpy_pickle
import numpy as np
import pytest

from pickleseal import (
    Key,
    Keyring,
    Suite,
    signed_dumps,
)
from pickleseal.files.regular import RegularFile
from pickleseal.scanner.containers import archives, layers, views
from pickleseal.scanner.containers.contents import look
from pickleseal.scanner.grade import Contents, Grade

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

ODD = np.array(["x", 1], dtype=object)
MODEL = {"weights": np.arange(100.0), "labels": ["a", "b"], "odd": ODD}
PLAIN = pickle.dumps(MODEL, 4)
ARMED = b"cos\nmkdir\n(S'pickleseal-was-here'\ntR."
ARMED_4 = b"\x80\x04\x8c\x02os\x8c\x05mkdir\x93\x8c\x14pickleseal-was-here!\x85R."
TEXTS = [
    b"N.",
    b"cat\ndog\n",
    b"cat\ncow\ncub\ncup\nVery\n",
    b"I am here, and you are not.",
    b"Vacations\n",
    b"config.h\nconfig.c\nMakefile\n",
    b"(c) 2024 Nobody\nAll rights reserved\n",
    b"import os\nos.getpid()\n",
    b"a,b,c\n1,2,3\n",
    b'{"a": 1}\n',
    b"x^2 + y^2\n",
    b"BZ and so on\n",
    b"PK\n",
    b"\xef\xbb\xbf# title\n",
]
ODD_TEXTS = [
    b"N.N.N.\n",
    b"cat\ndog\ncow\npig\nape\n",
    b"cat\ndog\ncow\npig\nbear\n",
    b"(i) one\n(ii) two\n(iii) three\n(iv) four\n(v) five\n",
    b"(in brief,\nas it were)\n",
    b"c\nc     an old comment.\n" * 40 + b"      end\n",
    b"".join(b"com.example.Name%d\n" % i for i in range(600)),
    b"column," * 300 + b"\n1,2\n",
    b"cat\n" + b"a long line, " * 300 + b"\n",
    b"checksum\n" + b"0123456789abcdef" * 300 + b"\n",
    b"(p" + b"=>a" * 30_000 + b"\n",
    b"(globalThis.a=" + b"(a)" * 30_000 + b"\n",
    b"g" + b"(a)" * 30_000 + b"\n",
]
BINARIES = [
    b"\x7fELF\x02\x01\x01" + bytes(60),
    b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(40),
    b"\x89HDF\r\n\x1a\n" + bytes(80),
    b"PAR1\x15\x04" + bytes(40) + b"PAR1",
    b"GGUF\x03\0\0\0" + bytes(40),
    b"\xff\xd8\xff\xe0\0\x10JFIF" + bytes(40),
    b"GIF89a\x01\0\x01\0\x80\0\0\xff\xff\xff\0\0\0,\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;",
    b"\x40\0\0\0\0\0\0\0" + b'{"weight":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}     ',
    b"\x80\x01\x0f\x0a\0\0%!PS-AdobeFont-1.0",
    b"\x08\x07\x12\x07pytorch" + bytes(20),
    bytes(5000),
    bytes(200_000),
    bytes(18) + b"\x01\x02" * 50,
    b"\0\0\0\0\x10" + bytes(13) + b"\x1e\0\0\0'" * 50,
    b"\x88r\x81]\x84]\x80\x02\xd8\0\x02\x87\x0b",
    b"\x82\x07" + bytes(40),
]


class Memory:
    """Bytes to look at, which note the most that was asked for at a time, and how much in all."""

    def __init__(self, data: bytes) -> None:
        self.size = len(data)
        self.most = 0
        self.total = 0
        self._data = data

    def read(self, offset: int, size: int, /) -> bytes:
        self.most = max(self.most, size)
        self.total += size
        return self._data[offset : offset + size]


def seen(data: bytes, name: str = "") -> Contents:
    contents = look(Memory(data), name=name)
    assert contents is not None
    return contents


def names(contents: Contents) -> set[str]:
    return {f"{name.module}.{name.name}" for name in contents.names}


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return file.getvalue()


def tarred(members: dict[str, bytes], mode: str = "w", form: int = tarfile.PAX_FORMAT) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode, format=form) as archive:  # type: ignore[call-overload]
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return file.getvalue()


def saved(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def dumped(value: Any, compress: Any = 0) -> bytes:
    file = io.BytesIO()
    joblib.dump(value, file, compress=compress)
    return file.getvalue()


def alone(data: bytes) -> bytes:
    return lzma.compress(data, lzma.FORMAT_ALONE)


def lz4_frame(data: bytes) -> bytes:
    packed: bytes = pytest.importorskip("lz4.frame").compress(data)
    return packed


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "zlib": zlib.compress,
    "gzip": gzip.compress,
    "bz2": lambda data: bz2.compress(data, 1),
    "lzma": alone,
    "xz": lzma.compress,
    "zstd": zstd.compress,
    "lz4": lz4_frame,
}
DAMAGE = (OSError, EOFError, zlib.error, lzma.LZMAError, zstd.ZstdError)
packers = pytest.mark.parametrize("packer", PACKERS)


# --- pickles, bare ---------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_is_seen_whatever_its_protocol_and_without_any_name(protocol: int) -> None:
    contents = seen(pickle.dumps(MODEL, protocol))
    assert contents.kind == f"pickle, protocol {0 if protocol == 1 else protocol}"
    assert contents.pickles == 1
    assert contents.reasons == ()
    assert "numpy.ndarray" in names(contents)


@pytest.mark.parametrize("value", [[1, 2], {"a": 1}, (1.5, None), ["x"] * 3])
@pytest.mark.parametrize("protocol", [0, 1])
def test_a_small_pickle_that_nothing_announces_is_seen(value: Any, protocol: int) -> None:
    assert seen(pickle.dumps(value, protocol)).grade is Grade.DATA


def test_a_lone_constant_counts_where_the_name_says_so() -> None:
    assert look(Memory(b"I1\n."), name="one.pkl") is not None
    assert look(Memory(b"I1\n."), name="one") is None


@pytest.mark.parametrize("data", TEXTS + ODD_TEXTS + BINARIES)
def test_what_is_no_pickle_is_none(data: bytes) -> None:
    assert look(Memory(data)) is None
    assert look(Memory(data), name="README") is None


def test_random_bytes_are_none() -> None:
    random = Random(3)
    for byte in range(256):
        assert look(Memory(bytes([byte]))) is None
    for _ in range(2000):
        data = random.randbytes(random.choice((3, 60, 900)))
        assert look(Memory(data)) is None
        assert look(Memory(b"\x80" + data)) is None or data[0] < 6


@pytest.mark.parametrize("ending", ["", ".pkl", ".txt"])
def test_nothing_is_none(ending: str) -> None:
    assert look(Memory(b""), name=f"empty{ending}") is None


def test_the_sources_of_the_standard_library_are_none() -> None:
    root = Path(sysconfig.get_path("stdlib"))
    paths = [p for part in ("email", "json", "encodings", "xml") for p in (root / part).rglob("*")]
    paths = [path for path in paths if path.is_file()]
    assert len(paths) > 100
    found = []
    for path in paths:
        with RegularFile(str(path), follow=True) as file:
            if look(file, name=str(path)) is not None:
                found.append(path)
    assert found == []


def test_pickles_one_behind_the_other_are_all_seen() -> None:
    contents = seen(PLAIN + pickle.dumps([1], 2) + ARMED)
    assert contents.pickles == 3
    assert contents.grade is Grade.BEYOND
    assert {"os.mkdir", "numpy.ndarray"} <= names(contents)


def test_what_no_text_could_be_taken_for_counts_if_a_pickle_follows_it() -> None:
    contents = seen(b"N.I1\n." * 20 + ARMED)
    assert contents.pickles == 41
    assert "os.mkdir" in names(contents)


@pytest.mark.parametrize("spare", [b"spare", b"\xff", b"\0" * 9 + b"spare", bytes(range(256))])
def test_bytes_behind_stop_cannot_be_told(spare: bytes) -> None:
    contents = seen(PLAIN + spare)
    assert contents.grade is Grade.CANNOT_TELL
    assert str(len(spare.lstrip(b"\0"))) in contents.reasons[0]


@pytest.mark.parametrize("spare", [b"\0", b"\n", b"\r\n", bytes(100_000)])
def test_padding_behind_stop_is_nothing(spare: bytes) -> None:
    contents = seen(PLAIN + spare)
    assert (contents.grade, contents.reasons) == (Grade.DATA, ())
    contents = seen(PLAIN + spare + ARMED_4)
    assert (contents.grade, contents.pickles) == (Grade.BEYOND, 2)


@pytest.mark.parametrize("packer", ["zlib", "gzip"])
def test_what_a_cache_packs_behind_a_pickle_is_looked_into(packer: str) -> None:
    time = pickle.dumps(1.8e9)
    assert seen(time + PACKERS[packer](PLAIN)).grade is Grade.DATA
    assert seen(time + PACKERS[packer](ARMED_4)).grade is Grade.BEYOND
    assert seen(time + PACKERS[packer](b"text " * 9)).grade is Grade.CANNOT_TELL


def test_bytes_behind_stop_are_the_first_reason_whatever_else_there_is() -> None:
    broken = pickle.dumps({"a": [1, 2]}, 4)[:-1] + b"\xff"
    contents = seen(zipped({"a": broken, "b": PLAIN + b"spare", "c.pkl": b"\x01\xff" * 9}))
    assert contents.grade is Grade.CANNOT_TELL
    assert len(contents.reasons) == 3
    assert str(len(b"spare")) in contents.reasons[0]


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("dress", ["pickle", "joblib", "array", "gzip", "zip"])
def test_a_line_end_behind_stop_is_nothing(dress: str, end: bytes) -> None:
    dresses: dict[str, Callable[[], bytes]] = {
        "pickle": lambda: pickle.dumps([1, 2], 0) + end,
        "joblib": lambda: dumped(MODEL) + end,
        "array": lambda: saved(ODD) + end,
        "gzip": lambda: gzip.compress(PLAIN + end),
        "zip": lambda: zipped({"x": PLAIN + end}),
    }
    contents = seen(dresses[dress]())
    assert (contents.grade, contents.reasons) == (Grade.DATA, ())


def test_a_stream_that_is_unreadable_does_not_hide_one_that_reaches_beyond() -> None:
    for members in ({"a": PLAIN[:300], "b": ARMED}, {"a": ARMED, "b": PLAIN[:300]}):
        assert seen(zipped(members)).grade is Grade.BEYOND


def counted(text: str) -> bytes:
    return b"X" + struct.pack("<I", len(text)) + text.encode()


LONG_NAME = "path.os." * 40 + "mkdir"


@pytest.mark.parametrize(
    "data",
    [
        b"(0\x80\x04cos\n" + LONG_NAME.encode() * 5 + b"\nX\1\0\0\0a\x85R.",
        b"cos\n" + LONG_NAME.encode() * 5 + b"\nX\1\0\0\0a\x85R.",
        b"N0" + counted("os") + counted(LONG_NAME) + b"\x93" + counted("a") + b"\x85R.junk",
        counted("os") + counted("mkdir") + b"N" * 300_000 + b"0" * 300_000 + b"\x93)R.",
        b"(0\x80\x04c_sysconfigdata-gnu\n__builtins__.get\nX\4\0\0\0exec\x85R0junk",
        b"c_sysconfigdata-gnu\nx\n)Rjunk",
        b"cmy weights (1)\nx\nN0N0N0)Rjunk",
        b"(0\x80\x02}q\0(NNs\xff",
        b"\x82\x07)Rjunk",
    ],
)
def test_what_no_text_does_is_seen_whatever_comes_of_it(data: bytes) -> None:
    assert seen(data).grade > Grade.UNKNOWN


@pytest.mark.parametrize("packer", ["zlib", ""])
@pytest.mark.parametrize(
    "start", [b"N0" * 15_100_000, b"N" * 8_100_000 + b"0" * 8_100_000], ids=["opcodes", "held"]
)
@pytest.mark.sweep
def test_what_outlasts_a_walk_is_unreadable(packer: str, start: bytes) -> None:
    data = start + ARMED
    contents = seen(PACKERS[packer](data) if packer else data)
    assert contents.grade >= Grade.CANNOT_TELL
    assert contents.reasons


@pytest.mark.parametrize("start", [b"GIF89a\0\0\0", b"MZ\x90", b"GIF89a.<?"])
@pytest.mark.parametrize("armed", [ARMED, ARMED_4])
def test_a_pickle_behind_the_head_of_another_format_is_seen(start: bytes, armed: bytes) -> None:
    assert "os.mkdir" in names(seen(start + b"0" + armed))


@pytest.mark.parametrize("armed", [ARMED, ARMED_4])
@pytest.mark.parametrize("broken", [b"0\xff\xff\xff", b"Q", b"}"])
def test_a_pickle_that_acts_and_then_breaks_is_seen(armed: bytes, broken: bytes) -> None:
    contents = seen(armed[:-1] + broken)
    assert "os.mkdir" in names(contents)
    assert contents.grade is Grade.BEYOND


@pytest.mark.parametrize("cut", [20, 300, 700])
def test_a_pickle_that_is_cut_off_is_unreadable(cut: int) -> None:
    assert seen(PLAIN[:cut]).grade is Grade.CANNOT_TELL


def test_the_old_format_of_torch_explains_what_follows_its_pickles() -> None:
    magic = pickle.dumps(0x1950A86A20F9469CFC6C, 2)
    parts = [magic, *(pickle.dumps(value, 2) for value in (1001, {"little_endian": True}))]
    data = b"".join([*parts, pickle.dumps({"w": 1}, 2), pickle.dumps(["0"], 2)])
    storages = struct.pack("<q", 9) + b"cos\nmkdir\n" * 30
    contents = seen(data + storages)
    assert (contents.pickles, contents.grade, contents.reasons) == (5, Grade.DATA, ())
    without = seen(data[len(magic) :] + storages)
    assert without.grade is Grade.CANNOT_TELL
    contents = seen(data + ARMED_4)
    assert (contents.pickles, contents.grade) == (6, Grade.BEYOND)


# --- joblib ----------------------------------------------------------------------------------


@pytest.mark.parametrize("compress", [0, *(m for m in PACKERS if m != "zstd")])
def test_what_joblib_dumps_is_seen_with_its_arrays(compress: Any) -> None:
    if compress == "lz4":
        pytest.importorskip("lz4.frame")
    contents = seen(dumped(MODEL, (compress, 3) if compress else 0))
    assert contents.kind == (f"joblib, {compress}" if compress else "joblib")
    assert contents.grade is Grade.DATA
    assert contents.reasons == ()


def test_opcodes_in_the_bytes_of_an_array_count_for_plain_pickle() -> None:
    array = np.frombuffer(ARMED, dtype=np.uint8)
    wrapper = joblib.numpy_pickle.NumpyArrayWrapper(np.ndarray, array.shape, "C", array.dtype)
    del wrapper.numpy_array_alignment_bytes
    stream = pickle.dumps(wrapper, 2)
    data = stream[:-1] + ARMED + b"."
    assert joblib.load(io.BytesIO(data)).tobytes() == ARMED
    contents = seen(data)
    assert contents.kind == "joblib"
    assert contents.grade is Grade.BEYOND
    assert "os.mkdir" in names(contents)


def test_opcodes_behind_an_array_count_for_joblib() -> None:
    data = dumped(np.arange(9.0))
    armed = data[:-1] + ARMED
    contents = seen(armed)
    assert "os.mkdir" in names(contents)
    assert contents.grade is Grade.BEYOND


@pytest.mark.parametrize("space", [b"", b" "])
def test_the_compressed_format_of_old_joblib_is_seen(space: bytes) -> None:
    data = b"ZF" + hex(len(PLAIN)).encode().ljust(19) + space + zlib.compress(PLAIN)
    contents = seen(data)
    assert contents.kind.endswith("pickle, protocol 4")
    assert contents.grade is Grade.DATA


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


def test_zeros_between_the_members_of_a_gzip_are_passed_over() -> None:
    data = gzip.compress(PLAIN[:99]) + bytes(70_000) + gzip.compress(PLAIN[99:])
    assert seen(data).grade is Grade.DATA


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


AUTO: dict[str, Callable[[bytes], bytes]] = {"xz": lzma.compress, "lzma": alone, "lzip": lzip}


@pytest.mark.parametrize("first", AUTO)
@pytest.mark.parametrize("second", AUTO)
def test_what_lzma_opens_may_change_from_stream_to_stream(first: str, second: str) -> None:
    for cut in (0, 4, len(ARMED)):
        data = AUTO[first](ARMED[:cut]) + AUTO[second](ARMED[cut:]) + AUTO[first](PLAIN)
        contents = seen(data)
        assert contents.pickles == 2
        assert {"os.mkdir", "numpy.ndarray"} <= names(contents)


@pytest.mark.parametrize("zeros", [18, 4, 36, 18_000, 400_000])
@pytest.mark.parametrize("properties", [{}, {"lc": 0, "lp": 0, "pb": 0, "dict_size": 1 << 16}])
def test_zeros_around_the_streams_of_lzma_are_passed_over(
    zeros: int, properties: dict[str, int]
) -> None:
    coder = {"id": lzma.FILTER_LZMA1, **(properties or {"preset": 6})}
    packed = lzma.compress(ARMED, lzma.FORMAT_ALONE, filters=[coder])
    if not zeros % 18:
        assert lzma.decompress(bytes(zeros) + packed) == ARMED
        assert "os.mkdir" in names(seen(bytes(zeros) + packed))
        assert "os.mkdir" in names(seen(lzma.compress(b"") + bytes(zeros) + packed))
    assert "os.mkdir" in names(seen(lzma.compress(b"") + bytes(zeros) + lzma.compress(ARMED)))


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
    assert "os.mkdir" in names(seen(spare * 2 + pack(ARMED)))


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
    archive = bytearray(zipped({"a": ARMED}, zipfile.ZIP_LZMA))
    at = archive.find(b"\x05\0\x5d") + 3
    archive[at : at + 4] = struct.pack("<I", dictionary)
    assert "os.mkdir" in names(seen(bytes(archive)))


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


# --- arrays ----------------------------------------------------------------------------------


def test_an_array_of_objects_is_a_pickle() -> None:
    contents = seen(saved(ODD))
    assert contents.kind.startswith("numpy object array > pickle, protocol ")
    assert contents.grade is Grade.DATA


@pytest.mark.parametrize("dtype", ["f8", "i1", "U5", "M8[ns]", "?", [("a", "f4"), ("b", "S3")]])
@pytest.mark.parametrize("name", ["x.npy", "x.pkl", "x"])
def test_an_array_of_plain_data_is_none(dtype: Any, name: str) -> None:
    assert look(Memory(saved(np.zeros(50, dtype=dtype))), name=name) is None


@pytest.mark.parametrize("spelled", ["'|O'", "'O'", "'object'", "'ob\\x6aect'", "[('a', '|O')]"])
def test_objects_are_found_however_the_header_spells_them(spelled: str) -> None:
    header = f"{{'descr': {spelled}, 'fortran_order': False, 'shape': (1,), }}".ljust(117) + "\n"
    data = b"\x93NUMPY\x01\0" + struct.pack("<H", len(header)) + header.encode() + ARMED
    assert "os.mkdir" in names(seen(data))


@pytest.mark.parametrize("shape", ["1 2,", ",", "1,,2", " 1,", "9" * 600 + ",", "1, " * 90])
def test_a_shape_that_is_none_is_no_trouble(shape: str) -> None:
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': ({shape}), }}".encode()
    head = b"\x93NUMPY\x01\0" + struct.pack("<H", len(header)) + header
    look(Memory(head), name="x.npy")
    assert "os.mkdir" in names(seen(head + ARMED))


def test_an_array_that_is_longer_than_any_file_is_no_trouble(tmp_path: Path) -> None:
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (99999999999999999999,), }"
    path = tmp_path / "x.npy"
    path.write_bytes(b"\x93NUMPY\x01\0" + struct.pack("<H", len(header)) + header)
    with RegularFile(str(path), follow=True) as file:
        contents = look(file, name=str(path))
    assert contents is not None
    assert contents.grade is Grade.CANNOT_TELL


@pytest.mark.parametrize("version", [1, 2, 3])
def test_every_version_of_the_header_is_read(version: int) -> None:
    file = io.BytesIO()
    np.lib.format.write_array(file, np.array([object], dtype=object), (version, 0))
    assert "builtins.object" in names(seen(file.getvalue()))


def test_what_follows_an_array_is_looked_at_too() -> None:
    plain = saved(np.arange(1000))
    assert look(Memory(plain + plain)) is None
    assert "os.mkdir" in names(seen(plain + plain + ARMED_4))
    contents = seen(saved(ODD) + saved(ODD))
    assert contents.pickles == 2
    assert contents.grade is Grade.DATA


@pytest.mark.parametrize(
    ("there", "instead"),
    [
        (b"'shape': (3,)", b"'shape': (3, )"),
        (b"'<f8'", b'"<f8"'),
        (b"'<f8'", b"'<f'"),
        (b"'<f8'", b"'<f8,O'"),
        (b"False", b"0"),
        (b", }", b"}"),
    ],
)
def test_a_header_that_numpy_does_not_write_cannot_be_told(there: bytes, instead: bytes) -> None:
    data = saved(np.zeros(3))
    changed = data.replace(there, instead)
    size = struct.pack("<H", len(data) - 10 - 24 + len(instead) - len(there))
    assert seen(changed[:8] + size + changed[10:]).grade is Grade.CANNOT_TELL
    assert seen(changed[:8] + size + changed[10:] + ARMED_4).grade is Grade.BEYOND


# --- zip -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "method",
    [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA],
)
def test_the_members_of_a_zip_are_looked_at(method: int) -> None:
    contents = seen(zipped({"a.txt": b"text", "b/c": PLAIN, "d": b"3\n"}, method))
    assert contents.kind == "zip > pickle, protocol 4"
    assert (contents.grade, contents.reasons) == (Grade.DATA, ())


def test_a_zip_without_pickles_is_none() -> None:
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        members = {f"{i}": data for i, data in enumerate(TEXTS + BINARIES)}
        assert look(Memory(zipped(members, method)), name="x.npz") is None
    assert look(Memory(zipped({})), name="empty.npz") is None


def test_what_torch_saves_is_seen() -> None:
    tensor = np.arange(1000, dtype="f4").tobytes()
    members = {
        "m/data.pkl": pickle.dumps({"w": 1}, 2),
        "m/byteorder": b"little",
        "m/data/0": tensor,
        "m/version": b"3\n",
        "m/.data/serialization_id": b"1234567890123456789",
    }
    contents = seen(zipped(members), "m.pt")
    assert contents.kind == "zip > pickle, protocol 2"
    assert (contents.pickles, contents.reasons) == (1, ())


def test_the_arrays_of_an_npz_are_looked_at() -> None:
    file = io.BytesIO()
    np.savez_compressed(file, a=np.arange(9), b=ODD)
    assert seen(file.getvalue()).kind.startswith("zip > numpy object array > pickle, protocol ")
    file = io.BytesIO()
    np.savez(file, a=np.arange(9))
    assert look(Memory(file.getvalue()), name="a.npz") is None


@pytest.mark.parametrize("comment", [b"", b"a comment " * 5000])
def test_a_zip_behind_other_bytes_is_looked_at(comment: bytes) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("x", ARMED)
        archive.comment = comment
    inner = file.getvalue()
    assert "os.mkdir" in names(seen(b"some text\n" + inner))
    contents = seen(PLAIN + inner)
    assert contents.pickles == 2
    assert {"os.mkdir", "numpy.ndarray"} <= names(contents)


@packers
def test_a_zip_behind_a_pickle_in_a_layer_is_looked_at(packer: str) -> None:
    inner = zipped({"x": ARMED}, zipfile.ZIP_DEFLATED)
    assert "os.mkdir" in names(seen(PACKERS[packer](PLAIN + inner)))
    assert "os.mkdir" in names(seen(PACKERS[packer](inner)))


def test_zips_in_zips_are_followed() -> None:
    data = zipped({"x": ARMED}, zipfile.ZIP_DEFLATED)
    for _ in range(3):
        data = zipped({"x": data, "y": b"text"}, zipfile.ZIP_DEFLATED)
    assert seen(data).kind == "zip > zip > zip > zip > pickle, protocol 0"


def test_a_wide_zip_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 10)
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 0)
    data = zipped({"a": b"text", "x": PLAIN}, zipfile.ZIP_DEFLATED)
    assert b"PK\x06\x06" in data
    assert seen(data).grade is Grade.DATA
    assert seen(b"text" + data).grade is Grade.DATA


@pytest.mark.parametrize("place", ["local", "central"])
def test_a_member_with_two_names_reaches_beyond(place: str) -> None:
    data = zipped({"data.pkl": PLAIN})
    at = data.find(b"data.pkl") if place == "local" else data.rfind(b"data.pkl")
    data = data[:at] + b"data.txt" + data[at + 8 :]
    contents = seen(data)
    assert contents.grade is Grade.BEYOND
    assert "numpy.ndarray" in names(contents)


def test_a_member_that_is_falsely_marked_as_encrypted_reaches_beyond() -> None:
    data = bytearray(zipped({"data.pkl": PLAIN}, zipfile.ZIP_DEFLATED))
    data[6] |= 1
    data[data.rfind(b"PK\x01\x02") + 8] |= 1
    contents = seen(bytes(data))
    assert contents.grade is Grade.BEYOND
    assert "numpy.ndarray" in names(contents)


def test_a_member_that_its_own_head_packs_otherwise_is_read_in_both_ways() -> None:
    data = bytearray(zipped({"x": ARMED}))
    data[data.rfind(b"PK\x01\x02") + 10] = 8
    assert "os.mkdir" in names(seen(bytes(data)))
    data = bytearray(zipped({"x": ARMED}, zipfile.ZIP_DEFLATED))
    data[8] = 0
    assert "os.mkdir" in names(seen(bytes(data)))


def test_a_member_whose_sizes_differ_is_read_in_both_ways() -> None:
    data = bytearray(zipped({"x": ARMED}))
    at = data.rfind(b"PK\x01\x02") + 20
    data[at : at + 8] = struct.pack("<II", 3, 3)
    assert "os.mkdir" in names(seen(bytes(data)))


@pytest.mark.parametrize("name", ["data.pkl", "data.txt", "a"])
@pytest.mark.parametrize("trouble", ["method", "encrypted", "elsewhere", "too long"])
def test_a_member_that_cannot_be_looked_at_is_said_whatever_its_name(
    name: str, trouble: str
) -> None:
    data = bytearray(zipped({name: b"\xff\xfe" * 40, "other.txt": b"text"}))
    central = data.find(b"PK\x01\x02")
    if trouble == "method":
        data[8] = data[central + 10] = 97
    elif trouble == "encrypted":
        data[6] = data[central + 8] = 1
    elif trouble == "elsewhere":
        data[central + 42 : central + 46] = struct.pack("<I", 7)
    else:
        data[central + 20 : central + 24] = struct.pack("<I", 7_000)
    contents = seen(bytes(data))
    assert (contents.grade, contents.pickles) == (Grade.CANNOT_TELL, 0)
    assert any(name in reason for reason in contents.reasons)


def test_members_with_the_same_trouble_are_told_of_once() -> None:
    data = bytearray(zipped({f"{i}.txt": b"\xff\xfe" * 9 for i in range(300)}))
    at = -1
    while (at := data.find(b"PK\x01\x02", at + 1)) >= 0:
        data[at + 8] = 1
    (reason,) = seen(bytes(data)).reasons
    assert "299" in reason


def listed(name: bytes, data: bytes, local: int, extra: bytes = b"") -> bytes:
    """Give what a directory says of a member that is stored."""
    sizes = (zlib.crc32(data), len(data), len(data), len(name), len(extra))
    fields = (20, 3, 20, 0, 0, 0, 0, 0, *sizes, 0, 0, 0, 0, local)
    return struct.pack("<4s4B4HL2L5H2L", b"PK\x01\x02", *fields) + name + extra


def headed(name: bytes, data: bytes) -> bytes:
    """Give a member that is stored, with its own head."""
    sizes = (zlib.crc32(data), len(data), len(data), len(name), 0)
    head = struct.pack("<4s2B4HL2L2H", b"PK\x03\x04", 20, 0, 0, 0, 0, 0, *sizes)
    return head + name + data


def ended(directory: bytes, start: int, count: int) -> bytes:
    fields = (0, 0, count & 0xFFFF, count & 0xFFFF, len(directory), start, 0)
    return directory + struct.pack("<4s4H2LH", b"PK\x05\x06", *fields)


def test_a_directory_that_lists_the_same_over_and_over_hides_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(archives, "MAX_MEMBERS", 50)
    harmless = headed(b"r", b"hi")
    directory = listed(b"r", b"hi", 0) * 300 + listed(b"e", ARMED, len(harmless))
    body = harmless + headed(b"e", ARMED)
    data = body + ended(directory, len(body), 301)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.read("e") == ARMED
    assert "os.mkdir" in names(seen(data))


def test_a_directory_that_lists_more_than_the_bound_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(views, "MAX_LISTED", 200)
    harmless = headed(b"r", b"hi")
    data = harmless + ended(listed(b"r", b"hi", 0) * 300, len(harmless), 300)
    contents = seen(data)
    assert contents.grade is Grade.CANNOT_TELL
    assert any("200" in reason for reason in contents.reasons)


def test_every_wide_field_of_a_member_is_followed() -> None:
    fields = [struct.pack("<HHQ", 1, 8, place) for place in (0xFFFFFFFF, 0)]
    body = headed(b"a", ARMED)
    data = body + ended(listed(b"a", ARMED, 0xFFFFFFFF, b"".join(fields)), len(body), 1)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.read("a") == ARMED
    assert "os.mkdir" in names(seen(data))


def tar_head(name: bytes, size: int) -> bytes:
    info = tarfile.TarInfo(name.decode("latin-1"))
    info.size = size
    return info.tobuf(tarfile.USTAR_FORMAT)


def test_a_zip_that_begins_as_a_tar_is_looked_at() -> None:
    body = headed(b"a", ARMED)
    spare = -(len(body) + len(listed(b"a", ARMED, 0))) % 512
    directory = listed(b"a", ARMED, 0, bytes(spare))
    data = tar_head(b"PK\3\4x", len(body) + len(directory)) + body
    data += ended(directory, len(body), 1)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.read("a") == ARMED
    assert "os.mkdir" in names(seen(data, "model.npz"))


def test_a_zip_whose_parts_lie_in_members_of_a_tar_is_looked_at() -> None:
    body = headed(b"a", ARMED)
    first = tar_head(b"first", len(body)) + body + bytes(-len(body) % 512)
    directory = listed(b"a", ARMED, 512)
    data = ended(directory, len(first) + 512, 1)
    data = first + tar_head(b"second", len(data)) + data
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.read("a") == ARMED
    assert "os.mkdir" in names(seen(data))


def test_two_directories_are_both_followed() -> None:
    first, second = zipped({"x": b"text"}), zipped({"x": ARMED})
    assert "os.mkdir" in names(seen(second + first))
    assert "os.mkdir" in names(seen(first + second))


def test_names_of_members_are_shown_escaped() -> None:
    data = zipped({"\x1b[2J\n.pkl": b"\x01\xff" * 40})
    (reason,) = seen(data).reasons
    assert reason.isprintable()


# --- tar -------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_the_members_of_a_tar_are_looked_at(mode: str, form: int) -> None:
    members = {"a.txt": b"text" * 300, "b/" * 40 + "model": PLAIN, "c": ARMED}
    contents = seen(tarred(members, mode, form))
    assert contents.pickles == 2
    assert {"os.mkdir", "numpy.ndarray"} <= names(contents)
    assert contents.kind.startswith("tar >" if mode == "w" else "")
    assert "tar > pickle, protocol 4" in contents.kind


def test_a_name_longer_than_a_block_is_passed_over() -> None:
    for form in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        assert "os.mkdir" in names(seen(tarred({"n" * 2000: b"text", "x": ARMED}, "w", form)))


def test_a_size_that_the_extended_head_of_a_tar_tells_is_the_one() -> None:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
        info = tarfile.TarInfo("x")
        info.pax_headers = {"size": "1024"}
        info.size = 1024
        archive.addfile(info, io.BytesIO(b"text".ljust(1024)))
        info = tarfile.TarInfo("y")
        info.size = len(ARMED)
        archive.addfile(info, io.BytesIO(ARMED))
    data = bytearray(file.getvalue())
    head = data.find(b"x\0", 1024)
    data[head + 124 : head + 136] = b"00000000000\0"
    total = sum(data[head : head + 148]) + 8 * 32 + sum(data[head + 156 : head + 512])
    data[head + 148 : head + 156] = b"%06o\0 " % total
    with tarfile.open(fileobj=io.BytesIO(bytes(data))) as archive:
        assert archive.getnames() == ["x", "y"]
    assert "os.mkdir" in names(seen(bytes(data)))


def test_a_tar_that_is_a_pickle_too_is_seen_as_both() -> None:
    contents = seen(tarred({ARMED.decode(): pickle.dumps([1], 4)}))
    assert contents.pickles == 2
    assert "os.mkdir" in names(contents)


def test_an_npz_at_the_end_of_a_tar_is_seen_once() -> None:
    contents = seen(tarred({"a": zipped({"x": PLAIN})}))
    assert contents.kind == "tar > zip > pickle, protocol 4"
    assert contents.pickles == 1
    behind = seen(tarred({"a": PLAIN}) + zipped({"x": ARMED}))
    assert "os.mkdir" in names(behind)


def test_a_tar_that_breaks_is_looked_at_as_far_as_it_goes_and_said() -> None:
    data = tarred({"x": ARMED, "y": b"text"})
    assert "os.mkdir" in names(seen(data[:1024] + b"junk" * 500))
    data = tarred({"x": b"text", "y": b"text"})
    assert seen(data[:1024] + b"junk" * 500).grade is Grade.CANNOT_TELL


@pytest.mark.parametrize("form", ["old", "new"])
def test_a_member_with_holes_is_said_and_those_behind_it_are_looked_at(form: str) -> None:
    if form == "new":
        info = tarfile.TarInfo("x")
        info.size, info.pax_headers = 512, {"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}
        first = info.tobuf(tarfile.PAX_FORMAT) + b"0\n".ljust(512, b"\0")
    else:
        head = bytearray(tar_head(b"x", 512))
        head[156:157] = b"S"
        head[482] = 1
        total = sum(head[:148]) + 8 * 32 + sum(head[156:])
        head[148:156] = b"%06o\0 " % total
        first = bytes(head) + bytes(504) + b"\x01" + bytes(7) + bytes(512) + b"text".ljust(512)
    contents = seen(first + tarred({"y": PLAIN}))
    assert (contents.grade, contents.pickles) == (Grade.CANNOT_TELL, 1)
    assert len(contents.reasons) == 1


def test_zips_in_a_compressed_tar_are_looked_at_in_one_pass(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bounded(monkeypatch, 20 << 20)
    noise = np.random.default_rng(0).bytes(2_000_000)
    data = tarred({f"{i}.npz": zipped({"a": noise, "b": PLAIN}) for i in range(4)}, "w:gz")
    contents = seen(data)
    assert (contents.pickles, contents.reasons) == (4, ())


def headed_tar(name: bytes, data: bytes, kind: bytes = b"0", *, size: int | None = None,
    form: bytes = b"%06o\0 ") -> bytes:  # fmt: skip
    head = bytearray(512)
    head[: len(name)] = name
    head[100:124] = b"0000644\0" + b"0000000\0" * 2
    head[124:148] = b"%011o\0" % (len(data) if size is None else size) + b"00000000000\0"
    head[156:157] = kind
    head[257:265] = b"ustar\x0000"
    head[148:156] = b" " * 8
    head[148:156] = (form % sum(head)).ljust(8, b"\0")[:8]
    return bytes(head) + data + bytes(-len(data) % 512)


@pytest.mark.parametrize("form", [b"%06o\0 ", b"+%o\0", b"%07o", b" %o ", b"0o%o"])
def test_a_number_of_a_tar_is_read_as_tarfile_reads_it(form: bytes) -> None:
    data = headed_tar(b"pickle", ARMED_4, form=form) + bytes(1024)
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        assert tar.getnames() == ["pickle"]
    assert seen(data).grade is Grade.BEYOND


def test_a_size_that_a_tar_gives_all_its_members_cannot_be_told() -> None:
    first = headed_tar(b"g", b"13 size=4096\n", b"g") + headed_tar(b"README", b"hello\n")
    assert seen(first + bytes(10_240)).grade is Grade.CANNOT_TELL
    plain = headed_tar(b"g", b"14 comment=xy\n", b"g") + headed_tar(b"README", b"hello\n")
    assert look(Memory(plain + bytes(10_240))) is None


@pytest.mark.parametrize("form", [b"ZF0x%x", b"ZF%019x", b"ZF 0X%x"])
def test_the_size_in_a_file_of_old_joblib_is_read_as_joblib_reads_it(form: bytes) -> None:
    data = (form % len(ARMED_4)).ljust(21) + zlib.compress(ARMED_4)
    assert "os.mkdir" in names(seen(data))


# --- suspicion -------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["pkl", "pickle", "joblib", "sav", "dill", "pt", "pth", "npz"])
@pytest.mark.parametrize("start", [b"\x01\x02\xff", b"7z\xbc\xaf\x27\x1c", b"Rar!\x1a\x07"])
def test_what_is_named_like_a_pickle_and_cannot_be_followed_is_unreadable(
    ending: str, start: bytes
) -> None:
    data = start + bytes(range(256)) * 2
    contents = seen(data, f"model.{ending}")
    assert (contents.grade, contents.pickles) == (Grade.CANNOT_TELL, 0)
    assert contents.reasons
    assert look(Memory(data), name="model.bin") is None


@pytest.mark.parametrize("data", [data for data in TEXTS if data != b"N."])
def test_a_text_that_is_named_like_a_pickle_cannot_be_told(data: bytes) -> None:
    contents = seen(data, "x.pkl")
    assert contents.grade is Grade.CANNOT_TELL


def test_site_packages_have_texts_that_are_named_like_those_of_torch() -> None:
    for text in (b"import os; os.getcwd()\n", b"/some/folder\n", b"./here\n"):
        assert look(Memory(text), name="x.pth") is None


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS"),
        (b"<!DOCTYPE html>\n<html>", "HTML"),
        (b"SQLite format 3\0" + bytes(84), "SQLite"),
        (b"7z\xbc\xaf\x27\x1c" + bytes(90), "7z"),
    ],
)
def test_what_is_named_like_a_pickle_is_called_what_it_is(data: bytes, said: str) -> None:
    contents = seen(data, "model.pkl")
    assert said in contents.reasons[0]
    assert look(Memory(data), name="model") is None


def test_a_name_clears_nothing() -> None:
    for name in ("x.png", "x.txt", "x.safetensors", "x.npy"):
        assert seen(ARMED_4, name).grade is Grade.BEYOND


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


def bounded(monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
    monkeypatch.setattr(views, "BASE", steps)
    monkeypatch.setattr(views, "PER_BYTE", 0)
    monkeypatch.setattr(views, "LEAST", 0)


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
