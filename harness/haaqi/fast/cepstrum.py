"""Correlation of the envelopes' mel cepstra at high modulation rates.

Mirrors `melcor9` of `clarity.evaluator.haspi.eb` (Kates & Arehart 2016, section III). The envelopes of the windows
above threshold are projected on half-cosines over the bands (the cepstrum), passed through modulation filters, and the
normalised cross-covariances of reference and processed signal averaged. HAAQI uses the four filters from 20 to 125 Hz
and the cepstral coefficients 2 to 6, so nothing else is computed.
"""

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
import scipy.fft
from numpy.typing import NDArray
from scipy.signal import firwin

from harness.haaqi.fast.numerics import BANDS, F64

_COEFFICIENTS = range(1, 6)
_EDGES_HZ = (20.0, 32.0, 50.0, 80.0)
_NYQUIST_HZ = 125.0
_ORDER = 128
_THRESHOLD_DB = 2.5
_SMALL = 1e-30


@lru_cache(maxsize=1)
def _basis() -> F64:
    """Half-cosines over the bands, each of norm 1: (BANDS, coefficients)."""
    basis = np.cos(np.outer(np.arange(BANDS), np.array(_COEFFICIENTS)) * np.pi / (BANDS - 1))
    return np.asarray(basis / np.linalg.norm(basis, axis=0))


@lru_cache(maxsize=1)
def _filters() -> F64:
    """Linear-phase FIR filters 20-32, 32-50, 50-80 and 80-125 Hz: (filters, taps)."""
    edges = np.array(_EDGES_HZ) / _NYQUIST_HZ
    # A pass_zero of False, with one edge: a high-pass; with two: a band-pass.
    passes = [*pairwise(edges), edges[-1]]
    return np.stack([firwin(_ORDER + 1, edge, window="hann", pass_zero=False) for edge in passes])


@dataclass(frozen=True)
class Modulation:
    """Cepstra of a reference at high modulation rates.

    Attributes:
        loud: which windows are above threshold, (windows,).
        filtered: (filters, coefficients, windows above threshold), of zero mean; None if there is at most one.
        margin: dB by which the closest window is above or below threshold.
    """

    loud: NDArray[np.bool_]
    filtered: F64 | None
    margin: float

    @property
    def draws(self) -> int:
        """How many random numbers the reference implementation draws here, to multiply them by zero."""
        return 0 if self.filtered is None else 2 * BANDS * int(self.loud.sum())


def reference_modulation(smooth: F64) -> Modulation:
    """Analyse the smoothed envelope of a reference, (BANDS, windows) in dB above threshold."""
    loudness = 20 * np.log10((10 ** (smooth / 20)).sum(axis=0) / BANDS)
    loud = loudness > _THRESHOLD_DB
    margin = float(np.abs(loudness - _THRESHOLD_DB).min())
    return Modulation(loud, _filtered(smooth[:, loud]) if loud.sum() > 1 else None, margin)


def _filtered(smooth: F64) -> F64:
    # Not by BLAS: see `numerics.inner`.
    cepstra = np.einsum("bc,bw->cw", _basis(), smooth)
    cepstra -= cepstra.mean(axis=1, keepdims=True)
    count = cepstra.shape[1]
    length = scipy.fft.next_fast_len(count + _ORDER, real=True)
    product = scipy.fft.rfft(_filters(), length)[:, None] * scipy.fft.rfft(cepstra, length)
    filtered = scipy.fft.irfft(product, length)[:, :, _ORDER // 2 : _ORDER // 2 + count]
    return np.asarray(filtered - filtered.mean(axis=2, keepdims=True))


def correlation(reference: Modulation, smooth: F64) -> float:
    """Mean cross-covariance over modulation filters and coefficients, from 0 to 1.

    Args:
        reference: from `reference_modulation`.
        smooth: smoothed envelope of the processed signal, (BANDS, windows).
    """
    if reference.filtered is None:
        return 0.0
    x, y = reference.filtered, _filtered(smooth[:, reference.loud])
    x_sum, y_sum = (x**2).sum(axis=2), (y**2).sum(axis=2)
    silent = (x_sum < _SMALL) | (y_sum < _SMALL)
    with np.errstate(divide="ignore", invalid="ignore"):
        covariance = np.abs((x * y).sum(axis=2)) / np.sqrt(x_sum * y_sum)
    return float(np.where(silent, 0.0, covariance).mean())
