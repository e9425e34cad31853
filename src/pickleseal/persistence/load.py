"""signed_load, signed_loads, and load, loads with pickle's signatures.

The order of a load's checks is that of docs/reference/format.md, "Reading": `open_source` takes
step 1, `reader.read_head` steps 2 to 4, `seal.open_head` steps 4 to 6, `LoadPolicy.check_head`
step 6, `reader.read_body` and `LoadPolicy.check_content` step 7, `pickling.restore` step 8. A
comment with a number beside a check, such as 6.3, names it there or in payload.md, "Reading".
"""

import functools
import sys
import time
import warnings
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any, Literal, NamedTuple

from pickleseal.envelope import reader
from pickleseal.envelope.metadata import Metadata
from pickleseal.envelope.seal import Verified
from pickleseal.envelope.source import Source, memory_source, open_source
from pickleseal.errors import VersionMismatchError, shown
from pickleseal.files.handles import Path, Readable
from pickleseal.files.places import Named, Options, steady
from pickleseal.keys.context import normalize_context
from pickleseal.keys.store.lookup import Ring, find_keyring
from pickleseal.persistence import pins as pin_rules
from pickleseal.persistence import policy as rules
from pickleseal.persistence.callers import callers_level
from pickleseal.persistence.pin_file import PinFile, find_pins
from pickleseal.pickling import versions
from pickleseal.pickling.load import restore
from pickleseal.pickling.lookup import Python2
from pickleseal.pickling.names import Allowed

OnMismatch = Literal["warn", "raise", "ignore"]


def signed_load(
    file: Path | Readable | Named,
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
    storage_options: Options = None,
) -> Any:  # noqa: ANN401 - what was sealed
    """Load an object from a file whose seal holds under a key of yours.

    Anything else is refused before it reaches the unpickler.

    Parameters
    ----------
    file : str, os.PathLike or binary file object
        A path or URL of exactly one envelope; or any object with `read` or `readinto`, which stays
        open, positioned just after its envelope. A URL (``s3://bucket/model.pkl``), an `OpenFile`
        and a `UPath` are read through fsspec.
    fix_imports, encoding, errors : optional
        As in `pickle.load`, for pickles of Python 2.
    buffers : iterable, optional
        The buffers that the dump's `buffer_callback` took out, in their order. They are checked
        against the seal first.
    keyring : Keyring, str or os.PathLike, optional
        A keyring or the path of its directory. Default: as for `signed_dump`.
    context : str, optional
        What the file must have been sealed for. Default: none; a file sealed for a context is
        refused.
    min_serial : int, optional
        Refuse a file with a lower serial, or without one. Default: any.
    pins : str or os.PathLike, optional
        The path of a file that remembers the highest serial loaded for each context, and its
        content, so that an older one is refused. It is written after the load. Default: what
        PICKLESEAL_PINS names, else none.
    max_age : datetime.timedelta, optional
        Refuse a file that was sealed longer ago, or whose time of sealing is over a minute in the
        future. Default: any.
    expect : str, optional
        The only digest to accept: `ps<suite>:` and 64 hexadecimal digits, as `inspect` shows it.
        Default: any.
    allow : iterable of str, optional
        What the pickle may refer to: modules with all below them ("sklearn"), and single names
        ("builtins.set"), as they are called in Python 3. Default: the names that were recorded when
        it was sealed.
    on_mismatch : {"warn", "raise", "ignore"}, default "warn"
        What to do if Python or a package differs from the version sealed with.
    max_bytes : int, optional
        Refuse an envelope of more bytes, or one that would expand to more. Default: no bound.
    storage_options : mapping, optional
        What fsspec reaches the store of a URL with. Default: its own configuration.

    Returns
    -------
    object
        The object that was sealed.

    Raises
    ------
    SealError
        If the file is refused; its subclasses in `pickleseal.errors` say why. It is a
        pickle.UnpicklingError.
    KeyringError
        If there is no key.
    PinsError
        If the file of pins cannot be used.
    TypeError
        If an argument has the wrong type, before anything is read.
    OSError
        If the file cannot be read.

    Warns
    -----
    VersionMismatchWarning
        For each package that differs, if `on_mismatch` is "warn".

    See Also
    --------
    signed_loads : The same, from bytes.
    verify : Check a file without unpickling it.

    Notes
    -----
    The checks are in the order of the format's reference, "Reading". What the object's own classes
    raise while they are unpickled passes through.

    Just before it unpickles, a load raises Python's audit event ``pickleseal.load`` with the file's
    path or name (None for bytes), the content's digest, the key's id and the context.

    Examples
    --------
    >>> import io
    >>> from pickleseal import Key, Keyring, signed_dumps, signed_load
    >>> ring = Keyring(Key.generate())
    >>> file = io.BytesIO(signed_dumps([1, 2], keyring=ring, serial=7))
    >>> signed_load(file, keyring=ring, min_serial=7)
    [1, 2]
    """
    policy = _policy(
        context=context,
        min_serial=min_serial,
        pins=pins,
        max_age=max_age,
        expect=expect,
        allow=allow,
        on_mismatch=on_mismatch,
        max_bytes=max_bytes,
    )
    # Before the file is opened: what a newer dump and load remember meanwhile is not held against
    # the older file that was there.
    policy.pin()

    def read(_: int) -> tuple[Verified, str | None]:
        with open_source(file, storage_options) as source, reader.naming(source.name):
            return _verified(source, policy, keyring, max_bytes), source.name

    payload, name = steady(read)
    with reader.naming(name):
        return _restore(payload, name, policy, Python2(fix_imports, encoding, errors), buffers)


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
    """Load an object from the bytes of one envelope.

    Parameters
    ----------
    data : bytes, bytearray or memoryview
        Any bytes-like object. A mutable one is copied before it is checked.
    fix_imports, encoding, errors, buffers : optional
        As in `signed_load`.
    keyring, context, min_serial, pins, max_age : optional
        As in `signed_load`.
    expect, allow, on_mismatch, max_bytes : optional
        As in `signed_load`.

    Returns
    -------
    object
        The object that was sealed.

    Raises
    ------
    SealError, KeyringError, PinsError
        As in `signed_load`.

    See Also
    --------
    signed_load : The same, from a file.

    Notes
    -----
    The checks are in the order of the format's reference, "Reading".

    Examples
    --------
    >>> from pickleseal import Key, Keyring, signed_dumps, signed_loads
    >>> ring = Keyring(Key.generate())
    >>> signed_loads(signed_dumps([1, 2], keyring=ring), keyring=ring)
    [1, 2]
    """
    policy = _policy(
        context=context,
        min_serial=min_serial,
        pins=pins,
        max_age=max_age,
        expect=expect,
        allow=allow,
        on_mismatch=on_mismatch,
        max_bytes=max_bytes,
    )
    payload = _verified(memory_source(data), policy, keyring, max_bytes)
    return _restore(payload, None, policy, Python2(fix_imports, encoding, errors), buffers)


