"""The mutation test of our guards, by itself: `make mutants` runs it on the package."""

import ast
from pathlib import Path

import pytest
from mutants.__main__ import TESTS, equivalents
from mutants.guards import mutants
from mutants.trial import PACKAGE

pytestmark = pytest.mark.once

SOURCE = '''
class Door:
    def open(self, key, size):
        """Open."""
        self._check_key(key)
        if size < 3 and key is not None:
            raise ValueError(size)
        return key.fits or key.master

def is_open(door):
    if door.ajar:
        return True
    raise LookupError
'''


def test_each_part_of_a_guard_has_a_mutant(tmp_path: Path) -> None:
    path = tmp_path / "doors.py"
    path.write_text(SOURCE)
    found = list(mutants(tmp_path, path))
    assert sorted(one.key.removeprefix("doors ") for one in found) == [
        "Door.open: `key.fits or key.master` without `key.fits`",
        "Door.open: `key.fits or key.master` without `key.master`",
        "Door.open: `size < 3 and key is not None` without `key is not None`",
        "Door.open: `size < 3 and key is not None` without `size < 3`",
        "Door.open: `size < 3` as `size <= 3`",
        "Door.open: never `if size < 3 and key is not None`",
        "Door.open: no `self._check_key(key)`",
        "is_open: never `if door.ajar`",
        "is_open: no `raise LookupError`",
    ]
    texts = {ast.unparse(one.tree()) for one in found}
    assert len(texts) == len(found)
    assert ast.unparse(ast.parse(SOURCE)) not in texts


def test_every_mutant_that_is_called_equivalent_is_there_and_explained() -> None:
    made = {
        one.key
        for folder in TESTS
        for path in (PACKAGE / folder).rglob("*.py")
        for one in mutants(PACKAGE, path)
    }
    assert len(made) > 1000
    assert equivalents().keys() <= made


def test_the_tests_of_every_folder_are_there() -> None:
    """Else pytest fails for want of them, and each mutant counts as missed by a test."""
    root = Path(__file__).parents[1]
    assert [name for names in TESTS.values() for name in names if not (root / name).exists()] == []
