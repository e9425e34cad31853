"""A reader of envelopes written from docs/reference/format.md alone.

It shares no code with the package: plain Python, blake3 and zstd. It is short rather than fast, and
reads bytes only.
"""

import hashlib
import hmac
import io
import json
import math
import pickle
import pickletools
import re
import struct
import sys
import unicodedata
import zlib
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from blake3 import blake3

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


class Refused(Exception):  # noqa: N818 - a verdict
    """The kind of refusal is the only argument."""


class Opened(NamedTuple):
    """What a good envelope holds, and how many bytes it took."""

    metadata: dict[str, Any]
    segments: list[bytes]
    raw_sizes: list[int] | None
    size: int
    digest: str


class Secret(NamedTuple):
    """A key of the reader's: its suite, its 32 bytes, and whether it is revoked."""

    suite: int
    secret: bytes
    revoked: bool = False


def need(holds: object, kind: str) -> None:
    if not holds:
        raise Refused(kind)


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


def read(
    data: bytes, keys: list[Secret], context: str | None, now: int, buffers: Sequence[bytes] = ()
) -> Opened:
    """Open the one envelope that `data` is, unpickle what it holds, or raise Refused."""
    opened = unsealed(data, keys, context, now)
    unpickled(opened, buffers)
    return opened


def unsealed(data: bytes, keys: list[Secret], context: str | None, now: int) -> Opened:
    """Open the one envelope that `data` is, up to where it would be unpickled."""
    # Steps 1 to 3
    need(data[:8] == b"\xa6PSEAL\r\n"[: len(data)] and data, "not-sealed")
    need(len(data) >= 64, "malformed")
    version, suite, flags, name, m, n, total, codec = struct.unpack_from("<HHI16sIIQH", data, 8)
    need(version == 1 and suite in (1, 2) and not flags and not any(data[50:64]), "malformed")
    need(codec in (0, 1) and 2 <= m <= 65536 and 1 <= n <= 65536 and total <= 2**44, "malformed")
    t = ceil(64 + m, 16)
    h = ceil(t + 16 * n + 32, 64) - 32
    need(total >= h + 64 and (total - h - 64) % 64 == 0 and total == len(data), "malformed")
    # Step 4
    key = next((key for key in keys if key_id(key) == name), None)
    need(key, "unknown-key")
    assert key is not None
    need(not key.revoked, "revoked")
    need(key.suite == suite, "malformed")
    # Step 5
    head_digest = hashed(suite, "head", data[:h])
    tag = tagged(key, "pickleseal/v1/header", name, h, head_digest)
    need(hmac.compare_digest(tag, data[h : h + 32]), "bad-seal")
    rows = list(struct.iter_unpack("<QQ", data[t : t + 16 * n]))
    need(not any(data[64 + m : t]) and not any(data[t + 16 * n : h]), "malformed")
    need(codec == 1 or all(stored == raw for stored, raw in rows), "malformed")
    need(sum(raw for _, raw in rows) <= 2**44, "malformed")
    need(sum(ceil(stored, 64) for stored, _ in rows) == total - h - 64, "malformed")
    metadata = parsed(data[64 : 64 + m])
    need("external" not in metadata or n == 1, "malformed")
    # Step 6
    given = None if context is None else unicodedata.normalize("NFC", context)
    need(metadata.get("context") == given, "context")
    need(now < metadata.get("expires", math.inf), "expired")
    # Step 7
    body = data[h + 32 : -32]
    leaves = [hashed(suite, "leaf", body[i : i + 2**20]) for i in range(0, len(body), 2**20)]
    table_digest = hashed(suite, "table", data[t : t + 16 * n])
    start = struct.pack("<QQQ", len(body), len(leaves), codec) + table_digest
    content_digest = hashed(suite, "root", start + b"".join(leaves))
    digest = hashed(suite, "body", head_digest + content_digest)
    tag = tagged(key, "pickleseal/v1/envelope", name, total - 32, digest)
    need(hmac.compare_digest(tag, data[-32:]), "bad-seal")
    segments = []
    for stored, _ in rows:
        segments.append(body[:stored])
        need(not any(body[stored : ceil(stored, 64)]), "malformed")
        body = body[ceil(stored, 64) :]
    raw_sizes = [raw for _, raw in rows] if codec else None
    return Opened(metadata, segments, raw_sizes, total, f"ps{suite}:{content_digest.hex()}")


