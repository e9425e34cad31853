"""Memory that is this process's alone, for what is read before anybody vouches for it."""

import mmap
from collections.abc import Iterator, Sequence
from contextlib import suppress

from pickleseal import envelope
from pickleseal.errors import PolicyError

_HUGE_SIZE = 4 << 20


def allocate(lengths: Sequence[int]) -> tuple[list[memoryview], list[memoryview]]:
    """Give fresh private memory for segments of these lengths, and for the padding of each."""
    segments = [fresh(length) for length in lengths]
    paddings = [memoryview(bytearray(envelope.padding(length))) for length in lengths]
    return segments, paddings


def fresh(length: int) -> memoryview:
    """Give zeroed memory that is this process's alone, aligned to a page, of exactly this length.

    Each has a mapping of its own: what is handed out for a buffer must not span, or keep
    alive, the memory of another. A mapping takes room as it is filled, so that an honest
    size on a short stream costs nothing. MAP_PRIVATE: a default anonymous mapping is shared
    with forked children, who could change what the parent loaded.
    """
    if not length:
        return memoryview(bytearray())
    try:
        if hasattr(mmap, "MAP_PRIVATE"):
            memory = mmap.mmap(-1, length, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        else:
            memory = mmap.mmap(-1, length)
    except (OSError, OverflowError, MemoryError):
        raise PolicyError(f"there is no memory for a segment of {length} bytes") from None
    if length >= _HUGE_SIZE and hasattr(mmap, "MADV_HUGEPAGE"):
        with suppress(OSError):
            memory.madvise(mmap.MADV_HUGEPAGE)
    return memoryview(memory)


def own(data: memoryview) -> memoryview:
    """Give a copy of data in fresh memory."""
    memory = fresh(len(data))
    memory[:] = data
    return memory


def interleaved(
    segments: Sequence[memoryview], paddings: Sequence[memoryview]
) -> Iterator[memoryview]:
    """Give each segment and what pads it, as they follow one another in a body."""
    for segment, zeros in zip(segments, paddings, strict=True):
        yield segment
        yield zeros
