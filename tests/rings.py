"""Rings whose keys are rotated and revoked at one moment."""

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from pickleseal.keys.key import Key, KeyLine
from pickleseal.keys.store import changes, permissions
from pickleseal.keys.store.changes import Made, change_roster
from pickleseal.keys.store.directory import INDEX, read_roster

NOW = 1_800_000_000
PASS = "correct horse battery"

posix = pytest.mark.skipif(not permissions.CHECKED, reason="this system has no modes")
as_root = pytest.mark.skipif(
    not permissions.CHECKED or os.geteuid() != 0, reason="only root can give files away"
)


def primary_of(folder: Path) -> str:
    found = read_roster(folder).primary
    assert found is not None
    return found


def rotate(folder: Path, **options: Any) -> str:
    return changes.rotate(folder, now=NOW, **options).entry.id


def revoke(folder: Path, key_id: str, reason: str = "stolen") -> None:
    change_roster(folder, lambda r: r.revoke(key_id, reason=reason, now=NOW))


def command_line(argv: Sequence[str]) -> KeyLine:
    (line,) = changes.command_bundle(argv).lines
    return line


def secrets_of(ring: Path) -> list[str]:
    return [path.read_text().split(".")[2] for path in ring.glob("*.key")]


def key_file(folder: Path) -> Path:
    (file,) = folder.glob("*.key")
    return file


def key_of(made: Made) -> Key:
    return Key.parse(KeyLine(made.path.read_text()))


def index_of(folder: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((folder / INDEX).read_text())
    return loaded


def change_index(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    index = index_of(folder)
    change(index)
    (folder / INDEX).write_text(json.dumps(index))
