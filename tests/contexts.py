"""Seal and load in one context."""

from pathlib import Path
from typing import Any

from pickleseal import Keyring, inspect, signed_dumps, signed_loads

CONTEXT = "fraud/v3"


def sealed(obj: object, ring: Keyring, **keywords: Any) -> bytes:
    return signed_dumps(obj, keyring=ring, context=CONTEXT, **keywords)


def load(data: bytes, ring: Keyring, **keywords: Any) -> Any:
    return signed_loads(data, keyring=ring, context=CONTEXT, **keywords)


def context_of(file: Path) -> str | None:
    """Return what a file was sealed for."""
    metadata = inspect(file).metadata
    assert metadata is not None
    return metadata.context
