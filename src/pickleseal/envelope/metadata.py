"""The metadata of an envelope: their fields and their canonical JSON.

The rule is docs/reference/format.md, "Metadata". `decode` also reads unauthenticated bytes, for
`inspect`: it takes bounded time and raises nothing but MalformedError.
"""

import functools
import json
import math
import re
import sys
from collections.abc import Callable, Mapping
from copy import deepcopy
from itertools import chain
from typing import Any, NamedTuple

from pickleseal.envelope import digests
from pickleseal.errors import MalformedError, MetadataError, holds_key_line
from pickleseal.files.strict_json import parse_json
from pickleseal.keys.context import CONTROL, context_fault

MAX_SIZE = 1 << 16
MAX_IMPORTS_SIZE = 48 << 10
MAX_INTEGER = (1 << 53) - 1

CONTENTS = ("pickle", "joblib", "inventory")
SOURCES = ("dumped", "adopted")

_MAX_DEPTH = 4
_PAIRS = {list, tuple}
_KEPT = 32
"""The size of the two caches. A program that dumps or loads many small objects uses the same
metadata for all of one second: for a small model the caches save 17 of 97 us of a dump, and 37 of
107 us of a load."""
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}", re.ASCII)


def _as_json(value: object) -> Any:  # noqa: ANN401 - any JSON
    """Return a mapping or a NumPy number as the type that json writes."""
    return dict(value) if isinstance(value, Mapping) else _plain(value)


def _plain(value: Any) -> Any:  # noqa: ANN401 - any value
    """Return a NumPy scalar as the bool, int or float it holds; anything else unchanged.

    Other kinds stay: the item of a datetime64[ns] is a bare count of nanoseconds.
    """
    return value.item() if _is_scalar(value) and value.dtype.kind in "biuf" else value


def _is_scalar(value: object) -> bool:
    """Return whether a value is a NumPy scalar, without importing NumPy."""
    return isinstance(value, getattr(sys.modules.get("numpy"), "generic", ()))


_dump = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False, default=_as_json
).encode


class External(NamedTuple):
    """Out-of-band buffers that the caller keeps outside the envelope, and the digest of them."""

    buffers: int
    size: int
    digest: str


class Metadata(NamedTuple):
    """The metadata of an envelope. All fields but `content` may be None.

    Attributes
    ----------
    content : {"pickle", "joblib", "inventory"}
        What the envelope holds.
    source : {"dumped", "adopted"} or None
        Whether the content was pickled when it was sealed, or was there before.
    class_name : str or None
        Module and qualified name of the object's class.
    context : str or None
        What the envelope is for.
    created : int or None
        When it was sealed, in Unix seconds.
    expires : int or None
        When loads begin to refuse it, in Unix seconds.
    serial : int or None
        The user's count of versions within the context.
    versions : mapping of str to str, or None
        Versions of Python and of the packages that the object uses.
    imports : tuple of pairs of str, or None
        The names that the pickle refers to: module and name, sorted.
    imports_omitted : int or None
        How many names there are, if they are too many to list.
    raw_size : int or None
        The size of joblib content when it is unpacked, in bytes.
    external : External or None
        The buffers that are kept outside the envelope.
    info : mapping or None
        Facts of the user's own.

    See Also
    --------
    inspect : Read the metadata of a file.

    Notes
    -----
    The fields are those of the format's reference, "Metadata".

    Examples
    --------
    >>> import io
    >>> from pickleseal import Key, Keyring, inspect, signed_dumps
    >>> ring = Keyring(Key.generate())
    >>> facts = inspect(io.BytesIO(signed_dumps(1, keyring=ring, serial=7)), keyring=ring)
    >>> facts.metadata.content, facts.metadata.serial
    ('pickle', 7)
    """

    content: str
    source: str | None = None
    class_name: str | None = None
    context: str | None = None
    created: int | None = None
    expires: int | None = None
    serial: int | None = None
    versions: Mapping[str, str] | None = None
    imports: tuple[tuple[str, str], ...] | None = None
    imports_omitted: int | None = None
    raw_size: int | None = None
    external: External | None = None
    info: Mapping[str, Any] | None = None

    def encode(self) -> bytes:
        """Return the canonical JSON. Raise MetadataError if a field does not fit the format."""
        if self.info is not None or self.external is not None:
            return _encode(self)  # equal values may differ in type further in, as 1 and True
        try:
            versions = None if self.versions is None else tuple(self.versions.items())
            return _encoded(versions, *self[:_VERSIONS], *self[_VERSIONS + 1 :])
        except (TypeError, AttributeError):  # unhashable, and so refused
            return _encode(self)

    @classmethod
    def decode(cls, data: bytes) -> "Metadata":
        """Parse canonical JSON. Raise MalformedError for anything else."""
        return decode_shared(data).copy()

    def copy(self) -> "Metadata":
        """Return a copy that shares no mapping with this."""
        return self._replace(
            versions=None if self.versions is None else dict(self.versions),
            info=None if self.info is None else deepcopy(self.info),
        )


