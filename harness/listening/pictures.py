"""What a clip looks like: its waveform as numbers, its spectrogram as a picture without axes.

A page draws the axes itself, as text. Time runs over the whole width of both pictures, so that a click on either is a
position in the clip.
"""

import io

import numpy as np
from numpy.typing import NDArray

from harness.challenge import PROTOCOL
from harness.enhancement import Signal

PEAKS = 200
"""Numbers that a waveform has."""

WIDTH, HEIGHT = 400, 96
"""Pixels of a spectrogram."""

LOWEST_HZ, HIGHEST_HZ = 50.0, 16_000.0
"""Lower and upper edge of a spectrogram: what a remix of 32 kHz can hold."""

SOFTEST_SPL, LOUDEST_SPL = 0.0, 90.0
"""Levels in dB SPL that a spectrogram shows in its first and last colour: the same for all, so that they compare."""

COLOURS = "inferno"
"""Matplotlib's colour map, from black to pale yellow: ordered by lightness, on a light page and on a dark one."""

_WINDOW = 4096
_COLOURS = 64


def waveform(signal: Signal) -> tuple[float, ...]:
    """Largest absolute sample of either channel in each of `PEAKS` equal parts: 0 to 1, relative to the largest.

    Args:
        signal: (samples, 2), at least as many samples as parts.
    """
    peaks = np.array([np.abs(part).max(initial=0.0) for part in np.array_split(signal, PEAKS)])
    largest = peaks.max()
    return tuple(round(float(peak), 3) for peak in (peaks / largest if largest > 0 else peaks))


def height_of(frequency: float) -> float:
    """Where a frequency in Hz stands in a spectrogram: 0 at the lower edge, 1 at the upper. The axis is logarithmic."""
    return float(np.log(frequency / LOWEST_HZ) / np.log(HIGHEST_HZ / LOWEST_HZ))


def spectrogram(signal: Signal, full_scale: float) -> bytes:
    """A PNG of `WIDTH` x `HEIGHT` pixels: level over time (linear) and frequency (logarithmic).

    The power of both ears is averaged. The level at a frequency is that of the sound within one auditory filter of
    normal hearing there, which is 24.7 (4.37 f / 1000 + 1) Hz wide at f Hz (ERB_N: Glasberg & Moore, "Derivation of
    auditory filter shapes from notched-noise data", Hearing Research 47, 1990): so music shows its highs about as
    strongly as they are heard.

    Args:
        signal: (samples, 2) at 44.1 kHz.
        full_scale: level in dB SPL of a signal whose root mean square is 1 (`levels.full_scale_spl`).
    """
    import matplotlib as mpl
    from PIL import Image

    below, above = SOFTEST_SPL, LOUDEST_SPL
    shown = np.clip((_levels(signal, full_scale) - below) / (above - below), 0, 1)
    # Few colours, and those in a palette: the file is less than half as large.
    image = Image.fromarray(np.round(shown[::-1] * (_COLOURS - 1)).astype(np.uint8))
    image.putpalette(mpl.colormaps[COLOURS](np.linspace(0, 1, _COLOURS), bytes=True)[:, :3].tobytes())
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def _levels(signal: Signal, full_scale: float) -> NDArray[np.float64]:
    """Level in dB SPL within one ERB_N, (HEIGHT, WIDTH); minus infinity where there is nothing."""
    from scipy.signal import ShortTimeFFT
    from scipy.signal.windows import hann

    rate = PROTOCOL.sample_rate
    hop = max(1, len(signal) // WIDTH)
    transform = ShortTimeFFT(hann(_WINDOW, sym=False), hop, rate, fft_mode="onesided2X", scale_to="psd")
    # A column stands for the part of the clip around its middle.
    density = transform.spectrogram(signal[hop // 2 :], p0=0, p1=WIDTH, axis=0).mean(axis=1)
    edges = np.linspace(np.log(LOWEST_HZ), np.log(HIGHEST_HZ), HEIGHT + 1)
    rows = np.exp((edges[1:] + edges[:-1]) / 2)
    at = np.stack([np.interp(rows, transform.f, column) for column in density.T], axis=1)
    with np.errstate(divide="ignore"):
        return np.asarray(full_scale + 10 * np.log10(at * 24.7 * (4.37e-3 * rows[:, None] + 1)))
