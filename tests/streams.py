"""Every kind of file and stream that a load can read from, and streams that do little."""

import gzip
import http.server
import io
import lzma
import mmap
import os
import random
import socket
import subprocess
import sys
import tarfile
import tempfile
import threading
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, cast

import fsspec
import pytest

BEFORE, AFTER = b"what stands before", b"what comes after"

posix = pytest.mark.skipif(os.name != "posix", reason="POSIX alone has it")

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


class ShortWrites(Through, io.RawIOBase):
    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        view = memoryview(data)
        return cast("int", self.file.write(view[: self.some(len(view))]))
