"""Metadata: one spelling of each, and what cannot stand in one."""

import json
import math
import sys
import unicodedata
from collections import ChainMap, UserDict
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pickleseal import MalformedError, MetadataError
from pickleseal.envelope.metadata import (
    CONTENTS,
    MAX_IMPORTS_SIZE,
    MAX_INTEGER,
    MAX_SIZE,
    SOURCES,
    External,
    Metadata,
    fits_imports,
)
from pickleseal.keys.context import MAX_CONTEXT_SIZE, normalize_context

DIGEST = "0123456789abcdef" * 4
CONTROLS = [*map(chr, range(0x20)), *map(chr, range(0x7F, 0xA0))]
SURROGATES = ["\ud800", "\udbff", "\udc00", "\udfff", "\ud83d\ude00"]

texts = st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=30)
names = st.text(
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-", min_size=1, max_size=64
)
counts = st.integers(0, MAX_INTEGER) | st.sampled_from([0, MAX_INTEGER])
scalars = (
    texts
    | st.booleans()
    | st.integers(-MAX_INTEGER - 1, MAX_INTEGER)
    | st.floats(allow_nan=False, allow_infinity=False)
)


def nested(below: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return scalars | st.lists(below, max_size=4) | st.dictionaries(names, below, max_size=4)


infos = st.dictionaries(names, nested(nested(scalars)), max_size=5)
contexts = (
    texts.map(lambda text: unicodedata.normalize("NFC", text))
    .filter(bool)
    .filter(lambda text: len(text.encode()) <= MAX_CONTEXT_SIZE)
)
imports = st.sets(st.tuples(texts, texts), max_size=8).map(lambda pairs: tuple(sorted(pairs)))
optional = {
    "source": st.sampled_from(SOURCES),
    "class_name": texts,
    "context": contexts,
    "created": counts,
    "expires": counts,
    "serial": counts,
    "versions": st.dictionaries(names, texts, max_size=5),
    "external": st.builds(
        External,
        st.integers(1, MAX_INTEGER),
        counts,
        st.binary(min_size=32, max_size=32).map(bytes.hex),
    ),
    "info": infos,
}
contents = st.sampled_from([content for content in CONTENTS if content != "joblib"])
any_metadata = (
    st.fixed_dictionaries({"content": contents}, optional=optional)
    | st.fixed_dictionaries({"content": contents, "imports": imports})
    | st.fixed_dictionaries({"content": contents, "imports_omitted": counts})
    | st.fixed_dictionaries({"content": st.just("joblib"), "raw_size": counts})
).map(lambda fields: Metadata(**fields))


def canonical(fields: Any) -> bytes:
    """Spell fields as the format says, with no check of what they are."""
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode(
        "utf-8", "surrogatepass"
    )


def refused_both_ways(metadata: Metadata, fields: dict[str, Any]) -> None:
    """Hold one and the same fault against the writer and against the reader."""
    with pytest.raises(MetadataError):
        metadata.encode()
    with pytest.raises(MalformedError):
        Metadata.decode(canonical({"content": "pickle", **fields}))


def refused_in_info(value: Any) -> None:
    refused_both_ways(Metadata(content="pickle", info={"a": value}), {"info": {"a": value}})
    refused_both_ways(Metadata(content="pickle", info={"a": [value]}), {"info": {"a": [value]}})


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
        content="joblib",
        source="adopted",
        class_name="a.B",
        context="é",
        created=1,
        expires=2,
        serial=3,
        versions={"python": "3.11.4", "numpy": "2"},
        imports=(("a", "B"), ("a", "C")),
        raw_size=4,
        external=External(2, 10, DIGEST),
        info={"z": 1.5, "a": [True, -0.0, 1e100, '"']},
    )
    expected = (
        '{"class":"a.B","content":"joblib","context":"é","created":1,"expires":2,'
        f'"external":{{"bytes":10,"count":2,"digest":"{DIGEST}"}},'
        '"imports":[["a","B"],["a","C"]],"info":{"a":[true,-0.0,1e+100,"\\""],"z":1.5},'
        '"raw_size":4,"serial":3,"source":"adopted","versions":{"numpy":"2","python":"3.11.4"}}'
    ).encode()
    assert metadata.encode() == expected
    assert Metadata.decode(expected) == metadata


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
def test_what_would_tire_a_reader_is_refused(data: bytes) -> None:
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


# --- what cannot stand in metadata -----------------------------------------------------------


