"""Make the list of good names from the libraries themselves: run by hand, never in a test.

    python tests/make_good_names.py PYTHON...

Each PYTHON is an interpreter that has numpy, scipy, scikit-learn, pandas and joblib, in whatever
versions; the newest comes first. Each says what pickles of its libraries look up and how, and which
classes it found to hold data. What all of them say is merged into good_names.txt, which a person
then reads as a diff.

The code keeps to Python 3.7, so that old libraries can be asked as well.
"""

# ruff: noqa: BLE001, E501, T201 - an object that one version cannot make is said, and left out

from __future__ import annotations

import ast
import builtins
import importlib
import inspect
import io
import json
import pathlib
import pickle
import pkgutil
import subprocess
import sys
import textwrap
import types
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

TARGET = pathlib.Path(__file__).parent.parent / "src" / "pickleseal" / "scanner" / "good_names.txt"
COVERED = ("numpy", "scipy", "sklearn", "pandas", "joblib", "pyarrow", "xgboost", "lightgbm")
CALLED, MADE, BUILT = "c", "m", "b"

if TYPE_CHECKING:
    Names = dict[tuple[str, str], set[str]]

# What a person looked at and found to do nothing but data's work, with the reason.
REVIEWED = {
    ("joblib.numpy_pickle", "NumpyArrayWrapper"): "plain attributes; joblib reads what follows",
    ("numpy.random._pickle", "__generator_ctor"): "calls one looked-up class or function",
    ("numpy.random._pickle", "__bit_generator_ctor"): "looks a name up in a table of five",
    ("numpy.random._pickle", "__randomstate_ctor"): "calls one looked-up class or function",
    ("pandas.core.indexes.base", "_new_Index"): "makes one looked-up class",
    ("copyreg", "_reconstructor"): "makes one looked-up class",
    ("scipy.sparse.dok", "dok_matrix"): "takes one of the methods of a dict",
    ("pandas.core.indexes.datetimes", "DatetimeIndex"): "takes methods that its class names",
    ("pandas", "Categorical"): "compares by one of six methods of its codes",
    ("pandas.core.arrays.categorical", "Categorical"): "the same",
}

# Recorded, and nevertheless no data's.
REFUSED = {
    ("scipy._lib._uarray._backend", "unpickle_function"),  # imports what its argument says
    ("scipy._lib._uarray", "unpickle_function"),
    ("numpy.core", "_ufunc_reconstruct"),  # the same
    ("numpy._core", "_ufunc_reconstruct"),
    ("xgboost.core", "Booster"),  # opens the file that it is called with
    ("lightgbm.basic", "Booster"),
    ("numpy.lib.utils", "SafeEval"),
    ("numpy._pytesttester", "PytestTester"),  # runs files as tests
    ("sklearn.tree._export", "_DOTTreeExporter"),  # writes a file
    ("sklearn.tree.export", "_DOTTreeExporter"),
    ("pandas.api.typing", "SASReader"),  # opens files
    ("pandas.api.typing", "StataReader"),
    ("sklearn.utils", "Parallel"),  # runs what it is handed, in other processes
    ("sklearn.utils", "parallel_backend"),
    ("sklearn.metrics.pairwise", "_parallel_pairwise"),
    ("joblib.parallel", "delayed"),
    ("joblib.parallel", "effective_n_jobs"),
    ("sklearn.externals.joblib.parallel", "delayed"),
    ("sklearn.externals.joblib.parallel", "effective_n_jobs"),
    ("sklearn.utils.parallel", "delayed"),
    ("sklearn.externals._packaging.version", "parse"),
    ("pkg_resources", "parse_version"),
    ("builtins", "getattr"),  # bound methods: ordinary, and the key to everything
    ("dateutil.tz.tz", "tzfile"),  # opens the file it is called with
    ("functools", "partial"),
}

# A class is asked of these; called, they make new ones.
ONLY_LOOKED_UP = [("builtins", "type")]

# What the versions asked do not have.
BY_HAND = [
    ("pathlib._local", "PosixPath", "c"),
    ("pathlib._local", "WindowsPath", "c"),
    ("pathlib._local", "PurePosixPath", "c"),
    ("pathlib._local", "PureWindowsPath", "c"),
    ("pathlib", "WindowsPath", "c"),
    ("re", "_compile", "c"),
    ("dill._dill", "_create_array", "c"),  # calls one looked-up function, for a numpy array
    ("pytz", "_UTC", "c"),
    ("pytz", "_p", "c"),
    ("dateutil.tz.tz", "tzutc", "cmb"),
    ("dateutil.tz.tz", "tzlocal", "cmb"),
]

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

# Attributes that an object calls with what it is called with itself, or with an array: no more can
# be done by them than by what they are.
_HANDED_ON = frozenset({"_asarray", "k1", "k2", "kernel"})
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
)  # fmt: skip
_NO_TESTS = ("test", "tests", "testing", "conftest", "_testing", "f2py", "distutils", "setup")


# --- what pickles look up ---------------------------------------------------------------------


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

    def built(self, target: Any) -> None:
        spelled = self._given.get(id(target))
        if spelled is not None:
            self.names[spelled].add(BUILT)

    def reader(self, base: Any) -> Any:
        """Give a subclass of a pure Python unpickler that reports here."""
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
        around(pickle.BUILD, lambda unpickler: recorder.built(unpickler.stack[-2]))

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
    """Give the names that pickles of these objects look up, in every protocol and by joblib."""
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


# --- objects ----------------------------------------------------------------------------------


def attempts(makers: Iterable[tuple[str, Callable[[], Any]]]) -> Iterator[tuple[str, Any]]:
    """Give what can be made with these versions, with its label."""
    for label, make in makers:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                value = make()
        except Exception as error:
            print(f"{label} is not made: {error!r}"[:160], file=sys.stderr)
        else:
            yield label, value


