"""Opcodes that read an argument from the stream, each as CPython's unpicklers read it."""

from pickleseal.scanner.machine.cursor import EndOfInput
from pickleseal.scanner.machine.faults import Fault
from pickleseal.scanner.machine.literals import (
    PARSER_KEPT,
    ZONE_KEPT,
    coded,
    float_line,
    index_line,
    int_line,
    long_text,
    quoted_line,
    unicode_line,
    utf8,
)
from pickleseal.scanner.machine.stack import NO_FRAME, Step, Walk
from pickleseal.scanner.machine.uses import call, look_up
from pickleseal.scanner.machine.values import (
    BUFFER,
    BYTES,
    CODED_TEXT,
    COMPUTED,
    GIVEN,
    MAX_SIZE,
    NUMBER,
    TEXT_KEPT,
    tuple_of,
)

_NAME_KEPT = 1024
_HIGHEST_PROTOCOL = 5

# -- arguments of a fixed size, or with their size in front


def _size(walk: Walk, width: int, largest: int = MAX_SIZE) -> int:
    size = int.from_bytes(walk.cursor.take(width), "little")
    if size > largest:
        raise Fault("a size is out of range")
    return size


def _counted(width: int, value: object, largest: int = MAX_SIZE) -> Step:
    def read(walk: Walk) -> None:
        walk.cursor.skip(_size(walk, width, largest))
        walk.stack.append(value)

    return read


def _text(width: int) -> Step:
    def read(walk: Walk) -> None:
        size = _size(walk, width)
        if size > PARSER_KEPT:
            walk.stack.append(_beginning(walk, size))
        elif size > TEXT_KEPT:
            walk.stack.append(long_text(walk.cursor.take(size)))
        else:
            walk.stack.append(utf8(walk.cursor.take(size)))

    return read


def _extension(width: int) -> Step:
    def read(walk: Walk) -> None:
        code = int.from_bytes(walk.cursor.take(width), "little", signed=width == 4)
        if code <= 0 or walk.record.bare:
            raise Fault("an invalid extension code")
        walk.record.note(f"it looks up extension code {code}")
        walk.record.coded = True
        walk.stack.append(COMPUTED)

    return read


def _coded(width: int) -> Step:
    def read(walk: Walk) -> None:
        size = _size(walk, width)
        if size > TEXT_KEPT:
            walk.stack.append(_beginning(walk, size))
        else:
            walk.stack.append(_checked(walk, coded(walk.cursor.take(size))))

    return read


def _beginning(walk: Walk, size: int) -> object:
    """Pass over a long text, and return the value that represents it."""
    found = long_text(walk.cursor.take(ZONE_KEPT))
    walk.cursor.skip(size - ZONE_KEPT)
    return found


def _checked(walk: Walk, text: object) -> object:
    if text is CODED_TEXT and walk.record.bare:
        raise Fault("a text of Python 2 is not ASCII")
    return text


def _integer(width: int, *, signed: bool) -> Step:
    def read(walk: Walk) -> None:
        walk.stack.append(int.from_bytes(walk.cursor.take(width), "little", signed=signed))

    return read


def _binfloat(walk: Walk) -> None:
    walk.cursor.take(8)
    walk.stack.append(NUMBER)


def _long1(walk: Walk) -> None:
    size = walk.cursor.take(1)[0]
    data = walk.cursor.take(size)
    walk.stack.append(int.from_bytes(data, "little", signed=True) if size <= 9 else NUMBER)


def _long_binget(walk: Walk) -> None:
    walk.stack.append(walk.memo.get(int.from_bytes(walk.cursor.take(4), "little")))


def _long_binput(walk: Walk) -> None:
    walk.put(int.from_bytes(walk.cursor.take(4), "little"))


def _proto(walk: Walk) -> None:
    protocol = walk.cursor.take(1)[0]
    if protocol > _HIGHEST_PROTOCOL:
        raise Fault(f"unknown protocol {protocol}")
    if walk.protocol not in (0, protocol):
        walk.record.coded = True
    walk.protocol = protocol
    walk.record.protocol = max(walk.record.protocol, protocol)


