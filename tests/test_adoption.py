"""adopt_bytes and extract: in as they are, out as they were."""

import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from watching import nothing_unpickled

from pickleseal import (
    BadSealError,
    ContextError,
    Key,
    Keyring,
    MalformedError,
    PolicyError,
    UnknownKeyError,
    adopt_bytes,
    extract,
    signed_dumps,
    signed_loads,
)

RING = Keyring(Key.generate())


@pytest.mark.parametrize("protocol", range(6))
def test_an_adopted_pickle_loads_as_before(protocol: int, ring: Keyring) -> None:
    array = np.arange(5)
    raw = pickle.dumps([array, {"a": (1, 2)}], protocol)
    for data in (raw, bytearray(raw), memoryview(raw)):
        loaded = signed_loads(adopt_bytes(data, keyring=ring), keyring=ring)
        assert (loaded[0] == array).all()


@pytest.mark.parametrize("raw", [b"", b"junk", b"N.N.", b"\x80\x05"])
def test_bytes_are_adopted_unseen_and_fail_when_they_are_loaded(raw: bytes, ring: Keyring) -> None:
    data = adopt_bytes(raw, keyring=ring)
    assert extract(data, keyring=ring) == raw
    with pytest.raises((pickle.UnpicklingError, EOFError)):
        signed_loads(data, keyring=ring)


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
def test_extract_gives_what_pickle_itself_would_where_nothing_was_taken_out(
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
    from pickleseal import metadata as md
    from pickleseal import seal, storage

    key = ring.sealing_key(context=None, now=0)
    for parts in (
        [b"\x80\x05\x97.", b"a", b"b"],
        [b"\x80\x05\x97\x97\x86.", b"a"],
        [b"\xff", b"a"],
    ):
        head = seal.seal_head(key, md.Metadata(content="pickle"), [len(p) for p in parts])
        views = [memoryview(p) for p in parts]
        with pytest.raises(MalformedError):
            extract(storage.join(head.data, views, head.finish, key.suite), keyring=ring)


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