def sources(group: str, text: str) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Give a maker for each line of Python; the names of the libraries are there."""
    spaces: dict[str, Any] = {}
    for line in PREAMBLE.strip().splitlines():
        try:
            exec(line, spaces)
        except ImportError:
            print("without: " + line, file=sys.stderr)
    for line in textwrap.dedent(text).strip().splitlines():
        if line.strip():
            yield (
                group + ": " + line,
                (lambda line=line: eval(line, spaces)),  # type: ignore[misc]
            )


PREAMBLE = """
import collections, datetime, decimal, fractions, pathlib, uuid, types, array, ipaddress, random
import operator, itertools, numbers, string, math, cmath, copy, time
import numpy as np
import numpy.ma, numpy.polynomial
import scipy, scipy.sparse, scipy.interpolate, scipy.spatial, scipy.stats, scipy.special
import scipy.optimize, scipy.signal, scipy.integrate, scipy.linalg, scipy.cluster.hierarchy
from scipy import sparse
import pandas as pd
import pandas.api.types, pandas.tseries.offsets
import sklearn, sklearn.metrics, sklearn.gaussian_process.kernels, sklearn.neighbors, sklearn.utils
import sklearn.model_selection, sklearn.feature_selection, sklearn.preprocessing
import pyarrow as pa
import xgboost as xgb
import lightgbm as lgb
x, y = sklearn.datasets.make_classification(60, 6, random_state=0) if __import__("sklearn.datasets") else None
k = sklearn.gaussian_process.kernels
y3 = np.arange(60) % 3
import sklearn._loss._loss
"""


PLAIN = """
    [None, True, 1, 2**70, 1.5, 1j, b'x', 'x', bytearray(b'x'), (1,), {1: 2}, {1}, frozenset({1})]
    [int, float, complex, bool, str, bytes, bytearray, list, tuple, dict, set, frozenset, object]
    [slice(1, 2, 3), range(3), slice, range, type, Exception('x'), ValueError('x'), KeyError('x')]
    [memoryview, property, Warning('x'), UserWarning('x'), RuntimeError('x')]
    [len, abs, sum, round, all, any, pow, divmod, ord, chr]
    [Ellipsis, NotImplemented]
    collections.OrderedDict(a=1)
    collections.defaultdict(list, a=[1])
    collections.defaultdict(int, a=1)
    collections.Counter('abc')
    collections.deque([1, 2], 5)
    collections.deque([1, 2])
    collections.ChainMap({1: 2})
    [collections.UserDict(a=1), collections.UserList([1]), collections.UserString('x')]
    [collections.OrderedDict, collections.defaultdict, collections.Counter, collections.deque]
    [datetime.datetime(2020, 1, 2, 3), datetime.date(2020, 1, 2), datetime.time(1, 2)]
    [datetime.timedelta(1), datetime.timezone.utc, datetime.timezone(datetime.timedelta(hours=1), 'x')]
    datetime.datetime(2020, 1, 2, 3, tzinfo=datetime.timezone.utc)
    [decimal.Decimal('1.5'), fractions.Fraction(1, 3), uuid.UUID(int=5)]
    [pathlib.Path('a/b'), pathlib.PurePosixPath('a'), pathlib.PureWindowsPath('a')]
    array.array('d', [1, 2.0])
    types.SimpleNamespace(a=1)
    [ipaddress.ip_address('1.2.3.4'), ipaddress.ip_network('1.2.3.0/24'), ipaddress.ip_address('::1')]
    random.Random(3)
    [math.exp, math.log, math.sqrt, math.sin, math.cos, math.tanh, math.log1p, math.expm1]
"""

NUMPY = """
    np.arange(5.0)
    np.arange(6).reshape(2, 3).T
    np.asfortranarray(np.ones((3, 4)))
    np.array([None, 'x', 1], dtype=object)
    np.array(['a', 'bc'])
    np.array([b'a', b'bc'])
    np.array([(1, 2.0)], dtype=[('a', 'i4'), ('b', 'f8')])
    np.array([(1, 2.0)], dtype=[('a', 'i4'), ('b', 'f8')])[0]
    np.rec.array([(1, 2.0)], dtype=[('a', 'i4'), ('b', 'f8')])
    np.rec.array([(1, 2.0)], dtype=[('a', 'i4'), ('b', 'f8')])[0]
    np.array(['2020-01-01'], dtype='M8[ns]')
    np.array([1], dtype='m8[s]')
    [t(1) for t in (np.float16, np.float32, np.float64, np.int8, np.int16, np.int32, np.int64)]
    [t(1) for t in (np.uint8, np.uint16, np.uint32, np.uint64, np.complex64, np.complex128, np.bool_)]
    [np.longdouble(1), np.str_('x'), np.bytes_(b'x'), np.datetime64('2020-01-01'), np.timedelta64(1, 's')]
    [np.dtype(t) for t in ('f8', 'i4', 'S3', 'U4', 'O', 'M8[D]', 'm8[ns]', '>f4', '?', 'c16', 'V4')]
    np.dtype({'names': ['a'], 'formats': ['f4'], 'offsets': [4], 'itemsize': 16})
    np.dtype(('f4', (2, 2)))
    [np.ndarray, np.generic, np.number, np.integer, np.floating, np.inexact, np.matrix, np.recarray]
    np.ma.array([1.0, 2.0], mask=[0, 1])
    np.ma.masked
    np.ma.array([(1, 2.0)], dtype=[('a', 'i4'), ('b', 'f8')])
    np.matrix([[1, 2]])
    np.char.array(['a', 'b'])
    np.random.RandomState(0)
    np.random.default_rng(0)
    np.random.Generator(np.random.MT19937(0))
    np.random.Generator(np.random.Philox(0))
    np.random.Generator(np.random.SFC64(0))
    np.random.Generator(np.random.PCG64DXSM(0))
    np.random.MT19937(0)
    np.random.PCG64(0)
    np.random.SeedSequence(5)
    np.random.mtrand._rand
    np.poly1d([1, 2, 3])
    [np.polynomial.Polynomial([1, 2]), np.polynomial.Chebyshev([1, 2]), np.polynomial.Legendre([1, 2])]
    [np.polynomial.Hermite([1, 2]), np.polynomial.HermiteE([1, 2]), np.polynomial.Laguerre([1, 2])]
    np.finfo(np.float64)
    np.iinfo(np.int32)
    np.array(['a', 'b'], dtype=np.dtypes.StringDType())
    np.dtypes.StringDType(na_object=None)
    [np.dtypes.Float64DType, np.dtypes.Int64DType]
    [type(np.dtype(t)) for t in ('f8', 'i4', 'O', 'U1', 'M8[s]')]
    [np.mean, np.median, np.std, np.var, np.sum, np.min, np.max, np.argmax, np.argmin, np.unique]
    [np.nan_to_num, np.clip, np.round, np.ravel, np.reshape, np.transpose, np.concatenate, np.diff]
    [np.dot, np.inner, np.outer, np.linalg.norm, np.nanmean, np.nanmedian, np.nansum, np.nanstd]
    [np.average, np.percentile, np.quantile, np.cumsum, np.prod, np.sort, np.argsort, np.where]
    [np.asarray, np.array, np.zeros, np.ones, np.ravel, np.squeeze, np.expand_dims, np.abs]
    [np.hstack, np.vstack, np.stack, np.column_stack, np.nanmax, np.nanmin, np.count_nonzero, np.ptp]
    np.nditer
    np.busdaycalendar()
