"""What is broken: the acts of pickleseal that change something, and its readers.

Each has a judge of its own, `done`, which says whether the act's effect is wholly there (True), not
at all (False) or, where an act treats many files, in part (None), and fails for anything torn.
"""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from lab.home import (
    CONTEXT,
    FOREIGN_ID,
    LARGE,
    MODELS,
    NEW_OBJECT,
    OLD_OBJECT,
    PASS,
    PLAIN,
    PRIMARY,
    PRIMARY_ID,
    SPARE_ID,
    loaded,
    same,
)
from pickleseal import PicklesealError, SealError, cli, open_keyring, signed_dump, signed_load
from pickleseal.envelope import layout
from pickleseal.keys.backup import open_backup
from pickleseal.keys.key import Form, outline
from pickleseal.keys.passphrase import Passphrase
from pickleseal.keys.roster import Entry, State
from pickleseal.keys.store.directory import RingFiles, read_roster
from pickleseal.persistence.inventory_file import read_inventory
from pickleseal.persistence.pin_file import PinFile

Run = Callable[[Path], int]
Done = Callable[[Path], bool | None]


class Act(NamedTuple):
    """An act on the folder of `lab.home`.

    `reads`: nothing changes. `fair`: whether a report with exit code 1 is true though a call
    failed. `again`: the exit code of a second run where all is done.
    """

    run: Run
    done: Done
    reads: bool = False
    fair: Callable[[str], bool] = lambda _: False
    again: int = 0


def command(*arguments: str, ring: str = "ring") -> Run:
    """Return an act that runs the command, with a ring."""

    def run(home: Path) -> int:
        os.environ["PICKLESEAL_KEYRING"] = str(home / ring)
        for name in ("PICKLESEAL_PASSPHRASE", "PICKLESEAL_NEW_PASSPHRASE"):
            os.environ[name] = PASS
            if arguments[-1] == "doctor":  # it says that others can read it
                del os.environ[name]
        sys.argv = ["pickleseal", *(part.format(home=home) for part in arguments)]
        cli.main()

    return run


def run_of(act: str | list[str]) -> Run:
    """Return an act by its name, or one of a life: a dump, a load with pins, or a command."""
    if isinstance(act, str):
        return ACTS[act].run
    if act[0] == "dump":
        return call(lambda home: _dump_of_life(home, *act[1:]))
    if act[0] == "load":
        return call(lambda home: _load_of_life(home, *act[1:]))
    return command(*act)


def _dump_of_life(home: Path, name: str, context: str, serial: str) -> None:
    value = {"serial": int(serial), "text": "x" * 5000 + serial}
    path = home / name
    signed_dump(value, path, keyring=home / "ring", context=context, serial=int(serial))


def _load_of_life(home: Path, name: str, context: str) -> None:
    path, pins = home / name, home / "pins.json"
    got = signed_load(path, keyring=home / "ring", context=context, pins=pins)
    assert got["text"] == "x" * 5000 + str(got["serial"]), "an object is torn"


def call(function: Callable[[Path], object]) -> Run:
    """Return an act that calls the library, with the exit code that a command would have."""

    def run(home: Path) -> int:
        try:
            function(home)
        except KeyboardInterrupt:
            return 130
        except SealError as error:
            print(repr(error), file=sys.stderr)
            return 1
        except (PicklesealError, OSError, MemoryError) as error:
            print(repr(error), file=sys.stderr)
            return 2
        return 0

    return run


def _dump(home: Path) -> None:
    signed_dump(NEW_OBJECT, home / "models/fit.pkl", keyring=home / "ring", compress="zstd")


def _dump_new(home: Path) -> None:
    signed_dump(LARGE, home / "models/new.pkl", keyring=home / "ring")


def _load_with_pins(home: Path) -> None:
    file, pins = home / "models/serial.pkl", home / "pins.json"
    got = signed_load(file, keyring=home / "ring", context=CONTEXT, pins=pins)
    assert got == OLD_OBJECT


def _dumped(home: Path) -> bool:
    return same(loaded(home, "fit.pkl"), NEW_OBJECT)


def _dumped_new(home: Path) -> bool:
    if not (home / "models/new.pkl").exists():
        return False
    assert same(loaded(home, "new.pkl"), LARGE)
    return True


def _pinned(home: Path) -> bool:
    serial = PinFile(home / "pins.json").read()[CONTEXT].serial
    assert serial in (1, 2)
    return serial == 2


def _of_all(states: list[bool]) -> bool | None:
    return all(states) if all(states) or not any(states) else None


def _resealed(home: Path) -> bool | None:
    files = [home / "models" / name for name in MODELS]
    return _of_all([path.read_bytes()[16:32].hex() == PRIMARY_ID for path in files])


def _adopted(home: Path) -> bool | None:
    states = []
    for name, value in PLAIN.items():
        sealed = (home / "plain" / name).read_bytes().startswith(layout.MAGIC)
        if sealed:
            assert loaded(home, name, folder="plain") == value
        states.append(sealed)
    return _of_all(states)


def _extracted(home: Path) -> bool | None:
    import pickle

    states = []
    for name, (value, _) in MODELS.items():
        path = home / "out" / name
        states.append(path.exists())
        if path.exists():
            assert same(pickle.loads(path.read_bytes()), value), f"{name} is torn"
    return _of_all(states)


def _listed(home: Path) -> bool:
    path = home / "all.inventory"
    if not path.exists():
        return False
    items = read_inventory(path, keyring=open_keyring(home / "ring")).inventory.items
    assert {Path(item.path).name for item in items} == set(MODELS), "the inventory lacks a file"
    return True


