"""The docstrings of the public names: numpydoc's form, and examples that run.

`make lint` checks the form by `python tests/test_docstrings.py`, since numpydoc brings Sphinx along
and the tests are to run without it. The examples run as tests.
"""

import doctest
import enum
import inspect
import sys
from pathlib import Path

import pytest

import pickleseal
from pickleseal import Suite
from pickleseal.keys.store.changes import create_key

NOT_CHECKED = {
    "ES01",  # a summary that says it all needs no more
    "SA01",  # the reference pages list what belongs together
}


def public() -> dict[str, object]:
    """Return every public function and class that pickleseal defines itself, by name."""
    values = {name: getattr(pickleseal, name) for name in pickleseal.__all__}
    return {
        name: value
        for name, value in values.items()
        if getattr(value, "__module__", "").startswith("pickleseal.")
    }


def faults(name: str, value: object) -> list[str]:
    """Return what numpydoc's validator finds in a docstring, and attributes that it leaves out."""
    from numpydoc.docscrape import NumpyDocString
    from numpydoc.validate import validate

    skipped = set(NOT_CHECKED)
    if inspect.isclass(value):
        skipped.add("PR01")  # pickleseal makes nearly all of them itself: attributes count
        if issubclass(value, tuple | enum.Enum | Exception):
            skipped.add("EX01")  # the function that returns or raises one shows it
    found = [
        f"{code}: {message}"
        for code, message in validate(f"pickleseal.{name}")["errors"]
        if code not in skipped
    ]
    written = {field.name for field in NumpyDocString(inspect.getdoc(value) or "")["Attributes"]}
    fields = getattr(value, "_fields", ())
    found += [f"attribute {field!r} is not documented" for field in fields if field not in written]
    return found


def check() -> int:
    """Print what is wrong with the public docstrings; return an exit code."""
    wrong = 0
    for name, value in public().items():
        found = faults(name, value)
        for fault in found:
            print(f"pickleseal.{name}: {fault}")  # noqa: T201
            wrong += 1
    return 1 if wrong else 0


def examples() -> list[doctest.DocTest]:
    found = doctest.DocTestFinder()
    tests = (
        test
        for name, value in public().items()
        for test in found.find(value, name, globs={"pickleseal": pickleseal})
    )
    return [test for test in tests if test.examples]


@pytest.mark.parametrize("example", examples(), ids=lambda test: test.name)
def test_every_example_in_a_docstring_runs(
    example: doctest.DocTest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PICKLESEAL_KEYRING", str(tmp_path / "keyring"))
    create_key(tmp_path / "keyring", suite=Suite.BLAKE3, note="", now=0)
    said: list[str] = []
    outcome = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(example, out=said.append)
    assert outcome.failed == 0, "".join(said)


if __name__ == "__main__":
    sys.exit(check())
