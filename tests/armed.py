"""Pickles that are armed, to no harm: the most that any does is to make an empty file or folder.

`made(folder)` gives them. Each either leaves a mark in the folder whose name begins with its kind,
or at least has the unpickler look a name up. `proved` unpickles them, in a process of its own and
without network, and tells what came of it.
"""

import io
import json
import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple


class Armed(NamedTuple):
    """One armed pickle.

    `acts` is true where unpickling leaves a mark; else it is enough that `looks_up`, a module and a
    name, is looked up. `joblib`: it is joblib.load that it is made for.
    """

    kind: str
    data: bytes
    acts: bool = True
    looks_up: tuple[str, str] | None = None
    joblib: bool = False


# -- an assembler of opcodes, for names that need not be there to be spelled


def text(value: str) -> bytes:
    raw = value.encode()
    return b"X" + len(raw).to_bytes(4, "little") + raw


def number(value: int) -> bytes:
    return b"J" + value.to_bytes(4, "little", signed=True)


def raw(value: bytes) -> bytes:
    return b"B" + len(value).to_bytes(4, "little") + value


def look(module: str, name: str) -> bytes:
    return text(module) + text(name) + b"\x93"


def pack(*items: bytes) -> bytes:
    return b"(" + b"".join(items) + b"t"


def listed(*items: bytes) -> bytes:
    return b"](" + b"".join(items) + b"e"


def fields(**items: bytes) -> bytes:
    return b"}(" + b"".join(text(key) + value for key, value in items.items()) + b"u"


def call(function: bytes, *args: bytes) -> bytes:
    return function + pack(*args) + b"R"


def make(cls: bytes, *args: bytes) -> bytes:
    return cls + pack(*args) + b"\x81"


def build(target: bytes, state: bytes) -> bytes:
    return target + state + b"b"


def whole(body: bytes, protocol: int = 4) -> bytes:
    return b"\x80" + bytes([protocol]) + body + b"."


# -- the samples

NONE = b"N"
MKDIR = look("posix", "mkdir")
GETATTR = look("builtins", "getattr")
CTOR = look("numpy.random._pickle", "__generator_ctor")
"""A helper that numpy needs, and that calls its second argument with its first."""
LINEAR = look("sklearn.linear_model._base", "LinearRegression")
FRACTION = look("fractions", "Fraction")

_PRIVATE = {
    "typing": ("typing", "_eval_type"),
    "generator-ufunc": ("numpy.core", "_ufunc_reconstruct"),
    "numpy-runstring": ("numpy.testing._private.utils", "runstring"),
    "numpy-f2py": ("numpy.f2py.crackfortran", "myeval"),
    "joblib-memory": ("joblib.memory", "Memory"),
    "random-variable": ("scipy.stats._continuous_distns", "norm_gen"),
    "uarray": ("scipy._lib._uarray._backend", "unpickle_function"),
    "held-svmlight": ("sklearn.datasets._svmlight_format_io", "dump_svmlight_file"),
    "held-pipe": ("pandas.core.common", "pipe"),
    "held-callable": ("pandas.core.common", "apply_if_callable"),
    "held-handle": ("pandas.io.common", "get_handle"),
    "held-import": ("werkzeug.utils", "import_string"),
}
"""Samples that act through what a next version may lack: that they look it up is enough."""


def _sample(kind: str, body: bytes) -> Armed:
    looked_up = _PRIVATE.get(kind)
    return Armed(kind, whole(body), looked_up is None, looked_up)


def made(folder: str) -> list[Armed]:
    """Return the samples, which leave their marks in `folder`."""
    return [*_called(folder), *_spelled(folder), *_handed_on(folder), *_libraries(folder),
            *_looking(), *_wrapped(folder), *_held_out(folder), *_combined(folder)]  # fmt: skip


def _mark(folder: str, kind: str) -> tuple[bytes, bytes, bytes]:
    """Return the path of a mark, code and a command that make it, as texts of a pickle."""
    path = f"{folder}/{kind}"
    return text(path), text(f"__import__('os').mkdir({path!r})"), text(f"mkdir '{path}'")


