"""Entries of caches: each is sealed for its place. One that does not load is a miss."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

from pickleseal.errors import PicklesealError, SealError, shown
from pickleseal.persistence.dump import signed_dumps
from pickleseal.persistence.load import signed_load, signed_loads

T = TypeVar("T")

LOG = logging.getLogger("pickleseal.integrations")


def seal_entry(value: object, context: str) -> bytes:
    """Return a value sealed for one place of a cache."""
    return signed_dumps(value, context=context)


def open_entry(data: object, context: str, missing: T) -> Any | T:
    """Return the value that was sealed for this place, or `missing` and log why."""
    if not isinstance(data, bytes):  # such as what the store itself would have unpickled
        _tell("refused the cache entry %s: %s", context, "it is not sealed")
        return missing
    return _opened(signed_loads, data, context, missing)


def read_entry(path: str, context: str, missing: T) -> Any | T:
    """Return the value in a file that was sealed for this place, or `missing`.

    Where there is a file, log why.
    """
    try:
        return _opened(signed_load, path, context, missing)
    except FileNotFoundError:
        return missing
    except OSError as error:  # such as a folder, or a link to itself
        _tell("cannot read the cache entry %s: %s", context, error)
        return missing


@contextmanager
def told_once() -> Iterator[None]:
    """Log no more than one record of each entry meanwhile, however often it is read."""
    token = _told.set(set())
    try:
        yield
    finally:
        _told.reset(token)


_told: ContextVar[set[str] | None] = ContextVar("told", default=None)


def _tell(message: str, context: str, why: object) -> None:
    told = _told.get()
    if told is None or context not in told:
        LOG.warning(message, shown(context), why)
    if told is not None:
        told.add(context)


def _opened(load: Callable[..., Any], source: object, context: str, missing: T) -> Any | T:
    try:
        return load(source, context=context)
    except SealError as error:
        _tell("refused the cache entry %s: %s", context, error)
    except (PicklesealError, OSError, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001 - whatever an object raises that another version made
        # Its text may have a part of the value, but of an import that failed it has the name.
        told = error if isinstance(error, ImportError | AttributeError) else type(error).__name__
        _tell("cannot restore the cache entry %s: %s", context, shown(str(told)))
    return missing


class Counters:
    """A serializer for Redis that leaves whole numbers as they are, so that Redis can count.

    All else was sealed before it comes here, and is opened after it left.
    """

    def dumps(self, value: Any) -> Any:
        return str(value).encode() if is_counter(value) else value

    def loads(self, value: bytes | None) -> Any:
        if value is None:
            return None
        digits = value.removeprefix(b"-")
        return int(value) if digits.isdigit() and len(digits) <= _DIGITS else value


def is_counter(value: object) -> bool:
    """Return whether Redis can count with this value: a signed number of 64 bits, no bool."""
    return type(value) is int and -(1 << 63) <= value < 1 << 63


_DIGITS = 19
