"""Cache backends of Django whose entries are sealed: `BACKEND` takes their names."""

import time
from typing import IO, Any, NamedTuple

from django.core.cache.backends.base import DEFAULT_TIMEOUT
from django.core.cache.backends.filebased import FileBasedCache as _FileBasedCache
from django.core.cache.backends.redis import RedisCache as _RedisCache
from django.core.cache.backends.redis import RedisCacheClient

from pickleseal.integrations.contexts import derived_context
from pickleseal.integrations.entries import Counters, is_counter, open_entry, read_entry, seal_entry

_MISSING = object()


class _Client(RedisCacheClient):
    """Binds each entry to its full key, which holds Django's prefix and version."""

    def __init__(self, *arguments: Any, name: str = "", **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._name = name

    def _context(self, key: str) -> str:
        return derived_context("django", self._name, key)

    def _seal(self, key: str, value: object) -> object:
        return value if is_counter(value) else seal_entry(value, self._context(key))

    def _open(self, key: str, stored: object, missing: object) -> Any:
        return stored if is_counter(stored) else open_entry(stored, self._context(key), missing)

    def add(self, key: str, value: object, timeout: Any) -> Any:
        return super().add(key, self._seal(key, value), timeout)

    def get(self, key: str, default: object) -> Any:
        stored = super().get(key, _MISSING)
        return default if stored is _MISSING else self._open(key, stored, default)

    def has_key(self, key: str) -> bool:
        return self.get(key, _MISSING) is not _MISSING

    def set(self, key: str, value: object, timeout: Any) -> Any:
        return super().set(key, self._seal(key, value), timeout)

    def get_many(self, keys: Any) -> dict[str, Any]:
        found = {
            key: self._open(key, stored, _MISSING) for key, stored in super().get_many(keys).items()
        }
        return {key: value for key, value in found.items() if value is not _MISSING}

    def set_many(self, data: dict[str, Any], timeout: Any) -> Any:
        return super().set_many({key: self._seal(key, data[key]) for key in data}, timeout)


class RedisCache(_RedisCache):
    """Django's `RedisCache` with sealed entries; `OPTIONS` takes a `name` to bind them to.

    An entry that is not sealed for its key, prefix, version and name is a miss, with a record in
    the log `pickleseal.integrations`. Whole numbers are kept as they are, so that `incr` works.

    Examples
    --------
    >>> from pickleseal.integrations.django import RedisCache
    >>> CACHES = {
    ...     "default": {
    ...         "BACKEND": f"{RedisCache.__module__}.RedisCache",
    ...         "LOCATION": "redis://localhost",
    ...     }
    ... }
    """

    def __init__(self, server: Any, params: dict[str, Any]) -> None:
        super().__init__(server, params)
        self._class = _Client
        self._options["serializer"] = Counters


class _Entry(NamedTuple):
    key: str
    value: object


class FileBasedCache(_FileBasedCache):
    """Django's `FileBasedCache` with sealed entries; `OPTIONS` takes `name`.

    Entries are bound to the name, by default the directory, and to their key, prefix and version.
    Their time is sealed with them. All else is as in `RedisCache`.

    Examples
    --------
    >>> from pickleseal.integrations.django import FileBasedCache
    >>> CACHES = {
    ...     "default": {
    ...         "BACKEND": f"{FileBasedCache.__module__}.FileBasedCache",
    ...         "LOCATION": "/var/cache/shop",
    ...     }
    ... }
    """

    def __init__(self, directory: str, params: dict[str, Any]) -> None:
        super().__init__(directory, params)
        self._name = params.get("OPTIONS", {}).get("name") or self._dir

    def _context(self, key: str) -> str:
        return derived_context("django", self._name, key)

    def _write_content(self, file: IO[bytes], timeout: Any, entry: _Entry) -> None:
        content = self.get_backend_timeout(timeout), entry.value
        file.write(seal_entry(content, self._context(entry.key)))

    def get(self, key: str, default: object = None, version: int | None = None) -> Any:
        full_key = self.make_and_validate_key(key, version=version)
        found = read_entry(self._key_to_file(key, version), self._context(full_key), None)
        if found is None:
            return default
        expiry, value = found
        if expiry is not None and expiry < time.time():
            self.delete(key, version)
            return default
        return value

    def set(
        self, key: str, value: object, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None
    ) -> None:
        full_key = self.make_and_validate_key(key, version=version)
        super().set(key, _Entry(full_key, value), timeout, version)

    def touch(self, key: str, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        value = self.get(key, _MISSING, version)
        if value is _MISSING:
            return False
        self.set(key, value, timeout, version)
        return True

    def has_key(self, key: str, version: int | None = None) -> bool:
        return self.get(key, _MISSING, version) is not _MISSING