def _called(folder: str) -> list[Armed]:
    """What is called by its name."""

    def one(kind: str, module: str, name: str, *args: str | bytes) -> Armed:
        path, code, command = _mark(folder, kind)
        said = {"PATH": path, "CODE": code, "COMMAND": command}
        given = [said[arg] if isinstance(arg, str) else arg for arg in args]
        return Armed(kind, whole(call(look(module, name), *given)))

    empty = b"}"
    return [
        one("posix-mkdir", "posix", "mkdir", "PATH"),
        one("os-mkdir", "os", "mkdir", "PATH"),
        one("posix-system", "posix", "system", "COMMAND"),
        one("subprocess-getoutput", "subprocess", "getoutput", "COMMAND"),
        one("subprocess-popen", "subprocess", "Popen", "COMMAND", number(-1), NONE, NONE, NONE,
            NONE, NONE, b"\x88", b"\x88"),
        one("exec", "builtins", "exec", "CODE"),
        one("eval", "builtins", "eval", "CODE"),
        one("timeit", "timeit", "timeit", "CODE", text("pass"), look("time", "time"), number(1)),
        one("runpy", "runpy", "_run_code", "CODE", empty),
        one("profile", "cProfile", "runctx", "CODE", empty, empty, text("/dev/null")),
        one("file-io", "_io", "FileIO", "PATH", text("w")),
        one("builtin-open", "io", "open", "PATH", text("w")),
        one("codecs-open", "codecs", "open", "PATH", text("w")),
        one("log-handler", "logging", "FileHandler", "PATH"),
        one("zip-file", "zipfile", "ZipFile", "PATH", text("w")),
        one("tempfile", "tempfile", "mkdtemp", text(""), text("tempfile"), text(folder)),
        one("shutil", "shutil", "copyfile", text("/dev/null"), "PATH"),
        one("fileinput", "os", "open", "PATH", number(os.O_CREAT | os.O_WRONLY)),
        one("uuid", "uuid", "_get_command_stdout", text("mkdir"), "PATH")
        if sys.version_info < (3, 13)
        else one("uuid", "os", "makedirs", "PATH"),
    ]  # fmt: skip


def _spelled(folder: str) -> list[Armed]:
    """The same, in every way that a pickle can spell it."""

    def line(kind: str) -> bytes:
        return b"V" + f"{folder}/{kind}".encode("raw-unicode-escape") + b"\n"

    path = {kind: _mark(folder, kind)[0] for kind in (
        "object-opcode", "newobj", "newobj-ex", "extension", "rot13", "memo", "memo-mixed",
        "dropped", "broken", "dotted", "dotted-library", "second-protocol", "long-protocol",
    )}  # fmt: skip
    decoded = call(look("_codecs", "decode"), text("cbfvk"), text("rot13"))
    code = _mark(folder, "python2-name")[1][5:]
    command = _mark(folder, "python2-module")[2][5:]
    return [
        Armed("protocol-0", b"cposix\nmkdir\n(" + line("protocol-0") + b"tR."),
        Armed("inst", b"(" + line("inst") + b"iposix\nmkdir\n."),
        Armed("python2-name", b"c__builtin__\neval\n(V" + code + b"\ntR."),
        Armed("python2-module", b"ccommands\ngetoutput\n(V" + command + b"\ntR."),
        Armed("object-opcode", whole(b"(" + MKDIR + path["object-opcode"] + b"o")),
        Armed("newobj", whole(make(look("_io", "FileIO"), path["newobj"], text("w"))), acts=False,
              looks_up=("_io", "FileIO")),
        Armed("newobj-ex", whole(look("zipfile", "ZipFile") + pack(path["newobj-ex"]) + b"}\x92"),
              acts=False, looks_up=("zipfile", "ZipFile")),
        Armed("extension", whole(
            call(look("copyreg", "add_extension"), text("posix"), text("mkdir"), number(241))
            + b"0" + call(b"\x82\xf1", path["extension"]))),
        Armed("rot13", whole(call(decoded + text("mkdir") + b"\x93", path["rot13"]))),
        Armed("memo", whole(
            text("posix") + b"q\x05" + text("mkdir") + b"q\x06" + b"00h\x05h\x06\x93"
            + pack(path["memo"]) + b"R")),
        Armed("memo-mixed", whole(
            text("mkdir") + b"\x94" + text("posix") + b"q\x00" + text("mkdir") + b"\x94" + b"000"
            b"h\x00h\x01\x93" + pack(path["memo-mixed"]) + b"R")),
        Armed("dropped", whole(call(MKDIR, path["dropped"]) + b"0" + text("all is well"))),
        Armed("broken", whole(call(MKDIR, path["broken"]) + b"\xff")),
        Armed("dotted", whole(call(look("logging", "os.mkdir"), path["dotted"]))),
        Armed("dotted-library", whole(
            call(look("pandas.io.common", "os.mkdir"), path["dotted-library"]))),
        Armed("second-protocol", b"\x80\x02\x80\x04" + call(MKDIR, path["second-protocol"]) + b"."),
        Armed("long-protocol", whole(call(MKDIR, path["long-protocol"]), 5)),
    ]  # fmt: skip


