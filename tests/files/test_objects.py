"""An object in a store: what is read of it, and whether those are the bytes of its tag."""

import base64
import errno
import hashlib
import os
import threading
import time
from collections.abc import Generator, Iterator
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from pickleseal.errors import BadSealError
from pickleseal.files import objects, places
from pickleseal.files.objects import SMALL, StoredObject
from pickleseal.files.places import Remote, Version

MIB = 1 << 20
LARGE = 12 * MIB


class Store(MemoryFileSystem):  # type: ignore[misc]  # fsspec has no types
    """The store in memory with a tag of each object, which may fail or send too little."""

    cachable = False
    tag = "tag"
    lost = 0
    error: OSError | None = None

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def info(self, path: str, **options: Any) -> Any:
        self.asked.append("info")
        return super().info(path, **options) | {"ETag": self.tag}

    def cat_file(self, path: str, start: Any = None, end: Any = None, **_: object) -> Any:
        self.asked.append("cat")
        if self.error is not None:
            raise self.error
        data = super().cat_file(path, start, end)
        return data[: len(data) - self.lost]


@pytest.fixture
def store() -> Iterator[Store]:
    fsspec.filesystem("memory").store.clear()
    yield Store()
    fsspec.filesystem("memory").store.clear()


def put(store: Store, data: bytes, tag: str = "tag") -> tuple[Remote, Version]:
    """Write an object, and return it as a list of the store has it."""
    store.store.pop("/it", None)
    MemoryFileSystem().pipe_file("/it", data)
    store.tag = tag
    return Remote(store, "/it", "memory://it"), Version(len(data), tag)


def tag_of(data: bytes, part: int = 0) -> str:
    """Return the tag that S3 has for an object, sent whole or in parts."""
    if not part:
        return hashlib.md5(data).hexdigest()
    digests = [hashlib.md5(data[at : at + part]).digest() for at in range(0, len(data), part)]
    return f"{hashlib.md5(b''.join(digests)).hexdigest()}-{len(digests)}"


def test_what_was_read_backwards_is_what_stands_there(store: Store) -> None:
    data = os.urandom(LARGE)
    place, seen = put(store, data)
    with StoredObject(place, seen) as opened:
        for offset in (8 * MIB, 2 * MIB, 0):
            assert opened.read(offset, 10) == data[offset : offset + 10]
        for offset in (MIB, 7 * MIB, 0):
            assert b"".join(opened.ranges(offset, 10)) == data[offset : offset + 10]


@pytest.mark.parametrize("size", [0, 1, SMALL - 1])
def test_a_small_object_of_a_list_takes_one_request(size: int, store: Store) -> None:
    place, seen = put(store, bytes(size))
    with StoredObject(place, seen) as opened:
        assert (opened.size, bytes(opened.whole())) == (size, bytes(size))
    assert store.asked == ["cat"] * (size > 0)


@pytest.mark.parametrize(
    ("error", "size", "asked"),
    [
        (OSError(errno.EINVAL, "no such range"), 0, ["cat", "info"]),
        (OSError(errno.EINVAL, "no such range"), 5, ["cat", "info"]),
        (OSError(errno.EBUSY, "slow down"), 0, ["cat"]),
        (PermissionError(errno.EACCES, "no"), 0, ["cat"]),
        (FileNotFoundError(errno.ENOENT, "none"), 0, ["cat", "info"]),  # a folder of objects?
    ],
    ids=repr,
)
def test_only_an_empty_object_may_have_no_range(
    error: OSError, size: int, asked: list[str], store: Store
) -> None:
    place, _ = put(store, bytes(size))
    store.error = error
    if error.errno == errno.EINVAL and not size:
        assert StoredObject(place).size == 0
    else:
        with pytest.raises(type(error)):
            StoredObject(place)
    assert store.asked == asked


@pytest.mark.parametrize(("size", "asked"), [(11 * MIB, 1), (4 * MIB, 3), (5 * MIB, 3)])
def test_a_short_rest_goes_with_the_last_range(
    size: int, asked: int, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "RANGE", size)
    data = os.urandom(LARGE)
    with StoredObject(*put(store, data)) as opened:
        assert b"".join(opened.ranges(0, LARGE)) == data
    assert store.asked == ["cat"] * asked + ["info"]


def test_too_few_bytes_of_a_range_are_no_end_of_the_object(store: Store) -> None:
    opened = StoredObject(*put(store, bytes(LARGE)))
    store.lost = 1
    with pytest.raises(OSError, match="replaced"):
        opened.read(0, 10)
    with pytest.raises(OSError, match="replaced"):
        list(opened.ranges(0, LARGE))


def test_an_object_that_was_replaced_is_told_at_the_end_of_its_ranges(store: Store) -> None:
    opened = StoredObject(*put(store, bytes(LARGE)))
    store.tag = "another"
    with pytest.raises(OSError, match="replaced"):
        list(opened.ranges(0, LARGE))


