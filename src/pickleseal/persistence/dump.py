"""signed_dump, signed_dumps, and dump, dumps with pickle's signatures.

The rule is docs/reference/format.md, "Writing".
"""

import functools
import operator
import os
import time
import warnings
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple, SupportsIndex, cast

from pickleseal.envelope import compression, seal
from pickleseal.envelope import metadata as md
from pickleseal.envelope.expansion import compressed
from pickleseal.envelope.target import join_envelope, write_envelope
from pickleseal.errors import MainModuleWarning, MetadataError, shown
from pickleseal.files.handles import Path, Writable
from pickleseal.files.places import Named, Options
from pickleseal.keys.context import context_to_seal
from pickleseal.keys.store.lookup import Ring, find_keyring
from pickleseal.persistence.callers import callers_level
from pickleseal.pickling import dump as pickling
from pickleseal.pickling import versions
from pickleseal.pickling.names import modules_of

Target = Path | Writable | Named
Pickler = Literal["pickle", "cloudpickle"]
Compress = Literal["zstd"] | int | tuple[str, int] | None

_MAX_CLASS_NAME = 1000
_MAX_DIGITS = 12
_MOST_TOLD = 5


def signed_dump(
    obj: Any,  # noqa: ANN401 - any object
    file: Target,
    protocol: int | None = None,
    *,
    fix_imports: bool = True,
    buffer_callback: pickling.BufferCallback | None = None,
    keyring: Ring = None,
    context: str | None = None,
    serial: int | None = None,
    expires: datetime | timedelta | None = None,
    info: Mapping[str, Any] | None = None,
    pickler: Pickler = "pickle",
    compress: Compress = None,
    durable: bool = True,
    storage_options: Options = None,
) -> None:
    """Pickle an object and write it to a file, sealed with your key.

    Parameters
    ----------
    obj : object
        Any object that pickle takes.
    file : str, os.PathLike or binary file object
        A path or URL, whose file is replaced atomically and keeps its mode, and whose links are
        followed; or any object with `write`, which is left open. A URL (``s3://bucket/model.pkl``),
        an `OpenFile` and a `UPath` are written through fsspec.
    protocol : int, optional
        Of pickle: 0 to 5, or -1 for the highest. Default: 5, whose large buffers are not copied as
        a whole.
    fix_imports, buffer_callback : bool and callable, optional
        As in `pickle.dump`. Buffers that the callback takes are outside the envelope and are
        bound to it by their digest.
    keyring : Keyring, str or os.PathLike, optional
        A keyring or the path of its directory. Default: what PICKLESEAL_KEYRING or PICKLESEAL_KEY
        name, else your own.
    context : str, optional
        What the file is for, such as "fraud/v3": 1 to 255 bytes of UTF-8. A load must name the
        same. Default: none.
    serial : int, optional
        Your count of versions within the context, 0 to 2^53 - 1, so that a load can refuse an older
        one. Default: none.
    expires : datetime.datetime or datetime.timedelta, optional
        When loads begin to refuse the file: a datetime with a time zone, or a time from now by the
        clock, whatever SOURCE_DATE_EPOCH says. Default: never.
    info : mapping, optional
        Facts of your own, such as metrics: a dict of JSON values without null, in the sealed
        header, where `inspect` reads it without unpickling. NumPy scalars are stored as Python
        values; an array needs `.tolist()`.
    pickler : {"pickle", "cloudpickle"}, default "pickle"
        "cloudpickle" takes lambdas and what `__main__` defines.
    compress : str, int or tuple, optional
        "zstd", a level from 1 (fast) to 22 (small), or ("zstd", level). "zstd" and True are level
        3. Default: no compression, which is the fastest for arrays.
    durable : bool, default True
        Wait until the file of a path is on disk. Its folder must be readable.
    storage_options : mapping, optional
        What fsspec reaches the store of a URL with. Default: its own configuration.

    Raises
    ------
    KeyringError
        If there is no key to seal with.
    MetadataError
        If the context, serial, time or info cannot be sealed. It is a ValueError.
    TargetError
        If a path leads to something other than a regular file.
    OSError
        If the file cannot be written. A path is then as it was before, unless the message says that
        the change is in place and may not survive a power cut.

    Warns
    -----
    MainModuleWarning
        If the pickle refers to names of `__main__`: it loads only where `__main__` defines them.

    See Also
    --------
    signed_dumps : The same, to bytes.
    signed_load : Load the object again.

    Notes
    -----
    The layout is that of the format's reference, "Layout" and "Writing". What pickle raises passes
    through.

    The file has the time of sealing, or the one in SOURCE_DATE_EPOCH, in seconds since 1970. With
    it the same object under the same key gives the same bytes, unless `expires` is a timedelta.

    Examples
    --------
    >>> import io
    >>> from pickleseal import Key, Keyring, signed_dump, signed_load
    >>> ring = Keyring(Key.generate())
    >>> file = io.BytesIO()
    >>> signed_dump({"depth": 3}, file, keyring=ring, context="fraud/v3")
    >>> _ = file.seek(0)
    >>> signed_load(file, keyring=ring, context="fraud/v3")
    {'depth': 3}
    """
    head, segments = _seal(
        obj,
        protocol,
        fix_imports=fix_imports,
        buffer_callback=buffer_callback,
        keyring=keyring,
        context=context,
        serial=serial,
        expires=expires,
        info=info,
        pickler=pickler,
        compress=compress,
    )
    write_envelope(
        file,
        head.data,
        segments,
        head.finish,
        head.key.suite,
        durable=durable,
        options=storage_options,
    )


