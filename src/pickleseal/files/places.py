"""Where a file is: a path on disk, or an object in a store that fsspec reaches (`scheme://…`).

A path stays a path, with all that the rest of this folder promises of files. fsspec is imported
only where a URL comes.
"""

import base64
import errno
import itertools
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple, Protocol, TypeVar

from pickleseal.errors import PicklesealError, TargetError, shown
from pickleseal.files.handles import text_path

_T = TypeVar("_T")

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+(::[A-Za-z0-9+.-]+)*://")
_CHAINED = re.compile(rf"([^:]+://.*?)(::{_URL.pattern}.*)", re.DOTALL)
_USER = re.compile(r"(?<=://)[^/]*:[^/]*@|(?<=http://)[^/?]*@|(?<=https://)[^/?]*@", re.IGNORECASE)
"""A user's name and password in a URL, or the token in their place."""
_CREDENTIAL = re.compile("sig|token|key|secret|cred|auth|pass|pwd|jwt|hmac|session", re.IGNORECASE)
"""What the name of a parameter has in it that must stay secret, as in presigned URLs."""
_LIKE_A_TOKEN = re.compile(r"[\w%+/=~-]{20,}")
_IN_TEXT = re.compile(r"[A-Za-z][A-Za-z0-9+.:-]+://[^\s'\"<>]+")
_NOISE = re.compile("(RequestId|Time|ErrorCode|Content):")
_NO_BUCKET = re.compile(
    "(bucket|container) does not exist|no such (bucket|container)", re.IGNORECASE
)
_UNREACHED = {"ConnectionError", "TimeoutError", "gaierror", "ClientConnectionError"}
"""Errors of a lost or missing connection: Python's, those that share the name, and aiohttp's."""
_NOT_THERE = "nothing is there: check the address"
_LOCAL = ("file://", "local://")
_TAGS = ("ETag", "etag", "generation", "mtime", "LastModified", "last_modified", "created")
"""What fsspec's stores call that which changes with an object, the surest first."""
_MD5 = re.compile("[A-Za-z0-9+/]{22}==")
_READINGS = 3
"""How often an object is read that is replaced all the time."""
_MOST_AT_ONCE = 5 << 30  # what S3 takes in one request

MISREAD = "fsspec takes the name for that of another"

Options = Mapping[str, Any] | None
"""The `storage_options` of a call: what fsspec's file system is made with."""


class Version(NamedTuple):
    """An object as it was seen: its size in bytes, and what changes when it is replaced."""

    size: int
    tag: str


