"""What a seal says and a load asks: serials and pins, times, names, one exact content."""

import copyreg
import io
import json
import os
import pickle
import subprocess
import sys
import threading
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
from sklearn.datasets import load_iris
from sklearn.neighbors import KNeighborsClassifier
from watching import Mark, nothing_unpickled

from pickleseal import (
    ExpiredError,
    Key,
    Keyring,
    MetadataError,
    PinsError,
    PolicyError,
    RollbackError,
    Suite,
    adopt_bytes,
    audit,
    inspect,
    reseal,
    signed_dump,
    signed_dumps,
    signed_load,
    signed_loads,
)
from pickleseal.auditing.findings import Verdict
from pickleseal.envelope.metadata import MAX_INTEGER
from pickleseal.persistence.pin_file import PinFile
from pickleseal.persistence.pins import Pin, decode, encode

CONTEXT = "fraud/v3"


def sealed(obj: object, ring: Keyring, **keywords: Any) -> bytes:
    return signed_dumps(obj, keyring=ring, context=CONTEXT, **keywords)


def load(data: bytes, ring: Keyring, **keywords: Any) -> Any:
    return signed_loads(data, keyring=ring, context=CONTEXT, **keywords)


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


# --- pins ------------------------------------------------------------------------------------


@pytest.fixture
def pins(tmp_path: Path) -> Path:
    return tmp_path / "pins.json"


def test_a_load_remembers_the_highest_serial_and_refuses_a_lower_one(
    ring: Keyring, pins: Path
) -> None:
    old, new = (sealed(Decimal(n), ring, serial=n) for n in (3, 4))
    assert load(old, ring, pins=pins) == 3
    assert load(new, ring, pins=pins) == 4
    assert load(new, ring, pins=pins) == 4
    with nothing_unpickled(), pytest.raises(RollbackError) as caught:
        load(old, ring, pins=pins)
    assert f"pickleseal pins forget {CONTEXT} --pins {pins}" in str(caught.value)
    assert PinFile(pins).read()[CONTEXT].serial == 4


@pytest.mark.parametrize("wrong", [True, 5, b"pins.json"])
def test_pins_are_the_path_of_a_file(wrong: Any, ring: Keyring) -> None:
    with pytest.raises(TypeError, match=f"the path of a file, not {type(wrong).__name__}"):
        load(b"", ring, pins=wrong)


def test_without_pins_nothing_is_written(ring: Keyring, tmp_path: Path) -> None:
    before = sorted(tmp_path.iterdir())
    load(sealed("x", ring, serial=1), ring)
    assert sorted(tmp_path.iterdir()) == before


def test_the_same_serial_with_another_content_is_a_rollback(ring: Keyring, pins: Path) -> None:
    assert load(sealed("x", ring, serial=1), ring, pins=pins) == "x"
    with nothing_unpickled(), pytest.raises(RollbackError):
        load(sealed(Decimal(1), ring, serial=1), ring, pins=pins)


def test_once_there_is_a_pin_what_has_no_serial_is_a_rollback(ring: Keyring, pins: Path) -> None:
    bare = sealed("x", ring)
    assert load(bare, ring, pins=pins) == "x"
    assert PinFile(pins).read() == {}
    load(sealed("x", ring, serial=0), ring, pins=pins)
    with pytest.raises(RollbackError):
        load(bare, ring, pins=pins)


@pytest.mark.parametrize("suites", [(2, 2), (1, 2), (2, 1)])
def test_what_was_sealed_anew_is_no_rollback(
    suites: tuple[int, int], tmp_path: Path, pins: Path
) -> None:
    old, new = (Key.generate(Suite(suite)) for suite in suites)
    path = tmp_path / "model"
    signed_dump([1.5], path, keyring=Keyring(old), context=CONTEXT, serial=5)
    keywords: dict[str, Any] = {"context": CONTEXT, "pins": pins}
    both = Keyring(new, old)
    assert signed_load(path, keyring=both, **keywords) == [1.5]
    assert reseal(path, keyring=both) == old.id
    assert signed_load(path, keyring=both, **keywords) == [1.5]
    assert PinFile(pins).read()[CONTEXT].digest.startswith(f"ps{suites[1]}:")


def test_contexts_have_pins_of_their_own(ring: Keyring, pins: Path) -> None:
    for context, serial in (("a", 9), ("b", 1)):
        data = signed_dumps(context, keyring=ring, context=context, serial=serial)
        assert signed_loads(data, keyring=ring, context=context, pins=pins) == context
    assert {context: pin.serial for context, pin in PinFile(pins).read().items()} == {
        "a": 9,
        "b": 1,
    }


