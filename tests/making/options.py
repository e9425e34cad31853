"""Vectors of what a caller may ask for, and of the order of the checks: two faults in one file."""

import hashlib
import struct
from collections.abc import Iterator

from making.parts import (
    BOUND,
    NOW,
    ONE,
    PLAIN,
    SHA,
    STRANGER,
    Vector,
    bound,
    buffers,
    compressed,
    named,
    opened,
    patched,
    sealed,
    tag_anew,
    with_metadata,
)
from pickleseal.envelope import layout
from pickleseal.envelope.metadata import Metadata

DATED = Metadata(content="pickle", created=NOW - 100, serial=7, context="fraud/v3")
LEN = (("builtins", "len"),)


def with_options() -> Iterator[Vector]:
    """Return each option at its edge, on both sides."""
    dated = sealed(DATED, [ONE])
    bare = sealed(DATED._replace(created=None, serial=None), [ONE])
    digest = opened(dated).digest
    sha = opened(sealed(DATED, [ONE], SHA)).digest
    notes = hashlib.sha256(DATED.encode()).hexdigest()
    other = f"ps2:{'0' * 64}"
    ahead = sealed(DATED._replace(created=NOW + 60), [ONE])
    beyond = sealed(DATED._replace(created=NOW + 61), [ONE])
    late = sealed(DATED._replace(created=2**53 - 1), [ONE])
    for name, expect, data, options in (
        ("max-bytes", "ok", dated, {"max-bytes": str(len(dated))}),
        ("max-bytes", "policy", dated, {"max-bytes": str(len(dated) - 1)}),
        ("max-age", "ok", dated, {"max-age": "100"}),
        ("max-age", "expired", dated, {"max-age": "99"}),
        ("max-age-created-ahead", "ok", ahead, {"max-age": "1000"}),
        ("max-age-created-beyond", "expired", beyond, {"max-age": "1000"}),
        ("max-age-created-at-the-end", "expired", late, {"max-age": "1000"}),
        ("created-beyond", "ok", beyond, {}),
        ("max-age-not-created", "expired", bare, {"max-age": "1000"}),
        ("min-serial", "ok", dated, {"min-serial": "7"}),
        ("min-serial", "rollback", dated, {"min-serial": "8"}),
        ("min-serial-none", "rollback", bare, {"min-serial": "0"}),
        ("expect-digest", "ok", dated, {"expect-digest": digest}),
        ("expect-digest", "policy", dated, {"expect-digest": other}),
        ("expect-digest-suite", "policy", dated, {"expect-digest": sha}),
        ("pin", "ok", dated, {"pin": f"7 {digest} {notes}"}),
        ("pin-older", "ok", dated, {"pin": f"6 {other} {notes}"}),
        ("pin-newer", "rollback", dated, {"pin": f"8 {digest} {notes}"}),
        ("pin-without-serial", "rollback", bare, {"pin": f"0 {digest} {notes}"}),
        ("pin-other", "rollback", dated, {"pin": f"7 {other} {notes}"}),
        ("pin-of-other-suite", "ok", dated, {"pin": f"7 {sha} {notes}"}),
        ("pin-of-other-suite-and-metadata", "rollback", dated, {"pin": f"7 {sha} {'0' * 64}"}),
    ):
        kind = "good" if expect == "ok" else "bad"
        asked = {"context": "fraud/v3"} | options
        yield Vector(f"{kind}-option-{name}", expect, data, "", tuple(asked.items()))
    yield from _of_imports()
    yield from _of_versions()