_VERSIONS = Metadata._fields.index("versions")


def _encode(metadata: Metadata) -> bytes:
    fields = _to_fields(metadata)
    if metadata.info is not None and not isinstance(metadata.info, Mapping):
        raise MetadataError("info: it must be a dict")  # the caller's word for an object
    fault = _schema_fault(fields)
    if fault:
        raise MetadataError(fault)
    text = _dump(fields)
    if metadata.info is not None and holds_key_line(text):
        raise MetadataError("info cannot contain a key line: a sealed file is not encrypted")
    data = text.encode()
    if len(data) > MAX_SIZE:
        raise MetadataError(
            f"the metadata would take {len(data)} bytes, and an envelope has room for"
            f" {MAX_SIZE}: give a smaller info"
        )
    return data


@functools.lru_cache(_KEPT, typed=True)  # True and 1.0 equal 1, and neither is a count
def _encoded(versions: tuple[tuple[str, str], ...] | None, *others: Any) -> bytes:  # noqa: ANN401
    fields = list(others)
    fields.insert(_VERSIONS, None if versions is None else dict(versions))
    return _encode(Metadata._make(fields))


@functools.lru_cache(_KEPT)
def decode_shared(data: bytes) -> Metadata:
    """Do what `Metadata.decode` does; the result is shared, and must not be changed."""
    try:
        fields = parse_json(data.decode())
        canonical = isinstance(fields, dict) and _dump(fields).encode() == data
    except (ValueError, RecursionError):
        # ValueError: not UTF-8, not JSON, a number out of bounds, a lone surrogate.
        canonical = False
    if not canonical:  # 5.7
        raise MalformedError("the metadata are not canonical JSON")
    fault = _schema_fault(fields)
    if fault:
        raise MalformedError(f"the metadata do not follow the format: {fault}")
    return Metadata(**_from_fields(fields))


def fits_imports(names: frozenset[tuple[str, str]]) -> bool:
    """Return whether metadata can list these names; if not, they record the count."""
    text = "".join(chain.from_iterable(names))
    if CONTROL.search(text):
        return False
    escapes = text.count('"') + text.count("\\")
    return len(text.encode()) + escapes + len('["",""],') * len(names) <= MAX_IMPORTS_SIZE


def _to_fields(metadata: Metadata) -> dict[str, Any]:
    fields = {
        name: value for name, value in zip(_NAMES, metadata, strict=True) if value is not None
    }
    if metadata.external is not None:
        buffers, size, digest = metadata.external
        fields["external"] = {"count": buffers, "bytes": size, "digest": digest}
    return fields


_NAMES = tuple("class" if name == "class_name" else name for name in Metadata._fields)


def _from_fields(fields: dict[str, Any]) -> dict[str, Any]:
    if "class" in fields:
        fields["class_name"] = fields.pop("class")
    if "imports" in fields:
        fields["imports"] = tuple((module, name) for module, name in fields["imports"])
    if "external" in fields:
        external = fields["external"]
        fields["external"] = External(external["count"], external["bytes"], external["digest"])
    return fields


def _text_fault(value: object) -> str | None:
    if not isinstance(value, str):
        return "it must be text"
    if CONTROL.search(value):
        return "text holds a control character, such as a line break, or a lone surrogate"
    return None