class Remote(NamedTuple):
    """An object in a store, or the prefix that objects have in common.

    `fs` is the file system of fsspec, `path` is as it names the object, and `url` as the user does.
    It can be pickled, and holds what the store is reached with, and no key of pickleseal's.
    """

    fs: Any
    path: str
    url: str

    def beside(self, suffix: str) -> "Remote":
        """Return the place of the same name with a suffix."""
        front, rest = _parts(self.url)
        return Remote(self.fs, self.path + suffix, front + suffix + rest)

    def without(self, suffix: str) -> "Remote":
        """Return the place of the same name without a suffix."""
        front, rest = _parts(self.url)
        return Remote(self.fs, self.path.removesuffix(suffix), front.removesuffix(suffix) + rest)

    def below(self, inside: str) -> "Remote":
        """Return a place below this one; `inside` has `/` between its parts."""
        front, rest = _parts(self.url)
        return Remote(self.fs, _folder(self.path) + inside, _folder(front) + inside + rest)

    def exists(self) -> bool:
        """Return whether an object is here, or objects are below."""
        with suppress(FileNotFoundError):
            self.check_exists()
            return True
        return False

    def check_exists(self) -> None:
        """Raise FileNotFoundError unless an object is here, or objects are below."""
        # Not the file system's own `exists`, which calls what may not be read missing.
        with _asking(self.url):
            self.fs.invalidate_cache(self.path)
            self.fs.info(self.path)

    def is_prefix(self) -> bool:
        """Return whether the store says that there are objects below, and none here."""
        with suppress(OSError), _asking(self.url):
            return bool(self.fs.info(self.path)["type"] == "directory")
        return False

    def version(self) -> Version:
        """Return what the store says of the object now. Raise FileNotFoundError without one."""
        with _asking(self.url):
            self.fs.invalidate_cache(self.path)
            facts = self.fs.info(self.path)
            if facts["type"] != "file":
                raise FileNotFoundError(self.path)
            version = version_of(facts)
            if version is None:
                raise OSError(errno.EIO, "the server does not say how large it is", self.url)
            return version

    def objects(self) -> "Iterator[tuple[Remote, Version | None]]":
        """Yield the objects at and below this place, by name; None for what has no size listed."""
        with _asking(self.url):
            self.fs.invalidate_cache(self.path)
            itself = self._facts()
        if itself is not None:
            yield self, version_of(itself)
        start = _folder(self.path)
        for path, facts in self._listed():
            version = version_of(facts)
            # Consoles of stores write an empty object with a slash behind its name for a folder.
            is_mark = path.endswith("/") and version is not None and not version.size
            if is_mark or facts.get("type", "file") != "file":
                continue
            if path != self.path:
                below = path.removeprefix(start or "/")
                url = without_credentials(self.below(below).url)
                yield Remote(self.fs, path, url), version
            elif itself is None:
                yield self, version

    def _facts(self) -> Mapping[str, Any] | None:
        """Return what the store says of the object here, or None if only others are below."""
        # A store may have an object of the name that others have as a prefix; lists omit it.
        if "/" in self.path.strip("/"):
            with suppress(FileNotFoundError):
                facts: Mapping[str, Any] = self.fs.info(self.path)
                return facts if facts["type"] == "file" else None
        return None

    def _listed(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Yield the names below, and what the store lists of each."""
        with _asking(self.url):
            if not _is_s3fs(self.fs):
                found = self.fs.find(self.path, detail=True)
                if not isinstance(found, dict):
                    # adlfs, for which nothing can be below an object: what begins as it does.
                    bucket, _, name = self.path.strip("/").partition("/")
                    begun = self.fs.find(bucket, prefix=name, detail=True)
                    start = _folder(self.path)
                    found = {at: begun[at] for at in begun if at.startswith(start)}
                yield from ((path, found[path]) for path in sorted(found))
                return
            # Page by page: all names that `find` returns take 1 kB each.
            bucket, key, _ = self.fs.split_path(self.path)
            asked = {"Bucket": bucket, "Prefix": f"{key.rstrip('/')}/" if key else ""}
            while True:
                page = self.fs.call_s3("list_objects_v2", **asked)
                for facts in page.get("Contents", ()):
                    yield f"{bucket}/{facts['Key']}", {**facts, "size": facts["Size"]}
                if not page.get("IsTruncated"):
                    return
                asked["ContinuationToken"] = page["NextContinuationToken"]

    @property
    def is_misread(self) -> bool:
        """Whether fsspec takes the name for another one: it cuts a slash or version behind it."""
        split = getattr(self.fs, "split_path", None)
        cut = split is not None and "/".join(split(self.path)[:2]) != self.path
        return cut or self.path.endswith("/")

    def read(self, start: int, end: int) -> bytes:
        """Return the bytes from one offset to another, fewer only where the object ends."""
        with _asking(self.url):
            return bytes(self.fs.cat_file(self.path, start=start, end=end))

    def write(self, data: bytes, *, exclusive: bool = False, seen: Version | None = None) -> None:
        """Write the object: it appears whole or not at all.

        `exclusive`: raise TargetError if there is one. `seen`: raise TargetError unless the object
        is still this version. S3 and Azure check that; of other stores it is asked just before.
        """
        if self.is_misread:
            raise OSError(errno.EINVAL, MISREAD, self.url)
        try:
            with _asking(self.url):
                if exclusive:
                    # Not every file system heeds the mode: fsspec's caches pass it over.
                    if not _is_s3fs(self.fs) and self.exists():
                        raise FileExistsError
                    self.fs.pipe_file(self.path, data, mode="create")
                    return
                condition = {} if seen is None else self._condition(seen, len(data))
                if seen is not None and not condition and self.version() != seen:
                    raise changed_meanwhile(self.url)
                self.fs.pipe_file(self.path, data, **condition)
        except OSError as error:
            if exclusive and (isinstance(error, FileExistsError) or _is_condition(error)):
                raise TargetError(
                    f"{shown(self.url)} already exists, and is not overwritten"
                ) from None
            if _is_condition(error):
                raise changed_meanwhile(self.url) from None
            raise

    def _condition(self, seen: Version, size: int) -> dict[str, Any]:
        """Return what makes the store itself refuse to replace another version, if it can."""
        if _is_s3fs(self.fs) and seen.tag and size < _MOST_AT_ONCE:
            # In one request: s3fs knows no condition for one of several parts.
            return {"IfMatch": seen.tag, "chunksize": max(size, 50 << 20)}
        if _is_from(self.fs, "abfs", "service_client") and seen.tag:
            from azure.core import MatchConditions  # noqa: PLC0415 - adlfs brings it

            return {"etag": seen.tag, "match_condition": MatchConditions.IfNotModified}
        return {}

    def remove(self) -> None:
        """Delete the object."""
        with _asking(self.url):
            self.fs.rm_file(self.path)


class Named(Protocol):
    """An object that names a place: fsspec's `OpenFile`, or a `UPath`."""

    @property
    def fs(self) -> Any:  # noqa: ANN401 - a file system of fsspec
        """The file system."""

    @property
    def path(self) -> str:
        """The path, as the file system names it."""


Place = str | Remote
"""Where a file is: a local path, or a place in a store."""


def is_url(path: str) -> bool:
    """Return whether a path is `scheme://…`, and not one of a local file.

    It is a local path if the folder `scheme:` exists and fsspec does not know the scheme.
    """
    if _URL.match(path) is None or path.startswith(_LOCAL):
        return False
    return not os.path.isdir(path.partition("//")[0]) or _is_known(path)


def _is_known(url: str) -> bool:
    """Return whether fsspec knows the scheme of a URL, of which the outermost opens it."""
    try:
        from fsspec import available_protocols  # noqa: PLC0415 - only where a URL comes
    except ImportError:
        return False
    return re.split("::|://", url, maxsplit=1)[0] in available_protocols()


def inside(url: str, root: str) -> str:
    """Return what a URL has below that of a folder, or its last name if that is no folder of it."""
    (front, _), (start, _) = _parts(url), _parts(root)
    below = front.removeprefix(_folder(start))
    return below if below != front else front.rpartition("/")[2]


def absolute(path: str) -> str:
    """Return the absolute path of a local file; a URL is one already."""
    return path if is_url(path) else os.path.abspath(path)


def resolved(path: str) -> str:
    """Return a path with all links followed; a URL has none, and loses its credentials."""
    return without_credentials(path) if is_url(path) else os.path.realpath(path)


def place_of(file: Any, options: Options = None) -> Place | None:  # noqa: ANN401 - any object
    """Return the place that a path, a URL, fsspec's `OpenFile` or a `UPath` names.

    Return None for an open file. Raise TypeError for a path of bytes, and for `options` where
    nothing is opened with them.
    """
    # A `UPath` before 0.3 is a path, too, whose text has not what its store is reached with.
    named = _names_a_place(file)
    if isinstance(file, str | os.PathLike) and not named:
        text = text_path(file)
        if is_url(text):
            return _reached(text, options)
        _check_no_options(options)
        return next((text.removeprefix(one) for one in _LOCAL if text.startswith(one)), text)
    _check_no_options(options)
    if not named:
        return None
    if getattr(file, "compression", None) is not None:
        raise TypeError(
            "a file that fsspec compresses must be open: `with file as opened:`. For pickleseal's"
            " own compression there is compress="
        )
    protocols = file.fs.protocol
    if "file" in ((protocols,) if isinstance(protocols, str) else protocols):
        return str(file.path)
    return Remote(file.fs, file.path, without_credentials(file.fs.unstrip_protocol(file.path)))


def places_of(paths: Iterable[Any], options: Options = None) -> tuple[Place, ...]:
    """Return the places that paths and URLs name. `options` are for the URLs among them.

    Raise TypeError for an open file, and for options without a URL.
    """
    places: list[Place] = []
    for path in paths:
        url = isinstance(path, str | os.PathLike) and is_url(text_path(path))
        place = place_of(path, options if url else None)
        if place is None:
            raise TypeError(f"a path or a URL is needed, not {type(path).__name__}")
        places.append(place)
    if not any(isinstance(place, Remote) for place in places):
        _check_no_options(options)
    return tuple(places)


def without_credentials(path: str) -> str:
    """Return a path as messages show it.

    A URL loses its user and password. One of the web loses its query if that may hold a signature
    or a token; elsewhere a question mark is a part of an object's name.
    """
    if not is_url(path):
        return path
    path = _USER.sub("", path)
    if re.search("https?://", path, re.IGNORECASE) is None:
        return path
    address, _, query = path.partition("?")
    for parameter in query.split("&"):
        name, equals, value = parameter.partition("=")
        if (equals and _CREDENTIAL.search(name)) or _LIKE_A_TOKEN.fullmatch(value or name):
            return address
    return path


def past_caches(place: Place) -> Place:
    """Return a place as the store itself has it: a copy in a cache of fsspec may be outdated."""
    if not isinstance(place, Remote):
        return place
    from fsspec.implementations.cached import CachingFileSystem  # noqa: PLC0415 - as above

    fs = place.fs
    while isinstance(fs, CachingFileSystem):
        fs = fs.fs
    return place._replace(fs=fs)


def name_of(place: Place) -> str:
    """Return the path or the URL of a place."""
    return place if isinstance(place, str) else place.url


def exists(place: Place) -> bool:
    """Return whether anything is at a place, be it a link that leads nowhere."""
    return os.path.lexists(place) if isinstance(place, str) else place.exists()


def steady(read: Callable[[int], _T]) -> _T:
    """Return what `read` returns; read again if an object was replaced meanwhile.

    `read` is called with the number of the attempt, from 0.
    """
    for attempt in range(_READINGS - 1):
        try:
            return read(attempt)
        except OSError as error:
            if error.errno != errno.ESTALE or not is_url(str(error.filename)):
                raise
    return read(_READINGS - 1)


def changed_meanwhile(name: str) -> TargetError:
    """Return the error for a file or an object that is not replaced, as it is not the one seen."""
    return TargetError(f"another program changed {shown(name)} meanwhile: it was left as it is now")


def replaced_meanwhile(url: str) -> OSError:
    """Return the error for an object that was replaced between two of its ranges."""
    return OSError(errno.ESTALE, "it was replaced while it was read", url)


def version_of(facts: Mapping[str, Any]) -> Version | None:
    """Return the version that a store tells of, or None without its size."""
    if facts.get("size") is None:
        return None
    # Google's only tag that is a digest. What was composed of several objects has none.
    if _MD5.fullmatch(str(facts.get("md5Hash"))):
        return Version(int(facts["size"]), base64.b64decode(facts["md5Hash"]).hex())
    tag = next((facts[name] for name in _TAGS if facts.get(name)), "")
    # The store in memory lists times as seconds, and tells them as times.
    return Version(int(facts["size"]), str(tag.timestamp() if hasattr(tag, "timestamp") else tag))


def _names_a_place(file: Any) -> bool:  # noqa: ANN401 - any object
    """Return whether an object is an `OpenFile` or a `UPath`, which open files resemble."""
    opened = hasattr(file, "read") or hasattr(file, "readinto") or hasattr(file, "write")
    return not opened and hasattr(file, "fs") and isinstance(getattr(file, "path", None), str)


def _parts(url: str) -> tuple[str, str]:
    """Split a URL before what its object is in: `zip://it.pkl::s3://bucket/models.zip`."""
    found = _CHAINED.fullmatch(url)
    return (found[1], found[2]) if found else (url, "")


def _folder(path: str) -> str:
    """Return the path of a prefix with a slash at its end, unless it is a root."""
    return path if not path or path.endswith("://") else f"{path.rstrip('/')}/"


def _check_no_options(options: Options) -> None:
    if options:
        raise TypeError("storage_options are for a URL, such as s3://bucket/model.pkl")


def _reached(url: str, options: Options) -> Remote:
    scheme = url.partition("://")[0]
    try:
        from fsspec.core import url_to_fs  # noqa: PLC0415 - only where a URL comes
    except ImportError:
        raise PicklesealError(
            f"{scheme}:// needs fsspec, and the package for that store: pip install"
            " 'pickleseal[stores]', and s3fs for S3, gcsfs for Google Cloud, adlfs for Azure"
        ) from None
    named = without_credentials(url)
    with _asking(named):  # some file systems connect at once
        try:
            fs, path = url_to_fs(url, **(options or {}))
        except ImportError as error:
            raise PicklesealError(
                f"{scheme}:// needs one more package: {_message(error)}"
            ) from None
        except (ValueError, TypeError) as error:
            said = f"fsspec cannot open {shown(named)}: {_message(error).rstrip('.!')}"
            if _is_known(url):
                said += (
                    ". Variables, fsspec's configuration and storage_options= say how a store is"
                    " reached"
                )
            raise PicklesealError(said) from None
    if "::" in url.partition("://")[2] and not _opens_another(fs):
        raise OSError(errno.EINVAL, MISREAD, named)
    if _is_s3fs(fs) and not path.strip("/"):
        raise PicklesealError(f"{shown(named)} names no bucket, as in s3://bucket/models")
    return Remote(fs, path, named)


def _opens_another(fs: Any) -> bool:  # noqa: ANN401 - a file system of fsspec
    """Return whether a file system is opened in another; all drop what follows `::` in a name."""
    import inspect  # noqa: PLC0415 - takes long

    return bool({"fo", "target_protocol"} & inspect.signature(type(fs).__init__).parameters.keys())


@contextmanager
def _asking(url: str) -> Iterator[None]:
    """Turn what a store's package raises into an OSError that names the object."""
    try:
        yield
    except (PicklesealError, MemoryError, FileExistsError):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.filename == url:
            raise
        code, said = _told(_behind(error))
        raise OSError(code, said, url) from _cause(error)


def _behind(error: Exception) -> Exception:
    """Return the error itself, or the one that fsspec's HTTP calls a missing file."""
    cause = error.__cause__
    answered = isinstance(cause, OSError) or hasattr(cause, "status")
    is_other = isinstance(error, FileNotFoundError) and isinstance(cause, Exception) and answered
    return cause if is_other else error  # type: ignore[return-value]


def _told(error: Exception) -> tuple[int, str]:
    """Return the code and the text for an error of a store's package."""
    said = _message(error)
    status = _status(error)
    if status in (404, 410) or (status is None and isinstance(error, FileNotFoundError)):
        return errno.ENOENT, said if _NO_BUCKET.search(said) else _NOT_THERE
    if getattr(error, "status", None):  # aiohttp's, which names the address again
        said = f"the server answered with the HTTP status {status}"
    elif not isinstance(error, OSError):
        # The packages of stores have errors of their own, such as botocore's.
        said = f"{type(error).__name__}: {said}"
    refused = re.search("credentials|^Forbidden", said, re.IGNORECASE)
    if status in (401, 403) or isinstance(error, PermissionError) or refused:
        return errno.EACCES, f"no access: check your credentials and rights ({said})"
    lost = isinstance(error, FileNotFoundError)  # but the store did not say so
    code = error.errno if isinstance(error, OSError) and not lost else None
    if status is None and any(map(_is_unreached, _chain(error))):
        code = code if code in errno.errorcode else errno.EHOSTUNREACH
        said = f"the store can't be reached: check network and address ({said})"
    return code or errno.EIO, said


def _status(error: Exception) -> int | None:
    """Return the HTTP status that a server answered with, if it did."""
    # Not what was handled before: a 404 that led to another question does not answer that.
    for one in _chain(error, handled=False):
        response = getattr(one, "response", None)  # botocore's is a dictionary
        meta = response.get("ResponseMetadata", {}) if isinstance(response, dict) else {}
        status = (
            getattr(one, "status", None)
            or getattr(one, "status_code", None)
            or meta.get("HTTPStatusCode")
            or getattr(one, "code", None)
        )
        if isinstance(status, int | str) and re.fullmatch("[1-5][0-9][0-9]", str(status)):
            return int(status)
    return None


def _is_unreached(error: BaseException) -> bool:
    return not _UNREACHED.isdisjoint(kind.__name__ for kind in type(error).__mro__)


def _chain(error: BaseException | None, *, handled: bool = True) -> Iterator[BaseException]:
    """Yield an error and what caused it; `handled`: as a traceback shows them."""
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        seen.append(error)
        yield error
        shown_too = handled and not error.__suppress_context__
        error = error.__cause__ or (error.__context__ if shown_too else None)


def _message(error: Exception) -> str:
    # Some packages' errors have a text of their own, which names the address, too.
    text = str(error)
    if isinstance(error, OSError) and type(error).__str__ is OSError.__str__:
        text = error.strerror or text or os.strerror(error.errno or errno.EIO)
    # Azure appends its whole answer, and Google Cloud says why in a second line.
    lines = itertools.takewhile(lambda line: not _NOISE.match(line), text.splitlines())
    return _plain(" ".join(filter(None, map(str.strip, lines))) or text)


def _plain(text: str) -> str:
    """Return a text without the credentials in its URLs."""
    return _IN_TEXT.sub(lambda url: without_credentials(url[0]), text)


def _cause(error: Exception) -> Exception | None:
    """Return the error to chain; None if a traceback would show credentials with it."""
    texts = [str(one) for one in _chain(error)]
    return error if [_plain(text) for text in texts] == texts else None


def _is_s3fs(fs: Any) -> bool:  # noqa: ANN401 - a file system of fsspec
    return _is_from(fs, "s3", "call_s3")


def _is_from(fs: Any, protocol: str, member: str) -> bool:  # noqa: ANN401 - as above
    """Return whether a file system is that of s3fs or adlfs: others can stand for them, or wrap."""
    protocols = fs.protocol
    names = (protocols,) if isinstance(protocols, str) else protocols
    return protocol in names and hasattr(fs, member)


def _is_condition(error: OSError) -> bool:
    """Return whether a store refused a write since its condition does not hold."""
    cause = error.__cause__
    codes = (getattr(cause, "code", None), getattr(cause, "status_code", None))
    return 412 in codes or "pre-condition" in str(error) or "PreconditionFailed" in str(error)
