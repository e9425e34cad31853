"""Compress and expand segments, in threads where they are large."""

from collections.abc import Iterable, Sequence

from pickleseal.envelope import compression, layout
from pickleseal.files import threads
from pickleseal.files.memory import fresh


def compressed(segments: Iterable[memoryview], level: int) -> list[memoryview]:
    """Return the segments compressed with zstd, in their order."""
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
    """Return segments without their codec, each in fresh memory of exactly its length.

    `kind` is the number of the codec. Raise MalformedError if one does not expand to its length.
    """
    if kind == layout.STORED:
        return stored
    # Every table and frame is checked before memory is allocated: a bad one is refused as such on
    # any machine.
    frames = [list(compression.split(*pair)) for pair in zip(stored, lengths, strict=True)]
    segments = [fresh(length) for length in lengths]
    work: list[tuple[memoryview, memoryview]] = []
    for pairs, segment in zip(frames, segments, strict=True):
        start = 0
        for frame, size in pairs:
            work.append((frame, segment[start : start + size]))
            start += size
    threads.each(work, lambda _, pair: compression.expand(*pair), least=2)
    return segments
