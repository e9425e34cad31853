"""Functions whose arguments determine what is looked up, created or computed."""

from pickleseal.errors import shown
from pickleseal.scanner.machine import dtypes
from pickleseal.scanner.machine.faults import Fault
from pickleseal.scanner.machine.record import Record, Special
from pickleseal.scanner.machine.uses import (
    call,
    look_at_attributes,
    may_be_attributes,
    set_state,
)
from pickleseal.scanner.machine.values import (
    CALLED,
    CODED_TEXT,
    COMPUTED,
    HANDED,
    HOLDER,
    HOLDING,
    ITEMS,
    KEYS,
    LONG_TEXT,
    MADE,
    MADE_THINGS,
    SETTLED,
    STATE,
    TUPLE,
    Args,
    Dict,
    Global,
    List,
    Result,
    is_dunder,
)
from pickleseal.scanner.names import is_nested


def special(module: str, name: str) -> Special | None:
    """Return the handler for calls of this global, or None for an ordinary one."""
    if name.startswith("__pyx_unpickle_"):
        return _cython
    root = module.partition(".")[0]
    if root == "sympy":
        return _symbolic
    return _SPECIAL.get((module, name)) or _HELPERS.get(name)


def _getattr(record: Record, function: Global, args: Args) -> object:
    name = args[1] if args is not None and len(args) > 1 else None
    cls = args[0] if args and len(args) == 2 else None
    if type(cls) is Global:
        if name == "_unpickle" and cls.path in _ZONES:
            return cls  # it reads the same files as the class, by a checked key
        if name in _OF_TEXTS and cls.path == "builtins.str":
            return Result(function)
        if type(name) is str and is_nested(cls.module, cls.name, name):
            return record.look_up(cls.module, f"{cls.name}.{name}")
    function.uses |= STATE  # which no list has
    if type(name) is not str:
        record.note("it reads an attribute with a computed name")
    elif is_dunder(name):
        record.note(f"it reads the attribute {shown(name)}")
    return Result(function, plain=function.plain)


# -- helpers that instantiate a class or call a function that they are passed


def _class_of(record: Record, args: Args) -> Global | None:
    """Return the class that the first argument names, and note a computed one."""
    first = args[0] if args else None
    if type(first) is Global:
        return first
    if first is None or type(first) in MADE_THINGS or first is COMPUTED:
        record.note("it creates an instance of another call's result")
    return None


def _maker(record: Record, function: Global, args: Args) -> object:
    """Create an instance of the first argument, recorded as made by the function."""
    made_of = _class_of(record, args)
    return Result(function) if made_of is None else call(record, made_of, (), MADE)


def _filling_maker(record: Record, function: Global, args: Args) -> object:
    """Create an instance of the first argument from the others, which fit its own package alone."""
    made_of = _class_of(record, args)
    if made_of is not None and not made_of.path.startswith(_OWN):
        made_of.uses |= CALLED
    if args and type(args[-1]) is Result and function.name in _HELPERS:
        function.uses |= HANDED  # a dict of arrays may hold texts that NumPy makes of bytes
    if args and type(args[-1]) is Dict:
        if args[-1].given:
            record.note("it has pandas change a state that is already in use")
        args[-1].others = True  # pandas adds keys and takes some out
    return _maker(record, function, args)


def _array_maker(record: Record, function: Global, args: Args) -> object:
    """Create an array of the class in the first argument."""
    if args and type(args[0]) is Global and args[0].path in _ARRAYS:
        return Result(function, plain=function.plain)
    return _maker(record, function, args)


def _with_factory(_: Record, function: Global, args: Args) -> object:
    """Create a defaultdict: an object if its factory is more than one of Python's containers."""
    factory = args[0] if args else None
    harmless = type(factory) is not Global or factory.module in _CONTAINERS
    return Result(function, plain=function.plain and harmless)


def _reconstructor(record: Record, function: Global, args: Args) -> object:
    """Create an instance, filled by the class in the second argument from the third."""
    made = _maker(record, function, args)
    base, state = args[1:3] if args is not None and len(args) == 3 else (None, None)
    if type(base) is not Global:
        record.note("it creates an instance of another call's result")
    elif base.module != "builtins":
        base.uses |= CALLED
    look_at_attributes(record, state)
    if type(made) is Result:
        made.done = ITEMS | KEYS  # it has its content, in which a class may look for its methods
        if not record.hold(made, (state,)):
            copied = type(base) is Global and type(state) is _COPIED.get(base.path)
            made.of.uses |= HOLDING if copied else HANDED
    return made


