"""A folder with something of every kind that an audit has a verdict on."""

import gzip
import os
import pickle
import zipfile
from functools import partial
from pathlib import Path

import joblib
import numpy as np
from armed import made as armed
from envelopes import hand_sealed

from pickleseal import Key, Keyring, adopt_bytes, open_keyring, signed_dump, signed_dumps
from pickleseal.envelope.metadata import Metadata
from pickleseal.keys.roster import Roster
from pickleseal.keys.store.changes import change_roster, create_key


def mixed(folder: Path) -> tuple[Path, Path]:
    """Make the folder and the directory of a keyring beside it; return both."""
    models, ring = folder / "models", folder / "ring"
    models.mkdir()
    _sealed(models / "sealed", ring)
    _changed(models / "changed", ring)
    _unsealed(models / "unsealed", folder)
    for number in range(12):
        (models / f"run{number}" / "of").mkdir(parents=True)
        signed_dump(number, models / f"run{number}" / "of" / "model.pkl", keyring=ring)
    return models, ring


def _sealed(folder: Path, ring: Path) -> None:
    folder.mkdir()
    first = create_key(ring, now=0).entry.id
    for name in ("revoked", "retired", "active", "primary"):
        made = create_key(ring, now=0).entry.id
        change_roster(ring, partial(Roster.make_primary, key_id=made))
        signed_dump(name, folder / name, keyring=ring, context=f"kept/{name}")
        if name in ("revoked", "retired"):
            change_roster(ring, partial(Roster.make_primary, key_id=first))
            rule = {
                "retired": partial(Roster.retire, key_id=made),
                "revoked": partial(Roster.revoke, key_id=made, reason="lost", now=0),
            }[name]
            change_roster(ring, rule)
    signed_dump("unknown", folder / "unknown", keyring=Keyring(Key.generate()))
    over = Metadata(content="pickle", expires=1)
    (folder / "expired").write_bytes(hand_sealed(open_keyring(ring), over, pickle.dumps(0)))
    (folder / "adopted").write_bytes(adopt_bytes(pickle.dumps(0), keyring=ring))
    (folder / "adopted.unsealed").write_bytes(pickle.dumps(0))
    array = np.arange(3_000_000, dtype=np.uint8)
    signed_dump(array, folder / "large", keyring=ring, info={"auc": 0.9})
    signed_dump([array[:9], "x" * 5000], folder / "packed", keyring=ring, compress="zstd")
    parts = [signed_dumps(number, keyring=ring, context=f"{number}") for number in range(3)]
    (folder / "several").write_bytes(b"".join(parts))
    (folder / "several and more").write_bytes(b"".join(parts) + b"more")


def _changed(folder: Path, ring: Path) -> None:
    folder.mkdir()
    whole = signed_dumps(np.zeros(3_000, np.uint8), keyring=ring, context="a/b")
    for offset in (4, 20, 70, 130, 200, -1000, -40, -1):
        data = bytearray(whole)
        data[offset] ^= 1
        (folder / f"at {offset}").write_bytes(data)
    for size in (1, 5, 63, 64, 70, 500, len(whole) - 1):
        (folder / f"first {size}").write_bytes(whole[:size])
    (folder / "twice, the second changed").write_bytes(whole + data)
    (folder / "empty").write_bytes(b"")


def _unsealed(folder: Path, marks: Path) -> None:
    folder.mkdir()
    for number, one in enumerate(armed(str(marks))[::7]):
        (folder / f"armed {number}.pkl").write_bytes(one.data)
    plain = pickle.dumps({"a": [1.5, (2, "b")]})
    (folder / "plain.pkl").write_bytes(plain)
    (folder / "plain.pkl.unsealed").write_bytes(plain)
    (folder / "alone.unsealed").write_bytes(plain)
    (folder / ".pickleseal-1a2b3c4d.tmp").write_bytes(plain)
    (folder / ".pickleseal-5e6f7a8b.tmp").write_bytes(b"half")
    (folder / "packed.pkl.gz").write_bytes(gzip.compress(plain))
    joblib.dump([np.arange(10), "x"], folder / "with joblib.joblib", compress=3)
    with zipfile.ZipFile(folder / "archive.zip", "w") as archive:
        archive.writestr("inside.pkl", plain)
    (folder / "notes.txt").write_text("no pickle")
    (folder / "closed.7z").write_bytes(b"7z\xbc\xaf\x27\x1c" + bytes(30))
    (folder / "leads elsewhere").symlink_to(folder / "plain.pkl")
    os.mkfifo(folder / "pipe")
    (folder / ".git").mkdir()
    (folder / ".git" / "index").write_bytes(plain)
