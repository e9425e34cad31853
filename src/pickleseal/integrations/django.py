"""Cache backends of Django whose entries are sealed: `BACKEND` takes their names."""

import base64
import pickletools
import time
from typing import IO, Any, NamedTuple

from asgiref.sync import sync_to_async
from django.core.cache.backends.base import DEFAULT_TIMEOUT, BaseCache
from django.core.cache.backends.db import DatabaseCache as _DatabaseCache
from django.core.cache.backends.filebased import FileBasedCache as _FileBasedCache
from django.core.cache.backends.locmem import LocMemCache as _LocMemCache
from django.core.cache.backends.redis import RedisCache as _RedisCache
from django.db import connections, router

from pickleseal.integrations.contexts import derived_context
from pickleseal.integrations.entries import (
    Counters,
    is_counter,
    open_entry,
    read_entry,
    seal_entry,
    told_once,
)

_MISSING = object()


class _Renewing(BaseCache):
    """Replaces a refused entry where one is got or set; Django's `add` leaves it there for ever."""

    def get_or_set(
        self,
        key: str,
        default: Any,
        timeout: Any = DEFAULT_TIMEOUT,
        version: int | None = None,
    ) -> Any:
        with told_once():
            found = self.get(key, _MISSING, version)
            if found is not _MISSING:
                return found
            made = default() if callable(default) else default
            # One that is refused may be there, or another's.
            if not self.add(key, made, timeout, version):
                found = self.get(key, _MISSING, version)
                if found is not _MISSING:
                    return found
                self.set(key, made, timeout, version)
            return made

    async def aget_or_set(self, *arguments: Any, **options: Any) -> Any:
        return await sync_to_async(self.get_or_set)(*arguments, **options)


class Sealed(_Renewing):
    """Binds each entry to its full key; goes before the backend's own class."""

    _name = ""

    def _context(self, key: str, version: int | None) -> str:
        return derived_context("django", self._name, self.make_key(key, version))

    def _seal(self, key: str, value: object, version: int | None) -> object:
        return value if is_counter(value) else seal_entry(value, self._context(key, version))

    def _open(self, key: str, stored: object, version: int | None, missing: object) -> Any:
        if stored is _MISSING:
            return missing
        if is_counter(stored):
            return stored
        return open_entry(stored, self._context(key, version), missing)

    def add(
        self,
        key: str,
        value: object,
        timeout: Any = DEFAULT_TIMEOUT,
        version: int | None = None,
        **options: Any,
    ) -> Any:
        return super().add(key, self._seal(key, value, version), timeout, version, **options)

    def get(
        self, key: str, default: object = None, version: int | None = None, **options: Any
    ) -> Any:
        stored = super().get(key, _MISSING, version, **options)
        return self._open(key, stored, version, default)

    def has_key(self, key: str, version: int | None = None, **options: Any) -> bool:
        return self.get(key, _MISSING, version, **options) is not _MISSING

    def set(
        self,
        key: str,
        value: object,
        timeout: Any = DEFAULT_TIMEOUT,
        version: int | None = None,
        **options: Any,
    ) -> Any:
        return super().set(key, self._seal(key, value, version), timeout, version, **options)


class SealedRedis(Sealed):
    """What makes a cache in Redis a sealed one: it also takes many keys at once."""

    def get_many(self, keys: Any, version: int | None = None, **options: Any) -> dict[str, Any]:
        found = {
            key: self._open(key, stored, version, _MISSING)
            for key, stored in super().get_many(keys, version, **options).items()
        }
        return {key: value for key, value in found.items() if value is not _MISSING}

    def set_many(
        self,
        data: dict[str, Any],
        timeout: Any = DEFAULT_TIMEOUT,
        version: int | None = None,
        **options: Any,
    ) -> Any:
        sealed = {key: self._seal(key, value, version) for key, value in data.items()}
        return super().set_many(sealed, timeout, version, **options)


class RedisCache(SealedRedis, _RedisCache):
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
        options = {**params.get("OPTIONS", {}), "serializer": Counters}
        self._name = options.pop("name", "")
        self._options = options


