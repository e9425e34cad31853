"""What a reader asks of a genuine envelope: its context, its time, its size, its versions."""

import math
from contextlib import nullcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pickleseal import ContextError, ExpiredError, PolicyError
from pickleseal.envelope.metadata import Metadata
from pickleseal.envelope.reader import check_size
from pickleseal.persistence.policy import (
    Drift,
    check_age,
    check_context,
    check_expiry,
    check_head,
    check_imports,
    drifts,
    expected_context,
)
from pickleseal.pickling.names import Allowed

# --- context ---------------------------------------------------------------------------------


@pytest.mark.parametrize("context", [None, "a", "models/iris", "é", "日本"])
def test_the_context_that_was_sealed_is_accepted(context: str | None) -> None:
    check_context(context, context)


@pytest.mark.parametrize(
    ("sealed", "expected"),
    [
        (None, "a"),
        ("a", None),
        (None, ""),
        ("", None),
        ("a", "b"),
        ("b", "a"),
        ("a", "A"),
        ("a", "a "),
        ("a", "ab"),
        ("ab", "a"),
        ("é", "e\u0301"),  # one spelling only; normalize_context comes before
    ],
)
def test_any_other_context_is_refused(sealed: str | None, expected: str | None) -> None:
    with pytest.raises(ContextError):
        check_context(sealed, expected)


def test_a_load_without_the_context_is_told_which_function_takes_one() -> None:
    with pytest.raises(ContextError, match="context= of signed_load"):
        check_context("fraud", None)


@given(st.none() | st.text(max_size=3), st.none() | st.text(max_size=3))
def test_contexts_are_accepted_where_they_are_equal_and_nowhere_else(
    sealed: str | None, expected: str | None
) -> None:
    if sealed == expected:
        check_context(sealed, expected)
        return
    with pytest.raises(ContextError) as caught:
        check_context(sealed, expected)
    assert str(caught.value).isprintable()


# --- time ------------------------------------------------------------------------------------


def test_an_envelope_without_a_time_is_never_over() -> None:
    for now in (0.0, 1.7e9, 1e18, math.inf):
        check_expiry(Metadata(content="pickle"), now)


@pytest.mark.parametrize("expires", [1, 1_700_000_000, (1 << 53) - 1])
def test_an_envelope_is_good_until_its_second_begins_and_not_in_it(expires: int) -> None:
    metadata = Metadata(content="pickle", expires=expires)
    check_expiry(metadata, expires - 1)
    check_expiry(metadata, math.nextafter(expires, 0))
    for now in (expires, float(expires), math.nextafter(expires, math.inf), expires + 1, math.inf):
        with pytest.raises(ExpiredError):
            check_expiry(metadata, now)


def test_it_is_told_when_a_time_was_over() -> None:
    with pytest.raises(ExpiredError, match="it expired at 2023-11-14 22:13:20 UTC"):
        check_expiry(Metadata(content="pickle", expires=1_700_000_000), 1.8e9)


def test_an_envelope_that_expires_at_zero_is_over() -> None:
    """Zero is a time and not the lack of one."""
    with pytest.raises(ExpiredError):
        check_expiry(Metadata(content="pickle", expires=0), 0.0)


def test_the_time_of_making_and_the_serial_have_no_say() -> None:
    check_expiry(Metadata(content="pickle", created=5, serial=5, expires=20), 10.0)
    check_expiry(Metadata(content="pickle", created=15, expires=20), 10.0)


# --- size ------------------------------------------------------------------------------------


def test_a_size_up_to_the_bound_is_accepted_and_one_byte_more_is_not() -> None:
    check_size(160, 160)
    check_size(160, 161)
    check_size(1 << 44, None)
    for size, bound in ((161, 160), (160, 0), (1 << 44, (1 << 44) - 1)):
        with pytest.raises(PolicyError):
            check_size(size, bound)


# --- versions --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sealed", "here"),
    [
        ("3.11.0", "3.11.9"),
        ("3.11.9", "3.11.0"),
        ("3.11", "3.11.4"),
        ("3.13.0rc1", "3.13.2"),
        ("3.11.4", "3.11.4"),
    ],
)
def test_python_is_the_same_where_major_and_minor_are(sealed: str, here: str) -> None:
    assert drifts({"python": sealed}, {"python": here}) == []


