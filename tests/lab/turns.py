"""Run an act in a fresh process, with one fault at one of its calls.

A server imports pickleseal once and forks for each turn, so a turn takes milliseconds. Run as
`python -m lab.turns` it is the server, with one JSON document a line on both streams.
"""

import ctypes
import gc
import json
import os
import resource
import select
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from costs import cheap_boxes

TESTS = Path(__file__).parent.parent
HUNG = 60.0
"""Seconds after which a turn counts as hung, for ever."""

COUNT, FAIL, SHORT, TORN, KILL, SIGNAL = range(6)  # as in faults.c
MEMORY = 6  # for the server alone: the address space that the act may add, in bytes
KINDS = (
    *("open", "create", "read", "write", "sync", "rename", "link", "unlink", "mkdir", "truncate"),
    *("close", "lock", "status", "chmod", "list"),
)  # as in faults.c


class Fault(NamedTuple):
    """What happens at which of an act's calls; without an action the calls are counted.

    `value`: an errno, a signal or a size. `lasting`: kinds of calls that fail from there on.
    """

    name: str = "none"
    action: int = COUNT
    value: int = 0
    call: int = 0
    lasting: tuple[str, ...] = ()


NO_FAULT = Fault()


class Turn(NamedTuple):
    """How a turn ended: its exit code, or minus a signal; its calls; its stdout and stderr.

    A turn that was killed has counted nothing; the code of one that hung is None.
    """

    code: int | None
    calls: list[str]
    out: str
    err: str


def environment() -> dict[str, str]:
    """Return the environment of a process that imports the lab."""
    return {**os.environ, "PYTHONPATH": str(TESTS)}


class Server:
    """A process that runs turns one after the other, as a context manager."""

    def __init__(self, library: Path | None, folder: Path) -> None:
        """Start it; what turns print is kept in `folder`."""
        preload = {} if library is None else {"LD_PRELOAD": str(library)}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "lab.turns", str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**environment(), **preload},
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        frames: TracebackType | None,
    ) -> None:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(timeout=2 * HUNG)

    def turn(self, act: str | list[str], folder: Path, fault: Fault = NO_FAULT) -> Turn:
        """Run an act in a folder."""
        assert self._process.stdin
        assert self._process.stdout
        print(json.dumps([act, str(folder), fault]), file=self._process.stdin, flush=True)
        return Turn(*json.loads(self._process.stdout.readline()))


def serve(folder: Path) -> None:
    """Answer requests until there are no more."""
    from lab import acts, home

    _import_all()
    home.warm_up()
    gc.freeze()  # no collection in a child touches what it shares
    with cheap_boxes():
        for line in sys.stdin:
            act, place, fault = json.loads(line)
            turn = _fork(acts.run_of(act), Path(place), Fault(*fault), folder)
            print(json.dumps(turn), flush=True)


def _import_all() -> None:
    """Import what acts use, once for all turns."""
    import importlib
    import pkgutil

    import pickleseal

    # The last three where they are first used; too little memory for an import is Python's error.
    for name in ("numpy", "fcntl", "grp", "pwd"):
        importlib.import_module(name)
    for room in pkgutil.walk_packages(pickleseal.__path__, "pickleseal."):
        if not room.name.startswith(("pickleseal.__main__", "pickleseal.integrations.")):
            importlib.import_module(room.name)


def _fork(run: Callable[[Path], int], home: Path, fault: Fault, folder: Path) -> Turn:
    calls, out, err = (folder / name for name in ("calls", "out", "err"))
    calls.write_bytes(b"")
    child = os.fork()
    if not child:
        code = 70  # of a fault in the lab itself
        try:
            _redirect(out, err)
            code = _strike(run, home, fault, calls)
        finally:
            os._exit(code)
    watch = os.pidfd_open(child)
    try:
        ended = select.select([watch], [], [], HUNG)[0]
        if not ended:
            os.kill(child, signal.SIGKILL)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    finally:
        os.close(watch)
    texts = (path.read_text(encoding="utf-8", errors="replace") for path in (out, err))
    return Turn(code if ended else None, [KINDS[kind] for kind in calls.read_bytes()], *texts)


def _redirect(out: Path, err: Path) -> None:
    for number, path in ((0, Path(os.devnull)), (1, out), (2, err)):
        flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC
        os.dup2(os.open(path, flags), number)


def _strike(run: Callable[[Path], int], home: Path, fault: Fault, calls: Path) -> int:
    shim = ctypes.CDLL(None)
    counts = hasattr(shim, "fault_arm")
    os.chdir(home)
    if counts:
        lasting = sum(1 << KINDS.index(kind) for kind in fault.lasting)
        place = os.fsencode(home)
        shim.fault_arm(place, fault.action, fault.value, fault.call, ctypes.c_uint(lasting))
    if fault.action == MEMORY:
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + fault.value, resource.RLIM_INFINITY))
    try:
        code = run(home)
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 0
    except BaseException:  # noqa: BLE001 - the judge sees the traceback
        traceback.print_exc()
        code = 70
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    if counts:
        number = shim.fault_disarm()
        calls.write_bytes(bytes(shim.fault_call(index) for index in range(number)))
    sys.stdout.flush()
    sys.stderr.flush()
    return code


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
