"""Bytes at any offset: of a file, of a part of it; and how many of them one file may cost."""

from typing import Protocol

CHUNK = 1 << 16
"""How much is read at a time, in bytes."""
LONGEST = 1 << 20
"""The most that is asked of a view at a time, in bytes."""
FAR = 1 << 62
"""An offset behind every end."""

MAX_BYTES = 2 << 30
MAX_MEMBERS = 100_000
MAX_LISTED = 1_000_000
MAX_OPCODES = 60_000_000
MAX_NAMES = 300_000
MAX_DEPTH = 5


class Bytes(Protocol):
    """A regular file or memory: its size in bytes, and its bytes at any offset."""

    size: int

    def read(self, offset: int, size: int, /) -> bytes:
        """Give the bytes at an offset, fewer than `size` only where they end."""


class Memory:
    """Bytes that are in memory, and that nobody changes."""

    def __init__(self, data: memoryview) -> None:
        self._data = data
        self.size = len(data)

    def read(self, offset: int, size: int, /) -> bytes:
        """Give the bytes at an offset, fewer than `size` only where they end."""
        return bytes(self._data[offset : offset + size])


class View(Protocol):
    """Bytes at any offset, whose end need not be known."""

    def read(self, offset: int, size: int, /) -> bytes:
        """Give the bytes at an offset, fewer than `size` (LONGEST at most) only where they end."""

    def reach(self, offset: int, /) -> int:
        """Give the offset, or where the bytes end if that comes first."""


class Bounds:
    """What looking at one file may still cost, shared by all that is nested in it.

    `hit` names the bounds that were met, one clause each. Where one is of more than the depth, or
    of what zips list, all bytes end.
    """

    def __init__(self) -> None:
        self.hit: dict[str, None] = {}
        self._bytes = MAX_BYTES
        self._members = MAX_MEMBERS
        self._listed = MAX_LISTED
        self._opcodes = MAX_OPCODES
        self._names = MAX_NAMES
        self._over = False

    def allow(self, size: int) -> int:
        """Give how many of `size` bytes may be handed out, and count them."""
        if size > self._bytes and not self._over:
            self._stop(f"more than {MAX_BYTES >> 20} MiB would have to be unpacked")
        if self._over:
            return 0
        self._bytes -= size
        return size

    def give_back(self, size: int) -> None:
        """Take back `size` bytes of what was allowed."""
        self._bytes += size

    def member(self) -> bool:
        """Count a member, stream or pickle; false where it is one too many."""
        self._members -= 1
        if self._members < 0 and not self._over:
            self._stop(f"it has more than {MAX_MEMBERS} members")
        return not self._over

    def listed(self) -> bool:
        """Count an entry of a zip's directory; false where it is one too many."""
        self._listed -= 1
        if self._listed < 0:
            self.hit[f"its zips list more than {MAX_LISTED} members"] = None
        return self._listed >= 0

    def walked(self, opcodes: int) -> None:
        """Count the opcodes of a walk."""
        self._opcodes -= opcodes
        if self._opcodes < 0 and not self._over:
            self._stop(f"its pickles have more than {MAX_OPCODES} opcodes")

    def named(self, names: int) -> None:
        """Count the names that were found in a pickle unlike the others."""
        self._names -= names
        if self._names < 0 and not self._over:
            self._stop(f"its pickles look up more than {MAX_NAMES} names")

    def nest(self, depth: int) -> bool:
        """Tell whether something may be opened that lies `depth` layers deep."""
        if depth > MAX_DEPTH:
            self.hit[f"its layers lie more than {MAX_DEPTH} deep"] = None
        return depth <= MAX_DEPTH

    def _stop(self, clause: str) -> None:
        self.hit[clause] = None
        self._over = True


class Whole:
    """All of a file or of memory."""

    def __init__(self, data: Bytes) -> None:
        self.read = data.read
        self._size = data.size

    def reach(self, offset: int, /) -> int:
        """Give the offset, or where the bytes end if that comes first."""
        return min(offset, self._size)


class Part:
    """A part of another view. What is read of it is counted: parts may overlap.

    A part of a part is one of the same `whole`, in which it begins at `start`.
    """

    def __init__(self, view: View, start: int, size: int, bounds: Bounds) -> None:
        self.whole: View = view
        self.start = min(start, FAR)
        self.size = max(min(size, FAR), 0)
        if isinstance(view, Part):
            self.whole = view.whole
            self.size = max(min(self.size, view.size - self.start), 0)
            self.start += view.start
        self._bounds = bounds

    def read(self, offset: int, size: int, /) -> bytes:
        """Give the bytes at an offset, fewer than `size` only where they end."""
        size = self._bounds.allow(max(min(size, self.size - offset), 0))
        return self.whole.read(self.start + offset, size) if size else b""

    def reach(self, offset: int, /) -> int:
        """Give the offset, or where the bytes end if that comes first."""
        return max(self.whole.reach(self.start + min(offset, self.size)) - self.start, 0)