def expanded(opened: Opened) -> list[bytes]:
    """Undo the codec."""
    if opened.raw_sizes is None:
        return opened.segments
    return [expand(*pair) for pair in zip(opened.segments, opened.raw_sizes, strict=True)]


def expand(segment: bytes, raw: int) -> bytes:
    count = ceil(raw, 2**22) // 2**22
    if not count:
        need(not segment, "malformed")
        return b""
    table = struct.pack("<II", 0x184D2A50, 4 * count)
    need(segment[:8] == table and len(segment) >= 8 + 4 * count, "malformed")
    sizes = struct.unpack_from(f"<{count}I", segment, 8)
    position = 8 + 4 * count
    need(position + sum(sizes) == len(segment), "malformed")
    pieces = []
    for number, size in enumerate(sizes):
        wanted = min(2**22, raw - number * 2**22)
        window = {int(zstd.DecompressionParameter.window_log_max): 22}
        reader = zstd.ZstdDecompressor(options=window)
        try:
            pieces.append(reader.decompress(segment[position : position + size], wanted + 1))
        except zstd.ZstdError:
            raise Refused("malformed") from None
        need(len(pieces[-1]) == wanted and reader.eof and not reader.unused_data, "malformed")
        position += size
    return b"".join(pieces)


class Unpickler(pickle.Unpickler):
    imports: list[list[str]] | None

    def find_class(self, module: str, name: str) -> Any:
        need(self.imports is None or [module, name] in self.imports, "policy")
        return super().find_class(module, name)


def unpickled(opened: Opened, buffers: Sequence[bytes]) -> Any:
    """Do step 8; `buffers` are the caller's."""
    metadata = opened.metadata
    need(metadata["content"] in ("pickle", "joblib"), "policy")
    stream, *given = expanded(opened)
    if metadata["content"] == "joblib":
        need(not given, "malformed")
        stream = unpacked(stream, metadata["raw_size"])
    if "external" in metadata:
        need(bound(buffers) == metadata["external"], "policy")
        given = list(buffers)
    left = iter(given)
    unpickler = Unpickler(io.BytesIO(stream), buffers=left)
    unpickler.imports = metadata.get("imports")
    obj = unpickler.load()
    # Where the last opcode stands; the file's position would be behind the frame it is in.
    *_, (_, _, stop) = pickletools.genops(stream)
    need(stop == len(stream) - 1 and next(left, None) is None, "malformed")
    return obj


def unpacked(packed: bytes, raw: int) -> bytes:
    """Undo the compressions of joblib that the vectors have; its arrays they have not."""
    if packed[:1] != b"\x78":
        need(len(packed) == raw, "malformed")
        return packed
    reader = zlib.decompressobj()
    try:
        data = reader.decompress(packed, raw + 1)
    except zlib.error:
        raise Refused("malformed") from None
    need(len(data) == raw and reader.eof and not reader.unused_data, "malformed")
    return data


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
        )
        need(again.encode() == data, "malformed")
    except (ValueError, RecursionError):
        raise Refused("malformed") from None
    need(isinstance(metadata, dict) and "content" in metadata, "malformed")
    for name, value in metadata.items():
        need(name in FIELDS and FIELDS[name](value), "malformed")
    need(not ("imports" in metadata and "imports_omitted" in metadata), "malformed")
    need(("raw_size" in metadata) == (metadata["content"] == "joblib"), "malformed")
    result: dict[str, Any] = metadata
    return result


def short_integer(text: str) -> int:
    if len(text) > 20:
        raise ValueError(text)
    return int(text)


def is_text(value: object) -> bool:
    forbidden = "[\x00-\x1f\x7f-\x9f\ud800-\udfff]"
    return isinstance(value, str) and not re.search(forbidden, value)


def is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < 2**53


def is_name(value: object) -> bool:
    return isinstance(value, str) and bool(re.fullmatch("[A-Za-z0-9_.-]{1,64}", value))


def is_context(value: object) -> bool:
    if not isinstance(value, str) or not is_text(value):
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
