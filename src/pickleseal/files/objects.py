"""An object in a store, read at any offset in few and large requests."""

import errno
import hashlib
import re
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Self

from pickleseal.errors import NotSealedError, SealError
from pickleseal.files.places import Place, Remote, Version, replaced_meanwhile
from pickleseal.files.regular import RegularFile

if TYPE_CHECKING:
    from concurrent.futures import Future

SMALL = 8 << 20
"""An object up to this size is read in one request, in bytes."""
RANGE = 31 << 20
"""How much one request for a part of a large object asks for; a short rest goes with the last one.

For 32 MiB, malloc would map and clear memory each time.
"""
_AT_ONCE = 4
"""How many such requests are made at once, and before what they bring is used."""
_LEAST = 1 << 18
_MOST = 8 << 20
_KEPT = 4
_DIGEST = re.compile(r'"?([0-9a-f]{32})(?:-([1-9][0-9]*))?"?', re.ASCII)
"""A tag that is the MD5 of an object, or an ETag of S3 of the MD5s of so many parts."""
_PARTS = tuple(mib << 20 for mib in (8, 50, 16, 5, 10))
"""In which parts boto3 and the AWS CLI, s3fs, MinIO's client, rclone and Arrow send objects."""
_BEHIND = 1 << 12
"""How much behind a range is read with it: the tag behind a body takes no request of its own."""


class StoredObject:
    """An open object: what `RegularFile` is for a file on disk.

    A small one is read whole when it is opened. Reads from front to back get larger, others stay
    small. `seen`: the object as it was listed, which saves a request. `stamp` is what it was then,
    or None where nobody asked the store. Leaving the context raises OSError if the object was
    replaced between two requests, whatever was made of what they returned.

    `identify`: find out whether the bytes that are read are those that the store's tag is of.
    """

    def __init__(
        self, place: Remote, seen: Version | None = None, *, identify: bool = False
    ) -> None:
        self.place = place
        self.path = place.url
        self.stamp = seen
        self._blocks: list[tuple[int, bytes]] = []
        self._step = _LEAST
        self._doubtful = False
        self._tag: _Tag | None = None
        if seen is None or seen.size <= SMALL:
            try:
                start = self._start(seen)
            except FileNotFoundError:
                if self.place.is_prefix():
                    raise _folder(self.path) from None
                raise
            if start is not None:
                # One answer is of one version, whichever that is.
                self.size = len(start)
                if identify and seen is not None:
                    self._tag = _Tag.of(seen)
                self._identify(0, start)
                self._keep(0, start)
                return
            # Not what was read already: that may be of another version.
            self.stamp = seen = place.version()
        self.size = seen.size
        if identify:
            self._tag = _Tag.of(seen)

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
            known = isinstance(
                error, FileNotFoundError | PermissionError | ConnectionError | TimeoutError
            ) or error.errno in (errno.EBUSY, errno.EHOSTUNREACH)
            if known or self.place.version().size:
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
        data = self.place.read(offset, end)
        if self._is_all(data, end - offset):
            self._identify(0, data)
            self._keep(0, data)
            return data[offset : offset + size]
        self._identify(offset, self._checked(data, end - offset))
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
        behind = min(_BEHIND, self.size - end)
        limits = [(at, min(at + RANGE, end)) for at in range(offset, end, RANGE)]
        if len(limits) > 1 and end - limits[-1][0] < RANGE // 4:
            limits.pop()
        limits[-1:] = [(at, end + behind) for at, _ in limits[-1:]]
        self._doubtful = True
        for (at, until), fetched in zip(limits, self._fetched(limits), strict=True):
            data = fetched[at:until] if self._is_all(fetched, until - at) else fetched
            self._identify(at, self._checked(data, until - at))
            if until == end + behind:
                if behind:
                    self._keep(end, data[-behind:])
                self.check_unchanged()
            yield memoryview(data)[: end - at]

    def _fetched(self, limits: list[tuple[int, int]]) -> Iterator[bytes]:
        """Yield what is between some limits, and fetch what follows while each is used."""
        from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - only for large objects

        waiting: deque[Future[bytes]] = deque()
        # Only file systems with a loop of their own take calls of several threads.
        threads = _AT_ONCE if self.place.fs.async_impl else 1
        pool = ThreadPoolExecutor(threads)
        try:
            for number in range(len(limits)):
                for one in limits[number + len(waiting) : number + _AT_ONCE]:
                    waiting.append(pool.submit(self.place.read, *one))
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def whole(self) -> memoryview:
        """Return its bytes in memory."""
        return memoryview(b"".join(self.ranges(0, self.size)))

    def sha256(self) -> str:
        """Return the SHA-256 of its bytes, in hexadecimal digits."""
        digest = hashlib.sha256()
        for data in self.ranges(0, self.size):
            digest.update(data)
        return digest.hexdigest()

    def identity(self) -> str | None:
        """Return the store's tag if it is the digest of the bytes that were read, all of them."""
        return self.stamp.tag if self._tag and self.stamp and self._tag.is_right() else None

    def next_data(self, offset: int, /) -> int:
        """Return the offset: an object has no holes."""
        return offset

    def check_unchanged(self) -> None:
        """Raise OSError if the object was replaced since it was opened."""
        if self._doubtful and self.place.version() != self.stamp:
            raise replaced_meanwhile(self.path)
        self._doubtful = False

    def _is_all(self, data: bytes, asked: int) -> bool:
        """Return whether the whole object came for a part of it, as from servers without ranges."""
        return asked < len(data) == self.size

    def _checked(self, data: bytes, size: int) -> bytes:
        if len(data) != size:
            raise replaced_meanwhile(self.path)
        return data

    def _keep(self, offset: int, data: bytes) -> None:
        self._blocks.append((offset, data))
        del self._blocks[:-_KEPT]

    def _identify(self, offset: int, data: bytes) -> None:
        """Hash what was fetched, unless it was hashed before: then it must be the same."""
        if self._tag is None:
            return
        seen = max(min(self._tag.hashed - offset, len(data)), 0)
        before = (
            old[offset - start : offset - start + seen]
            for start, old in self._blocks
            if start <= offset and offset + seen <= start + len(old)
        )
        if offset > self._tag.hashed or (seen and next(before, None) != data[:seen]):
            self._tag = None
        else:
            self._tag.update(memoryview(data)[seen:])


