"""Dagster: an IO manager whose files are sealed for their asset and partition."""

from typing import Any

from dagster import (
    FilesystemIOManager,
    InitResourceContext,
    InputContext,
    OutputContext,
    TextMetadataValue,
)
from dagster._core.storage.fs_io_manager import PickledObjectFilesystemIOManager
from pydantic import Field

from pickleseal.envelope.compression import level_of
from pickleseal.errors import MetadataError
from pickleseal.integrations.contexts import derived_context
from pickleseal.keys.store.lookup import find_keyring
from pickleseal.persistence.dump import signed_dumps
from pickleseal.persistence.load import signed_loads

CONTEXT = "pickleseal/context"
"""The key in the metadata of an asset or output whose value it is sealed for."""


class _SealedFiles(PickledObjectFilesystemIOManager):
    def __init__(self, base_dir: str, compress: Any) -> None:
        super().__init__(base_dir)
        self._compress = compress

    def dump_to_path(self, context: OutputContext, obj: Any, path: Any) -> None:
        seal_for = self._context(context, path)
        path.write_bytes(signed_dumps(obj, context=seal_for, compress=self._compress))

    def load_from_path(self, context: InputContext, path: Any) -> Any:
        expected = self._context(context.upstream_output, path)
        return signed_loads(path.read_bytes(), context=expected)

    def _context(self, output: OutputContext | None, path: Any) -> str:
        chosen = ((output and output.definition_metadata) or {}).get(CONTEXT)
        if isinstance(chosen, TextMetadataValue):
            chosen = chosen.text
        if not isinstance(chosen, str | None):
            raise MetadataError(
                f"the metadata {CONTEXT} must be a str, not {type(chosen).__name__}"
            )
        return chosen or derived_context("dagster", *path.relative_to(self._base_path).parts)


class SealedIOManager(FilesystemIOManager):
    """Dagster's `FilesystemIOManager`, with sealed files.

    Parameters
    ----------
    base_dir : str, optional
        As in Dagster.
    compress : str, optional
        As in `signed_dump`.

    Raises
    ------
    NoKeyError
        If there is no keyring: a step then stops before it computes anything.

    Notes
    -----
    An asset is bound to its key and partition, another output to its run, step and name; `CONTEXT`
    in its metadata chooses another context. What is not sealed for its place is refused: in a run
    with a `DagsterExecutionLoadInputError`, whose cause has the reason.

    Examples
    --------
    >>> from pickleseal.integrations.dagster import SealedIOManager
    >>> resources = {"io_manager": SealedIOManager(base_dir="models", compress="zstd")}
    """

    compress: str | None = Field(default=None, description="How files are compressed.")

    @classmethod
    def _is_dagster_maintained(cls) -> bool:
        return False

    def create_io_manager(self, context: InitResourceContext) -> Any:
        find_keyring()  # one that only opens will do: a run may only load
        level_of(self.compress)  # raises an error now, not after the work
        return _SealedFiles(super().create_io_manager(context).base_dir, self.compress)
