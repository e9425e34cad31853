"""Every kind of array, table and buffer comes back, and shares memory as it did."""

import array
import gc
import io
import itertools
import mmap
import pickle
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
from arrays import each_way, numbers, owner, payload_of, read_only
from scipy import sparse

from pickleseal import Keyring, signed_dump, signed_dumps, signed_loads
from pickleseal.envelope.hashing import LEAF_SIZE
from pickleseal.pickling.dump import OUT_OF_BAND_SIZE as LIMIT

# --- every kind of array ---------------------------------------------------------------------


def mapped_array(mode: Any) -> Any:
    with tempfile.NamedTemporaryFile() as file:  # the mapping outlives it
        file.write(numbers(3 * LIMIT))
        file.flush()
        return np.memmap(file.name, np.uint16, mode)


RECORD = np.dtype(
    {
        "names": ["a", "b", "c"],
        "formats": [">f8", ("<i2", (2, 3)), "S5"],
        "offsets": [3, 20, 40],
        "itemsize": 64,
        "titles": ["first", None, None],
    }
)

LITTLE = sys.byteorder == "little"
NOW = np.datetime64("2026-01-01T00:00:00.000000001")
NUMBERS: Any = np.arange(100_000.0)

ARRAYS: dict[str, Callable[[], Any]] = {
    "of half floats": lambda: np.linspace(-60_000, 60_000, LIMIT, dtype=np.float16),
    "of long doubles": lambda: np.arange(10_000, dtype=np.longdouble) / 3,
    "of long complex numbers": lambda: np.arange(10_000).astype(np.clongdouble) * 1j,
    "of the other byte order": lambda: np.arange(20_000).astype(">f8" if LITTLE else "<f8"),
    "of dates and none": lambda: np.where(np.arange(9000) % 2, np.datetime64("NaT", "ns"), NOW),
    "of durations": lambda: np.arange(20_000).astype("timedelta64[7D]"),
    "of bytes": lambda: np.array([b"one", b"seventeen"] * 10_000),
    "of raw bytes": lambda: numbers(100 * 997).view("V997"),
    "of records with gaps": lambda: np.zeros(5000, RECORD),
    "of records of records": lambda: np.ones(5000, [("a", [("b", "f4"), ("c", ">u2")], (2,))]),
    "of aligned records": lambda: np.ones(9000, np.dtype("i1, f8, i2", align=True)),
    "of records with objects": lambda: np.array([(1, "a"), (2, None)] * 4000, "i4, O"),
    "of one large record": lambda: np.zeros((), f"V{LIMIT + 1}"),
    "of no dimension": lambda: np.array(2.5, np.float32),
    "of no length and many dimensions": lambda: np.zeros((3, 0, 1 << 40), ">i2"),
    "of three dimensions in columns": lambda: np.asfortranarray(NUMBERS.reshape(50, 40, 50)),
    "of axes swapped": lambda: NUMBERS.reshape(50, 40, 50).transpose(1, 0, 2),
    "of every third column": lambda: NUMBERS.reshape(100, 1000)[:, ::3],
    "of one row, many times": lambda: np.broadcast_to(NUMBERS[:3000], (40, 3000)),
    "of windows": lambda: np.lib.stride_tricks.sliding_window_view(NUMBERS[:3000], 50),
    "of columns, read-only": lambda: read_only(np.asfortranarray(NUMBERS.reshape(100, 1000))),
    "of steps, read-only": lambda: read_only(NUMBERS[::-2]),
    "of a part of a read-only one": lambda: read_only(NUMBERS.copy())[7:90_000],
    "of one row and one column": lambda: NUMBERS.reshape(1, -1, 1),
    "mapped to read": lambda: mapped_array("r"),
    "mapped to write": lambda: mapped_array("r+"),
    "mapped to copy": lambda: mapped_array("c"),
    "masked": lambda: np.ma.masked_greater(NUMBERS, 50_000),
    "masked, of records": lambda: np.ma.zeros(3000, [("a", "f8"), ("b", "f8")]),
    "that is a matrix": lambda: np.ones((300, 300)).view(np.matrix),
    "that is of records by name": lambda: np.rec.fromarrays([NUMBERS, NUMBERS], "f8, i4"),
    "of texts of the other byte order": lambda: np.array(["ä", "\N{SNOWMAN}x"] * 9000, ">U3"),
    "of texts of any length": lambda: np.array(["a", "ü" * 50] * 2000, np.dtypes.StringDType()),
}


