"""Segments into their compressed form and out of it, side by side where they are large."""

from collections.abc import Iterable, Sequence

from pickleseal.envelope import compression, layout
from pickleseal.files import threads
from pickleseal.files.memory import fresh


def compressed(segments: Iterable[memoryview], level: int) -> list[memoryview]:
    """Give each segment as it is stored with the codec zstd, in the order they have."""
    counts = []
    chunks: list[memoryview] = []
    for segment in segments:
        cut = compression.chunks(segment.cast("B"))
        counts.append(len(cut))
        chunks += cut
    frames = threads.each(chunks, lambda _, chunk: compression.compress(chunk, level), least=2)
    stored = []
    start = 0
    for count in counts:
        stored.append(memoryview(compression.join(frames[start : start + count])))
        start += count
    return stored


def expanded(kind: int, stored: list[memoryview], lengths: Sequence[int]) -> list[memoryview]:
    """Give segments without their codec, each in fresh memory of exactly its length.

    `kind` is the codec's number. Raises MalformedError for what does not expand to that.
    """
    if kind == layout.STORED:
        return stored
    segments = [fresh(length) for length in lengths]
    work: list[tuple[memoryview, memoryview]] = []
    for packed, segment in zip(stored, segments, strict=True):
        start = 0
        for frame, size in compression.split(packed, len(segment)):
            work.append((frame, segment[start : start + size]))
            start += size
    threads.each(work, lambda _, pair: compression.expand(*pair), least=2)
    return segments
