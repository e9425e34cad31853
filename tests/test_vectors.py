"""The vectors: the package, a reader written from the specification, and the files agree."""

import gzip
import io
import json
import re
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import make_vectors
import plain_reader
import pytest
from watching import nothing_unpickled

from pickleseal import (
    BadSealError,
    ContextError,
    ExpiredError,
    Keyring,
    MalformedError,
    NotSealedError,
    PolicyError,
    RevokedKeyError,
    SealError,
    Suite,
    UnknownKeyError,
    Verdict,
    audit,
    signed_load,
    signed_loads,
)
from pickleseal.envelope import reader, seal
from pickleseal.envelope.metadata import Metadata
from pickleseal.envelope.seal import Verified
from pickleseal.envelope.source import MemorySource
from pickleseal.envelope.target import join_envelope
from pickleseal.keys.key import Key
from pickleseal.keys.roster import Entry, Roster, State
from pickleseal.persistence import policy

FILES = sorted(make_vectors.FOLDER.iterdir())
KINDS: dict[type[SealError], str] = {
    NotSealedError: "not-sealed",
    MalformedError: "malformed",
    UnknownKeyError: "unknown-key",
    RevokedKeyError: "revoked",
    BadSealError: "bad-seal",
    ContextError: "context",
    ExpiredError: "expired",
    PolicyError: "policy",
}
SECRETS = [
    plain_reader.Secret(1, make_vectors.SECRET),
    plain_reader.Secret(2, make_vectors.SECRET),
    plain_reader.Secret(2, make_vectors.REVOKED_SECRET, revoked=True),
]
RING = Keyring.of(
    Roster(
        3,
        make_vectors.BLAKE.id,
        {
            make_vectors.BLAKE.id: Entry(make_vectors.BLAKE.id, Suite.BLAKE3, State.ACTIVE),
            make_vectors.SHA.id: Entry(make_vectors.SHA.id, Suite.SHA256, State.RETIRED),
            make_vectors.REVOKED.id: Entry(make_vectors.REVOKED.id, Suite.BLAKE3, State.REVOKED),
        },
    ),
    [make_vectors.BLAKE, make_vectors.SHA],
    name="the ring of the vectors",
)
TRAILING = ("bad-trailing-byte", "bad-twice")
"""Bytes follow the envelope: too many in a file, and in a stream nobody's business."""
PAYLOADS = (
    "bad-content-",
    "bad-stream-",
    "bad-buffer-",
    "bad-import-",
    "bad-external-of-",
    "bad-zstd-",
    "bad-joblib-",
)
"""Their seals hold, and only step 8 refuses them."""


def name_of(file: Path) -> str:
    return file.name


every_vector = pytest.mark.parametrize("file", FILES, ids=name_of)
good_vectors = [file for file in FILES if file.name.startswith("good-")]
bad_vectors = [file for file in FILES if file not in good_vectors]


class Vector(NamedTuple):
    expect: str
    context: str | None
    data: bytes


def read_vector(file: Path) -> Vector:
    head, _, data = file.read_bytes().partition(b"\n\n")
    lines = dict(line.split(": ", 1) for line in head.decode().split("\n"))
    if lines.get("encoding") == "gzip":
        data = gzip.decompress(data)
    return Vector(lines["expect"], lines["context"] or None, data)


@pytest.fixture(autouse=True)
def _at_the_time_of_the_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: float(make_vectors.NOW))


@contextmanager
def told(kinds: list[str]) -> Iterator[None]:
    """Note what a load is refused as, or "ok"."""
    try:
        yield
    except SealError as error:
        kinds.append(next(kind for cls, kind in KINDS.items() if isinstance(error, cls)))
    else:
        kinds.append("ok")


