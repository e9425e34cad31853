"""Celery: messages and results are sealed, and bound to the task that they belong to.

A serializer sees only the body of a message, while its headers choose the task that runs. So the
headers are hashed into the seal when a message is sent, and compared in the worker before anything
is decoded. Results are bound to the id of their task.
"""

import hashlib
import io
import json
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any, NamedTuple, Self, TypeVar

import celery
import celery.app.amqp
import celery.app.backends
import kombu
import kombu.serialization
import kombu.utils.json
from celery.backends.base import BaseKeyValueStoreBackend, DisabledBackend
from celery.backends.cache import CacheBackend
from celery.exceptions import ImproperlyConfigured
from kombu.exceptions import DecodeError, EncodeError

from pickleseal.errors import ContextError, SealError
from pickleseal.integrations.contexts import derived_context
from pickleseal.persistence.dump import signed_dumps
from pickleseal.persistence.inspection import verify
from pickleseal.persistence.load import signed_loads
from pickleseal.pickling.dump import PicklingError

SERIALIZER = "pickleseal"
CONTENT_TYPE = "application/x-pickleseal"
CONTROL = "celery/control"
RESULT = "celery/result"
TASK = "celery/task"
CHORD = "celery/chord"

T = TypeVar("T")


class _Part(NamedTuple):
    """A task of a chord that has ended."""

    id: str
    group: str


_part: ContextVar[_Part | None] = ContextVar("_part", default=None)
_accepted: ContextVar[tuple[str, ...]] = ContextVar("_accepted", default=(CONTROL,))


@contextmanager
def _set(variable: ContextVar[T], value: T) -> Iterator[None]:
    token = variable.set(value)
    try:
        yield
    finally:
        variable.reset(token)


