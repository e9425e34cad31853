"""The recorder of names: which classes and functions a pickler writes by their names."""

import contextlib
import operator
import pickle
import sys
import types
from collections.abc import Callable, Mapping
from typing import Any

_DispatchTable = Mapping[type, Callable[[Any], Any]]

_SINGLETON_TYPES = (type(None), type(NotImplemented), type(...))
"""Types that pickle does not write by their names, but as `type(None)` and so on."""

# What is known of a class: where the reduce value of its objects comes from. Plain numbers, since
# they are looked at for each object, and an attribute of an enum takes as long as the rest.
_PLAIN = 1
"""From `object`, or from what gives no names, and so it is no name."""
_PLAIN_WITH_DICT = 2
"""The same, but for an object that has a `__reduce_ex__` in its own dict."""
_OWN = 3
"""From the class."""
_NAMED = 4
"""There is none: functions and classes are written by their names."""
_ODD = 5
"""From elsewhere, or it has to be asked for anew each time."""

_SHORTENED = sys.version_info < (3, 14)
"""Whether a path that leads back to its own module is written as its last step alone."""

_lasting_kinds: dict[type, int] = {}
"""The kinds of classes that nobody can change, such as those of numpy."""


class Recorder:
    """Notes each name that a pickler writes, in the stream's own spelling.

    The C pickler calls `reducer_override` for each object that is no plain data. For most
    of them a name can only come from their class, which comes here itself; the reduce
    value of the others is asked for here, as the C pickler would, and looked at. `save` in
    CPython's Modules/_pickle.c is the rule.
    """

    def __init__(self, protocol: int, dispatch_table: _DispatchTable) -> None:
        self.names: set[tuple[str, str]] = set()
        self._protocol = protocol
        self._dispatch_table = dispatch_table
        self._kinds = _lasting_kinds.copy()
        if not self._kinds.keys().isdisjoint(dispatch_table):
            self._kinds.update((cls, _ODD) for cls in dispatch_table if cls in self._kinds)
        self._kinds[type] = self._kinds[types.FunctionType] = _NAMED

    def reduce(self, obj: Any) -> Any:  # noqa: ANN401 - any object, any reduce value
        """Give an object's reduce value, or NotImplemented where the pickler may ask for it."""
        cls = type(obj)
        kind = self._kinds.get(cls) or self._first_of(cls)
        if kind == _PLAIN:
            return NotImplemented
        if kind == _NAMED:
            if cls is not type or obj not in _SINGLETON_TYPES:
                self._note(obj, obj.__qualname__)
            return NotImplemented
        if kind == _PLAIN_WITH_DICT and "__reduce_ex__" not in obj.__dict__:
            return NotImplemented
        if kind == _ODD:
            return self._reduce_each(obj, cls)
        reduced = obj.__reduce_ex__(self._protocol)
        return self._looked_at(obj, reduced) if isinstance(reduced, str) else reduced

    def _first_of(self, cls: type) -> int:
        """Tell what is known of a class that is met for the first time, and keep it if may be."""
        meta: Any = type(cls)
        if meta.__eq__ is not type.__eq__ or meta.__hash__ is not type.__hash__:
            return _ODD  # what is known of it would be given for another one
        kind = self._kinds[cls] = _ODD if cls in self._dispatch_table else _kind_of(cls)
        return kind

    def _reduce_each(self, obj: Any, cls: type) -> Any:  # noqa: ANN401 - as reduce
        reducer = self._dispatch_table.get(cls)
        if reducer is not None:
            return self._looked_at(obj, reducer(obj))
        reduce_ex = getattr(obj, "__reduce_ex__", None)
        if reduce_ex is None:
            return NotImplemented  # the C pickler has an error or another way for it
        return self._looked_at(obj, reduce_ex(self._protocol))

    def _looked_at(self, obj: Any, reduced: Any) -> Any:  # noqa: ANN401 - as reduce
        if isinstance(reduced, str):
            self._note(obj, reduced)
        return reduced

    def _note(self, obj: Any, name: str) -> None:  # noqa: ANN401 - any object
        # As pickle.whichmodule has it: the attribute, and only without one a search.
        module = getattr(obj, "__module__", None)
        if type(module) is str and type(name) is str and not ("." in name and _SHORTENED):
            self.names.add((module, name))
            return
        if module is None:
            module = pickle.whichmodule(obj, name)  # type: ignore[attr-defined]
        if not isinstance(module, str):
            return
        if type(module) is not str or type(name) is not str:
            module, name = str.__str__(module), str.__str__(name)
        if "." in name and _SHORTENED:
            parent, _, last = name.rpartition(".")
            within = sys.modules.get(module)
            with contextlib.suppress(AttributeError):
                if operator.attrgetter(parent)(within) is within:
                    name = last
        self.names.add((module, name))


def _kind_of(cls: Any) -> int:  # noqa: ANN401 - any class, seen as an object with attributes
    if issubclass(cls, type):
        return _NAMED
    if cls.__getattribute__ is not object.__getattribute__:
        return _ODD
    if cls.__reduce_ex__ is not object.__reduce_ex__ or cls.__reduce__ is not object.__reduce__:
        kind = _OWN
    elif cls.__dictoffset__:
        kind = _PLAIN_WITH_DICT if _has_plain_dict(cls) else _ODD
    else:
        kind = _PLAIN
    if _flags_of(cls) & _IMMUTABLE and all(_flags_of(base) & _IMMUTABLE for base in cls.__mro__):
        kind = _lasting_kinds[cls] = _PLAIN if _is_of_numpy(cls) else kind
    return kind


def _has_plain_dict(cls: type) -> bool:
    """Tell whether to read `__dict__` of an object of the class runs no code of the class."""
    for base in cls.__mro__:
        if "__dict__" in base.__dict__:
            return isinstance(base.__dict__["__dict__"], types.GetSetDescriptorType)
    return True


_IMMUTABLE = 1 << 8  # Py_TPFLAGS_IMMUTABLETYPE
_flags_of = type.__dict__["__flags__"].__get__  # not what a metaclass says


def _is_of_numpy(cls: Any) -> bool:  # noqa: ANN401 - as above
    """Tell whether a class that nobody can change has a reduce value of numpy's: never a name."""
    numpy: Any = sys.modules.get("numpy")
    try:
        return cls is numpy.ndarray or cls.__reduce__ in (
            numpy.dtype.__reduce__,
            numpy.generic.__reduce__,
        )
    except AttributeError:  # it is not loaded, or not yet all of it
        return False
