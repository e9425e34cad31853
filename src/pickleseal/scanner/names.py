"""The grade of one name, by the exact list of good names and by rules for those beyond data.

docs/explanation/grades.md explains the grades and how the list is made.
"""

import sys
from functools import cache, lru_cache
from pathlib import Path
from typing import NamedTuple

from pickleseal.scanner.grade import Grade
from pickleseal.scanner.machine.values import Use

LIST_VERSION = "2026-12-01"
"""Which list of good names this is; the head of good_names.txt has what it was made from."""

_LIST = Path(__file__).with_name("good_names.txt")
_LETTERS = {
    "c": Use.CALLED.value, "m": Use.MADE.value, "b": Use.BUILT.value, "i": Use.FILLED.value,
    "a": Use.HANDED.value, "o": Use.HOLDING.value, "k": Use.HASHED.value,
    "p": 1 << 15, "v": 1 << 14,
}  # fmt: skip
_ACTS = 16
"""Shift in bits from the good uses of a name to those in which it acts on its arguments."""
_PLAIN, _VALUE = _LETTERS["p"], _LETTERS["v"]
_OBJECTS = (Use.HANDED | Use.HOLDING | Use.HASHED).value

# What the list is made from. Of these, a function that is called and not listed is beyond.
_COVERED = frozenset({"numpy", "scipy", "sklearn", "pandas", "pyarrow", "xgboost", "lightgbm"})

# Modules that Python has had, and may have again in the interpreter that loads the file.
_GONE = frozenset({
    "__builtin__", "_abcoll", "_bootlocale", "_dummy_threading", "asynchat", "asyncore",
    "audioop", "binhex", "cPickle", "cStringIO", "cgi", "cgitb", "chunk", "commands", "compiler",
    "copy_reg", "crypt", "distutils", "dl", "dummy_threading", "exceptions", "formatter",
    "future_builtins", "hotshot", "httplib", "ihooks", "imageop", "imghdr", "imp", "imputil",
    "lib2to3", "macpath", "macurl2path", "mailcap", "msilib", "mutex", "new", "nis", "nntplib",
    "ossaudiodev", "parser", "pipes", "popen2", "posixfile", "rexec", "sets", "sitecustomize",
    "smtpd", "sndhdr", "spwd", "statvfs", "sunau", "symbol", "telnetlib", "thread", "toaiff",
    "urllib2", "urlparse", "user", "usercustomize", "uu", "xdrlib", "xmlrpclib",
})  # fmt: skip

# Packages that pickle code, run code or install it. Nothing of theirs is data's.
_PICKLERS = frozenset({
    "Cython", "IPython", "_distutils_hack", "_pytest", "billiard", "cloudpickle",
    "cloudpickle_generators", "dill", "easy_install", "execnet", "ipykernel", "ipython_genutils",
    "jsonpickle", "multiprocess", "nose", "pip", "pkg_resources", "ptpython", "pytest",
    "pyximport", "setuptools",
})  # fmt: skip

# Packages whose functions run, import, load or fetch by trade. The list cannot be complete; it need
# not be, because what is on neither list is never graded as data.
_RUNNERS = frozenset({
    "aiohttp", "ansible", "apscheduler", "asteval", "boto3", "botocore", "bpython", "celery",
    "cffi", "click", "deepspeed", "distributed", "django", "fabric", "fire", "flask", "fsspec",
    "gevent", "gunicorn", "httpx", "hydra", "invoke", "jedi", "jinja2", "jupyter",
    "jupyter_client", "jupyter_core", "keyring", "llvmlite", "loky", "mako", "nox", "numba",
    "numexpr", "paramiko", "parso", "pdbpp", "pexpect", "plumbum", "poetry", "psutil",
    "ptyprocess", "pudb", "requests", "rpyc", "ruamel", "sh", "smart_open", "supervisor",
    "testpath", "tox", "twisted", "urllib3", "uvicorn", "virtualenv", "wheel", "win32api",
    "win32com", "wmi", "yaml",
})  # fmt: skip

