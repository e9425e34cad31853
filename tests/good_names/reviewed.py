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
    ("joblib.memory", "Memory"): "makes a folder where it is called, and not by __new__",
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
    ("xarray.core.indexing", "IndexCallable"),
    # They free what their state says where they are deleted.
    ("lightgbm.basic", "Dataset"),
    ("xgboost._data_utils", "Categories"),
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
    ("dill._dill", "_create_array", "ac"),  # calls one of NumPy's; the walk looks at its arguments
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
    # Newer types of numbers, in a storage without a type of its own; it checks what lies in it.
    ("torch.storage", "UntypedStorage", ""),
    ("torch._utils", "_rebuild_tensor_v3", "c"),
    *(
        ("torch", kind, "")
        for kind in ("uint16", "uint32", "uint64", "float8_e4m3fn", "float8_e5m2", "complex32")
    ),
    # Bound methods: ordinary, and the key to everything. The walk marks each use but those by which
    # a time zone is unpickled, and a method of texts is found. M, which no function can be, keeps
    # what is handed on unknown.
    ("builtins", "getattr", "cM"),
    # It calls nothing until it is called, and the walk follows or marks that. I, which none is,
    # does as M above.
    ("functools", "partial", "bcI"),
    ("pandas.core.internals.blocks", "new_block", "c"),
    # Of pandas before 0.23; newer ones look it up elsewhere.
    ("pandas._libs.tslib", "__nat_unpickle", "c"),
    ("pandas.tslib", "__nat_unpickle", "c"),
    ("logging", "getLogger", "c"),  # finds or makes one by its name, which is a text
    ("zoneinfo", "ZoneInfo", "c"),  # reads the file of a zone by its key
    ("pendulum.tz.timezone", "Timezone", "c"),  # a subclass of it, with another error
    ("pendulum.date", "Date", "c"),  # a date, by Python's own __new__
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
    ("sklearn.model_selection._classification_threshold", "_CurveScorer", "abkmo"),  # in 1.5
    # Losses of scikit-learn 1.5, which Cython makes and gives a state of numbers.
    *(
        one
        for loss in (
            "AbsoluteError",
            "ExponentialLoss",
            "HalfBinomialLoss",
            "HalfGammaLoss",
            "HalfPoissonLoss",
            "HalfSquaredError",
            "HalfTweedieLoss",
            "HalfTweedieLossIdentity",
            "HuberLoss",
            "PinballLoss",
        )
        for one in (("_loss", "Cy" + loss, "bm"), ("_loss", "__pyx_unpickle_Cy" + loss, "c"))
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
    ("joblib.memory", "Memory", "C", "makes folders"),
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

# Names whose results are plain data if they are made of plain data, as regular expressions of one
# module's names that are alike. Such an object may be an argument, a state or a key anywhere: with
# any plain state, none of its methods runs code, opens, imports or writes. A class that only models
# and containers hold needs no line here, since these store what is no plain data as well.
PLAIN_NAMES = {
    # Python, all in C: containers and numbers; none has attributes, but an OrderedDict, whose
    # attributes C looks up on its class.
    r"builtins (bytearray|bytes|complex|frozenset|range|set|slice)",
    r"collections (Counter|OrderedDict|defaultdict|deque)",
    r"_codecs encode",  # bytes, or a text for a codec of Python's own
    r"array (array|_array_reconstructor)",
    r"datetime (date|datetime|time|timedelta|timezone)",  # they call a time zone, see below
    r"decimal Decimal",
    r"fractions Fraction",  # Python: computes with two numbers in slots
    r"uuid UUID",  # Python: compares, hashes and formats one number in a slot
    # Time zones: they compute with the differences in their state, and the one by name reads the
    # file of a zone by its key, which cannot lead out of the folders of zones.
    r"zoneinfo ZoneInfo",
    r"pendulum\.tz\.timezone Timezone",
    r"dateutil\.tz\.tz (tzutc|tzlocal|tzoffset)",
    r"pytz (_UTC|_p|FixedOffset)",  # zones of pytz itself, without a state
    r"dateutil\.relativedelta relativedelta",  # adds and compares the numbers in its state
    # numpy, in C: arrays, scalars, and generators, which take their state as numbers
    (
        r"numpy\._?core\.(multiarray|numeric|_internal)"
        r" (_reconstruct|scalar|_frombuffer|_convert_to_stringdtype_kwargs)"
    ),
    r"numpy\.random\._pickle __(bit_generator|generator|randomstate)_ctor",
    r"numpy\.random\.bit_generator (SeedSequence|__pyx_unpickle_SeedSequence)",
    # pandas, compiled: scalars, offsets, and blocks of arrays
    (
        r"pandas\._libs\.tslibs\.(timestamps|timedeltas|period|nattype)"
        r" (Timestamp|Timedelta|Period|_{0,2}\w*_unpickle\w*)"
    ),
    r"pandas\.(_libs\.)?tslib __nat_unpickle",
    r"pandas\._libs\.tslibs\.offsets [A-Z]\w*",
    r"pandas\._libs\.interval Interval",
    r"pandas\._libs\.sparse (BlockIndex|IntIndex)",
    r"pandas\._libs\.internals _unpickle_block",
    r"pandas\.core\.internals\.blocks new_block",
    r"pandas\._libs\.arrays __pyx_unpickle_NDArrayBacked",
    r"pandas (Interval|Period|Timestamp)",
    r"(pandas|pandas\.tseries\.offsets) DateOffset",
    # pandas, Python: types, arrays, indexes and their managers, each with arrays in its state. No
    # series and frames: their attributes are their data, and NumPy reads memory where an attribute
    # says that it is an array.
    (
        r"pandas(\.core\.arrays\..*|\.core\.dtypes\.dtypes)? (Arrow|Boolean|Categorical|DatetimeTZ"
        r"|Float32|Float64|NumpyEA|Pandas|U?Int8|U?Int16|U?Int32|U?Int64|Interval|Period|Sparse|String)Dtype"
    ),
    r"pandas(\.core\.arrays\.categorical)? Categorical",
    (
        r"pandas\.(core\.)?arrays(\..*)? (ArrowExtension|ArrowString|Boolean|Datetime|Floating"
        r"|Integer|Interval|NumpyExtension|Pandas|Period|Sparse|String|Timedelta)Array"
    ),
    (
        r"pandas(\.core\.indexes\.\w+)?"
        r" (Categorical|Datetime|Float64|Int64|Interval|Multi|Period|Range|Timedelta|UInt64)?Index"
    ),
    r"pandas\.core\.indexes\.\w+ _new_(Datetime|Interval|Period|Timedelta)?Index",
    r"pandas\.core\.indexes\.frozen FrozenList",
    r"pandas\.core\.internals\.managers (Single)?BlockManager",
    # pyarrow, compiled: types, buffers and arrays
    (
        r"pyarrow\.lib (_reconstruct_record_batch|_reconstruct_table|_restore_array|binary"
        r"|chunked_array|decimal128|decimal256|dictionary|field|large_list|list_|map_|py_buffer"
        r"|schema|struct|timestamp|type_for_alias)"
    ),
    # torch, compiled: a tensor on numbers that the caller reads
    r"torch\._utils (_rebuild_tensor_v[23]|_rebuild_parameter)",
}

# Names that are themselves plain data, so that an argument or a state may have them: constants, and
# what does nothing but to make a generator or an array, should anything call it.
VALUE_NAMES = {
    r"builtins (Ellipsis|NotImplemented|complex|float)",
    r"decimal (Clamped|DivisionByZero|InvalidOperation|Overflow|Rounded|Underflow)",
    r"(pandas|pandas\._libs\.missing) NA",
    r"numpy\.random\._pickle __bit_generator_ctor",
    r"torch (b?float|complex|u?int)\d\w*",  # types of numbers, without attributes
    r"numpy (float|complex|u?int)\d+",  # the same: they convert one number
    r"numpy\.random\._(mt19937|pcg64|philox|sfc64) (MT19937|PCG64|PCG64DXSM|Philox|SFC64)",
    r"scipy\._lib\.array_api_compat\.numpy\._aliases asarray",
    # The class of a type's index, which a type of pandas keeps: it makes an index of plain data,
    # and has no method that opens or calls.
    r"pandas(\.core\.indexes\.\w+)? (Categorical|Datetime|Interval|Period|Timedelta)?Index",
}

# Packages that had names on the list. sympy evaluates every text that it is passed, and executes
# code with the names of symbols in it.
LEFT_OUT = ("sympy", "mpmath")

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
