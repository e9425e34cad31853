"""Vectors with one fault in the layout, the tags or the head."""

import pickle
import struct
from collections.abc import Iterator

from making.parts import (
    BLAKE,
    BUFFERS,
    NOW,
    ONE,
    PLAIN,
    REVOKED,
    SHA,
    STRANGER,
    Vector,
    bound,
    buffers,
    named,
    patched,
    sealed,
    tag_anew,
    tag_anew_fixed,
    tagged_rows,
    with_metadata,
)
from pickleseal.envelope.metadata import External, Metadata


def bad_fixed() -> Iterator[Vector]:
    fields = {
        "version-0": (8, b"\0\0"),
        "version-2": (8, b"\2\0"),
        "version-257": (8, b"\1\1"),
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
    other = patched(10, b"\1\0", sealed(PLAIN, [ONE], REVOKED))
    yield Vector("bad-revoked-and-suite", "revoked", other, "revoked, and of another suite")
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
    beside = Metadata(content="pickle", external=bound(2, 18, *BUFFERS)).encode()
    comment = "external buffers belong to a pickle alone"
    for name, size in (("joblib", b',"raw_size":5}'), ("inventory", b"}")):
        described = beside.replace(b'"pickle"', b'"%b"' % name.encode())[:-1] + size
        yield Vector(f"bad-external-of-{name}", "malformed", with_metadata(described), comment)
    data = sealed(Metadata(content="inventory"), [ONE])
    yield Vector("bad-content-inventory", "policy", data, "never unpickled")
    data = sealed(Metadata(content="inventory"), [b""])
    yield Vector("bad-content-inventory-empty", "policy", data, "a body without a byte")


def bad_places() -> Iterator[Vector]:
    bare = sealed(PLAIN, [ONE])
    other = sealed(Metadata(content="pickle", context="fraud/v3"), [ONE])
    yield Vector(
        "bad-context-other", "context", other, "the caller names another", named("fraud/v4")
    )
    yield Vector("bad-context-not-given", "context", other, "the caller names none")
    yield Vector(
        "bad-context-not-sealed", "context", bare, "the envelope has none", named("fraud/v3")
    )
    for name, expires in (("long-ago", 0), ("this-very-second", NOW)):
        data = sealed(Metadata(content="pickle", expires=expires), [ONE])
        yield Vector(f"bad-expired-{name}", "expired", data, "its time is over")