def _cython(record: Record, function: Global, args: Args) -> object:
    """Create an instance of a compiled class, and set its state if one is passed."""
    made = _maker(record, function, args)
    state = args[2] if args and len(args) > 2 else None
    if state in (TUPLE, HOLDER):
        raise Fault("it creates an object from a state that is no longer tracked", limited=True)
    for part in state if type(state) is tuple else (state,):
        if may_be_attributes(made, part):
            look_at_attributes(record, part)
    if state is not None and type(made) is Result:
        made.done = SETTLED
    return made


def _array_by_dill(record: Record, function: Global, args: Args) -> object:
    """Call the first argument with the second, and set the state of the result to the third."""
    maker, given, state, more = args if args is not None and len(args) == 4 else 4 * (None,)
    if type(maker) is not Global or maker.path not in dtypes.ARRAY_MAKERS or more is not None:
        record.note(f"it has {shown(function.path)} call a function that NumPy does not")
        return Result(function)
    made = call(record, maker, given)
    set_state(record, made, state)
    return made


def _symbolic(record: Record, function: Global, args: Args) -> object:
    """Create a symbolic object: sympy evaluates each text that it is passed, save for names."""
    given = [part for arg in args or () for part in (arg if type(arg) is tuple else (arg,))]
    texts = any(type(part) is str or part in (LONG_TEXT, CODED_TEXT) for part in given)
    if texts and function.name not in _NAMED:
        record.note(f"it passes a text to {shown(function.path)}, which evaluates it")
    return Result(function)


def _timestamp(_: Record, function: Global, args: Args) -> object:
    """Return a type of pyarrow, which takes bytes for the text of a time zone as well."""
    if args is None or not all(part is None or type(part) is str for part in args[1:]):
        function.uses |= HANDED
    return Result(function, plain=function.plain)


def _filter(_: Record, function: Global, __: Args) -> object:
    """Return a filter of statsmodels, which stores the model and the filter that it is made of."""
    return Result(function)


def _partial(_: Record, function: Global, args: Args) -> object:
    """Return a partial call of a function by name, whose state has the arguments."""
    made = Result(function)
    if args and len(args) == 1 and type(args[0]) is Global:
        made.partial = args[0]
    else:
        function.uses |= STATE  # which no list has
    return made


# -- what imports


def _companion(record: Record, function: Global, _: Args) -> object:
    """Make what joblib before 0.10 put in the place of an array that is in another file."""
    record.note("it loads another file, and any pickle in it")
    return Result(function)


def _encode(_: Record, function: Global, args: Args) -> object:
    """Return bytes, such as an old protocol wrote as a text.

    Other codecs are imported by their name, and may make any text.
    """
    if args is None or args[1:] not in _CODECS:
        function.uses |= HANDED
    return Result(function, plain=function.plain)


def _add_extension(record: Record, function: Global, args: Args) -> object:
    record.note("it registers an extension code")
    return _importer(record, function, args)


def _importer(record: Record, function: Global, args: Args) -> object:
    """Record the import of a function that takes a module and optionally a name in it."""
    module, name = (*args, "")[:2] if args else (None, None)
    if type(module) is str:
        record.look_up(module, name if type(name) is str else "")
    if type(module) is not str or type(name) is not str:
        record.note("it imports a computed name")
    return Result(function, plain=function.plain)


def _module_importer(record: Record, function: Global, args: Args) -> object:
    """Record the import of a function that takes a module and options."""
    return _importer(record, function, args[:1] if args else args)


def _path_importer(record: Record, function: Global, args: Args) -> object:
    """Record the import of a function that takes a dotted path or `module:name`."""
    if args and type(args[0]) is str:
        colon = ":" in args[0]
        module, _, name = args[0].partition(":") if colon else args[0].rpartition(".")
        return _importer(record, function, (module or name, name if module else ""))
    return _importer(record, function, None)


