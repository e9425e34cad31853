"""The folder that acts work in: a ring, sealed models, plain pickles, pins, a second ring.

Its keys are the same in every process, so that a judge knows them by their ids.
"""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
from costs import cheap_boxes

from pickleseal import (
    Key,
    Keyring,
    Suite,
    open_keyring,
    signed_dump,
    signed_dumps,
    signed_load,
    signed_loads,
)
from pickleseal.files.atomic import TEMPORARY_PREFIX, TEMPORARY_SUFFIX
from pickleseal.keys.backup import seal_backup
from pickleseal.keys.key import KeyLine
from pickleseal.keys.mac import Mac
from pickleseal.keys.passphrase import Passphrase
from pickleseal.keys.store import changes
from pickleseal.keys.store.backup import backup_of
from pickleseal.keys.store.changes import change_roster, import_keys
from pickleseal.keys.store.directory import RingFiles
from pickleseal.keys.store.doctor import MAX_AGE, examine
from pickleseal.keys.store.lines import Opener

NOW = 1_800_000_000
PASS = "correct horse battery"
CONTEXT = "fraud/v1"

OLD_OBJECT = {"a": [1, 2, 3]}
NEW_OBJECT = {"b": list(range(3000))}
ARRAY = np.arange(300_000.0)  # three leaves
LARGE = np.arange(1_200_000.0)  # so many leaves that threads share them

MODELS: dict[str, tuple[Any, str | None]] = {
    "fit.pkl": (OLD_OBJECT, None),
    "array.pkl": (ARRAY, None),
    "serial.pkl": (OLD_OBJECT, CONTEXT),
}
"""The sealed files: what is in them, and their context."""
PLAIN = {"x.pkl": {"x": 1.5}, "y.pkl": [1, "two"]}
"""The unsealed ones."""


def _line(start: int, suite: Suite = Suite.BLAKE3) -> KeyLine:
    secret = bytes(range(start, start + 32))
    return KeyLine.of(suite, secret, Key(suite, Mac(secret)).id)


RETIRED, PRIMARY, SPARE, FOREIGN = (_line(1, Suite.SHA256), _line(2), _line(3), _line(4))
RETIRED_ID, PRIMARY_ID, SPARE_ID, FOREIGN_ID = (
    Key.parse(line).id for line in (RETIRED, PRIMARY, SPARE, FOREIGN)
)


def warm_up() -> None:
    """Do once what a process does once, such as to look up versions."""
    ring = Keyring(Key.generate())
    for value in (OLD_OBJECT, ARRAY):
        signed_loads(signed_dumps(value, keyring=ring, compress="zstd"), keyring=ring)


def build(home: Path) -> None:
    """Make the folder."""
    with cheap_boxes():
        _build(home)


def _build(home: Path) -> None:
    ring = home / "ring"
    import_keys(ring, [RETIRED], now=NOW)
    (home / "models").mkdir()
    for name in ("fit.pkl", "array.pkl"):
        _seal(home, name)
    _seal(home, "serial.pkl", serial=1)
    signed_load(home / "models/serial.pkl", keyring=ring, context=CONTEXT, pins=home / "pins.json")
    _seal(home, "serial.pkl", serial=2)
    import_keys(ring, [PRIMARY, SPARE], now=NOW, make_primary=True)
    change_roster(ring, lambda roster: roster.retire(RETIRED_ID))
    (home / "models/notes.txt").write_text("hello")
    (home / "plain").mkdir()
    for name, value in PLAIN.items():
        (home / "plain" / name).write_bytes(pickle.dumps(value))
    (home / "foreign.txt").touch(0o600)
    (home / "foreign.txt").write_text(FOREIGN.reveal() + "\n")
    boxed = home / "boxed"
    import_keys(boxed, [RETIRED, PRIMARY], now=NOW)
    storage = changes.Storage(Passphrase(PASS))
    changes.protect(RingFiles(boxed), [RETIRED_ID, PRIMARY_ID], Opener(), lambda: storage)
    made = backup_of(RingFiles(ring), Passphrase(PASS), salt=bytes(16), now=NOW)
    (home / "kept.backup").write_text(seal_backup(made, Passphrase(PASS), salt=bytes(16)))


