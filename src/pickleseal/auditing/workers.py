"""An audit whose files are read by joblib's workers, on this machine or a cluster, without a key.

joblib and its backends bring the queue, the scheduler and what happens when a worker is lost.
"""

import random
import threading
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from importlib import import_module
from itertools import islice
from typing import Any

from pickleseal.auditing.findings import Finding, Level
from pickleseal.auditing.judge import AuditOptions, examine
from pickleseal.auditing.readings import (
    Answer,
    Batch,
    Order,
    abroad,
    is_for_workers,
    judge,
    read,
    shares,
    together,
    windows,
)
from pickleseal.auditing.report import Workers
from pickleseal.errors import PicklesealError
from pickleseal.files.forks import deaf_to_interrupts
from pickleseal.files.walk import Found, is_unchanged, opened_again
from pickleseal.scanner.containers.views import Pool
from pickleseal.version import __version__

_REGISTERED_BY = {
    "ray": ("ray.util.joblib", "register_ray"),
    "spark": ("joblibspark", "register_spark"),
}
"""The backends that joblib does not know by itself."""
_CLUSTERS = {"dask", *_REGISTERED_BY}


def configured() -> bool:
    """Return whether `joblib.parallel_config` asks for workers."""
    import joblib  # noqa: PLC0415 - importing it takes as long as auditing a thousand files

    return bool(joblib.Parallel().n_jobs != 1)


@contextmanager
def connected(backend: str | None, address: str) -> Iterator[None]:
    """Connect to the scheduler of a cluster, for the audits inside the block."""
    try:
        if backend == "dask":
            from distributed import Client  # noqa: PLC0415 - for those who have one

            with Client(address):
                yield
        elif backend == "ray":
            import ray  # noqa: PLC0415 - as above

            ray.init(address, log_to_driver=False)
            try:
                yield
            finally:
                ray.shutdown()
        else:
            raise PicklesealError("a scheduler goes with the backends dask and ray")
    except ImportError as error:
        raise PicklesealError(f"the backend {backend} is not installed: {error}") from None


def by_workers(
    n_jobs: int | None, backend: str | None, recheck: float, count: Workers
) -> Callable[[Iterable[Found], AuditOptions], Iterator[Finding]]:
    """Return an engine whose files joblib's workers read, and which judges the readings.

    `recheck` is the share of the plainly sealed files that are read again here, from 0 to 1; if it
    is not 0, each file that is not plainly sealed is, too. `count` gets the numbers.
    """
    parallel, read_by_worker = _parallel(n_jobs, backend)

    def engine(files: Iterable[Found], options: AuditOptions) -> Iterator[Finding]:
        pool = options.pool or Pool()
        client = _Client(options, recheck, count)
        with ExitStack() as stack:
            from multiprocessing import resource_tracker  # noqa: PLC0415 - joblib has imported it

            resource_tracker.ensure_running()  # or joblib would start it, which changes masks
            stack.enter_context(_ending_quietly())
            with deaf_to_interrupts():
                stack.enter_context(parallel)
            for window in windows(files):
                order = Order(
                    options.known, options.imports, options.digests, options.deep, pool.left
                )
                asked = [
                    [abroad(one) for one in batch if is_for_workers(one, options)]
                    for batch in window
                ]
                parts = [shares(batch) for batch in asked]
                tasks = [
                    read_by_worker(batch, order, share)
                    for batch, part in zip(asked, parts, strict=True)
                    for share in part
                ]
                answers = _answers(parallel, tasks, count.backend)
                for batch, part in zip(window, parts, strict=True):
                    answer = together(list(islice(answers, len(part))))
                    pool.left -= answer.steps
                    yield from client.judged(batch, answer)
                next(answers, None)  # so that joblib ends the call

    return engine


@contextmanager
def _ending_quietly() -> Iterator[None]:
    """Hide the one error of the thread by which loky ends its workers.

    Interrupted, loky forgets its tasks and may then look one up, for which a thread would print a
    traceback.
    """
    before = threading.excepthook

    def hook(error: threading.ExceptHookArgs) -> None:
        of_loky = error.thread is not None and error.thread.name == "ExecutorManagerThread"
        if not (of_loky and error.exc_type is KeyError):
            before(error)

    threading.excepthook = hook
    try:
        yield
    finally:
        threading.excepthook = before