# Parts of other packages that do the same: each with a dot behind it, which ends the name.
# An ordinary file may refer to a class of theirs, which acts only where it is called.
_REACHING_MODULES = (
    "huggingface_hub.", "joblib.", "keras.saving.", "keras.src.saving.", "lightgbm.basic.",
    "mlflow.", "numpy._pytesttester.", "numpy.compat.py3k.", "numpy.ctypeslib.",
    "numpy.distutils.", "numpy.f2py.", "numpy.lib._datasource.", "numpy.lib._format_impl.",
    "numpy.lib._npyio_impl.", "numpy.lib.format.", "numpy.lib.npyio.", "numpy.lib.utils.",
    "pandas.compat.", "pandas.core.computation.", "pandas.io.", "pandas.util.", "pyarrow.cffi.",
    "pyarrow.filesystem.", "pyarrow.flight.", "pyarrow.fs.", "pyarrow.hdfs.",
    "pyarrow.serialization.", "scipy._lib._ccallback.", "scipy._lib._pep440.",
    "scipy._lib._uarray.", "scipy._lib.uarray.", "scipy.datasets.", "scipy.io.", "scipy.weave.",
    "sklearn.datasets.", "sklearn.externals.", "sklearn.utils.parallel.", "tensorflow.python.",
    "test.support.", "torch._C.", "torch._dynamo.", "torch._inductor.", "torch._utils_internal.",
    "torch.cuda.nvtx.", "torch.distributed.", "torch.fx.", "torch.hub.", "torch.jit.",
    "torch.multiprocessing.", "torch.onnx.", "torch.package.", "torch.serialization.",
    "torch.utils.", "transformers.dynamic_module_utils.", "transformers.utils.", "xgboost.core.",
    "xgboost.tracker.",
)  # fmt: skip

# A mapped array is pickled with its class, which opens a file only where it is made or called.
_REACHING_NAMES = frozenset({
    ("numpy", "memmap"), ("numpy.core.memmap", "memmap"), ("numpy._core.memmap", "memmap"),
    ("numpy", "DataSource"), ("pandas", "HDFStore"),
    ("pandas", "ExcelWriter"), ("pandas", "ExcelFile"), ("pyarrow.lib", "OSFile"),
    ("pyarrow.lib", "MemoryMappedFile"), ("pyarrow.lib", "CompressedOutputStream"),
    ("torch", "load"), ("torch", "compile"),
    ("pyarrow.lib", "PyExtensionType"), ("pyarrow", "PyExtensionType"),
})  # fmt: skip

# Beginnings of the names of functions that read, write, fetch or run. In the libraries of the list
# such a function is beyond even if it is only looked up; elsewhere, if it is called.
_REACHING_STARTS = (
    "call", "check_output", "compile", "dump", "eval", "exec", "fetch", "fromfile", "genfromtxt",
    "import", "load", "memmap", "open", "pickle", "popen", "query", "read", "run", "save", "spawn",
    "system", "to_", "tofile", "write",
)  # fmt: skip
_METHODS_REACH = tuple(start for start in _REACHING_STARTS if start != "call")
_HELPERS = ("__pyx_unpickle_", "_reconstruct", "_rebuild", "_unpickle", "_restore")
_TESTS = frozenset({"test", "tests", "testing", "_testing", "conftest"})

