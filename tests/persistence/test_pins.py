"""Pins: a load refuses what is older than what it remembers."""

import errno
import json
import os
import subprocess
import threading
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from command import run
from contexts import CONTEXT, load, sealed
from watching import nothing_unpickled

from pickleseal import (
    Key,
    Keyring,
    KeyringError,
    PinsError,
    RollbackError,
    Suite,
    audit,
    reseal,
    signed_dump,
    signed_dumps,
    signed_load,
    signed_loads,
)
from pickleseal.auditing.findings import Verdict
from pickleseal.envelope.metadata import MAX_INTEGER, Metadata
from pickleseal.keys.key import KeyLine
from pickleseal.keys.store import permissions
from pickleseal.persistence import pin_file
from pickleseal.persistence.pin_file import PinFile
from pickleseal.persistence.pins import Pin, check_whole, decode, encode

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


def test_pins_are_read_once_a_load_and_again_to_write_them(
    ring: Keyring, pins: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[Path] = []

    def counted(file: PinFile, read: Any = PinFile.read) -> dict[str, Pin]:
        reads.append(file.path)
        pinned: dict[str, Pin] = read(file)
        return pinned

    monkeypatch.setattr(PinFile, "read", counted)
    data = sealed(1, ring, serial=5)
    load(data, ring, pins=pins)
    assert len(reads) == 2
    load(data, ring, pins=pins)
    assert len(reads) == 3
    with pytest.raises(RollbackError):
        load(sealed(1, ring, serial=4), ring, pins=pins)
    assert len(reads) == 4


def test_a_newer_dump_and_load_meanwhile_are_no_rollback(
    ring: Keyring, pins: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.pkl"

    def dump_and_load(serial: int) -> object:
        signed_dump(serial, path, keyring=ring, context=CONTEXT, serial=serial)
        return signed_load(path, keyring=ring, context=CONTEXT, pins=pins)

    dump_and_load(1)
    real = PinFile.read
    opened: list[int] = []

    def read(self: PinFile) -> Any:
        remembered = real(self)
        if not opened:
            opened.append(1)
            assert dump_and_load(2) == 2  # after the pins were read, before the file is opened
        return remembered

    monkeypatch.setattr(PinFile, "read", read)
    assert signed_load(path, keyring=ring, context=CONTEXT, pins=pins) == 2


@pytest.mark.parametrize("wrong", [True, 5, b"pins.json"])
def test_pins_are_the_path_of_a_file(wrong: Any, ring: Keyring) -> None:
    with pytest.raises(TypeError, match=f"the path of a file, not {type(wrong).__name__}"):
        load(b"", ring, pins=wrong)


def test_what_has_no_context_has_no_use_for_pins(
    ring: Keyring, pins: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pins.write_text("damaged")
    monkeypatch.setenv("PICKLESEAL_PINS", str(pins))
    assert signed_loads(signed_dumps(1, keyring=ring), keyring=ring) == 1
    assert Pin.of(Metadata(content="pickle", serial=1), PIN.digest) is None


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
def test_a_device_in_place_of_pins_is_refused_without_advice_to_remove_it(
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
                assert "not a regular file" in " ".join(text.split())
                assert "rm " not in text
                assert "keyring" not in text
    assert not Path("/dev/null.lock").exists()


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="Windows has no modes")
def test_an_error_about_a_file_of_pins_does_not_speak_of_a_keyring(
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
    return run("pins", *arguments, env=environment)


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
    done = run("pins", *arguments, cwd=tmp_path)
    assert done.returncode == 2


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


@pytest.mark.skipif(os.name != "posix", reason="this system has no modes")
@pytest.mark.parametrize("what", ["folder", "file", "lock"])
def test_pins_that_cannot_be_written_stop_the_load_before_it_unpickles(
    what: str, ring: Keyring, pins: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(sealed(1, ring, serial=1), ring, pins=pins)
    closed = {"folder": pins.parent, "file": pins, "lock": Path(f"{pins}.lock")}[what]
    real = os.access  # root may write everywhere

    def access(path: str, mode: int, **options: Any) -> bool:
        return str(path) != str(closed) and real(path, mode, **options)

    monkeypatch.setattr(os, "access", access)
    assert load(sealed(1, ring, serial=1), ring, pins=pins) == 1  # nothing is to be written
    with nothing_unpickled(), pytest.raises(PinsError, match="cannot be written to"):
        load(sealed(Decimal(2), ring, serial=2), ring, pins=pins)


OTHER = "a" * 64
PIN = Pin(5, f"ps2:{'1' * 64}", "b" * 64)


@pytest.mark.parametrize(
    "found",
    [
        PIN._replace(digest=f"ps2:{OTHER}"),  # with the same metadata
        PIN._replace(digest=f"ps2:{OTHER}", metadata=OTHER),
        PIN._replace(digest=f"ps1:{OTHER}", metadata=OTHER),
    ],
)
def test_a_serial_that_was_loaded_with_another_content_moves_no_pin(found: Pin, pins: Path) -> None:
    """Not even if a load beside this one recorded that content after this one read the pins."""
    PinFile(pins).note(CONTEXT, PIN)
    with pytest.raises(RollbackError, match="other content"):
        PinFile(pins).note(CONTEXT, found)
    assert PinFile(pins).read() == {CONTEXT: PIN}


def test_a_pin_is_never_lowered_and_follows_a_reseal(pins: Path) -> None:
    file = PinFile(pins)
    resealed = PIN._replace(digest=f"ps1:{OTHER}")
    for found in (PIN, PIN._replace(serial=4, digest=f"ps2:{OTHER}"), resealed):
        file.note(CONTEXT, found)
    assert file.read() == {CONTEXT: resealed}


@pytest.mark.parametrize(
    ("context", "path", "way"),
    [
        ("a b", "/p q/pins", "forget 'a b' --pins '/p q/pins'"),
        ("a\nb", "/pins", "forget CONTEXT --pins /pins"),
        ("--all", "/pins", "forget CONTEXT --pins /pins"),
        ("a", "/p\n", "forget a --pins FILE"),
        ("a", None, "forget a --pins FILE"),
        (None, "/pins", "forget CONTEXT --pins /pins"),
    ],
)
def test_the_way_out_can_be_pasted(context: str | None, path: str | None, way: str) -> None:
    with pytest.raises(RollbackError) as caught:
        check_whole(PIN._replace(digest=f"ps2:{OTHER}"), PIN, context, path)
    assert str(caught.value).endswith(way)


def test_a_file_of_pins_with_more_in_it_is_refused() -> None:
    text = json.loads(encode({CONTEXT: PIN}))
    with pytest.raises(PinsError):
        decode(json.dumps({**text, "more": 1}).encode())


def test_a_file_of_pins_may_be_as_large_as_is_read(
    pins: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pin_file, "_MAX_SIZE", len(encode({CONTEXT: PIN})))
    PinFile(pins).note(CONTEXT, PIN)
    assert PinFile(pins).read() == {CONTEXT: PIN}


def test_a_path_of_pins_that_is_none_is_told(ring: Keyring, tmp_path: Path) -> None:
    data = sealed("x", ring, serial=1)
    with pytest.raises(PinsError, match="is empty"):
        load(data, ring, pins="")
    with pytest.raises(KeyringError, match="not a path"):
        load(data, ring, pins=KeyLine.generate().reveal())
    (tmp_path / "file").write_bytes(b"")
    for path in (tmp_path / "none" / "pins", tmp_path / "file" / "pins"):
        with nothing_unpickled(), pytest.raises(PinsError, match="its folder does not exist"):
            load(data, ring, pins=path)
    with pytest.raises(PinsError, match=os.strerror(errno.ENAMETOOLONG)):
        load(data, ring, pins=tmp_path / ("n" * 300))
    with pytest.raises(PinsError, match=os.strerror(errno.ENOENT)):
        PinFile(tmp_path / "none" / "pins").note(CONTEXT, PIN)


@pytest.mark.parametrize(
    "changed",
    [
        *({"serial": serial} for serial in (True, 1.0, "1", None, -1, MAX_INTEGER + 1)),
        *({"digest": digest} for digest in ("", OTHER, f"ps3:{OTHER}", None)),
        *({"metadata": digest} for digest in ("", OTHER[1:], None)),
        {"more": 1},
    ],
    ids=repr,
)
def test_a_damaged_pin_is_refused(changed: dict[str, object]) -> None:
    text = json.loads(encode({CONTEXT: PIN}))
    text["pins"][CONTEXT] |= changed
    with pytest.raises(PinsError, match=r"is invalid|not JSON"):
        decode(json.dumps(text).encode())


@pytest.mark.parametrize("fields", [[], "text", 1, None])
def test_a_pin_that_is_no_object_is_refused(fields: object) -> None:
    text = {"format": "pickleseal-pins-1", "pins": {CONTEXT: fields}}
    with pytest.raises(PinsError, match="is invalid"):
        decode(json.dumps(text).encode())


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.EIO, "Input/output error", "/of/a/part"), "cannot be used: Input/output"),
        (OSError("without a number"), "cannot be used: without a number"),
    ],
)
def test_an_error_of_the_disk_is_said_without_its_number(
    error: OSError, said: str, pins: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object, **__: object) -> bytes:
        raise error

    PinFile(pins).note(CONTEXT, PIN)
    monkeypatch.setattr(permissions, "read_guarded", failing)
    with pytest.raises(PinsError, match=said):
        PinFile(pins).read()
    monkeypatch.undo()
    monkeypatch.setattr(pin_file, "write_whole", failing)
    with pytest.raises(PinsError, match=said):
        PinFile(pins).note(CONTEXT, PIN._replace(serial=PIN.serial + 1))


def test_a_file_of_pins_that_is_not_there_holds_none_and_is_said_to_be_missing(
    pins: Path,
) -> None:
    assert PinFile(pins).read() == {}
    with pytest.raises(PinsError, match="no such file"):
        PinFile(pins).check_exists()
    PinFile(pins).note(CONTEXT, PIN)
    PinFile(pins).check_exists()


def test_a_pipe_in_place_of_pins_is_not_said_to_be_in_a_keyring(pins: Path) -> None:
    os.mkfifo(pins)
    with pytest.raises(PinsError) as refused:
        PinFile(pins).read()
    assert "keyring" not in str(refused.value)
