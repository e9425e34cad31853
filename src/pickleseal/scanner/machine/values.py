"""The values on the stack of a walk: those that are followed, and kinds for all others.

Literals are followed as far as a name or an array size may depend on them; everything else is a
kind. Containers keep little and no nesting, so their memory stays bounded.
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from enum import Enum, Flag
from typing import TypeAlias, TypeGuard

from pickleseal.scanner.machine.faults import Fault

TEXT_KEPT = 256
"""The longest text that is kept, in bytes."""
MAX_SIZE = (1 << 63) - 1
"""The largest size and index in C (ssize_t)."""

WRAPPER_FIELDS = (
    "subclass", "shape", "order", "dtype", "allow_mmap", "numpy_array_alignment_bytes",
)  # fmt: skip
"""The arguments and attributes of joblib's array wrapper."""

_FIELDS = frozenset(WRAPPER_FIELDS)
_TUPLE_KEPT = 32
_HEAD = 3
"""How many leading items of a tuple may be tuples whose items are kept."""
_DUNDERS_KEPT = 32
_DICT_KEPT = 1024


class Use(Flag):
    """What an unpickler does with a name."""

    LOOKED_UP = 1
    CALLED = 2
    """It is called: REDUCE, OBJ or INST."""
    MADE = 4
    """It is instantiated: NEWOBJ, NEWOBJ_EX or their equivalents in copyreg."""
    BUILT = 8
    """Its result or instance has its state set: BUILD."""
    STATE = 16
    """Its result or instance is the state of another object."""
    FILLED = 32
    """Its result or instance is given items or keys."""
    HANDED = 64
    """Its arguments are or hold objects that may act."""
    HOLDING = 128
    """The state, items or keys of its result or instance are or hold objects that may act."""
    HASHED = 256
    """An object of it is a key or a member of a set, and may act when it is hashed."""


class Kind(Enum):
    """The kind of a value that is not followed."""

    LIST = "a list of unknown length"
    SET = "an older set"
    FROZEN_SET = "a frozenset"
    NUMBER = "a number"
    BYTES = "bytes"
    BUFFER = "a bytearray, or another buffer"
    ARRAY = "an array read by joblib.load"
    TUPLE = "a tuple"
    LONG_TEXT = "a long text"
    PARSER = "the source of a method that scipy.stats writes and executes, in its exact form"
    CODED_TEXT = "a text that depends on the reader's encoding"
    FORGOTTEN = "a literal no longer tracked, of plain data"
    OBJECTS = "an older dtype that may be of objects"


class Opaque(Enum):
    """The kind of a value that is not followed and may hold objects."""

    HOLDER = "a tuple or frozenset that holds objects"
    LOST = "a literal no longer tracked that holds objects"
    GIVEN = "a persistent object"
    ZONE = "a text that pandas takes for the path of a file with a time zone"
    COMPUTED = "the target of a computed name or extension code"
    NOTHING = "an unset memo entry"


# Enum members are slow to look up, and these are needed at every opcode.
LIST, SET, FROZEN_SET, NUMBER = Kind.LIST, Kind.SET, Kind.FROZEN_SET, Kind.NUMBER
BYTES, BUFFER, TUPLE, ARRAY = Kind.BYTES, Kind.BUFFER, Kind.TUPLE, Kind.ARRAY
LONG_TEXT, CODED_TEXT, FORGOTTEN = Kind.LONG_TEXT, Kind.CODED_TEXT, Kind.FORGOTTEN
GIVEN, COMPUTED, NOTHING = Opaque.GIVEN, Opaque.COMPUTED, Opaque.NOTHING
HOLDER, LOST, ZONE = Opaque.HOLDER, Opaque.LOST, Opaque.ZONE
PARSER, OBJECTS = Kind.PARSER, Kind.OBJECTS

LOOKED_UP, CALLED, MADE, BUILT, STATE, FILLED, HANDED, HOLDING, HASHED = (use.value for use in Use)

Args: TypeAlias = tuple[object, ...] | None
"""The arguments of a call; None if they are not a tuple of known items."""


