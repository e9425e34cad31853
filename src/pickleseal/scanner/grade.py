"""The contents of a file, read from its bytes alone, and their grade."""

from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple


class Grade(IntEnum):
    """What unpickling a file would reach for; a larger number is more severe.

    None of them says that a file is safe. *Data only* and *unknown names* are given only where
    every byte is accounted for.
    """

    DATA = 0
    """Every name is on the list of data and model classes."""
    UNKNOWN = 1
    """Some names are not on the list."""
    CANNOT_TELL = 2
    """Not every byte of it is accounted for: a reader may do more with it than was followed."""
    BEYOND = 3
    """Names that run, import, write or open, or that reach code by construction."""

    @property
    def label(self) -> str:
        """The grade in words."""
        return _GRADES[self]


_GRADES = {
    Grade.DATA: "data only",
    Grade.UNKNOWN: "unknown names",
    Grade.CANNOT_TELL: "cannot be told",
    Grade.BEYOND: "reaches beyond",
}


TRUNCATED = "it is truncated"
UNKNOWN_KIND = "unknown"
"""The kind of contents of no known format."""


class GradedName(NamedTuple):
    """A name that unpickling would look up, and its grade.

    Attributes
    ----------
    module : str
        The module, as the unpickler would import it.
    name : str
        The name in it, with dots where it is reached through another one.
    grade : Grade
        What the name reaches for.
    known : bool
        True if the name is on no list, and its module is listed as known.
    """

    module: str
    name: str
    grade: Grade
    known: bool = False

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


class Contents(NamedTuple):
    """The contents of an artifact, read from its bytes alone without unpickling them.

    Attributes
    ----------
    kind : str
        What it is, from the outside in, such as "pickle, protocol 4", "joblib, zlib" or
        "zip > pickle, protocol 2".
    grade : Grade
        The gravest grade of its pickles.
    pickles : int
        Number of pickles that were followed.
    names : tuple of GradedName
        The names that they would look up, each once, the gravest first.
    reasons : tuple of str
        What else the grade rests on, a sentence each without a full stop.
    """

    kind: str
    grade: Grade
    pickles: int = 1
    names: tuple[GradedName, ...] = ()
    reasons: tuple[str, ...] = ()

    @property
    def truncated(self) -> bool:
        """Whether its one pickle ends too early, which is all that is known of it."""
        cut_off = any(TRUNCATED in reason for reason in self.reasons)
        return cut_off and self.pickles == 1 and self.grade is Grade.CANNOT_TELL

    @property
    def wrapping(self) -> str | None:
        """The layer that neither pickle.load nor joblib.load opens, such as "tar", or None."""
        first, *inside = self.kind.split(" > ")
        if first.startswith(_NOT_OPENED):
            return first
        return inside[0] if len(inside) > 1 else None


_NOT_OPENED = ("zip", "tar", "numpy object array", "zstd", "deflate")
_JUDGED = {
    Grade.DATA: "imports only known data and model classes",
    Grade.UNKNOWN: "imports unknown names",
    Grade.CANNOT_TELL: "cannot tell what it does",
    Grade.BEYOND: "reaches beyond data",
}
NAMES_TOLD = 3
"""How many names a judgement lists."""


def judgement(contents: Contents) -> str:
    """Return a grade in words, with its main names and its first reason."""
    worst = [n for n in contents.names if n.grade is not Grade.DATA and not n.known]
    reasons = contents.reasons[:1] if contents.grade >= Grade.CANNOT_TELL else ()
    if contents.grade is Grade.DATA and any(n.known for n in contents.names):
        known = _listed([n for n in contents.names if n.known])
        return f"{_JUDGED[Grade.DATA]}, and names in modules listed as known{known}"
    return _JUDGED[contents.grade] + _listed(worst, reasons)


def _listed(names: Sequence[GradedName], reasons: Sequence[str] = ()) -> str:
    more = len(names) - NAMES_TOLD
    listed = ", ".join(map(str, names[:NAMES_TOLD])) + (f" and {more:,} more" if more > 0 else "")
    texts = [*filter(None, [listed]), *reasons]
    return f": {', '.join(texts)}" if texts else ""
