"""Verify files, a folder at a time: check each seal, and refuse pickles that have none.

Below a folder, what an audit would report of an unsealed file decides whether it needs a seal.
"""

from collections.abc import Iterator
from functools import partial

from pickleseal.auditing.findings import Level, Verdict
from pickleseal.auditing.judge import AuditOptions, examine_unsealed
from pickleseal.envelope.source import envelopes_in
from pickleseal.errors import KeyringError, NotSealedError
from pickleseal.keys.context import normalize_context
from pickleseal.keys.store.lookup import Ring
from pickleseal.migration.batch import Batch, Candidate, Outcome, Result, failure, found_file
from pickleseal.migration.targets import is_backup
from pickleseal.persistence.inspection import Inspection, verify_opened
from pickleseal.persistence.policy import expected_context


def verify_all(
    batch: Batch, *, keyring: Ring, context: str | None = None
) -> Iterator[Result[Inspection]]:
    """Check the seals of files, one after the other. Raises KeyringError if a key cannot be used.

    Parameters
    ----------
    batch
        The files. A file that is named must be sealed, whatever it is.
    keyring
        The ring whose keys must have sealed them, looked up for each file.
    context
        What all of them must be sealed for: a context, or a beginning such as `fraud/*`. Default:
        anything.
    """
    wanted = "*" if context is None else normalize_context(context)
    return batch.each(lambda candidate: _checked(candidate, keyring, wanted), fatal=KeyringError)


def _checked(candidate: Candidate, keyring: Ring, wanted: str) -> Result[Inspection]:
    with found_file(candidate.found) as file:
        if not candidate.named and is_backup(file):
            return candidate.result(Outcome.SKIPPED, "a backup that adopt made")
        try:
            facts = verify_opened(
                envelopes_in(file), keyring=keyring, expected=partial(expected_context, wanted)
            )
        except NotSealedError as error:
            finding = None if candidate.named else examine_unsealed(file, AuditOptions(None))
            if finding is not None and finding.verdict is Verdict.NO_PICKLE:
                if finding.level is Level.NONE:
                    return candidate.result(Outcome.NO_PICKLE)
                if file.size:  # an archive that is not opened
                    return candidate.result(Outcome.SKIPPED, finding.reason)
            return failure(candidate.path, Outcome.REFUSED, error)
    return candidate.result(Outcome.WHOLE, detail=facts)
