"""The noise that gives the auditory threshold, drawn once and shared by all listeners of a scene.

`basilar_membrane_add_noise` of `clarity.evaluator.haspi.eb` draws it from NumPy's legacy generator, first for the
reference, then for the processed signal, band by band; `melcor9` draws some more and multiplies them by zero. Which
numbers an ear gets is a matter of its place in the stream alone, so the stream is kept and read from where it is due.
"""

import numpy as np
from numpy.typing import NDArray

_CHUNK = 2**18


class Noise:
    """A stream of normal numbers, drawn as far as it has been read.

    Args:
        generator: where the numbers come from. Never drawn further than is read, so that its state afterwards is
            that which the reference leaves.
        capacity: how many numbers will be read at most. Four bytes each are used for those that are read.
    """

    def __init__(self, generator: np.random.RandomState, capacity: int) -> None:
        self._generator = generator
        self._values = np.empty(capacity, np.float32)
        self._drawn = 0

    @property
    def capacity(self) -> int:
        """How many numbers can be read."""
        return len(self._values)

    def read(self, start: int, count: int) -> NDArray[np.float32]:
        """The numbers from position start on, in single precision. Raises ValueError beyond the capacity."""
        stop = start + count
        if stop > len(self._values):
            raise ValueError(f"noise is read to {stop}, but there is room for {len(self._values)}")
        while self._drawn < stop:
            part = min(_CHUNK, stop - self._drawn)
            self._values[self._drawn : self._drawn + part] = self._generator.standard_normal(part)
            self._drawn += part
        return self._values[start:stop]
