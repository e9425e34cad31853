"""Values that metadata and info cannot hold are refused by writer and reader."""

import math
import sys
from collections import ChainMap, UserDict
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
from fields import CONTROLS, DIGEST, SURROGATES, canonical, refused_both_ways, refused_in_info

from pickleseal import MalformedError, MetadataError
from pickleseal.envelope.metadata import MAX_INTEGER, External, Metadata
from pickleseal.keys.key import KeyLine

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


def test_a_key_line_in_info_is_refused_and_no_other_field_is_searched() -> None:
    line = KeyLine.generate().reveal()
    for info in ({"a": line}, {"a": [f"it is {line}"]}, {"a": {"b": line}}):
        with pytest.raises(MetadataError):
            Metadata(content="pickle", info=info).encode()
    assert Metadata(content="pickle", class_name=line).encode()


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