def _of_imports() -> Iterator[Vector]:
    old = (("__builtin__", "len"),)
    xrange = (("__builtin__", "xrange"),)
    nested = (("builtins", "str.join"),)
    reading = b"c__builtin__\nlen\n."
    for name, expect, listed, stream, allow in (
        ("name", "ok", LEN, b"cbuiltins\nlen\n.", "os builtins.len"),
        ("module", "ok", LEN, b"cbuiltins\nlen\n.", "builtins"),
        ("nothing", "ok", (), ONE, ""),
        ("nothing", "policy", LEN, b"cbuiltins\nlen\n.", ""),
        ("other-name", "policy", LEN, b"cbuiltins\nlen\n.", "builtins.print builtin"),
        ("beginning", "policy", LEN, b"cbuiltins\nlen\n.", "builtins.l"),
        ("dotted-by-module", "policy", nested, b"\x80\x04cbuiltins\nstr.join\n.", "builtins"),
        ("dotted", "ok", nested, b"\x80\x04cbuiltins\nstr.join\n.", "builtins.str.join"),
        ("package", "ok", (("os.path", "join"),), b"cos.path\njoin\n.", "os"),
        ("old-name", "ok", old, reading, "builtins.len"),
        ("old-name-of-protocol-2", "ok", old, b"\x80\2c__builtin__\nlen\n.", "builtins.len"),
        ("old-name-of-protocol-3", "policy", old, b"\x80\3c__builtin__\nlen\n.", "builtins.len"),
        ("old-name-and-new", "ok", xrange, b"c__builtin__\nxrange\n.", "builtins.range"),
        ("name-as-it-is", "ok", (("dbm", "open"),), b"\x80\4cdbm\nopen\n.", "dbm.open"),
        ("old-name-as-listed", "policy", old, reading, "__builtin__.len"),
        ("not-listed", "policy", None, b"cbuiltins\nlen\n.", "builtins.print"),
        ("not-listed", "ok", None, b"cbuiltins\nlen\n.", "builtins.len"),
        ("listed-and-unused", "policy", (*LEN, ("os", "system")), ONE, "builtins"),
    ):
        kind = "good" if expect == "ok" else "bad"
        data = sealed(Metadata(content="pickle", imports=listed), [stream])
        yield Vector(f"{kind}-option-allow-{name}", expect, data, "", (("allow", allow),))


def _of_versions() -> Iterator[Vector]:
    for name, expect, versions in (
        ("none", "ok", {}),
        ("python", "version-mismatch", {"python": "2.7.18"}),
        ("missing", "version-mismatch", {"no_package_has_this_name": "1"}),
    ):
        kind = "good" if expect == "ok" else "bad"
        data = sealed(Metadata(content="pickle", versions=versions), [ONE])
        strict = (("versions", "strict"),)
        yield Vector(f"{kind}-option-versions-{name}", expect, data, "", strict)
    data = sealed(Metadata(content="pickle", versions={"python": "2.7.18"}), [ONE])
    yield Vector("good-option-versions-not-strict", "ok", data, "another Python, and no matter")


def of_bound_keys() -> Iterator[Vector]:
    """Return envelopes of the key that the ring binds to contexts."""
    for name, expect, context in (
        ("beginning", "ok", "fraud/v3"),
        ("beginning-alone", "ok", "fraud/"),
        ("whole", "ok", "prices"),
        ("other", "context", "price"),
        ("longer", "context", "prices/v2"),
        ("none", "context", None),
    ):
        kind = "good" if expect == "ok" else "bad"
        data = sealed(Metadata(content="pickle", context=context), [ONE], BOUND)
        asked = () if context is None else named(context)
        yield Vector(f"{kind}-bound-key-{name}", expect, data, "by a bound key", asked)


def in_streams() -> Iterator[Vector]:
    """Return what a reader takes from a stream, and what it leaves there."""
    data = sealed(PLAIN, [ONE])
    for name, more in (("alone", b""), ("two", data), ("surplus", b"surplus")):
        stream = (("input", "stream"),)
        yield Vector(f"good-stream-{name}", "ok", data + more, "one is taken", stream)
    for size in (0, 63, 191, 192, 255, 287):
        expect = "malformed" if size else "not-sealed"
        stream = (("input", "stream"),)
        yield Vector(f"bad-stream-cut-at-{size}", expect, data[:size], "cut off", stream)


