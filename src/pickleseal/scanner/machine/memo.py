"""The memo of a walk: the values that the stream stores, in bounded memory."""

from pickleseal.scanner.machine.faults import Fault, Skipped
from pickleseal.scanner.machine.values import (
    FORGOTTEN,
    LOST,
    NOTHING,
    Dict,
    Dtype,
    List,
    Result,
    Set,
    Wrapper,
    faded,
    keep,
)

MAX_TEXT = 48 << 20
"""Bytes that the texts and dtypes of older entries may take."""

_GAP_KEPT = 64
_DTYPE_COST = 100


class Memo:
    """Stored values by index: a list, and a dict for large indices.

    `regular` is true while the list has no gaps and the dict is empty. Then MEMOIZE, and a put
    at its end, are an append to `dense`. `changed`: an entry was overwritten. `skipped`: entries of
    objects that were passed over are NOTHING, and to read or set one raises Skipped.
    """

    __slots__ = ("_holes", "_text", "_trimmed", "changed", "dense", "far", "regular", "skipped")

    def __init__(self) -> None:
        self.dense: list[object] = []
        self.far: dict[int, object] = {}
        self.regular = True
        self.changed = False
        self.skipped = False
        self._holes = 0
        self._trimmed = 0
        self._text = 0

    def put(self, index: int, value: object) -> None:
        """Store a value."""
        dense = self.dense
        gap = index - len(dense)
        if gap < 0:
            if self.skipped:
                raise Skipped
            self.changed = True
            self._holes -= dense[index] is NOTHING
            dense[index] = self._late(value) if index < self._trimmed else value
        elif gap <= _GAP_KEPT and not self.far:
            dense.extend([NOTHING] * gap)
            self._holes += gap
            dense.append(value)
        else:
            self.far[index] = self._late(value)
        self.regular = not self._holes and not self.far

    def memoize(self, value: object) -> None:
        """Store a value where MEMOIZE does: at the number of entries, which may be taken."""
        self.put(len(self.dense) - self._holes + len(self.far), value)

    def get(self, index: int) -> object:
        """Return a stored value; raise Fault if there is none."""
        value = self.dense[index] if 0 <= index < len(self.dense) else self.far.get(index, NOTHING)
        if value is NOTHING:
            if self.skipped:
                raise Skipped
            raise Fault(f"it reads memo entry {index}, which was never set")
        return value

    def trim(self, recent: int) -> None:
        """Keep only the newest `recent` values; older ones shrink to some texts and dtypes."""
        dense, start, end = self.dense, self._trimmed, len(self.dense) - recent
        if end <= start:
            return
        self._trimmed = end
        chunk = dense[start:end]
        aging = _AGING if self._text <= MAX_TEXT else _AGING_ALL
        self._text += sum(_size(value) for value in chunk if type(value) in _SIZED)
        dense[start:end] = [_older(value) if type(value) in aging else value for value in chunk]

    def _late(self, value: object) -> object:
        """Return the value that represents another among the older entries."""
        if type(value) in _SIZED:
            self._text += _size(value)
            return _older(value) if self._text > MAX_TEXT else value
        return _older(value)


def _size(value: object) -> int:
    return _DTYPE_COST if type(value) is Dtype else value.__sizeof__()


def _older(value: object) -> object:
    """Return the older value's representative, which takes no memory of its own."""
    if type(value) is Result:
        return value.of.old[value.plain]
    if type(value) in _HOLDING and (_is_to_be_filled(value) or not keep((value,))):
        return LOST
    return FORGOTTEN if type(value) is Dict else faded(value)


def _is_to_be_filled(value: object) -> bool:
    """Return whether a container may get objects yet, as that of a model around many others.

    What has some counts as such, and is not marked: nothing was taken for plain that holds it.
    """
    if type(value) is List:
        return not (value.size and value.plain)
    return type(value) is Dict and not ((value.others or value.fields) and value.plain)


_SIZED = frozenset({str, Dtype})
_HOLDING = frozenset({tuple, Dict, List, Set})
_AGING = frozenset({tuple, int, List, Set, Dict, Wrapper, Result})
_AGING_ALL = _AGING | _SIZED
