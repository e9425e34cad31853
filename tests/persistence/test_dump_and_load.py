"""The calls: pickle's own signatures, and what ours add."""

import inspect
import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pickleseal
from pickleseal import (
    Keyring,
    KeyringError,
    MetadataError,
    Status,
    signed_dump,
    signed_dumps,
    signed_load,
    signed_loads,
    verify,
)


@pytest.mark.parametrize("name", ["dump", "dumps", "load", "loads"])
def test_the_drop_ins_take_what_pickles_own_take(name: str) -> None:
    theirs = inspect.signature(getattr(pickle, name)).parameters
    ours = inspect.signature(getattr(pickleseal, name)).parameters
    assert [p.replace(annotation=p.empty, default=p.empty) for p in ours.values()] == [
        p.replace(annotation=p.empty, default=p.empty) for p in theirs.values()
    ]
    for parameter in theirs.values():
        if parameter.name != "buffers":
            assert ours[parameter.name].default == parameter.default


@pytest.mark.parametrize("name", ["dump", "dumps", "load", "loads"])
def test_the_signed_calls_take_what_the_drop_ins_take_and_more(name: str) -> None:
    fewer = inspect.signature(getattr(pickleseal, name)).parameters
    more = inspect.signature(getattr(pickleseal, f"signed_{name}")).parameters
    assert list(more)[: len(fewer)] == list(fewer)
    assert all(more[key].kind is more[key].KEYWORD_ONLY for key in list(more)[len(fewer) :])


def test_pickles_names_stand_beside_the_drop_ins() -> None:
    for name in (
        "HIGHEST_PROTOCOL",
        "DEFAULT_PROTOCOL",
        "PickleError",
        "PicklingError",
        "UnpicklingError",
    ):
        assert getattr(pickleseal, name) is getattr(pickle, name)
    assert not hasattr(pickleseal, "Pickler")
    assert not hasattr(pickleseal, "Unpickler")


def test_the_module_takes_pickles_place(
    ring_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PICKLESEAL_KEYRING", str(ring_directory))
    module: Any = pickleseal
    obj = {"a": [1, 2.5, b"x", "text", None, (1,), {3}]}
    assert module.loads(module.dumps(obj)) == obj
    assert module.loads(module.dumps(obj, 2)) == obj
    memory = io.BytesIO()
    module.dump(obj, memory, protocol=pickleseal.HIGHEST_PROTOCOL)
    memory.seek(0)
    assert module.load(memory) == obj
    with (tmp_path / "it").open("wb") as file:
        module.dump(obj, file)
    with (tmp_path / "it").open("rb") as file:
        assert module.load(file) == obj
    with pytest.raises(module.UnpicklingError):
        module.loads(pickle.dumps(obj))
    with pytest.raises(module.UnpicklingError):
        module.loads(signed_dumps(obj, context="a context"))


def test_info_comes_back_as_it_was_given(ring: Keyring) -> None:
    info = {
        "accuracy": 0.973,
        "tiny": 5e-324,
        "zero": -0.0,
        "rows": -5,
        "git.commit": "1a2b3c",
        "tags": ["a", "\u00fc", 1, 2.5, True],
        "nested": {"deep": ["x"]},
    }
    data = signed_dumps(1, keyring=ring, info=info)
    found = verify(io.BytesIO(data), keyring=ring)
    assert found.status is Status.WHOLE
    assert found.metadata is not None
    assert found.metadata.info == info


@pytest.mark.parametrize(
    "info",
    [
        {"a": None},
        {"a": float("nan")},
        {"a": float("inf")},
        {"a": 2**53},
        {"a": -(2**53) - 1},
        {"a b": 1},
        {1: 1},
        {10**5000: 1},
        {"": 1},
        {"x" * 65: 1},
        {"a": "line\nbreak"},
        {"a": "\ud800"},
        {"a": b"bytes"},
        {"a": {"b": {"c": []}}},
        {"a": object()},
        {"a": ["x" * 70_000]},
    ],
)
def test_info_that_cannot_be_sealed_is_a_value_error_before_anything_is_written(
    info: Any, ring: Keyring, tmp_path: Path
) -> None:
    with pytest.raises(MetadataError) as caught:
        signed_dump(1, tmp_path / "it", keyring=ring, info=info)
    assert isinstance(caught.value, ValueError)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("info", [["a"], "text", 7])
def test_info_is_a_table(info: Any, ring: Keyring) -> None:
    with pytest.raises(MetadataError, match="info: it must be a dict"):
        signed_dumps(1, keyring=ring, info=info)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (None, "type NoneType, which info does not take$"),
        (np.array([1.5]), r"\(give its .tolist"),
        (np.datetime64(1, "s"), "type datetime64, which info does not take$"),
    ],
)
def test_what_info_does_not_take_is_told(value: Any, told: str, ring: Keyring) -> None:
    with pytest.raises(MetadataError, match=told):
        signed_dumps(1, keyring=ring, info={"a": value})


