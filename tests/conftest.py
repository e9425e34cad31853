"""What most tests need: rings of fresh keys, and an environment that holds none."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from costs import cheap_boxes, no_syncs
from hypothesis import settings
from local_s3 import BUCKET, LocalS3, local_s3

from pickleseal import Key, Keyring, Suite
from pickleseal.envelope import source, target
from pickleseal.keys.store import terminal
from pickleseal.keys.store.changes import create_key

# Their asserts hold under `python -O` too, as those of the tests do.
pytest.register_assert_rewrite("command", "doctoring", "lab", "names", "plain_reader", "watching")

# A busy machine is no failure: the timeout of a test is what ends it. Each run and each Python
# tries other examples.
settings.register_profile("suite", deadline=None, max_examples=30)
settings.load_profile("suite")

# The suite runs one worker per core. Thread pools of numerical libraries that take every core as
# well spin while they wait for each other, and took most of the suite's time.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

# A script's shell starts what runs in its background with this signal ignored, which processes that
# tests start and interrupt would inherit.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _low_costs() -> Iterator[None]:
    with cheap_boxes(), no_syncs():
        yield


@pytest.fixture(scope="session", autouse=True)
def _leave_the_checkout_alone() -> Iterator[None]:
    """Fail the last test of a run that left a file at the top of the checkout."""
    top = Path(__file__).parents[1]
    before = {"dist", *os.listdir(top)}
    yield
    assert not [name for name in os.listdir(top) if name not in before and name[0] != "."]


@pytest.fixture(scope="session")
def _nowhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("nowhere")


@pytest.fixture(autouse=True)
def _leaves_nothing_behind(
    _nowhere: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """Run each test in an empty folder that is still empty afterwards, and not in the checkout."""
    monkeypatch.chdir(_nowhere)
    yield
    left = os.listdir(_nowhere)
    for name in left:
        (_nowhere / name).rename(tmp_path_factory.mktemp("left") / name)  # not for the next test
    assert not left


@pytest.fixture(autouse=True)
def _no_keys_around(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Hide the keys and the terminal of whoever runs the tests."""
    for name in list(os.environ):
        if name.startswith("PICKLESEAL_") or name == "SOURCE_DATE_EPOCH":
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path_factory.getbasetemp() / "no-keyring-here"))
    monkeypatch.setattr(terminal, "_TERMINAL", "/no terminal")


@pytest.fixture(scope="session")
def ring() -> Keyring:
    """A ring of one fresh key of suite 2."""
    return Keyring(Key.generate(Suite.BLAKE3))


@pytest.fixture(scope="session")
def sha_ring() -> Keyring:
    """A ring of one fresh key of suite 1."""
    return Keyring(Key.generate(Suite.SHA256))


@pytest.fixture
def ring_directory(tmp_path: Path) -> Path:
    """A keyring's directory with one key."""
    folder = tmp_path / "keyring"
    create_key(folder, suite=Suite.BLAKE3, note="", now=0)
    return folder


@pytest.fixture(params=["BLAKE3", "SHA256"])
def either_ring(request: pytest.FixtureRequest, ring: Keyring, sha_ring: Keyring) -> Keyring:
    return ring if request.param == "BLAKE3" else sha_ring


@pytest.fixture(params=["parallel", "plain"])
def _both_ways(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a test with parallel I/O, and as on a system that has none."""
    if request.param == "plain":
        monkeypatch.setattr(source, "_PARALLEL", False)
        monkeypatch.setattr(target, "_PARALLEL", False)
        monkeypatch.delattr(os, "preadv", raising=False)
        monkeypatch.delattr(os, "pwritev", raising=False)
    elif not hasattr(os, "preadv"):
        pytest.skip("this system has no preadv")


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    """Return the path of a file that exists once something was unpickled."""
    return tmp_path / "mark"


@pytest.fixture(scope="module")  # its thread is not to be there where others make copies
def s3_server() -> Iterator[LocalS3]:
    from s3fs import S3FileSystem

    S3FileSystem.clear_instance_cache()
    with local_s3() as running:
        yield running
    S3FileSystem.clear_instance_cache()


@pytest.fixture
def s3(s3_server: LocalS3, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalS3]:
    """A server of S3, with an empty bucket and no requests yet."""
    from s3fs import S3FileSystem

    for name, value in s3_server.variables().items():
        monkeypatch.setenv(name, value)
    for system in S3FileSystem._cache.values():  # a new one takes 0.2 s to make its client
        system.invalidate_cache()
    s3_server.requests.clear()
    yield s3_server
    s3_server.fault = None
    client = s3_server.client()
    for one in client.list_objects_v2(Bucket=BUCKET).get("Contents", []):
        client.delete_object(Bucket=BUCKET, Key=one["Key"])
