"""MLflow: models are logged to a real tracking store, and changed where they lie."""

import shutil
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from contexts import context_of
from rings import rotate
from sklearn.neighbors import KNeighborsClassifier

mlflow = pytest.importorskip("mlflow")

from mlflow.exceptions import MlflowException  # noqa: E402

from pickleseal.integrations.mlflow import load_model, log_model, save_model  # noqa: E402

pytestmark = pytest.mark.once

ROWS = np.arange(8).reshape(-1, 1)


def knn() -> Any:
    return KNeighborsClassifier(1).fit(ROWS, ROWS.ravel() > 3)


class Logged(NamedTuple):
    uri: str
    model_id: str
    file: Path


@pytest.fixture(scope="module")
def _store(tmp_path_factory: pytest.TempPathFactory) -> None:
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path_factory.mktemp('mlflow')}/mlflow.db")


@pytest.fixture
def place(keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, _store: None) -> Path:
    monkeypatch.chdir(tmp_path)
    mlflow.set_experiment(experiment_id=mlflow.create_experiment(tmp_path.name))
    return tmp_path


def logged(**options: Any) -> Logged:
    info = log_model(knn(), "knn", **options)
    folder = mlflow.artifacts.download_artifacts(artifact_uri=info.model_uri)
    return Logged(info.model_uri, info.model_id, Path(folder, "data/model.pkl"))


def test_a_model_is_bound_to_its_id_through_the_registry(place: Path, keys: Path) -> None:
    with mlflow.start_run():
        found = logged(registered_model_name="shop", compress="zstd")
    mlflow.MlflowClient().set_registered_model_alias("shop", "champion", "1")
    mlflow.MlflowClient().copy_model_version("models:/shop/1", "copied")
    assert context_of(found.file) == f"mlflow:{found.model_id}"
    rotate(keys)
    for uri in (found.uri, "models:/shop/1", "models:/shop@champion", "models:/copied/1"):
        assert load_model(uri).predict([[7]]) == [True]
    assert mlflow.pyfunc.load_model("models:/shop/1").predict(ROWS[-1:]) == [True]
    requirements = (found.file.parent.parent / "requirements.txt").read_text()
    assert {"scikit-learn", "pickleseal"} <= {
        line.split("==")[0] for line in requirements.splitlines()
    }
    # Nothing beside it is a pickle.
    assert [path.name for path in found.file.parent.parent.rglob("*.pkl")] == ["model.pkl"]


def test_a_model_in_the_place_of_another_is_refused(place: Path) -> None:
    one, other = logged(), logged()
    shutil.copy(one.file, other.file)
    for load in (load_model, mlflow.pyfunc.load_model):
        with pytest.raises(MlflowException, match=one.model_id):
            load(other.uri)


def test_what_is_not_sealed_is_never_unpickled(place: Path, planted: bytes, mark: Path) -> None:
    found = logged()
    found.file.write_bytes(planted)
    for load in (load_model, mlflow.pyfunc.load_model):
        with pytest.raises(MlflowException, match="not sealed"):
            load(found.uri)
    model = found.file.parent.parent / "MLmodel"
    model.write_text(model.read_text().replace("pickleseal.integrations.mlflow", "mlflow.sklearn"))
    with pytest.raises(MlflowException, match="not sealed"):
        load_model(found.uri)
    assert not mark.exists()


def test_a_folder_takes_a_context(place: Path) -> None:
    with pytest.raises(MlflowException, match="context="):
        save_model("knn", model=knn())
    save_model("knn", model=knn(), context="knn/v1")
    assert load_model("knn", context="knn/v1").predict([[7]]) == [True]
    save_model("more", model=knn(), context="knn/v1", pip_requirements=["scikit-learn"])
    assert "pickleseal" not in Path("more/requirements.txt").read_text()
    with pytest.raises(MlflowException, match="context="):
        load_model("knn")
    with pytest.raises(MlflowException, match="knn/v1"):
        load_model("knn", context="knn/v2")


def test_without_a_key_nothing_is_logged(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PICKLESEAL_KEYRING", str(place / "gone"))
    with pytest.raises(MlflowException, match="keygen"):
        log_model(knn(), "knn")


def test_mlflow_itself_cannot_save_a_knn(place: Path) -> None:
    with pytest.raises(MlflowException, match="untrusted types"):
        mlflow.sklearn.log_model(knn(), name="knn")
