"""Tests that are collected once, and run on each mutant in a child process of their own."""

import ast
import functools
import gc
import hashlib
import importlib
import json
import os
import resource
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from types import CodeType, FunctionType
from typing import NamedTuple

import coverage
import pytest
from _pytest.runner import runtestprotocol

import pickleseal
from mutants.guards import Mutant

PACKAGE = Path(pickleseal.__file__).parent
_SECONDS_OF_TEST = 40
"""A mutant may loop for ever: its test ends then, and so misses the guard."""
_MEMORY = 6 << 30
_SURVIVED, _KILLED = 0, 1


class Reach(NamedTuple):
    """The lines of the package that a test runs, in its own process or in those that it starts.

    `digests` are those of its own file and of all that it reaches: one that changed is measured
    again. A test that fails without any mutant takes no time.
    """

    seconds: float
    lines: dict[str, list[int]]
    digests: dict[str, str]

    def is_stale(self) -> bool:
        """Return whether a file changed since."""
        return any(_digest(path) != digest for path, digest in self.digests.items())


@functools.cache
def _digest(path: str) -> str:
    file = Path(path)
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.exists() else ""


class Trial:
    """A pytest plugin that collects tests, then does `work` with some mutants and itself."""

    def __init__(self, folder: Path, tried: list[Mutant], work: "Work") -> None:
        self.left: list[Mutant] = []
        self._folder = folder
        self._tried = tried
        self._work = work
        self._items: dict[str, pytest.Item] = {}
        self._reaches: dict[str, Reach] = {}
        self._failed: list[str] | None = None

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Do the work in the place of running all tests."""
        self._items = {item.nodeid: item for item in session.items}
        self.left = self._work(self, self._tried)
        return True

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """End the child at the first failure; while tests are measured, note it."""
        if report.failed and self._failed is None:
            os._exit(_KILLED)
        if report.failed and self._failed is not None:
            self._failed.append(report.nodeid)

    def measure(self) -> None:
        """Find out which lines each test reaches, in a child process; keep it for the next run."""
        kept = self._folder / "reaches.json"
        known = json.loads(kept.read_text()) if kept.exists() else {}
        known = {name: Reach(*one) for name, one in known.items()}
        missing = [n for n in self._items if n not in known or known[n].is_stale()]
        if missing:
            print(f"measuring {len(missing)} tests", file=sys.stderr, flush=True)
            part = self._folder / "part.json"
            part.unlink(missing_ok=True)
            _in_child(lambda: self._measure(missing, part), seconds=3600)
            known |= {name: Reach(*one) for name, one in json.loads(part.read_text()).items()}
            kept.write_text(json.dumps(known))
        self._reaches = {name: known[name] for name in self._items}
        failed = [name for name, one in self._reaches.items() if not one.seconds]
        for name in failed:
            print(f"fails without any mutant, and is left out: {name}")

    def _measure(self, names: list[str], kept: Path) -> None:
        data = self._folder / "coverage"
        shutil.rmtree(data, ignore_errors=True)
        data.mkdir()
        settings = data / "settings"
        settings.write_text(
            f"[run]\nsource_pkgs = pickleseal\nparallel = true\ndata_file = {data}/of\n"
            "context = ${MUTANTS_TEST}\n"
        )
        # In the processes that tests start, which read the test's name when they start.
        (data / "sitecustomize.py").write_text("import coverage\ncoverage.process_startup()\n")
        os.environ["COVERAGE_PROCESS_START"] = str(settings)
        _put_first(data)
        main = coverage.Coverage(f"{data}/of.main", config_file=False, source=[str(PACKAGE)])
        main.start()
        self._failed = []
        took = {}
        for name in names:
            os.environ["MUTANTS_TEST"] = name
            main.switch_context(name)
            before = time.monotonic()
            runtestprotocol(self._items[name], nextitem=None)
            took[name] = time.monotonic() - before
        main.stop()
        main.save()
        main.combine([str(data)], keep=True)
        lines: dict[str, dict[str, list[int]]] = {name: {} for name in took}
        for path in main.get_data().measured_files():
            for line, contexts in main.get_data().contexts_by_lineno(path).items():
                for name in lines.keys() & set(contexts):
                    lines[name].setdefault(path, []).append(line)
        made = {}
        for name, reached in lines.items():
            passed = name not in self._failed
            digests = {path: _digest(path) for path in (str(self._items[name].path), *reached)}
            made[name] = Reach(took[name] * passed, reached if passed else {}, digests)
        kept.write_text(json.dumps(made))

    def tests_of(self, mutant: Mutant) -> list[str]:
        """Return the tests that reach a mutant's line, the fastest first."""
        path, line = str(mutant.path), mutant.line
        found = [name for name, one in self._reaches.items() if line in one.lines.get(path, ())]
        return sorted(found, key=lambda name: self._reaches[name].seconds)

    def survives(self, mutant: Mutant, tests: Iterable[str]) -> bool:
        """Return whether all of some tests pass with a mutant."""

        def run() -> None:
            self._install(mutant)
            for name in tests:
                runtestprotocol(self._items[name], nextitem=None)

        return _in_child(run, seconds=900) == _SURVIVED

    def _install(self, mutant: Mutant) -> None:
        """Put a mutant into this process, and first on the path of those that it starts."""
        copied = self._folder / "copy"
        shutil.rmtree(copied, ignore_errors=True)
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(PACKAGE, copied / PACKAGE.name, ignore=ignored)
        target = copied / mutant.path.relative_to(PACKAGE.parent)
        tree = mutant.tree()
        target.write_text(ast.unparse(tree), encoding="utf-8")
        _put_first(copied)
        importlib.import_module(mutant.module)
        made = _code_of(compile(tree, str(mutant.path), "exec"), mutant.function)
        functions = [
            one
            for one in gc.get_objects()
            if type(one) is FunctionType
            and one.__module__ == mutant.module
            and one.__code__.co_qualname == mutant.function
        ]
        if not functions:
            raise SystemExit(f"no function {mutant.function} in {mutant.module}")
        for function in functions:
            if function.__code__.co_firstlineno == made.co_firstlineno:
                function.__code__ = made


