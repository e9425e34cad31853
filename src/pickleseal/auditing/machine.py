"""A walk that does with a pickle what CPython's unpicklers do, save running anything.

What counts is what Modules/_pickle.c does, and Lib/pickle.py where that one goes on; callers may
also pass `encoding`, `buffers` or `persistent_load`. So the walk stops only where every one of
them stops, and the names it gives are a superset of what any of them would look up. Literals are
followed as far as a name or the size of an array can come to depend on them; all else is a kind.
"""

import re
import struct
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections.abc import Callable, Sequence
from enum import Enum, Flag
from typing import Any, NamedTuple, NoReturn, TypeAlias

from pickleseal.auditing.cursor import LINE_KEPT, Cursor, EndOfInput
from pickleseal.errors import shown

MAX_OPCODES = 30_000_000
MAX_HELD = 8_000_000
"""Entries of stack, marks and memo together."""
MAX_NAMES = 20_000
MAX_BEYOND = 200

_RECENT = 100_000  # the newest entries, which keep their literals whatever those take
_MEMO_TEXT = 64 << 20  # bytes that the literal texts of older ones may take
_SPARSE_COST = 40  # a far entry of the memo, text included, takes as much as so many near ones
_MARGIN = 320
_NEAR = frozenset(b"Cr\x6a\x8cGJ")
"""Opcodes that the loop does itself where it has _MARGIN bytes, which none of them exceeds."""
_TEXT_KEPT = 256
_NAME_KEPT = 1024
_TUPLE_KEPT = 16
_DICT_KEPT = 32
_GAP_KEPT = 64
_FAR = 1 << 64
_INT4 = struct.Struct("<i")
_UINT4 = struct.Struct("<I")
_MAX_SIZE = (1 << 63) - 1
_HIGHEST_PROTOCOL = 5


class Use(Flag):
    """What an unpickler does with a name."""

    LOOKED_UP = 1
    CALLED = 2
    """It is called: REDUCE, OBJ or INST."""
    MADE = 4
    """An object is made of it: NEWOBJ, NEWOBJ_EX or copyreg's ways of doing the same."""
    BUILT = 8
    """What it gave, or what was made of it, has its state set: BUILD."""


class Name(NamedTuple):
    """A name that is looked up, as the unpickler imports it."""

    module: str
    name: str
    uses: Use


class Trace(NamedTuple):
    """What unpickling a stream would do, as far as it can be told.

    `names` are without repeats, in order of first appearance. `beyond` tells of constructions
    that no data needs, one clause each. `fault` is why the walk ended before STOP, and `limited`
    that this was a bound of the walk's own. `ended` is true where STOP was reached. `protocol`
    is the highest that the stream declares. `wrapped_arrays` counts joblib's arrays that were
    passed over.
    """

    names: tuple[Name, ...]
    beyond: tuple[str, ...]
    fault: str | None
    limited: bool
    ended: bool
    opcodes: int
    protocol: int
    wrapped_arrays: int


def trace(cursor: Cursor, *, joblib: bool = False) -> Trace:
    """Follow one pickle from the cursor on; the cursor then stands right behind its STOP.

    `joblib`: read as `joblib.load` does, which takes an array's bytes out of the stream.
    """
    record = _Record()
    walk = _Walk(cursor, record, joblib=joblib)
    fault, limited = None, False
    try:
        walk.run()
    except _Fault as found:
        fault, limited = f"at byte {cursor.position}: {found}", found.limited
    except EndOfInput:
        fault = f"at byte {cursor.position}: it is cut off"
    names = tuple(Name(g.module, g.name, Use(g.uses)) for g in record.names.values())
    return Trace(
        names,
        tuple(record.beyond),
        fault,
        limited,
        fault is None,
        record.opcodes + walk.opcodes,
        record.protocol,
        record.arrays,
    )


class _Fault(Exception):  # noqa: N818 - a signal inside this room
    """No unpickler goes on from here, or the walk cannot."""

    def __init__(self, reason: str, *, limited: bool = False) -> None:
        super().__init__(reason)
        self.limited = limited


class _Kind(Enum):
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
_LIST, _SET, _NUMBER, _BYTES, _TUPLE = (
    _Kind.LIST, _Kind.SET, _Kind.NUMBER, _Kind.BYTES, _Kind.TUPLE,
)  # fmt: skip
_LONG_TEXT, _CODED_TEXT, _FORGOTTEN = _Kind.LONG_TEXT, _Kind.CODED_TEXT, _Kind.FORGOTTEN
_GIVEN, _COMPUTED, _NOTHING = _Kind.GIVEN, _Kind.COMPUTED, _Kind.NOTHING

_LOOKED_UP, _CALLED, _MADE, _BUILT = (use.value for use in Use)


class _Global:
    """What a name stands for; there is one for each name of a trace."""

    __slots__ = ("module", "name", "path", "result", "special", "uses")

    def __init__(self, module: str, name: str) -> None:
        self.module = module
        self.name = name
        self.path = f"{module}.{name}"
        self.uses: int = _LOOKED_UP
        self.result = _Result(self)
        self.special: _Special | None = _SPECIAL.get((module, name)) or _HELPERS.get(name)


class _Result:
    """What calling a global gave, or what was made of it."""

    __slots__ = ("of",)

    def __init__(self, of: _Global) -> None:
        self.of = of


class _Dict:
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
        if type(key) is str:
            if _is_dunder(key) and key not in _HARMLESS and len(self.dunders) < _DICT_KEPT:
                self.dunders += (key,)
            if len(self.items) < _DICT_KEPT or key in self.items:
                self.items[key] = _inner(value)
            else:
                self.whole = False
            return
        self.whole = False
        if type(key) is _Result or key is _CODED_TEXT or key is _FORGOTTEN:
            self.computed = True


