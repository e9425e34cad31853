"""Which key seals, and which opens."""

import pickle
import traceback
from pathlib import Path
from typing import Any

import joblib
import pytest

from pickleseal import (
    ContextError,
    Key,
    Keyring,
    KeyringError,
    MalformedError,
    RevokedKeyError,
    Suite,
    UnknownKeyError,
    open_keyring,
    signed_dumps,
    signed_loads,
)
from pickleseal.keys.roster import Entry, Roster, State
from pickleseal.keys.store.lookup import revoked_keys


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


@pytest.mark.parametrize(
    "wrong", ["zz", "", "2c0abba4", "g" * 32, f" {'0' * 31}", b"0" * 32, None, 7]
)
def test_what_is_no_id_is_an_error_and_not_a_key_that_is_missing(wrong: Any) -> None:
    key = Key.generate()
    with pytest.raises(KeyringError):
        Keyring(key).key(wrong)
    assert Keyring(key).key(key.id) is key
    assert Keyring(key).key(key.id.upper()) is key
    assert Keyring(key).key("0" * 32) is None


def test_a_ring_and_its_keys_do_not_change(ring_directory: Path) -> None:
    ring = open_keyring(ring_directory)
    assert ring.primary is not None
    key = ring.key(ring.primary)
    for thing, names in ((ring, ("name", "directory", "roster", "_keys")), (key, ("id", "suite"))):
        for name in (*names, "new"):
            with pytest.raises(AttributeError):
                setattr(thing, name, None)
            with pytest.raises(AttributeError):
                delattr(thing, name)
    with pytest.raises(TypeError):
        ring.entries["0" * 32] = None  # type: ignore[index]
    assert signed_loads(signed_dumps(1, keyring=ring), keyring=ring) == 1


def test_a_key_of_another_suite_than_the_head_names_is_refused() -> None:
    key = Key.generate(Suite.SHA256)
    with pytest.raises(MalformedError):
        Keyring(key).opening_key(key.raw_id, Suite.BLAKE3)


def test_a_ring_has_exactly_the_keys_that_it_lists() -> None:
    key, other = Key.generate(), Key.generate()
    roster = Roster(1, None, {key.id: Entry(key.id, key.suite, State.ACTIVE)})
    for keys in ([], [other], [key, other]):
        with pytest.raises(KeyringError):
            Keyring.of(roster, keys, name="a ring")
    assert Keyring.of(roster, [key], name="a ring").key(key.id) is key


def test_a_key_no_longer_seals_at_the_end_of_its_time() -> None:
    key = Key.generate()
    entry = Entry(key.id, key.suite, State.ACTIVE, sign_until=1000)
    ring = Keyring.of(Roster(1, key.id, {key.id: entry}), [key], name="a ring")
    assert ring.sealing_key(context=None, now=999.9) is key
    with pytest.raises(KeyringError):
        ring.sealing_key(context=None, now=1000)


def test_a_ring_in_memory_has_no_revoked_keys_to_open() -> None:
    with pytest.raises(KeyringError):
        revoked_keys(Keyring(Key.generate()))


def test_a_ring_is_made_of_keys(ring_directory: Path) -> None:
    for wrong in (str(ring_directory), open_keyring(ring_directory), None):
        with pytest.raises(TypeError, match="made of Key objects"):
            Keyring(wrong)  # type: ignore[arg-type]


def test_a_ring_that_is_sent_to_workers_says_to_send_its_path(ring_directory: Path) -> None:
    ring = open_keyring(ring_directory)
    with pytest.raises(Exception, match="pickle") as caught:
        joblib.Parallel(n_jobs=2)(joblib.delayed(len)(one) for one in [ring, ring])
    assert f"keyring={str(ring_directory)!r}" in "".join(traceback.format_exception(caught.value))
    for one in (ring, Keyring(Key.generate())):
        with pytest.raises(TypeError, match="cannot be pickled"):
            pickle.dumps(one)


def test_a_bound_key_seals_and_opens_for_its_contexts_alone() -> None:
    key = Key.generate()
    entry = Entry(key.id, key.suite, State.ACTIVE, contexts=("a/*", "b"))
    ring = Keyring.of(Roster(1, key.id, {key.id: entry}), [key], name="a ring")
    for context in ("a/x", "b"):
        assert ring.sealing_key(context=context, now=0) is key
        ring.check_binding(key, context)
    for other in ("b/x", None):
        with pytest.raises(KeyringError, match=r"bound to the contexts .*a/\*.*b"):
            ring.sealing_key(context=other, now=0)
        with pytest.raises(ContextError, match=r"binds to the contexts .*a/\*.*b"):
            ring.check_binding(key, other)
