"""What a person looked at: names that are good, beyond or left out, each with the reason."""

from __future__ import annotations

# What a person looked at and found to do nothing but data's work, with the reason.
REVIEWED = {
    ("joblib.numpy_pickle", "NumpyArrayWrapper"): "plain attributes; joblib reads what follows",
    ("xgboost.core", "Booster"): "hands the bytes of a model to its library",
    ("lightgbm.basic", "Booster"): "hands the text of a model to its library",
    ("_codecs", "encode"): "imports none but Python's own codecs",
    ("_io", "BytesIO"): "keeps bytes",
    ("_io", "StringIO"): "keeps text",
    ("PIL.Image", "Image"): "makes an image of pixels as they are",
    **{
        ("statsmodels.base.data", name): "evaluates a formula at a key for which the walk looks"
        for name in ("FormulaicData", "ModelData", "PandasData", "PatsyData")
    },
    ("pendulum.tz.timezone", "Timezone"): "reads the file of a zone by its key",
    ("polars.dataframe.frame", "DataFrame"): "reads columns of Arrow",
    ("polars.series.series", "Series"): "reads a column of Arrow",
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
    ("functools", "partial"),
    ("scipy.stats._distn_infrastructure", "rv_discrete_frozen"),  # holds unknown ones
    ("builtins", "print"),  # writes to what it is called with
    ("numba.core.serialize", "custom_rebuild"),  # calls what its argument says
    # They call functions that their state holds, where they are iterated or subscripted.
    ("dateutil.rrule", "rrulebase"),
    ("networkx.algorithms.tree.branchings", "ArborescenceIterator"),
    ("networkx.classes.coreviews", "FilterAdjacency"),
    ("networkx.classes.coreviews", "FilterAtlas"),
    ("networkx.classes.coreviews", "FilterMultiAdjacency"),
    ("networkx.classes.coreviews", "FilterMultiInner"),
    ("networkx.classes.reportviews", "EdgeDataView"),
    ("networkx.classes.reportviews", "InEdgeDataView"),
    ("networkx.classes.reportviews", "InMultiEdgeDataView"),
    ("networkx.classes.reportviews", "MultiEdgeDataView"),
    ("networkx.classes.reportviews", "OutEdgeDataView"),
    ("networkx.classes.reportviews", "OutMultiEdgeDataView"),
    ("scipy.optimize._differentialevolution", "DifferentialEvolutionSolver"),
    ("scipy.optimize._shgo_lib._vertex", "VertexCacheField"),
    ("scipy.optimize._shgo_lib._vertex", "VertexCacheIndex"),
    ("scipy.sparse._index", "IndexMixin"),
    ("scipy.sparse.sputils", "IndexMixin"),
    ("sympy.core.rules", "Transform"),
    ("xarray.core.indexing", "IndexCallable"),
}

# Unknown where they are used: called, the one makes classes, and the other opens the file that it is
# given, though not as its own pickles call it.
ONLY_LOOKED_UP = [("builtins", "type"), ("dateutil.tz.tz", "tzfile")]

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
    # torch.load looks them up for the type of numbers in a file beside the pickle.
    *(
        ("torch", kind + "Storage", "")
        for kind in (
            "BFloat16",
            "Bool",
            "Byte",
            "Char",
            "ComplexDouble",
            "ComplexFloat",
            "Double",
            "Float",
            "Half",
            "Int",
            "Long",
            "Short",
        )
    ),
    # Bound methods: ordinary, and the key to everything. The walk marks each use but the one by
    # which a time zone is unpickled. M, which no function can be, keeps what is handed on unknown.
    ("builtins", "getattr", "cM"),
    ("zoneinfo", "ZoneInfo", "c"),  # reads the file of a zone by its key
    # They call the function that they hold where somebody scores with them, and not when made.
    *(
        ("sklearn.metrics." + module, name, "bm")
        for module in ("_scorer", "scorer")
        for name in (
            "_Scorer",
            "_CurveScorer",
            "_PredictScorer",
            "_ProbaScorer",
            "_ThresholdScorer",
        )
    ),
    # Its objects call one of their methods, which their state holds: only looked up.
    ("scipy.interpolate._interpolate", "interp1d", ""),
    ("scipy.interpolate.interpolate", "interp1d", ""),
]

