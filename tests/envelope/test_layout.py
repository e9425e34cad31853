"""Where each field of an envelope stands, and which heads no envelope has."""

import gzip
import pickle
import struct
import zlib
from collections import OrderedDict
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pickleseal import (
    MalformedError,
    NothingToReadError,
    NotSealedError,
    Suite,
)
from pickleseal.envelope import layout
from pickleseal.envelope.layout import (
    ALIGNMENT,
    FIXED_SIZE,
    MAX_METADATA,
    MAX_SEGMENTS,
    MAX_TOTAL,
    TAG_SIZE,
    Fixed,
    Head,
    head_bytes,
    pack_head,
    padding,
    parse_fixed,
    parse_head,
)

KEY_ID = bytes(range(16))


def fixed_of(
    suite: Suite, key_id: bytes, metadata_size: int, segments: int, total: int, codec: int
) -> Fixed:
    offsets = layout._offsets(metadata_size, segments)
    return Fixed(suite, key_id, metadata_size, segments, total, codec, *offsets)


lengths_of_segments = st.lists(
    st.integers(0, 300) | st.integers(0, 1 << 30), min_size=1, max_size=40
)
heads = st.builds(
    pack_head,
    st.sampled_from(Suite),
    st.binary(min_size=16, max_size=16),
    st.binary(min_size=2, max_size=300),
    lengths_of_segments,
)


def start(
    *,
    magic: bytes = b"\xa6PSEAL\r\n",
    version: int = 1,
    suite: int = 2,
    flags: int = 0,
    metadata_size: int = 2,
    segments: int = 1,
    total: int = 160,
    codec: int = 0,
    reserved: bytes = bytes(14),
) -> bytes:
    """Write the first 64 bytes of an envelope field by field; by default the smallest one's."""
    data = (
        magic
        + struct.pack("<HHI", version, suite, flags)
        + KEY_ID
        + struct.pack("<IIQH", metadata_size, segments, total, codec)
        + reserved
    )
    assert len(data) == 64
    return data


def head_of(lengths: Sequence[int], metadata: bytes = b"{}") -> tuple[Fixed, bytearray]:
    head = pack_head(Suite.BLAKE3, KEY_ID, metadata, lengths)
    return head.fixed, bytearray(head_bytes(head))


# --- what is no envelope ---------------------------------------------------------------------


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("obj", [[1, 2], {"a": 1}, pickle.Pickler, slice(1), OrderedDict(a=1)])
def test_what_looks_like_a_pickle_could_be_adopted(obj: object, protocol: int) -> None:
    with pytest.raises(NotSealedError, match=r"a plain, unsealed pickle.*pickleseal adopt"):
        parse_fixed(pickle.dumps(obj, protocol)[:64])


@pytest.mark.parametrize(
    "start",
    [
        gzip.compress(b"x", mtime=0),
        *(zlib.compress(b"x", level) for level in (0, 1, 6, 9)),
        b"BZh9",
    ],
)
def test_what_is_compressed_could_be_adopted(start: bytes) -> None:
    with pytest.raises(NotSealedError, match=r"looks like.*pickleseal adopt"):
        parse_fixed(start)


@pytest.mark.parametrize(
    "start", [b"\x1f\x8b", b"BZh9", b"\xfd7zXZ", b"\x04\x22\x4d\x18", b"\x28\xb5\x2f\xfd"]
)
def test_what_is_compressed_could_be_sealed_inside(start: bytes) -> None:
    with pytest.raises(NotSealedError, match="If it is sealed inside, decompress it first"):
        parse_fixed(start)


@pytest.mark.parametrize(
    "start",
    [
        *(b"import os\n", b"PK\x03\x04", b"\x93NUMPY", b"x = 1\n", b"cat\ndog\npig\nquail\n"),
        *(b"# A title\n", b"(see below)", b"[1]", b"{}", b"N.", b"\x80\x00", b"\0" * 64),
    ],
)
def test_nobody_is_told_to_adopt_what_is_no_pickle(start: bytes) -> None:
    with pytest.raises(NotSealedError) as refused:
        parse_fixed(start)
    assert "pickleseal adopt" not in str(refused.value)


