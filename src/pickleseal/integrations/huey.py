"""huey: tasks are sealed whole, and results are bound to their task."""

from typing import Any, Literal

import huey
from huey.constants import EmptyData
from huey.exceptions import ConfigurationError, HueyException
from huey.serializer import Serializer
from huey.storage import RedisStorage, SqliteStorage

from pickleseal.errors import SealError
from pickleseal.integrations.contexts import derived_context
from pickleseal.integrations.entries import open_entry
from pickleseal.persistence.dump import signed_dumps
from pickleseal.persistence.load import signed_loads


class _Opened:
    """A serializer for what was opened before it comes here."""

    def deserialize(self, data: object) -> object:
        return data


class Huey(huey.Huey):
    """A `huey.Huey` whose tasks and results are sealed, with any `storage_class`.

    A task that is not sealed for this huey's name never runs. Everything that huey keeps of it is
    sealed: function, arguments, id, time, expiry, retries, and what comes after it. Results and
    revocations are bound to their task.

    Parameters
    ----------
    *arguments, **options
        As in huey, but no `serializer`. `compression` is by zstd.

    Raises
    ------
    huey.exceptions.ConfigurationError
        If a serializer is given.
    huey.exceptions.HueyException
        Where a task or a result is read that was not sealed for its place. The consumer logs it.

    Notes
    -----
    A refused revocation is none, with a record in the log `pickleseal.integrations`. Who can write
    to the storage can still drop, delay and repeat tasks, drop revocations, and count for chords
    and rate limits.

    Examples
    --------
    >>> from pickleseal.integrations.huey import RedisHuey
    >>> shop = RedisHuey("shop", url="redis://localhost")
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        given: Any = vars(self)["serializer"]
        if type(given) is not Serializer:
            raise ConfigurationError("this huey has a serializer of its own")
        self._compress: Literal["zstd"] | None = "zstd" if given.comp else None
        self.serializer = _Opened()

    def _seal(self, value: object, *place: str) -> bytes:
        context = derived_context("huey", self.name, *place)
        return signed_dumps(value, context=context, compress=self._compress)

    def _open(self, data: bytes, *place: str) -> Any:
        try:
            return signed_loads(data, context=derived_context("huey", self.name, *place))
        except SealError as error:
            raise HueyException(f"refused what is under {':'.join(place)}: {error}") from error

    def serialize_task(self, task: Any) -> bytes:
        return self._seal(self._registry.create_message(task), "task")

    def deserialize_task(self, data: bytes) -> Any:
        return self._registry.create_task(self._open(data, "task"))

    def put(self, key: str, data: object) -> Any:
        return self.storage.put_data(key, self._seal(data, "data", key))

    def put_result(self, key: str, data: object) -> Any:
        return self.storage.put_data(key, self._seal(data, "data", key), is_result=True)

    def put_if_empty(self, key: str, data: object, ttl: float | None = None) -> Any:
        return self.storage.put_if_empty(key, self._seal(data, "data", key), ttl)

    def get_raw(self, key: str, peek: bool = False) -> Any:
        stored = super().get_raw(key, peek)
        return stored if stored is EmptyData else self._open(stored, "data", key)

    def is_revoked(self, task: Any, timestamp: Any = None, peek: bool = True) -> bool:
        keys = self._revoke_keys(task)
        stored = self.storage.peek_many(keys)
        for key in keys:
            context = derived_context("huey", self.name, "data", key)
            found = open_entry(stored[key], context, EmptyData) if key in stored else EmptyData
            revoked, restore = self._check_revoked(found, timestamp, peek)
            if restore:
                self.delete(key)
            if revoked:
                return True
        return False


class RedisHuey(Huey):
    """A huey of sealed tasks in Redis.

    Examples
    --------
    >>> from pickleseal.integrations.huey import RedisHuey
    >>> shop = RedisHuey("shop", url="redis://localhost")
    """

    storage_class = RedisStorage


class SqliteHuey(Huey):
    """A huey of sealed tasks in a file of SQLite.

    Examples
    --------
    >>> import tempfile
    >>> from pickleseal.integrations.huey import SqliteHuey
    >>> shop = SqliteHuey("shop", filename=f"{tempfile.mkdtemp()}/shop.db")
    """

    storage_class = SqliteStorage
