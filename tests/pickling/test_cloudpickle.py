"""Objects that plain pickle cannot save, sealed with cloudpickle and loaded like all others."""

import os
import pickle
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from envelopes import hand_sealed, payload_of
from names import names_asked_for
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from pickleseal import Keyring, PolicyError, extract, signed_dumps, signed_loads

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


def sealed(obj: Any, ring: Keyring, protocol: int | None = None, **keywords: Any) -> bytes:
    """Seal an object with cloudpickle, and hold its sealed imports against the oracle."""
    data = signed_dumps(obj, protocol, keyring=ring, pickler="cloudpickle", **keywords)
    payload = payload_of(data, ring)
    assert set(payload.head.metadata.imports or ()) == names_asked_for(payload.stored[0])
    return data


def counter() -> Callable[[], int]:
    count = 0

    def count_on() -> int:
        nonlocal count
        count += 1
        return count

    return count_on


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_lambda_comes_back(protocol: int, ring: Keyring) -> None:
    function = signed_loads(sealed(lambda x: x + 1, ring, protocol), keyring=ring)
    assert function(1) == 2


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_closure_comes_back_with_a_state_of_its_own(protocol: int, ring: Keyring) -> None:
    original = counter()
    original()
    function = signed_loads(sealed(original, ring, protocol), keyring=ring)
    assert [function(), function()] == [2, 3]
    assert original() == 2


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_class_made_in_a_function_comes_back_with_its_objects(
    protocol: int, ring: Keyring
) -> None:
    class Local:
        def __init__(self, value: int) -> None:
            self.value = value

        def twice(self) -> int:
            return 2 * self.value

    loaded = signed_loads(sealed([Local(1), Local(2)], ring, protocol), keyring=ring)
    assert [item.twice() for item in loaded] == [2, 4]
    assert type(loaded[0]) is type(loaded[1])


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_objects_that_plain_pickle_takes_come_back_as_well(protocol: int, ring: Keyring) -> None:
    for obj in (None, [1, {"a": (2, 3.5)}], len, np.float64, Path("a"), ..., type(None)):
        assert signed_loads(sealed(obj, ring, protocol), keyring=ring) == obj


def test_large_arrays_in_a_closure_go_beside_the_stream(ring: Keyring) -> None:
    table = np.arange(100_000.0)
    data = sealed(lambda row: table[row], ring)
    payload = payload_of(data, ring)
    assert [len(buffer) for buffer in payload.stored[1:]] == [table.nbytes]
    function = signed_loads(data, keyring=ring)
    assert function(99_999) == 99_999.0


def test_buffers_kept_outside_are_bound(ring: Keyring) -> None:
    table = np.arange(10.0)
    buffers: list[Any] = []
    data = sealed(lambda row: table[row], ring, buffer_callback=buffers.append)
    with pytest.raises(PolicyError):
        signed_loads(data, keyring=ring)
    assert signed_loads(data, keyring=ring, buffers=buffers)(9) == 9.0


def test_a_pipeline_with_a_lambda_predicts_as_before(ring: Keyring) -> None:
    rows, target = load_iris(return_X_y=True)
    model = make_pipeline(
        FunctionTransformer(lambda table: table - table.mean(axis=0)),
        LogisticRegression(max_iter=500),
    ).fit(rows, target)
    loaded = signed_loads(sealed(model, ring, context="iris"), keyring=ring, context="iris")
    np.testing.assert_array_equal(loaded.predict(rows), model.predict(rows))


def test_plain_pickle_refuses_a_lambda_and_says_so(ring: Keyring) -> None:
    with pytest.raises((pickle.PicklingError, AttributeError)):
        signed_dumps(lambda: None, keyring=ring)


def test_an_extracted_lambda_loads_with_plain_pickle(ring: Keyring) -> None:
    assert pickle.loads(extract(sealed(lambda: "here", ring), keyring=ring))() == "here"


def test_a_name_that_the_sealed_imports_lack_is_refused(ring: Keyring) -> None:
    payload = payload_of(sealed(lambda: None, ring), ring)
    for missing in payload.head.metadata.imports or ():
        listed = tuple(name for name in payload.head.metadata.imports or () if name != missing)
        metadata = payload.head.metadata._replace(imports=listed)
        data = hand_sealed(ring, metadata, payload.stored[0])
        with pytest.raises(PolicyError):
            signed_loads(data, keyring=ring)


DUMPER = """
    import sys
    from dataclasses import dataclass
    from enum import Enum

    import numpy as np
    from sklearn.base import BaseEstimator, TransformerMixin
    from sklearn.linear_model import LinearRegression
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import FunctionTransformer

    from pickleseal import signed_dump

    FACTOR = 3

    class Unit(Enum):
        METRE = "m"

    @dataclass
    class Length:
        value: float
        unit: Unit = Unit.METRE

    class Centred(TransformerMixin, BaseEstimator):
        def fit(self, rows, target=None):
            self.mean_ = rows.mean(axis=0)
            return self

        def transform(self, rows):
            return rows - self.mean_

    def scaled(number):
        return helper(number) * FACTOR

    def helper(number):
        return number + 1

    def fact(number):
        return number * fact(number - 1) if number else 1

    rows = np.arange(20.0).reshape(10, 2)
    model = Pipeline([
        ("centre", Centred()),
        ("square", FunctionTransformer(lambda table: table**2)),
        ("line", LinearRegression()),
    ]).fit(rows, rows.sum(axis=1))
    things = {
        "scaled": scaled, "fact": fact, "length": Length(2.5), "unit": Unit.METRE,
        "model": model, "rows": rows, "predictions": model.predict(rows),
        "generator": lambda n: (i * FACTOR for i in range(n)),
    }
    signed_dump(things, sys.argv[1], pickler="cloudpickle")
"""

LOADER = """
    import sys

    import numpy as np

    from pickleseal import signed_load

    things = signed_load(sys.argv[1])
    assert things["scaled"](1) == 6
    assert things["fact"](5) == 120
    assert things["length"].value == 2.5
    assert things["length"].unit is things["unit"]
    assert things["unit"].value == "m"
    assert list(things["generator"](3)) == [0, 3, 6]
    np.testing.assert_array_equal(
        things["model"].predict(things["rows"]), things["predictions"]
    )
    assert not hasattr(sys.modules["__main__"], "Centred")
    print("all there")
"""


def test_names_of_main_are_dumped_by_one_process_and_loaded_by_another(
    tmp_path: Path, ring_directory: Path
) -> None:
    environment = {**os.environ, "PICKLESEAL_KEYRING": str(ring_directory)}
    output = ""
    for name, text in (("dumper", DUMPER), ("loader", LOADER)):
        script = tmp_path / f"{name}.py"
        script.write_text(textwrap.dedent(text))
        output = subprocess.run(
            [sys.executable, script, tmp_path / "things.sealed"],
            check=True,
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        ).stdout
    assert output == "all there\n"
