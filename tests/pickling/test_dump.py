"""Pickling: the arguments, and which buffers lie beside the stream."""

import io
import pickle
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from envelopes import payload_of
from numpy.typing import NDArray
from scipy import sparse

from pickleseal import Keyring, inspect, signed_dumps, signed_loads
from pickleseal.pickling import dump
from pickleseal.pickling.dump import OUT_OF_BAND_SIZE as LIMIT

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


def round_trip(obj: Any, ring: Keyring, **keywords: Any) -> Any:
    return signed_loads(signed_dumps(obj, keyring=ring, **keywords), keyring=ring)


@pytest.mark.parametrize(("protocol", "written"), [(None, 5), (-1, 5), (2, 2), (5, 5)])
def test_the_default_protocol_is_5_and_others_are_kept(
    protocol: int | None, written: int, ring: Keyring
) -> None:
    stream = payload_of(signed_dumps([1], protocol, keyring=ring), ring).stored[0]
    assert bytes(stream[:2]) == bytes([0x80, written])


def test_an_unknown_protocol_is_a_value_error(ring: Keyring) -> None:
    with pytest.raises(ValueError, match="protocol"):
        signed_dumps([1], pickle.HIGHEST_PROTOCOL + 1, keyring=ring)


def test_an_unknown_pickler_is_a_value_error(ring: Keyring) -> None:
    with pytest.raises(ValueError, match="pickler"):
        signed_dumps([1], keyring=ring, pickler="dill")  # type: ignore[arg-type]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_an_object_that_cannot_be_pickled_raises_as_in_pickle(protocol: int, ring: Keyring) -> None:
    of_no_module = type("OfNoModule", (), {"__module__": 5})
    objects: list[Any] = [lambda: None, types, {}.keys(), memoryview(b""), of_no_module]
    for obj in objects:
        with pytest.raises((TypeError, AttributeError, pickle.PicklingError)) as plain:
            pickle.dumps(obj, protocol)
        with pytest.raises(plain.type):
            signed_dumps(obj, protocol, keyring=ring)


class ZeroCopyByteArray(bytearray):
    """The example of Python's pickle documentation."""

    def __reduce_ex__(self, protocol: Any) -> Any:
        if protocol >= 5:
            return type(self)._reconstruct, (pickle.PickleBuffer(self),), None
        return type(self)._reconstruct, (bytearray(self),)

    @classmethod
    def _reconstruct(cls, obj: Any) -> Any:
        with memoryview(obj) as view:
            owner = view.obj
            if type(owner) is cls:
                return owner
            return cls(owner)


class Kept:
    """An object that keeps the very buffer that it is given on load."""

    def __init__(self, buffer: Any) -> None:
        self.buffer = buffer

    def __reduce_ex__(self, protocol: Any) -> Any:
        return Kept, (pickle.PickleBuffer(self.buffer),)


@pytest.mark.parametrize("size", [0, 1, 1000, LIMIT - 1, LIMIT, LIMIT + 1, 3 * LIMIT + 5])
def test_the_example_of_the_pickle_documentation_round_trips(size: int, ring: Keyring) -> None:
    original = ZeroCopyByteArray(np.random.default_rng(0).bytes(size))
    loaded = round_trip(original, ring)
    assert type(loaded) is ZeroCopyByteArray
    assert loaded == original


@pytest.mark.parametrize("size", [LIMIT, LIMIT + 7, 5 << 20])
def test_a_large_buffer_comes_back_in_memory_of_its_own(size: int, ring: Keyring) -> None:
    first, second = round_trip([Kept(bytearray(size)), Kept(bytearray(b"\1") * size)], ring)
    for kept, byte in ((first, 0), (second, 1)):
        view = memoryview(kept.buffer)
        assert memoryview(view.obj).nbytes == view.nbytes == size
        assert not view.readonly
        assert view[0] == view[-1] == byte
        assert np.frombuffer(view, np.uint8).ctypes.data % 64 == 0
    memoryview(first.buffer)[:] = b"\2" * size
    assert memoryview(second.buffer)[0] == 1


def test_only_buffers_from_the_limit_up_get_a_segment(
    ring: Keyring,
) -> None:
    for size, segments in ((LIMIT - 1, 1), (LIMIT, 2)):
        payload = payload_of(signed_dumps(Kept(bytearray(size)), keyring=ring), ring)
        assert payload.head.fixed.segments == segments
        assert [len(buffer) for buffer in payload.stored[1:]] == [size][: segments - 1]


def test_many_small_arrays_stay_in_the_stream(ring: Keyring) -> None:
    arrays = [np.arange(3.0) + number for number in range(5000)]
    data = signed_dumps(arrays, keyring=ring)
    assert payload_of(data, ring).head.fixed.segments == 1
    np.testing.assert_array_equal(signed_loads(data, keyring=ring), arrays)


@pytest.mark.parametrize("size", [8, LIMIT])
def test_a_read_only_buffer_comes_back_read_only(size: int, ring: Keyring) -> None:
    assert memoryview(round_trip(Kept(bytes(size)), ring).buffer).readonly
    array = np.zeros(size)
    array.flags.writeable = False
    assert not round_trip(array, ring).flags.writeable


