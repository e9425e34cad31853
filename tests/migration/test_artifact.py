"""adopt_bytes and extract: bytes go into an envelope as they are, and come out the same."""

import bz2
import copyreg
import gzip
import io
import os
import pickle
import zlib
from collections import OrderedDict
from fractions import Fraction
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_iris
from sklearn.neighbors import KNeighborsClassifier
from watching import Mark, nothing_unpickled

from pickleseal import (
    AdoptionError,
    BadSealError,
    ContextError,
    Key,
    Keyring,
    MalformedError,
    NotSealedError,
    PolicyError,
    UnknownKeyError,
    adopt_bytes,
    extract,
    inspect,
    signed_dumps,
    signed_loads,
)
from pickleseal.envelope import seal
from pickleseal.envelope.target import join_envelope

RING = Keyring(Key.generate())


@pytest.mark.parametrize("protocol", range(6))
def test_an_adopted_pickle_loads_as_before(protocol: int, ring: Keyring) -> None:
    array = np.arange(5)
    raw = pickle.dumps([array, {"a": (1, 2)}], protocol)
    for data in (raw, bytearray(raw), memoryview(raw)):
        loaded = signed_loads(adopt_bytes(data, keyring=ring), keyring=ring)
        assert (loaded[0] == array).all()


NOT_ONE_PICKLE = {
    "nothing": b"",
    "text": b"junk",
    "two": b"N.N.",
    "cut off": b"\x80\x05",
    "a byte behind": b"N.\0",
    "a line end behind": b"N.\n",
    "a zip": b"PK\x03\x04" + bytes(40),
    "an array": b"\x93NUMPY\x01\x00" + bytes(40),
    "old joblib": b"ZF0x5              x",
    "two streams": zlib.compress(b"N.") * 2,
    "a byte behind a stream": gzip.compress(b"N.") + b"\0",
    "a byte behind in a stream": zlib.compress(b"N.\0"),
    "half a stream": zlib.compress(b"N.")[:-3],
    "compressed twice": zlib.compress(zlib.compress(b"N.")),
    "an envelope": signed_dumps(1, keyring=RING),
    "a persistent id": b"Pid\n.",
    "a persistent id, computed": b"(S'id'\ntQ.",
    "a buffer beside": pickle.dumps(np.zeros(9), 5, buffer_callback=lambda _: None),
    "a path of arrays beside": (
        b"cjoblib.numpy_pickle_compat\nNDArrayWrapper\n(S'a.npy'\ncnumpy\nndarray\nI01\ntR."
    ),
    "a path of arrays beside, by a longer name": (
        b"\x80\x04\x8c\x06joblib\x8c\x1bnumpy_pickle.NDArrayWrapper\x93)\x81."
    ),
}


OLD_TORCH = pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2) + b"N." * 3


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_a_load_sends_no_file_to_adopt_that_adopt_refuses(protocol: int, ring: Keyring) -> None:
    old = pickle.dumps(0x1950A86A20F9469CFC6C, protocol)
    with pytest.raises(
        NotSealedError, match=r"old format.*load it where you trust it, with torch\.load"
    ) as caught:
        signed_loads(old + OLD_TORCH, keyring=ring)
    assert "pickleseal adopt" not in str(caught.value)
    with pytest.raises(NotSealedError, match="several pickles, load them and save them"):
        signed_loads(b"\x80\x04N." * 3, keyring=ring)


def test_an_array_that_is_not_sealed_is_sent_to_numpy(ring: Keyring) -> None:
    file = io.BytesIO()
    np.save(file, np.zeros(9))
    with pytest.raises(NotSealedError, match=r"numpy\.load.* allow_pickle=True") as caught:
        signed_loads(file.getvalue(), keyring=ring)
    assert "Numpy" not in str(caught.value)


@pytest.mark.parametrize("raw", NOT_ONE_PICKLE.values(), ids=NOT_ONE_PICKLE)
def test_what_is_not_exactly_one_pickle_is_not_adopted(raw: bytes, ring: Keyring) -> None:
    with nothing_unpickled(), pytest.raises(AdoptionError):
        adopt_bytes(raw, keyring=ring)


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (b"N." * 3, "3 pickles"),
        (b"N." * 1000, "contains 1000 pickles"),
        (b"N." * 1001, "over 1000 pickles"),
        (b"N." * 100_000, "over 1000 pickles"),
        (b"N." * 3 + b"\xff", "5 bytes"),
        (pickle.dumps(1) + bytes(7), "7 bytes.*: load it where you trust it"),
        (OLD_TORCH, "torch's old format: if it is yours, load it where you trust it"),
        (zlib.compress(b"N.") + b"\0", "1 byte"),
        (zlib.compress(zlib.compress(b"N.")), "compressed twice"),
        (signed_dumps(1, keyring=RING), "sealed already"),
        (b"PK\3\4" + bytes(40), "a zip archive.*: if it is yours, load it where you trust it"),
        (b"<html>", "an HTML page: an error message"),
    ],
)
def test_it_says_how_many_there_are_or_what_is_left_over(
    raw: bytes, told: str, ring: Keyring
) -> None:
    with pytest.raises(AdoptionError, match=told):
        adopt_bytes(raw, keyring=ring)