def _handed_on(folder: str) -> list[Armed]:
    """What is called by what was handed it, and objects that are made to call."""
    kinds = (
        "map", "map-deque", "reduce", "partial", "getattr", "methodcaller", "attrgetter",
        "import-module", "resolve-name", "generator", "generator-ufunc", "default-factory",
        "append", "setstate-of-class", "setstate-of-object", "starmap", "nested-pickle",
        "typing", "array-method", "call-of-call", "iterator", "filter", "accumulate",
    )  # fmt: skip
    path = {kind: _mark(folder, kind)[0] for kind in kinds}
    posix_path = look("pathlib", "PosixPath")
    as_list = look("builtins", "list")
    resolved = call(look("pkgutil", "resolve_name"), text("os:mkdir"))
    imported = call(look("importlib", "import_module"), text("os"))
    ufunc = call(look("numpy.core", "_ufunc_reconstruct"), text("posix"), text("mkdir"))
    hint = call(look("typing", "ForwardRef"), _mark(folder, "typing")[1])
    zeros = call(look("numpy", "ndarray"), pack(number(1)))

    def touch(kind: str) -> bytes:
        return call(posix_path, path[kind])

    def bodies() -> dict[str, bytes]:
        return {
            "map": call(as_list, call(look("builtins", "map"), MKDIR, listed(path["map"]))),
            "map-deque": call(look("collections", "deque"),
                              call(look("builtins", "map"), MKDIR, listed(path["map-deque"]))),
            "filter": call(as_list, call(look("builtins", "filter"), MKDIR,
                                         listed(path["filter"]))),
            "reduce": call(look("functools", "reduce"), MKDIR,
                           listed(path["reduce"], number(0o755))),
            "starmap": call(as_list, call(look("itertools", "starmap"), MKDIR,
                                          listed(pack(path["starmap"])))),
            "accumulate": call(as_list, call(look("itertools", "accumulate"),
                                             listed(path["accumulate"], number(0o755)), MKDIR)),
            "partial": call(call(look("functools", "partial"), MKDIR, path["partial"])),
            "iterator": call(
                call(GETATTR, call(look("builtins", "iter"),
                                   call(look("functools", "partial"), MKDIR, path["iterator"]),
                                   number(3)), text("__next__"))),
            "getattr": call(call(GETATTR, touch("getattr"), text("touch"))),
            "methodcaller": call(call(look("operator", "methodcaller"), text("touch")),
                                 touch("methodcaller")),
            "attrgetter": call(call(call(look("operator", "attrgetter"), text("mkdir")), imported),
                               path["attrgetter"]),
            "import-module": call(call(GETATTR, imported, text("mkdir")), path["import-module"]),
            "resolve-name": call(as_list, call(look("builtins", "map"), resolved,
                                               listed(path["resolve-name"]))),
            "generator": call(CTOR, path["generator"], MKDIR),
            "generator-ufunc": call(CTOR, path["generator-ufunc"], ufunc),
            "default-factory": call(call(GETATTR, call(
                look("collections", "defaultdict"),
                call(look("functools", "partial"), MKDIR, path["default-factory"])),
                text("__missing__")), number(1)),
            "append": build(make(LINEAR), fields(append=MKDIR))
            + b"(" + path["append"] + b"e",
            "setstate-of-class": build(FRACTION, pack(NONE, fields(__setstate__=MKDIR))) + b"0"
            + build(make(FRACTION), path["setstate-of-class"]),
            "setstate-of-object": build(
                build(make(look("sklearn.metrics._scorer", "_PassthroughScorer")),
                      fields(__setstate__=MKDIR)), path["setstate-of-object"]),
            "nested-pickle": call(look("_pickle", "loads"),
                                  raw(whole(call(MKDIR, path["nested-pickle"])))),
            "typing": call(look("typing", "_eval_type"), hint, b"}", b"}"),
            "array-method": call(call(GETATTR, zeros, text("tofile")), path["array-method"]),
            "call-of-call": call(call(call(look("operator", "itemgetter"), text("mkdir")),
                                      call(look("builtins", "vars"), imported)),
                                 path["call-of-call"]),
        }  # fmt: skip

    return [_sample(kind, body) for kind, body in bodies().items()]