ARRAYS: dict[str, Callable[[], NDArray[Any]]] = {
    "of C order": lambda: np.arange(30_000.0).reshape(100, 300),
    "of Fortran order": lambda: np.asfortranarray(np.arange(30_000.0).reshape(100, 300)),
    "that is not contiguous": lambda: np.arange(60_000.0)[::2],
    "of negative steps": lambda: np.arange(30_000.0)[::-1],
    "of no dimension": lambda: np.array(3.5),
    "of no length": lambda: np.zeros((0, 5)),
    "of objects": lambda: np.array([{"a": 1}, None, "x"] * 10_000, dtype=object),
    "of texts": lambda: np.array(["one", "seventeen"] * 10_000),
    "of records": lambda: np.zeros(10_000, dtype=[("a", "i4"), ("b", "f8")]),
    "of times": lambda: np.arange(20_000).astype("datetime64[s]"),
    "of the other byte order": lambda: np.arange(20_000, dtype=">i8"),
    "of booleans": lambda: np.ones(100_000, dtype=bool),
    "of complex numbers": lambda: np.ones(10_000, dtype=complex),
}


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("make", ARRAYS.values(), ids=ARRAYS.keys())
def test_an_array_comes_back_as_it_was(
    make: Callable[[], NDArray[Any]], protocol: int, ring: Keyring
) -> None:
    array = make()
    loaded = round_trip(array, ring, protocol=protocol)
    expected = pickle.loads(pickle.dumps(array, protocol))
    np.testing.assert_array_equal(loaded, array)
    assert loaded.dtype == expected.dtype
    assert loaded.flags.f_contiguous == expected.flags.f_contiguous
    assert loaded.flags.writeable


@pytest.mark.parametrize("protocol", range(5))
def test_a_protocol_before_5_gives_one_segment(protocol: int, ring: Keyring) -> None:
    data = signed_dumps(np.zeros(LIMIT), protocol, keyring=ring)
    assert payload_of(data, ring).head.fixed.segments == 1


def test_an_array_held_twice_is_sealed_once_and_held_twice_again(ring: Keyring) -> None:
    array = np.arange(float(LIMIT))
    data = signed_dumps({"one": array, "other": array}, keyring=ring)
    assert payload_of(data, ring).head.fixed.segments == 2
    loaded = signed_loads(data, keyring=ring)
    assert loaded["one"] is loaded["other"]


def test_a_view_and_its_base_come_back_equal(ring: Keyring) -> None:
    base = np.arange(float(LIMIT))
    one, other = round_trip([base, base[10:]], ring)
    np.testing.assert_array_equal(one, base)
    np.testing.assert_array_equal(other, base[10:])


def test_sparse_matrices_come_back_equal(ring: Keyring) -> None:
    matrix = sparse.random_array((300, 300), density=0.3, rng=np.random.default_rng(0))
    for kind in ("csr", "csc", "coo", "lil", "dok"):
        loaded = round_trip(matrix.asformat(kind), ring)
        assert loaded.format == kind
        assert (loaded != matrix).nnz == 0


@pytest.mark.parametrize("dtype", ["float64", "Int64", "object", "string[python]", "category"])
def test_data_frames_come_back_equal(dtype: str, ring: Keyring) -> None:
    values = pd.Series(np.arange(20_000) % 7).astype(dtype)
    frame = pd.DataFrame({"a": values, "b": values}, index=pd.RangeIndex(20_000))
    pd.testing.assert_frame_equal(round_trip(frame, ring), frame)


def test_data_frames_of_arrow_come_back_equal(ring: Keyring) -> None:
    pytest.importorskip("pyarrow")
    frame = pd.DataFrame({"a": pd.Series(["x", None, "y"] * 20_000, dtype="string[pyarrow]")})
    pd.testing.assert_frame_equal(round_trip(frame, ring), frame)


def test_a_protocol_that_is_a_text_is_taken_for_the_compression_that_it_is(ring: Keyring) -> None:
    for protocol in ("zstd", 1.5, [2]):
        with pytest.raises(TypeError, match="protocol takes a whole number"):
            signed_dumps(1, protocol, keyring=ring)  # type: ignore[arg-type]


def test_a_callback_for_buffers_needs_protocol_5(ring: Keyring) -> None:
    with pytest.raises(ValueError, match="buffer_callback"):
        signed_dumps(1, 4, keyring=ring, buffer_callback=lambda _: None)


def test_more_buffers_than_there_are_segments_stay_in_the_stream(
    ring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dump, "_MAX_SEGMENTS", 3)
    arrays = [np.full(100_000, number) for number in range(5)]
    data = signed_dumps(arrays, keyring=ring)
    assert len(inspect(io.BytesIO(data), keyring=ring).segments) == 3
    assert [int(one[0]) for one in signed_loads(data, keyring=ring)] == list(range(5))
