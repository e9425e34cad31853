"""From a key line to its key, when it is first used: by threads, forks, and only once."""

import os
import threading
import time
from collections.abc import Callable
from typing import cast

import pytest

from pickleseal import BadSealError, Key, Keyring, KeyringError, Suite, signed_dumps, signed_loads
from pickleseal.keys.key import MAX_LINE, Holder, KeyLine, encode, outline
from pickleseal.keys.passphrase import Passphrase, wrap
from pickleseal.keys.store.lines import Deferred, Opener
from pickleseal.keys.store.providers import reference_line, reference_of

PASS = "correct horse battery"


@pytest.fixture
def lines() -> list[KeyLine]:
    """Return three lines with one passphrase and one salt."""
    passphrase = Passphrase(PASS)
    return [wrap(KeyLine.generate(), passphrase, salt=bytes(16), log2_n=14) for _ in range(3)]


def test_one_answer_opens_all_that_it_fits(lines: list[KeyLine]) -> None:
    asked: list[int] = []
    opener = Opener(lambda: asked.append(1) or PASS)  # type: ignore[func-returns-value]
    other = wrap(KeyLine.generate(), Passphrase("another one"), salt=bytes(16), log2_n=14)
    keys = [opener.key(line) for line in (*lines, other)]
    assert not asked
    for key in keys[:3]:
        key.check(b"x" * 96, key.mac(b"x" * 96))
    assert asked == [1]
    with pytest.raises(KeyringError):
        keys[3].mac(b"x" * 96)


def test_a_key_that_is_open_is_not_asked_for_again_from_another_line(
    lines: list[KeyLine],
) -> None:
    answers = iter([PASS])
    opener = Opener(lambda: next(answers))
    first = opener.key(lines[0])
    first.mac(b"x" * 96)
    again = wrap(
        Opener(lambda: PASS).plain(lines[0]), Passphrase("changed since"), salt=bytes(16), log2_n=14
    )
    assert opener.key(again).mac(b"x" * 96) == first.mac(b"x" * 96)


def test_a_key_that_is_not_open_is_opened_from_its_newest_line(lines: list[KeyLine]) -> None:
    """Its passphrase may have been changed since the ring was read."""
    plain = Opener(lambda: PASS).plain(lines[0])
    again = wrap(plain, Passphrase("changed since"), salt=bytes(16), log2_n=14)
    opener = Opener(lambda: "changed since")
    opener.key(lines[0])
    assert opener.key(again).mac(b"x" * 96) == Key.parse(plain).mac(b"x" * 96)


def test_a_line_of_another_cost_is_not_tried_until_it_is_used(lines: list[KeyLine]) -> None:
    """Or a line that somebody handed over could make each first use take seconds."""
    passphrase = Passphrase(PASS)
    dear = wrap(KeyLine.generate(), passphrase, salt=bytes(16), log2_n=15)
    elsewhere = wrap(KeyLine.generate(), passphrase, salt=b"x" * 16, log2_n=14)
    opener = Opener(lambda: PASS)
    keys = [opener.key(line) for line in (*lines, dear, elsewhere)]
    keys[0].mac(b"x" * 96)
    found = [opener._deferred[key.id].holder is not None for key in keys]
    assert found == [True, True, True, False, False]
    keys[3].mac(b"x" * 96)
    assert opener._deferred[keys[3].id].holder is not None


@pytest.mark.parametrize(
    ("number", "field", "told"),
    [
        (2, "elsewhere", "held by 'elsewhere'"),
        (3, "*", "damaged"),
        (3, "", "damaged"),
        (3, encode(b"\xff"), "damaged"),
        (4, "*", "damaged"),
        (4, encode(bytes(31)), "damaged"),
        (5, "1" * 32, "names two ids"),
    ],
)
def test_a_damaged_reference_is_told_as_that(number: int, field: str, told: str) -> None:
    line = reference_line(Suite.BLAKE3, "command", "[]", Key.generate())
    fields = line.reveal().split(".")
    fields[number] = field
    with pytest.raises(KeyringError, match=told):
        reference_of(outline(KeyLine(".".join(fields))))


def test_a_reference_is_as_long_as_a_line_may_be() -> None:
    def length(provider: str) -> int:
        return len(reference_line(Suite.BLAKE3, provider, "", Key.generate()).reveal())

    longest = "x" * (MAX_LINE - length(""))
    assert length(longest) == MAX_LINE
    with pytest.raises(KeyringError, match="too long"):
        length(f"{longest}x")


def test_many_threads_fetch_once() -> None:
    fetched: list[int] = []
    real = Key.generate()

    def fetch() -> Holder:
        fetched.append(1)
        time.sleep(0.05)
        return cast("Holder", real)

    deferred = Deferred(fetch)
    threads = [threading.Thread(target=deferred.mac, args=(b"x" * 96,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert fetched == [1]


def test_a_fetch_that_failed_is_tried_again() -> None:
    outcomes: list[Exception | Key] = [KeyringError("not now"), Key.generate()]

    def fetch() -> Holder:
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return cast("Holder", outcome)

    deferred = Deferred(fetch)
    with pytest.raises(KeyringError):
        deferred.mac(b"x" * 96)
    tag = deferred.mac(b"x" * 96)
    with pytest.raises(BadSealError):
        deferred.check(b"y" * 96, tag)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="POSIX only")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_while_another_thread_fetches_does_not_wait_for_ever(lines: list[KeyLine]) -> None:
    going, on = threading.Event(), threading.Event()

    def ask() -> str:
        going.set()
        on.wait(20)
        return PASS

    answers: list[Callable[[], str]] = [ask, lambda: PASS]

    def ask_next() -> str:
        return answers.pop(0)()

    opener = Opener(ask_next)
    ring = Keyring(opener.key(lines[0]))
    thread = threading.Thread(target=lambda: signed_dumps(1, keyring=ring))
    thread.start()
    going.wait()
    child = os.fork()
    if child == 0:
        # The lock was copied while it was held, by a thread that is not here.
        code = 1
        try:
            code = 0 if signed_loads(signed_dumps(7, keyring=ring), keyring=ring) == 7 else 2
        finally:
            os._exit(code)
    deadline = time.monotonic() + 20
    status = (0, 0)
    while status[0] == 0 and time.monotonic() < deadline:
        status = os.waitpid(child, os.WNOHANG)
        time.sleep(0.01)
    on.set()
    thread.join()
    assert status == (child, 0)
