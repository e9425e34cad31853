"""Chains of listed classes: an object whose state the file chose is passed to code of another.

Each chain really runs a method of that object while it is unpickled; none is data only.
"""

import base64
import codecs
import io
import json
import pickle
import re
import subprocess
import sys
from collections import OrderedDict, defaultdict, deque
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from armed import build, call, fields, listed, look, make, number, pack, raw, text, whole
from sklearn.ensemble import BaggingClassifier
from sklearn.neighbors import KDTree
from sklearn.svm import SVC

from pickleseal.scanner.grade import Grade
from pickleseal.scanner.grades import grade
from pickleseal.scanner.machine import stack
from pickleseal.scanner.machine.cursor import Cursor
from pickleseal.scanner.machine.trace import trace

SVM = make(look("sklearn.svm._classes", "SVC"))
SPLINE = make(look("scipy.interpolate._cubic", "CubicSpline"))
FRAME = make(look("pandas", "DataFrame"))
# Its __len__, __iter__, __getitem__ and __repr__ use the attributes that a state sets.
OBJECT = build(
    make(look("sklearn.ensemble._bagging", "BaggingClassifier")),
    fields(estimators_=listed(number(1))),
)
VERTEX = build(make(look("scipy.optimize._shgo_lib._vertex", "VertexCube")), fields(hash=number(1)))
LAYER = look("torch.nn.modules.activation", "ReLU")
DOUBLE = call(look("numpy", "dtype"), text("f8"), b"\x89", b"\x88")
EMPTY = call(look("collections", "OrderedDict"))
RESULT = look("scipy.optimize._optimize", "OptimizeResult")  # its attributes are its items
ACTING = {
    "an attribute that a property converts": build(SPLINE, pack(b"N", fields(c=OBJECT))),
    "a state that is iterated": build(FRAME, fields(_typ=text("dataframe"), _metadata=OBJECT)),
    "a version that is compared and formatted": build(SVM, fields(_sklearn_version=OBJECT)),
    "the arguments of an error": build(
        call(look("builtins", "ValueError")), fields(args=OBJECT)
    ),
    "a queue of an object": call(look("collections", "deque"), OBJECT),
    "a dict of an object": call(look("collections", "OrderedDict"), OBJECT),
    "a counter of an object": call(look("collections", "Counter"), OBJECT),
    "a set of an object": call(look("builtins", "set"), OBJECT),
    "arguments that are an object": look("builtins", "complex") + OBJECT + b"R",
    "a key": b"}" + VERTEX + number(1) + b"s",
    "a key in a tuple": b"}" + pack(VERTEX) + number(1) + b"s",
    "a key of an ordered dict": EMPTY + VERTEX + number(1) + b"s",
    "a member of a set": b"\x8f(" + VERTEX + b"\x90",
    "a member of a frozen set": b"(" + VERTEX + b"\x91",
    "an object in a list": call(look("collections", "Counter"), listed(VERTEX)),
    "pairs that a dict is filled from": call(
        look("copyreg", "_reconstructor"), RESULT, look("builtins", "dict"),
        listed(listed(VERTEX, number(1))),
    ),
    "an item that is called to add items": call(
        look("copyreg", "_reconstructor"), RESULT, look("builtins", "dict"),
        fields(append=look("collections", "deque")),
    ) + OBJECT + b"a",
    "an item that is called to add members": call(
        look("copyreg", "_reconstructor"), RESULT, look("builtins", "dict"),
        fields(add=look("collections", "deque")),
    ) + b"(" + OBJECT + b"\x90",
    "a slot whose property uses the rest of the state": build(
        make(look("scipy.sparse._coo", "coo_array")),
        pack(fields(coords=OBJECT), fields(col=number(1))),
    ),
    "a list that another list holds": listed(b"]\x94") + b"\x94h\x00" + VERTEX
    + b"a0" + look("collections", "Counter") + b"h\x00\x85R",
}  # fmt: skip
INTERFACE = {"shape": (2,), "typestr": "<i8", "data": (16, False), "version": 3}
LABELLED = pickle.dumps(pd.Series({"__array_interface__": INTERFACE}, dtype=object), 3)[2:-1]
ATTRIBUTES = fields(__array_interface__=b"}")
# Here NumPy read memory at an address of the file's choice.
READING = {
    "a series whose label is an attribute": make(look("numpy", "matrix"), LABELLED),
    "attributes of a file in memory": build(
        make(look("_io", "BytesIO")), pack(raw(b""), number(0), ATTRIBUTES)
    ),
    "attributes of a text in memory": build(
        make(look("_io", "StringIO")), pack(text(""), text(""), number(0), ATTRIBUTES)
    ),
}
# These ran no method of the object in the versions that are installed here.
REFUSED = {
    "an argument of pandas": call(
        look("pandas.core.indexes.base", "_new_Index"), look("pandas", "Index"), fields(data=OBJECT)
    ),
    "a block of pandas": call(look("pandas._libs.internals", "_unpickle_block"), OBJECT),
    "a view of networkx": build(
        make(look("networkx.classes.reportviews", "EdgeView")), fields(_graph=OBJECT)
    ),
    "data of the edges of a graph, which ask it by a name in its state": build(
        make(look("networkx.classes.reportviews", "EdgeDataView")),
        fields(viewer=b"N", nbunch=b"N", data=b"\x88", default=b"N"),
    ),
    "a rule that iterates by what its state holds": call(
        look("collections", "deque"),
        build(make(look("dateutil.rrule", "rrule")), fields(_iter=look("numpy", "ndarray"))),
    ),
    "a distance of scikit-learn": build(
        call(
            look("sklearn.metrics._dist_metrics", "newObj"),
            look("sklearn.metrics._dist_metrics", "EuclideanDistance64"),
        ),
        pack(number(2), OBJECT, OBJECT),
    ),
    "the shape of an array": build(
        call(
            look("numpy.core.multiarray", "_reconstruct"), look("numpy", "ndarray"),
            pack(number(0)), raw(b"b"),
        ),
        pack(number(1), pack(OBJECT), DOUBLE, b"\x89", b"]"),
    ),
    "a list whose list is given an object later": listed(b"]\x94") + b"\x94h\x00" + OBJECT
    + b"a0" + look("collections", "deque") + b"h\x01\x85R",
    "a generator by another function": call(
        look("numpy.random._pickle", "__generator_ctor"),
        text("x"),
        look("sklearn.metrics._classification", "accuracy_score"),
    ),
    "the alignment of a dtype": build(
        call(look("numpy", "dtype"), text("S1"), b"\x89", b"\x88"),
        pack(number(3), text("|"), b"N", b"N", b"N", number(1), OBJECT, number(0)),
    ),
    "the title of a field": build(
        call(look("numpy", "dtype"), text("V8"), b"\x89", b"\x88"),
        pack(
            number(3), text("|"), b"N", pack(text("a")),
            fields(a=pack(DOUBLE, number(0), OBJECT)),
            number(8), number(1), number(16),
        ),
    ),
    "a class as an argument": call(look("collections", "deque"), look("numpy", "ndarray")),
    "a class in the state of plain data": call(
        look("collections", "deque"),
        build(
            make(look("dateutil.relativedelta", "relativedelta")),
            fields(weekday=look("numpy", "ndarray")),
        ),
    ),
    "attributes in a list of pairs": call(
        look("collections", "deque"),
        build(
            make(look("pandas.arrays", "SparseArray")),
            listed(listed(text("__array_interface__"), b"}")),
        ),
    ),
    "attributes in an array of pairs": build(
        make(look("pandas.arrays", "SparseArray")), pickle.dumps(np.empty((1, 2), "U9"), 3)[2:-1]
    ),
    "a data set that frees the memory which its state names": build(
        make(look("lightgbm.basic", "Dataset")), fields(_handle=raw(bytes(99)))
    ),
    "a slot whose descriptor converts it": build(
        make(look("statsmodels.tsa.statespace.representation", "Representation")),
        pack(b"N", fields(design=OBJECT)),
    ),
    "a number in the state of a tree": build(
        make(look("sklearn.neighbors._kd_tree", "KDTree")),
        pack(*4 * [b"N"], OBJECT, *8 * [b"N"]),
    ),
    "an array in the state of a tree": build(
        make(look("sklearn.neighbors._ball_tree", "BallTree")), pack(*12 * [b"N"], OBJECT)
    ),
    "a list that a dict is updated from": build(
        make(look("lightgbm.sklearn", "LGBMRegressor")), listed(OBJECT)
    ),
    "a tuple that a dict is updated from": build(
        make(look("lightgbm.sklearn", "LGBMRegressor")), pack(text("ab"), OBJECT, text("cd"))
    ),
    "a pair that a dict is updated from": build(
        make(look("lightgbm.sklearn", "LGBMRegressor")), pack(fields(ab=b"N"), OBJECT)
    ),
    "a tuple in which a key is sought": build(
        make(look("statsmodels.base.data", "FormulaicData")), pack(OBJECT)
    ),
    "an object in which torch looks for a name": build(
        make(look("torch.nn.modules.container", "Sequential")), fields(_parameters=OBJECT)
    ),
    "a list in which torch looks for a name": build(
        make(look("torch.nn.modules.container", "ModuleDict")), fields(_buffers=listed(OBJECT))
    ),
    "a factory that is a class of a library": call(
        look("collections", "deque"),
        call(look("collections", "defaultdict"), look("numpy", "ndarray")),
    ),
}  # fmt: skip

