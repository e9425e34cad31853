"""The list of good names: what the script gives, and what it says of many libraries' files."""

import argparse
import enum
import functools
import io
import json
import logging
import operator
import pickle
import statistics
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import scipy.interpolate
import scipy.stats
import third_party
from armed import build, call, fields, listed, look, make, number, pack, raw, text, whole
from good_names import reading
from good_names.__main__ import TARGET, merged, read

from pickleseal.scanner import names
from pickleseal.scanner.containers.contents import look as look_into
from pickleseal.scanner.containers.views import Memory
from pickleseal.scanner.grade import Contents, Grade
from pickleseal.scanner.machine.trace import Use
from pickleseal.scanner.names import grade_name

TESTS = Path(__file__).parents[1]
ARCHIVE = TESTS / "data" / "third_party.zip"
LETTERS = {"c": Use.CALLED, "m": Use.MADE, "b": Use.BUILT, "i": Use.FILLED}
STORES = {"a": Use.HANDED, "o": Use.HOLDING, "k": Use.HASHED}
INSTALLED = ("numpy", "scipy", "sklearn", "pandas", "dateutil", "attr", "packaging")


def contents_of(data: bytes, name: str = "model.pkl") -> Contents:
    found = look_into(Memory(memoryview(data)), name=name)
    assert found is not None
    return found


# -- the script


def said(task: str) -> dict[str, Any]:
    """Return what the script says of the libraries that are installed here."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "good_names", "--collect", task],
        cwd=TESTS, check=True, capture_output=True,
    )  # fmt: skip
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def check(answer: dict[str, Any]) -> None:
    """Check that the list has each name with the uses that the script gives it now."""
    found = merged([answer], {})
    read = {(module, name) for module, name, *_ in answer.get("enumerated", ())}
    assert found
    for (module, name), uses in found.items():
        good = [LETTERS[use] for use in uses if use in LETTERS]
        for letter, use in STORES.items():  # other versions may store less
            stores = letter in uses or (module, name) not in read
            assert stores or grade_name(module, name, use) > Grade.DATA, (module, name, letter)
        acting = [LETTERS[use.lower()] for use in uses if use.isupper()]
        for use in acting:
            assert grade_name(module, name, Use.LOOKED_UP | use) == Grade.BEYOND, (module, name)
        if not acting:
            for use in [Use.LOOKED_UP, *good]:
                assert grade_name(module, name, use) == Grade.DATA, (module, name, use)


def test_the_list_agrees_with_what_was_reviewed() -> None:
    """What is plain data, added or refused by hand comes from reviewed.py, and from it alone."""
    _, listed_names = read(TARGET.read_text(encoding="utf-8"))
    assert merged([], listed_names) == listed_names


def test_the_list_is_what_the_script_gives_for_a_library() -> None:
    check(said("dateutil"))


@pytest.mark.sweep
@pytest.mark.parametrize("library", ["", *INSTALLED])
def test_the_list_is_what_the_script_gives_for_all_that_is_installed(library: str) -> None:
    check(said(library))


PROBED = {
    "evaluates": ("class A:\n def __init__(self, x): eval(x)", "C"),
    "opens": ("class A:\n def __new__(cls, x): open(x)", "CM"),
    "runs": ("import subprocess\nclass A:\n def __init__(self, x): subprocess.Popen([x])", "C"),
    "imports": (
        "import importlib\nclass A:\n def __init__(self, x): importlib.import_module(x)",
        "C",
    ),
    "unpickles": ("import pickle\nclass A:\n def __setstate__(self, s): pickle.loads(s)", "B"),
    "evaluates its state": ("class A:\n def __setstate__(self, s): eval(s['formula'])", "B"),
    "calls": ("import ctypes\nclass A:\n def __init__(self, x): ctypes.CDLL(x)", "C"),
    "only keeps": ("class A:\n def __init__(self, x): self.x = x", ""),
    "opens a file of its own": ("class A:\n def __init__(self, x): open(__file__)", ""),
}


@pytest.mark.parametrize("kind", PROBED)
def test_a_probe_tells_what_acts_upon_what_it_is_given(tmp_path: Path, kind: str) -> None:
    source, uses = PROBED[kind]
    (tmp_path / "probed.py").write_text(source)
    code = (
        "import sys; sys.path[:0] = sys.argv[1:]\n"
        "from good_names.probing import acted\nimport probed\n"
        "print(''.join(sorted(acted(probed.A))).upper())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path), str(TESTS)],
        check=True, capture_output=True, text=True, cwd=tmp_path,
    )  # fmt: skip
    assert done.stdout.strip() == uses
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["probed.py"]


class Closing:
    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Close nothing."""


