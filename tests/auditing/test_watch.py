"""The watch sees what is unpickled without a seal. A hook cannot be taken out: hence the children.

Each test runs a program of its own. What such a program shows of its sightings comes back here.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest
from watching import armed

from pickleseal.auditing.watch import Sighting, watch
from pickleseal.errors import BareLoadError, BareLoadWarning, SealError

PRELUDE = """\
import io, json, os, pickle, sys, threading, warnings
from decimal import Decimal
from pathlib import Path

from pickleseal import Key, Keyring, signed_dumps, signed_loads
from pickleseal.auditing.watch import BareLoadError, BareLoadWarning, watch

seen = []


def show():
    print(json.dumps([sighting._asdict() for sighting in seen]))


bare = pickle.dumps(Decimal(1))
ring = Keyring(Key.generate())
sealed = signed_dumps(Decimal(1), keyring=ring)
"""


def run(folder: Path, code: str) -> subprocess.CompletedProcess[str]:
    """Run a program, app.py, that begins with the prelude."""
    (folder / "app.py").write_text(PRELUDE + dedent(code), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "app.py"],
        cwd=folder,
        # The programs assert, so they are not to lose it where the tests do.
        env={**os.environ, "PYTHONUTF8": "1", "PYTHONOPTIMIZE": ""},
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done


def sightings(folder: Path, code: str) -> list[Sighting]:
    """Run a program, and give what it shows at its end."""
    return [Sighting(**each) for each in json.loads(run(folder, code).stdout)]


def line_of_the_load(folder: Path) -> int:
    lines = (folder / "app.py").read_text(encoding="utf-8").splitlines()
    (number,) = [number for number, line in enumerate(lines, 1) if line.endswith("# the load")]
    return number


def test_a_bare_load_is_reported_once_with_the_line_that_calls_it(tmp_path: Path) -> None:
    (seen,) = sightings(
        tmp_path,
        """
        def restart():
            return pickle.loads(bare)  # the load

        watch(seen.append)
        restart()
        show()
        """,
    )
    assert (seen.module, seen.name) == ("decimal", "Decimal")
    assert (seen.caller, seen.function, seen.thread) == ("__main__", "restart", "MainThread")
    assert Path(seen.file).name == "app.py"
    assert seen.line == line_of_the_load(tmp_path)


def test_a_sealed_load_is_not_reported(tmp_path: Path) -> None:
    assert not sightings(
        tmp_path,
        """
        watch(seen.append)
        assert signed_loads(sealed, keyring=ring) == Decimal(1)
        show()
        """,
    )


def test_an_adopted_file_of_joblib_is_a_sealed_load(tmp_path: Path) -> None:
    assert not sightings(
        tmp_path,
        """
        import joblib, numpy
        from pickleseal import adopt_bytes

        joblib.dump(numpy.arange(3), "array.joblib")
        adopted = adopt_bytes(Path("array.joblib").read_bytes(), keyring=ring)
        watch(seen.append)
        assert signed_loads(adopted, keyring=ring).tolist() == [0, 1, 2]
        show()
        """,
    )


def test_what_a_class_unpickles_by_itself_in_a_sealed_load_is_not_reported(tmp_path: Path) -> None:
    (after,) = sightings(
        tmp_path,
        """
        class Nest:
            def __setstate__(self, state):
                self.inside = pickle.loads(state["inside"])

        nest = Nest()
        nest.inside = bare
        sealed = signed_dumps(nest, keyring=ring)
        watch(seen.append)
        assert signed_loads(sealed, keyring=ring).inside == Decimal(1)
        assert not seen
        pickle.loads(bare)
        show()
        """,
    )
    assert after.name == "Decimal"


def test_plain_data_has_no_names_and_is_not_seen(tmp_path: Path) -> None:
    assert not sightings(
        tmp_path,
        """
        watch(seen.append)
        data = {"a": [1, 2.0, b"x", None]}
        assert pickle.loads(pickle.dumps(data)) == data
        show()
        """,
    )


@pytest.mark.parametrize(
    ("prepare", "load"),
    [
        ("", "pickle._loads(bare)"),
        ("", "pickle.load(io.BytesIO(bare))"),
        ("import cloudpickle", "cloudpickle.loads(cloudpickle.dumps(lambda: Decimal(1)))"),
        ("import joblib; joblib.dump([Decimal(1)], 'x')", "joblib.load('x')"),
        ("import joblib; joblib.dump([Decimal(1)], 'x', compress=3)", "joblib.load('x')"),
        (
            "import numpy; numpy.save('x.npy', numpy.array([Decimal(1)], object))",
            "numpy.load('x.npy', allow_pickle=True)",
        ),
        (
            "import shelve\nwith shelve.open('x') as shelf: shelf['a'] = Decimal(1)",
            "shelve.open('x')['a']",
        ),
    ],
)
def test_other_ways_to_the_unpickler_are_reported_with_the_line_that_calls_them(
    tmp_path: Path, prepare: str, load: str
) -> None:
    code = f"{prepare}\nwatch(seen.append)\nvalue = {load}  # the load\nshow()\n"
    seen = sightings(tmp_path, code)
    line = line_of_the_load(tmp_path)
    assert {(each.caller, each.function, each.line) for each in seen} == {
        ("__main__", "<module>", line)
    }


@pytest.mark.parametrize("parent", ["pickle.Unpickler", "pickle._Unpickler"])
def test_an_unpickler_with_its_own_find_class_is_told_by_the_line_that_loads(
    tmp_path: Path, parent: str
) -> None:
    (seen,) = sightings(
        tmp_path,
        f"""
        class Own({parent}):
            def find_class(self, module, name):
                return super().find_class(module, name)

        watch(seen.append)
        Own(io.BytesIO(bare)).load()  # the load
        show()
        """,
    )
    assert seen.line == line_of_the_load(tmp_path)


def test_a_load_without_any_frame_of_python_is_reported(tmp_path: Path) -> None:
    (seen,) = sightings(
        tmp_path,
        """
        import _thread

        done = threading.Event()

        def report(sighting):
            seen.append(sighting)
            done.set()

        watch(report)
        _thread.start_new_thread(pickle.loads, (bare,))
        assert done.wait(60)
        show()
        """,
    )
    assert (seen.name, seen.caller, seen.line) == ("Decimal", "", 0)


def test_every_thread_is_watched(tmp_path: Path) -> None:
    seen = sightings(
        tmp_path,
        """
        def load():
            pickle.loads(bare)

        def load_sealed():
            signed_loads(sealed, keyring=ring)

        watch(seen.append)
        threads = [threading.Thread(target=load, name=f"loader {n}") for n in range(3)]
        threads += [threading.Thread(target=load_sealed) for n in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        show()
        """,
    )
    assert sorted(each.thread for each in seen) == ["loader 0", "loader 1", "loader 2"]


LOADERS = """
import cloudpickle, joblib, pandas

LOADERS = {
    "pickle": lambda: pickle.load(open("armed.pkl", "rb")),
    "pure pickle": lambda: pickle._load(open("armed.pkl", "rb")),
    "cloudpickle": lambda: cloudpickle.load(open("armed.pkl", "rb")),
    "joblib": lambda: joblib.load("armed.pkl"),
    "pandas": lambda: pandas.read_pickle("armed.pkl"),
}
"""


def test_raise_stops_a_load_before_its_payload_runs(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    (tmp_path / "armed.pkl").write_bytes(armed(mark))
    pytest.importorskip("pandas")
    done = run(
        tmp_path,
        LOADERS
        + dedent("""
        mark = Path("mark")
        for name, load in LOADERS.items():
            load()
            assert mark.exists(), name
            mark.unlink()
        watch("raise")
        for name, load in LOADERS.items():
            try:
                load()
            except BareLoadError:
                print(name)
            assert not mark.exists(), name
        assert signed_loads(sealed, keyring=ring) == Decimal(1)
        """),
    )
    assert done.stdout.splitlines() == ["pickle", "pure pickle", "cloudpickle", "joblib", "pandas"]
    assert not mark.exists()


def test_what_a_report_raises_stops_the_load_and_all_other_reports_are_made(
    tmp_path: Path,
) -> None:
    (tmp_path / "armed.pkl").write_bytes(armed(tmp_path / "mark"))
    run(
        tmp_path,
        """
        def refuse(sighting):
            raise ZeroDivisionError

        before, after = [], []
        watch(before.append)
        watch(refuse)
        watch(after.append)
        try:
            pickle.load(open("armed.pkl", "rb"))
        except ZeroDivisionError:
            assert len(before) == len(after) == 1
        else:
            raise SystemExit("it was loaded")
        """,
    )
    assert not (tmp_path / "mark").exists()


def test_a_stopped_watch_reports_nothing_and_others_go_on(tmp_path: Path) -> None:
    run(
        tmp_path,
        """
        first, second, third = [], [], []
        kept = watch(first.append)
        with watch(second.append) as other:
            pickle.loads(bare)
        kept.stop()
        pickle.loads(bare)
        kept.stop()
        other.stop()
        watch(third.append)
        pickle.loads(bare)
        assert (len(first), len(second), len(third)) == (1, 1, 1)
        """,
    )


def test_the_first_watch_alone_installs_a_hook_and_importing_installs_none(
    tmp_path: Path,
) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        dedent("""
        import sys

        hooks = []
        sys.addaudithook(lambda event, _: hooks.append(1) if event == "sys.addaudithook" else None)

        import pickleseal
        from pickleseal.auditing.watch import watch

        assert not hooks
        watch(print).stop()
        first = len(hooks)
        assert first > 0
        watch(print).stop()
        watch(print)
        assert len(hooks) == first
        """),
        encoding="utf-8",
    )
    subprocess.run([sys.executable, str(program)], check=True, timeout=60)


def test_a_hook_that_refuses_further_hooks_is_not_passed_over_in_silence(tmp_path: Path) -> None:
    run(
        tmp_path,
        """
        def alone(event, arguments):
            if event == "sys.addaudithook" and refusing:
                raise RuntimeError

        refusing = True
        sys.addaudithook(alone)
        try:
            watch(seen.append)
        except RuntimeError:
            refusing = False
        else:
            raise SystemExit("no hook was installed, and nothing said so")
        pickle.loads(bare)
        assert not seen
        watch(seen.append)
        pickle.loads(bare)
        assert len(seen) == 1
        """,
    )


def test_a_report_that_unpickles_is_not_reported(tmp_path: Path) -> None:
    run(
        tmp_path,
        """
        def report(sighting):
            seen.append(pickle.loads(bare))

        watch(report)
        pickle.loads(bare)
        assert seen == [Decimal(1)]
        """,
    )


def test_the_log_has_each_name_once_for_a_line_whatever_a_library_does_to_warnings(
    tmp_path: Path,
) -> None:
    pytest.importorskip("pandas")
    done = run(
        tmp_path,
        """
        import logging
        import pandas

        logging.basicConfig(format="%(name)s %(levelname)s %(message)s")
        pickle.dump([Decimal(1), Path("x")], open("x.pkl", "wb"))
        watch()
        for _ in range(2):
            pandas.read_pickle("x.pkl")
        """,
    )
    lines = done.stderr.splitlines()
    assert len(lines) == 2
    assert all(line.startswith("pickleseal WARNING ") for line in lines)
    assert sum("decimal.Decimal" in line for line in lines) == 1


def test_a_name_cannot_write_lines_of_its_own_into_the_log(tmp_path: Path) -> None:
    done = run(
        tmp_path,
        r"""
        watch()
        try:
            pickle.loads(pickle.dumps("x\nall is well\x1b[2J")[:-1] + b"\x8c\x01x\x93.")
        except ImportError:
            pass
        """,
    )
    (line,) = done.stderr.splitlines()
    assert line.isprintable()


def test_a_line_of_code_warns_once_by_the_usual_filters(tmp_path: Path) -> None:
    run(
        tmp_path,
        """
        watch("warn")
        both = pickle.dumps([Decimal(1), Path("x")])
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("default")
            for _ in range(3):
                pickle.loads(both)
            pickle.loads(both)
        assert [warning.category for warning in caught] == [BareLoadWarning] * 2
        assert caught[1].lineno == caught[0].lineno + 1
        assert Path(caught[0].filename).name == "app.py"
        """,
    )


def test_a_filter_that_makes_warnings_errors_stops_every_load(tmp_path: Path) -> None:
    run(
        tmp_path,
        """
        watch("warn")
        warnings.simplefilter("error")
        for _ in range(2):
            try:
                pickle.loads(bare)
            except BareLoadWarning:
                seen.append("stopped")
        assert seen == ["stopped", "stopped"]
        """,
    )


def test_what_an_ignored_module_or_one_below_it_loads_is_let_pass(tmp_path: Path) -> None:
    for name in ("cache", "caches"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
        (tmp_path / name / "disk.py").write_text(
            "from pickle import loads\nget = lambda b: loads(b)"
        )
    (seen,) = sightings(
        tmp_path,
        """
        import cache.disk, caches.disk

        watch(seen.append, ignore=["cache"])
        cache.disk.get(bare)
        caches.disk.get(bare)
        show()
        """,
    )
    assert seen.caller == "caches.disk"


POOL = """
import multiprocessing, time
from concurrent.futures import ProcessPoolExecutor


def work(number):
    return Decimal(number)


def begin():
    watch(seen.append)


def callers(number):
    return sorted({sighting.caller for sighting in seen})


"""


@pytest.mark.parametrize("ignored", [[], ["multiprocessing"]])
@pytest.mark.parametrize(
    "pool", ["multiprocessing.Pool(1)", "ProcessPoolExecutor(1)"], ids=["Pool", "Executor"]
)
def test_results_of_a_pool_are_seen_unless_multiprocessing_is_ignored(
    tmp_path: Path, pool: str, ignored: list[str]
) -> None:
    seen = sightings(
        tmp_path,
        POOL
        + dedent(f"""
        if __name__ == "__main__":
            watch(seen.append, ignore={ignored})
            with {pool} as pool:
                assert list(pool.map(work, [1, 2])) == [1, 2]
            show()
        """),
    )
    expected = set() if ignored else {"multiprocessing.connection"}
    assert {each.caller for each in seen} == expected


def test_a_worker_that_watches_sees_what_it_is_sent(tmp_path: Path) -> None:
    done = run(
        tmp_path,
        POOL
        + dedent("""
        if __name__ == "__main__":
            with multiprocessing.Pool(1, initializer=begin) as pool:
                print(pool.map(callers, [Decimal(1)]))
        """),
    )
    assert done.stdout.strip() == "[['multiprocessing.queues']]"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_fork_goes_on_watching(tmp_path: Path) -> None:
    done = run(
        tmp_path,
        """
        watch(lambda sighting: print("seen", sighting.name, flush=True))
        child = os.fork()
        if not child:
            pickle.loads(bare)
            os._exit(0)
        os.waitpid(child, 0)
        """,
    )
    assert done.stdout.splitlines() == ["seen Decimal"]


def test_the_end_of_the_process_goes_as_without_a_watch(tmp_path: Path) -> None:
    code = """
    class Late:
        def __del__(self, loads=pickle.loads, write=os.write):
            try:
                loads(bare)
            except Exception as error:
                write(1, type(error).__name__.encode())

    import builtins

    del seen[:]
    builtins.late = Late()
    """
    without = run(tmp_path, code).stdout
    assert without
    assert run(tmp_path, f"{code}\n    watch(seen.append)").stdout == without


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"report": "print"}, ValueError),
        ({"report": "raise", "ignore": "multiprocessing"}, TypeError),
    ],
)
def test_what_is_no_report_and_no_list_is_refused(
    arguments: dict[str, str], expected: type[Exception]
) -> None:
    with pytest.raises(expected):
        watch(**arguments)  # type: ignore[arg-type]


def test_a_cache_that_takes_a_broken_pickle_for_a_miss_takes_a_stopped_one_for_a_miss() -> None:
    assert issubclass(BareLoadError, SealError)
    assert issubclass(BareLoadWarning, UserWarning)
