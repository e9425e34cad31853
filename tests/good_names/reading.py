"""A static look at what unpickling a class would run: its source, and what that calls."""

from __future__ import annotations

import ast
import builtins
import collections
import enum
import importlib
import inspect
import pickle
import pkgutil
import sys
import textwrap
import types
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from good_names.recording import (
    BUILT,
    CALLED,
    FILLED,
    HANDED,
    HASHED,
    HOLDING,
    MADE,
    Recorder,
)

if TYPE_CHECKING:
    from good_names.recording import Names

# Where the classes of a library are looked for.
LIBRARIES = (
    "numpy", "scipy", "sklearn", "pandas", "xgboost", "lightgbm", "catboost", "ngboost", "imblearn",
    "category_encoders", "feature_engine", "umap", "hdbscan", "mlxtend", "hmmlearn", "pygam",
    "kmodes", "lifelines", "tslearn", "pmdarima", "skorch", "statsmodels", "patsy", "formulaic",
    "polars", "xarray", "shapely", "networkx", "torch.nn.modules",
    "torch.optim", "torch.distributions", "gensim", "pint", "dateutil", "pytz",
    "attr", "sortedcontainers", "multidict", "yarl", "frozendict", "bitarray", "arrow", "pendulum",
    "packaging", "optuna", "hyperopt", "skops", "h5py", "py7zr", "psutil", "sksurv", "shap",
    "interpret", "arch",
)  # fmt: skip

# Names that run what their state or their arguments say, open, write or remember files.
REFUSED_CLASSES = (
    "rv_generic",  # its state holds the source of a function
    "rv_frozen",  # makes the former
    "memmap",  # opens and makes files
    "DataSource",
    "NpzFile",
    "Memory",  # makes folders
    "MemorizedFunc",
    "NDArrayWrapper",  # has other files read, also such as hold pickles
)

# Calls that data code has no need of, wherever they stand below an object's making.
_DENIED_CALLS = frozenset({
    "CDLL", "CodeType", "FunctionType", "ModuleType", "Popen", "__import__", "attrgetter",
    "check_call", "check_output", "compile", "eval", "exec", "execfile", "fromfile", "genfromtxt",
    "import_module", "import_optional_dependency", "load", "load_library", "loads", "loadtxt",
    "makedirs", "memmap", "methodcaller", "mkdir", "mkdtemp", "mkstemp", "open", "open_memmap",
    "popen", "read_csv", "read_pickle", "rmdir", "rmtree", "save", "savetxt", "savez", "system",
    "to_csv", "to_pickle", "tofile", "unlink", "urlopen", "urlretrieve",
})  # fmt: skip
_DENIED_MODULES = frozenset({
    "cPickle", "code", "codeop", "ctypes", "ftplib", "http", "imp", "importlib", "marshal",
    "multiprocessing", "pdb", "pickle", "pty", "runpy", "shelve", "shutil", "smtplib", "socket",
    "subprocess", "tempfile", "urllib",
})  # fmt: skip
_IMPLICIT = (
    "__new__", "__init__", "__setstate__", "__del__", "__setattr__", "__delattr__", "__getattr__",
    "__getattribute__", "__hash__", "__eq__", "__len__", "__bool__", "__iter__", "__index__",
    "__setitem__", "append", "extend", "add", "__array_finalize__", "__init_subclass__", "__call__",
)  # fmt: skip

# Other packages that a function may import while it runs, since they act on nothing by themselves.
_HARMLESS_IMPORTS = frozenset({
    "__future__", "abc", "array_api_compat", "collections", "copy", "dataclasses", "datetime",
    "decimal", "enum", "fractions", "functools", "heapq", "inspect", "itertools", "logging",
    "math", "numbers", "numpy", "operator", "pandas", "random", "re", "scipy", "string",
    "textwrap", "time", "types", "typing", "typing_extensions", "warnings", "weakref",
})  # fmt: skip

