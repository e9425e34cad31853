"""A regular file that is read while others write to it, or with short reads."""

import hashlib
import os
from pathlib import Path

import pytest

from pickleseal.files.regular import RegularFile

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
