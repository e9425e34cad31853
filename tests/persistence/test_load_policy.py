"""What a load asks: serials, times, names, one exact content."""

import copyreg
import io
import os
import pickle
import subprocess
import sys
import time
from collections import OrderedDict
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from contexts import load, sealed
from sklearn.datasets import load_iris
from sklearn.neighbors import KNeighborsClassifier
from watching import Mark, nothing_unpickled

from pickleseal import (
    BadSealError,
    ExpiredError,
    Keyring,
    MetadataError,
    PolicyError,
    RollbackError,
    adopt_bytes,
    inspect,
    signed_dump,
    signed_dumps,
    signed_load,
    signed_loads,
)
from pickleseal.envelope.metadata import MAX_INTEGER

# --- serials ---------------------------------------------------------------------------------


def test_a_serial_at_or_above_the_floor_is_loaded(ring: Keyring) -> None:
    numbers: list[tuple[Any, Any]] = [(7, 7), (7, 0), (0, 0), (MAX_INTEGER, MAX_INTEGER)]
    for serial, floor in (*numbers, (np.int64(7), np.uint8(7))):
        assert load(sealed("x", ring, serial=serial), ring, min_serial=floor) == "x"


@pytest.mark.parametrize("serial", [0, 6, None])
def test_a_serial_below_the_floor_or_none_is_a_rollback(ring: Keyring, serial: int | None) -> None:
    data = sealed(Decimal(1), ring, serial=serial)
    with nothing_unpickled(), pytest.raises(RollbackError):
        load(data, ring, min_serial=7)


@pytest.mark.parametrize("serial", [-1, MAX_INTEGER + 1, True, 1.0, "1"])
def test_what_is_no_serial_is_not_sealed(ring: Keyring, serial: Any) -> None:
    with pytest.raises(MetadataError):
        sealed("x", ring, serial=serial)


# --- times -----------------------------------------------------------------------------------


def test_it_expires_when_the_dump_says(ring: Keyring) -> None:
    soon = datetime.now(UTC) + timedelta(hours=1)
    for expires in (soon, timedelta(hours=1)):
        data = sealed("x", ring, expires=expires)
        assert load(data, ring) == "x"
        assert inspect_bytes(data, ring).expires is not None
    shortly = sealed(Decimal(1), ring, expires=timedelta(seconds=1))
    deadline = datetime.now(UTC) + timedelta(seconds=2)
    while datetime.now(UTC) < deadline:
        pass
    with nothing_unpickled(), pytest.raises(ExpiredError):
        load(shortly, ring)


def inspect_bytes(data: bytes, ring: Keyring) -> Any:
    return inspect(io.BytesIO(data), keyring=ring).metadata


@pytest.mark.parametrize(
    "expires",
    [timedelta(0), timedelta(seconds=-1), datetime(2020, 1, 1, tzinfo=UTC), datetime(2999, 1, 1)],  # noqa: DTZ001 - a time without a zone is the point
)
def test_a_time_that_is_over_or_has_no_zone_is_not_sealed(ring: Keyring, expires: Any) -> None:
    with pytest.raises(MetadataError):
        sealed("x", ring, expires=expires)