def _nothing(_: Path) -> bool:
    return True


def _entry(key_id: str, check: Callable[[Entry], bool]) -> Done:
    return lambda home: check(read_roster(home / "ring").entries[key_id])


def _made(home: Path) -> bool:
    return (home / "new/ring/keyring.json").exists() and (
        read_roster(home / "new/ring").primary is not None
        and open_keyring(home / "new/ring").primary is not None
    )


def _forms(ring: str, form: Form) -> Done:
    def done(home: Path) -> bool | None:
        files = RingFiles(home / ring)
        return _of_all([outline(files.line(i)).form is form for i in files.roster.entries])

    return done


def _exported(home: Path) -> bool:
    path = home / "out.txt"
    if not path.exists():
        return False
    assert path.stat().st_mode & 0o777 == 0o600
    text = path.read_text()
    assert PRIMARY.reveal() in text.split()
    assert text.endswith("\n")
    return True


def _backed_up(home: Path) -> bool:
    path = home / "out.backup"
    if not path.exists():
        return False
    assert path.stat().st_mode & 0o777 == 0o600
    made = open_backup(path.read_text().strip(), Passphrase(PASS))
    assert made.roster == read_roster(home / "ring")
    assert len(made.lines) == len(made.roster.entries)
    return True


def _restored(home: Path) -> bool:
    if not (home / "restored/keyring.json").exists():
        return False
    if not (roster := read_roster(home / "restored")).entries:
        return False  # made empty, before its keys
    assert roster == read_roster(home / "ring"), "a ring was restored in part"
    assert len(open_keyring(home / "restored").outlines) == len(roster.entries)
    return True


def _only_unreadable(out: str) -> bool:
    found = json.loads(out)["findings"]
    grave = [one for one in found if one["level"] in ("warning", "error")]
    return all(one["verdict"] == "unreadable" for one in grave)


def _only_unreadable_findings(out: str) -> bool:
    """Return whether a doctor's findings say nothing but that something cannot be read."""
    told = ("cannot be read", "cannot search", "cannot tell")
    problems = out.replace("\n  ", " ").splitlines()
    return all(any(words in line for words in told) for line in problems)


ACTS = {
    "dump": Act(call(_dump), _dumped),
    "dump of a large array": Act(call(_dump_new), _dumped_new),
    "load with pins": Act(call(_load_with_pins), _pinned),
    "reseal": Act(command("reseal", "{home}/models"), _resealed),
    "adopt": Act(command("adopt", "{home}/plain", "--yes"), _adopted),
    "extract": Act(
        command("extract", "{home}/models", "--context", "*", "--to", "{home}/out"), _extracted
    ),
    "inventory": Act(
        command("audit", "{home}/models", "--inventory", "{home}/all.inventory", "--json"),
        _listed,
        fair=_only_unreadable,
    ),
    "keygen": Act(command("keygen", ring="new/ring"), _made, again=2),
    "keygen --add": Act(
        command("keygen", "--add", "--note", "added"),
        lambda home: any(e.note == "added" for e in open_keyring(home / "ring").entries.values()),
    ),
    "keys rotate": Act(
        command("keys", "rotate", "--yes"),
        lambda home: open_keyring(home / "ring").primary != PRIMARY_ID,
    ),
    "keys retire": Act(
        command("keys", "retire", SPARE_ID), _entry(SPARE_ID, lambda e: e.state is State.RETIRED)
    ),
    "keys revoke": Act(
        command("keys", "revoke", SPARE_ID, "--reason", "stolen"),
        _entry(SPARE_ID, lambda e: e.state is State.REVOKED),
        again=2,
    ),
    "keys primary": Act(
        command("keys", "primary", SPARE_ID),
        lambda home: open_keyring(home / "ring").primary == SPARE_ID,
    ),
    "keys note": Act(
        command("keys", "note", SPARE_ID, "noted"), _entry(SPARE_ID, lambda e: e.note == "noted")
    ),
    "keys limit": Act(
        command("keys", "limit", SPARE_ID, "--context", CONTEXT),
        _entry(SPARE_ID, lambda e: e.contexts == (CONTEXT,)),
    ),
    "keys protect": Act(command("keys", "protect"), _forms("ring", Form.SCRYPT)),
    "keys unprotect": Act(command("keys", "unprotect", ring="boxed"), _forms("boxed", Form.PLAIN)),
    "keys import": Act(
        command("keys", "import", "{home}/foreign.txt"),
        lambda home: FOREIGN_ID in open_keyring(home / "ring").entries,
    ),
    "keys export": Act(command("keys", "export", "--output", "{home}/out.txt"), _exported, again=2),
    "keys backup": Act(command("keys", "backup", "{home}/out.backup"), _backed_up, again=2),
    "keys restore": Act(
        command("keys", "restore", "{home}/kept.backup", ring="restored"), _restored
    ),
    "pins forget": Act(
        command("pins", "forget", CONTEXT, "--pins", "{home}/pins.json"),
        lambda home: CONTEXT not in PinFile(home / "pins.json").read(),
        again=1,
    ),
    "keys doctor": Act(
        command("keys", "doctor"), _nothing, reads=True, fair=_only_unreadable_findings
    ),
    "keys list": Act(command("keys", "list"), _nothing, reads=True),
    "verify": Act(command("verify", "{home}/models"), _nothing, reads=True),
    "audit": Act(command("audit", "{home}/models", "--json"), _nothing, True, _only_unreadable),
}
