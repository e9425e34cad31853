"""Grades: what pickles would reach for, by the names alone; armed and ordinary ones told apart."""

import io
import os
import sys
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import armed
import ordinary
import pytest
from armed import Armed, build, call, look, make, number, pack, text, whole

from pickleseal.scanner import names
from pickleseal.scanner.grade import Contents, Grade, GradedName, judgement
from pickleseal.scanner.grades import grade
from pickleseal.scanner.machine.cursor import Cursor
from pickleseal.scanner.machine.trace import Trace, Use, trace
from pickleseal.scanner.names import LIST_VERSION, grade_name

LIST = Path(names.__file__).with_name("good_names.txt")
ANY = Use.LOOKED_UP | Use.CALLED | Use.MADE | Use.BUILT


def followed(data: bytes, *, joblib: bool = False) -> Trace:
    return trace(Cursor(io.BytesIO(data).read), joblib=joblib)


class Proof(NamedTuple):
    samples: list[Armed]
    looked_up: dict[str, set[tuple[str, str]]]
    marks: list[str]


@pytest.fixture(scope="module")
def proof(tmp_path_factory: pytest.TempPathFactory) -> Proof:
    """Return the armed samples, and their effect when they were unpickled elsewhere."""
    folder = str(tmp_path_factory.mktemp("marks"))
    samples = armed.made(folder)
    looked_up = armed.proved(samples)
    return Proof(samples, looked_up, os.listdir(folder))


@pytest.fixture(scope="module")
def artifacts() -> list[tuple[ordinary.Ordinary, Grade]]:
    """Return the ordinary artifacts with their grades."""
    return [(one, grade([followed(one.data, joblib=one.joblib)])[0]) for one in ordinary.made()]


@pytest.mark.parametrize(("count", "more"), [(3, ""), (4, " and 1 more"), (49, " and 46 more")])
def test_a_judgement_counts_the_names_that_it_leaves_out(count: int, more: str) -> None:
    found = tuple(GradedName("mine", f"A{number}", Grade.UNKNOWN) for number in range(count))
    told = judgement(Contents("pickle", Grade.UNKNOWN, names=found))
    assert told == f"imports unknown names: mine.A0, mine.A1, mine.A2{more}"


# -- armed


def test_every_armed_sample_leaves_its_mark_or_looks_its_name_up(proof: Proof) -> None:
    for one in proof.samples:
        if one.acts:
            assert any(mark.startswith(one.kind) for mark in proof.marks), one.kind
        else:
            assert one.looks_up in proof.looked_up[one.kind], one.kind
    assert len({one.kind for one in proof.samples}) == len(proof.samples) >= 100


def test_all_that_an_armed_sample_looks_up_is_graded_or_is_beyond_anyway(proof: Proof) -> None:
    for one in proof.samples:
        graded, found, _ = grade([followed(one.data, joblib=one.joblib)])
        asked = {
            NAME_MAPPING.get(key) or (IMPORT_MAPPING.get(key[0], key[0]), key[1])
            for key in proof.looked_up[one.kind]
        }
        if one.kind != "nested-pickle":
            assert asked <= {(name.module, name.name) for name in found} or graded == Grade.BEYOND
    assert proof.looked_up["nested-pickle"] >= {("_pickle", "loads"), ("posix", "mkdir")}


def test_no_armed_sample_is_graded_as_data_and_nearly_all_reach_beyond(proof: Proof) -> None:
    grades = {one.kind: grade([followed(one.data, joblib=one.joblib)])[0] for one in proof.samples}
    assert [kind for kind, found in grades.items() if found == Grade.DATA] == []
    assert Counter(grades.values())[Grade.BEYOND] >= 0.95 * len(grades)


# -- ordinary


def test_ordinary_artifacts_are_data_save_a_few(
    artifacts: list[tuple[ordinary.Ordinary, Grade]],
) -> None:
    data = [one.kind for one, found in artifacts if found == Grade.DATA]
    without_code = [one for one, _ in artifacts if not one.by_value]
    assert len(without_code) >= 100
    assert len(data) >= 0.9 * len(without_code)


def test_what_reaches_beyond_among_ordinary_artifacts_carries_code(
    artifacts: list[tuple[ordinary.Ordinary, Grade]],
) -> None:
    beyond = {one.kind for one, found in artifacts if found == Grade.BEYOND}
    assert beyond == {one.kind for one, _ in artifacts if one.by_value}
    assert beyond


def test_every_ordinary_artifact_is_followed_to_its_end(
    artifacts: list[tuple[ordinary.Ordinary, Grade]],
) -> None:
    assert Grade.CANNOT_TELL not in {found for _, found in artifacts}


# -- one name


