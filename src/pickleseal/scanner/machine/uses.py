"""What an unpickler does with values: each use is told to the record, or is a fault."""

from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections.abc import Sequence

from pickleseal.errors import shown
from pickleseal.scanner.machine.faults import Fault
from pickleseal.scanner.machine.record import Record
from pickleseal.scanner.machine.values import (
    BUILT,
    CALLED,
    CODED_TEXT,
    COMPUTED,
    FIXED,
    FORGOTTEN,
    GIVEN,
    ITEMS,
    KEYS,
    LONG_TEXT,
    MADE_THINGS,
    NUMBER,
    SETTLED,
    STATE,
    TEXT_KEPT,
    WRAPPER_FIELDS,
    Dict,
    Dtype,
    Global,
    Result,
    Wrapper,
    are_plain,
    is_computed,
    is_looked_for,
)

_OPEN_DICTS = frozenset({"Bunch", "OptimizeResult", "_RichResult"})
"""Dicts that give their items as attributes, wherever a package keeps them."""
_DICT_MAKERS = _OPEN_DICTS | {"dict", "OrderedDict", "defaultdict", "Counter"}


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
        if record.wrappers:
            if type(args) is tuple:
                _look_for_wrapper(record, function, args)
            if function in record.wrappers:
                fields = zip(WRAPPER_FIELDS, args, strict=False) if type(args) is tuple else ()
                return Wrapper(function, dict(fields) if use == CALLED else {})
        if function.special is not None:
            return function.special(args if type(args) is tuple else None)
        return Result(function)
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


def _look_for_wrapper(record: Record, function: Global, args: tuple[object, ...]) -> None:
    """Tell where joblib's wrapper is handed to anything but what picklers make objects with."""
    # What a function makes of it is not seen, and joblib.load then reads on elsewhere.
    handed = args[1:] if function.module == "copyreg" else args
    nested = [item for arg in args if type(arg) is tuple for item in arg]
    if not record.wrappers.isdisjoint((*handed, *nested)):
        record.note(f"it hands joblib's wrapper of an array to {shown(function.path)}")


def set_state(record: Record, target: object, state: object) -> None:
    """Set the state of what stands on the stack."""
    if type(target) is Global or target is COMPUTED:
        record.note("it sets the state of a class, module or function")
    attributes, slots = state, None
    if type(state) is tuple and len(state) == 2:
        attributes, slots = state
    for part in (attributes, slots):
        # A dict whose items are its attributes is its own state: its keys have been looked at.
        is_own = part is target and type(part) is Result and part.of.name in _OPEN_DICTS
        if part is not None and not is_own:
            look_at_attributes(record, part)
    if type(target) is Result:
        target.of.uses |= BUILT
        record.note_done(target, SETTLED, "it sets the state of an object once more")
    elif type(target) is Dtype:
        target.of.uses |= BUILT
        target.set_state(state)
    elif type(target) is Wrapper:
        target.of.uses |= BUILT
        for part in (attributes, slots):
            if type(part) is Dict and part.whole:
                target.fields.update(part.fields or {})
                target.others |= part.others
            elif part is not None:
                target.whole = False


def look_at_attributes(record: Record, part: object) -> None:
    """Look at a state, or a half of one: its keys become attributes."""
    if part is FORGOTTEN:
        raise Fault("it sets a state that stands too far back", limited=True)
    if type(part) is Dict:
        part.given = True
        _tell_names(record, part.dunders)
        if part.computed:
            record.note("it sets an attribute whose name it computes")
    elif type(part) is Result:
        part.of.uses |= STATE
        if part.of.name in _DICT_MAKERS:
            record.note("it sets attributes whose names it computes")


def _tell_names(record: Record, dunders: Sequence[str]) -> None:
    for key in dunders:
        record.note(f"it sets the attribute {shown(key)}")


def add_items(record: Record, target: object) -> None:
    """Look at what items are added to; data that can take none stops every unpickler."""
    if type(target) is Result:
        record.note_done(target, ITEMS, "it adds items to an object that it filled otherwise")
    elif type(target) is Global or target is COMPUTED:
        record.note("it adds items to a class, module or function")
    elif target is FORGOTTEN:
        raise Fault("it adds items to what stands too far back", limited=True)
    elif type(target) in FIXED or target is NUMBER:
        raise Fault("it adds items to what takes none")


def set_items(record: Record, target: object, items: Sequence[object]) -> None:
    """Look at what keys are set of; `items` stand one behind the other, a key and its value."""
    if type(target) is Dict:
        if target.given:
            record.note("it changes a state that something has already")
        target.update(items)
    elif type(target) is Result:
        record.note_done(target, KEYS, "it sets keys of an object that it filled otherwise")
        keys = items[::2]
        if not are_plain(keys):
            _tell_names(record, [k for k in keys if type(k) is str and is_looked_for(k)])
            if target.of.name in _OPEN_DICTS and any(map(is_computed, keys)):
                record.note("it sets an attribute whose name it computes")
    elif items:
        add_items(record, target)
