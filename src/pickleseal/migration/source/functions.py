"""The table of functions that load and dump pickles, by name, and what replaces each."""

import re
import unicodedata
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import NamedTuple


class Kind(StrEnum):
    """What a function does with a pickle."""

    LOAD = "load"
    DUMP = "dump"


class Rule(NamedTuple):
    """A function's replacement: the public name `target`. `takes` are the function's parameters.

    `alike`: the target has all of them. `more`: further arguments of the new call. `remark`: what
    the new call does not do.
    """

    target: str
    takes: tuple[str, ...]
    alike: bool = False
    more: tuple[str, ...] = ()
    remark: str | None = None

    @property
    def full_name(self) -> str:
        """The target as it is written after `import pickleseal`."""
        return f"pickleseal.{self.target}"

    @property
    def kind(self) -> Kind:
        """Whether the target, and so the function it replaces, loads or dumps."""
        return Kind.LOAD if self.target in ("signed_load", "signed_loads") else Kind.DUMP

    @property
    def leading(self) -> tuple[str, ...]:
        """The parameters that the target takes by position, in the same order."""
        return self.takes[: 2 if self.target == "signed_dump" else 1]

    @property
    def file(self) -> str | None:
        """The one of them that is a path or a file."""
        return None if self.target in ("signed_loads", "signed_dumps") else self.leading[-1]


class Words(NamedTuple):
    """Advice on a function that no single call replaces; `is_class`: it is a class."""

    kind: Kind
    advice: str
    is_class: bool = False


_CLOUD = ('pickler="cloudpickle"',)
_DILL = (
    'save it again with signed_dump(..., pickler="cloudpickle"), which also saves lambdas and'
    " definitions in __main__, and load it with signed_load"
)
_DILL_ENDS = ("", "s", "_session", "_module")
_TORCH = (
    "pass weights_only=True, or seal the file's bytes with signed_dump(data, path) and load them"
    " with torch.load(io.BytesIO(signed_load(path)))"
)
_NUMPY = (
    "leave out allow_pickle: arrays of numbers do not need it; save arrays of objects again with"
    " signed_dump, and load them with signed_load"
)
_SHELF = (
    "a shelf unpickles each value that is looked up: open it with pickleseal.integrations.shelve,"
    " and store each value anew"
)
_OLD_FRAMES = (
    "read_pickle also finds the names of an older pandas, and signed_load does not: load such a"
    " file with read_pickle once, and save it with signed_dump"
)
_UNPICKLER = (
    "signed_load(file) replaces its load(), and allow= of signed_load replaces a find_class that"
    " limits names"
)
_PICKLER = "signed_dump(obj, file) replaces its dump(obj)"
_MEMORY = (
    "joblib.Memory unpickles its cache folder: import pickleseal.integrations.joblib, and pass"
    ' backend="pickleseal"'
)

