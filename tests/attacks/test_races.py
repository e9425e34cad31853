"""Races and crashes: changes during a load or dump, threads, forks, kills and full disks."""

import io
import itertools
import os
import random
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from pickleseal import (
    BadSealError,
    Keyring,
    SealError,
    Suite,
    open_keyring,
    signed_dump,
    signed_dumps,
    signed_load,
    signed_loads,
)
from pickleseal.files.atomic import TEMPORARY_PREFIX, TEMPORARY_SUFFIX
from pickleseal.keys.store.changes import create_key


def test_a_change_of_a_bytearray_after_the_load_does_not_reach_the_object(
    ring: Keyring,
) -> None:
    array = np.arange(1 << 15)
    data = bytearray(signed_dumps([array, b"tail"], keyring=ring))
    loaded = signed_loads(data, keyring=ring)
    data[:] = bytes(len(data))
    assert (loaded[0] == array).all()


@pytest.mark.parametrize("size", [10, 1 << 16, 1 << 21])
def test_a_change_of_a_file_after_the_load_does_not_reach_the_object(
    size: int, ring: Keyring, tmp_path: Path
) -> None:
    array = np.arange(size)
    path = tmp_path / "it"
    signed_dump(array, path, keyring=ring)
    loaded = signed_load(path, keyring=ring)
    with path.open("r+b") as file:
        file.write(b"\xff" * path.stat().st_size)
    assert (loaded == array).all()
    loaded[0] = 99
    assert loaded[0] == 99


