"""Short counts, signals, interrupts and full disks leave the old file or the new."""

import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from arrays import numbers
from command import unmeasured
from streams import posix

from pickleseal import Keyring, signed_dump, signed_load
from pickleseal.envelope.hashing import LEAF_SIZE
from pickleseal.files import threads
from pickleseal.pickling.dump import OUT_OF_BAND_SIZE as LIMIT

# --- short counts, signals, interrupts -------------------------------------------------------


def fewer(pieces: Any, most: int) -> list[memoryview]:
    """Return the pieces that cover the first `most` bytes, the last one cut."""
    some: list[memoryview] = []
    for piece in pieces:
        some.append(memoryview(piece)[:most])
        most -= len(some[-1])
        if not most:
            break
    return some


def test_short_counts_of_the_system_anywhere_in_a_leaf_are_carried_on(
    either_ring: Keyring, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counts of every size, ending within a piece, between two, and within the next leaf's."""
    real_read, real_write, plain_write, plain_read = os.preadv, os.pwritev, os.write, os.pread
    chance = random.Random(0)

    def most() -> int:
        return chance.choice([1, 63, 64, 65, 4097, LIMIT, LIMIT + 64, 400_001, 1 << 30])

    monkeypatch.setattr(os, "preadv", lambda fd, p, at: real_read(fd, fewer(p, most()), at))
    monkeypatch.setattr(os, "pwritev", lambda fd, p, at: real_write(fd, fewer(p, most()), at))
    monkeypatch.setattr(os, "write", lambda fd, data: plain_write(fd, memoryview(data)[: most()]))
    monkeypatch.setattr(os, "pread", lambda fd, n, at: plain_read(fd, min(n, most()), at))
    sizes = [LIMIT + chance.randrange(3) for _ in range(150)] + [2 * LEAF_SIZE + 1, LIMIT]
    arrays = [numbers(size) for size in sizes]
    for obj in (arrays, arrays[:9]):
        signed_dump(obj, tmp_path / "it", keyring=either_ring, durable=False)
        with (tmp_path / "file").open("w+b") as file:
            signed_dump(obj, file, keyring=either_ring)
            file.seek(0)
            from_file = signed_load(file, keyring=either_ring)
        for loaded in (from_file, signed_load(tmp_path / "it", keyring=either_ring)):
            for one, other in zip(loaded, obj, strict=True):
                np.testing.assert_array_equal(one, other)


class Interrupted(BaseException):
    """What the signal handlers of these tests raise."""


@contextmanager
def signals(handler: Callable[..., object]) -> Iterator[None]:
    before = signal.signal(signal.SIGALRM, handler)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@posix
@pytest.mark.timeout(method="thread")  # the test takes the signal itself
@pytest.mark.parametrize("way", ["path", "file", "unbuffered pipe", "connection"])
def test_signals_all_the_while_change_nothing(way: str, ring: Keyring, tmp_path: Path) -> None:
    original = numbers(20 * LEAF_SIZE + 5)
    caught = [0]

    def count(*arguments: Any) -> None:
        caught[0] += 1

    @contextmanager
    def ends() -> Iterator[tuple[Any, Any]]:
        if way == "path":
            yield tmp_path / "it", tmp_path / "it"
        elif way == "file":
            with (tmp_path / "it").open("wb") as one, (tmp_path / "it").open("rb") as two:
                yield one, two
        elif way == "connection":
            ours, theirs = socket.socketpair()
            with ours, theirs, ours.makefile("wb") as one, theirs.makefile("rb") as two:
                yield one, two
        else:
            reading, writing = os.pipe()
            with open(writing, "wb", buffering=0) as one, open(reading, "rb", buffering=0) as two:
                yield one, two

    with signals(count):
        signal.setitimer(signal.ITIMER_REAL, 0.0003, 0.0003)
        rounds = 0
        while rounds < 2 or caught[0] < 100:
            rounds += 1
            with ends() as (target, source):
                if way in ("path", "file"):
                    signed_dump(original, target, keyring=ring, durable=False)
                    loaded = signed_load(source, keyring=ring)
                else:
                    # Signals come to the main thread: it dumps in one round, loads in the next.
                    got: list[Any] = []

                    def dump(target: Any = target) -> None:
                        signed_dump(original, target, keyring=ring)
                        target.flush()

                    def load(source: Any = source, got: list[Any] = got) -> None:
                        got.append(signed_load(source, keyring=ring))

                    mine, others = (dump, load) if rounds % 2 else (load, dump)
                    other = threading.Thread(target=others)
                    other.start()
                    mine()
                    other.join()
                    (loaded,) = got
            np.testing.assert_array_equal(loaded, original)
    assert caught[0] >= 100


@posix
@pytest.mark.timeout(method="thread")  # the test takes the signal itself
@pytest.mark.skipif(threads._thread_count() < 2, reason="there is one processor")
@pytest.mark.parametrize("call", ["preadv", "pwritev"])
def test_an_interrupted_call_is_not_left_before_its_threads_are_done(
    call: str, ring: Keyring, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else they would go on with a descriptor that is closed, and by then another file's."""
    path = tmp_path / "it"
    original = numbers(10 * LEAF_SIZE)
    signed_dump(original, path, keyring=ring)
    real = getattr(os, call)
    main = threading.main_thread()
    steps: list[str] = []
    begun, finished = threading.Event(), threading.Event()

    def slow(descriptor: int, pieces: Any, offset: int) -> Any:
        if threading.current_thread() is main:
            if sum(memoryview(piece).nbytes for piece in pieces) >= LEAF_SIZE:
                begun.wait(60)  # else it may do all the work before a thread has begun
        elif not steps:
            steps.append("begun")
            begun.set()
            for _ in range(3):  # the first while it works, all while it waits
                time.sleep(0.1)
                signal.pthread_kill(cast("int", main.ident), signal.SIGALRM)
            time.sleep(0.1)
            steps.append("done")
            finished.set()
        return real(descriptor, pieces, offset)

    def interrupt(*arguments: Any) -> None:
        raise Interrupted

    monkeypatch.setattr(os, call, slow)

    def act() -> None:
        if call == "preadv":
            signed_load(path, keyring=ring)
        else:
            signed_dump(original[::-1], path, keyring=ring)

    with signals(interrupt):
        with pytest.raises(Interrupted):
            act()
        seen = list(steps)
        signal.signal(signal.SIGALRM, signal.SIG_IGN)  # a thread that is left goes on sending
        assert finished.wait(60)
    assert seen == ["begun", "done"]
    assert list(tmp_path.iterdir()) == [path]
    monkeypatch.undo()
    np.testing.assert_array_equal(signed_load(path, keyring=ring), original)


AT_ANY_MOMENT = """
import faulthandler, os, signal, sys, time
import numpy as np
import pickleseal as ps

faulthandler.dump_traceback_later(400, exit=True)  # a hang shows where it is
folder, rounds = sys.argv[1], int(sys.argv[2])
path = os.path.join(folder, "it")
ring = ps.Keyring(ps.Key.generate())
arrays = [np.arange(9 << 17), np.arange(9 << 17)[::-1].copy()]
begun = time.monotonic()
ps.signed_dump(arrays[0], path, keyring=ring, durable=False)
ps.signed_load(path, keyring=ring)
longest = 1.2 * (time.monotonic() - begun)

class Interrupted(BaseException):
    pass

def interrupt(*arguments):
    raise Interrupted

signal.signal(signal.SIGALRM, interrupt)
interrupted = 0
for number in range(rounds):
    try:
        signal.setitimer(signal.ITIMER_REAL, longest * (number + 1) / rounds)
        ps.signed_dump(arrays[number % 2], path, keyring=ring, durable=False)
        ps.signed_load(path, keyring=ring)
        signal.setitimer(signal.ITIMER_REAL, 0)
        time.sleep(0.001)  # a signal that another thread took comes late
    except Interrupted:
        interrupted += 1
    if os.listdir(folder) != ["it"]:
        sys.exit(f"left behind: {os.listdir(folder)}")
    loaded = ps.signed_load(path, keyring=ring)
    if not any(np.array_equal(loaded, one) for one in arrays):
        sys.exit("neither the old one nor the new")
print(interrupted > 0)
"""


@posix
@pytest.mark.parametrize("rounds", [40, pytest.param(2000, marks=pytest.mark.sweep)])
def test_an_interrupt_leaves_the_old_file_or_the_new_and_nothing_else(
    rounds: int, tmp_path: Path
) -> None:
    """In a process of its own: coverage has locks that an interrupt may leave held."""
    done = subprocess.run(
        [sys.executable, "-c", AT_ANY_MOMENT, str(tmp_path), str(rounds)],
        capture_output=True,
        text=True,
        check=False,
        env=unmeasured(),
    )
    assert done.stdout == "True\n", done.stderr


FULL = """
import resource, signal, sys, tempfile
import pickleseal
ring = pickleseal.open_keyring(sys.argv[1])
array = bytes(int(sys.argv[2]))
size = len(pickleseal.signed_dumps(array, keyring=ring))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
makers = {
    "file": lambda: tempfile.TemporaryFile(buffering=0, dir=sys.argv[3]),
    "named": lambda: tempfile.NamedTemporaryFile(buffering=0, dir=sys.argv[3]),
    "buffered": lambda: tempfile.NamedTemporaryFile(dir=sys.argv[3]),
    "spooled": lambda: tempfile.SpooledTemporaryFile(1, buffering=0, dir=sys.argv[3]),
    "append": lambda: open(sys.argv[3] + "/append", "ab", buffering=0),
}
for name, make in makers.items():
    for less in (1, 31, 33, 100, size // 2):
        resource.setrlimit(resource.RLIMIT_FSIZE, (size - less, resource.RLIM_INFINITY))
        file = make()
        try:
            pickleseal.signed_dump(array, file, keyring=ring)
            file.flush()
        except OSError:
            pass
        else:
            print(name, less)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        file.close()
print("done")
"""


@posix
@pytest.mark.parametrize("size", [10, 3 * LEAF_SIZE, 9 * LEAF_SIZE])
def test_a_dump_that_did_not_get_all_of_its_bytes_written_says_so(
    size: int, tmp_path: Path, ring_directory: Path
) -> None:
    """Where a file may grow no more, the system first takes a part of what it is given."""
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(ring_directory), str(size), str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["done"]
