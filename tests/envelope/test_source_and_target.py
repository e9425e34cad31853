"""Reading and writing real files and memory, on systems with and without parallel I/O."""

import gc
import gzip
import io
import os
import pickle
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from arrays import LARGE, SMALL, both_ways, same

from pickleseal import (
    Keyring,
    MalformedError,
    SealError,
    Suite,
    signed_dump,
    signed_dumps,
    signed_load,
    signed_loads,
    verify,
)
from pickleseal.envelope import source, target
from pickleseal.envelope.target import write_envelope
from pickleseal.files import atomic, threads
from pickleseal.files.regular import RegularFile


@both_ways
@pytest.mark.parametrize("obj", [SMALL, LARGE, [LARGE, LARGE[:9], b"x" * (5 << 20)]])
def test_paths_and_files_hold_what_was_put_in(obj: Any, ring: Keyring, tmp_path: Path) -> None:
    path = tmp_path / "it"
    signed_dump(obj, path, keyring=ring)
    assert same(signed_load(path, keyring=ring), obj)
    for mode in ("wb", "w+b", "r+b"):
        with path.open(mode) as file:
            file.write(b"head")
            signed_dump(obj, file, keyring=ring)
            signed_dump(SMALL, file, keyring=ring)
            file.write(b"tail")
        with path.open("rb") as file:
            assert file.read(4) == b"head"
            loaded = signed_load(file, keyring=ring)
            assert signed_load(file, keyring=ring) == SMALL
            assert file.read() == b"tail"
        assert same(loaded, obj)


@both_ways
def test_an_unbuffered_file_is_as_good(ring: Keyring, tmp_path: Path) -> None:
    path = tmp_path / "it"
    with path.open("wb", buffering=0) as file:
        signed_dump(LARGE, file, keyring=ring)
        signed_dump(SMALL, file, keyring=ring)
    with path.open("rb", buffering=0) as file:
        assert same(signed_load(file, keyring=ring), LARGE)
        assert signed_load(file, keyring=ring) == SMALL


@both_ways
def test_a_file_in_append_mode_grows_at_its_end(ring: Keyring, tmp_path: Path) -> None:
    path = tmp_path / "it"
    for obj in (LARGE, SMALL):
        with path.open("ab") as file:
            signed_dump(obj, file, keyring=ring)
    with path.open("rb") as file:
        assert same(signed_load(file, keyring=ring), LARGE)
        assert signed_load(file, keyring=ring) == SMALL


def test_what_was_buffered_before_a_dump_stays_before_it(ring: Keyring, tmp_path: Path) -> None:
    path = tmp_path / "it"
    with path.open("w+b") as file:
        file.write(b"first")
        signed_dump(LARGE, file, keyring=ring)
        file.write(b"last")
    data = path.read_bytes()
    assert data.startswith(b"first\xa6PSEAL")
    assert data.endswith(b"last")


def test_a_refused_real_file_is_left_where_it_was(ring: Keyring, tmp_path: Path) -> None:
    path = tmp_path / "it"
    path.write_bytes(b"abc" + bytes(500_000))
    with path.open("rb") as file:
        file.read(3)
        with pytest.raises(SealError):
            signed_load(file, keyring=ring)
        assert file.tell() == 3


@pytest.mark.parametrize("obj", [SMALL, LARGE])
def test_a_pipe_carries_several_envelopes(obj: Any, ring: Keyring) -> None:
    reading, writing = os.pipe()
    loaded: list[Any] = []

    def read() -> None:
        with os.fdopen(reading, "rb") as file:
            loaded.extend(signed_load(file, keyring=ring) for _ in range(3))
            loaded.append(file.read())

    reader = threading.Thread(target=read)
    reader.start()
    with os.fdopen(writing, "wb") as file:
        for _ in range(3):
            signed_dump(obj, file, keyring=ring)
        file.write(b"end")
    reader.join()
    assert all(same(one, obj) for one in loaded[:3])
    assert loaded[3] == b"end"


def test_a_socket_file_carries_envelopes_both_ways(ring: Keyring) -> None:
    one, two = socket.socketpair()
    with one, two, one.makefile("rwb") as here, two.makefile("rwb") as there:
        for obj in (SMALL, list(range(1000))):
            signed_dump(obj, here, keyring=ring)
            here.flush()
            assert signed_load(there, keyring=ring) == obj


