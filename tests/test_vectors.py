"""The vectors: the package, a reader written from the specification, and the files agree."""

import copyreg
import hashlib
import io
import json
import re
import struct
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import make_vectors
import plain_reader
import pytest
import vector_files
from making import parts
from making.key_lines import key_lines
from vector_files import SECRETS, Vector
from watching import nothing_unpickled

from pickleseal import (
    BadSealError,
    ContextError,
    ExpiredError,
    KeyringError,
    MalformedError,
    NotSealedError,
    PolicyError,
    RevokedKeyError,
    RollbackError,
    SealError,
    Suite,
    UnknownKeyError,
    Verdict,
    VersionMismatchError,
    audit,
    signed_load,
    signed_loads,
)
from pickleseal.envelope import reader, seal
from pickleseal.envelope.metadata import Metadata
from pickleseal.envelope.seal import Verified
from pickleseal.envelope.source import MemorySource, StreamSource
from pickleseal.envelope.target import join_envelope
from pickleseal.keys.key import Key, KeyLine
from pickleseal.persistence import load
from pickleseal.persistence.pins import Pin, encode

KINDS: dict[type[SealError], str] = {
    NotSealedError: "not-sealed",
    MalformedError: "malformed",
    UnknownKeyError: "unknown-key",
    RevokedKeyError: "revoked",
    BadSealError: "bad-seal",
    ContextError: "context",
    ExpiredError: "expired",
    RollbackError: "rollback",
    VersionMismatchError: "version-mismatch",
    PolicyError: "policy",
}
RING = parts.RING
OPTIONS = plain_reader.Options()
VECTORS = vector_files.read_all()


def name_of(vector: Vector) -> str:
    return vector.name


good_vectors = [vector for vector in VECTORS if vector.expect == "ok"]
bad_vectors = [vector for vector in VECTORS if vector not in good_vectors]


@pytest.fixture(autouse=True)
def _at_the_time_of_the_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: float(parts.NOW))


@pytest.fixture(autouse=True)
def _extension_code_of_the_vectors() -> Iterator[None]:
    copyreg.add_extension("builtins", "len", 200)
    yield
    copyreg.clear_extension_cache()
    copyreg.remove_extension("builtins", "len", 200)


@contextmanager
def told(kinds: list[str]) -> Iterator[None]:
    """Note what a load is refused as, or "ok"."""
    try:
        yield
    except SealError as error:
        kinds.append(next(kind for cls, kind in KINDS.items() if isinstance(error, cls)))
    else:
        kinds.append("ok")


def keywords_of(vector: Vector, tmp_path: Path) -> dict[str, Any]:
    """Return what a caller passes to a load to ask for what the vector says."""
    asked = vector.options
    pins = None
    if asked.pin is not None:
        pins = tmp_path / "pins"
        pins.write_bytes(encode({str(asked.context): Pin(*asked.pin)}))
        pins.chmod(0o600)
    return {
        "keyring": RING,
        "context": asked.context,
        "max_bytes": asked.max_bytes,
        "max_age": None if asked.max_age is None else timedelta(seconds=asked.max_age),
        "min_serial": asked.min_serial,
        "pins": pins,
        "allow": asked.allow,
        "expect": asked.expect,
        "on_mismatch": "raise" if asked.strict_versions else "ignore",
        "buffers": asked.buffers,
    }


@pytest.mark.parametrize(
    "vector",
    [
        # Four loads of it take seconds; other tests read it as well.
        pytest.param(one, marks=[pytest.mark.sweep] if one.name == "good-segments-65536" else [])
        for one in VECTORS
    ],
    ids=name_of,
)
def test_the_package_says_what_the_vector_says(vector: Vector, tmp_path: Path) -> None:
    path = tmp_path / "it"
    path.write_bytes(vector.data)
    stream = io.BytesIO(vector.data)
    kinds: list[str] = []
    if not vector.options.stream:
        with told(kinds):
            signed_loads(vector.data, **keywords_of(vector, tmp_path))
        with told(kinds):
            signed_load(path, **keywords_of(vector, tmp_path))
    if vector.lines.get("check") != "3.3":
        with told(kinds):
            signed_load(stream, **keywords_of(vector, tmp_path))
    # The size of an open file is known, so that one that is cut off is refused sooner.
    if not vector.options.stream and vector.lines.get("check") != "3.3":
        with told(kinds), path.open("rb") as file:
            signed_load(file, **keywords_of(vector, tmp_path))
    assert set(kinds) == {vector.expect}
    if vector.expect == "ok":
        assert stream.tell() == int.from_bytes(vector.data[40:48], "little")


