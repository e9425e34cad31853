"""The door: what a verified stream must be like."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from envelopes import hand_sealed
from watching import armed, nothing_unpickled

from pickleseal import Keyring, MalformedError, PolicyError, adopt_bytes, signed_loads
from pickleseal.envelope.metadata import Metadata

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


@pytest.mark.parametrize("tail", [b"\0", b".", b"N.", bytes(100)])
def test_bytes_after_stop_are_refused(tail: bytes, ring: Keyring) -> None:
    for protocol in PROTOCOLS:
        data = hand_sealed(ring, Metadata("pickle"), pickle.dumps([1, 2], protocol) + tail)
        with pytest.raises(MalformedError):
            signed_loads(data, keyring=ring)


@pytest.mark.parametrize("content", ["pickle", "joblib"])
def test_bytes_after_stop_are_refused_inside_the_last_frame_too(
    content: str, ring: Keyring
) -> None:
    for body, fits in ((b"K\x01.", True), (b"K\x01.surplus", False)):
        raw = b"\x80\x04\x95" + len(body).to_bytes(8, "little") + body
        size = len(raw) if content == "joblib" else None
        data = hand_sealed(ring, Metadata(content, raw_size=size), raw)
        if fits:
            assert signed_loads(data, keyring=ring) == 1
        else:
            with pytest.raises(MalformedError):
                signed_loads(data, keyring=ring)


def test_joblib_content_of_two_segments_is_malformed(ring: Keyring) -> None:
    raw = pickle.dumps(1)
    metadata = Metadata("joblib", raw_size=len(raw))
    assert signed_loads(hand_sealed(ring, metadata, raw), keyring=ring) == 1
    with nothing_unpickled(), pytest.raises(MalformedError):
        signed_loads(hand_sealed(ring, metadata, raw, b"beside"), keyring=ring)


def test_a_stream_that_is_no_pickle_is_an_unpickling_error(ring: Keyring) -> None:
    cut_off = pickle.dumps(bytearray(100), 5)[:50]
    for raw in (b"", b"N", b"\x80\x05N", b"hello", b"\xff.", b"Vno line end", cut_off):
        with pytest.raises((pickle.UnpicklingError, EOFError)):
            signed_loads(hand_sealed(ring, Metadata("pickle"), raw), keyring=ring)


def test_an_inventory_is_not_unpickled(ring: Keyring, tmp_path: Path) -> None:
    data = hand_sealed(ring, Metadata("inventory"), armed(tmp_path / "mark"))
    with nothing_unpickled(), pytest.raises(PolicyError, match="it is an inventory, not an object"):
        signed_loads(data, keyring=ring)
    assert not (tmp_path / "mark").exists()


def out_of_band(obj: Any) -> tuple[bytes, list[bytes]]:
    buffers: list[pickle.PickleBuffer] = []
    stream = pickle.dumps(obj, 5, buffer_callback=buffers.append)
    return stream, [bytes(buffer.raw()) for buffer in buffers]


def test_buffers_left_over_are_refused(ring: Keyring) -> None:
    stream, buffers = out_of_band(np.arange(3.0))
    metadata = Metadata("pickle", imports_omitted=1)
    data = hand_sealed(ring, metadata, stream, *buffers)
    np.testing.assert_array_equal(signed_loads(data, keyring=ring), np.arange(3.0))
    for surplus in ([b""], [b"more"], [*buffers]):
        with pytest.raises(MalformedError):
            signed_loads(hand_sealed(ring, metadata, stream, *buffers, *surplus), keyring=ring)


def test_a_missing_buffer_is_an_unpickling_error(ring: Keyring) -> None:
    stream, _ = out_of_band(np.arange(3.0))
    with pytest.raises(pickle.UnpicklingError):
        signed_loads(hand_sealed(ring, Metadata("pickle"), stream), keyring=ring)


def test_pickles_of_python_2_load_with_an_encoding(ring: Keyring) -> None:
    data = adopt_bytes(b"U\x02\xe9\xe8.", keyring=ring)
    assert signed_loads(data, keyring=ring, encoding="latin-1") == "\u00e9\u00e8"
    assert signed_loads(data, keyring=ring, encoding="bytes") == b"\xe9\xe8"
    with pytest.raises(UnicodeDecodeError):
        signed_loads(data, keyring=ring)
    assert signed_loads(data, keyring=ring, errors="ignore") == ""


def test_an_error_of_a_class_passes_through(ring: Keyring) -> None:
    data = adopt_bytes(b"cbuiltins\nint\n(Vno number\ntR.", keyring=ring)
    with pytest.raises(ValueError, match="no number"):
        signed_loads(data, keyring=ring)
