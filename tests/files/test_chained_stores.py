"""URLs in chains: objects inside of an archive, and behind a cache of fsspec."""

import io
import pickle
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from command import as_json, call
from fsspec.implementations.memory import MemoryFileSystem
from rings import rotate

from pickleseal import audit, reseal, signed_dump, signed_dumps, signed_load
from pickleseal.files.places import Remote, inside

ZIP = "::memory://m/models.zip"


@pytest.fixture
def memory() -> Iterator[MemoryFileSystem]:
    store = fsspec.filesystem("memory")
    store.store.clear()
    yield store
    store.store.clear()


@pytest.fixture
def _zipped(memory: MemoryFileSystem, ring_directory: Path) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name in ("it.pkl", "v1/it.pkl"):
            archive.writestr(name, signed_dumps([name], keyring=ring_directory))
        archive.writestr("plain.pkl", pickle.dumps([1]))
    memory.pipe_file("/m/models.zip", packed.getvalue())


@pytest.mark.usefixtures("_zipped")
def test_objects_in_an_archive_are_found_and_named(ring_directory: Path) -> None:
    found = {one.path: one.verdict.value for one in audit(f"zip://{ZIP}", keyring=ring_directory)}
    assert found == {
        f"zip://it.pkl{ZIP}": "sealed",
        f"zip://plain.pkl{ZIP}": "unsealed",
        f"zip://v1/it.pkl{ZIP}": "sealed",
    }
    for url, verdict in found.items():
        (finding,) = audit(url, keyring=ring_directory)
        assert (finding.path, finding.verdict.value) == (url, verdict)
    below = [one.path for one in audit(f"zip://v1{ZIP}", keyring=ring_directory)]
    assert below == [f"zip://v1/it.pkl{ZIP}"]
    done = call("verify", f"zip://it.pkl{ZIP}", "--keyring", ring_directory, "--json")
    assert done.returncode == 0
    assert [one["verdict"] for one in as_json(done)["files"]] == ["whole"]


@pytest.mark.usefixtures("_zipped")
@pytest.mark.parametrize(
    ("named", "names"), [("", {"it.pkl", "v1/it.pkl"}), ("v1/it.pkl", {"it.pkl"})]
)
def test_objects_in_an_archive_are_extracted_by_their_names(
    named: str, names: set[str], ring_directory: Path, tmp_path: Path
) -> None:
    out = tmp_path / "plain"
    done = call("extract", f"zip://{named}{ZIP}", "--to", out, "--keyring", ring_directory)
    assert done.returncode == 0
    assert {str(file.relative_to(out)) for file in out.rglob("*.pkl")} == names


@pytest.mark.parametrize(
    ("root", "below", "beside"),
    [
        ("s3://b/m", "s3://b/m/v1/it.pkl", "s3://b/m.old"),
        ("s3://b/a::b", "s3://b/a::b/v1/it.pkl", "s3://b/a::b.old"),
        ("simplecache::s3://b/m", "simplecache::s3://b/m/v1/it.pkl", "simplecache::s3://b/m.old"),
        ("zip://::s3://b/z", "zip://v1/it.pkl::s3://b/z", "zip://.old::s3://b/z"),
        (
            "zip://m::simplecache::s3://b/z",
            "zip://m/v1/it.pkl::simplecache::s3://b/z",
            "zip://m.old::simplecache::s3://b/z",
        ),
        ("memory://", "memory://v1/it.pkl", "memory://.old"),
    ],
)
def test_what_is_below_a_url_has_one_too(root: str, below: str, beside: str) -> None:
    place = Remote(None, "m", root)
    assert place.below("v1/it.pkl").url == below
    assert place.beside(".old").url == beside
    assert place.beside(".old").without(".old") == place
    assert inside(below, root) == "v1/it.pkl"
    assert inside(below, below) == "it.pkl"


@pytest.mark.usefixtures("memory")
def test_the_root_of_a_store_is_walked(ring_directory: Path) -> None:
    signed_dump([1], "memory://it.pkl", keyring=ring_directory)
    for root in ("memory://", "memory://it.pkl"):
        (finding,) = audit(root, keyring=ring_directory)
        assert finding.path == "memory://it.pkl"


@pytest.mark.parametrize("name", ["it::b", "it::b.pkl", "it::memory://m/other"])
def test_a_name_of_which_fsspec_drops_the_end_is_refused(
    name: str, memory: MemoryFileSystem, ring_directory: Path
) -> None:
    """A dump would replace the object whose name is left."""
    signed_dump("it", "memory://m/it", keyring=ring_directory)
    before = memory.cat("/m/it")
    with pytest.raises(OSError, match="takes the name"):
        signed_dump("other", f"memory://m/{name}", keyring=ring_directory)
    with pytest.raises(OSError, match="takes the name"):
        signed_load(f"memory://m/{name}", keyring=ring_directory)
    assert memory.cat("/m/it") == before


def by_url(url: str, ring: Path) -> None:
    assert reseal(url, keyring=ring)


def by_open_file(url: str, ring: Path) -> None:
    assert reseal(fsspec.open(url), keyring=ring)


def by_command(url: str, ring: Path) -> None:
    assert call("reseal", url, "--keyring", ring).returncode == 0


@pytest.mark.usefixtures("memory")
@pytest.mark.parametrize("cache", ["simplecache", "filecache", "simplecache::filecache"])
@pytest.mark.parametrize("act", [by_url, by_open_file, by_command])
def test_an_old_copy_in_a_cache_replaces_no_newer_object(
    cache: str, act: Callable[[str, Path], Any], ring_directory: Path
) -> None:
    stored = f"memory:/{ring_directory}/it.pkl"  # since fsspec keeps its caches between tests
    signed_dump("old", stored, keyring=ring_directory)
    assert signed_load(f"{cache}::{stored}", keyring=ring_directory) == "old"
    signed_dump("newer", stored, keyring=ring_directory)
    rotate(ring_directory)
    act(f"{cache}::{stored}", ring_directory)
    assert signed_load(stored, keyring=ring_directory) == "newer"
