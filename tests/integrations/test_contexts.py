"""The contexts of adapters: no two places share one, and every place has one."""

from hypothesis import given
from hypothesis import strategies as st

from pickleseal.integrations.contexts import derived_context
from pickleseal.keys.context import normalize_context

PARTS = st.lists(st.text(max_size=40), min_size=1, max_size=3)


@given(PARTS, PARTS)
def test_two_places_have_two_contexts(one: list[str], other: list[str]) -> None:
    same = derived_context("cache", *one) == derived_context("cache", *other)
    assert same is (one == other)


@given(st.lists(st.text(alphabet=st.characters(), max_size=300), min_size=1, max_size=2))
def test_every_place_has_a_context_in_normal_form(parts: list[str]) -> None:
    context = derived_context("cache", *parts)
    assert normalize_context(context) == context


def test_contexts_stay_as_they_are_written_down() -> None:
    assert derived_context("cachelib", "/var/x", "a:b#%é") == "cachelib:/var/x:a%3Ab%23%25%C3%A9"
    assert derived_context("cachelib", "x" * 300) == (
        "cachelib#0e6cf2352889500b3109dff692ab5c16eea9172ad216d8531ccb84ff9bef3b29"
    )
