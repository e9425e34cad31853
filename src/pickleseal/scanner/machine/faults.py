"""The exceptions that end a walk over a pickle before its STOP."""


class Fault(Exception):  # noqa: N818 - a signal between the rooms of the walk
    """No unpickler continues from here, or, if `limited` is true, the walk cannot."""

    def __init__(self, reason: str, *, limited: bool = False) -> None:
        super().__init__(reason)
        self.limited = limited


class Skipped(Exception):  # noqa: N818 - as above
    """The stream reads what was passed over: it must be walked without passing over anything."""