def test_a_class_that_runs_code_where_it_is_deleted_is_not_read_as_data() -> None:
    assert [fault for fault in reading.class_faults(Closing) if "deleted" in fault]
    assert not list(reading.class_faults(pytest.Mark))


class Checked:
    def __init__(self, value: str) -> None:
        self.value = eval(value)


def test_what_only_init_does_is_no_fault_of_a_class_that_pickles_make_by_new() -> None:
    assert list(reading.class_faults(Checked))
    assert not list(reading.class_faults(Checked, with_calls=False))
    term = ("pygam.terms", "SplineTerm")
    assert grade_name(*term, Use.LOOKED_UP | Use.MADE | Use.BUILT) == Grade.DATA
    assert grade_name(*term, Use.LOOKED_UP | Use.CALLED) == Grade.BEYOND
    assert grade_name(*term, Use.LOOKED_UP) == Grade.UNKNOWN


KEPT_BESIDE_MODELS = [
    argparse.Namespace(rate=0.1, layers=[1, 2]), logging.getLogger("own"), time.gmtime(0),
    statistics.NormalDist(1, 2),
]  # fmt: skip


@pytest.mark.parametrize("protocol", range(2, 6))
def test_what_people_keep_beside_a_model_is_data(protocol: int) -> None:
    for value in KEPT_BESIDE_MODELS:
        assert contents_of(pickle.dumps(value, protocol)).grade is Grade.DATA, value


# -- what acts upon what it is given: never loaded here, and all that it would do is to make a file

CODE = text("open('mark', 'w')")
PATH = text("mark")
ARMED = {
    "psutil, program that is started": call(look("psutil", "Popen"), pack(text("touch"), PATH)),
    "patsy, formula that is evaluated": call(look("patsy.highlevel", "dmatrix"), CODE),
    "patsy, by another module": call(look("patsy", "dmatrix"), CODE),
    "statsmodels, formula in a state": build(
        make(look("statsmodels.base.data", "PandasData")),
        fields(formula=CODE, restore_design_info=number(1)),
    ),
    "statsmodels, formula beside a type": build(
        make(look("statsmodels.base.data", "PandasData")),
        fields(
            formula=CODE,
            restore_design_info=pack(call(look("numpy", "dtype"), text("f8")), number(1)),
        ),
    ),
    "h5py, file that is opened": call(look("h5py", "File"), PATH, text("w")),
    "h5py, by its own module": call(look("h5py._hl.files", "File"), PATH, text("w")),
    "py7zr, file that is opened": call(look("py7zr.py7zr", "SevenZipFile"), PATH, text("w")),
    "optuna, database that is opened": call(
        look("optuna.storages._rdb.storage", "RDBStorage"), text("sqlite:///mark")
    ),
    "xgboost, file that is opened": call(look("xgboost.core", "Booster"), b"N", b")", PATH),
    "polars, plan with functions": build(make(look("polars.expr.expr", "Expr")), raw(b"plan")),
}


@pytest.mark.parametrize("kind", ARMED)
def test_what_acts_upon_what_it_is_given_is_beyond(kind: str) -> None:
    assert contents_of(whole(ARMED[kind])).grade == Grade.BEYOND


def test_a_class_that_acts_where_it_is_called_is_data_where_it_is_made() -> None:
    booster = look("xgboost.core", "Booster")
    made = whole(build(make(booster), fields(handle=raw(b"model"))))
    assert contents_of(made).grade == Grade.DATA
    assert contents_of(whole(booster)).grade == Grade.UNKNOWN  # somebody else may call it


class _Outer:
    class Inner:
        class Deep(enum.Enum):
            ONE = 1

        @staticmethod
        def made() -> None: ...


