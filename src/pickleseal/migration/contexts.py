"""Contexts with placeholders, which give each file of a batch a context of its own.

`{name}` stands for a file's name without its ending, and `{path}` for that name with the folders
below the path that was named before it.
"""

import os
import re
from collections import Counter
from collections.abc import Iterable

from pickleseal.errors import MetadataError
from pickleseal.keys.context import normalize_context

_PLACEHOLDER = re.compile(r"\{(name|path)\}")
_PACKED = frozenset((".gz", ".bz2", ".xz", ".lzma", ".lz4", ".zst", ".z"))


def has_placeholder(context: str | None) -> bool:
    """Return whether a context has a placeholder. Raises ValueError for any other brace."""
    if context is None:
        return False
    rest = _PLACEHOLDER.sub("", context)
    if "{" in rest or "}" in rest:
        raise ValueError(
            "a context uses { and } only for {name}, the file's name without its ending, and"
            " {path}, which adds its folders below PATH"
        )
    return rest != context


def context_of(inside: str, context: str) -> str:
    """Return the context of one file; `inside` is its path below the path that was named."""
    name = _stem(inside)
    parts = {"name": name, "path": "/".join([*os.path.dirname(inside).split(os.sep), name])}
    parts["path"] = parts["path"].removeprefix("/")
    try:
        return normalize_context(_PLACEHOLDER.sub(lambda match: parts[match[1]], context))
    except MetadataError as error:
        raise MetadataError(
            f"its name cannot be in a context, since {error}: rename it, or adopt it separately"
            " with a --context of its own"
        ) from None


def shared(contexts: Iterable[str]) -> set[str]:
    """Return the contexts that occur more than once."""
    return {context for context, count in Counter(contexts).items() if count > 1}


def _stem(path: str) -> str:
    """Return a file's name without its ending, nor the one before that of a compression."""
    stem, ending = os.path.splitext(os.path.basename(path))
    return os.path.splitext(stem)[0] if ending in _PACKED else stem
