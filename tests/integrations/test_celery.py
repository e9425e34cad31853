"""Celery with a real Redis and a real worker: what is moved or changed in the broker never runs."""

import base64
import datetime as dt
import json
import pickle
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from celery_worker import celery_worker
from local_redis import local_redis

from pickleseal import ContextError, Suite
from pickleseal.keys.store.changes import create_key, rotate

celery = pytest.importorskip("celery")
redis = pytest.importorskip("redis")

from celery.exceptions import ImproperlyConfigured  # noqa: E402
from kombu.exceptions import DecodeError  # noqa: E402

pytestmark = [
    pytest.mark.sweep,
    pytest.mark.timeout(300),
    pytest.mark.filterwarnings("ignore:You're running the worker with superuser"),
]

WAIT = 60


class Running(NamedTuple):
    """A worker, and what lies around it."""

    shop: Any
    broker: Any
    results: Any
    ring: Path
    mark: Path
    log: Path

    def refused(self, act: Callable[[], object]) -> str:
        """Return what the worker logs of a message that it refuses, once it has worked on."""
        before = self.log.read_text().count("Can't decode message body")
        act()
        until = time.monotonic() + WAIT
        while (text := self.log.read_text()).count("Can't decode message body") == before:
            assert time.monotonic() < until, text
            time.sleep(0.05)
        assert self.shop.predict.delay([1]).get(timeout=WAIT) == [2]
        assert not self.mark.exists()
        return text.rpartition("Can't decode message body")[2]

    def sent(self, task: Any, *arguments: Any, **options: Any) -> dict[str, Any]:
        """Return a message as a client sends it, which goes to no worker."""
        task.apply_async(arguments, queue="aside", **options)
        _, message = self.broker.brpop("aside")
        return json.loads(message)  # type: ignore[no-any-return]

    def put(self, message: dict[str, Any]) -> None:
        self.broker.lpush("celery", json.dumps(message))


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("celery")
    with local_redis(folder) as url, celery_worker(folder, f"{url}/0", f"{url}/1") as shop:
        yield Running(
            shop,
            redis.Redis.from_url(f"{url}/0"),
            redis.Redis.from_url(f"{url}/1"),
            folder / "keys",
            folder / "mark",
            folder / "worker.log",
        )


@pytest.fixture(autouse=True)
def _ring(worker: Running, monkeypatch: pytest.MonkeyPatch, _no_keys_around: None) -> None:
    monkeypatch.setenv("PICKLESEAL_KEYRING", str(worker.ring))


def test_tasks_results_retries_groups_and_chords_work(worker: Running) -> None:
    shop = worker.shop
    assert shop.predict.delay([1, 2]).get(timeout=WAIT) == [2, 4]
    assert shop.flaky.delay("x").get(timeout=WAIT) == ("x", 2)
    with pytest.raises(ValueError, match="a lack of data"):
        shop.fails.delay().get(timeout=WAIT)
    parts = [shop.predict.s([1]), shop.predict.s([2, 3])]
    assert celery.group(parts).apply_async().get(timeout=WAIT) == [[2], [4, 6]]
    assert celery.chord(parts)(shop.total.s()).get(timeout=WAIT) == 12
    assert celery.chain(shop.predict.s([1]), shop.predict.s()).delay().get(timeout=WAIT) == [4]
    assert shop.spread.delay([[1], [2]]).get(timeout=WAIT) == [[2], [4]]
    assert shop.predict.apply_async(([1],), countdown=0.2).get(timeout=WAIT) == [2]
    answers = shop.app.control.inspect(timeout=10, limit=1).ping()
    assert [answer["ok"] for answer in answers.values()] == ["pong"]


def test_headers_of_ones_own_are_bound_as_they_arrive(worker: Running) -> None:
    own = {"tenants": {1: "a", 10: "b", 2: ("c",)}, "since": dt.datetime(2026, 1, 2, tzinfo=dt.UTC)}
    assert worker.shop.predict.apply_async(([1],), headers=own).get(timeout=WAIT) == [2]


def test_a_large_message_can_be_compressed(worker: Running) -> None:
    sent = worker.shop.predict.apply_async(([1] * 10_000,), compression="zlib")
    assert sent.get(timeout=WAIT) == [2] * 10_000


def test_a_message_given_to_another_task_is_refused(worker: Running) -> None:
    message = worker.sent(worker.shop.predict, [1])
    message["headers"]["task"] = "shop.danger"
    said = worker.refused(lambda: worker.put(message))
    assert "shop.danger" in said


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("id", "11111111-1111-1111-1111-111111111111"),
        ("eta", "2099-01-01T00:00:00+00:00"),
        ("expires", "2099-01-01T00:00:00+00:00"),
        ("retries", 2),
        ("group", "another"),
        ("root_id", "another"),
        ("timelimit", [1, 1]),
        ("ignore_result", True),
        ("is_eager", True),
        ("chord", {"task": "shop.danger", "args": [[]], "kwargs": {}}),
    ],
)
def test_a_message_with_a_changed_or_added_header_is_refused(
    worker: Running, name: str, value: object
) -> None:
    message = worker.sent(worker.shop.predict, [1])
    assert message["headers"].get(name) != value
    message["headers"][name] = value
    worker.refused(lambda: worker.put(message))