"""

PANDAS = """
    pd.Series([1, 2, 3], name='x')
    pd.Series([1.5, None], index=['a', 'b'])
    pd.Series(['a', 'b', None])
    pd.Series(['a', 'b', None], dtype='string')
    pd.Series(['a', 'b'], dtype=object)
    pd.Series(['a', 'b', None], dtype='string[pyarrow]')
    pd.Series(['a', 'b', None], dtype='string[python]')
    pd.Series([1, 2, None], dtype='Int64')
    pd.Series([1, 2, None], dtype='UInt8')
    pd.Series([1, 2, None], dtype='Float64')
    pd.Series([True, None], dtype='boolean')
    pd.Series(['a', 'b', 'a'], dtype='category')
    pd.Series([1, 2], dtype=pd.SparseDtype('int'))
    pd.Series(pd.to_datetime(['2020-01-01', None]))
    pd.Series(pd.to_timedelta([1, 2], unit='s'))
    pd.Series(pd.period_range('2020', periods=3, freq='M'))
    pd.Series(pd.interval_range(0, 3))
    pd.Series(pd.date_range('2020', periods=3, tz='UTC'))
    pd.Series(pd.date_range('2020', periods=3, tz=datetime.timezone.utc))
    pd.Series([1, 2], dtype=pd.ArrowDtype(pa.int64()))
    pd.Series(['a', 'b'], dtype=pd.ArrowDtype(pa.string()))
    pd.Series([1.5, 2], dtype=pd.ArrowDtype(pa.float64()))
    pd.Series([None, datetime.datetime(2020, 1, 1)], dtype=pd.ArrowDtype(pa.timestamp('us')))
    pd.Series([[1], [2]], dtype=pd.ArrowDtype(pa.list_(pa.int64())))
    pd.DataFrame({'a': [1, 2], 'b': ['x', 'y'], 'c': [1.5, None], 'd': [True, False]})
    pd.DataFrame({'a': [1, 2], 'b': pd.Categorical(['x', 'y'])}).set_index('b')
    pd.DataFrame(np.ones((3, 3)), columns=pd.MultiIndex.from_product([['a'], [1, 2, 3]]))
    pd.DataFrame({'a': [1]}, index=pd.date_range('2020', periods=1))
    pd.DataFrame()
    pd.DataFrame({'a': [1, None]}).convert_dtypes()
    pd.DataFrame({'a': ['b']}).convert_dtypes(dtype_backend='pyarrow')
    [pd.Index([1, 2]), pd.Index(['a']), pd.Index([1.5]), pd.RangeIndex(3), pd.Index([True]), pd.Index([])]
    [pd.Index([1, 2], dtype='uint8'), pd.Index([1, 2], dtype='Int64'), pd.Index(['a'], dtype=object)]
    [pd.DatetimeIndex(['2020']), pd.TimedeltaIndex(['1s']), pd.PeriodIndex(['2020'], freq='D')]
    [pd.CategoricalIndex(['a']), pd.IntervalIndex.from_breaks([1, 2]), pd.MultiIndex.from_arrays([[1], [2]])]
    pd.date_range('2020', periods=3, freq='D')
    pd.date_range('2020', periods=3, freq='B')
    pd.Categorical(['a', 'b'], ordered=True)
    pd.CategoricalDtype(['a'])
    [pd.BooleanDtype(), pd.StringDtype()]
    [pd.Int8Dtype(), pd.Int16Dtype(), pd.Int32Dtype(), pd.Int64Dtype()]
    [pd.UInt8Dtype(), pd.UInt16Dtype(), pd.UInt32Dtype(), pd.UInt64Dtype()]
    [pd.Float32Dtype(), pd.Float64Dtype()]
    [pd.DatetimeTZDtype(tz='UTC'), pd.PeriodDtype('D'), pd.IntervalDtype('int64'), pd.SparseDtype()]
    [pd.Timestamp('2020'), pd.Timestamp('2020', tz='UTC'), pd.Timedelta('1s'), pd.Period('2020'), pd.NaT, pd.NA]
    pd.Interval(0, 1)
    [pd.DateOffset(days=1), pd.tseries.offsets.MonthEnd(2), pd.tseries.offsets.BDay(), pd.tseries.offsets.Day()]
    [pd.tseries.offsets.Hour(), pd.tseries.offsets.Week(weekday=1), pd.tseries.offsets.YearBegin(), pd.tseries.offsets.QuarterEnd()]
    [pd.tseries.offsets.Minute(), pd.tseries.offsets.Second(), pd.tseries.offsets.Milli(), pd.tseries.offsets.Micro(), pd.tseries.offsets.Nano()]
    [o() for o in (pd.offsets.MonthBegin, pd.offsets.BMonthEnd, pd.offsets.BMonthBegin, pd.offsets.QuarterBegin, pd.offsets.BQuarterEnd, pd.offsets.YearEnd, pd.offsets.BYearEnd, pd.offsets.SemiMonthEnd, pd.offsets.CDay, pd.offsets.BusinessHour, pd.offsets.LastWeekOfMonth, pd.offsets.WeekOfMonth, pd.offsets.FY5253)]
    [pd.arrays.IntervalArray.from_breaks([1, 2]), pd.arrays.SparseArray([0, 1]), pd.array([1, None], dtype='Int64')]
    [pd.array(['a'], dtype='string'), pd.array([1.0]), pd.arrays.NumpyExtensionArray(np.array([1]))]
    [pd.Series, pd.DataFrame, pd.Index, pd.Timestamp, pd.Categorical]
    pd.api.indexers.FixedForwardWindowIndexer(window_size=2)
    pd.DataFrame({'a': [1, 2]}).flags
    pd.api.types.is_numeric_dtype
    pd.Float64Index([1])
    pd.Int64Index([1])
    pd.UInt64Index([1])
    pd.SparseSeries([1, 2])
    pd.SparseDataFrame({'a': [1, 2]})
    pd.Panel()
    [pa.int64(), pa.string(), pa.timestamp('us'), pa.list_(pa.int8()), pa.dictionary(pa.int8(), pa.string())]
    pa.array([1, 2, None])
    pa.array(['a', None])
    pa.chunked_array([[1], [2]])
    pa.table({'a': [1, 2], 'b': ['x', 'y']})
    pa.record_batch([pa.array([1])], names=['a'])
    pa.schema([pa.field('a', pa.int64())])
    [pa.scalar(1), pa.scalar('x')]
    [pa.decimal128(5, 2), pa.struct([('a', pa.int8())]), pa.map_(pa.string(), pa.int8()), pa.time32('s'), pa.duration('s'), pa.large_string(), pa.binary(3), pa.date32(), pa.bool_(), pa.null()]
