"""What is told where a dump names what `__main__` defines."""

import os
import subprocess
import sys
import textwrap
from collections import OrderedDict
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.preprocessing import FunctionTransformer

import pickleseal
from pickleseal import (
    Keyring,
    MainModuleWarning,
    signed_dump,
    signed_dumps,
    signed_load,
    signed_loads,
)


class Own:
    """What `__main__` is made to define."""


def own(x: Any) -> Any:
    return x


@pytest.fixture(autouse=True)
def _of_main(monkeypatch: pytest.MonkeyPatch) -> None:
    main = sys.modules["__main__"]
    for thing in (Own, own):
        monkeypatch.setattr(thing, "__module__", "__main__")
        monkeypatch.setattr(main, thing.__name__, thing, raising=False)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    "obj",
    [Own(), Own, own, [1, {"a": Own()}], FunctionTransformer(own)],
    ids=["an object", "a class", "a function", "deep inside", "a step of a model"],
)
def test_what_main_defines_is_told_at_the_line_of_the_caller(
    obj: Any,
    protocol: int,
    ring_directory: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PICKLESEAL_KEYRING", str(ring_directory))
    path = tmp_path / "it"
    for dump in (
        lambda: signed_dumps(obj, protocol),
        lambda: signed_dump(obj, path, protocol),
        lambda: pickleseal.dumps(obj, protocol),
        lambda: pickleseal.dump(obj, path, protocol),
    ):
        with pytest.warns(MainModuleWarning, match=r"(?i)\bown\b.*cloudpickle") as caught:
            dump()
        assert [one.filename for one in caught] == [__file__]
    signed_load(path)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    "obj",
    [
        ["__main__", "Own"],
        {"__main__": 1},
        Decimal(1),
        OrderedDict(__main__=1),
        np.arange(3),
        signed_dumps,
    ],
    ids=lambda obj: type(obj).__name__,
)
def test_nothing_is_told_of_what_has_names_of_modules_alone(
    obj: Any, protocol: int, ring: Keyring
) -> None:
    signed_loads(signed_dumps(obj, protocol, keyring=ring), keyring=ring)


@pytest.mark.parametrize("protocol", [None, *range(6)])
def test_nothing_is_told_of_what_goes_by_value(protocol: int | None, ring: Keyring) -> None:
    for obj in (Own(), Own, own, lambda: own(1), FunctionTransformer(own), [Own, own]):
        signed_dumps(obj, protocol, keyring=ring, pickler="cloudpickle")


def test_where_it_is_an_error_nothing_is_written(ring: Keyring, tmp_path: Path) -> None:
    path = tmp_path / "it"
    path.write_text("as it was")
    with pytest.raises(MainModuleWarning):
        signed_dump(Own(), path, keyring=ring)
    assert [one.name for one in tmp_path.iterdir()] == ["it"]
    assert path.read_text() == "as it was"


SCRIPT = """
    import enum
    from dataclasses import dataclass
    from typing import NamedTuple

    import pickleseal

    @dataclass
    class Point:
        x: int

    class Pair(NamedTuple):
        x: int

    class Colour(enum.Enum):
        RED = 1

    things = [Point(1), Pair(1), Colour.RED]
    for _ in range(3):
        data = pickleseal.signed_dumps(things)  # here
    assert pickleseal.signed_loads(data) == things
    pickleseal.signed_dump(things, "things", pickler="cloudpickle")
"""


@pytest.mark.parametrize("way", ["script", "module", "package"])
def test_a_program_is_told_once_for_a_place_and_loads_what_is_its_own(
    way: str, tmp_path: Path, ring_directory: Path
) -> None:
    package = tmp_path / "mine"
    package.mkdir()
    file = {"script": tmp_path / "script.py", "module": package / "train.py"}.get(
        way, package / "__main__.py"
    )
    file.write_text(textwrap.dedent(SCRIPT))
    command = {"script": ["script.py"], "module": ["-m", "mine.train"]}.get(way, ["-m", "mine"])
    environment = {
        **{name: value for name, value in os.environ.items() if name != "PYTHONWARNINGS"},
        "PICKLESEAL_KEYRING": str(ring_directory),
    }
    done = subprocess.run(
        [sys.executable, *command],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    told = [line for line in done.stderr.splitlines() if "MainModuleWarning" in line]
    line = (
        file.read_text().splitlines().index("    data = pickleseal.signed_dumps(things)  # here")
        + 1
    )
    assert len(told) == 1
    assert f"{file.name}:{line}: MainModuleWarning" in told[0]
    assert "Colour, Pair, Point" in told[0]
