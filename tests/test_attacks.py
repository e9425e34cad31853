"""Attacks, one by one: each is refused, and the unpickler is never entered."""

import gzip
import io
import itertools
import logging
import os
import pickle
import random
import signal
import stat
import struct
import subprocess
import sys
import threading
import time
import traceback
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.neighbors import KNeighborsClassifier
from sklearn.tree import DecisionTreeClassifier
from watching import Mark, armed, nothing_unpickled

import pickleseal
from pickleseal import (
    BadSealError,
    ContextError,
    ExpiredError,
    Key,
    KeyPermissionError,
    Keyring,
    KeyringError,
    MalformedError,
    MetadataError,
    NothingToReadError,
    NotSealedError,
    PolicyError,
    SealError,
    Suite,
    UnknownKeyError,
    adopt_bytes,
    inspect,
    open_keyring,
    signed_dump,
    signed_dumps,
    signed_load,
    signed_loads,
    verify,
)
from pickleseal.envelope import metadata as md
from pickleseal.envelope import seal
from pickleseal.envelope.target import join_envelope
from pickleseal.files.atomic import TEMPORARY_PREFIX, TEMPORARY_SUFFIX
from pickleseal.keys.key import KeyLine
from pickleseal.keys.passphrase import Passphrase
from pickleseal.keys.store.changes import create_key


class Dribble:
    """A stream that gives a few bytes at a time and cannot seek: a pipe's worst manners."""

    def __init__(self, data: bytes, step: int = 7) -> None:
        self._file = io.BytesIO(data)
        self._step = step

    def read(self, size: int = -1) -> bytes:
        return self._file.read(min(size, self._step))


Reader = Callable[[bytes, Keyring, Path], object]


def from_bytes(data: bytes, ring: Keyring, folder: Path) -> object:
    return signed_loads(data, keyring=ring)


def from_path(data: bytes, ring: Keyring, folder: Path) -> object:
    (folder / "it.pkl").write_bytes(data)
    return signed_load(folder / "it.pkl", keyring=ring)


def from_file(data: bytes, ring: Keyring, folder: Path) -> object:
    (folder / "it.pkl").write_bytes(data)
    with (folder / "it.pkl").open("rb") as file:
        return signed_load(file, keyring=ring)


def from_stream(data: bytes, ring: Keyring, folder: Path) -> object:
    return signed_load(Dribble(data), keyring=ring)


READERS = [from_bytes, from_path, from_file, from_stream]
reads = pytest.mark.parametrize("read", READERS)


@pytest.fixture(scope="module")
def model() -> KNeighborsClassifier:
    return KNeighborsClassifier(n_neighbors=3).fit(*load_iris(return_X_y=True))


@pytest.fixture(scope="module")
def sealed(model: KNeighborsClassifier, ring: Keyring) -> bytes:
    return signed_dumps(model, keyring=ring)


@pytest.fixture(scope="module")
def small(ring: Keyring) -> bytes:
    """Give an envelope with two segments of its own, small enough to cut at every byte."""
    stream = pickle.dumps([1, 2, 3], 5)
    return hand_sealed(
        ring.sealing_key(context=None, now=0), md.Metadata(content="pickle"), [stream, b"x" * 70]
    )


def hand_sealed(key: Key, metadata: md.Metadata, segments: list[bytes]) -> bytes:
    """Seal segments as they are, as a foreign writer with the key could."""
    head = seal.seal_head(key, metadata, [len(segment) for segment in segments])
    return join_envelope(head.data, [memoryview(s) for s in segments], head.finish, key.suite)


def refused(data: bytes, ring: Keyring, error: type[SealError] = SealError) -> None:
    with pytest.raises(error):
        signed_loads(data, keyring=ring)


# --- changed bytes ---------------------------------------------------------------------------


def test_the_watch_sees_an_unpickler_at_work(tmp_path: Path) -> None:
    """Or it would prove nothing below; under `python -O` too."""
    with pytest.raises(AssertionError), nothing_unpickled():
        pickle.loads(armed(tmp_path / "mark"))


