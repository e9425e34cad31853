"""Arrays and streams of every size come back: at edges, in thousands, over four gibibytes."""

import gc
import os
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from arrays import each_way, hand_sealed, numbers, payload_of
from streams import AFTER, BEFORE, OnlyReadinto, ShortWrites

from pickleseal import Key, Keyring, Suite, inspect, signed_dump, signed_dumps, signed_load
from pickleseal.envelope.hashing import LEAF_SIZE
from pickleseal.files import threads
from pickleseal.pickling.dump import OUT_OF_BAND_SIZE as LIMIT


@pytest.mark.parametrize(
    "size",
    [
        edge + step
        for edge in (0, 1, 63, LIMIT, 1 << 18, LEAF_SIZE, threads.MIN_ITEMS * LEAF_SIZE)
        for step in (-1, 0, 1)
        if edge + step >= 0
    ],
)
def test_an_array_of_any_size_at_an_edge_comes_back(
    size: int, either_ring: Keyring, tmp_path: Path
) -> None:
    original = numbers(size)
    signed_dump(original, tmp_path / "path", keyring=either_ring, durable=False)
    for loaded in each_way((tmp_path / "path").read_bytes(), either_ring, tmp_path):
        np.testing.assert_array_equal(loaded, original)
        assert loaded.flags.writeable


@pytest.mark.parametrize("leaves", [1, threads.MIN_ITEMS])
def test_a_body_that_ends_at_a_leaf_or_just_beside_it_comes_back(
    leaves: int, either_ring: Keyring, tmp_path: Path
) -> None:
    edge = leaves * LEAF_SIZE
    data = signed_dumps(numbers(edge), keyring=either_ring)
    besides = payload_of(data, either_ring).head.fixed.body_size - edge
    for size in (edge - 64, edge, edge + 64):
        original = numbers(size - besides)
        signed_dump(original, tmp_path / "path", keyring=either_ring, durable=False)
        data = (tmp_path / "path").read_bytes()
        assert payload_of(data, either_ring).head.fixed.body_size == size
        for loaded in each_way(data, either_ring, tmp_path):
            np.testing.assert_array_equal(loaded, original)


def test_a_file_that_is_just_read_in_one_go_and_one_that_is_not_come_back(
    ring: Keyring, tmp_path: Path
) -> None:
    sizes = set()
    for less in range(1280, -65, -64):
        original = numbers((1 << 18) - less)
        data = signed_dumps(original, keyring=ring)
        sizes.add(len(data) > 1 << 18)
        for loaded in each_way(data, ring, tmp_path):
            np.testing.assert_array_equal(loaded, original)
            assert loaded.flags.writeable
            assert loaded.ctypes.data % 64 == 0
    assert sizes == {False, True}


@pytest.mark.parametrize(
    "sizes",
    [
        [0],
        [0, 0, 0],
        [5, 0, 7],
        [0, LIMIT, 0],
        [LEAF_SIZE, 0, 0, 1],
        [0] * 3000,
        [3, 0] * 1500,
        [9 * LEAF_SIZE, 0, 1, 0],
    ],
    ids=lambda sizes: f"{len(sizes)} of {sum(sizes)} bytes",
)
def test_empty_buffers_among_others_come_back_empty(
    sizes: list[int], either_ring: Keyring, tmp_path: Path
) -> None:
    buffers = [bytes(numbers(size)) for size in sizes]
    stream = b"\x80\x05(" + b"\x97" * len(buffers) + b"l."
    data = hand_sealed(either_ring, stream, *buffers)
    for loaded in each_way(data, either_ring, tmp_path):
        assert [bytes(buffer) for buffer in loaded] == buffers
        assert not any(buffer.readonly for buffer in loaded)


def test_ten_thousand_tiny_arrays_stay_in_the_stream_and_come_back(
    ring: Keyring, tmp_path: Path
) -> None:
    arrays = [np.array([number, -number]) for number in range(10_000)]
    signed_dump(arrays, tmp_path / "it", keyring=ring)
    data = (tmp_path / "it").read_bytes()
    assert payload_of(data, ring).head.fixed.segments == 1
    loaded = signed_load(tmp_path / "it", keyring=ring)
    np.testing.assert_array_equal(np.concatenate(loaded), np.concatenate(arrays))
    loaded[500][:] = 7
    assert loaded[499].tolist() == [499, -499]
    assert all(one.flags.writeable for one in loaded)