def test_verifying_says_the_same_and_unpickles_nothing(tmp_path: Path) -> None:
    kinds: list[str] = []
    for vector in VECTORS:
        with nothing_unpickled(), told(kinds):
            open_with_package(vector, tmp_path)
    said = dict(zip(map(name_of, VECTORS), kinds, strict=True))
    # What only the unpickler can find is not found without it.
    assert said == {one.name: "ok" if one.only_loaders_refuse else one.expect for one in VECTORS}


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


SEVERAL = ("bad-twice", "bad-pair-size-and-key")
"""An audit reads all envelopes of a file, and says of these what it finds in the first."""


def asks_for_a_context_alone(vector: Vector) -> bool:
    return vector.options == plain_reader.Options(
        context=vector.options.context, buffers=vector.options.buffers
    )


def test_the_audit_says_the_same(tmp_path: Path) -> None:
    path = tmp_path / "it"
    for vector in filter(asks_for_a_context_alone, VECTORS):
        path.write_bytes(vector.data)
        with nothing_unpickled():
            (finding,) = audit(path, keyring=RING, context=vector.options.context)
        expected = vector.expect
        # What a step after the seal refuses is not the audit's business, and a file may hold
        # several.
        if vector.only_loaders_refuse or vector.name in SEVERAL:
            expected = "ok" if vector.name != "bad-pair-size-and-key" else "unknown-key"
        if vector.lines.get("check") == "6.3" and vector.options.context is None:
            expected = "ok"
        assert finding.verdict in VERDICTS[expected], vector.name


def test_a_reader_written_from_the_specification_refuses_the_same() -> None:
    for vector in bad_vectors:
        with pytest.raises(plain_reader.Refused) as caught:
            plain_reader.read(vector.data, SECRETS, vector.options)
        assert caught.value.args == (vector.expect, vector.lines["check"]), vector.name
        if vector.only_loaders_refuse:
            opened = plain_reader.unsealed(vector.data, SECRETS, vector.options)
            assert vector.lines["digest"] == opened.digest, vector.name
            assert json.loads(vector.lines["metadata"]) == opened.metadata, vector.name


@pytest.mark.parametrize("vector", good_vectors, ids=name_of)
def test_a_reader_written_from_the_specification_finds_the_same(
    vector: Vector, tmp_path: Path
) -> None:
    opened = plain_reader.read(vector.data, SECRETS, vector.options)
    payload = open_with_package(vector, tmp_path)
    segments = plain_reader.expanded(opened)
    assert json.loads(payload.head.metadata.encode()) == opened.metadata
    assert json.loads(vector.lines["metadata"]) == opened.metadata
    assert payload.stored == opened.stored
    assert reader.segments(payload) == segments
    assert payload.digest == opened.digest == vector.lines["digest"]
    assert payload.head.fixed.total_size == opened.size
    listed: list[str] = []
    for text in vector.segments:
        size, digest, count = (*text.split(), "1")[:3]
        listed += [f"{size} {digest}"] * int(count)
    assert listed == [f"{len(one)} {hashlib.sha256(one).hexdigest()}" for one in segments]
    if "external" not in opened.metadata:
        extracted = hashlib.sha256(plain_reader.extracted(opened)).hexdigest()
        assert extracted == vector.lines["pickle"]


@pytest.mark.parametrize("vector", good_vectors, ids=name_of)
def test_sealing_what_a_good_vector_holds_gives_it_again(vector: Vector, tmp_path: Path) -> None:
    payload = open_with_package(vector, tmp_path)
    segments = payload.stored
    lengths, raw = list(map(len, segments)), payload.head.packed
    head = seal.seal_head(payload.head.key, payload.head.metadata, lengths, raw)
    made = join_envelope(head.data, segments, head.finish, head.key.suite)
    assert made == vector.data[: payload.head.fixed.total_size]


def open_with_package(vector: Vector, tmp_path: Path) -> Verified:
    """Do what a load does with an envelope before it is unpickled."""
    keywords = keywords_of(vector, tmp_path)
    max_bytes, keyring = keywords["max_bytes"], keywords["keyring"]
    del keywords["buffers"], keywords["keyring"]
    policy = load._policy(**keywords)
    stream = vector.options.stream
    source = StreamSource(io.BytesIO(vector.data)) if stream else MemorySource(vector.data)
    payload = load._verified(source, policy, keyring, max_bytes)
    policy.check_content(payload.head.metadata, payload.digest)
    return payload


