"""Memory within a kernel."""

import numpy as np

from harness.haaqi.fast.memory import LINE
from harness.haaqi.fast.numerics import inlined
from harness.haaqi.fast.single.vectors import LANES


@inlined
def scratch(vectors, kind):  # type: ignore[no-untyped-def]
    """Room for so many vectors of kind np.float32 or np.float64, which begins where a vector may begin."""
    numbers = vectors * LANES
    memory = np.empty(numbers + 16, kind)
    size = memory.itemsize
    first = (-np.int64(memory.ctypes.data)) % LINE // size
    return memory[first : first + numbers]
