"""Reading an envelope, in the one order that docs/reference/format.md, "Reading", lays down.

Load, verify, inspect and the rest all read through here, so that they cannot disagree.
"""

from collections.abc import Callable

from pickleseal.envelope import layout, seal
from pickleseal.envelope.expansion import expanded
from pickleseal.envelope.source import Source
from pickleseal.errors import MalformedError, PolicyError, SealError
from pickleseal.keys.keyring import Keyring


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


def read_fixed(source: Source, *, max_bytes: int | None = None) -> layout.Fixed:
    """Read the first 64 bytes, and hold the size they name against what there is."""
    fixed = layout.parse_fixed(source.pull(layout.FIXED_SIZE))
    total = fixed.total_size
    if source.size is not None:
        if source.size < total:
            raise MalformedError(
                f"cut off: it should take {total} bytes, and there are {source.size}"
            )
        if source.exact and source.size > total:
            source.skip(total - layout.FIXED_SIZE)
            if source.pull(len(layout.MAGIC)) == layout.MAGIC:
                raise MalformedError(
                    "another sealed object follows: open the file, and load one after the other"
                )
            raise MalformedError(layout.left_over(source.size - total))
    check_size(total, max_bytes)
    return fixed


def read_head(source: Source, fixed: layout.Fixed) -> bytes:
    """Read the rest of the head and its tag; give all of it from the first byte."""
    size = fixed.head_size + layout.TAG_SIZE
    data = fixed.pack() + source.pull(size - layout.FIXED_SIZE)
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
    tag = source.pull(layout.TAG_SIZE)
    if len(tag) < layout.TAG_SIZE:
        raise MalformedError("cut off: the input ends before the last tag")
    return tag


def segments(payload: seal.Verified) -> list[memoryview]:
    """Return the segments of a verified payload without their codec, each in its own memory."""
    head = payload.head
    return expanded(head.fixed.codec, payload.stored, head.raw)


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
        check_size(max(sum(head.raw), head.metadata.raw_size or 0), max_bytes)
    check(head)
    return read_body(source, head)


def check_size(size: int, max_bytes: int | None) -> None:
    """Raise PolicyError where an envelope, or what it expands to, takes more than `max_bytes`."""
    if max_bytes is not None and size > max_bytes:
        raise PolicyError(f"it takes {size} bytes, over max_bytes={max_bytes}")