def _count_fault(value: object) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_INTEGER:
        return None
    return "it must be an integer from 0 to 2^53 - 1"


def _name_fault(name: object) -> str | None:
    if not isinstance(name, str):
        return f"a name is of type {type(name).__name__}, and must be text"
    if _NAME.fullmatch(name):
        return None
    return f"the name {name[:80]!r} is not 1 to 64 letters, digits, dots, dashes and underscores"


def _versions_fault(value: object) -> str | None:
    if not isinstance(value, Mapping):
        return "it must be an object"
    for name, text in value.items():
        fault = _name_fault(name) or _text_fault(text)
        if fault:
            return fault
    return None


def _imports_fault(value: object) -> str | None:
    if not isinstance(value, list | tuple):
        return "it must be a list"
    texts: list[str] = []
    last: tuple[str, ...] = ()
    for pair in value:
        if type(pair) not in _PAIRS or len(pair) != 2:
            return "each import must be a pair of texts"
        module, name = pair
        if type(module) is not str or type(name) is not str:
            return "each import must be a pair of texts"
        if (module, name) <= last:
            return "the imports must be sorted, each one once"
        last = (module, name)
        texts += last
    return _text_fault("".join(texts))


def _external_fault(value: object) -> str | None:
    if isinstance(value, Mapping) and value.keys() == {"count", "bytes", "digest"}:
        digest = value["digest"]
        if (
            not _count_fault(value["count"])
            and not _count_fault(value["bytes"])
            and value["count"] > 0
            and digests.is_sha256(digest)
        ):
            return None
    return "it must be an object of count, bytes and digest"


def _info_fault(value: object, depth: int = 2) -> str | None:
    """Return what is wrong with a value under `info`, or None; `depth` counts from the top."""
    if depth == 2 and not isinstance(value, Mapping):
        return "it must be an object"
    value = _plain(value)
    if isinstance(value, str):
        return _text_fault(value)
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        if -MAX_INTEGER - 1 <= value <= MAX_INTEGER:
            return None
        return "an integer is out of -2^53 to 2^53 - 1"
    if isinstance(value, float):
        return None if math.isfinite(value) else "a float is not finite"
    if not isinstance(value, Mapping | list | tuple):
        listed = hasattr(value, "tolist") and not _is_scalar(value)
        hint = " (give its .tolist())" if listed else ""
        return f"a value is of type {type(value).__name__}, which info does not take{hint}"
    if depth > _MAX_DEPTH:
        return f"it is nested deeper than {_MAX_DEPTH} levels, the metadata themselves being one"
    if isinstance(value, Mapping):
        for name, item in value.items():
            fault = _name_fault(name)
            if fault:
                return fault
            fault = _info_fault(item, depth + 1)
            if fault:
                return f"{name}: {fault}"
        return None
    return next((fault for item in value if (fault := _info_fault(item, depth + 1))), None)


_FIELDS: Mapping[str, Callable[[Any], str | None]] = {
    "class": _text_fault,
    "content": lambda value: None if value in CONTENTS else "it is not a known content",
    "context": context_fault,
    "created": _count_fault,
    "expires": _count_fault,
    "external": _external_fault,
    "imports": _imports_fault,
    "imports_omitted": _count_fault,
    "info": _info_fault,
    "raw_size": _count_fault,
    "serial": _count_fault,
    "source": lambda value: None if value in SOURCES else "it is not a known source",
    "versions": _versions_fault,
}


def _schema_fault(fields: Mapping[str, Any]) -> str | None:
    """Return what is wrong with the fields of metadata, or None."""
    if "content" not in fields:  # 5.8
        return "there is no content field"
    for name, value in fields.items():
        check = _FIELDS.get(name)
        if check is None:  # 5.8
            return f"there is no field named {name!r}"
        fault = check(value)
        if fault:  # 5.8
            return f"{name}: {fault}"
    if "imports" in fields and "imports_omitted" in fields:  # 5.9
        return "imports and imports_omitted exclude each other"
    if ("raw_size" in fields) != (fields["content"] == "joblib"):  # 5.10
        return "raw_size belongs to joblib content, and only there"
    if "external" in fields and fields["content"] != "pickle":  # 5.11
        return "external belongs to pickle content"
    return None