# Attributes that an object calls with what it is called with itself, or with an array: no more can
# be done by them than by what they are.
_HANDED_ON = frozenset({"_asarray", "_compiled_call_impl", "k1", "k2", "kernel"})
# Methods that collections call where they are made of an object, and attributes that networkx and
# sortedcontainers set themselves in objects that have them.
_READ = ("__iter__", "__next__", "__len__", "__getitem__", "__contains__", "__hash__", "__eq__")
_SET_ANEW = frozenset({"_key", "_list_iter", "_nodes_nbrs", "_report"})
_NO_DATA = (
    "scipy._lib", "scipy._external", "scipy.io", "scipy.odr", "scipy.datasets", "numpy.distutils",
    "numpy.f2py", "numpy.testing", "numpy.ctypeslib", "numpy._typing", "numpy.typing", "numpy.doc",
    "numpy.compat", "numpy._pyinstaller", "numpy.lib._datasource", "numpy.lib.npyio", "numpy.array_api",
    "pandas.io", "pandas.core.computation", "pandas.plotting", "pandas._config", "pandas._testing",
    "pandas.util", "pandas.core.interchange", "pandas.compat", "pandas.core._numba", "pandas._version",
    "sklearn.externals", "sklearn.datasets", "sklearn.callback", "sklearn.utils._repr_html",
    "sklearn.utils.parallel", "sklearn.utils._testing", "sklearn.utils._mocking",
    "sklearn.utils.estimator_checks", "sklearn.utils._test_common", "sklearn.utils.testing",
    "sklearn.utils._plotting", "sklearn.inspection._plot", "sklearn.utils.mocking",
    "sklearn.utils.deprecation", "sklearn.utils._pprint", "sklearn._build_utils",
    "xgboost.dask", "xgboost.spark", "xgboost.testing", "xgboost.tracker", "lightgbm.dask",
    "catboost.widget", "imblearn.keras", "imblearn.tensorflow", "imblearn.datasets",
    "feature_engine.datasets", "mlxtend.data", "lifelines.datasets", "tslearn.datasets",
    "pmdarima.datasets", "statsmodels.datasets", "statsmodels.graphics", "statsmodels.iolib",
    "statsmodels.sandbox", "skorch.hf",
    "patsy", "formulaic", "polars", "xarray.backends", "xarray.core.datatree_render",
    "xarray.tutorial", "xarray.plot", "networkx.drawing", "networkx.readwrite", "networkx.utils",
    "torch.utils.data.datapipes", "gensim.scripts", "gensim.downloader", "gensim.interfaces",
    "gensim.corpora", "gensim.models.wrappers", "nltk", "pint", "optuna.storages", "optuna.integration", "optuna.cli", "optuna.artifacts",
    "optuna.visualization", "hyperopt", "skops", "h5py", "py7zr", "psutil", "PIL", "smart_open",
    "shap.plots", "shap.datasets", "shap.benchmark", "interpret.visual", "interpret.provider",
    "interpret.ext", "interpret.develop", "interpret.utils._native",
    "interpret.utils._shared_dataset", "shap._serializable", "shap.actions",
    "shap.explainers.pytree", "shap.utils._general", "sksurv.datasets", "sksurv.io", "arch.compat",
    "arch.data", "arch.utility", "arch.vendor",
    "sqlalchemy", "pydantic", "tqdm", "arrow", "pendulum", "yarl", "packaging",
)  # fmt: skip
_NO_TESTS = (
    "__main__", "test", "tests", "testing", "conftest", "_testing", "f2py", "distutils", "setup",
)  # fmt: skip


def modules(package: str) -> Iterator[Any]:
    """Yield each module of a package, without its tests."""
    try:
        root = importlib.import_module(package)
    except ImportError:
        return
    yield root

    def walk(path: Any, prefix: str) -> Iterator[str]:
        for info in pkgutil.iter_modules(path, prefix):
            last = info.name.rpartition(".")[2]
            if last in _NO_TESTS or last.startswith("test_"):
                continue
            yield info.name
            if info.ispkg:
                found = sys.modules.get(info.name) or load(info.name)
                if found is not None:
                    yield from walk(found.__path__, info.name + ".")

    def load(name: str) -> Any:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return importlib.import_module(name)
        except BaseException:
            return None

    for name in walk(root.__path__, package + "."):
        found = load(name)
        if found is not None:
            yield found


