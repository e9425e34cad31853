"""The engines of an audit: this process, copies of it, or joblib's workers.

All yield the same findings in the same order, those of the walk.
"""

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from itertools import chain

from pickleseal.auditing.findings import Finding
from pickleseal.auditing.judge import AuditOptions, examine
from pickleseal.auditing.readings import Batch, windows
from pickleseal.auditing.report import Workers
from pickleseal.files import forks
from pickleseal.files.walk import Found, opened_again
from pickleseal.persistence.inspection import Status
from pickleseal.scanner.containers.views import Pool

FORK = "fork"
"""The one backend that is not joblib's: copies of this process."""
CAN_COPY = sys.platform == "linux"
_MANY_FILES = 512
_MANY_BYTES = 64 << 20
"""Above either of these, copies of this process save more than they cost."""

Engine = Callable[[Iterable[Found], AuditOptions], Iterator[Finding]]


def chosen(
    n_jobs: int | None, backend: str | None, recheck: float
) -> tuple[Engine, Workers | None]:
    """Return the engine for these arguments of `audit`, and the count of what its workers read."""
    if backend == FORK:
        return copying(None if n_jobs is None or n_jobs < 0 else n_jobs), None
    # joblib can have been configured only where it was imported.
    if n_jobs is None and backend is None and "joblib" not in sys.modules:
        return here, None
    from pickleseal.auditing.workers import by_workers, configured  # noqa: PLC0415 - only for those

    if n_jobs is None and backend is None and not configured():
        return here, None
    count = Workers(backend or "as joblib is configured")
    return by_workers(n_jobs, backend, recheck, count), count


def cluster(backend: str | None, address: str) -> AbstractContextManager[None]:
    """Connect to the scheduler of a cluster, for the audits inside the block."""
    from pickleseal.auditing.workers import connected  # noqa: PLC0415 - as above

    return connected(backend, address)


def here(files: Iterable[Found], options: AuditOptions) -> Iterator[Finding]:
    """Examine one file after the other, each when its finding is asked for."""
    return (examine(found, options) for found in files)


def copying(wanted: int | None) -> Engine:
    """Return an engine that uses copies of this process where there is much to do."""

    def engine(files: Iterable[Found], options: AuditOptions) -> Iterator[Finding]:
        pool = options.pool or Pool()
        options = options._replace(pool=pool)
        for window in windows(files):
            copies = forks.copies(wanted) if _is_shared(window) else 1
            if copies > 1:
                yield from _in_copies(window, options, pool, copies)
            else:
                yield from here(opened_again(chain.from_iterable(window)), options)

    return engine


def _is_shared(window: list[Batch]) -> bool:
    """Return whether copies save more than they cost."""
    files = [found for batch in window for found in batch]
    # Copies would share the connections to a store, and the position in an archive.
    if any(found.remote is not None for found in files):
        return False
    many = len(files) > 1 and sum(found.size for found in files) >= _MANY_BYTES
    return many or len(files) >= _MANY_FILES


def _in_copies(
    window: list[Batch], options: AuditOptions, pool: Pool, copies: int
) -> Iterator[Finding]:
    """Examine files in copies of this process, which have the keyring as it has."""
    # Each copy would look for a new key, and ask for its passphrase.
    by_copies = options._replace(find_ring=lambda: None)
    before, spent = pool.left, 0

    def work(batch: Batch) -> tuple[list[Finding], int]:
        left = pool.left
        findings = [examine(found, by_copies) for found in opened_again(batch)]
        return findings, left - pool.left

    done = forks.each(window, work, copies=copies)
    for batch, (findings, steps) in zip(window, done, strict=True):
        spent += steps
        for found, finding in zip(batch, findings, strict=True):
            unproved = any(one.status is Status.UNVERIFIED for one in finding.envelopes)
            # The ring may have a new key that verifies more of the file.
            if unproved and options.ring is not None:
                finding = next(examine(again, options) for again in opened_again([found]))  # noqa: PLW2901
            yield finding
    pool.left = before - spent
