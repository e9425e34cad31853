"""The ways to save an object and get it back: pickleseal and its peers, each used as it is meant.

Each has a key of 32 bytes. None is given an advantage: what a tool does by itself (a temporary
file, a manifest, a look at versions) it does here too, and `note` says so.
"""

import atexit
import hashlib
import hmac
import inspect
import io
import os
import pickle
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BASELINE = "pickle"
KEY = hashlib.sha256(b"the key of all benchmarks").digest()
RING = "BENCHMARK_RING"
"""The variable with the folder of a keyring that processes share; there may be none in it yet."""


class Unavailable(Exception):  # noqa: N818 - the reason is shown, not a failure
    """A way cannot be measured here; the text is the reason."""


@dataclass
class Tools:
    """What a way does. `dump` and `load` take paths, `dumps` and `loads` are for bytes."""

    dump: Callable[..., None]
    """Save an object at a path; with `durable=True` wait until it is on disk."""
    load: Callable[[str], Any]
    dumps: Callable[[Any], bytes] | None = None
    loads: Callable[[bytes], Any] | None = None
    prepare: Callable[[str | bytes], None] | None = None
    """What a user does once and not at each load; it is not timed."""


@dataclass(frozen=True)
class Way:
    """A tool, or one setting of it."""

    name: str
    label: str
    make: Callable[[], Tools]
    """Import the tool. Raises ImportError or Unavailable where there is none."""
    package: str | None = None
    checks: bool = False
    """Whether a changed file is refused before a byte of it is unpickled."""
    compresses: bool = False
    note: str = ""