PICKLES: Mapping[str, Rule | Words] = {
    "pickle.load": Rule("signed_load", ("file",), alike=True),
    "pickle.loads": Rule("signed_loads", ("data",), alike=True),
    "pickle.dump": Rule("signed_dump", ("obj", "file", "protocol"), alike=True),
    "pickle.dumps": Rule("signed_dumps", ("obj", "protocol"), alike=True),
    "pickle.Unpickler": Words(Kind.LOAD, _UNPICKLER, is_class=True),
    "pickle.Pickler": Words(Kind.DUMP, _PICKLER, is_class=True),
    "cloudpickle.load": Rule("signed_load", ("file",), alike=True),
    "cloudpickle.loads": Rule("signed_loads", ("data",), alike=True),
    "cloudpickle.dump": Rule(
        "signed_dump", ("obj", "file", "protocol", "buffer_callback"), alike=True, more=_CLOUD
    ),
    "cloudpickle.dumps": Rule(
        "signed_dumps", ("obj", "protocol", "buffer_callback"), alike=True, more=_CLOUD
    ),
    "cloudpickle.Pickler": Words(Kind.DUMP, _PICKLER, is_class=True),
    "cloudpickle.CloudPickler": Words(Kind.DUMP, _PICKLER, is_class=True),
    "joblib.load": Rule("signed_load", ("filename", "mmap_mode", "ensure_native_byte_order")),
    "joblib.dump": Rule("signed_dump", ("value", "filename", "compress", "protocol", "cache_size")),
    "joblib.Memory": Words(Kind.LOAD, _MEMORY, is_class=True),
    "pandas.read_pickle": Rule(
        "signed_load",
        ("filepath_or_buffer", "compression", "storage_options"),
        remark=_OLD_FRAMES,
    ),
    "pandas.to_pickle": Rule(
        "signed_dump", ("obj", "filepath_or_buffer", "compression", "protocol", "storage_options")
    ),
    "dill.Unpickler": Words(Kind.LOAD, _DILL, is_class=True),
    "dill.Pickler": Words(Kind.DUMP, _DILL, is_class=True),
    **{f"dill.load{end}": Words(Kind.LOAD, _DILL) for end in _DILL_ENDS},
    **{f"dill.dump{end}": Words(Kind.DUMP, _DILL) for end in _DILL_ENDS},
    "torch.load": Words(Kind.LOAD, _TORCH),
    "numpy.load": Words(Kind.LOAD, _NUMPY),
    "shelve.open": Words(Kind.LOAD, _SHELF),
    "shelve.Shelf": Words(Kind.LOAD, _SHELF, is_class=True),
    "shelve.BsdDbShelf": Words(Kind.LOAD, _SHELF, is_class=True),
    "shelve.DbfilenameShelf": Words(Kind.LOAD, _SHELF, is_class=True),
}
"""The replacement of each function, by the function's full name."""

METHOD = "to_pickle"
"""A method that is listed whatever object has it: pandas' frames and series do."""
TO_PICKLE = Rule("signed_dump", ("self", "path", "compression", "protocol", "storage_options"))
"""Its replacement; "self" is the object."""

_IN_PYTHON = {
    f"_{name}": name for name in ("load", "loads", "dump", "dumps", "Unpickler", "Pickler")
}
"""Functions in pickle that are written in Python, and those in C that do the same."""

LAST_PARTS = frozenset(name.rpartition(".")[2] for name in (*PICKLES, METHOD)) | _IN_PYTHON.keys()
"""The last parts of all these names."""

_SAME = {
    "_pickle": "pickle",
    "cPickle": "pickle",
    "pickle5": "pickle",
    "six.moves.cPickle": "pickle",
    "cloudpickle.cloudpickle": "cloudpickle",
    "cloudpickle.cloudpickle_fast": "cloudpickle",
    "joblib.numpy_pickle": "joblib",
    "joblib.memory": "joblib",
    "sklearn.externals.joblib": "joblib",
    "sklearn.externals.joblib.numpy_pickle": "joblib",
    "sklearn.externals.joblib.memory": "joblib",
    "pandas.io.pickle": "pandas",
    "torch.serialization": "torch",
}
# A file without any of these has no mention, and needs no walk.
_SIGNS = (re.compile("[pP]ickle|joblib|dill|torch|shelve"), re.compile(r"numpy(?s:.*)\bload\b"))


def may_name_one(source: str) -> bool:
    """Return whether source can mention one of the functions at all."""
    # Python normalizes identifiers, so other letters can spell a name, too.
    plain = source if source.isascii() else unicodedata.normalize("NFKC", source)
    return any(signs.search(plain) for signs in _SIGNS)


def known_name(dotted: str) -> str:
    """Return the name under which PICKLES has a function, from any of the function's names."""
    module, _, name = dotted.rpartition(".")
    module = _SAME.get(module, module)
    return f"{module}.{_IN_PYTHON.get(name, name) if module == 'pickle' else name}"


def starred(module: str) -> Iterator[tuple[str, str]]:
    """Yield each name that `from module import *` binds to a function in PICKLES, and its key."""
    start = known_name(f"{module}.")
    for name in PICKLES:
        if name.startswith(start):
            yield name.removeprefix(start), name
