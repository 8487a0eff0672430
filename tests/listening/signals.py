"""Signals and audiograms for the tests of listening."""

import numpy as np
from numpy.typing import NDArray

from harness.challenge import PROTOCOL
from harness.hearing import Audiogram

RATE = PROTOCOL.sample_rate
FREQUENCIES = (250.0, 500.0, 1000.0, 1500.0, 2000.0, 3000.0, 4000.0, 6000.0)

# The standard audiograms N1 to N5: Bisgaard, Vlaming, Dahlquist, "Standard audiograms for the IEC 60118-15 measurement
# procedure", Trends in Amplification 14, 2010.
STANDARD = {
    "N0": (0, 0, 0, 0, 0, 0, 0, 0),
    "N1": (10, 10, 10, 10, 15, 20, 30, 40),
    "N2": (20, 20, 25, 30, 35, 40, 45, 50),
    "N3": (35, 35, 40, 45, 50, 55, 60, 65),
    "N4": (55, 55, 55, 60, 65, 70, 75, 80),
    "N5": (65, 70, 75, 80, 80, 80, 80, 80),
}


def ear(name: str) -> Audiogram:
    return flat_or(STANDARD[name])


def flat_or(levels: float | tuple[float, ...]) -> Audiogram:
    """An audiogram with these levels, or with the same one at all frequencies."""
    if not isinstance(levels, tuple):
        levels = (levels,) * len(FREQUENCIES)
    return Audiogram(FREQUENCIES, tuple(float(level) for level in levels))


def noise(seconds: float = 0.6, seed: int = 1, level: float = 0.05) -> NDArray[np.float64]:
    """White noise of this root mean square, (samples,)."""
    return np.random.default_rng(seed).normal(scale=level, size=round(seconds * RATE))


def pink(seconds: float = 0.6, seed: int = 2) -> NDArray[np.float64]:
    """Pink noise, 50 Hz to 16 kHz, root mean square 1, (samples,)."""
    count = round(seconds * RATE)
    frequencies = np.fft.rfftfreq(count, 1 / RATE)
    spectrum = np.fft.rfft(np.random.default_rng(seed).normal(size=count))
    inside = (frequencies > 50) & (frequencies < 16_000)
    spectrum = np.where(inside, spectrum / np.sqrt(np.maximum(frequencies, 1)), 0)
    signal = np.fft.irfft(spectrum, count)
    return signal / np.sqrt(np.mean(signal**2))


def lag(late: NDArray[np.float64], early: NDArray[np.float64]) -> int:
    """Samples by which one signal is later than another: where their cross-correlation is largest."""
    size = 2 * max(len(late), len(early))
    correlation = np.fft.irfft(np.fft.rfft(late, size) * np.conj(np.fft.rfft(early, size)), size)
    at = int(np.argmax(np.abs(correlation)))
    return at if at < size // 2 else at - size
