"""The atomic writer: what is left when a call fails, a signal arrives or the process is killed."""

import ctypes
import errno
import os
import stat
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest

from pickleseal import KeyringError, TargetError
from pickleseal.files import atomic
from pickleseal.files import exchange as exchanging
from pickleseal.files.atomic import (
    appending,
    held,
    make_folder,
    replacing,
    write_private,
    write_whole,
)
from pickleseal.files.exchange import exchange
from pickleseal.files.handles import Stamp, stamp_of
from pickleseal.keys.key import KeyLine

Write = Callable[[str], None]

WRITERS: dict[str, Write] = {
    "whole": lambda path: write_whole(path, b"new"),
    "whole, exclusive": lambda path: write_whole(path, b"new", exclusive=True),
    "private": lambda path: write_private(path, lambda: "new"),
    "private, exclusive": lambda path: write_private(path, lambda: "new", exclusive=True),
}
writers = pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)


def test_what_was_appended_is_there_at_once_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "it"
    path.write_bytes(b"old")
    path.chmod(0o640)
    (tmp_path / "link").symlink_to(path)
    with suppress(KeyboardInterrupt), appending(str(tmp_path / "link")) as write:
        assert path.read_bytes() == b""
        write(b"first\n")
        assert path.read_bytes() == b"first\n"
        raise KeyboardInterrupt
    assert path.read_bytes() == b"first\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert (tmp_path / "link").is_symlink()


def fail_fsync(monkeypatch: pytest.MonkeyPatch, error: int, *, of_folders: bool) -> None:
    real = os.fsync

    def fsync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode) is of_folders:
            raise OSError(error, os.strerror(error))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)


