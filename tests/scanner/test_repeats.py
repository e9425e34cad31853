"""Objects that repeat are passed over, and the walk finds what it finds without that."""

import io
import pickle
import random
import warnings
from functools import cache
from typing import Any

import numpy as np
import pytest
from armed import build, look, make, number, pack, text
from packing import Memory, names, seen
from sklearn import ensemble, linear_model, pipeline, preprocessing, tree
from sklearn.datasets import load_iris

from pickleseal.scanner.containers.contents import look as look_into
from pickleseal.scanner.containers.views import Pool
from pickleseal.scanner.grade import Grade
from pickleseal.scanner.machine import memo, repeats, stack
from pickleseal.scanner.machine.cursor import Cursor
from pickleseal.scanner.machine.faults import Skipped
from pickleseal.scanner.machine.repeats import Template
from pickleseal.scanner.machine.trace import Trace, Use, trace

X, Y = load_iris(return_X_y=True)


def walked(stream: bytes, templates: dict[bytes, Template] | None = None) -> Trace:
    return trace(Cursor(io.BytesIO(stream).read), joblib=True, templates=templates)


def passing(stream: bytes) -> Trace:
    """Walk a stream as the audit does."""
    try:
        return walked(stream, {})
    except Skipped:
        return walked(stream)


@cache
def ensembles() -> dict[str, bytes]:
    models: dict[str, Any] = {
        "forest": ensemble.RandomForestClassifier(6, max_depth=2, random_state=0),
        "extra trees": ensemble.ExtraTreesRegressor(6, max_depth=2, random_state=0),
        "boosting": ensemble.GradientBoostingClassifier(
            n_estimators=4, max_depth=1, random_state=0
        ),
        "bagging": ensemble.BaggingClassifier(linear_model.LogisticRegression(), 6, random_state=0),
        "isolation": ensemble.IsolationForest(n_estimators=6, random_state=0),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitted: dict[str, Any] = {kind: model.fit(X[::3], Y[::3]) for kind, model in models.items()}
        fitted["pipelines"] = [
            pipeline.make_pipeline(
                preprocessing.StandardScaler(),
                tree.DecisionTreeClassifier(max_depth=depth, random_state=0),
            ).fit(X[::3], Y[::3])
            for depth in range(1, 7)
        ]
    fitted["arrays"] = [np.arange(float(size)) for size in range(9)]
    fitted["objects"] = [np.array([size, *"ab"[:size]], dtype=object) for size in range(9)]
    return {
        f"{kind}, protocol {protocol}": pickle.dumps(value, protocol)
        for kind, value in fitted.items()
        for protocol in (4, 5)
    }


def test_ensembles_are_read_as_if_nothing_were_passed_over() -> None:
    passed = set()
    for kind, stream in ensembles().items():
        templates: dict[bytes, Template] = {}
        assert passing(stream) == walked(stream), kind
        try:
            walked(stream, templates)
        except Skipped:
            continue
        if templates:
            passed.add(kind.partition(",")[0])
    assert passed >= {"forest", "extra trees", "boosting", "isolation", "arrays"}


def test_templates_of_one_file_serve_for_others() -> None:
    pool = Pool()
    for stream in (*ensembles().values(), *ensembles().values()):
        contents = look_into(Memory(stream), pool=pool)
        assert contents == look_into(Memory(stream))
        assert contents is not None
        assert contents.grade is Grade.DATA


@pytest.mark.parametrize("seed", range(3))
def test_a_change_anywhere_in_an_ensemble_is_found(seed: int) -> None:
    chance = random.Random(seed)
    streams = list(ensembles().values())
    for _ in range(150):
        data = bytearray(chance.choice(streams))
        at = chance.randrange(len(data) // 2, len(data))
        if chance.random() < 0.5:
            at = data.find(chance.choice((b"\x94(h", b"ubh", b"\x94R\x94", b"K")), at)
        part = chance.choice(
            (*PARTS, bytes([104, chance.randrange(256)]), b"h\x90b", b"j\x90\1\0\0")
        )
        if chance.random() < 0.7:
            data[at:at] = part
        else:
            data[at] = chance.randrange(256)
        assert passing(bytes(data)) == walked(bytes(data)), bytes(data)


def test_the_version_of_an_array_changes_nothing() -> None:
    """NumPy does not look at it, and arrays that are passed over may differ in it."""
    data = ensembles()["arrays, protocol 4"]
    others = data.replace(b"R\x94(K\1", b"R\x94(K\7")
    assert others.count(b"R\x94(K\7") > 5
    assert passing(others) == walked(others) == walked(data)


# -- streams by hand: members of one class, which differ in a number

CLASS = look("m", "Model") + b"\x940" + text("a") + b"\x940"
START = b"\x80\4" + CLASS + b"]("
PARTS = (
    b"N", b"]", b"}", b"(", b"K\1", b"\x85", b"q\0", b"q\5", b"\x94", b"0", b"1", b"2", b"R",
    b"\x81", b"b", b"a", b"e", b"s", b"u", b"cos\nsystem\n", b"\x8c\2os\x8c\6system\x93",
    b"\x80\2", b"X\2\0\0\0os", b".",
)  # fmt: skip


def member(number: int) -> bytes:
    return b"h\0)\x81\x94}\x94(h\1K" + bytes([number]) + b"K\7\x86\x94ub"


MEMBERS = START + b"".join(map(member, range(9)))


def test_members_that_differ_in_a_number_are_passed_over() -> None:
    templates: dict[bytes, Template] = {}
    assert walked(MEMBERS + b"e.", templates) == walked(MEMBERS + b"e.")
    (template,) = templates.values()
    assert template.stored == 3


def test_what_a_member_stored_can_be_read_all_the_same() -> None:
    entries = 2 + 9 * 3
    for index in range(2, entries + 1):
        stream = MEMBERS + b"eh" + bytes([index]) + look("os", "system") + b"b."
        assert passing(stream) == walked(stream)
    with pytest.raises(Skipped):
        walked(MEMBERS + b"h" + bytes([entries - 1]) + b"0e.", {})
    with pytest.raises(Skipped):
        walked(MEMBERS + b"q" + bytes([entries - 1]) + b"e.", {})


@pytest.mark.parametrize("odd", ["another class", "a state twice", "a call", "memo"])
def test_a_member_that_does_more_is_found(odd: str) -> None:
    extra = {
        "another class": make(look("os", "System")) + b"}b",
        "a state twice": b"h\0)\x81}b}b",
        "a call": look("os", "system") + b"h\1\x85R",
        "memo": look("os", "system") + b"q\0" + b"h\0)\x81}b",
    }[odd]
    stream = MEMBERS + extra + b"".join(map(member, range(9))) + b"e."
    assert passing(stream) == walked(stream)
    assert seen(stream).grade is Grade.BEYOND


def test_a_member_that_changes_an_older_object_is_found() -> None:
    older = b"\x80\4" + CLASS + b"h\0)\x81\x940]("  # entry 2
    for step in (b"h\2}b", b"h\2(h\1K\1u0h\0)\x81}b"):
        stream = older + b"".join(step for _ in range(9)) + b"e."
        assert passing(stream) == walked(stream)


def test_a_member_that_is_made_of_a_list_which_later_holds_an_object_is_found() -> None:
    member = b"h\0h\2R}(K\1K\2ub"
    start = b"\x80\4" + look("m", "Model") + b"\x940]\x94\x85\x940("  # entry 2 is a tuple of it
    changed = b"h\1h\0)Ra0" + b"h\0)R}b"
    stream = start + b"h\0)R}b" + member * 4 + changed + member + b"1N."
    assert passing(stream) == walked(stream)
    assert walked(stream).names[0].uses & Use.HANDED


SHARED = (  # by entry of the memo: 2 an object, 3 a dict, 4 a list, 5 a dtype, 6 a text
    b"\x80\4" + CLASS + b"h\0)\x81\x940}\x940]\x940"
    + look("numpy", "dtype") + pack(text("f8"), b"\x89", b"\x88") + b"R\x940"
    + text("__class__") + b"\x940"
)  # fmt: skip
PLAIN_MEMBER = b"h\0)\x81}(h\1K\1ub"
STEPS = (
    b"h\2}(h\1K\1ub", b"h\2}(h\1K\1u0", b"h\2(h\1K\1u", b"h\2}b",
    b"h\0)\x81h\3b", b"h\0)\x81}(h\1h\3ub", b"h\0h\3\x85R}b", b"h\0)\x81(Nh\3tb",
    b"h\3(h\1K\1u0", b"h\3(h\6K\1u0", b"h\3(h\1h\5ub",
    b"h\0)\x81h\4b", b"h\4K\1a0", b"h\0h\4\x85R}b", b"h\0)\x81h\2b",
    b"h\5(K\3h\1NNNK\1K\1K\0tb0", b"h\0h\5\x85R}b", b"h\0)\x81}(h\6K\1ub", b"h\0)\x81}b",
)  # fmt: skip


@pytest.mark.parametrize("seed", range(4))
def test_members_that_share_what_may_change_are_all_found(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(300):
        plain, step = PLAIN_MEMBER, chance.choice(STEPS)
        steps = (step, step, plain, chance.choice(STEPS))
        members = [chance.choice(steps) * chance.choice((1, 3)) for _ in range(9)]
        # The step is learnt where it is first met, behind another one that begins alike.
        start = (plain, step[:-1] + b"0", plain)
        stream = SHARED + b"(" + b"".join((*start, *members)) + b"1N."
        assert passing(stream) == walked(stream), stream


ARRAY = (
    look("numpy._core.multiarray", "_reconstruct") + b"\x940"
    + look("numpy", "ndarray") + b"\x940"
    + build(look("numpy", "dtype") + pack(text("O8"), b"\x89", b"\x88") + b"R",
            pack(b"K\3", text("|"), b"NNN", b"J" + b"\xff" * 4, b"J" + b"\xff" * 4, b"K?"))
    + b"\x940"
)  # fmt: skip


@pytest.mark.parametrize("between", [0, 2 * stack.RECENT])
@pytest.mark.parametrize("order", [b"\x89", b"K\0"])
def test_an_array_longer_than_its_list_is_found_in_any_member(
    between: int, order: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memo, "MAX_TEXT", -1)  # so that the dtype is forgotten

    def array(length: int) -> bytes:
        size = b"K" + bytes([length]) + b"\x85"
        objects = b"j" + (3 + between).to_bytes(4, "little")
        return b"h\0(h\1K\0\x85C\1btR(K\1" + size + b"h\2" + order + objects + b"tb"

    start = b"\x80\4" + ARRAY + b"N\x940" * between + b"](K\1K\2e\x940]("
    stream = start + b"".join(array(2) for _ in range(9)) + array(5) + array(2) + b"e."
    assert passing(stream) == walked(stream)
    assert any("as long as" in clause for clause in walked(stream).beyond)


def test_a_shape_that_only_some_member_has_is_found() -> None:
    doubles = (
        look("numpy", "dtype") + pack(text("f8"), b"\x89", b"\x88") + b"R"
        + pack(b"K\3", text("<"), b"NNN", b"J" + b"\xff" * 4, b"J" + b"\xff" * 4, b"K\0") + b"b"
    )  # fmt: skip
    start = b"\x80\4" + ARRAY.partition(look("numpy", "dtype"))[0] + doubles + b"\x940]("

    def array(length: int) -> bytes:
        shape = number(length) + b"\x85"
        return b"h\0(h\1K\0\x85C\1btR(K\1" + shape + b"h\2\x89C\x08AAAAAAAAtb"

    stream = start + array(1) * 9 + array(-1) + array(1) + b"e."
    assert walked(stream).beyond != ()
    assert passing(stream) == walked(stream)
    stream = start + array(1) * 9 + b"e."
    templates: dict[bytes, Template] = {}
    assert walked(stream, templates).beyond == ()
    assert templates


def test_names_read_in_a_member_go_by_its_protocol() -> None:
    first = b"\x80\4" + text("__builtin__") + b"\x940" + text("eval") + b"\x940" + CLASS + b"]("
    one, another = b"h\0h\1\x93)\x81}b", b"h\2)\x81}b"
    stream = first + one * 9 + b"\x80\2" + another + one * 3 + b"e."
    assert passing(stream) == walked(stream)
    assert {"__builtin__.eval", "builtins.eval"} <= names(seen(stream))


def test_little_is_tried_where_nothing_repeats(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = 0
    read = repeats.Repeats._read

    def counting(self: Any, *args: Any) -> Template | None:
        nonlocal tried
        tried += 1
        return read(self, *args)

    monkeypatch.setattr(repeats.Repeats, "_read", counting)
    stream = START + (b"h\0)\x81}b" + b"h\0)\x81\x8f0}b") * 5000 + b"e."
    assert passing(stream) == walked(stream)
    assert 0 < tried <= 100


def test_an_array_wrapper_that_is_first_met_in_a_member_is_found() -> None:
    words = ("joblib.numpy_pickle", "NumpyArrayWrapper", "subclass", "shape", "order", "dtype", "C")
    start = b"\x80\4" + CLASS + b"".join(text(word) + b"\x940" for word in (*words, "allow_mmap"))
    start += look("numpy", "ndarray") + b"\x940"
    start += (
        build(
            look("numpy", "dtype") + pack(text("u1"), b"\x89", b"\x88") + b"R",
            pack(b"K\3", text("|"), b"NNN", *[b"J" + b"\xff" * 4] * 2, b"K\0"),
        )
        + b"\x940"
    )
    # joblib.load takes the next four bytes for an array, and goes on inside the bytes behind them.
    wrapper = b"h\2h\3\x93)\x81}(h\4h\x0ah\5K\4\x85h\6h\x08h\7h\x0bh\x09\x89ub"
    hidden = look("os", "mkdir") + text("never") + b"\x85R0"
    evil = b"h\0)\x81\x94}(h\1" + wrapper + b"h\1C" + bytes([len(hidden)]) + hidden + b"ub"
    stream = start + b"](" + member(1) + member(2) + evil + b"e."
    assert passing(stream) == walked(stream)
    assert "os.mkdir" in names(seen(stream))
