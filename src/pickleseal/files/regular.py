"""A regular file that is opened once and read at any offset."""

import errno
import hashlib
import os
import stat
import threading
from collections.abc import Iterator
from typing import Self

from pickleseal.errors import NotSealedError
from pickleseal.files.handles import close_read, stamp_of

WHOLE_SIZE = 1 << 18
"""A file up to this size is read at once."""
_START_SIZE = 1 << 16
_CHUNK_SIZE = 1 << 20
_MOST_HOLE = 16 << 30
"""The most bytes without data on disk that are hashed: ten seconds or so."""


class HoleError(OSError):
    """A sparse file has too large a hole to be hashed: one of a terabyte would take an hour."""


class RegularFile:
    """An open file, as a context manager.

    `size` is its size in bytes when it was opened, `stamp` shows whether the path still leads to
    it, unchanged. `follow`: follow a link at the end of the path; without it the path was just seen
    to be a regular file. `folder`: the descriptor of the folder that it was seen in. Raise
    NotSealedError for anything but a regular file, OSError for a file that cannot be opened.
    """

    def __init__(self, path: str, *, follow: bool, folder: int | None = None) -> None:
        self.path = path
        self.descriptor, status = open_regular(path, follow=follow, folder=folder)
        self.size = status.st_size
        self.stamp = stamp_of(status)
        try:
            self._start = self._at(0, self.size if self.size <= WHOLE_SIZE else _START_SIZE)
        except BaseException:
            close_read(self.descriptor)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        close_read(self.descriptor)

    def read(self, offset: int, size: int, /) -> bytes:
        """Return the bytes at an offset, fewer than `size` only where the file ended when opened.

        What a file has grown by since is not read: one that grows all the time would have no end.
        """
        if offset + size <= len(self._start):
            return self._start[offset : offset + size]
        return self._at(offset, min(size, self.size - offset))

    def whole(self) -> memoryview:
        """Return its bytes in private memory, up to `size`; fewer if it was cut off meanwhile."""
        data = bytearray(self.size)
        position = 0
        for chunk in self._chunks():
            data[position : position + len(chunk)] = chunk
            position += len(chunk)
        return memoryview(data)[:position].toreadonly()

    def sha256(self) -> str:
        """Return the SHA-256 of its first `size` bytes, in hexadecimal digits.

        Raise HoleError if too much of that is a hole.
        """
        if self._has_large_hole():
            reason = f"over {_MOST_HOLE >> 30} GiB of it are a hole, without data on disk"
            raise HoleError(errno.EFBIG, reason, self.path)
        digest = hashlib.sha256()
        for chunk in self._chunks():
            digest.update(chunk)
        return digest.hexdigest()

    def next_data(self, offset: int, /) -> int:
        """Return the first offset from this one on that is not in a hole, as far as is known."""
        return self._seek(offset, "SEEK_DATA", unknown=offset)

    def _has_large_hole(self) -> bool:
        left, position = _MOST_HOLE, 0
        while position < self.size and left >= 0:
            data = self.next_data(position)
            left -= data - position
            position = self._seek(data, "SEEK_HOLE", unknown=self.size)
            if position == data < self.size:
                return False  # a hole in which data begin: this system does not say
        return left < 0

    def _seek(self, offset: int, what: str, *, unknown: int) -> int:
        if not hasattr(os, what):
            return unknown
        try:
            with _POSITION:
                return min(os.lseek(self.descriptor, offset, getattr(os, what)), self.size)
        except OSError as error:  # ENXIO: no data follows
            return self.size if error.errno == errno.ENXIO else unknown

    def _chunks(self) -> Iterator[bytes]:
        # Only up to the size at opening: a file that grows all the time would have no end.
        position = 0
        while chunk := self._at(position, min(_CHUNK_SIZE, self.size - position)):
            yield chunk
            position += len(chunk)

    def _at(self, offset: int, size: int) -> bytes:
        data = self._once(offset, size)
        while len(data) < size and (more := self._once(offset + len(data), size - len(data))):
            data += more  # one call may return fewer bytes than there are
        return data

    def _once(self, offset: int, size: int) -> bytes:
        if size <= 0:
            return b""
        if hasattr(os, "pread"):
            return os.pread(self.descriptor, size, offset)
        with _POSITION:
            os.lseek(self.descriptor, offset, os.SEEK_SET)
            return os.read(self.descriptor, size)


_POSITION = threading.Lock()  # without pread, threads share the position


def open_regular(
    path: str, *, follow: bool = True, folder: int | None = None
) -> tuple[int, os.stat_result]:
    """Open a regular file; return its descriptor and status.

    `follow`: follow a link at the end of the path; without it the path was just seen to be a
    regular file, and is opened at once. `folder`: the descriptor of the folder that it was seen in.
    """
    # Checked first: opening a device can have effects.
    if follow and not stat.S_ISREG(os.stat(path).st_mode):
        raise _not_regular(path)
    # Nonblocking: a FIFO may have taken its place meanwhile.
    flags = _OPEN_FLAGS if follow else _OPEN_FLAGS | getattr(os, "O_NOFOLLOW", 0)
    if folder is None:
        descriptor = os.open(path, flags)
    else:
        descriptor = os.open(os.path.basename(path), flags, dir_fd=folder)
    status = os.fstat(descriptor)
    if stat.S_ISREG(status.st_mode):
        return descriptor, status
    close_read(descriptor)
    raise _not_regular(path)


_OPEN_FLAGS = (
    os.O_RDONLY
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
)


def _not_regular(path: str) -> NotSealedError:
    error = NotSealedError(
        "not sealed: this path is a folder. Name a file in it, or see pickleseal audit"
        if os.path.isdir(path)
        else "not sealed: this path is not a regular file, but a pipe or a device. To read one"
        " envelope"
        " from a pipe, open it and pass the file object"
    )
    error.source = path
    return error
