"""A pytest plugin that runs the audit of saved artifacts as tests.

pytest loads it wherever pickleseal is installed. So it imports only what it always needs, and does
nothing without `--pickleseal-audit` or the setting `pickleseal_audit`.
"""

import os
from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

import pytest

import pickleseal
from pickleseal.errors import shown

_INPUT = "pickleseal_audit"


class Told(NamedTuple):
    """The result of one test. All texts are printable."""

    name: str
    text: str
    fails: bool


class Outcome(NamedTuple):
    """The results of one audit: files at level note or above, and a summary."""

    files: tuple[Told, ...]
    summary: Told


class _Node(Protocol):
    """A pytest-xdist worker, as the controller sees it."""

    config: pytest.Config
    workerinput: dict[str, Any]


_OUTCOME = pytest.StashKey[Outcome]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option and the settings."""
    group = parser.getgroup("pickleseal", "audit of saved artifacts by pickleseal")
    group.addoption(
        "--pickleseal-audit",
        action="append",
        default=[],
        metavar="PATH",
        help="audit the files at or below PATH instead of those in pickleseal_audit; can"
        " be given several times",
    )
    parser.addini("pickleseal_audit", "files and folders to audit", type="paths", default=[])
    parser.addini("pickleseal_keyring", "the keyring's directory; default: as for a load")
    parser.addini(
        "pickleseal_known", "modules whose names count as known", type="linelist", default=[]
    )
    parser.addini(
        "pickleseal_fail_on",
        "lowest level that fails: error, unknown, warning or note; default: warning",
        default="warning",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker, so that `-m pickleseal` runs the audit alone."""
    if _paths(config):
        config.addinivalue_line("markers", "pickleseal: the audit of saved artifacts")


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Audit once: here, or in the controller for all pytest-xdist workers."""
    config = session.config
    paths = _paths(config)
    if not paths:
        return
    handed = getattr(config, "workerinput", {}).get(_INPUT)
    config.stash[_OUTCOME] = _audited(config, paths) if handed is None else _taken(handed)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: _Node) -> None:
    """Send the results to a pytest-xdist worker: all must collect the same tests."""
    if _OUTCOME in node.config.stash:
        files, summary = node.config.stash[_OUTCOME]
        node.workerinput[_INPUT] = [list(told) for told in (*files, summary)]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(
    session: pytest.Session, config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Add a test for each file at level note or above, and one for the whole audit."""
    if _OUTCOME in config.stash:
        group: Audit = Audit.from_parent(session, name="pickleseal", nodeid="pickleseal")
        group.outcome = config.stash[_OUTCOME]
        report = group.ihook.pytest_make_collect_report(collector=group)
        group.ihook.pytest_collectreport(report=report)  # so that pytest counts the tests
        items.extend(report.result)


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Write one line about the audit."""
    if _OUTCOME in config.stash:
        terminalreporter.write_line(f"pickleseal: {config.stash[_OUTCOME].summary.text}")


class Audit(pytest.Collector):
    """The tests of one audit."""

    outcome: Outcome

    def collect(self) -> Iterator[pytest.Item]:
        """Yield a test for each file at level note or above, and one for the whole audit."""
        for told in (*self.outcome.files, self.outcome.summary):
            test: AuditTest = AuditTest.from_parent(self, name=told.name)
            test.told = told
            test.add_marker("pickleseal")
            yield test


class AuditTest(pytest.Item):
    """The audit's result for one file."""

    told: Told

    def runtest(self) -> None:
        """Fail if the finding reaches the level that fails."""
        if self.told.fails:
            pytest.fail(self.told.text, pytrace=False)

    def repr_failure(
        self,
        excinfo: pytest.ExceptionInfo[BaseException],
        style: Any = None,  # noqa: ARG002 - pytest's own
    ) -> str:
        """Return only the text: there is no line of code to show."""
        return str(excinfo.value)

    def reportinfo(self) -> tuple[os.PathLike[str] | str, int | None, str]:
        """Return the heading of a failure."""
        return self.path, None, f"pickleseal audit: {self.told.name}"


def _paths(config: pytest.Config) -> list[str]:
    given = config.getoption("pickleseal_audit")
    named = given or config.getini("pickleseal_audit")
    return [os.path.abspath(config.invocation_params.dir / os.fspath(path)) for path in named]


def _taken(handed: list[list[Any]]) -> Outcome:
    *files, summary = (Told(*fields) for fields in handed)
    return Outcome(tuple(files), summary)


def _audited(config: pytest.Config, paths: list[str]) -> Outcome:
    # Imported late: runs without an audit do not pay for it.
    from pickleseal.auditing.findings import Level  # noqa: PLC0415
    from pickleseal.auditing.report import FAIL_ON  # noqa: PLC0415

    fail_on = config.getini("pickleseal_fail_on")
    choices = [choice for choice in FAIL_ON if choice != "never"]
    if fail_on not in choices:
        raise pytest.UsageError(f"pickleseal_fail_on must be one of {', '.join(choices)}")
    known = config.getini("pickleseal_known")
    try:
        report = pickleseal.audit(paths, keyring=_keyring(config), known=known).report()
    except (pickleseal.PicklesealError, OSError, ValueError) as error:
        text = str(error)
        if isinstance(error, OSError) and error.filename:
            text = f"{error.filename}: {error.strerror}"
        raise pytest.UsageError(f"pickleseal could not audit: {shown(text)}") from None
    failing = set(map(id, report.failing(fail_on)))
    files = sorted(
        _told(config, finding, fails=id(finding) in failing)
        for finding in report.findings
        if finding.level >= Level.NOTE
    )
    counts = [f"{count:,} {verdict.value}" for verdict, count in report.verdicts.items()]
    if report.left_out.files:
        counts.append(f"{report.left_out.files:,} left out in folders of other programs")
    where = " and ".join(_name(config, path) for path in paths)
    summary = Told(
        "summary",
        f"audited {where}: {', '.join(counts) or 'no file'}",
        # No file at all is more likely a wrong path than a clean folder.
        fails=not report.findings,
    )
    return Outcome(tuple(files), summary)


def _keyring(config: pytest.Config) -> str | None:
    named = config.getini("pickleseal_keyring")
    return str(config.rootpath / os.path.expanduser(named)) if named else None


def _told(config: pytest.Config, finding: Any, *, fails: bool) -> Told:
    lines = [f"{finding.verdict.value}: {finding.reason}" if finding.reason else finding.verdict]
    if finding.advice:
        lines.append(f"what to do: {finding.advice}")
    return Told(_name(config, finding.path), "\n".join(shown(line) for line in lines), fails)


def _name(config: pytest.Config, path: str) -> str:
    """Return a printable path, relative to the project if it is inside."""
    root = os.fspath(config.rootpath)
    return shown("." if path == root else path.removeprefix(root + os.sep))
