"""Watch that nothing is unpickled: payloads that leave a mark, and Python's own audit events."""

import pickle
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pickleseal import Keyring, SealError, signed_loads

_events: list[tuple[object, ...]] = []
_watching: list[bool] = [False]


def _hook(event: str, arguments: tuple[object, ...]) -> None:
    if _watching[0] and event == "pickle.find_class":
        _events.append(arguments)


sys.addaudithook(_hook)


@contextmanager
def nothing_unpickled() -> Iterator[None]:
    """Fail if an unpickler resolves a name while the block runs."""
    _events.clear()
    _watching[0] = True
    try:
        yield
    finally:
        _watching[0] = False
    assert not _events


class Mark:
    """An object whose unpickling makes a file: the harmless stand-in for an attack."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


def armed(path: Path, protocol: int = 4) -> bytes:
    """Return a plain pickle that makes the file `path` when it is unpickled."""
    return pickle.dumps(Mark(path), protocol)


def refused(data: bytes, ring: Keyring, error: type[SealError] = SealError) -> None:
    """Fail unless a load of the bytes raises the error."""
    with pytest.raises(error):
        signed_loads(data, keyring=ring)
