"""Settings of the audit in a pyproject.toml, `[tool.pickleseal.audit]`: no load ever reads them.

They name no keyring: what lies beside the files must not say whose seal is good.
"""

import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from pickleseal.auditing.report import FAIL_ON
from pickleseal.cli.output import CouldNotRun


class Settings(NamedTuple):
    """What a pyproject.toml asks of an audit; `file` is its path, None where there is none."""

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
    """Read the settings of the pyproject.toml in the current folder, and of none above it.

    Raises CouldNotRun for what it cannot mean.
    """
    file = os.path.abspath("pyproject.toml")
    if not os.path.isfile(file):
        return Settings()
    import tomllib  # noqa: PLC0415 - only where there is something to read

    try:
        with open(file, "rb") as opened:
            found: object = tomllib.load(opened)
    except (OSError, ValueError, RecursionError) as error:
        raise CouldNotRun(f"{file} cannot be read: {error}") from None
    for name in ("tool", "pickleseal", "audit"):
        found = found.get(name) if isinstance(found, dict) else None
    if found is None:
        return Settings()
    if not isinstance(found, dict):
        raise _bad(file, "it is no table")
    return _parsed(file, found)


def _parsed(file: str, section: dict[str, Any]) -> Settings:
    fields = {name.replace("-", "_"): value for name, value in section.items()}
    unknown = fields.keys() - (set(Settings._fields) - {"file"})
    if unknown:
        known = ", ".join(name.replace("_", "-") for name in Settings._fields[1:])
        raise _bad(file, f"it has no '{min(unknown)}'; there are: {known}")
    for name in ("paths", "include", "exclude", "known"):
        value = fields.get(name, [])
        if not isinstance(value, list) or not all(isinstance(part, str) for part in value):
            raise _bad(file, f"'{name}' is a list of texts")
        fields[name] = tuple(value)
    context = fields.get("context")
    if not isinstance(context, str | None) and not _is_table_of_texts(context):
        raise _bad(file, "'context' is a text, or a table from globs for paths to texts")
    if not isinstance(fields.get("imports", False), bool):
        raise _bad(file, "'imports' is true or false")
    if not isinstance(fields.get("baseline"), str | None):
        raise _bad(file, "'baseline' is the path of a list")
    if fields.get("fail_on", "warning") not in FAIL_ON:
        raise _bad(file, f"'fail-on' is one of {', '.join(FAIL_ON)}")
    return Settings(file=file, **fields)


def _is_table_of_texts(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(text, str) for text in value.values())


def _bad(file: str, fault: str) -> CouldNotRun:
    return CouldNotRun(f"{file}, [tool.pickleseal.audit]: {fault}")
