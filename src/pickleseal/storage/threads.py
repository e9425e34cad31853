"""Working through the leaves of a body, side by side where there are many."""

import os
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress

from pickleseal import tree
from pickleseal.suite import Suite

MIN_LEAVES = 8
"""A body of fewer leaves is worked through by the calling thread: handing over would cost more."""

_MAX_THREADS = 16


def each_leaf(
    leaves: Iterable[list[memoryview]], work: Callable[[int, list[memoryview]], bytes]
) -> list[bytes]:
    """Do `work` on each numbered leaf, in threads where there are many; give the digests in order.

    The threads live for this call only, so that nothing is there to be lost in a fork. Each
    takes the next leaf when it is done with one: reading, writing and hashing release the GIL.
    """
    numbered = enumerate(leaves)
    first = [item for _, item in zip(range(MIN_LEAVES), numbered, strict=False)]
    if len(first) < MIN_LEAVES:
        return [work(number, leaf) for number, leaf in first]

    digests: dict[int, bytes] = {}
    failures: list[BaseException] = []
    lock = threading.Lock()
    waiting = iter(first)

    def take() -> tuple[int, list[memoryview]] | None:
        with lock:
            return None if failures else next(waiting, None) or next(numbered, None)

    def run() -> None:
        try:
            while (item := take()) is not None:
                digests[item[0]] = work(*item)
        except BaseException as error:  # noqa: BLE001 - raised again by the caller's thread
            failures.append(error)

    threads = [threading.Thread(target=run, daemon=True) for _ in range(_thread_count() - 1)]
    try:
        with suppress(RuntimeError):  # no more threads to be had: fewer will do
            for thread in threads:
                thread.start()
        run()
    except BaseException as error:  # noqa: BLE001 - an interrupt; raised again below
        failures.append(error)
    while any(thread.is_alive() for thread in threads):
        # No thread may outlive the call: it would go on with a descriptor that is closed.
        try:
            for thread in threads:
                if thread.is_alive():
                    thread.join()
        except BaseException as error:  # noqa: BLE001 - as above
            failures.append(error)
    if failures:
        try:
            raise failures[0]
        finally:
            failures.clear()  # or the error and this frame would hold each other
    return [digests[number] for number in range(len(digests))]


def leaf_digests(suite: Suite, leaves: Iterable[list[memoryview]]) -> list[bytes]:
    """Give the digests of leaves that are in memory already."""
    return each_leaf(leaves, lambda _, leaf: tree.leaf_digest(suite, leaf))


def _thread_count() -> int:
    if hasattr(os, "sched_getaffinity"):
        available = len(os.sched_getaffinity(0))
    else:
        available = os.cpu_count() or 1
    return min(available, _MAX_THREADS)
