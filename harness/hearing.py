"""Listeners and their audiograms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from clarity.utils.audiogram import Audiogram as ClarityAudiogram


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


@dataclass(frozen=True)
class Listener:
    """A listener: an identifier and the audiograms of both ears."""

    id: str
    left: Audiogram
    right: Audiogram
