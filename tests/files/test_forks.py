"""Work in copies of the process: in order, whole, and ended with it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pickleseal.files import forks

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="copies are made on Linux")


def run(script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a script in a process of its own, which has one thread."""
    return subprocess.run(
        [sys.executable, "-c", f"from pickleseal.files import forks\nimport os\n{script}"]
        + [str(one) for one in arguments],
        capture_output=True,
        text=True,
        check=False,
    )


def test_results_come_in_order_and_from_copies() -> None:
    done = run("""
me = os.getpid()
answers = list(forks.each(range(20), lambda item: (item, os.getpid()), copies=3))
assert [item for item, _ in answers] == list(range(20))
assert me not in {pid for _, pid in answers}
assert len({pid for _, pid in answers}) == 3
assert not os.listdir("/proc/self/task")[1:]
try:
    os.waitpid(-1, os.WNOHANG)
except ChildProcessError:
    print("none is left")
""")
    assert (done.stdout, done.stderr) == ("none is left\n", "")


def test_what_a_copy_does_not_do_is_done_here() -> None:
    done = run("""
import signal
me = os.getpid()
def work(item):
    if item == 7 and os.getpid() != me:
        os.kill(os.getpid(), signal.SIGKILL)
    return item
assert list(forks.each(range(20), work, copies=2)) == list(range(20))
""")
    assert (done.returncode, done.stderr) == (0, "")


def test_without_copies_all_is_done_here(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> int:
        raise BlockingIOError("no more processes")

    monkeypatch.setattr(os, "fork", refuse)
    answers = list(forks.each(range(5), lambda item: (item, os.getpid()), copies=2))
    assert answers == [(item, os.getpid()) for item in range(5)]


@pytest.mark.once
def test_a_worker_of_multiprocessing_does_all_itself() -> None:
    done = run("""
import multiprocessing
def work(_):
    return list(forks.each(range(5), lambda item: (item, os.getpid()), copies=2)), os.getpid()
with multiprocessing.get_context("fork").Pool(1) as pool:
    answers, worker = pool.apply(work, [None])
assert answers == [(item, worker) for item in range(5)]
""")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_program_that_ignores_the_end_of_its_children_gets_all_results() -> None:
    done = run("""
import signal
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
assert list(forks.each(range(20), lambda item: item, copies=2)) == list(range(20))
""")
    assert (done.returncode, done.stderr) == (0, "")


def test_one_copy_would_save_nothing_and_is_not_made() -> None:
    assert list(forks.each(range(5), lambda _: os.getpid(), copies=1)) == [os.getpid()] * 5


def test_an_error_is_raised_where_the_work_is_asked_for() -> None:
    done = run("""
try:
    list(forks.each(range(5), lambda item: 1 // item, copies=2))
except ZeroDivisionError:
    print("raised")
""")
    assert (done.stdout, done.stderr) == ("raised\n", "")


def test_a_process_with_threads_is_not_copied() -> None:
    done = run("""
import threading
forks.processors = lambda: 8
assert forks.copies() == 8
threading.Thread(target=threading.Event().wait, daemon=True).start()
assert forks.copies() == 1
""")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_copy_hears_no_interrupt_from_its_first_moment_on() -> None:
    done = run("""
import signal
def is_deaf(item):
    return signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, [])
assert all(forks.each(range(4), is_deaf, copies=2))
assert not is_deaf(0)
""")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_no_copy_outlives_the_process(tmp_path: Path, end: signal.Signals) -> None:
    done = run(
        f"""
import sys, time
from pathlib import Path
def work(item):
    Path(sys.argv[1], str(os.getpid())).touch()
    return bytes(100_000)
for answer in forks.each(range(1000), work, copies=3):
    if len(os.listdir(sys.argv[1])) == 3:
        os.kill(os.getpid(), {int(end)})
""",
        tmp_path,
    )
    assert done.returncode
    assert "ForkProcess" not in done.stderr
    copies = [int(name) for name in os.listdir(tmp_path)]
    assert len(copies) == 3
    while any(map(_runs, copies)):  # the timeout of a test ends this
        time.sleep(0.01)


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"
