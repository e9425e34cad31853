"""Memory that is this process's alone, for what is read before anybody vouches for it."""

import mmap
import sys
from contextlib import suppress

from pickleseal.errors import PolicyError

ALIGNMENT = 64
"""What fresh memory is aligned to, in bytes: a line of the processor's cache."""
_HUGE_SIZE = 4 << 20
_HEAP_SIZE = 32 << 20
"""What is smaller comes from the heap, if it can: a program that loads again and again gets there
memory that it has had before, and a new mapping's pages are made, and cleared, one by one."""


def fresh(length: int) -> memoryview:
    """Give memory that is this process's alone, aligned to 64 bytes, of exactly this length.

    What is in it is not said. Each has memory of its own: what is handed out for a buffer must not
    span, or keep alive, the memory of another. Raises PolicyError where there is none.
    """
    if not length:
        return memoryview(bytearray())
    try:
        return (_of_heap(length) if length < _HEAP_SIZE else None) or _mapped(length)
    except (OSError, OverflowError, MemoryError):
        raise PolicyError(f"there is no memory for a segment of {length} bytes") from None


def _of_heap(length: int) -> memoryview | None:
    """Give memory that NumPy allocates, None where it is not there, or not all of it yet."""
    # Python itself gives writable memory only after it has cleared it. Not getattr: a module that
    # is to be loaded at its first use would be loaded by that.
    try:
        numpy = object.__getattribute__(sys.modules.get("numpy"), "__dict__")
        empty, byte = numpy["empty"], numpy["uint8"]
    except (AttributeError, KeyError):
        return None
    memory = empty(length + ALIGNMENT, byte)
    start = -memory.__array_interface__["data"][0] % ALIGNMENT
    memory[:start] = memory[start + length :] = 0  # what stood there is nobody's business
    # Not a part of a view: the object behind a view has to be of exactly its size, too.
    return memoryview(memory[start : start + length])


def _mapped(length: int) -> memoryview:
    # It takes room as it is filled, so that an honest size on a short stream costs nothing.
    if hasattr(mmap, "MAP_PRIVATE"):
        # A default anonymous mapping is shared with children, who could change what was loaded.
        memory = mmap.mmap(-1, length, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    else:
        memory = mmap.mmap(-1, length)
    if length >= _HUGE_SIZE and hasattr(mmap, "MADV_HUGEPAGE"):
        with suppress(OSError):
            memory.madvise(mmap.MADV_HUGEPAGE)
    return memoryview(memory)


def own(data: memoryview) -> memoryview:
    """Give a copy of data in fresh memory."""
    memory = fresh(len(data))
    memory[:] = data
    return memory
