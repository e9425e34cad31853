"""Vectors about what is unpickled, good ones and those that only an unpickler refuses."""

import pickle
import struct
import zlib
from collections.abc import Iterator

from making.parts import BUFFERS, ONE, PLAIN, Vector, bound, buffers, compressed, named, sealed
from pickleseal.envelope.metadata import Metadata

PACKED = {
    "zlib": bytes.fromhex("789c6b60f566d4030003aa0100"),
    "gzip": bytes.fromhex("1f8b08000000000002036b60f566d4030012e918f905000000"),
    "bz2": bytes.fromhex(
        "425a683931415926535919d0f32a0000025440220000010008400020002186819a0353717724538509019d0f32a0"
    ),
    "lzma": bytes.fromhex("5d00008000ffffffffffffffff004001451510e89913fffffe1f8000"),
    "xz": bytes.fromhex(
        "fd377a585a000004e6d6b4460200210116000000742fe5a301000480054b012e000000008494b8e8e08e7b220001"
        "1d05b82d80af1fb6f37d010000000004595a"
    ),
    "lz4": bytes.fromhex("04224d1868400500000000000000610500008080054b012e00000000"),
}
"""The number 1 as joblib writes it with each compressor."""
SURPLUS = bytes.fromhex("789c6b60f566d463000004aa0100")
"""zlib's of the same and a zero."""
ARRAYS = bytes.fromhex(
    "800495d8000000000000007d94288c0161948c136a6f626c69622e6e756d70795f7069636b6c65948c114e756d70"
    "794172726179577261707065729493942981947d94288c08737562636c617373948c056e756d7079948c076e6461"
    "727261799493948c057368617065944b0385948c056f72646572948c0143948c0564747970659468088c05647479"
    "70659493948c02693494898887945294284b038c013c944e4e4e4affffffff4affffffff4b007494628c0a616c6c"
    "6f775f6d6d617094888c1b6e756d70795f61727261795f616c69676e6d656e745f6279746573944b1075620cffff"
    "ffffffffffffffffffff0000000001000000020000009549000000000000008c01629468042981947d9428680768"
    "0a680b4b008594680d680e680f68118c02663894898887945294284b0368154e4e4e4affffffff4affffffff4b00"
    "74946268178868184b10756201ff752e"
)
"""What joblib 1.6 writes for two arrays, of three integers and of no float."""
OBJECTS = bytes.fromhex(
    "800495d1000000000000008c136a6f626c69622e6e756d70795f7069636b6c65948c114e756d7079417272617957"
    "7261707065729493942981947d94288c08737562636c617373948c056e756d7079948c076e646172726179949394"
    "8c057368617065944b0285948c056f72646572948c0143948c0564747970659468068c0564747970659493948c02"
    "4f3894898887945294284b038c017c944e4e4e4affffffff4affffffff4b3f7494628c0a616c6c6f775f6d6d6170"
    "94898c1b6e756d70795f61727261795f616c69676e6d656e745f6279746573944b1075628005958f000000000000"
    "008c166e756d70792e5f636f72652e6d756c74696172726179948c0c5f7265636f6e7374727563749493948c056e"
    "756d7079948c076e6461727261799493944b0085944301629487945294284b014b02859468038c05647479706594"
    "93948c024f3894898887945294284b038c017c944e4e4e4affffffff4affffffff4b3f749462895d94288c017894"
    "4e657494622e2e"
)
"""And for an array of objects, which is a pickle within the pickle."""
OF_ARRAYS = (
    ("joblib.numpy_pickle", "NumpyArrayWrapper"),
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
)


def good_payloads() -> Iterator[Vector]:
    """Return envelopes of what an unpickler must take."""
    length = (("builtins", "len"),)
    whole = Metadata(content="pickle", imports=length)
    for name, stream, comment in (
        ("inst", b"(ibuiltins\nset\n.", "the opcode INST"),
        ("extension", b"\x80\x02\x82\xc8.", "extension code 200, which stands for builtins.len"),
        ("stack-global", b"\x80\x04\x8c\x08builtins\x8c\x03len\x93.", "STACK_GLOBAL"),
    ):
        listed = whole._replace(imports=(("builtins", "set"),)) if name == "inst" else whole
        yield Vector(f"good-import-by-{name}", "ok", sealed(listed, [stream]), comment)
    none = Metadata(content="pickle", imports=())
    yield Vector("good-import-of-none", "ok", sealed(none, [ONE]), "it needs none, and has none")
    omitted = Metadata(content="pickle", imports_omitted=0)
    data = sealed(omitted, [b"cbuiltins\nlen\n."])
    yield Vector("good-import-omitted", "ok", data, "names that are not listed bind nothing")
    texts = Metadata(content="pickle", imports=(("", ""), ("", "a")), versions={"a": ""})
    yield Vector("good-empty-texts", "ok", sealed(texts, [ONE]), "texts may be empty")
    data = sealed(Metadata(content="pickle", context="\U0001fae8"), [ONE])
    comment = "a character of Unicode 15, younger than some readers"
    yield Vector("good-context-newer", "ok", data, comment, named("\U0001fae8"))
    for name, packed in PACKED.items():
        of_joblib = Metadata(content="joblib", source="adopted", raw_size=len(ONE))
        yield Vector(f"good-joblib-{name}", "ok", sealed(of_joblib, [packed]), "compressed by it")
    for name, stream in (("arrays", ARRAYS), ("objects", OBJECTS)):
        data = sealed(Metadata(content="joblib", raw_size=len(stream)), [stream])
        yield Vector(f"good-joblib-{name}", "ok", data, "data of arrays between the opcodes")
    data = sealed(Metadata(content="joblib", raw_size=len(ARRAYS), imports=OF_ARRAYS), [ARRAYS])
    yield Vector("good-joblib-imports", "ok", data, "its names are listed")
    frame = b"\x28\xb5\x2f\xfd\x20\5" + (len(ONE) << 3 | 1).to_bytes(3, "little") + ONE
    packed = struct.pack("<III", 0x184D2A50, 4, len(frame)) + frame
    head = Metadata(content="joblib", raw_size=len(ONE))
    yield Vector("good-joblib-in-zstd", "ok", compressed([packed], [len(ONE)], head), "both codecs")
    read_only = b"\x80\x05(\x97\x98\x97\x95\5\0\0\0\0\0\0\0l0K\1."
    data = sealed(PLAIN, [read_only, b"first", b"second"])
    yield Vector("good-buffers-read-only", "ok", data, "the first of them; and a frame")
    data = sealed(PLAIN, [ONE])
    nothing = (("buffers", "none"),)
    yield Vector("good-buffers-not-given", "ok", data, "none are needed", nothing)


