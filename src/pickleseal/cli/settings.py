"""Settings of the audit in a pyproject.toml, `[tool.pickleseal.audit]`; no load reads them.

They can't name a keyring: files next to the models must not decide whose seal is good.
"""

import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from pickleseal.auditing.report import FAIL_ON
from pickleseal.cli.output import CouldNotRun


class Settings(NamedTuple):
    """The settings of an audit; `file` is the path of the pyproject.toml, or None."""

    file: str | None = None
    paths: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    context: Mapping[str, str] | str | None = None
    imports: bool = False
    known: tuple[str, ...] = ()
    baseline: str | None = None
    fail_on: str = "warning"


def read_settings() -> Settings:
    """Read the settings from the pyproject.toml in the current folder, not from one above it.

    Raise CouldNotRun if a setting is not valid.
    """
    file = os.path.abspath("pyproject.toml")
    if not os.path.isfile(file):
        return Settings()
    import tomllib  # noqa: PLC0415 - only when there is a file to read

    try:
        with open(file, "rb") as opened:
            found: object = tomllib.load(opened)
    except (OSError, ValueError, RecursionError) as error:
        raise CouldNotRun(f"{file}: cannot read it: {error}") from None
    for name in ("tool", "pickleseal", "audit"):
        found = found.get(name) if isinstance(found, dict) else None
    if found is None:
        return Settings()
    if not isinstance(found, dict):
        raise _bad(file, "it must be a table")
    return _parsed(file, found)


def _parsed(file: str, section: dict[str, Any]) -> Settings:
    fields = {name.replace("-", "_"): value for name, value in section.items()}
    unknown = fields.keys() - (set(Settings._fields) - {"file"})
    if unknown:
        known = ", ".join(name.replace("_", "-") for name in Settings._fields[1:])
        raise _bad(file, f"unknown setting '{min(unknown)}'; known: {known}")
    for name in ("paths", "include", "exclude", "known"):
        value = fields.get(name, [])
        if not isinstance(value, list) or not all(isinstance(part, str) for part in value):
            raise _bad(file, f"'{name}' must be a list of strings")
        fields[name] = tuple(value)
    context = fields.get("context")
    texts = context.values() if isinstance(context, dict) else [context]
    if not all(isinstance(text, str | None) for text in texts):
        raise _bad(file, "'context' must be a string, or a table from globs for paths to strings")
    if not isinstance(fields.get("imports", False), bool):
        raise _bad(file, "'imports' must be true or false")
    if not isinstance(fields.get("baseline"), str | None):
        raise _bad(file, "'baseline' must be the path of an inventory")
    if fields.get("fail_on", "warning") not in FAIL_ON:
        raise _bad(file, f"'fail-on' must be one of {', '.join(FAIL_ON)}")
    return Settings(file=file, **fields)


def _bad(file: str, fault: str) -> CouldNotRun:
    return CouldNotRun(f"{file}, [tool.pickleseal.audit]: {fault}")
