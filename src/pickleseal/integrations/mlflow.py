"""MLflow: a flavor whose model is one sealed file."""

import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from mlflow import MlflowClient
from mlflow.artifacts import download_artifacts
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from mlflow.models.model import ModelInfo
from mlflow.protos.databricks_pb2 import BAD_REQUEST, INVALID_PARAMETER_VALUE
from mlflow.pyfunc import save_model as save_pyfunc
from mlflow.store.artifact.utils.models import get_model_name_and_version

from pickleseal.errors import PicklesealError
from pickleseal.integrations.contexts import derived_context
from pickleseal.persistence.dump import Compress, Pickler, signed_dump
from pickleseal.persistence.inspection import inspect
from pickleseal.persistence.load import signed_load
from pickleseal.version import __version__

_FILE = "model.pkl"
_CONTEXT = "context"


def log_model(
    model: object,
    name: str,
    *,
    context: str | None = None,
    compress: Compress = None,
    pickler: Pickler = "pickle",
    **options: Any,
) -> ModelInfo:
    """Log a model as one sealed file.

    Parameters
    ----------
    model : object
        Anything that pickle takes. With a method `predict` it can be served.
    name : str
        The name of the logged model.
    context : str, optional
        What it is sealed for. Default: derived from the id that the tracking server gives the
        model.
    compress, pickler : optional
        As in `signed_dump`.
    **options
        As in `mlflow.pyfunc.log_model`, such as `registered_model_name` and `signature`.

    Returns
    -------
    ModelInfo
        Its `model_uri` is what `load_model` takes.

    Raises
    ------
    MlflowException
        If there is no key to seal with.

    Examples
    --------
    >>> from pickleseal.integrations.mlflow import load_model, log_model
    >>> info = log_model({"neighbors": 3}, "knn")
    >>> load_model(info.model_uri)
    {'neighbors': 3}
    """
    return Model.log(
        artifact_path=None,
        name=name,
        flavor=sys.modules[__name__],
        model=model,
        context=context,
        compress=compress,
        pickler=pickler,
        **options,
    )


def save_model(
    path: str,
    *,
    model: object,
    mlflow_model: Model | None = None,
    context: str | None = None,
    compress: Compress = None,
    pickler: Pickler = "pickle",
    **options: Any,
) -> Any:
    """Save a model to a local folder in MLflow's layout, as one sealed file.

    Parameters
    ----------
    path : str
        A folder that does not exist.
    model, compress, pickler : optional
        As in `log_model`.
    mlflow_model : mlflow.models.Model, optional
        What MLflow knows of the model, if it is logged.
    context : str, optional
        What it is sealed for. A model that is not logged needs one.
    **options
        As in `mlflow.pyfunc.save_model`. Default requirements: pickleseal and the packages that the
        sealed file lists, in their versions.

    Returns
    -------
    mlflow.models.Model
        What MLflow knows of the model.

    Raises
    ------
    MlflowException
        If there is no key to seal with, or no context.

    Examples
    --------
    >>> from pickleseal.integrations.mlflow import load_model, save_model
    >>> _ = save_model("knn", model={"neighbors": 3}, context="knn/v1")
    >>> load_model("knn", context="knn/v1")
    {'neighbors': 3}
    """
    with _refusing(), tempfile.TemporaryDirectory() as scratch:
        seal_for = _context(context, mlflow_model and mlflow_model.model_id)
        file = os.path.join(scratch, _FILE)
        signed_dump(
            model, file, context=seal_for, compress=compress, pickler=pickler, durable=False
        )
        if not {"conda_env", "pip_requirements", "extra_pip_requirements"} & options.keys():
            options["pip_requirements"] = _requirements(file)
        return save_pyfunc(
            path,
            loader_module=__name__,
            data_path=file,
            mlflow_model=mlflow_model,
            model_config={_CONTEXT: seal_for},
            **options,
        )


def load_model(model_uri: str, *, context: str | None = None, **options: Any) -> Any:
    """Load a model that was logged or saved here, and nothing else from where it lies.

    Parameters
    ----------
    model_uri : str
        As MLflow takes it: `models:/name/1`, `models:/name@alias`, `models:/m-...`, `runs:/...` or
        a folder.
    context : str, optional
        What it must have been sealed for. Default: derived from the id that the tracking server
        has for a `models:` URI. Another URI needs one.
    **options
        As in `signed_load`.

    Returns
    -------
    object
        The model that was logged.

    Raises
    ------
    MlflowException
        If it is refused, with the reason.

    Notes
    -----
    `mlflow.pyfunc.load_model` and `mlflow models serve` load it too, but first run what the
    model's folder says.

    Examples
    --------
    See `log_model`.
    """
    with _refusing():
        seal_for = _context(context, _model_id(model_uri))
        folder = download_artifacts(artifact_uri=model_uri)
        return signed_load(os.path.join(folder, "data", _FILE), context=seal_for, **options)


def _load_pyfunc(path: str, model_config: Mapping[str, str]) -> Any:
    """Return the model that `mlflow.pyfunc.load_model` and servers load."""
    with _refusing():
        return signed_load(path, context=model_config[_CONTEXT])


@contextmanager
def _refusing() -> Iterator[None]:
    try:
        yield
    except PicklesealError as error:
        raise MlflowException(str(error), BAD_REQUEST) from error


def _context(chosen: str | None, model_id: str | None) -> str:
    if chosen is None and model_id is None:
        raise MlflowException(
            "MLflow has no id for this model, so name the context that it is sealed for: context=",
            INVALID_PARAMETER_VALUE,
        )
    return derived_context("mlflow", str(model_id)) if chosen is None else chosen


def _model_id(uri: str) -> str | None:
    """Return the id that the server has for a model: not what the model's files say."""
    if not uri.startswith("models:"):
        return None
    client = MlflowClient()
    found = get_model_name_and_version(client, uri)
    if len(found) == 1:
        return found[0]
    version = client.get_model_version(*found)
    return version.model_id or _model_id(version.source)


def _requirements(file: str) -> list[str]:
    metadata = inspect(file).metadata
    versions = (metadata and metadata.versions) or {}
    needed = {"pickleseal": __version__} | {k: v for k, v in versions.items() if k != "python"}
    return [f"{name}=={version}" for name, version in needed.items()]
