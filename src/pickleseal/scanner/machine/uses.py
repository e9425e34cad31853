"""What an unpickler does with values: each use is recorded, or is a fault."""

from collections.abc import Sequence

from pickleseal.errors import shown
from pickleseal.pickling.names import today_of
from pickleseal.scanner.machine.dtypes import (
    is_array,
    may_hide_array_state,
    set_array_state,
    set_dtype_state,
)
from pickleseal.scanner.machine.faults import Fault
from pickleseal.scanner.machine.record import UNFINISHED, Record
from pickleseal.scanner.machine.values import (
    ARRAY,
    BUFFER,
    BUILT,
    CALLED,
    CODED_TEXT,
    COMPUTED,
    FORGOTTEN,
    FROZEN_SET,
    GIVEN,
    HANDED,
    HOLDING,
    ITEMS,
    KEYS,
    LIST,
    LONG_TEXT,
    LOST,
    MADE,
    OBJECTS,
    PARSER,
    SET,
    SETTLED,
    SIMPLE,
    STATE,
    TEXT_KEPT,
    Dict,
    Dtype,
    Global,
    List,
    Result,
    Set,
    Wrapper,
    are_texts,
    is_computed,
    is_data,
    is_field,
    is_looked_for,
    is_object,
    is_unhashable,
)
from pickleseal.scanner.names import is_listed

_OPEN_DICTS = frozenset({"Bunch", "OptimizeResult", "_RichResult"})
"""Dicts whose items are attributes, in whichever module of a package."""
_DICT_MAKERS = _OPEN_DICTS | {"dict", "OrderedDict", "defaultdict", "Counter"}


def look_up(record: Record, module: object, name: object, protocol: int) -> object:
    """Return the value that an unpickler looks up for the values of a module and a name."""
    if type(module) is str and type(name) is str:
        if protocol < 3:
            module, name = today_of(module, name)
        return record.look_up(module, name)
    for part in (module, name):
        data = is_data(part) and type(part) is not str and part not in _TEXTS
        if data or is_object(part) or is_function_or_class(part) or _is_instance(record, part):
            raise Fault("it looks up a name that is not text")
    for part in (module, name):
        if part is FORGOTTEN or part is LOST:
            raise Fault("it looks up a name that is no longer tracked", limited=True)
        if part is LONG_TEXT:
            record.note(f"it looks up a name of more than {TEXT_KEPT} bytes")
        elif part is CODED_TEXT:
            record.note("it looks up a name whose spelling depends on the reader's encoding")
        elif type(part) is Global and record.bare:
            # In the array bytes of an ordinary file, where a memo index means another entry.
            raise Fault(f"it looks up a name that {shown(part.path)} may be", limited=True)
        elif type(part) is not str:
            record.note("it looks up a computed name")
    return COMPUTED


def _is_instance(record: Record, value: object) -> bool:
    """Return whether a value is an instance, or its class, in the array bytes of an ordinary file.

    Outside of them no file looks up a name that it spells so.
    """
    if not record.bare:
        return False
    if type(value) is Global:
        return value.instantiated
    return type(value) is Result and value.of.instantiated and not value.of.uses & CALLED


def is_function_or_class(value: object) -> bool:
    """Return whether a value is certainly a function or class, and not a text or bytes."""
    return type(value) is Global and is_listed(value.module, value.name)


def call(record: Record, function: object, args: object, use: int = CALLED) -> object:
    """Return the result of calling `function` or creating an instance of it."""
    if type(function) is Global:
        handed = args if type(args) is tuple else (args,)
        # Made with arguments, a class does with them what it does where it is called.
        function.uses |= use | CALLED if handed else use
        if record.wrappers and type(args) is tuple:
            _look_for_wrapper(record, function, args)
        for _ in range(function.names):
            if handed and (type(handed[0]) is Global or _is_part(function, handed[0])):
                handed = handed[1:]
        simple = not record.late and SIMPLE.issuperset(map(type, handed))
        if record.unfinished and not _NO_DTYPES.issuperset(map(type, handed)):
            record.note(UNFINISHED)
        plain = simple or record.are_data(handed)
        # The pure-Python unpickler takes any sequence, and NumPy makes texts of an array's bytes.
        plain = plain and type(args) is not Result and args is not ARRAY
        if not plain:
            function.uses |= HANDED
        if function in record.wrappers:
            return Wrapper(function, bare=use == MADE and args == ())
        if function.special is not None:
            made = function.special(args if type(args) is tuple else None)
            if type(made) is Result:
                made.plain = made.plain and plain
            return made
        return Result(function, plain=plain and function.plain)
    if type(function) is Result:
        of = function.partial
        if of is not None and of.path == _BLOCK_MAKER:  # of pandas 1.3, for each block of a frame
            return call(record, of, args, use)
        record.note("it calls the result of another call")
        return COMPUTED
    if function is GIVEN:
        record.note("it calls a persistent object")
        return COMPUTED
    if function is COMPUTED:
        record.note("it calls a computed name or an extension code")
        return COMPUTED
    if function is FORGOTTEN or function is LOST:
        raise Fault("it calls a value that is no longer tracked", limited=True)
    raise Fault("it calls data")