def _libraries(folder: str) -> list[Armed]:
    """Functions and classes of the libraries that models are made with, which write or run."""
    kinds = (
        "memmap", "numpy-save", "numpy-savetxt", "numpy-runstring", "numpy-f2py", "pandas-pickle",
        "joblib-dump", "joblib-memory", "data-home", "scipy-savemat", "scipy-save-npz",
        "random-variable", "uarray", "open-memmap", "memmap-made",
    )  # fmt: skip
    path, code, _ = zip(*(_mark(folder, kind) for kind in kinds), strict=True)
    paths, codes = dict(zip(kinds, path, strict=True)), dict(zip(kinds, code, strict=True))
    zeros = call(look("numpy", "ndarray"), pack(number(1)))
    memmap = (text("uint8"), text("w+"), number(0), pack(number(1)))
    template = text(
        f"__import__('os').mkdir({folder + '/random-variable'!r})\n"
        "def _parse_args(self): pass\n_parse_args_rvs = _parse_args_stats = _parse_args"
    )
    bodies = {
        "memmap": call(look("numpy", "memmap"), paths["memmap"], *memmap),
        "memmap-made": make(look("numpy", "memmap"), paths["memmap-made"], *memmap),
        "open-memmap": call(look("numpy.lib.format", "open_memmap"), paths["open-memmap"],
                            text("w+"), text("uint8"), pack(number(1))),
        "numpy-save": call(look("numpy", "save"), paths["numpy-save"], zeros),
        "numpy-savetxt": call(look("numpy", "savetxt"), paths["numpy-savetxt"], zeros),
        "numpy-runstring": call(look("numpy.testing._private.utils", "runstring"),
                                codes["numpy-runstring"], b"}"),
        "numpy-f2py": call(look("numpy.f2py.crackfortran", "myeval"), codes["numpy-f2py"]),
        "pandas-pickle": call(look("pandas.io.pickle", "to_pickle"), zeros,
                              paths["pandas-pickle"]),
        "joblib-dump": call(look("joblib.numpy_pickle", "dump"), zeros, paths["joblib-dump"]),
        "joblib-memory": call(look("joblib.memory", "Memory"), paths["joblib-memory"]),
        "data-home": call(look("sklearn.datasets._base", "get_data_home"), paths["data-home"]),
        "scipy-savemat": call(look("scipy.io", "savemat"), paths["scipy-savemat"], b"}"),
        "scipy-save-npz": call(look("scipy.sparse", "save_npz"), paths["scipy-save-npz"],
                               call(look("scipy.sparse", "eye"), number(2))),
        "random-variable": build(
            make(look("scipy.stats._continuous_distns", "norm_gen")),
            fields(_parse_arg_template=template)),
        "uarray": call(CTOR, paths["uarray"], call(
            look("scipy._lib._uarray._backend", "unpickle_function"), text("posix"),
            text("mkdir"))),
    }  # fmt: skip
    return [_sample(kind, body) for kind, body in bodies.items()]