def _parallel(n_jobs: int | None, backend: str | None) -> tuple[Any, Any]:
    """Return joblib's Parallel, and `read` as it takes it. Raise PicklesealError without."""
    if n_jobs is None and backend is not None:
        n_jobs = -1
    # Loky fails to end where more tasks wait than its queue takes: twice as many as it has workers.
    waiting = "all" if backend in _CLUSTERS else "2*n_jobs"
    options = {"n_jobs": n_jobs, "batch_size": 1, "pre_dispatch": waiting}
    try:
        import joblib  # noqa: PLC0415 - it takes as long to import as a thousand files to audit

        if backend in _REGISTERED_BY:
            module, name = _REGISTERED_BY[backend]
            getattr(import_module(module), name)()
        # Parallel itself does not know the backends that joblib registers when they are asked for.
        with nullcontext() if backend is None else joblib.parallel_config(backend):
            try:
                parallel = joblib.Parallel(return_as="generator", **options)
            except ValueError:  # some backends return all results of a window at once
                parallel = joblib.Parallel(**options)
    except Exception as error:  # noqa: BLE001 - a backend's own, such as Spark's without Java
        raise PicklesealError(f"joblib cannot use the backend {backend}: {error}") from None
    return parallel, joblib.delayed(read)


def _answers(parallel: Any, tasks: list[Any], backend: str) -> Iterator[Answer]:  # noqa: ANN401 - joblib's
    answers: Iterable[Answer] = ()
    try:
        # A generator has begun the tasks when it is returned, and a list waited for them.
        with deaf_to_interrupts() if parallel.return_generator else nullcontext():
            answers = parallel(tasks)
        for answer in answers:
            _check(answer, backend)
            yield answer
    except (MemoryError, PicklesealError):
        raise
    except Exception as error:
        what = str(error) or type(error).__name__
        raise PicklesealError(f"the workers ({backend}) did not answer: {what}") from error
    finally:
        if isinstance(answers, Generator):
            with warnings.catch_warnings(action="ignore"):  # of the tasks that it ends
                answers.close()


def _check(answer: Answer, backend: str) -> None:
    if not isinstance(answer, Answer) or type(answer.steps) is not int or answer.steps < 0:
        raise PicklesealError(f"a worker ({backend}) did not answer as pickleseal does")
    if answer.version != __version__:
        raise PicklesealError(
            f"a worker ({backend}) has pickleseal {answer.version}, and this is {__version__}:"
            " install the same version everywhere"
        )


class _Client:
    """The process that has the keyring, and judges what workers read."""

    def __init__(self, options: AuditOptions, recheck: float, count: Workers) -> None:
        self._options = options
        self._recheck = recheck
        self._count = count
        self._random = random.SystemRandom()  # no worker can predict which files are read again

    def judged(self, batch: Batch, answer: Answer) -> Iterator[Finding]:
        """Yield the findings of a batch."""
        readings = iter(answer.readings)
        for found in batch:
            reading = next(readings, None) if is_for_workers(found, self._options) else None
            finding = None if reading is None else judge(found, reading, self._options)
            if finding is None:
                yield self._here(found)
            else:
                self._count.read += 1
                yield self._checked(found, finding) if self._is_due(finding) else finding

    def _is_due(self, finding: Finding) -> bool:
        if not self._recheck:
            return False
        plain = bool(finding.envelopes) and finding.level is Level.NONE
        return not plain or self._random.random() < self._recheck

    def _checked(self, found: Found, finding: Finding) -> Finding:
        self._count.again += 1
        here = self._here(found)
        if here == finding or not is_unchanged(found):
            return here
        self._count.differing += 1
        reason = f"a worker read it differently ({finding.kind}), and it has not changed since"
        return here._replace(
            level=max(here.level, Level.WARNING),
            reason=f"{here.reason}; {reason}" if here.reason else reason,
            advice=here.advice or "find out which worker it was, and trust no finding by it",
        )

    def _here(self, found: Found) -> Finding:
        return next(examine(one, self._options) for one in opened_again([found]))