@pytest.mark.parametrize("part", ["head", "body"])
def test_what_is_not_whole_moves_no_pin(ring: Keyring, pins: Path, part: str) -> None:
    load(sealed("x", ring, serial=1), ring, pins=pins)
    before = pins.read_bytes()
    forged = bytearray(sealed("x" * 500, ring, serial=9))
    forged[70 if part == "head" else -100] ^= 1
    with pytest.raises(Exception, match="seal"):
        load(bytes(forged), ring, pins=pins)
    assert pins.read_bytes() == before


class Broken:
    """An object that cannot be unpickled."""

    def __reduce__(self) -> tuple[object, ...]:
        return int, ("no number",)


def test_what_fails_to_unpickle_moves_no_pin(ring: Keyring, pins: Path) -> None:
    with pytest.raises(ValueError, match="no number"):
        load(sealed(Broken(), ring, serial=9), ring, pins=pins)
    assert not pins.exists()


def test_the_environment_names_a_file_of_pins(
    ring: Keyring, pins: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PICKLESEAL_PINS", str(pins))
    load(sealed("x", ring, serial=2), ring)
    with pytest.raises(RollbackError):
        load(sealed("x", ring, serial=1), ring)
    assert signed_loads(signed_dumps("none", keyring=ring), keyring=ring) == "none"


def test_pins_by_argument_go_by_context(ring: Keyring, pins: Path) -> None:
    with pytest.raises(ValueError, match="context"):
        signed_loads(signed_dumps(1, keyring=ring), keyring=ring, pins=pins)


@pytest.mark.parametrize(
    "text",
    [
        b"", b"{}", b"[]", b"\xff", b'{"format":"pickleseal-pins-1"}', b"[" * 100_000,
        b'{"format":"pickleseal-pins-2","pins":{}}', b'{"format":"pickleseal-pins-1","pins":[]}',
        b'{"format":"pickleseal-pins-1","pins":{"a":{"serial":-1}}}',
        b'{"format":"pickleseal-pins-1","pins":{"a":1,"a":1}}',
    ],
)  # fmt: skip
def test_a_damaged_file_of_pins_stops_the_load_and_stays(
    ring: Keyring, pins: Path, text: bytes
) -> None:
    pins.write_bytes(text)
    with nothing_unpickled(), pytest.raises(PinsError):
        load(sealed(Decimal(1), ring, serial=1), ring, pins=pins)
    assert pins.read_bytes() == text


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="Windows has no modes")
def test_a_file_of_pins_that_others_can_change_is_refused(ring: Keyring, pins: Path) -> None:
    data = sealed("x", ring, serial=1)
    load(data, ring, pins=pins)
    assert pins.stat().st_mode & 0o777 == 0o600
    pins.chmod(0o666)
    with pytest.raises(PinsError):
        load(data, ring, pins=pins)


def test_a_missing_folder_and_a_folder_in_its_place_are_told(ring: Keyring, tmp_path: Path) -> None:
    data = sealed("x", ring, serial=1)
    for path in (tmp_path / "none" / "pins", tmp_path):
        with pytest.raises(PinsError):
            load(data, ring, pins=path)


@pytest.mark.skipif(not Path("/dev/null").is_char_device(), reason="POSIX only")
def test_a_device_is_no_file_of_pins_and_nobody_is_told_to_remove_it(
    ring: Keyring, tmp_path: Path
) -> None:
    link = tmp_path / "pins.json"
    link.symlink_to("/dev/null")
    for path in (link, Path("/dev/null")):
        with pytest.raises(PinsError) as caught:
            load(sealed("x", ring, serial=1), ring, pins=path)
        for arguments in (["list"], ["forget", "a"]):
            done = run_pins(*arguments, "--pins", path)
            assert done.returncode == 2
            for text in (str(caught.value), done.stderr):
                assert "no regular file" in " ".join(text.split())
                assert "rm " not in text
                assert "keyring" not in text
    assert not Path("/dev/null.lock").exists()


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="Windows has no modes")
def test_what_is_wrong_with_a_file_of_pins_is_not_told_as_of_a_keyring(
    ring: Keyring, pins: Path
) -> None:
    pins.parent.chmod(0o777)
    with pytest.raises(PinsError) as caught:
        load(sealed("x", ring, serial=1), ring, pins=pins)
    assert "key" not in str(caught.value).replace(str(pins.parent), "")


