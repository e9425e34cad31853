"""Pickling and unpickling: the only importer of pickle and cloudpickle, and the one door.

`restore` is the only call that unpickles, and it takes a `Verified` payload, which only
`seal` makes. docs/reference/format.md, "Payload", is the rule.
"""

import contextlib
import copyreg
import functools
import hashlib
import operator
import pickle
import sys
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, cast

from pickleseal import opcodes
from pickleseal.errors import MalformedError, PolicyError, shown
from pickleseal.metadata import External
from pickleseal.seal import Verified

DEFAULT_PROTOCOL = pickle.DEFAULT_PROTOCOL
HIGHEST_PROTOCOL = pickle.HIGHEST_PROTOCOL
PickleError = pickle.PickleError
PicklingError = pickle.PicklingError
UnpicklingError = pickle.UnpicklingError

OUT_OF_BAND_SIZE = 64 << 10
"""A buffer of at least so many bytes gets a segment of its own; a smaller one stays in the stream.

100 000 arrays of 24 bytes, each with a segment, would take several times as long."""

_MAX_SEGMENTS = 1 << 16
_OUT_OF_BAND_PROTOCOL = 5
_NAMED_BY_WALK_PROTOCOL = 3

Names = frozenset[tuple[str, str]]
BufferCallback = Callable[[pickle.PickleBuffer], Any]


class Pickled(NamedTuple):
    """An object as bytes: the stream, the buffers beside it, and what both refer to."""

    stream: memoryview
    buffers: list[memoryview]
    names: Names
    external: External | None


def dump(
    obj: object,
    *,
    protocol: int | None,
    fix_imports: bool,
    buffer_callback: BufferCallback | None,
    pickler: str,
) -> Pickled:
    """Pickle an object, its large buffers beside the stream and uncopied.

    `protocol`: 0 to 5, None for 5, -1 for the highest. A buffer that the caller's
    `buffer_callback` takes is left out and bound (`Pickled.external`); with one given, all
    that it does not take stays in the stream, as pickle has it. `pickler`: "pickle" or
    "cloudpickle". What the object's own code raises passes through.
    """
    if protocol is None:
        protocol = _OUT_OF_BAND_PROTOCOL
    if protocol < 0:
        protocol = HIGHEST_PROTOCOL
    if pickler not in _PICKLERS:
        raise ValueError(f"pickler must be one of {', '.join(_PICKLERS)}, not {pickler!r}")
    file = _Sink()
    taken = _Taken() if buffer_callback is None else _TakenByCaller(buffer_callback)
    # pickle itself refuses a callback of the caller's with an old protocol.
    beside = protocol >= _OUT_OF_BAND_PROTOCOL or buffer_callback is not None
    writer = _PICKLERS[pickler]()(
        file, protocol, fix_imports=fix_imports, buffer_callback=taken.take if beside else None
    )
    writer.dump(obj)
    stream = memoryview(file.data)
    names = frozenset(writer.names)
    if protocol <= _NAMED_BY_WALK_PROTOCOL:
        # Old protocols spell names in ways of their own; the stream tells. But where copyreg
        # has a code for a name it holds only that, and a load asks for the name behind it.
        coded = copyreg._extension_registry.keys()  # type: ignore[attr-defined]  # noqa: SLF001
        names = opcodes.global_names(stream) | (names & coded)
    return Pickled(stream, taken.buffers, names, taken.external())


def restore(
    payload: Verified,
    *,
    fix_imports: bool,
    encoding: str,
    errors: str,
    buffers: Iterable[Any] | None,
) -> Any:  # noqa: ANN401 - what was pickled
    """Unpickle a verified payload, the only way that pickleseal ever unpickles.

    The keywords are pickle's. Raises PolicyError for a name that the sealed imports do not
    list, or for `buffers` other than those bound; MalformedError where the stream or a
    buffer is left over; what a class raises passes through.
    """
    head = payload.head
    if head.metadata.content != "pickle":
        raise PolicyError(
            f"its content is {shown(head.metadata.content)}, which is not loaded as a pickle"
        )
    source: Sequence[Any] = payload.buffers
    if head.metadata.external is not None:
        source = _checked_external(head.metadata.external, buffers)
    left = iter(source)
    reader = _Reader(payload.stream)
    unpickler = _Unpickler(
        cast("Any", reader),  # its views are bytes-like, which is all the unpickler needs
        fix_imports=fix_imports,
        encoding=encoding,
        errors=errors,
        buffers=left,
    )
    if head.metadata.imports is not None:
        unpickler.allowed = frozenset(head.metadata.imports)
    obj = unpickler.load()
    if reader.position != len(payload.stream):
        raise MalformedError(
            f"{len(payload.stream) - reader.position} bytes follow the end of the pickle"
        )
    if next(left, None) is not None:
        raise MalformedError("the pickle does not use all of its buffers")
    return obj