def bad_imports() -> Iterator[Vector]:
    """Return envelopes with names that are not listed."""
    other = Metadata(content="pickle", imports=(("builtins", "print"),))
    for name, stream, comment in (
        ("inst", b"(ibuiltins\nset\n.", "INST of builtins.set"),
        ("extension", b"\x80\x02\x82\xc8.", "extension code 200, for builtins.len"),
        ("old-spelling", b"c__builtin__\nprint\n.", "listed as it is called in Python 3"),
        ("surplus", b"cbuiltins\nlen\n.surplus", "and bytes behind the end"),
    ):
        yield Vector(f"bad-import-by-{name}", "policy", sealed(other, [stream]), comment)
    for name, stream, listed in (
        ("joblib", b"cbuiltins\nlen\n.", other.imports),
        ("joblib-array", ARRAYS, OF_ARRAYS[1:]),
        ("joblib-dtype", OBJECTS, OF_ARRAYS),
    ):
        metadata = Metadata(content="joblib", raw_size=len(stream), imports=listed)
        data = sealed(metadata, [stream])
        yield Vector(f"bad-import-of-{name}", "policy", data, "a name of joblib's, not listed")


def _with_dictionary(packed: bytes) -> bytes:
    """Return a stream of xz that asks for a dictionary of 4 GiB."""
    header = packed[12:16] + b"\x28" + packed[17:20]
    return packed[:12] + header + struct.pack("<I", zlib.crc32(header)) + packed[24:]


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
    packed = PACKED["zlib"]
    for name, segments, size in (
        ("too-small", [packed], len(ONE) - 1),
        ("too-large", [packed], len(ONE) + 1),
        ("damaged", [packed[:2] + b"\xff" + packed[3:]], len(ONE)),
        ("cut-off", [packed[:-1]], len(ONE)),
        ("surplus", [packed + b"\0"], len(ONE)),
        ("surplus-inside", [SURPLUS], len(ONE) + 1),
        ("gzip-members", [PACKED["gzip"] * 2], len(ONE)),
        ("gzip-members-of-both", [PACKED["gzip"] * 2], 2 * len(ONE)),
        ("gzip-checksum", [PACKED["gzip"][:-8] + b"sums" + PACKED["gzip"][-4:]], len(ONE)),
        ("gzip-zeros", [PACKED["gzip"] + bytes(4)], len(ONE)),
        ("bz2-streams", [PACKED["bz2"] * 2], len(ONE)),
        ("xz-streams", [PACKED["xz"] * 2], len(ONE)),
        ("xz-padding", [PACKED["xz"] + bytes(4)], len(ONE)),
        ("lzma-dictionary", [PACKED["lzma"][:4] + b"\xf0" + PACKED["lzma"][5:]], len(ONE)),
        ("xz-dictionary", [_with_dictionary(PACKED["xz"])], len(ONE)),
        ("lzma-surplus", [PACKED["lzma"] + b"\0"], len(ONE)),
        ("lz4-frames", [PACKED["lz4"] * 2], len(ONE)),
        ("size-2-53-less-one", [packed], 2**53 - 1),
        ("arrays-surplus", [ARRAYS + b"\0"], len(ARRAYS) + 1),
        ("objects-surplus", [OBJECTS + b"."], len(OBJECTS) + 1),
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
    data = sealed(beside, [buffers(2)])
    nothing = (("buffers", "none"),)
    yield Vector("bad-external-not-given", "policy", data, "the caller gives none", nothing)
    data = sealed(beside, [buffers(1)])
    yield Vector(
        "bad-external-of-surplus-to-stream", "malformed", data, "the stream takes one of the two"
    )
