"""joblib.Memory with sealed results: what was planted or moved is computed again."""

import logging
import shutil
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from watching import Mark

from pickleseal import Suite
from pickleseal.integrations.joblib import BACKEND
from pickleseal.keys.store.changes import create_key, rotate


@pytest.fixture
def calls() -> list[int]:
    return []


@pytest.fixture(params=[None, 3], ids=["stored", "compressed"])
def double(
    request: pytest.FixtureRequest,
    calls: list[int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Any:
    create_key(tmp_path / "keys", suite=Suite.BLAKE3, note="", now=0)
    monkeypatch.setenv("PICKLESEAL_KEYRING", str(tmp_path / "keys"))
    memory = joblib.Memory(tmp_path / "cache", backend=BACKEND, verbose=0, compress=request.param)

    def double(value: int) -> Any:
        calls.append(value)
        return {"array": np.full(20_000, 2 * value)}

    return memory.cache(double)


def results(folder: Path) -> list[Path]:
    return sorted(folder.rglob("output.pkl"), key=lambda path: path.stat().st_mtime_ns)


def test_results_are_sealed_and_come_back(double: Any, calls: list[int], tmp_path: Path) -> None:
    for _ in range(2):
        assert double(1)["array"][0] == 2
    assert calls == [1]
    assert double.check_call_in_cache(1)
    assert not double.check_call_in_cache(2)
    assert double.call_and_shelve(1).get()["array"][0] == 2
    (file,) = results(tmp_path)
    assert file.read_bytes().startswith(b"\xa6PSEAL")
    rotate(tmp_path / "keys", now=1)
    double(1)
    assert calls == [1]


def test_a_planted_or_moved_result_is_computed_again(
    double: Any, calls: list[int], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    double(1)
    double(2)
    one, two = results(tmp_path)
    mark = tmp_path / "mark"
    joblib.dump(Mark(mark), tmp_path / "armed")
    for source in (tmp_path / "armed", two):
        shutil.copy(source, one)
        caplog.clear()
        assert double(1)["array"][0] == 2
        assert [r.name for r in caplog.records] == ["pickleseal.integrations"]
        assert caplog.records[0].levelno == logging.WARNING
    assert calls == [1, 2, 1, 1]
    assert not mark.exists()


def test_a_shelved_result_that_is_refused_is_a_key_error(
    double: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shelved = double.call_and_shelve(1)
    (file,) = results(tmp_path)
    mark = tmp_path / "mark"
    joblib.dump(Mark(mark), file)
    with pytest.raises(KeyError):
        shelved.get()
    assert [record.name for record in caplog.records] == ["pickleseal.integrations"]
    assert not mark.exists()


def test_a_result_whose_time_is_junk_is_computed_again(tmp_path: Path, double: Any) -> None:
    memory = joblib.Memory(tmp_path / "timed", backend=BACKEND, verbose=0)
    calls: list[int] = []

    @memory.cache(cache_validation_callback=joblib.expires_after(days=1))  # type: ignore[untyped-decorator]
    def triple(value: int) -> int:
        calls.append(value)
        return 3 * value

    assert [triple(1), triple(1)] == [3, 3]
    assert calls == [1]
    (file,) = (tmp_path / "timed").rglob("metadata.json")
    for junk in ("", "{}", "[]", '{"time": "now", "duration": 1}', '{"duration": 1}', "\xff"):
        file.write_text(junk, encoding="latin-1")
        calls.clear()
        assert [triple(1), triple(1)] == [3, 3]
        assert calls == [1]
    file.unlink()
    assert triple(1) == 3


def test_a_mapped_result_is_refused_where_it_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot be mapped"):
        joblib.Memory(tmp_path, backend=BACKEND, mmap_mode="r")


def test_what_cannot_be_pickled_is_returned_all_the_same(double: Any, tmp_path: Path) -> None:
    make = joblib.Memory(tmp_path / "other", backend=BACKEND, verbose=0).cache(lambda_of)
    with pytest.warns(Warning, match="Unable to cache to disk"):
        assert make(2)(3) == 6


def lambda_of(factor: int) -> Any:
    return lambda value: value * factor