# Names in ordinary files that can also reach anything: neither data nor beyond.
_ORDINARY = {
    "argparse": "Namespace",
    "builtins": (
        "bin classmethod enumerate format getattr hasattr hex isinstance issubclass iter max min"
        " oct print property repr reversed sorted staticmethod super type zip"
    ),
    "calendar": "Calendar",
    "collections": "UserDict UserList UserString ChainMap",
    "collections.abc": "Callable Hashable Iterable Iterator Mapping Sequence Set Sized",
    "configparser": "ConfigParser RawConfigParser SectionProxy",
    "copyreg": "__newobj_ex__",
    "enum": "Enum Flag IntEnum IntFlag StrEnum auto",
    "functools": "partial partialmethod cmp_to_key",
    "numpy": (
        "bool bool_ bytes_ complex128 complex64 datetime64 float16 float32 float64 int16 int32"
        " int64 int8 longdouble object_ str_ timedelta64 uint16 uint32 uint64 uint8 void"
    ),
    "numpy.core": "_ufunc_reconstruct",
    "numpy._core": "_ufunc_reconstruct",
    "http": "HTTPStatus",
    "http.cookies": "Morsel SimpleCookie",
    "inspect": "Parameter Signature _ParameterKind",
    "itertools": (
        "chain combinations combinations_with_replacement compress count cycle islice permutations"
        " product repeat zip_longest"
    ),
    "logging": "Logger RootLogger getLogger LogRecord",
    "numbers": "Complex Integral Number Rational Real",
    "operator": (
        "abs add and_ attrgetter concat contains eq floordiv ge getitem gt index inv invert"
        " is_ is_not itemgetter le lshift lt matmul methodcaller mod mul ne neg not_ or_ pos pow"
        " rshift sub truediv truth xor"
    ),
    "secrets": "SystemRandom",
    "statistics": "NormalDist fmean geometric_mean harmonic_mean mean median mode pstdev stdev",
    "string": "Template",
    "subprocess": "CompletedProcess CalledProcessError TimeoutExpired",
    "time": "monotonic perf_counter struct_time time",
    "torch._C": "Generator",
    "types": "GenericAlias MappingProxyType NoneType UnionType",
    "typing": (
        "Any Callable Dict Generic Iterable Iterator List Literal Mapping NamedTuple Optional"
        " Sequence Set Tuple Type TypeVar TypedDict Union"
    ),
    "unittest.mock": "_SentinelObject",
    "urllib.parse": "ParseResult SplitResult",
    "uuid": "SafeUUID",
    "weakref": "WeakKeyDictionary WeakSet WeakValueDictionary",
    "xml.etree.ElementTree": "Element ElementTree",
    "zoneinfo": "ZoneInfo",
    "dill._dill": "_load_type",
}
_STATES = frozenset({"_codecs", "array", "builtins", "datetime", "decimal", "numpy", "uuid"})
_ANYWAY = (Use.LOOKED_UP | Use.STATE).value
_TWINS = {"_operator": "operator", "_collections_abc": "collections.abc", "_functools": "functools"}


class _List(NamedTuple):
    """The list: for each name its uses as bits, shifted by _ACTS where the name acts.

    `uses` is by module and name with a space between, `acting` by package and name: a package has
    many modules that such a name can be taken from.
    """

    uses: dict[str, int]
    acting: dict[str, int]


@cache
def _listed() -> _List:
    uses: dict[str, int] = {}
    acting: dict[str, int] = {}
    module = package = ""
    bits = {"": 0}
    for line in _LIST.read_text(encoding="utf-8").splitlines():
        if line[0] == " ":
            name, _, letters = line[1:].partition(" ")
            if letters not in bits:
                bits[letters] = sum(map(_bit, letters))
            uses[f"{module} {name}"] = found = bits[letters]
            if found >> _ACTS:
                acting[f"{package} {name}"] = acting.get(f"{package} {name}", 0) | found >> _ACTS
        elif line[0] != "#":
            module = line
            package = module.partition(".")[0]
    return _List(uses, acting)


def _bit(letter: str) -> int:
    return _LETTERS[letter.lower()] << (_ACTS if letter.isupper() else 0)


@cache
def _ordinary() -> frozenset[str]:
    return frozenset(
        f"{module} {name}" for module, names in _ORDINARY.items() for name in names.split()
    )


def is_listed(module: str, name: str) -> bool:
    """Return whether a name is on the list of good names."""
    return f"{module} {name}" in _listed().uses


def traits(module: str, name: str) -> tuple[bool, bool, bool]:
    """Return whether a listed name is a class, makes plain data of such, and is such itself."""
    found = _listed().uses.get(f"{module} {name}", 0)
    return bool(found & Use.MADE.value), bool(found & _PLAIN), bool(found & _VALUE)


def is_nested(module: str, name: str, inner: str) -> bool:
    """Return whether a pickler before protocol 4 asks for a class so that is inside another one."""
    named = inner.isidentifier() and not _is_function(inner)
    return named and _judged(module, f"{name}.{inner}", Use.LOOKED_UP) is Grade.UNKNOWN


def grade_name(module: str, name: str, uses: Use) -> Grade:
    """Return what a name may reach for, by where it lives and how it is used; import nothing.

    `module` and `name` are as the unpickler imports them. A name counts as data only where each of
    its uses is on the list.
    """
    # Files repeat the same names, so results are cached. No library has very long names.
    known = len(module) + len(name) < 200
    return _remembered(module, name, uses) if known else _judged(module, name, uses)


