"""Files that joblib wrote, adopted as they were: read from verified memory."""

import io
import pickle
from typing import Any

from pickleseal.envelope import reader
from pickleseal.envelope.seal import Verified
from pickleseal.errors import MalformedError, PolicyError
from pickleseal.pickling import inflate
from pickleseal.pickling.lookup import Lookup, Unpickler, is_of_python_2


def restore_joblib(payload: Verified, lookup: Lookup) -> Any:  # noqa: ANN401 - as restore
    """Unpickle verified joblib content: unpacked by us, read by joblib. For `restore` alone."""
    packed, *beside = reader.segments(payload)
    if beside:  # 8.5
        raise MalformedError("joblib content has one segment")
    from joblib import numpy_pickle  # noqa: PLC0415 - only for files that were adopted

    data = inflate.expand(packed, payload.head.metadata.raw_size or 0)
    file = io.BufferedReader(_RawView(data))

    class JoblibUnpickler(numpy_pickle.NumpyUnpickler):  # type: ignore[misc,unused-ignore]
        def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401 - as in pickle
            found = lookup.find(
                super().find_class, module, name, of_python_2=is_of_python_2(self.proto)
            )
            return Wrapper if found is numpy_pickle.NumpyArrayWrapper else found

        def load_build(self) -> None:
            # joblib before 0.10 kept arrays in files beside, and this would load one by its name.
            if isinstance(self.stack[-2], numpy_pickle.NDArrayWrapper):
                raise PolicyError("it would load another file, which is not sealed")
            super().load_build()

        dispatch = numpy_pickle.NumpyUnpickler.dispatch.copy()
        dispatch[pickle.BUILD[0]] = load_build

    class Wrapper(numpy_pickle.NumpyArrayWrapper):  # type: ignore[misc,unused-ignore]
        def read_array(self, unpickler: Any, *options: Any) -> Any:  # noqa: ANN401 - as in joblib
            if not self.dtype.hasobject:
                return super().read_array(unpickler, *options)
            # A pickle of its own, which joblib before 1.6 reads without our find_class.
            return Unpickler(file, data[file.tell() :][:2], lookup).load()

    # joblib before 1.5 has no such argument.
    known = numpy_pickle.NumpyUnpickler.__init__.__code__.co_varnames
    options = {"ensure_native_byte_order": True} if "ensure_native_byte_order" in known else {}
    unpickler = JoblibUnpickler("", file, **options)
    unpickler.fix_imports = False  # as in Unpickler
    obj = unpickler.load()
    # It reads the rest of its last frame first, and then the file.
    if unpickler.read(1):  # 8.10
        raise MalformedError("bytes follow the end of what joblib wrote")
    return obj


class _RawView(io.RawIOBase):
    """Memory as a read-only file, not copied."""

    def __init__(self, data: memoryview) -> None:
        self._data = data
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