def _looking() -> list[Armed]:
    """Names that would do more than make a mark, or that need not be there to be asked for."""
    names = (
        ("pip", "main"), ("pip._internal.cli.main", "main"), ("setuptools.sandbox", "run_setup"),
        ("pkg_resources", "run_script"), ("dill._dill", "_import_module"), ("dill", "loads"),
        ("cloudpickle.cloudpickle", "subimport"), ("cloudpickle", "loads"), ("torch", "load"),
        ("torch.hub", "load"), ("torch.jit", "load"), ("IPython", "get_ipython"),
        ("_pytest.config", "main"), ("socket", "create_connection"), ("ctypes", "CDLL"),
        ("webbrowser", "open"), ("marshal", "loads"), ("types", "FunctionType"),
        ("types", "CodeType"), ("builtins", "__import__"), ("builtins", "breakpoint"),
        ("sys", "setprofile"), ("code", "interact"), ("pdb", "run"), ("bdb", "Bdb"),
        ("asyncio.subprocess", "create_subprocess_shell"), ("pydoc", "pipepager"),
        ("ensurepip", "_run_pip"), ("venv", "create"), ("doctest", "debug_script"),
        ("multiprocessing.util", "spawnv_passfds"), ("_posixsubprocess", "fork_exec"),
        ("pandas", "read_pickle"), ("pandas", "eval"), ("numpy", "load"), ("numpy", "fromfile"),
        ("joblib", "load"), ("joblib", "Parallel"), ("sklearn.datasets", "fetch_openml"),
        ("sklearn.datasets._base", "load_files"), ("sklearn.tree._export", "export_graphviz"),
        ("sklearn.utils._testing", "TempMemmap"), ("xgboost", "train"), ("yaml", "load"),
        ("nt", "system"), ("_winapi", "CreateProcess"), ("distutils.spawn", "spawn"),
        ("lib2to3.pgen2.pgen", "ParserGenerator"), ("idlelib.run", "main"), ("pty", "spawn"),
        ("string", "Formatter"), ("builtins", "vars"), ("gc", "get_objects"),
        ("inspect", "currentframe"), ("mailcap", "findmatch"), ("requests", "get"),
        ("django.core.management", "call_command"), ("numpy", "os"), ("sklearn.utils", "sys"),
        ("sample_project.models", "os"), ("copyreg", "add_extension"),
    )  # fmt: skip
    return [
        Armed(
            f"look-{module}-{name}", whole(call(look(module, name), NONE)),
            acts=False, looks_up=(module, name),
        )
        for module, name in names
    ]  # fmt: skip


def _wrapped(folder: str) -> list[Armed]:
    """Armed objects where other tools put them."""
    import cloudpickle
    import joblib
    import numpy as np

    class Inside:
        def __init__(self, kind: str) -> None:
            self.kind = kind

        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (f"{folder}/{self.kind}",)

    file = io.BytesIO()
    joblib.dump({"a": np.array([Inside("joblib-objects"), 1], dtype=object)}, file)
    path = f"{folder}/cloudpickle"
    by_value = cloudpickle.dumps(lambda: Path(path).mkdir())
    return [
        Armed("joblib-objects", file.getvalue(), joblib=True),
        Armed("cloudpickle", by_value[:-1] + b")R."),
    ]


