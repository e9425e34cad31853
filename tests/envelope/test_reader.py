"""The steps of reading an envelope, in their order, and a record of one."""

import errno
import gzip
import io
import itertools
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fsspec
import numpy as np
import pytest

from pickleseal import (
    Key,
    Keyring,
    MalformedError,
    Suite,
    signed_dump,
    signed_dumps,
    signed_load,
    signed_loads,
)
from pickleseal.envelope import layout, reader
from pickleseal.envelope.record import Record, RecordedSource, Share, joined, record
from pickleseal.envelope.source import (
    MemorySource,
    Source,
    StreamSource,
    open_envelopes,
    open_source,
)
from pickleseal.errors import BadSealError, SealError
from pickleseal.files import objects


@pytest.fixture
def data(ring: Keyring) -> bytes:
    return signed_dumps(bytes(1000), keyring=ring)


@pytest.mark.parametrize("missing", [1, 32, 500])
def test_a_truncated_file_is_that_before_its_key_or_its_size_is_looked_at(
    missing: int, data: bytes, ring: Keyring, tmp_path: Path
) -> None:
    path = tmp_path / "cut.pkl"
    path.write_bytes(data[:-missing])
    with pytest.raises(MalformedError):
        signed_load(path, keyring=Keyring(Key.generate(Suite.SHA256)))
    with pytest.raises(MalformedError):
        signed_load(path, keyring=ring, max_bytes=100)


def test_a_file_of_two_envelopes_is_told_from_one_with_bytes_behind_it(
    data: bytes, ring: Keyring, tmp_path: Path
) -> None:
    path = tmp_path / "two.pkl"
    path.write_bytes(data * 2)
    with pytest.raises(MalformedError, match="another sealed object follows"):
        signed_load(path, keyring=ring)
    path.write_bytes(data + bytes(len(data)))
    with pytest.raises(MalformedError) as refused:
        signed_load(path, keyring=ring)
    assert "another sealed object" not in str(refused.value)


def test_an_error_keeps_the_name_of_the_file_that_it_is_about() -> None:
    with pytest.raises(BadSealError) as refused, reader.naming("outer"), reader.naming("inner"):
        raise BadSealError("no")
    assert refused.value.source == "inner"


def test_a_record_of_an_envelope_is_judged_as_the_envelope(data: bytes, ring: Keyring) -> None:
    for damaged in (data, data[:-40], data[:-1], bytes(len(data))):
        outcomes = []
        made = RecordedSource(record(StreamSource(io.BytesIO(damaged)), len(data)), "it")
        with pytest.raises(TypeError):
            made.body(Suite.BLAKE3, [1])  # it was not kept
        for source in (MemorySource(damaged, exact=False), made):
            try:
                head = reader.read_head(source).authenticate(ring)
                outcomes.append(reader.check_body(source, head))
            except SealError as error:
                outcomes.append(type(error).__name__)
        assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize("total", [2, 3, 7, 50])
def test_shares_of_an_envelope_make_up_its_record(total: int, ring: Keyring) -> None:
    sizes = (300_001, 3 << 20, 70_001, (2 << 20) + 17, 100_001)
    sealed = bytearray(signed_dumps([np.ones(size, np.uint8) for size in sizes], keyring=ring))

    def made(share: Share) -> Record:
        return record(MemorySource(bytes(sealed), exact=False), len(sealed), share)

    for _ in range(2):
        whole = made(Share())
        shares = [made(Share(number, total)) for number in range(total)]
        assert joined(shares) == whole
        sealed[-layout.TAG_SIZE - 1] ^= 1  # in the padding of the last segment
    assert not whole.padded
    other = shares[0]._replace(head=shares[0].head + b"1")
    failed = shares[1]._replace(fault=OSError())
    assert joined([other, *shares[1:]]) is joined([shares[0], failed, *shares[2:]]) is None


LENGTHS = (3, (31 << 20) - 70, 5, (1 << 20) + 1, 7)
"""Their body has a padding in each of two rooms that it is hashed in."""


@contextmanager
def sources(body: bytes, path: Path) -> Iterator[list[Source]]:
    """Yield a source of each kind over the same bytes."""
    path.write_bytes(body)
    with fsspec.open("memory://padding/it", "wb") as written:
        written.write(body)
    with (
        path.open("rb") as file,
        open_source(file) as from_file,
        open_source("memory://padding/it") as remote,
    ):
        yield [MemorySource(body), from_file, StreamSource(io.BytesIO(body)), remote]


