"""aiocache with a real Redis: entries come back, and a planted or moved one is a miss."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from watching import armed

from pickleseal import Suite, dumps
from pickleseal.keys.store.changes import create_key, rotate

aiocache = pytest.importorskip("aiocache")
redis = pytest.importorskip("redis")

from pickleseal.integrations.aiocache import RedisCache  # noqa: E402

pytestmark = [
    pytest.mark.sweep,
    pytest.mark.filterwarnings(
        "ignore:Call to deprecated:DeprecationWarning"
    ),  # of redis in aiocache
]


@pytest.fixture
def client(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    create_key(tmp_path / "keys", suite=Suite.BLAKE3, note="", now=0)
    monkeypatch.setenv("PICKLESEAL_KEYRING", str(tmp_path / "keys"))
    found = redis.Redis.from_url(server)
    found.flushall()
    return found


def run(client: Any, act: Callable[[Any], Coroutine[Any, Any, None]], **options: Any) -> None:
    """Run an act with a cache that is closed after it."""

    async def whole() -> None:
        port = client.connection_pool.connection_kwargs["port"]
        async with RedisCache(port=port, **options) as cache:
            await act(cache)

    asyncio.run(whole())


def test_values_come_back_and_are_sealed(client: Any) -> None:
    async def act(cache: Any) -> None:
        for value in ("a text", b"bytes", [1, {"a": None}], 2.5, True, 7, -7, 1 << 70):
            await cache.set("key", value, ttl=60)
            found = await cache.get("key")
            assert (found, type(found)) == (value, type(value))
        assert await cache.get("another", "missing") == "missing"
        await cache.multi_set([("a", [1]), ("b", 2)])
        assert await cache.multi_get(["a", "b", "c"]) == [[1], 2, None]
        assert await cache.add("new", {1})
        with pytest.raises(ValueError, match="already exists"):
            await cache.add("new", 0)
        assert await cache.increment("hits", 2) == 2
        assert await cache.increment("b") == 3
        assert await cache.get("b") == 3
        await cache.set("none", None)
        assert await cache.exists("none")
        assert not await cache.exists("another")
        await cache.set("json", [1], dumps_fn=json.dumps)
        assert await cache.get("json") == "[1]"
        assert await cache.get("json", loads_fn=json.loads) == [1]
        assert await cache.multi_get(["json"], loads_fn=json.loads) == [[1]]
        assert b"\xa6PSEAL" in client.get("new")

    run(client, act)


def test_decorators_and_locks_work(client: Any) -> None:
    calls = []
    port = client.connection_pool.connection_kwargs["port"]

    @aiocache.cached(cache=RedisCache, port=port, key="one")  # type: ignore[untyped-decorator]
    async def one() -> list[int]:
        calls.append(1)
        return [1]

    @aiocache.cached_stampede(cache=RedisCache, port=port, key="two")  # type: ignore[untyped-decorator]
    async def two() -> list[int]:
        calls.append(2)
        return [2]

    async def act(cache: Any) -> None:
        for _ in range(2):
            assert (await one(), await two()) == ([1], [2])
        assert calls == [1, 2]
        async with aiocache.lock.OptimisticLock(cache, "one") as lock:
            await cache.set("one", [3])
            with pytest.raises(aiocache.lock.OptimisticLockError):
                await lock.cas([4])
        async with aiocache.lock.OptimisticLock(cache, "one") as lock:
            await lock.cas([4])
        assert await cache.get("one") == [4]
        await one.cache.close()
        await two.cache.close()

    run(client, act)


def test_what_was_planted_is_a_miss_and_one_line_in_the_log(
    client: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    mark = tmp_path / "mark"

    async def act(cache: Any) -> None:
        await cache.set("key", "genuine")
        genuine = client.get("key")
        for planted in (armed(mark), b"", genuine[:-1], dumps("for no key")):
            client.set("key", planted)
            caplog.clear()
            assert await cache.get("key", "missing") == "missing"
            assert [record.name for record in caplog.records] == ["pickleseal.integrations"]
            assert await cache.multi_get(["key"]) == [None]
            assert not await cache.exists("key")

    run(client, act)
    assert not mark.exists()


def test_an_entry_is_bound_to_its_key_namespace_and_name(client: Any, tmp_path: Path) -> None:
    async def act(cache: Any) -> None:
        await cache.set("mine", ["user"])
        await cache.set("other", ["admin"])
        await cache.set("mine", ["away"], namespace="away")
        client.set("shop:mine", client.get("shop:other"))
        assert await cache.get("mine") is None
        client.set("shop:mine", client.get("away:mine"))
        assert await cache.get("mine") is None
        assert await cache.get("mine", namespace="away") == ["away"]
        rotate(tmp_path / "keys", now=1)
        assert await cache.get("other") == ["admin"]

    async def elsewhere(cache: Any) -> None:
        assert await cache.get("other") is None

    run(client, act, namespace="shop")
    run(client, elsewhere, namespace="shop", name="another")


def test_a_serializer_of_ones_own_is_refused() -> None:
    with pytest.raises(TypeError, match="of its own"):
        RedisCache(serializer=aiocache.serializers.PickleSerializer())