@every_vector
def test_the_package_says_what_the_vector_says(file: Path, tmp_path: Path) -> None:
    vector = read_vector(file)
    path = tmp_path / "it"
    path.write_bytes(vector.data)
    stream = io.BytesIO(vector.data)
    kinds: list[str] = []
    keywords: dict[str, Any] = {
        "keyring": RING,
        "context": vector.context,
        "on_mismatch": "ignore",
        "buffers": make_vectors.BUFFERS,
    }
    with told(kinds):
        signed_loads(vector.data, **keywords)
    with told(kinds):
        signed_load(path, **keywords)
    with told(kinds):
        signed_load(stream, **keywords)
    if file.name in TRAILING:
        assert kinds == [vector.expect, vector.expect, "ok"]
        assert stream.tell() == len(make_vectors.sealed(make_vectors.PLAIN, [make_vectors.ONE]))
    else:
        assert kinds == [vector.expect] * 3


@every_vector
def test_verifying_says_the_same_and_unpickles_nothing(file: Path) -> None:
    vector = read_vector(file)
    kinds: list[str] = []
    with nothing_unpickled(), told(kinds):
        open_with_package(vector)
    # What only the unpickler can find is not found without it.
    step_8 = file.name.startswith(PAYLOADS)
    assert kinds == ["ok" if step_8 else vector.expect]


VERDICTS: dict[str, set[Verdict]] = {
    "ok": {Verdict.SEALED, Verdict.SEALED_RETIRED},
    "not-sealed": {Verdict.NO_PICKLE, Verdict.UNSEALED},
    "malformed": {Verdict.MALFORMED},
    "unknown-key": {Verdict.UNKNOWN_KEY},
    "revoked": {Verdict.REVOKED},
    "bad-seal": {Verdict.BAD_HEAD, Verdict.BAD_BODY},
    "context": {Verdict.WRONG_CONTEXT},
    "expired": {Verdict.EXPIRED},
}


@every_vector
def test_the_audit_says_the_same(file: Path, tmp_path: Path) -> None:
    vector = read_vector(file)
    path = tmp_path / "it"
    path.write_bytes(vector.data)
    with nothing_unpickled():
        (finding,) = audit(path, keyring=RING, context=vector.context)
    expected = vector.expect
    # What a step after the seal refuses is not the audit's business, and a file may hold several.
    if file.name.startswith(PAYLOADS) or file.name == "bad-twice":
        expected = "ok"
    if expected == "context" and vector.context is None:
        expected = "ok"
    assert finding.verdict in VERDICTS[expected]


@pytest.mark.parametrize("file", bad_vectors, ids=name_of)
def test_a_reader_written_from_the_specification_refuses_the_same(file: Path) -> None:
    vector = read_vector(file)
    with pytest.raises(plain_reader.Refused) as caught:
        read_plainly(vector)
    assert caught.value.args == (vector.expect,)


@pytest.mark.parametrize("file", good_vectors, ids=name_of)
def test_a_reader_written_from_the_specification_finds_the_same(file: Path) -> None:
    vector = read_vector(file)
    assert vector.expect == "ok"
    opened = read_plainly(vector)
    payload = open_with_package(vector)
    assert json.loads(payload.head.metadata.encode()) == opened.metadata
    assert payload.stored == opened.segments
    assert reader.segments(payload) == plain_reader.expanded(opened)
    assert payload.digest == opened.digest
    assert payload.head.fixed.total_size == opened.size


@pytest.mark.parametrize("file", good_vectors, ids=name_of)
def test_sealing_what_a_good_vector_holds_gives_it_again(file: Path) -> None:
    vector = read_vector(file)
    payload = open_with_package(vector)
    segments = payload.stored
    lengths, raw = list(map(len, segments)), payload.head.packed
    head = seal.seal_head(payload.head.key, payload.head.metadata, lengths, raw)
    assert join_envelope(head.data, segments, head.finish, head.key.suite) == vector.data


def read_plainly(vector: Vector) -> plain_reader.Opened:
    return plain_reader.read(
        vector.data, SECRETS, vector.context, make_vectors.NOW, make_vectors.BUFFERS
    )


def open_with_package(vector: Vector) -> Verified:
    return reader.read(
        MemorySource(vector.data),
        lambda: RING,
        check=lambda head: policy.check_head(
            head.metadata, now=time.time(), context=vector.context
        ),
    )


