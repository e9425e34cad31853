"""Artifacts in object stores: every way in, against a real S3 server on loopback."""

import asyncio
import hashlib
import io
import itertools
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import as_json, call, run
from joblib.externals.loky import get_reusable_executor
from local_s3 import BUCKET, Answer, LocalS3, cut_off, refusal
from rings import primary_of, revoke, rotate, secrets_of

import pickleseal
from pickleseal import Keyring, audit, inspect, reseal, signed_dump, signed_load, verify
from pickleseal.auditing import readings
from pickleseal.auditing.findings import Verdict
from pickleseal.errors import (
    BadSealError,
    ContextError,
    NotSealedError,
    PicklesealError,
    TargetError,
)
from pickleseal.files import objects
from pickleseal.keys.store.directory import open_keyring
from pickleseal.persistence.inventory_file import read_inventory

pytest.importorskip("s3fs")

MIB = 1 << 20


def put(s3: LocalS3, name: str, data: bytes) -> None:
    s3.client().put_object(Bucket=BUCKET, Key=name, Body=data)


def get(s3: LocalS3, name: str) -> bytes:
    data: bytes = s3.client().get_object(Bucket=BUCKET, Key=name)["Body"].read()
    return data


def names_in(s3: LocalS3) -> set[str]:
    listed = s3.client().list_objects_v2(Bucket=BUCKET)
    return {one["Key"] for one in listed.get("Contents", [])}


def gets(s3: LocalS3) -> list[int]:
    """Return how many bytes each read of an object brought."""
    return [one.size for one in s3.requests if one.method == "GET" and one.path.count("/") > 1]


def once(condition: Callable[[dict[str, Any]], bool], act: Callable[[], None]) -> Any:
    """Return a fault that acts before the first request that meets a condition."""
    done: list[None] = []

    def fault(environ: dict[str, Any]) -> Answer | None:
        if not done and condition(environ):
            done.append(None)
            act()
        return None

    return fault


def sealed(obj: Any, ring: Keyring, **options: Any) -> bytes:
    return pickleseal.signed_dumps(obj, keyring=ring, **options)


# --- one object ------------------------------------------------------------------------------


def test_a_url_an_open_file_and_a_upath_are_dumped_to_and_loaded_from(
    s3: LocalS3, ring: Keyring
) -> None:
    import fsspec
    from upath import UPath

    url = "s3://models/fraud/v3.pkl"
    for target in (url, fsspec.open(url, "wb"), UPath(url)):
        signed_dump([1, 2], target, keyring=ring, context="fraud")
        assert names_in(s3) == {"fraud/v3.pkl"}
        s3.client().delete_object(Bucket=BUCKET, Key="fraud/v3.pkl")
    signed_dump([1, 2], url, keyring=ring, context="fraud")
    for source in (url, fsspec.open(url, "rb"), UPath(url)):
        assert signed_load(source, keyring=ring, context="fraud") == [1, 2]
        assert verify(source, keyring=ring).file == url
    with pytest.raises(ContextError, match=url):
        signed_load(url, keyring=ring)


def test_storage_options_reach_the_store(
    s3: LocalS3, ring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    options = {"endpoint_url": s3.url}
    url = "s3://models/it.pkl"
    signed_dump([1], url, keyring=ring, storage_options=options)
    assert signed_load(url, keyring=ring, storage_options=options) == [1]
    assert inspect(url, keyring=ring, storage_options=options).status.value == "whole"
    assert verify(url, keyring=ring, storage_options=options).level == "verifier"
    report = audit("s3://models", keyring=ring, storage_options=options).report()
    assert [finding.path for finding in report.findings] == [url]
    assert reseal(url, keyring=ring, storage_options=options) is None


def test_a_small_object_takes_one_request(s3: LocalS3, ring: Keyring) -> None:
    put(s3, "it.pkl", sealed([1, 2], ring))
    for act in (signed_load, verify, inspect):
        s3.requests.clear()
        act("s3://models/it.pkl", keyring=ring)
        assert [one.method for one in s3.requests] == ["GET"]


def test_a_folder_of_objects_is_told_from_a_missing_object(s3: LocalS3, ring: Keyring) -> None:
    put(s3, "fraud/it.pkl", sealed([1, 2], ring))
    for url in ("s3://models/fraud", "s3://models/fraud/", "s3://models"):
        for act in (signed_load, verify, inspect):
            with pytest.raises(NotSealedError, match="is a folder of objects") as caught:
                act(url, keyring=ring)
            assert caught.value.source == url
    for url in ("s3://models/none", "s3://models/frau", "s3://models/none/"):
        with pytest.raises(FileNotFoundError):
            signed_load(url, keyring=ring)


def test_a_url_without_a_bucket_is_told(s3: LocalS3, ring: Keyring) -> None:
    assert s3.url
    for url in ("s3://", "s3:///"):
        with pytest.raises(PicklesealError, match="names no bucket"):
            signed_load(url, keyring=ring)
    done = call("audit", "s3://")
    assert done.returncode == 2
    assert "names no bucket" in done.stderr


def test_a_large_object_takes_a_few(
    s3: LocalS3, ring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "RANGE", 4 * MIB)
    array = np.arange(2_000_000)
    data = sealed(array, ring)
    put(s3, "it.pkl", data)
    s3.requests.clear()
    assert np.array_equal(signed_load("s3://models/it.pkl", keyring=ring), array)
    assert len(s3.requests) == 8
    assert sum(gets(s3)) < len(data) + objects.SMALL + MIB


class Handle(io.RawIOBase):
    """A handle without read-ahead, which counts what it is asked for."""

    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)
        self.asked = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self.asked += 1
        return self._file.readinto(buffer)


