"""The names that a pickle refers to: those of Python 2, and those that a caller allows."""

from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections.abc import Iterable
from typing import NamedTuple, Self

from pickleseal.errors import shown


class Allowed(NamedTuple):
    """The modules and single names that a pickle may refer to."""

    names: frozenset[str]
    beginnings: tuple[str, ...]

    @classmethod
    def of(cls, allow: Iterable[str]) -> Self:
        """Read modules ("sklearn": it and all below it) and names ("builtins.set")."""
        if isinstance(allow, str):
            raise TypeError("allow takes a list of modules and names, not a single string")
        if not isinstance(allow, Iterable):
            raise TypeError(f"allow takes a list of modules and names, not {type(allow).__name__}")
        names = frozenset(allow)
        for name in names:
            if not isinstance(name, str):
                raise TypeError(f"allow takes a list of strings, not {type(name).__name__}")
            if "*" in name:
                raise ValueError(f"allow takes names without wildcards, not {shown(repr(name))}")
        return cls(names, tuple(f"{name}." for name in names))

    def has(self, module: str, name: str) -> bool:
        """Return whether a name, as it is spelled, is allowed."""
        # A dotted name can lead out of the module, into one that it imports.
        if f"{module}.{name}" in self.names:
            return True
        return "." not in name and f"{module}.".startswith(self.beginnings)


def today_of(module: str, name: str) -> tuple[str, str]:
    """Return the name that a name of Python 2 has today; any other unchanged.

    pickle maps names so in streams of protocol 0 to 2 only.
    """
    return NAME_MAPPING.get((module, name)) or (IMPORT_MAPPING.get(module, module), name)


def modules_of(names: Iterable[tuple[str, str]]) -> set[str]:
    """Return the top-level modules of names, those of Python 2 by today's name too."""
    modules = set()
    for pair in names:
        for module, _ in (pair, today_of(*pair)):
            modules.add(module.partition(".")[0])
    return modules
