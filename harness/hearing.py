"""Listeners and their audiograms."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Audiogram:
    """Hearing thresholds of one ear.

    Attributes:
        frequencies: audiometric frequencies in Hz, ascending, e.g. 250 to 8000.
        levels: threshold at each frequency in dB HL; 0 is normal hearing, larger is a greater loss.
    """

    frequencies: tuple[float, ...]
    levels: tuple[float, ...]


@dataclass(frozen=True)
class Listener:
    """A listener: an identifier and the audiograms of both ears."""

    id: str
    left: Audiogram
    right: Audiogram