def pairs() -> Iterator[Vector]:
    """Return envelopes with two faults: that of the earlier check counts."""
    wrong = {"context": "fraud/v4"}
    least = Metadata(content="pickle", context="fraud/v3", serial=7, created=NOW - 100)
    old = least._replace(expires=NOW)
    there = {"context": "fraud/v3"}
    strange = sealed(PLAIN, [ONE], STRANGER)
    listed = least._replace(imports=LEN, versions={"python": "2.7.18"})
    broken_body = _broken(sealed(old, [ONE]))
    pin = f"{{}} ps2:{'0' * 64} {'0' * 64}"
    beside = Metadata(content="pickle", external=bound(1, 5, b"first"), context="fraud/v3")
    table = bytes(8)
    for name, expect, data, options in (
        ("max-bytes-and-key", "policy", strange, {"max-bytes": "64"}),
        ("suite-and-key", "malformed", patched(10, b"\3", strange), {}),
        ("cut-and-key", "unknown-key", strange[:192], {"input": "stream"}),
        (
            "total-large-and-max-bytes",
            "malformed",
            _total(2**44 + 32),
            {"max-bytes": "100", "input": "stream"},
        ),
        (
            "total-small-and-max-bytes",
            "malformed",
            _total(160),
            {"max-bytes": "100", "input": "stream"},
        ),
        (
            "total-odd-and-max-bytes",
            "malformed",
            _total(289),
            {"max-bytes": "100", "input": "stream"},
        ),
        (
            "segments-and-import",
            "malformed",
            sealed(Metadata(content="joblib", raw_size=7, imports=()), [b"cos\na\n.", b""]),
            {},
        ),
        ("size-and-key", "malformed", strange + b"\0", {}),
        ("size-and-max-bytes", "malformed", strange + b"\0", {"max-bytes": "64"}),
        ("external-and-context", "malformed", sealed(beside, [buffers(1), b"x"]), wrong),
        (
            "field-and-context",
            "malformed",
            with_metadata(b'{"content":"pickle","context":"a","x":1}'),
            wrong,
        ),
        (
            "bound-key-and-max-bytes",
            "context",
            compressed([table], [1000], PLAIN, BOUND),
            {"max-bytes": "999"},
        ),
        (
            "expanded-and-context",
            "policy",
            sealed(Metadata(content="joblib", raw_size=1000, context="a"), [ONE]),
            {"max-bytes": "999"} | wrong,
        ),
        (
            "raw-and-context",
            "policy",
            compressed([bytes(64)], [1000], least),
            {"max-bytes": "999"} | wrong,
        ),
        ("context-and-expires", "context", sealed(old, [ONE]), wrong),
        ("expires-and-serial", "expired", sealed(old, [ONE]), there | {"min-serial": "8"}),
        (
            "age-and-serial",
            "expired",
            sealed(least, [ONE]),
            there | {"max-age": "1", "min-serial": "8"},
        ),
        (
            "pin-and-allow",
            "rollback",
            sealed(listed, [ONE]),
            there | {"pin": pin.format(8), "allow": ""},
        ),
        (
            "allow-and-versions",
            "policy",
            sealed(listed, [ONE]),
            there | {"allow": "", "versions": "strict"},
        ),
        (
            "versions-and-body",
            "version-mismatch",
            _broken(sealed(listed, [ONE])),
            there | {"versions": "strict"},
        ),
        ("expires-and-body", "expired", broken_body, there),
        ("context-and-cut", "context", sealed(least, [ONE])[:-1], wrong | {"input": "stream"}),
        (
            "cut-and-seal",
            "malformed",
            _broken(sealed(least, [ONE]))[:-1],
            there | {"input": "stream"},
        ),
        ("seal-and-digest", "bad-seal", _broken(sealed(least, [ONE])), there | _DIGEST),
        ("padding-and-digest", "malformed", _padded_wrong(sealed(least, [ONE])), there | _DIGEST),
        (
            "digest-and-pin",
            "policy",
            sealed(least, [ONE]),
            there | _DIGEST | {"pin": pin.format(7)},
        ),
        (
            "pin-and-content",
            "rollback",
            sealed(least._replace(content="inventory"), [ONE]),
            there | {"pin": pin.format(7)},
        ),
        (
            "content-and-frames",
            "policy",
            compressed([table], [5], Metadata(content="inventory")),
            {},
        ),
        ("frames-and-external", "malformed", compressed([table], [5], beside), there),
        (
            "frames-and-segments",
            "malformed",
            compressed([table, b""], [5, 0], Metadata(content="joblib", raw_size=5)),
            {},
        ),
    ):
        yield Vector(f"bad-pair-{name}", expect, data, "two faults", tuple(options.items()))


_DIGEST = {"expect-digest": f"ps2:{'0' * 64}"}


def _total(size: int) -> bytes:
    return patched(40, struct.pack("<Q", size))


def _broken(data: bytes) -> bytes:
    """Return an envelope with another first byte of its body."""
    head = layout.parse_fixed(data[:64]).head_size + 32
    return patched(head, b"\0", data)


def _padded_wrong(data: bytes) -> bytes:
    return tag_anew(patched(len(data) - 33, b"\1", data))
