"""A dump writes the same bytes to any kind of file, and nothing around them changes."""

import gzip
import io
import lzma
import os
import random
import socket
import tempfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, cast

import fsspec
import pytest
from arrays import mixture
from streams import AFTER, BEFORE, Opened, ShortWrites, in_file, posix

from pickleseal import Keyring, signed_dump, signed_dumps

Dump = Callable[[Any], None]


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
def test_any_target_gets_the_same_bytes_and_nothing_around_them_changes(
    target: Callable[[Dump, Path], bytes],
    ring: Keyring,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1")
    obj = mixture()
    written = target(lambda file: signed_dump(obj, file, keyring=ring), tmp_path)
    assert written == BEFORE + signed_dumps(obj, keyring=ring) + AFTER
