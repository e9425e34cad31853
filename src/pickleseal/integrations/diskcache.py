"""A diskcache whose entries are sealed, and which never unpickles what it did not seal."""

import ast
import io
import math
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

import diskcache
from diskcache.core import (
    DEFAULT_SETTINGS,
    ENOVAL,
    EVICTION_POLICY,
    METADATA,
    MODE_BINARY,
    MODE_RAW,
    UNKNOWN,
)

from pickleseal.errors import shown
from pickleseal.integrations.contexts import derived_context
from pickleseal.integrations.entries import is_counter, open_entry, seal_entry

_REFUSED = object()


class _Expected(NamedTuple):
    context: str
    refusal: type[Exception]


_expected: ContextVar[_Expected] = ContextVar("_expected")
"""The entry that is fetched next: diskcache does not pass keys to `fetch`."""


class _Disk(diskcache.Disk):
    name: str  # set by the cache: settings in the database are not to be trusted

    def __init__(self, directory: str, **settings: Any) -> None:
        own = {name: settings[name] for name in settings if f"disk_{name}" in DEFAULT_SETTINGS}
        super().__init__(directory, **own)

    def context(self, key: object) -> str:
        if key is UNKNOWN:  # an entry of a queue gets its key when it is stored
            return derived_context("diskcache-queue", self.name)
        return derived_context("diskcache", self.name, repr(key))

    def put(self, key: Any) -> tuple[Any, bool]:
        if type(key) in (bytes, str, float) or is_counter(key):
            return super().put(key)
        if not _is_literal(key):
            raise TypeError(
                f"a key of type {type(key).__name__} would have to be unpickled; take text, bytes, "
                "numbers, or tuples of them"
            )
        return sqlite3.Binary(repr(key).encode()), False

    def get(self, key: Any, raw: bool) -> Any:
        found = super().get(key, raw) if raw else _literal(key)
        _expected.set(_Expected(self.context(found), KeyError))
        return found

    def store(self, value: Any, read: bool, key: Any = UNKNOWN) -> Any:
        if not read and (type(value) is float or is_counter(value)):
            return super().store(value, read, key)
        content = value.read() if read else value
        return super().store(seal_entry(content, self.context(key)), False, key)

    def fetch(self, mode: int, filename: Any, value: Any, read: bool) -> Any:
        if mode == MODE_RAW and type(value) in (int, float):
            return value
        known = mode in (MODE_RAW, MODE_BINARY)
        expected = _expected.get()
        try:
            stored = super().fetch(mode, filename, value, False) if known else None
        except (TypeError, ValueError):  # the row names no file
            stored = None
        except OSError as error:
            raise expected.refusal("the file of the entry is gone") from error
        found: Any = open_entry(stored, expected.context, _REFUSED)
        if found is _REFUSED:
            raise expected.refusal("the entry was refused")
        return io.BytesIO(found) if read and isinstance(found, bytes) else found


def _literal(key: object) -> object:
    """Return the key that was stored as this text, or what is stored if it was not written here."""
    if not isinstance(key, bytes):
        return key
    try:
        found = ast.literal_eval(key.decode())
    except (TypeError, ValueError, SyntaxError, RecursionError, MemoryError):
        return key
    return found if _is_literal(found) else key


def _is_literal(key: object) -> bool:
    if type(key) is tuple:
        return all(map(_is_literal, key))
    if type(key) is float:
        return math.isfinite(key)
    return key is None or type(key) in (bytes, str, int, bool)


class Cache(diskcache.Cache):
    """A `diskcache.Cache` whose entries are sealed.

    Parameters
    ----------
    directory, timeout : optional
        As in diskcache.
    name : str, optional
        What entries are bound to beside their key. Default: the real path of the directory.
    **settings
        As in diskcache, but no `disk`.

    Raises
    ------
    TypeError
        If a key is no text, bytes or number, nor a tuple of them: diskcache pickles such keys.

    Notes
    -----
    An entry that is not sealed for its key is a miss, with a record in the log
    `pickleseal.integrations`; `peek` returns its default. Numbers are kept as they are, so that
    `incr` works. Entries of queues (`push`) are bound to the cache and not to their place in it.
    Who can write to the directory can still drop entries and bring back old ones of the same key.

    Examples
    --------
    >>> import tempfile
    >>> from pickleseal.integrations.diskcache import Cache
    >>> cache = Cache(tempfile.mkdtemp(), name="docs")
    >>> cache.context(("f", 1))
    "diskcache:docs:%28%27f%27%2C 1%29"
    >>> cache.close()
    """

    def __init__(
        self,
        directory: str | os.PathLike[str] | None = None,
        timeout: float = 60,
        *,
        name: str | None = None,
        **settings: Any,
    ) -> None:
        if "disk" in settings:
            raise TypeError("this cache has a disk of its own")
        super().__init__(directory, timeout, _Disk, **settings)
        self._disk.name = self.name = name or os.path.realpath(self.directory)

    def reset(self, key: str, value: Any = ENOVAL, update: bool = True) -> Any:
        default = DEFAULT_SETTINGS.get(key, METADATA.get(key))
        if default is None:
            return None  # another class left it, or it was planted: it would become an attribute
        kind = str if isinstance(default, str) else (int, float)
        of_policies = key != "eviction_policy" or value in EVICTION_POLICY
        if value is not ENOVAL and not (isinstance(value, kind) and of_policies):
            raise TypeError(
                f"{shown(self.directory)}: the setting {key} cannot be {shown(repr(value))}: pass "
                "another one, or delete the folder"
            )
        return super().reset(key, value, update)

    def __getstate__(self) -> tuple[str, float, str]:
        return self.directory, self.timeout, self.name

    def __setstate__(self, state: tuple[str, float, str]) -> None:
        directory, timeout, name = state
        self.__init__(directory, timeout, name=name)

    def context(self, key: object) -> str:
        """Return the context that the entry of a key is sealed for."""
        return self._disk.context(key)

    @contextmanager
    def _fetching(
        self, key: object, refusal: type[Exception] = FileNotFoundError
    ) -> Iterator[None]:
        """Fetch the entry of a key. A file that is not found is a miss, in diskcache."""
        token = _expected.set(_Expected(self.context(key), refusal))
        try:
            yield
        finally:
            _expected.reset(token)

    def get(self, key: Any, *arguments: Any, **options: Any) -> Any:
        with self._fetching(key):
            return super().get(key, *arguments, **options)

    def pop(self, key: Any, *arguments: Any, **options: Any) -> Any:
        with self._fetching(key):
            return super().pop(key, *arguments, **options)

    def pull(self, *arguments: Any, **options: Any) -> Any:
        with self._fetching(UNKNOWN):
            return super().pull(*arguments, **options)

    def peek(
        self,
        prefix: str | None = None,
        default: Any = (None, None),
        side: str = "front",
        expire_time: bool = False,
        tag: bool = False,
        retry: bool = False,
    ) -> Any:
        with self._fetching(UNKNOWN, KeyError):  # diskcache would look again, for ever
            try:
                return super().peek(prefix, default, side, expire_time, tag, retry)
            except KeyError:
                return (default, *[None] * (expire_time + tag)) if expire_time or tag else default

    def peekitem(self, *arguments: Any, **options: Any) -> Any:
        with self._fetching(UNKNOWN, KeyError):
            return super().peekitem(*arguments, **options)