class _Dtype:
    """A numpy.dtype: the size of an item in bytes, and whether items are objects; None: unknown."""

    __slots__ = ("code", "has_object", "of", "size")

    def __init__(self, of: _Global, code: str, size: int | None, *, has_object: bool) -> None:
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


class _Wrapper:
    """A joblib.numpy_pickle.NumpyArrayWrapper, whose array follows when its state is set."""

    __slots__ = ("fields", "of", "whole")

    def __init__(self, of: _Global, fields: dict[str, object]) -> None:
        self.of = of
        self.fields = fields
        self.whole = True


_MADE_THINGS = frozenset({_Result, _Dtype, _Wrapper})
_DEEP = frozenset({tuple, _Dict, _Wrapper})
_TEXT_TYPE = frozenset({str})
_FIXED = frozenset({str, int, bool, type(None), tuple})
"""Literals that no item can be added to."""
_TRIMMED = frozenset({str, tuple, _Dict, _Wrapper})
"""What takes memory, and is let go of where it lies far back."""

_HARMLESS = frozenset({
    "__orig_class__", "__wrapped__", "__doc__", "__name__", "__qualname__", "__module__",
    "__annotations__", "__version__",
})  # fmt: skip
"""Attributes that ordinary objects carry in their state and Python runs nothing for."""

_DICT_MAKERS = frozenset({
    ("builtins", "dict"), ("collections", "OrderedDict"), ("collections", "defaultdict"),
    ("collections", "Counter"),
})  # fmt: skip

_WRAPPERS = frozenset(
    {
        "joblib.numpy_pickle.NumpyArrayWrapper",
        "sklearn.externals.joblib.numpy_pickle.NumpyArrayWrapper",
    }
)
_COMPANIONS = frozenset(
    f"{package}joblib.{module}.{name}"
    for package in ("", "sklearn.externals.")
    for module in ("numpy_pickle", "numpy_pickle_compat")
    for name in ("NDArrayWrapper", "ZNDArrayWrapper")
)
_WRAPPER_FIELDS = (
    "subclass", "shape", "order", "dtype", "allow_mmap", "numpy_array_alignment_bytes",
)  # fmt: skip
_DTYPE = re.compile(r"[<>=|]?([biufcmMOSUV])([0-9]{1,9})\Z")


def _is_dunder(name: str) -> bool:
    return name[:2] == "__" and name[-2:] == "__"


def _inner(value: object) -> object:
    """Give what a container keeps of a value, so that no chain of them grows long."""
    if type(value) is tuple:
        return value if _is_flat(value) else _TUPLE
    return _FORGOTTEN if type(value) in _DEEP else value


def _is_flat(value: tuple[object, ...]) -> bool:
    return _DEEP.isdisjoint(map(type, value))


def _tuple(items: list[object]) -> object:
    if len(items) > _TUPLE_KEPT:
        return _TUPLE
    for item in items:
        if type(item) is tuple and not _is_flat(item):
            return tuple([_TUPLE if type(i) is tuple and not _is_flat(i) else i for i in items])
    return tuple(items)


class _Record:
    """What a trace has come upon; an array of objects adds to that of the stream around it."""

    __slots__ = ("arrays", "beyond", "names", "opcodes", "protocol")

    def __init__(self) -> None:
        self.names: dict[tuple[str, str], _Global] = {}
        self.beyond: dict[str, None] = {}
        self.opcodes = 0
        self.protocol = 0
        self.arrays = 0

    def note(self, clause: str) -> None:
        """Tell of a construction that no data needs."""
        if len(self.beyond) < MAX_BEYOND:
            self.beyond[clause] = None
        else:
            self.beyond["it does more of such"] = None

    def look_up(self, module: str, name: str) -> _Global:
        """Give the global of a name, and tell of it."""
        found = self.names.get((module, name))
        if found is None:
            if len(self.names) >= MAX_NAMES:
                raise _Fault(f"it looks up more than {MAX_NAMES} names", limited=True)
            found = self.names[module, name] = _Global(module, name)
            if "." in name:
                self.note(f"it looks up the dotted name {shown(module)}.{shown(name)}")
        return found


class _Memo:
    """What the stream puts away, by its index: a list, and a dict for what is far off."""

    __slots__ = ("dense", "far", "holes", "regular", "text", "trimmed")

    def __init__(self) -> None:
        self.dense: list[object] = []
        self.far: dict[int, object] = {}
        self.holes = 0
        self.regular = True
        self.trimmed = 0
        self.text = 0

    def put(self, index: int, value: object) -> None:
        dense = self.dense
        gap = index - len(dense)
        if gap < 0:
            self.holes -= dense[index] is _NOTHING
            dense[index] = _FORGOTTEN if index < self.trimmed and type(value) in _TRIMMED else value
        elif gap <= _GAP_KEPT and not self.far:
            dense.extend([_NOTHING] * gap)
            self.holes += gap
            dense.append(value)
        else:
            self.far[index] = value
        self.regular = not self.holes and not self.far

    def memoize(self, value: object) -> None:
        """Put it where MEMOIZE does: at the number of entries, which may be taken."""
        self.put(len(self.dense) - self.holes + len(self.far), value)

    def get(self, index: int) -> object:
        value = self.dense[index] if 0 <= index < len(self.dense) else self.far.get(index, _NOTHING)
        if value is _NOTHING:
            raise _Fault(f"it asks for entry {index} of its memo, which it never filled")
        return value

    def trim(self) -> None:
        """Let go of literals that were put away long ago: containers, and texts over a bound."""
        dense = self.dense
        for index in range(self.trimmed, len(dense) - _RECENT):
            value = dense[index]
            if type(value) is str:
                self.text += len(value) + 60
                if self.text > _MEMO_TEXT:
                    dense[index] = _FORGOTTEN
            elif type(value) in _TRIMMED:
                dense[index] = _FORGOTTEN
            self.trimmed = index + 1


