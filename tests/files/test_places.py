"""Places: which paths are URLs, and what a store is asked for an object."""

import errno
import functools
import io
import os
import pickle
import re
import socket
import sys
import threading
import traceback
import types
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import fsspec
import pytest
from command import call
from fsspec.implementations.memory import MemoryFileSystem

from pickleseal import audit, inspect, signed_dump, signed_load, verify
from pickleseal.errors import PicklesealError, TargetError
from pickleseal.files import objects, places
from pickleseal.files.atomic import held
from pickleseal.files.objects import SMALL, StoredObject, open_file
from pickleseal.files.places import (
    Remote,
    is_url,
    place_of,
    places_of,
    steady,
    without_credentials,
)
from pickleseal.files.walk import LeftOut, Skip, files_below


@pytest.fixture
def memory() -> Iterator[MemoryFileSystem]:
    """The store of fsspec in memory, empty before and after."""
    store = fsspec.filesystem("memory")
    store.store.clear()
    yield store
    store.store.clear()


def remote(url: str) -> Remote:
    place = place_of(url)
    assert isinstance(place, Remote)
    return place


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    """The URL of a server of files in `tmp_path`."""
    pytest.importorskip("aiohttp")
    handler = functools.partial(_Quiet, directory=tmp_path)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


class Counting:
    """A file system that records what it is asked, and may act before it answers."""

    def __init__(self, fs: Any) -> None:
        self.fs = fs
        self.asked: list[str] = []
        self.before: Any = lambda _: None

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.fs, name)
        if name not in ("info", "cat_file", "find", "pipe_file"):
            return value

        def asked(*arguments: Any, **options: Any) -> Any:
            self.asked.append(name)
            self.before(len(self.asked))
            return value(*arguments, **options)

        return asked


def counted(url: str) -> tuple[Remote, Counting]:
    place = remote(url)
    fs = Counting(place.fs)
    return Remote(fs, place.path, place.url), fs


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("s3://bucket/model.pkl", True),
        ("memory://model.pkl", True),
        ("simplecache::s3://bucket/model.pkl", True),
        ("file:///models/model.pkl", False),
        ("model.pkl", False),
        ("models/s3:/model.pkl", False),
        ("C://models/model.pkl", False),
        ("", False),
    ],
)
def test_a_path_with_a_scheme_is_a_url(*, path: str, told: bool) -> None:
    assert is_url(path) is told


def test_a_scheme_that_fsspec_does_not_know_may_be_a_local_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ring_directory: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert is_url("ab://c")
    for name in ("ab:", "s3:"):
        (tmp_path / name).mkdir()
    assert is_url("s3://c")
    assert not is_url("ab://c")
    signed_dump([1], "ab://c", keyring=ring_directory)
    assert signed_load("ab://c", keyring=ring_directory) == [1]
    assert call("verify", "ab://", "ab://c", "--keyring", ring_directory).returncode == 0


def test_a_file_url_is_a_local_path(tmp_path: Path) -> None:
    assert place_of(f"file://{tmp_path}/it") == f"{tmp_path}/it"
    assert place_of(fsspec.open(f"{tmp_path}/it", "rb")) == f"{tmp_path}/it"
    assert place_of(tmp_path / "it") == str(tmp_path / "it")


def test_open_files_of_fsspec_and_upath_name_the_same_place(memory: MemoryFileSystem) -> None:
    upath = pytest.importorskip("upath")
    wanted = remote("memory://models/it")
    for named in (fsspec.open("memory://models/it", "rb"), upath.UPath("memory://models/it")):
        place = place_of(named)
        assert isinstance(place, Remote)
        assert (place.fs, place.path) == (wanted.fs, wanted.path)
    memory.pipe_file("/models/it", b"1")
    with fsspec.open("memory://models/it", "rb") as opened:
        assert place_of(opened) is None  # an open file is read as one


class _OldUPath(os.PathLike[str]):
    """What a `UPath` before 0.3 is: a path, too, whose text lacks the options of its store."""

    def __init__(self, path: str, **options: object) -> None:
        self.fs, self.path = MemoryFileSystem(**options), path

    def __fspath__(self) -> str:
        return f"memory://{self.path}"


