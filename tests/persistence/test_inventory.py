"""The text of an inventory: what is read back, and what is refused."""

import pytest

from pickleseal import (
    MalformedError,
)
from pickleseal.persistence.inventory import Inventory, Item

ITEM = {"path": "a", "digest": "ps2:" + "0" * 64, "metadata": "0" * 64}


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\n",
        b"{}",
        b"{}\n",
        b"[]\n",
        b'{"format": "pickleseal-inventory-2", "created": 1}\n',
        b'{"format": "pickleseal-inventory-1"}\n',
        b'{"format": "pickleseal-inventory-1", "created": "x"}\n',
        b'{"format": "pickleseal-inventory-1", "created": 1, "x": 1}\n',
        b'{"format": "pickleseal-inventory-1", "created": 1}',
        b'{"format": "pickleseal-inventory-1", "created": 1}\n\n',
        b'{"format": "pickleseal-inventory-1", "created": 1}\n{"path": "a"}\n',
        b'{"format": "pickleseal-inventory-1", "created": 1}\n' + b"[" * 100_000 + b"\n",
        b'{"format": "pickleseal-inventory-1", "created": ' + b"1" * 5000 + b"}\n",
        b"\xff\n",
    ],
)
def test_a_text_that_is_no_inventory_is_refused(text: bytes) -> None:
    with pytest.raises(MalformedError):
        Inventory.decode(text)


@pytest.mark.parametrize(
    "changed",
    [
        {"digest": "ps3:" + "0" * 64},
        {"digest": "0" * 64},
        {"metadata": "0" * 63},
        {"metadata": None},
        {"path": 1},
        {"context": 1},
        {"serial": "1"},
    ],
)
def test_a_line_that_names_no_artifact_is_refused(changed: dict[str, object]) -> None:
    import json

    head = b'{"format": "pickleseal-inventory-1", "created": 1}\n'
    assert Inventory.decode(head + json.dumps(ITEM).encode() + b"\n").items
    with pytest.raises(MalformedError):
        Inventory.decode(head + json.dumps({**ITEM, **changed}).encode() + b"\n")


def test_an_odd_path_is_listed_as_it_is() -> None:
    item = Item("a\nb\udcff\x1b[2J", "ps1:" + "f" * 64, "e" * 64, "caf\u00e9")
    found = Inventory(0, (item,))
    text = found.encode()
    assert text.isascii()
    assert text.count(b"\n") == 2
    assert Inventory.decode(text) == found
