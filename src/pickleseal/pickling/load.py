"""The one door to the unpickler: `restore` takes a `Verified` payload, which only `seal` makes.

docs/reference/payload.md is the rule; a number beside a check is that of its "Reading".
"""

import copyreg
import pickle
from collections.abc import Iterable, Sequence
from typing import Any

from pickleseal.envelope import reader
from pickleseal.envelope.seal import Verified
from pickleseal.errors import MalformedError, PolicyError
from pickleseal.pickling import external, joblib
from pickleseal.pickling.lookup import Lookup, Python2, Unpickler
from pickleseal.pickling.names import Allowed

UnpicklingError = pickle.UnpicklingError


def restore(
    payload: Verified,
    old: Python2,
    *,
    buffers: Iterable[Any] | None,
    allow: Allowed | None = None,
) -> Any:  # noqa: ANN401 - what was pickled
    """Unpickle a verified payload.

    `buffers` are pickle's, and `allow` has the names that the pickle may refer to, None for any.
    Raises PolicyError for a name that the sealed imports do not list or `allow` does not have, and
    for `buffers` other than those bound; MalformedError if the stream or a buffer is left over.
    What the unpickler or a class raises passes through.
    """
    metadata = payload.head.metadata
    # copyreg would answer from this cache without asking find_class.
    copyreg.clear_extension_cache()
    lookup = Lookup(metadata, allow)
    if metadata.content == "joblib":
        return joblib.restore_joblib(payload, lookup)
    if metadata.content != "pickle":  # 8.1
        raise PolicyError("it is an inventory, not an object: see pickleseal audit --baseline")
    stream, *beside = reader.segments(payload)
    source: Sequence[Any] = beside
    if metadata.external is not None:  # 8.7
        source = external.check_buffers(metadata.external, buffers)
    left = iter(source)
    file = _ViewReader(stream)
    obj = Unpickler(file, stream, lookup, old, left).load()
    if file.position != len(stream):  # 8.10
        raise MalformedError(f"{len(stream) - file.position} bytes follow the end of the pickle")
    if next(left, None) is not None:  # 8.11
        raise MalformedError("the pickle does not use all of its buffers")
    return obj


class _ViewReader:
    """A memoryview as a file for the unpickler, as fast as `pickle.loads`.

    The unpickler peeks at all that is left, works on that memory, and at the end reads as many
    bytes as it has used.
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
        # Called only if no line end is left: the unpickler finds the others in what it peeked at.
        return bytes(self.read(len(self._view)))

    def readinto(self, target: memoryview) -> int:
        data = self.read(len(target))
        target[: len(data)] = data
        return len(data)
