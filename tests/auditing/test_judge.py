"""The audit's verdict on an envelope is the load's: of two faults, both name the same one."""

import itertools
import pickle
from pathlib import Path

import pytest

from pickleseal import (
    BadSealError,
    ContextError,
    ExpiredError,
    Key,
    Keyring,
    MalformedError,
    RollbackError,
    SealError,
    Status,
    Verdict,
    audit,
    inspect,
    signed_dumps,
    signed_load,
)
from pickleseal.envelope import hashing, layout, seal
from pickleseal.envelope.metadata import Metadata
from pickleseal.persistence.pins import Pin, encode

CONTEXT = "fraud/v3"
OTHER = "fraud/v2"

FAULTS: dict[str, tuple[type[SealError], Verdict]] = {
    "cut off": (MalformedError, Verdict.MALFORMED),
    "head": (BadSealError, Verdict.BAD_HEAD),
    "context": (ContextError, Verdict.WRONG_CONTEXT),
    "expired": (ExpiredError, Verdict.EXPIRED),
    "older": (RollbackError, Verdict.ROLLED_BACK),
    "body": (BadSealError, Verdict.BAD_BODY),
    "padding": (MalformedError, Verdict.MALFORMED),
    "another of its serial": (RollbackError, Verdict.ROLLED_BACK),
}
"""In the order of docs/reference/format.md, "Reading", with what each is refused as."""


def envelope(ring: Keyring, faults: tuple[str, ...]) -> bytes:
    key = ring.sealing_key(context=None, now=0)
    stream = pickle.dumps("it")
    metadata = Metadata(
        content="pickle",
        context=OTHER if "context" in faults else CONTEXT,
        expires=1 if "expired" in faults else None,
        serial=4 if "older" in faults else 5,
    )
    begun = seal.seal_head(key, metadata, [len(stream)])
    head = bytearray(begun.data)
    body = bytearray(stream.ljust(layout.ALIGNMENT, b"\0"))
    body[-1] = "padding" in faults
    tag = begun.finish(hashing.leaf_digests(key.suite, [memoryview(body)], len(body)))
    body[3] ^= "body" in faults
    head[-1] ^= "head" in faults
    return bytes(head + body + tag)[: -1 if "cut off" in faults else None]


def remembered(faults: tuple[str, ...]) -> bytes:
    if not {"older", "another of its serial"} & {*faults}:
        return encode({})
    pin = Pin(5, f"ps2:{0:064}", f"{0:064}")
    return encode({CONTEXT: pin, OTHER: pin})


@pytest.mark.parametrize("imports", [False, True])
@pytest.mark.parametrize(
    "faults",
    [(), *((fault,) for fault in FAULTS), *itertools.combinations(FAULTS, 2)],
    ids=" and ".join,
)
def test_audit_and_load_name_the_same_of_two_faults(
    faults: tuple[str, ...], *, imports: bool, ring: Keyring, tmp_path: Path
) -> None:
    path, pins = tmp_path / "it.pkl", tmp_path / "pins"
    path.write_bytes(envelope(ring, faults))
    pins.write_bytes(remembered(faults))
    pins.chmod(0o600)
    (finding,) = audit(path, keyring=ring, context=CONTEXT, pins=pins, imports=imports)
    if not faults:
        assert finding.verdict is Verdict.SEALED
        assert signed_load(path, keyring=ring, context=CONTEXT, pins=pins) == "it"
        return
    error, verdict = FAULTS[faults[0]]
    assert finding.verdict is verdict
    with pytest.raises(SealError) as caught:
        signed_load(path, keyring=ring, context=CONTEXT, pins=pins)
    assert caught.type is error


@pytest.mark.parametrize("body", [True, False])
def test_a_file_in_the_wrong_place_shows_whether_its_body_holds(
    *, body: bool, ring: Keyring, tmp_path: Path
) -> None:
    path = tmp_path / "it.pkl"
    path.write_bytes(envelope(ring, ("context",) if body else ("context", "body")))
    (finding,) = audit(path, keyring=ring, context=CONTEXT)
    (facts,) = finding.envelopes
    assert finding.verdict is Verdict.WRONG_CONTEXT
    assert facts.status is (Status.WHOLE if body else Status.HEADER)


@pytest.mark.once
@pytest.mark.parametrize("with_key", ["with a key", ""])
def test_stacked_refused_envelopes_are_read_up_to_a_bound(
    with_key: str, ring: Keyring, tmp_path: Path
) -> None:
    forged = signed_dumps(1, keyring=Keyring(Key.generate()))
    path = tmp_path / "stacked.pkl"
    path.write_bytes(forged * 3000)
    keyring = ring if with_key else None
    (finding,) = audit(path, keyring=keyring)
    assert finding.verdict is Verdict.UNKNOWN_KEY
    assert "nothing after the first 100 refused objects was read" in finding.reason
    assert len(finding.envelopes) == 100
    facts = inspect(path, keyring=keyring)
    assert "nothing after the first 100 refused objects was read" in str(facts.problem)
    assert len(facts.others) == 99


@pytest.mark.once
def test_of_many_objects_that_hold_json_lists_the_first(ring: Keyring, tmp_path: Path) -> None:
    path = tmp_path / "many.pkl"
    path.write_bytes(signed_dumps(1, keyring=ring) * 1234)
    (finding,) = audit(path, keyring=ring)
    assert (finding.verdict, len(finding.envelopes)) == (Verdict.SEALED, 1234)
    listed = finding.to_dict()
    assert (len(listed["envelopes"]), listed["envelopes_left_out"]) == (1000, 234)
    facts = inspect(path, keyring=ring).to_dict()
    assert (len(facts["others"]), facts["others_left_out"]) == (999, 234)
