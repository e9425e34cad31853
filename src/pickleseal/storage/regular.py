"""A regular file that is looked at: opened once, read at any offset, as often as wanted."""

import hashlib
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

from pickleseal import envelope
from pickleseal.errors import SealError
from pickleseal.storage.files import Path, Readable, stamp_of, text_path
from pickleseal.storage.source import (
    WHOLE_SIZE,
    MemorySource,
    Source,
    file_source,
    open_regular,
    open_source,
)

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

    def envelope(self, offset: int, *, exact: bool = False) -> Source:
        """Give the envelope that begins at an offset; what follows it is left alone.

        `exact`: nothing may follow it.
        """
        if offset == 0 and self.size <= WHOLE_SIZE:
            return MemorySource(self._start, self.path, exact=exact)
        return file_source(self._descriptor, offset, self.size, self.path, exact=exact)

    def envelopes(self) -> Iterator[Source]:
        """Give the envelopes that follow one another, at least one; nothing may follow the last."""
        offset = 0
        while (end := self._next_envelope(offset)) is not None:
            yield self.envelope(offset)
            offset = end
        yield self.envelope(offset, exact=True)

    def _next_envelope(self, offset: int) -> int | None:
        try:
            fixed = envelope.parse_fixed(self.read(offset, envelope.FIXED_SIZE))
        except SealError:
            return None
        end = offset + fixed.total_size
        return end if self.read(end, len(envelope.MAGIC)) == envelope.MAGIC else None

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


@contextmanager
def open_envelopes(file: Path | Readable) -> Iterator[Iterator[Source]]:
    """Open as `open_source` does, and give all envelopes of a path, of a file object the next."""
    if isinstance(file, str | os.PathLike):
        with RegularFile(text_path(file), follow=True) as opened:
            yield opened.envelopes()
    else:
        with open_source(file) as source:
            yield iter((source,))


_POSITION = threading.Lock()  # where there is no pread, the position is shared