def test_a_message_without_one_of_its_headers_is_refused(worker: Running) -> None:
    message = worker.sent(worker.shop.predict, [1], expires=60)
    del message["headers"]["expires"]
    worker.refused(lambda: worker.put(message))


def test_a_message_with_another_reply_address_is_refused(worker: Running) -> None:
    message = worker.sent(worker.shop.predict, [1])
    message["properties"]["reply_to"] = "the attacker's"
    worker.refused(lambda: worker.put(message))


def test_headers_that_a_broker_adds_are_no_reason_to_refuse(worker: Running) -> None:
    message = worker.sent(worker.shop.predict, [4])
    message["headers"]["x-death"] = [{"count": 1, "reason": "expired"}]
    worker.put(message)
    result = worker.shop.app.AsyncResult(message["headers"]["id"])
    assert result.get(timeout=WAIT) == [8]


def test_a_message_with_another_encoding_does_not_stop_the_worker(worker: Running) -> None:
    """Nobody seals it, and kombu raises what Celery does not expect; the worker then ends."""
    message = worker.sent(worker.shop.predict, [5])
    message["content-encoding"] = ["binary"]
    worker.put(message)
    result = worker.shop.app.AsyncResult(message["headers"]["id"])
    assert result.get(timeout=WAIT) == [10]


def test_a_message_that_goes_back_to_redis_is_delivered_again(worker: Running) -> None:
    """A worker that stops or rejects a message puts it back, and so does an expired visibility."""
    assert worker.shop.put_back.delay([1]).get(timeout=WAIT) == [1]


def test_a_message_of_plain_pickle_or_json_is_refused(worker: Running) -> None:
    arguments: tuple[Any, ...] = ([[1]], {}, {})
    for kind, body in (
        ("application/x-python-serialize", pickle.dumps(arguments)),
        ("application/json", json.dumps(arguments).encode()),
        ("application/x-pickleseal", pickle.dumps(arguments)),
    ):
        message = worker.sent(worker.shop.danger, [1])
        message["content-type"] = kind
        message["content-encoding"] = "binary"
        message["body"] = base64.b64encode(body).decode()
        worker.refused(lambda message=message: worker.put(message))  # type: ignore[misc]