@pytest.mark.parametrize(
    ("start", "tool"),
    [
        (b"PK\x03\x04", "such as torch.load or numpy.load"),
        (b"ZF0x18f", "joblib.load"),
        (b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", "torch.load"),
    ],
)
def test_what_another_tool_must_load_is_told_with_the_tool(start: bytes, tool: str) -> None:
    with pytest.raises(NotSealedError, match=f"{tool}, and save it with signed_dump"):
        parse_fixed(start.ljust(64, b"\0"))


# --- layout ----------------------------------------------------------------------------------


@pytest.mark.parametrize("segments", [1, 2, 3, 4, 5, 6, 7, 8, 9, 63, 64, 65, 1000, MAX_SEGMENTS])
def test_the_body_begins_at_the_first_multiple_of_64_that_leaves_room(segments: int) -> None:
    for metadata_size in range(2, 201):
        fixed = fixed_of(Suite.BLAKE3, KEY_ID, metadata_size, segments, 0, 0)
        assert fixed.table_start % 16 == 0
        assert 0 <= fixed.table_start - (64 + metadata_size) < 16
        body_start = fixed.head_size + 32
        assert body_start % 64 == 0
        assert 0 <= body_start - (fixed.table_start + 16 * segments + 32) < 64


@pytest.mark.parametrize(
    ("metadata_size", "segments", "head_size"),
    [
        (2, 1, 96),  # 64, 2 + 14, 16
        (16, 1, 96),
        (17, 1, 160),  # 64, 17 + 15, 16, then 48 zeros
        (2, 2, 160),  # 64, 2 + 14, 32, then 48 zeros
        (2, 5, 160),  # 64, 2 + 14, 80
        (2, 6, 224),
        (65536, 65536, 64 + 65536 + 16 * 65536 + 32),
    ],
)
def test_head_sizes_worked_out_by_hand(metadata_size: int, segments: int, head_size: int) -> None:
    fixed = fixed_of(Suite.SHA256, KEY_ID, metadata_size, segments, 0, 0)
    assert fixed.head_size == head_size


@pytest.mark.parametrize(
    ("size", "zeros"), [(0, 0), (1, 63), (63, 1), (64, 0), (65, 63), (1 << 44, 0)]
)
def test_padding_fills_up_to_the_next_multiple_of_64(size: int, zeros: int) -> None:
    assert padding(size) == zeros


@given(heads)
def test_every_segment_begins_at_a_multiple_of_64(head: Head) -> None:
    offset = head.fixed.head_size + TAG_SIZE
    for length in head.lengths:
        assert offset % ALIGNMENT == 0
        offset += length + padding(length)
    assert offset + TAG_SIZE == head.fixed.total_size
    assert offset - head.fixed.head_size - TAG_SIZE == head.fixed.body_size


@given(heads)
def test_what_is_packed_is_parsed_as_it_was(head: Head) -> None:
    data = head_bytes(head)
    assert len(data) == head.fixed.head_size
    fixed = parse_fixed(data[:FIXED_SIZE])
    assert fixed == head.fixed
    assert parse_head(fixed, data) == head
    assert fixed.pack() == data[:FIXED_SIZE]


@given(
    st.binary(min_size=64, max_size=64) | st.binary(min_size=49, max_size=49).map(start().__add__)
)
def test_any_64_bytes_are_refused_or_packed_as_they_were(data: bytes) -> None:
    try:
        fixed = parse_fixed(data)
    except (NotSealedError, MalformedError):
        return
    assert fixed.pack() == data[:FIXED_SIZE]


def test_a_whole_head_worked_out_by_hand() -> None:
    head = pack_head(Suite.BLAKE3, KEY_ID, b'{"content":"pickle"}', [5, 64])
    expected = start(metadata_size=20, segments=2, total=160 + 32 + 64 + 64 + 32)
    expected += b'{"content":"pickle"}' + bytes(12)
    expected += struct.pack("<QQQQ", 5, 5, 64, 64)
    expected += bytes(32)
    assert head_bytes(head) == expected


# --- the first 64 bytes ----------------------------------------------------------------------


def test_the_smallest_envelope_is_read() -> None:
    fixed = parse_fixed(start())
    assert fixed == fixed_of(Suite.BLAKE3, KEY_ID, 2, 1, 160, 0)
    assert fixed.head_size == 96
    assert fixed.body_size == 0


def test_the_largest_sizes_are_read_and_one_more_of_each_is_refused() -> None:
    both = fixed_of(Suite.BLAKE3, KEY_ID, MAX_METADATA, MAX_SEGMENTS, 0, 0).head_size + 64
    fixed = parse_fixed(start(metadata_size=MAX_METADATA, segments=MAX_SEGMENTS, total=both))
    assert (fixed.metadata_size, fixed.segments, fixed.body_size) == (65536, 65536, 0)
    for metadata_size, segments in [(MAX_METADATA + 1, 1), (2, MAX_SEGMENTS + 1)]:
        size = fixed_of(Suite.BLAKE3, KEY_ID, metadata_size, segments, 0, 0).head_size + 64
        with pytest.raises(MalformedError):
            parse_fixed(start(metadata_size=metadata_size, segments=segments, total=size))


@pytest.mark.parametrize("metadata_size", [0, 1, (1 << 16) + 1, (1 << 32) - 1])
def test_a_metadata_size_out_of_range_is_refused(metadata_size: int) -> None:
    size = fixed_of(Suite.BLAKE3, KEY_ID, metadata_size, 1, 0, 0).head_size + 64
    with pytest.raises(MalformedError):
        parse_fixed(start(metadata_size=metadata_size, total=size))


@pytest.mark.parametrize("segments", [0, (1 << 16) + 1, (1 << 32) - 1])
def test_a_segment_count_out_of_range_is_refused(segments: int) -> None:
    size = fixed_of(Suite.BLAKE3, KEY_ID, 2, segments, 0, 0).head_size + 64
    with pytest.raises(MalformedError):
        parse_fixed(start(segments=segments, total=size))


def test_the_largest_total_size_is_read_and_the_next_that_fits_is_refused() -> None:
    largest = MAX_TOTAL - 32  # a total is 32 more than a multiple of 64
    assert largest % 64 == 32
    assert parse_fixed(start(total=largest)).total_size == largest
    for total in (largest + 64, (1 << 64) - 32):
        assert total % 64 == 32
        with pytest.raises(MalformedError):
            parse_fixed(start(total=total))


@pytest.mark.parametrize("total", [0, 64, 96, 128, 159, 161, 192, 223, 225, 255, 256])
def test_a_total_size_that_does_not_fit_the_head_is_refused(total: int) -> None:
    with pytest.raises(MalformedError):
        parse_fixed(start(total=total))


@pytest.mark.parametrize("total", [160, 224, 288])
def test_a_total_size_that_fits_the_head_is_read(total: int) -> None:
    assert parse_fixed(start(total=total)).body_size == total - 160


@pytest.mark.parametrize("version", [0, 2, 256, 65535])
def test_another_version_is_refused(version: int) -> None:
    with pytest.raises(MalformedError):
        parse_fixed(start(version=version))


@pytest.mark.parametrize("suite", list(Suite))
def test_a_known_suite_is_read(suite: Suite) -> None:
    assert parse_fixed(start(suite=suite.value)).suite is suite


@pytest.mark.parametrize("suite", [0, 3, 256, 512, 65535])
def test_another_suite_is_refused(suite: int) -> None:
    with pytest.raises(MalformedError):
        parse_fixed(start(suite=suite))


@pytest.mark.parametrize("codec", [2, 256, 65535])
def test_another_codec_is_refused(codec: int) -> None:
    with pytest.raises(MalformedError):
        parse_fixed(start(codec=codec))


@pytest.mark.parametrize("bit", range(32))
def test_a_flag_is_refused(bit: int) -> None:
    with pytest.raises(MalformedError):
        parse_fixed(start(flags=1 << bit))


@pytest.mark.parametrize("position", range(14))
def test_a_reserved_byte_that_is_set_is_refused(position: int) -> None:
    reserved = bytearray(14)
    reserved[position] = 1
    with pytest.raises(MalformedError):
        parse_fixed(start(reserved=bytes(reserved)))


@pytest.mark.parametrize("position", range(8))
def test_a_changed_magic_is_no_envelope(position: int) -> None:
    data = bytearray(start())
    data[position] ^= 0x20
    with pytest.raises(NotSealedError) as caught:
        parse_fixed(bytes(data))
    assert not isinstance(caught.value, NothingToReadError)


@pytest.mark.parametrize("size", range(1, 64))
def test_the_start_of_an_envelope_is_cut_off_and_that_of_another_file_not_sealed(
    size: int,
) -> None:
    with pytest.raises(MalformedError):
        parse_fixed(start()[:size])
    with pytest.raises(NotSealedError):
        parse_fixed((b"\x80\x05" + bytes(62))[:size])


def test_nothing_is_nothing_to_read() -> None:
    with pytest.raises(NothingToReadError):
        parse_fixed(b"")


# --- the rest of the head --------------------------------------------------------------------


@pytest.mark.parametrize("lengths", [[0], [5], [5, 64], [0, 0, 0, 0, 0, 0], [1] * 7])
@pytest.mark.parametrize("metadata_size", [2, 15, 16, 17, 33])
def test_every_byte_of_padding_in_a_head_must_be_zero(
    lengths: list[int], metadata_size: int
) -> None:
    fixed, data = head_of(lengths, b"m" * metadata_size)
    table_end = fixed.table_start + 16 * len(lengths)
    zeros = [*range(64 + metadata_size, fixed.table_start), *range(table_end, fixed.head_size)]
    parse_head(fixed, bytes(data))
    for position in zeros:
        data[position] = 0x80
        with pytest.raises(MalformedError):
            parse_head(fixed, bytes(data))
        data[position] = 0


def test_padding_between_metadata_and_table_is_none_where_the_metadata_end_at_16() -> None:
    fixed, data = head_of([1, 2, 3, 4, 5], b"m" * 16)
    assert fixed.table_start == 80
    assert fixed.head_size == 80 + 80
    assert parse_head(fixed, bytes(data)).metadata == b"m" * 16


@pytest.mark.parametrize(("stored", "raw"), [(64, 63), (63, 64), (64, 0), (64, 1 << 63)])
def test_a_segment_of_two_sizes_is_refused(stored: int, raw: int) -> None:
    fixed, data = head_of([64])
    struct.pack_into("<QQ", data, fixed.table_start, stored, raw)
    with pytest.raises(MalformedError):
        parse_head(fixed, bytes(data))


@pytest.mark.parametrize(
    "lengths",
    [
        [0, 64],  # 64 too few
        [128, 64],  # 64 too many
        [65, 64],  # 64 too many, of which 63 are padding
        [0, 0],
        [(1 << 64) - 64, 192],  # 128 again, if sums were taken of 64 bits
        [(1 << 64) - 1, 128],
        [1 << 63, (1 << 63) + 128],
    ],
)
def test_segment_sizes_that_do_not_add_up_are_refused(lengths: list[int]) -> None:
    fixed, data = head_of([64, 64])
    rows = b"".join(struct.pack("<QQ", size, size) for size in lengths)
    data[fixed.table_start : fixed.table_start + len(rows)] = rows
    with pytest.raises(MalformedError):
        parse_head(fixed, bytes(data))


@pytest.mark.parametrize("lengths", [[1, 1], [64, 1], [63, 2], [128, 0], [0, 65]])
def test_segment_sizes_that_add_up_are_read_whatever_they_were(lengths: list[int]) -> None:
    """The head alone cannot tell them apart; its tag can."""
    fixed, data = head_of([64, 64])
    rows = b"".join(struct.pack("<QQ", size, size) for size in lengths)
    data[fixed.table_start : fixed.table_start + len(rows)] = rows
    assert parse_head(fixed, bytes(data)).lengths == tuple(lengths)


# --- packing ---------------------------------------------------------------------------------


def test_an_envelope_of_the_largest_size_is_packed_and_a_larger_one_is_not() -> None:
    room = MAX_TOTAL - 32 - 160
    head = pack_head(Suite.BLAKE3, KEY_ID, b"{}", [room])
    assert head.fixed.total_size == MAX_TOTAL - 32
    parse_fixed(head_bytes(head)[:FIXED_SIZE])
    with pytest.raises(OverflowError):
        pack_head(Suite.BLAKE3, KEY_ID, b"{}", [room + 1])


def test_segments_may_expand_to_the_largest_size_and_to_no_more() -> None:
    raw = [MAX_TOTAL - 1, 1]
    head = pack_head(Suite.BLAKE3, KEY_ID, b"{}", [64, 64], raw)
    assert parse_head(head.fixed, head_bytes(head)).raw == tuple(raw)
    with pytest.raises(OverflowError):
        pack_head(Suite.BLAKE3, KEY_ID, b"{}", [64, 64], [MAX_TOTAL, 1])


def test_the_most_segments_are_packed_and_read() -> None:
    fixed, data = head_of([0] * MAX_SEGMENTS)
    assert parse_head(parse_fixed(bytes(data[:FIXED_SIZE])), bytes(data)).fixed == fixed
