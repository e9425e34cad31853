"""Arrays as `joblib.load` reads them: from the stream, behind the state of a wrapper.

They are followed only in the exact form that joblib writes.
"""

from collections.abc import Callable
from typing import Any

from pickleseal.scanner.machine.dtypes import size_of
from pickleseal.scanner.machine.faults import Fault
from pickleseal.scanner.machine.stack import NO_FRAME, Step, Walk
from pickleseal.scanner.machine.stackwork import build
from pickleseal.scanner.machine.values import (
    ARRAY,
    SUB_ARRAY,
    WRAPPER_FIELDS,
    Dtype,
    Global,
    Wrapper,
)


def build_with_array(run: Callable[[Walk], object]) -> Step:
    """Return joblib's handler of BUILD; `run` walks the pickle that an array may hold."""

    def read(walk: Walk) -> None:
        build(walk)
        target = walk.stack[-1]
        if type(target) is Wrapper:
            walk.stack[-1] = _pass_array(walk, target, run)
            walk.moved = True
        elif walk.pass_over is not None:
            walk.pass_over(walk)

    return read


def _pass_array(walk: Walk, wrapper: Wrapper, run: Callable[[Walk], object]) -> object:
    """Skip the array behind the state of joblib's wrapper; return its value."""
    cursor = walk.cursor
    size = _array_size(wrapper.fields or {})
    # Of the wrappers of two packages, joblib and scikit-learn's copy of it each know their own.
    unsure = len(walk.record.wrappers) > 1
    if size is None or unsure or walk.frame_end not in (NO_FRAME, cursor.position):
        if size and walk.frame_end != NO_FRAME:
            cursor.skip(walk.frame_end - cursor.position)  # joblib finds no array behind the end
        raise Fault("an array in a form that joblib does not write", limited=True)
    walk.frame_end = NO_FRAME
    walk.record.arrays += 1
    fields: dict[str, Any] = wrapper.fields or {}
    if fields["dtype"].has_object:
        nested = Walk(cursor, walk.record)
        try:
            return run(nested)
        finally:
            walk.record.opcodes += nested.opcodes
    if fields.get(_ALIGNMENT) is not None:
        padding = cursor.take(cursor.take(1)[0])
        if not 1 <= len(padding) <= _ALIGNED or padding.strip(b"\xff"):
            raise Fault("an array with padding that joblib does not write", limited=True)
    cursor.skip(size)
    return ARRAY


def _array_size(fields: dict[str, object]) -> int | None:
    """Return the size of an array in bytes, or None where joblib would not describe one so."""
    kind, dtype = fields.get("subclass"), fields.get("dtype")
    if not (
        fields.keys() in _FIELDS
        and type(kind) is Global
        and kind.path in _CLASSES
        and type(dtype) is Dtype
        and dtype.code != SUB_ARRAY
        and dtype.flags is not None
        and fields["order"] in ("C", "F")
        and type(fields["allow_mmap"]) is bool
        and fields.get(_ALIGNMENT) in (None, _ALIGNED)
    ):
        return None
    # joblib divides by the size of an item.
    return size_of(fields["shape"], dtype.size) if dtype.size else None


_ALIGNMENT = "numpy_array_alignment_bytes"
_ALIGNED = 16
_FIELDS = (set(WRAPPER_FIELDS), set(WRAPPER_FIELDS) - {_ALIGNMENT})
_CLASSES = frozenset({
    "numpy.ndarray", "numpy.memmap", "numpy.matrix", "numpy.matrixlib.defmatrix.matrix",
})  # fmt: skip
