"""External buffers: kept by the caller, and bound to an envelope by their digest."""

import hashlib
import pickle
from collections.abc import Iterable
from typing import Any

from pickleseal.envelope.metadata import External
from pickleseal.errors import PolicyError


class Binding:
    """The count, size and digest of external buffers, taken in their order."""

    def __init__(self) -> None:
        self._count = 0
        self._size = 0
        self._digest = hashlib.sha256()

    def add(self, view: memoryview) -> None:
        """Add the next buffer."""
        self._count += 1
        self._size += view.nbytes
        self._digest.update(view.nbytes.to_bytes(8, "little"))
        self._digest.update(hashlib.sha256(view).digest())

    def external(self) -> External | None:
        """Return the metadata that bind the buffers, or None if there are none."""
        if not self._count:
            return None
        return External(self._count, self._size, self._digest.hexdigest())


def check_buffers(bound: External, buffers: Iterable[Any] | None) -> list[Any]:
    """Return the caller's buffers as a list; raise PolicyError if they are not those bound."""
    if buffers is None:
        raise PolicyError(
            f"it was sealed with {bound.buffers} buffers outside of it: pass buffers="
        )
    given = list(buffers)
    binding = Binding()
    for item in given:
        with pickle.PickleBuffer(item).raw() as view:
            binding.add(view)
    if binding.external() != bound:
        raise PolicyError(f"the buffers given are not the {bound.buffers} that it was sealed with")
    return given