def test_the_vectors_are_those_that_their_maker_makes() -> None:
    made = {one.name: make_vectors.to_bytes(one) for one in make_vectors.vectors()}
    assert [vector.name for vector in VECTORS] == sorted(made)
    for vector in VECTORS:
        # Compressed bytes differ between versions of zlib; what they hold does not.
        assert vector == vector_files.parse(vector.name, made[vector.name])


@pytest.mark.once
def test_the_archive_holds_the_folder_and_nothing_of_its_maker() -> None:
    data = make_vectors.archive()
    assert data == make_vectors.archive()
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        members = tar.getmembers()
        for member in members:
            file = tar.extractfile(member)
            assert file is not None
            assert file.read() == make_vectors.FOLDER.joinpath(Path(member.name).name).read_bytes()
    assert {(m.mtime, m.uid, m.gid, m.uname, m.gname) for m in members} == {(0, 0, 0, "", "")}
    assert len(members) == len([*make_vectors.FOLDER.iterdir()])


@pytest.mark.parametrize("suite", list(Suite))
@pytest.mark.parametrize("segments", [1, 2, 3, 4])
def test_every_padding_of_the_head_is_read_alike(suite: Suite, segments: int) -> None:
    key = parts.SHA if suite is Suite.SHA256 else parts.BLAKE
    whole = [parts.buffers(segments - 1), *(b"x" for _ in range(segments - 1))]
    for size in range(64):
        data = parts.sealed(Metadata(content="pickle", class_name="x" * size), whole, key)
        opened = plain_reader.read(data, SECRETS, OPTIONS)
        assert opened.stored == whole
        assert len(signed_loads(data, keyring=RING)) == segments - 1


@pytest.mark.parametrize("key", [parts.SHA, parts.BLAKE], ids=["sha256", "blake3"])
@pytest.mark.parametrize("segments", [[b""], [b"", b"", b""]], ids=["one", "three"])
def test_a_body_without_a_byte_has_no_leaf(key: Key, segments: list[bytes]) -> None:
    data = parts.sealed(parts.PLAIN, segments, key)
    opened = plain_reader.unsealed(data, SECRETS, OPTIONS)
    assert opened.stored == segments
    assert parts.opened(data).digest == opened.digest


@pytest.mark.parametrize(
    ("suite", "key_id"),
    [(1, "45b1aed04de7a4004e730722f7ed75e2"), (2, "2c0abba4d7207b23347f7eeb6b697b9d")],
)
def test_the_key_ids_of_the_specification_are_those_of_both(suite: int, key_id: str) -> None:
    secret = plain_reader.Secret(suite, parts.SECRET)
    assert plain_reader.key_id(secret).hex() == key_id
    assert {1: parts.SHA, 2: parts.BLAKE}[suite].id == key_id


def test_the_plain_reader_imports_nothing_of_the_package() -> None:
    text = Path(plain_reader.__file__).read_text("utf-8")
    assert not re.search(r"^\s*(from|import) (pickleseal|make_vectors|making)", text, re.MULTILINE)


def test_the_worked_example_of_the_specification_is_the_first_vector() -> None:
    text = Path(__file__).parents[1].joinpath("docs/reference/format.md").read_text("utf-8")
    example = text.partition("## Worked example")[2].partition("## Vectors")[0]
    shown = {
        label: bytes.fromhex(digits)
        for label, digits in re.findall(
            r"^([a-z][a-z_0 ]*?) +([0-9a-f]{64}(?:\s+[0-9a-f]{64})*)$", example, re.MULTILINE
        )
    }
    (data,) = (vector.data for vector in VECTORS if vector.name == "good-blake3")
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


KEY_LINES = json.loads((vector_files.FOLDER / "key-lines.json").read_text("utf-8"))


def name_of_line(line: dict[str, Any]) -> str:
    return str(line.get("wrong", line["line"][-8:].strip()))


@pytest.mark.parametrize("line", KEY_LINES, ids=name_of_line)
def test_package_and_plain_reader_take_the_same_key_lines(line: dict[str, Any]) -> None:
    plain = plain_reader.key_of(line["line"])
    if "wrong" in line:
        assert plain is None
        with pytest.raises(KeyringError):
            Key.parse(KeyLine(line["line"]))
        return
    assert plain is not None
    key = Key.parse(KeyLine(line["line"]))
    assert (plain.suite, plain_reader.key_id(plain).hex()) == (line["suite"], line["id"])
    assert (key.suite, key.id) == (line["suite"], line["id"])


def test_the_key_lines_are_those_that_their_maker_makes() -> None:
    assert key_lines() == KEY_LINES