def alike(one: Any, other: Any) -> None:
    """Hold an array against another: not its values alone, but all that can be told of it."""
    assert type(one) is type(other)
    assert one.dtype == other.dtype
    assert repr(one.dtype) == repr(other.dtype)
    assert one.shape == other.shape
    assert one.strides == other.strides
    for flag in ("c_contiguous", "f_contiguous", "writeable", "aligned"):
        assert getattr(one.flags, flag) == getattr(other.flags, flag), flag
    if one.dtype.hasobject or one.dtype.char == "T":
        assert one.tolist() == other.tolist()
    else:
        assert np.asarray(one).tobytes("A") == np.asarray(other).tobytes("A")


@pytest.mark.parametrize("make", ARRAYS.values(), ids=ARRAYS.keys())
def test_an_array_comes_back_as_pickle_gives_it_back(
    make: Callable[[], Any], ring: Keyring, tmp_path: Path
) -> None:
    original = make()
    expected = pickle.loads(pickle.dumps(original, 5))
    for loaded in each_way(signed_dumps(original, keyring=ring), ring, tmp_path):
        alike(loaded, expected)
        if isinstance(original, np.ma.MaskedArray):
            alike(loaded.mask, expected.mask)
            assert loaded.fill_value == expected.fill_value


def test_an_array_of_arrays_comes_back_with_each_in_memory_of_its_own(
    ring: Keyring, tmp_path: Path
) -> None:
    original = np.empty((2, 3), dtype=object)
    for number, place in enumerate(np.ndindex(2, 3)):
        original[place] = numbers(LIMIT + number)
    original[0, 1] = original[1, 2]
    data = signed_dumps(original, keyring=ring)
    assert payload_of(data, ring).head.fixed.segments == 6
    for loaded in each_way(data, ring, tmp_path):
        assert loaded[0, 1] is loaded[1, 2]
        for place in np.ndindex(2, 3):
            np.testing.assert_array_equal(loaded[place], original[place])
            assert memoryview(owner(loaded[place])).nbytes == original[place].nbytes


@pytest.mark.filterwarnings("ignore::scipy.sparse.SparseEfficiencyWarning")
@pytest.mark.parametrize("kind", ["csr", "csc", "coo", "bsr", "dia", "lil", "dok"])
@pytest.mark.parametrize("cls", ["array", "matrix"])
def test_a_sparse_matrix_comes_back_with_all_its_parts(
    cls: str, kind: str, ring: Keyring, tmp_path: Path
) -> None:
    dense = np.where(np.arange(40_000) % 4, 0, np.arange(40_000)).reshape(200, 200)
    original = getattr(sparse, f"{kind}_{cls}")(dense)
    for loaded in each_way(signed_dumps(original, keyring=ring), ring, tmp_path):
        assert type(loaded) is type(original)
        assert loaded.dtype == original.dtype
        np.testing.assert_array_equal(loaded.toarray(), dense)
        for part in ("data", "indices", "indptr", "row", "col", "offsets"):
            if isinstance(getattr(original, part, None), np.ndarray):
                alike(getattr(loaded, part), getattr(original, part))