"""

SCIPY = """
    [f(sparse.eye(3).tocsr()) for f in (sparse.csr_matrix, sparse.csc_matrix, sparse.coo_matrix, sparse.lil_matrix, sparse.dia_matrix, sparse.bsr_matrix)]
    sparse.dok_matrix(np.eye(2))
    [f(np.eye(3)) for f in (sparse.csr_array, sparse.csc_array, sparse.coo_array, sparse.lil_array, sparse.dia_array, sparse.bsr_array, sparse.dok_array)]
    scipy.sparse.linalg.aslinearoperator(np.eye(2))
    scipy.interpolate.interp1d([0, 1, 2], [0, 1, 4])
    scipy.interpolate.interp1d([0, 1, 2, 3], [0, 1, 4, 9], kind='cubic')
    scipy.interpolate.CubicSpline([0, 1, 2], [0, 1, 4])
    scipy.interpolate.PchipInterpolator([0, 1, 2], [0, 1, 4])
    scipy.interpolate.Akima1DInterpolator([0, 1, 2], [0, 1, 4])
    scipy.interpolate.UnivariateSpline(np.arange(9.0), np.arange(9.0))
    scipy.interpolate.InterpolatedUnivariateSpline(np.arange(9.0), np.arange(9.0))
    scipy.interpolate.make_interp_spline(np.arange(9.0), np.arange(9.0))
    scipy.interpolate.BSpline([0, 1, 2, 3, 4], [1.0, 2], 2)
    scipy.interpolate.PPoly(np.ones((2, 2)), [0, 1, 2])
    scipy.interpolate.RegularGridInterpolator(([0, 1], [0, 1]), np.eye(2))
    scipy.interpolate.Rbf([0, 1, 2], [0, 1, 2], [1, 2, 3])
    scipy.interpolate.RBFInterpolator(np.random.rand(9, 2), np.random.rand(9))
    scipy.interpolate.LinearNDInterpolator(np.random.rand(9, 2), np.random.rand(9))
    scipy.interpolate.NearestNDInterpolator(np.random.rand(9, 2), np.random.rand(9))
    scipy.interpolate.CloughTocher2DInterpolator(np.random.rand(9, 2), np.random.rand(9))
    scipy.interpolate.RectBivariateSpline(np.arange(5.0), np.arange(5.0), np.random.rand(5, 5))
    scipy.interpolate.BarycentricInterpolator([0, 1, 2], [0, 1, 4])
    scipy.interpolate.KroghInterpolator([0, 1, 2], [0, 1, 4])
    scipy.spatial.cKDTree(np.random.rand(9, 2))
    scipy.spatial.KDTree(np.random.rand(9, 2))
    scipy.spatial.Delaunay(np.random.rand(9, 2))
    scipy.spatial.ConvexHull(np.random.rand(9, 2))
    scipy.spatial.Voronoi(np.random.rand(9, 2))
    scipy.spatial.transform.Rotation.identity()
    scipy.spatial.transform.Rotation.from_euler('z', [1, 2])
    scipy.spatial.transform.Slerp([0, 1], scipy.spatial.transform.Rotation.random(2))
    scipy.spatial.transform.RigidTransform.identity()
    scipy.spatial.distance.euclidean
    [scipy.spatial.distance.cosine, scipy.spatial.distance.cityblock, scipy.spatial.distance.hamming]
    scipy.stats.gaussian_kde(np.random.rand(20))
    scipy.stats.multivariate_normal([0, 0], np.eye(2))
    scipy.stats.ttest_ind([1, 2, 3], [2, 3, 4])
    scipy.stats.linregress([1, 2, 3], [2, 3, 5])
    scipy.stats.pearsonr([1, 2, 3], [2, 3, 5])
    scipy.stats.spearmanr([1, 2, 3], [2, 3, 5])
    scipy.stats.describe([1, 2, 3])
    scipy.stats.ks_2samp([1, 2, 3], [2, 3, 4])
    scipy.stats.chi2_contingency([[1, 2], [3, 4]])
    scipy.stats.mode([1, 1, 2])
    scipy.stats.f_oneway([1, 2], [3, 4])
    scipy.stats.shapiro(np.random.rand(9))
    scipy.stats.ecdf([1, 2, 3])
    scipy.stats.bootstrap(([1, 2, 3, 4],), np.mean, n_resamples=9)
    scipy.stats.mannwhitneyu([1, 2, 3], [2, 3, 4])
    scipy.stats.wilcoxon([1, 2, 3])
    scipy.stats.qmc.Sobol(2)
    scipy.stats.qmc.Halton(2)
    scipy.stats.norm(0, 1)
    scipy.stats.norm
    [scipy.stats.uniform(0, 1), scipy.stats.randint(0, 5), scipy.stats.loguniform(1, 10), scipy.stats.expon(1)]
    scipy.optimize.minimize(scipy.optimize.rosen, [1, 2.0])
    scipy.optimize.OptimizeResult(x=1)
    scipy.optimize.root_scalar(np.cos, bracket=(0, 3))
    [scipy.optimize.LinearConstraint([1], 0, 1), scipy.optimize.Bounds(0, 1)]
    scipy.optimize.linprog([1, 2], bounds=(0, 1))
    [scipy.special.expit, scipy.special.logit, scipy.special.erf, scipy.special.gamma, scipy.special.xlogy]
    [scipy.special.softmax, scipy.special.logsumexp, scipy.special.boxcox, scipy.special.inv_boxcox]
    scipy.signal.TransferFunction([1], [1, 2])
    scipy.signal.StateSpace([[1]], [[1]], [[1]], [[0]])
    scipy.signal.ZerosPolesGain([1], [2], 3)
    scipy.signal.dlti([1], [1, 2])
    scipy.signal.ShortTimeFFT(np.ones(8), 2, 1.0)
    scipy.integrate.solve_ivp(np.negative, (0, 1), [1.0])
    scipy.cluster.hierarchy.to_tree(scipy.cluster.hierarchy.linkage(np.random.rand(5, 2)))
    scipy.fft.fft
    scipy.linalg.expm
