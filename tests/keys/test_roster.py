"""What may be done to the keys of a ring, and how keyring.json is written."""

import json
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pickleseal import KeyringError, Suite
from pickleseal.keys.key import KeyLine
from pickleseal.keys.roster import (
    MAX_TEXT,
    Entry,
    Pin,
    Roster,
    State,
    fields_of,
    new_entry,
    normal_patterns,
    parse_entry,
)

ONE, TWO, THREE = ("1" * 32, "2" * 32, "3" * 32)
NOW = 1_800_000_000


def entry(key_id: str, state: State = State.ACTIVE) -> Entry:
    return new_entry(key_id, Suite.BLAKE3, created=NOW, state=state)


def ring(*ids: str) -> Roster:
    roster = Roster.empty()
    for key_id in ids:
        roster = roster.add(entry(key_id))
    return roster


def states(roster: Roster) -> dict[str, State]:
    return {key_id[0]: found.state for key_id, found in roster.entries.items()}


def test_the_first_key_that_can_seal_is_the_primary() -> None:
    assert ring(ONE, TWO).primary == ONE
    assert Roster.empty().add(entry(ONE, State.RETIRED)).primary is None
    assert Roster.empty().add(entry(ONE, State.RETIRED)).add(entry(TWO)).primary == TWO


def test_a_rotation_makes_a_new_primary_and_retires_the_one_before() -> None:
    roster = ring(ONE, TWO).rotate(entry(THREE))
    assert roster.primary == THREE
    assert states(roster) == {"1": State.RETIRED, "2": State.ACTIVE, "3": State.ACTIVE}


def test_a_ring_without_a_primary_rotates_too() -> None:
    roster = ring(ONE).revoke(ONE, reason="", now=NOW).rotate(entry(TWO))
    assert roster.primary == TWO
    assert states(roster) == {"1": State.REVOKED, "2": State.ACTIVE}


def test_the_primary_is_not_retired_away() -> None:
    with pytest.raises(KeyringError):
        ring(ONE, TWO).retire(ONE)
    assert states(ring(ONE, TWO).retire(TWO)) == {"1": State.ACTIVE, "2": State.RETIRED}


def test_a_retired_key_can_be_primary_again_and_a_revoked_one_can_nothing() -> None:
    roster = ring(ONE, TWO).retire(TWO).make_primary(TWO)
    assert (roster.primary, roster.entries[TWO].state) == (TWO, State.ACTIVE)
    revoked = roster.revoke(ONE, reason="lost", now=NOW)
    changes: list[Callable[[], Roster]] = [
        lambda: revoked.make_primary(ONE),
        lambda: revoked.retire(ONE),
        lambda: revoked.revoke(ONE, reason="again", now=NOW),
        lambda: revoked.limit(ONE, sign_until=None, contexts=None),
        lambda: revoked.add(entry(ONE)),
        lambda: revoked.rotate(entry(ONE)),
    ]
    for change in changes:
        with pytest.raises(KeyringError):
            change()
    assert revoked.annotate(ONE, "the lost one").entries[ONE].note == "the lost one"


def test_a_revocation_keeps_when_and_why_and_leaves_no_primary_behind() -> None:
    roster = ring(ONE, TWO).revoke(ONE, reason="laptop stolen", now=NOW + 5)
    assert roster.primary is None
    found = roster.entries[ONE]
    assert (found.state, found.revoked, found.reason) == (State.REVOKED, NOW + 5, "laptop stolen")
    assert ring(ONE, TWO).revoke(TWO, reason="", now=NOW).primary == ONE


def test_a_key_that_the_ring_lacks_is_revoked_too() -> None:
    roster = ring(ONE).revoke(TWO, reason="in a log", now=NOW, leaked=NOW - 5)
    assert roster.entries[TWO] == Entry(
        TWO, None, State.REVOKED, revoked=NOW, reason="in a log", leaked=NOW - 5
    )
    assert roster.primary == ONE
    assert Roster.decode(roster.encode().encode()) == roster
    with pytest.raises(KeyringError):
        roster.add(entry(TWO))
    corrected = roster.revoke(TWO, reason="in a log", now=NOW + 9, leaked=NOW - 7).entries[TWO]
    assert (corrected.revoked, corrected.leaked) == (NOW, NOW - 7)
    with pytest.raises(KeyringError, match="future"):
        roster.revoke(ONE, reason="", now=NOW, leaked=NOW + 1)


