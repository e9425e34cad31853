"""External buffers: bound to the envelope, and checked before anything is unpickled."""

import hashlib
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from envelopes import payload_of
from numpy.typing import NDArray
from watching import Mark, nothing_unpickled

from pickleseal import Keyring, PolicyError, signed_dumps, signed_loads
from pickleseal.envelope.metadata import External
from pickleseal.pickling.dump import OUT_OF_BAND_SIZE as LIMIT


@pytest.fixture
def kept_outside(ring: Keyring) -> tuple[bytes, list[Any], list[NDArray[Any]]]:
    """Return an envelope, its external buffers, and the arrays that both came from."""
    arrays = [np.arange(5.0), np.arange(float(LIMIT)), np.arange(7)]
    buffers: list[Any] = []
    return signed_dumps(arrays, keyring=ring, buffer_callback=buffers.append), buffers, arrays


def test_external_buffers_are_bound_and_passed_on_without_a_copy(
    kept_outside: tuple[bytes, list[Any], list[NDArray[Any]]], ring: Keyring
) -> None:
    data, buffers, arrays = kept_outside
    for given in (buffers, tuple(buffers), iter(buffers)):
        loaded = signed_loads(data, keyring=ring, buffers=given)
        for one, other in zip(loaded, arrays, strict=True):
            np.testing.assert_array_equal(one, other)
            assert np.shares_memory(one, other)


def test_the_binding_is_the_digest_of_the_format(
    kept_outside: tuple[bytes, list[Any], list[NDArray[Any]]], ring: Keyring
) -> None:
    data, buffers, _ = kept_outside
    digest = hashlib.sha256()
    for buffer in buffers:
        raw = bytes(buffer.raw())
        digest.update(len(raw).to_bytes(8, "little") + hashlib.sha256(raw).digest())
    size = sum(buffer.raw().nbytes for buffer in buffers)
    external = payload_of(data, ring).head.metadata.external
    assert external == External(len(buffers), size, digest.hexdigest())


def test_other_buffers_than_those_bound_are_refused(
    kept_outside: tuple[bytes, list[Any], list[NDArray[Any]]], ring: Keyring
) -> None:
    data, buffers, _ = kept_outside
    one, two, three = buffers
    changed = bytearray(two.raw())
    changed[-1] ^= 1
    for given in (
        None,
        [],
        [one, two],
        [one, two, three, three],
        [one, two, three, b""],
        [two, one, three],
        [one, changed, three],
        [one, bytes(two.raw())[:-1], three],
        [bytes(one.raw()) + bytes(two.raw()), b"", three],
    ):
        with pytest.raises(PolicyError):
            signed_loads(data, keyring=ring, buffers=given)


def test_buffers_are_checked_before_anything_is_unpickled(ring: Keyring, tmp_path: Path) -> None:
    obj = [Mark(tmp_path / "mark"), pickle.PickleBuffer(b"abc")]
    data = signed_dumps(obj, keyring=ring, buffer_callback=lambda _: None)
    with nothing_unpickled(), pytest.raises(PolicyError):
        signed_loads(data, keyring=ring, buffers=[b"abd"])
    assert not (tmp_path / "mark").exists()
    assert signed_loads(data, keyring=ring, buffers=[b"abc"])[1] == b"abc"
    assert (tmp_path / "mark").exists()


def test_a_callback_that_returns_true_leaves_the_buffer_in_the_stream(ring: Keyring) -> None:
    array = np.arange(float(LIMIT))
    seen: list[int] = []

    def callback(buffer: pickle.PickleBuffer) -> bool:
        seen.append(buffer.raw().nbytes)
        return True

    data = signed_dumps(array, keyring=ring, buffer_callback=callback)
    payload = payload_of(data, ring)
    assert seen == [array.nbytes]
    assert payload.head.fixed.segments == 1
    assert payload.head.metadata.external is None
    np.testing.assert_array_equal(signed_loads(data, keyring=ring), array)


def test_a_callback_that_takes_some_buffers_binds_those(ring: Keyring) -> None:
    arrays = [np.arange(3.0), np.arange(4.0), np.arange(5.0)]
    taken: list[Any] = []

    def callback(buffer: pickle.PickleBuffer) -> bool:
        if buffer.raw().nbytes == arrays[1].nbytes:
            taken.append(buffer)
            return False
        return True

    data = signed_dumps(arrays, keyring=ring, buffer_callback=callback)
    external = payload_of(data, ring).head.metadata.external
    assert external is not None
    assert (external.buffers, external.size) == (1, arrays[1].nbytes)
    loaded = signed_loads(data, keyring=ring, buffers=taken)
    for one, other in zip(loaded, arrays, strict=True):
        np.testing.assert_array_equal(one, other)


def test_buffers_are_ignored_if_none_are_bound(ring: Keyring) -> None:
    data = signed_dumps(np.arange(float(LIMIT)), keyring=ring)
    np.testing.assert_array_equal(
        signed_loads(data, keyring=ring, buffers=[b"other"]), np.arange(float(LIMIT))
    )


def test_a_callback_asks_for_protocol_5_as_in_pickle(ring: Keyring) -> None:
    for protocol in range(5):
        with pytest.raises(ValueError, match="protocol"):
            signed_dumps([], protocol, keyring=ring, buffer_callback=lambda _: None)


def test_an_error_of_the_callback_passes_through(ring: Keyring) -> None:
    def callback(buffer: pickle.PickleBuffer) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        signed_dumps(np.zeros(3), keyring=ring, buffer_callback=callback)
