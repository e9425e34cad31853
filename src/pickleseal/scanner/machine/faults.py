"""The one way in which a walk over a pickle ends before its STOP."""


class Fault(Exception):  # noqa: N818 - a signal between the rooms of the walk
    """No unpickler goes on from here, or the walk cannot: then `limited` is true."""

    def __init__(self, reason: str, *, limited: bool = False) -> None:
        super().__init__(reason)
        self.limited = limited
