"""huey with Redis, SQLite and a real consumer: what is planted or moved never runs."""

import datetime as dt
import importlib.util
import pickle
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from command import unmeasured
from watching import armed

from pickleseal import Suite, dumps
from pickleseal.keys.store.changes import create_key, rotate

huey = pytest.importorskip("huey")
redis = pytest.importorskip("redis")

from huey.exceptions import ConfigurationError, HueyException, TaskException  # noqa: E402

from pickleseal.integrations.huey import Huey, SqliteHuey  # noqa: E402

pytestmark = [pytest.mark.sweep, pytest.mark.timeout(300)]

SHOP = Path(__file__).parent / "huey_shop"
WAIT = 60


class Running(NamedTuple):
    """A huey of an application, and what lies around it."""

    tasks: Any
    place: str
    ring: Path
    mark: Path

    def work(self) -> None:
        """Run all that waits, as the consumer does."""
        shop = self.tasks.shop
        while (task := shop.dequeue()) is not None:
            shop.execute(task)
        for task in shop.read_schedule(dt.datetime(2999, 1, 1)):  # noqa: DTZ001 - huey's are naive
            shop.execute(task, task.eta)


@pytest.fixture(params=["Redis", "SQLite"])
def running(
    request: pytest.FixtureRequest, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Running]:
    ring, mark = tmp_path / "keys", tmp_path / "mark"
    create_key(ring, suite=Suite.BLAKE3, note="", now=0)
    redis.Redis.from_url(server).flushall()
    place = server if request.param == "Redis" else str(tmp_path / "shop.db")
    monkeypatch.setenv("PICKLESEAL_KEYRING", str(ring))
    monkeypatch.setenv("SHOP_PLACE", place)
    monkeypatch.setenv("SHOP_MARK", str(mark))
    spec = importlib.util.spec_from_file_location("shop_tasks", SHOP / "shop_tasks.py")
    assert spec is not None
    assert spec.loader is not None
    tasks = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "shop_tasks", tasks)
    spec.loader.exec_module(tasks)
    yield Running(tasks, place, ring, mark)
    if request.param == "SQLite":
        tasks.shop.storage.close()


def test_results_failures_retries_schedules_chains_and_chords_work(
    running: Running, tmp_path: Path
) -> None:
    tasks = running.tasks
    plain, flaky, failed = (
        tasks.predict([1, 2]),
        tasks.flaky(str(tmp_path / "tried")),
        tasks.fails(),
    )
    later = tasks.predict.schedule(([3],), delay=60)
    chain = tasks.shop.enqueue(tasks.predict.s([1]).then(tasks.predict))
    chord = tasks.shop.enqueue(
        huey.chord([tasks.predict.s([1]), tasks.predict.s([2])], tasks.total)
    )
    noted = tasks.fails.s()
    noted.error(tasks.note)
    tasks.shop.enqueue(noted)
    running.work()
    assert plain() == [2, 4]
    assert flaky() == "done"
    with pytest.raises(TaskException, match="a lack of data"):
        failed()
    assert later() == [6]
    assert [found.get() for found in chain] == [[2], [4]]
    assert chord.get() == 6
    assert noted.on_error is not None
    assert tasks.shop.result(noted.on_error.id) == "a lack of data"
    assert tasks.shop.pending() == tasks.shop.scheduled() == []


def test_a_revoked_task_does_not_run_and_a_lock_holds(running: Running) -> None:
    tasks = running.tasks
    one, other = tasks.danger(), tasks.predict([1])
    one.revoke()
    with tasks.shop.lock_task("a lock"), pytest.raises(huey.exceptions.TaskLockedException):
        tasks.shop.lock_task("a lock").acquire()
    running.work()
    assert not running.mark.exists()
    assert other() == [2]
    tasks.danger.revoke()
    tasks.danger()
    running.work()
    assert not running.mark.exists()
    tasks.danger.restore()


