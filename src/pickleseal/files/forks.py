"""Work in copies of this process, which have all that it has; what they do stays in them."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Generic, Self, TypeVar

from pickleseal.files.threads import processors

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.context import ForkProcess

_MAX_COPIES = 16

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def copies(wanted: int | None = None) -> int:
    """Return how many copies to make: as many as are wanted, or as pay.

    1 where this process cannot be copied safely.
    """
    # Of the threads only the one that forks is copied, and the locks of the others stay locked.
    if sys.platform != "linux" or _own_threads() != 1:
        return 1
    return min(processors(), _MAX_COPIES) if wanted is None else wanted


def each(
    items: Sequence[_Item], work: Callable[[_Item], _Result], *, copies: int
) -> Iterator[_Result]:
    """Yield what `work` returns for each item, in order; each copy does every n-th item.

    A copy waits where its results are not taken. What it does not do, since it could not be made
    or was ended, is done by the calling process. So is all of it with fewer than two copies.
    """
    if copies < 2:
        yield from map(work, items)
        return
    shares: list[_Share[_Item, _Result]] = []
    try:
        for first in range(min(copies, len(items))):
            shares.append(_Share(items[first::copies], work, shares))
        for number in range(len(items)):
            yield shares[number % copies].next()
    finally:
        for share in shares:
            share.end()


@contextmanager
def deaf_to_interrupts() -> Iterator[None]:
    """Keep Ctrl-C from the processes that start in the block; this one hears it after the block.

    It reaches all processes of a terminal, and they would print where it found them. This one ends
    them.
    """
    if sys.platform == "win32":
        yield
        return
    import signal  # noqa: PLC0415 - as below

    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _own_threads() -> int:
    try:
        return len(os.listdir("/proc/self/task"))
    except OSError:  # it cannot be told
        return 0


class _Share(Generic[_Item, _Result]):
    """A part of the items, and the copy that works on it."""

    def __init__(
        self,
        items: Sequence[_Item],
        work: Callable[[_Item], _Result],
        others: "Sequence[Self]",
    ) -> None:
        self._left = iter(items)
        self._work = work
        self._process: ForkProcess | None = None
        self.results: Connection | None = None
        import multiprocessing  # noqa: PLC0415 - most audits are of few files

        # No more processes or descriptors; or this is a worker of multiprocessing's, which lets
        # none of its own begin.
        with suppress(OSError, AssertionError):
            results, answer = multiprocessing.Pipe(duplex=False)
            inherited = [results, *(one.results for one in others if one.results)]
            with answer:
                process = multiprocessing.get_context("fork").Process(
                    target=_answer, args=(items, work, answer, inherited), daemon=True
                )
                self.results = results
                with deaf_to_interrupts():
                    process.start()
            self._process = process

    def next(self) -> _Result:
        """Return the result for the next item."""
        item = next(self._left)
        if self.results is not None:
            try:
                return self.results.recv()  # type: ignore[no-any-return]
            except (EOFError, OSError):
                self.end()
        return self._work(item)

    def end(self) -> None:
        """End the copy, whatever it does."""
        process, self._process = self._process, None
        if self.results is not None:
            self.results.close()
        if process is not None:
            process.terminate()
            process.join()
            with suppress(ValueError):  # a program that ignores SIGCHLD is not told of its end
                process.close()


def _answer(
    items: Sequence[_Item],
    work: Callable[[_Item], _Result],
    answer: "Connection",
    inherited: "Sequence[Connection]",
) -> None:
    """Send the result for each item, until nobody takes them."""
    import signal  # noqa: PLC0415 - as above

    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for connection in inherited:  # or it would be open after the calling process has ended
        connection.close()
    # OSError: nobody takes the results. Any other error is raised where the work is done again.
    with suppress(Exception):
        for item in items:
            answer.send(work(item))