def signed_dumps(
    obj: Any,  # noqa: ANN401 - any object
    protocol: int | None = None,
    *,
    fix_imports: bool = True,
    buffer_callback: pickling.BufferCallback | None = None,
    keyring: Ring = None,
    context: str | None = None,
    serial: int | None = None,
    expires: datetime | timedelta | None = None,
    info: Mapping[str, Any] | None = None,
    pickler: Pickler = "pickle",
    compress: Compress = None,
) -> bytes:
    """Pickle an object and return it sealed, as bytes.

    Parameters
    ----------
    obj : object
        Any object that pickle takes.
    protocol, fix_imports, buffer_callback : optional
        As in `signed_dump`.
    keyring, context, serial, expires, info, pickler, compress : optional
        As in `signed_dump`.

    Returns
    -------
    bytes
        What `signed_dump` would write.

    Raises
    ------
    KeyringError, MetadataError
        As in `signed_dump`.

    See Also
    --------
    signed_dump : The same, to a file.
    signed_loads : Load the object again.

    Notes
    -----
    The layout is that of the format's reference, "Layout" and "Writing".

    Examples
    --------
    >>> from pickleseal import Key, Keyring, signed_dumps, signed_loads
    >>> ring = Keyring(Key.generate())
    >>> signed_loads(signed_dumps([1, 2], keyring=ring), keyring=ring)
    [1, 2]
    """
    head, segments = _seal(
        obj,
        protocol,
        fix_imports=fix_imports,
        buffer_callback=buffer_callback,
        keyring=keyring,
        context=context,
        serial=serial,
        expires=expires,
        info=info,
        pickler=pickler,
        compress=compress,
    )
    return join_envelope(head.data, segments, head.finish, head.key.suite)


def dump(
    obj: Any,  # noqa: ANN401 - any object
    file: Target,
    protocol: int | None = None,
    *,
    fix_imports: bool = True,
    buffer_callback: pickling.BufferCallback | None = None,
) -> None:
    """Pickle an object to a file, sealed, with the signature of `pickle.dump`.

    It is `signed_dump` with the key that is set up.

    Parameters
    ----------
    obj : object
        Any object that pickle takes.
    file : str, os.PathLike or binary file object
        As in `signed_dump`.
    protocol, fix_imports, buffer_callback : optional
        As in `pickle.dump`.

    See Also
    --------
    signed_dump : The same with a keyring, a context and more.

    Notes
    -----
    The key is the one that PICKLESEAL_KEYRING or PICKLESEAL_KEY name, else your own.

    Examples
    --------
    >>> import io
    >>> import pickleseal
    >>> file = io.BytesIO()
    >>> pickleseal.dump([1, 2], file)
    >>> _ = file.seek(0)
    >>> pickleseal.load(file)
    [1, 2]
    """
    signed_dump(obj, file, protocol, fix_imports=fix_imports, buffer_callback=buffer_callback)


def dumps(
    obj: Any,  # noqa: ANN401 - any object
    protocol: int | None = None,
    *,
    fix_imports: bool = True,
    buffer_callback: pickling.BufferCallback | None = None,
) -> bytes:
    """Pickle an object to bytes, sealed, with the signature of `pickle.dumps`.

    It is `signed_dumps` with the key that is set up.

    Parameters
    ----------
    obj : object
        Any object that pickle takes.
    protocol, fix_imports, buffer_callback : optional
        As in `pickle.dumps`.

    Returns
    -------
    bytes
        The envelope.

    See Also
    --------
    signed_dumps : The same with a keyring, a context and more.

    Notes
    -----
    The key is the one that PICKLESEAL_KEYRING or PICKLESEAL_KEY name, else your own.

    Examples
    --------
    >>> import pickleseal
    >>> pickleseal.loads(pickleseal.dumps([1, 2]))
    [1, 2]
    """
    return signed_dumps(obj, protocol, fix_imports=fix_imports, buffer_callback=buffer_callback)


