"""Kedro: a dataset whose files are sealed."""

from copy import deepcopy
from pathlib import Path, PurePosixPath
from typing import Any

import fsspec
from kedro.io import AbstractVersionedDataset, DatasetError
from kedro.io.core import get_filepath_str, get_protocol_and_path
from kedro.utils import find_kedro_project

from pickleseal.errors import PicklesealError
from pickleseal.integrations.contexts import check_key, derived_context
from pickleseal.keys.store.lookup import find_keyring
from pickleseal.persistence.dump import signed_dumps
from pickleseal.persistence.load import signed_load


class SealedDataset(AbstractVersionedDataset[Any, Any]):
    """A file of any file system, sealed for its path and version.

    Parameters
    ----------
    filepath, version, credentials, fs_args, metadata : optional
        As in Kedro's `PickleDataset`.
    context : str, optional
        What the file is sealed for. Default: derived from its path below the project, or its whole
        path outside of one, and from its version.
    load_args, save_args : mapping, optional
        Arguments of `signed_load` and `signed_dumps`, such as `compress`.

    Notes
    -----
    A file that is not sealed for its place is a `DatasetError` with the reason. So is, before a run
    begins, the lack of a key to open what it loads or to seal what it saves.

    Examples
    --------
    >>> import tempfile
    >>> from pickleseal.integrations.kedro import SealedDataset
    >>> dataset = SealedDataset(filepath="memory:///models/knn.pkl", save_args={"compress": "zstd"})
    >>> dataset.save({"neighbors": 3})
    >>> dataset.load()
    {'neighbors': 3}
    >>> dataset.context()
    'kedro:memory:/models/knn.pkl'
    """

    def __init__(
        self,
        *,
        filepath: str,
        context: str | None = None,
        load_args: dict[str, Any] | None = None,
        save_args: dict[str, Any] | None = None,
        version: Any = None,
        credentials: dict[str, Any] | None = None,
        fs_args: dict[str, Any] | None = None,
        metadata: Any = None,
    ) -> None:
        options = deepcopy(fs_args or {})
        self._open_to_load = options.pop("open_args_load", {})
        self._open_to_save = {"mode": "wb"} | options.pop("open_args_save", {})
        self._protocol, path = get_protocol_and_path(filepath, version)
        if self._protocol == "file":
            options.setdefault("auto_mkdir", True)
        self._fs = fsspec.filesystem(self._protocol, **(credentials or {}), **options)
        self._context = context
        self._load_args = load_args or {}
        self._save_args = save_args or {}
        self.metadata = metadata
        super().__init__(PurePosixPath(path), version, self._fs.exists, self._fs.glob)

    def context(self, version: str | None = None) -> str:
        """Return the context that a version of the file is sealed for."""
        if self._context is not None:
            return self._context
        place = [self._protocol, str(self._filepath)]
        if self._protocol == "file":
            path = Path(self._filepath)
            project = find_kedro_project(path.parent)
            place = [str(path.relative_to(project) if project else path)]
        return derived_context("kedro", *place, *([] if version is None else [version]))

    def check_key(self, *, to_save: bool) -> None:
        """Raise DatasetError if there is no key to load this, or none to save it."""
        try:
            if to_save:
                check_key(self.context(self.resolve_save_version()))
            else:
                find_keyring()
        except PicklesealError as error:
            raise DatasetError(f"there is no key for {self}: {error}") from error

    def load(self) -> Any:
        path = get_filepath_str(self._get_load_path(), self._protocol)
        context = self.context(self.resolve_load_version())
        with self._fs.open(path, **self._open_to_load) as file:
            return signed_load(file, context=context, **self._load_args)

    def save(self, data: Any) -> None:
        path = get_filepath_str(self._get_save_path(), self._protocol)
        context = self.context(self.resolve_save_version())
        sealed = signed_dumps(data, context=context, **self._save_args)
        with self._fs.open(path, **self._open_to_save) as file:
            file.write(sealed)
        self._fs.invalidate_cache(str(self._filepath))

    def _describe(self) -> dict[str, Any]:
        return {
            "filepath": self._filepath,
            "protocol": self._protocol,
            "context": self._context,
            "load_args": self._load_args,
            "save_args": self._save_args,
            "version": self._version,
        }

    def _exists(self) -> bool:
        try:
            return bool(self._fs.exists(get_filepath_str(self._get_load_path(), self._protocol)))
        except DatasetError:
            return False

    def _release(self) -> None:
        super()._release()
        self._fs.invalidate_cache(str(self._filepath))