def _is_part(function: Global, value: object) -> bool:
    """Return whether a compiled filter of statsmodels is made of a part, which it only stores."""
    made = type(value) is Result and value.of.module.startswith(_STATE_SPACE)
    return made and function.module.startswith(_STATE_SPACE)


def _look_for_wrapper(record: Record, function: Global, args: tuple[object, ...]) -> None:
    """Note joblib's array wrapper if it is passed to anything that picklers would not use."""
    # The function's result is unknown, and joblib.load then continues elsewhere.
    handed = args[1:] if function.module == "copyreg" else args
    nested = [item for arg in args if type(arg) is tuple for item in arg]
    if not record.wrappers.isdisjoint((*handed, *nested)):
        record.note(f"it passes joblib's array wrapper to {shown(function.path)}")


def set_state(record: Record, target: object, state: object) -> None:
    """Set the state of the value on the stack."""
    if type(target) is Dtype:
        target.of.uses |= BUILT
        set_dtype_state(record, target, state)
        return
    if type(target) is Result and type(state) is Dict and not (state.dunders or state.computed):
        # As nearly always.
        state.given = True
        if state.plain and not record.late:
            state.kept = True
            target.of.uses |= BUILT
        else:
            record.hold(target, (state,))
            target.of.uses |= BUILT | HOLDING | _more_of(record, target.of, state, plain=False)
        record.note_done(target, SETTLED, "it sets the state of an object twice")
        target.length = None
        return
    if type(target) is Result and target.partial is not None:
        _set_partial(record, target, state)
        return
    # It may be a dtype, which a state changes.
    if target is FORGOTTEN or target is LOST or target is OBJECTS:
        raise Fault("it sets the state of a value that is no longer tracked", limited=True)
    if is_data(target) and _is_filled(state):
        raise Fault("it sets the state of a value that has none")
    if type(target) is Global or target in _UNSEEN:
        record.note("it sets the state of a class, module, function or persistent object")
    parts = state if type(state) is tuple else (state,)
    slots = parts[1] if len(parts) == 2 else None
    own_form = parts is state and len(parts) != 2
    if type(target) is Result and not own_form and may_hide_array_state(target.of, parts):
        record.note("it sets the state of an array from a sequence that is no tuple")
    for part in parts:
        # A dict whose items are its attributes is its own state: its keys have been looked at.
        is_own = part is target and type(part) is Result and part.of.name in _OPEN_DICTS
        # A file in memory and others have a form of their own, in which dicts are attributes too.
        if part is None or is_own or (own_form and not may_be_attributes(target, part)):
            continue
        look_at_attributes(record, part)
        if type(part) is Result and type(target) is Result and _acts_on_keys(target.of):
            record.note(f"it gives {shown(target.of.path)} a state whose keys it does not spell")
    if type(target) is Result:
        # A distribution executes a text of its state, whose keys must be known.
        target.of.uses |= BUILT | (STATE if target.of.module.startswith("scipy.stats.") else 0)
        held = set_array_state(record, target, state) | record.hold(target, (state,))
        if not held or (target.of.plain and _may_be_pairs(state)):
            target.of.uses |= HOLDING
        target.of.uses |= _more_of(record, target.of, state, plain=held)
        if slots is not None and target.of.uses & HOLDING:
            # Slots are set one by one, by code of the class that may use what it already holds.
            target.of.uses |= HANDED
        record.note_done(target, SETTLED, "it sets the state of an object twice")
    elif target is ARRAY:
        record.note("it sets the state of an array read by joblib.load")
    elif type(target) is Wrapper:
        target.of.uses |= BUILT
        exact = target.fields == {} and type(state) is Dict and not state.others
        target.fields = state.fields if exact and type(state) is Dict else None
        if type(state) is Dict and state.others:
            record.note("it sets attributes of joblib's array wrapper that joblib does not")


