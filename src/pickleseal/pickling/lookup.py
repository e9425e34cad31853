"""Looking up the names that a pickle refers to: which are permitted, and what they stand for."""

import pickle
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from pickleseal.envelope.metadata import Metadata
from pickleseal.errors import PolicyError, shown
from pickleseal.pickling import opcodes, versions
from pickleseal.pickling.names import Allowed, today_of

CLOUDPICKLE_HINT = 'pickler="cloudpickle" saves lambdas, and what a script or notebook defines'
_PANDAS_HINT = (
    "pandas.read_pickle maps names of older versions to today's, and signed_load does not: run"
    " pickleseal extract, which checks the seal and writes the plain pickle, load that with"
    " pandas.read_pickle, and save it with signed_dump"
)
_LAST_PROTOCOL_OF_PYTHON_2 = 2


class Lookup:
    """The names that one verified pickle may refer to."""

    def __init__(self, metadata: Metadata, allow: Allowed | None) -> None:
        self._metadata = metadata
        self._listed = None if metadata.imports is None else frozenset(metadata.imports)
        self._allow = allow

    def find(
        self, find_class: Callable[[str, str], Any], module: str, name: str, *, of_python_2: bool
    ) -> Any:  # noqa: ANN401 - any class or function
        """Return what a name stands for, looked up with `find_class`.

        With `of_python_2` a name of Python 2 is looked up, and must be allowed, as the name it
        has today. Raises PolicyError, before anything is looked up, for a name that the sealed
        imports do not list or `allow` does not have.
        """
        if self._listed is not None and (module, name) not in self._listed:  # 8.8
            raise PolicyError(
                f"it refers to {shown(module)}.{shown(name)}, which is not among its sealed imports"
            )
        wanted = today_of(module, name) if of_python_2 else (module, name)
        if self._allow is not None and not self._allow.has(*wanted):  # 8.9
            old = "" if wanted == (module, name) else f" ({module}.{name} in Python 2)"
            raise PolicyError(
                f"it refers to {shown('.'.join(wanted) + old)}, which allow does not have"
            )
        try:
            return find_class(*wanted)
        except (ImportError, AttributeError) as error:
            self._explain(error, *wanted)
            raise

    def _explain(self, error: ImportError | AttributeError, module: str, name: str) -> None:
        """Add a note on the version that the object was sealed with."""
        if module == "__main__":
            error.add_note(CLOUDPICKLE_HINT)
            return
        # A module that is there may fail to import another one, of another package.
        missing = (isinstance(error, ImportError) and error.name) or module
        sealed = self._metadata.versions or {}
        note = f"It asks for {module}.{name}: {versions.compared(missing, sealed)}"
        if missing.partition(".")[0] == "pandas":
            note += f". {_PANDAS_HINT}"
        error.add_note(shown(note))


class Python2(NamedTuple):
    """How a pickle of Python 2 is read: the keywords of `pickle.load`."""

    fix_imports: bool = True
    encoding: str = "ASCII"
    errors: str = "strict"


_AS_PICKLE = Python2()


class Unpickler(pickle.Unpickler):
    """An unpickler that finds names through a `Lookup`, for a stream that begins with `start`."""

    def __init__(
        self,
        file: Any,  # noqa: ANN401 - its reads may give any bytes-like object
        start: bytes | memoryview,
        lookup: Lookup,
        old: Python2 = _AS_PICKLE,
        buffers: Iterable[Any] | None = None,
    ) -> None:
        # Old names are the lookup's business: what is looked up must be what was checked.
        super().__init__(
            file, fix_imports=False, encoding=old.encoding, errors=old.errors, buffers=buffers
        )
        self._lookup = lookup
        self._of_python_2 = old.fix_imports and is_of_python_2(opcodes.protocol_of(start))

    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401 - as in pickle
        """Return what a name stands for, if the pickle may refer to it."""
        return self._lookup.find(super().find_class, module, name, of_python_2=self._of_python_2)


def is_of_python_2(protocol: int) -> bool:
    """Return whether a stream of this protocol may have names of Python 2."""
    return protocol <= _LAST_PROTOCOL_OF_PYTHON_2
