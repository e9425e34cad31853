"""inspect and verify: three states, told apart, and nothing unpickled."""

import io
import json
import os
from pathlib import Path
from typing import Any

import pytest
from watching import Mark, armed, nothing_unpickled

from pickleseal import (
    BadSealError,
    ContextError,
    Inspection,
    Key,
    Keyring,
    KeyringError,
    MalformedError,
    NoKeyError,
    NotSealedError,
    Status,
    adopt_bytes,
    inspect,
    signed_dump,
    signed_dumps,
    signed_load,
    verify,
)
from pickleseal.persistence import inspection


@pytest.fixture
def path(ring: Keyring, tmp_path: Path) -> Path:
    file = tmp_path / "model.pkl"
    signed_dump(
        Mark(tmp_path / "mark"), file, keyring=ring, context="fraud/v3", info={"accuracy": 0.9}
    )
    return file


def test_a_whole_envelope_tells_its_facts(path: Path, ring: Keyring) -> None:
    with nothing_unpickled():
        found = inspect(path, keyring=ring)
        assert verify(path, keyring=ring) == found
        assert verify(path, keyring=ring, context="fraud/v3") == found
    assert found.status is Status.WHOLE
    assert found.problem is None
    assert found.key_id == ring.primary
    assert found.file == str(path)
    assert found.size == path.stat().st_size
    assert found.digest is not None
    assert found.digest.startswith("ps2:")
    metadata = found.metadata
    assert metadata is not None
    assert metadata.class_name == "watching.Mark"
    assert metadata.context == "fraud/v3"
    assert metadata.info == {"accuracy": 0.9}
    assert metadata.source == "dumped"
    assert metadata.versions is not None
    assert "python" in metadata.versions
    assert metadata.imports is not None
    assert "Path.touch" in {name for _, name in metadata.imports}


def test_a_changed_body_leaves_the_header_vouched_for(path: Path, ring: Keyring) -> None:
    data = bytearray(path.read_bytes())
    data[-40] ^= 1
    found = inspect(io.BytesIO(data), keyring=ring)
    assert found.status is Status.HEADER
    assert found.problem
    assert found.digest is None
    assert found.metadata is not None
    with pytest.raises(BadSealError):
        verify(io.BytesIO(data), keyring=ring)


def test_a_changed_head_leaves_claims(path: Path, ring: Keyring) -> None:
    data = path.read_bytes().replace(b"fraud/v3", b"fraud/v9")
    found = inspect(io.BytesIO(data), keyring=ring)
    assert found.status is Status.UNVERIFIED
    assert found.problem
    assert found.metadata is not None
    assert found.metadata.context == "fraud/v9"
    with pytest.raises(BadSealError):
        verify(io.BytesIO(data), keyring=ring)


def test_without_the_key_all_is_a_claim(path: Path) -> None:
    for keyring in (Keyring(Key.generate()), None):
        found = inspect(path, keyring=keyring)
        assert found.status is Status.UNVERIFIED
        assert found.problem
        assert found.metadata is not None
        assert dict(found.rows())["status"].startswith("UNVERIFIED")
    with pytest.raises(NoKeyError):
        verify(path)
    with pytest.raises(KeyringError):
        verify(path)


def test_a_header_alone_is_told_for_a_file_whose_body_is_not_read(
    path: Path, ring: Keyring
) -> None:
    data = bytearray(path.read_bytes())
    data[-40] ^= 1
    path.write_bytes(data)
    found = inspect(path, keyring=ring, header_only=True)
    assert found.status is Status.HEADER
    assert found.problem is None
    huge = path.with_name("huge")
    from pickleseal.envelope import metadata as md
    from pickleseal.envelope import seal

    head = seal.seal_head(
        ring.sealing_key(context=None, now=0), md.Metadata(content="pickle"), [1 << 42]
    )
    huge.write_bytes(head.data)
    os.truncate(huge, head.head.fixed.total_size)
    assert inspect(huge, keyring=ring, header_only=True).status is Status.HEADER


def test_what_is_no_envelope_is_raised(tmp_path: Path, ring: Keyring, path: Path) -> None:
    for act in (inspect, verify):
        with pytest.raises(NotSealedError):
            act(io.BytesIO(armed(tmp_path / "mark")), keyring=ring)
        with pytest.raises(MalformedError):
            act(io.BytesIO(path.read_bytes()[:90]), keyring=ring)
        with pytest.raises(FileNotFoundError):
            act(tmp_path / "nothing", keyring=ring)
    assert not (tmp_path / "mark").exists()


def test_a_folder_and_what_follows_an_envelope_are_told_as_what_they_are(
    path: Path, ring: Keyring
) -> None:
    with pytest.raises(NotSealedError, match=r"is a folder\. Name a file in it"):
        inspect(path.parent, keyring=ring)
    for size in (0, 1 << 20):
        signed_dump(bytes(size), path, keyring=ring)
        for more, text in (
            (b"\n", "1 unexpected byte after the sealed data"),
            (b"ab", "2 unexpected bytes after the sealed data"),
        ):
            with open(path, "ab") as file:
                file.write(more)
            with pytest.raises(MalformedError, match=text):
                verify(path, keyring=ring)
            os.truncate(path, path.stat().st_size - len(more))


@pytest.fixture(params=[1, 1 << 18], ids=["small", "large"])
def days(request: pytest.FixtureRequest, path: Path, ring: Keyring) -> Path:
    """A file of three envelopes."""
    with path.open("wb") as file:
        for day in ("mon", "tue", "wed"):
            signed_dump(day * request.param, file, keyring=ring, context=day)
    return path


