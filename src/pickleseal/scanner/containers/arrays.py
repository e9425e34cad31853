"""The header of a NumPy array file (.npy), followed only in the form that NumPy writes."""

import ast
import math
import re
from typing import NamedTuple

from pickleseal.scanner.containers.views import FAR, View

MAGIC = b"\x93NUMPY"

_SIZES = {1: 2, 2: 4, 3: 4}  # of the header length field, by version
_MAX_HEADER = 1 << 16  # numpy.load itself refuses more than 10,000 bytes by default
_TYPE = re.compile(
    r"(?:[<>](?:[iu][248]|f(?:2|4|8|12|16)|c(?:8|16|24|32)|U[0-9]{1,9}|[mM]8(?:\[\w+(?:/\w+)?\])?)"
    r"|\|(?:b1|[iu]1|O[48]?|S[0-9]{1,9})|[<>|]V[0-9]{1,9})\Z"
)


class Array(NamedTuple):
    """An array file: the offset and kind of its data.

    `of_objects`: a pickle follows. `data` is the size of plain data in bytes, or None if a pickle
    follows or NumPy did not write the header; then `exact` is False.
    """

    start: int
    of_objects: bool
    data: int | None
    exact: bool


def parse(view: View, offset: int) -> Array | None:
    """Return the array file at an offset, or None if there is none."""
    fixed = view.read(offset, 12)
    if not fixed.startswith(MAGIC) or len(fixed) < 12:
        return None
    field = _SIZES.get(fixed[6])
    if field is None:
        return None
    size = int.from_bytes(fixed[8 : 8 + field], "little")
    start = offset + 8 + field
    header = view.read(start, min(size, _MAX_HEADER))
    try:
        item, of_objects, shape = _fields(header.decode("utf-8" if fixed[6] == 3 else "latin-1"))
    except (ValueError, SyntaxError, LookupError, TypeError, RecursionError, MemoryError):
        return Array(start + size, of_objects=False, data=None, exact=False)
    data = None if of_objects else min(item * math.prod(shape), FAR)
    return Array(start + size, of_objects, data, exact=len(header) == size)


def _fields(header: str) -> tuple[int, bool, tuple[int, ...]]:
    """Return the size of an item, whether items hold objects, and the shape; or raise ValueError.

    A header must be byte for byte what NumPy writes for these values.
    """
    fields = ast.literal_eval(header.strip(" \n"))
    descr, order, shape = fields["descr"], fields["fortran_order"], fields["shape"]
    text = f"{{'descr': {descr!r}, 'fortran_order': {order!r}, 'shape': {shape!r}, }}"
    if header.rstrip(" \n") != text or type(order) is not bool:
        raise ValueError(header)
    return *_item(descr), _lengths(shape)


def _lengths(shape: object) -> tuple[int, ...]:
    """Return a shape, or raise ValueError if it can be none."""
    if type(shape) is not tuple or len(shape) > 64:
        raise ValueError(shape)
    if not all(type(n) is int and 0 <= n <= FAR for n in shape):
        raise ValueError(shape)
    return shape


def _item(descr: object) -> tuple[int, bool]:
    """Return the size of an item and whether it holds objects, or raise ValueError."""
    if type(descr) is str:
        if not _TYPE.match(descr):
            raise ValueError(descr)
        digits = re.sub(r"\[.*|\D", "", descr)
        return int(digits or 1) * (4 if descr[1] == "U" else 1), descr[1] == "O"
    if type(descr) is not list or not descr:
        raise ValueError(descr)
    size, of_objects = 0, False
    for field in descr:
        _, inner, *shape = field
        item, objects = _item(inner)
        size += item * math.prod(_lengths(shape[0]) if shape else ())
        of_objects = of_objects or objects
    return size, of_objects
