"""Good vectors."""

import pickle
import struct
from collections.abc import Iterator

from making.parts import (
    BLAKE,
    BUFFERS,
    NOW,
    ONE,
    PLAIN,
    SHA,
    Vector,
    bound,
    buffers,
    named,
    sealed,
    with_metadata,
)
from pickleseal.envelope.metadata import Metadata


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
        yield Vector(f"good-context-{name}", "ok", data, "a context", named(context))
    decomposed = sealed(Metadata(content="pickle", context="caf\u00e9"), [ONE])
    yield Vector(
        "good-context-nfd", "ok", decomposed, "the caller's is not in NFC", named("cafe\u0301")
    )
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
    of_joblib = Metadata(content="joblib", source="adopted", raw_size=len(ONE))
    yield Vector("good-joblib-plain", "ok", sealed(of_joblib, [ONE]), "of joblib's, as it was")
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