HOLDING = {
    "modules in a dict": build(
        make(look("torch.nn.modules.container", "Sequential")),
        fields(_parameters=EMPTY, _buffers=b"}", _modules=fields(a=make(LAYER))),
    ),
    "modules in an ordered dict": build(
        make(look("torch.nn.modules.container", "Sequential")),
        fields(_modules=EMPTY + text("a") + make(LAYER) + b"s"),
    ),
    "a distance in the state of a tree": build(
        make(look("sklearn.neighbors._kd_tree", "KDTree")),
        pack(
            *11 * [b"N"],
            make(look("sklearn.metrics._dist_metrics", "EuclideanDistance64")),
            b"N",
        ),
    ),
    "a model in the state of another": build(
        make(look("lightgbm.sklearn", "LGBMRegressor")), fields(ab=OBJECT)
    ),
}

PROOF = """
import base64, json, pickle, sys, warnings
import numpy, pandas, scipy.interpolate, scipy.optimize._shgo_lib._vertex as vertex
import sklearn.ensemble, sklearn.svm

warnings.simplefilter("ignore")
HOSTILE = {"sklearn.ensemble._base", "sklearn.base", vertex.__name__}
METHODS = {"__len__", "__iter__", "__getitem__", "__repr__", "__hash__"}

def ran(data, load):
    seen = []
    def note(frame, event, _):
        named = frame.f_globals.get("__name__") in HOSTILE and frame.f_code.co_name in METHODS
        if event == "call" and named:
            seen.append(frame.f_code.co_name)
    sys.setprofile(note)
    try:
        load(data)
    except Exception:
        pass
    finally:
        sys.setprofile(None)
    return bool(seen)

streams = map(base64.b64decode, json.load(sys.stdin))
print(json.dumps([ran(data, pickle.loads) or ran(data, pickle._loads) for data in streams]))
"""