class _Walk:
    """One stream: its stack, marks and memo, and where its frame ends."""

    def __init__(self, cursor: Cursor, record: _Record, *, joblib: bool) -> None:
        self.cursor = cursor
        self.record = record
        self.joblib = joblib
        self.stack: list[object] = []
        self.marks = [0]  # the first is the bottom of the stack, and no mark
        self.memo = _Memo()
        self.opcodes = 0
        self.protocol = 0
        self.frame_end = _FAR
        self.held = b""
        self.moved = False
        self.checked = 0
        self.trimmed = 0

    def run(self) -> object:  # noqa: PLR0915 - one loop, and a call would cost as much as an opcode
        """Go on to behind STOP and give what is unpickled, or raise _Fault or EndOfInput."""
        # This loop is where an audit spends its time. The opcodes that fitted models are mostly
        # made of are done on the spot, the rest by two tables of functions. An iterator that is
        # told where to go on costs half as much as an index that is counted up.
        cursor, stack, marks, memo = self.cursor, self.stack, self.marks, self.memo
        int4, uint4 = _INT4.unpack_from, _UINT4.unpack_from
        dense, working = memo.dense, _WORKING_JOBLIB if self.joblib else _WORKING
        while True:
            data = self._window()
            start, size, number = cursor.at, len(data), self.opcodes
            codes: Any = iter(data)
            left, go_to = codes.__length_hint__, codes.__setstate__
            try:
                for number, code in enumerate(codes, self.opcodes + 1):  # noqa: B007
                    if code == 0x68:  # BINGET
                        index = next(codes)
                        value = dense[index] if index < len(dense) else _NOTHING
                        stack.append(memo.get(index) if value is _NOTHING else value)
                    elif code == 0x94:  # MEMOIZE
                        if len(stack) <= marks[-1]:
                            self.underflow()
                        if memo.regular:
                            dense.append(stack[-1])
                        else:
                            memo.memoize(stack[-1])
                    elif code == 0x4B:  # BININT1
                        stack.append(next(codes))
                    elif (work := working[code]) is not None:
                        work(self)
                    elif code == 0x28:  # MARK
                        marks.append(len(stack))
                    elif code == 0x71:  # BINPUT
                        index = next(codes)
                        if index == len(dense) and memo.regular and len(stack) > marks[-1]:
                            dense.append(stack[-1])
                        else:
                            self.put(index)
                    elif code in _NEAR and (at := size - left()) + _MARGIN <= size:
                        if code == 0x8C:  # SHORT_BINUNICODE
                            end = at + 1 + data[at]
                            stack.append(str(data[at + 1 : end], "utf-8", "surrogatepass"))
                            go_to(end)
                        elif code == 0x72:  # LONG_BINPUT
                            (index,) = uint4(data, at)
                            if index == len(dense) and memo.regular and len(stack) > marks[-1]:
                                dense.append(stack[-1])
                            else:
                                self.put(index)
                            go_to(at + 4)
                        elif code == 0x6A:  # LONG_BINGET
                            (index,) = uint4(data, at)
                            value = dense[index] if index < len(dense) else _NOTHING
                            stack.append(memo.get(index) if value is _NOTHING else value)
                            go_to(at + 4)
                        elif code == 0x43:  # SHORT_BINBYTES
                            stack.append(_BYTES)
                            go_to(at + 1 + data[at])
                        elif code == 0x47:  # BINFLOAT
                            stack.append(_NUMBER)
                            go_to(at + 8)
                        else:  # BININT
                            stack.append(int4(data, at)[0])
                            go_to(at + 4)
                    elif code == 0x2E:  # STOP
                        value = self.pop()
                        cursor.at = start + size - left()
                        if self.frame_end not in (_FAR, cursor.position):
                            self.note_misfit()
                        return value
                    else:
                        cursor.at = start + size - left()
                        _READING[code](self)
                        at = cursor.at - start
                        if cursor.data is not self.held or self.moved or at > size:
                            break
                        go_to(at)
                else:
                    cursor.at = start + size
            except StopIteration:
                # The last byte is an opcode whose argument is not at hand.
                number -= 1
                cursor.at = start + size - 1
                if cursor.position + 1 == self.frame_end:
                    self.note_misfit()
                elif cursor.fill(2) < 2:
                    raise EndOfInput from None
            except UnicodeDecodeError:
                cursor.at = start + size - left()
                raise _Fault("its text is no UTF-8") from None
            except EndOfInput:
                if cursor.position + len(cursor.data) - cursor.at > self.frame_end:
                    self.note_misfit()
                raise
            except _Fault:
                if cursor.data is self.held:
                    cursor.at = max(cursor.at, start + size - left())
                if cursor.position > self.frame_end:
                    self.note_misfit()
                raise
            finally:
                self.opcodes = number

    def _window(self) -> bytes:
        """Give what is at hand from the cursor on, up to where a frame ends."""
        cursor = self.cursor
        self._check_bounds()
        if cursor.position > self.frame_end:
            self.note_misfit()
        if cursor.position == self.frame_end:
            self.frame_end = _FAR
        if not cursor.fill(_MARGIN):
            raise EndOfInput
        self.moved = False
        self.held = cursor.data
        return cursor.data[cursor.at : cursor.at + self.frame_end - cursor.position]

    def note_misfit(self) -> None:
        # An unpickler that reads from a file may then leave bytes out, another stop.
        self.record.note("its frames and its opcodes do not fit, so that readers differ")
        self.frame_end = _FAR

    def _check_bounds(self) -> None:
        memo, stack = self.memo, self.stack
        if self.record.opcodes + self.opcodes >= MAX_OPCODES:
            raise _Fault(f"it has more than {MAX_OPCODES} opcodes", limited=True)
        held = len(stack) + len(self.marks) + len(memo.dense) + _SPARSE_COST * len(memo.far)
        if held > MAX_HELD:
            raise _Fault(f"it holds more than {MAX_HELD} values at once", limited=True)
        memo.trim()
        # What was pushed since the last look may lie below where that one came to.
        since = self.opcodes - self.checked
        self.checked = self.opcodes
        for index in range(max(min(self.trimmed, len(stack)) - since, 0), len(stack) - _RECENT):
            if type(stack[index]) in _TRIMMED:
                stack[index] = _FORGOTTEN
            self.trimmed = index + 1

    # -- stack and marks

    def underflow(self) -> NoReturn:
        raise _Fault("it takes more from its stack than is on it")

    def need(self, count: int) -> None:
        if len(self.stack) - count < self.marks[-1]:
            self.underflow()

    def pop(self) -> object:
        self.need(1)
        return self.stack.pop()

    def pop_mark(self) -> list[object]:
        if len(self.marks) == 1:
            raise _Fault("it looks for a mark that it never made")
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def put(self, index: int) -> None:
        stack, memo = self.stack, self.memo
        if len(stack) <= self.marks[-1]:
            self.underflow()
        if index == len(memo.dense) and memo.regular:
            memo.dense.append(stack[-1])
        else:
            memo.put(index, stack[-1])

    # -- names

    def look_up(self, module: object, name: object) -> object:
        """Give what an unpickler looks up for a module and a name that the stream gives."""
        if type(module) is str and type(name) is str:
            if self.protocol < 3:
                module, name = _python_3_name(module, name)
            return self.record.look_up(module, name)
        for part in (module, name):
            if part is _FORGOTTEN:
                raise _Fault("it looks up a name that stands too far back", limited=True)
            if part is _LONG_TEXT:
                self.record.note(f"it looks up a name of more than {_TEXT_KEPT} bytes")
            elif part is _CODED_TEXT:
                self.record.note("it looks up a name whose spelling depends on the reader")
            elif type(part) in _MADE_THINGS or part is _GIVEN or part is _COMPUTED:
                self.record.note("it looks up a name that it computes")
            elif type(part) is not str:
                raise _Fault("it looks up a name that is no text")
        return _COMPUTED

    # -- calls

    def call(self, function: object, args: object, use: int = _CALLED) -> object:
        """Give what calling `function`, or making an object of it, gives."""
        if type(function) is _Global:
            function.uses |= use
            if function.special is not None:
                return function.special(self, function, args if type(args) is tuple else None)
            if function.path in _WRAPPERS:
                fields = zip(_WRAPPER_FIELDS, args, strict=False) if type(args) is tuple else ()
                return _Wrapper(function, dict(fields) if use == _CALLED else {})
            return function.result
        if type(function) in _MADE_THINGS:
            self.record.note("it calls what another call gave")
            return _COMPUTED
        if function is _GIVEN:
            self.record.note("it calls what the reader's caller gives for an id")
            return _COMPUTED
        if function is _COMPUTED:
            self.record.note("it calls what a computed name or an extension code stands for")
            return _COMPUTED
        if function is _FORGOTTEN:
            raise _Fault("it calls what stands too far back", limited=True)
        raise _Fault("it calls what is data")

    def build(self, target: object, state: object) -> None:
        """Set the state of what stands on the stack."""
        if type(target) is _Global or target is _COMPUTED:
            self.record.note("it sets the state of a class, module or function")
        attributes, slots = state, None
        if type(state) is tuple and len(state) == 2:
            attributes, slots = state
            if type(slots) is _Result and (slots.of.module, slots.of.name) in _DICT_MAKERS:
                self.record.note("it sets attributes whose names it computes")
        for part in (attributes, slots):
            if part is _FORGOTTEN:
                raise _Fault("it sets a state that stands too far back", limited=True)
            if type(part) is _Dict:
                for key in part.dunders:
                    self.record.note(f"it sets the attribute {shown(key)}")
                if part.computed:
                    self.record.note("it sets an attribute whose name it computes")
        if type(target) is _Result:
            target.of.uses |= _BUILT
        elif type(target) is _Dtype:
            target.of.uses |= _BUILT
            target.set_state(state)
        elif type(target) is _Wrapper:
            target.of.uses |= _BUILT
            for part in (attributes, slots):
                if type(part) is _Dict and part.whole:
                    target.fields.update(part.items)
                elif part is not None:
                    target.whole = False

    def note_items(self, target: object) -> None:
        """Look at what items are added to; data that can take none stops every unpickler."""
        if type(target) is _Global or target is _COMPUTED:
            self.record.note("it adds items to a class, module or function")
        elif type(target) in _FIXED or target is _NUMBER:
            raise _Fault("it adds items to what takes none")

    # -- joblib

    def pass_array(self, wrapper: _Wrapper) -> object:
        """Pass over the array that joblib keeps behind a wrapper's state; give what it becomes."""
        cursor, fields = self.cursor, wrapper.fields
        if self.frame_end not in (_FAR, cursor.position):
            raise _Fault("joblib's array stands inside a frame")
        self.frame_end = _FAR
        if set(fields) - set(_WRAPPER_FIELDS):
            self.record.note("it sets other attributes of joblib's wrapper than joblib does")
            wrapper.whole = False
        dtype, shape = fields.get("dtype"), fields.get("shape")
        if not wrapper.whole or type(dtype) is not _Dtype or dtype.has_object is None:
            raise _Fault("the size of joblib's array cannot be told")
        self.record.arrays += 1
        if dtype.has_object:
            nested = _Walk(cursor, self.record, joblib=False)
            try:
                return nested.run()
            finally:
                self.record.opcodes += nested.opcodes
        size = _array_size(shape, dtype.size)
        if fields.get("numpy_array_alignment_bytes") is not None:
            cursor.skip(cursor.take(1)[0])
        cursor.skip(size)
        return _LIST  # like a list it can be added to, and not called


