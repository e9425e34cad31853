"""Paths and file objects as callers pass them, and reads at offsets."""

import errno
import io
from pathlib import Path

import pytest

from pickleseal.errors import KeyringError
from pickleseal.files.handles import check_binary, is_shortage, read_at, text_path
from pickleseal.keys.key import KeyLine


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError(errno.EMFILE, "too many open files"), True),
        (OSError(errno.ENFILE, "too many open files in the system"), True),
        (OSError(errno.ENOMEM, "no memory"), True),
        (OSError(errno.EACCES, "no"), False),
        (OSError("no code"), False),
        (ValueError(errno.EMFILE), False),
        (None, False),
    ],
    ids=repr,
)
def test_a_shortage_is_one_of_descriptors_or_memory(error: Exception | None, *, told: bool) -> None:
    assert is_shortage(error) is told


def test_a_path_is_text_and_no_key_line(tmp_path: Path) -> None:
    assert text_path(tmp_path) == str(tmp_path)
    with pytest.raises(TypeError, match="not bytes"):
        text_path(b"it")  # type: ignore[arg-type]
    with pytest.raises(KeyringError, match="key line"):
        text_path(KeyLine.generate().reveal())


def test_a_text_file_is_refused_with_the_mode_to_open_it_with() -> None:
    check_binary(io.BytesIO(), "rb")
    with pytest.raises(TypeError, match="'rb'"):
        check_binary(io.StringIO(), "rb")


def test_a_read_past_the_end_of_a_file_ends(tmp_path: Path) -> None:
    (tmp_path / "it").write_bytes(b"12345")
    first, second = bytearray(3), bytearray(3)
    with (tmp_path / "it").open("rb") as file:
        assert read_at(file.fileno(), [memoryview(first)], 2)
        assert not read_at(file.fileno(), [memoryview(first), memoryview(second)], 0)
    assert first + second[:2] == b"12345"