@pytest.mark.parametrize("act", [signed_load, verify])
def test_a_handle_without_read_ahead_is_asked_a_few_times(
    ring: Keyring, act: Callable[..., Any]
) -> None:
    handle = Handle(sealed(np.zeros(25_000_000), ring) + b"behind")
    act(handle, keyring=ring)
    assert handle.asked <= 9  # one more is s3fs's question for the size
    assert handle.read() == b"behind"


def test_a_handle_of_s3fs_is_asked_a_few_times(s3: LocalS3, ring: Keyring) -> None:
    import fsspec

    array = np.arange(2_000_000)
    put(s3, "it.pkl", sealed(array, ring))
    s3.requests.clear()
    with fsspec.filesystem("s3").open("s3://models/it.pkl", "rb", cache_type="none") as file:
        assert np.array_equal(signed_load(file, keyring=ring), array)
    assert len(gets(s3)) <= 7


def test_no_key_travels(s3: LocalS3, ring_directory: Path) -> None:
    url = "s3://models/it.pkl"
    signed_dump(np.arange(9), url, keyring=ring_directory)
    signed_load(url, keyring=ring_directory)
    rotate(ring_directory)
    reseal(url, keyring=ring_directory)
    audit("s3://models", keyring=ring_directory).report()
    sent = b"".join(one.sent for one in s3.requests)
    assert len(secrets_of(ring_directory)) == 2
    for secret in secrets_of(ring_directory):
        assert secret.encode() not in sent


# --- what goes wrong -------------------------------------------------------------------------


@pytest.mark.parametrize("act", [signed_load, verify])
def test_an_object_that_is_replaced_between_two_ranges_is_read_anew(
    s3: LocalS3, ring: Keyring, act: Callable[..., Any]
) -> None:
    before, after = (sealed(np.full(1_500_000, number), ring) for number in (1.0, 2.0))
    put(s3, "it.pkl", before)
    s3.fault = once(
        lambda environ: environ.get("HTTP_RANGE", "bytes=0").startswith("bytes=3"),
        lambda: put(s3, "it.pkl", after),
    )
    found = act("s3://models/it.pkl", keyring=ring)
    if act is signed_load:
        assert set(found) == {2.0}
    assert get(s3, "it.pkl") == after


def test_an_audit_never_mixes_two_versions(s3: LocalS3, ring: Keyring) -> None:
    before, after = (sealed(np.full(1_500_000, number), ring) for number in (1.0, 2.0))
    put(s3, "it.pkl", before)
    s3.fault = once(
        lambda environ: "HTTP_RANGE" in environ, lambda: put(s3, "it.pkl", after + b"more")
    )
    (finding,) = audit("s3://models", keyring=ring).report().findings
    assert finding.verdict == "malformed"  # as the newer object is
    assert finding.size == len(after) + 4


def test_an_object_that_is_replaced_all_the_time_is_no_verdict(s3: LocalS3, ring: Keyring) -> None:
    versions = [sealed(np.full(1_500_000, number), ring) for number in (1.0, 2.0)]
    put(s3, "it.pkl", versions[0])

    def fault(environ: dict[str, Any]) -> None:
        if environ["REQUEST_METHOD"] == "HEAD":
            versions.reverse()
            put(s3, "it.pkl", versions[0])

    s3.fault = fault
    with pytest.raises(OSError, match="replaced"):
        signed_load("s3://models/it.pkl", keyring=ring)
    (finding,) = audit("s3://models", keyring=ring).report().findings
    assert finding.verdict == "unreadable"