class Celery(celery.Celery):
    """A Celery application whose messages and results are sealed.

    Use it in the place of `celery.Celery`, on clients and on workers. It takes the keyring that a
    call without one finds, sends tasks with the serializer `pickleseal` alone, and accepts nothing
    else. Results are kept in Redis, on the file system, or in another key-value store of Celery.

    Raises
    ------
    celery.exceptions.ImproperlyConfigured
        If the settings accept other content, or name a backend that unpickles by itself.

    Notes
    -----
    The worker logs and drops a refused message, as any that it cannot decode. A refused result
    raises `kombu.exceptions.DecodeError`. A broker can still drop, delay and repeat messages.

    Examples
    --------
    >>> from pickleseal.integrations.celery import Celery
    >>> app = Celery("shop", broker="memory://", backend="redis://localhost")
    >>> app.conf.accept_content
    ['pickleseal']
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        options.setdefault("amqp", f"{__name__}:_Amqp")
        super().__init__(*arguments, **options)
        self.add_defaults(
            lambda: {
                "task_serializer": SERIALIZER,
                "result_serializer": SERIALIZER,
                "accept_content": [SERIALIZER],
            }
        )

    def _get_backend(self) -> Any:
        found, url = celery.app.backends.by_url(
            self.backend_cls or self.conf.result_backend, self.loader
        )
        if not issubclass(found, DisabledBackend):
            _check_settings(self.conf)
            # Others store pickles of their own, which no serializer sees.
            if not issubclass(found, BaseKeyValueStoreBackend) or issubclass(found, CacheBackend):
                raise ImproperlyConfigured(
                    f"{found.__module__}.{found.__qualname__} cannot keep sealed results: "
                    "use Redis, the file system, or another key-value store"
                )
            found = type(found.__name__, (_Results, found), {"__module__": found.__module__})
        return found(app=self, url=url)


def _check_settings(conf: Any) -> None:
    for name in ("task_serializer", "result_serializer"):
        if conf[name] != SERIALIZER:
            raise ImproperlyConfigured(f"{name} must be {SERIALIZER!r}, not {conf[name]!r}")
    for name in ("accept_content", "result_accept_content"):
        accepted = conf[name]
        if accepted is not None and set(accepted) - {SERIALIZER, CONTENT_TYPE}:
            raise ImproperlyConfigured(f"{name} must be [{SERIALIZER!r}], not {accepted!r}")
    if conf["task_protocol"] != 2:
        raise ImproperlyConfigured("task_protocol must be 2: version 1 has no headers to bind")


# --- messages ------------------------------------------------------------------------------------


class _Consumer(kombu.Consumer):
    """Checks a message against its seal before the worker looks at it."""

    def _receive_callback(self, message: Any) -> Any:
        to_python = getattr(self.channel, "message_to_python", None)
        if to_python:
            message = to_python(message)
        if self.accept is not None:
            message.accept = self.accept
        try:
            message.body = _checked_body(message)
            message.content_encoding = "binary"  # what stands there is not sealed
            decoded = None if self.on_message else message.decode()
        except DecodeError as error:
            if self.on_decode_error is None:
                raise
            return self.on_decode_error(message, error)
        return self.on_message(message) if self.on_message else self.receive(decoded, message)


class _Amqp(celery.app.amqp.AMQP):
    Consumer = _Consumer

    def _create_task_sender(self) -> Callable[..., Any]:
        _check_settings(self.app.conf)
        send = super()._create_task_sender()

        def send_task_message(producer: Any, name: str, message: Any, **options: Any) -> Any:
            serializer = options.pop("serializer", None)
            if serializer not in (None, SERIALIZER):
                raise ImproperlyConfigured(
                    f"task {name} asks for the serializer {serializer!r}; "
                    f"the workers accept {SERIALIZER!r} alone"
                )
            return send(_Sealing(producer), name, message, **options)

        return send_task_message


class _Sealing:
    """A producer that seals what it publishes, and binds the headers to it."""

    def __init__(self, producer: Any) -> None:
        self._producer = producer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._producer, name)

    def publish(self, body: Any, *, headers: Any = None, **options: Any) -> Any:
        if not isinstance(body, tuple):  # an event of Celery's own
            return self._producer.publish(body, headers=headers, **options)
        del options["serializer"]
        names = sorted(headers)
        try:
            sealed = signed_dumps(
                body,
                context=derived_context(TASK, headers["task"], headers["id"]),
                info={"headers": names, "sha256": _bound(names, headers, options)},
            )
        except (PicklingError, AttributeError, TypeError, ValueError) as error:
            raise EncodeError(str(error)) from error
        return self._producer.publish(
            sealed, headers=headers, content_type=CONTENT_TYPE, content_encoding="binary", **options
        )


def _bound(names: list[str], headers: Mapping[str, Any], properties: Mapping[str, Any]) -> str:
    """Return the SHA-256 of these headers, the reply address and the correlation."""
    statement = {
        "headers": {name: headers[name] for name in names},
        "properties": [properties.get(name) for name in ("reply_to", "correlation_id")],
    }
    arrived = kombu.utils.json.loads(kombu.utils.json.dumps(statement))
    text = json.dumps(arrived, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()


class _Body(bytes):
    """The body of a message, and the context that its headers ask for; workers hand it around."""

    context: str

    def __new__(cls, body: bytes, context: str) -> Self:
        made = super().__new__(cls, body)
        made.context = context
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        return _Body, (bytes(self), self.context)


def _checked_body(message: Any) -> _Body:
    """Return the body of a message that is sealed with the headers that it has.

    Raise DecodeError if it is not.
    """
    headers = message.headers
    if message.errors:
        raise DecodeError("the message cannot be decompressed")
    if message.content_type != CONTENT_TYPE or not isinstance(message.body, bytes):
        raise DecodeError(f"the message is not sealed: its type is {message.content_type!r}")
    task, identity = headers.get("task"), headers.get("id")
    if not isinstance(task, str) or not isinstance(identity, str):
        raise DecodeError("the message names no task")
    body = _Body(message.body, derived_context(TASK, task, identity))
    try:
        found = verify(io.BytesIO(body), context=body.context)
    except SealError as error:
        raise DecodeError(str(error)) from error
    info = (found.metadata and found.metadata.info) or {}
    names = info.get("headers")
    if not isinstance(names, list) or not set(names) <= set(headers):
        raise DecodeError("the message lacks headers that it was sealed with")
    # Brokers add headers that begin with x-; kombu says how the body was compressed, and marks what
    # it puts back into Redis. No worker acts on these two.
    added = {name for name in set(headers) - set(names) if not name.startswith("x-")}
    if added := added - {"compression", "redelivered"}:
        raise DecodeError(f"the message was sealed without the header {min(added)!r}")
    if info.get("sha256") != _bound(names, headers, message.properties):
        raise DecodeError("the headers of the message are not those that it was sealed with")
    return body


# --- results -------------------------------------------------------------------------------------


class _Results:
    """Binds each result to the id of its task; stands before the backend's own class."""

    def _encode(self, data: Any) -> tuple[str, str, bytes]:
        context = RESULT
        part = _part.get()
        if part and isinstance(data, list) and data[:2] == [1, part.id]:
            context = derived_context(CHORD, part.group)
        return CONTENT_TYPE, "binary", signed_dumps(data, context=context)

    def decode(self, payload: Any) -> Any:
        part = _part.get()
        chord = () if part is None else (derived_context(CHORD, part.group),)
        with _set(_accepted, (RESULT, *chord)):
            try:
                return super().decode(payload)
            except (LookupError, ValueError, EOFError, zlib.error) as error:
                raise DecodeError(f"the result cannot be decompressed: {error}") from error

    def meta_from_decoded(self, meta: Any) -> Any:
        if not isinstance(meta, dict) or "task_id" not in meta:
            raise DecodeError("this is not the result of a task")
        return super().meta_from_decoded(meta)

    def _get_task_meta_for(self, task_id: str) -> Any:
        meta = super()._get_task_meta_for(task_id)
        if "task_id" in meta:  # there is a result
            _check_id(meta["task_id"], task_id)
        return meta

    def _mget_to_results(self, *arguments: Any, **options: Any) -> Any:
        results = super()._mget_to_results(*arguments, **options)
        for task_id, meta in results.items():
            _check_id(meta["task_id"], task_id)
        return results

    def _restore_group(self, group_id: str) -> Any:
        meta = super()._restore_group(group_id)
        if meta:
            _check_id(meta["result"].id, group_id)
        return meta

    def on_chord_part_return(self, request: Any, *arguments: Any, **options: Any) -> Any:
        with _set(_part, _Part(request.id, request.group) if request.group else None):
            return super().on_chord_part_return(request, *arguments, **options)


def _check_id(found: str, expected: str) -> None:
    if found != expected:
        raise DecodeError(f"the result under {expected} is the one of {found}")


# --- what is neither a message to a task nor a result: commands to workers, and their answers -----


def _encode(data: Any) -> bytes:
    return signed_dumps(data, context=CONTROL)


def _decode(data: bytes) -> Any:
    if isinstance(data, _Body):
        return signed_loads(data, context=data.context)
    *others, last = _accepted.get()
    for context in others:
        with suppress(ContextError):
            return signed_loads(data, context=context)
    return signed_loads(data, context=last)


kombu.serialization.register(SERIALIZER, _encode, _decode, CONTENT_TYPE, "binary")
