"""Metadata have one spelling, and come back from it as they were."""

import json
from typing import Any

import pytest
from fields import CONTROLS, DIGEST, SURROGATES, any_metadata, canonical, infos
from hypothesis import given, settings
from hypothesis import strategies as st

from pickleseal import MalformedError, MetadataError
from pickleseal.envelope.metadata import (
    CONTENTS,
    MAX_IMPORTS_SIZE,
    MAX_SIZE,
    External,
    Metadata,
    fits_imports,
)

# --- one spelling ----------------------------------------------------------------------------


@settings(deadline=None)
@given(any_metadata)
def test_what_is_encoded_is_decoded_as_it_was_and_spelled_alike_again(metadata: Metadata) -> None:
    data = metadata.encode()
    again = Metadata.decode(data)
    assert again == metadata
    assert again.encode() == data
    assert json.loads(data)["content"] == metadata.content
    assert data == canonical(json.loads(data))


@given(infos)
def test_values_of_info_come_back_with_their_types(info: dict[str, Any]) -> None:
    again = Metadata.decode(Metadata(content="pickle", info=info).encode()).info
    # repr tells 1 from 1.0 and True, and -0.0 from 0.0.
    assert again is not None
    assert repr(sorted_in_depth(again)) == repr(sorted_in_depth(info))


def sorted_in_depth(value: Any) -> Any:
    if isinstance(value, dict):
        return [(name, sorted_in_depth(value[name])) for name in sorted(value)]
    if isinstance(value, list):
        return [sorted_in_depth(item) for item in value]
    return value


def test_every_field_worked_out_by_hand() -> None:
    metadata = Metadata(
        content="pickle",
        source="adopted",
        class_name="a.B",
        context="é",
        created=1,
        expires=2,
        serial=3,
        versions={"python": "3.11.4", "numpy": "2"},
        imports=(("a", "B"), ("a", "C")),
        external=External(2, 10, DIGEST),
        info={"z": 1.5, "a": [True, -0.0, 1e100, '"']},
    )
    expected = (
        '{"class":"a.B","content":"pickle","context":"é","created":1,"expires":2,'
        f'"external":{{"bytes":10,"count":2,"digest":"{DIGEST}"}},'
        '"imports":[["a","B"],["a","C"]],"info":{"a":[true,-0.0,1e+100,"\\""],"z":1.5},'
        '"serial":3,"source":"adopted","versions":{"numpy":"2","python":"3.11.4"}}'
    ).encode()
    assert metadata.encode() == expected
    assert Metadata.decode(expected) == metadata
    unpacked = Metadata(content="joblib", raw_size=4)
    assert unpacked.encode() == b'{"content":"joblib","raw_size":4}'
    assert Metadata.decode(unpacked.encode()) == unpacked


def test_a_source_may_be_left_out_of_what_is_read() -> None:
    assert Metadata.decode(b'{"content":"pickle"}') == Metadata(content="pickle")


def test_a_tuple_in_info_is_a_list_when_it_comes_back() -> None:
    again = Metadata.decode(Metadata(content="pickle", info={"a": (1, (2,))}).encode())
    assert again.info == {"a": [1, [2]]}


@pytest.mark.parametrize(
    "data",
    [
        b'{"content": "pickle"}',
        b' {"content":"pickle"}',
        b'{"content":"pickle"} ',
        b'{"content":"pickle"}\n',
        b'{"content":"pickle"}\0',
        b'{"content":"pickle"}{}',
        b'{"content":"pickle",}',
        b'\xef\xbb\xbf{"content":"pickle"}',
        b'{"content":"pickl\\u0065"}',
        b'{"content":"pickle","class":"a"}',
        b'{"content":"pickle","content":"pickle"}',
        b'{"class":"\\u00e9","content":"pickle"}',
        b'{"class":"a\\/b","content":"pickle"}',
        b'{"class":"\xe9","content":"pickle"}',
        b'{"class":"\xc0\xaf","content":"pickle"}',
        b'{"class":"\xed\xa0\x80","content":"pickle"}',
        b'{"class":"\\ud800","content":"pickle"}',
        b'{"class":"\n","content":"pickle"}',
        b'{"content":"pickle","serial":01}',
        b'{"content":"pickle","serial":1.0}',
        b'{"content":"pickle","serial":1e0}',
        b'{"content":"pickle","serial":-0}',
        b'{"content":"pickle","serial":+1}',
        b'{"content":"pickle","info":{"a":1.50}}',
        b'{"content":"pickle","info":{"a":1E100}}',
        b'{"content":"pickle","info":{"a":1e100}}',
        b'{"content":"pickle","info":{"a":NaN}}',
        b'{"content":"pickle","info":{"a":Infinity}}',
        b'{"content":"pickle","info":{"a":-Infinity}}',
        b'{"content":"pickle","info":{"a":1e999}}',
        b'{"content":"pickle","info":{"a":0.1000000000000000055511151231257827}}',
        b'{"content":"pickle","info":{"b":1,"a":1}}',
        b'{"content":"pickle","info":{"a":1,"a":1}}',
        b"{'content':'pickle'}",
        b"",
        b"{",
        b"null",
        b"[]",
        b'"content"',
        b"1",
        b"\xff\xfe{\0}\0",
        b"{}",
    ],
)
def test_any_other_spelling_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedError):
        Metadata.decode(data)