def faults(function: Any, cls: type, depth: int, seen: set[Any]) -> Iterator[str]:
    """Yield what stands in a function, or below it, that data code has no need of."""
    function = inspect.unwrap(getattr(function, "__func__", function))
    code = getattr(function, "__code__", None)
    if code is None or code in seen:
        return
    # What namedtuple and dataclass write, and what collections.abc has, only moves values about.
    if code.co_filename.startswith("<string>") or function.__module__ == "collections.abc":
        return
    seen.add(code)
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError, IndentationError):
        yield "no source of " + function.__qualname__
        return
    space = dict(function.__globals__)
    yield from imported(tree, function, space)
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        func = node.func
        if isinstance(func, ast.Call) and getattr(func.func, "id", "") == "getattr":
            yield "calls what getattr gave, in " + function.__qualname__
            continue
        name = getattr(func, "id", None) or getattr(func, "attr", "")
        if name in _DENIED_CALLS and ast.dump(func).count("'re'") == 0:
            yield f"calls {name} in {function.__qualname__}"
        root = func
        while isinstance(root, ast.Attribute):
            root = root.value
        first = getattr(root, "id", "")
        if isinstance(func, ast.Attribute) and first in _DENIED_MODULES:
            yield f"reaches for {first} in {function.__qualname__}"
        if (
            isinstance(func, ast.Attribute)
            and first == "os"
            and not any(
                harmless in ast.dump(func)
                for harmless in ("'path'", "'environ'", "'fspath'", "'cpu_count'")
            )
        ):
            yield "reaches for os in " + function.__qualname__
        if depth:
            target = None
            if isinstance(func, ast.Name):
                target = space.get(func.id)
            elif isinstance(func, ast.Attribute) and (
                first in ("self", "cls")
                or (
                    isinstance(func.value, ast.Call)
                    and getattr(func.value.func, "id", "") == "super"
                )
            ):
                target = getattr(cls, func.attr, None)
            if isinstance(target, type):
                target = target.__init__  # type: ignore[misc]
            if isinstance(target, (types.FunctionType, types.MethodType)):
                yield from faults(target, cls, depth - 1, seen)


def imported(tree: ast.AST, function: Any, space: dict[str, Any]) -> Iterator[str]:
    """Yield the imports inside a function that lead elsewhere; put the others into its names."""
    package = function.__module__.partition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            wanted = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            wanted = ["." * node.level + (node.module or "")]
        else:
            continue
        for name in wanted:
            if name.partition(".")[0] not in ("", package, *_HARMLESS_IMPORTS):
                yield f"imports {name} in {function.__qualname__}"
                continue
            try:
                found = importlib.import_module(name, function.__globals__.get("__package__"))
            except ImportError:
                continue
            for alias in node.names:
                value = getattr(found, alias.name, None)
                if isinstance(node, ast.ImportFrom) and value is not None:
                    space[alias.asname or alias.name] = value


def call_faults(function: Any, cls: type, depth: int, seen: set[Any]) -> Iterator[str]:
    """Yield which attributes an object calls, or looks up by a name of its own, in a method.

    Its attributes are the pickle's: so it calls anything with anything, or reaches any method.
    """
    function = inspect.unwrap(function)
    code = getattr(function, "__code__", None)
    if code is None or code in seen:
        return
    seen.add(code)
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError, IndentationError):
        return
    for node in ast.walk(tree):
        func = node.func if isinstance(node, ast.Call) else None
        if (
            isinstance(node, ast.Call)
            and isinstance(func, ast.Name)
            and func.id == "getattr"
            and type(node.args[1]).__name__ not in ("Constant", "Str")
        ):
            yield "looks up an attribute by a name that it keeps, in " + function.__qualname__
        if not isinstance(func, ast.Attribute) or getattr(func.value, "id", "") != "self":
            continue
        method = getattr(cls, func.attr, None)
        if isinstance(method, property) or func.attr.startswith("__"):
            continue  # no state sets it
        if not callable(method) and func.attr not in _HANDED_ON:
            yield f"calls its attribute {func.attr} in {function.__qualname__}"
        elif isinstance(method, types.FunctionType) and depth:
            yield from call_faults(method, cls, depth - 1, seen)


