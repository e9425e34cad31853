"""Write the plain files that are in envelopes: for tools that know no seals, and to leave us."""

import os
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from pickleseal.envelope import reader as opening
from pickleseal.envelope import seal
from pickleseal.envelope.source import Source, memory_source
from pickleseal.errors import NotSealedError, PolicyError, shown
from pickleseal.files.atomic import write_whole
from pickleseal.files.objects import open_file
from pickleseal.files.places import Place, name_of, places_of
from pickleseal.files.walk import Found
from pickleseal.keys.context import normalize_context
from pickleseal.keys.store.lookup import Ring, find_keyring
from pickleseal.migration.batch import Batch, Candidate, Outcome, Result, found_envelope
from pickleseal.migration.targets import make_folder_of, target_in
from pickleseal.persistence import policy
from pickleseal.pickling import opcodes


def extract(
    envelope: bytes | bytearray | memoryview,
    *,
    keyring: Ring = None,
    context: str | None = None,
) -> bytes:
    """Return the plain file that is in an envelope, without unpickling it.

    Parameters
    ----------
    envelope : bytes-like
        Exactly one envelope.
    keyring : Keyring, str or os.PathLike, optional
        A ring, or the path of its directory. Default: as for `signed_load`.
    context : str, optional
        What the envelope must be sealed for. Default: no context.

    Returns
    -------
    bytes
        A pickle for `pickle.loads`, with every buffer in its place in the stream. From an adopted
        file, the very bytes that were adopted, which may be a joblib file.

    Raises
    ------
    SealError
        If `signed_load` would refuse the envelope.
    PolicyError
        If the buffers of the pickle are kept outside of the envelope.
    KeyringError
        If there is no keyring, or a key cannot be used.
    TypeError
        If `envelope` is a path. The command `pickleseal extract` takes paths.

    Notes
    -----
    What is returned has no seal. Use it at once, and keep it where nobody else can write.

    Examples
    --------
    >>> import pickle
    >>> from pickleseal import Key, Keyring, extract, signed_dumps
    >>> ring = Keyring(Key.generate())
    >>> pickle.loads(extract(signed_dumps([1, 2], keyring=ring), keyring=ring))
    [1, 2]
    """
    if isinstance(envelope, str | os.PathLike):
        raise TypeError(
            f"extract takes the bytes of an envelope, not {type(envelope).__name__}:"
            " Path(...).read_bytes(), or pickleseal extract"
        )
    return _extracted(
        memory_source(envelope),
        keyring=keyring,
        check=lambda head: policy.check_head(head.metadata, now=time.time(), context=context),
    )


class Plain(NamedTuple):
    """A plain file out of an envelope, and the permission bits of the envelope's own file."""

    data: bytes
    mode: int

    def write_new(self, path: Place) -> None:
        """Write the file. Raises TargetError if there is one."""
        # Private from its first byte if the envelope was.
        write_whole(path, self.data, mode=self.mode, exclusive=True)


def extract_file(path: str, *, keyring: Ring, context: str | None = None) -> Plain:
    """Return the plain file that is in the envelope at a path; `context` as for `extract_all`."""
    (place,) = places_of([path])
    return _plain_of(Found.at(place), keyring, _context_check(context))


def extract_all(
    batch: Batch, folder: Place, *, keyring: Ring, context: str | None = None
) -> Iterator[Result[str]]:
    """Write what is in each envelope into a folder that mirrors the files' own.

    Nothing is unpickled, and no file is overwritten. The detail of a result is the path of the
    plain file.

    Parameters
    ----------
    batch
        The files. What is not sealed below a folder is left alone.
    folder
        The folder to write to; it is created.
    keyring
        The ring whose keys must have sealed them, looked up for each file.
    context
        What all of them must be sealed for: a name, a beginning and `*`, or "*" for anything.
        Default: nothing.
    """
    check = _context_check(context)

    def act(candidate: Candidate) -> Result[str]:
        plain = _plain_of(candidate.found, keyring, check)
        target = target_in(folder, candidate.inside)
        make_folder_of(target, below=folder)
        if _holds(target, plain.data):
            return candidate.result(Outcome.ALREADY_THERE, detail=name_of(target))
        plain.write_new(target)
        return candidate.result(Outcome.EXTRACTED, detail=name_of(target))

    return batch.each(act)


def _context_check(context: str | None) -> Callable[[seal.AuthenticHead], None]:
    wanted = None if context is None else normalize_context(context)

    def check(head: seal.AuthenticHead) -> None:
        expected = wanted and policy.expected_context(wanted, head.metadata.context)
        policy.check_head(head.metadata, now=time.time(), context=expected)

    return check


def _plain_of(found: Found, keyring: Ring, check: Callable[[seal.AuthenticHead], None]) -> Plain:
    with found_envelope(found) as (source, mode):
        return Plain(_extracted(source, keyring=keyring, check=check), mode)


def _extracted(
    source: Source, *, keyring: Ring, check: Callable[[seal.AuthenticHead], None]
) -> bytes:
    with opening.naming(source.name):
        return _joined(
            opening.read(source, lambda key_id: find_keyring(keyring, to_open=key_id), check=check)
        )


def _joined(payload: seal.Verified) -> bytes:
    metadata = payload.head.metadata
    if metadata.content not in ("pickle", "joblib"):
        raise PolicyError(f"its content is {shown(metadata.content)}, not a pickle")
    if metadata.external is not None:
        raise PolicyError(
            f"it refers to {metadata.external.buffers} buffers that are kept elsewhere, and a"
            " plain pickle cannot hold them"
        )
    stream, *buffers = opening.segments(payload)
    return bytes(stream) if metadata.content == "joblib" else opcodes.put_back(stream, buffers)


def _holds(place: Place, data: bytes) -> bool:
    try:
        with open_file(place, follow=False) as file:
            return file.size == len(data) and file.whole() == data
    except (NotSealedError, OSError):
        return False