def now() -> int:
    """Return the time of sealing in Unix seconds: SOURCE_DATE_EPOCH if set, else the clock's."""
    fixed = os.environ.get("SOURCE_DATE_EPOCH")
    if not fixed:
        return int(time.time())
    if not (fixed.isascii() and fixed.isdigit()) or len(fixed) > _MAX_DIGITS:
        raise MetadataError(
            f"SOURCE_DATE_EPOCH must be a number of seconds since 1970, but is '{shown(fixed)}'"
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
    serial: int | None,
    expires: datetime | timedelta | None,
    info: Mapping[str, Any] | None,
    pickler: str,
    compress: Compress,
) -> tuple[seal.SealedHead, list[memoryview]]:
    level = compression.level_of(compress)
    sealed_for = context_to_seal(context)
    key = find_keyring(keyring).sealing_key(context=sealed_for, now=time.time())
    pickled = pickling.dump(
        obj,
        protocol=protocol,
        fix_imports=fix_imports,
        buffer_callback=buffer_callback,
        pickler=pickler,
    )
    created = now()
    imports = imports_of(pickled.names)
    if "__main__" in imports.modules:
        _warn_of_main(pickled.names)
    cls = f"{type(obj).__module__}.{type(obj).__qualname__}"
    metadata = md.Metadata(
        content="pickle",
        source="dumped",
        class_name=cls if cls.isprintable() and len(cls) <= _MAX_CLASS_NAME else None,
        context=sealed_for,
        created=created,
        expires=expiry(expires, time.time()),
        serial=serial_of(serial),
        versions=versions.versions_of(imports.modules),
        imports=imports.names,
        imports_omitted=imports.omitted,
        external=pickled.external,
        info=info,
    )
    segments = [pickled.stream, *pickled.buffers]
    lengths = [len(segment) for segment in segments]
    if level is None:
        return seal.seal_head(key, metadata, lengths), segments
    stored = compressed(segments, level)
    return seal.seal_head(key, metadata, [len(s) for s in stored], lengths), stored


def _warn_of_main(names: pickling.Names) -> None:
    own = sorted(shown(name) for module, name in names if module == "__main__")
    if not own:
        return
    more = f" and {len(own) - _MOST_TOLD} more" if len(own) > _MOST_TOLD else ""
    warnings.warn(
        f"this loads only where __main__ defines {', '.join(own[:_MOST_TOLD])}{more}, as in this"
        ' program: put that into a module, or pass pickler="cloudpickle"',
        MainModuleWarning,
        stacklevel=callers_level(),
    )


class Imports(NamedTuple):
    """What metadata record of the names that a pickle refers to."""

    names: tuple[tuple[str, str], ...] | None
    """Sorted; None where they are too many to list."""
    omitted: int | None
    """How many there are, where they are not listed."""
    modules: tuple[str, ...]
    """The top-level ones, sorted."""


@functools.lru_cache(32)  # 11 of 91 us of a small model's dump, which repeats the same names
def imports_of(names: pickling.Names) -> Imports:
    """Return what metadata record of the names that a pickle refers to."""
    modules = tuple(sorted(modules_of(names)))
    if md.fits_imports(names):
        return Imports(tuple(sorted(names)), None, modules)
    return Imports(None, len(names), modules)


def serial_of(serial: SupportsIndex | None) -> int | None:
    """Return a serial as an int: it may be a NumPy integer."""
    if isinstance(serial, int):
        return serial  # a bool, too, which is refused as one
    try:
        return operator.index(cast("SupportsIndex", serial))
    except TypeError:
        return cast("int | None", serial)  # None, or it is refused with the other metadata


def expiry(expires: datetime | timedelta | None, now: float) -> int | None:
    """Return when an envelope made at `now` expires, in whole Unix seconds.

    `now` is the clock's and never SOURCE_DATE_EPOCH, since loads go by the clock.
    """
    if expires is None:
        return None
    if isinstance(expires, timedelta):
        over = now + expires.total_seconds()
    elif isinstance(expires, datetime):
        if expires.tzinfo is None:
            raise MetadataError("expires needs a time zone, such as datetime.now(UTC) has")
        over = expires.timestamp()
    else:
        raise TypeError(f"expires takes a datetime or timedelta, not {type(expires).__name__}")
    if over <= now:
        raise MetadataError("expires is before the time of sealing")
    return int(over)
