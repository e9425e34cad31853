"""Taking turns and timing: all ways in each round, so that what disturbs one disturbs all."""

import gc
import os
import shutil
import signal
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from benchmarks.objects import Case
from benchmarks.results import CaseResult, Row, Timing
from benchmarks.ways import BASELINE, WAYS, Tools, Unavailable, Way

Turn = Callable[[], dict[str, float]]
"""Does what is measured once, and gives the seconds of each part."""

_LEAST_ROUNDS = 5
_SLOW_ROUNDS = 2
_MOST_ROUNDS = 31
_SAMPLE_SECONDS = 0.02
"""What takes less is repeated within a sample until it takes so long."""
_LONG = 1.0
"""A first turn of so many seconds tells by itself how long the next will take."""
_MOST_REPETITIONS = 1 << 14


class _TooSlow(Exception):  # noqa: N818 - told as a reason
    pass


def take_turns(
    turns: Mapping[str, Turn], first: Mapping[str, float], seconds: float, least: int
) -> list[dict[str, dict[str, float]]]:
    """Run each in turn, round after round, for about so many seconds.

    Each round begins with another one. `first` is how long a first turn of each took: one
    that would take more than a twelfth of the time takes part in the first two rounds alone, so
    that there are more rounds for the others, `least` or more.
    """
    quick = [name for name in turns if name == BASELINE or first[name] <= seconds / 12]
    slow = [name for name in turns if name not in quick]
    left = seconds - _SLOW_ROUNDS * sum(first[name] for name in slow)
    count = int(left / sum(first[name] for name in quick))
    rounds = []
    for number in range(min(max(count, least), _MOST_ROUNDS)):
        names = list(turns) if number < _SLOW_ROUNDS else quick
        start = number % len(names)
        rounds.append({name: turns[name]() for name in names[start:] + names[:start]})
    return rounds


def timings(rounds: Sequence[Mapping[str, Mapping[str, float]]], name: str) -> dict[str, Timing]:
    """Return what one way took, beside what the baseline took in the same rounds."""
    mine = [(turn[name], turn[BASELINE]) for turn in rounds if name in turn]
    return {
        part: _timing([own[part] for own, _ in mine], [base[part] for _, base in mine])
        for part in mine[0][0]
    }


