"""Pickles, arrays and files of joblib on their own, and what is none of these."""

import gzip
import io
import pickle
import struct
import sysconfig
import zlib
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import joblib
import joblib.numpy_pickle
import numpy as np
import pytest
from packing import (
    ARMED,
    ARMED_4,
    BINARIES,
    MODEL,
    ODD,
    ODD_TEXTS,
    PACKERS,
    PLAIN,
    TEXTS,
    Memory,
    dumped,
    names,
    saved,
    seen,
    zipped,
)
from sklearn.linear_model import LogisticRegression

from pickleseal.files.regular import RegularFile
from pickleseal.scanner.containers import arrays, views
from pickleseal.scanner.containers.contents import look
from pickleseal.scanner.grade import Grade

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


def test_a_name_that_is_only_imported_behind_a_pickle_is_seen() -> None:
    assert "antigravity.a.b" in names(seen(PLAIN + b"cantigravity\na.b\n\xff"))


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


VALUES: list[Any] = [0x1950A86A20F9469CFC6C, 1001, {}, {"w": 1}, ["0"]]
TORCH = b"".join(pickle.dumps(value, 2) for value in VALUES)


class WithSources(pickle.Pickler):
    """Stores a class together with its source, as the old format of torch does."""

    stored = False

    def persistent_id(self, thing: object) -> Any:
        if thing is not LogisticRegression or self.stored:
            return None
        self.stored = True
        return ("module", thing, "base.py", "class Model: ...\n")


def test_a_class_that_the_old_format_of_torch_stores_with_its_source_is_that_class() -> None:
    file = io.BytesIO()
    WithSources(file, 2).dump(LogisticRegression())
    data = file.getvalue()
    assert seen(data).grade is Grade.DATA
    assert seen(data.replace(b"LogisticRegression", b"LogisticRegressoin")).grade is Grade.UNKNOWN
    assert seen(data.replace(b"module", b"folder")).grade is Grade.BEYOND
    armed = data.replace(b"csklearn.linear_model._logistic\nLogisticRegression", b"cos\nsystem")
    assert seen(armed).grade is Grade.BEYOND


MADE = b"cscipy.stats._continuous_distns\nnorm_gen\n)\x81"


@pytest.mark.parametrize(
    "stream",
    [
        MADE + b"}(Vmodule\nV_parse_arg_template\nV\nV\ntQV1\nsb.",
        MADE + b"(Vmodule\n}V_parse_arg_template\nV1\nsV\nV\ntQb.",
        MADE + b"}(Vmodule\nV_parse_arg_template\ntQV1\nsb.",
        MADE + b"}(V_parse_arg_template\nV\ntQV1\nsb.",
        b"(Vstorage\nctorch\nFloatStorage\nV0\nVcpu\nI1\ntQ}b.",
        b"(Vstorage\nctorch\nFloatStorage\nV0\nVcpu\nI1\ntQI1\na.",
        b"(Vstorage\ncos\nsystem\nV0\nVcpu\nVtrue\ntQ.",
    ],
)
def test_what_torch_gives_back_for_a_persistent_id_is_no_way_past_the_rules(stream: bytes) -> None:
    """It gives back a part of it, and a text that it gave runs in the first three."""
    assert seen(b"\x80\2" + stream).grade is Grade.BEYOND


def test_a_class_that_torch_may_call_for_a_persistent_id_is_called() -> None:
    storage = b"(Vstorage\n%s\nV0\nVcpu\nI1\ntQ."
    kept = b"csklearn.metrics._classification\naccuracy_score"
    assert seen(b"\x80\2" + kept + b"\n.").grade is Grade.DATA
    assert seen(b"\x80\2" + storage % kept).grade > Grade.DATA
    assert seen(b"\x80\2" + storage % b"ctorch\nFloatStorage").grade is Grade.DATA


def test_what_a_class_in_a_persistent_id_makes_may_act() -> None:
    held = b"cnumpy\ndtype\n((Vstorage\ncsklearn.svm._classes\nSVC\nV0\nVcpu\nI1\ntQtR."
    assert seen(b"\x80\2" + held).grade > Grade.DATA


