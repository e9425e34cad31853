"""The one room that pickles: buffers, names, and what a load holds a stream against."""

import abc
import collections
import contextlib
import copyreg
import datetime as dt
import enum
import functools
import hashlib
import io
import operator
import pathlib
import pickle
import re
import subprocess
import sys
import types
import typing
import zlib
from collections.abc import Callable
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from names import names_asked_for
from numpy.typing import NDArray
from scipy import sparse
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import DistanceMetric, accuracy_score, make_scorer
from sklearn.neighbors import KDTree, KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from pickleseal import (
    Keyring,
    MalformedError,
    PolicyError,
    adopt_bytes,
    signed_dumps,
    signed_loads,
)
from pickleseal.envelope import reader, seal
from pickleseal.envelope.metadata import MAX_IMPORTS_SIZE, External, Metadata
from pickleseal.envelope.source import memory_source
from pickleseal.envelope.target import join_envelope
from pickleseal.pickling.dump import OUT_OF_BAND_SIZE as LIMIT

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


def payload_of(data: bytes, ring: Keyring) -> seal.Verified:
    return reader.read(memory_source(data), lambda: ring, check=lambda _: None)


def crafted(ring: Keyring, metadata: Metadata, *segments: bytes) -> bytes:
    """Give a genuine envelope around segments that no dump of ours would write."""
    key = ring.sealing_key(context=None, now=0)
    views = [memoryview(segment) for segment in segments]
    head = seal.seal_head(key, metadata, [len(view) for view in views])
    return join_envelope(head.data, views, head.finish, key.suite)


def round_trip(obj: Any, ring: Keyring, **keywords: Any) -> Any:
    return signed_loads(signed_dumps(obj, keyring=ring, **keywords), keyring=ring)


# --- objects with ways of their own ----------------------------------------------------------


class Plain:
    pass


class Colour(enum.Enum):
    RED = 1


class Number(enum.IntEnum):
    ONE = 1


class Outer:
    class Inner:
        """A class in a class."""

        class Deep(enum.Flag):
            """An enum in a class in a class."""

            ONE = 1
            TWO = 2

        def method(self) -> None:
            pass

    @staticmethod
    def static() -> None:
        pass

    @classmethod
    def of_class(cls) -> None:
        pass


class ByName:
    def __init__(self, name: str) -> None:
        self.name = name

    def __reduce__(self) -> str:
        return self.name


class Holder:
    named = ByName("Holder.named")


class Proxy:
    def __init__(self, target: Any) -> None:
        self.__dict__["target"] = target

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.__dict__["target"], name)


class FullProxy:
    def __init__(self, target: Any) -> None:
        object.__setattr__(self, "target", target)

    def __getattribute__(self, name: str) -> Any:
        return getattr(object.__getattribute__(self, "target"), name)


class Lying:
    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return dict

    def __reduce__(self) -> Any:
        return Lying, ()


class Hidden:
    def __getattribute__(self, name: str) -> Any:
        if name == "__reduce_ex__":
            raise AttributeError(name)
        return object.__getattribute__(self, name)

    def __reduce__(self) -> Any:
        return Hidden, ()


class Registered(type):
    pass


class OfRegistered(metaclass=Registered):
    pass


class OfMeta(metaclass=abc.ABCMeta):  # noqa: B024 - for its metaclass alone
    pass


class WithState:
    def __reduce__(self) -> Any:
        return object.__new__, (WithState,), {"a": 1}, None, None, set_state


class WithItems:
    def __reduce__(self) -> Any:
        return collections.OrderedDict, (), None, None, iter({Plain: set_state}.items())


class OfKeywords:
    def __new__(cls, *, a: Any) -> Any:
        del a
        return object.__new__(cls)

    def __getnewargs_ex__(self) -> Any:
        return (), {"a": Outer.Inner}


class ReducedOnce:
    count = 0

    def __reduce_ex__(self, protocol: Any) -> Any:
        ReducedOnce.count += 1
        return ReducedOnce, ()


class Recursive:
    pass


def set_state(obj: Any, state: Any) -> None:
    obj.__dict__.update(state)


by_name = ByName("by_name")
by_own_method = Plain()
by_own_method.__reduce_ex__ = lambda _: "by_own_method"  # type: ignore[method-assign]
copyreg.pickle(Registered, lambda _: "OfRegistered")
T = typing.TypeVar("T")


