"""Read an envelope in two stages: the head, then the body.

The steps are those of docs/reference/format.md, "Reading". Every reader of envelopes goes
through here, so that no two can disagree.
"""

from collections.abc import Callable
from itertools import chain
from typing import NamedTuple

from pickleseal.envelope import digests, hashing, layout, seal
from pickleseal.envelope.expansion import expanded
from pickleseal.envelope.metadata import Metadata
from pickleseal.envelope.source import Source
from pickleseal.errors import BadSealError, MalformedError, PolicyError, SealError
from pickleseal.files.objects import Opened
from pickleseal.keys.keyring import Keyring


class naming:  # noqa: N801 - used as `with naming(...)`, and a function of contextlib's costs more
    """Name the file in each SealError that is raised."""

    __slots__ = ("_name",)

    def __init__(self, name: str | None) -> None:
        self._name = name

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, SealError) and error.source is None:
            error.source = self._name


class ClaimedHead(NamedTuple):
    """A head and its tag as they were read. Nothing in it is known to be genuine."""

    fixed: layout.Fixed
    data: bytes
    """The head with its tag, from the first byte."""

    def authenticate(self, keyring: Keyring) -> seal.AuthenticHead:
        """Check the header tag under the one key that the head names (steps 4 to 6).

        The errors are those of `seal.open_head`.
        """
        return seal.open_head(self.fixed, self.data, keyring)

    def unverified(self) -> tuple[tuple[int, ...], Metadata | None]:
        """Return the raw sizes and metadata that the head claims, as far as they can be read."""
        raw: tuple[int, ...] = ()
        try:
            head = layout.parse_head(self.fixed, self.data[: self.fixed.head_size])
            raw = head.raw
            return raw, Metadata.decode(head.metadata)
        except MalformedError:  # a forged head may claim nothing that can be read
            return raw, None


def read_head(source: Source, *, max_bytes: int | None = None) -> ClaimedHead:
    """Read a head and its tag, and compare the size it names with the input's (steps 2 to 4)."""
    fixed = layout.parse_fixed(source.pull(layout.FIXED_SIZE))
    total = fixed.total_size
    if source.size is not None:  # 3.3
        if source.size < total:
            raise MalformedError(f"truncated: it should have {total} bytes, and has {source.size}")
        if source.exact and source.size > total:
            source.skip(total - layout.FIXED_SIZE)
            if source.pull(len(layout.MAGIC)) == layout.MAGIC:
                raise MalformedError(
                    "another sealed object follows: open the file, and load one after the other"
                )
            raise MalformedError(layout.left_over(source.size - total))
    check_size(total, max_bytes)  # 3.4
    size = fixed.head_size + layout.TAG_SIZE
    data = fixed.pack() + source.pull(size - layout.FIXED_SIZE)
    if len(data) < size:  # 4.1
        raise MalformedError("truncated: it ends inside the head")
    return ClaimedHead(fixed, data)


def read_body(source: Source, head: seal.AuthenticHead) -> seal.Verified:
    """Read the body into fresh memory and check the envelope tag over it (step 7)."""
    body = source.body(head.key.suite, head.lengths)
    return seal.accept(head, body.leaves, _last_tag(source), body.segments, body.paddings)


def check_body(source: Source, head: seal.AuthenticHead) -> str:
    """Check the envelope tag over the body without keeping it; return the content's digest."""
    body = source.digests(head.key.suite, head.lengths)
    content = seal.check_body(head, body.leaves, _last_tag(source), padded=body.padded)
    return digests.of_content(head.key.suite, content)


def check_original(source: Source, head: seal.AuthenticHead, original: Opened) -> None:
    """Raise BadSealError unless an envelope was sealed over exactly the bytes of another file.

    Its own body is skipped: its tag is checked over those bytes.
    """
    if (head.fixed.codec, head.lengths) != (layout.STORED, (original.size,)):
        raise BadSealError("it was sealed over other bytes")
    read = (
        memoryview(original.read(start, hashing.LEAF_SIZE))
        for start in range(0, original.size, hashing.LEAF_SIZE)
    )
    body = chain(read, [memoryview(bytes(layout.padding(original.size)))])
    leaves = [hashing.leaf_digest(head.key.suite, leaf) for leaf in hashing.split(body)]
    source.skip(head.fixed.body_size)
    seal.check_body(head, leaves, _last_tag(source), padded=True)


def _last_tag(source: Source) -> bytes:
    tag = source.pull(layout.TAG_SIZE)
    if len(tag) < layout.TAG_SIZE:  # 7.1
        raise MalformedError("truncated: it ends before the last tag")
    return tag


def segments(payload: seal.Verified) -> list[memoryview]:
    """Return the expanded segments of a verified payload, each in its own memory."""
    head = payload.head
    return expanded(head.fixed.codec, payload.stored, head.raw)


def read(
    source: Source,
    keyring: Callable[[str], Keyring],
    *,
    check: Callable[[seal.AuthenticHead], None],
    max_bytes: int | None = None,
) -> seal.Verified:
    """Read one envelope whole. `check` is called with the genuine head before the body is read.

    `keyring` is called with the id of the key once a head was read, so that a missing keyring does
    not hide a file that is not sealed.
    """
    claimed = read_head(source, max_bytes=max_bytes)
    head = claimed.authenticate(keyring(claimed.fixed.key_id.hex()))
    if max_bytes is not None:  # 6.2
        check_size(max(sum(head.raw), head.metadata.raw_size or 0), max_bytes)
    check(head)
    return read_body(source, head)


def check_size(size: int, max_bytes: int | None) -> None:
    """Raise PolicyError if an envelope, or its expanded segments, exceed `max_bytes`."""
    if max_bytes is not None and size > max_bytes:
        raise PolicyError(f"it takes {size} bytes, over max_bytes={max_bytes}")