@pytest.mark.parametrize("protocol", range(2, 6))
def test_a_class_of_ones_own_inside_another_is_unknown(protocol: int) -> None:
    of_any = (_Outer.Inner, _Outer.Inner(), _Outer.Inner.Deep.ONE, [_Outer(), _Outer.Inner()])
    for value in (*of_any, *([_Outer.Inner.made] if protocol > 3 else [])):
        data = pickle.dumps(value, protocol).replace(__name__.encode(), b"m" * len(__name__))
        found = contents_of(data)
        assert found.grade is Grade.UNKNOWN, found
        assert {name.module for name in found.names if name.grade} == {"m" * len(__name__)}


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("mine", "Outer.os"),
        ("mine", "Outer.system"),
        ("mine", "Outer.Inner.__globals__"),
        ("mine", "inner.Outer"),
        ("mine.tests", "Outer.Inner"),
        ("logging", "Logger.Inner"),
        ("fabric", "Connection.sudo"),
        ("huggingface_hub.hub_mixin", "ModelHubMixin.Inner"),
        ("sklearn.base", "NotListed.Inner"),
    ],
)
def test_what_leads_out_of_a_class_is_beyond(module: str, name: str) -> None:
    outer, inner = name.rsplit(".", 1)
    assert grade_name(module, name, Use.LOOKED_UP) is Grade.BEYOND
    reached = call(look("builtins", "getattr"), look(module, outer), text(inner))
    assert contents_of(whole(call(reached))).grade is Grade.BEYOND


# -- ordinary files of other libraries


def artifacts() -> dict[str, Contents]:
    with zipfile.ZipFile(ARCHIVE) as archive:
        return {
            name.removesuffix(".pkl"): contents_of(archive.read(name), name)
            for name in archive.namelist()
        }


def test_most_files_of_other_libraries_are_data() -> None:
    found = artifacts()
    data = {name for name, contents in found.items() if contents.grade == Grade.DATA}
    assert len(found) >= 36
    assert len(data) >= 0.7 * len(found)
    assert not data & third_party.NOT_DATA.keys()


def test_no_file_of_other_libraries_is_beyond_save_those_that_run_what_they_hold() -> None:
    beyond = {name for name, contents in artifacts().items() if contents.grade >= Grade.BEYOND}
    assert beyond <= third_party.NOT_DATA.keys()


def unknown() -> Iterator[tuple[str, bytes]]:
    """Yield what the table of docs/explanation/grades.md says is unknown on purpose."""
    networkx, sortedcontainers = map(pytest.importorskip, ("networkx", "sortedcontainers"))
    graph = networkx.path_graph(3)
    for value in (
        getattr, [1].append, functools.partial(repr, object()), operator.itemgetter(0),
        scipy.stats.randint(1, 5), scipy.stats.poisson(1),
        scipy.interpolate.interp1d([0, 1], [0, 1]),
        sortedcontainers.SortedKeyList([1], key=abs), sortedcontainers.SortedDict(abs, {1: 2}),
        sortedcontainers.SortedSet([1], key=abs), graph.subgraph([0, 1]),
    ):  # fmt: skip
        yield from ((f"{value}, protocol {n}", pickle.dumps(value, n)) for n in (2, 4, 5))
    with zipfile.ZipFile(ARCHIVE) as archive:
        for name in ("skorch, net", "ngboost, regressor", "sympy, expression", "sympy, solution"):
            yield name, archive.read(f"{name}.pkl")
    yield (
        "a ufunc by name",
        whole(call(look("numpy.core", "_ufunc_reconstruct"), text("numpy"), text("add"))),
    )
    yield "lightgbm, data set", whole(build(make(look("lightgbm.basic", "Dataset")), b"}"))
    for name in ("float64", "int64", "str_", "datetime64"):
        yield name, whole(call(look("numpy", name), number(1)))


def test_what_the_page_calls_unknown_on_purpose_is_so() -> None:
    """test_chains.py has the row on texts of pandas."""
    for name, data in unknown():
        assert contents_of(data).grade == Grade.UNKNOWN, name


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("xgboost.core", "Booster"),
        ("lightgbm.basic", "Booster"),
        ("joblib.numpy_pickle", "NDArrayWrapper"),
    ],
)
def test_what_reads_another_file_is_beyond(module: str, name: str) -> None:
    assert contents_of(whole(call(look(module, name), text("x")))).grade == Grade.BEYOND


