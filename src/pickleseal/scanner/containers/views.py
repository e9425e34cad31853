"""Bytes at any offset: of a file, of a part of it; and how many of them one file may cost."""

from typing import Protocol

CHUNK = 1 << 16
"""How much is read at a time, in bytes."""
LONGEST = 1 << 20
"""The most that is asked of a view at a time, in bytes."""
FAR = 1 << 62
"""An offset behind every end."""

MAX_MEMBERS = 100_000
MAX_LISTED = 1_000_000
MAX_NAMES = 300_000
MAX_DEPTH = 5

BASE = 256 << 20
"""Steps that a file may cost besides, whatever its size: a second or two."""
LEAST = 4 << 20
"""Steps that every file may cost whatever those before it did."""
PER_BYTE = 128
"""Steps that a file may cost besides, for each of its own bytes."""
RUN = 16 * BASE
"""Steps that the files of a run may cost together, besides those for their own bytes."""
SEARCH_OPCODES = 1_000_000
"""Opcodes that are followed of a pickle at any offset."""
_OPCODE = 32
_MEMBER = 30_000
"""What costs as much time as so many steps, each of which is a byte that is unpacked."""


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


class Pool:
    """What the files of a run may cost together, in steps."""

    def __init__(self, steps: int = RUN) -> None:
        self.left = steps


class Bounds:
    """What looking at one file may still cost, in counted steps, shared by all nested in it.

    `opcodes`: how many of a pickle are followed, if fewer than otherwise. `hit` names the bounds
    that were met, one clause each. Where one is of more than the depth, or
    of what zips list, all bytes end.
    """

    def __init__(self, size: int, pool: Pool | None = None, *, base: int | None = None) -> None:
        self.hit: dict[str, None] = {}
        self.opcodes: int | None = None
        self._own = LEAST + PER_BYTE * size
        self._pool = Pool() if pool is None else pool
        self._base = BASE if base is None else base
        self._members = MAX_MEMBERS
        self._listed = MAX_LISTED
        self._names = MAX_NAMES
        self._over = False

    def allow(self, size: int) -> int:
        """Return how many of `size` bytes may be handed out, and count them."""
        return size if self._spend(size) else 0

    def give_back(self, size: int) -> None:
        """Take back `size` bytes of what was allowed."""
        self._own += size

    def member(self) -> bool:
        """Count a member, stream or pickle; false where it is one too many."""
        self._members -= 1
        if self._members < 0 and not self._over:
            self._stop(f"it has more than {MAX_MEMBERS} members")
        return self._spend(_MEMBER)

    def for_search(self, size: int) -> "Bounds":
        """Return what looking for pickles at any offset of `size` bytes may cost besides."""
        bounds = Bounds(size // 32, self._pool, base=BASE // 4)
        bounds.opcodes = SEARCH_OPCODES
        return bounds

    def listed(self) -> bool:
        """Count an entry of a zip's directory; false where it is one too many."""
        self._listed -= 1
        if self._listed < 0:
            self.hit[f"its zip directories list more than {MAX_LISTED} members"] = None
        return self._listed >= 0

    def walked(self, opcodes: int) -> None:
        """Count the opcodes of a walk."""
        self._spend(opcodes * _OPCODE)

    def named(self, names: int) -> None:
        """Count the names that were found in a pickle unlike the others."""
        self._names -= names
        if self._names < 0 and not self._over:
            self._stop(f"its pickles look up more than {MAX_NAMES} names")

    def nest(self, depth: int) -> bool:
        """Tell whether something may be opened that lies `depth` layers deep."""
        if depth > MAX_DEPTH:
            self.hit[f"its layers nest more than {MAX_DEPTH} deep"] = None
        return depth <= MAX_DEPTH

    def _spend(self, steps: int) -> bool:
        """Count steps; false where they are too many."""
        if self._over:
            return False
        spare = steps - self._own
        if spare <= 0:
            self._own -= steps
            return True
        if spare > self._base:
            self._stop("it takes more steps than a file of its size may")
        elif spare > self._pool.left:
            self._stop("the run has used all its steps")
        else:
            self._own = 0
            self._base -= spare
            self._pool.left -= spare
        return not self._over

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
