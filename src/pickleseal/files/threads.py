"""Work on the leaves of a body in parallel."""

import os
import threading
from _thread import start_new_thread
from collections.abc import Callable, Iterable
from contextlib import suppress
from itertools import islice
from queue import SimpleQueue
from typing import TypeVar

MIN_ITEMS = 8
"""With fewer leaves the calling thread does all the work: threads would cost more."""

_MAX_THREADS = 16

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def each(
    items: Iterable[_Item], work: Callable[[int, _Item], _Result], *, least: int = MIN_ITEMS
) -> list[_Result]:
    """Call `work` with each item and its number, in threads; return the results in order.

    With fewer items than `least` the calling thread does all the work. The threads live for this
    call only, so that a fork loses none. Reading, writing and hashing release the GIL.
    """
    numbered = enumerate(items)
    first = list(islice(numbered, least))
    if len(first) < least:
        return [work(number, item) for number, item in first]

    results: dict[int, _Result] = {}
    failures: list[BaseException] = []
    lock = threading.Lock()
    waiting = iter(first)

    def take() -> tuple[int, _Item] | None:
        with lock:
            return None if failures else next(waiting, None) or next(numbered, None)

    def run() -> None:
        try:
            while (item := take()) is not None:
                results[item[0]] = work(*item)
        except BaseException as error:  # noqa: BLE001 - raised in the calling thread
            failures.append(error)

    begun, finished = list[None](), list[None]()
    act = [run]
    news: SimpleQueue[None] = SimpleQueue()

    def run_aside() -> None:
        with lock:
            if failures or not act:
                return
            begun.append(None)
        try:
            act[0]()
        finally:
            finished.append(None)
            news.put(None)

    try:
        # Not threading.Thread: its start waits for ever for a thread that lacks memory to begin.
        with suppress(RuntimeError):  # no more threads: fewer will do
            for _ in range(_thread_count() - 1):
                start_new_thread(run_aside, ())
        run()
    except BaseException as error:  # noqa: BLE001 - an interrupt; raised again below
        failures.append(error)
    while act:
        # No thread may outlive the call: it would use a closed descriptor. One that begins later
        # does nothing, and keeps nothing: a buffer with a view on it could not grow.
        try:
            with lock:
                if len(finished) == len(begun):
                    act.clear()
            # An interrupt may take an item away: who is missed is still to come, and puts one.
            if act:
                news.get()
        except BaseException as error:  # noqa: BLE001 - as above
            failures.append(error)
    if failures:
        try:
            raise failures[0]
        finally:
            failures.clear()  # or the error and this frame would hold each other
    return [results[number] for number in range(len(results))]


def processors() -> int:
    """Return the number of processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _thread_count() -> int:
    return min(processors(), _MAX_THREADS)