@writers
@pytest.mark.parametrize("error", [errno.EINVAL, errno.ENOTSUP])
def test_a_file_system_that_cannot_sync_folders_is_written_to(
    write: Write, error: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_fsync(monkeypatch, error, of_folders=True)
    write(str(tmp_path / "it"))
    assert (tmp_path / "it").read_bytes() == b"new"
    make_folder(str(tmp_path / "folder"), mode=0o700)
    assert (tmp_path / "folder").is_dir()


@writers
def test_a_folder_that_fails_to_close_is_no_error(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.close
    failed = []

    def close(descriptor: int) -> None:
        is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        real(descriptor)
        if is_folder:
            failed.append(descriptor)
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "close", close)
    write(str(tmp_path / "it"))
    assert failed
    assert (tmp_path / "it").read_bytes() == b"new"


@writers
def test_a_folder_that_fails_to_sync_is_told_with_the_file_in_place(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_fsync(monkeypatch, errno.EIO, of_folders=True)
    path = str(tmp_path / "it")
    with pytest.raises(OSError, match="in place, but may not survive a power cut") as failed:
        write(path)
    assert (failed.value.errno, failed.value.filename) == (errno.EIO, path)
    assert os.listdir(tmp_path) == ["it"]
    assert Path(path).read_bytes() == b"new"


@writers
def test_a_file_that_fails_to_sync_is_named_and_leaves_nothing(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_fsync(monkeypatch, errno.EIO, of_folders=False)
    path = str(tmp_path / "it")
    with pytest.raises(OSError, match=os.strerror(errno.EIO)) as failed:
        write(path)
    assert (failed.value.errno, failed.value.filename) == (errno.EIO, path)
    assert "power cut" not in str(failed.value)
    assert not os.listdir(tmp_path)


@writers
def test_a_signal_right_after_the_file_was_created_leaves_nothing(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.open

    def interrupted(path: str, flags: int, mode: int = 0o777) -> int:
        descriptor = real(path, flags, mode)
        if flags & os.O_CREAT:
            os.close(descriptor)
            raise KeyboardInterrupt
        return descriptor

    monkeypatch.setattr(os, "open", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write(str(tmp_path / "it"))
    assert not os.listdir(tmp_path)


@pytest.mark.skipif(os.name != "posix", reason="this system has no modes")
def test_a_private_file_is_private_before_anything_is_written(tmp_path: Path) -> None:
    path = tmp_path / "it"
    path.write_bytes(b"old")
    path.chmod(0o644)
    modes = []

    def text() -> str:
        (temporary,) = (name for name in tmp_path.iterdir() if name != path)
        modes.append(stat.S_IMODE(temporary.stat().st_mode))
        return "new"

    before = os.umask(0)
    try:
        write_private(str(path), text)
    finally:
        os.umask(before)
    assert modes == [0o600]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text() == "new"


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="there are no links")
def test_a_private_file_replaces_a_link_and_leaves_its_target(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("old")
    (tmp_path / "link").symlink_to("target")
    with pytest.raises(TargetError):
        write_private(str(tmp_path / "link"), lambda: "new", exclusive=True)
    write_private(str(tmp_path / "link"), lambda: "new")
    assert (tmp_path / "target").read_text() == "old"
    assert not (tmp_path / "link").is_symlink()
    assert (tmp_path / "link").read_text() == "new"


@pytest.mark.parametrize("links", [True, False])
def test_an_exclusive_write_overwrites_nothing(
    links: bool,  # noqa: FBT001 - a case
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "it"

    def comes_meanwhile() -> str:
        path.write_text("theirs")
        return "new"

    if not links:

        def link(*_: object) -> None:
            raise OSError(errno.EPERM, os.strerror(errno.EPERM))

        monkeypatch.setattr(os, "link", link)
    for text in (comes_meanwhile, lambda: "new"):
        with pytest.raises(TargetError):
            write_private(str(path), text, exclusive=True)
        assert path.read_text() == "theirs"
    assert os.listdir(tmp_path) == ["it"]


@pytest.mark.skipif(os.name != "posix", reason="a working directory in use cannot be removed")
def test_a_deleted_working_directory_is_an_error_that_names_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(FileNotFoundError) as failed:
        write_whole("it", b"new")
    assert failed.value.filename == "it"


def test_a_new_folder_is_synced_in_the_one_above(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.fstat(descriptor).st_ino))
    make_folder(str(tmp_path / "folder"), mode=0o700)
    assert synced == [tmp_path.stat().st_ino]
    with pytest.raises(FileExistsError):
        make_folder(str(tmp_path / "folder"), mode=0o700)


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="Linux alone has it")
def test_an_open_file_without_a_name_is_refused() -> None:
    """Its link in /proc leads to a path that never was, such as `/memfd:it (deleted)`."""
    name = os.urandom(8).hex()
    descriptor = os.memfd_create(name)
    try:
        with pytest.raises(TargetError, match="pass the file object"):
            write_whole(f"/proc/self/fd/{descriptor}", b"new")
    finally:
        os.close(descriptor)
    assert not os.path.lexists(f"/memfd:{name} (deleted)")


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="there are no links")
def test_a_link_to_a_file_that_is_not_there_yet_is_written_through(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("target")
    write_whole(str(tmp_path / "link"), b"new")
    assert (tmp_path / "target").read_bytes() == b"new"
    assert (tmp_path / "link").is_symlink()


@pytest.mark.skipif(not hasattr(os, "statvfs"), reason="this system does not tell")
@pytest.mark.parametrize(
    ("flag", "error"), [("ST_RDONLY", errno.EROFS), ("", errno.EACCES), (None, errno.EACCES)]
)
def test_a_read_only_mount_is_told_apart_from_a_mode(
    flag: str | None, error: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "it"
    path.write_bytes(b"old")
    if flag is None:
        monkeypatch.delattr(os, "statvfs")
    else:
        status = SimpleNamespace(f_flag=getattr(os, flag, 0))
        monkeypatch.setattr(os, "statvfs", lambda _: status)
    monkeypatch.setattr(os, "access", lambda *_, **__: False)
    with pytest.raises(OSError, match=os.strerror(error)) as failed:
        write_whole(str(path), b"new")
    assert (failed.value.errno, failed.value.filename) == (error, str(path))
    assert path.read_bytes() == b"old"


def replace(path: Path, seen: Stamp | None, meanwhile: Callable[[], object] = bool) -> None:
    with replacing(str(path), durable=False, seen=seen) as descriptor:
        os.write(descriptor, b"new")
        meanwhile()


def test_a_file_that_was_changed_since_it_was_seen_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "it"
    path.write_bytes(b"old")
    seen = stamp_of(path.stat())
    path.write_bytes(b"theirs")
    began: list[None] = []
    with pytest.raises(TargetError, match="another program changed"):
        replace(path, seen, lambda: began.append(None))
    assert (path.read_bytes(), began) == (b"theirs", [])
    with pytest.raises(TargetError, match="another program changed"):
        replace(path, stamp_of(path.stat()), lambda: path.write_bytes(b"theirs again"))
    assert path.read_bytes() == b"theirs again"
    assert os.listdir(tmp_path) == ["it"]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux exchanges files here")
@pytest.mark.parametrize("later", [1, 2, 3])
def test_a_file_that_comes_right_before_the_rename_is_put_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, later: int
) -> None:
    path = tmp_path / "model.pkl"
    path.write_bytes(b"seen")
    comes = iter([b"newer %d" % number for number in range(later)])

    def exchange_late(one: str, other: str) -> bool:
        newer = next(comes, None)
        if newer is not None:
            beside = tmp_path / "beside"
            beside.write_bytes(newer)
            beside.replace(path)
        return exchange(one, other)

    monkeypatch.setattr(atomic, "exchange", exchange_late)
    with (
        pytest.raises(TargetError, match=r"another program changed .*model\.pkl"),
        replacing(str(path), durable=False, seen=stamp_of(path.stat())) as descriptor,
    ):
        os.write(descriptor, b"ours")
    assert path.read_bytes() == b"newer %d" % (later - 1)
    assert os.listdir(tmp_path) == ["model.pkl"]


@pytest.mark.parametrize("target", ["kept", "nowhere"])
@pytest.mark.parametrize(
    "late",
    [
        False,
        pytest.param(True, marks=pytest.mark.skipif(sys.platform != "linux", reason="as above")),
    ],
)
def test_a_link_that_takes_the_place_of_the_file_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, target: str, late: bool
) -> None:
    path = tmp_path / "model.pkl"
    path.write_bytes(b"seen")

    def link() -> None:
        path.rename(tmp_path / "kept")
        path.symlink_to(target)

    def exchange_late(one: str, other: str) -> bool:
        if not (tmp_path / "kept").exists():
            link()
        return exchange(one, other)

    if late:
        monkeypatch.setattr(atomic, "exchange", exchange_late)
    with pytest.raises(TargetError, match="another program changed"):
        replace(path, stamp_of(path.stat()), bool if late else link)
    assert os.readlink(path) == target
    assert (tmp_path / "kept").read_bytes() == b"seen"
    assert sorted(os.listdir(tmp_path)) == ["kept", "model.pkl"]


def test_a_newer_file_that_cannot_be_put_back_is_left_beside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.pkl"
    path.write_bytes(b"seen")
    calls = iter([None, OSError(errno.EIO, "Input/output error")])

    def exchange_once(one: str, other: str) -> bool:
        error = next(calls)
        if error is not None:
            raise error
        os.replace(other, path.with_name("seen"))
        path.write_bytes(b"newer")
        os.rename(path, path.with_name("newer"))
        os.rename(one, other)
        os.rename(path.with_name("newer"), one)
        return True

    monkeypatch.setattr(atomic, "exchange", exchange_once)
    with (
        pytest.raises(OSError, match="Input/output error"),
        replacing(str(path), durable=False, seen=stamp_of(path.stat())) as descriptor,
    ):
        os.write(descriptor, b"ours")
    (leftover,) = tmp_path.glob(f"{atomic.TEMPORARY_PREFIX}*")
    assert leftover.read_bytes() == b"newer"


def test_files_are_replaced_where_they_cannot_be_exchanged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.pkl"
    path.write_bytes(b"seen")
    monkeypatch.setattr(atomic, "exchange", lambda *_: False)
    with replacing(str(path), durable=False, seen=stamp_of(path.stat())) as descriptor:
        os.write(descriptor, b"ours")
    assert path.read_bytes() == b"ours"
    assert os.listdir(tmp_path) == ["model.pkl"]


def test_where_files_cannot_be_exchanged_a_newer_one_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.pkl"
    path.write_bytes(b"seen")
    monkeypatch.setattr(atomic, "exchange", lambda *_: False)
    with pytest.raises(TargetError, match="another program changed"):
        replace(path, stamp_of(path.stat()), lambda: path.write_bytes(b"newer"))
    assert path.read_bytes() == b"newer"
    assert os.listdir(tmp_path) == ["model.pkl"]


def test_a_file_that_is_held_is_the_one_that_was_seen(tmp_path: Path) -> None:
    path = tmp_path / "model.pkl"
    path.write_bytes(b"seen")
    seen = stamp_of(path.stat())
    with held(str(path), seen):
        pass
    path.write_bytes(b"newer")
    with pytest.raises(TargetError, match="another program changed"), held(str(path), seen):
        pytest.fail("it is held")


def test_a_folder_is_no_file_to_replace(tmp_path: Path) -> None:
    for path in (f"{tmp_path}", f"{tmp_path}/"):
        with pytest.raises(TargetError, match="not a regular file"):
            write_whole(path, b"new")
    (tmp_path / "it").write_bytes(b"old")
    with pytest.raises(IsADirectoryError):
        write_whole(f"{tmp_path}/it/", b"new")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux exchanges files here")
@pytest.mark.parametrize("code", [None, errno.ENOSYS, errno.EINVAL, errno.ENOTSUP])
def test_a_file_system_that_exchanges_no_files_is_no_error(
    code: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def call(*_: object) -> int:
        ctypes.set_errno(code or 0)
        return -1

    monkeypatch.setattr(exchanging, "_renameat2", lambda: code and call)
    assert not exchange("one", "other")


def test_a_system_that_exchanges_no_files_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_bytes(b"1")
    other.write_bytes(b"2")
    if sys.platform == "linux":
        assert exchange(str(one), str(other))
        assert one.read_bytes() == b"2"
        with pytest.raises(FileNotFoundError):
            exchange(str(one), str(tmp_path / "none"))
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not exchange(str(one), str(other))


def test_a_file_that_was_seen_may_be_read_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "it"
    path.write_bytes(b"old")
    monkeypatch.setattr(os, "access", lambda *_, **__: False)  # root may write all
    with pytest.raises(PermissionError):
        replace(path, None)
    replace(path, stamp_of(path.stat()))
    assert path.read_bytes() == b"new"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no FIFOs")
def test_only_a_regular_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "it"
    os.mkfifo(path)
    with pytest.raises(TargetError, match="not a regular file"):
        write_whole(str(path), b"new")
    assert stat.S_ISFIFO(path.stat().st_mode)


def test_a_path_that_is_none_is_refused() -> None:
    with pytest.raises(TargetError, match="empty"):
        write_whole("", b"new")
    with pytest.raises(KeyringError, match="key line, not a path") as caught:
        write_whole(KeyLine.generate().reveal(), b"new")
    assert "hidden" not in str(caught.value)


def test_an_exclusive_write_does_not_begin_where_a_file_is(tmp_path: Path) -> None:
    (tmp_path / "it").write_bytes(b"theirs")
    with pytest.raises(TargetError, match="already exists"):
        write_private(str(tmp_path / "it"), lambda: pytest.fail("it began"), exclusive=True)


def test_an_error_about_another_file_keeps_its_name(tmp_path: Path) -> None:
    def meanwhile() -> None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), "other")

    with pytest.raises(FileNotFoundError) as failed:
        replace(tmp_path / "it", None, meanwhile)
    assert failed.value.filename == "other"


@pytest.mark.skipif(not hasattr(os, "O_DIRECTORY"), reason="folders are not synced here")
def test_a_folder_that_cannot_be_read_is_told_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.open

    def closed(path: str, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_DIRECTORY:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return real(path, flags, mode)

    monkeypatch.setattr(os, "open", closed)
    with pytest.raises(PermissionError, match="unless durable=False") as failed:
        write_whole(str(tmp_path / "it"), b"new")
    assert failed.value.filename == str(tmp_path)
    assert not os.listdir(tmp_path)
