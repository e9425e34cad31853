"""The members of zip and tar files, in the forms that their writers write.

A zip describes each member twice, in its directory and in a local header, and readers differ in
which one they use. A member whose descriptions differ has `trouble`.
"""

import re
import struct
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from typing import NamedTuple

from pickleseal.scanner.containers import layers
from pickleseal.scanner.containers.views import (
    FAR,
    LONGEST,
    MAX_MEMBERS,
    Bounds,
    Part,
    View,
    behind_padding,
)

BLOCK = 512
"""Size of a tar block, in bytes."""
ZIP_MAGIC = b"PK\x03\x04"

_NAME_KEPT = 512
"""How much of the end of a name is kept, in bytes. Its ending says what a member may be."""
_DIRECTORIES = 8  # a zip has one; other candidates are examined up to this number
_OVERLAPS = 100  # a directory that lists members twice, in two readings, has duplicates
_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR = struct.Struct("<4sLQL")
_ENTRY = struct.Struct("<4s4B4HL2L5H2L")
_LOCAL = struct.Struct("<4s2B4HL2L2H")
_TAIL = 70_000
"""How far from the end torch may look for an end record, in bytes; zipfile looks less far."""
_END_MAGIC = b"PK\x05\x06"
_NO_SIZE = 0xFFFFFFFF
SIZES_DIFFER = "its sizes differ"
_NO_SIZES = (_NO_SIZE, 0xFFFFFFFFFFFFFFFF)


class Member(NamedTuple):
    """A member: its name and its bytes.

    `oddity` is something that no ordinary writer does, `trouble` a reason why the member cannot be
    examined: a clause each, or empty. Readers end its bytes at `size`, if that is not None.
    """

    name: str
    view: View | None = None
    oddity: str = ""
    trouble: str = ""
    size: int | None = None

    def ends_elsewhere(self) -> bool:
        """Return whether its bytes do not end where readers end them; this unpacks all of them."""
        if self.view is None or self.size is None:
            return False
        return self.view.reach(FAR) != self.size


# --- zip -------------------------------------------------------------------------------------


def _kept(name: bytes) -> bytes:
    """Return the end of a name, as zipfile and tarfile read it: up to a zero."""
    return name.partition(b"\0")[0][-_NAME_KEPT:]


class Entry(NamedTuple):
    """The directory entry of a zip member. `local` is the offset of its local header."""

    name: bytes
    flags: int
    method: int
    size: int
    raw: int
    local: int


def zip_members(
    view: View, places: Sequence[tuple[int, int]], bounds: Bounds, known: set[Entry]
) -> Iterator[Member]:
    """Yield the members of the directories at some places.

    A zip that ends with a nested zip, or is the last member of a tar, is found twice. So `known`
    members have no bytes and each yielded one becomes known, by its offset in the outermost view.
    """
    origin = view.start if isinstance(view, Part) else 0
    end = overlaps = 0
    for entry in sorted(_listed(view, places, bounds), key=lambda entry: entry.local):
        place = entry._replace(local=origin + entry.local)
        if place in known:
            yield Member(entry.name.decode("utf-8", "replace"))
            continue
        overlaps += entry.local < end
        end = max(end, entry.local + _LOCAL.size + entry.size)
        if overlaps > _OVERLAPS:
            yield Member("", trouble="its zip members overlap")
            return
        if not bounds.member():
            return
        member = _member(view, entry, bounds)
        if not member.trouble:
            known.add(place)
        yield member


def _listed(view: View, places: Sequence[tuple[int, int]], bounds: Bounds) -> dict[Entry, None]:
    """Return the entries of directories in their order, up to one more than are examined."""
    entries: dict[Entry, None] = {}
    for start, shift in places:
        for entry in _entries(view, start, shift):
            if not bounds.listed() or len(entries) > MAX_MEMBERS:
                return entries
            entries[entry] = None
    return entries


def directories(view: View) -> list[tuple[int, int]]:
    """Return where a reader could find a zip's directory, and by how much its offsets are shifted.

    It is in front of an end record at the end of the bytes, or where that says.
    """
    end = view.reach(FAR)
    first = max(end - _TAIL, 0)
    tail = view.read(first, end - first)
    stop = len(tail) - _END.size + len(_END_MAGIC)
    found: dict[tuple[int, int], None] = {}
    for _ in range(_DIRECTORIES):
        at = tail.rfind(_END_MAGIC, 0, max(stop, 0))
        if at < 0:
            break
        stop = at + len(_END_MAGIC) - 1
        size, stated = _END.unpack_from(tail, at)[5:7]
        for start, offset in _starts(view, first + at, size, stated):
            if start >= 0 and view.read(start, 4) == b"PK\x01\x02":
                found[start, start - offset] = None
    return list(found)