def graded(data: bytes) -> Grade:
    return grade([trace(Cursor(io.BytesIO(data).read))])[0]


def test_every_chain_runs_a_method_of_its_object() -> None:
    streams = [base64.b64encode(whole(body)).decode() for body in ACTING.values()]
    done = subprocess.run(
        [sys.executable, "-c", PROOF], input=json.dumps(streams), check=True, capture_output=True,
        text=True,
    )  # fmt: skip
    ran = dict(zip(ACTING, json.loads(done.stdout), strict=True))
    converted = {"an attribute that a property converts"}  # by SciPy before 1.18
    assert {kind for kind, acts in ran.items() if not acts} <= converted


@pytest.mark.parametrize("chain", [*ACTING, *READING, *REFUSED])
def test_no_chain_is_data_only(chain: str) -> None:
    body = {**ACTING, **READING, **REFUSED}[chain]
    assert graded(whole(body)) > Grade.DATA


@pytest.mark.parametrize("chain", HOLDING)
def test_objects_where_classes_store_them_are_data(chain: str) -> None:
    assert graded(whole(HOLDING[chain])) is Grade.DATA


TREES = {
    ("sklearn.metrics._dist_metrics", "EuclideanDistance64"): 3,
    ("sklearn.neighbors._kd_tree", "KDTree"): 13,
    ("sklearn.neighbors._ball_tree", "BallTree"): 13,
}


