"""Strict JSON: the one reader of texts in our own formats."""

import json
from typing import Any

_LONGEST_INTEGER = len("-9007199254740992")  # -2^53; int() never works on more digits


def parse_json(text: str) -> Any:  # noqa: ANN401 - any JSON
    """Return the value of one JSON text.

    Raise ValueError for anything else, and for a name that occurs twice in an object, NaN and the
    infinities, an integer of over 16 digits, and nesting that Python cannot follow.
    """
    try:
        return _DECODER.decode(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a name occurs twice in an object")
    return made


def _integer(digits: str) -> int:
    if len(digits) > _LONGEST_INTEGER:
        raise ValueError("an integer is out of range")
    return int(digits)


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a JSON number")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_integer, parse_constant=_refuse_constant
)