class Global:
    """The target of a name; one for each name of a trace.

    `uses` are the bits of Use. A call returns a Result, or the result of the handler `special`.
    `old` represents all its older results, by whether they are plain. `makes_objects`: its results
    are neither texts nor classes. `plain`: they are plain data where what they are made of is, and
    `value`: so is the name itself.
    `names`: how many leading arguments are names that `special` judges.
    `wraps`: it is joblib's array wrapper, behind whose state joblib takes an array from the stream.
    `instantiated`: its instance was made by `__new__` without arguments, so it is a class.
    """

    __slots__ = (
        "instantiated",
        "makes_objects",
        "module",
        "name",
        "names",
        "old",
        "path",
        "plain",
        "special",
        "uses",
        "value",
        "wraps",
    )

    def __init__(
        self,
        module: str,
        name: str,
        *,
        makes_objects: bool = False,
        plain: bool = False,
        value: bool = False,
    ) -> None:
        self.instantiated = False
        self.makes_objects = makes_objects
        self.value = value
        self.plain = plain
        self.names = 0
        self.module = module
        self.name = name
        self.path = f"{module}.{name}"
        self.uses: int = LOOKED_UP
        old = Result(self, SETTLED)
        self.old: tuple[Result | Wrapper, Result | Wrapper]
        self.old = (old, Result(self, SETTLED, plain=True) if plain else old)
        self.special: Callable[[Args], object] | None = None
        self.wraps = False


ITEMS, KEYS, SETTLED = 1, 2, 4
"""What has been done to an object: items added, keys set, state set."""


class Result:
    """The result of a call or an instance of a global; `done` is what was done to it since.

    `length`: of an array whose state was set, in items; None: unknown, or no array. `plain`: it is
    plain data. `kept`: another value holds it. `partial`: the function of a partial call.
    """

    __slots__ = ("done", "kept", "length", "of", "partial", "plain")

    def __init__(self, of: Global, done: int = 0, *, plain: bool = False) -> None:
        self.of = of
        self.done = done
        self.length: int | None = None
        self.plain = plain
        self.kept = False
        self.partial: Global | None = None


class Count(int):
    """The most that a number may be which differs between objects that repeat; at least 0."""

    __slots__ = ()


class List:
    """A list; only its length is kept, and whether it holds plain data alone."""

    __slots__ = ("kept", "plain", "size")

    def __init__(self, size: int = 0) -> None:
        self.size = size
        self.plain = True
        self.kept = False


class Set:
    """A set; only whether it holds plain data alone is kept."""

    __slots__ = ("kept", "plain")

    def __init__(self) -> None:
        self.plain = True
        self.kept = False


class Dict:
    """A dict; only the relevant parts are kept.

    `fields` are the items of joblib's wrapper or of dtype fields. `others`: it has other items.
    `whole` is false if a key is not a literal. `dunders` are the keys that Python itself looks for.
    `computed`: a key does not appear in the stream. `given`: it was used as a state. `searched`:
    it has an object where torch looks for a name in a dict.
    """

    __slots__ = (
        "computed", "dunders", "fields", "given", "kept", "others", "plain", "searched", "whole",
    )  # fmt: skip

    def __init__(self) -> None:
        self.fields: dict[str, object] | None = None
        self.others = False
        self.whole = True
        self.computed = False
        self.given = False
        self.searched = False
        self.dunders: tuple[str, ...] = ()
        self.plain = True
        self.kept = False

    def set(self, key: object, value: object) -> None:
        """Set one item."""
        if type(key) is str:
            kept = key in _FIELDS
            if not kept and is_looked_for(key) and len(self.dunders) < _DUNDERS_KEPT:
                expected = key == _EXECUTED and _is_parser(value)
                self.dunders += () if expected else (key,)
            if kept or is_field(value):
                if self.fields is None:
                    self.fields = {}
                if len(self.fields) < _DICT_KEPT:
                    self.fields[key] = _kept(key, value)
                    return
            self.others = True
            return
        self.others = True
        self.whole = False
        if is_computed(key):
            self.computed = True


SUB_ARRAY = "array"
"""The code of a dtype with a shape, of which NumPy makes no scalars."""


