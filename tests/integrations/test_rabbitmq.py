"""Celery and dramatiq with a real RabbitMQ, which has its own way with headers, and dies once."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from celery_worker import celery_worker
from local_rabbitmq import local_rabbitmq
from local_redis import local_redis, restartable_redis

from pickleseal.keys.store.changes import rotate

celery = pytest.importorskip("celery")

pytestmark = [
    pytest.mark.sweep,
    pytest.mark.filterwarnings("ignore:You're running the worker with superuser"),
]

WAIT = 120


class Running(NamedTuple):
    shop: Any
    broker: str
    restart: Callable[[], None]
    folder: Path


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("rabbitmq")
    with (
        local_rabbitmq(folder / "rabbitmq") as (broker, restart),
        local_redis(folder) as results,
        celery_worker(folder, broker, results) as shop,
    ):
        # Else a message that RabbitMQ has not written yet dies with it, before it was promised.
        shop.app.conf.broker_transport_options = {"confirm_publish": True}
        yield Running(shop, broker, restart, folder)


@pytest.fixture(autouse=True)
def _ring(running: Running, monkeypatch: pytest.MonkeyPatch, _no_keys_around: None) -> None:
    monkeypatch.setenv("PICKLESEAL_KEYRING", str(running.folder / "keys"))


def test_tasks_retries_chords_times_and_commands_work(running: Running) -> None:
    shop = running.shop
    assert shop.predict.delay([1, 2]).get(timeout=WAIT) == [2, 4]
    assert shop.flaky.delay("x").get(timeout=WAIT) == ("x", 2)
    parts = [shop.predict.s([1]), shop.predict.s([2, 3])]
    assert celery.chord(parts)(shop.total.s()).get(timeout=WAIT) == 12
    soon = shop.predict.apply_async(([1],), countdown=0.2, expires=600, headers={"tenant": "a"})
    assert soon.get(timeout=WAIT) == [2]
    assert shop.put_back.delay([1]).get(timeout=WAIT) == [1]
    answers = shop.app.control.inspect(timeout=WAIT, limit=1).ping()
    assert [answer["ok"] for answer in answers.values()] == ["pong"]


@pytest.mark.parametrize(
    ("header", "value"), [("task", "shop.danger"), ("retries", 2), ("x-death", [{"count": 1}])]
)
def test_a_message_with_a_changed_header_is_refused(
    running: Running, header: str, value: object
) -> None:
    shop = running.shop
    sent = shop.predict.apply_async(([1],), queue="aside")
    with shop.app.connection_for_write() as connection, connection.channel() as channel:
        message = celery.app.amqp.Queue("aside", channel=channel).get(no_ack=True)
        shop.app.amqp.Producer(channel).publish(
            message.body,
            routing_key="celery",
            headers={**message.headers, header: value},
            **{
                name: message.properties[name]
                for name in ("correlation_id", "reply_to", "delivery_mode")
            },
            content_type=message.content_type,
            content_encoding=message.content_encoding,
        )
    if header.startswith("x-"):  # as RabbitMQ adds them
        assert sent.get(timeout=WAIT) == [2]
    else:
        assert shop.predict.delay([2]).get(timeout=WAIT) == [4]
        assert "Can't decode message body" in (running.folder / "worker.log").read_text()
        assert not sent.ready()
    assert not (running.folder / "mark").exists()


def test_no_message_is_lost_when_the_broker_dies_and_comes_back(running: Running) -> None:
    shop = running.shop
    sent = []
    for number in range(20):
        if number == 10:
            rotate(running.folder / "keys", now=1)
        sent.append(shop.predict.apply_async(([number],), countdown=3))
    running.restart()
    assert [task.get(timeout=WAIT) for task in sent] == [[2 * number] for number in range(20)]
    assert shop.predict.delay([1]).get(timeout=WAIT) == [2]


def test_no_message_is_lost_when_redis_dies_and_comes_back(tmp_path: Path) -> None:
    kept = ("--appendonly", "yes", "--appendfsync", "always")
    with (
        restartable_redis(tmp_path, *kept) as (url, restart),
        celery_worker(tmp_path, f"{url}/0", f"{url}/1") as shop,
    ):
        sent = [shop.predict.delay([number]).id for number in range(100)]
        restart()
        sent += [shop.predict.delay([number]).id for number in range(100, 110)]
        found = [shop.app.AsyncResult(task).get(timeout=WAIT) for task in sent]
        assert found == [[2 * number] for number in range(110)]


def test_dramatiq_moves_what_is_not_sealed_to_the_dead_letters(running: Running) -> None:
    dramatiq = pytest.importorskip("dramatiq")
    from dramatiq.brokers.rabbitmq import RabbitmqBroker

    from pickleseal.integrations.dramatiq import Encoder

    ran: list[object] = []
    broker = RabbitmqBroker(url=running.broker.rstrip("/"), confirm_delivery=True)
    actor = dramatiq.actor(ran.append, actor_name="note", queue_name="notes", broker=broker)
    worker = dramatiq.Worker(broker, worker_timeout=100, worker_threads=1)
    try:
        actor.send("unsealed")
        dramatiq.set_encoder(Encoder("another"))
        actor.send("sealed for another")
        dramatiq.set_encoder(Encoder("shop"))
        actor.send({"a": 1})
        worker.start()
        actor.send_with_options(args=({"b": 2},), delay=10)
        broker.join("notes", timeout=WAIT * 1000)
        worker.join()
    finally:
        worker.stop()
        dramatiq.set_encoder(dramatiq.JSONEncoder())
    assert sorted(map(str, ran)) == ["{'a': 1}", "{'b': 2}"]
    assert broker.get_queue_message_counts("notes")[2] == 2
    broker.close()
