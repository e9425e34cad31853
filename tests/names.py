"""The oracle for the sealed imports: which names an unpickler asks for, of a given stream."""

import copyreg
import io
import itertools
import pickle
from typing import Any


class _AnythingType(type):
    """Whatever an opcode does with an object, done to no effect."""

    def _nothing(cls, *args: Any, **keywords: Any) -> None:
        pass

    append = extend = add = __setitem__ = __setstate__ = _nothing

    def __call__(cls, *args: Any, **keywords: Any) -> Any:
        return Anything


class Anything(metaclass=_AnythingType):
    """Class, function and instance in one: it stands for all that a stream refers to."""

    def __new__(cls, *args: Any, **keywords: Any) -> Any:
        return Anything


class _Recorder(pickle.Unpickler):
    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file, buffers=itertools.repeat(b""))
        self.asked: set[tuple[str, str]] = set()

    def find_class(self, module: str, name: str) -> Any:
        self.asked.add((module, name))
        return Anything


def names_asked_for(stream: bytes | memoryview) -> set[tuple[str, str]]:
    """Unpickle a stream with nothing behind its names, and give those that were asked for."""
    # What an extension code was found to be is kept by copyreg, and then not asked for again.
    copyreg.clear_extension_cache()
    recorder = _Recorder(io.BytesIO(stream))
    recorder.load()
    copyreg.clear_extension_cache()
    return recorder.asked
