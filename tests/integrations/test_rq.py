"""RQ with a real Redis and a real worker that forks: what is changed or moved never runs."""

import base64
import datetime as dt
import gc
import pickle
import shutil
import time
import warnings
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import rq_jobs
from command import unmeasured

from pickleseal import Suite
from pickleseal.keys.store.changes import create_key, rotate

redis = pytest.importorskip("redis")
rq = pytest.importorskip("rq")

from rq.exceptions import NoSuchJobError  # noqa: E402

from pickleseal.integrations.rq import Group, Job  # noqa: E402

pytestmark = [
    pytest.mark.sweep,
    pytest.mark.filterwarnings("ignore:This process:DeprecationWarning"),
]


class Armed:
    """Leaves a mark when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return rq_jobs.danger, ()


class Running(NamedTuple):
    queue: Any
    client: Any
    mark: Path
    ring: Path

    def work(self) -> None:
        worker = rq.SimpleWorker([self.queue], connection=self.client, job_class=Job)
        worker.work(burst=True, logging_level="CRITICAL")

    def done(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        job = self.queue.enqueue(function, *arguments, **options)
        self.work()
        return self.queue.fetch_job(job.id)


@pytest.fixture
def running(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    ring, mark = tmp_path / "keys", tmp_path / "mark"
    create_key(ring, suite=Suite.BLAKE3, note="", now=0)
    monkeypatch.setenv("PICKLESEAL_KEYRING", str(ring))
    monkeypatch.setenv("JOBS_MARK", str(mark))
    with redis.Redis.from_url(server) as client:
        client.flushall()
        yield Running(rq.Queue(connection=client, job_class=Job), client, mark, ring)
    with warnings.catch_warnings(action="ignore", category=ResourceWarning):
        gc.collect()  # RQ leaves a pipeline open, which opens a connection when it is collected


def test_jobs_results_callbacks_and_retries_work(running: Running) -> None:
    job = running.done(rq_jobs.predict, [1, 2], meta={"for": "a test"}, job_timeout=30)
    assert (job.return_value(), job.meta) == ([2, 4], {"for": "a test"})
    assert running.done(rq_jobs.fails, retry=rq.Retry(max=1)).is_failed
    first = running.queue.enqueue(rq_jobs.predict, [1])
    second = running.queue.enqueue(rq_jobs.predict, [2], depends_on=first)
    running.work()
    assert [running.queue.fetch_job(j.id).return_value() for j in (first, second)] == [[2], [4]]
    running.done(rq_jobs.predict, [1], on_success=rq.Callback(rq_jobs.danger))
    assert running.mark.exists()
    found = Job.fetch_many([first.id, "gone"], running.client)
    assert [job and job.id for job in found] == [first.id, None]


def test_a_worker_in_a_process_of_its_own_works(running: Running) -> None:
    import subprocess
    import sys

    job = running.queue.enqueue(rq_jobs.predict, [3])
    url = "redis://127.0.0.1:{port}".format(**running.client.connection_pool.connection_kwargs)
    subprocess.run(
        [
            *(sys.executable, "-m", "rq.cli", "worker", "--burst", "--url", url),
            *(
                "--job-class",
                "pickleseal.integrations.rq.Job",
                "--path",
                str(Path(__file__).parent.parent),
            ),
        ],
        check=True,
        capture_output=True,
        env=unmeasured(),
    )
    assert running.queue.fetch_job(job.id).return_value() == [6]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("success_callback_name", "rq_jobs.danger"),
        ("failure_callback_name", "rq_jobs.danger"),
        ("origin", "another"),
        ("timeout", "99999"),
        ("webhooks", "[]"),
        ("dependency_ids", '["another"]'),
        ("dependency_id", "another"),
        ("created_at", "no date"),
        ("pickleseal", b""),
    ],
)
def test_a_job_with_a_changed_field_is_no_job(
    running: Running, field: str, value: Any, caplog: pytest.LogCaptureFixture
) -> None:
    job = running.queue.enqueue(rq_jobs.predict, [1])
    running.client.hset(job.key, field, value)
    with pytest.raises(NoSuchJobError):
        Job.fetch(job.id, connection=running.client)
    assert [record.name for record in caplog.records] == ["pickleseal.integrations"]
    running.work()
    assert not running.mark.exists()
    assert not job.results()


def test_a_job_under_the_id_of_another_is_no_job(running: Running) -> None:
    one = running.queue.enqueue(rq_jobs.danger)
    other = running.queue.enqueue(rq_jobs.predict, [1])
    running.queue.empty()
    other = running.queue.enqueue(rq_jobs.predict, [1])
    one = Job.create(rq_jobs.danger, connection=running.client)
    one.save()
    everything = running.client.hgetall(one.key)
    running.client.hset(other.key, "data", everything[b"data"])
    running.work()
    assert running.queue.fetch_job(other.id).is_failed
    running.client.hset(other.key, mapping=everything)
    assert running.queue.fetch_job(other.id) is None
    assert not running.mark.exists()


def test_a_pickle_or_a_result_is_no_call(running: Running) -> None:
    suggested = running.done(rq_jobs.suggest)
    (stream,) = running.client.xrange(f"rq:results:{suggested.id}")
    result = base64.b64decode(stream[1][b"return_value"])
    call = pickle.dumps(("rq_jobs.danger", None, (), {}))
    for planted in (call, result):
        for job_id in (None, suggested.id):
            job = running.queue.enqueue(rq_jobs.predict, [1], job_id=job_id)
            running.client.hset(job.key, "data", zlib.compress(planted))
            running.work()
            assert running.queue.fetch_job(job.id).is_failed
    assert not running.mark.exists()


def test_a_scheduled_job_is_moved_without_unpickling(running: Running) -> None:
    """RQ's scheduler takes RQ's own job class, which would unpickle `meta`."""
    at = dt.timedelta(seconds=-1)
    job = running.queue.enqueue_in(at, rq_jobs.predict, [1], meta={"for": "a test"})
    planted = running.queue.enqueue_in(at, rq_jobs.predict, [2])
    plain = rq.Queue("plain", connection=running.client)
    unsealed = plain.enqueue_in(at, rq_jobs.predict, [3], meta={"for": "RQ"})
    running.client.hset(planted.key, "meta", pickle.dumps(Armed()))
    rq.SimpleWorker([running.queue], connection=running.client, job_class=Job).work(
        burst=True, with_scheduler=True, logging_level="CRITICAL"
    )
    rq.SimpleWorker([plain], connection=running.client).work(
        burst=True, with_scheduler=True, logging_level="CRITICAL"
    )
    assert not running.mark.exists()
    found = running.queue.fetch_job(job.id)
    assert (found.return_value(), found.meta) == ([2], {"for": "a test"})
    found = plain.fetch_job(unsealed.id)
    assert (found.return_value(), found.meta) == ([6], {"for": "RQ"})


def test_jobs_from_before_a_rotation_run(running: Running) -> None:
    job = running.queue.enqueue(rq_jobs.predict, [1])
    rotate(running.ring, now=1)
    running.work()
    assert running.queue.fetch_job(job.id).return_value() == [2]


def test_no_function_of_rq_unpickles_what_was_planted(running: Running) -> None:
    """These take no job class, and RQ's own would unpickle `meta`."""

    def planted(function: Callable[..., Any], **options: Any) -> Any:
        job = running.queue.enqueue(function, [1], **options)
        running.work()
        running.client.hset(job.key, "meta", pickle.dumps(Armed()))
        return job

    rq.requeue_job(planted(rq_jobs.fails).id, running.client)
    assert running.queue.job_ids
    rq.cancel_job(running.queue.job_ids[0], running.client)
    assert not running.queue.job_ids
    job = planted(rq_jobs.predict)
    running.queue.finished_job_registry.remove(job.id, delete_job=True)
    assert not job.exists(job.id, running.client)
    assert not running.mark.exists()


