"""What pickles look up: the names that an unpickler asks for, and what it does with each."""

from __future__ import annotations

import importlib
import inspect
import io
import pickle
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    Names = dict[tuple[str, str], set[str]]

CALLED, MADE, BUILT, FILLED = "c", "m", "b", "i"
HANDED, HOLDING, HASHED, PLAIN, VALUE = "a", "o", "k", "p", "v"


class Recorder:
    """Notes each name that an unpickler looks up, and what it does with it."""

    def __init__(self) -> None:
        self.names: Names = {}
        self._spelled: dict[int, tuple[str, str]] = {}
        self._given: dict[int, tuple[str, str]] = {}
        self._kept: list[Any] = []

    def looked_up(self, module: str, name: str, found: Any) -> None:
        self.names.setdefault((module, name), set())
        self._spelled[id(found)] = (module, name)
        self._kept.append(found)

    def used(self, found: Any, how: str, result: Any) -> None:
        spelled = self._spelled.get(id(found))
        if spelled is not None:
            self.names[spelled].add(how)
            self._given[id(result)] = spelled
            self._kept.append(result)

    def changed(self, target: Any, how: str) -> None:
        spelled = self._given.get(id(target))
        if spelled is not None:
            self.names[spelled].add(how)

    def reader(self, base: Any) -> Any:
        """Return a subclass of a pure Python unpickler that reports here."""
        recorder = self
        dispatch = dict(base.dispatch)

        def around(code: bytes, before: Callable[[Any], Any]) -> None:
            inner = dispatch[code[0]]

            def step(unpickler: Any) -> None:
                said = before(unpickler)
                inner(unpickler)
                if said is not None:
                    recorder.used(said[0], said[1], unpickler.stack[-1])

            dispatch[code[0]] = step

        def reduce(unpickler: Any) -> Any:
            func, arguments = unpickler.stack[-2:]
            spelled = recorder._spelled.get(id(func))
            if spelled in (("copyreg", "__newobj__"), ("copyreg", "_reconstructor")):
                recorder.used(func, CALLED, None)
                return arguments[0], MADE
            return func, CALLED

        around(pickle.REDUCE, reduce)
        around(pickle.NEWOBJ, lambda unpickler: (unpickler.stack[-2], MADE))
        around(pickle.NEWOBJ_EX, lambda unpickler: (unpickler.stack[-3], MADE))
        around(pickle.BUILD, lambda unpickler: recorder.changed(unpickler.stack[-2], BUILT))
        around(pickle.APPEND, lambda reader: recorder.changed(reader.stack[-2], FILLED))
        around(pickle.SETITEM, lambda reader: recorder.changed(reader.stack[-3], FILLED))
        for code in (pickle.APPENDS, pickle.SETITEMS, pickle.ADDITEMS):
            around(code, lambda reader: recorder.changed(reader.metastack[-1][-1], FILLED))

        class Reader(base):  # type: ignore[misc]
            def find_class(self, module: str, name: str) -> Any:
                found = super().find_class(module, name)
                import _compat_pickle

                if self.proto < 3 and self.fix_imports:
                    if (module, name) in _compat_pickle.NAME_MAPPING:
                        module, name = _compat_pickle.NAME_MAPPING[(module, name)]
                    elif module in _compat_pickle.IMPORT_MAPPING:
                        module = _compat_pickle.IMPORT_MAPPING[module]
                recorder.looked_up(module, name, found)
                return found

        Reader.dispatch = dispatch
        return Reader

    def read(self, data: bytes) -> None:
        """Unpickle `data`, which this process has made itself."""
        self.reader(pickle._Unpickler)(io.BytesIO(data)).load()

    def read_joblib(self, joblib: Any, data: bytes) -> None:
        """Read what this joblib.numpy_pickle has written, in this process."""
        file = io.BytesIO(data)
        reader = self.reader(joblib.NumpyUnpickler)
        needed = inspect.signature(reader.__init__).parameters
        reader("", file, *([True] if "ensure_native_byte_order" in needed else [])).load()


def record(objects: Iterable[tuple[str, Any]]) -> Names:
    """Return the names that pickles of these objects look up, in every protocol and by joblib."""
    recorder = Recorder()
    joblibs = []
    for spelled in ("joblib", "sklearn.externals.joblib"):
        try:
            joblibs.append(importlib.import_module(spelled + ".numpy_pickle"))
        except ImportError:
            continue
    for label, value in objects:
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            try:
                recorder.read(pickle.dumps(value, protocol))
            except Exception as error:
                said = f"{label}, protocol {protocol}: {error!r}"[:200]
                print(said, file=sys.stderr)
        for joblib in joblibs:
            try:
                file = io.BytesIO()
                joblib.dump(value, file)
                recorder.read_joblib(joblib, file.getvalue())
            except Exception as error:
                print(f"{label}, joblib: {error!r}"[:200], file=sys.stderr)
    return recorder.names