class Dtype:
    """A numpy.dtype. `dtypes` checks it against the form that NumPy writes.

    `size`: of an item, in bytes; None: unknown. `has_object`: items are or hold objects; None:
    unknown. `flags`: NumPy's, None before a state was set.
    """

    __slots__ = ("code", "flags", "has_object", "of", "size")

    def __init__(self, of: Global, code: str, size: int | None, *, has_object: bool | None) -> None:
        self.of = of
        self.code = code
        self.size = size
        self.has_object = has_object
        self.flags: int | None = None


class Wrapper:
    """A joblib.numpy_pickle.NumpyArrayWrapper, whose array follows when its state is set.

    `fields` are its attributes; None if they are not set as joblib sets them, or no longer tracked.
    """

    __slots__ = ("fields", "of")

    def __init__(self, of: Global, *, bare: bool) -> None:
        self.of = of
        self.fields: dict[str, object] | None = {} if bare else None


MADE_THINGS = frozenset({Result, Dtype, Wrapper})
"""Results of calls."""
FIXED = frozenset({str, int, Count, bool, bytes, type(None), tuple})
"""Immutable literals."""
_DATA = frozenset(
    {LIST, SET, FROZEN_SET, NUMBER, BYTES, BUFFER, TUPLE, LONG_TEXT, CODED_TEXT, PARSER}
)
_UNHASHABLE = frozenset({List, Dict, Set})
SIMPLE = frozenset({str, int, Count, bool, bytes, type(None), Kind, Dtype})
_CHANGING = frozenset({Result, List, Dict, Set})
_UNHASHABLE_KINDS = frozenset({LIST, SET, BUFFER, ARRAY})
_NOT_SPELLED = frozenset({CODED_TEXT, COMPUTED, GIVEN})
_HOLD = frozenset({LIST, SET, FROZEN_SET, TUPLE, FORGOTTEN})
_DEEP = frozenset({tuple, Dict, Wrapper})
_LARGE = frozenset({str, tuple})
_NUMBERS = frozenset({int, Count})
_TEXT_TYPE = frozenset({str})

_SPELLED = """
    __abs__ __add__ __aenter__ __aexit__ __aiter__ __and__ __anext__ __await__ __base__ __bases__
    __bool__ __buffer__ __builtins__ __bytes__ __call__ __ceil__ __class__ __class_getitem__
    __cause__ __closure__ __code__ __complex__ __contains__ __context__ __copy__
    __cuda_array_interface__ __dataframe__ __deepcopy__ __defaults__ __del__ __delattr__
    __delete__ __delitem__ __dict__ __dir__ __divmod__ __dlpack__ __dlpack_device__ __enter__
    __eq__ __exit__ __file__ __float__ __floor__ __floordiv__ __format__ __fspath__ __func__
    __ge__ __get__ __getattr__ __getattribute__ __getformat__ __getinitargs__ __getitem__
    __getnewargs__ __getnewargs_ex__ __getstate__ __globals__ __gt__ __hash__ __iadd__ __iand__
    __ifloordiv__ __ilshift__ __imatmul__ __imod__ __import__ __imul__ __index__ __init__
    __init_subclass__ __instancecheck__ __int__ __invert__ __ior__ __ipow__ __irshift__ __isub__
    __iter__ __itruediv__ __ixor__ __kwdefaults__ __le__ __len__ __length_hint__ __loader__
    __lshift__ __lt__ __matmul__ __metaclass__ __missing__ __mod__ __mro__ __mro_entries__ __mul__
    __ne__ __neg__ __new__ __newobj__ __newobj_ex__ __next__ __objclass__ __or__ __path__ __pos__
    __post_init__ __pow__ __prepare__ __radd__ __rand__ __rdivmod__ __reduce__ __reduce_ex__
    __release_buffer__ __repr__ __reversed__ __rfloordiv__ __rlshift__ __rmatmul__ __rmod__
    __rmul__ __ror__ __round__ __rpow__ __rrshift__ __rshift__ __rsub__ __rtruediv__ __rxor__
    __self__ __set__ __set_name__ __setattr__ __setitem__ __setstate__ __signature__ __sizeof__
    __slots__ __spec__ __str__ __sub__ __subclasscheck__ __subclasses__ __subclasshook__
    __suppress_context__ __text_signature__ __traceback__ __truediv__ __trunc__ __weakref__
    __xor__
"""
_EXECUTED = "_parse_arg_template"
_ACTED_ON = frozenset({
    "restore_design_info", "restore_model_spec",
    _EXECUTED, "_attach_methods", "_attach_argparser_methods",
})  # fmt: skip
"""Keys of a state at which statsmodels evaluates a formula in it, and those of which scipy.stats
executes one and calls the others."""
_LOOKED_FOR = frozenset(_SPELLED.split()) | _ACTED_ON
_LOOKED_FOR_STARTS = ("__array", "__arrow", "__pyx", "__sklearn")
"""Attributes that NumPy, pyarrow, Cython and scikit-learn look for in their arguments."""


