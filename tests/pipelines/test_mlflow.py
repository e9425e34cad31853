"""MLflow: models are logged to a real tracking server, and changed where it keeps them."""

import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
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

pytestmark = [pytest.mark.once, pytest.mark.timeout(600)]

ROWS = np.arange(8).reshape(-1, 1)


def knn() -> Any:
    return KNeighborsClassifier(1).fit(ROWS, ROWS.ravel() > 3)


class Logged(NamedTuple):
    uri: str
    model_id: str
    folder: Path

    @property
    def file(self) -> Path:
        return self.folder / "data/model.pkl"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Yield the folder in which a tracking server keeps the artifacts that it is sent."""
    folder = tmp_path_factory.mktemp("mlflow")
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    options = {
        "--host": "127.0.0.1",
        "--port": address.split(":")[1],
        "--workers": "1",
        "--backend-store-uri": f"sqlite:///{folder}/mlflow.db",
        "--artifacts-destination": str(folder / "artifacts"),
    }
    command = [sys.executable, "-m", "mlflow", "server"]
    server = subprocess.Popen([*command, *(part for pair in options.items() for part in pair)])
    patch = pytest.MonkeyPatch()
    patch.setenv("MLFLOW_TRACKING_URI", f"http://{address}")
    try:
        while True:
            assert server.poll() is None, "MLflow's server did not start"
            try:
                urllib.request.urlopen(f"http://{address}/health", timeout=60).close()
                break
            except OSError:
                time.sleep(0.2)
        yield folder / "artifacts"
    finally:
        patch.undo()
        server.terminate()
        server.wait()


@pytest.fixture
def place(keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: Path) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def logged(store: Path, **options: Any) -> Logged:
    info = log_model(knn(), "knn", **options)
    (folder,) = store.glob(f"**/{info.model_id}/artifacts")
    return Logged(info.model_uri, info.model_id, folder)


def test_a_model_is_bound_to_its_id_through_the_registry(
    place: Path, store: Path, keys: Path
) -> None:
    with mlflow.start_run():
        found = logged(store, registered_model_name="shop", compress="zstd")
    mlflow.MlflowClient().set_registered_model_alias("shop", "champion", "1")
    mlflow.MlflowClient().copy_model_version("models:/shop/1", "copied")
    assert context_of(found.file) == f"mlflow:{found.model_id}"
    rotate(keys)
    for uri in (found.uri, "models:/shop/1", "models:/shop@champion", "models:/copied/1"):
        assert load_model(uri).predict([[7]]) == [True]
    assert mlflow.pyfunc.load_model("models:/shop/1").predict(ROWS[-1:]) == [True]
    requirements = (found.folder / "requirements.txt").read_text()
    assert {"scikit-learn", "pickleseal"} <= {
        line.split("==")[0] for line in requirements.splitlines()
    }
    # Nothing beside it is a pickle.
    assert [path.name for path in found.folder.rglob("*.pkl")] == ["model.pkl"]


def test_a_model_in_the_place_of_another_is_refused(place: Path, store: Path) -> None:
    one, other = logged(store), logged(store)
    shutil.copy(one.file, other.file)
    for load in (load_model, mlflow.pyfunc.load_model):
        with pytest.raises(MlflowException, match=one.model_id):
            load(other.uri)


def test_what_is_not_sealed_is_never_unpickled(
    place: Path, store: Path, planted: bytes, mark: Path
) -> None:
    found = logged(store)
    found.file.write_bytes(planted)
    for load in (load_model, mlflow.pyfunc.load_model):
        with pytest.raises(MlflowException, match="not sealed"):
            load(found.uri)
    model = found.folder / "MLmodel"
    model.write_text(model.read_text().replace("pickleseal.integrations.mlflow", "mlflow.sklearn"))
    with pytest.raises(MlflowException, match="not sealed"):
        load_model(found.uri)
    assert not mark.exists()


def test_a_folder_takes_a_context(place: Path) -> None:
    for context in (None, ""):
        with pytest.raises(MlflowException, match="context"):
            save_model("knn", model=knn(), context=context)
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