@pytest.mark.parametrize(
    ("module", "name", "uses"),
    [
        ("collections", "OrderedDict", Use.CALLED),
        ("datetime", "datetime", Use.CALLED),
        ("builtins", "ValueError", Use.CALLED),
        ("numpy", "ndarray", Use.LOOKED_UP),
        ("numpy", "dtype", Use.CALLED | Use.BUILT),
        ("numpy.core.multiarray", "_reconstruct", Use.CALLED | Use.BUILT),
        ("numpy._core.multiarray", "_reconstruct", Use.CALLED | Use.BUILT),
        ("numpy", "log1p", Use.LOOKED_UP),
        ("sklearn.svm._classes", "SVC", Use.MADE | Use.BUILT),
        ("sklearn.svm.classes", "SVC", Use.MADE | Use.BUILT),
        ("sklearn.tree._tree", "Tree", Use.CALLED | Use.BUILT),
        ("sklearn.tree.tree", "DecisionTreeClassifier", Use.MADE | Use.BUILT),
        ("sklearn.metrics._classification", "accuracy_score", Use.LOOKED_UP),
        ("pandas.core.frame", "DataFrame", Use.MADE | Use.BUILT),
        ("joblib.numpy_pickle", "NumpyArrayWrapper", Use.MADE | Use.BUILT),
    ],
)
def test_names_of_data_and_models_are_good(module: str, name: str, uses: Use) -> None:
    assert grade_name(module, name, uses | Use.LOOKED_UP) == Grade.DATA


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("functools", "partial"),
        ("operator", "itemgetter"),
        ("_operator", "itemgetter"),
        ("subprocess", "CompletedProcess"),
        ("numpy.core", "_ufunc_reconstruct"),
        ("scipy.stats._distn_infrastructure", "RandomVariable"),
        ("my_project.models", "Model"),
        ("my_project.models", "make_model"),
        ("my_project.models", "reload_model"),
        ("__main__", "Model"),
        ("sklearn.linear_model._base", "NoSuchClass"),
        ("torch._utils", "_rebuild_tensor_v2"),
        ("torch._C", "Generator"),
        ("tests.samples", "Model"),
        ("dateutil.tz.tz", "tzfile"),
    ],
)
def test_ordinary_names_that_are_not_listed_are_unknown(module: str, name: str) -> None:
    assert grade_name(module, name, ANY) == Grade.UNKNOWN


def test_getattr_is_unknown_where_it_does_more_than_to_unpickle_a_time_zone() -> None:
    for uses in (Use.LOOKED_UP, Use.LOOKED_UP | Use.CALLED | Use.STATE):
        assert grade_name("builtins", "getattr", uses) == Grade.UNKNOWN


@pytest.mark.parametrize("module", ["os", "posix", "nt", "_io", "_pickle", "os.path", "commands"])
def test_a_module_of_python_is_beyond_whatever_the_name(module: str) -> None:
    assert grade_name(module, "anything", Use.LOOKED_UP) == Grade.BEYOND


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("sklearn.linear_model._base", "no_such_function"),
        ("scipy.optimize", "minimize"),
        ("pandas.core.reshape.concat", "concat"),
        ("xgboost.training", "train"),
    ],
)
def test_a_function_of_a_listed_library_is_beyond_where_it_is_called(
    module: str, name: str
) -> None:
    assert grade_name(module, name, Use.LOOKED_UP | Use.CALLED) == Grade.BEYOND
    assert grade_name(module, name, Use.LOOKED_UP) == Grade.UNKNOWN


@pytest.mark.parametrize("name", ["load_model", "write_gml", "import_string", "_load_from_bytes"])
def test_what_is_named_to_read_write_or_import_is_beyond_where_it_is_called(name: str) -> None:
    assert grade_name("some_package", name, Use.LOOKED_UP | Use.CALLED) == Grade.BEYOND
    assert grade_name("some_package", name, Use.LOOKED_UP) == Grade.UNKNOWN


def test_a_good_class_is_good_only_for_the_uses_that_are_listed() -> None:
    where = ("sklearn.svm._classes", "SVC")
    assert grade_name(*where, Use.MADE | Use.BUILT) == Grade.DATA
    assert grade_name(*where, Use.CALLED) == Grade.UNKNOWN


def test_a_good_class_is_unknown_where_an_object_of_it_is_the_state_of_another() -> None:
    made = Use.LOOKED_UP | Use.MADE | Use.BUILT
    assert grade_name("pandas.core.series", "Series", made) == Grade.DATA
    assert grade_name("pandas.core.series", "Series", made | Use.STATE) == Grade.UNKNOWN
    array = Use.LOOKED_UP | Use.CALLED | Use.BUILT | Use.STATE
    assert grade_name("numpy.core.multiarray", "_reconstruct", array) == Grade.DATA


