"""Streams with the arrays of joblib in them."""

import datetime as dt
import io
import pickle
import sys
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from armed import build, call, look, make, number, pack, text
from old_files import NoPlace
from packing import seen
from sklearn.linear_model import LogisticRegression
from walking import walk

from pickleseal.scanner.grade import Contents, Grade
from pickleseal.scanner.machine import memo, stack
from pickleseal.scanner.machine.trace import Use

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
    "wide records": np.zeros(2, [(f"column {number}", "f8") for number in range(1000)]),
    "records as pandas makes them": np.asarray(np.zeros(2, [("a", "f8")]).view(np.recarray)),
    "many dimensions": np.zeros((1,) * 20),
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
OCTETS = DOUBLES.replace(b"Vf8", b"Vu1").replace(b"V<", b"V|")
OBJECTS_OF = DOUBLES.replace(b"Vf8", b"VO8").replace(b"V<", b"V|").replace(b"K\0tb", b"K\x3ftb")


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


WIDE = [(f"column {number}", "O" if number % 9 else "f8") for number in range(1000)]
DTYPES: list[Any] = [
    [], WIDE[:17], WIDE, (np.record, WIDE),
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
_UNNAMED = b"N(Vb\nt}Va\n(" + DOUBLES + b"K\0tsK\x08K\1K\x10"
_FROM_BUFFER = b"cnumpy._core.numeric\n_frombuffer\n(C\x08AAAAAAAA%bK\1\x85VC\ntR"
_RECORD = _dtype(b"V8", _FIELD % (_OBJECT, b"\0") + b"K\x08K\1K\x1b")


def _array(shape: bytes, items: bytes) -> bytes:
    return _RECONSTRUCTED + b"(K\1" + shape + _RECORD + b"I00\n(" + items + b"ltb"


def _scalar(array: bytes) -> bytes:
    return b"cnumpy.core.multiarray\nscalar\n(" + _RECORD + array + b"tR"


WILD = {
    "objects that are said to be none": _dtype(b"O8", _NONE + b"K\0"),
    "objects whose bytes are swapped": _OBJECT.replace(b"V|", b"V>"),
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
    "an array whose dtype is given objects later": b"cnumpy\ndtype\n(VV8\nI00\nI01\ntRp9\n0"
    + _RECONSTRUCTED + b"(K\1K\1\x85g9\nI00\nC\x08AAAAAAAAtb0g9\n(K\3V|\n"
    + _FIELD % (_OBJECT, b"\0") + b"K\x08K\1K\x1btb",
    "a record whose fields change later": b"cnumpy\ndtype\n(VV8\nI00\nI01\ntR(K\3V|\nN(Va\nt}Va\n("
    + _dtype(b"f8", _NONE + b"K\0") + b"K\0tsp9\nK\x08K\1K\x10tbg9\nVa\n(" + _OBJECT + b"K\0ts0",
    "a record whose fields pandas changes": b"}(Vlabels\n(" + _OBJECT + b"K\0tVlevels\n(" + _OBJECT
    + b"K\x08tup8\n0" + _dtype(b"V16", b"N(Vlabels\nVlevels\ntg8\nK\x10K\1K\x1b")
    + b"cpandas.core.indexes.base\n_new_Index\n(cpandas.core.indexes.multi\nMultiIndex\ng8\ntR",
    "texts whose dtype is made by its old name": _RECONSTRUCTED
    + b"(K\1K\5\x85cnumpy.core._internal\n_convert_to_stringdtype_kwargs\n(I01\ntRI00\n(Nltb",
    "an array whose dtype gets a shape later": b"cnumpy\ndtype\n(VS8\nI00\nI01\ntRp9\n0"
    + _RECONSTRUCTED + b"(K\1K\1\x85g9\nI00\nC\x08AAAAAAAAtb0g9\n(K\3V|\n"
    + _OBJECT + b"K\1\x85\x86NNK\x08K\1K\x3ftb",
    "a record whose names are no fields": _dtype(b"V8", _UNNAMED),
    "a record of which a name is missing": _dtype(b"V8", _UNNAMED.replace(b"(Vb\n", b"(Va\nVb\n")),
    "a record that has a name twice": _dtype(b"V8", _UNNAMED.replace(b"(Vb\n", b"(Va\nVa\n")),
    "a record whose names are a list": _dtype(b"V8", _UNNAMED.replace(b"(Vb\nt", b"(Va\nl")),
    "a field that a pickle of 32 bits gives four bytes": _dtype(
        b"V4", _FIELD % (_dtype(b"O4", _NONE + b"K\x3f"), b"\0") + b"K\x04K\1K\x1b"
    ),
    "a list with a dtype that has no state yet": b"(cnumpy\ndtype\n(VV8\nI00\nI01\ntRp9\nl0"
    + _FROM_BUFFER % b"g9\n" + b"0g9\n(K\3V|\n" + _FIELD % (_OBJECT, b"\0") + b"K\x08K\1K\x1btb",
    "a scalar of objects that bytes spell": _scalar(b"C\x08AAAAAAAA"),
    "a scalar of objects that a text spells": _scalar(b"VAAAAAAAA\n"),
    "a scalar with a shape": b"cnumpy.core.multiarray\nscalar\n("
    + _dtype(b"V16", _OBJECT + b"K\2\x85\x86NNK\x10K\1K\x3f")
    + _array(b")", b"K\0\x85") + b"tR",
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


def test_a_scalar_of_a_dtype_of_objects_that_stands_too_far_back_is_not_followed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(memo, "MAX_TEXT", 0)
    far = 10 * stack.RECENT
    start = b"\x80\4" + b"Vtext\n\x940" * far + _RECORD + b"\x940" + b"K\1\x940" * far
    dtype = b"j" + far.to_bytes(4, "little")
    found, _ = walk(start + b"cnumpy.core.multiarray\nscalar\n(" + dtype + b"C\x08AAAAAAAAtR.")
    assert found.limited


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


UNSURE = {
    "a title of objects": _dtype(
        b"V8", b"N(Va\nt}(Va\n(%bK\0Vb\ntVb\n(%bK\0Vb\ntu" % (_OBJECT, _OBJECT) + b"K\x08K\1K\x1b"
    ),
    "an array of a dtype with a shape": _RECONSTRUCTED
    + b"(K\1K\1\x85"
    + _dtype(b"V8", DOUBLES + b"K\1\x85\x86NNK\x08K\1K\0")
    + b"I00\nC\x08AAAAAAAAtb",
    "a dtype in another spelling": _FROM_BUFFER % _dtype(b"object", _NONE + b"K\0"),
    "a dtype in a short spelling": _dtype(
        b"V2", _FIELD % (_dtype(b"i", _NONE + b"K\0"), b"\1") + b"K\2K\1K\x10"
    ),
    "an old form of an array": _RECONSTRUCTED + b"(K\0\x85" + DOUBLES + b"I00\nC\0tb",
    "a shape that is no tuple": _RECONSTRUCTED + b"(K\1(lp0\n" + DOUBLES + b"I00\nC\0tb",
    "a shape of a long number": _RECONSTRUCTED
    + b"(K\1\x8b\1\0\0\0\xf8\x85"
    + DOUBLES
    + b"I00\nC\0tb",
    "more than an array": _RECONSTRUCTED + b"(K\1K\0\x85" + DOUBLES + b"I00\nC\0Ntb",
    "an array of another class": build(
        call(look("numpy._core.multiarray", "_reconstruct"), look("m", "Array"), pack(b"K\0")),
        pack(b"N", b"K\1", pack(b"K\2"), OBJECTS_OF, b"\x89", b"]"),
    ),
}


@pytest.mark.parametrize("way", UNSURE)
def test_an_array_or_dtype_in_a_form_that_numpy_does_not_write_cannot_be_told(way: str) -> None:
    found, _ = walk(UNSURE[way] + b".")
    assert found.limited
    assert not found.ended


def test_a_dtype_whose_state_comes_from_far_down_the_stack_is_not_followed() -> None:
    stream = b"(" + DOUBLES + b"(" + b"N" * 10 * stack.RECENT + b"1(K\3V<\n" + _NONE + b"K\x3ftb"
    found, _ = walk(stream + b"1N.")
    assert found.limited


def test_more_fields_than_are_followed_cannot_be_told() -> None:
    wide = np.dtype([(f"column {number}", "f8") for number in range(2000)])
    found, _ = walk(pickle.dumps(wide))
    assert found.limited
    assert found.beyond == ()


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("kind", DTYPES, ids=lambda kind: str(kind)[:60])
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


ACTS = look("os", "mkdir") + text("never") + b"\x85R."
_HELD = b"0B" + len(ACTS).to_bytes(4, "little")


def _array_of(items: bytes) -> bytes:
    """Return joblib's wrapper of an array of bytes, and those."""
    return WRAPPER % (b"J" + len(items).to_bytes(4, "little") + b"\x85", OCTETS) + items


_MADE, _STATE = _array_of(_HELD).split(b")\x81")
_ITEM = look("operator", "getitem") + b"](%be" + number(0) + b"\x86R"
_DEFAULT = b"ccollections\ndefaultdict\n(%btR" % _MADE
HANDED_ON = {
    "one that a function is handed": _ITEM % (_MADE + b")\x81") + _STATE + ACTS,
    "one that was built before": _array_of(b"\xff").replace(b"\x81", b"\x81q\1", 1)
    + b"0"
    + _ITEM % b"h\1"
    + _STATE
    + ACTS,
    "one that a list of arguments holds": look("operator", "getitem")
    + _DEFAULT.replace(b"(", b"](").replace(b"t", b"e")
    + number(0)
    + b"\x86R"
    + _STATE
    + ACTS,
}


@pytest.mark.parametrize("way", HANDED_ON)
def test_a_wrapper_in_the_hands_of_anything_else_cannot_be_told(way: str) -> None:
    assert seen(b"\x80\4" + HANDED_ON[way] + b".").grade >= Grade.CANNOT_TELL


def test_a_wrapper_in_the_memo_is_told_however_far_back_it_stands() -> None:
    far = b"Vtext\n\x940" * 10 * stack.RECENT
    stream = b"\x80\4" + _MADE + b")\x81\x940" + far + _ITEM % b"h\0" + _STATE
    stream += ACTS + b"."
    assert seen(stream).grade >= Grade.CANNOT_TELL


def test_a_companion_file_in_the_hands_of_anything_else_reaches_beyond() -> None:
    companion = _ITEM % b"cjoblib.numpy_pickle\nNDArrayWrapper\n)\x81"
    assert seen(b"\x80\4" + companion + b"}Vfilename\nVx.npy\nsb.").grade is Grade.BEYOND


def test_arrays_of_two_packages_cannot_be_told() -> None:
    # Each package takes out its own.
    stream = b"\x80\4" + _array_of(b"\xff")
    assert seen(stream + b".").grade is Grade.DATA
    other = _array_of(ACTS).replace(b"cjoblib", b"csklearn.externals.joblib")
    assert seen(stream + other + b".").grade >= Grade.CANNOT_TELL


def test_plain_reading_stops_at_the_bytes_of_an_array() -> None:
    assert not walk(dumped(np.full(100, 255, dtype="u1"), 4))[0].ended


# -- pickle.load's way through the bytes of an array


def holding(code: bytes) -> Contents:
    """Return what is seen of a file of joblib whose array bytes are opcodes."""
    stream = b"\x80\4" + _array_of(code) + b"."
    assert joblib.load(io.BytesIO(stream)).tobytes() == code
    return seen(stream)


REACHES = look("os", "mkdir") + text("never") + b"\x85R0N."
HIDING = {
    "a text that is looked up": b"cjoblib.parallel\nDEFAULT_BACKEND\n" + text("x") + b"\x93",
    "bytes that are looked up": b"cjoblib.parallel\nDEFAULT_BACKEND\n\x98",
    "an array's state elsewhere": build(
        make(look("attr._version_info", "VersionInfo")),
        pack(b"K\1\x85", OBJECTS_OF, b"\x89", b"C\1x"),
    ),
    "an array of another class": build(
        call(look("numpy._core.multiarray", "_reconstruct"), look("m", "Tolerant"), b"K\0\x85"),
        pack(b"K\1\x85", OBJECTS_OF, b"\x89", b"C\1x"),
    ),
}


@pytest.mark.parametrize("way", HIDING)
def test_what_may_not_stop_pickle_load_hides_nothing_in_an_array(way: str) -> None:
    assert holding(b"\xff" * 40).grade is Grade.DATA
    assert holding(REACHES).grade is Grade.BEYOND
    assert holding(HIDING[way] + b"0" + REACHES).grade >= Grade.UNKNOWN


def test_an_array_in_an_array_that_numpy_load_would_go_on_with_cannot_be_told() -> None:
    file = io.BytesIO()
    np.save(file, np.array([None]), allow_pickle=True)
    header = file.getvalue().partition(b"\n")[0] + b"\n"
    assert holding(b"." + header + ACTS).grade >= Grade.CANNOT_TELL
    assert holding(header + ACTS).grade is Grade.DATA


class Own:
    """A class that no list has."""

    def __init__(self) -> None:
        self.names = np.array(["a", "b"], dtype=object)


@pytest.mark.parametrize("compress", [0, 3])
def test_objects_of_a_class_of_ones_own_are_unknown(
    compress: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To pickle.load, an index in the nested pickle of an array is the object, or its class."""
    monkeypatch.setitem(sys.modules, "own", sys.modules[__name__])
    monkeypatch.setattr(Own, "__module__", "own")
    for value in (Own(), [Own(), Own()], {"a": Own()}):
        file = io.BytesIO()
        joblib.dump(value, file, compress=compress)
        contents = seen(file.getvalue(), "model.joblib")
        assert contents is not None
        assert contents.grade is Grade.UNKNOWN, contents
        assert {str(name) for name in contents.names if name.grade is not Grade.DATA} == {"own.Own"}


def test_a_name_that_a_call_may_make_is_still_beyond() -> None:
    """Only an instance that is made by `__new__` without arguments is certainly no text."""
    for made in (call(look("own", "Own"), text("os")), make(look("own", "Own")) + b"0"):
        other = call(look("own", "Own")) if made.endswith(b"0") else made
        found, _ = walk(made + other + text("system") + b"\x93.", joblib=False)
        assert found.beyond