def _judged(module: str, name: str, uses: Use) -> Grade:
    objects = uses.value & _OBJECTS
    if objects:
        found = _judged(module, name, Use(uses.value - objects))
        stores = not objects & ~_listed().uses.get(f"{module} {name}", 0)
        return found if stores else max(found, Grade.UNKNOWN)
    first, dot, inner = name.partition(".")
    if dot:
        return _judged_inside(module, first, inner)
    key = f"{module} {name}"
    listed = _listed().uses.get(key)
    root = module.partition(".")[0]
    acts = _listed().acting.get(f"{root} {name}", 0) if listed is None else listed >> _ACTS
    if uses.value & acts:
        return Grade.BEYOND
    if listed is not None and not uses.value & ~(listed | _ANYWAY):
        handed_on = uses == Use.LOOKED_UP and acts  # another function may call it
        fits = not handed_on and (Use.STATE not in uses or _is_state(module, name))
        return Grade.DATA if fits else Grade.UNKNOWN
    if listed is not None and (not _is_function(name) or Use.CALLED not in uses):
        return Grade.UNKNOWN
    if f"{_TWINS.get(module, module)} {name}" in _ordinary():
        return Grade.UNKNOWN
    return Grade.BEYOND if _reaches(module, name, uses) else Grade.UNKNOWN


def _judged_inside(module: str, first: str, inner: str) -> Grade:
    """Return the grade of what is reached through another name: a method or a nested class.

    Inside a listed class, or a class of one's own, that is unknown; it is beyond if it is named to
    act, or leads out of the class, as do a module and what Python keeps of functions. A path's
    methods act on the disk.
    """
    listed = _listed().uses.get(f"{module} {first}")
    root = module.partition(".")[0]
    if listed is None:
        own = root not in _COVERED and root not in _RUNNERS and not _is_function(first)
        leads_out = not own or _reaches(module, first, Use.CALLED)
    else:
        leads_out = bool(listed >> _ACTS) or root == "pathlib"
    if leads_out or any(
        part[:2] == "__" or part in _DOORS or part.lstrip("_").startswith(_METHODS_REACH)
        for part in inner.split(".")
    ):
        return Grade.BEYOND
    return Grade.UNKNOWN


_remembered = lru_cache(maxsize=4096)(_judged)


def _reaches(module: str, name: str, uses: Use) -> bool:
    """Return whether a name that is not good reaches beyond data."""
    parts = module.split(".")
    root = parts[0]
    if root in sys.stdlib_module_names or root in _GONE or root in _PICKLERS:
        return True
    if root in _RUNNERS and _is_function(name):
        return True
    if _is_test(parts[1:]) or not _DOORS.isdisjoint(parts) or _goes_through(name):
        return True
    if f"{module}.".startswith(_REACHING_MODULES):
        return Use.CALLED in uses or _is_function(name)
    if (module, name) in _REACHING_NAMES:
        return bool(uses & (Use.CALLED | Use.MADE))
    acts = name.lstrip("_").startswith(_REACHING_STARTS)
    called = Use.CALLED in uses and _is_function(name)
    if root not in _COVERED:
        return acts and called
    if name in sys.stdlib_module_names or acts:
        return True
    return called and not name.startswith(_HELPERS)


def _is_state(module: str, name: str) -> bool:
    """Return whether the result of a good name may be the state of another object."""
    # The items of a state become attributes, and the walk does not know their names.
    root = module.partition(".")[0]
    if root == "pandas":
        return name.endswith(("Dtype", "Array", "Index"))
    return root in _STATES and name != "getattr"  # which may give anything


def _is_function(name: str) -> bool:
    return name.lstrip("_")[:1].islower()


def _is_test(parts: list[str]) -> bool:
    return any(part in _TESTS or part.startswith("test_") for part in parts)


def _goes_through(name: str) -> bool:
    """Return whether a name is a module that is imported there, or what Python keeps of one."""
    return name in _DOORS or (name[:2] == "__" and not name.startswith(_HELPERS))


# Modules that other modules import, and after which no function, class or module is named; and
# `moves`, in which six keeps Python's own modules.
_DOORS = frozenset({
    "builtins", "ctypes", "importlib", "marshal", "moves", "nt", "os", "pickle", "posix", "shutil",
    "socket", "subprocess", "sys",
})  # fmt: skip
