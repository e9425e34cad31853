"""Real caches: entries come back, and one that was planted, moved or forged is a miss."""

import asyncio
import base64
import logging
import os
import pickle
import shutil
import sqlite3
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from watching import Mark, armed

from pickleseal import Suite, dumps
from pickleseal.keys.store.changes import create_key, rotate

redis = pytest.importorskip("redis")
cachelib = pytest.importorskip("pickleseal.integrations.cachelib", exc_type=ImportError)
caching = pytest.importorskip("pickleseal.integrations.flask_caching", exc_type=ImportError)
flask = pytest.importorskip("flask")
flask_caching = pytest.importorskip("flask_caching")
django_conf = pytest.importorskip("django.conf")
if not django_conf.settings.configured:
    django_conf.settings.configure(
        USE_TZ=True,
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    )
django = pytest.importorskip("pickleseal.integrations.django")
django_redis = pytest.importorskip("pickleseal.integrations.django_redis", exc_type=ImportError)

pytestmark = pytest.mark.sweep


class Kind(NamedTuple):
    """A cache of one kind, and how to write past it."""

    cache: Any
    plant: Callable[[str, bytes], object]
    read: Callable[[str], bytes]
    forged: Callable[[Any], bytes]
    """How the plain cache would store an object."""


@pytest.fixture
def ring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "keys"
    create_key(folder, suite=Suite.BLAKE3, note="", now=0)
    monkeypatch.setenv("PICKLESEAL_KEYRING", str(folder))
    return folder


def in_redis(cache: Any, url: str, prefix: str, mark: bytes = b"") -> Kind:
    client = redis.Redis.from_url(url)
    client.flushall()
    return Kind(
        cache,
        lambda key, data: client.set(prefix + key, data),
        lambda key: client.get(prefix + key),
        lambda value: mark + pickle.dumps(value),
    )


def in_files(
    cache: Any, path: Callable[[str], str], forged: Callable[[Any], bytes], head: bytes = b""
) -> Kind:
    """Return a cache whose files begin with `head`, which is not sealed."""
    return Kind(
        cache,
        lambda key, data: Path(path(key)).write_bytes(head + data),
        lambda key: Path(path(key)).read_bytes()[len(head) :],
        forged,
    )


def in_a_table(cache: Any) -> Kind:
    """Return a cache in Django's database, with an empty table."""
    from django import setup
    from django.core.management import call_command
    from django.db import connection

    setup()

    def executed(statement: str, *values: object) -> Any:
        with connection.cursor() as cursor:
            cursor.execute(statement, values)
            return cursor.fetchone() if cursor.description else None

    def planted(key: str, data: bytes) -> None:
        """Write a pickle as it is, and anything else as Django writes bytes."""
        pickled = data if data[:1] == b"\x80" else pickle.dumps(data)
        text = base64.b64encode(pickled).decode()
        executed("REPLACE INTO entries VALUES (%s, %s, '2999-01-01')", f":1:{key}", text)

    executed("DROP TABLE IF EXISTS entries")
    call_command("createcachetable", "entries", verbosity=0)
    return Kind(
        cache,
        planted,
        lambda key: pickle.loads(
            base64.b64decode(
                executed("SELECT value FROM entries WHERE cache_key = %s", f":1:{key}")[0]
            )
        ),
        pickle.dumps,
    )


KINDS = (
    *("cachelib files", "cachelib Redis", "Flask files", "Flask Redis"),
    *("Django files", "Django Redis", "Django table", "django-redis Redis"),
)


