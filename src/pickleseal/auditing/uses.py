"""What an unpickler does with values: each use is told to the record, or is a fault."""

from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING

from pickleseal.auditing.faults import Fault
from pickleseal.auditing.record import Record
from pickleseal.auditing.values import (
    BUILT,
    CALLED,
    CODED_TEXT,
    COMPUTED,
    FIXED,
    FORGOTTEN,
    GIVEN,
    LONG_TEXT,
    MADE_THINGS,
    NUMBER,
    TEXT_KEPT,
    Dict,
    Dtype,
    Global,
    Result,
    Wrapper,
)
from pickleseal.errors import shown

WRAPPER_FIELDS = (
    "subclass", "shape", "order", "dtype", "allow_mmap", "numpy_array_alignment_bytes",
)  # fmt: skip
"""What joblib's wrapper of an array takes, and keeps as its attributes."""

_WRAPPERS = frozenset(
    {
        "joblib.numpy_pickle.NumpyArrayWrapper",
        "sklearn.externals.joblib.numpy_pickle.NumpyArrayWrapper",
    }
)
_DICT_MAKERS = frozenset({
    ("builtins", "dict"), ("collections", "OrderedDict"), ("collections", "defaultdict"),
    ("collections", "Counter"),
})  # fmt: skip


def look_up(record: Record, module: object, name: object, protocol: int) -> object:
    """Give what an unpickler looks up for a module and a name that the stream gives."""
    if type(module) is str and type(name) is str:
        if protocol < 3:
            module, name = _python_3_name(module, name)
        return record.look_up(module, name)
    for part in (module, name):
        if part is FORGOTTEN:
            raise Fault("it looks up a name that stands too far back", limited=True)
        if part is LONG_TEXT:
            record.note(f"it looks up a name of more than {TEXT_KEPT} bytes")
        elif part is CODED_TEXT:
            record.note("it looks up a name whose spelling depends on the reader")
        elif type(part) in MADE_THINGS or part is GIVEN or part is COMPUTED:
            record.note("it looks up a name that it computes")
        elif type(part) is not str:
            raise Fault("it looks up a name that is no text")
    return COMPUTED


def _python_3_name(module: str, name: str) -> tuple[str, str]:
    if (module, name) in NAME_MAPPING:
        return NAME_MAPPING[module, name]
    return IMPORT_MAPPING.get(module, module), name


def call(record: Record, function: object, args: object, use: int = CALLED) -> object:
    """Give what calling `function`, or making an object of it, gives."""
    if type(function) is Global:
        function.uses |= use
        if function.special is not None:
            return function.special(args if type(args) is tuple else None)
        if function.path in _WRAPPERS:
            fields = zip(WRAPPER_FIELDS, args, strict=False) if type(args) is tuple else ()
            return Wrapper(function, dict(fields) if use == CALLED else {})
        return function.result
    if type(function) in MADE_THINGS:
        record.note("it calls what another call gave")
        return COMPUTED
    if function is GIVEN:
        record.note("it calls what the reader's caller gives for an id")
        return COMPUTED
    if function is COMPUTED:
        record.note("it calls what a computed name or an extension code stands for")
        return COMPUTED
    if function is FORGOTTEN:
        raise Fault("it calls what stands too far back", limited=True)
    raise Fault("it calls what is data")


def set_state(record: Record, target: object, state: object) -> None:
    """Set the state of what stands on the stack."""
    if type(target) is Global or target is COMPUTED:
        record.note("it sets the state of a class, module or function")
    attributes, slots = state, None
    if type(state) is tuple and len(state) == 2:
        attributes, slots = state
        if type(slots) is Result and (slots.of.module, slots.of.name) in _DICT_MAKERS:
            record.note("it sets attributes whose names it computes")
    for part in (attributes, slots):
        if part is FORGOTTEN:
            raise Fault("it sets a state that stands too far back", limited=True)
        if type(part) is Dict:
            for key in part.dunders:
                record.note(f"it sets the attribute {shown(key)}")
            if part.computed:
                record.note("it sets an attribute whose name it computes")
    if type(target) is Result:
        target.of.uses |= BUILT
    elif type(target) is Dtype:
        target.of.uses |= BUILT
        target.set_state(state)
    elif type(target) is Wrapper:
        target.of.uses |= BUILT
        for part in (attributes, slots):
            if type(part) is Dict and part.whole:
                target.fields.update(part.items)
            elif part is not None:
                target.whole = False


def add_items(record: Record, target: object) -> None:
    """Look at what items are added to; data that can take none stops every unpickler."""
    if type(target) is Global or target is COMPUTED:
        record.note("it adds items to a class, module or function")
    elif type(target) in FIXED or target is NUMBER:
        raise Fault("it adds items to what takes none")
