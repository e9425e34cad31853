"""The line of the user's program that a warning points at."""

import sys


def callers_level() -> int:
    """Return the `stacklevel` of the first frame outside the module that calls this."""
    frame = sys._getframe(1)  # noqa: SLF001 - warnings counts frames, and so must this
    module = frame.f_code.co_filename
    level = 1
    while frame.f_back is not None and frame.f_code.co_filename == module:
        frame = frame.f_back
        level += 1
    return level