def test_a_upath_that_is_a_path_too_keeps_the_options_of_its_store() -> None:
    (place,) = places_of([_OldUPath("/models/it", key="mine")])
    assert isinstance(place, Remote)
    assert place.fs.storage_options == {"key": "mine"}


class _Sparse(MemoryFileSystem):  # type: ignore[misc]  # fsspec has no types
    """Lists names without sizes, and a single file without anything, as HTTP does."""

    def find(self, path: str, **options: Any) -> Any:
        found = super().find(path, **options)
        return {name: {} if name == path else one | {"size": None} for name, one in found.items()}

    def info(self, path: str, **options: Any) -> Any:
        return super().info(path, **options) | {"size": None}


def test_objects_are_found_whose_size_is_not_listed(memory: MemoryFileSystem) -> None:
    for name in ("/models/a", "/models/b"):
        memory.pipe_file(name, name.encode())
    folder = Remote(_Sparse(), "/models", "memory://models")
    found = list(files_below([folder, folder.below("a")]))
    assert [one.path for one in found] == [f"memory://models/{name}" for name in "aba"]
    for one in found:
        with open_file(one.place, follow=True, seen=one.seen) as file:
            assert file.read(0, 100).decode() == one.path.removeprefix("memory:/")
    memory.pipe_file("/models/a", bytes(SMALL))
    with pytest.raises(OSError, match="how large") as caught:
        open_file(found[0].place, follow=True)
    assert caught.value.__cause__ is None  # one error, told once


class _Bare(MemoryFileSystem):  # type: ignore[misc]  # as above
    """Lists a single object without anything, in a list, as adlfs does."""

    def find(self, path: str, **options: Any) -> Any:
        return [path] if path in self.store else super().find(path, **options)


def test_an_object_is_found_that_is_listed_by_name_alone(memory: MemoryFileSystem) -> None:
    memory.pipe_file("/models/a", b"1")
    folder = Remote(_Bare(), "/models", "memory://models")
    for root in (folder, folder.below("a")):
        (found,) = files_below([root])
        assert (found.path, found.skip, found.size) == ("memory://models/a", None, 1)
    memory.store["/models/a/b"] = memory.store["/models/ab"] = memory.store["/models/a"]
    below = {found.path for found in files_below([folder.below("a")])}
    assert below == {"memory://models/a/b"}  # the store in memory takes the other for a folder


class _Marked(MemoryFileSystem):  # type: ignore[misc]  # as above
    """Lists folders, and the empty objects that consoles of stores make in the place of one."""

    def find(self, path: str, **options: Any) -> Any:
        marks = {"/models/folder": "directory", "/models/marked/": "file"}
        found = {name: {"name": name, "size": 0, "type": kind} for name, kind in marks.items()}
        return super().find(path, **options) | found


def test_a_folder_of_a_store_is_no_object(memory: MemoryFileSystem) -> None:
    memory.pipe_file("/models/it", b"1")
    folder = Remote(_Marked(), "/models", "memory://models")
    assert [place.path for place, _ in folder.objects()] == ["/models/it"]
    with pytest.raises(FileNotFoundError):
        folder.version()


class _Whole(MemoryFileSystem):  # type: ignore[misc]  # as above
    """Knows no ranges, as Python's own HTTP server."""

    def cat_file(self, path: str, *_: object, **__: object) -> Any:
        return super().cat_file(path)