@pytest.mark.parametrize("bad", [*CONTROLS, *SURROGATES])
def test_control_characters_and_surrogates_stand_in_no_text(bad: str) -> None:
    text = f"a{bad}b"
    one = Metadata(content="pickle")
    refused_both_ways(one._replace(class_name=text), {"class": text})
    refused_both_ways(one._replace(context=text), {"context": text})
    refused_both_ways(one._replace(versions={"numpy": text}), {"versions": {"numpy": text}})
    refused_both_ways(one._replace(imports=((text, "a"),)), {"imports": [[text, "a"]]})
    refused_both_ways(one._replace(imports=(("a", text),)), {"imports": [["a", text]]})
    refused_in_info(text)


@pytest.mark.parametrize("name", ["", "a" * 65, "a b", "é", "a/b", "a\n", "\0", "a:", "²", "٣"])
def test_a_name_is_64_plain_characters_at_most(name: str) -> None:
    one = Metadata(content="pickle")
    refused_both_ways(one._replace(versions={name: "1"}), {"versions": {name: "1"}})
    refused_both_ways(one._replace(info={name: 1}), {"info": {name: 1}})
    refused_both_ways(one._replace(info={"a": {name: 1}}), {"info": {"a": {name: 1}}})


@pytest.mark.parametrize("name", ["a", "a" * 64, "scikit-learn", "A.b_c-0", "."])
def test_a_name_of_plain_characters_is_taken(name: str) -> None:
    metadata = Metadata(content="pickle", versions={name: "1"}, info={name: {name: 1}})
    assert Metadata.decode(metadata.encode()) == metadata


@pytest.mark.parametrize("name", [1, None, True, 1.5, b"a", ("a",)])
def test_a_name_is_text(name: Any) -> None:
    for metadata in (
        Metadata(content="pickle", versions={name: "1"}),
        Metadata(content="pickle", info={name: 1}),
    ):
        with pytest.raises(MetadataError):
            metadata.encode()


@pytest.mark.parametrize("field", ["created", "expires", "serial", "imports_omitted"])
@pytest.mark.parametrize("value", [-1, MAX_INTEGER + 1, 10**30, 1.0, True, False, "1", [], {}])
def test_a_count_is_an_integer_from_0_to_2_to_the_53_less_1(field: str, value: Any) -> None:
    refused_both_ways(Metadata(content="pickle")._replace(**{field: value}), {field: value})


@pytest.mark.parametrize("field", ["created", "expires", "serial", "imports_omitted"])
@pytest.mark.parametrize("value", [0, 1, MAX_INTEGER])
def test_a_count_in_range_is_taken(field: str, value: Any) -> None:
    metadata = Metadata(content="pickle")._replace(**{field: value})
    assert Metadata.decode(metadata.encode()) == metadata


FIELDS_OF_A_WRONG_KIND: list[tuple[str, Any]] = [
    ("content", "else"),
    ("content", ""),
    ("content", 1),
    ("content", ["pickle"]),
    ("content", {}),
    ("source", "else"),
    ("source", 1),
    ("source", ["dumped"]),
    ("class", 1),
    ("class", ["a"]),
    ("context", 1),
    ("context", ""),
    ("context", ["a"]),
    ("context", "e\u0301"),
    ("context", "a" * 256),
    ("context", "é" * 128),
    ("versions", []),
    ("versions", "numpy"),
    ("versions", {"numpy": 2}),
    ("versions", {"numpy": True}),
    ("versions", {"numpy": ["2"]}),
    ("imports", "ab"),
    ("imports", {}),
    ("imports", ["ab"]),
    ("imports", [["a"]]),
    ("imports", [["a", "b", "c"]]),
    ("imports", [["a", 1]]),
    ("imports", [[1, "a"]]),
    ("imports", [{"a": 1, "b": 2}]),
    ("imports", [["b", "a"], ["a", "b"]]),
    ("imports", [["a", "c"], ["a", "b"]]),
    ("imports", [["a", "b"], ["a", "b"]]),
    ("info", []),
    ("info", "text"),
    ("info", 1),
    ("info", True),
]


@pytest.mark.parametrize(("name", "value"), FIELDS_OF_A_WRONG_KIND)
def test_a_field_of_a_wrong_kind_is_refused(name: str, value: Any) -> None:
    field = "class_name" if name == "class" else name
    refused_both_ways(Metadata(content="pickle")._replace(**{field: value}), {name: value})


def external(**changes: Any) -> dict[str, Any]:
    return {"count": 1, "bytes": 0, "digest": DIGEST, **changes}