def test_a_task_that_is_not_sealed_for_the_queue_never_runs(
    running: Running, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shop = running.tasks.shop
    genuine = shop.serialize_task(running.tasks.danger.s())
    message = shop._registry.create_message(running.tasks.danger.s())
    another = Huey("another", storage_class=huey.storage.MemoryStorage)
    another._registry = shop._registry
    result = shop._seal(message, "data", "x")
    for planted in (
        *(pickle.dumps(message), armed(running.mark), b"", genuine[:-1]),
        *(dumps(message), another.serialize_task(running.tasks.danger.s()), result),
    ):
        shop.storage.enqueue(planted)
        with pytest.raises(HueyException, match="refused what is under task"):
            shop.dequeue()
        shop.storage.add_to_schedule(planted, dt.datetime(2000, 1, 1))  # noqa: DTZ001
        caplog.clear()
        assert shop.read_schedule() == []
        assert len(caplog.records) == 1
    running.work()
    assert not running.mark.exists()


def test_a_result_under_another_task_is_refused(running: Running) -> None:
    tasks, storage = running.tasks, running.tasks.shop.storage
    one, other = tasks.predict([1]), tasks.predict([2])
    running.work()
    storage.put_data(other.id, storage.peek_data(one.id))
    with pytest.raises(HueyException, match="refused what is under data"):
        other()
    for planted in (armed(running.mark), b"", dumps([9])):
        storage.put_data(other.id, planted)
        with pytest.raises(HueyException):
            tasks.shop.result(other.id)
    assert one() == [2]
    assert not running.mark.exists()


def test_a_planted_revocation_is_none(running: Running, caplog: pytest.LogCaptureFixture) -> None:
    tasks, storage = running.tasks, running.tasks.shop.storage
    first, second = tasks.predict([1]), tasks.predict([2])
    first.revoke()
    storage.put_data(second.task.revoke_id, storage.peek_data(first.task.revoke_id))
    storage.put_data(first.task.revoke_id, pickle.dumps((None, False)))
    running.work()
    assert (first(), second()) == ([2], [4])
    assert len([r for r in caplog.records if r.name == "pickleseal.integrations"]) == 2


def test_a_worker_that_lacks_the_key_runs_nothing(
    running: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(running.ring, tmp_path / "old")
    rotate(running.ring, now=1)
    running.tasks.danger()
    with monkeypatch.context() as patch:
        patch.setenv("PICKLESEAL_KEYRING", str(tmp_path / "old"))
        with pytest.raises(HueyException, match="does not have"):
            running.work()
        assert running.tasks.shop.dequeue() is None
    assert not running.mark.exists()


def test_tasks_can_be_compressed_and_a_serializer_is_refused(running: Running) -> None:
    small = SqliteHuey("shop", compression=True, filename=":memory:")
    small._registry = running.tasks.shop._registry
    sealed = small.serialize_task(running.tasks.predict.s([1] * 10_000))
    assert len(sealed) < 10_000
    assert running.tasks.shop.deserialize_task(sealed).args == ([1] * 10_000,)
    small.storage.close()
    with pytest.raises(ConfigurationError, match="of its own"):
        SqliteHuey(
            "shop", filename=":memory:", serializer=huey.serializer.SignedSerializer("secret")
        )


def test_keys_are_rotated_under_traffic_and_no_task_is_lost(running: Running) -> None:
    """A real consumer goes on after a task that it refuses."""
    consumer = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "huey.bin.huey_consumer",
            "shop_tasks.shop",
            "-w",
            "2",
            "-d",
            "0.05",
        ],
        cwd=SHOP,
        env=unmeasured(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    sent = []
    try:
        for number in range(30):
            if number % 10 == 5:
                rotate(running.ring, now=number)
                running.tasks.shop.storage.enqueue(armed(running.mark))
            sent.append(running.tasks.predict([number]))
        found = [task.get(blocking=True, timeout=WAIT) for task in sent]
    finally:
        consumer.terminate()
        log, _ = consumer.communicate()
    assert found == [[2 * number] for number in range(30)], log
    assert log.count("Error reading from queue") == 3
    assert not running.mark.exists()