def test_a_large_object_is_read_from_a_server_that_knows_no_ranges(
    memory: MemoryFileSystem,
) -> None:
    data = bytes(range(256)) * (SMALL // 128)
    memory.pipe_file("/models/it", data)
    with open_file(Remote(_Whole(), "/models/it", "memory://models/it"), follow=True) as file:
        assert file.size == len(data)
        assert file.read(SMALL, 300) == data[SMALL : SMALL + 300]
        assert file.whole() == data


@pytest.mark.parametrize("first", [True, False])
def test_an_object_that_such_a_server_lists_is_read(
    memory: MemoryFileSystem, *, first: bool
) -> None:
    data = bytes(range(256)) * (SMALL // 128)
    memory.pipe_file("/models/it", data)
    place = Remote(_Whole(), "/models/it", "memory://models/it")
    with StoredObject(place, place.version()) as file:
        if first:
            assert file.read(9, 300) == data[9:309]
        assert b"".join(file.ranges(100, len(data) - 200)) == data[100:-100]
        assert file.whole() == data


def test_an_error_of_a_server_names_the_url_without_its_password() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # and does not listen
        address = f"127.0.0.1:{unused.getsockname()[1]}/it"
        with pytest.raises(ConnectionRefusedError) as caught:
            place_of(f"ftp://me:pass@word@{address}")
    assert caught.value.filename == f"ftp://{address}"


def test_a_place_can_be_sent_to_another_process() -> None:
    place = remote("memory://models/it")
    assert pickle.loads(pickle.dumps(place)) == place


def test_options_without_a_url_are_an_error() -> None:
    for file in ("model.pkl", io.BytesIO(), fsspec.open("memory://it", "rb")):
        with pytest.raises(TypeError, match="storage_options"):
            place_of(file, {"anon": True})
    with pytest.raises(TypeError, match="storage_options"):
        places_of(["model.pkl"], {"anon": True})


def test_options_are_for_the_urls_among_several_paths() -> None:
    paths = ["model.pkl", fsspec.open("memory://it", "rb"), "memory://it"]
    local, _, place = places_of(paths, {"key": "mine"})
    assert local == "model.pkl"
    assert isinstance(place, Remote)
    assert place.fs.storage_options == {"key": "mine"}


def test_an_open_file_is_no_place_among_several() -> None:
    with pytest.raises(TypeError, match="not BytesIO"):
        places_of(["model.pkl", io.BytesIO()])


@pytest.mark.parametrize("method", ["read", "readinto", "write"])
def test_a_file_of_fsspec_that_is_open_is_no_place(method: str) -> None:
    attributes = {"fs": MemoryFileSystem(), "path": "/it"}
    assert place_of(types.SimpleNamespace(**attributes)) is not None
    assert place_of(types.SimpleNamespace(**attributes, **{method: print})) is None


@pytest.mark.parametrize("attributes", [{"path": "/it"}, {"fs": None}, {"fs": None, "path": b"it"}])
def test_an_object_that_names_no_place_is_none(attributes: dict[str, Any]) -> None:
    assert place_of(types.SimpleNamespace(**attributes)) is None


def test_a_compressed_open_file_is_refused() -> None:
    with pytest.raises(TypeError, match="compress"):
        place_of(fsspec.open("memory://it.gz", "rb", compression="gzip"))


def test_a_scheme_that_nobody_knows_is_told() -> None:
    with pytest.raises(PicklesealError, match="nosuch://"):
        place_of("nosuch://bucket/it")


def test_a_password_in_a_url_of_a_report_is_not_shown(
    memory: MemoryFileSystem, tmp_path: Path, ring_directory: Path
) -> None:
    artifact = tmp_path / "it.pkl"
    artifact.write_bytes(pickle.dumps([1]))
    url = "memory://me:sec@ret@server"
    done = [
        call(
            *("audit", artifact, "--keyring", ring_directory),
            *("--output", f"json={url}/a.json", "--inventory", f"{url}/b.inventory", *more),
        )
        for more in ((), ("--baseline", f"{url}/b.inventory", "--json"))
    ]
    assert len(memory.find("/")) == 2
    for one in done:
        assert one.returncode == 1
        assert "ret@" not in one.stdout + one.stderr
        assert "memory://server/b.inventory" in one.stdout + one.stderr


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("memory://user:sec@ret@models/it", "memory://models/it"),
        ("https://token@host/it", "https://host/it"),
        ("abfs://container@account/it", "abfs://container@account/it"),
        ("https://host/it.pkl?versionId=7&X-Amz-Signature=0", "https://host/it.pkl"),
        ("https://host/it.pkl?sv=2024&sig=a%2Fb", "https://host/it.pkl"),
        ("https://host/it.pkl?AWSAccessKeyId=a&Expires=1", "https://host/it.pkl"),
        ("https://host/it.pkl?0123456789abcdefghij", "https://host/it.pkl"),
        ("simplecache::https://host/it?a=1&token=0", "simplecache::https://host/it"),
        ("https://host/get?file=models/it.pkl&v=3", "https://host/get?file=models/it.pkl&v=3"),
        ("https://host/get?keyboard.pkl", "https://host/get?keyboard.pkl"),
        ("https://host/it.pkl?v=0123456789abcdefghij", "https://host/it.pkl"),
        ("http://host/it.pkl?token=0", "http://host/it.pkl"),
        ("HTTPS://token@host/it.pkl?token=0", "HTTPS://host/it.pkl"),
        ("s3://b/it?versionId=0123456789abcdefghij", "s3://b/it?versionId=0123456789abcdefghij"),
        ("s3://bucket/why?token=1.pkl", "s3://bucket/why?token=1.pkl"),
        ("s3://bucket/day//9:30@it.pkl", "s3://bucket/day//9:30@it.pkl"),
        ("models/it?sig=1", "models/it?sig=1"),
    ],
)
def test_a_url_is_shown_without_its_credentials(*, url: str, told: str) -> None:
    assert without_credentials(url) == told


