"""Coherence of the basilar membrane motion: short-time cross-covariances and their average.

Mirrors `bm_covary` and `ave_covary2` of `clarity.evaluator.haspi.eb` (Kates & Arehart 2016, section III). In windows of
16 ms every 8 ms, the largest normalised cross-covariance within +-1 ms; then its mean over the tiles (band, window)
that are above threshold, weighted by what the synchronisation of the inner hair cells leaves at high frequencies
(Johnson 1980): of the reference's six weightings HAAQI uses the fifth, a low-pass filter of order 5 at 3.5 kHz.
Covariances of tiles that have no weight are not computed.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.haaqi.fast.double.filterbank import CENTER
from harness.haaqi.fast.double.hair_cells import windows
from harness.haaqi.fast.numerics import BANDS, F32, F64, compiled, inlined

LENGTH = 384
"""Samples of a window: 16 ms."""

HALF = LENGTH // 2
LAG = 24  # 1 ms
_SMALL = 1e-30

WINDOW = np.hanning(LENGTH)
THRESHOLD_DB = 2.5
_ORDER, _CUTOFF = 5, 3500.0


def _inverse_correlation(window: F64) -> F64:
    """1 / autocorrelation of a window, for lags of -LAG to LAG."""
    full = np.correlate(window, window, "full")
    return np.asarray(1 / full[len(window) - 1 - LAG : len(window) + LAG])


WHOLE_NORM = _inverse_correlation(WINDOW)
HALF_NORM = _inverse_correlation(WINDOW[HALF:])
POWER = np.array([(WINDOW**2).sum(), (WINDOW[HALF:] ** 2).sum()])
_WINDOW_32 = WINDOW.astype(np.float32)
_ZERO = np.float32(0)


@inlined
def _segment(signal, window, out):  # type: ignore[no-untyped-def]
    """Window a segment and take its mean away; returns the sum of its squares."""
    total = _ZERO
    for t in range(signal.size):
        value = signal[t] * window[t]
        out[t] = value
        total += value
    mean = np.float32(total / np.float32(signal.size))
    squares = _ZERO
    for t in range(signal.size):
        value = out[t] - mean
        out[t] = value
        squares += value * value
    return np.float64(squares)


@inlined
def _seven(x, y):  # type: ignore[no-untyped-def]
    """Sums of x(t) y(t + k) for k = 0 to 6."""
    a0 = a1 = a2 = a3 = a4 = a5 = a6 = _ZERO
    for t in range(x.size):
        v = x[t]
        a0 += v * y[t]
        a1 += v * y[t + 1]
        a2 += v * y[t + 2]
        a3 += v * y[t + 3]
        a4 += v * y[t + 4]
        a5 += v * y[t + 5]
        a6 += v * y[t + 6]
    return a0, a1, a2, a3, a4, a5, a6


@inlined
def _largest(x, y, norm):  # type: ignore[no-untyped-def]
    """Largest absolute cross-correlation within +-LAG, each divided by the window's; y has LAG zeros around it."""
    largest = 0.0
    for first in range(0, 2 * LAG + 1, 7):
        sums = _seven(x, y[first : first + x.size + 6])
        for k in range(7):
            largest = max(largest, abs(sums[k] * norm[first + k]))
    return largest


@inlined
def _place(index, count):  # type: ignore[no-untyped-def]
    """Start of a window in the signal, its length, and its start in the window function."""
    if index == 0:
        return 0, HALF, HALF
    if index == count - 1:
        return index * HALF, HALF, 0
    return index * HALF, LENGTH, 0


@compiled
def _mean_squares(motion, window, power, out):  # type: ignore[no-untyped-def]
    x = np.empty(LENGTH, np.float32)
    count = out.shape[1]
    for b in range(BANDS):
        for index in range(count):
            start, length, offset = _place(index, count)
            squares = _segment(motion[b, start : start + length], window[offset : offset + length], x[:length])
            out[b, index] = squares / power[0 if length == LENGTH else 1]


