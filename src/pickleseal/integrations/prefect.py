"""Prefect: storages of results that are sealed for their key."""

import inspect
from collections.abc import Awaitable, Callable
from typing import Any

from prefect.filesystems import LocalFileSystem, RemoteFileSystem

from pickleseal.errors import SealError, TargetError, shown
from pickleseal.integrations.contexts import derived_context
from pickleseal.integrations.entries import LOG
from pickleseal.keys.store.lookup import find_keyring
from pickleseal.persistence.dump import signed_dumps
from pickleseal.persistence.load import signed_loads


class SealedFiles:
    """What makes a storage of Prefect seal: the first base class, before the storage's own.

    Prefect stores with each result the name of the serializer to load it with, so the whole is
    sealed, and a serializer would not do.
    A result is bound to its key and to the name that the block is saved under. One that is not
    sealed for them is refused, with a record in the log `pickleseal.integrations`: Prefect computes
    a cached result again, and elsewhere SealError is raised.

    Examples
    --------
    >>> from prefect.filesystems import LocalFileSystem
    >>> from pickleseal.integrations.prefect import SealedFiles
    >>> class Results(SealedFiles, LocalFileSystem):
    ...     _block_type_name = "Sealed results"
    """

    _block_document_name: str | None

    def block_initialization(self) -> None:
        super().block_initialization()
        find_keyring()

    def context(self, key: str) -> str:
        """Return the context that the result of a key is sealed for."""
        if self._block_document_name is None:
            raise TargetError("save this storage under a name first: Prefect reads others unsealed")
        return derived_context("prefect", self._block_document_name, key)

    def read_path(self, path: str, **options: Any) -> Any:
        def opened(data: bytes) -> Any:
            try:
                return signed_loads(data, context=context)
            except SealError as error:
                LOG.warning("refused the result %s: %s", shown(context), error)
                raise

        context = self.context(path)
        return _then(super().read_path(path, **options), opened)

    async def aread_path(self, path: str) -> Any:
        found = self.read_path(path)
        return await found if inspect.isawaitable(found) else found

    def write_path(self, path: str, content: bytes, **options: Any) -> Any:
        sealed = signed_dumps(content, context=self.context(path))
        return super().write_path(path, content=sealed, **options)

    async def awrite_path(self, path: str, content: bytes) -> Any:
        written = self.write_path(path, content)
        return await written if inspect.isawaitable(written) else written


def _then(found: Any, change: Callable[[bytes], Any]) -> Any:
    """Change what was read, now or once it is there."""

    async def later(coming: Awaitable[bytes]) -> Any:
        return change(await coming)

    return later(found) if inspect.isawaitable(found) else change(found)


class SealedLocalFileSystem(SealedFiles, LocalFileSystem):
    """Prefect's `LocalFileSystem`, sealed as `SealedFiles` says.

    Examples
    --------
    >>> from pickleseal.integrations.prefect import SealedLocalFileSystem
    >>> SealedLocalFileSystem.get_block_type_slug()
    'sealed-local-file-system'
    """

    _block_type_name = "Sealed Local File System"


class SealedRemoteFileSystem(SealedFiles, RemoteFileSystem):
    """Prefect's `RemoteFileSystem`, sealed as `SealedFiles` says.

    Examples
    --------
    >>> from pickleseal.integrations.prefect import SealedRemoteFileSystem
    >>> SealedRemoteFileSystem.get_block_type_slug()
    'sealed-remote-file-system'
    """

    _block_type_name = "Sealed Remote File System"
