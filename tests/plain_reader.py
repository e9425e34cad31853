"""A reader of envelopes written from docs/reference/format.md and payload.md alone.

It shares no code with the package: plain Python, and decoders where Python has none. It is short
rather than fast, and reads bytes only. Each check has the number that the pages give it.
"""

import bz2
import copyreg
import hashlib
import hmac
import importlib.util
import io
import json
import lzma
import math
import pickle
import pickletools
import re
import struct
import sys
import unicodedata
import zlib
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, ClassVar, NamedTuple, TypeGuard

from blake3 import blake3

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

MALFORMED = "malformed"
PythonUnpickler: Any = vars(pickle)["_Unpickler"]  # joblib's arrays need it


class Refused(Exception):  # noqa: N818 - a verdict
    """The kind of refusal and the number of the check are the arguments."""


class Opened(NamedTuple):
    """What an envelope whose seal holds has in it, and how many bytes it took."""

    metadata: dict[str, Any]
    stored: list[bytes]
    raw_sizes: list[int]
    codec: int
    size: int
    digest: str


class Secret(NamedTuple):
    """A key of the reader's: suite, 32 bytes, whether it is revoked, and what it is bound to."""

    suite: int
    secret: bytes
    revoked: bool = False
    contexts: tuple[str, ...] = ()


class Options(NamedTuple):
    """What the caller asks for; None is for nothing."""

    now: float = 2_000_000_000
    context: str | None = None
    stream: bool = False
    max_bytes: int | None = None
    max_age: int | None = None
    min_serial: int | None = None
    pin: tuple[int, str, str] | None = None
    allow: tuple[str, ...] | None = None
    strict_versions: bool = False
    expect: str | None = None
    buffers: Sequence[bytes] | None = None


def need(holds: object, kind: str, number: str) -> None:
    if not holds:
        raise Refused(kind, number)


def ceil(size: int, unit: int) -> int:
    return (size + unit - 1) // unit * unit


def hashed(suite: int, purpose: str, data: bytes) -> bytes:
    name = "pickleseal/v1/" + purpose
    if suite == 1:
        return hashlib.sha256(name.encode().ljust(64, b"\0") + data).digest()
    return blake3(data, derive_key_context=name).digest()


def tagged(key: Secret, label: str, key_id: bytes, size: int, digest: bytes) -> bytes:
    statement = label.encode().ljust(32, b"\0") + struct.pack("<H6x", key.suite) + key_id
    statement += struct.pack("<Q", size) + digest
    return hmac.new(key.secret, statement, hashlib.sha256).digest()


def key_id(key: Secret) -> bytes:
    return tagged(key, "pickleseal/v1/key-id", bytes(16), 0, bytes(32))[:16]


def read(data: bytes, keys: list[Secret], options: Options) -> Opened:
    """Open the one envelope that `data` begins with, unpickle what it holds, or raise Refused."""
    opened = unsealed(data, keys, options)
    unpickled(opened, options)
    return opened


