"""Where a key or passphrase is in memory: nowhere that something which shows objects would find."""

import base64
import gc
import os
import sys
import traceback
import types
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rings import command_line

from pickleseal import KeyringError, open_keyring, signed_dumps, signed_loads
from pickleseal.keys.key import KeyLine
from pickleseal.keys.passphrase import Passphrase, wrap
from pickleseal.keys.store import changes
from pickleseal.keys.store.directory import RingFiles, read_roster
from pickleseal.keys.store.lines import Opener

PASSPHRASE = "correct horse battery"


def spellings(line: str) -> tuple[bytes, ...]:
    """Return the forms in which the secret of a plain key line may appear."""
    text = line.split(".")[2]
    raw = base64.urlsafe_b64decode(text + "=")
    return raw, raw.hex().encode(), text.encode(), base64.b64encode(raw), repr(raw)[2:-1].encode()


def texts_held_by(*roots: object) -> Iterator[bytes]:
    """Yield each text and byte string that the garbage collector reaches from some objects."""
    globals_of_modules = {id(vars(module)) for module in list(sys.modules.values())}
    waiting, seen = list(roots), set()
    while waiting:
        thing = waiting.pop()
        if id(thing) in seen or id(thing) in globals_of_modules:
            continue
        seen.add(id(thing))
        if isinstance(thing, types.ModuleType | type | types.CodeType):
            continue
        if isinstance(thing, str):
            yield thing.encode("utf-8", "surrogatepass")
        elif isinstance(thing, bytes | bytearray):
            yield bytes(thing)
        waiting += gc.get_referents(thing)


def protect(folder: Path) -> None:
    ids = list(read_roster(folder).entries)
    storage = changes.Storage(passphrase=Passphrase(PASSPHRASE))
    changes.protect(RingFiles(folder), ids, Opener(), lambda: storage)


@pytest.mark.parametrize("kept", ["plain", "passphrase", "command"])
def test_the_garbage_collector_finds_no_secret_below_what_a_caller_holds(
    kept: str, tmp_path: Path
) -> None:
    folder = tmp_path / "ring"
    line = KeyLine.generate()
    if kept == "command":
        script = tmp_path / "fetch"
        script.write_text(f"#!/bin/sh\necho {line.reveal()}\n")
        script.chmod(0o700)
        changes.import_keys(folder, [command_line([str(script)])], now=0)
    else:
        changes.import_keys(folder, [line], now=0)
    if kept == "passphrase":
        protect(folder)
    needles = (*spellings(line.reveal()), PASSPHRASE.encode())
    assert any(needles[2] in text for text in texts_held_by(line)), "the walk finds what is there"
    ring = open_keyring(folder, passphrase=getpass_stand_in)
    data = signed_dumps([1], keyring=ring)
    assert signed_loads(data, keyring=ring) == [1]
    key = ring.sealing_key(context=None, now=0)
    held = list(texts_held_by(ring, key, ring.entries, ring.roster))
    assert any(key.id.encode() in text for text in held), "the walk finds what is there"
    assert not [text for text in held if any(needle in text for needle in needles)]
    for thing in (ring, key):
        with pytest.raises(TypeError):
            vars(thing)


def getpass_stand_in() -> str:
    return PASSPHRASE


def test_no_traceback_with_locals_shows_a_secret_or_passphrase(tmp_path: Path) -> None:
    """Errors at each place where one of them is at hand: wrong, damaged, failing half way."""
    folder = tmp_path / "ring"
    line = KeyLine.generate()
    changes.import_keys(folder, [line], now=0)
    protect(folder)
    (file,) = folder.glob("*.key")
    wrapped = file.read_text()
    script = tmp_path / "fetch"
    script.write_text(f"#!/bin/sh\necho {line.reveal()}x\n")
    script.chmod(0o700)
    damaged = wrapped.strip()[:-32] + "0" * 32

    def with_file(text: str, use: Callable[[], object]) -> Callable[[], object]:
        def call() -> object:
            file.write_text(text)
            return use()

        return call

    def seal_with(passphrase: Callable[[], str]) -> Callable[[], object]:
        return lambda: signed_dumps(1, keyring=open_keyring(folder, passphrase=passphrase))

    cases: list[Callable[[], object]] = [
        with_file(wrapped, seal_with(lambda: "another " + getpass_stand_in())),
        with_file(damaged, seal_with(getpass_stand_in)),
        with_file(wrapped[:-2], seal_with(getpass_stand_in)),
        lambda: command_line([str(script)]),
        lambda: changes.import_keys(tmp_path / "other", [line, KeyLine("x")], now=0),
        lambda: changes.import_keys(tmp_path / "other", [KeyLine(line.reveal() + "x")], now=0),
        lambda: changes.import_keys(folder / "x" / os.devnull / "x", [line], now=0),
        seal_with(lambda: getpass_stand_in().encode()),  # type: ignore[arg-type,return-value]
        lambda: wrap(KeyLine(line.reveal()[:-1]), Passphrase(getpass_stand_in()), salt=bytes(16)),
    ]
    needles = [needle.decode("latin-1") for needle in spellings(line.reveal())] + [PASSPHRASE]
    for number, case in enumerate(cases):
        with pytest.raises((KeyringError, OSError, TypeError)) as caught:
            case()
        frames = caught.tb.tb_next  # this test's own frame holds the secret
        while frames is not None and frames.tb_frame.f_code.co_filename == __file__:
            frames = frames.tb_next
        shown = "".join(
            traceback.TracebackException(
                caught.type, caught.value, frames, capture_locals=True
            ).format()
        )
        assert "KeyLine: secret" in shown or "Passphrase: secret" in shown or number
        assert not [needle for needle in needles if needle in shown], number
