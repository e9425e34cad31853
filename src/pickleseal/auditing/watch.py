"""Watch for unpickling without a seal: the only audit hook.

Python raises the audit event `pickle.find_class` for each name that a pickle asks for, whichever
library unpickles it. Loads below `pickling.load.restore` are sealed; all others are reported.
"""

import contextlib
import functools
import sys
import threading
import warnings
from collections.abc import Callable, Iterable
from types import FrameType
from typing import Literal, NamedTuple, Self

from pickleseal.errors import BareLoadError, BareLoadWarning, shown
from pickleseal.pickling.load import restore

_UNPICKLERS = (
    "pickle",
    "shelve",
    "dill",
    "joblib.numpy_pickle",
    "joblib.numpy_pickle_compat",
    "numpy.lib",
    "pandas.compat.pickle_compat",
    "pandas.io.pickle",
    "torch.serialization",
)
"""Modules whose frames come between an unpickler and the code that called it."""


class Sighting(NamedTuple):
    """A name that an unsealed pickle asked for, and the code that unpickled it.

    Attributes
    ----------
    module : str
        Module of the name, as the pickle spells it.
    name : str
        Name within that module.
    caller : str
        Module that had it unpickled, such as "app.models"; `ignore` is matched against it. Empty
        where a thread unpickles without any Python code.
    file : str
        File of the caller's code.
    line : int
        Line in that file.
    function : str
        Qualified name of the calling function.
    thread : str
        Name of the thread.
    """

    module: str
    name: str
    caller: str
    file: str
    line: int
    function: str
    thread: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}, in {self.function} of {self.caller}"
        return shown(f"{where}: {self.module}.{self.name} is unpickled without a seal")


Report = Callable[[Sighting], object]


