"""Pickles that exist already: into an envelope as they are, and out of one as they were."""

import os
import time
from _compat_pickle import REVERSE_IMPORT_MAPPING, REVERSE_NAME_MAPPING
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

from pickleseal.envelope import layout, seal
from pickleseal.envelope import metadata as md
from pickleseal.envelope import reader as opening
from pickleseal.envelope.source import Source, frozen, memory_source
from pickleseal.envelope.target import join_envelope
from pickleseal.errors import (
    AdoptionError,
    MalformedError,
    PolicyError,
    shown,
)
from pickleseal.files.magic import beginning_of
from pickleseal.keys.context import normalize_context
from pickleseal.keys.store.lookup import Ring, find_keyring
from pickleseal.persistence import dump, policy
from pickleseal.pickling import inflate, opcodes

if TYPE_CHECKING:
    from pickleseal.scanner.containers.views import Bytes
    from pickleseal.scanner.machine.cursor import Cursor
    from pickleseal.scanner.machine.trace import Trace

_NOT_ONE = "load it where you trust it, with what wrote it, and write it with signed_dump"
_COMPANIONS = frozenset(("NDArrayWrapper", "ZNDArrayWrapper"))
_LAST_OLD_PROTOCOL = 3
_MOST_COUNTED = 1000
_MOST_SPARE = 64 << 20
_MOST_UNPACKED = 4 << 30
_MOST_TIMES = 200  # what a file may unpack to, as a multiple of its own size


class Judgement(NamedTuple):
    """What exactly one pickle or joblib file is, told without unpickling it.

    `content` and `raw_size` are as metadata have them. `names` are those that it refers to, as its
    stream spells them, None where they cannot be told. `walk` is what following it came upon.
    """

    content: str
    raw_size: int | None
    names: frozenset[tuple[str, str]] | None
    walk: "Trace"


def judge(raw: memoryview) -> Judgement:
    """Tell whether bytes are exactly one pickle or joblib file, as `follow` does, and its names."""
    from pickleseal.scanner.containers.views import Memory  # noqa: PLC0415 - only what adopts needs it

    walk, raw_size = follow(Memory(raw))
    if raw_size is None:
        return Judgement("pickle", None, _names_of_pickle(raw, walk), walk)
    return Judgement("joblib", raw_size, _names_of_joblib(walk), walk)


def follow(data: "Bytes") -> "tuple[Trace, int | None]":
    """Give the walk over exactly one pickle or joblib file, or raise AdoptionError.

    Of a joblib file its size once it is unpacked comes with it. The walk must end at the last byte:
    what is left over is refused by each load. No more is in memory at a time than some pieces, and
    of what is compressed no more is unpacked than 4 GiB, or 200 times its size if that is more.
    """
    from pickleseal.scanner.machine.cursor import Cursor  # noqa: PLC0415 - only what adopts needs them
    from pickleseal.scanner.machine.trace import trace  # noqa: PLC0415 - as above

    start = data.read(0, layout.FIXED_SIZE)
    if start.startswith(layout.MAGIC):
        raise AdoptionError("it is sealed already")
    found = beginning_of(start)
    if found is not None and not found.adoptable:
        raise AdoptionError(f"{found.clause}: {found.advice or _NOT_ONE}")
    method = inflate.method_of(start)
    try:
        reader = _Pieces(data)
        cursor = Cursor(reader.read)
        if method is not None and inflate.method_of(cursor.peek(8)) is not None:
            raise AdoptionError("it is compressed twice, and joblib unpacks once")
        walk = trace(cursor, joblib=True)
        _check_end(walk, cursor, reader, lambda: trace(cursor, joblib=True))
    except MalformedError as error:
        raise AdoptionError(f"{error}, or it is nothing that pickle or joblib wrote") from None
    # A name may be spelled from further up: NDArrayWrapper, and numpy_pickle.NDArrayWrapper.
    if any(name.name.rpartition(".")[2] in _COMPANIONS for name in walk.names):
        raise AdoptionError(f"its arrays lie in files beside it: {_NOT_ONE}")
    if walk.given:
        raise AdoptionError(
            "it refers to what its reader has to give (persistent ids, or buffers that lie"
            f" elsewhere), and so is no whole file: {_NOT_ONE}"
        )
    return walk, None if method is None and not walk.wrapped_arrays else reader.given


def adopt_bytes(
    raw: bytes | bytearray | memoryview,
    *,
    keyring: Ring = None,
    context: str | None = None,
    serial: int | None = None,
    expires: datetime | timedelta | None = None,
    info: Mapping[str, Any] | None = None,
) -> bytes:
    """Seal bytes that are a pickle or joblib file already, as they are and without unpickling them.

    To seal is to say "I made this". Never adopt what somebody sent: a service that does so
    turns a stranger's pickle into one that every holder of the key will load. What the pickle would
    do is not judged here; the names that it refers to are recorded, and a load looks up no others.

    raw: exactly one pickle, or one file as joblib writes them (compressed, or with arrays in
        between), any bytes-like object. What is compressed may hold 4 GiB, or 200 times its size
        if that is more.
    keyring, context, serial, expires, info: as for `signed_dump`.

    Returns the envelope, its metadata marked `source: adopted`. Raises AdoptionError for bytes that
    are anything else, KeyringError where there is no key to seal with, MetadataError for what
    cannot be sealed.
    """
    data = memoryview(frozen(raw))
    head = seal_adopted(
        data,
        judge(data),
        keyring=keyring,
        context=context,
        serial=dump.serial_of(serial),
        expires=expires,
        info=info,
    )
    return join_envelope(head.data, [data], head.finish, head.key.suite)