def _type_importer(record: Record, function: Global, args: Args) -> object:
    """Record the lookup of cloudpickle in the module `types`."""
    return _importer(record, function, ("types", *args[:1]) if args else None)


_NAMED = frozenset({
    "CoordinateSym", "Dummy", "Float", "Str", "Symbol", "Wild", "_rebuild_undef",
})  # fmt: skip
"""Names of sympy that take a name, or the digits of a number, and evaluate neither."""
_ZONES = ("zoneinfo.ZoneInfo", "pendulum.tz.timezone.Timezone")
_OF_TEXTS = frozenset({
    "capitalize", "casefold", "lower", "lstrip", "rstrip", "split", "splitlines", "strip",
    "swapcase", "title", "upper",
})  # fmt: skip
"""Methods of `str` by which a vectorizer splits texts."""
_CODECS = ((), ("latin1",), ("latin-1",))
_CONTAINERS = ("builtins", "collections")
_COPIED = {"builtins.list": List, "builtins.dict": Dict}
"""What Python's containers copy; of anything else they iterate, hash or format the items."""
_OWN = ("numpy.ma.", "pandas.")
_ARRAYS = ("array.array", "numpy.ndarray", "numpy.memmap")
"""Classes of which _reconstruct makes an array in memory, without a call of their own `__new__`."""

_SPECIAL: dict[tuple[str, str], Special] = {
    ("_codecs", "encode"): _encode,
    ("builtins", "bytearray"): _encode,
    ("builtins", "bytes"): _encode,
    ("builtins", "getattr"): _getattr,
    ("functools", "partial"): _partial,
    ("copyreg", "__newobj__"): _maker,
    ("copyreg", "__newobj_ex__"): _maker,
    ("copyreg", "_reconstructor"): _reconstructor,
    ("array", "_array_reconstructor"): _array_maker,
    ("collections", "defaultdict"): _with_factory,
    ("numpy.core.multiarray", "_reconstruct"): _array_maker,
    ("numpy._core.multiarray", "_reconstruct"): _array_maker,
    ("numpy.ma.core", "_mareconstruct"): _filling_maker,
    ("dill._dill", "_create_array"): _array_by_dill,
    ("pyarrow.lib", "timestamp"): _timestamp,
    **{
        (f"statsmodels.tsa.statespace._kalman_{kind.lower()}", f"{letter}Kalman{kind}"): _filter
        for kind in ("Filter", "Smoother")
        for letter in "cdsz"
    },
    ("copyreg", "add_extension"): _add_extension,
    ("numpy", "dtype"): dtypes.dtype,
    ("numpy.core.multiarray", "scalar"): dtypes.scalar,
    ("numpy._core.multiarray", "scalar"): dtypes.scalar,
    ("numpy._core._internal", "_convert_to_stringdtype_kwargs"): dtypes.string_dtype,
    ("numpy.core._internal", "_convert_to_stringdtype_kwargs"): dtypes.string_dtype,
    ("numpy.core", "_ufunc_reconstruct"): _importer,
    ("numpy._core", "_ufunc_reconstruct"): _importer,
    ("builtins", "__import__"): _module_importer,
    ("importlib", "__import__"): _module_importer,
    ("importlib", "import_module"): _module_importer,
    ("pkgutil", "resolve_name"): _path_importer,
    ("pydoc", "locate"): _path_importer,
    **{
        (f"{package}joblib.{module}", name): _companion
        for package in ("", "sklearn.externals.")
        for module in ("numpy_pickle", "numpy_pickle_compat")
        for name in ("NDArrayWrapper", "ZNDArrayWrapper")
    },
}
_HELPERS: dict[str, Special] = {  # wherever a package keeps its copy, or has moved it to
    "subimport": _module_importer,
    "_getobject": _importer,
    "_builtin_type": _type_importer,
    "_import_module": _path_importer,
    "unpickle_function": _importer,
    "newObj": _maker,
    "new_object": _maker,
    "_new_Index": _filling_maker,
    "_new_DatetimeIndex": _filling_maker,
    "_new_IntervalIndex": _filling_maker,
    "_new_PeriodIndex": _filling_maker,
    "_new_TimedeltaIndex": _filling_maker,
}
