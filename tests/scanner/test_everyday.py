"""What people save every day with scikit-learn, pandas, NumPy and SciPy is data only."""

import datetime as dt
import io
import pickle
import zoneinfo
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
import scipy
import sklearn
from scipy import sparse, stats
from sklearn import linear_model, metrics, model_selection, neighbors, preprocessing, svm
from sklearn.compose import TransformedTargetRegressor, make_column_transformer
from sklearn.datasets import load_iris
from sklearn.ensemble import (
    GradientBoostingRegressor,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
)
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.feature_selection import SelectKBest, mutual_info_classif
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, Matern, WhiteKernel
from sklearn.pipeline import make_pipeline
from sklearn.utils import all_estimators

from pickleseal.scanner.containers.contents import look
from pickleseal.scanner.containers.views import Memory
from pickleseal.scanner.grade import Grade

RANDOM = np.random.default_rng(3)
X = RANDOM.normal(size=(30, 4))
Y = np.arange(30) % 2
CLASSES = np.arange(30) % 3
REAL = np.abs(X[:, 0]) + 0.1
TEXTS = ["red apple pie", "green pear tart", "blue sky day"] * 10
FRAME = pd.DataFrame(X, columns=list("abcd")).assign(
    town=list("xyz") * 10, day=pd.date_range("2024", periods=30, tz="Europe/Berlin")
)
GRID = {"C": [1, 2]}
LOGIT = linear_model.LogisticRegression()


def ways(value: Any) -> Iterator[tuple[str, bytes]]:
    """Yield the bytes of an object as people write it."""
    for protocol in (4, 5):
        yield f"protocol {protocol}", pickle.dumps(value, protocol)
    for compress in (0, 3):
        file = io.BytesIO()
        joblib.dump(value, file, compress=compress)
        yield f"joblib, compress={compress}", file.getvalue()


def check(value: Any) -> None:
    for way, data in ways(value):
        contents = look(Memory(memoryview(data)), name="model.pkl")
        assert contents is not None, way
        told = [str(name) for name in contents.names if name.grade is not Grade.DATA]
        assert contents.grade is Grade.DATA, (way, told, contents.reasons)


def _indexed() -> list[Any]:
    """Return frames whose types have cached the class of their index."""
    whole = pd.Series([1, 2, 3], dtype="Int64")
    return [pd.Index(whole), whole.to_frame(), pd.Series([True], dtype="boolean").value_counts()]


COMMON: dict[str, Callable[[], Any]] = {
    "forest": lambda: RandomForestClassifier(2).fit(X, CLASSES),
    "pipeline": lambda: make_pipeline(
        make_column_transformer(
            (preprocessing.OneHotEncoder(), ["town"]), (preprocessing.StandardScaler(), ["a"])
        ),
        RandomForestClassifier(2),
    ).fit(FRAME, Y),
    "text": lambda: make_pipeline(TfidfVectorizer(stop_words="english"), LOGIT).fit(TEXTS, CLASSES),
    "grid": lambda: model_selection.GridSearchCV(LOGIT, GRID, scoring="roc_auc").fit(X, Y),
    "grid, scorer of one's own": lambda: model_selection.GridSearchCV(
        LOGIT, GRID, scoring=metrics.make_scorer(metrics.fbeta_score, beta=2)
    ).fit(X, Y),
    "thresholds": lambda: model_selection.TunedThresholdClassifierCV(LOGIT).fit(X, Y),
    "results of a search": lambda: model_selection.cross_validate(
        LOGIT, X, Y, return_estimator=True
    ),
    "frame": lambda: FRAME,
    "categories": lambda: [FRAME.astype({"town": "category"}), FRAME.groupby("town").a.sum()],
    "index of categories": lambda: pd.CategoricalIndex(["a", "b"]),
    "array that ends in letters": lambda: pd.DataFrame(np.full((50, 4), ord("b"), "u1")),
    "times": lambda: [dt.datetime(2024, 5, 6, tzinfo=zoneinfo.ZoneInfo("UTC")), FRAME.day[0]],
    "rows of lists": lambda: sparse.eye(3).tolil(),
    "arrays": lambda: [X, X[:, ::2], np.array(["a", None, {"b": 1}], dtype=object), np.float32(1)],
    "categories by type": lambda: HistGradientBoostingRegressor(
        max_iter=2, categorical_features="from_dtype"
    ).fit(FRAME[["a"]].assign(town=FRAME.town.astype("category")), REAL),
    "selection": lambda: SelectKBest(partial(mutual_info_classif, random_state=3), k=2).fit(X, Y),
    "words": lambda: TfidfVectorizer(tokenizer=str.split, token_pattern=None).fit(TEXTS),
    "index of a nullable type": _indexed,
    "test": lambda: scipy.stats.ks_1samp(REAL, stats.norm.cdf),
}


