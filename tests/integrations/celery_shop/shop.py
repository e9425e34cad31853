"""The application of a Celery worker that tests start."""

import os
from typing import Any

from celery import group
from celery.exceptions import Reject

from pickleseal.integrations.celery import Celery

app = Celery("shop", broker=os.environ["SHOP_BROKER"], backend=os.environ["SHOP_RESULTS"])
app.conf.update(
    broker_connection_retry_on_startup=True,
    result_expires=600,
    task_send_sent_event=True,
    worker_send_task_events=True,
)


@app.task
def predict(values: list[int]) -> list[int]:
    return [2 * value for value in values]


@app.task
def danger(_values: object) -> str:
    with open(os.environ["SHOP_MARK"], "a", encoding="utf-8") as mark:
        mark.write("ran\n")
    return "ran"


@app.task(bind=True, max_retries=3)
def flaky(self: Any, value: object) -> tuple[object, int]:
    if self.request.retries < 2:
        raise self.retry(countdown=0)
    return value, self.request.retries


@app.task(bind=True, acks_late=True)
def put_back(self: Any, value: object) -> object:
    if not self.request.delivery_info["redelivered"]:
        raise Reject(requeue=True)
    return value


@app.task
def fails() -> None:
    raise ValueError("a lack of data")


@app.task
def noted(task_id: str) -> str:
    return task_id


@app.task
def total(parts: list[list[int]]) -> int:
    return sum(sum(part) for part in parts)


@app.task(bind=True)
def spread(self: Any, lists: list[list[int]]) -> Any:
    return self.replace(group(predict.s(values) for values in lists))