def load(
    file: Path | Readable | Named,
    *,
    fix_imports: bool = True,
    encoding: str = "ASCII",
    errors: str = "strict",
    buffers: Iterable[Any] | None = None,
) -> Any:  # noqa: ANN401 - what was sealed
    """Load a sealed object from a file, with the signature of `pickle.load`.

    It is `signed_load` with the key that is set up.

    Parameters
    ----------
    file : str, os.PathLike or binary file object
        As in `signed_load`.
    fix_imports, encoding, errors, buffers : optional
        As in `pickle.load`.

    Returns
    -------
    object
        The object that was sealed.

    See Also
    --------
    signed_load : The same with a keyring, a context and more.

    Notes
    -----
    A file that was sealed for a context is refused: name it to `signed_load`.

    Examples
    --------
    >>> import io
    >>> import pickleseal
    >>> pickleseal.load(io.BytesIO(pickleseal.dumps([1, 2])))
    [1, 2]
    """
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
    """Load a sealed object from bytes, with the signature of `pickle.loads`.

    It is `signed_loads` with the key that is set up.

    Parameters
    ----------
    data : bytes, bytearray or memoryview
        Any bytes-like object.
    fix_imports, encoding, errors, buffers : optional
        As in `pickle.loads`.

    Returns
    -------
    object
        The object that was sealed.

    See Also
    --------
    signed_loads : The same with a keyring, a context and more.

    Notes
    -----
    An envelope that was sealed for a context is refused: name it to `signed_loads`.

    Examples
    --------
    >>> import pickleseal
    >>> pickleseal.loads(pickleseal.dumps([1, 2]))
    [1, 2]
    """
    return signed_loads(
        data, fix_imports=fix_imports, encoding=encoding, errors=errors, buffers=buffers
    )