def _held_out(folder: str) -> list[Armed]:
    """What was thought of when the list and the rules stood, to see how they do."""

    def path(kind: str) -> bytes:
        return text(f"{folder}/{kind}")

    zeros = call(look("numpy", "ndarray"), pack(number(2)))
    eye = call(look("numpy", "eye"), number(2))
    handler = look("logging", "FileHandler")
    imported = call(look("werkzeug.utils", "import_string"), text("os:mkdir"))
    configured = fields(
        version=number(1),
        handlers=fields(
            a=b"}(" + text("class") + text("logging.FileHandler") + text("filename")
            + path("held-config") + b"u"
        ),
    )  # fmt: skip
    a_while = call(look("time", "sleep"), b"G" + struct.pack(">d", 0.2))
    bodies = {
        "held-reconstructor": call(
            look("copyreg", "_reconstructor"), handler, handler, path("held-reconstructor")),
        "held-random-state": call(
            look("numpy.random._pickle", "__randomstate_ctor"), path("held-random-state"), MKDIR),
        "held-wave": call(
            look("scipy.io.wavfile", "write"), path("held-wave"), number(8000), zeros),
        "held-svmlight": call(
            look("sklearn.datasets._svmlight_format_io", "dump_svmlight_file"), eye, zeros,
            path("held-svmlight")),
        "held-pipe": call(look("pandas.core.common", "pipe"), path("held-pipe"), MKDIR),
        "held-callable": call(
            look("pandas.core.common", "apply_if_callable"), MKDIR, path("held-callable")),
        "held-handle": call(look("pandas.io.common", "get_handle"), path("held-handle"), text("w")),
        "held-import": call(CTOR, path("held-import"), imported),
        "held-thread": call(
            look("_thread", "start_new_thread"), MKDIR, pack(path("held-thread"))) + b"0" + a_while,
        "held-method": call(call(look("types", "MethodType"), MKDIR, path("held-method"))),
        "held-finalize": call(
            look("weakref", "finalize"), call(look("collections", "OrderedDict")), MKDIR,
            path("held-finalize")),
        "held-gzip": call(look("gzip", "open"), path("held-gzip"), text("w")),
        "held-dbm": call(look("dbm.dumb", "open"), path("held-dbm"), text("c")),
        "held-config": call(look("logging.config", "dictConfig"), configured),
        "held-memmap": look("numpy", "memmap") + pack(path("held-memmap"))
        + fields(mode=text("w+"), shape=pack(number(4))) + b"\x92",
        "held-vectorize": build(
            make(LINEAR), fields(append=call(look("numpy", "vectorize"), MKDIR)))
        + b"(" + path("held-vectorize") + b"e",
    }  # fmt: skip
    names = (
        ("joblib.externals.cloudpickle.cloudpickle", "subimport"), ("pandas", "HDFStore"),
        ("pandas.compat._optional", "import_optional_dependency"), ("_ctypes", "dlopen"),
        ("_imp", "create_dynamic"), ("_frozen_importlib", "_gcd_import"), ("atexit", "register"),
        ("zipimport", "zipimporter"), ("linecache", "getlines"), ("trace", "Trace"),
        ("smtplib", "SMTP"), ("concurrent.futures.thread", "ThreadPoolExecutor"),
        ("contextlib", "ExitStack"), ("sqlite3", "connect"), ("compileall", "compile_dir"),
        ("zipapp", "create_archive"), ("antigravity", "fly"), ("signal", "signal"),
        ("xmlrpc.client", "ServerProxy"), ("ast", "literal_eval"), ("builtins", "str.format"),
        ("string", "Formatter.get_field"), ("numpy.distutils.exec_command", "exec_command"),
        ("numpy._core.records", "fromfile"), ("numpy.lib._npyio_impl", "fromregex"),
        ("sklearn.utils.parallel", "_FuncWrapper"), ("sklearn.base", "clone"),
        ("sklearn.externals.joblib.numpy_pickle", "load"), ("skops.io._persist", "load"),
        ("scipy.integrate._quadpack_py", "quad"), ("scipy.optimize._minpack_py", "leastsq"),
        ("pyarrow.lib", "memory_map"), ("pyarrow.lib", "OSFile"), ("xgboost.core", "Booster"),
        ("lightgbm.basic", "Booster"), ("keras.models", "load_model"), ("site", "addsitedir"),
        ("tensorflow.python.eager.context", "context"), ("torch.utils.cpp_extension", "load"),
        ("transformers.pipelines", "pipeline"), ("numpy.linalg", "os"),
        ("pandas.core.frame", "sys"), ("unittest.main", "main"), ("sitecustomize", "start"),
        ("test.support.script_helper", "assert_python_ok"), ("sample_project", "sub.os.system"),
        ("numpy.core.tests.test_multiarray", "IsNamed"), ("six.moves.builtins", "getattr"),
    )  # fmt: skip
    return [_sample(kind, body) for kind, body in bodies.items()] + [
        Armed(f"held-{module}-{name}", whole(call(look(module, name), NONE)), acts=False,
              looks_up=(module, name))
        for module, name in names
    ]  # fmt: skip


