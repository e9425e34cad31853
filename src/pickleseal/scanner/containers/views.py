"""Bytes at any offset of a file or a part of it, and the step budget of a file."""

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:  # an audit of sealed files needs none of the machine
    from pickleseal.scanner.machine.repeats import Template

CHUNK = 1 << 16
"""How much is read at a time, in bytes."""
LONGEST = 1 << 20
"""The largest read from a view, in bytes."""
FAR = 1 << 62
"""An offset behind every end."""

MAX_MEMBERS = 100_000
MAX_LISTED = 1_000_000
MAX_NAMES = 300_000
MAX_DEPTH = 5

BASE = 256 << 20
"""Steps that a file may cost in addition, whatever its size: a second or two."""
LEAST = 4 << 20
"""Steps that every file may cost, whatever the files before it used."""
PER_BYTE = 128
"""Steps that a file may cost in addition, for each of its own bytes."""
RUN = 16 * BASE
"""Steps that the files of a run may cost together, in addition to those for their own bytes."""
SEARCH_OPCODES = 1_000_000
"""How many opcodes of a pickle at any offset are followed."""
_ZEROS = bytes(CHUNK)
_MAX_PADDING = 64 << 20
_OPCODE = 32
_MEMBER = 30_000
"""The cost of an opcode and of a member in steps; a step is one unpacked byte."""


class Bytes(Protocol):
    """A regular file or memory: its size in bytes, and its bytes at any offset."""

    size: int

    def read(self, offset: int, size: int, /) -> bytes:
        """Return `size` bytes at an offset, fewer only at the end."""

    def next_data(self, offset: int, /) -> int:
        """Return the first offset from this one on that is not in a hole of a sparse file."""


class Memory:
    """Immutable bytes in memory."""

    def __init__(self, data: memoryview) -> None:
        self._data = data
        self.size = len(data)

    def read(self, offset: int, size: int, /) -> bytes:
        """Return `size` bytes at an offset, fewer only at the end."""
        return bytes(self._data[offset : offset + size])

    def next_data(self, offset: int, /) -> int:
        """Return the offset: memory has no holes."""
        return offset


class View(Protocol):
    """Bytes at any offset, with an end that may be unknown."""

    def read(self, offset: int, size: int, /) -> bytes:
        """Return `size` bytes (LONGEST at most) at an offset, fewer only at the end."""

    def reach(self, offset: int, /) -> int:
        """Return the offset, or the end of the bytes if that comes first."""


class Pool:
    """What the files of a run share: the step budget, and objects that were met before."""

    def __init__(self, steps: int = RUN) -> None:
        self.left = steps
        self.templates: dict[bytes, Template] = {}


class Bounds:
    """The step budget of one file and everything nested in it.

    `opcodes` is a stricter bound on the opcodes of a pickle, if any. `hit` has a clause for each
    bound that was reached. Except for depth and zip directories, reaching one ends all bytes.
    """

    def __init__(self, size: int, pool: Pool | None = None, *, base: int | None = None) -> None:
        self.hit: dict[str, None] = {}
        self.opcodes: int | None = None
        self._own = LEAST + PER_BYTE * size
        self._pool = Pool() if pool is None else pool
        self.templates = self._pool.templates
        self._base = BASE if base is None else base
        self._members = MAX_MEMBERS
        self._listed = MAX_LISTED
        self._names = MAX_NAMES
        self._over = False

    def allow(self, size: int) -> int:
        """Return how many of `size` bytes the budget allows, and count them."""
        return size if self._spend(size) else 0

    def give_back(self, size: int) -> None:
        """Return `size` bytes to the budget."""
        self._own += size

    def member(self) -> bool:
        """Count a member, stream or pickle; return False if it is one too many."""
        self._members -= 1
        if self._members < 0 and not self._over:
            self._stop(f"it has more than {MAX_MEMBERS} members")
        return self._spend(_MEMBER)

    def for_search(self, size: int) -> "Bounds":
        """Return an additional budget for the search of `size` bytes at any offset."""
        bounds = Bounds(size // 32, self._pool, base=BASE // 4)
        bounds.opcodes = SEARCH_OPCODES
        bounds._names = self._names
        return bounds

    def listed(self) -> bool:
        """Count an entry of a zip's directory; return False if it is one too many."""
        self._listed -= 1
        if self._listed < 0:
            self.hit[f"its zip directories list more than {MAX_LISTED} members"] = None
        return self._listed >= 0

    def walked(self, opcodes: int) -> None:
        """Count the opcodes of a walk."""
        self._spend(opcodes * _OPCODE)

    def named(self, names: int) -> None:
        """Count the names of a pickle that differs from those before it."""
        self._names -= names
        if self._names < 0 and not self._over:
            self._stop(f"its pickles look up more than {MAX_NAMES} names")

    def nest(self, depth: int) -> bool:
        """Return whether a layer at this depth may be opened."""
        if depth > MAX_DEPTH:
            self.hit[f"its layers nest more than {MAX_DEPTH} deep"] = None
        return depth <= MAX_DEPTH

    def _spend(self, steps: int) -> bool:
        """Count steps; return False if they are too many."""
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
        self.next_data = data.next_data
        self._size = data.size

    def reach(self, offset: int, /) -> int:
        """Return the offset, or the end of the bytes if that comes first."""
        return min(offset, self._size)


class Part:
    """A part of another view. Reads are counted, since parts may overlap.

    A part of a part refers to the same `whole`, in which it begins at `start`.
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
        """Return `size` bytes at an offset, fewer only at the end."""
        size = self._bounds.allow(max(min(size, self.size - offset), 0))
        return self.whole.read(self.start + offset, size) if size else b""

    def reach(self, offset: int, /) -> int:
        """Return the offset, or the end of the bytes if that comes first."""
        return max(self.whole.reach(self.start + min(offset, self.size)) - self.start, 0)


def behind_padding(view: View, offset: int, padding: bytes = b"\0\r\n") -> int:
    """Return the offset of the first byte that is not padding: 64 MiB of it are passed over.

    By default that is what may follow a pickle: shelve fills blocks, editors end lines.
    """
    limit = offset + _MAX_PADDING
    while offset < limit and (chunk := view.read(offset, CHUNK)):
        # Zeros are compared many times faster than stripped.
        spare = 0 if chunk == _ZEROS else len(chunk.lstrip(padding))
        offset += len(chunk) - spare
        if spare:
            break
    return offset
