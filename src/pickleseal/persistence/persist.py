"""signed_dump, signed_dumps, signed_load, signed_loads, and pickle's own names beside them."""

import functools
import operator
import os
import sys
import time
import warnings
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple, SupportsIndex, cast

from pickleseal.envelope import compression, reader, seal
from pickleseal.envelope import metadata as md
from pickleseal.envelope.expansion import compressed
from pickleseal.envelope.seal import Verified
from pickleseal.envelope.source import MemorySource, open_source
from pickleseal.envelope.target import join_envelope, write_envelope
from pickleseal.errors import (
    MainModuleWarning,
    MetadataError,
    VersionMismatchError,
    shown,
)
from pickleseal.files.handles import Path, Readable, Writable
from pickleseal.keys.context import normalize_context
from pickleseal.keys.keyring import Keyring
from pickleseal.keys.store.lookup import find_keyring
from pickleseal.persistence import pin_file as pinning
from pickleseal.persistence import pins as pin_rules
from pickleseal.persistence import policy
from pickleseal.pickling import load as pickling
from pickleseal.pickling import versions
from pickleseal.pickling.names import Allowed, modules_of

Ring = Keyring | str | os.PathLike[str] | None
Source = Path | Readable
Target = Path | Writable
Pickler = Literal["pickle", "cloudpickle"]
Compress = Literal["zstd"] | int | tuple[str, int] | None
OnMismatch = Literal["warn", "raise", "ignore"]

