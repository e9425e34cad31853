"""A backend of django-redis whose entries are sealed: `BACKEND` takes its name."""

from typing import Any

from django.core.cache.backends.base import BaseCache
from django_redis.cache import RedisCache as _RedisCache

from pickleseal.integrations.django import SealedRedis


class Bytes:
    """A serializer for what was sealed before, and for bytes: it unpickles nothing."""

    def __init__(self, options: dict[str, Any]) -> None:
        pass

    def dumps(self, value: object) -> bytes:
        if not isinstance(value, bytes):
            raise TypeError(
                f"a value of type {type(value).__name__} cannot be sealed here: sets, hashes, "
                "sorted sets and HerdClient take whole numbers and bytes alone"
            )
        return value

    def loads(self, value: bytes) -> bytes:
        return value


class RedisCache(SealedRedis, _RedisCache):
    """The `RedisCache` of django-redis with sealed entries; `OPTIONS` takes `name`.

    All is as in `pickleseal.integrations.django.RedisCache`. The members of sets, hashes and sorted
    sets are not sealed, and never unpickled: they are whole numbers and bytes.

    Examples
    --------
    >>> from pickleseal.integrations.django_redis import RedisCache
    >>> CACHES = {
    ...     "default": {
    ...         "BACKEND": f"{RedisCache.__module__}.RedisCache",
    ...         "LOCATION": "redis://localhost",
    ...     }
    ... }
    """

    def __init__(self, server: Any, params: dict[str, Any]) -> None:
        options = {**params.get("OPTIONS", {}), "SERIALIZER": f"{__name__}.Bytes"}
        self._name = options.pop("name", "")
        super().__init__(server, {**params, "OPTIONS": options})

    def incr_version(self, key: str, delta: int = 1, version: int | None = None) -> int:
        """Move an entry to another version, with its time; it is sealed again."""
        seconds = self.ttl(key, version)
        new = BaseCache.incr_version(self, key, delta, version)
        if seconds is None:
            self.persist(key, version=new)
        else:
            self.expire(key, seconds, version=new)
        return new
