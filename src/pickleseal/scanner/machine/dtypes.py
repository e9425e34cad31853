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

from pickleseal.errors import shown
from pickleseal.scanner.machine.faults import Fault
from pickleseal.scanner.machine.record import Record
from pickleseal.scanner.machine.values import (
    ARRAY,
    BYTES,
    CODED_TEXT,
    FORGOTTEN,
    LIST,
    LONG_TEXT,
    LOST,
    MAX_SIZE,
    OBJECTS,
    TUPLE,
    Args,
    Dict,
    Dtype,
    Global,
    List,
    Result,
    is_data,
    keep,
)

_CODE = re.compile(
    r"(?:b1|[iu][1248]|f(?:2|4|8|12|16)|c(?:8|16|24|32)|[mM]8|O[48]|[SUV][0-9]{1,9})\Z"
)
_SPELLED = re.compile(r"[<>=|]?([?biufcmMOSUV])([0-9]{0,9})\Z")
_OF_NUMBERS = re.compile(r"ml_dtypes\.(?:bfloat16|float[0-9]\w*|u?int[0-9]+)\Z")
"""Classes of other packages that have a dtype of their own; that of most is one of objects."""
_RECORDS = frozenset({"numpy.record", "numpy.rec.record", "numpy.core.records.record"})
_EXTENDED = "SUV"
_NUMBERS = frozenset("?biufcmM")
_SUB_ARRAY = "array"
"""The code of a dtype with a shape, of which NumPy makes no scalars."""
_OBJECTS_OWN = frozenset({"numpy", "builtins", "ctypes"})
_MAKE_ARRAYS = frozenset({
    "numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct",
})  # fmt: skip
_FLAGS = {"O": (63,), "?": (0, 8, 64)}
_INHERITED = 27
_HAS_FIELDS, _ALIGNED = 16, 128

_UNLIKE_NUMPY = "it sets a dtype state that NumPy does not write"
UNFINISHED = "it uses a dtype that has no state yet"


def dtype(_: Record, function: Global, args: Args) -> object:
    """Return the dtype that a call of numpy.dtype makes."""
    first = args[0] if args else None
    # Python 2 wrote the two flags as 0 and 1, which are equal to these.
    usual = args is not None and args[1:] == (False, True)
    if usual and type(first) is Global and first.path in _RECORDS:
        return Dtype(function, "V", None, has_object=None)
    if usual and type(first) is Global and first.module.partition(".")[0] not in _OBJECTS_OWN:
        if not _OF_NUMBERS.match(first.path):
            told = f"it makes a dtype of {shown(first.path)}, which may be of objects"
            raise Fault(told, limited=True)
        return Dtype(function, "?", None, has_object=False)
    found = _SPELLED.match(first) if type(first) is str else None
    if found is None:
        return Dtype(function, "?", None, has_object=None)
    code, size = found[1], int(found[2] or 1)
    made = Dtype(function, code, size * 4 if code == "U" else size, has_object=code == "O")
    made.of_joblib = usual and _CODE.match(found[0]) is not None
    return made


def is_unfinished(value: object) -> bool:
    """Return whether a value is a dtype whose state, set later, would change what was made of it.

    Only a record has one that does.
    """
    return type(value) is Dtype and value.code == "V" and value.flags is None


def string_dtype(_: Record, function: Global, __: Args) -> object:
    """Return numpy's dtype of texts of any length."""
    return Dtype(function, "T", None, has_object=True)


def set_dtype_state(record: Record, target: Dtype, state: object) -> None:
    """Set the state of a dtype; raise Fault if NumPy refuses it."""
    if state is FORGOTTEN:
        raise Fault("it sets the state of a dtype that is no longer tracked", limited=True)
    if is_data(state) and (type(state) is not tuple or not 5 <= len(state) <= 9):
        raise Fault("it sets an invalid dtype state")
    if not _is_written(target, state):
        record.note(_UNLIKE_NUMPY)
        target.size = target.has_object = None
        target.of_joblib = False