def test_padding_that_is_not_zero_is_found_wherever_it_is_and_is_read_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "RANGE", 4 << 20)
    places = list(itertools.accumulate(LENGTHS, lambda end, size: end + -end % 64 + size))
    clean = bytes(places[-1] + -places[-1] % 64)
    for place in (None, *places):
        body = bytearray(clean)
        if place is not None:
            body[place] = 1
        with sources(bytes(body), tmp_path / "it") as opened:
            found = [one.digests(Suite.SHA256, LENGTHS) for one in opened]
        assert [one.padded for one in found] == [place is None] * 4
        assert all(one.leaves == found[0].leaves for one in found)


def test_a_body_of_an_object_is_read_to_its_last_byte_and_no_further(tmp_path: Path) -> None:
    with sources(bytes(128), tmp_path / "it") as opened:
        for source in opened:
            assert len(source.digests(Suite.SHA256, [100]).leaves) == 1
    for lengths in ([129], [65, 64]):
        with sources(bytes(128), tmp_path / "it") as opened:
            for source in opened[2:]:
                with pytest.raises(MalformedError):
                    source.digests(Suite.SHA256, lengths)


def test_each_envelope_of_a_file_is_read_from_its_own_place(
    data: bytes, ring: Keyring, tmp_path: Path
) -> None:
    path = tmp_path / "two.pkl"
    second = signed_dumps("another", keyring=ring)
    path.write_bytes(data + second)
    with open_envelopes(path) as opened:
        heads = [reader.read_head(source) for source in opened]
    assert [head.fixed.total_size for head in heads] == [len(data), len(second)]


@pytest.mark.parametrize(
    ("file", "said"),
    [
        (object(), "with read or readinto"),
        (5, "with read or readinto"),
        (SimpleNamespace(read=lambda _: "text"), "binary mode"),
        (SimpleNamespace(read=lambda size: bytes(size + 1)), "more than it was asked for"),
        (SimpleNamespace(read=lambda _: None), "does not wait|non-blocking|blocking"),
        (SimpleNamespace(readinto=lambda _: None), "does not wait|non-blocking|blocking"),
        (SimpleNamespace(readinto=lambda _: -1), "no number of bytes"),
        (SimpleNamespace(readinto=lambda _: 1 << 30), "more than it was asked for"),
    ],
)
def test_a_file_object_that_does_not_read_as_one_is_told_what_is_wrong(
    file: Any, said: str, ring: Keyring
) -> None:
    with pytest.raises((TypeError, ValueError, BlockingIOError), match=said):
        signed_load(file, keyring=ring)


def test_a_file_object_that_cannot_be_written_is_told_what_is_wrong(ring: Keyring) -> None:
    for file in (object(), 5, SimpleNamespace(read=lambda _: b"")):
        with pytest.raises(TypeError, match="file object with write"):
            signed_dump(1, file, keyring=ring)  # type: ignore[arg-type]


@pytest.mark.usefixtures("_both_ways")
def test_an_error_names_the_path_or_the_file_object(
    data: bytes, ring: Keyring, tmp_path: Path
) -> None:
    path = tmp_path / "damaged"
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    packed = tmp_path / "damaged.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    with path.open("rb") as real, gzip.open(packed) as unpacked:
        for file, name in ((path, path), (real, path), (unpacked, packed)):
            with pytest.raises(BadSealError) as refused:
                signed_load(file, keyring=ring)
            assert refused.value.source == str(name)


def test_what_is_not_bytes_is_a_wrong_argument_of_loads(ring: Keyring) -> None:
    for given in ("text", 5, None, ["a"]):
        with pytest.raises(TypeError):
            signed_loads(given, keyring=ring)  # type: ignore[arg-type]


class ShortWrites(io.FileIO):
    def write(self, data: Any, /) -> int:
        return super().write(memoryview(data)[:100])


def test_a_temporary_file_that_is_not_buffered_is_written_to_its_end(
    ring: Keyring, tmp_path: Path
) -> None:
    path = tmp_path / "it"
    with tempfile._TemporaryFileWrapper(ShortWrites(path, "w"), str(path), delete=False) as file:
        signed_dump(bytes(1000), file, keyring=ring)
    assert signed_load(path, keyring=ring) == bytes(1000)


def test_a_record_keeps_the_error_of_a_disk(data: bytes, ring: Keyring) -> None:
    class Failing(io.BytesIO):
        def readinto(self, target: Any, /) -> int:
            if self.tell() + len(target) > len(data) - 100:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return super().readinto(target)

    made = RecordedSource(record(StreamSource(Failing(data)), len(data)), "it")
    head = reader.read_head(made).authenticate(ring)
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        reader.check_body(made, head)
