# mypy: disable-error-code="import-not-found,import-untyped"
"""Ordinary artifacts of many libraries, as people who fit models keep them.

    python third_party.py data/third_party.zip

writes them, with an interpreter that has the libraries of good_names/versions.txt. The tests read
the archive, since they do not install all these libraries. UMAP is not among them: its files carry
functions of numba by value, with the paths of the machine that wrote them.
"""

import io
import pickle
import sys
import warnings
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

NOT_DATA = {
    "statsmodels, formula": "evaluates its formula",
    "polars, lazy frame": "its plan may hold functions",
    "torch, tensor by pickle": "reads a nested file by torch.load",
    "skorch, net": "reads a nested file by torch.load",
}
"""What is not to be data only, with the reason."""


def made() -> Iterator[tuple[str, bytes]]:
    """Yield the name and the bytes of each artifact that these libraries can make."""
    for make in _MAKERS:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                for number, (name, value) in enumerate(make()):
                    data = (
                        value if isinstance(value, bytes) else pickle.dumps(value, 4 + number % 2)
                    )
                    yield name, data
        except Exception as error:
            print(make.__name__, repr(error)[:200], file=sys.stderr)


def _data() -> tuple[Any, Any, Any]:
    import numpy as np
    import pandas as pd

    random = np.random.default_rng(5)
    x = random.normal(size=(40, 3))
    frame = pd.DataFrame(x, columns=["age", "pay", "rate"]).assign(town=list("abcd") * 10)
    return x, (x.sum(axis=1) > 0).astype(int), frame


def _xgboost() -> Iterator[tuple[str, Any]]:
    import xgboost

    x, y, frame = _data()
    yield "xgboost, classifier", xgboost.XGBClassifier(n_estimators=3, max_depth=2).fit(x, y)
    model = xgboost.XGBRegressor(n_estimators=3, max_depth=2).fit(frame[["age", "pay"]], y)
    yield "xgboost, regressor on a frame", model
    yield "xgboost, booster", model.get_booster()


def _lightgbm() -> Iterator[tuple[str, Any]]:
    import lightgbm

    _, y, frame = _data()
    model = lightgbm.LGBMClassifier(n_estimators=2, verbose=-1).fit(frame[["age", "pay"]], y)
    yield "lightgbm, classifier on a frame", model
    yield "lightgbm, booster", model.booster_


def _catboost() -> Iterator[tuple[str, Any]]:
    import catboost

    x, y, _ = _data()
    fixed = {"iterations": 2, "depth": 2, "verbose": 0, "allow_writing_files": False}
    yield "catboost, classifier", catboost.CatBoostClassifier(**fixed).fit(x, y)
    yield "catboost, regressor", catboost.CatBoostRegressor(**fixed).fit(x, y)


def _imblearn() -> Iterator[tuple[str, Any]]:
    from imblearn.ensemble import BalancedRandomForestClassifier
    from imblearn.over_sampling import SMOTE
    from imblearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    x, y, _ = _data()
    pipeline = make_pipeline(StandardScaler(), SMOTE(k_neighbors=2), SVC())
    yield "imbalanced-learn, pipeline", pipeline.fit(x, y)
    forest = BalancedRandomForestClassifier(n_estimators=2, random_state=0)
    yield "imbalanced-learn, forest", forest.fit(x, y)


def _encoders() -> Iterator[tuple[str, Any]]:
    import category_encoders
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline

    _, y, frame = _data()
    encoder = category_encoders.TargetEncoder(cols=["town"])
    yield "category_encoders, pipeline", make_pipeline(encoder, Ridge()).fit(frame, y)
    yield "category_encoders, binary", category_encoders.BinaryEncoder().fit(frame)