@pytest.mark.parametrize(("module", "name"), TREES)
def test_a_state_of_too_few_items_is_not_read_from_other_memory(module: str, name: str) -> None:
    """Compiled code takes each item without a look at the length, and follows what it finds."""
    made = make(look(module, name))
    least = TREES[module, name]
    assert graded(whole(build(made, pack(*least * [b"N"])))) is Grade.DATA
    for items in range(least):
        assert graded(whole(build(made, pack(*items * [b"N"])))) is Grade.UNKNOWN
    assert graded(whole(build(made, listed(*least * [b"N"])))) is Grade.UNKNOWN


@pytest.mark.parametrize("recent", [0, 1, 5])
@pytest.mark.parametrize("chain", ["a queue of an object", "a key", "an object in a list"])
def test_a_chain_is_found_however_far_back_its_object_lies(
    chain: str, recent: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stack, "RECENT", recent)
    many = b"(" + b"N" * 100_000 + b"t0"
    kept = b"(" + OBJECT + b"\x94" + listed(VERTEX) + b"\x94" + VERTEX + b"\x94" + b"1"
    use = {
        "a queue of an object": look("collections", "deque") + b"h\x00\x85R",
        "a key": b"}h\x02Ns",
        "an object in a list": look("collections", "Counter") + b"h\x01\x85R",
    }[chain]
    assert graded(whole(kept + many + use)) > Grade.DATA


DAYS = pickle.dumps(np.array([1], "M8[ns]"), 3)[2:-1]


def index(**named: bytes) -> bytes:
    made_of = look("pandas", "DatetimeIndex")
    return call(look("pandas.core.indexes.base", "_new_Index"), made_of, fields(**named))


def spelled(path: str) -> dict[str, bytes]:
    """Return every way to write the text by which pandas opens a path."""
    zone = f"dateutil/{path}"
    long = f"dateutil/{'/' * 300}{path}"
    of_numpy = pickle.dumps(np.str_(zone), 0)[:-1]
    turned = call(look("_codecs", "encode"), text(codecs.encode(zone, "rot13")), text("rot13"))
    return {
        "a text": text(zone),
        "a short text": b"\x8c" + bytes([len(zone)]) + zone.encode(),
        "a long text": text(long),
        "a very long text": text(f"dateutil/{'/' * 3000}{path}"),
        "a line": b"V" + zone.encode() + b"\n",
        "a long line": b"V" + long.encode() + b"\n",
        "a text of Python 2": b"S" + repr(zone).encode() + b"\n",
        "a short text of Python 2": b"U" + bytes([len(zone)]) + zone.encode(),
        "a long text of Python 2": b"T" + len(long).to_bytes(4, "little") + long.encode(),
        "a text of NumPy": of_numpy,
        "a text of NumPy, whose dtype is deep in the stack": re.sub(
            rb"(tp[0-9]+\nb)", rb"\1(" + b"N" * 10 * stack.RECENT + b"1", of_numpy
        ),
        "a text that a codec makes": turned,
    }


@pytest.mark.parametrize("way", spelled(""))
def test_a_text_that_pandas_takes_for_a_path_is_no_plain_data(tmp_path: Path, way: str) -> None:
    path = tmp_path / "zone"
    path.write_bytes(b"no zone")
    data = whole(index(data=DAYS, tz=spelled(str(path))[way]))
    assert graded(data) is Grade.UNKNOWN
    pytest.importorskip("dateutil")
    with pytest.raises(ValueError, match="magic not found"):  # so it was read
        pickle.loads(data)