FRAMES: dict[str, Callable[[], Any]] = {
    "int64[pyarrow]": lambda: [1, None, 3] * 9000,
    "double[pyarrow]": lambda: [1.5, None, 3.0] * 9000,
    "bool[pyarrow]": lambda: [True, None, False] * 200_000,
    "string[pyarrow]": lambda: ["x", None, "\N{SNOWMAN}"] * 9000,
    "large_string[pyarrow]": lambda: ["x", None, "\N{SNOWMAN}"] * 9000,
    "timestamp[ns][pyarrow]": lambda: [pd.Timestamp(0), None] * 9000,
    "str": lambda: ["x", None, "\N{SNOWMAN}"] * 9000,
    "Float32": lambda: [1.5, None, 3.0] * 9000,
    "boolean": lambda: [True, None, False] * 30_000,
    "datetime64[ns, UTC]": lambda: [pd.Timestamp(0, tz="UTC"), None] * 9000,
    "Sparse[int]": lambda: [0, 0, 5] * 9000,
    "interval": lambda: pd.interval_range(0, 9000),
    "period[D]": lambda: pd.period_range("2026", periods=9000),
}


@pytest.mark.parametrize("dtype", FRAMES)
def test_a_data_frame_comes_back_whatever_its_columns_are_made_of(
    dtype: str, ring: Keyring, tmp_path: Path
) -> None:
    if "pyarrow" in dtype:
        pytest.importorskip("pyarrow")
    column = pd.Series(FRAMES[dtype](), dtype=dtype)
    frame = pd.DataFrame({"a": column, "b": column[::-1].reset_index(drop=True), "c": 1.5})
    for loaded in each_way(signed_dumps(frame, keyring=ring), ring, tmp_path):
        pd.testing.assert_frame_equal(loaded, frame)
        assert loaded.dtypes.tolist() == frame.dtypes.tolist()
        if dtype != "Sparse[int]":
            loaded.loc[0, "a"] = loaded.loc[2, "a"]  # still to be written to
        loaded.loc[0, "c"] = 2.5
        assert loaded.loc[0, "c"] == 2.5
        assert loaded.loc[1, "c"] == 1.5


def test_buffers_and_tables_of_arrow_come_back(ring: Keyring, tmp_path: Path) -> None:
    pa: Any = pytest.importorskip("pyarrow")
    values = pa.array([1, None, 3] * 50_000)
    texts = pa.array(["x" * 7, None, "\N{SNOWMAN}"] * 50_000)
    table = pa.table({"a": values, "b": texts, "c": pa.chunked_array([values, values[:0]])})
    original = [
        pa.py_buffer(bytes(numbers(LIMIT))),
        pa.py_buffer(b""),
        values,
        values[7:100_000],
        texts.dictionary_encode(),
        table,
        table.slice(3, 70_000),
    ]
    for loaded in each_way(signed_dumps(original, keyring=ring), ring, tmp_path):
        for one, other in zip(loaded, original, strict=True):
            assert one.equals(other)
        loaded[5].validate(full=True)


def test_frames_of_polars_come_back(ring: Keyring, tmp_path: Path) -> None:
    polars: Any = pytest.importorskip("polars")
    frame = polars.DataFrame({"a": [1, None, 3] * 50_000, "b": ["x", None, "yy"] * 50_000})
    for loaded in each_way(signed_dumps(frame, keyring=ring), ring, tmp_path):
        assert loaded.equals(frame)


# --- buffers, and who shares them ------------------------------------------------------------


class Holder:
    """An object that gives its buffer to the pickler and keeps the one it gets."""

    def __init__(self, buffer: Any) -> None:
        self.buffer = buffer

    def __reduce_ex__(self, protocol: Any) -> Any:
        return Holder, (pickle.PickleBuffer(self.buffer),)


