"""Make tests/vectors: `python tests/make_vectors.py` writes them anew, always the same.

The good ones are sealed by the package's pure core. The bad ones are made of a good one with one
fault, and where a foreign writer with the key could have made the fault, it is properly tagged.
"""

import gzip
import hashlib
import pickle
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from pickleseal.envelope import hashing, layout, seal
from pickleseal.envelope.metadata import External, Metadata
from pickleseal.envelope.target import join_envelope
from pickleseal.keys import mac
from pickleseal.keys.key import Key
from pickleseal.keys.mac import Mac
from pickleseal.keys.suite import Suite

FOLDER = Path(__file__).with_name("vectors")
NOW = 2_000_000_000

SECRET = bytes(range(32))
REVOKED_SECRET = bytes(range(255, 223, -1))
SHA = Key(Suite.SHA256, Mac(SECRET))
BLAKE = Key(Suite.BLAKE3, Mac(SECRET))
REVOKED = Key(Suite.BLAKE3, Mac(REVOKED_SECRET))
STRANGER = Key(Suite.BLAKE3, Mac(b"a secret that no reader has: 32."))

BUFFERS = (b"first", b"second buffer")
"""What the caller gives as external buffers."""

ONE = pickle.dumps(1, 5)
PLAIN = Metadata(content="pickle")


class Vector(NamedTuple):
    """One file: its name, what it is refused as or "ok", the bytes, and what a reader names."""

    name: str
    expect: str
    data: bytes
    comment: str
    context: str = ""

    def to_bytes(self) -> bytes:
        data, lines = self.data, [f"expect: {self.expect}", f"context: {self.context}"]
        if len(data) > 1 << 16:
            lines.append("encoding: gzip")
            data = gzip.compress(data, mtime=0)[:9] + b"\xff" + gzip.compress(data, mtime=0)[10:]
        lines.append(f"comment: {self.comment}")
        return "\n".join(lines).encode() + b"\n\n" + data


def sealed(metadata: Metadata, segments: list[bytes], key: Key = BLAKE) -> bytes:
    head = seal.seal_head(key, metadata, [len(segment) for segment in segments])
    return join_envelope(head.data, [memoryview(s) for s in segments], head.finish, key.suite)


def tag_anew(data: bytes | bytearray, key: Key = BLAKE, *, body_size: int | None = None) -> bytes:
    """Put right tags on an envelope that breaks some other rule."""
    m, n = struct.unpack_from("<II", data, 32)
    fixed = layout.Fixed.of(key.suite, key.raw_id, m, n, 0, 0)
    h, t = fixed.head_size, fixed.table_start
    head = bytes(data[:h])
    body = bytes(data[h + 32 : -32])
    head_digest = hashing.head_digest(key.suite, head)
    header = mac.statement(mac.HEADER, key.suite, key.raw_id, h, head_digest)
    leaves = [hashing.leaf_digest(key.suite, leaf) for leaf in hashing.split([memoryview(body)])]
    codec = int.from_bytes(data[48:50], "little")
    content = hashing.content_digest(key.suite, len(body), codec, head[t : t + 16 * n], leaves)
    digest = hashing.envelope_digest(key.suite, head_digest, content)
    size = len(data) - 32
    whole = mac.statement(mac.ENVELOPE, key.suite, key.raw_id, size, digest)
    return head + key.mac(header) + body + key.mac(whole)


def tagged_rows(lengths: list[int], body: bytes) -> bytes:
    """Seal a body under a segment table of a foreign writer's."""
    head = layout.pack_head(BLAKE.suite, BLAKE.raw_id, PLAIN.encode(), lengths)
    padded = body + bytes(layout.padding(len(body)))
    return tag_anew(layout.head_bytes(head) + bytes(32) + padded + bytes(32))


def with_metadata(metadata: bytes) -> bytes:
    """Seal metadata in a spelling of a foreign writer's."""
    head = layout.pack_head(BLAKE.suite, BLAKE.raw_id, metadata, [len(ONE)])
    body = ONE.ljust(64, b"\0")
    return tag_anew(layout.head_bytes(head) + bytes(32) + body + bytes(32))