class _Tag:
    """A tag of a store that is a digest of an object's bytes, computed anew from them."""

    def __init__(self, text: str, size: int, part: int) -> None:
        self._text = text
        self._size = size
        self._part = part
        self._digests = b""
        self._current = _md5()
        self.hashed = 0

    @classmethod
    def of(cls, seen: Version) -> Self | None:
        """Return the tag of a version, or None if it cannot be computed."""
        found = _DIGEST.fullmatch(seen.tag)
        if found is None:
            return None
        if found[2] is None:
            return cls(found[0].strip('"'), seen.size, max(seen.size, 1))
        parts = [part for part in _PARTS if -(-seen.size // part) == int(found[2])]
        return cls(found[0].strip('"'), seen.size, parts[0]) if parts else None

    def update(self, data: memoryview) -> None:
        """Hash the next bytes."""
        while data:
            piece = data[: self._part - self.hashed % self._part]
            self._current.update(piece)
            self.hashed += len(piece)
            data = data[len(piece) :]
            if self.hashed % self._part == 0 or self.hashed == self._size:
                self._digests += self._current.digest()
                self._current = _md5()

    def is_right(self) -> bool:
        """Return whether all bytes were hashed, and the store's tag is their digest."""
        if self.hashed != self._size:
            return False
        if "-" not in self._text:
            return self._digests.hex() == self._text
        count = len(self._digests) // _md5().digest_size
        return f"{_md5(self._digests).hexdigest()}-{count}" == self._text


def _folder(url: str) -> NotSealedError:
    error = NotSealedError(
        "not sealed: this URL is a folder of objects. Name an object in it, or see pickleseal audit"
    )
    error.source = url
    return error


def _md5(data: bytes = b"") -> "hashlib._Hash":
    return hashlib.md5(data, usedforsecurity=False)


Opened = RegularFile | StoredObject


def open_file(
    place: Place,
    *,
    follow: bool,
    folder: int | None = None,
    seen: Version | None = None,
    identify: bool = False,
) -> Opened:
    """Open a file or an object.

    `follow` and `folder`: as for `RegularFile`. `seen` and `identify`: as for `StoredObject`.

    Raise NotSealedError for anything but a regular file, OSError if it cannot be opened.
    """
    if isinstance(place, Remote):
        return StoredObject(place, seen, identify=identify)
    return RegularFile(place, follow=follow, folder=folder)