def test_a_changed_object_is_refused(s3: LocalS3, ring: Keyring) -> None:
    data = bytearray(sealed(np.arange(1_500_000), ring))
    data[len(data) // 2] ^= 1
    put(s3, "it.pkl", bytes(data))
    with pytest.raises(BadSealError, match=r"s3://models/it\.pkl"):
        signed_load("s3://models/it.pkl", keyring=ring)
    put(s3, "plain.pkl", pickle.dumps([1]))
    with pytest.raises(NotSealedError, match=r"s3://models/plain\.pkl"):
        signed_load("s3://models/plain.pkl", keyring=ring)


def test_an_empty_object_is_refused(s3: LocalS3, ring: Keyring) -> None:
    put(s3, "it.pkl", b"")
    with pytest.raises(NotSealedError):
        signed_load("s3://models/it.pkl", keyring=ring)
    (finding,) = audit("s3://models", keyring=ring).report().findings
    assert finding.verdict == "no pickle found"


def test_a_missing_object_and_a_missing_bucket_are_told(s3: LocalS3, ring: Keyring) -> None:
    for url in ("s3://models/none.pkl", "s3://no-such-bucket/none.pkl"):
        for act in (signed_load, verify, audit):
            with pytest.raises(FileNotFoundError) as caught:
                act(url, keyring=ring)
            assert caught.value.filename == url


@pytest.fixture
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have botocore and s3fs wait a hundredth of what they would before they ask again."""
    sleep = asyncio.sleep
    monkeypatch.setattr(asyncio, "sleep", lambda seconds: sleep(seconds / 100))


@pytest.mark.usefixtures("_short_waits")
def test_throttling_is_waited_out(s3: LocalS3, ring: Keyring) -> None:
    put(s3, "it.pkl", sealed([1, 2], ring))
    left = [2]

    def fault(_: dict[str, Any]) -> Answer | None:
        left[0] -= 1
        return refusal("503 Slow Down", "SlowDown") if left[0] >= 0 else None

    s3.fault = fault
    assert signed_load("s3://models/it.pkl", keyring=ring) == [1, 2]
    assert left[0] < 0


def test_a_server_that_sends_less_than_was_asked_for_proves_nothing_of_an_object(
    s3: LocalS3, ring_directory: Path
) -> None:
    obj = list(range(2_000_000))  # of 10 MB, all of which is looked at
    stored = {"bare.pkl": pickle.dumps(obj), "it.pkl": sealed(obj, open_keyring(ring_directory))}
    for name, data in stored.items():
        put(s3, name, data)

    def half(environ: dict[str, Any]) -> Answer | None:
        start, _, end = environ.get("HTTP_RANGE", "bytes=-").removeprefix("bytes=").partition("-")
        if not start or int(end) - int(start) < 2 * MIB:
            return None
        data = stored[environ["PATH_INFO"].rpartition("/")[2]]
        part = data[int(start) : (int(start) + int(end)) // 2]

        def answer(_: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
            start_response("206 Partial Content", [("Content-Length", str(len(part)))])
            return [part]

        return answer

    s3.fault = half
    for name in stored:
        (finding,) = audit(f"s3://models/{name}", keyring=ring_directory)
        assert finding.verdict is Verdict.UNREADABLE
    assert run("verify", "s3://models/it.pkl", "--keyring", ring_directory).returncode == 2


def test_a_connection_that_is_lost_amid_a_body_is_made_again(s3: LocalS3, ring: Keyring) -> None:
    data = sealed(np.arange(100_000), ring)
    put(s3, "it.pkl", data)
    left = [1]

    def fault(environ: dict[str, Any]) -> Answer | None:
        if environ["REQUEST_METHOD"] != "GET":
            return None
        left[0] -= 1
        return cut_off(len(data), len(data) // 2) if left[0] >= 0 else None

    s3.fault = fault
    assert len(signed_load("s3://models/it.pkl", keyring=ring)) == 100_000


def test_a_refused_read_is_no_verdict(s3: LocalS3, ring_directory: Path) -> None:
    put(s3, "it.pkl", sealed([1], open_keyring(ring_directory)))

    def fault(environ: dict[str, Any]) -> Answer | None:
        one_object = environ["PATH_INFO"].count("/") > 1
        return refusal("403 Forbidden", "AccessDenied") if one_object else None

    s3.fault = fault
    with pytest.raises(PermissionError) as caught:
        signed_load("s3://models/it.pkl", keyring=ring_directory)
    assert caught.value.filename == "s3://models/it.pkl"
    (finding,) = audit("s3://models", keyring=ring_directory).report().findings
    assert (finding.verdict.value, finding.level.label) == ("unreadable", "warning")
    done = call("verify", "s3://models", "--keyring", ring_directory, "--json")
    assert done.returncode == 2
    assert as_json(done)["files"][0]["verdict"] == "unreadable"


def test_a_list_that_is_refused_is_no_empty_bucket(s3: LocalS3, ring_directory: Path) -> None:
    put(s3, "it.pkl", b"")
    s3.fault = lambda _: refusal("403 Forbidden", "AccessDenied")
    with pytest.raises(PermissionError):
        audit("s3://models", keyring=ring_directory)
    done = call("verify", "s3://models", "--keyring", ring_directory)
    assert done.returncode == 2
    assert "nothing to" not in done.stderr


def test_a_write_that_is_refused_leaves_what_was_there(s3: LocalS3, ring: Keyring) -> None:
    put(s3, "it.pkl", b"before")

    def fault(environ: dict[str, Any]) -> Answer | None:
        put_it = environ["REQUEST_METHOD"] == "PUT"
        return refusal("403 Forbidden", "AccessDenied") if put_it else None

    s3.fault = fault
    with pytest.raises(PermissionError):
        signed_dump([1], "s3://models/it.pkl", keyring=ring)
    assert get(s3, "it.pkl") == b"before"


@pytest.mark.sweep
def test_an_upload_in_parts_that_fails_leaves_nothing(s3: LocalS3, ring: Keyring) -> None:
    def fault(environ: dict[str, Any]) -> Answer | None:
        second = "partNumber=2" in environ.get("QUERY_STRING", "")
        return refusal("403 Forbidden", "AccessDenied") if second else None

    s3.fault = fault
    with pytest.raises(PermissionError):
        signed_dump(np.zeros(101 * MIB, np.uint8), "s3://models/it.pkl", keyring=ring)
    assert "partNumber=3" in " ".join(one.query for one in s3.requests)
    assert names_in(s3) == set()
    assert not s3.client().list_multipart_uploads(Bucket=BUCKET).get("Uploads")


# --- many objects ----------------------------------------------------------------------------


def test_an_audit_of_a_bucket_takes_one_request_an_object(s3: LocalS3, ring: Keyring) -> None:
    for number in range(5):
        put(s3, f"a/{number}.pkl", sealed(number, ring))
    put(s3, "b/plain.pkl", pickle.dumps({"weights": [1, 2]}))
    put(s3, "b/armed.pkl", b"cos\nsystem\n(S'true'\ntR.")
    put(s3, "readme.txt", b"models of the team")
    s3.requests.clear()
    report = audit(["s3://models/"], keyring=ring, exclude=["s3://models/a/4*"]).report()
    assert {finding.path[len("s3://models/") :]: finding.kind for finding in report.findings} == {
        **{f"a/{number}.pkl": "sealed" for number in range(4)},
        "a/4.pkl": "skipped",
        "b/armed.pkl": "unsealed, reaches beyond",
        "b/plain.pkl": "unsealed, data only",
        "readme.txt": "no pickle found",
    }
    assert len(gets(s3)) == 7


def test_an_audit_reads_the_first_objects_while_a_bucket_is_listed(
    s3: LocalS3, ring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"m/{number}.pkl" for number in range(5)]
    for name in names:
        put(s3, name, sealed(0, ring))
    s3.requests.clear()
    with monkeypatch.context() as patch:
        patch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "2")
        found = [finding.path for finding in audit("s3://models/m", keyring=ring)]
    assert found == [f"s3://models/{name}" for name in names]
    asked = ["list" if "prefix=m%2F&" in one.query else one.path for one in s3.requests]
    first = asked.index("/models/m/0.pkl")
    a, b, c, d, e = (f"/models/{name}" for name in names)
    assert asked[first - 1 :] == ["list", a, b, "list", c, d, "list", e]


def test_a_list_that_ends_too_early_is_told_and_makes_nothing_missing(
    s3: LocalS3, ring_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        put(s3, f"m/{number}.pkl", sealed(number, open_keyring(ring_directory)))
    keyring = ("--keyring", ring_directory)
    listed = "s3://models/it.inventory"
    assert call("audit", "s3://models/m", "--inventory", listed, *keyring).returncode == 0

    def fault(environ: dict[str, Any]) -> Answer | None:
        later = "continuation-token" in environ.get("QUERY_STRING", "")
        return refusal("403 Forbidden", "AccessDenied") if later else None

    s3.fault = fault
    with monkeypatch.context() as patch:
        patch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "2")
        alone = call("verify", "s3://models/m", "--json", *keyring)
        done = call("audit", "s3://models/m", "--baseline", listed, "--json", *keyring)
    verdicts = [one["verdict"] for one in as_json(alone)["files"]]
    assert (alone.returncode, verdicts) == (2, ["whole", "whole", "unreadable"])
    assert done.returncode == 2
    verdicts = [one["verdict"] for one in as_json(done)["findings"]]
    assert verdicts == ["sealed", "sealed", *["unreadable"] * 4]


def test_an_object_is_audited_whose_name_others_begin_with(
    s3: LocalS3, ring_directory: Path
) -> None:
    put(s3, "m/it.pkl", pickle.dumps([1]))
    put(s3, "m/it.pkl/inside.pkl", sealed([1], open_keyring(ring_directory)))
    for root in ("s3://models", "s3://models/m/it.pkl"):
        kinds = {one.path[-9:]: one.kind for one in audit(root, keyring=ring_directory)}
        assert kinds == {"/m/it.pkl": "unsealed, data only", "nside.pkl": "sealed"}
    done = call("verify", "s3://models/m/it.pkl", "--keyring", ring_directory)
    assert done.returncode == 1


def test_an_object_whose_name_fsspec_takes_for_another_is_no_verdict(
    s3: LocalS3, ring: Keyring
) -> None:
    put(s3, "it.pkl", sealed([1], ring))
    for name in ("it.pkl/", "it.pkl?versionId=1"):
        put(s3, name, pickle.dumps([2]))
    put(s3, "folder/", b"")
    verdicts = {one.path[len("s3://models/") :]: one for one in audit("s3://models", keyring=ring)}
    assert {name: one.verdict.value for name, one in verdicts.items()} == {
        "it.pkl": "sealed",
        "it.pkl/": "unreadable",
        "it.pkl?versionId=1": "unreadable",
    }
    assert "takes the name" in verdicts["it.pkl/"].reason
    before = get(s3, "it.pkl")
    with pytest.raises(OSError, match="takes the name"):
        signed_dump([3], "s3://models/it.pkl?versionId=1", keyring=ring)
    assert get(s3, "it.pkl") == before


ODD = (
    "a#b",
    "a?b",
    "a b",
    "a%2Fb",
    "é/ü",
    "/lead",
    "x/../up",
    "d//e",
    "a*[b]",
    "-",
    "a+&=b",
    "d//a:b@e",
)


def test_objects_with_odd_names_are_found_and_read(s3: LocalS3, ring: Keyring) -> None:
    for name in ODD:
        signed_dump(name, f"s3://models/{name}", keyring=ring, context="odd")
    assert names_in(s3) == set(ODD)
    verify_all = audit("s3://models", keyring=ring, context="odd")
    assert {one.path: one.verdict.value for one in verify_all} == {
        f"s3://models/{name}": "sealed" for name in ODD
    }
    for name in ODD:
        assert signed_load(f"s3://models/{name}", keyring=ring, context="odd") == name


@pytest.mark.usefixtures("_short_waits")
@pytest.mark.parametrize(
    "who",
    [[], pytest.param(["--backend", "threading", "--jobs", "2"], marks=pytest.mark.sweep)],
    ids=["alone", "workers"],
)
def test_a_store_that_throttles_makes_no_file_a_damaged_one(
    s3: LocalS3, ring_directory: Path, monkeypatch: pytest.MonkeyPatch, who: list[str]
) -> None:
    """Every third answer is a 503, and each one for two objects."""
    ring = open_keyring(ring_directory)
    put(s3, "fine/large.pkl", sealed(np.zeros(10 * MIB, np.uint8), ring))
    for number in range(4):
        put(s3, f"fine/{number}.pkl", sealed(number, ring))
    put(s3, "lost/sealed.pkl", sealed(0, ring))
    put(s3, "lost/bare.pkl", pickle.dumps(0))
    turns = itertools.count()

    def fault(environ: dict[str, Any]) -> Answer | None:
        busy = "/lost/" in environ["PATH_INFO"] or next(turns) % 3 == 0
        return refusal("503 Slow Down", "SlowDown") if busy else None

    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")  # botocore's; s3fs has five of its own
    s3.fault = fault
    audited = as_json(call("audit", "s3://models", "--keyring", ring_directory, "--json", *who))
    kinds = {one["path"].partition("models/")[2]: one for one in audited["findings"]}
    fine = {name for name, one in kinds.items() if one["verdict"] == "sealed"}
    assert fine == {f"fine/{name}.pkl" for name in ("large", *range(4))}
    for name in ("lost/sealed.pkl", "lost/bare.pkl"):
        assert (kinds[name]["verdict"], kinds[name]["level"]) == ("unreadable", "warning")
        assert "told by a test" in kinds[name]["reason"], "in the words of the store"
    done = call("verify", "s3://models", "--keyring", ring_directory, "--json", *who)
    assert done.returncode == 2
    verdicts = [one["verdict"] for one in as_json(done)["files"]]
    assert (verdicts.count("whole"), verdicts.count("unreadable")) == (5, 2)


def shared(s3: LocalS3, ring: Keyring) -> tuple[Any, Any]:
    """Return the audit of a bucket by this process, and by workers in shares of 3 MiB."""
    here = audit("s3://models", keyring=ring).report()
    s3.requests.clear()
    there = audit("s3://models", keyring=ring, n_jobs=2, backend="threading").report()
    return here, there


@pytest.fixture
def _small_shares(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readings, "_SHARE_BYTES", 3 * MIB)


@pytest.mark.usefixtures("_small_shares")
def test_several_workers_share_a_large_object(s3: LocalS3, ring: Keyring) -> None:
    arrays = [np.ones(500_001, np.uint8), np.arange(1_300_000), np.zeros(7, np.uint8)]
    whole = sealed(arrays, ring)
    put(s3, "whole.pkl", whole)
    for name, at in (("early.pkl", 2 * MIB), ("late.pkl", len(whole) - 40)):
        changed = bytearray(whole)
        changed[at] ^= 1
        put(s3, name, bytes(changed))
    put(s3, "small.pkl", sealed([1], ring))
    put(s3, "bare.pkl", pickle.dumps(arrays))
    here, there = shared(s3, ring)
    assert there.findings == here.findings
    assert there.workers.read == 5
    ranges = [one.range for one in s3.requests if "whole.pkl" in one.path and one.range]
    starts = {int(one.removeprefix("bytes=").partition("-")[0]) // MIB for one in ranges}
    assert starts == {0, 2, 5, 8}
    assert sum(gets(s3)) < 3.5 * len(whole)


@pytest.mark.usefixtures("_small_shares")
def test_shares_of_what_is_not_one_envelope_are_no_verdict(s3: LocalS3, ring: Keyring) -> None:
    whole = sealed(np.arange(1_300_000), ring)
    for name, data in (("two", whole * 2), ("more", whole + b"."), ("cut", whole[:-1])):
        put(s3, f"{name}.pkl", data)
    here, there = shared(s3, ring)
    assert there.findings == here.findings
    assert there.workers.read == 0


@pytest.mark.usefixtures("_small_shares")
def test_shares_of_two_versions_are_not_put_together(s3: LocalS3, ring: Keyring) -> None:
    whole = sealed(np.arange(1_300_000), ring)
    changed = whole[:-100] + bytes([whole[-100] ^ 1]) + whole[-99:]
    put(s3, "it.pkl", whole)
    s3.fault = once(
        lambda environ: environ.get("HTTP_RANGE", "bytes=0").startswith("bytes=7"),
        lambda: put(s3, "it.pkl", changed),
    )
    report = audit("s3://models", keyring=ring, n_jobs=1, backend="sequential").report()
    assert [one.verdict.value for one in report.findings] == ["bad seal, body"]
    assert report.workers is not None
    assert report.workers.read == 0


@pytest.mark.sweep
def test_workers_read_a_bucket_and_hold_no_key(s3: LocalS3, ring: Keyring) -> None:
    for number in range(3):
        put(s3, f"{number}.pkl", sealed(number, ring))
    put(s3, "plain.pkl", pickle.dumps([1]))
    here = audit("s3://models", keyring=ring).report()
    s3.requests.clear()
    get_reusable_executor().shutdown()  # those of an earlier test have its environment
    there = audit("s3://models", keyring=ring, n_jobs=2, backend="loky").report()
    get_reusable_executor().shutdown()
    assert there.findings == here.findings
    assert len(gets(s3)) == 4


def test_a_large_unsealed_pickle_is_graded_from_a_part_of_it(s3: LocalS3, ring: Keyring) -> None:
    data = pickle.dumps(np.zeros(30 * MIB, np.uint8), protocol=5)
    put(s3, "it.pkl", data)
    s3.requests.clear()
    (finding,) = audit("s3://models/it.pkl", keyring=ring).report().findings
    assert finding.kind == "unsealed, data only"
    assert sum(gets(s3)) < 2 * MIB


def test_a_baseline_in_the_bucket_tells_what_changed(s3: LocalS3, ring_directory: Path) -> None:
    ring = open_keyring(ring_directory)
    for number in range(3):
        put(s3, f"m/{number}.pkl", sealed(number, ring, serial=5))
    keyring = ("--keyring", ring_directory)
    listed = "s3://models/lists/it.inventory"
    done = call("audit", "s3://models/m", "--inventory", listed, *keyring)
    assert done.returncode == 0, done.stderr
    assert audit("s3://models/m", baseline=listed, keyring=ring).report().level.label == "none"
    put(s3, "m/0.pkl", sealed(0, ring, serial=4))
    put(s3, "m/moved.pkl", get(s3, "m/1.pkl"))
    s3.client().delete_object(Bucket=BUCKET, Key="m/1.pkl")
    s3.client().delete_object(Bucket=BUCKET, Key="m/2.pkl")
    done = call("audit", "s3://models/m", "--baseline", listed, "--json", *keyring)
    assert done.returncode == 1
    found = {
        one["path"][len("s3://models/m/") :]: one["change"] for one in as_json(done)["findings"]
    }
    assert found == {
        "0.pkl": "replaced by an older one",
        "moved.pkl": "moved",
        "2.pkl": "missing",
    }


def test_a_list_of_a_revoked_key_takes_as_many_requests(s3: LocalS3, ring_directory: Path) -> None:
    put(s3, "m/0.pkl", sealed(0, open_keyring(ring_directory)))
    listed = "s3://models/lists/it.inventory"
    call("audit", "s3://models/m", "--inventory", listed, "--keyring", ring_directory)
    sha256 = hashlib.sha256(get(s3, "lists/it.inventory")).hexdigest()
    counts = []
    for _ in range(2):
        s3.requests.clear()
        read_inventory(listed, keyring=open_keyring(ring_directory), sha256=sha256)
        counts.append(len(s3.requests))
        first = primary_of(ring_directory)
        rotate(ring_directory)
        revoke(ring_directory, first)
    assert counts[0] == counts[1]


def test_a_bucket_is_resealed_as_a_folder_is(s3: LocalS3, ring_directory: Path) -> None:
    url = "s3://models"
    for number in range(3):
        signed_dump(number, f"{url}/m/{number}.pkl", keyring=ring_directory, context="m")
    put(s3, "m/readme.txt", b"text")
    new = rotate(ring_directory)
    keyring = ("--keyring", ring_directory)
    dry = call("reseal", url, "--dry-run", "--json", *keyring)
    assert {one["outcome"] for one in as_json(dry)["files"]} == {"resealed", "not sealed"}
    assert inspect(f"{url}/m/0.pkl", keyring=ring_directory).key_id != new
    done = call("reseal", url, "--json", *keyring)
    assert done.returncode == 0
    for number in range(3):
        assert inspect(f"{url}/m/{number}.pkl", keyring=ring_directory).key_id == new
    again = call("reseal", url, "--json", *keyring)
    assert {one["outcome"] for one in as_json(again)["files"]} == {"already", "not sealed"}


def test_two_reseals_lose_nothing(s3: LocalS3, ring_directory: Path) -> None:
    url = "s3://models/it.pkl"
    signed_dump("old", url, keyring=ring_directory)
    rotate(ring_directory)
    newer = sealed("newer", open_keyring(ring_directory))
    s3.fault = once(
        lambda environ: environ["REQUEST_METHOD"] == "PUT" and "HTTP_IF_MATCH" in environ,
        lambda: put(s3, "it.pkl", newer),
    )
    with pytest.raises(TargetError):
        reseal(url, keyring=ring_directory)
    assert get(s3, "it.pkl") == newer


def test_objects_are_adopted_and_extracted(
    s3: LocalS3, ring_directory: Path, tmp_path: Path
) -> None:
    plain = {f"v1/{name}.pkl": pickle.dumps({"name": name}) for name in ("fraud", "spam")}
    for name, data in plain.items():
        put(s3, f"m/{name}", data)
    put(s3, "m/armed.pkl", b"cos\nsystem\n(S'true'\ntR.")
    put(s3, "m/notes.txt", b"text")
    keyring = ("--keyring", ring_directory)
    adopt = ("adopt", "s3://models/m", "--context", "team/{path}", "--yes", "--json", *keyring)
    dry = call(*adopt, "--dry-run")
    assert {one["outcome"] for one in as_json(dry)["files"]} == {
        "ready",
        "refused",
        "no pickle found",
    }
    assert names_in(s3) == {*(f"m/{name}" for name in plain), "m/armed.pkl", "m/notes.txt"}
    done = call(*adopt)
    assert done.returncode == 1  # the armed one
    for name, data in plain.items():
        stem = name.removesuffix(".pkl")
        loaded = signed_load(
            f"s3://models/m/{name}", keyring=ring_directory, context=f"team/{stem}"
        )
        assert loaded == pickle.loads(data)
        assert get(s3, f"m/{name}.unsealed") == data
    again = as_json(call(*adopt))
    assert {one["outcome"] for one in again["files"]} == {
        "already sealed",
        "skipped",
        "refused",
        "no pickle found",
    }
    out = tmp_path / "plain"
    for target in (str(out), "s3://models/plain"):
        extract = ("extract", "s3://models/m/v1", "--context", "*", "--to", target, *keyring)
        assert call(*extract).returncode == 0
        assert as_json(call(*extract, "--json"))["files"][0]["outcome"] == "already there"
    for name, data in plain.items():
        inside = name.removeprefix("v1/")
        assert (out / inside).read_bytes() == get(s3, f"plain/{inside}") == data


def test_objects_are_adopted_into_another_prefix(s3: LocalS3, ring_directory: Path) -> None:
    put(s3, "m/v1/it.pkl", pickle.dumps([1]))
    arguments = ("--to", "s3://models/sealed", "--yes", "--keyring", ring_directory)
    assert call("adopt", "s3://models/m", *arguments).returncode == 0
    assert names_in(s3) == {"m/v1/it.pkl", "sealed/v1/it.pkl"}
    assert signed_load("s3://models/sealed/v1/it.pkl", keyring=ring_directory) == [1]
    put(s3, "sealed/v1/it.pkl", b"of somebody else")
    assert call("adopt", "s3://models/m", *arguments).returncode == 2
    assert get(s3, "sealed/v1/it.pkl") == b"of somebody else"


@pytest.mark.parametrize("name", ["../../out.pkl", "/out.pkl", "a/../../../out.pkl"])
def test_no_name_of_an_object_leads_out_of_a_folder(
    s3: LocalS3, ring_directory: Path, tmp_path: Path, name: str
) -> None:
    put(s3, f"m/{name}", sealed([1], open_keyring(ring_directory)))
    folder = tmp_path / "some" / "where" / "plain"
    arguments = ("--to", folder, "--keyring", ring_directory)
    done = call("extract", "s3://models/m", *arguments)
    assert done.returncode == 2, done.stdout + done.stderr
    assert not list(tmp_path.rglob("out.pkl"))


def test_reports_show_urls(s3: LocalS3, ring_directory: Path, tmp_path: Path) -> None:
    put(s3, "a b/it.pkl", pickle.dumps([1]))
    sarif, page = tmp_path / "it.sarif", tmp_path / "it.html"
    done = run(
        *("audit", "s3://models", "--keyring", ring_directory),
        *("--output", f"sarif={sarif}", "--html", page),
    )
    assert done.returncode == 1
    assert "s3://models/a b/it.pkl" in done.stdout
    (result,) = json.loads(sarif.read_text())["runs"][0]["results"]
    location = result["locations"][0]["physicalLocation"]["artifactLocation"]
    assert location["uri"] == "s3://models/a%20b/it.pkl"
    assert "uriBaseId" not in location
    assert "it.pkl" in page.read_text()


def test_a_url_without_fsspec_tells_what_to_install(tmp_path: Path, ring_directory: Path) -> None:
    (tmp_path / "fsspec.py").write_text("raise ImportError('not here')\n")
    env = {"PYTHONPATH": str(tmp_path)}
    done = run("verify", "s3://models/it.pkl", "--keyring", ring_directory, env=env)
    assert done.returncode == 2
    assert "pickleseal[stores]" in done.stderr


def test_a_store_whose_package_is_missing_tells_which(tmp_path: Path, ring_directory: Path) -> None:
    (tmp_path / "s3fs.py").write_text("raise ImportError('not here')\n")
    env = {"PYTHONPATH": str(tmp_path)}
    done = run("verify", "s3://models/it.pkl", "--keyring", ring_directory, env=env)
    assert done.returncode == 2
    assert "s3fs" in done.stderr


def test_fsspec_is_imported_only_for_a_url(ring_directory: Path, tmp_path: Path) -> None:
    signed_dump([1], tmp_path / "it.pkl", keyring=ring_directory)
    (tmp_path / "fsspec.py").write_text("raise SystemExit('imported')\n")
    env = {"PYTHONPATH": str(tmp_path)}
    for command in ("verify", "audit", "inspect"):
        done = run(command, tmp_path / "it.pkl", "--keyring", ring_directory, env=env)
        assert done.returncode == 0, done.stderr