@pytest.mark.parametrize(
    "words",
    [
        ("keygen", "--keyring"),
        ("keys", "list", "--keyring"),
        ("keys", "import"),
        ("keys", "restore"),
        ("keys", "backup"),
        ("keys", "export", "-o"),
        ("audit", ".", "--keyring"),
        ("audit", ".", "--pins"),
        ("audit", ".", "--since"),
        ("adopt", ".", "--digests"),
        ("find-loads",),
    ],
    ids=" ".join,
)
def test_a_url_where_a_file_must_be_local_is_refused_and_hides_its_password(
    words: tuple[str, ...],
    ring_directory: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PICKLESEAL_KEYRING", str(ring_directory))
    monkeypatch.chdir(tmp_path)
    before = os.listdir()
    done = call(*words, "http://me:5ecret@localhost/it?sig=5ecret")
    assert done.returncode == 2
    assert "5ecret" not in done.stdout + done.stderr
    assert "http://localhost/it" in done.stdout + done.stderr
    assert "must be on this machine" in done.stdout + done.stderr
    assert os.listdir() == before


def test_no_error_of_a_server_shows_the_signature_of_a_url() -> None:
    class ServerError(Exception):
        pass

    place = Remote(MemoryFileSystem(), "/it", "https://host/it")
    fs = Counting(place.fs)
    for kind in (OSError, FileNotFoundError, ServerError):

        def fail(_: int, kind: type[Exception] = kind) -> None:
            raise kind("403, url='https://host/it?X-Amz-Signature=5ecret'")

        fs.before = fail
        with pytest.raises(OSError, match=re.escape("https://host/it")) as caught:
            Remote(fs, "/it", "https://host/it").version()
        assert "5ecret" not in "".join(traceback.format_exception(caught.value))


def test_a_presigned_url_is_read_and_named_without_its_signature(
    tmp_path: Path, served: str, ring_directory: Path
) -> None:
    signature = "?X-Amz-Date=1&X-Amz-Signature=5ecret"
    signed_dump([1], tmp_path / "it.pkl", keyring=ring_directory)
    (tmp_path / "plain.pkl").write_bytes(pickle.dumps([2]))
    good, plain = (f"{served}/{name}.pkl{signature}" for name in ("it", "plain"))
    assert signed_load(good, keyring=ring_directory) == [1]
    for arguments in (
        ["verify", good, f"{served}/none{signature}", plain],
        ["inspect", plain],
        ["audit", good, plain, "--json"],
        ["audit", plain, "--baseline", good],
        ["adopt", plain, "--yes", "--accept", f"{served}/other{signature}"],
        ["extract", good, "--output", tmp_path / "out.pkl", "--json"],
        ["extract", good, "--output", f"{served}/out.pkl{signature}"],
    ):
        done = call(*arguments, "--keyring", ring_directory)
        assert served in done.stdout + done.stderr
        assert "5ecret" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("status", "told"),
    [(403, "no access.*HTTP status 403"), (500, "HTTP status 500"), (404, "nothing is there")],
)
def test_what_a_server_answers_is_told_as_it_is(
    status: int, told: str, served: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(handler: _Quiet) -> None:
        handler.send_error(status)

    for method in ("do_GET", "do_HEAD"):
        monkeypatch.setattr(_Quiet, method, refuse, raising=False)
    url = f"{served}/it.pkl?X-Amz-Expires=1"
    for act in (signed_load, inspect, verify, audit):
        with pytest.raises(OSError, match=told) as caught:
            act(url)
        assert isinstance(caught.value, FileNotFoundError) is (status == 404)


def test_a_server_that_is_not_there_is_no_missing_file() -> None:
    pytest.importorskip("aiohttp")
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/it.pkl"
    for act in (inspect, audit):
        with pytest.raises(OSError, match="Connect") as caught:
            act(url)
        assert not isinstance(caught.value, FileNotFoundError)


def test_urls_that_differ_by_their_query_are_all_read(
    tmp_path: Path, served: str, ring_directory: Path
) -> None:
    (tmp_path / "it.pkl").write_bytes(pickle.dumps([2]))
    urls = [f"{served}/it.pkl?file={number}&token=0" for number in range(2)]
    assert len(list(audit(urls, keyring=ring_directory))) == 2
    done = call("verify", *urls, "--keyring", ring_directory)
    assert "2 checked: 0 whole, 2 refused" in done.stderr


@pytest.mark.parametrize("size", [0, 1, 1000, SMALL - 1])
def test_a_small_object_takes_one_request(memory: MemoryFileSystem, size: int) -> None:
    memory.pipe_file("/it", bytes(size))
    place, fs = counted("memory://it")
    with StoredObject(place) as opened:
        assert opened.size == size
        assert bytes(opened.whole()) == bytes(size)
        assert opened.read(size // 2, 10) == bytes(size)[size // 2 :][:10]
    assert fs.asked == ["cat_file"]


def test_a_large_object_is_read_in_few_ranges(
    memory: MemoryFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "RANGE", 3 << 20)
    data = bytes(range(256)) * (48 << 10)
    memory.pipe_file("/it", data)
    place, fs = counted("memory://it")
    with StoredObject(place) as opened:
        assert opened.read(0, 64) == data[:64]
        assert b"".join(opened.ranges(100, len(data) - 132)) == data[100:-32]
        assert opened.read(len(data) - 32, 32) == data[-32:]
    assert fs.asked == ["cat_file", "info", *["cat_file"] * 5, "info"]


def test_an_object_of_a_list_is_not_asked_for_its_size(memory: MemoryFileSystem) -> None:
    memory.pipe_file("/models/it", bytes(SMALL + 1))
    place, fs = counted("memory://models")
    (found,) = files_below([place])
    with open_file(found.place, follow=True, seen=found.seen) as opened:
        assert opened.read(0, 4) == bytes(4)
    assert fs.asked == ["find", "cat_file", "info"]


@pytest.mark.parametrize("when", [2, 3, 5])
def test_an_object_that_is_replaced_meanwhile_is_read_anew(
    memory: MemoryFileSystem, when: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "RANGE", 6 << 20)
    memory.pipe_file("/it", b"a" * (SMALL + 9))
    place, fs = counted("memory://it")

    left = [when]

    def replace(count: int) -> None:
        if left and count >= left[0]:
            left.clear()
            memory.pipe_file("/it", b"b" * (SMALL + 9))

    fs.before = replace

    def read(_: int) -> bytes:
        with StoredObject(place) as opened:
            return b"".join(opened.ranges(0, opened.size))

    assert set(steady(read)) == {ord("b")}


def test_an_object_that_is_replaced_all_the_time_is_an_error(memory: MemoryFileSystem) -> None:
    memory.pipe_file("/it", bytes(SMALL + 9))
    place, fs = counted("memory://it")
    fs.before = lambda _: memory.pipe_file("/it", bytes(SMALL + 9))

    def read(_: int) -> None:
        with StoredObject(place) as opened:
            opened.whole()

    with pytest.raises(OSError, match="replaced"):
        steady(read)


@pytest.mark.parametrize(("code", "name"), [(errno.EIO, "memory://it"), (errno.ESTALE, "it")])
def test_only_an_object_that_was_replaced_is_read_again(code: int, name: str) -> None:
    attempts: list[int] = []

    def read(attempt: int) -> None:
        attempts.append(attempt)
        raise OSError(code, os.strerror(code), name)

    with pytest.raises(OSError, match=re.escape(os.strerror(code))):
        steady(read)
    assert attempts == [0]


def test_an_exclusive_write_replaces_nothing(memory: MemoryFileSystem) -> None:
    place = remote("memory://it")
    place.write(b"1", exclusive=True)
    with pytest.raises(TargetError):
        place.write(b"2", exclusive=True)
    assert place.read(0, 9) == b"1"


def test_an_exclusive_write_through_a_cache_replaces_nothing(memory: MemoryFileSystem) -> None:
    memory.pipe_file("/it", b"1")
    with pytest.raises(TargetError, match="exists"):
        remote("simplecache::memory://it").write(b"2", exclusive=True)
    assert memory.cat("/it") == b"1"


def test_a_write_replaces_only_the_version_that_was_seen(memory: MemoryFileSystem) -> None:
    place = remote("memory://it")
    place.write(b"1")
    seen = place.version()
    place.write(b"2")
    with pytest.raises(TargetError):
        place.write(b"3", seen=seen)
    assert place.read(0, 9) == b"2"
    with held(place, place.version()):
        place.write(b"3", seen=place.version())
    assert place.read(0, 9) == b"3"


class _StoreError(Exception):
    """An error of the package of a store."""

    def __init__(self, text: str = "", **attributes: int) -> None:
        super().__init__(text)
        vars(self).update(attributes)


@pytest.mark.parametrize(
    ("error", "changed"),
    [
        (_StoreError(code=412), True),
        (_StoreError(status_code=412), True),
        (_StoreError("At least one of the pre-conditions did not hold"), True),
        (_StoreError("PreconditionFailed"), True),
        (_StoreError("SlowDown", status_code=503), False),
        (PermissionError(errno.EACCES, "no"), False),
    ],
    ids=repr,
)
def test_only_a_condition_that_does_not_hold_is_a_change_by_another(
    error: Exception, *, changed: bool, memory: MemoryFileSystem
) -> None:
    memory.pipe_file("/it", b"1")
    place, fs = counted("memory://it")
    seen = place.version()

    def fail(_: int) -> None:
        if fs.asked[-1] == "pipe_file":
            raise error

    fs.before = fail
    for suffix, options, told in (
        ("new", {"exclusive": True}, "exists"),
        ("", {"seen": seen}, "another program"),
    ):
        with pytest.raises(OSError, match=told if changed else None) as caught:
            place.beside(suffix).write(b"2", **options)
        assert isinstance(caught.value, TargetError) is changed


def test_an_object_that_is_there_is_an_error_of_an_exclusive_write_alone(
    memory: MemoryFileSystem,
) -> None:
    place, fs = counted("memory://it")

    def fail(_: int) -> None:
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), "memory://it")

    fs.before = fail
    with pytest.raises(FileExistsError):
        place.write(b"2")


