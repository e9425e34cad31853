"""The documentation's site, as `make docs` builds it, in a real browser and link by link."""

import functools
import http.server
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, unquote, urldefrag, urljoin, urlsplit

import pytest

pytest.importorskip("selenium")
pytest.importorskip("sphinx_copybutton")  # what `make docs` installs
pytest.importorskip("sphinx_design")
pytest.importorskip("pydata_sphinx_theme")
pytest.importorskip("myst_parser")

from browser import Driver, chromium, complaints, dressed, requested, sized
from bs4 import BeautifulSoup
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

DOCS = Path(__file__).parent.parent / "docs"

pytestmark = [
    pytest.mark.sweep,
    pytest.mark.skipif(not DOCS.is_dir(), reason="the documents are not here"),
]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the site, strictly: a broken link or an unknown name fails."""
    place = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q"]
    done = subprocess.run(
        [*command, "-d", str(place / "doctrees"), str(DOCS), str(place / "site")],
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return place / "site"


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[str, BeautifulSoup]:
    """Return each page of the site by its address."""
    return {
        page.as_uri(): BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser")
        for page in sorted(site.rglob("*.html"))
        if "_static" not in page.parts
    }


class Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        """Write nothing to the terminal."""


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    """Serve the site, since a browser does not let a file read another one."""
    handler = functools.partial(Handler, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def driver(address: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driver]:
    """Yield a browser, and check that its pages asked for nothing from elsewhere."""
    with chromium(tmp_path_factory.mktemp("profile")) as started:
        yield started
        asked = {link for link in requested(started) if link.startswith("http")}
        assert asked
        assert not [link for link in asked if not link.startswith(f"{address}/")]
        # The theme reports what it does, marked so.
        assert not [line for line in complaints(started) if "[PST]" not in line]


def test_every_link_and_picture_of_the_site_is_there(pages: dict[str, BeautifulSoup]) -> None:
    broken, count = [], 0
    for page, tree in pages.items():
        for element in tree.select("a[href], link[href], img[src], script[src]"):
            link = urljoin(page, str(element.get("href") or element.get("src")))
            address, anchor = urldefrag(link)
            if not address.startswith("file:"):
                assert element.name == "a", f"{page} takes {link} from elsewhere"
                continue
            count += 1
            if not Path(unquote(urlsplit(address).path)).is_file() or (
                anchor and address in pages and not pages[address].find(id=unquote(anchor))
            ):
                broken.append(f"{page}: {link}")
    assert count > 1000
    assert broken == []


def test_every_document_is_a_page(site: Path) -> None:
    documents = {path.relative_to(DOCS).with_suffix(".html") for path in DOCS.rglob("*.md")}
    assert [page for page in documents if not (site / page).is_file()] == []


@pytest.mark.parametrize(
    ("words", "page"),
    [
        ("context", "/how-to/"),
        ("revoke", "rotate-and-revoke"),
        ("KeyError: 166", "questions"),
        ("falsify", "threat-model"),
        ("hmac vs gpg", "threat-model"),
        ("uninstall", "install"),
        ("lost key", "a-lost-key"),
        ("stolen key", "a-stolen-key"),
        ("threat model", "threat-model"),
        ("jupyter notebook", "questions"),
        ("convert existing models", "questions"),
        ("gitlab", "audit-a-folder"),
        ("docker", "deploy-to-containers"),
    ],
)
def test_a_search_finds_a_guide_first(words: str, page: str, address: str, driver: Driver) -> None:
    driver.get(f"{address}/search.html?q={quote(words)}")
    results = (By.CSS_SELECTOR, "#search-results li > a")
    first = WebDriverWait(driver, 20).until(lambda _: driver.find_elements(*results))[0]
    assert page in str(first.get_attribute("href"))


def test_no_page_scrolls_sideways_on_a_phone(
    site: Path, address: str, pages: dict[str, BeautifulSoup], driver: Driver
) -> None:
    sized(driver, 390, 844)
    wide = []
    for page in pages:
        driver.get(page.replace(site.as_uri(), address))
        if driver.execute_script(
            "return document.documentElement.scrollWidth > document.documentElement.clientWidth"
        ):
            wide.append(page)
    assert wide == []


def test_the_site_is_light_or_dark_as_the_reader_prefers(address: str, driver: Driver) -> None:
    ground = {}
    for scheme in ("light", "dark"):
        dressed(driver, scheme=scheme)
        driver.get(f"{address}/index.html")
        colour = driver.find_element(By.TAG_NAME, "body").value_of_css_property("background-color")
        ground[scheme] = sum(int(part) for part in colour.strip("rgba()").split(",")[:3])
    assert ground["light"] > 600 > 150 > ground["dark"]


def test_the_first_page_leads_to_a_page_for_each_way_in(address: str, driver: Driver) -> None:
    for card in ("Save and load", "Keys", "Audit"):
        driver.get(f"{address}/index.html")
        cards = driver.find_elements(By.CSS_SELECTOR, ".sd-card")
        (chosen,) = [each for each in cards if each.text.startswith(card)]
        link = chosen.find_element(By.CSS_SELECTOR, "a.sd-stretched-link")
        driver.execute_script("arguments[0].click()", link)
        assert not driver.current_url.endswith("/index.html")
        assert driver.find_element(By.TAG_NAME, "h1").text