def test_only_of_a_revoked_key_the_suite_may_be_unknown() -> None:
    index = json.loads(ring(ONE).encode())
    del index["keys"][ONE]["suite"]
    with pytest.raises(ValueError, match=ONE):
        Roster.decode(json.dumps(index).encode())
    index["keys"][ONE]["state"], index["primary"] = "revoked", None
    assert Roster.decode(json.dumps(index).encode()).entries[ONE].suite is None


def test_each_change_raises_the_epoch_by_one() -> None:
    roster = Roster.empty()
    assert roster.epoch == 0
    changes: list[Callable[[Roster], Roster]] = [
        lambda r: r.add(entry(ONE)),
        lambda r: r.rotate(entry(TWO)),
        lambda r: r.make_primary(ONE),
        lambda r: r.retire(TWO),
        lambda r: r.annotate(TWO, "old"),
        lambda r: r.limit(ONE, sign_until=NOW, contexts=("a",)),
        lambda r: r.revoke(TWO, reason="", now=NOW),
    ]
    for number, change in enumerate(changes, 1):
        roster = change(roster)
        assert roster.epoch == number


def test_a_key_is_found_by_the_beginning_of_its_id_if_there_is_one_alone() -> None:
    roster = ring("ab" * 16, "ac" * 16)
    assert roster.find("ab").id == "ab" * 16
    assert roster.find("AC" * 16).id == "ac" * 16
    for beginning in ("a", "", "x", "ab" * 17, "*"):
        with pytest.raises(KeyringError):
            roster.find(beginning)


@pytest.mark.parametrize(
    ("contexts", "yes", "no"),
    [
        (None, [None, "a", "a/b"], []),
        (("fraud/v3",), ["fraud/v3"], [None, "fraud/v33", "fraud", "Fraud/v3"]),
        (("fraud/*",), ["fraud/v3", "fraud/"], [None, "fraud", "spam/fraud/v3"]),
        (("*",), ["a", "*"], [None]),
        (("a", "b*"), ["a", "b", "bc"], ["ab", "c", None]),
        (("a*b",), ["a*b"], ["axb", "a*bc"]),
    ],
)
def test_a_bound_key_stands_for_its_contexts_alone(
    contexts: tuple[str, ...] | None, yes: list[str | None], no: list[str | None]
) -> None:
    found = entry(ONE)._replace(contexts=contexts)
    assert all(found.covers(context) for context in yes)
    assert not any(found.covers(context) for context in no)


def test_contexts_are_kept_in_one_spelling_and_once() -> None:
    assert normal_patterns(["cafe\u0301", "caf\u00e9", "b"]) == ("caf\u00e9", "b")
    for bad in ([], [""], ["a\nb"], ["x" * 256]):
        with pytest.raises(KeyringError):
            normal_patterns(bad)


@pytest.mark.parametrize("text", ["x" * 1001, "a\nb", "\x1b[2J", "\u202e"])
def test_a_note_or_reason_is_a_line_that_can_be_printed(text: str) -> None:
    for change in (
        lambda: ring(ONE).annotate(ONE, text),
        lambda: ring(ONE).revoke(ONE, reason=text, now=NOW),
        lambda: new_entry(TWO, Suite.BLAKE3, created=NOW, note=text),
    ):
        with pytest.raises(KeyringError):
            change()


def test_a_new_key_seals_until_some_day_to_come() -> None:
    assert new_entry(ONE, Suite.BLAKE3, created=NOW, sign_until=NOW + 1).sign_until == NOW + 1
    with pytest.raises(KeyringError):
        new_entry(ONE, Suite.BLAKE3, created=NOW, sign_until=NOW)


texts = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30)
counts = st.integers(0, (1 << 53) - 1)


@st.composite
def rosters(draw: st.DrawFn) -> Roster:
    entries = {}
    for number in range(draw(st.integers(0, 5))):
        found = Entry(
            f"{number:032x}",
            draw(st.sampled_from(Suite)),
            draw(st.sampled_from(State)),
            draw(st.none() | counts),
            draw(texts),
            draw(st.none() | counts),
            draw(st.none() | st.just(("a", "b/*"))),
            draw(st.none() | counts),
            draw(texts),
        )
        if found.state is State.REVOKED:
            found = found._replace(
                suite=draw(st.none() | st.just(found.suite)), leaked=draw(st.none() | counts)
            )
        entries[found.id] = found
    able = [key_id for key_id, found in entries.items() if found.state is State.ACTIVE]
    primary = draw(st.none() | st.sampled_from(able)) if able else None
    changes = draw(st.lists(st.just("0123456789abcdef"), max_size=3))
    return Roster(draw(counts) + len(changes), primary, entries, changes=tuple(changes))


