"""Alignment of the two signals as a whole, and the outer and middle ear.

Mirrors `input_align` and `middle_ear` of `clarity.evaluator.haspi.eb`: the delay at which the magnitude of the
cross-correlation is largest, less 2 ms for what the filters disperse; silence at the beginning and the end of the
reference is cut from both. Then a low-pass at 5 kHz and a high-pass at 350 Hz, which roughly follow the equal-loudness
contour at threshold (Kates 1991).

Signals are (samples,) at 24 kHz. The processed one keeps its precision, single or double, as long as the reference
implementation keeps it.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import NDArray
from scipy.signal import butter

from harness.haaqi.fast.numerics import F64, SAMPLE_RATE, compiled_in_order

DISPERSION = 48  # 2 ms
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


def kept(reference: Samples) -> tuple[int, int]:
    """Where the part of a reference begins and ends that is not silence around it.

    Raises IndexError if all of it is silent, as the reference implementation does.
    """
    magnitude = np.abs(reference)
    loud = np.flatnonzero(magnitude > _SILENCE * magnitude.max())
    return int(loud[0]), int(loud[-1]) + 1


def analyse(reference: Samples) -> Bulk:
    """Prepare a reference. Raises IndexError if it is silent, as the reference implementation does."""
    size = len(reference)
    length = scipy.fft.next_fast_len(2 * size - 1, real=True)
    return Bulk(size, *kept(reference), length, scipy.fft.rfft(reference - np.mean(reference), length))


def delay_of(bulk: Bulk, processed: Samples) -> int:
    """Samples by which the processed signal is late.

    That is where the magnitude of the correlation is largest, less the dispersion.
    """
    size = bulk.samples
    spectrum = scipy.fft.rfft(processed - np.mean(processed), bulk.length)
    # Lag k of this circular correlation is k, or k - length for the second half: the processed signal leads by k.
    correlation = np.abs(scipy.fft.irfft(bulk.spectrum * np.conj(spectrum), bulk.length))
    # The order in which the reference implementation looks at them: from the largest delay to the smallest.
    ordered = np.concatenate([correlation[bulk.length - size + 1 :], correlation[:size]])
    return size - int(np.argmax(ordered)) - 1 - DISPERSION


def shifted(processed: Samples, delay: int, start: int, stop: int) -> Samples:
    """A signal that is late by so many samples, aligned, and cut to the part from start to stop."""
    size = len(processed)
    aligned = np.zeros(size, np.result_type(processed, np.float64))
    if delay > 0:
        aligned[: max(size - delay, 0)] = processed[delay:]
    else:
        aligned[min(-delay, size) :] = processed[: max(size + delay, 0)]
    return aligned[start:stop]


def align(bulk: Bulk, processed: Samples) -> Samples:
    """The processed signal, aligned to the reference and cut with it: (bulk.stop - bulk.start,)."""
    return shifted(processed, delay_of(bulk, processed), bulk.start, bulk.stop)


def _designs() -> F64:
    """Coefficients of the low-pass (two, and one) and of the high-pass (three, and two)."""
    (b, a), (d, c) = butter(1, 5000 / (0.5 * SAMPLE_RATE)), butter(2, 350 / (0.5 * SAMPLE_RATE), "high")
    return np.array([*b, a[1], *d, *c[1:]])


_DESIGNS = _designs()


@compiled_in_order
def _middle_ear(signal, k, out):  # type: ignore[no-untyped-def]
    """Low-pass, then high-pass."""
    x1 = u1 = u2 = y1 = y2 = 0.0
    for t in range(signal.size):
        x = np.float64(signal[t])
        u = (k[0] * x + k[1] * x1) - k[2] * u1
        # What depends on the last output comes last: the next sample waits for nothing else.
        y = (k[3] * u + k[4] * u1 + k[5] * u2 - k[7] * y2) - k[6] * y1
        out[t] = y
        x1, u1, u2, y1, y2 = x, u, u1, y, y1


def middle_ear(signal: Samples) -> F64:
    """Outer and middle ear: (samples,) to (samples,)."""
    out = np.empty(len(signal))
    _middle_ear(np.ascontiguousarray(signal), _DESIGNS, out)
    return out