def made(kind: str, url: str, folder: Path, **named: str) -> Kind:
    framework, _, store = kind.partition(" ")
    if framework == "django-redis":
        cache = django_redis.RedisCache(url, {"OPTIONS": named} if named else {})
        return in_redis(cache, url, ":1:")
    if framework == "Django":
        if store == "table":
            return in_a_table(django.DatabaseCache("entries", {"OPTIONS": named}))
        if store == "Redis":
            cache = django.RedisCache(url, {"OPTIONS": named} if named else {})
            return in_redis(cache, url, ":1:")
        cache = django.FileBasedCache(str(folder), {"OPTIONS": named})
        return in_files(
            cache,
            cache._key_to_file,
            lambda value: pickle.dumps(None) + zlib.compress(pickle.dumps(value)),
        )
    if framework == "Flask":
        config: dict[str, Any] = {
            "CACHE_TYPE": "pickleseal.integrations.flask_caching."
            + ("RedisCache" if store == "Redis" else "FileSystemCache"),
            "CACHE_REDIS_URL": url,
            "CACHE_KEY_PREFIX": "shop/",
            "CACHE_DIR": str(folder),
        }
        if named:
            config["CACHE_OPTIONS"] = named
            if store == "Redis":  # Flask-Caching passes options to the client alone
                config["CACHE_REDIS_URL"] = ""
                config["CACHE_REDIS_HOST"] = redis.Redis.from_url(url)
        cache = flask_caching.Cache(flask.Flask("shop"), config=config).cache
    elif store == "Redis":
        cache = cachelib.RedisCache(redis.Redis.from_url(url), key_prefix="shop/", **named)
    else:
        cache = cachelib.FileSystemCache(str(folder), **named)
    if store == "Redis":
        return in_redis(cache, url, "shop/", b"!")
    return in_files(cache, cache._get_filename, pickle.dumps, b"\0\0\0\0")  # no expiry


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest, server: str, tmp_path: Path, ring: Path) -> Kind:
    return made(request.param, server, tmp_path / "cache")


def test_values_come_back_and_are_sealed(kind: Kind) -> None:
    for value in ("a text", b"bytes", [1, {"a": None}], 2.5, True, 7, -7, 1 << 70):
        kind.cache.set("key", value)
        found = kind.cache.get("key")
        assert (found, type(found)) == (value, type(value))
    assert kind.cache.get("another") is None
    kind.cache.set_many({"a": [1], "b": 2})
    assert list(found_many(kind.cache, "a", "b", "c")) == [[1], 2, None]
    assert kind.cache.add("a", 0) in (False, 0, None)
    assert kind.cache.add("new", "first")
    assert kind.cache.get("new") == "first"
    assert b"\xa6PSEAL" in kind.read("a")


def found_many(cache: Any, *keys: str) -> list[Any]:
    if hasattr(cache, "get_dict"):
        return list(cache.get_many(*keys))
    found = cache.get_many(keys)
    return [found.get(key) for key in keys]


def test_numbers_can_be_counted(kind: Kind) -> None:
    kind.cache.set("hits", 1)
    count = getattr(kind.cache, "inc", None) or kind.cache.incr
    assert count("hits", 2) == 3
    assert kind.cache.get("hits") == 3