def test_an_envelope_past_the_fourth_gibibyte_is_written_and_read(
    either_ring: Keyring, tmp_path: Path
) -> None:
    arrays = [numbers(LIMIT), numbers(9 * LEAF_SIZE + 1), {"a": 1}]
    place = (5 << 30) + 7
    for buffering in (-1, 0):
        with (tmp_path / "sparse").open("w+b", buffering=buffering) as file:
            file.seek(place)
            for one in arrays:
                signed_dump(one, file, keyring=either_ring)
            file.write(AFTER)
            file.seek(place)
            for one in arrays:
                np.testing.assert_equal(signed_load(file, keyring=either_ring), one)
            assert file.read() == AFTER
            file.seek(place - 100)
            assert file.read(100) == bytes(100)


def memory_left() -> int:
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def needs_memory(gibibytes: int) -> None:
    if not hasattr(os, "sysconf") or memory_left() < gibibytes << 30:
        pytest.skip(f"takes {gibibytes} GiB of memory")


OVER = (1 << 32) + LEAF_SIZE + 3


def marked_giant() -> tuple[Any, list[int]]:
    """Return an array of over 4 GiB: zeros, with marks at its edges."""
    giant = np.zeros(OVER, np.uint8)
    places = [0, 1, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 32, (1 << 32) + 1, OVER - 1]
    giant[places] = np.arange(1, len(places) + 1)
    return giant, places


@pytest.mark.sweep
@pytest.mark.parametrize(("way", "suite"), [("path", 2), ("file", 2), ("stream", 2), ("stream", 1)])
def test_an_array_over_four_gibibytes_comes_back(way: str, suite: int, tmp_path: Path) -> None:
    needs_memory(6)
    ring = Keyring(Key.generate(Suite(suite)))
    giant, places = marked_giant()
    path = tmp_path / "it"
    try:
        if way == "path":
            signed_dump(giant, path, keyring=ring, durable=False)
            loaded = signed_load(path, keyring=ring)
        elif way == "file":
            with path.open("w+b") as file:
                file.write(BEFORE)
                signed_dump(giant, file, keyring=ring)
                file.write(AFTER)
                file.seek(len(BEFORE))
                loaded = signed_load(file, keyring=ring)
                assert file.read() == AFTER
        else:
            with path.open("w+b", buffering=0) as raw:
                signed_dump(giant, cast("Any", ShortWrites(raw)), keyring=ring)
                raw.seek(0)
                loaded = signed_load(cast("Any", OnlyReadinto(raw)), keyring=ring)
    finally:
        path.unlink()
    assert loaded.shape == giant.shape
    assert loaded[places].tolist() == giant[places].tolist()
    assert np.count_nonzero(loaded) == len(places)


@pytest.mark.sweep
def test_a_stream_over_four_gibibytes_comes_back(ring: Keyring, tmp_path: Path) -> None:
    needs_memory(14)
    path = tmp_path / "it"
    size = (1 << 32) + 5
    try:
        signed_dump(bytes(size), path, keyring=ring, durable=False)  # bytes stay in the stream
        gc.collect()
        loaded = signed_load(path, keyring=ring)
    finally:
        path.unlink()
    assert len(loaded) == size
    assert loaded.count(0) == size


@pytest.mark.sweep
def test_more_large_arrays_than_there_are_segments_come_back(ring: Keyring, tmp_path: Path) -> None:
    """Of 65 535 the buffers stand beside the stream, and those of the others within it."""
    needs_memory(7)
    path = tmp_path / "it"
    base = numbers(LIMIT)
    count = (1 << 16) + 5
    try:
        signed_dump([base[:] for _ in range(count)], path, keyring=ring, durable=False)
        assert inspect(path, keyring=ring).size > 1 << 32
        loaded = signed_load(path, keyring=ring)
    finally:
        path.unlink()
    assert len(loaded) == count
    assert all((one == base).all() and one.flags.writeable for one in loaded)
    assert len({one.ctypes.data for one in loaded}) == count