BUFFERS: dict[str, Callable[[int], Any]] = {
    "bytes": bytes,
    "a bytearray": bytearray,
    "an array of array": lambda size: array.array("d", bytes(size)),
    "a view of words": lambda size: memoryview(bytearray(size)).cast("Q"),
    "a read-only view": lambda size: memoryview(bytearray(size)).toreadonly(),
    "a view of two dimensions": lambda size: memoryview(bytes(size)).cast("B", [size // 8, 8]),
    "an array in columns": lambda size: np.asfortranarray(np.zeros((size // 64, 8))),
    "a mapping": lambda size: mmap.mmap(-1, size),
}


@pytest.mark.parametrize("size", [8, 128, LIMIT - 64, LIMIT, LEAF_SIZE])
@pytest.mark.parametrize("make", BUFFERS.values(), ids=BUFFERS.keys())
def test_any_buffer_comes_back_as_writable_as_it_was(
    make: Callable[[int], Any], size: int, ring: Keyring, tmp_path: Path
) -> None:
    original = make(size)
    expected = bytes(pickle.PickleBuffer(original).raw())
    for loaded in each_way(signed_dumps(Holder(original), keyring=ring), ring, tmp_path):
        view = memoryview(loaded.buffer)
        assert view == expected
        assert view.readonly == memoryview(original).readonly


@pytest.mark.parametrize("size", [100, LIMIT + 8])
def test_what_is_one_object_is_one_again_and_what_are_two_share_no_memory(
    size: int, ring: Keyring, tmp_path: Path
) -> None:
    base = numbers(size)
    holder = Holder(base)
    obj: dict[str, Any] = {"base": base, "again": base, "holders": [holder, holder]}
    obj["views"] = [base[:], base[:], base[8:], base.view(np.uint16), base.reshape(2, -1)]
    obj["self"] = obj
    for loaded in each_way(signed_dumps(obj, keyring=ring), ring, tmp_path):
        assert loaded["base"] is loaded["again"]
        assert loaded["holders"][0] is loaded["holders"][1]
        assert loaded["self"] is loaded
        apart = [loaded["base"], *loaded["views"], np.asarray(loaded["holders"][0].buffer)]
        for one, other in itertools.combinations(apart, 2):
            assert not np.shares_memory(one, other)
        for one, other in zip(loaded["views"], obj["views"], strict=True):
            np.testing.assert_array_equal(one, other)
        loaded["base"][:] = 1
        assert (loaded["again"] == 1).all()
        np.testing.assert_array_equal(loaded["views"][0], base)


def test_a_buffer_given_twice_is_sealed_as_often_as_pickle_asks_for_it(ring: Keyring) -> None:
    shared = bytearray(numbers(LIMIT))
    one = pickle.PickleBuffer(shared)
    obj = [one, one, pickle.PickleBuffer(shared), pickle.PickleBuffer(memoryview(shared)[1:])]
    asked: list[Any] = []
    pickle.dumps(obj, 5, buffer_callback=asked.append)
    data = signed_dumps(obj, keyring=ring)
    large = [buffer for buffer in asked if buffer.raw().nbytes >= LIMIT]
    assert payload_of(data, ring).head.fixed.segments == 1 + len(large)
    loaded = signed_loads(data, keyring=ring)
    assert [bytes(buffer) for buffer in loaded] == [*[bytes(shared)] * 3, bytes(shared[1:])]


@pytest.mark.parametrize("size", [1000, LIMIT, 9 * LEAF_SIZE])
def test_a_dump_lets_go_of_the_buffers_it_was_given(
    size: int, ring: Keyring, tmp_path: Path
) -> None:
    """A bytearray with a view on it cannot grow: no view may wait for the garbage collector."""

    class Broken:
        def write(self, data: bytes) -> None:
            raise ZeroDivisionError

    buffer = bytearray(size)
    holder = Holder(buffer)
    gc.disable()
    try:
        for target in (tmp_path / "it", io.BytesIO()):
            signed_dump(holder, target, keyring=ring, durable=False)
            buffer.append(1)
        signed_dumps(holder, keyring=ring)
        buffer.append(1)
        for broken, error in ((Broken(), ZeroDivisionError), (tmp_path, Exception)):
            with suppress(error):
                signed_dump(holder, cast("Any", broken), keyring=ring)
            buffer.append(1)
    finally:
        gc.enable()
