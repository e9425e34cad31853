"""What only a fresh process can tell: the most memory it took, and how long it takes to start.

A child is started as `python -m benchmarks.children dump|load WAY PATH MIB`, and prints its peak.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.measure import Turn, take_turns, timings
from benchmarks.results import MemoryRow, StartRow
from benchmarks.ways import BASELINE, BY_NAME, RING, Unavailable

ROOT = Path(__file__).parent.parent
MIB = 1 << 20
MEMORY_WAYS = (
    BASELINE, "pickleseal", "pickleseal-sha256", "hmac", "modelstamp", "securepickle", "joblib",
)  # fmt: skip

STARTS = {
    "python": "pass",
    "import pickleseal": "import pickleseal",
    "import joblib": "import joblib",
    "import cloudpickle": "import cloudpickle",
    "import modelstamp": "import modelstamp",
    "import secure_pickle": "import secure_pickle",
    "import skops.io": "import skops.io",
}
HELP = "pickleseal --help"


def peak_memory() -> int:
    """Return the most memory that this process has had, in bytes.

    On Linux from /proc: `ru_maxrss` of a new process begins with what its parent had.
    """
    try:
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) << 10
    except OSError:
        pass
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak << 10


def measure_memory(folder: str, *, quick: bool, say: Callable[[str], None]) -> list[MemoryRow]:
    """Dump one large array in a child process and load it in another, in each way."""
    size = memory_size(quick=quick) // MIB
    rows = []
    for name in MEMORY_WAYS:
        place = os.path.join(folder, f"memory-{name}")
        os.makedirs(place)
        say(f"peak memory: {BY_NAME[name].label}")
        row = MemoryRow(name)
        try:
            path = os.path.join(place, "saved")
            row.dump = _peak_of("dump", name, path, size)
            row.load = _peak_of("load", name, path, size)
        except Unavailable as error:
            row = MemoryRow(name, reason=str(error))
        finally:
            shutil.rmtree(place)
        rows.append(row)
    return rows


def memory_size(*, quick: bool) -> int:
    """Return the size of the array, in bytes."""
    return (32 if quick else 1024) * MIB


def _peak_of(act: str, name: str, path: str, size: int) -> int:
    command = [sys.executable, "-m", "benchmarks.children", act, name, path, str(size)]
    env = {**os.environ, RING: os.path.join(os.path.dirname(path), "ring")}
    done = subprocess.run(
        command, cwd=ROOT, env=env, capture_output=True, encoding="utf-8", check=False
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it failed"])[-1]
        raise Unavailable(last.replace(os.path.dirname(path), ""))
    answer = json.loads(done.stdout)
    if "reason" in answer:
        raise Unavailable(answer["reason"])
    return int(answer["peak"])


def measure_start(*, quick: bool, say: Callable[[str], None]) -> list[StartRow]:
    """Time whole processes that import a package, or print a help text, and end."""
    commands = {name: [sys.executable, "-c", code] for name, code in STARTS.items()}
    script = Path(sys.executable).with_name("pickleseal")
    found = [str(script)] if script.exists() else [sys.executable, "-m", "pickleseal"]
    commands[HELP] = [*found, "--help"]
    turns: dict[str, Turn] = {}
    first: dict[str, float] = {}
    rows = {}
    for name, command in commands.items():
        say(f"start: {name}")
        key = BASELINE if name == "python" else name
        shown = f"python -c '{command[-1]}'" if "-c" in command else name
        rows[key] = StartRow(name, shown)
        if quick and name == "import skops.io":
            rows[key].reason = "it takes too long for a quick run"
            continue
        turn = _start_turn(command)
        try:
            turn()  # the first time may have to compile what it imports
            first[key] = turn()["start"]
        except subprocess.CalledProcessError:
            rows[key].reason = "it does not start, or is not installed"
            continue
        turns[key] = turn
    rounds = take_turns(turns, first, 1 if quick else 8, 1 if quick else 5)
    for key in turns:
        rows[key].timing = timings(rounds, key)["start"]
    return list(rows.values())


def _start_turn(command: list[str]) -> Turn:
    def turn() -> dict[str, float]:
        start = time.perf_counter()
        # With the bytecode that a Python keeps by itself, as an installed package has it.
        env = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        subprocess.run(
            command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True
        )
        return {"start": time.perf_counter() - start}

    return turn


def main(act: str, name: str, path: str, mib: str) -> None:
    """Be a child: dump or load, and print the peak."""
    try:
        tools = BY_NAME[name].make()
    except ImportError:
        print(json.dumps({"reason": f"{BY_NAME[name].package} is not installed"}))
        return
    if act == "dump":
        import numpy as np

        array = np.random.default_rng(0).random((int(mib) * MIB) // 8)
        tools.dump(array, path, durable=False)
        del array
    else:
        loaded = tools.load(path)
        assert len(loaded) == (int(mib) * MIB) // 8
    print(json.dumps({"peak": peak_memory()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
