"""The documentation's site: `make docs` builds it into dist/site, strictly and without network.

The pages are plain Markdown that also reads well in a repository's viewer, so what only a site
needs is made here: the navigation, from the lists of links on the index pages, and the pages that
are kept at the top of the repository.
"""

import posixpath
import re
from pathlib import Path

from sphinx.application import Sphinx

import pickleseal

HERE = Path(__file__).parent

project = "pickleseal"
author = "The pickleseal developers"
copyright = author  # noqa: A001 - Sphinx's name
version = release = pickleseal.__version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.intersphinx",
    "sphinx_copybutton",
    "sphinx_design",
]
exclude_patterns = ["site", "pictures"]
nitpicky = True
smartquotes = False  # what is quoted can be copied

myst_enable_extensions = ["colon_fence", "html_image"]
myst_heading_anchors = 6

autodoc_typehints = "none"  # the docstrings have the types
autodoc_member_order = "bysource"
add_module_names = False
maximum_signature_line_length = 80
toc_object_entries = False  # the headings of the page are there already
numpydoc_show_class_members = False

# Text files of the few names that the docstrings use: a build asks no network.
intersphinx_mapping = {
    "python": ("https://docs.python.org/3", "site/inventories/python.inv"),
}

copybutton_prompt_text = r"\$ |>>> |\.\.\. "
copybutton_prompt_is_regexp = True
copybutton_line_continuation_character = "\\"

html_theme = "pydata_sphinx_theme"
html_title = "pickleseal"
html_logo = html_favicon = "site/static/favicon.svg"
html_static_path = ["site/static"]
html_css_files = ["pickleseal.css"]
html_context = {"default_mode": "auto"}  # light or dark as the reader's system
html_search_scorer = str(HERE / "site/scorer.js")
html_show_sourcelink = False
html_copy_source = False
html_sidebars = {"index": [], "tutorial": [], "project/*": []}
html_theme_options = {
    "logo": {"text": "pickleseal", "alt_text": "pickleseal: the first page"},
    "navbar_align": "left",
    "header_links_before_dropdown": 5,
    "navigation_with_keys": False,
    "secondary_sidebar_items": {"**": ["page-toc"], "index": []},
    "show_toc_level": 2,
    "footer_start": ["copyright"],
    "footer_end": [],
}

AT_THE_TOP = {
    "project/security": "SECURITY.md",
    "project/changelog": "CHANGELOG.md",
    "project/contributing": "CONTRIBUTING.md",
}
"""Pages of the site whose text is in a file at the top of the repository."""

_LINK = re.compile(r"\]\((?![a-z]+:|#)([^)\s#]+)")


def _rooted(docname: str, text: str) -> str:
    """Return `text` with its relative links led to the site's pages, else to a copy of the file."""
    here = posixpath.dirname(docname)
    folder = "" if docname in AT_THE_TOP else posixpath.join("docs", here)
    pages = {file: f"{page}.md" for page, file in AT_THE_TOP.items()}

    def led(link: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join(folder, link[1]))
        if path in pages or path.startswith("docs/"):
            return f"](/{pages.get(path) or path.removeprefix('docs/')}"
        return f"](path:{posixpath.relpath(path, posixpath.join('docs', here))}"

    return _LINK.sub(led, text)


def _navigation(docname: str, text: str) -> str:
    """Return a toctree for each section of an index page, with its links in their order."""
    trees = []
    for section in re.split(r"^## ", text, flags=re.MULTILINE):
        links = re.findall(r"^- .*\.md\)", section, re.MULTILINE)
        found = re.findall(r"\[([^]]+)\]\(((?:\.\./)?[\w/-]+)\.md\)", "\n".join(links))
        if found:
            # The names at the top of the site are short, those of guides are their titles.
            entries = [f"{name} <{page}>" if docname == "index" else page for name, page in found]
            caption = [] if section.startswith("# ") else [f":caption: {section.splitlines()[0]}"]
            trees.append("\n".join([":::{toctree}", ":hidden:", *caption, "", *entries, ":::"]))
    return "\n\n" + "\n\n".join(trees) + "\n"


def _read(app: Sphinx, docname: str, source: list[str]) -> None:
    if docname in AT_THE_TOP:
        path = HERE.parent / AT_THE_TOP[docname]
        app.env.note_dependency(str(path))
        source[0] = path.read_text(encoding="utf-8")
    elif posixpath.basename(docname) in {"index", "README"}:
        source[0] += _navigation(docname, source[0])
    source[0] = _rooted(docname, source[0])


def _link_names(
    app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]
) -> None:
    """Turn names in single backticks into links if they are public, else into code."""

    def linked(found: re.Match[str]) -> str:
        first = found[1].partition(".")[0]
        if first.endswith(("Error", "Warning")):
            return f"`{first} <errors.html#{first.lower()}>`__"
        if first in pickleseal.__all__:
            return f":py:obj:`~pickleseal.{found[1]}`"
        return f":py:obj:`{found[1]}`" if first == "pickle" else f"``{found[1]}``"

    lines[:] = [re.sub(r"(?<![`:])`([^`]+)`(?![`_])", linked, line) for line in lines]


def _sign(
    app: Sphinx, what: str, name: str, obj: object, options: object, signature: str, returns: str
) -> tuple[str, str] | None:
    """Leave out the arguments of classes that pickleseal makes itself."""
    return ("", "") if what == "class" and obj is not pickleseal.Keyring else None


def setup(app: Sphinx) -> None:
    """Connect what is made here to Sphinx."""
    app.connect("autodoc-process-docstring", _link_names, priority=400)  # before numpydoc
    app.connect("autodoc-process-signature", _sign)
    app.connect("source-read", _read)
