"""Dumps and loads in threads, forks and at exit, and how much memory they take."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from arrays import check_mixture, mixture, numbers
from streams import SOURCES, in_file, posix

from pickleseal import Keyring, signed_dump, signed_dumps, signed_load, signed_loads
from pickleseal.envelope.hashing import LEAF_SIZE

# --- side by side ----------------------------------------------------------------------------


@posix
def test_eight_threads_with_files_of_every_kind_get_each_their_own(
    either_ring: Keyring, tmp_path: Path
) -> None:
    shared = in_file(tmp_path / "shared", signed_dumps(mixture(), keyring=either_ring))
    trouble: list[BaseException] = []
    barrier = threading.Barrier(8)

    def work(number: int) -> None:
        mine = numbers(9 * LEAF_SIZE) + np.uint8(number)
        kind = ("a file", "a pipe", "a file in memory", "an unbuffered connection")[number % 4]
        folder = tmp_path / str(number)
        folder.mkdir()
        try:
            barrier.wait()
            signed_dump(mine, folder / "path", keyring=either_ring, durable=False)
            data = (folder / "path").read_bytes()
            with SOURCES[kind](data, folder) as file:
                np.testing.assert_array_equal(signed_load(file, keyring=either_ring), mine)
            loaded = signed_loads(signed_dumps(mine, keyring=either_ring), keyring=either_ring)
            np.testing.assert_array_equal(loaded, mine)
            check_mixture(signed_load(shared, keyring=either_ring))
        except BaseException as error:  # noqa: BLE001 - told below
            trouble.append(error)

    workers = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not trouble


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_process_forked_while_threads_load_and_dump_can_do_both(
    ring_directory: Path, tmp_path: Path
) -> None:
    original = numbers(9 * LEAF_SIZE)
    path = tmp_path / "it"
    signed_dump(original, path, keyring=ring_directory)
    stop = threading.Event()
    trouble: list[BaseException] = []

    def work(number: int) -> None:
        try:
            while not stop.is_set():
                signed_dump(original, tmp_path / str(number), keyring=ring_directory, durable=False)
                loaded = signed_load(path, keyring=ring_directory)
                np.testing.assert_array_equal(loaded, original)
        except BaseException as error:  # noqa: BLE001 - told below
            trouble.append(error)

    workers = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for worker in workers:
        worker.start()
    codes = []
    try:
        for _ in range(6):
            child = os.fork()
            if not child:
                code = 1
                try:
                    signal.signal(signal.SIGALRM, signal.SIG_DFL)
                    signal.alarm(60)  # one that waits for ever for a lock ends by this
                    mine = f"{tmp_path}/child"
                    signed_dump(original, mine, keyring=ring_directory, durable=False)
                    for source in (path, mine):
                        loaded = signed_load(source, keyring=ring_directory)
                        if not np.array_equal(loaded, original):
                            os._exit(2)
                    code = 0
                finally:
                    os._exit(code)
            codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    finally:
        stop.set()
        for worker in workers:
            worker.join()
    assert codes == [0] * 6
    assert not trouble


AT_EXIT = """
import atexit, sys, threading
import numpy as np
import pickleseal
ring = pickleseal.open_keyring(sys.argv[1])
array = np.arange(9 << 17)
def last():
    pickleseal.signed_dump(array, sys.argv[2], keyring=ring)
    assert (pickleseal.signed_load(sys.argv[2], keyring=ring) == array).all()
    print("done")
atexit.register(last)
"""


def test_a_large_array_is_saved_at_exit_where_no_thread_starts_any_more(
    ring_directory: Path, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", AT_EXIT, str(ring_directory), str(tmp_path / "it")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["done"]
    assert not done.stderr


# --- how much memory it takes ----------------------------------------------------------------

SIZE = 128 << 20

PEAK = """
import contextlib, gc, io, os, sys
import numpy as np
import pickleseal
from pickleseal import BadSealError, signed_dump, signed_dumps, signed_load, signed_loads

way, path, ring, size = sys.argv[1:]
ring = pickleseal.open_keyring(ring)
size = int(size)

def highest():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) << 10 for line in file if line.startswith("VmHWM"))

class Only:
    def __init__(self, file, name):
        setattr(self, name, getattr(file, name))

small = np.arange(20000)
assert (signed_loads(signed_dumps(small, keyring=ring), keyring=ring) == small).all()
gc.disable()
out = path + ".out"
array = np.ones(size, np.uint8) if way.startswith("dump") else None
data = open(path, "rb").read() if way == "loads" else None
before = highest()
if way == "dump path":
    signed_dump(array, out, keyring=ring, durable=False)
elif way == "dump file":
    with open(out, "wb") as file:
        signed_dump(array, file, keyring=ring)
elif way == "dump columns":
    signed_dump(array.reshape(1024, -1).T, out, keyring=ring, durable=False)
elif way == "dump stream":
    with open(os.devnull, "wb") as file:
        signed_dump(array, Only(file, "write"), keyring=ring)
elif way == "dumps":
    data = signed_dumps(array, keyring=ring)
elif way == "load path":
    loaded = signed_load(path, keyring=ring)
elif way == "load file":
    with open(path, "rb") as file:
        loaded = signed_load(file, keyring=ring)
elif way == "load read":
    with open(path, "rb") as file:
        loaded = signed_load(Only(file, "read"), keyring=ring)
elif way == "load readinto":
    with open(path, "rb") as file:
        loaded = signed_load(Only(file, "readinto"), keyring=ring)
elif way == "loads":
    loaded = signed_loads(data, keyring=ring)
elif way == "load often":
    for _ in range(4):
        loaded = None
        loaded = signed_load(path, keyring=ring)
elif way == "load refused":
    with open(path, "r+b") as file:
        file.seek(size // 2)
        file.write(b"X")
    for _ in range(4):
        try:
            signed_load(path, keyring=ring)
        except BadSealError:
            continue
        raise SystemExit("loaded")
print(highest() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="there is no /proc")
@pytest.mark.parametrize(
    ("way", "copies"),
    [
        ("dump path", 0),
        pytest.param("dump file", 0, marks=pytest.mark.sweep),
        pytest.param("dump columns", 0, marks=pytest.mark.sweep),
        ("dump stream", 0),
        ("dumps", 1),
        ("load path", 1),
        pytest.param("load file", 1, marks=pytest.mark.sweep),
        pytest.param("load read", 1, marks=pytest.mark.sweep),
        ("load readinto", 1),
        ("loads", 1),
        pytest.param("load often", 1, marks=pytest.mark.sweep),
        ("load refused", 1),
    ],
)
def test_a_dump_copies_no_array_and_a_load_holds_it_once(
    way: str, copies: int, ring_directory: Path, tmp_path: Path
) -> None:
    path = tmp_path / "it"
    try:
        if way.startswith("load"):
            signed_dump(np.ones(SIZE, np.uint8), path, keyring=ring_directory, durable=False)
        done = subprocess.run(
            [sys.executable, "-c", PEAK, way, str(path), str(ring_directory), str(SIZE)],
            capture_output=True,
            text=True,
            check=True,
        )
    finally:
        for left in tmp_path.glob("it*"):
            left.unlink()
    grown = int(done.stdout)
    assert (copies - 0.3) * SIZE < grown < (copies + 0.3) * SIZE