# What acts upon what it is given where no probe sees it: compiled code, a state of many parts, or a
# library that was not there.
BEYOND = [
    ("xgboost.core", "Booster", "C", "opens the file that it is called with"),
    ("lightgbm.basic", "Booster", "C", "the same"),
    ("h5py", "File", "CM", "HDF5 opens the file in C"),
    ("h5py._hl.files", "File", "CM", "the same"),
    ("psutil", "Popen", "CM", "starts a program"),
    ("py7zr.py7zr", "SevenZipFile", "CM", "opens a file"),
    ("patsy.highlevel", "dmatrix", "C", "evaluates a formula"),
    ("patsy.highlevel", "dmatrices", "C", "the same"),
    ("patsy.highlevel", "incr_dbuilder", "C", "the same"),
    ("patsy.highlevel", "incr_dbuilders", "C", "the same"),
    ("patsy.eval", "EvalEnvironment", "CMB", "evaluates in the names of its state"),
    ("patsy.eval", "EvalFactor", "CMB", "evaluates the code of its state"),
    ("formulaic.sugar", "model_matrix", "C", "evaluates a formula"),
    ("optuna.storages._rdb.storage", "RDBStorage", "CMB", "opens a database"),
    ("optuna.storages.journal._file", "JournalFileBackend", "CMB", "opens a file"),
    ("polars.expr.expr", "Expr", "B", "a serialized plan may hold pickled functions"),
    ("polars.lazyframe.frame", "LazyFrame", "B", "the same"),
    ("skops.io._persist", "load", "C", "makes what a file names"),
    ("skops.io._persist", "loads", "C", "the same"),
]

# Module and name of what makes plain data of plain data, as regular expressions. An object of these
# may be an argument, a state or a key anywhere: made of plain data, none of its methods that another
# listed name calls runs code, opens or writes. A class that is looked up counts as a value of itself.
PLAIN_NAMES = {
    # Python: immutable values and containers, in C or as simple
    r"builtins (bool|bytearray|bytes|complex|dict|float|frozenset|int|list|object|range|set|slice)",
    r"builtins (str|tuple|Ellipsis|NotImplemented)",
    r"collections (OrderedDict|defaultdict|deque|Counter)",
    r"(_codecs encode|re _compile|re RegexFlag|zoneinfo ZoneInfo)",
    r"(array|datetime|decimal|fractions|ipaddress|random|uuid|_io) .*",
    # numpy: arrays, dtypes, scalars and generators
    r"numpy (dtype|ndarray|matrix|recarray|record)",
    r"numpy (bool|bool_|bytes_|str_|void|object_|datetime64|timedelta64|longdouble|longlong)",
    r"numpy u?(int|float|complex)(\d+|c|p)?",
    (
        r"numpy\._?core\.(multiarray|numeric|records|_internal|defchararray)"
        r" (_reconstruct|scalar|_frombuffer|recarray|record|chararray|_convert_to_stringdtype_kwargs)"
    ),
    r"numpy\.(matrixlib\.defmatrix|rec|char|strings) .*",
    r"numpy\.ma(\.core)? (_mareconstruct|MaskedArray)",
    r"numpy\.random\.(_pickle|bit_generator|_mt19937|_pcg64|_philox|_sfc64|mtrand|_generator) .*",
    r"scipy\._lib\.array_api_compat\.numpy\._aliases asarray",
    r"scipy\.spatial\..* (cKDTree|KDTree)",
    # sklearn: distances, compiled
    r"sklearn\..* \w*(Distance|DistanceMetric|Distance64|Distance32)",
    # pandas: scalars, types, arrays, indexes and blocks, and no series and frames: their attributes
    # are their data, and NumPy reads memory where an attribute says that it is an array
    r"pandas\._libs\.(tslibs\..*|internals|arrays|interval|sparse|missing) .*",
    r"pandas\.core\.(indexes|internals)\..* .*",
    (
        r"pandas(\.core\.arrays\..*|\.core\.dtypes\.dtypes|\.arrays|\.tseries\.offsets)?"
        r" (\w*Array|NA|\w*Dtype|\w*Index|Categorical|Timestamp|Timedelta|Period|Interval"
        r"|DateOffset|NaT)"
    ),
    # others: what is immutable or compiled, and views and indexes
    # of that, and no rules of dateutil, which call what their state holds where they are iterated
    (
        r"(?!dateutil\.rrule rrule)"
        r"(sympy|mpmath|dateutil|pytz|pyarrow|multidict|packaging|bitarray|shapely|networkx\.classes)"
        r"(\..*)? .*"
    ),
    r"statsmodels\.tsa\.statespace\._.* .*",
    r"xarray\.core\.(indexes|variable|indexing) .*",
    r"torch(\..*)? (_rebuild_tensor|_rebuild_tensor_v2|_rebuild_parameter|Size|device|\w+Storage)",
    r"(sklearn\.externals\.)?joblib\.numpy_pickle NumpyArrayWrapper",
}

# Uses that the static look does not give: it stores objects in compiled code, or by a base class.
STORES = [
    (r"pandas(\.core\.arrays\.categorical)? Categorical", "mb"),  # of plain arrays and a dtype
    (r"copyreg _reconstructor", "a"),  # the walk looks at what it stores where
    (r"(pathlib|pathlib\._local) \w+Path", "k"),  # hashes the text that it was made of
    (r"builtins set", "o"),
    (r"collections (OrderedDict|defaultdict|deque|Counter)", "o"),
    (r"sklearn\..* (KDTree|BallTree)", "mbo"),  # typed attributes
    (r"sklearn\..* \w*(Distance|DistanceMetric|Distance64|Distance32)", "mb"),
    (r"torch\.nn\.modules\.container (Sequential|ModuleList|ModuleDict)", "o"),
]
