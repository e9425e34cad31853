"""Forgery: each file that no holder of a key made so is refused before it is unpickled."""

import gzip
import io
import itertools
import pickle
import random
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from envelopes import hand_sealed
from sklearn.datasets import load_iris
from sklearn.neighbors import KNeighborsClassifier
from sklearn.tree import DecisionTreeClassifier
from watching import Mark, armed, nothing_unpickled, refused

from pickleseal import (
    BadSealError,
    ContextError,
    ExpiredError,
    Key,
    Keyring,
    MalformedError,
    MetadataError,
    NothingToReadError,
    NotSealedError,
    PolicyError,
    SealError,
    Suite,
    UnknownKeyError,
    adopt_bytes,
    inspect,
    signed_dump,
    signed_dumps,
    signed_load,
    signed_loads,
    verify,
)
from pickleseal.envelope import metadata as md
from pickleseal.envelope import seal
from pickleseal.envelope.target import join_envelope


class Dribble:
    """A stream that gives a few bytes at a time and cannot seek: a pipe's worst manners."""

    def __init__(self, data: bytes, step: int = 7) -> None:
        self._file = io.BytesIO(data)
        self._step = step

    def read(self, size: int = -1) -> bytes:
        return self._file.read(min(size, self._step))


Reader = Callable[[bytes, Keyring, Path], object]


def from_bytes(data: bytes, ring: Keyring, folder: Path) -> object:
    return signed_loads(data, keyring=ring)


def from_path(data: bytes, ring: Keyring, folder: Path) -> object:
    (folder / "it.pkl").write_bytes(data)
    return signed_load(folder / "it.pkl", keyring=ring)


def from_file(data: bytes, ring: Keyring, folder: Path) -> object:
    (folder / "it.pkl").write_bytes(data)
    with (folder / "it.pkl").open("rb") as file:
        return signed_load(file, keyring=ring)


def from_stream(data: bytes, ring: Keyring, folder: Path) -> object:
    return signed_load(Dribble(data), keyring=ring)


READERS = [from_bytes, from_path, from_file, from_stream]
reads = pytest.mark.parametrize("read", READERS)


def test_the_watch_sees_an_unpickler_at_work(tmp_path: Path) -> None:
    """Or it would prove nothing below; under `python -O` too."""
    with pytest.raises(AssertionError), nothing_unpickled():
        pickle.loads(armed(tmp_path / "mark"))