def _array_size(shape: object, item_size: int | None) -> int:
    """Give the size of an array in bytes, where joblib and numpy go on with it."""
    # An item of no size makes joblib divide by zero; a size out of range makes numpy overflow.
    if type(shape) is tuple and item_size:
        size = item_size
        for length in shape:
            if type(length) is not int or not 0 <= length <= _MAX_SIZE:
                break
            size *= length
        else:
            if size <= _MAX_SIZE:
                return size
    raise _Fault("the size of joblib's array cannot be told")


def _python_3_name(module: str, name: str) -> tuple[str, str]:
    if (module, name) in NAME_MAPPING:
        return NAME_MAPPING[module, name]
    return IMPORT_MAPPING.get(module, module), name


# -- literals


def _utf8(data: bytes) -> object:
    try:
        return str(data, "utf-8", "surrogatepass")
    except UnicodeDecodeError:
        raise _Fault("its text is no UTF-8") from None


def _coded(data: bytes) -> object:
    """Give a text of Python 2, which the reader's encoding spells."""
    if len(data) > _TEXT_KEPT:
        return _LONG_TEXT
    return data.decode("ascii") if data.isascii() else _CODED_TEXT


def _line_number(line: bytes, *, legacy_octal: bool) -> object:
    """Read an INT or LONG as C's strtol and PyLong_FromString do, or else as Python's int."""
    if len(line) > LINE_KEPT:
        return _NUMBER
    text = line.split(b"\0", 1)[0]
    if not text and line and legacy_octal:
        return 0
    try:
        return int(text, 0)
    except ValueError:
        if legacy_octal and re.fullmatch(rb"\s*[+-]?0[0-7]+", text):
            return int(text, 8)
    raise _Fault("its number is none")


