"""Shelves: values come back as from shelve's own, and a planted or moved one is refused."""

import pickle
from pathlib import Path

import pytest
from watching import armed

from pickleseal import SealError, dumps
from pickleseal.integrations import shelve
from pickleseal.keys.store.changes import rotate


@pytest.fixture(autouse=True)
def _ring(ring_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PICKLESEAL_KEYRING", str(ring_directory))


def test_values_come_back_from_a_file(tmp_path: Path, ring_directory: Path) -> None:
    with shelve.open(tmp_path / "shelf") as shelf:
        shelf["a"] = [1, {"b": None}]
        shelf["ü"] = None
        shelf.update(c=3)
    rotate(ring_directory, now=1)
    with shelve.open(tmp_path / "shelf", "r") as shelf:
        assert dict(shelf) == {"a": [1, {"b": None}], "ü": None, "c": 3}
        assert shelf.get("gone", 7) == 7
        assert "a" in shelf
        with pytest.raises(KeyError):
            shelf["gone"]
    with shelve.open(tmp_path / "shelf") as shelf:
        del shelf["a"]
        assert shelf.pop("c") == 3
        assert list(shelf) == ["ü"]


def test_writeback_keeps_what_was_changed_in_place(tmp_path: Path) -> None:
    with shelve.open(tmp_path / "shelf", writeback=True) as shelf:
        shelf["list"] = []
        shelf["list"].append(1)
        shelf.sync()
        shelf["list"].append(2)
        assert shelf["list"] == [1, 2]
    with shelve.open(tmp_path / "shelf") as shelf:
        assert shelf["list"] == [1, 2]
        shelf["list"].append(3)  # in a copy, as shelve says
        assert shelf["list"] == [1, 2]


def test_what_was_planted_or_moved_is_refused(tmp_path: Path) -> None:
    store: dict[bytes, bytes] = {}
    shelf = shelve.Shelf(store, name="shop")
    shelf["mine"], shelf["other"] = ["user"], ["admin"]
    mark = tmp_path / "mark"
    for planted in (armed(mark), b"", store[b"mine"][:-1], dumps("for no key")):
        store[b"mine"] = planted
        with pytest.raises(SealError):
            shelf["mine"]
        with pytest.raises(pickle.UnpicklingError):
            shelf.get("mine")
    assert not mark.exists()
    store[b"mine"] = store[b"other"]
    with pytest.raises(SealError):
        shelf["mine"]
    assert shelf["other"] == ["admin"]
    with pytest.raises(SealError):
        shelve.Shelf(store, name="another")["other"]


def test_a_protocol_is_kept() -> None:
    store: dict[bytes, bytes] = {}
    shelve.Shelf(store, 2)["key"] = {"a": 1}
    assert shelve.Shelf(store)["key"] == {"a": 1}
