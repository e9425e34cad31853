"""The record of a trace: the names that are looked up, and constructions that no data needs."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeAlias

from pickleseal.errors import shown
from pickleseal.scanner.machine.faults import Fault
from pickleseal.scanner.machine.values import (
    FILLED,
    SETTLED,
    Args,
    Global,
    Result,
    are_plain,
)
from pickleseal.scanner.names import is_class, is_listed

MAX_NAMES = 20_000
MAX_BEYOND = 200

_WRAPPERS = frozenset({
    "joblib.numpy_pickle.NumpyArrayWrapper",
    "sklearn.externals.joblib.numpy_pickle.NumpyArrayWrapper",
})  # fmt: skip


_MAKERS = frozenset({
    "dtype", "ndarray", "matrix", "memmap", "recarray", "_reconstruct", "_mareconstruct",
    "_frombuffer", "bytearray", "bytes", "complex", "date", "datetime", "defaultdict", "deque",
    "frozenset", "range", "set", "slice", "time", "timedelta", "timezone", "object", "list", "dict",
    "tuple", "int", "float", "newObj", "new_object",
})  # fmt: skip
"""Lower-case names whose results are neither texts nor classes."""


class Record:
    """The findings of a trace; an object array adds to the record of the stream around it.

    `special` returns the handler for calls of a global whose arguments matter. `bare`: the reader
    has no options, so no persistent ids, no buffers, and no encoding but ASCII. `most` is a
    stricter bound on opcodes, if any. `wrappers` are joblib's array wrappers among the names.
    `coded` is as in `Trace`. `given` counts values that only the reader's caller could supply:
    persistent objects and out-of-band buffers.
    """

    __slots__ = (
        "_plain", "_special", "arrays", "bare", "beyond", "coded", "given", "most", "names",
        "opcodes", "protocol", "wrappers",
    )  # fmt: skip

    def __init__(
        self,
        special: "Callable[[str, str], Special | None]",
        *,
        bare: bool = False,
        most: int | None = None,
    ) -> None:
        self._special = special
        self._plain: set[object] = set()
        self.bare = bare
        self.most = most
        self.names: dict[tuple[str, str], Global] = {}
        self.wrappers: set[object] = set()
        self.beyond: dict[str, None] = {}
        self.coded = False
        self.opcodes = 0
        self.protocol = 0
        self.arrays = 0
        self.given = 0

    def note(self, clause: str) -> None:
        """Record a construction that no data needs."""
        if len(self.beyond) < MAX_BEYOND:
            self.beyond[clause] = None
        else:
            self.beyond["and more"] = None

    def are_plain(self, keys: Sequence[object]) -> bool:
        """Return whether no library looks for any of these keys. Keys seen before are cached."""
        if self._plain.issuperset(keys):
            return True
        if not are_plain(keys):
            return False
        if len(self._plain) < MAX_NAMES:
            self._plain.update(keys)
        return True

    def give(self) -> None:
        """Count a value that only the caller can supply; raise Fault if it supplies none."""
        if self.bare:
            raise Fault("it needs options that a plain load does not have")
        self.given += 1

    def note_done(self, target: Result, what: int, clause: str) -> None:
        """Record what is done to an object, and note it if no pickler would do it at this point.

        A pickler adds items or sets keys, and sets the state last.
        """
        if target.done & (SETTLED if what == SETTLED else ~what):
            self.note(clause)
        target.done |= what
        if what != SETTLED:
            target.of.uses |= FILLED
            if target.of.module.startswith("sympy."):
                self.note(f"it adds items to {shown(target.of.path)}, which may evaluate them")

    def look_up(self, module: str, name: str) -> Global:
        """Return the global of a name, and record it."""
        found = self.names.get((module, name))
        if found is None:
            if len(self.names) >= MAX_NAMES:
                raise Fault(f"it looks up more than {MAX_NAMES} names", limited=True)
            found = self.names[module, name] = Global(
                module, name, makes_objects=_makes_objects(module, name)
            )
            special = self._special(module, name)
            if special is not None:
                found.special = partial(special, self, found)
            if found.path in _WRAPPERS:
                self.wrappers.add(found)
        return found


Special: TypeAlias = Callable[[Record, Global, Args], object]
"""A handler for calls of a global; it returns the result of the call."""


def _makes_objects(module: str, name: str) -> bool:
    """Return whether results of a name are certainly neither texts nor classes."""
    if not is_listed(module, name):
        return False
    start = name.lstrip("_")[:1]
    made = name in _MAKERS or name.startswith("__pyx_unpickle_") or is_class(module, name)
    return made or start.isupper()
