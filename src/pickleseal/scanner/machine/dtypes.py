"""NumPy's dtypes and arrays in a pickle, in the exact forms in which NumPy writes them.

`dtype.__setstate__`, `ndarray.__setstate__` and `scalar` trust their input. An object dtype without
its object flag, a field outside its record, an array longer than its list, or a scalar of an array
without items makes NumPy follow wild pointers. So every form that NumPy does not write itself is
reported.
"""

import math
import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from pickleseal.errors import shown
from pickleseal.scanner.machine.faults import Fault
from pickleseal.scanner.machine.record import Record
from pickleseal.scanner.machine.values import (
    ARRAY,
    BYTES,
    CODED_TEXT,
    FORGOTTEN,
    HOLDER,
    LIST,
    LONG_TEXT,
    LOST,
    MAX_SIZE,
    OBJECTS,
    SUB_ARRAY,
    TUPLE,
    Args,
    Count,
    Dict,
    Dtype,
    Global,
    List,
    Result,
    digest,
    is_data,
    is_field,
    keep,
)

_CODE = re.compile(
    r"(?:b1|[iu][1248]|f(?:2|4|8|12|16)|c(?:8|16|24|32)|[mM]8|O[48]|[SUV][0-9]{1,9})\Z"
)
_OF_NUMBERS = re.compile(r"ml_dtypes\.(?:bfloat16|float[0-9]\w*|u?int[0-9]+)\Z")
"""Classes of other packages that have a dtype of their own; that of most is one of objects."""
_RECORDS = frozenset({"numpy.record", "numpy.rec.record", "numpy.core.records.record"})
_EXTENDED = "SUV"
_UNORDERED = "OSV"
_UNSPELLED = "unspelled"
"""The code of a dtype that may be any."""
_OBJECTS_OWN = frozenset({"numpy", "builtins", "ctypes"})
ARRAY_MAKERS = (
    "numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct",
)  # fmt: skip
_FLAGS = {"O": (63,), "?": (0, 8, 64), _UNSPELLED: ()}
_INHERITED = 27
_HAS_FIELDS, _ALIGNED = 16, 128

_UNLIKE_NUMPY = "it sets a dtype state that NumPy does not write"
_UNTRACKED = frozenset({FORGOTTEN, LOST, TUPLE, HOLDER, _UNSPELLED})
_COUNTS = frozenset({int, Count})
_FLAGS_OF_ORDER = frozenset({bool, int, Count})


def dtype(record: Record, function: Global, args: Args) -> object:
    """Return the dtype that a call of numpy.dtype makes."""
    first = args[0] if args else None
    # Python 2 wrote the two flags as 0 and 1, which are equal to these.
    usual = args is not None and args[1:] == (False, True)
    if usual and type(first) is str and _CODE.match(first):
        code, size = first[0], int(first[1:])
        record.unfinished += code == "V"
        # An object takes eight bytes where a pickle of 32 bits is read.
        size = {"U": size * 4, "O": 8}.get(code, size)
        return Dtype(function, code, size, has_object=code == "O")
    if usual and type(first) is Global:
        if first.path in _RECORDS:
            record.unfinished += 1
            return Dtype(function, "V", None, has_object=None)
        if _OF_NUMBERS.match(first.path):
            return Dtype(function, "?", None, has_object=False)
        if first.module.partition(".")[0] not in _OBJECTS_OWN:
            told = f"it makes a dtype of {shown(first.path)}, which may be of objects"
            raise Fault(told, limited=True)
    return Dtype(function, _UNSPELLED, None, has_object=None)


def string_dtype(_: Record, function: Global, __: Args) -> object:
    """Return numpy's dtype of texts of any length."""
    return Dtype(function, "T", None, has_object=True)