"""

SKLEARN = """
    [sklearn.metrics.get_scorer(s) for s in sklearn.metrics.get_scorer_names()]
    [sklearn.metrics.get_scorer(s) for s in sklearn.metrics.SCORERS]
    sklearn.metrics.make_scorer(sklearn.metrics.fbeta_score, beta=2)
    [k.RBF() + k.WhiteKernel(), k.ConstantKernel() * k.Matern(), k.RationalQuadratic() ** 2, k.ExpSineSquared(), k.DotProduct(), k.PairwiseKernel(), k.CompoundKernel([k.RBF()])]
    [f for f in (sklearn.metrics.pairwise.rbf_kernel, sklearn.metrics.pairwise.cosine_similarity)]
    [sklearn.neighbors.BallTree(x), sklearn.neighbors.KDTree(x)]
    [sklearn.metrics.DistanceMetric.get_metric(m) for m in ('euclidean', 'manhattan', 'chebyshev', 'hamming')]
    [sklearn.metrics.DistanceMetric.get_metric(m, dtype=np.float32) for m in ('euclidean', 'manhattan')]
    [sklearn.neighbors.DistanceMetric.get_metric(m) for m in ('euclidean', 'manhattan')]
    sklearn.utils.Bunch(a=1)
    sklearn.datasets.load_iris()
    sklearn.datasets.load_iris(as_frame=True)
    [sklearn.model_selection.KFold(), sklearn.model_selection.StratifiedKFold(), sklearn.model_selection.TimeSeriesSplit(), sklearn.model_selection.LeaveOneOut(), sklearn.model_selection.ShuffleSplit(), sklearn.model_selection.GroupKFold(), sklearn.model_selection.PredefinedSplit([0, 1])]
    [sklearn.model_selection.RepeatedKFold(), sklearn.model_selection.RepeatedStratifiedKFold()]
    sklearn.model_selection.ParameterGrid({'a': [1]})
    sklearn.model_selection.cross_validate(sklearn.linear_model.LogisticRegression(), x, y, return_estimator=True)
    sklearn.pipeline.make_pipeline(sklearn.preprocessing.StandardScaler(), sklearn.svm.SVC()).fit(x, y)
    sklearn.pipeline.make_union(sklearn.preprocessing.StandardScaler(), sklearn.decomposition.PCA()).fit(x, y)
    sklearn.compose.make_column_transformer((sklearn.preprocessing.StandardScaler(), [0, 1]), remainder='passthrough').fit(x)
    sklearn.compose.make_column_transformer((sklearn.preprocessing.OneHotEncoder(), sklearn.compose.make_column_selector(dtype_include=object))).fit(pd.DataFrame({'a': ['x', 'y']}))
    sklearn.compose.TransformedTargetRegressor(func=np.log1p, inverse_func=np.expm1).fit(x, y)
    sklearn.model_selection.GridSearchCV(sklearn.svm.SVC(), {'C': [1, 2]}, scoring='roc_auc').fit(x, y)
    sklearn.model_selection.RandomizedSearchCV(sklearn.svm.SVC(), {'C': [1, 2]}, n_iter=2, scoring=['accuracy', 'f1'], refit='f1').fit(x, y)
    [sklearn.preprocessing.FunctionTransformer(f) for f in (np.log1p, np.sqrt, np.exp, np.abs, np.log, np.square)]
    [sklearn.ensemble.GradientBoostingRegressor(loss=l, n_estimators=2).fit(x, y) for l in ('huber', 'quantile')]
    [sklearn.ensemble.GradientBoostingClassifier(loss=l, n_estimators=2).fit(x, y) for l in ('exponential',)]
    [sklearn.ensemble.GradientBoostingClassifier(n_estimators=2, init=i).fit(x, y3) for i in (None, 'zero')]
    sklearn.ensemble.HistGradientBoostingClassifier(max_iter=2).fit(x, y3)
    sklearn.linear_model.LogisticRegression(multi_class='multinomial').fit(x, y3)
    [c() for n, c in sorted(vars(sklearn._loss._loss).items()) if n in ('CyHalfSquaredError', 'CyAbsoluteError', 'CyHalfPoissonLoss', 'CyHalfGammaLoss', 'CyHalfBinomialLoss', 'CyHalfMultinomialLoss', 'CyExponentialLoss')]
    [sklearn.metrics.DistanceMetric.get_metric(m) for m in ('canberra', 'braycurtis', 'jaccard', 'dice', 'haversine', 'rogerstanimoto', 'russellrao', 'sokalsneath')]
    [sklearn.metrics.DistanceMetric.get_metric('minkowski', p=3), sklearn.metrics.DistanceMetric.get_metric('seuclidean', V=np.ones(3)), sklearn.metrics.DistanceMetric.get_metric('mahalanobis', V=np.eye(3))]
    [sklearn.neighbors.DistanceMetric.get_metric(m) for m in ('chebyshev', 'hamming', 'canberra', 'braycurtis', 'jaccard', 'dice', 'haversine')]
    [sklearn.ensemble.HistGradientBoostingRegressor(loss=l, max_iter=2).fit(x, y + 1) for l in ('squared_error', 'absolute_error', 'poisson', 'gamma')]
    sklearn.ensemble.HistGradientBoostingRegressor(loss='quantile', quantile=0.5, max_iter=2).fit(x, y)
    [sklearn.linear_model.SGDClassifier(loss=l).fit(x, y) for l in ('hinge', 'log_loss', 'log', 'modified_huber', 'squared_hinge', 'perceptron', 'squared_error', 'huber', 'epsilon_insensitive', 'squared_epsilon_insensitive')]
    [sklearn.linear_model.SGDClassifier(loss=l).fit(x, y) for l in ('hinge', 'modified_huber', 'squared_hinge', 'perceptron', 'huber')]
    sklearn.linear_model.SGDClassifier(loss='log').fit(x, y)
    [sklearn.linear_model.SGDRegressor(loss=l).fit(x, y) for l in ('huber', 'epsilon_insensitive')]
    [sklearn.linear_model.TweedieRegressor(power=p).fit(x, y + 1) for p in (0, 1, 1.5, 2, 3)]
    [sklearn.linear_model.GammaRegressor().fit(x, y + 1), sklearn.linear_model.PoissonRegressor().fit(x, y + 1)]
    [sklearn.neighbors.KNeighborsClassifier(algorithm=a, metric=m).fit(x, y) for a in ('ball_tree', 'kd_tree') for m in ('euclidean', 'manhattan', 'chebyshev', 'minkowski')]
    [sklearn.neighbors.KernelDensity(metric=m).fit(x) for m in ('euclidean', 'manhattan')]
    [sklearn.tree.DecisionTreeClassifier(criterion=c).fit(x, y) for c in ('gini', 'entropy')]
    sklearn.feature_selection.SelectKBest(sklearn.feature_selection.mutual_info_classif, k=2).fit(x, y)
    [sklearn.feature_selection.SelectKBest(f) for f in (sklearn.feature_selection.chi2, sklearn.feature_selection.f_classif, sklearn.feature_selection.f_regression, sklearn.feature_selection.r_regression)]
    sklearn.feature_extraction.text.TfidfVectorizer().fit(['a b c', 'b c d'])
    sklearn.feature_extraction.text.TfidfVectorizer(stop_words='english').fit(['one fine day', 'black cat'])
    sklearn.isotonic.IsotonicRegression().fit(x[:, 0], y)
    sklearn.calibration.CalibratedClassifierCV(sklearn.svm.LinearSVC(), method='isotonic').fit(x, y)
    sklearn.calibration.CalibratedClassifierCV(sklearn.svm.LinearSVC(), method='sigmoid').fit(x, y)
    sklearn.gaussian_process.GaussianProcessRegressor(k.RBF() + k.WhiteKernel()).fit(x, y)
    sklearn.inspection.permutation_importance(sklearn.linear_model.LogisticRegression().fit(x, y), x, y)
    sklearn.cluster.Birch().fit(x)
    sklearn.cluster.FeatureAgglomeration(pooling_func=np.max).fit(x)
    sklearn.cluster.OPTICS(metric='manhattan').fit(x)
    sklearn.neural_network.MLPClassifier((5,), max_iter=5, solver='adam').fit(x, y)
    sklearn.neural_network.MLPClassifier((5,), max_iter=5, solver='sgd', early_stopping=True).fit(x, y)
    sklearn.semi_supervised.SelfTrainingClassifier(sklearn.linear_model.LogisticRegression()).fit(x, y)
    sklearn.linear_model.RANSACRegressor().fit(x, y)
    sklearn.model_selection.TunedThresholdClassifierCV(sklearn.linear_model.LogisticRegression()).fit(x, y)
    sklearn.frozen.FrozenEstimator(sklearn.linear_model.LogisticRegression().fit(x, y))
    sklearn.linear_model.LogisticRegression().set_fit_request(sample_weight=True)
    sklearn.exceptions.NotFittedError('x')
    sklearn.metrics.confusion_matrix
    sklearn.pipeline.make_pipeline(sklearn.impute.SimpleImputer(), sklearn.preprocessing.StandardScaler()).set_output(transform='pandas').fit(x)
    sklearn.metrics.ConfusionMatrixDisplay(np.eye(2))
    sklearn.metrics.RocCurveDisplay(fpr=x, tpr=x)
    xgb.XGBClassifier(n_estimators=2).fit(x, y)
    xgb.XGBRegressor(n_estimators=2).fit(x, y)
    xgb.XGBRanker(n_estimators=2).fit(x, y, qid=np.zeros(60))
    xgb.XGBRFClassifier(n_estimators=2).fit(x, y)
    xgb.XGBRFRegressor(n_estimators=2).fit(x, y)
    xgb.train({}, xgb.DMatrix(x, y), 2)
    lgb.LGBMClassifier(n_estimators=2, verbose=-1).fit(x, y)
    lgb.LGBMRegressor(n_estimators=2, verbose=-1).fit(x, y)
    lgb.LGBMRanker(n_estimators=2, verbose=-1).fit(x, y, group=[60])
    lgb.train({'verbose': -1}, lgb.Dataset(x, y), 2)
