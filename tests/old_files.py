"""Pickle and joblib files as people have them, and what adopt makes of them."""

import gzip
import hashlib
import io
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import cloudpickle
import joblib
import numpy as np
from watching import Mark

from pickleseal import open_keyring, signed_dump
from pickleseal.envelope.layout import MAGIC
from pickleseal.migration.adopt import Adopted, Preview, adopt_all, survey
from pickleseal.migration.batch import Batch, Outcome, Result
from pickleseal.migration.targets import Targets

COMPRESSIONS = ("zlib", "gzip", "bz2", "lzma", "xz", "lz4")
IN_PLACE = Targets()


class NoPlace(io.RawIOBase):
    """A file that does not know where it is, for which joblib writes no padding."""

    def __init__(self) -> None:
        self.data = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.data += data
        return len(data)

    def tell(self) -> int:
        raise io.UnsupportedOperation


def joblib_bytes(obj: object, compress: Any = 0) -> bytes:
    file = io.BytesIO()
    joblib.dump(obj, file, compress=compress)
    return file.getvalue()


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def is_sealed(path: Path) -> bool:
    return path.read_bytes().startswith(MAGIC)


def everything_below(folder: Path) -> dict[str, bytes]:
    """Return the content of each file below a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }


def told(done: list[Result[Preview]] | list[Result[Adopted]], below: Path) -> dict[str, str]:
    return {str(Path(one.path).relative_to(below)): one.outcome.value for one in done}


def adopted(
    paths: list[Path], ring: Path, targets: Targets = IN_PLACE, **options: Any
) -> dict[str, Result[Adopted]]:
    """Survey and adopt, and return the result of each file that was ready."""
    keyring = open_keyring(ring)
    found = list(survey(Batch(map(str, paths)), keyring=keyring, **options))
    ready = [one for one in found if one.outcome is Outcome.READY]
    done = adopt_all(ready, keyring=keyring, targets=targets)
    return {os.path.basename(one.path): one for one in done}


def many(folder: Path, count: int) -> dict[str, bytes]:
    folder.mkdir()
    for number in range(count):
        (folder / f"{number:03}.pkl").write_bytes(pickle.dumps([number] * 100))
    return everything_below(folder)


def old_models(tmp_path: Path, ring: Path, mark: Path) -> Path:
    """Make a folder of files of all kinds, some of them armed: one creates `mark` if unpickled."""
    import pandas as pd

    folder = tmp_path / "models"
    (folder / "deep" / "er").mkdir(parents=True)
    for protocol in range(6):
        (folder / f"{protocol}.pkl").write_bytes(pickle.dumps([protocol, {"a": 1.5}], protocol))
    (folder / "deep" / "plain.joblib").write_bytes(joblib_bytes(np.arange(50)))
    for method in COMPRESSIONS:
        data = joblib_bytes(np.arange(50), (method, 3))
        (folder / "deep" / f"{method}.joblib").write_bytes(data)
    pd.DataFrame({"a": [1, 2]}).to_pickle(folder / "deep/er/table.pkl.gz")
    signed_dump("sealed", folder / "sealed.pkl", keyring=ring)
    (folder / "notes.txt").write_text("nothing to see")
    (folder / "empty").touch()
    (folder / "several.pkl").write_bytes(pickle.dumps(1) * 3)
    (folder / "twice.joblib").write_bytes(gzip.compress(joblib_bytes(np.arange(9), 3)))
    with zipfile.ZipFile(folder / "torch.pt", "w") as archive:
        archive.writestr("data.pkl", pickle.dumps([1]))
    (folder / "broken.pkl").write_bytes(pickle.dumps(list(range(99)))[:-5])
    (folder / "armed.pkl").write_bytes(pickle.dumps(Mark(mark)))
    (folder / "lambda.pkl").write_bytes(cloudpickle.dumps(lambda: None))
    (folder / "link.pkl").symlink_to("0.pkl")
    return folder


READY = {
    *(f"{protocol}.pkl" for protocol in range(6)),
    *(f"deep/{method}.joblib" for method in (*COMPRESSIONS, "plain")),
    "deep/er/table.pkl.gz",
}
REFUSED = {"several.pkl", "twice.joblib", "torch.pt", "broken.pkl", "armed.pkl", "lambda.pkl"}
