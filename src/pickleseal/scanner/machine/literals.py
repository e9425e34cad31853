"""Literals in a stream: texts, numbers, indices of the memo."""

import re

from pickleseal.scanner.machine.cursor import LINE_KEPT
from pickleseal.scanner.machine.faults import Fault
from pickleseal.scanner.machine.values import (
    CODED_TEXT,
    LONG_TEXT,
    NUMBER,
    PARSER,
    TEXT_KEPT,
    ZONE,
    is_parser,
)

_LARGEST = 1 << 64
_LONG = 4300
"""Python's default limit on the digits of a number."""
_DIGITS = re.compile(rb"\s*[+-]?[0-9_]+\s*\Z")
_ESCAPE = re.compile(rb"\\(?:x([0-9a-fA-F]{2})|([0-7]{1,3})|(.?))", re.DOTALL)
_ESCAPES = {
    b"a": b"\a", b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v",
    b"'": b"'", b'"': b'"', b"\\": b"\\", b"\n": b"",
}  # fmt: skip


PARSER_KEPT = 2048
"""The longest text that may be the source of a distribution's methods, in bytes."""
ZONE_KEPT = 64
"""The longest beginning of a text by which pandas has dateutil read the file of a time zone."""
_ZONE = b"dateutil/"


def long_text(data: bytes) -> object:
    """Return the value that represents a text which is too long to keep, by its beginning."""
    if _ZONE in data[:ZONE_KEPT]:
        return ZONE
    return PARSER if is_parser(data) else LONG_TEXT


def utf8(data: bytes) -> object:
    """Read a text, as all opcodes with a size do."""
    if _ZONE in data:
        return ZONE
    try:
        return str(data, "utf-8", "surrogatepass")
    except UnicodeDecodeError:
        raise Fault("a text is not UTF-8") from None


def coded(data: bytes) -> object:
    """Return a text of Python 2, which depends on the reader's encoding."""
    if len(data) > TEXT_KEPT or _ZONE in data:
        return long_text(data)
    return data.decode("ascii") if data.isascii() else CODED_TEXT


def unicode_line(line: bytes) -> object:
    """Read the text of UNICODE."""
    if len(line) > LINE_KEPT:
        return LONG_TEXT
    try:
        text = line.decode("raw-unicode-escape")
    except UnicodeDecodeError:
        raise Fault("a text ends inside an escape") from None
    if len(text) <= TEXT_KEPT and "dateutil/" not in text:
        return text
    return long_text(text.encode("utf-8", "replace"))


def quoted_line(line: bytes) -> object:
    """Read the text of STRING, quotes and escapes and all."""
    if len(line) > LINE_KEPT:
        return LONG_TEXT
    if len(line) < 2 or line[0] != line[-1] or line[0] not in b"'\"":
        raise Fault("a string is not quoted")
    return coded(_ESCAPE.sub(_unescape, line[1:-1]))


def _unescape(match: re.Match[bytes]) -> bytes:
    hexadecimal, octal, other = match.groups()
    if hexadecimal is not None:
        return bytes.fromhex(hexadecimal.decode("ascii"))
    if octal is not None:
        return bytes([int(octal, 8) & 0xFF])
    if other in (b"x", b""):
        raise Fault("a text ends inside an escape")
    return _ESCAPES.get(other, b"\\" + other)


def int_line(line: bytes, *, legacy_octal: bool) -> object:
    """Read an INT or LONG as C's strtol and PyLong_FromString do, or else as Python's int."""
    if len(line) > LINE_KEPT:
        return NUMBER
    text = line.split(b"\0", 1)[0]
    if not text and line and legacy_octal:
        return 0
    if len(text) > _LONG and _DIGITS.match(text):
        return NUMBER
    try:
        return _small(int(text, 0))
    except ValueError:
        if legacy_octal and re.fullmatch(rb"\s*[+-]?0[0-7]+", text):
            return _small(int(text, 8))
    raise Fault("an invalid number")


def _small(number: int) -> object:
    return number if -_LARGEST < number < _LARGEST else NUMBER


def float_line(line: bytes) -> object:
    """Read a FLOAT; its value is not kept."""
    if len(line) <= LINE_KEPT:
        try:
            float(line.split(b"\0", 1)[0])
        except ValueError:
            raise Fault("an invalid number") from None
    return NUMBER


def index_line(line: bytes) -> int:
    """Read an index of the memo."""
    if line.isdigit() and len(line) < 20:
        return int(line)
    if len(line) > LINE_KEPT:
        raise Fault("a memo index exceeds 64 KiB", limited=True)
    text = line.split(b"\0", 1)[0]
    try:
        # Base 16 has no limit on digits, and maps different indices to different large numbers.
        return int(text, 16) if len(text) > _LONG and _DIGITS.match(text) else int(text)
    except ValueError:
        raise Fault("a memo index is not a number") from None
