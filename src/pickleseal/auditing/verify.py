"""Verify files, a folder at a time: check each seal, and refuse pickles that have none.

Below a folder, what an audit would report of an unsealed file decides whether it needs a seal.
"""

from collections import deque
from collections.abc import Iterator
from functools import partial
from typing import Any

from pickleseal.auditing import engines
from pickleseal.auditing.findings import Finding, Level, Verdict
from pickleseal.auditing.judge import AuditOptions, examine_unsealed
from pickleseal.envelope.source import envelopes_in
from pickleseal.errors import KeyringError, NotSealedError
from pickleseal.files.globs import Globs
from pickleseal.files.walk import BACKUP_SUFFIX, Found, opened_again
from pickleseal.keys.context import normalize_context
from pickleseal.keys.keyring import EVERY_KEY, Keyring
from pickleseal.keys.store.lookup import Ring, find_keyring
from pickleseal.migration.batch import (
    Batch,
    Candidate,
    Outcome,
    Result,
    attempt,
    failure,
    found_file,
)
from pickleseal.migration.targets import is_sealed_original
from pickleseal.persistence.inspection import Inspection, verify_opened
from pickleseal.persistence.policy import expected_context

_WHOLE = (Verdict.SEALED, Verdict.SEALED_ACTIVE, Verdict.SEALED_RETIRED)


def verify_all(
    batch: Batch,
    *,
    keyring: Ring,
    context: str | None = None,
    engine: engines.Engine = engines.here,
) -> Iterator[Result[Inspection]]:
    """Check the seals of files. Raises KeyringError if a key cannot be used.

    Parameters
    ----------
    batch
        The files. A file that is named must be sealed, whatever it is.
    keyring
        The ring whose keys must have sealed them.
    context
        What all of them must be sealed for: a context, or a beginning such as `fraud/*`. Default:
        anything.
    engine
        Who reads them. Whoever does, this process reads again what is not plainly whole, so that
        no refusal rests on another's word.
    """
    wanted = "*" if context is None else normalize_context(context)
    contexts = () if context is None else ((Globs.of(["*"]), wanted),)
    options = AuditOptions(find_keyring(keyring, to_open=EVERY_KEY), contexts)
    check = partial(_checked, keyring=keyring, ring=options.ring, wanted=wanted)
    return _results(batch, engine, options, check)


def _results(
    batch: Batch,
    engine: engines.Engine,
    options: AuditOptions,
    check: "partial[Result[Inspection]]",
) -> Iterator[Result[Inspection]]:
    waiting: deque[Candidate | Result[Any]] = deque()

    def walked() -> Iterator[Found]:
        for one in batch.candidates():
            waiting.append(one)
            if isinstance(one, Candidate):
                yield one.found

    for finding in engine(walked(), options):
        while not isinstance(one := waiting.popleft(), Candidate):
            yield one
        yield _of_finding(one, finding) or _here(one, check)
    for left in waiting:
        if not isinstance(left, Candidate):
            yield left


def _of_finding(candidate: Candidate, finding: Finding) -> Result[Inspection] | None:
    """Return the result if a finding suffices: no refusal, and nothing to report."""
    if candidate.path.endswith(BACKUP_SUFFIX):
        return None
    if finding.verdict in _WHOLE:
        first, *others = finding.envelopes
        # A difference to what a worker read is reported for an intact file, too.
        reason = finding.reason if finding.level >= Level.WARNING else ""
        facts = first._replace(others=tuple(others))
        return candidate.result(Outcome.WHOLE, reason, detail=facts)
    return None if candidate.named else _without_pickle(candidate, finding)


def _without_pickle(candidate: Candidate, finding: Finding) -> Result[Inspection] | None:
    """Return the result for a file below a folder that needs no seal, or None if it needs one."""
    if finding.verdict is not Verdict.NO_PICKLE:
        return None
    if finding.level is Level.NONE:
        return candidate.result(Outcome.NO_PICKLE)
    if finding.size:  # an archive that is not opened
        return candidate.result(Outcome.SKIPPED, finding.reason)
    return None


def _here(candidate: Candidate, check: "partial[Result[Inspection]]") -> Result[Inspection]:
    for found in opened_again([candidate.found]):
        if found.reason is None:
            return attempt(candidate._replace(found=found), check, fatal=KeyringError)
    return candidate.result(Outcome.FAILED, found.reason or "")


def _checked(
    candidate: Candidate, *, keyring: Ring, ring: Keyring | None, wanted: str
) -> Result[Inspection]:
    with found_file(candidate.found) as file:
        if not candidate.named and is_sealed_original(file, ring):
            return candidate.result(Outcome.SKIPPED, "the original of an adopted file")
        try:
            facts = verify_opened(
                envelopes_in(file), keyring=keyring, expected=partial(expected_context, wanted)
            )
        except NotSealedError as error:
            if not candidate.named:
                fine = _without_pickle(candidate, examine_unsealed(file, AuditOptions(None)))
                if fine is not None:
                    return fine
            return failure(candidate.path, Outcome.REFUSED, error)
    return candidate.result(Outcome.WHOLE, detail=facts)
