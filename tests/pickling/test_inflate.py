"""Decompression: what joblib compressed comes back whole, and nothing but that is taken."""

import bz2
import gzip
import io
import lzma
import subprocess
import sys
import tracemalloc
import zlib
from collections.abc import Callable

import joblib
import lz4.frame
import numpy as np
import pytest

from pickleseal import MalformedError, PicklesealError
from pickleseal.pickling.inflate import PIECE, expand, method_of, pieces

METHODS: dict[str, Callable[[bytes], bytes]] = {
    "zlib": lambda data: zlib.compress(data, 1),
    "gzip": lambda data: gzip.compress(data, 1),
    "bz2": lambda data: bz2.compress(data, 1),
    "lzma": lambda data: lzma.compress(data, lzma.FORMAT_ALONE, preset=0),
    "xz": lambda data: lzma.compress(data, preset=0),
    "lz4": lz4.frame.compress,
}
RAW = np.random.default_rng(0).integers(0, 9, 2 * PIECE + 12_345, np.uint8).tobytes()
every_method = pytest.mark.parametrize("method", METHODS)


@every_method
@pytest.mark.parametrize("size", [0, 1, 1000, PIECE, PIECE + 1, len(RAW)])
def test_compressed_data_round_trip(method: str, size: int) -> None:
    packed = memoryview(METHODS[method](RAW[:size]))
    assert method_of(bytes(packed[:8])) == method
    assert expand(packed, size) == RAW[:size]
    given = list(pieces(lambda at, length: packed[at : at + length], len(packed)))
    assert max(map(len, given), default=0) <= PIECE


@every_method
def test_what_joblib_writes_comes_back(method: str) -> None:
    file = io.BytesIO()
    joblib.dump({"a": np.arange(500_000), "b": [1, "x"]}, file, compress=(method, 3))
    plain = io.BytesIO()
    joblib.dump({"a": np.arange(500_000), "b": [1, "x"]}, plain)
    packed = memoryview(file.getvalue())
    assert method_of(bytes(packed[:8])) == method
    assert expand(packed, len(plain.getvalue())) == plain.getvalue()


@every_method
@pytest.mark.parametrize("change", [-1, 1, 1000])
def test_another_size_is_refused(method: str, change: int) -> None:
    with pytest.raises(MalformedError):
        expand(memoryview(METHODS[method](RAW[:5000])), 5000 + change)


@every_method
def test_every_cut_and_every_tail_is_refused(method: str) -> None:
    packed = METHODS[method](RAW[:300])
    for end in range(2, len(packed)):
        with pytest.raises(MalformedError):
            expand(memoryview(packed[:end]), 300)
    for surplus in (b"\0", packed, b"x" * 100):
        with pytest.raises(MalformedError):
            expand(memoryview(packed + surplus), 300)


@every_method
def test_a_bomb_takes_little_memory(method: str) -> None:
    packed = memoryview(METHODS[method](bytes(32 << 20)))
    tracemalloc.start()
    with pytest.raises(MalformedError):
        expand(packed, 1000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20 * PIECE  # lzma has a dictionary of 8 MiB


def test_a_missing_lz4_package_is_no_damage_of_the_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    packed = memoryview(METHODS["lz4"](RAW[:100]))
    for module in ("lz4", "lz4.frame"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(PicklesealError) as caught:
        expand(packed, 100)
    assert not isinstance(caught.value, MalformedError)
    assert "lz4" in str(caught.value)


SHORT_OF_MEMORY = """
import lzma, resource
from pickleseal.pickling.inflate import expand

packed = bytearray(lzma.compress(b"data", lzma.FORMAT_ALONE))
packed[1:5] = (1 << 29).to_bytes(4, "little")  # the dictionary that its head asks for
assert expand(memoryview(packed), 4) == b"data"
pages = int(open("/proc/self/statm").read().split()[0])
limits = resource.getrlimit(resource.RLIMIT_AS)
resource.setrlimit(
    resource.RLIMIT_AS, (pages * resource.getpagesize() + (40 << 20), limits[1])
)
try:
    expand(memoryview(packed), 4)
except MemoryError:
    print("out of memory")
resource.setrlimit(resource.RLIMIT_AS, limits)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS is Linux's")
def test_a_lack_of_memory_is_no_damage_of_the_file() -> None:
    command = [sys.executable, "-c", SHORT_OF_MEMORY]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "out of memory\n"


def test_data_that_are_not_compressed_are_returned_as_they_are() -> None:
    data = memoryview(b"\x80\x04K\x01.")
    assert method_of(b"\x80\x04K\x01.") is None
    assert expand(data, 5) is data
    with pytest.raises(MalformedError):
        expand(data, 4)


@pytest.mark.parametrize("method", METHODS)
def test_a_size_that_no_machine_has_is_refused_as_wrong(method: str) -> None:
    with pytest.raises(MalformedError):
        expand(memoryview(METHODS[method](RAW[:300])), 2**53 - 1)


@pytest.mark.parametrize("start", [b"\x78", b"\x1f\x8b", b"BZ", b"\xfd7zXZ"])
def test_a_damaged_stream_of_each_method_is_malformed(start: bytes) -> None:
    data = start + b"damaged" * 100
    with pytest.raises(MalformedError, match="damaged"):
        list(pieces(lambda at, size: data[at : at + size], len(data)))