_MAX_CLASS_NAME = 1000
_MANY_NAMES = 256
"""What is worked out from more names than these is not kept for the next dump."""
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
) -> None:
    """Pickle an object into a file, sealed: who holds the key can tell that it is yours, unchanged.

    obj: any object that pickle takes.
    file: a path (str or os.PathLike), written atomically; or a binary file object, or
        any object with `write`, which is left open.
    protocol: pickle's, 0 to 5, or -1 for the highest. Default: 5, whose large buffers are
        not copied whole.
    fix_imports, buffer_callback: as in pickle. Buffers that the callback takes out lie
        outside the envelope and are bound to it.
    keyring: a Keyring or the path of a keyring's directory. Default: what PICKLESEAL_KEYRING
        or PICKLESEAL_KEY name, else the user's own.
    context: what the file is for, such as "fraud/v3" (1 to 255 bytes of UTF-8). A load
        must name the same. Default: none.
    serial: your count of versions of what the context names, 0 to 2^53 - 1, so that a load can
        refuse an older one. Default: none.
    expires: when loads begin to refuse it: a datetime with a time zone, or a timedelta from now
        by the clock. Default: never.
    info: facts of your own, such as metrics, kept in the sealed header: a dict of JSON
        values without null, read by `inspect` without unpickling. NumPy's scalars are taken
        as the Python values that they hold.
    pickler: "pickle", or "cloudpickle" for lambdas and what `__main__` defines.
    compress: "zstd", or a level from 1 (fast) to 22 (small), or ("zstd", level). "zstd" and True
        are level 3. Default: no compression, which is the fastest way for arrays.
    durable: wait until a path's file is on disk. Default True.

    Raises KeyringError where there is no key to seal with, MetadataError (a ValueError) for a
    context, serial, time or info that cannot be sealed, TargetError for a path that is no regular
    file, OSError where it cannot be written, and what pickling raises. On any error a path is as
    it was before. Warns (MainModuleWarning) of names of `__main__`, which load only where
    `__main__` defines them.

    The layout is laid down in the written format.
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
    write_envelope(file, head.data, segments, head.finish, head.key.suite, durable=durable)


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
    """Give what `signed_dump` would write, as bytes. The arguments and errors are the same."""
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


def signed_load(
    file: Source,
    *,
    fix_imports: bool = True,
    encoding: str = "ASCII",
    errors: str = "strict",
    buffers: Iterable[Any] | None = None,
    keyring: Ring = None,
    context: str | None = None,
    min_serial: int | None = None,
    pins: Path | None = None,
    max_age: timedelta | None = None,
    expect: str | None = None,
    allow: Iterable[str] | None = None,
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
    min_serial: refuse a file whose serial is lower, or that has none. Default: any.
    pins: the path of a file that remembers, for each context, the highest serial that was loaded
        and its content, and so refuses an older one; it is written when the load is
        done. Default: what PICKLESEAL_PINS names, else none.
    max_age: refuse a file that was sealed longer ago (a timedelta), or that says it was sealed
        over a minute from now. Default: any.
    expect: the one content to accept, `ps<suite>:` and 64 hexadecimal digits, as `inspect` tells
        it. Default: any.
    allow: what the pickle may refer to: modules, with all below them ("sklearn"), and single names
        ("builtins.set"), as they are called today. Default: what was recorded when it was sealed.
    on_mismatch: what to do where Python or a package differs from the version sealed with:
        "warn" (default), "raise", or "ignore".
    max_bytes: refuse an envelope of more bytes, or one that would expand to more. Default: no
        bound.

    Raises a SealError, which is a pickle.UnpicklingError, for all that is refused (its
    subclasses in pickleseal.errors tell why), KeyringError where there is no key, OSError
    where the file cannot be read, and what the object's own classes raise while unpickling.

    The order of the checks is laid down in the written format, "Reading".
    """
    demands = _demands(
        context=context,
        min_serial=min_serial,
        pins=pins,
        max_age=max_age,
        expect=expect,
        allow=allow,
        on_mismatch=on_mismatch,
        max_bytes=max_bytes,
    )
    with open_source(file) as source, reader.naming(source.name):
        payload = reader.read(
            source,
            lambda: find_keyring(keyring, to_open=True),
            check=demands.check_head,
            max_bytes=max_bytes,
        )
    with reader.naming(source.name):
        return _restore(
            payload,
            source.name,
            demands,
            fix_imports=fix_imports,
            encoding=encoding,
            errors=errors,
            buffers=buffers,
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
    min_serial: int | None = None,
    pins: Path | None = None,
    max_age: timedelta | None = None,
    expect: str | None = None,
    allow: Iterable[str] | None = None,
    on_mismatch: OnMismatch = "warn",
    max_bytes: int | None = None,
) -> Any:  # noqa: ANN401 - what was sealed
    """Load an object from the bytes of one envelope, as `signed_load` does from a file.

    data: any bytes-like object. One that could change is copied before it is checked.
    The other arguments and the errors are those of `signed_load`.
    """
    demands = _demands(
        context=context,
        min_serial=min_serial,
        pins=pins,
        max_age=max_age,
        expect=expect,
        allow=allow,
        on_mismatch=on_mismatch,
        max_bytes=max_bytes,
    )
    source = memory_source(data)
    payload = reader.read(
        source,
        lambda: find_keyring(keyring, to_open=True),
        check=demands.check_head,
        max_bytes=max_bytes,
    )
    return _restore(
        payload,
        None,
        demands,
        fix_imports=fix_imports,
        encoding=encoding,
        errors=errors,
        buffers=buffers,
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


def memory_source(data: bytes | bytearray | memoryview) -> MemorySource:
    """Give a source over bytes-like data, copied first where somebody could change it."""
    return MemorySource(frozen(data))


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
    serial: int | None,
    expires: datetime | timedelta | None,
    info: Mapping[str, Any] | None,
    pickler: str,
    compress: Compress,
) -> tuple[seal.SealedHead, list[memoryview]]:
    level = compression.level_of(compress)
    sealed_for = None if context is None else normalize_context(context)
    key = find_keyring(keyring).sealing_key(context=sealed_for, now=time.time())
    pickled = pickling.dump(
        obj,
        protocol=protocol,
        fix_imports=fix_imports,
        buffer_callback=buffer_callback,
        pickler=pickler,
    )
    created = now()
    told = told_of(pickled.names)
    if "__main__" in told.modules:
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
        versions=versions.versions_of(told.modules),
        imports=told.imports,
        imports_omitted=told.omitted,
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
        ' program: put that into a module, or give pickler="cloudpickle"',
        MainModuleWarning,
        stacklevel=_callers_level(),
    )


class Told(NamedTuple):
    """What an envelope tells of the names that a pickle refers to."""

    imports: tuple[tuple[str, str], ...] | None
    omitted: int | None
    modules: tuple[str, ...]
    """The top-level ones, sorted."""


def told_of(names: pickling.Names) -> Told:
    """Give what goes into an envelope of the names that a pickle refers to."""
    return (_told_of if len(names) > _MANY_NAMES else _kept_told_of)(names)


def _told_of(names: pickling.Names) -> Told:
    modules = tuple(sorted(modules_of(names)))
    if md.fits_imports(names):
        return Told(tuple(sorted(names)), None, modules)
    return Told(None, len(names), modules)


_kept_told_of = functools.lru_cache(32)(_told_of)


def serial_of(serial: SupportsIndex | None) -> int | None:
    """Give a serial as a plain int: numpy has whole numbers too."""
    if serial is None or isinstance(serial, int):
        return serial
    try:
        return operator.index(serial)
    except TypeError:
        return cast("int", serial)  # and so it is refused with the other metadata


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
        raise MetadataError("expires lies before the time at which it is sealed")
    return int(over)