def test_what_is_older_than_the_load_accepts_is_refused(
    ring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    hour = timedelta(hours=1)
    assert load(sealed("x", ring), ring, max_age=hour) == "x"
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1000000000")
    old = sealed(Decimal(1), ring)
    with nothing_unpickled(), pytest.raises(ExpiredError):
        load(old, ring, max_age=hour)
    assert load(old, ring) == 1


@pytest.mark.parametrize("fixed", ["0", "1500000000", "4000000000"])
@pytest.mark.parametrize("by", [signed_dumps, adopt_bytes])
def test_a_time_to_run_counts_from_the_clock_and_not_from_the_fixed_date(
    by: Any, fixed: str, ring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    obj = pickle.dumps("x") if by is adopt_bytes else "x"
    monkeypatch.setenv("SOURCE_DATE_EPOCH", fixed)
    before = int(time.time())
    data = by(obj, keyring=ring, expires=timedelta(days=30))
    metadata = inspect_bytes(data, ring)
    assert metadata.created == int(fixed)
    assert 0 <= metadata.expires - before - timedelta(days=30).total_seconds() < 60
    assert signed_loads(data, keyring=ring) == "x"
    soon = datetime.now(UTC) + timedelta(hours=1)
    data = by(obj, keyring=ring, expires=soon)
    assert inspect_bytes(data, ring).expires == int(soon.timestamp())
    for over in (timedelta(seconds=-1), datetime(2020, 1, 1, tzinfo=UTC)):
        with pytest.raises(MetadataError):
            by(obj, keyring=ring, expires=over)


@pytest.mark.parametrize("max_age", [timedelta(0), timedelta(days=1), timedelta.max])
def test_a_file_from_the_future_has_no_age(
    max_age: timedelta, ring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    for ahead in (120, 10**9):
        monkeypatch.setenv("SOURCE_DATE_EPOCH", str(int(time.time()) + ahead))
        future = sealed(Decimal(1), ring)
        with nothing_unpickled(), pytest.raises(ExpiredError):
            load(future, ring, max_age=max_age)
        assert load(future, ring) == 1
    monkeypatch.setenv("SOURCE_DATE_EPOCH", str(int(time.time()) + 50))
    assert load(sealed("a clock that goes wrong", ring), ring, max_age=max_age)


def test_a_bare_number_is_no_time(ring: Keyring) -> None:
    call: Any = sealed
    with pytest.raises(TypeError):
        call("x", ring, expires=3600)
    data = sealed("x", ring)
    with pytest.raises(TypeError):
        load(data, ring, max_age=3600)


# --- names -----------------------------------------------------------------------------------


def names_of(obj: object, ring: Keyring, **keywords: Any) -> list[str]:
    imports: Iterable[tuple[str, str]] = inspect_bytes(sealed(obj, ring, **keywords), ring).imports
    return [f"{module}.{name}" for module, name in imports]


def test_a_model_is_loaded_where_its_packages_are_allowed(ring: Keyring) -> None:
    x, y = load_iris(return_X_y=True)
    model = KNeighborsClassifier(n_neighbors=3).fit(x, y)
    data = sealed(model, ring)
    again = load(data, ring, allow=["sklearn", "numpy", "scipy", "builtins"])
    assert (again.predict(x) == model.predict(x)).all()
    with nothing_unpickled(), pytest.raises(PolicyError):
        load(data, ring, allow=["numpy"])
    assert load(data, ring, allow=names_of(model, ring)).score(x, y) > 0.9


def test_a_single_name_is_allowed_and_its_module_is_not(ring: Keyring) -> None:
    data = sealed(OrderedDict(a=1), ring)
    assert load(data, ring, allow=["collections.OrderedDict"]) == {"a": 1}
    for allow in (["collections.deque"], ["collections.Ordered"], ["collection"], [""], []):
        with nothing_unpickled(), pytest.raises(PolicyError):
            load(data, ring, allow=allow)


def test_data_without_names_needs_none(ring: Keyring) -> None:
    assert load(sealed({"a": [1, None]}, ring), ring, allow=[]) == {"a": [1, None]}


def test_unlisted_names_are_checked_against_allow_when_they_are_looked_up(ring: Keyring) -> None:
    many = [type(f"C{number:050}", (), {}) for number in range(1000)]
    try:
        for cls in many:
            cls.__module__ = __name__
            globals()[cls.__name__] = cls
        data = sealed(many, ring)
        assert inspect_bytes(data, ring).imports_omitted == 1000
        assert load(data, ring, allow=[__name__]) == many
        with pytest.raises(PolicyError):
            load(data, ring, allow=["numpy"])
    finally:
        for cls in many:
            del globals()[cls.__name__]


def test_a_path_of_attributes_does_not_lead_out_of_an_allowed_module(
    ring: Keyring, tmp_path: Path
) -> None:
    data = sealed(Mark(tmp_path / "mark"), ring)  # pathlib.Path.touch
    for allow in (["pathlib"], ["pathlib", "pathlib._local"]):
        with nothing_unpickled(), pytest.raises(PolicyError):
            load(data, ring, allow=allow)
    load(data, ring, allow=names_of(Mark(tmp_path / "mark"), ring))
    assert (tmp_path / "mark").exists()


@pytest.mark.parametrize("name", ["sklearn.*", "*"])
def test_a_glob_is_no_name(ring: Keyring, name: str) -> None:
    with pytest.raises(ValueError, match="allow"):
        load(sealed("x", ring), ring, allow=[name])


def test_one_text_is_no_list_of_names(ring: Keyring) -> None:
    with pytest.raises(TypeError):
        load(sealed("x", ring), ring, allow="numpy")


# --- one exact content -----------------------------------------------------------------------


def test_one_exact_content_is_loaded_and_no_other(ring: Keyring, tmp_path: Path) -> None:
    path = tmp_path / "model"
    signed_dump(np.arange(100_000), path, keyring=ring)
    digest = inspect(path, keyring=ring).digest
    assert digest is not None
    assert len(signed_load(path, keyring=ring, expect=digest)) == 100_000
    other = digest[:-1] + ("0" if digest[-1] != "0" else "1")
    with nothing_unpickled(), pytest.raises(PolicyError):
        signed_load(path, keyring=ring, expect=other)


def test_a_code_of_copyreg_that_was_used_before_is_asked_of_allow_again(ring: Keyring) -> None:
    copyreg.add_extension("fractions", "Fraction", 0xF0)
    try:
        data = adopt_bytes(b"\x80\x02\x82\xf0.", keyring=ring)
        assert signed_loads(data, keyring=ring) is Fraction
        assert pickle.loads(b"\x80\x02\x82\xf0.") is Fraction
        with pytest.raises(PolicyError, match=r"fractions\.Fraction"):
            signed_loads(data, keyring=ring, allow=["decimal"])
    finally:
        copyreg.remove_extension("fractions", "Fraction", 0xF0)


# --- the event -------------------------------------------------------------------------------


def test_each_load_raises_one_audit_event(ring_directory: Path, tmp_path: Path) -> None:
    code = """
import sys, pickleseal
events = []
sys.addaudithook(lambda name, args: events.append(args) if name == "pickleseal.load" else None)
pickleseal.signed_dump([1], "model", context="a")
pickleseal.signed_load("model", context="a")
try: pickleseal.signed_load("model", context="b")
except pickleseal.SealError: pass
found = pickleseal.inspect("model")
assert events == [("model", found.digest, found.key_id, "a")], events
"""
    subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PICKLESEAL_KEYRING": str(ring_directory)},
        check=True,
    )


@pytest.mark.parametrize("wrong", ["-1", "1.5", "0x10", "1 ", "\u0661", "1_0", "x", "1" * 13])
def test_a_fixed_date_that_is_no_count_of_seconds_is_refused(
    wrong: str, ring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", wrong)
    with pytest.raises(MetadataError, match="SOURCE_DATE_EPOCH must be"):
        sealed(1, ring)


@pytest.mark.parametrize("fixed", ["0", "9" * 12])
def test_a_fixed_date_has_up_to_twelve_digits(
    fixed: str, ring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", fixed)
    assert inspect_bytes(sealed(1, ring), ring).created == int(fixed)


def test_a_name_that_is_not_allowed_is_refused_before_the_body_is_read(ring: Keyring) -> None:
    data = bytearray(signed_dumps(Decimal(1), keyring=ring))
    data[-1] ^= 1
    with pytest.raises(PolicyError):
        signed_loads(data, keyring=ring, allow=[])
    with pytest.raises(BadSealError):
        signed_loads(data, keyring=ring, allow=["decimal.Decimal"])