def _memo_index(line: bytes) -> int:
    if line.isdigit() and len(line) < 20:
        return int(line)
    if len(line) > LINE_KEPT:
        raise _Fault("an index of its memo takes more than 64 KiB", limited=True)
    try:
        return int(line.split(b"\0", 1)[0])
    except ValueError:
        raise _Fault("an index of its memo is no number") from None


_ESCAPES = {
    b"a": b"\a", b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v",
    b"'": b"'", b'"': b'"', b"\\": b"\\", b"\n": b"",
}  # fmt: skip


def _unescape(match: re.Match[bytes]) -> bytes:
    hexadecimal, octal, other = match.groups()
    if hexadecimal is not None:
        return bytes.fromhex(hexadecimal.decode("ascii"))
    if octal is not None:
        return bytes([int(octal, 8) & 0xFF])
    if other in (b"x", b""):
        raise _Fault("its text breaks off inside an escape")
    return _ESCAPES.get(other, b"\\" + other)


# -- opcodes that read an argument


def _read_counted(walk: _Walk, width: int, largest: int = _MAX_SIZE) -> int:
    size = int.from_bytes(walk.cursor.take(width), "little")
    if size > largest:
        raise _Fault("a size is out of range")
    return size


def _counted(width: int, value: object) -> Callable[[_Walk], None]:
    def read(walk: _Walk) -> None:
        walk.cursor.skip(_read_counted(walk, width))
        walk.stack.append(value)

    return read


def _unicode(width: int) -> Callable[[_Walk], None]:
    def read(walk: _Walk) -> None:
        size = _read_counted(walk, width)
        if size > _TEXT_KEPT:
            walk.cursor.skip(size)
            walk.stack.append(_LONG_TEXT)
        else:
            walk.stack.append(_utf8(walk.cursor.take(size)))

    return read


def _string(width: int) -> Callable[[_Walk], None]:
    def read(walk: _Walk) -> None:
        size = _read_counted(walk, width)
        if size > _TEXT_KEPT:
            walk.cursor.skip(size)
            walk.stack.append(_LONG_TEXT)
        else:
            walk.stack.append(_coded(walk.cursor.take(size)))

    return read


def _extension(width: int) -> Callable[[_Walk], None]:
    def read(walk: _Walk) -> None:
        code = int.from_bytes(walk.cursor.take(width), "little", signed=width == 4)
        if code <= 0:
            raise _Fault("an extension code is out of range")
        walk.record.note(f"it looks up extension code {code}")
        walk.stack.append(_COMPUTED)

    return read


def _fixed(width: int, value: object) -> Callable[[_Walk], None]:
    def read(walk: _Walk) -> None:
        walk.cursor.take(width)
        walk.stack.append(value)

    return read


def _short_unicode(walk: _Walk) -> None:
    size = walk.cursor.take(1)[0]
    walk.stack.append(_utf8(walk.cursor.take(size)))


def _binint(walk: _Walk) -> None:
    walk.stack.append(int.from_bytes(walk.cursor.take(4), "little", signed=True))


def _long_binget(walk: _Walk) -> None:
    walk.stack.append(walk.memo.get(int.from_bytes(walk.cursor.take(4), "little")))