def _timing(samples: Sequence[float], baseline: Sequence[float]) -> Timing:
    ratios = [own / base for own, base in zip(samples, baseline, strict=True)]
    low, middle, high = quartiles(ratios)
    return Timing(
        median=statistics.median(samples),
        minimum=min(samples),
        quartiles=quartiles(samples)[::2],
        ratio=middle,
        ratio_quartiles=(low, high),
        ratio_of_minima=min(samples) / min(baseline),
        samples=list(samples),
    )


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the quartiles of one value or more."""
    if len(values) == 1:
        return values[0], values[0], values[0]
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


def measure(case: Case, folder: str, *, quick: bool, say: Callable[[str], None]) -> CaseResult:
    """Measure all ways with one object."""
    try:
        title, obj = case.make(quick=quick)
    except ImportError as error:
        reason = f"{error.name} is not installed"
        rows = [Row(way.name, "skipped", reason) for way in WAYS]
        return CaseResult(case.name, case.name, case.in_memory, case.durable, 0, rows)
    seconds = 0.3 if quick else case.seconds
    rows, tools = [], {}
    for way in WAYS:
        if way.name in case.left_out:
            rows.append(Row(way.name, "left out", case.left_out[way.name]))
            continue
        try:
            tools[way.name] = way.make()
            if case.in_memory and tools[way.name].dumps is None:
                raise Unavailable("it has no function for bytes")  # noqa: TRY301
        except (ImportError, Unavailable) as error:
            reason = f"{way.package} is not installed" if isinstance(error, ImportError) else error
            tools.pop(way.name, None)
            rows.append(Row(way.name, "skipped", str(reason)))

    # What is there by now no longer takes part in collections, which would take most of the time.
    gc.collect()
    gc.freeze()
    turns: dict[str, Turn] = {}
    first, sizes, numbers = {}, {}, {}
    for way in WAYS:
        if way.name not in tools:
            continue
        say(f"{title}: {way.label}")
        place = os.path.join(folder, way.name)
        try:
            with _stopping(after=max(seconds, 5 if quick else 20)):
                start = time.perf_counter()
                size = _check(case, tools[way.name], obj, folder)
                took = time.perf_counter() - start
                turn, number = _turn(case, tools[way.name], obj, place, 1), 1
                if took < _LONG:
                    turn, number, took = _calibrated(
                        case, tools[way.name], obj, place, 0.002 if quick else _SAMPLE_SECONDS
                    )
        except Exception as error:
            if way.name == BASELINE:
                raise
            rows.append(Row(way.name, "failed", _reason(error, folder, way)))
            continue
        turns[way.name], first[way.name] = turn, took
        sizes[way.name], numbers[way.name] = size, number
    say(f"{title}: {len(turns)} ways in turn")
    rounds = take_turns(turns, first, seconds, 2 if quick else _LEAST_ROUNDS)
    for name in turns:
        taken = sum(name in each for each in rounds)
        parts = timings(rounds, name)
        rows.append(Row(name, "measured", None, sizes[name], taken, numbers[name], parts))
    gc.unfreeze()
    order = [way.name for way in WAYS]
    rows.sort(key=lambda row: order.index(row.way))
    return CaseResult(case.name, title, case.in_memory, case.durable, sizes[BASELINE], rows)


def _reason(error: Exception, folder: str, way: Way) -> str:
    if isinstance(error, _TooSlow):
        return str(error)
    text = " ".join(str(error).split()).replace(folder, "")
    text = text if len(text) < 160 else f"{text[:160].rsplit(' ', 1)[0]} …"
    return f"{way.label} raised {type(error).__name__}: {text}"


def _calibrated(
    case: Case, tools: Tools, obj: Any, place: str, sample: float
) -> tuple[Turn, int, float]:
    """Return a turn long enough to be timed, how often it repeats, and how long it took."""
    number = 1
    while True:
        turn = _turn(case, tools, obj, place, number)
        start = time.perf_counter()
        parts = turn()
        took = time.perf_counter() - start
        shortest = min(parts.values())
        if shortest * number >= 0.8 * sample or number == _MOST_REPETITIONS:
            return turn, number, took
        number = min(max(2 * number, int(sample / shortest)), _MOST_REPETITIONS)


def _tidy() -> None:
    """Collect garbage, so that no turn pays for what the one before left."""
    gc.collect()


def _turn(case: Case, tools: Tools, obj: Any, place: str, number: int) -> Turn:
    return (
        _memory_turn(tools, obj, number)
        if case.in_memory
        else _path_turn(tools, obj, place, number, durable=case.durable)
    )


def _memory_turn(tools: Tools, obj: Any, number: int) -> Turn:
    dumps, loads = tools.dumps, tools.loads
    assert dumps is not None
    assert loads is not None
    repeat = range(number)

    def turn() -> dict[str, float]:
        _tidy()
        start = time.perf_counter()
        for _ in repeat:
            data = dumps(obj)
        dumped = (time.perf_counter() - start) / number
        _tidy()
        start = time.perf_counter()
        for _ in repeat:
            loads(data)
        loaded = (time.perf_counter() - start) / number
        return {"dumps": dumped, "loads": loaded, "both": dumped + loaded}

    return turn


def _path_turn(tools: Tools, obj: Any, place: str, number: int, *, durable: bool) -> Turn:
    # Each to a new path: where a file is written over, some file systems wait for the disk.
    first, *others = [os.path.join(place, f"saved-{count}") for count in range(number)]

    def turn() -> dict[str, float]:
        os.makedirs(place)
        try:
            _tidy()
            start = time.perf_counter()
            tools.dump(obj, first, durable=durable)
            for path in others:
                tools.dump(obj, path, durable=durable)
            dumped = (time.perf_counter() - start) / number
            _tidy()
            start = time.perf_counter()
            loaded = tools.load(first)
            for path in others:
                loaded = tools.load(path)
            took = (time.perf_counter() - start) / number
            del loaded
        finally:
            shutil.rmtree(place)
        return {"dump": dumped, "load": took}

    return turn


def _check(case: Case, tools: Tools, obj: Any, folder: str) -> int:
    """Save and load once, see that what comes back is the same, and give its size in bytes."""
    if case.in_memory:
        assert tools.dumps is not None
        assert tools.loads is not None
        data = tools.dumps(obj)
        if tools.prepare:
            tools.prepare(data)
        size, loaded = len(data), tools.loads(data)
    else:
        place = os.path.join(folder, "check")
        os.makedirs(place)
        try:
            path = os.path.join(place, "saved")
            tools.dump(obj, path, durable=case.durable)
            size = sum(entry.stat().st_size for entry in os.scandir(place))
            if tools.prepare:
                tools.prepare(path)
            loaded = tools.load(path)
        finally:
            shutil.rmtree(place)
    if not case.same(obj, loaded):
        raise ValueError("what was loaded is not what was saved")
    return size


@contextmanager
def _stopping(after: float) -> Iterator[None]:
    """Stop what takes longer, where the system can."""
    if not hasattr(signal, "setitimer"):
        yield
        return

    def stop(_number: int, _frame: object) -> None:
        raise _TooSlow(f"stopped: the first turn took more than {after:.0f} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, after)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
