"""The state of an unpickler in one stream: its stack, marks, memo and frame."""

from collections.abc import Callable
from typing import NoReturn, TypeAlias

from pickleseal.scanner.machine.cursor import Cursor
from pickleseal.scanner.machine.faults import Fault
from pickleseal.scanner.machine.memo import Memo
from pickleseal.scanner.machine.record import Record
from pickleseal.scanner.machine.values import Dict, List, Result, Set, faded

MAX_OPCODES = 30_000_000
MAX_HELD = 8_000_000
"""Entries of stack, marks and memo together."""
MAX_BURIED = 1_000_000
"""The most objects and dicts deep in the stack."""
MAX_MISFITS = 50
"""Frames that end inside an opcode: continuing without one costs as much as many opcodes."""
RECENT = 20_000
"""How many of the newest entries of stack and memo are kept in full."""
NO_FRAME = 1 << 64
"""The end of the frame when there is none."""

_STAYS = frozenset({Dict, List, Result, Set})
_SPARSE_COST = 40  # a large memo index, text included, costs as much as this many small ones


class Walk:
    """One stream: its stack, marks and memo, and where its frame ends.

    Opcodes are read from `held`; `moved` is true once they must be read from elsewhere. `pass_over`
    passes over objects behind a BUILD, if any are.
    """

    def __init__(self, cursor: Cursor, record: Record) -> None:
        self.cursor = cursor
        self.record = record
        self.stack: list[object] = []
        self.marks = [0]  # the first is the bottom of the stack, and no mark
        self.memo = Memo()
        self.opcodes = 0
        self.protocol = 0
        self.frame_end = NO_FRAME
        self.held = b""
        self.moved = False
        self.misfits = 0
        self.pass_over: Step | None = None
        self._checked = 0
        self._trimmed = 0
        self._buried = 0

    def check_bounds(self) -> None:
        """Raise Fault if the stream exceeds a bound; shrink old values."""
        memo, stack = self.memo, self.stack
        most = MAX_OPCODES if self.record.most is None else self.record.most
        if self.record.opcodes + self.opcodes >= most:
            raise Fault(f"it has more than {most} opcodes", limited=True)
        held = len(stack) + len(self.marks) + len(memo.dense) + _SPARSE_COST * len(memo.far)
        if held > MAX_HELD:
            raise Fault(f"it holds more than {MAX_HELD} values at once", limited=True)
        memo.trim(RECENT)
        # Values pushed since the last check may be below the end of that check.
        since = self.opcodes - self._checked
        self._checked = self.opcodes
        start, end = max(min(self._trimmed, len(stack)) - since, 0), len(stack) - RECENT
        if end <= 0:
            self._buried = 0
        elif start < end:
            self._trimmed = end
            stack[start:end] = map(faded, stack[start:end])
            self._bury(stack[start:end], end)

    def _bury(self, values: list[object], end: int) -> None:
        """Count values deep in the stack that still take memory; raise Fault at a bound."""
        for value in values:
            if type(value) is Dict:
                value.others = value.others or bool(value.fields)
                value.fields, value.whole = None, False
        self._buried += sum(map(_STAYS.__contains__, map(type, values)))
        # Values may be counted twice, so the sum only triggers a recount.
        if self._buried > 2 * MAX_BURIED:
            self._buried = sum(map(_STAYS.__contains__, map(type, self.stack[:end])))
            if self._buried > MAX_BURIED:
                raise Fault(f"it has over {MAX_BURIED} objects deep on its stack", limited=True)

    def note_misfit(self) -> None:
        """Note a frame that ends inside an opcode, and continue without it."""
        # An unpickler that reads from a file may then skip bytes; another one stops.
        self.record.note("its opcodes cross frame boundaries, and readers disagree on them")
        self.frame_end = NO_FRAME
        self.misfits += 1
        if self.misfits > MAX_MISFITS:
            raise Fault("its opcodes cross frame boundaries", limited=True)

    def underflow(self) -> NoReturn:
        """Raise Fault for a stack underflow."""
        raise Fault("stack underflow")

    def need(self, count: int) -> None:
        """Raise Fault if there are fewer than `count` values above the last mark."""
        if len(self.stack) - count < self.marks[-1]:
            self.underflow()

    def pop(self) -> object:
        """Pop one value from the stack."""
        self.need(1)
        return self.stack.pop()

    def pop_mark(self) -> list[object]:
        """Pop everything above the last mark, and the mark."""
        if len(self.marks) == 1:
            raise Fault("a mark is missing from the stack")
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def put(self, index: int) -> None:
        """Store the top of the stack in the memo."""
        stack, memo = self.stack, self.memo
        if len(stack) <= self.marks[-1]:
            self.underflow()
        if index == len(memo.dense) and memo.regular:
            memo.dense.append(stack[-1])
        else:
            memo.put(index, stack[-1])


Step: TypeAlias = Callable[[Walk], None]
"""The handler of an opcode."""