def test_all_objects_of_a_file_are_verified_and_counted(days: Path, ring: Keyring) -> None:
    with nothing_unpickled():
        for act in (inspect, verify):
            found = act(days, keyring=ring)
            told = (found, *found.others)
            assert [one.metadata and one.metadata.context for one in told] == ["mon", "tue", "wed"]
            assert {one.status for one in told} == {Status.WHOLE}
            assert sum(one.size for one in told) == days.stat().st_size
            assert len(found.to_dict()["others"]) == 2
            assert dict(found.rows())["objects"].startswith("3 objects in sequence: a")
    assert [one.status for one in inspect(days, keyring=ring, header_only=True).others] == [
        Status.HEADER,
        Status.HEADER,
    ]
    with pytest.raises(MalformedError, match="another sealed object follows"):
        signed_load(days, keyring=ring, context="mon")
    with pytest.raises(ContextError, match="object 2: "):
        verify(days, keyring=ring, context="mon")


def test_what_one_object_does_not_have_is_in_no_dict(
    days: Path, ring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inspection, "MOST_LISTED", 2)
    found = inspect(days, keyring=ring)
    assert found.problem is None
    assert len(found.to_dict()["others"]) == found.to_dict()["others_left_out"] == 1
    for others in ((), found.others[:1]):
        keys = found._replace(others=others).to_dict().keys()
        assert keys & {"problem", "others", "others_left_out"} == {"others"} - {
            "others" * (not others)
        }
    assert "size" in dict(found._replace(metadata=None).rows())


def test_one_bad_object_makes_a_file_of_several_bad(days: Path, ring: Keyring) -> None:
    data = days.read_bytes()
    second = inspect(days, keyring=ring).size
    third = len(data) - inspect(days, keyring=ring).others[1].size
    for at, number, status in (
        (len(data) - 1, 3, Status.HEADER),
        (second + 70, 2, Status.UNVERIFIED),
    ):
        broken = bytearray(data)
        broken[at] ^= 1
        days.write_bytes(broken)
        with pytest.raises(BadSealError, match=f"object {number}: the seal does not hold"):
            verify(days, keyring=ring)
        found = inspect(days, keyring=ring)
        assert found.status is status
        assert f"object {number} of 3: the seal does not hold" in str(found.problem)
        assert inspection.REST_NOT_READ not in str(found.problem)
    for changed, number in ((data[:-1], 3), (data + b"more", 3), (data[: third + 20], 3)):
        days.write_bytes(changed)
        for act in (inspect, verify):
            with pytest.raises(MalformedError, match=f"object {number}: "):
                act(days, keyring=ring)


def test_the_size_of_what_is_no_pickle_is_not_told_as_that_of_one(
    path: Path, ring: Keyring, tmp_path: Path
) -> None:
    from pickleseal.persistence.inventory import Inventory
    from pickleseal.persistence.inventory_file import write_inventory

    assert ": pickle " in dict(inspect(path, keyring=ring).rows())["size"]
    write_inventory(Inventory(1, ()), str(tmp_path / "list"), keyring=ring)
    assert ": content " in dict(inspect(tmp_path / "list", keyring=ring).rows())["size"]


def test_verify_enforces_a_context_that_is_given(path: Path, ring: Keyring) -> None:
    with pytest.raises(ContextError):
        verify(path, keyring=ring, context="spam")
    bare = io.BytesIO(signed_dumps(1, keyring=ring))
    with pytest.raises(ContextError):
        verify(bare, keyring=ring, context="spam")


def test_an_inspection_is_plain_json_and_a_table(path: Path, ring: Keyring) -> None:
    found = inspect(path, keyring=ring)
    again: dict[str, Any] = json.loads(json.dumps(found.to_dict()))
    assert again["status"] == "whole"
    assert again["metadata"]["context"] == "fraud/v3"
    html = found._repr_html_()
    assert html.count("<tr>") == len(found.rows())
    assert str(ring.primary) in html


def test_an_inspection_of_every_kind_can_be_shown(ring: Keyring) -> None:
    adopted = inspect(io.BytesIO(adopt_bytes(b"N.", keyring=ring)), keyring=ring)
    taken: list[object] = []
    beside = signed_dumps(bytearray_like(), 5, keyring=ring, buffer_callback=taken.append)
    large = signed_dumps([bytearray_like(1 << 20)], keyring=ring)
    for data in (beside, large):
        found = inspect(io.BytesIO(data), keyring=ring)
        assert found.status is Status.WHOLE
        assert found._repr_html_()
        assert json.dumps(found.to_dict())
    assert "adopted" in dict(adopted.rows())["content"]
    assert isinstance(adopted, Inspection)


def bytearray_like(size: int = 10) -> Any:
    import pickle

    return pickle.PickleBuffer(bytearray(size))


def test_a_file_object_is_left_after_its_envelope(ring: Keyring) -> None:
    one, two = (signed_dumps(n, keyring=ring) for n in range(2))
    stream = io.BytesIO(one + two)
    assert verify(stream, keyring=ring).size == len(one)
    assert verify(stream, keyring=ring).size == len(two)


def test_what_is_whole_names_the_level_of_a_verifier(ring: Keyring) -> None:
    data = signed_dumps(1, keyring=ring)
    whole = inspect(io.BytesIO(data), keyring=ring)
    assert whole.to_dict()["level"] == "verifier"
    assert verify(io.BytesIO(data), keyring=ring).level == "verifier"
    header = inspect(io.BytesIO(data), keyring=ring, header_only=True)
    broken = inspect(io.BytesIO(data[:-1] + bytes([data[-1] ^ 1])), keyring=ring)
    for found in (header, broken):
        assert found.level is None
        assert "level" not in found.to_dict()