def test_what_was_planted_is_a_miss_and_one_line_in_the_log(
    kind: Kind, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kind.cache.set("key", "genuine")
    genuine = kind.read("key")
    mark = tmp_path / "mark"
    for planted in (
        kind.forged(Mark(mark)),
        armed(mark),
        b"",
        genuine[:-1],
        genuine[:-1] + bytes([genuine[-1] ^ 1]),
        dumps("sealed for no key"),
    ):
        kind.plant("key", planted)
        caplog.clear()
        assert kind.cache.get("key") is None
        assert len(caplog.records) == 1
        assert caplog.records[0].name == "pickleseal.integrations"
        assert found_many(kind.cache, "key") == [None]
    assert not mark.exists()
    kind.cache.set("key", "again")
    assert kind.cache.get("key") == "again"


class Price:
    """What a program of an older version kept."""

    cents = 0

    def __setstate__(self, state: dict[str, int]) -> None:
        raise ValueError(state)


def test_an_entry_that_this_version_of_a_program_cannot_restore_is_a_miss(
    kind: Kind, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    price = Price()
    price.cents = 599
    kind.cache.set("key", price)
    assert kind.cache.get("key") is None
    monkeypatch.delattr(sys.modules[__name__], "Price")
    assert kind.cache.get("key") is None
    told = [record.getMessage() for record in caplog.records]
    assert [one.rpartition(": ")[2] for one in told[:1]] == ["ValueError"]
    assert ["'Price'" in one for one in told] == [False, True]


def test_what_was_planted_is_replaced_where_django_gets_or_sets(
    kind: Kind, caplog: pytest.LogCaptureFixture
) -> None:
    """Such as entries without an end from before the cache was sealed; `add` would leave them."""
    if not hasattr(kind.cache, "get_or_set"):
        return
    values = iter([[1], [2]])
    kind.plant("key", b"planted")
    assert [kind.cache.get_or_set("key", lambda: next(values)) for _ in range(2)] == [[1], [1]]
    assert len(caplog.records) == 1
    kind.plant("key", b"planted")
    assert kind.cache.get("key") is None
    assert len(caplog.records) == 2


def test_what_was_planted_is_replaced_in_a_coroutine_too(
    server: str, tmp_path: Path, ring: Path
) -> None:
    kind = made("Django Redis", server, tmp_path)
    kind.plant("key", b"planted")
    values = iter([[1], [2]])

    async def run() -> list[Any]:
        return [await kind.cache.aget_or_set("key", lambda: next(values)) for _ in range(2)]

    assert asyncio.run(run()) == [[1], [1]]


def test_what_was_planted_is_not_there(kind: Kind) -> None:
    """Flask-Caching takes an entry that is there and has no value for a cached None."""
    has = getattr(kind.cache, "has", None) or kind.cache.has_key
    for value in (None, [1], 0):
        kind.cache.set("key", value)
        assert has("key")
    kind.plant("key", b"planted")
    assert not has("key")
    assert not has("another")


def test_an_entry_moved_to_another_key_is_a_miss(kind: Kind) -> None:
    kind.cache.set("mine", {"role": "user"})
    kind.cache.set("other", {"role": "admin"})
    kind.plant("mine", kind.read("other"))
    assert kind.cache.get("mine") is None
    assert kind.cache.get("other") == {"role": "admin"}


@pytest.mark.parametrize("which", KINDS)
def test_an_entry_moved_to_another_cache_is_a_miss(
    which: str, server: str, tmp_path: Path, ring: Path
) -> None:
    one = made(which, server, tmp_path / "one", name="one")
    one.cache.set("key", [1])
    moved = one.read("key")
    other = made(which, server, tmp_path / "two", name="two")
    other.plant("key", moved)
    assert other.cache.get("key") is None
    same = made(which, server, tmp_path / "three", name="one")
    same.plant("key", moved)
    assert same.cache.get("key") == [1]


def test_entries_from_before_a_rotation_are_found(kind: Kind, ring: Path) -> None:
    kind.cache.set("key", [1])
    rotate(ring, now=1)
    assert kind.cache.get("key") == [1]


def test_a_version_of_a_key_in_django_is_bound(server: str, tmp_path: Path, ring: Path) -> None:
    from django.db import connection

    for name in ("Django files", "Django Redis", "Django table", "django-redis Redis"):
        kind = made(name, server, tmp_path / name)
        kind.cache.set("key", [1], version=1)
        kind.cache.set("key", [2], version=2)
        if name.endswith("Redis"):
            client = redis.Redis.from_url(server)
            client.set(":2:key", client.get(":1:key"))
        elif name.endswith("table"):
            with connection.cursor() as cursor:
                cursor.execute("DELETE FROM entries WHERE cache_key = ':2:key'")
                cursor.execute("INSERT INTO entries SELECT ':2:key', value, expires FROM entries")
        else:
            place = kind.cache._key_to_file
            shutil.copy(place("key", 1), place("key", 2))
        assert kind.cache.get("key", version=2) is None
        assert kind.cache.get("key", version=1) == [1]


@pytest.mark.parametrize("which", ["Django files", "Django table"])
def test_the_time_of_an_entry_of_django_is_sealed(
    which: str, tmp_path: Path, ring: Path, server: str
) -> None:
    cache = made(which, server, tmp_path / "cache").cache
    cache.set("gone", [1], timeout=-1)
    cache.set("short", [1], timeout=60)
    assert cache.get("gone") is None
    assert not cache.has_key("gone")
    assert cache.has_key("short")
    assert cache.touch("short", timeout=120)
    assert cache.get("short") == [1]
    assert not cache.touch("gone")


def test_a_row_of_django_with_another_time_keeps_its_own(
    server: str, tmp_path: Path, ring: Path
) -> None:
    from django.db import connection

    cache = made("Django table", server, tmp_path).cache
    cache.set("gone", [1], timeout=-1)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE entries SET expires = '2999-01-01 00:00:00'")
    assert cache.get("gone") is None
    for junk in ("no base64", "", base64.b64encode(b"\x80\x04cut").decode()):
        cache.set("key", [1])
        with connection.cursor() as cursor:
            cursor.execute("UPDATE entries SET value = %s", [junk])
        assert cache.get("key") is None


def test_what_is_no_file_of_django_is_a_miss(
    server: str, tmp_path: Path, ring: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One that can write to the folder can make a link to itself, a folder, a pipe."""
    cache = made("Django files", server, tmp_path / "cache").cache
    makers: dict[str, Callable[[str], None]] = {
        "loop": lambda path: os.symlink(path, path),
        "folder": os.mkdir,
        "pipe": os.mkfifo,
    }
    for key, make in makers.items():
        make(cache._key_to_file(key))
        caplog.clear()
        assert cache.get(key, "missing") == "missing"
        assert len(caplog.records) == 1
        assert not cache.has_key(key)
    cache.set("loop", [1])
    assert cache.get("loop") == [1]


def test_djangos_cache_in_memory_does_as_the_others(ring: Path) -> None:
    cache = django.LocMemCache("shop", {})
    for value in ([1], None, "text", 7, 1 << 70):
        cache.set("key", value)
        assert cache.get("key", "missing") == value
    assert cache.get_many(["key", "another"]) == {"key": 1 << 70}
    assert not cache.add("key", [2])
    assert cache.add("hits", 1)
    assert cache.incr("hits") == 2
    cache._cache[":1:other"] = cache._cache[":2:key"] = cache._cache[":1:key"]
    cache._expire_info[":1:other"] = cache._expire_info[":2:key"] = None
    assert cache.get("other") is None
    assert not cache.has_key("key", version=2)


def test_django_redis_moves_versions_and_refuses_what_it_cannot_bind(
    server: str, tmp_path: Path, ring: Path
) -> None:
    cache = made("django-redis Redis", server, tmp_path).cache
    for timeout in (None, 60):
        cache.set("key", [1], timeout=timeout)
        assert cache.incr_version("key") == 2
        assert cache.get("key", version=2) == [1]
        assert cache.get("key") is None
        assert (cache.ttl("key", version=2) is None) == (timeout is None)
    assert cache.get_or_set("made", lambda: [3]) == [3]
    assert cache.set("made", [4], nx=True) is False
    with pytest.raises(TypeError, match="cannot be sealed here"):
        cache.sadd("set", [1])
    cache.sadd("set", b"bytes", 7)
    assert cache.smembers("set") == {b"bytes", 7}


# --- diskcache -----------------------------------------------------------------------------------

diskcache = pytest.importorskip("pickleseal.integrations.diskcache", exc_type=ImportError)


@pytest.fixture(params=[0, 1 << 15], ids=["in files", "in the database"])
def cache(request: pytest.FixtureRequest, tmp_path: Path, ring: Path) -> Iterator[Any]:
    with diskcache.Cache(tmp_path / "cache", disk_min_file_size=request.param) as opened:
        yield opened


def test_diskcache_keeps_values_under_keys_of_every_kind(cache: Any) -> None:
    for number, key in enumerate(("a", b"a", 1, 1.5, ("f", (1, None), b"x", True), 1 << 70)):
        for value in ([number], "text" * number, b"b", 2.5, number, None, 1 << 70):
            cache[key] = value
            assert (cache[key], type(cache[key])) == (value, type(value))
        assert cache.get(key, expire_time=True, tag=True) == (1 << 70, None, None)
    assert set(cache) == {"a", b"a", 1, 1.5, ("f", (1, None), b"x", True), 1 << 70}
    assert cache.pop("a") == 1 << 70
    assert cache.get("a", "missing") == "missing"
    with pytest.raises(KeyError):
        cache["a"]
    assert cache.incr("hits") == 1
    assert cache.incr("hits", 2) == 3
    assert cache["hits"] == 3
    assert not cache.check()


def test_diskcache_remembers_calls_and_takes_files_and_queues(cache: Any, tmp_path: Path) -> None:
    calls = []

    @cache.memoize()  # type: ignore[untyped-decorator]
    def double(value: int, *, add: int = 0) -> int:
        calls.append(value)
        return 2 * value + add

    assert [double(1), double(1), double(1, add=1)] == [2, 2, 3]
    assert calls == [1, 1]
    file = tmp_path / "content"
    file.write_bytes(b"content")
    with file.open("rb") as opened:
        cache.set("file", opened, read=True)
    assert cache.read("file").read() == b"content"
    cache["no file"] = {"a": 1}
    assert cache.read("no file") == {"a": 1}
    cache.push({"job": 1})
    cache.push({"job": 2})
    assert cache.peek()[1] == {"job": 1}
    assert [cache.pull()[1] for _ in range(3)] == [{"job": 1}, {"job": 2}, None]
    cache["last"] = [9]
    assert cache.peekitem() == ("last", [9])


def rows(cache: Any, statement: str, *values: object) -> list[Any]:
    with sqlite3.connect(Path(cache.directory) / "cache.db") as database:
        found = database.execute(statement, values).fetchall()
    database.close()
    return found


def test_what_was_planted_in_diskcache_is_a_miss(
    cache: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    mark = tmp_path / "mark"
    trap = armed(mark)
    cache["key"] = ["genuine"]
    for mode, value in ((1, trap), (4, trap), (3, trap), (1, b""), (1, "text")):
        rows(cache, "UPDATE Cache SET mode = ?, value = ?, filename = NULL", mode, value)
        caplog.set_level(logging.WARNING)
        caplog.clear()
        assert cache.get("key", "missing") == "missing"
        assert len(caplog.records) == 1
        assert ("0 bytes" in caplog.text) == (value == b""), "what is there is not called empty"
        with pytest.raises(KeyError):
            cache.peekitem()
    assert cache.pop("key", "missing") == "missing"
    cache.push("genuine")
    rows(cache, "UPDATE Cache SET mode = 4, value = ?, filename = NULL", trap)
    assert cache.peek(default="missing") == "missing"
    assert cache.pull() == (None, None)
    rows(cache, "INSERT INTO Cache (key, raw, mode, value) VALUES (?, 0, 4, ?)", trap, trap)
    assert list(cache) == [trap]
    assert not mark.exists()
    rows(cache, "DELETE FROM Cache")
    cache["key"] = ["genuine"]
    rows(cache, "UPDATE Cache SET mode = 2, value = NULL, filename = NULL")
    assert cache.get("key", "missing") == "missing"
    planted = (b"{[]: 1}", b"[1]", "text", 1 << 60)
    for key in planted:
        rows(cache, "INSERT INTO Cache (key, raw, mode) VALUES (?, 0, 1)", key)
    assert set(cache) == {"key", *planted}


def test_a_file_of_diskcache_that_is_gone_is_a_miss(
    tmp_path: Path, ring: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with diskcache.Cache(tmp_path / "cache", disk_min_file_size=0) as cache:
        cache["key"] = "a value in a file"
        for file in (tmp_path / "cache").rglob("*.val"):
            file.unlink()
        assert cache.get("key", "missing") == "missing"
        with pytest.raises(KeyError):
            cache.peekitem()
    assert not caplog.records


def test_an_entry_of_diskcache_is_bound_to_its_key_and_cache(cache: Any, tmp_path: Path) -> None:
    cache["mine"] = ["user"]
    cache["other"] = ["admin"]
    cache.push(["job"])
    move = (
        "UPDATE Cache SET (mode, value, filename) = "
        "(SELECT mode, value, filename FROM Cache WHERE key = ?) WHERE key = 'mine'"
    )
    (queued,) = [key for key in cache if key not in ("mine", "other")]
    for source in ("other", queued):
        rows(cache, move, source)
        assert cache.get("mine") is None
    assert cache["other"] == ["admin"]
    cache.close()
    shutil.copytree(cache.directory, tmp_path / "copy")
    with diskcache.Cache(tmp_path / "copy") as copy:
        assert copy.get("other") is None


def test_a_pickled_diskcache_keeps_its_name(tmp_path: Path, ring: Path) -> None:
    with diskcache.Cache(tmp_path / "cache", name="shop") as cache:
        cache["key"] = [1]
        with pickle.loads(pickle.dumps(cache)) as again:
            assert again["key"] == [1]


def test_a_key_that_diskcache_would_pickle_is_refused(cache: Any) -> None:
    for key in (frozenset([1]), object(), (1, float("inf"))):
        with pytest.raises(TypeError, match="would have to be unpickled"):
            cache[key] = 1
    with pytest.raises(TypeError, match="a disk of its own"):
        diskcache.Cache("anywhere", disk=object)


def test_settings_of_diskcache_that_were_planted_are_left_out(tmp_path: Path, ring: Path) -> None:
    folder = tmp_path / "cache"
    with diskcache.Cache(folder) as cache:
        cache["key"] = [1]
    for key in ("disk_compress_level", "disk_name", "disk_fetch", "disk_context", "get", "_disk"):
        rows(cache, "INSERT INTO Settings VALUES (?, 'planted')", key)
    with diskcache.Cache(folder) as cache:
        assert cache["key"] == [1]
    for key in ("disk_min_file_size", "eviction_policy", "size_limit"):
        rows(cache, "UPDATE Settings SET value = 'planted' WHERE key = ?", key)
        with pytest.raises(TypeError, match=f"cache: the setting {key} cannot be 'planted'"):
            diskcache.Cache(folder)
        with diskcache.Cache(folder, **{key: diskcache.DEFAULT_SETTINGS[key]}) as cache:
            assert cache["key"] == [1]
