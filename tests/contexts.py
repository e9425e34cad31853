"""Seal and load in one context."""

from typing import Any

from pickleseal import (
    Keyring,
    signed_dumps,
    signed_loads,
)

CONTEXT = "fraud/v3"


def sealed(obj: object, ring: Keyring, **keywords: Any) -> bytes:
    return signed_dumps(obj, keyring=ring, context=CONTEXT, **keywords)


def load(data: bytes, ring: Keyring, **keywords: Any) -> Any:
    return signed_loads(data, keyring=ring, context=CONTEXT, **keywords)