def class_faults(cls: type, *, with_calls: bool = True) -> Iterator[str]:
    """Yield what an unpickler could set off in a class that data code has no need of.

    `with_calls` is false for a class that pickles only make by `__new__`.
    """
    if issubclass(cls, enum.Enum):
        missing = getattr(cls._missing_, "__func__", None)
        if missing is not enum.Enum._missing_.__func__:  # type: ignore[attr-defined]
            yield from faults(missing, cls, 3, set())
        return
    for base in cls.__mro__:
        if base.__name__ in REFUSED_CLASSES:
            yield "is a " + base.__name__
        if base.__name__ in ("Thread", "Process", "Popen", "IOBase", "ModuleType", "type"):
            yield "is a " + base.__name__
    if any(
        base.__module__.split(".")[0] in ("ast", "threading", "io", "_io") for base in cls.__mro__
    ):
        yield "is of a module that is no data's"
    if any(isinstance(found, types.FunctionType) for found in _overridden(cls, "__del__")):
        yield "runs where its objects are deleted, whatever their state"
    called = next(
        (vars(base)["__call__"] for base in cls.__mro__ if "__call__" in vars(base)), None
    )
    if isinstance(called, types.FunctionType):
        yield from call_faults(called, cls, 2, set())
    for method in _READ:
        found = next((vars(base)[method] for base in cls.__mro__ if method in vars(base)), None)
        if isinstance(found, types.FunctionType):
            for fault in call_faults(found, cls, 2, set()):
                if fault.startswith("calls ") and fault.split()[3] not in _SET_ANEW:
                    yield fault
    for method in _IMPLICIT:
        if method == "__init__" and not with_calls:
            continue
        for base in cls.__mro__:
            found = base.__dict__.get(method)
            if isinstance(found, (staticmethod, classmethod)):
                found = found.__func__
            if isinstance(found, types.FunctionType):
                depth = 3 if method.startswith("__") else 1
                yield from faults(found, cls, depth, set())


def classes(library: str) -> Iterator[tuple[str, type]]:
    """Yield each class of a library with the module in which it is defined."""
    for module in modules(library):
        for name, value in list(vars(module).items()):
            own = isinstance(value, type) and value.__module__ == module.__name__
            if own and value.__qualname__ == name:
                yield module.__name__, value


def holds_data(module: str, cls: type) -> bool:
    """Return whether pickles may well have a class: it is public, or scikit-learn's."""
    if module.startswith(_NO_DATA):
        return False
    if issubclass(cls, BaseException):
        return True
    if cls.__name__.startswith("_") and not module.startswith("sklearn."):
        return False
    # What is compiled is listed if a pickle has been seen to have it.
    return issubclass(cls, (tuple, enum.Enum)) or any(
        isinstance(value, types.FunctionType)
        for base in cls.__mro__
        for value in vars(base).values()
    )


def uses_of(cls: type) -> set[str]:
    """Return what picklers do with a class that holds data."""
    if issubclass(cls, enum.Enum):
        # One without members would make a new class of what it is called with.
        return {CALLED} if len(cls) else set()
    uses = {MADE, BUILT}
    if issubclass(cls, (BaseException, tuple)):
        uses.add(CALLED)
    if issubclass(cls, (list, dict, set, collections.deque)):
        uses.add(FILLED)
    return uses