@pytest.mark.parametrize("array", [saved(ODD), saved(np.arange(9)) + saved(ODD)])
def test_an_array_where_torch_would_have_tensors_is_looked_at(array: bytes) -> None:
    at = array.rindex(b"\n", 0, array.rindex(b"\x80")) + 1
    assert seen(TORCH + array[:at] + ARMED, "x.pt").grade is Grade.BEYOND


def test_a_name_that_is_only_imported_where_torch_would_have_tensors_is_seen() -> None:
    assert seen(TORCH + b"cantigravity\na.b\n\xff", "x.pt").grade is Grade.BEYOND


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


def test_where_pickle_load_ends_behind_what_joblib_load_reads_cannot_be_told() -> None:
    rest = b"\x80\x03B" + struct.pack("<I", len(ARMED) + 1) + b"." + ARMED + b"."
    array = np.frombuffer(b"B" + struct.pack("<I", 8), dtype=np.uint8)
    wrapper = joblib.numpy_pickle.NumpyArrayWrapper(np.ndarray, array.shape, "C", array.dtype)
    del wrapper.numpy_array_alignment_bytes
    file = io.BytesIO(pickle.dumps(wrapper, 2)[:-1] + array.tobytes() + b"." + rest)
    start = len(file.getvalue()) - len(rest)
    joblib.load(file)
    assert file.tell() == start
    file.seek(0)
    pickle.load(file)
    assert file.getvalue()[file.tell() :].startswith(ARMED)
    assert seen(file.getvalue()).grade is Grade.CANNOT_TELL


@pytest.mark.parametrize("space", [b"", b" "])
def test_the_compressed_format_of_old_joblib_is_seen(space: bytes) -> None:
    data = b"ZF" + hex(len(PLAIN)).encode().ljust(19) + space + zlib.compress(PLAIN)
    contents = seen(data)
    assert contents.kind.endswith("pickle, protocol 4")
    assert contents.grade is Grade.DATA


@pytest.mark.parametrize("form", [b"ZF0x%x", b"ZF%019x", b"ZF 0X%x"])
def test_the_size_in_a_file_of_old_joblib_is_read_as_joblib_reads_it(form: bytes) -> None:
    data = (form % len(ARMED_4)).ljust(21) + zlib.compress(ARMED_4)
    assert "os.mkdir" in names(seen(data))


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


def test_a_field_of_less_than_nothing_is_nothing_that_numpy_writes() -> None:
    header = b"{'descr': [('a', '<f8', (-1,))], 'fortran_order': False, 'shape': (3,), }"
    contents = look(Memory(b"\x93NUMPY\x01\0" + struct.pack("<H", len(header)) + header))
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


@pytest.mark.parametrize("shape", ["[3]", "(True,)", "(-1,)", "('3',)", f"({'1, ' * 64}1)", "3"])
def test_a_shape_that_no_array_has_cannot_be_told(shape: str) -> None:
    assert not _is_exact("'<f8'", shape)
    assert _is_exact("'<f8'", "(3, 0)")
    assert _is_exact("'<f8'", f"({'1, ' * 63}1)")


@pytest.mark.parametrize("descr", ["[]", "{}", "()", "(('a', '<f8'),)", "None", "8", "[('a',)]"])
def test_a_type_that_numpy_does_not_describe_so_cannot_be_told(descr: str) -> None:
    assert not _is_exact(descr, "(3,)")
    assert _is_exact("[('a', '<f8'), ('b', '<i4', (2,))]", "(3,)")


def _is_exact(descr: str, shape: str) -> bool:
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".ljust(400) + "\n"
    data = b"\x93NUMPY\x01\0" + struct.pack("<H", len(header)) + header.encode()
    array = arrays.parse(views.Whole(Memory(data)), 0)
    assert array is not None
    return array.exact


def test_an_object_array_is_one_if_any_field_holds_objects() -> None:
    dtype = [("a", "O"), ("b", "<f8")]
    assert "numpy object array" in seen(saved(np.array([([], 1.0)], dtype))).kind


@pytest.mark.parametrize("size", range(6, 12))
def test_a_beginning_of_an_array_file_is_none(size: int) -> None:
    assert look(Memory(b"\x93NUMPY\x01\0\x76\0{'"[:size])) is None


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
