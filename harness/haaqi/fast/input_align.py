"""Alignment of the two signals as a whole, and the outer and middle ear.

Mirrors `input_align` and `middle_ear` of `clarity.evaluator.haspi.eb`: the delay at which the magnitude of the
cross-correlation is largest, less 2 ms for what the filters disperse; silence at the beginning and the end of the
reference is cut from both. Then a low-pass at 5 kHz and a high-pass at 350 Hz, which roughly follow the equal-loudness
contour at threshold (Kates 1991).

Signals are (samples,) at 24 kHz. The processed one keeps its precision, single or double, as long as the reference
implementation keeps it.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import NDArray
from scipy.signal import butter, lfilter

from harness.haaqi.fast.numerics import SAMPLE_RATE

_DISPERSION = 48  # 2 ms
_SILENCE = 0.001  # of the largest amplitude

Samples = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Bulk:
    """What of the alignment depends on the reference alone.

    Attributes:
        samples: length of the reference before it is cut.
        start, stop: the part that is kept.
        length: of the transform.
        spectrum: of the reference without its mean.
    """

    samples: int
    start: int
    stop: int
    length: int
    spectrum: NDArray[np.complex128]


def analyse(reference: Samples) -> Bulk:
    """Prepare a reference. Raises IndexError if it is silent, as the reference implementation does."""
    size = len(reference)
    magnitude = np.abs(reference)
    loud = np.flatnonzero(magnitude > _SILENCE * magnitude.max())
    length = scipy.fft.next_fast_len(2 * size - 1, real=True)
    spectrum = scipy.fft.rfft(reference - np.mean(reference), length)
    return Bulk(size, int(loud[0]), int(loud[-1]) + 1, length, spectrum)


def align(bulk: Bulk, processed: Samples) -> Samples:
    """The processed signal, aligned to the reference and cut with it: (bulk.stop - bulk.start,)."""
    size = bulk.samples
    spectrum = scipy.fft.rfft(processed - np.mean(processed), bulk.length)
    # Lag k of this circular correlation is k, or k - length for the second half: the processed signal leads by k.
    correlation = np.abs(scipy.fft.irfft(bulk.spectrum * np.conj(spectrum), bulk.length))
    # The order in which the reference implementation looks at them: from the largest delay to the smallest.
    ordered = np.concatenate([correlation[bulk.length - size + 1 :], correlation[:size]])
    delay = size - int(np.argmax(ordered)) - 1 - _DISPERSION
    aligned = np.zeros(size, np.result_type(processed, np.float64))
    if delay > 0:
        aligned[: max(size - delay, 0)] = processed[delay:]
    else:
        aligned[min(-delay, size) :] = processed[: max(size + delay, 0)]
    return aligned[bulk.start : bulk.stop]


@lru_cache(maxsize=1)
def _designs() -> tuple[Any, Any]:
    return butter(1, 5000 / (0.5 * SAMPLE_RATE)), butter(2, 350 / (0.5 * SAMPLE_RATE), "high")


def middle_ear(signal: Samples) -> NDArray[np.float64]:
    """Outer and middle ear: (samples,) to (samples,)."""
    for numerator, denominator in _designs():
        signal = lfilter(numerator, denominator, signal)
    return np.ascontiguousarray(signal, dtype=np.float64)
