"""The contents of a file, read from its bytes alone, and their grade."""

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
        True if the name is on no list and the audit was told that its module is known.
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