def _long_binput(walk: _Walk) -> None:
    walk.put(int.from_bytes(walk.cursor.take(4), "little"))


def _binint2(walk: _Walk) -> None:
    walk.stack.append(int.from_bytes(walk.cursor.take(2), "little"))


def _long1(walk: _Walk) -> None:
    size = walk.cursor.take(1)[0]
    data = walk.cursor.take(size)
    walk.stack.append(int.from_bytes(data, "little", signed=True) if size <= 9 else _NUMBER)


def _long4(walk: _Walk) -> None:
    walk.cursor.skip(_read_counted(walk, 4, (1 << 31) - 1))
    walk.stack.append(_NUMBER)


def _int(walk: _Walk) -> None:
    walk.stack.append(_small(_line_number(walk.cursor.line(), legacy_octal=True)))


def _long(walk: _Walk) -> None:
    line = walk.cursor.line().removesuffix(b"L")
    walk.stack.append(_small(_line_number(line, legacy_octal=False)))


def _small(number: object) -> object:
    return number if type(number) is int and -_FAR < number < _FAR else _NUMBER


def _float(walk: _Walk) -> None:
    line = walk.cursor.line()
    if len(line) <= LINE_KEPT:
        try:
            float(line.split(b"\0", 1)[0])
        except ValueError:
            raise _Fault("its number is none") from None
    walk.stack.append(_NUMBER)


def _text_line(walk: _Walk) -> None:
    line = walk.cursor.line()
    if len(line) > LINE_KEPT:
        walk.stack.append(_LONG_TEXT)
        return
    try:
        text = line.decode("raw-unicode-escape")
    except UnicodeDecodeError:
        raise _Fault("its text breaks off inside an escape") from None
    walk.stack.append(text if len(text) <= _TEXT_KEPT else _LONG_TEXT)


def _string_line(walk: _Walk) -> None:
    line = walk.cursor.line()
    if len(line) > LINE_KEPT:
        walk.stack.append(_LONG_TEXT)
        return
    if len(line) < 2 or line[0] != line[-1] or line[0] not in b"'\"":
        raise _Fault("its string is not quoted")
    pattern = rb"\\(?:x([0-9a-fA-F]{2})|([0-7]{1,3})|(.?))"
    walk.stack.append(_coded(re.sub(pattern, _unescape, line[1:-1], flags=re.DOTALL)))


def _persid(walk: _Walk) -> None:
    if not walk.cursor.line().isascii():
        raise _Fault("a persistent id is not ASCII")
    walk.stack.append(_GIVEN)


def _name_line(walk: _Walk) -> bytes:
    cursor = walk.cursor
    try:
        line = cursor.line()
    except EndOfInput:
        # Python's own unpickler takes what is left for a line, and its last byte for the end.
        line = cursor.data[cursor.at : -1]
        cursor.skip(len(cursor.data) - cursor.at)
    if len(line) > _NAME_KEPT:
        raise _Fault(f"a name takes more than {_NAME_KEPT} bytes", limited=True)
    return line


def _read_name(walk: _Walk, encoding: str) -> object:
    try:
        module = _name_line(walk).decode(encoding)
        name = _name_line(walk).decode(encoding)
    except UnicodeDecodeError:
        raise _Fault("a name is not text") from None
    return walk.look_up(module, name)


def _global(walk: _Walk) -> None:
    walk.stack.append(_read_name(walk, "utf-8"))


def _inst(walk: _Walk) -> None:
    # Python's own unpickler looks the name up first, and misses a mark later.
    function = _read_name(walk, "ascii")
    args = _tuple(walk.pop_mark())
    walk.stack.append(walk.call(function, args))


def _get(walk: _Walk) -> None:
    walk.stack.append(walk.memo.get(_memo_index(walk.cursor.line())))


def _put(walk: _Walk) -> None:
    index = _memo_index(walk.cursor.line())
    if not 0 <= index <= _MAX_SIZE:
        raise _Fault("an index of its memo is out of range")
    walk.put(index)


def _proto(walk: _Walk) -> None:
    protocol = walk.cursor.take(1)[0]
    if protocol > _HIGHEST_PROTOCOL:
        raise _Fault(f"there is no protocol {protocol}")
    walk.protocol = protocol
    walk.record.protocol = max(walk.record.protocol, protocol)


def _frame(walk: _Walk) -> None:
    size = _read_counted(walk, 8)
    if walk.frame_end not in (_FAR, walk.cursor.position):
        walk.note_misfit()
    walk.frame_end = walk.cursor.position + size
    walk.moved = True


def _build_joblib(walk: _Walk) -> None:
    _build(walk)
    target = walk.stack[-1]
    if target is _FORGOTTEN:
        raise _Fault("it sets the state of what stands too far back", limited=True)
    if type(target) is _Wrapper:
        walk.stack[-1] = walk.pass_array(target)
        walk.moved = True
    elif type(target) is _Result and target.of.path in _COMPANIONS:
        walk.record.note("it loads another file, and the pickles in it")


def _unknown(walk: _Walk) -> None:
    code = walk.cursor.data[walk.cursor.at - 1]
    walk.cursor.at -= 1
    raise _Fault(f"there is no opcode {code:#04x}")


# -- opcodes that work on the stack alone


def _push(value: object) -> Callable[[_Walk], None]:
    def push(walk: _Walk) -> None:
        walk.stack.append(value)

    return push


def _empty_dict(walk: _Walk) -> None:
    walk.stack.append(_Dict())


def _collect(value: object) -> Callable[[_Walk], None]:
    def collect(walk: _Walk) -> None:
        walk.pop_mark()
        walk.stack.append(value)

    return collect