class LocMemCache(Sealed, _LocMemCache):
    """Django's `LocMemCache` with sealed entries; `OPTIONS` takes `name`.

    Nobody else writes there: it is for tests and development, to do as the other caches do. The
    name is that of the cache by default. All else is as in `RedisCache`.

    Examples
    --------
    >>> from pickleseal.integrations.django import LocMemCache
    >>> CACHES = {"default": {"BACKEND": f"{LocMemCache.__module__}.LocMemCache"}}
    """

    def __init__(self, name: str, params: dict[str, Any]) -> None:
        super().__init__(name, params)
        self._name = params.get("OPTIONS", {}).get("name") or name


class _Timed(_Renewing):
    """Seals an entry's time with it, for backends that do not count in place."""

    _name = ""

    def _context(self, full_key: str) -> str:
        return derived_context("django-timed", self._name, full_key)

    def _seal(self, full_key: str, value: object, timeout: Any) -> bytes:
        content = self.get_backend_timeout(timeout), value
        return seal_entry(content, self._context(full_key))

    def _current(self, content: Any, key: str, version: int | None, default: object) -> Any:
        if content is None:
            return default
        expiry, value = content
        if expiry is not None and expiry < time.time():
            self.delete(key, version)
            return default
        return value

    def touch(self, key: str, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        value = self.get(key, _MISSING, version)
        if value is _MISSING:
            return False
        self.set(key, value, timeout, version)
        return True

    def has_key(self, key: str, version: int | None = None) -> bool:
        return self.get(key, _MISSING, version) is not _MISSING


class _Entry(NamedTuple):
    key: str
    value: object


class FileBasedCache(_Timed, _FileBasedCache):
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

    def _write_content(self, file: IO[bytes], timeout: Any, entry: _Entry) -> None:
        file.write(self._seal(entry.key, entry.value, timeout))

    def get(self, key: str, default: object = None, version: int | None = None) -> Any:
        context = self._context(self.make_key(key, version))
        content = read_entry(self._key_to_file(key, version), context, None)
        return self._current(content, key, version, default)

    def set(
        self, key: str, value: object, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None
    ) -> None:
        super().set(key, _Entry(self.make_key(key, version), value), timeout, version)


class DatabaseCache(_Timed, _DatabaseCache):
    """Django's `DatabaseCache` with sealed entries; `OPTIONS` takes `name`.

    `manage.py createcachetable` makes its table. Entries are bound to the name, by default the
    table's, and to their key, prefix and version. Their time is sealed with them.

    Examples
    --------
    >>> from pickleseal.integrations.django import DatabaseCache
    >>> CACHES = {
    ...     "default": {
    ...         "BACKEND": f"{DatabaseCache.__module__}.DatabaseCache",
    ...         "LOCATION": "cache_table",
    ...     }
    ... }
    """

    def __init__(self, table: str, params: dict[str, Any]) -> None:
        super().__init__(table, params)
        self._name = params.get("OPTIONS", {}).get("name") or table

    def _base_set(self, mode: str, key: str, value: object, timeout: Any = DEFAULT_TIMEOUT) -> Any:
        return super()._base_set(mode, key, self._seal(key, value, timeout), timeout)

    def get_many(self, keys: Any, version: int | None = None) -> dict[str, Any]:
        names = {self.make_and_validate_key(key, version=version): key for key in keys}
        found = {
            names[name]: self._current(
                open_entry(_pickled_bytes(stored), self._context(name), None),
                names[name],
                version,
                _MISSING,
            )
            for name, stored in (self._stored(list(names)) if names else ())
            if name in names  # a database may ignore case
        }
        return {key: value for key, value in found.items() if value is not _MISSING}

    def _stored(self, names: list[str]) -> list[tuple[str, str]]:
        connection = connections[router.db_for_read(self.cache_model_class)]
        key, value, table = map(connection.ops.quote_name, ("cache_key", "value", self._table))
        places = ", ".join(["%s"] * len(names))
        with connection.cursor() as cursor:
            cursor.execute(
                f"SELECT {key}, {value} FROM {table} WHERE {key} IN ({places})",  # noqa: S608 - quoted
                names,
            )
            return [(name, connection.ops.process_clob(text)) for name, text in cursor.fetchall()]


def _pickled_bytes(text: str) -> bytes:
    """Return the bytes that Django pickled and encoded, without unpickling them."""
    try:
        operations = pickletools.genops(base64.b64decode(text))
        return next(found for _, found, _ in operations if isinstance(found, bytes))
    except (ValueError, StopIteration):
        return b""
