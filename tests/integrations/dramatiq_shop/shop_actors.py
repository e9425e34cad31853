"""The actors of a dramatiq worker that tests start."""

import os

import dramatiq
from dramatiq.results import Results

from pickleseal.integrations.dramatiq import RedisBackend, RedisBroker

URL = os.environ["SHOP_REDIS"]
broker = RedisBroker(url=URL)
broker.add_middleware(Results(backend=RedisBackend(url=URL)))
dramatiq.set_broker(broker)


@dramatiq.actor(store_results=True)
def predict(values: list[int]) -> list[int]:
    return [2 * value for value in values]


@dramatiq.actor(store_results=True, max_retries=0)
def fails() -> None:
    raise ValueError("a lack of data")


@dramatiq.actor(store_results=True, min_backoff=1, max_backoff=1)
def flaky(mark: str) -> str:
    if not os.path.exists(mark):
        with open(mark, "x", encoding="utf-8"):
            raise OSError("not yet")
    return "done"


@dramatiq.actor
def danger(*_arguments: object) -> None:
    with open(os.environ["SHOP_MARK"], "a", encoding="utf-8") as mark:
        mark.write("ran\n")