"""


def estimators() -> Iterator[tuple[str, Any]]:
    """Give every estimator of scikit-learn that can be fitted on one of a few sets of data."""
    import numpy as np

    try:
        from sklearn.utils import all_estimators
    except ImportError:
        from sklearn.utils.testing import all_estimators
    from sklearn import datasets, linear_model

    x, y = datasets.make_classification(60, 6, random_state=0)
    texts = ["a seal on a jar", "a jar on a shelf", "no seal at all", "the shelf"] * 3
    tries = (
        (x, y), (np.abs(x), y), (x,), (np.abs(x),), (x, np.column_stack([y, y])), (x[:, 0], y),
        (texts,), ([{"a": 1.0}, {"b": 2.0}],), (["a", "b"],), ([("a",), ("b",)],),
        (np.ones((2, 12, 12)),), (x @ x.T, y), (np.abs(x) > 0.5, y),
    )  # fmt: skip
    simple = linear_model.LogisticRegression()
    given = {
        "base_estimator": simple, "estimator": simple, "estimators": [("a", simple)], "base_regressor": simple,
        "transformers": [("a", "passthrough", [0])], "transformer_list": [("a", "passthrough")],
        "steps": [("a", simple)], "param_grid": {"C": [1.0]}, "param_distributions": {"C": [1.0]},
        "n_iter": 1, "regressor": linear_model.Ridge(), "dictionary": np.eye(6), "code_size": 2,
    }  # fmt: skip
    for name, cls in all_estimators():
        asked = [
            parameter.name
            for parameter in inspect.signature(cls.__init__).parameters.values()
            if parameter.default is inspect.Parameter.empty and parameter.kind == 1
        ][1:]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                model = cls(**{key: given[key] for key in asked if key in given})
            except Exception as error:
                print(f"{name} is not made: {error!r}"[:160], file=sys.stderr)
                continue
            yield name, model
            for data in tries:
                try:
                    model.fit(*data)
                except Exception:
                    continue
                yield name, model
                break
            else:
                print(name + " is not fitted", file=sys.stderr)


# --- classes that hold data ---------------------------------------------------------------------


def modules(package: str) -> Iterator[Any]:
    """Give each module of a package, without its tests."""
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
    """Give what stands in a function, or below it, that data code has no need of."""
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
    space = function.__globals__
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


def call_faults(function: Any, cls: type, depth: int, seen: set[Any]) -> Iterator[str]:
    """Give which attributes an object calls, or looks up by a name of its own, where it is called.

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
        if not callable(method) and func.attr not in _HANDED_ON:
            yield f"calls its attribute {func.attr} in {function.__qualname__}"
        elif isinstance(method, types.FunctionType) and depth:
            yield from call_faults(method, cls, depth - 1, seen)