@pytest.mark.parametrize(
    "changes",
    [
        {"count": 0},
        {"count": -1},
        {"count": True},
        {"count": 1.0},
        {"count": MAX_INTEGER + 1},
        {"bytes": -1},
        {"bytes": False},
        {"bytes": "1"},
        {"bytes": MAX_INTEGER + 1},
        {"digest": DIGEST[:-1]},
        {"digest": DIGEST + "0"},
        {"digest": DIGEST.upper()},
        {"digest": DIGEST[:-1] + "\n"},
        {"digest": DIGEST[:-1] + "g"},
        {"digest": DIGEST[:-1] + "٣"},
        {"digest": 1},
    ],
)
def test_external_buffers_of_a_wrong_kind_are_refused(changes: dict[str, Any]) -> None:
    fields = external(**changes)
    given = External(fields["count"], fields["bytes"], fields["digest"])
    refused_both_ways(Metadata(content="pickle", external=given), {"external": fields})


@pytest.mark.parametrize(
    "fields",
    [
        {},
        [1, 0, DIGEST],
        "external",
        external(more=1),
        {"count": 1, "bytes": 0},
        {"count": 1, "digest": DIGEST},
        {"bytes": 0, "digest": DIGEST},
    ],
)
def test_external_buffers_have_a_count_bytes_and_a_digest_and_nothing_else(fields: Any) -> None:
    with pytest.raises(MalformedError):
        Metadata.decode(canonical({"content": "pickle", "external": fields}))


@pytest.mark.parametrize("name", list(Metadata._fields))
def test_null_stands_for_no_field(name: str) -> None:
    spelled = "class" if name == "class_name" else name
    with pytest.raises(MalformedError):
        Metadata.decode(canonical({"content": "pickle", spelled: None}))


@pytest.mark.parametrize("name", ["class_name", "Content", "", "extra", "content ", "é"])
def test_a_field_that_the_format_does_not_know_is_refused(name: str) -> None:
    with pytest.raises(MalformedError):
        Metadata.decode(canonical({"content": "pickle", name: "a"}))


def test_there_is_always_a_content() -> None:
    with pytest.raises(MalformedError):
        Metadata.decode(canonical({"source": "dumped"}))


def test_joblib_content_says_how_large_it_is_and_nothing_else_does() -> None:
    refused_both_ways(Metadata(content="pickle", raw_size=1), {"raw_size": 1})
    refused_both_ways(Metadata(content="joblib"), {"content": "joblib"})


def test_imports_are_listed_or_counted_and_not_both() -> None:
    refused_both_ways(
        Metadata(content="pickle", imports=(("a", "b"),), imports_omitted=1),
        {"imports": [["a", "b"]], "imports_omitted": 1},
    )
    refused_both_ways(
        Metadata(content="pickle", imports=(), imports_omitted=0),
        {"imports": [], "imports_omitted": 0},
    )


# --- info ------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_float_of_info_is_finite(value: float) -> None:
    refused_in_info(value)


@pytest.mark.parametrize("value", [MAX_INTEGER + 1, -MAX_INTEGER - 2, 10**17, 10**30, -(10**30)])
def test_an_integer_of_info_out_of_range_is_refused(value: int) -> None:
    refused_in_info(value)


def test_an_integer_too_long_to_be_written_at_all_is_refused() -> None:
    for value in (10**5000, -(10**5000)):
        for metadata in (
            Metadata(content="pickle", info={"a": value}),
            Metadata(content="pickle", created=value),
        ):
            with pytest.raises(MetadataError):
                metadata.encode()


