"""The checks of the format's pages, the code that cites them, and the vectors are one list."""

import io
import re
import tokenize
from itertools import pairwise
from pathlib import Path

import pytest
from making.steps import STEPS

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "docs/reference" / name for name in ("format.md", "payload.md")]
CHECK = re.compile(r"\b[1-8]\.[1-9][0-9]?\b")
ERRORS = {
    "NotSealedError": "not-sealed",
    "NothingToReadError": "not-sealed",
    "MalformedError": "malformed",
    "UnknownKeyError": "unknown-key",
    "RevokedKeyError": "revoked",
    "BadSealError": "bad-seal",
    "ContextError": "context",
    "ExpiredError": "expired",
    "RollbackError": "rollback",
    "VersionMismatchError": "version-mismatch",
    "PolicyError": "policy",
}

pytestmark = pytest.mark.once


def checks() -> dict[str, str]:
    """Return the error of each check on the pages, in their order."""
    row = re.compile(r"^\| (\d\.\d+) \| .* \| `(\w+)`[^|]* \|$", re.MULTILINE)
    found = [row.findall(page.read_text("utf-8")) for page in PAGES]
    pairs = [pair for page in found for pair in page]
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


def cited() -> set[str]:
    """Return the checks that comments and docstrings of the package cite."""
    numbers: set[str] = set()
    for path in ROOT.glob("src/pickleseal/*/*.py"):
        if path.parent.name not in ("envelope", "persistence", "pickling"):
            continue
        for token in tokenize.generate_tokens(io.StringIO(path.read_text("utf-8")).readline):
            if token.type == tokenize.COMMENT and re.fullmatch(r"# [\d., ]+", token.string):
                numbers |= set(CHECK.findall(token.string))
            if token.type == tokenize.STRING and token.string.startswith('"""'):
                numbers |= set(re.findall(r"\((\d\.\d+)\)", token.string))
    return numbers


def test_the_code_cites_each_check_and_no_other() -> None:
    assert cited() == set(checks())


def test_the_checks_are_numbered_without_a_gap() -> None:
    numbers = [tuple(map(int, number.split("."))) for number in checks()]
    for before, after in pairwise(numbers):
        assert after in ((before[0], before[1] + 1), (before[0] + 1, 1))


def test_a_vector_breaks_each_check_and_is_refused_as_the_page_says() -> None:
    # That a path leads to a regular file is tested with the files themselves.
    assert set(STEPS.values()) == set(checks()) - {"1.1"}
    folder = ROOT / "tests/vectors"
    for name, number in STEPS.items():
        first = folder.joinpath(name).read_bytes().split(b"\n", 1)[0].decode()
        assert first == f"expect: {ERRORS[checks()[number]]}"


def test_each_section_that_code_names_is_on_its_page() -> None:
    for path in ROOT.glob("src/pickleseal/**/*.py"):
        text = " ".join(path.read_text("utf-8").split())
        for page, section in re.findall(r'(format|payload)\.md, "(\w+)"', text):
            headings = (ROOT / f"docs/reference/{page}.md").read_text("utf-8")
            assert f"\n## {section}\n" in headings
        for section, page in re.findall(r'"(\w+)" in docs/reference/(format|payload)\.md', text):
            headings = (ROOT / f"docs/reference/{page}.md").read_text("utf-8")
            assert f"\n## {section}\n" in headings