def patched(offset: int, new: bytes, data: bytes | None = None) -> bytes:
    data = sealed(PLAIN, [ONE]) if data is None else data
    return data[:offset] + new + data[offset + len(new) :]


def buffers(count: int, size: int = 0) -> bytes:
    """Return a stream of at least `size` bytes: a list of that many out-of-band buffers."""
    made = b"(" + b"\x97" * count + b"l."
    return b"\x80\x05" + b"N0" * ((size - len(made) - 2) // 2) + made


def bound(count: int, size: int, *given: bytes) -> External:
    """Return `external` as worked out from the specification, its digest over `given`."""
    pieces = (struct.pack("<Q", len(b)) + hashlib.sha256(b).digest() for b in given)
    return External(count, size, hashlib.sha256(b"".join(pieces)).hexdigest())


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


def compressed(
    segments: list[bytes], raw: list[int], metadata: Metadata = PLAIN, key: Key = BLAKE
) -> bytes:
    head = seal.seal_head(key, metadata, [len(segment) for segment in segments], raw)
    return join_envelope(head.data, [memoryview(s) for s in segments], head.finish, key.suite)


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
    unsized = b"\x28\xb5\x2f\xfd" + b"\0" + b"\x60" + block(RAW, len(ONE), ONE, last=True)
    data = compressed([packed(unsized)], [len(ONE)])
    yield Vector("good-zstd-unsized", "ok", data, "a frame that names a window of 4 MiB alone")


def bad_zstd() -> Iterator[Vector]:
    """Return envelopes whose seal holds, and whose segments do not expand to what the head says."""
    whole = frame_of(ONE)
    good = packed(whole)
    size = len(ONE)
    window = b"\x28\xb5\x2f\xfd" + b"\0" + b"\x68" + block(RAW, size, ONE, last=True)
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
        ("frame-window", packed(window), size, "a window of 8 MiB"),
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
    bomb = packed(frame(size, zeros(CHUNK)))
    yield Vector("bad-zstd-bomb", "malformed", compressed([bomb], [size]), "4 MiB in 5 bytes")
    data = tag_anew(patched(104, struct.pack("<Q", 2**44 + 1), compressed([good], [size])))
    yield Vector("bad-raw-size-2-44-and-one", "malformed", data, "more than any envelope holds")
    data = tag_anew(patched(104, struct.pack("<Q", 2**64 - 1), compressed([good], [size])))
    yield Vector("bad-raw-size-2-64-less-one", "malformed", data, "more than any envelope holds")


def good() -> Iterator[Vector]:
    for name, key in (("sha256", SHA), ("blake3", BLAKE)):
        yield Vector(f"good-{name}", "ok", sealed(PLAIN, [ONE], key), "the least there is")
        for size in (2**20 - 64, 2**20, 2**20 + 64):
            stream = b"\x80\x05B" + struct.pack("<I", size - 8) + bytes(size - 8) + b"."
            comment = f"a body of {size} bytes"
            yield Vector(f"good-{name}-body-{size}", "ok", sealed(PLAIN, [stream], key), comment)
        many = [buffers(3), b"a" * 64, b"", b"b" * 65]
        yield Vector(f"good-{name}-buffers", "ok", sealed(PLAIN, many, key), "one of them empty")
    yield Vector("good-one-buffer", "ok", sealed(PLAIN, [buffers(1), b"x"]), "of one byte")
    hundred = [buffers(100), *(bytes([n]) * n for n in range(100))]
    yield Vector("good-hundred-buffers", "ok", sealed(PLAIN, hundred), "of 0 to 99 bytes")
    for protocol in range(5):
        data = sealed(PLAIN, [pickle.dumps([1, "a"], protocol)])
        yield Vector(f"good-protocol-{protocol}", "ok", data, "an old protocol")
    for size in (2, 13, 14, 29, 30, 48):
        note = Metadata(content="pickle", class_name="x" * size)
        yield Vector(f"good-class-{size}", "ok", sealed(note, [ONE]), "edges of the padding")
    for name, context in (("ascii", "fraud/v3"), ("accent", "caf\u00e9"), ("longest", "x" * 255)):
        data = sealed(Metadata(content="pickle", context=context), [ONE])
        yield Vector(f"good-context-{name}", "ok", data, "a context", context)
    decomposed = sealed(Metadata(content="pickle", context="caf\u00e9"), [ONE])
    yield Vector("good-context-nfd", "ok", decomposed, "the caller's is not in NFC", "cafe\u0301")
    full = Metadata(
        content="pickle",
        source="dumped",
        class_name="builtins.int",
        created=1_700_000_000,
        expires=NOW + 1,
        serial=2**53 - 1,
        versions={"python": "3.11.7", "scikit-learn": "1.9.1"},
        imports=(),
        info={
            "floats": [0.1, -0.0, 1e16, 1e15, 1e-05, 0.0001, 5e-324, 1.7976931348623157e308],
            "integers": [-(2**53), 2**53 - 1, 0],
            "nested": {"deep": ["\u00fc", '"\\"', True, False]},
        },
    )
    yield Vector("good-all-fields", "ok", sealed(full, [ONE]), "every field, numbers of all kinds")
    adopted = Metadata(content="pickle", source="adopted", imports_omitted=7)
    yield Vector("good-adopted", "ok", sealed(adopted, [ONE]), "adopted, its imports not listed")
    names = Metadata(content="pickle", imports=(("builtins", "len"), ("builtins", "print")))
    yield Vector(
        "good-imports", "ok", sealed(names, [b"cbuiltins\nlen\n."]), "a name that is listed"
    )
    for name, packed in (("plain", ONE), ("zlib", zlib.compress(ONE))):
        of_joblib = Metadata(content="joblib", source="adopted", raw_size=len(ONE))
        comment = "a file of joblib's, as it was"
        yield Vector(f"good-joblib-{name}", "ok", sealed(of_joblib, [packed]), comment)
    nobody = Metadata(content="pickle", imports=(("\uff5e", "a"), ("\U0001f600", "a")))
    comment = "UTF-16 units would sort them the other way round"
    yield Vector("good-imports-by-code-point", "ok", sealed(nobody, [ONE]), comment)
    for name, key in (("sha256", SHA), ("blake3", BLAKE)):
        beside = Metadata(content="pickle", external=bound(2, 18, *BUFFERS))
        data = sealed(beside, [buffers(2)], key)
        yield Vector(f"good-external-{name}", "ok", data, "its buffers come from the caller")
    odd = Metadata(content="pickle", class_name="\u00a0\u2028\ufeff\uffff\U0001f600/'<&>")
    yield Vector("good-text-as-it-is", "ok", sealed(odd, [ONE]), "nothing in it is escaped")
    empty = Metadata(content="pickle", class_name="", versions={}, imports=(), info={})
    yield Vector("good-empty-fields", "ok", sealed(empty, [ONE]), "empty text, list and objects")
    names_of_info = dict.fromkeys(("a", "B", "_", "-", ".", "0", "a.b", "x" * 64), 0)
    data = sealed(Metadata(content="pickle", info=names_of_info), [ONE])
    yield Vector("good-names", "ok", data, "every kind of character, and the longest")
    for number, spelling in enumerate(FLOATS):
        data = with_metadata(b'{"content":"pickle","info":{"a":%b}}' % spelling)
        yield Vector(f"good-float-{number:02}", "ok", data, spelling.decode())
    deep = Metadata(content="pickle", info={"a": {"b": {}}, "c": [[]]})
    yield Vector("good-nested", "ok", sealed(deep, [ONE]), "four deep, objects and lists")
    room = 2**16 - len(b'{"class":"","content":"pickle"}')
    largest = Metadata(content="pickle", class_name="x" * room)
    yield Vector("good-metadata-65536", "ok", sealed(largest, [ONE]), "the largest metadata")
    most = [buffers(2**16 - 1), *[b""] * (2**16 - 1)]
    yield Vector("good-segments-65536", "ok", sealed(PLAIN, most), "the most segments, all empty")
    framed = b"\x80\x04\x95" + struct.pack("<Q", len(b"K\x01.")) + b"K\x01."
    yield Vector("good-frame", "ok", sealed(PLAIN, [framed]), "a stream with a frame")


FLOATS = (
    b"0.0",
    b"-0.0",
    b"0.1",
    b"-1.5",
    b"100000.0",
    b"1000000000000000.0",
    b"9007199254740992.0",
    b"1e+16",
    b"1.2345e+20",
    b"0.0001",
    b"9.999999999999999e-05",
    b"1e-05",
    b"1.5e-07",
    b"1e+100",
    b"2.2250738585072014e-308",
    b"5e-324",
    b"1.7976931348623157e+308",
)


def bad_fixed() -> Iterator[Vector]:
    fields = {
        "version-0": (8, b"\0\0"),
        "version-2": (8, b"\2\0"),
        "suite-0": (10, b"\0\0"),
        "suite-3": (10, b"\3\0"),
        "suite-258": (10, b"\2\1"),
        "flags": (12, b"\1"),
        "flags-high": (15, b"\x80"),
        "metadata-size-1": (32, struct.pack("<I", 1)),
        "metadata-size-65537": (32, struct.pack("<I", 65537)),
        "segments-0": (36, struct.pack("<I", 0)),
        "segments-65537": (36, struct.pack("<I", 65537)),
        "total-0": (40, struct.pack("<Q", 0)),
        "total-less": (40, struct.pack("<Q", 224)),
        "total-odd": (40, struct.pack("<Q", 287)),
        "total-2-44-and-more": (40, struct.pack("<Q", 2**44 + 32)),
        "total-2-63": (40, struct.pack("<Q", 2**63)),
        "total-2-64-less-32": (40, struct.pack("<Q", 2**64 - 32)),
        "codec-2": (48, b"\2\0"),
        "codec-256": (48, b"\0\1"),
        "reserved-first": (50, b"\1"),
        "reserved-last": (63, b"\1"),
    }
    for name, (offset, new) in fields.items():
        yield Vector(
            f"bad-{name}", "malformed", tag_anew_fixed(patched(offset, new)), "tagged anew"
        )
    data = sealed(PLAIN, [ONE])
    for name, size in (("total-without-body-and-tag", 192), ("total-inside-the-head", 160)):
        short = patched(40, struct.pack("<Q", size))[:size]
        yield Vector(f"bad-{name}", "malformed", short, "as long as it says")
    odd = tag_anew(patched(40, struct.pack("<Q", 289))[:256] + bytes(33))
    yield Vector("bad-total-odd-and-tagged", "malformed", odd, "as long as it says")
    room = 2**16 + 1 - len(b'{"class":"","content":"pickle"}')
    large = with_metadata(b'{"class":"%b","content":"pickle"}' % (b"x" * room))
    yield Vector("bad-metadata-65537", "malformed", large, "the largest and a byte, tagged")
    many = tagged_rows([len(buffers(2**16))] + [0] * 2**16, buffers(2**16))
    yield Vector("bad-segments-65537-tagged", "malformed", many, "the most segments and one")
    yield Vector("bad-magic-first", "not-sealed", patched(0, b"\x80"), "another first byte")
    yield Vector("bad-magic-last", "not-sealed", patched(7, b"\r"), "another line end")
    yield Vector("bad-empty", "not-sealed", b"", "nothing at all")
    yield Vector("bad-pickle", "not-sealed", pickle.dumps([1, 2, 3], 4), "a plain pickle")
    yield Vector("bad-behind-a-byte", "not-sealed", b"\0" + data, "the magic is not at 0")
    yield Vector("bad-magic-begun", "malformed", data[:1], "cut off inside the magic")
    yield Vector("bad-magic-begun-otherwise", "not-sealed", data[:4] + b"x", "and then another")
    yield Vector("bad-magic-alone", "malformed", data[:8], "cut off behind the magic")
    for size in (63, 64, 159, 160, 191, 192, 255, 256, 287):
        yield Vector(f"bad-cut-at-{size}", "malformed", data[:size], "cut off")
    yield Vector("bad-trailing-byte", "malformed", data + b"\0", "a byte behind the end")
    yield Vector("bad-twice", "malformed", data + data, "two envelopes in one")


def tag_anew_fixed(data: bytes) -> bytes:
    """Tag the 288 bytes of the least envelope anew, whatever its fields say of themselves."""
    digest = hashing.head_digest(BLAKE.suite, data[:160])
    tag = BLAKE.mac(mac.statement(mac.HEADER, BLAKE.suite, BLAKE.raw_id, 160, digest))
    return data[:160] + tag + data[192:]


def bad_tags() -> Iterator[Vector]:
    data = sealed(PLAIN, [ONE])
    for name, offset in (
        ("metadata", 70),
        ("metadata-padding", 95),
        ("table", 96),
        ("head-padding", 140),
        ("header-tag", 160),
        ("body", 192),
        ("body-padding", 255),
        ("envelope-tag", 287),
    ):
        flipped = patched(offset, bytes([data[offset] ^ 1]))
        yield Vector(f"bad-flip-{name}", "bad-seal", flipped, f"byte {offset}")
    other = sealed(Metadata(content="pickle", serial=1), [pickle.dumps(2, 5)])
    mixed = data[:192] + other[192:]
    yield Vector("bad-head-of-one-body-of-another", "bad-seal", mixed, "both genuine")
    yield Vector(
        "bad-tags-swapped", "bad-seal", data[:160] + data[-32:] + data[192:256] + data[160:192], ""
    )
    sha = sealed(PLAIN, [ONE], SHA)
    for name, offset in (("head", 70), ("header-tag", 191), ("body", 192), ("envelope-tag", 256)):
        flipped = patched(offset, bytes([sha[offset] ^ 0x80]), sha)
        yield Vector(f"bad-flip-sha256-{name}", "bad-seal", flipped, f"byte {offset}")
    for name, offset in (("id-first", 16), ("id-last", 31)):
        flipped = patched(offset, bytes([data[offset] ^ 1]))
        yield Vector(f"bad-flip-{name}", "unknown-key", flipped, f"byte {offset}")
    yield Vector("bad-id-of-zeros", "unknown-key", patched(16, bytes(16)), "no key has it")
    yield Vector("bad-suite-1-by-key-2", "malformed", patched(10, b"\1\0"), "the key is of suite 2")
    yield Vector("bad-suite-2-by-key-1", "malformed", patched(10, b"\2\0", sha), "and the reverse")
    stranger = sealed(PLAIN, [ONE], STRANGER)
    yield Vector("bad-stranger", "unknown-key", stranger, "a key that nobody knows")
    as_ours = patched(16, BLAKE.raw_id, stranger)
    yield Vector("bad-stranger-under-our-id", "bad-seal", as_ours, "our id on a stranger's file")
    yield Vector("bad-revoked", "revoked", sealed(PLAIN, [ONE], REVOKED), "genuine, but revoked")
    flipped = patched(287, b"\0", sealed(PLAIN, [ONE], REVOKED))
    yield Vector("bad-revoked-and-broken", "revoked", flipped, "the key is asked for first")
    two_leaves = bytearray(
        sealed(
            PLAIN,
            [
                b"\x80\x05B"
                + struct.pack("<I", 2**21 - 8)
                + bytes(2**20)
                + b"x" * (2**20 - 8)
                + b"."
            ],
        )
    )
    start = 192
    two_leaves[start : start + 2**21] = (
        two_leaves[start + 2**20 : start + 2**21] + two_leaves[start : start + 2**20]
    )
    yield Vector("bad-leaves-swapped", "bad-seal", bytes(two_leaves), "two leaves of 1 MiB")


def bad_heads() -> Iterator[Vector]:
    for name, offset in (("metadata", 84), ("table", 159)):
        data = tag_anew(patched(offset, b"\1"))
        yield Vector(f"bad-padding-behind-{name}", "malformed", data, "not zero, and tagged")
    for name, offset in (("first", 197), ("last", 255)):
        data = tag_anew(patched(offset, b"\1"))
        yield Vector(f"bad-padding-of-segment-{name}", "malformed", data, "not zero, and tagged")
    for name, row in (
        ("stored-and-raw-differ", (5, 6)),
        ("segment-too-long", (65, 65)),
        ("segment-empty", (0, 0)),
        ("segment-wraps", (2**64 - 63, 2**64 - 63)),
    ):
        data = tag_anew(patched(96, struct.pack("<QQ", *row)))
        yield Vector(f"bad-{name}", "malformed", data, "properly tagged")
    two = bytearray(sealed(PLAIN, [buffers(1, 64), b""]))
    two[96:128] = struct.pack("<QQQQ", 2**64 - 64, 2**64 - 64, 128, 128)
    comment = "they add up in 64 bits only"
    yield Vector("bad-segments-wrap", "malformed", tag_anew(two), comment)
    external = External(1, 1, "0" * 64)
    data = sealed(Metadata(content="pickle", external=external), [buffers(1), b"x"])
    yield Vector("bad-external-beside-segments", "malformed", data, "of both there is one too many")
    data = sealed(Metadata(content="inventory"), [ONE])
    yield Vector("bad-content-inventory", "policy", data, "never unpickled")


METADATA = {
    "duplicate-name": b'{"content":"pickle","content":"pickle"}',
    "space": b'{"content": "pickle"}',
    "space-behind": b'{"content":"pickle"} ',
    "unsorted": b'{"created":1,"content":"pickle"}',
    "escape": b'{"class":"\\u0061","content":"pickle"}',
    "escaped-slash": b'{"class":"a\\/b","content":"pickle"}',
    "control": b'{"class":"\\n","content":"pickle"}',
    "delete": b'{"class":"\x7f","content":"pickle"}',
    "c1": '{"class":"\u009b","content":"pickle"}'.encode(),
    "surrogate": b'{"class":"\\ud800","content":"pickle"}',
    "raw-surrogate": b'{"class":"\xed\xa0\x80","content":"pickle"}',
    "not-utf-8": b'{"class":"\xff","content":"pickle"}',
    "byte-order-mark": b'\xef\xbb\xbf{"content":"pickle"}',
    "null": b'{"content":"pickle","context":null}',
    "nan": b'{"content":"pickle","info":{"a":NaN}}',
    "infinity": b'{"content":"pickle","info":{"a":Infinity}}',
    "float-spelling": b'{"content":"pickle","info":{"a":1.50}}',
    "float-exponent": b'{"content":"pickle","info":{"a":1E5}}',
    "float-exponent-short": b'{"content":"pickle","info":{"a":1e-5}}',
    "float-exponent-unsigned": b'{"content":"pickle","info":{"a":1e16}}',
    "float-exponent-left-out": b'{"content":"pickle","info":{"a":10000000000000000.0}}',
    "float-exponent-not-needed": b'{"content":"pickle","info":{"a":1e-04}}',
    "float-exponent-with-point": b'{"content":"pickle","info":{"a":1.0e-05}}',
    "float-not-the-shortest": b'{"content":"pickle","info":{"a":0.10000000000000001}}',
    "float-too-large": b'{"content":"pickle","info":{"a":1e+309}}',
    "float-as-integer": b'{"content":"pickle","serial":1.0}',
    "minus-zero": b'{"content":"pickle","serial":-0}',
    "leading-zero": b'{"content":"pickle","serial":01}',
    "negative": b'{"content":"pickle","serial":-1}',
    "too-large": b'{"content":"pickle","serial":9007199254740992}',
    "five-thousand-digits": b'{"content":"pickle","serial":' + b"9" * 5000 + b"}",
    "true-as-number": b'{"content":"pickle","serial":true}',
    "info-too-small": b'{"content":"pickle","info":{"a":-9007199254740993}}',
    "info-a-list": b'{"content":"pickle","info":[]}',
    "too-deep": b'{"content":"pickle","info":{"a":{"b":{}}}}'.replace(b"{}", b'{"c":{}}'),
    "too-deep-by-a-list": b'{"content":"pickle","info":{"a":[[[]]]}}',
    "info-too-large": b'{"content":"pickle","info":{"a":9007199254740992}}',
    "info-text-delete": b'{"content":"pickle","info":{"a":"\x7f"}}',
    "versions-name": b'{"content":"pickle","versions":{"a b":"1"}}',
    "versions-text-delete": b'{"content":"pickle","versions":{"a":"\x7f"}}',
    "versions-a-list": b'{"content":"pickle","versions":[]}',
    "thousands-deep": b'{"content":"pickle","info":{"a":' + b"[" * 20000 + b"]" * 20000 + b"}}",
    "name-with-space": b'{"content":"pickle","info":{"a b":1}}',
    "name-empty": b'{"content":"pickle","info":{"":1}}',
    "name-too-long": b'{"content":"pickle","info":{"' + b"x" * 65 + b'":1}}',
    "name-not-ascii": '{"content":"pickle","info":{"\u00e9":1}}'.encode(),
    "class-a-number": b'{"class":1,"content":"pickle"}',
    "comma-behind": b'{"content":"pickle",}',
    "two-objects": b'{"content":"pickle"}{"content":"pickle"}',
    "true-as-field": b'{"content":true}',
    "unsorted-in-info": b'{"content":"pickle","info":{"b":1,"a":1}}',
    "duplicate-in-info": b'{"content":"pickle","info":{"a":1,"a":1}}',
    "null-in-info": b'{"content":"pickle","info":{"a":null}}',
    "context-control": '{"content":"pickle","context":"a\u0085b"}'.encode(),
    "unknown-field": b'{"content":"pickle","trusted":"yes"}',
    "no-content": b"{}",
    "other-content": b'{"content":"yaml"}',
    "other-source": b'{"content":"pickle","source":"found"}',
    "a-list": b"[]",
    "a-number": b"12",
    "context-empty": b'{"content":"pickle","context":""}',
    "context-too-long": b'{"content":"pickle","context":"' + b"x" * 256 + b'"}',
    "context-nfd": '{"content":"pickle","context":"e\u0301"}'.encode(),
    "imports-unsorted": b'{"content":"pickle","imports":[["b","a"],["a","b"]]}',
    "imports-twice": b'{"content":"pickle","imports":[["a","b"],["a","b"]]}',
    "imports-by-utf-16": (
        '{"content":"pickle","imports":[["\U0001f600","a"],["\uff5e","a"]]}'.encode()
    ),
    "imports-of-numbers": b'{"content":"pickle","imports":[["a",1]]}',
    "imports-an-object": b'{"content":"pickle","imports":{}}',
    "imports-of-three": b'{"content":"pickle","imports":[["a","b","c"]]}',
    "imports-and-a-count": b'{"content":"pickle","imports":[],"imports_omitted":0}',
    "joblib-without-a-size": b'{"content":"joblib"}',
    "raw-size-of-a-pickle": b'{"content":"pickle","raw_size":4}',
    "versions-a-number": b'{"content":"pickle","versions":{"python":3}}',
    "external-none": b'{"content":"pickle","external":{"bytes":0,"count":0,"digest":"'
    + b"0" * 64
    + b'"}}',
    "external-upper-case": b'{"content":"pickle","external":{"bytes":0,"count":1,"digest":"'
    + b"A" * 64
    + b'"}}',
    "external-bytes-negative": b'{"content":"pickle","external":{"bytes":-1,"count":1,"digest":"'
    + b"0" * 64
    + b'"}}',
    "external-count-true": b'{"content":"pickle","external":{"bytes":0,"count":true,"digest":"'
    + b"0" * 64
    + b'"}}',
    "external-and-more": b'{"content":"pickle","external":{"bytes":0,"count":1,"digest":"'
    + b"0" * 64
    + b'","x":0}}',
    "external-short": b'{"content":"pickle","external":{"bytes":0,"count":1}}',
}


def bad_payloads() -> Iterator[Vector]:
    """Return envelopes whose seal holds and that an unpickler must not take."""
    framed = b"\x80\x04\x95" + struct.pack("<Q", 10) + b"K\x01." + b"surplus"
    for name, segments, comment in (
        ("stream-surplus", [ONE + b"\0"], "a byte behind the end of the pickle"),
        ("stream-surplus-pickle", [ONE + ONE], "a second pickle behind the first"),
        ("stream-surplus-in-frame", [framed], "behind the end of the pickle, inside its frame"),
        ("buffer-surplus", [buffers(1), b"x", b"y"], "a buffer that the stream does not take"),
        ("buffer-surplus-empty", [ONE, b""], "the same, and it is empty"),
    ):
        yield Vector(f"bad-{name}", "malformed", sealed(PLAIN, segments), comment)
    packed = zlib.compress(ONE)
    for name, segments, size in (
        ("too-small", [packed], len(ONE) - 1),
        ("too-large", [packed], len(ONE) + 1),
        ("damaged", [packed[:2] + b"\xff" + packed[3:]], len(ONE)),
        ("cut-off", [packed[:-1]], len(ONE)),
        ("surplus", [packed + b"\0"], len(ONE)),
        ("surplus-inside", [zlib.compress(ONE + b"\0")], len(ONE) + 1),
        ("plain-too-small", [ONE], len(ONE) - 1),
        ("plain-surplus", [ONE + b"\0"], len(ONE) + 1),
        ("surplus-in-frame", [framed], len(framed)),
        ("of-two-segments", [packed, b""], len(ONE)),
    ):
        data = sealed(Metadata(content="joblib", raw_size=size), segments)
        yield Vector(f"bad-joblib-{name}", "malformed", data, "of joblib's, and not as it says")
    for name, listed in (("none", ()), ("others", (("builtins", "print"), ("len", "builtins")))):
        data = sealed(Metadata(content="pickle", imports=listed), [b"cbuiltins\nlen\n."])
        yield Vector(f"bad-import-of-{name}", "policy", data, "builtins.len is not listed")
    data = sealed(
        Metadata(content="pickle", imports=(("builtins", "len"),)),
        [pickle.dumps(print, 4)],
    )
    yield Vector("bad-import-by-stack", "policy", data, "builtins.print is not listed")
    first, second = BUFFERS
    for name, external in (
        ("another-order", bound(2, 18, second, first)),
        ("another-count", bound(1, 18, first, second)),
        ("another-size", bound(2, 17, first, second)),
        ("three", bound(3, 18, first, second, b"")),
        ("one", bound(1, 5, first)),
        ("joined", bound(2, 18, first + second)),
    ):
        data = sealed(Metadata(content="pickle", external=external), [buffers(2)])
        yield Vector(f"bad-external-of-{name}", "policy", data, "not what the caller gives")
    beside = Metadata(content="pickle", external=bound(2, 18, first, second))
    data = sealed(beside, [buffers(1)])
    yield Vector(
        "bad-external-of-surplus-to-stream", "malformed", data, "the stream takes one of the two"
    )


def bad_metadata() -> Iterator[Vector]:
    for name, metadata in METADATA.items():
        yield Vector(f"bad-json-{name}", "malformed", with_metadata(metadata), "properly tagged")


def bad_places() -> Iterator[Vector]:
    bare = sealed(PLAIN, [ONE])
    named = sealed(Metadata(content="pickle", context="fraud/v3"), [ONE])
    yield Vector("bad-context-other", "context", named, "the caller names another", "fraud/v4")
    yield Vector("bad-context-not-given", "context", named, "the caller names none")
    yield Vector("bad-context-not-sealed", "context", bare, "the envelope has none", "fraud/v3")
    for name, expires in (("long-ago", 0), ("this-very-second", NOW)):
        data = sealed(Metadata(content="pickle", expires=expires), [ONE])
        yield Vector(f"bad-expired-{name}", "expired", data, "its time is over")


def vectors() -> list[Vector]:
    """Return all vectors, in the order of their names."""
    good_ones = (good, good_zstd)
    bad_ones = (bad_fixed, bad_tags, bad_heads, bad_payloads, bad_zstd, bad_metadata, bad_places)
    return sorted(vector for make in (*good_ones, *bad_ones) for vector in make())


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for old in FOLDER.iterdir():
        old.unlink()
    for vector in vectors():
        (FOLDER / vector.name).write_bytes(vector.to_bytes())
