"""Real clusters whose workers have no keyring: what they read, and what they can make of it."""

import json
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from armed import made as armed
from clusters import Dask, bare, dask
from command import as_json, run
from mixed import mixed

from pickleseal import NoKeyError, PicklesealError, Verdict, audit, signed_dump
from pickleseal.auditing import readings
from pickleseal.auditing.workers import connected
from pickleseal.keys.store.changes import create_key
from pickleseal.keys.store.lookup import find_keyring

pytestmark = [pytest.mark.sweep, pytest.mark.once, pytest.mark.timeout(300)]

_LIAR = """
import sys
from pathlib import Path
from pickleseal.auditing import readings
from pickleseal.auditing.findings import Finding, Level, Verdict
from pickleseal.files.walk import Found

if not hasattr(readings, "honest"):  # Dask loads what it preloads twice
    readings.honest = readings.read
honest = readings.honest

def read(files, order, share):
    answer = honest(files, order, share)
    for number, found in enumerate(files):
        kept = Path({kept!r}, Path(found.path).name)
        if kept.exists():
            answer.readings[number] = honest([Found(str(kept))], order).readings[0]
        elif "armed" in found.path:
            fine = Finding(found.path, Verdict.NO_PICKLE, Level.NONE)
            answer.readings[number] = readings.Reading(fine)
        elif "forged" in found.path:
            reading = answer.readings[number]
            records = tuple(one._replace(leaves=(bytes(32),)) for one in reading.records)
            answer.readings[number] = reading._replace(records=records)
        elif "called sealed" in found.path:
            fine = Finding(found.path, Verdict.SEALED, Level.NONE)
            answer.readings[number] = readings.Reading(fine)
    return answer

readings.read = read
"""


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Dask]:
    pytest.importorskip("distributed")
    folder = tmp_path / "cluster"
    folder.mkdir()
    with dask(folder) as made:
        yield made


@pytest.fixture
def _small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readings, "_BATCH_FILES", 3)


def verdicts(audited: Any) -> dict[str, str]:
    return {os.path.basename(one.path): one.verdict for one in audited}


@pytest.mark.usefixtures("_small_batches")
def test_workers_of_dask_have_no_key_and_the_report_is_the_same(
    tmp_path: Path, cluster: Dask
) -> None:
    from distributed import Client

    models, ring = mixed(tmp_path)
    cluster.worker()
    cluster.worker()
    with Client(cluster.address) as client:
        client.wait_for_workers(2)
        with pytest.raises(NoKeyError):
            client.run(find_keyring)
        audited = audit(models, keyring=ring, backend="dask")
        found = [one.to_dict() for one in audited]
    assert found == [one.to_dict() for one in audit(models, keyring=ring)]
    workers = audited.report().workers
    assert workers is not None
    assert workers.backend == "dask"
    assert workers.read > 50


@pytest.mark.usefixtures("_small_batches")
def test_verify_by_workers_of_dask_is_the_same(tmp_path: Path, cluster: Dask) -> None:
    models, ring = mixed(tmp_path)
    cluster.worker()
    command = ["verify", models, "--keyring", ring, "--json"]
    alone = run(*command)
    done = run(*command, "--backend", "dask", "--scheduler", cluster.address)
    told = as_json(done)
    workers = told.pop("workers")
    assert workers["read"] > 50
    assert (done.returncode, {**told, "workers": None}) == (alone.returncode, as_json(alone))


def test_processes_of_loky_return_the_same(tmp_path: Path) -> None:
    models, ring = mixed(tmp_path)
    audited = audit(models, keyring=ring, backend="loky", n_jobs=2)
    assert list(audited) == list(audit(models, keyring=ring))


@pytest.mark.usefixtures("_small_batches")
def test_a_worker_that_dies_and_one_that_comes_late_change_nothing(
    tmp_path: Path, cluster: Dask
) -> None:
    models, ring = mixed(tmp_path)
    for number in range(300):
        signed_dump(number, models / f"model {number}", keyring=ring)
    first = cluster.worker()
    with connected("dask", cluster.address):
        audited = audit(models, keyring=ring, backend="dask")
        found = [next(audited)]
        cluster.worker()
        first.kill()
        found += audited
    assert found == list(audit(models, keyring=ring))


