"""Compression: what goes in comes out, in chunks, and nothing else is ever made of a segment."""

import io
import os
import pickle
import random
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from watching import nothing_unpickled

from pickleseal import (
    BadSealError,
    Keyring,
    MalformedError,
    PolicyError,
    extract,
    inspect,
    reseal,
    signed_dump,
    signed_dumps,
    signed_load,
    signed_loads,
    verify,
)
from pickleseal.envelope import compression, layout
from pickleseal.envelope.expansion import compressed, expanded
from pickleseal.keys.store.changes import rotate

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

CHUNK = compression.CHUNK_SIZE


@pytest.mark.parametrize("size", [0, 1, 64, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK + 7])
@pytest.mark.parametrize("kind", ["zeros", "random"])
def test_a_segment_comes_back_as_it_was(size: int, kind: str) -> None:
    raw = bytes(size) if kind == "zeros" else random.Random(size).randbytes(size)
    (stored,) = compressed([memoryview(raw)], 3)
    (again,) = expanded(layout.ZSTD, [stored], [size])
    assert again == raw
    assert (len(stored) == 0) == (size == 0)


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=8), st.integers(1, 22))
def test_any_segments_come_back_in_their_order(raw: list[bytes], level: int) -> None:
    stored = compressed(map(memoryview, raw), level)
    assert expanded(layout.ZSTD, stored, list(map(len, raw))) == raw


def test_a_compressed_segment_is_a_file_that_zstd_can_read() -> None:
    raw = os.urandom(1000) * 9000
    (stored,) = compressed([memoryview(raw)], 1)
    assert zstd.decompress(stored) == raw


SIZES = (1, 5, 255, 256, 257, 65791, 65792, (128 << 10) + 1, 1 << 20, CHUNK - 1, CHUNK)


@pytest.mark.parametrize("level", [1, 2, 3, 7, 12, 19, 22])
def test_every_frame_that_is_written_has_the_form_of_the_format(level: int) -> None:
    """Other libraries of zstd choose other headers: what they may be must be all that there is."""
    for size in SIZES:
        raw = bytes(size)  # a header depends on the size and the level alone
        (stored,) = compressed([memoryview(raw)], level)
        (again,) = expanded(layout.ZSTD, [stored], [size])
        assert again == raw


@pytest.mark.parametrize("size", [2**40, 2**44, 2**62])
def test_a_table_that_does_not_fit_is_refused_before_memory_is_taken(size: int) -> None:
    (stored,) = compressed([memoryview(b"a" * 100)], 3)
    with pytest.raises(MalformedError):
        expanded(layout.ZSTD, [stored], [size])
    with pytest.raises(MalformedError):
        expanded(layout.ZSTD, [stored, stored], [100, size])


MAGIC = b"\x28\xb5\x2f\xfd"
FRAME = MAGIC + b"\x20\x05" + (5 << 3 | 1).to_bytes(3, "little") + b"hello"
"""A frame of five bytes in one block, which the header's 0x20 makes the window as well."""


def block(kind: int, size: int, *, last: bool = True) -> bytes:
    return (size << 3 | kind << 1 | last).to_bytes(3, "little")


@pytest.mark.parametrize(
    "frame",
    [
        MAGIC,
        MAGIC + b"\x20",
        MAGIC[:3] + b"\xfe" + FRAME[4:],
        FRAME.replace(b"\x20\x05", b"\x20\x06"),
        MAGIC + b"\x20\x05" + block(3, 5) + b"hello",
        MAGIC + b"\x20\x05" + block(0, 6) + b"hello!",
        MAGIC + b"\x00\x70" + block(0, (128 << 10) + 1) + bytes((128 << 10) + 1),
        FRAME[:-1],
        MAGIC + b"\x20\x05" + block(0, 5, last=False) + b"hello",
        FRAME + b"\0",
    ],
    ids=[
        *("magic alone", "no window", "another magic", "another size", "reserved block"),
        *("block over its window", "block over 128 KiB", "truncated", "no last block", "surplus"),
    ],
)
def test_the_form_of_a_frame_is_checked_before_any_decoder_runs(frame: bytes) -> None:
    """Decoders differ in what they take: what one refuses, another may expand."""
    assert [size for _, size in compression.split(segment(FRAME), 5)] == [5]
    with pytest.raises(MalformedError):
        list(compression.split(segment(frame), 5))