def _feature_engine() -> Iterator[tuple[str, Any]]:
    from feature_engine.encoding import RareLabelEncoder
    from feature_engine.imputation import MeanMedianImputer
    from sklearn.pipeline import make_pipeline

    _, _, frame = _data()
    pipeline = make_pipeline(MeanMedianImputer(variables=["age"]), RareLabelEncoder(n_categories=2))
    yield "feature-engine, pipeline", pipeline.fit(frame)


def _statsmodels() -> Iterator[tuple[str, Any]]:
    import numpy as np
    import pandas as pd
    import statsmodels.api as sm
    import statsmodels.formula.api as smf
    from statsmodels.tsa.api import ARIMA, Holt

    x, y, frame = _data()
    yield "statsmodels, OLS", sm.OLS(y, sm.add_constant(x)).fit()
    yield "statsmodels, OLS on a frame", sm.OLS(frame["pay"], frame[["age", "rate"]]).fit()
    yield "statsmodels, GLM", sm.GLM(y, x, family=sm.families.Binomial()).fit()
    yield "statsmodels, formula", smf.ols("pay ~ age + rate", frame).fit()
    days = pd.Series(np.arange(40.0) % 7, index=pd.date_range("2024", periods=40))
    yield "statsmodels, Holt", Holt(days, initialization_method="estimated").fit()
    yield "statsmodels, ARIMA", ARIMA(days, order=(1, 0, 0)).fit()


def _frames() -> Iterator[tuple[str, Any]]:
    import polars
    import pyarrow

    _, _, frame = _data()
    yield "polars, frame", polars.from_pandas(frame)
    yield "polars, series", polars.Series("town", ["a", None, "b"])
    yield "polars, lazy frame", polars.from_pandas(frame).lazy().filter(polars.col("age") > 0)
    yield "pyarrow, table", pyarrow.Table.from_pandas(frame)
    yield "xarray, dataset", frame.set_index("town")[["age"]].iloc[:4].to_xarray()


def _torch() -> Iterator[tuple[str, Any]]:
    import torch

    net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 1))
    for name, value in (
        ("torch, state dict", net.state_dict()),
        ("torch, module", net),
        ("torch, checkpoint", {
            "epoch": 3,
            "model": net.state_dict(),
            "optimizer": torch.optim.Adam(net.parameters()).state_dict(),
        }),
    ):  # fmt: skip
        file = io.BytesIO()
        torch.save(value, file)
        yield name, file.getvalue()
    yield "torch, tensor by pickle", torch.zeros(3)


def _skorch() -> Iterator[tuple[str, Any]]:
    import skorch
    import torch

    x, y, _ = _data()
    net = skorch.NeuralNetRegressor(torch.nn.Linear, module__in_features=3, module__out_features=1)
    net.set_params(max_epochs=1, verbose=0)
    yield "skorch, net", net.fit(x.astype("f4"), y.reshape(-1, 1).astype("f4"))


def _clusters() -> Iterator[tuple[str, Any]]:
    import hdbscan
    import kmodes.kmodes

    x, _, frame = _data()
    yield "hdbscan, clusterer", hdbscan.HDBSCAN(min_cluster_size=3).fit(x)
    yield "kmodes, clusterer", kmodes.kmodes.KModes(2, random_state=0).fit(frame[["town"]])


def _others() -> Iterator[tuple[str, Any]]:
    import hmmlearn.hmm
    import mlxtend.classifier
    import mlxtend.preprocessing
    from sklearn.linear_model import LogisticRegression

    x, y, _ = _data()
    simple = LogisticRegression()
    stacked = mlxtend.classifier.StackingClassifier([simple], simple)
    yield "mlxtend, stacking", stacked.fit(x, y)
    encoder = mlxtend.preprocessing.TransactionEncoder()
    yield "mlxtend, transactions", encoder.fit([["tea"], ["tea", "milk"]])
    yield "hmmlearn, model", hmmlearn.hmm.GaussianHMM(2, random_state=0).fit(x)


def _boosted() -> Iterator[tuple[str, Any]]:
    import ngboost

    x, y, _ = _data()
    yield "ngboost, regressor", ngboost.NGBRegressor(n_estimators=2, verbose=False).fit(x, y)


