"""The vectors: the package, a reader written from the specification, and the files agree."""

import gzip
import io
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
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
    seal,
    signed_load,
    signed_loads,
    storage,
    verify,
)
from pickleseal.keyring import Entry, State
from pickleseal.metadata import Metadata

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
    [
        Entry(make_vectors.BLAKE.id, Suite.BLAKE3, State.ACTIVE, make_vectors.BLAKE),
        Entry(make_vectors.SHA.id, Suite.SHA256, State.RETIRED, make_vectors.SHA),
        Entry(make_vectors.REVOKED.id, Suite.BLAKE3, State.REVOKED, None),
    ],
    primary=make_vectors.BLAKE.id,
    name="the ring of the vectors",
)
every_vector = pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)


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
    kinds: list[str] = []
    keywords: dict[str, Any] = {"keyring": RING, "context": vector.context, "on_mismatch": "ignore"}
    with told(kinds):
        signed_loads(vector.data, **keywords)
    with told(kinds):
        signed_load(path, **keywords)
    expected = [vector.expect] * 2
    if file.name not in ("bad-trailing-byte", "bad-twice"):
        expected.append(vector.expect)
        with told(kinds):
            signed_load(io.BytesIO(vector.data), **keywords)
    assert kinds == expected


@every_vector
def test_a_reader_written_from_the_specification_agrees(file: Path) -> None:
    vector = read_vector(file)
    if vector.expect != "ok":
        with pytest.raises(plain_reader.Refused) as caught:
            plain_reader.read(vector.data, SECRETS, vector.context, make_vectors.NOW)
        assert caught.value.args == (vector.expect,)
        return
    opened = plain_reader.read(vector.data, SECRETS, vector.context, make_vectors.NOW)
    with nothing_unpickled():
        found = verify(io.BytesIO(vector.data), keyring=RING, context=vector.context)
    assert found.digest == opened.digest
    assert found.size == opened.size
    assert found.segments == tuple(map(len, opened.segments))


@every_vector
def test_sealing_what_a_good_vector_holds_gives_it_again(file: Path) -> None:
    vector = read_vector(file)
    if vector.expect != "ok":
        return
    opened = plain_reader.read(vector.data, SECRETS, vector.context, make_vectors.NOW)
    metadata = verify(io.BytesIO(vector.data), keyring=RING).metadata
    assert metadata is not None
    assert Metadata.decode(metadata.encode()) == metadata
    key = make_vectors.SHA if vector.data[10] == 1 else make_vectors.BLAKE
    head = seal.seal_head(key, metadata, [len(segment) for segment in opened.segments])
    views = [memoryview(segment) for segment in opened.segments]
    assert storage.join(head.data, views, head.finish, key.suite) == vector.data


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


def test_the_worked_example_of_the_specification_is_the_first_vector() -> None:
    text = Path(__file__).parents[1].joinpath("docs/reference/format.md").read_text("utf-8")
    example = text.partition("## Worked example")[2].partition("## Vectors")[0]
    found = re.search(r"^envelope +([0-9a-f\s]+)$", example, re.MULTILINE)
    assert found
    shown = found[1].partition("head digest")[0]
    data = bytes.fromhex("".join(re.findall(r"\b[0-9a-f]{64}\b", shown)))
    assert data == read_vector(make_vectors.FOLDER / "good-blake3").data
    for digest in (plain_reader.read(data, SECRETS, None, make_vectors.NOW).digest[4:],):
        assert digest in example