class _Sink:
    """The file that the pickler writes its stream to.

    Not a BytesIO: where the garbage collector finds one with a view on it, as it does after
    an error whose traceback holds both, CPython up to 3.12 at least crashes.
    """

    __slots__ = ("data", "write")

    def __init__(self) -> None:
        self.data = bytearray()
        self.write = self.data.extend


class _Taken:
    """The buffers that get a segment of their own."""

    def __init__(self) -> None:
        self.buffers: list[memoryview] = []

    def take(self, buffer: pickle.PickleBuffer) -> bool:
        view = buffer.raw()
        if view.nbytes < OUT_OF_BAND_SIZE or len(self.buffers) == _MAX_SEGMENTS - 1:
            return True
        self.buffers.append(view)
        return False

    def external(self) -> External | None:
        return None


class _TakenByCaller:
    """The buffers that the caller's own callback takes out: hashed as they go."""

    def __init__(self, callback: BufferCallback) -> None:
        self.buffers: list[memoryview] = []
        self._callback = callback
        self._binding = _Binding()

    def take(self, buffer: pickle.PickleBuffer) -> Any:  # noqa: ANN401 - whatever the caller's gives
        with buffer.raw() as view:
            answer = self._callback(buffer)
            if not answer:
                self._binding.add(view)
        return answer

    def external(self) -> External | None:
        return self._binding.external() if self._binding.count else None


class _Binding:
    """The digest that binds external buffers, one after another."""

    def __init__(self) -> None:
        self.count = 0
        self._size = 0
        self._digest = hashlib.sha256()

    def add(self, view: memoryview) -> None:
        self.count += 1
        self._size += view.nbytes
        self._digest.update(view.nbytes.to_bytes(8, "little"))
        self._digest.update(hashlib.sha256(view).digest())

    def external(self) -> External:
        return External(self.count, self._size, self._digest.hexdigest())


def _checked_external(external: External, buffers: Iterable[Any] | None) -> list[Any]:
    """Give the caller's buffers as a list, if they are those that were bound."""
    if buffers is None:
        raise PolicyError(
            f"it was sealed with {external.buffers} buffers kept outside of it: pass buffers="
        )
    given = list(buffers)
    binding = _Binding()
    for item in given:
        with pickle.PickleBuffer(item).raw() as view:
            binding.add(view)
    if binding.external() != external:
        raise PolicyError(
            f"the buffers given are not the {external.buffers} that it was sealed with"
        )
    return given


class _Reader:
    """The stream as a file for the unpickler, as fast as pickle.loads.

    The unpickler asks `peek` for what it may read ahead; it gets all that is left, works on
    that memory, and at the end reads what it has used.
    """

    __slots__ = ("_view", "position")

    def __init__(self, view: memoryview) -> None:
        self._view = view
        self.position = 0

    def peek(self, size: int) -> memoryview:  # noqa: ARG002 - more than asked for is allowed
        return self._view[self.position :]

    def read(self, size: int) -> memoryview:
        data = self._view[self.position : self.position + size]
        self.position += len(data)
        return data

    def readline(self) -> bytes:
        # Reached only where no line end is left: the unpickler finds the others by itself.
        return bytes(self.read(len(self._view)))

    def readinto(self, target: memoryview) -> int:
        data = self.read(len(target))
        target[: len(data)] = data
        return len(data)


class _Unpickler(pickle.Unpickler):
    allowed: Names | None = None

    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401 - as in pickle
        if self.allowed is not None and (module, name) not in self.allowed:
            raise PolicyError(
                f"it refers to {shown(module)}.{shown(name)}, which its sealed imports do not list"
            )
        return super().find_class(module, name)


_SINGLETON_TYPES = (type(None), type(NotImplemented), type(...))
"""Types that pickle does not write by their names, but as `type(None)` and so on."""


