"""What comes of an ear, whichever precision it was computed in."""

from dataclasses import dataclass
from math import inf

NEAR_TIE = 1e-9
"""Difference between two correlations, relative to the largest possible, from which on single precision decides."""

NEAR_THRESHOLD = 1e-5
"""Distance from a threshold in dB from which on single precision decides."""

NEAR_HALF = 1e-5
"""Distance of a filter's delay from half a sample, in samples, from which on single precision decides."""


@dataclass(frozen=True)
class Result:
    """What comes of an ear.

    Attributes:
        score: HAAQI, 0 to 1, or NaN.
        draws: how many random numbers the reference implementation draws for this ear.
        delay_margin: by how much the best of all delays was better than the next, relative to the largest correlation
            possible; infinite if there was nothing to decide, or in double precision.
        level_margin: by how many dB the closest window was above or below the threshold of hearing, likewise.
        settled: whether tiles closer than that were decided in double precision, one by one.
    """

    score: float
    draws: int
    delay_margin: float = inf
    level_margin: float = inf
    settled: bool = False

    @property
    def margin(self) -> float:
        """The smallest margin as a multiple of what single precision can decide, but 1 if tiles were settled."""
        smallest = min(self.delay_margin / NEAR_TIE, self.level_margin / NEAR_THRESHOLD)
        return min(smallest, 1.0) if self.settled else smallest

    @property
    def decided(self) -> bool:
        """Whether single precision decided anything here; in double precision there is nothing to be uncertain of."""
        return self.margin < inf

    @property
    def certain(self) -> bool:
        """Whether all was decided that had to be."""
        return self.margin >= 1
