"""What is saved and loaded: from a small dict to an array of 1 GiB, all made here, offline."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

MIB = 1 << 20

_RANDOM = "random numbers hardly compress"
_ELSEWHERE = "compressed files are compared on the models and the DataFrame"
_TOO_SLOW_EACH = "it describes each tuple or array in JSON: one turn takes more than 25 s"
_NO_COMPRESSION = dict.fromkeys(("joblib-3", "pickleseal-zstd", "pickleseal-zstd-1"), _ELSEWHERE)
_NOT_RANDOM = dict.fromkeys(_NO_COMPRESSION, _RANDOM)


@dataclass(frozen=True)
class Case:
    """An object to measure with, and how."""

    name: str
    make: Callable[..., tuple[str, Any]]
    """Return a title and the object; with `quick=True` a small one."""
    same: Callable[[Any, Any], bool]
    """Return whether what was loaded is what was dumped."""
    seconds: float
    """About how long to measure."""
    in_memory: bool = False
    """Whether to make and read bytes, not a file at a path."""
    durable: bool = False
    """Whether each dump waits until the disk has it."""
    left_out: Mapping[str, str] = field(default_factory=dict)
    """Ways not to measure, and why."""


def _number(number: int) -> str:
    return f"{number:,}".replace(",", " ")


def _array(size: int) -> Any:
    import numpy as np

    return np.random.default_rng(0).random(size // 8)


def _same_array(a: Any, b: Any) -> bool:
    import numpy as np

    return bool(np.array_equal(a, b))


def _large_array(*, quick: bool) -> tuple[str, Any]:
    size = 16 if quick else 1024
    return f"float64 array, {'1 GiB' if size == 1024 else f'{size} MiB'}", _array(size * MIB)


def _middle_array(*, quick: bool) -> tuple[str, Any]:
    size = 2 if quick else 64
    return f"float64 array, {size} MiB", _array(size * MIB)


def _synced_array(*, quick: bool) -> tuple[str, Any]:
    title, obj = _middle_array(quick=quick)
    return f"{title}, synced to disk", obj


def _forest(trees: int, samples: int) -> Any:
    import numpy as np
    from sklearn.ensemble import RandomForestRegressor

    rng = np.random.default_rng(0)
    forest = RandomForestRegressor(trees, max_features=1, n_jobs=-1, random_state=0)
    forest.fit(rng.random((samples, 8)), rng.random(samples))
    return forest.set_params(n_jobs=None)  # so that it predicts the same to the last bit


def _large_forest(*, quick: bool) -> tuple[str, Any]:
    if quick:
        return "random forest, 1 MB", _forest(11, 1000)
    return "random forest, 100 MB", _forest(55, 20_000)


def _middle_forest(*, quick: bool) -> tuple[str, Any]:
    if quick:
        return "random forest, 0.3 MB", _forest(4, 1000)
    return "random forest, 17 MB", _forest(10, 19_000)


def _same_regressor(a: Any, b: Any) -> bool:
    points = _array(8 * 8 * 100).reshape(100, 8)
    return bool((a.predict(points) == b.predict(points)).all())


def _boosting(*, quick: bool) -> tuple[str, Any]:
    import numpy as np
    from sklearn.ensemble import GradientBoostingRegressor

    rng = np.random.default_rng(0)
    model = GradientBoostingRegressor(n_estimators=10 if quick else 200, random_state=0)
    return "gradient boosting", model.fit(rng.random((1000, 8)), rng.random(1000))


def _iris(*, quick: bool) -> tuple[str, Any]:  # noqa: ARG001 - small as it is
    from sklearn.datasets import load_iris
    from sklearn.neighbors import KNeighborsClassifier

    return "iris KNN", KNeighborsClassifier(n_neighbors=3).fit(*load_iris(return_X_y=True))


def _same_iris(a: Any, b: Any) -> bool:
    from sklearn.datasets import load_iris

    points = load_iris().data
    return bool((a.predict(points) == b.predict(points)).all())


def _iris_file(*, quick: bool) -> tuple[str, Any]:
    return "iris KNN, as a file", _iris(quick=quick)[1]


def _settings(*, quick: bool) -> tuple[str, Any]:  # noqa: ARG001 - small as it is
    names = [f"setting number {n}" for n in range(24)]
    values = (1, 2.5, "a value", None, True, (1, 2))
    return "dict of settings, 1 kB", {
        name: [values[n % 6], n, f"text {n}"] for n, name in enumerate(names)
    }


def _texts() -> tuple[list[str], list[int]]:
    """Return sentences of the descriptions of scikit-learn's data sets, with their sets."""
    from sklearn import datasets

    texts, labels = [], []
    for label, name in enumerate(("iris", "digits", "wine", "breast_cancer", "diabetes")):
        lines = getattr(datasets, f"load_{name}")().DESCR.splitlines()
        texts += [line for line in lines if line.strip()]
        labels += [label] * (len(texts) - len(labels))
    return texts, labels