@pytest.mark.parametrize(
    "data",
    [
        b"[" * 60000,
        b"[" * 30000 + b"]" * 30000,
        b'{"content":"pickle","info":' + b'{"a":' * 12000 + b"1" + b"}" * 12001,
        b'{"content":"pickle","serial":' + b"9" * 65000 + b"}",
        b'{"content":"pickle","serial":-' + b"9" * 65000 + b"}",
        b'{"content":"pickle","info":{"a":0.' + b"9" * 65000 + b"}}",
        b'{"content":"pickle","info":{"a":1e' + b"9" * 65000 + b"}}",
        b'{"content":"' + b"\\" * 60000 + b'"}',
    ],
)
def test_json_that_would_exhaust_a_reader_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedError):
        Metadata.decode(data)


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_or_spelled_as_they_were(data: bytes) -> None:
    try:
        metadata = Metadata.decode(data)
    except MalformedError:
        return
    assert metadata.content in CONTENTS


@settings(deadline=None)
@given(any_metadata, st.data())
def test_changed_bytes_are_refused_or_the_one_spelling_of_something_else(
    metadata: Metadata, data: st.DataObject
) -> None:
    changed = bytearray(metadata.encode())
    changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    try:
        other = Metadata.decode(bytes(changed))
    except MalformedError:
        return
    assert canonical(json.loads(changed)) == changed
    assert other.encode() == changed or b'"source"' not in changed


# --- size ------------------------------------------------------------------------------------


@pytest.mark.parametrize("letter", ["a", "é", "😀", '"'])
def test_metadata_of_exactly_65536_bytes_are_taken_and_one_more_is_refused(letter: str) -> None:
    base = len(Metadata(content="pickle", info={"a": ""}).encode())
    count, rest = divmod(MAX_SIZE - base, len(json.dumps(letter, ensure_ascii=False).encode()) - 2)
    fitting = Metadata(content="pickle", info={"a": letter * count + "x" * rest})
    data = fitting.encode()
    assert len(data) == MAX_SIZE == 65536
    assert Metadata.decode(data) == fitting
    with pytest.raises(MetadataError):
        Metadata(content="pickle", info={"a": letter * count + "x" * (rest + 1)}).encode()


def test_names_fit_up_to_48_kib_and_not_a_byte_more() -> None:
    pair = ("m" * 9, "n" * 7)  # with 8 for quotes, brackets and commas, 24
    many = {(f"{number:09}", pair[1]) for number in range(MAX_IMPORTS_SIZE // 24)}
    assert fits_imports(frozenset(many))
    many.remove(("000000000", pair[1]))
    assert fits_imports(frozenset({*many, pair}))
    assert not fits_imports(frozenset({*many, ("m" * 10, "n" * 7)}))
    assert not fits_imports(frozenset({*many, pair, ("", "")}))


@pytest.mark.parametrize("bad", [*CONTROLS, *SURROGATES])
def test_names_with_control_characters_or_surrogates_do_not_fit(bad: str) -> None:
    assert not fits_imports(frozenset({("a", "b"), (bad, "b")}))
    assert not fits_imports(frozenset({("a", "b"), ("a", bad)}))


def test_no_names_fit_and_odd_ones_do() -> None:
    assert fits_imports(frozenset())
    assert fits_imports(frozenset({("", ""), ("a b", "<lambda>"), ("é", "日本")}))


@pytest.mark.parametrize("letter", ["m", "é", "日", "😀", '"', "\\"])
def test_names_that_fit_are_encoded_beside_the_other_fields(letter: str) -> None:
    """What fits_imports lets through, encode takes."""
    found = frozenset((f"{number}", letter * 93) for number in range(1000))
    fitting: set[tuple[str, str]] = set()
    for pair in sorted(found):
        if not fits_imports(frozenset({*fitting, pair})):
            break
        fitting.add(pair)
    assert len(fitting) > 90
    metadata = Metadata(content="pickle", imports=tuple(sorted(fitting)))
    assert Metadata.decode(metadata.encode()) == metadata


class Frozen(dict[str, Any]):
    """A mapping that can be hashed, and equals another as its values do."""

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(frozenset(self.items()))


@pytest.mark.parametrize(("before", "after"), [(1, True), (0.0, -0.0), (True, 1.0)])
def test_an_info_equal_to_a_cached_one_is_written_as_it_is(before: Any, after: Any) -> None:
    for value in (before, after):
        data = Metadata(content="pickle", info=Frozen(x=value)).encode()
        assert json.dumps(value) in data.decode()


@pytest.mark.parametrize("name", ["created", "serial", "expires"])
def test_a_value_equal_to_a_cached_count_is_still_checked(name: str) -> None:
    one: Any = 1
    Metadata(content="pickle", **{name: one}).encode()
    other: Any
    for other in (True, 1.0):
        with pytest.raises(MetadataError):
            Metadata(content="pickle", **{name: other}).encode()


def test_external_fields_equal_to_cached_counts_are_still_checked() -> None:
    Metadata(content="pickle", external=External(1, 5, "0" * 64)).encode()
    counts: list[Any] = [True, 1.0]
    for count in counts:
        with pytest.raises(MetadataError):
            Metadata(content="pickle", external=External(count, 5, "0" * 64)).encode()


def test_decoded_metadata_can_be_changed_without_changing_the_cache() -> None:
    data = b'{"content":"pickle","info":{"a":[1]},"versions":{"a":"1"}}'
    copy: Any = Metadata.decode(data)
    copy.info["a"].append(2)
    copy.versions["b"] = ()
    assert Metadata.decode(data).encode() == data