def fitted(model: Any) -> Any:
    rows = np.arange(40.0).reshape(20, 2)
    return model.fit(rows, np.arange(20) % 2)


OBJECTS: dict[str, Any] = {
    "singletons": [None, ..., NotImplemented, type(None), type(...), type(NotImplemented)],
    "types": [type, object, int, set, types.GenericAlias],
    "built-in functions": [len, "ab".upper, str.upper, [].append, dict.fromkeys, functools.reduce],
    "functions and methods": [set_state, Outer.Inner.method, Outer.Inner().method, Outer.static],
    "a class method": Outer.of_class,
    "partials": [functools.partial(set_state, 1, state=Outer), operator.itemgetter(1)],
    "enum members": [Colour.RED, Number.ONE, Outer.Inner.Deep.ONE | Outer.Inner.Deep.TWO],
    "nested classes": [Outer.Inner, Outer.Inner()],
    "an object by its name": by_name,
    "an object by its path": Holder.named,
    "an object with a method of its own": [Plain(), by_own_method],
    "proxies": [Proxy(set_state), FullProxy(Outer())],
    "an object that lies about its class": Lying(),
    "an object that hides a method": Hidden(),
    "a class whose metaclass is registered": [OfRegistered, OfRegistered()],
    "a class of a plain metaclass": [OfMeta, OfMeta()],
    "a setter of state": WithState(),
    "items": WithItems(),
    "keyword arguments of __new__": OfKeywords(a=1),
    "type variables and aliases": [T, list[int], dict[str, T], int | str, typing.Any],  # type: ignore[valid-type]
    "collections": [collections.OrderedDict(a=1), collections.deque([1]), collections.Counter("a")],
    "sets and bytearrays": [{1}, frozenset([Outer]), bytearray(b"x"), b"x", 1j, range(3), slice(1)],
    "times": [dt.datetime(2026, 1, 1, tzinfo=dt.UTC), dt.timedelta(1)],
    "paths and patterns": [pathlib.PurePosixPath("a"), re.compile("a")],
    "errors": [ValueError("a"), OSError(2, "a"), ExceptionGroup("a", [KeyError(1)])],
    "functions of numpy": [np.sin, np.add, np.add.reduce, np.linalg.norm],
    "random states": [np.random.default_rng(0), np.random.RandomState(0)],
    "scalars of numpy": [np.float64(1), np.bool_(True), np.datetime64("2026-01-01"), np.str_("a")],
    "dtypes": [np.dtype("f4"), np.dtype([("a", "i4"), ("b", "O")])],
    "arrays": [np.arange(3), np.array(3), np.zeros(0), np.array(["a"]), np.ma.masked_array([1])],
    "arrays of objects": np.array([set_state, Outer], dtype=object),
    "sparse matrices": [sparse.csr_array([[1, 0]]), sparse.coo_matrix([[1]])],
    "a data frame": pd.DataFrame(
        {"a": [1, 2], "b": ["x", "y"]}, index=pd.date_range("2026", periods=2)
    ),
    "parts of pandas": [pd.NaT, pd.NA, pd.Interval(1, 2), pd.Categorical(["a"]), pd.Timestamp(0)],
    "models": [fitted(KNeighborsClassifier()), fitted(RandomForestClassifier(2, random_state=0))],
    "a pipeline": fitted(make_pipeline(StandardScaler(), KNeighborsClassifier())),
    "a transformer of columns": fitted(ColumnTransformer([("a", StandardScaler(), [0])])),
    "parts of scikit-learn": [
        KDTree([[1.0, 2.0]]),
        DistanceMetric.get_metric("euclidean"),
        make_scorer(accuracy_score),
    ],
}


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("obj", OBJECTS.values(), ids=OBJECTS.keys())
def test_the_sealed_imports_are_the_names_that_the_load_asks_for(
    obj: Any, protocol: int, ring: Keyring
) -> None:
    data = signed_dumps(obj, protocol, keyring=ring)
    payload = payload_of(data, ring)
    assert set(payload.head.metadata.imports or ()) == names_asked_for(payload.stored[0])
    signed_loads(data, keyring=ring)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("obj", OBJECTS.values(), ids=OBJECTS.keys())
