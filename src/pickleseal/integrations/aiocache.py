"""A cache of aiocache whose entries are sealed."""

from collections.abc import Callable, Iterable
from typing import Any

import aiocache
from aiocache.base import SENTINEL
from aiocache.serializers import NullSerializer

from pickleseal.integrations.contexts import derived_context
from pickleseal.integrations.entries import Counters, is_counter, open_entry, seal_entry

_MISSING = object()
_COUNTERS = Counters()


class RedisCache(aiocache.RedisCache):
    """An `aiocache.RedisCache` whose entries are sealed.

    Parameters
    ----------
    name : str, optional
        What entries are bound to beside their key, which holds the namespace. Default: nothing.
    **options
        As in aiocache, but no `serializer`.

    Raises
    ------
    TypeError
        If a serializer is given.

    Notes
    -----
    An entry that is not sealed for its key is a miss, with a record in the log
    `pickleseal.integrations`. Whole numbers are kept as they are, so that `increment` works; who
    can write to Redis can change them, drop entries, and bring back old ones of the same key.

    Examples
    --------
    >>> from pickleseal.integrations.aiocache import RedisCache
    >>> RedisCache(namespace="shop").context("user/1")
    'aiocache::shop%3Auser/1'
    """

    def __init__(self, serializer: None = None, *, name: str = "", **options: Any) -> None:
        if serializer is not None:
            raise TypeError("this cache has a serializer of its own")
        super().__init__(serializer=NullSerializer(encoding=None), **options)
        self.name = name

    def context(self, key: Any, namespace: str | None = None) -> str:
        """Return the context that the entry of a key is sealed for."""
        namespace = self.namespace if namespace is None else namespace
        return derived_context("aiocache", self.name, str(self.build_key(key, namespace)))

    def _sealing(
        self, key: Any, namespace: str | None, dumps: Callable[[Any], Any] | None
    ) -> Callable[[Any], bytes]:
        def seal(value: Any) -> bytes:
            value = dumps(value) if dumps else value
            if is_counter(value):
                return _COUNTERS.dumps(value)
            return seal_entry(value, self.context(key, namespace))

        return seal

    def _open(self, key: Any, namespace: str | None, stored: Any, missing: Any = None) -> Any:
        if stored is None:
            return missing
        value = _COUNTERS.loads(stored)
        if is_counter(value):
            return value
        return open_entry(value, self.context(key, namespace), missing)

    async def add(
        self,
        key: Any,
        value: Any,
        ttl: Any = SENTINEL,
        dumps_fn: Any = None,
        namespace: str | None = None,
        **options: Any,
    ) -> Any:
        seal = self._sealing(key, namespace, dumps_fn)
        return await super().add(key, value, ttl, seal, namespace, **options)

    async def get(
        self,
        key: Any,
        default: Any = None,
        loads_fn: Any = None,
        namespace: str | None = None,
        **options: Any,
    ) -> Any:
        def opened(stored: Any) -> Any:
            value = self._open(key, namespace, stored)
            return loads_fn(value) if loads_fn else value

        return await super().get(key, default, opened, namespace, **options)

    async def multi_get(
        self, keys: Any, loads_fn: Any = None, namespace: str | None = None, **options: Any
    ) -> list[Any]:
        keys = list(keys)
        found = await super().multi_get(keys, None, namespace, **options)
        values = [
            self._open(key, namespace, stored)
            for key, stored in zip(keys, found, strict=False)  # none if AIOCACHE_DISABLE is 1
        ]
        return [loads_fn(value) for value in values] if loads_fn else values

    async def set(
        self,
        key: Any,
        value: Any,
        ttl: Any = SENTINEL,
        dumps_fn: Any = None,
        namespace: str | None = None,
        **options: Any,
    ) -> Any:
        seal = self._sealing(key, namespace, dumps_fn)
        return await super().set(key, value, ttl, seal, namespace, **options)

    async def multi_set(
        self,
        pairs: Iterable[tuple[Any, Any]],
        ttl: Any = SENTINEL,
        dumps_fn: Any = None,
        namespace: str | None = None,
        **options: Any,
    ) -> Any:
        sealed = [(key, self._sealing(key, namespace, dumps_fn)(value)) for key, value in pairs]
        return await super().multi_set(sealed, ttl, None, namespace, **options)

    async def exists(self, key: Any, namespace: str | None = None, **options: Any) -> bool:
        def holds(stored: Any) -> bool:
            return self._open(key, namespace, stored, _MISSING) is not _MISSING

        return bool(await super().get(key, False, holds, namespace, **options))

    async def _gets(self, key: Any, encoding: object = None, **options: Any) -> Any:  # noqa: ARG002
        return await super()._gets(key, encoding=None, **options)  # a lock asks for text
