"""The recorder of names: which classes and functions a pickler writes by their names."""

import contextlib
import operator
import pickle
import sys
import types
from collections.abc import Callable, Mapping
from typing import Any

_SINGLETON_TYPES = (type(None), type(NotImplemented), type(...))
"""Types that pickle does not write by their names, but as `type(None)` and so on."""

_SHORTENED = sys.version_info < (3, 14)
"""Whether a path that leads back to its own module is written as its last step alone."""


class Recorder:
    """Records each name that a pickler writes, in the stream's own spelling.

    The C pickler calls `reducer_override` for each object that is no plain data. The reduce value
    is asked for here, in the order of `save` in CPython's Modules/_pickle.c, and a string among
    these values is a name.
    """

    def __init__(self, protocol: int, dispatch_table: Mapping[type, Callable[[Any], Any]]) -> None:
        self.names: set[tuple[str, str]] = set()
        self._protocol = protocol
        self._dispatch_table = dispatch_table

    def reduce(self, obj: Any) -> Any:  # noqa: ANN401 - any object, any reduce value
        """Return an object's reduce value, or NotImplemented to leave it to the pickler."""
        cls = type(obj)
        if cls is type or cls is types.FunctionType:
            if obj not in _SINGLETON_TYPES:
                self._note(obj, obj.__qualname__)
            return NotImplemented
        reducer = self._dispatch_table.get(cls)
        if reducer is not None:
            reduced = reducer(obj)
        elif issubclass(cls, type):
            self._note(obj, obj.__qualname__)
            return NotImplemented
        else:
            reduce_ex = getattr(obj, "__reduce_ex__", None)
            if reduce_ex is None:
                return NotImplemented  # the C pickler has an error or another way for it
            reduced = reduce_ex(self._protocol)
        if isinstance(reduced, str):
            self._note(obj, reduced)
        return reduced

    def _note(self, obj: Any, name: str) -> None:  # noqa: ANN401 - any object
        # As pickle.whichmodule has it: the attribute, and only without one a search.
        module = getattr(obj, "__module__", None)
        if module is None:
            module = pickle.whichmodule(obj, name)  # type: ignore[attr-defined]
        if not isinstance(module, str):
            return
        # A str of a class of its own could compare and hash as it likes.
        module, name = str.__str__(module), str.__str__(name)
        if "." in name and _SHORTENED:
            parent, _, last = name.rpartition(".")
            within = sys.modules.get(module)
            with contextlib.suppress(AttributeError):
                if operator.attrgetter(parent)(within) is within:
                    name = last
        self.names.add((module, name))