class _Conditional(MemoryFileSystem):  # type: ignore[misc]  # as above
    """Takes the conditions of a store, and keeps the last."""

    protocol: Any = ("s3", "s3a")
    call_s3 = service_client = None  # the marks of s3fs and adlfs
    condition: object = None

    def pipe_file(self, path: str, value: bytes, *_: object, **options: Any) -> None:
        self.condition = options.get("IfMatch")
        super().pipe_file(path, value)


@pytest.mark.parametrize(("data", "in_one_request"), [(b"new", True), (b"newer", False)])
def test_a_store_that_takes_a_condition_is_not_asked_before(
    data: bytes, *, in_one_request: bool, memory: MemoryFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "_MOST_AT_ONCE", 5)
    memory.pipe_file("/it", b"1")
    store = Counting(_Conditional())
    place = Remote(store, "/it", "s3://it")
    seen = place.version()
    place.write(data, seen=seen)
    assert store.fs.condition == (seen.tag if in_one_request else None)
    assert store.asked == ["info", *([] if in_one_request else ["info"]), "pipe_file"]


@pytest.mark.parametrize("protocol", ["s3", "abfs"])
def test_without_a_tag_the_store_is_asked_before(protocol: str, memory: MemoryFileSystem) -> None:
    memory.pipe_file("/it", b"1")
    store = _Conditional()
    store.protocol = protocol
    place = Remote(store, "/it", f"{protocol}://it")
    with pytest.raises(TargetError, match="another program"):
        place.write(b"2", seen=place.version()._replace(tag=""))
    assert memory.cat("/it") == b"1"


