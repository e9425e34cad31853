"""Private, aligned memory for bytes that are not verified yet."""

import mmap
import sys
from contextlib import suppress

ALIGNMENT = 64
"""Alignment of fresh memory in bytes, a cache line."""
_HUGE_SIZE = 4 << 20
_HEAP_SIZE = 32 << 20
"""Smaller sizes come from the heap if possible, which reuses memory; the pages of a new mapping are
made and cleared one by one."""


def fresh(length: int) -> memoryview:
    """Return memory private to this process, aligned to 64 bytes, of exactly this length.

    What is in it is not said. Each has memory of its own: what is handed out for a buffer must not
    span, or keep alive, the memory of another. Raises MemoryError where there is none.
    """
    if not length:
        return memoryview(bytearray())
    try:
        return (_of_heap(length) if length < _HEAP_SIZE else None) or _mapped(length)
    except (OSError, OverflowError, MemoryError):
        raise MemoryError(f"not enough memory for a segment of {length:,} bytes") from None


def _of_heap(length: int) -> memoryview | None:
    """Return memory that NumPy allocates, or None if NumPy is not loaded completely."""
    # Python's own writable memory is cleared first. Not getattr: it would load a lazy module.
    try:
        numpy = object.__getattribute__(sys.modules.get("numpy"), "__dict__")
        empty, byte = numpy["empty"], numpy["uint8"]
    except (AttributeError, KeyError):
        return None
    memory = empty(length + ALIGNMENT, byte)
    start = -memory.__array_interface__["data"][0] % ALIGNMENT
    memory[:start] = memory[start + length :] = 0  # leftovers of other objects
    # Not a slice of a view: the object behind a view must have exactly its size, too.
    return memoryview(memory[start : start + length])


def _mapped(length: int) -> memoryview:
    # Pages are allocated as they are filled: a large size before a short stream costs nothing.
    if hasattr(mmap, "MAP_PRIVATE"):
        # A default anonymous mapping is shared with forked children, which could change it.
        memory = mmap.mmap(-1, length, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    else:
        memory = mmap.mmap(-1, length)
    if length >= _HUGE_SIZE and hasattr(mmap, "MADV_HUGEPAGE"):
        with suppress(OSError):
            memory.madvise(mmap.MADV_HUGEPAGE)
    return memoryview(memory)


def own(data: memoryview) -> memoryview:
    """Return a copy of data in fresh memory."""
    memory = fresh(len(data))
    memory[:] = data
    return memory