class Slow(Store):
    """Starts no range behind the first before `go` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()
        self.started: list[int] = []
        self.running = 0

    def cat_file(self, path: str, start: Any = None, end: Any = None, **_: object) -> Any:
        self.started.append(start)
        self.running += 1
        assert self.running == 1, "this file system takes no calls of several threads"
        try:
            assert not start or self.go.wait(30)
            return super().cat_file(path, start, end)
        finally:
            self.running -= 1


def test_the_next_ranges_are_fetched_while_one_is_used(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "RANGE", MIB)
    data = os.urandom(LARGE)
    place, seen = put(store, data)
    slow = Slow()
    opened = StoredObject(place._replace(fs=slow), seen)
    ranges = opened.ranges(0, LARGE)
    found = [next(ranges)]
    slow.go.set()
    while len(slow.started) < 4:  # the timeout of a test ends this
        time.sleep(0.001)
    found.append(next(ranges))
    assert len(slow.started) <= 6, "what waits is bounded"
    assert b"".join([*found, *ranges]) == data


def test_ranges_that_nobody_wants_any_more_are_not_fetched(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "RANGE", MIB)
    place, seen = put(store, bytes(LARGE))
    slow = Slow()
    ranges = StoredObject(place._replace(fs=slow), seen).ranges(0, LARGE)
    assert isinstance(ranges, Generator)
    next(ranges)
    ranges.close()
    slow.go.set()
    assert len(slow.started) <= 2


def test_a_seal_that_fails_since_an_object_was_replaced_is_no_verdict(store: Store) -> None:
    place, seen = put(store, bytes(LARGE))

    def read(error: Exception) -> None:
        with StoredObject(place, seen) as opened:
            opened.read(0, 10)
            store.tag = "another"
            raise error

    with pytest.raises(OSError, match="replaced"):
        read(BadSealError())
    with pytest.raises(ZeroDivisionError):
        read(ZeroDivisionError())


@pytest.mark.parametrize(
    ("size", "part"),
    [(1, 0), (5000, 0), (LARGE, 0), (LARGE, 8 * MIB), (16 * MIB, 8 * MIB), (LARGE, 5 * MIB)],
)
def test_the_tag_of_the_bytes_that_were_read_is_told(
    size: int, part: int, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "RANGE", 3 * MIB)
    data = os.urandom(size)
    tag = tag_of(data, part)
    place, seen = put(store, data, tag)
    with StoredObject(place, seen, identify=True) as opened:
        opened.read(0, 10)
        assert bytes(opened.whole()) == data
        assert opened.identity() == tag
    wrong = tag_of(data + b"1", part)
    place, seen = put(store, data, wrong)
    with StoredObject(place, seen, identify=True) as opened:
        opened.whole()
        assert opened.identity() is None


def test_a_tag_is_told_only_where_it_is_asked_for_and_listed(store: Store) -> None:
    data = b"data"
    place, seen = put(store, data, tag_of(data))
    for opened in (StoredObject(place, seen), StoredObject(place, identify=True)):
        assert opened.read(0, 4) == data
        assert opened.identity() is None
    place, seen = put(store, b"", tag_of(b""))
    assert StoredObject(place, seen, identify=True).identity() is None


def test_an_object_that_grew_since_it_was_listed_is_not_the_one_of_its_tag(store: Store) -> None:
    data = b"data"
    place, seen = put(store, data, tag_of(data))
    put(store, b"data+", tag_of(data))
    opened = StoredObject(place, seen, identify=True)
    assert bytes(opened.whole()) == b"data+"
    assert opened.identity() is None


def test_bytes_that_were_not_read_are_not_those_of_a_tag(store: Store) -> None:
    data = bytes(LARGE)
    with StoredObject(*put(store, data, tag_of(data)), identify=True) as opened:
        opened.read(10 * MIB, 10)
        list(opened.ranges(1 << 18, LARGE - (1 << 18)))
        assert opened.identity() is None


def test_bytes_that_differ_when_they_are_read_again_are_not_those_of_a_tag(store: Store) -> None:
    data = os.urandom(LARGE)
    opened = StoredObject(*put(store, data, tag_of(data)), identify=True)
    assert opened.read(0, 10) == data[:10]
    put(store, b"\0" * 10 + data[10:], tag_of(data))
    opened.whole()
    assert opened.identity() is None


def test_the_tag_of_google_cloud_is_the_digest_that_it_lists(store: Store) -> None:
    data = os.urandom(99)
    digest = hashlib.md5(data).digest()
    facts = {"size": 99, "etag": "CKih16GjycICEAE=", "generation": "1"}
    composed = places.version_of(facts)
    listed = places.version_of({**facts, "md5Hash": base64.b64encode(digest).decode()})
    assert composed == Version(99, "CKih16GjycICEAE=")
    assert listed == Version(99, digest.hex())
    for seen, identity in ((listed, digest.hex()), (composed, None)):
        place, _ = put(store, data, seen.tag)
        with StoredObject(place, seen, identify=True) as opened:
            opened.whole()
            assert opened.identity() == identity