def test_a_missing_object_is_named_by_its_url(memory: MemoryFileSystem) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        StoredObject(remote("memory://models/none"))
    assert caught.value.filename == "memory://models/none"


def test_an_error_of_a_stores_package_is_an_oserror(memory: MemoryFileSystem) -> None:
    class PackageError(Exception):
        pass

    def fail(_: int) -> None:
        raise PackageError("no route")

    place, fs = counted("memory://it")
    fs.before = fail
    with pytest.raises(OSError, match="PackageError: no route"):
        place.version()


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (OSError(errno.EBUSY, "slow down"), errno.EBUSY, "slow down"),
        (OSError("the server went away"), errno.EIO, "the server went away"),
        (OSError(), errno.EIO, os.strerror(errno.EIO)),
        (FileNotFoundError("bucket/it"), errno.ENOENT, "nothing is there: check the address"),
    ],
    ids=repr,
)
def test_an_error_of_a_store_has_a_code_and_says_what_the_store_said(
    error: OSError, code: int, said: str, memory: MemoryFileSystem
) -> None:
    def fail(_: int) -> None:
        raise error

    place, fs = counted("memory://it")
    fs.before = fail
    with pytest.raises(OSError, match=re.escape(said)) as caught:
        place.version()
    assert (caught.value.errno, caught.value.strerror) == (code, said)
    assert caught.value.filename == "memory://it"


