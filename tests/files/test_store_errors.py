"""What the packages of stores raise, as messages tell it."""

import errno
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest
from command import call, run
from fsspec.implementations.memory import MemoryFileSystem

from pickleseal.files.objects import StoredObject
from pickleseal.files.places import Remote


class Failing:
    """A file system whose objects can't be read, and that counts its refusals."""

    protocol = "failing"
    async_impl = False

    def __init__(self, fail: Callable[[], None]) -> None:
        self.fail = fail
        self.asked: list[str] = []

    def invalidate_cache(self, _: str) -> None:
        pass

    def cat_file(self, *_: object, **__: object) -> bytes:
        self.asked.append("cat_file")
        self.fail()
        return b""

    def info(self, _: str) -> dict[str, object]:
        self.asked.append("info")
        self.fail()
        return {"type": "file", "size": 0}


class PackageError(Exception):
    """An error of a package's own, which may have a status as Azure's have."""

    def __init__(self, text: str, status: int | None = None) -> None:
        super().__init__(text)
        self.status_code = status


NO_ACCESS = "no access: check your credentials and rights"
AZURE = """The specified container does not exist.
RequestId:eb712bb2
Time:2026-12-01T12:48:06Z
ErrorCode:ContainerNotFound
Content: <?xml version="1.0"?><Error/>"""


def caught(fail: Callable[[], None]) -> OSError:
    with pytest.raises(OSError, match="az://b/it") as raised:
        Remote(Failing(fail), "b/it", "az://b/it").version()
    return raised.value


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (PackageError(AZURE, 404), errno.ENOENT, "The specified container does not exist."),
        (PackageError("BlobNotFound", 404), errno.ENOENT, "nothing is there: check the address"),
        (
            PackageError("Server failed to authenticate\nRequestId:1", 403),
            errno.EACCES,
            f"{NO_ACCESS} (PackageError: Server failed to authenticate)",
        ),
        (
            PackageError("Unable to locate credentials"),
            errno.EACCES,
            f"{NO_ACCESS} (PackageError: Unable to locate credentials)",
        ),
        (
            OSError("Forbidden: b/it\nno storage.objects.get access"),
            errno.EACCES,
            f"{NO_ACCESS} (Forbidden: b/it no storage.objects.get access)",
        ),
        (PackageError("Internal", 500), errno.EIO, "PackageError: Internal"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_an_error_is_told_in_plain_words(error: Exception, code: int, said: str) -> None:
    def fail() -> None:
        raise error

    told = caught(fail)
    assert (told.errno, told.strerror) == (code, said)


def refuse(text: str, status: int | None = None) -> None:
    raise PackageError(text, status)


def lost() -> None:
    try:
        raise ConnectionResetError(errno.ECONNRESET, "reset by peer")
    except OSError:
        raise PackageError("no answer")  # noqa: B904 - as botocore does


def test_a_store_that_is_not_reached_is_asked_once() -> None:
    fs = Failing(lost)
    with pytest.raises(OSError, match=r"can't be reached: check network.*no answer") as raised:
        StoredObject(Remote(fs, "b/it", "az://b/it"))
    assert not isinstance(raised.value, FileNotFoundError)
    assert fs.asked == ["cat_file"]


def test_a_connection_of_aiohttp_that_ends_is_told_as_one() -> None:
    aiohttp = pytest.importorskip("aiohttp")

    def fail() -> None:
        raise aiohttp.ServerDisconnectedError

    told = caught(fail)
    assert told.errno == errno.EHOSTUNREACH
    assert "can't be reached" in str(told)


def test_a_404_that_was_handled_makes_no_missing_object() -> None:
    """A package may ask for a folder after a 404, and lose the connection then."""

    def fail() -> None:
        try:
            refuse("no such blob", 404)
        except PackageError:
            lost()

    assert caught(fail).errno == errno.EHOSTUNREACH


@pytest.mark.parametrize("status", [403, 500])
def test_only_a_store_that_says_so_lacks_an_object(status: int) -> None:
    def fail() -> None:
        try:
            refuse("not now", status)
        except PackageError as error:
            raise FileNotFoundError(errno.ENOENT, "b/it") from error

    assert not isinstance(caught(fail), FileNotFoundError)


def test_no_cause_of_an_error_shows_a_signature() -> None:
    def fail() -> None:
        try:
            refuse("GET https://account/b/it?sig=5ecret")
        except PackageError as error:
            raise OSError("no answer") from error

    assert "5ecret" not in "".join(traceback.format_exception(caught(fail)))


def test_a_prefix_that_is_not_there_is_told_by_all(
    ring_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: object, **__: object) -> None:
        raise FileNotFoundError(errno.ENOENT, "No such container", "none")

    monkeypatch.setattr(MemoryFileSystem, "info", missing)
    for command in ("audit", "verify", "reseal", "adopt"):
        done = call(command, "memory://none", "--keyring", ring_directory)
        assert done.returncode == 2
        assert "No such container" in done.stdout + done.stderr


def test_a_command_prints_nothing_that_a_stores_package_logs(
    tmp_path: Path, ring_directory: Path
) -> None:
    (tmp_path / "gcsfs.py").write_text(
        "import logging\n"
        "from fsspec.implementations.memory import MemoryFileSystem\n"
        "class GCSFileSystem(MemoryFileSystem):\n"
        "    protocol = 'gs'\n"
        "    def cat_file(self, *_, **__):\n"
        "        logging.getLogger('gcsfs').exception('out of retries')\n"
        "        raise ConnectionError('no route')\n"
    )
    done = run(
        *("inspect", "gs://models/it.pkl", "--keyring", ring_directory),
        env={"PYTHONPATH": str(tmp_path)},
    )
    assert done.returncode == 2
    assert "no route" in done.stderr
    assert len(done.stderr.splitlines()) == 1
