"""The tasks of a huey consumer that tests start."""

import os
from typing import Any

from pickleseal.integrations.huey import RedisHuey, SqliteHuey

PLACE = os.environ["SHOP_PLACE"]
shop: Any = (
    RedisHuey("shop", url=PLACE, read_timeout=0.05)
    if PLACE.startswith("redis")
    else SqliteHuey("shop", filename=PLACE)
)


@shop.task()
def predict(values: list[int]) -> list[int]:
    return [2 * value for value in values]


@shop.task()
def total(parts: list[list[int]]) -> int:
    return sum(sum(part) for part in parts)


@shop.task(retries=1)
def flaky(mark: str) -> str:
    if not os.path.exists(mark):
        with open(mark, "x", encoding="utf-8"):
            raise OSError("not yet")
    return "done"


@shop.task()
def fails() -> None:
    raise ValueError("a lack of data")


@shop.task()
def note(problem: Exception) -> str:
    return str(problem)


@shop.task()
def danger(*_arguments: object) -> None:
    with open(os.environ["SHOP_MARK"], "a", encoding="utf-8") as mark:
        mark.write("ran\n")
