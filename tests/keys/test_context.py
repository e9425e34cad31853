"""A context has one spelling, in NFC; text that has none is refused."""

import unicodedata
from typing import Any

import pytest
from fields import CONTROLS, SURROGATES, texts
from hypothesis import given

from pickleseal import Key, Keyring, MetadataError, signed_dumps
from pickleseal.envelope.metadata import Metadata
from pickleseal.keys.context import (
    MAX_CONTEXT_SIZE,
    context_fault,
    context_to_seal,
    normalize_context,
)
from pickleseal.keys.key import KeyLine


@pytest.mark.parametrize(
    ("given", "normal"),
    [
        ("a", "a"),
        ("models/iris v2", "models/iris v2"),
        ("e\u0301", "é"),
        ("é", "é"),
        ("\u212b", "Å"),  # the angstrom sign
        ("ﬁ", "ﬁ"),  # NFC keeps a ligature
        ("\u1112\u1161\u11ab", "한"),
        ("a" * 255, "a" * 255),
        ("e\u0301" * 127, "é" * 127),  # 381 bytes as given, 254 as sealed
    ],
)
def test_a_context_is_brought_into_its_one_spelling(given: str, normal: str) -> None:
    assert normalize_context(given) == normal
    metadata = Metadata(content="pickle", context=normalize_context(given))
    assert Metadata.decode(metadata.encode()).context == normal


@given(texts)
def test_a_context_in_its_one_spelling_stays_as_it_is(text: str) -> None:
    try:
        normal = normalize_context(text)
    except MetadataError:
        normalized = unicodedata.normalize("NFC", text)
        assert not 1 <= len(normalized.encode()) <= MAX_CONTEXT_SIZE
        return
    assert normalize_context(normal) == normal


@pytest.mark.parametrize(
    "context", ["", "a" * 256, "é" * 128, "日" * 86, "\u0958" * 43, *CONTROLS, *SURROGATES]
)
def test_a_context_that_cannot_be_sealed_is_refused(context: str) -> None:
    """U+0958 takes 3 bytes as given and 6 in NFC."""
    with pytest.raises(MetadataError):
        normalize_context(context)


@pytest.mark.parametrize("context", [None, 1, b"a", ["a"], True])
def test_a_context_is_text(context: Any) -> None:
    with pytest.raises(TypeError):
        normalize_context(context)


def test_a_character_that_unicode_does_not_assign_is_read_and_not_sealed() -> None:
    """Its normal form may come to be another, and the file would be refused then."""
    unassigned = "fraud/\u0378"
    assert normalize_context(unassigned) == unassigned
    with pytest.raises(MetadataError, match="U\\+0378"):
        context_to_seal(unassigned)
    with pytest.raises(MetadataError, match="U\\+0378"):
        signed_dumps(1, keyring=Keyring(Key.generate()), context=unassigned)
    assert context_to_seal("\U0001f600e\u0301") == "\U0001f600é"
    assert context_to_seal(None) is None


def test_a_key_line_is_no_context() -> None:
    """People paste it there, and contexts are in every head."""
    with pytest.raises(MetadataError, match="key line"):
        normalize_context(KeyLine.generate().reveal())


@pytest.mark.parametrize("wrong", [None, 5, b"a", ["a"], True])
def test_what_is_no_text_has_a_fault(wrong: object) -> None:
    assert context_fault(wrong) == "a context is text without control characters"
