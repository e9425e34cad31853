"""The HTML page in a real browser: it runs nothing of what it tells, and everybody can use it."""

import base64
import hashlib
import re
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

pytest.importorskip("jinja2")
pytest.importorskip("selenium")

import watching
from browser import Driver, chromium, complaints, dressed, requested, sized
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import Select, WebDriverWait

from pickleseal import Key, Keyring, signed_dump
from pickleseal.auditing.audit import audit
from pickleseal.auditing.findings import Change, Finding, Level, Verdict
from pickleseal.auditing.formats.html import html
from pickleseal.auditing.report import Report, Ring
from pickleseal.envelope.metadata import External, Metadata
from pickleseal.persistence.inspection import Inspection, Status
from pickleseal.scanner.grade import Contents, Grade, GradedName

KEY = "1f0c7a3b9d2e4c5f8a6b7c8d9e0f1a2b"
STRANGER = "77aa00bb11cc22dd33ee44ff55660077"
RING = Ring("production", KEY, 4)
NAMES = (
    ("sklearn.pipeline", "Pipeline"),
    ("sklearn.svm._classes", "SVC"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("numpy._core.multiarray", "_reconstruct"),
)
SIGNED_DUMP = "if you made it, write it again with pickleseal.signed_dump"

# Each stands for one way out of text: a tag, an attribute, a script, a comment, a template, a line.
HOSTILE = (
    "</script><script>document.title='ran'</script>",
    "<img src=x onerror=\"document.title='ran'\">",
    '" onmouseover="document.title=\'ran\'" x="',
    "' autofocus onfocus='document.title=1' x='",
    "<style>*{display:none}</style><!--",
    "</textarea></title></style><svg onload=document.title='ran'>",
    "{{ 7 * 7 }}{% raw %}",
    "javascript:document.title='ran'",
    "\x1b[2J\x1b]0;ran\x07\nInfected files: 0\r\n",
    "safe\u202egpj.exe\u2066\u200b\u200d\ufeff\u2028\u00ad",
    "filler\u3164\u115f\ufe0f\u2800",
    "broken\udcff\ud800",
    "&lt;b&gt; &amp; &#60;",
)
UNSEEN = "\x1b\x07\r\u202e\u2066\u200b\u200d\ufeff\u2028\u00ad\u3164\u115f\ufe0f\u2800\udcff\ud800"


def notebook(report: Report) -> str:
    return report._repr_html_()


def metadata(**fields: object) -> Metadata:
    known = {
        "content": "pickle",
        "class_name": "sklearn.pipeline.Pipeline",
        "context": "churn/forest",
        "created": 1763000000,
        "versions": {"python": "3.13.1"},
        "imports": NAMES,
    }
    return Metadata(**(known | fields))  # type: ignore[arg-type]


def inspected(path: str, status: Status = Status.WHOLE, **fields: object) -> Inspection:
    return Inspection(
        status=status,
        problem=None if status is Status.WHOLE else "not in this keyring",
        file=path,
        key_id=KEY if status is not Status.UNVERIFIED else STRANGER,
        suite=1,
        size=4_096,
        codec="stored",
        segments=(1_000, 2_000),
        metadata=metadata(**fields),
        digest="ps1:" + "ab" * 32 if status is Status.WHOLE else None,
    )


def sealed(path: str, size: int = 4_096, **fields: object) -> Finding:
    envelope = inspected(path, **fields)  # type: ignore[arg-type]
    return Finding(path, Verdict.SEALED, Level.NONE, size=size, envelopes=(envelope,))


def claimed(path: str) -> Finding:
    return Finding(
        path,
        Verdict.UNKNOWN_KEY,
        Level.ERROR,
        "not in this keyring",
        f"find out whose key {STRANGER} is",
        size=5_000,
        envelopes=(inspected(path, Status.UNVERIFIED),),
    )


def unsealed(path: str, grade: Grade = Grade.DATA, size: int = 20_000) -> Finding:
    names = tuple(GradedName(*pair, Grade.DATA) for pair in NAMES)
    if grade is Grade.BEYOND:
        names = (GradedName("posix", "system", Grade.BEYOND), *names)
    level = Level.ERROR if grade >= Grade.BEYOND else Level.WARNING
    contents = Contents("joblib, zlib", grade, 1, names)
    return Finding(
        path, Verdict.UNSEALED, level, "nobody vouches for it", SIGNED_DUMP, size, (), contents
    )


def retired(path: str) -> Finding:
    advice = f"reseal with the primary key: pickleseal reseal {path}"
    found = sealed(path)
    return found._replace(verdict=Verdict.SEALED_RETIRED, level=Level.NOTE, advice=advice)


def report(*findings: Finding, ring: Ring | None = RING) -> Report:
    return Report(findings, ("models",), 1764039029, 0.8412, "0.9.0", ring)


def ordinary() -> Report:
    """Give a report of eight files that has each level."""
    return report(
        sealed("models/a10.pkl", 300),
        sealed("models/a9.pkl", 2_000_000),
        unsealed("models/b.joblib", size=70_000),
        unsealed("models/c.pkl", Grade.BEYOND, 900),
        claimed("models/d.pkl"),
        retired("models/e.pkl"),
        Finding("models/f.md", Verdict.NO_PICKLE, Level.NONE, size=10),
        Finding("models/g", Verdict.MISSING, Level.WARNING, "gone", change=Change.MISSING),
    )


def hostile(text: str) -> Report:
    """Give a report that has `text` wherever a text can come from outside."""
    fields = {
        "class_name": text,
        "context": text,
        "versions": {text: text},
        "imports": ((text, text), *NAMES),
        "info": {text: text},
        "external": External(2, 100, text),
        "content": text,
    }
    names = tuple(GradedName(text, text, grade) for grade in Grade)
    contents = Contents(text, Grade.BEYOND, 2, names, (text,))
    envelope = inspected(text, Status.UNVERIFIED, **fields)._replace(problem=text, digest=text)
    finding = Finding(
        f"models/{text}",
        Verdict.UNSEALED,
        Level.ERROR,
        text,
        f"{text} pickleseal inspect {text}",
        size=7,
        envelopes=(envelope, envelope._replace(status=Status.WHOLE)),
        contents=contents,
        digest=text,
        change=Change.MOVED,
        moved_from=text,
    )
    alike = finding._replace(path=text, envelopes=(), level=Level.NOTE)
    return Report(
        (finding, alike, sealed("models/a.pkl")),
        (text, "models"),
        1764039029,
        0.1,
        text,
        Ring(text, text, 1),
        baseline=text,
        baseline_created=1 << 60,
    )


class Outline(HTMLParser):
    """The tags and attributes of a page, and the text of its scripts and style."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.sources: list[str] = []
        self.policy = ""
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes.update(name for name, _ in attrs)
        if ("http-equiv", "Content-Security-Policy") in attrs:
            self.policy = dict(attrs)["content"] or ""

    def handle_data(self, data: str) -> None:
        if self.cdata_elem in ("script", "style"):  # newer parsers set it for a title, too
            self.sources.append(data)
        else:
            self.text += data


# --- the page as text ----------------------------------------------------------------------------


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


# --- in a browser --------------------------------------------------------------------------------

Show = Callable[[str], Driver]
once = pytest.mark.once  # what a browser shows depends on no Python


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driver]:
    with chromium(tmp_path_factory.mktemp("profile")) as started:
        yield started


@pytest.fixture
def show(driver: Driver, tmp_path: Path) -> Iterator[Show]:
    """Give a function that opens a page; when the test is over, nothing may have gone wrong."""
    file = tmp_path / "report.html"

    def open_page(page: str) -> Driver:
        file.write_text(page, encoding="utf-8")
        driver.get(file.as_uri())
        return driver

    dressed(driver)
    sized(driver, 1_280, 900)
    driver.get("about:blank")
    complaints(driver)
    requested(driver)
    yield open_page
    assert complaints(driver) == []
    assert {address.partition("#")[0] for address in requested(driver)} <= {file.as_uri()}


def find(driver: Driver, selector: str) -> WebElement:
    return driver.find_element(By.CSS_SELECTOR, selector)


def shown_paths(driver: Driver) -> list[str]:
    heads = driver.find_elements(By.CSS_SELECTOR, "tbody tr:first-child th")
    return [head.text.removeprefix("models/") for head in heads if head.is_displayed()]


def wait_for(driver: Driver, paths: list[str]) -> None:
    WebDriverWait(driver, 10).until(lambda _: shown_paths(driver) == paths)


def press(driver: Driver, *keys: str) -> None:
    ActionChains(driver).send_keys(*keys).perform()


def tab_to(driver: Driver, element: WebElement) -> None:
    for _ in range(60):
        if driver.switch_to.active_element == element:
            return
        press(driver, Keys.TAB)
    pytest.fail("the keyboard does not get there")


@once
def test_hostile_text_runs_nothing_and_asks_for_nothing(show: Show) -> None:
    reports = [hostile(text) for text in HOSTILE]
    findings = tuple(finding for one in reports for finding in one.findings)
    driver = show(html(reports[0]._replace(findings=findings, roots=HOSTILE[:3])))
    driver.execute_script("for (const turn of document.querySelectorAll('.turn')) turn.click()")
    for head in driver.find_elements(By.CSS_SELECTOR, "#f0 th, #f3 th, #f6 th, #f9 th"):
        ActionChains(driver).move_to_element(head).click(head).perform()
    assert driver.title == f"Audit of {', '.join(HOSTILE[:3])} \u00b7 pickleseal"
    assert find(driver, ".sum").is_displayed()
    assert len(shown_paths(driver)) == 3 * len(HOSTILE)


@once
def test_a_real_audit_of_hostile_files_is_told_and_runs_nothing(
    show: Show, ring: Keyring, tmp_path: Path
) -> None:
    folder, mark = tmp_path / "models", tmp_path / "mark"
    folder.mkdir()
    name = "<img src=x onerror=\"document.title='ran'\">\x1b[2J\n\u202e"
    info = {"note": "</script><script>document.title='ran'</script>"}
    signed_dump([1], folder / f"{name}.pkl", keyring=ring, context="<b>/x", info=info)
    signed_dump([1], folder / "strange.pkl", keyring=Keyring(Key.generate()), info=info)
    (folder / f"armed {name}.pkl").write_bytes(watching.armed(mark))
    with watching.nothing_unpickled():
        page = html(audit(folder, keyring=ring).report())
    driver = show(page)
    driver.execute_script("for (const turn of document.querySelectorAll('.turn')) turn.click()")
    assert driver.title.startswith("Audit of ")
    assert "2 of 3 files need attention" in find(driver, ".sum").text
    text = find(driver, "table").text
    for fact in ("<img src=x", "\\x1b[2J\\n\\u202e", "<b>/x", info["note"], "unsealed", "claimed"):
        assert fact in text
    assert not mark.exists()


@once
def test_the_policy_stops_a_script_that_is_not_the_pages_own(
    driver: Driver, tmp_path: Path
) -> None:
    file = tmp_path / "changed.html"
    foreign = "<script>document.title = 'ran'</script><img src='x' onerror='document.title = 1'>"
    file.write_text(html(ordinary()).replace("</footer>", f"</footer>{foreign}"), encoding="utf-8")
    driver.get(file.as_uri())
    assert driver.title == "Audit of models \u00b7 pickleseal"
    assert len(complaints(driver)) >= 2
    requested(driver)


@once
def test_text_level_and_verdict_filter_the_files(show: Show) -> None:
    driver = show(html(ordinary()))
    text, count = find(driver, "#text"), find(driver, "output")
    assert len(shown_paths(driver)) == 8
    text.send_keys("POSIX.system")
    wait_for(driver, ["c.pkl"])
    assert count.text.startswith("1 of 8")
    assert count.get_attribute("aria-live") == "polite"
    find(driver, "#clear").click()
    wait_for(
        driver,
        [f"{n}" for n in ("a10.pkl", "a9.pkl", "b.joblib", "c.pkl", "d.pkl")]
        + ["e.pkl", "f.md", "g"],
    )
    Select(find(driver, "#level")).select_by_value("grave")
    wait_for(driver, ["b.joblib", "c.pkl", "d.pkl", "g"])
    Select(find(driver, "#verdict")).select_by_visible_text("Unsealed (2)")
    wait_for(driver, ["b.joblib", "c.pkl"])
    Select(find(driver, "#level")).select_by_visible_text("Error (2)")
    wait_for(driver, ["c.pkl"])


@once
def test_columns_sort_both_ways_and_say_so(show: Show) -> None:
    driver = show(html(ordinary()))

    def sort(column: int) -> str | None:
        head = find(driver, f"thead th:nth-child({column})")
        head.find_element(By.TAG_NAME, "button").click()
        return head.get_attribute("aria-sort")

    assert sort(7) == "descending"
    assert shown_paths(driver)[:3] == ["a9.pkl", "b.joblib", "d.pkl"]
    assert shown_paths(driver)[-1] == "g"  # of unknown size
    assert sort(7) == "ascending"
    assert shown_paths(driver)[:2] == ["f.md", "a10.pkl"]
    assert shown_paths(driver)[-1] == "g"
    assert sort(1) == "ascending"
    assert shown_paths(driver)[:2] == ["a9.pkl", "a10.pkl"]
    assert sort(3) == "descending"
    assert set(shown_paths(driver)[:2]) == {"c.pkl", "d.pkl"}
    assert len(driver.find_elements(By.CSS_SELECTOR, "[aria-sort]")) == 1


@once
def test_the_keyboard_alone_filters_sorts_and_opens(show: Show) -> None:
    driver = show(html(ordinary()))
    press(driver, Keys.TAB)
    assert driver.switch_to.active_element.text == "Skip to the files"
    press(driver, Keys.ENTER)
    press(driver, Keys.TAB)
    assert driver.switch_to.active_element == find(driver, "#text")
    press(driver, "models")
    wait_for(driver, shown_paths(driver))
    tab_to(driver, find(driver, "thead th:nth-child(7) button"))
    press(driver, Keys.ENTER)
    assert shown_paths(driver)[0] == "a9.pkl"
    turn = find(driver, "tbody .turn")
    assert turn.accessible_name == "Details of models/a9.pkl"
    tab_to(driver, turn)
    outline = "return getComputedStyle(document.activeElement).outlineStyle"
    assert driver.execute_script(outline) == "solid"
    panel = find(driver, f"#{turn.get_attribute('aria-controls')} .panel")
    assert not panel.is_displayed()
    press(driver, Keys.SPACE)
    assert panel.is_displayed()
    assert turn.get_attribute("aria-expanded") == "true"
    press(driver, Keys.SPACE)
    assert not panel.is_displayed()


@once
def test_a_finding_that_needs_attention_leads_to_its_details(show: Show) -> None:
    driver = show(html(ordinary()))
    find(driver, "#text").send_keys("nothing like it")
    wait_for(driver, [])
    driver.find_element(By.LINK_TEXT, "models/d.pkl").click()
    WebDriverWait(driver, 10).until(lambda _: find(driver, "#m4 .panel").is_displayed())


@once
def test_claims_are_marked_and_what_was_sealed_is_not(show: Show) -> None:
    driver = show(html(report(claimed("d.pkl"), sealed("e.pkl"))))
    find(driver, "#f0 .turn").click()
    facts = driver.find_elements(By.CSS_SELECTOR, "#m0 dd")
    assert len(facts) > 5
    assert [fact.text[:9] for fact in facts[1:]] == ["claimed: "] * (len(facts) - 1)
    cells = driver.find_elements(By.CSS_SELECTOR, "#f0 tr:first-child i")
    assert [cell.text.partition(" ") for cell in cells] == [
        (text, " ", "(claimed)") for text in (STRANGER[:8], "churn/forest", "Pipeline")
    ]
    assert "claimed" not in (find(driver, "#f1").get_attribute("textContent") or "claimed")


@once
def test_a_screen_reader_finds_a_table_with_heads_and_labelled_controls(show: Show) -> None:
    driver = show(html(ordinary()))
    assert find(driver, "table").aria_role == "table"
    assert find(driver, "table").accessible_name.startswith("All files")
    assert {h.aria_role for h in driver.find_elements(By.CSS_SELECTOR, "thead th")} == {
        "columnheader"
    }
    assert find(driver, "tbody th").aria_role == "rowheader"
    for control in driver.find_elements(By.CSS_SELECTOR, "input, select, button"):
        assert control.accessible_name or not control.is_displayed()
    assert "2 error" in find(driver, "svg").accessible_name


@once
def test_a_command_is_copied_by_its_button(show: Show) -> None:
    driver = show(html(ordinary()))
    driver.execute_cdp_cmd(
        "Browser.grantPermissions",
        {"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]},
    )
    find(driver, ".copy").click()
    WebDriverWait(driver, 10).until(lambda _: find(driver, ".copy").text == "Copied")
    text = find(driver, "#text")
    text.click()
    text.send_keys(Keys.CONTROL, "v")
    assert text.get_attribute("value") == "pickleseal reseal models/e.pkl"


CONTRASTS = """
const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
const rgb = (colour) => {
  canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
  return [...canvas.getImageData(0, 0, 1, 1).data];
};
const light = (c) => c.slice(0, 3).map((v) => v / 255)
  .map((v) => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
  .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
const ground = (el) => {
  for (; el; el = el.parentElement) {
    const c = rgb(getComputedStyle(el).backgroundColor);
    if (c[3] === 255) return c;
  }
  return [255, 255, 255];
};
const found = [];
const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walk.nextNode()) {
  const el = walk.currentNode.parentElement;
  if (!walk.currentNode.data.trim() || !el.checkVisibility() || el.closest("svg")) continue;
  const [a, b] = [light(rgb(getComputedStyle(el).color)), light(ground(el))].sort((x, y) => y - x);
  found.push([(a + .05) / (b + .05), el.tagName + ": " + walk.currentNode.data]);
}
return found;
"""


@once
@pytest.mark.parametrize(
    ("scheme", "media"), [("light", ""), ("dark", ""), ("light", "print"), ("dark", "print")]
)
def test_every_text_stands_out_from_its_ground(show: Show, scheme: str, media: str) -> None:
    driver = show(html(ordinary()))
    for turn in driver.find_elements(By.CSS_SELECTOR, ".turn"):
        turn.click()
    dressed(driver, scheme=scheme, media=media)
    contrasts = driver.execute_script(CONTRASTS)
    assert len(contrasts) > 100
    assert [text for contrast, text in contrasts if contrast < 4.5] == []


@once
def test_the_page_is_light_or_dark_as_the_reader_prefers(show: Show) -> None:
    driver = show(html(ordinary()))
    grounds = []
    for scheme in ("light", "dark"):
        dressed(driver, scheme=scheme)
        colour = find(driver, "body").value_of_css_property("background-color")
        grounds.append(sum(int(part) for part in re.findall(r"\d+", colour)[:3]))
    assert grounds[0] > 700
    assert grounds[1] < 100


@once
@pytest.mark.parametrize("width", [320, 400, 800, 1_280, 1_600])
def test_no_width_needs_scrolling_sideways(show: Show, width: int) -> None:
    long = "models/" + "long_name_without_a_break" * 8
    reaching = Contents("x" * 90, Grade.BEYOND, 1, (GradedName("m" * 90, "n" * 90, Grade.BEYOND),))
    found = unsealed(long)._replace(contents=reaching, level=Level.ERROR, reason="r" * 200)
    driver = show(html(report(found, retired(long), claimed(long), sealed(long, context="c" * 99))))
    for turn in driver.find_elements(By.CSS_SELECTOR, ".turn"):
        turn.click()
    sized(driver, width, 900)
    wide = "const r = document.documentElement; return r.scrollWidth - r.clientWidth"
    assert driver.execute_script(wide) == 0


@once
def test_in_print_all_details_are_open_and_the_controls_are_gone(show: Show) -> None:
    driver = show(html(ordinary()))
    dressed(driver, media="print")
    driver.execute_script("dispatchEvent(new Event('beforeprint'))")
    panels = driver.find_elements(By.CSS_SELECTOR, ".panel")
    assert len(panels) == 8
    assert all(panel.is_displayed() for panel in panels)
    for gone in (".filter", ".turn", ".copy", ".more summary"):
        assert not find(driver, gone).is_displayed()
    assert find(driver, "thead").value_of_css_property("display") == "table-header-group"
    dressed(driver)
    driver.execute_script("dispatchEvent(new Event('afterprint'))")
    assert not find(driver, ".panel").is_displayed()


@once
def test_thousands_of_files_are_shown_in_part_and_found_in_all(show: Show) -> None:
    driver = show(html(report(*(sealed(f"models/{n:04}.pkl") for n in range(1_000)))))
    visible = (
        "return [...document.querySelectorAll('tbody')].filter(b => b.checkVisibility()).length"
    )
    assert driver.execute_script(visible) == 300
    find(driver, "#text").send_keys("0567")
    wait_count = WebDriverWait(driver, 20)
    wait_count.until(lambda _: driver.execute_script(visible) == 1)
    find(driver, "#clear").click()
    wait_count.until(lambda _: driver.execute_script(visible) == 300)
    head = find(driver, "thead button")
    head.click()
    head.click()
    first = "return document.querySelector('tbody th').textContent"
    assert driver.execute_script(first) == "models/0999.pkl"
    find(driver, "#rest").click()
    wait_count.until(lambda _: driver.execute_script(visible) == 1_000)
    assert not find(driver, "#rest").is_displayed()


@once
def test_without_scripts_everything_is_there_and_can_be_read(tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    file.write_text(html(ordinary()), encoding="utf-8")
    with chromium(tmp_path / "profile", scripts=False) as driver:
        driver.get(file.as_uri())
        assert "js" not in (find(driver, "html").get_attribute("class") or "")
        assert len(shown_paths(driver)) == 8
        assert not find(driver, ".filter").is_displayed()
        panel = find(driver, "#m4 .panel")
        assert not panel.is_displayed()
        find(driver, "#m4 summary").click()
        assert panel.is_displayed()
        assert STRANGER in panel.text
        dressed(driver, media="print")
        visible = "return [...document.querySelectorAll('.panel')].map(p => p.checkVisibility())"
        assert driver.execute_script(visible) == [True] * 8


@once
def test_a_notebook_table_can_be_read_on_light_and_on_dark(show: Show) -> None:
    for ink, ground in (("#111", "#fff"), ("#eee", "#111")):
        body = f"<!doctype html><style>body{{color:{ink};background:{ground}}}</style>"
        driver = show(body + notebook(ordinary()))
        assert [text for contrast, text in driver.execute_script(CONTRASTS) if contrast < 4.5] == []