def _set_partial(record: Record, target: Result, state: object) -> None:
    """Set the state of a partial call: the same function, and arguments that are plain data."""
    target.of.uses |= BUILT
    parts = state if type(state) is tuple and len(state) == 4 else 4 * (None,)
    function, args, options, attributes = parts
    usual = function is target.partial and type(args) is tuple and attributes is None
    if not (usual and type(options) is Dict):
        record.note("it sets a state of a partial call that Python does not write")
    elif not record.are_data((args, options)):
        target.of.uses |= HANDED
    if type(options) is Dict:
        options.given = True
    record.note_done(target, SETTLED, "it sets the state of an object twice")


def _more_of(record: Record, of: Global, state: object, *, plain: bool) -> int:
    """Return a use that no list has, if a class does more with its state than to store it.

    `dict.update` iterates the items of a sequence, and `in` compares them. torch looks for a name
    in its members. A tree converts the items of its state to numbers and arrays, but for one, in
    compiled code that reads other memory where there are none.
    """
    least = _least(of)
    if least and type(state) is not Dict:
        whole = type(state) is tuple and len(state) >= least
        converted = [*state[:_METRIC], *state[_METRIC + 1 :]] if type(state) is tuple else []
        return 0 if whole and record.are_data(converted) else STATE
    searched = of.module.startswith("torch.")
    parts = state if type(state) is tuple and len(state) == 2 else (state,)
    stored = plain or all(
        part is None
        or (type(part) is Dict and not (searched and part.searched))
        or (type(part) is Result and part.of.name in _OPEN_DICTS)
        for part in parts
    )
    return 0 if stored else STATE


def _least(of: Global) -> int:
    """Return how many items a class takes from its state without a look at its length."""
    last = of.module.rpartition(".")[2].lstrip("_")
    return {"dist_metrics": 3, "ball_tree": 13, "kd_tree": 13}.get(last, 0)


def _may_be_pairs(state: object) -> bool:
    """Return whether a state may be pairs, by which pandas' SparseArray sets any attributes."""
    return type(state) in (List, Set, Result) or state in (LIST, SET, FROZEN_SET, ARRAY)


def _acts_on_keys(of: Global) -> bool:
    """Return whether a class evaluates a formula in its state, where that has a certain key."""
    return of.module.partition(".")[0] == "statsmodels"


def _is_filled(state: object) -> bool:
    """Return whether a state certainly makes both of CPython's unpicklers look for attributes."""
    if type(state) is tuple and len(state) == 2:
        return any(map(_is_filled, state))
    return type(state) is Dict and (state.others or bool(state.fields))


def may_be_attributes(target: object, part: object) -> bool:
    """Return whether a part of a state in a form of its own may be a dict of attributes."""
    if type(part) is Result:
        return part.of.name in _DICT_MAKERS
    untracked = part is FORGOTTEN or part is LOST
    return type(part) is Dict or (untracked and not is_array(target))


def look_at_attributes(record: Record, part: object) -> None:
    """Examine a state, or one half of it: its keys become attributes."""
    if part is FORGOTTEN or part is LOST:
        raise Fault("it sets a state that is no longer tracked", limited=True)
    if type(part) is Dict:
        part.given = True
        _tell_names(record, part.dunders)
        if part.computed:
            record.note("it sets an attribute with a computed name")
    elif type(part) is Result:
        part.of.uses |= STATE
        if part.of.name in _DICT_MAKERS:
            record.note("it sets attributes with computed names")


def _tell_names(record: Record, dunders: Sequence[str]) -> None:
    for key in dunders:
        record.note(f"it sets the attribute {shown(key)}")


def _tell_compared(record: Record, target: Dict, items: Sequence[object]) -> None:
    """Note a state's value that scikit-learn compares and formats, if it is not plain data.

    Note in the state what torch searches, if it is no dict.
    """
    for key, value in zip(items[::2], items[1::2], strict=True):
        if key == "_sklearn_version" and not record.are_data((value,)):
            _tell_names(record, ("_sklearn_version",))
        if key in _SEARCHED and type(value) is not Dict and not record.are_data((value,)):
            ordered = type(value) is Result and value.of.path == "collections.OrderedDict"
            target.searched = target.searched or not ordered


