"""The HTML page in a real browser: it runs no text of a finding, and everybody can use it."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("jinja2")
pytest.importorskip("selenium")

import watching
from browser import Driver, chromium, complaints, dressed, requested, sized
from reports import (
    HOSTILE,
    STRANGER,
    claimed,
    hostile,
    html,
    notebook,
    ordinary,
    report,
    retired,
    sealed,
    unsealed,
)
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import Select, WebDriverWait

from pickleseal import Key, Keyring, signed_dump
from pickleseal.auditing.audit import audit
from pickleseal.auditing.findings import Level
from pickleseal.scanner.grade import Contents, Grade, GradedName

# --- in a browser --------------------------------------------------------------------------------

Show = Callable[[str], Driver]
pytestmark = pytest.mark.sweep


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driver]:
    with chromium(tmp_path_factory.mktemp("profile")) as started:
        yield started


@pytest.fixture
def show(driver: Driver, tmp_path: Path) -> Iterator[Show]:
    """Yield a function that opens a page; afterwards check that nothing went wrong."""
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


@pytest.mark.parametrize("width", [801, 1_100, 1_101, 1_200, 1_400, 1_401])
def test_a_size_is_on_one_line_within_its_column(show: Show, driver: Driver, width: int) -> None:
    sized(driver, width, 900)
    show(html(report(*(sealed(f"models/{size}.pkl", size) for size in (999, 101_200, 10**11)))))
    for cell in driver.find_elements(By.CSS_SELECTOR, "tbody td:nth-child(7)"):
        lines, room = driver.execute_script(
            "const cell = arguments[0], look = getComputedStyle(cell);"
            "const text = document.createRange();"
            "text.selectNodeContents(cell);"
            "return [text.getClientRects().length, cell.getBoundingClientRect().right"
            " - parseFloat(look.paddingRight) - text.getBoundingClientRect().right]",
            cell,
        )
        assert lines == 1
        assert room > -1


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


def test_a_finding_that_needs_attention_leads_to_its_details(show: Show) -> None:
    driver = show(html(ordinary()))
    find(driver, "#text").send_keys("nothing like it")
    wait_for(driver, [])
    driver.find_element(By.LINK_TEXT, "models/d.pkl").click()
    WebDriverWait(driver, 10).until(lambda _: find(driver, "#m4 .panel").is_displayed())


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


def test_the_page_is_light_or_dark_as_the_reader_prefers(show: Show) -> None:
    driver = show(html(ordinary()))
    grounds = []
    for scheme in ("light", "dark"):
        dressed(driver, scheme=scheme)
        colour = find(driver, "body").value_of_css_property("background-color")
        grounds.append(sum(int(part) for part in re.findall(r"\d+", colour)[:3]))
    assert grounds[0] > 700
    assert grounds[1] < 100


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


def test_a_notebook_table_can_be_read_on_light_and_on_dark(show: Show) -> None:
    for ink, ground in (("#111", "#fff"), ("#eee", "#111")):
        body = f"<!doctype html><style>body{{color:{ink};background:{ground}}}</style>"
        driver = show(body + notebook(ordinary()))
        assert [text for contrast, text in driver.execute_script(CONTRASTS) if contrast < 4.5] == []