def held(zone: str) -> dict[str, bytes]:
    """Return the ways to have pandas take bytes for the text by which it opens a path."""
    pair = pickle.dumps(np.array(["tz", zone]), 3)[2:-1]
    of_arrow = call(look("pyarrow.lib", "timestamp"), text("ns"), raw(zone.encode()))
    days = call(
        look("pyarrow.lib", "_restore_array"),
        pack(
            of_arrow,
            number(1),
            number(0),
            number(0),
            listed(b"N", call(look("pyarrow.lib", "py_buffer"), raw(bytes(8)))),
            b"]",
            b"N",
        ),
    )
    array = build(
        make(look("pandas.arrays", "ArrowExtensionArray")),
        fields(
            _pa_array=call(look("pyarrow.lib", "chunked_array"), listed(days), of_arrow),
            _dtype=build(
                make(look("pandas", "ArrowDtype")),
                fields(pyarrow_dtype=of_arrow, _storage=text("pyarrow")),
            ),
        ),
    )
    new = look("pandas.core.indexes.base", "_new_Index")
    return {
        "an array of a key and a text": call(
            new, look("pandas", "DatetimeIndex"),
            call(look("collections", "OrderedDict"), listed(pair, listed(text("data"), DAYS))),
        ),
        "a type of pyarrow": call(
            new, look("pandas", "PeriodIndex"), fields(data=array, freq=text("D"))
        ),
    }  # fmt: skip


@pytest.mark.parametrize("way", held(""))
def test_bytes_that_pandas_takes_for_a_path_are_no_plain_data(tmp_path: Path, way: str) -> None:
    path = tmp_path / "zone"
    path.write_bytes(b"no zone")
    data = whole(held(f"dateutil/{path}")[way])
    assert graded(data) is Grade.UNKNOWN
    pytest.importorskip("dateutil")
    if pd.__version__ < "3" and way == "a type of pyarrow":
        return  # the array has another form there
    with pytest.raises(ValueError, match="magic not found"):  # so it was read
        pickle.loads(data)


@pytest.mark.parametrize(("kind", "codec"), [("bytes", "cp1006"), ("bytearray", "cp1026")])
def test_a_codec_that_is_imported_by_its_name_is_unknown(kind: str, codec: str) -> None:
    data = whole(call(look("builtins", kind), text("x"), text(codec)))
    assert graded(data) is Grade.UNKNOWN
    pickle.loads(data)
    assert f"encodings.{codec}" in sys.modules
    for protocol in range(6):
        assert graded(pickle.dumps([b"\xe9", bytearray(b"\xe9")] * 2, protocol)) is Grade.DATA


def test_a_path_that_pandas_does_not_open_is_plain_data() -> None:
    for path in ("Europe/Paris", "lib/dateutil", "dateutil", f"{'x' * 300}dateutil/x"):
        value = pd.Series([path], name=path)
        assert graded(pickle.dumps(value, 4)) is Grade.DATA, path


def test_what_is_made_with_arguments_is_graded_as_called() -> None:
    zone = pack(text("ns"), text("UTC"))
    dtype, wild = look("pandas", "DatetimeTZDtype"), look("numpy", "matrix")
    assert graded(whole(make(dtype))) is Grade.DATA
    for made in (
        dtype + zone + b"\x81",
        dtype + b")" + fields(unit=text("ns")) + b"\x92",
        call(look("copyreg", "__newobj__"), dtype, text("ns")),
        call(look("pandas.core.indexes.base", "_new_Index"), wild, fields(data=text("1"))),
        call(look("numpy.ma.core", "_mareconstruct"), look("sklearn.svm._classes", "SVC"), wild),
    ):
        assert graded(whole(made)) > Grade.DATA


def test_what_libraries_store_may_hold_objects() -> None:
    model = SVC()
    recursive: list[object] = [model]
    recursive.append(recursive)
    for value in [
        BaggingClassifier(SVC(), n_estimators=2),
        {"model": model, "groups": defaultdict(list, a=[1]), "last": deque([model], 3)},
        OrderedDict(model=model),
        [model, np.array([model, None]), {model: 1}, {model}],
        recursive,
        KDTree(np.eye(3)),
        {pd.Timestamp("2024"): 1, (pd.Timedelta(1), "a"): 2},
        pd.DataFrame({"a": [{"b": 1}, [2]], "c": pd.array(["x", None], dtype="string")}),
    ]:
        for protocol in (4, 5):
            assert graded(pickle.dumps(value, protocol)) is Grade.DATA, (value, protocol)
