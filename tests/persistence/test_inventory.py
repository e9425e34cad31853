"""The text of an inventory: what is read back, and what is refused."""

import hashlib
from pathlib import Path

import pytest

from pickleseal import BadSealError, Keyring, MalformedError, PolicyError, Suite, signed_dump
from pickleseal.envelope.layout import head_bytes, pack_head
from pickleseal.persistence.inventory import Inventory, Item
from pickleseal.persistence.inventory_file import read_inventory, write_inventory, write_text

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
        {"serial": True},
        {"created": 1.0},
        {"more": 1},
        {"digest": "sha256:" + "0" * 64},  # of an unsealed file, which has no metadata
        {"digest": "sha256:" + "0" * 63, "metadata": None},
        {"digest": "sha256:" + "0" * 64, "metadata": None, "context": "a"},
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


def test_lines_of_unsealed_files_and_of_all_fields_are_read_back() -> None:
    full = Item("a", "ps1:" + "f" * 64, "e" * 64, "context", 7, 1)
    found = Inventory(0, (full, Item("b", "sha256:" + "0" * 64)))
    assert Inventory.decode(found.encode()) == found
    assert found.known() == {(full.digest, full.metadata)}


def test_only_a_list_is_read_as_one(tmp_path: Path, ring: Keyring) -> None:
    path = tmp_path / "the.list"
    signed_dump([], path, keyring=ring)
    with pytest.raises(PolicyError, match="not an inventory"):
        read_inventory(path, keyring=ring)
    digest = write_inventory(Inventory(0, ()), str(path), keyring=ring)
    for given in (None, digest, f" {digest.upper()}\n"):
        assert read_inventory(path, keyring=ring, sha256=given).inventory == Inventory(0, ())
    with pytest.raises(BadSealError, match="another file"):
        read_inventory(path, keyring=ring, sha256="0" * 64)
    with pytest.raises(BadSealError, match="64 hexadecimal digits, not '00'"):
        read_inventory(path, keyring=ring, sha256="00")
    head = pack_head(Suite.BLAKE3, bytes(16), b"{}", [1 << 40])
    path.write_bytes(head_bytes(head))
    with pytest.raises(PolicyError):  # and a terabyte is not waited for
        read_inventory(path, keyring=ring, sha256="0" * 64)
    with pytest.raises(BadSealError, match="64 hexadecimal digits, not '00'"):
        read_inventory(path, keyring=ring, sha256="00")


@pytest.mark.parametrize("items", [0, 20_000])
def test_an_inventory_in_pieces_is_that_which_is_written_at_once(
    tmp_path: Path, ring: Keyring, items: int
) -> None:
    found = Inventory(0, tuple(Item(f"{n}.pkl", f"sha256:{n:064x}") for n in range(items)))
    text = found.encode()
    pieces = [text[start : start + 99_999] for start in range(0, len(text), 99_999)]
    at_once, in_pieces = str(tmp_path / "at once"), str(tmp_path / "in pieces")
    write_inventory(found, at_once, keyring=ring)
    sha256 = write_text(pieces, len(text), in_pieces, keyring=ring, context=None)
    assert hashlib.sha256(Path(in_pieces).read_bytes()).hexdigest() == sha256
    for path in (at_once, in_pieces):
        assert read_inventory(path, keyring=ring).inventory == found