def _is_written(target: Dtype, state: object) -> bool:
    """Return whether NumPy writes such a state, and set the fields of `target` from it."""
    if type(state) is not tuple or len(state) not in (8, 9) or target.flags is not None:
        return False
    version, order, base, names, fields, size, alignment, flags = state[:8]
    dated = target.code in ("m", "M")
    if type(flags) is int and -128 <= flags < 0:
        flags += 256  # NumPy 1 writes them as a signed char
    if version != len(state) - 5 or type(flags) is not int or order not in ("<", ">", "|"):
        return False
    if dated and not (len(state) == 9 and state[8] is TUPLE):
        return False
    target.flags = flags
    target.of_joblib = target.of_joblib and dated == (len(state) == 9)
    if target.code not in _EXTENDED:
        fixed = (base, names, fields, size, alignment) == (None, None, None, -1, -1)
        return fixed and flags in _FLAGS.get(target.code, (0, 8))
    if type(size) is not int or not 0 <= size <= MAX_SIZE or target.size not in (None, size):
        return False
    target.size = size
    target.has_object = False
    if base is not None:
        return names is None and fields is None and _is_sub_array(target, base)
    if names is None and fields is None:
        return flags in (0, 8)
    return target.code == "V" and keep((names, fields)) and _is_record(target, fields)


def _is_sub_array(target: Dtype, base: object) -> bool:
    """Return whether NumPy describes a dtype with a shape of its own so."""
    target.of_joblib = False
    target.code = _SUB_ARRAY
    if type(base) is not tuple or len(base) != 2 or type(base[0]) is not Dtype:
        return False
    inner, shape = base
    target.has_object = inner.has_object
    size = size_of(shape if type(shape) is tuple else (shape,), inner.size)
    return size == target.size and size is not None and target.flags == inner.flags


def _is_record(target: Dtype, fields: object) -> bool:
    """Return whether NumPy describes a dtype with fields so."""
    if type(fields) is not Dict or fields.others or not fields.fields or target.size is None:
        return False
    fields.given = True  # NumPy keeps this very dict
    inherited, places = 0, set()
    for field in fields.fields.values():
        if type(field) is not tuple or type(field[0]) is not Dtype or type(field[1]) is not int:
            return False
        inner, offset = field[:2]
        if inner.size is None or inner.flags is None or not 0 <= offset <= target.size - inner.size:
            return False
        inherited |= inner.flags & _INHERITED
        places.add((offset, offset + inner.size))
        target.has_object = target.has_object or inner.has_object
    order = sorted(places)
    overlap = any(end > start for (_, end), (start, _) in pairwise(order))
    flags = (target.flags or 0) & ~_ALIGNED
    return flags in (inherited, inherited | _HAS_FIELDS) and not (target.has_object and overlap)


def set_array_state(record: Record, target: Result, state: object) -> None:
    """Note the length of an array, and objects in its state that its list does not have."""
    target.length = None
    if type(state) is not tuple:
        return
    for part in state:
        if type(part) is tuple:  # where an old pandas keeps the state of an index
            set_array_state(record, target, part)
    for at in range(1, len(state) - 2):
        shape, item, order, data = state[at - 1 : at + 3]
        if is_unfinished(item):
            record.note(UNFINISHED)
        if type(item) is Dtype and _overflows(shape, item.size or 1):
            record.note("it makes an array of more bytes than there can be")
        if type(item) is Dtype and item.has_object is not False:
            target.length = size_of(shape, 1)
            _check_objects(record, target.of, item, shape, data)
        elif item in (FORGOTTEN, OBJECTS) and type(order) in (bool, int):
            target.length = size_of(shape, 1)
            _check_list(record, shape, data)


def is_array(target: object) -> bool:
    """Return whether a value is an array, whose state has no attributes."""
    return type(target) is Result and target.of.path in _MAKE_ARRAYS


