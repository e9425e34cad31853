"""Paths and file objects as callers pass them, and reads and writes at offsets."""

import errno
import io
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, BinaryIO, Protocol, cast

from pickleseal.errors import check_path

_MAX_VECTORS = 1024

Path = str | os.PathLike[str]


class Readable(Protocol):
    """A file object to load from. Its `readinto` is used if it has one."""

    def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes, none at the end."""


class Writable(Protocol):
    """A file object to dump to."""

    def write(self, data: bytes, /) -> object:
        """Write all of `data`."""


Stamp = tuple[int, int, int, int]


def stamp_of(status: os.stat_result) -> Stamp:
    """Return what changes when a file is modified or another one takes its place."""
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size


def close_read(descriptor: int) -> None:
    """Close a descriptor that nothing was written to: an error says nothing about what was read."""
    with suppress(OSError):
        os.close(descriptor)


def is_shortage(error: BaseException | None) -> bool:
    """Return whether this process or system had no descriptor or memory left to open a file."""
    return isinstance(error, OSError) and error.errno in (
        errno.EMFILE,
        errno.ENFILE,
        errno.ENOMEM,
    )


def text_path(path: Path) -> str:
    """Return a path as text.

    Raise TypeError if it is of bytes, KeyringError if it is a key line.
    """
    text = os.fspath(path)
    if not isinstance(text, str):
        raise TypeError("a path must be a str or os.PathLike[str], not bytes")
    check_path(text)
    return text


def check_binary(file: object, mode: str) -> None:
    """Raise TypeError for one of Python's text files; `mode` is the mode to open it with."""
    if isinstance(file, io.TextIOBase):
        raise open_as_text(mode)


def open_as_text(mode: str) -> TypeError:
    """Return the error for a file object that is open as text."""
    return TypeError(f"the file is open as text: open it in binary mode, such as '{mode}'")


def real_file(file: Any) -> BinaryIO | None:  # noqa: ANN401 - any object
    """Return `file` if it is a regular file without a layer between, else None."""
    kinds = (io.BufferedReader, io.BufferedRandom, io.BufferedWriter)
    raw = file.raw if type(file) in kinds else file
    if type(raw) is not io.FileIO or not stat.S_ISREG(os.fstat(raw.fileno()).st_mode):
        return None
    return cast("BinaryIO", file)


def read_at(descriptor: int, pieces: list[memoryview], offset: int) -> bool:
    """Fill `pieces` from an offset of a file; return False if the file ends before."""
    for batch in _vectors(pieces):
        left = batch
        while left:
            count = os.preadv(descriptor, left, offset)
            if not count:
                return False
            offset += count
            left = _rest(left, count)
    return True


def write_at(descriptor: int, pieces: list[memoryview], offset: int) -> None:
    """Write `pieces` at an offset of a file."""
    for batch in _vectors(pieces):
        left = batch
        while left:
            count = os.pwritev(descriptor, left, offset)
            offset += count
            left = _rest(left, count)


def _vectors(pieces: list[memoryview]) -> Iterator[list[memoryview]]:
    for start in range(0, len(pieces), _MAX_VECTORS):
        yield pieces[start : start + _MAX_VECTORS]


def _rest(pieces: list[memoryview], done: int) -> list[memoryview]:
    """Return the pieces without their first `done` bytes."""
    for number, piece in enumerate(pieces):
        if done < len(piece):
            return [piece[done:], *pieces[number + 1 :]]
        done -= len(piece)
    return []
