"""A regular file that is looked at: opened once, read at any offset, as often as wanted."""

import hashlib
import os
import threading
from typing import Self

from pickleseal.storage.files import stamp_of
from pickleseal.storage.source import WHOLE_SIZE, MemorySource, Source, file_source, open_regular

_START_SIZE = 1 << 16
_CHUNK_SIZE = 1 << 20


class RegularFile:
    """An open file, to be used in a `with`: its path, its size in bytes when it was opened.

    `stamp` tells whether the path still leads to it, as it was then.

    `follow`: a link at the end of the path is followed. Without it the path is one that was just
    seen to be a regular file. `folder`: the descriptor of the folder that it was seen in. Raises
    NotSealedError for what is no regular file, OSError for what cannot be opened.
    """

    def __init__(self, path: str, *, follow: bool, folder: int | None = None) -> None:
        self.path = path
        self._descriptor, status = open_regular(path, follow=follow, folder=folder)
        self.size = status.st_size
        self.stamp = stamp_of(status)
        try:
            # What is small is read in one go.
            self._start = self._at(0, self.size if self.size <= WHOLE_SIZE else _START_SIZE)
        except BaseException:
            os.close(self._descriptor)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    def read(self, offset: int, size: int, /) -> bytes:
        """Give the bytes at an offset, fewer than `size` only where the file ends."""
        if offset + size <= len(self._start):
            return self._start[offset : offset + size]
        return self._at(offset, size)

    def envelope(self, offset: int) -> Source:
        """Give the envelope that begins at an offset; what follows it is left alone."""
        if offset == 0 and self.size <= WHOLE_SIZE:
            return MemorySource(self._start, self.path, exact=False)
        return file_source(self._descriptor, offset, self.size, self.path, exact=False)

    def whole(self) -> memoryview:
        """Give all of it, in memory that nobody else can change; fewer bytes where it shrinks."""
        data = bytearray(self.size)
        position = 0
        while position < self.size and (chunk := self._at(position, _CHUNK_SIZE)):
            data[position : position + len(chunk)] = chunk
            position += len(chunk)
        return memoryview(data)[:position].toreadonly()

    def sha256(self) -> str:
        """Give the SHA-256 of the whole file, in hexadecimal digits."""
        digest = hashlib.sha256()
        position = 0
        while chunk := self._at(position, _CHUNK_SIZE):
            digest.update(chunk)
            position += len(chunk)
        return digest.hexdigest()

    def _at(self, offset: int, size: int) -> bytes:
        if size <= 0:
            return b""
        if hasattr(os, "pread"):
            return os.pread(self._descriptor, size, offset)
        with _POSITION:
            os.lseek(self._descriptor, offset, os.SEEK_SET)
            return os.read(self._descriptor, size)


_POSITION = threading.Lock()  # where there is no pread, the position is shared