@given(rosters())
def test_what_is_written_is_read_back(roster: Roster) -> None:
    assert Roster.decode(roster.encode().encode()) == roster


FIELDS: dict[str, object] = {
    "created": -1,
    "note": 7,
    "sign_until": "tomorrow",
    "contexts": ["cafe\u0301"],
    "revoked": True,
    "reason": None,
    "state": "primary",
    "suite": 2.0,
    "leaked": NOW,
    "secret": "x",
}


@pytest.mark.parametrize("name", FIELDS)
def test_an_entry_that_this_version_would_not_write_is_refused(name: str) -> None:
    index = json.loads(ring(ONE).encode())
    index["keys"][ONE][name] = FIELDS[name]
    with pytest.raises(ValueError, match=ONE):
        Roster.decode(json.dumps(index).encode())


@pytest.mark.parametrize("contexts", [[], "fraud/*", [1], [""], None])
def test_contexts_that_would_bind_to_nothing_are_refused(contexts: object) -> None:
    index = json.loads(ring(ONE).encode())
    index["keys"][ONE]["contexts"] = contexts
    with pytest.raises(ValueError, match=ONE):
        Roster.decode(json.dumps(index).encode())


@pytest.mark.parametrize("context", ["a*b", "*a", "**", "a**"])
def test_a_star_stands_only_at_the_end_of_a_context(context: str) -> None:
    with pytest.raises(KeyringError):
        normal_patterns([context])
    assert normal_patterns(["a*", "*"]) == ("a*", "*")


@pytest.mark.parametrize("key_id", ["../../x", "", ONE[:-1], ONE + "1", "A" * 32, f"{ONE}\n"])
def test_a_key_id_that_is_no_id_is_refused_also_of_a_revoked_key(key_id: str) -> None:
    index = json.loads(ring(ONE).revoke(ONE, reason="lost", now=NOW).encode())
    del index["last_primary"]
    assert Roster.decode(json.dumps(index).encode())
    index["keys"][key_id] = index["keys"].pop(ONE)
    with pytest.raises(ValueError, match="32 hexadecimal digits"):
        Roster.decode(json.dumps(index).encode())


@pytest.mark.parametrize(
    ("primary", "last"),
    [(TWO, ONE), (None, TWO), (None, THREE), (None, [ONE]), (None, 7), (None, None)],
)
def test_a_last_primary_is_a_revoked_key_of_a_ring_without_a_primary(
    primary: str | None, last: object
) -> None:
    index = json.loads(ring(ONE, TWO).revoke(ONE, reason="lost", now=NOW).encode())
    assert Roster.decode(json.dumps(index).encode()).last_primary == ONE
    index["primary"], index["last_primary"] = primary, last
    with pytest.raises(ValueError, match="last primary"):
        Roster.decode(json.dumps(index).encode())


def told_in(**changes: object) -> dict[str, object]:
    """Return a keyring.json of one active and one revoked key, with some fields changed."""
    roster = ring(ONE, TWO).revoke(TWO, reason="lost", now=NOW)
    made: dict[str, object] = {**json.loads(roster.encode()), **changes}
    return made


PLAIN = {"suite": 2, "state": "active", "created": NOW}
"""What is told of a key, and each fault that it can have."""
FAULTS: tuple[object, ...] = (
    *([], None, "active", {}),
    *({**PLAIN, "suite": suite} for suite in (3, 0, "2", True, None, 2.0)),
    *({**PLAIN, "state": state} for state in ("lost", 1, ["active"], None)),
    *({**PLAIN, name: -1} for name in ("created", "sign_until", "revoked", "sign_from")),
    *({**PLAIN, name: 1} for name in ("note", "reason", "replaces")),
    *({**PLAIN, "contexts": contexts} for contexts in ("a", [], [1])),
    *({**PLAIN, **more} for more in ({"x": 1}, {"id": ONE}, {"leaked": 1}, {"sign_from": NOW})),
    {"suite": 2, "created": NOW},
)


