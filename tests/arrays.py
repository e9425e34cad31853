"""Objects with arrays in them, and checks that they come back whole and alone in memory."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from streams import AFTER, BEFORE, in_file

from pickleseal import Keyring, signed_load, signed_loads
from pickleseal.envelope import reader, seal
from pickleseal.envelope.hashing import LEAF_SIZE
from pickleseal.envelope.metadata import Metadata
from pickleseal.envelope.source import memory_source
from pickleseal.envelope.target import join_envelope
from pickleseal.pickling.dump import OUT_OF_BAND_SIZE as LIMIT


def payload_of(data: bytes, ring: Keyring) -> seal.Verified:
    return reader.read(memory_source(data), lambda _: ring, check=lambda _: None)


def hand_sealed(ring: Keyring, *segments: bytes) -> bytes:
    """Return an envelope of arbitrary segments."""
    key = ring.sealing_key(context=None, now=0)
    views = [memoryview(segment) for segment in segments]
    head = seal.seal_head(key, Metadata(content="pickle"), [len(view) for view in views])
    return join_envelope(head.data, views, head.finish, key.suite)


def numbers(size: int) -> Any:
    """Return an array of `size` bytes that any shift or swap of parts would change."""
    words = np.arange(size // 4 + 1, dtype=np.uint32)
    return (words * np.uint32(2_654_435_761)).view(np.uint8)[:size].copy()


def read_only(array: Any) -> Any:
    array.flags.writeable = False
    return array


def mixture() -> dict[str, Any]:
    """Return arrays of each kind: within the pickle stream, and as buffers beside it."""
    return {
        "tiny": np.arange(3.0),
        "empty": np.zeros((0, 5)),
        "below the limit": numbers(LIMIT - 1),
        "at the limit": numbers(LIMIT),
        "above the limit": numbers(LIMIT + 1),
        "in columns": np.asfortranarray(numbers(600_000).reshape(1000, 600)),
        "read-only": read_only(numbers(300_001)),
        "small and read-only": read_only(numbers(301)),
        "below a leaf": numbers(LEAF_SIZE - 1),
        "above a leaf": numbers(LEAF_SIZE + 1),
    }


def owner(array: Any) -> Any:
    """Return the object that owns an array's memory."""
    base = array
    while isinstance(base, np.ndarray) and base.base is not None:
        base = base.base
    if isinstance(base, np.ndarray):
        return base
    with memoryview(base) as view:
        return view.obj


def check_mixture(loaded: Any) -> None:
    """Hold what was loaded against the mixture: each byte, flag and address, and who owns it."""
    expected = mixture()
    assert list(loaded) == list(expected)
    for name, want in expected.items():
        got = loaded[name]
        np.testing.assert_array_equal(got, want, err_msg=name)
        for flag in ("writeable", "c_contiguous", "f_contiguous"):
            assert getattr(got.flags, flag) == getattr(want.flags, flag), (name, flag)
        if want.nbytes >= LIMIT:
            assert got.ctypes.data % 64 == 0, name
            assert memoryview(owner(got)).nbytes == want.nbytes, name
    # Written full one after the other: none may show in another.
    for number, got in enumerate(loaded.values(), 1):
        if got.flags.writeable:
            got[...] = number
    for number, (name, got) in enumerate(loaded.items(), 1):
        same = number if got.flags.writeable else expected[name]
        np.testing.assert_array_equal(got, np.broadcast_to(same, got.shape), err_msg=name)


def each_way(data: bytes, ring: Keyring, folder: Path) -> Iterator[Any]:
    """Load the same envelope from bytes, a path, a file and a stream."""
    yield signed_loads(data, keyring=ring)
    path = in_file(folder / "it", data)
    yield signed_load(path, keyring=ring)
    with in_file(folder / "more", BEFORE + data + AFTER).open("rb") as file:
        file.seek(len(BEFORE))
        yield signed_load(file, keyring=ring)
        assert file.read() == AFTER
    stream = io.BytesIO(data + AFTER)
    yield signed_load(stream, keyring=ring)
    assert stream.read() == AFTER


SMALL = {"a": 1}
LARGE = np.arange(3 << 19)  # 12 MiB, of several leaves

both_ways = pytest.mark.usefixtures("_both_ways")


def same(one: Any, two: Any) -> bool:
    if isinstance(two, list):
        return len(one) == len(two) and all(map(same, one, two))
    return bool(np.array_equal(one, two)) if isinstance(two, np.ndarray) else one == two
