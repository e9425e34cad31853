"""Reports of an audit, ordinary and hostile, and a reader of pages."""

from html.parser import HTMLParser

from pickleseal.auditing.findings import Change, Finding, Level, Verdict
from pickleseal.auditing.formats.html import HtmlDocument
from pickleseal.auditing.formats.sarif import SarifDocument
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


def written(document: SarifDocument | HtmlDocument, report: Report) -> str:
    """Return a document with the findings of a report."""
    for finding in report.findings:
        document.add(finding)
    text = b"".join(document.pieces(report)).decode()
    document.close()
    return text


def sarif(report: Report) -> str:
    return written(SarifDocument(), report)


def html(report: Report) -> str:
    return written(HtmlDocument(), report)


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
    """Return a report of eight files that has each level."""
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
    """Return a report with `text` wherever a text can come from outside."""
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
