"""Reading and writing any object with read, readinto or write, however it behaves."""

import contextlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from arrays import SMALL, same

from pickleseal import Keyring, TargetError, signed_dump, signed_dumps, signed_load, signed_loads


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