class _Demands(NamedTuple):
    """What a load asks of an envelope beyond that its seal holds."""

    context: str | None
    min_serial: int | None
    pins: pinning.PinFile | None
    max_age: float | None
    expect: str | None
    allowed: Allowed | None
    on_mismatch: OnMismatch

    def check_head(self, head: seal.AuthenticHead) -> None:
        """Judge a genuine head, before the body is read."""
        metadata = head.metadata
        policy.check_head(head.metadata, now=time.time(), context=self.context)
        policy.check_age(metadata, self.max_age, time.time())
        policy.check_serial(metadata, self.min_serial)
        if self.pins is not None:
            pin_rules.check_head(metadata, self._pin(metadata), self._pins_path())
        policy.check_imports(metadata, self.allowed)
        if self.on_mismatch == "raise":
            drifts = _drifts(metadata)
            if drifts:
                raise VersionMismatchError(_describe(metadata, drifts))

    def check_whole(self, metadata: md.Metadata, digest: str) -> pin_rules.Pin | None:
        """Judge what is whole, before it is unpickled; give its pin if that is to be noted."""
        policy.check_digest(digest, self.expect)
        if self.pins is None:
            return None
        found = pin_rules.Pin.of(metadata, digest)
        pin = self._pin(metadata)
        pin_rules.check_whole(found, pin, metadata.context, self._pins_path())
        return found if found is not None and pin_rules.is_newer(found, pin) else None

    def _pins_path(self) -> str | None:
        return None if self.pins is None else str(self.pins.path)

    def _pin(self, metadata: md.Metadata) -> pin_rules.Pin | None:
        if self.pins is None or metadata.context is None:
            return None
        return self.pins.read().get(metadata.context)


def _demands(
    *,
    context: str | None,
    min_serial: int | None,
    pins: Path | None,
    max_age: timedelta | None,
    expect: str | None,
    allow: Iterable[str] | None,
    on_mismatch: OnMismatch,
    max_bytes: int | None,
) -> _Demands:
    """Take the arguments of a load, before anything is read."""
    if min_serial is not None:
        policy.check_kind("min_serial", min_serial, int)
    if max_bytes is not None:
        policy.check_kind("max_bytes", max_bytes, int)
    if expect is not None:
        policy.check_expected(expect)
    if on_mismatch not in ("warn", "raise", "ignore"):
        raise ValueError(
            f"on_mismatch must be 'warn', 'raise' or 'ignore', not {shown(repr(on_mismatch))}"
        )
    pin_file = pinning.find_pins(pins)
    if pins is not None and context is None:
        raise ValueError("pins go by context: name the context, too")
    if max_age is not None and not isinstance(max_age, timedelta):
        raise TypeError(f"max_age takes a timedelta, not {type(max_age).__name__}")
    return _Demands(
        None if context is None else normalize_context(context),
        min_serial,
        pin_file,
        None if max_age is None else max_age.total_seconds(),
        expect,
        None if allow is None else Allowed.of(allow),
        on_mismatch,
    )


def _restore(
    payload: Verified,
    name: str | None,
    demands: _Demands,
    *,
    fix_imports: bool,
    encoding: str,
    errors: str,
    buffers: Iterable[Any] | None,
) -> Any:  # noqa: ANN401 - what was sealed
    metadata = payload.head.metadata
    digest = payload.digest
    found = demands.check_whole(metadata, digest)
    if demands.on_mismatch == "warn":
        for drift in _drifts(metadata):
            message = _describe(metadata, [drift])
            warnings.warn(
                versions.warning(
                    f"{shown(name)}: {message}" if name else message,
                    package=drift.package,
                    sealed=drift.sealed,
                    here=drift.here,
                    class_name=(metadata.class_name or "").rpartition(".")[2],
                ),
                stacklevel=_callers_level(),
            )
    # The caller's own code, if it is a generator: what that unpickles is no part of the load.
    given = list(buffers) if buffers is not None and metadata.external is not None else None
    sys.audit("pickleseal.load", name, digest, payload.head.key.id, metadata.context)
    obj = pickling.restore(
        payload,
        fix_imports=fix_imports,
        encoding=encoding,
        errors=errors,
        buffers=given,
        allow=demands.allowed,
    )
    if found is not None and demands.pins is not None and metadata.context is not None:
        demands.pins.note(metadata.context, found)
    return obj


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
    return policy.drifts(sealed, versions.versions_here(sealed))


def _describe(metadata: md.Metadata, drifts: list[policy.Drift]) -> str:
    what = f"a {shown(metadata.class_name)}" if metadata.class_name else "an object"
    return f"{what} was sealed with other versions: {'; '.join(map(str, drifts))}"
