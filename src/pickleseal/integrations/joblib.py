"""A store for `joblib.Memory` whose results are sealed: importing this registers its backend."""

import os
import warnings
from collections.abc import Sequence
from typing import Any

import joblib
from joblib._store_backends import CacheWarning, FileSystemStoreBackend

from pickleseal.errors import SealError, shown
from pickleseal.integrations.contexts import derived_context
from pickleseal.integrations.entries import LOG
from pickleseal.persistence.dump import signed_dump
from pickleseal.persistence.inspection import verify
from pickleseal.persistence.load import signed_load

BACKEND = "pickleseal"


class SealedStore(FileSystemStoreBackend):
    """The store of `joblib.Memory(location, backend="pickleseal")`.

    A result is bound to its function, its arguments and the folder. One that is not sealed for them
    is computed again, with a record in the log `pickleseal.integrations`.

    Raises
    ------
    KeyError
        Where the result of `call_and_shelve` is read, and refused or gone.
    ValueError
        If a `mmap_mode` is asked for: a mapped file can change after it was checked.

    Examples
    --------
    >>> import tempfile, joblib
    >>> from pickleseal.integrations.joblib import BACKEND
    >>> memory = joblib.Memory(tempfile.mkdtemp(), backend=BACKEND, verbose=0)
    """

    def configure(self, location: str, *arguments: Any, **options: Any) -> None:
        super().configure(location, *arguments, **options)
        if self.mmap_mode is not None:
            raise ValueError("a sealed result cannot be mapped: leave mmap_mode out")

    def context(self, call_id: Sequence[str]) -> str:
        """Return the context that the result of a call is sealed for."""
        return derived_context("joblib", os.path.realpath(self.location), *call_id)

    def contains_item(self, call_id: Sequence[str]) -> bool:
        try:
            verify(self._path(call_id), context=self.context(call_id))
        except FileNotFoundError:
            return False
        except SealError as error:
            LOG.warning("refused the cached result of %s: %s", shown(call_id[0]), error)
            return False
        return True

    def get_metadata(self, call_id: Sequence[str]) -> dict[str, Any]:
        """Return when a result was computed, and in what time: long ago, if that is junk."""
        found = super().get_metadata(call_id)
        times = (
            [found.get(name) for name in ("time", "duration")] if isinstance(found, dict) else []
        )
        if times and all(isinstance(time, (int, float)) for time in times):
            return {"input_args": {}, **found}
        return {"input_args": {}, "time": 0, "duration": 0}

    def load_item(self, call_id: Sequence[str], *_: Any, **__: Any) -> Any:
        try:
            return signed_load(self._path(call_id), context=self.context(call_id))
        except FileNotFoundError as error:
            raise KeyError(f"there is no result {error.filename}") from error
        except SealError as error:  # of a result that was shelved, or changed since it was found
            LOG.warning("refused the cached result of %s: %s", shown(call_id[0]), error)
            raise KeyError(f"the result of {call_id[0]} was refused") from error

    def dump_item(self, call_id: Sequence[str], item: object, *_: Any, **__: Any) -> None:
        path = self._path(call_id)
        try:
            self.create_location(os.path.dirname(path))
            signed_dump(
                item,
                path,
                context=self.context(call_id),
                compress="zstd" if self.compress else None,
                durable=False,
            )
        except Exception as error:  # noqa: BLE001 - joblib goes on without a cache
            warnings.warn(f"Unable to cache to disk: {error}", CacheWarning, stacklevel=2)

    def _path(self, call_id: Sequence[str]) -> str:
        return os.path.join(self.location, *call_id, "output.pkl")


joblib.register_store_backend(BACKEND, SealedStore)