@pytest.mark.parametrize("fields", FAULTS, ids=repr)
def test_an_entry_with_a_fault_is_refused_wherever_it_is_read(fields: object) -> None:
    assert Roster.decode(json.dumps(told_in(keys={ONE: PLAIN})).encode())
    assert parse_entry(ONE, PLAIN).id == ONE
    with pytest.raises(ValueError, match=f"the entry of key {ONE} is invalid"):
        Roster.decode(json.dumps(told_in(keys={ONE: fields})).encode())
    with pytest.raises(ValueError, match="the entry is invalid"):
        parse_entry(ONE, fields)


@pytest.mark.parametrize("key_id", ["../../x", "", "1" * 31, "1" * 33, "A" * 32, "1" * 31 + "\n"])
def test_an_id_that_could_lead_elsewhere_is_refused(key_id: str) -> None:
    """The id of a key is the name of its file."""
    revoked = {"state": "revoked", "revoked": NOW}
    with pytest.raises(ValueError, match="32 hexadecimal digits"):
        Roster.decode(json.dumps(told_in(keys={ONE: PLAIN, key_id: revoked})).encode())
    with pytest.raises(ValueError, match="invalid"):
        parse_entry(key_id, revoked)


@pytest.mark.parametrize(
    ("index", "told"),
    [
        ([], "format"),
        (told_in(format="pickleseal-keyring-0"), "format"),
        (told_in(more=1), "missing or unknown"),
        (told_in(epoch="1"), "whole number"),
        (told_in(keys=[]), "not an object"),
        *((told_in(primary=primary), "active keys") for primary in (TWO, THREE, 1, [ONE])),
        (told_in(last_primary=TWO), "last primary"),
        *(
            (told_in(primary=None, last_primary=last), "last primary")
            for last in (ONE, THREE, 1, None)
        ),
    ],
)
def test_an_index_with_a_fault_is_refused(index: object, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Roster.decode(json.dumps(index).encode())


def test_a_note_is_no_place_for_a_key_line() -> None:
    assert new_entry(ONE, Suite.BLAKE3, created=NOW, note="a" * MAX_TEXT).note == "a" * MAX_TEXT
    for wrong in ("a" * (MAX_TEXT + 1), "a\nb"):
        with pytest.raises(KeyringError, match="one line"):
            new_entry(ONE, Suite.BLAKE3, created=NOW, note=wrong)
    line = KeyLine.generate().reveal()
    with pytest.raises(KeyringError, match="key line"):
        new_entry(ONE, Suite.BLAKE3, created=NOW, note=line)
    with pytest.raises(ValueError, match="key line"):
        parse_entry(ONE, {**PLAIN, "note": line})


def test_a_key_that_begins_later_ends_later() -> None:
    begin = partial(new_entry, ONE, Suite.BLAKE3, created=NOW, sign_from=NOW + 10)
    assert begin(sign_until=NOW + 11).sign_from == NOW + 10
    with pytest.raises(KeyringError, match="after it starts"):
        begin(sign_until=NOW + 10)
    for early in (NOW - 1, NOW):
        assert new_entry(ONE, Suite.BLAKE3, created=NOW, sign_from=early).sign_from is None


def test_what_is_not_set_is_not_written() -> None:
    assert fields_of(entry(ONE)) == {"suite": 2, "state": "active", "created": NOW, "note": ""}


def test_a_ring_that_never_had_a_primary_rotates() -> None:
    roster = Roster.empty().add(entry(ONE, State.RETIRED)).rotate(entry(TWO))
    assert states(roster) == {"1": State.RETIRED, "2": State.ACTIVE}
    assert roster.primary == TWO


def test_a_key_that_is_to_replace_another_keeps_waiting_when_a_third_becomes_the_primary() -> None:
    roster = ring(ONE, THREE).rotate(entry(TWO)._replace(sign_from=NOW + 100))
    assert roster.entries[TWO].replaces == ONE
    for changed in (roster.make_primary(THREE), roster.rotate(entry("4" * 32)).at(NOW)):
        kept = changed.entries[TWO]
        gone = changed.primary != THREE
        assert (kept.replaces, kept.sign_from) == ((None, None) if gone else (ONE, NOW + 100))


@pytest.mark.parametrize("context", ["a\nb", "\0", "", "x" * 5000])
def test_a_key_is_bound_to_no_context_that_a_file_cannot_have(context: str) -> None:
    with pytest.raises(KeyringError):
        normal_patterns(["good", context])


def test_a_key_is_found_by_a_prefix_and_never_by_nothing() -> None:
    assert ring(ONE).find("1").id == ONE
    with pytest.raises(KeyringError):
        ring(ONE).find("")


def test_a_key_line_in_place_of_an_id_is_not_shown() -> None:
    line = KeyLine.generate().reveal()
    with pytest.raises(KeyringError, match="this is a key line") as refused:
        ring(ONE).find(line)
    assert line.split(".")[2] not in str(refused.value)


def test_a_key_that_is_to_seal_later_is_no_first_primary() -> None:
    later = entry(ONE)._replace(sign_from=NOW + 1)
    roster = Roster.empty().add(later)
    assert roster.primary is None
    assert roster.entries[ONE].sign_from == NOW + 1


def test_what_is_to_replace_one_key_does_not_replace_another_that_was_revoked() -> None:
    waiting = entry(TWO)._replace(sign_from=NOW + 5, replaces=THREE)
    roster = ring(ONE).add(waiting).revoke(ONE, reason="", now=NOW)
    assert roster.at(NOW + 10).primary is None


@pytest.mark.parametrize(
    "changes",
    [5, None, ["a" * 16], "", "x" * 16, "A" * 16, "a" * 15, "a" * 17, f"{'a' * 16}  {'a' * 16}"],
)
def test_changes_that_are_no_ids_are_a_damaged_index(changes: object) -> None:
    index = json.loads(ring(ONE, TWO, THREE).encode())
    for text, fits in ((changes, False), ("a" * 16, True), (" ".join(["a" * 16] * 90), False)):
        with nullcontext() if fits else pytest.raises(ValueError, match="changes"):
            Roster.decode(json.dumps({**index, "changes": text}).encode())


def test_the_key_that_is_to_seal_last_replaces_the_primary() -> None:
    for first, last in ((NOW + 1, NOW + 5), (None, NOW + 5)):
        roster = ring(ONE)
        for key_id, since in ((THREE, first), (TWO, last)):
            roster = roster.add(entry(key_id)._replace(sign_from=since, replaces=ONE))
        assert roster.at(NOW + 10).primary == TWO


def test_only_a_key_that_waits_for_its_time_is_a_successor() -> None:
    roster = ring(ONE).add(entry(TWO)._replace(replaces=ONE))
    assert roster.successor() is None
    waiting = entry(THREE)._replace(replaces=ONE, sign_from=NOW + 1)
    assert roster.add(waiting).successor() == waiting
    sooner = waiting._replace(id="4" * 32, sign_from=NOW)
    other = sooner._replace(id="5" * 32, replaces="6" * 32, sign_from=1)
    several = roster.add(waiting).add(sooner).add(other)
    assert several.successor() == sooner
    assert several.revoke(ONE, reason="", now=NOW, leaked=NOW).successor() == sooner


def test_a_ring_without_a_primary_gets_the_key_that_was_to_replace_one() -> None:
    waiting = entry(TWO)._replace(sign_from=NOW + 1)
    assert Roster.empty().add(waiting).at(NOW + 2).primary is None
    assert Roster.empty().add(waiting._replace(replaces=ONE)).at(NOW + 2).primary == TWO


def test_a_key_may_seal_until_1970_and_not_before() -> None:
    assert ring(ONE).limit(ONE, sign_until=0, contexts=None).entries[ONE].sign_until == 0
    with pytest.raises(KeyringError):
        ring(ONE).limit(ONE, sign_until=-1, contexts=None)


def test_a_ring_came_from_itself_whether_or_not_it_lists_its_changes() -> None:
    roster = ring(ONE, TWO)
    for one in (roster, roster._replace(changes=())):
        assert one.came_from(one)


def test_the_last_primary_is_known_until_there_is_a_new_one() -> None:
    roster = ring(ONE).add(entry(TWO, State.RETIRED)).revoke(ONE, reason="", now=NOW)
    assert roster.annotate(TWO, "kept").last_primary == ONE
    assert roster.rotate(entry(THREE)).last_primary is None


def test_a_ring_that_lost_its_list_of_changes_did_not_make_the_one_that_is_required() -> None:
    roster = ring(ONE, TWO, THREE)
    pin = Pin(roster.epoch, roster.change(roster.epoch))
    assert pin.fault(roster) is None
    assert pin.fault(roster._replace(changes=())) is not None
    assert pin.fault(roster._replace(changes=("a" * 16,))) is not None
    assert Pin(roster.epoch - 1, "b" * 16).fault(roster) is not None
