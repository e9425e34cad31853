"""The HTML page and the notebook table, read as text."""

import base64
import hashlib
import re
from collections.abc import Callable

import pytest

pytest.importorskip("jinja2")

from reports import (
    HOSTILE,
    KEY,
    UNSEEN,
    Outline,
    claimed,
    hostile,
    html,
    inspected,
    notebook,
    ordinary,
    report,
    retired,
    sealed,
    unsealed,
)

from pickleseal.auditing.findings import Change, Finding
from pickleseal.auditing.report import Report
from pickleseal.envelope.metadata import External
from pickleseal.scanner.grade import Grade

# --- the page as text ----------------------------------------------------------------------------


def test_a_page_has_the_gravest_files_and_counts_the_rest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pickleseal.auditing.formats.html.MAX_ROWS", 5)
    files = [sealed(f"{n}.pkl") for n in range(9)]
    page = html(report(*files, claimed("wrong.pkl")))
    assert page.count("<tbody") == 5
    assert "wrong.pkl" in page
    text = Outline(page).text
    assert "1 of 10 files needs attention" in text
    assert "The gravest 5" in text
    assert "5 more files, none graver than these" in text


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_from_outside_becomes_a_tag_or_an_attribute(text: str) -> None:
    harmless, page = Outline(html(hostile("harmless"))), Outline(html(hostile(text)))
    assert sorted(page.tags) == sorted(
        harmless.tags + ["wbr"] * (page.tags.count("wbr") - harmless.tags.count("wbr"))
    )
    assert page.attributes == harmless.attributes
    assert page.sources == harmless.sources


@pytest.mark.parametrize("form", [html, notebook])
def test_what_acts_or_is_not_seen_stands_there_as_an_escape(form: Callable[[Report], str]) -> None:
    page = form(hostile("".join(HOSTILE)[:2_000]))
    assert not set(UNSEEN) & set(page)
    assert "\\u202e" in page
    page.encode()  # no lone surrogate is left


def test_hostile_text_is_told_as_it_is() -> None:
    page = Outline(html(hostile("<img onerror=x> & \"'")))
    assert "<img onerror=x> & \"'" in page.text


def test_the_policy_allows_the_pages_own_style_and_scripts_and_nothing_else() -> None:
    page = Outline(html(ordinary()))
    hashes = {
        f"'sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()}'"
        for source in page.sources
    }
    assert len(hashes) == 3
    assert set(re.findall(r"'sha256-[^']+'", page.policy)) == hashes
    assert page.policy.startswith("default-src 'none'; ")
    assert "unsafe" not in page.policy


def test_nothing_in_the_page_points_elsewhere() -> None:
    page = html(ordinary())
    assert not re.search(r"https?:|//[a-z]|\bsrc=|url\(|@import", page)
    assert all(link.startswith("#") for link in re.findall(r'href="?([^">]+)', page))


@pytest.mark.parametrize(
    ("findings", "sentence"),
    [
        ((), "No files to audit."),
        ((sealed("a"),), "None of 1 file needs attention."),
        ((sealed("a"), retired("b")), "None of 2 files needs attention."),
        ((sealed("a"), claimed("b")), "1 of 2 files needs attention."),
        ((unsealed("a"), claimed("b")), "2 of 2 files need attention."),
    ],
)
def test_one_sentence_sums_it_up(findings: tuple[Finding, ...], sentence: str) -> None:
    assert sentence in Outline(html(report(*findings))).text
    assert sentence in notebook(report(*findings))


def test_the_heading_tells_when_with_what_and_against_which_keys() -> None:
    text = Outline(html(ordinary())).text
    for fact in ("2025-11-25 02:50:29 UTC", "0.84 s", "0.9.0", "production", KEY, "epoch 4"):
        assert fact in text
    assert "no seal could be checked" in Outline(html(report(sealed("a"), ring=None))).text


def test_a_file_tells_all_that_is_known_of_it() -> None:
    external = External(3, 512, "cd" * 32)
    path = "models/a.pkl"
    envelope = inspected(path, info={"team": "risk"}, external=external, serial=12)
    found = unsealed(path, Grade.BEYOND)._replace(
        envelopes=(envelope,), change=Change.MOVED, moved_from="models/old.pkl"
    )
    text = Outline(html(report(found))).text
    # The page lists the imports by themselves, each with its grade.
    facts = [value.partition(" (and what")[0] for _, value in envelope.rows() if value != path]
    for fact in (*facts, "models/old.pkl", "moved", "joblib, zlib", "reaches beyond"):
        assert fact in text
    assert "posix.system" in text
    assert "sklearn.svm._classes.SVC" in text