@pytest.mark.parametrize("packing", [zlib.compress, gzip.compress, bz2.compress])
def test_no_more_is_unpacked_than_the_bound(
    packing: Any, ring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pickleseal.migration.artifact._MOST_UNPACKED", 3 << 20)
    for size, fits in ((2 << 20, True), (1 << 23, False)):
        whole = packing(pickle.dumps(bytes(size)))
        behind = packing(b"N." + bytes(size))
        if fits:
            assert signed_loads(adopt_bytes(whole, keyring=ring), keyring=ring) == bytes(size)
        else:
            with pytest.raises(AdoptionError):
                adopt_bytes(whole, keyring=ring)
        with pytest.raises(AdoptionError):
            adopt_bytes(behind, keyring=ring)


def test_exactly_the_bound_is_unpacked_and_no_more_of_what_follows(
    ring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = pickle.dumps(bytes(3 << 20))
    monkeypatch.setattr("pickleseal.migration.artifact._MOST_UNPACKED", len(raw))
    assert extract(adopt_bytes(zlib.compress(raw), keyring=ring), keyring=ring)
    monkeypatch.setattr("pickleseal.migration.artifact._MOST_UNPACKED", len(raw) - 1)
    with pytest.raises(AdoptionError, match="unpacks to over"):
        adopt_bytes(zlib.compress(raw), keyring=ring)
    monkeypatch.setattr("pickleseal.migration.artifact._MOST_SPARE", 1 << 20)
    with pytest.raises(AdoptionError, match="1 MiB or more follow"):
        adopt_bytes(zlib.compress(b"N.\xff" + bytes(8 << 20)), keyring=ring)


def test_what_is_large_in_itself_has_no_bound(
    ring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pickleseal.migration.artifact._MOST_UNPACKED", 1000)
    for raw in (pickle.dumps(b"x" * 100_000), zlib.compress(pickle.dumps(os.urandom(100_000)))):
        assert extract(adopt_bytes(raw, keyring=ring), keyring=ring) == raw


COMPRESSIONS: list[Any] = [
    0,
    *((method, 3) for method in ("zlib", "gzip", "bz2", "lzma", "xz", "lz4")),
]


def objects() -> list[Any]:
    x, y = load_iris(return_X_y=True)
    return [
        KNeighborsClassifier(n_neighbors=3).fit(x, y),
        np.array([{"a": 1}, None], object),
        np.arange(100_000).reshape(200, 500),
        np.zeros((30, 40), order="F"),
        OrderedDict(a={1, 2}, b=Fraction(1, 3)),
    ]


@pytest.mark.parametrize("compress", COMPRESSIONS, ids=str)
@pytest.mark.parametrize("protocol", range(6))
def test_a_file_of_joblibs_is_adopted_and_loaded_and_comes_out_as_it_was(
    compress: Any, protocol: int, ring: Keyring
) -> None:
    file = io.BytesIO()
    joblib.dump(objects(), file, compress=compress, protocol=protocol)
    raw = file.getvalue()
    with nothing_unpickled():
        data = adopt_bytes(raw, keyring=ring, context="c", serial=3)
        assert extract(data, keyring=ring, context="c") == raw
        metadata = inspect(io.BytesIO(data), keyring=ring).metadata
    assert metadata is not None
    assert metadata.content == "joblib"
    assert metadata.serial == 3
    assert metadata.imports
    with pytest.raises(ContextError):
        signed_loads(data, keyring=ring)
    again = signed_loads(data, keyring=ring, context="c", min_serial=3)
    for one, two in zip(again[1:], objects()[1:], strict=True):
        assert np.array_equal(one, two) if isinstance(two, np.ndarray) else one == two
    assert again[0].score(*load_iris(return_X_y=True)) > 0.9


@pytest.mark.parametrize("protocol", range(6))
def test_names_that_the_walk_found_are_the_names_that_a_load_asks_for(
    protocol: int, ring: Keyring
) -> None:
    raw = pickle.dumps(objects(), protocol)
    data = adopt_bytes(raw, keyring=ring)
    dumped = signed_dumps(objects(), protocol, keyring=ring)
    walked, recorded = (inspect(io.BytesIO(one), keyring=ring).metadata for one in (data, dumped))
    assert walked is not None
    assert recorded is not None
    assert walked.imports == recorded.imports


def test_a_name_that_adopting_did_not_record_is_not_looked_up(
    ring: Keyring, tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    file = io.BytesIO()
    joblib.dump([np.arange(3), Mark(mark)], file, compress=3)
    whole = adopt_bytes(file.getvalue(), keyring=ring)
    metadata = inspect(io.BytesIO(whole), keyring=ring).metadata
    assert metadata is not None
    assert metadata.imports is not None
    fewer = tuple(pair for pair in metadata.imports if not pair[0].startswith("pathlib"))
    key = ring.sealing_key(context=None, now=0)
    head = seal.seal_head(key, metadata._replace(imports=fewer), [len(file.getvalue())])
    data = join_envelope(head.data, [memoryview(file.getvalue())], head.finish, key.suite)
    with pytest.raises(PolicyError):
        signed_loads(data, keyring=ring)
    with pytest.raises(PolicyError):
        signed_loads(whole, keyring=ring, allow=["joblib", "numpy"])
    assert not mark.exists()


def test_allowed_names_are_those_of_today_in_a_file_of_joblibs_too(ring: Keyring) -> None:
    file = io.BytesIO()
    joblib.dump({"a": np.array([{1, 2}, OrderedDict()], object)}, file)
    data = adopt_bytes(file.getvalue(), keyring=ring)
    allow = ["joblib", "numpy", "builtins", "collections.OrderedDict", "_codecs"]
    assert signed_loads(data, keyring=ring, allow=allow)["a"][0] == {1, 2}


def test_a_pickle_in_a_compression_of_joblibs_is_loaded_too(ring: Keyring) -> None:
    data = adopt_bytes(gzip.compress(pickle.dumps({"a": 1})), keyring=ring)
    assert signed_loads(data, keyring=ring) == {"a": 1}


@pytest.mark.parametrize("start", [b"\x80\x03", b"\x80\x04"])
def test_a_name_that_speaks_of_codes_is_listed_like_any_other(start: bytes, ring: Keyring) -> None:
    raw = start + b"cos.extension code\nan extension code.of it\n."
    metadata = inspect(io.BytesIO(adopt_bytes(raw, keyring=ring)), keyring=ring).metadata
    assert metadata is not None
    assert metadata.imports == (("os.extension code", "an extension code.of it"),)


def test_codes_of_copyreg_are_adopted_without_a_list_of_names(ring: Keyring) -> None:
    copyreg.add_extension("fractions", "Fraction", 0xF0)
    try:
        data = adopt_bytes(pickle.dumps(Fraction(1, 2)), keyring=ring)
        assert signed_loads(data, keyring=ring) == Fraction(1, 2)
    finally:
        copyreg.remove_extension("fractions", "Fraction", 0xF0)


@pytest.mark.parametrize(
    ("raw", "obj"),
    [
        (b"\x80\x02\x8c\x08builtins\x8c\x03int\x93.", int),
        (b"\x8c\x08builtins\x8c\x03int\x93.", int),
        (b"\x80\x02c__builtin__\nset\n\x8c\x08builtins\x8c\x03int\x93\x86.", (set, int)),
        (b"cbuiltins\nset\n\x80\x04\x8c\x08builtins\x8c\x03int\x93\x86.", (set, int)),
        (b"\x80\x04\x80\x02\x80\x04\x8c\x08builtins\x8c\x03int\x93.", int),
    ],
)
def test_what_mixes_protocols_is_adopted_without_a_list_of_names(
    raw: bytes, obj: object, ring: Keyring
) -> None:
    data = adopt_bytes(raw, keyring=ring)
    metadata = inspect(io.BytesIO(data), keyring=ring).metadata
    assert metadata is not None
    assert metadata.imports is None
    assert signed_loads(data, keyring=ring) == pickle.loads(raw) == obj


@pytest.mark.parametrize("wrong", ["it.pkl", Path("it.pkl")])
def test_extract_takes_no_path_and_names_what_does(wrong: Any, ring: Keyring) -> None:
    with pytest.raises(TypeError, match=f"not {type(wrong).__name__}.*pickleseal extract"):
        extract(wrong, keyring=ring)


def test_an_array_file_is_called_by_its_name(ring: Keyring) -> None:
    file = io.BytesIO()
    np.save(file, np.arange(3))
    with pytest.raises(AdoptionError, match=r"a NumPy \.npy file"):
        adopt_bytes(file.getvalue(), keyring=ring)


def test_adopting_takes_bytes_alone(ring: Keyring) -> None:
    call: Any = adopt_bytes
    for raw in ("text", None, 7, [b"x"]):
        with pytest.raises(TypeError):
            call(raw, keyring=ring)


def test_extract_gives_a_plain_pickle_with_its_buffers_in_place(ring: Keyring) -> None:
    frozen = np.arange(1 << 15)
    frozen.flags.writeable = False
    obj: list[Any] = [
        np.arange(1 << 14),
        frozen,
        b"between",
        np.zeros((300, 300), order="F"),
        np.arange(3),
    ]
    data = signed_dumps(obj, keyring=ring, context="c")
    with nothing_unpickled():
        raw = extract(data, keyring=ring, context="c")
    loaded = pickle.loads(raw)
    for one, two in zip(loaded, obj, strict=True):
        assert np.array_equal(one, two) if isinstance(two, np.ndarray) else one == two
    assert loaded[0].flags.writeable
    assert not loaded[1].flags.writeable
    again = signed_loads(adopt_bytes(raw, keyring=ring), keyring=ring)
    assert np.array_equal(again[0], obj[0])


@pytest.mark.parametrize("protocol", range(6))
def test_extract_returns_the_bytes_of_pickle_if_there_are_no_buffers(
    protocol: int, ring: Keyring
) -> None:
    obj = {"a": [1, 2.5, "text"], "b": (None, {1, 2}), "c": b"x" * 100_000}
    assert extract(signed_dumps(obj, protocol, keyring=ring), keyring=ring) == pickle.dumps(
        obj, protocol
    )


def test_extract_enforces_seal_and_context(ring: Keyring) -> None:
    data = signed_dumps(1, keyring=ring, context="c")
    with pytest.raises(ContextError):
        extract(data, keyring=ring)
    with pytest.raises(ContextError):
        extract(data, keyring=ring, context="d")
    with pytest.raises(UnknownKeyError):
        extract(data, keyring=RING, context="c")
    with pytest.raises(BadSealError):
        extract(data[:-1] + bytes([data[-1] ^ 1]), keyring=ring, context="c")


def test_extract_refuses_what_lies_outside(ring: Keyring) -> None:
    buffers: list[pickle.PickleBuffer] = []
    data = signed_dumps(np.arange(9), 5, keyring=ring, buffer_callback=buffers.append)
    assert buffers
    with pytest.raises(PolicyError):
        extract(data, keyring=ring)


def test_extract_refuses_a_stream_that_does_not_fit_its_buffers(ring: Keyring) -> None:
    from pickleseal.envelope import metadata as md
    from pickleseal.envelope import seal
    from pickleseal.envelope.target import join_envelope

    key = ring.sealing_key(context=None, now=0)
    for parts in (
        [b"\x80\x05\x97.", b"a", b"b"],
        [b"\x80\x05\x97\x97\x86.", b"a"],
        [b"\xff", b"a"],
    ):
        head = seal.seal_head(key, md.Metadata(content="pickle"), [len(p) for p in parts])
        views = [memoryview(p) for p in parts]
        with pytest.raises(MalformedError):
            extract(join_envelope(head.data, views, head.finish, key.suite), keyring=ring)


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
    max_leaves=20,
)


@settings(max_examples=200, deadline=None)
@given(plain, st.integers(0, 5))
def test_any_plain_data_go_in_and_come_out(obj: Any, protocol: int) -> None:
    data = signed_dumps(obj, protocol, keyring=RING)
    assert signed_loads(data, keyring=RING) == obj
    assert pickle.loads(extract(data, keyring=RING)) == obj
    raw = pickle.dumps(obj, protocol)
    assert extract(adopt_bytes(raw, keyring=RING), keyring=RING) == raw


@pytest.mark.parametrize(
    ("spare", "told"),
    [(1, "1 byte follows"), (70_000, "70000 bytes follow"), (70 << 20, "64 MiB or more follow")],
)
def test_what_follows_a_pickle_is_counted_up_to_a_bound(
    spare: int, told: str, ring: Keyring
) -> None:
    with pytest.raises(AdoptionError, match=f"{told} its end"):
        adopt_bytes(pickle.dumps(1) + b"\xff" * spare, keyring=ring)