_PARSER = re.compile(
    rb"\ndef _parse_args\(self, ((?:[A-Za-z_]\w*, )*) (loc=0(?:, scale=1)?)\):\n"
    rb"    return \(\1\), (loc, (?:scale|1))\n\n"
    rb"def _parse_args_rvs\(self, \1 \2, size=None\):\n"
    rb"    return self\._argcheck_rvs\(\1 \3, size=size\)\n\n"
    rb"def _parse_args_stats\(self, \1 \2, moments='mv'\):\n"
    rb"    return \(\1\), \3, moments\n\Z"
)


def is_parser(source: bytes) -> bool:
    """Return whether a text is the source of methods that scipy.stats writes and executes."""
    return _PARSER.match(source) is not None


def _is_parser(value: object) -> bool:
    short = type(value) is str and is_parser(value.encode("utf-8", "surrogatepass"))
    return short or value is PARSER


def is_data(value: object) -> bool:
    """Return whether a value is certainly one of Python's own types for data."""
    kind = type(value)
    return (
        kind in FIXED or kind in _UNHASHABLE or (kind is Kind and value in _DATA) or value is HOLDER
    )


def keep(items: Sequence[object]) -> bool:
    """Return whether values that another value is to hold are plain data, and mark them as kept.

    Plain data are literals, containers of plain data, names that are values, and results of names
    that the list calls plain, made of plain data. What a reader's caller gives is the caller's.
    Raise Fault if joblib's array wrapper is among them: what is handed it may return it, and joblib
    takes an array from the stream wherever its state is set.
    """
    if SIMPLE.issuperset(map(type, items)):
        return True
    plain = True
    for item in items:
        kind = type(item)
        if kind in SIMPLE:
            continue
        if kind in _CHANGING:
            item.kept = True  # type: ignore[attr-defined]
            plain = plain and item.plain  # type: ignore[attr-defined]
        elif kind is tuple:
            plain = keep(item) and plain  # type: ignore[arg-type]
        elif kind is Global:
            plain = plain and item.value  # type: ignore[attr-defined]
            _check_wrapper(item)  # type: ignore[arg-type]
        elif kind is Wrapper:
            _check_wrapper(item.of)  # type: ignore[attr-defined]
        elif item is not GIVEN:
            plain = False
    return plain


def _check_wrapper(of: Global) -> None:
    if of.wraps:
        raise Fault("joblib's array wrapper is not where joblib has it", limited=True)


def may_hold(value: object) -> bool:
    """Return whether a value may hold another."""
    kind = type(value)
    return kind is Result or kind is tuple or kind in _UNHASHABLE or value in _HOLD


def is_object(value: object) -> bool:
    """Return whether a value is certainly an object that is neither a text nor a class."""
    kind = type(value)
    if kind is Result:
        return bool(value.of.makes_objects)  # type: ignore[attr-defined]
    return kind is Dtype or kind is Wrapper or value is ARRAY


def is_unhashable(value: object) -> bool:
    """Return whether a value can certainly be neither a key nor a member of a set."""
    kind = type(value)
    if kind is tuple:
        return any(map(is_unhashable, value))  # type: ignore[call-overload]
    return kind in _UNHASHABLE or (kind is Kind and value in _UNHASHABLE_KINDS)


