"""Names that a pickle refers to: as they are spelled, called today, and allowed."""

from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections.abc import Iterable
from typing import NamedTuple, Self

from pickleseal.errors import shown


class Allowed(NamedTuple):
    """The names that a caller lets a pickle refer to: whole modules, and single names."""

    names: frozenset[str]
    beginnings: tuple[str, ...]

    @classmethod
    def of(cls, allow: Iterable[str]) -> Self:
        """Take modules ("sklearn": it and all below it) and names ("builtins.set")."""
        if isinstance(allow, str):
            raise TypeError("allow takes a list of modules and names, not one text")
        if not isinstance(allow, Iterable):
            raise TypeError(f"allow takes a list of modules and names, not {type(allow).__name__}")
        names = frozenset(allow)
        for name in names:
            if not isinstance(name, str):
                raise TypeError(f"allow takes a list of texts, not {type(name).__name__}")
            if "*" in name:
                raise ValueError(
                    f"allow takes modules and names as they are, not {shown(repr(name))}"
                )
        return cls(names, tuple(f"{name}." for name in names))

    def has(self, module: str, name: str) -> bool:
        """Tell whether a name of a module is one of them, as it is spelled."""
        # A path of attributes can lead out of a module, to what that has imported itself.
        if f"{module}.{name}" in self.names:
            return True
        return "." not in name and f"{module}.".startswith(self.beginnings)


def today_of(module: str, name: str) -> tuple[str, str]:
    """Give a name of Python 2 as it is called today; any other as it is.

    pickle does so for streams of protocol 0 to 2, and for no others.
    """
    return NAME_MAPPING.get((module, name)) or (IMPORT_MAPPING.get(module, module), name)


def modules_of(names: Iterable[tuple[str, str]]) -> set[str]:
    """Give the top-level modules that names lead to, those of Python 2 under today's name too."""
    modules = set()
    for pair in names:
        for module, _ in (pair, today_of(*pair)):
            modules.add(module.partition(".")[0])
    return modules