def set_dtype_state(record: Record, target: Dtype, state: object) -> None:
    """Set the state of a dtype; raise Fault if NumPy refuses it, or it cannot be told."""
    record.unfinished -= target.code == "V" and target.flags is None
    if is_data(state) and (type(state) is not tuple or not 5 <= len(state) <= 9):
        raise Fault("it sets an invalid dtype state")
    if not _is_written(record, target, state):
        if type(state) is not tuple or not _UNTRACKED.isdisjoint((target.code, *state[2:5])):
            raise Fault("it sets a dtype state that is not tracked", limited=True)
        if type(state[4]) is Dict and state[4].others:
            raise Fault("it sets a dtype state with other fields or too many", limited=True)
        record.note(_UNLIKE_NUMPY)
        target.size = target.has_object = None


def _is_written(record: Record, target: Dtype, state: object) -> bool:
    """Return whether NumPy writes such a state, and set the fields of `target` from it."""
    if type(state) is not tuple or len(state) not in (8, 9) or target.flags is not None:
        return False
    version, order, base, names, fields, size, alignment, flags = state[:8]
    dated = target.code in ("m", "M")
    if type(flags) is int and -128 <= flags < 0:
        flags += 256  # NumPy 1 writes them as a signed char
    if version != len(state) - 5 or type(flags) is not int:
        return False
    # NumPy would swap the bytes of an object.
    if order not in (("|",) if target.code in _UNORDERED else ("<", ">", "|")):
        return False
    if dated and not (len(state) == 9 and state[8] is TUPLE):
        return False
    target.flags = flags
    if target.code not in _EXTENDED:
        fixed = (base, names, fields, size, alignment) == (None, None, None, -1, -1)
        return fixed and flags in _FLAGS.get(target.code, (0, 8))
    if type(size) is not int or not 0 <= size <= MAX_SIZE or target.size not in (None, size):
        return False
    if type(alignment) is not int:
        return False
    target.size = size
    target.has_object = False
    if base is not None:
        alone = target.code == "V" and names is None and fields is None
        return alone and _is_sub_array(target, base)
    if names is None and fields is None:
        return flags in (0, 8)
    if target.code != "V" or not keep((names, fields)):
        return False
    return _is_record(record, target, names, fields)


def _is_sub_array(target: Dtype, base: object) -> bool:
    """Return whether NumPy describes a dtype with a shape of its own so."""
    target.code = SUB_ARRAY
    if type(base) is not tuple or len(base) != 2 or type(base[0]) is not Dtype:
        return False
    inner, shape = base
    target.has_object = inner.has_object
    size = size_of(shape if type(shape) is tuple else (shape,), inner.size)
    return size == target.size and size is not None and target.flags == inner.flags


def _is_record(record: Record, target: Dtype, names: object, fields: object) -> bool:
    """Return whether NumPy describes a dtype with fields so."""
    if type(fields) is not Dict or fields.others or target.size is None:
        return False
    fields.given = True  # NumPy keeps this very dict
    found: dict[str, Any] = fields.fields or {}
    record.keep_fields(len(found))
    if not all(map(is_field, found.values())):
        return False
    # A title is another key of its field.
    if names != digest([name for name, field in found.items() if field[2:] != (name,)]):
        return False
    inherited, places = 0, set()
    for inner, offset, *title in found.values():
        if title and inner.has_object:
            # Unless it is the very key, an old NumPy takes it for another field.
            raise Fault("it gives objects of a record a title", limited=True)
        if type(offset) is not int or inner.size is None or inner.flags is None:
            return False
        if not 0 <= offset <= target.size - inner.size:
            return False
        inherited |= inner.flags & _INHERITED
        places.add((offset, offset + inner.size))
        target.has_object = target.has_object or inner.has_object
    order = sorted(places)
    overlap = any(end > start for (_, end), (start, _) in pairwise(order))
    flags = (target.flags or 0) & ~_ALIGNED
    return flags in (inherited, inherited | _HAS_FIELDS) and not (target.has_object and overlap)


