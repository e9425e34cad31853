"""Readings of files without a key: the digests of sealed ones, the grade of the rest.

A worker returns these, and never a payload; the client, which has the keyring, judges them by the
same code as files that it reads itself.
"""

import os
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple

from pickleseal.auditing.findings import Finding, Verdict
from pickleseal.auditing.judge import (
    AuditOptions,
    Envelopes,
    examine,
    judge_sealed,
    not_read,
    opened,
    or_unreadable,
)
from pickleseal.envelope.record import Record, RecordedSource, Share, joined, record
from pickleseal.envelope.source import Source, envelope_at
from pickleseal.files.objects import Opened, StoredObject
from pickleseal.files.places import Version
from pickleseal.files.walk import BACKUP_SUFFIX, Found, opened_again
from pickleseal.scanner.containers.views import Pool
from pickleseal.version import __version__

Batch = list[Found]

_BATCH_FILES = 64
_BATCH_BYTES = 16 << 20
_SHARE_BYTES = 256 << 20
"""How much of an object one worker hashes at most, in bytes."""
_WINDOW = 256
"""How many batches are walked ahead."""
_MOST_RECORDS = 1000
"""How many envelopes of a file a worker records. The client reads a file of more itself."""

_KEYLESS = (Verdict.UNSEALED, Verdict.NO_PICKLE, Verdict.UNREADABLE)
"""The possible results of a worker."""


class Order(NamedTuple):
    """The request to a worker: options of an audit that need no key.

    `steps` is what the run's budget has left.
    """

    known: tuple[str, ...]
    imports: bool
    digests: bool
    deep: bool
    steps: int


class Reading(NamedTuple):
    """What a worker read of a file.

    `finding` is that of a file that is no envelope, whatever the keyring. Else there are its size
    and its envelopes, one behind the other. `version`: of which a share of an object was read.
    """

    finding: Finding | None = None
    size: int = 0
    records: tuple[Record, ...] = ()
    version: Version | None = None


class Answer(NamedTuple):
    """The readings of a batch in order, the steps they took, and the version that made them."""

    version: str
    readings: list[Reading]
    steps: int


def windows(files: Iterable[Found]) -> Iterator[list[Batch]]:
    """Yield the files in batches, a list of them at a time.

    A batch is a few files that are small, or one that is large.
    """
    waiting = _batches(files)
    while window := list(islice(waiting, _WINDOW)):
        yield window


def _batches(files: Iterable[Found]) -> Iterator[Batch]:
    batch: Batch = []
    size = 0
    for found in files:
        if batch and found.size > _SHARE_BYTES:
            yield batch
            batch, size = [], 0
        batch.append(found)
        size += found.size
        if len(batch) == _BATCH_FILES or size >= _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def is_for_workers(found: Found, options: AuditOptions) -> bool:
    """Return whether a worker is to read a file: not if the files beside it matter."""
    if found.skip is not None or found.path.endswith(BACKUP_SUFFIX):
        return False
    return not_read(found, options) is None


def abroad(found: Found) -> Found:
    """Return a file as it is found from any working directory."""
    is_path = found.named and found.remote is None
    path = os.path.abspath(found.path) if is_path else found.path
    return found._replace(path=path, status=None)


def shares(batch: Batch) -> list[Share]:
    """Return the shares in which workers read a batch: several of one large object."""
    # A file on disk may look different from another machine, so that its shares could not be told
    # from those of another version.
    size = batch[0].size if len(batch) == 1 and batch[0].remote is not None else 0
    count = max(-(-size // _SHARE_BYTES), 1)
    return [Share(number, count) for number in range(count)]


def read(files: Iterable[Found], order: Order, share: Share = Share()) -> Answer:  # noqa: B008 - immutable
    """Read files and hash them, or grade what is not sealed. This is what a worker does."""
    pool = Pool(order.steps)
    options = AuditOptions(
        None, digests=order.digests, known=order.known, deep=order.deep, pool=pool
    )
    readings = [_read(found, order, options, share) for found in opened_again(files)]
    return Answer(__version__, readings, order.steps - pool.left)


def together(answers: list[Answer]) -> Answer:
    """Return the answer for a batch from those for its shares."""
    if len(answers) == 1:
        return answers[0]
    readings = [reading for answer in answers for reading in answer.readings]
    reading = next(iter(readings), Reading())
    if reading.finding is None:
        records = [record for one in readings for record in one.records]
        same = len({(one.size, one.version) for one in readings}) == 1
        made = joined(records) if same and len(records) == len(answers) else None
        reading = Reading() if made is None else Reading(None, reading.size, (made,))
    return Answer(answers[0].version, [reading], sum(one.steps for one in answers))


def _read(found: Found, order: Order, options: AuditOptions, share: Share) -> Reading:
    if found.skip is not None:
        return Reading(examine(found, options))

    def sealed(file: Opened) -> Reading:
        # Imports are reported only if the seal holds, which a worker cannot know.
        if order.imports:
            return Reading()
        if share.total == 1:
            return Reading(None, file.size, tuple(_records(file)))
        return _shared(file, share)

    # What is not sealed is graded with the first share.
    read = opened(found, sealed, options, (lambda _: Reading()) if share.number else None)
    return Reading(read) if isinstance(read, Finding) else read


def _shared(file: Opened, share: Share) -> Reading:
    """Return a share of an object that is one envelope; the client reads any other one itself."""
    version = file.stamp if isinstance(file, StoredObject) else None
    made = record(envelope_at(file, 0), file.size, share)
    if version is None or made.size != file.size:
        return Reading()
    return Reading(None, file.size, (made,), version)


def _records(file: Opened) -> Iterator[Record]:
    offset = 0
    for _ in range(_MOST_RECORDS):
        made = record(envelope_at(file, offset), file.size - offset)
        yield made
        if made.size is None or offset + made.size >= file.size:
            return
        offset += made.size


def judge(found: Found, reading: Reading, options: AuditOptions) -> Finding | None:
    """Return the finding that a reading leads to, or None if it does not suffice."""
    finding = reading.finding
    if finding is not None:
        keyless = finding.verdict in _KEYLESS and not finding.envelopes
        return finding._replace(path=found.path) if keyless else None
    records = {reading.size - one.room: one for one in reading.records}

    def at(offset: int) -> Source:
        if offset not in records:
            raise _NotRecordedError
        return RecordedSource(records[offset], found.path)

    envelopes = Envelopes(found.path, reading.size, at)
    try:
        return or_unreadable(found.path, lambda: judge_sealed(envelopes, options))
    except _NotRecordedError:
        return None


class _NotRecordedError(Exception):
    """The client needs an envelope that the worker did not record."""
