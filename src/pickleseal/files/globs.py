"""Globs that select paths.

`*` matches any characters, `/` too. A glob without `/` is matched with the last part of a path. One
with `/` is matched with the absolute path or URL, relative to the current folder unless it begins
with `*`.
"""

import fnmatch
import os
from collections.abc import Iterable
from typing import NamedTuple, Self

from pickleseal.files.places import absolute


class Globs(NamedTuple):
    """Globs for the last part of a path, and globs for the absolute path."""

    names: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()

    @classmethod
    def of(cls, globs: Iterable[str]) -> Self:
        """Parse globs that are relative to the current folder."""
        names, paths = [], []
        for glob in (one.rstrip("/" + os.sep) for one in globs):
            if os.path.basename(glob) == glob:
                names.append(glob)
            else:
                of_urls = "://" in glob  # of which a path's rules would drop a slash
                anywhere = glob if of_urls else os.path.normpath(glob)
                paths.append(anywhere if glob.startswith("*") else absolute(glob))
        return cls(tuple(names), tuple(paths))

    def fit(self, path: str) -> bool:
        """Return whether one of the globs matches a path."""
        if not (self.names or self.paths):
            return False
        last = os.path.basename(path)
        if any(fnmatch.fnmatchcase(last, glob) for glob in self.names):
            return True
        if not self.paths:
            return False
        whole = absolute(path)
        return any(fnmatch.fnmatchcase(whole, glob) for glob in self.paths)