def test_the_stream_is_the_one_that_pickle_writes(obj: Any, protocol: int, ring: Keyring) -> None:
    payload = payload_of(signed_dumps(obj, protocol, keyring=ring), ring)
    assert payload.stored[0] == pickle.dumps(obj, protocol)


def test_an_object_is_reduced_once(ring: Keyring) -> None:
    for protocol in PROTOCOLS:
        before = ReducedOnce.count
        signed_dumps(ReducedOnce(), protocol, keyring=ring)
        assert ReducedOnce.count == before + 1


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_class_found_by_an_extension_code_loads_where_the_code_is_not_yet_known(
    protocol: int, ring: Keyring
) -> None:
    copyreg.add_extension(Plain.__module__, "Plain", 0xABCD)
    try:
        data = signed_dumps(Plain, protocol, keyring=ring)
        copyreg.clear_extension_cache()
        assert signed_loads(data, keyring=ring) is Plain
    finally:
        copyreg.remove_extension(Plain.__module__, "Plain", 0xABCD)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_class_whose_path_leads_through_its_module_loads(
    protocol: int, ring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Recursive, "module", sys.modules[__name__], raising=False)
    Recursive.__qualname__ = "Recursive.module.Recursive"
    try:
        assert round_trip(Recursive, ring, protocol=protocol) is Recursive
    finally:
        Recursive.__qualname__ = "Recursive"


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_what_pickle_cannot_pickle_raises_what_pickle_raises(protocol: int, ring: Keyring) -> None:
    of_no_module = type("OfNoModule", (), {"__module__": 5})
    objects: list[Any] = [lambda: None, types, {}.keys(), memoryview(b""), of_no_module]
    for obj in objects:
        with pytest.raises((TypeError, AttributeError, pickle.PicklingError)) as plain:
            pickle.dumps(obj, protocol)
        with pytest.raises(plain.type):
            signed_dumps(obj, protocol, keyring=ring)


def test_it_is_told_what_pickles_a_function_of_ones_own(ring: Keyring) -> None:
    def local() -> None: ...

    class Broken:
        def __reduce__(self) -> Any:
            raise AttributeError("something else")

    for obj, notes in ((lambda: None, 1), (local, 1), (Broken(), 0)):
        with pytest.raises((AttributeError, pickle.PicklingError)) as caught:
            signed_dumps(obj, keyring=ring)
        assert len(getattr(caught.value, "__notes__", ())) == notes
    of_main = b"c__main__\nNoSuchName\n."
    for raw, notes in ((of_main, 1), (zlib.compress(of_main), 1), (b"cpickle\nNoSuchName\n.", 1)):
        data = adopt_bytes(raw, keyring=ring)
        with pytest.raises(AttributeError) as missing:
            signed_loads(data, keyring=ring)
        assert len(getattr(missing.value, "__notes__", ())) == notes


# --- buffers beside the stream ---------------------------------------------------------------


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
def test_the_example_of_the_pickle_documentation_comes_back_exactly(
    size: int, ring: Keyring
) -> None:
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


def test_a_buffer_of_the_limit_and_above_gets_a_segment_and_a_smaller_one_does_not(
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


# --- what a load holds a stream against ------------------------------------------------------

marks: list[str] = []


def mark(text: str) -> str:
    marks.append(text)
    return text


class Marking:
    """An object whose unpickling leaves a mark."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __reduce__(self) -> Any:
        return mark, (self.text,)


def test_a_name_that_the_sealed_imports_lack_is_refused_and_nothing_is_run(ring: Keyring) -> None:
    stream = pickle.dumps(Marking("of a name not listed"))
    for imports in ((), (("builtins", "len"),), ((__name__, "Marking"),)):
        data = crafted(ring, Metadata("pickle", imports=imports), stream)
        with pytest.raises(PolicyError):
            signed_loads(data, keyring=ring)
    assert "of a name not listed" not in marks
    data = crafted(ring, Metadata("pickle", imports=((__name__, "mark"),)), stream)
    assert signed_loads(data, keyring=ring) == "of a name not listed"


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Give a module that has the name of one of Python 2, which is `subprocess` today."""
    module = types.ModuleType("commands")
    module.getoutput = "of the module commands"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "commands", module)
    return module


NAMES_COMMANDS = b"ccommands\ngetoutput\n."


