"""Make a folder of golden files: `python tests/make_golden.py tests/data/golden/VERSION`.

Each release adds a folder and changes none: what was sealed once is loaded by every later version.
"""

import ast
import gzip
import io
import json
import os
import pickle
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest

from pickleseal import (
    Suite,
    adopt_bytes,
    audit,
    inspect,
    open_keyring,
    signed_dump,
    signed_dumps,
    signed_load,
)
from pickleseal.auditing.baselines import items_of
from pickleseal.keys.keyring import Keyring
from pickleseal.keys.passphrase import Passphrase
from pickleseal.keys.store import changes
from pickleseal.keys.store.directory import INDEX, KEY_SUFFIX
from pickleseal.persistence.inventory import Inventory
from pickleseal.persistence.inventory_file import write_inventory

GOLDEN = Path(__file__).parent / "data" / "golden"
RING, PINS, LIST, INDEX_OF_ALL = "ring", "pins.json", "the.list", "index.json"
NOW = 1_800_000_000
PASS = "correct horse battery"
VALUE: Any = {"name": "it", "numbers": [1, 2.5, -3, 1 << 70], "nothing": None, "bytes": b"\0\xff"}
LARGE = bytes(range(256)) * 2
OPTIONS: dict[str, Any] = {
    "context": "golden/v1",
    "serial": 7,
    "info": {"accuracy": 0.5, "by": "tests", "tags": ["a", "b"]},
    "expires": datetime(3000, 1, 1, tzinfo=UTC),
}


def make(folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Write a folder of golden files, with an index of what each holds."""
    patch.setenv("SOURCE_DATE_EPOCH", str(NOW))
    folder.mkdir(parents=True)
    old = _ring(folder / RING)
    ring = open_keyring(folder / RING, passphrase=lambda: PASS)
    put = _Written(folder, ring)
    put("plain.pkl", signed_dumps(VALUE, keyring=ring), VALUE)
    put("protocol-0.pkl", signed_dumps(VALUE, 0, keyring=ring), VALUE)
    put("retired-sha256.pkl", signed_dumps(VALUE, keyring=old), VALUE)
    put("full.pkl", signed_dumps(VALUE, keyring=ring, **OPTIONS), VALUE, context=OPTIONS["context"])
    put("zstd.pkl", signed_dumps(VALUE, keyring=ring, compress=3), VALUE)
    buffers = [pickle.PickleBuffer(LARGE), pickle.PickleBuffer(b""), pickle.PickleBuffer(b"abc")]
    put("buffers.pkl", signed_dumps(buffers, keyring=ring), [LARGE, b"", b"abc"])
    packed = signed_dumps(buffers, keyring=ring, compress=3)
    put("buffers-zstd.pkl", packed, [LARGE, b"", b"abc"])
    array = np.arange(100.0).reshape(4, 25)
    put("array.pkl", signed_dumps(array, keyring=ring), array.tolist())
    beside: list[pickle.PickleBuffer] = []
    bound = signed_dumps(buffers, keyring=ring, buffer_callback=beside.append)
    put("external.pkl", bound, [LARGE, b"", b"abc"], buffers="external.bin")
    (folder / "external.bin").write_bytes(b"".join(one.raw() for one in beside))
    adopted = pickle.dumps(VALUE, 2)
    put("adopted.pkl", adopt_bytes(adopted, keyring=ring, context="old"), VALUE, context="old")
    for name, compress in (("joblib.pkl", 0), ("joblib-zlib.pkl", 3)):
        file = io.BytesIO()
        joblib.dump({"array": array, "n": 1}, file, compress=compress)
        put(name, adopt_bytes(file.getvalue(), keyring=ring), {"array": array.tolist(), "n": 1})
    gzipped = gzip.compress(pickle.dumps(VALUE), mtime=0)
    (folder / "unsealed.pkl.gz").write_bytes(gzipped)
    with (folder / "several.pkls").open("wb") as several:
        for value in (1, [2]):
            signed_dump(value, several, keyring=ring)
    signed_load(folder / "full.pkl", keyring=ring, context=OPTIONS["context"], pins=folder / PINS)
    (folder / f"{PINS}.lock").unlink()
    patch.chdir(folder)
    found = audit(".", keyring=ring, digests=True, exclude=[RING, PINS])
    items = [item for finding in found for item in items_of(finding)]
    write_inventory(Inventory(NOW, tuple(items)), LIST, keyring=ring, context="lists")
    (folder / INDEX_OF_ALL).write_text(json.dumps(put.index, indent=1) + "\n")


class _Written:
    """Writes files and notes what each holds, in Python's own notation."""

    def __init__(self, folder: Path, ring: Keyring) -> None:
        self.index: dict[str, dict[str, str]] = {}
        self._folder = folder
        self._ring = ring

    def __call__(self, name: str, data: bytes, value: object, **options: str) -> None:
        path = self._folder / name
        path.write_bytes(data)
        digest = inspect(path, keyring=self._ring).digest
        assert digest is not None
        assert ast.literal_eval(repr(value)) == value
        self.index[name] = {"value": repr(value), "digest": digest, **options}


def _ring(folder: Path) -> Keyring:
    """Make a ring with a key of each state and kind; return it as it was with the first one."""
    first = changes.create_key(folder, suite=Suite.SHA256, note="the first", now=NOW).entry.id
    old = open_keyring(folder)
    gone = changes.create_key(folder, suite=Suite.BLAKE3, now=NOW).entry.id
    changes.change_roster(folder, lambda roster: roster.revoke(gone, reason="lost", now=NOW))
    changes.create_key(
        folder, suite=Suite.BLAKE3, now=NOW, limits=changes.Limits(contexts=("a/*",))
    )
    storage = changes.Storage(passphrase=Passphrase(PASS))
    new = changes.rotate(folder, suite=Suite.BLAKE3, now=NOW, note="ünï", storage=storage)
    assert open_keyring(folder, passphrase=lambda: PASS).primary == new.entry.id != first
    for name in os.listdir(folder):
        if name != INDEX and not name.endswith(KEY_SUFFIX):
            (folder / name).unlink()  # .gitignore would keep them out of this repository, too
    return old


if __name__ == "__main__":
    with pytest.MonkeyPatch.context() as patching:
        make(Path(sys.argv[1]).absolute(), patching)