def test_a_path_is_opened_once_and_not_mapped(ring: Keyring, tmp_path: Path) -> None:
    path = tmp_path / "it"
    signed_dump(np.zeros(1 << 21), path, keyring=ring)
    code = (
        "import sys, pickleseal\n"
        "seen = []\n"
        "path, ring = sys.argv[1:]\n"
        "ring = pickleseal.open_keyring(ring)\n"
        "def hook(event, args):\n"
        "    if event == 'open' and args[0] == path: seen.append(event)\n"
        "    if event == 'mmap.__new__' and args[0] != -1: seen.append(event)\n"
        "sys.addaudithook(hook)\n"
        "pickleseal.signed_load(path, keyring=ring)\n"
        "print(seen)\n"
    )
    create_key(tmp_path / "ring", suite=Suite.BLAKE3, note="", now=0)
    signed_dump(np.zeros(1 << 21), path, keyring=tmp_path / "ring")
    done = subprocess.run(
        [sys.executable, "-c", code, str(path), str(tmp_path / "ring")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "['open']"


def test_a_file_rewritten_all_the_while_loads_whole_or_not_at_all(
    ring: Keyring, tmp_path: Path
) -> None:
    path = tmp_path / "it"
    versions = [signed_dumps(np.full(1 << 17, n), keyring=ring) for n in range(2)]
    path.write_bytes(versions[0])
    stop = threading.Event()

    def rewrite() -> None:
        for version in itertools.cycle(versions):
            if stop.is_set():
                return
            with path.open("r+b") as file:
                file.write(version)

    writer = threading.Thread(target=rewrite)
    writer.start()
    try:
        for _ in range(60):
            try:
                loaded = signed_load(path, keyring=ring)
            except SealError:
                continue
            assert (loaded == loaded[0]).all()
    finally:
        stop.set()
        writer.join()


def test_an_array_changed_during_the_dump_is_consistent_or_refused(
    ring: Keyring, tmp_path: Path
) -> None:
    array = np.zeros(1 << 21)
    stop = threading.Event()

    def change() -> None:
        while not stop.is_set():
            array[:] = array + 1

    changer = threading.Thread(target=change)
    changer.start()
    try:
        for number in range(6):
            path = tmp_path / str(number)
            signed_dump(array, path, keyring=ring, durable=False)
            stream = io.BytesIO()
            signed_dump(array, stream, keyring=ring)
            for data in (path.read_bytes(), stream.getvalue()):
                with suppress(BadSealError):
                    assert len(signed_loads(data, keyring=ring)) == len(array)
    finally:
        stop.set()
        changer.join()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_can_seal_and_load_and_not_change_its_parents_data(
    ring: Keyring, tmp_path: Path
) -> None:
    array = np.arange(1 << 20)
    path = tmp_path / "it"
    signed_dump(array, path, keyring=ring)
    loaded = signed_load(path, keyring=ring)
    child = os.fork()
    if not child:
        code = 1
        try:
            loaded[:] = -1
            signed_dump(loaded, tmp_path / "child", keyring=ring)
            code = 0 if (signed_load(tmp_path / "child", keyring=ring) == -1).all() else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert (loaded == array).all()
    assert (signed_load(tmp_path / "child", keyring=ring) == -1).all()


def test_eight_threads_seal_and_load_side_by_side(ring: Keyring, tmp_path: Path) -> None:
    array = np.arange(1 << 20)
    trouble: list[BaseException] = []

    def work(number: int) -> None:
        try:
            path = tmp_path / str(number)
            for _ in range(3):
                signed_dump(array + number, path, keyring=ring, durable=False)
                assert (signed_load(path, keyring=ring) == array + number).all()
        except BaseException as error:  # noqa: BLE001 - told below
            trouble.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not trouble


def test_the_same_object_seals_to_the_same_bytes(
    model: KNeighborsClassifier, ring: Keyring, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    array = np.arange(1 << 21)
    for obj in (model, array, {"a": 1}):
        memory = io.BytesIO()
        signed_dump(obj, memory, keyring=ring)
        signed_dump(obj, tmp_path / "path", keyring=ring)
        with (tmp_path / "file").open("wb") as file:
            signed_dump(obj, file, keyring=ring)
        data = signed_dumps(obj, keyring=ring)
        assert memory.getvalue() == data
        assert (tmp_path / "path").read_bytes() == data
        assert (tmp_path / "file").read_bytes() == data


KILLED = """
import os, sys, numpy, pickleseal
path, ring = sys.argv[1:]
ring = pickleseal.open_keyring(ring)
print("ready", flush=True)
number = 0
while True:
    number += 1
    pickleseal.signed_dump(numpy.full(1 << 20, number), path, keyring=ring, durable=False)
"""


@pytest.mark.skipif(os.name != "posix", reason="there is no SIGKILL")
def test_a_process_killed_in_the_middle_leaves_the_old_file_or_the_new(tmp_path: Path) -> None:
    create_key(tmp_path / "ring", suite=Suite.BLAKE3, note="", now=0)
    ring = open_keyring(tmp_path / "ring")
    folder = tmp_path / "models"
    folder.mkdir()
    path = folder / "it"
    signed_dump(np.full(1 << 20, 0), path, keyring=ring)
    chance = random.Random(1)
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(path), str(tmp_path / "ring")], stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(chance.uniform(0.05, 0.2))
        child.send_signal(signal.SIGKILL)
    loaded = signed_load(path, keyring=ring)
    assert (loaded == loaded[0]).all()
    left = [p for p in folder.iterdir() if p != path]
    for leftover in left:
        assert leftover.name.startswith(TEMPORARY_PREFIX)
        assert leftover.name.endswith(TEMPORARY_SUFFIX)


class Fails:
    def __reduce__(self) -> tuple[object, ...]:
        raise RuntimeError("in the middle")


class Interrupts:
    def __reduce__(self) -> tuple[object, ...]:
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("thing", "error"), [(Fails(), RuntimeError), (Interrupts(), KeyboardInterrupt)]
)
def test_an_exception_in_the_middle_leaves_a_path_as_it_was(
    thing: object, error: type[BaseException], ring: Keyring, tmp_path: Path
) -> None:
    path = tmp_path / "it"
    signed_dump("old", path, keyring=ring)
    with pytest.raises(error):
        signed_dump([1, thing], path, keyring=ring)
    assert signed_load(path, keyring=ring) == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_leaves_a_path_as_it_was_and_a_stream_without_a_seal(
    ring: Keyring, tmp_path: Path
) -> None:
    class Full:
        def __init__(self) -> None:
            self.data = b""

        def write(self, data: bytes) -> None:
            if len(self.data) + len(data) > 1 << 20:
                raise OSError(28, "No space left on device")
            self.data += data

    full = Full()
    with pytest.raises(OSError, match="space"):
        signed_dump(np.zeros(1 << 18), full, keyring=ring)
    with pytest.raises(SealError):
        signed_load(io.BytesIO(full.data), keyring=ring)


@pytest.mark.skipif(sys.platform == "win32", reason="there are no file size limits")
def test_a_file_size_limit_hit_in_the_middle_leaves_a_path_as_it_was(tmp_path: Path) -> None:
    code = (
        "import resource, signal, sys, numpy, pickleseal\n"
        "path, ring = sys.argv[1:]\n"
        "pickleseal.signed_dump('old', path, keyring=ring)\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (5 << 20, 5 << 20))\n"
        "for size in (1 << 20, 1 << 21):\n"
        "    try: pickleseal.signed_dump(numpy.zeros(size), path, keyring=ring)\n"
        "    except OSError as error: print(error.errno)\n"
        "print(pickleseal.signed_load(path, keyring=ring))\n"
    )
    create_key(tmp_path / "ring", suite=Suite.BLAKE3, note="", now=0)
    (tmp_path / "models").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "models" / "it"), str(tmp_path / "ring")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["27", "27", "old"]
    assert len(list((tmp_path / "models").iterdir())) == 1


def test_two_writers_on_one_path_leave_one_of_the_two_whole(ring: Keyring, tmp_path: Path) -> None:
    path = tmp_path / "it"

    def work(number: int) -> None:
        for _ in range(10):
            signed_dump(np.full(1 << 16, number), path, keyring=ring, durable=False)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    seen = set()
    while any(thread.is_alive() for thread in threads):
        if path.exists():
            loaded = signed_load(path, keyring=ring)
            assert (loaded == loaded[0]).all()
            seen.add(int(loaded[0]))
    for thread in threads:
        thread.join()
    assert seen <= {0, 1, 2, 3}
    assert list(tmp_path.iterdir()) == [path]