@pytest.mark.parametrize("start", [b"\x80\x03", b"\x80\x04", b"\x80\x05"])
def test_what_is_allowed_by_a_name_of_today_is_no_module_with_a_name_of_old(
    start: bytes, ring: Keyring, commands: Any
) -> None:
    metadata = Metadata("pickle", imports=(("commands", "getoutput"),))
    for told in (metadata, Metadata("pickle", imports_omitted=1)):
        data = crafted(ring, told, start + NAMES_COMMANDS)
        with pytest.raises(PolicyError):
            signed_loads(data, keyring=ring, allow=["subprocess"])
        assert signed_loads(data, keyring=ring, allow=["commands"]) == commands.getoutput


@pytest.mark.parametrize("start", [b"", b"\x80\x02", b"\x80\x02\x80\x04", b"N0\x80\x05"])
def test_a_name_of_python_2_is_allowed_by_that_of_today_which_is_the_one_that_is_looked_up(
    start: bytes, ring: Keyring, commands: Any
) -> None:
    metadata = Metadata("pickle", imports=(("commands", "getoutput"),))
    data = crafted(ring, metadata, start + NAMES_COMMANDS)
    for allow in (["subprocess"], ["subprocess.getoutput"], None):
        assert signed_loads(data, keyring=ring, allow=allow) is subprocess.getoutput
    for told in (metadata, Metadata("pickle", imports_omitted=1)):
        data = crafted(ring, told, start + NAMES_COMMANDS)
        for old in ("commands", "commands.getoutput"):
            with pytest.raises(PolicyError, match=r"subprocess\.getoutput .*commands"):
                signed_loads(data, keyring=ring, allow=[old])
    with pytest.raises(PolicyError):
        signed_loads(data, keyring=ring, allow=["subprocess"], fix_imports=False)
    plain = signed_loads(data, keyring=ring, allow=["commands"], fix_imports=False)
    assert plain == commands.getoutput


@pytest.mark.parametrize("pack", [bytes, zlib.compress])
def test_a_file_of_joblibs_reaches_no_name_that_is_allowed_by_one_of_old_alone(
    pack: Callable[[bytes], bytes], ring: Keyring, commands: Any
) -> None:
    file = io.BytesIO()
    joblib.dump(np.empty(1, object), file)
    # The pickle that an array of objects has of its own stands in the stream of the whole.
    beside = file.getvalue()[: file.getvalue().rindex(b"\x80")]
    stream = b"\x80\x02" + NAMES_COMMANDS
    for whole in (stream, beside + stream + b"."):
        metadata = Metadata("joblib", imports_omitted=1, raw_size=len(whole))
        data = crafted(ring, metadata, pack(whole))
        with pytest.raises(PolicyError, match=r"subprocess\.getoutput .*commands"):
            signed_loads(data, keyring=ring, allow=["commands", "joblib", "numpy"])
        found = signed_loads(data, keyring=ring, allow=["subprocess", "joblib", "numpy"])
        assert found is subprocess.getoutput


@pytest.mark.parametrize("protocol", [0, 1, 2])
def test_sets_of_old_protocols_are_allowed_by_the_builtins_of_today(
    protocol: int, ring: Keyring
) -> None:
    data = signed_dumps({1, 2}, protocol, keyring=ring)
    allow = ["builtins.set", "builtins.object", "copyreg"]
    assert signed_loads(data, keyring=ring, allow=allow) == {1, 2}
    with pytest.raises(PolicyError, match=r"builtins\.set .*__builtin__\.set"):
        signed_loads(data, keyring=ring, allow=["__builtin__", "copy_reg"])


def test_imports_that_were_left_out_are_not_enforced(ring: Keyring) -> None:
    data = crafted(ring, Metadata("pickle", imports_omitted=1), pickle.dumps(Plain()))
    assert type(signed_loads(data, keyring=ring)) is Plain


