"""Fields of metadata: strategies that make them, and a writer that checks nothing."""

import json
import unicodedata
from typing import Any

import pytest
from hypothesis import strategies as st

from pickleseal import MalformedError, MetadataError
from pickleseal.envelope.metadata import CONTENTS, MAX_INTEGER, SOURCES, External, Metadata
from pickleseal.keys.context import MAX_CONTEXT_SIZE

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
    "info": infos,
}
externals = st.builds(
    External,
    st.integers(1, MAX_INTEGER),
    counts,
    st.binary(min_size=32, max_size=32).map(bytes.hex),
)
contents = st.sampled_from([content for content in CONTENTS if content != "joblib"])
any_metadata = (
    st.fixed_dictionaries({"content": contents}, optional=optional)
    | st.fixed_dictionaries(
        {"content": st.just("pickle"), "external": externals}, optional=optional
    )
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
