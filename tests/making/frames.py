"""Compressed vectors, their frames put together by hand."""

import struct
from collections.abc import Iterator

from making.parts import BLAKE, ONE, SHA, Vector, buffers, compressed, patched, tag_anew

RAW, RLE = 0, 1
"""Kinds of zstd's blocks: bytes as they are, and one byte many times."""
CHUNK = 4 << 20


def block(kind: int, size: int, data: bytes, *, last: bool) -> bytes:
    return (last | kind << 1 | size << 3).to_bytes(3, "little") + data


def zeros(size: int, *, last: bool = True) -> bytes:
    """Return zstd's blocks of that many zeros, with or without the last one of a frame."""
    most = 128 << 10
    sizes = [most] * (size // most) + [size % most] * bool(size % most)
    ends = [False] * (len(sizes) - 1) + [last]
    return b"".join(block(RLE, n, b"\0", last=end) for n, end in zip(sizes, ends, strict=True))


def frame(size: int, blocks: bytes) -> bytes:
    """Return a frame of zstd (RFC 8878) that says how much it holds and needs no larger window."""
    return b"\x28\xb5\x2f\xfd" + b"\xa0" + struct.pack("<I", size) + blocks


def frame_of(data: bytes) -> bytes:
    return frame(len(data), block(RAW, len(data), data, last=True))


def packed(*frames: bytes) -> bytes:
    """Return a compressed segment: the table and the frames."""
    sizes = b"".join(struct.pack("<I", len(one)) for one in frames)
    return struct.pack("<II", 0x184D2A50, len(sizes)) + sizes + b"".join(frames)


CHECKSUM = bytes.fromhex("a212a0a2")
"""That of zstd over the number 1, as it is pickled."""
MAGIC = b"\x28\xb5\x2f\xfd"
REPEATED = b"\x80\x05C\xfa" + b"pickleseal" * 25 + b"."
SQUEEZED = bytes.fromhex("28b52ffd20ffb5000078800543fa7069636b6c657365616c2e0100ed524509")
"""What zstd 1.5.7 makes of it."""


NONE = block(RAW, 0, b"", last=True)


def good_zstd() -> Iterator[Vector]:
    for name, key in (("sha256", SHA), ("blake3", BLAKE)):
        data = compressed([packed(frame_of(ONE))], [len(ONE)], key=key)
        yield Vector(f"good-zstd-{name}", "ok", data, "compressed, the least there is")
        three = buffers(3)
        stored = [packed(frame_of(three)), packed(frame_of(b"a" * 64)), b"", packed(frame_of(b"b"))]
        data = compressed(stored, [len(three), 64, 0, 1], key=key)
        yield Vector(f"good-zstd-{name}-buffers", "ok", data, "one of them empty")
    for more in (-1, 0, 1):
        size = CHUNK + more
        start = b"\x80\x05B" + struct.pack("<I", size - 8)
        opened = block(RAW, 7, start, last=False)
        if more < 1:
            end = block(RAW, 1, b".", last=True)
            frames = [frame(size, opened + zeros(size - 8, last=False) + end)]
        else:
            frames = [frame(CHUNK, opened + zeros(CHUNK - 7)), frame_of(b".")]
        data = compressed([packed(*frames)], [size])
        yield Vector(f"good-zstd-raw-{size}", "ok", data, "around a frame")
    raw = block(RAW, len(ONE), ONE, last=True)
    long = b"\x80\x05C\xff" + b"x" * 255 + b"0C\x22" + b"y" * 34 + b"."
    two = block(RAW, 100, long[:100], last=False) + block(
        RAW, len(long) - 100, long[100:], last=True
    )
    for name, one, stream, comment in (
        ("unsized", MAGIC + b"\0\x60" + raw, ONE, "a frame that names a window of 4 MiB alone"),
        ("window", MAGIC + b"\x80\x60" + struct.pack("<I", 5) + raw, ONE, "a window and a size"),
        ("window-least", MAGIC + b"\0\0" + raw, ONE, "a window of 1 KiB"),
        ("window-eighths", MAGIC + b"\0\x5f" + raw, ONE, "a window of 15/8 of 2 MiB"),
        ("size-of-1", MAGIC + b"\x20\5" + raw, ONE, "its size in one byte"),
        ("size-of-2", MAGIC + b"\x60" + struct.pack("<H", 41) + two, long, "in two, less 256"),
        ("size-of-8", MAGIC + b"\xe0" + struct.pack("<Q", 5) + raw, ONE, "in eight"),
        ("blocks", frame(len(ONE), block(RAW, 0, b"", last=False) + raw), ONE, "an empty block"),
    ):
        data = compressed([packed(one)], [len(stream)])
        yield Vector(f"good-zstd-{name}", "ok", data, comment)
    data = compressed([packed(SQUEEZED)], [len(REPEATED)])
    yield Vector("good-zstd-squeezed", "ok", data, "a block that is compressed")
    largest = b"\x80\x05B" + struct.pack("<I", (128 << 10) - 8) + bytes((128 << 10) - 8) + b"."
    data = compressed([packed(frame_of(largest))], [len(largest)])
    yield Vector("good-zstd-block-largest", "ok", data, "a block of 128 KiB")


def bad_zstd() -> Iterator[Vector]:
    """Return envelopes whose seal holds, and whose segments do not expand to what the head says."""
    whole = frame_of(ONE)
    good = packed(whole)
    size = len(ONE)
    blocks = block(RAW, size, ONE, last=True)
    sized = struct.pack("<I", size)
    more = block(RAW, size + 1, ONE + b"\0", last=True)
    less = block(RAW, size - 1, ONE[:-1], last=True)
    large = (128 << 10) + 1
    kibi = 1 << 10
    for name, stored, raw, comment in (
        ("no-table", whole, size, "a frame alone"),
        ("table-magic", b"\x51" + good[1:], size, "another kind of skippable frame"),
        ("table-size", good[:4] + b"\x08" + good[5:], size, "a table of two"),
        ("table-cut", good[:11], size, "cut off inside the table"),
        ("frame-more", good[:8] + struct.pack("<I", len(whole) + 1) + whole, size, "too large"),
        ("frame-less", good[:8] + struct.pack("<I", len(whole) - 1) + whole, size, "too small"),
        ("frame-cut", packed(whole[:-1]), size, "a frame that does not end"),
        ("frame-broken", packed(whole[:-2] + b"\0\0\0"), size, "bytes behind its last block"),
        ("frame-other", packed(b"\0" * len(whole)), size, "no frame at all"),
        ("frame-window", packed(MAGIC + b"\0\x68" + blocks), size, "a window of 8 MiB"),
        ("frame-window-eighth", packed(MAGIC + b"\0\x61" + blocks), size, "a window of 4.5 MiB"),
        (
            "frame-window-sized",
            packed(MAGIC + b"\x80\x68" + sized + blocks),
            size,
            "8 MiB, and sized",
        ),
        ("frame-legacy", packed(b"\x27" + whole[1:]), size, "zstd before 0.8"),
        ("frame-unused-bit", packed(MAGIC + b"\xb0" + whole[5:]), size, "bit 4 is set"),
        ("frame-reserved-bit", packed(MAGIC + b"\xa8" + whole[5:]), size, "bit 3 is set"),
        ("frame-checksum", packed(MAGIC + b"\xa4" + whole[5:] + CHECKSUM), size, "the right one"),
        (
            "frame-checksum-wrong",
            packed(MAGIC + b"\xa4" + whole[5:] + b"sums"),
            size,
            "and a wrong",
        ),
        ("frame-dictionary", packed(MAGIC + b"\xa1\7" + whole[5:]), size, "it names dictionary 7"),
        ("frame-dictionary-0", packed(MAGIC + b"\xa1\0" + whole[5:]), size, "number 0, for none"),
        ("frame-size-more", packed(frame(size + 1, blocks)), size, "it states a byte more"),
        ("frame-size-less", packed(frame(size - 1, blocks)), size, "it states a byte less"),
        (
            "frame-size-other",
            packed(frame(size + 1, more)),
            size,
            "it is a byte longer, and says so",
        ),
        ("frame-unsized-more", packed(MAGIC + b"\0\x60" + more), size, "unsized, a byte more"),
        ("frame-unsized-less", packed(MAGIC + b"\0\x60" + less), size, "unsized, a byte less"),
        (
            "frame-holds-less",
            packed(frame(size + 1, blocks)),
            size + 1,
            "it states a byte too many",
        ),
        ("frame-holds-nothing", packed(frame(size, NONE)), size, "one block, and it is empty"),
        (
            "frame-holds-more",
            packed(MAGIC + b"\x80\x60" + sized + more),
            size,
            "it states a byte too few",
        ),
        ("frame-skippable", packed(b"\x50" + whole[1:]), size, "a skippable frame"),
        ("frame-header-cut", packed(whole[:5]), size, "cut off behind its descriptor"),
        ("frame-sizes-cut", packed(whole[:7]), size, "cut off inside its size"),
        ("frame-magic-cut", packed(whole[:3]), size, "cut off inside its magic"),
        ("frame-block-header-cut", packed(whole[:11]), size, "cut off inside a block's header"),
        ("frame-rle-cut", packed(frame(size, block(RLE, size, b"", last=True))), size, "no byte"),
        ("frame-not-last", packed(frame(size, block(RAW, size, ONE, last=False))), size, "no last"),
        (
            "frame-block-reserved",
            packed(frame(size, block(3, size, ONE, last=True))),
            size,
            "type 3",
        ),
        (
            "frame-block-damaged",
            packed(frame(size, block(2, size, ONE, last=True))),
            size,
            "type 2",
        ),
        (
            "frame-block-over-size",
            packed(frame(size, more)),
            size,
            "a block above the frame's size",
        ),
        (
            "frame-block-over-window",
            packed(MAGIC + b"\0\0" + block(RAW, kibi + 1, bytes(kibi + 1), last=True)),
            kibi + 1,
            "a block above the window",
        ),
        (
            "frame-block-over-128-kib",
            packed(frame(large, block(RLE, large, b"\0", last=True))),
            large,
            "a block above 128 KiB",
        ),
        ("bytes-behind", good + b"\0", size, "a byte behind the last frame"),
        ("raw-none-of-zeros", bytes(64), 0, "it should be empty"),
        ("frames-in-one", packed(whole + whole), size, "two frames in the place of one"),
        ("frames-two", packed(whole, frame_of(b"")), size, "a frame too many"),
        ("frame-none", packed(), size, "no frame"),
        ("raw-more", good, size + 1, "it holds a byte less than the head says"),
        ("raw-less", good, size - 1, "it holds a byte more than the head says"),
        ("raw-none", good, 0, "it should be empty"),
        ("raw-another-frame", good, CHUNK + size, "it should have two frames"),
        ("stored-none", b"", size, "it should not be empty"),
    ):
        data = compressed([stored], [raw])
        yield Vector(f"bad-zstd-{name}", "malformed", data, comment)
    for name, raw_size in (("2-43", 2**43), ("of-2-44", 2**44)):
        data = compressed([good], [raw_size])
        comment = "its table would be larger than the segment"
        yield Vector(f"bad-zstd-raw-{name}", "malformed", data, comment)
    two = bytearray(compressed([good, good], [size, 64]))
    two[96:104], two[112:120] = struct.pack("<Q", 2**64 - 64), struct.pack("<Q", 192)
    comment = "the stored sizes add up in 64 bits only"
    yield Vector("bad-zstd-stored-wraps", "malformed", tag_anew(two), comment)
    bomb = packed(frame(size, zeros(CHUNK)))
    yield Vector("bad-zstd-bomb", "malformed", compressed([bomb], [size]), "4 MiB in 5 bytes")
    data = tag_anew(patched(104, struct.pack("<Q", 2**44 + 1), compressed([good], [size])))
    yield Vector("bad-raw-size-2-44-and-one", "malformed", data, "more than any envelope holds")
    data = tag_anew(patched(104, struct.pack("<Q", 2**64 - 1), compressed([good], [size])))
    yield Vector("bad-raw-size-2-64-less-one", "malformed", data, "more than any envelope holds")