def test_loads_side_by_side_never_lower_a_pin(ring: Keyring, pins: Path) -> None:
    datas = [sealed(n, ring, serial=n) for n in range(20)]
    failures: list[BaseException] = []

    def run(number: int) -> None:
        for data in datas[number::4]:
            try:
                load(data, ring, pins=pins)
            except RollbackError:
                pass
            except BaseException as error:  # noqa: BLE001 - told by the test
                failures.append(error)

    threads = [threading.Thread(target=run, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert PinFile(pins).read()[CONTEXT].serial == 19


def test_pins_read_back_as_they_were_written() -> None:
    held = {
        "é": Pin(0, "ps1:" + "0" * 64, "a" * 64),
        "b": Pin(MAX_INTEGER, "ps2:" + "f" * 64, "0" * 64),
    }
    assert decode(encode(held)) == held


def test_forgetting_a_pin_lets_a_lower_serial_in_again(ring: Keyring, pins: Path) -> None:
    load(sealed("x", ring, serial=MAX_INTEGER), ring, pins=pins)
    assert PinFile(pins).forget([CONTEXT, "other"]) == [CONTEXT]
    assert load(sealed("y", ring, serial=1), ring, pins=pins) == "y"


def test_the_audit_tells_what_lies_below_a_pin(ring: Keyring, tmp_path: Path) -> None:
    pins, folder = tmp_path / "pins", tmp_path / "models"
    folder.mkdir()
    signed_dump("old", folder / "a", keyring=ring, context=CONTEXT, serial=1)
    load(sealed("new", ring, serial=2), ring, pins=pins)
    (finding,) = audit(folder, keyring=ring, pins=pins)
    assert finding.verdict is Verdict.ROLLED_BACK
    assert f"--pins {pins}" in finding.reason
    (finding,) = audit(folder, keyring=ring)
    assert finding.verdict is Verdict.SEALED
    before = pins.read_bytes()
    signed_dump("newer", folder / "a", keyring=ring, context=CONTEXT, serial=3)
    (finding,) = audit(folder, keyring=ring, pins=pins)
    assert finding.verdict is Verdict.SEALED
    assert pins.read_bytes() == before  # loads alone move a pin


# --- the command -----------------------------------------------------------------------------


def run_pins(*arguments: object, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "pickleseal", "pins", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )


def test_the_command_lists_and_forgets(ring: Keyring, pins: Path) -> None:
    for context in ("a", "b\u202e"):
        data = signed_dumps(1, keyring=ring, context=context, serial=7)
        signed_loads(data, keyring=ring, context=context, pins=pins)
    listed = run_pins("list", "--pins", pins)
    assert listed.returncode == 0
    assert "serial 7" in listed.stdout
    assert "\u202e" not in listed.stdout
    assert json.loads(run_pins("list", "--json", PICKLESEAL_PINS=str(pins)).stdout)["pins"]["a"]
    assert run_pins("forget", "a", "c", "--pins", pins).returncode == 1
    assert list(PinFile(pins).read()) == ["b\u202e"]
    assert run_pins("forget", "--all", "--pins", pins).returncode == 0
    assert PinFile(pins).read() == {}


@pytest.mark.parametrize("arguments", [["list"], ["forget", "a"], ["forget", "--pins", "p"]])
def test_the_command_says_what_is_missing(arguments: list[str], tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pickleseal", "pins", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_a_link_to_a_file_of_pins_in_a_folder_of_others_is_refused(
    ring: Keyring, tmp_path: Path
) -> None:
    if not hasattr(os, "geteuid"):
        pytest.skip("Windows has no modes")
    shared, own = tmp_path / "shared", tmp_path / "own"
    shared.mkdir()
    own.mkdir()
    shared.chmod(0o777)
    link = shared / "pins.json"
    link.symlink_to(own / "nothing.json")
    data = sealed("x", ring, serial=1)
    with pytest.raises(PinsError):
        load(data, ring, pins=link)
    shared.chmod(0o700)
    assert load(data, ring, pins=link) == "x"
    assert PinFile(own / "nothing.json").read()[CONTEXT].serial == 1


def test_a_file_of_pins_is_locked_where_it_really_lies(ring: Keyring, tmp_path: Path) -> None:
    own, other = tmp_path / "own", tmp_path / "other"
    own.mkdir()
    other.mkdir()
    (other / "pins").symlink_to(own / "pins")
    load(sealed("x", ring, serial=1), ring, pins=other / "pins")
    assert sorted(path.name for path in own.iterdir()) == ["pins", "pins.lock"]
    assert [path.name for path in other.iterdir()] == ["pins"]


def test_pins_that_would_not_be_read_again_are_not_written(
    ring: Keyring, pins: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(sealed("x", ring, serial=1), ring, pins=pins)
    before = pins.read_bytes()
    monkeypatch.setattr("pickleseal.persistence.pin_file._MAX_SIZE", len(before))
    data = signed_dumps("x", keyring=ring, context="another", serial=1)
    with pytest.raises(PinsError):
        signed_loads(data, keyring=ring, context="another", pins=pins)
    assert pins.read_bytes() == before


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


def test_names_that_are_not_listed_are_held_against_the_list_when_asked_for(ring: Keyring) -> None:
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