def _text(*, quick: bool) -> tuple[str, Any]:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    words = TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 2) if quick else (1, 6))
    return "text pipeline", make_pipeline(words, LogisticRegression(max_iter=200)).fit(*_texts())


def _same_text(a: Any, b: Any) -> bool:
    texts, _ = _texts()
    return bool((a.predict(texts) == b.predict(texts)).all())


def _frame(*, quick: bool) -> tuple[str, Any]:
    import numpy as np
    import pandas as pd

    rows = 2000 if quick else 200_000
    rng = np.random.default_rng(0)
    columns: dict[str, Any] = {f"measure {n}": rng.normal(size=rows).round(2) for n in range(8)}
    columns["count"] = rng.integers(0, 100, rows)
    columns["when"] = pd.date_range("2020-01-01", periods=rows, freq="min")
    columns["kind"] = pd.Categorical(rng.choice(["red", "green", "blue"], rows))
    columns["who"] = pd.Series([f"customer {n}" for n in rng.integers(0, 5000, rows)], dtype=object)
    return f"pandas DataFrame, {_number(rows)} rows", pd.DataFrame(columns)


def _tuples(*, quick: bool) -> tuple[str, Any]:
    count = 600 if quick else 600_000
    return f"dict of {_number(count)} tuples", {n: (n, n + 0.5) for n in range(count)}


def _tiny_arrays(*, quick: bool) -> tuple[str, Any]:
    import numpy as np

    count = 100 if quick else 100_000
    return f"{_number(count)} tiny arrays", [np.arange(3.0) + n for n in range(count)]


def _same_arrays(a: Any, b: Any) -> bool:
    import numpy as np

    return len(a) == len(b) and bool(np.array_equal(np.stack(a), np.stack(b)))


def _bytes(*, quick: bool) -> tuple[str, Any]:
    import numpy as np

    count = 200 if quick else 20_000
    data = np.random.default_rng(0).bytes(1000 * count)
    pieces = [data[n : n + 1000] for n in range(0, len(data), 1000)]
    return f"list of {_number(count)} bytes of 1 kB", pieces


def _equal(a: Any, b: Any) -> bool:
    return bool(a == b)


CASES = (
    Case("settings", _settings, _equal, 5, in_memory=True, left_out=_NO_COMPRESSION),
    Case("iris", _iris, _same_iris, 8, in_memory=True, left_out=_NO_COMPRESSION),
    Case("iris-file", _iris_file, _same_iris, 6, left_out=_NO_COMPRESSION),
    Case("boosting", _boosting, _same_regressor, 6),
    Case("text", _text, _same_text, 8),
    Case("frame", _frame, lambda a, b: bool(a.equals(b)), 8),
    Case("bytes", _bytes, _equal, 6, left_out=_NOT_RANDOM),
    Case("tuples", _tuples, _equal, 10, left_out={**_NO_COMPRESSION, "skops": _TOO_SLOW_EACH}),
    Case(
        "tiny-arrays",
        _tiny_arrays,
        _same_arrays,
        8,
        left_out={**_NO_COMPRESSION, "skops": _TOO_SLOW_EACH},
    ),
    Case("forest", _middle_forest, _same_regressor, 12),
    Case("forest-large", _large_forest, _same_regressor, 15, left_out=_NO_COMPRESSION),
    Case("array", _middle_array, _same_array, 10, left_out=_NOT_RANDOM),
    Case("array-synced", _synced_array, _same_array, 10, durable=True, left_out=_NOT_RANDOM),
    Case(
        "array-large",
        _large_array,
        _same_array,
        35,
        left_out={
            **_NOT_RANDOM,
            "cloudpickle": "an array goes the way of pickle: see the one of 64 MiB",
            "skops": "see the one of 64 MiB",
        },
    ),
)
