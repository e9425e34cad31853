"""The opcodes of a pickle, read without running them.

The table of their arguments is CPython's (Lib/pickletools.py).
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from pickleseal.errors import MalformedError

PROTO = 0x80
GLOBAL = ord("c")
INST = ord("i")
STACK_GLOBAL = 0x93
FRAME = 0x95
BINBYTES8 = 0x8E
BYTEARRAY8 = 0x96
NEXT_BUFFER = 0x97
READONLY_BUFFER = 0x98

_NO_ARGUMENT = b".012()]}NabdelotQRsu\x81\x85\x86\x87\x88\x89\x8f\x90\x91\x92\x93\x94\x97\x98"
_FIXED = {0: _NO_ARGUMENT, 1: b"Khq\x82\x80", 2: b"M\x83", 4: b"Jjr\x84", 8: b"G\x95"}
_LINES = {1: b"FILSVPgp", 2: b"ci"}
_COUNTED = {1: b"UC\x8a\x8c", 4: b"TXB\x8b", 8: b"\x8d\x8e\x96"}


class Opcode(NamedTuple):
    """One opcode: its byte, its offset, and the offset of the next one."""

    code: int
    start: int
    end: int


_ARGUMENTS = {
    code: (kind, size)
    for kind, sizes in (("fixed", _FIXED), ("lines", _LINES), ("counted", _COUNTED))
    for size, codes in sizes.items()
    for code in codes
}


def walk(stream: memoryview) -> Iterator[Opcode]:
    """Yield the opcodes of a whole stream; raise MalformedError at one that does not fit."""
    position, end = 0, len(stream)
    while position < end:
        start = position
        code = stream[start]
        try:
            kind, size = _ARGUMENTS[code]
        except KeyError:
            raise MalformedError(f"byte {start} of the pickle is no opcode") from None
        position += 1
        if kind == "fixed":
            position += size
        elif kind == "lines":
            for _ in range(size):
                position = _line_end(stream, position)
        else:
            position += size + int.from_bytes(stream[position : position + size], "little")
        if position > end:
            raise MalformedError("the pickle is truncated inside an opcode")
        yield Opcode(code, start, position)


def protocol_of(start: bytes | memoryview) -> int:
    """Return the protocol that the beginning of a stream announces; 0 if it announces none."""
    return start[1] if len(start) > 1 and start[0] == PROTO else 0


def global_names(stream: memoryview) -> frozenset[tuple[str, str]]:
    """Return the module and name of each global in a stream of protocol 0 to 3, as spelled there.

    Raises MalformedError for STACK_GLOBAL, an opcode of later protocols.
    """
    names = set()
    for code, start, end in walk(stream):
        if code == STACK_GLOBAL:
            raise MalformedError(f"byte {start} of the pickle is an opcode of protocol 4")
        if code in (GLOBAL, INST):
            module, name = bytes(stream[start + 1 : end - 1]).decode().split("\n")
            names.add((module, name))
    return frozenset(names)


def put_back(stream: memoryview, buffers: Sequence[memoryview]) -> bytes:
    """Return a stream with its out-of-band buffers put back in their places.

    A writable buffer becomes a bytearray and a read-only one bytes, as pickle itself writes them.
    Raises MalformedError if the stream asks for more or fewer buffers.
    """
    if not buffers:
        return bytes(stream)
    left = iter(buffers)
    pieces: list[memoryview | bytes] = []
    kept = 0
    for code, start, end in walk(stream):
        # Frames are dropped: their sizes would no longer hold, and no unpickler needs them.
        if code not in (FRAME, NEXT_BUFFER):
            continue
        pieces.append(stream[kept:start])
        kept = end
        if code == FRAME:
            continue
        buffer = next(left, None)
        if buffer is None:
            raise MalformedError("the pickle needs more buffers than there are")
        read_only = stream[end : end + 1] == bytes([READONLY_BUFFER])
        if read_only:
            kept += 1  # that opcode has no argument
        pieces.append(bytes([BINBYTES8 if read_only else BYTEARRAY8]))
        pieces.append(len(buffer).to_bytes(8, "little"))
        pieces.append(buffer)
    if next(left, None) is not None:
        raise MalformedError("the pickle does not use all of its buffers")
    return b"".join([*pieces, stream[kept:]])


def _line_end(stream: memoryview, position: int) -> int:
    """Return the offset after the line feed of a line, or one past the end without a line feed."""
    window = 64
    while position < len(stream):
        found = bytes(stream[position : position + window]).find(b"\n")
        if found >= 0:
            return position + found + 1
        position += window
        window *= 2
    return len(stream) + 1
