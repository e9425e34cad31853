"""How objects show themselves in a notebook: escaped, without secrets, the same for all."""

import pickle
import re
from html.parser import HTMLParser
from pathlib import Path

import pickleseal
from pickleseal import Key, Keyring, inspect, signed_dump
from pickleseal.keys.key import KeyLine
from pickleseal.keys.store.changes import change_roster, create_key, rotate
from pickleseal.keys.store.directory import open_keyring

NASTY = "<img src=x onerror=alert(1)>\u3164&amp;"


class Table(HTMLParser):
    """The rows of a table as lists of texts, the tags, and the colours of edges."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.tags: set[str] = set()
        self.edges = re.findall("border-left:4px solid (#[0-9a-f]{6})", text)
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert {name for name, _ in attrs} <= {"style", "scope"}
        self.tags.add(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_data(self, data: str) -> None:
        if self.rows:
            self.rows[-1][-1] += data


def test_a_keyring_shows_its_keys_and_no_secret(tmp_path: Path) -> None:
    create_key(tmp_path / "ring", note=NASTY, now=0)
    first = open_keyring(tmp_path / "ring").primary
    assert first is not None
    rotate(tmp_path / "ring", now=1)
    change_roster(tmp_path / "ring", lambda roster: roster.revoke(first, now=2, reason="lost"))
    ring = open_keyring(tmp_path / "ring")
    text = ring._repr_html_()
    table = Table(text)
    head, primary, revoked = table.rows
    assert head[0] == "key"
    assert primary[:2] == [ring.primary, "active, primary"]
    assert revoked[:2] == [first, "revoked"]
    assert "lost" in revoked[-1]
    assert "<img src=x" in revoked[-1]
    assert "\\u3164" in revoked[-1]
    assert len(set(table.edges)) == 2
    assert table.tags <= {"div", "p", "strong", "table", "thead", "tbody", "tr", "th", "td"}


def test_a_ring_in_memory_shows_no_secret() -> None:
    line = KeyLine.generate()
    text = Keyring(Key.parse(line))._repr_html_()
    secret = line.reveal().split(".")[2]
    assert secret not in text
    assert len(Table(text).rows) == 2


def test_a_finding_shows_what_was_found_and_what_to_do(tmp_path: Path, ring: Keyring) -> None:
    (tmp_path / "plain.pkl").write_bytes(pickle.dumps([1]))
    (tmp_path / "armed.pkl").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    signed_dump([1], tmp_path / "sealed.pkl", keyring=ring, context="<img src=x>")
    found = {Path(f.path).stem: f for f in pickleseal.audit(tmp_path, keyring=ring)}
    tables = {name: Table(finding._repr_html_()) for name, finding in found.items()}
    facts = {name: {row[0]: row[1] for row in one.rows} for name, one in tables.items()}
    assert facts["armed"]["names"] == "os.system"
    assert facts["plain"]["what to do"] == found["plain"].advice
    assert facts["sealed"]["sealed by"].startswith(f"key {ring.primary}")
    assert "<img src=x" in facts["sealed"]["context"]
    assert len({table.edges[0] for table in tables.values()}) == 3


def test_texts_have_the_colour_of_their_notebook(tmp_path: Path, ring: Keyring) -> None:
    """It may be light or dark: only edges have a colour of their own."""
    signed_dump([1], tmp_path / "sealed", keyring=ring)
    (tmp_path / "plain").write_bytes(pickle.dumps([1]))
    report = pickleseal.audit(tmp_path, keyring=ring).report()
    found = inspect(tmp_path / "sealed", keyring=ring)
    texts = [one._repr_html_() for one in report.findings]
    for text in (ring._repr_html_(), report._repr_html_(), found._repr_html_(), *texts):
        assert Table(text).edges
        assert not re.search("color:|#[0-9a-f]{3,}", re.sub("4px solid #[0-9a-f]{6}", "", text))