def test_the_vectors_are_those_that_their_maker_makes() -> None:
    made = {vector.name: vector for vector in make_vectors.vectors()}
    assert [file.name for file in FILES] == sorted(made)
    for file in FILES:
        # Compressed bytes differ between versions of zlib; what they hold does not.
        assert read_vector(file) == read_made(made[file.name])


def read_made(vector: make_vectors.Vector) -> Vector:
    return Vector(vector.expect, vector.context or None, vector.data)


@pytest.mark.parametrize("suite", list(Suite))
@pytest.mark.parametrize("segments", [1, 2, 3, 4])
def test_every_padding_of_the_head_is_read_alike(suite: Suite, segments: int) -> None:
    key = make_vectors.SHA if suite is Suite.SHA256 else make_vectors.BLAKE
    parts = [make_vectors.buffers(segments - 1), *(b"x" for _ in range(segments - 1))]
    for size in range(64):
        data = make_vectors.sealed(Metadata(content="pickle", class_name="x" * size), parts, key)
        opened = plain_reader.read(data, SECRETS, None, make_vectors.NOW)
        assert opened.segments == parts
        assert len(signed_loads(data, keyring=RING)) == segments - 1


@pytest.mark.parametrize("key", [make_vectors.SHA, make_vectors.BLAKE], ids=["sha256", "blake3"])
@pytest.mark.parametrize("segments", [[b""], [b"", b"", b""]], ids=["one", "three"])
def test_a_body_without_a_byte_has_no_leaf(key: Key, segments: list[bytes]) -> None:
    data = make_vectors.sealed(make_vectors.PLAIN, segments, key)
    opened = plain_reader.unsealed(data, SECRETS, None, make_vectors.NOW)
    assert opened.segments == segments
    assert open_with_package(Vector("ok", None, data)).digest == opened.digest


@pytest.mark.parametrize(
    ("suite", "key_id"),
    [(1, "45b1aed04de7a4004e730722f7ed75e2"), (2, "2c0abba4d7207b23347f7eeb6b697b9d")],
)
def test_the_key_ids_of_the_specification_are_those_of_both(suite: int, key_id: str) -> None:
    secret = plain_reader.Secret(suite, make_vectors.SECRET)
    assert plain_reader.key_id(secret).hex() == key_id
    assert {1: make_vectors.SHA, 2: make_vectors.BLAKE}[suite].id == key_id


def test_the_plain_reader_imports_nothing_of_the_package() -> None:
    text = Path(plain_reader.__file__).read_text("utf-8")
    assert not re.search(r"^\s*(from|import) (pickleseal|make_vectors)", text, re.MULTILINE)


def test_the_worked_example_of_the_specification_is_the_first_vector() -> None:
    text = Path(__file__).parents[1].joinpath("docs/reference/format.md").read_text("utf-8")
    example = text.partition("## Worked example")[2].partition("## Vectors")[0]
    shown = {
        label: bytes.fromhex(digits)
        for label, digits in re.findall(
            r"^([a-z][a-z_0 ]*?) +([0-9a-f]{64}(?:\s+[0-9a-f]{64})*)$", example, re.MULTILINE
        )
    }
    data = read_vector(make_vectors.FOLDER / "good-blake3").data
    head, body = data[:160], data[192:256]
    hashed = partial(plain_reader.hashed, 2)
    leaf = hashed("leaf", body)
    table = hashed("table", head[96:112])
    content = hashed("root", struct.pack("<QQQ", 64, 1, 0) + table + leaf)
    whole = hashed("body", hashed("head", head) + content)
    start = b"pickleseal/v1/%b" + b"\2" + bytes(7) + data[16:32]
    assert shown == {
        "envelope": data,
        "head digest": hashed("head", head),
        "header statement": start % b"header".ljust(18, b"\0")
        + struct.pack("<Q", 160)
        + hashed("head", head),
        "header tag": data[160:192],
        "leaf_0": leaf,
        "table digest": table,
        "content digest": content,
        "envelope digest": whole,
        "statement": start % b"envelope".ljust(18, b"\0") + struct.pack("<Q", 256) + whole,
        "envelope tag": data[256:],
    }
