"""Rings whose keys are rotated and revoked at one moment."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pickleseal.keys.key import KeyLine
from pickleseal.keys.store import changes
from pickleseal.keys.store.changes import change_roster
from pickleseal.keys.store.directory import read_roster

NOW = 1_800_000_000
PASS = "correct horse battery"


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
