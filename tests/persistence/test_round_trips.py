"""What goes in comes out: any file, buffer and size, under signals, forks and threads."""

import array
import gc
import gzip
import http.server
import io
import itertools
import lzma
import mmap
import os
import pickle
import random
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, cast

import fsspec
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from pickleseal import (
    Keyring,
    inspect,
    signed_dump,
    signed_dumps,
    signed_load,
    signed_loads,
)
from pickleseal.envelope import reader, seal
from pickleseal.envelope.hashing import LEAF_SIZE
from pickleseal.envelope.metadata import Metadata
from pickleseal.envelope.source import memory_source
from pickleseal.envelope.target import join_envelope
from pickleseal.files import threads
from pickleseal.pickling.load import OUT_OF_BAND_SIZE as LIMIT

BEFORE, AFTER = b"what stands before", b"what comes after"

posix = pytest.mark.skipif(os.name != "posix", reason="POSIX alone has it")


@pytest.fixture(params=["BLAKE3", "SHA256"])
def either_ring(request: pytest.FixtureRequest, ring: Keyring, sha_ring: Keyring) -> Keyring:
    return ring if request.param == "BLAKE3" else sha_ring


def payload_of(data: bytes, ring: Keyring) -> seal.Verified:
    return reader.read(memory_source(data), lambda: ring, check=lambda _: None)


def hand_sealed(ring: Keyring, *segments: bytes) -> bytes:
    """Give an envelope around segments that no dump would cut like this."""
    key = ring.sealing_key(context=None, now=0)
    views = [memoryview(segment) for segment in segments]
    head = seal.seal_head(key, Metadata(content="pickle"), [len(view) for view in views])
    return join_envelope(head.data, views, head.finish, key.suite)