def seal_adopted(
    raw: memoryview,
    found: Judgement,
    *,
    keyring: Ring = None,
    context: str | None = None,
    serial: int | None = None,
    expires: datetime | timedelta | None = None,
    info: Mapping[str, Any] | None = None,
) -> seal.SealedHead:
    """Begin the envelope of bytes that were judged; nobody else may change them meanwhile."""
    sealed_for = None if context is None else normalize_context(context)
    key = find_keyring(keyring).sealing_key(context=sealed_for, now=time.time())
    imports = None if found.names is None else dump.imports_of(found.names)
    metadata = md.Metadata(
        content=found.content,
        source="adopted",
        context=sealed_for,
        created=dump.now(),
        expires=dump.expiry(expires, time.time()),
        serial=serial,
        imports=imports and imports.names,
        imports_omitted=imports and imports.omitted,
        raw_size=found.raw_size,
        info=info,
    )
    return seal.seal_head(key, metadata, [len(raw)])


def extract(
    envelope: bytes | bytearray | memoryview,
    *,
    keyring: Ring = None,
    context: str | None = None,
) -> bytes:
    """Give what is in an envelope whose seal holds as a plain file, and unpickle nothing.

    envelope: any bytes-like object that is one envelope.
    keyring, context: as for `signed_load`; the context is enforced.

    Returns a pickle for `pickle.loads`, with each buffer in its place in the stream; of an adopted
    file its very bytes, which may be joblib's. Raises a SealError for an envelope that
    `signed_load` would refuse, PolicyError for one whose buffers its maker kept elsewhere.
    """
    if isinstance(envelope, str | os.PathLike):
        raise TypeError(
            f"extract takes the bytes of an envelope, not {type(envelope).__name__}:"
            " Path(...).read_bytes(), or pickleseal extract"
        )
    return extract_from(
        memory_source(envelope),
        keyring=keyring,
        check=lambda head: policy.check_head(head.metadata, now=time.time(), context=context),
    )


def extract_from(
    source: Source,
    *,
    keyring: Ring = None,
    check: Callable[[seal.AuthenticHead], None],
) -> bytes:
    """Give what is in the envelope of a source, as `extract` does; `check` judges its head."""
    with opening.naming(source.name):
        return _plain(
            opening.read(source, lambda: find_keyring(keyring, to_open=True), check=check)
        )


def _plain(payload: seal.Verified) -> bytes:
    metadata = payload.head.metadata
    if metadata.content not in ("pickle", "joblib"):
        raise PolicyError(f"its content is {shown(metadata.content)}, and no pickle")
    if metadata.external is not None:
        raise PolicyError(
            f"{metadata.external.buffers} of its buffers lie outside of it, and a plain pickle"
            " has no place for them"
        )
    stream, *buffers = opening.segments(payload)
    return bytes(stream) if metadata.content == "joblib" else opcodes.put_back(stream, buffers)


class _Pieces:
    """What bytes hold once they are unpacked, from front to back; `given` counts them.

    Raises AdoptionError for more than anybody would pack into so little.
    """

    def __init__(self, data: "Bytes") -> None:
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
            raise AdoptionError(f"it unpacks to over {self._most:,} bytes: {_NOT_ONE}")
        return bytes(piece)

    def drain(self) -> None:
        """Count what is left, up to a point: nobody needs to know how much too much it is."""
        end = self.given + _MOST_SPARE
        while self.given < end and self.read(inflate.PIECE):
            pass


def _check_end(
    walk: "Trace", cursor: "Cursor", reader: _Pieces, next_walk: "Callable[[], Trace]"
) -> None:
    """Return if a walk ended at the last byte of what it went over."""
    if walk.fault is not None:
        raise AdoptionError(f"it is no pickle, or cannot be followed to its end: {walk.fault}")
    end, count = cursor.position, 1
    while cursor.fill(1):
        if not next_walk().ended:
            reader.drain()
            spare = reader.given - end
            what = "byte follows" if spare == 1 else "bytes follow"
            raise AdoptionError(f"{spare} {what} its end, and no load would take them")
        count += 1
        if count > _MOST_COUNTED:
            raise AdoptionError(f"it holds over {_MOST_COUNTED} pickles: {_NOT_ONE}")
    if count > 1:
        raise AdoptionError(f"it holds {count} pickles, one behind the other: {_NOT_ONE}")


def _names_of_pickle(raw: memoryview, walk: "Trace") -> frozenset[tuple[str, str]] | None:
    if walk.coded or walk.protocol != opcodes.protocol_of(raw):
        return None
    if walk.protocol <= _LAST_OLD_PROTOCOL:
        # Old protocols spell names in ways of their own, and the walk gives those of today.
        try:
            return opcodes.global_names(raw)
        except (MalformedError, ValueError):
            return None
    return frozenset((module, name) for module, name, _ in walk.names)


def _names_of_joblib(walk: "Trace") -> frozenset[tuple[str, str]] | None:
    if walk.coded:
        return None
    today = [(module, name) for module, name, _ in walk.names]
    # The pickle of an array of objects inside may be of an old protocol, and spell them as then.
    return frozenset(chain(today, map(_as_then, today)))


def _as_then(pair: tuple[str, str]) -> tuple[str, str]:
    module, name = pair
    found: tuple[str, str] = REVERSE_NAME_MAPPING.get(
        pair, (REVERSE_IMPORT_MAPPING.get(module, module), name)
    )
    return found
