"""The noise that gives the auditory threshold, drawn once and shared by all listeners of a scene.

`basilar_membrane_add_noise` of `clarity.evaluator.haspi.eb` draws it from NumPy's legacy generator, first for the
reference, then for the processed signal, band by band; `melcor9` draws some more and multiplies them by zero. Which
numbers an ear gets is a matter of its place in the stream alone, so the stream is kept and read from where it is due.
"""

from functools import lru_cache
from itertools import islice
from typing import Any

import numpy as np

from harness.haaqi.fast.memory import Workspace
from harness.haaqi.fast.normals import draw_pairs, polar
from harness.haaqi.fast.numerics import F32, F64

_CHUNK = 2**18


class Noise:
    """A stream of normal numbers, drawn as far as it has been read.

    Args:
        generator: where the numbers come from. Never drawn further than is read, so that its state afterwards is
            that which the reference leaves.
        capacity: how many numbers will be read at most. Four bytes each are used for those that are read.
        space: where they are kept, as long as it holds no other stream; memory of its own if none is given.
    """

    def __init__(self, generator: np.random.RandomState, capacity: int, space: Workspace | None = None) -> None:
        self._generator = generator
        self._values: F32 = (space or Workspace()).array("noise", capacity)
        self._drawn = 0

    @property
    def capacity(self) -> int:
        """How many numbers can be read."""
        return len(self._values)

    def read(self, start: int, count: int) -> F32:
        """The numbers from position start on, in single precision. Raises ValueError beyond the capacity."""
        stop = start + count
        if stop > len(self._values):
            raise ValueError(f"noise is read to {stop}, but there is room for {len(self._values)}")
        if self._drawn < stop:
            _draw(self._generator, self._values[self._drawn : stop])
            self._drawn = stop
        return self._values[start:stop]


def _draw(generator: np.random.RandomState, out: F32) -> None:
    """Fill out, (count,), with `generator.standard_normal(count)`."""
    done = _draw_fast(generator, out) if _numpy_is_polar() else 0
    # By NumPy itself: the first of a pair of which the second is not wanted yet, or everything.
    for start in range(done, len(out), _CHUNK):
        part = out[start : start + _CHUNK]
        part[:] = generator.standard_normal(len(part))


def _draw_fast(generator: np.random.RandomState, out: F32) -> int:
    """Draw all numbers but the first of a last pair; none from what is no MT19937. Returns how many are drawn."""
    # Held until the new state is set, so that no thread draws the same numbers from the old one.
    with generator._bit_generator.lock:
        state: Any = generator.get_state(legacy=False)
        if state["bit_generator"] != "MT19937":
            return 0
        over = int(state["has_gauss"])  # the second of a pair of which the first has been taken
        out[:over] = state["gauss"]
        done = over + (len(out) - over) // 2 * 2
        words = state["state"]
        words["pos"] = draw_pairs(words["key"], words["pos"], out[over:done])
        generator.set_state({**state, "has_gauss": 0, "gauss": 0.0})
    return done


@lru_cache(maxsize=1)
def _numpy_is_polar() -> bool:
    """Whether NumPy, as it was compiled here, draws what `normals` does.

    A compiler that may fuse product and sum, as those for ARM do unless told otherwise, gives other last digits.
    """
    uniform = np.random.RandomState(0).random_sample(400)
    return _are_polar(np.random.RandomState(0).standard_normal(300), uniform)


def _are_polar(normal: F64, uniform: F64) -> bool:
    """Whether the first normal numbers that the polar method makes of the uniform ones are these, to the last digit."""
    return np.array_equal(normal, list(islice(polar(uniform.tolist()), len(normal))))