def unsealed(data: bytes, keys: list[Secret], options: Options) -> Opened:
    """Do what a verifier does, steps 2 to 7."""
    need(data, "not-sealed", "2.1")
    need(data[:8] == b"\xa6PSEAL\r\n"[: len(data)], "not-sealed", "2.2")
    need(len(data) >= 64, MALFORMED, "2.3")
    version, suite, flags, name, m, n, total, codec = struct.unpack_from("<HHI16sIIQH", data, 8)
    need(version == 1, MALFORMED, "2.4")
    need(suite in (1, 2), MALFORMED, "2.5")
    need(flags == 0, MALFORMED, "2.6")
    need(not any(data[50:64]), MALFORMED, "2.7")
    need(codec in (0, 1), MALFORMED, "2.8")
    need(2 <= m <= 65536, MALFORMED, "2.9")
    need(1 <= n <= 65536, MALFORMED, "2.10")
    need(total <= 2**44, MALFORMED, "2.11")
    t = ceil(64 + m, 16)
    h = ceil(t + 16 * n + 32, 64) - 32
    need(total >= h + 64, MALFORMED, "3.1")
    need((total - h - 64) % 64 == 0, MALFORMED, "3.2")
    need(options.stream or total == len(data), MALFORMED, "3.3")
    need(within(total, options.max_bytes), "policy", "3.4")
    data = data[:total]
    need(len(data) >= h + 32, MALFORMED, "4.1")
    key = next((key for key in keys if key_id(key) == name), None)
    need(key, "unknown-key", "4.2")
    assert key is not None
    need(not key.revoked, "revoked", "4.3")
    need(key.suite == suite, MALFORMED, "4.4")
    head_digest = hashed(suite, "head", data[:h])
    tag = tagged(key, "pickleseal/v1/header", name, h, head_digest)
    need(hmac.compare_digest(tag, data[h : h + 32]), "bad-seal", "5.1")
    rows = list(struct.iter_unpack("<QQ", data[t : t + 16 * n]))
    need(not any(data[64 + m : t]), MALFORMED, "5.2")
    need(not any(data[t + 16 * n : h]), MALFORMED, "5.3")
    need(codec == 1 or all(stored == raw for stored, raw in rows), MALFORMED, "5.4")
    need(sum(raw for _, raw in rows) <= 2**44, MALFORMED, "5.5")
    need(sum(ceil(stored, 64) for stored, _ in rows) == total - h - 64, MALFORMED, "5.6")
    metadata = parsed(data[64 : 64 + m])
    need("external" not in metadata or n == 1, MALFORMED, "5.12")
    check_head(metadata, key, sum(raw for _, raw in rows), options)
    need(len(data) == total, MALFORMED, "7.1")
    body = data[h + 32 : -32]
    leaves = [hashed(suite, "leaf", body[i : i + 2**20]) for i in range(0, len(body), 2**20)]
    table_digest = hashed(suite, "table", data[t : t + 16 * n])
    start = struct.pack("<QQQ", len(body), len(leaves), codec) + table_digest
    content_digest = hashed(suite, "root", start + b"".join(leaves))
    whole = hashed(suite, "body", head_digest + content_digest)
    tag = tagged(key, "pickleseal/v1/envelope", name, total - 32, whole)
    need(hmac.compare_digest(tag, data[-32:]), "bad-seal", "7.2")
    segments = []
    for stored, _ in rows:
        segments.append(body[:stored])
        need(not any(body[stored : ceil(stored, 64)]), MALFORMED, "7.3")
        body = body[ceil(stored, 64) :]
    digest = f"ps{suite}:{content_digest.hex()}"
    need(options.expect in (None, digest), "policy", "7.4")
    need(agrees(options.pin, metadata, digest, data[64 : 64 + m]), "rollback", "7.5")
    return Opened(metadata, segments, [raw for _, raw in rows], codec, total, digest)


def check_head(metadata: dict[str, Any], key: Secret, raw: int, options: Options) -> None:
    """Do step 6."""
    context = metadata.get("context")
    covers = [context is not None and fits(context, pattern) for pattern in key.contexts]
    need(not covers or any(covers), "context", "6.1")
    need(within(max(raw, metadata.get("raw_size", 0)), options.max_bytes), "policy", "6.2")
    given = None if options.context is None else unicodedata.normalize("NFC", options.context)
    need(context == given, "context", "6.3")
    need(options.now < metadata.get("expires", math.inf), "expired", "6.4")
    if options.max_age is not None:
        need("created" in metadata, "expired", "6.5")
        need(metadata["created"] <= options.now + 60, "expired", "6.6")
        need(options.now - metadata["created"] <= options.max_age, "expired", "6.7")
    serial = metadata.get("serial", -1)
    need(options.min_serial is None or serial >= options.min_serial, "rollback", "6.8")
    need(options.pin is None or serial >= options.pin[0], "rollback", "6.9")
    for pair in metadata.get("imports", []):
        either = allowed(pair, options) or allowed(today(pair), options)
        need(either, "policy", "6.10")
    for package, version in metadata.get("versions", {}).items():
        need(not options.strict_versions or is_here(package, version), "version-mismatch", "6.11")


def within(size: int, most: int | None) -> bool:
    return most is None or size <= most


def fits(context: str, pattern: str) -> bool:
    if pattern.endswith("*"):
        return context.startswith(pattern[:-1])
    return context == pattern