class LoadPolicy(NamedTuple):
    """What a load asks of an envelope beyond a seal that holds. An audit judges by it, too.

    `context` is in normal form, `max_age` in seconds. `pin` returns what was remembered of that
    context, from one reading of the file.
    """

    context: str | None = None
    min_serial: int | None = None
    max_age: float | None = None
    expect: str | None = None
    allowed: Allowed | None = None
    on_mismatch: OnMismatch = "ignore"
    pin_file: PinFile | None = None
    pin: Callable[[], pin_rules.Pin | None] = lambda: None

    def check_head(self, metadata: Metadata, now: float) -> None:
        """Check an authentic head at `now` (Unix seconds), before the body is read.

        The checks and their order are those of format.md, "Reading", step 6; 6.1 and 6.2 are done.
        """
        rules.check_context(metadata.context, self.context)  # 6.3
        rules.check_expiry(metadata, now)  # 6.4
        rules.check_age(metadata, self.max_age, now)  # 6.5, 6.6, 6.7
        rules.check_serial(metadata, self.min_serial)  # 6.8
        pin = self.pin()
        if pin is not None:
            pin_rules.check_head(metadata, pin, self._pins_path)  # 6.9
        rules.check_imports(metadata, self.allowed)  # 6.10
        if self.on_mismatch == "raise":  # 6.11
            drifts = _drifts(metadata)
            if drifts:
                raise VersionMismatchError(_describe(metadata, drifts))

    def check_content(self, metadata: Metadata, digest: str) -> None:
        """Check the content digest of an envelope whose tags hold, before it is unpickled.

        The checks and their order are those of format.md, "Reading", end of step 7.
        """
        rules.check_digest(digest, self.expect)  # 7.4
        pin = self.pin()
        found = None if pin is None else pin_rules.Pin.of(metadata, digest)
        if found is not None:
            pin_rules.check_whole(found, pin, metadata.context, self._pins_path)  # 7.5

    @property
    def _pins_path(self) -> str | None:
        return None if self.pin_file is None else str(self.pin_file.path)


def _policy(
    *,
    context: str | None,
    min_serial: int | None,
    pins: Path | None,
    max_age: timedelta | None,
    expect: str | None,
    allow: Iterable[str] | None,
    on_mismatch: OnMismatch,
    max_bytes: int | None,
) -> LoadPolicy:
    """Check the arguments of a load before anything is read."""
    for name, number in (("min_serial", min_serial), ("max_bytes", max_bytes)):
        if number is not None:
            rules.check_number(name, number)
    if expect is not None:
        rules.check_expected(expect)
    if on_mismatch not in ("warn", "raise", "ignore"):
        raise ValueError(
            f"on_mismatch must be 'warn', 'raise' or 'ignore', not {shown(repr(on_mismatch))}"
        )
    pin_file = find_pins(pins)
    if pins is not None and context is None:
        raise ValueError("pins are kept by context: pass context=, too")
    if max_age is not None and not isinstance(max_age, timedelta):
        raise TypeError(f"max_age takes a timedelta, not {type(max_age).__name__}")
    normal = None if context is None else normalize_context(context)
    policy = LoadPolicy(
        normal,
        min_serial,
        None if max_age is None else max_age.total_seconds(),
        expect,
        None if allow is None else Allowed.of(allow),
        on_mismatch,
        pin_file,
    )
    if pin_file is None or normal is None:
        return policy
    return policy._replace(pin=functools.cache(lambda: pin_file.read().get(normal)))


def _verified(source: Source, policy: LoadPolicy, keyring: Ring, max_bytes: int | None) -> Verified:
    """Read one envelope whole: steps 2 to 7 of format.md, "Reading"."""
    return reader.read(
        source,
        lambda key_id: find_keyring(keyring, to_open=key_id),
        check=lambda head: policy.check_head(head.metadata, time.time()),
        max_bytes=max_bytes,
    )


def _restore(
    payload: Verified,
    name: str | None,
    policy: LoadPolicy,
    old: Python2,
    buffers: Iterable[Any] | None,
) -> Any:  # noqa: ANN401 - what was sealed
    """Check the content, warn, unpickle and remember the pin: the rest of step 7, and step 8."""
    metadata = payload.head.metadata
    digest = payload.digest
    policy.check_content(metadata, digest)
    if policy.on_mismatch == "warn":
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
                stacklevel=callers_level(),
            )
    note = None
    if policy.pin_file is not None and metadata.context is not None:
        found = pin_rules.Pin.of(metadata, digest)
        if found is not None and pin_rules.is_newer(found, policy.pin()):
            policy.pin_file.check_writable()  # unpickling cannot be undone
            note = functools.partial(policy.pin_file.note, metadata.context, found)
    # `buffers` may be a generator, whose code is the caller's and no part of the load.
    given = list(buffers) if buffers is not None and metadata.external is not None else None
    sys.audit("pickleseal.load", name, digest, payload.head.key.id, metadata.context)
    obj = restore(payload, old, buffers=given, allow=policy.allowed)
    if note is not None:
        note()
    return obj


def _drifts(metadata: Metadata) -> list[rules.Drift]:
    sealed = metadata.versions or {}
    return rules.drifts(sealed, versions.versions_here(sealed))


def _describe(metadata: Metadata, drifts: list[rules.Drift]) -> str:
    what = f"a {shown(metadata.class_name)}" if metadata.class_name else "an object"
    return f"{what} was sealed with other versions: {'; '.join(map(str, drifts))}"