def _combined(folder: str) -> list[Armed]:
    """What is done with nothing but names that data and fitted models have, or once were said to.

    Two kinds: an object that calls what its state says, handed to a helper that calls it; and
    joblib's wrapper of an array, made where a walk does not see it, so that joblib takes away a
    part of the stream that a walk takes for other opcodes.
    """
    wrapper = look("joblib.numpy_pickle", "NumpyArrayWrapper")
    array = look("numpy", "ndarray")

    def joblib_reads_on(kind: str, made: bytes) -> Armed:
        state = fields(
            subclass=array, shape=pack(number(5)), order=text("C"), allow_mmap=b"\x89",
            dtype=call(look("numpy", "dtype"), text("u1")),
        )  # fmt: skip
        # The five bytes that joblib takes for the array are the head of BINBYTES to a walk.
        hidden = raw(call(MKDIR, text(f"{folder}/{kind}")))
        return Armed(kind, whole(build(made, state) + hidden + b"0N"), joblib=True)

    def writes(kind: str) -> bytes:
        path = call(look("pathlib", "PosixPath"), text(f"{folder}/{kind}"))
        stacked = build(make(look("sklearn.ensemble._stacking", "StackingRegressor")), fields(
            estimators=b"]", estimators_=listed(path), stack_method_=listed(text("write_text")),
            final_estimator_=number(1), passthrough=b"\x89",
            _estimator_type=text("outlier_detector")))  # fmt: skip  # scikit-learn 1.5 looks there
        scorer = build(make(look("sklearn.metrics._scorer", "_Scorer")), fields(
            _score_func=look("builtins", "abs"), _sign=number(1),
            _kwargs=fields(pos_label=number(0)), _response_method=text("_transform")))  # fmt: skip
        general = look("scipy.optimize._basinhopping", "MinimizerWrapper")
        state = fields(minimizer=scorer, func=stacked, kwargs=fields(y_true=number(0)))
        return call(CTOR, text(""), build(make(general), state))

    new = look("sklearn.metrics._dist_metrics", "newObj")
    masked = look("numpy.ma.core", "_mareconstruct")
    return [
        joblib_reads_on("combined-newobj", call(new, wrapper)),
        joblib_reads_on(
            "combined-mareconstruct", call(masked, wrapper, array, pack(number(0)), text("b"))),
        joblib_reads_on("combined-tree", call(look("sklearn.neighbors._kd_tree", "newObj"),
                                              wrapper)),
        Armed("combined-call", whole(writes("combined-call"))),
    ]  # fmt: skip


# -- the proof

_CHILD = """
import io, json, os, pickle, sys, time, warnings

warnings.simplefilter("ignore")
import joblib, numpy, numpy.f2py, numpy.testing, scipy.io, sklearn.linear_model, sklearn.datasets
import pandas, cloudpickle

asked = []
stop_at = None

class Stop(BaseException):
    pass

def hook(event, arguments):
    if event == "pickle.find_class":
        asked.append(arguments)
        if arguments == stop_at:
            raise Stop
    elif event.startswith("socket."):
        raise OSError("no network here")

def load(data, by_joblib):
    try:
        with io.BytesIO(bytes.fromhex(data)) as file:
            joblib.load(file) if by_joblib else pickle.load(file)
    except BaseException:
        pass

def act(data, by_joblib):
    read, write = os.pipe()
    child = os.fork()
    if not child:
        load(data, by_joblib)
        os.write(write, json.dumps(asked).encode()[:60000])
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as answer:
        asked[:] = json.loads(answer.read() or "[]")
    os.waitpid(child, 0)

samples = json.load(sys.stdin)
answers = os.fdopen(os.dup(1), "w")
for number in (0, 1, 2):
    os.dup2(os.open(os.devnull, os.O_RDWR), number)
sys.addaudithook(hook)
for kind, data, by_joblib, acts, looks_up in samples:
    asked.clear()
    stop_at = tuple(looks_up) if looks_up else None
    act(data, by_joblib) if acts else load(data, by_joblib)
    answers.write(json.dumps([kind, asked]) + "\\n")
    answers.flush()
"""


def proved(samples: list[Armed]) -> dict[str, set[tuple[str, str]]]:
    """Unpickle each sample in child processes; give the names that each has looked up.

    One that does not act is stopped at the name that it is there for, before that is imported.
    """
    done = subprocess.run(
        [sys.executable, "-c", _CHILD],
        input=json.dumps(
            [[one.kind, one.data.hex(), one.joblib, one.acts, one.looks_up] for one in samples]
        ),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=True,
        timeout=120,
        env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
    )
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    return {kind: {(module, name) for module, name in asked} for kind, asked in answers}
