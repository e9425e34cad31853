"""Resources: sizes that lie, and paths that are no files."""

import io
import os
import pickle
import stat
import struct
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from envelopes import hand_sealed
from watching import refused

from pickleseal import (
    Key,
    Keyring,
    MalformedError,
    NotSealedError,
    PolicyError,
    SealError,
    adopt_bytes,
    inspect,
    signed_dump,
    signed_load,
    signed_loads,
    verify,
)
from pickleseal.envelope import metadata as md
from pickleseal.envelope import seal


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no FIFOs")
def test_a_path_that_is_no_regular_file_is_refused_at_once(ring: Keyring, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to("/dev/zero")
    places = [tmp_path / "fifo", tmp_path, Path("/dev/zero"), tmp_path / "link"]
    for place in places:
        for act in (signed_load, verify, inspect):
            with pytest.raises(NotSealedError):
                act(place, keyring=ring)
        with pytest.raises(OSError):  # noqa: PT011 - the class is the promise
            signed_dump(1, place, keyring=ring)
    assert stat.S_ISFIFO((tmp_path / "fifo").stat().st_mode)


def test_a_missing_path_is_an_ordinary_error(ring: Keyring, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        signed_load(tmp_path / "nothing", keyring=ring)
    with pytest.raises(FileNotFoundError):
        signed_dump(1, tmp_path / "no folder" / "it", keyring=ring)


SIZES = [
    0,
    1,
    63,
    95,
    2**31,
    2**32 - 1,
    2**44,
    2**44 + 32,
    2**63 - 32,
    2**63,
    2**64 - 32,
    2**64 - 1,
]


def peak_of(act: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        with pytest.raises(SealError):
            act()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("size", SIZES)
def test_a_lying_total_size_is_refused_without_memory(
    size: int, small: bytes, ring: Keyring
) -> None:
    forged = bytearray(small)
    struct.pack_into("<Q", forged, 40, size)
    for act in (
        lambda: signed_loads(bytes(forged), keyring=ring),
        lambda: signed_load(io.BytesIO(forged), keyring=ring),
    ):
        assert peak_of(act) < 1 << 20


@pytest.mark.parametrize(("offset", "top"), [(32, 1 << 32), (36, 1 << 32)])
def test_a_lying_metadata_size_or_count_is_refused_without_memory(
    offset: int, top: int, small: bytes, ring: Keyring
) -> None:
    for value in (0, 1, 1 << 16, (1 << 16) + 1, 1 << 20, top - 1):
        forged = bytearray(small)
        struct.pack_into("<I", forged, offset, value)
        for data in (bytes(forged), bytes(forged) + bytes(5000)):
            assert peak_of(lambda: signed_load(io.BytesIO(data), keyring=ring)) < 3 << 20  # noqa: B023


def test_segment_sizes_whose_sum_wraps_are_refused(ring: Keyring) -> None:
    key = ring.sealing_key(context=None, now=0)
    data = hand_sealed(ring, md.Metadata(content="pickle"), b"N.", b"x" * 64)
    for lengths in [(2**64 - 64, 192), (2**63, 2**63 + 128), (128, 0), (0, 64), (3, 64)]:
        forged = forge_table(key, data, lengths)
        error = MalformedError if sum(-(-n // 64) * 64 for n in lengths) != 128 else SealError
        refused(forged, ring, error)


def forge_table(key: Key, data: bytes, lengths: tuple[int, ...]) -> bytes:
    """Return an envelope with another segment table, its head properly tagged."""
    from pickleseal.envelope import hashing, layout
    from pickleseal.keys import mac

    fixed = layout.parse_fixed(data[:64])
    head = bytearray(data[: fixed.head_size])
    for row, length in enumerate(lengths):
        struct.pack_into("<QQ", head, fixed.table_start + 16 * row, length, length)
    digest = hashing.head_digest(key.suite, bytes(head))
    statement = mac.statement(mac.HEADER, key.suite, key.raw_id, len(head), digest)
    return bytes(head) + key.mac(statement) + data[fixed.head_size + 32 :]


def test_a_terabyte_of_nothing_is_refused_at_once(
    small: bytes, ring: Keyring, tmp_path: Path
) -> None:
    path = tmp_path / "sparse"
    forged = bytearray(small)
    struct.pack_into("<Q", forged, 40, (1 << 40) + 32)
    for start in (b"", bytes(forged)):
        path.write_bytes(start)
        with path.open("r+b") as file:
            file.truncate((1 << 40) + 32)
        assert peak_of(lambda: signed_load(path, keyring=ring)) < 1 << 20


def test_a_huge_honest_header_on_a_short_stream_costs_what_arrives(ring: Keyring) -> None:
    key = ring.sealing_key(context=None, now=0)
    head = seal.seal_head(key, md.Metadata(content="pickle"), [1 << 33, 1 << 33])
    data = head.data + bytes(1000)
    with pytest.raises(SealError):
        signed_load(io.BytesIO(data), keyring=ring)
    with pytest.raises(PolicyError):
        signed_load(io.BytesIO(data), keyring=ring, max_bytes=1 << 30)
    assert peak_of(lambda: signed_load(io.BytesIO(data), keyring=ring)) < 1 << 20


def test_max_bytes_bounds_what_adopted_files_expand_to(ring: Keyring) -> None:
    data = adopt_bytes(zlib.compress(pickle.dumps(bytes(1 << 20))), keyring=ring)
    refused_with = 1 << 19
    with pytest.raises(PolicyError):
        signed_loads(data, keyring=ring, max_bytes=refused_with)
    assert len(signed_loads(data, keyring=ring, max_bytes=1 << 21)) == 1 << 20


def test_max_bytes_bounds_what_is_read(sealed: bytes, ring: Keyring) -> None:
    with pytest.raises(PolicyError):
        signed_loads(sealed, keyring=ring, max_bytes=len(sealed) - 1)
    assert signed_loads(sealed, keyring=ring, max_bytes=len(sealed)) is not None
