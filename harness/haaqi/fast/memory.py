"""Memory that is used again and again. New memory comes in pages that the system has to clear first, which takes time.

Arrays begin where a vector may begin: one that lies across two lines of the cache takes twice as long.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

LINE = 64
"""Bytes in a line of the cache."""


def aligned(numbers: int, dtype: Any = np.float32) -> NDArray[Any]:
    """A flat array of so many numbers, with anything in it."""
    size = np.dtype(dtype).itemsize
    memory = np.empty(numbers + LINE // size, dtype)
    first = -memory.ctypes.data % LINE // size
    return memory[first : first + numbers]


def aligned_copy(values: NDArray[Any]) -> NDArray[Any]:
    """A copy of a flat array."""
    copy = aligned(values.size, values.dtype)
    copy[:] = values
    return copy


class Workspace:
    """Flat arrays, each kept under its name."""

    def __init__(self) -> None:
        self._memory: dict[str, NDArray[Any]] = {}

    def array(self, name: str, numbers: int, dtype: Any = np.float32) -> NDArray[Any]:
        """(numbers,), with anything in it; the next call for the same name may return the same memory."""
        memory = self._memory.get(name)
        if memory is None or memory.size < numbers:
            # Given back first, so that there are never two of them.
            memory = None
            self._memory.pop(name, None)
            memory = self._memory[name] = aligned(numbers, dtype)
        return memory[:numbers]

    def clear(self) -> None:
        """Give all of it back."""
        self._memory.clear()


PASSING = Workspace()
"""For what a stage needs while it runs, or until it runs again: one for a process, whatever is scored."""
