"""Sealed files, and rings whose keys are rotated and revoked, for the tests of reseal."""

from pathlib import Path

from watching import armed

from pickleseal import adopt_bytes, signed_dump
from pickleseal.migration.batch import Result
from pickleseal.migration.reseal import Resealed


def sealed_by(path: Path) -> str:
    return path.read_bytes()[16:32].hex()


def outcomes(found: list[Result[Resealed]], below: Path) -> dict[str, str]:
    return {str(Path(one.path).relative_to(below)): one.outcome.value for one in found}


def sealed_models(tmp_path: Path, ring: Path) -> Path:
    """Make a folder of sealed files of several kinds, and some that are none."""
    import numpy as np

    folder = tmp_path / "models"
    (folder / "deep" / "er").mkdir(parents=True)
    signed_dump([1, 2], folder / "list.pkl", info={"a": 0.1}, keyring=ring)
    array = np.arange(300_000.0)
    signed_dump(array, folder / "deep/array.pkl", context="fraud/v1", keyring=ring)
    old = adopt_bytes(armed(tmp_path / "mark"), keyring=ring)
    (folder / "deep/er/old.pkl").write_bytes(old)
    (folder / "notes.txt").write_text("hello")
    (folder / "empty").touch()
    return folder
