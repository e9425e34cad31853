"""Tests that are collected once, and run on each mutant in a child process of their own."""

import ast
import functools
import gc
import hashlib
import importlib
import importlib.util
import itertools
import json
import math
import os
import resource
import shutil
import signal
import sys
import tempfile
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
_SECONDS_OF_TEST = 15
"""Beside five times what it takes without a mutant, which may loop for ever."""
_MEMORY = 6 << 30
_SURVIVED, _KILLED = 0, 1
_RESULTS = "results.json"


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

    def __init__(self, folder: Path, room: Path, tried: list[Mutant], work: "Work") -> None:
        self.left: list[Mutant] = []
        self.seconds = math.inf
        self._folder = folder
        self._room = room
        self._tried = tried
        self._work = work
        self._items: dict[str, pytest.Item] = {}
        self._reaches: dict[str, Reach] = {}
        self._killer = folder / "killer"
        self._copy = folder / "copy"
        shutil.rmtree(self._copy, ignore_errors=True)
        self._results = results(folder)
        self._failed: list[str] | None = None

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Do the work in the place of running all tests."""
        self._items = {item.nodeid: item for item in session.items}
        self.left = self._work(self, self._tried)
        return True

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """End the child at the first failure; while tests are measured, note it."""
        if report.failed and self._failed is None:
            self._killer.write_text(report.nodeid)
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
        main = coverage.Coverage(f"{data}/of", config_file=False, source=[str(PACKAGE)])
        main.start()
        self._failed = []
        took = {}
        for name, following in itertools.zip_longest(names, names[1:]):
            os.environ["MUTANTS_TEST"] = name
            main.switch_context(name)
            before = time.monotonic()
            runtestprotocol(self._items[name], nextitem=self._items.get(following))
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
        """Return the tests that reach a mutant's line, in the order in which to run them.

        The first is the one that missed the mutant in the last run, then those that missed others
        of its module, then those of the module, the fastest first.
        """
        path, line = str(mutant.path), mutant.line
        found = [name for name, one in self._reaches.items() if line in one.lines.get(path, ())]
        last = self._results.get(mutant.key)
        room = mutant.key.partition(" ")[0] + " "
        near = {test for key, test in self._results.items() if key.startswith(room)}

        own = f"test_{mutant.path.stem}"  # test_doctor_places.py, too

        def rank(name: str) -> tuple[bool, bool, bool, float]:
            return name != last, name not in near, own not in name, self._reaches[name].seconds

        ranked = sorted(found, key=rank)
        ends = itertools.accumulate(self._reaches[name].seconds for name in ranked)
        return [name for name, end in zip(ranked, ends, strict=True) if end < self.seconds]

    def survives(self, mutant: Mutant, tests: list[str]) -> bool:
        """Return whether all of some tests pass with a mutant; keep which one did not."""

        def run() -> None:
            self._install(mutant)
            for name, following in itertools.zip_longest(tests, tests[1:]):
                signal.alarm(_SECONDS_OF_TEST + 5 * math.ceil(self._reaches[name].seconds))
                runtestprotocol(self._items[name], nextitem=self._items.get(following))

        self._killer.unlink(missing_ok=True)
        if not self._copy.exists():
            shutil.copytree(PACKAGE, self._copy / PACKAGE.name)  # with what is compiled
        survived = _in_child(run, seconds=3600) == _SURVIVED
        self._put(mutant, mutant.path.read_text(encoding="utf-8"))
        # Each child makes a folder in it at its first test; one for all of them would fill up.
        _empty(self._room)
        killer = self._killer.read_text() if self._killer.exists() else "it hung or died"
        self._results[mutant.key] = "" if survived else killer
        (self._folder / _RESULTS).write_text(json.dumps(self._results, indent=1))
        return survived

    def _put(self, mutant: Mutant, text: str) -> None:
        """Write a module's text to the copy of the package."""
        target = self._copy / mutant.path.relative_to(PACKAGE.parent)
        target.write_text(text, encoding="utf-8")
        Path(importlib.util.cache_from_source(str(target))).unlink(missing_ok=True)

    def _install(self, mutant: Mutant) -> None:
        """Put a mutant into this process, and first on the path of those that it starts."""
        tree = mutant.tree()
        self._put(mutant, ast.unparse(tree))
        _put_first(self._copy)
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


def _empty(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(exist_ok=True)


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


def results(folder: Path) -> dict[str, str]:
    """Return what earlier runs kept: each mutant's key, and the test that missed it or ""."""
    kept = folder / _RESULTS
    found: dict[str, str] = json.loads(kept.read_text()) if kept.exists() else {}
    return found


Work = Callable[[Trial, list[Mutant]], list[Mutant]]


def run_trial(tests: Iterable[str], folder: Path, tried: list[Mutant], work: Work) -> list[Mutant]:
    """Collect some tests, and return what `work` does; `folder` keeps what was measured."""
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = str(folder / "hypothesis")
    options = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--no-header", "--no-summary"]
    options += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # pickleseal, imported here
    # Not in `folder`, which is in the repository: `keys doctor` would find that.
    with tempfile.TemporaryDirectory(prefix="mutants-") as room:
        os.environ["PYTEST_DEBUG_TEMPROOT"] = room
        trial = Trial(folder, Path(room), tried, work)
        code = pytest.main([*options, *tests], plugins=[trial])
    if code not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        sys.exit(f"pytest ended with {code!r}")
    return trial.left
