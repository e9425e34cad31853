"""Globs for paths: which files somebody means.

`*` stands for any characters, `/` too. A glob without `/` is held against the last part of a path.
One with `/` is held against the whole path, from the folder in which it was written down, or from
anywhere if it begins with `*`. How the path itself was typed makes no difference.
"""

import fnmatch
import os
from collections.abc import Iterable
from typing import NamedTuple, Self


class Globs(NamedTuple):
    """Some globs: those for the last part of a path, and those for the whole of it."""

    names: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()

    @classmethod
    def of(cls, globs: Iterable[str], folder: str) -> Self:
        """Take globs that were written down in a folder."""
        names, paths = [], []
        for glob in (one.rstrip("/" + os.sep) for one in globs):
            if os.path.basename(glob) == glob:
                names.append(glob)
            else:
                start = "" if glob.startswith("*") else folder
                paths.append(os.path.normpath(os.path.join(start, glob)))
        return cls(tuple(names), tuple(paths))

    def fit(self, path: str) -> bool:
        """Tell whether one of the globs fits a path."""
        last = os.path.basename(path)
        if any(fnmatch.fnmatchcase(last, glob) for glob in self.names):
            return True
        if not self.paths:
            return False
        whole = os.path.abspath(path)
        return any(fnmatch.fnmatchcase(whole, glob) for glob in self.paths)
