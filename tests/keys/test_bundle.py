"""The text by which keys travel: what it keeps, and what it refuses."""

import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pickleseal import KeyringError, Suite
from pickleseal.keys.bundle import entry_text, read_bundle
from pickleseal.keys.key import KeyLine, encode, outline
from pickleseal.keys.roster import Entry, State, fields_of, new_entry

NOW = 1_800_000_000
LINE = KeyLine.generate()
ID = outline(LINE).id
ENTRY = new_entry(ID, Suite.BLAKE3, created=NOW, note="mine", contexts=["fraud/*"])
TOMBSTONE = Entry("2" * 32, None, State.REVOKED, revoked=NOW, reason="stolen", leaked=NOW - 9)


def words(text: str) -> list[KeyLine]:
    return [KeyLine(word) for word in text.split()]


def text_of(key_id: str, fields: object) -> str:
    return f"pickleseal-entry-1.{encode(json.dumps(fields).encode())}.{key_id}"


texts = st.text(st.characters(categories=["L", "N", "P", "S", "Zs"]), max_size=30)
counts = st.none() | st.integers(0, (1 << 53) - 1)


@given(
    texts.filter(str.isprintable),
    st.sampled_from([State.ACTIVE, State.RETIRED]),
    counts,
    counts,
    st.none() | st.just(("a b", "c/*")),
)
def test_an_entry_comes_back_as_it_was(
    note: str,
    state: State,
    created: int | None,
    until: int | None,
    contexts: tuple[str, ...] | None,
) -> None:
    entry = Entry(ID, Suite.BLAKE3, state, created, note, until, contexts)
    text = entry_text(entry)
    assert len(text.split()) == 1
    assert text.isascii()
    assert read_bundle(words(f"{text} {LINE.reveal()}")).entries == {ID: entry}


def test_a_line_may_stand_without_an_entry_and_a_revocation_without_a_line() -> None:
    found = read_bundle(words(f"{LINE.reveal()}\n{entry_text(TOMBSTONE)}\n"))
    assert [line.reveal() for line in found.lines] == [LINE.reveal()]
    assert found.entries == {TOMBSTONE.id: TOMBSTONE}


def test_a_revocation_beats_the_line_and_the_entry_of_its_key_wherever_it_stands() -> None:
    dead = ENTRY._replace(state=State.REVOKED, revoked=NOW)
    parts = [entry_text(ENTRY), LINE.reveal(), entry_text(dead)]
    for order in (parts, parts[::-1]):
        found = read_bundle(words(" ".join(order)))
        assert found.lines == ()
        assert found.entries == {ID: dead}


REFUSED: dict[str, Callable[[], str]] = {
    "an entry without its line": lambda: entry_text(ENTRY),
    "another suite": lambda: f"{entry_text(ENTRY._replace(suite=Suite.SHA256))} {LINE.reveal()}",
    "two entries": lambda: (
        f"{entry_text(ENTRY)} {entry_text(ENTRY._replace(contexts=None))} {LINE.reveal()}"
    ),
    "a later version": lambda: entry_text(TOMBSTONE).replace("entry-1", "entry-2"),
    "a cut id": lambda: entry_text(TOMBSTONE)[:-1],
    "cut fields": lambda: entry_text(TOMBSTONE).replace(".", ".x", 1),
    "no base64": lambda: f"pickleseal-entry-1.!!.{ID}",
    "no fields": lambda: f"pickleseal-entry-1..{ID}",
    "no id": lambda: "pickleseal-entry-1",
    "an unknown field": lambda: text_of(ID, {**fields_of(TOMBSTONE), "trusted": 1}),
    "a list": lambda: text_of(ID, []),
    "a note of two lines": lambda: text_of(ID, {**fields_of(TOMBSTONE), "note": "a\nb"}),
    "a note with a key line": lambda: text_of(ID, {**fields_of(TOMBSTONE), "note": LINE.reveal()}),
    "no key line": lambda: "hello",
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_no_export_writes_is_refused_and_no_secret_is_shown(name: str) -> None:
    with pytest.raises(KeyringError) as caught:
        read_bundle(words(REFUSED[name]()))
    assert LINE.reveal().split(".")[2] not in str(caught.value)