def sync(path: str) -> None:
    """Wait until a file and its name are on disk."""
    for target in (path, os.path.dirname(path)):
        descriptor = os.open(target, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _plain(dump: Callable[..., None], load: Callable[..., Any]) -> Tools:
    """Return the tools of a module that has `dump(obj, file)` and `load(file)`."""

    def dump_path(obj: Any, path: str, *, durable: bool) -> None:
        with open(path, "wb") as file:
            dump(obj, file)
        if durable:
            sync(path)

    def load_path(path: str) -> Any:
        with open(path, "rb") as file:
            return load(file)

    def dumps(obj: Any) -> bytes:
        file = io.BytesIO()
        dump(obj, file)
        return file.getvalue()

    return Tools(dump_path, load_path, dumps, lambda data: load(io.BytesIO(data)))


def _pickle() -> Tools:
    tools = _plain(lambda obj, file: pickle.dump(obj, file, 5), pickle.load)
    tools.dumps = lambda obj: pickle.dumps(obj, 5)
    tools.loads = pickle.loads
    return tools


def _cloudpickle() -> Tools:
    import cloudpickle

    tools = _plain(lambda obj, file: cloudpickle.dump(obj, file, 5), pickle.load)
    tools.dumps = lambda obj: cloudpickle.dumps(obj, 5)
    tools.loads = pickle.loads
    return tools


def _joblib(compress: int) -> Tools:
    import joblib

    def dump(obj: Any, path: str, *, durable: bool) -> None:
        joblib.dump(obj, path, compress=compress)
        if durable:
            sync(path)

    tools = _plain(lambda obj, file: joblib.dump(obj, file, compress=compress), joblib.load)
    tools.dump = dump
    tools.load = joblib.load
    return tools


def _skops() -> Tools:
    import skops.io as sio

    trusted: list[str] = []

    def prepare(saved: str | bytes) -> None:
        found = (
            sio.get_untrusted_types(file=saved)
            if isinstance(saved, str)
            else sio.get_untrusted_types(data=saved)
        )
        trusted[:] = found

    def dump(obj: Any, path: str, *, durable: bool) -> None:
        sio.dump(obj, path)
        if durable:
            sync(path)

    return Tools(
        dump,
        lambda path: sio.load(path, trusted=trusted),
        sio.dumps,
        lambda data: sio.loads(data, trusted=trusted),
        prepare,
    )


def _hand_rolled() -> Tools:
    def dumps(obj: Any) -> bytes:
        data = pickle.dumps(obj, 5)
        return hmac.new(KEY, data, hashlib.sha256).digest() + data

    def loads(sealed: bytes) -> Any:
        tag, data = sealed[:32], sealed[32:]
        if not hmac.compare_digest(tag, hmac.new(KEY, data, hashlib.sha256).digest()):
            raise ValueError("changed")
        return pickle.loads(data)

    def dump(obj: Any, path: str, *, durable: bool) -> None:
        data = pickle.dumps(obj, 5)
        tag = hmac.new(KEY, data, hashlib.sha256).digest()
        folder = os.path.dirname(path)
        with tempfile.NamedTemporaryFile(dir=folder, delete=False) as file:
            file.write(tag)
            file.write(data)
        os.replace(file.name, path)
        if durable:
            sync(path)

    def load(path: str) -> Any:
        with open(path, "rb") as file:
            tag = file.read(32)
            data = file.read()
        if not hmac.compare_digest(tag, hmac.new(KEY, data, hashlib.sha256).digest()):
            raise ValueError("changed")
        return pickle.loads(data)

    return Tools(dump, load, dumps, loads)


def _modelstamp() -> Tools:
    import modelstamp

    def dump(obj: Any, path: str, *, durable: bool) -> None:
        modelstamp.save(obj, path, backend="pickle", include_git=False, signing_key=KEY)
        if durable:
            sync(path)

    return Tools(dump, lambda path: modelstamp.load(path, return_manifest=False, signing_key=KEY))


def _securepickle() -> Tools:
    import secure_pickle

    def dump(obj: Any, path: str, *, durable: bool) -> None:
        secure_pickle.secure_dump(obj, path, key=KEY)
        if durable:
            sync(path)

    return Tools(
        dump,
        lambda path: secure_pickle.secure_load(path, key=KEY),
        lambda obj: secure_pickle.secure_dumps(obj, key=KEY),
        lambda data: secure_pickle.secure_loads(data, key=KEY),
    )


def _pickleseal(suite: str, compress: str | int | None = None) -> Tools:
    import pickleseal
    from pickleseal.keys.store.changes import create_key

    options: dict[str, Any] = {}
    if compress is not None:
        if "compress" not in inspect.signature(pickleseal.signed_dump).parameters:
            raise Unavailable("this version of pickleseal does not compress")
        options["compress"] = compress
    # Each call looks the ring up anew, as it does for those who name none.
    ring = os.environ.get(RING)
    if ring is None:
        ring = tempfile.mkdtemp()
        atexit.register(shutil.rmtree, ring, ignore_errors=True)
    if not os.path.exists(os.path.join(ring, "keyring.json")):
        create_key(Path(ring), suite=pickleseal.Suite[suite], note="", now=0)
    signed_dump, signed_load = pickleseal.signed_dump, pickleseal.signed_load

    def dump(obj: Any, path: str, *, durable: bool) -> None:
        signed_dump(obj, path, keyring=ring, durable=durable, **options)

    return Tools(
        dump,
        lambda path: signed_load(path, keyring=ring),
        lambda obj: pickleseal.signed_dumps(obj, keyring=ring, **options),
        lambda data: pickleseal.signed_loads(data, keyring=ring),
    )


WAYS = (
    Way(
        BASELINE,
        "pickle",
        _pickle,
        note="protocol 5; checks nothing: what all others are held against",
    ),
    Way(
        "pickleseal",
        "pickleseal",
        lambda: _pickleseal("BLAKE3"),
        "pickleseal",
        checks=True,
        note="suite 2 (BLAKE3), the default: names and versions recorded and enforced",
    ),
    Way(
        "pickleseal-sha256",
        "pickleseal, SHA-256",
        lambda: _pickleseal("SHA256"),
        "pickleseal",
        checks=True,
        note="suite 1",
    ),
    Way(
        "pickleseal-zstd",
        "pickleseal, zstd",
        lambda: _pickleseal("BLAKE3", "zstd"),
        "pickleseal",
        checks=True,
        compresses=True,
        note='compress="zstd"',
    ),
    Way(
        "pickleseal-zstd-1",
        "pickleseal, zstd 1",
        lambda: _pickleseal("BLAKE3", 1),
        "pickleseal",
        checks=True,
        compresses=True,
        note="compress=1",
    ),
    Way(
        "hmac",
        "hand-rolled HMAC",
        _hand_rolled,
        checks=True,
        note="one HMAC-SHA-256 over all, then `pickle.loads`; a temporary file and `os.replace`",
    ),
    Way(
        "modelstamp",
        "modelstamp",
        _modelstamp,
        "modelstamp",
        checks=True,
        note="with its pickle backend, a signing key and without asking Git; it always syncs its"
        " manifest, and compares the versions of packages at each load",
    ),
    Way(
        "securepickle",
        "securepickle",
        _securepickle,
        "almeida-securepickle",
        checks=True,
        note="almeida-securepickle in its secure mode; it writes in place",
    ),
    Way("joblib", "joblib", lambda: _joblib(0), "joblib", note="uncompressed; checks nothing"),
    Way(
        "joblib-3",
        "joblib, compress=3",
        lambda: _joblib(3),
        "joblib",
        compresses=True,
        note="zlib; checks nothing",
    ),
    Way(
        "cloudpickle",
        "cloudpickle",
        _cloudpickle,
        "cloudpickle",
        note="dumps with cloudpickle, loads with pickle; checks nothing",
    ),
    Way(
        "skops",
        "skops.io",
        _skops,
        "skops",
        note="no pickle at all, but a list of trusted types, made beforehand and not timed",
    ),
)
BY_NAME = {way.name: way for way in WAYS}