def segment(frame: bytes) -> memoryview:
    return memoryview(compression.join([frame]))


@pytest.mark.parametrize(
    ("spelling", "level"),
    [
        (None, None),
        (False, None),
        (0, None),
        (True, 3),
        ("zstd", 3),
        (1, 1),
        (22, 22),
        (("zstd", 9), 9),
        (("zstd", 0), None),
        (("zstd", True), 3),
    ],
)
def test_what_joblib_and_people_write_is_understood(spelling: Any, level: int | None) -> None:
    assert compression.level_of(spelling) == level


@pytest.mark.parametrize(
    "spelling",
    [
        "zlib", "gzip", "bz2", "lzma", "xz", "lz4", ("zlib", 3), ("xz", 1), "", "ZSTD", "fast", -1,
        23, 1.5, ("zstd", 99), ("zstd",), ("zstd", "3"), ("zstd", 1, 2), ["zstd", 3], b"zstd", {},
    ],
)  # fmt: skip
def test_what_is_no_compression_of_ours_is_refused_before_anything_is_pickled(
    spelling: Any, ring: Keyring, tmp_path: Path
) -> None:
    class Bomb:
        def __reduce__(self) -> Any:
            raise AssertionError("pickled")

    with pytest.raises(ValueError, match="compress="):
        signed_dump(Bomb(), tmp_path / "it", keyring=ring, compress=spelling)
    assert not list(tmp_path.iterdir())


def test_the_hint_names_what_to_write(ring: Keyring) -> None:
    with pytest.raises(ValueError, match="compress='zstd'"):
        signed_dumps(1, keyring=ring, compress=("zlib", 3))