def _starts(view: View, end: int, size: int, offset: int) -> Iterator[tuple[int, int]]:
    """Yield where the directory of the end record at `end` could begin, and its stated offset.

    A directory is in front of its end record, or where that says, even behind it: torch looks
    there. So does it for the wider record of a large zip.
    """
    yield from ((end - size, offset), (offset, offset))
    locator = view.read(end - _LOCATOR.size, _LOCATOR.size) if end >= _LOCATOR.size else b""
    if len(locator) < _LOCATOR.size or not locator.startswith(b"PK\x06\x07"):
        return
    for place in {_LOCATOR.unpack(locator)[2], end - _LOCATOR.size - _END64.size}:
        record = view.read(place, _END64.size) if place >= 0 else b""
        if len(record) == _END64.size and record.startswith(b"PK\x06\x06"):
            size, offset = _END64.unpack(record)[8:10]
            yield from ((place - size, offset), (offset, offset))


def _entries(view: View, start: int, shift: int) -> Iterator[Entry]:
    while True:
        fixed = view.read(start, _ENTRY.size)
        if len(fixed) < _ENTRY.size or not fixed.startswith(b"PK\x01\x02"):
            return
        fields = _ENTRY.unpack(fixed)
        flags, method = fields[5], fields[6]
        packed, raw = fields[10], fields[11]
        name_size, extra_size, comment_size = fields[12:15]
        local = fields[18]
        variable = view.read(start + _ENTRY.size, name_size + extra_size)
        name, extra = _kept(variable[:name_size]), variable[name_size:]
        for size, plain, offset in [*_wide(extra, packed, raw, local)] or [(packed, raw, local)]:
            yield Entry(name, flags, method, size, plain, offset + shift)
        start += _ENTRY.size + name_size + extra_size + comment_size


def _wide(extra: bytes, packed: int, raw: int, local: int) -> Iterator[tuple[int, int, int]]:
    """Yield the sizes and the offset of an entry after each of its zip64 fields.

    Some readers stop at the first field; in others each field fills what earlier ones left open.
    """
    while len(extra) >= 4:
        kind, size = struct.unpack_from("<HH", extra)
        if kind == 1:
            field = extra[4 : 4 + size].ljust(size, b"\0")
            numbers = iter(struct.unpack_from(f"<{size // 8}Q", field))
            raw = next(numbers, raw) if raw in _NO_SIZES else raw
            packed = next(numbers, packed) if packed == _NO_SIZE else packed
            local = next(numbers, local) if local == _NO_SIZE else local
            yield packed, raw, local
        extra = extra[4 + size :]


def _member(view: View, entry: Entry, bounds: Bounds) -> Member:
    name = entry.name.decode("utf-8" if entry.flags & 0x800 else "cp437", "replace")
    fixed = view.read(entry.local, _LOCAL.size) if entry.local >= 0 else b""
    if len(fixed) < _LOCAL.size or not fixed.startswith(ZIP_MAGIC):
        return Member(name, trouble="not where the zip's directory says")
    fields = _LOCAL.unpack(fixed)
    flags, method, size, name_size, extra_size = (fields[i] for i in (3, 4, 8, 10, 11))
    start = entry.local + _LOCAL.size
    local_name = _kept(view.read(start, name_size))
    start += name_size + extra_size
    packed = Part(view, start, entry.size, bounds)
    layer = layers.ZIPPED.get(entry.method)
    unpacked = packed if layer is None else layers.Expanded(packed, 0, layer, bounds)
    oddity = trouble = ""
    if local_name != entry.name:
        oddity = "its names in the zip's directory and its local header differ"
    elif (flags | entry.flags) & 1:
        oddity = "marked as encrypted, but is not"
    if (flags | entry.flags) & 1:
        trouble = "encrypted"
    if method != entry.method or size not in (entry.size, 0, _NO_SIZE):
        trouble = "its sizes or methods in the zip's directory and its local header differ"
    elif layer is None and method:
        trouble = "unknown compression method"
    elif view.reach(start + entry.size) < start + entry.size:
        trouble = "longer than the zip"
    member = Member(name, unpacked, oddity, trouble, entry.raw)
    # A zip is read from its end, so a nested one must end where readers end the member.
    if not trouble and (layer is None or unpacked.read(0, 2) == b"PK") and member.ends_elsewhere():
        return member._replace(trouble=SIZES_DIFFER)
    return member


# --- programs of torch -------------------------------------------------------------------------

_VERSIONS = frozenset({"version", ".data/version"})
_FORMATS = frozenset({"constants.pkl", ".data/extern_modules"})
_CODE = frozenset({".py", "bytecode.pkl", "model.json"})


def record(name: str) -> str:
    """Return what a zip's member is to torch: its name in the archive's folder, in any case."""
    record = name.partition("/")[2].lower()
    return ".py" if record.endswith(".py") else record