def class_faults(cls: type) -> Iterator[str]:
    """Give what an unpickler could set off in a class that data code has no need of."""
    for base in cls.__mro__:
        if base.__name__ in REFUSED_CLASSES:
            yield "is a " + base.__name__
        if base.__name__ in ("Thread", "Process", "Popen", "IOBase", "ModuleType", "type"):
            yield "is a " + base.__name__
    if any(
        base.__module__.split(".")[0] in ("ast", "threading", "io", "_io") for base in cls.__mro__
    ):
        yield "is of a module that is no data's"
    called = next(
        (vars(base)["__call__"] for base in cls.__mro__ if "__call__" in vars(base)), None
    )
    if isinstance(called, types.FunctionType):
        yield from call_faults(called, cls, 2, set())
    for method in _IMPLICIT:
        for base in cls.__mro__:
            found = base.__dict__.get(method)
            if isinstance(found, (staticmethod, classmethod)):
                found = found.__func__
            if isinstance(found, types.FunctionType):
                depth = 3 if method.startswith("__") else 1
                yield from faults(found, cls, depth, set())


def data_classes() -> tuple[Names, dict[str, list[str]]]:
    """Give the classes of the covered libraries that hold data, and why others do not."""
    good: Names = {}
    refused: dict[str, list[str]] = {}
    for module in (found for package in COVERED[:4] for found in modules(package)):
        if module.__name__.startswith(_NO_DATA):
            continue
        for name, value in list(vars(module).items()):
            if not isinstance(value, type) or value.__module__ != module.__name__:
                continue
            if value.__qualname__ != name or not holds_data(module.__name__, value):
                continue
            found = sorted(set(class_faults(value)))
            if found:
                refused[module.__name__ + ":" + name] = found
            else:
                called = {CALLED} if issubclass(value, (BaseException, tuple)) else set()
                good[module.__name__, name] = {MADE, BUILT} | called
    return good, refused