class Watch:
    """A running watch, which `watch` returns.

    It ends with `stop()` or at the end of a `with` block, and covers the whole process, not only
    the thread of the block.

    Examples
    --------
    >>> import pickle
    >>> with pickleseal.watch(lambda sighting: print(sighting.name)):
    ...     _ = pickle.loads(pickle.dumps(pickleseal.Suite))
    Suite
    """

    def __init__(self, report: Report, ignored: tuple[str, ...]) -> None:
        self._report = report
        self._ignored = ignored

    def stop(self) -> None:
        """Stop reporting. A stopped watch cannot be started again."""
        with contextlib.suppress(ValueError):
            _watches.remove(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _tell(self, sighting: Sighting) -> None:
        if not _below(sighting.caller, self._ignored):
            self._report(sighting)


def watch(
    report: Report | Literal["log", "warn", "raise"] = "log", *, ignore: Iterable[str] = ()
) -> Watch:
    """Report each name that an unsealed pickle asks for in this process, from now on.

    Parameters
    ----------
    report : {"log", "warn", "raise"} or callable, default "log"
        What to do with a `Sighting`. "log" writes a warning to the logger "pickleseal", once for
        each name and line of code. "warn" gives a `BareLoadWarning`, which the usual filters show
        once for each line. "raise" raises `BareLoadError` before the name is looked up, which stops
        the load. A function is called with each `Sighting`, in the thread that unpickles; what it
        raises stops the load too.
    ignore : iterable of str, default ()
        Modules whose own loads are not reported, each with all modules below it.

    Returns
    -------
    Watch
        The watch. Call its `stop` method, or use it in a `with` statement, to end it.

    Raises
    ------
    ValueError
        If `report` is another string.
    TypeError
        If `ignore` is a single string.

    Notes
    -----
    Python's audit event ``pickle.find_class`` brings the names, whichever library unpickles. An
    audit hook cannot be removed, so the first call installs one for the life of the process; if
    another hook refuses it, that hook's error is raised.

    Several watches report independently, in the order of creation; if several raise, the last error
    is raised.

    A pickle is judged by the names it asks for: plain data before a name is already unpickled.

    Examples
    --------
    >>> import pickle
    >>> pickled = pickle.dumps(pickleseal.Suite)
    >>> with pickleseal.watch("raise"):
    ...     pickle.loads(pickled)
    Traceback (most recent call last):
    ...
    pickleseal.errors.BareLoadError: ...pickleseal.keys.suite.Suite is unpickled without a seal
    """
    if isinstance(ignore, str):
        raise TypeError("ignore takes a list of modules, not one text")
    if isinstance(report, str):
        if report not in _REPORTS:
            raise ValueError(
                f"report must be one of {', '.join(_REPORTS)}, not {shown(repr(report))}"
            )
        report = _REPORTS[report]()
    kept = Watch(report, tuple(ignore))
    with _installing:
        _install()
    _watches.append(kept)
    return kept


# Python cannot remove an audit hook. So the process has one, and the module the list of watches.
_watches: list[Watch] = []
_installing = threading.RLock()
_MOST_KEPT = 10_000


@functools.cache
def _install() -> None:
    """Install the hook; only the first call does."""
    # If another hook refuses further ones, sys.addaudithook silently does nothing. Raising its
    # event here raises the refusal.
    sys.audit("sys.addaudithook")
    sys.addaudithook(_hook)


def _hook(event: str, arguments: tuple[str, str]) -> None:
    # Every file that is opened causes a call. When Python ends, the list may be gone already.
    if event == "pickle.find_class" and _watches:
        sighting = _seen(*arguments)
        if sighting is not None:
            _tell(sighting)


def _tell(sighting: Sighting) -> None:
    """Call each watch in the order of creation, even if one of them raises."""
    with contextlib.ExitStack() as reports:
        for kept in reversed(tuple(_watches)):
            reports.callback(kept._tell, sighting)  # noqa: SLF001 - of the same room


def _seen(module: str, name: str) -> Sighting | None:
    """Return the code that unpickled a name; None for a sealed load, or for one by a report itself.

    It looks at the frames: a flag would have to be kept for each thread, task and greenlet.
    """
    sealed, reporting = restore.__code__, _tell.__code__
    caller = None
    frame = sys._getframe(1).f_back  # noqa: SLF001 - what the hook interrupts, if it is Python
    while frame is not None:
        code = frame.f_code
        if code is sealed or code is reporting:
            return None
        if caller is None and not _unpickles(frame):
            caller = frame
        frame = frame.f_back
    thread = threading.current_thread().name
    if caller is None:
        return Sighting(module, name, "", "<unknown>", 0, "<unknown>", thread)
    code, line = caller.f_code, caller.f_lineno or 0
    place = (_module(caller), code.co_filename, line, code.co_qualname)
    return Sighting(module, name, *place, thread)


def _unpickles(frame: FrameType) -> bool:
    """Return whether a frame belongs to an unpickler and not to its caller."""
    # A subclass may have a find_class of its own; its line does not say who loads.
    return frame.f_code.co_name == "find_class" or _below(_module(frame), _UNPICKLERS)


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", ""))


def _below(module: str, modules: tuple[str, ...]) -> bool:
    return any(module == other or module.startswith(f"{other}.") for other in modules)


def _logging() -> Report:
    import logging  # noqa: PLC0415 - takes milliseconds, and not every program has it

    logger = logging.getLogger("pickleseal")
    told: set[tuple[str, int, str, str]] = set()

    def log(sighting: Sighting) -> None:
        # Each name once for a line of code: a service loads the same model many times.
        which = (sighting.file, sighting.line, sighting.module, sighting.name)
        if which not in told:
            if len(told) < _MOST_KEPT:
                told.add(which)
            logger.warning("%s", sighting)

    return log


def _warning() -> Report:
    # What warnings keeps in each module, to tell a line that has warned already. It goes by the
    # text too, which therefore names nothing of what is asked for.
    warned: dict[str, dict[str | tuple[str, type[Warning], int], int]] = {}

    def warn(sighting: Sighting) -> None:
        warnings.warn_explicit(
            f"{sighting.function} unpickles without a seal",
            BareLoadWarning,
            sighting.file,
            sighting.line,
            module=sighting.caller,
            registry=warned.setdefault(sighting.file, {}),
        )

    return warn


def _refuse(sighting: Sighting) -> None:
    raise BareLoadError(str(sighting))


_REPORTS: dict[str, Callable[[], Report]] = {
    "log": _logging,
    "warn": _warning,
    "raise": lambda: _refuse,
}