def agrees(
    pin: tuple[int, str, str] | None, metadata: dict[str, Any], digest: str, spelled: bytes
) -> bool:
    if pin is None or metadata["serial"] > pin[0] or digest == pin[1]:
        return True
    return digest[:3] != pin[1][:3] and hashlib.sha256(spelled).hexdigest() == pin[2]


def allowed(pair: Sequence[str], options: Options) -> bool:
    if options.allow is None:
        return True
    module, name = pair
    for item in options.allow:
        inside = module == item or module.startswith(item + ".")
        if f"{module}.{name}" == item or (inside and "." not in name):
            return True
    return False


def today(pair: Sequence[str]) -> Sequence[str]:
    module, name = pair
    return NAME_MAPPING.get((module, name)) or (IMPORT_MAPPING.get(module, module), name)


def is_here(package: str, version: str) -> bool:
    """Compare versions, as far as the vectors have them: of Python, and of what nobody has."""
    if package != "python":
        return importlib.util.find_spec(package) is not None
    return version.split(".")[:2] == [str(part) for part in sys.version_info[:2]]


def expanded(opened: Opened) -> list[bytes]:
    """Undo the codec: checks 8.2 to 8.4."""
    if opened.codec == 0:
        return opened.stored
    return [expand(*pair) for pair in zip(opened.stored, opened.raw_sizes, strict=True)]


def expand(segment: bytes, raw: int) -> bytes:
    count = ceil(raw, 2**22) // 2**22
    if not count:
        need(not segment, MALFORMED, "8.2")
        return b""
    table = struct.pack("<II", 0x184D2A50, 4 * count)
    need(segment[:8] == table and len(segment) >= 8 + 4 * count, MALFORMED, "8.2")
    sizes = struct.unpack_from(f"<{count}I", segment, 8)
    position = 8 + 4 * count
    need(position + sum(sizes) == len(segment), MALFORMED, "8.2")
    pieces = []
    for number, size in enumerate(sizes):
        wanted = min(2**22, raw - number * 2**22)
        frame = segment[position : position + size]
        check_form(frame, wanted)
        try:
            piece = zstd.ZstdDecompressor().decompress(frame, wanted + 1)
        except zstd.ZstdError:
            raise Refused(MALFORMED, "8.4") from None
        need(len(piece) == wanted, MALFORMED, "8.4")
        pieces.append(piece)
        position += size
    return b"".join(pieces)


def check_form(frame: bytes, wanted: int) -> None:
    """Check a frame's header, and walk over the headers of its blocks."""
    file = io.BytesIO(frame)
    need(file.read(4) == b"\x28\xb5\x2f\xfd", MALFORMED, "8.3")
    descriptor = number(file, 1)
    need(descriptor & 0x1F == 0, MALFORMED, "8.3")
    single = bool(descriptor & 0x20)
    if single:
        window = wanted
    else:
        exponent, eighths = divmod(number(file, 1), 8)
        window = (8 + eighths) << (7 + exponent)
    length = {0: 1 if single else 0, 1: 2, 2: 4, 3: 8}[descriptor >> 6]
    stated = number(file, length) + (256 if length == 2 else 0)
    need(not length or stated == wanted, MALFORMED, "8.3")
    need(window <= 2**22, MALFORMED, "8.3")
    last = False
    while not last:
        header = number(file, 3)
        last, kind, size = bool(header & 1), header >> 1 & 3, header >> 3
        need(kind != 3 and size <= min(window, 2**17), MALFORMED, "8.3")
        taken = 1 if kind == 1 else size
        need(len(file.read(taken)) == taken, MALFORMED, "8.3")
    need(not file.read(), MALFORMED, "8.3")


def number(file: io.BytesIO, length: int) -> int:
    data = file.read(length)
    need(len(data) == length, MALFORMED, "8.3")
    return int.from_bytes(data, "little")


