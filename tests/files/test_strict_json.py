"""Strict JSON: one spelling of an object's names, bounded numbers, and no error but ValueError."""

import sys

import pytest

from pickleseal.files.strict_json import parse_json


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": [1, "x", true, null, {}]}\n', {"a": [1, "x", True, None, {}]}),
        ("-9007199254740992", -(1 << 53)),
        ("1.5", 1.5),
    ],
)
def test_a_json_text_is_read(text: str, value: object) -> None:
    assert parse_json(text) == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "{} {}",
        "\ufeff{}",
        '{"a": 1, "a": 1}',
        '[{"a": {"b": 1, "b": 2}}]',
        "NaN",
        "[Infinity]",
        "-Infinity",
        "1" * 18,
        "-" + "1" * 5000,
        "[" * sys.getrecursionlimit() * 100,
        "['single']",
        "01",
    ],
    ids=lambda text: text[:20],
)
def test_anything_else_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_json(text)
