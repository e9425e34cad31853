"""The record of a trace: which names are looked up, and what is done that no data needs."""

from collections.abc import Callable
from functools import partial
from typing import TypeAlias

from pickleseal.scanner.machine.faults import Fault
from pickleseal.scanner.machine.values import (
    SETTLED,
    Args,
    Global,
    Result,
)
from pickleseal.scanner.names import is_listed

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
"""Names in lower case that give objects which are neither texts nor classes."""


class Record:
    """What a trace has come upon; an array of objects adds to that of the stream around it.

    `special`: returns what to do at a call of the global of a name, where its arguments tell more.
    `bare`: the reader is called without
    options, so that it has no persistent ids, no buffers, and no encoding but ASCII. `most`: how
    many opcodes are followed, if these are fewer than the bound on all. `wrappers` are
    joblib's wrappers of arrays among the names. `coded` is as in `machine.Trace`. `given` counts
    what only the reader could give: objects by their persistent ids, and buffers beside the stream.
    """

    __slots__ = (
        "_special", "arrays", "bare", "beyond", "coded", "given", "most", "names",
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
        """Tell of a construction that no data needs."""
        if len(self.beyond) < MAX_BEYOND:
            self.beyond[clause] = None
        else:
            self.beyond["and more"] = None

    def give(self) -> None:
        """Count what only the reader's caller can give; raise Fault where it gives nothing."""
        if self.bare:
            raise Fault("it needs options that a plain load does not have")
        self.given += 1

    def note_done(self, target: Result, what: int, clause: str) -> None:
        """Put down what is done to an object, and tell of it where no pickler would do it now.

        A pickler adds items or sets keys, and sets the state last.
        """
        if target.done & (SETTLED if what == SETTLED else ~what):
            self.note(clause)
        target.done |= what

    def look_up(self, module: str, name: str) -> Global:
        """Give the global of a name, and tell of it."""
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
"""What to do at a call of a global; gives what the call gives."""


def _makes_objects(module: str, name: str) -> bool:
    """Return whether what a name gives is certainly neither a text nor a class."""
    if not is_listed(module, name):
        return False
    start = name.lstrip("_")[:1]
    return start.isupper() or name in _MAKERS or name.startswith("__pyx_unpickle_")
