"""An object in a store, read at any offset in few and large requests."""

import errno
import hashlib
from collections.abc import Iterator
from typing import Self

from pickleseal.errors import SealError
from pickleseal.files.places import Place, Remote, Version, replaced_meanwhile
from pickleseal.files.regular import RegularFile

SMALL = 8 << 20
"""An object up to this size is read in one request, in bytes."""
RANGE = 48 << 20
"""How much one request for a part of a large object asks for at most."""
_AT_ONCE = 4
"""How many such requests are made at once."""
_LEAST = 1 << 18
_MOST = 8 << 20
_KEPT = 4
_BEHIND = 1 << 12
"""How much behind a range is read with it: the tag behind a body takes no request of its own."""


class StoredObject:
    """An open object: what `RegularFile` is for a file on disk.

    A small one is read whole when it is opened. Reads from front to back get larger, others stay
    small. `seen`: the object as it was listed, which saves a request. `stamp` is what it was then,
    or None where nobody asked the store. Leaving the context raises OSError if the object was
    replaced between two requests, whatever was made of what they returned.
    """

    def __init__(self, place: Remote, seen: Version | None = None) -> None:
        self.place = place
        self.path = place.url
        self.stamp = seen
        self._blocks: list[tuple[int, bytes]] = []
        self._step = _LEAST
        self._doubtful = False
        if seen is None or seen.size <= SMALL:
            start = self._start(seen)
            if start is not None:
                # One answer is of one version, whichever that is.
                self.size = len(start)
                self._keep(0, start)
                return
            # Not what was read already: that may be of another version.
            self.stamp = seen = place.version()
        self.size = seen.size

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._blocks.clear()
        if kind is None or issubclass(kind, SealError):
            self.check_unchanged()

    def _start(self, seen: Version | None) -> bytes | None:
        """Return the whole object, or None if only its beginning came."""
        try:
            start = b"" if seen is not None and not seen.size else self.place.read(0, SMALL)
        except OSError as error:
            # Of an empty object S3 and Azure have no range, and errors of their own.
            known = isinstance(error, FileNotFoundError | PermissionError)
            if known or error.errno == errno.EBUSY or self.place.version().size:
                raise
            start = b""
        # A server that knows no ranges sends all of a large one, too.
        return None if len(start) == SMALL else start

    def read(self, offset: int, size: int, /) -> bytes:
        """Return the bytes at an offset, fewer than `size` only where the object ends."""
        size = max(min(size, self.size - offset), 0)
        if not size:
            return b""
        for start, data in self._blocks:
            if start <= offset and offset + size <= start + len(data):
                return data[offset - start : offset - start + size]
        follows = any(start <= offset <= start + len(data) for start, data in self._blocks[-1:])
        self._step = min(self._step * 2, _MOST) if follows else _LEAST
        end = min(offset + max(size, self._step), self.size)
        self._doubtful = True
        data = self._checked(self.place.read(offset, end), end - offset)
        self._keep(offset, data)
        return data[:size]

    def ranges(self, offset: int, size: int) -> Iterator[memoryview]:
        """Yield the bytes from an offset on in large pieces, all but the last of `RANGE` bytes.

        Raise OSError at the end if the object was replaced meanwhile.
        """
        end = offset + size
        for start, data in self._blocks:
            if start <= offset and end <= start + len(data):
                yield memoryview(data)[offset - start : end - start]
                return
        limits = [(at, min(at + RANGE, end)) for at in range(offset, end, RANGE)]
        for first in range(0, len(limits), _AT_ONCE):
            wave = limits[first : first + _AT_ONCE]
            behind = min(_BEHIND, self.size - end) if wave[-1][1] == end else 0
            asked = [*wave[:-1], (wave[-1][0], wave[-1][1] + behind)]
            self._doubtful = True
            found = self.place.read_ranges(asked)
            for (at, until), data in zip(asked, found, strict=True):
                self._checked(data, until - at)
            if behind:
                self._keep(end, found[-1][-behind:])
            if wave[-1][1] == end:
                self.check_unchanged()
            for (at, until), data in zip(wave, found, strict=True):
                yield memoryview(data)[: until - at]

    def whole(self) -> memoryview:
        """Return its bytes in memory."""
        return memoryview(b"".join(self.ranges(0, self.size)))

    def sha256(self) -> str:
        """Return the SHA-256 of its bytes, in hexadecimal digits."""
        digest = hashlib.sha256()
        for data in self.ranges(0, self.size):
            digest.update(data)
        return digest.hexdigest()

    def next_data(self, offset: int, /) -> int:
        """Return the offset: an object has no holes."""
        return offset

    def check_unchanged(self) -> None:
        """Raise OSError if the object was replaced since it was opened."""
        if self._doubtful and self.place.version() != self.stamp:
            raise replaced_meanwhile(self.path)
        self._doubtful = False

    def _checked(self, data: bytes, size: int) -> bytes:
        if len(data) != size:
            raise replaced_meanwhile(self.path)
        return data

    def _keep(self, offset: int, data: bytes) -> None:
        self._blocks.append((offset, data))
        del self._blocks[:-_KEPT]


Opened = RegularFile | StoredObject


def open_file(
    place: Place, *, follow: bool, folder: int | None = None, seen: Version | None = None
) -> Opened:
    """Open a file or an object; `follow` and `folder` as for `RegularFile`, `seen` as above.

    Raise NotSealedError for anything but a regular file, OSError if it cannot be opened.
    """
    if isinstance(place, Remote):
        return StoredObject(place, seen)
    return RegularFile(place, follow=follow, folder=folder)
