"""Pickling: an object becomes a stream, the buffers beside it, and the names it refers to."""

import copyreg
import pickle
from collections.abc import Callable
from typing import Any, NamedTuple

from pickleseal.envelope.metadata import External
from pickleseal.errors import shown
from pickleseal.pickling import opcodes
from pickleseal.pickling.external import Binding
from pickleseal.pickling.lookup import CLOUDPICKLE_HINT
from pickleseal.pickling.recorder import Recorder

DEFAULT_PROTOCOL = pickle.DEFAULT_PROTOCOL
HIGHEST_PROTOCOL = pickle.HIGHEST_PROTOCOL
PickleError = pickle.PickleError
PicklingError = pickle.PicklingError

OUT_OF_BAND_SIZE = 64 << 10
"""The least size of a buffer, in bytes, that gets a segment of its own.

With a segment for each buffer, 100 000 arrays of 24 bytes would take several times as long."""

_MAX_SEGMENTS = 1 << 16
_OUT_OF_BAND_PROTOCOL = 5
_LAST_PROTOCOL_WITHOUT_STACK_GLOBAL = 3
_NOT_BY_NAME = ("<lambda>", "<locals>")

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
    """Pickle an object, with large buffers beside the stream and not copied.

    `protocol`: 0 to 5, None for 5, -1 for the highest. `pickler`: "pickle" or "cloudpickle".
    Buffers that the caller's `buffer_callback` takes are left out and bound (`Pickled.external`);
    all others then stay in the stream, as in pickle. What the object's own code raises passes
    through.
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
    buffers: list[memoryview] = []
    binding = Binding()

    def take(buffer: pickle.PickleBuffer) -> Any:  # noqa: ANN401 - whatever the caller's gives
        if buffer_callback is not None:
            with buffer.raw() as view:
                answer = buffer_callback(buffer)
                if not answer:
                    binding.add(view)
            return answer
        view = buffer.raw()
        if view.nbytes < OUT_OF_BAND_SIZE or len(buffers) == _MAX_SEGMENTS - 1:
            return True
        buffers.append(view)
        return False

    # pickle itself refuses a callback of the caller's with an old protocol.
    beside = protocol >= _OUT_OF_BAND_PROTOCOL or buffer_callback is not None
    writer, recorder = _WRITERS[pickler](
        file, protocol, fix_imports=fix_imports, buffer_callback=take if beside else None
    )
    try:
        writer.dump(obj)
    except (PicklingError, AttributeError) as error:
        if pickler == "pickle" and any(part in str(error) for part in _NOT_BY_NAME):
            error.add_note(CLOUDPICKLE_HINT)
        raise
    stream = memoryview(file.data)
    names = frozenset(recorder.names)
    if protocol <= _LAST_PROTOCOL_WITHOUT_STACK_GLOBAL:
        # Old protocols spell some names in their own way, so they are read from the stream. Where
        # copyreg has a code for a name, the stream has that alone, and a load asks for the name.
        coded = copyreg._extension_registry.keys()  # type: ignore[attr-defined]  # noqa: SLF001
        names = opcodes.global_names(stream) | (names & coded)
    return Pickled(stream, buffers, names, binding.external())


class _Sink:
    """The file that the pickler writes its stream to.

    Not a BytesIO: CPython up to 3.12 at least crashes when the garbage collector finds one with a
    view on it, as it does after an error whose traceback holds both.
    """

    __slots__ = ("data", "write")

    def __init__(self) -> None:
        self.data = bytearray()
        self.write = self.data.extend


class Pickler(pickle.Pickler):
    """The C pickler, whose `reducer_override` can be set."""


def _plain_writer(
    file: _Sink, protocol: int, *, fix_imports: bool, buffer_callback: BufferCallback | None
) -> tuple[pickle.Pickler, Recorder]:
    writer = Pickler(file, protocol, fix_imports=fix_imports, buffer_callback=buffer_callback)
    recorder = Recorder(protocol, copyreg.dispatch_table)
    writer.reducer_override = recorder.reduce  # type: ignore[method-assign]
    return writer, recorder


def _cloudpickle_writer(
    file: _Sink,
    protocol: int,
    *,
    fix_imports: bool,  # noqa: ARG001 - cloudpickle has no old names to fix
    buffer_callback: BufferCallback | None,
) -> tuple[pickle.Pickler, Recorder]:
    import cloudpickle  # noqa: PLC0415 - only for those who ask for it

    class Writer(cloudpickle.Pickler):  # type: ignore[misc,unused-ignore]
        def reducer_override(self, obj: Any) -> Any:  # noqa: ANN401 - any object
            reduced = super().reducer_override(obj)
            return recorder.reduce(obj) if reduced is NotImplemented else reduced

    writer = Writer(file, protocol=protocol, buffer_callback=buffer_callback)
    recorder = Recorder(protocol, writer.dispatch_table)
    return writer, recorder


_WRITERS = {"pickle": _plain_writer, "cloudpickle": _cloudpickle_writer}