def test_a_worker_that_cleans_up_unpickles_no_planted_dependent(
    running: Running, caplog: pytest.LogCaptureFixture
) -> None:
    """RQ's own takes dependents of an abandoned job from a queue without a job class."""
    job = running.done(rq_jobs.predict, [1])
    plain = rq.Queue(connection=running.client).enqueue(rq_jobs.danger)
    running.client.lrem(running.queue.key, 0, plain.id)
    running.client.hset(plain.key, "meta", pickle.dumps(Armed()))
    running.client.hset(job.key, "status", "started")
    running.client.sadd(job.dependents_key, plain.id)
    running.client.zadd(running.queue.started_job_registry.key, {f"{job.id}:execution": 1})
    running.work()
    assert running.queue.failed_job_registry.get_job_ids() == [job.id]
    assert not running.mark.exists()
    (record,) = (one for one in caplog.records if one.name == "pickleseal.integrations")
    assert plain.id in record.message


def test_functions_without_a_job_class_serve_sealed_and_plain_jobs(running: Running) -> None:
    plain = rq.Queue("plain", connection=running.client)
    for queue, job_class in ((running.queue, Job), (plain, rq.job.Job)):
        job = queue.enqueue(rq_jobs.fails, meta={"for": "a test"})
        worker = rq.SimpleWorker([queue], connection=running.client, job_class=job_class)
        worker.work(burst=True, logging_level="CRITICAL")
        rq.requeue_job(job.id, running.client)
        assert queue.job_ids == [job.id]
        assert queue.fetch_job(job.id).meta == {"for": "a test"}
        worker.work(burst=True, logging_level="CRITICAL")
        assert queue.fetch_job(job.id).is_failed
        queue.failed_job_registry.remove(job.id, delete_job=True)
        assert queue.fetch_job(job.id) is None


