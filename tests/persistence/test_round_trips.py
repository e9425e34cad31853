"""What a load reads from any kind of file or bytes is what was dumped."""

import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from arrays import check_mixture, mixture
from streams import AFTER, SOURCES, Opened, in_file, posix, rest_of

from pickleseal import Keyring, signed_dumps, signed_load, signed_loads


@pytest.fixture(scope="module")
def sealed_mixture(ring: Keyring) -> bytes:
    return signed_dumps(mixture(), keyring=ring)


@posix
@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES.keys())
def test_arrays_from_any_file_are_whole_writable_aligned_and_alone(
    source: Callable[[bytes, Path], Opened], sealed_mixture: bytes, ring: Keyring, tmp_path: Path
) -> None:
    with source(sealed_mixture + sealed_mixture + AFTER, tmp_path) as file:
        check_mixture(signed_load(file, keyring=ring))
        check_mixture(signed_load(file, keyring=ring))
        assert rest_of(file) == AFTER


BYTES: dict[str, Callable[[bytes], Any]] = {
    "bytes": lambda data: data,
    "a bytearray": bytearray,
    "a view": memoryview,
    "a view of part of a bytearray": lambda data: memoryview(bytearray(b"x" + data + b"x"))[1:-1],
    "a view in reverse": lambda data: memoryview(data[::-1])[::-1],
    "an array": lambda data: np.frombuffer(data, np.uint8),
    "an array of array": lambda data: array.array("B", data),
    "a read-only array of words": lambda data: np.frombuffer(data, np.uint32).reshape(2, -1),
}


@pytest.mark.parametrize("make", BYTES.values(), ids=BYTES.keys())
def test_arrays_from_any_bytes_are_whole_writable_aligned_and_alone(
    make: Callable[[bytes], Any], sealed_mixture: bytes, ring: Keyring
) -> None:
    check_mixture(signed_loads(make(sealed_mixture), keyring=ring))


@pytest.mark.parametrize("make", [str, Path])
def test_arrays_from_a_path_are_whole_writable_aligned_and_alone(
    make: Callable[[Path], Any], sealed_mixture: bytes, ring: Keyring, tmp_path: Path
) -> None:
    check_mixture(signed_load(make(in_file(tmp_path / "it", sealed_mixture)), keyring=ring))