OBJECTS: dict[str, Any] = {
    "one": 1,
    "text": "a" * 100_000,
    "an array": np.arange(1_000_000.0),
    "an array of one chunk": np.zeros(CHUNK // 8),
    "an array and a bit": np.arange(CHUNK // 8 + 1),
    "two arrays": [np.arange(100_000), np.ones(200_000)],
    "in Fortran order": np.asfortranarray(np.arange(250_000.0).reshape(500, 500)),
    "an empty one": [np.zeros(0), np.arange(100_000)],
    "random bytes": os.urandom(300_000),
}


@pytest.mark.parametrize("name", OBJECTS)
@pytest.mark.parametrize("suite", ["ring", "sha_ring"])
def test_an_object_is_loaded_from_everywhere(
    name: str, suite: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    ring: Keyring = request.getfixturevalue(suite)
    obj = OBJECTS[name]
    data = signed_dumps(obj, keyring=ring, compress="zstd")
    path = tmp_path / "it"
    signed_dump(obj, path, keyring=ring, compress="zstd")
    assert path.read_bytes()[192:] == data[192:] or b"created" in data
    for loaded in (
        signed_loads(data, keyring=ring),
        signed_load(path, keyring=ring),
        signed_load(io.BytesIO(data), keyring=ring),
        pickle.loads(extract(data, keyring=ring)),
    ):
        assert pickle.dumps(loaded, 4) == pickle.dumps(obj, 4)


def test_it_is_smaller_and_says_so(ring: Keyring) -> None:
    obj = np.zeros(1_000_000)
    data = signed_dumps(obj, keyring=ring, compress=1)
    assert len(data) < 10_000
    found = inspect(io.BytesIO(data), keyring=ring)
    assert found.codec == "zstd"
    assert sum(found.segments) > 8_000_000
    assert found.size == len(data)
    plain = inspect(io.BytesIO(signed_dumps(obj, keyring=ring)), keyring=ring)
    assert plain.codec == "stored"
    assert found.segments == plain.segments
    assert any("zstd" in text for name, text in found.rows() if name == "size")


def test_arrays_are_aligned_writable_and_each_in_memory_of_its_own(ring: Keyring) -> None:
    arrays = [np.arange(100_000), np.arange(50_000.0)]
    arrays[1].flags.writeable = False
    loaded = signed_loads(signed_dumps(arrays, keyring=ring, compress=1), keyring=ring)
    assert [array.flags.writeable for array in loaded] == [True, False]
    for array in loaded:
        assert array.ctypes.data % 64 == 0
        base = memoryview(array).obj
        assert len(memoryview(base)) == array.nbytes if base is not array else True
    loaded[0][:] = 0
    assert (loaded[1] == arrays[1]).all()


def test_no_decompressor_runs_before_the_envelope_tag(
    ring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 19: and none at all where nothing is to be unpickled."""
    ran: list[int] = []
    monkeypatch.setattr(compression, "expand", lambda *_: ran.append(1))
    data = bytearray(signed_dumps(np.zeros(1_000_000), keyring=ring, compress=1))
    verify(io.BytesIO(data), keyring=ring)
    inspect(io.BytesIO(data), keyring=ring)
    for place in (300, len(data) - 100, len(data) - 1):
        data[place] ^= 1
        with pytest.raises(BadSealError), nothing_unpickled():
            signed_loads(data, keyring=ring)
        data[place] ^= 1
    assert not ran


def test_max_bytes_bounds_what_it_expands_to(ring: Keyring) -> None:
    data = signed_dumps(np.zeros(1_000_000), keyring=ring, compress=1)
    assert len(signed_loads(data, keyring=ring, max_bytes=9_000_000)) == 1_000_000
    tracemalloc.start()
    try:
        with pytest.raises(PolicyError):
            signed_loads(data, keyring=ring, max_bytes=1_000_000)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_a_frame_is_expanded_no_further_than_it_may(ring: Keyring) -> None:
    """A bomb whose seal holds, as a holder of the key could make it."""
    frame = compression.compress(memoryview(bytes(CHUNK)), 1)
    for size in (1, 100, CHUNK - 1):
        target = memoryview(bytearray(size))
        tracemalloc.start()
        try:
            with pytest.raises(MalformedError):
                compression.expand(memoryview(frame), target)
            assert tracemalloc.get_traced_memory()[1] < 2 * size + (1 << 20)
        finally:
            tracemalloc.stop()


def test_a_compressed_file_is_sealed_anew_as_it_is_stored(
    ring_directory: Path, tmp_path: Path
) -> None:
    path = tmp_path / "it"
    signed_dump(np.arange(1_000_000), path, keyring=ring_directory, compress="zstd")
    before = verify(path, keyring=ring_directory)
    rotate(ring_directory, now=0)
    assert reseal(path, keyring=ring_directory) == before.key_id
    after = verify(path, keyring=ring_directory)
    assert (after.digest, after.codec, after.size) == (before.digest, "zstd", before.size)
    assert (signed_load(path, keyring=ring_directory) == np.arange(1_000_000)).all()


def test_old_protocols_and_external_buffers_are_compressed_too(ring: Keyring) -> None:
    for protocol in range(5):
        data = signed_dumps(list(range(50_000)), protocol, keyring=ring, compress=1)
        assert signed_loads(data, keyring=ring) == list(range(50_000))
    buffers: list[Any] = []
    array = np.arange(100_000)
    data = signed_dumps(array, 5, buffer_callback=buffers.append, keyring=ring, compress=1)
    assert (signed_loads(data, keyring=ring, buffers=buffers) == array).all()