def test_a_worker_that_lies_shows_nothing_but_what_was_sealed_and_a_recheck_finds_it(
    tmp_path: Path, cluster: Dask
) -> None:
    models, kept, ring = (tmp_path / name for name in ("models", "kept", "ring"))
    models.mkdir()
    kept.mkdir()
    create_key(ring, now=0)
    for name in ("one", "other", "forged", "honest"):
        signed_dump(name, models / name, keyring=ring)
    (kept / "one").write_bytes((models / "one").read_bytes())
    (kept / "other").write_bytes((models / "one").read_bytes())
    (models / "one").write_bytes(b"what somebody put here")
    (models / "armed").write_bytes(armed(str(tmp_path))[0].data)
    (models / "called sealed").write_bytes(b"by the worker")
    preload = tmp_path / "liar.py"
    preload.write_text(_LIAR.format(kept=str(kept)), encoding="utf-8")
    cluster.worker("--preload", str(preload))
    with connected("dask", cluster.address):
        believed = verdicts(audit(models, keyring=ring, backend="dask"))
        audited = audit(models, keyring=ring, backend="dask", recheck=1.0)
        checked = {os.path.basename(one.path): one for one in audited}
        partly = verdicts(audit(models, keyring=ring, backend="dask", recheck=1e-9))
    # It can bring back what was sealed, and say that there is no pickle.
    assert believed == {
        "one": Verdict.SEALED,
        "other": Verdict.SEALED,
        "armed": Verdict.NO_PICKLE,
        "forged": Verdict.BAD_BODY,
        "called sealed": Verdict.NO_PICKLE,
        "honest": Verdict.SEALED,
    }
    told = {name for name, one in checked.items() if "a worker read it" in one.reason}
    assert told == {"one", "other", "armed", "forged"}
    assert checked["armed"].verdict is partly["armed"] is Verdict.UNSEALED
    assert partly["one"] is Verdict.SEALED
    workers = audited.report().workers
    assert workers is not None
    assert workers.again == 5
    # What it calls changed, verify reads itself.
    options = ["--keyring", ring, "--json", "--backend", "dask", "--scheduler", cluster.address]
    verified = {
        os.path.basename(one["path"]): one
        for one in as_json(run("verify", models, *options, "--recheck", "100%"))["files"]
    }
    assert verified["forged"]["verdict"] == "whole"
    assert verified["armed"]["verdict"] == "refused"
    assert verified["one"]["verdict"] == "skipped", "no pickle lies there"
    assert all("a worker read it" in verified[name]["reason"] for name in ("one", "other"))


def test_another_version_of_pickleseal_is_named(tmp_path: Path, cluster: Dask) -> None:
    (tmp_path / "file").write_bytes(b"")
    preload = tmp_path / "older.py"
    preload.write_text(
        "from pickleseal.auditing import readings\nreadings.__version__ = '0.0.1'\n",
        encoding="utf-8",
    )
    cluster.worker("--preload", str(preload))
    with (
        connected("dask", cluster.address),
        pytest.raises(PicklesealError, match=r"0\.0\.1"),
    ):
        audit(tmp_path / "file", backend="dask").report()


_RAY = """
import ray, sys
from pickleseal import NoKeyError
from pickleseal.keys.store.lookup import find_keyring
ray.init(num_cpus=2, include_dashboard=False, object_store_memory=80_000_000, log_to_driver=False)
try:
    ray.get(ray.remote(find_keyring).remote())
except NoKeyError:
    print(ray.get_runtime_context().gcs_address, flush=True)
sys.stdin.read()
"""


def test_workers_of_ray_have_no_key_and_the_report_is_the_same(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    models, ring = mixed(tmp_path)
    secret = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    with subprocess.Popen(
        [sys.executable, "-c", _RAY],
        env={**bare(tmp_path / "home"), **secret},
        stdin=subprocess.PIPE,  # it runs until this is closed
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as head:
        assert head.stdout is not None
        address = head.stdout.readline().strip()
        assert address
        where = ["--backend", "ray", "--scheduler", address]
        options = ["--keyring", str(ring), "--json", "--fail-on", "never", *where]
        done = subprocess.run(
            [sys.executable, "-m", "pickleseal", "audit", str(models), *options],
            env={**os.environ, **secret},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["findings"] == [one.to_dict() for one in audit(models, keyring=ring)]
    assert report["workers"]["read"] > 50


@pytest.mark.timeout(600)
def test_workers_of_spark_return_the_same(tmp_path: Path) -> None:
    for module in ("pyspark", "joblibspark"):
        pytest.importorskip(module)
    if shutil.which("java") is None:
        pytest.skip("Spark runs in Java")
    models, ring = mixed(tmp_path)
    command = [sys.executable, "-m", "pickleseal", "audit", str(models), "--keyring", str(ring)]
    spark = {
        "PYSPARK_PYTHON": sys.executable,
        "PYSPARK_SUBMIT_ARGS": "--master local[2] --conf spark.ui.enabled=false pyspark-shell",
    }

    def audited(**environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*command, "--json", "--fail-on", "never", "--backend", "spark"],
            env={**os.environ, **environment},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )

    done = audited(**spark)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["findings"] == [one.to_dict() for one in audit(models, keyring=ring)]
    assert report["workers"]["read"] > 50
    # Where workers fail, or Spark itself, it is no verdict.
    for broken in ({**spark, "PYSPARK_PYTHON": "/bin/false"}, {"PATH": "/nowhere"}):
        done = audited(**broken)
        assert done.returncode == 2
        assert json.loads(done.stdout)["error"]["kind"] == "PicklesealError"
