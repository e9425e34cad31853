"""dramatiq with a real Redis and a real worker: what is planted or moved never runs."""

import importlib.util
import json
import pickle
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from command import unmeasured
from local_redis import local_redis
from watching import armed

from pickleseal import Suite, dumps
from pickleseal.keys.store.changes import create_key, rotate

dramatiq = pytest.importorskip("dramatiq")
redis = pytest.importorskip("redis")

from dramatiq.errors import DecodeError  # noqa: E402
from dramatiq.results import ResultFailure, ResultMissing  # noqa: E402

pytestmark = [pytest.mark.sweep, pytest.mark.timeout(300)]

SHOP = Path(__file__).parent / "dramatiq_shop"
WAIT = 60


class Running(NamedTuple):
    """A worker, and what lies around it."""

    shop: Any
    client: Any
    ring: Path
    mark: Path
    log: Path

    def result(self, message: Any) -> Any:
        return message.get_result(block=True, timeout=WAIT * 1000)

    def encoded(self, actor: Any, *arguments: Any, **changes: Any) -> bytes:
        return actor.message(*arguments).copy(**changes).encode()  # type: ignore[no-any-return]

    def put(self, data: bytes, queue: str = "default") -> None:
        self.client.hset(f"dramatiq:{queue}.msgs", "planted", data)
        self.client.rpush(f"dramatiq:{queue}", "planted")

    def refused(self, data: bytes) -> str:
        """Return what the worker logs of a message that it refuses, once it has worked on."""
        before = self.log.read_text().count("refused a message")
        self.put(data)
        until = time.monotonic() + WAIT
        while (text := self.log.read_text()).count("refused a message") == before:
            assert time.monotonic() < until, text
            time.sleep(0.05)
        assert self.result(self.shop.predict.send([1])) == [2]
        assert not self.mark.exists()
        return text.rpartition("refused a message")[2]


@contextmanager
def worker(log: Path) -> Iterator[None]:
    """Run a worker with the ring that PICKLESEAL_KEYRING names."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "dramatiq", "shop_actors", "-p", "1", "-t", "1"],
            cwd=SHOP,
            env=unmeasured(),
            stdout=output,
            stderr=output,
        )
        try:
            yield
        finally:
            process.terminate()
            process.wait()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("dramatiq")
    ring = folder / "keys"
    create_key(ring, suite=Suite.BLAKE3, note="", now=0)
    with local_redis(folder) as url, pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHOP_REDIS", url)
        patch.setenv("SHOP_MARK", str(folder / "mark"))
        patch.setenv("PICKLESEAL_KEYRING", str(ring))
        spec = importlib.util.spec_from_file_location("shop_actors", SHOP / "shop_actors.py")
        assert spec is not None
        assert spec.loader is not None
        shop = importlib.util.module_from_spec(spec)
        patch.setitem(sys.modules, "shop_actors", shop)
        spec.loader.exec_module(shop)
        with worker(folder / "worker.log"):
            yield Running(
                shop, redis.Redis.from_url(url), ring, folder / "mark", folder / "worker.log"
            )
        dramatiq.set_encoder(dramatiq.JSONEncoder())


@pytest.fixture(autouse=True)
def _ring(running: Running, monkeypatch: pytest.MonkeyPatch, _no_keys_around: None) -> None:
    monkeypatch.setenv("PICKLESEAL_KEYRING", str(running.ring))


def test_results_failures_retries_delays_and_pipelines_work(
    running: Running, tmp_path: Path
) -> None:
    shop = running.shop
    assert running.result(shop.predict.send([1, 2])) == [2, 4]
    assert running.result(shop.predict.send_with_options(args=([1],), delay=10)) == [2]
    assert running.result(shop.flaky.send(str(tmp_path / "tried"))) == "done"
    failed = shop.fails.send()
    with pytest.raises(ResultFailure, match="a lack of data"):
        running.result(failed)
    pipe = shop.predict.message([1]) | shop.predict.message()
    assert pipe.run().get_result(block=True, timeout=WAIT * 1000) == [4]
    with pytest.raises(ResultMissing):
        shop.predict.message([1]).get_result()


def test_a_message_that_is_not_sealed_for_the_queue_is_refused(
    running: Running, tmp_path: Path
) -> None:
    danger = running.shop.danger
    data = danger.message().asdict()
    for planted in (
        json.dumps(data).encode(),
        pickle.dumps(data),
        armed(running.mark),
        dumps(data),
        running.encoded(danger)[:-1],
    ):
        running.refused(planted)
    said = running.refused(running.encoded(danger, queue_name="another"))
    assert "it was sent to another" in said


def test_a_message_of_another_namespace_is_refused(running: Running) -> None:
    from pickleseal.integrations.dramatiq import Encoder

    running.refused(Encoder("another").encode(running.shop.danger.message().asdict()))


def test_a_result_is_no_message_and_a_message_no_result(running: Running) -> None:
    message = running.shop.predict.send([1])
    assert running.result(message) == [2]
    backend = running.shop.broker.get_results_backend()
    place = backend.build_message_key(message)
    result = running.client.lindex(place, 0)
    running.refused(result)
    for planted in (message.encode(), armed(running.mark), b""):
        running.client.lset(place, 0, planted)
        with pytest.raises(DecodeError):
            message.get_result()
    running.client.lset(place, 0, result)
    assert message.get_result() == [2]
    assert not running.mark.exists()


def test_a_result_under_another_message_is_refused(running: Running) -> None:
    one, other = running.shop.predict.send([1]), running.shop.predict.send([2])
    assert (running.result(one), running.result(other)) == ([2], [4])
    place = running.shop.broker.get_results_backend().build_message_key
    running.client.lset(place(other), 0, running.client.lindex(place(one), 0))
    with pytest.raises(DecodeError):
        other.get_result(block=True, timeout=1000)
    assert one.get_result() == [2]


def test_keys_are_rotated_under_traffic_and_no_message_is_lost(running: Running) -> None:
    sent = []
    for number in range(60):
        if number % 20 == 10:
            rotate(running.ring, now=number)
        sent.append(running.shop.predict.send([number]))
    assert [running.result(message) for message in sent] == [[2 * n] for n in range(60)]


def test_what_a_worker_lacks_the_key_for_goes_to_another_when_it_ends(
    running: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What an ended worker had fetched is given back; here at once, else after a minute."""
    from pickleseal.integrations.dramatiq import Encoder, RedisBroker

    def consumed() -> Any:
        broker = RedisBroker(
            client=running.client,
            namespace="slow",
            heartbeat_timeout=500,
            maintenance_chance=1_000_000,
        )
        broker.declare_queue("default")
        consumer = broker.consume("default", timeout=1)
        return next(consumer)

    old = tmp_path / "old"
    shutil.copytree(running.ring, old)
    rotate(running.ring, now=100)
    try:
        broker = RedisBroker(client=running.client, namespace="slow")
        sent = broker.enqueue(running.shop.predict.message([1]))
        with monkeypatch.context() as patch:
            patch.setenv("PICKLESEAL_KEYRING", str(old))
            assert consumed() is None
        time.sleep(0.6)  # until the worker that ended counts as dead
        assert consumed().message_id == sent.message_id
    finally:
        dramatiq.set_encoder(Encoder())
