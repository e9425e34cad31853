"""RQ: jobs are sealed, and bound to their id, their queue and their callbacks."""

from collections.abc import Iterable, Mapping
from typing import Any

import rq
import rq.command
import rq.group
import rq.job
import rq.registry
import rq.scheduler
from rq.exceptions import DeserializationError, NoSuchJobError

from pickleseal.errors import SealError
from pickleseal.integrations.contexts import derived_context
from pickleseal.integrations.entries import LOG
from pickleseal.persistence.dump import signed_dumps
from pickleseal.persistence.load import signed_loads

_FIELD = "pickleseal"
_BOUND = (
    *(
        f"{end}_callback_{of}"
        for end in ("success", "failure", "stopped")
        for of in ("name", "timeout")
    ),
    *("origin", "timeout", "dependency_ids", "webhooks", "allow_dependency_failures"),
)
"""The fields of a job that say what runs, where, and after what."""


class _Values:
    """A serializer for results and what else belongs to one job."""

    def __init__(self, job: "Job") -> None:
        self._context = job.context("value")

    def dumps(self, value: object) -> bytes:
        return signed_dumps(value, context=self._context)

    def loads(self, data: bytes) -> Any:
        return signed_loads(data, context=self._context)


class Job(rq.job.Job):
    """A job whose call and results are sealed: the `job_class` of queues and workers.

    A job that is not sealed for its id, or whose queue, callbacks, time limits, webhooks or
    dependencies were changed, is a job that does not exist, with a record in the log
    `pickleseal.integrations`. Who can write to Redis can still drop jobs and repeat them.

    Examples
    --------
    >>> import redis, rq
    >>> from pickleseal.integrations.rq import Job
    >>> queue = rq.Queue(connection=redis.Redis(), job_class=Job)
    """

    _data: Any

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.serializer = _Values(self)

    def context(self, what: str) -> str:
        """Return the context that a part of this job is sealed for: its call, fields or values."""
        return derived_context("rq", self.id, what)

    @property
    def data(self) -> bytes:
        if self._data is rq.job.UNEVALUATED:
            if self._func_name is rq.job.UNEVALUATED:
                raise ValueError("this job has no function to call")
            given = self._func_name, self._instance, self._args, self._kwargs
            defaults: tuple[Any, ...] = (None, None, (), {})
            call = tuple(
                default if value is rq.job.UNEVALUATED else value
                for value, default in zip(given, defaults, strict=True)
            )
            self._data = signed_dumps(call, context=self.context("call"))
        return self._data

    @data.setter
    def data(self, value: bytes) -> None:
        rq.job.Job.data.fset(self, value)

    def _deserialize_data(self) -> None:
        try:
            call = signed_loads(self.data, context=self.context("call"))
        except SealError as error:
            raise DeserializationError(str(error)) from error
        self._func_name, self._instance, self._args, self._kwargs = call

    def to_dict(self, *arguments: Any, **options: Any) -> dict[str, Any]:
        fields = super().to_dict(*arguments, **options)
        fields[_FIELD] = signed_dumps(_bound(fields), context=self.context("fields"))
        return fields

    def restore(self, raw_data: Mapping[Any, Any]) -> Any:
        fields = {_text(name): value for name, value in raw_data.items()}
        try:
            self._check_fields(fields)
            return super().restore(raw_data)
        except (SealError, ValueError) as error:  # such as a date that is none
            LOG.warning("refused the job %s: %s", self.id, error)
            raise NoSuchJobError(f"job {self.id} is refused: {error}") from error

    def _check_fields(self, fields: Mapping[str, Any]) -> None:
        if _FIELD not in fields:
            raise SealError("it is not sealed: whoever sent it did not name this job class")
        sealed = signed_loads(fields[_FIELD], context=self.context("fields"))
        unbound = "dependency_id" in fields and "dependency_ids" not in fields  # older RQ's
        if sealed != _bound(fields) or unbound:
            raise SealError("its queue, callbacks or time limits are not those it was sent with")

    @classmethod
    def fetch_many(
        cls,
        job_ids: Iterable[str],
        connection: Any,
        serializer: object = None,  # noqa: ARG003 - RQ passes one
    ) -> list[Any]:
        found = []
        for job_id in job_ids:
            try:
                found.append(cls.fetch(job_id, connection=connection))
            except NoSuchJobError:
                found.append(None)
        return found

    def get_executions(self) -> list[Any]:
        executions = super().get_executions()
        for execution in executions:
            execution._job = self  # noqa: SLF001 - RQ's own class would fetch it
        return executions


class Group(rq.group.Group):
    """A group of RQ whose jobs are sealed: RQ's own takes no job class.

    Examples
    --------
    >>> import redis
    >>> from pickleseal.integrations.rq import Group
    >>> group = Group.create(connection=redis.Redis(), name="predictions")
    """

    def get_jobs(self) -> list[Job]:
        self.cleanup()
        names = map(_text, self.connection.smembers(self.key))
        return [job for job in Job.fetch_many(names, self.connection) if job is not None]


class _Closed:
    """A serializer that opens nothing; RQ then writes back what it could not read."""

    def dumps(self, _value: object) -> bytes:
        raise SealError("RQ's own job class cannot seal")

    def loads(self, _data: bytes) -> Any:
        raise SealError("RQ's own job class cannot open what is sealed")


class _Moved(rq.job.Job):
    """A job, sealed or not, that is moved to its queue and not read."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.serializer = _Closed()


def _requeue_job(job_id: str, connection: Any, serializer: object = None) -> Any:  # noqa: ARG001
    return _Moved.fetch(job_id, connection=connection).requeue()


def _cancel_job(
    job_id: str,
    connection: Any,
    serializer: object = None,  # noqa: ARG001 - RQ passes one
    enqueue_dependents: bool = False,
) -> None:
    _Moved.fetch(job_id, connection=connection).cancel(enqueue_dependents=enqueue_dependents)


_remove_entry = rq.registry.BaseRegistry.remove


def _remove(self: Any, job: Any, pipeline: Any = None, delete_job: bool = False) -> Any:
    removed = _remove_entry(self, job, pipeline)
    if delete_job:
        found = _Moved.fetch(job, connection=self.connection) if isinstance(job, str) else job
        found.delete()
    return removed


def _get_queue(self: Any) -> rq.Queue:
    return rq.Queue(
        self.name, connection=self.connection, job_class=self.job_class, serializer=self.serializer
    )


_run = rq.scheduler.run


def _run_scheduler(scheduler: Any) -> None:
    """Run a scheduler in its process, which imports this module even if it was not forked."""
    _run(scheduler)


# These take no job class. RQ's own would unpickle `meta`, which none of them needs.
rq.scheduler.Job = rq.command.Job = _Moved
rq.scheduler.run = _run_scheduler
rq.requeue_job = rq.job.requeue_job = _requeue_job
rq.cancel_job = rq.job.cancel_job = _cancel_job
rq.registry.BaseRegistry.remove = _remove
# RQ's own leaves the job class out, so a worker that cleans up would unpickle dependents.
rq.registry.BaseRegistry.get_queue = _get_queue


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _bound(fields: Mapping[str, Any]) -> dict[str, str]:
    return {name: _text(fields[name]) for name in _BOUND if name in fields}