@compiled
def _covariances(reference, processed, window, whole_norm, half_norm, power, wanted, out):  # type: ignore[no-untyped-def]
    x = np.empty(LENGTH, np.float32)
    y = np.zeros(LENGTH + 2 * LAG, np.float32)
    count = out.shape[1]
    for b in range(BANDS):
        for index in range(count):
            if not wanted[b, index]:
                continue
            start, length, offset = _place(index, count)
            shape = window[offset : offset + length]
            norm = whole_norm if length == LENGTH else half_norm
            scale = power[0 if length == LENGTH else 1]
            x_square = _segment(reference[b, start : start + length], shape, x[:length]) / scale
            y_square = _segment(processed[b, start : start + length], shape, y[LAG : LAG + length]) / scale
            y[LAG + length : 2 * LAG + length] = _ZERO
            if x_square > _SMALL and y_square > _SMALL:
                largest = _largest(x[:length], y[: length + 2 * LAG], norm)
                out[b, index] = min(largest / np.sqrt(x_square * y_square), 1.0)


def mean_squares(reference: F32) -> F64:
    """Mean square of the motion in each tile, (BANDS, windows); reference: (BANDS, samples)."""
    squares = np.empty((BANDS, windows(reference.shape[1], LENGTH)))
    _mean_squares(reference, _WINDOW_32, POWER, squares)
    return squares


@dataclass(frozen=True)
class Tiles:
    """How much the tiles count.

    Attributes:
        weights: (BANDS, windows); None if hardly any window of the reference is above threshold.
        distance: by how many dB each tile is above or below threshold, (BANDS, windows); infinite where that decides
            nothing.
        window_margin: by how many dB the closest window is above or below threshold.
    """

    weights: F64 | None
    distance: F64
    window_margin: float

    @property
    def margin(self) -> float:
        """By how many dB the closest of tiles and windows is above or below threshold."""
        return min(float(self.distance.min()), self.window_margin)


def tiles(squares: F64, settled: NDArray[np.bool_] | None = None) -> Tiles:
    """Weigh tiles by the reference's mean squares in them.

    Args:
        squares: (BANDS, windows).
        settled: (BANDS, windows), tiles whose distance from threshold does not count.
    """
    # Twice the mean square, so that its root is the envelope in dB above threshold.
    level = np.sqrt(2.0 * squares)
    loudness = 20 * np.log10((10 ** (level / 20)).sum(axis=0) / BANDS)
    loud = loudness > THRESHOLD_DB
    decided = loud if settled is None else loud & ~settled
    distance = np.where(decided, np.abs(level - THRESHOLD_DB), np.inf)
    window_margin = float(np.abs(loudness - THRESHOLD_DB).min())
    if loud.sum() <= 1:
        return Tiles(None, distance, window_margin)
    synchronisation = np.sqrt(_CUTOFF ** (2 * _ORDER) / (_CUTOFF ** (2 * _ORDER) + CENTER ** (2 * _ORDER)))
    return Tiles(np.asarray(synchronisation[:, None] * (loud & (level > THRESHOLD_DB))), distance, window_margin)


def covariances(reference: F32, processed: F32, weights: F64) -> F64:
    """Covariance in each tile, 0 to 1, and 0 where it has no weight: (BANDS, windows).

    Args:
        reference, processed: motion, (BANDS, samples).
        weights: of the tiles.
    """
    found: F64 = np.zeros(weights.shape)
    _covariances(reference, processed, _WINDOW_32, WHOLE_NORM, HALF_NORM, POWER, weights > 0, found)
    return found


def coherence(covariances: F64, weights: F64) -> float:
    """Weighted mean of the tiles' covariances, from 0 to 1; NaN if no tile has weight, as in the reference."""
    with np.errstate(invalid="ignore"):
        return float((weights * covariances).sum() / weights.sum())