def is_program(records: AbstractSet[str]) -> bool:
    """Return whether torch takes an archive of these records for TorchScript or a package.

    Its pickles name classes of the archive's own code, which may be called like any other class.
    """
    return not any(map(records.isdisjoint, (_VERSIONS, _FORMATS, _CODE)))


RECORDS = _VERSIONS | _FORMATS | _CODE
"""The records by which a program is recognized."""


# --- tar -------------------------------------------------------------------------------------


def is_tar(start: bytes) -> bool:
    """Return whether bytes begin with a tar header: its checksum must match."""
    head = start[:BLOCK]
    if len(head) < BLOCK:
        return False
    told = _number(head[148:156])
    rest = head[:148] + b" " * 8 + head[156:]
    total = sum(rest)
    if told is None or told not in (total, total - 256 * sum(byte > 127 for byte in rest)):
        return False
    # The sum of signed bytes may be anything, and zero in many files that are no tar.
    if told < 8 * ord(" ") and None in [_number(head[at:end]) for at, end in _NUMBERS]:
        return False
    sure = any(head[124:156]) or head[156:157] == b"S" or not start[BLOCK:]
    return sure or is_tar(start[BLOCK:])


_NUMBERS = ((100, 108), (108, 116), (116, 124), (124, 136), (136, 148), (329, 337), (337, 345))


def tar_members(view: View, bounds: Bounds) -> Iterator[Member]:
    """Yield the members of a tar, up to its end or the first header that no program writes."""
    offset = 0
    name = before = b""
    size: int | None = None
    holes = False
    while (head := view.read(offset, BLOCK)) and any(head):
        told = _number(head[124:136]) if is_tar(head) else None
        if told is None or told < 0:
            yield Member("", trouble="its tar is damaged")
            return
        if not bounds.member():
            return
        start = offset + BLOCK
        kind = head[156:157]
        if kind in _EXTENDING:
            # Readers differ in which of several headers they apply to a member, and how.
            before += kind
            records = {} if kind in b"KL" else _records(view, start, told)
            odd = records and (
                (kind == b"g" and not _FOR_ONE.isdisjoint(records)) or (name and b"path" in records)
            )
            if before not in _ORDERS or records is None or odd or told > LONGEST:
                yield Member("", trouble="a tar header that no program writes")
                return
            if kind == b"L":
                name = _kept(view.read(start, told))
            elif kind == b"g":
                before = b""
            name = _kept(records.get(b"path", name))
            size = int(records[b"size"]) if b"size" in records else size
            holes = holes or any(key.startswith(b"GNU.sparse.") for key in records)
        else:
            told = told if size is None else size
            own = _kept(head[:100])
            name = name or own
            trouble = "sparse member" if holes or kind == b"S" else ""
            if kind == b"\0" and told and b"/" in (name[-1:], own[-1:]):
                # Readers differ in which of two names they go by, if any.
                trouble = "a folder with data"
            elif kind in _WITHOUT_DATA:
                told = 0
            data = Part(view, start, told, bounds)
            yield Member(name.decode("utf-8", "replace"), data, trouble=trouble)
            if kind == b"S":  # a map of unknown length follows
                return
            name, before, size, holes = b"", b"", None, False
        offset = min(start + -(-told // BLOCK) * BLOCK, FAR)
    if view.read(behind_padding(view, offset, b"\0"), 1):
        yield Member("", trouble="bytes follow the end of its tar")


_EXTENDING = (b"x", b"g", b"X", b"K", b"L")
_ORDERS = (b"x", b"g", b"X", b"K", b"L", b"KL", b"LK", b"Kx", b"Lx", b"KLx", b"LKx")
"""Kinds of the headers in front of that of a member."""
_FOR_ONE = frozenset({b"size", b"path"})
_WITHOUT_DATA = (b"1", b"2", b"3", b"4", b"5", b"6")
_RECORD = re.compile(rb"([1-9][0-9]{0,6}) ([^=]+)=")
_SIZE = re.compile(rb"[0-9]{1,19}")


def _number(field: bytes) -> int | None:
    """Return a number of a tar header as Python's tarfile reads it, or None if it rejects it."""
    if field[:1] in (b"\x80", b"\xff"):
        return int.from_bytes(field[1:], "big", signed=field[0] == 0xFF)
    try:
        return int(field.partition(b"\0")[0].decode("ascii").strip() or "0", 8)
    except ValueError:
        return None


def _records(view: View, start: int, size: int) -> dict[bytes, bytes] | None:
    """Return the records of an extended header, or None if no program writes one like it."""
    text = view.read(start, min(size, LONGEST))
    records: dict[bytes, bytes] = {}
    at = 0
    while at < size:
        found = _RECORD.match(text, at)
        end = at + int(found[1]) if found else 0
        if found is None or not found.end() < end <= len(text) or text[end - 1] != ord("\n"):
            return None
        records[found[2]] = text[found.end() : end - 1]
        at = end
    return records if _SIZE.fullmatch(records.get(b"size", b"0")) else None
