"""Watching for unpickling that no seal vouches for: the only place with an audit hook.

Python raises the audit event `pickle.find_class` for each name that a pickle asks for, from
whichever library the call comes. What `pickling.restore` stands behind is sealed; the rest is told.
"""

import contextlib
import functools
import sys
import threading
import warnings
from collections.abc import Callable, Iterable
from types import FrameType, TracebackType
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
"""Modules whose frames lie between an unpickler and the code that wants something loaded."""


class Sighting(NamedTuple):
    """A name that a pickle without a seal asked for, and the code that had it unpickled."""

    module: str
    """The module of what is asked for, as the pickle spells it."""
    name: str
    caller: str
    """The module that had it unpickled, such as "app.models": what `ignore` is held against."""
    file: str
    line: int
    function: str
    thread: str
    """The name of the thread."""

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}, in {self.function} of {self.caller}"
        return shown(f"{where}: {self.module}.{self.name} is unpickled without a seal")


Report = Callable[[Sighting], object]


class Watch:
    """A watch that is kept until `stop()`, or to the end of a `with` block. `watch` makes one."""

    def __init__(self, report: Report, ignored: tuple[str, ...]) -> None:
        self._report = report
        self._ignored = ignored

    def stop(self) -> None:
        """Report nothing from now on. A watch that was stopped stays so."""
        with contextlib.suppress(ValueError):
            _watches.remove(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _tell(self, sighting: Sighting) -> None:
        if not _below(sighting.caller, self._ignored):
            self._report(sighting)


def watch(
    report: Report | Literal["log", "warn", "raise"] = "log", *, ignore: Iterable[str] = ()
) -> Watch:
    """Report each name that any pickle without a seal asks for in this process, from now on.

    `report`: "log" for a warning in the log "pickleseal"; "warn" for a BareLoadWarning, by the
    usual filters once for each line of code; "raise" to stop the unpickling by a BareLoadError
    before it looks the name up; or a function that is called with each Sighting, in the thread
    that unpickles. What the function raises stops the unpickling too. `ignore`: modules, each with
    all below it, whose own calls are let pass; none by default.

    Returns the Watch, which can be stopped. Raises ValueError for another text as `report`,
    TypeError for one text as `ignore`, and what an audit hook that refuses hooks raises.
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


# Python offers no way to remove an audit hook. So there is one for the process, which must know by
# itself whether anybody watches: hence a list that belongs to the module, and not to a caller.
_watches: list[Watch] = []
_installing = threading.RLock()
_MOST_KEPT = 10_000


@functools.cache
def _install() -> None:
    """Install the hook, at the first call only."""
    # Where a hook refuses further ones, sys.addaudithook does nothing and does not say so. The
    # event that it raises, raised here, says it.
    sys.audit("sys.addaudithook")
    sys.addaudithook(_hook)


def _hook(event: str, arguments: tuple[str, str]) -> None:
    # Each file that is opened comes by here. And at Python's end the list may be gone already.
    if event == "pickle.find_class" and _watches:
        sighting = _seen(*arguments)
        if sighting is not None:
            _tell(sighting)


def _tell(sighting: Sighting) -> None:
    """Have each watch report, in the order of their making, whatever one of them raises."""
    with contextlib.ExitStack() as reports:
        for kept in reversed(tuple(_watches)):
            reports.callback(kept._tell, sighting)  # noqa: SLF001 - of the same room


def _seen(module: str, name: str) -> Sighting | None:
    """Tell who had a name unpickled; None if a seal stands behind it, or a report asks for it.

    The frames tell: a flag would have to be kept for each thread, task and greenlet.
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
    return _sighting(module, name, caller)


def _sighting(module: str, name: str, frame: FrameType | None) -> Sighting:
    thread = threading.current_thread().name
    if frame is None:
        return Sighting(module, name, "", "<unknown>", 0, "<unknown>", thread)
    code = frame.f_code
    return Sighting(
        module,
        name,
        caller=_module(frame),
        file=code.co_filename,
        line=frame.f_lineno or 0,
        function=code.co_qualname,
        thread=thread,
    )


def _unpickles(frame: FrameType) -> bool:
    """Tell whether a frame is part of an unpickler, and so not what had it run."""
    # A class of the caller's own may have a find_class; its line says nothing about who loads.
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
        # Each name once for a line of code: a service loads the same model again and again.
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


def _raising() -> Report:
    def refuse(sighting: Sighting) -> None:
        raise BareLoadError(str(sighting))

    return refuse


_REPORTS = {"log": _logging, "warn": _warning, "raise": _raising}
