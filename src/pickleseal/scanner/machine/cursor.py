"""Bytes from front to back: a window on an input of any size, in bounded memory."""

from collections.abc import Callable

from pickleseal.scanner.machine.faults import Fault

MAX_LINE = 64 << 20
"""The longest line, in bytes."""
_WINDOW = 1 << 16
LINE_KEPT = 1 << 16
"""How many bytes of a line `line` returns, plus one if it is longer."""


class EndOfInput(Exception):  # noqa: N818 - a signal between two rooms, which no caller sees
    """The input ends too early."""


class Cursor:
    """Bytes from front to back, in bounded memory.

    `read` returns up to the requested number of bytes, none only at the end. `skip` skips up to as
    many bytes without reading them and returns how many; if it is None, they are read.

    A walk may read `data` from `at` on directly; it must update `at` before it calls a method.
    `ended` is true where nothing follows `data`.
    """

    __slots__ = ("_read", "_skip", "_start", "at", "data", "ended")

    def __init__(
        self, read: Callable[[int], bytes], skip: Callable[[int], int] | None = None
    ) -> None:
        self._read = read
        self._skip = skip
        self._start = 0
        self.data = b""
        self.at = 0
        self.ended = False

    @property
    def position(self) -> int:
        """Return the offset of the next byte."""
        return self._start + self.at

    def fill(self, size: int) -> int:
        """Fill `data` with `size` bytes from `at` on, fewer only at the end; return how many."""
        held = len(self.data) - self.at
        if held >= size or self.ended:
            return max(held, 0)
        pieces = [self.data[self.at :]]
        while held < size:
            piece = self._read(max(_WINDOW, size - held))
            if not piece:
                self.ended = True
                break
            pieces.append(piece)
            held += len(piece)
        self._start += self.at
        self.data = b"".join(pieces)
        self.at = 0
        return held

    def peek(self, size: int) -> bytes:
        """Return up to `size` bytes, 64 KiB at most, without moving; fewer only at the end."""
        self.fill(size)
        return self.data[self.at : self.at + size]

    def take(self, size: int) -> bytes:
        """Return exactly `size` bytes, or raise EndOfInput."""
        if len(self.data) - self.at < size and self.fill(size) < size:
            raise EndOfInput
        start = self.at
        self.at = start + size
        return self.data[start : self.at]

    def skip(self, size: int) -> None:
        """Skip exactly `size` bytes, or raise EndOfInput."""
        held = len(self.data) - self.at
        if size <= held:
            self.at += size
            return
        self._drop()
        size -= held
        while size and not self.ended:
            passed = 0 if self._skip is None else self._skip(size)
            if not passed:
                passed = len(self._read(min(size, _WINDOW)))
                self.ended = not passed
            size -= passed
            self._start += passed
        if size:
            raise EndOfInput

    def line(self) -> bytes:
        """Return the bytes up to a line feed, without it, or raise EndOfInput where there is none.

        A line that is longer than LINE_KEPT is passed over whole; one byte more than that of it
        is returned. One that is longer than MAX_LINE is a Fault.
        """
        found = self.data.find(b"\n", self.at)
        size = 256
        while found < 0 and size <= LINE_KEPT:
            size *= 4
            if self.fill(size) < size and self.data.find(b"\n", self.at) < 0:
                raise EndOfInput
            found = self.data.find(b"\n", self.at)
        start = self.at
        if 0 <= found <= start + LINE_KEPT:
            self.at = found + 1
            return self.data[start:found]
        kept = self.data[start : start + LINE_KEPT + 1]
        limit = self._start + start + MAX_LINE
        while found < 0:
            self._drop()
            if self._start > limit:
                raise Fault(f"a line exceeds {MAX_LINE >> 20} MiB", limited=True)
            if not self.fill(1):
                raise EndOfInput
            found = self.data.find(b"\n")
        self.at = found + 1
        return kept

    def _drop(self) -> None:
        self._start += len(self.data)
        self.data = b""
        self.at = 0