@pytest.mark.parametrize("kind", COMMON)
def test_what_people_save_is_data(kind: str) -> None:
    check(COMMON[kind]())


def more() -> Iterator[tuple[str, Any]]:
    """Yield what is less common."""
    for loss in ("squared_error", "absolute_error", "poisson", "gamma"):
        yield (
            loss,
            HistGradientBoostingRegressor(loss=loss, max_iter=2).fit(X, REAL),
        )
    for loss in ("squared_error", "absolute_error", "huber", "quantile"):
        yield (
            loss,
            GradientBoostingRegressor(loss=loss, n_estimators=2).fit(X, REAL),
        )
    for loss in ("hinge", "log_loss", "modified_huber", "squared_hinge", "perceptron", "huber"):
        yield loss, linear_model.SGDClassifier(loss=loss).fit(X, CLASSES)
    for power in (0, 1, 1.5, 2, 3):
        yield (
            f"tweedie {power}",
            linear_model.TweedieRegressor(power=power).fit(X, REAL),
        )
    for metric in ("manhattan", "chebyshev", "minkowski", "hamming", "canberra", "braycurtis"):
        for algorithm in ("ball_tree", "brute"):
            yield (
                f"{metric}, {algorithm}",
                neighbors.KNeighborsClassifier(metric=metric, algorithm=algorithm).fit(X, Y),
            )
    for function in (np.log1p, np.sqrt, np.expm1, np.sin, np.tanh, scipy.special.expit):
        yield str(function), preprocessing.FunctionTransformer(function).fit(X)
    for splitter in (
        model_selection.StratifiedKFold(shuffle=True, random_state=3),
        model_selection.TimeSeriesSplit(),
        model_selection.GroupShuffleSplit(),
        model_selection.RepeatedKFold(),
    ):
        yield str(splitter), model_selection.GridSearchCV(LOGIT, GRID, cv=splitter)
    kernel = ConstantKernel() * Matern() + WhiteKernel() + RBF()
    yield "process", GaussianProcessRegressor(kernel).fit(X, REAL)
    yield (
        "target",
        TransformedTargetRegressor(linear_model.Ridge(), func=np.log1p, inverse_func=np.expm1).fit(
            X, REAL
        ),
    )
    yield "kernel", svm.SVC(kernel=metrics.pairwise.rbf_kernel).fit(X, Y)
    yield "data set", load_iris(as_frame=True)
    for name in ("csr", "csc", "coo", "bsr", "dia", "dok", "lil"):
        yield name, sparse.eye(4).asformat(name)
        yield f"{name} array", sparse.eye_array(4).asformat(name)
    yield (
        "columns",
        FRAME.assign(
            whole=pd.array([1, None] * 15, dtype="Int64"),
            sure=pd.array([True, None] * 15, dtype="boolean"),
            month=FRAME.day.dt.tz_localize(None).dt.to_period("M"),
            since=FRAME.day - FRAME.day.shift(),
            part=pd.cut(FRAME.a, 3),
            text=FRAME.town.astype("string"),
            few=FRAME.a.astype(pd.SparseDtype(float, 0)),
        ),
    )
    yield "arrow", FRAME.convert_dtypes(dtype_backend="pyarrow")
    yield "index", FRAME.set_index(["town", "day"])
    yield "objects", pd.DataFrame({"a": [{"x": 1}, [1], None, (1,), "s", 3.4]})
    yield "offsets", [pd.offsets.BDay(), pd.offsets.MonthEnd(), pd.DateOffset(months=1)]
    yield "scalars", [pd.Timestamp("2024", tz="UTC"), pd.Timedelta(1), pd.NaT, pd.NA]
    yield (
        "generators",
        [np.random.default_rng(), np.random.RandomState(), np.random.SFC64()],
    )
    yield "masked", np.ma.masked_less(X, 0)
    yield "records", np.rec.array([(1, 2.0)], dtype=[("a", int), ("b", float)])
    yield "polynomial", np.polynomial.Polynomial.fit(range(5), range(5), 1)
    interpolate, optimize, spatial = scipy.interpolate, scipy.optimize, scipy.spatial
    yield "spline", interpolate.CubicSpline([1, 2, 3], [1, 2, 3])
    yield "steps", interpolate.PchipInterpolator([1, 2, 3], [1, 2, 3])
    yield "grid", interpolate.RegularGridInterpolator(([1, 2], [1, 2]), np.eye(2))
    yield "density", stats.gaussian_kde(REAL)
    yield "line", stats.linregress(X[:, 0], REAL)
    yield "minimum", optimize.minimize(lambda v: (v**2).sum(), [1.0, 2.0])
    yield "tree", spatial.cKDTree(X)
    yield "rotation", [spatial.transform.Rotation.identity()]