def numbers(size: int) -> Any:
    """Give an array of so many bytes that any shift or swap of parts would change."""
    words = np.arange(size // 4 + 1, dtype=np.uint32)
    return (words * np.uint32(2_654_435_761)).view(np.uint8)[:size].copy()


def read_only(array: Any) -> Any:
    array.flags.writeable = False
    return array


def mixture() -> dict[str, Any]:
    """Give arrays of each kind that a file must carry: within the stream, and beside it."""
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
    """Give the object whose memory an array uses, through all views of it."""
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


# --- every kind of file to load from ---------------------------------------------------------

Opened = AbstractContextManager[Any]


class Through:
    """A raw stream that gives and takes as little as it likes."""

    def __init__(self, file: Any, seed: int = 0) -> None:
        self.file = file
        self.random = random.Random(seed)

    def some(self, most: int) -> int:
        return min(most, self.random.choice([1, 2, 63, 4097, 100_003, most]))


class ShortReads(Through, io.RawIOBase):
    def readable(self) -> bool:
        return True

    def readinto(self, target: Any) -> int:
        view = memoryview(target)
        return cast("int", self.file.readinto(view[: self.some(len(view))]))


class OnlyRead(Through):
    def read(self, size: int) -> bytes:
        return cast("bytes", self.file.read(self.some(size)))


class OnlyReadinto(Through):
    def readinto(self, target: Any) -> int:
        return cast("int", self.file.readinto(target))


def in_file(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def as_is(data: bytes, folder: Path) -> Opened:
    return in_file(folder / "it", data).open("rb")


def unbuffered(data: bytes, folder: Path) -> Opened:
    return in_file(folder / "it", data).open("rb", buffering=0)


def to_read_and_write(data: bytes, folder: Path) -> Opened:
    return in_file(folder / "it", data).open("r+b")


def small_buffer(data: bytes, folder: Path) -> Opened:
    return in_file(folder / "it", data).open("rb", buffering=16)


@contextmanager
def mapped(data: bytes, folder: Path) -> Iterator[Any]:
    with (
        in_file(folder / "it", data).open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as memory,
    ):
        yield memory


@contextmanager
def fed(data: bytes, writing: Any) -> Iterator[None]:
    """Write data to one end from a thread, and leave the end open: nobody may wait for it."""
    feeder = threading.Thread(target=lambda: (writing.write(data), writing.flush()))
    feeder.start()
    try:
        yield
    finally:
        feeder.join()


@contextmanager
def pipe(data: bytes, folder: Path, buffering: int = -1) -> Iterator[Any]:
    reading, writing = os.pipe()
    with (
        open(reading, "rb", buffering=buffering) as file,
        open(writing, "wb") as end,
        fed(data, end),
    ):
        yield file


@contextmanager
def connection(data: bytes, folder: Path, buffering: int | None = None) -> Iterator[Any]:
    one, two = socket.socketpair()
    with (
        one,
        two,
        one.makefile("wb") as end,
        two.makefile("rb", buffering=buffering) as file,
        fed(data, end),
    ):
        yield file


@contextmanager
def another_process(data: bytes, folder: Path) -> Iterator[Any]:
    path = in_file(folder / "it", data)
    code = "import sys; sys.stdout.buffer.write(open(sys.argv[1], 'rb').read())"
    command = [sys.executable, "-c", code, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        yield process.stdout


@contextmanager
def web_server(data: bytes, folder: Path) -> Iterator[Any]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *arguments: Any) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"http://127.0.0.1:{server.server_port}/", timeout=60) as file:
            yield file
        thread.join()


def gzipped(data: bytes, folder: Path) -> Opened:
    return gzip.open(in_file(folder / "it", gzip.compress(data, 1)), "rb")


def xzipped(data: bytes, folder: Path) -> Opened:
    return lzma.open(in_file(folder / "it", lzma.compress(data, preset=0)), "rb")


@contextmanager
def zip_member(data: bytes, folder: Path) -> Iterator[Any]:
    with zipfile.ZipFile(folder / "it.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
        file.writestr("it", data)
    with zipfile.ZipFile(folder / "it.zip") as file, file.open("it") as member:
        yield member


@contextmanager
def tar_member(data: bytes, folder: Path) -> Iterator[Any]:
    with tarfile.open(folder / "it.tar", "w") as file:
        file.add(in_file(folder / "other", bytes(777)), "other")
        file.add(in_file(folder / "it", data), "it")
    with tarfile.open(folder / "it.tar") as file, cast("Any", file.extractfile("it")) as member:
        yield member


def named(data: bytes, folder: Path) -> Opened:
    file = tempfile.NamedTemporaryFile(dir=folder)  # noqa: SIM115 - the caller closes it
    file.write(data)
    file.seek(0)
    return cast("Opened", file)


def spooled(data: bytes, folder: Path, max_size: int = 0) -> Opened:
    file = tempfile.SpooledTemporaryFile(max_size, dir=str(folder))  # noqa: SIM115 - the same
    file.write(data)
    file.seek(0)
    return file


@contextmanager
def filesystem(data: bytes, folder: Path) -> Iterator[Any]:
    with fsspec.open("memory://round-trips/it", "wb") as file:
        file.write(data)
    with fsspec.open("memory://round-trips/it", "rb") as file:
        yield file


@contextmanager
def wrapped(data: bytes, kind: type[Through]) -> Iterator[Any]:
    yield kind(io.BytesIO(data))


SOURCES: dict[str, Callable[[bytes, Path], Opened]] = {
    "a file": as_is,
    "an unbuffered file": unbuffered,
    "a file to read and write": to_read_and_write,
    "a file of a small buffer": small_buffer,
    "a file in memory": lambda data, _: io.BytesIO(data),
    "a mapped file": mapped,
    "a pipe": pipe,
    "an unbuffered pipe": lambda data, folder: pipe(data, folder, 0),
    "a connection": connection,
    "an unbuffered connection": lambda data, folder: connection(data, folder, 0),
    "another process": another_process,
    "a web server": web_server,
    "a gzip file": gzipped,
    "an xz file": xzipped,
    "a member of a zip file": zip_member,
    "a member of a tar file": tar_member,
    "a named temporary file": named,
    "a spooled file in memory": lambda data, folder: spooled(data, folder, 1 << 30),
    "a spooled file on disk": lambda data, folder: spooled(data, folder, 1),
    "a filesystem of fsspec": filesystem,
    "short reads": lambda data, _: wrapped(data, ShortReads),
    "short reads, buffered": lambda data, _: io.BufferedReader(ShortReads(io.BytesIO(data))),
    "read alone": lambda data, _: wrapped(data, OnlyRead),
    "readinto alone": lambda data, _: wrapped(data, OnlyReadinto),
}


def rest_of(file: Any) -> bytes:
    """Read as many bytes as stand behind the envelope, in whatever way a file can."""
    rest = bytearray()
    while len(rest) < len(AFTER):
        if hasattr(file, "read"):
            chunk = file.read(len(AFTER) - len(rest))
        else:
            chunk = bytearray(len(AFTER) - len(rest))
            chunk = chunk[: file.readinto(chunk)]
        assert chunk
        rest += chunk
    return bytes(rest)


@pytest.fixture(scope="module")
def sealed_mixture(ring: Keyring) -> bytes:
    return signed_dumps(mixture(), keyring=ring)


@posix
@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES.keys())
def test_whatever_a_load_reads_from_the_arrays_are_whole_writable_aligned_and_alone(
    source: Callable[[bytes, Path], Opened], sealed_mixture: bytes, ring: Keyring, tmp_path: Path
) -> None:
    with source(sealed_mixture + sealed_mixture + AFTER, tmp_path) as file:
        check_mixture(signed_load(file, keyring=ring))
        check_mixture(signed_load(file, keyring=ring))
        assert rest_of(file) == AFTER


BYTES: dict[str, Callable[[bytes], Any]] = {
    "bytes": lambda data: data,
    "a bytearray": bytearray,
    "a view": memoryview,
    "a view of part of a bytearray": lambda data: memoryview(bytearray(b"x" + data + b"x"))[1:-1],
    "a view in reverse": lambda data: memoryview(data[::-1])[::-1],
    "an array": lambda data: np.frombuffer(data, np.uint8),
    "an array of array": lambda data: array.array("B", data),
    "a read-only array of words": lambda data: np.frombuffer(data, np.uint32).reshape(2, -1),
}


@pytest.mark.parametrize("make", BYTES.values(), ids=BYTES.keys())
def test_whatever_bytes_a_load_is_given_the_arrays_are_whole_writable_aligned_and_alone(
    make: Callable[[bytes], Any], sealed_mixture: bytes, ring: Keyring
) -> None:
    check_mixture(signed_loads(make(sealed_mixture), keyring=ring))


@pytest.mark.parametrize("make", [str, Path])
def test_from_a_path_the_arrays_are_whole_writable_aligned_and_alone(
    make: Callable[[Path], Any], sealed_mixture: bytes, ring: Keyring, tmp_path: Path
) -> None:
    check_mixture(signed_load(make(in_file(tmp_path / "it", sealed_mixture)), keyring=ring))


# --- every kind of file to dump to -----------------------------------------------------------

Dump = Callable[[Any], None]


class ShortWrites(Through, io.RawIOBase):
    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        view = memoryview(data)
        return cast("int", self.file.write(view[: self.some(len(view))]))


class OnlyWrite:
    """A writer of which nothing but `write` is known, and whose answer means nothing."""

    def __init__(self) -> None:
        self.data = bytearray()

    def write(self, data: bytes) -> Any:
        self.data += data
        return random.Random(len(self.data)).choice([None, 0, 3, "bytes", data, [], -1])


def to_file(mode: str, buffering: int = -1) -> Callable[[Dump, Path], bytes]:
    def run(dump: Dump, folder: Path) -> bytes:
        path = in_file(folder / "it", b"")
        with path.open(mode, buffering=buffering) as file:
            file.write(BEFORE)
            dump(file)
            file.write(AFTER)
        return path.read_bytes()

    return run


def into_the_middle(dump: Dump, folder: Path) -> bytes:
    path = in_file(folder / "it", BEFORE + bytes(8 << 20))
    with path.open("r+b") as file:
        assert file.read(len(BEFORE)) == BEFORE  # and much more is read ahead
        dump(file)
        end = file.tell()
        file.write(AFTER)
        file.seek(0)
        seen = file.read(end + len(AFTER))  # nothing of what had been read ahead
        assert file.read() == bytes(8 << 20)[end + len(AFTER) - len(BEFORE) :]
    assert path.read_bytes()[: len(seen)] == seen
    return seen


def to_memory(dump: Dump, folder: Path) -> bytes:
    file = io.BytesIO(b"x" * 1000)
    file.write(BEFORE)
    dump(file)
    file.write(AFTER)
    return file.getvalue()


@contextmanager
def collected(reading: Any, into: bytearray) -> Iterator[None]:
    def collect() -> None:
        while chunk := reading.read(50_000):
            into.extend(chunk)

    collector = threading.Thread(target=collect)
    collector.start()
    yield
    collector.join()


def to_pipe(buffering: int) -> Callable[[Dump, Path], bytes]:
    def run(dump: Dump, folder: Path) -> bytes:
        reading, writing = os.pipe()
        got = bytearray()
        with (
            open(reading, "rb") as start,
            collected(start, got),
            open(writing, "wb", buffering=buffering) as file,
        ):
            file.write(BEFORE)
            dump(file)
            file.write(AFTER)
        return bytes(got)

    return run


def to_connection(buffering: int | None) -> Callable[[Dump, Path], bytes]:
    def run(dump: Dump, folder: Path) -> bytes:
        one, two = socket.socketpair()
        got = bytearray()
        with (
            two,
            two.makefile("rb") as start,
            collected(start, got),
            one,
            one.makefile("wb", buffering=buffering) as file,
        ):
            file.write(BEFORE)
            dump(file)
            file.write(AFTER)
        return bytes(got)

    return run


def to_opened(opened: Callable[[Any, str], Opened]) -> Callable[[Dump, Path], bytes]:
    def run(dump: Dump, folder: Path) -> bytes:
        with opened(folder / "it", "wb") as file:
            file.write(BEFORE)
            dump(file)
            file.write(AFTER)
        with opened(folder / "it", "rb") as file:
            return cast("bytes", file.read())

    return run


def to_zip_member(dump: Dump, folder: Path) -> bytes:
    with zipfile.ZipFile(folder / "it.zip", "w") as file, file.open("it", "w") as member:
        member.write(BEFORE)
        dump(member)
        member.write(AFTER)
    with zipfile.ZipFile(folder / "it.zip") as file:
        return file.read("it")


def to_temporary(make: Callable[[], Any]) -> Callable[[Dump, Path], bytes]:
    def run(dump: Dump, folder: Path) -> bytes:
        with make() as file:
            file.write(BEFORE)
            dump(file)
            file.write(AFTER)
            file.seek(0)
            return cast("bytes", file.read())

    return run


def to_short_writes(dump: Dump, folder: Path) -> bytes:
    memory = io.BytesIO(BEFORE)
    memory.seek(0, io.SEEK_END)
    dump(ShortWrites(memory))
    memory.write(AFTER)
    return memory.getvalue()


def to_short_writes_buffered(dump: Dump, folder: Path) -> bytes:
    memory = io.BytesIO()
    with io.BufferedWriter(ShortWrites(memory)) as file:
        file.write(BEFORE)
        dump(file)
        file.write(AFTER)
        file.flush()
        return memory.getvalue()


def to_only_write(dump: Dump, folder: Path) -> bytes:
    writer = OnlyWrite()
    writer.data += BEFORE
    dump(writer)
    return bytes(writer.data + AFTER)


def through_filesystem(path: Path, mode: str) -> Any:
    return fsspec.open(f"memory://round-trips/{path.name}", mode)


TARGETS: dict[str, Callable[[Dump, Path], bytes]] = {
    "a file": to_file("wb"),
    "a file to read too": to_file("w+b"),
    "an unbuffered file": to_file("wb", 0),
    "a file of a small buffer": to_file("wb", 16),
    "a file in append mode": to_file("ab"),
    "a file to append to and read": to_file("a+b"),
    "an unbuffered file in append mode": to_file("ab", 0),
    "a new file": to_file("r+b"),
    "the middle of a file": into_the_middle,
    "a file in memory": lambda dump, folder: to_memory(dump, folder).rstrip(b"x"),
    "a pipe": to_pipe(-1),
    "an unbuffered pipe": to_pipe(0),
    "a connection": to_connection(None),
    "an unbuffered connection": to_connection(0),
    "a gzip file": to_opened(partial(gzip.open, compresslevel=1)),
    "an xz file": to_opened(partial(lzma.open)),
    "a member of a zip file": to_zip_member,
    "a temporary file": to_temporary(tempfile.TemporaryFile),
    "a named temporary file": to_temporary(tempfile.NamedTemporaryFile),
    "an unbuffered temporary file": to_temporary(partial(tempfile.NamedTemporaryFile, buffering=0)),
    "a spooled file in memory": to_temporary(partial(tempfile.SpooledTemporaryFile, 1 << 30)),
    "a spooled file that moves to disk": to_temporary(partial(tempfile.SpooledTemporaryFile, 9999)),
    "a filesystem of fsspec": to_opened(through_filesystem),
    "short writes": to_short_writes,
    "short writes, buffered": to_short_writes_buffered,
    "write alone": to_only_write,
}


@posix
@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS.keys())
def test_whatever_a_dump_writes_to_the_bytes_are_the_same_and_nothing_around_them_changes(
    target: Callable[[Dump, Path], bytes],
    ring: Keyring,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1")
    obj = mixture()
    written = target(lambda file: signed_dump(obj, file, keyring=ring), tmp_path)
    assert written == BEFORE + signed_dumps(obj, keyring=ring) + AFTER


# --- sizes at the edges ----------------------------------------------------------------------


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


def test_a_hundred_thousand_tiny_arrays_stay_in_the_stream_and_come_back(
    ring: Keyring, tmp_path: Path
) -> None:
    arrays = [np.array([number, -number]) for number in range(100_000)]
    signed_dump(arrays, tmp_path / "it", keyring=ring)
    data = (tmp_path / "it").read_bytes()
    assert payload_of(data, ring).head.fixed.segments == 1
    loaded = signed_load(tmp_path / "it", keyring=ring)
    np.testing.assert_array_equal(np.concatenate(loaded), np.concatenate(arrays))
    loaded[500][:] = 7
    assert loaded[499].tolist() == [499, -499]
    assert all(one.flags.writeable for one in loaded)


def test_an_envelope_far_behind_the_fourth_gibibyte_of_a_file_is_written_and_read_there(
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
    """Give an array of more than 4 GiB, of zeros but for marks around its edges."""
    giant = np.zeros(OVER, np.uint8)
    places = [0, 1, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 32, (1 << 32) + 1, OVER - 1]
    giant[places] = np.arange(1, len(places) + 1)
    return giant, places


@pytest.mark.sweep
@pytest.mark.parametrize("way", ["path", "file", "stream"])
def test_an_array_over_four_gibibytes_comes_back(
    way: str, either_ring: Keyring, tmp_path: Path
) -> None:
    needs_memory(6)
    giant, places = marked_giant()
    path = tmp_path / "it"
    try:
        if way == "path":
            signed_dump(giant, path, keyring=either_ring, durable=False)
            loaded = signed_load(path, keyring=either_ring)
        elif way == "file":
            with path.open("w+b") as file:
                file.write(BEFORE)
                signed_dump(giant, file, keyring=either_ring)
                file.write(AFTER)
                file.seek(len(BEFORE))
                loaded = signed_load(file, keyring=either_ring)
                assert file.read() == AFTER
        else:
            with path.open("w+b", buffering=0) as raw:
                signed_dump(giant, cast("Any", ShortWrites(raw)), keyring=either_ring)
                raw.seek(0)
                loaded = signed_load(cast("Any", OnlyReadinto(raw)), keyring=either_ring)
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


# --- every kind of array ---------------------------------------------------------------------


def mapped_array(mode: Any) -> Any:
    with tempfile.NamedTemporaryFile() as file:  # the mapping outlives it
        file.write(numbers(3 * LIMIT))
        file.flush()
        return np.memmap(file.name, np.uint16, mode)


RECORD = np.dtype(
    {
        "names": ["a", "b", "c"],
        "formats": [">f8", ("<i2", (2, 3)), "S5"],
        "offsets": [3, 20, 40],
        "itemsize": 64,
        "titles": ["first", None, None],
    }
)

LITTLE = sys.byteorder == "little"
NOW = np.datetime64("2026-01-01T00:00:00.000000001")
NUMBERS: Any = np.arange(100_000.0)

ARRAYS: dict[str, Callable[[], Any]] = {
    "of half floats": lambda: np.linspace(-60_000, 60_000, LIMIT, dtype=np.float16),
    "of long doubles": lambda: np.arange(10_000, dtype=np.longdouble) / 3,
    "of long complex numbers": lambda: np.arange(10_000).astype(np.clongdouble) * 1j,
    "of the other byte order": lambda: np.arange(20_000).astype(">f8" if LITTLE else "<f8"),
    "of dates and none": lambda: np.where(np.arange(9000) % 2, np.datetime64("NaT", "ns"), NOW),
    "of durations": lambda: np.arange(20_000).astype("timedelta64[7D]"),
    "of bytes": lambda: np.array([b"one", b"seventeen"] * 10_000),
    "of raw bytes": lambda: numbers(100 * 997).view("V997"),
    "of records with gaps": lambda: np.zeros(5000, RECORD),
    "of records of records": lambda: np.ones(5000, [("a", [("b", "f4"), ("c", ">u2")], (2,))]),
    "of aligned records": lambda: np.ones(9000, np.dtype("i1, f8, i2", align=True)),
    "of records with objects": lambda: np.array([(1, "a"), (2, None)] * 4000, "i4, O"),
    "of one large record": lambda: np.zeros((), f"V{LIMIT + 1}"),
    "of no dimension": lambda: np.array(2.5, np.float32),
    "of no length and many dimensions": lambda: np.zeros((3, 0, 1 << 40), ">i2"),
    "of three dimensions in columns": lambda: np.asfortranarray(NUMBERS.reshape(50, 40, 50)),
    "of axes swapped": lambda: NUMBERS.reshape(50, 40, 50).transpose(1, 0, 2),
    "of every third column": lambda: NUMBERS.reshape(100, 1000)[:, ::3],
    "of one row, many times": lambda: np.broadcast_to(NUMBERS[:3000], (40, 3000)),
    "of windows": lambda: np.lib.stride_tricks.sliding_window_view(NUMBERS[:3000], 50),
    "of columns, read-only": lambda: read_only(np.asfortranarray(NUMBERS.reshape(100, 1000))),
    "of steps, read-only": lambda: read_only(NUMBERS[::-2]),
    "of a part of a read-only one": lambda: read_only(NUMBERS.copy())[7:90_000],
    "of one row and one column": lambda: NUMBERS.reshape(1, -1, 1),
    "mapped to read": lambda: mapped_array("r"),
    "mapped to write": lambda: mapped_array("r+"),
    "mapped to copy": lambda: mapped_array("c"),
    "masked": lambda: np.ma.masked_greater(NUMBERS, 50_000),
    "masked, of records": lambda: np.ma.zeros(3000, [("a", "f8"), ("b", "f8")]),
    "that is a matrix": lambda: np.ones((300, 300)).view(np.matrix),
    "that is of records by name": lambda: np.rec.fromarrays([NUMBERS, NUMBERS], "f8, i4"),
    "of texts of the other byte order": lambda: np.array(["ä", "\N{SNOWMAN}x"] * 9000, ">U3"),
    "of texts of any length": lambda: np.array(["a", "ü" * 50] * 2000, np.dtypes.StringDType()),
}


def alike(one: Any, other: Any) -> None:
    """Hold an array against another: not its values alone, but all that can be told of it."""
    assert type(one) is type(other)
    assert one.dtype == other.dtype
    assert repr(one.dtype) == repr(other.dtype)
    assert one.shape == other.shape
    assert one.strides == other.strides
    for flag in ("c_contiguous", "f_contiguous", "writeable", "aligned"):
        assert getattr(one.flags, flag) == getattr(other.flags, flag), flag
    if one.dtype.hasobject or one.dtype.char == "T":
        assert one.tolist() == other.tolist()
    else:
        assert np.asarray(one).tobytes("A") == np.asarray(other).tobytes("A")


@pytest.mark.parametrize("make", ARRAYS.values(), ids=ARRAYS.keys())
def test_an_array_comes_back_as_pickle_gives_it_back(
    make: Callable[[], Any], ring: Keyring, tmp_path: Path
) -> None:
    original = make()
    expected = pickle.loads(pickle.dumps(original, 5))
    for loaded in each_way(signed_dumps(original, keyring=ring), ring, tmp_path):
        alike(loaded, expected)
        if isinstance(original, np.ma.MaskedArray):
            alike(loaded.mask, expected.mask)
            assert loaded.fill_value == expected.fill_value


def test_an_array_of_arrays_comes_back_with_each_in_memory_of_its_own(
    ring: Keyring, tmp_path: Path
) -> None:
    original = np.empty((2, 3), dtype=object)
    for number, place in enumerate(np.ndindex(2, 3)):
        original[place] = numbers(LIMIT + number)
    original[0, 1] = original[1, 2]
    data = signed_dumps(original, keyring=ring)
    assert payload_of(data, ring).head.fixed.segments == 6
    for loaded in each_way(data, ring, tmp_path):
        assert loaded[0, 1] is loaded[1, 2]
        for place in np.ndindex(2, 3):
            np.testing.assert_array_equal(loaded[place], original[place])
            assert memoryview(owner(loaded[place])).nbytes == original[place].nbytes


@pytest.mark.filterwarnings("ignore::scipy.sparse.SparseEfficiencyWarning")
@pytest.mark.parametrize("kind", ["csr", "csc", "coo", "bsr", "dia", "lil", "dok"])
@pytest.mark.parametrize("cls", ["array", "matrix"])
def test_a_sparse_matrix_comes_back_with_all_its_parts(
    cls: str, kind: str, ring: Keyring, tmp_path: Path
) -> None:
    dense = np.where(np.arange(40_000) % 4, 0, np.arange(40_000)).reshape(200, 200)
    original = getattr(sparse, f"{kind}_{cls}")(dense)
    for loaded in each_way(signed_dumps(original, keyring=ring), ring, tmp_path):
        assert type(loaded) is type(original)
        assert loaded.dtype == original.dtype
        np.testing.assert_array_equal(loaded.toarray(), dense)
        for part in ("data", "indices", "indptr", "row", "col", "offsets"):
            if isinstance(getattr(original, part, None), np.ndarray):
                alike(getattr(loaded, part), getattr(original, part))


FRAMES: dict[str, Callable[[], Any]] = {
    "int64[pyarrow]": lambda: [1, None, 3] * 9000,
    "double[pyarrow]": lambda: [1.5, None, 3.0] * 9000,
    "bool[pyarrow]": lambda: [True, None, False] * 200_000,
    "string[pyarrow]": lambda: ["x", None, "\N{SNOWMAN}"] * 9000,
    "large_string[pyarrow]": lambda: ["x", None, "\N{SNOWMAN}"] * 9000,
    "timestamp[ns][pyarrow]": lambda: [pd.Timestamp(0), None] * 9000,
    "str": lambda: ["x", None, "\N{SNOWMAN}"] * 9000,
    "Float32": lambda: [1.5, None, 3.0] * 9000,
    "boolean": lambda: [True, None, False] * 30_000,
    "datetime64[ns, UTC]": lambda: [pd.Timestamp(0, tz="UTC"), None] * 9000,
    "Sparse[int]": lambda: [0, 0, 5] * 9000,
    "interval": lambda: pd.interval_range(0, 9000),
    "period[D]": lambda: pd.period_range("2026", periods=9000),
}


@pytest.mark.parametrize("dtype", FRAMES)
def test_a_data_frame_comes_back_whatever_its_columns_are_made_of(
    dtype: str, ring: Keyring, tmp_path: Path
) -> None:
    if "pyarrow" in dtype:
        pytest.importorskip("pyarrow")
    column = pd.Series(FRAMES[dtype](), dtype=dtype)
    frame = pd.DataFrame({"a": column, "b": column[::-1].reset_index(drop=True), "c": 1.5})
    for loaded in each_way(signed_dumps(frame, keyring=ring), ring, tmp_path):
        pd.testing.assert_frame_equal(loaded, frame)
        assert loaded.dtypes.tolist() == frame.dtypes.tolist()
        if dtype != "Sparse[int]":
            loaded.loc[0, "a"] = loaded.loc[2, "a"]  # still to be written to
        loaded.loc[0, "c"] = 2.5
        assert loaded.loc[0, "c"] == 2.5
        assert loaded.loc[1, "c"] == 1.5


def test_buffers_and_tables_of_arrow_come_back(ring: Keyring, tmp_path: Path) -> None:
    pa: Any = pytest.importorskip("pyarrow")
    values = pa.array([1, None, 3] * 50_000)
    texts = pa.array(["x" * 7, None, "\N{SNOWMAN}"] * 50_000)
    table = pa.table({"a": values, "b": texts, "c": pa.chunked_array([values, values[:0]])})
    original = [
        pa.py_buffer(bytes(numbers(LIMIT))),
        pa.py_buffer(b""),
        values,
        values[7:100_000],
        texts.dictionary_encode(),
        table,
        table.slice(3, 70_000),
    ]
    for loaded in each_way(signed_dumps(original, keyring=ring), ring, tmp_path):
        for one, other in zip(loaded, original, strict=True):
            assert one.equals(other)
        loaded[5].validate(full=True)


def test_frames_of_polars_come_back(ring: Keyring, tmp_path: Path) -> None:
    polars: Any = pytest.importorskip("polars")
    frame = polars.DataFrame({"a": [1, None, 3] * 50_000, "b": ["x", None, "yy"] * 50_000})
    for loaded in each_way(signed_dumps(frame, keyring=ring), ring, tmp_path):
        assert loaded.equals(frame)


# --- buffers, and who shares them ------------------------------------------------------------


class Holder:
    """An object that gives its buffer to the pickler and keeps the one it gets."""

    def __init__(self, buffer: Any) -> None:
        self.buffer = buffer

    def __reduce_ex__(self, protocol: Any) -> Any:
        return Holder, (pickle.PickleBuffer(self.buffer),)


BUFFERS: dict[str, Callable[[int], Any]] = {
    "bytes": bytes,
    "a bytearray": bytearray,
    "an array of array": lambda size: array.array("d", bytes(size)),
    "a view of words": lambda size: memoryview(bytearray(size)).cast("Q"),
    "a read-only view": lambda size: memoryview(bytearray(size)).toreadonly(),
    "a view of two dimensions": lambda size: memoryview(bytes(size)).cast("B", [size // 8, 8]),
    "an array in columns": lambda size: np.asfortranarray(np.zeros((size // 64, 8))),
    "a mapping": lambda size: mmap.mmap(-1, size),
}


@pytest.mark.parametrize("size", [8, 128, LIMIT - 64, LIMIT, LEAF_SIZE])
@pytest.mark.parametrize("make", BUFFERS.values(), ids=BUFFERS.keys())
def test_any_buffer_comes_back_as_writable_as_it_was(
    make: Callable[[int], Any], size: int, ring: Keyring, tmp_path: Path
) -> None:
    original = make(size)
    expected = bytes(pickle.PickleBuffer(original).raw())
    for loaded in each_way(signed_dumps(Holder(original), keyring=ring), ring, tmp_path):
        view = memoryview(loaded.buffer)
        assert view == expected
        assert view.readonly == memoryview(original).readonly


@pytest.mark.parametrize("size", [100, LIMIT + 8])
def test_what_is_one_object_is_one_again_and_what_are_two_share_no_memory(
    size: int, ring: Keyring, tmp_path: Path
) -> None:
    base = numbers(size)
    holder = Holder(base)
    obj: dict[str, Any] = {"base": base, "again": base, "holders": [holder, holder]}
    obj["views"] = [base[:], base[:], base[8:], base.view(np.uint16), base.reshape(2, -1)]
    obj["self"] = obj
    for loaded in each_way(signed_dumps(obj, keyring=ring), ring, tmp_path):
        assert loaded["base"] is loaded["again"]
        assert loaded["holders"][0] is loaded["holders"][1]
        assert loaded["self"] is loaded
        apart = [loaded["base"], *loaded["views"], np.asarray(loaded["holders"][0].buffer)]
        for one, other in itertools.combinations(apart, 2):
            assert not np.shares_memory(one, other)
        for one, other in zip(loaded["views"], obj["views"], strict=True):
            np.testing.assert_array_equal(one, other)
        loaded["base"][:] = 1
        assert (loaded["again"] == 1).all()
        np.testing.assert_array_equal(loaded["views"][0], base)


def test_a_buffer_given_twice_is_sealed_as_often_as_pickle_asks_for_it(ring: Keyring) -> None:
    shared = bytearray(numbers(LIMIT))
    one = pickle.PickleBuffer(shared)
    obj = [one, one, pickle.PickleBuffer(shared), pickle.PickleBuffer(memoryview(shared)[1:])]
    asked: list[Any] = []
    pickle.dumps(obj, 5, buffer_callback=asked.append)
    data = signed_dumps(obj, keyring=ring)
    large = [buffer for buffer in asked if buffer.raw().nbytes >= LIMIT]
    assert payload_of(data, ring).head.fixed.segments == 1 + len(large)
    loaded = signed_loads(data, keyring=ring)
    assert [bytes(buffer) for buffer in loaded] == [*[bytes(shared)] * 3, bytes(shared[1:])]


@pytest.mark.parametrize("size", [1000, LIMIT, 9 * LEAF_SIZE])
def test_a_dump_lets_go_of_the_buffers_it_was_given(
    size: int, ring: Keyring, tmp_path: Path
) -> None:
    """A bytearray with a view on it cannot grow: no view may wait for the garbage collector."""

    class Broken:
        def write(self, data: bytes) -> None:
            raise ZeroDivisionError

    buffer = bytearray(size)
    holder = Holder(buffer)
    gc.disable()
    try:
        for target in (tmp_path / "it", io.BytesIO()):
            signed_dump(holder, target, keyring=ring, durable=False)
            buffer.append(1)
        signed_dumps(holder, keyring=ring)
        buffer.append(1)
        for broken, error in ((Broken(), ZeroDivisionError), (tmp_path, Exception)):
            with suppress(error):
                signed_dump(holder, cast("Any", broken), keyring=ring)
            buffer.append(1)
    finally:
        gc.enable()


# --- short counts, signals, interrupts -------------------------------------------------------


def fewer(pieces: Any, most: int) -> list[memoryview]:
    """Give the pieces that make up the first bytes, the last of them cut."""
    some: list[memoryview] = []
    for piece in pieces:
        some.append(memoryview(piece)[:most])
        most -= len(some[-1])
        if not most:
            break
    return some


def test_short_counts_of_the_system_anywhere_in_a_leaf_are_carried_on(
    either_ring: Keyring, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counts of every size, ending within a piece, between two, and within the next leaf's."""
    real_read, real_write, plain_write, plain_read = os.preadv, os.pwritev, os.write, os.pread
    chance = random.Random(0)

    def most() -> int:
        return chance.choice([1, 63, 64, 65, 4097, LIMIT, LIMIT + 64, 400_001, 1 << 30])

    monkeypatch.setattr(os, "preadv", lambda fd, p, at: real_read(fd, fewer(p, most()), at))
    monkeypatch.setattr(os, "pwritev", lambda fd, p, at: real_write(fd, fewer(p, most()), at))
    monkeypatch.setattr(os, "write", lambda fd, data: plain_write(fd, memoryview(data)[: most()]))
    monkeypatch.setattr(os, "pread", lambda fd, n, at: plain_read(fd, min(n, most()), at))
    sizes = [LIMIT + chance.randrange(3) for _ in range(150)] + [2 * LEAF_SIZE + 1, LIMIT]
    arrays = [numbers(size) for size in sizes]
    for obj in (arrays, arrays[:9]):
        signed_dump(obj, tmp_path / "it", keyring=either_ring, durable=False)
        with (tmp_path / "file").open("w+b") as file:
            signed_dump(obj, file, keyring=either_ring)
            file.seek(0)
            from_file = signed_load(file, keyring=either_ring)
        for loaded in (from_file, signed_load(tmp_path / "it", keyring=either_ring)):
            for one, other in zip(loaded, obj, strict=True):
                np.testing.assert_array_equal(one, other)


class Interrupted(BaseException):
    """What the signal handlers of these tests raise."""


@contextmanager
def signals(handler: Callable[..., object]) -> Iterator[None]:
    before = signal.signal(signal.SIGALRM, handler)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@posix
@pytest.mark.timeout(method="thread")  # the test takes the signal itself
@pytest.mark.parametrize("way", ["path", "file", "unbuffered pipe", "connection"])
def test_signals_all_the_while_change_nothing(way: str, ring: Keyring, tmp_path: Path) -> None:
    original = numbers(20 * LEAF_SIZE + 5)
    caught = [0]

    def count(*arguments: Any) -> None:
        caught[0] += 1

    @contextmanager
    def ends() -> Iterator[tuple[Any, Any]]:
        if way == "path":
            yield tmp_path / "it", tmp_path / "it"
        elif way == "file":
            with (tmp_path / "it").open("wb") as one, (tmp_path / "it").open("rb") as two:
                yield one, two
        elif way == "connection":
            ours, theirs = socket.socketpair()
            with ours, theirs, ours.makefile("wb") as one, theirs.makefile("rb") as two:
                yield one, two
        else:
            reading, writing = os.pipe()
            with open(writing, "wb", buffering=0) as one, open(reading, "rb", buffering=0) as two:
                yield one, two

    with signals(count):
        signal.setitimer(signal.ITIMER_REAL, 0.0003, 0.0003)
        rounds = 0
        while rounds < 2 or caught[0] < 100:
            rounds += 1
            with ends() as (target, source):
                if way in ("path", "file"):
                    signed_dump(original, target, keyring=ring, durable=False)
                    loaded = signed_load(source, keyring=ring)
                else:
                    # Signals come to the main thread: it dumps in one round, loads in the next.
                    got: list[Any] = []

                    def dump(target: Any = target) -> None:
                        signed_dump(original, target, keyring=ring)
                        target.flush()

                    def load(source: Any = source, got: list[Any] = got) -> None:
                        got.append(signed_load(source, keyring=ring))

                    mine, others = (dump, load) if rounds % 2 else (load, dump)
                    other = threading.Thread(target=others)
                    other.start()
                    mine()
                    other.join()
                    (loaded,) = got
            np.testing.assert_array_equal(loaded, original)
    assert caught[0] >= 100


@posix
@pytest.mark.timeout(method="thread")  # the test takes the signal itself
@pytest.mark.skipif(threads._thread_count() < 2, reason="there is one processor")
@pytest.mark.parametrize("call", ["preadv", "pwritev"])
def test_an_interrupted_call_is_not_left_before_its_threads_are_done(
    call: str, ring: Keyring, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else they would go on with a descriptor that is closed, and by then another file's."""
    path = tmp_path / "it"
    original = numbers(10 * LEAF_SIZE)
    signed_dump(original, path, keyring=ring)
    real = getattr(os, call)
    main = threading.main_thread()
    steps: list[str] = []
    finished = threading.Event()

    def slow(descriptor: int, pieces: Any, offset: int) -> Any:
        if threading.current_thread() is not main and not steps:
            steps.append("begun")
            for _ in range(3):  # the first while it works, all while it waits
                time.sleep(0.1)
                signal.pthread_kill(cast("int", main.ident), signal.SIGALRM)
            time.sleep(0.1)
            steps.append("done")
            finished.set()
        return real(descriptor, pieces, offset)

    def interrupt(*arguments: Any) -> None:
        raise Interrupted

    monkeypatch.setattr(os, call, slow)

    def act() -> None:
        if call == "preadv":
            signed_load(path, keyring=ring)
        else:
            signed_dump(original[::-1], path, keyring=ring)

    with signals(interrupt):
        with pytest.raises(Interrupted):
            act()
        seen = list(steps)
        signal.signal(signal.SIGALRM, signal.SIG_IGN)  # a thread that is left goes on sending
        assert finished.wait(60)
    assert seen == ["begun", "done"]
    assert list(tmp_path.iterdir()) == [path]
    monkeypatch.undo()
    np.testing.assert_array_equal(signed_load(path, keyring=ring), original)


AT_ANY_MOMENT = """
import faulthandler, os, signal, sys, time
import numpy as np
import pickleseal as ps

faulthandler.dump_traceback_later(400, exit=True)  # a hang shows where it is
folder, rounds = sys.argv[1], int(sys.argv[2])
path = os.path.join(folder, "it")
ring = ps.Keyring(ps.Key.generate())
arrays = [np.arange(9 << 17), np.arange(9 << 17)[::-1].copy()]
begun = time.monotonic()
ps.signed_dump(arrays[0], path, keyring=ring, durable=False)
ps.signed_load(path, keyring=ring)
longest = 1.2 * (time.monotonic() - begun)

class Interrupted(BaseException):
    pass

def interrupt(*arguments):
    raise Interrupted

signal.signal(signal.SIGALRM, interrupt)
interrupted = 0
for number in range(rounds):
    try:
        signal.setitimer(signal.ITIMER_REAL, longest * (number + 1) / rounds)
        ps.signed_dump(arrays[number % 2], path, keyring=ring, durable=False)
        ps.signed_load(path, keyring=ring)
        signal.setitimer(signal.ITIMER_REAL, 0)
    except Interrupted:
        interrupted += 1
    if os.listdir(folder) != ["it"]:
        sys.exit(f"left behind: {os.listdir(folder)}")
    loaded = ps.signed_load(path, keyring=ring)
    if not any(np.array_equal(loaded, one) for one in arrays):
        sys.exit("neither the old one nor the new")
print(interrupted > 0)
"""


@posix
@pytest.mark.parametrize("rounds", [40, pytest.param(2000, marks=pytest.mark.sweep)])
def test_an_interrupt_at_any_moment_leaves_the_old_file_or_the_new_and_nothing_else(
    rounds: int, tmp_path: Path
) -> None:
    """In a process of its own: coverage has locks that an interrupt may leave held."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("COVERAGE_")}
    done = subprocess.run(
        [sys.executable, "-c", AT_ANY_MOMENT, str(tmp_path), str(rounds)],
        capture_output=True,
        text=True,
        check=False,
        env=env,
    )
    assert done.stdout == "True\n", done.stderr


FULL = """
import resource, signal, sys, tempfile
import pickleseal
ring = pickleseal.open_keyring(sys.argv[1])
array = bytes(int(sys.argv[2]))
size = len(pickleseal.signed_dumps(array, keyring=ring))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
makers = {
    "file": lambda: tempfile.TemporaryFile(buffering=0, dir=sys.argv[3]),
    "named": lambda: tempfile.NamedTemporaryFile(buffering=0, dir=sys.argv[3]),
    "buffered": lambda: tempfile.NamedTemporaryFile(dir=sys.argv[3]),
    "spooled": lambda: tempfile.SpooledTemporaryFile(1, buffering=0, dir=sys.argv[3]),
    "append": lambda: open(sys.argv[3] + "/append", "ab", buffering=0),
}
for name, make in makers.items():
    for less in (1, 31, 33, 100, size // 2):
        resource.setrlimit(resource.RLIMIT_FSIZE, (size - less, resource.RLIM_INFINITY))
        file = make()
        try:
            pickleseal.signed_dump(array, file, keyring=ring)
            file.flush()
        except OSError:
            pass
        else:
            print(name, less)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        file.close()
print("done")
"""


@posix
@pytest.mark.parametrize("size", [10, 3 * LEAF_SIZE, 9 * LEAF_SIZE])
def test_a_dump_that_did_not_get_all_of_its_bytes_written_says_so(
    size: int, tmp_path: Path, ring_directory: Path
) -> None:
    """Where a file may grow no more, the system first takes a part of what it is given."""
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(ring_directory), str(size), str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["done"]


# --- side by side ----------------------------------------------------------------------------


@posix
def test_eight_threads_with_files_of_every_kind_get_each_their_own(
    either_ring: Keyring, tmp_path: Path
) -> None:
    shared = in_file(tmp_path / "shared", signed_dumps(mixture(), keyring=either_ring))
    trouble: list[BaseException] = []
    barrier = threading.Barrier(8)

    def work(number: int) -> None:
        mine = numbers(9 * LEAF_SIZE) + np.uint8(number)
        kind = ("a file", "a pipe", "a file in memory", "an unbuffered connection")[number % 4]
        folder = tmp_path / str(number)
        folder.mkdir()
        try:
            barrier.wait()
            signed_dump(mine, folder / "path", keyring=either_ring, durable=False)
            data = (folder / "path").read_bytes()
            with SOURCES[kind](data, folder) as file:
                np.testing.assert_array_equal(signed_load(file, keyring=either_ring), mine)
            loaded = signed_loads(signed_dumps(mine, keyring=either_ring), keyring=either_ring)
            np.testing.assert_array_equal(loaded, mine)
            check_mixture(signed_load(shared, keyring=either_ring))
        except BaseException as error:  # noqa: BLE001 - told below
            trouble.append(error)

    workers = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not trouble


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_process_forked_while_threads_load_and_dump_can_do_both(
    ring_directory: Path, tmp_path: Path
) -> None:
    original = numbers(9 * LEAF_SIZE)
    path = tmp_path / "it"
    signed_dump(original, path, keyring=ring_directory)
    stop = threading.Event()
    trouble: list[BaseException] = []

    def work(number: int) -> None:
        try:
            while not stop.is_set():
                signed_dump(original, tmp_path / str(number), keyring=ring_directory, durable=False)
                loaded = signed_load(path, keyring=ring_directory)
                np.testing.assert_array_equal(loaded, original)
        except BaseException as error:  # noqa: BLE001 - told below
            trouble.append(error)

    workers = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for worker in workers:
        worker.start()
    codes = []
    try:
        for _ in range(12):
            child = os.fork()
            if not child:
                code = 1
                try:
                    signal.signal(signal.SIGALRM, signal.SIG_DFL)
                    signal.alarm(60)  # one that waits for ever for a lock ends by this
                    mine = f"{tmp_path}/child"
                    signed_dump(original, mine, keyring=ring_directory, durable=False)
                    for source in (path, mine):
                        loaded = signed_load(source, keyring=ring_directory)
                        if not np.array_equal(loaded, original):
                            os._exit(2)
                    code = 0
                finally:
                    os._exit(code)
            codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    finally:
        stop.set()
        for worker in workers:
            worker.join()
    assert codes == [0] * 12
    assert not trouble


AT_EXIT = """
import atexit, sys, threading
import numpy as np
import pickleseal
ring = pickleseal.open_keyring(sys.argv[1])
array = np.arange(9 << 17)
def last():
    pickleseal.signed_dump(array, sys.argv[2], keyring=ring)
    assert (pickleseal.signed_load(sys.argv[2], keyring=ring) == array).all()
    print("done")
atexit.register(last)
"""


def test_a_large_array_is_saved_at_exit_where_no_thread_starts_any_more(
    ring_directory: Path, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", AT_EXIT, str(ring_directory), str(tmp_path / "it")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["done"]
    assert not done.stderr


# --- how much memory it takes ----------------------------------------------------------------

SIZE = 256 << 20

PEAK = """
import contextlib, gc, io, os, sys
import numpy as np
import pickleseal
from pickleseal import BadSealError, signed_dump, signed_dumps, signed_load, signed_loads

way, path, ring, size = sys.argv[1:]
ring = pickleseal.open_keyring(ring)
size = int(size)

def highest():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) << 10 for line in file if line.startswith("VmHWM"))

class Only:
    def __init__(self, file, name):
        setattr(self, name, getattr(file, name))

small = np.arange(20000)
assert (signed_loads(signed_dumps(small, keyring=ring), keyring=ring) == small).all()
gc.disable()
out = path + ".out"
array = np.ones(size, np.uint8) if way.startswith("dump") else None
data = open(path, "rb").read() if way == "loads" else None
before = highest()
if way == "dump path":
    signed_dump(array, out, keyring=ring, durable=False)
elif way == "dump file":
    with open(out, "wb") as file:
        signed_dump(array, file, keyring=ring)
elif way == "dump columns":
    signed_dump(array.reshape(1024, -1).T, out, keyring=ring, durable=False)
elif way == "dump stream":
    with open(os.devnull, "wb") as file:
        signed_dump(array, Only(file, "write"), keyring=ring)
elif way == "dumps":
    data = signed_dumps(array, keyring=ring)
elif way == "load path":
    loaded = signed_load(path, keyring=ring)
elif way == "load file":
    with open(path, "rb") as file:
        loaded = signed_load(file, keyring=ring)
elif way == "load read":
    with open(path, "rb") as file:
        loaded = signed_load(Only(file, "read"), keyring=ring)
elif way == "load readinto":
    with open(path, "rb") as file:
        loaded = signed_load(Only(file, "readinto"), keyring=ring)
elif way == "loads":
    loaded = signed_loads(data, keyring=ring)
elif way == "load often":
    for _ in range(4):
        loaded = None
        loaded = signed_load(path, keyring=ring)
elif way == "load refused":
    with open(path, "r+b") as file:
        file.seek(size // 2)
        file.write(b"X")
    for _ in range(4):
        try:
            signed_load(path, keyring=ring)
        except BadSealError:
            continue
        raise SystemExit("loaded")
print(highest() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="there is no /proc")
@pytest.mark.parametrize(
    ("way", "copies"),
    [
        ("dump path", 0),
        ("dump file", 0),
        ("dump columns", 0),
        ("dump stream", 0),
        ("dumps", 1),
        ("load path", 1),
        ("load file", 1),
        ("load read", 1),
        ("load readinto", 1),
        ("loads", 1),
        ("load often", 1),
        ("load refused", 1),
    ],
)
def test_a_dump_copies_no_array_and_a_load_holds_it_once(
    way: str, copies: int, ring_directory: Path, tmp_path: Path
) -> None:
    path = tmp_path / "it"
    try:
        if way.startswith("load"):
            signed_dump(np.ones(SIZE, np.uint8), path, keyring=ring_directory, durable=False)
        done = subprocess.run(
            [sys.executable, "-c", PEAK, way, str(path), str(ring_directory), str(SIZE)],
            capture_output=True,
            text=True,
            check=True,
        )
    finally:
        for left in tmp_path.glob("it*"):
            left.unlink()
    grown = int(done.stdout)
    assert (copies - 0.3) * SIZE < grown < (copies + 0.3) * SIZE