class Unpickler(PythonUnpickler):  # type: ignore[misc]
    imports: list[list[str]] | None
    options: Options
    file: io.BytesIO

    def find_class(self, module: str, name: str) -> Any:
        need(self.imports is None or [module, name] in self.imports, "policy", "8.8")
        pair = today((module, name)) if self.proto <= 2 else (module, name)
        need(allowed(pair, self.options), "policy", "8.9")
        if module == "joblib.numpy_pickle":
            return ArrayWrapper
        return super().find_class(module, name)

    def load_build(self) -> None:
        super().load_build()
        if isinstance(self.stack[-1], ArrayWrapper):
            self.stack[-1] = self.array(self.stack[-1].__dict__)

    def array(self, fields: dict[str, Any]) -> object:
        dtype = fields["dtype"]
        if dtype.hasobject:
            inner = Unpickler(self.file)
            inner.imports, inner.options, inner.file = self.imports, self.options, self.file
            return inner.load()
        if "numpy_array_alignment_bytes" in fields:
            self.file.read(self.file.read(1)[0])
        return self.file.read(dtype.itemsize * math.prod(fields["shape"]))

    dispatch: ClassVar[dict[int, Any]] = PythonUnpickler.dispatch.copy()
    dispatch[pickle.BUILD[0]] = load_build


class ArrayWrapper:
    """Where joblib writes an array, it has one of these, and the array's bytes behind it."""


def unpickled(opened: Opened, options: Options) -> Any:
    """Do the rest of step 8."""
    metadata = opened.metadata
    need(metadata["content"] in ("pickle", "joblib"), "policy", "8.1")
    stream, *given = expanded(opened)
    if metadata["content"] == "joblib":
        need(not given, MALFORMED, "8.5")
        stream = unpacked(stream, metadata["raw_size"])
    if "external" in metadata:
        given = list(options.buffers or ())
        need(bound(given) == metadata["external"], "policy", "8.7")
    copyreg.clear_extension_cache()  # which would answer without find_class
    left = iter(given)
    file = io.BytesIO(stream)
    unpickler = Unpickler(file, buffers=left)
    unpickler.imports, unpickler.options, unpickler.file = metadata.get("imports"), options, file
    obj = unpickler.load()
    # First what is left of its last frame, and then of the file.
    need(not unpickler.read(1), MALFORMED, "8.10")
    need(next(left, None) is None, MALFORMED, "8.11")
    return obj


def extracted(opened: Opened) -> bytes:
    """Return the plain pickle: each buffer in its place in the stream."""
    stream, *given = expanded(opened)
    if not given:
        return stream
    left = iter(given)
    pieces = []
    opcodes = [*pickletools.genops(stream)]
    ends = [start for _, _, start in opcodes[1:]] + [len(stream)]
    names = [opcode.name for opcode, _, _ in opcodes] + [""]
    for index, (start, end) in enumerate(zip((s for _, _, s in opcodes), ends, strict=True)):
        assert start is not None
        read_only = names[index + 1] == "READONLY_BUFFER"
        if names[index] == "NEXT_BUFFER":
            buffer = next(left)
            pieces += [b"\x8e" if read_only else b"\x96", struct.pack("<Q", len(buffer)), buffer]
        elif names[index] not in ("FRAME", "READONLY_BUFFER"):
            pieces.append(stream[start:end])
    return b"".join(pieces)


def unpacked(packed: bytes, raw: int) -> bytes:
    """Undo joblib's compressions: check 8.6."""
    decoder = decoder_of(packed)
    if decoder is None:
        need(len(packed) == raw, MALFORMED, "8.6")
        return packed
    try:
        data: bytes = decoder.decompress(packed, raw + 1)
    except (zlib.error, OSError, lzma.LZMAError, RuntimeError):
        raise Refused(MALFORMED, "8.6") from None
    need(len(data) == raw and decoder.eof and not decoder.unused_data, MALFORMED, "8.6")
    return data


def decoder_of(packed: bytes) -> Any:
    if packed[:1] == b"\x78":
        return zlib.decompressobj()
    if packed[:2] == b"\x1f\x8b":
        return zlib.decompressobj(31)
    if packed[:2] == b"BZ":
        return bz2.BZ2Decompressor()
    if packed[:2] == b"\x5d\0":
        return lzma.LZMADecompressor(lzma.FORMAT_ALONE, 2**30)
    if packed[:5] == b"\xfd7zXZ":
        return lzma.LZMADecompressor(lzma.FORMAT_XZ, 2**30)
    if packed[:4] == b"\x04\x22\x4d\x18":
        import lz4.frame

        return lz4.frame.LZ4FrameDecompressor()
    return None


