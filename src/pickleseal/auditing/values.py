"""What may lie on the stack of a walk: values as far as they are followed, and kinds for the rest.

Literals are followed as far as a name or the size of an array can come to depend on them; all else
is a kind. What a container keeps is flat, so that no chain of them grows long.
"""

from collections.abc import Callable, Sequence
from enum import Enum, Flag
from typing import TypeAlias

TEXT_KEPT = 256
"""Bytes of a text that is kept."""
MAX_SIZE = (1 << 63) - 1
"""The largest size and index that C counts in."""

_TUPLE_KEPT = 16
_DICT_KEPT = 32


class Use(Flag):
    """What an unpickler does with a name."""

    LOOKED_UP = 1
    CALLED = 2
    """It is called: REDUCE, OBJ or INST."""
    MADE = 4
    """An object is made of it: NEWOBJ, NEWOBJ_EX or copyreg's ways of doing the same."""
    BUILT = 8
    """What it gave, or what was made of it, has its state set: BUILD."""


class Kind(Enum):
    """What is known of a value that is not followed."""

    LIST = "a list"
    SET = "a set"
    NUMBER = "a number"
    BYTES = "bytes"
    TUPLE = "a tuple"
    LONG_TEXT = "a long text"
    CODED_TEXT = "a text that the reader's encoding spells"
    FORGOTTEN = "a literal of long ago"
    GIVEN = "what the reader's caller gives"
    COMPUTED = "what a computed name or an extension code stands for"
    NOTHING = "a place of the memo that was never filled"


# An enum's members are slow to reach, and these are reached for at every opcode.
LIST, SET, NUMBER, BYTES, TUPLE = Kind.LIST, Kind.SET, Kind.NUMBER, Kind.BYTES, Kind.TUPLE
LONG_TEXT, CODED_TEXT, FORGOTTEN = Kind.LONG_TEXT, Kind.CODED_TEXT, Kind.FORGOTTEN
GIVEN, COMPUTED, NOTHING = Kind.GIVEN, Kind.COMPUTED, Kind.NOTHING

LOOKED_UP, CALLED, MADE, BUILT = (use.value for use in Use)

Args: TypeAlias = tuple[object, ...] | None
"""What a function is called with; None where that is no tuple whose items are known."""


class Global:
    """What a name stands for; there is one for each name of a trace.

    `uses`: the bits of Use. `result` is what calling it gives, unless it is `special`: then
    calling that with the arguments gives it.
    """

    __slots__ = ("module", "name", "path", "result", "special", "uses")

    def __init__(self, module: str, name: str) -> None:
        self.module = module
        self.name = name
        self.path = f"{module}.{name}"
        self.uses: int = LOOKED_UP
        self.result = Result(self)
        self.special: Callable[[Args], object] | None = None


class Result:
    """What calling a global gave, or what was made of it."""

    __slots__ = ("of",)

    def __init__(self, of: Global) -> None:
        self.of = of


class Dict:
    """A dict that keeps its first few literal keys, and what is odd about any of them.

    `whole` is false once a key was not kept. `dunders` are those of its keys that Python itself
    looks for; `computed` is true where a key is no literal.
    """

    __slots__ = ("computed", "dunders", "items", "whole")

    def __init__(self) -> None:
        self.items: dict[str, object] = {}
        self.whole = True
        self.computed = False
        self.dunders: tuple[str, ...] = ()

    def set(self, key: object, value: object) -> None:
        """Set one item."""
        if type(key) is str:
            if is_dunder(key) and key not in _HARMLESS and len(self.dunders) < _DICT_KEPT:
                self.dunders += (key,)
            if len(self.items) < _DICT_KEPT or key in self.items:
                self.items[key] = _inner(value)
            else:
                self.whole = False
            return
        self.whole = False
        if type(key) is Result or key is CODED_TEXT or key is FORGOTTEN:
            self.computed = True

    def update(self, items: Sequence[object]) -> None:
        """Set items that stand one behind the other, each a key and its value."""
        keys, values = items[::2], items[1::2]
        few = len(self.items) + len(keys) <= _DICT_KEPT
        # Nearly all dicts are of a few plain keys: those are seen and kept without a loop.
        if few and _TEXT_TYPE.issuperset(map(type, keys)) and "__" not in "\n".join(map(str, keys)):
            if not _DEEP.isdisjoint(map(type, values)):
                values = [_inner(value) for value in values]
            self.items.update(zip(map(str, keys), values, strict=False))
            return
        for key, value in zip(keys, values, strict=False):
            self.set(key, value)


class Dtype:
    """A numpy.dtype: the size of an item in bytes, and whether items are objects; None: unknown."""

    __slots__ = ("code", "has_object", "of", "size")

    def __init__(self, of: Global, code: str, size: int | None, *, has_object: bool) -> None:
        self.of = of
        self.code = code
        self.size = size
        self.has_object: bool | None = has_object

    def set_state(self, state: object) -> None:
        """Take what numpy takes from the state of a dtype: for `S`, `U` and `V` their size."""
        if type(state) is not tuple or len(state) not in (8, 9):
            self.size = None
            return
        size, flags = state[5], state[7]
        if self.code in ("S", "U", "V"):
            self.size = size if type(size) is int and size >= 0 else None
        if type(flags) is not int or (bool(flags & 1) != self.has_object and self.code != "V"):
            self.size = None
            self.has_object = None
        else:
            self.has_object = bool(flags & 1)


class Wrapper:
    """A joblib.numpy_pickle.NumpyArrayWrapper, whose array follows when its state is set."""

    __slots__ = ("fields", "of", "whole")

    def __init__(self, of: Global, fields: dict[str, object]) -> None:
        self.of = of
        self.fields = fields
        self.whole = True


MADE_THINGS = frozenset({Result, Dtype, Wrapper})
"""What calls give."""
FIXED = frozenset({str, int, bool, type(None), tuple})
"""Literals that no item can be added to."""
TRIMMED = frozenset({str, tuple, Dict, Wrapper})
"""What takes memory, and is let go of where it lies far back."""
_DEEP = frozenset({tuple, Dict, Wrapper})
_TEXT_TYPE = frozenset({str})

_HARMLESS = frozenset({
    "__orig_class__", "__wrapped__", "__doc__", "__name__", "__qualname__", "__module__",
    "__annotations__", "__version__",
})  # fmt: skip
"""Attributes that ordinary objects carry in their state and Python runs nothing for."""


def is_dunder(name: str) -> bool:
    """Tell whether Python itself may look for an attribute of this name."""
    return name[:2] == "__" and name[-2:] == "__"


def tuple_of(items: list[object]) -> object:
    """Give what is kept of a tuple of these items."""
    if len(items) > _TUPLE_KEPT:
        return TUPLE
    for item in items:
        if type(item) is tuple and not _is_flat(item):
            return tuple([TUPLE if type(i) is tuple and not _is_flat(i) else i for i in items])
    return tuple(items)


def _inner(value: object) -> object:
    """Give what a dict keeps of a value."""
    if type(value) is tuple:
        return value if _is_flat(value) else TUPLE
    return FORGOTTEN if type(value) in _DEEP else value


def _is_flat(value: tuple[object, ...]) -> bool:
    return _DEEP.isdisjoint(map(type, value))
