"""Files below some paths, each of which something is done to."""

import stat
from collections.abc import Iterator
from contextlib import contextmanager

from pickleseal.envelope.source import Source, open_path
from pickleseal.files.walk import Found


@contextmanager
def open_found(found: Found) -> Iterator[tuple[Source, int]]:
    """Open a file that a walk found as one envelope, of which nothing may be left over.

    Yield its source and its mode. Below a folder it is what was seen there: a link that came in its
    place is not followed.
    """
    folder = None if found.folder is None else found.folder.descriptor
    with open_path(found.path, follow=found.named, folder=folder) as (source, status):
        yield source, stat.S_IMODE(status.st_mode) & 0o777
