"""signed_dump, signed_dumps, signed_load, signed_loads, and pickle's own names beside them."""

import os
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

from pickleseal import codec, opening, packages, pickling, policy, seal, storage
from pickleseal import metadata as md
from pickleseal.errors import MetadataError, VersionMismatchError, shown
from pickleseal.keyring import Keyring
from pickleseal.keystore.sources import find_keyring
from pickleseal.seal import Verified

Ring = Keyring | str | os.PathLike[str] | None
Source = storage.Path | storage.Readable
Target = storage.Path | storage.Writable
Pickler = Literal["pickle", "cloudpickle"]
Compress = Literal["zstd"] | int | tuple[str, int] | None
OnMismatch = Literal["warn", "raise", "ignore"]

_MAX_CLASS_NAME = 1000
_MAX_DIGITS = 12


def signed_dump(
    obj: Any,  # noqa: ANN401 - any object
    file: Target,
    protocol: int | None = None,
    *,
    fix_imports: bool = True,
    buffer_callback: pickling.BufferCallback | None = None,
    keyring: Ring = None,
    context: str | None = None,
    info: Mapping[str, Any] | None = None,
    pickler: Pickler = "pickle",
    compress: Compress = None,
    durable: bool = True,
) -> None:
    """Pickle an object into a file, sealed: who holds the key can tell that it is yours, unchanged.

    obj: any object that pickle takes.
    file: a path (str or os.PathLike), written atomically; or a binary file object, or
        any object with `write`, which is left open.
    protocol: pickle's, 0 to 5, or -1 for the highest. Default: 5, whose large buffers are
        written uncopied.
    fix_imports, buffer_callback: as in pickle. Buffers that the callback takes out lie
        outside the envelope and are bound to it.
    keyring: a Keyring or the path of a keyring's directory. Default: what PICKLESEAL_KEYRING
        or PICKLESEAL_KEY name, else the user's own.
    context: what the file is for, such as "fraud/v3" (1 to 255 bytes of UTF-8). A load
        must name the same. Default: none.
    info: facts of your own, such as metrics, kept in the sealed header: a dict of JSON
        values, read by `inspect` without unpickling.
    pickler: "pickle", or "cloudpickle" for lambdas and what `__main__` defines.
    compress: "zstd", or a level from 1 (fast) to 22 (small), or ("zstd", level). "zstd" and True
        are level 3. Default: no compression, which is the fastest way for arrays.
    durable: wait until a path's file is on disk. Default True.

    Raises KeyringError where there is no key to seal with, MetadataError (a ValueError) for a
    context or info that cannot be sealed, TargetError for a path that is no regular file,
    OSError where it cannot be written, and what pickling raises. On any error a path is
    as it was before.

    The layout is in docs/reference/format.md.
    """
    head, segments = _seal(
        obj,
        protocol,
        fix_imports=fix_imports,
        buffer_callback=buffer_callback,
        keyring=keyring,
        context=context,
        info=info,
        pickler=pickler,
        compress=compress,
    )
    storage.write(file, head.data, segments, head.finish, head.key.suite, durable=durable)


def signed_dumps(
    obj: Any,  # noqa: ANN401 - any object
    protocol: int | None = None,
    *,
    fix_imports: bool = True,
    buffer_callback: pickling.BufferCallback | None = None,
    keyring: Ring = None,
    context: str | None = None,
    info: Mapping[str, Any] | None = None,
    pickler: Pickler = "pickle",
    compress: Compress = None,
) -> bytes:
    """Give what `signed_dump` would write, as bytes. The arguments and errors are the same."""
    head, segments = _seal(
        obj,
        protocol,
        fix_imports=fix_imports,
        buffer_callback=buffer_callback,
        keyring=keyring,
        context=context,
        info=info,
        pickler=pickler,
        compress=compress,
    )
    return storage.join(head.data, segments, head.finish, head.key.suite)


