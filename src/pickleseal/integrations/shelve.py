"""Shelves whose values are sealed, and bound to their key."""

import dbm
import os
import shelve
from collections.abc import MutableMapping
from typing import Any, Literal

from pickleseal.integrations.contexts import derived_context
from pickleseal.persistence.dump import signed_dumps
from pickleseal.persistence.load import signed_loads


class Shelf(shelve.Shelf[Any]):
    """A `shelve.Shelf` whose values are sealed.

    Parameters
    ----------
    dict, protocol, writeback, keyencoding : optional
        As in shelve.
    name : str, optional
        What values are bound to beside their key. Default: nothing.

    Raises
    ------
    SealError
        Where a value is looked up that is not sealed for its key. It is a pickle.UnpicklingError.

    Notes
    -----
    Who can write to the file can still drop values, and bring back old ones of the same key.

    Examples
    --------
    >>> from pickleseal.integrations.shelve import Shelf
    >>> Shelf({}, name="docs").context("user/1")
    'shelve:docs:user/1'
    """

    cache: MutableMapping[str, Any]
    dict: MutableMapping[bytes, bytes]
    keyencoding: str
    writeback: bool

    def __init__(
        self,
        dict: MutableMapping[bytes, bytes],  # noqa: A002 - as shelve calls it
        protocol: int | None = None,
        writeback: bool = False,
        keyencoding: str = "utf-8",
        *,
        name: str = "",
    ) -> None:
        super().__init__(dict, protocol, writeback, keyencoding)
        self._sealed_protocol = protocol
        self.name = name

    def context(self, key: str) -> str:
        """Return the context that the value of a key is sealed for."""
        return derived_context("shelve", self.name, key)

    def __getitem__(self, key: str) -> Any:
        if key in self.cache:
            return self.cache[key]
        stored = self.dict[key.encode(self.keyencoding)]
        value = signed_loads(stored, context=self.context(key))
        if self.writeback:
            self.cache[key] = value
        return value

    def __setitem__(self, key: str, value: Any) -> None:
        if self.writeback:
            self.cache[key] = value
        sealed = signed_dumps(value, self._sealed_protocol, context=self.context(key))
        self.dict[key.encode(self.keyencoding)] = sealed


def open(  # noqa: A001 - as shelve calls it
    filename: str | os.PathLike[str],
    flag: Literal["r", "w", "c", "n"] = "c",
    protocol: int | None = None,
    writeback: bool = False,
    *,
    name: str | None = None,
) -> Shelf:
    """Open a file of sealed values, as `shelve.open` does.

    Parameters
    ----------
    filename, flag, protocol, writeback : optional
        As in shelve.
    name : str, optional
        What values are bound to beside their key. Default: the real path of the file.

    Returns
    -------
    Shelf
        The shelf. Close it, or use it in a `with` statement.

    Raises
    ------
    dbm.error
        If the file cannot be opened.

    Examples
    --------
    >>> import tempfile
    >>> from pickleseal.integrations import shelve
    >>> with shelve.open(f"{tempfile.mkdtemp()}/shelf", name="docs") as shelf:
    ...     shelf.context("key")
    'shelve:docs:key'
    """
    found: Any = dbm.open(filename, flag)  # noqa: SIM115 - the shelf closes it
    return Shelf(found, protocol, writeback, name=name or os.path.realpath(filename))
