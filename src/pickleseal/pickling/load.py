"""Pickling and unpickling: the only importer of pickle and cloudpickle, and the one door.

`restore` is the only call that unpickles, and it takes a `Verified` payload, which only
`seal` makes. docs/reference/format.md, "Payload", is the rule.
"""

import contextlib
import copyreg
import hashlib
import io
import operator
import pickle
import sys
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from pickleseal.envelope import reader as opening
from pickleseal.envelope.metadata import External, Metadata
from pickleseal.envelope.seal import Verified
from pickleseal.errors import MalformedError, PolicyError, shown
from pickleseal.pickling import inflate, opcodes, versions
from pickleseal.pickling.names import Allowed, today_of

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
_LAST_PROTOCOL_OF_PYTHON_2 = 2

Names = frozenset[tuple[str, str]]
BufferCallback = Callable[[pickle.PickleBuffer], Any]
_DispatchTable = Mapping[type, Callable[[Any], Any]]


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
    if not hasattr(protocol, "__index__"):
        kind = type(protocol).__name__
        hint = ": compress= is a keyword" if kind == "str" else ""
        raise TypeError(f"protocol takes a whole number or None, not {kind}{hint}")
    if protocol < 0:
        protocol = HIGHEST_PROTOCOL
    if pickler not in _WRITERS:
        raise ValueError(
            f"pickler must be one of {', '.join(_WRITERS)}, not {shown(repr(pickler))}"
        )
    file = _Sink()
    taken = _Taken() if buffer_callback is None else _TakenByCaller(buffer_callback)
    # pickle itself refuses a callback of the caller's with an old protocol.
    beside = protocol >= _OUT_OF_BAND_PROTOCOL or buffer_callback is not None
    writer, recorder = _WRITERS[pickler](
        file, protocol, fix_imports=fix_imports, buffer_callback=taken.take if beside else None
    )
    try:
        writer.dump(obj)
    except (PicklingError, AttributeError) as error:
        if pickler == "pickle" and any(part in str(error) for part in _NOT_BY_NAME):
            error.add_note(_CLOUDPICKLE)
        raise
    stream = memoryview(file.data)
    names = frozenset(recorder.names)
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
    allow: Allowed | None = None,
) -> Any:  # noqa: ANN401 - what was pickled
    """Unpickle a verified payload, the only way that pickleseal ever unpickles.

    The keywords are pickle's, and `allow`: the names that it may refer to, None for any.
    Raises PolicyError for a name that the sealed imports do not list or `allow` does not have, or
    for `buffers` other than those bound; MalformedError where the stream or a buffer is left
    over; what a class raises passes through.
    """
    head = payload.head
    copyreg.clear_extension_cache()  # what is in it would be given without being asked for
    check = _name_check(head.metadata, allow)
    if head.metadata.content == "joblib":
        return _restore_joblib(payload, check)
    if head.metadata.content != "pickle":
        raise PolicyError("it is an inventory and no object: see pickleseal audit --baseline")
    stream, *beside = opening.segments(payload)
    source: Sequence[Any] = beside
    if head.metadata.external is not None:
        source = _checked_external(head.metadata.external, buffers)
    left = iter(source)
    reader: Any = _Reader(stream)  # its views are bytes-like, which is all the unpickler needs
    unpickler = _kind_for(stream, fix_imports=fix_imports)(
        reader,
        fix_imports=False,  # done by its find_class: what is looked up is what was checked
        encoding=encoding,
        errors=errors,
        buffers=left,
    )
    unpickler.check = check
    unpickler.metadata = head.metadata
    obj = unpickler.load()
    if reader.position != len(stream):
        raise MalformedError(f"{len(stream) - reader.position} bytes follow the end of the pickle")
    if next(left, None) is not None:
        raise MalformedError("the pickle does not use all of its buffers")
    return obj


_NOT_BY_NAME = ("<lambda>", "<locals>")
_CLOUDPICKLE = 'pickler="cloudpickle" saves lambdas, and what a script or notebook defines'


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


_find_class = pickle.Unpickler.find_class
_NameCheck = Callable[..., None]


def _note_on(
    error: ImportError | AttributeError, module: str, name: str, metadata: Metadata
) -> None:
    """Note on the error of a failed lookup which version the object was sealed with."""
    if module == "__main__":
        error.add_note(_CLOUDPICKLE)
        return
    # A module that is there may fail to import another one, of another package.
    missing = (isinstance(error, ImportError) and error.name) or module
    note = f"It asks for {module}.{name}: {versions.compared(missing, metadata.versions or {})}"
    if missing.partition(".")[0] == "pandas":
        note += f". {_OLD_PANDAS}"
    error.add_note(shown(note))


_OLD_PANDAS = (
    "pandas.read_pickle maps names of older versions to those of today, which signed_load does not"
    " do: let pickleseal extract check the seal and give the plain pickle, load that with"
    " pandas.read_pickle, and save it anew with signed_dump"
)


class _Unpickler(pickle.Unpickler):
    check: _NameCheck
    metadata: Metadata

    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401 - as in pickle
        self.check(module, name)
        return self.look_up(module, name)

    def look_up(self, module: str, name: str) -> Any:  # noqa: ANN401 - as in pickle
        try:
            return _find_class(self, module, name)
        except (ImportError, AttributeError) as error:
            _note_on(error, module, name, self.metadata)
            raise


class _UnpicklerOfPython2(_Unpickler):
    """One that looks up names of Python 2 as they are called today."""

    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401 - as in pickle
        self.check(module, name, of_python_2=True)
        return self.look_up(*today_of(module, name))