def test_a_walk_goes_through_a_bucket_as_through_a_folder(memory: MemoryFileSystem) -> None:
    for path in ("a.pkl", "b/c.pkl", ".git/d.pkl", "out/e.pkl", "out/f/g.pkl"):
        memory.pipe_file(f"/models/{path}", b"1")
    left_out = LeftOut()
    found = list(
        files_below(
            [remote("memory://models/")],
            excluded=lambda path: path.endswith("/out"),
            left_out=left_out,
        )
    )
    assert {one.path: one.skip for one in found} == {
        "memory://models/a.pkl": None,
        "memory://models/b/c.pkl": None,
        "memory://models/out": Skip.EXCLUDED,
    }
    assert left_out.to_dict() == {"files": 1, "folders": {"memory://models/.git": 1}}
    (named,) = files_below([remote("memory://models/a.pkl")])
    assert named.named
    (missing,) = files_below([remote("memory://models/none")])
    assert missing.skip is Skip.UNREADABLE


def test_a_walk_of_a_store_leaves_out_nothing_of_what_was_named(memory: MemoryFileSystem) -> None:
    memory.pipe_file("/models/.git/node_modules/c.pkl", b"1")
    memory.mkdir("/empty")
    for url in ("memory://models/.git", "memory://models/.git/node_modules"):
        (found,) = files_below([remote(url)])
        assert (found.path, found.skip) == ("memory://models/.git/node_modules/c.pkl", None)
    assert list(files_below([remote("memory://empty")])) == []


def test_a_store_that_cannot_be_listed_is_told_with_its_reason(memory: MemoryFileSystem) -> None:
    def fail(_: int) -> None:
        raise PermissionError(errno.EACCES, "not for you")

    place, fs = counted("memory://models")
    fs.before = fail
    (found,) = files_below([place])
    assert found.skip is Skip.UNREADABLE
    assert "check your credentials and rights (not for you)" in found.detail


def test_what_a_url_needs_and_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object) -> None:
        raise ImportError("Install gcsfs to access Google Storage")

    with monkeypatch.context() as patched:
        patched.setattr(fsspec.core, "url_to_fs", missing)
        with pytest.raises(PicklesealError, match="gs:// needs one more package: Install gcsfs"):
            list(places_of(["gs://models/a.pkl"]))
        patched.setitem(sys.modules, "fsspec.core", None)
        with pytest.raises(PicklesealError, match="gs:// needs fsspec"):
            list(places_of(["gs://models/a.pkl"]))