def test_an_unbuffered_pipe_takes_what_it_takes(ring: Keyring) -> None:
    reading, writing = os.pipe()
    loaded = []
    with open(reading, "rb", buffering=0) as end, open(writing, "wb", buffering=0) as start:
        reader = threading.Thread(target=lambda: loaded.append(signed_load(end, keyring=ring)))
        reader.start()
        signed_dump(LARGE, start, keyring=ring)
        reader.join()
    assert same(loaded[0], LARGE)


def test_a_pipe_that_does_not_wait_is_told_from_an_end(ring: Keyring) -> None:
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    os.set_blocking(writing, False)
    with open(reading, "rb", buffering=0) as end, open(writing, "wb", buffering=0) as start:
        with pytest.raises(BlockingIOError):
            signed_load(end, keyring=ring)
        with pytest.raises(BlockingIOError):
            signed_dump(LARGE, start, keyring=ring)


@pytest.mark.parametrize("obj", [SMALL, LARGE])
def test_fsspec_handles_that_cannot_seek_work(obj: Any, ring: Keyring, tmp_path: Path) -> None:
    for url in (
        "memory://pickleseal/it",
        f"file://{tmp_path}/it",
        f"simplecache::file://{tmp_path}/it",
    ):
        with fsspec.open(url, "wb") as file:
            signed_dump(obj, file, keyring=ring)
        with fsspec.open(url, "rb") as file:
            assert same(signed_load(file, keyring=ring), obj)


def test_compressed_files_work_and_are_not_taken_for_the_file_below(
    ring: Keyring, tmp_path: Path
) -> None:
    array = np.zeros(1 << 20)
    with gzip.open(tmp_path / "it.gz", "wb", compresslevel=1) as file:
        signed_dump(array, file, keyring=ring)
    with gzip.open(tmp_path / "it.gz", "rb") as file:
        assert same(signed_load(file, keyring=ring), array)


def test_temporary_files_work(ring: Keyring) -> None:
    with tempfile.TemporaryFile() as file:
        signed_dump(LARGE, file, keyring=ring)
        file.seek(0)
        assert same(signed_load(file, keyring=ring), LARGE)
    with tempfile.NamedTemporaryFile() as file:
        signed_dump(SMALL, file, keyring=ring)
        file.seek(0)
        assert signed_load(file, keyring=ring) == SMALL
    with tempfile.SpooledTemporaryFile() as file:
        signed_dump(SMALL, file, keyring=ring)
        file.seek(0)
        assert signed_load(file, keyring=ring) == SMALL


# --- memory ----------------------------------------------------------------------------------


@both_ways
@pytest.mark.parametrize("way", ["path", "file", "bytes", "stream"])
def test_each_buffer_has_writable_aligned_memory_of_its_own(
    way: str, ring: Keyring, tmp_path: Path
) -> None:
    arrays = [np.arange(n, dtype=np.uint8) for n in (65_536, 65_537, 100_000, 3 << 20)]
    path = tmp_path / "it"
    signed_dump(arrays, path, keyring=ring)
    data = path.read_bytes()
    if way == "path":
        loaded = signed_load(path, keyring=ring)
    elif way == "file":
        with path.open("rb") as file:
            loaded = signed_load(file, keyring=ring)
    elif way == "bytes":
        loaded = signed_loads(data, keyring=ring)
    else:
        loaded = signed_load(io.BytesIO(data), keyring=ring)
    for one, array in zip(loaded, arrays, strict=True):
        assert (one == array).all()
        assert one.ctypes.data % 64 == 0
        assert one.flags.writeable
        base = one
        while isinstance(base, np.ndarray):
            base = base.base
        with memoryview(base) as view:
            assert memoryview(view.obj).nbytes == array.nbytes
    assert len({one.ctypes.data for one in loaded}) == len(arrays)


def test_more_pieces_than_one_system_call_takes_are_read(ring: Keyring, tmp_path: Path) -> None:
    from pickleseal.envelope import metadata as md
    from pickleseal.envelope import seal

    count = 20_000
    stream = b"\x80\x05(" + b"\x97" * count + b"l."
    parts = [memoryview(stream)] + [memoryview(b"%d" % n) for n in range(count)]
    key = ring.sealing_key(context=None, now=0)
    head = seal.seal_head(key, md.Metadata(content="pickle"), [len(part) for part in parts])
    path = tmp_path / "it"
    write_envelope(path, head.data, parts, head.finish, key.suite, durable=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threads, "MIN_ITEMS", 1)
        write_envelope(tmp_path / "two", head.data, parts, head.finish, key.suite, durable=False)
    assert (tmp_path / "two").read_bytes() == path.read_bytes()
    loaded = signed_load(path, keyring=ring)
    assert [bytes(one) for one in loaded] == [b"%d" % n for n in range(count)]


