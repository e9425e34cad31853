"""The recorder: it knows each name that a pickler writes, and changes nothing in the stream."""

import abc
import collections
import contextlib
import copyreg
import datetime as dt
import enum
import functools
import operator
import pathlib
import pickle
import re
import sys
import types
import typing
from typing import Any

import numpy as np
import pandas as pd
import pytest
from envelopes import payload_of
from names import names_asked_for
from scipy import sparse
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import DistanceMetric, accuracy_score, make_scorer
from sklearn.neighbors import KDTree, KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from pickleseal import Keyring, signed_dumps, signed_loads
from pickleseal.envelope.metadata import MAX_IMPORTS_SIZE

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


def round_trip(obj: Any, ring: Keyring, **keywords: Any) -> Any:
    return signed_loads(signed_dumps(obj, keyring=ring, **keywords), keyring=ring)


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
def test_the_sealed_imports_are_the_names_a_load_asks_for(
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
def test_a_class_with_an_extension_code_loads_before_the_code_is_cached(
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


def test_names_beyond_the_limit_are_counted_and_the_object_loads(
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


class SaysItIsImmutable(type):
    __flags__ = 1 << 8


class Changing(metaclass=SaysItIsImmutable):
    pass


def test_a_class_that_claims_to_be_immutable_may_change_its_reduce(
    ring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    obj = Changing()
    assert isinstance(round_trip(obj, ring), Changing)
    monkeypatch.setattr(sys.modules[__name__], "the_one", obj, raising=False)
    monkeypatch.setattr(Changing, "__reduce__", lambda _: "the_one")
    assert round_trip(obj, ring) is obj


class Text(str):
    __slots__ = ()


def test_a_module_name_of_a_str_subclass_does_not_spoil_the_next_dump(
    ring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched, contextlib.suppress(ValueError):
        patched.setattr(round_trip, "__module__", Text(__name__))
        signed_dumps(round_trip, keyring=ring)
    assert round_trip([round_trip, Text("x")], ring) == [round_trip, Text("x")]


class AllAlike(type):
    """A metaclass whose classes are equal if their bases are."""

    def __eq__(cls, other: object) -> bool:
        return isinstance(other, AllAlike) and cls.__bases__ == other.__bases__

    def __hash__(cls) -> int:
        return hash(cls.__bases__)


class WithoutName(metaclass=AllAlike):
    pass


class WithName(metaclass=AllAlike):
    def __reduce__(self) -> str:
        return "the_one"


def test_classes_that_compare_equal_are_told_apart(
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


def test_a_dict_that_is_a_property_is_not_read(ring: Keyring) -> None:
    assert isinstance(round_trip(WithoutDict(), ring), WithoutDict)
    assert isinstance(round_trip(WithoutDictBelow(), ring), WithoutDictBelow)
