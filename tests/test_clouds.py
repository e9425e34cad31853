"""Google Cloud and Azure: what a store promises there, against emulators on loopback."""

import pickle
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from command import as_json, run
from local_clouds import CLOUDS, Cloud

from pickleseal import audit, inspect, reseal, signed_dump, signed_dumps, signed_load, verify
from pickleseal.auditing.findings import Verdict
from pickleseal.auditing.formats.plain import to_line
from pickleseal.errors import NotSealedError, TargetError
from pickleseal.files.places import Remote, place_of
from pickleseal.keys.keyring import Keyring
from pickleseal.keys.store.directory import open_keyring

pytest.importorskip("fsspec")

pytestmark = [
    *(pytest.mark.sweep, pytest.mark.once, pytest.mark.timeout(300)),
    pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning"),  # aiohttp's
]


@pytest.fixture(params=CLOUDS, scope="module")
def bucket(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cloud]:
    with (
        pytest.MonkeyPatch.context() as patch,
        CLOUDS[request.param](tmp_path_factory.mktemp(request.param)) as started,
    ):
        for name, value in started.variables.items():
            patch.setenv(name, value)
        yield started


@pytest.fixture
def cloud(bucket: Cloud, request: pytest.FixtureRequest) -> Cloud:
    """Return a prefix of its own for each test."""
    return bucket._replace(root=f"{bucket.root}/{request.node.originalname}")


@pytest.fixture
def ring(ring_directory: Path) -> Keyring:
    return open_keyring(ring_directory)


def remote(cloud: Cloud, name: str) -> Remote:
    place = place_of(f"{cloud.root}/{name}", cloud.options)
    assert isinstance(place, Remote)
    return place


def test_what_is_dumped_is_loaded_and_described(cloud: Cloud, ring: Keyring) -> None:
    small, large = f"{cloud.root}/small.pkl", f"{cloud.root}/large.pkl"
    array = np.arange(2_500_000)  # more than one request brings
    options = cloud.options
    signed_dump([1, 2], small, keyring=ring, context="team", storage_options=options)
    signed_dump(array, large, keyring=ring, storage_options=options)
    assert signed_load(small, keyring=ring, context="team", storage_options=options) == [1, 2]
    assert np.array_equal(signed_load(large, keyring=ring, storage_options=options), array)
    for url in (small, large):
        assert verify(url, keyring=ring, storage_options=options).file == url
        assert inspect(url, keyring=ring, storage_options=options).status.value == "whole"
    assert reseal(small, keyring=ring, storage_options=options) is None


def test_a_missing_object_a_missing_bucket_and_a_folder_are_told_apart(
    cloud: Cloud, ring: Keyring
) -> None:
    cloud.put("folder/it.pkl", b"")
    for url in (f"{cloud.root}/none.pkl", f"{cloud.root}/none", f"{cloud.root[:2]}://nobucket/it"):
        with pytest.raises(FileNotFoundError):
            signed_load(url, keyring=ring, storage_options=cloud.options)
        done = run("verify", url, "--keyring", "none")
        assert done.returncode == 2
    with pytest.raises(NotSealedError, match="folder of objects"):
        signed_load(f"{cloud.root}/folder", keyring=ring, storage_options=cloud.options)


def test_an_object_that_is_there_is_not_overwritten(cloud: Cloud) -> None:
    place = remote(cloud, "it.pkl")
    place.write(b"first", exclusive=True)
    with pytest.raises(TargetError, match="already exists"):
        place.write(b"second", exclusive=True)
    assert cloud.get("it.pkl") == b"first"


def test_a_newer_version_is_not_replaced(cloud: Cloud) -> None:
    place = remote(cloud, "it.pkl")
    cloud.put("it.pkl", b"first")
    seen = place.version()
    cloud.put("it.pkl", b"newer")
    with pytest.raises(TargetError, match="meanwhile"):
        place.write(b"anew", seen=seen)
    assert cloud.get("it.pkl") == b"newer"
    place.write(b"anew", seen=place.version())
    assert cloud.get("it.pkl") == b"anew"


def test_commands_work_on_a_prefix_as_on_a_folder(
    cloud: Cloud, ring_directory: Path, tmp_path: Path
) -> None:
    root, ring = cloud.root, ("--keyring", ring_directory)
    cloud.put("old.pkl", pickle.dumps([1]))
    cloud.put("notes.txt", b"nothing")
    signed_dump([2], f"{root}/new.pkl", keyring=ring_directory, storage_options=cloud.options)
    done = run("audit", root, *ring)
    assert done.returncode == 1
    assert "1 of 3 files needs attention" in done.stderr
    assert run("adopt", root, *ring, "--context", "a/{path}", "--yes").returncode == 0
    assert cloud.get("old.pkl.unsealed") == pickle.dumps([1])
    assert run("verify", root, *ring).returncode == 0
    listed = f"{root}-lists/it.inventory"
    done = run("audit", root, *ring, "--inventory", listed)
    assert "listed 2 objects" in done.stderr
    assert run("keys", "rotate", *ring).returncode == 0
    assert "2 resealed" in run("reseal", root, *ring).stderr
    found = as_json(run("audit", root, *ring, "--baseline", listed, "--json"))
    assert {one.get("change") for one in found["findings"]} == {None}
    done = run("extract", root, *ring, "--context", "*", "--to", tmp_path / "plain")
    assert "2 extracted" in done.stderr
    assert pickle.loads((tmp_path / "plain/old.pkl").read_bytes()) == [1]
    for said in (done.stdout, done.stderr):
        assert not cloud.secret or cloud.secret not in said


def test_an_unchanged_object_is_passed_over_where_its_digest_is_listed(
    cloud: Cloud, ring: Keyring, tmp_path: Path
) -> None:
    for name in ("same.pkl", "changed.pkl"):
        cloud.put(name, signed_dumps(name, keyring=ring))
    report = tmp_path / "report"
    options = {"keyring": ring, "storage_options": cloud.options}
    findings = list(audit(cloud.root, marks=True, **options))  # type: ignore[arg-type]
    report.write_text("".join(map(to_line, findings)), encoding="ascii")
    cloud.put("changed.pkl", signed_dumps("anew", keyring=ring))
    again = audit(cloud.root, since=report, **options)  # type: ignore[arg-type]
    verdicts = {one.path.rpartition("/")[2]: one.verdict for one in again}
    same = Verdict.NOT_READ if cloud.root.startswith("gs:") else Verdict.SEALED
    assert verdicts == {"changed.pkl": Verdict.SEALED, "same.pkl": same}
