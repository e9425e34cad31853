"""Airflow: a backend of XComs that are sealed for their task, run, key and map index."""

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

from airflow.sdk import BaseXCom, get_current_context
from airflow.sdk.exceptions import AirflowFailException

from pickleseal.errors import PicklesealError, shown
from pickleseal.integrations.contexts import derived_context
from pickleseal.persistence.dump import signed_dumps
from pickleseal.persistence.load import signed_loads

_SEALED = "pickleseal"
_PLACE = "place"


class _Place(NamedTuple):
    """Where an XCom was pushed, or where one is asked for; None is any."""

    dag_id: str | None = None
    task_id: str | None = None
    run_id: str | None = None
    key: str | None = None
    map_index: int | None = None

    def context(self) -> str:
        return derived_context("airflow", *("*" if part is None else str(part) for part in self))


_asked: ContextVar[_Place] = ContextVar("_asked")
"""Airflow passes a value alone to `deserialize_value`."""


class SealedXCom(BaseXCom):
    """The `xcom_backend` whose values are sealed, and bound to where they were pushed.

    Values are whatever pickle takes. One that is not sealed for its DAG, task, run, key and map
    index is an `AirflowFailException` with the reason, and the task is not tried again. Values
    that a task reads as a sequence, from a mapped task, are bound to the DAG and the run alone.

    Examples
    --------
    >>> from pickleseal.integrations.airflow import SealedXCom
    >>> place = dict(dag_id="train", task_id="fit", run_id="r1", key="return_value", map_index=-1)
    >>> value = SealedXCom.serialize_value({"neighbors": 3}, **place)
    >>> value["place"]
    ['train', 'fit', 'r1', 'return_value', -1]
    """

    @staticmethod
    def serialize_value(
        value: Any,
        *,
        key: str | None = None,
        task_id: str | None = None,
        dag_id: str | None = None,
        run_id: str | None = None,
        map_index: int | None = None,
    ) -> Any:
        place = _Place(dag_id, task_id, run_id, key, map_index)
        sealed = signed_dumps(value, context=place.context())
        return {_SEALED: base64.b64encode(sealed).decode(), _PLACE: list(place)}

    @staticmethod
    def deserialize_value(result: Any) -> Any:
        stored = result.value
        if not isinstance(stored, dict) or set(stored) != {_SEALED, _PLACE}:
            raise AirflowFailException("an XCom is not sealed: this backend did not push it")
        sealed, parts = stored[_SEALED], stored[_PLACE]
        well_formed = isinstance(sealed, str) and isinstance(parts, list)
        if not well_formed or len(parts) != len(_Place._fields):
            raise AirflowFailException("a sealed XCom is damaged: it does not say what it is for")
        place, asked = _Place(*parts), _asked.get(None) or _this_run()
        context = place.context()
        if any(want not in (None, got) for want, got in zip(asked, place, strict=True)):
            raise AirflowFailException(
                f"the XCom {shown(context)} was moved to {shown(asked.context())}"
            )
        try:
            return signed_loads(base64.b64decode(sealed), context=context)
        except (PicklesealError, ValueError) as error:
            raise AirflowFailException(f"the XCom {shown(context)} is refused: {error}") from error

    @classmethod
    def get_one(cls, **asked: Any) -> Any:
        with _asking(**asked):
            return super().get_one(**asked)

    @classmethod
    async def aget_one(cls, **asked: Any) -> Any:
        with _asking(**asked):
            return await super().aget_one(**asked)

    @classmethod
    def get_all(cls, **asked: Any) -> Any:
        with _asking(**asked):
            return super().get_all(**asked)

    @classmethod
    async def aget_all(cls, **asked: Any) -> Any:
        with _asking(**asked):
            return await super().aget_all(**asked)


@contextmanager
def _asking(
    *,
    include_prior_dates: bool = False,
    run_id: str,
    **asked: Any,
) -> Iterator[None]:
    token = _asked.set(_Place(**asked, run_id=None if include_prior_dates else run_id))
    try:
        yield
    finally:
        _asked.reset(token)


def _this_run() -> _Place:
    """Return what is known where a sequence of a mapped task is read: the run that reads it."""
    run = get_current_context()["dag_run"]
    return _Place(dag_id=run.dag_id, run_id=run.run_id)