def _put_first(folder: Path) -> None:
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = f"{folder}{os.pathsep}{before}" if before else str(folder)


def _code_of(module: CodeType, name: str) -> CodeType:
    """Return the code of a function in that of its module."""
    for one in module.co_consts:
        if isinstance(one, CodeType):
            if one.co_qualname == name:
                return one
            if name.startswith(f"{one.co_qualname}."):
                return _code_of(one, name)
    raise LookupError(name)


def _in_child(work: Callable[[], None], *, seconds: float) -> int:
    """Return the exit code of a child process that does some work; one that hangs is killed."""
    child = os.fork()
    if not child:
        code = _KILLED
        try:
            os.setsid()
            resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
            nothing = os.open(os.devnull, os.O_RDWR)
            for stream in range(3):
                os.dup2(nothing, stream)
            work()
            code = _SURVIVED
        finally:
            os._exit(code)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            _kill_group(child)  # what a test left behind
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    _kill_group(child)
    os.waitpid(child, 0)
    return _KILLED


def _kill_group(child: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)


Work = Callable[[Trial, list[Mutant]], list[Mutant]]


def run_trial(tests: Iterable[str], folder: Path, tried: list[Mutant], work: Work) -> list[Mutant]:
    """Collect some tests, and return what `work` does; `folder` keeps what was measured."""
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = str(folder / "hypothesis")
    options = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--no-header", "--no-summary"]
    options += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # pickleseal, imported here
    options += [f"--timeout={_SECONDS_OF_TEST}", f"--basetemp={folder / 'tmp'}"]
    trial = Trial(folder, tried, work)
    code = pytest.main([*options, *tests], plugins=[trial])
    if code not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        sys.exit(f"pytest ended with {code!r}")
    return trial.left