def test_short_reads_and_writes_are_carried_on(
    ring: Keyring, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_read, real_write, plain_write, plain_read = os.preadv, os.pwritev, os.write, os.pread

    def first(pieces: Any, most: int) -> list[memoryview]:
        return [memoryview(pieces[0])[:most]]

    monkeypatch.setattr(os, "preadv", lambda fd, p, at: real_read(fd, first(p, 99_991), at))
    monkeypatch.setattr(os, "pwritev", lambda fd, p, at: real_write(fd, first(p, 99_991), at))
    monkeypatch.setattr(os, "write", lambda fd, data: plain_write(fd, memoryview(data)[:4_999]))
    monkeypatch.setattr(os, "pread", lambda fd, size, at: plain_read(fd, min(size, 4_999), at))
    for obj in (LARGE, SMALL, np.arange(200_000)):
        signed_dump(obj, tmp_path / "it", keyring=ring)
        assert same(signed_load(tmp_path / "it", keyring=ring), obj)


def test_a_file_that_shrinks_while_it_is_read_is_cut_off(
    ring: Keyring, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "it"
    signed_dump(LARGE, path, keyring=ring)
    real = os.preadv

    def shrink(descriptor: int, pieces: Any, offset: int) -> int:
        os.truncate(path, 3 << 20)
        return real(descriptor, pieces, offset)

    monkeypatch.setattr(os, "preadv", shrink)
    with pytest.raises(MalformedError):
        signed_load(path, keyring=ring)


def test_an_error_in_one_thread_ends_them_all(
    ring: Keyring, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "it"
    signed_dump(LARGE, path, keyring=ring)
    before = threading.active_count()
    for error in (OSError(5, "Input/output error"), KeyboardInterrupt()):

        def fail(descriptor: int, pieces: Any, offset: int, error: BaseException = error) -> int:
            raise error

        with monkeypatch.context() as patch:
            patch.setattr(os, "preadv", fail)
            patch.setattr(os, "pwritev", fail)
            with pytest.raises(type(error)):
                signed_load(path, keyring=ring)
            with pytest.raises(type(error)):
                signed_dump(LARGE, tmp_path / "new", keyring=ring)
    assert threading.active_count() == before
    assert list(tmp_path.iterdir()) == [path]


def test_where_no_thread_can_be_started_the_caller_does_the_work(
    ring: Keyring, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    signed_dump(LARGE, tmp_path / "it", keyring=ring)
    assert same(signed_load(tmp_path / "it", keyring=ring), LARGE)


def test_the_same_bytes_come_out_whichever_way_they_are_written(
    ring: Keyring, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1")
    data = signed_dumps(LARGE, keyring=ring)

    def ways() -> Iterator[bytes]:
        for parallel in (True, False):
            monkeypatch.setattr(target, "_PARALLEL", parallel)
            signed_dump(LARGE, tmp_path / "it", keyring=ring, durable=parallel)
            yield (tmp_path / "it").read_bytes()
            memory = io.BytesIO()
            signed_dump(LARGE, memory, keyring=ring)
            yield memory.getvalue()

    for written in ways():
        assert written == data


def test_a_file_over_four_gibibytes_is_read_by_its_true_size(ring: Keyring, tmp_path: Path) -> None:
    """A sparse file of the size that a sealed header names: refused by its body, not its size."""
    from pickleseal.envelope import metadata as md
    from pickleseal.envelope import seal

    head = seal.seal_head(
        ring.sealing_key(context=None, now=0), md.Metadata(content="pickle"), [5 << 30]
    )
    path = tmp_path / "it"
    path.write_bytes(head.data)
    os.truncate(path, head.head.fixed.total_size + 1)
    with pytest.raises(MalformedError):
        verify(path, keyring=ring)


@both_ways
def test_a_body_is_hashed_without_being_kept_as_it_is_when_read(tmp_path: Path) -> None:
    """The leaves are the same, and a padding that is not zero is seen wherever it lies."""
    lengths = [1, 0, 64, (1 << 20) - 70, 3, (4 << 20) + 5, 100, (8 << 20) + 1]
    pieces = [os.urandom(length) + bytes(-length % 64) for length in lengths]
    whole = b"head" + b"".join(pieces)
    paddings = []
    offset = len(b"head")
    for length, piece in zip(lengths, pieces, strict=True):
        paddings += [offset + length, offset + len(piece) - 1] if length % 64 else []
        offset += len(piece)
    path = tmp_path / "it"
    for dirty in (None, *paddings):
        data = bytearray(whole)
        if dirty is not None:
            data[dirty] = 7
        path.write_bytes(data)
        with RegularFile(str(path), follow=False) as file:
            sources = [
                source.envelope_at(file, 0),
                source.MemorySource(bytes(data)),
                source.StreamSource(io.BytesIO(data)),
            ]
            for one in sources:
                one.pull(4)
                found = one.digests(Suite.BLAKE3, lengths)
                assert found.padded is (dirty is None)
                if dirty is None:
                    kept = source.MemorySource(whole)
                    kept.pull(4)
                    assert found.leaves == kept.body(Suite.BLAKE3, lengths).leaves


@both_ways
def test_a_file_that_is_looked_at_is_read_at_any_offset(tmp_path: Path) -> None:
    data = os.urandom(300_000)
    path = tmp_path / "it"
    path.write_bytes(data)
    with RegularFile(str(path), follow=False) as file:
        assert file.size == len(data)
        for offset, size in ((0, 10), (65_000, 2000), (200_000, 99), (299_990, 100), (400_000, 5)):
            assert file.read(offset, size) == data[offset : offset + size]


@both_ways
@pytest.mark.parametrize("way", ["path", "bytes"])
def test_a_buffer_changed_during_a_dump_still_makes_a_file_that_loads(
    way: str, ring: Keyring, tmp_path: Path
) -> None:
    array = np.zeros(16 << 20, np.uint8)
    over = threading.Event()

    def change() -> None:
        while not over.is_set():
            np.invert(array, out=array)

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(4):
            if way == "path":
                signed_dump(array, tmp_path / "it", keyring=ring, durable=False)
                loaded = signed_load(tmp_path / "it", keyring=ring)
            else:
                loaded = signed_loads(signed_dumps(array, keyring=ring), keyring=ring)
            assert loaded.shape == array.shape
    finally:
        over.set()
        thread.join()


@pytest.mark.parametrize("numpy", ["None", "types.ModuleType('numpy')", "mock.MagicMock()"])
def test_a_numpy_that_is_barred_or_not_all_there_does_not_matter(
    numpy: str, ring_directory: Path, tmp_path: Path
) -> None:
    signed_dump([pickle.PickleBuffer(bytearray(100_000))], tmp_path / "it", keyring=ring_directory)
    code = (
        "import sys, types, pickleseal\n"
        "from unittest import mock\n"
        f"sys.modules['numpy'] = {numpy}\n"
        f"ring, path = {str(ring_directory)!r}, {str(tmp_path / 'it')!r}\n"
        "(loaded,) = pickleseal.signed_load(path, keyring=ring)\n"
        "assert loaded == bytes(100_000)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_no_leftover_of_the_heap_lies_beside_what_is_loaded(ring: Keyring) -> None:
    data = signed_dumps(np.ones(100_000), keyring=ring)
    for _ in range(20):
        left = np.full(100_008, -1)  # as much as the array with what is beside it
        del left
        owner: Any = signed_loads(data, keyring=ring)
        while True:
            below = getattr(owner, "base", getattr(owner, "obj", None))
            if below is None:
                break
            owner = below
        beside = bytes(memoryview(owner).cast("B")).replace(np.float64(1).tobytes(), b"")
        assert not any(beside)


def test_an_error_while_hashing_leaves_no_broken_object_for_the_collector(
    ring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> bytes:
        raise MemoryError("as if there were none")

    monkeypatch.setattr("pickleseal.envelope.hashing.leaf_digest", broken)
    for _ in range(20):
        try:
            signed_dumps(np.zeros(3 << 17), keyring=ring)
        except MemoryError as error:
            error.itself = error  # type: ignore[attr-defined]
    gc.collect()


def test_a_path_leads_where_the_system_says_also_behind_a_link_to_a_folder(
    ring: Keyring, tmp_path: Path
) -> None:
    (tmp_path / "far/deep").mkdir(parents=True)
    (tmp_path / "link").symlink_to("far/deep")
    signed_dump(1, f"{tmp_path}/link/../it", keyring=ring)
    atomic.write_whole(f"{tmp_path}/link/../new", b"x", exclusive=True)
    assert signed_load(tmp_path / "far/it", keyring=ring) == 1
    assert (tmp_path / "far/new").read_bytes() == b"x"
    assert not (tmp_path / "it").exists()