def _seal(home: Path, name: str, serial: int | None = None) -> None:
    value, context = MODELS[name]
    path = home / "models" / name
    signed_dump(value, path, keyring=home / "ring", context=context, serial=serial)


def loaded(home: Path, name: str, *, folder: str = "models") -> Any:
    """Load a sealed file with the ring."""
    context = MODELS[name][1] if name in MODELS else None
    return signed_load(home / folder / name, keyring=home / "ring", context=context)


def same(one: Any, other: Any) -> bool:
    """Return whether two of the objects above are equal."""
    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        return bool(np.array_equal(one, other))
    return bool(one == other)


def check_whole(home: Path, built: Path) -> None:
    """Assert that nothing was lost of what was built: keys and files of all kinds."""
    ring = open_keyring(home / "ring")
    assert {RETIRED_ID, PRIMARY_ID, SPARE_ID} <= set(ring.entries), "a key was lost"
    assert ring.primary is not None, "the ring has no primary"
    if _texts(home / "boxed") != _texts(built / "boxed"):
        boxed = open_keyring(home / "boxed")
        for key_id in (RETIRED_ID, PRIMARY_ID):
            key = boxed.key(key_id)
            assert key
            key.mac(bytes(96))  # it opens
    for name, (value, _) in MODELS.items():
        got = loaded(home, name)
        news = name == "fit.pkl" and same(got, NEW_OBJECT)
        assert same(got, value) or news, f"{name} holds another object"
    assert (home / "models/notes.txt").read_text() == "hello"
    assert (home / "foreign.txt").read_text() == FOREIGN.reveal() + "\n"
    for name, value in PLAIN.items():
        files = (home / "plain" / name, home / "plain" / f"{name}.unsealed")
        kept = [path for path in files if path.exists()]
        assert pickle.dumps(value) in [path.read_bytes() for path in kept], f"{name} was lost"


def _texts(ring: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in ring.iterdir()}


def names(home: Path) -> set[str]:
    """Return the files and folders below a folder."""
    return {str(path.relative_to(home)) for path in home.rglob("*")}


def unexpected(home: Path, expected: set[str]) -> list[str]:
    """Return the leftovers: what is neither expected nor a lock, a listed key or a new folder."""
    left = []
    for name in sorted(names(home) - expected):
        path = home / name
        if path.name.endswith(".lock") or path.is_dir():
            continue
        if path.suffix == ".key" and path.stem in open_keyring(path.parent).entries:
            continue
        left.append(name)
    return left


def check_leftovers(home: Path, left: list[str]) -> None:
    """Assert that leftovers have the form of one, and that the doctor or an audit names each."""
    from pickleseal import audit
    from pickleseal.auditing.findings import Verdict

    for name in left:
        path = home / name
        temporary = path.name.startswith(TEMPORARY_PREFIX) and path.name.endswith(TEMPORARY_SUFFIX)
        if (path.parent / "keyring.json").exists():
            assert temporary or path.suffix == ".key", f"{name} is left over"
            places = [str(one.place) for one in examine(path.parent, now=NOW, max_age=MAX_AGE)]
            assert any(path.name in place for place in places), f"the doctor does not see {name}"
            continue
        ours = temporary or path.suffix == ".key" or path.name == ".gitignore"
        assert ours, f"{name} is left over"
        if temporary:
            found = audit(path.parent, keyring=home / "ring")
            verdicts = {Path(one.path).name: one.verdict for one in found}
            told = (Verdict.LEFTOVER, Verdict.UNSEALED)  # one of extract holds a plain pickle
            assert verdicts[path.name] in told, f"an audit does not see {name}"
