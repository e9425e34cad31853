"""Caches of cachelib, which Flask-Session and others use, whose entries are sealed."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import IO, Any, ClassVar

import cachelib

from pickleseal.integrations.contexts import derived_context
from pickleseal.integrations.entries import Counters, is_counter, open_entry, seal_entry

_MISSING = object()


class _Bytes:
    """A serializer for files: it writes what was sealed before."""

    def dump(self, value: bytes, file: IO[bytes]) -> None:
        file.write(value)

    def load(self, file: IO[bytes]) -> bytes:
        return file.read()


class _Sealed:
    """Binds each entry to its key and its cache; goes before the cache's own class."""

    name: str | None

    def __init__(self, *arguments: Any, name: str | None = None, **options: Any) -> None:
        self.name = name
        super().__init__(*arguments, **options)

    def _place(self) -> str:
        raise NotImplementedError

    def _seal(self, key: str, value: object) -> object:
        return seal_entry(value, self.context(key))

    def _open(self, key: str, stored: object, missing: object = None) -> Any:
        return missing if stored is None else open_entry(stored, self.context(key), missing)

    def context(self, key: str) -> str:
        """Return the context that the entry of a key is sealed for."""
        return derived_context("cachelib", self.name or self._place(), key)

    def get(self, key: str) -> Any:
        return self._open(key, super().get(key))

    def has(self, key: str) -> bool:
        return self._open(key, super().get(key), _MISSING) is not _MISSING

    def set(self, key: str, value: object, *arguments: Any, **options: Any) -> Any:
        return super().set(key, self._seal(key, value), *arguments, **options)


class SealedFiles(_Sealed):
    """What makes a file system cache a sealed one."""

    serializer: ClassVar[Any] = _Bytes()
    _path: str

    def _place(self) -> str:
        return os.path.realpath(self._path)


class SealedRedis(_Sealed):
    """What makes a Redis cache a sealed one."""

    serializer: ClassVar[Any] = Counters()
    _get_prefix: Callable[[], str]

    def _place(self) -> str:
        return self._get_prefix()

    def _seal(self, key: str, value: object) -> object:
        return value if is_counter(value) else super()._seal(key, value)

    def _open(self, key: str, stored: object, missing: object = None) -> Any:
        return stored if is_counter(stored) else super()._open(key, stored, missing)

    def add(self, key: str, value: object, *arguments: Any, **options: Any) -> Any:
        return super().add(key, self._seal(key, value), *arguments, **options)

    def get_many(self, *keys: str) -> list[Any]:
        stored = super().get_many(*keys)
        return [self._open(key, value) for key, value in zip(keys, stored, strict=True)]

    def set_many(self, mapping: dict[str, Any], *arguments: Any, **options: Any) -> Any:
        sealed = {key: self._seal(key, value) for key, value in mapping.items()}
        return super().set_many(sealed, *arguments, **options)


class FileSystemCache(SealedFiles, cachelib.FileSystemCache):
    """A `cachelib.FileSystemCache` whose entries are sealed.

    Parameters
    ----------
    cache_dir, threshold, default_timeout, mode, hash_method : optional
        As in cachelib.
    name : str, optional
        What entries are bound to beside their key. Default: the real path of the directory.

    Notes
    -----
    An entry that is not sealed for its key is a miss, with a record in the log
    `pickleseal.integrations`. Who can write to the directory can still drop entries, bring back old
    ones of the same key, and prolong their time.

    Examples
    --------
    >>> import tempfile
    >>> from pickleseal.integrations.cachelib import FileSystemCache
    >>> folder = tempfile.mkdtemp()
    >>> cache = FileSystemCache(folder, threshold=0, name="docs")
    >>> cache.context("user/1")
    'cachelib:docs:user/1'
    """


class RedisCache(SealedRedis, cachelib.RedisCache):
    """A `cachelib.RedisCache` whose entries are sealed.

    Parameters
    ----------
    host, port, password, db, default_timeout, key_prefix : optional
        As in cachelib.
    name : str, optional
        What entries are bound to beside their key. Default: the prefix of keys.

    Notes
    -----
    As `FileSystemCache`. Whole numbers are kept as they are, so that `inc` works; who can write to
    Redis can change them.

    Examples
    --------
    >>> from pickleseal.integrations.cachelib import RedisCache
    >>> RedisCache(key_prefix="shop/").context("user/1")
    'cachelib:shop/:user/1'
    """