# -- data of Python itself


def test_files_in_memory_are_data() -> None:
    for value in (io.BytesIO(b"x"), io.StringIO("x")):
        for protocol in range(2, 6):
            assert contents_of(pickle.dumps(value, protocol)).grade == Grade.DATA


def test_a_dict_that_is_its_own_state_is_data() -> None:
    bunch = make(look("statsmodels.tools.tools", "Bunch")) + b"q\x00" + text("a") + number(1) + b"s"
    assert contents_of(whole(bunch + b"h\x00b")).grade == Grade.DATA
    other = make(look("statsmodels.tools.tools", "Bunch")) + b"h\x00b"
    assert contents_of(whole(bunch + b"0" + other)).grade == Grade.BEYOND


def test_items_are_data_only_where_picklers_give_them() -> None:
    for module, name, grade in (
        ("collections", "OrderedDict", Grade.DATA),
        ("sklearn.utils", "Bunch", Grade.DATA),
        ("collections", "UserDict", Grade.UNKNOWN),  # hands them to whatever it holds
        ("pandas", "DataFrame", Grade.UNKNOWN),
    ):
        made = b")R" if name == "OrderedDict" else b")\x81"
        stream = whole(look(module, name) + made + text("a") + number(1) + b"s")
        assert contents_of(stream).grade == grade, name


def test_a_sorted_collection_is_data_unless_it_calls_a_key() -> None:
    collection = look("sortedcontainers.sortedlist", "SortedKeyList")
    assert contents_of(whole(call(collection, b"]", b"N"))).grade == Grade.DATA
    key = look("numpy", "ndarray")
    assert contents_of(whole(call(collection, b"]", key))).grade == Grade.UNKNOWN
    stated = build(make(collection), fields(_key=key))
    assert contents_of(whole(call(look("builtins", "set"), stated))).grade == Grade.UNKNOWN


def test_views_that_call_a_filter_are_unknown() -> None:
    """A filter that scores calls a method by its name, such as an array's `tofile`."""
    for name in ("FilterAtlas", "FilterAdjacency", "FilterMultiInner", "FilterMultiAdjacency"):
        view = build(
            make(look("networkx.classes.coreviews", name)),
            fields(_atlas=b"}", NODE_OK=look("builtins", "bool")),
        )
        assert contents_of(whole(call(look("builtins", "set"), view))).grade == Grade.UNKNOWN


DISTRIBUTION = look("scipy.stats._continuous_distns", "norm_gen") + b")\x81"
PARSER = scipy.stats.norm.__getstate__()["_parse_arg_template"]


@pytest.mark.parametrize("protocol", range(2, 6))
@pytest.mark.parametrize("name", ["norm", "uniform", "beta", "loguniform", "gengamma"])
def test_frozen_distributions_are_data(name: str, protocol: int) -> None:
    shapes = [2.0] * getattr(scipy.stats, name).numargs
    shapes[-1:] = [3.0] if shapes else []
    for value in (getattr(scipy.stats, name), getattr(scipy.stats, name)(*shapes)):
        assert contents_of(pickle.dumps(value, protocol)).grade == Grade.DATA


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("_parse_arg_template", "open('mark', 'w')"),
        ("_parse_arg_template", PARSER + "open('mark', 'w')\n"),
        ("_parse_arg_template", PARSER.replace("loc=0", "loc=open('mark', 'w')")),
        ("_attach_methods", PARSER),
    ],
)
def test_a_distribution_that_executes_another_text_is_beyond(key: str, value: str) -> None:
    state = fields(_parse_arg_template=text(PARSER))
    assert contents_of(whole(build(DISTRIBUTION, state))).grade == Grade.DATA
    other = fields(**{key: text(value)})
    assert contents_of(whole(build(DISTRIBUTION, other))).grade == Grade.BEYOND
    pairs = listed(pack(text(key), text(value)))
    assert contents_of(whole(build(DISTRIBUTION, pairs))).grade == Grade.UNKNOWN


def test_reading_the_list_takes_each_line_once() -> None:
    lines = names._LIST.read_text(encoding="utf-8").splitlines()
    assert len(names._listed().uses) == sum(line[0] == " " for line in lines)