def _frame(walk: Walk) -> None:
    size = _size(walk, 8)
    if walk.frame_end not in (NO_FRAME, walk.cursor.position):
        walk.note_misfit()
    walk.frame_end = walk.cursor.position + size
    walk.moved = True


# -- arguments that are lines

_BOOLS = {b"00": False, b"01": True}


def _int(walk: Walk) -> None:
    line = walk.cursor.line()
    walk.stack.append(_BOOLS.get(line) if line in _BOOLS else int_line(line, legacy_octal=True))


def _long(walk: Walk) -> None:
    walk.stack.append(int_line(walk.cursor.line().removesuffix(b"L"), legacy_octal=False))


def _float(walk: Walk) -> None:
    walk.stack.append(float_line(walk.cursor.line()))


def _unicode(walk: Walk) -> None:
    walk.stack.append(unicode_line(walk.cursor.line()))


def _string(walk: Walk) -> None:
    walk.stack.append(_checked(walk, quoted_line(walk.cursor.line())))


def _persid(walk: Walk) -> None:
    if not walk.cursor.line().isascii():
        raise Fault("a persistent id is not ASCII")
    walk.record.give()
    walk.stack.append(GIVEN)


def _get(walk: Walk) -> None:
    walk.stack.append(walk.memo.get(index_line(walk.cursor.line())))


def _put(walk: Walk) -> None:
    index = index_line(walk.cursor.line())
    if index < 0:
        raise Fault("a memo index is out of range")
    walk.put(index)


def _name_line(walk: Walk) -> bytes:
    cursor = walk.cursor
    try:
        line = cursor.line()
    except EndOfInput:
        # The pure-Python unpickler takes the rest as a line, and its last byte as the line end.
        line = cursor.data[cursor.at : -1]
        cursor.skip(len(cursor.data) - cursor.at)
    if len(line) > _NAME_KEPT:
        raise Fault(f"a name exceeds {_NAME_KEPT} bytes", limited=True)
    return line


def _name(walk: Walk, encoding: str) -> object:
    try:
        module = _name_line(walk).decode(encoding)
        name = _name_line(walk).decode(encoding)
    except UnicodeDecodeError:
        raise Fault("a name is not text") from None
    return look_up(walk.record, module, name, walk.protocol)


def _global(walk: Walk) -> None:
    walk.stack.append(_name(walk, "utf-8"))


def _inst(walk: Walk) -> None:
    # The pure-Python unpickler looks the name up first, and finds the mark missing later.
    function = _name(walk, "ascii")
    args = tuple_of(walk.pop_mark())
    walk.stack.append(call(walk.record, function, args))


def unknown(walk: Walk) -> None:
    """Raise Fault for a byte that is no opcode."""
    code = walk.cursor.data[walk.cursor.at - 1]
    walk.cursor.at -= 1
    raise Fault(f"unknown opcode {code:#04x}")


READERS: dict[str, Step] = {
    "I": _int, "L": _long, "F": _float, "S": _string, "V": _unicode, "P": _persid,
    "c": _global, "i": _inst, "g": _get, "p": _put,
    "j": _long_binget, "r": _long_binput,
    "J": _integer(4, signed=True), "M": _integer(2, signed=False), "G": _binfloat,
    "\x8a": _long1, "\x8b": _counted(4, NUMBER, (1 << 31) - 1),
    "B": _counted(4, BYTES), "C": _counted(1, BYTES), "\x8e": _counted(8, BYTES),
    "\x96": _counted(8, BUFFER), "\x8c": _text(1), "X": _text(4), "\x8d": _text(8),
    "T": _coded(4), "U": _coded(1), "\x80": _proto, "\x95": _frame,
    "\x82": _extension(1), "\x83": _extension(2), "\x84": _extension(4),
}  # fmt: skip
"""Opcodes that read an argument at the cursor."""
