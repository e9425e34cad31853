"""Every estimator of scikit-learn: fitted, sealed, and loaded by another process."""

import os
import pickle
import subprocess
import sys
import warnings
from typing import Any

import numpy as np
import pytest
from scipy import sparse
from sklearn.datasets import make_blobs
from sklearn.linear_model import LogisticRegression
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.utils.discovery import all_estimators

from pickleseal import Suite, signed_dump
from pickleseal.keys.store.changes import create_key

recipes = pytest.importorskip(
    "sklearn.utils._test_common.instance_generator",
    reason="scikit-learn tells how to make each of its estimators since 1.6",
)

METHODS = ("predict", "predict_proba", "decision_function", "transform", "score_samples")
TEXTS = ["a seal on a jar", "a jar on a shelf", "no seal at all", "the shelf"]
RECORDS = [{"jar": 1.0, "seal": 2.0}, {"shelf": 1.0}, {"jar": 3.0}]
LABELS = ["jar", "seal", "jar", "shelf"]
DATA = {
    "CountVectorizer": TEXTS,
    "DictVectorizer": RECORDS,
    "FeatureHasher": RECORDS,
    "HashingVectorizer": TEXTS,
    "LabelBinarizer": LABELS,
    "LabelEncoder": LABELS,
    "MultiLabelBinarizer": [("jar", "seal"), ("shelf",), ("jar",)],
    "PatchExtractor": np.arange(2.0 * 12 * 12).reshape(2, 12, 12),
    "TfidfVectorizer": TEXTS,
}
"""What the estimators that take no table of numbers are fitted on."""

LOADER = """
import os, pickle, sys, warnings
from pickleseal import signed_load

folder, keyring = sys.argv[1:]
with open(os.path.join(folder, "asked.pickle"), "rb") as file:
    asked = pickle.load(file)
results = {}
for name, (data, methods) in asked.items():
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            model = signed_load(os.path.join(folder, name), keyring=keyring, context=name)
        answers = {method: getattr(model, method)(data) for method in methods}
        results[name] = type(model).__name__, vars(model), answers
    except Exception as error:
        results[name] = repr(error)
with open(os.path.join(folder, "results.pickle"), "wb") as file:
    pickle.dump(results, file)
"""

Model = tuple[Any, dict[str, Any]]


def fitted(name: str, cls: type) -> tuple[Any, Any]:
    """Return a fitted estimator and its training data."""
    from sklearn.utils import estimator_checks

    data, target = make_blobs(30, centers=[[0, 0, 0], [1, 1, 1]], cluster_std=0.1, random_state=0)
    if name == "FrozenEstimator":
        return cls(LogisticRegression().fit(data, target)), data
    model = next(iter(recipes._construct_instances(cls)))
    if "random_state" in model.get_params():
        model.set_params(random_state=0)
    if name in DATA:
        return model.fit(DATA[name]), DATA[name]
    data = estimator_checks._enforce_estimator_tags_X(model, data, kernel=rbf_kernel)
    target = estimator_checks._enforce_estimator_tags_y(model, target)
    return model.fit(data, target), data


@pytest.fixture(scope="module")
def models() -> dict[str, tuple[Any, dict[str, Any], Any]]:
    """Yield each fitted estimator with data and the results of its methods on it."""
    found = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, cls in all_estimators():
            model, data = fitted(name, cls)
            answers = {
                method: getattr(model, method)(data) for method in METHODS if hasattr(model, method)
            }
            found[name] = model, answers, data
    return found


@pytest.fixture(scope="module")
def loaded(
    models: dict[str, tuple[Any, dict[str, Any], Any]], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """Seal each model into a folder, and give what another process loaded from there."""
    folder = tmp_path_factory.mktemp("models")
    keyring = tmp_path_factory.mktemp("ring") / "keyring"
    create_key(keyring, suite=Suite.BLAKE3, note="", now=0)
    for name, (model, _, _) in models.items():
        signed_dump(model, folder / name, keyring=keyring, context=name, durable=False)
    asked = {name: (data, tuple(answers)) for name, (_, answers, data) in models.items()}
    (folder / "asked.pickle").write_bytes(pickle.dumps(asked))
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", LOADER, folder, keyring],
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
    )
    results: dict[str, Any] = pickle.loads((folder / "results.pickle").read_bytes())
    return results


def assert_same(one: Any, other: Any) -> None:
    """Assert that two results are equal, floats up to rounding."""
    if isinstance(one, tuple | list):
        assert len(one) == len(other)
        for left, right in zip(one, other, strict=True):
            assert_same(left, right)
        return
    if sparse.issparse(one):
        one, other = one.toarray(), other.toarray()
    one, other = np.asarray(one), np.asarray(other)
    if one.dtype.kind == "f":
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12)
    else:
        np.testing.assert_array_equal(one, other)


# One test: two workers would each fit all models.
@pytest.mark.sweep
@pytest.mark.timeout(600)
def test_an_estimator_loaded_elsewhere_is_the_one_sealed(
    models: dict[str, tuple[Any, dict[str, Any], Any]], loaded: dict[str, Any]
) -> None:
    assert len(models) > 150
    for name, (model, answers, _) in models.items():
        result = loaded[name]
        assert not isinstance(result, str), (name, result)
        cls, fields, answers_there = result
        assert cls == type(model).__name__
        assert fields.keys() == vars(model).keys(), name
        for field, value in vars(model).items():
            if isinstance(value, np.ndarray) and value.dtype.kind != "O":
                assert fields[field].dtype == value.dtype, (name, field)
                assert fields[field].tobytes() == value.tobytes(), (name, field)
        assert_same(list(answers.values()), list(answers_there.values()))