@pytest.mark.parametrize(
    ("sealed", "here"), [("3.11.4", "3.12.4"), ("3.1.0", "3.11.0"), ("2.11.4", "3.11.4")]
)
def test_python_differs_where_major_or_minor_do(sealed: str, here: str) -> None:
    assert drifts({"python": sealed}, {"python": here}) == [Drift("python", sealed, here)]


@pytest.mark.parametrize("package", ["scikit-learn", "numpy", "Python", "python-dateutil"])
def test_any_other_package_differs_where_a_single_character_does(package: str) -> None:
    assert drifts({package: "1.5.1"}, {package: "1.5.1"}) == []
    for here in ("1.5.2", "1.5", "1.5.1.post1", "1.5.1+local", "1.05.1"):
        assert drifts({package: "1.5.1"}, {package: here}) == [Drift(package, "1.5.1", here)]


@pytest.mark.parametrize("package", ["scikit-learn", "python"])
def test_a_package_that_is_not_installed_differs(package: str) -> None:
    assert drifts({package: "1.5"}, {package: None}) == [Drift(package, "1.5", None)]


def test_an_empty_version_is_not_the_same_as_none_installed() -> None:
    assert drifts({"numpy": ""}, {"numpy": None}) == [Drift("numpy", "", None)]
    assert drifts({"numpy": ""}, {"numpy": ""}) == []


def test_drifts_are_listed_in_the_order_sealed_and_only_for_what_was_sealed() -> None:
    sealed = {"scipy": "1", "numpy": "2", "python": "3.11.1", "joblib": "4"}
    here: dict[str, str | None] = {
        "joblib": None,
        "numpy": "2",
        "other": "9",
        "python": "3.12.0",
        "scipy": "0",
    }
    assert drifts(sealed, here) == [
        Drift("scipy", "1", "0"),
        Drift("python", "3.11.1", "3.12.0"),
        Drift("joblib", "4", None),
    ]
    assert drifts({}, here) == []


def test_a_drift_tells_package_and_versions_and_nothing_a_terminal_acts_on() -> None:
    text = str(Drift("numpy", "2.0", "2.1"))
    assert all(part in text for part in ("numpy", "2.0", "2.1"))
    assert str(Drift("\x1b[2Jnumpy", "2\n0", None)).isprintable()


def test_a_file_may_be_sealed_a_minute_ahead_of_the_readers_clock_and_no_more() -> None:
    metadata = Metadata(content="pickle", created=1_700_000_000)
    for now in (1_700_000_000.0, 1_699_999_940.0, 1_700_000_010.0):
        check_age(metadata, 10.0, now)
    for now in (1_699_999_939.9, 0.0, 1_700_000_010.1):
        with pytest.raises(ExpiredError):
            check_age(metadata, 10.0, now)
    check_age(metadata, None, 0)
    with pytest.raises(ExpiredError):
        check_age(Metadata(content="pickle"), 10.0, 0)


@pytest.mark.parametrize(
    ("wanted", "sealed", "expected"),
    [
        ("*", None, None),
        ("*", "fraud", "fraud"),
        ("fraud", "fraud", "fraud"),
        ("fraud", "other", "fraud"),
        ("fraud", None, "fraud"),
        ("fraud/*", "fraud/v3", "fraud/v3"),
        ("fraud/*", "other", "fraud/*"),
        ("fraud/*", None, "fraud/*"),
    ],
)
def test_one_context_for_many_files_may_be_a_beginning(
    wanted: str, sealed: str | None, expected: str | None
) -> None:
    assert expected_context(wanted, sealed) == expected


def test_a_context_that_the_load_does_not_name_is_told() -> None:
    with pytest.raises(ContextError, match="fraud/v3"):
        check_context("fraud/v3", None)


def test_every_reader_checks_context_and_expiry() -> None:
    metadata = Metadata(content="pickle", context="fraud", expires=100)
    check_head(metadata, context="fraud", now=99)
    with pytest.raises(ContextError):
        check_head(metadata, context="other", now=99)
    with pytest.raises(ExpiredError):
        check_head(metadata, context="fraud", now=100)


def test_recorded_names_are_allowed_under_their_name_of_python_2_or_3() -> None:
    for names, allow, fits in (
        ((("os", "system"),), ["os"], True),
        ((("os", "system"),), ["sys"], False),
        ((("__builtin__", "set"),), ["builtins"], True),
        ((("__builtin__", "set"),), ["__builtin__"], True),
        (None, [], True),
    ):
        metadata = Metadata(content="pickle", imports=names)
        with nullcontext() if fits else pytest.raises(PolicyError):
            check_imports(metadata, Allowed.of(allow))
