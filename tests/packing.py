"""Pickles in every wrapping that the scanner opens, and what it says of them."""

import bz2
import gzip
import io
import lzma
import pickle
import struct
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

import joblib
import joblib.numpy_pickle
import numpy as np
import pytest

from pickleseal.scanner.containers import views
from pickleseal.scanner.containers.contents import look
from pickleseal.scanner.grade import Contents

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

ODD = np.array(["x", 1], dtype=object)
MODEL = {"weights": np.arange(100.0), "labels": ["a", "b"], "odd": ODD}
PLAIN = pickle.dumps(MODEL, 4)
ARMED = b"\x8c\x02os\x8c\x05mkdir\x93(S'pickleseal-was-here'\ntR."
ARMED_4 = b"\x80\x04\x8c\x02os\x8c\x05mkdir\x93\x8c\x14pickleseal-was-here!\x85R."
TEXTS = [
    b"N.",
    b"cat\ndog\n",
    b"cat\ncow\ncub\ncup\nVery\n",
    b"I am here, and you are not.",
    b"Vacations\n",
    b"config.h\nconfig.c\nMakefile\n",
    b"(c) 2024 Nobody\nAll rights reserved\n",
    b"import os\nos.getpid()\n",
    b"a,b,c\n1,2,3\n",
    b'{"a": 1}\n',
    b"x^2 + y^2\n",
    b"BZ and so on\n",
    b"PK\n",
    b"\xef\xbb\xbf# title\n",
]
ODD_TEXTS = [
    b"N.N.N.\n",
    b"cat\ndog\ncow\npig\nape\n",
    b"cat\ndog\ncow\npig\nbear\n",
    b"(i) one\n(ii) two\n(iii) three\n(iv) four\n(v) five\n",
    b"(in brief,\nas it were)\n",
    b"c\nc     an old comment.\n" * 40 + b"      end\n",
    b"".join(b"com.example.Name%d\n" % i for i in range(600)),
    b"column," * 300 + b"\n1,2\n",
    b"cat\n" + b"a long line, " * 300 + b"\n",
    b"ca50e07b0670123b  usr/lib/a.py\n68b329da9893e340  usr/lib/b.py\n2a009b2f1e6d1b00  usr/c\n",
    b"ca50e07b0670123b29bfd809\n68b329da9893e34099c7d8ad\n2b009b2f1e6d1b0069797e6d\n",
    b"checksum\n" + b"0123456789abcdef" * 300 + b"\n",
    b"(p" + b"=>a" * 30_000 + b"\n",
    b"(globalThis.a=" + b"(a)" * 30_000 + b"\n",
    b"g" + b"(a)" * 30_000 + b"\n",
]
BINARIES = [
    b"\x7fELF\x02\x01\x01" + bytes(60),
    b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(40),
    b"\x89HDF\r\n\x1a\n" + bytes(80),
    b"PAR1\x15\x04" + bytes(40) + b"PAR1",
    b"GGUF\x03\0\0\0" + bytes(40),
    b"\xff\xd8\xff\xe0\0\x10JFIF" + bytes(40),
    b"GIF89a\x01\0\x01\0\x80\0\0\xff\xff\xff\0\0\0,\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;",
    b"\x40\0\0\0\0\0\0\0" + b'{"weight":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}     ',
    b"\x80\x01\x0f\x0a\0\0%!PS-AdobeFont-1.0",
    b"\x08\x07\x12\x07pytorch" + bytes(20),
    bytes(5000),
    bytes(200_000),
    bytes(18) + b"\x01\x02" * 50,
    b"\0\0\0\0\x10" + bytes(13) + b"\x1e\0\0\0'" * 50,
    b"\x88r\x81]\x84]\x80\x02\xd8\0\x02\x87\x0b",
    b"\x82\x07" + bytes(40),
]


class Memory:
    """Bytes to look at, which note the most that was asked for at a time, and how much in all."""

    def __init__(self, data: bytes) -> None:
        self.size = len(data)
        self.most = 0
        self.total = 0
        self._data = data

    def read(self, offset: int, size: int, /) -> bytes:
        self.most = max(self.most, size)
        self.total += size
        return self._data[offset : offset + size]

    def next_data(self, offset: int, /) -> int:
        return offset


def seen(data: bytes, name: str = "") -> Contents:
    contents = look(Memory(data), name=name)
    assert contents is not None
    return contents


def names(contents: Contents) -> set[str]:
    return {f"{name.module}.{name.name}" for name in contents.names}


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return file.getvalue()


def tarred(members: dict[str, bytes], mode: str = "w", form: int = tarfile.PAX_FORMAT) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode, format=form) as archive:  # type: ignore[call-overload]
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return file.getvalue()


def saved(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def dumped(value: Any, compress: Any = 0) -> bytes:
    file = io.BytesIO()
    joblib.dump(value, file, compress=compress)
    return file.getvalue()


def alone(data: bytes) -> bytes:
    return lzma.compress(data, lzma.FORMAT_ALONE)


def lz4_frame(data: bytes) -> bytes:
    packed: bytes = pytest.importorskip("lz4.frame").compress(data)
    return packed


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "zlib": zlib.compress,
    "gzip": gzip.compress,
    "bz2": lambda data: bz2.compress(data, 1),
    "lzma": alone,
    "xz": lzma.compress,
    "zstd": zstd.compress,
    "lz4": lz4_frame,
}
DAMAGE = (OSError, EOFError, zlib.error, lzma.LZMAError, zstd.ZstdError)
packers = pytest.mark.parametrize("packer", PACKERS)


def listed(name: bytes, data: bytes, local: int, extra: bytes = b"") -> bytes:
    """Return the directory entry of a stored member."""
    sizes = (zlib.crc32(data), len(data), len(data), len(name), len(extra))
    fields = (20, 3, 20, 0, 0, 0, 0, 0, *sizes, 0, 0, 0, 0, local)
    return struct.pack("<4s4B4HL2L5H2L", b"PK\x01\x02", *fields) + name + extra


def headed(name: bytes, data: bytes) -> bytes:
    """Return a stored member with its local header."""
    sizes = (zlib.crc32(data), len(data), len(data), len(name), 0)
    head = struct.pack("<4s2B4HL2L2H", b"PK\x03\x04", 20, 0, 0, 0, 0, 0, *sizes)
    return head + name + data


def ended(directory: bytes, start: int, count: int) -> bytes:
    fields = (0, 0, count & 0xFFFF, count & 0xFFFF, len(directory), start, 0)
    return directory + struct.pack("<4s4H2LH", b"PK\x05\x06", *fields)


def bounded(monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
    monkeypatch.setattr(views, "BASE", steps)
    monkeypatch.setattr(views, "PER_BYTE", 0)
    monkeypatch.setattr(views, "LEAST", 0)
