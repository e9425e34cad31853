"""Reading an envelope, in the one order that docs/reference/format.md, "Reading", lays down.

Load, verify, inspect and the rest all read through here, so that they cannot disagree.
"""

import time
from collections.abc import Callable

from pickleseal import envelope, policy, seal, storage
from pickleseal.errors import MalformedError, SealError
from pickleseal.keyring import Keyring
from pickleseal.metadata import normalize_context
from pickleseal.storage import Source


class naming:  # noqa: N801 - used as `with naming(...)`, and a function of contextlib's costs more
    """Put the name of what is read into each refusal."""

    __slots__ = ("_name",)

    def __init__(self, name: str | None) -> None:
        self._name = name

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, SealError) and error.source is None:
            error.source = self._name


def read_fixed(source: Source, *, max_bytes: int | None = None) -> envelope.Fixed:
    """Read the first 64 bytes, and hold the size they name against what there is."""
    fixed = envelope.parse_fixed(source.pull(envelope.FIXED_SIZE))
    total = fixed.total_size
    if source.size is not None:
        if source.size < total:
            raise MalformedError(
                f"cut off: it should take {total} bytes, and there are {source.size}"
            )
        if source.exact and source.size > total:
            source.skip(total - envelope.FIXED_SIZE)
            if source.pull(len(envelope.MAGIC)) == envelope.MAGIC:
                raise MalformedError(
                    "another sealed object follows: open the file, and load one after the other"
                )
            raise MalformedError(envelope.left_over(source.size - total))
    policy.check_size(total, max_bytes)
    return fixed


def read_head(source: Source, fixed: envelope.Fixed) -> bytes:
    """Read the rest of the head and its tag; give all of it from the first byte."""
    size = fixed.head_size + envelope.TAG_SIZE
    data = fixed.pack() + source.pull(size - envelope.FIXED_SIZE)
    if len(data) < size:
        raise MalformedError("cut off: the input ends inside the head")
    return data


def read_body(source: Source, head: seal.AuthenticHead) -> seal.Verified:
    """Read the body into fresh memory and check the envelope tag over it."""
    body = source.body(head.key.suite, head.lengths)
    return seal.accept(head, body.leaves, _last_tag(source), body.segments, body.paddings)


def check_body(source: Source, head: seal.AuthenticHead) -> str:
    """Check the envelope tag over the body, keeping nothing of it; give the content's name."""
    body = source.digests(head.key.suite, head.lengths)
    content = seal.check_body(head, body.leaves, _last_tag(source), padded=body.padded)
    return seal.digest_text(head.key, content)


def _last_tag(source: Source) -> bytes:
    tag = source.pull(envelope.TAG_SIZE)
    if len(tag) < envelope.TAG_SIZE:
        raise MalformedError("cut off: the input ends before the last tag")
    return tag


def segments(payload: seal.Verified) -> list[memoryview]:
    """Return the segments of a verified payload without their codec, each in its own memory."""
    head = payload.head
    return storage.expanded(head.fixed.codec, payload.stored, head.raw)


def check_head(head: seal.AuthenticHead, *, context: str | None) -> None:
    """Ask of a genuine head what each reader asks: the context, and that its time is not over."""
    policy.check_context(
        head.metadata.context, None if context is None else normalize_context(context)
    )
    policy.check_expiry(head.metadata, time.time())


def read(
    source: Source,
    keyring: Callable[[], Keyring],
    *,
    check: Callable[[seal.AuthenticHead], None],
    max_bytes: int | None = None,
) -> seal.Verified:
    """Read one envelope whole. `check` judges the genuine head before the body is read."""
    fixed = read_fixed(source, max_bytes=max_bytes)
    head = seal.open_head(fixed, read_head(source, fixed), keyring())
    if max_bytes is not None:
        policy.check_size(max(sum(head.raw), head.metadata.raw_size or 0), max_bytes)
    check(head)
    return read_body(source, head)