@pytest.mark.parametrize("step", [5, pytest.param(1, marks=pytest.mark.sweep)])
@pytest.mark.parametrize("suite", list(Suite))
def test_every_single_flipped_bit_of_a_fitted_model_is_refused(
    suite: Suite, model: KNeighborsClassifier, step: int
) -> None:
    ring = Keyring(Key.generate(suite))
    data = bytearray(signed_dumps(model, keyring=ring))
    with nothing_unpickled():
        for bit in range(0, 8 * len(data), step):  # a step of 5: every byte, each bit in turn
            data[bit // 8] ^= 1 << bit % 8
            with pytest.raises(SealError):
                signed_loads(bytes(data), keyring=ring)
            data[bit // 8] ^= 1 << bit % 8
    assert signed_loads(bytes(data), keyring=ring).n_samples_fit_ == 150


@reads
def test_every_proper_prefix_is_refused(
    read: Reader, small: bytes, ring: Keyring, tmp_path: Path
) -> None:
    with nothing_unpickled():
        for size in range(len(small)):
            with pytest.raises(SealError):
                read(small[:size], ring, tmp_path)


def test_every_proper_prefix_of_a_fitted_model_is_refused(sealed: bytes, ring: Keyring) -> None:
    with nothing_unpickled():
        for size in range(len(sealed)):
            refused(sealed[:size], ring)


@pytest.mark.parametrize("read", [from_bytes, from_path])
def test_what_follows_an_envelope_makes_bytes_and_paths_refused(
    read: Reader, sealed: bytes, ring: Keyring, tmp_path: Path
) -> None:
    with nothing_unpickled():
        for tail in (b"\0", b"\n", b"\0" * 64, sealed):
            with pytest.raises(MalformedError):
                read(sealed + tail, ring, tmp_path)


def test_a_stream_leaves_what_follows_unread(ring: Keyring, tmp_path: Path) -> None:
    data = signed_dumps("one", keyring=ring)
    memory = io.BytesIO(data + b"rest")
    assert signed_load(memory, keyring=ring) == "one"
    assert memory.read() == b"rest"
    path = tmp_path / "it"
    path.write_bytes(b"before" + data + b"rest")
    with path.open("rb") as file:
        file.read(6)
        assert signed_load(file, keyring=ring) == "one"
        assert file.read() == b"rest"


def test_a_splice_of_two_envelopes_is_refused_at_every_cut(ring: Keyring) -> None:
    one = signed_dumps(["a" * 40, 1], keyring=ring, context="c")
    two = signed_dumps(["b" * 40, 2], keyring=ring, context="c")
    assert len(one) == len(two)
    with nothing_unpickled():
        for cut in range(1, len(one)):
            mixed = one[:cut] + two[cut:]
            if mixed not in (one, two):
                with pytest.raises(SealError):
                    signed_loads(mixed, keyring=ring, context="c")


def test_swapped_leaves_and_segments_are_refused(ring: Keyring, sha_ring: Keyring) -> None:
    arrays = [np.full(1 << 17, value) for value in (1.0, 2.0, 3.0)]
    for each in (ring, sha_ring):
        data = signed_dumps(arrays, keyring=each)
        start = len(data) - 32 - 3 * (1 << 20)
        parts = [data[start + i * (1 << 20) : start + (i + 1) * (1 << 20)] for i in range(3)]
        with nothing_unpickled():
            for order in itertools.permutations(range(3)):
                if order != (0, 1, 2):
                    mixed = data[:start] + b"".join(parts[i] for i in order) + data[-32:]
                    refused(mixed, each, BadSealError)


FIELDS = {"version": (8, 2), "suite": (10, 2), "flags": (12, 4), "codec": (48, 2)}


@pytest.mark.parametrize("field", FIELDS)
def test_a_fixed_field_of_another_value_is_refused_before_a_key_is_used(
    field: str, small: bytes
) -> None:
    offset, size = FIELDS[field]
    legal = {"version": {1}, "suite": {1, 2}, "flags": {0}, "codec": {0, 1}}[field]
    values = set(range(300)) | {1 << n for n in range(8 * size)} | {(1 << 8 * size) - 1}
    stranger = Keyring(Key.generate())
    for value in values:
        forged = bytearray(small)
        forged[offset : offset + size] = value.to_bytes(size, "little")
        with nothing_unpickled():
            # With a stranger's ring what gets past the field itself is an unknown key.
            refused(bytes(forged), stranger, UnknownKeyError if value in legal else MalformedError)


def test_reserved_bytes_are_refused_one_by_one(small: bytes, ring: Keyring) -> None:
    for offset in range(50, 64):
        forged = bytearray(small)
        forged[offset] = 1
        refused(bytes(forged), ring, MalformedError)


def test_the_other_suite_is_refused_and_never_falls_back(small: bytes, ring: Keyring) -> None:
    forged = bytearray(small)
    forged[10] = 1
    refused(bytes(forged), ring, MalformedError)


def test_the_id_of_one_key_on_the_file_of_another_is_refused(small: bytes, ring: Keyring) -> None:
    other = Key.generate()
    both = Keyring(other, ring.sealing_key(context=None, now=0))
    forged = small[:16] + other.raw_id + small[32:]
    with nothing_unpickled():
        refused(forged, both, BadSealError)


def test_a_key_is_found_by_its_id_alone(small: bytes) -> None:
    refused(small, Keyring(Key.generate(), *(Key.generate() for _ in range(5))), UnknownKeyError)


def test_length_extension_of_the_hash_gains_nothing(sha_ring: Keyring) -> None:
    data = signed_dumps([0] * 8, keyring=sha_ring)
    total = struct.unpack_from("<Q", data, 40)[0]
    for extra in (64, 128):
        longer = bytearray(data[:-32] + b"\x80" + bytes(extra - 1) + data[-32:])
        struct.pack_into("<Q", longer, 40, total + extra)
        refused(bytes(longer), sha_ring, BadSealError)


def plain_files(mark: Path) -> Iterator[tuple[str, bytes]]:
    raw = armed(mark)
    for protocol in range(6):
        yield f"pickle {protocol}", armed(mark, protocol)
    yield "gzip", gzip.compress(raw)
    yield "zlib", zlib.compress(raw)
    yield "text", b"not a pickle at all\n" * 20
    yield "short text", b"hi"
    yield "zeros", bytes(1000)
    yield "a pickle behind spare bytes", bytes(8) + raw
    yield "the magic behind a byte", b"\0\xa6PSEAL\r\n" + bytes(200)
    yield "the magic after text-mode transfer", b"\xa6PSEAL\n" + bytes(200)
    yield "zip", b"PK\x03\x04" + raw


@reads
def test_whatever_is_not_sealed_is_refused_as_that(
    read: Reader, ring: Keyring, tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    with nothing_unpickled():
        for name, data in plain_files(mark):
            with pytest.raises(NotSealedError):
                pytest.fail(f"{name} loaded as {read(data, ring, tmp_path)}")
    assert not mark.exists()
    pickle.loads(armed(mark))  # the payload is a real one
    assert mark.exists()


@reads
def test_nothing_at_all_is_an_end_of_file_too(read: Reader, ring: Keyring, tmp_path: Path) -> None:
    with pytest.raises(NothingToReadError) as caught:
        read(b"", ring, tmp_path)
    assert isinstance(caught.value, EOFError | NotSealedError)
    assert isinstance(caught.value, pickle.UnpicklingError)


def test_loading_until_the_end_of_the_file_works_as_with_pickle(
    ring: Keyring, tmp_path: Path
) -> None:
    path = tmp_path / "several"
    with path.open("wb") as file:
        for number in range(4):
            signed_dump(number, file, keyring=ring)
    loaded = []
    with path.open("rb") as file:
        while True:
            try:
                loaded.append(signed_load(file, keyring=ring))
            except EOFError:
                break
    assert loaded == [0, 1, 2, 3]


def test_a_plain_unpickler_refuses_an_envelope_at_its_first_byte(sealed: bytes) -> None:
    with nothing_unpickled(), pytest.raises(pickle.UnpicklingError):
        pickle.loads(sealed)


def test_a_genuine_file_in_another_ones_place_is_refused(ring: Keyring) -> None:
    fraud = signed_dumps("model A", keyring=ring, context="fraud/v3")
    bare = signed_dumps("model B", keyring=ring)
    with nothing_unpickled():
        for data, context in [
            (fraud, "spam/v1"),
            (fraud, None),
            (bare, "fraud/v3"),
            (fraud, "fraud/v33"),
        ]:
            with pytest.raises(ContextError):
                signed_loads(data, keyring=ring, context=context)
    assert signed_loads(fraud, keyring=ring, context="fraud/v3") == "model A"
    assert signed_loads(bare, keyring=ring) == "model B"


def test_two_spellings_of_one_context_are_one(ring: Keyring) -> None:
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    for sealed_for, asked in itertools.product((composed, decomposed), repeat=2):
        data = signed_dumps(1, keyring=ring, context=sealed_for)
        assert signed_loads(data, keyring=ring, context=asked) == 1
    with pytest.raises(ContextError):
        signed_loads(data, keyring=ring, context="cafe")


@pytest.mark.parametrize("context", ["", "x" * 256, "a\nb", "\x1b[2J", "\ud800", "\u00e9" * 128])
def test_a_context_that_cannot_be_sealed_is_refused_at_both_ends(
    context: str, ring: Keyring
) -> None:
    with pytest.raises(MetadataError):
        signed_dumps(1, keyring=ring, context=context)
    with pytest.raises(MetadataError):
        signed_loads(signed_dumps(1, keyring=ring), keyring=ring, context=context)


def test_an_expired_envelope_is_refused(ring: Keyring) -> None:
    stream = pickle.dumps(1)
    for expires in (0, 1, int(time.time()) - 1):
        refused(
            hand_sealed(ring, md.Metadata(content="pickle", expires=expires), stream),
            ring,
            ExpiredError,
        )
    later = md.Metadata(content="pickle", expires=int(time.time()) + 1000)
    assert signed_loads(hand_sealed(ring, later, stream), keyring=ring) == 1


def test_an_inventory_is_never_unpickled(ring: Keyring, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    data = hand_sealed(ring, md.Metadata(content="inventory"), armed(mark))
    with nothing_unpickled():
        refused(data, ring, PolicyError)
    assert not mark.exists()


def test_sealed_objects_of_a_stream_stand_each_for_itself(ring: Keyring) -> None:
    """The order of several envelopes is not sealed: this states the limit."""
    parts = [signed_dumps(n, keyring=ring) for n in range(3)]
    stream = io.BytesIO(parts[2] + parts[0])
    assert [signed_load(stream, keyring=ring) for _ in range(2)] == [2, 0]


def test_a_sealed_joblib_file_loads_no_other_file(ring: Keyring, tmp_path: Path) -> None:
    """By whatever name it gets at what joblib before 0.10 kept arrays in."""
    mark = tmp_path / "mark"
    np.save(tmp_path / "beside.npy", np.array([Mark(mark)], object))
    path = str(tmp_path / "beside.npy").encode()
    for module, name in ((b"joblib.numpy_pickle_compat", b"NDArrayWrapper"),
                         (b"joblib", b"numpy_pickle.NDArrayWrapper")):  # fmt: skip
        wrapper = b"\x8c" + bytes([len(module)]) + module + b"\x8c" + bytes([len(name)]) + name
        stream = (
            b"\x80\x04" + wrapper + b"\x93)\x81}(\x8c\x08filenameX" + struct.pack("<I", len(path))
            + path + b"\x8c\x08subclasscnumpy\nndarray\n\x8c\x0aallow_mmap\x89ub."
        )  # fmt: skip
        data = hand_sealed(ring, md.Metadata(content="joblib", raw_size=len(stream)), stream)
        refused(data, ring, PolicyError)
    assert not mark.exists()


@pytest.mark.parametrize("rounds", [5_000, pytest.param(1_000_000, marks=pytest.mark.sweep)])
def test_garbage_raises_nothing_but_refusals(rounds: int, small: bytes, ring: Keyring) -> None:
    chance = random.Random(20261124)
    with nothing_unpickled():
        for number in range(rounds):
            kind = number % 4
            data = bytearray(small)
            if kind == 0:
                data = bytearray(chance.randbytes(chance.randrange(300)))
            elif kind == 1:
                data[8:64] = chance.randbytes(56)
            elif kind == 2:
                for _ in range(chance.randrange(1, 6)):
                    data[chance.randrange(64)] = chance.choice((0, 1, 2, 127, 128, 255))
            else:
                at = chance.randrange(len(data))
                data[at : at + chance.randrange(9)] = chance.randbytes(chance.randrange(9))
            if bytes(data) != small:
                with pytest.raises(SealError):
                    signed_loads(bytes(data), keyring=ring)
                with pytest.raises(SealError):
                    signed_load(io.BytesIO(data + bytes(chance.randrange(64))), keyring=ring)


BAD_METADATA = {
    "duplicate keys": b'{"content":"pickle","content":"pickle"}',
    "white space": b'{"content": "pickle"}',
    "not a number": b'{"content":"pickle","info":{"a":NaN}}',
    "infinity": b'{"content":"pickle","info":{"a":Infinity}}',
    "overflowing float": b'{"content":"pickle","info":{"a":1e999}}',
    "other spelling of a float": b'{"content":"pickle","info":{"a":1.50}}',
    "deep nesting": b'{"content":"pickle","info":' + b"[" * 32000 + b"]" * 32000 + b"}",
    "deep nesting, open": b"[" * 65000,
    "5 levels": b'{"content":"pickle","info":{"a":{"b":{"c":{}}}}}',
    "a long integer": b'{"content":"pickle","serial":' + b"9" * 5000 + b"}",
    "2^53": b'{"content":"pickle","serial":9007199254740992}',
    "negative": b'{"content":"pickle","serial":-1}',
    "a float outside info": b'{"content":"pickle","serial":1.0}',
    "true for a number": b'{"content":"pickle","serial":true}',
    "null": b'{"content":"pickle","context":null}',
    "an unknown key": b'{"content":"pickle","trusted":"yes"}',
    "a byte order mark": b'\xef\xbb\xbf{"content":"pickle"}',
    "a lone surrogate": b'{"content":"pickle","context":"\\ud800"}',
    "a raw surrogate": b'{"content":"pickle","context":"\xed\xa0\x80"}',
    "a control character": b'{"content":"pickle","context":"\\u001b"}',
    "C1 control": '{"content":"pickle","context":"\u009b"}'.encode(),
    "an escape that is not needed": b'{"content":"pickle","context":"\\u0061"}',
    "not UTF-8": b'{"content":"pickle","context":"\xff"}',
    "not NFC": '{"content":"pickle","context":"e\u0301"}'.encode(),
    "no content": b"{}",
    "another content": b'{"content":"yaml"}',
    "a list": b"[]",
    "a text": b'"content"',
    "unsorted": b'{"created":1,"content":"pickle"}',
    "imports not sorted": b'{"content":"pickle","imports":[["b","c"],["a","c"]]}',
    "imports twice": b'{"content":"pickle","imports":[["a","c"],["a","c"]]}',
    "imports of three": b'{"content":"pickle","imports":[["a","b","c"]]}',
    "imports and a count": b'{"content":"pickle","imports":[],"imports_omitted":1}',
    "external without digest": b'{"content":"pickle","external":{"bytes":1,"count":1}}',
    "key name with a space": b'{"content":"pickle","info":{"a b":1}}',
    "trailing": b'{"content":"pickle"}  ',
    "zeros": bytes(20),
}


@pytest.mark.parametrize("name", BAD_METADATA)
def test_metadata_of_a_foreign_writer_that_break_a_rule_are_malformed(
    name: str, ring: Keyring, tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    data = seal_metadata(ring.sealing_key(context=None, now=0), BAD_METADATA[name], armed(mark))
    with nothing_unpickled():
        refused(data, ring, MalformedError)
        inspect(io.BytesIO(data), keyring=ring)
        inspect(io.BytesIO(data), keyring=Keyring(Key.generate()))
    assert not mark.exists()


def seal_metadata(key: Key, metadata: bytes, stream: bytes) -> bytes:
    """Seal metadata that pickleseal itself would not write."""
    from pickleseal.envelope import hashing, layout
    from pickleseal.keys import mac

    head = layout.pack_head(key.suite, key.raw_id, metadata, [len(stream)])
    data = layout.head_bytes(head)
    digest = hashing.head_digest(key.suite, data)
    tag = key.mac(mac.statement(mac.HEADER, key.suite, key.raw_id, len(data), digest))
    sealed = seal.SealedHead(key, head, digest, data + tag)
    return join_envelope(sealed.data, [memoryview(stream)], sealed.finish, key.suite)


@pytest.mark.parametrize("name", BAD_METADATA)
def test_metadata_that_nobody_sealed_are_not_parsed_by_a_load(
    name: str, ring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = ring.sealing_key(context=None, now=0)
    forged = bytearray(seal_metadata(key, BAD_METADATA[name], b"N."))
    forged[70] ^= 1
    parsed: list[bytes] = []
    original = md.Metadata.decode

    def watched(data: bytes) -> md.Metadata:
        parsed.append(data)
        return original(data)

    monkeypatch.setattr(md.Metadata, "decode", watched)
    refused(bytes(forged), ring, BadSealError)
    assert not parsed


def test_adopting_marks_what_it_seals(ring: Keyring, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    with nothing_unpickled():
        data = adopt_bytes(armed(mark), keyring=ring)
        found = verify(io.BytesIO(data), keyring=ring)
    assert found.metadata is not None
    assert found.metadata.source == "adopted"
    assert not mark.exists()


def test_no_other_call_seals_raw_pickle_bytes_as_what_they_hold(
    ring: Keyring, tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    raw = armed(mark)
    assert signed_loads(signed_dumps(raw, keyring=ring), keyring=ring) == raw
    assert not mark.exists()


def test_python_without_asserts_refuses_as_well(ring_directory: Path, tmp_path: Path) -> None:
    """Flips, cuts, splices and plain pickles, in interpreters that drop every assert."""
    code = (
        "import sys, pickle, pickleseal as ps\n"
        "ring = ps.open_keyring(sys.argv[1])\n"
        "good = ps.signed_dumps(list(range(9)), keyring=ring, context='c')\n"
        "seen = []\n"
        "sys.addaudithook(lambda e, a: seen.append(e) if e == 'pickle.find_class' else None)\n"
        "bad = [good[:n] for n in range(len(good))]\n"
        "bad += [good[:n] + bytes([good[n] ^ 1 << b]) + good[n+1:]"
        " for n in range(len(good)) for b in range(8)]\n"
        "bad += [good + b'x', pickle.dumps(1), b'']\n"
        "loaded = 0\n"
        "for data in bad:\n"
        "    try: ps.signed_loads(data, keyring=ring, context='c'); loaded += 1\n"
        "    except ps.SealError: pass\n"
        "try: ps.signed_loads(good, keyring=ring); loaded += 1\n"
        "except ps.ContextError: pass\n"
        "same = ps.signed_loads(good, keyring=ring, context='c') == list(range(9))\n"
        "print(loaded, len(seen), same)\n"
    )
    for flag in ("-O", "-OO"):
        done = subprocess.run(
            [sys.executable, flag, "-c", code, str(ring_directory)],
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.split() == ["0", "0", "True"]


def test_an_armed_object_of_the_key_holder_does_run(ring: Keyring, tmp_path: Path) -> None:
    """A seal says who made a file, not that it is harmless: this states the limit."""
    mark = tmp_path / "mark"
    signed_loads(signed_dumps(Mark(mark), keyring=ring), keyring=ring)
    assert mark.exists()


def test_another_model_is_as_safe(ring: Keyring) -> None:
    hashing = DecisionTreeClassifier(random_state=0).fit(*load_iris(return_X_y=True))
    data = signed_dumps(hashing, keyring=ring)
    chance = random.Random(7)
    with nothing_unpickled():
        for _ in range(2000):
            bit = chance.randrange(8 * len(data))
            forged = bytearray(data)
            forged[bit // 8] ^= 1 << bit % 8
            refused(bytes(forged), ring)


def test_unused_bytes_of_a_sealed_payload_are_refused(ring: Keyring) -> None:
    plain = md.Metadata(content="pickle")
    stream = pickle.dumps([1], 5)
    refused(hand_sealed(ring, plain, stream + b"N."), ring, MalformedError)
    refused(hand_sealed(ring, plain, stream, b"surplus"), ring, MalformedError)
    missing = b"\x80\x05\x97."
    with pytest.raises(pickle.UnpicklingError):
        signed_loads(hand_sealed(ring, plain, missing), keyring=ring)