def _tuple_1(walk: _Walk) -> None:
    stack = walk.stack
    if len(stack) <= walk.marks[-1]:
        walk.underflow()
    stack[-1] = _tuple(stack[-1:]) if type(stack[-1]) is tuple else (stack[-1],)


def _tuple_2(walk: _Walk) -> None:
    stack = walk.stack
    if len(stack) - 1 <= walk.marks[-1]:
        walk.underflow()
    second, first = stack.pop(), stack[-1]
    deep = type(first) is tuple or type(second) is tuple
    stack[-1] = _tuple([first, second]) if deep else (first, second)


def _tuple_3(walk: _Walk) -> None:
    stack = walk.stack
    if len(stack) - 2 <= walk.marks[-1]:
        walk.underflow()
    third, second, first = stack.pop(), stack.pop(), stack[-1]
    deep = type(first) is tuple or type(second) is tuple or type(third) is tuple
    stack[-1] = _tuple([first, second, third]) if deep else (first, second, third)


def _marked_tuple(walk: _Walk) -> None:
    items = walk.pop_mark()
    walk.stack.append(_tuple(items))


def _pairs(target: object, items: Sequence[object]) -> None:
    if type(target) is not _Dict:
        return
    keys, values = items[::2], items[1::2]
    few = len(target.items) + len(keys) <= _DICT_KEPT
    # Nearly all dicts are of a few plain keys: those are seen and kept without a loop.
    if few and _TEXT_TYPE.issuperset(map(type, keys)) and "__" not in "\n".join(map(str, keys)):
        if not _DEEP.isdisjoint(map(type, values)):
            values = [_inner(value) for value in values]
        target.items.update(zip(map(str, keys), values, strict=False))
        return
    for key, value in zip(keys, values, strict=False):
        target.set(key, value)


def _dict(walk: _Walk) -> None:
    items = walk.pop_mark()
    made = _Dict()
    _pairs(made, items)
    walk.stack.append(made)


def _setitem(walk: _Walk) -> None:
    walk.need(3)
    stack = walk.stack
    value, key, target = stack.pop(), stack.pop(), stack[-1]
    if type(target) is _Dict:
        target.set(key, value)
    else:
        walk.note_items(target)


def _setitems(walk: _Walk) -> None:
    items = walk.pop_mark()
    walk.need(1)
    target = walk.stack[-1]
    if items:
        walk.note_items(target)
    _pairs(target, items)


def _append(walk: _Walk) -> None:
    walk.need(2)
    walk.stack.pop()
    if walk.stack[-1] is not _LIST:
        walk.note_items(walk.stack[-1])


def _add_marked(walk: _Walk) -> None:
    items = walk.pop_mark()
    walk.need(1)
    if items:
        walk.note_items(walk.stack[-1])


def _pop_one(walk: _Walk) -> None:
    if walk.marks[-1] == len(walk.stack) and len(walk.marks) > 1:
        walk.marks.pop()
    else:
        walk.pop()


def _pop_marked(walk: _Walk) -> None:
    walk.pop_mark()


def _dup(walk: _Walk) -> None:
    walk.need(1)
    walk.stack.append(walk.stack[-1])


def _stack_global(walk: _Walk) -> None:
    walk.need(2)
    name, module = walk.stack.pop(), walk.stack.pop()
    walk.stack.append(walk.look_up(module, name))


def _reduce(walk: _Walk) -> None:
    stack = walk.stack
    if len(stack) - 1 <= walk.marks[-1]:
        walk.underflow()
    args, function = stack.pop(), stack[-1]
    stack[-1] = walk.call(function, args)


def _build(walk: _Walk) -> None:
    stack = walk.stack
    if len(stack) - 1 <= walk.marks[-1]:
        walk.underflow()
    state = stack.pop()
    walk.build(stack[-1], state)


def _newobj(walk: _Walk) -> None:
    walk.need(2)
    args, function = walk.stack.pop(), walk.stack.pop()
    walk.stack.append(walk.call(function, args, _MADE))


def _newobj_ex(walk: _Walk) -> None:
    walk.need(3)
    _, args, function = walk.stack.pop(), walk.stack.pop(), walk.stack.pop()
    walk.stack.append(walk.call(function, args, _MADE))


def _obj(walk: _Walk) -> None:
    items = walk.pop_mark()
    if not items:
        walk.underflow()
    walk.stack.append(walk.call(items[0], _tuple(items[1:])))


def _binpersid(walk: _Walk) -> None:
    walk.pop()
    walk.stack.append(_GIVEN)


def _readonly_buffer(walk: _Walk) -> None:
    walk.need(1)
    value = walk.stack[-1]
    # A text of Python 2 is bytes where the reader's encoding is "bytes".
    if value is _LIST or (type(value) in _FIXED and type(value) is not str):
        raise _Fault("it takes data for a buffer that is none")


_READING: list[Callable[[_Walk], None]] = [_unknown] * 256
_WORKING: list[Callable[[_Walk], None] | None] = [None] * 256
for _code, _reader in {
    "I": _int, "L": _long, "F": _float, "S": _string_line, "V": _text_line, "P": _persid,
    "c": _global, "i": _inst, "g": _get, "p": _put, "b": _build_joblib,
    "\x8c": _short_unicode, "j": _long_binget, "r": _long_binput, "J": _binint, "M": _binint2,
    "G": _fixed(8, _NUMBER), "\x8a": _long1, "\x8b": _long4,
    "B": _counted(4, _BYTES), "C": _counted(1, _BYTES), "\x8e": _counted(8, _BYTES),
    "\x96": _counted(8, _BYTES), "X": _unicode(4), "\x8d": _unicode(8),
    "T": _string(4), "U": _string(1), "\x80": _proto, "\x95": _frame,
    "\x82": _extension(1), "\x83": _extension(2), "\x84": _extension(4),
}.items():  # fmt: skip
    _READING[ord(_code)] = _reader
