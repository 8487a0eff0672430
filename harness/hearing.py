"""Listeners and their audiograms."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from clarity.utils.audiogram import Audiogram as ClarityAudiogram


PTA_FREQUENCIES = (500.0, 1000.0, 2000.0, 4000.0)
"""Frequencies in Hz of the pure-tone average by which the World Health Organization grades hearing."""

GRADES = ("normal", "mild", "moderate", "moderately severe", "severe", "profound", "complete")
"""Grades of hearing loss, from none to complete: World Report on Hearing, WHO, 2021, table 1.3."""

GRADE_BOUNDS = (20.0, 35.0, 50.0, 65.0, 80.0, 95.0)
"""Where each grade but the first begins: the better ear's pure-tone average in dB HL (the same table)."""


@dataclass(frozen=True)
class Audiogram:
    """Hearing thresholds of one ear.

    Attributes:
        frequencies: audiometric frequencies in Hz, ascending, e.g. 250 to 8000.
        levels: threshold at each frequency in dB HL; 0 is normal hearing, larger is a greater loss.
    """

    frequencies: tuple[float, ...]
    levels: tuple[float, ...]

    def for_pyclarity(self) -> ClarityAudiogram:
        """The same in the form that pyclarity's functions take."""
        from clarity.utils.audiogram import Audiogram as ClarityAudiogram

        return ClarityAudiogram(levels=np.array(self.levels), frequencies=np.array(self.frequencies))

    @property
    def pure_tone_average(self) -> float:
        """Mean threshold in dB HL at `PTA_FREQUENCIES`.

        Raises:
            ValueError: the audiogram lacks one of these frequencies.
        """
        levels = dict(zip(self.frequencies, self.levels, strict=True))
        missing = [f"{frequency:g}" for frequency in PTA_FREQUENCIES if frequency not in levels]
        if missing:
            raise ValueError(f"the audiogram has no threshold at {', '.join(missing)} Hz")
        return fmean(levels[frequency] for frequency in PTA_FREQUENCIES)


@dataclass(frozen=True)
class Listener:
    """A listener.

    Attributes:
        id: as in the evaluation set, "L0001".
        left: the left ear's audiogram.
        right: the right ear's.
    """

    id: str
    left: Audiogram
    right: Audiogram

    @property
    def better_ear_average(self) -> float:
        """The smaller `Audiogram.pure_tone_average` of the two ears, in dB HL.

        Raises:
            ValueError: an audiogram lacks one of the frequencies.
        """
        return min(self.left.pure_tone_average, self.right.pure_tone_average)


def grade_of(average: float) -> str:
    """The one of `GRADES` into which a better ear's pure-tone average in dB HL falls; a bound begins a grade."""
    return GRADES[bisect_right(GRADE_BOUNDS, average)]
