"""Make tests/vectors: `python tests/make_vectors.py` writes them anew, always the same.

The good ones are sealed by the package's pure core. The bad ones are made of a good one with one
fault, and where a foreign writer with the key could have made the fault, it is properly tagged.
`python tests/make_vectors.py --archive PATH` packs them instead.
"""

import gzip
import hashlib
import io
import itertools
import json
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

from making import bad, frames, good, metadata, options, payloads
from making.key_lines import key_lines
from making.parts import Vector, opened
from making.steps import STEPS

from pickleseal.envelope import reader
from pickleseal.envelope.seal import Verified
from pickleseal.pickling import opcodes

FOLDER = Path(__file__).with_name("vectors")
_MAKERS = (
    good.good,
    frames.good_zstd,
    payloads.good_payloads,
    bad.bad_fixed,
    bad.bad_tags,
    bad.bad_heads,
    bad.bad_places,
    payloads.bad_payloads,
    payloads.bad_imports,
    frames.bad_zstd,
    metadata.bad_metadata,
    options.with_options,
    options.of_bound_keys,
    options.in_streams,
    options.pairs,
)


def vectors() -> list[Vector]:
    """Return all vectors, in the order of their names."""
    return sorted(vector for make in _MAKERS for vector in make())


def to_bytes(vector: Vector) -> bytes:
    """Return the text and the envelope of a vector; README.md in the folder is the rule."""
    data = vector.data
    lines = [f"expect: {vector.expect}"]
    if vector.expect != "ok":
        lines.append(f"check: {STEPS[vector.name]}")
    lines += [f"{name}: {value}" for name, value in vector.options]
    lines += outcome(vector)
    if len(data) > 1 << 16:
        lines.append("encoding: gzip")
        data = gzip.compress(data, mtime=0)[:9] + b"\xff" + gzip.compress(data, mtime=0)[10:]
    lines.append(f"comment: {vector.comment}")
    return "\n".join(lines).encode() + b"\n\n" + data


def outcome(vector: Vector) -> Iterator[str]:
    """Yield the lines on what comes out of an envelope: where the seal holds, and all of it."""
    if vector.expect != "ok" and not STEPS[vector.name].startswith("8."):
        return
    payload = opened(vector.data[: int.from_bytes(vector.data[40:48], "little")])
    yield f"digest: {payload.digest}"
    yield f"metadata: {payload.head.metadata.encode().decode()}"
    if vector.expect != "ok":
        return
    segments = ((len(one), hashlib.sha256(one).hexdigest()) for one in reader.segments(payload))
    for (size, digest), same in itertools.groupby(segments):
        count = len(list(same))
        yield f"segment: {size} {digest}" + (f" {count}" if count > 1 else "")
    if payload.head.metadata.external is None:
        yield f"pickle: {hashlib.sha256(plain_of(payload)).hexdigest()}"


def plain_of(payload: Verified) -> bytes:
    """Return what `pickleseal extract` writes, whatever the time."""
    stream, *buffers = reader.segments(payload)
    if payload.head.metadata.content == "joblib":
        return bytes(stream)
    return opcodes.put_back(stream, buffers)


def archive() -> bytes:
    """Return the folder as a tar file, the same bytes wherever it is made."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for path in sorted(FOLDER.iterdir()):
            data = path.read_bytes()
            member = tarfile.TarInfo(f"pickleseal-vectors-1/{path.name}")
            member.size, member.mode = len(data), 0o644
            tar.addfile(member, io.BytesIO(data))
    return file.getvalue()


def write_folder() -> None:
    for old in FOLDER.glob("[gb][oa][od]*-*"):
        old.unlink()
    for vector in vectors():
        (FOLDER / vector.name).write_bytes(to_bytes(vector))
    (FOLDER / "key-lines.json").write_text(json.dumps(key_lines(), indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--archive"]:
        target = Path(sys.argv[2])
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(archive())
        print(f"{target}: SHA-256 {hashlib.sha256(target.read_bytes()).hexdigest()}")  # noqa: T201
    else:
        write_folder()
