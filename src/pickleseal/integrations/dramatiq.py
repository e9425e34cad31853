"""dramatiq: messages are sealed whole, and results are bound to their message."""

from typing import Any

import dramatiq
from dramatiq.brokers.redis import RedisBroker as _RedisBroker
from dramatiq.brokers.redis import _RedisConsumer
from dramatiq.common import q_name
from dramatiq.errors import DecodeError
from dramatiq.results.backends.redis import RedisBackend as _RedisBackend
from dramatiq.results.result import unwrap_result, wrap_exception

from pickleseal.errors import SealError
from pickleseal.integrations.contexts import derived_context
from pickleseal.integrations.entries import LOG
from pickleseal.persistence.dump import signed_dumps
from pickleseal.persistence.load import signed_loads


class Encoder(dramatiq.Encoder):
    """An encoder that seals messages: `dramatiq.set_encoder(Encoder())`.

    Everything that dramatiq keeps of a message is in it: queue, actor, arguments, options, id and
    time.

    Parameters
    ----------
    name : str, default "dramatiq"
        What messages are bound to.

    Examples
    --------
    >>> from pickleseal.integrations.dramatiq import Encoder
    >>> Encoder("shop").context
    'dramatiq:shop:message'
    """

    def __init__(self, name: str = "dramatiq") -> None:
        self.context = derived_context("dramatiq", name, "message")

    def encode(self, data: dict[str, Any]) -> bytes:
        return signed_dumps(data, context=self.context)

    def decode(self, data: bytes) -> dict[str, Any]:
        try:
            return signed_loads(data, context=self.context)
        except SealError as error:
            raise DecodeError(str(error), data, error) from error


class _Consumer(_RedisConsumer):
    """Leaves out a refused message; dramatiq's own stops for seconds, and again after each."""

    def __next__(self) -> Any:
        while True:
            try:
                message = super().__next__()
            except DecodeError as error:
                LOG.warning("refused a message of the queue %s: %s", self.queue_name, error.error)
                continue
            if message is None or q_name(message.queue_name) == q_name(self.queue_name):
                return message
            LOG.warning(
                "refused a message of the queue %s: it was sent to %s",
                self.queue_name,
                message.queue_name,
            )
            self.queued_message_ids.discard(message.message_id)


class RedisBroker(_RedisBroker):
    """dramatiq's `RedisBroker` with sealed messages; it sets dramatiq's encoder.

    A message that is not sealed for the namespace, or was sent to another queue, never runs, with a
    record in the log `pickleseal.integrations`. It stays with the worker that refused it, and comes
    back to its queue when that worker has ended. Who can write to Redis can still drop messages,
    delay and repeat them.

    Examples
    --------
    >>> import dramatiq
    >>> from pickleseal.integrations.dramatiq import RedisBroker
    >>> dramatiq.set_broker(RedisBroker(url="redis://localhost"))
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        dramatiq.set_encoder(Encoder(self.namespace))

    @property
    def consumer_class(self) -> Any:
        return _Consumer


class _Bytes(dramatiq.Encoder):
    """An encoder for what is sealed before and opened after it."""

    def encode(self, data: Any) -> bytes:
        return data

    def decode(self, data: bytes) -> Any:
        return data


class RedisBackend(_RedisBackend):
    """dramatiq's `RedisBackend` with sealed results, each bound to its message.

    Raises
    ------
    dramatiq.DecodeError
        Where a result is asked for that is not sealed for the namespace and the queue, actor and id
        of its message.

    Examples
    --------
    >>> from dramatiq.results import Results
    >>> from pickleseal.integrations.dramatiq import RedisBackend
    >>> results = Results(backend=RedisBackend(url="redis://localhost"))
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(encoder=_Bytes(), **options)

    def context(self, message: Any) -> str:
        """Return the context that the result of a message is sealed for."""
        parts = q_name(message.queue_name), message.actor_name, message.message_id
        return derived_context("dramatiq", self.namespace, "result", *parts)

    def store_result(self, message: Any, result: object, ttl: int) -> None:
        super().store_result(message, signed_dumps(result, context=self.context(message)), ttl)

    def store_exception(self, message: Any, exception: Exception, ttl: int) -> None:
        self.store_result(message, wrap_exception(exception), ttl)

    def unwrap_result(self, res: bytes) -> bytes:
        return res

    def get_result(self, message: Any, **options: Any) -> Any:
        data = super().get_result(message, **options)
        try:
            return unwrap_result(signed_loads(data, context=self.context(message)))
        except SealError as error:
            raise DecodeError(str(error), data, error) from error