def _kind_for(start: bytes | memoryview, *, fix_imports: bool) -> type[_Unpickler]:
    """Give the unpickler for a stream that begins with these bytes, which tell its protocol."""
    old = fix_imports and opcodes.protocol_of(start) <= _LAST_PROTOCOL_OF_PYTHON_2
    return _UnpicklerOfPython2 if old else _Unpickler


def _name_check(metadata: Metadata, allow: Allowed | None) -> _NameCheck:
    """Give what refuses a name that a pickle asks for and may not have.

    `of_python_2`: the name is looked up as it is called today, so `allow` must have that name.
    """
    listed = None if metadata.imports is None else frozenset(metadata.imports)

    def check(module: str, name: str, *, of_python_2: bool = False) -> None:
        if listed is not None and (module, name) not in listed:
            raise PolicyError(
                f"it refers to {shown(module)}.{shown(name)}, which its sealed imports do not list"
            )
        wanted = today_of(module, name) if of_python_2 else (module, name)
        if allow is not None and not allow.has(*wanted):
            old = "" if wanted == (module, name) else f" (as Python 2 calls it {module}.{name})"
            raise PolicyError(
                f"it refers to {shown('.'.join(wanted) + old)}, which allow does not have"
            )

    return check


def _restore_joblib(payload: Verified, check: _NameCheck) -> Any:  # noqa: ANN401 - as restore
    """Load a file of joblib's from memory: unpacked by us, read by joblib."""
    packed, *beside = opening.segments(payload)
    if beside:
        raise MalformedError("joblib content has one segment")
    from joblib import numpy_pickle  # noqa: PLC0415 - only for files that were adopted

    metadata = payload.head.metadata
    data = inflate.expand(packed, metadata.raw_size or 0)
    file = io.BufferedReader(_Raw(data))

    class Unpickler(numpy_pickle.NumpyUnpickler):  # type: ignore[misc,unused-ignore]
        def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401 - as in pickle
            check(module, name, of_python_2=self.proto <= _LAST_PROTOCOL_OF_PYTHON_2)
            try:
                found = super().find_class(module, name)
            except (ImportError, AttributeError) as error:
                _note_on(error, module, name, metadata)
                raise
            return Wrapper if found is numpy_pickle.NumpyArrayWrapper else found

        def load_build(self) -> None:
            # joblib before 0.10 kept arrays in files beside, and this would load one by its name.
            if isinstance(self.stack[-2], numpy_pickle.NDArrayWrapper):
                raise PolicyError("it would load another file, which nobody sealed")
            super().load_build()

        dispatch = numpy_pickle.NumpyUnpickler.dispatch.copy()
        dispatch[pickle.BUILD[0]] = load_build

    class Wrapper(numpy_pickle.NumpyArrayWrapper):  # type: ignore[misc,unused-ignore]
        def read_array(self, unpickler: Any, *options: Any) -> Any:  # noqa: ANN401 - as in joblib
            if not self.dtype.hasobject:
                return super().read_array(unpickler, *options)
            # A pickle of its own, which joblib before 1.6 reads past our find_class.
            start = data[file.tell() :][:2]
            inner = _kind_for(start, fix_imports=True)(file, fix_imports=False)
            inner.check = check
            inner.metadata = metadata
            return inner.load()

    # joblib before 1.5 has no such argument.
    known = numpy_pickle.NumpyUnpickler.__init__.__code__.co_varnames
    options = {"ensure_native_byte_order": True} if "ensure_native_byte_order" in known else {}
    unpickler = Unpickler("", file, **options)
    obj = unpickler.load()
    # What it reads from is the rest of its last frame, and then the file.
    if unpickler.read(1):
        raise MalformedError("bytes follow the end of what joblib wrote")
    return obj


class _Raw(io.RawIOBase):
    """Memory as a file that nobody can write to, uncopied."""

    def __init__(self, data: bytes | memoryview) -> None:
        self._data = memoryview(data)
        self._position = 0

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def readinto(self, target: Any) -> int:  # noqa: ANN401 - any buffer
        piece = self._data[self._position : self._position + len(target)]
        target[: len(piece)] = piece
        self._position += len(piece)
        return len(piece)


_SINGLETON_TYPES = (type(None), type(NotImplemented), type(...))
"""Types that pickle does not write by their names, but as `type(None)` and so on."""


class _Pickler(pickle.Pickler):
    """The C pickler, with room for a `reducer_override` of ours."""


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


class _Recorder:
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


def _plain_writer(
    file: _Sink, protocol: int, *, fix_imports: bool, buffer_callback: BufferCallback | None
) -> tuple[pickle.Pickler, _Recorder]:
    writer = _Pickler(file, protocol, fix_imports=fix_imports, buffer_callback=buffer_callback)
    recorder = _Recorder(protocol, copyreg.dispatch_table)
    writer.reducer_override = recorder.reduce  # type: ignore[method-assign]
    return writer, recorder


def _cloudpickle_writer(
    file: _Sink,
    protocol: int,
    *,
    fix_imports: bool,  # noqa: ARG001 - cloudpickle has no old names to fix
    buffer_callback: BufferCallback | None,
) -> tuple[pickle.Pickler, _Recorder]:
    import cloudpickle  # noqa: PLC0415 - only for those who ask for it

    class Writer(cloudpickle.Pickler):  # type: ignore[misc,unused-ignore]
        def reducer_override(self, obj: Any) -> Any:  # noqa: ANN401 - any object
            reduced = super().reducer_override(obj)
            return recorder.reduce(obj) if reduced is NotImplemented else reduced

    writer = Writer(file, protocol=protocol, buffer_callback=buffer_callback)
    recorder = _Recorder(protocol, writer.dispatch_table)
    return writer, recorder


_WRITERS = {"pickle": _plain_writer, "cloudpickle": _cloudpickle_writer}
