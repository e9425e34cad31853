"""Where turns happen, and their judge."""

import errno
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from lab import home as homes
from lab.acts import ACTS, Act
from lab.turns import KILL, SHORT, SIGNAL, TORN, Fault, Server, Turn
from pickleseal import PicklesealError

LEAVE = ("unlink", "status")
"""Calls without which a leftover cannot be removed."""


class Point(NamedTuple):
    """One fault at one call of one act."""

    act: str
    kind: str
    fault: Fault

    def __str__(self) -> str:
        return f"{self.act}: {self.fault.name} at call {self.fault.call} ({self.kind})"


class Field:
    """A built home that turns work on copies of, with a server for them."""

    def __init__(self, folder: Path, library: Path | None) -> None:
        """Build the home."""
        os.environ["PICKLESEAL_PASSPHRASE"] = homes.PASS  # for the judge
        self.folder = folder
        self.built = folder / "built"
        self.built.mkdir(mode=0o700)
        homes.build(self.built)
        (folder / "said").mkdir()
        self.server = Server(library, folder / "said")
        self._number = 0
        self._expected: dict[str, set[str]] = {}

    def fresh(self) -> Path:
        """Return a new copy of the home."""
        self._number += 1
        copy = self.folder / str(self._number)
        shutil.copytree(self.built, copy)
        return copy

    def calls(self, name: str) -> list[str]:
        """Return the calls of an act that nothing disturbs, after judging it."""
        home = self.fresh()
        turn = self.server.turn(name, home)
        assert turn.code == 0, f"{name}: {turn}"
        assert ACTS[name].done(home) is True, f"{name} did nothing"
        homes.check_whole(home, self.built)
        self._expected[name] = homes.names(home)
        shutil.rmtree(home)
        return turn.calls

    def complaints(self, point: Point) -> list[str]:
        """Run an act with a fault; return what the judge has to say."""
        home = self.fresh()
        try:
            return self.tried(point, home)[1]
        finally:
            shutil.rmtree(home)

    def tried(
        self, point: Point, home: Path, mend: Callable[[], object] = lambda: None
    ) -> tuple[int | None, list[str]]:
        """Run an act with a fault in a home; return its exit code and what the judge has to say.

        `mend` ends what lasts, before the second run.
        """
        turn = self.server.turn(point.act, home, point.fault)
        try:
            self._judge(point, home, turn, mend)
        except (AssertionError, PicklesealError, OSError) as error:
            return turn.code, [f"{point}: exit {turn.code}: {error!r}\n{turn.out}{turn.err}"]
        return turn.code, []

    def _judge(self, point: Point, home: Path, turn: Turn, mend: Callable[[], object]) -> None:
        act, fault = ACTS[point.act], point.fault
        assert turn.code is not None, "it hung"
        assert "Traceback" not in turn.err, "an exception escaped"
        assert "please report" not in turn.out + turn.err, "it calls this a bug of its own"
        _check_code(act, fault, turn)
        homes.check_whole(home, self.built)
        done = act.done(home)
        if not act.reads:
            # Either the change is in place, or another file of the act's failed.
            told = any(words in turn.out + turn.err for words in ("in place", "✗ failed"))
            assert turn.code != 0 or done is True, "it exits with 0 and is not done"
            if turn.code == 2:
                assert done is not True or told, "it exits with 2 and is done"
        left = homes.unexpected(home, self._expected[point.act] | homes.names(self.built))
        died = (turn.code or 0) < 0
        if not (died or fault.lasting or point.kind in LEAVE):
            assert not left, f"{left} are left over"
        homes.check_leftovers(home, left)
        mend()
        if not act.reads:
            again = self.server.turn(point.act, home)
            expected = act.again if done is True else 0
            assert again.code == expected, f"a second run ends with {again}"
            assert act.done(home) is True, "a second run does not finish"
            homes.check_whole(home, self.built)


def _check_code(act: Act, fault: Fault, turn: Turn) -> None:
    if fault.action in (KILL, TORN):
        codes = {-signal.SIGKILL, 0}  # 0: another run makes fewer calls
    elif fault.action == SIGNAL:
        codes = {0, 130 if fault.value == signal.SIGINT else 143, -fault.value}
    elif fault.action == SHORT or fault.value == errno.EINTR:
        codes = {0}
    else:
        codes = {0, 2}
    if turn.code == 1 and act.fair(turn.out) and 2 in codes:
        return
    assert turn.code in codes, f"it exits with {turn.code}"
