"""Reading and writing artifacts: the only file I/O on them.

A source gives the head's bytes and then the body, into fresh memory of this process that
nobody else can write to, hashed leaf by leaf as it arrives. A target takes an envelope
front to back. Nothing here knows a key or judges a byte.
"""

from pickleseal.storage.expansion import compressed, expanded
from pickleseal.storage.files import Path, Readable, Writable
from pickleseal.storage.regular import RegularFile, open_envelopes
from pickleseal.storage.source import Body, MemorySource, Source, open_source
from pickleseal.storage.target import (
    TEMPORARY_PREFIX,
    TEMPORARY_SUFFIX,
    Finish,
    join,
    write,
    write_whole,
)

__all__ = [
    "TEMPORARY_PREFIX",
    "TEMPORARY_SUFFIX",
    "Body",
    "Finish",
    "MemorySource",
    "Path",
    "Readable",
    "RegularFile",
    "Source",
    "Writable",
    "compressed",
    "expanded",
    "join",
    "open_envelopes",
    "open_source",
    "write",
    "write_whole",
]