def test_the_jobs_of_a_group_and_an_execution_are_sealed(running: Running) -> None:
    group = Group.create(connection=running.client)
    calls = [rq.Queue.prepare_data(rq_jobs.predict, ([n],)) for n in (1, 2)]
    one, other = group.enqueue_many(running.queue, calls)
    running.client.hset(one.key, "meta", pickle.dumps(Armed()))
    running.client.hset(other.key, "origin", "another")
    assert [job.id for job in group.get_jobs()] == [one.id]
    running.client.hset(one.key, "meta", b"")
    assert group.get_jobs()[0].args == ([1],)
    assert not running.mark.exists()
    with running.client.pipeline() as pipeline:
        rq.executions.Execution.create(one, ttl=60, pipeline=pipeline)
        pipeline.execute()
    assert [execution.job for execution in one.get_executions()] == [one]


def test_a_scheduler_that_is_not_forked_unpickles_nothing(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    from multiprocessing import get_context

    monkeypatch.setattr(rq.scheduler, "ForkProcess", get_context("spawn").Process)
    at = dt.timedelta(seconds=-1)
    job = running.queue.enqueue_in(at, rq_jobs.predict, [1])
    running.client.hset(job.key, "meta", pickle.dumps(Armed()))
    scheduler = rq.scheduler.RQScheduler([running.queue], connection=running.client, interval=1)
    scheduler.acquire_locks()
    process = scheduler.start()
    try:
        until = time.monotonic() + 60
        while not running.queue.job_ids:
            assert time.monotonic() < until
            time.sleep(0.05)
    finally:
        process.terminate()
        process.join()
    assert not running.mark.exists()


def test_a_worker_that_lacks_the_key_runs_nothing(
    running: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(running.ring, tmp_path / "old")
    rotate(running.ring, now=1)
    job = running.queue.enqueue(rq_jobs.danger)
    with monkeypatch.context() as patch:
        patch.setenv("PICKLESEAL_KEYRING", str(tmp_path / "old"))
        running.work()
    assert not running.mark.exists()
    assert not running.queue.job_ids
    running.queue.push_job_id(job.id)  # it is still there, as RQ keeps what it takes off a queue
    running.work()
    assert running.mark.exists()


def test_keys_are_rotated_under_traffic_and_no_job_is_lost(running: Running) -> None:
    sent = []
    for number in range(30):
        if number % 10 == 5:
            rotate(running.ring, now=number)
        sent.append(running.queue.enqueue(rq_jobs.predict, [number]))
        if number % 10 == 8:
            running.work()
    running.work()
    assert [job.return_value() for job in sent] == [[2 * number] for number in range(30)]
