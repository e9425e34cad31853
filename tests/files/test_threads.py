"""Work in parallel ends, whatever becomes of the threads."""

import gc
import os
import weakref
from collections.abc import Callable
from contextlib import suppress

import pytest

from pickleseal.files import threads


@pytest.mark.parametrize("count", [1, 4])
def test_threads_that_never_begin_are_not_waited_for(
    count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "_thread_count", lambda: count)
    monkeypatch.setattr(threads, "start_new_thread", lambda *_: None)
    assert threads.each(range(100), lambda number, item: number + item) == list(range(0, 200, 2))


def test_a_thread_that_cannot_start_is_done_without(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threads, "_thread_count", lambda: 4)
    monkeypatch.setattr(threads, "start_new_thread", refuse)
    assert threads.each(range(100), lambda number, item: number + item) == list(range(0, 200, 2))


@pytest.mark.parametrize("fails", [False, True])
def test_a_thread_that_begins_late_does_nothing_and_keeps_nothing(
    *, fails: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    late: list[Callable[[], None]] = []
    done: list[int] = []

    def each() -> "weakref.ref[object]":
        def work(number: int, _: int) -> None:
            done.append(number)
            if fails:
                raise ZeroDivisionError

        with suppress(ZeroDivisionError):
            threads.each(range(100), work)
        return weakref.ref(work)

    monkeypatch.setattr(threads, "_thread_count", lambda: 4)
    monkeypatch.setattr(threads, "start_new_thread", lambda act, _: late.append(act))
    gc.disable()
    try:
        assert each()() is None
    finally:
        gc.enable()
    before = len(done)
    for act in late:
        act()
    assert len(late) == 3
    assert len(done) == before


def test_the_first_failure_is_raised_and_no_thread_outlives_it() -> None:
    def work(number: int, _: object) -> int:
        if number == 50:
            raise ZeroDivisionError
        return number

    for _ in range(50):
        with pytest.raises(ZeroDivisionError):
            threads.each(range(100), work)


@pytest.mark.parametrize(("told", "count"), [(4, 4), (None, 1)])
def test_a_system_that_tells_no_count_of_processors_has_one(
    told: int | None, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: told)
    assert threads.processors() == count