for _code, _worker in {
    "N": _push(None), "\x88": _push(True), "\x89": _push(False), ")": _push(()),
    "]": _push(_LIST), "\x8f": _push(_SET), "}": _empty_dict, "\x97": _push(_BYTES),
    "\x98": _readonly_buffer, "l": _collect(_LIST), "\x91": _collect(_SET), "t": _marked_tuple,
    "\x85": _tuple_1, "\x86": _tuple_2, "\x87": _tuple_3, "d": _dict,
    "s": _setitem, "u": _setitems, "a": _append, "e": _add_marked, "\x90": _add_marked,
    "0": _pop_one, "1": _pop_marked, "2": _dup, "\x93": _stack_global, "R": _reduce, "b": _build,
    "\x81": _newobj, "\x92": _newobj_ex, "o": _obj, "Q": _binpersid,
}.items():  # fmt: skip
    _WORKING[ord(_code)] = _worker
_WORKING_JOBLIB = [None if worker is _build else worker for worker in _WORKING]
"""Setting a state makes joblib read on in the stream."""


# -- functions whose arguments tell what is looked up, made or computed

_Args: TypeAlias = tuple[object, ...] | None


def _call_getattr(walk: _Walk, function: _Global, args: _Args) -> object:
    name = args[1] if args is not None and len(args) > 1 else None
    if type(name) is not str:
        walk.record.note("it takes an attribute whose name it computes")
    elif _is_dunder(name):
        walk.record.note(f"it takes the attribute {shown(name)}")
    return function.result


def _call_first(walk: _Walk, function: _Global, args: _Args) -> object:
    """Make an object of the first argument, as copyreg's functions do."""
    if not args or type(args[0]) is not _Global:
        if args is None or not args or type(args[0]) in _MADE_THINGS or args[0] is _COMPUTED:
            walk.record.note("it makes an object of what another call gave")
        return function.result
    return walk.call(args[0], (), _MADE)


def _call_dtype(_: _Walk, function: _Global, args: _Args) -> object:
    found = None
    if args and type(args[0]) is str:
        found = _DTYPE.match(args[0])
    if found is None:
        return _Dtype(function, "?", None, has_object=False)
    code, size = found[1], int(found[2])
    return _Dtype(function, code, size * 4 if code == "U" else size, has_object=code == "O")


def _call_string_dtype(_: _Walk, function: _Global, __: _Args) -> object:
    return _Dtype(function, "T", None, has_object=True)


def _call_add_extension(walk: _Walk, function: _Global, args: _Args) -> object:
    walk.record.note("it registers an extension code")
    return _call_importer(walk, function, args)


def _call_importer(walk: _Walk, function: _Global, args: _Args) -> object:
    """Record what a function imports that takes a module and, it may be, a name in it."""
    texts = (args or ())[:2]
    if not texts or type(texts[0]) is not str or (len(texts) > 1 and type(texts[1]) is not str):
        if len(texts) > 1 and type(texts[0]) is str:
            walk.record.look_up(texts[0], "")
        walk.record.note("it imports what it computes")
        return function.result
    walk.record.look_up(texts[0], str(texts[1]) if len(texts) > 1 else "")
    return function.result


def _call_module_importer(walk: _Walk, function: _Global, args: _Args) -> object:
    """Record what a function imports that takes a module, and options."""
    return _call_importer(walk, function, args[:1] if args else args)


def _call_path_importer(walk: _Walk, function: _Global, args: _Args) -> object:
    """Record what a function imports that takes a dotted path or `module:name`."""
    if args and type(args[0]) is str:
        colon = ":" in args[0]
        module, _, name = args[0].partition(":") if colon else args[0].rpartition(".")
        return _call_importer(walk, function, (module or name, name if module else ""))
    return _call_importer(walk, function, None)


def _call_type_importer(walk: _Walk, function: _Global, args: _Args) -> object:
    """Record what cloudpickle takes from the module `types`."""
    return _call_importer(walk, function, ("types", *args[:1]) if args else None)


_Special: TypeAlias = Callable[[_Walk, _Global, _Args], object]
_SPECIAL: dict[tuple[str, str], _Special] = {
    ("builtins", "getattr"): _call_getattr,
    ("copyreg", "__newobj__"): _call_first,
    ("copyreg", "__newobj_ex__"): _call_first,
    ("copyreg", "_reconstructor"): _call_first,
    ("copyreg", "add_extension"): _call_add_extension,
    ("numpy", "dtype"): _call_dtype,
    ("numpy._core._internal", "_convert_to_stringdtype_kwargs"): _call_string_dtype,
    ("numpy.core", "_ufunc_reconstruct"): _call_importer,
    ("numpy._core", "_ufunc_reconstruct"): _call_importer,
    ("builtins", "__import__"): _call_module_importer,
    ("importlib", "__import__"): _call_module_importer,
    ("importlib", "import_module"): _call_module_importer,
    ("pkgutil", "resolve_name"): _call_path_importer,
    ("pydoc", "locate"): _call_path_importer,
}
_HELPERS: dict[str, _Special] = {  # wherever a package keeps its copy of cloudpickle, dill, uarray
    "subimport": _call_module_importer,
    "_getobject": _call_importer,
    "_builtin_type": _call_type_importer,
    "_import_module": _call_path_importer,
    "unpickle_function": _call_importer,
}