def functions() -> Names:
    """Return ufuncs, metrics, kernels and score functions, which estimators refer to."""
    good: Names = {}
    for name, value in list(vars(builtins).items()):
        if (
            isinstance(value, type)
            and issubclass(value, BaseException)
            and not name.startswith("_")
        ):
            good["builtins", value.__name__] = {CALLED, BUILT}
    try:
        import numpy as np
        import scipy.special
        import sklearn  # noqa: F401 - its modules are read below
    except ImportError:
        return good
    for space in (np, scipy.special):
        for name, value in list(vars(space).items()):
            if isinstance(value, np.ufunc) and not name.startswith("_"):
                for label, spelled in spellings(value):
                    good[(label, spelled)] = set()
    for module in (
        "sklearn.metrics", "sklearn.metrics.pairwise", "sklearn.metrics.cluster",
        "sklearn.feature_selection", "scipy.spatial.distance", "scipy.special",
    ):  # fmt: skip
        space = importlib.import_module(module)
        for name in getattr(space, "__all__", dir(space)):
            value = getattr(space, name, None)
            if isinstance(value, types.FunctionType) and not list(faults(value, type, 0, set())):
                for label, spelled in spellings(value):
                    good[(label, spelled)] = set()
    for value in vars(np).values():
        # Called, they read memory where what they are handed says that it is an array.
        if isinstance(value, type) and issubclass(value, np.generic):
            for label, spelled in spellings(value):
                good[(label, spelled)] = set()
    return good


def spellings(value: Any) -> Iterator[tuple[str, str]]:
    """Yield the module and name that a pickle has for `value`, if it is pickled by name alone."""
    recorder = Recorder()
    try:
        recorder.read(pickle.dumps(value, 4))
    except Exception:
        return
    if len(recorder.names) == 1:
        yield next(iter(recorder.names))


# -- what a class does with objects that it is given, which may act when they are used


def holds(cls: type, uses: set[str]) -> set[str]:
    """Return by which uses a class only stores objects: HANDED, HOLDING, and HASHED by identity."""
    found: set[str] = set()
    if issubclass(cls, enum.Enum):
        return found  # its members are made before
    if not uses or _overridden(cls, "__del__"):
        return found
    if _stores_its_state(cls) and _stores_items(cls, uses):
        found.add(HOLDING)
    if _stores_arguments(cls, uses) and _sets_attributes_plainly(cls):
        found.add(HANDED)
    if cls.__hash__ is object.__hash__ and cls.__eq__ is object.__eq__:
        found.add(HASHED)
    return found


# States that these set are stored as they are; the walk looks for keys that are compared, and for
# those at which a formula is evaluated.
_STORED = frozenset({
    ("sklearn.base", "BaseEstimator"), ("sklearn.utils._bunch", "Bunch"), ("sklearn.utils", "Bunch"),
    ("statsmodels.base.data", "ModelData"), ("statsmodels.base.wrapper", "ResultsWrapper"),
})  # fmt: skip


def _overridden(cls: type, name: str) -> list[Any]:
    """Return what stands under a name in a class and its bases, save in Python's own classes."""
    bases = [base for base in cls.__mro__ if base.__module__ not in ("builtins", "collections")]
    return [vars(base)[name] for base in bases if name in vars(base)]


def _stores_its_state(cls: type) -> bool:
    bases = [base for base in cls.__mro__ if "__setstate__" in vars(base)]
    return all((base.__module__, base.__name__) in _STORED for base in bases)


def _stores_items(cls: type, uses: set[str]) -> bool:
    methods = ("append", "extend", "__setitem__", "add")
    return FILLED not in uses or not any(_overridden(cls, method) for method in methods)


def _stores_arguments(cls: type, uses: set[str]) -> bool:
    makers = _overridden(cls, "__new__")
    if not makers and getattr(cls, "__new__", None) is not object.__new__:
        return False  # Python's containers take what they are made of apart
    if CALLED in uses:
        makers += _overridden(cls, "__init__")
        if type(cls) is not type and "__call__" in vars(type(cls)):
            return False
    return all(map(_is_generated, makers))


def _sets_attributes_plainly(cls: type) -> bool:
    """Return whether attributes that a state sets one by one, as slots, run no code."""
    if _overridden(cls, "__setattr__"):
        return False
    return not any(_acts_when_set(value) for base in cls.__mro__ for value in vars(base).values())


def _acts_when_set(value: Any) -> bool:
    """Return whether to set an attribute of this descriptor runs Python code."""
    if isinstance(value, property):
        return value.fset is not None
    return isinstance(getattr(type(value), "__set__", None), types.FunctionType)


def _is_generated(function: Any) -> bool:
    """Return whether namedtuple wrote a function."""
    code = getattr(getattr(function, "__func__", function), "__code__", None)
    return code is not None and code.co_filename.startswith("<string>")
