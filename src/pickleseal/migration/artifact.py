"""Recognise bytes that are exactly one pickle or joblib file, and list the names in them."""

from _compat_pickle import REVERSE_IMPORT_MAPPING, REVERSE_NAME_MAPPING
from collections.abc import Callable, Iterator
from itertools import chain
from typing import NamedTuple

from pickleseal.envelope import layout
from pickleseal.errors import AdoptionError, MalformedError
from pickleseal.files.magic import LOAD_AND_DUMP, beginning_of
from pickleseal.pickling import inflate, opcodes
from pickleseal.scanner.containers.views import Bytes, Memory
from pickleseal.scanner.machine.cursor import Cursor
from pickleseal.scanner.machine.trace import Trace, trace

_COMPANIONS = frozenset(("NDArrayWrapper", "ZNDArrayWrapper"))
_LAST_OLD_PROTOCOL = 3
_MOST_COUNTED = 1000
_MOST_SPARE = 64 << 20
_MOST_UNPACKED = 4 << 30
_MOST_TIMES = 200  # what a file may unpack to, as a multiple of its own size


class Artifact(NamedTuple):
    """Exactly one pickle or joblib file, as far as it is known without unpickling it.

    `content` and `raw_size` are those of the metadata. `names` are spelled as the stream spells
    them; None where the stream does not settle them. `walk` is the trace over its opcodes.
    """

    content: str
    raw_size: int | None
    names: frozenset[tuple[str, str]] | None
    walk: Trace


def read_artifact(raw: memoryview) -> Artifact:
    """Return the artifact that bytes are. Raises AdoptionError as `follow` does."""
    walk, raw_size = follow(Memory(raw))
    if raw_size is None:
        return Artifact("pickle", None, _names_of_pickle(raw, walk), walk)
    return Artifact("joblib", raw_size, _names_of_joblib(walk), walk)


def follow(data: Bytes) -> tuple[Trace, int | None]:
    """Return the trace over one pickle or joblib file, and the unpacked size of a joblib file.

    Raises AdoptionError unless the bytes are one such file and end with it, since a load refuses
    what follows. Only a few pieces are in memory at a time. Compressed data may unpack to 4 GiB,
    or to 200 times their size if that is more.
    """
    start = data.read(0, layout.FIXED_SIZE)
    if start.startswith(layout.MAGIC):
        raise AdoptionError("it is sealed already")
    found = beginning_of(start)
    if found is not None and not found.adoptable:
        raise AdoptionError(f"{found.clause}: {found.advice or LOAD_AND_DUMP}")
    method = inflate.method_of(start)
    try:
        reader = _Pieces(data)
        cursor = Cursor(reader.read)
        if inflate.method_of(cursor.peek(8)) is not None:
            raise AdoptionError("it is compressed twice, but joblib unpacks only once")
        walk = trace(cursor, joblib=True)
        _check_end(walk, cursor, reader, lambda: trace(cursor, joblib=True))
    except MalformedError as error:
        raise AdoptionError(f"{error}, or neither pickle nor joblib wrote it") from None
    # A name may be spelled from further up: NDArrayWrapper, and numpy_pickle.NDArrayWrapper.
    if any(name.name.rpartition(".")[2] in _COMPANIONS for name in walk.names):
        raise AdoptionError(f"its arrays are in files next to it: {LOAD_AND_DUMP}")
    if walk.given:
        raise AdoptionError(
            "it needs persistent ids or out-of-band buffers from its reader, so it is not a whole"
            f" file: {LOAD_AND_DUMP}"
        )
    return walk, None if method is None and not walk.wrapped_arrays else reader.given


class _Pieces:
    """The unpacked content of bytes, read from front to back; `given` counts it.

    Raises AdoptionError past the bound of `follow`, which stops a compression bomb.
    """

    def __init__(self, data: Bytes) -> None:
        self.given = 0
        self._most = max(_MOST_UNPACKED, _MOST_TIMES * data.size)
        self._pieces: Iterator[memoryview] = iter(inflate.pieces(data.read, data.size))
        self._left = memoryview(b"")

    def read(self, size: int) -> bytes:
        if not self._left:
            self._left = next(self._pieces, memoryview(b""))
        piece = self._left[:size]
        self._left = self._left[size:]
        self.given += len(piece)
        if self.given > self._most:
            raise AdoptionError(f"it unpacks to over {self._most:,} bytes: {LOAD_AND_DUMP}")
        return bytes(piece)

    def drain(self) -> None:
        """Count the rest, up to a bound: an error need not say how much more than that it is."""
        end = self.given + _MOST_SPARE
        while self.given < end and self.read(inflate.PIECE):
            pass


def _check_end(
    walk: Trace, cursor: Cursor, reader: _Pieces, next_walk: Callable[[], Trace]
) -> None:
    """Raise AdoptionError unless a walk ended at the last byte."""
    if walk.fault is not None:
        raise AdoptionError(f"it is not a pickle, or not a whole one: {walk.fault}")
    end, count = cursor.position, 1
    while cursor.fill(1):
        if not next_walk().ended:
            reader.drain()
            spare = reader.given - end
            what = "1 byte follows" if spare == 1 else f"{spare} bytes follow"
            if spare >= _MOST_SPARE:
                what = f"{_MOST_SPARE >> 20} MiB or more follow"
            raise AdoptionError(f"{what} its end, so a load would refuse it: {LOAD_AND_DUMP}")
        count += 1
        if count > _MOST_COUNTED:
            raise AdoptionError(f"it contains over {_MOST_COUNTED} pickles: {LOAD_AND_DUMP}")
    if count > 1:
        raise AdoptionError(f"it contains {count} pickles, one after the other: {LOAD_AND_DUMP}")


def _names_of_pickle(raw: memoryview, walk: Trace) -> frozenset[tuple[str, str]] | None:
    if walk.coded or walk.protocol != opcodes.protocol_of(raw):
        return None
    if walk.protocol <= _LAST_OLD_PROTOCOL:
        # Old protocols spell names as Python 2 did, and the walk gives those of today.
        try:
            return opcodes.global_names(raw)
        except (MalformedError, ValueError):
            return None
    return frozenset((module, name) for module, name, _ in walk.names)


def _names_of_joblib(walk: Trace) -> frozenset[tuple[str, str]] | None:
    if walk.coded:
        return None
    today = [(module, name) for module, name, _ in walk.names]
    # A pickled object array inside may be of an old protocol, and spell names as Python 2 did.
    return frozenset(chain(today, map(_spelled_in_python_2, today)))


def _spelled_in_python_2(pair: tuple[str, str]) -> tuple[str, str]:
    module, name = pair
    found: tuple[str, str] = REVERSE_NAME_MAPPING.get(
        pair, (REVERSE_IMPORT_MAPPING.get(module, module), name)
    )
    return found
