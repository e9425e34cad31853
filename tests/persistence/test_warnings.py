"""A load that warns: where the warning points, and what it names."""

import _thread
import time
import warnings
from pathlib import Path

import pytest

from pickleseal import Keyring, VersionMismatchWarning, inspect, signed_dump, signed_load
from pickleseal.pickling import versions


@pytest.fixture(autouse=True)
def _another_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "versions_here", lambda sealed: dict.fromkeys(sealed, "0.1"))


def test_a_warning_points_at_the_line_that_loads(ring: Keyring, tmp_path: Path) -> None:
    signed_dump([1], tmp_path / "it", keyring=ring)
    with pytest.warns(VersionMismatchWarning) as caught:
        signed_load(tmp_path / "it", keyring=ring, on_mismatch="warn")
    assert {one.filename for one in caught} == {__file__}
    # And where a thread begins with the load, no line of the program is below it.
    given = {"keyring": ring, "on_mismatch": "warn"}
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        _thread.start_new_thread(signed_load, (tmp_path / "it",), given)
        end = time.monotonic() + 30
        while not seen and time.monotonic() < end:
            time.sleep(0.01)
    assert {one.category for one in seen} == {VersionMismatchWarning}


@pytest.mark.parametrize("name", ["a\u202eb", "a\nb", "x" * 2000])
def test_a_class_whose_name_cannot_be_shown_is_sealed_without_it(
    name: str, ring: Keyring, tmp_path: Path
) -> None:
    odd = type(name, (), {"__reduce__": lambda _: (int, ())})
    signed_dump(odd(), tmp_path / "it", keyring=ring)
    metadata = inspect(tmp_path / "it", keyring=ring).metadata
    assert metadata is not None
    assert metadata.class_name is None
    with pytest.warns(VersionMismatchWarning, match="an object was sealed"):
        assert signed_load(tmp_path / "it", keyring=ring, on_mismatch="warn") == 0


def test_a_warning_about_scikit_learn_names_the_estimator_as_its_own_does(
    ring: Keyring, tmp_path: Path
) -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    signed_dump(linear_model.LinearRegression(), tmp_path / "it", keyring=ring)
    with pytest.warns(VersionMismatchWarning) as caught:
        signed_load(tmp_path / "it", keyring=ring, on_mismatch="warn")
    named = [vars(one.message).get("estimator_name") for one in caught]
    assert "LinearRegression" in named


def test_buffers_that_no_artifact_asks_for_are_not_made(ring: Keyring, tmp_path: Path) -> None:
    signed_dump([1], tmp_path / "it", keyring=ring)
    buffers = map(int, ["not asked for"])
    given = signed_load(tmp_path / "it", keyring=ring, buffers=buffers, on_mismatch="ignore")
    assert given == [1]
