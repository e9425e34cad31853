"""The memo of a walk: what the stream puts away, and what is kept of it."""

from pickleseal.auditing.faults import Fault
from pickleseal.auditing.values import FORGOTTEN, NOTHING, TRIMMED

MAX_TEXT = 64 << 20
"""Bytes that the literal texts of older entries may take."""

_GAP_KEPT = 64


class Memo:
    """What the stream puts away, by its index: a list, and a dict for what is far off.

    `regular` is true while the list has no holes and nothing is far off. Then MEMOIZE, and a put
    at its end, are an append to `dense`.
    """

    __slots__ = ("_holes", "_text", "_trimmed", "dense", "far", "regular")

    def __init__(self) -> None:
        self.dense: list[object] = []
        self.far: dict[int, object] = {}
        self.regular = True
        self._holes = 0
        self._trimmed = 0
        self._text = 0

    def put(self, index: int, value: object) -> None:
        """Put a value away."""
        dense = self.dense
        gap = index - len(dense)
        if gap < 0:
            self._holes -= dense[index] is NOTHING
            late = index < self._trimmed and type(value) in TRIMMED
            dense[index] = FORGOTTEN if late else value
        elif gap <= _GAP_KEPT and not self.far:
            dense.extend([NOTHING] * gap)
            self._holes += gap
            dense.append(value)
        else:
            self.far[index] = value
        self.regular = not self._holes and not self.far

    def memoize(self, value: object) -> None:
        """Put it where MEMOIZE does: at the number of entries, which may be taken."""
        self.put(len(self.dense) - self._holes + len(self.far), value)

    def get(self, index: int) -> object:
        """Give what was put away, or raise Fault."""
        value = self.dense[index] if 0 <= index < len(self.dense) else self.far.get(index, NOTHING)
        if value is NOTHING:
            raise Fault(f"it asks for entry {index} of its memo, which it never filled")
        return value

    def trim(self, recent: int) -> None:
        """Let go of literals before the `recent` newest: containers, and texts over a bound."""
        dense = self.dense
        for index in range(self._trimmed, len(dense) - recent):
            value = dense[index]
            if type(value) is str:
                self._text += len(value) + 60
                if self._text > MAX_TEXT:
                    dense[index] = FORGOTTEN
            elif type(value) in TRIMMED:
                dense[index] = FORGOTTEN
            self._trimmed = index + 1
