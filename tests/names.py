"""The oracle for the sealed imports: which names an unpickler asks for, of a given stream."""

import copyreg
import io
import itertools
import pickle
from typing import Any


class _AnythingType(type):
    """Takes every act of an opcode on an object, to no effect."""

    def _nothing(cls, *args: Any, **keywords: Any) -> None:
        pass

    append = extend = add = __setitem__ = __setstate__ = _nothing

    def __call__(cls, *args: Any, **keywords: Any) -> Any:
        return Anything


class Anything(metaclass=_AnythingType):
    """Class, function and instance in one, in place of all that a stream refers to."""

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
    """Unpickle a stream with nothing behind its names, and return those that were asked for."""
    # copyreg caches what an extension code stands for, and does not ask for it again.
    copyreg.clear_extension_cache()
    recorder = _Recorder(io.BytesIO(stream))
    recorder.load()
    copyreg.clear_extension_cache()
    return recorder.asked
