"""When the doctor speaks of a ring's primary, to the second."""

from pathlib import Path
from typing import Any

import pytest

from pickleseal import Suite
from pickleseal.keys.roster import Roster, State, new_entry
from pickleseal.keys.store.doctor import DAY, SOON, _primary_faults

ONE, TWO = "1" * 32, "2" * 32
NOW = 1_800_000_000


def problems(roster: Roster) -> list[str]:
    found = _primary_faults(Path("ring"), roster, NOW, 365)
    return [one.problem for one in found]


def ring(**fields: Any) -> Roster:
    return Roster.empty().add(new_entry(ONE, Suite.BLAKE3, created=NOW)._replace(**fields))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, None),
        ({"sign_until": NOW - 1}, "no longer seals"),
        ({"sign_until": NOW}, "no longer seals"),
        ({"sign_until": NOW + 1}, "stops sealing in less than a day"),
        ({"sign_until": NOW + SOON * DAY - 1}, "stops sealing in 29 days"),
        ({"sign_until": NOW + SOON * DAY}, None),
        ({"created": NOW - 365 * DAY}, None),
        ({"created": NOW - 365 * DAY - 1}, "365 days old"),
        ({"created": None}, None),
    ],
)
def test_the_end_and_the_age_of_a_primary_are_told_in_time(
    fields: dict[str, Any], said: str | None
) -> None:
    found = problems(ring(**fields))
    assert len(found) == (said is not None)
    assert all(str(said) in problem for problem in found)


def test_a_key_that_is_to_replace_an_old_primary_is_an_answer_to_its_age() -> None:
    old = ring(created=NOW - 1000 * DAY)
    assert problems(old)
    later = new_entry(TWO, Suite.BLAKE3, created=NOW, sign_from=NOW + 1)
    assert not problems(old.rotate(later))


def test_a_ring_of_retired_keys_alone_is_meant_to_seal_nothing() -> None:
    assert not problems(ring(state=State.RETIRED))
    assert problems(ring().revoke(ONE, reason="", now=NOW))
    retired = new_entry(TWO, Suite.BLAKE3, created=NOW, state=State.RETIRED)
    assert problems(ring().add(retired)._replace(primary=None, last_primary=ONE).retire(ONE))
    assert problems(Roster.empty())