@pytest.mark.parametrize("suite", list(Suite))
def test_every_single_flipped_bit_of_a_fitted_model_is_refused(
    suite: Suite, model: KNeighborsClassifier
) -> None:
    ring = Keyring(Key.generate(suite))
    data = bytearray(signed_dumps(model, keyring=ring))
    flips = range(8 * len(data))
    if suite is Suite.SHA256:
        flips = range(0, 8 * len(data), 5)  # every byte; each bit in turn
    with nothing_unpickled():
        for bit in flips:
            data[bit // 8] ^= 1 << bit % 8
            with pytest.raises(SealError):
                signed_loads(bytes(data), keyring=ring)
            data[bit // 8] ^= 1 << bit % 8
    assert signed_loads(bytes(data), keyring=ring).n_samples_fit_ == 150


@reads
def test_every_proper_prefix_is_refused(
    read: Reader, small: bytes, ring: Keyring, tmp_path: Path
) -> None:
    with nothing_unpickled():
        for size in range(len(small)):
            with pytest.raises(SealError):
                read(small[:size], ring, tmp_path)


def test_every_proper_prefix_of_a_fitted_model_is_refused(sealed: bytes, ring: Keyring) -> None:
    with nothing_unpickled():
        for size in range(len(sealed)):
            refused(sealed[:size], ring)


@pytest.mark.parametrize("read", [from_bytes, from_path])
def test_what_follows_an_envelope_makes_bytes_and_paths_refused(
    read: Reader, sealed: bytes, ring: Keyring, tmp_path: Path
) -> None:
    with nothing_unpickled():
        for tail in (b"\0", b"\n", b"\0" * 64, sealed):
            with pytest.raises(MalformedError):
                read(sealed + tail, ring, tmp_path)


def test_a_stream_leaves_what_follows_unread(ring: Keyring, tmp_path: Path) -> None:
    data = signed_dumps("one", keyring=ring)
    memory = io.BytesIO(data + b"rest")
    assert signed_load(memory, keyring=ring) == "one"
    assert memory.read() == b"rest"
    path = tmp_path / "it"
    path.write_bytes(b"before" + data + b"rest")
    with path.open("rb") as file:
        file.read(6)
        assert signed_load(file, keyring=ring) == "one"
        assert file.read() == b"rest"


def test_a_splice_of_two_envelopes_is_refused_at_every_cut(ring: Keyring) -> None:
    one = signed_dumps(["a" * 40, 1], keyring=ring, context="c")
    two = signed_dumps(["b" * 40, 2], keyring=ring, context="c")
    assert len(one) == len(two)
    with nothing_unpickled():
        for cut in range(1, len(one)):
            mixed = one[:cut] + two[cut:]
            if mixed not in (one, two):
                with pytest.raises(SealError):
                    signed_loads(mixed, keyring=ring, context="c")


def test_swapped_leaves_and_segments_are_refused(ring: Keyring, sha_ring: Keyring) -> None:
    arrays = [np.full(1 << 17, value) for value in (1.0, 2.0, 3.0)]
    for each in (ring, sha_ring):
        data = signed_dumps(arrays, keyring=each)
        start = len(data) - 32 - 3 * (1 << 20)
        parts = [data[start + i * (1 << 20) : start + (i + 1) * (1 << 20)] for i in range(3)]
        with nothing_unpickled():
            for order in itertools.permutations(range(3)):
                if order != (0, 1, 2):
                    mixed = data[:start] + b"".join(parts[i] for i in order) + data[-32:]
                    refused(mixed, each, BadSealError)


FIELDS = {"version": (8, 2), "suite": (10, 2), "flags": (12, 4), "codec": (48, 2)}


@pytest.mark.parametrize("field", FIELDS)
def test_a_fixed_field_of_another_value_is_refused_before_a_key_is_used(
    field: str, small: bytes
) -> None:
    offset, size = FIELDS[field]
    legal = {"version": {1}, "suite": {1, 2}, "flags": {0}, "codec": {0, 1}}[field]
    values = set(range(300)) | {1 << n for n in range(8 * size)} | {(1 << 8 * size) - 1}
    stranger = Keyring(Key.generate())
    for value in values:
        forged = bytearray(small)
        forged[offset : offset + size] = value.to_bytes(size, "little")
        with nothing_unpickled():
            # With a stranger's ring what gets past the field itself is an unknown key.
            refused(bytes(forged), stranger, UnknownKeyError if value in legal else MalformedError)


def test_reserved_bytes_are_refused_one_by_one(small: bytes, ring: Keyring) -> None:
    for offset in range(50, 64):
        forged = bytearray(small)
        forged[offset] = 1
        refused(bytes(forged), ring, MalformedError)


def test_the_other_suite_is_refused_and_never_falls_back(small: bytes, ring: Keyring) -> None:
    forged = bytearray(small)
    forged[10] = 1
    refused(bytes(forged), ring, MalformedError)


def test_the_id_of_one_key_on_the_file_of_another_is_refused(small: bytes, ring: Keyring) -> None:
    other = Key.generate()
    both = Keyring(other, ring.sealing_key(context=None, now=0))
    forged = small[:16] + other.raw_id + small[32:]
    with nothing_unpickled():
        refused(forged, both, BadSealError)


def test_a_key_is_found_by_its_id_alone(small: bytes) -> None:
    refused(small, Keyring(Key.generate(), *(Key.generate() for _ in range(5))), UnknownKeyError)


def test_length_extension_of_the_hash_gains_nothing(sha_ring: Keyring) -> None:
    data = signed_dumps([0] * 8, keyring=sha_ring)
    total = struct.unpack_from("<Q", data, 40)[0]
    for extra in (64, 128):
        longer = bytearray(data[:-32] + b"\x80" + bytes(extra - 1) + data[-32:])
        struct.pack_into("<Q", longer, 40, total + extra)
        refused(bytes(longer), sha_ring, BadSealError)


# --- what was never sealed -------------------------------------------------------------------


def plain_files(mark: Path) -> Iterator[tuple[str, bytes]]:
    raw = armed(mark)
    for protocol in range(6):
        yield f"pickle {protocol}", armed(mark, protocol)
    yield "gzip", gzip.compress(raw)
    yield "zlib", zlib.compress(raw)
    yield "text", b"not a pickle at all\n" * 20
    yield "short text", b"hi"
    yield "zeros", bytes(1000)
    yield "a pickle behind spare bytes", bytes(8) + raw
    yield "the magic behind a byte", b"\0\xa6PSEAL\r\n" + bytes(200)
    yield "the magic after text-mode transfer", b"\xa6PSEAL\n" + bytes(200)
    yield "zip", b"PK\x03\x04" + raw


@reads
def test_whatever_is_not_sealed_is_refused_as_that(
    read: Reader, ring: Keyring, tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    with nothing_unpickled():
        for name, data in plain_files(mark):
            with pytest.raises(NotSealedError):
                pytest.fail(f"{name} loaded as {read(data, ring, tmp_path)}")
    assert not mark.exists()
    pickle.loads(armed(mark))  # the payload is a real one
    assert mark.exists()


@reads
def test_nothing_at_all_is_an_end_of_file_too(read: Reader, ring: Keyring, tmp_path: Path) -> None:
    with pytest.raises(NothingToReadError) as caught:
        read(b"", ring, tmp_path)
    assert isinstance(caught.value, EOFError | NotSealedError)
    assert isinstance(caught.value, pickle.UnpicklingError)


def test_loading_until_the_end_of_the_file_works_as_with_pickle(
    ring: Keyring, tmp_path: Path
) -> None:
    path = tmp_path / "several"
    with path.open("wb") as file:
        for number in range(4):
            signed_dump(number, file, keyring=ring)
    loaded = []
    with path.open("rb") as file:
        while True:
            try:
                loaded.append(signed_load(file, keyring=ring))
            except EOFError:
                break
    assert loaded == [0, 1, 2, 3]


def test_a_plain_unpickler_refuses_an_envelope_at_its_first_byte(sealed: bytes) -> None:
    with nothing_unpickled(), pytest.raises(pickle.UnpicklingError):
        pickle.loads(sealed)


# --- the right bytes in the wrong place ------------------------------------------------------


def test_a_genuine_file_in_another_ones_place_is_refused(ring: Keyring) -> None:
    fraud = signed_dumps("model A", keyring=ring, context="fraud/v3")
    bare = signed_dumps("model B", keyring=ring)
    with nothing_unpickled():
        for data, context in [
            (fraud, "spam/v1"),
            (fraud, None),
            (bare, "fraud/v3"),
            (fraud, "fraud/v33"),
        ]:
            with pytest.raises(ContextError):
                signed_loads(data, keyring=ring, context=context)
    assert signed_loads(fraud, keyring=ring, context="fraud/v3") == "model A"
    assert signed_loads(bare, keyring=ring) == "model B"


def test_two_spellings_of_one_context_are_one(ring: Keyring) -> None:
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    for sealed_for, asked in itertools.product((composed, decomposed), repeat=2):
        data = signed_dumps(1, keyring=ring, context=sealed_for)
        assert signed_loads(data, keyring=ring, context=asked) == 1
    with pytest.raises(ContextError):
        signed_loads(data, keyring=ring, context="cafe")


@pytest.mark.parametrize("context", ["", "x" * 256, "a\nb", "\x1b[2J", "\ud800", "\u00e9" * 128])
def test_a_context_that_cannot_be_sealed_is_refused_at_both_ends(
    context: str, ring: Keyring
) -> None:
    with pytest.raises(MetadataError):
        signed_dumps(1, keyring=ring, context=context)
    with pytest.raises(MetadataError):
        signed_loads(signed_dumps(1, keyring=ring), keyring=ring, context=context)


def test_an_expired_envelope_is_refused(ring: Keyring) -> None:
    key = ring.sealing_key(context=None, now=0)
    stream = pickle.dumps(1)
    for expires in (0, 1, int(time.time()) - 1):
        refused(
            hand_sealed(key, md.Metadata(content="pickle", expires=expires), [stream]),
            ring,
            ExpiredError,
        )
    later = md.Metadata(content="pickle", expires=int(time.time()) + 1000)
    assert signed_loads(hand_sealed(key, later, [stream]), keyring=ring) == 1


def test_an_inventory_is_never_unpickled(ring: Keyring, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    data = hand_sealed(
        ring.sealing_key(context=None, now=0), md.Metadata(content="inventory"), [armed(mark)]
    )
    with nothing_unpickled():
        refused(data, ring, PolicyError)
    assert not mark.exists()


def test_sealed_objects_of_a_stream_stand_each_for_itself(ring: Keyring) -> None:
    """The order of several envelopes is not sealed: this states the limit."""
    parts = [signed_dumps(n, keyring=ring) for n in range(3)]
    stream = io.BytesIO(parts[2] + parts[0])
    assert [signed_load(stream, keyring=ring) for _ in range(2)] == [2, 0]


# --- changes while it is read ----------------------------------------------------------------


def test_a_bytearray_that_changes_after_the_check_does_not_reach_the_unpickler(
    ring: Keyring,
) -> None:
    array = np.arange(1 << 15)
    data = bytearray(signed_dumps([array, b"tail"], keyring=ring))
    loaded = signed_loads(data, keyring=ring)
    data[:] = bytes(len(data))
    assert (loaded[0] == array).all()


@pytest.mark.parametrize("size", [10, 1 << 16, 1 << 21])
def test_a_file_that_changes_after_it_was_loaded_does_not_change_the_object(
    size: int, ring: Keyring, tmp_path: Path
) -> None:
    array = np.arange(size)
    path = tmp_path / "it"
    signed_dump(array, path, keyring=ring)
    loaded = signed_load(path, keyring=ring)
    with path.open("r+b") as file:
        file.write(b"\xff" * path.stat().st_size)
    assert (loaded == array).all()
    loaded[0] = 99
    assert loaded[0] == 99


def test_a_path_is_opened_once_and_not_mapped(ring: Keyring, tmp_path: Path) -> None:
    path = tmp_path / "it"
    signed_dump(np.zeros(1 << 21), path, keyring=ring)
    code = (
        "import sys, pickleseal\n"
        "seen = []\n"
        "path, ring = sys.argv[1:]\n"
        "ring = pickleseal.open_keyring(ring)\n"
        "def hook(event, args):\n"
        "    if event == 'open' and args[0] == path: seen.append(event)\n"
        "    if event == 'mmap.__new__' and args[0] != -1: seen.append(event)\n"
        "sys.addaudithook(hook)\n"
        "pickleseal.signed_load(path, keyring=ring)\n"
        "print(seen)\n"
    )
    create_key(tmp_path / "ring", suite=Suite.BLAKE3, note="", now=0)
    signed_dump(np.zeros(1 << 21), path, keyring=tmp_path / "ring")
    done = subprocess.run(
        [sys.executable, "-c", code, str(path), str(tmp_path / "ring")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "['open']"


def test_a_file_rewritten_all_the_while_loads_whole_or_not_at_all(
    ring: Keyring, tmp_path: Path
) -> None:
    path = tmp_path / "it"
    versions = [signed_dumps(np.full(1 << 17, n), keyring=ring) for n in range(2)]
    path.write_bytes(versions[0])
    stop = threading.Event()

    def rewrite() -> None:
        for version in itertools.cycle(versions):
            if stop.is_set():
                return
            with path.open("r+b") as file:
                file.write(version)

    writer = threading.Thread(target=rewrite)
    writer.start()
    try:
        for _ in range(60):
            try:
                loaded = signed_load(path, keyring=ring)
            except SealError:
                continue
            assert (loaded == loaded[0]).all()
    finally:
        stop.set()
        writer.join()


def test_an_array_changed_during_the_dump_is_consistent_or_refused(
    ring: Keyring, tmp_path: Path
) -> None:
    array = np.zeros(1 << 21)
    stop = threading.Event()

    def change() -> None:
        while not stop.is_set():
            array[:] = array + 1

    changer = threading.Thread(target=change)
    changer.start()
    try:
        for number in range(6):
            path = tmp_path / str(number)
            signed_dump(array, path, keyring=ring, durable=False)
            stream = io.BytesIO()
            signed_dump(array, stream, keyring=ring)
            for data in (path.read_bytes(), stream.getvalue()):
                with suppress(BadSealError):
                    assert len(signed_loads(data, keyring=ring)) == len(array)
    finally:
        stop.set()
        changer.join()


# --- places that are no files ----------------------------------------------------------------


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


# --- sizes that lie --------------------------------------------------------------------------

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
    data = hand_sealed(key, md.Metadata(content="pickle"), [b"N.", b"x" * 64])
    for lengths in [(2**64 - 64, 192), (2**63, 2**63 + 128), (128, 0), (0, 64), (3, 64)]:
        forged = forge_table(key, data, lengths)
        error = MalformedError if sum(-(-n // 64) * 64 for n in lengths) != 128 else SealError
        refused(forged, ring, error)


def forge_table(key: Key, data: bytes, lengths: tuple[int, ...]) -> bytes:
    """Give an envelope with another segment table, its head properly tagged."""
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


def test_a_sealed_joblib_file_loads_no_other_file(ring: Keyring, tmp_path: Path) -> None:
    """By whatever name it gets at what joblib before 0.10 kept arrays in."""
    mark = tmp_path / "mark"
    np.save(tmp_path / "beside.npy", np.array([Mark(mark)], object))
    path = str(tmp_path / "beside.npy").encode()
    for module, name in ((b"joblib.numpy_pickle_compat", b"NDArrayWrapper"),
                         (b"joblib", b"numpy_pickle.NDArrayWrapper")):  # fmt: skip
        wrapper = b"\x8c" + bytes([len(module)]) + module + b"\x8c" + bytes([len(name)]) + name
        stream = (
            b"\x80\x04" + wrapper + b"\x93)\x81}(\x8c\x08filenameX" + struct.pack("<I", len(path))
            + path + b"\x8c\x08subclasscnumpy\nndarray\n\x8c\x0aallow_mmap\x89ub."
        )  # fmt: skip
        key = ring.sealing_key(context=None, now=0)
        data = hand_sealed(key, md.Metadata(content="joblib", raw_size=len(stream)), [stream])
        refused(data, ring, PolicyError)
    assert not mark.exists()


def test_max_bytes_bounds_what_is_read(sealed: bytes, ring: Keyring) -> None:
    with pytest.raises(PolicyError):
        signed_loads(sealed, keyring=ring, max_bytes=len(sealed) - 1)
    assert signed_loads(sealed, keyring=ring, max_bytes=len(sealed)) is not None


# --- garbage ---------------------------------------------------------------------------------


@pytest.mark.parametrize("rounds", [20_000, pytest.param(1_000_000, marks=pytest.mark.sweep)])
def test_garbage_raises_nothing_but_refusals(rounds: int, small: bytes, ring: Keyring) -> None:
    chance = random.Random(20261124)
    with nothing_unpickled():
        for number in range(rounds):
            kind = number % 4
            data = bytearray(small)
            if kind == 0:
                data = bytearray(chance.randbytes(chance.randrange(300)))
            elif kind == 1:
                data[8:64] = chance.randbytes(56)
            elif kind == 2:
                for _ in range(chance.randrange(1, 6)):
                    data[chance.randrange(64)] = chance.choice((0, 1, 2, 127, 128, 255))
            else:
                at = chance.randrange(len(data))
                data[at : at + chance.randrange(9)] = chance.randbytes(chance.randrange(9))
            if bytes(data) != small:
                with pytest.raises(SealError):
                    signed_loads(bytes(data), keyring=ring)
                with pytest.raises(SealError):
                    signed_load(io.BytesIO(data + bytes(chance.randrange(64))), keyring=ring)


BAD_METADATA = {
    "duplicate keys": b'{"content":"pickle","content":"pickle"}',
    "white space": b'{"content": "pickle"}',
    "not a number": b'{"content":"pickle","info":{"a":NaN}}',
    "infinity": b'{"content":"pickle","info":{"a":Infinity}}',
    "overflowing float": b'{"content":"pickle","info":{"a":1e999}}',
    "other spelling of a float": b'{"content":"pickle","info":{"a":1.50}}',
    "deep nesting": b'{"content":"pickle","info":' + b"[" * 32000 + b"]" * 32000 + b"}",
    "deep nesting, open": b"[" * 65000,
    "5 levels": b'{"content":"pickle","info":{"a":{"b":{"c":{}}}}}',
    "a long integer": b'{"content":"pickle","serial":' + b"9" * 5000 + b"}",
    "2^53": b'{"content":"pickle","serial":9007199254740992}',
    "negative": b'{"content":"pickle","serial":-1}',
    "a float outside info": b'{"content":"pickle","serial":1.0}',
    "true for a number": b'{"content":"pickle","serial":true}',
    "null": b'{"content":"pickle","context":null}',
    "an unknown key": b'{"content":"pickle","trusted":"yes"}',
    "a byte order mark": b'\xef\xbb\xbf{"content":"pickle"}',
    "a lone surrogate": b'{"content":"pickle","context":"\\ud800"}',
    "a raw surrogate": b'{"content":"pickle","context":"\xed\xa0\x80"}',
    "a control character": b'{"content":"pickle","context":"\\u001b"}',
    "C1 control": '{"content":"pickle","context":"\u009b"}'.encode(),
    "an escape that is not needed": b'{"content":"pickle","context":"\\u0061"}',
    "not UTF-8": b'{"content":"pickle","context":"\xff"}',
    "not NFC": '{"content":"pickle","context":"e\u0301"}'.encode(),
    "no content": b"{}",
    "another content": b'{"content":"yaml"}',
    "a list": b"[]",
    "a text": b'"content"',
    "unsorted": b'{"created":1,"content":"pickle"}',
    "imports not sorted": b'{"content":"pickle","imports":[["b","c"],["a","c"]]}',
    "imports twice": b'{"content":"pickle","imports":[["a","c"],["a","c"]]}',
    "imports of three": b'{"content":"pickle","imports":[["a","b","c"]]}',
    "imports and a count": b'{"content":"pickle","imports":[],"imports_omitted":1}',
    "external without digest": b'{"content":"pickle","external":{"bytes":1,"count":1}}',
    "key name with a space": b'{"content":"pickle","info":{"a b":1}}',
    "trailing": b'{"content":"pickle"}  ',
    "zeros": bytes(20),
}


@pytest.mark.parametrize("name", BAD_METADATA)
def test_metadata_of_a_foreign_writer_that_break_a_rule_are_malformed(
    name: str, ring: Keyring, tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    data = seal_metadata(ring.sealing_key(context=None, now=0), BAD_METADATA[name], armed(mark))
    with nothing_unpickled():
        refused(data, ring, MalformedError)
        inspect(io.BytesIO(data), keyring=ring)
        inspect(io.BytesIO(data), keyring=Keyring(Key.generate()))
    assert not mark.exists()


def seal_metadata(key: Key, metadata: bytes, stream: bytes) -> bytes:
    """Seal metadata that pickleseal itself would not write."""
    from pickleseal.envelope import hashing, layout
    from pickleseal.keys import mac

    head = layout.pack_head(key.suite, key.raw_id, metadata, [len(stream)])
    data = layout.head_bytes(head)
    digest = hashing.head_digest(key.suite, data)
    tag = key.mac(mac.statement(mac.HEADER, key.suite, key.raw_id, len(data), digest))
    sealed = seal.SealedHead(key, head, digest, data + tag)
    return join_envelope(sealed.data, [memoryview(stream)], sealed.finish, key.suite)


@pytest.mark.parametrize("name", BAD_METADATA)
def test_metadata_that_nobody_sealed_are_not_parsed_by_a_load(
    name: str, ring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = ring.sealing_key(context=None, now=0)
    forged = bytearray(seal_metadata(key, BAD_METADATA[name], b"N."))
    forged[70] ^= 1
    parsed: list[bytes] = []
    original = md.Metadata.decode

    def watched(data: bytes) -> md.Metadata:
        parsed.append(data)
        return original(data)

    monkeypatch.setattr(md.Metadata, "decode", watched)
    refused(bytes(forged), ring, BadSealError)
    assert not parsed


def test_what_a_terminal_would_obey_is_shown_escaped(ring: Keyring) -> None:
    hostile = "<script>alert(1)</script>\u202e\u2028"
    data = signed_dumps(1, keyring=ring, context=hostile, info={"note": hostile})
    found = inspect(io.BytesIO(data), keyring=ring)
    texts = " ".join(text for _, text in found.rows())
    assert texts.isprintable()
    assert "<script>" not in found._repr_html_()
    stranger = inspect(io.BytesIO(data), keyring=Keyring(Key.generate()))
    assert stranger.status is pickleseal.Status.UNVERIFIED
    assert "UNVERIFIED" in stranger._repr_html_()


# --- keys ------------------------------------------------------------------------------------


def test_a_keyring_that_comes_with_the_files_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("keys", ".pickleseal", "keyring"):
        create_key(tmp_path / name, suite=Suite.BLAKE3, note="", now=0)
    signed_dump("trust me", tmp_path / "model.pkl", keyring=tmp_path / "keys")
    monkeypatch.chdir(tmp_path)
    with nothing_unpickled(), pytest.raises(KeyringError):
        signed_load("model.pkl")
    monkeypatch.setenv("PICKLESEAL_KEYRING", "keys")
    with nothing_unpickled(), pytest.raises(KeyringError):
        signed_load("model.pkl")


def test_no_load_makes_a_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sealed: bytes
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(KeyringError):
        signed_loads(sealed)
    with pytest.raises(KeyringError):
        signed_loads(sealed, keyring=tmp_path / "ring")
    with pytest.raises(KeyringError):
        signed_dumps(1)
    assert list(tmp_path.rglob("*")) == []


def test_key_material_shows_up_nowhere(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    create_key(tmp_path / "ring", suite=Suite.BLAKE3, note="", now=0)
    (file,) = (tmp_path / "ring").glob("*.key")
    text = file.read_text().strip()
    secret = text.split(".")[2]
    import base64

    raw = base64.urlsafe_b64decode(secret + "=")
    needles = (secret, raw.hex(), repr(raw)[2:-1], base64.b64encode(raw).decode())
    ring = open_keyring(tmp_path / "ring")
    key = ring.sealing_key(context=None, now=0)
    shown = [repr(ring), str(ring), repr(key), str(key), repr(ring.entries), repr(KeyLine(text))]
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("test").warning("%s %r %s", ring, key, ring.entries)
    shown.append(caplog.text)
    for broken in (text + "x", text[:-1], text.replace(".2.", ".1."), text.replace(".2.", ".3.")):
        file.write_text(broken)
        with pytest.raises(KeyringError) as caught:
            open_keyring(tmp_path / "ring")
        frames = caught.tb.tb_next  # this test's own frame holds the secret
        lines = traceback.TracebackException(caught.type, caught.value, frames, capture_locals=True)
        shown.append("".join(lines.format()))
    for needle in needles:
        assert not [part for part in shown if needle in part]


def test_what_holds_a_key_is_neither_pickled_nor_copied_out(ring: Keyring) -> None:
    import copy

    key = ring.sealing_key(context=None, now=0)
    secrets = (KeyLine("pickleseal-key-1.x"), Passphrase("x"))
    for thing in (ring, key, [key], *secrets, {"ring": ring}):
        for protocol in range(6):
            with pytest.raises(TypeError):
                pickle.dumps(thing, protocol)
        with pytest.raises(TypeError):
            signed_dumps(thing, keyring=ring, pickler="cloudpickle")
    assert copy.copy(key) is key
    assert copy.deepcopy(key) is key
    assert not hasattr(key, "__dict__")


GOOD = KeyLine.generate().reveal()
BAD_LINES = {
    "empty": "",
    "a word": "secret",
    "no id": GOOD.rpartition(".")[0],
    "cut": GOOD[:-1],
    "cut secret": GOOD.replace(GOOD.split(".")[2], GOOD.split(".")[2][:-1]),
    "longer": GOOD + "0",
    "another suite": GOOD.replace("-1.2.", "-1.1."),
    "unknown suite": GOOD.replace("-1.2.", "-1.9."),
    "another id": GOOD[:-32] + "0" * 32,
    "upper-case id": GOOD[:-32] + GOOD[-32:].upper() + "A" * (GOOD[-32:].isdigit()),
    "carriage return": GOOD + "\r\n",
    "two line feeds": GOOD + "\n\n",
    "a second line": GOOD + "\n" + GOOD,
    "byte order mark": "\ufeff" + GOOD,
    "leading space": " " + GOOD,
    "padding": GOOD.replace("." + GOOD[-32:], "=." + GOOD[-32:]),
    "foreign character": GOOD.replace(GOOD.split(".")[2], "*" + GOOD.split(".")[2]),
    "all zeros": "pickleseal-key-1.2." + "A" * 43 + ".1fcd12db4b4b0f1e9f4a9fb8e4b4e1a0",
    "short secret": "pickleseal-key-1.2.AAAA." + GOOD[-32:],
    "scrypt 2^30": "pickleseal-key-1.2-scrypt.AAAA.30.AAAA." + GOOD[-32:],
    "a megabyte": "pickleseal-key-1." + "A" * (1 << 20),
}


@pytest.mark.parametrize("name", BAD_LINES)
def test_a_key_line_that_was_edited_or_cut_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(KeyringError):
        Key.parse(KeyLine(BAD_LINES[name]))
    create_key(tmp_path / "ring", suite=Suite.BLAKE3, note="", now=0)
    (file,) = (tmp_path / "ring").glob("*.key")
    file.write_text(BAD_LINES[name], encoding="utf-8")
    with pytest.raises(KeyringError):
        open_keyring(tmp_path / "ring")


def test_one_final_line_feed_is_part_of_a_key_file() -> None:
    assert Key.parse(KeyLine(GOOD + "\n")).id == Key.parse(KeyLine(GOOD)).id


@pytest.mark.parametrize("key", ["secret", b"k" * 32, b"", 7, KeyLine(GOOD)], ids=repr)
def test_a_ring_is_made_of_keys_alone(key: object) -> None:
    with pytest.raises(TypeError):
        Keyring(key)  # type: ignore[arg-type]


@pytest.mark.parametrize("given", [b"keys", 7, object()])
def test_keyring_takes_a_ring_or_a_path(given: object, sealed: bytes) -> None:
    with pytest.raises(TypeError):
        signed_loads(sealed, keyring=given)  # type: ignore[arg-type]


def test_a_key_or_key_line_for_a_ring_is_refused_with_a_hint(sealed: bytes, ring: Keyring) -> None:
    with pytest.raises(TypeError):
        signed_loads(sealed, keyring=ring.sealing_key(context=None, now=0))  # type: ignore[arg-type]
    with pytest.raises(KeyringError):
        signed_loads(sealed, keyring=GOOD)


# --- a service that seals what it is sent ----------------------------------------------------


def test_adopting_marks_what_it_seals(ring: Keyring, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    with nothing_unpickled():
        data = adopt_bytes(armed(mark), keyring=ring)
        found = verify(io.BytesIO(data), keyring=ring)
    assert found.metadata is not None
    assert found.metadata.source == "adopted"
    assert not mark.exists()


def test_no_other_call_seals_raw_pickle_bytes_as_what_they_hold(
    ring: Keyring, tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    raw = armed(mark)
    assert signed_loads(signed_dumps(raw, keyring=ring), keyring=ring) == raw
    assert not mark.exists()


# --- processes -------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_can_seal_and_load_and_not_change_its_parents_data(
    ring: Keyring, tmp_path: Path
) -> None:
    array = np.arange(1 << 20)
    path = tmp_path / "it"
    signed_dump(array, path, keyring=ring)
    loaded = signed_load(path, keyring=ring)
    child = os.fork()
    if not child:
        code = 1
        try:
            loaded[:] = -1
            signed_dump(loaded, tmp_path / "child", keyring=ring)
            code = 0 if (signed_load(tmp_path / "child", keyring=ring) == -1).all() else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert (loaded == array).all()
    assert (signed_load(tmp_path / "child", keyring=ring) == -1).all()


def test_eight_threads_seal_and_load_side_by_side(ring: Keyring, tmp_path: Path) -> None:
    array = np.arange(1 << 20)
    trouble: list[BaseException] = []

    def work(number: int) -> None:
        try:
            path = tmp_path / str(number)
            for _ in range(3):
                signed_dump(array + number, path, keyring=ring, durable=False)
                assert (signed_load(path, keyring=ring) == array + number).all()
        except BaseException as error:  # noqa: BLE001 - told below
            trouble.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not trouble


def test_the_same_object_seals_to_the_same_bytes(
    model: KNeighborsClassifier, ring: Keyring, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    array = np.arange(1 << 21)
    for obj in (model, array, {"a": 1}):
        memory = io.BytesIO()
        signed_dump(obj, memory, keyring=ring)
        signed_dump(obj, tmp_path / "path", keyring=ring)
        with (tmp_path / "file").open("wb") as file:
            signed_dump(obj, file, keyring=ring)
        data = signed_dumps(obj, keyring=ring)
        assert memory.getvalue() == data
        assert (tmp_path / "path").read_bytes() == data
        assert (tmp_path / "file").read_bytes() == data


KILLED = """
import os, sys, numpy, pickleseal
path, ring = sys.argv[1:]
ring = pickleseal.open_keyring(ring)
print("ready", flush=True)
number = 0
while True:
    number += 1
    pickleseal.signed_dump(numpy.full(1 << 20, number), path, keyring=ring, durable=False)
"""


@pytest.mark.skipif(os.name != "posix", reason="there is no SIGKILL")
def test_a_process_killed_in_the_middle_leaves_the_old_file_or_the_new(tmp_path: Path) -> None:
    create_key(tmp_path / "ring", suite=Suite.BLAKE3, note="", now=0)
    ring = open_keyring(tmp_path / "ring")
    folder = tmp_path / "models"
    folder.mkdir()
    path = folder / "it"
    signed_dump(np.full(1 << 20, 0), path, keyring=ring)
    chance = random.Random(1)
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(path), str(tmp_path / "ring")], stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(chance.uniform(0.05, 0.2))
        child.send_signal(signal.SIGKILL)
    loaded = signed_load(path, keyring=ring)
    assert (loaded == loaded[0]).all()
    left = [p for p in folder.iterdir() if p != path]
    for leftover in left:
        assert leftover.name.startswith(TEMPORARY_PREFIX)
        assert leftover.name.endswith(TEMPORARY_SUFFIX)


class Fails:
    def __reduce__(self) -> tuple[object, ...]:
        raise RuntimeError("in the middle")


class Interrupts:
    def __reduce__(self) -> tuple[object, ...]:
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("thing", "error"), [(Fails(), RuntimeError), (Interrupts(), KeyboardInterrupt)]
)
def test_an_exception_in_the_middle_leaves_a_path_as_it_was(
    thing: object, error: type[BaseException], ring: Keyring, tmp_path: Path
) -> None:
    path = tmp_path / "it"
    signed_dump("old", path, keyring=ring)
    with pytest.raises(error):
        signed_dump([1, thing], path, keyring=ring)
    assert signed_load(path, keyring=ring) == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_leaves_a_path_as_it_was_and_a_stream_without_a_seal(
    ring: Keyring, tmp_path: Path
) -> None:
    class Full:
        def __init__(self) -> None:
            self.data = b""

        def write(self, data: bytes) -> None:
            if len(self.data) + len(data) > 1 << 20:
                raise OSError(28, "No space left on device")
            self.data += data

    full = Full()
    with pytest.raises(OSError, match="space"):
        signed_dump(np.zeros(1 << 18), full, keyring=ring)
    with pytest.raises(SealError):
        signed_load(io.BytesIO(full.data), keyring=ring)


@pytest.mark.skipif(sys.platform == "win32", reason="there are no file size limits")
def test_a_file_size_limit_hit_in_the_middle_leaves_a_path_as_it_was(tmp_path: Path) -> None:
    code = (
        "import resource, signal, sys, numpy, pickleseal\n"
        "path, ring = sys.argv[1:]\n"
        "pickleseal.signed_dump('old', path, keyring=ring)\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (5 << 20, 5 << 20))\n"
        "for size in (1 << 20, 1 << 21):\n"
        "    try: pickleseal.signed_dump(numpy.zeros(size), path, keyring=ring)\n"
        "    except OSError as error: print(error.errno)\n"
        "print(pickleseal.signed_load(path, keyring=ring))\n"
    )
    create_key(tmp_path / "ring", suite=Suite.BLAKE3, note="", now=0)
    (tmp_path / "models").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "models" / "it"), str(tmp_path / "ring")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["27", "27", "old"]
    assert len(list((tmp_path / "models").iterdir())) == 1


def test_two_writers_on_one_path_leave_one_of_the_two_whole(ring: Keyring, tmp_path: Path) -> None:
    path = tmp_path / "it"

    def work(number: int) -> None:
        for _ in range(10):
            signed_dump(np.full(1 << 16, number), path, keyring=ring, durable=False)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    seen = set()
    while any(thread.is_alive() for thread in threads):
        if path.exists():
            loaded = signed_load(path, keyring=ring)
            assert (loaded == loaded[0]).all()
            seen.add(int(loaded[0]))
    for thread in threads:
        thread.join()
    assert seen <= {0, 1, 2, 3}
    assert list(tmp_path.iterdir()) == [path]


# --- messages --------------------------------------------------------------------------------


def test_a_refusal_names_the_file_escaped_and_holds_no_payload(
    ring: Keyring, tmp_path: Path
) -> None:
    path = tmp_path / "evil\n\x1b[2Jname.pkl"
    payload = b"this is the payload"
    data = bytearray(signed_dumps(payload, keyring=ring))
    data[-40] ^= 1
    path.write_bytes(data)
    with pytest.raises(BadSealError) as caught:
        signed_load(path, keyring=ring)
    text = str(caught.value)
    assert "name.pkl" in text
    assert text.isprintable()
    assert caught.value.source == str(path)
    everything = "".join(traceback.TracebackException.from_exception(caught.value).format())
    assert "this is the payload" not in everything + repr(caught.value.args)
    again = pickle.loads(pickle.dumps(caught.value))
    assert str(again) == text


def test_python_without_asserts_refuses_as_well(ring_directory: Path, tmp_path: Path) -> None:
    """Flips, cuts, splices and plain pickles, in interpreters that drop every assert."""
    code = (
        "import sys, pickle, pickleseal as ps\n"
        "ring = ps.open_keyring(sys.argv[1])\n"
        "good = ps.signed_dumps(list(range(9)), keyring=ring, context='c')\n"
        "seen = []\n"
        "sys.addaudithook(lambda e, a: seen.append(e) if e == 'pickle.find_class' else None)\n"
        "bad = [good[:n] for n in range(len(good))]\n"
        "bad += [good[:n] + bytes([good[n] ^ 1 << b]) + good[n+1:]"
        " for n in range(len(good)) for b in range(8)]\n"
        "bad += [good + b'x', pickle.dumps(1), b'']\n"
        "loaded = 0\n"
        "for data in bad:\n"
        "    try: ps.signed_loads(data, keyring=ring, context='c'); loaded += 1\n"
        "    except ps.SealError: pass\n"
        "try: ps.signed_loads(good, keyring=ring); loaded += 1\n"
        "except ps.ContextError: pass\n"
        "same = ps.signed_loads(good, keyring=ring, context='c') == list(range(9))\n"
        "print(loaded, len(seen), same)\n"
    )
    for flag in ("-O", "-OO"):
        done = subprocess.run(
            [sys.executable, flag, "-c", code, str(ring_directory)],
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.split() == ["0", "0", "True"]


def test_an_armed_object_of_the_key_holder_does_run(ring: Keyring, tmp_path: Path) -> None:
    """A seal says who made a file, not that it is harmless: this states the limit."""
    mark = tmp_path / "mark"
    signed_loads(signed_dumps(Mark(mark), keyring=ring), keyring=ring)
    assert mark.exists()


def test_another_model_is_as_safe(ring: Keyring) -> None:
    hashing = DecisionTreeClassifier(random_state=0).fit(*load_iris(return_X_y=True))
    data = signed_dumps(hashing, keyring=ring)
    chance = random.Random(7)
    with nothing_unpickled():
        for _ in range(2000):
            bit = chance.randrange(8 * len(data))
            forged = bytearray(data)
            forged[bit // 8] ^= 1 << bit % 8
            refused(bytes(forged), ring)


def test_unused_bytes_of_a_sealed_payload_are_refused(ring: Keyring) -> None:
    key = ring.sealing_key(context=None, now=0)
    plain = md.Metadata(content="pickle")
    stream = pickle.dumps([1], 5)
    refused(hand_sealed(key, plain, [stream + b"N."]), ring, MalformedError)
    refused(hand_sealed(key, plain, [stream, b"surplus"]), ring, MalformedError)
    missing = b"\x80\x05\x97."
    with pytest.raises(pickle.UnpicklingError):
        signed_loads(hand_sealed(key, plain, [missing]), keyring=ring)


def test_permissions_are_checked_before_a_key_is_read(tmp_path: Path) -> None:
    if not hasattr(os, "geteuid"):
        pytest.skip("this system has no modes")
    create_key(tmp_path / "ring", suite=Suite.BLAKE3, note="", now=0)
    (file,) = (tmp_path / "ring").glob("*.key")
    file.write_bytes(b"what no parser would take")
    file.chmod(0o644)
    with pytest.raises(KeyPermissionError):
        open_keyring(tmp_path / "ring")