def test_a_model_of_more_parts_than_are_followed_at_once_is_data() -> None:
    check(RandomForestClassifier(1500, max_depth=1, random_state=0).fit(X, Y))


@pytest.mark.sweep
@pytest.mark.filterwarnings("ignore")
def test_what_people_save_less_often_is_data() -> None:
    for kind, value in more():
        try:
            check(value)
        except AssertionError as error:
            raise AssertionError(kind) from error


DATA = [
    (X, Y), (np.abs(X), Y), (X, REAL), (X, np.c_[Y, Y]), (X, np.c_[REAL, REAL]), (X[:, 0], REAL),
    (TEXTS, None), ([{"a": 1}] * 30, None), (Y, None), (X[:, :1], REAL), (np.abs(X @ X.T), Y),
]  # fmt: skip


def fitted(estimator: Any) -> Any:
    """Return an estimator, fitted on the first of DATA that it takes; None if it takes none."""
    for data, target in DATA:
        try:
            return estimator.fit(data) if target is None else estimator.fit(data, target)
        except Exception:  # noqa: BLE001 - it takes other data
            continue
    return None


NOT_FITTED = {"FrozenEstimator", "SparseCoder"}
"""The first takes a model that is fitted; the second fits nothing."""


@pytest.mark.sweep
@pytest.mark.timeout(900)
@pytest.mark.filterwarnings("ignore")
def test_every_fitted_estimator_is_data() -> None:
    instances = pytest.importorskip("sklearn.utils._test_common.instance_generator")
    seen = 0
    for name, kind in all_estimators():
        if name in NOT_FITTED:
            continue
        models = [fitted(one) for one in instances._construct_instances(kind)]
        models = [model for model in models if model is not None]
        assert models, name
        for model in models:
            for way, data in ways(model):
                contents = look(Memory(memoryview(data)), name="model.pkl")
                assert contents is not None
                told = [str(one) for one in contents.names if one.grade is not Grade.DATA]
                assert contents.grade is Grade.DATA, (name, way, told, contents.reasons)
        seen += len(models)
    assert seen > 200, sklearn.__version__


@pytest.mark.parametrize(
    "text",
    [
        "c_loss\n__pyx_unpickle_CyHalfBinomialLoss\n(c_loss\nCyHalfBinomialLoss\nI238750788\n(ttR.",
        "c_loss\n__pyx_unpickle_CyHuberLoss\n(c_loss\nCyHuberLoss\nI83142977\n(F1\nttR.",
        (
            "ccopyreg\n_reconstructor\n(csklearn.model_selection._classification_threshold\n"
            "_CurveScorer\ncbuiltins\nobject\nNtR}S'_score_func'\ncsklearn.metrics._classification\n"
            "balanced_accuracy_score\nsb."
        ),
    ],
)
def test_what_scikit_learn_1_5_makes_is_data(text: str) -> None:
    contents = look(Memory(memoryview(text.encode())), name="model.pkl")
    assert contents is not None
    assert contents.grade is Grade.DATA, contents


@pytest.mark.parametrize("protocol", range(2, 6))
def test_a_mapped_array_is_not_beyond(protocol: int, tmp_path: Path) -> None:
    """It is pickled as an array in memory, with a class that opens a file where it is called."""
    mapped = np.memmap(tmp_path / "array", mode="w+", shape=(3,))
    contents = look(Memory(memoryview(pickle.dumps(mapped, protocol))), name="model.pkl")
    assert contents is not None
    assert contents.grade is Grade.UNKNOWN, contents
