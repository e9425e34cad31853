"""Reading and writing: every kind of file, on systems with and without parallel I/O."""

import contextlib
import errno
import gc
import gzip
import io
import os
import pickle
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest

from pickleseal import (
    Keyring,
    MalformedError,
    SealError,
    Suite,
    TargetError,
    signed_dump,
    signed_dumps,
    signed_load,
    signed_loads,
    verify,
)
from pickleseal.envelope import source, target
from pickleseal.envelope.target import write_envelope
from pickleseal.files import atomic, threads
from pickleseal.files.regular import RegularFile
from pickleseal.keys.store.changes import create_key

SMALL = {"a": 1}
LARGE = np.arange(3 << 19)  # 12 MiB, of several leaves


@pytest.fixture(params=["parallel", "plain"])
def _both_ways(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a test with parallel I/O, and as on a system that has none."""
    if request.param == "plain":
        monkeypatch.setattr(source, "_PARALLEL", False)
        monkeypatch.setattr(target, "_PARALLEL", False)
    elif not hasattr(os, "preadv"):
        pytest.skip("this system has no preadv")


both_ways = pytest.mark.usefixtures("_both_ways")


def same(one: Any, two: Any) -> bool:
    if isinstance(two, list):
        return len(one) == len(two) and all(map(same, one, two))
    return bool(np.array_equal(one, two)) if isinstance(two, np.ndarray) else one == two


@both_ways
@pytest.mark.parametrize("obj", [SMALL, LARGE, [LARGE, LARGE[:9], b"x" * (5 << 20)]])
def test_paths_and_files_hold_what_was_put_in(obj: Any, ring: Keyring, tmp_path: Path) -> None:
    path = tmp_path / "it"
    signed_dump(obj, path, keyring=ring)
    assert same(signed_load(path, keyring=ring), obj)
    for mode in ("wb", "w+b", "r+b"):
        with path.open(mode) as file:
            file.write(b"head")
            signed_dump(obj, file, keyring=ring)
            signed_dump(SMALL, file, keyring=ring)
            file.write(b"tail")
        with path.open("rb") as file:
            assert file.read(4) == b"head"
            loaded = signed_load(file, keyring=ring)
            assert signed_load(file, keyring=ring) == SMALL
            assert file.read() == b"tail"
        assert same(loaded, obj)


@both_ways
def test_an_unbuffered_file_is_as_good(ring: Keyring, tmp_path: Path) -> None:
    path = tmp_path / "it"
    with path.open("wb", buffering=0) as file:
        signed_dump(LARGE, file, keyring=ring)
        signed_dump(SMALL, file, keyring=ring)
    with path.open("rb", buffering=0) as file:
        assert same(signed_load(file, keyring=ring), LARGE)
        assert signed_load(file, keyring=ring) == SMALL


@both_ways
def test_a_file_in_append_mode_grows_at_its_end(ring: Keyring, tmp_path: Path) -> None:
    path = tmp_path / "it"
    for obj in (LARGE, SMALL):
        with path.open("ab") as file:
            signed_dump(obj, file, keyring=ring)
    with path.open("rb") as file:
        assert same(signed_load(file, keyring=ring), LARGE)
        assert signed_load(file, keyring=ring) == SMALL


def test_what_was_buffered_before_a_dump_stays_before_it(ring: Keyring, tmp_path: Path) -> None:
    path = tmp_path / "it"
    with path.open("w+b") as file:
        file.write(b"first")
        signed_dump(LARGE, file, keyring=ring)
        file.write(b"last")
    data = path.read_bytes()
    assert data.startswith(b"first\xa6PSEAL")
    assert data.endswith(b"last")


def test_a_refused_real_file_is_left_where_it_was(ring: Keyring, tmp_path: Path) -> None:
    path = tmp_path / "it"
    path.write_bytes(b"abc" + bytes(500_000))
    with path.open("rb") as file:
        file.read(3)
        with pytest.raises(SealError):
            signed_load(file, keyring=ring)
        assert file.tell() == 3


@pytest.mark.parametrize("obj", [SMALL, LARGE])
def test_a_pipe_carries_several_envelopes(obj: Any, ring: Keyring) -> None:
    reading, writing = os.pipe()
    loaded: list[Any] = []

    def read() -> None:
        with os.fdopen(reading, "rb") as file:
            loaded.extend(signed_load(file, keyring=ring) for _ in range(3))
            loaded.append(file.read())

    reader = threading.Thread(target=read)
    reader.start()
    with os.fdopen(writing, "wb") as file:
        for _ in range(3):
            signed_dump(obj, file, keyring=ring)
        file.write(b"end")
    reader.join()
    assert all(same(one, obj) for one in loaded[:3])
    assert loaded[3] == b"end"


def test_a_socket_file_carries_envelopes_both_ways(ring: Keyring) -> None:
    one, two = socket.socketpair()
    with one, two, one.makefile("rwb") as here, two.makefile("rwb") as there:
        for obj in (SMALL, list(range(1000))):
            signed_dump(obj, here, keyring=ring)
            here.flush()
            assert signed_load(there, keyring=ring) == obj


def test_an_unbuffered_pipe_takes_what_it_takes(ring: Keyring) -> None:
    reading, writing = os.pipe()
    loaded = []
    with open(reading, "rb", buffering=0) as end, open(writing, "wb", buffering=0) as start:
        reader = threading.Thread(target=lambda: loaded.append(signed_load(end, keyring=ring)))
        reader.start()
        signed_dump(LARGE, start, keyring=ring)
        reader.join()
    assert same(loaded[0], LARGE)


def test_a_pipe_that_does_not_wait_is_told_from_an_end(ring: Keyring) -> None:
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    os.set_blocking(writing, False)
    with open(reading, "rb", buffering=0) as end, open(writing, "wb", buffering=0) as start:
        with pytest.raises(BlockingIOError):
            signed_load(end, keyring=ring)
        with pytest.raises(BlockingIOError):
            signed_dump(LARGE, start, keyring=ring)


@pytest.mark.parametrize("obj", [SMALL, LARGE])
def test_fsspec_handles_that_cannot_seek_work(obj: Any, ring: Keyring, tmp_path: Path) -> None:
    for url in (
        "memory://pickleseal/it",
        f"file://{tmp_path}/it",
        f"simplecache::file://{tmp_path}/it",
    ):
        with fsspec.open(url, "wb") as file:
            signed_dump(obj, file, keyring=ring)
        with fsspec.open(url, "rb") as file:
            assert same(signed_load(file, keyring=ring), obj)


def test_compressed_files_work_and_are_not_taken_for_the_file_below(
    ring: Keyring, tmp_path: Path
) -> None:
    array = np.zeros(1 << 20)
    with gzip.open(tmp_path / "it.gz", "wb", compresslevel=1) as file:
        signed_dump(array, file, keyring=ring)
    with gzip.open(tmp_path / "it.gz", "rb") as file:
        assert same(signed_load(file, keyring=ring), array)


def test_temporary_files_work(ring: Keyring) -> None:
    with tempfile.TemporaryFile() as file:
        signed_dump(LARGE, file, keyring=ring)
        file.seek(0)
        assert same(signed_load(file, keyring=ring), LARGE)
    with tempfile.NamedTemporaryFile() as file:
        signed_dump(SMALL, file, keyring=ring)
        file.seek(0)
        assert signed_load(file, keyring=ring) == SMALL
    with tempfile.SpooledTemporaryFile() as file:
        signed_dump(SMALL, file, keyring=ring)
        file.seek(0)
        assert signed_load(file, keyring=ring) == SMALL


class Least:
    """The least that will do: `write`, and `read` of as little as it likes."""

    def __init__(self) -> None:
        self.chunks: list[bytes] = []

    def write(self, data: bytes) -> None:
        assert type(data) is bytes
        self.chunks.append(data)

    def reader(self) -> Any:
        data = b"".join(self.chunks)
        place = iter(range(0, len(data), 1000))

        class Reader:
            def read(self, size: int) -> bytes:
                start = next(place, len(data))
                return data[start : start + min(size, 1000)]

        return Reader()


def test_any_object_with_write_or_read_will_do(ring: Keyring) -> None:
    least: Any = Least()
    array = np.arange(1 << 15)
    signed_dump(array, least, keyring=ring)
    data = b"".join(least.chunks)
    memory = io.BytesIO(data)

    class OnlyRead:
        read = staticmethod(memory.read)

    assert same(signed_load(OnlyRead(), keyring=ring), array)


def test_a_writer_may_keep_what_it_was_given(ring: Keyring) -> None:
    least: Any = Least()
    array = np.arange(1 << 17)
    signed_dump(array, least, keyring=ring)
    array[:] = 0
    assert signed_loads(b"".join(least.chunks), keyring=ring)[1] == 1


class Keeping:
    """A stream that keeps the memory it is given to write to, in some way."""

    def __init__(self, data: bytes, keep: Any) -> None:
        self.file = io.BytesIO(data)
        self.kept: list[Any] = []
        self.keep = keep

    def readinto(self, target: Any) -> int:
        self.kept.append(self.keep(target))
        return self.file.readinto(target)


@pytest.mark.parametrize("compress", [None, 3])
@pytest.mark.parametrize(
    "keep",
    [lambda view: view, lambda view: view[:], memoryview, lambda view: np.frombuffer(view, "u1")],
    ids=["itself", "a slice", "another view", "an array"],
)
def test_a_stream_that_keeps_what_it_was_given_does_not_reach_what_is_loaded(
    keep: Any, compress: Any, ring: Keyring
) -> None:
    array = np.arange(1 << 19)
    data = signed_dumps(array, keyring=ring, compress=compress)
    stream: Any = Keeping(data, keep)
    again = signed_load(stream, keyring=ring)
    for view in stream.kept:
        with contextlib.suppress(ValueError):  # it was released
            view[:] = b"\xff" * len(view) if isinstance(view, memoryview) else 255
    assert same(again, array)


def test_what_a_stream_was_given_is_released(ring: Keyring) -> None:
    stream: Any = Keeping(signed_dumps(np.arange(1 << 18), keyring=ring), lambda view: view)
    signed_load(stream, keyring=ring)
    for view in stream.kept:
        with pytest.raises(ValueError, match="released"):
            bytes(view)


class InNameAlone:
    """A stream whose `readinto` does not work."""

    def __init__(self, data: bytes, error: type[Exception], works: int = 0) -> None:
        self.file = io.BytesIO(data)
        self.error = error
        self.works = works
        self.asked = 0

    def readinto(self, target: Any) -> int:
        self.asked += 1
        if self.asked > self.works:
            raise self.error("not here")
        return self.file.readinto(target)

    def read(self, size: int = -1) -> bytes:
        return self.file.read(size)


@pytest.mark.parametrize("error", [io.UnsupportedOperation, TypeError, NotImplementedError])
def test_a_stream_with_a_readinto_in_name_alone_is_read(
    error: type[Exception], ring: Keyring
) -> None:
    array = np.arange(1 << 18)
    stream = InNameAlone(signed_dumps(array, keyring=ring), error)
    assert same(signed_load(stream, keyring=ring), array)
    assert stream.asked == 1


@pytest.mark.parametrize("error", [io.UnsupportedOperation, TypeError, NotImplementedError])
def test_an_error_of_a_readinto_that_worked_or_of_the_only_way_passes_through(
    error: type[Exception], ring: Keyring
) -> None:
    data = signed_dumps(1, keyring=ring)
    with pytest.raises(error, match="not here"):
        signed_load(InNameAlone(data, error, works=1), keyring=ring)
    alone: Any = InNameAlone(data, error)
    alone.read = None
    with pytest.raises(error, match="not here"):
        signed_load(alone, keyring=ring)


@pytest.mark.parametrize("error", [OSError, ValueError, AttributeError, MemoryError])
def test_another_error_of_readinto_passes_through(error: type[Exception], ring: Keyring) -> None:
    with pytest.raises(error, match="not here"):
        signed_load(InNameAlone(signed_dumps(1, keyring=ring), error), keyring=ring)


class Liar:
    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def readinto(self, target: Any) -> Any:
        return self.answer


class LyingRead:
    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def read(self, size: int) -> Any:
        return self.answer


@pytest.mark.parametrize(
    ("stream", "error"),
    [
        (Liar(10**9), ValueError),
        (Liar(-1), ValueError),
        (Liar(None), BlockingIOError),
        (LyingRead(b"x" * 10**6), ValueError),
        (LyingRead("text"), TypeError),
        (LyingRead(None), BlockingIOError),
        (io.StringIO("text"), TypeError),
        (object(), TypeError),
        (7, TypeError),
        (b"a bytes path", TypeError),
        (None, TypeError),
    ],
)
def test_a_stream_that_breaks_its_own_rules_is_misuse(
    stream: Any, error: type[Exception], ring: Keyring
) -> None:
    with pytest.raises(error):
        signed_load(stream, keyring=ring)


@pytest.mark.parametrize(
    ("answer", "text"), [(-1, "gave -1, which is no number of bytes"), (65, "more than it was")]
)
def test_what_a_stream_did_wrong_is_told_as_it_was(answer: int, text: str, ring: Keyring) -> None:
    stream: Any = Liar(answer)
    with pytest.raises(ValueError, match=text):
        signed_load(stream, keyring=ring)


@pytest.mark.parametrize("file", [object(), 7, b"a bytes path", None, io.BytesIO().read])
def test_what_cannot_be_written_to_is_misuse(file: Any, ring: Keyring) -> None:
    with pytest.raises(TypeError):
        signed_dump(1, file, keyring=ring)


def test_a_file_that_is_open_for_something_else_is_told_before_it_is_touched(
    ring: Keyring, tmp_path: Path
) -> None:
    path = tmp_path / "it"
    signed_dump(SMALL, path, keyring=ring)
    before = path.read_bytes()
    with open(path, encoding="ascii") as file, pytest.raises(TypeError, match="'rb'"):
        signed_load(file, keyring=ring)  # type: ignore[arg-type]
    with open(path, "r+", encoding="ascii") as file, pytest.raises(TypeError, match="'wb'"):
        signed_dump(1, file, keyring=ring)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="'wb'"):
        signed_dump(1, io.StringIO(), keyring=ring)  # type: ignore[arg-type]
    with open(path, "rb") as file, pytest.raises(io.UnsupportedOperation, match="'wb'"):
        signed_dump(1, file, keyring=ring)
    with open(path, "ab") as file, pytest.raises(io.UnsupportedOperation, match="'rb'"):
        signed_load(file, keyring=ring)
    with pytest.raises(TargetError, match="the path of the file is empty"):
        signed_dump(1, "", keyring=ring)
    assert path.read_bytes() == before


def test_what_a_stream_raises_passes_through(ring: Keyring) -> None:
    class Broken:
        def read(self, size: int) -> bytes:
            raise ConnectionResetError

        def write(self, data: bytes) -> int:
            raise BrokenPipeError

    broken: Any = Broken()
    with pytest.raises(ConnectionResetError):
        signed_load(broken, keyring=ring)
    with pytest.raises(BrokenPipeError):
        signed_dump(1, broken, keyring=ring)


# --- memory ----------------------------------------------------------------------------------


@both_ways
@pytest.mark.parametrize("way", ["path", "file", "bytes", "stream"])
def test_each_buffer_has_writable_aligned_memory_of_its_own(
    way: str, ring: Keyring, tmp_path: Path
) -> None:
    arrays = [np.arange(n, dtype=np.uint8) for n in (65_536, 65_537, 100_000, 3 << 20)]
    path = tmp_path / "it"
    signed_dump(arrays, path, keyring=ring)
    data = path.read_bytes()
    if way == "path":
        loaded = signed_load(path, keyring=ring)
    elif way == "file":
        with path.open("rb") as file:
            loaded = signed_load(file, keyring=ring)
    elif way == "bytes":
        loaded = signed_loads(data, keyring=ring)
    else:
        loaded = signed_load(io.BytesIO(data), keyring=ring)
    for one, array in zip(loaded, arrays, strict=True):
        assert (one == array).all()
        assert one.ctypes.data % 64 == 0
        assert one.flags.writeable
        base = one
        while isinstance(base, np.ndarray):
            base = base.base
        with memoryview(base) as view:
            assert memoryview(view.obj).nbytes == array.nbytes
    assert len({one.ctypes.data for one in loaded}) == len(arrays)


def test_more_pieces_than_one_system_call_takes_are_read(ring: Keyring, tmp_path: Path) -> None:
    from pickleseal.envelope import metadata as md
    from pickleseal.envelope import seal

    count = 20_000
    stream = b"\x80\x05(" + b"\x97" * count + b"l."
    parts = [memoryview(stream)] + [memoryview(b"%d" % n) for n in range(count)]
    key = ring.sealing_key(context=None, now=0)
    head = seal.seal_head(key, md.Metadata(content="pickle"), [len(part) for part in parts])
    path = tmp_path / "it"
    write_envelope(path, head.data, parts, head.finish, key.suite, durable=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threads, "MIN_LEAVES", 1)
        write_envelope(tmp_path / "two", head.data, parts, head.finish, key.suite, durable=False)
    assert (tmp_path / "two").read_bytes() == path.read_bytes()
    loaded = signed_load(path, keyring=ring)
    assert [bytes(one) for one in loaded] == [b"%d" % n for n in range(count)]


def test_short_reads_and_writes_are_carried_on(
    ring: Keyring, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_read, real_write, plain_write, plain_read = os.preadv, os.pwritev, os.write, os.pread

    def first(pieces: Any, most: int) -> list[memoryview]:
        return [memoryview(pieces[0])[:most]]

    monkeypatch.setattr(os, "preadv", lambda fd, p, at: real_read(fd, first(p, 99_991), at))
    monkeypatch.setattr(os, "pwritev", lambda fd, p, at: real_write(fd, first(p, 99_991), at))
    monkeypatch.setattr(os, "write", lambda fd, data: plain_write(fd, memoryview(data)[:4_999]))
    monkeypatch.setattr(os, "pread", lambda fd, size, at: plain_read(fd, min(size, 4_999), at))
    for obj in (LARGE, SMALL, np.arange(200_000)):
        signed_dump(obj, tmp_path / "it", keyring=ring)
        assert same(signed_load(tmp_path / "it", keyring=ring), obj)


def test_a_file_that_shrinks_while_it_is_read_is_cut_off(
    ring: Keyring, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "it"
    signed_dump(LARGE, path, keyring=ring)
    real = os.preadv

    def shrink(descriptor: int, pieces: Any, offset: int) -> int:
        os.truncate(path, 3 << 20)
        return real(descriptor, pieces, offset)

    monkeypatch.setattr(os, "preadv", shrink)
    with pytest.raises(MalformedError):
        signed_load(path, keyring=ring)


def test_an_error_in_one_thread_ends_them_all(
    ring: Keyring, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "it"
    signed_dump(LARGE, path, keyring=ring)
    before = threading.active_count()
    for error in (OSError(5, "Input/output error"), KeyboardInterrupt()):

        def fail(descriptor: int, pieces: Any, offset: int, error: BaseException = error) -> int:
            raise error

        with monkeypatch.context() as patch:
            patch.setattr(os, "preadv", fail)
            patch.setattr(os, "pwritev", fail)
            with pytest.raises(type(error)):
                signed_load(path, keyring=ring)
            with pytest.raises(type(error)):
                signed_dump(LARGE, tmp_path / "new", keyring=ring)
    assert threading.active_count() == before
    assert list(tmp_path.iterdir()) == [path]


def test_where_no_thread_can_be_started_the_caller_does_the_work(
    ring: Keyring, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    signed_dump(LARGE, tmp_path / "it", keyring=ring)
    assert same(signed_load(tmp_path / "it", keyring=ring), LARGE)


# --- writing a path --------------------------------------------------------------------------


def test_a_new_file_has_the_mode_that_the_umask_gives(ring: Keyring, tmp_path: Path) -> None:
    for umask in (0o022, 0o002, 0o077):
        before = os.umask(umask)
        try:
            signed_dump(1, tmp_path / f"{umask}", keyring=ring)
        finally:
            os.umask(before)
        mode = stat.S_IMODE((tmp_path / f"{umask}").stat().st_mode)
        assert mode == 0o666 & ~umask


def test_a_replaced_file_keeps_its_mode(ring: Keyring, tmp_path: Path) -> None:
    path = tmp_path / "it"
    for mode in (0o600, 0o640, 0o664):
        path.touch()
        path.chmod(mode)
        signed_dump(mode, path, keyring=ring)
        assert stat.S_IMODE(path.stat().st_mode) == mode
        assert signed_load(path, keyring=ring) == mode


def test_a_link_stays_a_link_and_what_it_leads_to_is_replaced(
    ring: Keyring, tmp_path: Path
) -> None:
    (tmp_path / "store").mkdir()
    target = tmp_path / "store" / "it"
    link = tmp_path / "link"
    link.symlink_to(Path("store") / "it")
    for number in range(2):  # a dangling link at first
        signed_dump(number, link, keyring=ring)
        assert link.is_symlink()
        assert signed_load(target, keyring=ring) == number
    assert sorted(p.name for p in tmp_path.iterdir()) == ["link", "store"]


def test_a_folder_that_cannot_be_written_is_an_ordinary_error(
    ring: Keyring, tmp_path: Path
) -> None:
    with pytest.raises(TargetError):
        signed_dump(1, tmp_path, keyring=ring)
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(OSError):  # noqa: PT011 - the class is the promise
        signed_dump(1, tmp_path / "loop", keyring=ring)


AS_NOBODY = """
import io, os, sys
from pickleseal import Key, Keyring, Suite, signed_dump
path, durable = sys.argv[1], sys.argv[2] == "yes"
ring = Keyring(Key.generate(Suite.BLAKE3))
signed_dump(1, io.BytesIO(), keyring=ring)
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
try:
    signed_dump("new", path, keyring=ring, durable=durable)
except OSError as error:
    print(type(error).__name__, error.filename, error.strerror)
"""


@pytest.fixture
def nobodys_folder() -> Iterator[Path]:
    """Give a folder of a user who is not root; pytest's own are closed to all others."""
    if not hasattr(os, "geteuid"):
        pytest.skip("this system has no modes")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(os.path.realpath(name))
        _give_away(folder)
        yield folder
        folder.chmod(0o700)


def _give_away(path: Path) -> None:
    if os.geteuid() == 0:
        os.chown(path, 65534, 65534)


def dump_as_nobody(path: Path, *, durable: bool = True) -> str:
    """Dump to a path as a user who is not root, and give what is said then."""
    done = subprocess.run(
        [sys.executable, "-c", AS_NOBODY, str(path), "yes" if durable else "no"],
        # Nobody may not write what a measuring of coverage would write at the end.
        env={name: text for name, text in os.environ.items() if "COVERAGE" not in name},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def test_a_folder_that_cannot_be_waited_for_is_an_error_before_anything_is_written(
    nobodys_folder: Path,
) -> None:
    path = nobodys_folder / "it"
    path.write_bytes(b"old")
    _give_away(path)
    nobodys_folder.chmod(0o300)
    said = dump_as_nobody(path)
    assert said.startswith(f"PermissionError {path.parent} Permission denied; the folder must be")
    assert path.read_bytes() == b"old"
    assert not dump_as_nobody(path, durable=False)
    assert path.read_bytes().startswith(b"\xa6PSEAL")
    nobodys_folder.chmod(0o700)
    assert os.listdir(nobodys_folder) == ["it"]


def test_a_file_that_may_not_be_written_to_is_not_replaced(nobodys_folder: Path) -> None:
    path, link = nobodys_folder / "it", nobodys_folder / "link"
    path.write_bytes(b"old")
    _give_away(path)
    link.symlink_to("it")
    path.chmod(0o444)
    for place in (path, link):
        assert dump_as_nobody(place) == f"PermissionError {place} Permission denied"
    assert path.read_bytes() == b"old"
    assert sorted(os.listdir(nobodys_folder)) == ["it", "link"]
    path.chmod(0o644)
    assert not dump_as_nobody(path)
    assert path.read_bytes().startswith(b"\xa6PSEAL")


@pytest.mark.parametrize("error", [errno.EINVAL, errno.ENOTSUP, errno.EIO])
def test_of_the_wait_for_a_name_only_what_the_disk_itself_says_is_an_error(
    error: int, ring: Keyring, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fsync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(error, os.strerror(error))

    monkeypatch.setattr(os, "fsync", fsync)
    expected = pytest.raises(OSError, match=os.strerror(error))
    with expected if error == errno.EIO else nullcontext():
        signed_dump(1, tmp_path / "it", keyring=ring)
    assert signed_load(tmp_path / "it", keyring=ring) == 1


def test_a_new_file_that_has_its_name_is_there_though_its_first_name_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unlink(path: str) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO), path)

    monkeypatch.setattr(os, "unlink", unlink)
    atomic.write_whole(str(tmp_path / "it"), b"new", exclusive=True)
    assert (tmp_path / "it").read_bytes() == b"new"


@pytest.mark.parametrize("name", [
    "file/", "file//", "file/.", "file/..", "file/../new", "file/new",
    "none/", "none/.", "none/..", "none/new", "none/../new", "none/new/", "none/../file",
    "link/", "link/.", "link/../new", "to-slash", "to-none", "to-file", "loop", "loop/new",
])  # fmt: skip
def test_a_path_that_open_refuses_is_refused_as_open_does(
    name: str, ring: Keyring, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").write_bytes(b"old")
    links = {
        "link": "file", "to-slash": "new/", "to-none": "none/../new", "to-file": "file/../new",
        "loop": "loop",
    }  # fmt: skip
    for link, leads_to in links.items():
        os.symlink(leads_to, link)
    before = sorted(os.listdir())
    for path in (name, f"{tmp_path}/{name}"):
        with pytest.raises(OSError) as expected:  # noqa: PT011 - the system's own, whatever it is
            open(path, "wb")  # noqa: SIM115 - it does not open
        with pytest.raises(OSError) as got:  # noqa: PT011 - as above
            signed_dump(1, path, keyring=ring)
        assert (got.type, got.value.errno) == (expected.type, expected.value.errno)
        assert got.value.filename == path
        with pytest.raises(OSError):  # noqa: PT011 - a link is there already
            atomic.write_whole(path, b"new", exclusive=True)
    assert sorted(os.listdir()) == before
    assert Path("file").read_bytes() == b"old"


TRACED = """
import os, sys, pickleseal
path, ring, durable = sys.argv[1:]
ring = pickleseal.open_keyring(ring)
calls = []
real = os.fsync
os.fsync = lambda descriptor: (calls.append("fsync"), real(descriptor))
replace = os.replace
os.replace = lambda *a: (calls.append("replace"), replace(*a))
pickleseal.signed_dump(1, path, keyring=ring, durable=durable == "yes")
print(*calls)
"""


def test_a_durable_write_syncs_the_file_before_its_name_and_the_name_after(
    tmp_path: Path,
) -> None:
    create_key(tmp_path / "ring", suite=Suite.BLAKE3, note="", now=0)
    for durable, expected in (("yes", ["fsync", "replace", "fsync"]), ("no", ["replace"])):
        done = subprocess.run(
            [sys.executable, "-c", TRACED, str(tmp_path / "it"), str(tmp_path / "ring"), durable],
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.split() == expected


def test_the_same_bytes_come_out_whichever_way_they_are_written(
    ring: Keyring, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1")
    data = signed_dumps(LARGE, keyring=ring)

    def ways() -> Iterator[bytes]:
        for parallel in (True, False):
            monkeypatch.setattr(target, "_PARALLEL", parallel)
            signed_dump(LARGE, tmp_path / "it", keyring=ring, durable=parallel)
            yield (tmp_path / "it").read_bytes()
            memory = io.BytesIO()
            signed_dump(LARGE, memory, keyring=ring)
            yield memory.getvalue()

    for written in ways():
        assert written == data


def test_a_file_over_four_gibibytes_is_read_by_its_true_size(ring: Keyring, tmp_path: Path) -> None:
    """A sparse file of the size that a sealed header names: refused by its body, not its size."""
    from pickleseal.envelope import metadata as md
    from pickleseal.envelope import seal

    head = seal.seal_head(
        ring.sealing_key(context=None, now=0), md.Metadata(content="pickle"), [5 << 30]
    )
    path = tmp_path / "it"
    path.write_bytes(head.data)
    os.truncate(path, head.head.fixed.total_size + 1)
    with pytest.raises(MalformedError):
        verify(path, keyring=ring)


@both_ways
def test_a_body_is_hashed_without_being_kept_as_it_is_when_read(tmp_path: Path) -> None:
    """The leaves are the same, and a padding that is not zero is seen wherever it lies."""
    lengths = [1, 0, 64, (1 << 20) - 70, 3, (4 << 20) + 5, 100, (8 << 20) + 1]
    pieces = [os.urandom(length) + bytes(-length % 64) for length in lengths]
    whole = b"head" + b"".join(pieces)
    paddings = []
    offset = len(b"head")
    for length, piece in zip(lengths, pieces, strict=True):
        paddings += [offset + length, offset + len(piece) - 1] if length % 64 else []
        offset += len(piece)
    path = tmp_path / "it"
    for dirty in (None, *paddings):
        data = bytearray(whole)
        if dirty is not None:
            data[dirty] = 7
        path.write_bytes(data)
        with RegularFile(str(path), follow=False) as file:
            sources = [
                source.envelope_at(file, 0),
                source.MemorySource(bytes(data)),
                source.StreamSource(io.BytesIO(data)),
            ]
            for one in sources:
                one.pull(4)
                found = one.digests(Suite.BLAKE3, lengths)
                assert found.padded is (dirty is None)
                if dirty is None:
                    kept = source.MemorySource(whole)
                    kept.pull(4)
                    assert found.leaves == kept.body(Suite.BLAKE3, lengths).leaves


@both_ways
def test_a_file_that_is_looked_at_is_read_at_any_offset(tmp_path: Path) -> None:
    data = os.urandom(300_000)
    path = tmp_path / "it"
    path.write_bytes(data)
    with RegularFile(str(path), follow=False) as file:
        assert file.size == len(data)
        for offset, size in ((0, 10), (65_000, 2000), (200_000, 99), (299_990, 100), (400_000, 5)):
            assert file.read(offset, size) == data[offset : offset + size]


@both_ways
@pytest.mark.parametrize("way", ["path", "bytes"])
def test_a_buffer_that_another_thread_changes_meanwhile_makes_no_file_that_does_not_load(
    way: str, ring: Keyring, tmp_path: Path
) -> None:
    array = np.zeros(16 << 20, np.uint8)
    over = threading.Event()

    def change() -> None:
        while not over.is_set():
            np.invert(array, out=array)

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(4):
            if way == "path":
                signed_dump(array, tmp_path / "it", keyring=ring, durable=False)
                loaded = signed_load(tmp_path / "it", keyring=ring)
            else:
                loaded = signed_loads(signed_dumps(array, keyring=ring), keyring=ring)
            assert loaded.shape == array.shape
    finally:
        over.set()
        thread.join()


@pytest.mark.parametrize("numpy", ["None", "types.ModuleType('numpy')", "mock.MagicMock()"])
def test_a_numpy_that_is_barred_or_not_all_there_does_not_matter(
    numpy: str, ring_directory: Path, tmp_path: Path
) -> None:
    signed_dump([pickle.PickleBuffer(bytearray(100_000))], tmp_path / "it", keyring=ring_directory)
    code = (
        "import sys, types, pickleseal\n"
        "from unittest import mock\n"
        f"sys.modules['numpy'] = {numpy}\n"
        f"ring, path = {str(ring_directory)!r}, {str(tmp_path / 'it')!r}\n"
        "(loaded,) = pickleseal.signed_load(path, keyring=ring)\n"
        "assert loaded == bytes(100_000)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_no_leftover_of_the_heap_lies_beside_what_is_loaded(ring: Keyring) -> None:
    data = signed_dumps(np.ones(100_000), keyring=ring)
    for _ in range(20):
        left = np.full(100_008, -1)  # as much as the array with what is beside it
        del left
        owner: Any = signed_loads(data, keyring=ring)
        while True:
            below = getattr(owner, "base", getattr(owner, "obj", None))
            if below is None:
                break
            owner = below
        beside = bytes(memoryview(owner).cast("B")).replace(np.float64(1).tobytes(), b"")
        assert not any(beside)


def test_an_error_while_bytes_are_hashed_leaves_nothing_that_the_collector_trips_over(
    ring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> bytes:
        raise MemoryError("as if there were none")

    monkeypatch.setattr("pickleseal.envelope.hashing.leaf_digest", broken)
    for _ in range(20):
        try:
            signed_dumps(np.zeros(3 << 17), keyring=ring)
        except MemoryError as error:
            error.itself = error  # type: ignore[attr-defined]
    gc.collect()


def test_a_path_leads_where_the_system_says_also_behind_a_link_to_a_folder(
    ring: Keyring, tmp_path: Path
) -> None:
    (tmp_path / "far/deep").mkdir(parents=True)
    (tmp_path / "link").symlink_to("far/deep")
    signed_dump(1, f"{tmp_path}/link/../it", keyring=ring)
    atomic.write_whole(f"{tmp_path}/link/../new", b"x", exclusive=True)
    assert signed_load(tmp_path / "far/it", keyring=ring) == 1
    assert (tmp_path / "far/new").read_bytes() == b"x"
    assert not (tmp_path / "it").exists()