def signed_load(
    file: Source,
    *,
    fix_imports: bool = True,
    encoding: str = "ASCII",
    errors: str = "strict",
    buffers: Iterable[Any] | None = None,
    keyring: Ring = None,
    context: str | None = None,
    on_mismatch: OnMismatch = "warn",
    max_bytes: int | None = None,
) -> Any:  # noqa: ANN401 - what was sealed
    """Load an object whose seal holds under a key of yours; refuse all else before unpickling.

    file: a path to one envelope; or a binary file object, or any object with `read` or
        `readinto`, from which exactly one envelope is taken.
    fix_imports, encoding, errors: as in pickle, for pickles of Python 2.
    buffers: the buffers that the dump's `buffer_callback` took out, in their order. They
        are checked against the seal first.
    keyring: a Keyring or the path of a keyring's directory. Default: as for `signed_dump`.
    context: what the file must have been sealed for. Default: none, and then a file that
        was sealed for one is refused.
    on_mismatch: what to do where Python or a package differs from the version sealed with:
        "warn" (default), "raise", or "ignore".
    max_bytes: refuse an envelope of more bytes, or one that would expand to more. Default: no
        bound.

    Raises a SealError, which is a pickle.UnpicklingError, for all that is refused (its
    subclasses tell why: docs/reference/errors.md), KeyringError where there is no key, OSError
    where the file cannot be read, and what the object's own classes raise while unpickling.

    The order of the checks is in docs/reference/format.md, "Reading".
    """
    check = _checker(context, on_mismatch)
    with storage.open_source(file) as source:
        payload = opening.read(
            source, lambda: find_keyring(keyring), check=check, max_bytes=max_bytes
        )
    return _restore(
        payload,
        source.name,
        fix_imports=fix_imports,
        encoding=encoding,
        errors=errors,
        buffers=buffers,
        on_mismatch=on_mismatch,
    )


def signed_loads(
    data: bytes | bytearray | memoryview,
    /,
    *,
    fix_imports: bool = True,
    encoding: str = "ASCII",
    errors: str = "strict",
    buffers: Iterable[Any] | None = None,
    keyring: Ring = None,
    context: str | None = None,
    on_mismatch: OnMismatch = "warn",
    max_bytes: int | None = None,
) -> Any:  # noqa: ANN401 - what was sealed
    """Load an object from the bytes of one envelope, as `signed_load` does from a file.

    data: any bytes-like object. One that could change is copied before it is checked.
    The other arguments and the errors are those of `signed_load`.
    """
    check = _checker(context, on_mismatch)
    source = memory_source(data)
    payload = opening.read(source, lambda: find_keyring(keyring), check=check, max_bytes=max_bytes)
    return _restore(
        payload,
        None,
        fix_imports=fix_imports,
        encoding=encoding,
        errors=errors,
        buffers=buffers,
        on_mismatch=on_mismatch,
    )


def dump(
    obj: Any,  # noqa: ANN401 - any object
    file: Target,
    protocol: int | None = None,
    *,
    fix_imports: bool = True,
    buffer_callback: pickling.BufferCallback | None = None,
) -> None:
    """Do as `pickle.dump` does, sealed: `signed_dump` with the key that is set up."""
    signed_dump(obj, file, protocol, fix_imports=fix_imports, buffer_callback=buffer_callback)


def dumps(
    obj: Any,  # noqa: ANN401 - any object
    protocol: int | None = None,
    *,
    fix_imports: bool = True,
    buffer_callback: pickling.BufferCallback | None = None,
) -> bytes:
    """Do as `pickle.dumps` does, sealed: `signed_dumps` with the key that is set up."""
    return signed_dumps(obj, protocol, fix_imports=fix_imports, buffer_callback=buffer_callback)


def load(
    file: Source,
    *,
    fix_imports: bool = True,
    encoding: str = "ASCII",
    errors: str = "strict",
    buffers: Iterable[Any] | None = None,
) -> Any:  # noqa: ANN401 - what was sealed
    """Do as `pickle.load` does, for what is sealed: `signed_load` with the key that is set up."""
    return signed_load(
        file, fix_imports=fix_imports, encoding=encoding, errors=errors, buffers=buffers
    )


def loads(
    data: bytes | bytearray | memoryview,
    /,
    *,
    fix_imports: bool = True,
    encoding: str = "ASCII",
    errors: str = "strict",
    buffers: Iterable[Any] | None = None,
) -> Any:  # noqa: ANN401 - what was sealed
    """Do as `pickle.loads` does, for what is sealed: `signed_loads` with the key that is set up."""
    return signed_loads(
        data, fix_imports=fix_imports, encoding=encoding, errors=errors, buffers=buffers
    )


def memory_source(data: bytes | bytearray | memoryview) -> storage.MemorySource:
    """Give a source over bytes-like data, copied first where somebody could change it."""
    return storage.MemorySource(frozen(data))


def frozen(data: bytes | bytearray | memoryview) -> bytes:
    """Give bytes-like data as bytes, copied where somebody could change it."""
    if type(data) is bytes:
        return data
    try:
        view = memoryview(data)
    except TypeError:
        raise TypeError(
            f"a bytes-like object is required, not {type(data).__name__} (a path or file is for"
            " the calls without s)"
        ) from None
    return bytes(view)