def is_looked_for(name: str) -> bool:
    """Return whether Python or a library looks for an attribute of this name.

    Python's are those of its data model, and what it keeps of classes, functions and modules.
    """
    return name in _LOOKED_FOR or (name[:2] == "__" and name.startswith(_LOOKED_FOR_STARTS))


def are_texts(keys: Sequence[object]) -> bool:
    """Return whether all keys are texts."""
    return _TEXT_TYPE.issuperset(map(type, keys))


def are_plain(keys: Sequence[object]) -> TypeGuard[Sequence[str]]:
    """Return quickly whether all keys are texts, and nobody looks for any of them."""
    return (
        are_texts(keys)
        and "__" not in "\n".join(keys)  # type: ignore[arg-type]
        and _ACTED_ON.isdisjoint(keys)
        and _FIELDS.isdisjoint(keys)
    )


def is_computed(key: object) -> bool:
    """Return whether a key may be a text that does not appear in the stream."""
    return type(key) is Result or key in _NOT_SPELLED


def is_dunder(name: str) -> bool:
    """Return whether Python itself may look for an attribute of this name."""
    return name[:2] == "__" and name[-2:] == "__"


def tuple_of(items: list[object]) -> object:
    """Return the value that represents a tuple of these items; change the list."""
    if len(items) > _TUPLE_KEPT:
        return _whole(items)
    for at, item in enumerate(items):
        if type(item) is tuple:
            items[at] = _flat(item) if at < _HEAD else _whole(item)
    return tuple(items)


def _whole(items: Sequence[object]) -> object:
    if are_texts(items):
        return digest(items)
    if type(items[0]) is bytes:
        return items
    return TUPLE if keep(items) else HOLDER


def digest(texts: Iterable[object]) -> tuple[bytes]:
    """Return what represents a tuple of texts: bytes, as no literal is, for the texts in any order.

    It tells whether they are the names of the fields of a dtype, however many there are.
    """
    spelled = repr(sorted(map(str, texts)))
    return (hashlib.blake2b(spelled.encode(), digest_size=16).digest(),)


def _flat(items: tuple[object, ...]) -> tuple[object, ...]:
    for item in items:
        if type(item) in _LARGE:
            return tuple(map(_little, items))
    return items


def _little(item: object) -> object:
    if type(item) is str:
        return LONG_TEXT
    if type(item) is tuple:
        return item if _NUMBERS.issuperset(map(type, item)) else _whole(item)
    return item


def is_field(value: object) -> bool:
    """Return whether a value may describe a field of a dtype: a dtype and its offset."""
    return type(value) is tuple and len(value) in (2, 3) and type(value[0]) is Dtype


def _kept(key: str, value: object) -> object:
    """Return what a dict keeps of the value of an item among its fields."""
    if type(value) is tuple:
        flat = _DEEP.isdisjoint(map(type, value))
        return value if (key == "shape" and flat) or is_field(value) else TUPLE
    return FORGOTTEN if type(value) in _DEEP else value


def faded(value: object) -> object:
    """Return the value that represents an older value, without memory of its own.

    Objects and dicts are kept, since other values may refer to them.
    """
    kind = type(value)
    if kind is str:
        return _faded_text(value)  # type: ignore[arg-type]
    if kind is int:
        return NUMBER
    if kind is List or kind is Set:
        if not value.plain:  # type: ignore[attr-defined]
            return value
        return LIST if kind is List else SET
    if kind is tuple:
        return FORGOTTEN if keep(value) else LOST  # type: ignore[arg-type]
    if kind is Dtype:
        sure = value.has_object is False and value.code != SUB_ARRAY  # type: ignore[attr-defined]
        return FORGOTTEN if sure else OBJECTS
    if kind is Wrapper:
        return value.of.old[0]  # type: ignore[attr-defined]
    return value


def _faded_text(text: str) -> object:
    """Return the value that represents an older text."""
    # A special attribute name is still reported if it becomes the key of a state.
    if text[:2] == "__" and text.startswith(_LOOKED_FOR_STARTS):
        return "__array__"
    return _SHARED.get(text, FORGOTTEN)


_SHARED = {name: name for name in (*_LOOKED_FOR, *WRAPPER_FIELDS)}