def may_hide_array_state(target: Result, parts: Sequence[object]) -> bool:
    """Return whether an array may take its state from a sequence whose items are not kept.

    NumPy reads any sequence, and pandas hands it the first part of what an old index had.
    """
    of = target.of
    of_numpy = of.module.startswith("numpy.") and not of.module.startswith("numpy.random.")
    if not (
        of_numpy
        or of.module == "numpy"
        or of.name.endswith(("MaskedArray", "SparseArray", "Index"))
    ):
        return False
    return any(type(part) in (List, Result) or part in (LIST, ARRAY) for part in parts)


def is_array_state(record: Record, target: Result, state: object) -> bool:
    """Return whether a state is that of an array, which stores a list of objects as it is."""
    return (
        is_array(target)
        and type(state) is tuple
        and len(state) == 5  # a masked array converts what its state of seven has
        and type(state[-1]) is List
        and record.are_data(state[:-1])
    )


def scalar(record: Record, function: Global, args: Args) -> object:
    """Return a NumPy scalar; note one of objects that NumPy would read from no array, or a void."""
    of, data = args if args is not None and len(args) == 2 else (None, None)
    numbers = type(of) is Dtype and of.has_object is False
    shaped = type(of) is Dtype and of.code == _SUB_ARRAY
    if shaped or not (numbers or (type(data) is Result and data.length == 1)):
        if of is OBJECTS:
            raise Fault(
                "it makes a NumPy scalar of a dtype that is no longer tracked", limited=True
            )
        # An old NumPy takes bytes for the addresses of objects, unless it is one object.
        if not _is_bytes(data) or (type(of) is Dtype and of.code != "O"):
            record.note("it makes a NumPy scalar of objects that it does not give")
    # A text that bytes spell may be any, such as one that pandas takes for a path.
    spelled = type(of) is Dtype and of.code in ("T", "U")
    made = Result(function, plain=function.plain and not spelled)
    made.number = type(of) is Dtype and of.code in _NUMBERS
    return made


def _is_bytes(value: object) -> bool:
    """Return whether a value is bytes: Python 2 wrote them as a text, old protocols encode one."""
    if type(value) is Result:
        return value.of.path == "_codecs.encode"
    return type(value) is str or value in (BYTES, LONG_TEXT, CODED_TEXT)


def _check_objects(record: Record, array: Global, of: Dtype, shape: object, data: object) -> None:
    length = size_of(shape, 1)
    if data in (LIST, FORGOTTEN, LOST) or length is None:
        raise Fault("the length of an object array is not known", limited=True)
    if type(data) is List and of.has_object:
        _check_list(record, shape, data)
    elif is_data(data) and of.has_object:
        # Anything but an array may take such a state.
        unsure = array.path not in _MAKE_ARRAYS
        raise Fault("it fills an object array from something other than a list", limited=unsure)
    else:
        record.note(_UNLIKE_NUMPY)


def _check_list(record: Record, shape: object, data: object) -> None:
    """Note an array of a dtype that may be of objects, and is not as long as their list."""
    length = size_of(shape, 1)
    subclass = type(data) is Result and not _is_bytes(data)  # such as pandas' FrozenList
    if data in (LIST, LOST) or subclass or (type(data) is List and length is None):
        raise Fault("the length of an object array is not known", limited=True)
    if type(data) is List and data.size != length:
        record.note("it makes an array of objects that is not as long as their list")


def _overflows(shape: object, item_size: int) -> bool:
    """Return whether an array of a shape is too large, which an old NumPy counts as a small one."""
    numbers = type(shape) is tuple and all(type(n) is int and n >= 0 for n in shape)
    return numbers and size_of(shape, item_size) is None


def size_of(shape: object, item_size: int | None) -> int | None:
    """Return the size of an array of a shape, or None if it is unknown."""
    if type(shape) is not tuple or item_size is None:
        return None
    if not all(type(length) is int and 0 <= length <= MAX_SIZE for length in shape):
        return None
    size = math.prod(shape) * item_size
    return size if size <= MAX_SIZE else None