def set_array_state(record: Record, target: Result, state: object) -> bool:
    """Set a state that may describe an array; return whether that stores its list as it is.

    Raise Fault if NumPy does not describe an array so.
    """
    target.length = None
    if type(state) is not tuple:
        return False
    of = None
    for part in state:
        if type(part) is tuple:  # where an old pandas keeps the state of an index
            set_array_state(record, target, part)
        elif type(part) is Dtype or part is OBJECTS:
            of = part
    if len(state) == 5 and state[2] is FORGOTTEN and size_of(state[1], 1) is None:
        record.note("it makes an array of a shape that is negative or too large")
    if of is None or len(state) < 4:  # pandas' arrays of dates have a dtype and an array
        return False
    if not _is_of_numpy(state, of):
        raise Fault("an array in a form that NumPy does not write", limited=True)
    of = of if type(of) is Dtype else None
    shape, data, own = state[1], state[4], is_array(target)
    if size_of(shape, (of and of.size) or 1) is None:
        # An old NumPy takes it for a small one.
        record.note("it makes an array of a shape that is negative or too large")
    if type(data) is List and (of is None or of.has_object is not False):
        target.length = size_of(shape, 1)
        if target.length != data.size:
            record.note("it makes an array of objects that is not as long as their list")
        return own and len(state) == 5  # a masked array converts what its state of seven has
    if (of is not None and of.has_object) or not _is_bytes(data):
        sure = own and is_data(data) and data is not LIST
        raise Fault("an array without the list or the bytes of its items", limited=not sure)
    return False


def _is_of_numpy(state: tuple[object, ...], of: object) -> bool:
    """Return whether NumPy or numpy.ma describes an array by such values."""
    version, shape, item, order = state[:4]
    return (
        len(state) in (5, 7)
        and item is of
        and not (type(of) is Dtype and of.code == SUB_ARRAY)
        and type(version) in _COUNTS  # NumPy does not look at it
        and type(shape) is tuple
        and _COUNTS.issuperset(map(type, shape))
        and type(order) in _FLAGS_OF_ORDER
    )


def is_array(target: object) -> bool:
    """Return whether a value is an array, whose state has no attributes."""
    return type(target) is Result and target.of.path in ARRAY_MAKERS


def may_hide_array_state(of: Global, parts: Sequence[object]) -> bool:
    """Return whether an array may take its state from a sequence whose items are not kept.

    NumPy reads any sequence, and pandas hands it the first part of what an old index had.
    """
    of_numpy = of.module.startswith("numpy.") and not of.module.startswith("numpy.random.")
    if not (
        of_numpy
        or of.module == "numpy"
        or of.name.endswith(("MaskedArray", "SparseArray", "Index"))
    ):
        return False
    return any(type(part) in (List, Result) or part in (LIST, ARRAY) for part in parts)


def scalar(record: Record, function: Global, args: Args) -> object:
    """Return a NumPy scalar; note one of objects that NumPy would read from no array, or a void."""
    of, data = args if args is not None and len(args) == 2 else (None, None)
    if of is OBJECTS:
        raise Fault("it makes a NumPy scalar of a dtype that is no longer tracked", limited=True)
    if type(of) is Dtype:
        of_array = type(data) is Result and data.length == 1
        given = of.code != SUB_ARRAY and (of.has_object is False or of_array)
    else:
        given = _is_bytes(data)
    if not given:
        record.note("it makes a NumPy scalar of objects that it does not give")
    # A text that bytes spell may be any, such as one that pandas takes for a path.
    spelled_out = type(of) is not Dtype or of.code in ("T", "U")
    return Result(function, plain=function.plain and not spelled_out)


def _is_bytes(value: object) -> bool:
    """Return whether a value is bytes: Python 2 wrote them as a text, old protocols encode one."""
    if type(value) is Result:
        return value.of.path in ("_codecs.encode", "builtins.bytes")
    return type(value) is str or value in (BYTES, LONG_TEXT, CODED_TEXT, FORGOTTEN)


def size_of(shape: object, item_size: int | None) -> int | None:
    """Return the size of an array of a shape, or None if it is unknown."""
    if type(shape) is not tuple or item_size is None:
        return None
    if not all(type(length) in _COUNTS and 0 <= length <= MAX_SIZE for length in shape):
        return None
    size = math.prod(shape) * item_size
    return size if size <= MAX_SIZE else None