def test_more_names_than_there_is_room_for_are_counted_and_the_object_loads(
    ring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    classes = []
    for number in range(MAX_IMPORTS_SIZE // 100):
        name = f"Class{number:0100}"
        cls = type(name, (), {"__module__": __name__})
        monkeypatch.setitem(globals(), name, cls)
        classes.append(cls)
    data = signed_dumps(classes, keyring=ring)
    metadata = payload_of(data, ring).head.metadata
    assert metadata.imports is None
    assert metadata.imports_omitted == len(classes)
    assert signed_loads(data, keyring=ring) == classes


@pytest.mark.parametrize("tail", [b"\0", b".", b"N.", bytes(100)])
def test_bytes_after_the_end_of_a_pickle_are_refused(tail: bytes, ring: Keyring) -> None:
    for protocol in PROTOCOLS:
        data = crafted(ring, Metadata("pickle"), pickle.dumps([1, 2], protocol) + tail)
        with pytest.raises(MalformedError):
            signed_loads(data, keyring=ring)


@pytest.mark.parametrize("content", ["pickle", "joblib"])
def test_bytes_after_the_end_of_a_pickle_are_refused_in_its_last_frame_too(
    content: str, ring: Keyring
) -> None:
    for body, fits in ((b"K\x01.", True), (b"K\x01.surplus", False)):
        raw = b"\x80\x04\x95" + len(body).to_bytes(8, "little") + body
        size = len(raw) if content == "joblib" else None
        data = crafted(ring, Metadata(content, raw_size=size), raw)
        if fits:
            assert signed_loads(data, keyring=ring) == 1
        else:
            with pytest.raises(MalformedError):
                signed_loads(data, keyring=ring)


def test_a_stream_that_is_no_pickle_is_an_unpickling_error(ring: Keyring) -> None:
    cut_off = pickle.dumps(bytearray(100), 5)[:50]
    for raw in (b"", b"N", b"\x80\x05N", b"hello", b"\xff.", b"Vno line end", cut_off):
        with pytest.raises((pickle.UnpicklingError, EOFError)):
            signed_loads(crafted(ring, Metadata("pickle"), raw), keyring=ring)


def test_what_was_not_sealed_as_a_pickle_is_not_unpickled(ring: Keyring) -> None:
    data = crafted(ring, Metadata("inventory"), pickle.dumps(Marking("of another content")))
    with pytest.raises(PolicyError, match="it is an inventory and no object"):
        signed_loads(data, keyring=ring)
    assert "of another content" not in marks


def out_of_band(obj: Any) -> tuple[bytes, list[bytes]]:
    buffers: list[pickle.PickleBuffer] = []
    stream = pickle.dumps(obj, 5, buffer_callback=buffers.append)
    return stream, [bytes(buffer.raw()) for buffer in buffers]


def test_buffers_that_the_pickle_does_not_take_are_refused(ring: Keyring) -> None:
    stream, buffers = out_of_band(np.arange(3.0))
    metadata = Metadata("pickle", imports_omitted=1)
    data = crafted(ring, metadata, stream, *buffers)
    np.testing.assert_array_equal(signed_loads(data, keyring=ring), np.arange(3.0))
    for surplus in ([b""], [b"more"], [*buffers]):
        with pytest.raises(MalformedError):
            signed_loads(crafted(ring, metadata, stream, *buffers, *surplus), keyring=ring)


def test_a_pickle_that_lacks_a_buffer_is_an_unpickling_error(ring: Keyring) -> None:
    stream, _ = out_of_band(np.arange(3.0))
    with pytest.raises(pickle.UnpicklingError):
        signed_loads(crafted(ring, Metadata("pickle"), stream), keyring=ring)


# --- buffers that the caller keeps -----------------------------------------------------------


@pytest.fixture
def kept_outside(ring: Keyring) -> tuple[bytes, list[Any], list[NDArray[Any]]]:
    """Give an envelope, the buffers kept out of it, and the arrays that both came of."""
    arrays = [np.arange(5.0), np.arange(float(LIMIT)), np.arange(7)]
    buffers: list[Any] = []
    return signed_dumps(arrays, keyring=ring, buffer_callback=buffers.append), buffers, arrays


def test_buffers_kept_outside_are_bound_and_passed_on_uncopied(
    kept_outside: tuple[bytes, list[Any], list[NDArray[Any]]], ring: Keyring
) -> None:
    data, buffers, arrays = kept_outside
    for given in (buffers, tuple(buffers), iter(buffers)):
        loaded = signed_loads(data, keyring=ring, buffers=given)
        for one, other in zip(loaded, arrays, strict=True):
            np.testing.assert_array_equal(one, other)
            assert np.shares_memory(one, other)


def test_the_binding_of_buffers_kept_outside_is_the_one_of_the_format(
    kept_outside: tuple[bytes, list[Any], list[NDArray[Any]]], ring: Keyring
) -> None:
    data, buffers, _ = kept_outside
    digest = hashlib.sha256()
    for buffer in buffers:
        raw = bytes(buffer.raw())
        digest.update(len(raw).to_bytes(8, "little") + hashlib.sha256(raw).digest())
    size = sum(buffer.raw().nbytes for buffer in buffers)
    external = payload_of(data, ring).head.metadata.external
    assert external == External(len(buffers), size, digest.hexdigest())


def test_other_buffers_than_those_bound_are_refused(
    kept_outside: tuple[bytes, list[Any], list[NDArray[Any]]], ring: Keyring
) -> None:
    data, buffers, _ = kept_outside
    one, two, three = buffers
    changed = bytearray(two.raw())
    changed[-1] ^= 1
    for given in (
        None,
        [],
        [one, two],
        [one, two, three, three],
        [one, two, three, b""],
        [two, one, three],
        [one, changed, three],
        [one, bytes(two.raw())[:-1], three],
        [bytes(one.raw()) + bytes(two.raw()), b"", three],
    ):
        with pytest.raises(PolicyError):
            signed_loads(data, keyring=ring, buffers=given)


def test_buffers_are_checked_before_anything_is_unpickled(ring: Keyring) -> None:
    obj = [Marking("before the buffers"), pickle.PickleBuffer(b"abc")]
    data = signed_dumps(obj, keyring=ring, buffer_callback=lambda _: None)
    with pytest.raises(PolicyError):
        signed_loads(data, keyring=ring, buffers=[b"abd"])
    assert "before the buffers" not in marks
    assert signed_loads(data, keyring=ring, buffers=[b"abc"]) == ["before the buffers", b"abc"]


def test_a_callback_that_returns_true_leaves_the_buffer_in_the_stream(ring: Keyring) -> None:
    array = np.arange(float(LIMIT))
    seen: list[int] = []

    def callback(buffer: pickle.PickleBuffer) -> bool:
        seen.append(buffer.raw().nbytes)
        return True

    data = signed_dumps(array, keyring=ring, buffer_callback=callback)
    payload = payload_of(data, ring)
    assert seen == [array.nbytes]
    assert payload.head.fixed.segments == 1
    assert payload.head.metadata.external is None
    np.testing.assert_array_equal(signed_loads(data, keyring=ring), array)


def test_a_callback_that_takes_some_buffers_binds_those(ring: Keyring) -> None:
    arrays = [np.arange(3.0), np.arange(4.0), np.arange(5.0)]
    taken: list[Any] = []

    def callback(buffer: pickle.PickleBuffer) -> bool:
        if buffer.raw().nbytes == arrays[1].nbytes:
            taken.append(buffer)
            return False
        return True

    data = signed_dumps(arrays, keyring=ring, buffer_callback=callback)
    external = payload_of(data, ring).head.metadata.external
    assert external is not None
    assert (external.buffers, external.size) == (1, arrays[1].nbytes)
    loaded = signed_loads(data, keyring=ring, buffers=taken)
    for one, other in zip(loaded, arrays, strict=True):
        np.testing.assert_array_equal(one, other)


def test_an_envelope_that_keeps_its_buffers_ignores_those_given(ring: Keyring) -> None:
    data = signed_dumps(np.arange(float(LIMIT)), keyring=ring)
    np.testing.assert_array_equal(
        signed_loads(data, keyring=ring, buffers=[b"other"]), np.arange(float(LIMIT))
    )


def test_a_callback_asks_for_protocol_5_as_in_pickle(ring: Keyring) -> None:
    for protocol in range(5):
        with pytest.raises(ValueError, match="protocol"):
            signed_dumps([], protocol, keyring=ring, buffer_callback=lambda _: None)


def test_what_a_callback_raises_passes_through(ring: Keyring) -> None:
    def callback(buffer: pickle.PickleBuffer) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        signed_dumps(np.zeros(3), keyring=ring, buffer_callback=callback)


# --- arguments -------------------------------------------------------------------------------


@pytest.mark.parametrize(("protocol", "written"), [(None, 5), (-1, 5), (2, 2), (5, 5)])
def test_the_protocol_is_the_one_asked_for_and_5_by_default(
    protocol: int | None, written: int, ring: Keyring
) -> None:
    stream = payload_of(signed_dumps([1], protocol, keyring=ring), ring).stored[0]
    assert bytes(stream[:2]) == bytes([0x80, written])


def test_a_protocol_that_there_is_not_is_a_value_error(ring: Keyring) -> None:
    with pytest.raises(ValueError, match="protocol"):
        signed_dumps([1], pickle.HIGHEST_PROTOCOL + 1, keyring=ring)


def test_a_pickler_that_there_is_not_is_a_value_error(ring: Keyring) -> None:
    with pytest.raises(ValueError, match="pickler"):
        signed_dumps([1], keyring=ring, pickler="dill")  # type: ignore[arg-type]


def test_pickles_of_python_2_load_with_an_encoding(ring: Keyring) -> None:
    data = adopt_bytes(b"U\x02\xe9\xe8.", keyring=ring)
    assert signed_loads(data, keyring=ring, encoding="latin-1") == "\u00e9\u00e8"
    assert signed_loads(data, keyring=ring, encoding="bytes") == b"\xe9\xe8"
    with pytest.raises(UnicodeDecodeError):
        signed_loads(data, keyring=ring)
    assert signed_loads(data, keyring=ring, errors="ignore") == ""


@pytest.mark.parametrize("protocol", [0, 1, 2])
def test_names_of_python_2_are_written_and_read_as_pickle_does(
    protocol: int, ring: Keyring
) -> None:
    for fix_imports, module in ((True, "__builtin__"), (False, "builtins")):
        data = signed_dumps(range(3), protocol, keyring=ring, fix_imports=fix_imports)
        modules = {name for name, _ in payload_of(data, ring).head.metadata.imports or ()}
        assert module in modules
        assert signed_loads(data, keyring=ring, fix_imports=fix_imports) == range(3)


def test_what_a_class_raises_while_unpickling_passes_through(ring: Keyring) -> None:
    data = adopt_bytes(b"cbuiltins\nint\n(Vno number\ntR.", keyring=ring)
    with pytest.raises(ValueError, match="no number"):
        signed_loads(data, keyring=ring)


class SaysItIsImmutable(type):
    __flags__ = 1 << 8


class Changing(metaclass=SaysItIsImmutable):
    pass


def test_a_class_that_only_says_that_nobody_can_change_it_is_looked_at_anew(
    ring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    obj = Changing()
    assert isinstance(round_trip(obj, ring), Changing)
    monkeypatch.setattr(sys.modules[__name__], "the_one", obj, raising=False)
    monkeypatch.setattr(Changing, "__reduce__", lambda _: "the_one")
    assert round_trip(obj, ring) is obj


class Text(str):
    __slots__ = ()


def test_a_dump_of_names_of_a_kind_of_text_does_not_matter_to_the_next(
    ring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched, contextlib.suppress(ValueError):
        patched.setattr(round_trip, "__module__", Text(__name__))
        signed_dumps(round_trip, keyring=ring)
    assert round_trip([round_trip, Text("x")], ring) == [round_trip, Text("x")]


class AllAlike(type):
    """Takes classes that have the same bases for the same."""

    def __eq__(cls, other: object) -> bool:
        return isinstance(other, AllAlike) and cls.__bases__ == other.__bases__

    def __hash__(cls) -> int:
        return hash(cls.__bases__)


class WithoutName(metaclass=AllAlike):
    pass


class WithName(metaclass=AllAlike):
    def __reduce__(self) -> str:
        return "the_one"


def test_classes_that_equal_each_other_are_told_apart(
    ring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = WithName()
    monkeypatch.setattr(sys.modules[__name__], "the_one", named, raising=False)
    for objects in ([WithoutName(), named], [named, WithoutName()]):
        assert named in round_trip(objects, ring)


class WithoutDict:
    @property
    def __dict__(self) -> Any:  # type: ignore[override]
        raise RuntimeError("not configured")

    def __getstate__(self) -> Any:
        return None


class WithoutDictBelow(WithoutDict):
    def __init__(self) -> None:
        self.a = 1


def test_a_dict_that_is_a_property_is_not_asked_for(ring: Keyring) -> None:
    assert isinstance(round_trip(WithoutDict(), ring), WithoutDict)
    assert isinstance(round_trip(WithoutDictBelow(), ring), WithoutDictBelow)
