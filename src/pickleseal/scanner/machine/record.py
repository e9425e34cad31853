"""The record of a trace: the names that are looked up, and constructions that no data needs."""

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import TypeAlias

from pickleseal.scanner.machine.faults import Fault
from pickleseal.scanner.machine.values import (
    BYTES,
    CALLED,
    CODED_TEXT,
    COMPUTED,
    FILLED,
    FIXED,
    GIVEN,
    HASHED,
    HOLDER,
    LONG_TEXT,
    LOST,
    NUMBER,
    SETTLED,
    Args,
    Dict,
    Global,
    List,
    Result,
    Set,
    Wrapper,
    are_plain,
    keep,
    may_hold,
)
from pickleseal.scanner.names import is_listed, traits

MAX_NAMES = 20_000
MAX_BEYOND = 200
MAX_FIELDS = 4_000_000
"""The most keys of dicts that are kept one by one, such as the fields of dtypes."""
UNFINISHED = "it uses a dtype that has no state yet"

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
    `late`: an object was added to what another value holds already, so any value may hold it.
    `coded` is as in `Trace`. `given` counts values that only the reader's caller could supply:
    persistent objects and out-of-band buffers. `joblib`: the reader takes arrays out of the stream.
    `unfinished` counts the dtypes of records that have no state yet: nothing runs before that,
    which changes what was made of them.
    """

    __slots__ = (
        "_fields", "_plain", "_special", "arrays", "bare", "beyond", "coded", "given", "joblib",
        "late", "most", "names", "opcodes", "protocol", "unfinished", "wrappers",
    )  # fmt: skip

    def __init__(
        self,
        special: "Callable[[str, str], Special | None]",
        *,
        joblib: bool = False,
        bare: bool = False,
        most: int | None = None,
    ) -> None:
        self._special = special
        self._fields = 0
        self._plain: set[object] = set()
        self.joblib = joblib
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
        self.late = False
        self.unfinished = 0

    def keep_fields(self, number: int) -> None:
        """Count keys of a dict that are kept; raise Fault if they are too many."""
        self._fields += number
        if self._fields > MAX_FIELDS:
            raise Fault(f"its dtypes have over {MAX_FIELDS} fields", limited=True)

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

    def hand_out(self, identity: object) -> object:
        """Return what the reader's caller gives for a persistent id; note an object in one.

        The caller looks into it, may call a class that it names, as torch does before 1.11, and
        may give a part of it back.
        """
        parts = identity if type(identity) is tuple else (identity,)
        classes = [part for part in parts if type(part) is Global]
        if not self.are_data([part for part in parts if type(part) is not Global]):
            self.note("it passes an object to the reader's caller as a persistent id")
        # In its old format torch stores a class together with its source, and loads the class.
        if len(parts) > 1 and parts[0] == "module":
            return parts[1]
        for cls in classes:
            if not _is_storage(cls):
                cls.uses |= CALLED
        return GIVEN if all(map(_is_told, parts)) else COMPUTED

    def are_data(self, items: Sequence[object]) -> bool:
        """Return whether values are plain data, and mark them as kept."""
        return keep(items) and not (self.late and any(map(may_hold, items)))

    def hold(self, holder: "Result | List | Set | Dict", items: Sequence[object]) -> bool:
        """Return whether values are plain data, and note in their new holder if they are not."""
        if self.are_data(items):
            return True
        self.late = self.late or (holder.kept and holder.plain)
        holder.plain = False
        return False

    def hash(self, keys: Sequence[object]) -> None:
        """Record objects among keys and members, which are hashed and compared."""
        for key in keys:
            if type(key) is tuple:
                self.hash(key)
            elif type(key) is Result and (self.late or not key.plain):
                key.of.uses |= HASHED
            elif key is HOLDER or key is LOST:
                raise Fault("it hashes a value that is no longer tracked", limited=True)

    def note_done(self, target: Result, what: int, clause: str) -> None:
        """Record what is done to an object, and note it if no pickler would do it at this point.

        A pickler adds items or sets keys, and sets the state last.
        """
        if self.unfinished:
            self.note(UNFINISHED)
        if target.done & (SETTLED if what == SETTLED else ~what):
            self.note(clause)
        target.done |= what
        if what != SETTLED:
            target.of.uses |= FILLED

    def look_up(self, module: str, name: str) -> Global:
        """Return the global of a name, and record it."""
        found = self.names.get((module, name))
        if found is None:
            if len(self.names) >= MAX_NAMES:
                raise Fault(f"it looks up more than {MAX_NAMES} names", limited=True)
            known = len(module) + len(name) < _REMEMBERED
            makes_objects, plain, value = (_traits if known else _read_traits)(module, name)
            # What an unlisted name makes is no data anyway, or a ghost of a joblib file.
            plain = plain or (self.bare and not is_listed(module, name))
            found = self.names[module, name] = Global(
                module, name, makes_objects=makes_objects, plain=plain, value=value
            )
            special = self._special(module, name)
            if special is not None:
                found.special = partial(special, self, found)
                found.names = 2 if name.endswith(_TWO_NAMES) else 1
            if found.path in _WRAPPERS:
                self.wrappers.add(found)
                found.wraps = self.joblib
                found.old = (Wrapper(found, bare=False),) * 2
        return found


def _is_storage(cls: Global) -> bool:
    """Return whether a class stands for the type of numbers in a tensor of torch."""
    return cls.module.partition(".")[0] == "torch" and cls.name.endswith("Storage")


def _is_told(part: object) -> bool:
    """Return whether a part of a persistent id is a text, a number or such, or torch's storage."""
    if type(part) is tuple:
        return all(map(_is_told, part))
    if type(part) is Global:
        return _is_storage(part)
    return type(part) in FIXED or part in _SCALARS


_SCALARS = (NUMBER, BYTES, LONG_TEXT, CODED_TEXT)


Special: TypeAlias = Callable[[Record, Global, Args], object]
"""A handler for calls of a global; it returns the result of the call."""


_TWO_NAMES = ("_mareconstruct", "_reconstructor", "getattr", "KalmanSmoother")
"""Special functions whose first two arguments are names, or parts; others take one."""


def _read_traits(module: str, name: str) -> tuple[bool, bool, bool]:
    """Return whether results are certainly neither texts nor classes, and what is plain data."""
    is_class, plain, value = traits(module, name)
    start = name.lstrip("_")[:1]
    makes_objects = is_listed(module, name) and (
        is_class or name in _MAKERS or name.startswith("__pyx_unpickle_") or start.isupper()
    )
    return makes_objects, plain, value


_traits = lru_cache(maxsize=4096)(_read_traits)
_REMEMBERED = 200
"""The names of libraries are shorter. Files repeat them."""
