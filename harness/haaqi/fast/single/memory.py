"""Arrays that begin where a vector may begin: a vector that lies across two lines of the cache takes twice as long."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.haaqi.fast.numerics import inlined
from harness.haaqi.fast.single.vectors import LANES

_BYTES = 64  # a line of the cache


def aligned(numbers: int, dtype: Any = np.float32) -> NDArray[Any]:
    """A flat array of so many numbers, with anything in it."""
    size = np.dtype(dtype).itemsize
    memory = np.empty(numbers + _BYTES // size, dtype)
    first = -memory.ctypes.data % _BYTES // size
    return memory[first : first + numbers]


def aligned_copy(values: NDArray[Any]) -> NDArray[Any]:
    """A copy of a flat array."""
    copy = aligned(values.size, values.dtype)
    copy[:] = values
    return copy


@inlined
def scratch(vectors, kind):  # type: ignore[no-untyped-def]
    """The same within a kernel: room for so many vectors of kind np.float32 or np.float64."""
    numbers = vectors * LANES
    memory = np.empty(numbers + 16, kind)
    size = memory.itemsize
    first = (-np.int64(memory.ctypes.data)) % _BYTES // size
    return memory[first : first + numbers]