def test_arguments_of_another_kind_are_misuse(ring: Keyring) -> None:
    data = signed_dumps(1, keyring=ring)
    call: Any = signed_dumps
    load: Any = signed_loads
    cases: list[tuple[type[Exception], Callable[[], Any]]] = [
        (ValueError, lambda: call(1, keyring=ring, pickler="dill")),
        (ValueError, lambda: call(1, 99, keyring=ring)),
        (TypeError, lambda: call(1, "zstd", keyring=ring)),
        (TypeError, lambda: call(1, 5.0, keyring=ring)),
        (TypeError, lambda: call(1, keyring=ring, context=b"x")),
        (TypeError, lambda: load(data, keyring=ring, context=7)),
        (ValueError, lambda: load(data, keyring=ring, on_mismatch="maybe")),
        (TypeError, lambda: load("text", keyring=ring)),
        (TypeError, lambda: load(None, keyring=ring)),
        (TypeError, lambda: load(7, keyring=ring)),
    ]
    for error, act in cases:
        with pytest.raises(error):
            act()


def test_what_was_meant_by_an_argument_in_another_place_is_told(ring: Keyring) -> None:
    call: Any = signed_dumps
    with pytest.raises(TypeError, match="None, not str: compress= is a keyword"):
        call(1, "zstd", keyring=ring)


@pytest.mark.parametrize("wrong", ["abc", "ps2:", "ps3:" + "0" * 64, "ps2:" + "G" * 64])
def test_what_names_no_content_is_told_before_anything_is_read(
    wrong: str, ring: Keyring, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="expect takes ps1: or ps2: and 64 hexadecimal digits"):
        signed_load(tmp_path / "none", keyring=ring, expect=wrong)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        *(("min_serial", value) for value in ("7", 7.0, float("nan"), True, [1])),
        *(("max_bytes", value) for value in ("1000000", 1e6, True)),
        *(("expect", value) for value in (5, b"ps2:", True)),
        *(("allow", value) for value in (5, "numpy", [5], [None], ["numpy", b"scipy"])),
        *(("max_age", value) for value in (3600, "1 day", True)),
    ],
)
def test_what_a_load_asks_is_of_its_kind_and_that_is_told_before_anything_is_read(
    name: str, wrong: Any, ring: Keyring, tmp_path: Path
) -> None:
    loads: list[tuple[Any, Any]] = [(signed_loads, b"none"), (signed_load, tmp_path / "none")]
    for load, source in loads:
        with pytest.raises(TypeError, match=name):
            load(source, keyring=ring, **{name: wrong})


def test_bytes_like_objects_load_as_bytes_do(ring: Keyring) -> None:
    data = signed_dumps([1, 2], keyring=ring)
    doubled = bytes(b for byte in data for b in (byte, 0))
    for view in (bytearray(data), memoryview(data), memoryview(doubled)[::2]):
        assert signed_loads(view, keyring=ring) == [1, 2]


def test_no_key_is_told_before_anything_is_pickled(tmp_path: Path) -> None:
    class Touchy:
        def __reduce__(self) -> tuple[object, ...]:
            raise AssertionError("it was pickled")

    with pytest.raises(KeyringError):
        signed_dump(Touchy(), tmp_path / "it")
    assert list(tmp_path.iterdir()) == []


def test_what_a_class_raises_while_it_is_unpickled_passes_through(ring: Keyring) -> None:
    data = signed_dumps(Refusing(), keyring=ring)
    with pytest.raises(ZeroDivisionError):
        signed_loads(data, keyring=ring)


class Refusing:
    def __reduce__(self) -> tuple[object, ...]:
        return divmod, (1, 0)


def test_an_object_that_loads_others_while_it_loads_is_no_trouble(
    ring_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PICKLESEAL_KEYRING", str(ring_directory))
    signed_dump("inner", tmp_path / "inner")
    signed_dump(Nested(tmp_path / "inner"), tmp_path / "outer")
    assert signed_load(tmp_path / "outer") == "inner"


class Nested:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return signed_load, (self.path,)
