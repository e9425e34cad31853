"""The head of a numpy array file (.npy), as far as it tells what follows."""

import re
from typing import NamedTuple

from pickleseal.scanner.containers.views import FAR, LONGEST, View

MAGIC = b"\x93NUMPY"

_SIZES = {1: 2, 2: 4, 3: 4}  # of the field that gives the header's length, by version
_OBJECT = re.compile(rb"""['"]descr['"]\s*:\s*['"]\|?(O\d?|object)['"]""")
_PLAIN = re.compile(
    rb"""\{'descr': '[<>|=]?([?biufcmMSUV])(\d{0,9})(?:\[[\w/]+\])?',"""
    rb""" 'fortran_order': (?:True|False), 'shape': \(((?:\d{1,20}, ?){0,64}(?:\d{1,20})?)\)"""
    rb""",? ?\}\s*"""
)


class Array(NamedTuple):
    """An array file: where its data begins, and what that is.

    `of_objects`: a pickle follows. `data`: the size of plain data in bytes; None: the header does
    not tell plainly what follows, so that it may be a pickle.
    """

    start: int
    of_objects: bool
    data: int | None


def parse(view: View, offset: int) -> Array | None:
    """Give what the head of an array file at an offset tells; None where it is none."""
    fixed = view.read(offset, 12)
    if not fixed.startswith(MAGIC) or len(fixed) < 12:
        return None
    field = _SIZES.get(fixed[6])
    if field is None:
        return None
    size = int.from_bytes(fixed[8 : 8 + field], "little")
    start = offset + 8 + field
    header = view.read(start, min(size, LONGEST))
    return Array(start + size, _OBJECT.search(header) is not None, _plain_size(header))


def _plain_size(header: bytes) -> int | None:
    found = _PLAIN.fullmatch(header)
    if found is None:
        return None
    code, digits, shape = found.groups()
    size = int(digits or 1) * (4 if code == b"U" else 1)
    for length in shape.split(b","):
        if length.strip():
            size *= int(length)
    return min(size, FAR)
