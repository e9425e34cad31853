"""Memory for bytes that are not verified yet."""

import numpy as np
import pytest

from pickleseal.files import memory


@pytest.mark.parametrize("length", [0, 1, 64, 1000, 4 << 20, (32 << 20) - 1, 32 << 20])
def test_memory_has_its_length_and_is_aligned(length: int) -> None:
    got = memory.fresh(length)
    assert (len(got), got.readonly) == (length, False)
    if length:
        assert np.frombuffer(got, np.uint8).ctypes.data % memory.ALIGNMENT == 0


@pytest.mark.parametrize("length", [1 << 61, 1 << 63])
def test_a_length_that_no_machine_has_is_a_lack_of_memory(length: int) -> None:
    with pytest.raises(MemoryError, match="not enough memory"):
        memory.fresh(length)