@pytest.mark.parametrize("name", ["float64", "str_", "bool_", "void"])
def test_a_scalar_of_numpy_is_looked_up_and_not_called(name: str) -> None:
    assert grade_name("numpy", name, Use.LOOKED_UP) == Grade.DATA
    assert grade_name("numpy", name, Use.LOOKED_UP | Use.CALLED) == Grade.UNKNOWN


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("numpy._pytesttester", "PytestTester"),
        ("scipy.optimize._basinhopping", "MinimizerWrapper"),
        ("scipy.spatial.distance", "CDistMetricWrapper"),
    ],
)
def test_a_class_whose_objects_call_what_their_state_says_is_not_listed(
    module: str, name: str
) -> None:
    assert grade_name(module, name, Use.LOOKED_UP | Use.MADE) != Grade.DATA


def test_a_good_function_is_beyond_where_it_is_called_and_only_listed_to_be_looked_up() -> None:
    where = ("sklearn.metrics._classification", "accuracy_score")
    assert grade_name(*where, Use.LOOKED_UP | Use.CALLED) == Grade.BEYOND


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("numpy", "os"),
        ("my_project.models", "os"),
        ("my_project.models", "__builtins__"),
        ("os", "path.join"),
        ("collections", "abc.sys"),
        ("collections", "OrderedDict.__init__.__globals__"),
        ("sklearn.svm._classes", "SVC.fit.__globals__"),
        ("sklearn.svm._classes", "SVC.os.system"),
        ("pandas.core.frame", "DataFrame.eval"),
        ("pandas.core.frame", "DataFrame.to_pickle"),
        ("numpy", "ndarray.tofile"),
        ("pathlib", "PosixPath.touch"),
        ("scipy._lib.tests.test_bunch", "Thing"),
        ("my_project.tests.test_models", "Model"),
        ("numpy", "load"),
        ("pandas", "read_pickle"),
        ("joblib", "load"),
        ("cloudpickle.cloudpickle", "_make_function"),
    ],
)
def test_what_leads_elsewhere_is_beyond_even_where_it_is_only_looked_up(
    module: str, name: str
) -> None:
    assert grade_name(module, name, Use.LOOKED_UP) == Grade.BEYOND


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("scipy.interpolate._interpolate", "interp1d._call_linear"),
        ("scipy.spatial._kdtree", "KDTree.node"),
        ("sklearn.svm._classes", "SVC.predict"),
        ("collections", "OrderedDict.fromkeys"),
        ("pandas.core.frame", "DataFrame.mean"),
    ],
)
def test_what_lies_in_a_listed_class_is_unknown(module: str, name: str) -> None:
    for uses in (Use.LOOKED_UP, ANY):
        assert grade_name(module, name, uses) == Grade.UNKNOWN


def test_an_array_that_was_mapped_is_unknown_and_mapping_one_is_beyond() -> None:
    assert grade_name("numpy", "memmap", Use.LOOKED_UP) == Grade.UNKNOWN
    assert grade_name("numpy", "memmap", Use.LOOKED_UP | Use.CALLED) == Grade.BEYOND
    assert grade_name("numpy", "memmap", Use.LOOKED_UP | Use.MADE) == Grade.BEYOND


def test_a_class_that_opens_or_makes_something_is_beyond_where_it_is_called() -> None:
    for where, made in [
        (("joblib.memory", "Memory"), Grade.DATA),  # it has no __new__ and no __setstate__
        (("pandas.io.pytables", "HDFStore"), Grade.UNKNOWN),
    ]:
        assert grade_name(*where, Use.LOOKED_UP | Use.CALLED) == Grade.BEYOND
        assert grade_name(*where, Use.LOOKED_UP | Use.MADE) == made


# -- one stream or several


def test_names_stand_gravest_first_without_repeats() -> None:
    data = whole(
        pack(
            look("collections", "OrderedDict"),
            look("my_project", "Model"),
            look("posix", "system"),
            look("my_project", "Model"),
        )
    )
    worst, found, reasons = grade([followed(data), followed(data)])
    assert worst == Grade.BEYOND
    assert found == (
        GradedName("posix", "system", Grade.BEYOND),
        GradedName("my_project", "Model", Grade.UNKNOWN),
        GradedName("collections", "OrderedDict", Grade.DATA),
    )
    assert reasons == ()


def test_a_name_has_the_graver_of_its_grades_in_two_streams() -> None:
    svc = look("sklearn.svm._classes", "SVC")
    made, called = whole(make(svc)), whole(call(svc))
    for order in ([made, called], [called, made]):
        _, found, _ = grade(map(followed, order))
        assert found == (GradedName("sklearn.svm._classes", "SVC", Grade.UNKNOWN),)


def test_no_stream_and_no_name_are_data() -> None:
    assert grade([]) == (Grade.DATA, (), ())
    assert grade([followed(whole(number(1)))]) == (Grade.DATA, (), ())