def add_items(record: Record, target: object, items: Sequence[object]) -> None:
    """Append items; raise Fault if every unpickler fails."""
    if type(target) is Result:
        record.note_done(target, ITEMS, "it adds items to an object that already has content")
        if not record.hold(target, items):
            target.of.uses |= HOLDING
    elif type(target) is Global or target in _UNSEEN:
        record.note("it adds items to a class, module, function or persistent object")
    elif target is FORGOTTEN or target is LOST:
        raise Fault("it adds items to a value that is no longer tracked", limited=True)
    elif target is LIST:
        record.late = record.late or not record.are_data(items)
    elif target not in _SEQUENCES and (is_data(target) or is_object(target)):
        raise Fault("it adds items to a value that takes none")


def add_members(record: Record, target: object, items: Sequence[object]) -> None:
    """Add members to a set; raise Fault if every unpickler fails."""
    record.hash(items)
    if type(target) is Set or target is SET:
        if any(map(is_unhashable, items)):
            raise Fault("it adds an unhashable value to a set")
        if type(target) is Set:
            record.hold(target, items)
        else:
            record.late = record.late or not record.are_data(items)
    elif is_data(target):
        raise Fault("it adds members to a value that is not a set")
    else:
        add_items(record, target, items)


def set_items(record: Record, target: object, items: Sequence[object]) -> None:
    """Set keys; raise Fault if every unpickler fails.

    `items` alternates keys and values.
    """
    if len(items) % 2:
        set_items(record, target, items[:-1])
        raise Fault("it sets a key without a value")
    keys = items[::2]
    plain = record.are_plain(keys)
    texts = plain or are_texts(keys)
    if not texts:
        record.hash(keys)
    if type(target) is Dict:
        kinds = set(map(type, items))
        if not kinds <= SIMPLE and not record.hold(target, items):
            _tell_compared(record, target, items)
        if target.given:
            record.note("it changes a state that is already in use")
        # Nearly all dicts have plain keys and no fields of a dtype, and need no loop.
        fields = tuple in kinds and any(map(is_field, items[1::2]))
        if plain and not fields:
            target.others = target.others or bool(keys)
            return
        if not texts and any(map(is_unhashable, keys)):
            raise Fault("it sets an unhashable key")
        if fields:
            record.keep_fields(len(keys))
        for key, value in zip(keys, items[1::2], strict=True):
            target.set(key, value)
    elif type(target) is Result:
        record.note_done(target, KEYS, "it sets keys of an object that already has content")
        if not record.hold(target, items):
            target.of.uses |= HOLDING
        if not plain:
            _tell_names(record, [k for k in keys if type(k) is str and is_looked_for(k)])
            if target.of.name in _OPEN_DICTS and any(map(is_computed, keys)):
                record.note("it sets an attribute with a computed name")
    elif items and (type(target) is List or target in _SEQUENCES):
        if type(target) is List:
            record.hold(target, items[1::2])
        elif target is LIST:
            record.late = record.late or not record.are_data(items[1::2])
        if any(type(key) in _NO_INDEX or is_unhashable(key) for key in keys):
            raise Fault("it sets a key of a sequence")
    elif items and target is not ARRAY:
        if is_data(target):
            raise Fault("it sets keys of a value that has none")
        add_items(record, target, items)


_METRIC = 11
"""Which item of a tree's state is its distance, which it only stores."""
_SEARCHED = ("_parameters", "_modules", "_buffers")
_UNSEEN = (COMPUTED, GIVEN)
_STATE_SPACE = ("statsmodels.tsa.statespace._kalman_", "statsmodels.tsa.statespace._representation")
_BLOCK_MAKER = "pandas.core.internals.blocks.new_block"
_NO_DTYPES = frozenset({str, int, bool, type(None), Global})
"""Values that neither are nor hold a dtype."""
_TEXTS = (LONG_TEXT, CODED_TEXT, PARSER)
_SEQUENCES = (LIST, BUFFER)
_NO_INDEX = frozenset({str, type(None), tuple, List, Dict, Set})