class _Pickler(pickle.Pickler):
    """A pickler that notes each name it writes, in the stream's own spelling.

    The C pickler calls `reducer_override` for each object that is no plain data. For most
    of them a name can only come from their class, which comes here itself; the reduce
    value of the others is asked for here, as the C pickler would, and looked at.
    """

    def __init__(
        self,
        file: _Sink,
        protocol: int,
        *,
        fix_imports: bool,
        buffer_callback: BufferCallback | None,
    ) -> None:
        super().__init__(file, protocol, fix_imports=fix_imports, buffer_callback=buffer_callback)
        self.names: set[tuple[str, str]] = set()
        self._protocol = protocol
        self._plain: set[type] = set()

    def reducer_override(self, obj: object) -> Any:  # noqa: ANN401 - a reduce value
        cls = type(obj)
        if cls in self._plain and "__reduce_ex__" not in getattr(obj, "__dict__", ()):
            return NotImplemented
        return _reduce(obj, cls, copyreg.dispatch_table, self._protocol, self.names, self._plain)


@functools.cache
def _cloudpickle_pickler() -> type[_Pickler]:
    import cloudpickle  # noqa: PLC0415 - only for those who ask for it

    class CloudPickler(cloudpickle.Pickler):  # type: ignore[misc,unused-ignore]
        """cloudpickle's pickler, its names noted in the same way."""

        def __init__(
            self,
            file: _Sink,
            protocol: int,
            *,
            fix_imports: bool,  # noqa: ARG002 - cloudpickle has no old names to fix
            buffer_callback: BufferCallback | None,
        ) -> None:
            super().__init__(file, protocol=protocol, buffer_callback=buffer_callback)
            self.names: set[tuple[str, str]] = set()
            self._protocol = protocol
            self._plain: set[type] = set()

        def reducer_override(self, obj: object) -> Any:  # noqa: ANN401 - a reduce value
            cls = type(obj)
            if cls in self._plain and "__reduce_ex__" not in getattr(obj, "__dict__", ()):
                return NotImplemented
            reduced = super().reducer_override(obj)
            if reduced is not NotImplemented:
                return reduced
            return _reduce(obj, cls, self.dispatch_table, self._protocol, self.names, self._plain)

    return CloudPickler  # type: ignore[return-value,unused-ignore]


_PICKLERS: Mapping[str, Callable[[], type[_Pickler]]] = {
    "pickle": lambda: _Pickler,
    "cloudpickle": _cloudpickle_pickler,
}


def _reduce(
    obj: Any,  # noqa: ANN401 - any object
    cls: type,
    dispatch_table: Mapping[type, Callable[[Any], Any]],
    protocol: int,
    names: set[tuple[str, str]],
    plain: set[type],
) -> Any:  # noqa: ANN401 - a reduce value
    """Do what the C pickler does next with an object, and note the name that comes of it.

    `save` in CPython's Modules/_pickle.c is the rule. Classes for which no name can come
    of it are added to `plain`.
    """
    reducer = None if cls in (type, types.FunctionType) else dispatch_table.get(cls)
    if reducer is not None:
        reduced = reducer(obj)
    elif cls is types.FunctionType or issubclass(cls, type):
        if cls is not type or obj not in _SINGLETON_TYPES:
            _note(obj, None, names)
        return NotImplemented
    elif (
        cls.__reduce_ex__ is object.__reduce_ex__
        and cls.__reduce__ is object.__reduce__
        and cls.__getattribute__ is object.__getattribute__
        # An object may have a method of its own, as no special method but this one may.
        and "__reduce_ex__" not in getattr(obj, "__dict__", ())
    ):
        plain.add(cls)
        return NotImplemented
    else:
        reduce_ex = getattr(obj, "__reduce_ex__", None)
        if reduce_ex is None:
            return NotImplemented  # the C pickler has an error or another way for it
        reduced = reduce_ex(protocol)
    if isinstance(reduced, str):
        _note(obj, reduced, names)
    return reduced


def _note(obj: Any, name: str | None, names: set[tuple[str, str]]) -> None:  # noqa: ANN401
    qualname: str = obj.__qualname__ if name is None else name
    module = pickle.whichmodule(obj, qualname)  # type: ignore[attr-defined]
    if not isinstance(module, str):
        return
    parent, _, last = qualname.rpartition(".")
    if parent:
        # A path that leads back to the module is written as its last step alone.
        within = sys.modules.get(module)
        with contextlib.suppress(AttributeError):
            if operator.attrgetter(parent)(within) is within:
                qualname = last
    names.add((module, qualname))
