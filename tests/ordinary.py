"""Ordinary artifacts: what people who fit models save. None of them means any harm.

`made()` gives them. None is one of the objects that the list of good names was made from.
"""

import base64
import collections
import datetime as dt
import decimal
import fractions
import io
import pathlib
import pickle
import uuid
import warnings
import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple


class Ordinary(NamedTuple):
    """One artifact; `joblib`: joblib.dump wrote it; `by_value`: it carries code."""

    kind: str
    data: bytes
    joblib: bool = False
    by_value: bool = False


def made() -> list[Ordinary]:
    """Return the artifacts."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        objects = [*_plain(), *_arrays(), *_frames(), *_models(), *_nested()]
        return [*_written(objects), *_by_cloudpickle(), *_by_dill()]


def _written(objects: list[tuple[str, Any]]) -> Iterator[Ordinary]:
    """Write each object by pickle, in one protocol after the other, or by joblib."""
    import joblib

    for number, (kind, value) in enumerate(objects):
        if number % 3 == 2:
            file = io.BytesIO()
            joblib.dump(value, file)
            yield Ordinary(f"{kind}, joblib", file.getvalue(), joblib=True)
        else:
            protocol = (4, 5, 2, 3, 4, 5)[number % 6]
            yield Ordinary(f"{kind}, protocol {protocol}", pickle.dumps(value, protocol))


def _plain() -> Iterator[tuple[str, Any]]:
    zone = dt.timezone(dt.timedelta(hours=2))
    yield "settings", {"depth": 3, "rate": 0.1, "columns": ["a", "b"], "seed": None, 7: (True,)}
    yield "events", [dt.datetime(2024, 5, 6, 7, 8, tzinfo=zone), dt.date(1999, 1, 1)]
    yield "counts", collections.Counter("a jar on a shelf")
    yield "groups", collections.defaultdict(dict, {"a": {"b": {1, 2}}})
    yield "recent", collections.deque([{"loss": 0.5}], maxlen=3)
    yield "prices", {decimal.Decimal("9.99"): fractions.Fraction(22, 7), "id": uuid.uuid4()}
    yield "paths", [pathlib.Path("models") / "a.bin", pathlib.PurePosixPath("/x")]
    yield "text", "a" * 5000
    yield (
        "complex",
        [1 + 2j, float("inf"), -(2**80), b"\x00" * 300, bytearray(b"x"), range(2, 9, 3)],
    )
    yield "failed", [ValueError("a", 1), KeyError("b"), OSError(2, "none")]
    yield "types", {"id": int, "name": str, "score": float, "rows": list}
    yield "sets", frozenset({("a", 1), ("b", 2)})
    yield "ordered", collections.OrderedDict((str(n), n) for n in range(5))


def _arrays() -> Iterator[tuple[str, Any]]:
    import numpy as np
    from scipy import sparse

    made = np.random.default_rng(7)
    table = made.normal(size=(20, 5))
    yield "table", table
    yield "column-major", np.asfortranarray(table.astype("f4"))
    yield "strided", table[::2, ::2]
    yield "words", np.array(["one", "two", "fourteen"])
    yield "records", np.array([("a", 1, 2.5)], dtype=[("n", "U5"), ("i", "u2"), ("x", "f8")])
    yield "days", np.arange("2024-01", "2024-02", dtype="M8[D]")
    yield "objects", np.array([{"a": 1}, [1, 2], None, "x"], dtype=object)
    yield "masked", np.ma.masked_less(made.normal(size=6), 0)
    yield "big-endian", np.arange(4, dtype=">i2")
    yield "scalars", [np.float32(1.5), np.int8(3), np.bool_(True), np.datetime64("2024-02-03")]
    yield "generator", made
    yield "old generator", np.random.RandomState(3)
    yield "empty", np.empty((0, 3))
    yield "zero-d", np.array(3.5)
    yield "polynomial", np.polynomial.Polynomial.fit(range(5), [1, 4, 9, 16, 25], 2)
    yield "rows", sparse.random(10, 10, 0.2, "csr")
    yield "columns", sparse.csc_array(np.eye(4))
    yield "coordinates", sparse.coo_matrix(np.eye(4))
    yield "many", {f"w{n}": made.normal(size=(3, 3)) for n in range(9)}


def _frames() -> Iterator[tuple[str, Any]]:
    import numpy as np
    import pandas as pd

    frame = pd.DataFrame(
        {
            "n": np.arange(6),
            "x": [0.5, None, 1, 2, 3, 4],
            "word": list("abcabc"),
            "kind": pd.Categorical(list("xyxyxy")),
            "day": pd.date_range("2024-03-01", periods=6),
            "sure": [True, False] * 3,
        }
    )
    yield "frame", frame
    yield "indexed", frame.set_index(["word", "n"])
    yield "by day", frame.set_index("day")["x"]
    yield "means", frame.groupby("word")[["n", "x"]].mean()
    yield "described", frame.describe()
    yield "pivot", frame.pivot_table(index="word", columns="kind", values="n", observed=True)
    yield "nullable", frame.convert_dtypes()
    yield "arrow", frame[["n", "word"]].convert_dtypes(dtype_backend="pyarrow")
    yield "dummies", pd.get_dummies(frame[["word", "kind"]])
    yield "counts of words", frame["word"].value_counts()
    yield "periods", pd.Series(range(3), index=pd.period_range("2024-01", periods=3, freq="Q"))
    yield "cut", pd.cut(frame["n"], 3)
    yield "resampled", frame.set_index("day")["n"].resample("2D").sum()
    yield "stamps", [pd.Timestamp("2024-01-02"), pd.Timedelta("3h"), pd.NaT]
    yield "correlations", frame[["n", "x"]].corr()


def _models() -> Iterator[tuple[str, Any]]:
    from sklearn import (
        cluster,
        compose,
        datasets,
        decomposition,
        ensemble,
        feature_extraction,
        feature_selection,
        gaussian_process,
        impute,
        isotonic,
        linear_model,
        manifold,
        mixture,
        model_selection,
        multiclass,
        naive_bayes,
        neighbors,
        neural_network,
        pipeline,
        preprocessing,
        svm,
        tree,
    )

    x, y = datasets.load_iris(return_X_y=True)
    x, y = x[::3], y[::3]
    size = x[:, 2]
    forest = ensemble.RandomForestClassifier(4, max_depth=4, class_weight="balanced", n_jobs=1)
    scaled = pipeline.make_pipeline(preprocessing.RobustScaler(), svm.SVC(probability=False))
    texts = ["the jar is sealed", "the seal is whole", "no jar at all", "whole jars are sealed"]
    for kind, model in (
        ("forest", forest),
        ("extra trees", ensemble.ExtraTreesRegressor(3, criterion="squared_error")),
        ("isolation", ensemble.IsolationForest(n_estimators=4, contamination=0.1)),
        ("boosting", ensemble.GradientBoostingClassifier(n_estimators=3, subsample=0.8)),
        ("histograms", ensemble.HistGradientBoostingClassifier(max_iter=3, l2_regularization=1)),
        ("ada", ensemble.AdaBoostClassifier(
            tree.DecisionTreeClassifier(max_depth=2), n_estimators=3)),
        ("bagging", ensemble.BaggingClassifier(neighbors.KNeighborsClassifier(3), n_estimators=3)),
        ("stacking", ensemble.StackingClassifier(
            [("a", naive_bayes.GaussianNB()), ("b", tree.DecisionTreeClassifier(max_depth=3))],
            linear_model.LogisticRegression(max_iter=500), cv=2)),
        ("voting", ensemble.VotingClassifier(
            [("a", naive_bayes.GaussianNB()), ("b", linear_model.RidgeClassifier())])),
        ("logistic", linear_model.LogisticRegression(C=0.3, solver="saga", max_iter=50)),
        ("logistic path", linear_model.LogisticRegressionCV(Cs=3, cv=2, max_iter=200)),
        ("elastic net", linear_model.ElasticNet(alpha=0.1, l1_ratio=0.2)),
        ("sgd", linear_model.SGDClassifier(loss="log_loss", early_stopping=True)),
        ("sgd regression", linear_model.SGDRegressor(loss="epsilon_insensitive")),
        ("svm", svm.NuSVC(nu=0.2, kernel="sigmoid")),
        ("linear svm", svm.LinearSVR(C=2)),
        ("neighbours", neighbors.KNeighborsClassifier(
            3, algorithm="ball_tree", metric="manhattan")),
        ("radius", neighbors.RadiusNeighborsRegressor(radius=2.0, weights="distance")),
        ("network", neural_network.MLPRegressor(
            hidden_layer_sizes=(4, 3), activation="tanh", max_iter=20)),
        ("gauss", gaussian_process.GaussianProcessRegressor(
            2.0 * gaussian_process.kernels.RBF([1.0] * 4) + gaussian_process.kernels.DotProduct(),
            optimizer=None)),
        ("mixture", mixture.BayesianGaussianMixture(n_components=2, covariance_type="diag")),
        ("k-means", cluster.MiniBatchKMeans(n_clusters=3, n_init=2)),
        ("dbscan", cluster.DBSCAN(eps=0.7)),
        ("components", decomposition.PCA(0.9)),
        ("nmf", decomposition.NMF(n_components=2, max_iter=500)),
        ("embedding", manifold.Isomap(n_neighbors=4)),
        ("one against rest", multiclass.OneVsRestClassifier(svm.LinearSVC())),
        ("selection", feature_selection.RFECV(tree.DecisionTreeClassifier(), cv=2)),
        ("best", feature_selection.SelectPercentile(feature_selection.mutual_info_classif)),
        ("imputer", impute.KNNImputer(n_neighbors=2)),
        ("scaled", scaled),
        ("search", model_selection.GridSearchCV(
            scaled, {"svc__C": [0.1, 1], "svc__kernel": ["rbf", "linear"]}, cv=2,
            scoring={"a": "accuracy", "f": "f1_macro"}, refit="a")),
        ("halving", model_selection.RandomizedSearchCV(
            tree.DecisionTreeClassifier(), {"max_depth": [1, 2, 3]}, n_iter=2, cv=2)),
        ("logs", pipeline.Pipeline([
            ("columns", compose.ColumnTransformer(
                [("a", preprocessing.PowerTransformer(), [0, 1]),
                 ("b", preprocessing.KBinsDiscretizer(3), [2])], remainder="drop")),
            ("model", linear_model.Ridge())])),
        ("spline", pipeline.make_pipeline(
            preprocessing.SplineTransformer(4), linear_model.LassoCV(cv=2, max_iter=20000))),
        ("quantiles", preprocessing.QuantileTransformer(n_quantiles=10)),
    ):  # fmt: skip
        yield kind, model.fit(x, y)
    yield "isotonic", isotonic.IsotonicRegression(out_of_bounds="clip").fit(size, y)
    yield (
        "target",
        compose.TransformedTargetRegressor(
            linear_model.Lasso(), transformer=preprocessing.MinMaxScaler()
        ).fit(x, size),
    )
    yield (
        "texts",
        pipeline.make_pipeline(
            feature_extraction.text.TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True),
            naive_bayes.MultinomialNB(),
        ).fit(texts, [0, 1, 0, 1]),
    )
    yield "hashing", feature_extraction.text.HashingVectorizer(n_features=64)
    yield "encoder", preprocessing.OneHotEncoder(handle_unknown="ignore").fit([["a"], ["b"]])
    yield "labels", preprocessing.LabelBinarizer().fit(["x", "y", "z"])
    yield "unfitted", pipeline.make_pipeline(impute.SimpleImputer(), forest)
    yield "numbers", preprocessing.FunctionTransformer(__import__("numpy").log1p)


def _nested() -> Iterator[tuple[str, Any]]:
    import numpy as np
    from scipy import interpolate, optimize, spatial, stats
    from sklearn import datasets, linear_model, metrics, model_selection, preprocessing

    x, y = datasets.load_breast_cancer(return_X_y=True)
    model = linear_model.LogisticRegression(max_iter=30).fit(x[:60], y[:60])
    yield (
        "bundle",
        {
            "model": model,
            "scaler": preprocessing.MaxAbsScaler().fit(x),
            "made": dt.date(2024, 1, 1),
            "scores": {"auc": np.float64(0.9)},
        },
    )
    yield "folds", list(model_selection.StratifiedShuffleSplit(2, random_state=0).split(x, y))
    yield "splitter", model_selection.RepeatedKFold(n_splits=3, random_state=4)
    yield "scorer", metrics.make_scorer(metrics.fbeta_score, beta=0.5)
    yield "curves", metrics.roc_curve(y[:60], model.predict(x[:60]))
    yield "report", metrics.classification_report(y, y, output_dict=True)
    yield "data", datasets.load_wine()
    yield "spline of scipy", interpolate.make_interp_spline(np.arange(8.0), np.arange(8.0) ** 2)
    yield "nearest", spatial.KDTree(x[:20])
    yield "density", stats.gaussian_kde(x[:40, 0])
    yield "least squares", optimize.least_squares(np.sin, [0.5, 1.0])
    yield "minimum", optimize.minimize_scalar(np.cos, bounds=(0, 6), method="bounded")
    yield "correlation", stats.kendalltau([1, 2, 3, 4], [1, 3, 2, 4])
    yield (
        "searched distributions",
        model_selection.RandomizedSearchCV(model, {"C": stats.loguniform(0.1, 10)}),
    )
    yield "bound method", {"predict": model.predict}


def _by_cloudpickle() -> Iterator[Ordinary]:
    import cloudpickle
    import numpy as np
    from sklearn import dummy, linear_model, preprocessing

    yield Ordinary("cloudpickle, dict", cloudpickle.dumps({"a": np.arange(3), "b": {1, 2}}))
    yield Ordinary(
        "cloudpickle, model",
        cloudpickle.dumps(dummy.DummyClassifier(strategy="prior").fit([[1], [2]], [0, 1])),
    )
    yield Ordinary(
        "cloudpickle, function of numpy",
        cloudpickle.dumps(preprocessing.FunctionTransformer(np.sqrt, np.square)),
    )
    yield Ordinary("cloudpickle, lambda", cloudpickle.dumps(lambda x: x + 1), by_value=True)

    class Mine(linear_model.Ridge):  # type: ignore[misc]
        pass

    Mine.__module__ = "__main__"
    yield Ordinary("cloudpickle, class", cloudpickle.dumps(Mine(alpha=2)), by_value=True)


def _by_dill() -> Iterator[Ordinary]:
    """What `dill.dumps` 0.4.1 gave, compressed: a dict, an array, and fitted models."""
    for kind, kept in _DILL.items():
        yield Ordinary(f"dill, {kind}", zlib.decompress(base64.b85decode(kept)))


_DILL = {
    "plain": (
        "c-m`VnVQW20ku;!dKeR@#7@!hW^{L8fe8Ag_An+*>ETY!&&f$mF3HT#D+coXi&9dHQd3+qlS`&do}w8vrH8R"
        "%iZ^3%4@-GQYTlF{j+Dfb)RN5H)G0kIASO_eGYk6@My4sPQ-Y?H>Hz>md?(Q"
    ),
    "array": (
        "c-m`VnR=H20(!VoGIMhD;z8t;9^UxmqSVBa)cC}rqQuH6lc#9(h~<^$7F6oRC+8QX>gAT^lw?BWdU)cCQj_!"
        "Zic5-0lS_a~dsx9Lr}VJrrNFd%Gqg@|W=xvWK1IWu(VNMexot`YTMuhWNo7GQNDEV%#gxvD_9;O?dFCEQn<;"
        "*NeqR5908Dr@luSwLbT(i>0Uzw43<n6s0i^|?w1~r$k|};AKr{6Kt(Q#P"
    ),
    "scaler": (
        "c-noDK}*9h6vx-O>73gfA|ebCPu5FeHw6!c-7NHA@f^}NGsQM7Njm94(8JsYx$XHOJ^BeWZQa0&@9<vo=l%J"
        ";m%O$<zKli{Y9yXwf;qD?PBNYbM2LtzS}4R4gBo}evk>#p3vf(0tl{bnUcglQ&yl1kA(+8Zb*hVyp+2{QG%I"
        "u+Ff=7t=9~x=F$7Li9Wo?vlEqpPglJ8jusq2M3k4}BR+7gu!kps*)UMDxT=G=A>d`fnMMg@cIlYF}asl^XIy"
        "=g^1=n@&zI9Z|X-M!VoqD}f8{T!FYL}C0U^k57STCnDs6Gm~9+99Lx(1VWRS$6zq)bSj2U2UaulC9ps5_j-9"
        "43Yj3yn6M<{aqJYBH=@$M%*f!IdSpHNzYM9hvluo|j&F@z?oK#ihNeTW9qE<X>;k|IBRfz~0oYcZh!f6wL@1"
        "QOflGW9!BmL+)EY%pkmy"
    ),
    "pipeline": (
        "c-n<i%We}f6iw2+C}|riUTP5=gqkjhR0$!FkQ$UlB?d*P73`4Z%s3fS&v;~eTCzZbMIVv8>*Yt-@(Zl_0CtE"
        "Ce*o8$WLlsFFMMs!J@;|$nRn$6pUQ=7*{0qVjH<Yu@Pr8-GqCmNv*QV@zlXQbvK4JuqTv-D7qy{rKvkf9Dwq"
        "PhnnzG9QPO8x^LW@M0W}ot;?C54XX2iRytL0vNFqjKIJWidqD_G3vM-Yn+Qpa*7&WP4n(&x_SF%en(KJc~zG"
        "%kq&0dewC>gbhFBNM?sW6->MMq$(t~~1U*-GYvHZY^aHDybKhcG@qf^BGdbGG;xdcEG$pSZHkD;Vf^>l1=*c"
        "Hj{GY{gZI3FiYY1U82|*ahM%ERm5((i3Qf%eFxj^JT1!N_~TG;Wb-x3`{({!U1%PeK^9@MXz)K;mWw%oaDON"
        "$#WX$8JD)aM-_qaPAj|{t~qSD{yXwTw$?f`n<Fy<*gvt2{<oyFbGb9KIkrirGbMXWX)a^zf1~}Vy#Z<e5bUy"
        "$L#_?S=7-9S+d15x$-pTGi;iT#kf@m}qMl8U+oz~p4Yh>DRG5(?7*)i4WHkU=?84UOkEvAaVuL7ZxP-03blG"
        "x{QUPN-XQV*al?PwH-|F783j=OYG=?dkB?iTGCBG2I3knpxqHXwsYEAYTABNbwZ79^Lj8KS}9`98x#h%l6Mf"
        "3+ljlV`j-w=+Gzzb{*KlP<%I8!^nPgRCf2CJ#Y<hAT;=!H#GZ9U6^n!RWiH*ATY5oEafw;Xeg6bi+u&8Jn1v"
        "y#pYUz~=&|G)6%(%Fy|U$VjZ0lm`UL_Mk9{WAXed2?oS@cb#)7nOwgdf|^g!cO?a$&1+~gLBXWiH!0%N!?_s"
        "5sRc6A)_zH6UX*1JT=Ru"
    ),
}