def bound(buffers: Sequence[bytes]) -> dict[str, object]:
    digests = (struct.pack("<Q", len(b)) + hashlib.sha256(b).digest() for b in buffers)
    digest = hashlib.sha256(b"".join(digests)).hexdigest()
    return {"count": len(buffers), "bytes": sum(map(len, buffers)), "digest": digest}


def parsed(data: bytes) -> dict[str, Any]:
    """Read canonical metadata: read them, write them again, compare."""
    try:
        metadata = json.loads(data.decode(), parse_int=short_integer)
        again = json.dumps(
            metadata, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
        ).encode()
    except ValueError:
        raise Refused(MALFORMED, "5.7") from None
    except RecursionError:  # from some depth on, which depends on Python's version
        raise Refused(MALFORMED, "5.8") from None
    need(again == data and isinstance(metadata, dict), MALFORMED, "5.7")
    need("content" in metadata, MALFORMED, "5.8")
    for name, value in metadata.items():
        need(name in FIELDS and FIELDS[name](value), MALFORMED, "5.8")
    need(not ("imports" in metadata and "imports_omitted" in metadata), MALFORMED, "5.9")
    need(("raw_size" in metadata) == (metadata["content"] == "joblib"), MALFORMED, "5.10")
    need("external" not in metadata or metadata["content"] == "pickle", MALFORMED, "5.11")
    result: dict[str, Any] = metadata
    return result


def short_integer(text: str) -> int:
    if len(text) > 20:
        raise ValueError(text)
    return int(text)


def is_text(value: object) -> TypeGuard[str]:
    forbidden = "[\x00-\x1f\x7f-\x9f\ud800-\udfff]"
    return isinstance(value, str) and not re.search(forbidden, value)


def is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < 2**53


def is_name(value: str) -> bool:
    return bool(re.fullmatch("[A-Za-z0-9_.-]{1,64}", value))


def is_context(value: object) -> bool:
    if not is_text(value):
        return False
    return 1 <= len(value.encode()) <= 255 and unicodedata.normalize("NFC", value) == value


def is_info(value: object, depth: int = 2) -> bool:
    if isinstance(value, dict):
        inner = all(is_name(k) and is_info(v, depth + 1) for k, v in value.items())
        return depth <= 4 and inner
    if depth == 2:
        return False
    if isinstance(value, list):
        return depth <= 4 and all(is_info(item, depth + 1) for item in value)
    if type(value) is int:
        return -(2**53) <= value < 2**53
    return isinstance(value, bool) or is_text(value) or isinstance(value, float)


def is_versions(value: object) -> bool:
    if not isinstance(value, dict):
        return False
    return all(is_name(k) and is_text(v) for k, v in value.items())


def is_imports(value: object) -> bool:
    if not isinstance(value, list):
        return False
    pairs = all(isinstance(p, list) and len(p) == 2 and all(map(is_text, p)) for p in value)
    return pairs and all(a < b for a, b in pairwise(value))


def is_external(value: object) -> bool:
    if not isinstance(value, dict) or set(value) != {"count", "bytes", "digest"}:
        return False
    counts = is_count(value["count"]) and value["count"] > 0 and is_count(value["bytes"])
    digest = value["digest"]
    return counts and isinstance(digest, str) and bool(re.fullmatch("[0-9a-f]{64}", digest))


FIELDS = {
    "class": is_text,
    "content": lambda value: value in ("pickle", "joblib", "inventory"),
    "context": is_context,
    "created": is_count,
    "expires": is_count,
    "external": is_external,
    "imports": is_imports,
    "imports_omitted": is_count,
    "info": is_info,
    "raw_size": is_count,
    "serial": is_count,
    "source": lambda value: value in ("dumped", "adopted"),
    "versions": is_versions,
}


def key_of(line: str) -> Secret | None:
    """Return the key of a plain key line, or None for anything else."""
    match = re.fullmatch(r"pickleseal-key-1\.([12])\.([A-Za-z0-9_-]{43})\.([0-9a-f]{32})\n?", line)
    if match is None:
        return None
    digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    bits = "".join(f"{digits.index(digit):06b}" for digit in match[2])
    secret = int(bits[:256], 2).to_bytes(32, "big")
    key = Secret(int(match[1]), secret)
    intact = bits[256:] == "00" and key_id(key).hex() == match[3] and len(set(secret)) > 1
    return key if intact else None
