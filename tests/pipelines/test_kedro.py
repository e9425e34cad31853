"""Kedro: a real project is run, and its files are changed and moved."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from contexts import context_of
from rings import rotate

from pickleseal import Suite, inspect, signed_load
from pickleseal.keys.store.changes import Limits, create_key

pytest.importorskip("kedro")

from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project
from kedro.io import DatasetError

pytestmark = pytest.mark.once

CATALOG = """
model:
  type: pickleseal.integrations.kedro.SealedDataset
  filepath: data/models/knn.pkl
  save_args: {compress: zstd}
answers:
  type: pickleseal.integrations.kedro.SealedDataset
  filepath: data/answers.pkl
  context: answers/v1
history:
  type: pickleseal.integrations.kedro.SealedDataset
  filepath: data/history.pkl
  versioned: true
remote:
  type: pickleseal.integrations.kedro.SealedDataset
  filepath: memory:///remote.pkl
"""
PIPELINE = """
from pathlib import Path
from kedro.pipeline import node, pipeline

def train():
    Path("trained").touch()
    return {"neighbors": 3}

def answer(model):
    return [model["neighbors"]]

def keep(answers):
    return answers, answers

def register_pipelines():
    return {
        "__default__": pipeline([
            node(train, None, "model", name="train"),
            node(answer, "model", "answers", name="answer"),
            node(keep, "answers", ["history", "remote"], name="keep"),
        ])
    }
"""


class Project(NamedTuple):
    folder: Path

    def run(self, *nodes: str) -> None:
        with KedroSession.create(project_path=self.folder) as session:
            session.run(node_names=nodes or None)

    def load(self, name: str, version: str | None = None) -> Any:
        with KedroSession.create(project_path=self.folder) as session:
            return session.load_context().catalog.load(name, version=version)

    @property
    def model(self) -> Path:
        return self.folder / "data/models/knn.pkl"

    def versions(self) -> list[Path]:
        return sorted((self.folder / "data/history.pkl").iterdir())


@pytest.fixture(scope="module")
def bootstrapped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """Yield a project that is there once: Kedro keeps its package in the process."""
    folder = tmp_path_factory.mktemp("project").resolve()
    files = {
        "pyproject.toml": '[tool.kedro]\npackage_name = "knn_shop"\nproject_name = "Shop"\n'
        'kedro_init_version = "1.7.0"\n',
        "conf/base/catalog.yml": CATALOG,
        "conf/base/parameters.yml": "rows: 1",
        "conf/local/.keep": "",
        "src/knn_shop/__init__.py": "",
        "src/knn_shop/settings.py": "",
        "src/knn_shop/pipeline_registry.py": PIPELINE,
    }
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KEDRO_DISABLE_TELEMETRY", "1")
        patch.syspath_prepend(str(folder / "src"))
        bootstrap_project(folder)
        yield Project(folder)


@pytest.fixture
def project(
    bootstrapped: Project, keys: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Project]:
    monkeypatch.chdir(bootstrapped.folder)
    yield bootstrapped
    shutil.rmtree(bootstrapped.folder / "data", ignore_errors=True)
    (bootstrapped.folder / "trained").unlink(missing_ok=True)


def test_a_run_seals_each_file_for_its_path_and_version(project: Project, keys: Path) -> None:
    project.run()
    assert context_of(project.model) == "kedro:data/models/knn.pkl"
    assert inspect(project.model).codec == "zstd"
    assert signed_load(project.folder / "data/answers.pkl", context="answers/v1") == [3]
    (version,) = project.versions()
    context = context_of(version / "history.pkl")
    assert context == f"kedro:data/history.pkl:{version.name.replace(':', '%3A')}"
    assert project.load("history") == project.load("history", version.name) == [3]
    rotate(keys)
    project.run("answer", "keep")
    assert project.load("remote") == [3]
    assert len(project.versions()) == 2


def test_a_moved_version_or_file_is_refused(project: Project) -> None:
    project.run()
    project.run("keep")
    first, second = (version / "history.pkl" for version in project.versions())
    shutil.copy(first, second)
    with pytest.raises(DatasetError, match=first.parent.name):
        project.load("history")
    assert project.load("history", first.parent.name) == [3]
    shutil.copy(first, project.model)
    with pytest.raises(DatasetError, match="sealed for the context"):
        project.run("answer")


def test_what_is_not_sealed_is_never_unpickled(
    project: Project, planted: bytes, mark: Path
) -> None:
    project.run("train")
    project.model.write_bytes(planted)
    with pytest.raises(DatasetError, match="not sealed"):
        project.run("answer")
    assert not mark.exists()


def test_without_a_key_nothing_runs(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PICKLESEAL_KEYRING", str(tmp_path / "gone"))
    for nodes in ((), ("answer",)):
        with pytest.raises(DatasetError, match="keygen"):
            project.run(*nodes)
    limited = tmp_path / "limited"
    create_key(limited, suite=Suite.BLAKE3, now=0, limits=Limits(contexts=("fraud/*",)))
    monkeypatch.setenv("PICKLESEAL_KEYRING", str(limited))
    with pytest.raises(DatasetError, match="fraud/"):
        project.run()
    assert not (project.folder / "trained").exists()