def holds_data(module: str, cls: type) -> bool:
    """Tell whether a class is one that pickles may well have: public, or of scikit-learn."""
    if issubclass(cls, BaseException):
        return True
    if cls.__name__.startswith("_") and not module.startswith("sklearn."):
        return False
    # What is compiled is listed if a pickle has been seen to have it.
    return issubclass(cls, tuple) or any(
        isinstance(value, types.FunctionType)
        for base in cls.__mro__
        for value in vars(base).values()
    )


def functions() -> Names:
    """Give ufuncs, metrics, kernels and score functions, which estimators refer to."""
    import numpy as np
    import scipy.special

    good: Names = {}
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
    for name, value in list(vars(builtins).items()):
        if (
            isinstance(value, type)
            and issubclass(value, BaseException)
            and not name.startswith("_")
        ):
            good["builtins", value.__name__] = {CALLED, BUILT}
    return good


def spellings(value: Any) -> Iterator[tuple[str, str]]:
    """Give the module and name that a pickle has for `value`, if it is pickled by name alone."""
    recorder = Recorder()
    try:
        recorder.read(pickle.dumps(value, 4))
    except Exception:
        return
    if len(recorder.names) == 1:
        yield next(iter(recorder.names))


# --- the list -----------------------------------------------------------------------------------


def collect() -> dict[str, Any]:
    """Give all that this interpreter's libraries say, ready for JSON."""
    warnings.simplefilter("ignore")
    groups = [
        ("plain", PLAIN),
        ("numpy", NUMPY),
        ("pandas", PANDAS),
        ("scipy", SCIPY),
        ("sklearn", SKLEARN),
    ]
    recorded: Names = {}

    def objects() -> Iterator[tuple[str, Any]]:
        for group, text in groups:
            yield from attempts(sources(group, text))
        yield from estimators()

    recorded = record(objects())
    enumerated, refused = data_classes()
    versions = {"python": "{}.{}".format(*sys.version_info)}
    for package in COVERED:
        try:
            versions[package] = importlib.import_module(package).__version__
        except ImportError:
            continue
    faulty: dict[str, list[str]] = {}
    for module, name in recorded:
        value = getattr(importlib.import_module(module), name.split(".")[0], None)
        found = set(
            class_faults(value) if isinstance(value, type) else faults(value, type, 0, set())
        )
        # Nobody can read a compiled helper here; that pickles have it says what it is for.
        found = {fault for fault in found if not fault.startswith("no source")}
        if found:
            faulty[module + ":" + name] = sorted(found)
    return {
        "versions": versions,
        "recorded": plain(recorded),
        "enumerated": plain(enumerated),
        "functions": plain(functions()),
        "refused": refused,
        "faulty": faulty,
    }


def plain(names: Names) -> list[list[str]]:
    """Give names as JSON has them: module, name and uses, in order."""
    return [[*key, *sorted(uses)] for key, uses in sorted(names.items())]


def asked(interpreter: str) -> dict[str, Any]:
    """Have an interpreter say what its libraries have."""
    done = subprocess.run(
        [interpreter, __file__, "--collect"], stdout=subprocess.PIPE, check=True, cwd="/"
    )
    said: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return said


def merged(answers: Iterable[dict[str, Any]]) -> Names:
    """Give the names that are good by all that was said, each with its good uses."""
    names: Names = {(module, name): set(uses) for module, name, uses in BY_HAND}
    for answer in answers:
        for group in ("functions", "enumerated", "recorded"):
            for module, name, *uses in answer[group]:
                fault = answer["faulty"].get(module + ":" + name)
                if fault and group == "recorded" and (module, name) not in REVIEWED:
                    print(module, name, "is left out:", fault[:2], file=sys.stderr)
                elif (module, name) not in REFUSED and "." not in name:
                    names.setdefault((module, name), set()).update(uses)
    for (module, name), uses in list(names.items()):
        # numpy 2 calls its core _core, and each spelling is read by both.
        for one, other in (("numpy.core", "numpy._core"), ("numpy._core", "numpy.core")):
            if module == one or module.startswith(one + "."):
                names.setdefault((other + module[len(one) :], name), set()).update(uses)
    for key in ONLY_LOOKED_UP:
        names[key] = set()
    return names


def text(names: Names, versions: Iterable[dict[str, str]], date: str) -> str:
    """Give the list as it is written: modules, and below each its names with their uses."""
    lines = ["# Names that build data and fitted models, " + date, "#"]
    lines += [
        "# made with " + ", ".join("{} {}".format(*item) for item in version.items())
        for version in versions
    ]
    lines += [
        "#",
        "# Below a module stand its names. A name may be looked up, and what its letters say:",
        "# c called, m made by __new__, b given a state.",
    ]
    last = ""
    for (module, name), uses in sorted(names.items()):
        if module != last:
            lines.append(module)
            last = module
        lines.append(" " + " ".join([name, "".join(sorted(uses))]).strip())
    return "\n".join(lines) + "\n"


def main(interpreters: list[str]) -> None:
    """Write the list."""
    from pickleseal.scanner import names as room

    answers = [asked(interpreter) for interpreter in interpreters]
    TARGET.write_text(
        text(merged(answers), [answer["versions"] for answer in answers], room.LIST_VERSION),
        encoding="utf-8",
    )


if __name__ == "__main__":
    if sys.argv[1:] == ["--collect"]:
        print(json.dumps(collect()))
    else:
        main(sys.argv[1:])