def now() -> int:
    """Give the time that goes into an envelope: SOURCE_DATE_EPOCH if set, else the clock's."""
    fixed = os.environ.get("SOURCE_DATE_EPOCH")
    if not fixed:
        return int(time.time())
    if not (fixed.isascii() and fixed.isdigit()) or len(fixed) > _MAX_DIGITS:
        raise MetadataError(
            f"SOURCE_DATE_EPOCH must be a number of seconds since 1970, and is '{shown(fixed)}'"
        )
    return int(fixed)


def _seal(
    obj: object,
    protocol: int | None,
    *,
    fix_imports: bool,
    buffer_callback: pickling.BufferCallback | None,
    keyring: Ring,
    context: str | None,
    info: Mapping[str, Any] | None,
    pickler: str,
    compress: Compress,
) -> tuple[seal.SealedHead, list[memoryview]]:
    level = codec.level_of(compress)
    sealed_for = None if context is None else md.normalize_context(context)
    key = find_keyring(keyring).sealing_key(context=sealed_for, now=time.time())
    pickled = pickling.dump(
        obj,
        protocol=protocol,
        fix_imports=fix_imports,
        buffer_callback=buffer_callback,
        pickler=pickler,
    )
    listed = md.fits_imports(pickled.names)
    cls = f"{type(obj).__module__}.{type(obj).__qualname__}"
    metadata = md.Metadata(
        content="pickle",
        source="dumped",
        class_name=cls if cls.isprintable() and len(cls) <= _MAX_CLASS_NAME else None,
        context=sealed_for,
        created=now(),
        versions=packages.versions_of({module.partition(".")[0] for module, _ in pickled.names}),
        imports=tuple(sorted(pickled.names)) if listed else None,
        imports_omitted=None if listed else len(pickled.names),
        external=pickled.external,
        info=info,
    )
    segments = [pickled.stream, *pickled.buffers]
    lengths = [len(segment) for segment in segments]
    if level is None:
        return seal.seal_head(key, metadata, lengths), segments
    stored = storage.compressed(segments, level)
    return seal.seal_head(key, metadata, [len(s) for s in stored], lengths), stored


def _checker(context: str | None, on_mismatch: OnMismatch) -> Callable[[seal.AuthenticHead], None]:
    """Give the judgement on a genuine head that a load makes before it reads the body."""
    if on_mismatch not in ("warn", "raise", "ignore"):
        raise ValueError(f"on_mismatch must be 'warn', 'raise' or 'ignore', not {on_mismatch!r}")

    def check(head: seal.AuthenticHead) -> None:
        opening.check_head(head, context=context)
        if on_mismatch == "raise":
            drifts = _drifts(head.metadata)
            if drifts:
                raise VersionMismatchError(_describe(head.metadata, drifts))

    return check


def _restore(
    payload: Verified,
    name: str | None,
    *,
    fix_imports: bool,
    encoding: str,
    errors: str,
    buffers: Iterable[Any] | None,
    on_mismatch: OnMismatch,
) -> Any:  # noqa: ANN401 - what was sealed
    metadata = payload.head.metadata
    if on_mismatch == "warn":
        for drift in _drifts(metadata):
            message = _describe(metadata, [drift])
            warnings.warn(
                packages.warning(
                    f"{shown(name)}: {message}" if name else message,
                    package=drift.package,
                    sealed=drift.sealed,
                    here=drift.here,
                    class_name=(metadata.class_name or "").rpartition(".")[2],
                ),
                stacklevel=_callers_level(),
            )
    with opening.naming(name):
        return pickling.restore(
            payload, fix_imports=fix_imports, encoding=encoding, errors=errors, buffers=buffers
        )


def _callers_level() -> int:
    """Give the stacklevel of the first frame that is not of this room: the caller's own line."""
    level = 1
    frame = sys._getframe(1)  # noqa: SLF001 - what warnings itself goes by
    while frame.f_back is not None and frame.f_code.co_filename == __file__:
        frame = frame.f_back
        level += 1
    return level


def _drifts(metadata: md.Metadata) -> list[policy.Drift]:
    sealed = metadata.versions or {}
    return policy.drifts(sealed, packages.versions_here(sealed))


def _describe(metadata: md.Metadata, drifts: list[policy.Drift]) -> str:
    what = f"a {shown(metadata.class_name)}" if metadata.class_name else "an object"
    return f"{what} was sealed with other versions: {'; '.join(map(str, drifts))}"
