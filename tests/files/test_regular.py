"""A regular file that is read while others write to it, or with short reads."""

import errno
import hashlib
import os
import re
from pathlib import Path

import pytest

from pickleseal import NotSealedError, Verdict, audit, signed_dump, signed_load, verify
from pickleseal.files.regular import HoleError, RegularFile

SIZES = (0, 1, 1 << 16, (1 << 18) + 1, 3 << 20)


@pytest.mark.parametrize("size", SIZES)
def test_short_reads_are_continued(
    size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = os.urandom(size)
    (tmp_path / "it").write_bytes(data)
    real = os.pread
    monkeypatch.setattr(os, "pread", lambda d, size, offset: real(d, min(size, 50_000), offset))
    with RegularFile(str(tmp_path / "it"), follow=True) as file:
        assert file.read(0, size + 10) == data
        assert bytes(file.whole()) == data
        assert file.sha256() == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("size", SIZES)
def test_a_file_that_grows_is_read_up_to_its_size_at_opening(size: int, tmp_path: Path) -> None:
    data = os.urandom(size)
    (tmp_path / "it").write_bytes(data)
    with RegularFile(str(tmp_path / "it"), follow=True) as file:
        with (tmp_path / "it").open("ab") as more:
            more.write(b"more")
        assert bytes(file.whole()) == data
        assert file.sha256() == hashlib.sha256(data).hexdigest()


@pytest.mark.skipif(not os.path.exists("/proc/meminfo"), reason="Linux alone has it")
def test_a_file_without_a_size_is_read_as_empty() -> None:
    with RegularFile("/proc/meminfo", follow=True) as file:
        assert (file.size, file.read(0, 100), bytes(file.whole())) == (0, b"", b"")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no FIFOs")
def test_a_pipe_is_refused_and_not_opened_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "pipe")
    # It may have taken the place of a file that was seen there.
    with pytest.raises(NotSealedError):
        RegularFile(str(tmp_path / "pipe"), follow=False)
    monkeypatch.setattr(os, "open", lambda *_, **__: pytest.fail("it was opened"))
    with pytest.raises(NotSealedError):
        RegularFile(str(tmp_path / "pipe"), follow=True)


@pytest.mark.skipif(not hasattr(os, "O_NOFOLLOW"), reason="this system follows each link")
def test_a_link_in_the_place_of_a_file_that_was_seen_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(OSError, match=re.escape(os.strerror(errno.ELOOP))):
        RegularFile(str(tmp_path / "link"), follow=False)


def test_a_file_that_cannot_be_read_is_not_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    (tmp_path / "it").write_bytes(b"1")
    monkeypatch.setattr(os, "pread", fail)
    with pytest.raises(OSError, match=re.escape(os.strerror(errno.EIO))):
        RegularFile(str(tmp_path / "it"), follow=True)


def test_a_file_that_grows_while_it_is_audited_ends(tmp_path: Path) -> None:
    path = tmp_path / "log.pkl"
    path.write_bytes(b"]" * (1 << 20))
    with RegularFile(str(path), follow=True) as file:
        with path.open("ab") as more:
            more.write(b"]" * (1 << 20))
        assert file.read(file.size - 10, 100) == b"]" * 10
        assert file.read(file.size, 100) == b""


def test_a_file_that_shrinks_gives_what_is_left(tmp_path: Path) -> None:
    data = os.urandom(3 << 20)
    (tmp_path / "it").write_bytes(data)
    with RegularFile(str(tmp_path / "it"), follow=True) as file:
        os.truncate(tmp_path / "it", 2_000_000)
        assert bytes(file.whole()) == data[:2_000_000]


def sparse(path: Path, start: bytes, size: int, end: bytes = b"") -> Path:
    """Write a file whose middle is a hole; skip the test where that takes room on disk."""
    with path.open("wb") as file:
        file.write(start)
        file.truncate(size)
        file.seek(size)
        file.write(end)
    if not hasattr(os, "SEEK_DATA") or path.stat().st_blocks * 512 > 1 << 20:
        pytest.skip("this file system has no holes")
    return path


@pytest.mark.parametrize("end", [b"", b"end"])
def test_a_file_with_a_hole_of_a_terabyte_is_not_hashed(end: bytes, tmp_path: Path) -> None:
    path = sparse(tmp_path / "it", b"start", 1 << 40, end)
    with RegularFile(str(path), follow=True) as file:
        assert file.next_data(0) == 0
        with pytest.raises(HoleError, match="hole"):
            file.sha256()


def test_a_small_hole_is_hashed_as_the_zeros_that_it_reads_as(tmp_path: Path) -> None:
    path = sparse(tmp_path / "it", b"start", 8 << 20, b"end")
    with RegularFile(str(path), follow=True) as file:
        assert file.next_data(1 << 20) == 8 << 20
        assert file.sha256() == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("missing", ["SEEK_DATA", "SEEK_HOLE"])
def test_a_system_that_tells_of_no_holes_reads_them(
    missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = sparse(tmp_path / "it", b"start", 8 << 20, b"end")
    monkeypatch.delattr(os, missing)
    with RegularFile(str(path), follow=True) as file:
        assert file.sha256() == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("start", [b"PK\3\4", b"\x80\x05N.", b"\x93NUMPY"])
def test_an_audit_of_a_sparse_terabyte_ends_and_says_what_is_not_listed(
    start: bytes, tmp_path: Path
) -> None:
    path = sparse(tmp_path / "it.pkl", start, 1 << 40)
    (finding,) = audit(path, deep=True, digests=True)
    assert finding.digest is None
    assert "hole" in finding.reason


def test_an_error_when_a_file_that_was_only_read_is_closed_is_no_verdict(
    ring_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "files").mkdir()
    path = tmp_path / "files" / "good.pkl"
    signed_dump([1], path, keyring=ring_directory)
    close = os.close

    def failing_close(descriptor: int) -> None:
        close(descriptor)
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "close", failing_close)
    assert signed_load(path, keyring=ring_directory) == [1]
    verify(path, keyring=ring_directory)
    found = audit(tmp_path / "files", keyring=ring_directory)
    assert [one.verdict for one in found] == [Verdict.SEALED]
