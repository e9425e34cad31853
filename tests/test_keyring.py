"""Which key seals, and which opens."""

import pytest

from pickleseal import (
    Key,
    Keyring,
    KeyringError,
    MalformedError,
    RevokedKeyError,
    Suite,
    UnknownKeyError,
    signed_dumps,
    signed_loads,
)
from pickleseal.roster import Entry, Roster, State


def ring_of(states: list[State], primary: int | None) -> tuple[Keyring, list[Key]]:
    keys = [Key.generate() for _ in states]
    entries = {
        key.id: Entry(key.id, key.suite, state) for key, state in zip(keys, states, strict=True)
    }
    chosen = None if primary is None else keys[primary].id
    usable = [key for key in keys if entries[key.id].state is not State.REVOKED]
    return Keyring.of(Roster(1, chosen, entries), usable, name="a ring"), keys


def test_the_first_key_seals_and_all_open() -> None:
    old, new = Key.generate(), Key.generate(Suite.SHA256)
    data = signed_dumps("old", keyring=Keyring(old))
    both = Keyring(new, old)
    assert signed_loads(data, keyring=both) == "old"
    assert signed_dumps(1, keyring=both)[16:32] == new.raw_id


def test_active_and_retired_keys_open_and_revoked_ones_do_not() -> None:
    ring, keys = ring_of([State.ACTIVE, State.ACTIVE, State.RETIRED, State.REVOKED], 0)
    for key in keys[:3]:
        assert signed_loads(signed_dumps(1, keyring=Keyring(key)), keyring=ring) == 1
    with pytest.raises(RevokedKeyError):
        signed_loads(signed_dumps(1, keyring=Keyring(keys[3])), keyring=ring)
    with pytest.raises(UnknownKeyError):
        signed_loads(signed_dumps(1, keyring=Keyring(Key.generate())), keyring=ring)


@pytest.mark.parametrize("state", [State.RETIRED, State.REVOKED])
def test_a_key_that_is_not_active_is_no_primary(state: State) -> None:
    with pytest.raises(KeyringError):
        ring_of([state], 0)


def test_a_ring_without_a_primary_seals_nothing() -> None:
    ring, _ = ring_of([State.ACTIVE], None)
    with pytest.raises(KeyringError):
        signed_dumps(1, keyring=ring)


def test_a_key_is_listed_once() -> None:
    key = Key.generate()
    with pytest.raises(KeyringError):
        Keyring(key, key)


def test_a_ring_tells_how_many_keys_it_has() -> None:
    key = Key.generate()
    assert "1 key," in repr(Keyring(key))
    assert "2 keys," in repr(Keyring(key, Key.generate()))


def test_a_key_of_another_suite_than_the_head_names_is_refused() -> None:
    key = Key.generate(Suite.SHA256)
    with pytest.raises(MalformedError):
        Keyring(key).opening_key(key.raw_id, Suite.BLAKE3)