def test_files_of_a_kind_stand_together_though_their_advice_names_them() -> None:
    found = [unsealed(name)._replace(advice=f"seal it: pickleseal adopt {name}") for name in "ab"]
    assert Outline(html(report(*found))).text.count("pickleseal adopt FILE") == 1
    assert "pickleseal adopt FILE" not in Outline(html(report(found[0]))).text


def test_names_that_files_share_are_told_once() -> None:
    page = Outline(html(report(*(sealed(f"{n}.pkl") for n in range(50)))))
    assert page.text.count("sklearn.svm._classes.SVC") == 1
    assert page.text.count("5 names") == 51


def test_what_is_cut_is_counted() -> None:
    names = tuple(("module", f"name{n:04}") for n in range(1_000))
    found = sealed("a.pkl", imports=names, info={"note": "x" * 9_000})
    text = Outline(html(report(found))).text
    assert "name0399" in text
    assert "name0400" not in text
    assert "and 600 more" in text
    assert "more characters" in text


def test_only_a_command_of_plain_words_may_be_copied() -> None:
    plain = html(report(retired("models/e.pkl")))
    assert 'class="out plain">pickleseal reseal models/e.pkl<' in plain
    for path in ("$(touch x)", "a;b", "a b'", "`x`", "a\nb", "~/x&", "a\u202eb", "a|b"):
        page = html(report(retired(path)))
        assert "pickleseal reseal" in page
        assert 'class="out plain"' not in page


def test_a_command_with_a_placeholder_may_not_be_copied() -> None:
    files = (
        unsealed(path)._replace(advice=f"seal it: pickleseal adopt {path}")
        for path in ("a.pkl", "b.pkl")
    )
    page = html(report(*files))
    assert 'class="out">pickleseal adopt FILE<' in page
    assert 'class="out plain">pickleseal adopt b.pkl<' in page


def test_each_command_within_advice_may_be_copied_alone() -> None:
    advice = "run `pickleseal keys export a` there, and `pickleseal keys import b` here"
    page = html(report(retired("models/e.pkl")._replace(advice=advice)))
    assert re.findall(r'class="out plain">([^<]*)<', page)[:2] == [
        "pickleseal keys export a",
        "pickleseal keys import b",
    ]
    assert "</code> there, and <code" in page


@pytest.mark.sweep
def test_a_page_of_5000_files_stays_below_5_megabytes() -> None:
    kinds = (sealed, unsealed, retired, claimed)
    files = (kinds[n % 4](f"models/production/2025/run-{n:05}/model.pkl") for n in range(5_000))
    assert len(html(report(*files)).encode()) < 5_000_000


def test_files_that_tell_too_much_do_not_make_the_page_grow_without_end() -> None:
    def talkative(n: int) -> Finding:
        names = tuple((f"module{n}", f"name{i}") for i in range(500))
        return sealed(f"{n}.pkl", imports=names, info={"note": f"{n}" * 5_000})

    assert len(html(report(*(talkative(n) for n in range(1_000)))).encode()) < 5_000_000


# --- in a notebook -------------------------------------------------------------------------------


def test_a_notebook_shows_what_is_worth_knowing_the_gravest_first() -> None:
    page = Outline(notebook(ordinary()))
    assert page.tags.count("tr") == 1 + 5
    order = [page.text.index(f"models/{name}") for name in ("c.pkl", "b.joblib", "e.pkl")]
    assert order == sorted(order)
    assert "models/a9.pkl" not in page.text


def test_a_notebook_shows_200_rows_and_counts_the_rest() -> None:
    page = Outline(notebook(report(*(unsealed(f"{n}.pkl") for n in range(1_234)))))
    assert page.tags.count("tr") == 1 + 200
    assert "1,034" in page.text


@pytest.mark.parametrize("text", HOSTILE)
def test_a_notebooks_table_has_no_tag_or_attribute_from_outside(text: str) -> None:
    page, harmless = Outline(notebook(hostile(text))), Outline(notebook(hostile("harmless")))
    assert page.tags == harmless.tags
    assert page.attributes == {"style", "scope"}
    assert not {"script", "style", "img"} & set(page.tags)