def test_a_message_sealed_by_a_key_that_the_worker_lacks_is_refused(
    worker: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_key(tmp_path / "other", suite=Suite.BLAKE3, note="", now=0)
    with monkeypatch.context() as patch:
        patch.setenv("PICKLESEAL_KEYRING", str(tmp_path / "other"))
        message = worker.sent(worker.shop.predict, [1])
    worker.refused(lambda: worker.put(message))


def test_the_body_of_another_message_is_refused(worker: Running) -> None:
    one = worker.sent(worker.shop.predict, [1])
    other = worker.sent(worker.shop.predict, [1])
    one["body"] = other["body"]
    worker.refused(lambda: worker.put(one))


def test_a_command_to_workers_is_no_message_to_a_task(worker: Running) -> None:
    message = worker.sent(worker.shop.danger, [1])
    from pickleseal.integrations.celery import _encode

    message["body"] = base64.b64encode(_encode(([[1]], {}, {}))).decode()
    worker.refused(lambda: worker.put(message))


def test_a_result_under_the_id_of_another_task_is_refused(worker: Running) -> None:
    one = worker.shop.predict.delay([1])
    other = worker.shop.predict.delay([2])
    assert (one.get(timeout=WAIT), other.get(timeout=WAIT)) == ([2], [4])
    place = "celery-task-meta-"
    worker.results.set(place + other.id, worker.results.get(place + one.id))
    for look in (
        lambda: worker.shop.app.AsyncResult(other.id).get(timeout=WAIT),
        lambda: list(worker.shop.app.backend.get_many([other.id], timeout=1)),
    ):
        with pytest.raises(DecodeError, match="is the one of"):
            look()
    assert worker.shop.app.AsyncResult(one.id).get(timeout=WAIT) == [2]


def test_results_that_are_no_sealed_result_are_refused(worker: Running) -> None:
    sent = worker.shop.predict.delay([1])
    sent.get(timeout=WAIT)
    place = f"celery-task-meta-{sent.id}"
    body = base64.b64decode(worker.sent(worker.shop.predict, [1])["body"])
    forged = {"status": "SUCCESS", "result": "forged", "task_id": sent.id, "children": []}
    packed = celery.backends.base.COMPRESSED_PAYLOAD_MAGIC
    for planted in (
        *(pickle.dumps(forged), json.dumps(forged).encode(), body),
        *(packed + b"application/x-gzip\0junk", packed + b"no method\0", packed + b"\xff"),
    ):
        worker.results.set(place, planted)
        with pytest.raises(DecodeError):
            worker.shop.app.AsyncResult(sent.id).get(timeout=WAIT)


def test_results_in_files_are_bound_too(tmp_path: Path) -> None:
    from pickleseal.integrations.celery import Celery

    app = Celery("shop", broker="memory://", backend=f"file://{tmp_path}", set_as_current=False)
    for task_id in ("one", "other"):
        app.backend.store_result(task_id, [task_id], "SUCCESS")
        assert app.backend.get_result(task_id) == [task_id]
    (tmp_path / "celery-task-meta-other").write_bytes(
        (tmp_path / "celery-task-meta-one").read_bytes()
    )
    again = Celery("shop", broker="memory://", backend=f"file://{tmp_path}", set_as_current=False)
    assert again.backend.get_result("one") == ["one"]
    with pytest.raises(DecodeError, match="is the one of one"):
        again.backend.get_result("other")


def test_a_part_of_one_chord_is_no_part_of_another(worker: Running) -> None:
    shop, app = worker.shop, worker.shop.app
    backend = app.backend
    from pickleseal.integrations.celery import _Part, _part, _set

    with _set(_part, _Part("t", "g")):
        part = backend.encode([1, "t", "SUCCESS", [1]])
        assert backend.decode(part) == [1, "t", "SUCCESS", [1]]
    with _set(_part, _Part("u", "h")), pytest.raises(DecodeError):
        backend.decode(part)
    with pytest.raises(DecodeError):
        backend.decode(part)
    assert shop.predict.delay([1]).get(timeout=WAIT) == [2]


def test_keys_are_rotated_under_traffic_and_no_message_is_lost(worker: Running) -> None:
    sent = []
    for number in range(60):
        if number % 20 == 10:
            rotate(worker.ring, now=number)
        sent.append((number, worker.shop.predict.delay([number])))
    assert [task.get(timeout=WAIT) for _, task in sent] == [[2 * number] for number, _ in sent]


def test_what_cannot_be_pickled_is_an_error_of_kombu_where_it_is_sent(worker: Running) -> None:
    from kombu.exceptions import EncodeError

    with pytest.raises(EncodeError):
        worker.shop.predict.delay([lambda: None])


def test_settings_that_would_accept_unsealed_content_are_refused() -> None:
    from pickleseal.integrations.celery import Celery

    for setting in (
        {"accept_content": ["json", "pickleseal"]},
        {"task_serializer": "json"},
        {"result_serializer": "pickle"},
        {"result_accept_content": ["pickle"]},
        {"task_protocol": 1},
    ):
        app = Celery("shop", broker="memory://", backend="file:///nowhere", set_as_current=False)
        app.conf.update(setting)
        with pytest.raises(ImproperlyConfigured, match=next(iter(setting))):
            app.send_task("shop.predict")
    for backend in ("rpc://", "cache+memory://"):
        app = Celery("shop", broker="memory://", backend=backend, set_as_current=False)
        with pytest.raises(ImproperlyConfigured, match="cannot keep sealed results"):
            app.backend  # noqa: B018


def test_a_task_that_asks_for_another_serializer_is_refused_where_it_is_sent(
    worker: Running,
) -> None:
    with pytest.raises(ImproperlyConfigured, match="asks for the serializer 'json'"):
        worker.shop.predict.apply_async(([1],), serializer="json")


def test_tasks_that_were_revoked_or_have_expired_do_not_run(worker: Running) -> None:
    from celery.exceptions import TaskRevokedError

    revoked = worker.shop.danger.apply_async(([1],), countdown=3600)
    revoked.revoke()
    late = worker.shop.danger.apply_async(([1],), expires=dt.datetime(2026, 1, 2, tzinfo=dt.UTC))
    with pytest.raises(TaskRevokedError):
        late.get(timeout=WAIT)
    answers = worker.shop.app.control.inspect(timeout=WAIT, limit=1).revoked()
    assert [revoked.id in ids for ids in answers.values()] == [True]
    assert not worker.mark.exists()


def test_what_follows_a_failure_runs_too(worker: Running) -> None:
    shop = worker.shop
    noted = shop.noted.s().set(task_id="11111111-2222-3333-4444-555555555555")
    failed = shop.fails.apply_async(link_error=noted)
    with pytest.raises(ValueError, match="a lack of data"):
        failed.get(timeout=WAIT)
    assert shop.app.AsyncResult(noted.options["task_id"]).get(timeout=WAIT) == failed.id
    chord = celery.chord([shop.predict.s([1]), shop.fails.s()])(shop.total.s())
    with pytest.raises(ValueError, match="a lack of data"):
        chord.get(timeout=WAIT)


def test_the_body_of_a_task_is_no_command_to_workers(worker: Running) -> None:
    from pickleseal.integrations.celery import _decode

    message = worker.sent(worker.shop.danger, [1])
    with pytest.raises(ContextError):
        _decode(base64.b64decode(message["body"]))
