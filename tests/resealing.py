"""Sealed files, and rings whose keys are rotated and revoked, for the tests of reseal."""

from pathlib import Path
from typing import Any

from watching import armed

from pickleseal import (
    adopt_bytes,
    signed_dump,
)
from pickleseal.keys.store import changes
from pickleseal.keys.store.changes import change_roster
from pickleseal.keys.store.directory import read_roster
from pickleseal.migration.batch import Result
from pickleseal.migration.reseal import (
    Resealed,
)

NOW = 1_800_000_000


def rotate(folder: Path, **options: Any) -> str:
    return changes.rotate(folder, now=NOW, **options).entry.id


def primary_of(folder: Path) -> str:
    found = read_roster(folder).primary
    assert found is not None
    return found


def revoke(folder: Path, key_id: str) -> None:
    change_roster(folder, lambda r: r.revoke(key_id, reason="stolen", now=NOW))


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