def _gam() -> Iterator[tuple[str, Any]]:
    import pygam

    x, y, _ = _data()
    yield "pygam, model", pygam.LinearGAM(n_splines=4, lam=1).fit(x, y)


def _survival() -> Iterator[tuple[str, Any]]:
    import lifelines

    _, y, frame = _data()
    yield "lifelines, Kaplan-Meier", lifelines.KaplanMeierFitter().fit(range(1, 41), y)
    cox = lifelines.CoxPHFitter().fit(frame[["age", "pay"]].assign(T=range(1, 41), E=y), "T", "E")
    yield "lifelines, Cox", cox


def _series() -> Iterator[tuple[str, Any]]:
    import tslearn.clustering

    x, _, _ = _data()
    yield "tslearn, clusterer", tslearn.clustering.TimeSeriesKMeans(2, max_iter=2).fit(x[:8])


def _graphs() -> Iterator[tuple[str, Any]]:
    import networkx

    graph = networkx.DiGraph(name="roads")
    graph.add_edge("a", "b", km=3)
    graph.add_node("c", pos=(1, 2))
    yield "networkx, graph", graph


def _symbols() -> Iterator[tuple[str, Any]]:
    import sympy

    x, y = sympy.symbols("x y", real=True)
    yield "sympy, expression", sympy.diff(x**2 * sympy.sin(y) + sympy.Rational(1, 2), x)
    yield "sympy, solution", sympy.solve([x + y - 2, x - y], [x, y])


def _texts() -> Iterator[tuple[str, Any]]:
    import gensim

    words = [["tea", "milk"], ["tea", "sugar"], ["milk", "sugar"]]
    yield "gensim, dictionary", gensim.corpora.Dictionary(words)
    model = gensim.models.Word2Vec(words, vector_size=4, min_count=1, epochs=1)
    yield "gensim, vectors", model.wv
    yield "gensim, model", model


def _shapes() -> Iterator[tuple[str, Any]]:
    import shapely

    yield "shapely, shapes", {"town": shapely.Point(1, 2).buffer(1, 2), "road": shapely.Point(0, 1)}


def _studies() -> Iterator[tuple[str, Any]]:
    import hyperopt
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1) ** 2, n_trials=2)
    yield "optuna, best trial", study.best_trial
    yield "hyperopt, trials", hyperopt.Trials()


def _small() -> Iterator[tuple[str, Any]]:
    import datetime

    import dateutil.relativedelta
    import dateutil.tz
    import PIL.Image
    import pytz
    import sortedcontainers

    moment = datetime.datetime(2024, 5, 6, tzinfo=dateutil.tz.tzutc())
    yield "dateutil, dates", [moment, dateutil.relativedelta.relativedelta(months=1)]
    zone = pytz.timezone("Europe/Paris")
    yield "pytz, dates", [zone, zone.localize(datetime.datetime.fromisoformat("2024-05-06"))]
    yield "sortedcontainers, dict", sortedcontainers.SortedDict(b=1, a=2)
    yield "pillow, image", PIL.Image.new("RGB", (3, 3), "red")


_MAKERS: tuple[Callable[[], Iterator[tuple[str, Any]]], ...] = (
    _xgboost, _lightgbm, _catboost, _imblearn, _encoders, _feature_engine, _statsmodels, _frames,
    _torch, _skorch, _clusters, _others, _boosted, _gam, _survival, _series, _graphs,
    _symbols, _texts, _shapes, _studies, _small,
)  # fmt: skip


if __name__ == "__main__":
    with zipfile.ZipFile(sys.argv[1], "w", zipfile.ZIP_LZMA) as archive:
        for name, data in made():
            # No time of making, so that the archive changes where its contents do.
            archive.writestr(zipfile.ZipInfo(f"{name}.pkl"), data, zipfile.ZIP_LZMA)