def test_a_construction_that_no_data_needs_is_beyond_among_good_names() -> None:
    ordered = look("collections", "OrderedDict")
    worst, found, reasons = grade([followed(whole(build(ordered, b"}")))])
    assert worst == Grade.BEYOND
    assert {name.grade for name in found} == {Grade.DATA}
    assert reasons


def test_a_stream_that_breaks_off_is_unreadable_unless_it_had_reached_beyond() -> None:
    good = call(look("collections", "OrderedDict"))
    bad = call(look("posix", "mkdir"), text("x"))
    worst, _, reasons = grade([followed(b"\x80\x04" + good + b"\xff")])
    assert worst == Grade.CANNOT_TELL
    assert reasons
    assert grade([followed(b"\x80\x04" + bad + b"\xff")])[0] == Grade.BEYOND


def test_several_streams_have_the_worst_of_their_grades() -> None:
    broken = b"\x80\x04\xff"
    assert grade([followed(whole(number(1))), followed(broken)])[0] == Grade.CANNOT_TELL


# -- the list


def test_the_list_says_which_one_it_is_and_what_it_was_made_from() -> None:
    head = [line for line in LIST.read_text(encoding="utf-8").splitlines() if line[0] == "#"]
    assert head[0].endswith(f" {LIST_VERSION}")
    assert any("scikit" in line or "sklearn" in line for line in head)


def test_the_list_is_sorted_and_has_each_name_once() -> None:
    keys = []
    module = ""
    for line in LIST.read_text(encoding="utf-8").splitlines():
        if line[0] == " ":
            keys.append((module, line.split()[0]))
        elif line[0] != "#":
            module = line
    assert keys == sorted(set(keys))
    assert len(keys) > 2000


def test_a_listed_name_that_looks_like_a_way_out_is_one_of_these() -> None:
    odd = {
        (module, name)
        for module, name in map(str.split, names._listed().uses)
        if names._reaches(module, name, Use.LOOKED_UP)
    }
    assert {module for module, _ in odd if module.partition(".")[0] in sys.stdlib_module_names} == {
        "_codecs", "_io", "argparse", "array", "builtins", "collections", "copyreg", "datetime",
        "decimal", "fractions", "functools", "http", "ipaddress", "logging", "math", "pathlib",
        "pathlib._local", "random", "re", "statistics", "time", "types", "uuid", "zoneinfo",
    }  # fmt: skip
    libraries = {
        (module, name) for module, name in odd if module.partition(".")[0] in names._COVERED
    }
    assert {name for module, name in libraries if not name.startswith("eval_")} == {
        "__RandomState_ctor", "__bit_generator_ctor", "__generator_ctor", "__nat_unpickle",
        "__randomstate_ctor", "array", "struct",
    }  # fmt: skip


@pytest.mark.parametrize(
    "door",
    ["builtins exec", "builtins eval", "builtins getattr", "builtins type c", "functools partial",
     "numpy memmap", "numpy vectorize c", "scipy.stats._discrete_distns poisson_gen",
     "joblib.memory Memory", "numpy.core _ufunc_reconstruct", "builtins map", "builtins open"],
)  # fmt: skip
def test_a_door_is_not_listed(door: str) -> None:
    module, name, *uses = door.split()
    assert grade_name(module, name, Use.CALLED if uses else Use.LOOKED_UP) != Grade.DATA


def test_a_method_of_a_class_that_is_known_is_unknown_at_most() -> None:
    module = "sklearn.linear_model._logistic"
    assert grade_name(module, "LogisticRegression.decision", Use.LOOKED_UP) == Grade.UNKNOWN
    found = followed(whole(look(module, "LogisticRegression.decision")))
    assert found.beyond == ()
    for name in ("LogisticRegression.__globals__", "LogisticRegression.load_it", "os.path"):
        assert grade_name(module, name, Use.LOOKED_UP) == Grade.BEYOND


def test_what_only_pickle_load_takes_for_names_is_said_and_not_graded() -> None:
    found = followed(whole(pack(look("numpy", "dtype"), look("model", "dtype"))))
    ghosts = found._replace(of_arrays=True)
    usual = followed(whole(call(look("numpy", "dtype"))))
    worst, names, reasons = grade([usual, ghosts])
    assert worst == Grade.DATA
    assert [name.module for name in names] == ["numpy"]
    assert any("model.dtype" in reason for reason in reasons)
    both = followed(whole(call(look("model", "dtype"))))
    assert grade([both, ghosts])[2] == ()  # graded already
    assert grade([usual, found])[0] == Grade.UNKNOWN
    beyond = followed(whole(look("posix", "system")))._replace(of_arrays=True)
    assert grade([usual, beyond])[0] == Grade.BEYOND
    other = followed(whole(call(look("model", "go"))))._replace(of_arrays=True)
    assert grade([usual, other])[0] == Grade.UNKNOWN
