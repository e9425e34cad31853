"""Arrays as `joblib.load` takes them: out of the stream, behind the state of a wrapper."""

from collections.abc import Callable

from pickleseal.scanner.machine.faults import Fault
from pickleseal.scanner.machine.stack import NO_FRAME, Step, Walk
from pickleseal.scanner.machine.stackwork import build
from pickleseal.scanner.machine.values import (
    FORGOTTEN,
    LIST,
    MAX_SIZE,
    Dtype,
    Result,
    Wrapper,
)

_COMPANIONS = frozenset(
    f"{package}joblib.{module}.{name}"
    for package in ("", "sklearn.externals.")
    for module in ("numpy_pickle", "numpy_pickle_compat")
    for name in ("NDArrayWrapper", "ZNDArrayWrapper")
)


def build_with_array(run: Callable[[Walk], object]) -> Step:
    """Give what joblib does at BUILD; `run` goes through the pickle that an array may hold."""

    def read(walk: Walk) -> None:
        build(walk)
        target = walk.stack[-1]
        if target is FORGOTTEN:
            raise Fault("it sets the state of what stands too far back", limited=True)
        if type(target) is Wrapper:
            walk.stack[-1] = _pass_array(walk, target, run)
            walk.moved = True
        elif type(target) is Result and target.of.path in _COMPANIONS:
            walk.record.note("it loads another file, and the pickles in it")

    return read


def _pass_array(walk: Walk, wrapper: Wrapper, run: Callable[[Walk], object]) -> object:
    """Pass over the array that joblib keeps behind a wrapper's state; give what it becomes."""
    cursor, fields = walk.cursor, wrapper.fields
    if walk.frame_end not in (NO_FRAME, cursor.position):
        raise Fault("joblib's array stands inside a frame")
    walk.frame_end = NO_FRAME
    if wrapper.others:
        walk.record.note("it sets other attributes of joblib's wrapper than joblib does")
        wrapper.whole = False
    dtype, shape = fields.get("dtype"), fields.get("shape")
    if not wrapper.whole or type(dtype) is not Dtype or dtype.has_object is None:
        raise Fault("the size of joblib's array cannot be told")
    walk.record.arrays += 1
    if dtype.has_object:
        nested = Walk(cursor, walk.record)
        try:
            return run(nested)
        finally:
            walk.record.opcodes += nested.opcodes
    size = _array_size(shape, dtype.size)
    if fields.get("numpy_array_alignment_bytes") is not None:
        cursor.skip(cursor.take(1)[0])
    cursor.skip(size)
    return LIST  # like a list it can be added to, and not called


def _array_size(shape: object, item_size: int | None) -> int:
    """Give the size of an array in bytes, where joblib and numpy go on with it."""
    # An item of no size makes joblib divide by zero; a size out of range makes numpy overflow.
    if type(shape) is tuple and item_size:
        size = item_size
        for length in shape:
            if type(length) is not int or not 0 <= length <= MAX_SIZE:
                break
            size *= length
        else:
            if size <= MAX_SIZE:
                return size
    raise Fault("the size of joblib's array cannot be told")