@pytest.mark.parametrize(
    "value",
    [MAX_INTEGER, -MAX_INTEGER - 1, 0, -0.0, 5e-324, sys.float_info.max, 0.1, True, "", [], {}],
)
def test_a_value_at_the_bounds_is_taken_as_it_is(value: Any) -> None:
    again = Metadata.decode(Metadata(content="pickle", info={"a": value}).encode())
    assert again.info is not None
    assert repr(again.info["a"]) == repr(value)


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"bytes",
        {1, 2},
        1j,
        object(),
        range(3),
        np.zeros(2),
        np.array(3),
        np.complex64(1),
        np.bytes_(b"a"),
        np.datetime64(1, "ns"),
        np.timedelta64(1, "s"),
        np.void(b"ab"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_of_a_type_that_json_does_not_have_is_refused(value: Any) -> None:
    for info in ({"a": value}, {"a": [value]}, {"a": {"b": value}}):
        with pytest.raises(MetadataError):
            Metadata(content="pickle", info=info).encode()


@pytest.mark.parametrize(
    ("scalar", "value"),
    [
        (np.float64(0.1), 0.1),
        (np.float32(0.1), 0.10000000149011612),
        (np.float16(-0.0), -0.0),
        (np.int64(MAX_INTEGER), MAX_INTEGER),
        (np.int8(-1), -1),
        (np.uint64(3), 3),
        (np.bool_(True), True),
        (np.zeros(2, bool)[0], False),
        (np.str_("é"), "é"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_scalar_of_numpy_is_the_value_that_it_holds(scalar: Any, value: Any) -> None:
    for info, plain in (
        ({"a": scalar}, {"a": value}),
        ({"a": [scalar]}, {"a": [value]}),
        ({"a": {"b": scalar}}, {"a": {"b": value}}),
    ):
        data = Metadata(content="pickle", info=info).encode()
        assert data == Metadata(content="pickle", info=plain).encode()
        again = Metadata.decode(data).info
        assert repr(again) == repr(plain)


@pytest.mark.parametrize(
    "value", [np.float32("nan"), np.float16("inf"), np.uint64(MAX_INTEGER + 1), np.str_("\n")]
)
def test_a_scalar_of_numpy_that_no_metadata_hold_is_refused(value: Any) -> None:
    with pytest.raises(MetadataError):
        Metadata(content="pickle", info={"a": value}).encode()


def test_scalars_are_taken_without_a_numpy_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "numpy")
    assert Metadata(content="pickle", info={"a": 1}).encode()
    with pytest.raises(MetadataError):
        Metadata(content="pickle", info={"a": object()}).encode()


@pytest.mark.parametrize(
    "info", [{"a": [[]]}, {"a": {"b": {}}}, {"a": [{}]}, {"a": {"b": [1, "x", 2.5, False]}}]
)
def test_info_is_nested_four_levels_deep_the_metadata_being_the_first(info: dict[str, Any]) -> None:
    metadata = Metadata(content="pickle", info=info)
    assert Metadata.decode(metadata.encode()) == metadata


@pytest.mark.parametrize(
    "info", [{"a": [[[]]]}, {"a": {"b": {"c": {}}}}, {"a": [{"b": []}]}, {"a": [[1, [2]]]}]
)
def test_info_nested_one_level_deeper_is_refused(info: dict[str, Any]) -> None:
    refused_both_ways(Metadata(content="pickle", info=info), {"info": info})


@pytest.mark.parametrize("mapping", [MappingProxyType, UserDict, ChainMap])
def test_any_mapping_is_written_as_an_object(mapping: Any) -> None:
    for metadata in (
        Metadata(content="pickle", info=mapping({"a": 1})),
        Metadata(content="pickle", info={"a": mapping({"b": 1})}),
        Metadata(content="pickle", versions=mapping({"numpy": "2"})),
    ):
        again = Metadata.decode(metadata.encode())
        assert again.info in ({"a": 1}, {"a": {"b": 1}}, None)
        assert again.versions in ({"numpy": "2"}, None)


def test_info_that_holds_itself_is_refused() -> None:
    loop: dict[str, Any] = {}
    loop["a"] = loop
    knot: list[Any] = []
    knot.append(knot)
    for info in (loop, {"a": knot}):
        with pytest.raises(MetadataError):
            Metadata(content="pickle", info=info).encode()


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


# --- context ---------------------------------------------------------------------------------


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


class Frozen(dict[str, Any]):
    """A mapping that can be hashed, and equals another as its values do."""

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(frozenset(self.items()))


@pytest.mark.parametrize(("before", "after"), [(1, True), (0.0, -0.0), (True, 1.0)])
def test_an_info_that_equals_one_before_is_written_as_it_is(before: Any, after: Any) -> None:
    for value in (before, after):
        data = Metadata(content="pickle", info=Frozen(x=value)).encode()
        assert json.dumps(value) in data.decode()


@pytest.mark.parametrize("name", ["created", "serial", "expires"])
def test_a_count_that_equals_one_before_is_still_no_count(name: str) -> None:
    one: Any = 1
    Metadata(content="pickle", **{name: one}).encode()
    other: Any
    for other in (True, 1.0):
        with pytest.raises(MetadataError):
            Metadata(content="pickle", **{name: other}).encode()


def test_what_is_bound_that_equals_one_before_is_still_no_count() -> None:
    Metadata(content="pickle", external=External(1, 5, "0" * 64)).encode()
    counts: list[Any] = [True, 1.0]
    for count in counts:
        with pytest.raises(MetadataError):
            Metadata(content="pickle", external=External(count, 5, "0" * 64)).encode()


def test_what_is_read_can_be_changed_and_not_for_others() -> None:
    data = b'{"content":"pickle","info":{"a":[1]},"versions":{"a":"1"}}'
    copy: Any = Metadata.decode(data)
    copy.info["a"].append(2)
    copy.versions["b"] = ()
    assert Metadata.decode(data).encode() == data
